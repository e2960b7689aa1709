use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Folder, data};

#[test]
fn a_new_pki_is_complete_private_and_verifies() {
    let folder = Folder::new();
    let made = folder.json(&[
        "pki", "new", "-d", "pki", "--euiccs", "2", "--eim-id", "eim.lab",
    ]);
    assert_eq!(made["eids"].as_array().unwrap().len(), 2);
    for name in [
        "ci",
        "tls-ca",
        "eum",
        "smdp-auth",
        "smdp-pb",
        "smdp-tls",
        "smds-auth",
        "smds-tls",
        "eim-signing",
        "eim-tls",
        "es2-client",
    ] {
        let key = fs::metadata(folder.path(&format!("pki/{name}.key.pem"))).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "{name}");
        assert!(folder.path(&format!("pki/{name}.der")).exists());
    }
    let trust = ["--trust", "pki/ci.der", "--trust", "pki/ci.crl"];
    for (name, role) in [
        ("smdp-auth", "SM-DP+ authentication"),
        ("smdp-pb", "SM-DP+ profile binding"),
        ("smdp-tls", "SM-DP+ TLS"),
        ("smds-auth", "SM-DS authentication"),
        ("eim-signing", "eIM signing"),
        ("eim-tls", "eIM TLS"),
    ] {
        let verified =
            folder.ok(&[&["pki", "verify", &format!("pki/{name}.der")], &trust[..]].concat());
        assert!(
            verified.contains(&format!("verified: {role}")),
            "{verified}"
        );
    }
    let eid = made["eids"][1].as_str().unwrap();
    let euicc = format!("pki/euicc-{eid}.der");
    let verify = ["pki", "verify", &euicc, "--trust", "pki/ci.der"];
    let verified = folder.ok(&[&verify[..], &["--eum", "pki/eum.der"]].concat());
    assert!(verified.contains(&format!("EID {eid}")), "{verified}");
    folder.run(&verify).refused(2, &["--eum"]);
    // Nothing is replaced.
    folder
        .run(&["pki", "new", "-d", "pki"])
        .refused(1, &["holds a PKI already", "--directory"]);
}

#[test]
fn certificates_are_shown_with_what_decides_about_them() {
    let folder = Folder::new();
    folder.ok(&[
        "pki",
        "new",
        "-d",
        "pki",
        "--curve",
        "brainpool",
        "--eim-fqdn",
        "eim.lab",
        "--eim-fqdn",
        "10.1.2.3",
    ]);
    let eum = folder.json(&["pki", "show", "pki/eum.der"]);
    assert_eq!(eum["role"], "EUM");
    assert_eq!(eum["key"], "brainpoolP256r1");
    assert!(eum["permits"][0].as_str().unwrap().contains("89049032"));
    let ci = folder.json(&["pki", "show", "pki/ci.der"]);
    assert_eq!(ci["subject_key_id"], eum["authority_key_id"]);
    let tls = folder.ok(&["pki", "show", "pki/eim-tls.der"]);
    assert!(tls.contains("eim.lab") && tls.contains("P-256"), "{tls}");
    let crl = folder.ok(&["pki", "show", "pki/ci.crl"]);
    assert!(crl.contains("revoked certificates  0"), "{crl}");
    folder
        .run(&["pki", "show", "pki/ci.key.pem"])
        .refused(1, &["private key"]);
    folder
        .run(&["pki", "show", "missing"])
        .refused(1, &["missing"]);
    fs::write(folder.path("text"), "hello").unwrap();
    folder
        .run(&["pki", "show", "text"])
        .refused(1, &["neither a certificate nor a CRL"]);
}

#[test]
fn chains_that_are_wrong_say_why() {
    let folder = Folder::new();
    folder.ok(&["pki", "new", "-d", "pki"]);
    folder.ok(&["pki", "new", "-d", "other"]);
    let verify = |arguments: &[&str]| folder.run(&[&["pki", "verify"], arguments].concat());
    for (arguments, reason) in [
        (
            &[
                "pki/smdp-auth.der",
                "--trust",
                "pki/ci.der",
                "--as",
                "smdp-pb",
            ][..],
            "found one for SM-DP+ authentication",
        ),
        (
            &["pki/smdp-auth.der", "--trust", "other/ci.der"],
            "under a CI or sub-CA that is not trusted",
        ),
        (
            &[
                "pki/smdp-auth.der",
                "--trust",
                "pki/ci.der",
                "--at",
                "2099-01-01T00:00:00Z",
            ],
            "expired",
        ),
        (
            &[
                "pki/smdp-auth.der",
                "--trust",
                "pki/ci.der",
                "--at",
                "2000-01-01T00:00:00Z",
            ],
            "valid",
        ),
    ] {
        let ran = verify(arguments);
        assert_eq!(ran.status, 1, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.out.contains("NOT verified") && ran.out.contains(reason),
            "{arguments:?}: {}",
            ran.out
        );
    }
    verify(&["pki/smdp-auth.der", "--trust", "pki/eum.der"])
        .refused(1, &["not the certificate of a CI"]);
    verify(&["pki/eum.der", "--trust", "pki/ci.der"]).refused(2, &["--eum"]);
    verify(&["pki/smdp-auth.der"]).refused(2, &["--trust"]);
}

#[test]
fn the_certificates_of_sgp_26_verify() {
    let folder = Folder::new();
    let sgp26 = |name: &str| data(&format!("sgp26/variant-o/{name}.der"));
    let verified = folder.ok(&[
        "pki",
        "verify",
        &sgp26("DPauth/CERT_S_SM_DPauth_ECDSA_NIST"),
        "--trust",
        &sgp26("CertificateIssuer/CERT_CI_ECDSA_NIST"),
    ]);
    assert!(
        verified.contains("verified: SM-DP+ authentication"),
        "{verified}"
    );
}

#[test]
fn names_that_cannot_be_are_wrong_usage() {
    let folder = Folder::new();
    folder
        .run(&["pki", "new", "-d", "x", "--eid-prefix", "12345678"])
        .refused(2, &["begin with 89"]);
    folder
        .run(&["pki", "new", "-d", "x", "--eim-fqdn", "https://eim"])
        .refused(2, &["host name"]);
    folder
        .run(&[
            "pki",
            "new",
            "-d",
            "x",
            "--eid",
            "89049032123451234512345678901234",
        ])
        .refused(2, &["--eid"]);
    folder
        .run(&["pki", "new", "-d", "x", "--eim-id", ""])
        .refused(2, &["eimId"]);
    assert!(!folder.path("x").exists());
}
