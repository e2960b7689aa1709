//! Managing a running eIM from the same machine: JSON over HTTP on the Unix socket `control.sock` in its data folder.
//!
//! Who may open the socket may do everything, so it has mode 0600 and lies in a folder of mode 0700. Who does something is
//! recorded by the user name that the kernel gives for the other end.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /v1/status` | says who this eIM is and how it is |
//! | `GET /v1/association-data` | what a device needs for AddInitialEim |
//! | `GET /v1/devices?after=&limit=` | lists devices |
//! | `POST /v1/devices` | registers one |
//! | `POST /v1/devices/import` | registers the lines of a CSV file |
//! | `GET /v1/devices/{eid}` | shows one |
//! | `POST /v1/devices/{eid}/retire` | ends its management |
//! | `GET /v1/devices/{eid}/profiles`, `eims`, `notifications`, `events` | what is known about it |
//! | `GET /v1/devices/{eid}/operations` | its operations, newest first |
//! | `POST /v1/devices/{eid}/operations` | proposes one |
//! | `GET /v1/operations/{id}` | shows one |
//! | `POST /v1/operations/{id}/cancel` | withdraws one |

mod api;
mod client;
mod import;
mod operator;
mod problem;
mod redaction;
mod server;
mod socket;

pub(crate) use client::{Client, NotRunning};
pub(crate) use operator::Operator;
pub(crate) use problem::Problem;
pub(crate) use server::{ServerInfo, router};
pub(crate) use socket::{listen, serve};

/// Name of the socket of an eIM in its data folder.
pub(crate) const EIM_SOCKET: &str = "control.sock";

/// Octets of a request's body; an import of 100,000 devices has some 5 million.
pub(crate) const BODY_OCTETS_MAX: usize = 32 << 20;
