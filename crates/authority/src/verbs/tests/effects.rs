use intent::action::FreezeScope;
use intent::api::{FeedItem, IntentState, RefusalCode as R};
use intent::bearer::BearerToken;
use intent::{Action, DeviceSet, Digest, Role};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{approve, ask, code, incidents};
use crate::testing::{
    Machine, Person, World, delete, eid, enable, everywhere, freeze, register, within,
};

const DAY_MS: i64 = 86_400_000;

#[test]
fn a_freeze_is_at_once_and_a_thaw_takes_two() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut policy = world.state.policy.clone();
    policy.version = 2;
    policy.approvals.clear();
    let action = Action::SetPolicy {
        policy: Box::new(policy),
    };
    world.agree(&mut alice, &mut bob, action).unwrap();

    let running = ask(&mut world, &mut alice, enable(&[eid(1)])).unwrap();
    let status = ask(&mut world, &mut alice, freeze("meters")).unwrap();
    assert_eq!(status.state, IntentState::Done);
    let open = world.state.intents.get(&running.id).unwrap();
    let stop = world.state.stop(open, &"meters".parse().unwrap()).unwrap();
    assert_eq!(stop.code, R::Frozen);
    assert!(world.state.stop(open, &"cars".parse().unwrap()).is_some());

    let thaw = Action::Thaw {
        scope: FreezeScope::Fleet("meters".parse().unwrap()),
    };
    let status = ask(&mut world, &mut alice, thaw).unwrap();
    assert_eq!(
        (status.state, status.approvers),
        (IntentState::Waiting, 1),
        "whatever policy says"
    );
    approve(&mut world, &mut bob, &status).unwrap();
    let open = world.state.intents.get(&running.id).unwrap();
    assert!(world.state.stop(open, &"meters".parse().unwrap()).is_none());
}

#[test]
fn who_is_frozen_does_nothing_and_administrators_are_not_locked_out_by_approvers() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut pat = world.invite(
        &mut alice,
        Some(&mut bob),
        "pat",
        everywhere(Role::Approver),
    );
    let mut olga = world.invite(
        &mut alice,
        Some(&mut bob),
        "olga",
        within(Role::Operator, "meters"),
    );
    let stop = |name: &str| Action::Freeze {
        scope: FreezeScope::Principal(name.parse().unwrap()),
    };
    assert_eq!(
        code(ask(&mut world, &mut pat, stop("alice"))),
        R::RoleRefused
    );
    let pending = ask(&mut world, &mut olga, enable(&[eid(1)])).unwrap();
    ask(&mut world, &mut pat, stop("olga")).unwrap();
    assert_eq!(
        code(ask(&mut world, &mut olga, enable(&[eid(2)]))),
        R::Frozen
    );
    let open = world.state.intents.get(&pending.id).unwrap();
    let stopped = world.state.stop(open, &"meters".parse().unwrap());
    assert_eq!(stopped.unwrap().code, R::Frozen);

    let one_key = Action::Freeze {
        scope: FreezeScope::Credential(pat.credential()),
    };
    ask(&mut world, &mut alice, one_key).unwrap();
    assert_eq!(code(ask(&mut world, &mut pat, stop("olga"))), R::Frozen);
}

