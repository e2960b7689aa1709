//! Proofs: known answers, completeness of bundles, and what is not believed.
use crate::common::{Disk, draft, eid, filled, key};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ledger::{
    Bundle, CheckError, Checked, Entry, Hash, History, Ledger, ProofError, Reader, check_bundle,
    check_consistency, verify,
};
use proptest::prelude::*;
use sha2::Sha256;

fn octets(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

/// The root, every inclusion proof and every consistency proof, against an independent implementation of RFC 6962.
#[test]
fn proofs_are_those_of_an_independent_tree() {
    let ledger = filled(&[200, 70, 30], 11);
    let reader = ledger.reader();
    let size = ledger.checkpoint().size();
    assert_eq!(size, 303);
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for number in 0..size {
        oracle.push(reader.octets(number).unwrap());
    }
    assert_eq!(
        ledger.checkpoint().root().0.as_slice(),
        oracle.root().as_bytes().as_slice()
    );
    for number in 0..size {
        let proven = reader.prove(number).unwrap();
        assert_eq!(
            octets(&proven.entry.proof),
            oracle
                .prove_inclusion(usize::try_from(number).unwrap())
                .as_bytes(),
            "{number}"
        );
        let checked = check_bundle(proven.to_json().as_bytes(), key().public()).unwrap();
        let Checked::Entry(included) = checked else {
            panic!("{checked:?}");
        };
        assert_eq!(included.entry.number, number);
        assert_eq!(&included.checkpoint, ledger.checkpoint());
    }
    for old in 1..size {
        assert_eq!(
            octets(&reader.consistency(old).unwrap()),
            oracle
                .prove_consistency(usize::try_from(size - old).unwrap())
                .as_bytes(),
            "{old}"
        );
    }
}

/// The files of a small ledger, octet for octet: formats do not change by accident.
#[test]
fn a_small_ledger_is_written_as_ever() {
    let ledger = filled(&[1], 1);
    let disk = ledger.files();
    let paths: Vec<&str> = disk.files().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            ".journal.0",
            ".journal.1",
            "checkpoint",
            "tile/0/000.p/2",
            "tile/entries/000.p/2"
        ]
    );
    let bundle = disk.get("tile/entries/000.p/2").unwrap();
    let entry = r#"{"actor":"key:test","at":1790000000000,"body":{"index":0,"text":"entry \"0\" ü"},"device":{"eid":"89000000000000000000000000000002","sequence":1},"kind":"operation.signed","number":0,"v":1}"#;
    assert_eq!(
        usize::from(bundle[0]) << 8 | usize::from(bundle[1]),
        entry.len()
    );
    assert_eq!(
        std::str::from_utf8(&bundle[2..2 + entry.len()]).unwrap(),
        entry
    );
    let checkpoint = String::from_utf8(disk.get("checkpoint").unwrap()).unwrap();
    assert_eq!(
        checkpoint,
        include_str!("../../../../tests/data/ledger/checkpoint")
    );
}

#[test]
fn every_checkpoint_continues_those_before() {
    let mut ledger = Ledger::create(Disk::default(), key()).unwrap();
    let mut seen = vec![ledger.checkpoint().clone()];
    for (round, count) in [1u64, 2, 253, 1, 300, 5].into_iter().enumerate() {
        let first = 1_000 * round as u64;
        ledger
            .append((first..first + count).map(|i| draft(i, 7)).collect())
            .unwrap();
        ledger.publish().unwrap();
        let new = ledger.checkpoint().clone();
        for old in &seen {
            let proof = ledger.reader().consistency(old.size()).unwrap();
            check_consistency(old, &new, &proof).unwrap();
            if old.size() > 0 {
                let mut wrong = proof.clone();
                match wrong.first_mut() {
                    Some(hash) => hash.0[0] ^= 1,
                    None => wrong.push(Hash::EMPTY),
                }
                check_consistency(old, &new, &wrong).unwrap_err();
                check_consistency(&new, old, &proof).unwrap_err();
            }
        }
        seen.push(new);
    }
    // A reader as of an earlier checkpoint finds the full tiles where the partial ones were.
    let early = Reader::at(ledger.files(), seen[2].clone());
    assert_eq!(early.entry(3).unwrap().number, 3);
    assert!(matches!(
        early.entry(5),
        Err(ProofError::Beyond { size: 5 })
    ));

    let fork = filled(&[1, 2], 5);
    assert_eq!(fork.checkpoint().size(), seen[2].size());
    let proof = ledger.reader().consistency(5).unwrap();
    assert!(matches!(
        check_consistency(fork.checkpoint(), ledger.checkpoint(), &proof),
        Err(CheckError::Inconsistent { .. })
    ));
}

