//! The published SGP.26 certificates.

use hex_literal::hex;
use pki::{ChainError, ChainPolicy, Curve, Role, Signer, TrustAnchors, UnixTime};

use crate::{now, sgp26_anchors, sgp26_certificate, sgp26_key};

const NIST_CI: [u8; 20] = hex!("F54172BDF98A95D65CBEB88A38A1C11D800A85C3");
const BRP_CI: [u8; 20] = hex!("C0BC70BA36929D43B467FF57570530E57AB8FCD8");

#[test]
fn issuers_are_found_by_key_identifier() {
    let anchors = sgp26_anchors();
    for (id, curve) in [(NIST_CI, Curve::P256), (BRP_CI, Curve::BrainpoolP256r1)] {
        let ci = anchors.ci_by_key_id(&id).unwrap();
        assert_eq!(ci.role(), Some(Role::CertificateIssuer));
        assert_eq!(ci.public_key().unwrap().curve(), curve);
        assert_eq!(ci.public_key().unwrap().key_identifier(), id);
        assert_eq!(anchors.ci_by_key_id_prefix(&id[..4]), Some(ci));
    }
    assert_eq!(anchors.ci_by_key_id(&NIST_CI[..19]), None);
    assert_eq!(anchors.ci_by_key_id_prefix(&[]), None);
    assert_eq!(anchors.key_ids().count(), 2);
}

#[test]
fn euicc_chains_verify() {
    let anchors = sgp26_anchors();
    for (curve, ci) in [("NIST", NIST_CI), ("BRP", BRP_CI)] {
        let euicc = sgp26_certificate(&format!("variant-o/eUICC/CERT_EUICC_ECDSA_{curve}.der"));
        let eum = sgp26_certificate(&format!("variant-o/EUM/CERT_EUM_ECDSA_{curve}.der"));
        for now in [None, now()] {
            let verified = anchors
                .verify_euicc_chain(&euicc, &eum, now, ChainPolicy::default())
                .unwrap();
            assert_eq!(verified.eid, hex!("89049032123451234512345678901235"));
            assert_eq!(verified.eid_digits, "89049032123451234512345678901235");
            assert_eq!(verified.ci_key_id, ci);
            assert_eq!(verified.eum_organisation.as_deref(), Some("RSP Test EUM"));
            assert_eq!(&verified.public_key, euicc.public_key().unwrap());
        }
    }
}

#[test]
fn fields_of_the_euicc_and_eum_certificates() {
    let euicc = sgp26_certificate("variant-o/eUICC/CERT_EUICC_ECDSA_NIST.der");
    assert_eq!(euicc.common_name(), Some("Test eUICC"));
    assert_eq!(euicc.serial_number().len(), 9);
    assert!(euicc.not_after() > UnixTime::from_date(7496, 1, 1).unwrap());
    assert_eq!(euicc.tbs(), &euicc.der()[4..4 + euicc.tbs().len()]);

    let eum = sgp26_certificate("variant-o/EUM/CERT_EUM_ECDSA_NIST.der");
    assert_eq!(
        euicc.authority_key_identifier(),
        eum.subject_key_identifier()
    );
    assert_eq!((eum.is_ca(), eum.path_len()), (true, Some(0)));
    let constraints = eum.name_constraints().unwrap();
    assert!(constraints.critical);
    assert_eq!(constraints.value.len(), 1);
    assert_eq!(
        constraints.value[0].organisation.as_deref(),
        Some("RSP Test EUM")
    );
    assert_eq!(constraints.value[0].eid_prefix.as_deref(), Some("89049032"));
    assert_eq!(eum.registered_id().unwrap().to_string(), "2.999.5");
    assert_eq!(
        eum.crl_distribution_points(),
        ["http://ci.test.example.com/CRL-B.crl"]
    );
}

