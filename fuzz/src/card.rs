#[allow(dead_code, reason = "for the tests of the crate")]
#[path = "../../crates/euicc/tests/it/support/mod.rs"]
mod support;
#[path = "targets/card.rs"]
mod targets;

use super::input;

pub use targets::*;
