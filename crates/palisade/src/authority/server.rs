//! The authority's interface as a router.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderValue, Uri, header};
use intent::api::{
    Associate, BATCH_MAX, Decide, Enrol, IntentState, Propose, RecordResult, Reference, Refusal,
    RefusalCode, SignIn,
};
use intent::{IntentId, NameError, Principal};
use rsp::ids::Eid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::wire::{Outcome, TokenCheck};
use crate::control::Problem;

/// Octets of a body: an intent for a million devices has some 36 million.
pub(super) const BODY_OCTETS_MAX: usize = 64 << 20;

/// All paths.
pub(super) fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/intents", get(intents).post(propose))
        .route("/v1/intents/{id}", get(intent))
        .route("/v1/intents/{id}/decisions", post(decide))
        .route("/v1/enrolments", post(enrol))
        .route("/v1/enrolments/parameters", get(parameters))
        .route("/v1/feed", get(feed))
        .route("/v1/signatures", post(sign))
        .route("/v1/releases", post(release))
        .route("/v1/associations", post(associate))
        .route("/v1/results", post(record_results))
        .route("/v1/principals", get(principals))
        .route("/v1/principals/{name}", get(principal))
        .route("/v1/sign-ins", post(sign_in))
        .route("/v1/policy", get(policy))
        .route("/v1/freezes", get(freezes))
        .route("/v1/signing-keys", get(signing_keys))
        .route("/v1/status", get(status))
        .route("/v1/identity", get(identity))
        .route("/v1/checkpoint", get(checkpoint))
        .route("/v1/entries/{number}/proof", get(entry_proof))
        .route("/v1/devices/{eid}/history", get(history))
        .route("/v1/tokens/check", post(check_token))
        .fallback(|uri: Uri| async move { Problem::no_such_path(uri.path()) })
        .method_not_allowed_fallback(|uri: Uri| async move { Problem::no_such_method(uri.path()) })
        .layer(DefaultBodyLimit::max(BODY_OCTETS_MAX))
        .with_state(engine)
}

type Shared = State<Arc<Engine>>;
type Received = Result<Bytes, BytesRejection>;
type Answer<T> = Result<Json<T>, Problem>;

/// Signing, verifying and waiting for the disk block; they are kept away from the threads of the sockets.
async fn ask<T: Send + 'static>(
    engine: Arc<Engine>,
    verb: impl FnOnce(&Engine) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || verb(&engine)).await {
        Ok(answer) => answer.map_err(|refusal| Problem::refused(&refusal)),
        Err(error) => {
            tracing::error!(%error, "a request broke off");
            Err(Problem::refused(&Refusal::new(
                RefusalCode::Unavailable,
                "the request broke off",
            )))
        }
    }
}

async fn answer<T: Serialize + Send + 'static>(
    engine: Arc<Engine>,
    verb: impl FnOnce(&Engine) -> Result<T, Refusal> + Send + 'static,
) -> Answer<T> {
    Ok(Json(ask(engine, verb).await?))
}

async fn propose(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let proposal: Propose = parse(body)?;
    answer(engine, move |engine| engine.propose(proposal)).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    state: Option<IntentState>,
    before: Option<u64>,
    limit: Option<usize>,
}

