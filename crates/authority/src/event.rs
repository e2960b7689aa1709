//! The entries of the ledger, as this crate writes and reads them.
//!
//! An event says what was decided, never what is to be decided: replaying applies it without asking policy again. Entries
//! refer to each other by number, so that a device's history can carry who asked and who approved.

use intent::action::{FreezeScope, MachineKey, Network};
use intent::passkey::PasskeyCredential;
use intent::{
    CredentialId, Decision, Digest, Fleet, Grant, Intent, IntentId, PolicyDocument, Principal,
    Proof,
};
use ledger::{Draft, Entry, EntryError};
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

/// Devices in one [`Event::IntentDevices`].
pub const DEVICES_PER_ENTRY: usize = 1_500;

/// One decision or observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body")]
pub enum Event {
    /// An installation begins.
    #[serde(rename = "authority.genesis")]
    Genesis(Box<Genesis>),
    /// A part of the list of devices that the next `intent.proposed` with this id commits to.
    #[serde(rename = "intent.devices")]
    IntentDevices {
        /// The intent.
        id: IntentId,
        /// In rising order.
        #[serde(with = "intent::text::list")]
        eids: Vec<Eid>,
    },
    /// Somebody asked for something and may.
    #[serde(rename = "intent.proposed")]
    IntentProposed(Box<Proposed>),
    /// Somebody who is known asked for something, or decided on it, and may not. Kept for detection, at most 60 times in an
    /// hour for one credential; changes nothing but when that was used last.
    #[serde(rename = "intent.refused")]
    IntentRefused {
        /// The intent.
        id: IntentId,
        /// Who.
        principal: Principal,
        /// With what.
        credential: CredentialId,
        /// Code of the refusal.
        code: String,
        /// In words.
        detail: String,
    },
    /// Somebody approved or rejected.
    #[serde(rename = "intent.decided")]
    IntentDecided(Box<Decided>),
    /// An intent will not be carried out further.
    #[serde(rename = "intent.cancelled")]
    IntentCancelled {
        /// Which.
        id: IntentId,
        /// Entry of the intent that asked for it.
        by: u64,
    },
    /// A person may enrol with a code.
    #[serde(rename = "person.invited")]
    PersonInvited {
        /// Entry of the intent.
        intent: u64,
        /// Under which name.
        name: Principal,
        /// What the person will be.
        grants: Vec<Grant>,
        /// SHA-256 of the code.
        code_sha256: Digest,
        /// Until when the code can be used.
        code_expires_at: i64,
        /// Until when the person may act.
        expires_at: i64,
        /// From where.
        networks: Vec<Network>,
    },
    /// A person used the code.
    #[serde(rename = "person.enrolled")]
    PersonEnrolled {
        /// Entry of the invitation; 0 for the first owner.
        invitation: u64,
        /// Who.
        name: Principal,
        /// With which passkey.
        passkey: Box<PasskeyCredential>,
    },
    /// A machine is admitted.
    #[serde(rename = "machine.admitted")]
    MachineAdmitted {
        /// Entry of the intent.
        intent: u64,
        /// Under which name.
        name: Principal,
        /// What it is.
        grants: Vec<Grant>,
        /// Its key.
        key: MachineKey,
        /// From where.
        networks: Vec<Network>,
    },
    /// A machine has another key; those before it end at `overlap_until`.
    #[serde(rename = "key.rotated")]
    KeyRotated {
        /// Entry of the intent.
        intent: u64,
        /// The machine.
        name: Principal,
        /// The new key.
        key: MachineKey,
        /// When the others end, unless they expire before.
        overlap_until: i64,
    },
    /// A credential has ended.
    #[serde(rename = "credential.revoked")]
    CredentialRevoked {
        /// Entry of the intent.
        intent: u64,
        /// Which.
        credential: CredentialId,
    },
    /// A person or machine has ended.
    #[serde(rename = "principal.revoked")]
    PrincipalRevoked {
        /// Entry of the intent.
        intent: u64,
        /// Who.
        name: Principal,
    },
    /// Somebody is something else from now on.
    #[serde(rename = "grants.set")]
    GrantsSet {
        /// Entry of the intent.
        intent: u64,
        /// Who.
        name: Principal,
        /// What.
        grants: Vec<Grant>,
    },
    /// A token that can read.
    #[serde(rename = "token.issued")]
    TokenIssued {
        /// Entry of the intent.
        intent: u64,
        /// Under which name.
        name: Principal,
        /// Public part.
        token_id: String,
        /// SHA-256 of the secret part.
        secret_sha256: Digest,
        /// What can be read, and where.
        grants: Vec<Grant>,
        /// Until when.
        expires_at: i64,
    },
    /// Another policy.
    #[serde(rename = "policy.set")]
    PolicySet {
        /// Entry of the intent, which holds the document.
        intent: u64,
        /// The whole document.
        policy: Box<PolicyDocument>,
    },
    /// Signing stops.
    #[serde(rename = "freeze.set")]
    FreezeSet {
        /// Entry of the intent.
        intent: u64,
        /// For what.
        scope: FreezeScope,
    },
    /// Signing goes on.
    #[serde(rename = "freeze.lifted")]
    FreezeLifted {
        /// Entry of the intent.
        intent: u64,
        /// For what.
        scope: FreezeScope,
    },
    /// A further key of the eIM is in use.
    #[serde(rename = "signing-key.added")]
    SigningKeyAdded {
        /// Entry of the intent.
        intent: u64,
        /// SubjectPublicKeyInfo (DER), in hexadecimal.
        #[serde(with = "hex::serde")]
        spki: Vec<u8>,
    },
    /// A key of the eIM is no longer used.
    #[serde(rename = "signing-key.retired")]
    SigningKeyRetired {
        /// Entry of the intent.
        intent: u64,
        /// SHA-256 of its SubjectPublicKeyInfo (DER).
        spki_sha256: Digest,
    },
    /// A device is under management.
    #[serde(rename = "device.registered")]
    DeviceRegistered {
        /// Entry of the intent.
        intent: u64,
        /// Which.
        #[serde(skip)]
        eid: Option<Eid>,
        /// Where it belongs.
        fleet: Fleet,
    },
    /// A device is no longer under management.
    #[serde(rename = "device.retired")]
    DeviceRetired {
        /// Entry of the intent.
        intent: u64,
        /// Which.
        #[serde(skip)]
        eid: Option<Eid>,
    },
    /// A device may be associated anew.
    #[serde(rename = "device.reassociable")]
    DeviceReassociable {
        /// Entry of the intent.
        intent: u64,
        /// Which.
        #[serde(skip)]
        eid: Option<Eid>,
    },
    /// A device showed the certificates of its eUICC, which chain to a trusted CI.
    #[serde(rename = "device.associated")]
    DeviceAssociated(Box<Associated>),
    /// A package is going to be signed.
    #[serde(rename = "package.ordered")]
    PackageOrdered(Box<Ordered>),
    /// A package that carries no signature of the eIM (download trigger, data request) may leave.
    #[serde(rename = "package.released")]
    PackageReleased {
        /// Which device.
        #[serde(skip)]
        eid: Option<Eid>,
        /// Entry of the intent.
        intent: u64,
        /// Entries of the approvals.
        approvals: Vec<u64>,
    },
    /// What an eUICC answered, with its signature.
    #[serde(rename = "result.recorded")]
    ResultRecorded(Box<Recorded>),
    /// A person was let in to look around.
    #[serde(rename = "person.signed-in")]
    SignedIn {
        /// Who.
        principal: Principal,
        /// With which passkey.
        credential: CredentialId,
        /// From where, as the front said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<std::net::IpAddr>,
        /// Signature counter of the passkey.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counter: Option<u32>,
        /// Of the statement that was signed: it cannot be used again.
        #[serde(with = "hex::serde")]
        nonce: [u8; 16],
        /// Until when it could have been.
        expires_at: i64,
    },
    /// Somebody was not let in. At most 60 times in an hour for one passkey, and for all that are unknown.
    #[serde(rename = "person.sign-in-refused")]
    SignInRefused {
        /// Whose passkey it was, or was said to be, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<Principal>,
        /// Which passkey.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<CredentialId>,
        /// From where, as the front said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<std::net::IpAddr>,
        /// Code of the refusal.
        code: String,
        /// In words.
        detail: String,
    },
    /// Something happened that people must look at.
    #[serde(rename = "incident.raised")]
    IncidentRaised {
        /// Which kind, for example `break-glass`.
        what: String,
        /// In words.
        detail: String,
        /// Entry that gave rise to it.
        entry: Option<u64>,
    },
}

