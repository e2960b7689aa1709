//! The software eUICC from outside: everything goes through APDUs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod download;
mod eco;
mod fuzz_smoke;
mod hostile;
mod initial_eim;
mod ladder;
mod local;
mod notifications;
mod power;
mod psmo;
mod recovery;
mod reset;
mod sub_cas;
mod support;
mod transport;
