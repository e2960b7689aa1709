//! The store through its public door.
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use store::{
    Durability, Migration, MigrationError, OpenError, SqlError, Store, StoreFault, StoreOptions,
    WriteError, params,
};

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "initial",
    "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
     CREATE TABLE part (item_id INTEGER NOT NULL REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED);",
)];

fn temporary() -> Store {
    Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap()
}

fn insert(store: &Store, id: i64, name: &str) -> Result<usize, WriteError<SqlError>> {
    let name = name.to_owned();
    store.write(move |tx| {
        tx.execute(
            "INSERT INTO item (id, name) VALUES ($1, $2)",
            params![id, name],
        )
    })
}

fn names(store: &Store) -> Vec<String> {
    store
        .read(|tx| -> Result<_, SqlError> {
            tx.query_all("SELECT name FROM item ORDER BY id", [], |row| row.get(0))
        })
        .unwrap()
}

/// Holds the writer inside a verb until the returned sender is used, so that others gather behind it.
fn hold_writer(store: &Store) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (entered, has_entered) = mpsc::channel();
    let store = store.clone();
    let thread = thread::spawn(move || {
        let mut first = true;
        store
            .write(move |_| -> Result<(), SqlError> {
                // Run again, after a lost transaction, it has nothing to wait for.
                if std::mem::take(&mut first) {
                    entered.send(()).unwrap();
                    released.recv().unwrap();
                }
                Ok(())
            })
            .unwrap();
    });
    has_entered.recv().unwrap();
    (release, thread)
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{what} did not happen"
        );
        thread::yield_now();
    }
}

#[test]
fn an_acknowledged_write_is_seen_by_the_next_read() {
    let store = temporary();
    for id in 0..50 {
        insert(&store, id, &format!("n{id}")).unwrap();
        assert_eq!(names(&store).len() as i64, id + 1);
    }
}

