//! The Python example client and this crate against each other: the same canonical octets, ids and Merkle roots, and
//! signatures that verify. They share no code: Python has its own JSON, SHA-256 and Ed25519.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use intent::http_signature::{HttpProof, RequestParts, TAG_INTENT, TAG_READ, sign, verify};
use intent::key_file::{ClientKey, PublicKey};
use intent::{Intent, Proof, api};
use serde_json::Value;

const MAX_AGE_MS: u64 = 300_000;

struct Vectors {
    json: Value,
    public: PublicKey,
    key: ClientKey,
    created_s: u64,
    nonce: String,
}

impl Vectors {
    fn committed() -> Self {
        let path = root().join("tests/data/python-client/vectors.json");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let octets = |name: &str| -> [u8; 32] {
            hex::decode(text(&json[name])).unwrap().try_into().unwrap()
        };
        Self {
            public: PublicKey::from_bytes(&octets("public")).unwrap(),
            key: ClientKey::from_seed("ci-runner".parse().unwrap(), &octets("seed")),
            created_s: json["created_s"].as_u64().unwrap(),
            nonce: text(&json["nonce"]).to_owned(),
            json,
        }
    }

    fn verify(&self, proof: &HttpProof, body: &[u8], tag: &str) {
        let now_ms = self.created_s * 1000 + 5;
        let verified = verify(proof, body, tag, &self.public, now_ms, MAX_AGE_MS).unwrap();
        assert_eq!(verified.key_id, self.key.id());
        assert_eq!(verified.created_s, self.created_s);
        assert_eq!(verified.nonce, self.nonce);
        // Ed25519 is deterministic: this crate makes the very same fields.
        let ours = sign(
            &proof.request(),
            body,
            &self.key,
            self.created_s,
            &self.nonce,
            tag,
        );
        assert_eq!(&ours.unwrap(), proof);
    }
}

#[test]
fn keys_have_the_same_id() {
    let vectors = Vectors::committed();
    assert_eq!(vectors.key.public(), vectors.public);
    assert_eq!(vectors.key.id().as_str(), text(&vectors.json["key_id"]));
}

#[test]
fn values_have_the_same_canonical_text() {
    for vector in array(&Vectors::committed().json["values"]) {
        let ours = serde_jcs::to_string(&vector["value"]).unwrap();
        assert_eq!(ours, text(&vector["canonical"]));
    }
}

#[test]
fn proposals_are_understood_and_their_signatures_verify() {
    let vectors = Vectors::committed();
    let mut sent_along = 0;
    for vector in array(&vectors.json["proposals"]) {
        let octets = text(&vector["intent"]).as_bytes();
        let (intent, id) = Intent::decode(octets).unwrap();
        assert_eq!(intent.encode().unwrap(), octets);
        assert_eq!(id.to_string(), text(&vector["id"]));

        let body = text(&vector["body"]);
        let proposal = match vector["fields"]["Signature"].as_str() {
            // The request is the proof.
            Some(_) => api::Propose {
                intent: body.to_owned(),
                proof: Proof::HttpSignature(from_fields("POST", vector)),
                devices: None,
                network: None,
                openings: Vec::new(),
            },
            // The proof is a member of the body, because something travels beside the intent.
            None => serde_json::from_str(body).unwrap(),
        };
        assert_eq!(proposal.intent.as_bytes(), octets);
        let Proof::HttpSignature(proof) = &proposal.proof else {
            panic!("another proof in {body:.200}");
        };
        vectors.verify(proof, octets, TAG_INTENT);

        let devices: Option<Vec<_>> = proposal
            .devices
            .as_ref()
            .map(|eids| eids.iter().map(|eid| eid.parse().unwrap()).collect());
        if let Some(set) = intent.action.devices() {
            let eids = set.resolve(devices.as_deref()).unwrap();
            assert_eq!(eids.len() as u64, set.count());
            sent_along += usize::from(devices.is_some());
        }
        for opening in &proposal.openings {
            sent_along += 1;
            assert!(proposal.intent.contains(&opening.digest().to_string()));
            assert!(!proposal.intent.contains(&opening.secret));
        }
    }
    assert_eq!(sent_along, 2, "one list of devices and one opening");
}

#[test]
fn signatures_for_reading_verify() {
    let vectors = Vectors::committed();
    for vector in array(&vectors.json["reads"]) {
        let proof = from_fields("GET", vector);
        vectors.verify(&proof, b"", TAG_READ);
        assert!(proof.open(b"", TAG_INTENT).is_err());
    }
}

/// Runs the client now, with the Python that is installed.
#[test]
fn the_client_makes_what_is_committed() {
    let output = Command::new(python())
        .arg(root().join("examples/python/make_vectors.py"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "make_vectors.py: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        made == Vectors::committed().json,
        "examples/python makes something else than tests/data/python-client/vectors.json: \
         if that is meant, make the file anew as its ORIGIN.md says"
    );
}

/// A Python that has `cryptography`.
fn python() -> String {
    let candidates = [
        std::env::var("PYTHON").ok(),
        Some("python3".to_owned()),
        Some("/usr/bin/python3".to_owned()),
    ];
    let has_cryptography = |python: &String| {
        Command::new(python)
            .args([
                "-c",
                "import cryptography.hazmat.primitives.asymmetric.ed25519",
            ])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    candidates
        .into_iter()
        .flatten()
        .find(has_cryptography)
        .expect(
            "no python3 with the package cryptography is installed: \
             install python3-cryptography, or name a Python that has it in PYTHON",
        )
}

/// The proof in the header fields of a request.
fn from_fields(method: &str, vector: &Value) -> HttpProof {
    let fields = &vector["fields"];
    let request = RequestParts::from_target(method, text(&vector["target"]));
    HttpProof {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        query: request.query.map(str::to_owned),
        content_digest: text(&fields["Content-Digest"]).to_owned(),
        signature_input: text(&fields["Signature-Input"]).to_owned(),
        signature: text(&fields["Signature"]).to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
