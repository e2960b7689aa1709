//! Up to where the authority's feed was followed, and what its items do to many operations at once.

use rsp::ids::Eid;
use store::{ReadTx, SqlError, Tx, params};
use uuid::Uuid;

use super::operations::OperationState;
use super::{eid, parsed};

/// An operation whose time is over.
pub(crate) struct Overdue {
    pub(crate) id: Uuid,
    pub(crate) eid: Eid,
    pub(crate) state: OperationState,
    /// Proofs of presence asked for before it could be handed over.
    pub(crate) proofs: i64,
}

pub(crate) fn cursor(tx: &ReadTx<'_>) -> Result<u64, SqlError> {
    let cursor: i64 = tx.query_row("SELECT cursor FROM feed WHERE id = 1", params![], |row| {
        row.get(0)
    })?;
    Ok(u64::try_from(cursor).unwrap_or_default())
}

pub(crate) fn set_cursor(tx: &Tx<'_>, cursor: u64) -> Result<(), SqlError> {
    let cursor = i64::try_from(cursor).unwrap_or(i64::MAX);
    tx.execute("UPDATE feed SET cursor = $1 WHERE id = 1", params![cursor])?;
    Ok(())
}

/// Operations that are held at `now` for the reason `code`, with their devices, in this order, behind `after`.
pub(crate) fn held(
    tx: &ReadTx<'_>,
    code: &str,
    now: i64,
    after: Option<(Eid, Uuid)>,
    limit: u32,
) -> Result<Vec<(Eid, Uuid)>, SqlError> {
    let (after_eid, after_id) = after
        .map(|(eid, id)| (eid.to_string(), id.to_string()))
        .unwrap_or_default();
    tx.query_all(
        "SELECT eid, id FROM operation WHERE state IN ('queued', 'in-flight') AND held_code = $1 AND held_until > $2 \
         AND (eid > $3 OR (eid = $3 AND id > $4)) ORDER BY eid, id LIMIT $5",
        params![code, now, after_eid, after_id, limit],
        |row| Ok((eid(row, 0)?, parsed(row, 1)?)),
    )
}

/// Has an operation that is held asked for at the next poll.
pub(crate) fn wake(tx: &Tx<'_>, id: Uuid, now: i64) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE operation SET held_until = $2 WHERE id = $1 AND held_until > $2",
        params![id.to_string(), now],
    )?;
    Ok(())
}

/// Operations that are open and too late at `now`.
pub(crate) fn overdue(tx: &ReadTx<'_>, now: i64, limit: u32) -> Result<Vec<Overdue>, SqlError> {
    tx.query_all(
        "SELECT id, eid, state, proofs FROM operation WHERE state IN ('queued', 'in-flight') AND expires_at <= $1 LIMIT $2",
        params![now, limit],
        |row| {
            Ok(Overdue {
                id: parsed(row, 0)?,
                eid: eid(row, 1)?,
                state: parsed(row, 2)?,
                proofs: row.get(3)?,
            })
        },
    )
}
