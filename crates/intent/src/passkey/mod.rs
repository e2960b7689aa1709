//! WebAuthn messages of people's passkeys.

use serde::{Deserialize, Serialize};

/// PublicKeyCredential.toJSON() of an assertion (WebAuthn Level 3 section 5.1.8); octets in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssertionResponse {
    /// Credential id.
    pub id: String,
}

/// PublicKeyCredential.toJSON() of a registration (WebAuthn Level 3 section 5.1.8); octets in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistrationResponse {
    /// Credential id.
    pub id: String,
}
