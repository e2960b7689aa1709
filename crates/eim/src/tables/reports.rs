//! Signed results on their way to the authority.

use rsp::ids::Eid;
use store::{ReadTx, SqlError, Tx, params};
use uuid::Uuid;

use super::{eid, parsed};

/// A result that the authority has not taken yet.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// UUIDv7.
    pub(crate) id: Uuid,
    pub(crate) eid: Eid,
    pub(crate) operation: Uuid,
    /// EuiccPackageResult, DER.
    pub(crate) result: Vec<u8>,
    pub(crate) attempts: i64,
}

pub(crate) fn insert(tx: &Tx<'_>, new: &Report, at: i64) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO report (id, eid, operation, result, attempts, due_at) VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            new.id.to_string(),
            new.eid.to_string(),
            new.operation.to_string(),
            new.result,
            new.attempts,
            at
        ],
    )?;
    Ok(())
}

/// What is due to be reported, oldest first.
pub(crate) fn due(tx: &ReadTx<'_>, now: i64, limit: u32) -> Result<Vec<Report>, SqlError> {
    tx.query_all(
        "SELECT id, eid, operation, result, attempts FROM report \
         WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY id LIMIT $2",
        params![now, limit],
        |row| {
            Ok(Report {
                id: parsed(row, 0)?,
                eid: eid(row, 1)?,
                operation: parsed(row, 2)?,
                result: row.get(3)?,
                attempts: row.get(4)?,
            })
        },
    )
}

/// The authority took it.
pub(crate) fn taken(tx: &Tx<'_>, report: &Report, at: i64) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM report WHERE id = $1",
        params![report.id.to_string()],
    )?;
    tx.execute(
        "UPDATE operation SET recorded_at = $2 WHERE id = $1",
        params![report.operation.to_string(), at],
    )?;
    Ok(())
}

/// The authority refused it: another attempt is due, or none.
pub(crate) fn refused(
    tx: &Tx<'_>,
    id: Uuid,
    refusal: &str,
    due_at: Option<i64>,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE report SET attempts = attempts + 1, refusal = $2, due_at = $3 WHERE id = $1",
        params![id.to_string(), refusal, due_at],
    )?;
    Ok(())
}
