//! Keys of the eIM: public parts only.

use std::collections::BTreeMap;

use intent::Digest;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::state::Misfit;

/// The eIM's keys by the SHA-256 of their SubjectPublicKeyInfo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SigningKeys {
    #[serde(with = "listed")]
    usable: BTreeMap<Digest, SigningKey>,
}

/// A key that was added and not retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The entry that added it.
    pub number: u64,
    /// SubjectPublicKeyInfo (DER).
    #[serde(with = "hex::serde")]
    pub spki: Vec<u8>,
}

impl SigningKeys {
    /// Whether a key was added and not retired.
    pub fn is_usable(&self, key: &Digest) -> bool {
        self.usable.contains_key(key)
    }

    /// How many keys are usable.
    pub fn usable(&self) -> usize {
        self.usable.len()
    }

    /// The usable keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Digest, &SigningKey)> {
        self.usable.iter()
    }

    /// SubjectPublicKeyInfo (DER) of a usable key.
    pub fn spki(&self, key: &Digest) -> Option<&[u8]> {
        self.usable.get(key).map(|known| known.spki.as_slice())
    }

    /// The key that eUICCs are associated with: the oldest usable one. Another takes its place when it is retired, so that
    /// nothing is associated with a key that is still being tried.
    pub fn for_association(&self) -> Option<(&Digest, &SigningKey)> {
        self.usable.iter().min_by_key(|(_, known)| known.number)
    }

    /// The key an installation begins with.
    pub(crate) fn begin(&mut self, number: u64, spki: &[u8]) {
        let key = SigningKey {
            number,
            spki: spki.to_vec(),
        };
        self.usable.entry(Digest::of(&[spki])).or_insert(key);
    }

    /// Takes the next event about a key.
    pub(crate) fn apply(&mut self, number: u64, event: &Event) -> Result<(), Misfit> {
        match event {
            Event::SigningKeyAdded { spki, .. } => {
                if self.is_usable(&Digest::of(&[spki])) {
                    return Err(Misfit::new(number, "the key is in use already"));
                }
                self.begin(number, spki);
            }
            Event::SigningKeyRetired { spki_sha256, .. } => {
                let retired = self.usable.remove(spki_sha256);
                retired.ok_or_else(|| Misfit::new(number, "the key is not in use"))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// JSON has no objects whose names are digests; a list says the same.
mod listed {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        keys: &BTreeMap<Digest, SigningKey>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Digest, SigningKey>, D::Error> {
        let list = Vec::<(Digest, SigningKey)>::deserialize(deserializer)?;
        Ok(list.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euiccs_are_associated_with_the_oldest_key() {
        let mut keys = SigningKeys::default();
        keys.begin(0, b"one");
        let added = Event::SigningKeyAdded {
            intent: 4,
            spki: b"two".to_vec(),
        };
        keys.apply(5, &added).unwrap();
        keys.apply(6, &added).unwrap_err();
        let association = |keys: &SigningKeys| keys.for_association().unwrap().1.spki.clone();
        assert_eq!(association(&keys), b"one");
        let json = serde_json::to_vec(&keys).unwrap();
        assert_eq!(serde_json::from_slice::<SigningKeys>(&json).unwrap(), keys);
        let retired = Event::SigningKeyRetired {
            intent: 7,
            spki_sha256: Digest::of(&[b"one"]),
        };
        keys.apply(8, &retired).unwrap();
        keys.apply(9, &retired).unwrap_err();
        assert_eq!(association(&keys), b"two");
    }
}
