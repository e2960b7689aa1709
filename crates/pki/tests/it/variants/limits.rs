//! What issuers are limited to: how many stand below them, and for whom.

use pki::issue::{CertificateTemplate, SubjectAttribute};
use pki::{ChainError, ChainPolicy, Curve, EumConstraint, INTERMEDIATES_MAX, Role, Signer};

use super::{Server, Set, Variant, sub_ca_under, verify_server};
use crate::{now, sgp26_anchors};

#[test]
fn path_lengths_limit_the_sub_cas_below() {
    let length = |role, path_len| {
        let set = Set::altered(Variant::C, Curve::P256, |issued, template| {
            if issued == role {
                template.basic_constraints = Some((true, path_len));
            }
        });
        (
            set.verify_euicc().err(),
            verify_server(&set, "SM_DPpb").err(),
        )
    };
    let exceeded = |which| Some(ChainError::PathLen { which });
    let ci = Role::CiSubCa;
    assert_eq!(length(ci, None), (None, None));
    assert_eq!(length(ci, Some(2)), (None, None));
    assert_eq!(length(ci, Some(1)), (exceeded(ci), None));
    assert_eq!(length(ci, Some(0)), (exceeded(ci), exceeded(ci)));
    assert_eq!(length(Role::Eum, Some(1)), (None, None));
    // The EUM and its sub-CA have the same name; the sub-CA counts nevertheless.
    assert_eq!(length(Role::Eum, Some(0)), (exceeded(Role::Eum), None));
    assert_eq!(length(Role::Eum, None), (exceeded(Role::Eum), None));
    let role = Role::EumSubCa;
    assert_eq!(length(role, None), (exceeded(role), None), "mandatory");
    let role = Role::SmDpSubCa;
    assert_eq!(length(role, None), (None, exceeded(role)), "mandatory");
}

#[test]
fn a_sub_ca_issues_another_only_if_its_path_length_says_so() {
    for (path_len, expected) in [
        (
            0,
            Some(ChainError::PathLen {
                which: Role::SmDpSubCa,
            }),
        ),
        (1, None),
    ] {
        let set = Set::altered(Variant::C, Curve::P256, |role, template| {
            if role == Role::SmDpSubCa {
                template.basic_constraints = Some((true, Some(path_len)));
            }
        });
        let nested = sub_ca_under(set.dp_sub_ca.as_ref().unwrap(), Role::SmDpSubCa);
        let server = Server::named("SM_DPauth");
        let certificate = server
            .template(Variant::C)
            .issue(set.server_key.public_key(), nested.issuer())
            .unwrap();
        let mut intermediates = set.server_intermediates(server.role);
        intermediates.push(nested.certificate);
        assert_eq!(intermediates.len(), INTERMEDIATES_MAX);
        let result =
            sgp26_anchors().verify_server_through(&certificate, server.role, &intermediates, now());
        assert_eq!(result.err(), expected);
    }
}

#[test]
fn name_constraints_hold_through_sub_cas() {
    let constraint = |organisation: &str, prefix: Option<&str>| {
        vec![EumConstraint {
            organisation: Some(organisation.to_owned()),
            eid_prefix: prefix.map(str::to_owned),
        }]
    };
    // Of the EUM.
    let set = |role, alter: &dyn Fn(&mut CertificateTemplate)| {
        Set::altered(Variant::C, Curve::P256, |issued, template| {
            if issued == role {
                alter(template);
            }
        })
    };
    let renamed = |at: usize| {
        move |t: &mut CertificateTemplate| t.subject[at] = SubjectAttribute::organisation("Other")
    };
    let euicc_of_another = set(Role::Euicc, &renamed(1));
    assert_eq!(
        euicc_of_another.verify_euicc(),
        Err(ChainError::NameConstraintOrganisation)
    );
    let sub_ca_of_another = set(Role::EumSubCa, &renamed(1));
    let expected = ChainError::NameConstraint {
        issuer: Role::Eum,
        which: Role::EumSubCa,
    };
    assert_eq!(sub_ca_of_another.verify_euicc(), Err(expected));
    let foreign_eid = set(Role::Euicc, &|t| {
        t.subject[2] = SubjectAttribute::serial_number("89049033123451234512345678901235");
    });
    assert_eq!(
        foreign_eid.verify_euicc(),
        Err(ChainError::NameConstraintEid)
    );

    // Of a sub-CA, which can only narrow them.
    for (constraints, fits) in [
        (constraint("RSP Test EUM", None), true),
        (constraint("RSP Test EUM", Some("890490321")), true),
        (constraint("RSP Test EUM", Some("890490322")), false),
        (constraint("Other", None), false),
    ] {
        let narrowed = set(Role::EumSubCa, &|t| {
            t.name_constraints = constraints.clone()
        });
        let expected = ChainError::NameConstraint {
            issuer: Role::EumSubCa,
            which: Role::Euicc,
        };
        assert_eq!(narrowed.verify_euicc().err(), (!fits).then_some(expected));
    }
    let of_ci = set(Role::CiSubCa, &|t| {
        t.name_constraints = constraint("RSPTEST", None);
    });
    assert_eq!(
        of_ci.verify_euicc(),
        Err(ChainError::NameConstraint {
            issuer: Role::CiSubCa,
            which: Role::Euicc
        })
    );
    let of_dp = set(Role::SmDpSubCa, &|t| {
        t.name_constraints = constraint("Other", None);
    });
    assert_eq!(
        verify_server(&of_dp, "SM_DPtls"),
        Err(ChainError::NameConstraint {
            issuer: Role::SmDpSubCa,
            which: Role::SmDpTls
        })
    );

    // Without those of the EUM on request; those of the CI's sub-CA stay.
    let lax = ChainPolicy {
        insecure_ignore_eum_name_constraints: true,
    };
    let verify = |set: &Set| {
        let (eum, through) = (&set.eum.certificate, set.euicc_intermediates());
        sgp26_anchors()
            .verify_euicc_chain_through(&set.euicc, eum, &through, now(), lax)
            .map(|_| ())
    };
    for set in [&euicc_of_another, &sub_ca_of_another, &foreign_eid] {
        assert_eq!(verify(set), Ok(()));
    }
    assert!(matches!(
        verify(&of_ci),
        Err(ChainError::NameConstraint {
            issuer: Role::CiSubCa,
            ..
        })
    ));
}
