//! Chains that deviate in one thing, and revocation.

use const_oid::{AssociatedOid, ObjectIdentifier};
use pki::issue::{
    CertificateTemplate, Credential, CrlTemplate, RawExtension, SubjectAttribute, TestPki,
    TestPkiOptions,
};
use pki::{
    AnchorError, Certificate, CertificateError, ChainError, ChainPolicy, Crl, CrlError, Curve,
    EumConstraint, KeyUsage, Oid, PrivateKey, Role, Signer, TrustAnchors, UnixTime, VerifiedEuicc,
};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage as X509KeyUsage, NameConstraints,
};

use crate::rng;

const EID: &str = "89049032123451234512345678901235";
const STRICT: ChainPolicy = ChainPolicy {
    insecure_ignore_eum_name_constraints: false,
};
const LAX: ChainPolicy = ChainPolicy {
    insecure_ignore_eum_name_constraints: true,
};
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1");

fn day(year: u16, month: u8) -> UnixTime {
    UnixTime::from_date(year, month, 1).unwrap()
}

fn now() -> Option<UnixTime> {
    Some(day(2026, 8))
}

fn test_pki() -> TestPki {
    TestPki::new(&mut rng(1), Curve::P256, &TestPkiOptions::new(day(2026, 1))).unwrap()
}

/// A PKI in which EUM and eUICC can be altered.
struct Bench {
    pki: TestPki,
    eum: CertificateTemplate,
    euicc: CertificateTemplate,
}

impl Bench {
    fn new() -> Self {
        let oid = Oid::from_dotted("2.999.5").unwrap();
        let valid = |template: CertificateTemplate| {
            template
                .valid(day(2026, 1), day(2056, 1))
                .random_serial(&mut rng(3))
        };
        Self {
            pki: test_pki(),
            eum: valid(CertificateTemplate::eum("Acme EUM", "EUM", "89049032", oid)),
            euicc: valid(CertificateTemplate::euicc("Acme EUM", EID)),
        }
    }

    fn check(&self, policy: ChainPolicy) -> Result<VerifiedEuicc, ChainError> {
        let key = PrivateKey::generate(Curve::P256, &mut rng(4)).unwrap();
        let eum = self
            .eum
            .issue(key.public_key(), self.pki.ci.issuer())
            .unwrap();
        let eum = Credential {
            certificate: eum,
            key,
        };
        let key = PrivateKey::generate(Curve::P256, &mut rng(5)).unwrap();
        let euicc = self.euicc.issue(key.public_key(), eum.issuer()).unwrap();
        self.pki.trust_anchors().unwrap().verify_euicc_chain(
            &euicc,
            &eum.certificate,
            now(),
            policy,
        )
    }
}

/// One alteration of a bench must give one error.
fn refused(alter: impl FnOnce(&mut Bench)) -> ChainError {
    let mut bench = Bench::new();
    assert_eq!(bench.check(STRICT).unwrap().eid_digits, EID);
    alter(&mut bench);
    bench.check(STRICT).unwrap_err()
}

fn unknown_extension(critical: bool) -> RawExtension {
    RawExtension {
        extn_id: UNKNOWN,
        critical,
        extn_value: der::asn1::OctetString::new([5, 0]).unwrap(),
    }
}

#[test]
fn eum_must_be_an_issuer() {
    let which = Role::Eum;
    let missing = |extension| ChainError::MissingCriticalExtension { which, extension };
    assert_eq!(
        refused(|b| b.eum.basic_constraints = None),
        missing(BasicConstraints::OID)
    );
    assert_eq!(
        refused(|b| b.eum.basic_constraints = Some((false, None))),
        ChainError::BasicConstraints { which }
    );
    assert_eq!(
        refused(|b| b.eum.basic_constraints = Some((true, None))),
        ChainError::PathLen { which }
    );
    assert_eq!(
        refused(|b| b.eum.key_usage = None),
        missing(X509KeyUsage::OID)
    );
    assert_eq!(
        refused(|b| b.eum.key_usage_critical = false),
        missing(X509KeyUsage::OID)
    );
    assert_eq!(
        refused(|b| b.eum.key_usage = b.euicc.key_usage),
        ChainError::KeyUsage { which },
        "digitalSignature alone does not let it issue"
    );
    assert_eq!(
        refused(|b| b.eum.name_constraints.clear()),
        missing(NameConstraints::OID)
    );
    assert_eq!(
        refused(|b| b.eum.name_constraints_critical = false),
        missing(NameConstraints::OID)
    );
    assert_eq!(
        refused(|b| b.eum.policies.clear()),
        ChainError::PolicyMissing { which }
    );
    assert_eq!(
        refused(|b| b.eum.policies = b.euicc.policies.clone()),
        ChainError::WrongRole {
            expected: which,
            found: Role::Euicc
        }
    );
    assert_eq!(
        refused(|b| b.eum.authority_key_identifier = false),
        ChainError::MissingExtension {
            which,
            extension: AuthorityKeyIdentifier::OID
        }
    );
    assert_eq!(
        refused(|b| b.eum.further_extensions.push(unknown_extension(true))),
        ChainError::UnknownCriticalExtension {
            which,
            extension: UNKNOWN
        }
    );
}

