use intent::action::FreezeScope;
use intent::api::{IntentState, RefusalCode};
use intent::command::{DataItem, DownloadSource, Route};
use intent::policy::Window;
use ledger::{Hash, History, check_bundle};

use super::*;
use crate::package::Answer;
use crate::testing::policy;

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> RefusalCode {
    result.unwrap_err().code
}

#[test]
fn an_euicc_executes_what_was_asked_for_and_the_record_says_so() {
    let mut site = Site::new(policy());
    let mut device = site.device(0);
    let id = site.operate(&[device.eid], enable(2));
    let signed = site.sign_intent(id, device.eid).unwrap();
    assert_eq!(signed.counter, 2, "the list was the first");
    let result = device.load(&signed.package);
    assert!(Answer::parse(&result).unwrap().is_success(1));
    assert_eq!(device.card.enabled_profile(), Some(iccid(2)));
    let entries = site.authority().entries();
    site.record(device.eid, &result).unwrap();
    assert_eq!(site.authority().entries(), entries + 1);
    site.record(device.eid, &result).unwrap();
    assert_eq!(site.authority().entries(), entries + 1, "recorded once");
    let status = site.authority().intent(&id).unwrap();
    assert_eq!((status.state, status.done), (IntentState::Done, 1));

    let bundle = site.authority().history(device.eid).unwrap();
    let json = serde_json::to_vec(&bundle).unwrap();
    let checked = check_bundle(&json, site.authority().ledger_key()).unwrap();
    let ledger::Checked::History(history) = checked else {
        panic!("{checked:?}")
    };
    crate::check_asked(&history).unwrap();
    assert!(history.memberships.is_empty(), "intents list few devices");
    let kinds: Vec<_> = history.entries.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "device.registered",
            "device.associated",
            "package.ordered",
            "result.recorded",
            "package.ordered",
            "result.recorded",
        ]
    );
    let context: Vec<_> = history.context.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(
        context,
        ["authority.genesis", "intent.proposed", "intent.proposed"]
    );
    let inclusion = site.authority().prove(signed.entry).unwrap();
    assert!(inclusion.entry.entry.contains("package.ordered"));
}

#[test]
fn asking_again_gives_the_same_octets_under_the_same_counter() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let id = site.operate(&[device.eid], enable(2));
    let first = site.sign_intent(id, device.eid).unwrap();
    let entries = site.authority().entries();
    let both = site
        .authority()
        .sign(vec![
            Reference {
                account: Account::Intent(id),
                eid: device.eid,
            };
            2
        ])
        .unwrap();
    site.reopen();
    let later = site.sign_intent(id, device.eid).unwrap();
    for again in both.into_iter().map(Result::unwrap).chain([later]) {
        assert_eq!(signed_part(&again.package), signed_part(&first.package));
        assert_eq!(
            (again.counter, again.entry, &again.transaction_id),
            (first.counter, first.entry, &first.transaction_id)
        );
    }
    let ordered = site.authority().entries() - entries;
    assert!(ordered <= 1, "at most heads of devices, from closing");
    let read = |reference: &str| Account::ListProfiles(reference.to_owned());
    let list = site.sign(read("a"), device.eid).unwrap();
    assert_eq!(
        site.sign(read("a"), device.eid).unwrap().counter,
        list.counter
    );
    let eims = site.sign(Account::ListEims("a".to_owned()), device.eid);
    assert_eq!(eims.unwrap().counter, list.counter + 1);
}

