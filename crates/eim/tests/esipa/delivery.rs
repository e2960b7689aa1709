//! The queue: one package at a time, delivered until answered, executed once.

use eim::OperationState;
use intent::command::Command;
use rsp::der::Element;
use rsp::ids::Iccid;
use rsp::sgp22::{ProfileInfo, ProfileInfoListResponse};
use rsp::sgp32::{
    EnableProfileResult, EuiccPackage, EuiccPackageErrorCode, EuiccPackageRequest, EuiccResultData,
    GetEimPackageResponse, ListEimResult, ProcessingTerminated, Psmo,
};

use crate::world::{EID, World, acknowledged, empty_data, expect_data_request, is_nothing, olga};

fn iccid() -> Iccid {
    "89000123456789012341".parse().unwrap()
}

fn enabled() -> Vec<EuiccResultData> {
    vec![EuiccResultData::EnableResult(EnableProfileResult::Ok)]
}

fn enable() -> Vec<Command> {
    vec![Command::Enable {
        iccid: iccid(),
        rollback: true,
    }]
}

#[tokio::test]
async fn a_package_is_delivered_again_octet_for_octet_until_its_result_is_here() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    let operation = world.propose(euicc.eid, enable()).await;

    let first = world.package(euicc.eid, &peer).await;
    let again = world.package(euicc.eid, &world.connect()).await;
    assert_eq!(first.to_der(), again.to_der());
    assert_eq!(first.euicc_package_signed.counter_value, 1);
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::InFlight
    );

    let result = euicc.execute(&first, enabled());
    let answer = world.provide(euicc.eid, result.clone(), &peer).await;
    assert_eq!(acknowledged(&answer), [1]);
    let done = world.eim.operation(operation.id).unwrap();
    assert_eq!(done.state, OperationState::Done);
    assert_eq!(done.outcome.unwrap().results[0].detail, "Ok (0)");
    assert!(is_list(&world.package(euicc.eid, &peer).await));

    let once_more = world.provide(euicc.eid, result, &peer).await;
    assert_eq!(
        acknowledged(&once_more),
        [1],
        "a result sent twice is acknowledged twice"
    );
}

#[tokio::test]
async fn operations_leave_one_by_one_in_order_with_rising_counters() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    for _ in 0..3 {
        world.propose(euicc.eid, vec![Command::ListEims]).await;
    }
    for counter in 1..=3 {
        let package = world.package(euicc.eid, &peer).await;
        assert_eq!(package.euicc_package_signed.counter_value, counter);
        let results = vec![EuiccResultData::ListEimResult(ListEimResult::EimIdList(
            Vec::new(),
        ))];
        let result = euicc.execute(&package, results);
        assert_eq!(
            acknowledged(&world.provide(euicc.eid, result, &peer).await),
            [counter]
        );
    }
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
}

#[tokio::test]
async fn many_polls_at_once_get_the_same_package() {
    let world = std::sync::Arc::new(World::new());
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, enable()).await;
    let polls: Vec<_> = (0..32)
        .map(|_| {
            let (world, eid) = (world.clone(), euicc.eid);
            let peer = world.connect();
            tokio::spawn(async move { world.package(eid, &peer).await.to_der() })
        })
        .collect();
    let mut packages = Vec::new();
    for poll in polls {
        packages.push(poll.await.unwrap());
    }
    packages.dedup();
    assert_eq!(
        packages.len(),
        1,
        "one package in flight, however many polls race for it"
    );
    assert_eq!(world.eim.device(euicc.eid).unwrap().counter, 1);
}

#[tokio::test]
async fn an_operation_can_be_cancelled_until_a_device_has_taken_it() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let first = world.propose(euicc.eid, enable()).await;
    let second = world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.package(euicc.eid, &peer).await;
    for operation in [&first, &second] {
        world
            .authority
            .inner
            .cancel(operation.intent.unwrap(), &olga());
    }
    world.eim.follow().await.unwrap();
    let state = |operation: &eim::Operation| world.eim.operation(operation.id).unwrap();
    assert_eq!(state(&first).state, OperationState::InFlight);
    assert_eq!(state(&second).state, OperationState::Cancelled);
    assert_eq!(state(&second).outcome.unwrap().summary, "cancelled by olga");
}

