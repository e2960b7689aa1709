//! The eIM through its ESipa messages, against eUICCs whose every signature the tests choose.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests report by panicking"
)]

mod association;
mod attacks;
mod authority;
mod delivery;
mod downloads;
mod fuzz_smoke;
mod http;
mod sub_cas;
mod world;
