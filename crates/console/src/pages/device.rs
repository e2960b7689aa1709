//! One device: what it is, what it holds, what it is to do, and what was done.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use eim::actor::Actor;
use eim::tags::{Tag, TagError};
use eim::{
    AssociatedEim, CertificateFacts, Contact, Device, Notification, Operation, OperationState,
    Profile,
};
use http::{HeaderValue, StatusCode, header};
use rsp::ids::Eid;

use super::euicc;
use super::frame::Frame;
use super::timeline::{self, Step};
use super::visit::{self, Fields, Visit};
use super::words::{self, Badge, Digits, Moment};
use super::{Page, show};
use crate::Problem;

/// Operations and steps of the timeline that stand on the page itself.
const OPERATIONS: u32 = 50;
const STEPS: usize = 30;
const NOTIFICATIONS: u32 = 20;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    eid: Digits,
    parts: EidParts,
    device: Device,
    state: Badge,
    association: Badge,
    registered_at: Moment,
    contact: Option<(Contact, Moment, String)>,
    certificates: Vec<(CertificateFacts, Moment, Moment)>,
    euicc: Vec<(&'static str, String)>,
    profiles: Vec<(Profile, Digits, Moment)>,
    eims: Vec<(AssociatedEim, Moment)>,
    own_eim: String,
    open: Vec<OperationRow>,
    ended: Vec<OperationRow>,
    tags: Vec<Tag>,
    notifications: Vec<(Notification, Moment)>,
    steps: Vec<Step>,
    steps_left: usize,
    no_record: Option<Problem>,
}

/// An operation in a table.
pub(super) struct OperationRow {
    pub(super) operation: Operation,
    pub(super) what: String,
    pub(super) who: String,
    pub(super) state: Badge,
    pub(super) created_at: Moment,
    pub(super) expires_at: Moment,
    pub(super) finished_at: Option<Moment>,
}

impl OperationRow {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            what: words::commands(&operation.commands),
            who: words::actor(&operation.actor),
            state: words::operation_state(operation.state),
            created_at: Moment(operation.created_at),
            expires_at: Moment(operation.expires_at),
            finished_at: operation.finished_at.map(Moment),
            operation,
        }
    }
}

/// An EID in its parts (SGP.29 section 3).
struct EidParts {
    /// The first eight digits, under which the EUM is registered.
    eum: String,
    individual: String,
    check: String,
}

impl EidParts {
    fn new(eid: Eid) -> Self {
        let text = eid.to_string();
        let part = |range| text.get(range).unwrap_or("").to_owned();
        Self {
            eum: part(0..8),
            individual: part(8..30),
            check: part(30..32),
        }
    }
}

/// `GET /devices/{eid}`
pub(super) async fn page(visit: Visit, Path(eid): Path<String>) -> Page {
    let eid = visit::eid(&eid)?;
    let eim = &visit.console.eim;
    let device = eim.visible_device(&visit.visible, eid)?;
    let now = visit.now();
    let (mut open, mut ended) = (Vec::new(), Vec::new());
    for operation in eim.operations(eid, None, OPERATIONS)? {
        let is_open = matches!(
            operation.state,
            OperationState::Queued | OperationState::InFlight
        );
        let rows = if is_open { &mut open } else { &mut ended };
        rows.push(OperationRow::new(operation));
    }
    // The rest of the page does not depend on the record: it is shown even if the authority has nothing about the device.
    let (mut steps, no_record) = match timeline::steps(&visit, eid).await {
        Ok(steps) => (steps, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let steps_left = steps.len().saturating_sub(STEPS);
    steps.truncate(STEPS);
    let certificates = device.certificate_facts().into_iter();
    let title = match device.label.as_str() {
        "" => format!("Device {eid}"),
        label => format!("{label} · {eid}"),
    };
    show(&DevicePage {
        frame: Frame::new(&visit, "/devices", title).await?,
        eid: Digits(eid.to_string()),
        parts: EidParts::new(eid),
        state: words::device_state(device.state),
        association: words::association(device.association),
        registered_at: Moment(device.registered_at),
        contact: eim.contact(eid)?.map(|contact| {
            let at = contact.last_poll_at;
            (contact, Moment(at), words::ago(at, now))
        }),
        certificates: certificates
            .map(|facts| {
                let (from, to) = (Moment(facts.not_before), Moment(facts.not_after));
                (facts, from, to)
            })
            .collect(),
        euicc: euicc::facts(&device),
        profiles: eim
            .profiles(eid)?
            .into_iter()
            .map(|profile| {
                let (iccid, at) = (
                    Digits(profile.iccid.to_string()),
                    Moment(profile.updated_at),
                );
                (profile, iccid, at)
            })
            .collect(),
        eims: eim
            .associated_eims(eid)?
            .into_iter()
            .map(|one| {
                let at = Moment(one.seen_at);
                (one, at)
            })
            .collect(),
        own_eim: eim.eim_id().as_str().to_owned(),
        open,
        ended,
        tags: eim.tags(&visit.visible, eid).map_err(tag_problem)?,
        notifications: eim
            .notifications(eid, NOTIFICATIONS)?
            .into_iter()
            .map(|one| {
                let at = Moment(one.received_at);
                (one, at)
            })
            .collect(),
        steps,
        steps_left,
        no_record,
        device,
    })
}

/// `GET /devices/{eid}/certificates.pem`
pub(super) async fn certificates(visit: Visit, Path(eid): Path<String>) -> Page {
    let eid = visit::eid(&eid)?;
    let device = visit.console.eim.visible_device(&visit.visible, eid)?;
    let pem: String = device
        .certificate_facts()
        .into_iter()
        .map(|facts| facts.pem)
        .collect();
    Ok(download(
        pem.into(),
        "application/x-pem-file",
        &format!("{eid}.pem"),
    ))
}

/// A file to keep. `name` is made of digits and letters here, never of what somebody typed.
pub(super) fn download(octets: Bytes, kind: &'static str, name: &str) -> Response {
    let mut response = octets.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// `POST /devices/{eid}/tags`: one tag to set, or one to remove. Tags are names for finding devices; no SIM changes by them.
pub(super) async fn tags(visit: Visit, Path(eid): Path<String>, fields: Fields) -> Page {
    let eid = visit::eid(&eid)?;
    let name = visit.name().filter(|_| {
        visit
            .reader
            .grants
            .iter()
            .any(|grant| grant.role.may_propose(intent::OperationKind::Read))
    });
    let name = name.ok_or_else(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "role-refused",
            "The role does not allow it",
            "tags are given by whoever may ask a device for something",
            "have it done by an operator",
        )
    })?;
    let set: Vec<Tag> = fields.parsed("set")?.into_iter().collect();
    let unset = fields.all("unset").map(str::to_owned).collect();
    let actor = Actor::principal(name);
    let changed = visit
        .console
        .eim
        .change_tags(&actor, &visit.visible, eid, set, unset)
        .await;
    changed.map_err(tag_problem)?;
    Ok(Redirect::to(&format!("/devices/{eid}#tags")).into_response())
}

fn tag_problem(error: TagError) -> Problem {
    match error {
        TagError::Unknown(eid) => eim::DeviceError::Unknown(eid).into(),
        TagError::Storage(error) => error.into(),
        error => Problem::invalid(error.to_string()),
    }
}
