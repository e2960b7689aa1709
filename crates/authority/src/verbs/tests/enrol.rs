use intent::api::RefusalCode as R;
use intent::{Action, Role};

use super::{ask, code};
use crate::event::Waiver;
use crate::testing::{Person, World, everywhere, policy};

#[test]
fn the_first_owner_enrols_once() {
    let mut world = World::new(policy());
    let alice = Person::new("alice");
    let code_of_owner = world.owner_code.clone();
    let wrong = alice.enrol("0000-0000");
    assert_eq!(code(world.enrol(&wrong)), R::CodeRefused);
    let mut stolen = alice.enrol(&code_of_owner);
    stolen.name = "mallory".parse().unwrap();
    assert_eq!(
        code(world.enrol(&stolen)),
        R::ProofInvalid,
        "a registration is for one name"
    );
    let info = world.enrol(&alice.enrol(&code_of_owner)).unwrap();
    assert_eq!(info.grants, everywhere(Role::Owner));
    assert_eq!(
        info,
        world
            .state
            .principals()
            .into_iter()
            .find(|known| known.name.as_str() == "alice")
            .unwrap()
    );
    let again = Person::new("mallory").enrol(&code_of_owner);
    assert_eq!(code(world.enrol(&again)), R::CodeRefused);
}

#[test]
fn the_owners_code_expires() {
    let mut world = World::new(policy());
    let alice = Person::new("alice");
    world.now += 8 * 86_400_000;
    let request = alice.enrol(&world.owner_code.clone());
    assert_eq!(code(world.enrol(&request)), R::CodeRefused);
}

#[test]
fn passkeys_that_are_files_are_for_laboratories() {
    let mut world = World::new(intent::PolicyDocument::initial());
    let request = Person::new("alice").enrol(&world.owner_code.clone());
    assert_eq!(code(world.enrol(&request)), R::PolicyRefused);
}

#[test]
fn an_invitation_is_for_one_name_one_time_and_one_use() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let invitation = world.invitation("carol", everywhere(Role::Viewer));
    let status = ask(&mut world, &mut alice, invitation.clone()).unwrap();
    let carol = Person::new("carol");
    let request = carol.enrol("code-of-carol");
    assert_eq!(
        code(world.enrol(&request)),
        R::CodeRefused,
        "not approved yet"
    );
    super::approve(&mut world, &mut bob, &status).unwrap();
    assert_eq!(
        code(ask(&mut world, &mut alice, invitation)),
        R::Conflict,
        "invited already"
    );
    let other = Person::new("mallory").enrol("code-of-carol");
    assert_eq!(code(world.enrol(&other)), R::CodeRefused, "another name");
    let wrong = carol.enrol("code-of-bob");
    assert_eq!(code(world.enrol(&wrong)), R::CodeRefused, "another code");
    world.enrol(&request).unwrap();
    assert_eq!(code(world.enrol(&request)), R::CodeRefused, "twice");

    // A further passkey; the first one stays.
    let further = world.invitation("carol", Vec::new());
    world.agree(&mut alice, &mut bob, further).unwrap();
    assert_eq!(
        code(world.enrol(&request)),
        R::Conflict,
        "the same passkey again"
    );
    let mut second = Person::new("carol-2");
    second.passkey = {
        use rand_chacha::rand_core::SeedableRng;
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([9; 32]);
        intent::passkey::SoftwarePasskey::create(
            crate::testing::RP_ID,
            "carol".parse().unwrap(),
            &mut rng,
        )
        .unwrap()
    };
    let info = world.enrol(&second.enrol("code-of-carol")).unwrap();
    assert_eq!(info.credentials.len(), 2);
    assert_eq!(info.grants, everywhere(Role::Viewer));

    let late = world.invitation("dave", everywhere(Role::Viewer));
    world.agree(&mut alice, &mut bob, late).unwrap();
    world.now += 86_400_000;
    let request = Person::new("dave").enrol("code-of-dave");
    assert_eq!(code(world.enrol(&request)), R::CodeRefused, "too late");
}

#[test]
fn revoking_takes_back_invitations_of_and_by() {
    let (mut world, mut alice, mut bob) = World::peopled();
    for (name, by) in [("carol", true), ("dave", false)] {
        let invitation = world.invitation(name, everywhere(Role::Viewer));
        match by {
            true => world.agree(&mut bob, &mut alice, invitation).unwrap(),
            false => world.agree(&mut alice, &mut bob, invitation).unwrap(),
        };
    }
    let mut carol = world.invite(&mut alice, Some(&mut bob), "eve", everywhere(Role::Owner));
    let revoke = |name: &str| Action::RevokePrincipal {
        name: name.parse().unwrap(),
    };
    world.agree(&mut alice, &mut bob, revoke("dave")).unwrap();
    let request = Person::new("dave").enrol("code-of-dave");
    assert_eq!(code(world.enrol(&request)), R::CodeRefused);
    world.agree(&mut alice, &mut carol, revoke("bob")).unwrap();
    let request = Person::new("carol").enrol("code-of-carol");
    assert_eq!(
        code(world.enrol(&request)),
        R::CodeRefused,
        "invited by somebody who was revoked"
    );
}

#[test]
fn only_while_there_is_one_owner_a_person_comes_in_without_approval() {
    let mut world = World::new(policy());
    let mut alice = Person::new("alice");
    let owner_code = world.owner_code.clone();
    world.enrol(&alice.enrol(&owner_code)).unwrap();
    let machine = crate::testing::Machine::new("ci");
    let admit = Action::AdmitMachine {
        name: "ci".parse().unwrap(),
        grants: everywhere(Role::Operator),
        key: machine.public(world.now),
        networks: Vec::new(),
    };
    let waits = ask(&mut world, &mut alice, admit).unwrap();
    assert_eq!(waits.approvers, 1, "a machine is no second person");
    let invitation = world.invitation("bob", everywhere(Role::Owner));
    let status = ask(&mut world, &mut alice, invitation).unwrap();
    assert_eq!(status.approvers, 0);
    let open = world.state.intents.get(&status.id).unwrap();
    assert_eq!(open.waived(), Some(Waiver::SoleOwner));
    let bob = Person::new("bob");
    world.enrol(&bob.enrol("code-of-bob")).unwrap();
    let invitation = world.invitation("carol", everywhere(Role::Owner));
    let status = ask(&mut world, &mut alice, invitation).unwrap();
    assert_eq!(status.approvers, 1);
}
