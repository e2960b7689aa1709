//! What a stranger, a thief of an EID or a lying device can send. Each test says where it must
//! stop, and that nothing changed.

use eim::{OperationState, Peer};
use intent::command::{Command, DataItem, DownloadSource, Route};
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::NotificationEvent;
use rsp::sgp32::{
    EimPackageError, EimPackageResult, EnableProfileResult, EuiccPackageErrorUnsigned,
    EuiccPackageRequest, EuiccPackageResult, EuiccResultData, GetEimPackageResponse,
    HandleNotificationEsipa, IpaEuiccDataResponse, ProfileDownloadError,
    ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData, ProvideEimPackageResultError,
    ProvideEimPackageResultResponse,
};

use crate::world::{
    EID, PaperEuicc, World, acknowledged, empty_data, is_nothing, is_refused, other_eid,
};

const ICCID: &str = "89000123456789012341";

fn enable() -> Vec<Command> {
    let iccid: Iccid = ICCID.parse().unwrap();
    vec![Command::Enable {
        iccid,
        rollback: false,
    }]
}

fn enabled() -> Vec<EuiccResultData> {
    vec![EuiccResultData::EnableResult(EnableProfileResult::Ok)]
}

/// A device with an enable in flight.
async fn in_flight(world: &World) -> (PaperEuicc, Peer, EuiccPackageRequest) {
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    (euicc, peer, package)
}

/// `result` is refused and leaves no trace.
async fn assert_stopped(world: &World, eid: Eid, result: EimPackageResult, peer: &Peer) {
    let before = world.snapshot(eid);
    let answer = world.provide(eid, result, peer).await;
    assert!(is_refused(&answer), "accepted: {answer:?}");
    assert_eq!(world.snapshot(eid), before);
}

#[tokio::test]
async fn an_unregistered_eid_gets_nothing() {
    let world = World::new();
    let response = world.poll(other_eid(), &world.connect()).await;
    assert_eq!(
        response,
        GetEimPackageResponse::EimPackageError(EimPackageError::EidNotFound)
    );
}

#[tokio::test]
async fn a_forged_result_signature_is_stopped_at_verification() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    let mut result = euicc.execute(&package, enabled());
    if let EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageResultSigned(
        signed,
    )) = &mut result
    {
        signed.euicc_sign_epr.0.0[10] ^= 1;
    }
    assert_stopped(&world, euicc.eid, result, &peer).await;
}

#[tokio::test]
async fn a_result_signed_by_another_euicc_is_stopped_at_verification() {
    let world = World::new();
    let (euicc, peer, package) = in_flight(&world).await;
    let mut other = world.euicc(other_eid());
    let result = other.execute(&package, enabled());
    assert_stopped(&world, euicc.eid, result, &peer).await;
}

#[tokio::test]
async fn a_result_sent_for_another_eid_is_stopped_at_matching() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    let other = world.device(other_eid()).await;
    let result = euicc.execute(&package, enabled());
    let before = world.snapshot(euicc.eid);
    let answer = world.provide(other.eid, result, &peer).await;
    assert_eq!(
        answer,
        ProvideEimPackageResultResponse::ProvideEimPackageResultError(
            ProvideEimPackageResultError::InvalidEid
        )
    );
    assert_eq!(world.snapshot(euicc.eid), before);
}

#[tokio::test]
async fn a_result_over_another_token_is_stopped_at_verification() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    euicc.token = Some(2);
    let result = euicc.execute(&package, enabled());
    assert_stopped(&world, euicc.eid, result, &peer).await;
}

#[tokio::test]
async fn a_result_for_another_eim_or_counter_is_stopped_at_matching() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    euicc.seq_number = 1;
    let mut data = euicc.result_data(&package, enabled());
    data.counter_value = 9;
    let other_counter = euicc.signed_result(data.clone());
    data.counter_value = 1;
    data.eim_id = "other.example.com".parse().unwrap();
    let other_eim = euicc.signed_result(data);
    assert_stopped(&world, euicc.eid, other_counter, &peer).await;
    assert_stopped(&world, euicc.eid, other_eim, &peer).await;
}

