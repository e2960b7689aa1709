//! What may be asked of the authority, and what it answers. JSON on the wire between its process and the eIM.

use std::net::IpAddr;

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

use crate::text;
use crate::{
    CredentialId, Decision, Digest, Fleet, Grant, Intent, IntentId, Opening, Principal, Proof,
};

/// Signatures, releases or results that one call may ask for.
pub const BATCH_MAX: usize = 256;

/// A proposal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// Canonical octets of the intent: JSON in a string, exactly as signed.
    pub intent: String,
    /// Who wants it.
    pub proof: Proof,
    /// The list of devices, if the intent commits to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// Where the request came from, as the front saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<IpAddr>,
    /// What opens the secrets that the intent commits to. For the eIM; the authority is not given it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<Opening>,
}

/// An approval or a rejection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// What.
    pub decision: Decision,
    /// Who says so.
    pub proof: Proof,
    /// Where the request came from, as the front saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<IpAddr>,
}

/// How an intent stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentStatus {
    /// Which.
    pub id: IntentId,
    /// Number of its entry.
    pub entry: u64,
    /// When it was accepted. Milliseconds since 1970.
    pub at: i64,
    /// Who proposed it.
    pub proposer: Principal,
    /// How it stands.
    pub state: IntentState,
    /// How many people have to approve.
    pub approvers: u8,
    /// Who has approved.
    pub approved_by: Vec<Principal>,
    /// Devices it is about.
    pub devices: u64,
    /// Devices that were signed for, or to which something was released.
    pub done: u64,
    /// The intent.
    pub intent: Intent,
}

/// How an intent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntentState {
    /// People have to approve.
    Waiting,
    /// It is carried out when devices ask.
    Approved,
    /// It was carried out at once: everything that is not about packages.
    Done,
    /// Somebody said no.
    Rejected,
    /// Withdrawn.
    Cancelled,
    /// Too late.
    Expired,
}

/// Somebody shows an enrolment code and a new passkey.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The code, as it was given to the person.
    pub code: String,
    /// Under which name: the one invited, or for the first owner any.
    pub name: Principal,
    /// The registration, whose challenge is [`enrolment_challenge`].
    pub registration: Box<crate::passkey::RegistrationResponse>,
}

/// Somebody shows a passkey to be let in to the console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Canonical octets of a [`crate::sign_in::SignInStatement`]: JSON in a string, exactly as signed.
    pub statement: String,
    /// The passkey's assertion.
    pub proof: Proof,
    /// Where the request came from, as the front saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<IpAddr>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedIn {
    /// Who, and what they are.
    pub principal: PrincipalInfo,
    /// With which passkey.
    pub credential: CredentialId,
    /// Its entry in the ledger.
    pub entry: u64,
}

/// What the authority did since: what the eIM follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// In order.
    pub items: Vec<FeedItem>,
    /// Ask with this next time.
    pub next: u64,
    /// Up to this position there were intents behind the one asked for that expired while devices were left, so long ago that
    /// they are not told any more; none if nothing was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<u64>,
}

/// One thing the eIM has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FeedItem {
    /// Packages are to be delivered. If the intent has expired, they are not: it is told so that there is an end on record for
    /// each device for which none was signed or released.
    Approved {
        /// The intent.
        id: IntentId,
        /// It.
        intent: Box<Intent>,
        /// Who proposed it.
        proposer: Principal,
        /// To these devices.
        eids: Vec<String>,
    },
    /// No package of this intent that was not signed yet is to be delivered.
    Cancelled {
        /// The intent.
        id: IntentId,
        /// Who withdrew or rejected it.
        by: Principal,
    },
    /// Devices came under management.
    Registered {
        /// Their fleet.
        fleet: Fleet,
        /// Which.
        eids: Vec<String>,
        /// Who registered them.
        by: Principal,
        /// The intent that did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        intent: Option<IntentId>,
    },
    /// Devices left management.
    Retired {
        /// Which.
        eids: Vec<String>,
        /// Who retired them.
        by: Principal,
    },
    /// Devices may be associated anew.
    Reassociable {
        /// Which.
        eids: Vec<String>,
        /// Who asked for it.
        by: Principal,
    },
    /// Something is not frozen any more: what was refused for that is worth asking for again.
    Thawed {
        /// Who proposed the thaw.
        by: Principal,
    },
}

/// A package to sign, or to release.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// On whose account.
    pub account: Account,
    /// For which device.
    #[serde(with = "text")]
    pub eid: Eid,
}

/// On whose account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    /// Of an intent.
    Intent(IntentId),
    /// The eIM's own: it wants profiles (`list-profiles`) or eIMs (`list-eims`) listed. The reference makes asking again safe.
    ListProfiles(String),
    /// See above.
    ListEims(String),
}

