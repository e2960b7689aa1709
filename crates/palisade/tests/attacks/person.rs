//! A person with a passkey in a file, who proves whatever a test wants proven.

use std::fs;
use std::path::{Path, PathBuf};

use intent::api::{Decide, Propose};
use intent::passkey::SoftwarePasskey;
use intent::{Action, Decision, Digest, Intent, IntentId, Proof};
use serde_json::Value;

use crate::support::control::Control;
use crate::support::machine::now_ms;

/// A person.
pub(crate) struct Person {
    path: PathBuf,
    front: Control,
    origin: String,
    installation: String,
}

impl Person {
    pub(crate) fn new(passkey: &Path, front: &Control) -> Self {
        let parameters = front.read("/v1/enrolments/parameters");
        Self {
            path: passkey.to_owned(),
            front: front.clone(),
            origin: parameters["origins"][0].as_str().unwrap().to_owned(),
            installation: parameters["installation"].as_str().unwrap().to_owned(),
        }
    }

    /// An intent of this moment, canonical.
    pub(crate) fn intent(&self, action: Action) -> (IntentId, String) {
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).unwrap();
        let now = now_ms();
        let intent = Intent {
            v: 1,
            installation: self.installation.clone(),
            nonce,
            created_at: now,
            expires_at: now + 3_600_000,
            action,
            note: None,
        };
        let octets = intent.encode().unwrap();
        (IntentId::of(&octets), String::from_utf8(octets).unwrap())
    }

    /// An assertion of the passkey over a challenge.
    pub(crate) fn assert(&self, challenge: &Digest) -> Proof {
        let text = fs::read_to_string(&self.path).unwrap();
        let mut passkey = SoftwarePasskey::from_json(&text, None).unwrap();
        let assertion = passkey.assert(&self.origin, challenge.as_bytes()).unwrap();
        fs::write(&self.path, passkey.to_json().as_bytes()).unwrap();
        Proof::Passkey {
            credential: assertion.credential_id().unwrap(),
            assertion: Box::new(assertion),
        }
    }

    /// A proven proposal.
    pub(crate) fn proposal(&self, action: Action) -> (IntentId, Propose) {
        let (id, intent) = self.intent(action);
        let proof = self.assert(&id.0);
        (id, proposal(intent, proof))
    }

    pub(crate) fn send(&self, proposal: &Propose) -> (u16, Value) {
        let body = serde_json::to_string(proposal).unwrap();
        self.front.post("/v1/intents", &body).unwrap()
    }

    /// Approves an intent with a proof.
    pub(crate) fn approve_with(&self, id: IntentId, proof: Proof) -> (u16, Value) {
        let decide = Decide {
            decision: Decision::Approve,
            proof,
            network: None,
        };
        let body = serde_json::to_string(&decide).unwrap();
        let path = format!("/v1/intents/{id}/decisions");
        self.front.post(&path, &body).unwrap()
    }

    pub(crate) fn approve(&self, id: IntentId) -> (u16, Value) {
        let proof = self.assert(&Decision::Approve.challenge(id));
        self.approve_with(id, proof)
    }
}

/// An intent with some proof.
pub(crate) fn proposal(intent: String, proof: Proof) -> Propose {
    Propose {
        intent,
        proof,
        devices: None,
        network: None,
        openings: Vec::new(),
    }
}
