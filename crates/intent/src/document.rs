//! The intent itself, its canonical octets and its id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Action, ActionError};
use crate::digest::{Digest, NoDigest};

/// Octets of an intent.
pub const OCTETS_MAX: usize = 32 << 10;
/// How long an intent can be valid: 31 days.
pub const LIFETIME_MAX_MS: i64 = 31 * 86_400_000;
/// Characters of a note.
const NOTE_MAX: usize = 500;
/// Octets of a nonce.
const NONCE_OCTETS: usize = 16;
/// Integers beyond this are not carried exactly by canonical JSON (RFC 8785 section 3.2.2.3).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// One change, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// 1.
    pub v: u8,
    /// The installation it is for: the origin of its ledger. So an intent cannot be used elsewhere.
    pub installation: String,
    /// 16 random octets in hexadecimal. Each is accepted once.
    #[serde(with = "hex::serde")]
    pub nonce: [u8; NONCE_OCTETS],
    /// When it was made, by the clock of who made it. Milliseconds since 1970.
    pub created_at: i64,
    /// Until when it may be approved and carried out. Milliseconds since 1970.
    pub expires_at: i64,
    /// What is asked for.
    pub action: Action,
    /// Why, for the people who approve and for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// SHA-256 of the canonical octets of an intent. What a proposer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(pub Digest);

/// Why something is no intent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// Too long.
    #[error("an intent has at most {OCTETS_MAX} octets, this one has {0}")]
    TooLong(usize),
    /// Not JSON, or not the members of an intent.
    #[error("not an intent: {0}")]
    Malformed(String),
    /// The same value has another, canonical encoding.
    #[error("the encoding is not the canonical one (RFC 8785)")]
    NotCanonical,
    /// Another version.
    #[error("version {0} of intents is not known here")]
    Version(u8),
    /// A number that canonical JSON would round.
    #[error("integers have at most 53 bits")]
    Number,
    /// Expires before it was made, or too late.
    #[error("an intent expires after it was made, and within 31 days")]
    Lifetime,
    /// The note.
    #[error("a note has at most {NOTE_MAX} characters, none of them a control character")]
    Note,
    /// What is asked for cannot be.
    #[error("this cannot be asked for: {0}")]
    Action(#[from] ActionError),
}

impl Intent {
    /// The canonical octets (RFC 8785).
    pub fn encode(&self) -> Result<Vec<u8>, IntentError> {
        let octets =
            serde_jcs::to_vec(self).map_err(|error| IntentError::Malformed(error.to_string()))?;
        match octets.len() > OCTETS_MAX {
            true => Err(IntentError::TooLong(octets.len())),
            false => Ok(octets),
        }
    }

    /// Reads an intent, which must be canonical and make sense by itself.
    pub fn decode(octets: &[u8]) -> Result<(Self, IntentId), IntentError> {
        if octets.len() > OCTETS_MAX {
            return Err(IntentError::TooLong(octets.len()));
        }
        let malformed = |error: serde_json::Error| IntentError::Malformed(error.to_string());
        let value: Value = serde_json::from_slice(octets).map_err(malformed)?;
        if !has_exact_numbers(&value) {
            return Err(IntentError::Number);
        }
        let intent: Self = serde_json::from_value(value).map_err(malformed)?;
        if intent.encode()? != octets {
            return Err(IntentError::NotCanonical);
        }
        intent.check()?;
        Ok((intent, IntentId::of(octets)))
    }

    /// What can be checked without knowing anything else.
    pub fn check(&self) -> Result<(), IntentError> {
        if self.v != 1 {
            return Err(IntentError::Version(self.v));
        }
        let lifetime = self.expires_at.saturating_sub(self.created_at);
        if self.created_at < 0 || !(1..=LIFETIME_MAX_MS).contains(&lifetime) {
            return Err(IntentError::Lifetime);
        }
        if let Some(note) = &self.note
            && (note.chars().count() > NOTE_MAX || note.chars().any(char::is_control))
        {
            return Err(IntentError::Note);
        }
        Ok(self.action.check()?)
    }
}

impl IntentId {
    /// The id of canonical octets.
    pub fn of(octets: &[u8]) -> Self {
        Self(Digest::of(&[octets]))
    }
}

impl FromStr for IntentId {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        text.parse().map(Self)
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The parser's limit of 128 levels bounds the recursion.
fn has_exact_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_i64()
            .is_some_and(|n| (-INTEGER_MAX..=INTEGER_MAX).contains(&n)),
        Value::Array(values) => values.iter().all(has_exact_numbers),
        Value::Object(members) => members.values().all(has_exact_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::device_set::DeviceSet;

    fn intent() -> Intent {
        Intent {
            v: 1,
            installation: "eim.example.com/ledger".to_owned(),
            nonce: [0xA5; 16],
            created_at: 1_790_000_000_000,
            expires_at: 1_790_000_600_000,
            action: Action::Operate {
                devices: DeviceSet::one("89049032123451234512345678901235".parse().unwrap()),
                commands: vec![Command::Enable {
                    iccid: "89000123456789012341".parse().unwrap(),
                    rollback: true,
                }],
            },
            note: Some("meter 7 moves to the other operator".to_owned()),
        }
    }

    #[test]
    fn the_encoding_is_fixed() {
        let octets = intent().encode().unwrap();
        assert_eq!(
            String::from_utf8(octets.clone()).unwrap(),
            concat!(
                r#"{"action":{"commands":[{"command":"enable","iccid":"89000123456789012341","rollback":true}],"#,
                r#""devices":{"eids":["89049032123451234512345678901235"]},"type":"operate"},"#,
                r#""created_at":1790000000000,"expires_at":1790000600000,"installation":"eim.example.com/ledger","#,
                r#""nonce":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","note":"meter 7 moves to the other operator","v":1}"#
            )
        );
        let (decoded, id) = Intent::decode(&octets).unwrap();
        assert_eq!(decoded, intent());
        assert_eq!(id, IntentId::of(&octets));
    }

    #[test]
    fn there_is_one_encoding() {
        let text = String::from_utf8(intent().encode().unwrap()).unwrap();
        for (good, bad) in [
            (r#""v":1}"#, r#""v":1} "#),
            (r#""v":1}"#, r#""v":1,"v":1}"#),
            (r#""rollback":true"#, r#""rollback": true"#),
            (r#""nonce":"a5"#, r#""nonce":"A5"#),
            (r#""note":"meter"#, r#""note":"\u006deter"#),
            (r#""v":1}"#, r#""v":1,"x":0}"#),
            (r#""v":1}"#, r#""v":2}"#),
            ("1790000600000", "1790000600000.5"),
            ("1790000600000", "1789999999999"),
            ("1790000600000", "1890000600000"),
            ("1790000600000", "9007199254740992"),
            ("meter 7", "meter\\n7"),
        ] {
            let altered = text.replace(good, bad);
            assert_ne!(altered, text, "{good}");
            assert!(Intent::decode(altered.as_bytes()).is_err(), "{altered}");
        }
        assert!(Intent::decode(&vec![b'['; OCTETS_MAX]).is_err());
        assert_eq!(
            Intent::decode(&vec![b'['; OCTETS_MAX + 1]),
            Err(IntentError::TooLong(OCTETS_MAX + 1))
        );
    }
}
