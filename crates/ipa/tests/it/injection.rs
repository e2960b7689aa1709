//! TransferEimPackage.

use rsp::binding::esipa::{InjectionRequest, InjectionResponse};
use rsp::binding::http::Binding;
use rsp::sgp32::{
    EimAcknowledgements, EimPackageResultErrorCode, EuiccPackage, IpaEuiccDataRequest,
    ProfileDownloadData, SequenceNumber, TransferEimPackageRequest, TransferEimPackageResponse,
};

use super::packages::{enable, list};
use super::support::*;

fn inject(
    world: &mut World,
    binding: Binding,
    from: Option<&str>,
    request: TransferEimPackageRequest,
) -> TransferEimPackageResponse {
    let request = InjectionRequest(request);
    let body = match binding {
        Binding::Asn1 => request.to_asn1(),
        Binding::Json => request.to_json().unwrap().1,
    };
    let from = from.map(|from| from.parse().unwrap());
    let (now_ms, mut rng) = (world.now_ms, rng(4));
    let answer = world
        .ipa
        .inject(binding, from.as_ref(), &body, now_ms, &mut rng)
        .unwrap();
    match binding {
        Binding::Asn1 => InjectionResponse::from_asn1(&answer),
        Binding::Json => InjectionResponse::from_json(&answer),
    }
    .unwrap()
    .0
}

fn signed(world: &World, operations: Vec<rsp::sgp32::Psmo>) -> TransferEimPackageRequest {
    let mut state = world.net.0.borrow_mut();
    let package = state.eim(EIM).sign(EuiccPackage::PsmoList(operations));
    TransferEimPackageRequest::EuiccPackageRequest(package)
}

#[test]
fn a_pushed_package_is_executed_and_acknowledged_later() {
    for binding in [Binding::Asn1, Binding::Json] {
        let mut world = World::new();
        let request = signed(&world, vec![list()]);
        let answer = inject(&mut world, binding, None, request);
        let TransferEimPackageResponse::EuiccPackageResult(result) = answer else {
            panic!("{answer:?}")
        };
        let result = rsp::sgp32::EimPackageResult::EuiccPackageResult(result);
        let numbers = world.net.0.borrow_mut().eim(EIM).take_result(result);
        assert_eq!(world.kept().0, 1);
        let list = EimAcknowledgements(numbers.into_iter().map(SequenceNumber).collect());
        let request = TransferEimPackageRequest::EimAcknowledgements(list);
        let answer = inject(&mut world, binding, Some(EIM), request);
        assert!(matches!(
            answer,
            TransferEimPackageResponse::EimPackageReceived(_)
        ));
        assert_eq!(world.kept(), (0, 0));
    }
}

#[test]
fn a_pushed_change_of_profile_comes_with_its_notifications() {
    let mut world = World::new();
    let request = signed(&world, vec![enable(SECOND, false)]);
    let answer = inject(&mut world, Binding::Asn1, None, request);
    let TransferEimPackageResponse::EprAndNotifications(both) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(both.notification_list.len(), 2);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
}

#[test]
fn a_pushed_trigger_is_followed_at_the_next_poll() {
    let mut world = World::new();
    let trigger = {
        let mut state = world.net.0.borrow_mut();
        let data = ProfileDownloadData::ActivationCode(format!("1${SMDP}$A"));
        state.eim(EIM).trigger(Some(data))
    };
    let request = TransferEimPackageRequest::ProfileDownloadTriggerRequest(trigger);
    let answer = inject(&mut world, Binding::Asn1, None, request);
    assert!(matches!(
        answer,
        TransferEimPackageResponse::EimPackageReceived(_)
    ));
    world.restart_ipa();
    world.poll();
    assert_eq!(world.answers(EIM).len(), 1);
    assert_eq!(world.net.0.borrow().smdp.matching_ids.len(), 1);
}

#[test]
fn data_are_given_to_whoever_asks_but_the_token_only_to_its_eim() {
    let mut world = World::with(Setup {
        two_eims: true,
        ..Setup::default()
    });
    let request = |tags: &[u8]| {
        TransferEimPackageRequest::IpaEuiccDataRequest(IpaEuiccDataRequest {
            tag_list: tags.into(),
            euicc_ci_pk_identifier_to_be_used: None,
            search_criteria_notification: None,
            search_criteria_euicc_package_result: None,
            eim_transaction_id: None,
            extensions: Default::default(),
        })
    };
    let token = |answer: TransferEimPackageResponse| match answer {
        TransferEimPackageResponse::IpaEuiccDataResponse(
            rsp::sgp32::IpaEuiccDataResponse::IpaEuiccData(data),
        ) => data.association_token,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        token(inject(&mut world, Binding::Asn1, None, request(&[0x84]))),
        None
    );
    assert_eq!(
        token(inject(
            &mut world,
            Binding::Asn1,
            Some(OTHER_EIM),
            request(&[0x84])
        )),
        Some(2)
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut world = World::new();
    for (body, code) in [
        (&[][..], EimPackageResultErrorCode::InvalidPackageFormat),
        (
            &[0xBF, 0x4E, 0x03, 0xBF, 0x51, 0x00],
            EimPackageResultErrorCode::InvalidPackageFormat,
        ),
        (
            &[0xBF, 0x4E, 0x03, 0xBF, 0x70, 0x00],
            EimPackageResultErrorCode::UnknownPackage,
        ),
        (
            &[0x30, 0x80],
            EimPackageResultErrorCode::InvalidPackageFormat,
        ),
    ] {
        let answer = world
            .ipa
            .inject(Binding::Asn1, None, body, 0, &mut rng(4))
            .unwrap();
        assert_eq!(
            InjectionResponse::from_asn1(&answer).unwrap().0,
            TransferEimPackageResponse::EimPackageError(code),
            "{body:02X?}"
        );
    }
    let answer = world
        .ipa
        .inject(Binding::Json, None, b"{}", 0, &mut rng(4))
        .unwrap();
    assert_eq!(
        InjectionResponse::from_json(&answer).unwrap().0,
        TransferEimPackageResponse::EimPackageError(
            EimPackageResultErrorCode::InvalidPackageFormat
        )
    );
}
