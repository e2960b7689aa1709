//! Intents: what waits for whom, what exactly is approved, and how far it is.

use askama::Template;
use axum::Json;
use axum::extract::Path;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eim::fleet::IntentProgress;
use eim::search::OperationQuery;
use intent::api::{IntentState, IntentStatus};
use intent::{Action, Decision, IntentId, OperationKind};
use serde_json::json;

use super::device::OperationRow;
use super::fleet::reading;
use super::frame::Frame;
use super::propose::PlanView;
use super::visit::{self, Visit};
use super::words::{self, Badge, Moment};
use super::{Page, show};
use crate::plan::{Change, Wish, described};
use crate::reader::Via;
use crate::{Problem, site};

const LIMIT: usize = 100;
const OPERATIONS: u32 = 50;
/// With more devices a page is not loaded anew for each that is done.
const FEW: u64 = 20;

/// An intent in a table.
pub(super) struct Row {
    pub(super) id: IntentId,
    pub(super) summary: String,
    pub(super) note: String,
    pub(super) proposer: String,
    pub(super) state: Badge,
    pub(super) approved: usize,
    pub(super) approvers: u8,
    pub(super) at: Moment,
    pub(super) ends: String,
    pub(super) entry: u64,
}

impl Row {
    fn new(status: &IntentStatus, now: i64) -> Self {
        Self {
            id: status.id,
            summary: described(&status.intent.action),
            note: status.intent.note.clone().unwrap_or_default(),
            proposer: status.proposer.to_string(),
            state: words::intent_state(status.state),
            approved: status.approved_by.len(),
            approvers: status.approvers,
            at: Moment(status.at),
            ends: words::until(status.intent.expires_at, now),
            entry: status.entry,
        }
    }
}

async fn seen(visit: &Visit, target: String) -> Result<Vec<IntentStatus>, Problem> {
    let all: Vec<IntentStatus> = visit.console.authority.get(target).await?;
    let mut seen = Vec::with_capacity(all.len());
    for status in all {
        if visit.console.sees_intent(&visit.reader, &status)? {
            seen.push(status);
        }
    }
    Ok(seen)
}

async fn waiting(visit: &Visit) -> Result<Vec<IntentStatus>, Problem> {
    seen(visit, format!("/v1/intents?state=waiting&limit={LIMIT}")).await
}

/// What waits for the approval of whoever looks.
pub(super) async fn waiting_for(visit: &Visit) -> Result<Vec<Row>, Problem> {
    let now = visit.now();
    let waiting = waiting(visit).await?;
    let mine = waiting.iter().filter(|status| may_approve(visit, status));
    Ok(mine.map(|status| Row::new(status, now)).collect())
}

/// As far as it can be told here; the authority decides.
fn may_approve(visit: &Visit, status: &IntentStatus) -> bool {
    let kinds = status.intent.action.kinds();
    let has_role = visit
        .reader
        .grants
        .iter()
        .any(|grant| kinds.iter().all(|kind| grant.role.may_approve(*kind)));
    let name = visit.name();
    has_role
        && status.state == IntentState::Waiting
        && name.is_some_and(|name| *name != status.proposer && !status.approved_by.contains(name))
}

fn may_cancel(visit: &Visit, status: &IntentStatus) -> bool {
    let has_role = |kind| {
        visit
            .reader
            .grants
            .iter()
            .any(|grant| grant.role.may_propose(kind))
    };
    matches!(status.state, IntentState::Waiting | IntentState::Approved)
        && (visit.name() == Some(&status.proposer) || has_role(OperationKind::Cancel))
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    frame: Frame,
    mine: Vec<Row>,
    others: Vec<Row>,
}

/// `GET /approvals`
pub(super) async fn approvals(visit: Visit) -> Page {
    let now = visit.now();
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for status in waiting(&visit).await? {
        let rows = if may_approve(&visit, &status) {
            &mut mine
        } else {
            &mut others
        };
        rows.push(Row::new(&status, now));
    }
    show(&ApprovalsPage {
        frame: Frame::new(&visit, "/approvals", "Approvals").await?,
        mine,
        others,
    })
}

