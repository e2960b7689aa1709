//! What an entry says, and the one way to write it down.
//!
//! An entry is an object in canonical JSON (RFC 8785). So that there is exactly one encoding and no reader can understand
//! another value than the writer meant, the JSON is narrower than RFC 8785 allows: numbers are integers of at most 53 bits
//! (RFC 8785 section 3.2.2.3 writes numbers as IEEE 754 doubles), and an encoding that differs from the canonical one, by
//! a repeated name for example, is refused.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use rsp::ids::Eid;
use serde::Deserialize;
use serde_json::Value;

use crate::canonical::{DEPTH_MAX, push_integer, push_string, push_value};
use crate::hash::Hash;

/// Octets of an encoded entry at most: what fits an entry of a bundle (C2SP tlog-tiles, "Log entries").
pub const ENTRY_MAX: usize = 65_535;

/// The greatest integer that canonical JSON can hold exactly, 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Characters of an actor at most.
const ACTOR_MAX: usize = 256;

/// One action on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the ledger, from 0.
    pub number: u64,
    /// When it was recorded: milliseconds since 1970-01-01T00:00:00Z, by the clock of whoever appended it.
    pub at: u64,
    /// What kind of action.
    pub kind: Kind,
    /// The device it concerns and its place among that device's entries.
    pub device: Option<Link>,
    /// Who acted.
    pub actor: Actor,
    /// What else belongs to this kind of entry.
    pub body: Value,
}

/// The place of an entry among the entries of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The device.
    pub eid: Eid,
    /// 1 for its first entry, and so on without gaps.
    pub sequence: u64,
    /// The leaf hash of its entry before this one; none for the first.
    pub previous: Option<Hash>,
}

/// An entry that has no place in the ledger yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at: u64,
    /// What kind of action.
    pub kind: Kind,
    /// The device it concerns.
    pub device: Option<Eid>,
    /// Who acted.
    pub actor: Actor,
    /// What else belongs to this kind of entry: an object.
    pub body: Value,
}

/// What an entry is about: lower-case words joined by dots, such as `intent.proposed`. The ledger knows only kinds that
/// begin with `ledger.`, which are its own; all others are for its users to define.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(String);

/// Who acted, as a user of the ledger names people, machines and its own parts: 1 to 256 characters, none of them a
/// control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actor(String);

/// Why something is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The encoding would be, or is, too long.
    #[error("the entry has {0} octets; at most {ENTRY_MAX} fit")]
    TooLong(usize),
    /// Not JSON, or not the members of an entry.
    #[error("not an entry: {0}")]
    Malformed(String),
    /// The same value has another, canonical encoding.
    #[error("the encoding is not the canonical one (RFC 8785)")]
    NotCanonical,
    /// A number that cannot be carried exactly.
    #[error("{0} is not an integer of at most 53 bits; write it as a string")]
    Number(String),
    /// The body is something else than an object.
    #[error("the body of an entry must be an object")]
    Body,
    /// Arrays and objects in each other beyond measure.
    #[error("the body of an entry has more than {DEPTH_MAX} levels")]
    Deep,
    /// Not a kind.
    #[error(
        "a kind is 1 to 64 characters: lower-case words of letters, digits and '-', joined by dots"
    )]
    Kind,
    /// A kind that only the ledger itself writes.
    #[error("kinds that begin with \"ledger.\" are written by the ledger itself")]
    Reserved,
    /// Not an actor.
    #[error("an actor is 1 to {ACTOR_MAX} characters without control characters")]
    Actor,
    /// Sequence number and previous hash do not fit each other.
    #[error(
        "the first entry of a device has sequence 1 and no previous entry, every later one has both"
    )]
    Link,
}

