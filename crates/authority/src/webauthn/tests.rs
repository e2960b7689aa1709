use intent::passkey::{
    AssertionMembers, AttestationMembers, CredentialType, SOFTWARE_AAGUID, SoftwarePasskey,
};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use intent::passkey::PasskeyAlgorithm;

use super::*;

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/webauthn/level3-vectors.json"
));

const CHROMIUM: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/webauthn/chromium-156.json"
));

const SOFTWARE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/webauthn/software-passkey.json"
));

/// One pair of section 16 of the specification.
struct Vector {
    section: String,
    registration_challenge: Vec<u8>,
    registration: RegistrationResponse,
    assertion_challenge: Vec<u8>,
    assertion: AssertionResponse,
}

fn vectors() -> Vec<Vector> {
    let values: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
    values
        .iter()
        .map(|value| {
            let octets = |part: &str, name: &str| {
                Base64Url(hex::decode(value[part][name].as_str().unwrap()).unwrap())
            };
            let id = octets("registration", "credential_id");
            Vector {
                section: value["section"].as_str().unwrap().to_owned(),
                registration_challenge: octets("registration", "challenge").0,
                registration: RegistrationResponse {
                    id: id.clone(),
                    kind: CredentialType::PublicKey,
                    response: AttestationMembers {
                        client_data_json: octets("registration", "clientDataJSON"),
                        attestation_object: octets("registration", "attestationObject"),
                    },
                },
                assertion_challenge: octets("authentication", "challenge").0,
                assertion: AssertionResponse {
                    id,
                    kind: CredentialType::PublicKey,
                    response: AssertionMembers {
                        client_data_json: octets("authentication", "clientDataJSON"),
                        authenticator_data: octets("authentication", "authenticatorData"),
                        signature: octets("authentication", "signature"),
                    },
                },
            }
        })
        .collect()
}

fn vector(section: &str) -> Vector {
    vectors()
        .into_iter()
        .find(|vector| vector.section == section)
        .unwrap()
}

fn example_org() -> RelyingParty {
    party("example.org")
}

fn party(id: &str) -> RelyingParty {
    RelyingParty {
        id: id.to_owned(),
        origins: vec![format!("https://{id}")],
    }
}

fn lenient_registration(vector: &Vector) -> Result<PasskeyCredential, WebauthnError> {
    registration(
        &example_org(),
        &vector.registration_challenge,
        &vector.registration,
        UserVerificationPolicy::Discouraged_DO_NOT_USE,
    )
}

fn lenient_assertion(
    vector: &Vector,
    credential: &PasskeyCredential,
) -> Result<AssertionFacts, WebauthnError> {
    assertion(
        &example_org(),
        &vector.assertion_challenge,
        credential,
        0,
        &vector.assertion,
        UserVerificationPolicy::Discouraged_DO_NOT_USE,
    )
}

