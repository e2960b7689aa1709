//! Rollback, fallback, emergency.

use ipa::{Config, Event, FallbackSettings, RollbackSettings, WakeReason};
use rsp::sgp32::{
    DisableEmergencyProfileResult, EnableEmergencyProfileResult, EnableProfileResult,
    EuiccResultData, IpaEuiccDataErrorCode, IpaEuiccDataRequest, IpaEuiccDataResponse,
    ResetOptions, RollbackProfileResult, StateChangeCause,
};

use super::packages::{enable, list};
use super::support::*;

fn causes(world: &World, eim: &str) -> Vec<StateChangeCause> {
    let mut state = world.net.0.borrow_mut();
    state
        .eim(eim)
        .polls
        .iter()
        .filter_map(|poll| poll.state_change_cause)
        .collect()
}

fn only_outcomes(world: &World) -> Vec<Vec<EuiccResultData>> {
    let outcomes = |answer: &Answer| match answer {
        Answer::Result { outcomes, .. } => Some(outcomes.clone()),
        _ => None,
    };
    world.answers(EIM).iter().filter_map(outcomes).collect()
}

#[test]
fn a_profile_without_connectivity_is_rolled_back_and_only_the_new_result_delivered() {
    let mut world = World::new();
    world.radio.dead_profiles.borrow_mut().insert(iccid(SECOND));
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.queue(EIM, Package::Psmos(vec![list()]));
    world.poll();
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    assert_eq!(
        world.slot.card.borrow().active_profile(),
        Some(iccid(BOOTSTRAP))
    );
    let found = only_outcomes(&world);
    assert!(
        found[0].contains(&EuiccResultData::RollbackResult(RollbackProfileResult::Ok)),
        "{found:?}"
    );
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, Event::RolledBack { .. }))
    );
    assert_eq!(world.kept(), (0, 0));
    assert!(
        matches!(found[1][..], [EuiccResultData::ListProfileInfoResult(_)]),
        "the session goes on"
    );
}

#[test]
fn a_profile_with_connectivity_stays() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.poll();
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    assert_eq!(
        only_outcomes(&world),
        [[EuiccResultData::EnableResult(EnableProfileResult::Ok)]]
    );
    world.radio.dead_profiles.borrow_mut().insert(iccid(SECOND));
    world.poll();
    assert_eq!(
        world.enabled().as_deref(),
        Some(SECOND),
        "what was delivered is not taken back"
    );
}

#[test]
fn an_eim_that_cannot_be_reached_ends_in_a_rollback_after_the_attempts_allowed() {
    let settings = RollbackSettings {
        attempts_max: 3,
        retry_ms: 1_000,
        timeout_ms: 60_000,
    };
    let config = Config {
        rollback: settings,
        ..Config::default()
    };
    let mut world = World::with(Setup {
        config,
        ..Setup::default()
    });
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    for _ in 0..3 {
        world.fail("provideEimPackageResult", Fault::Unreachable);
    }
    let wake = world.poll();
    assert_eq!((wake.after_ms, wake.reason), (1_000, WakeReason::Rollback));
    world.restart_ipa();
    let wake = world.poll_after(wake);
    assert_eq!(wake.reason, WakeReason::Rollback);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    assert_eq!(
        world.calls(),
        [format!("{EIM} getEimPackage")],
        "no package is taken that would end the grant"
    );
    world.poll_after(wake);
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    let found = only_outcomes(&world);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains(&EuiccResultData::RollbackResult(RollbackProfileResult::Ok)));
}

#[test]
fn time_alone_ends_in_a_rollback_too() {
    let settings = RollbackSettings {
        attempts_max: 100,
        retry_ms: 1_000,
        timeout_ms: 5_000,
    };
    let config = Config {
        rollback: settings,
        ..Config::default()
    };
    let mut world = World::with(Setup {
        config,
        ..Setup::default()
    });
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    world.poll();
    world.fail("provideEimPackageResult", Fault::Unreachable);
    world.now_ms += 5_000;
    world.poll();
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
}

#[test]
fn a_late_success_keeps_the_new_profile() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    let wake = world.poll();
    assert_eq!(wake.reason, WakeReason::Rollback);
    world.poll_after(wake);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    assert_eq!(
        only_outcomes(&world),
        [[EuiccResultData::EnableResult(EnableProfileResult::Ok)]]
    );
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn without_the_flag_nothing_is_taken_back() {
    let mut world = World::new();
    world.radio.dead_profiles.borrow_mut().insert(iccid(SECOND));
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    let wake = world.poll();
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    let wake = world.poll_after(wake);
    assert_eq!(wake.reason, WakeReason::NoConnectivity);
    assert_eq!(world.kept().0, 1);
    world.radio.dead_profiles.borrow_mut().clear();
    world.poll_after(wake);
    assert_eq!(world.kept(), (0, 0));
}

fn fallback_world() -> World {
    let settings = FallbackSettings {
        is_used: true,
        lost_ms: 60_000,
        return_after_ms: Some(600_000),
    };
    let config = Config {
        fallback: settings,
        ..Config::default()
    };
    World::with(Setup {
        config,
        personalise: |personalisation| {
            personalisation.profiles[1].is_fallback = true;
        },
        ..Setup::default()
    })
}

