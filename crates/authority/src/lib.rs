//! The authority: who may change what, the record of it, and the only place where packages are signed.
//!
//! What this crate promises:
//!
//! * **Nothing is signed that nobody asked for.** A package is built here, from an intent whose proof was verified, that policy
//!   allowed and enough people approved. Octets to sign are never taken from anybody.
//! * **Recorded first.** The entry that allocates a counter and holds the package is durable before the signature exists.
//! * **State is what the ledger says.** Credentials, grants, policy, intents, devices, freezes, quotas: everything that decides
//!   is the result of replaying entries ([`event::Event`]), and nothing else is stored.
//! * **Fail closed.** When the record cannot be written, the authority stops answering.
//!
//! Layers: [`intent::api`] is what may be asked and answered; verbs check a request against the [`state`] and give events, or a
//! [`Refusal`](intent::api::Refusal); the writer makes events durable, many requests at a time, and only then lets signatures and
//! answers out. No sockets, clock or randomness: they come in through [`environment`].

pub mod environment;
pub mod event;
pub mod genesis;
mod history;
pub mod inventory;
pub mod lists;
mod opening;
pub mod package;
mod parallel;
pub mod proof;
mod queue;
mod reading;
pub mod service;
mod signers;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod verbs;
pub mod webauthn;
mod writer;

pub use history::{Unasked, check_asked};
pub use opening::Replay;
pub use service::{Authority, OpenError, Parts};
pub use verbs::enrol::Enrolment;
