//! From a wish to an intent that somebody can sign.

use rsp::ids::Eid;

use crate::action::Action;
use crate::command::Command;
use crate::document::{Intent, IntentError, IntentId};
use crate::sealed::{Opening, SALT_OCTETS};

/// An intent before it is proven, with what travels beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its id: what a proposer signs.
    pub id: IntentId,
    /// It.
    pub intent: Intent,
    /// Its canonical octets, which are ASCII or UTF-8 text.
    pub text: String,
    /// The list of devices, if the intent commits to one; in rising order.
    pub devices: Option<Vec<Eid>>,
    /// What opens the secrets that the intent commits to.
    pub openings: Vec<Opening>,
}

/// What an intent says besides what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The installation that it is for.
    pub installation: String,
    /// When it is made. Milliseconds since 1970.
    pub created_at: i64,
    /// Until when it may be approved and carried out. Milliseconds since 1970.
    pub expires_at: i64,
    /// Why, for people.
    pub note: Option<String>,
}

impl Draft {
    /// Makes an intent. Secrets in it are committed to; `random` gives 16 octets that nobody can guess each time it is called.
    /// `devices` is the list to send along, if the action commits to one.
    pub fn new(
        mut action: Action,
        devices: Option<Vec<Eid>>,
        circumstances: Circumstances,
        random: &mut dyn FnMut() -> [u8; SALT_OCTETS],
    ) -> Result<Self, IntentError> {
        let mut openings = Vec::new();
        if let Action::Operate { commands, .. } = &mut action {
            for command in commands {
                Command::seal(command, random, &mut openings);
            }
        }
        let intent = Intent {
            v: 1,
            installation: circumstances.installation,
            nonce: random(),
            created_at: circumstances.created_at,
            expires_at: circumstances.expires_at,
            action,
            note: circumstances.note,
        };
        intent.check()?;
        let octets = intent.encode()?;
        let id = IntentId::of(&octets);
        let text =
            String::from_utf8(octets).map_err(|error| IntentError::Malformed(error.to_string()))?;
        Ok(Self {
            id,
            intent,
            text,
            devices,
            openings,
        })
    }

    /// The list to send along, as it is sent.
    pub fn devices_text(&self) -> Option<Vec<String>> {
        let eids = self.devices.as_ref()?;
        Some(eids.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceSet;
    use crate::command::{DownloadSource, Route};

    #[test]
    fn secrets_are_beside_the_intent_and_not_in_it() {
        let eid = Eid::with_check_digits("890490320000000000000000000001").unwrap();
        let action = Action::Operate {
            devices: DeviceSet::one(eid),
            commands: vec![Command::Download {
                source: DownloadSource::activation_code("1$smdp.example.com$SECRET").unwrap(),
                route: Route::Direct,
                confirmation_code: None,
            }],
        };
        let circumstances = Circumstances {
            installation: "test/ledger".to_owned(),
            created_at: 1_000,
            expires_at: 61_000,
            note: None,
        };
        let mut number = 0;
        let mut random = || {
            number += 1;
            [number; 16]
        };
        let draft = Draft::new(action, None, circumstances, &mut random).unwrap();
        assert!(!draft.text.contains("SECRET"), "{}", draft.text);
        assert_eq!(draft.openings.len(), 1);
        let (decoded, id) = Intent::decode(draft.text.as_bytes()).unwrap();
        assert_eq!((decoded, id), (draft.intent, draft.id));
    }
}
