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

#[cfg(test)]
mod tests {
    use store::{Store, StoreOptions};

    use super::*;
    use crate::tables::{MIGRATIONS, devices};

    const AT: i64 = 1_700_000_000_000;

    fn eid(number: u32) -> Eid {
        Eid::with_check_digits(&format!("8904903200000000000000{number:08}")).unwrap()
    }

    fn labelled(label: &str) -> Enrichment {
        Enrichment {
            label: Some(label.to_owned()),
            association_token: None,
            certificates: None,
        }
    }

    fn write<T: Send + 'static>(
        store: &Store,
        mut verb: impl FnMut(&mut Tx<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> T {
        store.write(move |tx| verb(tx)).unwrap()
    }

    #[test]
    fn a_database_of_the_version_before_keeps_its_devices_and_gets_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eim.db");
        let before = &MIGRATIONS[..2];
        let store = Store::open(&path, before, StoreOptions::default()).unwrap();
        write(&store, |tx| devices::register(tx, eid(1), "default", AT));
        drop(store);
        let store = Store::open(&path, MIGRATIONS, StoreOptions::default()).unwrap();
        let known = store.read(|tx| devices::find(tx, eid(1))).unwrap();
        assert_eq!(known.unwrap().fleet, "default");
        assert_eq!(store.read(count).unwrap(), 0);
    }

    #[test]
    fn what_is_kept_is_taken_once_by_its_intent_and_otherwise_forgotten() {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap();
        let (one, other) = (IntentId::of(b"one"), IntentId::of(b"other"));
        write(&store, move |tx| {
            keep(tx, (one, eid(1)), &labelled("first"), "operator:x", AT + 10)?;
            // Given again: what is new replaces, what is absent stays.
            let token = Enrichment {
                label: None,
                association_token: Some(7),
                certificates: Some((vec![1], vec![2])),
            };
            keep(tx, (one, eid(1)), &token, "operator:y", AT + 10)?;
            keep(
                tx,
                (other, eid(1)),
                &labelled("of another"),
                "operator:x",
                AT + 20,
            )?;
            for number in 2..5 {
                keep(
                    tx,
                    (other, eid(number)),
                    &labelled("x"),
                    "operator:x",
                    AT + 30,
                )?;
            }
            Ok(())
        });
        let (data, actor) = write(&store, move |tx| take(tx, one, eid(1))).unwrap();
        assert_eq!(actor, "operator:y");
        assert_eq!(data.label.as_deref(), Some("first"));
        assert_eq!(data.association_token, Some(7));
        assert_eq!(data.certificates, Some((vec![1], vec![2])));
        assert!(write(&store, move |tx| take(tx, one, eid(1))).is_none());
        assert_eq!(store.read(|tx| count_of(tx, other)).unwrap(), 4);
        // On time, and not before.
        assert_eq!(write(&store, |tx| prune(tx, AT + 19)), 0);
        assert_eq!(write(&store, |tx| prune(tx, AT + 20)), 1);
        // In pages.
        assert_eq!(write(&store, move |tx| forget(tx, other, 2)), 2);
        assert_eq!(write(&store, move |tx| forget(tx, other, 2)), 1);
        assert_eq!(store.read(count).unwrap(), 0);
    }
}
