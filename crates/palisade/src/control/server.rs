//! The verbs of an eIM as a router.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use edge::server::Counters;
use eim::actor::Actor;
use eim::{Eim, OperationState, PendingError};
use http::{StatusCode, header};
use intent::IntentId;
use rsp::der::Element;
use rsp::ids::Eid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::api::{DeviceEnrichment, EnrichDevices, Enriched};
use super::operator::Operator;
use super::redaction::redacted;
use super::{BODY_OCTETS_MAX, front};
use crate::authority::AuthorityClient;
use console::Problem;

/// What the server tells about itself.
#[derive(Debug)]
pub(crate) struct ServerInfo {
    /// Where devices poll.
    pub(crate) fqdn: String,
    /// Where ESipa listens.
    pub(crate) listen: std::net::SocketAddr,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// When it started, RFC 3339.
    pub(crate) started_at: String,
    /// Insecure settings that are on.
    pub(crate) insecure: Vec<&'static str>,
    /// What happened on the ESipa listener.
    pub(crate) counters: Arc<Counters>,
}

/// All paths.
pub(crate) fn router(eim: Arc<Eim>, authority: Arc<AuthorityClient>, info: ServerInfo) -> Router {
    let state = Arc::new(Shared {
        eim,
        authority,
        info,
    });
    let forward = || get(front::forward);
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/association-data", get(association_data))
        .route("/v1/devices", get(list_devices))
        .route("/v1/devices/data", post(enrich_devices))
        .route("/v1/devices/{eid}", get(show_device))
        .route("/v1/devices/{eid}/profiles", get(profiles))
        .route("/v1/devices/{eid}/eims", get(associated_eims))
        .route("/v1/devices/{eid}/notifications", get(notifications))
        .route("/v1/devices/{eid}/events", get(events))
        .route("/v1/devices/{eid}/operations", get(list_operations))
        .route("/v1/devices/{eid}/history", forward())
        .route("/v1/operations/{id}", get(show_operation))
        .route("/v1/intents", forward().post(front::propose))
        .route("/v1/intents/{id}", get(front::intent))
        .route("/v1/intents/{id}/decisions", post(front::decide))
        .route("/v1/enrolments", post(front::forward))
        .route("/v1/enrolments/parameters", forward())
        .route("/v1/principals", forward())
        .route("/v1/policy", forward())
        .route("/v1/freezes", forward())
        .route("/v1/signing-keys", forward())
        .route("/v1/checkpoint", forward())
        .route("/v1/entries/{number}/proof", forward())
        .route("/v1/tokens/check", post(front::forward))
        .route("/v1/authority", get(front::authority_status))
        .fallback(|request: Request| async move {
            Problem::no_such_path(&read_to_the_end(request).await)
        })
        .method_not_allowed_fallback(|request: Request| async move {
            Problem::no_such_method(&read_to_the_end(request).await)
        })
        .layer(DefaultBodyLimit::max(BODY_OCTETS_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), bearer))
        .layer(middleware::from_fn(bound))
        .layer(middleware::from_fn(log))
        .with_state(state)
}

pub(super) struct Shared {
    pub(super) eim: Arc<Eim>,
    pub(super) authority: Arc<AuthorityClient>,
    info: ServerInfo,
}

pub(super) type Server = State<Arc<Shared>>;
type Peer = ConnectInfo<Operator>;
pub(super) type Answer = Result<Json<Value>, Problem>;

/// Refuses a body by the length that it announces, before anybody waits for it.
async fn bound(request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|octets| octets > BODY_OCTETS_MAX as u64) {
        let mut problem = Problem::invalid(format!("a body has at most {BODY_OCTETS_MAX} octets"));
        problem.status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
        return problem.into_response();
    }
    next.run(request).await
}

/// Checks a token for reading, if one is shown.
async fn bearer(State(server): Server, request: Request, next: Next) -> Response {
    let presented = request.headers().get(header::AUTHORIZATION).cloned();
    match front::check_bearer(&server, request.method().clone(), presented).await {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            read_to_the_end(request).await;
            front::refuse(problem)
        }
    }
}

/// Takes the body of a request that is refused anyway, up to the bound: a client that is still sending would lose the answer
/// with the connection. Gives its path.
async fn read_to_the_end(request: Request) -> String {
    let path = request.uri().path().to_owned();
    let _ = axum::body::to_bytes(request.into_body(), BODY_OCTETS_MAX).await;
    path
}

/// Who did what and how it ended; nothing of what was sent.
async fn log(ConnectInfo(operator): Peer, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let actor = operator.actor();
    if method == http::Method::GET {
        tracing::debug!(%actor, %method, path, status, "control");
    } else {
        tracing::info!(%actor, %method, path, status, "control");
    }
    response
}

