//! The edge through its public door: real TLS on loopback, with certificates made for each test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

mod client;
mod limits;
mod support;
mod trust;
