//! Tags that operators give devices, to find them by.
//!
//! They are metadata: the authority neither approves nor records them, and nothing is decided by them. Who changes the tags
//! of a device changes what lists of devices show, and no SIM.

use std::fmt;
use std::str::FromStr;

use rsp::ids::Eid;
use serde::{Serialize, Serializer};
use serde_json::json;
use store::SqlError;

use crate::actor::Actor;
use crate::fleet::Visible;
use crate::tables::{fleet, tags};
use crate::{Eim, StorageError};

/// Tags that one device has at most.
pub const TAGS_MAX: usize = 32;
/// Characters of a key.
pub const TAG_KEY_MAX: usize = 64;
/// Characters of a value.
pub const TAG_VALUE_MAX: usize = 128;

/// A tag: `key=value`, or a plain `key` with an empty value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    key: String,
    value: String,
}

/// Why a text is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTag {
    /// The key.
    #[error(
        "the key of a tag has 1 to {TAG_KEY_MAX} characters: ASCII letters, digits, '.', '_', '-', '/', ':', and begins \
         with a letter or digit"
    )]
    Key,
    /// The value.
    #[error(
        "the value of a tag has at most {TAG_VALUE_MAX} characters: letters, digits, blanks, and . _ - / : @ + , # ( )"
    )]
    Value,
}

/// Why tags were not changed or read.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// No such device, for whoever asks.
    #[error("no device with EID {0} is registered")]
    Unknown(Eid),
    /// Not a tag.
    #[error(transparent)]
    Invalid(#[from] InvalidTag),
    /// It would have too many.
    #[error("a device has at most {limit} tags: remove some first")]
    TooMany {
        /// Tags allowed.
        limit: usize,
    },
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for TagError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for TagError {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

impl Tag {
    /// A tag; a plain one has an empty value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Result<Self, InvalidTag> {
        let (key, value) = (key.into(), value.into());
        check_key(&key)?;
        check_value(&value)?;
        Ok(Self { key, value })
    }

    /// What it is found by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it says; empty for a plain tag.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// As it stands in the database.
    pub(crate) fn stored(key: String, value: String) -> Self {
        Self { key, value }
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Self::new(key, value)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => f.write_str(&self.key),
            value => write!(f, "{}={value}", self.key),
        }
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Eim {
    /// Sets and removes tags of a visible device; its tags after that, by key. A key that is set again gets the new value; one
    /// that is not there is removed without complaint; one that is both is set.
    pub async fn change_tags(
        &self,
        actor: &Actor,
        visible: &Visible,
        eid: Eid,
        set: Vec<Tag>,
        unset: Vec<String>,
    ) -> Result<Vec<Tag>, TagError> {
        // Longer lists can only repeat themselves, and would go into the event.
        if set.len() > TAGS_MAX || unset.len() > TAGS_MAX {
            return Err(TagError::TooMany { limit: TAGS_MAX });
        }
        unset.iter().try_for_each(|key| check_key(key))?;
        let visible = visible.clone();
        let event = self.event(
            eid,
            actor,
            "device-tagged",
            json!({ "set": set, "unset": unset }),
        );
        self.change(eid, move |tx| {
            let fleet = fleet::of_device(tx, eid)?.filter(|fleet| visible.covers(fleet));
            if fleet.is_none() {
                return Err(TagError::Unknown(eid));
            }
            let mut changed = 0;
            for key in &unset {
                changed += tags::remove(tx, eid, key)?;
            }
            for tag in &set {
                changed += tags::put(tx, eid, tag)?;
            }
            let tags = tags::of_device(tx, eid)?;
            if tags.len() > TAGS_MAX {
                return Err(TagError::TooMany { limit: TAGS_MAX });
            }
            if changed > 0 {
                event.append(tx)?;
            }
            Ok(tags)
        })
        .await
    }

    /// The tags of a visible device, by key.
    pub fn tags(&self, visible: &Visible, eid: Eid) -> Result<Vec<Tag>, TagError> {
        self.read(|tx| match fleet::of_device(tx, eid)? {
            Some(fleet) if visible.covers(&fleet) => Ok(tags::of_device(tx, eid)?),
            _ => Err(TagError::Unknown(eid)),
        })
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), InvalidTag> {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-/:".contains(&c);
    let begins_well = key
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    match begins_well && key.len() <= TAG_KEY_MAX && key.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(InvalidTag::Key),
    }
}

pub(crate) fn check_value(value: &str) -> Result<(), InvalidTag> {
    let is_allowed = |c: char| c.is_alphanumeric() || " ._-/:@+,#()".contains(c);
    match value.chars().count() <= TAG_VALUE_MAX && value.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(InvalidTag::Value),
    }
}
