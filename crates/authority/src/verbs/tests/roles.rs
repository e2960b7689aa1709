//! Every role against every kind, through the verb.

use intent::action::{FreezeScope, OperationKind as K};
use intent::api::RefusalCode as R;
use intent::{Action, Command, DeviceSet, Digest, PolicyDocument, Role};

use super::{ask, code};
use crate::testing::{
    Machine, World, delete, eid, enable, everywhere, freeze, operate, policy, register, within,
};

const ROLES: [Role; 7] = [
    Role::Viewer,
    Role::Auditor,
    Role::Operator,
    Role::Approver,
    Role::FleetAdmin,
    Role::SecurityAdmin,
    Role::Owner,
];

/// One action of each kind. Those that are about something that is there refer to the world of [`World::peopled`].
fn actions(world: &World, cancelled: intent::IntentId) -> Vec<(K, Action)> {
    let one = |n| DeviceSet::one(eid(n));
    let mut next = world.state.policy.clone();
    next.version += 1;
    vec![
        (K::Enable, enable(&[eid(1)])),
        (
            K::Disable,
            operate(
                &[eid(1)],
                Command::Disable {
                    iccid: "89000123456789012341".parse().unwrap(),
                },
            ),
        ),
        (K::Delete, delete(&[eid(1)])),
        (
            K::Download,
            operate(
                &[eid(1)],
                Command::Download {
                    source: intent::command::DownloadSource::DefaultSmdp,
                    route: Default::default(),
                    confirmation_code: None,
                },
            ),
        ),
        (K::Fallback, operate(&[eid(1)], Command::UnsetFallback)),
        (
            K::Settings,
            operate(
                &[eid(1)],
                Command::SetDefaultSmdp {
                    address: String::new(),
                },
            ),
        ),
        (K::Read, operate(&[eid(1)], Command::ListProfiles)),
        (
            K::EimConfiguration,
            operate(
                &[eid(1)],
                Command::DeleteEim {
                    eim_id: "other.example.com".parse().unwrap(),
                },
            ),
        ),
        (K::RegisterDevices, register("meters", &[eid(50)])),
        (K::RetireDevices, Action::RetireDevices { devices: one(2) }),
        (
            K::Reassociate,
            Action::ReassociateDevices { devices: one(3) },
        ),
        (K::Cancel, Action::Cancel { intent: cancelled }),
        (
            K::Credential,
            world.invitation("newcomer", within(Role::Viewer, "meters")),
        ),
        (
            K::Policy,
            Action::SetPolicy {
                policy: Box::new(next),
            },
        ),
        (K::Freeze, freeze("meters")),
        (
            K::Thaw,
            Action::Thaw {
                scope: FreezeScope::Fleet("cars".parse().unwrap()),
            },
        ),
        (
            K::SigningKey,
            operate(
                &[eid(1)],
                Command::AdoptEimKey {
                    spki_sha256: Digest::of(&[b"a key"]),
                },
            ),
        ),
    ]
}

#[test]
fn roles_propose_what_the_table_says_and_nothing_else() {
    for role in ROLES {
        let (mut world, mut alice, mut bob) = World::peopled();
        let mut person = world.invite(&mut alice, Some(&mut bob), "person", everywhere(role));
        let cancelled = ask(&mut world, &mut alice, enable(&[eid(1)])).unwrap().id;
        ask(&mut world, &mut alice, freeze("cars")).unwrap();
        for (kind, action) in actions(&world, cancelled) {
            assert_eq!(action.kinds(), [kind].into(), "{kind:?}");
            let got = ask(&mut world, &mut person, action);
            match role.may_propose(kind) {
                true => assert!(got.is_ok(), "{role:?} {kind:?}: {got:?}"),
                false => assert_eq!(code(got), R::RoleRefused, "{role:?} {kind:?}"),
            }
        }
    }
}

#[test]
fn roles_approve_what_the_table_says_and_nothing_else() {
    // Everything needs an approval, by two people, so that one does not end the matter.
    let mut policy = policy();
    policy.approvals.push(intent::policy::ApprovalRule {
        kinds: Default::default(),
        fleets: Default::default(),
        devices_over: 0,
        approvers: 2,
    });
    for role in ROLES {
        let (mut world, mut alice, mut bob) = World::peopled();
        let mut person = world.invite(&mut alice, Some(&mut bob), "person", everywhere(role));
        let cancelled = ask(&mut world, &mut alice, enable(&[eid(1)])).unwrap().id;
        ask(&mut world, &mut alice, freeze("cars")).unwrap();
        let set = Action::SetPolicy {
            policy: Box::new(PolicyDocument {
                version: 2,
                ..policy.clone()
            }),
        };
        world.agree(&mut alice, &mut bob, set).unwrap();
        for (kind, action) in actions(&world, cancelled) {
            let status = ask(&mut world, &mut alice, action).unwrap();
            if kind == K::Freeze {
                continue;
            }
            let got = super::approve(&mut world, &mut person, &status);
            match role.may_approve(kind) {
                true => assert!(got.is_ok(), "{role:?} {kind:?}: {got:?}"),
                false => assert_eq!(code(got), R::RoleRefused, "{role:?} {kind:?}"),
            }
        }
    }
}

#[test]
fn the_fleet_of_every_device_counts() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut grants = within(Role::Operator, "meters");
    grants.extend(within(Role::FleetAdmin, "cars"));
    let mut both = world.invite(&mut alice, Some(&mut bob), "both", grants);
    ask(&mut world, &mut both, enable(&[eid(1), eid(11)])).unwrap();
    let retire = |eids: &[_]| Action::RetireDevices {
        devices: DeviceSet::of(eids.to_vec()).unwrap().0,
    };
    assert_eq!(
        code(ask(&mut world, &mut both, retire(&[eid(1), eid(11)]))),
        R::OutOfScope
    );
    ask(&mut world, &mut both, retire(&[eid(11)])).unwrap();
    assert_eq!(
        code(ask(&mut world, &mut both, register("meters", &[eid(60)]))),
        R::OutOfScope
    );
    let name = "both".parse().unwrap();
    let meters = "meters".parse().unwrap();
    assert!(world.state.may(&name, K::Enable, Some(&meters)));
    assert!(!world.state.may(&name, K::RetireDevices, Some(&meters)));
    assert!(!world.state.may(&name, K::Enable, None));
    let machine = Machine::new("nobody");
    let request = machine.propose(&world.intent(enable(&[eid(1)])), world.now);
    assert_eq!(code(world.propose(&request)), R::CredentialUnknown);
}