#[test]
fn nothing_is_signed_for_others_or_without_approval() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let other = site.device(1);
    let id = site.operate(&[device.eid], enable(2));
    assert_eq!(
        code(site.sign_intent(id, other.eid)),
        RefusalCode::OutOfScope
    );
    let unknown = intent::IntentId(intent::Digest([7; 32]));
    assert_eq!(
        code(site.sign_intent(unknown, device.eid)),
        RefusalCode::Unknown
    );
    let delete = Command::Delete { iccid: iccid(2) };
    let waiting = site.operate(&[device.eid], delete);
    assert_eq!(
        code(site.sign_intent(waiting, device.eid)),
        RefusalCode::NotApproved
    );
    let request = site.bob.decide(waiting, Decision::Approve);
    site.authority().decide(waiting, &request).unwrap();
    site.sign_intent(waiting, device.eid).unwrap();

    let cancelled = site.operate(&[device.eid], enable(2));
    site.propose(Action::Cancel { intent: cancelled }).unwrap();
    assert_eq!(
        code(site.sign_intent(cancelled, device.eid)),
        RefusalCode::WrongState
    );
    let late = site.operate(&[device.eid], enable(2));
    site.wait(60 * 60_000);
    assert_eq!(
        code(site.sign_intent(late, device.eid)),
        RefusalCode::Expired
    );
}

#[test]
fn freezing_and_revoking_stop_the_very_next_signature() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let signed = site.operate(&[device.eid], enable(2));
    let unsigned = site.operate(&[device.eid], enable(2));
    site.sign_intent(signed, device.eid).unwrap();
    let scope = FreezeScope::Fleet("meters".parse().unwrap());
    site.propose(Action::Freeze {
        scope: scope.clone(),
    })
    .unwrap();
    for id in [signed, unsigned] {
        assert_eq!(code(site.sign_intent(id, device.eid)), RefusalCode::Frozen);
    }
    let read = Account::ListProfiles("x".to_owned());
    assert_eq!(code(site.sign(read, device.eid)), RefusalCode::Frozen);
    site.reopen();
    assert_eq!(
        code(site.sign_intent(signed, device.eid)),
        RefusalCode::Frozen
    );
    site.agree(Action::Thaw { scope });
    site.sign_intent(signed, device.eid).unwrap();
    // Bob has alice revoked.
    let action = Action::RevokePrincipal {
        name: "alice".parse().unwrap(),
    };
    let intent = site.intent(action);
    let request = site.bob.propose(&intent);
    let status = site.authority().propose(&request).unwrap();
    let request = site.alice.decide(status.id, Decision::Approve);
    site.authority().decide(status.id, &request).unwrap();
    for id in [signed, unsigned] {
        assert_eq!(
            code(site.sign_intent(id, device.eid)),
            RefusalCode::CredentialInvalid
        );
    }
}

#[test]
fn quotas_hold_whoever_asks() {
    let mut limited = policy();
    limited.quotas.credential_per_hour = Some(2);
    limited.quotas.reads_per_device_hour = 2;
    let mut site = Site::new(limited);
    let devices: Vec<Device> = (0..3).map(|n| site.device(n)).collect();
    let eids: Vec<Eid> = devices.iter().map(|device| device.eid).collect();
    let id = site.operate(&eids, enable(2));
    let references = |eids: &[Eid]| {
        let reference = |eid: &Eid| Reference {
            account: Account::Intent(id),
            eid: *eid,
        };
        eids.iter().map(reference).collect::<Vec<_>>()
    };
    let answers = site.authority().sign(references(&eids)).unwrap();
    let refusal = answers[2].clone().unwrap_err();
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_eq!(refusal.code, RefusalCode::QuotaExceeded);
    // Asking again for what was signed costs nothing.
    site.sign_intent(id, eids[0]).unwrap();
    site.reopen();
    assert_eq!(
        code(site.sign_intent(id, eids[2])),
        RefusalCode::QuotaExceeded,
        "replaying counts the same"
    );
    let read = |n: u64| Account::ListProfiles(n.to_string());
    site.sign(read(1), eids[0]).unwrap();
    assert_eq!(
        code(site.sign(read(2), eids[0])),
        RefusalCode::QuotaExceeded
    );
    let free = refusal.retry_at.unwrap();
    site.clock.0.store(free - 1, Ordering::SeqCst);
    let id = site.operate(&eids, enable(2));
    assert_eq!(
        code(site.sign_intent(id, eids[2])),
        RefusalCode::QuotaExceeded
    );
    site.clock.0.store(free, Ordering::SeqCst);
    site.sign_intent(id, eids[2]).unwrap();
    // Reads are counted by five minutes.
    site.wait(5 * 60_000);
    site.sign(read(2), eids[0]).unwrap();
}