/// What an installation begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Its name: the origin of the ledger.
    pub installation: String,
    /// The name of the eIM (eimId).
    pub eim_id: String,
    /// What passkeys are bound to.
    pub relying_party: RelyingParty,
    /// SHA-256 of the one-time code of the first owner.
    pub owner_code_sha256: Digest,
    /// Until when it can be used. Milliseconds since 1970.
    pub owner_code_expires_at: i64,
    /// The key that lies in a safe.
    pub break_glass: MachineKey,
    /// SubjectPublicKeyInfo (DER) of the eIM's signing key, in hexadecimal.
    #[serde(with = "hex::serde")]
    pub signing_key: Vec<u8>,
    /// The first policy.
    pub policy: PolicyDocument,
}

/// What passkeys are bound to (WebAuthn Level 3 section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelyingParty {
    /// RP ID: a domain.
    pub id: String,
    /// Origins that assertions may come from, like `https://eim.example.com`.
    pub origins: Vec<String>,
}

/// An intent that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// SHA-256 of the canonical octets of `intent`.
    pub id: IntentId,
    /// The intent. Its canonical octets are those of this member.
    pub intent: Intent,
    /// What the proposer showed.
    pub proof: Proof,
    /// Who.
    pub principal: Principal,
    /// With which credential.
    pub credential: CredentialId,
    /// From where, as the front said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<std::net::IpAddr>,
    /// Signature counter of the passkey, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<u32>,
    /// How many people have to approve.
    pub approvers: u8,
    /// Why fewer than policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waiver>,
}

