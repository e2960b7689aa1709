//! What goes wrong in the field, and comes right again.

use anyhow::{Context, ensure};
use eim::OperationState;
use intent::command::Command;
use ipa::Event;
use rsp::binding::esipa::Function;
use uuid::Uuid;

use super::super::device::{Device, Fault};
use super::super::world::World;

/// The device that falls back.
const FALLING: usize = 0;
/// Longer than an IPA waits before it falls back, and than any pause after a failure.
const WHILE_MS: u64 = 2 * 3_600_000;
const QUARTER_MS: u64 = 16 * 60_000;

pub(super) fn roll_back(world: &mut World<'_>) -> anyhow::Result<String> {
    let index = world.fleet.unlucky();
    let device = world.fleet.device_mut(index)?;
    let (eid, before, iccid) = (device.eid, device.enabled(), device.disabled()?);
    device.radio.lose(iccid);
    let operation = world.propose(
        eid,
        vec![Command::Enable {
            iccid,
            rollback: true,
        }],
    )?;
    let device = world.fleet.device_mut(index)?;
    device.events();
    device.poll();
    ensure!(
        device
            .events()
            .iter()
            .any(|event| matches!(event, Event::RolledBack { .. })),
        "the IPA did not roll back"
    );
    ensure!(
        device.enabled() == before,
        "{:?} is enabled",
        device.enabled()
    );
    world.expect(operation, OperationState::RolledBack)?;
    let device = world.fleet.device_mut(index)?;
    device.poll();
    device.radio.regain(iccid);
    world.expect_inventory(index)?;
    Ok("the device enabled the old profile again; the eIM knows, signed".to_owned())
}

pub(super) fn fall_back(world: &mut World<'_>) -> anyhow::Result<String> {
    let device = world.fleet.device(FALLING)?;
    let (bootstrap, current) = (
        device.bootstrap,
        device.enabled().context("no profile is enabled")?,
    );
    world.operate(FALLING, vec![Command::SetFallback { iccid: bootstrap }])?;
    let device = world.fleet.device_mut(FALLING)?;
    device.radio.lose(current);
    device.events();
    device.poll();
    ensure!(device.enabled() == Some(current), "it fell back at once");
    device.wait_ms(QUARTER_MS);
    device.poll();
    device.poll();
    let events = device.events();
    ensure!(
        events.contains(&Event::FallbackExecuted),
        "the IPA did not fall back: {events:?}"
    );
    ensure!(
        device.enabled() == Some(bootstrap),
        "{:?} is enabled",
        device.enabled()
    );
    world.expect_inventory(FALLING)?;
    Ok("to the bootstrap profile, after 15 minutes; the eIM knows, signed".to_owned())
}

pub(super) fn return_from_fallback(world: &mut World<'_>) -> anyhow::Result<String> {
    let device = world.fleet.device_mut(FALLING)?;
    let displaced = device.disabled()?;
    device.radio.regain(displaced);
    device.wait_ms(WHILE_MS);
    device.poll();
    let events = device.events();
    ensure!(
        events.contains(&Event::ReturnedFromFallback),
        "the IPA did not return: {events:?}"
    );
    ensure!(
        device.enabled() == Some(displaced),
        "{:?} is enabled",
        device.enabled()
    );
    device.poll();
    world.expect_inventory(FALLING)?;
    Ok("the profile that had been displaced is enabled again".to_owned())
}

pub(super) fn restart_with_result_under_way(world: &mut World<'_>) -> anyhow::Result<String> {
    let fault = Fault::NotSent(Function::ProvideEimPackageResult);
    let counter = interrupt(world, 0, fault, true)?;
    Ok(format!(
        "package {counter} was executed once; its result was kept and counted once"
    ))
}

pub(super) fn restart_with_package_under_way(world: &mut World<'_>) -> anyhow::Result<String> {
    let fault = Fault::AnswerLost(Function::GetEimPackage);
    let counter = interrupt(world, world.fleet.unlucky(), fault, false)?;
    Ok(format!(
        "package {counter} was sent again, octet for octet, and executed once"
    ))
}

/// Cuts the line in the middle of an operation, restarts the eIM, and lets the device poll again. Gives the counter.
fn interrupt(
    world: &mut World<'_>,
    index: usize,
    fault: Fault,
    is_executed_before: bool,
) -> anyhow::Result<i64> {
    let device = world.fleet.device_mut(index)?;
    let (eid, iccid) = (device.eid, device.disabled()?);
    let operation = world.propose(
        eid,
        vec![Command::Enable {
            iccid,
            rollback: false,
        }],
    )?;
    let device = world.fleet.device_mut(index)?;
    device.events();
    device.faults.set(Some(fault));
    device.poll();
    device.faults.set(None);
    let mut loaded = packages_loaded(device);
    ensure!(
        loaded == usize::from(is_executed_before),
        "{loaded} packages were loaded"
    );
    let before = sent(world, operation)?;
    world.servers.restart_eim()?;
    ensure!(
        sent(world, operation)? == before,
        "the eIM forgot what it had sent"
    );

    let device = world.fleet.device_mut(index)?;
    device.wait_ms(WHILE_MS);
    device.poll();
    loaded += packages_loaded(device);
    ensure!(loaded == 1, "the package was loaded {loaded} times");
    ensure!(
        device.enabled() == Some(iccid),
        "the profile is not enabled"
    );
    let done = world.expect(operation, OperationState::Done)?;
    ensure!(
        (done.counter, done.request) == before,
        "another package was sent"
    );
    world.expect_idle(eid)?;
    world.expect_inventory(index)?;
    done.counter.context("a package has a counter")
}

fn packages_loaded(device: &mut Device) -> usize {
    device
        .events()
        .iter()
        .filter(|event| matches!(event, Event::PackageLoaded { .. }))
        .count()
}

/// Counter and octets of a package in flight.
fn sent(world: &World<'_>, operation: Uuid) -> anyhow::Result<(Option<i64>, Option<Vec<u8>>)> {
    let operation = world.expect(operation, OperationState::InFlight)?;
    Ok((operation.counter, operation.request))
}
