//! How a device becomes known: certificates, token, retirement.

use std::sync::atomic::Ordering;

use eim::{Association, DeviceData, DeviceError, DeviceState, OperationState};
use intent::api::{Refusal, RefusalCode};
use intent::command::Command;
use rsp::sgp32::{
    EimPackageError, EimPackageResult, EuiccPackageErrorUnsigned, EuiccPackageResult,
    EuiccResultData, GetEimPackageResponse, ListEimResult,
};

use crate::world::{
    EID, World, acknowledged, expect_data_request, is_nothing, is_refused, other_eid,
};

fn no_eims() -> Vec<EuiccResultData> {
    vec![EuiccResultData::ListEimResult(ListEimResult::EimIdList(
        Vec::new(),
    ))]
}

#[tokio::test]
async fn a_new_device_is_asked_for_its_certificates_before_anything_else() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.device(EID.parse().unwrap()).await;
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    assert!(request.tag_list.windows(2).any(|tags| tags == [0xA5, 0xA6]));
    assert!(
        is_nothing(&world.poll(euicc.eid, &peer).await),
        "asked once on a connection, not for ever"
    );
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    world.package(euicc.eid, &peer).await;
}

#[tokio::test]
async fn certificates_of_another_euicc_are_not_taken() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.device(EID.parse().unwrap()).await;
    let impostor = world.euicc(other_eid());
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    let answer = world
        .provide(euicc.eid, impostor.introduce(&request), &peer)
        .await;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(world.eim.device(euicc.eid).unwrap().euicc_certificate, None);
}

#[tokio::test]
async fn a_token_is_learnt_from_the_device_until_a_signature_has_proved_one() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.euicc(EID.parse().unwrap());
    world.register(euicc.eid).await;
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    let mut introduction = euicc.introduce(&request);
    if let EimPackageResult::IpaEuiccDataResponse(rsp::sgp32::IpaEuiccDataResponse::IpaEuiccData(
        data,
    )) = &mut introduction
    {
        data.association_token = None;
    }
    world.provide(euicc.eid, introduction, &peer).await;
    world.propose(euicc.eid, vec![Command::ListEims]).await;

    // Signed without the token, the package does not verify; the eUICC says which token it keeps.
    // What is tried is a harmless list; the operator's package waits for a token that is proved.
    euicc.token = Some(7);
    let proof = world.package(euicc.eid, &peer).await;
    assert!(is_list_of_profiles(&proof));
    let says_seven = unsigned_error(&proof, Some(7));
    world.provide(euicc.eid, says_seven, &peer).await;
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association_token,
        Some(7)
    );
    let proof = world.package(euicc.eid, &peer).await;
    assert!(is_list_of_profiles(&proof));
    assert_eq!(
        proof.euicc_package_signed.counter_value, 2,
        "no counter is used twice"
    );

    let result = euicc.execute(&proof, no_profiles());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, result, &peer).await),
        [1]
    );
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().state,
        DeviceState::Associated
    );
    let package = world.package(euicc.eid, &peer).await;
    assert!(!is_list_of_profiles(&package));
    let result = euicc.execute(&package, no_eims());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, result, &peer).await),
        [2]
    );

    // From now on nobody can talk the eIM into another token.
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    let package = world.package(euicc.eid, &peer).await;
    world
        .provide(euicc.eid, unsigned_error(&package, Some(8)), &peer)
        .await;
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association_token,
        Some(7)
    );
}

#[tokio::test]
async fn whoever_knows_the_eid_of_a_new_device_can_burn_only_a_few_counters() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.euicc(EID.parse().unwrap());
    world.register(euicc.eid).await;
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    for token in 100..200 {
        let package = world.package(euicc.eid, &peer).await;
        world
            .provide(euicc.eid, unsigned_error(&package, Some(token)), &peer)
            .await;
    }
    assert!(world.eim.device(euicc.eid).unwrap().counter < 10);
}

