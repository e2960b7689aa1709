//! The fuzz targets of `fuzz/src/targets/card.rs` over damaged sessions and memories, in every build.

use crate::support;

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/targets/card.rs"]
mod targets;

#[test]
fn apdu() {
    let budget = harness::Budget {
        octets: usize::MAX,
        times_min: 6,
        times_max: 6,
    };
    harness::smoke(targets::apdu, &targets::apdu_seeds(), &budget);
}

#[test]
fn nvm() {
    let budget = harness::Budget {
        octets: usize::MAX,
        times_min: 40,
        times_max: 40,
    };
    harness::smoke(targets::nvm, &targets::nvm_seeds(), &budget);
}