#[test]
fn connectivity_lost_for_long_leads_to_the_fallback_profile_and_back() {
    let mut world = fallback_world();
    world.poll();
    world
        .radio
        .dead_profiles
        .borrow_mut()
        .insert(iccid(BOOTSTRAP));
    let wake = world.poll();
    assert_eq!(
        (wake.after_ms, wake.reason),
        (30_000, WakeReason::NoConnectivity)
    );
    let wake = world.poll_after(wake);
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    let wake = world.poll_after(wake);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    assert_eq!(wake.reason, WakeReason::Fallback);
    assert_eq!(causes(&world, EIM), [StateChangeCause::Fallback]);
    assert!(world.events().contains(&Event::FallbackExecuted));

    // The displaced Profile is tried and found dead.
    world.now_ms += 600_000;
    world.poll();
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    // It comes back to life.
    world.radio.dead_profiles.borrow_mut().clear();
    world.now_ms += 600_000;
    world.poll();
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    assert!(world.events().contains(&Event::ReturnedFromFallback));
    assert_eq!(
        causes(&world, EIM).last(),
        Some(&StateChangeCause::Fallback)
    );
}

#[test]
fn a_card_without_fallback_profile_waits_for_its_own() {
    let settings = FallbackSettings {
        is_used: true,
        lost_ms: 1_000,
        return_after_ms: None,
    };
    let config = Config {
        fallback: settings,
        ..Config::default()
    };
    let mut world = World::with(Setup {
        config,
        ..Setup::default()
    });
    world
        .radio
        .dead_profiles
        .borrow_mut()
        .insert(iccid(BOOTSTRAP));
    let wake = world.poll();
    let wake = world.poll_after(wake);
    assert_eq!(wake.reason, WakeReason::NoConnectivity);
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    world.radio.dead_profiles.borrow_mut().clear();
    assert_eq!(world.poll_after(wake).reason, WakeReason::PollInterval);
}

#[test]
fn an_emergency_refuses_work_and_is_told_afterwards() {
    let mut world = World::with(Setup {
        personalise: |personalisation| {
            personalisation.profiles[1].metadata.ecall_indication = Some(true);
        },
        ..Setup::default()
    });
    world.poll();
    let (now_ms, mut rng) = (world.now_ms, rng(3));
    let code = world
        .ipa
        .enable_emergency_profile(now_ms, &mut rng)
        .unwrap();
    assert_eq!(code, EnableEmergencyProfileResult::Ok);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    world.restart_ipa();
    world.queue(
        EIM,
        Package::Data(IpaEuiccDataRequest {
            tag_list: [0x81][..].into(),
            euicc_ci_pk_identifier_to_be_used: None,
            search_criteria_notification: None,
            search_criteria_euicc_package_result: None,
            eim_transaction_id: None,
            extensions: Default::default(),
        }),
    );
    world.queue(EIM, Package::Download(None));
    world.poll();
    let answers = world.answers(EIM);
    let [
        Answer::Data(IpaEuiccDataResponse::IpaEuiccDataResponseError(error)),
        Answer::Other(refusal),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(
        error.ipa_euicc_data_error_code,
        IpaEuiccDataErrorCode::EcallActive
    );
    assert!(
        format!("{refusal:?}").contains("EcallActive"),
        "{refusal:?}"
    );
    assert_eq!(causes(&world, EIM), [StateChangeCause::EmergencyProfile]);
    let code = world
        .ipa
        .disable_emergency_profile(now_ms, &mut rng)
        .unwrap();
    assert_eq!(code, DisableEmergencyProfileResult::Ok);
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
}

#[test]
fn a_memory_reset_is_told_at_the_next_poll() {
    let mut world = World::new();
    let now_ms = world.now_ms;
    let options = ResetOptions::of([ResetOptions::RESET_DEFAULT_SMDP_ADDRESS]);
    world
        .ipa
        .memory_reset(options, now_ms, &mut rng(3))
        .unwrap();
    world.poll();
    assert_eq!(causes(&world, EIM), [StateChangeCause::Reset]);
}

#[test]
fn a_busy_card_is_asked_for_the_rollback_again() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    let wake = world.poll();
    world.radio.dead_profiles.borrow_mut().insert(iccid(SECOND));
    world.slot.card.borrow_mut().set_toolkit_session(true);
    let wake = world.poll_after(wake);
    assert_eq!(wake.reason, WakeReason::Rollback);
    assert!(wake.after_ms > 0);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    world.slot.card.borrow_mut().set_toolkit_session(false);
    world.poll_after(wake);
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn polling_too_often_does_not_use_up_the_attempts() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, true)]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    world.poll();
    world.calls();
    for _ in 0..10 {
        world.now_ms += 1;
        world.fail("provideEimPackageResult", Fault::Unreachable);
        assert_eq!(world.poll().reason, WakeReason::Rollback);
    }
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
    world.net.0.borrow_mut().faults.clear();
    world.now_ms += 20_000;
    world.poll();
    assert_eq!(world.answers(EIM).len(), 1);
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
}