#[test]
fn euicc_must_be_an_euicc() {
    let which = Role::Euicc;
    assert_eq!(
        refused(|b| b.euicc.policies = b.eum.policies.clone()),
        ChainError::WrongRole {
            expected: which,
            found: Role::Eum
        }
    );
    assert_eq!(
        refused(|b| b.euicc.basic_constraints = Some((true, Some(0)))),
        ChainError::BasicConstraints { which }
    );
    let key_agreement = KeyUsage {
        digital_signature: false,
        key_agreement: true,
        key_cert_sign: false,
        crl_sign: false,
    };
    assert_eq!(
        refused(|b| b.euicc.key_usage = Some(key_agreement)),
        ChainError::KeyUsage { which }
    );
    assert_eq!(
        refused(|b| b.euicc.further_extensions.push(unknown_extension(true))),
        ChainError::UnknownCriticalExtension {
            which,
            extension: UNKNOWN
        }
    );
    assert_eq!(
        refused(|b| b.euicc.not_before = day(2027, 1)),
        ChainError::NotYetValid {
            which,
            not_before: day(2027, 1)
        }
    );
    assert_eq!(
        refused(|b| b.euicc.not_after = day(2026, 7)),
        ChainError::Expired {
            which,
            not_after: day(2026, 7)
        }
    );
}

#[test]
fn unknown_extensions_that_are_not_critical_are_ignored() {
    let mut bench = Bench::new();
    bench.eum.further_extensions.push(unknown_extension(false));
    bench
        .euicc
        .further_extensions
        .push(unknown_extension(false));
    bench.check(STRICT).unwrap();
}

#[test]
fn validity_bounds_are_inclusive() {
    let mut bench = Bench::new();
    bench.euicc.not_before = day(2026, 8);
    bench.euicc.not_after = day(2026, 8);
    bench.check(STRICT).unwrap();
}

#[test]
fn name_constraints_bind_organisation_and_eid() {
    let set =
        |b: &mut Bench, index: usize, value: &str| b.euicc.subject[index].value = value.to_owned();
    assert_eq!(
        refused(|b| set(b, 0, "Other EUM")),
        ChainError::NameConstraintOrganisation
    );
    assert_eq!(
        refused(|b| set(b, 0, "acme EUM")),
        ChainError::NameConstraintOrganisation
    );
    assert_eq!(
        refused(|b| set(b, 1, "89049033123451234512345678901235")),
        ChainError::NameConstraintEid
    );
    let malformed = [
        "8904903212345123451234567890123",
        "890490321234512345123456789012355",
        "8904903212345123451234567890123A",
    ];
    for eid in malformed {
        assert_eq!(
            refused(|b| set(b, 1, eid)),
            ChainError::EidMalformed,
            "{eid}"
        );
    }
    assert_eq!(
        refused(|b| {
            b.euicc.subject.remove(1);
        }),
        ChainError::EidMalformed
    );
    assert_eq!(
        refused(|b| {
            b.euicc.subject.remove(0);
        }),
        ChainError::NameConstraintOrganisation
    );

    let constraint = |organisation: Option<&str>, prefix: Option<&str>| EumConstraint {
        organisation: organisation.map(str::to_owned),
        eid_prefix: prefix.map(str::to_owned),
    };
    // Neither part may be open.
    assert_eq!(
        refused(|b| b.eum.name_constraints = vec![constraint(None, Some("89049032"))]),
        ChainError::NameConstraintOrganisation
    );
    assert_eq!(
        refused(|b| b.eum.name_constraints = vec![constraint(Some("Acme EUM"), None)]),
        ChainError::NameConstraintEid
    );
    // Halves of two subtrees do not add up.
    assert_eq!(
        refused(|b| b.eum.name_constraints = vec![
            constraint(Some("Acme EUM"), Some("8907")),
            constraint(Some("Other EUM"), Some("89049032")),
        ]),
        ChainError::NameConstraintEid
    );

    let mut bench = Bench::new();
    bench.eum.name_constraints = vec![
        constraint(Some("Acme EUM"), Some("8907")),
        constraint(Some("Acme EUM"), Some("890490")),
    ];
    bench.check(STRICT).unwrap();
}

