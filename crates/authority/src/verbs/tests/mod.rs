//! Everything that is asked is asked here through proofs and verbs, as the service does it.

mod attacks;
mod decide;
mod effects;
mod enrol;
mod feed;
mod propose;
mod replay;
mod roles;
mod sign_in;

use intent::api::{IntentStatus, RefusalCode};
use intent::{Action, Decision};

use crate::event::Event;
use crate::testing::{Person, World};

/// The code with which something is refused.
fn code<T: std::fmt::Debug>(result: Result<T, intent::api::Refusal>) -> RefusalCode {
    result.unwrap_err().code
}

/// Has somebody propose something.
fn ask(
    world: &mut World,
    by: &mut Person,
    action: Action,
) -> Result<IntentStatus, intent::api::Refusal> {
    let request = by.propose(&world.intent(action));
    world.propose(&request)
}

/// Has somebody approve.
fn approve(
    world: &mut World,
    by: &mut Person,
    status: &IntentStatus,
) -> Result<IntentStatus, intent::api::Refusal> {
    let request = by.decide(status.id, Decision::Approve);
    world.decide(status.id, &request)
}

fn incidents(world: &World) -> Vec<String> {
    world
        .history
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::IncidentRaised { what, .. } => Some(what.clone()),
            _ => None,
        })
        .collect()
}
