//! The IPA with the software eUICC, in a network of scripted servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets something unexpected has failed"
)]

mod downloads;
mod fuzz_smoke;
mod hostile;
mod injection;
mod packages;
mod recovery;
mod support;
