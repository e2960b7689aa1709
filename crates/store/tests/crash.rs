//! Kills a process in the middle of its writes and looks for every write that it had acknowledged.
#![expect(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use store::{Migration, SqlError, Store, StoreOptions, params};

const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "initial",
    "CREATE TABLE entry (round INTEGER NOT NULL, writer INTEGER NOT NULL, number INTEGER NOT NULL,
                         PRIMARY KEY (round, writer, number));
     CREATE TABLE total (round INTEGER NOT NULL, writer INTEGER NOT NULL, entries INTEGER NOT NULL,
                         PRIMARY KEY (round, writer));",
)];
const PATH: &str = "PALISADE_STORE_CRASH_TEST_PATH";
const ROUND: &str = "PALISADE_STORE_CRASH_TEST_ROUND";
const WRITERS: i64 = 4;
const ROUNDS: i64 = 6;

#[test]
fn every_acknowledged_write_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let mut acknowledged: Vec<(i64, i64, i64)> = Vec::new();
    let mut random = 0x5eed_u64;
    for round in 0..ROUNDS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let lines = 20 + (random >> 33) % 400;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes", "--nocapture"])
            .env(PATH, &path)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            // The rest of a line that the kill cut off was not said, so it counts for nothing.
            if let Some(entry) = line
                .strip_suffix('\n')
                .and_then(|line| line.strip_prefix("ack "))
            {
                let mut numbers = entry
                    .split(' ')
                    .map(|number| number.parse::<i64>().unwrap());
                let (writer, number) = (numbers.next().unwrap(), numbers.next().unwrap());
                acknowledged.push((round, writer, number));
                seen += 1;
                if seen == lines {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        assert!(
            seen >= lines,
            "round {round}: the child ended by itself with {status}"
        );
        check(&path, &acknowledged);
    }
}

fn check(path: &Path, acknowledged: &[(i64, i64, i64)]) {
    let store = Store::open(path, MIGRATIONS, StoreOptions::default()).unwrap();
    store
        .read(|tx| -> Result<(), SqlError> {
            for (round, writer, number) in acknowledged {
                let found = tx.exists(
                    "SELECT 1 FROM entry WHERE round = $1 AND writer = $2 AND number = $3",
                    params![round, writer, number],
                )?;
                assert!(
                    found,
                    "write {number} of writer {writer} in round {round} is lost"
                );
            }
            // Each verb wrote to both tables, so they agree in any state that a crash may leave.
            let torn: i64 = tx.query_row(
                "SELECT count(*) FROM total WHERE entries <> (SELECT count(*) FROM entry
                     WHERE entry.round = total.round AND entry.writer = total.writer)",
                [],
                |row| row.get(0),
            )?;
            assert_eq!(torn, 0, "a verb is there by half");
            let integrity: String = tx.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            assert_eq!(integrity, "ok");
            Ok(())
        })
        .unwrap();
}

/// Not a test by itself: the process that is killed.
#[test]
fn child_that_writes() {
    let (Ok(path), Ok(round)) = (std::env::var(PATH), std::env::var(ROUND)) else {
        return;
    };
    let round: i64 = round.parse().unwrap();
    let store = Store::open(path, MIGRATIONS, StoreOptions::default()).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            thread::spawn(move || {
                for number in 1.. {
                    store
                        .write(move |tx| -> Result<_, SqlError> {
                            tx.execute(
                                "INSERT INTO entry VALUES ($1, $2, $3)",
                                params![round, writer, number],
                            )?;
                            tx.execute(
                                "INSERT INTO total VALUES ($1, $2, 1)
                                 ON CONFLICT (round, writer) DO UPDATE SET entries = entries + 1",
                                params![round, writer],
                            )
                        })
                        .unwrap();
                    // One write call for each line, so that a line is whole or absent.
                    let line = format!("ack {writer} {number}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    writers
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}
