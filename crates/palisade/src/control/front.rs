//! What the eIM passes on to the authority, and the little that it does itself on the way.
//!
//! Intents and proofs go through untouched. The eIM keeps what opens the secrets that an intent commits to, which the
//! authority is not given, and looks at its feed right after a proposal, so that nobody waits for the next look.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use intent::api::{Propose, RefusalCode};
use intent::bearer::BearerToken;
use intent::http_signature::HttpProof;
use intent::{Intent, IntentId, Proof};
use serde_json::{Value, json};

use super::redaction::redacted;
use super::server::{Answer, Server, encoded, insert, parse, received};
use crate::authority::wire::TokenCheck;
use console::Problem;

/// Where everybody comes from who opens this socket: the kernel lets nobody in from elsewhere. What a request says about that
/// is not believed.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Operations of an intent in one answer.
const OPERATIONS_MAX: u32 = 100;

/// `POST /v1/intents`: the raw canonical intent with the fields of its signature, or a JSON object of intent and proof.
pub(super) async fn propose(
    State(server): Server,
    headers: HeaderMap,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut proposal = match http_proof(&headers, &uri)? {
        Some(proof) => Propose {
            intent: String::from_utf8(received(body)?.to_vec())
                .map_err(|_| Problem::invalid("an intent is UTF-8 text"))?,
            proof: Proof::HttpSignature(proof),
            devices: None,
            network: None,
            openings: Vec::new(),
        },
        None => parse(body)?,
    };
    proposal.network = Some(HERE);
    let (intent, id) = Intent::decode(proposal.intent.as_bytes())
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let openings = std::mem::take(&mut proposal.openings);
    let eim = &server.eim;
    eim.keep_openings(id, &intent, openings.clone()).await?;
    match server.authority.propose(&proposal).await {
        Ok(Ok(mut status)) => {
            // Another proposal of the same intent that was refused meanwhile may have taken them away.
            eim.keep_openings(id, &intent, openings).await?;
            follow(&server).await;
            insert(&mut status, "operations", operations(&server, id)?);
            Ok((StatusCode::CREATED, Json(status)))
        }
        Ok(Err(refusal)) => {
            // The refused one may be a repetition of one that was accepted, whose secrets are still needed.
            let is_unknown = matches!(
                server.authority.intent(id).await,
                Ok(Err(refusal)) if refusal.code == RefusalCode::Unknown
            );
            if is_unknown {
                eim.forget_openings(id).await?;
            }
            Err(Problem::refused(&refusal))
        }
        // It may have been recorded. The openings stay; they are few, and open nothing without their intent.
        Err(error) => Err(Problem::no_authority(&error)),
    }
}

/// `GET /v1/intents/{id}`, with the operations that came of it.
pub(super) async fn intent(State(server): Server, Path(text): Path<String>) -> Answer {
    let id = intent_id(&text)?;
    let mut status = match server.authority.intent(id).await {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => return Err(Problem::refused(&refusal)),
        Err(error) => return Err(Problem::no_authority(&error)),
    };
    insert(&mut status, "operations", operations(&server, id)?);
    let pending = server.eim.pending_data(id)?;
    if pending > 0 {
        insert(&mut status, "pending_data", pending.into());
    }
    Ok(Json(status))
}

/// Until when a registration waits to be decided, in milliseconds since 1970; none if its devices are registered.
pub(super) async fn waits_until(server: &Shared, id: IntentId) -> Result<Option<i64>, Problem> {
    let status = match server.authority.intent(id).await {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => return Err(Problem::refused(&refusal)),
        Err(error) => return Err(Problem::no_authority(&error)),
    };
    let member = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    if member("/intent/action/type") != Some("register-devices") {
        return Err(Problem::invalid(
            "the intent registers no devices".to_owned(),
        ));
    }
    let expires_at = status.pointer("/intent/expires_at").and_then(Value::as_i64);
    match member("/state") {
        Some("waiting") => Ok(expires_at),
        Some("done" | "approved") => {
            follow(server).await;
            Ok(None)
        }
        state => Err(Problem::invalid(format!(
            "the registration is {}, so nothing is kept for its devices; register them anew",
            state.unwrap_or("over")
        ))),
    }
}

