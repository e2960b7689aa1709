//! Proposing, approving, following: what goes through to the authority, and the little that is done on the way.
//!
//! Intents and proofs go through untouched. The eIM keeps what opens the secrets that an intent commits to, which the authority is
//! not given, and looks at the authority's feed right after a proposal, so that nobody waits for the next look.

use axum::body::Bytes;
use axum::extract::{OriginalUri, Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, Uri};
use intent::api::{Decide, IntentStatus, Propose, RefusalCode};
use intent::http_signature::HttpProof;
use intent::{Intent, IntentId, Proof};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::exchange::{
    Document, Params, Segments, body, content_type, cursor, paged, parsed, read_cursor, unsupported,
};
use super::views::{IntentPage, IntentShown, OperationOfIntent};
use super::{Answer, Site, Who};
use crate::Problem;
use crate::reader::Reader;
use crate::site::{Console, no_such_intent};

/// Operations of an intent in one answer.
const OPERATIONS_MAX: u32 = 100;

/// A proposal, for the description alone: what is read is `intent::api::Propose`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes")]
pub(crate) struct Proposal {
    /// The intent, canonical, exactly as signed: `intent` of a plan.
    intent: String,
    /// Who wants it: `{"type": "passkey", "credential": …, "assertion": …}`, a WebAuthn assertion whose challenge is the intent's id.
    #[schema(value_type = Object)]
    proof: (),
    /// `devices` of the plan, if it has them.
    devices: Option<Vec<String>>,
    /// `openings` of the plan, if it has them.
    #[schema(value_type = Vec<Object>)]
    openings: (),
    /// Taken, and replaced by the address that the request came from.
    network: Option<String>,
}

/// A decision, for the description alone: what is read is `intent::api::Decide`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes")]
pub(crate) struct DecisionTaken {
    /// `approve` or `reject`.
    #[schema(example = "approve")]
    decision: String,
    /// A WebAuthn assertion over the decision about this intent.
    #[schema(value_type = Object)]
    proof: (),
    /// Taken, and replaced by the address that the request came from.
    network: Option<String>,
}

/// Propose a change.
///
/// The body is a JSON object with the intent and a passkey's assertion, or the bare canonical intent of a machine whose request
/// carries an HTTP message signature (RFC 9421: `Signature-Input`, `Signature`, `Content-Digest`) over it. The authority decides.
/// An intent is accepted once: with the field `Idempotency-Key` (any value), a repeated proposal of an intent that was accepted
/// is answered with how it stands, without it with 409.
#[utoipa::path(post, path = "/intents", tag = "intents", request_body = Proposal,
    params(("Idempotency-Key" = Option<String>, Header, description = "This may be a repetition")),
    responses((status = 201, description = "Accepted", body = IntentShown), (status = 200, description = "It was accepted before", body = IntentShown)))]
pub(super) async fn propose(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Json<IntentShown>), Problem> {
    if !matches!(
        content_type(&headers).as_deref(),
        None | Some("application/json")
    ) {
        return Err(unsupported("application/json"));
    }
    let octets = body(request, &()).await?;
    let mut proposal = proposal(&headers, &uri, &octets)?;
    // Where a request came from is what this server sees, whatever the request says.
    proposal.network = reader.network;
    let (intent, id) = Intent::decode(proposal.intent.as_bytes())
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let openings = std::mem::take(&mut proposal.openings);
    let eim = &console.eim;
    eim.keep_openings(id, &intent, openings.clone()).await?;
    match console.authority.propose(&proposal).await {
        Ok(status) => {
            // Another proposal of the same intent that was refused meanwhile may have taken them away.
            eim.keep_openings(id, &intent, openings).await?;
            follow(&console).await;
            Ok((
                StatusCode::CREATED,
                Json(with_operations(&console, &reader, status)?),
            ))
        }
        Err(problem) => {
            let Some(code) = problem.code else {
                // It may have been recorded. The openings stay; they are few, and open nothing without their intent.
                return Err(problem);
            };
            // The refused one may be a repetition of one that was accepted, whose secrets are still needed.
            match console.authority.intent(id).await {
                Ok(status) => {
                    let may_repeat = headers.contains_key("idempotency-key");
                    match code == RefusalCode::Replayed && may_repeat {
                        true => {
                            let shown = with_operations(&console, &reader, status)?;
                            Ok((StatusCode::OK, Json(shown)))
                        }
                        false => Err(problem),
                    }
                }
                Err(found) => {
                    if found.code == Some(RefusalCode::Unknown) {
                        eim.forget_openings(id).await?;
                    }
                    Err(problem)
                }
            }
        }
    }
}

fn proposal(headers: &HeaderMap, uri: &Uri, octets: &Bytes) -> Result<Propose, Problem> {
    match http_proof(headers, uri)? {
        Some(proof) => Ok(Propose {
            intent: String::from_utf8(octets.to_vec())
                .map_err(|_| Problem::invalid("an intent is UTF-8 text"))?,
            proof: Proof::HttpSignature(proof),
            devices: None,
            network: None,
            openings: Vec::new(),
        }),
        None => parsed(octets),
    }
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

/// Which intents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntentParams {
    /// `waiting`, `approved`, `done`, `rejected`, `cancelled` or `expired`.
    #[param(value_type = Option<String>)]
    state: Option<intent::api::IntentState>,
    /// The `next` of the page before, or the number of an entry.
    before: Option<String>,
    /// Intents in a page: 100 unless said otherwise, 500 at most.
    #[param(minimum = 0)]
    limit: Option<u32>,
}

