use ::store::{ReadTx, SqlError, Tx, params};
use jiff::Timestamp;
use rsp::ids::{Iccid, TransactionId};

use super::parsed;

/// A bound profile package that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DownloadRow {
    pub(crate) number: i64,
    pub(crate) order_id: i64,
    pub(crate) iccid: Iccid,
    /// 32 digits.
    pub(crate) eid: String,
    /// DER SubjectPublicKeyInfo.
    pub(crate) euicc_key: Vec<u8>,
    pub(crate) has_result: bool,
}

/// Notes that a package is about to be sent. A repetition in the same session changes nothing.
pub(crate) fn insert(
    tx: &Tx<'_>,
    transaction_id: &TransactionId,
    order_id: i64,
    iccid: &Iccid,
    eid: &str,
    euicc_key: &[u8],
    at: Timestamp,
) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO download (transaction_id, order_id, iccid, eid, euicc_key, delivered_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (transaction_id) DO NOTHING",
        params![
            transaction_id.octets(),
            order_id,
            iccid.to_string(),
            eid,
            euicc_key,
            at.as_second()
        ],
    )?;
    Ok(())
}

pub(crate) fn by_transaction(
    tx: &ReadTx<'_>,
    transaction_id: &TransactionId,
) -> Result<Option<DownloadRow>, SqlError> {
    tx.query_optional(
        "SELECT number, order_id, iccid, eid, euicc_key, result IS NOT NULL
         FROM download WHERE transaction_id = $1",
        params![transaction_id.octets()],
        |row| {
            Ok(DownloadRow {
                number: row.get(0)?,
                order_id: row.get(1)?,
                iccid: parsed(row, 2)?,
                eid: row.get(3)?,
                euicc_key: row.get(4)?,
                has_result: row.get(5)?,
            })
        },
    )
}

/// Number of the last download of an order.
pub(crate) fn last_of_order(tx: &ReadTx<'_>, order_id: i64) -> Result<Option<i64>, SqlError> {
    tx.query_row(
        "SELECT MAX(number) FROM download WHERE order_id = $1",
        params![order_id],
        |row| row.get(0),
    )
}

/// Keeps the first result that was believed.
pub(crate) fn keep_result(
    tx: &Tx<'_>,
    number: i64,
    result: &[u8],
    at: Timestamp,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE download SET result = $2, result_at = $3 WHERE number = $1 AND result IS NULL",
        params![number, result, at.as_second()],
    )?;
    Ok(())
}

/// Whether a package with this profile was ever sent to this eUICC.
pub(crate) fn was_delivered(tx: &ReadTx<'_>, iccid: &Iccid, eid: &str) -> Result<bool, SqlError> {
    tx.exists(
        "SELECT 1 FROM download WHERE iccid = $1 AND eid = $2",
        params![iccid.to_string(), eid],
    )
}
