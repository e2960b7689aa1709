use rsp::sgp22::{AuthenticateErrorCode, DownloadErrorCode};

use pki::Role;

use super::*;

fn refusal(response: AuthenticateServerResponse) -> AuthenticateErrorCode {
    match response {
        AuthenticateServerResponse::AuthenticateResponseError(error) => {
            assert_eq!(error.transaction_id.octets(), [0x5A; 16]);
            error.authenticate_error_code
        }
        other => panic!("{other:?}"),
    }
}

/// The answer of a fresh card to a request that was altered after it was made.
fn answer_to(
    smdp: &Smdp,
    alter: impl FnOnce(&mut AuthenticateServerRequest),
) -> AuthenticateErrorCode {
    let mut card = Card::new();
    let challenge = card.challenge();
    let good = smdp.authenticate(challenge);
    let mut request = good.clone();
    alter(&mut request);
    let code = refusal(card.authenticate(&request));
    let again = refusal(card.authenticate(&good));
    assert_eq!(
        again,
        AuthenticateErrorCode::NoSessionContext,
        "a refusal ends the session"
    );
    code
}

fn with_auth(certificate: X509, key: PrivateKey) -> Smdp {
    Smdp {
        auth: (certificate, key),
        ..Smdp::new("NIST")
    }
}

#[test]
fn a_server_is_authenticated_on_both_curves() {
    for curve in CURVES {
        let mut card = Card::new();
        let smdp = Smdp::new(curve);
        let response = card.authenticated(&smdp);
        let signed = &response.euicc_signed1;
        assert_eq!(signed.transaction_id, smdp.transaction_id);
        assert_eq!(signed.server_address, ADDRESS);
        assert_eq!(signed.server_challenge, [0xC4; 16]);
        assert_eq!(signed.euicc_info2, card.host.info2);
        assert_eq!(signed.ctx_params1, published::euicc_signed1().ctx_params1);
        let (euicc, eum) = (&response.euicc_certificate, &response.eum_certificate);
        assert_signed_by(euicc, eum, &[signed.bytes()], &response.euicc_signature1);
    }
}

#[test]
fn a_challenge_is_fresh_and_must_be_out() {
    let mut card = Card::new();
    let smdp = Smdp::new("NIST");
    let unasked = refusal(card.authenticate(&smdp.authenticate([0; 16])));
    assert_eq!(unasked, AuthenticateErrorCode::NoSessionContext);

    let first = card.challenge();
    let second = card.challenge();
    assert_ne!(first, second);
    let replayed = refusal(card.authenticate(&smdp.authenticate(first)));
    assert_eq!(replayed, AuthenticateErrorCode::EuiccChallengeMismatch);

    let response = card.authenticated(&smdp);
    assert_eq!(response.euicc_signed1.transaction_id, smdp.transaction_id);
    let twice = refusal(card.authenticate(&smdp.authenticate(second)));
    assert_eq!(twice, AuthenticateErrorCode::NoSessionContext);
}

#[test]
fn a_ci_that_the_euicc_does_not_verify_or_sign_under_is_refused() {
    let smdp = Smdp::new("NIST");
    let unknown = answer_to(&smdp, |request| {
        request.euicc_ci_pk_id_to_be_used = KeyIdentifier(vec![7; 20].into())
    });
    assert_eq!(unknown, AuthenticateErrorCode::CiPkUnknown);

    let mut card = Card::new();
    card.host.identities.remove(&smdp.ci_key_id);
    let challenge = card.challenge();
    assert_eq!(
        refusal(card.authenticate(&smdp.authenticate(challenge))),
        AuthenticateErrorCode::CiPkUnknown
    );

    let mut card = Card::new();
    card.host.anchors = TrustAnchors::new();
    card.host.anchors.add_ci(ci("BRP")).unwrap();
    let challenge = card.challenge();
    assert_eq!(
        refusal(card.authenticate(&smdp.authenticate(challenge))),
        AuthenticateErrorCode::CiPkUnknown
    );
}

#[test]
fn a_certificate_must_be_one_for_authentication_under_the_named_ci() {
    let nist = Smdp::new("NIST");
    let brainpool = Smdp::new("BRP");
    let unrelated_ci = PrivateKey::generate(pki::Curve::P256, &mut rng(5)).unwrap();
    let unrelated = CertificateTemplate::certificate_issuer("Other CI", "Other", oid("2.999.1"))
        .self_sign(&unrelated_ci)
        .unwrap();
    let template = CertificateTemplate::server(Role::SmDpAuth, "ACME", "SM-DP+", oid("2.999.10"));
    let under_unrelated = template
        .issue(
            nist.auth.1.public_key(),
            Issuer {
                certificate: &unrelated,
                signer: &unrelated_ci,
            },
        )
        .unwrap();
    // The right name and key identifier of the CI, but signed with another key.
    let forged = template
        .issue(
            nist.auth.1.public_key(),
            Issuer {
                certificate: &ci("NIST"),
                signer: &unrelated_ci,
            },
        )
        .unwrap();
    let tls = (
        certificate("variant-o/DPtls/CERT_S_SM_DP_VARO_TLS_NIST"),
        key("variant-o/DPtls/SK_S_SM_DP2_TLS_NIST"),
    );
    for (what, (certificate, key)) in [
        ("profile binding", nist.pb.clone()),
        ("TLS", tls),
        ("other trusted CI", brainpool.auth.clone()),
        ("unknown CI", (under_unrelated, nist.auth.1.clone())),
        ("forged", (forged, nist.auth.1.clone())),
        (
            "the CI itself",
            (
                ci("NIST"),
                self::key("variant-o/CertificateIssuer/SK_CI_ECDSA_NIST"),
            ),
        ),
        (
            "another eUICC",
            (
                self::certificate("variant-o/eUICC/CERT_EUICC_ECDSA_NIST"),
                self::key("variant-o/eUICC/SK_EUICC_ECDSA_NIST"),
            ),
        ),
    ] {
        let code = answer_to(&with_auth(certificate, key), |_| {});
        assert_eq!(code, AuthenticateErrorCode::InvalidCertificate, "{what}");
    }
}

