use intent::action::FreezeScope;
use intent::api::{IntentState, RefusalCode as R};
use intent::command::DownloadSource;
use intent::{Action, Command, Decision, DeviceSet, PolicyDocument, Role};

use super::{approve, ask, code};
use crate::event::Event;
use crate::testing::{
    Machine, Person, World, delete, eid, enable, everywhere, freeze, operate, register, within,
};

#[test]
fn what_is_allowed_is_approved_at_once_or_waits_as_policy_says() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let at_once = ask(&mut world, &mut alice, enable(&[eid(1)])).unwrap();
    assert_eq!(
        (at_once.state, at_once.approvers),
        (IntentState::Approved, 0)
    );
    assert!(world.state.intents.approved(&at_once.id, world.now).is_ok());
    assert_eq!(world.newest(1), ["intent.proposed"]);

    let waits = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    assert_eq!((waits.state, waits.approvers), (IntentState::Waiting, 1));
    assert_eq!(
        code(
            world
                .state
                .intents
                .approved(&waits.id, world.now)
                .map(|_| ())
        ),
        R::NotApproved
    );
    let approved = approve(&mut world, &mut bob, &waits).unwrap();
    assert_eq!(approved.state, IntentState::Approved);
    assert_eq!(world.state.status(&waits.id, world.now).unwrap(), approved);
    let open = world.state.intents.approved(&waits.id, world.now).unwrap();
    assert_eq!(open.eids(), [eid(1)]);
    assert_eq!(open.approvals().len(), 1);
    assert!(world.state.stop(open, &"meters".parse().unwrap()).is_none());
}

#[test]
fn a_machine_proposes_within_its_role_and_fleet() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let ci = world.admit(&mut alice, &mut bob, "ci", within(Role::Operator, "meters"));
    let now = world.now;
    let mut send = |action| {
        let request = ci.propose(&world.intent(action), now);
        world.propose(&request)
    };
    assert_eq!(
        send(enable(&[eid(1)])).unwrap().state,
        IntentState::Approved
    );
    assert_eq!(code(send(enable(&[eid(1), eid(11)]))), R::OutOfScope);
    assert_eq!(code(send(register("meters", &[eid(99)]))), R::RoleRefused);
}

#[test]
fn each_reason_to_refuse_has_its_code() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut operator = world.invite(
        &mut alice,
        Some(&mut bob),
        "olga",
        within(Role::Operator, "meters"),
    );
    let download = |smdp: &str| {
        let source = DownloadSource::ActivationCode {
            smdp: smdp.to_owned(),
            code: intent::Sealed::Committed {
                sha256: intent::Digest([7; 32]),
            },
        };
        operate(
            &[eid(1)],
            Command::Download {
                source,
                route: Default::default(),
                confirmation_code: None,
            },
        )
    };
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    policy.downloads.smdp_addresses = Some(["good.example.com".to_owned()].into());
    policy.downloads.smds = false;
    policy.profiles.iccid_prefixes = Some(["8900".to_owned()].into());
    policy.quotas.devices_per_intent = Some(3);
    world
        .agree(&mut alice, &mut bob, set_policy(&policy))
        .unwrap();
    let smds = operate(
        &[eid(1)],
        Command::Download {
            source: DownloadSource::Smds(None),
            route: Default::default(),
            confirmation_code: None,
        },
    );
    let foreign = operate(
        &[eid(1)],
        Command::Enable {
            iccid: "89990123456789012348".parse().unwrap(),
            rollback: false,
        },
    );
    let four: Vec<_> = (0..4).map(eid).collect();
    let unfrozen = Action::Thaw {
        scope: FreezeScope::Everything,
    };
    let cases: Vec<(&str, Action, Option<R>)> = vec![
        ("an enable", enable(&[eid(1)]), None),
        ("another fleet", enable(&[eid(11)]), Some(R::OutOfScope)),
        ("not its role", freeze("meters"), Some(R::RoleRefused)),
        (
            "unknown device",
            enable(&[eid(1), eid(77)]),
            Some(R::Unknown),
        ),
        ("allowed SM-DP+", download("GOOD.example.com"), None),
        (
            "another SM-DP+",
            download("bad.example.com"),
            Some(R::PolicyRefused),
        ),
        ("SM-DS", smds, Some(R::PolicyRefused)),
        ("foreign profile", foreign, Some(R::PolicyRefused)),
        ("four devices", enable(&four), Some(R::QuotaExceeded)),
    ];
    for (what, action, expected) in cases {
        let got = ask(&mut world, &mut operator, action).err();
        assert_eq!(
            got.as_ref().map(|refusal| refusal.code),
            expected,
            "{what}: {got:?}"
        );
        if expected.is_some() {
            assert_eq!(world.newest(1), ["intent.refused"], "{what}");
        }
    }
    let owners: Vec<(&str, Action, R)> = vec![
        (
            "registered already",
            register("meters", &[eid(1)]),
            R::Conflict,
        ),
        ("not frozen", unfrozen, R::Unknown),
        ("policy version", set_policy(&policy), R::Conflict),
        (
            "nobody",
            Action::RevokePrincipal {
                name: "nobody".parse().unwrap(),
            },
            R::Unknown,
        ),
        (
            "the break-glass key",
            Action::RevokePrincipal {
                name: "break-glass".parse().unwrap(),
            },
            R::LastOne,
        ),
        (
            "a key that is not there",
            Action::AddSigningKey {
                spki_sha256: intent::Digest([1; 32]),
            },
            R::Unknown,
        ),
        (
            "the last signing key",
            Action::RetireSigningKey {
                spki_sha256: intent::Digest::of(&[b"a key"]),
            },
            R::LastOne,
        ),
    ];
    for (what, action, expected) in owners {
        assert_eq!(
            code(ask(&mut world, &mut alice, action)),
            expected,
            "{what}"
        );
    }
}

