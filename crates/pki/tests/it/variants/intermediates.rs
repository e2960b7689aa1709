//! Sub-CAs that deviate in one thing, and intermediates that are no part of the chain.

use const_oid::{AssociatedOid, ObjectIdentifier};
use pki::issue::{CertificateTemplate, Credential, RawExtension};
use pki::{Certificate, ChainError, Curve, PrivateKey, Role, Signer};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage as X509KeyUsage};

use super::{STRICT, Server, Set, Variant, day, sub_ca_template, sub_ca_under, verify_server};
use crate::sgp26_invalid::spki_on;
use crate::{now, rng, sgp26_anchors};

/// A role of variant C and the verification that passes it.
const SUB_CAS: [Role; 4] = [
    Role::CiSubCa,
    Role::EumSubCa,
    Role::SmDpSubCa,
    Role::SmDsSubCa,
];

/// Verifies a chain of variant C that goes through the sub-CA of that role, after altering its template.
fn with_altered(role: Role, alter: impl Fn(&mut CertificateTemplate)) -> Result<(), ChainError> {
    let set = Set::altered(Variant::C, Curve::P256, |issued, template| {
        if issued == role {
            alter(template);
        }
    });
    match role {
        Role::SmDpSubCa => verify_server(&set, "SM_DPauth").map(|_| ()),
        Role::SmDsSubCa => verify_server(&set, "SM_DStls").map(|_| ()),
        _ => set.verify_euicc().map(|_| ()),
    }
}

#[test]
fn sub_cas_must_be_issuers() {
    for which in SUB_CAS {
        let refused = |alter: fn(&mut CertificateTemplate)| with_altered(which, alter).unwrap_err();
        let missing = |extension| ChainError::MissingCriticalExtension { which, extension };
        assert_eq!(with_altered(which, |_| {}), Ok(()), "{which}");
        assert_eq!(
            refused(|t| t.basic_constraints = None),
            missing(BasicConstraints::OID)
        );
        assert_eq!(
            refused(|t| t.basic_constraints = Some((false, None))),
            ChainError::BasicConstraints { which }
        );
        assert_eq!(refused(|t| t.key_usage = None), missing(X509KeyUsage::OID));
        assert_eq!(
            refused(|t| t.key_usage_critical = false),
            missing(X509KeyUsage::OID)
        );
        assert_eq!(
            refused(|t| {
                let usage = t.key_usage.as_mut().unwrap();
                usage.key_cert_sign = false;
                usage.digital_signature = true;
            }),
            ChainError::KeyUsage { which }
        );
        assert_eq!(
            refused(|t| t.further_extensions.push(unknown_critical())),
            ChainError::UnknownCriticalExtension {
                which,
                extension: UNKNOWN
            }
        );
        assert_eq!(
            refused(|t| t.authority_key_identifier = false),
            ChainError::MissingExtension {
                which,
                extension: AuthorityKeyIdentifier::OID
            }
        );
        assert_eq!(
            refused(|t| t.not_after = day(2026)),
            ChainError::Expired {
                which,
                not_after: day(2026)
            }
        );
        assert_eq!(
            refused(|t| t.not_before = day(2030)),
            ChainError::NotYetValid {
                which,
                not_before: day(2030)
            }
        );
    }
}

#[test]
fn sub_cas_have_the_policy_of_their_kind() {
    for role in SUB_CAS {
        // What it issues, and so what it cannot issue with another policy.
        let issued = match role {
            Role::CiSubCa => Role::Eum,
            Role::EumSubCa => Role::Euicc,
            Role::SmDpSubCa => Role::SmDpAuth,
            _ => Role::SmDsTls,
        };
        assert_eq!(
            with_altered(role, |t| t.policies.clear()),
            Err(ChainError::PolicyMissing { which: role })
        );
        assert_eq!(
            with_altered(role, |t| t.policies =
                vec![ObjectIdentifier::new_unwrap("2.5.29.32.0")]),
            Err(ChainError::PolicyMissing { which: role }),
            "anyPolicy is no role"
        );
        for other in SUB_CAS.into_iter().chain([issued]) {
            let policy = vec![other.policy_v3().unwrap()];
            let result = with_altered(role, |t| t.policies = policy.clone());
            match (role, other) {
                _ if role == other => assert_eq!(result, Ok(())),
                // A CI's sub-CA may issue servers, too.
                (Role::SmDpSubCa | Role::SmDsSubCa, Role::CiSubCa) => assert_eq!(result, Ok(())),
                _ => assert_eq!(
                    result,
                    Err(ChainError::MayNotIssue {
                        issuer: other,
                        which: issued
                    }),
                    "{role} as {other}"
                ),
            }
        }
    }
}

