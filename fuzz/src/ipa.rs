#[allow(dead_code, unused_imports, reason = "for the tests of the crate")]
#[path = "../../crates/ipa/tests/it/support/mod.rs"]
mod support;
#[path = "targets/ipa.rs"]
mod targets;

use super::input;

pub use targets::*;
