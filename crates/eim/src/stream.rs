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
        self.read(|tx| page(tx, &visible.sieve(), (after.0, false), limit))
    }

    /// The newest events on visible devices before a cursor, or of all, the newest first.
    pub fn events_before(
        &self,
        visible: &Visible,
        before: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, ReadingError> {
        let before = before.map_or(i64::MAX, |cursor| cursor.0);
        self.read(|tx| page(tx, &visible.sieve(), (before, true), limit))
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
    (from, newest_first): (i64, bool),
    limit: u32,
) -> Result<EventPage, ReadingError> {
    let limit = page_size(limit);
    let (mut next, mut is_end, mut examined) = (from, false, 0);
    let mut found: Vec<Logged> = Vec::new();
    while !is_end && found.len() < limit && examined < EXAMINED_MAX {
        // Whoever sees everything is shown nearly all that is looked at.
        let ask = match sieve.is_all() {
            true => limit - found.len(),
            false => CHUNK,
        };
        let (mut looked_at, mut is_full) = (0, false);
        let covers = |fleet: &str| sieve.covers(fleet);
        events::log(tx, (next, newest_first), ask, covers, |seq, entry| {
            looked_at += 1;
            is_full |= found.len() >= limit;
            if !is_full {
                next = seq;
                found.extend(entry);
            }
        })?;
        is_end = looked_at < ask && !is_full;
        examined += looked_at;
    }
    let events = found.into_iter().filter_map(|entry| {
        let event = events::find(tx, entry.eid, entry.id).transpose()?;
        Some(event.map(|event| SeenEvent {
            cursor: EventCursor(entry.seq),
            eid: entry.eid,
            fleet: entry.fleet,
            event,
        }))
    });
    Ok(EventPage {
        events: events.collect::<Result<_, SqlError>>()?,
        next: EventCursor(next),
        is_end,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::EventDraft;
    use crate::tests::{Home, START_MS, eid, only};

    fn draft(id: u128) -> EventDraft {
        EventDraft {
            id: uuid::Uuid::from_u128(id),
            eid: eid(0),
            at: START_MS,
            actor: "system:test".to_owned(),
            kind: "tested",
            detail: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn an_event_that_is_committed_later_is_seen_although_its_id_is_smaller() {
        let home = Home::new();
        home.register("north", 0..1).await;
        let cursor = home.eim.newest_event().unwrap();
        // Two requests made their events in one order, and the writer took them in the other.
        let (early, late) = (draft(1), draft(2));
        home.write(move |tx| Ok(late.append(tx)?));
        let page = home.eim.events_after(&Visible::All, cursor, 10).unwrap();
        assert_eq!(page.events.len(), 1);
        home.write(move |tx| Ok(early.append(tx)?));
        let page = home.eim.events_after(&Visible::All, page.next, 10).unwrap();
        let seen: Vec<u128> = page
            .events
            .iter()
            .map(|seen| seen.event.id.as_u128())
            .collect();
        assert_eq!(seen, [1]);
        assert!(page.is_end);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_follows_while_many_write_misses_nothing_and_sees_nothing_twice() {
        let home = Home::new();
        home.register("north", 0..1).await;
        let start = home.eim.newest_event().unwrap();
        let writers: Vec<_> = (0..8_u128)
            .map(|writer| {
                let eim = std::sync::Arc::clone(&home.eim);
                tokio::spawn(async move {
                    for number in 0..50_u128 {
                        // Ids that sort against the order in which they are written, and verbs that refuse in between.
                        let event = draft((1_000 - number) * 8 + writer);
                        let refuses = number % 10 == 9;
                        let _ = eim
                            .change(eid(0), move |tx| -> Result<(), StorageError> {
                                event.append(tx)?;
                                match refuses {
                                    true => Err(SqlError::NoRow.into()),
                                    false => Ok(()),
                                }
                            })
                            .await;
                    }
                })
            })
            .collect();
        let (mut seen, mut cursor) = (Vec::new(), start);
        let mut changes = home.eim.events_changed();
        while seen.len() < 8 * 45 {
            let page = home.eim.events_after(&Visible::All, cursor, 7).unwrap();
            assert!(page.next >= cursor);
            cursor = page.next;
            seen.extend(page.events.iter().map(|seen| seen.event.id));
            if page.is_end {
                let waited = tokio::time::timeout(Duration::from_secs(10), changes.changed());
                waited.await.expect("events are told").unwrap();
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let last = home.eim.events_after(&Visible::All, cursor, 7).unwrap();
        assert_eq!((last.events.len(), last.is_end), (0, true));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8 * 45);
    }

    #[tokio::test]
    async fn events_of_others_are_passed_over_both_ways() {
        let home = Home::new();
        home.register("north", 0..30).await;
        home.register("south", 30..33).await;
        home.register("north", 33..40).await;
        let south = only(&["south"]);
        let page = home.eim.events_after(&south, EventCursor(0), 2).unwrap();
        assert_eq!(page.events.len(), 2);
        assert!(page.events.iter().all(|seen| seen.fleet == "south") && !page.is_end);
        let rest = home.eim.events_after(&south, page.next, 500).unwrap();
        assert_eq!((rest.events.len(), rest.is_end), (1, true));
        assert_eq!(rest.next, home.eim.newest_event().unwrap());

        let newest = home.eim.events_before(&south, None, 2).unwrap();
        assert_eq!(newest.events[0].eid, eid(32));
        let older = home
            .eim
            .events_before(&south, Some(newest.next), u32::MAX)
            .unwrap();
        assert_eq!((older.events.len(), older.is_end), (1, true));
        let nobody = home.eim.events_after(&only(&[]), EventCursor(0), 500);
        assert!(nobody.unwrap().events.is_empty());
        // Forged cursors begin elsewhere, and no more.
        for forged in [i64::MIN, -1, i64::MAX] {
            let page = home.eim.events_after(&south, EventCursor(forged), 500);
            assert!(
                page.unwrap()
                    .events
                    .iter()
                    .all(|seen| seen.fleet == "south")
            );
        }
    }

    #[tokio::test]
    async fn every_verb_that_leaves_events_wakes_who_follows() {
        let home = Home::new();
        let mut changes = home.eim.events_changed();
        home.register("north", 0..1).await;
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let actor = crate::actor::Actor::operator("olga");
        let tag = "site=Aachen".parse().unwrap();
        home.eim
            .change_tags(&actor, &Visible::All, eid(0), vec![tag], Vec::new())
            .await
            .unwrap();
        assert!(changes.has_changed().unwrap());
    }
}