#[derive(Template)]
#[template(path = "intents.html")]
struct IntentsPage {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
}

/// `GET /intents`
pub(super) async fn list(visit: Visit) -> Page {
    let before: Option<u64> = visit.query.parsed("before")?;
    let target = match before {
        Some(before) => format!("/v1/intents?limit={LIMIT}&before={before}"),
        None => format!("/v1/intents?limit={LIMIT}"),
    };
    // The page goes on behind the last that there is, seen or not.
    let all: Vec<IntentStatus> = visit.console.authority.get(target).await?;
    let last = all
        .last()
        .map(|status| status.entry)
        .filter(|_| all.len() == LIMIT);
    let now = visit.now();
    let mut rows = Vec::new();
    for status in &all {
        if visit.console.sees_intent(&visit.reader, status)? {
            rows.push(Row::new(status, now));
        }
    }
    show(&IntentsPage {
        frame: Frame::new(&visit, "/operations", "Intents").await?,
        rows,
        next: last.map(|entry| visit.query.with("/intents", "before", &entry.to_string())),
    })
}

/// What a passkey may be asked to sign on a page.
pub(super) struct Signing {
    pub(super) rp_id: String,
    /// Passkeys of whoever looks, separated by blanks.
    pub(super) passkeys: String,
}

impl Signing {
    /// None for somebody who did not sign in with a passkey.
    pub(super) async fn of(visit: &Visit) -> Result<Option<Self>, Problem> {
        let Via::Session { principal, .. } = &visit.reader.via else {
            return Ok(None);
        };
        let info = visit.console.authority.principal(principal).await?;
        let now = visit.now();
        let good = info.credentials.iter().filter(|credential| {
            credential.kind == "passkey" && !credential.revoked && now < credential.expires_at
        });
        let passkeys: Vec<&str> = good.map(|credential| credential.id.as_str()).collect();
        Ok(Some(Self {
            rp_id: visit.console.authority.parameters().await?.rp_id,
            passkeys: passkeys.join(" "),
        }))
    }
}

#[derive(Template)]
#[template(path = "intent.html")]
struct IntentPage {
    frame: Frame,
    row: Row,
    status: IntentStatus,
    approved_by: String,
    expires_at: Moment,
    hash: Vec<String>,
    canonical: String,
    plan: Option<PlanView>,
    signing: Option<Signing>,
    approve: String,
    reject: String,
    may_approve: bool,
    is_mine: bool,
    may_cancel: bool,
    progress: Option<Progress>,
    operations: Vec<OperationRow>,
    version: String,
    invitation: Option<(String, String)>,
}

struct Progress {
    ended: i64,
    counts: [(&'static str, &'static str, i64); 7],
}

impl Progress {
    fn new(progress: &IntentProgress) -> Self {
        let (open, ended) = (&progress.open, &progress.ended);
        let [done, failed, cancelled, expired, rolled_back] = super::charts::outcomes(ended);
        Self {
            ended: done + failed + cancelled + expired + rolled_back,
            counts: [
                ("queued", "queued", open.queued),
                ("in-flight", "in flight", open.in_flight),
                ("done", "done", done),
                ("failed", "failed", failed),
                ("cancelled", "cancelled", cancelled),
                ("expired", "expired", expired),
                ("rolled-back", "rolled back", rolled_back),
            ],
        }
    }
}

async fn found(visit: &Visit, id: &str) -> Result<IntentStatus, Problem> {
    let id = visit::intent_id(id)?;
    let status = visit.console.authority.intent(id).await?;
    match visit.console.sees_intent(&visit.reader, &status)? {
        true => Ok(status),
        false => Err(site::no_such_intent(id)),
    }
}

fn progress(visit: &Visit, status: &IntentStatus) -> Result<IntentProgress, Problem> {
    visit
        .console
        .eim
        .intent_progress(&visit.visible, status.id)
        .map_err(reading)
}

