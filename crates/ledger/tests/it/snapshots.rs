//! Snapshots: opening is the same with and without, and a wrong one is never taken.
use std::collections::BTreeMap;

use crate::common::{Disk, draft, eid, filled, key};
use ledger::{Checked, Entry, Ledger, OpenError, Unusable, Visitor, check_bundle, verify};
use proptest::prelude::*;

/// An owner that counts entries by device, and can put the counts away.
#[derive(Default, PartialEq, Debug, Clone)]
struct Owner {
    seen: u64,
    counts: BTreeMap<String, u64>,
}

const VERSION: u32 = 3;

impl Owner {
    fn state(&self) -> Vec<u8> {
        serde_json::to_vec(&(self.seen, &self.counts)).unwrap()
    }
}

impl Visitor for Owner {
    fn restore(&mut self, size: u64, version: u32, state: &[u8]) -> bool {
        if version != VERSION {
            return false;
        }
        (self.seen, self.counts) = serde_json::from_slice(state).unwrap();
        assert_eq!(self.seen, size);
        true
    }

    fn visit(&mut self, entry: &Entry) {
        assert_eq!(entry.number, self.seen);
        self.seen += 1;
        if let Some(eid) = entry.eid() {
            *self.counts.entry(eid.to_string()).or_default() += 1;
        }
    }
}

fn open(disk: Disk) -> (Ledger<Disk>, Owner) {
    let mut owner = Owner::default();
    let ledger = Ledger::open(disk, key(), None, &mut owner).unwrap();
    (ledger, owner)
}

/// What replaying everything gives.
fn replayed(disk: &Disk) -> Owner {
    let mut owner = Owner::default();
    let report = verify(disk, key().public(), None, &mut |entry| owner.visit(entry));
    assert!(report.is_good(), "{report}");
    owner
}

/// 300 entries, a snapshot, 20 more, a snapshot, 7 more: sizes 301, 303 behind the first, 324, 326, 334.
fn disk() -> Disk {
    let mut ledger = filled(&[300], 11);
    for (first, count) in [(300, 20), (320, 7)] {
        let (_, owner) = open(ledger.files().after_kill());
        assert_eq!(owner.seen, ledger.size());
        ledger.snapshot(VERSION, &owner.state()).unwrap();
        ledger
            .append((first..first + count).map(|i| draft(i, 11)).collect())
            .unwrap();
        ledger.publish().unwrap();
    }
    assert_eq!(ledger.size(), 334);
    ledger.into_files().after_kill()
}

#[test]
fn the_newest_snapshot_is_restored() {
    let disk = disk();
    let (mut ledger, owner) = open(disk.clone());
    let opening = ledger.opening();
    assert_eq!(opening.restored, Some(324));
    assert_eq!(opening.visited, 334 - 324);
    assert_eq!(opening.entries, 334);
    assert_eq!(opening.unusable, []);
    assert_eq!(owner, replayed(&disk));
    // The chains of devices were restored as well: the ledger goes on and proves histories.
    ledger
        .append((400..420).map(|i| draft(i, 11)).collect())
        .unwrap();
    let bundle = ledger.history(eid(3), &[]).unwrap().to_json();
    let Checked::History(history) = check_bundle(bundle.as_bytes(), key().public()).unwrap() else {
        panic!()
    };
    assert_eq!(history.entries.len(), ledger.numbers(eid(3)).len());
    let report = verify(ledger.files(), key().public(), None, &mut |_| {});
    assert!(report.is_good(), "{report}");
}