#[test]
fn policy_is_asked_again_when_it_is_signed() {
    let mut site = Site::new(policy());
    let device = site.device(0);
    let test_class = site.operate(&[device.eid], enable(3));
    let refusal = site.sign_intent(test_class, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::PolicyRefused);
    assert!(refusal.retry_at.is_none() && refusal.message.contains("class test"));
    let unlisted = site.operate(&[device.eid], enable(9));
    let refusal = site.sign_intent(unlisted, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotListed);
    assert!(refusal.message.contains("listed first") && refusal.retry_at.is_some());

    let good = site.operate(&[device.eid], enable(2));
    let mut next = policy();
    next.version = 2;
    next.profiles.owners = Some(["99999".to_owned()].into());
    site.agree(Action::SetPolicy {
        policy: Box::new(next.clone()),
    });
    assert_eq!(
        code(site.sign_intent(good, device.eid)),
        RefusalCode::PolicyRefused
    );
    next.version = 3;
    next.profiles.owners = Some(["26201".to_owned()].into());
    next.windows.push(Window {
        kinds: [intent::OperationKind::Enable].into(),
        fleets: Default::default(),
        days: (1..=7).collect(),
        from_minute: 0,
        to_minute: 60,
        utc_offset_minutes: 0,
    });
    site.agree(Action::SetPolicy {
        policy: Box::new(next.clone()),
    });
    let refusal = site.sign_intent(good, device.eid).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OutsideWindow);
    let opens = refusal.retry_at.unwrap();
    assert!(opens > site.clock.now_ms() && opens.rem_euclid(86_400_000) < 5 * 60_000);
    next.version = 4;
    next.windows.clear();
    site.agree(Action::SetPolicy {
        policy: Box::new(next),
    });
    site.sign_intent(good, device.eid).unwrap();
}

#[test]
fn nothing_is_signed_for_a_device_that_is_not_registered_and_associated() {
    let mut site = Site::new(policy());
    let id = site.operate(&[eid(0)], enable(2));
    assert_eq!(
        code(site.sign_intent(id, eid(0))),
        RefusalCode::NotAssociated
    );
    let stranger = Device::new(50, &PKI);
    assert_eq!(code(site.associate(&stranger)), RefusalCode::NotAssociated);
    let device = site.device(0);
    let retire = Action::RetireDevices {
        devices: intent::DeviceSet::one(device.eid),
    };
    let good = site.operate(&[device.eid], enable(2));
    site.propose(retire).unwrap();
    assert_eq!(
        code(site.sign_intent(good, device.eid)),
        RefusalCode::NotAssociated
    );
    // Registered again it begins anew, but its counter goes on.
    site.propose(register("meters", &[device.eid])).unwrap();
    assert_eq!(
        code(site.sign_intent(good, device.eid)),
        RefusalCode::NotAssociated
    );
    site.associate(&device).unwrap();
    let read = site.sign(Account::ListProfiles("again".to_owned()), device.eid);
    assert_eq!(read.unwrap().counter, 2);
}

#[test]
fn certificates_have_to_lead_to_a_trusted_ci_and_show_this_eid() {
    let site = Site::new(policy());
    let mut other_ci = Device::new(0, &test_pki(9));
    assert_eq!(code(site.associate(&other_ci)), RefusalCode::EuiccRefused);
    let other = Device::new(1, &PKI);
    other_ci.euicc = other.euicc.clone();
    other_ci.eum = other.eum.clone();
    let refusal = site.associate(&other_ci).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::EuiccRefused);
    assert!(refusal.message.contains(&other.eid.to_string()));
    let mut no_eum = other.association();
    no_eum.eum_certificates.clear();
    assert_eq!(
        code(site.authority().associate(&no_eum)),
        RefusalCode::EuiccRefused
    );
}

