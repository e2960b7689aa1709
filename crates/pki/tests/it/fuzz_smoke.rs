//! The fuzz target of `fuzz/src/targets/x509.rs` over damaged certificates, in every build.

#[expect(unreachable_pub, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, clippy::expect_used, reason = "shared with fuzz/")]
#[path = "../../../../fuzz/src/targets/x509.rs"]
mod targets;

#[test]
fn x509() {
    let budget = harness::Budget {
        octets: 100_000,
        times_min: 25,
        times_max: 60,
    };
    harness::smoke(targets::x509, &targets::x509_seeds(), &budget);
}