#[tokio::test]
async fn what_waits_too_long_expires_and_a_late_signed_result_still_counts() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose_for(euicc.eid, enable(), Some(60_000)).await;
    let package = world.package(euicc.eid, &peer).await;
    world.clock.advance_ms(61_000);
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::Expired
    );
    let late = euicc.execute(&package, enabled());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, late, &peer).await),
        [1]
    );
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::Done
    );
}

#[tokio::test]
async fn what_a_full_queue_has_no_room_for_fails_and_says_so() {
    let world = World::with(|config| config.queue_per_device_max = 2);
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, enable()).await;
    world.propose(euicc.eid, enable()).await;
    let third = world.propose(euicc.eid, enable()).await;
    assert_eq!(third.state, OperationState::Failed);
    let summary = third.outcome.unwrap().summary;
    assert!(summary.starts_with("2 operations wait"), "{summary}");
}

#[tokio::test]
async fn a_result_lost_on_its_way_is_fetched_from_the_list_of_the_euicc() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let lost = euicc.execute(&package, enabled());

    // The device comes back, gets the same package, and its eUICC has used the counter.
    let peer = world.connect();
    let again = world.package(euicc.eid, &peer).await;
    let replay = euicc.refuse(&again, EuiccPackageErrorCode::ReplayError);
    world.provide(euicc.eid, replay, &peer).await;
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::InFlight
    );

    let question = expect_data_request(world.poll(euicc.eid, &peer).await);
    assert_eq!(question.tag_list.to_vec(), [0xA2]);
    let mut data = empty_data(question.eim_transaction_id);
    let rsp::sgp32::EimPackageResult::EuiccPackageResult(lost) = lost else {
        unreachable!()
    };
    data.euicc_package_result_list = Some(vec![lost]);
    let answer = rsp::sgp32::EimPackageResult::IpaEuiccDataResponse(
        rsp::sgp32::IpaEuiccDataResponse::IpaEuiccData(data),
    );
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, answer, &peer).await),
        [1]
    );
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::Done
    );
}

#[tokio::test]
async fn a_result_that_is_nowhere_ends_in_a_recorded_error() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let replay = euicc.refuse(&package, EuiccPackageErrorCode::ReplayError);
    world.provide(euicc.eid, replay, &peer).await;
    let question = expect_data_request(world.poll(euicc.eid, &peer).await);
    let answer = rsp::sgp32::EimPackageResult::IpaEuiccDataResponse(
        rsp::sgp32::IpaEuiccDataResponse::IpaEuiccData(empty_data(question.eim_transaction_id)),
    );
    world.provide(euicc.eid, answer, &peer).await;
    let ended = world.eim.operation(operation.id).unwrap();
    assert_eq!(ended.state, OperationState::Failed);
    assert!(ended.outcome.unwrap().summary.contains("result was lost"));
}

#[tokio::test]
async fn a_signed_refusal_ends_the_operation_with_its_reason() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let refusal = euicc.refuse(&package, EuiccPackageErrorCode::EcallActive);
    world.provide(euicc.eid, refusal, &peer).await;
    let ended = world.eim.operation(operation.id).unwrap();
    assert_eq!(ended.state, OperationState::Failed);
    assert_eq!(
        ended.outcome.unwrap().summary,
        "refused by the eUICC: EcallActive (104)"
    );
}

#[tokio::test]
async fn a_rollback_replaces_the_result_and_asks_how_things_are() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let first = euicc.execute(&package, enabled());
    world.provide(euicc.eid, first, &peer).await;
    let rollback = vec![EuiccResultData::RollbackResult(
        rsp::sgp32::RollbackProfileResult::Ok,
    )];
    let second = euicc.execute(&package, rollback);
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, second, &peer).await),
        [2]
    );
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::RolledBack
    );
    let refresh = world.package(euicc.eid, &peer).await;
    assert!(
        refresh.to_der().windows(2).any(|tag| tag == [0xBF, 0x2D]),
        "a list of profiles is asked for"
    );
}