#[tokio::test]
async fn a_stranger_who_names_a_false_token_causes_nothing_to_be_executed_twice() {
    let world = World::new();
    let (peer, stranger) = (world.connect(), world.connect());
    let mut euicc = world.euicc(EID.parse().unwrap());
    world.register(euicc.eid).await;
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    world.clock.advance_ms(60_000);
    let operation = world.propose(euicc.eid, vec![Command::ListEims]).await;

    // The device executes the proof, and the stranger claims that its eUICC refused it.
    let proof = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&proof, no_profiles());
    world.package(euicc.eid, &stranger).await;
    world
        .provide(euicc.eid, unsigned_error(&proof, Some(666)), &stranger)
        .await;
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association_token,
        Some(666)
    );

    // Its late result still counts, and proves the token under it.
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, result, &peer).await),
        [1]
    );
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association_token,
        Some(1)
    );
    let package = world.package(euicc.eid, &peer).await;
    assert!(!is_list_of_profiles(&package));
    for _ in 0..3 {
        world
            .provide(euicc.eid, unsigned_error(&package, Some(667)), &stranger)
            .await;
    }
    assert_eq!(
        world.package(euicc.eid, &peer).await,
        package,
        "signed once, whatever is claimed"
    );
    let result = euicc.execute(&package, no_eims());
    assert_eq!(
        acknowledged(&world.provide(euicc.eid, result, &peer).await),
        [2]
    );
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        eim::OperationState::Done
    );
}

#[tokio::test]
async fn a_token_given_at_registration_is_never_learnt_from_the_device() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    let package = world.package(euicc.eid, &peer).await;
    world
        .provide(euicc.eid, unsigned_error(&package, Some(99)), &peer)
        .await;
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association_token,
        Some(1)
    );
}

#[tokio::test]
async fn a_retired_device_gets_nothing_and_nothing_can_be_asked_of_it() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let waiting = world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.authority.inner.retire(&[euicc.eid]).unwrap();
    world.eim.follow().await.unwrap();
    let response = world.poll(euicc.eid, &peer).await;
    assert_eq!(
        response,
        GetEimPackageResponse::EimPackageError(EimPackageError::EidNotFound)
    );
    assert_eq!(
        world.eim.operation(waiting.id).unwrap().state,
        OperationState::Cancelled
    );
    let id = world.intend(vec![euicc.eid], vec![Command::ListEims], None);
    world.eim.follow().await.unwrap();
    assert!(world.eim.operations_of(id, None, 1).unwrap().is_empty());
    let data = DeviceData::new(euicc.eid);
    let refused = world.eim.enrich_device(&world.operator, data).await;
    assert!(matches!(refused, Err(DeviceError::Retired(_))));

    // Whoever registers it again finds it as it was.
    world.register(euicc.eid).await;
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    let operation = world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.package(euicc.eid, &peer).await;
    assert_eq!(
        world.eim.operation(operation.id).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn a_device_is_registered_by_the_authority_only() {
    let world = World::new();
    let data = DeviceData::new(EID.parse().unwrap());
    let refused = world.eim.enrich_device(&world.operator, data).await;
    assert!(matches!(refused, Err(DeviceError::Unknown(_))));
    let euicc = world.device(EID.parse().unwrap()).await;
    let before = world.eim.device(euicc.eid).unwrap();
    world.register(euicc.eid).await;
    assert_eq!(world.eim.device(euicc.eid).unwrap(), before, "once");
    assert_eq!(before.fleet, "meters");
}

#[tokio::test]
async fn the_authority_is_told_of_the_euicc_and_of_the_token_that_proved_right() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.euicc(EID.parse().unwrap());
    world.register(euicc.eid).await;
    let association = || world.eim.device(euicc.eid).unwrap().association;
    assert_eq!(association(), Association::Unknown);
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);

    // It does not answer when the device introduces itself, and is told when it does.
    world.authority.is_away.store(true, Ordering::SeqCst);
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    assert_eq!(association(), Association::Due);
    assert!(world.eim.associate_devices().await.is_err());
    world.authority.is_away.store(false, Ordering::SeqCst);
    assert_eq!(world.eim.associate_devices().await.unwrap(), 1);
    assert_eq!(association(), Association::Accepted);
    assert_eq!(world.eim.associate_devices().await.unwrap(), 0, "once");

    // Somebody names a false token; what the eUICC signed before says otherwise.
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.clock.advance_ms(60_000);
    let proof = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&proof, no_profiles());
    world
        .provide(euicc.eid, unsigned_error(&proof, Some(666)), &peer)
        .await;
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association,
        Association::Due
    );
    world.eim.associate_devices().await.unwrap();
    world.provide(euicc.eid, result, &peer).await;
    let device = world.eim.device(euicc.eid).unwrap();
    assert_eq!(device.association_token, Some(1));
    assert_eq!(device.association, Association::Due);
    let package = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&package, no_eims());
    assert!(!acknowledged(&world.provide(euicc.eid, result, &peer).await).is_empty());
}

