//! What people and systems see of an installation: the REST API, the pages, and who is signed in.
//!
//! Nothing is decided here. What is shown is read from the [`eim`] and asked of the [`authority`]; a change is an intent with
//! the proof of somebody who wants it, which goes through to the authority untouched. A console that is taken over can show
//! people something else than what they sign, and that is why each page names the hash that the passkey is asked to sign; it can
//! not change a SIM by itself.
//!
//! Rooms: `api` and `pages` translate requests and know no SQL; both stand on the same reading verbs, the same
//! [`reader`] (who looks, and at which fleets), and the same plans. `sessions` alone has tables.

pub mod api;
pub mod authority;
mod database;
mod limiter;
mod live;
mod pages;
pub mod plan;
mod probes;
pub mod problem;
pub mod reader;
mod security;
mod sessions;
mod sign_in;
mod sim_swap;
mod site;
#[cfg(test)]
mod testing;
pub mod webhooks;

pub use problem::Problem;
pub use site::{Console, OpenError, Parts, Settings};
