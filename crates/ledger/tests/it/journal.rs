//! The journal of a stopped ledger: what is altered, moved or left out in it is found and named.
use crate::common::{Disk, draft, filled, key};
use ledger::{Checkpoint, Entry, Finding, Ledger, OpenError, Opening, Report, SigningKey, verify};

const PAGE: usize = 4096;

/// 300 published entries with their heads, and behind them commits of 1, 2, 30 and 1 entries, which nobody published.
fn disk() -> Disk {
    let mut ledger = filled(&[300], 11);
    for (first, count) in [(300, 1), (301, 2), (303, 30), (333, 1)] {
        let drafts = (first..first + count).map(|i| draft(i, 11)).collect();
        ledger.append(drafts).unwrap();
    }
    assert_eq!((ledger.size(), ledger.unpublished()), (335, 34));
    ledger.into_files().after_kill()
}

/// The file that the unpublished commits are in, and the one before.
const CURRENT: &str = ".journal.1";
const BEFORE: &str = ".journal.0";

/// Where the frames begin: the first without entries, 1, 2, 30 and 1.
const FRAMES: [usize; 6] = [0, PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE, 6 * PAGE];

fn open(disk: &Disk) -> Result<Opening, Box<Report>> {
    match Ledger::open(disk.after_kill(), key(), None, &mut |_: &Entry| {}) {
        Ok(ledger) => Ok(ledger.opening().clone()),
        Err(OpenError::Unsound(report)) => Err(report),
        Err(error) => panic!("{error}"),
    }
}

/// Changes the journal; gives what opening and verifying find, which is the same.
fn altered(change: impl FnOnce(&mut Vec<u8>)) -> Finding {
    let mut disk = disk();
    let mut journal = disk.get(CURRENT).unwrap();
    change(&mut journal);
    disk.set(CURRENT, journal);
    found(&disk)
}

fn found(disk: &Disk) -> Finding {
    let mut offline = verify(disk, key().public(), None, &mut |_| {});
    let mut report = open(disk).unwrap_err();
    assert_eq!(report.to_string(), offline.to_string());
    assert_eq!(offline.findings.len(), 1, "{offline}");
    assert!(report.findings.pop().is_some());
    offline.findings.pop().unwrap()
}

fn is_altered(finding: &Finding, wanted: u64) {
    assert!(
        matches!(finding, Finding::JournalAltered { from, path } if *from == wanted && path == CURRENT),
        "{wanted}: {finding}"
    );
}

#[test]
fn an_untouched_journal_is_good() {
    let disk = disk();
    assert_eq!(disk.get(CURRENT).unwrap().len(), FRAMES[5]);
    let report = verify(&disk, key().public(), None, &mut |_| {});
    assert!(report.is_good(), "{report}");
    assert_eq!((report.entries, report.journaled), (301, Some(34)));
    let text = report.to_string();
    assert!(text.ends_with("; 34 more in the journal"), "{text}");
    let opening = open(&disk).unwrap();
    assert_eq!((opening.entries, opening.journaled), (335, 34));
    assert!(!opening.torn);
    // A copy of what is published needs no journal to be verified.
    let mut published = disk;
    published.delete(CURRENT);
    published.delete(BEFORE);
    let report = verify(&published, key().public(), None, &mut |_| {});
    assert!(report.is_good() && report.journaled.is_none(), "{report}");
}

/// Every octet that was written counts, in every commit that has another behind it.
#[test]
fn every_flipped_bit_is_found_and_named() {
    let first = [301, 301, 302, 304];
    for (frame, first) in first.into_iter().enumerate() {
        let (start, end) = (FRAMES[frame], FRAMES[frame + 1]);
        for step in 0..12 {
            // All of what stands before the entries, and some of those. Behind them is padding, which says nothing.
            let length = if frame == 0 {
                128
            } else {
                250.min(end - start)
            };
            let at = start + step * (length - 1) / 11;
            is_altered(&altered(|journal| journal[at] ^= 1 << (step % 8)), first);
        }
    }
}

#[test]
fn commits_taken_out_or_moved_are_named() {
    let zeroed = altered(|journal| journal[FRAMES[1]..FRAMES[2]].fill(0));
    is_altered(&zeroed, 301);
    let removed = altered(|journal| drop(journal.drain(FRAMES[2]..FRAMES[3])));
    is_altered(&removed, 302);
    let swapped = altered(|journal| {
        let (one, two) = journal.split_at_mut(FRAMES[2]);
        one[FRAMES[1]..].swap_with_slice(&mut two[..PAGE]);
    });
    is_altered(&swapped, 301);
    let repeated = altered(|journal| journal.copy_within(FRAMES[1]..FRAMES[2], FRAMES[2]));
    is_altered(&repeated, 302);
    let appended = altered(|journal| journal.extend_from_within(FRAMES[1]..FRAMES[2]));
    is_altered(&appended, 335);
    let beheaded = altered(|journal| journal[..PAGE].fill(0));
    is_altered(&beheaded, 301);
}

/// The end of a journal says nothing about what was cut off behind it: that is a disk put back to an earlier moment. It is
/// dropped like a commit that a crash left half written, and said so when it can be told.
#[test]
fn a_cut_off_end_is_dropped_and_nothing_else() {
    for (end, torn, left) in [
        (FRAMES[4], false, 33),
        (FRAMES[4] + 60, true, 33),
        (FRAMES[3] + PAGE, true, 3),
        (FRAMES[1], false, 0),
    ] {
        let mut disk = disk();
        let mut journal = disk.get(CURRENT).unwrap();
        journal.truncate(end);
        disk.set(CURRENT, journal);
        let opening = open(&disk).unwrap();
        assert_eq!((opening.torn, opening.journaled), (torn, left), "{end}");
    }
}

