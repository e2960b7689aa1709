//! The eIM and the authority: what the eIM does when it is refused, held up or alone, and what it tells.

use std::sync::atomic::Ordering;

use eim::{OpeningsError, Operation, OperationState};
use intent::api::{Refusal, RefusalCode};
use intent::command::{Command, DataItem, DownloadSource, Route};
use intent::{Intent, IntentId, Opening, Sealed};
use rsp::der::Element;
use rsp::ids::Iccid;
use rsp::sgp22::ProfileInfoListResponse;
use rsp::sgp32::{
    EimPackageResult, EnableProfileResult, EuiccPackageResult, EuiccResultData,
    GetEimPackageResponse, ProfileDownloadData,
};

use crate::world::{EID, PaperEuicc, World, is_nothing, is_refused, olga, other_eid};

fn enable() -> Vec<Command> {
    let iccid: Iccid = "89000123456789012341".parse().unwrap();
    vec![Command::Enable {
        iccid,
        rollback: false,
    }]
}

fn enabled() -> Vec<EuiccResultData> {
    vec![EuiccResultData::EnableResult(EnableProfileResult::Ok)]
}

fn no_profiles() -> Vec<EuiccResultData> {
    let none = ProfileInfoListResponse::ProfileInfoListOk(Vec::new());
    vec![EuiccResultData::ListProfileInfoResult(none)]
}

fn shown(world: &World, operation: &Operation) -> Operation {
    world.eim.operation(operation.id).unwrap()
}

fn asked(world: &World) -> u64 {
    world.authority.asked.load(Ordering::SeqCst)
}

fn kinds(world: &World, euicc: &PaperEuicc) -> Vec<String> {
    let events = world.eim.events(euicc.eid, None, 1000).unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn what_is_refused_for_the_time_being_is_held_and_asked_for_again_later() {
    for code in [
        RefusalCode::NotApproved,
        RefusalCode::Frozen,
        RefusalCode::OutsideWindow,
        RefusalCode::QuotaExceeded,
        RefusalCode::Unavailable,
    ] {
        let world = World::new();
        let peer = world.connect();
        let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
        let operation = world.propose(euicc.eid, enable()).await;
        world
            .authority
            .refuse(Some(Refusal::new(code, "not at the moment")));
        let before = asked(&world);
        for _ in 0..5 {
            assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
        }
        assert_eq!(asked(&world), before + 1, "{code:?}: it is not hammered");
        let held = shown(&world, &operation);
        assert_eq!(held.state, OperationState::Queued);
        assert_eq!(held.held.as_ref().unwrap().message, "not at the moment");
        let json = serde_json::to_value(&held).unwrap();
        assert_eq!(json["held"]["code"], serde_json::to_value(code).unwrap());
        world.clock.advance_ms(60_000);
        assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
        assert_eq!(asked(&world), before + 2);
        let told = kinds(&world, &euicc);
        let told = told.iter().filter(|kind| *kind == "operation-held");
        assert_eq!(told.count(), 1, "the same reason is recorded once");

        world.authority.refuse(None);
        world.clock.advance_ms(60_000);
        world.package(euicc.eid, &peer).await;
        assert_eq!(shown(&world, &operation).held, None);
    }
}

#[tokio::test]
async fn profiles_are_listed_when_policy_does_not_know_them() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    world.authority.wants_list.store(true, Ordering::SeqCst);
    let list = world.package(euicc.eid, &peer).await;
    assert_eq!(shown(&world, &operation).state, OperationState::Queued);
    assert_ne!(
        shown(&world, &operation).eim_transaction_id,
        list.euicc_package_signed.eim_transaction_id,
        "it is a package of the eIM's own"
    );
    let answer = euicc.execute(&list, no_profiles());
    assert!(!is_refused(&world.provide(euicc.eid, answer, &peer).await));
    // At the next poll the list is reported first, and the operation is signed, without a pause.
    let package = world.package(euicc.eid, &peer).await;
    assert_eq!(
        shown(&world, &operation).eim_transaction_id,
        package.euicc_package_signed.eim_transaction_id
    );
    let answer = euicc.execute(&package, enabled());
    assert!(!is_refused(&world.provide(euicc.eid, answer, &peer).await));
    assert_eq!(shown(&world, &operation).state, OperationState::Done);
}

