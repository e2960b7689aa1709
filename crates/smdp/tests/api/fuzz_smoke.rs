//! The fuzz target of `fuzz/src/targets/smdp.rs` over damaged requests, in every build.

use crate::support;

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
#[path = "../../../../fuzz/src/targets/smdp.rs"]
mod targets;

#[test]
fn es9plus_http() {
    let budget = harness::Budget {
        octets: 100_000,
        times_min: 10,
        times_max: 200,
    };
    let seeds = targets::es9plus_http_seeds(&messages::published());
    harness::smoke(targets::es9plus_http, &seeds, &budget);
}
