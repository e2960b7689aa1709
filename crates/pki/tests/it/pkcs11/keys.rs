//! Making, finding and using keys.

use std::thread;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use pki::pkcs11::{KeyProtection, KeySelector, Pkcs11Error, Pkcs11KeyStore};
use pki::{Curve, KeyLocation, KeyName, KeyStore, KeyStoreError, PrivateKey, Signer};

use super::support::{LABEL, PIN, labelled, on_a_token, secret};
use crate::rng;

#[test]
fn keys_of_both_curves_are_made_on_the_token_and_stay_there() {
    on_a_token(
        "pkcs11::keys::keys_of_both_curves_are_made_on_the_token_and_stay_there",
        |token| {
            let store = token.open().unwrap();
            for (label, curve) in [("p256", Curve::P256), ("brp", Curve::BrainpoolP256r1)] {
                let made = store.generate_key(label, curve, &mut rng(1)).unwrap();
                assert_eq!(made.public_key().curve(), curve);
                assert_eq!(
                    made.protection(),
                    KeyProtection {
                        sensitive: true,
                        extractable: false,
                        always_inside: true,
                    }
                );

                let found = token.open().unwrap().key(&labelled(label)).unwrap();
                assert_eq!(found.public_key(), made.public_key());
                let public = found.public_key();
                for message in [&b""[..], b"m", &[7; 5000]] {
                    let signature = found.sign(message).unwrap();
                    public.verify(message, &signature).unwrap();
                    assert!(public.verify(b"another", &signature).is_err());
                    public
                        .verify(message, &made.sign(message).unwrap())
                        .unwrap();
                }
                let signature = found.sign_parts(&[b"one ", b"", b"message"]).unwrap();
                public.verify(b"one message", &signature).unwrap();

                // Nothing on this side of the module can read it.
                let session = token.session_elsewhere();
                let private = session
                    .find_objects(&[
                        Attribute::Class(ObjectClass::PRIVATE_KEY),
                        Attribute::Label(label.into()),
                    ])
                    .unwrap();
                assert_eq!(private.len(), 1);
                let value = session.get_attributes(private[0], &[AttributeType::Value]);
                assert!(value.is_ok_and(|read| read.is_empty()));
                let opened = session.update_attributes(
                    private[0],
                    &[Attribute::Sensitive(false), Attribute::Extractable(true)],
                );
                assert!(opened.is_err());
            }
            assert_eq!(store.labels().unwrap(), ["brp", "p256"]);
        },
    );
}

#[test]
fn the_token_is_a_key_store_like_the_others() {
    on_a_token(
        "pkcs11::keys::the_token_is_a_key_store_like_the_others",
        |token| {
            let name = |text| KeyName::new(text).unwrap();
            let store: Box<dyn KeyStore> = Box::new(token.open().unwrap());
            assert_eq!(store.list().unwrap(), []);
            let public = store
                .generate(&name("eim"), Curve::P256, &mut rng(1))
                .unwrap();
            let again = store.generate(&name("eim"), Curve::P256, &mut rng(2));
            assert!(matches!(again, Err(KeyStoreError::Exists(_))), "{again:?}");
            assert!(matches!(
                store.signer(&name("none")).err(),
                Some(KeyStoreError::NotFound(_))
            ));
            let signer = store.signer(&name("eim")).unwrap();
            assert_eq!(signer.public_key(), &public);
            drop(store);
            public.verify(b"m", &signer.sign(b"m").unwrap()).unwrap();

            let other = token.open().unwrap();
            other
                .generate_key("Not a KeyName", Curve::P256, &mut rng(3))
                .unwrap();
            assert_eq!(other.list().unwrap(), [name("eim")]);
        },
    );
}