/// `POST /v1/intents/{id}/decisions`
pub(super) async fn decide(
    State(server): Server,
    Path(text): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let id = intent_id(&text)?;
    let mut decision: intent::api::Decide = parse(body)?;
    decision.network = Some(HERE);
    let octets =
        serde_json::to_vec(&decision).map_err(|error| Problem::invalid(error.to_string()))?;
    let target = format!("/v1/intents/{id}/decisions");
    let answer = pass(&server, Method::POST, &target, octets.into()).await?;
    follow(&server).await;
    Ok(answer)
}

/// Everything that the authority answers by itself.
pub(super) async fn forward(
    State(server): Server,
    method: Method,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let target = uri
        .path_and_query()
        .map_or(uri.path(), |target| target.as_str());
    pass(&server, method, target, received(body)?).await
}

/// `GET /v1/authority`
pub(super) async fn authority_status(State(server): Server) -> Result<Response, Problem> {
    pass(&server, Method::GET, "/v1/status", Bytes::new()).await
}

/// A token for reading is not needed on this socket. One that is shown has to be good, and reads only.
pub(super) async fn check_bearer(
    server: &Shared,
    method: Method,
    presented: Option<HeaderValue>,
) -> Result<(), Problem> {
    let Some(presented) = presented else {
        return Ok(());
    };
    let token = presented
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "))
        .ok_or_else(|| Problem::invalid("the field Authorization is `Bearer <token>`"))?;
    let token: BearerToken = token
        .parse()
        .map_err(|error: intent::bearer::TokenError| token_refused(error.to_string()))?;
    if method != Method::GET {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "token-reads-only",
            "A token can read and nothing else",
            "this request is no GET",
            "changes need a signature: `palisade key create`, or a passkey",
        ));
    }
    let check = TokenCheck {
        token: token.expose().to_owned(),
        network: Some(HERE),
    };
    match server.authority.check_token(&check).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusal)) => Err(token_refused(refusal.message)),
        Err(error) => Err(Problem::no_authority(&error)),
    }
}

fn token_refused(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token-refused",
        "The token is not accepted",
        detail,
        "have another one issued: `palisade token create`",
    )
}

async fn pass(
    server: &Shared,
    method: Method,
    target: &str,
    body: Bytes,
) -> Result<Response, Problem> {
    let answer = server
        .authority
        .forward(method, target, body)
        .await
        .map_err(|error| Problem::no_authority(&error))?;
    let kind = match answer.status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// The proof of a machine, if the request carries one.
fn http_proof(headers: &HeaderMap, uri: &Uri) -> Result<Option<HttpProof>, Problem> {
    if !headers.contains_key("signature-input") {
        return Ok(None);
    }
    let field = |name: &str| -> Result<String, Problem> {
        let lines = headers.get_all(name).iter().map(|line| line.to_str());
        let lines: Result<Vec<&str>, _> = lines.collect();
        let lines = lines.map_err(|_| Problem::invalid(format!("{name} is not ASCII")))?;
        Ok(lines.join(", "))
    };
    Ok(Some(HttpProof {
        method: "POST".to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        content_digest: field("content-digest")?,
        signature_input: field("signature-input")?,
        signature: field("signature")?,
    }))
}

/// What came of an intent so far, of the first devices.
fn operations(server: &Shared, id: IntentId) -> Result<Value, Problem> {
    let operations = server.eim.operations_of(id, None, OPERATIONS_MAX)?;
    let listed: Vec<Value> = operations
        .iter()
        .map(|operation| {
            json!({
                "id": operation.id,
                "eid": operation.eid.to_string(),
                "state": operation.state,
            })
        })
        .collect();
    Ok(redacted(encoded(&listed)?))
}

async fn follow(server: &Shared) {
    // The background looks again, so nothing is lost here.
    if let Err(error) = server.eim.follow().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the authority's feed could not be followed"
        );
    }
}

fn intent_id(text: &str) -> Result<IntentId, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the id of an intent")))
}

pub(super) use super::server::Shared;

/// A problem as the answer of a middleware.
pub(super) fn refuse(problem: Problem) -> Response {
    problem.into_response()
}
