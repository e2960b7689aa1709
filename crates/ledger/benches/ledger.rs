//! How fast the ledger is: `cargo bench -p ledger`. With a number behind it, `cargo bench -p ledger -- 1000000`, that many
//! entries are opened and verified instead of 100,000.
//!
//! Floors are measured in the same run: the disk's sync, hashing, signing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement reports by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use ledger::{
    Checked, Draft, Entry, Files, FolderStore, Hash, Ledger, ReadFiles, SigningKey, Visitor,
    check_bundle, verify,
};
use rsp::ids::Eid;
use serde_json::json;

const DEVICES: u64 = 100_000;

fn main() {
    // Cargo adds arguments of its own.
    let entries = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(100_000);
    floors();
    cpu();
    durable();
    opening(entries);
}

fn floors() {
    println!("floors");
    let octets = draft(0).encoded_length();
    println!("  an entry has some {octets} octets");
    let block = vec![b'x'; octets];
    let mut sum = 0u8;
    let each = time(200_000, || sum ^= Hash::of_leaf(&block).0[0]);
    println!("  hashing one: {each:?} ({sum})");
    let folder = tempfile::tempdir().unwrap();
    let mut files = FolderStore::exclusive(folder.path()).unwrap();
    let page = vec![1; 4096];
    for (what, step) in [("growing", 4096), ("overwriting", 0)] {
        let mut offset = 0;
        let mut taken = samples(200, || {
            files.write_at("a", offset, &page).unwrap();
            files.sync("a").unwrap();
            offset += step;
        });
        println!(
            "  writing and syncing a block, {what}: {}",
            spread(&mut taken)
        );
    }
}

/// What appending and publishing cost apart from the disk.
fn cpu() {
    println!("CPU of an entry, nothing on a disk, {DEVICES} devices");
    for at_once in [1, 10, 100, 1_000] {
        let mut ledger = Ledger::create(Memory::default(), key()).unwrap();
        let mut next = 0;
        // Every device has an entry before it is measured.
        while next < DEVICES {
            ledger.append(drafts(&mut next, 1_000)).unwrap();
        }
        ledger.publish().unwrap();
        let (mut appending, mut publishing, mut count) = (Duration::ZERO, Duration::ZERO, 0);
        while count < 50_000 {
            let batch = drafts(&mut next, at_once);
            let start = Instant::now();
            let appended = ledger.append(batch).unwrap();
            appending += start.elapsed();
            count += at_once;
            drop(appended);
            if ledger.unpublished() >= 1_000 {
                let start = Instant::now();
                ledger.publish().unwrap();
                publishing += start.elapsed();
            }
        }
        let each = |total: Duration| total / u32::try_from(count).unwrap();
        println!(
            "  {at_once} at once: append {:?}, publish (every 1,000) {:?}",
            each(appending),
            each(publishing)
        );
    }
}

/// How long it takes until entries survive a power cut.
fn durable() {
    println!("durable appends");
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::exclusive(folder.path()).unwrap();
    let mut ledger = Ledger::create(store, key()).unwrap();
    let mut next = 0;
    for at_once in [1, 10, 100] {
        let mut batches: Vec<_> = (0..300).map(|_| drafts(&mut next, at_once)).collect();
        let start = Instant::now();
        let mut taken = samples(300, || {
            ledger.append(batches.pop().unwrap()).unwrap();
        });
        let rate = 300.0 * at_once as f64 / start.elapsed().as_secs_f64();
        println!(
            "  {at_once} at once: {}; {rate:.0} entries a second",
            spread(&mut taken)
        );
        let mut taken = samples(10, || {
            ledger.append(drafts(&mut next, 1_000)).unwrap();
            let start = Instant::now();
            ledger.publish().unwrap();
            let _ = start;
        });
        println!("  append and publish 1,000: {}", spread(&mut taken));
    }
    let mut taken = samples(10, || {
        ledger.append(drafts(&mut next, 1_000)).unwrap();
        let publication = ledger.begin().unwrap().unwrap();
        let mut files = ledger.files().companion();
        let published = publication.write(&mut files).unwrap();
        ledger.finish(published);
    });
    println!("  the same with a second handle: {}", spread(&mut taken));
}

