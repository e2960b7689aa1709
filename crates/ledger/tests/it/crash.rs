//! Killed or without power at any step, and again while it is opened: nothing acknowledged is lost or changes its place,
//! nothing published is taken back.
use std::rc::Rc;

use crate::common::{Disk, Shared, draft, filled, key};
use ledger::{
    Checkpoint, Entry, Ledger, OpenError, Publication, Published, ReadFiles, Visitor, verify,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How power cuts end for one crash point: decisions are drawn anew for each.
const CUTS: u64 = 2;

/// What a process does before it is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u64),
    Publish,
    Begin,
    Write,
    Finish,
    Snapshot,
}

use Step::{Append, Begin, Finish, Publish, Snapshot, Write};

/// What a process did.
#[derive(Default)]
struct Done {
    /// Entries acknowledged, and perhaps one batch more that was under way.
    acknowledged: Vec<Entry>,
    under_way: u64,
}

/// An owner whose state is the numbers and kinds it has seen, and which can put it away.
#[derive(Default, Clone, PartialEq, Debug)]
struct Owner {
    seen: Vec<Entry>,
    restored: bool,
}

impl Visitor for Owner {
    fn restore(&mut self, size: u64, version: u32, state: &[u8]) -> bool {
        assert_eq!(version, 7);
        let (entries, _) = state.as_chunks::<8>();
        self.seen = entries
            .iter()
            .map(|number| placeholder(u64::from_be_bytes(*number)))
            .collect();
        assert_eq!(self.seen.len() as u64, size);
        self.restored = true;
        true
    }

    fn visit(&mut self, entry: &Entry) {
        assert_eq!(entry.number, self.seen.len() as u64);
        self.seen.push(entry.clone());
    }
}

/// What a state remembers of an entry.
fn placeholder(number: u64) -> Entry {
    let draft = draft(number, 1);
    Entry {
        number,
        at: draft.at,
        kind: draft.kind,
        device: None,
        actor: draft.actor,
        body: draft.body,
    }
}

#[test]
fn whatever_is_under_way_nothing_is_lost() {
    // The first entries; within a tile; over its end, from afar, and filling it exactly; several commits in a generation
    // and over generations; appending while another thread publishes; snapshots.
    let scripts: &[(u64, &[Step])] = &[
        (0, &[Append(1), Publish]),
        (3, &[Append(2), Append(1), Publish, Append(1)]),
        (250, &[Append(20), Publish]),
        (40, &[Append(230), Publish, Append(3), Publish, Append(1)]),
        (253, &[Append(1), Publish]),
        (
            5,
            &[
                Append(2),
                Begin,
                Append(3),
                Write,
                Append(1),
                Finish,
                Append(1),
                Publish,
            ],
        ),
        (
            250,
            &[
                Append(9),
                Begin,
                Write,
                Append(3),
                Finish,
                Begin,
                Append(1),
                Write,
            ],
        ),
        (
            4,
            &[
                Append(1),
                Snapshot,
                Append(2),
                Snapshot,
                Append(1),
                Snapshot,
            ],
        ),
    ];
    let (mut crashes, mut opened) = (0, 0);
    for (before, script) in scripts {
        let start = filled(&[*before], 5).into_files().after_kill();
        let (done, whole) = run(start.clone(), script, usize::MAX);
        assert_eq!(done.under_way, 0, "{script:?}");
        let steps = whole.operations;
        for killed_at in 0..=steps {
            let (done, disk) = run(start.clone(), script, killed_at);
            let published = disk.get("checkpoint").unwrap();
            let seen = Checkpoint::open(&published, key().public()).unwrap();
            for cut in 0..=CUTS {
                let at =
                    format!("{before}, {script:?} killed at {killed_at} of {steps}, cut {cut}");
                let mut rng = ChaCha8Rng::seed_from_u64(killed_at as u64 * 1_000 + cut);
                let mut chance = || (rng.next_u32() >> 8) as u8 % 4;
                let mut after = if cut == CUTS {
                    disk.after_kill()
                } else {
                    disk.after_power_cut(&mut chance)
                };
                // A second crash, while the ledger is opened.
                // Opening takes 6 to 50 operations, so that some of these crashes come too late.
                let second = usize::try_from(rng.next_u32() % 28).unwrap();
                after.killed_at = Some(second);
                let again = Ledger::open(&mut after, key(), Some(&seen), &mut Owner::default());
                opened += u32::from(again.is_ok());
                drop(again);
                let mut chance = || (rng.next_u32() >> 8) as u8 % 4;
                let after = after.after_power_cut(&mut chance);
                check(&at, after, &seen, *before, &done);
                crashes += 1;
            }
        }
    }
    assert!(crashes > 1_000, "{crashes}");
    // Of the second crashes, many came in time.
    assert!(opened < crashes / 2, "{opened} of {crashes}");
}