#[test]
fn waiting_verbs_share_a_transaction_and_fail_alone() {
    let store = Store::open_temporary(
        MIGRATIONS,
        StoreOptions {
            group_time_max: Duration::from_secs(60),
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let (release, holder) = hold_writer(&store);
    let before = store.stats();
    let writers: Vec<_> = (0..20_i64)
        .map(|id| {
            let store = store.clone();
            // Every fifth refuses after it has written, every fifth panics after it has written.
            let thread = thread::spawn(move || {
                store.write(move |tx| -> Result<i64, String> {
                    tx.execute(
                        "INSERT INTO item (id, name) VALUES ($1, $2)",
                        params![id, format!("n{id}")],
                    )
                    .map_err(|error| error.to_string())?;
                    match id % 5 {
                        3 => Err(format!("refused {id}")),
                        4 => panic!("panicked {id}"),
                        _ => Ok(id),
                    }
                })
            });
            (id, thread)
        })
        .collect();
    wait_until("twenty verbs wait", || store.stats().waiting == 20);
    release.send(()).unwrap();
    for (id, thread) in writers {
        match (id % 5, thread.join().unwrap()) {
            (3, Err(WriteError::Verb(message))) => assert_eq!(message, format!("refused {id}")),
            (4, Err(WriteError::Store(StoreFault::Panicked(message)))) => {
                assert_eq!(message, format!("panicked {id}"))
            }
            (0..=2, Ok(written)) => assert_eq!(written, id),
            (_, other) => panic!("verb {id} ended with {other:?}"),
        }
    }
    holder.join().unwrap();
    let expected: Vec<_> = (0..20)
        .filter(|id| id % 5 < 3)
        .map(|id| format!("n{id}"))
        .collect();
    assert_eq!(names(&store), expected);
    let after = store.stats();
    assert_eq!(after.verbs, 21);
    assert_eq!(
        after.groups - before.groups,
        1,
        "the holder and all twenty took one transaction"
    );
    assert_eq!(after.group_retries, 0);
}

#[test]
fn a_verb_behind_a_lost_transaction_does_not_commit_by_itself() {
    let store = Store::open_temporary(
        MIGRATIONS,
        StoreOptions {
            group_time_max: Duration::from_secs(60),
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let (release, holder) = hold_writer(&store);
    let spoiler = {
        let store = store.clone();
        // As the engine does on a full disk, and this verb takes it for a success.
        thread::spawn(move || {
            store.write(|tx| -> Result<(), SqlError> { tx.execute("ROLLBACK", []).map(drop) })
        })
    };
    wait_until("the spoiler waits", || store.stats().waiting == 1);
    let honest = {
        let store = store.clone();
        thread::spawn(move || {
            store.write(|tx| -> Result<_, SqlError> {
                tx.execute("INSERT INTO item (id, name) VALUES (1, 'honest')", [])
            })
        })
    };
    wait_until("two verbs wait", || store.stats().waiting == 2);
    release.send(()).unwrap();
    let spoilt = spoiler.join().unwrap();
    assert!(
        matches!(spoilt, Err(WriteError::Store(StoreFault::NotDurable(_)))),
        "{spoilt:?}"
    );
    // A second insertion would violate the primary key.
    assert_eq!(honest.join().unwrap().unwrap(), 1);
    holder.join().unwrap();
    assert_eq!(names(&store), ["honest"]);
}

#[test]
fn a_verb_that_spoils_the_commit_harms_only_itself() {
    let store = Store::open_temporary(
        MIGRATIONS,
        StoreOptions {
            group_time_max: Duration::from_secs(60),
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let (release, holder) = hold_writer(&store);
    let runs = Arc::new(AtomicU32::new(0));
    let spoiler = {
        let store = store.clone();
        // The constraint is checked at the commit, for the whole group.
        thread::spawn(move || {
            store.write(|tx| -> Result<_, SqlError> {
                tx.execute("INSERT INTO part VALUES (77)", [])
            })
        })
    };
    let honest = {
        let (store, runs) = (store.clone(), Arc::clone(&runs));
        thread::spawn(move || {
            store.write(move |tx| -> Result<_, SqlError> {
                runs.fetch_add(1, Ordering::Relaxed);
                tx.execute("INSERT INTO item (id, name) VALUES (1, 'honest')", [])
            })
        })
    };
    wait_until("two verbs wait", || store.stats().waiting == 2);
    release.send(()).unwrap();
    match spoiler.join().unwrap() {
        Err(WriteError::Store(StoreFault::NotDurable(error))) => {
            assert!(
                matches!(*error, SqlError::ForeignKeyViolation(_)),
                "{error:?}"
            );
        }
        other => panic!("the spoiler ended with {other:?}"),
    }
    assert_eq!(honest.join().unwrap().unwrap(), 1);
    holder.join().unwrap();
    assert_eq!(
        runs.load(Ordering::Relaxed),
        2,
        "once in the lost group, once alone"
    );
    assert_eq!(names(&store), ["honest"]);
    assert_eq!(store.stats().group_retries, 1);
    // The writer is unharmed.
    insert(&store, 2, "later").unwrap();
}

#[test]
fn a_group_is_bounded() {
    let options = StoreOptions {
        group_max: 4,
        group_time_max: Duration::from_secs(60),
        ..StoreOptions::default()
    };
    let store = Store::open_temporary(MIGRATIONS, options).unwrap();
    let (release, holder) = hold_writer(&store);
    let writers: Vec<_> = (0..8)
        .map(|id| {
            let store = store.clone();
            thread::spawn(move || insert(&store, id, &format!("n{id}")).unwrap())
        })
        .collect();
    wait_until("eight verbs wait", || store.stats().waiting == 8);
    release.send(()).unwrap();
    writers.into_iter().for_each(|thread| {
        thread.join().unwrap();
    });
    holder.join().unwrap();
    assert_eq!(store.stats().groups, 3, "nine verbs, four at most in each");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let store = Store::open_temporary(
        MIGRATIONS,
        StoreOptions {
            queue_max: 2,
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let (release, holder) = hold_writer(&store);
    let waiting: Vec<_> = (0..2)
        .map(|id| {
            let store = store.clone();
            thread::spawn(move || insert(&store, id, &format!("n{id}")))
        })
        .collect();
    wait_until("two verbs wait", || store.stats().waiting == 2);
    let refused = insert(&store, 9, "one too many").unwrap_err();
    assert!(matches!(refused, WriteError::Store(StoreFault::Overloaded)));
    release.send(()).unwrap();
    waiting.into_iter().for_each(|thread| {
        thread.join().unwrap().unwrap();
    });
    holder.join().unwrap();
    assert_eq!(names(&store), ["n0", "n1"]);
}

#[test]
fn a_unique_violation_is_told_and_rolled_back() {
    let store = temporary();
    insert(&store, 1, "a").unwrap();
    match insert(&store, 2, "a") {
        Err(WriteError::Verb(error)) => assert!(error.is_unique_violation()),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn a_read_sees_one_snapshot_and_cannot_write() {
    let store = temporary();
    insert(&store, 1, "a").unwrap();
    let count = |tx: &store::ReadTx<'_>| {
        tx.query_row("SELECT count(*) FROM item", [], |row| row.get::<_, i64>(0))
    };
    store
        .read(|tx| -> Result<(), SqlError> {
            assert_eq!(count(tx)?, 1);
            insert(&store, 2, "b").unwrap();
            assert_eq!(count(tx)?, 1, "the snapshot stands");
            // A read inside a read takes a connection of its own, with a newer snapshot.
            assert_eq!(store.read(count)?, 2);
            let written = tx.query_optional("DELETE FROM item RETURNING id", [], |row| {
                row.get::<_, i64>(0)
            });
            assert!(written.is_err(), "{written:?}");
            Ok(())
        })
        .unwrap();
    assert_eq!(names(&store), ["a", "b"]);
}

#[test]
fn readers_are_bounded_and_survive_a_panic() {
    let store = Store::open_temporary(
        MIGRATIONS,
        StoreOptions {
            readers_max: 2,
            ..StoreOptions::default()
        },
    )
    .unwrap();
    insert(&store, 1, "a").unwrap();
    for _ in 0..5 {
        let store = store.clone();
        let panicked =
            thread::spawn(move || store.read(|_| -> Result<(), SqlError> { panic!("in a read") }))
                .join();
        assert!(panicked.is_err());
    }
    let barrier = Arc::new(Barrier::new(8));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (store, barrier) = (store.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                (0..100).all(|_| names(&store) == ["a"])
            })
        })
        .collect();
    assert!(readers.into_iter().all(|thread| thread.join().unwrap()));
}

#[test]
fn queries_of_every_form() {
    let store = temporary();
    let id: i64 = store
        .write(|tx| -> Result<_, SqlError> {
            tx.query_row(
                "INSERT INTO item (name) VALUES ($1) RETURNING id",
                params!["a"],
                |row| row.get(0),
            )
        })
        .unwrap();
    insert(&store, id + 1, "b").unwrap();
    store
        .read(|tx| -> Result<(), SqlError> {
            assert!(tx.exists("SELECT 1 FROM item WHERE name = $1", params!["b"])?);
            assert!(!tx.exists("SELECT 1 FROM item WHERE name = $1", params!["c"])?);
            let none = tx.query_row("SELECT id FROM item WHERE name = $1", params!["c"], |row| {
                row.get::<_, i64>(0)
            });
            assert!(matches!(none, Err(SqlError::NoRow)));
            let mut seen = Vec::new();
            let stopped = tx.query_each("SELECT id FROM item ORDER BY id", [], |row| {
                seen.push(row.get::<_, i64>(0)?);
                Err(SqlError::NoRow)
            });
            assert!(matches!(stopped, Err(SqlError::NoRow)));
            assert_eq!(seen, [id]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn asynchronous_writes_share_transactions_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let store = temporary();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..200_i64)
            .map(|id| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .write_async(move |tx| -> Result<_, SqlError> {
                            tx.execute(
                                "INSERT INTO item (id, name) VALUES ($1, $2)",
                                params![id, format!("n{id}")],
                            )
                        })
                        .await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 1);
        }
    });
    assert_eq!(names(&store).len(), 200);
    assert_eq!(store.stats().verbs, 200);
}

#[test]
fn a_caller_that_goes_away_does_not_undo_its_verb() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let store = temporary();
    let (release, holder) = hold_writer(&store);
    runtime.block_on(async {
        let mut write = Box::pin(store.write_async(|tx| -> Result<_, SqlError> {
            tx.execute("INSERT INTO item (id, name) VALUES (1, 'orphan')", [])
        }));
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(write.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
    });
    release.send(()).unwrap();
    holder.join().unwrap();
    store.shut_down();
    assert_eq!(names(&store), ["orphan"]);
}

#[test]
fn shutting_down_finishes_what_waits_and_refuses_the_rest() {
    let store = temporary();
    let (release, holder) = hold_writer(&store);
    let waiting = {
        let store = store.clone();
        thread::spawn(move || insert(&store, 1, "waited"))
    };
    wait_until("a verb waits", || store.stats().waiting == 1);
    let stopper = {
        let store = store.clone();
        thread::spawn(move || store.shut_down())
    };
    wait_until("the store is closed", || {
        let attempt = std::pin::pin!(store.write_async(|_| -> Result<(), SqlError> { Ok(()) }));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        matches!(
            attempt.poll(&mut context),
            std::task::Poll::Ready(Err(WriteError::Store(StoreFault::Closed)))
        )
    });
    assert!(matches!(
        insert(&store, 2, "late"),
        Err(WriteError::Store(StoreFault::Closed))
    ));
    release.send(()).unwrap();
    stopper.join().unwrap();
    holder.join().unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), 1);
    assert_eq!(names(&store), ["waited"], "reading stays possible");
}

#[test]
fn a_store_may_be_dropped_inside_a_verb() {
    let store = temporary();
    let mut last = Some(store.clone());
    let (sent, received) = mpsc::channel();
    thread::spawn(move || {
        let result = store.clone().write(move |_| -> Result<(), SqlError> {
            drop(last.take());
            Ok(())
        });
        drop(store);
        sent.send(result.is_ok()).unwrap();
    });
    assert!(received.recv_timeout(Duration::from_secs(20)).unwrap());
}

#[test]
fn files_are_private_and_locked_against_a_second_opener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path, MIGRATIONS, StoreOptions::default()).unwrap();
    insert(&store, 1, "a").unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.path()
        );
        files += 1;
    }
    assert_eq!(files, 4, "database, log, log index and lock");
    let error = Store::open(&path, MIGRATIONS, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another process"));
    drop(store);
    assert!(
        !folder.path().join("data.db-wal").exists(),
        "the log is folded in on the way out"
    );
    let store = Store::open(&path, MIGRATIONS, StoreOptions::default()).unwrap();
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn an_existing_database_is_upgraded_and_a_newer_or_foreign_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let open = |migrations: &[Migration]| Store::open(&path, migrations, StoreOptions::default());
    insert(&open(MIGRATIONS).unwrap(), 1, "old").unwrap();

    let newer = [
        MIGRATIONS[0],
        Migration::new(2, "colour", "ALTER TABLE item ADD COLUMN colour TEXT;"),
    ];
    let store = open(&newer).unwrap();
    let colour: Option<String> = store
        .read(|tx| -> Result<_, SqlError> {
            tx.query_row("SELECT colour FROM item WHERE name = 'old'", [], |row| {
                row.get(0)
            })
        })
        .unwrap();
    assert_eq!(colour, None);
    drop(store);

    let refused = |error: OpenError, wanted: fn(&MigrationError) -> bool| match error {
        OpenError::Migration { source, .. } => assert!(wanted(&source), "{source:?}"),
        other => panic!("{other:?}"),
    };
    refused(open(MIGRATIONS).unwrap_err(), |error| {
        matches!(
            error,
            MigrationError::DatabaseNewer {
                database: 2,
                program: 1
            }
        )
    });
    let changed = [
        MIGRATIONS[0],
        Migration::new(2, "colour", "ALTER TABLE item ADD COLUMN color TEXT;"),
    ];
    refused(open(&changed).unwrap_err(), |error| {
        matches!(error, MigrationError::Changed { number: 2, .. })
    });

    let foreign = folder.path().join("foreign.db");
    store::rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = Store::open(&foreign, MIGRATIONS, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");

    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is not a database, but long enough to be looked at as one".repeat(20),
    )
    .unwrap();
    let error = Store::open(&text, MIGRATIONS, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Sql { .. }), "{error:?}");

    let error = Store::open(
        folder.path().join("no/such/folder.db"),
        MIGRATIONS,
        StoreOptions::default(),
    )
    .unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[test]
