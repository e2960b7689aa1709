//! Operations across devices.

use std::time::Duration;

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::{Extension, Json};
use eim::search::{OperationCursor, OperationQuery};
use eim::{Operation, OperationState};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::devices::{Operations, id, read};
use super::exchange::{Params, Segments, cursor, paged, read_cursor};
use super::views::OperationShown;
use super::{Answer, Site, Who};
use crate::Problem;

/// Which operations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperationParams {
    /// `queued`, `in-flight`, `done`, `failed`, `cancelled`, `expired` or `rolled-back`.
    state: Option<String>,
    /// Of this intent.
    intent: Option<String>,
    /// By who asked, in full: `principal:olga`.
    actor: Option<String>,
    /// On devices of this fleet.
    fleet: Option<String>,
    /// Asked for at this time or later. Milliseconds since 1970.
    since: Option<i64>,
    /// The `next` of the page before.
    before: Option<String>,
    /// Operations in a page: 50 unless said otherwise, 500 at most.
    #[param(minimum = 0)]
    limit: Option<u32>,
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchParams {
    /// Seconds to wait for the operation to leave the state it is in, 25 at most; 0 unless said otherwise.
    #[param(minimum = 0)]
    wait_s: Option<u32>,
}

/// List operations across devices, the newest first.
#[utoipa::path(get, path = "/operations", tag = "operations", params(OperationParams),
    responses((status = 200, description = "A page of operations", body = Operations)))]
pub(super) async fn list(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    Params(params): Params<OperationParams>,
) -> Result<Response, Problem> {
    let before = params.before.as_deref();
    let before: Option<OperationCursor> = before
        .map(|text| read_cursor("operations", text))
        .transpose()?;
    let states = "queued, in-flight, done, failed, cancelled, expired or rolled-back";
    let query = OperationQuery {
        state: read("state", params.state.as_deref(), states)?,
        intent: read("intent", params.intent.as_deref(), "the id of an intent")?,
        actor: params.actor,
        fleet: read("fleet", params.fleet.as_deref(), "the name of a fleet")?,
        since: params.since,
        before,
        limit: params.limit.unwrap_or_default(),
    };
    let page = console.eim.search_operations(&reader.visible(), &query)?;
    let next = page.next.map(|next| cursor("operations", &next));
    let body = Operations {
        operations: page.operations.into_iter().map(Into::into).collect(),
        next: next.clone(),
    };
    Ok(paged(&uri, "before", next.as_deref(), body))
}

/// Show an operation, and wait for it if asked to.
///
/// With `wait_s` the answer comes when the operation leaves the state it is in, or when the time is up.
#[utoipa::path(get, path = "/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "UUID"), WatchParams),
    responses((status = 200, description = "How it stands, with package and result", body = OperationShown)))]
pub(super) async fn show(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    Params(params): Params<WatchParams>,
) -> Answer<OperationShown> {
    const WAIT_MAX_S: u32 = 25;
    let id = id(&text)?;
    let visible = reader.visible();
    let mut changed = console.eim.events_changed();
    let until = Duration::from_secs(params.wait_s.unwrap_or_default().min(WAIT_MAX_S).into());
    let until = Instant::now() + until;
    changed.borrow_and_update();
    let first: Operation = console.eim.visible_operation(&visible, id)?;
    let is_over =
        |state: OperationState| !matches!(state, OperationState::Queued | OperationState::InFlight);
    let mut operation = first.clone();
    while operation.state == first.state && !is_over(operation.state) {
        match tokio::time::timeout_at(until, changed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break,
        }
        operation = console.eim.visible_operation(&visible, id)?;
    }
    Ok(Json(operation.into()))
}
