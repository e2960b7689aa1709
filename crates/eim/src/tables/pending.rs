//! What operators know of devices whose registration waits for approvals.

use intent::IntentId;
use rsp::ids::Eid;
use store::{ReadTx, SqlError, Tx, params};

use super::devices::Enrichment;

/// How many rows there are.
pub(crate) fn count(tx: &ReadTx<'_>) -> Result<i64, SqlError> {
    tx.query_row("SELECT count(*) FROM pending_data", params![], |row| {
        row.get(0)
    })
}

/// How many devices of an intent have something that waits.
pub(crate) fn count_of(tx: &ReadTx<'_>, intent: IntentId) -> Result<i64, SqlError> {
    tx.query_row(
        "SELECT count(*) FROM pending_data WHERE intent = $1",
        params![intent.to_string()],
        |row| row.get(0),
    )
}

/// Keeps what is known of a device until the intent is decided, or until `expires_at`. What was kept before is replaced, as far
/// as something else is given.
pub(crate) fn keep(
    tx: &Tx<'_>,
    (intent, eid): (IntentId, Eid),
    new: &Enrichment,
    actor: &str,
    expires_at: i64,
) -> Result<(), SqlError> {
    let (euicc, eum) = match &new.certificates {
        Some((euicc, eum)) => (Some(euicc), Some(eum)),
        None => (None, None),
    };
    tx.execute(
        "INSERT INTO pending_data (intent, eid, label, association_token, euicc_certificate, eum_certificate, actor, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (intent, eid) DO UPDATE SET \
         label = coalesce($3, pending_data.label), \
         association_token = coalesce($4, pending_data.association_token), \
         euicc_certificate = coalesce($5, pending_data.euicc_certificate), \
         eum_certificate = coalesce($6, pending_data.eum_certificate), actor = $7, expires_at = $8",
        params![
            intent.to_string(),
            eid.to_string(),
            new.label,
            new.association_token,
            euicc,
            eum,
            actor,
            expires_at
        ],
    )?;
    Ok(())
}

/// Takes what was kept for a device out, with who gave it.
pub(crate) fn take(
    tx: &Tx<'_>,
    intent: IntentId,
    eid: Eid,
) -> Result<Option<(Enrichment, String)>, SqlError> {
    let key = [intent.to_string(), eid.to_string()];
    let found = tx.query_optional(
        "SELECT label, association_token, euicc_certificate, eum_certificate, actor FROM pending_data \
         WHERE intent = $1 AND eid = $2",
        params![key[0], key[1]],
        |row| {
            let (euicc, eum): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
            let data = Enrichment {
                label: row.get(0)?,
                association_token: row.get(1)?,
                certificates: euicc.zip(eum),
            };
            Ok((data, row.get(4)?))
        },
    )?;
    if found.is_some() {
        tx.execute(
            "DELETE FROM pending_data WHERE intent = $1 AND eid = $2",
            params![key[0], key[1]],
        )?;
    }
    Ok(found)
}

/// Forgets what was kept for an intent that is not carried out; at most `limit` rows at a time.
pub(crate) fn forget(tx: &Tx<'_>, intent: IntentId, limit: u32) -> Result<usize, SqlError> {
    tx.execute(
        "DELETE FROM pending_data WHERE intent = $1 AND eid IN \
         (SELECT eid FROM pending_data WHERE intent = $1 ORDER BY eid LIMIT $2)",
        params![intent.to_string(), limit],
    )
}

/// Forgets what waited for too long.
pub(crate) fn prune(tx: &Tx<'_>, now: i64) -> Result<usize, SqlError> {
    tx.execute(
        "DELETE FROM pending_data WHERE expires_at <= $1",
        params![now],
    )
}
