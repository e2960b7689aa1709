use ::store::{ReadTx, Row, RowResult, SqlError, Tx, params, rusqlite::types::Type};
use jiff::Timestamp;

use super::{UnknownWord, conversion, parsed, timestamp};
use crate::domain::{Notice, ProgressPoint, Refusal};

pub(crate) fn push(tx: &Tx<'_>, notice: &Notice) -> Result<(), SqlError> {
    let status = notice.refused.map(Refusal::status);
    tx.execute(
        "INSERT INTO outbox (operator, iccid, eid, profile_type, occurred_at, point, subject, reason, result,
                             next_attempt_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $5)",
        params![
            notice.operator,
            notice.iccid.to_string(),
            notice.eid,
            notice.profile_type,
            notice.occurred_at.as_second(),
            notice.point.id(),
            status.as_ref().map(|status| status.subject_code()),
            status.as_ref().map(|status| status.reason_code()),
            notice.result
        ],
    )?;
    Ok(())
}

/// What is to be delivered now, oldest first.
pub(crate) fn due(
    tx: &ReadTx<'_>,
    now: Timestamp,
    count_max: u32,
) -> Result<Vec<Notice>, SqlError> {
    tx.query_all(
        "SELECT id, operator, iccid, eid, profile_type, occurred_at, point, subject, reason, result, attempts
         FROM outbox WHERE next_attempt_at <= $1 ORDER BY id LIMIT $2",
        params![now.as_second(), count_max],
        read,
    )
}

pub(crate) fn count(tx: &ReadTx<'_>) -> Result<u64, SqlError> {
    let count: i64 = tx.query_row("SELECT COUNT(*) FROM outbox", params![], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(crate) fn remove(tx: &Tx<'_>, id: i64) -> Result<(), SqlError> {
    tx.execute("DELETE FROM outbox WHERE id = $1", params![id])?;
    Ok(())
}

pub(crate) fn postpone(tx: &Tx<'_>, id: i64, until: Timestamp) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = $2 WHERE id = $1",
        params![id, until.as_second()],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> RowResult<Notice> {
    let point: i64 = row.get(6)?;
    let point = ProgressPoint::from_id(point)
        .ok_or_else(|| conversion(6, Type::Integer, UnknownWord(point.to_string())))?;
    let subject: Option<String> = row.get(7)?;
    let reason: Option<String> = row.get(8)?;
    let refused = subject
        .zip(reason)
        .map(|(subject, reason)| {
            Refusal::from_codes(&subject, &reason).ok_or_else(|| {
                conversion(7, Type::Text, UnknownWord(format!("{subject}/{reason}")))
            })
        })
        .transpose()?;
    Ok(Notice {
        id: row.get(0)?,
        operator: row.get(1)?,
        iccid: parsed(row, 2)?,
        eid: row.get(3)?,
        profile_type: row.get(4)?,
        occurred_at: timestamp(row, 5)?,
        point,
        refused,
        result: row.get(9)?,
        attempts: row.get(10)?,
    })
}