#[test]
fn the_vectors_of_the_specification_are_judged_right() {
    use Attestation::{None as Nothing, NotVerified, SelfSigned};
    use PasskeyAlgorithm::Es256;

    // Section, and what is made of it: algorithm and attestation, or why not.
    let expected = [
        ("none-es256", Ok((Es256, Nothing))),
        ("packed-self-es256", Ok((Es256, SelfSigned))),
        ("none-es256-crossOrigin", Err(WebauthnError::CrossOrigin)),
        ("none-es256-topOrigin", Err(WebauthnError::CrossOrigin)),
        ("none-es256-long-credential-id", Ok((Es256, Nothing))),
        ("packed-es256", Ok((Es256, NotVerified))),
        ("packed-es384", Err(WebauthnError::Key)),
        ("packed-es512", Err(WebauthnError::Key)),
        ("packed-rs256", Err(WebauthnError::Key)),
        ("packed-eddsa", Err(WebauthnError::Key)),
        ("packed-ed448", Err(WebauthnError::Key)),
        ("tpm-es256", Err(WebauthnError::Key)),
        (
            "android-key-es256",
            Err(WebauthnError::AttestationStatement),
        ),
        ("apple-es256", Ok((Es256, NotVerified))),
        ("fido-u2f-es256", Ok((Es256, NotVerified))),
    ];
    let vectors = vectors();
    assert_eq!(vectors.len(), expected.len());
    for (vector, (section, expected)) in vectors.iter().zip(expected) {
        assert_eq!(vector.section, section);
        let registered = lenient_registration(vector);
        let outcome = registered
            .as_ref()
            .map(|credential| (credential.algorithm, credential.attestation))
            .map_err(Clone::clone);
        assert_eq!(outcome, expected, "{section}");
        let Ok(credential) = registered else { continue };

        let facts = lenient_assertion(vector, &credential).unwrap();
        assert_eq!(facts.counter, CounterChange::NotUsed, "{section}");
        // With one bit changed anywhere in what is signed, or in the signature, it is refused.
        let mut forged = vector.assertion.clone();
        forged.response.authenticator_data.0[36] ^= 1;
        let forged = Vector {
            assertion: forged,
            ..self::vector(section)
        };
        assert_eq!(
            lenient_assertion(&forged, &credential),
            Err(WebauthnError::Signature),
            "{section}"
        );
        let mut forged = vector.assertion.clone();
        *forged.response.signature.0.last_mut().unwrap() ^= 1;
        let forged = Vector {
            assertion: forged,
            ..self::vector(section)
        };
        assert_eq!(
            lenient_assertion(&forged, &credential),
            Err(WebauthnError::Signature),
            "{section}"
        );
    }
}

#[test]
fn the_vectors_without_user_verification_are_refused() {
    let mut verified = Vec::new();
    let mut refused = 0;
    for vector in vectors() {
        let strict = registration(
            &example_org(),
            &vector.registration_challenge,
            &vector.registration,
            UserVerificationPolicy::Required,
        );
        let Ok(credential) = lenient_registration(&vector) else {
            continue;
        };
        match strict {
            Ok(strict) => {
                assert_eq!(strict, credential);
                verified.push(vector.section);
            }
            Err(error) => {
                assert_eq!(error, WebauthnError::UserNotVerified, "{}", vector.section);
                refused += 1;
            }
        }
    }
    // Their flags, bit 0x04 of the 33rd octet of the authenticator data.
    assert_eq!(verified, VERIFIED_REGISTRATIONS);
    assert_eq!(refused + verified.len(), 6);
}

const VERIFIED_REGISTRATIONS: [&str; 2] = ["packed-self-es256", "packed-es256"];

/// What a browser sent, as it sent it.
#[derive(serde::Deserialize)]
struct Recorded {
    name: String,
    #[serde(with = "hex::serde")]
    registration_challenge: [u8; 32],
    registration: RegistrationResponse,
    #[serde(with = "hex::serde")]
    assertion_challenge: [u8; 32],
    assertion: AssertionResponse,
}

#[test]
fn what_chromium_sends_is_judged_right() {
    use PasskeyAlgorithm::{Es256, Rs256};

    let recorded: Vec<Recorded> = serde_json::from_str(CHROMIUM).unwrap();
    let party = party("eim.example.com");
    let expected = [
        ("ES256", Ok(Es256)),
        ("EdDSA", Err(WebauthnError::Key)),
        ("RS256", Ok(Rs256)),
        (
            "ES256-without-user-verification",
            Err(WebauthnError::UserNotVerified),
        ),
    ];
    assert_eq!(recorded.len(), expected.len());
    for (recorded, (name, expected)) in recorded.iter().zip(expected) {
        assert_eq!(recorded.name, name);
        let registered = verify_registration(
            &party,
            &recorded.registration_challenge,
            &recorded.registration,
        );
        let algorithm = registered.as_ref().map(|credential| credential.algorithm);
        assert_eq!(algorithm.map_err(Clone::clone), expected, "{name}");
        let Ok(credential) = registered else { continue };
        assert_eq!(credential.attestation, Attestation::None);
        assert_eq!(credential.counter, 1);
        assert!(!credential.backup_eligible);
        let judge = |challenge: &[u8; 32]| {
            verify_assertion(
                &party,
                challenge,
                &credential,
                credential.counter,
                &recorded.assertion,
            )
        };
        let facts = judge(&recorded.assertion_challenge).unwrap();
        assert_eq!(facts.new_counter, 2, "{name}");
        assert_eq!(facts.counter, CounterChange::Advanced, "{name}");
        assert_eq!(
            judge(&recorded.registration_challenge),
            Err(WebauthnError::Challenge)
        );
    }
}

