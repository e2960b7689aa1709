//! ES9+ in both bindings.

use ::http::{HeaderMap, StatusCode};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use rsp::binding::es9plus::{Function, Request, Response};
use rsp::binding::http::{Binding, PATH_ASN1};
use rsp::binding::{self, Failure};
use rsp::der::ErrorKind;

use super::{answer, blocking, check_headers, unavailable};
use crate::domain::{Error, Refusal, Smdp};

pub(super) fn router(smdp: Smdp) -> Router {
    let body_octets_max = smdp.config().limits.body_octets_max;
    Router::new()
        .route("/gsma/rsp2/es9plus/{function}", post(json))
        .route(PATH_ASN1, post(asn1))
        .layer(DefaultBodyLimit::max(body_octets_max))
        .with_state(smdp)
}

async fn json(
    State(smdp): State<Smdp>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    let Ok(function) = name.parse::<Function>() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Err(refusal) = check_headers(&headers, Binding::Json) {
        return refused(function, Binding::Json, refusal);
    }
    match Request::from_json(function.name(), &body) {
        Ok(request) => execute(smdp, Binding::Json, request).await,
        Err(error) => {
            tracing::info!(%error, ?function, "ES9+ request cannot be read");
            match refusal_of(&error) {
                Some(refusal) => refused(function, Binding::Json, refusal),
                None => StatusCode::BAD_REQUEST.into_response(),
            }
        }
    }
}

async fn asn1(State(smdp): State<Smdp>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    // Which function was meant, and so how to refuse it, is in the body only.
    match check_headers(&headers, Binding::Asn1) {
        Ok(()) => {}
        Err(Refusal::ContentType) => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    match Request::from_asn1(&body) {
        Ok(request) => execute(smdp, Binding::Asn1, request).await,
        Err(error) => {
            tracing::info!(%error, "ES9+ request cannot be read");
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}

async fn execute(smdp: Smdp, binding: Binding, request: Request) -> HttpResponse {
    let function = request.function();
    match blocking(move || call(&smdp, &request)).await {
        Err(response) => response,
        Ok(Ok(response)) => write(binding, &response),
        Ok(Err(Error::Refused(refusal))) => refused(function, binding, refusal),
        Ok(Err(Error::Fault(fault))) => unavailable(&fault),
    }
}

fn call(smdp: &Smdp, request: &Request) -> Result<Response, Error> {
    let downloads = smdp.downloads();
    Ok(match request {
        Request::InitiateAuthentication(request) => {
            Response::InitiateAuthentication(Ok(downloads.initiate_authentication(request)?))
        }
        Request::AuthenticateClient(request) => {
            Response::AuthenticateClient(Ok(downloads.authenticate_client(request)?))
        }
        Request::GetBoundProfilePackage(request) => {
            Response::GetBoundProfilePackage(Ok(downloads.get_bound_profile_package(request)?))
        }
        Request::CancelSession(request) => {
            Response::CancelSession(Ok(downloads.cancel_session(request)?))
        }
        Request::HandleNotification(request) => {
            smdp.notifications().handle(&request.pending_notification)?;
            Response::HandleNotification
        }
    })
}

fn write(binding: Binding, response: &Response) -> HttpResponse {
    let body = match binding {
        Binding::Json => response.to_json(),
        Binding::Asn1 => response.to_asn1(),
    };
    answer(binding, body)
}

fn refused(function: Function, binding: Binding, refusal: Refusal) -> HttpResponse {
    let failure = Failure::new(refusal.status()).with_message(refusal.message());
    match Response::failure(function, failure) {
        Some(response) => write(binding, &response),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The status code for a JSON body whose members are wrong; `None` when it is no JSON object.
fn refusal_of(error: &binding::Error) -> Option<Refusal> {
    match error {
        binding::Error::Missing { .. } => Some(Refusal::ElementMissing),
        binding::Error::Object { source, .. } if *source.kind() == ErrorKind::Missing => {
            Some(Refusal::ElementMissing)
        }
        // What is not a transaction id cannot be one of ours.
        binding::Error::Malformed {
            member: "transactionId",
            ..
        } => Some(Refusal::TransactionUnknown),
        binding::Error::Malformed { .. } | binding::Error::Object { .. } => {
            Some(Refusal::ElementMalformed)
        }
        _ => None,
    }
}