/// Differs when the page would show something else than words that are renewed in place.
fn version(status: &IntentStatus, progress: &IntentProgress) -> String {
    let seen = Progress::new(progress);
    let is_over = i128::from(seen.ended) >= i128::from(status.devices);
    let counts = match status.devices <= FEW || is_over {
        true => seen.counts.map(|(.., count)| count.to_string()).join("."),
        false => String::new(),
    };
    let state = words::intent_state(status.state).word;
    format!("{state}/{}/{counts}", status.approved_by.len())
}

/// `GET /intents/{id}/live`
pub(super) async fn live(visit: Visit, Path(id): Path<String>) -> Page {
    let status = found(&visit, &id).await?;
    let progress = progress(&visit, &status)?;
    let seen = Progress::new(&progress);
    let mut fields = serde_json::Map::new();
    for (key, _, count) in seen.counts {
        fields.insert(key.to_owned(), json!(count.to_string()));
    }
    fields.insert("ended".to_owned(), json!(seen.ended.to_string()));
    let is_over = match status.state {
        IntentState::Waiting => false,
        IntentState::Approved => i128::from(seen.ended) >= i128::from(status.devices),
        _ => progress.open.queued + progress.open.in_flight == 0,
    };
    let answer =
        json!({ "fields": fields, "version": version(&status, &progress), "over": is_over });
    Ok(Json(answer).into_response())
}

/// `GET /intents/{id}`
pub(super) async fn page(visit: Visit, Path(id): Path<String>) -> Page {
    let status = found(&visit, &id).await?;
    let now = visit.now();
    let is_waiting = status.state == IntentState::Waiting;
    let canonical = status
        .intent
        .encode()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    // What is shown is what is signed: the hash is made anew of what is on the page.
    if IntentId::of(&canonical) != status.id {
        return Err(Problem::invalid(
            "the authority shows another intent than the one with this id",
        ));
    }
    let plan = match is_waiting {
        true => effects(&visit, &status).await,
        false => None,
    };
    let progress = progress(&visit, &status)?;
    let query = OperationQuery {
        intent: Some(status.id),
        limit: OPERATIONS,
        ..OperationQuery::default()
    };
    let operations = visit
        .console
        .eim
        .search_operations(&visit.visible, &query)
        .map_err(reading)?;
    let is_operation = matches!(status.intent.action, Action::Operate { .. });
    let challenge =
        |decision: Decision| URL_SAFE_NO_PAD.encode(decision.challenge(status.id).as_bytes());
    let names: Vec<String> = status.approved_by.iter().map(ToString::to_string).collect();
    let invitation = match &status.intent.action {
        Action::InvitePerson {
            name, code_sha256, ..
        } => Some((name.to_string(), code_sha256.to_string())),
        _ => None,
    };
    show(&IntentPage {
        frame: Frame::new(
            &visit,
            if is_waiting {
                "/approvals"
            } else {
                "/operations"
            },
            "Intent",
        )
        .await?,
        row: Row::new(&status, now),
        approved_by: names.join(", "),
        expires_at: Moment(status.intent.expires_at),
        hash: words::groups(&status.id.to_string()),
        canonical: String::from_utf8_lossy(&canonical).into_owned(),
        plan,
        signing: Signing::of(&visit).await?,
        approve: challenge(Decision::Approve),
        reject: challenge(Decision::Reject),
        may_approve: may_approve(&visit, &status),
        is_mine: visit.name() == Some(&status.proposer),
        may_cancel: may_cancel(&visit, &status),
        progress: (is_operation && status.state != IntentState::Waiting)
            .then(|| Progress::new(&progress)),
        operations: operations
            .operations
            .into_iter()
            .map(OperationRow::new)
            .collect(),
        version: version(&status, &progress),
        invitation,
        status,
    })
}

/// What it would do now. Its own nonce and hash do not matter: those on the page are the intent's.
async fn effects(visit: &Visit, status: &IntentStatus) -> Option<PlanView> {
    let wish = Wish {
        change: Change::of(status.intent.action.clone()).ok()?,
        note: None,
        lifetime_ms: None,
    };
    let plan = visit.console.plan(&visit.reader, wish).await.ok()?;
    Some(PlanView::new(plan))
}
