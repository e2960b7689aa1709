//! Private keys under a passphrase, and the store that keeps them so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pki::{
    Curve, EncryptedFileKeyStore, FileKeyStore, KeyError, KeyLocation, KeyName, KeyStore,
    KeyStoreError, PrivateKey, Secret, SecretError, SecretLocation, Signer,
};
use zeroize::Zeroizing;

use crate::rng;

const PASSPHRASE: &str = "correct horse";

fn openssl(name: &str) -> String {
    let path = format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/keys/{}.pem"),
        name
    );
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn passphrase(text: &'static str) -> Arc<dyn pki::SecretSource> {
    Arc::new(move || Ok::<_, SecretError>(Secret::new(Zeroizing::new(text.to_owned()))))
}

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

#[test]
fn keys_that_openssl_encrypted_are_read() {
    let plain = PrivateKey::from_pem(&openssl("p256")).unwrap();
    for file in [
        "p256.pbkdf2-sha256-aes256",
        "p256.pbkdf2-sha512-aes128",
        "p256.scrypt-aes256",
    ] {
        let key = PrivateKey::from_encrypted_pem(&openssl(file), PASSPHRASE)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(key.public_key(), plain.public_key(), "{file}");
    }
    let key =
        PrivateKey::from_encrypted_pem(&openssl("brainpool.scrypt-aes256"), PASSPHRASE).unwrap();
    assert_eq!(key.public_key().curve(), Curve::BrainpoolP256r1);
}

#[test]
fn schemes_that_are_weak_or_without_bound_are_refused() {
    for file in [
        "p256.pbkdf2-sha1-aes256",
        "p256.pkcs12-3des",
        "p256.pbkdf2-too-many",
    ] {
        let error = PrivateKey::from_encrypted_pem(&openssl(file), PASSPHRASE).unwrap_err();
        assert_eq!(error, KeyError::Encryption, "{file}");
    }
}

#[test]
fn what_is_encrypted_comes_back_for_its_passphrase_only() {
    for (seed, curve) in [(1, Curve::P256), (2, Curve::BrainpoolP256r1)] {
        let key = PrivateKey::generate(curve, &mut rng(seed)).unwrap();
        let pem = key
            .to_encrypted_pem("päss phrase", &mut rng(seed + 10))
            .unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let back = PrivateKey::from_encrypted_pem(&pem, "päss phrase").unwrap();
        assert_eq!(back.public_key(), key.public_key());
        for wrong in ["", "pass phrase", "päss phrase "] {
            assert_eq!(
                PrivateKey::from_encrypted_pem(&pem, wrong).unwrap_err(),
                KeyError::WrongPassphrase
            );
        }
        assert_eq!(PrivateKey::from_pem(&pem).unwrap_err(), KeyError::Encrypted);

        let other = key.to_encrypted_pem("päss phrase", &mut rng(99)).unwrap();
        assert_ne!(*other, *pem, "salt and initialisation vector are fresh");
    }
    assert_eq!(
        PrivateKey::from_encrypted_pem(&openssl("p256"), PASSPHRASE).unwrap_err(),
        KeyError::NotEncrypted
    );
    assert_eq!(
        PrivateKey::from_encrypted_pem("nothing", PASSPHRASE).unwrap_err(),
        KeyError::Malformed
    );
}

#[test]
fn damage_is_an_error() {
    let pem = openssl("p256.pbkdf2-sha256-aes256");
    for position in (0..pem.len()).step_by(7) {
        let mut damaged = pem.clone().into_bytes();
        damaged[position] = if damaged[position] == b'A' {
            b'B'
        } else {
            b'A'
        };
        let Ok(damaged) = String::from_utf8(damaged) else {
            continue;
        };
        // The iteration count may have become large; affordable ones are tried.
        if let Ok(key) = PrivateKey::from_encrypted_pem(&damaged, PASSPHRASE) {
            let plain = PrivateKey::from_pem(&openssl("p256")).unwrap();
            assert_eq!(
                key.public_key(),
                plain.public_key(),
                "octet {position} changed the key without notice"
            );
        }
    }
}

#[test]
fn the_store_writes_nothing_in_the_clear_and_takes_nothing_in_the_clear() {
    let directory = tempfile::tempdir().unwrap();
    let store = EncryptedFileKeyStore::open(directory.path(), passphrase(PASSPHRASE)).unwrap();
    let public = store
        .generate(&name("eim"), Curve::P256, &mut rng(1))
        .unwrap();
    let file = directory.path().join("eim.pem");
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    );
    let signer = store.signer(&name("eim")).unwrap();
    assert_eq!(signer.public_key(), &public);
    public.verify(b"m", &signer.sign(b"m").unwrap()).unwrap();
    assert_eq!(store.list().unwrap(), [name("eim")]);
    assert!(matches!(
        store.generate(&name("eim"), Curve::P256, &mut rng(2)),
        Err(KeyStoreError::Exists(_))
    ));
    assert!(matches!(
        store.load(&name("none")),
        Err(KeyStoreError::NotFound(_))
    ));

    let plain = FileKeyStore::open(directory.path()).unwrap();
    assert!(matches!(
        plain.load(&name("eim")),
        Err(KeyStoreError::Key {
            source: KeyError::Encrypted,
            ..
        })
    ));
    plain
        .generate(&name("plain"), Curve::P256, &mut rng(3))
        .unwrap();
    assert!(matches!(
        store.load(&name("plain")),
        Err(KeyStoreError::Key {
            source: KeyError::NotEncrypted,
            ..
        })
    ));

    let other = EncryptedFileKeyStore::open(directory.path(), passphrase("battery")).unwrap();
    assert!(matches!(
        other.load(&name("eim")),
        Err(KeyStoreError::Key {
            source: KeyError::WrongPassphrase,
            ..
        })
    ));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        store.load(&name("eim")),
        Err(KeyStoreError::Permissions { mode: 0o640, .. })
    ));
}

