//! What can be asked of a fleet, by whom, and how somebody proves to want exactly that.
//!
//! An [`Intent`] is one change, complete: exact devices, exact commands, until when. Its canonical octets (RFC 8785) are
//! hashed; that hash is the [`IntentId`], and it is what people and machines sign. Nothing else in Palisade makes a SIM
//! change, so this crate is the whole language in which changes can be asked for.
//!
//! * [`command`] – what can be done on a device, and its form on the wire.
//! * [`action`] – everything else that can be asked: devices, people and machines, policy, freezes, keys.
//! * [`policy`] – the document that says what needs whose approval, and how much may happen.
//! * [`role`] – who may ask for what.
//! * [`http_signature`] and [`passkey`] – the two proofs: an HTTP message signature (RFC 9421) by a machine, a WebAuthn
//!   assertion by a person. [`approval`] – what an approver signs.
//! * [`key_file`], [`bearer`] – what clients keep.
//! * [`api`] – what the authority can be asked, and what it answers.
//!
//! This crate does no I/O, reads no clock and draws no randomness.

pub mod action;
pub mod api;
pub mod approval;
pub mod bearer;
pub mod command;
pub mod device_set;
mod digest;
mod document;
pub mod draft;
pub mod http_signature;
pub mod key_file;
pub mod name;
pub mod passkey;
pub mod policy;
pub mod role;
pub mod sealed;
pub mod sign_in;
pub mod text;

pub use action::{Action, OperationKind};
pub use approval::{Decision, Proof};
pub use command::{Command, CommandError};
pub use device_set::{DeviceSet, DeviceSetError};
pub use digest::{Digest, NoDigest};
pub use document::{Intent, IntentError, IntentId, LIFETIME_MAX_MS, OCTETS_MAX};
pub use draft::{Circumstances, Draft};
pub use name::{CredentialId, Fleet, NameError, Principal};
pub use policy::PolicyDocument;
pub use role::{FleetScope, Grant, Role};
pub use sealed::{Opening, Sealed};
