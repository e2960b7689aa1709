//! Servers whose certificates come through sub-CAs (SGP.26 v3, variants A, B and C).

use pki::INTERMEDIATES_MAX;
use pki::issue::{Credential, TestPkiOptions, Variant, VariantPki};
use rsp::sgp22::{AuthenticateErrorCode, DownloadErrorCode};

use super::*;

/// A variant under an SGP.26 CI.
fn variant(variant: Variant, curve: &str) -> VariantPki {
    let ci = Credential {
        certificate: ci(curve),
        key: key(&format!("variant-o/CertificateIssuer/SK_CI_ECDSA_{curve}")),
    };
    let options = TestPkiOptions::new(ci.certificate.not_before());
    VariantPki::new(&mut rng(9), variant, &ci, &options).unwrap()
}

fn server(pki: &VariantPki, curve: &str) -> Smdp {
    let pair = |credential: &Credential| (credential.certificate.clone(), credential.key.clone());
    Smdp {
        auth: pair(&pki.smdp_auth),
        pb: pair(&pki.smdp_pb),
        ..Smdp::new(curve)
    }
}

fn chain(sub_cas: &[X509]) -> Option<Vec<Certificate>> {
    Some(sub_cas.iter().map(wire).collect())
}

/// The answer of a fresh card to a server with these certificates in otherCertsInChain.
fn authenticate(
    card: &mut Card,
    smdp: &Smdp,
    others: Option<Vec<Certificate>>,
) -> Result<AuthenticateResponseOk, AuthenticateErrorCode> {
    let challenge = card.challenge();
    let request = AuthenticateServerRequest {
        other_certs_in_chain: others,
        ..smdp.authenticate(challenge)
    };
    match card.authenticate(&request) {
        AuthenticateServerResponse::AuthenticateResponseOk(response) => Ok(response),
        AuthenticateServerResponse::AuthenticateResponseError(error) => {
            Err(error.authenticate_error_code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_download_is_prepared_with_a_server_of_every_variant() {
    for curve in CURVES {
        for which in Variant::ALL {
            let pki = variant(which, curve);
            let smdp = server(&pki, curve);
            let mut sub_cas = pki.smdp_sub_cas();
            for _ in 0..2 {
                let mut card = Card::new();
                let response = authenticate(&mut card, &smdp, chain(&sub_cas)).unwrap();
                let prepared = ready(card.prepare(&smdp.prepare(&response)));
                assert_eq!(prepared.euicc_signed2.transaction_id, smdp.transaction_id);
                sub_cas.reverse();
            }
        }
    }
}

#[test]
fn a_chain_that_is_not_complete_and_nothing_else_is_refused() {
    let invalid = AuthenticateErrorCode::InvalidCertificate;
    let pki = variant(Variant::C, "NIST");
    let smdp = server(&pki, "NIST");
    let good = chain(&pki.smdp_sub_cas()).unwrap();
    let eum = wire(&pki.eum.certificate);
    let junk = Certificate::from_der_bytes(vec![0x30, 0x07, 0x30, 0, 0x30, 0, 0x03, 1, 0]).unwrap();
    let cases = [
        ("absent", None),
        ("empty", Some(Vec::new())),
        ("nearest only", Some(good[..1].to_vec())),
        ("farthest only", Some(good[1..].to_vec())),
        ("one that is no part", Some([&good[..], &[eum]].concat())),
        ("one twice", Some([&good[..], &good[..1]].concat())),
        (
            "the CI too",
            Some([&good[..], &[wire(&ci("NIST"))]].concat()),
        ),
        ("not a certificate", Some([&good[..], &[junk]].concat())),
        (
            "too many",
            Some(vec![good[0].clone(); INTERMEDIATES_MAX + 1]),
        ),
    ];
    for (what, others) in cases {
        let answer = authenticate(&mut Card::new(), &smdp, others);
        assert_eq!(answer.map(|_| ()), Err(invalid), "{what}");
    }
    // A server of version 2 has no sub-CA to show.
    let answer = authenticate(&mut Card::new(), &Smdp::new("NIST"), Some(good));
    assert_eq!(answer.map(|_| ()), Err(invalid));
}

#[test]
fn a_sub_ca_of_euiccs_does_not_vouch_for_a_server() {
    let pki = variant(Variant::A, "NIST");
    let eum_sub_ca = pki.eum_sub_ca.as_ref().unwrap();
    let template =
        CertificateTemplate::server(pki::Role::SmDpAuth, "ACME", "SM-DP+", oid("2.999.10"));
    let mut smdp = server(&pki, "NIST");
    smdp.auth.0 = template
        .issue(smdp.auth.1.public_key(), eum_sub_ca.issuer())
        .unwrap();
    let others = chain(&[eum_sub_ca.certificate.clone(), pki.eum.certificate.clone()]);
    let answer = authenticate(&mut Card::new(), &smdp, others);
    assert_eq!(
        answer.map(|_| ()),
        Err(AuthenticateErrorCode::InvalidCertificate)
    );
}

#[test]
fn profile_binding_goes_through_the_sub_cas_of_the_authentication() {
    let pki = variant(Variant::C, "NIST");
    let smdp = server(&pki, "NIST");
    let other = variant(Variant::A, "NIST");
    let binders = [
        ("directly under the CI", {
            let template =
                CertificateTemplate::server(pki::Role::SmDpPb, "ACME", "SM-DP+", smdp.oid());
            issue(&template, &smdp.pb.1, "NIST")
        }),
        ("under another sub-CA", other.smdp_pb.certificate.clone()),
        ("for authentication", smdp.auth.0.clone()),
    ];
    for (what, certificate) in binders {
        let mut card = Card::new();
        let response = authenticate(&mut card, &smdp, chain(&pki.smdp_sub_cas())).unwrap();
        let binder = Smdp {
            pb: (certificate, smdp.pb.1.clone()),
            ..smdp.clone()
        };
        match card.prepare(&binder.prepare(&response)) {
            PrepareDownloadResponse::DownloadResponseError(error) => assert_eq!(
                error.download_error_code,
                DownloadErrorCode::InvalidCertificate,
                "{what}"
            ),
            other => panic!("{what}: {other:?}"),
        }
    }
}
