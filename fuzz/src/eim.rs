#[path = "targets/eim.rs"]
mod targets;
#[allow(dead_code, reason = "for the tests of the crate")]
#[path = "../../crates/eim/tests/esipa/world.rs"]
mod world;

use super::input;

pub use targets::*;