#[test]
fn a_token_is_claimed_until_the_euicc_proves_it() {
    let mut site = Site::new(policy());
    let mut device = Device::new(0, &PKI);
    device.add_eim(site.authority().configuration().unwrap());
    let right = device.token;
    device.token = Some(0x1234);
    site.associate(&device).unwrap();
    site.associate(&device).unwrap();
    let read = |text: &str| Account::ListProfiles(text.to_owned());
    let wrong = site.sign(read("a"), device.eid).unwrap();
    let answer = device.load(&wrong.package);
    assert!(
        Answer::parse(&answer).is_err(),
        "the eUICC refuses, unsigned"
    );
    assert_eq!(
        code(site.record(device.eid, &answer)),
        RefusalCode::EuiccRefused
    );
    device.token = right;
    site.associate(&device).unwrap();
    site.list(&mut device, "b");
    device.token = Some(0x1234);
    assert_eq!(code(site.associate(&device)), RefusalCode::Conflict);
    // People say that it was reset.
    site.propose(Action::ReassociateDevices {
        devices: intent::DeviceSet::one(device.eid),
    })
    .unwrap();
    site.associate(&device).unwrap();
    device.token = right;
    site.associate(&device).unwrap();
    site.list(&mut device, "c");
    site.reopen();
    site.list(&mut device, "d");
}

#[test]
fn forged_results_are_refused_and_counters_ahead_raise_an_incident() {
    let mut site = Site::new(policy());
    let mut device = site.device(0);
    let mut other = site.device(1);
    let read = Account::ListProfiles("x".to_owned());
    let signed = site.sign(read.clone(), device.eid).unwrap();
    let result = device.load(&signed.package);
    let signed = site.sign(read, other.eid).unwrap();
    let foreign = other.load(&signed.package);
    assert_eq!(
        code(site.record(device.eid, &foreign)),
        RefusalCode::EuiccRefused
    );
    let mut forged = result.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        code(site.record(device.eid, &forged)),
        RefusalCode::EuiccRefused
    );
    assert_eq!(code(site.record(device.eid, b"0")), RefusalCode::Malformed);
    site.record(device.eid, &result).unwrap();

    // Somebody else has the key, and uses a counter of their own.
    let package = crate::package::build(
        &crate::testing::EIM_ID.parse().unwrap(),
        device.eid,
        40,
        &[9; 16],
        Command::to_package(&[Command::ListProfiles]).unwrap(),
    );
    let token = rsp::sgp32::association_token_object(device.token);
    let signature = key(1).sign_parts(&[&package, &token]).unwrap();
    let (stolen, _) = crate::package::assemble(&package, &signature).unwrap();
    let result = device.load(&stolen);
    let entries = site.authority().entries();
    site.record(device.eid, &result).unwrap();
    assert_eq!(site.authority().entries(), entries + 2);
    let incident = site.authority().prove(entries + 1).unwrap();
    assert!(incident.entry.entry.contains("counter-ahead"));
    site.record(device.eid, &result).unwrap();
    let more = site.authority().entries() - entries;
    assert!(
        more <= 3,
        "recorded once; publishing may have added an entry"
    );
    // Signing goes on above it.
    site.reopen();
    let id = site.operate(&[device.eid], enable(2));
    let signed = site.sign_intent(id, device.eid).unwrap();
    assert_eq!(signed.counter, 41);
    device.load(&signed.package);
    assert_eq!(device.card.enabled_profile(), Some(iccid(2)));
}

#[test]
fn unsigned_packages_are_released_once_and_only_if_asked_for() {
    let mut site = Site::new(policy());
    let download = Command::Download {
        source: DownloadSource::DefaultSmdp,
        route: Route::Direct,
        confirmation_code: None,
    };
    let id = site.operate(&[eid(0)], download);
    let release = |site: &Site, id, eid| {
        let account = Account::Intent(id);
        let mut answers = site
            .authority()
            .release(vec![Reference { account, eid }])
            .unwrap();
        answers.pop().unwrap()
    };
    let entries = site.authority().entries();
    let refusal = release(&site, id, eid(0)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotAssociated, "registered only");
    assert!(refusal.message.contains("when it polls"), "{refusal}");
    assert_eq!(site.authority().entries(), entries);
    site.device(0);
    let release = |id, eid| release(&site, id, eid);
    assert_eq!(code(release(id, eid(1))), RefusalCode::OutOfScope);
    let entries = site.authority().entries();
    release(id, eid(0)).unwrap();
    release(id, eid(0)).unwrap();
    assert_eq!(site.authority().entries(), entries + 1);
    assert_eq!(code(site.sign_intent(id, eid(0))), RefusalCode::Malformed);
    let read = Command::ReadDeviceData {
        items: DataItem::INTRODUCTION.to_vec(),
    };
    let id = site.operate(&[eid(0)], read);
    let account = Account::Intent(id);
    let reference = Reference {
        account,
        eid: eid(0),
    };
    site.authority().release(vec![reference]).unwrap()[0]
        .clone()
        .unwrap();
}