#[test]
fn an_owner_is_not_frozen_if_only_who_does_it_is_left() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut sam = world.invite(
        &mut alice,
        Some(&mut bob),
        "sam",
        everywhere(Role::SecurityAdmin),
    );
    let stop = |name: &str| Action::Freeze {
        scope: FreezeScope::Principal(name.parse().unwrap()),
    };
    let stop_key = |person: &Person| Action::Freeze {
        scope: FreezeScope::Credential(person.credential()),
    };
    // Whoever has alice's passkey cannot have bob out of the way, nor the other way round.
    assert_eq!(code(ask(&mut world, &mut alice, stop("bob"))), R::LastOne);
    let refusal = ask(&mut world, &mut alice, stop_key(&bob)).unwrap_err();
    assert_eq!(refusal.code, R::LastOne);
    assert!(
        refusal.message.contains("freeze everything"),
        "{}",
        refusal.message
    );
    assert_eq!(code(ask(&mut world, &mut bob, stop("alice"))), R::LastOne);
    // Somebody else stops one of two, but not the second.
    ask(&mut world, &mut sam, stop("alice")).unwrap();
    assert_eq!(code(ask(&mut world, &mut sam, stop("bob"))), R::LastOne);
    // Stopping everything is still one person's word.
    let everything = Action::Freeze {
        scope: FreezeScope::Everything,
    };
    ask(&mut world, &mut bob, everything).unwrap();
    // With a third owner there is one to do something about it.
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut carol = world.invite(&mut alice, Some(&mut bob), "carol", everywhere(Role::Owner));
    ask(&mut world, &mut alice, stop("bob")).unwrap();
    assert_eq!(code(ask(&mut world, &mut alice, stop("carol"))), R::LastOne);
    // Oneself one may stop, and the key in the safe anybody.
    ask(&mut world, &mut carol, stop_key(&Person::new("carol"))).unwrap();
    let request = world
        .break_glass
        .propose(&world.intent(stop("alice")), world.now);
    world.propose(&request).unwrap();
}

#[test]
fn the_last_owner_stays() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut sam = world.invite(
        &mut alice,
        Some(&mut bob),
        "sam",
        everywhere(Role::SecurityAdmin),
    );
    let revoke = |name: &str| Action::RevokePrincipal {
        name: name.parse().unwrap(),
    };
    assert_eq!(
        code(ask(&mut world, &mut sam, revoke("bob"))),
        R::RoleRefused,
        "a security admin does not end owners"
    );
    world.agree(&mut alice, &mut sam, revoke("bob")).unwrap();
    let demote = Action::SetGrants {
        name: "alice".parse().unwrap(),
        grants: everywhere(Role::Viewer),
    };
    let last_key = Action::RevokeCredential {
        credential: alice.credential(),
    };
    for action in [revoke("alice"), demote, last_key] {
        assert_eq!(code(ask(&mut world, &mut alice, action)), R::LastOne);
    }
    assert_eq!(
        code(ask(&mut world, &mut bob, enable(&[eid(1)]))),
        R::CredentialInvalid
    );
}

#[test]
fn both_last_owners_cannot_leave_by_two_intents_that_wait_together() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut sam = world.invite(
        &mut alice,
        Some(&mut bob),
        "sam",
        everywhere(Role::SecurityAdmin),
    );
    let revoke = |name: &str| Action::RevokePrincipal {
        name: name.parse().unwrap(),
    };
    let first = ask(&mut world, &mut alice, revoke("alice")).unwrap();
    let second = ask(&mut world, &mut bob, revoke("bob")).unwrap();
    approve(&mut world, &mut sam, &first).unwrap();
    assert_eq!(code(approve(&mut world, &mut sam, &second)), R::LastOne);
}

#[test]
fn nobody_gives_more_than_is_theirs() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut fay = world.invite(
        &mut alice,
        Some(&mut bob),
        "fay",
        within(Role::FleetAdmin, "meters"),
    );
    let cases = [
        (within(Role::Operator, "meters"), None),
        (within(Role::Operator, "cars"), Some(R::OutOfScope)),
        (everywhere(Role::Operator), Some(R::OutOfScope)),
        (within(Role::FleetAdmin, "meters"), Some(R::RoleRefused)),
        (within(Role::Owner, "meters"), Some(R::RoleRefused)),
    ];
    for (grants, expected) in cases {
        let action = world.invitation(&format!("p{}", world.history.len()), grants.clone());
        let got = ask(&mut world, &mut fay, action).err().map(|r| r.code);
        assert_eq!(got, expected, "{grants:?}");
    }
    // A further passkey for somebody mightier would be their whole might.
    let takeover = world.invitation("alice", Vec::new());
    assert_eq!(code(ask(&mut world, &mut fay, takeover)), R::OutOfScope);
    let mut sam = world.invite(
        &mut alice,
        Some(&mut bob),
        "sam",
        everywhere(Role::SecurityAdmin),
    );
    let takeover = world.invitation("alice", Vec::new());
    assert_eq!(code(ask(&mut world, &mut sam, takeover)), R::RoleRefused);
    let promote = Action::SetGrants {
        name: "sam".parse().unwrap(),
        grants: everywhere(Role::Owner),
    };
    assert_eq!(code(ask(&mut world, &mut sam, promote)), R::RoleRefused);
    let machine = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Viewer));
    let request = machine.propose(
        &world.intent(Action::SetGrants {
            name: "ci".parse().unwrap(),
            grants: everywhere(Role::Operator),
        }),
        world.now,
    );
    assert_eq!(code(world.propose(&request)), R::RoleRefused);
    let approver_machine = Action::SetGrants {
        name: "ci".parse().unwrap(),
        grants: everywhere(Role::Approver),
    };
    assert_eq!(
        code(ask(&mut world, &mut alice, approver_machine)),
        R::RoleRefused
    );
}

