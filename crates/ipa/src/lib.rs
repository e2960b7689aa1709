//! IoT Profile Assistant (IPAd, SGP.32 v1.2): carries eIM Packages and Profiles between the network and an eUICC.
//!
//! The crate does no I/O and knows no clock: it is given a card ([`CardTransport`]), a network ([`Network`]), a judge of
//! connectivity ([`Connectivity`]), a memory ([`Memory`]), the time and randomness. [`Ipa::poll`] does one whole session,
//! from recovery of what an earlier one left behind to the last package of the last eIM, and says when it wants to be called
//! again. All calls are synchronous, so a simulator can run thousands of devices in one thread.
//!
//! What an IPA is trusted with is little: eUICC Packages and their results pass through as they came, and only the eUICC
//! decides what they do. What is its own is to lose nothing (results and Notifications stay in the eUICC until they are
//! acknowledged, the rest in [`Memory`]), to come back from a Profile without connectivity, and to look twice at whatever a
//! server sends during a download.

mod address;
pub mod card;
mod client;
mod config;
mod data_request;
mod download;
mod engine;
mod event;
mod facade;
mod injection;
mod notifications;
mod package;
mod ports;
mod recovery;
mod salvage;
mod state;

pub use config::{
    Config, FallbackSettings, NotificationRoute, RollbackSettings, SessionLimits, Timing,
};
pub use engine::{NextWake, WakeReason};
pub use event::Event;
pub use facade::{AddInitialEimError, Ipa, IpaError, Parts};
pub use ports::{
    CardTransport, Connectivity, EimTrust, HttpRequest, HttpResponse, Memory, Network,
    NetworkError, Server, TransportError, VolatileMemory,
};
