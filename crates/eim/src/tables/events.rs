//! What happened, in order. Rows are only ever added: to the events of a device, and to the log of all of them, whose numbers
//! the one writer gives in the order of the commits.

use rsp::ids::Eid;
use serde::Serialize;
use store::{ReadTx, SqlError, Tx, params};
use uuid::Uuid;

use super::parsed;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// UUIDv7.
    pub id: Uuid,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who did it.
    pub actor: String,
    /// What, as a stable word.
    pub kind: String,
    /// Particulars.
    pub detail: serde_json::Value,
}

pub(crate) fn append(
    tx: &Tx<'_>,
    id: Uuid,
    eid: Eid,
    at: i64,
    actor: &str,
    kind: &str,
    detail: &str,
) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO event (id, eid, at, actor, kind, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        params![id.to_string(), eid.to_string(), at, actor, kind, detail],
    )?;
    tx.execute(
        "INSERT INTO event_log (eid, id) VALUES ($1, $2)",
        params![eid.to_string(), id.to_string()],
    )?;
    Ok(())
}

/// Where an event stands in the log.
pub(crate) struct Logged {
    pub(crate) seq: i64,
    pub(crate) eid: Eid,
    pub(crate) id: Uuid,
    /// Of the device; empty when it is not registered.
    pub(crate) fleet: String,
}

/// Looks at so many entries of the log behind `seq`, or before it with the newest first, and calls `take` with the number of
/// each, and with the entry if its device's fleet is covered.
pub(crate) fn log(
    tx: &ReadTx<'_>,
    (seq, newest_first): (i64, bool),
    limit: usize,
    covers: impl Fn(&str) -> bool,
    mut take: impl FnMut(i64, Option<Logged>),
) -> Result<(), SqlError> {
    macro_rules! select {
        ($rest:literal) => {
            concat!(
                "SELECT l.seq, coalesce(d.fleet, ''), l.eid, l.id FROM event_log l \
                 LEFT JOIN device_listing d ON d.eid = l.eid WHERE ",
                $rest
            )
        };
    }
    let text = match newest_first {
        false => select!("l.seq > $1 ORDER BY l.seq LIMIT $2"),
        true => select!("l.seq < $1 ORDER BY l.seq DESC LIMIT $2"),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.query_each(text, params![seq, limit], |row| {
        let fleet = row.get_ref(1)?;
        let fleet = fleet.as_str().map_err(store::rusqlite::Error::from)?;
        let seq = row.get(0)?;
        // Most entries are those of others, for whoever sees little.
        let entry = match covers(fleet) {
            false => None,
            true => Some(Logged {
                seq,
                eid: super::eid(row, 2)?,
                id: parsed(row, 3)?,
                fleet: fleet.to_owned(),
            }),
        };
        take(seq, entry);
        Ok(())
    })
}

/// The number of the newest event; 0 before the first.
pub(crate) fn newest(tx: &ReadTx<'_>) -> Result<i64, SqlError> {
    tx.query_row(
        "SELECT coalesce(max(seq), 0) FROM event_log",
        params![],
        |row| row.get(0),
    )
}

pub(crate) fn find(tx: &ReadTx<'_>, eid: Eid, id: Uuid) -> Result<Option<Event>, SqlError> {
    tx.query_optional(
        "SELECT id, at, actor, kind, detail FROM event WHERE eid = $1 AND id = $2",
        params![eid.to_string(), id.to_string()],
        event,
    )
}

fn event(row: &store::Row<'_>) -> store::RowResult<Event> {
    let detail: String = row.get(4)?;
    Ok(Event {
        id: parsed(row, 0)?,
        at: row.get(1)?,
        actor: row.get(2)?,
        kind: row.get(3)?,
        detail: serde_json::from_str(&detail).unwrap_or_default(),
    })
}

/// Events of a device after `after`, oldest first.
pub(crate) fn page(
    tx: &ReadTx<'_>,
    eid: Eid,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Event>, SqlError> {
    tx.query_all(
        "SELECT id, at, actor, kind, detail FROM event WHERE eid = $1 AND id > $2 ORDER BY id LIMIT $3",
        params![eid.to_string(), after.map(|id| id.to_string()).unwrap_or_default(), limit],
        event,
    )
}
