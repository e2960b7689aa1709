//! Downloads that succeed, in both bindings, on both curves, in every kind of order.

use std::time::Duration;

use pki::EphemeralKey;
use rsp::binding::es9plus::Response;
use rsp::binding::http::Binding;
use rsp::saip::ProfilePackage;
use rsp::sgp22::CancelSessionReason;
use smdp::{ProfileKeys, ProfileState, Rebinding, Refusal};

use super::euicc::{TestEuicc, authenticate, get_package, notify};
use super::support::{EID, ICCID, Lab, assert_refused, config};

#[tokio::test]
async fn a_profile_is_downloaded_and_installed() {
    for curve in ["NIST", "BRP"] {
        for binding in [Binding::Json, Binding::Asn1] {
            for profile_keys in [ProfileKeys::Session, ProfileKeys::Random] {
                let mut settings = config();
                settings.profile_keys = profile_keys;
                let lab = Lab::with(settings);
                let mut euicc = TestEuicc::sgp26(curve);
                let order = lab.release(None, Some("AB-12"), None);
                assert_eq!(order.matching_id.as_str(), "AB-12");
                assert_eq!(lab.state(), ProfileState::Released);

                let ok = authenticate(&lab, &euicc, Some("AB-12"), binding)
                    .await
                    .unwrap();
                assert_eq!(ok.profile_meta_data.iccid.to_string(), ICCID);
                assert!(!ok.smdp_signed2.cc_required_flag.0);
                assert!(ok.smdp_signed2.bpp_euicc_otpk.is_none());
                let request = euicc.prepare(&ok, None);
                let package = get_package(&lab, &request, binding).await.unwrap();
                assert_eq!(
                    package.second_sequence_of87.is_some(),
                    profile_keys == ProfileKeys::Random
                );
                assert_eq!(lab.state(), ProfileState::Downloaded);

                let installed = euicc.open(&ok.smdp_certificate, &package);
                use rsp::der::Element;
                assert_eq!(installed.metadata, ok.profile_meta_data.to_der());
                let profile = ProfilePackage::parse(&installed.package).unwrap();
                assert_eq!(
                    profile.header().unwrap().iccid().unwrap().to_string(),
                    ICCID
                );

                let data = euicc.result_data(&ok.transaction_id, ICCID.parse().unwrap(), true);
                notify(&lab, euicc.result(data), binding).await;
                assert_eq!(lab.state(), ProfileState::Installed);
                let events: Vec<String> = lab
                    .smdp
                    .inventory()
                    .history(&ICCID.parse().unwrap(), 10)
                    .unwrap()
                    .into_iter()
                    .map(|step| step.event)
                    .collect();
                assert_eq!(
                    events,
                    ["allocate", "confirm", "release", "deliver", "install"]
                );
            }
        }
    }
}

