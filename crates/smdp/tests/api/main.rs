//! The server through its routers, against a small software eUICC that signs with SGP.26 keys.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and clippy does not see that these helpers are tests"
)]

mod bindings;
mod crash;
mod download;
mod euicc;
mod fuzz_smoke;
mod notifications;
mod orders;
mod progress;
mod refusals;
mod sub_cas;
mod support;
mod tls;
