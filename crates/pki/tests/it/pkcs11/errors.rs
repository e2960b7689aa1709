//! What is refused, and what is said about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use pki::pkcs11::{Pkcs11Error, Pkcs11KeyStore, TokenName};
use pki::{Curve, Secret, SecretError, SecretLocation, Signer};
use zeroize::Zeroizing;

use super::support::{LABEL, PIN, labelled, on_a_token, secret};
use crate::rng;

#[test]
fn a_module_must_be_a_module_that_nobody_else_can_write() {
    let directory = tempfile::tempdir().unwrap();
    let open = |module: PathBuf| {
        let token = TokenName {
            module,
            label: LABEL.to_owned(),
            serial: None,
        };
        Pkcs11KeyStore::open(&token, secret(PIN), 1).unwrap_err()
    };
    let missing = open(directory.path().join("none.so"));
    assert!(
        matches!(missing, Pkcs11Error::ModuleNotFound { .. }),
        "{missing:?}"
    );
    assert!(
        missing.to_string().contains("apt-get install softhsm2"),
        "{missing}"
    );

    let text = directory.path().join("text.so");
    fs::write(&text, "no library").unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o664)).unwrap();
    let writable = open(text.clone());
    assert!(
        matches!(writable, Pkcs11Error::ModuleWritable { mode: 0o664, .. }),
        "{writable:?}"
    );
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();
    let unusable = open(text);
    assert!(
        matches!(unusable, Pkcs11Error::ModuleUnusable { .. }),
        "{unusable:?}"
    );
}

#[test]
fn a_token_is_found_by_its_label_and_told_apart_by_its_serial_number() {
    on_a_token(
        "pkcs11::errors::a_token_is_found_by_its_label_and_told_apart_by_its_serial_number",
        |token| {
            let mut name = token.name();
            name.label = "another".to_owned();
            let error = Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap_err();
            assert!(
                matches!(&error, Pkcs11Error::TokenNotFound { present, .. } if present == &[LABEL]),
                "{error:?}"
            );
            // Made after the module started, and found nevertheless.
            token.add_token("another");
            Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap();

            token.add_token("another");
            // SoftHSM does not see the second one until it is started anew, which asking for a third one does.
            name.label = "third".to_owned();
            Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap_err();
            name.label = "another".to_owned();
            let error = Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap_err();
            let Pkcs11Error::TokenAmbiguous { serials, .. } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(serials.len(), 2);
            for serial in serials {
                name.serial = Some(serial.clone());
                Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap();
            }
            name.serial = Some("0".to_owned());
            let error = Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap_err();
            assert!(
                matches!(error, Pkcs11Error::TokenNotFound { .. }),
                "{error:?}"
            );
        },
    );
}

#[test]
fn a_wrong_pin_is_tried_once() {
    on_a_token("pkcs11::errors::a_wrong_pin_is_tried_once", |token| {
        for wrong in ["000000", "1"] {
            let error = Pkcs11KeyStore::open(&token.name(), secret(wrong), 1).unwrap_err();
            assert!(matches!(error, Pkcs11Error::PinWrong(_)), "{error:?}");
            assert!(!format!("{error:?}{error}").contains("000000"));
        }

        // The token is lost, and meanwhile the PIN was replaced by a wrong one.
        let tries = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&tries);
        let source = move || {
            let pin = match counter.fetch_add(1, Ordering::Relaxed) {
                0 | 5.. => PIN,
                _ => "000000",
            };
            Ok::<_, SecretError>(Secret::new(Zeroizing::new(pin.to_owned())))
        };
        let store = Pkcs11KeyStore::open(&token.name(), Arc::new(source), 1).unwrap();
        let signer = store.generate_key("k", Curve::P256, &mut rng(1)).unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        token.session_elsewhere().logout().unwrap();

        let module = token.elsewhere();
        let slot = module.get_slots_with_initialized_token().unwrap()[0];
        for attempt in 2..=5 {
            assert!(signer.sign(b"m").is_err());
            assert_eq!(tries.load(Ordering::Relaxed), attempt);
            assert!(
                module.get_token_info(slot).unwrap().user_pin_count_low(),
                "the first of them was really tried"
            );
            if attempt == 2 {
                // A login that succeeds ends the token's count; had the wrong PIN been tried again, it would begin anew.
                let session = token.session_elsewhere();
                session.logout().unwrap();
                assert!(!module.get_token_info(slot).unwrap().user_pin_count_low());
                assert!(signer.sign(b"m").is_err());
                assert!(
                    !module.get_token_info(slot).unwrap().user_pin_count_low(),
                    "a PIN that was refused is not tried again"
                );
                break;
            }
        }
        // The next ones are the right PIN again.
        tries.store(5, Ordering::Relaxed);
        signer
            .public_key()
            .verify(b"m", &signer.sign(b"m").unwrap())
            .unwrap();
    });
}

