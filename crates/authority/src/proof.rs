//! Checks what people and machines show, before the writer is troubled with it.
//!
//! Signatures are expensive to verify and do not depend on the moment, so they are verified on the caller's thread, against the
//! state as it is then. What a verb receives is a [`Proposal`] or a [`Ballot`]: somebody known really said this. Whether they
//! may, and whether their credential is still valid, is for the verb.

use std::net::IpAddr;

use intent::api::{Decide, Propose, Refusal, RefusalCode};
use intent::http_signature::{self, HttpProof};
use intent::key_file::PublicKey;
use intent::passkey::AssertionResponse;
use intent::{CredentialId, Decision, Digest, Intent, IntentError, IntentId, Principal, Proof};
use rsp::ids::Eid;

use crate::state::people::Public;
use crate::state::{EidList, State};
use crate::webauthn;

/// Where a machine sends intents on the eIM's own machine; its signature covers it.
pub const INTENTS_PATH: &str = "/v1/intents";
/// Where a machine sends intents over the network.
pub const API_INTENTS_PATH: &str = "/api/v1/intents";
/// How old a machine's signature may be: 5 minutes.
pub const SIGNATURE_AGE_MS: u64 = 300_000;
/// Octets of a proof in JSON. With the longest intent it still fits into one entry of the ledger.
pub const PROOF_MAX: usize = 16 * 1024;
/// Devices in a list, for bounding it before it is read.
const DEVICES_MAX: usize = intent::device_set::DEVICES_MAX;

/// Who said something, as a verified proof shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who.
    pub principal: Principal,
    /// With which credential.
    pub credential: CredentialId,
    /// Whether with a passkey: a person.
    pub is_passkey: bool,
    /// The signature counter that the passkey stated.
    pub new_counter: Option<u32>,
}

/// A proposal that somebody known really made.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub(crate) id: IntentId,
    pub(crate) intent: Intent,
    pub(crate) proof: Proof,
    pub(crate) network: Option<IpAddr>,
    /// The devices, or why the list that came along is not the intent's.
    pub(crate) eids: Result<EidList, Refusal>,
    pub(crate) by: Verified,
}

/// A decision that somebody known really made.
#[derive(Debug, Clone)]
pub struct Ballot {
    pub(crate) id: IntentId,
    pub(crate) decision: Decision,
    pub(crate) proof: Proof,
    pub(crate) network: Option<IpAddr>,
    pub(crate) by: Verified,
}

impl Proposal {
    /// Reads a proposal and verifies its proof. `now` in milliseconds since 1970.
    pub fn verify(state: &State, now: i64, request: &Propose) -> Result<Self, Refusal> {
        let installation = state.installation()?;
        let octets = request.intent.as_bytes();
        let (intent, id) = Intent::decode(octets).map_err(malformed)?;
        if intent.installation != installation.name {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                format!(
                    "this intent is for the installation {:?}, this is {:?}: sign one for this installation",
                    intent.installation, installation.name
                ),
            ));
        }
        check_length(&request.proof)?;
        let by = match &request.proof {
            Proof::HttpSignature(proof) => by_machine(state, now, proof, octets)?,
            Proof::Passkey {
                credential,
                assertion,
            } => by_person(state, credential, assertion, &id.0)?,
        };
        Ok(Self {
            eids: devices(&intent, request.devices.as_deref()),
            id,
            intent,
            proof: request.proof.clone(),
            network: request.network,
            by,
        })
    }

    /// What is proposed.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Who proposes it.
    pub fn by(&self) -> &Verified {
        &self.by
    }
}

impl Ballot {
    /// Reads a decision about the intent `id` and verifies its proof.
    pub fn verify(state: &State, id: IntentId, request: &Decide) -> Result<Self, Refusal> {
        check_length(&request.proof)?;
        let Proof::Passkey {
            credential,
            assertion,
        } = &request.proof
        else {
            return Err(Refusal::new(
                RefusalCode::PasskeyNeeded,
                "people approve and reject, with a passkey: a machine's signature is not accepted for it",
            ));
        };
        let challenge = request.decision.challenge(id);
        Ok(Self {
            by: by_person(state, credential, assertion, &challenge)?,
            id,
            decision: request.decision,
            proof: request.proof.clone(),
            network: request.network,
        })
    }
}