fn opening(entries: u64) {
    println!("opening and verifying {entries} entries, {DEVICES} devices");
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::exclusive(folder.path()).unwrap();
    let mut ledger = Ledger::create(store, key()).unwrap();
    let mut next = 0;
    let start = Instant::now();
    while next < entries {
        ledger.append(drafts(&mut next, 1_000)).unwrap();
        if next.is_multiple_of(10_000) {
            ledger.publish().unwrap();
        }
    }
    ledger.publish().unwrap();
    println!("  written in {:?}", start.elapsed());
    let size = ledger.size();
    drop(ledger);

    let rate = |elapsed: Duration| size as f64 / elapsed.as_secs_f64();
    let open = |visitor: &mut dyn Visitor| {
        let store = FolderStore::exclusive(folder.path()).unwrap();
        let start = Instant::now();
        let ledger = Ledger::open(store, key(), None, visitor).unwrap();
        (ledger, start.elapsed())
    };
    let (mut ledger, elapsed) = open(&mut |_: &Entry| {});
    println!(
        "  open, replaying everything: {elapsed:?}, {:.0} a second",
        rate(elapsed)
    );
    let state = vec![7; 20 * 1024 * 1024];
    let start = Instant::now();
    ledger.snapshot(1, &state).unwrap();
    println!("  a snapshot of 20 MiB: {:?}", start.elapsed());
    drop(ledger);
    let (mut ledger, elapsed) = open(&mut Taker);
    assert_eq!(ledger.opening().visited, 2);
    println!(
        "  open with a snapshot: {elapsed:?}, {:.0} a second",
        rate(elapsed)
    );

    let start = Instant::now();
    let json = ledger.history(eid(5), &[]).unwrap().to_json();
    let made = start.elapsed();
    let start = Instant::now();
    let Checked::History(history) = check_bundle(json.as_bytes(), key().public()).unwrap() else {
        unreachable!()
    };
    println!(
        "  bundle of {} entries, {} octets: made in {made:?}, checked in {:?}",
        history.entries.len(),
        json.len(),
        start.elapsed()
    );
    drop(ledger);
    let files = FolderStore::reader(folder.path());
    let start = Instant::now();
    let report = verify(&files, key().public(), None, &mut |_| {});
    assert!(report.is_good(), "{report}");
    let elapsed = start.elapsed();
    println!(
        "  verify offline: {elapsed:?}, {:.0} a second",
        rate(elapsed)
    );
}

/// Takes every snapshot.
struct Taker;

impl Visitor for Taker {
    fn restore(&mut self, _: u64, _: u32, _: &[u8]) -> bool {
        true
    }

    fn visit(&mut self, _: &Entry) {}
}

fn key() -> SigningKey {
    SigningKey::from_seed("ledger.test/log", &[42; 32]).unwrap()
}

fn eid(index: u64) -> Eid {
    Eid::with_check_digits(&format!("89{index:028}")).unwrap()
}

/// As the authority writes most often: a package ordered for a device.
fn draft(index: u64) -> Draft {
    Draft {
        at: 1_790_000_000_000 + index,
        kind: "package.ordered".parse().unwrap(),
        // Spread, so that neighbours share nothing.
        device: Some(eid(index * 7_919 % DEVICES)),
        actor: "machine:ci-runner".parse().unwrap(),
        body: json!({
            "counter": index,
            "intent": "Yp1Tn1kXx0mJ9r7c3v0o3n0m0f4m2uN3Jx5lYB1x0aQ=",
            "package": "v1E0gYCQBIkESQMhIxRRI0Uxgw==".repeat(12),
            "reference": format!("operation-{index}"),
        }),
    }
}

trait EncodedLength {
    fn encoded_length(self) -> usize;
}

impl EncodedLength for Draft {
    fn encoded_length(self) -> usize {
        let mut ledger = Ledger::create(Memory::default(), key()).unwrap();
        let appended = ledger.append(vec![self]).unwrap();
        appended.entries[0].encode().unwrap().len()
    }
}

fn drafts(next: &mut u64, count: u64) -> Vec<Draft> {
    let first = *next;
    *next += count;
    (first..*next).map(draft).collect()
}

fn time(times: u32, mut what: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        what();
    }
    start.elapsed() / times
}

fn samples(times: usize, mut what: impl FnMut()) -> Vec<Duration> {
    (0..times)
        .map(|_| {
            let start = Instant::now();
            what();
            start.elapsed()
        })
        .collect()
}

fn spread(taken: &mut [Duration]) -> String {
    taken.sort_unstable();
    let at = |share: usize| taken[(taken.len() - 1) * share / 100];
    format!("median {:?}, 99 % {:?}", at(50), at(99))
}

/// Files in memory.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
}

impl ReadFiles for Memory {
    fn read(&self, path: &str, _: usize) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.get(path).cloned())
    }
}

impl Files for Memory {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        Ok(self.folders.insert(path.to_owned()))
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        self.files.insert(path.to_owned(), octets.to_vec());
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        let file = self.files.entry(path.to_owned()).or_default();
        let offset = usize::try_from(offset).unwrap();
        let end = offset + octets.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(octets);
        Ok(())
    }

    fn sync(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.files.remove(path);
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.files.retain(|name, _| !name.starts_with(path));
        self.folders.remove(path);
        Ok(())
    }
}