impl Entry {
    /// The canonical encoding, whose hash is the leaf of the tree.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let mut octets = Vec::with_capacity(512);
        self.encode_into(&mut octets)?;
        Ok(octets)
    }

    /// Appends the canonical encoding. What is written here is read back by `decode`: kinds, actors and EIDs are valid by
    /// construction, everything else is checked on the way. After an error `out` holds a part of it.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EntryError> {
        if !self.body.is_object() {
            return Err(EntryError::Body);
        }
        let sequence = self.device.as_ref().map(|link| link.sequence);
        for number in [Some(self.number), Some(self.at), sequence] {
            if number.is_some_and(|number| number > INTEGER_MAX) {
                return Err(EntryError::Number(number.unwrap_or_default().to_string()));
            }
        }
        let start = out.len();
        out.extend_from_slice(b"{\"actor\":");
        push_string(out, &self.actor.0);
        out.extend_from_slice(b",\"at\":");
        push_integer(out, self.at);
        out.extend_from_slice(b",\"body\":");
        push_value(out, &self.body, DEPTH_MAX)?;
        if let Some(link) = &self.device {
            link.check()?;
            let _ = write!(out, ",\"device\":{{\"eid\":\"{}\"", link.eid);
            if let Some(previous) = link.previous {
                let _ = write!(out, ",\"previous\":\"{previous}\"");
            }
            out.extend_from_slice(b",\"sequence\":");
            push_integer(out, link.sequence);
            out.push(b'}');
        }
        out.extend_from_slice(b",\"kind\":");
        push_string(out, &self.kind.0);
        out.extend_from_slice(b",\"number\":");
        push_integer(out, self.number);
        out.extend_from_slice(b",\"v\":1}");
        let length = out.len() - start;
        if length > ENTRY_MAX {
            return Err(EntryError::TooLong(length));
        }
        Ok(())
    }

    /// Reads an encoding, which must be the canonical one.
    pub fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        if octets.len() > ENTRY_MAX {
            return Err(EntryError::TooLong(octets.len()));
        }
        let malformed = |error: &dyn fmt::Display| EntryError::Malformed(error.to_string());
        let wire: Wire = serde_json::from_slice(octets).map_err(|error| malformed(&error))?;
        if wire.v != 1 {
            return Err(EntryError::Malformed(format!(
                "version {} of the encoding is not known here",
                wire.v
            )));
        }
        let device = match wire.device {
            None => None,
            Some(link) => {
                let link = Link {
                    eid: link.eid.parse().map_err(|error| malformed(&error))?,
                    sequence: link.sequence,
                    previous: link.previous,
                };
                link.check()?;
                Some(link)
            }
        };
        let entry = Self {
            number: wire.number,
            at: wire.at,
            kind: Kind(wire.kind),
            device,
            actor: wire.actor.parse()?,
            body: wire.body,
        };
        if !is_kind(&entry.kind.0) {
            return Err(EntryError::Kind);
        }
        if entry.encode()? != octets {
            return Err(EntryError::NotCanonical);
        }
        Ok(entry)
    }

    /// The device it concerns.
    pub fn eid(&self) -> Option<Eid> {
        self.device.as_ref().map(|link| link.eid)
    }
}

impl Link {
    fn check(&self) -> Result<(), EntryError> {
        if self.sequence == 0 || (self.sequence == 1) != self.previous.is_none() {
            return Err(EntryError::Link);
        }
        Ok(())
    }
}

