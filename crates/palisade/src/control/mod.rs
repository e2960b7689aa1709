//! Managing a running eIM from the same machine: JSON over HTTP on the Unix socket `control.sock` in its data folder.
//!
//! Who may open the socket may read everything and change nothing: changes are intents, which the authority takes only with
//! the proof of somebody who may. The socket has mode 0600 and lies in a folder of mode 0700.
//!
//! What is served is the console's interface ([`console::api`]): `/v1` here is `/api/v1` over the network, for somebody who sees
//! everything. Two paths are for this machine alone: `POST /v1/enrolments` and `POST /v1/tokens/check`, which the authority answers.

mod client;
mod operator;
mod socket;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use console::reader::Reader;

pub(crate) use client::{Client, NotRunning};
pub(crate) use console::Problem;
pub(crate) use console::api::{DeviceEnrichment, EnrichDevices};
pub(crate) use operator::Operator;
pub(crate) use socket::{listen, serve};

/// Name of the socket of an eIM in its data folder.
pub(crate) const EIM_SOCKET: &str = "control.sock";

/// Octets of a request's body; an intent for a million devices has some 36 million.
pub(crate) const BODY_OCTETS_MAX: usize = 64 << 20;

/// The console's interface, for whoever may open the socket.
pub(crate) fn router(console: Router) -> Router {
    console.layer(middleware::from_fn(
        |ConnectInfo(operator): ConnectInfo<Operator>, mut request: Request, next: Next| async move {
            request
                .extensions_mut()
                .insert(Reader::local(operator.name().to_owned()));
            next.run(request).await
        },
    ))
}
