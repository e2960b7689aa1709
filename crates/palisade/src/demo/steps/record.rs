//! What the authority's record shows, to somebody who has the files or one bundle, and the public key.

use anyhow::{bail, ensure};
use ledger::{Checked, FolderStore, check_bundle, verify};

use super::super::world::World;

/// The device whose history is shown.
const SHOWN: usize = 0;

pub(super) fn verify_offline(world: &mut World<'_>) -> anyhow::Result<String> {
    let office = world.servers.eim.office();
    office.engine().checkpoint(0, true)?;
    let files = FolderStore::reader(office.ledger());
    let (mut packages, mut results, mut refusals) = (0_u64, 0_u64, 0_u64);
    let report = verify(&files, &office.public_key()?, None, &mut |entry| {
        let count = match entry.kind.as_str() {
            "package.ordered" => &mut packages,
            "result.recorded" => &mut results,
            "intent.refused" => &mut refusals,
            _ => return,
        };
        *count += 1;
    });
    ensure!(report.is_good(), "{report}");
    ensure!(
        packages > 0 && results > 0,
        "{packages} packages and {results} results are on record"
    );
    Ok(format!(
        "good: {} entries, {} devices; {packages} packages, {results} results, {refusals} refusals",
        report.entries, report.devices
    ))
}

pub(super) fn prove_history(world: &mut World<'_>) -> anyhow::Result<String> {
    let eid = world.fleet.device(SHOWN)?.eid;
    let office = world.servers.eim.office();
    let bundle = office.engine().history(eid)?;
    let Checked::History(history) = check_bundle(bundle.as_bytes(), &office.public_key()?)? else {
        bail!("the bundle proves something else");
    };
    ensure!(history.device == eid, "it is about {}", history.device);
    authority::check_asked(&history)?;
    let of_kind = |kind: &str| {
        let entries = history.entries.iter();
        entries.filter(|entry| entry.kind.as_str() == kind).count()
    };
    let (packages, results) = (of_kind("package.ordered"), of_kind("result.recorded"));
    ensure!(packages > 0, "no package is on record");
    Ok(format!(
        "{} entries, none missing: {packages} packages, {results} results; {} on who asked",
        history.entries.len(),
        history.context.len()
    ))
}
