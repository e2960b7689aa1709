//! Sign-ins that cannot be used again, and how many strangers came to the door.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::usage::{Span, Window};

/// Refusals of strangers that are recorded in an hour.
const STRANGERS_MAX: u64 = 60;

/// What is remembered of people coming in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SignIns {
    /// Nonces that were used, in hexadecimal, with the time at which they could not be used anyway.
    used: BTreeMap<String, i64>,
    strangers: Window,
}

impl SignIns {
    /// Whether a nonce was used.
    pub(crate) fn was_used(&self, nonce: &[u8; 16]) -> bool {
        self.used.contains_key(&hex::encode(nonce))
    }

    /// Whether one more stranger is worth an entry.
    pub(crate) fn records_strangers(&self, now: i64) -> bool {
        self.strangers
            .free_at(Span::HOUR, now, STRANGERS_MAX)
            .is_none()
    }

    pub(crate) fn apply_used(&mut self, at: i64, nonce: &[u8; 16], expires_at: i64) {
        self.used.retain(|_, until| *until > at);
        self.used.insert(hex::encode(nonce), expires_at);
    }

    pub(crate) fn apply_stranger(&mut self, at: i64) {
        self.strangers.add(Span::HOUR, at);
    }
}
