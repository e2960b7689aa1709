//! What happens on devices, as it happens: server-sent events (HTML Living Standard section 9.2).
//!
//! Each event carries its place in the order of commits as id, so a browser that lost its connection goes on where it was. A
//! stream ends after half a minute and is opened again by the browser: so who was revoked sees no more than that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use eim::stream::{EventCursor, SeenEvent};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, StatusCode};
use rsp::ids::Eid;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Problem;
use crate::reader::Reader;
use crate::site::Console;

/// How long one stream goes on.
const LASTS: Duration = Duration::from_secs(30);
/// How soon a browser opens it again.
const RETRY: Duration = Duration::from_millis(500);
/// A burst of commits is read at once.
const GATHER: Duration = Duration::from_millis(100);
/// Events of one read.
const PAGE: u32 = 200;
/// Streams at a time.
const STREAMS_MAX: usize = 512;

/// Places for streams.
pub(crate) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// From where on, and of which device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Behind this event; without it from now on.
    after: Option<i64>,
    /// Of this device only.
    eid: Option<String>,
}

/// One stream.
struct Live {
    console: Arc<Console>,
    reader: Reader,
    eid: Option<Eid>,
    cursor: EventCursor,
    changed: tokio::sync::watch::Receiver<u64>,
    waiting: std::vec::IntoIter<SeenEvent>,
    is_first: bool,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

/// What happens on devices, as it happens: server-sent events.
///
/// Each event is the JSON of something that happened, and its id is its place in the order in which things were committed: send it
/// as `Last-Event-ID` to go on behind it. A stream ends after half a minute and is opened again.
#[utoipa::path(get, path = "/events", tag = "devices", params(
        ("after" = Option<i64>, Query, description = "Behind this event; without it from now on"),
        ("eid" = Option<String>, Query, description = "Of this device only")),
    responses((status = 200, description = "A stream of events", body = String, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(console): State<Arc<Console>>,
    Extension(reader): Extension<Reader>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let eid = match &wanted.eid {
        None => None,
        Some(text) => Some(
            text.parse::<Eid>()
                .map_err(|error| Problem::invalid(error.to_string()))?,
        ),
    };
    if let Some(eid) = eid {
        console.eim.visible_device(&reader.visible(), eid)?;
    }
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let cursor = match last.or(wanted.after) {
        Some(cursor) => EventCursor(cursor),
        None => console.eim.newest_event()?,
    };
    let place = Arc::clone(&console.streams.0)
        .try_acquire_owned()
        .map_err(|_| too_many())?;
    let live = Live {
        changed: console.eim.events_changed(),
        console,
        reader,
        eid,
        cursor,
        waiting: Vec::new().into_iter(),
        is_first: true,
        until: Instant::now() + LASTS,
        _place: place,
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(10));
    Ok(Sse::new(live.stream())
        .keep_alive(keep_alive)
        .into_response())
}

impl Live {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut live| async move {
            let event = live.next().await?;
            Some((Ok(event), live))
        })
    }

    /// The next event for the browser; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.is_first) {
            // Tells where it stands, so that a browser that loses the connection before anything happens misses nothing.
            return Some(
                Event::default()
                    .event("position")
                    .id(self.cursor.0.to_string())
                    .retry(RETRY)
                    .data(self.cursor.0.to_string()),
            );
        }
        loop {
            if let Some(seen) = self.waiting.next() {
                if self.eid.is_some_and(|eid| seen.eid != eid) {
                    continue;
                }
                return Event::default()
                    .event("device")
                    .id(seen.cursor.0.to_string())
                    .json_data(&seen)
                    .ok();
            }
            if Instant::now() >= self.until {
                return None;
            }
            // Marked as seen before it is read: a commit in between wakes again.
            self.changed.borrow_and_update();
            if self.read()? {
                continue;
            }
            let changed = tokio::time::timeout_at(self.until, self.changed.changed());
            match changed.await {
                Ok(Ok(())) => tokio::time::sleep(GATHER).await,
                // The time is over, or the eIM is.
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    /// Reads what is new. Whether there may be something; none if the database does not work.
    fn read(&mut self) -> Option<bool> {
        let page = self
            .console
            .eim
            .events_after(&self.reader.visible(), self.cursor, PAGE)
            .inspect_err(|error| tracing::warn!(%error, "a live stream broke off"))
            .ok()?;
        let has_more = !page.events.is_empty() || !page.is_end;
        self.cursor = page.next;
        self.waiting = page.events.into_iter();
        Some(has_more)
    }
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-streams",
        "Too many pages are open",
        format!("{STREAMS_MAX} streams of events are open already"),
        "close some, or ask for /api/v1/devices/{eid}/events now and then",
    )
}
