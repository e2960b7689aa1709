//! The proof of a person: WebAuthn (Level 3) assertions whose challenge is the hash of what the person wants.
//!
//! Here are the responses as browsers send them (the JSON of `PublicKeyCredential.toJSON()`), what is kept of a credential,
//! and [`SoftwarePasskey`], an authenticator in a file. They are verified in the authority.

mod client_data;
mod sealing;
mod software;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use client_data::{Ceremony, client_data_json};
pub use software::{SOFTWARE_AAGUID, SoftwarePasskey, SoftwarePasskeyError};

use crate::name::CredentialId;

/// Octets of any member of a response at most. Attestation statements with certificates take two or three thousand.
pub const MEMBER_MAX: usize = 16 * 1024;

/// Octets of a credential id at most (WebAuthn Level 3 section 4, "Credential ID").
pub const CREDENTIAL_ID_OCTETS_MAX: usize = 1023;

/// Octets that travel as base64url without padding, at most [`MEMBER_MAX`] of them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base64Url(pub Vec<u8>);

/// The text is not base64url without padding, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {MEMBER_MAX} octets in base64url without padding")]
pub struct NoBase64Url;

/// What `navigator.credentials.create` gave (RegistrationResponseJSON). What only repeats the attestation object, such as
/// `publicKey`, is ignored and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationResponse {
    /// The credential's id.
    pub id: Base64Url,
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: CredentialType,
    /// What the authenticator made.
    pub response: AttestationMembers,
}

/// AuthenticatorAttestationResponseJSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationMembers {
    /// The client data, as the client serialized it (WebAuthn Level 3 section 5.8.1).
    #[serde(rename = "clientDataJSON")]
    pub client_data_json: Base64Url,
    /// CBOR with authenticator data and attestation statement (section 6.5.4).
    #[serde(rename = "attestationObject")]
    pub attestation_object: Base64Url,
}

/// What `navigator.credentials.get` gave (AuthenticationResponseJSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionResponse {
    /// The credential's id.
    pub id: Base64Url,
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: CredentialType,
    /// What the authenticator made.
    pub response: AssertionMembers,
}

/// AuthenticatorAssertionResponseJSON. The `userHandle` is not kept: nothing signs it, and the authority knows whose
/// credential it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionMembers {
    /// The client data, as the client serialized it (WebAuthn Level 3 section 5.8.1).
    #[serde(rename = "clientDataJSON")]
    pub client_data_json: Base64Url,
    /// Authenticator data (section 6.1).
    #[serde(rename = "authenticatorData")]
    pub authenticator_data: Base64Url,
    /// Over the authenticator data and the SHA-256 of the client data (section 6.3.3).
    pub signature: Base64Url,
}

/// The one type of credential there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CredentialType {
    /// A key pair.
    #[default]
    #[serde(rename = "public-key")]
    PublicKey,
}

/// What the authority keeps of a registered passkey: all of it public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeyCredential {
    /// The credential's id.
    pub id: Base64Url,
    /// The public key, the COSE_Key (RFC 9052 section 7) as the authenticator wrote it.
    pub public_key: Base64Url,
    /// The algorithm of the key.
    pub algorithm: PasskeyAlgorithm,
    /// The signature counter at registration (WebAuthn Level 3 section 6.1.1).
    pub counter: u32,
    /// The model of the authenticator as it says itself; all zero if it says nothing. Proven by nothing unless
    /// `attestation` says so.
    pub aaguid: Aaguid,
    /// The key can leave the authenticator: it is synchronised or copied (flag BE).
    pub backup_eligible: bool,
    /// It has left it (flag BS).
    pub backed_up: bool,
    /// What came with the registration to prove the model.
    pub attestation: Attestation,
}

/// What a registration brought to prove the authenticator's model. Palisade asks for none and trusts no roots of makers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// Nothing (format `none`).
    None,
    /// A signature by the credential itself (format `packed` without certificates), which was verified.
    SelfSigned,
    /// A statement by a maker, which nobody verified.
    NotVerified,
}

/// Algorithms of passkeys (IANA COSE Algorithms).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PasskeyAlgorithm {
    /// ECDSA with P-256 and SHA-256, -7.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, -257. Some TPMs have nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

impl PasskeyAlgorithm {
    /// All of them, the preferred ones first: what `pubKeyCredParams` asks for.
    pub const ALL: [Self; 2] = [Self::Es256, Self::Rs256];

