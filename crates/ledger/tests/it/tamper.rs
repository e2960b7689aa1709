//! Every kind of tampering is found and named.
use crate::common::{Disk, draft, filled, key};
use ledger::layout::{bundle_path, tile_path};
use ledger::{
    Checkpoint, Entry, FINDINGS_MAX, Files, Finding, Ledger, ProofError, Reader, Report,
    SigningKey, verify,
};

/// 700 entries and their 3 heads: two full bundles and one of 191.
fn disk() -> Disk {
    filled(&[300, 200, 200], 11).into_files().after_kill()
}

const SIZE: u64 = 703;

fn check(disk: &Disk) -> Report {
    verify(disk, key().public(), None, &mut |_| {})
}

fn split(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (entry, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        entries.push(entry.to_vec());
        rest = behind;
    }
    entries
}

fn join(entries: &[Vec<u8>]) -> Vec<u8> {
    let with_length = |entry: &Vec<u8>| {
        let length = u16::try_from(entry.len()).unwrap().to_be_bytes();
        [&length[..], entry].concat()
    };
    entries.iter().flat_map(with_length).collect()
}

fn edit(disk: &mut Disk, path: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut entries = split(&disk.get(path).unwrap());
    change(&mut entries);
    disk.set(path, join(&entries));
}

#[test]
fn an_untouched_ledger_is_good() {
    let mut seen = 0;
    let report = verify(&disk(), key().public(), None, &mut |entry| {
        assert_eq!(entry.number, seen);
        seen += 1;
    });
    assert!(report.is_good(), "{report}");
    assert_eq!((seen, report.entries, report.devices), (SIZE, SIZE, 11));
    assert!(
        report
            .to_string()
            .starts_with("good: 703 entries, 11 devices, root ")
    );
}

#[test]
fn every_flipped_bit_is_found() {
    let clean = disk();
    let paths: Vec<(String, usize)> = clean
        .files()
        // A partial tile of an earlier checkpoint, kept until the tile is full; and the journal, which holds nothing that is
        // not published.
        .filter(|(path, _)| *path != "tile/1/000.p/1" && !path.starts_with(".journal"))
        .map(|(path, content)| (path.to_owned(), content.len()))
        .collect();
    assert_eq!(paths.len(), 8, "{paths:?}");
    for (path, length) in paths {
        for step in 0..16 {
            let mut disk = clean.clone();
            let mut content = disk.get(&path).unwrap();
            let at = step * (length - 1) / 15;
            content[at] ^= 1 << (step % 8);
            disk.set(&path, content);
            let report = check(&disk);
            assert!(!report.is_good(), "{path}, octet {at}");
        }
    }
}

#[test]
fn an_altered_entry_is_named() {
    for number in [0u64, 255, 256, 600, SIZE - 1] {
        let mut disk = disk();
        let width = 256.min(SIZE - number / 256 * 256);
        edit(&mut disk, &bundle_path(number / 256, width), |entries| {
            let entry = &mut entries[number as usize % 256];
            let text = String::from_utf8(entry.clone()).unwrap();
            *entry = text.replace("\"at\":179", "\"at\":178").into_bytes();
        });
        let report = check(&disk);
        assert!(
            matches!(report.findings[..], [Finding::Altered { number: found }] if found == number),
            "{report}"
        );
    }
}

#[test]
fn moved_entries_are_named_with_their_places() {
    let mut disk = disk();
    edit(&mut disk, &bundle_path(1, 256), |entries| {
        entries.swap(3, 9)
    });
    let report = check(&disk);
    assert!(
        matches!(
            report.findings[..],
            [
                Finding::Reordered {
                    number: 259,
                    belongs: 265
                },
                Finding::Reordered {
                    number: 265,
                    belongs: 259
                },
            ]
        ),
        "{report}"
    );
}

#[test]
fn a_missing_entry_is_found() {
    let mut disk = disk();
    edit(&mut disk, &bundle_path(0, 256), |entries| {
        drop(entries.remove(250))
    });
    let report = check(&disk);
    assert!(
        matches!(
            report.findings[..],
            [
                Finding::Truncated {
                    from: 255,
                    to: 255,
                    ..
                },
                Finding::Reordered {
                    number: 250,
                    belongs: 251
                },
                ..,
                Finding::Reordered {
                    number: 254,
                    belongs: 255
                },
            ]
        ),
        "{report}"
    );
}

#[test]
fn a_missing_bundle_is_named() {
    let mut disk = disk();
    disk.delete(&bundle_path(1, 256));
    let report = check(&disk);
    assert!(
        matches!(&report.findings[..], [Finding::Missing { from: 256, to: 511, path }] if path == "tile/entries/001"),
        "{report}"
    );
}

