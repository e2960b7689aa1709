//! People, machines and tokens; policy, freezes and keys; oneself and one's sessions.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use http::StatusCode;
use intent::action::FreezeScope;
use intent::api::PrincipalInfo;
use intent::{NameError, PolicyDocument, Principal};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::exchange::Segments;
use super::views::PrincipalShown;
use super::{Answer, Site, Who, audited, forward};
use crate::Problem;
use crate::reader::{Reader, Via};

/// Everybody who may do something, or could once. For auditors.
#[utoipa::path(get, path = "/principals", tag = "people",
    responses((status = 200, description = "By name", body = Vec<PrincipalShown>)))]
pub(super) async fn principals(
    State(console): Site,
    Extension(reader): Who,
) -> Answer<Vec<PrincipalShown>> {
    audited(&reader)?;
    let everybody = console.authority.principals().await?;
    Ok(Json(everybody.into_iter().map(Into::into).collect()))
}

/// A person, machine or token. For auditors; everybody sees themself.
#[utoipa::path(get, path = "/principals/{name}", tag = "people", params(("name" = String, Path, description = "Name")),
    responses((status = 200, description = "What they are, and their credentials", body = PrincipalShown)))]
pub(super) async fn principal(
    State(console): Site,
    Extension(reader): Who,
    Segments(name): Segments<String>,
) -> Answer<PrincipalShown> {
    let name: Principal = name
        .parse()
        .map_err(|error: NameError| Problem::invalid(error.to_string()))?;
    if reader.principal() != Some(&name) && !reader.may_audit() {
        return Err(Problem::refused(&intent::api::Refusal::new(
            intent::api::RefusalCode::Unknown,
            format!("nobody here is called {name}"),
        )));
    }
    Ok(Json(console.authority.principal(&name).await?.into()))
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `session`, `token`, `proof` or `local`.
    via: &'static str,
    /// The person, machine or token; absent on the server's own machine.
    principal: Option<PrincipalShown>,
    /// Whether people, policy and the record are shown to them.
    may_audit: bool,
}

/// Who asks, and what they may see.
#[utoipa::path(get, path = "/me", tag = "people", responses((status = 200, description = "Oneself", body = Me)))]
pub(super) async fn me(State(console): Site, Extension(reader): Who) -> Answer<Me> {
    let info: Option<PrincipalInfo> = match reader.principal() {
        Some(name) => Some(console.authority.principal(name).await?),
        None => None,
    };
    Ok(Json(Me {
        via: match reader.via {
            Via::Session { .. } => "session",
            Via::Token { .. } => "token",
            Via::Proof => "proof",
            Via::Local { .. } => "local",
        },
        principal: info.map(Into::into),
        may_audit: reader.may_audit(),
    }))
}

/// A browser that is signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionShown {
    /// Its number, which is no secret.
    id: i64,
    /// Whether it is the one that asks.
    is_this: bool,
    /// Id of the passkey it began with.
    credential: String,
    /// Address that it began from.
    address: String,
    /// What the browser calls itself.
    agent: String,
    /// Milliseconds since 1970.
    created_at: i64,
    /// When it was used last, to the minute. Milliseconds since 1970.
    seen_at: i64,
    /// When it ends in any case. Milliseconds since 1970.
    expires_at: i64,
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionsEnded {
    /// How many.
    ended: usize,
}

/// One's own sessions, the newest first.
#[utoipa::path(get, path = "/sessions", tag = "people",
    responses((status = 200, description = "Sessions of whoever asks", body = Vec<SessionShown>)))]
pub(super) async fn sessions(
    State(console): Site,
    Extension(reader): Who,
) -> Answer<Vec<SessionShown>> {
    let Some(principal) = reader.principal() else {
        return Ok(Json(Vec::new()));
    };
    let sessions = console.sessions.of(principal, console.now())?;
    let this = own_session(&reader);
    let shown = sessions.into_iter().map(|session| SessionShown {
        id: session.id,
        is_this: this == Some(session.id),
        credential: session.credential.to_string(),
        address: session.address,
        agent: session.agent,
        created_at: session.created_at,
        seen_at: session.seen_at,
        expires_at: session.expires_at,
    });
    Ok(Json(shown.collect()))
}

/// End one of one's own sessions.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "people", params(("id" = String, Path, description = "Number of the session")),
    responses((status = 200, description = "It ended", body = SessionsEnded)))]
pub(super) async fn end_session(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<SessionsEnded> {
    let id: i64 = text
        .parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the number of a session")))?;
    let Via::Session { principal, .. } = &reader.via else {
        return Err(no_such_session());
    };
    match console.sessions.end(id, principal).await? {
        true => Ok(Json(SessionsEnded { ended: 1 })),
        false => Err(no_such_session()),
    }
}

/// End all of one's own sessions but this one.
#[utoipa::path(delete, path = "/sessions", tag = "people",
    responses((status = 200, description = "They ended", body = SessionsEnded)))]