#[tokio::test]
async fn a_profile_that_is_never_listed_does_not_stand_in_the_way() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    world
        .authority
        .wants_lists_for_ever
        .store(true, Ordering::SeqCst);
    let mut lists = 0;
    while let GetEimPackageResponse::EuiccPackageRequest(list) = world.poll(euicc.eid, &peer).await
    {
        let answer = euicc.execute(&list, no_profiles());
        assert!(!is_refused(&world.provide(euicc.eid, answer, &peer).await));
        lists += 1;
        assert!(lists < 10, "it goes on for ever");
    }
    assert_eq!(lists, 3);
    let ended = shown(&world, &operation);
    assert_eq!(ended.state, OperationState::Failed);
    let summary = ended.outcome.unwrap().summary;
    assert!(summary.contains("not among them"), "{summary}");
}

#[tokio::test]
async fn the_authority_says_when_to_ask_again() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let retry_at = operation.created_at + 300_000;
    let refusal = Refusal::new(RefusalCode::QuotaExceeded, "enough for this hour");
    world.authority.refuse(Some(refusal.until(retry_at)));
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    assert_eq!(shown(&world, &operation).held.unwrap().retry_at, retry_at);
    world.authority.refuse(None);
    world.clock.advance_ms(200_000);
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    world.clock.advance_ms(100_000);
    world.package(euicc.eid, &peer).await;
}

#[tokio::test]
async fn what_is_held_does_not_stand_in_the_way() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let first = world.propose(euicc.eid, enable()).await;
    world
        .authority
        .refuse(Some(Refusal::new(RefusalCode::Frozen, "frozen")));
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    world.authority.refuse(None);
    let second = world.propose(euicc.eid, vec![Command::ListEims]).await;
    world.package(euicc.eid, &peer).await;
    assert_eq!(shown(&world, &first).state, OperationState::Queued);
    assert_eq!(shown(&world, &second).state, OperationState::InFlight);
}

#[tokio::test]
async fn what_is_refused_for_good_ends_with_the_reason() {
    for (code, state) in [
        (RefusalCode::PolicyRefused, OperationState::Failed),
        (RefusalCode::WrongState, OperationState::Failed),
        (RefusalCode::Unknown, OperationState::Failed),
        (RefusalCode::Expired, OperationState::Expired),
    ] {
        let world = World::new();
        let peer = world.connect();
        let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
        let operation = world.propose(euicc.eid, enable()).await;
        world.authority.refuse(Some(Refusal::new(code, "never")));
        assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
        let ended = shown(&world, &operation);
        assert_eq!(ended.state, state, "{code:?}");
        assert_eq!(
            ended.outcome.unwrap().summary,
            "refused by the authority: never"
        );
    }
}

#[tokio::test]
async fn without_the_authority_operations_wait_and_nothing_is_lost() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    world.authority.is_away.store(true, Ordering::SeqCst);
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    assert!(world.eim.follow().await.is_err());
    let waiting = shown(&world, &operation);
    assert_eq!(
        (waiting.state, waiting.held),
        (OperationState::Queued, None)
    );
    world.authority.is_away.store(false, Ordering::SeqCst);
    let package = world.package(euicc.eid, &peer).await;

    // What is in flight is delivered and answered without it.
    world.authority.is_away.store(true, Ordering::SeqCst);
    assert_eq!(world.package(euicc.eid, &peer).await, package);
    let result = euicc.execute(&package, enabled());
    world.provide(euicc.eid, result, &peer).await;
    assert!(world.eim.report_results().await.is_err());
    let done = shown(&world, &operation);
    assert_eq!((done.state, done.recorded_at), (OperationState::Done, None));
    world.authority.is_away.store(false, Ordering::SeqCst);
    assert_eq!(world.eim.report_results().await.unwrap(), 1);
    assert!(shown(&world, &operation).recorded_at.is_some());
}