#[test]
fn a_journal_that_is_not_there_is_missed() {
    let mut disk = disk();
    disk.delete(CURRENT);
    assert!(matches!(
        found(&disk),
        Finding::JournalMissing { size: 301 }
    ));
    disk.delete(BEFORE);
    let report = open(&disk).unwrap_err();
    assert!(
        matches!(report.findings[..], [Finding::JournalMissing { size: 301 }]),
        "{report}"
    );
}

#[test]
fn the_journal_of_another_time_is_refused() {
    let current = disk();
    // An older one in its place: the generation before.
    let mut old = current.clone();
    old.set(CURRENT, current.get(BEFORE).unwrap());
    assert!(matches!(found(&old), Finding::JournalMissing { size: 301 }));

    // The checkpoint before put back, without a remembered one. The journal still holds all that came behind it, so that
    // nothing is taken back: the same history is published again.
    let mut ledger = Ledger::open(current.clone(), key(), None, &mut |_: &Entry| {}).unwrap();
    assert_eq!(ledger.size(), 336);
    ledger.append(vec![draft(340, 11)]).unwrap();
    let mut disk = ledger.into_files();
    disk.set("checkpoint", current.get("checkpoint").unwrap());
    let opening = open(&disk).unwrap();
    assert_eq!((opening.entries, opening.journaled), (337, 36));

    // One from before that.
    disk.set(
        "checkpoint",
        filled(&[200], 11).checkpoint().note().to_vec(),
    );
    let report = open(&disk).unwrap_err();
    assert!(
        report.findings.iter().any(|finding| matches!(
            finding,
            Finding::JournalAhead {
                journal: 336,
                found: 201
            }
        )),
        "{report}"
    );
}

#[test]
fn the_journal_of_another_history_is_refused() {
    // The same key and the same number of entries, which are others.
    let mut fork = filled(&[300], 12);
    fork.append(vec![draft(300, 12)]).unwrap();
    let fork = fork.into_files();
    let mut disk = disk();
    disk.set(CURRENT, fork.get(CURRENT).unwrap());
    let finding = found(&disk);
    assert!(
        matches!(finding, Finding::JournalForked { size: 301, .. }),
        "{finding}"
    );

    // Another key.
    let other = SigningKey::from_seed("ledger.test/log", &[1; 32]).unwrap();
    let mut ledger = Ledger::create(Disk::default(), other).unwrap();
    ledger.append(vec![draft(0, 1)]).unwrap();
    disk.set(CURRENT, ledger.into_files().get(BEFORE).unwrap());
    assert!(matches!(
        found(&disk),
        Finding::JournalMissing { size: 301 }
    ));
}

/// A disk put back to a moment before the checkpoint that is remembered: all files of that moment, the journal's too.
#[test]
fn a_disk_put_back_is_found_with_a_remembered_checkpoint() {
    let before = disk();
    let mut ledger = Ledger::open(before.clone(), key(), None, &mut |_: &Entry| {}).unwrap();
    let remembered: Checkpoint = ledger.publish().unwrap().clone();
    assert_eq!(remembered.size(), 336);
    let error = Ledger::open(before, key(), Some(&remembered), &mut |_: &Entry| {}).unwrap_err();
    let OpenError::Unsound(report) = error else {
        panic!("{error}")
    };
    assert!(
        matches!(
            report.findings[..],
            [Finding::RolledBack {
                remembered: 336,
                found: 301
            }]
        ),
        "{report}"
    );
}

/// Between two commits of a publication that another thread wrote and did not finish, heads are recorded.
#[test]
fn what_was_appended_while_publishing_is_checked_too() {
    let mut ledger = filled(&[300], 11);
    ledger
        .append((300..310).map(|i| draft(i, 11)).collect())
        .unwrap();
    let publication = ledger.begin().unwrap().unwrap();
    assert!(ledger.begin().is_err(), "one at a time");
    assert!(ledger.snapshot(1, b"").is_err());
    let appended = ledger
        .append((310..315).map(|i| draft(i, 11)).collect())
        .unwrap();
    assert_eq!(appended.entries[0].number, 312);
    assert_eq!(publication.checkpoint().size(), 312);
    let disk = ledger.into_files().after_kill();
    let report = verify(&disk, key().public(), None, &mut |_| {});
    assert!(report.is_good(), "{report}");
    assert_eq!((report.entries, report.journaled), (301, Some(16)));
    let mut visited = 0;
    let opened = Ledger::open(disk.clone(), key(), None, &mut |entry: &Entry| {
        assert_eq!(entry.number, visited);
        visited += 1;
    });
    let opened = opened.unwrap();
    assert_eq!((visited, opened.size()), (317, 318));
    assert_eq!(opened.reader().entry(312).unwrap(), appended.entries[0]);

    // The generation behind the heads was begun for another history.
    let mut fork = filled(&[300], 11);
    fork.append((400..410).map(|i| draft(i, 11)).collect())
        .unwrap();
    let _publication = fork.begin().unwrap();
    let fork = fork.into_files();
    let mut forged = disk.clone();
    forged.set(BEFORE, fork.get(BEFORE).unwrap());
    assert!(matches!(
        found(&forged),
        Finding::JournalForked { size: 312, .. }
    ));
    // The commits in front of the heads cut off.
    let mut cut = disk;
    let mut journal = cut.get(CURRENT).unwrap();
    journal.truncate(PAGE);
    cut.set(CURRENT, journal);
    is_altered(&found(&cut), 301);
}
