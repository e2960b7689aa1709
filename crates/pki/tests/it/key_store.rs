//! The file key store.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use pki::{Curve, FileKeyStore, KeyName, KeyStore, KeyStoreError};

use crate::rng;

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

#[test]
fn generated_keys_are_found_again_and_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let store = FileKeyStore::open(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let eim = name("eim-signing");
    let public = store.generate(&eim, Curve::P256, &mut rng(1)).unwrap();
    store
        .generate(&name("a"), Curve::BrainpoolP256r1, &mut rng(2))
        .unwrap();
    assert_eq!(store.list().unwrap(), [name("a"), eim.clone()]);
    assert_eq!(
        fs::metadata(path.join("eim-signing.pem"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(&path).unwrap().count(),
        2,
        "no temporary file is left"
    );

    let again = store.generate(&eim, Curve::P256, &mut rng(3));
    assert!(matches!(again, Err(KeyStoreError::Exists(_))), "{again:?}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);

    let reopened: Box<dyn KeyStore> = Box::new(FileKeyStore::open(&path).unwrap());
    let signer = reopened.signer(&eim).unwrap();
    assert_eq!(signer.public_key(), &public);
    public.verify(b"m", &signer.sign(b"m").unwrap()).unwrap();
    assert!(matches!(
        reopened.signer(&name("b")).err(),
        Some(KeyStoreError::NotFound(_))
    ));
}

#[test]
fn leftovers_of_a_crash_do_not_block() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileKeyStore::open(directory.path()).unwrap();
    let leftover = format!("k.pem.{}-0.tmp", std::process::id());
    fs::write(directory.path().join(&leftover), "half a key").unwrap();
    store
        .generate(&name("k"), Curve::P256, &mut rng(1))
        .unwrap();
    assert_eq!(store.list().unwrap(), [name("k")]);
    store.load(&name("k")).unwrap();
}

#[test]
fn files_that_others_may_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileKeyStore::open(directory.path()).unwrap();
    store
        .generate(&name("k"), Curve::P256, &mut rng(1))
        .unwrap();
    let file = directory.path().join("k.pem");
    for mode in [0o640, 0o604, 0o660, 0o610] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let error = store.load(&name("k")).unwrap_err();
        assert!(
            matches!(error, KeyStoreError::Permissions { mode: found, .. } if found == mode),
            "{error}"
        );
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    store.load(&name("k")).unwrap();

    symlink(&file, directory.path().join("link.pem")).unwrap();
    assert!(matches!(
        store.load(&name("link")),
        Err(KeyStoreError::NotAKeyFile { .. })
    ));
    fs::create_dir(directory.path().join("folder.pem")).unwrap();
    assert!(matches!(
        store.load(&name("folder")),
        Err(KeyStoreError::NotAKeyFile { .. })
    ));
}

#[test]
fn files_without_a_key_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileKeyStore::open(directory.path()).unwrap();
    let write = |stem: &str, content: &[u8]| {
        let path = directory.path().join(format!("{stem}.pem"));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("text", b"not a key");
    write("large", &[b'A'; 20_000]);
    write("binary", &[0xFF; 100]);
    assert!(matches!(
        store.load(&name("text")),
        Err(KeyStoreError::Key { .. })
    ));
    assert!(matches!(
        store.load(&name("large")),
        Err(KeyStoreError::NotAKeyFile { .. })
    ));
    assert!(matches!(
        store.load(&name("binary")),
        Err(KeyStoreError::Io { .. })
    ));
}

#[test]
fn names_cannot_leave_the_directory() {
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "-x",
        "a/b",
        "../a",
        "A",
        "a b",
        "a\0",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(KeyName::new(bad).is_err(), "{bad:?}");
    }
    for good in ["a", "0", "eim-signing.2026_1", &"a".repeat(64)] {
        assert_eq!(KeyName::new(good).unwrap().as_str(), good);
    }
}