#[tokio::test]
async fn a_replayed_result_is_stopped_at_its_sequence_number() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    let first = euicc.execute(&package, enabled());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, first, &peer).await),
        [1]
    );
    // The next result repeats the sequence number of the first.
    world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    euicc.seq_number -= 1;
    let replayed = euicc.execute(&package, enabled());
    assert_stopped(&world, euicc.eid, replayed, &peer).await;
}

#[tokio::test]
async fn an_old_result_does_not_end_a_new_operation() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    let old = euicc.execute(&package, enabled());
    let second = world.propose(euicc.eid, enable()).await;
    world.provide(euicc.eid, old.clone(), &peer).await;
    world.package(euicc.eid, &peer).await;
    world.provide(euicc.eid, old, &world.connect()).await;
    assert_eq!(
        world.eim.operation(second.id).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn a_stranger_with_the_eid_neither_drains_nor_completes_the_queue() {
    let world = World::new();
    let (mut euicc, peer, package) = in_flight(&world).await;
    let stranger = world.connect();
    let before = world.snapshot(euicc.eid);
    assert_eq!(
        world.package(euicc.eid, &stranger).await,
        package,
        "it gets what it cannot use"
    );
    // It cannot sign, so it claims that the eUICC refused.
    let claim = EimPackageResult::EuiccPackageResult(
        EuiccPackageResult::EuiccPackageErrorUnsigned(EuiccPackageErrorUnsigned {
            eim_id: package.euicc_package_signed.eim_id.clone(),
            eim_transaction_id: package.euicc_package_signed.eim_transaction_id.clone(),
            association_token: Some(666),
            euicc_package_unsigned_error_code: None,
            extensions: Default::default(),
        }),
    );
    for _ in 0..10 {
        world.provide(euicc.eid, claim.clone(), &stranger).await;
    }
    assert_eq!(world.snapshot(euicc.eid), before);
    let result = euicc.execute(&package, enabled());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, result, &peer).await),
        [1]
    );
}

fn download() -> Vec<Command> {
    vec![Command::Download {
        source: DownloadSource::activation_code("1$smdp.example.com$SECRET").unwrap(),
        route: Route::Direct,
        confirmation_code: None,
    }]
}

#[tokio::test]
async fn a_stranger_with_the_eid_does_not_learn_an_activation_code() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, download()).await;
    let stranger = world.connect();
    let proof = world.package(euicc.eid, &stranger).await;
    assert_eq!(
        world.package(euicc.eid, &stranger).await,
        proof,
        "it gets a package to sign, again and again"
    );

    // The device signs it, and then gets the trigger; the stranger still does not.
    assert_eq!(world.package(euicc.eid, &peer).await, proof);
    let list = vec![EuiccResultData::ListProfileInfoResult(
        rsp::sgp22::ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
    )];
    let result = euicc.execute(&proof, list);
    world.provide(euicc.eid, result, &peer).await;
    assert!(matches!(
        world.poll(euicc.eid, &peer).await,
        GetEimPackageResponse::ProfileDownloadTriggerRequest(_)
    ));
    let to_stranger = world.poll(euicc.eid, &stranger).await;
    assert!(
        matches!(to_stranger, GetEimPackageResponse::EuiccPackageRequest(_)),
        "{to_stranger:?}"
    );
}

