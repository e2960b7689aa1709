//! The ledger as a whole, on a disk in memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reports by panicking"
)]

mod common;
mod crash;
mod independent;
mod journal;
mod proofs;
mod snapshots;
mod tamper;
mod witness;
