//! Attacks against real processes: `palisade serve` with the authority beside it, and a software card that polls.
//!
//! Each test makes an attack, sees it refused for the reason it names, has the device poll, and then looks at three things that
//! have to agree: the record has no package that was not asked for, the card is as it was, and what is legitimate still works.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking, in its helpers too"
)]

#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod cli;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;

mod compromised_eim;
mod database;
mod freeze;
mod intents;
mod interrupted;
mod keys;
mod person;
mod record;
mod rotation;
mod site;
mod token;
