//! Tests through the public interface.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod fuzz_smoke;
mod kdf;
mod refusal;
mod vectors;

use serde_json::Value;

fn vector_file(path: &str) -> String {
    let path = format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors/{}"),
        path
    );
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn vector_json(path: &str) -> Value {
    serde_json::from_str(&vector_file(path)).unwrap()
}

/// Octets of a hex string.
fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    octets(value).try_into().unwrap()
}