#[test]
fn a_pin_must_be_there() {
    on_a_token("pkcs11::errors::a_pin_must_be_there", |token| {
        let open = |pin: SecretLocation| Pkcs11KeyStore::open(&token.name(), Arc::new(pin), 1);
        let absent = open(SecretLocation::File(token.directory.join("none"))).unwrap_err();
        assert!(
            matches!(absent, Pkcs11Error::PinUnavailable { .. }),
            "{absent:?}"
        );
        let exposed = open(token.pin_file(PIN, 0o640)).unwrap_err();
        assert!(
            matches!(
                exposed,
                Pkcs11Error::PinUnavailable {
                    source: SecretError::Permissions { mode: 0o640, .. },
                    ..
                }
            ),
            "{exposed:?}"
        );
        open(token.pin_file(PIN, 0o600)).unwrap();

        // A token whose security officer has not given its user a PIN.
        let module = token.elsewhere();
        let free = module
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| !module.get_token_info(*slot).unwrap().token_initialized())
            .unwrap();
        module
            .init_token(free, &cryptoki::types::AuthPin::from("314159"), "bare")
            .unwrap();
        let mut name = token.name();
        name.label = "bare".to_owned();
        let bare = Pkcs11KeyStore::open(&name, secret(PIN), 1).unwrap_err();
        assert!(matches!(bare, Pkcs11Error::PinNotSet(_)), "{bare:?}");
    });
}

#[test]
fn keys_that_can_be_read_or_cannot_sign_are_refused() {
    on_a_token(
        "pkcs11::errors::keys_that_can_be_read_or_cannot_sign_are_refused",
        |token| {
            let store = token.open().unwrap();
            let session = token.session_elsewhere();
            let make = |label: &str, parameters: &[u8], private: &[Attribute]| {
                let shared = [
                    Attribute::Token(true),
                    Attribute::Label(label.into()),
                    Attribute::Id(label.into()),
                ];
                session
                    .generate_key_pair(
                        &Mechanism::EccKeyPairGen,
                        &[&shared[..], &[Attribute::EcParams(parameters.to_vec())]].concat(),
                        &[&shared[..], private].concat(),
                    )
                    .unwrap()
            };
            let p256 = hex_literal::hex!("06082A8648CE3D030107");
            let sensitive = Attribute::Sensitive(true);
            let inside = Attribute::Extractable(false);
            let sign = Attribute::Sign(true);

            make(
                "readable",
                &p256,
                &[
                    Attribute::Sensitive(false),
                    Attribute::Extractable(true),
                    sign.clone(),
                ],
            );
            let error = store.key(&labelled("readable")).unwrap_err();
            assert!(matches!(error, Pkcs11Error::KeyReadable(_)), "{error:?}");

            make(
                "wrappable",
                &p256,
                &[
                    sensitive.clone(),
                    Attribute::Extractable(true),
                    sign.clone(),
                ],
            );
            let backed_up = store.key(&labelled("wrappable")).unwrap();
            assert!(backed_up.protection().extractable);
            assert!(!backed_up.protection().always_inside);

            make(
                "agreement",
                &p256,
                &[
                    sensitive.clone(),
                    inside.clone(),
                    Attribute::Sign(false),
                    Attribute::Derive(true),
                ],
            );
            let error = store.key(&labelled("agreement")).unwrap_err();
            assert!(
                matches!(error, Pkcs11Error::KeyNotForSigning(_)),
                "{error:?}"
            );

            let p384 = hex_literal::hex!("06052B81040022");
            let usual = [sensitive, inside, sign];
            make("p384", &p384, &usual);
            let error = store.key(&labelled("p384")).unwrap_err();
            assert!(!matches!(error, Pkcs11Error::KeyNotFound(_)), "{error:?}");

            // Public halves that are missing or another key's.
            let (public, _) = make("halved", &p256, &usual);
            store.key(&labelled("halved")).unwrap();
            let (foreign, _) = make("foreign", &p256, &usual);
            session
                .update_attributes(public, &[Attribute::Id(b"elsewhere".to_vec())])
                .unwrap();
            let error = store.key(&labelled("halved")).unwrap_err();
            assert!(
                matches!(error, Pkcs11Error::PublicKeyNotFound(_)),
                "{error:?}"
            );
            session
                .update_attributes(foreign, &[Attribute::Id(b"halved".to_vec())])
                .unwrap();
            let error = store.key(&labelled("halved")).unwrap_err();
            assert!(matches!(error, Pkcs11Error::KeysDiffer(_)), "{error:?}");
        },
    );
}
