//! Names of people, machines, fleets and credentials.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters of a name.
pub const NAME_MAX: usize = 64;
/// Characters of a credential's id; a WebAuthn credential id has at most 1023 octets, 1364 characters in base64url.
pub const CREDENTIAL_ID_MAX: usize = 1364;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Of a person, machine or fleet.
    #[error(
        "a name has 1 to {NAME_MAX} characters: lower-case letters, digits, '.', '-', '_', '@', and begins with a letter or digit"
    )]
    Name,
    /// Of a credential.
    #[error("a credential id is 1 to {CREDENTIAL_ID_MAX} characters of base64url")]
    CredentialId,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $is:path, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if !$is(text) {
                    return Err($error);
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A person or a machine.
    Principal,
    is_name,
    NameError::Name
);
name!(
    /// A part of the devices that grants, quotas and policy speak of.
    Fleet,
    is_name,
    NameError::Name
);
name!(
    /// A passkey, by its WebAuthn credential id in base64url, or an Ed25519 key, by its key id.
    CredentialId,
    is_credential_id,
    NameError::CredentialId
);

fn is_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= NAME_MAX
        && text.bytes().next().is_some_and(is_plain)
        && text
            .bytes()
            .all(|b| is_plain(b) || matches!(b, b'.' | b'-' | b'_' | b'@'))
}

fn is_credential_id(text: &str) -> bool {
    (1..=CREDENTIAL_ID_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["alice", "alice@example.com", "ci-runner_2", "7-up"] {
            assert_eq!(good.parse::<Principal>().unwrap().as_str(), good);
        }
        for bad in ["", "Alice", "-a", "a b", "a/b", "ä", "a\n", &"a".repeat(65)] {
            assert_eq!(bad.parse::<Fleet>(), Err(NameError::Name), "{bad:?}");
        }
        assert!("a+b".parse::<CredentialId>().is_err());
        assert!("aB-_9".parse::<CredentialId>().is_ok());
    }
}
