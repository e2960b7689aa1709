//! What a person's passkey signs to look around: a statement that changes nothing.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// How long a statement is valid: 5 minutes.
pub const LIFETIME_MAX_MS: i64 = 300_000;
/// Octets of a statement.
const OCTETS_MAX: usize = 1024;

/// "I want to be signed in here, now." The challenge of the passkey is [`SignInStatement::challenge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInStatement {
    /// 1.
    pub v: u8,
    /// The installation: the origin of its ledger.
    pub installation: String,
    /// 16 octets that bind it to the browser it began in. Each is accepted once.
    #[serde(with = "hex::serde")]
    pub nonce: [u8; 16],
    /// When it was made. Milliseconds since 1970.
    pub created_at: i64,
    /// Until when it is accepted. Milliseconds since 1970.
    pub expires_at: i64,
}

/// Why something is no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Not JSON, too long, or not the members of a statement.
    #[error("not a sign-in statement: {0}")]
    Malformed(String),
    /// The same value has another, canonical encoding.
    #[error("the encoding is not the canonical one (RFC 8785)")]
    NotCanonical,
    /// Another version.
    #[error("version {0} of sign-in statements is not known here")]
    Version(u8),
    /// Expires before it was made, or too late.
    #[error("a sign-in statement is valid for at most 5 minutes")]
    Lifetime,
}

impl SignInStatement {
    /// The canonical text (RFC 8785).
    pub fn encode(&self) -> Result<String, SignInError> {
        serde_jcs::to_string(self).map_err(|error| SignInError::Malformed(error.to_string()))
    }

    /// Reads a statement, which must be canonical and make sense by itself.
    pub fn decode(octets: &[u8]) -> Result<Self, SignInError> {
        if octets.len() > OCTETS_MAX {
            return Err(SignInError::Malformed(format!(
                "it has more than {OCTETS_MAX} octets"
            )));
        }
        let statement: Self = serde_json::from_slice(octets)
            .map_err(|error| SignInError::Malformed(error.to_string()))?;
        if statement.v != 1 {
            return Err(SignInError::Version(statement.v));
        }
        if statement.encode()?.as_bytes() != octets {
            return Err(SignInError::NotCanonical);
        }
        let lifetime = statement.expires_at.saturating_sub(statement.created_at);
        match statement.created_at >= 0 && (1..=LIFETIME_MAX_MS).contains(&lifetime) {
            true => Ok(statement),
            false => Err(SignInError::Lifetime),
        }
    }

    /// What the passkey signs for these canonical octets. It is no hash of an intent and no challenge of a decision, so who
    /// signs in has asked for nothing and approved nothing.
    pub fn challenge(octets: &[u8]) -> Digest {
        Digest::of(&[b"palisade-sign-in\0", octets])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> SignInStatement {
        SignInStatement {
            v: 1,
            installation: "eim.example.com/palisade".to_owned(),
            nonce: [7; 16],
            created_at: 1_000,
            expires_at: 1_000 + LIFETIME_MAX_MS,
        }
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let text = statement().encode().unwrap();
        assert_eq!(SignInStatement::decode(text.as_bytes()), Ok(statement()));
        let spaced = text.replace(',', ", ");
        assert_eq!(
            SignInStatement::decode(spaced.as_bytes()),
            Err(SignInError::NotCanonical)
        );
        let longer = SignInStatement {
            expires_at: 1_001 + LIFETIME_MAX_MS,
            ..statement()
        };
        assert_eq!(
            SignInStatement::decode(longer.encode().unwrap().as_bytes()),
            Err(SignInError::Lifetime)
        );
        let other = SignInStatement {
            v: 2,
            ..statement()
        };
        assert_eq!(
            SignInStatement::decode(other.encode().unwrap().as_bytes()),
            Err(SignInError::Version(2))
        );
        assert!(SignInStatement::decode(&[b' '; 2000]).is_err());
    }

    #[test]
    fn signs_for_nothing_else() {
        let text = statement().encode().unwrap();
        let challenge = SignInStatement::challenge(text.as_bytes());
        assert_ne!(challenge, Digest::of(&[text.as_bytes()]));
    }
}