#[tokio::test]
async fn an_euicc_that_the_authority_refuses_gets_nothing_and_the_reason_is_shown() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.device(EID.parse().unwrap()).await;
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    let refusal = Refusal::new(RefusalCode::EuiccRefused, "the chain ends nowhere");
    world.authority.refuse(Some(refusal));
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    let device = world.eim.device(euicc.eid).unwrap();
    assert_eq!(device.association, Association::Refused);
    assert_eq!(
        device.association_refusal.as_deref(),
        Some("the chain ends nowhere")
    );
    world.authority.refuse(None);
    let operation = world.propose(euicc.eid, vec![Command::ListEims]).await;
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    let held = world.eim.operation(operation.id).unwrap().held.unwrap();
    assert_eq!(held.code, "not-associated");
    assert!(held.message.contains("the chain ends nowhere"));
    // It may come to trust the CI.
    world.clock.advance_ms(3_600_000);
    assert_eq!(world.eim.associate_devices().await.unwrap(), 1);
    assert_eq!(
        world.eim.device(euicc.eid).unwrap().association,
        Association::Accepted
    );
    world.package(euicc.eid, &peer).await;
    let events = world.eim.events(euicc.eid, None, 100).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.kind == "association-refused")
    );
}

#[tokio::test]
async fn a_device_that_may_be_associated_anew_is_asked_again() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let under_way = world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.package(euicc.eid, &peer).await;
    world.authority.inner.reassociate(&[euicc.eid]).unwrap();
    world.eim.follow().await.unwrap();
    assert_eq!(
        world.eim.operation(under_way.id).unwrap().state,
        OperationState::Failed
    );

    // After a memory reset it keeps another token.
    euicc.token = Some(9);
    let peer = world.connect();
    let request = expect_data_request(world.poll(euicc.eid, &peer).await);
    world
        .provide(euicc.eid, euicc.introduce(&request), &peer)
        .await;
    world.propose(euicc.eid, vec![Command::ListEims]).await;
    let proof = world.package(euicc.eid, &peer).await;
    assert!(is_list_of_profiles(&proof));
    let result = euicc.execute(&proof, no_profiles());
    world.provide(euicc.eid, result, &peer).await;
    let package = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&package, no_eims());
    assert!(!acknowledged(&world.provide(euicc.eid, result, &peer).await).is_empty());
}

fn no_profiles() -> Vec<EuiccResultData> {
    let none = rsp::sgp22::ProfileInfoListResponse::ProfileInfoListOk(Vec::new());
    vec![EuiccResultData::ListProfileInfoResult(none)]
}

fn is_list_of_profiles(package: &rsp::sgp32::EuiccPackageRequest) -> bool {
    use rsp::sgp32::{EuiccPackage, Psmo};
    matches!(
        &package.euicc_package_signed.euicc_package,
        EuiccPackage::PsmoList(psmos) if matches!(psmos.as_slice(), [Psmo::ListProfileInfo(_)])
    )
}

fn unsigned_error(
    package: &rsp::sgp32::EuiccPackageRequest,
    token: Option<i64>,
) -> EimPackageResult {
    EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageErrorUnsigned(
        EuiccPackageErrorUnsigned {
            eim_id: package.euicc_package_signed.eim_id.clone(),
            eim_transaction_id: package.euicc_package_signed.eim_transaction_id.clone(),
            association_token: token,
            euicc_package_unsigned_error_code: None,
            extensions: Default::default(),
        },
    ))
}

#[tokio::test]
async fn a_ci_that_is_no_longer_trusted_makes_its_euiccs_unbelievable_at_once() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    for is_trusted in [true, false] {
        if !is_trusted {
            world.eim.replace_trust(pki::TrustAnchors::new());
        }
        world.propose(euicc.eid, vec![Command::ListEims]).await;
        let package = world.package(euicc.eid, &peer).await;
        let result = euicc.execute(&package, no_eims());
        let answer = world.provide(euicc.eid, result, &peer).await;
        assert_eq!(is_refused(&answer), !is_trusted, "{answer:?}");
    }
}
