//! Which notifications are believed, and what they change.

use rsp::binding::http::Binding;
use rsp::der::Oid;
use rsp::ids::TransactionId;
use rsp::sgp22::{AuthenticateClientOk, NotificationEvent, PendingNotification};
use smdp::ProfileState;

use super::euicc::{TestEuicc, authenticate, get_package, notify};
use super::support::{EID, ICCID, Lab};

async fn delivered(lab: &Lab, euicc: &mut TestEuicc) -> AuthenticateClientOk {
    lab.release(None, Some("N"), None);
    download(lab, euicc).await
}

async fn download(lab: &Lab, euicc: &mut TestEuicc) -> AuthenticateClientOk {
    let ok = authenticate(lab, euicc, Some("N"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&ok, None);
    get_package(lab, &request, Binding::Json).await.unwrap();
    ok
}

fn iccid() -> rsp::ids::Iccid {
    ICCID.parse().unwrap()
}

#[tokio::test]
async fn an_error_result_ends_the_order() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = delivered(&lab, &mut euicc).await;
    let data = euicc.result_data(&ok.transaction_id, iccid(), false);
    notify(&lab, euicc.result(data), Binding::Asn1).await;
    assert_eq!(lab.state(), ProfileState::Error);
    assert_eq!(
        lab.smdp.counters().sessions,
        0,
        "the session is over with the result"
    );
}

#[tokio::test]
async fn forged_results_are_answered_and_not_believed() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let mut stranger = TestEuicc::issued("89049032000000000000000000000066");
    let ok = delivered(&lab, &mut euicc).await;
    let id = &ok.transaction_id;

    let by_stranger = stranger.result_data(id, iccid(), false);
    let by_stranger = stranger.result(by_stranger);
    let unknown = TransactionId::new(&[1; 16]).unwrap();
    let elsewhere = euicc.result_data(&unknown, iccid(), true);
    let elsewhere = euicc.result(elsewhere);
    let mut other_server = euicc.result_data(id, iccid(), true);
    other_server.smdp_oid = Oid::from_dotted("2.999.11").unwrap();
    let other_server = euicc.result(other_server);
    let other_profile = euicc.result_data(id, "89000123456789012341".parse().unwrap(), true);
    let other_profile = euicc.result(other_profile);
    let success = euicc.result_data(id, iccid(), true);
    let failure = euicc.result_data(id, iccid(), false);
    let PendingNotification::ProfileInstallationResult(mut altered) = euicc.result(success) else {
        panic!()
    };
    altered.profile_installation_result_data = rsp::der::Encoded::new(failure);
    let altered = PendingNotification::ProfileInstallationResult(altered);

    for (number, forged) in
        (1..).zip([by_stranger, elsewhere, other_server, other_profile, altered])
    {
        notify(&lab, forged, Binding::Json).await;
        assert_eq!(lab.state(), ProfileState::Downloaded, "forgery {number}");
        assert_eq!(lab.smdp.counters().notifications_not_believed, number);
    }
    assert_eq!(lab.smdp.counters().notifications_believed, 0);

    let data = euicc.result_data(id, iccid(), true);
    notify(&lab, euicc.result(data), Binding::Json).await;
    assert_eq!(lab.state(), ProfileState::Installed);
}

#[tokio::test]
async fn the_first_result_counts_and_repetitions_change_nothing() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = delivered(&lab, &mut euicc).await;
    let success = euicc.result_data(&ok.transaction_id, iccid(), true);
    let success = euicc.result(success);
    let failure = euicc.result_data(&ok.transaction_id, iccid(), false);
    let failure = euicc.result(failure);
    for notification in [success.clone(), success, failure] {
        notify(&lab, notification, Binding::Json).await;
        assert_eq!(lab.state(), ProfileState::Installed);
    }
    assert_eq!(lab.smdp.notifications().of_euicc(EID, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn the_failure_of_an_earlier_attempt_does_not_end_the_later_one() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let first = delivered(&lab, &mut euicc).await;
    let second = download(&lab, &mut euicc).await;
    let late = euicc.result_data(&first.transaction_id, iccid(), false);
    notify(&lab, euicc.result(late), Binding::Json).await;
    assert_eq!(lab.state(), ProfileState::Downloaded);
    let data = euicc.result_data(&second.transaction_id, iccid(), true);
    notify(&lab, euicc.result(data), Binding::Json).await;
    assert_eq!(lab.state(), ProfileState::Installed);
}

#[tokio::test]
async fn a_result_is_believed_long_after_the_session() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = delivered(&lab, &mut euicc).await;
    lab.advance_s(90 * 86_400);
    let data = euicc.result_data(&ok.transaction_id, iccid(), true);
    notify(&lab, euicc.result(data), Binding::Json).await;
    assert_eq!(lab.state(), ProfileState::Installed);
}

#[tokio::test]
async fn other_notifications_are_recorded_once_and_only_about_delivered_profiles() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    delivered(&lab, &mut euicc).await;
    let enable = euicc.notification(NotificationEvent::ENABLE, iccid());
    let delete = euicc.notification(NotificationEvent::DELETE, iccid());
    for notification in [enable.clone(), enable, delete] {
        notify(&lab, notification, Binding::Json).await;
    }
    let records = lab.smdp.notifications().of_euicc(EID, 10).unwrap();
    let events: Vec<_> = records.iter().map(|record| record.event.as_str()).collect();
    assert_eq!(events, ["enable", "delete"]);
    assert_eq!(records[0].iccid, Some(iccid()));

    // Of a profile that this eUICC never got.
    let mut stranger = TestEuicc::issued("89049032000000000000000000000066");
    let tale = stranger.notification(NotificationEvent::DELETE, iccid());
    notify(&lab, tale, Binding::Json).await;
    // Signed by another than the certificate says.
    let forged = euicc.notification(NotificationEvent::DISABLE, iccid());
    let PendingNotification::OtherSignedNotification(mut forged) = forged else {
        panic!()
    };
    let octets = forged.tbs_other_notification.bytes().to_vec();
    forged.euicc_notification_signature = stranger.sign(&[&octets]);
    notify(
        &lab,
        PendingNotification::OtherSignedNotification(forged),
        Binding::Json,
    )
    .await;
    // With an EUM certificate of another chain.
    let cut = euicc.notification(NotificationEvent::DISABLE, iccid());
    let PendingNotification::OtherSignedNotification(mut cut) = cut else {
        panic!()
    };
    cut.eum_certificate = super::euicc::carried(&TestEuicc::sgp26("BRP").eum);
    notify(
        &lab,
        PendingNotification::OtherSignedNotification(cut),
        Binding::Json,
    )
    .await;

    assert_eq!(lab.smdp.counters().notifications_not_believed, 3);
    assert_eq!(lab.smdp.notifications().of_euicc(EID, 10).unwrap().len(), 2);
    assert!(
        lab.smdp
            .notifications()
            .of_euicc("89049032000000000000000000000066", 10)
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_success_that_comes_after_the_order_failed_still_counts() {
    let lab = Lab::new();
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = delivered(&lab, &mut euicc).await;
    let reason = rsp::sgp22::CancelSessionReason::LoadBppExecutionError;
    let cancel = euicc.cancel(&ok.transaction_id, "2.999.10", reason);
    lab.es9(Binding::Json, &cancel).await;
    assert_eq!(lab.state(), ProfileState::Error);
    let data = euicc.result_data(&ok.transaction_id, iccid(), true);
    notify(&lab, euicc.result(data), Binding::Json).await;
    assert_eq!(
        lab.state(),
        ProfileState::Installed,
        "it must not be ordered for a second eUICC"
    );
}
