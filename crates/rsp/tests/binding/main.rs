//! The bindings of ESipa, ES9+ and ES2+: what one side writes the other reads, published sessions
//! come through byte for byte, and hostile bodies are refused with the member named.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod es2plus;
mod hostile;
mod properties;
mod session;

/// The octets of one vector.
fn vector(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../tests/data/vectors/{name}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    hex::decode(text.trim()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Base64 of octets.
fn base64(octets: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// The header of an answer that succeeded.
fn executed() -> serde_json::Value {
    serde_json::json!({ "functionExecutionStatus": { "status": "Executed-Success" } })
}

/// The header of an answer that failed.
fn failed(subject: &str, reason: &str) -> serde_json::Value {
    serde_json::json!({ "functionExecutionStatus": {
        "status": "Failed",
        "statusCodeData": { "subjectCode": subject, "reasonCode": reason },
    } })
}

/// A body read as JSON, to compare without regard to the order of members.
fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}"))
}
