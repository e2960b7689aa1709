use std::collections::BTreeMap;
use std::time::Duration;

use intent::api::RefusalCode;
use proptest::prelude::*;
use rand_chacha::rand_core::Rng;

use super::*;
use crate::testing::policy;

fn unlimited() -> PolicyDocument {
    let mut policy = policy();
    policy.quotas.reads_per_device_hour = 100_000;
    policy
}

#[test]
fn killed_between_append_and_signature_it_signs_the_same() {
    let mut site = Site::new(policy());
    let mut device = site.device(0);
    let id = site.operate(&[device.eid], enable(2));
    *site.fails.lock().unwrap() = true;
    let entries = site.authority().entries();
    let refusal = site.sign_intent(id, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert_eq!(site.authority().entries(), entries + 1, "it is on record");
    site.crash(|| false);
    *site.fails.lock().unwrap() = false;
    let first = site.sign_intent(id, device.eid).unwrap();
    assert_eq!((first.entry, first.counter), (entries, 2));
    // And killed before the answer got anywhere.
    site.crash(|| false);
    let second = site.sign_intent(id, device.eid).unwrap();
    assert_eq!(signed_part(&second.package), signed_part(&first.package));
    let result = device.load(&second.package);
    site.record(device.eid, &result).unwrap();
    assert_eq!(device.card.enabled_profile(), Some(iccid(2)));
}

#[test]
fn when_the_record_cannot_be_written_nothing_is_answered_any_more() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let id = site.operate(&[device.eid], enable(2));
    site.disk.fail_after(0);
    let refusal = site.sign_intent(id, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(site.authority().fault().is_some());
    assert_eq!(
        site.authority().policy().unwrap_err().code,
        RefusalCode::Unavailable
    );
    assert_eq!(
        site.sign_intent(id, device.eid).unwrap_err().code,
        RefusalCode::Unavailable
    );
    let told = site.broken.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].contains("the power is gone"));
    assert!(site.authority().shut_down().is_err());
    site.crash(|| false);
    site.sign_intent(id, device.eid).unwrap();
}

#[test]
fn snapshots_give_what_replaying_gives() {
    let mut site = Site::new(unlimited());
    site.options.snapshot_entries = 20;
    site.options.snapshot_at_end = 1;
    site.reopen();
    let mut device = site.device(0);
    for n in 0..30 {
        site.list(&mut device, &n.to_string());
    }
    let id = site.operate(&[device.eid], enable(2));
    let signed = site.sign_intent(id, device.eid).unwrap();
    let result = device.load(&signed.package);
    site.record(device.eid, &result).unwrap();
    site.reopen();
    let opened = site.authority().opened().clone();
    assert!(opened.replayed < 5, "{opened:?}");
    assert_eq!(opened.unusable_snapshots, Vec::<String>::new());
    let state = |site: &Site| {
        let mut copy = None;
        let read = |state: &crate::state::State, _| {
            copy = Some(state.clone());
            Ok(())
        };
        site.authority().look(read).unwrap();
        copy.unwrap()
    };
    let restored = state(&site);
    // Without snapshots everything is replayed.
    site.authority = None;
    for path in [".snapshot.0", ".snapshot.1"] {
        site.disk.damage(path, 60);
    }
    site.open().unwrap();
    let opened = site.authority().opened().clone();
    assert_eq!(opened.replayed, opened.entries);
    assert!(!opened.unusable_snapshots.is_empty());
    assert!(state(&site) == restored, "replayed and restored differ");
}

#[test]
fn it_does_not_open_on_what_was_altered() {
    let mut site = Site::new(policy());
    site.device(0);
    site.authority = None;
    let bundle = site.disk.paths("tile/entries/").pop().unwrap();
    site.disk.damage(&bundle, 700);
    let error = site.open().unwrap_err();
    assert!(matches!(error, OpenError::Ledger(_)), "{error:?}");
}

#[test]
fn a_clock_that_is_set_back_stops_signing_and_nothing_lives_twice() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let expired = site.operate(&[device.eid], enable(2));
    site.wait(61 * 60_000);
    let good = site.operate(&[device.eid], enable(2));
    site.wait(-5 * 60_000);
    site.sign_intent(good, device.eid).unwrap();
    assert_eq!(
        site.sign_intent(expired, device.eid).unwrap_err().code,
        RefusalCode::Expired,
        "time does not run back"
    );
    site.wait(-10 * 60_000);
    let refusal = site.sign_intent(good, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.message.contains("clock"));
    site.reopen();
    assert_eq!(
        site.sign_intent(good, device.eid).unwrap_err().code,
        RefusalCode::Unavailable
    );
}