#[test]
fn the_passphrase_is_asked_for_each_time_and_its_failure_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let source = move || match counter.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Ok(Secret::new(Zeroizing::new(PASSPHRASE.to_owned()))),
        _ => Err(SecretError::Other("nobody is there".into())),
    };
    let store = EncryptedFileKeyStore::open(directory.path(), Arc::new(source)).unwrap();
    store
        .generate(&name("k"), Curve::P256, &mut rng(1))
        .unwrap();
    store.load(&name("k")).unwrap();
    assert!(matches!(
        store.load(&name("k")),
        Err(KeyStoreError::Passphrase(_))
    ));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

fn location(text: &str) -> Result<KeyLocation, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn a_key_file_is_made_and_opened_where_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("passphrase");
    fs::write(&secret, "correct horse\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

    let encrypted =
        location("store = 'file'\npath = 'eim.pem'\npassphrase = { file = 'passphrase' }")
            .unwrap()
            .relative_to(directory.path());
    let made = encrypted.generate(Curve::P256, &mut rng(1)).unwrap();
    let opened = encrypted.open().unwrap();
    assert_eq!(opened.public_key(), made.public_key());
    made.public_key()
        .verify(b"m", &opened.sign(b"m").unwrap())
        .unwrap();
    assert!(matches!(
        encrypted.generate(Curve::P256, &mut rng(2)).err(),
        Some(KeyStoreError::FileExists { .. })
    ));

    let without = location("store = 'file'\npath = 'eim.pem'")
        .unwrap()
        .relative_to(directory.path());
    assert!(matches!(
        without.open().err(),
        Some(KeyStoreError::KeyFile {
            source: KeyError::Encrypted,
            ..
        })
    ));

    let plain = KeyLocation::File {
        path: directory.path().join("plain.pem"),
        passphrase: None,
    };
    plain.generate(Curve::BrainpoolP256r1, &mut rng(3)).unwrap();
    plain.open().unwrap();
    let protected = KeyLocation::File {
        path: directory.path().join("plain.pem"),
        passphrase: Some(SecretLocation::File(secret.clone())),
    };
    assert!(matches!(
        protected.open().err(),
        Some(KeyStoreError::KeyFile {
            source: KeyError::NotEncrypted,
            ..
        })
    ));

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        encrypted.open().err(),
        Some(KeyStoreError::Passphrase(SecretError::Permissions {
            mode: 0o644,
            ..
        }))
    ));
    assert!(matches!(
        location("store = 'file'\npath = 'none.pem'")
            .unwrap()
            .relative_to(directory.path())
            .open()
            .err(),
        Some(KeyStoreError::Io { .. })
    ));
}

#[test]
fn locations_are_read_strictly_and_written_back() {
    for text in [
        "store = \"file\"\npath = \"keys/eim.pem\"\n",
        "store = \"pkcs11\"\nmodule = \"/usr/lib/m.so\"\ntoken = \"t\"\nserial = \"12\"\nkey = \"k\"\nid = \"00ff\"\nsessions = 2\n\n[pin]\ncredential = \"hsm-pin\"\n",
        "store = \"pkcs11\"\nmodule = \"m.so\"\ntoken = \"t\"\nkey = \"k\"\n\n[pin]\nfile = \"pin\"\n",
    ] {
        let parsed = location(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let written = toml::to_string(&parsed).unwrap();
        assert_eq!(location(&written).unwrap(), parsed, "{written}");
    }
    for text in [
        "path = 'k.pem'",
        "store = 'tape'\npath = 'k.pem'",
        "store = 'file'\npath = 'k.pem'\npassphrase = 'secret'",
        "store = 'file'\npath = 'k.pem'\nmode = 0",
        "store = 'file'\npath = 'k.pem'\npassphrase = { text = 'secret' }",
        "store = 'pkcs11'\nmodule = 'm.so'\ntoken = 't'\nkey = 'k'\npin = '1234'",
        "store = 'pkcs11'\nmodule = 'm.so'\ntoken = 't'\nkey = 'k'",
        "store = 'pkcs11'\nmodule = 'm.so'\ntoken = 't'\nkey = 'k'\nid = '0'\npin = { file = 'p' }",
        "store = 'pkcs11'\nmodule = 'm.so'\ntoken = 't'\nkey = 'k'\nid = 'zz'\npin = { file = 'p' }",
    ] {
        assert!(location(text).is_err(), "{text}");
    }
}
