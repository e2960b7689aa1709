//! The bindings of ES9+ and ES2+ over HTTP (SGP.22 v2.5 section 6). What the messages look like is
//! in `rsp::binding`; what they mean, in the domain. Here: paths, headers, and HTTP statuses.
//!
//! No request makes this layer answer 500: what cannot be read is 400 or a status code of SGP.22,
//! and trouble of the server's own is 503 with Retry-After.

mod es2plus;
mod es9plus;
mod progress;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rsp::binding::http::{AdminProtocol, Binding, HEADER_ADMIN_PROTOCOL};

pub use progress::{DeliveryReport, EdgeOperatorLink, OperatorLink, ProgressError};

use crate::domain::{Fault, Refusal, Smdp};

impl Smdp {
    /// ES9+: `/gsma/rsp2/es9plus/…` (JSON) and `/gsma/rsp2/asn1`.
    pub fn router(&self) -> axum::Router {
        es9plus::router(self.clone())
    }

    /// ES2+: `/gsma/rsp2/es2plus/…` (JSON). Serve it on a listener that asks clients for certificates;
    /// the connection's [`ConnectionInfo`](edge::server::ConnectionInfo) says whose request it is.
    pub fn es2plus_router(&self) -> axum::Router {
        es2plus::router(self.clone())
    }
}

/// What is said in every answer.
const ANSWERED_PROTOCOL: &str = "gsma/rsp/v2.5.0";
/// Major version of SGP.22 that is spoken.
const PROTOCOL_MAJOR: u8 = 2;

/// Checks the headers that every request must have.
fn check_headers(headers: &HeaderMap, binding: Binding) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE.as_str()).map(Binding::from_content_type);
    if content_type != Some(Ok(binding)) {
        return Err(Refusal::ContentType);
    }
    let protocol = text(HEADER_ADMIN_PROTOCOL).and_then(|value| value.parse().ok());
    match protocol {
        Some(AdminProtocol {
            major: PROTOCOL_MAJOR,
            ..
        }) => Ok(()),
        _ => Err(Refusal::AdminProtocol),
    }
}

/// An answer with a body, or 204 without one.
fn answer(binding: Binding, body: Option<Vec<u8>>) -> Response {
    let mut response = match body {
        Some(body) => {
            let content_type = HeaderValue::from_static(binding.content_type());
            ([(header::CONTENT_TYPE, content_type)], body).into_response()
        }
        None => StatusCode::NO_CONTENT.into_response(),
    };
    let name = HeaderName::from_static(ADMIN_PROTOCOL_LOWER_CASE);
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(ANSWERED_PROTOCOL));
    response
}

/// `X-Admin-Protocol` as the HTTP library names it.
const ADMIN_PROTOCOL_LOWER_CASE: &str = "x-admin-protocol";

/// The server could not do it now.
fn unavailable(fault: &Fault) -> Response {
    let mut causes = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(fault);
    while let Some(error) = cause {
        causes.push_str(": ");
        causes.push_str(&error.to_string());
        cause = error.source();
    }
    tracing::error!("request not executed: {fault}{causes}");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "5")],
    )
        .into_response()
}

/// Runs blocking work of the domain (signatures, durable writes) away from the connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Response> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request was not executed");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    })
}