async fn status(State(server): Server) -> Answer {
    let info = &server.info;
    let counters = info.counters.values();
    Ok(Json(json!({
        "eim_id": server.eim.eim_id().as_str(),
        "fqdn": info.fqdn,
        "listen": info.listen,
        "data": info.data,
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": info.started_at,
        "insecure": info.insecure,
        "devices": server.eim.device_count()?,
        "authority": authority_summary(&server.authority).await,
        "connections_accepted": counters.accepted,
        "connections_refused": counters.connections_refused,
        "handshakes_failed": counters.handshakes_failed,
        "requests": counters.requests,
    })))
}

/// What the eIM's own state says of its authority.
async fn authority_summary(authority: &AuthorityClient) -> Value {
    match authority.status().await {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => json!({ "error": refusal.message }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// Enrichments under way at a time: the store writes them in one transaction.
const AT_A_TIME: usize = 256;

async fn association_data(State(server): Server) -> Answer {
    let data = server
        .eim
        .association_data()
        .await
        .map_err(|error| Problem::no_authority(&error))?;
    Ok(Json(
        json!({ "eim_id": data.eim_id.as_str(), "der": hex::encode_upper(data.to_der()) }),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    after: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

impl Page {
    const DEFAULT: u32 = 100;
    const MAX: u32 = 1000;

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::DEFAULT).clamp(1, Self::MAX)
    }
}

type PageQuery = Result<Query<Page>, QueryRejection>;

fn page(query: PageQuery) -> Result<Page, Problem> {
    match query {
        Ok(Query(page)) => Ok(page),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    }
}

async fn list_devices(State(server): Server, query: PageQuery) -> Answer {
    let page = page(query)?;
    let after = page.after.as_deref().map(eid).transpose()?;
    let devices = server.eim.devices(after, page.limit())?;
    let next = (devices.len() == page.limit() as usize)
        .then(|| devices.last().map(|device| device.eid.to_string()));
    let mut listed = Vec::with_capacity(devices.len());
    for device in &devices {
        let contact = server.eim.contact(device.eid)?;
        let mut value = encoded(device)?;
        insert(
            &mut value,
            "last_poll_at",
            contact.map(|contact| contact.last_poll_at).into(),
        );
        listed.push(value);
    }
    Ok(Json(
        json!({ "devices": listed, "next": next.flatten(), "total": server.eim.device_count()? }),
    ))
}

/// What an operator knows of devices beforehand. A device that does not take it costs only itself.
async fn enrich_devices(
    State(server): Server,
    ConnectInfo(operator): Peer,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let request: EnrichDevices = parse(body)?;
    let actor = operator.actor();
    if let Some(intent) = request.intent
        && let Some(expires_at) = front::waits_until(&server, intent).await?
    {
        return keep_data(&server, &actor, (intent, expires_at), request.devices).await;
    }
    let mut report = Vec::with_capacity(request.devices.len());
    let mut under_way = JoinSet::new();
    for (index, device) in request.devices.into_iter().enumerate() {
        if under_way.len() >= AT_A_TIME
            && let Some(Ok(ended)) = under_way.join_next().await
        {
            report.push(ended);
        }
        let (eim, actor) = (Arc::clone(&server.eim), actor.clone());
        under_way.spawn(async move {
            let eid = device.eid.clone();
            let refused = match device.to_data() {
                Ok(data) => eim
                    .enrich_device(&actor, data)
                    .await
                    .err()
                    .map(Problem::from),
                Err(reason) => Some(Problem::invalid(reason)),
            };
            let waits = false;
            (
                index,
                Enriched {
                    eid,
                    refused,
                    waits,
                },
            )
        });
    }
    while let Some(ended) = under_way.join_next().await {
        report.extend(ended);
    }
    report.sort_by_key(|(index, _)| *index);
    let report: Vec<Enriched> = report.into_iter().map(|(_, one)| one).collect();
    Ok(Json(json!({ "devices": encoded(&report)? })))
}

/// Keeps what is known of devices until the intent that registers them is decided.
async fn keep_data(
    server: &Shared,
    actor: &Actor,
    (intent, expires_at): (IntentId, i64),
    devices: Vec<DeviceEnrichment>,
) -> Answer {
    let mut report = Vec::with_capacity(devices.len());
    let mut places = HashMap::new();
    let mut good = Vec::new();
    for device in devices {
        let mut refused = None;
        match device.to_data() {
            Ok(data) => {
                places.insert(data.eid, report.len());
                good.push(data);
            }
            Err(reason) => refused = Some(Problem::invalid(reason)),
        }
        report.push(Enriched {
            eid: device.eid,
            waits: refused.is_none(),
            refused,
        });
    }
    let kept = server.eim.keep_device_data(actor, intent, expires_at, good);
    let refused = kept.await.map_err(|error| match error {
        PendingError::Full => Problem::invalid(error.to_string()),
        PendingError::Storage(error) => error.into(),
    })?;
    for (eid, error) in refused {
        if let Some(one) = places.get(&eid).and_then(|place| report.get_mut(*place)) {
            one.refused = Some(Problem::from(error));
            one.waits = false;
        }
    }
    Ok(Json(json!({ "devices": encoded(&report)? })))
}

async fn show_device(State(server): Server, Path(text): Path<String>) -> Answer {
    let eid = eid(&text)?;
    let device = server.eim.device(eid)?;
    let mut value = encoded(&device)?;
    insert(
        &mut value,
        "certificates_known",
        device.euicc_certificate.is_some().into(),
    );
    insert(
        &mut value,
        "association_token_known",
        device.association_token.is_some().into(),
    );
    insert(
        &mut value,
        "ipa_capabilities_known",
        device.ipa_capabilities.is_some().into(),
    );
    insert(
        &mut value,
        "contact",
        match server.eim.contact(eid)? {
            Some(contact) => {
                json!({ "last_poll_at": contact.last_poll_at, "polls": contact.polls, "peer": contact.peer })
            }
            None => Value::Null,
        },
    );
    let open = server.eim.operations(eid, None, Page::MAX)?;
    let open = open.iter().filter(|operation| {
        matches!(
            operation.state,
            OperationState::Queued | OperationState::InFlight
        )
    });
    insert(&mut value, "operations_open", open.count().into());
    insert(&mut value, "profiles", encoded(&server.eim.profiles(eid)?)?);
    insert(
        &mut value,
        "eims",
        encoded(&server.eim.associated_eims(eid)?)?,
    );
    Ok(Json(value))
}

async fn profiles(State(server): Server, Path(text): Path<String>) -> Answer {
    let eid = registered(&server, &text)?;
    Ok(Json(json!({ "profiles": server.eim.profiles(eid)? })))
}

async fn associated_eims(State(server): Server, Path(text): Path<String>) -> Answer {
    let eid = registered(&server, &text)?;
    Ok(Json(json!({ "eims": server.eim.associated_eims(eid)? })))
}

async fn notifications(
    State(server): Server,
    Path(text): Path<String>,
    query: PageQuery,
) -> Answer {
    let eid = registered(&server, &text)?;
    Ok(Json(
        json!({ "notifications": server.eim.notifications(eid, page(query)?.limit())? }),
    ))
}

async fn events(State(server): Server, Path(text): Path<String>, query: PageQuery) -> Answer {
    let eid = registered(&server, &text)?;
    let page = page(query)?;
    let after = page.after.as_deref().map(operation_id).transpose()?;
    let events = server.eim.events(eid, after, page.limit())?;
    let next = (events.len() == page.limit() as usize).then(|| events.last().map(|event| event.id));
    Ok(Json(
        json!({ "events": redacted(encoded(&events)?), "next": next.flatten() }),
    ))
}

async fn list_operations(
    State(server): Server,
    Path(text): Path<String>,
    query: PageQuery,
) -> Answer {
    let eid = registered(&server, &text)?;
    let page = page(query)?;
    let before = page.before.as_deref().map(operation_id).transpose()?;
    let operations = server.eim.operations(eid, before, page.limit())?;
    let next =
        (operations.len() == page.limit() as usize).then(|| operations.last().map(|one| one.id));
    Ok(Json(
        json!({ "operations": redacted(encoded(&operations)?), "next": next.flatten() }),
    ))
}

async fn show_operation(State(server): Server, Path(text): Path<String>) -> Answer {
    let operation = server.eim.operation(operation_id(&text)?)?;
    let mut value = redacted(encoded(&operation)?);
    insert(
        &mut value,
        "request",
        operation.request.as_deref().map(hex::encode_upper).into(),
    );
    insert(
        &mut value,
        "result",
        operation.result.as_deref().map(hex::encode_upper).into(),
    );
    Ok(Json(value))
}

/// The EID of a path, of a device that is registered.
fn registered(server: &Shared, text: &str) -> Result<Eid, Problem> {
    let eid = eid(text)?;
    server.eim.device(eid)?;
    Ok(eid)
}

fn eid(text: &str) -> Result<Eid, Problem> {
    text.parse()
        .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{text:?}: {error}")))
}

fn operation_id(text: &str) -> Result<Uuid, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the id of an operation or event")))
}

pub(super) fn received(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        let mut problem = Problem::invalid(rejection.body_text());
        problem.status = rejection.into_response().status().as_u16();
        problem
    })
}

pub(super) fn parse<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    serde_json::from_slice(&received(body)?)
        .map_err(|error| Problem::invalid(format!("the body does not fit: {error}")))
}

pub(super) fn encoded(value: &impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem::unavailable(&error))
}

pub(super) fn insert(value: &mut Value, name: &str, member: Value) {
    if let Value::Object(members) = value {
        members.insert(name.to_owned(), member);
    }
}