/// What a software passkey made, and Yubico's python-fido2 accepted (tests/data/webauthn/ORIGIN.md).
#[derive(serde::Deserialize)]
struct Made {
    rp_id: String,
    #[serde(with = "hex::serde")]
    registration_challenge: [u8; 32],
    registration: RegistrationResponse,
    #[serde(with = "hex::serde")]
    assertion_challenge: [u8; 32],
    assertion: AssertionResponse,
}

#[test]
fn a_software_passkey_makes_what_another_library_accepted() {
    let accepted: Made = serde_json::from_str(SOFTWARE).unwrap();
    let party = party(&accepted.rp_id);
    let credential = verify_registration(
        &party,
        &accepted.registration_challenge,
        &accepted.registration,
    )
    .unwrap();
    verify_assertion(
        &party,
        &accepted.assertion_challenge,
        &credential,
        0,
        &accepted.assertion,
    )
    .unwrap();
    // Signatures are not repeatable, everything else is made the same way today.
    let (party, mut passkey, _) = registered();
    let registration = passkey.register(&party.origins[0], &[1; 32]).unwrap();
    assert_eq!(
        registration, accepted.registration,
        "let another library judge the new form before it is kept"
    );
    let assertion = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
    assert_eq!(
        (
            &assertion.response.authenticator_data,
            &assertion.response.client_data_json
        ),
        (
            &accepted.assertion.response.authenticator_data,
            &accepted.assertion.response.client_data_json
        )
    );
}

/// A registered software passkey, its party, and the passkey.
fn registered() -> (RelyingParty, SoftwarePasskey, PasskeyCredential) {
    let party = party("eim.example.com");
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let passkey = SoftwarePasskey::create(&party.id, "alice".parse().unwrap(), &mut rng).unwrap();
    let response = passkey.register(&party.origins[0], &[1; 32]).unwrap();
    let credential = verify_registration(&party, &[1; 32], &response).unwrap();
    (party, passkey, credential)
}

#[test]
fn a_software_passkey_registers_and_asserts() {
    let (party, mut passkey, credential) = registered();
    assert_eq!(credential.algorithm, PasskeyAlgorithm::Es256);
    assert_eq!(credential.attestation, Attestation::None);
    assert_eq!(credential.aaguid, SOFTWARE_AAGUID);
    assert!(credential.backup_eligible && !credential.backed_up);
    assert_eq!(credential.counter, 0);

    let stored = serde_json::to_string(&credential).unwrap();
    let credential: PasskeyCredential = serde_json::from_str(&stored).unwrap();
    let response = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
    let facts = verify_assertion(&party, &[2; 32], &credential, 0, &response).unwrap();
    assert_eq!(
        facts,
        AssertionFacts {
            user_verified: true,
            new_counter: 1,
            counter: CounterChange::Advanced,
            backed_up: false,
        }
    );
}

#[test]
fn a_copy_of_a_passkey_shows_in_its_counter() {
    let (party, mut passkey, credential) = registered();
    let mut copy = SoftwarePasskey::from_json(&passkey.to_json(), None).unwrap();
    let original = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
    let facts = verify_assertion(&party, &[2; 32], &credential, 0, &original).unwrap();
    let copied = copy.assert(&party.origins[0], &[3; 32]).unwrap();
    let facts =
        verify_assertion(&party, &[3; 32], &credential, facts.new_counter, &copied).unwrap();
    assert_eq!(facts.counter, CounterChange::Regressed);
    assert_eq!(CounterChange::between(5, 0), CounterChange::Regressed);
    assert_eq!(CounterChange::between(0, 0), CounterChange::NotUsed);
}