/// Runs a script until it ends or the process is killed.
fn run(mut disk: Disk, script: &[Step], killed_at: usize) -> (Done, Disk) {
    disk.killed_at = Some(killed_at);
    let shared = Shared::default();
    *shared.0.borrow_mut() = disk;
    let mut done = Done::default();
    if let Ok(ledger) = Ledger::open(shared.clone(), key(), None, &mut Owner::default()) {
        let _ = perform(ledger, shared.clone(), script, &mut done);
    }
    let disk = Rc::unwrap_or_clone(shared.0).into_inner();
    (done, disk)
}

fn perform(
    mut ledger: Ledger<Shared>,
    mut files: Shared,
    script: &[Step],
    done: &mut Done,
) -> Result<(), ()> {
    let mut publication: Option<Publication> = None;
    let mut published: Option<Published> = None;
    for (index, step) in script.iter().enumerate() {
        match step {
            Append(count) => {
                let first = index as u64 * 1_000;
                done.under_way = *count;
                let drafts = (first..first + count).map(|i| draft(i, 5)).collect();
                let appended = ledger.append(drafts);
                if appended.is_err() {
                    assert!(
                        ledger.append(vec![draft(0, 5)]).is_err(),
                        "goes on after a failure"
                    );
                }
                done.acknowledged.extend(appended.map_err(drop)?.entries);
                done.under_way = 0;
            }
            Publish => {
                ledger.publish().map_err(drop)?;
            }
            Begin => publication = Some(ledger.begin().map_err(drop)?.unwrap()),
            Write => {
                published = Some(
                    publication
                        .take()
                        .unwrap()
                        .write(&mut files)
                        .map_err(drop)?,
                );
            }
            Finish => ledger.finish(published.take().unwrap()),
            Snapshot => {
                done.under_way = 1;
                let state: Vec<u8> = (0..ledger.size()).flat_map(u64::to_be_bytes).collect();
                ledger.snapshot(7, &state).map_err(drop)?;
                done.under_way = 0;
            }
        }
    }
    Ok(())
}

/// Opens after crashes and compares with what was acknowledged.
fn check(at: &str, disk: Disk, seen: &Checkpoint, before: u64, done: &Done) {
    let mut owner = Owner::default();
    let ledger = match Ledger::open(disk, key(), Some(seen), &mut owner) {
        Ok(ledger) => ledger,
        Err(error) => panic!("{at}: {error}"),
    };
    let reader = ledger.reader();
    for entry in &done.acknowledged {
        assert_eq!(&reader.entry(entry.number).unwrap(), entry, "{at}");
    }
    // Besides what was acknowledged there is what was under way, all of it or nothing.
    let all: Vec<Entry> = (before + u64::from(before > 0)..ledger.size())
        .map(|number| reader.entry(number).unwrap())
        .filter(|entry| !entry.kind.as_str().starts_with("ledger."))
        .collect();
    let more = all.len() - done.acknowledged.len();
    let snapshot = done.under_way == 1 && more == 0;
    assert!(
        more == 0 || more as u64 == done.under_way || snapshot,
        "{at}: {more} more"
    );
    assert_eq!(ledger.unpublished(), 0, "{at}");

    // The owner has the same state as one that replays everything.
    let restored = owner.restored;
    let seen_by_owner = owner.seen.len() as u64;
    assert_eq!(ledger.opening().restored.is_some(), restored, "{at}");
    assert!(seen_by_owner <= ledger.size(), "{at}");
    let mut full = 0;
    let report = verify(ledger.files(), key().public(), Some(seen), &mut |_| {
        full += 1
    });
    assert!(report.is_good(), "{at}: {report}");
    assert_eq!(full, ledger.size());

    // And it goes on from there, over whatever was left behind.
    let mut ledger = ledger;
    let appended = ledger
        .append((5_000..5_003).map(|index| draft(index, 9)).collect())
        .unwrap();
    let last = ledger.checkpoint().clone();
    let disk = ledger.into_files().after_power_cut(&mut || 0);
    let ledger = open(disk, Some(&last));
    for entry in &appended.entries {
        assert_eq!(&ledger.reader().entry(entry.number).unwrap(), entry, "{at}");
    }
}

