//! The fuzz targets of `fuzz/src/targets/proofs.rs` over damaged inputs, in every build.

#[expect(unreachable_pub, clippy::panic, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/harness.rs"]
mod harness;
#[expect(unreachable_pub, dead_code, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[expect(unreachable_pub, clippy::expect_used, reason = "shared with fuzz/")]
#[path = "../../../fuzz/src/targets/proofs.rs"]
mod targets;

const BUDGET: harness::Budget = harness::Budget {
    octets: usize::MAX,
    times_min: 3000,
    times_max: 3000,
};

#[test]
fn http_proof() {
    harness::smoke(targets::http_proof, &targets::http_proof_seeds(), &BUDGET);
}

#[test]
fn client_texts() {
    harness::smoke(
        targets::client_texts,
        &targets::client_texts_seeds(),
        &BUDGET,
    );
}
