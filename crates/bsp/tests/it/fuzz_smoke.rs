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

/// A segment with the right MAC and padding under the keys 01.., 54.., AB.. that the target once had for every input. A
/// fuzzer that looks into comparisons had put it together; with keys of its own for each input it cannot.
#[test]
fn what_fits_to_other_keys_is_refused() {
    let found = "F5B32A8618302695 4D9FF86AFB6FD838 E5FA3ADFC66C402B 60281D1CC0".replace(' ', "");
    targets::segments(&hex::decode(found).unwrap());
}