async fn intents(
    State(engine): Shared,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<impl Serialize> {
    const LIMIT: usize = 100;
    let page = query(page)?;
    let limit = page.limit.unwrap_or(LIMIT).clamp(1, 500);
    answer(engine, move |engine| {
        engine.intents(page.state, page.before, limit)
    })
    .await
}

async fn intent(State(engine): Shared, Path(id): Path<String>) -> Answer<impl Serialize> {
    let id = intent_id(&id)?;
    answer(engine, move |engine| engine.intent(id)).await
}

async fn decide(
    State(engine): Shared,
    Path(id): Path<String>,
    body: Received,
) -> Answer<impl Serialize> {
    let id = intent_id(&id)?;
    let decision: Decide = parse(body)?;
    answer(engine, move |engine| engine.decide(id, decision)).await
}

async fn enrol(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let enrolment: Enrol = parse(body)?;
    answer(engine, move |engine| engine.enrol(enrolment)).await
}

async fn parameters(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::parameters).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn feed(
    State(engine): Shared,
    after: Result<Query<After>, QueryRejection>,
) -> Answer<impl Serialize> {
    let after = query(after)?.after;
    answer(engine, move |engine| engine.feed(after)).await
}

async fn sign(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let references: Vec<Reference> = batch(body)?;
    answer(engine, move |engine| Ok(outcomes(engine.sign(references)?))).await
}

async fn release(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let references: Vec<Reference> = batch(body)?;
    answer(engine, move |engine| {
        Ok(outcomes(engine.release(references)?))
    })
    .await
}

async fn associate(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let device: Associate = parse(body)?;
    answer(engine, move |engine| engine.associate(device)).await
}

async fn record_results(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let results: Vec<RecordResult> = batch(body)?;
    answer(engine, move |engine| {
        Ok(outcomes(engine.record_results(results)?))
    })
    .await
}

async fn principals(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::principals).await
}

async fn principal(State(engine): Shared, Path(name): Path<String>) -> Answer<impl Serialize> {
    let name: Principal = name
        .parse()
        .map_err(|error: NameError| Problem::invalid(error.to_string()))?;
    answer(engine, move |engine| engine.principal(&name)).await
}

async fn sign_in(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let request: SignIn = parse(body)?;
    answer(engine, move |engine| engine.sign_in(&request)).await
}

async fn policy(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::policy).await
}

async fn freezes(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::freezes).await
}

async fn signing_keys(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::signing_keys).await
}

async fn status(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::status).await
}

async fn identity(State(engine): Shared) -> Answer<impl Serialize> {
    answer(engine, Engine::identity).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    publish: bool,
}

async fn checkpoint(
    State(engine): Shared,
    since: Result<Query<Since>, QueryRejection>,
) -> Answer<impl Serialize> {
    let Since { since, publish } = query(since)?;
    answer(engine, move |engine| engine.checkpoint(since, publish)).await
}

async fn entry_proof(
    State(engine): Shared,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let number: u64 = number
        .parse()
        .map_err(|_| Problem::invalid(format!("{number:?} is not the number of an entry")))?;
    Ok(json(ask(engine, move |engine| engine.prove(number)).await?))
}

async fn history(State(engine): Shared, Path(eid): Path<String>) -> Result<Response, Problem> {
    let eid: Eid = eid
        .parse()
        .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{eid:?}: {error}")))?;
    Ok(json(ask(engine, move |engine| engine.history(eid)).await?))
}

async fn check_token(State(engine): Shared, body: Received) -> Answer<impl Serialize> {
    let check: TokenCheck = parse(body)?;
    answer(engine, move |engine| engine.check_token(&check)).await
}

/// JSON that is written already.
fn json(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn outcomes<T>(answers: Vec<Result<T, Refusal>>) -> Vec<Outcome<T>> {
    answers.into_iter().map(Outcome::from).collect()
}

fn parse<T: DeserializeOwned>(body: Received) -> Result<T, Problem> {
    let octets = body.map_err(|rejection| {
        let mut problem = Problem::invalid(rejection.body_text());
        problem.status = rejection.into_response().status().as_u16();
        problem
    })?;
    serde_json::from_slice(&octets)
        .map_err(|error| malformed(format!("the body does not fit: {error}")))
}

fn batch<T: DeserializeOwned>(body: Received) -> Result<Vec<T>, Problem> {
    let asked: Vec<T> = parse(body)?;
    match asked.len() > BATCH_MAX {
        true => Err(malformed(format!(
            "one call asks for at most {BATCH_MAX} things"
        ))),
        false => Ok(asked),
    }
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(malformed(rejection.body_text())),
    }
}

fn intent_id(text: &str) -> Result<IntentId, Problem> {
    text.parse()
        .map_err(|_| malformed(format!("{text:?} is not the id of an intent")))
}

fn malformed(message: String) -> Problem {
    Problem::refused(&Refusal::new(RefusalCode::Malformed, message))
}