#[test]
fn form_time_and_place_are_checked() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let good = world.intent(enable(&[eid(1)]));

    let mut elsewhere = good.clone();
    elsewhere.installation = "other.example.com/ledger".to_owned();
    let request = alice.propose(&elsewhere);
    assert_eq!(code(world.propose(&request)), R::Malformed);

    let mut spaced = alice.propose(&good);
    spaced.intent = spaced.intent.replace("\"v\":1", "\"v\": 1");
    assert_eq!(code(world.propose(&spaced)), R::Malformed);

    let mut early = good.clone();
    early.created_at = world.now + 121_000;
    let request = alice.propose(&early);
    assert_eq!(code(world.propose(&request)), R::Expired);

    let mut late = good.clone();
    late.created_at = world.now - 10_000;
    late.expires_at = world.now;
    let request = alice.propose(&late);
    assert_eq!(code(world.propose(&request)), R::Expired);

    let request = Person::new("mallory").propose(&good);
    assert_eq!(code(world.propose(&request)), R::CredentialUnknown);

    let machine = Machine::new("ci");
    let mut key = machine.public(world.now);
    key.not_before = world.now + 5_000;
    key.expires_at = world.now + 20_000;
    let action = Action::AdmitMachine {
        name: "ci".parse().unwrap(),
        grants: everywhere(Role::Operator),
        key,
        networks: vec!["192.0.2.0/24".parse().unwrap()],
    };
    world.agree(&mut alice, &mut bob, action).unwrap();
    let request = |world: &World| machine.propose(&world.intent(enable(&[eid(1)])), world.now);
    let from = |world: &mut World, address: &str| {
        let request = request(world);
        world.propose_from(request, address)
    };
    assert_eq!(
        code(from(&mut world, "192.0.2.1")),
        R::CredentialInvalid,
        "not yet"
    );
    world.now += 5_000;
    assert_eq!(code(from(&mut world, "198.51.100.1")), R::NetworkRefused);
    let nowhere = request(&world);
    assert_eq!(
        code(world.propose(&nowhere)),
        R::NetworkRefused,
        "an unknown place"
    );
    let refusal = from(&mut world, "127.0.0.1").unwrap_err();
    assert_eq!(refusal.code, R::NetworkRefused);
    assert!(
        refusal.message.contains("192.0.2.0/24 only") && refusal.message.contains("127.0.0.0/8"),
        "{}",
        refusal.message
    );
    from(&mut world, "192.0.2.1").unwrap();
    let info = world.state.principals();
    let ci = info.iter().find(|info| info.name.as_str() == "ci").unwrap();
    assert_eq!(ci.credentials[0].last_used_at, Some(world.now));
    assert_eq!(
        ci.credentials[0].last_used_from,
        Some("192.0.2.1".parse().unwrap())
    );
    assert_eq!(ci.credentials[0].last_used_for.as_deref(), Some("enable"));
    world.now += 15_000;
    assert_eq!(
        code(from(&mut world, "192.0.2.1")),
        R::CredentialInvalid,
        "too late"
    );
}

#[test]
fn a_signature_is_for_one_path_one_body_and_five_minutes() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let ci = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Operator));
    let intent = world.intent(enable(&[eid(1)]));
    let other = world.intent(enable(&[eid(2)]));
    let request = ci.propose(&intent, world.now);

    let mut swapped = request.clone();
    swapped.intent = ci.propose(&other, world.now).intent;
    assert_eq!(code(world.propose(&swapped)), R::ProofInvalid);

    let mut path = request.clone();
    if let intent::Proof::HttpSignature(proof) = &mut path.proof {
        proof.path = "/v1/other".to_owned();
    }
    assert_eq!(code(world.propose(&path)), R::ProofInvalid);

    world.now += 301_000;
    assert_eq!(code(world.propose(&request)), R::ProofInvalid, "old");
    world.now -= 301_000;
    world.propose(&request).unwrap();
}