#[test]
fn an_altered_or_missing_snapshot_is_not_taken_and_said_so() {
    let clean = disk();
    let wanted = replayed(&clean);
    // The second was written to the other file.
    let newest = ".snapshot.1";
    let length = clean.get(newest).unwrap().len();
    for at in (0..length).step_by(length / 40) {
        let mut disk = clean.clone();
        let mut octets = disk.get(newest).unwrap();
        octets[at] ^= 4;
        disk.set(newest, octets);
        let (ledger, owner) = open(disk);
        assert_eq!(owner, wanted, "{at}");
        assert_eq!(ledger.opening().restored, Some(301), "{at}: the one before");
        assert!(!ledger.opening().unusable.is_empty(), "{at}");
    }
    let mut disk = clean.clone();
    let mut octets = disk.get(newest).unwrap();
    octets.pop();
    disk.set(newest, octets);
    assert_eq!(
        open(disk).0.opening().unusable,
        [Unusable::Damaged(newest), Unusable::Missing { entry: 324 }]
    );

    let mut disk = clean.clone();
    disk.delete(newest);
    let (ledger, owner) = open(disk.clone());
    assert_eq!(owner, wanted);
    assert_eq!(ledger.opening().restored, Some(301));
    assert_eq!(
        ledger.opening().unusable,
        [Unusable::Missing { entry: 324 }]
    );
    disk.delete(".snapshot.0");
    let (ledger, owner) = open(disk.clone());
    assert_eq!(owner, wanted);
    assert_eq!(ledger.opening().restored, None);
    assert_eq!(ledger.opening().visited, 334);
    assert_eq!(
        ledger.opening().unusable,
        [Unusable::Missing { entry: 324 }]
    );

    // One of another history of the same ledger's key.
    let mut other = filled(&[299, 0], 12);
    other.append(vec![draft(1, 12)]).unwrap();
    other.snapshot(VERSION, &Owner::default().state()).unwrap();
    let mut disk = clean;
    disk.set(newest, other.into_files().get(".snapshot.0").unwrap());
    let (ledger, owner) = open(disk);
    assert_eq!(owner, wanted);
    assert!(matches!(
        ledger.opening().unusable[..],
        [
            Unusable::Unrecorded { entry: 301, .. },
            Unusable::Missing { entry: 324 }
        ]
    ));
}

#[test]
fn an_owner_may_refuse_a_snapshot() {
    let mut ledger = filled(&[30], 3);
    ledger.snapshot(VERSION + 1, b"of a later version").unwrap();
    let disk = ledger.into_files().after_kill();
    let (mut ledger, owner) = open(disk.clone());
    assert_eq!(owner, replayed(&disk));
    assert_eq!(ledger.opening().restored, None);
    assert_eq!(
        ledger.opening().unusable,
        [Unusable::Refused {
            size: 31,
            version: VERSION + 1
        }]
    );
    ledger.snapshot(VERSION, &replayed(&disk).state()).unwrap();
}

/// With a snapshot, entries before it are not decoded. An alteration there is found and named all the same.
#[test]
fn entries_behind_a_snapshot_are_still_verified() {
    for number in [0u64, 255, 299, 301, 323, 324, 333] {
        let mut disk = disk();
        let path = ledger::layout::bundle_path(number / 256, 256.min(334 - number / 256 * 256));
        let mut bundle = disk.get(&path).unwrap();
        let mut at = 0;
        for _ in 0..number % 256 {
            at += 2 + (usize::from(bundle[at]) << 8 | usize::from(bundle[at + 1]));
        }
        bundle[at + 14] ^= 1;
        disk.set(&path, bundle);
        let error = Ledger::open(disk, key(), None, &mut Owner::default()).unwrap_err();
        let OpenError::Unsound(report) = error else {
            panic!("{error}")
        };
        assert!(
            matches!(report.findings[..], [ledger::Finding::Altered { number: found }] if found == number),
            "{number}: {report}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is appended, published, kept and reopened in whatever order: the state is the one of a full replay.
    #[test]
    fn the_state_is_that_of_a_full_replay(
        steps in prop::collection::vec((0u8..5, 1u64..60), 1..14),
        devices in 1u64..9,
    ) {
        let mut ledger = Ledger::create(Disk::default(), key()).unwrap();
        let mut next = 0;
        for (step, count) in steps {
            match step {
                0 | 1 => {
                    ledger.append((next..next + count).map(|i| draft(i, devices)).collect()).unwrap();
                    next += count;
                }
                2 => drop(ledger.publish().unwrap().clone()),
                3 => {
                    ledger.publish().unwrap();
                    let owner = replayed(ledger.files());
                    ledger.snapshot(VERSION, &owner.state()).unwrap();
                }
                _ => {
                    let remembered = ledger.checkpoint().clone();
                    let mut owner = Owner::default();
                    ledger = Ledger::open(ledger.into_files(), key(), Some(&remembered), &mut owner).unwrap();
                    // The heads recorded by opening come after what was visited.
                    let mut all = replayed(ledger.files());
                    all.seen = owner.seen;
                    prop_assert_eq!(owner, all);
                    prop_assert!(ledger.opening().unusable.is_empty());
                }
            }
        }
    }
}
