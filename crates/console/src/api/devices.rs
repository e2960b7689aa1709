//! Devices and what is known of each.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::{Extension, Json};
use eim::search::{ContactFilter, DeviceCursor, DeviceOrder, DeviceQuery, SearchText};
use eim::tags::Tag;
use eim::{Device, OperationState};
use intent::Role;
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::exchange::{Document, Params, Segments, cursor, paged, read_cursor};
use super::views::{
    Beside, DevicePage, DeviceShown, EimShown, EventShown, NotificationShown, OperationShown,
    ProfileShown,
};
use super::{Answer, Site, Who, forward};
use crate::Problem;
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Which devices are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceFilter {
    /// An EID or ICCID, or how it begins, or a part of the label.
    pub(crate) text: Option<String>,
    /// `key`, or `key=value`.
    pub(crate) tag: Option<String>,
    /// Of this fleet.
    pub(crate) fleet: Option<String>,
    /// `registered`, `associated` or `retired`.
    pub(crate) state: Option<String>,
    /// `unknown`, `due`, `accepted` or `refused`.
    pub(crate) association: Option<String>,
    /// With an enabled profile of this service provider, by its exact name.
    pub(crate) provider: Option<String>,
    /// Polled since this time. Milliseconds since 1970.
    pub(crate) polled_since: Option<i64>,
    /// Not polled since this time, or never. Milliseconds since 1970.
    pub(crate) silent_since: Option<i64>,
    /// With an operation that is queued or in flight.
    #[serde(default)]
    pub(crate) open_operations: bool,
    /// Whose last operation to end failed, expired or was rolled back.
    #[serde(default)]
    pub(crate) failing: bool,
}

/// Which devices, in which order, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// An EID or ICCID, or how it begins, or a part of the label.
    text: Option<String>,
    /// `key`, or `key=value`.
    tag: Option<String>,
    /// Of this fleet.
    fleet: Option<String>,
    /// `registered`, `associated` or `retired`.
    state: Option<String>,
    /// `unknown`, `due`, `accepted` or `refused`.
    association: Option<String>,
    /// With an enabled profile of this service provider, by its exact name.
    provider: Option<String>,
    /// Polled since this time. Milliseconds since 1970.
    polled_since: Option<i64>,
    /// Not polled since this time, or never. Milliseconds since 1970.
    silent_since: Option<i64>,
    /// With an operation that is queued or in flight.
    open_operations: Option<bool>,
    /// Whose last operation to end failed, expired or was rolled back.
    failing: Option<bool>,
    /// `eid` (as without it), `last-poll` or `registered`.
    order: Option<String>,
    /// The other way round.
    descending: Option<bool>,
    /// The `next` of the page before. In the order of EIDs also an EID.
    after: Option<String>,
    /// Devices in a page: 50 unless said otherwise, 500 at most.
    #[param(minimum = 0)]
    limit: Option<u32>,
}

/// A part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// The `next` of the page before, where lists go forward.
    after: Option<String>,
    /// The `next` of the page before, where lists go back.
    before: Option<String>,
    /// Things in a page: 100 unless said otherwise, 1000 at most.
    #[param(minimum = 0)]
    limit: Option<u32>,
}

impl PageParams {
    const DEFAULT: u32 = 100;
    const MAX: u32 = 1000;

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::DEFAULT).clamp(1, Self::MAX)
    }
}

impl DeviceFilter {
    /// As the eIM searches.
    pub(crate) fn query(&self) -> Result<DeviceQuery, Problem> {
        let contact = match (self.polled_since, self.silent_since) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid(
                    "give polled_since or silent_since, not both",
                ));
            }
            (Some(since), None) => Some(ContactFilter::Since(since)),
            (None, Some(since)) => Some(ContactFilter::NotSince(since)),
            (None, None) => None,
        };
        let text = self.text.as_deref().map(SearchText::guess);
        Ok(DeviceQuery {
            text: text.transpose()?,
            tag: read("tag", self.tag.as_deref(), "key or key=value")?,
            fleet: read("fleet", self.fleet.as_deref(), "the name of a fleet")?,
            state: read(
                "state",
                self.state.as_deref(),
                "registered, associated or retired",
            )?,
            association: read(
                "association",
                self.association.as_deref(),
                "unknown, due, accepted or refused",
            )?,
            contact,
            open_operations: self.open_operations,
            failing: self.failing,
            provider: self.provider.clone(),
            ..DeviceQuery::default()
        })
    }
}

