//! Revocation in chains with sub-CAs: every issuer answers for what it issued itself.

use pki::issue::{Credential, CrlTemplate, Issuer};
use pki::{AnchorError, Certificate, ChainError, Crl, Curve, Role, TrustAnchors, UnixTime};

use super::{Server, Set, Variant, day};
use crate::{now, sgp26_anchors};

fn crl(issuer: Issuer<'_>, revoked: &[&Certificate]) -> Crl {
    CrlTemplate {
        number: 1,
        this_update: day(2026),
        next_update: Some(day(2027)),
        revoked: revoked
            .iter()
            .map(|certificate| certificate.serial_number().to_vec())
            .collect(),
    }
    .issue(issuer)
    .unwrap()
}

fn server(set: &Set, name: &str) -> Certificate {
    let server = Server::named(name);
    set.server(server.role, &server.template(set.variant))
}

/// Verifies eUICC, SM-DP+ and SM-DS; gives the errors.
fn verify_all(set: &Set, anchors: &TrustAnchors, now: Option<UnixTime>) -> [Option<ChainError>; 3] {
    let through = |name, role| {
        let certificate = server(set, name);
        let intermediates = set.server_intermediates(role);
        anchors
            .verify_server_through(&certificate, role, &intermediates, now)
            .err()
    };
    let euicc = anchors.verify_euicc_chain_through(
        &set.euicc,
        &set.eum.certificate,
        &set.euicc_intermediates(),
        now,
        super::STRICT,
    );
    [
        euicc.err(),
        through("SM_DPauth", Role::SmDpAuth),
        through("SM_DStls", Role::SmDsTls),
    ]
}

#[test]
fn a_ci_revokes_what_stands_directly_below_it() {
    let revoked = |which| Some(ChainError::Revoked { which });
    for curve in Curve::ALL {
        let set = Set::new(Variant::A, curve);
        let dp_sub_ca = &set.dp_sub_ca.as_ref().unwrap().certificate;
        for (certificate, expected) in [
            (&set.eum.certificate, [revoked(Role::Eum), None, None]),
            (dp_sub_ca, [None, revoked(Role::SmDpSubCa), None]),
        ] {
            let mut anchors = sgp26_anchors();
            anchors
                .add_crl(crl(set.ci.issuer(), &[certificate]))
                .unwrap();
            assert_eq!(verify_all(&set, &anchors, now()), expected);
            assert_eq!(
                verify_all(&set, &anchors, None),
                expected,
                "without a clock"
            );
        }

        let set = Set::new(Variant::C, curve);
        let ci_sub_ca = &set.ci_sub_ca.as_ref().unwrap().certificate;
        let mut anchors = sgp26_anchors();
        anchors.add_crl(crl(set.ci.issuer(), &[ci_sub_ca])).unwrap();
        let all = [(); 3].map(|()| revoked(Role::CiSubCa));
        assert_eq!(verify_all(&set, &anchors, now()), all);
    }
}

#[test]
fn a_sub_ca_revokes_what_it_issued() {
    let set = Set::new(Variant::C, Curve::P256);
    let revoked = |which| Some(ChainError::Revoked { which });
    let ci_sub_ca = set.ci_sub_ca.as_ref().unwrap();
    let dp_sub_ca = set.dp_sub_ca.as_ref().unwrap();
    let ds_sub_ca = set.ds_sub_ca.as_ref().unwrap();
    let eum_sub_ca = set.eum_sub_ca.as_ref().unwrap();
    let (auth, tls) = (server(&set, "SM_DPauth"), server(&set, "SM_DStls"));
    let above = [ci_sub_ca.certificate.clone()];

    let cases: [(&Credential, &[Certificate], &Certificate, _); 5] = [
        (
            ci_sub_ca,
            &[],
            &set.eum.certificate,
            [revoked(Role::Eum), None, None],
        ),
        (
            ci_sub_ca,
            &[],
            &dp_sub_ca.certificate,
            [None, revoked(Role::SmDpSubCa), None],
        ),
        (
            &set.eum,
            &above,
            &eum_sub_ca.certificate,
            [revoked(Role::EumSubCa), None, None],
        ),
        (
            dp_sub_ca,
            &above,
            &auth,
            [None, revoked(Role::SmDpAuth), None],
        ),
        (
            ds_sub_ca,
            &above,
            &tls,
            [None, None, revoked(Role::SmDsTls)],
        ),
    ];
    for (issuer, through, certificate, expected) in cases {
        let mut anchors = sgp26_anchors();
        let list = crl(issuer.issuer(), &[certificate]);
        anchors
            .add_crl_of(list, &issuer.certificate, through, now())
            .unwrap();
        assert_eq!(verify_all(&set, &anchors, now()), expected);
        assert_eq!(
            verify_all(&set, &anchors, None),
            expected,
            "without a clock"
        );
    }

    // The same serial numbers on the list of another issuer mean nothing.
    let mut anchors = sgp26_anchors();
    let list = crl(
        set.ci.issuer(),
        &[&auth, &tls, &set.euicc, &set.eum.certificate],
    );
    anchors.add_crl(list).unwrap();
    let list = crl(ds_sub_ca.issuer(), &[&auth, &set.euicc]);
    anchors
        .add_crl_of(list, &ds_sub_ca.certificate, &above, now())
        .unwrap();
    assert_eq!(verify_all(&set, &anchors, now()), [None, None, None]);
}