pub(super) async fn end_other_sessions(
    State(console): Site,
    Extension(reader): Who,
) -> Answer<SessionsEnded> {
    let Via::Session {
        principal, session, ..
    } = &reader.via
    else {
        return Err(no_such_session());
    };
    let ended = console.sessions.end_others(principal, *session).await?;
    Ok(Json(SessionsEnded { ended }))
}

fn own_session(reader: &Reader) -> Option<i64> {
    match &reader.via {
        Via::Session { session, .. } => Some(*session),
        _ => None,
    }
}

fn no_such_session() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "session-unknown",
        "There is no such session",
        "it is none of yours, or has ended",
        "list yours with GET /sessions",
    )
}

/// The policy in force. For auditors.
#[utoipa::path(get, path = "/policy", tag = "policy",
    responses((status = 200, description = "The whole document", body = Object)))]
pub(super) async fn policy(State(console): Site, Extension(reader): Who) -> Answer<PolicyDocument> {
    audited(&reader)?;
    Ok(Json(console.authority.get("/v1/policy").await?))
}

/// What is frozen: nothing is signed for it. For auditors.
#[utoipa::path(get, path = "/freezes", tag = "policy",
    responses((status = 200, description = "`everything`, or objects with one member: fleet, principal or credential", body = Vec<Object>)))]
pub(super) async fn freezes(
    State(console): Site,
    Extension(reader): Who,
) -> Answer<Vec<FreezeScope>> {
    audited(&reader)?;
    Ok(Json(console.authority.get("/v1/freezes").await?))
}

/// Keys that packages are signed with. For auditors.
#[utoipa::path(get, path = "/signing-keys", tag = "policy",
    responses((status = 200, description = "Those in use, and those that the authority holds and nobody added", body = Vec<Object>)))]
pub(super) async fn signing_keys(
    State(console): Site,
    Extension(reader): Who,
) -> Answer<Vec<Value>> {
    audited(&reader)?;
    Ok(Json(console.authority.get("/v1/signing-keys").await?))
}

/// The newest checkpoint of the ledger.
#[utoipa::path(get, path = "/checkpoint", tag = "ledger", params(
        ("since" = Option<u64>, Query, description = "Prove that it continues the checkpoint of this many entries")),
    responses((status = 200, description = "A signed note, the key that signed it, and the proof", body = Object)))]
pub(super) async fn checkpoint(
    State(console): Site,
    Extension(reader): Who,
    super::exchange::Params(since): super::exchange::Params<Since>,
) -> Result<Response, Problem> {
    audited(&reader)?;
    let publish = since.publish && matches!(reader.via, Via::Local { .. });
    let target = format!("/v1/checkpoint?since={}&publish={publish}", since.since);
    forward(&console, target).await
}

/// What a checkpoint is to continue.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    #[serde(default)]
    since: u64,
    /// On the server's own machine: cover everything that is durable.
    #[serde(default)]
    publish: bool,
}

/// An entry of the ledger with the proof that it is in there. For auditors.
#[utoipa::path(get, path = "/entries/{number}/proof", tag = "ledger", params(("number" = u64, Path, description = "Number of the entry, from 0")),
    responses((status = 200, description = "The entry and its proof", body = Object)))]
pub(super) async fn entry_proof(
    State(console): Site,
    Extension(reader): Who,
    Segments(number): Segments<String>,
) -> Result<Response, Problem> {
    audited(&reader)?;
    let number: u64 = number
        .parse()
        .map_err(|_| Problem::invalid(format!("{number:?} is not the number of an entry")))?;
    forward(&console, format!("/v1/entries/{number}/proof")).await
}

/// The installation that intents are for, and what passkeys are bound to.
#[utoipa::path(get, path = "/enrolments/parameters", tag = "status",
    responses((status = 200, description = "installation, rp_id, origins", body = Object)))]
pub(super) async fn parameters(State(console): Site) -> Result<Response, Problem> {
    forward(&console, "/v1/enrolments/parameters".to_owned()).await
}

/// How the authority stands. For auditors.
#[utoipa::path(get, path = "/authority", tag = "status",
    responses((status = 200, description = "Entries, devices, freezes, clock, faults", body = Object)))]
pub(super) async fn authority(
    State(console): Site,
    Extension(reader): Who,
) -> Result<Response, Problem> {
    audited(&reader)?;
    forward(&console, "/v1/status".to_owned()).await
}
