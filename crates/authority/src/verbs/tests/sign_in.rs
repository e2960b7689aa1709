//! Coming in to look around.

use intent::api::{RefusalCode as R, SignIn};
use intent::sign_in::{LIFETIME_MAX_MS, SignInStatement};
use intent::{Action, Digest, Proof};

use super::code;
use crate::testing::{Person, World};

pub(super) fn statement(world: &World, nonce: u8) -> SignInStatement {
    SignInStatement {
        v: 1,
        installation: world.state.installation().unwrap().name.clone(),
        nonce: [nonce; 16],
        created_at: world.now,
        expires_at: world.now + LIFETIME_MAX_MS,
    }
}

pub(super) fn shown(person: &mut Person, statement: &SignInStatement) -> SignIn {
    let text = statement.encode().unwrap();
    SignIn {
        proof: person.prove(SignInStatement::challenge(text.as_bytes())),
        statement: text,
        network: Some([192, 0, 2, 1].into()),
    }
}

#[test]
fn a_passkey_lets_its_owner_in_once_and_on_the_record() {
    let (mut world, mut alice, _) = World::peopled();
    let request = shown(&mut alice, &statement(&world, 1));
    let signed_in = world.sign_in(&request).unwrap();
    assert_eq!(signed_in.principal.name.as_str(), "alice");
    assert_eq!(signed_in.credential, alice.credential());
    assert_eq!(world.newest(1), ["person.signed-in"]);
    let used = &world
        .state
        .principal(&"alice".parse().unwrap())
        .unwrap()
        .credentials[0];
    assert_eq!(used.last_used_for.as_deref(), Some("sign in"));

    assert_eq!(code(world.sign_in(&request)), R::Replayed);
    assert_eq!(world.newest(1), ["person.sign-in-refused"]);
    // The same nonce under a fresh signature is no better.
    let again = shown(&mut alice, &statement(&world, 1));
    assert_eq!(code(world.sign_in(&again)), R::Replayed);
}

#[test]
fn what_was_signed_for_something_else_lets_nobody_in() {
    let (mut world, mut alice, _) = World::peopled();
    let wanted = statement(&world, 1);
    let text = wanted.encode().unwrap();
    let mut request = shown(&mut alice, &wanted);
    // An intent with these octets would have this challenge.
    request.proof = alice.prove(Digest::of(&[text.as_bytes()]));
    assert_eq!(code(world.sign_in(&request)), R::ProofInvalid);

    let mut altered = shown(&mut alice, &wanted);
    altered.statement = statement(&world, 2).encode().unwrap();
    assert_eq!(code(world.sign_in(&altered)), R::ProofInvalid);

    let mut elsewhere = wanted.clone();
    elsewhere.installation = "eim.example.net/ledger".to_owned();
    let elsewhere = shown(&mut alice, &elsewhere);
    assert_eq!(code(world.sign_in(&elsewhere)), R::Malformed);
}

#[test]
fn the_time_to_come_in_is_short() {
    let (mut world, mut alice, _) = World::peopled();
    let request = shown(&mut alice, &statement(&world, 1));
    world.now += LIFETIME_MAX_MS;
    assert_eq!(code(world.sign_in(&request)), R::Expired);

    let mut early = statement(&world, 2);
    early.created_at += 120_000;
    early.expires_at += 120_000;
    let early = shown(&mut alice, &early);
    assert_eq!(code(world.sign_in(&early)), R::Expired);
}

#[test]
fn who_was_revoked_stays_outside() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let revoke = Action::RevokeCredential {
        credential: bob.credential(),
    };
    world.agree(&mut alice, &mut bob, revoke).unwrap();
    let request = shown(&mut bob, &statement(&world, 1));
    assert_eq!(code(world.sign_in(&request)), R::CredentialInvalid);
}

#[test]
fn strangers_do_not_fill_the_record() {
    let (mut world, _, _) = World::peopled();
    let mut mallory = Person::new("mallory");
    let before = world.history.len();
    for nonce in 0..100 {
        let request = shown(&mut mallory, &statement(&world, nonce));
        assert_eq!(code(world.sign_in(&request)), R::CredentialUnknown);
    }
    assert_eq!(world.history.len() - before, 60);
    world.now += 2 * 3_600_000;
    let request = shown(&mut mallory, &statement(&world, 200));
    assert_eq!(code(world.sign_in(&request)), R::CredentialUnknown);
    assert_eq!(
        world.history.len() - before,
        61,
        "they are heard again later"
    );
}

#[test]
fn somebody_known_who_fails_does_not_fill_the_record_either() {
    let (mut world, mut alice, _) = World::peopled();
    let before = world.history.len();
    let mut request = shown(&mut alice, &statement(&world, 1));
    request.statement = statement(&world, 2).encode().unwrap();
    for _ in 0..100 {
        assert_eq!(code(world.sign_in(&request)), R::ProofInvalid);
    }
    assert_eq!(world.history.len() - before, 60);
    // And is let in all the same: trying in the name of others locks nobody out.
    let request = shown(&mut alice, &statement(&world, 3));
    world.sign_in(&request).unwrap();
}

#[test]
fn machines_do_not_sign_in() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let ci = world.admit(
        &mut alice,
        &mut bob,
        "ci",
        crate::testing::everywhere(intent::Role::Operator),
    );
    let proof = ci
        .propose(&world.intent(crate::testing::freeze("meters")), world.now)
        .proof;
    assert!(matches!(proof, Proof::HttpSignature(_)));
    let request = SignIn {
        statement: statement(&world, 1).encode().unwrap(),
        proof,
        network: None,
    };
    assert_eq!(code(world.sign_in(&request)), R::PasskeyNeeded);
}