#[test]
fn creating_happens_or_does_not() {
    let whole = Ledger::create(Disk::default(), key()).unwrap().into_files();
    for killed_at in 0..=whole.operations {
        let mut disk = Disk::default();
        disk.killed_at = Some(killed_at);
        let created = Ledger::create(&mut disk, key()).is_ok();
        assert_eq!(created, killed_at == whole.operations);
        for cut in 0..CUTS {
            let mut rng = ChaCha8Rng::seed_from_u64(killed_at as u64 * 1_000 + cut);
            let after = disk.after_power_cut(&mut || (rng.next_u32() >> 8) as u8 % 4);
            let opened = open_all(after.clone(), None);
            assert!(
                opened.is_ok() || !created,
                "killed at {killed_at}, cut {cut}"
            );
            if opened.is_err() {
                Ledger::create(after, key()).unwrap();
            }
        }
    }
}

#[test]
fn a_ledger_is_not_begun_over_another() {
    let disk = filled(&[3], 2).into_files().after_kill();
    assert!(matches!(
        Ledger::create(disk.clone(), key()),
        Err(OpenError::Exists)
    ));
    let mut beheaded = disk;
    beheaded.delete("checkpoint");
    assert!(matches!(
        Ledger::create(beheaded.clone(), key()),
        Err(OpenError::Exists)
    ));
    assert!(matches!(
        open_all(beheaded, None),
        Err(OpenError::Unsound(_))
    ));

    // Nothing but commits.
    let mut ledger = Ledger::create(Disk::default(), key()).unwrap();
    ledger.append(vec![draft(0, 1)]).unwrap();
    let mut beheaded = ledger.into_files();
    beheaded.delete("checkpoint");
    assert!(matches!(
        Ledger::create(beheaded, key()),
        Err(OpenError::Exists)
    ));
}

#[test]
fn an_old_pending_checkpoint_takes_nothing_back() {
    let early = filled(&[3], 2);
    let old = early.checkpoint().note().to_vec();
    let mut ledger = early;
    ledger.append(vec![draft(3, 2)]).unwrap();
    let size = ledger.publish().unwrap().size();
    let mut disk = ledger.into_files();
    ledger::Files::write(&mut disk, ".checkpoint.pending", &old).unwrap();
    let ledger = open(disk, None);
    assert_eq!(ledger.checkpoint().size(), size);
    assert_eq!(
        ledger
            .into_files()
            .read(".checkpoint.pending", 10_000)
            .unwrap(),
        None
    );
}

#[test]
fn a_commit_that_was_cut_off_is_dropped_and_said_so() {
    let mut ledger = filled(&[3], 2);
    ledger.append(vec![draft(3, 2)]).unwrap();
    ledger.append(vec![draft(4, 2)]).unwrap();
    let mut disk = ledger.into_files();
    let mut journal = disk.get(".journal.1").unwrap();
    // The last sector of the second commit was not written.
    let end = 3 * 4096;
    assert_eq!(journal.len(), end);
    journal[2 * 4096 + 200..].fill(0);
    disk.set(".journal.1", journal);
    let ledger = open(disk, None);
    assert!(ledger.opening().torn);
    assert_eq!(ledger.opening().journaled, 1);
    assert_eq!(ledger.size(), 4 + 1 + 1);
}

fn open(disk: Disk, remembered: Option<&Checkpoint>) -> Ledger<Disk> {
    open_all(disk, remembered).expect("a sound ledger opens")
}

fn open_all(disk: Disk, remembered: Option<&Checkpoint>) -> Result<Ledger<Disk>, OpenError> {
    Ledger::open(disk, key(), remembered, &mut |_: &Entry| {})
}
