//! What the owner of a fleet does, from nothing to devices under management.

mod management;
mod record;
mod recovery;
mod setup;

use std::time::Instant;

use super::fleet::Fleet;
use super::report::Report;
use super::screen::Screen;
use super::world::{Setting, World};

/// A step: its name, the interfaces that it goes over, and how it is done. The text says what came of it.
struct Step {
    name: &'static str,
    via: &'static str,
    verb: fn(&mut World<'_>) -> anyhow::Result<String>,
}

const fn step(
    name: &'static str,
    via: &'static str,
    verb: fn(&mut World<'_>) -> anyhow::Result<String>,
) -> Step {
    Step { name, via, verb }
}

const STEPS: &[Step] = &[
    step(
        "associate the eIM with each eUICC",
        "ES10b",
        setup::associate,
    ),
    step("register the devices at the eIM", "", setup::register),
    step("first contact", "ESipa", setup::first_contact),
    step(
        "download TS.48 directly",
        "ESipa, ES9+, ES8+",
        setup::download_directly,
    ),
    step(
        "download TS.48 through the eIM",
        "ESipa, ES9+', ES8+",
        setup::download_indirectly,
    ),
    step("enable with rollback armed", "ESipa", management::enable),
    step(
        "roll back without connectivity",
        "ESipa, ES10b",
        recovery::roll_back,
    ),
    step("list the profiles", "ESipa", management::list),
    step("read eUICC and device data", "ESipa", management::read_data),
    step(
        "five operations in one package",
        "ESipa",
        management::several,
    ),
    step("disable", "ESipa", management::disable),
    step("delete", "ESipa", management::delete),
    step(
        "fall back without connectivity",
        "ESipa, ES10b",
        recovery::fall_back,
    ),
    step(
        "return from the fallback",
        "ESipa, ES10b",
        recovery::return_from_fallback,
    ),
    step(
        "enable immediately after a download",
        "ESipa, ES9+, ES10b",
        management::enable_immediately,
    ),
    step(
        "add a second eIM, which manages too",
        "ESipa",
        management::add_eim,
    ),
    step("list the eIMs", "ESipa", management::list_eims),
    step("delete the second eIM", "ESipa", management::delete_eim),
    step(
        "restart the eIM: a result under way",
        "ESipa",
        recovery::restart_with_result_under_way,
    ),
    step(
        "restart the eIM: a package under way",
        "ESipa",
        recovery::restart_with_package_under_way,
    ),
    step(
        "forward notifications",
        "ESipa, ES9+'",
        management::forward_notifications,
    ),
];

const AFTERWARDS: &[Step] = &[
    step("manage on after the attacks", "ESipa", management::list),
    step("verify the record offline", "files", record::verify_offline),
    step(
        "prove the history of one device",
        "bundle",
        record::prove_history,
    ),
    step("no server error", "", management::no_server_error),
];

/// Does everything up to the attacks. After a failure the rest is not done, and there is no world.
pub(super) fn run<'f>(
    report: &mut Report,
    screen: &mut Screen,
    setting: &Setting<'f>,
) -> Option<World<'f>> {
    let world = set_up(report, screen, setting);
    let Some(mut world) = world else {
        not_run(report, STEPS);
        not_run(report, AFTERWARDS);
        return None;
    };
    let mut left = STEPS.iter();
    while let Some(next) = left.next() {
        if !make(report, screen, next, &mut world) {
            not_run(report, left.as_slice());
            not_run(report, AFTERWARDS);
            world.servers.stop();
            return None;
        }
    }
    Some(world)
}

/// Whether everything still works after the attacks.
pub(super) fn afterwards(report: &mut Report, screen: &mut Screen, world: &mut World<'_>) {
    for step in AFTERWARDS {
        make(report, screen, step, world);
    }
}

fn set_up<'f>(
    report: &mut Report,
    screen: &mut Screen,
    setting: &Setting<'f>,
) -> Option<World<'f>> {
    let (folder, devices) = (setting.folder, setting.devices);
    let pki = first(report, screen, "make a private PKI", || {
        setup::make_pki(folder)
    })?;
    let servers = first(report, screen, "start SM-DP+ and eIM", || {
        setup::start(&pki, setting)
    })?;
    let fleet = first(report, screen, "make the devices", || {
        let fleet = Fleet::new(devices, &pki, &servers.resolve(), folder)?;
        let detail =
            format!("{devices} times an IPA and a software eUICC with a bootstrap profile");
        Ok((fleet, detail))
    })?;
    Some(World::new(folder, pki, servers, fleet))
}

/// A step that makes something.
fn first<T>(
    report: &mut Report,
    screen: &mut Screen,
    name: &'static str,
    make: impl FnOnce() -> anyhow::Result<(T, String)>,
) -> Option<T> {
    let begun = Instant::now();
    let made = make();
    let took = begun.elapsed();
    let (made, detail) = match made {
        Ok((made, detail)) => (Some(made), Ok(detail)),
        Err(error) => (None, Err(error)),
    };
    screen.done(name, made.is_some(), took);
    report.step(name, "", detail, took);
    made
}

fn make(report: &mut Report, screen: &mut Screen, step: &Step, world: &mut World<'_>) -> bool {
    let begun = Instant::now();
    let outcome = (step.verb)(world);
    let took = begun.elapsed();
    screen.done(step.name, outcome.is_ok(), took);
    report.step(step.name, step.via, outcome, took)
}

fn not_run(report: &mut Report, steps: &[Step]) {
    for step in steps {
        report.step_not_run(step.name, step.via);
    }
}