fn device_of(site: &Site, eid: Eid) -> crate::state::devices::Device {
    let state = crate::service::read(&site.authority().shared.state);
    state.devices.get(&eid).unwrap().clone()
}

fn kept(site: &Site, eid: Eid) -> Vec<i64> {
    let device = device_of(site, eid);
    (0..=device.counter())
        .filter(|counter| device.order(*counter).is_some())
        .collect()
}

/// The newest recorded result as its entry says it.
fn newest_result(site: &Site) -> String {
    let last = site.authority().entries() - 1;
    let entries = (0..=last)
        .rev()
        .map(|number| site.authority().prove(number));
    let mut entries = entries.map(|proven| proven.unwrap().entry.entry);
    entries
        .find(|entry| entry.contains("result.recorded"))
        .unwrap()
}

#[test]
fn what_the_euicc_went_past_is_forgotten_but_for_what_a_late_result_needs() {
    let mut site = Site::new(policy());
    let mut device = site.device(0);
    let executed = site.operate(&[device.eid], enable(2));
    let lost = site.operate(&[device.eid], enable(1));
    let executed = (executed, site.sign_intent(executed, device.eid).unwrap());
    let late = device.load(&executed.1.package);
    let lost = (lost, site.sign_intent(lost, device.eid).unwrap());
    assert_eq!(kept(&site, device.eid), [1, 2, 3]);
    site.list(&mut device, "later");
    assert_eq!(kept(&site, device.eid), [1, 4], "2 and 3 will not run");
    for id in [executed.0, lost.0] {
        let refusal = site.sign_intent(id, device.eid).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::WrongState);
        assert!(refusal.message.contains("propose it anew"), "{refusal}");
    }
    // What was executed before is still believed, and tied to its package.
    site.reopen();
    site.record(device.eid, &late).unwrap();
    let entry = newest_result(&site);
    let package = format!("\"package\":{}", executed.1.entry);
    assert!(
        entry.contains(&package) && entry.contains("\"success\":true"),
        "{entry}"
    );
    // The eUICC refuses the other one, over its signature. That is an answer, once.
    let refused = device.load(&lost.1.package);
    assert!(Answer::parse(&refused).unwrap().seq_number().is_none());
    site.record(device.eid, &refused).unwrap();
    let entries = site.authority().entries();
    site.record(device.eid, &refused).unwrap();
    assert_eq!(site.authority().entries(), entries);
    let before = device_of(&site, device.eid);
    site.reopen();
    assert!(device_of(&site, device.eid) == before, "replayed");
    let snapshot = serde_json::to_string(&before).unwrap();
    let restored: crate::state::devices::Device = serde_json::from_str(&snapshot).unwrap();
    assert!(restored == before);
}

