//! Managing a running eIM from the same machine: JSON over HTTP on the Unix socket `control.sock` in its data folder.
//!
//! Who may open the socket may read everything and change nothing: changes are intents, which the authority takes only with
//! the proof of somebody who may. The socket has mode 0600 and lies in a folder of mode 0700.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /v1/status` | says who this eIM is and how it is |
//! | `GET /v1/association-data` | what a device needs for AddInitialEim |
//! | `GET /v1/devices?after=&limit=` | lists devices |
//! | `POST /v1/devices/data` | takes labels, tokens and certificates of registered devices |
//! | `GET /v1/devices/{eid}` | shows one |
//! | `GET /v1/devices/{eid}/profiles`, `eims`, `notifications`, `events` | what is known about it |
//! | `GET /v1/devices/{eid}/operations` | its operations, newest first |
//! | `GET /v1/operations/{id}` | shows one |
//! | `POST /v1/intents` | proposes a change; the authority decides |
//! | `GET /v1/intents/{id}` | how it stands, with its operations |
//! | `POST /v1/intents/{id}/decisions` | approves or rejects it |
//!
//! Passed on to the authority as they are: `GET /v1/intents`, `POST /v1/enrolments`, `GET /v1/enrolments/parameters`,
//! `/v1/principals`, `/v1/policy`, `/v1/freezes`, `/v1/signing-keys`, `/v1/checkpoint`, `/v1/entries/{n}/proof`,
//! `/v1/devices/{eid}/history`, `/v1/authority`, and `POST /v1/tokens/check`.

mod api;
mod client;
mod front;
mod operator;
mod redaction;
mod server;
mod socket;

pub(crate) use api::{DeviceEnrichment, EnrichDevices};
pub(crate) use client::{Client, NotRunning};
pub(crate) use console::Problem;
pub(crate) use operator::Operator;
pub(crate) use server::{ServerInfo, router};
pub(crate) use socket::{listen, serve};

/// Name of the socket of an eIM in its data folder.
pub(crate) const EIM_SOCKET: &str = "control.sock";

/// Octets of a request's body; an intent for a million devices has some 36 million.
pub(crate) const BODY_OCTETS_MAX: usize = 64 << 20;
