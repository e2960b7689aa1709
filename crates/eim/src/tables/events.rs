//! What happened, in order. Rows are only ever added.

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
    Ok(())
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
        |row| {
            let detail: String = row.get(4)?;
            Ok(Event {
                id: parsed(row, 0)?,
                at: row.get(1)?,
                actor: row.get(2)?,
                kind: row.get(3)?,
                detail: serde_json::from_str(&detail).unwrap_or_default(),
            })
        },
    )
}
