//! Events of all devices in the order in which they were committed, for live pages, webhooks and whoever else follows along.
//!
//! The ids of events do not serve for that. They are made before an event waits for the writer, so one with a smaller id can
//! be committed after one with a larger id, and whoever resumes behind the larger one would never see it. The numbers of the log are
//! given by the one writer inside the transaction: everything up to a number that was read is there, for good.

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use store::{ReadTx, SqlError};
use tokio::sync::watch;

use crate::fleet::{Sieve, Visible, page_size};
use crate::tables::events::{self, Logged};
use crate::{Eim, Event, ReadingError, StorageError};

/// Events that one call looks at, those of others included.
const EXAMINED_MAX: usize = 10_000;
/// Events looked at in one go.
const CHUNK: usize = 1_000;

/// Behind an event, in the order of the commits. The default stands before the first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventCursor(pub i64);

/// Something that happened on some device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenEvent {
    /// Behind it.
    pub cursor: EventCursor,
    /// The device.
    #[serde(serialize_with = "crate::tables::as_text")]
    pub eid: Eid,
    /// The device's fleet; empty when it is not registered.
    pub fleet: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Events in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventPage {
    /// Those that are visible. That there are none does not mean that it was the end.
    pub events: Vec<SeenEvent>,
    /// Where to go on.
    pub next: EventCursor,
    /// Whether there is nothing more, by now.
    pub is_end: bool,
}

/// Tells who follows that there may be something new.
pub(crate) struct Pulse(watch::Sender<u64>);

impl Default for Pulse {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Pulse {
    /// Something was committed.
    pub(crate) fn beat(&self) {
        self.0.send_modify(|beats| *beats = beats.wrapping_add(1));
    }
}

impl Eim {
    /// Events on visible devices behind a cursor, in the order in which they were committed.
    ///
    /// Whoever goes on at `next` misses nothing, whatever else is written meanwhile: what was committed together is seen
    /// together, and nothing ever comes to stand before what was seen. A device's fleet is the one it is in now.
    pub fn events_after(
        &self,
        visible: &Visible,
        after: EventCursor,
        limit: u32,
    ) -> Result<EventPage, ReadingError> {
        self.read(|tx| page(tx, &visible.sieve(), after.0, limit, events::log_after))
    }

    /// The newest events on visible devices before a cursor, or of all, the newest first.
    pub fn events_before(
        &self,
        visible: &Visible,
        before: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, ReadingError> {
        let before = before.map_or(i64::MAX, |cursor| cursor.0);
        self.read(|tx| page(tx, &visible.sieve(), before, limit, events::log_before))
    }

    /// Behind the newest event: where somebody begins who wants to see what happens from now on.
    pub fn newest_event(&self) -> Result<EventCursor, StorageError> {
        Ok(EventCursor(self.read(events::newest)?))
    }

    /// Changes after every commit that events may have come with, before whoever asked for the change gets the answer.
    ///
    /// Read [`Eim::events_after`] until its end, then wait for the next change. Mark the receiver as seen before reading, as
    /// `borrow_and_update` does, or what is committed meanwhile is waited for. Under load there are hundreds of changes a
    /// second: a pause of 100 ms before reading makes one page of them.
    pub fn events_changed(&self) -> watch::Receiver<u64> {
        self.pulse.0.subscribe()
    }
}

fn page(
    tx: &ReadTx<'_>,
    sieve: &Sieve<'_>,
    from: i64,
    limit: u32,
    read: impl Fn(&ReadTx<'_>, i64, usize) -> Result<Vec<Logged>, SqlError>,
) -> Result<EventPage, ReadingError> {
    let limit = page_size(limit);
    let mut page = EventPage {
        events: Vec::new(),
        next: EventCursor(from),
        is_end: false,
    };
    let mut examined = 0;
    while !page.is_end && page.events.len() < limit && examined < EXAMINED_MAX {
        // Nearly all that somebody who sees everything looks at is shown.
        let ask = match sieve.is_all() {
            true => limit - page.events.len(),
            false => CHUNK,
        };
        let logged = read(tx, page.next.0, ask)?;
        page.is_end = logged.len() < ask;
        examined += logged.len();
        for entry in logged {
            if page.events.len() >= limit {
                page.is_end = false;
                break;
            }
            page.next = EventCursor(entry.seq);
            page.events.extend(seen(tx, sieve, entry)?);
        }
    }
    Ok(page)
}

fn seen(tx: &ReadTx<'_>, sieve: &Sieve<'_>, entry: Logged) -> Result<Option<SeenEvent>, SqlError> {
    let fleet = entry.fleet.unwrap_or_default();
    if !sieve.covers(&fleet) {
        return Ok(None);
    }
    let event = events::find(tx, entry.eid, entry.id)?;
    Ok(event.map(|event| SeenEvent {
        cursor: EventCursor(entry.seq),
        eid: entry.eid,
        fleet,
        event,
    }))
}