#[tokio::test]
async fn a_procedure_that_moves_to_another_connection_has_to_prove_itself_again() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, download()).await;
    let proof = world.package(euicc.eid, &peer).await;
    let list = vec![EuiccResultData::ListProfileInfoResult(
        rsp::sgp22::ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
    )];
    let result = euicc.execute(&proof, list);
    world.provide(euicc.eid, result, &peer).await;
    let GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) =
        world.poll(euicc.eid, &peer).await
    else {
        panic!("no trigger")
    };
    // Somebody who overheard the transaction id reports failure on another connection.
    let claim = EimPackageResult::ProfileDownloadTriggerResult(ProfileDownloadTriggerResult {
        eim_transaction_id: trigger.eim_transaction_id,
        profile_download_trigger_result_data:
            ProfileDownloadTriggerResultData::ProfileDownloadError(ProfileDownloadError {
                profile_download_error_reason: None,
                error_response: None,
                extensions: Default::default(),
            }),
        extensions: Default::default(),
    });
    assert_stopped(&world, euicc.eid, claim.clone(), &world.connect()).await;
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::InFlight
    );
    // On the proven one it is the device's word.
    world.provide(euicc.eid, claim, &peer).await;
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::Failed
    );
}

#[tokio::test]
async fn unsigned_data_from_an_unproven_connection_is_not_believed() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world
        .propose(
            euicc.eid,
            vec![Command::ReadDeviceData {
                items: vec![DataItem::DefaultSmdpAddress],
            }],
        )
        .await;
    world.package(euicc.eid, &peer).await;
    let mut data = empty_data(None);
    data.default_smdp_address = Some("evil.example.com".to_owned());
    let answer = EimPackageResult::IpaEuiccDataResponse(IpaEuiccDataResponse::IpaEuiccData(data));
    assert_stopped(&world, euicc.eid, answer, &world.connect()).await;
    assert_eq!(world.eim.device(euicc.eid).unwrap().default_smdp, None);
}

#[tokio::test]
async fn a_forged_notification_is_stopped_and_stays_with_the_device() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let mut forged = euicc.notification(NotificationEvent::ENABLE, ICCID);
    forged.euicc_notification_signature.0.0[0] ^= 1;
    let message = HandleNotificationEsipa::PendingNotification(
        rsp::sgp22::PendingNotification::OtherSignedNotification(forged),
    );
    let answer = world
        .eim
        .handle(
            rsp::binding::esipa::Request::HandleNotification(message),
            &peer,
        )
        .await;
    assert_eq!(answer.unwrap_err(), eim::Unanswerable::NotAccepted);
    assert!(world.eim.notifications(euicc.eid, 10).unwrap().is_empty());

    let genuine = euicc.notification(NotificationEvent::ENABLE, ICCID);
    let message = HandleNotificationEsipa::PendingNotification(
        rsp::sgp22::PendingNotification::OtherSignedNotification(genuine),
    );
    world
        .eim
        .handle(
            rsp::binding::esipa::Request::HandleNotification(message),
            &peer,
        )
        .await
        .unwrap();
    assert_eq!(world.eim.notifications(euicc.eid, 10).unwrap().len(), 1);
    assert_eq!(
        world.eim.forward_notifications().await.unwrap(),
        1,
        "and is forwarded to its SM-DP+"
    );
    assert_eq!(world.eim.forward_notifications().await.unwrap(), 0, "once");
}

#[tokio::test]
async fn a_state_change_report_changes_nothing_but_asks_the_euicc() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let report = rsp::sgp32::GetEimPackageRequest {
        eid_value: euicc.eid.to_field(),
        notify_state_change: Some(rsp::der::Null),
        state_change_cause: Some(rsp::sgp32::StateChangeCause::Fallback),
        r_plmn: None,
        extensions: Default::default(),
    };
    for _ in 0..5 {
        world
            .eim
            .handle(
                rsp::binding::esipa::Request::GetEimPackage(report.clone()),
                &peer,
            )
            .await
            .unwrap();
    }
    let operations = world.eim.operations(euicc.eid, None, 100).unwrap();
    assert_eq!(
        operations.len(),
        2,
        "one list of profiles, one of eIMs, however often it is reported"
    );
    assert!(!is_nothing(&world.poll(euicc.eid, &peer).await));
}
