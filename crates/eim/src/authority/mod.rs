//! The seam behind which eUICC Packages are signed.
//!
//! The eIM names what it wants signed ([`Reference`]) and never hands over octets: the authority builds packages itself, from
//! intents whose proofs it verified, and allocates the counters. The eIM learns what was decided by following its feed, and
//! tells it what eUICCs showed and answered.

mod batch;
mod link;
#[cfg(feature = "unguarded-authority")]
pub mod unguarded;

use std::future::Future;
use std::pin::Pin;

use intent::Command;
use intent::api::{Associate, Feed, RecordResult, Reference, Refusal, SignedPackage};
use rsp::sgp32::EimConfigurationData;

pub(crate) use link::Link;

/// An answer of the authority, later.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuthorityError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody answered, or not in time. What was asked for may have been done or not; asking again is safe.
    #[error("the authority cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody answered something else.
    #[error("the authority's answer does not fit: {0}")]
    Malformed(String),
}

/// Builds and signs eUICC Packages, and keeps the record. Asking again for the same thing is always safe.
pub trait Authority: Send + Sync {
    /// Signs packages. One answer for each reference, in their order.
    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>>;

    /// Lets packages leave that carry no signature of the eIM. One answer for each reference, in their order: the commands of
    /// the intent, with commitments in the place of secrets. They say what leaves, not what is in the eIM's database.
    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<Command>, Refusal>>>;

    /// Takes what a device told about its eUICC and its association.
    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>>;

    /// Takes signed answers of eUICCs. One answer for each, in their order.
    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>>;

    /// What was decided behind the position `after`; 0 is before everything.
    fn feed(&self, after: u64) -> Reply<'_, Feed>;

    /// What an eUICC has to store to accept packages of this eIM.
    fn association_data(&self) -> Reply<'_, EimConfigurationData>;
}