/// A word of a query.
pub(crate) fn read<T: std::str::FromStr>(
    name: &str,
    text: Option<&str>,
    allowed: &str,
) -> Result<Option<T>, Problem> {
    let read = text.map(|text| text.parse().map_err(|_| (name, allowed)));
    read.transpose()
        .map_err(|(name, allowed)| Problem::invalid(format!("{name} is {allowed}")))
}

/// List and search devices.
///
/// What you do not see is not there. Pages may be shorter than asked for before the last one: follow `next`.
#[utoipa::path(get, path = "/devices", tag = "devices", params(ListParams),
    responses((status = 200, description = "A page of devices", body = DevicePage)))]
pub(super) async fn list(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    Params(params): Params<ListParams>,
) -> Result<Response, Problem> {
    let order = match params.order.as_deref() {
        None | Some("eid") => DeviceOrder::Eid,
        Some("last-poll") => DeviceOrder::LastPoll,
        Some("registered") => DeviceOrder::Registered,
        Some(_) => return Err(Problem::invalid("order is eid, last-poll or registered")),
    };
    let after = params
        .after
        .as_deref()
        .map(|text| match text.parse::<Eid>() {
            Ok(eid) if order == DeviceOrder::Eid => Ok(DeviceCursor {
                at: 0,
                eid: eid.to_string(),
            }),
            _ => read_cursor("devices", text),
        });
    let filter = DeviceFilter {
        text: params.text,
        tag: params.tag,
        fleet: params.fleet,
        state: params.state,
        association: params.association,
        provider: params.provider,
        polled_since: params.polled_since,
        silent_since: params.silent_since,
        open_operations: params.open_operations.unwrap_or_default(),
        failing: params.failing.unwrap_or_default(),
    };
    let query = DeviceQuery {
        order,
        descending: params.descending.unwrap_or_default(),
        after: after.transpose()?,
        limit: params.limit.unwrap_or_default(),
        ..filter.query()?
    };
    let visible = reader.visible();
    let page = console.eim.search_devices(&visible, &query)?;
    let fleets = console.eim.fleets(&visible)?;
    let total = fleets
        .iter()
        .map(|fleet| fleet.devices.registered + fleet.devices.associated + fleet.devices.retired);
    let next = page.next.map(|next| cursor("devices", &next));
    let body = DevicePage {
        devices: page.devices.into_iter().map(Into::into).collect(),
        next: next.clone(),
        total: total.sum(),
    };
    Ok(paged(&uri, "after", next.as_deref(), body))
}

/// Show a device.
#[utoipa::path(get, path = "/devices/{eid}", tag = "devices", params(("eid" = String, Path, description = "32 digits")),
    responses((status = 200, description = "All that is known of it", body = DeviceShown)))]
pub(super) async fn show(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<DeviceShown> {
    let device = visible(&console, &reader, &text)?;
    shown(&console, &reader, device).map(Json)
}

fn shown(console: &Console, reader: &Reader, device: Device) -> Result<DeviceShown, Problem> {
    let eid = device.eid;
    let eim = &console.eim;
    let open = eim.operations(eid, None, PageParams::MAX)?;
    let is_open =
        |state: OperationState| matches!(state, OperationState::Queued | OperationState::InFlight);
    let beside = Beside {
        contact: eim.contact(eid)?,
        operations_open: open.iter().filter(|one| is_open(one.state)).count(),
        profiles: eim.profiles(eid)?,
        eims: eim.associated_eims(eid)?,
        tags: eim.tags(&reader.visible(), eid)?,
    };
    Ok(DeviceShown::new(device, beside))
}

/// Profiles of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// By ICCID.
    profiles: Vec<ProfileShown>,
}

/// The profiles of a device, as its eUICC last listed them.
#[utoipa::path(get, path = "/devices/{eid}/profiles", tag = "devices", params(("eid" = String, Path, description = "32 digits")),
    responses((status = 200, description = "Its profiles; empty if its eUICC was not asked yet", body = Profiles)))]
pub(super) async fn profiles(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<Profiles> {
    let device = visible(&console, &reader, &text)?;
    let profiles = console.eim.profiles(device.eid)?;
    Ok(Json(Profiles {
        profiles: profiles.into_iter().map(Into::into).collect(),
    }))
}

/// eIMs of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct Eims {
    /// By name.
    eims: Vec<EimShown>,
}