#[tokio::test]
async fn each_verified_result_is_reported_once_and_nothing_else() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let mut forged = euicc.execute(&package, enabled());
    if let EimPackageResult::EuiccPackageResult(EuiccPackageResult::EuiccPackageResultSigned(
        signed,
    )) = &mut forged
    {
        signed.euicc_sign_epr.0.0[10] ^= 1;
    }
    assert!(is_refused(&world.provide(euicc.eid, forged, &peer).await));
    assert_eq!(world.eim.report_results().await.unwrap(), 0);
    let result = euicc.execute(&package, enabled());
    for _ in 0..2 {
        world.provide(euicc.eid, result.clone(), &peer).await;
    }
    let waiting = tokio::time::timeout(
        std::time::Duration::from_secs(30),
        world.eim.results_waiting(),
    );
    waiting.await.unwrap();
    assert_eq!(world.eim.report_results().await.unwrap(), 1);
    assert_eq!(world.eim.report_results().await.unwrap(), 0);
    let reported = world.authority.inner.results();
    let EimPackageResult::EuiccPackageResult(result) = result else {
        unreachable!()
    };
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].eid, euicc.eid);
    assert_eq!(reported[0].result, result.to_der());
}

#[tokio::test]
async fn a_result_that_the_authority_refuses_is_kept_and_said() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&package, enabled());
    world.provide(euicc.eid, result, &peer).await;
    let busy = Refusal::new(RefusalCode::Unavailable, "busy");
    world.authority.refuse(Some(busy));
    assert_eq!(world.eim.report_results().await.unwrap(), 1);
    assert_eq!(world.eim.report_results().await.unwrap(), 0, "not at once");
    let refusal = Refusal::new(RefusalCode::EuiccRefused, "not its signature");
    world.authority.refuse(Some(refusal));
    world.clock.advance_ms(5_000);
    assert_eq!(world.eim.report_results().await.unwrap(), 1);
    world.authority.refuse(None);
    world.clock.advance_ms(86_400_000);
    assert_eq!(world.eim.report_results().await.unwrap(), 0, "not again");
    assert_eq!(shown(&world, &operation).recorded_at, None);
    assert!(kinds(&world, &euicc).contains(&"result-refused".to_owned()));
}

#[tokio::test]
async fn an_intent_becomes_one_operation_on_each_device_and_is_shown_with_it() {
    let world = World::new();
    let devices = [EID.parse().unwrap(), other_eid()];
    for eid in devices {
        world.device(eid).await;
    }
    let id = world.intend(devices.to_vec(), enable(), Some(60_000));
    // Whoever follows at the same time makes no second row.
    let (one, other) = tokio::join!(world.eim.follow(), world.eim.follow());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    let operations = world.eim.operations_of(id, None, 10).unwrap();
    assert_eq!(operations.len(), 2);
    for operation in &operations {
        assert!(devices.contains(&operation.eid));
        assert_eq!(operation.actor, "principal:olga");
        let json = serde_json::to_value(operation).unwrap();
        assert_eq!(json["intent"], id.to_string());
    }
    let rest = world.eim.operations_of(id, Some(operations[0].id), 10);
    assert_eq!(rest.unwrap().len(), 1);
}

#[tokio::test]
async fn a_campaign_is_queued_and_withdrawn_in_pages() {
    let world = World::new();
    let eids: Vec<_> = (0..1_200)
        .map(|n| rsp::ids::Eid::with_check_digits(&format!("8904903200000000000000{n:08}")))
        .collect::<Result<_, _>>()
        .unwrap();
    world
        .authority
        .inner
        .register("meters", eids.clone())
        .unwrap();
    let id = world.intend(eids.clone(), enable(), None);
    world.eim.follow().await.unwrap();
    assert_eq!(world.eim.device_count().unwrap(), 1_200);
    let operations = world.eim.operations_of(id, None, 2_000).unwrap();
    assert_eq!(operations.len(), 1_200);
    world.authority.inner.cancel(id, &olga());
    world.eim.follow().await.unwrap();
    let operations = world.eim.operations_of(id, None, 2_000).unwrap();
    assert!(
        operations
            .iter()
            .all(|operation| operation.state == OperationState::Cancelled)
    );
}

/// A download whose secrets are sealed, with what opens them.
fn sealed_download() -> (Vec<Command>, Vec<Opening>) {
    let mut command = Command::Download {
        source: DownloadSource::activation_code("1$smdp.example.com$TOP-SECRET").unwrap(),
        route: Route::Direct,
        confirmation_code: Some(Sealed::Open("4321".to_owned())),
    };
    let (mut openings, mut salt) = (Vec::new(), 0);
    command.seal(
        &mut || {
            salt += 1;
            [salt; 16]
        },
        &mut openings,
    );
    (vec![command], openings)
}

