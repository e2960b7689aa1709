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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Home, eid, only};

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn tags_are_read_and_refused() {
        for text in [
            "pilot",
            "site=Aachen",
            "note=Müller & Söhne".trim_end_matches(" & Söhne"),
            "a/b:c=1 + 2",
        ] {
            assert_eq!(tag(text).to_string(), text);
        }
        let longest = format!("{}={}", "k".repeat(64), "é".repeat(128));
        assert_eq!(tag(&longest).to_string(), longest);
        for bad in ["", "=x", " a", "-a", "a b=c", "%", "a\u{0}", "ä=1"] {
            assert_eq!(bad.parse::<Tag>(), Err(InvalidTag::Key), "{bad:?}");
        }
        assert_eq!("k".repeat(65).parse::<Tag>(), Err(InvalidTag::Key));
        for bad in [
            "a=<b>",
            "a=\n",
            "a=b=c",
            "a='",
            "a=\"",
            "a=\u{202e}x",
            "a=%",
        ] {
            assert_eq!(bad.parse::<Tag>(), Err(InvalidTag::Value), "{bad:?}");
        }
        let long = format!("a={}", "v".repeat(129));
        assert_eq!(long.parse::<Tag>(), Err(InvalidTag::Value));
    }

    #[tokio::test]
    async fn tags_are_set_replaced_and_removed_with_an_event() {
        let home = Home::new();
        home.register("north", 0..1).await;
        let olga = Actor::operator("olga");
        let change = async |set: Vec<Tag>, unset: &[&str]| {
            let unset = unset.iter().map(|key| (*key).to_owned()).collect();
            home.eim
                .change_tags(&olga, &Visible::All, eid(0), set, unset)
                .await
        };
        let events = || home.eim.events(eid(0), None, 100).unwrap();
        let tags = change(vec![tag("site=Aachen"), tag("pilot")], &[]).await;
        assert_eq!(tags.unwrap(), [tag("pilot"), tag("site=Aachen")]);
        let last = events().pop().unwrap();
        assert_eq!(
            (last.kind.as_str(), last.actor.as_str()),
            ("device-tagged", "operator:olga")
        );
        assert_eq!(last.detail["set"], json!(["site=Aachen", "pilot"]));

        let tags = change(vec![tag("site=Bremen")], &["pilot", "absent"]).await;
        assert_eq!(tags.unwrap(), [tag("site=Bremen")]);
        let before = events().len();
        let same = change(vec![tag("site=Bremen")], &["absent"]).await;
        assert_eq!(same.unwrap(), [tag("site=Bremen")]);
        assert_eq!(events().len(), before, "nothing changed");

        let many: Vec<Tag> = (0..32).map(|number| tag(&format!("n{number}"))).collect();
        let refused = change(many.clone(), &[]).await;
        assert!(matches!(refused, Err(TagError::TooMany { limit: 32 })));
        let kept = home.eim.tags(&Visible::All, eid(0)).unwrap();
        assert_eq!(kept, [tag("site=Bremen")], "none of them was set");
        assert_eq!(change(many, &["site"]).await.unwrap().len(), 32);
        let endless = vec![tag("a"); 33];
        assert!(matches!(
            change(endless, &[]).await,
            Err(TagError::TooMany { .. })
        ));
        let refused = change(Vec::new(), &["% OR 1"]).await;
        assert!(matches!(refused, Err(TagError::Invalid(InvalidTag::Key))));
    }

    #[tokio::test]
    async fn nobody_tags_what_they_do_not_see() {
        let home = Home::new();
        home.register("north", 0..1).await;
        home.register("south", 1..2).await;
        let (olga, north) = (Actor::operator("olga"), only(&["north"]));
        for device in [eid(1), eid(9)] {
            let changed = home
                .eim
                .change_tags(&olga, &north, device, vec![tag("mine")], Vec::new())
                .await;
            assert!(matches!(changed, Err(TagError::Unknown(_))));
            let read = home.eim.tags(&north, device);
            assert!(matches!(read, Err(TagError::Unknown(_))));
        }
        assert!(home.eim.tags(&Visible::All, eid(1)).unwrap().is_empty());
    }
}
