#[allow(dead_code, reason = "for the tests of the crate")]
#[path = "../../crates/smdp/tests/api/support.rs"]
mod support;
#[path = "targets/smdp.rs"]
mod targets;

use super::input;

pub use targets::*;