/// The eIMs that a device's eUICC obeys, as it last listed them.
#[utoipa::path(get, path = "/devices/{eid}/eims", tag = "devices", params(("eid" = String, Path, description = "32 digits")),
    responses((status = 200, description = "Its eIMs; empty if its eUICC was not asked yet", body = Eims)))]
pub(super) async fn eims(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<Eims> {
    let device = visible(&console, &reader, &text)?;
    let eims = console.eim.associated_eims(device.eid)?;
    Ok(Json(Eims {
        eims: eims.into_iter().map(Into::into).collect(),
    }))
}

/// Notifications of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct Notifications {
    /// The newest first.
    notifications: Vec<NotificationShown>,
}

/// The notifications of a device's eUICC, the newest first.
#[utoipa::path(get, path = "/devices/{eid}/notifications", tag = "devices",
    params(("eid" = String, Path, description = "32 digits"), PageParams),
    responses((status = 200, description = "Notifications that the eUICC signed", body = Notifications)))]
pub(super) async fn notifications(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    Params(page): Params<PageParams>,
) -> Answer<Notifications> {
    let device = visible(&console, &reader, &text)?;
    let notifications = console.eim.notifications(device.eid, page.limit())?;
    Ok(Json(Notifications {
        notifications: notifications.into_iter().map(Into::into).collect(),
    }))
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    /// The oldest first.
    events: Vec<EventShown>,
    /// Where the next page begins (`after`); absent: this was the last.
    next: Option<String>,
}

/// What happened on a device, the oldest first.
#[utoipa::path(get, path = "/devices/{eid}/events", tag = "devices",
    params(("eid" = String, Path, description = "32 digits"), PageParams),
    responses((status = 200, description = "A page of events", body = Events)))]
pub(super) async fn events(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    Segments(text): Segments<String>,
    Params(page): Params<PageParams>,
) -> Result<Response, Problem> {
    let device = visible(&console, &reader, &text)?;
    let after = page.after.as_deref().map(id).transpose()?;
    let events = console.eim.events(device.eid, after, page.limit())?;
    let next = events
        .last()
        .filter(|_| events.len() == page.limit() as usize);
    let next = next.map(|event| event.id.to_string());
    let body = Events {
        next: next.clone(),
        events: events.into_iter().map(Into::into).collect(),
    };
    Ok(paged(&uri, "after", next.as_deref(), body))
}

/// A page of operations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Operations {
    /// The newest first. Without packages and results.
    pub(crate) operations: Vec<OperationShown>,
    /// Where the next page begins (`before`); absent: this was the last.
    pub(crate) next: Option<String>,
}

/// The operations of a device, the newest first.
#[utoipa::path(get, path = "/devices/{eid}/operations", tag = "devices",
    params(("eid" = String, Path, description = "32 digits"), PageParams),
    responses((status = 200, description = "A page of operations", body = Operations)))]
pub(super) async fn operations(
    State(console): Site,
    Extension(reader): Who,
    uri: OriginalUri,
    Segments(text): Segments<String>,
    Params(page): Params<PageParams>,
) -> Result<Response, Problem> {
    let device = visible(&console, &reader, &text)?;
    let before = page.before.as_deref().map(id).transpose()?;
    let mut operations = console.eim.operations(device.eid, before, page.limit())?;
    let next = operations
        .last()
        .filter(|_| operations.len() == page.limit() as usize);
    let next = next.map(|one| one.id.to_string());
    for operation in &mut operations {
        (operation.request, operation.result) = (None, None);
    }
    let body = Operations {
        next: next.clone(),
        operations: operations.into_iter().map(Into::into).collect(),
    };
    Ok(paged(&uri, "before", next.as_deref(), body))
}

/// Everything on record about a device, with its proofs.
///
/// The answer is a bundle that verifies with nothing but the public key of the ledger (`palisade ledger check-bundle`): every
/// entry about this device, the proof that none is missing, and who asked and approved.
#[utoipa::path(get, path = "/devices/{eid}/history", tag = "ledger", params(("eid" = String, Path, description = "32 digits")),
    responses((status = 200, description = "A bundle of entries and proofs", body = Object)))]
