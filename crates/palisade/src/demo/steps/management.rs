//! Everyday work on profiles and eIMs.

use anyhow::{Context, ensure};
use eim::OperationState;
use intent::command::{Command, DataItem, Route};
use ipa::Event;
use rsp::ids::{Eid, Iccid};

use super::super::pki::{EIM, SECOND_EIM, SMDP, SMDP_OID};
use super::super::world::{World, propose};

/// The device that disables, deletes and downloads once more.
const BUSY: usize = 1;
/// The device that gets a second eIM.
const SHARED: usize = 0;

pub(super) fn enable(world: &mut World<'_>) -> anyhow::Result<String> {
    let lucky = 0..world.fleet.unlucky();
    let mut expected = Vec::new();
    for index in lucky.clone() {
        let device = world.fleet.device_mut(index)?;
        let (eid, iccid) = (device.eid, device.disabled()?);
        let operation = world.propose(
            eid,
            vec![Command::Enable {
                iccid,
                rollback: true,
            }],
        )?;
        expected.push((index, iccid, operation));
    }
    world.fleet.poll(lucky)?;
    for (index, iccid, operation) in &expected {
        world.expect(*operation, OperationState::Done)?;
        let enabled = world.fleet.device(*index)?.enabled();
        ensure!(
            enabled == Some(*iccid),
            "{enabled:?} is enabled instead of {iccid}"
        );
    }
    Ok(format!(
        "{} devices delivered the result over the new profile",
        expected.len()
    ))
}

pub(super) fn list(world: &mut World<'_>) -> anyhow::Result<String> {
    let mut operations = Vec::new();
    for device in world.fleet.iter() {
        operations.push(world.propose(device.eid, vec![Command::ListProfiles])?);
    }
    world.fleet.poll(world.fleet.all())?;
    for operation in operations {
        world.expect(operation, OperationState::Done)?;
    }
    let mut count = 0;
    for index in world.fleet.all() {
        world.expect_inventory(index)?;
        count += world.fleet.device_mut(index)?.profiles()?.len();
    }
    Ok(format!(
        "{count} profiles, signed by the eUICCs; the eIM's inventory is right"
    ))
}

pub(super) fn read_data(world: &mut World<'_>) -> anyhow::Result<String> {
    let items = vec![
        DataItem::EuiccInfo1,
        DataItem::EuiccInfo2,
        DataItem::RootSmdsAddress,
        DataItem::DefaultSmdpAddress,
        DataItem::PackageResults,
        DataItem::Notifications,
        DataItem::IpaCapabilities,
        DataItem::DeviceInfo,
    ];
    let count = items.len();
    let index = world.fleet.unlucky();
    world.operate(index, vec![Command::ReadDeviceData { items }])?;
    let record = world.eim()?.device(world.fleet.device(index)?.eid)?;
    ensure!(record.euicc_info2.is_some(), "no EUICCInfo2 was recorded");
    Ok(format!(
        "{count} items, asked for after the eUICC had proved its presence"
    ))
}

pub(super) fn several(world: &mut World<'_>) -> anyhow::Result<String> {
    let index = world.fleet.unlucky();
    let device = world.fleet.device_mut(index)?;
    let (old, new) = (
        device.enabled().context("no profile is enabled")?,
        device.disabled()?,
    );
    let commands = vec![
        Command::ListProfiles,
        Command::GetRat,
        Command::SetDefaultSmdp {
            address: SMDP.to_owned(),
        },
        Command::Disable { iccid: old },
        Command::Enable {
            iccid: new,
            rollback: false,
        },
    ];
    let wanted = commands.len();
    let operation = world.operate(index, commands)?;
    let results = operation
        .outcome
        .map(|outcome| outcome.results.len())
        .unwrap_or_default();
    ensure!(
        results == wanted,
        "{results} results for {wanted} operations"
    );
    ensure!(
        world.fleet.device(index)?.enabled() == Some(new),
        "the profile is not enabled"
    );
    Ok("list, RAT, default SM-DP+, disable, enable: one signature, five results".to_owned())
}

pub(super) fn disable(world: &mut World<'_>) -> anyhow::Result<String> {
    let iccid = world
        .fleet
        .device(BUSY)?
        .enabled()
        .context("no profile is enabled")?;
    world.operate(BUSY, vec![Command::Disable { iccid }])?;
    ensure!(
        world.fleet.device(BUSY)?.enabled().is_none(),
        "a profile is enabled"
    );
    world.expect_inventory(BUSY)?;
    Ok(iccid.to_string())
}