#[test]
fn a_machine_changes_its_own_key_with_an_overlap() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let old = world.admit(&mut alice, &mut bob, "ci", within(Role::Operator, "meters"));
    let other = world.admit(
        &mut alice,
        &mut bob,
        "ci-2",
        within(Role::Operator, "meters"),
    );
    let rotate = |world: &World, name: &str, new: &Machine, overlap: i64| Action::RotateKey {
        name: name.parse().unwrap(),
        key: new.public(world.now),
        overlap_until: world.now + overlap,
    };
    let new = Machine::with_seed("ci", "second");
    let foreign = other.propose(&world.intent(rotate(&world, "ci", &new, DAY_MS)), world.now);
    assert_eq!(code(world.propose(&foreign)), R::RoleRefused);
    let request = old.propose(&world.intent(rotate(&world, "ci", &new, DAY_MS)), world.now);
    let status = world.propose(&request).unwrap();
    assert_eq!(status.state, IntentState::Waiting);
    approve(&mut world, &mut bob, &status).unwrap();

    let third = Machine::with_seed("ci", "third");
    let action = rotate(&world, "ci", &third, DAY_MS);
    assert_eq!(
        code(ask(&mut world, &mut alice, action)),
        R::Conflict,
        "three keys at once"
    );
    let send = |world: &mut World, machine: &Machine| {
        let request = machine.propose(&world.intent(enable(&[eid(1)])), world.now);
        world.propose(&request)
    };
    send(&mut world, &old).unwrap();
    send(&mut world, &new).unwrap();
    world.now += DAY_MS;
    assert_eq!(code(send(&mut world, &old)), R::CredentialInvalid);
    send(&mut world, &new).unwrap();

    let mut forged = third.public(world.now);
    forged.id = new.public(world.now).id;
    let action = Action::RotateKey {
        name: "ci".parse().unwrap(),
        key: forged,
        overlap_until: world.now,
    };
    assert_eq!(code(ask(&mut world, &mut alice, action)), R::Malformed);
    let back = rotate(&world, "ci", &old, 0);
    assert_eq!(
        code(ask(&mut world, &mut alice, back)),
        R::Conflict,
        "an old key is not taken again"
    );
    let too_long = rotate(&world, "ci", &third, 32 * DAY_MS);
    assert_eq!(code(ask(&mut world, &mut alice, too_long)), R::Malformed);
}

#[test]
fn a_token_reads_until_it_ends() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let token = BearerToken::generate(&mut ChaCha20Rng::from_seed([3; 32]));
    let record = token.record();
    let action = Action::IssueReadToken {
        name: "dashboard".parse().unwrap(),
        token_id: record.id.to_string(),
        secret_sha256: record.digest,
        grants: within(Role::Viewer, "meters"),
        expires_at: world.now + DAY_MS,
    };
    world.agree(&mut alice, &mut bob, action).unwrap();
    let info = world.state.check_token(&record, world.now).unwrap();
    assert_eq!(
        (info.kind.as_str(), info.grants),
        ("token", within(Role::Viewer, "meters"))
    );
    let mut forged = record.clone();
    forged.digest = Digest([0; 32]);
    assert_eq!(
        code(world.state.check_token(&forged, world.now)),
        R::CredentialUnknown
    );
    assert_eq!(
        code(world.state.check_token(&record, world.now + DAY_MS)),
        R::CredentialInvalid
    );
    let revoke = Action::RevokeCredential {
        credential: record.id.as_str().parse().unwrap(),
    };
    world.agree(&mut alice, &mut bob, revoke).unwrap();
    assert_eq!(
        code(world.state.check_token(&record, world.now)),
        R::CredentialInvalid
    );
}