    /// The COSE algorithm identifier.
    pub const fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::Rs256 => -257,
        }
    }
}

/// The model of an authenticator (WebAuthn Level 3 section 6.5.1). As text: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Aaguid(pub [u8; 16]);

impl Aaguid {
    /// The authenticator says nothing about its model.
    pub const NOTHING: Self = Self([0; 16]);
}

/// The text is no UUID in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AAGUID is a UUID in lower case, such as 7f2a1c30-0000-4000-8000-000000000000")]
pub struct NoAaguid;

impl RegistrationResponse {
    /// The id under which the authority will know the credential; none if it is empty or too long.
    pub fn credential_id(&self) -> Option<CredentialId> {
        credential_id(&self.id)
    }
}

impl AssertionResponse {
    /// The id under which the authority knows the credential; none if it is empty or too long.
    pub fn credential_id(&self) -> Option<CredentialId> {
        credential_id(&self.id)
    }
}

impl PasskeyCredential {
    /// The id under which the authority knows it.
    pub fn credential_id(&self) -> Option<CredentialId> {
        credential_id(&self.id)
    }
}

fn credential_id(id: &Base64Url) -> Option<CredentialId> {
    if id.0.len() > CREDENTIAL_ID_OCTETS_MAX {
        return None;
    }
    id.to_string().parse().ok()
}

impl FromStr for Base64Url {
    type Err = NoBase64Url;

    fn from_str(text: &str) -> Result<Self, NoBase64Url> {
        if text.len() > MEMBER_MAX.div_ceil(3) * 4 {
            return Err(NoBase64Url);
        }
        let octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoBase64Url)?;
        Ok(Self(octets))
    }
}

impl fmt::Display for Base64Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for Base64Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Aaguid {
    type Err = NoAaguid;

    fn from_str(text: &str) -> Result<Self, NoAaguid> {
        let plain: String = text.chars().filter(|c| *c != '-').collect();
        let mut octets = [0; 16];
        hex::decode_to_slice(&plain, &mut octets).map_err(|_| NoAaguid)?;
        let aaguid = Self(octets);
        // One text for one value: hyphens in their places, lower case.
        if aaguid.to_string() != text {
            return Err(NoAaguid);
        }
        Ok(aaguid)
    }
}

impl fmt::Display for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Base64Url, Aaguid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browsers_json_is_read_and_only_what_counts_is_kept() {
        let browser = r#"{
            "id": "AQIDBA", "rawId": "AQIDBA", "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AQ", "userHandle": "Ag"}
        }"#;
        let response: AssertionResponse = serde_json::from_str(browser).unwrap();
        assert_eq!(response.id.0, [1, 2, 3, 4]);
        assert_eq!(response.response.client_data_json.0, b"{}");
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            r#"{"id":"AQIDBA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"AQ"}}"#
        );
        assert_eq!(response.credential_id().unwrap().as_str(), "AQIDBA");
    }

    #[test]
    fn other_types_padding_and_length_are_refused() {
        let good = r#"{"id":"AQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}"#;
        assert!(serde_json::from_str::<RegistrationResponse>(good).is_ok());
        for (from, to) in [
            ("public-key", "password"),
            ("\"AQ\"", "\"AQ==\""),
            ("e30", "e3+"),
        ] {
            let bad = good.replace(from, to);
            assert!(
                serde_json::from_str::<RegistrationResponse>(&bad).is_err(),
                "{bad}"
            );
        }
        assert!("A".repeat(21_848).parse::<Base64Url>().is_ok());
        assert!("A".repeat(21_852).parse::<Base64Url>().is_err());
        assert_eq!(credential_id(&Base64Url(Vec::new())), None);
        assert!(credential_id(&Base64Url(vec![0; 1023])).is_some());
        assert_eq!(credential_id(&Base64Url(vec![0; 1024])), None);
    }

    #[test]
    fn an_aaguid_has_one_text() {
        let text = "8446ccb9-ab1d-b374-750b-2367ff6f3a1f";
        let aaguid: Aaguid = text.parse().unwrap();
        assert_eq!(aaguid.to_string(), text);
        for bad in [
            "8446CCB9-ab1d-b374-750b-2367ff6f3a1f",
            "8446ccb9ab1db374750b2367ff6f3a1f",
            "8446ccb9-ab1d-b374-750b-2367ff6f3a1",
            "",
        ] {
            assert_eq!(bad.parse::<Aaguid>(), Err(NoAaguid), "{bad}");
        }
    }
}