/// Why approvals were not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiver {
    /// Nobody else could approve yet, and this lets a second person in.
    SoleOwner,
    /// The key from the safe.
    BreakGlass,
}

/// An approver's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// About which intent.
    pub id: IntentId,
    /// What.
    pub decision: Decision,
    /// What the approver showed.
    pub proof: Proof,
    /// Who.
    pub principal: Principal,
    /// With which credential.
    pub credential: CredentialId,
    /// From where, as the front said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<std::net::IpAddr>,
    /// Signature counter of the passkey.
    pub counter: u32,
    /// Whether enough have approved now.
    pub complete: bool,
}

/// A device and its eUICC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Associated {
    /// Which device.
    #[serde(skip)]
    pub eid: Option<Eid>,
    /// CERT.EUICC.SIG, DER in base64.
    pub euicc_certificate: String,
    /// CERT.EUM.SIG and what stands between it and the CI, DER in base64.
    pub eum_certificates: Vec<String>,
    /// The association token that this eUICC keeps for this eIM (SGP.32 section 2.11.1.1).
    pub association_token: Option<i64>,
}

/// A package before it is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ordered {
    /// Which device.
    #[serde(skip)]
    pub eid: Option<Eid>,
    /// On whose account.
    pub account: Account,
    /// Entries of the approvals.
    pub approvals: Vec<u64>,
    /// The counter that it uses up.
    pub counter: i64,
    /// The association token that the signature covers.
    pub association_token: Option<i64>,
    /// EuiccPackageSigned, DER in base64: what is signed.
    pub package: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the key.
    pub key: Digest,
    /// The key that the eUICC is asked to take from now on, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<Digest>,
}

/// On whose account a package is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    /// Entry of the intent.
    Intent(u64),
    /// The eIM itself, which may have profiles and eIMs listed. Its reference of the read: at most 64 characters.
    Read(String),
}