pub(super) fn delete(world: &mut World<'_>) -> anyhow::Result<String> {
    let device = world.fleet.device_mut(BUSY)?;
    let bootstrap = device.bootstrap;
    let downloaded: Vec<Iccid> = device
        .profiles()?
        .into_iter()
        .filter(|iccid| *iccid != bootstrap)
        .collect();
    let iccid = downloaded
        .first()
        .copied()
        .context("there is no profile to delete")?;
    let enable = Command::Enable {
        iccid: bootstrap,
        rollback: false,
    };
    world.operate(BUSY, vec![Command::Delete { iccid }, enable])?;
    ensure!(
        world.fleet.device_mut(BUSY)?.profiles()? == [bootstrap],
        "the profile is still there"
    );
    world.expect_inventory(BUSY)?;
    Ok(format!("{iccid}, and the bootstrap profile enabled again"))
}

pub(super) fn enable_immediately(world: &mut World<'_>) -> anyhow::Result<String> {
    let allow = Command::ConfigureImmediateEnable {
        enabled: true,
        smdp_oid: Some(SMDP_OID.to_owned()),
        smdp_address: Some(SMDP.to_owned()),
    };
    world.operate(BUSY, vec![allow])?;
    let offer = world.offer(None)?;
    world.fleet.device_mut(BUSY)?.events();
    world.operate(BUSY, offer.download(Route::Direct))?;
    let device = world.fleet.device_mut(BUSY)?;
    ensure!(
        device.events().contains(&Event::EnabledImmediately),
        "the IPA did not enable it"
    );
    ensure!(
        device.enabled() == Some(offer.iccid),
        "{:?} is enabled",
        device.enabled()
    );
    device.poll();
    world.expect_inventory(BUSY)?;
    Ok(format!(
        "{} from OID {SMDP_OID} only; the eIM heard of it",
        offer.iccid
    ))
}

pub(super) fn add_eim(world: &mut World<'_>) -> anyhow::Result<String> {
    let eid = world.fleet.device(SHARED)?.eid;
    let host = &world.servers.second_eim;
    let second = host.eim()?;
    let configuration = world.servers.wait(second.association_data())?;
    // Its token is not known there yet: the second eIM learns it from the device, and believes it once a signature proves it.
    world.servers.wait(host.office().register(second, eid))?;
    let listed = propose(&world.servers, host, eid, vec![Command::ListProfiles])?;
    world.operate(SHARED, vec![Command::AddEim { configuration }])?;
    world.fleet.device_mut(SHARED)?.poll();
    let listed = world.servers.second_eim.eim()?.operation(listed)?;
    ensure!(
        listed.state == OperationState::Done,
        "the operation of the second eIM is {}",
        listed.state
    );
    Ok(format!("{SECOND_EIM} got a signed list of the profiles"))
}

fn eims(world: &mut World<'_>) -> anyhow::Result<Vec<String>> {
    let eid: Eid = world.fleet.device(SHARED)?.eid;
    world.operate(SHARED, vec![Command::ListEims])?;
    let found = world.eim()?.associated_eims(eid)?;
    Ok(found.into_iter().map(|eim| eim.eim_id).collect())
}

pub(super) fn list_eims(world: &mut World<'_>) -> anyhow::Result<String> {
    let found = eims(world)?;
    ensure!(found == [EIM, SECOND_EIM], "{found:?}");
    Ok(found.join(", "))
}

pub(super) fn delete_eim(world: &mut World<'_>) -> anyhow::Result<String> {
    world.operate(
        SHARED,
        vec![Command::DeleteEim {
            eim_id: SECOND_EIM.parse()?,
        }],
    )?;
    let found = eims(world)?;
    ensure!(found == [EIM], "{found:?}");
    Ok(format!("{} is left", found.join(", ")))
}

pub(super) fn forward_notifications(world: &mut World<'_>) -> anyhow::Result<String> {
    world.fleet.poll(world.fleet.all())?;
    loop {
        if world.servers.wait(world.eim()?.forward_notifications())? == 0 {
            break;
        }
    }
    let mut count = 0;
    for (index, device) in world.fleet.iter_mut().enumerate() {
        let left = device.ipa.es10().notifications(None)?.len();
        ensure!(
            left == 0,
            "device {} still has {left} notifications",
            index + 1
        );
        let arrived = world
            .servers
            .smdp
            .notifications()
            .of_euicc(&device.eid.to_string(), 1000)?;
        for event in ["install", "enable"] {
            let has_arrived = arrived.iter().any(|record| record.event == event);
            ensure!(
                has_arrived,
                "the SM-DP+ heard of no {event} on device {}",
                index + 1
            );
        }
        count += arrived.len();
    }
    Ok(format!(
        "{count} verified by the SM-DP+; none is left on the eUICCs"
    ))
}

pub(super) fn no_server_error(world: &mut World<'_>) -> anyhow::Result<String> {
    let panics = world.servers.panics();
    ensure!(panics == 0, "{panics} requests were answered with HTTP 500");
    Ok("no request was answered with HTTP 500".to_owned())
}