/// Proves presence and fetches what waits behind it.
async fn proven_poll(
    world: &World,
    euicc: &mut PaperEuicc,
    peer: &eim::Peer,
) -> GetEimPackageResponse {
    let proof = world.package(euicc.eid, peer).await;
    let result = euicc.execute(&proof, no_profiles());
    world.provide(euicc.eid, result, peer).await;
    world.poll(euicc.eid, peer).await
}

fn intent_about(commands: &[Command]) -> Intent {
    Intent {
        v: 1,
        installation: "test".to_owned(),
        nonce: [0; 16],
        created_at: 1_780_272_000_000,
        expires_at: 1_780_272_000_000 + 86_400_000,
        action: intent::Action::Operate {
            devices: intent::DeviceSet::one(EID.parse().unwrap()),
            commands: commands.to_vec(),
        },
        note: None,
    }
}

#[tokio::test]
async fn secrets_are_opened_for_the_proven_device_only_and_shown_to_nobody() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let (commands, openings) = sealed_download();
    let id = world.intend(vec![euicc.eid], commands.clone(), None);
    let intent = intent_about(&commands);
    let kept = world.eim.keep_openings(id, &intent, openings).await;
    kept.unwrap();
    world.eim.follow().await.unwrap();
    let operation = world.operation_of(id);
    assert_eq!(operation.state, OperationState::Queued);
    let answer = proven_poll(&world, &mut euicc, &peer).await;
    let GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger) = answer else {
        panic!("no trigger: {answer:?}")
    };
    assert_eq!(
        trigger.profile_download_data,
        Some(ProfileDownloadData::ActivationCode(
            "1$smdp.example.com$TOP-SECRET".to_owned()
        ))
    );
    let all = format!(
        "{} {}",
        serde_json::to_string(&world.eim.operations(euicc.eid, None, 10).unwrap()).unwrap(),
        serde_json::to_string(&world.eim.events(euicc.eid, None, 100).unwrap()).unwrap()
    );
    assert!(
        !all.contains("TOP-SECRET") && !all.contains("4321"),
        "{all}"
    );
}

#[tokio::test]
async fn an_operation_whose_secrets_did_not_come_fails_and_says_so() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let (commands, openings) = sealed_download();
    let intent = intent_about(&commands);
    let nobody = IntentId::of(b"nobody proposed this");
    let keep = |openings| world.eim.keep_openings(nobody, &intent, openings);
    assert!(matches!(
        keep(openings[..1].to_vec()).await,
        Err(OpeningsError::Missing)
    ));
    let mut more = openings.clone();
    more[1] = Opening {
        salt: [9; 16],
        secret: "0".to_owned(),
    };
    assert!(keep(more).await.is_err());
    let mut three = openings.clone();
    three.push(three[0].clone());
    assert!(matches!(keep(three).await, Err(OpeningsError::Unneeded)));
    keep(openings).await.unwrap();

    let operation = world.propose(euicc.eid, commands).await;
    assert_eq!(operation.state, OperationState::Failed);
    let summary = operation.outcome.unwrap().summary;
    assert!(summary.contains("propose it again"), "{summary}");
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
}

#[tokio::test]
async fn secrets_are_forgotten_when_the_intent_has_ended() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let (commands, openings) = sealed_download();
    let id = world.intend(vec![euicc.eid], commands.clone(), None);
    let intent = intent_about(&commands);
    let kept = world.eim.keep_openings(id, &intent, openings).await;
    kept.unwrap();
    world.eim.follow().await.unwrap();
    proven_poll(&world, &mut euicc, &peer).await;
    // While it is under way they stay, whatever is withdrawn.
    world.authority.inner.cancel(id, &olga());
    world.clock.advance_ms(120_000);
    world.eim.follow().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let holds_secret = |name: &str| {
        let copy = folder.path().join(name);
        world.eim.backup_to(&copy).unwrap();
        let octets = std::fs::read(copy).unwrap();
        octets.windows(10).any(|part| part == b"TOP-SECRET")
    };
    assert!(holds_secret("under-way"));
    world.clock.advance_ms(32 * 86_400_000);
    world.poll(euicc.eid, &world.connect()).await;
    world.eim.follow().await.unwrap();
    assert!(!holds_secret("ended"));
}

