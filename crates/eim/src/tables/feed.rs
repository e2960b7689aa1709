//! Up to where the authority's feed was followed.

use store::{ReadTx, SqlError, Tx, params};

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
