//! A machine that asks for changes: intents, signed with its key.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use intent::http_signature::{self, HttpProof, RequestParts, TAG_INTENT};
use intent::key_file::ClientKey;
use intent::{Action, Command, DeviceSet, Intent, IntentId};
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::PATIENCE;
use super::control::{Broken, Control};

/// A key, and the installation that its intents are for.
#[derive(Clone)]
pub(crate) struct Machine {
    key: Arc<ClientKey>,
    installation: String,
}

/// An intent, proven, as it is sent.
pub(crate) struct Signed {
    pub(crate) id: IntentId,
    /// Its canonical octets.
    pub(crate) octets: String,
    pub(crate) proof: HttpProof,
    /// The list of devices, if the intent commits to one.
    pub(crate) devices: Option<Vec<Eid>>,
}

impl Machine {
    pub(crate) fn new(key: &Path, installation: &str) -> Self {
        let key = ClientKey::from_json(&fs::read_to_string(key).unwrap()).unwrap();
        Self {
            key: Arc::new(key),
            installation: installation.to_owned(),
        }
    }

    /// Signs a change that may be carried out for so long.
    pub(crate) fn sign(
        &self,
        action: Action,
        devices: Option<Vec<Eid>>,
        lifetime_ms: i64,
    ) -> Signed {
        let now = now_ms();
        let intent = Intent {
            v: 1,
            installation: self.installation.clone(),
            nonce: random(),
            created_at: now,
            expires_at: now + lifetime_ms,
            action,
            note: None,
        };
        let octets = intent.encode().unwrap();
        let request = RequestParts {
            method: "POST",
            path: "/v1/intents",
            query: None,
        };
        let nonce = hex::encode(random::<16>());
        let created_s = now as u64 / 1000;
        let proof =
            http_signature::sign(&request, &octets, &self.key, created_s, &nonce, TAG_INTENT);
        Signed {
            id: IntentId::of(&octets),
            octets: String::from_utf8(octets).unwrap(),
            proof: proof.unwrap(),
            devices,
        }
    }

    /// Commands on one device.
    pub(crate) fn operate(&self, eid: Eid, commands: Vec<Command>, lifetime_ms: i64) -> Signed {
        let devices = DeviceSet::one(eid);
        self.sign(Action::Operate { devices, commands }, None, lifetime_ms)
    }

    /// Devices for the fleet `default`.
    pub(crate) fn register(&self, eids: Vec<Eid>) -> Signed {
        let (devices, along) = DeviceSet::of(eids).unwrap();
        let fleet = "default".parse().unwrap();
        let action = Action::RegisterDevices { fleet, devices };
        self.sign(action, along, 3_600_000)
    }
}

impl Signed {
    /// Sends it once.
    pub(crate) fn send(&self, control: &Control) -> Result<(u16, Value), Broken> {
        match &self.devices {
            None => control.post_with(
                "/v1/intents",
                &[
                    ("Content-Digest", &self.proof.content_digest),
                    ("Signature-Input", &self.proof.signature_input),
                    ("Signature", &self.proof.signature),
                ],
                &self.octets,
            ),
            Some(devices) => {
                let devices: Vec<String> = devices.iter().map(ToString::to_string).collect();
                let proof = intent::Proof::HttpSignature(self.proof.clone());
                let body = json!({ "intent": self.octets, "proof": proof, "devices": devices });
                control.post("/v1/intents", &body.to_string())
            }
        }
    }

    /// Sends it until it is sure that the authority has it, which takes nothing twice.
    pub(crate) fn insist(&self, control: &Control) {
        assert!(self.offer(control), "it expired first");
    }

    /// As [`Signed::insist`], until it expires. Whether the authority has it.
    pub(crate) fn offer(&self, control: &Control) -> bool {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nothing can be proposed");
            match self.send(control) {
                Ok((201, _)) => return true,
                Ok((409, problem)) if problem["code"] == "replayed" => return true,
                // An earlier sending may have come in time, though its answer was lost.
                Ok((_, problem)) if problem["code"] == "expired" => return self.is_known(control),
                // The authority is on its way down or up.
                Ok((503, _)) | Err(_) => {}
                Ok((status, problem)) => panic!("{status}: {problem}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn is_known(&self, control: &Control) -> bool {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nobody knows how it stands");
            match control.get(&format!("/v1/intents/{}", self.id)) {
                Ok((200, _)) => return true,
                Ok((404, _)) => return false,
                Ok((503, _)) | Err(_) => {}
                Ok((status, problem)) => panic!("{status}: {problem}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// The operation that came of an intent on one device, once the eIM has it.
    pub(crate) fn operation(&self, control: &Control) -> String {
        let begun = Instant::now();
        loop {
            let answer = control.get(&format!("/v1/intents/{}", self.id));
            if let Ok((200, status)) = &answer
                && let Some(id) = status["operations"][0]["id"].as_str()
            {
                return id.to_owned();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the intent becomes no operation: {answer:?}, {:?}",
                control.get("/v1/authority")
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).unwrap();
    octets
}

pub(crate) fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = SystemTime::now();
    i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
