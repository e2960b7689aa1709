//! eUICCs and servers whose certificates come through sub-CAs (SGP.26 v3, variants A, B and C).

use std::sync::Arc;

use jiff::Timestamp;
use pki::issue::{Credential, CrlTemplate, TestPkiOptions, Variant, VariantPki};
use pki::{Certificate, Curve, Role, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::http::Binding;
use rsp::sgp22::NotificationEvent;
use smdp::{ConfigError, Identities, OpenError, ProfileState, Refusal, ServerIdentity, Smdp};

use super::euicc::{TestEuicc, authenticate, begin, get_package, notify};
use super::support::{
    EID, ICCID, Lab, NOW, assert_refused, certificate, config, identities, key, temporary_store,
};

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn ci(curve: Curve) -> Credential {
    let name = match curve {
        Curve::P256 => "NIST",
        Curve::BrainpoolP256r1 => "BRP",
    };
    let file = |kind| format!("variant-o/CertificateIssuer/{kind}_CI_ECDSA_{name}");
    Credential {
        certificate: certificate(&file("CERT")),
        key: key(&file("SK")),
    }
}

fn variant(variant: Variant, curve: Curve) -> VariantPki {
    let options = TestPkiOptions::new(UnixTime(NOW).plus_days(-30));
    VariantPki::new(&mut rng(20), variant, &ci(curve), &options).unwrap()
}

fn server(set: &VariantPki) -> ServerIdentity {
    ServerIdentity {
        auth_certificate: set.smdp_auth.certificate.clone(),
        auth_signer: Arc::new(set.smdp_auth.key.clone()),
        pb_certificate: set.smdp_pb.certificate.clone(),
        pb_signer: Arc::new(set.smdp_pb.key.clone()),
        sub_cas: set.smdp_sub_cas(),
    }
}

/// A server with these identities, under the CIs of SGP.26.
fn lab(servers: Vec<ServerIdentity>) -> Lab {
    let identities = Identities {
        servers,
        ..identities()
    };
    Lab::with_identities(config(), temporary_store(), 1, identities)
}

/// An eUICC with its chain in the places that SGP.22 v3 has for it.
fn euicc(set: &VariantPki, curve: Curve) -> TestEuicc {
    let issued = set.issue_euicc(&mut rng(21), EID).unwrap();
    let eum = set.eum.certificate.clone();
    let mut others = set.euicc_sub_cas();
    let next = match set.eum_sub_ca {
        Some(_) => std::mem::replace(&mut others[0], eum),
        None => eum,
    };
    let ci = ci(curve).certificate;
    let euicc = TestEuicc::with(issued.certificate, issued.key, next);
    let mut euicc = euicc.under_ci(ci.subject_key_identifier().unwrap());
    euicc.others = Some(others);
    euicc
}

fn parsed(certificates: &[rsp::sgp22::Certificate]) -> Vec<Certificate> {
    let parse = |it: &rsp::sgp22::Certificate| Certificate::from_der(it.as_der()).unwrap();
    certificates.iter().map(parse).collect()
}

#[tokio::test]
async fn a_profile_is_downloaded_through_every_variant() {
    for curve in [Curve::P256, Curve::BrainpoolP256r1] {
        for (which, binding) in [
            (Variant::A, Binding::Json),
            (Variant::B, Binding::Asn1),
            (Variant::C, Binding::Json),
            (Variant::C, Binding::Asn1),
        ] {
            let set = variant(which, curve);
            let lab = lab(vec![server(&set)]);
            let mut euicc = euicc(&set, curve);
            lab.release(None, Some("V3"), None);

            let begun = begin(&lab, &euicc, binding).await;
            let sub_cas = parsed(begun.other_certs_in_chain.as_deref().unwrap());
            let own = Certificate::from_der(begun.server_certificate.as_der()).unwrap();
            let now = Some(UnixTime(NOW));
            let verified =
                identities()
                    .trust
                    .verify_server_through(&own, Role::SmDpAuth, &sub_cas, now);
            assert!(verified.is_ok(), "{which:?}");

            let ok = authenticate(&lab, &euicc, Some("V3"), binding)
                .await
                .unwrap();
            let request = euicc.prepare(&ok, None);
            let package = get_package(&lab, &request, binding).await.unwrap();
            euicc.open(&ok.smdp_certificate, &package);
            let iccid = ICCID.parse().unwrap();
            let data = euicc.result_data(&ok.transaction_id, iccid, true);
            notify(&lab, euicc.result(data), binding).await;
            assert_eq!(lab.state(), ProfileState::Installed, "{which:?}");

            let enabled = euicc.notification(NotificationEvent::ENABLE, iccid);
            notify(&lab, enabled, binding).await;
            assert_eq!(lab.smdp.counters().notifications_believed, 2);
            euicc.others = None;
            let incomplete = euicc.notification(NotificationEvent::ENABLE, iccid);
            notify(&lab, incomplete, binding).await;
            assert_eq!(lab.smdp.counters().notifications_not_believed, 1);
        }
    }
}

#[tokio::test]
async fn a_server_without_sub_cas_sends_none_and_is_preferred() {
    let set = variant(Variant::C, Curve::P256);
    let plain = identities().servers.remove(0);
    let euicc = TestEuicc::sgp26("NIST");
    for servers in [
        vec![plain.clone()],
        vec![server(&set), plain.clone()],
        vec![plain, server(&set)],
    ] {
        let begun = begin(&lab(servers), &euicc, Binding::Json).await;
        assert_eq!(begun.other_certs_in_chain, None);
    }
    let begun = begin(&lab(vec![server(&set)]), &euicc, Binding::Json).await;
    assert_eq!(begun.other_certs_in_chain.map(|it| it.len()), Some(2));
}

#[tokio::test]
async fn an_euicc_must_show_its_chain_and_nothing_else() {
    let set = variant(Variant::C, Curve::P256);
    let good = euicc(&set, Curve::P256);
    let others = good.others.clone().unwrap();
    let stranger = set.smdp_sub_ca.as_ref().unwrap().certificate.clone();
    let cases = [
        (None, Refusal::CiUnknown),
        (Some(Vec::new()), Refusal::CiUnknown),
        (Some(others[..1].to_vec()), Refusal::CiUnknown),
        (Some(others[1..].to_vec()), Refusal::CiUnknown),
        (
            Some([&others[..], &[stranger]].concat()),
            Refusal::EumCertificateInvalid,
        ),
        (
            Some([&others[..], &others[..]].concat()),
            Refusal::EumCertificateInvalid,
        ),
    ];
    for (others, refusal) in cases {
        let lab = lab(identities().servers);
        lab.release(None, Some("V3"), None);
        let mut euicc = euicc(&set, Curve::P256);
        euicc.others = others;
        let refused = authenticate(&lab, &euicc, Some("V3"), Binding::Json).await;
        assert_refused(refused, refusal);
        assert_eq!(lab.state(), ProfileState::Released);
    }
}

#[tokio::test]
async fn a_revoked_sub_ca_ends_both_ways() {
    let set = variant(Variant::B, Curve::P256);
    let sub_ca = set.ci_sub_ca.as_ref().unwrap();
    let crl = CrlTemplate {
        number: 1,
        this_update: UnixTime(NOW).plus_days(-1),
        next_update: Some(UnixTime(NOW).plus_days(30)),
        revoked: vec![sub_ca.certificate.serial_number().to_vec()],
    };
    let crl = crl.issue(ci(Curve::P256).issuer()).unwrap();

    let with_plain = lab(identities().servers);
    with_plain.release(None, Some("V3"), None);
    with_plain.smdp.add_crl(crl.clone()).unwrap();
    let euicc = euicc(&set, Curve::P256);
    let refused = authenticate(&with_plain, &euicc, Some("V3"), Binding::Json).await;
    assert_refused(refused, Refusal::EumCertificateInvalid);

    let through_it = lab(vec![server(&set)]);
    begin(&through_it, &euicc, Binding::Json).await;
    through_it.smdp.add_crl(crl).unwrap();
    let answer = through_it.es9(Binding::Json, &euicc.initiate()).await;
    let rsp::binding::es9plus::Response::InitiateAuthentication(refused) = answer else {
        panic!("another function");
    };
    assert_refused(refused, Refusal::NoCertificateForEuicc);
}

#[test]
fn an_identity_with_other_sub_cas_is_refused_at_the_start() {
    let set = variant(Variant::C, Curve::P256);
    let good = server(&set);
    let open = |server: ServerIdentity| {
        let identities = Identities {
            servers: vec![server],
            ..identities()
        };
        let clock = || Timestamp::from_second(NOW).unwrap();
        Smdp::open(config(), temporary_store(), identities, clock, rng(1)).map(|_| ())
    };
    assert!(open(good.clone()).is_ok());
    for sub_cas in [
        Vec::new(),
        good.sub_cas[..1].to_vec(),
        [
            &good.sub_cas[..],
            std::slice::from_ref(&set.eum.certificate),
        ]
        .concat(),
    ] {
        let refused = open(ServerIdentity {
            sub_cas,
            ..good.clone()
        });
        let Err(OpenError::Config(ConfigError::Certificate { role, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(role, Role::SmDpAuth);
    }
}
