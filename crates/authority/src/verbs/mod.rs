//! What can be asked of the authority. A verb checks a request against the state and gives events, or a refusal.

pub(crate) mod associate;
pub(crate) mod decide;
mod effects;
pub(crate) mod enrol;
mod entitlement;
pub(crate) mod policy;
pub(crate) mod propose;
pub(crate) mod result;
pub(crate) mod sign;
pub(crate) mod sign_in;

use std::collections::BTreeMap;

use intent::Digest;

use crate::environment::Entropy;
use crate::event::{Actor, Event};
use crate::state::State;

/// What a verb may look at.
pub(crate) struct Context<'a> {
    /// As it is after everything before in the same batch.
    pub(crate) state: &'a State,
    /// Milliseconds since 1970; never less than the time of the newest entry.
    pub(crate) now: i64,
    /// The number that the verb's first event will get.
    pub(crate) next: u64,
    /// SubjectPublicKeyInfo (DER) of the keys that this process can sign with, by their SHA-256.
    pub(crate) signers: &'a BTreeMap<Digest, Vec<u8>>,
    /// Randomness.
    pub(crate) entropy: &'a dyn Entropy,
}

/// What a verb came to.
pub(crate) struct Decided<T> {
    /// What becomes true, in order.
    pub(crate) events: Vec<(Actor, Event)>,
    /// What is answered once that is durable.
    pub(crate) answer: T,
}

#[cfg(test)]
mod tests;