#[test]
fn a_bundle_cut_off_is_named() {
    let mut disk = disk();
    let path = bundle_path(2, 191);
    edit(&mut disk, &path, |entries| entries.truncate(100));
    let report = check(&disk);
    assert!(
        matches!(
            report.findings[..],
            [Finding::Truncated {
                from: 612,
                to: 702,
                ..
            }]
        ),
        "{report}"
    );

    let mut content = disk.get(&path).unwrap();
    content.truncate(content.len() - 1);
    disk.set(&path, content);
    let report = check(&disk);
    assert!(
        matches!(
            report.findings[..],
            [Finding::Truncated {
                from: 611,
                to: 702,
                ..
            }]
        ),
        "{report}"
    );
}

#[test]
fn what_is_behind_a_bundle_is_found() {
    for surplus in [&b"x"[..], b"\x00\x02{}"] {
        let mut disk = disk();
        let path = bundle_path(0, 256);
        let content = [&disk.get(&path).unwrap(), surplus].concat();
        disk.set(&path, content);
        let report = check(&disk);
        assert!(
            matches!(report.findings[..], [Finding::Surplus { .. }]),
            "{report}"
        );
    }
}

#[test]
fn hash_tiles_are_checked_against_the_entries() {
    for path in [
        tile_path(0, 0, 256),
        tile_path(0, 2, 191),
        tile_path(1, 0, 2),
    ] {
        let mut altered = disk();
        let mut content = altered.get(&path).unwrap();
        content[40] ^= 1;
        altered.set(&path, content);
        let report = check(&altered);
        assert!(
            matches!(&report.findings[..], [Finding::TileAltered { path: found }] if *found == path),
            "{report}"
        );

        let mut missing = disk();
        missing.delete(&path);
        let report = check(&missing);
        assert!(
            matches!(&report.findings[..], [Finding::TileMissing { path: found }] if *found == path),
            "{report}"
        );
    }
}

#[test]
fn entry_and_tile_altered_together_are_found() {
    let mut disk = disk();
    edit(&mut disk, &bundle_path(0, 256), |entries| {
        entries[5] = entries[6].clone();
    });
    let mut tile = disk.get("tile/0/000").unwrap();
    tile.copy_within(6 * 32..7 * 32, 5 * 32);
    disk.set("tile/0/000", tile);
    let report = check(&disk);
    assert!(
        matches!(&report.findings[..], [Finding::Tiles(what)]
            if what == "tile/0/000 was altered, which leaves entries 0 to 255 in doubt"),
        "{report}"
    );
    // A reader that looks at this entry only does not believe it either.
    let reader = Reader::open(&disk, key().public()).unwrap();
    assert!(matches!(reader.octets(5), Err(ProofError::Tree(_))));
    assert!(reader.prove(5).is_err());
    assert!(reader.octets(300).is_ok());
    assert!(reader.consistency(100).is_err());
}

/// Somebody who can write files and not sign builds a whole history anew and puts the real checkpoint over it.
#[test]
fn a_rewritten_history_is_found() {
    let real = disk();
    let mut forged = filled(&[300, 200, 199, 0], 12).into_files();
    assert!(check(&forged).is_good());
    forged.set("checkpoint", real.get("checkpoint").unwrap());
    assert!(!check(&forged).is_good());

    let mut forged = filled(&[300, 200, 200], 12).into_files();
    forged.set("checkpoint", real.get("checkpoint").unwrap());
    let report = check(&forged);
    assert!(
        matches!(
            report.findings[..],
            [Finding::Rewritten { .. }, Finding::JournalForked { .. }]
        ),
        "{report}"
    );
}

#[test]
fn a_checkpoint_by_another_key_is_refused() {
    let mut disk = disk();
    let other = SigningKey::from_seed("ledger.test/log", &[1; 32]).unwrap();
    let note = Ledger::create(Disk::default(), other)
        .unwrap()
        .checkpoint()
        .note()
        .to_vec();
    disk.set("checkpoint", note);
    let report = check(&disk);
    assert!(
        matches!(report.findings[..], [Finding::Checkpoint(_)]),
        "{report}"
    );
    disk.delete("checkpoint");
    assert!(matches!(check(&disk).findings[..], [Finding::NoCheckpoint]));
}

