//! Chains as messages carry them, and issuers that are known without coming along.

use pki::issue::{
    Credential, CrlTemplate, Issuer, TestPki, TestPkiOptions, Variant as TestVariant, VariantPki,
};
use pki::{
    AnchorError, Certificate, ChainError, Curve, INTERMEDIATES_MAX, Role, TrustAnchors,
    VerifiedEuicc,
};

use super::{EID, STRICT, Set, Variant, day};
use crate::{now, rng, sgp26_anchors};

/// nextCertInChain and otherCertsInChain.
fn in_message(set: &Set) -> (Certificate, Vec<Certificate>) {
    let eum = set.eum.certificate.clone();
    let mut others = set.euicc_intermediates();
    match set.eum_sub_ca {
        Some(_) => {
            let next = others.remove(0);
            others.insert(0, eum);
            (next, others)
        }
        None => (eum, others),
    }
}

fn verify(
    anchors: &TrustAnchors,
    set: &Set,
    next: &Certificate,
    others: &[Certificate],
) -> Result<VerifiedEuicc, ChainError> {
    anchors.verify_euicc_chain_in_message(&set.euicc, next, others, now(), STRICT)
}

/// Anchors to which every issuer of a set is known.
fn knowing(set: &Set) -> TrustAnchors {
    let mut anchors = sgp26_anchors();
    let eum = Some(set.eum.clone());
    let issuers = [&set.ci_sub_ca, &eum, &set.eum_sub_ca, &set.dp_sub_ca];
    for issuer in issuers.into_iter().flatten() {
        let certificate = issuer.certificate.clone();
        anchors.add_issuer(certificate, &[], now()).unwrap();
    }
    anchors
}

#[test]
fn every_variant_verifies_from_its_message() {
    for curve in [Curve::P256, Curve::BrainpoolP256r1] {
        for variant in Variant::ALL {
            let set = Set::new(variant, curve);
            let (next, mut others) = in_message(&set);
            let verified = verify(&sgp26_anchors(), &set, &next, &others).unwrap();
            assert_eq!(verified.eid_digits, EID);
            assert_eq!(Ok(verified.clone()), set.verify_euicc());
            others.reverse();
            assert_eq!(verify(&sgp26_anchors(), &set, &next, &others), Ok(verified));
        }
    }
}

#[test]
fn what_is_missing_or_too_much_in_a_message_is_named() {
    let anchors = sgp26_anchors();
    let set = Set::new(Variant::C, Curve::P256);
    let (next, others) = in_message(&set);
    let [eum, ci_sub_ca] = &others[..] else {
        panic!("an EUM and a sub-CA of the CI");
    };
    let refused = |next: &Certificate, others: &[Certificate]| {
        verify(&anchors, &set, next, others).unwrap_err()
    };
    let unknown = |which| ChainError::UnknownCi { which };
    assert_eq!(refused(&next, &[]), unknown(Role::EumSubCa));
    assert_eq!(
        refused(&next, std::slice::from_ref(ci_sub_ca)),
        unknown(Role::EumSubCa)
    );
    assert_eq!(
        refused(&next, std::slice::from_ref(eum)),
        unknown(Role::Eum)
    );

    let which = Role::Euicc;
    let unused = ChainError::UnusedIntermediate { which };
    let dp = &set.dp_sub_ca.as_ref().unwrap().certificate;
    assert_eq!(
        refused(&next, &[eum.clone(), ci_sub_ca.clone(), dp.clone()]),
        unused
    );
    let twice = [eum.clone(), ci_sub_ca.clone(), eum.clone()];
    assert_eq!(refused(&next, &twice), unused);
    let twice = [eum.clone(), ci_sub_ca.clone(), next.clone()];
    assert_eq!(
        refused(&next, &twice),
        ChainError::RepeatedIntermediate { which }
    );
    let count = INTERMEDIATES_MAX + 1;
    let many = vec![eum.clone(); count];
    assert_eq!(
        refused(&next, &many),
        ChainError::TooManyIntermediates { which, count }
    );
}

#[test]
fn known_issuers_need_not_come_along() {
    for variant in [Variant::A, Variant::B, Variant::C] {
        let set = Set::new(variant, Curve::P256);
        let anchors = knowing(&set);
        let verified = set.verify_euicc();
        let (next, others) = in_message(&set);
        assert_eq!(verify(&anchors, &set, &next, &[]), verified, "{variant:?}");
        assert_eq!(
            verify(&anchors, &set, &next, &others),
            verified,
            "{variant:?}"
        );
        // As in messages of SGP.22 v2, which have a place for the EUM only.
        let eum = &set.eum.certificate;
        assert_eq!(verify(&anchors, &set, eum, &[]), verified, "{variant:?}");

        let name = super::Server::named("SM_DPauth");
        let server = set.server(name.role, &name.template(variant));
        assert!(
            anchors.verify_server(&server, name.role, now()).is_ok(),
            "{variant:?}"
        );
        assert!(
            sgp26_anchors()
                .verify_server(&server, name.role, now())
                .is_err(),
            "{variant:?}"
        );
    }
}

