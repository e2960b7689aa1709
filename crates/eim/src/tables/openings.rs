//! What opens the secrets that intents commit to.

use intent::{IntentId, Opening};
use store::{ReadTx, SqlError, Tx, params};

use super::conversion;

/// Keeps the openings of an intent; what was kept for it before stays. False when `limit` intents have some already.
pub(crate) fn keep(
    tx: &Tx<'_>,
    intent: IntentId,
    openings: &[Opening],
    expires_at: i64,
    limit: i64,
) -> Result<bool, SqlError> {
    let kept: i64 = tx.query_row("SELECT count(*) FROM opening", params![], |row| row.get(0))?;
    if kept >= limit {
        return Ok(false);
    }
    let openings = serde_json::to_string(openings).unwrap_or_default();
    tx.execute(
        "INSERT INTO opening (intent, openings, approved, expires_at) VALUES ($1, $2, FALSE, $3) \
         ON CONFLICT (intent) DO NOTHING",
        params![intent.to_string(), openings, expires_at],
    )?;
    Ok(true)
}

pub(crate) fn find(tx: &ReadTx<'_>, intent: IntentId) -> Result<Vec<Opening>, SqlError> {
    let found = tx.query_optional(
        "SELECT openings FROM opening WHERE intent = $1",
        params![intent.to_string()],
        |row| {
            let text: String = row.get(0)?;
            serde_json::from_str(&text).map_err(|error| conversion(0, error))
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// Operations need them from now on, and nobody else.
pub(crate) fn approved(tx: &Tx<'_>, intent: IntentId) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE opening SET approved = TRUE WHERE intent = $1 AND NOT approved",
        params![intent.to_string()],
    )?;
    Ok(())
}

/// Forgets those of an intent that was not approved.
pub(crate) fn forget_unapproved(tx: &Tx<'_>, intent: IntentId) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM opening WHERE intent = $1 AND NOT approved",
        params![intent.to_string()],
    )?;
    Ok(())
}

/// Forgets those that no operation can need any more.
pub(crate) fn prune(tx: &Tx<'_>, now: i64) -> Result<usize, SqlError> {
    tx.execute(
        "DELETE FROM opening WHERE expires_at <= $1 OR (approved AND NOT EXISTS \
         (SELECT 1 FROM operation WHERE operation.intent = opening.intent AND state IN ('queued', 'in-flight')))",
        params![now],
    )
}
