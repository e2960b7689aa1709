use ::store::{ReadTx, Row, RowResult, SqlError, Tx, params};

use super::{parsed_optional, timestamp};
use crate::domain::NotificationRecord;

/// Keeps a notification that was believed. False when it was there already.
pub(crate) fn keep(
    tx: &Tx<'_>,
    record: &NotificationRecord,
    octets: &[u8],
) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "INSERT INTO notification (eid, seq_number, event, iccid, address, octets, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (eid, seq_number, event) DO NOTHING",
        params![
            record.eid,
            record.seq_number,
            record.event,
            record.iccid.map(|iccid| iccid.to_string()),
            record.address,
            octets,
            record.received_at.as_second()
        ],
    )?;
    Ok(rows == 1)
}

/// What one eUICC reported, oldest first.
pub(crate) fn of_euicc(
    tx: &ReadTx<'_>,
    eid: &str,
    count_max: u32,
) -> Result<Vec<NotificationRecord>, SqlError> {
    tx.query_all(
        "SELECT eid, seq_number, event, iccid, address, received_at
         FROM notification WHERE eid = $1 ORDER BY seq_number LIMIT $2",
        params![eid, count_max],
        read,
    )
}

fn read(row: &Row<'_>) -> RowResult<NotificationRecord> {
    Ok(NotificationRecord {
        eid: row.get(0)?,
        seq_number: row.get(1)?,
        event: row.get(2)?,
        iccid: parsed_optional(row, 3)?,
        address: row.get(4)?,
        received_at: timestamp(row, 5)?,
    })
}