#[test]
fn packages_that_are_never_answered_do_not_pile_up() {
    use crate::state::devices::{TRACES_KEPT, UNANSWERED_MAX};
    let mut generous = policy();
    generous.quotas.reads_per_device_hour = 1_000;
    let mut site = Site::new(generous);
    let mut device = site.device(0);
    let mut packages = Vec::new();
    for n in 0..40 {
        let account = Account::ListProfiles(format!("unanswered-{n}"));
        packages.push(site.sign(account, device.eid).unwrap());
    }
    let left = kept(&site, device.eid);
    assert!(left.len() <= UNANSWERED_MAX + 2, "{left:?}");
    let oldest = left.iter().find(|counter| **counter > 1).unwrap();
    let traced = oldest - i64::try_from(TRACES_KEPT).unwrap() + 1;
    let known = device_of(&site, device.eid);
    assert!(known.trace(traced).is_some() && known.trace(traced - 2).is_none());
    // One of which only a trace is left runs after all.
    let package = packages.iter().find(|it| it.counter == traced).unwrap();
    let result = device.load(&package.package);
    site.record(device.eid, &result).unwrap();
    let package = format!("\"package\":{}", package.entry);
    assert!(newest_result(&site).contains(&package));
    assert!(kept(&site, device.eid).contains(oldest), "it still can run");
    // Retired, nothing of it is given again.
    site.propose(Action::RetireDevices {
        devices: intent::DeviceSet::one(device.eid),
    })
    .unwrap();
    assert!(kept(&site, device.eid).is_empty());
    let before = device_of(&site, device.eid);
    site.reopen();
    assert!(device_of(&site, device.eid) == before, "replayed");
}

/// Alice proposes and bob approves something about more devices than are listed.
fn agree_on_many(
    site: &mut Site,
    action: impl Fn(intent::DeviceSet) -> Action,
    eids: &[Eid],
) -> IntentId {
    let (devices, list) = intent::DeviceSet::of(eids.to_vec()).unwrap();
    let intent = site.intent(action(devices));
    let mut request = site.alice.propose(&intent);
    request.devices = Some(list.unwrap().iter().map(ToString::to_string).collect());
    let status = site.authority().propose(&request).unwrap();
    let approval = site.bob.decide(status.id, Decision::Approve);
    site.authority().decide(status.id, &approval).unwrap();
    status.id
}

fn history_of(site: &Site, eid: Eid) -> History {
    let json = site.authority().history(eid).unwrap().to_json();
    match check_bundle(json.as_bytes(), site.authority().ledger_key()).unwrap() {
        ledger::Checked::History(history) => history,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_shows_that_a_campaign_was_about_the_device() {
    let mut site = Site::new(policy());
    // More than one entry can hold.
    let count = u64::try_from(crate::event::DEVICES_PER_ENTRY).unwrap() + 200;
    let eids: Vec<Eid> = (100..100 + count).map(eid).collect();
    let fleet: intent::Fleet = "meters".parse().unwrap();
    let register = |devices| Action::RegisterDevices {
        fleet: fleet.clone(),
        devices,
    };
    agree_on_many(&mut site, register, &eids);
    let campaign = |devices| Action::Operate {
        devices,
        commands: vec![enable(2)],
    };
    let id = agree_on_many(&mut site, campaign, &eids);
    for n in [100, 100 + count - 1] {
        let device = site.device(n);
        site.sign_intent(id, device.eid).unwrap();
        let history = history_of(&site, device.eid);
        assert_eq!(history.memberships.len(), 2);
        crate::check_asked(&history).unwrap();

        let refused = |alter: &dyn Fn(&mut History)| {
            let mut altered = history_of(&site, device.eid);
            alter(&mut altered);
            crate::check_asked(&altered).unwrap_err()
        };
        let not_among = |error| matches!(error, crate::Unasked::NotAmong { .. });
        assert!(not_among(refused(&|it| it.memberships.clear())));
        assert!(not_among(refused(&|it| drop(it.memberships.pop()))));
        assert!(not_among(refused(&|it| it.memberships[1].position ^= 1)));
        assert!(not_among(refused(
            &|it| it.memberships[1].proof[0] = Hash([1; 32])
        )));
        assert!(not_among(refused(&|it| it.device = eid(101))));
        let missing = |error| matches!(error, crate::Unasked::Missing { .. });
        assert!(missing(refused(&|it| {
            it.context
                .retain(|entry| entry.kind.as_str() != "intent.proposed");
        })));
        assert!(missing(refused(&|it| {
            it.context
                .retain(|entry| entry.kind.as_str() != "intent.decided");
        })));
    }
}
