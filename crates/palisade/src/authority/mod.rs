//! The authority as a process: its folder, its interface, and how the eIM starts and asks it.
//!
//! The engine is the crate `authority`; nothing here decides. The authority serves JSON over HTTP on the Unix socket
//! `authority.sock` in its folder (mode 0600, and the other end must be the same user), and if configured over TCP with
//! mutual TLS:
//!
//! | request | does |
//! | --- | --- |
//! | `POST /v1/intents`, `GET /v1/intents`, `/v1/intents/{id}`, `POST /v1/intents/{id}/decisions` | asks for changes, shows and decides them |
//! | `POST /v1/enrolments`, `GET /v1/enrolments/parameters` | lets a person in with a code |
//! | `GET /v1/feed?after=` | what the eIM has to know |
//! | `POST /v1/signatures`, `/v1/releases`, `/v1/associations`, `/v1/results` | the eIM's work; lists are answered one by one |
//! | `GET /v1/principals`, `/v1/policy`, `/v1/freezes`, `/v1/signing-keys`, `/v1/status`, `/v1/identity` | what holds |
//! | `GET /v1/checkpoint?since=`, `/v1/entries/{n}/proof`, `/v1/devices/{eid}/history` | the record and its proofs |
//! | `POST /v1/tokens/check` | whether a token for reading is good |
//!
//! Errors are problem details (RFC 9457) with the refusal's `code`.

mod child;
mod client;
mod connection;
mod engine;
mod folder;
mod founding;
mod identity;
mod in_process;
mod keys;
mod process;
pub(crate) mod remembered;
mod server;
pub(crate) mod wire;
mod witness;

pub(crate) use child::{Child, NOT_AGAIN};
pub(crate) use client::AuthorityClient;
pub(crate) use connection::Connection;
pub(crate) use engine::Engine;
pub(crate) use folder::{AuthorityFolder, read_public_key};
pub(crate) use founding::{Foundation, SigningKeySource, found};
pub(crate) use in_process::InProcess;
pub(crate) use keys::{PinRefused, SigningKeys, find_or_make, parse_key_uri};
pub(crate) use process::{Options, read_tls_key, run};
pub(crate) use remembered::Remembered;
pub(crate) use witness::{Watch, WitnessFolder, watch};
