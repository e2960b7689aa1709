use intent::action::{FreezeScope, OperationKind};
use intent::api::{IntentState, RefusalCode as R};
use intent::policy::ApprovalRule;
use intent::{Action, Command, Decision, Role};

use super::{approve, ask, code, incidents};
use crate::testing::{Machine, Person, World, delete, eid, everywhere, operate, within};

#[test]
fn each_reason_to_refuse_a_decision_has_its_code() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut viewer = world.invite(&mut alice, Some(&mut bob), "vera", everywhere(Role::Viewer));
    let mut cars = world.invite(
        &mut alice,
        Some(&mut bob),
        "carl",
        within(Role::Approver, "cars"),
    );
    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut alice, &status)),
        R::SamePerson
    );
    assert_eq!(
        code(approve(&mut world, &mut viewer, &status)),
        R::RoleRefused
    );
    assert_eq!(code(approve(&mut world, &mut cars, &status)), R::OutOfScope);
    let mut stranger = Person::new("mallory");
    assert_eq!(
        code(approve(&mut world, &mut stranger, &status)),
        R::CredentialUnknown
    );

    let machine = Machine::new("ci");
    let mut request = bob.decide(status.id, Decision::Approve);
    request.proof = machine
        .propose(&world.intent(delete(&[eid(1)])), world.now)
        .proof;
    assert_eq!(code(world.decide(status.id, &request)), R::PasskeyNeeded);

    let unknown = intent::IntentId(intent::Digest([9; 32]));
    let request = bob.decide(unknown, Decision::Approve);
    assert_eq!(code(world.decide(unknown, &request)), R::Unknown);

    approve(&mut world, &mut bob, &status).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut bob, &status)),
        R::SamePerson,
        "twice"
    );

    let late = ask(&mut world, &mut alice, delete(&[eid(2)])).unwrap();
    world.now += 3_600_000;
    assert_eq!(code(approve(&mut world, &mut bob, &late)), R::Expired);
    assert_eq!(
        world.state.status(&late.id, world.now).unwrap().state,
        IntentState::Expired
    );
}

#[test]
fn one_no_is_enough() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    let request = bob.decide(status.id, Decision::Reject);
    let rejected = world.decide(status.id, &request).unwrap();
    assert_eq!(rejected.state, IntentState::Rejected);
    let mut carol = world.invite(&mut alice, Some(&mut bob), "carol", everywhere(Role::Owner));
    assert_eq!(
        code(approve(&mut world, &mut carol, &status)),
        R::WrongState
    );
}

#[test]
fn the_stricter_policy_counts_when_it_changes_in_between() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut carol = world.invite(&mut alice, Some(&mut bob), "carol", everywhere(Role::Owner));
    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    for rule in &mut policy.approvals {
        rule.approvers = 2;
    }
    let action = Action::SetPolicy {
        policy: Box::new(policy.clone()),
    };
    world.agree(&mut alice, &mut bob, action).unwrap();
    let half = approve(&mut world, &mut bob, &status).unwrap();
    assert_eq!((half.state, half.approvers), (IntentState::Waiting, 2));
    let whole = approve(&mut world, &mut carol, &status).unwrap();
    assert_eq!(whole.state, IntentState::Approved);

    // Looser than when it was proposed: what was asked for then still counts.
    let status = ask(&mut world, &mut alice, delete(&[eid(2)])).unwrap();
    policy.version = 3;
    policy.approvals.clear();
    let action = Action::SetPolicy {
        policy: Box::new(policy.clone()),
    };
    let change = ask(&mut world, &mut alice, action).unwrap();
    approve(&mut world, &mut bob, &change).unwrap();
    approve(&mut world, &mut carol, &change).unwrap();
    assert_eq!(world.state.policy.version, 3);
    let half = approve(&mut world, &mut bob, &status).unwrap();
    assert_eq!(half.state, IntentState::Waiting);
}

