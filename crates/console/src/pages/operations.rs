//! Operations across devices, and one of them.

use askama::Template;
use axum::extract::Path;
use eim::OperationState;
use eim::search::{OperationCursor, OperationQuery};
use uuid::Uuid;

use super::device::OperationRow;
use super::fleet::reading;
use super::frame::Frame;
use super::visit::{Fields, Visit, of_cursor, to_cursor};
use super::words::{Digits, Moment};
use super::{Page, show};
use crate::Problem;

const LIMIT: u32 = 50;

/// States by their names in links.
pub(super) const STATES: [(&str, &str, OperationState); 7] = [
    ("queued", "queued", OperationState::Queued),
    ("in-flight", "in flight", OperationState::InFlight),
    ("done", "done", OperationState::Done),
    ("failed", "failed", OperationState::Failed),
    ("cancelled", "cancelled", OperationState::Cancelled),
    ("expired", "expired", OperationState::Expired),
    ("rolled-back", "rolled back", OperationState::RolledBack),
];

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    frame: Frame,
    query: Fields,
    fleets: Vec<String>,
    rows: Vec<OperationRow>,
    next: Option<String>,
}

/// `GET /operations`
pub(super) async fn page(visit: Visit) -> Page {
    let state = visit.query.get("state");
    let state = STATES.iter().find(|(name, ..)| Some(*name) == state);
    let before: Option<OperationCursor> = of_cursor(visit.query.get("before"))?;
    let query = OperationQuery {
        state: state.map(|(.., state)| *state),
        intent: visit.query.parsed("intent")?,
        actor: visit
            .query
            .get("actor")
            .map(|name| format!("principal:{name}")),
        fleet: visit.query.parsed("fleet")?,
        since: None,
        before,
        limit: LIMIT,
    };
    let found = visit
        .console
        .eim
        .search_operations(&visit.visible, &query)
        .map_err(reading)?;
    let fleets = visit.console.eim.fleets(&visit.visible).map_err(reading)?;
    show(&OperationsPage {
        frame: Frame::new(&visit, "/operations", "Operations").await?,
        fleets: fleets.into_iter().map(|fleet| fleet.fleet).collect(),
        rows: found
            .operations
            .into_iter()
            .map(OperationRow::new)
            .collect(),
        next: found
            .next
            .map(|next| visit.query.with("/operations", "before", &to_cursor(&next))),
        query: visit.query,
    })
}

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: Frame,
    row: OperationRow,
    eid: Digits,
    delivered_at: Option<Moment>,
    recorded_at: Option<Moment>,
    commands: String,
    retry_at: Option<Moment>,
    is_over: bool,
}

/// `GET /operations/{id}`
pub(super) async fn one(visit: Visit, Path(id): Path<String>) -> Page {
    let id: Uuid = id
        .parse()
        .map_err(|_| Problem::invalid(format!("{id:?} is not the id of an operation")))?;
    let operation = visit.console.eim.visible_operation(&visit.visible, id)?;
    show(&OperationPage {
        frame: Frame::new(&visit, "/operations", "Operation").await?,
        eid: Digits(operation.eid.to_string()),
        delivered_at: operation.delivered_at.map(Moment),
        recorded_at: operation.recorded_at.map(Moment),
        commands: serde_json::to_string_pretty(&operation.commands).unwrap_or_default(),
        retry_at: operation.held.as_ref().map(|held| Moment(held.retry_at)),
        is_over: !matches!(
            operation.state,
            OperationState::Queued | OperationState::InFlight
        ),
        row: OperationRow::new(operation),
    })
}

impl OperationsPage {
    fn is(&self, name: &str, value: &str) -> bool {
        self.query.get(name).unwrap_or("") == value
    }
}
