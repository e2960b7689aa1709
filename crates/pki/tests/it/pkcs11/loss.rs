//! Sessions, logins, modules, tokens and keys that go away, and come back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};

use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::object::Attribute;
use pki::pkcs11::{Pkcs11Error, Pkcs11Signer};
use pki::{Curve, SignError, Signer};

use super::support::{Token, labelled, on_a_token};
use crate::rng;

fn signs(signer: &Pkcs11Signer) {
    let signature = signer
        .sign(b"m")
        .unwrap_or_else(|error| panic!("{error:?}"));
    signer.public_key().verify(b"m", &signature).unwrap();
}

fn refusal(signer: &Pkcs11Signer) -> Pkcs11Error {
    match signer.sign(b"m").unwrap_err() {
        SignError::Store(source) => *source.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn make(token: &Token, label: &str) -> Pkcs11Signer {
    token
        .open()
        .unwrap()
        .generate_key(label, Curve::P256, &mut rng(1))
        .unwrap()
}

#[test]
fn a_logout_elsewhere_in_the_process_is_made_good() {
    on_a_token(
        "pkcs11::loss::a_logout_elsewhere_in_the_process_is_made_good",
        |token| {
            let store = token.open().unwrap();
            let signer = make(token, "k");
            signs(&signer);
            token.session_elsewhere().logout().unwrap();
            signs(&signer);
            token.session_elsewhere().logout().unwrap();
            store.key(&labelled("k")).unwrap();
            token.session_elsewhere().logout().unwrap();
            assert_eq!(store.labels().unwrap(), ["k"]);
        },
    );
}

#[test]
fn a_module_that_was_stopped_or_started_anew_is_made_good() {
    on_a_token(
        "pkcs11::loss::a_module_that_was_stopped_or_started_anew_is_made_good",
        |token| {
            let signer = make(token, "k");
            signs(&signer);
            token.elsewhere().finalize().unwrap();
            signs(&signer);

            token.elsewhere().finalize().unwrap();
            token
                .elsewhere()
                .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
                .unwrap();
            signs(&signer);
            signs(&signer);
        },
    );
}

#[test]
fn a_token_that_is_taken_away_and_brought_back_signs_again() {
    on_a_token(
        "pkcs11::loss::a_token_that_is_taken_away_and_brought_back_signs_again",
        |token| {
            let signer = make(token, "k");
            signs(&signer);
            for _ in 0..2 {
                token.set_present(false);
                let error = refusal(&signer);
                assert!(
                    matches!(error, Pkcs11Error::TokenNotFound { .. }),
                    "{error:?}"
                );
                refusal(&signer);
                token.set_present(true);
                signs(&signer);
            }
        },
    );
}

#[test]
fn a_key_that_was_removed_is_missed_and_one_in_its_place_refused() {
    on_a_token(
        "pkcs11::loss::a_key_that_was_removed_is_missed_and_one_in_its_place_refused",
        |token| {
            let signer = make(token, "k");
            signs(&signer);
            let session = token.session_elsewhere();
            for object in session
                .find_objects(&[Attribute::Label(b"k".to_vec())])
                .unwrap()
            {
                session.destroy_object(object).unwrap();
            }
            let error = refusal(&signer);
            assert!(matches!(error, Pkcs11Error::KeyNotFound(_)), "{error:?}");

            let other = make(token, "k");
            let error = refusal(&signer);
            assert!(matches!(error, Pkcs11Error::KeyChanged(_)), "{error:?}");
            signs(&other);
            let error = refusal(&signer);
            assert!(matches!(error, Pkcs11Error::KeyChanged(_)), "{error:?}");
        },
    );
}

#[test]
fn threads_sign_on_while_sessions_are_lost_under_them() {
    on_a_token(
        "pkcs11::loss::threads_sign_on_while_sessions_are_lost_under_them",
        |token| {
            let signer = make(token, "k");
            let signed: [AtomicU32; 4] = Default::default();
            let counts = || signed.each_ref().map(|count| count.load(Ordering::Relaxed));
            let losses = thread::scope(|scope| {
                let workers = signed.each_ref().map(|count| {
                    let signer = &signer;
                    scope.spawn(move || {
                        for _ in 0..100 {
                            signs(signer);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                });
                // Whenever all have signed again, somebody else logs out, which takes the key away from every session.
                let mut losses = 0;
                let mut before = counts();
                while !workers.iter().all(ScopedJoinHandle::is_finished) {
                    let now = counts();
                    let due = |(now, before): (u32, u32)| now > before || now == 100;
                    if now.into_iter().zip(before).all(due) {
                        token.session_elsewhere().logout().unwrap();
                        losses += 1;
                        before = counts();
                    }
                    thread::yield_now();
                }
                losses
            });
            assert!(losses > 0, "nothing was lost");
            signs(&signer);
            assert_eq!(counts(), [100; 4]);
        },
    );
}
