//! Downloads that end in a result the eUICC signed, direct and relayed.

use eim::OperationState;
use eim::command::{Command, DownloadSource, Route};
use rsp::sgp22::ProfileInfoListResponse;
use rsp::sgp32::{
    EimPackageResult, EuiccResultData, GetEimPackageResponse, ProfileDownloadTriggerRequest,
    ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData,
};

use crate::world::{EID, PaperEuicc, World, acknowledged, is_refused};
use eim::Peer;

const ICCID: &str = "89000123456789012341";

/// A device that got a trigger on a proven connection.
async fn triggered(world: &World) -> (PaperEuicc, Peer, ProfileDownloadTriggerRequest, uuid::Uuid) {
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world
        .propose(
            euicc.eid,
            vec![Command::Download {
                source: DownloadSource::ActivationCode("1$smdp.example.com$AB".to_owned()),
                route: Route::Direct,
                confirmation_code: None,
            }],
        )
        .await;
    let proof = world.package(euicc.eid, &peer).await;
    let list = vec![EuiccResultData::ListProfileInfoResult(
        ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
    )];
    let result = euicc.execute(&proof, list);
    world.provide(euicc.eid, result, &peer).await;
    match world.poll(euicc.eid, &peer).await {
        GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) => {
            (euicc, peer, trigger, operation.id)
        }
        other => panic!("no trigger: {other:?}"),
    }
}

fn report(
    trigger: &ProfileDownloadTriggerRequest,
    installation: rsp::sgp22::ProfileInstallationResult,
) -> EimPackageResult {
    EimPackageResult::ProfileDownloadTriggerResult(ProfileDownloadTriggerResult {
        eim_transaction_id: trigger.eim_transaction_id.clone(),
        profile_download_trigger_result_data:
            ProfileDownloadTriggerResultData::ProfileInstallationResult(installation),
        extensions: Default::default(),
    })
}

#[tokio::test]
async fn a_direct_download_ends_with_the_signed_result_even_on_another_connection() {
    let world = World::new();
    let (mut euicc, _, trigger, operation) = triggered(&world).await;
    let installation = euicc.installation("AA".parse().unwrap(), ICCID);
    let answer = world
        .provide(euicc.eid, report(&trigger, installation), &world.connect())
        .await;
    assert_eq!(acknowledged(&answer), [euicc.seq_number]);
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::Done
    );
    let profiles = world.eim.profiles(euicc.eid).unwrap();
    assert_eq!(profiles.len(), 1);
    assert_eq!(profiles[0].iccid.to_string(), ICCID);
    assert!(!profiles[0].enabled);
    assert_eq!(
        world.eim.forward_notifications().await.unwrap(),
        0,
        "the device tells the SM-DP+ itself"
    );
}

#[tokio::test]
async fn a_forged_installation_result_is_stopped_at_verification() {
    let world = World::new();
    let (mut euicc, peer, trigger, operation) = triggered(&world).await;
    let mut installation = euicc.installation("AA".parse().unwrap(), ICCID);
    installation.euicc_sign_pir.0.0[3] ^= 1;
    let answer = world
        .provide(euicc.eid, report(&trigger, installation), &peer)
        .await;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn the_result_of_an_older_download_does_not_end_this_one() {
    let world = World::new();
    let (mut euicc, peer, trigger, operation) = triggered(&world).await;
    euicc.seq_number = -1;
    let older = euicc.installation("AA".parse().unwrap(), ICCID);
    let answer = world
        .provide(euicc.eid, report(&trigger, older), &peer)
        .await;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(
        world.eim.operation(operation).unwrap().state,
        OperationState::InFlight
    );
}

#[tokio::test]
async fn a_device_that_never_proves_itself_ends_in_an_error_that_says_what_to_do() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world
        .propose(
            euicc.eid,
            vec![Command::Download {
                source: DownloadSource::DefaultSmdp,
                route: Route::Direct,
                confirmation_code: None,
            }],
        )
        .await;
    for _ in 0..5 {
        // Every message comes on a connection of its own.
        let proof = world.package(euicc.eid, &world.connect()).await;
        let list = vec![EuiccResultData::ListProfileInfoResult(
            ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
        )];
        let result = euicc.execute(&proof, list);
        world.provide(euicc.eid, result, &world.connect()).await;
    }
    world.poll(euicc.eid, &world.connect()).await;
    let ended = world.eim.operation(operation.id).unwrap();
    assert_eq!(ended.state, OperationState::Failed);
    assert!(
        ended
            .outcome
            .unwrap()
            .summary
            .contains("insecure_trust_any_connection")
    );
}
