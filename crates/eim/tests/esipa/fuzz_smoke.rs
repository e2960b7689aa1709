//! The fuzz target of `fuzz/src/targets/eim.rs` over damaged requests, in every build.

use crate::world;

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, clippy::expect_used, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/messages.rs"]
mod messages;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/targets/eim.rs"]
mod targets;

#[test]
fn esipa_http() {
    let budget = harness::Budget {
        octets: 100_000,
        times_min: 10,
        times_max: 200,
    };
    let seeds = targets::esipa_http_seeds(&messages::published());
    harness::smoke(targets::esipa_http, &seeds, &budget);
}