#[test]
fn only_issuers_under_a_trusted_ci_become_known() {
    let set = Set::new(Variant::C, Curve::P256);
    let ci_sub_ca = set.ci_sub_ca.as_ref().unwrap().certificate.clone();
    let eum = set.eum.certificate.clone();
    let mut anchors = sgp26_anchors();

    let found = Some(Role::Euicc);
    let refused = anchors.add_issuer(set.euicc.clone(), &[], now());
    assert_eq!(refused, Err(AnchorError::NotASubCa { found }));
    let which = Role::Eum;
    let refused = anchors.add_issuer(eum.clone(), &[], now());
    assert_eq!(
        refused,
        Err(AnchorError::Chain(ChainError::UnknownCi { which }))
    );
    assert_eq!(
        anchors.add_issuer(eum, std::slice::from_ref(&ci_sub_ca), now()),
        Ok(())
    );

    let mut nobody = TrustAnchors::new();
    let which = Role::CiSubCa;
    let refused = nobody.add_issuer(ci_sub_ca, &[], now());
    assert_eq!(
        refused,
        Err(AnchorError::Chain(ChainError::UnknownCi { which }))
    );
}

#[test]
fn known_issuers_are_checked_with_each_chain() {
    let set = Set::altered(Variant::C, Curve::P256, |role, template| {
        if role == Role::CiSubCa {
            template.not_after = day(2027);
        }
    });
    let anchors = knowing(&set);
    let (next, _) = in_message(&set);
    let at =
        |time| anchors.verify_euicc_chain_in_message(&set.euicc, &next, &[], Some(time), STRICT);
    assert!(at(day(2026)).is_ok());
    let expired = ChainError::Expired {
        which: Role::CiSubCa,
        not_after: day(2027),
    };
    assert_eq!(at(day(2028)), Err(expired));
}

#[test]
fn crls_of_known_issuers_are_taken_and_honoured() {
    let set = Set::new(Variant::C, Curve::P256);
    let ci_sub_ca = set.ci_sub_ca.as_ref().unwrap();
    let crl = |revoked: &Certificate, issuer: Issuer<'_>| {
        let revoked = vec![revoked.serial_number().to_vec()];
        let template = CrlTemplate {
            number: 1,
            this_update: day(2026),
            next_update: Some(day(2040)),
            revoked,
        };
        template.issue(issuer).unwrap()
    };
    let revoking = crl(&set.eum.certificate, ci_sub_ca.issuer());
    assert_eq!(
        sgp26_anchors().add_crl(revoking.clone()),
        Err(AnchorError::UnknownCi)
    );
    let mut anchors = knowing(&set);
    let (next, others) = in_message(&set);
    assert!(verify(&anchors, &set, &next, &others).is_ok());
    anchors.add_crl(revoking).unwrap();
    let revoked = ChainError::Revoked { which: Role::Eum };
    assert_eq!(verify(&anchors, &set, &next, &others), Err(revoked.clone()));
    assert_eq!(verify(&anchors, &set, &next, &[]), Err(revoked));

    let forged = Credential {
        certificate: ci_sub_ca.certificate.clone(),
        key: set.server_key.clone(),
    };
    let forged = crl(&set.eum.certificate, forged.issuer());
    assert_eq!(
        knowing(&set).add_crl(forged),
        Err(AnchorError::BadCrlSignature)
    );
}

#[test]
fn variants_of_a_test_pki_verify() {
    let options = TestPkiOptions::new(day(2026));
    for curve in [Curve::P256, Curve::BrainpoolP256r1] {
        let pki = TestPki::new(&mut rng(1), curve, &options).unwrap();
        let anchors = pki.trust_anchors().unwrap();
        for variant in TestVariant::ALL {
            let set = VariantPki::new(&mut rng(2), variant, &pki.ci, &options).unwrap();
            let euicc = set.issue_euicc(&mut rng(3), EID).unwrap();
            let eum = &set.eum.certificate;
            let sub_cas = set.euicc_sub_cas();
            let verified = anchors.verify_euicc_chain_through(
                &euicc.certificate,
                eum,
                &sub_cas,
                now(),
                STRICT,
            );
            assert_eq!(verified.unwrap().eid_digits, EID, "{variant:?}");
            let short = anchors.verify_euicc_chain(&euicc.certificate, eum, now(), STRICT);
            assert!(short.is_err(), "{variant:?}");
            let sub_cas = set.smdp_sub_cas();
            for (server, role) in [
                (&set.smdp_auth, Role::SmDpAuth),
                (&set.smdp_pb, Role::SmDpPb),
            ] {
                let verified =
                    anchors.verify_server_through(&server.certificate, role, &sub_cas, now());
                assert_eq!(
                    verified.unwrap().oid.as_ref(),
                    Some(&options.smdp_oid),
                    "{variant:?}"
                );
            }
            assert!(set.issue_euicc(&mut rng(3), "1").is_err());
        }
    }
}