/// A signed answer of an eUICC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Which device.
    #[serde(skip)]
    pub eid: Option<Eid>,
    /// The entry of the package it answers, if it is known here.
    pub package: Option<u64>,
    /// Counter that the eUICC named.
    pub counter: i64,
    /// EuiccPackageResult, DER in base64.
    pub result: String,
    /// Whether every command succeeded.
    pub success: bool,
}

/// Why an entry is none of this crate's.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The members do not fit.
    #[error("entry {number} of kind {kind} does not fit")]
    Malformed {
        /// Which.
        number: u64,
        /// Its kind.
        kind: String,
        /// What does not fit.
        #[source]
        error: serde_json::Error,
    },
    /// An entry about a device does not say which.
    #[error("entry {number} of kind {kind} names no device")]
    NoDevice {
        /// Which.
        number: u64,
        /// Its kind.
        kind: String,
    },
    /// An event that does not become an entry.
    #[error("the event does not become an entry")]
    Entry(#[from] EntryError),
}

/// Who acts in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person or machine.
    Principal(Principal),
    /// The eIM, on its own account or as a messenger.
    Eim,
    /// The authority itself.
    Authority,
}

impl Actor {
    fn to_ledger(&self) -> Result<ledger::Actor, EntryError> {
        match self {
            Self::Principal(name) => format!("principal:{name}").parse(),
            Self::Eim => "eim".parse(),
            Self::Authority => "authority".parse(),
        }
    }
}

impl Event {
    /// The device it is about.
    pub fn eid(&self) -> Option<Eid> {
        match self {
            Self::DeviceRegistered { eid, .. }
            | Self::DeviceRetired { eid, .. }
            | Self::DeviceReassociable { eid, .. }
            | Self::PackageReleased { eid, .. } => *eid,
            Self::DeviceAssociated(event) => event.eid,
            Self::PackageOrdered(event) => event.eid,
            Self::ResultRecorded(event) => event.eid,
            _ => None,
        }
    }

    fn eid_mut(&mut self) -> Option<&mut Option<Eid>> {
        match self {
            Self::DeviceRegistered { eid, .. }
            | Self::DeviceRetired { eid, .. }
            | Self::DeviceReassociable { eid, .. }
            | Self::PackageReleased { eid, .. } => Some(eid),
            Self::DeviceAssociated(event) => Some(&mut event.eid),
            Self::PackageOrdered(event) => Some(&mut event.eid),
            Self::ResultRecorded(event) => Some(&mut event.eid),
            _ => None,
        }
    }

    /// The entry to append. `at` in milliseconds since 1970.
    pub fn to_draft(&self, actor: &Actor, at: i64) -> Result<Draft, EventError> {
        let malformed = |error| EventError::Malformed {
            number: 0,
            kind: "event".to_owned(),
            error,
        };
        let wire = serde_json::to_value(self).map_err(malformed)?;
        let (kind, body) = match wire {
            serde_json::Value::Object(mut members) => {
                (members.remove("kind"), members.remove("body"))
            }
            _ => (None, None),
        };
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("");
        Ok(Draft {
            at: u64::try_from(at).unwrap_or(0),
            kind: kind.parse()?,
            device: self.eid(),
            actor: actor.to_ledger()?,
            body: body.unwrap_or_default(),
        })
    }

    /// Reads an entry. None for entries of the ledger's own.
    pub fn of_entry(entry: &Entry) -> Result<Option<Self>, EventError> {
        let kind = entry.kind.as_str();
        if kind.starts_with("ledger.") {
            return Ok(None);
        }
        let wire = serde_json::json!({ "kind": kind, "body": entry.body });
        let mut event: Self =
            serde_json::from_value(wire).map_err(|error| EventError::Malformed {
                number: entry.number,
                kind: kind.to_owned(),
                error,
            })?;
        if let Some(eid) = event.eid_mut() {
            *eid = Some(entry.eid().ok_or_else(|| EventError::NoDevice {
                number: entry.number,
                kind: kind.to_owned(),
            })?);
        }
        Ok(Some(event))
    }
}