#[test]
fn keys_that_were_imported_are_found_by_label_and_id() {
    on_a_token(
        "pkcs11::keys::keys_that_were_imported_are_found_by_label_and_id",
        |token| {
            let keys: Vec<PrivateKey> = (1..=3)
                .map(|seed| PrivateKey::generate(Curve::P256, &mut rng(seed)).unwrap())
                .collect();
            let brainpool = PrivateKey::generate(Curve::BrainpoolP256r1, &mut rng(4)).unwrap();
            token.import(&keys[0].to_pkcs8_pem().unwrap(), "twin", "01");
            token.import(&keys[1].to_pkcs8_pem().unwrap(), "twin", "02");
            token.import(&keys[2].to_pkcs8_pem().unwrap(), "alone", "03ff");
            token.import(&brainpool.to_pkcs8_pem().unwrap(), "brainpool", "04");

            let store = token.open().unwrap();
            let error = store.key(&labelled("twin")).unwrap_err();
            assert!(
                matches!(&error, Pkcs11Error::KeyAmbiguous { count: 2, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("label \"twin\""), "{error}");
            for (key, id) in [(&keys[0], 1), (&keys[1], 2)] {
                let found = store
                    .key(&KeySelector {
                        label: Some("twin".to_owned()),
                        id: Some(vec![id]),
                    })
                    .unwrap();
                assert_eq!(found.public_key(), key.public_key());
                assert!(!found.protection().always_inside);
                key.public_key()
                    .verify(b"m", &found.sign(b"m").unwrap())
                    .unwrap();
            }
            let by_id = KeySelector {
                label: None,
                id: Some(vec![3, 0xFF]),
            };
            assert_eq!(
                store.key(&by_id).unwrap().public_key(),
                keys[2].public_key()
            );
            assert_eq!(
                store.key(&labelled("brainpool")).unwrap().public_key(),
                brainpool.public_key()
            );
            let error = store
                .key(&KeySelector {
                    label: Some("alone".to_owned()),
                    id: Some(vec![1]),
                })
                .unwrap_err();
            assert!(matches!(error, Pkcs11Error::KeyNotFound(_)), "{error:?}");
            assert!(
                error.to_string().contains("label \"alone\" and id 01"),
                "{error}"
            );
        },
    );
}

#[test]
fn a_configuration_makes_and_opens_the_key() {
    on_a_token(
        "pkcs11::keys::a_configuration_makes_and_opens_the_key",
        |token| {
            token.pin_file(PIN, 0o600);
            let text = format!(
                "store = 'pkcs11'\nmodule = '{}'\ntoken = '{LABEL}'\nkey = 'eim-signing'\npin = {{ file = 'pin' }}",
                token.module.display()
            );
            let location: KeyLocation = toml::from_str(&text).unwrap();
            let location = location.relative_to(&token.directory);
            let missing = location.open().err().unwrap();
            assert!(
                matches!(&missing, KeyStoreError::Backend(source)
                    if source.to_string().contains("label \"eim-signing\"")),
                "{missing:?}"
            );
            let made = location
                .generate(Curve::BrainpoolP256r1, &mut rng(1))
                .unwrap();
            let opened = location.open().unwrap();
            assert_eq!(opened.public_key(), made.public_key());
            made.public_key()
                .verify(b"m", &opened.sign(b"m").unwrap())
                .unwrap();
            assert!(location.generate(Curve::P256, &mut rng(2)).is_err());

            token.pin_file(PIN, 0o644);
            assert!(location.open().is_ok(), "the process is logged in already");
            drop((made, opened));
            let refused = location.open().err().unwrap();
            let chain = chain(&refused);
            assert!(chain.contains("has mode 644"), "{chain}");
        },
    );
}

fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[test]
fn many_threads_share_few_sessions() {
    on_a_token("pkcs11::keys::many_threads_share_few_sessions", |token| {
        for sessions in [0, 1, 3] {
            let store = Pkcs11KeyStore::open(&token.name(), secret(PIN), sessions).unwrap();
            let signer = store
                .generate_key(&format!("key-{sessions}"), Curve::P256, &mut rng(1))
                .unwrap();
            thread::scope(|scope| {
                for thread in 0..8_u8 {
                    let (signer, store) = (&signer, &store);
                    scope.spawn(move || {
                        for round in 0..20_u8 {
                            assert!(store.sessions() <= sessions.max(1));
                            let message = [thread, round];
                            let signature = signer.sign(&message).unwrap();
                            signer.public_key().verify(&message, &signature).unwrap();
                        }
                    });
                }
            });
            let open = store.sessions();
            assert!(
                (1..=sessions.max(1)).contains(&open),
                "{open} sessions for at most {sessions}"
            );
        }
    });
}
