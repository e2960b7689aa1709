//! The fuzz target of `fuzz/src/targets/ipa.rs` over damaged networks, in every build.

use crate::support;

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/targets/ipa.rs"]
mod targets;

#[test]
fn ipa_network() {
    let budget = harness::Budget {
        octets: 0,
        times_min: 1,
        times_max: 1,
    };
    harness::smoke(targets::ipa_network, &targets::ipa_network_seeds(), &budget);
}
