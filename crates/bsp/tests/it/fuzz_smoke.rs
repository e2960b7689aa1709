//! The fuzz target of `fuzz/src/targets/segments.rs` over damaged sessions, in every build.

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, clippy::expect_used, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/targets/segments.rs"]
mod targets;

#[test]
fn segments() {
    let budget = harness::Budget {
        octets: usize::MAX,
        times_min: 1500,
        times_max: 1500,
    };
    harness::smoke(targets::segments, &targets::segments_seeds(), &budget);
}