/// A signed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedPackage {
    /// EuiccPackageRequest, DER in hexadecimal.
    #[serde(with = "hex::serde")]
    pub package: Vec<u8>,
    /// eimTransactionId in it.
    #[serde(with = "hex::serde")]
    pub transaction_id: Vec<u8>,
    /// The counter it uses up.
    pub counter: i64,
    /// The association token that the signature covers.
    pub association_token: Option<i64>,
    /// Its entry in the ledger.
    pub entry: u64,
}

/// What an eUICC and its IPA told about the association.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Associate {
    /// Which device.
    #[serde(with = "text")]
    pub eid: Eid,
    /// CERT.EUICC.SIG, DER in hexadecimal.
    #[serde(with = "hex::serde")]
    pub euicc_certificate: Vec<u8>,
    /// CERT.EUM.SIG, then what stands between it and the CI; DER in hexadecimal.
    pub eum_certificates: Vec<HexOctets>,
    /// The token.
    pub association_token: Option<i64>,
}

/// Octets, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexOctets(#[serde(with = "hex::serde")] pub Vec<u8>);

/// A signed answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordResult {
    /// Of which device.
    #[serde(with = "text")]
    pub eid: Eid,
    /// EuiccPackageResult, DER in hexadecimal.
    #[serde(with = "hex::serde")]
    pub result: Vec<u8>,
}

/// Somebody who may do something, as lists show them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalInfo {
    /// Name.
    pub name: Principal,
    /// `person`, `machine`, `token` or `break-glass`.
    pub kind: String,
    /// What they are.
    pub grants: Vec<Grant>,
    /// Until when. Milliseconds since 1970.
    pub expires_at: i64,
    /// Whether revoked.
    pub revoked: bool,
    /// From where.
    pub networks: Vec<String>,
    /// What they can show.
    pub credentials: Vec<CredentialInfo>,
}

/// A credential, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialInfo {
    /// Id.
    pub id: String,
    /// `passkey`, `ed25519` or `token`.
    pub kind: String,
    /// From when. Milliseconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub expires_at: i64,
    /// Whether revoked.
    pub revoked: bool,
    /// Last use: when.
    pub last_used_at: Option<i64>,
    /// Last use: from where.
    pub last_used_from: Option<IpAddr>,
    /// Last use: for what.
    pub last_used_for: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Which kind. Stable.
    pub code: RefusalCode,
    /// In words, with what to do.
    pub message: String,
    /// When it may be worth asking again. Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<i64>,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// Not an intent, not canonical, too long, for another installation.
    Malformed,
    /// The proof does not verify.
    ProofInvalid,
    /// The credential is not known here.
    CredentialUnknown,
    /// The credential is revoked, expired or not valid yet.
    CredentialInvalid,
    /// Not from this network.
    NetworkRefused,
    /// This intent, or its nonce, was used before.
    Replayed,
    /// The intent is too late, or made in the future.
    Expired,
    /// The role does not allow it.
    RoleRefused,
    /// A device or credential outside of the fleets of the grant.
    OutOfScope,
    /// The policy forbids it.
    PolicyRefused,
    /// Too much.
    QuotaExceeded,
    /// Not now.
    OutsideWindow,
    /// Signing is stopped.
    Frozen,
    /// No such intent, device, credential, …
    Unknown,
    /// The intent is in another state.
    WrongState,
    /// The approver is the proposer, or has approved already.
    SamePerson,
    /// Approvals need a passkey.
    PasskeyNeeded,
    /// Not enough approvals yet.
    NotApproved,
    /// The device is not registered or not associated.
    NotAssociated,
    /// Policy asks about a profile that the eUICC has not listed yet.
    NotListed,
    /// The eUICC's certificates or signature do not verify.
    EuiccRefused,
    /// What was asked for this reference before was something else.
    Conflict,
    /// The code is wrong, used or expired.
    CodeRefused,
    /// It would leave nobody who can administer the installation, or devices without a key.
    LastOne,
    /// Too many requests at once, or the authority is stopping.
    Unavailable,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_at: None,
        }
    }

    /// The same, worth asking again at a time.
    pub fn until(self, retry_at: i64) -> Self {
        Self {
            retry_at: Some(retry_at),
            ..self
        }
    }
}

/// What a new passkey signs: the code and the name, so that a registration cannot be used by somebody else.
pub fn enrolment_challenge(installation: &str, code: &str, name: &Principal) -> Digest {
    Digest::of(&[
        b"palisade-enrolment\0",
        installation.as_bytes(),
        b"\0",
        code.as_bytes(),
        b"\0",
        name.as_str().as_bytes(),
    ])
}
