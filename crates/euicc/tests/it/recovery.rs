//! Rollback, fallback and the Emergency Profile.

use rsp::sgp22::PprIds;
use rsp::sgp32::*;

use crate::support::*;

fn rollback(bench: &mut Bench, refresh_flag: bool) -> ProfileRollbackResponse {
    bench.ask(&ProfileRollbackRequest {
        refresh_flag,
        extensions: Default::default(),
    })
}

fn fallback(bench: &mut Bench) -> ExecuteFallbackMechanismResult {
    let response: ExecuteFallbackMechanismResponse = bench.ask(&ExecuteFallbackMechanismRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    response.execute_fallback_mechanism_result
}

fn return_from_fallback(bench: &mut Bench) -> ReturnFromFallbackResult {
    let response: ReturnFromFallbackResponse = bench.ask(&ReturnFromFallbackRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    response.return_from_fallback_result
}

fn enable_emergency(bench: &mut Bench, refresh_flag: bool) -> EnableEmergencyProfileResult {
    let response: EnableEmergencyProfileResponse = bench.ask(&EnableEmergencyProfileRequest {
        refresh_flag,
        extensions: Default::default(),
    });
    response.enable_emergency_profile_result
}

fn disable_emergency(bench: &mut Bench, refresh_flag: bool) -> DisableEmergencyProfileResult {
    let response: DisableEmergencyProfileResponse = bench.ask(&DisableEmergencyProfileRequest {
        refresh_flag,
        extensions: Default::default(),
    });
    response.disable_emergency_profile_result
}

fn is_fallback(profile: euicc::PreloadedProfile) -> euicc::PreloadedProfile {
    with(profile, |it| it.is_fallback = true)
}

#[test]
fn a_rollback_returns_once_and_replaces_the_result() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let request = eim.sign(EuiccPackage::PsmoList(vec![enable_with_rollback(2)]));
    let first = eim.verified(&bench.load(&request));
    assert_eq!(bench.results().len(), 1);
    bench.power_cycle();

    let response = rollback(&mut bench, true);
    assert_eq!(response.cmd_result, ProfileRollbackResult::Ok);
    let result = response.euicc_package_result.unwrap();
    let second = eim.verified(&result);
    assert_eq!(
        second.euicc_result,
        [EuiccResultData::RollbackResult(RollbackProfileResult::Ok)]
    );
    assert_eq!(second.counter_value, first.counter_value);
    assert_eq!(second.eim_transaction_id, first.eim_transaction_id);
    assert!(second.seq_number > first.seq_number);
    assert_eq!(bench.enabled(), Some(iccid(1)));
    assert_eq!(bench.card.active_profile(), Some(iccid(1)));
    assert_eq!(bench.results(), [result], "the first result is gone");
    assert_eq!(
        bench.events(),
        [(2, iccid(1)), (1, iccid(2)), (2, iccid(2)), (1, iccid(1))]
    );

    let again = rollback(&mut bench, true);
    assert_eq!(again.cmd_result, ProfileRollbackResult::RollbackNotAllowed);
    assert_eq!(again.euicc_package_result, None);
    assert_eq!(bench.enabled(), Some(iccid(1)));
}

#[test]
fn without_the_flag_there_is_no_rollback() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let refused = ProfileRollbackResult::RollbackNotAllowed;
    assert_eq!(rollback(&mut bench, true).cmd_result, refused);
    bench.psmo(&mut eim, enable(2));
    assert_eq!(rollback(&mut bench, true).cmd_result, refused);
    assert_eq!(bench.enabled(), Some(iccid(2)));
}

#[test]
fn a_rollback_waits_for_the_end_of_a_toolkit_session() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    bench.psmo(&mut eim, enable_with_rollback(2));
    bench.card.set_toolkit_session(true);
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::CatBusy
    );
    bench.card.set_toolkit_session(false);
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::Ok
    );
}

