//! What people's browsers send.

use std::sync::LazyLock;

use authority::event::RelyingParty;
use authority::webauthn::{verify_assertion, verify_registration};
use intent::passkey::{
    AssertionResponse, PasskeyCredential, RegistrationResponse, SoftwarePasskey,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::input::Input;

const ENROLMENT: [u8; 32] = [1; 32];
const WISH: [u8; 32] = [2; 32];

struct World {
    party: RelyingParty,
    registration: RegistrationResponse,
    assertion: AssertionResponse,
    credential: PasskeyCredential,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let party = RelyingParty {
        id: "eim.example.com".to_owned(),
        origins: vec!["https://eim.example.com".to_owned()],
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let name = "alice".parse().expect("a name");
    let mut passkey = SoftwarePasskey::create(&party.id, name, &mut rng).expect("a passkey");
    let origin = "https://eim.example.com";
    let registration = passkey.register(origin, &ENROLMENT).expect("registers");
    let assertion = passkey.assert(origin, &WISH).expect("asserts");
    World {
        credential: verify_registration(&party, &ENROLMENT, &registration).expect("verifies"),
        party,
        registration,
        assertion,
    }
});

/// Decodes responses and judges them, and good ones that somebody on the way has changed. A registration that passes is
/// of the credential that it names; an assertion passes unchanged or not at all, and for one challenge only.
pub fn webauthn(data: &[u8]) {
    if let Ok(response) = serde_json::from_slice::<RegistrationResponse>(data) {
        register(&response);
    }
    if let Ok(response) = serde_json::from_slice::<AssertionResponse>(data) {
        assert_wish(&response);
    }
    let world = &*WORLD;
    let mut input = Input::new(data);
    let mut registration = world.registration.clone();
    input.edit(&mut registration.response.attestation_object.0);
    input.edit(&mut registration.response.client_data_json.0);
    input.edit(&mut registration.id.0);
    register(&registration);

    let mut assertion = world.assertion.clone();
    input.edit(&mut assertion.response.authenticator_data.0);
    input.edit(&mut assertion.response.client_data_json.0);
    input.edit(&mut assertion.response.signature.0);
    assert_wish(&assertion);
}

fn register(response: &RegistrationResponse) {
    let world = &*WORLD;
    if let Ok(credential) = verify_registration(&world.party, &ENROLMENT, response) {
        assert_eq!(credential.id, response.id);
        assert!(verify_registration(&world.party, &WISH, response).is_err());
    }
}

fn assert_wish(response: &AssertionResponse) {
    let world = &*WORLD;
    let verify =
        |challenge| verify_assertion(&world.party, challenge, &world.credential, 0, response);
    if verify(&WISH).is_ok() {
        assert_eq!(response, &world.assertion, "changed and accepted");
    }
    assert!(verify(&ENROLMENT).is_err());
}

pub fn webauthn_seeds() -> Vec<Vec<u8>> {
    let world = &*WORLD;
    vec![
        serde_json::to_vec(&world.registration).expect("serializes"),
        serde_json::to_vec(&world.assertion).expect("serializes"),
        vec![1, 3, 0, 100, 5, 1, 4, 0, 9, 1, 0, 0, 0, 0, 0],
        vec![0; 16],
    ]
}