pub(super) async fn history(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Result<Response, Problem> {
    let eid = match reader.may_audit() {
        // What the record has, the eIM may have lost.
        true => eid(&text)?,
        false => visible(&console, &reader, &text)?.eid,
    };
    forward(&console, format!("/v1/devices/{eid}/history")).await
}

/// Tags of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tags {
    /// `key` or `key=value`, by key.
    tags: Vec<String>,
}

/// Tags to set and to remove.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagChange {
    /// `key` or `key=value`. A key that is there gets the new value.
    #[serde(default)]
    #[schema(example = json!(["site=hamburg", "spare"]))]
    set: Vec<String>,
    /// Keys.
    #[serde(default)]
    unset: Vec<String>,
}

/// The tags of a device.
#[utoipa::path(get, path = "/devices/{eid}/tags", tag = "devices", params(("eid" = String, Path, description = "32 digits")),
    responses((status = 200, description = "Its tags", body = Tags)))]
pub(super) async fn tags(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
) -> Answer<Tags> {
    let tags = console.eim.tags(&reader.visible(), eid(&text)?)?;
    Ok(Json(Tags {
        tags: tags.iter().map(ToString::to_string).collect(),
    }))
}

/// Set and remove tags of a device.
///
/// Tags are metadata: nothing is decided by them, so no intent is needed. Who proposes operations in the device's fleet may.
#[utoipa::path(post, path = "/devices/{eid}/tags", tag = "devices", params(("eid" = String, Path, description = "32 digits")),
    request_body = TagChange, responses((status = 200, description = "Its tags after that", body = Tags)))]
pub(super) async fn change_tags(
    State(console): Site,
    Extension(reader): Who,
    Segments(text): Segments<String>,
    Document(change): Document<TagChange>,
) -> Answer<Tags> {
    let device = visible(&console, &reader, &text)?;
    let actor = steward(&reader, &device.fleet)?;
    let set: Result<Vec<Tag>, _> = change.set.iter().map(|tag| tag.parse::<Tag>()).collect();
    let set = set.map_err(|error| Problem::invalid(error.to_string()))?;
    let visible = reader.visible();
    let eim = &console.eim;
    let tags = eim.change_tags(&actor, &visible, device.eid, set, change.unset);
    let tags = tags.await?;
    Ok(Json(Tags {
        tags: tags.iter().map(ToString::to_string).collect(),
    }))
}

/// Who changes what is no SIM: labels and tags. The role for operations in the fleet is asked for, and a person or this machine.
pub(super) fn steward(reader: &Reader, fleet: &str) -> Result<eim::actor::Actor, Problem> {
    use eim::actor::Actor;
    match &reader.via {
        Via::Local { operator } => return Ok(Actor::operator(operator.clone())),
        Via::Session { principal, .. } => {
            let may = |role: Role| matches!(role, Role::Operator | Role::FleetAdmin | Role::Owner);
            let fleet = fleet.parse();
            let covers = |grant: &intent::Grant| {
                may(grant.role) && fleet.as_ref().is_ok_and(|fleet| grant.fleets.covers(fleet))
            };
            if reader.grants.iter().any(covers) {
                return Ok(Actor::principal(principal));
            }
        }
        Via::Token { .. } | Via::Proof => {}
    }
    Err(Problem::new(
        http::StatusCode::FORBIDDEN,
        "role-refused",
        "The role does not allow it",
        "this needs the role operator, fleet-admin or owner in the device's fleet",
        "have it done by somebody whose role does",
    ))
}

/// The device of a path, if the reader sees it.
pub(super) fn visible(
    console: &Arc<Console>,
    reader: &Reader,
    text: &str,
) -> Result<Device, Problem> {
    Ok(console.eim.visible_device(&reader.visible(), eid(text)?)?)
}

pub(super) fn eid(text: &str) -> Result<Eid, Problem> {
    text.parse()
        .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{text:?}: {error}")))
}

pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the id of an operation or event")))
}

impl From<eim::tags::TagError> for Problem {
    fn from(error: eim::tags::TagError) -> Self {
        use eim::tags::TagError;
        match error {
            TagError::Unknown(eid) => eim::DeviceError::Unknown(eid).into(),
            TagError::Storage(error) => Self::unavailable(&error),
            error => Self::invalid(error.to_string()),
        }
    }
}