#[test]
fn an_assertion_proves_one_challenge_at_one_party_with_one_credential() {
    let (party, mut passkey, credential) = registered();
    let response = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
    let verify = |party: &RelyingParty,
                  challenge: u8,
                  credential: &PasskeyCredential,
                  response: &AssertionResponse| {
        verify_assertion(party, &[challenge; 32], credential, 0, response).unwrap_err()
    };
    assert_eq!(
        verify(&party, 3, &credential, &response),
        WebauthnError::Challenge
    );

    let elsewhere = RelyingParty {
        origins: vec!["https://evil.example.com".to_owned()],
        ..party.clone()
    };
    assert!(matches!(
        verify(&elsewhere, 2, &credential, &response),
        WebauthnError::Origin
    ));
    let port = RelyingParty {
        origins: vec!["https://eim.example.com:8443".to_owned()],
        ..party.clone()
    };
    assert!(matches!(
        verify(&port, 2, &credential, &response),
        WebauthnError::Origin
    ));
    let other = RelyingParty {
        id: "example.com".to_owned(),
        ..party.clone()
    };
    assert!(matches!(
        verify(&other, 2, &credential, &response),
        WebauthnError::RelyingParty { .. }
    ));

    let mut other = response.clone();
    other.id.0[0] ^= 1;
    assert_eq!(
        verify(&party, 2, &credential, &other),
        WebauthnError::OtherCredential
    );
    let flipped = PasskeyCredential {
        backup_eligible: false,
        ..credential.clone()
    };
    assert_eq!(
        verify(&party, 2, &flipped, &response),
        WebauthnError::BackupState
    );

    // A registration is no assertion, even over the same challenge.
    let registration = passkey.register(&party.origins[0], &[2; 32]).unwrap();
    let mut mixed = response.clone();
    mixed.response.client_data_json = registration.response.client_data_json.clone();
    assert!(matches!(
        verify(&party, 2, &credential, &mixed),
        WebauthnError::Ceremony { .. }
    ));
    // The key of somebody else.
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let stranger =
        SoftwarePasskey::create(&party.id, "mallory".parse().unwrap(), &mut rng).unwrap();
    let strange = stranger.register(&party.origins[0], &[1; 32]).unwrap();
    let strange = verify_registration(&party, &[1; 32], &strange).unwrap();
    let swapped = PasskeyCredential {
        public_key: strange.public_key,
        ..credential.clone()
    };
    assert_eq!(
        verify(&party, 2, &swapped, &response),
        WebauthnError::Signature
    );
}

#[test]
fn flags_that_must_be_set_are_asked_for() {
    let (party, mut passkey, credential) = registered();
    let response = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
    for (flags, error) in [
        (0x0C, WebauthnError::UserNotPresent),
        (0x09, WebauthnError::UserNotVerified),
        (0x15, WebauthnError::BackupState),
        (0x1D, WebauthnError::Signature),
        (0x4D, WebauthnError::Malformed),
        (0x8D, WebauthnError::Malformed),
    ] {
        let mut changed = response.clone();
        changed.response.authenticator_data.0[32] = flags;
        assert_eq!(
            verify_assertion(&party, &[2; 32], &credential, 0, &changed),
            Err(error),
            "{flags:02x}"
        );
    }
}

#[test]
fn client_data_is_read_one_way_only() {
    let (party, passkey, _) = registered();
    let good = passkey.register(&party.origins[0], &[1; 32]).unwrap();
    let text = String::from_utf8(good.response.client_data_json.0.clone()).unwrap();
    let judge = |text: String| {
        let mut response = good.clone();
        response.response.client_data_json = Base64Url(text.into_bytes());
        verify_registration(&party, &[1; 32], &response)
    };
    // Attestation `none` signs nothing, so changed client data is judged by its content alone.
    assert!(judge(text.replace(",\"crossOrigin\":false", "")).is_ok());
    assert!(judge(text.replace('}', ",\"later\":{\"a\":1}}")).is_ok());
    for (changed, error) in [
        (
            text.replace("crossOrigin\":false", "crossOrigin\":true"),
            WebauthnError::CrossOrigin,
        ),
        (
            text.replace('}', ",\"topOrigin\":\"https://a.example\"}"),
            WebauthnError::CrossOrigin,
        ),
        (
            text.replace('}', ",\"crossOrigin\":false}"),
            WebauthnError::ClientData,
        ),
        (
            text.replace('}', ",\"challenge\":\"AAAA\"}"),
            WebauthnError::ClientData,
        ),
        (
            text.replace("\"webauthn.create\"", "\"payment.get\""),
            WebauthnError::Ceremony {
                expected: "webauthn.create",
            },
        ),
        (
            text.replace('}', &" ".repeat(5000)),
            WebauthnError::TooLong {
                member: "clientDataJSON",
            },
        ),
        (String::new(), WebauthnError::ClientData),
    ] {
        assert_eq!(judge(changed.clone()), Err(error), "{changed:.300}");
    }
}