#[test]
fn sub_cas_with_a_curve_that_is_not_supported() {
    let frp256v1 = ObjectIdentifier::new_unwrap("1.2.250.1.223.101.256.1");
    for (name, which) in [
        ("SM_DPauth", Role::SmDpSubCa),
        ("SM_DSauth", Role::SmDsSubCa),
    ] {
        let set = Set::new(Variant::A, Curve::P256);
        let server = Server::named(name);
        let sub_ca = sub_ca_template(which)
            .issue_for_spki(&spki_on(frp256v1, 32), set.ci.issuer())
            .unwrap();
        let certificate = server
            .template(Variant::A)
            .issue(
                set.server_key.public_key(),
                pki::issue::Issuer {
                    certificate: &sub_ca,
                    signer: &set.server_key,
                },
            )
            .unwrap();
        assert_eq!(
            sgp26_anchors().verify_server_through(&certificate, server.role, &[sub_ca], now()),
            Err(ChainError::UnsupportedCurve {
                which,
                curve: frp256v1
            })
        );
    }
}

#[test]
fn any_order_will_do_but_all_must_be_there() {
    for variant in [Variant::A, Variant::B, Variant::C] {
        let set = Set::new(variant, Curve::P256);
        let anchors = sgp26_anchors();
        let verify = |intermediates: &[Certificate]| {
            let eum = &set.eum.certificate;
            anchors.verify_euicc_chain_through(&set.euicc, eum, intermediates, now(), STRICT)
        };
        let mut all = set.euicc_intermediates();
        verify(&all).unwrap();
        all.reverse();
        verify(&all).unwrap();
        for missing in 0..all.len() {
            let mut rest = all.clone();
            let expected = match rest.remove(missing).role() {
                Some(Role::CiSubCa) => ChainError::UnknownCi { which: Role::Eum },
                _ => ChainError::IssuerMismatch { which: Role::Euicc },
            };
            assert_eq!(verify(&rest), Err(expected), "{variant:?}");
        }

        let server = Server::named("SM_DPpb");
        let certificate = set.server(server.role, &server.template(variant));
        let verify = |intermediates: &[Certificate]| {
            anchors.verify_server_through(&certificate, server.role, intermediates, now())
        };
        let mut all = set.server_intermediates(server.role);
        verify(&all).unwrap();
        all.reverse();
        verify(&all).unwrap();
        for missing in 0..all.len() {
            let mut rest = all.clone();
            let removed = rest.remove(missing);
            let which = match removed.role() {
                Some(Role::CiSubCa) if variant == Variant::C => Role::SmDpSubCa,
                _ => server.role,
            };
            assert_eq!(verify(&rest), Err(ChainError::UnknownCi { which }));
        }
    }
}

#[test]
fn intermediates_that_are_no_part_of_the_chain() {
    let set = Set::new(Variant::C, Curve::P256);
    let anchors = sgp26_anchors();
    let server = Server::named("SM_DPauth");
    let which = server.role;
    let certificate = set.server(which, &server.template(Variant::C));
    let verify = |further: &[&Certificate]| {
        let mut intermediates = set.server_intermediates(which);
        intermediates.extend(further.iter().copied().cloned());
        anchors
            .verify_server_through(&certificate, which, &intermediates, now())
            .map(|_| ())
    };
    let ds_sub_ca = &set.ds_sub_ca.as_ref().unwrap().certificate;
    let dp_sub_ca = &set.dp_sub_ca.as_ref().unwrap().certificate;
    assert_eq!(verify(&[]), Ok(()));
    for stranger in [ds_sub_ca, &set.ci.certificate, &certificate, &set.euicc] {
        assert_eq!(
            verify(&[stranger]),
            Err(ChainError::UnusedIntermediate { which })
        );
    }
    assert_eq!(
        verify(&[dp_sub_ca]),
        Err(ChainError::RepeatedIntermediate { which })
    );
    assert_eq!(
        verify(&[ds_sub_ca, &set.euicc]),
        Err(ChainError::TooManyIntermediates { which, count: 4 })
    );

    let euicc = |further: &Certificate| {
        let mut intermediates = set.euicc_intermediates();
        intermediates.push(further.clone());
        let eum = &set.eum.certificate;
        anchors
            .verify_euicc_chain_through(&set.euicc, eum, &intermediates, now(), STRICT)
            .map(|_| ())
    };
    let which = Role::Euicc;
    assert_eq!(
        euicc(&set.eum.certificate),
        Err(ChainError::UnusedIntermediate { which }),
        "the EUM has its own place"
    );
    assert_eq!(
        euicc(&set.euicc_intermediates()[0]),
        Err(ChainError::RepeatedIntermediate { which })
    );
}