fn a_backup_is_a_private_database_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = temporary();
    insert(&store, 1, "kept").unwrap();
    let target = folder.path().join("backup.db");
    store.backup_to(&target).unwrap();
    insert(&store, 2, "later").unwrap();
    assert_eq!(
        std::fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        matches!(store.backup_to(&target), Err(OpenError::Io { .. })),
        "nothing is overwritten"
    );
    let backup = Store::open(&target, MIGRATIONS, StoreOptions::default()).unwrap();
    assert_eq!(names(&backup), ["kept"]);
}

#[test]
fn the_weaker_durability_is_chosen_by_name_only() {
    assert_eq!(StoreOptions::default().durability, Durability::Full);
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        durability: Durability::InsecureNormal,
        ..StoreOptions::default()
    };
    let store = Store::open(folder.path().join("data.db"), MIGRATIONS, options).unwrap();
    let mode = |store: &Store| {
        store
            .write(|tx| -> Result<i64, SqlError> {
                tx.query_row("PRAGMA synchronous", [], |row| row.get(0))
            })
            .unwrap()
    };
    assert_eq!(mode(&store), 1, "NORMAL");
    drop(store);
    let store = Store::open(
        folder.path().join("data.db"),
        MIGRATIONS,
        StoreOptions::default(),
    )
    .unwrap();
    assert_eq!(mode(&store), 2, "FULL");
}