#[test]
fn registrations_that_contradict_themselves_are_refused() {
    let (party, passkey, _) = registered();
    let good = passkey.register(&party.origins[0], &[1; 32]).unwrap();
    let judge = |change: &dyn Fn(&mut RegistrationResponse)| {
        let mut response = good.clone();
        change(&mut response);
        verify_registration(&party, &[1; 32], &response).unwrap_err()
    };
    assert_eq!(judge(&|r| r.id.0[0] ^= 1), WebauthnError::OtherCredential);
    assert_eq!(judge(&|r| r.id.0.clear()), WebauthnError::CredentialId);
    assert_eq!(
        judge(&|r| r.id.0 = vec![0; 1024]),
        WebauthnError::CredentialId
    );
    assert_eq!(
        judge(&|r| r.response.attestation_object.0 = vec![0; MEMBER_MAX + 1]),
        WebauthnError::TooLong {
            member: "attestationObject"
        }
    );
    assert_eq!(
        judge(&|r| r.response.attestation_object.0.push(0)),
        WebauthnError::Malformed
    );
    // EdDSA said of a key on P-256: the last 77 octets are the key, its algorithm the fifth of them.
    assert_eq!(
        judge(&|r| {
            let object = &mut r.response.attestation_object.0;
            let at = object.len() - 77 + 4;
            assert_eq!(object[at], 0x26);
            object[at] = 0x27;
        }),
        WebauthnError::Key
    );
    // A point that is not on the curve.
    assert_eq!(
        judge(&|r| *r.response.attestation_object.0.last_mut().unwrap() ^= 1),
        WebauthnError::Key
    );
    // A self-signed statement by another key.
    let mut forged = vector("packed-self-es256");
    let object = &mut forged.registration.response.attestation_object.0;
    let at = object.windows(4).position(|w| w == b"\x63sig").unwrap() + 40;
    object[at] ^= 1;
    assert_eq!(
        lenient_registration(&forged),
        Err(WebauthnError::AttestationStatement)
    );
}

proptest! {
    #[test]
    fn cut_and_changed_registrations_never_pass_as_another(at in 0_usize..200, octet: u8, cut in 0_usize..200) {
        let (party, passkey, credential) = registered();
        let mut response = passkey.register(&party.origins[0], &[1; 32]).unwrap();
        let object = &mut response.response.attestation_object.0;
        if let Some(place) = object.get_mut(at) {
            *place = octet;
        }
        if let Ok(changed) = verify_registration(&party, &[1; 32], &response) {
            // Nothing signs a registration without attestation, but it always is of the credential it names.
            prop_assert_eq!(changed.id, credential.id);
        }
        response.response.attestation_object.0.truncate(cut.min(object_length() - 1));
        prop_assert!(verify_registration(&party, &[1; 32], &response).is_err());
    }

    #[test]
    fn changed_assertions_never_pass(part in 0_usize..3, at in 0_usize..200, bit in 0_u8..8) {
        let (party, mut passkey, credential) = registered();
        let mut response = passkey.assert(&party.origins[0], &[2; 32]).unwrap();
        let octets = match part {
            0 => &mut response.response.client_data_json.0,
            1 => &mut response.response.authenticator_data.0,
            _ => &mut response.response.signature.0,
        };
        let at = at % octets.len();
        octets[at] ^= 1 << bit;
        prop_assert!(verify_assertion(&party, &[2; 32], &credential, 0, &response).is_err());
    }
}

fn object_length() -> usize {
    let (party, passkey, _) = registered();
    let response = passkey.register(&party.origins[0], &[1; 32]).unwrap();
    response.response.attestation_object.0.len()
}
