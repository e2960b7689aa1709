//! The state is what replaying the ledger gives.

use intent::action::FreezeScope;
use intent::{Action, Command, Decision, DeviceSet, Proof, Role};
use proptest::prelude::*;

use crate::event::{Actor, Event};
use crate::state::State;
use crate::testing::{
    Machine, Person, World, delete, eid, enable, everywhere, freeze, register, within,
};

fn replayed(world: &World) -> State {
    let mut state = State::default();
    for (number, at, event) in &world.history {
        state.apply(*number, *at, event).unwrap();
    }
    state
}

fn snapshot(state: &State) -> String {
    serde_json::to_string(state).unwrap()
}

/// Does something, whether it is allowed or not.
fn step(world: &mut World, people: &mut [Person], machine: &Machine, what: u8, who: u8, n: u8) {
    let who = usize::from(who) % people.len();
    let device = eid(u64::from(n % 24));
    let name = ["alice", "bob", "olga", "ci"][usize::from(n) % 4];
    let action = match what % 15 {
        0 => enable(&[device]),
        1 | 2 => delete(&[device]),
        3 => register("meters", &[device]),
        4 => Action::RetireDevices {
            devices: DeviceSet::one(device),
        },
        5 => freeze(if n.is_multiple_of(2) {
            "meters"
        } else {
            "cars"
        }),
        6 => Action::Thaw {
            scope: FreezeScope::Fleet("meters".parse().unwrap()),
        },
        7 => world.invitation(&format!("guest-{n}"), within(Role::Viewer, "meters")),
        8 => Action::SetGrants {
            name: name.parse().unwrap(),
            grants: everywhere(Role::Operator),
        },
        9 => {
            let mut policy = world.state.policy.clone();
            policy.version += 1;
            policy.quotas.devices_per_intent = Some(u64::from(n));
            Action::SetPolicy {
                policy: Box::new(policy),
            }
        }
        10 => {
            let request = machine.propose(&world.intent(enable(&[device])), world.now);
            let _ = world.propose(&request);
            return;
        }
        11 | 12 => {
            let waiting =
                world
                    .state
                    .page(Some(intent::api::IntentState::Waiting), None, 50, world.now);
            let Some(status) = waiting.get(usize::from(n) % waiting.len().max(1)) else {
                return;
            };
            let decision = match what % 15 {
                11 => Decision::Approve,
                _ if n.is_multiple_of(3) => Decision::Reject,
                _ => Decision::Approve,
            };
            let request = people[who].decide(status.id, decision);
            let _ = world.decide(status.id, &request);
            return;
        }
        13 => {
            let request =
                super::sign_in::shown(&mut people[who], &super::sign_in::statement(world, n));
            let _ = world.sign_in(&request);
            return;
        }
        _ => {
            world.now += i64::from(n) * 3_600_000;
            return;
        }
    };
    let request = people[who].propose(&world.intent(action));
    let _ = world.propose(&request);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn replaying_gives_the_state_there_is(steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 1..60)) {
        let (mut world, mut alice, mut bob) = World::peopled();
        let olga = world.invite(&mut alice, Some(&mut bob), "olga", within(Role::Operator, "meters"));
        let machine = world.admit(&mut alice, &mut bob, "ci", within(Role::Operator, "meters"));
        let mut people = [alice, bob, olga];
        for (what, who, n) in steps {
            step(&mut world, &mut people, &machine, what, who, n);
        }
        let again = replayed(&world);
        // Not prop_assert_eq: what differs is found faster in the steps than in two printed states.
        prop_assert!(again == world.state, "replaying gives another state");
        let text = snapshot(&world.state);
        prop_assert!(snapshot(&again) == text, "replaying gives another snapshot");
        let restored: State = serde_json::from_str(&text).unwrap();
        prop_assert!(snapshot(&restored) == text, "a snapshot is not restored as it was");
    }
}

#[test]
fn a_ledger_on_disk_gives_the_state_back() {
    let (mut world, mut alice, mut bob) = World::peopled();
    for n in 0..5 {
        world
            .agree(&mut alice, &mut bob, delete(&[eid(n)]))
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let key = || ledger::SigningKey::from_seed(crate::testing::INSTALLATION, &[5; 32]).unwrap();
    let store = || ledger::FolderStore::exclusive(folder.path()).unwrap();
    let mut written = ledger::Ledger::create(store(), key()).unwrap();
    let drafts = world
        .history
        .iter()
        .map(|(_, at, event)| event.to_draft(&Actor::Authority, *at).unwrap())
        .collect();
    written.append(drafts).unwrap();
    drop(written);

    let mut state = State::default();
    let mut visit = |entry: &ledger::Entry| {
        let at = i64::try_from(entry.at).unwrap();
        if let Some(event) = Event::of_entry(entry).unwrap() {
            state.apply(entry.number, at, &event).unwrap();
        }
    };
    ledger::Ledger::open(store(), key(), None, &mut visit).unwrap();
    assert!(state == world.state);
}

#[test]
fn the_longest_intent_and_proof_fit_into_an_entry() {
    let (mut world, mut alice, _) = World::peopled();
    // A note of characters that take six octets each in JSON, on top of the longest list and most commands.
    let eids: Vec<_> = (0..10).map(eid).collect();
    let command = Command::SetDefaultSmdp {
        address: "a".repeat(1_900),
    };
    let mut intent = world.intent(Action::Operate {
        devices: DeviceSet::of(eids).unwrap().0,
        commands: vec![command; 16],
    });
    intent.note = Some("\u{fffd}".repeat(100));
    let octets = intent.encode().unwrap();
    assert!(octets.len() > 30_000 && octets.len() <= intent::OCTETS_MAX);
    let mut request = alice.propose(&intent);
    world.propose(&request).unwrap();

    let mut intent = world.intent(enable(&[eid(1)]));
    intent.note = None;
    request = alice.propose(&intent);
    if let Proof::Passkey { assertion, .. } = &mut request.proof {
        assertion.response.client_data_json.0 = vec![b' '; 13_000];
    }
    let refusal = world.propose(&request).unwrap_err();
    assert_eq!(
        refusal.code,
        intent::api::RefusalCode::Malformed,
        "{refusal}"
    );
}

#[test]
fn entries_that_contradict_the_others_are_not_believed() {
    let (mut world, mut alice, _) = World::peopled();
    let request = alice.propose(&world.intent(delete(&[eid(1)])));
    let status = world.propose(&request).unwrap();
    let (number, at, genesis) = world.history[0].clone();
    let next = world.history.len() as u64;
    let last = world.history.last().cloned().unwrap();
    let cases: Vec<(u64, Event)> = vec![
        (number, genesis.clone()),
        (next, genesis),
        (last.0, last.2.clone()),
        (next, last.2),
        (
            next,
            Event::IntentCancelled {
                id: status.id,
                by: 99,
            },
        ),
        (
            next,
            Event::FreezeLifted {
                intent: status.entry,
                scope: FreezeScope::Everything,
            },
        ),
        (
            next,
            Event::GrantsSet {
                intent: status.entry,
                name: "nobody".parse().unwrap(),
                grants: Vec::new(),
            },
        ),
        (
            next,
            Event::PackageReleased {
                eid: Some(eid(2)),
                intent: status.entry,
                approvals: Vec::new(),
            },
        ),
    ];
    for (number, event) in cases {
        let mut state = world.state.clone();
        assert!(state.apply(number, at, &event).is_err(), "{event:?}");
    }
    assert!(
        State::default().apply(1, at, &world.history[1].2).is_err(),
        "nothing stands before the first entry"
    );
}
