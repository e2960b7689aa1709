//! Keys of the eIM: public parts only.

use std::collections::BTreeMap;

use intent::Digest;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::state::Misfit;

/// The eIM's keys by the SHA-256 of their SubjectPublicKeyInfo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SigningKeys {
    usable: BTreeMap<Digest, u64>,
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

    /// The key an installation begins with.
    pub(crate) fn begin(&mut self, number: u64, spki: &[u8]) {
        self.usable.insert(Digest::of(&[spki]), number);
    }

    /// Takes the next event about a key.
    pub(crate) fn apply(&mut self, number: u64, event: &Event) -> Result<(), Misfit> {
        match event {
            Event::SigningKeyAdded { spki, .. } => self.begin(number, spki),
            Event::SigningKeyRetired { spki_sha256, .. } => {
                if self.usable.remove(spki_sha256).is_none() {
                    return Err(Misfit::new(number, "the key is not in use"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