#[test]
fn long_lists_come_along_and_are_recorded_in_parts() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let eids: Vec<_> = (1000..3000).map(eid).collect();
    let (devices, along) = DeviceSet::of(eids.clone()).unwrap();
    let action = Action::RegisterDevices {
        fleet: "meters".parse().unwrap(),
        devices: devices.clone(),
    };
    let enable_all = |devices| Action::Operate {
        devices,
        commands: vec![Command::ListProfiles],
    };
    let along = along.map(|eids| eids.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut request = alice.propose(&world.intent(action));
    assert_eq!(code(world.propose(&request)), R::Malformed, "no list");

    request.devices = along.clone();
    let status = world.propose(&request).unwrap();
    assert_eq!((status.state, status.devices), (IntentState::Waiting, 2000));
    assert_eq!(
        world.newest(3),
        ["intent.devices", "intent.devices", "intent.proposed"]
    );
    approve(&mut world, &mut bob, &status).unwrap();
    assert_eq!(
        world.state.devices.fleet(&eid(2999)).map(|f| f.to_string()),
        Some("meters".to_owned())
    );

    let mut longer = along.unwrap();
    longer.push(eid(5000).to_string());
    let mut request = alice.propose(&world.intent(enable_all(devices)));
    request.devices = Some(longer);
    assert_eq!(code(world.propose(&request)), R::Malformed, "one more");
}

#[test]
fn refusals_do_not_fill_the_record() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let viewer = world.admit(&mut alice, &mut bob, "viewer", everywhere(Role::Viewer));
    let refused = |world: &World| {
        let is_refusal =
            |(_, _, event): &&(u64, i64, Event)| matches!(event, Event::IntentRefused { .. });
        world.history.iter().filter(is_refusal).count()
    };
    for _ in 0..100 {
        let request = viewer.propose(&world.intent(enable(&[eid(1)])), world.now);
        assert_eq!(code(world.propose(&request)), R::RoleRefused);
    }
    assert_eq!(refused(&world), 60);
    world.now += 3_600_000;
    let request = viewer.propose(&world.intent(enable(&[eid(1)])), world.now);
    assert_eq!(code(world.propose(&request)), R::RoleRefused);
    assert_eq!(refused(&world), 61);
}

#[test]
fn one_credential_does_not_propose_without_end() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    policy.quotas.credential_per_hour = Some(1);
    world
        .agree(&mut alice, &mut bob, set_policy(&policy))
        .unwrap();
    let ci = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Operator));
    let send = |world: &mut World| {
        let request = ci.propose(&world.intent(enable(&[eid(1)])), world.now);
        world.propose(&request)
    };
    for _ in 0..60 {
        send(&mut world).unwrap();
    }
    let refusal = send(&mut world).unwrap_err();
    assert_eq!(refusal.code, R::QuotaExceeded);
    world.now = refusal.retry_at.unwrap();
    send(&mut world).unwrap();
}

#[test]
fn the_proposer_and_those_who_may_cancel() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut olga = world.invite(
        &mut alice,
        Some(&mut bob),
        "olga",
        within(Role::Operator, "meters"),
    );
    let mut carl = world.invite(
        &mut alice,
        Some(&mut bob),
        "carl",
        within(Role::Operator, "cars"),
    );
    let cancel = |intent| Action::Cancel { intent };
    let first = ask(&mut world, &mut olga, delete(&[eid(1)])).unwrap();
    assert_eq!(
        code(ask(&mut world, &mut carl, cancel(first.id))),
        R::OutOfScope
    );
    let done = ask(&mut world, &mut olga, cancel(first.id)).unwrap();
    assert_eq!(done.state, IntentState::Done);
    assert_eq!(
        world.state.status(&first.id, world.now).unwrap().state,
        IntentState::Cancelled
    );
    assert_eq!(
        code(ask(&mut world, &mut alice, cancel(first.id))),
        R::WrongState
    );
    assert_eq!(
        code(ask(&mut world, &mut alice, cancel(done.id))),
        R::WrongState
    );
    let request = bob.decide(first.id, Decision::Approve);
    assert_eq!(code(world.decide(first.id, &request)), R::WrongState);
    let feed = world.state.feed(0, u64::MAX, world.now);
    assert!(
        matches!(feed.items.last(), Some(intent::api::FeedItem::Cancelled { id, .. }) if *id == first.id)
    );
}

#[test]
fn a_key_for_the_host_itself_works_there_and_nowhere_else() {
    let (mut world, mut alice, mut bob) = World::peopled();
    for (name, network) in [("four", "127.0.0.0/8"), ("six", "::1/128")] {
        let machine = Machine::new(name);
        let action = Action::AdmitMachine {
            name: name.parse().unwrap(),
            grants: everywhere(Role::Operator),
            key: machine.public(world.now),
            networks: vec![network.parse().unwrap()],
        };
        world.agree(&mut alice, &mut bob, action).unwrap();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let request = machine.propose(&world.intent(enable(&[eid(1)])), world.now);
            world.propose_from(request, address).unwrap();
        }
        let request = machine.propose(&world.intent(enable(&[eid(1)])), world.now);
        assert_eq!(
            code(world.propose_from(request, "192.0.2.1")),
            R::NetworkRefused
        );
    }
}

fn set_policy(policy: &PolicyDocument) -> Action {
    Action::SetPolicy {
        policy: Box::new(policy.clone()),
    }
}
