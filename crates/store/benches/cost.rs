//! What a read and a write cost, on the disk that temporary folders lie on: `cargo bench -p store`.
#![expect(clippy::unwrap_used, reason = "a measurement reports by panicking")]

use std::thread;
use std::time::Instant;

use store::{Migration, SqlError, Store, StoreOptions, WriteError, params};

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "initial",
    "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);",
)];

fn insert(store: &Store, id: i64, name: &str) -> Result<usize, WriteError<SqlError>> {
    let name = name.to_owned();
    store.write(move |tx| {
        tx.execute(
            "INSERT INTO item (id, name) VALUES ($1, $2)",
            params![id, name],
        )
    })
}

fn main() {
    // `cargo test --all-targets` runs this as well, and measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(
        folder.path().join("data.db"),
        MIGRATIONS,
        StoreOptions::default(),
    )
    .unwrap();
    for id in 0..1000 {
        insert(&store, id, &format!("n{id}")).unwrap();
    }
    let begun = Instant::now();
    for id in 0..100_000_i64 {
        let name: String = store
            .read(|tx| -> Result<_, SqlError> {
                tx.query_row(
                    "SELECT name FROM item WHERE id = $1",
                    params![id % 1000],
                    |row| row.get(0),
                )
            })
            .unwrap();
        assert!(name.starts_with('n'));
    }
    println!("point read: {:?}", begun.elapsed() / 100_000);
    for threads in [1_i64, 8, 64] {
        let (begun, before) = (Instant::now(), store.stats());
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let store = store.clone();
                thread::spawn(move || {
                    for n in 0..6400 / threads {
                        let id = threads * 1_000_000 + thread * 10_000 + n;
                        insert(&store, id, &format!("n{id}")).unwrap();
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let (elapsed, after) = (begun.elapsed(), store.stats());
        println!(
            "{threads} writers: {:.0} verbs/s, {} groups",
            (after.verbs - before.verbs) as f64 / elapsed.as_secs_f64(),
            after.groups - before.groups
        );
    }
}
