//! TLS listeners and clients with the limits that every Palisade endpoint has in common.
//!
//! [`server`] accepts connections, bounds what a peer can cost (connections, time, bytes, requests) and hands complete
//! requests to a router. [`client`] sends requests to a server that is trusted by roots, by a pinned key or by a pinned
//! certificate. [`tls`] holds what both sides have in common.
//!
//! This crate knows HTTP and TLS, and nothing of what the messages mean.

pub mod client;
pub mod server;
pub mod tls;