fn check(bundle: &Bundle) -> Result<History, CheckError> {
    match check_bundle(bundle.to_json().as_bytes(), key().public())? {
        Checked::History(history) => Ok(history),
        Checked::Entry(entry) => panic!("{entry:?}"),
    }
}

#[test]
fn a_bundle_holds_all_of_a_device() {
    let mut ledger = filled(&[40, 3, 260], 5);
    for device in 0..5 {
        let bundle = ledger.history(eid(device), &[]).unwrap();
        let history = check(&bundle).unwrap();
        assert_eq!(history.device, eid(device));
        let wanted: Vec<u64> = (0..303).filter(|i| i % 7 != 6 && i % 5 == device).collect();
        let found: Vec<u64> = history
            .entries
            .iter()
            .map(|entry| entry.body["index"].as_u64().unwrap())
            .collect();
        assert_eq!(found, wanted);
        let offline = Reader::open(ledger.files(), key().public()).unwrap();
        assert_eq!(offline.history(eid(device), &[]).unwrap(), bundle);
    }
    assert!(matches!(
        ledger.history(eid(77), &[]),
        Err(ProofError::Unknown(_))
    ));
}

#[test]
fn an_entry_left_out_of_a_bundle_is_found() {
    let mut ledger = filled(&[40, 3], 5);
    let whole = ledger.history(eid(2), &[]).unwrap();
    let count = whole.entries.len();
    assert!(count > 5);
    for left_out in 0..count {
        let mut bundle = whole.clone();
        bundle.entries.remove(left_out);
        let error = check(&bundle).unwrap_err();
        if left_out + 1 == count {
            assert!(
                matches!(error, CheckError::Incomplete { recorded, found } if recorded == found + 1),
                "{error}"
            );
        } else {
            assert!(
                matches!(error, CheckError::Gap { wanted, found, .. } if found == wanted + 1),
                "{error}"
            );
        }
    }
    let mut bundle = whole.clone();
    bundle.entries.clear();
    assert!(matches!(
        check(&bundle),
        Err(CheckError::Incomplete { found: 0, .. })
    ));
    let mut bundle = whole.clone();
    bundle.entries.swap(1, 2);
    assert!(matches!(check(&bundle), Err(CheckError::Gap { .. })));
    let mut bundle = whole;
    bundle.entries.push(bundle.entries[0].clone());
    assert!(matches!(check(&bundle), Err(CheckError::Gap { .. })));
}

#[test]
fn an_older_head_does_not_hide_newer_entries() {
    let mut ledger = filled(&[10], 5);
    let old = ledger.history(eid(2), &[]).unwrap();
    ledger
        .append((12..13).map(|i| draft(i, 5)).collect())
        .unwrap();
    ledger.publish().unwrap();
    let new = ledger.history(eid(2), &[]).unwrap();
    check(&old).unwrap();
    assert_eq!(check(&new).unwrap().entries.len(), old.entries.len() + 1);

    // The old heads under the new checkpoint, with good proofs: they are not its last entry.
    let at = old.heads.entry.find("\"number\":10").map(|_| 10).unwrap();
    let mut bundle = new.clone();
    bundle.entries.pop();
    bundle.heads = ledger.reader().prove(at).unwrap().entry;
    bundle.head = old.head.clone();
    assert!(matches!(check(&bundle), Err(CheckError::Heads)));

    // The old head under the new heads.
    let mut bundle = new.clone();
    bundle.entries.pop();
    bundle.head = old.head;
    assert!(matches!(check(&bundle), Err(CheckError::Head)));

    // The head of another device.
    let mut bundle = new;
    bundle.head = ledger.history(eid(3), &[]).unwrap().head;
    assert!(matches!(check(&bundle), Err(CheckError::Head)));
}