impl Kind {
    /// A kind that only this crate writes.
    pub(crate) fn own(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kind {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        if !is_kind(text) {
            return Err(EntryError::Kind);
        }
        if text.starts_with("ledger.") {
            return Err(EntryError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Actor {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let length = text.chars().count();
        if length == 0 || length > ACTOR_MAX || text.chars().any(char::is_control) {
            return Err(EntryError::Actor);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The members of an entry in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u8,
    number: u64,
    at: u64,
    kind: String,
    device: Option<WireLink>,
    actor: String,
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLink {
    eid: String,
    sequence: u64,
    previous: Option<Hash>,
}

fn is_kind(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 64 && text.split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::tests::values;
    use proptest::prelude::*;
    use serde_json::json;

    fn entry(body: Value) -> Entry {
        Entry {
            number: 7,
            at: 1_790_000_000_123,
            kind: "operation.signed".parse().unwrap(),
            device: Some(Link {
                eid: "89049032123451234512345678901235".parse().unwrap(),
                sequence: 2,
                previous: Some(Hash([0xAB; 32])),
            }),
            actor: "key:ci-runner".parse().unwrap(),
            body,
        }
    }

    #[test]
    fn the_encoding_is_fixed() {
        let entry = entry(
            json!({"b": [1, true, null], "a": "é\n", "€": -5, "\u{1F600}": {}, "\u{FB33}": 0}),
        );
        let octets = entry.encode().unwrap();
        assert_eq!(
            String::from_utf8(octets.clone()).unwrap(),
            "{\"actor\":\"key:ci-runner\",\"at\":1790000000123,\"body\":{\"a\":\"é\\n\",\"b\":[1,true,null],\"€\":-5,\
             \"\u{1F600}\":{},\"\u{FB33}\":0},\"device\":{\"eid\":\"89049032123451234512345678901235\",\
             \"previous\":\"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\",\"sequence\":2},\
             \"kind\":\"operation.signed\",\"number\":7,\"v\":1}",
            "names are sorted by UTF-16 code units, which puts U+1F600 before U+FB33"
        );
        assert_eq!(Entry::decode(&octets).unwrap(), entry);
    }

    #[test]
    fn there_is_one_encoding() {
        let octets = String::from_utf8(entry(json!({"a": 1})).encode().unwrap()).unwrap();
        for (good, bad) in [
            ("\"at\":", "\"at\": "),
            ("{\"a\":1}", "{\"a\":1,\"a\":1}"),
            ("{\"a\":1}", "{\"a\":\"\\u0041\"}"),
            ("\"v\":1}", "\"v\":1}\n"),
        ] {
            let altered = octets.replace(good, bad);
            assert_ne!(altered, octets);
            assert_eq!(
                Entry::decode(altered.as_bytes()),
                Err(EntryError::NotCanonical),
                "{altered}"
            );
        }
        for (good, bad) in [
            ("\"v\":1}", "\"v\":2}"),
            ("\"v\":1}", "\"v\":1,\"x\":1}"),
            ("\"sequence\":2", "\"sequence\":1"),
            ("\"sequence\":2", "\"sequence\":0"),
            ("operation.signed", "Operation"),
            ("key:ci-runner", "key\\u0000"),
            ("901235\"", "901234\""),
            ("{\"a\":1}", "[1]"),
            ("{\"a\":1}", "{\"a\":1.0}"),
            ("{\"a\":1}", "{\"a\":-0}"),
            ("{\"a\":1}", "{\"a\":9007199254740992}"),
            ("\"number\":7", "\"number\":9007199254740992"),
        ] {
            let altered = octets.replace(good, bad);
            assert_ne!(altered, octets);
            assert!(Entry::decode(altered.as_bytes()).is_err(), "{altered}");
        }
        assert!(Entry::decode(&[b'['; ENTRY_MAX]).is_err());
    }

    proptest! {
        /// Appending relies on it: whatever is written is read back as the same.
        #[test]
        fn what_is_encoded_is_decoded(
            body in prop::collection::hash_map(any::<String>(), values(), 0..5),
            actor in "[^\\p{Cc}]{1,256}",
            number in 0..=INTEGER_MAX,
            link in prop::option::of((0u64..1_000, 1..=INTEGER_MAX, any::<[u8; 32]>())),
        ) {
            let entry = Entry {
                number,
                at: INTEGER_MAX - number,
                kind: "a.b".parse().unwrap(),
                device: link.map(|(device, sequence, previous)| Link {
                    eid: Eid::with_check_digits(&format!("89{device:028}")).unwrap(),
                    sequence,
                    previous: (sequence > 1).then_some(Hash(previous)),
                }),
                actor: actor.parse().unwrap(),
                body: body.into_iter().collect(),
            };
            let octets = entry.encode().unwrap();
            prop_assert_eq!(Entry::decode(&octets).unwrap(), entry);
        }
    }

    #[test]
    fn numbers_are_carried_exactly_or_not_at_all() {
        for number in [
            json!(1.5),
            json!(1u64 << 53),
            json!(-(1i64 << 53)),
            json!(u64::MAX),
        ] {
            let error = entry(json!({"deep": [{"n": number}]}))
                .encode()
                .unwrap_err();
            assert!(matches!(error, EntryError::Number(_)), "{error}");
        }
        for number in [json!(INTEGER_MAX), json!(-(INTEGER_MAX as i64)), json!(0)] {
            entry(json!({ "n": number })).encode().unwrap();
        }
    }

    #[test]
    fn an_entry_fits_a_bundle() {
        let overhead = entry(json!({"t": ""})).encode().unwrap().len();
        let longest = "x".repeat(ENTRY_MAX - overhead);
        assert_eq!(
            entry(json!({ "t": longest })).encode().unwrap().len(),
            ENTRY_MAX
        );
        let error = entry(json!({"t": format!("{longest}x")}))
            .encode()
            .unwrap_err();
        assert_eq!(error, EntryError::TooLong(ENTRY_MAX + 1));
    }

    #[test]
    fn the_ledgers_own_kinds_are_reserved() {
        assert_eq!("ledger.heads".parse::<Kind>(), Err(EntryError::Reserved));
        for bad in ["", ".", "a.", "a..b", "A", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(bad.parse::<Kind>(), Err(EntryError::Kind), "{bad:?}");
        }
        for good in ["a", "policy.set", "es9-1.x"] {
            assert_eq!(good.parse::<Kind>().unwrap().as_str(), good);
        }
    }
}
