//! The list of notifications and package results.

use pki::Signature as SignatureValue;
use rsp::der::{Element, Null};
use rsp::sgp22::*;
use rsp::sgp32::RetrieveNotificationsSearchCriteria as Criteria;
use rsp::sgp32::*;

use crate::support::*;

fn list(response: RetrieveNotificationsListResponse) -> Vec<PendingNotification> {
    match response {
        RetrieveNotificationsListResponse::NotificationList(list) => list,
        other => panic!("{other:?}"),
    }
}

fn signed(notification: &PendingNotification) -> &OtherSignedNotification {
    match notification {
        PendingNotification::OtherSignedNotification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

#[test]
fn notifications_are_signed_and_carry_their_chain() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    bench.psmo(&mut eim, enable(2));
    let notifications = list(bench.retrieve(None));
    assert_eq!(notifications.len(), 2);
    for notification in &notifications {
        let notification = signed(notification);
        let signature =
            SignatureValue::from_wire(&notification.euicc_notification_signature).unwrap();
        euicc_key(0)
            .verify(notification.tbs_other_notification.bytes(), &signature)
            .unwrap();
        let metadata = &notification.tbs_other_notification;
        assert_eq!(metadata.notification_address, "events.example.com");
        assert_eq!(notification.eum_certificate, wire(&PKI.eum.certificate));
    }
    // Asked twice, the same octets: a receiver can see that it has them already.
    assert_eq!(list(bench.retrieve(None)), notifications);
    bench.power_cycle();
    assert_eq!(list(bench.retrieve(None)), notifications);
}

#[test]
fn only_addresses_that_asked_for_an_event_are_told() {
    let tell = |events: &[usize], address: &str| NotificationConfigurationInformation {
        profile_management_operation: NotificationEvent::of(events.iter().copied()),
        notification_address: address.to_owned(),
        extensions: Default::default(),
    };
    let picky = with(profile(2), |it| {
        it.metadata.notification_configuration_info = Some(vec![
            tell(&[NotificationEvent::ENABLE], "a"),
            tell(
                &[NotificationEvent::DISABLE, NotificationEvent::DELETE],
                "b",
            ),
            tell(&[NotificationEvent::ENABLE], "c"),
        ]);
    });
    let silent = with(enabled(1), |it| {
        it.metadata.notification_configuration_info = None
    });
    let (mut bench, mut eim) = Bench::associated(vec![silent, picky]);
    for psmo in [enable(2), disable(2), delete(2)] {
        bench.psmo(&mut eim, psmo);
    }
    let told: Vec<_> = list(bench.retrieve(None))
        .iter()
        .map(|notification| {
            let metadata = signed(notification)
                .tbs_other_notification
                .clone()
                .into_value();
            (
                metadata.notification_address,
                metadata.profile_management_operation,
            )
        })
        .collect();
    let event = |bit| NotificationEvent::of([bit]);
    let expected = [("a", 1), ("c", 1), ("b", 2), ("b", 3)];
    assert_eq!(
        told,
        expected.map(|(address, bit)| (address.to_owned(), event(bit)))
    );
}

#[test]
fn numbers_rise_over_notifications_and_results_and_are_never_given_again() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let request = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    let first = eim.verified(&bench.load(&request)).seq_number;
    assert_eq!(first, 3, "two notifications came before");
    for number in 1..=3 {
        assert_eq!(bench.acknowledge(number), DeleteNotificationStatus::Ok);
        assert_eq!(
            bench.acknowledge(number),
            DeleteNotificationStatus::NothingToDelete
        );
    }
    bench.power_cycle();
    let request = eim.sign(list_eim());
    assert_eq!(eim.verified(&bench.load(&request)).seq_number, 4);
}

#[test]
fn results_are_kept_until_acknowledged_and_found_by_number() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let request = eim.sign(list_eim());
    let first = bench.load(&request);
    let request = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    let second = bench.load(&request);
    assert_eq!(bench.results(), [first.clone(), second.clone()]);
    bench.power_cycle();
    let number = eim.verified(&second).seq_number;
    assert_eq!(
        bench.retrieve(Some(Criteria::SeqNumber(number))),
        RetrieveNotificationsListResponse::EuiccPackageResultList(vec![second.clone()])
    );
    // A number of a notification, and one of nothing.
    assert_eq!(list(bench.retrieve(Some(Criteria::SeqNumber(2)))).len(), 1);
    assert_eq!(list(bench.retrieve(Some(Criteria::SeqNumber(99)))), []);
    // Results are not among the notifications.
    assert_eq!(list(bench.retrieve(None)).len(), 2);
    assert_eq!(bench.acknowledge(1), DeleteNotificationStatus::Ok);
    assert_eq!(bench.results(), [second]);
    assert_eq!(eim.verified(&first).seq_number, 1);
}

#[test]
fn errors_are_neither_kept_nor_numbered() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let request = eim.sign(list_eim());
    bench.load(&request);
    let replayed = bench.load(&request);
    eim.error(&replayed);
    assert_eq!(bench.results().len(), 1);
    let request = eim.sign(list_eim());
    assert_eq!(eim.verified(&bench.load(&request)).seq_number, 2);
}

#[test]
fn lists_can_be_narrowed_to_events() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), profile(3)]);
    bench.psmo(&mut eim, enable(2));
    bench.psmo(&mut eim, delete(3));
    let count = |bench: &mut Bench, bits: &[usize]| {
        let events = NotificationEvent::of(bits.iter().copied());
        let retrieved = bench.retrieve(Some(Criteria::ProfileManagementOperation(events.clone())));
        let listed = bench.ask(&ListNotificationRequest {
            profile_management_operation: Some(events),
            extensions: Default::default(),
        });
        let ListNotificationResponse::NotificationMetadataList(listed) = listed else {
            panic!()
        };
        let retrieved = list(retrieved);
        assert_eq!(listed.len(), retrieved.len());
        listed.len()
    };
    assert_eq!(count(&mut bench, &[1]), 1);
    assert_eq!(count(&mut bench, &[2, 3]), 2);
    assert_eq!(count(&mut bench, &[0]), 0);
}

#[test]
fn the_published_request_for_results_is_understood() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    bench.run(&mut eim, list_eim());
    let request = RetrieveNotificationsListRequest {
        search_criteria: Some(Criteria::EuiccPackageResults(Null)),
        extensions: Default::default(),
    };
    assert_eq!(request.to_der(), b"\xBF\x2B\x04\xA0\x02\x82\x00");
    let answer = bench.es10(&request.to_der()).unwrap();
    let found = answer
        .windows(2)
        .position(|pair| pair == [0xBF, 0x51])
        .unwrap();
    assert_eq!(answer[..2], [0xBF, 0x2B]);
    assert!(found < 12);
}

#[test]
fn a_list_that_nobody_acknowledges_stays_bounded_and_keeps_the_newest() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    for _ in 0..130 {
        bench.run(&mut eim, list_eim());
    }
    let results = bench.results();
    assert_eq!(results.len(), 128);
    assert_eq!(eim.verified(&results[0]).seq_number, 3);
    assert_eq!(eim.verified(&results[127]).seq_number, 130);
}