#[tokio::test]
async fn the_default_smdp_serves_the_euicc_that_the_order_is_for() {
    let lab = Lab::new();
    lab.release(Some(EID), Some(""), None);
    let stranger = TestEuicc::issued("89049032000000000000000000000066");
    for matching_id in [None, Some("")] {
        let refused = authenticate(&lab, &stranger, matching_id, Binding::Json).await;
        assert_refused(refused, Refusal::MatchingIdRefused);
        let euicc = TestEuicc::sgp26("NIST");
        authenticate(&lab, &euicc, matching_id, Binding::Json)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_order_for_one_euicc_is_refused_to_another() {
    let lab = Lab::new();
    lab.release(Some(EID), Some("BOUND"), None);
    let other = TestEuicc::issued("89049032000000000000000000000066");
    let refused = authenticate(&lab, &other, Some("BOUND"), Binding::Json).await;
    assert_refused(refused, Refusal::EidMismatch);
    assert_eq!(lab.state(), ProfileState::Released);
    let euicc = TestEuicc::sgp26("NIST");
    authenticate(&lab, &euicc, Some("BOUND"), Binding::Json)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_order_belongs_to_the_euicc_that_downloaded_first() {
    let lab = Lab::new();
    lab.release(None, Some("OPEN"), None);
    let mut first = TestEuicc::sgp26("NIST");
    let mut second = TestEuicc::issued("89049032000000000000000000000066");
    let of_first = authenticate(&lab, &first, Some("OPEN"), Binding::Json)
        .await
        .unwrap();
    let of_second = authenticate(&lab, &second, Some("OPEN"), Binding::Json)
        .await
        .unwrap();
    let request = first.prepare(&of_first, None);
    get_package(&lab, &request, Binding::Json).await.unwrap();
    // The race is decided in the database: the second comes too late, even in its open session.
    let request = second.prepare(&of_second, None);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::EidMismatch);
    let refused = authenticate(&lab, &second, Some("OPEN"), Binding::Json).await;
    assert_refused(refused, Refusal::EidMismatch);
}

#[tokio::test]
async fn the_right_confirmation_code_opens_and_three_wrong_ones_end_the_order() {
    let lab = Lab::new();
    lab.release(None, Some("CODE"), Some("1234"));
    let mut euicc = TestEuicc::sgp26("NIST");
    for (code, refusal) in [
        (None, Refusal::ConfirmationCodeMissing),
        (Some("0000"), Refusal::ConfirmationCodeWrong),
        (Some("1235"), Refusal::ConfirmationCodeWrong),
    ] {
        let ok = authenticate(&lab, &euicc, Some("CODE"), Binding::Json)
            .await
            .unwrap();
        assert!(ok.smdp_signed2.cc_required_flag.0);
        let request = euicc.prepare(&ok, code);
        assert_refused(get_package(&lab, &request, Binding::Json).await, refusal);
        // The session is over: the right code has no second chance in it.
        let request = euicc.prepare(&ok, Some("1234"));
        let late = get_package(&lab, &request, Binding::Json).await;
        assert_refused(late, Refusal::TransactionUnknown);
    }
    assert_eq!(lab.state(), ProfileState::Released);
    let ok = authenticate(&lab, &euicc, Some("CODE"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&ok, Some("9999"));
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::ConfirmationCodeRetriesExceeded);
    assert_eq!(lab.state(), ProfileState::Error);
    let refused = authenticate(&lab, &euicc, Some("CODE"), Binding::Json).await;
    assert_refused(refused, Refusal::ProfileNotReleased);

    let lab = Lab::new();
    lab.release(None, Some("CODE"), Some("1234"));
    let ok = authenticate(&lab, &euicc, Some("CODE"), Binding::Asn1)
        .await
        .unwrap();
    let request = euicc.prepare(&ok, Some("1234"));
    get_package(&lab, &request, Binding::Asn1).await.unwrap();
}

#[tokio::test]
async fn a_code_of_another_session_is_worth_nothing() {
    let lab = Lab::new();
    lab.release(None, Some("CODE"), Some("1234"));
    let mut euicc = TestEuicc::sgp26("NIST");
    let first = authenticate(&lab, &euicc, Some("CODE"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&first, Some("1234"));
    let rsp::binding::es9plus::Request::GetBoundProfilePackage(sent) = request else {
        panic!()
    };
    let rsp::sgp22::PrepareDownloadResponse::DownloadResponseOk(sent) =
        sent.prepare_download_response
    else {
        panic!()
    };
    let overheard = sent.euicc_signed2.hash_cc.clone();
    let second = authenticate(&lab, &euicc, Some("CODE"), Binding::Json)
        .await
        .unwrap();
    let otpk = euicc.one_time.as_ref().unwrap().public_point().to_vec();
    let request = euicc.prepare_with(&second, &otpk, overheard);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::ConfirmationCodeWrong);
}

#[tokio::test]
async fn a_retry_keeps_the_one_time_key() {
    let lab = Lab::new();
    lab.release(None, Some("RETRY"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    let first = authenticate(&lab, &euicc, Some("RETRY"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&first, None);
    get_package(&lab, &request, Binding::Json).await.unwrap();
    // The answer was lost; the same request again, in the same session.
    let again = get_package(&lab, &request, Binding::Json).await.unwrap();
    euicc.open(&first.smdp_certificate, &again);

    // A new session: the server proposes the key, and the eUICC still has it.
    let second = authenticate(&lab, &euicc, Some("RETRY"), Binding::Json)
        .await
        .unwrap();
    let proposed = second.smdp_signed2.bpp_euicc_otpk.clone().unwrap();
    assert_eq!(
        proposed.0.0,
        euicc.one_time.as_ref().unwrap().public_point()
    );
    let request = euicc.prepare(&second, None);
    let package = get_package(&lab, &request, Binding::Json).await.unwrap();
    euicc.open(&second.smdp_certificate, &package);
    assert_ne!(
        again.initialise_secure_channel_request.smdp_otpk,
        package.initialise_secure_channel_request.smdp_otpk,
        "keys of the server are used once"
    );

    // Another key is refused, and the first one goes on to work.
    euicc.one_time = None;
    let third = authenticate(&lab, &euicc, Some("RETRY"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&third, None);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::RebindingRefused);
    assert_eq!(lab.state(), ProfileState::Downloaded);
}

#[tokio::test]
async fn rebinding_to_another_key_can_be_allowed() {
    let mut settings = config();
    settings.rebinding = Rebinding::SameEuicc;
    let lab = Lab::with(settings);
    lab.release(None, Some("RETRY"), None);
    let mut euicc = TestEuicc::sgp26("NIST");
    for _ in 0..2 {
        euicc.one_time = None;
        let ok = authenticate(&lab, &euicc, Some("RETRY"), Binding::Json)
            .await
            .unwrap();
        let request = euicc.prepare(&ok, None);
        let package = get_package(&lab, &request, Binding::Json).await.unwrap();
        euicc.open(&ok.smdp_certificate, &package);
    }
    let other = TestEuicc::issued("89049032000000000000000000000066");
    let refused = authenticate(&lab, &other, Some("RETRY"), Binding::Json).await;
    assert_refused(refused, Refusal::EidMismatch);
}

#[tokio::test]
async fn a_one_time_key_off_the_curve_is_refused() {
    let lab = Lab::new();
    lab.release(None, Some("KEY"), None);
    let euicc = TestEuicc::sgp26("NIST");
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(3);
    let other_curve = EphemeralKey::generate(pki::Curve::BrainpoolP256r1, &mut rng).unwrap();
    for point in [other_curve.public_point(), &[4; 65], &[0; 1], &[]] {
        let ok = authenticate(&lab, &euicc, Some("KEY"), Binding::Json)
            .await
            .unwrap();
        let request = euicc.prepare_with(&ok, point, None);
        let refused = get_package(&lab, &request, Binding::Json).await;
        assert_refused(refused, Refusal::ElementMalformed);
    }
    assert_eq!(lab.state(), ProfileState::Released);
}

#[tokio::test]
async fn attempts_are_limited() {
    let mut settings = config();
    settings.limits.download_attempts_max = 2;
    let lab = Lab::with(settings);
    lab.release(None, Some("LIMIT"), None);
    let euicc = TestEuicc::sgp26("NIST");
    for _ in 0..2 {
        authenticate(&lab, &euicc, Some("LIMIT"), Binding::Json)
            .await
            .unwrap();
    }
    let refused = authenticate(&lab, &euicc, Some("LIMIT"), Binding::Json).await;
    assert_refused(refused, Refusal::TooManyDownloadAttempts);
    assert_eq!(lab.state(), ProfileState::Error);
}

#[tokio::test]
async fn orders_and_sessions_run_out() {
    let mut settings = config();
    settings.limits.order_lifetime = Some(Duration::from_secs(1000));
    settings.limits.session_initiated_max = Duration::from_secs(100);
    settings.limits.session_authenticated_max = Duration::from_secs(2000);
    let lab = Lab::with(settings);
    lab.release(None, Some("LATE"), None);
    let mut euicc = TestEuicc::sgp26("NIST");

    let begun = super::euicc::begin(&lab, &euicc, Binding::Json).await;
    lab.advance_s(100);
    let signed = euicc.signed1(&begun.server_signed1, Some("LATE"));
    let request = euicc.authenticate(&begun.transaction_id, signed);
    let Response::AuthenticateClient(refused) = lab.es9(Binding::Json, &request).await else {
        panic!()
    };
    assert_refused(refused, Refusal::TransactionUnknown);

    let ok = authenticate(&lab, &euicc, Some("LATE"), Binding::Json)
        .await
        .unwrap();
    lab.advance_s(900);
    let request = euicc.prepare(&ok, None);
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::OrderExpired);
    let refused = authenticate(&lab, &euicc, Some("LATE"), Binding::Json).await;
    assert_refused(refused, Refusal::OrderExpired);
}

#[tokio::test]
async fn cancellation_ends_or_keeps_the_order_by_its_reason() {
    for (reason, state) in [
        (CancelSessionReason::Postponed, ProfileState::Released),
        (CancelSessionReason::Timeout, ProfileState::Released),
        (CancelSessionReason::EndUserRejection, ProfileState::Error),
        (CancelSessionReason::PprNotAllowed, ProfileState::Error),
        (CancelSessionReason::MetadataMismatch, ProfileState::Error),
        (
            CancelSessionReason::LoadBppExecutionError,
            ProfileState::Error,
        ),
    ] {
        let lab = Lab::new();
        lab.release(None, Some("CANCEL"), None);
        let euicc = TestEuicc::sgp26("NIST");
        let ok = authenticate(&lab, &euicc, Some("CANCEL"), Binding::Json)
            .await
            .unwrap();
        let request = euicc.cancel(&ok.transaction_id, "2.999.10", reason);
        for binding in [Binding::Json, Binding::Asn1] {
            let Response::CancelSession(outcome) = lab.es9(binding, &request).await else {
                panic!()
            };
            match binding {
                Binding::Json => outcome.unwrap(),
                Binding::Asn1 => assert_refused(outcome, Refusal::TransactionUnknown),
            }
        }
        assert_eq!(lab.state(), state, "{reason}");
    }
}
