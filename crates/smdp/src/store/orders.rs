use ::store::{ReadTx, Row, RowResult, SqlError, Tx, params};
use jiff::Timestamp;
use rsp::ids::Iccid;

use super::{parsed, timestamp, timestamp_optional};

/// One download order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderRow {
    pub(crate) id: i64,
    pub(crate) iccid: Iccid,
    pub(crate) operator: Option<String>,
    /// 32 digits.
    pub(crate) eid: Option<String>,
    /// Empty for the default SM-DP+; `None` until confirmed.
    pub(crate) matching_id: Option<String>,
    pub(crate) confirmation_hash: Option<[u8; 32]>,
    pub(crate) confirmation_failures: u32,
    pub(crate) attempts: u32,
    pub(crate) bound_otpk: Option<Vec<u8>>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

pub(crate) fn insert(
    tx: &Tx<'_>,
    iccid: &Iccid,
    operator: Option<&str>,
    eid: Option<&str>,
    created_at: Timestamp,
) -> Result<i64, SqlError> {
    tx.query_row(
        "INSERT INTO download_order (iccid, operator, eid, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
        params![iccid.to_string(), operator, eid, created_at.as_second()],
        |row| row.get(0),
    )
}

pub(crate) fn by_id(tx: &ReadTx<'_>, id: i64) -> Result<Option<OrderRow>, SqlError> {
    tx.query_optional(
        "SELECT id, iccid, operator, eid, matching_id, confirmation_hash, confirmation_failures, attempts,
                bound_otpk, created_at, expires_at
         FROM download_order WHERE id = $1",
        params![id],
        read,
    )
}

/// The order that is open under a matching id.
pub(crate) fn open_by_matching_id(
    tx: &ReadTx<'_>,
    matching_id: &str,
) -> Result<Option<OrderRow>, SqlError> {
    tx.query_optional(
        "SELECT id, iccid, operator, eid, matching_id, confirmation_hash, confirmation_failures, attempts,
                bound_otpk, created_at, expires_at
         FROM download_order WHERE matching_id = $1 AND matching_id <> '' AND closed_at IS NULL",
        params![matching_id],
        read,
    )
}

/// The oldest order for an eUICC at the default SM-DP+ whose profile can be downloaded.
pub(crate) fn open_default(tx: &ReadTx<'_>, eid: &str) -> Result<Option<OrderRow>, SqlError> {
    tx.query_optional(
        "SELECT o.id, o.iccid, o.operator, o.eid, o.matching_id, o.confirmation_hash, o.confirmation_failures,
                o.attempts, o.bound_otpk, o.created_at, o.expires_at
         FROM download_order o JOIN profile p ON p.iccid = o.iccid AND p.order_id = o.id
         WHERE o.eid = $1 AND o.matching_id = '' AND o.closed_at IS NULL
           AND p.state IN ('Released', 'Downloaded')
         ORDER BY o.id LIMIT 1",
        params![eid],
        read,
    )
}

/// Writes everything of an order that can change.
pub(crate) fn update(tx: &Tx<'_>, order: &OrderRow) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE download_order
         SET eid = $2, matching_id = $3, confirmation_hash = $4, confirmation_failures = $5, attempts = $6,
             bound_otpk = $7, expires_at = $8
         WHERE id = $1",
        params![
            order.id,
            order.eid,
            order.matching_id,
            order.confirmation_hash,
            order.confirmation_failures,
            order.attempts,
            order.bound_otpk,
            order.expires_at.map(Timestamp::as_second)
        ],
    )?;
    Ok(())
}

/// Ends an order; its matching id becomes free.
pub(crate) fn close(tx: &Tx<'_>, id: i64, at: Timestamp) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE download_order SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL",
        params![id, at.as_second()],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> RowResult<OrderRow> {
    Ok(OrderRow {
        id: row.get(0)?,
        iccid: parsed(row, 1)?,
        operator: row.get(2)?,
        eid: row.get(3)?,
        matching_id: row.get(4)?,
        confirmation_hash: row.get(5)?,
        confirmation_failures: row.get(6)?,
        attempts: row.get(7)?,
        bound_otpk: row.get(8)?,
        created_at: timestamp(row, 9)?,
        expires_at: timestamp_optional(row, 10)?,
    })
}
