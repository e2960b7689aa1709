//! Devices: looking for them, page by page.

use askama::Template;
use eim::search::{ContactFilter, DeviceOrder, DeviceQuery, ListedDevice, SearchText, TagFilter};
use eim::{Association, DeviceState};

use super::fleet::reading;
use super::frame::Frame;
use super::visit::{Fields, Visit, of_cursor, to_cursor};
use super::words::{self, Badge, Digits};
use super::{Page, show};
use crate::Problem;

const LIMIT: u32 = 50;
const HOUR_MS: i64 = 3_600_000;

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    frame: Frame,
    query: Fields,
    fleets: Vec<String>,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
    is_filtered: bool,
}

struct Row {
    eid: Digits,
    device: ListedDevice,
    state: Badge,
    last: Option<Badge>,
    polled: String,
}

/// `GET /devices`
pub(super) async fn page(visit: Visit) -> Page {
    let now = visit.now();
    let query = device_query(&visit.query, now)?;
    let found = visit
        .console
        .eim
        .search_devices(&visit.visible, &query)
        .map_err(reading)?;
    let fleets = visit.console.eim.fleets(&visit.visible).map_err(reading)?;
    let rows = found.devices.into_iter().map(|device| Row {
        eid: Digits(device.eid.to_string()),
        state: words::device_state(device.state),
        last: device.last_ended.map(words::operation_state),
        polled: match &device.contact {
            Some(contact) => words::ago(contact.last_poll_at, now),
            None => "never".to_owned(),
        },
        device,
    });
    show(&DevicesPage {
        frame: Frame::new(&visit, "/devices", "Devices").await?,
        fleets: fleets.into_iter().map(|fleet| fleet.fleet).collect(),
        rows: rows.collect(),
        next: found
            .next
            .map(|next| visit.query.with("/devices", "after", &to_cursor(&next))),
        is_first: !visit.query.has("after"),
        is_filtered: FILTERS.iter().any(|name| visit.query.has(name)),
        query: visit.query,
    })
}

const FILTERS: &[&str] = &[
    "q",
    "fleet",
    "state",
    "contact",
    "open",
    "failing",
    "tag",
    "provider",
    "association",
    "after",
];

/// What a query of the page asks for.
pub(super) fn device_query(fields: &Fields, now: i64) -> Result<DeviceQuery, Problem> {
    let text = fields
        .get("q")
        .map(SearchText::guess)
        .transpose()
        .map_err(reading)?;
    let state = match fields.get("state") {
        Some("registered") => Some(DeviceState::Registered),
        Some("associated") => Some(DeviceState::Associated),
        Some("retired") => Some(DeviceState::Retired),
        _ => None,
    };
    let contact = match fields.get("contact") {
        Some("hour") => Some(ContactFilter::Since(now - HOUR_MS)),
        Some("not-hour") => Some(ContactFilter::NotSince(now - HOUR_MS)),
        Some("not-day") => Some(ContactFilter::NotSince(now - 24 * HOUR_MS)),
        Some("not-week") => Some(ContactFilter::NotSince(now - 7 * 24 * HOUR_MS)),
        Some("never") => Some(ContactFilter::Never),
        _ => None,
    };
    let order = match fields.get("order") {
        Some("last-poll") => DeviceOrder::LastPoll,
        Some("registered") => DeviceOrder::Registered,
        _ => DeviceOrder::Eid,
    };
    Ok(DeviceQuery {
        text,
        tag: fields.parsed::<TagFilter>("tag")?,
        fleet: fields.parsed("fleet")?,
        state,
        association: match fields.get("association") {
            Some("refused") => Some(Association::Refused),
            _ => None,
        },
        contact,
        open_operations: fields.has("open"),
        failing: fields.has("failing"),
        provider: fields.get("provider").map(str::to_owned),
        order,
        descending: order == DeviceOrder::Registered,
        after: of_cursor(fields.get("after"))?,
        limit: LIMIT,
    })
}

impl DevicesPage {
    fn is(&self, name: &str, value: &str) -> bool {
        self.query.get(name).unwrap_or("") == value
    }
}