#[test]
fn what_is_altered_in_a_bundle_is_found() {
    let mut ledger = filled(&[40], 5);
    let whole = ledger.history(eid(2), &[]).unwrap();

    let mut bundle = whole.clone();
    bundle.entries[1].entry = bundle.entries[1].entry.replace("key:test", "key:tess");
    assert!(matches!(check(&bundle), Err(CheckError::NotIncluded(_))));

    let mut bundle = whole.clone();
    bundle.entries[0] = ledger.history(eid(3), &[]).unwrap().entries[0].clone();
    assert!(matches!(check(&bundle), Err(CheckError::Other(3))));

    let mut bundle = whole.clone();
    bundle.entries[0].proof.pop();
    assert!(matches!(check(&bundle), Err(CheckError::NotIncluded(_))));
    bundle.entries[0].proof = vec![Hash::EMPTY; 1_000];
    assert!(matches!(check(&bundle), Err(CheckError::NotIncluded(_))));

    let mut bundle = whole.clone();
    bundle.device = eid(3).to_string();
    assert!(matches!(check(&bundle), Err(CheckError::Other(2))));

    let mut bundle = whole.clone();
    bundle.checkpoint = bundle.checkpoint.replace("\n41\n", "\n42\n");
    assert!(matches!(check(&bundle), Err(CheckError::Checkpoint(_))));

    let mut bundle = whole.clone();
    bundle.format.push('0');
    assert!(matches!(check(&bundle), Err(CheckError::Format(None))));
    let other = whole.to_json().replacen('{', "{\"more\":1,", 1);
    assert!(matches!(
        check_bundle(other.as_bytes(), key().public()),
        Err(CheckError::Format(Some(_)))
    ));
}

/// Who asked and who approved stands in entries that are not the device's.
#[test]
fn a_bundle_holds_the_context_that_was_asked_for() {
    let mut ledger = filled(&[40], 5);
    ledger
        .append((40..48).map(|i| draft(i, 5)).collect())
        .unwrap();
    // Entries about no device, of another device, of this one, heads, and ones that are not published.
    let own = ledger.numbers(eid(2)).to_vec();
    let asked = [6, 13, 3, own[1], 40, 48, 6, 47];
    let trail = ledger.trail(eid(2), &asked).unwrap();
    assert_eq!(ledger.unpublished(), 0);
    assert_eq!(trail.numbers(), ledger.numbers(eid(2)));
    assert!(own.contains(&48) && !own.contains(&3));
    // The ledger goes on meanwhile.
    ledger
        .append((48..60).map(|i| draft(i, 5)).collect())
        .unwrap();
    ledger.publish().unwrap();
    let bundle = trail.bundle(ledger.files()).unwrap();
    assert_eq!(bundle.checkpoint.as_bytes(), trail.checkpoint().note());
    let history = check(&bundle).unwrap();
    let numbers = |entries: &[Entry]| entries.iter().map(|e| e.number).collect::<Vec<_>>();
    assert_eq!(numbers(&history.entries), own);
    assert_eq!(numbers(&history.context), [3, 6, 13, 40, 47]);
    let offline = Reader::at(ledger.files(), trail.checkpoint().clone());
    assert_eq!(offline.history(eid(2), &asked).unwrap(), bundle);
    assert!(matches!(
        ledger.history(eid(2), &[1_000]),
        Err(ProofError::Beyond { size: 63 })
    ));

    // Context is proven as well, and cannot stand for entries of the device.
    let mut altered = bundle.clone();
    altered.context[1].entry = altered.context[1].entry.replace("key:test", "key:tess");
    assert!(matches!(check(&altered), Err(CheckError::NotIncluded(6))));
    let mut swapped = bundle.clone();
    swapped.context.swap(0, 1);
    assert!(matches!(check(&swapped), Err(CheckError::Context(3))));
    let mut moved = bundle.clone();
    let last = moved.entries.pop().unwrap();
    moved.context.push(last);
    assert!(matches!(check(&moved), Err(CheckError::Context(_))));
    let mut added = bundle.clone();
    added.entries.push(added.context[0].clone());
    assert!(matches!(check(&added), Err(CheckError::Other(3))));
}