#[test]
fn what_policy_forbids_meanwhile_is_not_approved() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let settings = |address: &str| {
        operate(
            &[eid(1)],
            Command::SetDefaultSmdp {
                address: address.to_owned(),
            },
        )
    };
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    policy.approvals.push(ApprovalRule {
        kinds: [OperationKind::Settings].into(),
        fleets: Default::default(),
        devices_over: 0,
        approvers: 1,
    });
    let action = Action::SetPolicy {
        policy: Box::new(policy.clone()),
    };
    world.agree(&mut alice, &mut bob, action).unwrap();
    let status = ask(&mut world, &mut alice, settings("smdp.example.com")).unwrap();
    policy.version = 3;
    policy.downloads.smdp_addresses = Some(["other.example.com".to_owned()].into());
    let action = Action::SetPolicy {
        policy: Box::new(policy),
    };
    world.agree(&mut alice, &mut bob, action).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut bob, &status)),
        R::PolicyRefused
    );
    let other = ask(&mut world, &mut alice, settings("other.example.com")).unwrap();
    approve(&mut world, &mut bob, &other).unwrap();
}

#[test]
fn an_approval_dies_with_its_approver() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut carol = world.invite(&mut alice, Some(&mut bob), "carol", everywhere(Role::Owner));
    let mut dora = world.invite(&mut alice, Some(&mut bob), "dora", everywhere(Role::Owner));
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    for rule in &mut policy.approvals {
        rule.approvers = 2;
    }
    let action = Action::SetPolicy {
        policy: Box::new(policy),
    };
    world.agree(&mut alice, &mut bob, action).unwrap();

    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    approve(&mut world, &mut bob, &status).unwrap();
    let revoke = Action::RevokePrincipal {
        name: "bob".parse().unwrap(),
    };
    let change = ask(&mut world, &mut alice, revoke).unwrap();
    approve(&mut world, &mut carol, &change).unwrap();
    approve(&mut world, &mut dora, &change).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut bob, &status)),
        R::CredentialInvalid,
        "revoked on the next call"
    );
    let second = approve(&mut world, &mut carol, &status).unwrap();
    assert_eq!(
        second.state,
        IntentState::Waiting,
        "bob's word counts no longer"
    );
    let third = approve(&mut world, &mut dora, &status).unwrap();
    assert_eq!(third.state, IntentState::Approved);
}

#[test]
fn a_proposer_who_was_demoted_or_revoked_gets_nothing_approved() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut olga = world.invite(
        &mut alice,
        Some(&mut bob),
        "olga",
        everywhere(Role::Operator),
    );
    let status = ask(&mut world, &mut olga, delete(&[eid(1)])).unwrap();
    let demote = Action::SetGrants {
        name: "olga".parse().unwrap(),
        grants: everywhere(Role::Viewer),
    };
    world.agree(&mut alice, &mut bob, demote).unwrap();
    assert_eq!(code(approve(&mut world, &mut bob, &status)), R::RoleRefused);
    let promote = Action::SetGrants {
        name: "olga".parse().unwrap(),
        grants: everywhere(Role::Operator),
    };
    world.agree(&mut alice, &mut bob, promote).unwrap();
    let frozen = Action::Freeze {
        scope: FreezeScope::Principal("olga".parse().unwrap()),
    };
    ask(&mut world, &mut alice, frozen.clone()).unwrap();
    assert_eq!(code(approve(&mut world, &mut bob, &status)), R::Frozen);
    let thaw = Action::Thaw {
        scope: FreezeScope::Principal("olga".parse().unwrap()),
    };
    world.agree(&mut alice, &mut bob, thaw).unwrap();
    let revoke = Action::RevokeCredential {
        credential: olga.credential(),
    };
    world.agree(&mut alice, &mut bob, revoke).unwrap();
    assert_eq!(code(approve(&mut world, &mut bob, &status)), R::WrongState);
    let reject = bob.decide(status.id, Decision::Reject);
    assert_eq!(
        world.decide(status.id, &reject).unwrap().state,
        IntentState::Rejected
    );
}

#[test]
fn a_copied_passkey_is_noticed() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut copy = intent::passkey::SoftwarePasskey::from_json(&bob.passkey.to_json(), None)
        .map(|passkey| Person { passkey })
        .unwrap();
    let first = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    approve(&mut world, &mut bob, &first).unwrap();
    let second = ask(&mut world, &mut alice, delete(&[eid(2)])).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut copy, &second)),
        R::ProofInvalid
    );
    assert_eq!(incidents(&world), ["passkey-counter"]);
    assert_eq!(world.newest(2), ["intent.refused", "incident.raised"]);
    approve(&mut world, &mut bob, &second).unwrap();
}