#[tokio::test]
async fn profiles_are_listed_when_one_is_enabled_that_no_list_has_shown() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let eid = euicc.eid;
    world.propose(eid, enable()).await;
    let package = world.package(eid, &peer).await;
    let result = euicc.execute(&package, enabled());
    world.provide(eid, result, &peer).await;
    assert!(world.eim.profiles(eid).unwrap().is_empty());

    // Power fails while it lists; the eIM asks again.
    let package = world.package(eid, &peer).await;
    assert!(is_list(&package), "{package:?}");
    let result = euicc.execute(&package, interrupted());
    world.provide(eid, result, &peer).await;
    let package = world.package(eid, &peer).await;
    assert!(is_list(&package), "{package:?}");
    let result = euicc.execute(&package, listed());
    world.provide(eid, result, &peer).await;
    let profiles = world.eim.profiles(eid).unwrap();
    assert_eq!((profiles.len(), profiles[0].enabled), (1, true));
    assert!(is_nothing(&world.poll(eid, &peer).await));

    // What is known is not listed again.
    world.propose(eid, enable()).await;
    let package = world.package(eid, &peer).await;
    let result = euicc.execute(&package, enabled());
    world.provide(eid, result, &peer).await;
    assert!(is_nothing(&world.poll(eid, &peer).await));
}

#[tokio::test]
async fn an_interrupted_enabling_is_looked_into_and_not_for_ever() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let eid = euicc.eid;
    let operation = world.propose(eid, enable()).await;
    let mut lists = 0;
    while let GetEimPackageResponse::EuiccPackageRequest(package) = world.poll(eid, &peer).await {
        lists += usize::from(is_list(&package));
        assert!(lists < 10, "it asks without end");
        let result = euicc.execute(&package, interrupted());
        world.provide(eid, result, &peer).await;
    }
    assert_eq!(lists, 3);
    let operation = world.eim.operation(operation.id).unwrap();
    assert_eq!(operation.state, OperationState::Failed);
}

fn is_list(package: &EuiccPackageRequest) -> bool {
    match &package.euicc_package_signed.euicc_package {
        EuiccPackage::PsmoList(commands) => matches!(commands[..], [Psmo::ListProfileInfo(_)]),
        _ => false,
    }
}

fn interrupted() -> Vec<EuiccResultData> {
    vec![EuiccResultData::ProcessingTerminated(
        ProcessingTerminated::Interruption,
    )]
}

fn listed() -> Vec<EuiccResultData> {
    let octets = "E3105A0A980010325476981032149F700101";
    let profile = ProfileInfo::from_der(&hex::decode(octets).unwrap()).unwrap();
    assert_eq!(profile.iccid, Some(iccid()));
    vec![EuiccResultData::ListProfileInfoResult(
        ProfileInfoListResponse::ProfileInfoListOk(vec![profile]),
    )]
}

#[tokio::test]
async fn a_package_can_be_injected_and_its_result_is_acknowledged_the_same_way() {
    use rsp::sgp32::{EimPackageResult, TransferEimPackageRequest, TransferEimPackageResponse};
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    assert!(
        world
            .eim
            .package_to_inject(euicc.eid, &peer)
            .await
            .unwrap()
            .is_none()
    );
    let operation = world.propose(euicc.eid, enable()).await;
    let injected = world.eim.package_to_inject(euicc.eid, &peer).await.unwrap();
    let Some(TransferEimPackageRequest::EuiccPackageRequest(package)) = injected else {
        panic!("no package to inject")
    };
    let EimPackageResult::EuiccPackageResult(result) = euicc.execute(&package, enabled()) else {
        unreachable!()
    };
    let response = TransferEimPackageResponse::EuiccPackageResult(result);
    let answer = world
        .eim
        .take_injected(euicc.eid, response, &peer)
        .await
        .unwrap();
    let Some(TransferEimPackageRequest::EimAcknowledgements(numbers)) = answer else {
        panic!("nothing acknowledged")
    };
    assert_eq!(numbers.len(), 1);
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::Done
    );
}

#[tokio::test]
async fn an_operation_is_delivered_to_a_device_taken_for_idle_though_nobody_waits_for_it() {
    use std::future::Future;
    use std::task::{Context, Waker};
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    world.intend(vec![euicc.eid], enable(), None);
    {
        let mut following = Box::pin(world.eim.follow());
        // Handed to the writer; then nobody waits for it any more.
        let _ = following
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
    }
    // The next verb is answered after the one before it.
    world.eim.flush_contacts().await.unwrap();
    let begun = std::time::Instant::now();
    while world.eim.operations(euicc.eid, None, 1).unwrap().is_empty() {
        assert!(begun.elapsed().as_secs() < 30, "the operation was lost");
        tokio::task::yield_now().await;
    }
    while is_nothing(&world.poll(euicc.eid, &peer).await) {
        assert!(
            begun.elapsed().as_secs() < 30,
            "the device is taken for idle for ever"
        );
        tokio::task::yield_now().await;
    }
}
