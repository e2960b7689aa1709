//! How fast it is, on a real folder. `cargo test --release -p ledger --test it -- speed --ignored --nocapture` prints it.
use std::path::PathBuf;
use std::time::Instant;

use crate::common::{draft, eid, key};
use ledger::{FolderStore, Ledger, check_bundle, verify};

const ENTRIES: u64 = 100_000;
const DEVICES: u64 = 10_000;

#[test]
#[ignore = "takes a while and asserts nothing about speed"]
fn replay_and_append() {
    // LEDGER_FOLDER keeps the ledger, for other tools to look at.
    let temporary = tempfile::tempdir().unwrap();
    let folder =
        std::env::var_os("LEDGER_FOLDER").map_or(temporary.path().to_owned(), PathBuf::from);
    println!("public key: {}", key().public());
    let store = FolderStore::exclusive(&folder).unwrap();
    let mut ledger = Ledger::create(store, key()).unwrap();

    let start = Instant::now();
    for batch in 0..ENTRIES / 1_000 {
        let drafts = (batch * 1_000..(batch + 1) * 1_000).map(|i| draft(i, DEVICES));
        ledger.append(drafts.collect()).unwrap();
    }
    report("append, 1,000 in a checkpoint", ENTRIES, start);

    for at_once in [1, 10, 100] {
        let start = Instant::now();
        let mut next = ENTRIES;
        for _ in 0..200 {
            let drafts = (next..next + at_once).map(|i| draft(i, DEVICES));
            ledger.append(drafts.collect()).unwrap();
            next += at_once;
        }
        report(
            &format!("append, {at_once} in a checkpoint"),
            200 * at_once,
            start,
        );
        println!("  {:?} for each checkpoint", start.elapsed() / 200);
    }

    let size = ledger.checkpoint().size();
    let start = Instant::now();
    let bundle = ledger.history(eid(5)).unwrap().to_json();
    println!(
        "bundle of one device: {} octets in {:?}",
        bundle.len(),
        start.elapsed()
    );
    let start = Instant::now();
    let history = check_bundle(bundle.as_bytes(), key().public()).unwrap();
    println!(
        "checking its {} entries: {:?}",
        history.entries.len(),
        start.elapsed()
    );

    let remembered = ledger.checkpoint().clone();
    drop(ledger);
    let start = Instant::now();
    let store = FolderStore::exclusive(&folder).unwrap();
    let mut replayed = 0;
    let ledger = Ledger::open(store, key(), Some(&remembered), &mut |_| replayed += 1).unwrap();
    report("open: replay and verify", size, start);
    assert_eq!(replayed, size);
    drop(ledger);

    let start = Instant::now();
    let found = verify(
        &FolderStore::reader(&folder),
        key().public(),
        Some(&remembered),
        &mut |_| {},
    );
    report("verify offline", size, start);
    assert!(found.is_good(), "{found}");
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {count} entries in {seconds:.2} s, {:.0} a second",
        count as f64 / seconds
    );
}
