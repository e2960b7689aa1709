//! Everything that is refused, with the status code of SGP.22 for it.

use pki::issue::{CertificateTemplate, CrlTemplate, Issuer};
use pki::{PrivateKey, Role, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::binding::es9plus::{Request, Response};
use rsp::binding::http::Binding;
use rsp::binding::{ErrorCode, Failure};
use rsp::der::{Encoded, Octets};
use rsp::ids::TransactionId;
use rsp::sgp22::*;
use smdp::{PolicyRules, ProfileMetadata, ProfileState, Refusal};

use super::euicc::{TestEuicc, authenticate, begin, get_package};
use super::support::{EID, ICCID, Lab, NOW, assert_refused, certificate, key};

async fn initiate(lab: &Lab, request: &Request) -> Result<InitiateAuthenticationOkEs9, Failure> {
    let Response::InitiateAuthentication(outcome) = lab.es9(Binding::Json, request).await else {
        panic!()
    };
    outcome
}

async fn client(lab: &Lab, request: &Request) -> Result<AuthenticateClientOk, Failure> {
    let Response::AuthenticateClient(outcome) = lab.es9(Binding::Json, request).await else {
        panic!()
    };
    outcome
}

fn altered(euicc: &TestEuicc, change: impl FnOnce(&mut InitiateAuthenticationRequest)) -> Request {
    let Request::InitiateAuthentication(mut request) = euicc.initiate() else {
        panic!()
    };
    change(&mut request);
    Request::InitiateAuthentication(request)
}

#[tokio::test]
async fn initiate_authentication_refuses_what_it_cannot_serve() {
    let lab = Lab::new();
    let euicc = TestEuicc::sgp26("NIST");
    let unknown = || vec![KeyIdentifier(Octets(vec![7; 20]))];

    let request = altered(&euicc, |r| r.smdp_address = "other.example.com".to_owned());
    assert_refused(initiate(&lab, &request).await, Refusal::AddressNotOurs);
    let request = altered(&euicc, |r| r.euicc_info1.svn = VersionType::new(1, 9, 0));
    assert_refused(initiate(&lab, &request).await, Refusal::SvnNotSupported);
    let request = altered(&euicc, |r| {
        r.euicc_info1.euicc_ci_pk_id_list_for_signing = unknown()
    });
    assert_refused(initiate(&lab, &request).await, Refusal::NoCommonCi);
    let request = altered(&euicc, |r| {
        r.euicc_info1.euicc_ci_pk_id_list_for_signing.clear()
    });
    assert_refused(initiate(&lab, &request).await, Refusal::NoCommonCi);
    let request = altered(&euicc, |r| {
        r.euicc_info1.euicc_ci_pk_id_list_for_verification = unknown()
    });
    assert_refused(
        initiate(&lab, &request).await,
        Refusal::NoCertificateForEuicc,
    );

    let request = altered(&euicc, |r| {
        r.smdp_address = "TestSMDPplus1.Example.com".to_owned()
    });
    initiate(&lab, &request).await.unwrap();
    assert_eq!(lab.smdp.counters().sessions_begun, 1);
    assert_eq!(lab.smdp.counters().refused, 5);
}

#[tokio::test]
async fn the_ci_is_the_first_of_the_euicc_that_both_sides_can_use() {
    let lab = Lab::new();
    let nist = TestEuicc::sgp26("NIST").ci_key_ids[0].clone();
    let brp = TestEuicc::sgp26("BRP").ci_key_ids[0].clone();
    let unknown = KeyIdentifier(Octets(vec![7; 20]));
    let euicc = TestEuicc::sgp26("NIST");
    for (signing, verification, to_be_used, server_ci) in [
        (vec![&brp, &nist], vec![&nist, &brp], &brp, &brp),
        (vec![&unknown, &nist, &brp], vec![&nist, &brp], &nist, &nist),
        // The server's certificate may be under another CI when the eUICC cannot verify the first.
        (vec![&nist], vec![&brp], &nist, &brp),
        (vec![&nist, &brp], vec![&brp], &brp, &brp),
    ] {
        let ids = |list: Vec<&KeyIdentifier>| list.into_iter().cloned().collect::<Vec<_>>();
        let request = altered(&euicc, |r| {
            r.euicc_info1.euicc_ci_pk_id_list_for_signing = ids(signing);
            r.euicc_info1.euicc_ci_pk_id_list_for_verification = ids(verification);
        });
        let ok = initiate(&lab, &request).await.unwrap();
        assert_eq!(ok.euicc_ci_pk_id_to_be_used, *to_be_used);
        let server = pki::Certificate::from_der(ok.server_certificate.as_der()).unwrap();
        assert_eq!(server.authority_key_identifier(), Some(&***server_ci));
    }
}

#[tokio::test]
async fn expired_certificates_of_the_server_are_not_used() {
    let lab = Lab::new();
    // The SGP.26 DPauth and DPpb certificates end in 2030.
    lab.advance_s(5 * 365 * 86_400);
    let refused = initiate(&lab, &TestEuicc::sgp26("NIST").initiate()).await;
    assert_refused(refused, Refusal::NoCertificateForEuicc);
}

#[tokio::test]
async fn invalid_certificates_of_sgp26_are_refused_each_for_its_reason() {
    let euicc_key = || key("variant-o/eUICC/SK_EUICC_ECDSA_NIST");
    let good_euicc = || certificate("variant-o/eUICC/CERT_EUICC_ECDSA_NIST");
    let good_eum = || certificate("variant-o/EUM/CERT_EUM_ECDSA_NIST");
    let bad = |name: &str| certificate(&format!("invalid-euicc/{name}"));
    for (euicc, eum, refusal) in [
        (
            bad("CERT_EUICC_ECDSA_NIST_EXPIRED"),
            good_eum(),
            Refusal::EuiccCertificateExpired,
        ),
        (
            bad("CERT_EUICC_ECDSA_NIST_INVALID"),
            good_eum(),
            Refusal::EuiccCertificateInvalid,
        ),
        (
            bad("CERT_EUICC_ECDSA_NIST_INVALID_EID"),
            good_eum(),
            Refusal::EuiccCertificateInvalid,
        ),
        (
            good_euicc(),
            bad("CERT_EUM_ECDSA_NIST_EXPIRED"),
            Refusal::EumCertificateExpired,
        ),
        (
            good_euicc(),
            bad("CERT_EUM_ECDSA_NIST_INVALID"),
            Refusal::EumCertificateInvalid,
        ),
        (
            good_euicc(),
            bad("CERT_EUM_ECDSA_NIST_UNKNOWN_CI"),
            Refusal::CiUnknown,
        ),
        // Wrong roles.
        (
            certificate("variant-o/DPauth/CERT_S_SM_DPauth_ECDSA_NIST"),
            good_eum(),
            Refusal::EuiccCertificateInvalid,
        ),
        // Its issuer is the EUM, which nobody here trusts as a CI.
        (good_euicc(), good_euicc(), Refusal::CiUnknown),
        (
            good_euicc(),
            certificate("variant-o/CertificateIssuer/CERT_CI_ECDSA_NIST"),
            Refusal::EumCertificateInvalid,
        ),
    ] {
        let lab = Lab::new();
        lab.release(None, Some("ANY"), None);
        let mut liar = TestEuicc::with(euicc, euicc_key(), eum);
        liar.ci_key_ids = TestEuicc::sgp26("NIST").ci_key_ids;
        let refused = authenticate(&lab, &liar, Some("ANY"), Binding::Json).await;
        assert_refused(refused, refusal);
        // The ASN.1 binding says the same in its own code.
        let refused = authenticate(&lab, &liar, Some("ANY"), Binding::Asn1)
            .await
            .unwrap_err();
        assert_eq!(
            AuthenticateClientError::from_status(&refused.code),
            AuthenticateClientError::from_status(&refusal.status())
        );
        assert_eq!(lab.state(), ProfileState::Released, "{refusal:?}");
    }
}

#[tokio::test]
async fn an_eid_that_is_fine_but_not_the_one_of_the_order_is_refused() {
    let lab = Lab::new();
    lab.release(Some(EID), Some("BOUND"), None);
    let unmatched = TestEuicc::with(
        certificate("invalid-euicc/CERT_EUICC_ECDSA_NIST_UNMATCHED_EID"),
        key("variant-o/eUICC/SK_EUICC_ECDSA_NIST"),
        certificate("variant-o/EUM/CERT_EUM_ECDSA_NIST"),
    );
    let refused = authenticate(&lab, &unmatched, Some("BOUND"), Binding::Json).await;
    assert_refused(refused, Refusal::EidMismatch);
}

#[tokio::test]
async fn a_chain_under_the_ci_of_2017_with_the_same_key_is_good() {
    let lab = Lab::new();
    // The eUICC certificate begins on 2026-08-08.
    lab.advance_s(10 * 86_400);
    lab.release(None, Some("OLD"), None);
    let card = TestEuicc::with(
        certificate("legacy-2017/CERT_EUICC_REISSUED_NIST"),
        key("variant-o/eUICC/SK_EUICC_ECDSA_NIST"),
        certificate("legacy-2017/CERT_EUM_2017_NIST"),
    );
    authenticate(&lab, &card, Some("OLD"), Binding::Json)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_chain_under_another_ci_than_agreed_is_refused() {
    let lab = Lab::new();
    lab.release(None, Some("CI"), None);
    let mut euicc = TestEuicc::sgp26("BRP");
    euicc.ci_key_ids = TestEuicc::sgp26("NIST").ci_key_ids;
    let refused = authenticate(&lab, &euicc, Some("CI"), Binding::Json).await;
    assert_refused(refused, Refusal::CiUnknown);
}

#[tokio::test]
async fn a_revoked_eum_is_refused_from_the_moment_the_crl_is_known() {
    let lab = Lab::new();
    lab.release(None, Some("CRL"), None);
    let euicc = TestEuicc::sgp26("NIST");
    authenticate(&lab, &euicc, Some("CRL"), Binding::Json)
        .await
        .unwrap();

    let ci = certificate("variant-o/CertificateIssuer/CERT_CI_ECDSA_NIST");
    let ci_key = key("variant-o/CertificateIssuer/SK_CI_ECDSA_NIST");
    let crl = CrlTemplate {
        number: 1,
        this_update: UnixTime(NOW).plus_days(-1),
        next_update: Some(UnixTime(NOW).plus_days(30)),
        revoked: vec![euicc.eum.serial_number().to_vec()],
    }
    .issue(Issuer {
        certificate: &ci,
        signer: &ci_key,
    })
    .unwrap();
    lab.smdp.add_crl(crl).unwrap();
    let refused = authenticate(&lab, &euicc, Some("CRL"), Binding::Json).await;
    assert_refused(refused, Refusal::EumCertificateInvalid);
    let brainpool = TestEuicc::sgp26("BRP");
    authenticate(&lab, &brainpool, Some("CRL"), Binding::Json)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_euicc_of_another_eum_cannot_take_an_eid_that_is_not_its_own() {
    let lab = Lab::new();
    lab.release(Some(EID), Some("THEFT"), None);
    // A second EUM, good in itself, issues a certificate with the EID of the first one's eUICC.
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let ci = certificate("variant-o/CertificateIssuer/CERT_CI_ECDSA_NIST");
    let ci_key = key("variant-o/CertificateIssuer/SK_CI_ECDSA_NIST");
    let valid = (UnixTime(NOW).plus_days(-1), UnixTime(NOW).plus_days(300));
    let eum_key = PrivateKey::generate(pki::Curve::P256, &mut rng).unwrap();
    let oid = pki::Oid::from_dotted("2.999.6").unwrap();
    let eum = CertificateTemplate::eum("Other EUM", "Other EUM", "89049033", oid)
        .valid(valid.0, valid.1)
        .issue(
            eum_key.public_key(),
            Issuer {
                certificate: &ci,
                signer: &ci_key,
            },
        )
        .unwrap();
    let own = PrivateKey::generate(pki::Curve::P256, &mut rng).unwrap();
    let stolen = CertificateTemplate::euicc("Other EUM", EID)
        .valid(valid.0, valid.1)
        .issue(
            own.public_key(),
            Issuer {
                certificate: &eum,
                signer: &eum_key,
            },
        )
        .unwrap();
    assert_eq!(eum.role(), Some(Role::Eum));
    let thief = TestEuicc::with(stolen, own, eum);
    let refused = authenticate(&lab, &thief, Some("THEFT"), Binding::Json).await;
    assert_refused(refused, Refusal::EuiccCertificateInvalid);
}

#[tokio::test]
async fn what_the_euicc_did_not_sign_in_this_session_is_refused() {
    let lab = Lab::new();
    lab.release(None, Some("SIGN"), None);
    let euicc = TestEuicc::sgp26("NIST");

    // Another challenge.
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let mut signed = euicc.signed1(&begun.server_signed1, Some("SIGN"));
    signed.server_challenge = [0; 16];
    let request = euicc.authenticate(&begun.transaction_id, signed);
    assert_refused(client(&lab, &request).await, Refusal::EuiccSignatureInvalid);

    // Another transaction in the signed data.
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let mut signed = euicc.signed1(&begun.server_signed1, Some("SIGN"));
    signed.transaction_id = TransactionId::new(&[1; 16]).unwrap();
    let request = euicc.authenticate(&begun.transaction_id, signed);
    assert_refused(client(&lab, &request).await, Refusal::TransactionUnknown);

    // Another server.
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let mut signed = euicc.signed1(&begun.server_signed1, Some("SIGN"));
    signed.server_address = "evil.example.com".to_owned();
    let request = euicc.authenticate(&begun.transaction_id, signed);
    assert_refused(client(&lab, &request).await, Refusal::AddressNotOurs);

    // Altered after signing: another matching id under the signature for this one.
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let honest = Encoded::new(euicc.signed1(&begun.server_signed1, Some("OTHER")));
    let signature = euicc.sign(&[honest.bytes()]);
    let altered = Encoded::new(euicc.signed1(&begun.server_signed1, Some("SIGN")));
    let request = euicc.authenticate_with(&begun.transaction_id, altered, signature);
    assert_refused(client(&lab, &request).await, Refusal::EuiccSignatureInvalid);

    // Signed with another key.
    let stranger = TestEuicc::issued("89049032000000000000000000000066");
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let signed = Encoded::new(euicc.signed1(&begun.server_signed1, Some("SIGN")));
    let signature = stranger.sign(&[signed.bytes()]);
    let request = euicc.authenticate_with(&begun.transaction_id, signed, signature);
    assert_refused(client(&lab, &request).await, Refusal::EuiccSignatureInvalid);

    // No signature at all.
    let begun = begin(&lab, &euicc, Binding::Json).await;
    for octets in [vec![], vec![0; 64], vec![0xFF; 64], vec![0x30, 0]] {
        let signed = Encoded::new(euicc.signed1(&begun.server_signed1, Some("SIGN")));
        let request =
            euicc.authenticate_with(&begun.transaction_id, signed, Signature(Octets(octets)));
        assert!(client(&lab, &request).await.is_err());
    }
    assert_eq!(lab.state(), ProfileState::Released);
    assert_eq!(
        lab.smdp
            .inventory()
            .profile(&ICCID.parse().unwrap())
            .unwrap()
            .unwrap()
            .order
            .unwrap()
            .attempts,
        0
    );
}

#[tokio::test]
async fn a_replayed_answer_is_refused_in_its_own_session_and_in_another() {
    let lab = Lab::new();
    lab.release(None, Some("REPLAY"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let signed = euicc.signed1(&begun.server_signed1, Some("REPLAY"));
    let request = euicc.authenticate(&begun.transaction_id, signed);
    let ok = client(&lab, &request).await.unwrap();
    assert_refused(client(&lab, &request).await, Refusal::TransactionUnknown);

    let Request::AuthenticateClient(mut recorded) = request else {
        panic!()
    };
    let other = begin(&lab, &euicc, Binding::Json).await;
    recorded.transaction_id = other.transaction_id;
    let replayed = Request::AuthenticateClient(recorded);
    assert_refused(client(&lab, &replayed).await, Refusal::TransactionUnknown);

    // The replay ended nothing: the honest session goes on.
    let request = euicc.prepare(&ok, None);
    get_package(&lab, &request, Binding::Json).await.unwrap();
}

#[tokio::test]
async fn steps_out_of_order_and_unknown_transactions_are_refused() {
    let lab = Lab::new();
    lab.release(None, Some("ORDER"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = authenticate(&lab, &euicc, Some("ORDER"), Binding::Json)
        .await
        .unwrap();
    let mut elsewhere = ok.clone();
    elsewhere.transaction_id = TransactionId::new(&[3; 16]).unwrap();
    let request = euicc.prepare(&elsewhere, None);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::TransactionUnknown);

    let begun = begin(&lab, &euicc, Binding::Json).await;
    let mut too_early = ok.clone();
    too_early.transaction_id = begun.transaction_id.clone();
    let request = euicc.prepare(&too_early, None);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::TransactionUnknown);
    let cancel = euicc.cancel(
        &begun.transaction_id,
        "2.999.10",
        CancelSessionReason::Postponed,
    );
    let Response::CancelSession(refused) = lab.es9(Binding::Json, &cancel).await else {
        panic!()
    };
    assert_refused(refused, Refusal::TransactionUnknown);

    // Signed for the one session, sent in another.
    let second = authenticate(&lab, &euicc, Some("ORDER"), Binding::Json)
        .await
        .unwrap();
    let Request::GetBoundProfilePackage(mut swapped) = euicc.prepare(&ok, None) else {
        panic!()
    };
    swapped.transaction_id = second.transaction_id;
    let refused = get_package(
        &lab,
        &Request::GetBoundProfilePackage(swapped),
        Binding::Json,
    )
    .await;
    assert_refused(refused, Refusal::EuiccSignatureInvalid);
}

#[tokio::test]
async fn matching_ids_are_exact() {
    let lab = Lab::new();
    lab.release(None, Some("EXACT"), None);
    let euicc = TestEuicc::sgp26("NIST");
    for wrong in [
        None,
        Some(""),
        Some("EXAC"),
        Some("exact"),
        Some("EXACT "),
        Some("%"),
    ] {
        let refused = authenticate(&lab, &euicc, wrong, Binding::Json).await;
        assert_refused(refused, Refusal::MatchingIdRefused);
    }
}

#[tokio::test]
async fn a_profile_that_the_euicc_cannot_take_is_refused() {
    let lab = Lab::new();
    let mut metadata = ProfileMetadata::new("P", "P", ProfileClass::Operational);
    metadata.policy_rules = PolicyRules {
        no_disable: false,
        no_delete: true,
    };
    let iccid = lab.import(ICCID, metadata);
    lab.order(iccid, None, Some("PPR"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    euicc.info2.forbidden_profile_policy_rules = Some(PprIds::of([PprIds::PPR2]));
    let refused = authenticate(&lab, &euicc, Some("PPR"), Binding::Json).await;
    assert_refused(refused, Refusal::NoEligibleProfile);
    euicc.info2.forbidden_profile_policy_rules = Some(PprIds::of([PprIds::PPR1]));
    authenticate(&lab, &euicc, Some("PPR"), Binding::Json)
        .await
        .unwrap();

    euicc.info2.ext_card_resource = Octets(vec![0x81, 1, 0, 0x82, 2, 0, 100, 0x83, 1, 1]);
    let refused = authenticate(&lab, &euicc, Some("PPR"), Binding::Json).await;
    assert_refused(refused, Refusal::InsufficientMemory);
}

#[tokio::test]
async fn errors_of_the_euicc_end_the_session_and_nothing_else() {
    let lab = Lab::new();
    lab.release(None, Some("ERROR"), None);
    let euicc = TestEuicc::sgp26("NIST");
    let begun = begin(&lab, &euicc, Binding::Json).await;
    let request = Request::AuthenticateClient(AuthenticateClientRequest {
        transaction_id: begun.transaction_id.clone(),
        authenticate_server_response: AuthenticateServerResponse::AuthenticateResponseError(
            AuthenticateResponseError {
                transaction_id: begun.transaction_id,
                authenticate_error_code: AuthenticateErrorCode::InvalidOid,
                extensions: Default::default(),
            },
        ),
        extensions: Default::default(),
    });
    assert_refused(client(&lab, &request).await, Refusal::EuiccError);

    let ok = authenticate(&lab, &euicc, Some("ERROR"), Binding::Json)
        .await
        .unwrap();
    let request = Request::GetBoundProfilePackage(GetBoundProfilePackageRequest {
        transaction_id: ok.transaction_id.clone(),
        prepare_download_response: PrepareDownloadResponse::DownloadResponseError(
            PrepareDownloadResponseError {
                transaction_id: ok.transaction_id,
                download_error_code: DownloadErrorCode::InvalidSignature,
                extensions: Default::default(),
            },
        ),
        extensions: Default::default(),
    });
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::EuiccError);
    assert_eq!(lab.state(), ProfileState::Released);
    assert_eq!(lab.smdp.counters().sessions, 0);
}

#[tokio::test]
async fn a_forged_cancellation_changes_nothing() {
    let lab = Lab::new();
    lab.release(None, Some("FORGED"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    let stranger = TestEuicc::issued("89049032000000000000000000000066");
    let ok = authenticate(&lab, &euicc, Some("FORGED"), Binding::Json)
        .await
        .unwrap();
    let id = &ok.transaction_id;
    let other_id = TransactionId::new(&[9; 16]).unwrap();
    let reason = CancelSessionReason::EndUserRejection;
    let Request::CancelSession(mut for_other) = euicc.cancel(&other_id, "2.999.10", reason) else {
        panic!()
    };
    for_other.transaction_id = id.clone();
    for (request, refusal) in [
        (
            stranger.cancel(id, "2.999.10", reason),
            Refusal::EuiccSignatureInvalid,
        ),
        (euicc.cancel(id, "2.999.11", reason), Refusal::OidNotOurs),
        (
            Request::CancelSession(for_other),
            Refusal::TransactionUnknown,
        ),
        (
            euicc.cancel(&other_id, "2.999.10", reason),
            Refusal::TransactionUnknown,
        ),
    ] {
        let Response::CancelSession(refused) = lab.es9(Binding::Json, &request).await else {
            panic!()
        };
        assert_refused(refused, refusal);
    }
    assert_eq!(lab.state(), ProfileState::Released);
    let request = euicc.prepare(&ok, None);
    get_package(&lab, &request, Binding::Json).await.unwrap();
}