fn malformed(error: IntentError) -> Refusal {
    let code = match error {
        IntentError::Lifetime => RefusalCode::Expired,
        _ => RefusalCode::Malformed,
    };
    Refusal::new(code, error.to_string())
}

pub(crate) fn check_length(proof: &Proof) -> Result<(), Refusal> {
    let length = serde_json::to_vec(proof).map_or(usize::MAX, |octets| octets.len());
    match length > PROOF_MAX {
        true => Err(Refusal::new(
            RefusalCode::Malformed,
            format!("a proof has at most {PROOF_MAX} octets"),
        )),
        false => Ok(()),
    }
}

fn devices(intent: &Intent, along: Option<&[String]>) -> Result<EidList, Refusal> {
    let refused = |message: String| Refusal::new(RefusalCode::Malformed, message);
    let Some(set) = intent.action.devices() else {
        return match along {
            None => Ok(EidList::default()),
            Some(_) => Err(refused(
                "a list of devices came along with an intent that is about none: leave it out"
                    .to_owned(),
            )),
        };
    };
    if along.is_some_and(|list| list.len() > DEVICES_MAX) {
        return Err(refused(format!(
            "an intent has at most {DEVICES_MAX} devices"
        )));
    }
    let along: Option<Vec<Eid>> = along
        .map(|list| list.iter().map(|text| text.parse()).collect())
        .transpose()
        .map_err(|error: rsp::ids::InvalidId| refused(error.to_string()))?;
    let eids = set
        .resolve(along.as_deref())
        .map_err(|error| refused(error.to_string()))?;
    EidList::of_sorted(eids).ok_or_else(|| refused("the EIDs do not rise".to_owned()))
}

fn by_machine(
    state: &State,
    now: i64,
    proof: &HttpProof,
    octets: &[u8],
) -> Result<Verified, Refusal> {
    let is_there = [INTENTS_PATH, API_INTENTS_PATH].contains(&proof.path.as_str());
    if proof.method != "POST" || !is_there || proof.query.is_some() {
        return Err(invalid(format!(
            "the signature is not over POST {API_INTENTS_PATH} or {INTENTS_PATH}: sign the request that carries the intent"
        )));
    }
    let credential = signed(state, now, proof, octets, http_signature::TAG_INTENT)?;
    let (principal, _, _) = state.people.known(&credential)?;
    Ok(Verified {
        principal: principal.clone(),
        credential,
        is_passkey: false,
        new_counter: None,
    })
}

/// The key that signed a request.
fn signed(
    state: &State,
    now: i64,
    proof: &HttpProof,
    body: &[u8],
    tag: &str,
) -> Result<CredentialId, Refusal> {
    let open = proof
        .open(body, tag)
        .map_err(|error| invalid(error.to_string()))?;
    let id = open.key_id().clone();
    let (_, _, credential) = state.people.known(&id)?;
    let Public::Key(octets) = &credential.public else {
        return Err(invalid(
            "the signature names a credential that is no Ed25519 key".to_owned(),
        ));
    };
    let key = PublicKey::from_bytes(octets).map_err(|error| invalid(error.to_string()))?;
    let now = u64::try_from(now).unwrap_or(0);
    open.verify(&key, now, SIGNATURE_AGE_MS)
        .map_err(|error| invalid(error.to_string()))?;
    Ok(id)
}

pub(crate) fn by_person(
    state: &State,
    id: &CredentialId,
    assertion: &AssertionResponse,
    challenge: &Digest,
) -> Result<Verified, Refusal> {
    let installation = state.installation()?;
    let (principal, _, credential) = state.people.known(id)?;
    let Public::Passkey(passkey) = &credential.public else {
        return Err(invalid(
            "the assertion names a credential that is no passkey".to_owned(),
        ));
    };
    let facts = webauthn::verify_assertion(
        &installation.relying_party,
        challenge.as_bytes(),
        passkey,
        credential.counter,
        assertion,
    )
    .map_err(|error| invalid(error.to_string()))?;
    Ok(Verified {
        principal: principal.clone(),
        credential: id.clone(),
        is_passkey: true,
        new_counter: Some(facts.new_counter),
    })
}

fn invalid(message: String) -> Refusal {
    Refusal::new(RefusalCode::ProofInvalid, message)
}
