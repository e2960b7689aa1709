//! What can be asked without changing anything. It shows the state as it is, which may be some milliseconds ahead of the disk;
//! the feed, which others act upon, shows what is durable.

use intent::action::FreezeScope;
use intent::api::{Feed, IntentState, IntentStatus, PrincipalInfo, Refusal, RefusalCode};
use intent::bearer::TokenRecord;
use intent::{Digest, IntentId, PolicyDocument, Principal};
use rsp::sgp32::EimConfigurationData;
use serde::Serialize;

use crate::event::RelyingParty;
use crate::package;
use crate::service::{Authority, read};

/// How an authority stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The installation.
    pub installation: String,
    /// Durable entries.
    pub entries: u64,
    /// Devices under management.
    pub devices: u64,
    /// How many of them are associated.
    pub associated: u64,
    /// Intents that are not forgotten.
    pub intents: u64,
    /// What is frozen.
    pub freezes: Vec<FreezeScope>,
    /// Version of the policy.
    pub policy_version: u64,
    /// Milliseconds since 1970 of the newest entry.
    pub newest_at: i64,
    /// What the clock says. Milliseconds since 1970.
    pub clock: i64,
    /// Why nothing is answered any more, if that is so.
    pub fault: Option<String>,
}

/// A key of the eIM, as lists show it.
#[derive(Debug, Clone, Serialize)]
pub struct SigningKeyInfo {
    /// SHA-256 of its SubjectPublicKeyInfo (DER).
    pub spki_sha256: Digest,
    /// SubjectPublicKeyInfo (DER), in hexadecimal.
    #[serde(with = "hex::serde")]
    pub spki: Vec<u8>,
    /// The entry that added it; none for a key that the process holds and nobody added.
    pub entry: Option<u64>,
    /// Whether eUICCs are associated with it.
    pub for_association: bool,
    /// Devices that would be left without a key if it was retired.
    pub devices: u64,
}

impl Authority {
    /// What the eIM has to know of what happened behind entry `after`.
    pub fn feed(&self, after: u64) -> Result<Feed, Refusal> {
        let durable = self.entries();
        self.look(|state, now| Ok(state.feed(after, durable, now)))
    }

    /// Everybody.
    pub fn principals(&self) -> Result<Vec<PrincipalInfo>, Refusal> {
        self.look(|state, _| Ok(state.principals()))
    }

    /// Somebody.
    pub fn principal(&self, name: &Principal) -> Result<PrincipalInfo, Refusal> {
        self.look(|state, _| state.principal(name))
    }

    /// How an intent stands.
    pub fn intent(&self, id: &IntentId) -> Result<IntentStatus, Refusal> {
        self.look(|state, now| state.status(id, now))
    }

    /// Intents, the newest first.
    pub fn intents(
        &self,
        state: Option<IntentState>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<IntentStatus>, Refusal> {
        self.look(|all, now| Ok(all.page(state, before, limit, now)))
    }

    /// The policy.
    pub fn policy(&self) -> Result<PolicyDocument, Refusal> {
        self.look(|state, _| Ok(state.policy.clone()))
    }

    /// What is frozen.
    pub fn freezes(&self) -> Result<Vec<FreezeScope>, Refusal> {
        self.look(|state, _| Ok(state.freezes.iter().cloned().collect()))
    }

    /// Keys of the eIM: those in use, and those that this process holds and nobody has added.
    pub fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, Refusal> {
        let signers = self.shared.signers();
        self.look(|state, _| {
            let first = state.keys.for_association().map(|(digest, _)| *digest);
            let used = state.keys.iter().map(|(digest, key)| SigningKeyInfo {
                spki_sha256: *digest,
                spki: key.spki.clone(),
                entry: Some(key.number),
                for_association: first == Some(*digest),
                devices: state.devices.depending_on(digest),
            });
            let held = signers
                .public
                .iter()
                .filter(|(digest, _)| !state.keys.is_usable(digest))
                .map(|(digest, spki)| SigningKeyInfo {
                    spki_sha256: *digest,
                    spki: spki.clone(),
                    entry: None,
                    for_association: false,
                    devices: 0,
                });
            Ok(used.chain(held).collect())
        })
    }

    /// What an eUICC has to store to accept packages of this eIM.
    pub fn configuration(&self) -> Result<EimConfigurationData, Refusal> {
        let reachability = read(&self.shared.reachability).clone();
        self.look(|state, _| {
            let (_, key) = state.keys.for_association().ok_or_else(|| {
                Refusal::new(RefusalCode::Unavailable, "the eIM has no signing key")
            })?;
            let eim_id =
                state.installation()?.eim_id.parse().map_err(|_| {
                    Refusal::new(RefusalCode::Malformed, "the eIM's name is no eimId")
                })?;
            Ok(package::configuration(eim_id, &reachability, &key.spki))
        })
    }

    /// The name of the eIM (eimId).
    pub fn eim_id(&self) -> Result<String, Refusal> {
        self.look(|state, _| Ok(state.installation()?.eim_id.clone()))
    }

    /// The installation's name and what passkeys are bound to.
    pub fn parameters(&self) -> Result<(String, RelyingParty), Refusal> {
        self.look(|state, _| {
            let installation = state.installation()?;
            Ok((
                installation.name.clone(),
                installation.relying_party.clone(),
            ))
        })
    }

    /// Whose reading token it is.
    pub fn check_token(&self, token: &TokenRecord) -> Result<PrincipalInfo, Refusal> {
        self.look(|state, now| state.check_token(token, now))
    }

    /// How everything stands.
    pub fn status(&self) -> Status {
        let clock = self.shared.clock.now_ms();
        let fault = self.fault();
        let entries = self.entries();
        let state = read(&self.shared.state);
        let (devices, associated) = state.devices.counts();
        Status {
            installation: state
                .installation
                .as_ref()
                .map(|it| it.name.clone())
                .unwrap_or_default(),
            entries,
            devices,
            associated,
            intents: state.intents.len() as u64,
            freezes: state.freezes.iter().cloned().collect(),
            policy_version: state.policy.version,
            newest_at: state.newest_at,
            clock,
            fault,
        }
    }
}
