//! The fuzz target of `fuzz/src/targets/webauthn.rs` over damaged responses, in every build.

#[expect(unreachable_pub, clippy::panic, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, clippy::expect_used, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/targets/webauthn.rs"]
mod targets;

#[test]
fn webauthn() {
    let budget = harness::Budget {
        octets: usize::MAX,
        times_min: 3000,
        times_max: 3000,
    };
    harness::smoke(targets::webauthn, &targets::webauthn_seeds(), &budget);
}