#[tokio::test]
async fn unsigned_packages_of_intents_leave_only_when_released() {
    let world = World::new();
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let read = vec![Command::ReadDeviceData {
        items: vec![DataItem::DefaultSmdpAddress],
    }];
    let operation = world.propose(euicc.eid, read).await;
    let proof = world.package(euicc.eid, &peer).await;
    let result = euicc.execute(&proof, no_profiles());
    world.provide(euicc.eid, result, &peer).await;
    world
        .authority
        .refuse(Some(Refusal::new(RefusalCode::Frozen, "frozen")));
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    assert_eq!(shown(&world, &operation).held.unwrap().code, "frozen");
    world.authority.refuse(None);
    world.clock.advance_ms(60_000);
    assert!(matches!(
        world.poll(euicc.eid, &peer).await,
        GetEimPackageResponse::IpaEuiccDataRequest(_)
    ));
}

#[tokio::test]
async fn strangers_who_poll_at_once_use_up_one_counter() {
    let world = std::sync::Arc::new(World::new());
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let (commands, openings) = sealed_download();
    let intent = intent_about(&commands);
    let id = world.intend(vec![euicc.eid], commands, None);
    let kept = world.eim.keep_openings(id, &intent, openings).await;
    kept.unwrap();
    world.eim.follow().await.unwrap();
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
    assert_eq!(packages.len(), 1);
    assert_eq!(world.eim.device(euicc.eid).unwrap().counter, 1);
}

#[tokio::test]
async fn a_package_for_another_device_never_leaves() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let other = world.introduced(other_eid(), &world.connect()).await;
    let operation = world.propose(euicc.eid, enable()).await;
    *world.authority.signs_for.lock().unwrap() = Some(other.eid);
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    let held = shown(&world, &operation);
    assert_eq!((held.state, held.request), (OperationState::Queued, None));
    assert!(held.held.unwrap().message.contains("something else"));
}

#[tokio::test]
async fn an_eim_that_is_started_again_takes_nothing_twice_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eim.sqlite");
    let mut world = World::at(&path);
    let peer = world.connect();
    let mut euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let id = world.intend(vec![euicc.eid], enable(), None);
    world.restart(&path);
    assert_eq!(world.eim.follow().await.unwrap(), 1, "what came meanwhile");
    world.restart(&path);
    assert_eq!(world.eim.follow().await.unwrap(), 0, "and nothing before");
    let operation = world.operation_of(id);

    // Signed, but the eIM ended before it could record that: the same package is given again.
    let reference = intent::api::Reference {
        account: intent::api::Account::Intent(id),
        eid: euicc.eid,
    };
    let references = [reference];
    let lost = eim::authority::Authority::sign(&*world.authority, &references);
    let lost = lost.await.unwrap().remove(0).unwrap();
    let package = world.package(euicc.eid, &peer).await;
    assert_eq!(package.to_der(), lost.package);
    world.restart(&path);
    assert_eq!(world.package(euicc.eid, &peer).await, package);

    let result = euicc.execute(&package, enabled());
    world.provide(euicc.eid, result, &peer).await;
    world.restart(&path);
    assert_eq!(world.eim.report_results().await.unwrap(), 1);
    assert!(shown(&world, &operation).recorded_at.is_some());
    world.restart(&path);
    assert_eq!(world.eim.report_results().await.unwrap(), 0);
}

#[tokio::test]
async fn a_feed_that_was_rolled_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eim.sqlite");
    let mut world = World::at(&path);
    world.device(EID.parse().unwrap()).await;
    world.device(other_eid()).await;
    world.authority = World::new().authority;
    world.restart(&path);
    let error = world.eim.follow().await.unwrap_err();
    assert!(
        matches!(error, eim::FollowError::WentBack { cursor: 2, next: 0 }),
        "{error}"
    );
    assert_eq!(world.eim.device_count().unwrap(), 2);
}

