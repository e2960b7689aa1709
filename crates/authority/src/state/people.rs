//! People and machines, and what they show.

use intent::CredentialId;
use serde::{Deserialize, Serialize};

/// A person's passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// WebAuthn credential id, base64url.
    pub id: CredentialId,
    /// COSE public key (RFC 9052), base64url.
    pub public_key: String,
    /// Model of the authenticator, as it says itself; 32 hexadecimal digits.
    pub aaguid: String,
    /// Whether it can be copied to other devices of its owner (backup eligible).
    pub synced: bool,
    /// Signature counter at enrolment.
    pub counter: u32,
}
