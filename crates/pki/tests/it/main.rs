//! Tests through the public interface.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod chains;
mod encrypted_keys;
mod fuzz_smoke;
mod key_store;
mod keys;
mod pkcs11;
mod published;
mod sgp26;
mod sgp26_invalid;
mod test_pki;
mod variants;

use pki::{Certificate, PrivateKey, TrustAnchors, UnixTime};

/// Reads a file of the SGP.26 test set.
fn sgp26(path: &str) -> Vec<u8> {
    let path = format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sgp26/{}"),
        path
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sgp26_certificate(path: &str) -> Certificate {
    Certificate::from_der(&sgp26(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sgp26_key(path: &str) -> PrivateKey {
    PrivateKey::from_pem(core::str::from_utf8(&sgp26(path)).unwrap())
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Both CIs of SGP.26 variant O.
fn sgp26_anchors() -> TrustAnchors {
    let mut anchors = TrustAnchors::new();
    for curve in ["NIST", "BRP"] {
        let ci = sgp26_certificate(&format!(
            "variant-o/CertificateIssuer/CERT_CI_ECDSA_{curve}.der"
        ));
        anchors.add_ci(ci).unwrap();
    }
    anchors
}

/// 2026-08-01.
fn now() -> Option<UnixTime> {
    UnixTime::from_date(2026, 8, 1)
}

fn rng(seed: u8) -> rand_chacha::ChaCha20Rng {
    rand_chacha::rand_core::SeedableRng::from_seed([seed; 32])
}