#[test]
fn two_intermediates_with_one_key_identifier_are_refused() {
    // A renewed sub-CA certificate beside the old one: which of them counts would depend on their order.
    let set = Set::new(Variant::B, Curve::P256);
    let old = set.ci_sub_ca.as_ref().unwrap();
    let renewed = sub_ca_template(Role::CiSubCa)
        .valid(day(2026), day(2050))
        .issue(old.key.public_key(), set.ci.issuer())
        .unwrap();
    let server = Server::named("SM_DSauth");
    let which = server.role;
    let certificate = set.server(which, &server.template(Variant::B));
    let verify = |intermediates: &[Certificate]| {
        sgp26_anchors()
            .verify_server_through(&certificate, which, intermediates, now())
            .map(|_| ())
    };
    assert_eq!(verify(core::slice::from_ref(&renewed)), Ok(()));
    assert_eq!(
        verify(&[old.certificate.clone(), renewed]),
        Err(ChainError::RepeatedIntermediate { which })
    );
}

#[test]
fn loops_end() {
    // Two sub-CAs that issued each other, and one that issued itself.
    let set = Set::new(Variant::B, Curve::P256);
    let template = sub_ca_template(Role::CiSubCa);
    let keys = [21, 22].map(|seed| PrivateKey::generate(Curve::P256, &mut rng(seed)).unwrap());
    let alone = template.self_sign(&keys[0]).unwrap();
    let first = Credential {
        certificate: alone.clone(),
        key: keys[0].clone(),
    };
    let second = Credential {
        certificate: template
            .issue(keys[1].public_key(), first.issuer())
            .unwrap(),
        key: keys[1].clone(),
    };
    let closing = template
        .issue(keys[0].public_key(), second.issuer())
        .unwrap();
    assert_eq!(
        closing.authority_key_identifier(),
        second.certificate.subject_key_identifier()
    );
    let server = Server::named("SM_DPtls");
    let certificate = server
        .template(Variant::B)
        .issue(set.server_key.public_key(), first.issuer())
        .unwrap();
    for intermediates in [vec![alone], vec![closing, second.certificate]] {
        assert_eq!(
            sgp26_anchors().verify_server_through(&certificate, server.role, &intermediates, now()),
            Err(ChainError::UnknownCi {
                which: Role::CiSubCa
            })
        );
    }
}

#[test]
fn an_end_of_a_chain_cannot_issue() {
    let set = Set::new(Variant::C, Curve::P256);
    let auth = Server::named("SM_DPauth");
    let leaf = Credential {
        certificate: set.server(auth.role, &auth.template(Variant::C)),
        key: set.server_key.clone(),
    };
    let pb = Server::named("SM_DPpb");
    let certificate = pb
        .template(Variant::C)
        .issue(set.server_key.public_key(), leaf.issuer())
        .unwrap();
    let mut intermediates = set.server_intermediates(pb.role);
    intermediates.push(leaf.certificate);
    assert_eq!(
        sgp26_anchors().verify_server_through(&certificate, pb.role, &intermediates, now()),
        Err(ChainError::MayNotIssue {
            issuer: Role::SmDpAuth,
            which: Role::SmDpPb
        })
    );
}