#[test]
fn name_constraints_can_be_ignored_on_request_only() {
    let mut bench = Bench::new();
    bench.euicc.subject[0].value = "sysmocom RSP Test EUM".to_owned();
    bench.euicc.subject[1].value = "89044045118427484800000000011628".to_owned();
    assert_eq!(
        bench.check(STRICT),
        Err(ChainError::NameConstraintOrganisation)
    );
    assert_eq!(
        bench.check(LAX).unwrap().eid_digits,
        "89044045118427484800000000011628"
    );
    bench.euicc.subject[1].value = "8904".to_owned();
    assert_eq!(
        bench.check(LAX),
        Err(ChainError::EidMalformed),
        "nothing else is relaxed"
    );
}

/// SGP.22 v3 (SGP.26 variant "Ov3"): longer policies, and the digits in an extension.
#[test]
fn version_3_certificates() {
    let mut bench = Bench::new();
    bench.eum.policies = vec![ObjectIdentifier::new_unwrap("2.23.146.1.2.1.0.0.0")];
    bench.euicc.policies = vec![ObjectIdentifier::new_unwrap("2.23.146.1.2.1.0.0.0.0.0")];
    bench.eum.basic_constraints = Some((true, Some(1)));
    bench.eum.name_constraints[0].eid_prefix = None;
    let eins = |digits: &[u8; 8]| RawExtension {
        extn_id: ObjectIdentifier::new_unwrap("2.23.146.1.2.2.0"),
        critical: false,
        extn_value: der::asn1::OctetString::new([&[0x30, 10, 0x13, 8][..], digits].concat())
            .unwrap(),
    };
    bench.eum.further_extensions = vec![eins(b"89049032")];
    bench.check(STRICT).unwrap();
    bench.eum.further_extensions = vec![eins(b"89049033")];
    assert_eq!(bench.check(STRICT), Err(ChainError::NameConstraintEid));
}

#[test]
fn an_eum_cannot_vouch_for_a_stranger() {
    let bench = Bench::new();
    let anchors = bench.pki.trust_anchors().unwrap();
    let stranger = TestPki::new(
        &mut rng(99),
        Curve::P256,
        &TestPkiOptions::new(day(2026, 1)),
    )
    .unwrap();
    let euicc = stranger.issue_euicc(&mut rng(5), EID).unwrap().certificate;
    assert_eq!(
        anchors.verify_euicc_chain(&euicc, &stranger.eum.certificate, now(), STRICT),
        Err(ChainError::UnknownCi { which: Role::Eum })
    );
    assert_eq!(
        anchors.verify_euicc_chain(&euicc, &bench.pki.eum.certificate, now(), STRICT),
        Err(ChainError::IssuerMismatch { which: Role::Euicc })
    );
    // A stranger who claims the right issuer still lacks its key.
    let key = PrivateKey::generate(Curve::P256, &mut rng(6)).unwrap();
    let forged = CertificateTemplate::euicc("Palisade Test EUM", EID)
        .issue(
            key.public_key(),
            pki::issue::Issuer {
                certificate: &bench.pki.eum.certificate,
                signer: &key,
            },
        )
        .unwrap();
    assert_eq!(
        anchors.verify_euicc_chain(&forged, &bench.pki.eum.certificate, now(), STRICT),
        Err(ChainError::BadSignature { which: Role::Euicc })
    );
    // Nobody is trusted by default.
    assert_eq!(
        TrustAnchors::new().verify_server(&bench.pki.smdp_auth.certificate, Role::SmDpAuth, None),
        Err(ChainError::UnknownCi {
            which: Role::SmDpAuth
        })
    );
}

#[test]
fn issuer_roles_are_no_servers() {
    let pki = test_pki();
    let anchors = pki.trust_anchors().unwrap();
    for (credential, role) in [(&pki.ci, Role::CertificateIssuer), (&pki.eum, Role::Eum)] {
        assert_eq!(
            anchors.verify_server(&credential.certificate, role, now()),
            Err(ChainError::BasicConstraints { which: role })
        );
    }
}

#[test]
fn eim_signing_and_tls_are_told_apart() {
    let pki = test_pki();
    let anchors = pki.trust_anchors().unwrap();
    assert_eq!(
        anchors.verify_server(&pki.eim_tls.certificate, Role::EimSigning, now()),
        Err(ChainError::ExtendedKeyUsage {
            which: Role::EimSigning
        })
    );
    assert!(matches!(
        anchors.verify_server(&pki.eim_signing.certificate, Role::EimTls, now()),
        Err(ChainError::MissingCriticalExtension {
            which: Role::EimTls,
            ..
        })
    ));
}