#[test]
fn many_ask_at_once_and_one_commit_serves_them() {
    let site = Site::new(unlimited());
    let devices: Vec<Device> = (0..4).map(|n| site.device(n)).collect();
    let authority = site.authority();
    let entries = authority.entries();
    let counters: Vec<(Eid, i64)> = std::thread::scope(|scope| {
        let ask = |thread: u64| {
            let eids: Vec<Eid> = devices.iter().map(|device| device.eid).collect();
            scope.spawn(move || {
                let mut counters = Vec::new();
                for n in 0..25 {
                    let references = eids.iter().map(|eid| Reference {
                        account: Account::ListProfiles(format!("{thread}/{n}")),
                        eid: *eid,
                    });
                    let signed = authority.sign(references.collect()).unwrap();
                    for (eid, signed) in eids.iter().zip(signed) {
                        counters.push((*eid, signed.unwrap().counter));
                    }
                }
                counters
            })
        };
        let threads: Vec<_> = (0..8).map(ask).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(counters.len(), 8 * 25 * 4);
    let mut unique = counters.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), counters.len(), "each counter once");
    assert!(authority.entries() >= entries + 800);
    authority.shut_down().unwrap();
    let refusal = authority.sign(Vec::new()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
}

#[test]
fn who_comes_to_a_full_line_is_sent_away() {
    let mut site = Site::new(policy());
    site.options.queue_max = 0;
    site.reopen();
    let refusal = site.propose(crate::testing::freeze("meters")).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(site.authority().fault().is_none());
}

/// Everything that ever left, by device and counter.
type Left = BTreeMap<(Eid, i64), Vec<u8>>;

fn note(left: &mut Left, eid: Eid, signed: &SignedPackage) {
    let part = signed_part(&signed.package);
    let known = left
        .entry((eid, signed.counter))
        .or_insert_with(|| part.clone());
    assert_eq!(*known, part, "two packages under one counter");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Requests, power cuts at any moment, restarts: what left under a counter is the only thing that ever leaves under it, and
    /// counters rise.
    #[test]
    fn one_counter_is_one_package_whatever_happens(seed: u64) {
        let mut random = rng(seed);
        let mut pick = |n: u64| random.next_u64() % n;
        let mut site = Site::new(unlimited());
        site.options.publish_after = Duration::from_millis(1);
        site.options.publish_entries = 5;
        site.options.snapshot_entries = 23;
        site.reopen();
        let mut devices: Vec<Device> = (0..3).map(|n| site.device(n)).collect();
        let mut left = Left::new();
        let mut asked: Vec<Reference> = Vec::new();
        let mut highest: BTreeMap<Eid, i64> = BTreeMap::new();
        let mut n = 0;
        for _ in 0..40 {
            let index = usize::try_from(pick(3)).unwrap();
            match pick(6) {
                0 => {
                    n += 1;
                    let eid = devices[index].eid;
                    let account = Account::ListProfiles(n.to_string());
                    asked.push(Reference { account, eid });
                }
                1 => {
                    let eid = devices[index].eid;
                    if let Ok(status) = site.propose(crate::testing::operate(&[eid], enable(2))) {
                        let account = Account::Intent(status.id);
                        asked.push(Reference { account, eid });
                    }
                }
                2 => site.disk.fail_after(pick(20)),
                3 => {
                    let coin = pick(2) == 0;
                    site.crash(|| coin);
                }
                _ => {}
            }
            let from = asked.len().saturating_sub(4);
            let references = asked[from..].to_vec();
            let Ok(answers) = site.authority().sign(references.clone()) else {
                continue;
            };
            for (reference, answer) in references.iter().zip(answers) {
                let Ok(signed) = answer else { continue };
                let eid = reference.eid;
                let is_new = !left.contains_key(&(eid, signed.counter));
                note(&mut left, eid, &signed);
                if is_new {
                    let before = highest.insert(eid, signed.counter);
                    prop_assert!(before.is_none_or(|before| before < signed.counter));
                }
                let device = devices.iter_mut().find(|device| device.eid == eid).unwrap();
                let result = device.load(&signed.package);
                if pick(2) == 0 {
                    let results = [RecordResult { eid, result }];
                    let _ = site.authority().record_results(&results);
                }
            }
        }
        // All that left is on record.
        site.crash(|| false);
        for device in &devices {
            let bundle = site.authority().history(device.eid).unwrap();
            let recorded: Vec<&str> = bundle.entries.iter().map(|it| it.entry.as_str()).collect();
            for ((_, counter), part) in left.iter().filter(|((eid, _), _)| *eid == device.eid) {
                let package = crate::package::to_base64(part);
                let is_there = |text: &&&str| {
                    text.contains(&package) && text.contains(&format!("\"counter\":{counter},"))
                };
                prop_assert_eq!(recorded.iter().filter(is_there).count(), 1);
            }
        }
    }
}
