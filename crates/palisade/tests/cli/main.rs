//! The command from the outside: the built binary, its output, its exit status, its servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking, in its helpers too"
)]

mod support;

mod authority;
mod bench;
mod decode;
mod end_to_end;
mod help;
mod hsm;
mod management;
mod pending;
mod pki;
mod settings;
mod witness;