/// List intents, the newest first.
///
/// Auditors see all of them; everybody else sees their own, and those about devices that they see.
#[utoipa::path(get, path = "/intents", tag = "intents", params(IntentParams),
    responses((status = 200, description = "A page of intents", body = IntentPage)))]
pub(super) async fn list(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    Params(params): Params<IntentParams>,
) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(100).clamp(1, 500);
    let before = params
        .before
        .as_deref()
        .map(|text| match text.parse::<u64>() {
            Ok(entry) => Ok(entry),
            Err(_) => read_cursor("intents", text),
        });
    let before = before.transpose()?;
    let mut target = format!("/v1/intents?limit={limit}");
    if let Some(state) = params.state {
        let word = serde_json::to_value(state).unwrap_or_default();
        target.push_str(&format!("&state={}", word.as_str().unwrap_or_default()));
    }
    if let Some(before) = before {
        target.push_str(&format!("&before={before}"));
    }
    let page: Vec<IntentStatus> = console.authority.get(target).await?;
    let next = page.last().filter(|_| page.len() == limit as usize);
    let next = next.map(|status| cursor("intents", &status.entry));
    let mut intents = Vec::new();
    for status in page {
        if console.sees_intent(&reader, &status)? {
            intents.push(status.into());
        }
    }
    let body = IntentPage {
        intents,
        next: next.clone(),
    };
    Ok(paged(&uri, "before", next.as_deref(), body))
}

/// How an intent stands, with the operations that came of it.
#[utoipa::path(get, path = "/intents/{id}", tag = "intents", params(("id" = String, Path, description = "base64url, 43 characters")),
    responses((status = 200, description = "How it stands", body = IntentShown)))]
pub(super) async fn show(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<IntentShown> {
    let id = intent_id(&text)?;
    let status = console.authority.intent(id).await?;
    if !console.sees_intent(&reader, &status)? {
        return Err(no_such_intent(id));
    }
    let mut shown = with_operations(&console, &reader, status)?;
    let pending = console.eim.pending_data(id)?;
    shown.pending_data = (pending > 0).then_some(pending);
    Ok(Json(shown))
}

/// Approve or reject an intent.
///
/// A person does, with a passkey whose challenge is the decision about exactly this intent.
#[utoipa::path(post, path = "/intents/{id}/decisions", tag = "intents", params(("id" = String, Path, description = "base64url, 43 characters")),
    request_body = DecisionTaken, responses((status = 200, description = "How it stands now", body = IntentShown)))]
pub(super) async fn decide(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    Document(mut decision): Document<Decide>,
) -> Answer<IntentShown> {
    let id = intent_id(&text)?;
    decision.network = reader.network;
    let status = console.authority.decide(id, &decision).await?;
    follow(&console).await;
    Ok(Json(with_operations(&console, &reader, status)?))
}

/// How an intent stands with what came of it so far, of the first devices.
fn with_operations(
    console: &Console,
    reader: &Reader,
    status: IntentStatus,
) -> Result<IntentShown, Problem> {
    let operations = console.eim.operations_of(status.id, None, OPERATIONS_MAX)?;
    let visible = reader.visible();
    let mut seen = Vec::with_capacity(operations.len());
    for operation in operations {
        match console.eim.visible_device(&visible, operation.eid) {
            Ok(_) => seen.push(OperationOfIntent {
                id: operation.id.to_string(),
                eid: operation.eid.to_string(),
                state: operation.state.to_string(),
            }),
            Err(eim::DeviceError::Storage(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    let mut shown = IntentShown::from(status);
    shown.operations = Some(seen);
    Ok(shown)
}

/// Until when a registration waits to be decided, in milliseconds since 1970; none if its devices are registered.
pub(super) async fn waits_until(
    console: &Console,
    reader: &Reader,
    id: IntentId,
) -> Result<Option<i64>, Problem> {
    use intent::Action;
    use intent::api::IntentState;
    let status = console.authority.intent(id).await?;
    let is_theirs = match reader.principal() {
        Some(principal) => *principal == status.proposer,
        None => reader.may_audit(),
    };
    if !is_theirs {
        return Err(no_such_intent(id));
    }
    if !matches!(status.intent.action, Action::RegisterDevices { .. }) {
        return Err(Problem::invalid("the intent registers no devices"));
    }
    match status.state {
        IntentState::Waiting => Ok(Some(status.intent.expires_at)),
        IntentState::Done | IntentState::Approved => {
            follow(console).await;
            Ok(None)
        }
        state => Err(Problem::invalid(format!(
            "the registration is {}, so nothing is kept for its devices; register them anew",
            serde_json::to_value(state)
                .unwrap_or_default()
                .as_str()
                .unwrap_or("over")
        ))),
    }
}

async fn follow(console: &Console) {
    // The background looks again, so nothing is lost here.
    if let Err(error) = console.eim.follow().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the authority's feed could not be followed"
        );
    }
}

pub(super) fn intent_id(text: &str) -> Result<IntentId, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the id of an intent")))
}