#[test]
fn a_sub_ca_serves_its_own_kind_only() {
    let set = Set::new(Variant::C, Curve::P256);
    let dp_sub_ca = set.dp_sub_ca.as_ref().unwrap();
    let ds_auth = Server::named("SM_DSauth");
    let certificate = ds_auth
        .template(Variant::C)
        .issue(set.server_key.public_key(), dp_sub_ca.issuer())
        .unwrap();
    let through = set.server_intermediates(Role::SmDpAuth);
    assert_eq!(
        sgp26_anchors().verify_server_through(&certificate, ds_auth.role, &through, now()),
        Err(ChainError::MayNotIssue {
            issuer: Role::SmDpSubCa,
            which: Role::SmDsAuth
        })
    );

    // An EUM's sub-CA stands below an EUM, not below the CI.
    let eum_sub_ca = sub_ca_under(&set.ci, Role::EumSubCa);
    let eum = &set.eum.certificate;
    let euicc = super::euicc_template(Variant::C)
        .issue(set.server_key.public_key(), eum_sub_ca.issuer())
        .unwrap();
    let mut intermediates = set.euicc_intermediates();
    intermediates[0] = eum_sub_ca.certificate;
    assert_eq!(
        sgp26_anchors().verify_euicc_chain_through(&euicc, eum, &intermediates, now(), STRICT),
        Err(ChainError::IssuerMismatch {
            which: Role::EumSubCa
        })
    );
}

#[test]
fn an_eum_cannot_answer_for_the_sub_ca_of_another() {
    let set = Set::new(Variant::A, Curve::P256);
    let key = PrivateKey::generate(Curve::P256, &mut rng(33)).unwrap();
    let other_eum = super::eum_template(Variant::A)
        .issue(key.public_key(), set.ci.issuer())
        .unwrap();
    assert_eq!(
        sgp26_anchors().verify_euicc_chain_through(
            &set.euicc,
            &other_eum,
            &set.euicc_intermediates(),
            now(),
            STRICT
        ),
        Err(ChainError::IssuerMismatch {
            which: Role::EumSubCa
        })
    );
}

#[test]
fn sub_cas_are_no_servers_and_no_anchors() {
    let set = Set::new(Variant::C, Curve::P256);
    let above = [set.ci_sub_ca.as_ref().unwrap().certificate.clone()];
    for (credential, role) in [
        (&set.dp_sub_ca, Role::SmDpSubCa),
        (&set.ds_sub_ca, Role::SmDsSubCa),
    ] {
        let certificate = &credential.as_ref().unwrap().certificate;
        let mut anchors = sgp26_anchors();
        assert_eq!(
            anchors.verify_server_through(certificate, role, &above, now()),
            Err(ChainError::BasicConstraints { which: role })
        );
        assert_eq!(
            anchors.verify_server_through(certificate, Role::SmDpAuth, &above, now()),
            Err(ChainError::WrongRole {
                expected: Role::SmDpAuth,
                found: role
            })
        );
        assert_eq!(
            anchors.add_ci(certificate.clone()),
            Err(pki::AnchorError::NotACertificateIssuer { found: Some(role) })
        );
    }
}

#[test]
fn an_eim_may_be_under_the_sub_ca_of_a_ci_only() {
    let set = Set::new(Variant::C, Curve::P256);
    let template = super::finished(
        CertificateTemplate::eim_signing("DE", "eim.example.com"),
        91,
    );
    let role = Role::EimSigning;
    let under = |issuer: &Option<Credential>, through: &[Certificate]| {
        let issuer = issuer.as_ref().unwrap().issuer();
        let certificate = template.issue(set.server_key.public_key(), issuer).unwrap();
        sgp26_anchors()
            .verify_server_through(&certificate, role, through, now())
            .map(|eim| eim.common_name)
    };
    assert_eq!(
        under(&set.ci_sub_ca, &set.server_intermediates(role)),
        Ok(Some("eim.example.com".to_owned()))
    );
    assert_eq!(
        under(&set.dp_sub_ca, &set.server_intermediates(Role::SmDpAuth)),
        Err(ChainError::MayNotIssue {
            issuer: Role::SmDpSubCa,
            which: role
        })
    );
}

const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1");

fn unknown_critical() -> RawExtension {
    RawExtension {
        extn_id: UNKNOWN,
        critical: true,
        extn_value: der::asn1::OctetString::new([5, 0]).unwrap(),
    }
}