#[test]
fn server_certificates_verify() {
    let anchors = sgp26_anchors();
    let mut count = 0;
    for (curve, ci) in [("NIST", NIST_CI), ("BRP", BRP_CI)] {
        for (number, oid) in [("", hex!("88370A")), ("2", hex!("88370C"))] {
            for (kind, role) in [("auth", Role::SmDpAuth), ("pb", Role::SmDpPb)] {
                let path =
                    format!("variant-o/DP{kind}/CERT_S_SM_DP{number}{kind}_ECDSA_{curve}.der");
                let certificate = sgp26_certificate(&path);
                let verified = anchors.verify_server(&certificate, role, now()).unwrap();
                assert_eq!(verified.oid.as_ref().unwrap().content(), oid, "{path}");
                assert_eq!(certificate.registered_id_der(), Some(&oid[..]));
                assert_eq!(verified.ci_key_id, ci);
                let other = if role == Role::SmDpAuth {
                    Role::SmDpPb
                } else {
                    Role::SmDpAuth
                };
                assert_eq!(
                    anchors.verify_server(&certificate, other, now()),
                    Err(ChainError::WrongRole {
                        expected: other,
                        found: role
                    }),
                );
                count += 1;
            }
        }
        let tls = sgp26_certificate(&format!(
            "variant-o/DPtls/CERT_S_SM_DP_VARO_TLS_{curve}.der"
        ));
        assert_eq!(tls.dns_names(), ["testsmdpplus1.example.com"]);
        anchors.verify_server(&tls, Role::SmDpTls, now()).unwrap();
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn variant_o_of_2026_verifies_under_either_issue_of_the_ci() {
    let mut anchors_2024 = TrustAnchors::new();
    anchors_2024
        .add_ci(sgp26_certificate("variants-valid/CERT_CI_SIG_NIST.der"))
        .unwrap();
    for anchors in [sgp26_anchors(), anchors_2024] {
        for (name, role) in [("DPauth", Role::SmDpAuth), ("DPpb", Role::SmDpPb)] {
            let certificate = sgp26_certificate(&format!(
                "variants-valid/CERT_S_SM_{name}_VARO_SIG_NIST.der"
            ));
            anchors.verify_server(&certificate, role, now()).unwrap();
            let key = sgp26_key(&format!("variants-valid/SK_S_SM_{name}_SIG_NIST.pem"));
            assert_eq!(certificate.public_key(), Ok(key.public_key()));
        }
    }
}

#[test]
fn expired_tls_certificates_are_refused_only_with_a_clock() {
    let anchors = sgp26_anchors();
    for number in [2, 4, 8] {
        let certificate =
            sgp26_certificate(&format!("variant-o/DPtls/CERT_S_SM_DP{number}_TLS.der"));
        let result = anchors.verify_server(&certificate, Role::SmDpTls, now());
        assert!(
            matches!(
                result,
                Err(ChainError::Expired {
                    which: Role::SmDpTls,
                    ..
                })
            ),
            "{result:?}"
        );
        anchors
            .verify_server(&certificate, Role::SmDpTls, None)
            .unwrap();
    }
}

#[test]
fn legacy_chain_verifies_under_the_ci_of_another_name() {
    let old_ci = sgp26_certificate("legacy-2017/CERT_CI_2017_NIST.der");
    let eum = sgp26_certificate("legacy-2017/CERT_EUM_2017_NIST.der");
    let euicc = sgp26_certificate("legacy-2017/CERT_EUICC_REISSUED_NIST.der");
    assert_eq!(old_ci.common_name(), Some("GSMA Test CI"));
    assert!(eum.issuer().contains("GSMA Test CI"), "{}", eum.issuer());
    assert_eq!(euicc.serial_number(), [1]);

    let anchors = sgp26_anchors();
    let verified = anchors
        .verify_euicc_chain(
            &euicc,
            &eum,
            UnixTime::from_date(2026, 12, 1),
            ChainPolicy::default(),
        )
        .unwrap();
    assert_eq!(verified.ci_key_id, NIST_CI);

    let mut both = sgp26_anchors();
    both.add_ci(old_ci).unwrap();
    assert_eq!(both.certificates().count(), 2, "the same key counts once");
}

#[test]
fn eim_certificate_verifies() {
    let certificate = sgp26_certificate("eim/CERT_S_EIMsign_ECDSA_NIST.der");
    assert_eq!(certificate.role(), Some(Role::EimSigning));
    assert_eq!(certificate.serial_number(), hex!("03FF0AFF0009990101FF01"));
    let verified = sgp26_anchors()
        .verify_server(&certificate, Role::EimSigning, now())
        .unwrap();
    assert_eq!(verified.common_name.as_deref(), Some("eim.example.com"));
    assert_eq!(verified.oid, None);
    assert_eq!(
        &verified.public_key,
        sgp26_key("eim/SK_S_EIMsign_ECDSA_NIST.pem").public_key()
    );
    assert_eq!(
        sgp26_anchors().verify_server(&certificate, Role::SmDpAuth, now()),
        Err(ChainError::PolicyMissing {
            which: Role::SmDpAuth
        }),
    );
}

#[test]
fn a_server_certificate_is_not_an_eim_certificate() {
    let certificate = sgp26_certificate("variant-o/DPauth/CERT_S_SM_DPauth_ECDSA_NIST.der");
    assert_eq!(
        sgp26_anchors().verify_server(&certificate, Role::EimSigning, now()),
        Err(ChainError::WrongRole {
            expected: Role::EimSigning,
            found: Role::SmDpAuth
        }),
    );
}

#[test]
fn every_invalid_euicc_case_has_its_own_reason() {
    let anchors = sgp26_anchors();
    let good_euicc = sgp26_certificate("variant-o/eUICC/CERT_EUICC_ECDSA_NIST.der");
    let good_eum = sgp26_certificate("variant-o/EUM/CERT_EUM_ECDSA_NIST.der");
    let case = |name: &str| sgp26_certificate(&format!("invalid-euicc/CERT_{name}.der"));
    let with_euicc = |name: &str| {
        anchors
            .verify_euicc_chain(&case(name), &good_eum, now(), ChainPolicy::default())
            .map(|euicc| euicc.eid_digits)
    };
    let with_eum = |name: &str| {
        anchors
            .verify_euicc_chain(&good_euicc, &case(name), now(), ChainPolicy::default())
            .map(|euicc| euicc.eid_digits)
    };
    let day = |year, month, day| UnixTime::from_date(year, month, day).unwrap();

    let expired = with_euicc("EUICC_ECDSA_NIST_EXPIRED").unwrap_err();
    assert!(
        matches!(expired, ChainError::Expired { which: Role::Euicc, not_after } if not_after < day(2015, 1, 2)),
        "{expired:?}"
    );
    assert_eq!(
        with_euicc("EUICC_ECDSA_NIST_INVALID"),
        Err(ChainError::BadSignature { which: Role::Euicc }),
        "self-signed"
    );
    assert_eq!(
        with_euicc("EUICC_ECDSA_NIST_INVALID_EID"),
        Err(ChainError::NameConstraintEid)
    );
    assert_eq!(
        with_euicc("EUICC_ECDSA_NIST_UNMATCHED_EID").as_deref(),
        Ok("89049032123451234512345678901299"),
        "a good chain; that it is another eUICC than the one ordered for is for the caller to see"
    );

    let expired = with_eum("EUM_ECDSA_NIST_EXPIRED").unwrap_err();
    assert!(
        matches!(expired, ChainError::Expired { which: Role::Eum, not_after } if not_after < day(2015, 1, 2)),
        "{expired:?}"
    );
    assert_eq!(
        with_eum("EUM_ECDSA_NIST_INVALID"),
        Err(ChainError::WrongRole {
            expected: Role::Eum,
            found: Role::SmDpAuth
        })
    );
    assert_eq!(
        with_eum("EUM_ECDSA_NIST_UNKNOWN_CI"),
        Err(ChainError::UnknownCi { which: Role::Eum })
    );
}

#[test]
fn every_published_key_belongs_to_its_certificate() {
    let sets = [
        ("CertificateIssuer", "CERT_CI_ECDSA", "SK_CI_ECDSA"),
        ("EUM", "CERT_EUM_ECDSA", "SK_EUM_ECDSA"),
        ("eUICC", "CERT_EUICC_ECDSA", "SK_EUICC_ECDSA"),
        ("DPauth", "CERT_S_SM_DPauth_ECDSA", "SK_S_SM_DPauth_ECDSA"),
        ("DPauth", "CERT_S_SM_DP2auth_ECDSA", "SK_S_SM_DP2auth_ECDSA"),
        ("DPpb", "CERT_S_SM_DPpb_ECDSA", "SK_S_SM_DPpb_ECDSA"),
        ("DPpb", "CERT_S_SM_DP2pb_ECDSA", "SK_S_SM_DP2pb_ECDSA"),
        ("DPtls", "CERT_S_SM_DP_VARO_TLS", "SK_S_SM_DP_TLS"),
    ];
    for (folder, certificate, key) in sets {
        for curve in ["NIST", "BRP"] {
            let certificate =
                sgp26_certificate(&format!("variant-o/{folder}/{certificate}_{curve}.der"));
            let key = sgp26_key(&format!("variant-o/{folder}/{key}_{curve}.pem"));
            assert_eq!(certificate.public_key(), Ok(key.public_key()));
            let signature = key.sign(b"message").unwrap();
            certificate
                .public_key()
                .unwrap()
                .verify(b"message", &signature)
                .unwrap();
        }
    }
}