#[test]
fn a_proof_of_one_entry_is_not_believed_when_altered() {
    let ledger = filled(&[300], 5);
    let proof = ledger.reader().prove(7).unwrap();
    let refused = |proof: &ledger::Inclusion| {
        check_bundle(proof.to_json().as_bytes(), key().public()).unwrap_err()
    };
    let mut altered = proof.clone();
    altered.entry.entry = altered.entry.entry.replace("\"at\":179", "\"at\":178");
    assert!(matches!(refused(&altered), CheckError::NotIncluded(7)));
    let mut altered = proof.clone();
    altered.entry.proof[3].0[0] ^= 1;
    assert!(matches!(refused(&altered), CheckError::NotIncluded(7)));
    let mut altered = proof.clone();
    altered.entry = ledger.reader().prove(8).unwrap().entry;
    altered.entry.proof.clone_from(&proof.entry.proof);
    assert!(matches!(refused(&altered), CheckError::NotIncluded(8)));
    let mut altered = proof.clone();
    altered.format = Bundle::FORMAT.to_owned();
    assert!(matches!(refused(&altered), CheckError::Format(Some(_))));
    let mut altered = proof;
    altered.checkpoint = String::from_utf8(filled(&[300], 6).checkpoint().note().to_vec()).unwrap();
    assert!(matches!(refused(&altered), CheckError::NotIncluded(7)));
}

#[test]
fn a_refused_draft_changes_nothing() {
    let mut ledger = filled(&[3], 2);
    let before = ledger.checkpoint().clone();
    let mut bad = draft(4, 2);
    bad.body = serde_json::json!({"huge": "x".repeat(70_000)});
    let error = ledger.append(vec![draft(3, 2), bad]).unwrap_err();
    assert!(
        matches!(error, ledger::AppendError::Draft { index: 1, .. }),
        "{error}"
    );
    assert_eq!(ledger.checkpoint(), &before);
    let appended = ledger.append(vec![draft(3, 2)]).unwrap();
    assert_eq!(appended.entries[0].number, 4);
    assert!(verify(ledger.files(), key().public(), Some(&before), &mut |_| {}).is_good());
}

#[test]
fn a_body_too_deep_to_read_back_is_not_written() {
    let mut ledger = filled(&[1], 2);
    let mut deep = draft(1, 2);
    let mut value = serde_json::json!(1);
    for _ in 0..200 {
        value = serde_json::json!([value]);
    }
    deep.body = serde_json::json!({ "deep": value });
    assert!(ledger.append(vec![deep]).is_err());
    ledger.append(vec![draft(1, 2)]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However entries are spread over appends and reopenings, the ledger is good and every device's bundle complete.
    #[test]
    fn any_way_of_appending_is_sound(
        appends in prop::collection::vec((1u64..120, 0u8..4), 1..9),
        devices in 1u64..9,
    ) {
        let mut ledger = Ledger::create(Disk::default(), key()).unwrap();
        let mut next = 0;
        for (count, then) in appends {
            let appended = ledger
                .append((next..next + count).map(|i| draft(i, devices)).collect())
                .unwrap();
            prop_assert_eq!(appended.entries.len() as u64, count);
            next += count;
            if then == 0 {
                ledger.publish().unwrap();
            }
            if then == 1 {
                let remembered = ledger.checkpoint().clone();
                let mut replayed = 0;
                let size = ledger.size();
                ledger = Ledger::open(ledger.into_files(), key(), Some(&remembered), &mut |entry: &Entry| {
                    assert_eq!(entry.number, replayed);
                    replayed += 1;
                }).unwrap();
                prop_assert_eq!(replayed, size);
                prop_assert_eq!(ledger.unpublished(), 0);
            }
        }
        let report = verify(ledger.files(), key().public(), Some(ledger.checkpoint()), &mut |_| {});
        prop_assert!(report.is_good(), "{}", report);
        prop_assert_eq!(report.entries + report.journaled.unwrap(), ledger.size());
        for device in 0..devices {
            let wanted = (0..next).filter(|i| i % 7 != 6 && i % devices == device).count();
            if wanted == 0 {
                continue;
            }
            let history = check(&ledger.history(eid(device), &[]).unwrap()).unwrap();
            prop_assert_eq!(history.entries.len(), wanted);
        }
    }

    /// Garbage is refused, never a panic.
    #[test]
    fn garbage_is_no_bundle(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(check_bundle(&bytes, key().public()).is_err());
        prop_assert!(ledger::Entry::decode(&bytes).is_err());
        prop_assert!(ledger::Checkpoint::open(&bytes, key().public()).is_err());
    }
}