#[test]
fn any_later_package_ends_the_rollback_but_a_refused_one_does_not() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    bench.psmo(&mut eim, enable_with_rollback(2));
    bench.run(&mut eim, list_eim());
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::RollbackNotAllowed
    );

    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    bench.psmo(&mut eim, enable_with_rollback(2));
    let mut forger = Eim {
        key: STRANGER.clone(),
        ..eim.clone()
    };
    let forged = forger.sign(list_eim());
    bench.load(&forged);
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::Ok
    );
}

#[test]
fn a_disable_in_front_does_not_take_the_way_back_away() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let list = vec![disable(1), enable_with_rollback(2)];
    let results = bench.run(&mut eim, EuiccPackage::PsmoList(list));
    assert_eq!(
        results[1],
        EuiccResultData::EnableResult(EnableProfileResult::Ok)
    );
    rollback(&mut bench, true);
    assert_eq!(bench.enabled(), Some(iccid(1)));
    // But a delete does.
    let list = vec![disable(1), delete(1), enable_with_rollback(2)];
    let results = bench.run(&mut eim, EuiccPackage::PsmoList(list));
    assert_eq!(
        results[2],
        EuiccResultData::EnableResult(EnableProfileResult::RollbackNotAvailable)
    );
}

#[test]
fn a_rollback_out_of_a_profile_with_ppr1_works() {
    let locked = with_rules(profile(2), &[PprIds::PPR1]);
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), locked]);
    bench.psmo(&mut eim, enable_with_rollback(2));
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::Ok
    );
    assert_eq!(bench.enabled(), Some(iccid(1)));
}

#[test]
fn a_rollback_restores_the_fallback_that_the_package_ended() {
    let (mut bench, mut eim) =
        Bench::associated(vec![enabled(1), is_fallback(profile(2)), profile(3)]);
    assert_eq!(fallback(&mut bench), ExecuteFallbackMechanismResult::Ok);
    bench.psmo(&mut eim, enable_with_rollback(3));
    rollback(&mut bench, true);
    assert_eq!(bench.enabled(), Some(iccid(2)));
    assert_eq!(
        return_from_fallback(&mut bench),
        ReturnFromFallbackResult::Ok
    );
    assert_eq!(bench.enabled(), Some(iccid(1)));
}

#[test]
fn fallback_has_its_result_codes_in_their_order() {
    use ExecuteFallbackMechanismResult as F;
    let mut bench = Bench::new(vec![is_fallback(profile(1))]);
    assert_eq!(fallback(&mut bench), F::CommandError, "none is enabled");
    let profiles = || vec![enabled(1), is_fallback(profile(2))];
    let mut bench = Bench::with_options(profiles(), |options| options.fallback_supported = false);
    assert_eq!(fallback(&mut bench), F::CommandError, "not supported");
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    assert_eq!(
        fallback(&mut bench),
        F::FallbackNotAvailable,
        "nobody has the attribute"
    );
    let mut bench = Bench::new(vec![is_fallback(enabled(1))]);
    assert_eq!(fallback(&mut bench), F::ProfileNotInDisabledState);
    let mut bench = Bench::new(vec![enabled(1), is_fallback(profile(2)), emergency(3)]);
    bench.card.set_toolkit_session(true);
    assert_eq!(fallback(&mut bench), F::CatBusy);
    bench.card.set_toolkit_session(false);
    enable_emergency(&mut bench, true);
    assert_eq!(fallback(&mut bench), F::EcallActive);
    disable_emergency(&mut bench, true);
    assert_eq!(fallback(&mut bench), F::Ok);
    assert_eq!(bench.enabled(), Some(iccid(2)));
    assert_eq!(bench.events(), [(2, iccid(1)), (1, iccid(2))]);
}

#[test]
fn the_way_back_from_fallback_lasts_and_has_its_codes() {
    use ReturnFromFallbackResult as F;
    let (mut bench, mut eim) =
        Bench::associated(vec![enabled(1), is_fallback(profile(2)), profile(3)]);
    assert_eq!(return_from_fallback(&mut bench), F::FallbackNotAvailable);
    fallback(&mut bench);
    bench.power_cycle();
    bench.card.set_toolkit_session(true);
    assert_eq!(return_from_fallback(&mut bench), F::CatBusy);
    bench.card.set_toolkit_session(false);
    assert_eq!(return_from_fallback(&mut bench), F::Ok);
    assert_eq!(bench.enabled(), Some(iccid(1)));
    // A package ends the fallback; enabling the Fallback Profile by a package is none.
    fallback(&mut bench);
    bench.psmo(&mut eim, enable(3));
    assert_eq!(return_from_fallback(&mut bench), F::FallbackNotAvailable);
    bench.psmo(&mut eim, enable(2));
    assert_eq!(return_from_fallback(&mut bench), F::CommandError);
    assert_eq!(bench.enabled(), Some(iccid(2)));
}

