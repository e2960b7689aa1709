//! Secrets that an intent commits to without showing them.
//!
//! An activation code is worth a profile, and intents are kept for ever in a record that others may read. So an intent holds
//! only SHA-256(salt || secret); the [`Opening`] travels beside it, to the eIM alone.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::digest::Digest;

/// Octets of a salt.
pub const SALT_OCTETS: usize = 16;

/// A secret, or a commitment to one. In JSON a string, or an object with the member `sha256`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sealed {
    /// The secret itself.
    Open(String),
    /// What an intent holds.
    Committed {
        /// SHA-256 of salt and secret.
        sha256: Digest,
    },
}

/// What turns a commitment into the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 16 random octets, in hexadecimal.
    #[serde(with = "hex::serde")]
    pub salt: [u8; SALT_OCTETS],
    /// The secret.
    pub secret: String,
}

impl Opening {
    /// The commitment that this opens.
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.salt, self.secret.as_bytes()])
    }
}

impl Sealed {
    /// The secret, if it is at hand.
    pub fn open(&self) -> Option<&str> {
        match self {
            Self::Open(secret) => Some(secret),
            Self::Committed { .. } => None,
        }
    }

    /// Puts a commitment in the secret's place; gives what opens it. Nothing happens to a commitment.
    pub fn seal(&mut self, salt: [u8; SALT_OCTETS]) -> Option<Opening> {
        let Self::Open(secret) = self else {
            return None;
        };
        let opening = Opening {
            salt,
            secret: std::mem::take(secret),
        };
        *self = Self::Committed {
            sha256: opening.digest(),
        };
        Some(opening)
    }

    /// Puts the secret in the commitment's place, if one of the openings fits. Whether the secret is at hand now.
    pub fn unseal(&mut self, openings: &[Opening]) -> bool {
        let Self::Committed { sha256 } = self else {
            return true;
        };
        let Some(opening) = openings.iter().find(|opening| opening.digest() == *sha256) else {
            return false;
        };
        *self = Self::Open(opening.secret.clone());
        true
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("(secret)"),
            Self::Committed { sha256 } => write!(f, "(secret with digest {sha256})"),
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_opening_only() {
        let mut sealed = Sealed::Open("1$smdp.example.com$AB".to_owned());
        let opening = sealed.seal([7; 16]).unwrap();
        assert_eq!(sealed.open(), None);
        assert!(!serde_json::to_string(&sealed).unwrap().contains("smdp"));
        assert!(!format!("{sealed:?}{opening:?}").contains("smdp"));
        let other = Opening {
            salt: [8; 16],
            secret: opening.secret.clone(),
        };
        assert!(!sealed.clone().unseal(std::slice::from_ref(&other)));
        assert!(sealed.unseal(&[other, opening]));
        assert_eq!(sealed.open(), Some("1$smdp.example.com$AB"));
    }
}
