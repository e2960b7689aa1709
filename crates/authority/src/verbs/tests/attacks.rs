//! What somebody with stolen or altered things tries (issue: attacks to show stopped), as far as the engine is concerned.

use intent::api::RefusalCode as R;
use intent::{Action, Decision, DeviceSet, IntentId, Proof, Role};

use super::{approve, ask, code};
use crate::testing::{World, delete, eid, enable, everywhere};

#[test]
fn a_proof_is_good_for_one_intent_once() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let intent = world.intent(enable(&[eid(1)]));
    let request = alice.propose(&intent);
    world.propose(&request).unwrap();
    assert_eq!(code(world.propose(&request)), R::Replayed);

    let mut same_nonce = world.intent(enable(&[eid(2)]));
    same_nonce.nonce = intent.nonce;
    let other = alice.propose(&same_nonce);
    assert_eq!(code(world.propose(&other)), R::Replayed);

    let mut moved = alice.propose(&world.intent(enable(&[eid(3)])));
    moved.proof = request.proof.clone();
    assert_eq!(code(world.propose(&moved)), R::ProofInvalid);

    let ci = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Operator));
    let request = ci.propose(&world.intent(enable(&[eid(1)])), world.now);
    world.propose(&request).unwrap();
    assert_eq!(code(world.propose(&request)), R::Replayed);
    world.now += 2 * 3_600_000;
    assert!(matches!(
        code(world.propose(&request)),
        R::ProofInvalid | R::Expired
    ));
}

#[test]
fn a_replay_long_after_the_intent_was_forgotten_is_too_late() {
    let (mut world, mut alice, _) = World::peopled();
    let request = alice.propose(&world.intent(enable(&[eid(1)])));
    let status = world.propose(&request).unwrap();
    world.now += 30 * 86_400_000;
    ask(&mut world, &mut alice, enable(&[eid(2)])).unwrap();
    assert!(world.state.intents.get(&status.id).is_none(), "forgotten");
    assert_eq!(code(world.propose(&request)), R::Expired);
}

#[test]
fn a_proposal_is_no_approval_and_an_approval_no_rejection() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    let other = ask(&mut world, &mut alice, delete(&[eid(2)])).unwrap();

    let mut as_approval = bob.decide(status.id, Decision::Approve);
    as_approval.proof = bob.prove(status.id.0);
    assert_eq!(
        code(world.decide(status.id, &as_approval)),
        R::ProofInvalid,
        "an assertion over the intent itself"
    );
    let for_other = bob.decide(other.id, Decision::Approve);
    assert_eq!(code(world.decide(status.id, &for_other)), R::ProofInvalid);
    let mut turned = bob.decide(status.id, Decision::Reject);
    turned.decision = Decision::Approve;
    assert_eq!(code(world.decide(status.id, &turned)), R::ProofInvalid);
    assert_eq!(
        code(approve(&mut world, &mut alice, &status)),
        R::SamePerson,
        "approver equals proposer"
    );
}

#[test]
fn a_second_passkey_does_not_make_a_second_person() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let further = world.invitation("alice", Vec::new());
    world.agree(&mut alice, &mut bob, further).unwrap();
    let mut second = crate::testing::Person::new("alice-second");
    {
        use rand_chacha::rand_core::SeedableRng;
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([9; 32]);
        second.passkey = intent::passkey::SoftwarePasskey::create(
            crate::testing::RP_ID,
            "alice".parse().unwrap(),
            &mut rng,
        )
        .unwrap();
    }
    world.enrol(&second.enrol("code-of-alice")).unwrap();
    let status = ask(&mut world, &mut alice, delete(&[eid(1)])).unwrap();
    assert_eq!(
        code(approve(&mut world, &mut second, &status)),
        R::SamePerson
    );
}

#[test]
fn revoked_keys_end_on_the_next_call_and_with_them_what_they_wanted() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let ci = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Operator));
    let stolen = ci.propose(&world.intent(enable(&[eid(1)])), world.now);
    let status = world.propose(&stolen).unwrap();
    let later = ci.propose(&world.intent(enable(&[eid(2)])), world.now);
    let revoke = Action::RevokeCredential {
        credential: ci.key.id(),
    };
    world.agree(&mut alice, &mut bob, revoke).unwrap();
    assert_eq!(code(world.propose(&later)), R::CredentialInvalid);
    let open = world.state.intents.get(&status.id).unwrap();
    let stop = world.state.stop(open, &"meters".parse().unwrap()).unwrap();
    assert_eq!(stop.code, R::CredentialInvalid);
}

#[test]
fn an_altered_or_longer_list_of_devices_is_another_list() {
    let (mut world, mut alice, _) = World::peopled();
    let request = alice.propose(&world.intent(enable(&[eid(1)])));
    let mut extended = request.clone();
    let with = format!("{}\",\"{}", eid(1), eid(2));
    extended.intent = request.intent.replace(&eid(1).to_string(), &with);
    assert_ne!(extended.intent, request.intent);
    assert_eq!(code(world.propose(&extended)), R::ProofInvalid);

    let mut along = request.clone();
    along.devices = Some(vec![eid(1).to_string(), eid(2).to_string()]);
    assert_eq!(code(world.propose(&along)), R::Malformed);

    let eids: Vec<_> = (200..400).map(eid).collect();
    let (devices, list) = DeviceSet::of(eids).unwrap();
    let action = Action::RegisterDevices {
        fleet: "meters".parse().unwrap(),
        devices,
    };
    let mut request = alice.propose(&world.intent(action));
    let mut list: Vec<String> = list.unwrap().iter().map(ToString::to_string).collect();
    if let Some(last) = list.last_mut() {
        *last = eid(999).to_string();
    }
    request.devices = Some(list);
    assert_eq!(code(world.propose(&request)), R::Malformed);
    assert_eq!(world.newest(1), ["intent.refused"]);
}

#[test]
fn an_inserted_credential_is_found_in_no_entry() {
    // Nothing but the ledger makes people; what an attacker writes elsewhere is not looked at. Here: a passkey whose id is
    // known but whose key is another one.
    let (mut world, mut alice, _) = World::peopled();
    let mut mallory = crate::testing::Person::new("mallory");
    let intent = world.intent(enable(&[eid(1)]));
    let mut request = mallory.propose(&intent);
    if let Proof::Passkey {
        credential,
        assertion,
    } = &mut request.proof
    {
        *credential = alice.credential();
        let hers = alice
            .passkey
            .assert(crate::testing::ORIGIN, &[1; 32])
            .unwrap();
        assertion.id = hers.id;
    }
    assert_eq!(code(world.propose(&request)), R::ProofInvalid);
    let octets = intent.encode().unwrap();
    assert!(world.state.intents.get(&IntentId::of(&octets)).is_none());
}

#[test]
fn time_does_not_run_backwards() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let ci = world.admit(&mut alice, &mut bob, "ci", everywhere(Role::Operator));
    let intent = world.intent(enable(&[eid(1)]));
    let request = ci.propose(&intent, world.now);
    world.now += 2 * 3_600_000;
    ask(&mut world, &mut alice, enable(&[eid(2)])).unwrap();
    // Somebody sets the clock back, to when the intent was fresh.
    world.now -= 2 * 3_600_000;
    assert_eq!(code(world.propose(&request)), R::Expired);
}