#[test]
fn the_key_in_the_safe_passes_approvals_and_freezes_and_raises_an_incident() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let everything = Action::Freeze {
        scope: FreezeScope::Everything,
    };
    ask(&mut world, &mut alice, everything).unwrap();
    let break_glass = Machine::new("break-glass");
    let send = |world: &mut World, action| {
        let request = break_glass.propose(&world.intent(action), world.now);
        world.propose(&request)
    };
    let status = send(&mut world, delete(&[eid(1)])).unwrap();
    assert_eq!(status.state, IntentState::Approved);
    assert_eq!(incidents(&world), ["break-glass"]);
    let open = world.state.intents.get(&status.id).unwrap();
    assert!(world.state.stop(open, &"meters".parse().unwrap()).is_none());
    assert_eq!(
        code(send(&mut world, delete(&[eid(77)]))),
        R::Unknown,
        "not even this key reaches devices that are not registered"
    );

    // It can end the last owner and let another one in.
    for name in ["alice", "bob"] {
        let revoke = Action::RevokePrincipal {
            name: name.parse().unwrap(),
        };
        send(&mut world, revoke).unwrap();
    }
    let invitation = world.invitation("carol", everywhere(Role::Owner));
    send(&mut world, invitation).unwrap();
    let mut carol = Person::new("carol");
    world.enrol(&carol.enrol("code-of-carol")).unwrap();
    assert_eq!(
        code(ask(&mut world, &mut bob, enable(&[eid(1)]))),
        R::CredentialInvalid
    );
    let new = Machine::with_seed("break-glass", "new");
    let rotate = Action::RotateKey {
        name: "break-glass".parse().unwrap(),
        key: new.public(world.now),
        overlap_until: world.now,
    };
    let status = ask(&mut world, &mut carol, rotate).unwrap();
    assert_eq!(status.approvers, 1);
}

#[test]
fn devices_come_go_and_come_again() {
    let (mut world, mut alice, _) = World::peopled();
    let one = |action: fn(DeviceSet) -> Action| action(DeviceSet::one(eid(1)));
    let retire = one(|devices| Action::RetireDevices { devices });
    let again = one(|devices| Action::ReassociateDevices { devices });
    ask(&mut world, &mut alice, again.clone()).unwrap();
    let running = ask(&mut world, &mut alice, enable(&[eid(1), eid(2)])).unwrap();
    ask(&mut world, &mut alice, retire.clone()).unwrap();
    assert_eq!(code(ask(&mut world, &mut alice, retire)), R::Unknown);
    assert_eq!(code(ask(&mut world, &mut alice, again)), R::Unknown);
    ask(&mut world, &mut alice, register("cars", &[eid(1)])).unwrap();
    let open = world.state.intents.get(&running.id).unwrap();
    let stop = world.state.stop(open, &"cars".parse().unwrap()).unwrap();
    assert_eq!(
        stop.code,
        R::OutOfScope,
        "what was approved for a meter is not for a car"
    );
    let feed = world.state.feed(0, u64::MAX, world.now);
    let kinds: Vec<&str> = feed
        .items
        .iter()
        .map(|item| match item {
            FeedItem::Approved { .. } => "approved",
            FeedItem::Cancelled { .. } => "cancelled",
            FeedItem::Registered { .. } => "registered",
            FeedItem::Retired { .. } => "retired",
            FeedItem::Reassociable { .. } => "reassociable",
            FeedItem::Thawed { .. } => "thawed",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "registered",
            "registered",
            "reassociable",
            "approved",
            "retired",
            "registered"
        ]
    );
    let rest = world.state.feed(feed.next, u64::MAX, world.now);
    assert!(rest.items.is_empty());
    assert_eq!(rest.next, feed.next);
    let first = world.state.feed(0, feed.next, world.now);
    assert_eq!(first.items.len(), 5, "what is not durable yet is not told");
}
