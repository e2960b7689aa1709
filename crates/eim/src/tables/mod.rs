//! The rows of the eIM: the only place in this crate that knows SQL.
//!
//! One file per table. Functions take a transaction and typed values; what they mean and who may
//! call them is decided above.

pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod fleet;
pub(crate) mod inventory;
pub(crate) mod notifications;
pub(crate) mod openings;
pub(crate) mod operations;
pub(crate) mod pending;
pub(crate) mod reports;
pub(crate) mod search;
#[cfg(feature = "unguarded-authority")]
pub(crate) mod seed;
pub(crate) mod tags;

use rsp::ids::Eid;
use store::{Migration, RowResult, parsed};

/// The schema, oldest step first. Steps are never edited once released.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "devices, operations and what devices reported",
        include_str!("0001_initial.sql"),
    ),
    Migration::new(
        2,
        "lists, counts, tags and the log across devices",
        include_str!("0002_fleet.sql"),
    ),
    Migration::new(
        3,
        "what is known of devices whose registration waits",
        include_str!("0003_pending.sql"),
    ),
];

/// By `Display`, in JSON.
pub(crate) fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// By `Display`, in JSON, if there is one.
pub(crate) fn text_or_null<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// A column holds a text that this version does not understand.
fn conversion(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> store::rusqlite::Error {
    store::conversion(column, store::rusqlite::types::Type::Text, error)
}

fn eid(row: &store::Row<'_>, column: usize) -> RowResult<Eid> {
    parsed(row, column)
}

/// How the engine goes about a query.
#[cfg(test)]
fn explained(
    tx: &store::ReadTx<'_>,
    text: &str,
    parameters: impl store::Params,
) -> Result<Vec<String>, store::SqlError> {
    tx.query_all(&format!("EXPLAIN QUERY PLAN {text}"), parameters, |row| {
        row.get(3)
    })
}

#[cfg(test)]
mod tests {
    use store::{SqlError, Store, StoreOptions, params};

    use super::*;
    use crate::seed::{Seed, fill};

    /// What is kept by triggers, and what a recount finds.
    const RECOUNTS: [(&str, &str); 2] = [
        (
            "SELECT kind, name, slot, fleet, n FROM tally WHERE n <> 0",
            "SELECT 'device' AS kind, state AS name, 0 AS slot, fleet, count(*) AS n FROM device GROUP BY state, fleet \
             UNION ALL SELECT 'provider', p.provider, 0, d.fleet, count(*) FROM profile p JOIN device d ON d.eid = p.eid \
             WHERE p.state = 'enabled' AND d.state <> 'retired' GROUP BY p.provider, d.fleet \
             UNION ALL SELECT 'open', state, 0, fleet, count(*) FROM operation WHERE finished_at IS NULL GROUP BY state, fleet \
             UNION ALL SELECT 'hour', state, finished_at / 3600000, fleet, count(*) FROM operation \
             WHERE finished_at IS NOT NULL GROUP BY state, finished_at / 3600000, fleet \
             UNION ALL SELECT 'day', state, finished_at / 86400000, fleet, count(*) FROM operation \
             WHERE finished_at IS NOT NULL GROUP BY state, finished_at / 86400000, fleet",
        ),
        (
            "SELECT eid, fleet, state, association, registered_at, polled_minute, label FROM device_listing",
            "SELECT d.eid, d.fleet, d.state, d.association, d.registered_at, coalesce(c.last_poll_at / 60000, 0), d.label \
             FROM device d LEFT JOIN device_contact c ON c.eid = d.eid",
        ),
    ];

    fn assert_kept(store: &Store) {
        for (kept, recounted) in RECOUNTS {
            for (one, other) in [(kept, recounted), (recounted, kept)] {
                let difference = format!(
                    "SELECT count(*) FROM (SELECT * FROM ({one}) EXCEPT SELECT * FROM ({other}))"
                );
                let count: i64 = store
                    .read(|tx| -> Result<_, SqlError> {
                        tx.query_row(&difference, params![], |row| row.get(0))
                    })
                    .unwrap();
                assert_eq!(count, 0, "{difference}");
            }
        }
    }

    fn seeded(path: &std::path::Path) {
        let options = Seed {
            devices: 300,
            events: 4_000,
            now_ms: 1_780_272_000_000,
            seed: 3,
        };
        fill(path, &options, &mut |_| None, &mut |_| ()).unwrap();
    }

    #[test]
    fn counts_and_lists_are_kept_whatever_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eim.sqlite");
        seeded(&path);
        let store = Store::open(&path, MIGRATIONS, StoreOptions::default()).unwrap();
        assert_kept(&store);
        for change in [
            "UPDATE operation SET state = 'rolled-back', finished_at = finished_at + 7200000 WHERE state = 'done'",
            "UPDATE operation SET state = 'in-flight' WHERE state = 'queued' AND eid NOT IN \
             (SELECT eid FROM operation WHERE state = 'in-flight') AND id IN (SELECT min(id) FROM operation \
             WHERE state = 'queued' GROUP BY eid)",
            "UPDATE operation SET state = 'done', finished_at = 5 WHERE state = 'in-flight'",
            "UPDATE profile SET provider = 'Another' WHERE eid < '8904903200000000000000000001'",
            "UPDATE device SET state = 'retired', association = 'due' WHERE fleet = 'trackers'",
            "UPDATE profile SET state = 'disabled' WHERE iccid LIKE '%1'",
            "UPDATE device SET fleet = 'elsewhere', state = 'registered', label = 'x' WHERE state = 'retired'",
            "DELETE FROM profile WHERE iccid LIKE '%000'",
            "UPDATE device SET fleet = 'pilot' WHERE fleet = 'vending'",
            "UPDATE device_contact SET last_poll_at = last_poll_at + 59999",
        ] {
            let rows = store
                .write(move |tx| tx.execute(change, params![]))
                .unwrap();
            assert!(rows > 0, "{change}");
            assert_kept(&store);
        }
    }

    #[test]
    fn a_database_of_before_gets_lists_counts_and_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old.sqlite");
        let store = Store::open(&old, &MIGRATIONS[..1], StoreOptions::default()).unwrap();
        store
            .write(|tx| -> Result<(), SqlError> {
                for (eid, fleet, state) in [("1", "a", "associated"), ("2", "b", "retired"), ("3", "a", "registered")] {
                    tx.execute(
                        "INSERT INTO device (eid, label, state, fleet, counter, token_origin, last_seq_number, \
                         association, registered_at, updated_at) VALUES ($1, 'x', $2, $3, 0, 'device', -1, 'due', 5, 5)",
                        params![eid, state, fleet],
                    )?;
                    tx.execute(
                        "INSERT INTO profile (eid, iccid, state, class, name, provider, fallback_attribute, \
                         fallback_allowed, ecall, policy_rules, updated_at) \
                         VALUES ($1, '89880000000000000' || $1, 'enabled', '', '', 'P', FALSE, FALSE, FALSE, '', 7)",
                        params![eid],
                    )?;
                    tx.execute(
                        "INSERT INTO device_contact (eid, last_poll_at, polls, peer) VALUES ($1, 120001, 1, '')",
                        params![eid],
                    )?;
                    for (state, ended) in [("queued", None), ("done", Some(3_600_001)), ("failed", Some(90_000_000))] {
                        tx.execute(
                            "INSERT INTO operation (id, eid, reference, actor, commands, state, refusals, proofs, \
                             created_at, expires_at, finished_at) VALUES ($1 || $2, $1, 'r', 'a', '[]', $2, 0, 0, 1, 1, $3)",
                            params![eid, state, ended],
                        )?;
                    }
                    for id in [4, 2] {
                        tx.execute(
                            "INSERT INTO event (eid, id, at, actor, kind, detail) VALUES ($1, $2 || $1, 1, '', '', '')",
                            params![eid, id],
                        )?;
                    }
                }
                Ok(())
            })
            .unwrap();
        drop(store);
        let store = Store::open(&old, MIGRATIONS, StoreOptions::default()).unwrap();
        assert_kept(&store);
        let (log, fleets, first) = store
            .read(|tx| -> Result<_, SqlError> {
                let texts =
                    |text: &str| tx.query_all(text, params![], |row| row.get::<_, String>(0));
                Ok((
                    texts("SELECT id FROM event_log ORDER BY seq")?,
                    texts("SELECT DISTINCT eid || fleet FROM operation ORDER BY 1")?,
                    texts(
                        "SELECT eid || at || is_first || to_iccid FROM profile_change ORDER BY eid",
                    )?,
                ))
            })
            .unwrap();
        assert_eq!(log, ["21", "22", "23", "41", "42", "43"]);
        assert_eq!(fleets, ["1a", "2b", "3a"]);
        assert_eq!(first[0], "171898800000000000001");
    }
}