#[test]
fn fallback_ends_the_rollback() {
    let (mut bench, mut eim) =
        Bench::associated(vec![enabled(1), is_fallback(profile(2)), profile(3)]);
    bench.psmo(&mut eim, enable_with_rollback(3));
    fallback(&mut bench);
    assert_eq!(
        rollback(&mut bench, true).cmd_result,
        ProfileRollbackResult::RollbackNotAllowed
    );
    assert_eq!(
        return_from_fallback(&mut bench),
        ReturnFromFallbackResult::Ok
    );
    assert_eq!(bench.enabled(), Some(iccid(3)));
}

#[test]
fn an_emergency_is_silent_lasts_over_power_and_ends_where_it_began() {
    let mut bench = Bench::new(vec![enabled(1), emergency(2)]);
    assert_eq!(
        disable_emergency(&mut bench, true),
        DisableEmergencyProfileResult::ProfileNotInEnabledState
    );
    bench.card.set_toolkit_session(true);
    assert_eq!(
        enable_emergency(&mut bench, true),
        EnableEmergencyProfileResult::CatBusy
    );
    bench.card.set_toolkit_session(false);
    assert_eq!(
        enable_emergency(&mut bench, true),
        EnableEmergencyProfileResult::Ok
    );
    assert_eq!(bench.enabled(), Some(iccid(2)));
    bench.power_cycle();
    assert_eq!(
        enable_emergency(&mut bench, true),
        EnableEmergencyProfileResult::ProfileNotInDisabledState
    );
    bench.card.set_toolkit_session(true);
    assert_eq!(
        disable_emergency(&mut bench, true),
        DisableEmergencyProfileResult::CatBusy
    );
    bench.card.set_toolkit_session(false);
    assert_eq!(
        disable_emergency(&mut bench, true),
        DisableEmergencyProfileResult::Ok
    );
    assert_eq!(bench.enabled(), Some(iccid(1)));
    assert_eq!(bench.events(), []);
}

#[test]
fn an_emergency_can_begin_with_no_profile_enabled() {
    let mut bench = Bench::new(vec![emergency(2)]);
    assert_eq!(
        enable_emergency(&mut bench, true),
        EnableEmergencyProfileResult::Ok
    );
    assert_eq!(
        disable_emergency(&mut bench, true),
        DisableEmergencyProfileResult::Ok
    );
    assert_eq!(bench.enabled(), None);
}

#[test]
fn without_an_emergency_profile_or_support_there_is_none() {
    let not_available = EnableEmergencyProfileResult::EcallNotAvailable;
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    assert_eq!(enable_emergency(&mut bench, true), not_available);
    let mut bench = Bench::with_options(vec![enabled(1), emergency(2)], |options| {
        options.ecall_supported = false
    });
    assert_eq!(enable_emergency(&mut bench, true), not_available);
}

#[test]
fn an_emergency_with_refresh_ends_the_rollback_and_without_keeps_it() {
    for (refresh, expected) in [
        (true, ProfileRollbackResult::RollbackNotAllowed),
        (false, ProfileRollbackResult::Ok),
    ] {
        let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), emergency(3)]);
        bench.psmo(&mut eim, enable_with_rollback(2));
        enable_emergency(&mut bench, refresh);
        let during = rollback(&mut bench, true);
        assert_eq!(during.cmd_result, ProfileRollbackResult::RollbackNotAllowed);
        assert_eq!(bench.enabled(), Some(iccid(3)));
        disable_emergency(&mut bench, refresh);
        assert_eq!(rollback(&mut bench, true).cmd_result, expected);
    }
}
