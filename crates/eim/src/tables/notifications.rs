//! Notifications of eUICCs, and the outbox that forwards them to their SM-DP+.

use rsp::ids::Eid;
use serde::Serialize;
use store::{ReadTx, Row, RowResult, SqlError, Tx, params};

use super::eid;

/// A Notification whose eUICC signature was verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notification {
    /// The eUICC that made it.
    #[serde(serialize_with = "super::as_text")]
    pub eid: Eid,
    /// Its number in the eUICC's list.
    pub seq_number: i64,
    /// install, enable, disable or delete.
    pub event: String,
    /// The Profile, if it names one.
    pub iccid: Option<String>,
    /// The server it is for.
    pub address: String,
    /// The message as received.
    #[serde(skip)]
    pub message: Vec<u8>,
    /// Milliseconds since 1970.
    pub received_at: i64,
    /// Milliseconds since 1970.
    pub forwarded_at: Option<i64>,
    /// Attempts to forward it.
    pub attempts: i64,
}

const COLUMNS: &str =
    "eid, seq_number, event, iccid, address, message, received_at, forwarded_at, attempts";

fn notification(row: &Row<'_>) -> RowResult<Notification> {
    Ok(Notification {
        eid: eid(row, 0)?,
        seq_number: row.get(1)?,
        event: row.get(2)?,
        iccid: row.get(3)?,
        address: row.get(4)?,
        message: row.get(5)?,
        received_at: row.get(6)?,
        forwarded_at: row.get(7)?,
        attempts: row.get(8)?,
    })
}

/// Keeps a Notification, to be forwarded or not; false when it was there already.
pub(crate) fn insert(tx: &Tx<'_>, new: &Notification, forward: bool) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "INSERT INTO notification (eid, seq_number, event, iccid, address, message, received_at, attempts, \
         next_attempt_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8) ON CONFLICT (eid, seq_number) DO NOTHING",
        params![
            new.eid.to_string(),
            new.seq_number,
            new.event,
            new.iccid,
            new.address,
            new.message,
            new.received_at,
            forward.then_some(new.received_at)
        ],
    )?;
    Ok(rows == 1)
}

pub(crate) fn page(tx: &ReadTx<'_>, eid: Eid, limit: u32) -> Result<Vec<Notification>, SqlError> {
    tx.query_all(
        &format!(
            "SELECT {COLUMNS} FROM notification WHERE eid = $1 ORDER BY seq_number DESC LIMIT $2"
        ),
        params![eid.to_string(), limit],
        notification,
    )
}

/// What is due to be forwarded.
pub(crate) fn due(tx: &ReadTx<'_>, now: i64, limit: u32) -> Result<Vec<Notification>, SqlError> {
    tx.query_all(
        &format!(
            "SELECT {COLUMNS} FROM notification WHERE next_attempt_at IS NOT NULL AND next_attempt_at <= $1 \
             ORDER BY next_attempt_at LIMIT $2"
        ),
        params![now, limit],
        notification,
    )
}

pub(crate) fn forwarded(tx: &Tx<'_>, eid: Eid, seq_number: i64, at: i64) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE notification SET forwarded_at = $3, attempts = attempts + 1, next_attempt_at = NULL \
         WHERE eid = $1 AND seq_number = $2",
        params![eid.to_string(), seq_number, at],
    )?;
    Ok(())
}

/// Schedules another attempt, or none when `next_attempt_at` is `None`.
pub(crate) fn retry(
    tx: &Tx<'_>,
    eid: Eid,
    seq_number: i64,
    next_attempt_at: Option<i64>,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE notification SET attempts = attempts + 1, next_attempt_at = $3 WHERE eid = $1 AND seq_number = $2",
        params![eid.to_string(), seq_number, next_attempt_at],
    )?;
    Ok(())
}
