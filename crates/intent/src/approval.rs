//! What people and machines show: the proof of an intent, and the decision of an approver.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::IntentId;
use crate::http_signature::HttpProof;
use crate::name::CredentialId;
use crate::passkey::AssertionResponse;

/// Shows that somebody wants exactly this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Proof {
    /// An HTTP request whose body is the intent, signed by a machine (RFC 9421, RFC 9530).
    HttpSignature(HttpProof),
    /// A WebAuthn assertion of a person, whose challenge is the id of the intent, or [`Decision::challenge`].
    Passkey {
        /// With which passkey.
        credential: CredentialId,
        /// As the browser gave it.
        assertion: Box<AssertionResponse>,
    },
}

/// What an approver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Do it.
    Approve,
    /// Never do it.
    Reject,
}

impl Decision {
    /// The challenge of the approver's assertion. It is no hash of an intent, so proposing cannot be taken for approving, nor
    /// approving for rejecting.
    pub fn challenge(self, intent: IntentId) -> Digest {
        let decision: &[u8] = match self {
            Self::Approve => b"approve",
            Self::Reject => b"reject",
        };
        Digest::of(&[b"palisade-decision\0", intent.0.as_bytes(), decision])
    }
}