#[test]
fn only_certificate_issuers_become_anchors() {
    let pki = test_pki();
    let mut anchors = TrustAnchors::new();
    assert_eq!(
        anchors.add_ci(pki.eum.certificate.clone()),
        Err(AnchorError::NotACertificateIssuer {
            found: Some(Role::Eum)
        })
    );
    let oid = Oid::from_dotted("2.999.1").unwrap();
    let template = CertificateTemplate::certificate_issuer("CI", "Acme", oid);
    let add = |template: &CertificateTemplate| {
        TrustAnchors::new().add_ci(template.self_sign(&pki.ci.key).unwrap())
    };
    add(&template).unwrap();
    let without_ca = CertificateTemplate {
        basic_constraints: None,
        ..template.clone()
    };
    assert_eq!(add(&without_ca), Err(AnchorError::MayNotSign));
    let without_id = CertificateTemplate {
        subject_key_identifier: false,
        ..template.clone()
    };
    assert_eq!(add(&without_id), Err(AnchorError::NoSubjectKeyIdentifier));
    let unknown = CertificateTemplate {
        further_extensions: vec![unknown_extension(true)],
        ..template.clone()
    };
    assert_eq!(
        add(&unknown),
        Err(AnchorError::UnknownCriticalExtension(UNKNOWN))
    );

    // Signed by another CI: not an anchor by itself.
    let stranger = TestPki::new(
        &mut rng(98),
        Curve::P256,
        &TestPkiOptions::new(day(2026, 1)),
    )
    .unwrap();
    let cross = template
        .issue(pki.ci.key.public_key(), stranger.ci.issuer())
        .unwrap();
    assert_eq!(
        TrustAnchors::new().add_ci(cross),
        Err(AnchorError::BadSignature)
    );
}

#[test]
fn the_ci_that_is_valid_longer_stays() {
    let pki = test_pki();
    let oid = Oid::from_dotted("2.999.1").unwrap();
    let reissue = |year| {
        CertificateTemplate::certificate_issuer("Renamed CI", "Acme", oid.clone())
            .valid(day(2026, 1), day(year, 1))
            .self_sign(&pki.ci.key)
            .unwrap()
    };
    for order in [[2030, 2090], [2090, 2030]] {
        let mut anchors = TrustAnchors::new();
        for year in order {
            anchors.add_ci(reissue(year)).unwrap();
        }
        assert_eq!(
            anchors.certificates().next().unwrap().not_after(),
            day(2090, 1)
        );
        anchors
            .verify_server(&pki.smdp_pb.certificate, Role::SmDpPb, now())
            .unwrap();
    }
    let mut expired = TrustAnchors::new();
    expired.add_ci(reissue(2026)).unwrap();
    assert_eq!(
        expired.verify_server(&pki.smdp_pb.certificate, Role::SmDpPb, now()),
        Err(ChainError::Expired {
            which: Role::CertificateIssuer,
            not_after: day(2026, 1)
        })
    );
}

