//! ES2+: JSON over mutual TLS.

use ::http::{HeaderMap, StatusCode};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use axum::{Extension, Router};
use edge::server::ConnectionInfo;
use pki::Certificate;
use rsp::binding::es2plus::{Call, Function, Request, Response};
use rsp::binding::http::Binding;
use rsp::binding::{self, Failure};

use super::{answer, blocking, check_headers, unavailable};
use crate::config::Operator;
use crate::domain::{Actor, Error, Refusal, Smdp};

pub(super) fn router(smdp: Smdp) -> Router {
    let body_octets_max = smdp.config().limits.body_octets_max;
    Router::new()
        .route("/gsma/rsp2/es2plus/{function}", post(json))
        .layer(DefaultBodyLimit::max(body_octets_max))
        .with_state(smdp)
}

async fn json(
    State(smdp): State<Smdp>,
    Path(name): Path<String>,
    connection: Option<Extension<ConnectionInfo>>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    // Before anything of the request is looked at: whose is it?
    let certificate = connection.and_then(|Extension(info)| info.client_certificate);
    let Some(certificate) = certificate else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Some(operator) = operator_of(&smdp, &certificate) else {
        tracing::warn!("ES2+ refused: the client certificate is no operator's");
        return StatusCode::FORBIDDEN.into_response();
    };
    let function = match name.parse::<Function>() {
        Ok(function) if function != Function::HandleDownloadProgressInfo => function,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    if let Err(refusal) = check_headers(&headers, Binding::Json) {
        return refused(function, refusal);
    }
    let request = match Request::from_json(function.name(), &body) {
        Ok(request) => request,
        Err(error) => {
            tracing::info!(%error, ?function, operator = operator.name, "ES2+ request cannot be read");
            return match refusal_of(&error) {
                Some(refusal) => refused(function, refusal),
                None => StatusCode::BAD_REQUEST.into_response(),
            };
        }
    };
    let requester = &request.header.function_requester_identifier;
    if operator.oid.as_ref().is_some_and(|oid| oid != requester) {
        return refused(function, Refusal::FunctionRequester);
    }
    let actor = Actor::Operator(operator.name.clone());
    match blocking(move || call(&smdp, &actor, request.call)).await {
        Err(response) => response,
        Ok(Ok(response)) => answer(Binding::Json, response.to_json()),
        Ok(Err(Error::Refused(refusal))) => refused(function, refusal),
        Ok(Err(Error::Fault(fault))) => unavailable(&fault),
    }
}

/// The operator whose certificate this is.
fn operator_of(smdp: &Smdp, certificate: &[u8]) -> Option<Operator> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let operators = &smdp.config().operators;
    operators
        .iter()
        .find(|operator| operator.access.admits(&certificate))
        .cloned()
}

fn call(smdp: &Smdp, actor: &Actor, call: Call) -> Result<Response, Error> {
    let orders = smdp.orders();
    Ok(match call {
        Call::DownloadOrder(order) => {
            Response::DownloadOrder(Ok(orders.download_order(actor, order)?))
        }
        Call::ConfirmOrder(order) => {
            Response::ConfirmOrder(Ok(orders.confirm_order(actor, order)?))
        }
        Call::CancelOrder(order) => Response::CancelOrder(Ok(orders.cancel_order(actor, order)?)),
        Call::ReleaseProfile(release) => {
            Response::ReleaseProfile(Ok(orders.release_profile(actor, &release)?))
        }
        Call::HandleDownloadProgressInfo(_) => Response::HandleDownloadProgressInfo,
    })
}

fn refused(function: Function, refusal: Refusal) -> HttpResponse {
    let failure = Failure::new(refusal.status()).with_message(refusal.message());
    match Response::failure(function, failure) {
        Some(response) => answer(Binding::Json, response.to_json()),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The status code for a body whose members are wrong; `None` when it is no JSON object.
fn refusal_of(error: &binding::Error) -> Option<Refusal> {
    let member = error.member()?;
    Some(match member {
        member if member.starts_with("header") => Refusal::FunctionRequester,
        _ if error.is_missing() => Refusal::ElementMissing,
        "iccid" => Refusal::IccidMalformed,
        "eid" => Refusal::EidMalformed,
        "matchingId" => Refusal::MatchingIdMalformed,
        _ => Refusal::ElementMalformed,
    })
}