#[test]
fn an_old_copy_of_the_disk_is_found_with_a_remembered_checkpoint() {
    let mut ledger = filled(&[300], 11);
    let old = ledger.checkpoint().clone();
    ledger
        .append((300..500).map(|i| draft(i, 11)).collect())
        .unwrap();
    ledger.publish().unwrap();
    let remembered = ledger.checkpoint().clone();
    let mut disk = ledger.into_files();

    let good = verify(&disk, key().public(), Some(&old), &mut |_| {});
    assert!(good.is_good(), "{good}");
    let rolled_back = |disk: &Disk| {
        let report = verify(disk, key().public(), Some(&remembered), &mut |_| {});
        matches!(
            report.findings[..],
            [
                ..,
                Finding::RolledBack {
                    remembered: 502,
                    found: 301
                }
            ]
        )
    };
    assert!(
        rolled_back(&filled(&[300], 11).into_files()),
        "a whole old copy"
    );
    disk.set("checkpoint", old.note().to_vec());
    assert!(rolled_back(&disk), "only the old checkpoint put back");
    assert!(
        Ledger::open(
            disk.after_kill(),
            key(),
            Some(&remembered),
            &mut |_: &Entry| {}
        )
        .is_err()
    );
}

#[test]
fn a_fork_is_found_with_a_remembered_checkpoint() {
    let forked = |remembered: &Checkpoint, disk: &Disk, size: u64| {
        let report = verify(disk, key().public(), Some(remembered), &mut |_| {});
        assert!(
            matches!(report.findings[..], [Finding::Forked { size: found, .. }] if found == size),
            "{report}"
        );
    };
    let one = filled(&[300, 200], 11);
    // The key itself signed another history of the same length, and one that went on from there.
    let mut other = filled(&[300, 200], 12);
    forked(one.checkpoint(), other.files(), 502);
    other.append(vec![draft(500, 12)]).unwrap();
    other.publish().unwrap();
    forked(one.checkpoint(), other.files(), 502);
}

#[test]
fn a_broken_chain_that_was_signed_is_found() {
    // Entries of another ledger put behind each other by whoever has the key: numbers and links no longer fit.
    let source = disk();
    let entries = split(&source.get(&bundle_path(0, 256)).unwrap());
    for (name, chosen) in [
        ("gap", vec![0, 1, 3]),
        ("twice", vec![0, 0]),
        ("unsealed", vec![0, 1, 2]),
    ] {
        let entries: Vec<Vec<u8>> = chosen
            .iter()
            .map(|at: &usize| entries[*at].clone())
            .collect();
        let disk = signed_by_hand(&entries);
        let report = check(&disk);
        match name {
            "unsealed" => assert!(
                matches!(report.findings[..], [Finding::Unsealed { number: 2 }]),
                "{report}"
            ),
            _ => assert!(
                matches!(
                    report.findings[..],
                    [Finding::Broken { .. }, .., Finding::Unsealed { .. }]
                ),
                "{name}: {report}"
            ),
        }
    }
    let report = check(&signed_by_hand(&[b"{}".to_vec()]));
    assert!(
        matches!(
            report.findings[..],
            [Finding::Malformed { number: 0, .. }, ..]
        ),
        "{report}"
    );
}

#[test]
fn reports_are_bounded() {
    let mut disk = disk();
    for path in [bundle_path(0, 256), bundle_path(1, 256)] {
        edit(&mut disk, &path, |entries| {
            for entry in entries {
                entry.push(b' ');
            }
        });
    }
    let report = check(&disk);
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert!(report.more);
}

/// A ledger with a good tree and a good signature over whatever entries.
fn signed_by_hand(entries: &[Vec<u8>]) -> Disk {
    use tlog_tiles::checkpoint;
    use tlog_tiles::tlog::record_hash;

    let hashes: Vec<_> = entries.iter().map(|entry| record_hash(entry)).collect();
    let root = match hashes[..] {
        [one] => one,
        [one, two] => tlog_tiles::tlog::node_hash(one, two),
        [one, two, three] => {
            tlog_tiles::tlog::node_hash(tlog_tiles::tlog::node_hash(one, two), three)
        }
        _ => panic!("one to three"),
    };
    let size = entries.len() as u64;
    let text = checkpoint::Checkpoint::new("ledger.test/log", size, root, "").unwrap();
    let mut note = signed_note::Note::new(&text.to_bytes(), &[]).unwrap();
    let signer = signed_note::StandardSigner::new(&key().to_text()).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let mut disk = Disk::default();
    for folder in [
        "tile",
        "tile/0",
        "tile/0/000.p",
        "tile/entries",
        "tile/entries/000.p",
    ] {
        disk.make_folder(folder).unwrap();
    }
    disk.write("checkpoint", &note.to_bytes()).unwrap();
    disk.write(&bundle_path(0, size), &join(entries)).unwrap();
    let tile: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    disk.write(&tile_path(0, 0, size), &tile).unwrap();
    disk
}