#[test]
fn a_certificate_needs_an_implemented_curve_and_an_oid() {
    let smdp = Smdp::new("NIST");
    let signer = key("variant-o/CertificateIssuer/SK_CI_ECDSA_NIST");
    let mut template =
        CertificateTemplate::server(Role::SmDpAuth, "ACME", "SM-DP+", oid("2.999.10"));
    // The same point, said to be on FRP256v1.
    let mut spki = vec![
        0x30, 0x5B, 0x30, 0x15, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01,
    ];
    spki.extend([
        0x06, 0x0A, 0x2A, 0x81, 0x7A, 0x01, 0x81, 0x5F, 0x65, 0x82, 0x00, 0x01,
    ]);
    spki.extend([0x03, 0x42, 0x00]);
    spki.extend(smdp.auth.1.public_key().uncompressed_point());
    let issuer = Issuer {
        certificate: &ci("NIST"),
        signer: &signer,
    };
    let frp = template.issue_for_spki(&spki, issuer).unwrap();
    assert_eq!(
        answer_to(&with_auth(frp, smdp.auth.1.clone()), |_| {}),
        AuthenticateErrorCode::UnsupportedCurve
    );

    template.registered_id = None;
    let nameless = issue(&template, &smdp.auth.1, "NIST");
    assert_eq!(
        answer_to(&with_auth(nameless, smdp.auth.1.clone()), |_| {}),
        AuthenticateErrorCode::InvalidOid
    );
}

#[test]
fn the_signature_must_be_that_of_the_certificate_over_what_came() {
    let smdp = Smdp::new("NIST");
    let other_key = answer_to(&smdp, |request| {
        request.server_signature1 = sign(&smdp.pb.1, &[request.server_signed1.bytes()]);
    });
    assert_eq!(other_key, AuthenticateErrorCode::InvalidSignature);
    let altered = answer_to(&smdp, |request| {
        let mut signed = request.server_signed1.clone().into_value();
        signed.server_address = "elsewhere.example.com".to_owned();
        request.server_signed1 = Encoded::new(signed);
    });
    assert_eq!(altered, AuthenticateErrorCode::InvalidSignature);
    let der = answer_to(&smdp, |request| {
        let plain = <[u8; 64]>::try_from(&**request.server_signature1).unwrap();
        request.server_signature1 =
            Signature(pki::Signature::from_bytes(plain).to_der().unwrap().into());
    });
    assert_eq!(
        der,
        AuthenticateErrorCode::InvalidSignature,
        "only the plain form is a signature here"
    );
    let empty = answer_to(&smdp, |request| {
        request.server_signature1 = Signature(Vec::new().into())
    });
    assert_eq!(empty, AuthenticateErrorCode::InvalidSignature);
    // The certificate is judged before the signature, the signature before the challenge.
    let all_wrong = answer_to(
        &with_auth(smdp.pb.0.clone(), smdp.auth.1.clone()),
        |request| {
            let mut signed = request.server_signed1.clone().into_value();
            signed.euicc_challenge = [0; 16];
            request.server_signed1 = Encoded::new(signed);
        },
    );
    assert_eq!(all_wrong, AuthenticateErrorCode::InvalidCertificate);
}

#[test]
fn an_sm_ds_is_authenticated_but_delivers_nothing() {
    let smdp = Smdp::new("NIST");
    let template = CertificateTemplate::server(Role::SmDsAuth, "ACME", "SM-DS", smdp.oid());
    let smds = with_auth(issue(&template, &smdp.auth.1, "NIST"), smdp.auth.1.clone());
    let mut card = Card::new();
    let response = card.authenticated(&smds);
    match card.prepare(&smds.prepare(&response)) {
        PrepareDownloadResponse::DownloadResponseError(error) => {
            assert_eq!(
                error.download_error_code,
                DownloadErrorCode::NoSessionContext
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_octets_leave_the_session_as_it_is() {
    let mut card = Card::new();
    let smdp = Smdp::new("NIST");
    let challenge = card.challenge();
    let request = smdp.authenticate(challenge);
    let mut longer = request.to_der();
    longer.push(0);
    assert!(
        card.session
            .authenticate_server(&mut card.host, &longer)
            .is_err()
    );
    assert!(
        card.session
            .authenticate_server(&mut card.host, &[])
            .is_err()
    );
    assert!(matches!(
        card.authenticate(&request),
        AuthenticateServerResponse::AuthenticateResponseOk(_)
    ));
}
