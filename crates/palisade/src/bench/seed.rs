//! A database full of made-up devices, for whatever is to be measured on many of them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use eim::seed::{Seed, fill};
use pki::issue::{CertificateTemplate, TestPki, TestPkiOptions};
use pki::{Curve, PrivateKey, Signer};
use serde::Serialize;

use super::figures::grouped;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::output;
use crate::serve::DATABASE;

/// How much is made up.
pub(crate) struct Options {
    /// Data folder of an eIM that does not run, and has no devices.
    pub(crate) data: PathBuf,
    /// Devices.
    pub(crate) devices: u32,
    /// Events, about.
    pub(crate) events: u32,
    /// Where made-up numbers begin.
    pub(crate) seed: u64,
    /// Print JSON.
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct Report {
    database: PathBuf,
    devices: u64,
    operations: u64,
    events: u64,
    seconds: f64,
}

/// Fills the database and prints what is in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = &options.data;
    if !folder.is_dir() {
        bail!(
            "there is no data folder {path}; make one with `palisade init --data {path} --fqdn HOST`, or make an empty folder",
            path = folder.display()
        );
    }
    let database = folder.join(DATABASE);
    let begun = Instant::now();
    let made = made_up(&database, options)
        .with_context(|| format!("{} could not be filled", database.display()))?;
    let report = Report {
        database,
        devices: made.devices,
        operations: made.operations,
        events: made.events,
        seconds: begun.elapsed().as_secs_f64(),
    };
    if options.json {
        return output::print_json(&report);
    }
    output::print(&format!(
        "{} has {} devices, {} operations and {} events, made in {:.0} s. Nothing in it was approved, signed or recorded: \
         use it to measure, and for nothing else.\n",
        report.database.display(),
        grouped(report.devices as f64),
        grouped(report.operations as f64),
        grouped(report.events as f64),
        report.seconds
    ))
}

fn made_up(database: &Path, options: &Options) -> anyhow::Result<eim::seed::Seeded> {
    let now = SystemClock.unix_time();
    let pki = TestPki::new(
        &mut SystemEntropy,
        Curve::P256,
        &TestPkiOptions::new(now.plus_days(-1)),
    )
    .context("no PKI")?;
    let eum = &pki.eum;
    let organisation = eum
        .certificate
        .organisation()
        .unwrap_or_default()
        .to_owned();
    // Each has a certificate of its own; the key in it is the same for all, which is nothing to whoever reads.
    let key = PrivateKey::generate(Curve::P256, &mut SystemEntropy)?;
    let mut certificates = |eid: rsp::ids::Eid| {
        let certificate = CertificateTemplate::euicc(&organisation, &eid.to_string())
            .valid(eum.certificate.not_before(), eum.certificate.not_after())
            .random_serial(&mut SystemEntropy)
            .issue(key.public_key(), eum.issuer());
        let certificate = certificate.ok()?;
        Some((certificate.der().to_vec(), eum.certificate.der().to_vec()))
    };
    let shows_progress = std::io::stderr().is_terminal();
    let mut progress = |done: u32| {
        if shows_progress {
            eprint!("\r{} devices", grouped(f64::from(done)));
        }
    };
    let seed = Seed {
        devices: options.devices,
        events: options.events,
        now_ms: eim::Clock::now_ms(&SystemClock),
        seed: options.seed,
    };
    let made = fill(database, &seed, &mut certificates, &mut progress)?;
    if shows_progress {
        eprintln!();
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_filled_and_one_with_devices_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            data: folder.path().to_owned(),
            devices: 20,
            events: 200,
            seed: 1,
            json: true,
        };
        run(&options).unwrap();
        let again = format!("{:#}", run(&options).unwrap_err());
        assert!(again.contains("use another data folder"), "{again}");
        let absent = Options {
            data: folder.path().join("absent"),
            ..options
        };
        assert!(
            run(&absent)
                .unwrap_err()
                .to_string()
                .contains("palisade init")
        );
    }
}
