//! Tags of devices.

use rsp::ids::Eid;
use store::{ReadTx, SqlError, Tx, params};

use crate::tags::Tag;

/// The tags of a device, by key.
pub(crate) fn of_device(tx: &ReadTx<'_>, eid: Eid) -> Result<Vec<Tag>, SqlError> {
    tx.query_all(
        "SELECT key, value FROM device_tag WHERE eid = $1 ORDER BY key",
        params![eid.to_string()],
        |row| Ok(Tag::stored(row.get(0)?, row.get(1)?)),
    )
}

/// Sets a tag; how many rows changed.
pub(crate) fn put(tx: &Tx<'_>, eid: Eid, tag: &Tag) -> Result<usize, SqlError> {
    tx.execute(
        "INSERT INTO device_tag (eid, key, value) VALUES ($1, $2, $3) \
         ON CONFLICT (eid, key) DO UPDATE SET value = $3 WHERE device_tag.value <> $3",
        params![eid.to_string(), tag.key(), tag.value()],
    )
}

/// Removes a tag; how many rows changed.
pub(crate) fn remove(tx: &Tx<'_>, eid: Eid, key: &str) -> Result<usize, SqlError> {
    tx.execute(
        "DELETE FROM device_tag WHERE eid = $1 AND key = $2",
        params![eid.to_string(), key],
    )
}
