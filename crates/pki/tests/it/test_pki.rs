//! The private test PKI: it verifies under our rules and, for TLS, under those of a web library.

use pki::issue::{TestPki, TestPkiOptions};
use pki::{ChainPolicy, Curve, Oid, Role, Signer, UnixTime};
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::rng;

const EID: &str = "89049032123451234512345678901235";

fn options() -> TestPkiOptions {
    TestPkiOptions {
        eim_hosts: ["eim.example.com", "localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec(),
        crl_uri: Some("http://crl.example.com/ci.crl".to_owned()),
        ..TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap())
    }
}

#[test]
fn everything_verifies() {
    let now = UnixTime::from_date(2026, 8, 1);
    for curve in Curve::ALL {
        let pki = TestPki::new(&mut rng(1), curve, &options()).unwrap();
        let mut anchors = pki.trust_anchors().unwrap();
        anchors.add_crl(pki.crl.clone()).unwrap();
        assert_eq!(pki.crl.len(), 0);

        let signing = [
            (&pki.smdp_auth, Role::SmDpAuth, Some("2.999.10")),
            (&pki.smdp_pb, Role::SmDpPb, Some("2.999.10")),
            (&pki.smds_auth, Role::SmDsAuth, Some("2.999.15")),
            (&pki.eim_signing, Role::EimSigning, None),
        ];
        for (credential, role, oid) in signing {
            assert_eq!(credential.certificate.role(), Some(role));
            let verified = anchors
                .verify_server(&credential.certificate, role, now)
                .unwrap();
            assert_eq!(verified.oid.as_ref().map(Oid::to_string).as_deref(), oid);
            assert_eq!(&verified.public_key, credential.key.public_key());
            assert_eq!(verified.public_key.curve(), curve);
        }
        assert_eq!(
            pki.eim_signing.certificate.common_name(),
            Some("eim.example.com")
        );

        let mut tls_anchors = pki::TrustAnchors::new();
        tls_anchors.add_ci(pki.tls_ca.certificate.clone()).unwrap();
        for (credential, role) in [
            (&pki.smdp_tls, Role::SmDpTls),
            (&pki.smds_tls, Role::SmDsTls),
            (&pki.eim_tls, Role::EimTls),
        ] {
            let verified = tls_anchors
                .verify_server(&credential.certificate, role, now)
                .unwrap();
            assert_eq!(verified.public_key.curve(), Curve::P256);
        }

        let euicc = pki.issue_euicc(&mut rng(2), EID).unwrap();
        let verified = anchors
            .verify_euicc_chain(
                &euicc.certificate,
                &pki.eum.certificate,
                now,
                ChainPolicy::default(),
            )
            .unwrap();
        assert_eq!(verified.eid_digits, EID);
        assert!(pki.issue_euicc(&mut rng(2), "8904").is_err());
        assert!(pki.issue_euicc(&mut rng(2), &"x".repeat(32)).is_err());
    }
}

#[test]
fn the_same_randomness_gives_the_same_keys() {
    let make = |seed| TestPki::new(&mut rng(seed), Curve::P256, &options()).unwrap();
    assert_eq!(
        make(1).eim_signing.key.public_key(),
        make(1).eim_signing.key.public_key()
    );
    assert_ne!(
        make(1).eim_signing.key.public_key(),
        make(2).eim_signing.key.public_key()
    );
}

#[test]
fn it_is_written_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let pki = TestPki::new(&mut rng(3), Curve::BrainpoolP256r1, &options()).unwrap();
    pki.write_to(directory.path()).unwrap();
    let read = TestPki::load(directory.path()).unwrap();
    for (ours, theirs) in pki.items().unwrap().iter().zip(read.items().unwrap()) {
        assert_eq!(
            (ours.name, &ours.certificate_der, &ours.key_pem),
            (theirs.name, &theirs.certificate_der, &theirs.key_pem)
        );
    }
    assert!(!format!("{:?}{pki:?}", pki.items()).contains("PRIVATE KEY"));
    assert_eq!(read.crl.der(), pki.crl.der());
    assert!(
        pki.write_to(directory.path()).is_err(),
        "nothing is overwritten"
    );

    // A key that belongs to another certificate is noticed.
    std::fs::copy(
        directory.path().join("eum.der"),
        directory.path().join("ci.der"),
    )
    .unwrap();
    assert!(TestPki::load(directory.path()).is_err());
}

/// The TLS certificates must work in rustls, which uses webpki.
#[test]
fn tls_certificates_verify_under_webpki() {
    for curve in Curve::ALL {
        let pki = TestPki::new(&mut rng(4), curve, &options()).unwrap();
        let ca = CertificateDer::from(pki.tls_ca.certificate.der());
        let anchor = anchor_from_trusted_cert(&ca).unwrap();
        let time = rustls_pki_types::UnixTime::since_unix_epoch(core::time::Duration::from_secs(
            1_785_542_400,
        ));
        let check = |credential: &pki::issue::Credential, usage, host: Option<&str>| {
            let der = CertificateDer::from(credential.certificate.der());
            let end_entity = EndEntityCert::try_from(&der).unwrap();
            end_entity
                .verify_for_usage(
                    &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
                    core::slice::from_ref(&anchor),
                    &[],
                    time,
                    usage,
                    None,
                    None,
                )
                .unwrap();
            if let Some(host) = host {
                end_entity
                    .verify_is_valid_for_subject_name(&ServerName::try_from(host).unwrap())
                    .unwrap();
            }
        };
        for host in ["eim.example.com", "localhost", "127.0.0.1", "::1"] {
            check(&pki.eim_tls, KeyUsage::server_auth(), Some(host));
        }
        check(
            &pki.smdp_tls,
            KeyUsage::server_auth(),
            Some("smdp.example.com"),
        );
        check(
            &pki.smds_tls,
            KeyUsage::server_auth(),
            Some("smds.example.com"),
        );
        check(&pki.es2_client, KeyUsage::client_auth(), None);
        check(&pki.smdp_tls, KeyUsage::client_auth(), None);
    }
}
