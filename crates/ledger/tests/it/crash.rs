//! Killed or without power at any step of an append, the ledger holds all of it or nothing of it.
use crate::common::{Disk, draft, filled, key};
use ledger::{Checkpoint, Ledger, OpenError, ReadFiles};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How power cuts end for one crash point: decisions are drawn anew for each.
const CUTS: u64 = 4;

#[test]
fn an_append_happens_or_does_not() {
    // The first entries, within a tile, over its end, from afar, and filling it exactly.
    for (before, count) in [(0, 1), (3, 2), (250, 20), (40, 230), (253, 1)] {
        let drafts = || {
            (before..before + count)
                .map(|index| draft(index, 5))
                .collect()
        };
        let ledger = filled(&[before], 5);
        let (old, root) = (ledger.checkpoint().clone(), ledger.checkpoint().root());
        let disk = ledger.into_files().after_kill();
        let mut complete = open(disk.clone(), Some(&old));
        let opening = complete.files().operations;
        complete.append(drafts()).unwrap();
        let new = complete.checkpoint().clone();
        let steps = complete.into_files().operations;
        assert!(steps > 8, "{steps}");

        let (mut happened, mut did_not) = (0, 0);
        for killed_at in opening..=steps {
            let mut disk = disk.clone();
            disk.killed_at = Some(killed_at);
            let mut ledger = open(disk, Some(&old));
            let acknowledged = ledger.append(drafts()).is_ok();
            if !acknowledged {
                assert!(ledger.append(drafts()).is_err(), "goes on after a failure");
            }
            let disk = ledger.into_files();
            let seen = size_of_published(&disk);
            for cut in 0..=CUTS {
                let mut rng = ChaCha8Rng::seed_from_u64(killed_at as u64 * 1_000 + cut);
                let after = if cut == CUTS {
                    disk.after_kill()
                } else {
                    disk.after_power_cut(&mut || (rng.next_u32() >> 8) as u8 % 4)
                };
                let at = format!("{before}+{count}, killed at {killed_at} of {steps}, cut {cut}");
                let again =
                    match open_all(after, Some(if seen == new.size() { &new } else { &old })) {
                        Ok(ledger) => ledger,
                        Err(error) => panic!("{at}: {error}"),
                    };
                let size = again.checkpoint().size();
                match size {
                    size if size == new.size() => {
                        happened += 1;
                        assert_eq!(again.checkpoint().root(), new.root(), "{at}");
                    }
                    size if size == old.size() => {
                        did_not += 1;
                        assert_eq!(again.checkpoint().root(), root, "{at}");
                        assert!(!acknowledged, "{at}: it was acknowledged and is lost");
                        assert_ne!(seen, new.size(), "{at}: it was published and is lost");
                    }
                    other => panic!("{at}: {other} entries"),
                }
                // And it goes on from there, over whatever was left behind.
                let mut again = again;
                again
                    .append((5_000..5_010).map(|index| draft(index, 9)).collect())
                    .unwrap();
                let last = again.checkpoint().clone();
                open(again.into_files().after_power_cut(&mut || 0), Some(&last));
            }
        }
        assert!(happened > 0 && did_not > 0);
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
        Ledger::open(beheaded, key(), None, &mut |_| {}),
        Err(OpenError::Unsound(_))
    ));
}

#[test]
fn an_old_pending_checkpoint_takes_nothing_back() {
    let early = filled(&[3], 2);
    let old = early.checkpoint().note().to_vec();
    let mut ledger = early;
    ledger.append(vec![draft(3, 2)]).unwrap();
    let size = ledger.checkpoint().size();
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

fn open(disk: Disk, remembered: Option<&Checkpoint>) -> Ledger<Disk> {
    open_all(disk, remembered).expect("a sound ledger opens")
}

fn open_all(disk: Disk, remembered: Option<&Checkpoint>) -> Result<Ledger<Disk>, OpenError> {
    Ledger::open(disk, key(), remembered, &mut |_| {})
}

fn size_of_published(disk: &Disk) -> u64 {
    let note = disk.get("checkpoint").unwrap();
    Checkpoint::open(&note, key().public()).unwrap().size()
}