#[test]
fn revocation() {
    let pki = test_pki();
    let crl = |number, this: UnixTime, next, revoked: &[&Certificate]| {
        let revoked = revoked
            .iter()
            .map(|certificate| certificate.serial_number().to_vec())
            .collect();
        CrlTemplate {
            number,
            this_update: this,
            next_update: next,
            revoked,
        }
        .issue(pki.ci.issuer())
        .unwrap()
    };
    let auth = &pki.smdp_auth.certificate;
    let eum = &pki.eum.certificate;
    let euicc = pki.issue_euicc(&mut rng(5), EID).unwrap().certificate;
    let listed = crl(2, day(2026, 7), Some(day(2026, 9)), &[auth, eum]);
    assert_eq!(
        (listed.len(), listed.revokes(auth.serial_number())),
        (2, true)
    );

    let mut anchors = pki.trust_anchors().unwrap();
    anchors.add_crl(listed.clone()).unwrap();
    let revoked = |which| Err(ChainError::Revoked { which });
    assert_eq!(
        anchors
            .verify_server(auth, Role::SmDpAuth, now())
            .map(|_| ()),
        revoked(Role::SmDpAuth)
    );
    assert_eq!(
        anchors
            .verify_server(auth, Role::SmDpAuth, None)
            .map(|_| ()),
        revoked(Role::SmDpAuth)
    );
    assert_eq!(
        anchors
            .verify_euicc_chain(&euicc, eum, now(), STRICT)
            .map(|_| ()),
        revoked(Role::Eum)
    );
    anchors
        .verify_server(&pki.smdp_pb.certificate, Role::SmDpPb, now())
        .unwrap();

    assert_eq!(
        anchors.add_crl(crl(1, day(2026, 6), None, &[])),
        Err(AnchorError::OlderCrl)
    );
    let late = anchors.verify_server(&pki.smdp_pb.certificate, Role::SmDpPb, Some(day(2026, 10)));
    assert_eq!(
        late,
        Err(ChainError::CrlOutOfDate {
            issuer: Role::CertificateIssuer,
            next_update: day(2026, 9)
        })
    );
    anchors
        .add_crl(crl(3, day(2026, 8), Some(day(2027, 1)), &[]))
        .unwrap();
    anchors
        .verify_server(auth, Role::SmDpAuth, Some(day(2026, 10)))
        .unwrap();

    // Others cannot revoke.
    let stranger = TestPki::new(
        &mut rng(97),
        Curve::P256,
        &TestPkiOptions::new(day(2026, 1)),
    )
    .unwrap();
    assert_eq!(
        anchors.add_crl(stranger.crl.clone()),
        Err(AnchorError::UnknownCi)
    );
    let forged = CrlTemplate {
        number: 9,
        this_update: day(2026, 9),
        next_update: None,
        revoked: vec![],
    }
    .issue(pki::issue::Issuer {
        certificate: &pki.ci.certificate,
        signer: &stranger.ci.key,
    })
    .unwrap();
    assert_eq!(anchors.add_crl(forged), Err(AnchorError::BadCrlSignature));
    let mut altered = listed.der().to_vec();
    altered.push(0);
    assert!(matches!(
        Crl::from_der(&altered),
        Err(CrlError::Malformed(_))
    ));
    assert!(matches!(
        Crl::from_der(pki.ci.certificate.der()),
        Err(CrlError::Malformed(_))
    ));
}

#[test]
fn malformed_certificates_are_refused() {
    let pki = test_pki();
    let good = pki.smdp_auth.certificate.der();
    for length in 0..good.len() {
        assert!(
            Certificate::from_der(&good[..length]).is_err(),
            "cut to {length}"
        );
    }
    assert!(Certificate::from_der(&[good, &[0]].concat()).is_err());
    assert_eq!(
        Certificate::from_der(&vec![0x30; 20_000]),
        Err(CertificateError::TooLarge(20_000))
    );
    // No alteration of one octet may panic or verify.
    let anchors = pki.trust_anchors().unwrap();
    for index in 0..good.len() {
        let mut altered = good.to_vec();
        altered[index] ^= 0x01;
        if let Ok(certificate) = Certificate::from_der(&altered) {
            assert!(
                anchors
                    .verify_server(&certificate, Role::SmDpAuth, now())
                    .is_err(),
                "octet {index}"
            );
        }
    }
}

#[test]
fn ambiguous_certificates_are_refused() {
    let pki = test_pki();
    let oid = Oid::from_dotted("2.999.10").unwrap();
    let template = CertificateTemplate::server(Role::SmDpAuth, "Acme", "DP", oid);
    let issue = |template: &CertificateTemplate| {
        let error = template
            .issue(pki.smdp_auth.key.public_key(), pki.ci.issuer())
            .unwrap_err();
        match error {
            pki::issue::IssueError::Certificate(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let mut twice = template.clone();
    twice.subject.push(SubjectAttribute::organisation("Other"));
    assert!(matches!(
        issue(&twice),
        CertificateError::RepeatedAttribute { .. }
    ));
    let mut twice = template.clone();
    twice.further_extensions = vec![unknown_extension(false), unknown_extension(false)];
    assert_eq!(
        issue(&twice),
        CertificateError::RepeatedExtension { extension: UNKNOWN }
    );
    let mut broken = template;
    broken.key_usage = None;
    broken.further_extensions = vec![RawExtension {
        extn_id: X509KeyUsage::OID,
        ..unknown_extension(true)
    }];
    assert_eq!(
        issue(&broken),
        CertificateError::MalformedExtension {
            extension: X509KeyUsage::OID
        }
    );
}

#[test]
fn certificates_as_pem() {
    let pki = test_pki();
    let pem = pki.ci.certificate.to_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert_eq!(Certificate::from_pem(&pem), Ok(pki.ci.certificate.clone()));
    let key = pki.ci.key.to_pkcs8_pem().unwrap();
    assert_eq!(Certificate::from_pem(&key), Err(CertificateError::Pem));
}
