//! From nothing to devices with a profile.

use std::ops::Range;

use anyhow::{Context, ensure};
use eim::OperationState;
use intent::command::Route;
use smdp::ProfileState;
use uuid::Uuid;

use super::super::folder::Folder;
use super::super::pki::{EIM, Pki, SMDP};
use super::super::servers::Servers;
use super::super::world::{Setting, World};

pub(super) fn make_pki(folder: &Folder) -> anyhow::Result<(Pki, String)> {
    let pki = Pki::new()?;
    pki.write_to(&folder.inner("pki")?)?;
    let certificates = pki.main.items()?.len();
    Ok((
        pki,
        format!("{certificates} certificates under one CI, which revokes one EUM"),
    ))
}

pub(super) fn start(pki: &Pki, setting: &Setting<'_>) -> anyhow::Result<(Servers, String)> {
    let servers = Servers::start(pki, setting)?;
    Ok((
        servers,
        format!("{SMDP}, {EIM} and a second eIM, behind TLS on loopback"),
    ))
}

pub(super) fn associate(world: &mut World<'_>) -> anyhow::Result<String> {
    let data = world.servers.wait(world.eim()?.association_data())?;
    for device in world.fleet.iter_mut() {
        let tokens = device.ipa.add_initial_eims(vec![data.clone()])?;
        let token = tokens.into_iter().next().flatten();
        device.association_token = Some(token.context("the eUICC gave no association token")?);
    }
    Ok(format!(
        "{} eUICCs accept packages of {EIM}, each with its token",
        world.fleet.len()
    ))
}

pub(super) fn register(world: &mut World<'_>) -> anyhow::Result<String> {
    for (index, device) in world.fleet.iter().enumerate() {
        world.register(
            device.eid,
            &format!("device {}", index + 1),
            device.association_token,
        )?;
    }
    let known = world.eim()?.device_count()?;
    ensure!(
        usize::try_from(known)? == world.fleet.len(),
        "the eIM knows {known} devices"
    );
    Ok(format!("{known} devices by their EIDs"))
}

pub(super) fn first_contact(world: &mut World<'_>) -> anyhow::Result<String> {
    world.fleet.poll(world.fleet.all())?;
    for device in world.fleet.iter() {
        let record = world.eim()?.device(device.eid)?;
        let shown = record
            .euicc_certificate
            .context("a device did not introduce itself")?;
        ensure!(
            shown == device.credential.certificate.der(),
            "another certificate was recorded"
        );
    }
    Ok("certificates of all eUICCs verified up to the CI".to_owned())
}

pub(super) fn download_directly(world: &mut World<'_>) -> anyhow::Result<String> {
    download(world, world.fleet.direct(), Route::Direct)
}

pub(super) fn download_indirectly(world: &mut World<'_>) -> anyhow::Result<String> {
    download(world, world.fleet.indirect(), Route::Indirect)
}

fn download(world: &mut World<'_>, range: Range<usize>, route: Route) -> anyhow::Result<String> {
    let mut expected = Vec::new();
    for index in range.clone() {
        let eid = world.fleet.device(index)?.eid;
        let offer = world.offer(Some(eid))?;
        let operation: Uuid = world.propose(eid, offer.download(route))?;
        expected.push((index, offer.iccid, operation));
    }
    world.fleet.poll(range)?;
    // The result of a relayed download goes to the SM-DP+ through the eIM.
    world.servers.wait(world.eim()?.forward_notifications())?;
    for (index, iccid, operation) in &expected {
        world.expect(*operation, OperationState::Done)?;
        world.expect_idle(world.fleet.device(*index)?.eid)?;
        world.expect_inventory(*index)?;
        ensure!(
            world.fleet.device_mut(*index)?.profiles()?.contains(iccid),
            "{iccid} is not on the card"
        );
        let state = world.state_at_smdp(iccid)?;
        ensure!(
            state == ProfileState::Installed,
            "the SM-DP+ says that {iccid} is {state}"
        );
    }
    Ok(format!(
        "{} profiles installed; eUICC, eIM and SM-DP+ agree",
        expected.len()
    ))
}