#[tokio::test]
async fn what_expired_before_the_feed_was_followed_ends_on_record() {
    let world = World::new();
    let devices = [EID.parse().unwrap(), other_eid()];
    let peer = world.connect();
    let euicc = world.introduced(devices[0], &peer).await;
    world.device(devices[1]).await;
    let id = world.intend(devices.to_vec(), enable(), Some(60_000));
    world.clock.advance_ms(60_000);
    for _ in 0..2 {
        world.eim.follow().await.unwrap();
        let operations = world.eim.operations_of(id, None, 10).unwrap();
        assert_eq!(operations.len(), 2);
        for operation in operations {
            assert_eq!(operation.state, OperationState::Expired);
            assert!(operation.finished_at.is_some());
            let summary = operation.outcome.unwrap().summary;
            assert!(
                summary.contains("before this eIM learned of it"),
                "{summary}"
            );
        }
    }
    let told = kinds(&world, &euicc);
    let ended = told.iter().filter(|kind| *kind == "operation-ended");
    assert_eq!(ended.count(), 1);
    assert!(is_nothing(&world.poll(devices[0], &peer).await));
}

#[tokio::test]
async fn a_thaw_is_noticed_before_the_pause_is_over() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let refused = |code| Some(Refusal::new(code, "not now"));
    world.authority.refuse(refused(RefusalCode::Frozen));
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    world.authority.refuse(None);
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await), "a pause");
    world.authority.inner.thaw(&olga());
    world.eim.follow().await.unwrap();
    world.package(euicc.eid, &peer).await;
    assert_eq!(shown(&world, &operation).state, OperationState::InFlight);
}

#[tokio::test]
async fn a_thaw_that_overtakes_the_refusal_is_noticed_too() {
    let world = std::sync::Arc::new(World::new());
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.propose(euicc.eid, enable()).await;
    let refusal = Refusal::new(RefusalCode::Frozen, "not now");
    world.authority.refuse(Some(refusal));
    let pause = std::sync::Arc::new(tokio::sync::Notify::new());
    *world.authority.pause.lock().unwrap() = Some(pause.clone());
    let before = asked(&world);
    let poll = {
        let (world, eid) = (world.clone(), euicc.eid);
        tokio::spawn(async move { is_nothing(&world.poll(eid, &world.connect()).await) })
    };
    while asked(&world) == before {
        tokio::task::yield_now().await;
    }
    // It is refused already, but the answer is still on its way.
    world.authority.inner.thaw(&olga());
    world.authority.refuse(None);
    world.eim.follow().await.unwrap();
    pause.notify_one();
    assert!(poll.await.unwrap());
    world.package(euicc.eid, &peer).await;
}

#[tokio::test]
async fn a_thaw_does_not_hurry_what_waits_for_something_else() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    let operation = world.propose(euicc.eid, enable()).await;
    let refusal = Refusal::new(RefusalCode::QuotaExceeded, "not now");
    world.authority.refuse(Some(refusal));
    assert!(is_nothing(&world.poll(euicc.eid, &peer).await));
    let before = shown(&world, &operation).held.unwrap().retry_at;
    world.authority.inner.thaw(&olga());
    world.eim.follow().await.unwrap();
    assert_eq!(shown(&world, &operation).held.unwrap().retry_at, before);
}

#[tokio::test]
async fn operations_end_in_time_even_if_their_devices_never_poll() {
    let world = World::new();
    let peer = world.connect();
    let euicc = world.introduced(EID.parse().unwrap(), &peer).await;
    world.device(other_eid()).await;
    let delivered = world.propose(euicc.eid, enable()).await;
    let package = world.package(euicc.eid, &peer).await;
    let id = world.intend(vec![other_eid()], enable(), Some(60_000));
    world.eim.follow().await.unwrap();
    let waiting = world.operation_of(id);
    assert_eq!(waiting.state, OperationState::Queued);
    world.clock.advance_ms(32 * 86_400_000);
    world.eim.follow().await.unwrap();
    let ended = shown(&world, &waiting);
    assert_eq!(ended.state, OperationState::Expired);
    assert!(
        ended
            .outcome
            .unwrap()
            .summary
            .contains("before the device polled")
    );
    let late = shown(&world, &delivered);
    assert_eq!(late.state, OperationState::Expired);
    assert!(late.outcome.unwrap().summary.contains("in flight"));
    // What an eUICC did in time and says late still counts.
    let mut euicc = euicc;
    let answer = euicc.execute(&package, enabled());
    assert!(!is_refused(&world.provide(euicc.eid, answer, &peer).await));
    assert_eq!(shown(&world, &delivered).state, OperationState::Done);
    world.eim.follow().await.unwrap();
    assert_eq!(shown(&world, &delivered).state, OperationState::Done);
}