#[test]
fn an_euicc_is_revoked_by_the_eum_that_issued_it() {
    let set = Set::altered(Variant::Ov3, Curve::P256, |role, template| {
        if role == Role::Eum {
            template.key_usage.as_mut().unwrap().crl_sign = true;
        }
    });
    let mut anchors = sgp26_anchors();
    let list = crl(set.eum.issuer(), &[&set.euicc]);
    anchors
        .add_crl_of(list, &set.eum.certificate, &[], now())
        .unwrap();
    assert_eq!(
        set.verify_euicc_in(&anchors),
        Err(ChainError::Revoked { which: Role::Euicc })
    );
}

#[test]
fn outdated_lists_of_sub_cas() {
    let set = Set::new(Variant::C, Curve::P256);
    let dp_sub_ca = set.dp_sub_ca.as_ref().unwrap();
    let above = [set.ci_sub_ca.as_ref().unwrap().certificate.clone()];
    let mut anchors = sgp26_anchors();
    let issuer = &dp_sub_ca.certificate;
    anchors
        .add_crl_of(crl(dp_sub_ca.issuer(), &[]), issuer, &above, now())
        .unwrap();
    assert_eq!(verify_all(&set, &anchors, now()), [None, None, None]);
    let late = Some(day(2028));
    let outdated = Some(ChainError::CrlOutOfDate {
        issuer: Role::SmDpSubCa,
        next_update: day(2027),
    });
    assert_eq!(verify_all(&set, &anchors, late), [None, outdated, None]);

    let older = CrlTemplate {
        number: 2,
        this_update: day(2025),
        next_update: None,
        revoked: Vec::new(),
    };
    assert_eq!(
        anchors.add_crl_of(
            older.issue(dp_sub_ca.issuer()).unwrap(),
            issuer,
            &above,
            now()
        ),
        Err(AnchorError::OlderCrl)
    );
}

#[test]
fn lists_from_those_who_may_not() {
    let set = Set::new(Variant::C, Curve::P256);
    let ci_sub_ca = set.ci_sub_ca.as_ref().unwrap();
    let dp_sub_ca = set.dp_sub_ca.as_ref().unwrap();
    let eum_sub_ca = set.eum_sub_ca.as_ref().unwrap();
    let above = [ci_sub_ca.certificate.clone()];
    let mut anchors = sgp26_anchors();
    let good = crl(dp_sub_ca.issuer(), &[]);

    for (certificate, found) in [
        (&set.euicc, Role::Euicc),
        (&set.ci.certificate, Role::CertificateIssuer),
        (&server(&set, "SM_DPauth"), Role::SmDpAuth),
    ] {
        assert_eq!(
            anchors.add_crl_of(good.clone(), certificate, &above, now()),
            Err(AnchorError::NotASubCa { found: Some(found) })
        );
    }
    assert_eq!(
        anchors.add_crl_of(good.clone(), &dp_sub_ca.certificate, &[], now()),
        Err(AnchorError::Chain(ChainError::UnknownCi {
            which: Role::SmDpSubCa
        }))
    );
    assert_eq!(
        anchors.add_crl_of(good.clone(), &ci_sub_ca.certificate, &[], now()),
        Err(AnchorError::CrlIssuerMismatch)
    );
    let forged = crl(
        Issuer {
            certificate: &dp_sub_ca.certificate,
            signer: &set.server_key,
        },
        &[],
    );
    assert_eq!(
        anchors.add_crl_of(forged, &dp_sub_ca.certificate, &above, now()),
        Err(AnchorError::BadCrlSignature)
    );
    let through = [set.eum.certificate.clone(), above[0].clone()];
    assert_eq!(
        anchors.add_crl_of(
            crl(eum_sub_ca.issuer(), &[&set.euicc]),
            &eum_sub_ca.certificate,
            &through,
            now()
        ),
        Err(AnchorError::MayNotSignCrls),
        "the EUM sub-CA of SGP.26 has no cRLSign"
    );
    assert_eq!(
        anchors.add_crl(good.clone()),
        Err(AnchorError::UnknownCi),
        "without its certificate"
    );
    anchors
        .add_crl(crl(set.ci.issuer(), &[&ci_sub_ca.certificate]))
        .unwrap();
    assert_eq!(
        anchors.add_crl_of(good, &dp_sub_ca.certificate, &above, now()),
        Err(AnchorError::Chain(ChainError::Revoked {
            which: Role::CiSubCa
        }))
    );
}
