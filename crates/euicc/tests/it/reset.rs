//! eUICCMemoryReset with its seven options.

use rsp::ids::Iccid;
use rsp::sgp22::*;
use rsp::sgp32::*;

use crate::support::*;

fn reset(bench: &mut Bench, options: &[usize]) -> EuiccMemoryResetResponse {
    bench.ask(&EuiccMemoryResetRequest {
        reset_options: ResetOptions::of(options.iter().copied()),
        extensions: Default::default(),
    })
}

/// An enabled operational Profile, a disabled one that must not be deleted by an eIM, a pre-loaded test Profile and a
/// provisioning Profile.
fn profiles() -> Vec<euicc::PreloadedProfile> {
    vec![
        enabled(1),
        with_rules(profile(2), &[PprIds::PPR2]),
        of_class(profile(3), ProfileClass::Test),
        of_class(profile(4), ProfileClass::Provisioning),
    ]
}

fn left(bench: &mut Bench) -> Vec<Iccid> {
    bench
        .profiles()
        .iter()
        .map(|profile| profile.iccid.unwrap())
        .collect()
}

#[test]
fn each_option_deletes_its_profiles_and_nothing_else() {
    for (option, gone) in [
        (ResetOptions::DELETE_OPERATIONAL_PROFILES, vec![1, 2]),
        (ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES, vec![]),
        (ResetOptions::DELETE_PRE_LOADED_TEST_PROFILES, vec![3]),
        (ResetOptions::DELETE_PROVISIONING_PROFILES, vec![4]),
    ] {
        let (mut bench, _) = Bench::associated(profiles());
        let response = reset(&mut bench, &[option]);
        let expected = if gone.is_empty() {
            ResetResult::NothingToDelete
        } else {
            ResetResult::Ok
        };
        assert_eq!(response.reset_result, expected);
        assert_eq!(response.reset_eim_result, None);
        assert_eq!(response.reset_immediate_enable_config_result, None);
        let kept: Vec<Iccid> = (1..=4).filter(|it| !gone.contains(it)).map(iccid).collect();
        assert_eq!(left(&mut bench), kept);
        let deletions: Vec<_> = gone.iter().map(|it| (3, iccid(*it))).collect();
        assert_eq!(bench.events(), deletions);
        assert_eq!(bench.eims().len(), 1);
        let active = (!gone.contains(&1)).then_some(iccid(1));
        assert_eq!(bench.card.active_profile(), active);
    }
}

#[test]
fn a_downloaded_profile_is_field_loaded() {
    let mut bench = Bench::new(vec![]);
    smdp::download(&mut bench);
    reset(&mut bench, &[ResetOptions::DELETE_PRE_LOADED_TEST_PROFILES]);
    assert_eq!(left(&mut bench).len(), 1);
    let response = reset(&mut bench, &[ResetOptions::DELETE_OPERATIONAL_PROFILES]);
    assert_eq!(response.reset_result, ResetResult::Ok);
    assert_eq!(left(&mut bench), []);
}

#[test]
fn the_address_counts_as_something_to_delete() {
    let mut bench = Bench::new(vec![]);
    let options = [ResetOptions::RESET_DEFAULT_SMDP_ADDRESS];
    assert_eq!(reset(&mut bench, &options).reset_result, ResetResult::Ok);
    assert_eq!(
        reset(&mut bench, &options).reset_result,
        ResetResult::NothingToDelete
    );
    let response: EuiccConfiguredAddressesResponse = bench.ask(&EuiccConfiguredAddressesRequest {
        extensions: Default::default(),
    });
    assert_eq!(response.default_dp_address, None);
}

#[test]
fn eims_are_removed_where_the_card_allows_it() {
    let options = [ResetOptions::RESET_EIM_CONFIG_DATA];
    let (mut bench, _) = Bench::associated(vec![]);
    assert_eq!(
        reset(&mut bench, &options).reset_eim_result,
        Some(ResetEimResult::Ok)
    );
    assert_eq!(bench.eims(), []);
    let again = reset(&mut bench, &options);
    assert_eq!(
        again.reset_eim_result,
        Some(ResetEimResult::NothingToDelete)
    );
    assert_eq!(again.reset_result, ResetResult::NothingToDelete);

    let mut bench = Bench::with_options(vec![], |options| options.eim_reset_allowed = false);
    bench.associate();
    let refused = reset(&mut bench, &options).reset_eim_result;
    assert_eq!(refused, Some(ResetEimResult::EimResetNotSupported));
    assert_eq!(bench.eims().len(), 1);
}

#[test]
fn the_configuration_of_immediate_enabling_is_removed_where_the_card_allows_it() {
    use ResetImmediateEnableConfigResult as R;
    for (allowed, expected) in [(true, R::Ok), (false, R::ResetIecNotSupported)] {
        let mut bench = Bench::with_options(vec![], |options| {
            options.immediate_enable_reset_allowed = allowed;
        });
        let _: ConfigureImmediateProfileEnablingResponse =
            bench.ask(&ConfigureImmediateProfileEnablingRequest {
                immediate_enable_flag: Some(rsp::der::Null),
                default_smdp_oid: None,
                default_smdp_address: None,
                extensions: Default::default(),
            });
        let response = reset(&mut bench, &[ResetOptions::RESET_IMMEDIATE_ENABLE_CONFIG]);
        assert_eq!(
            response.reset_immediate_enable_config_result,
            Some(expected)
        );
        let enabling: ImmediateEnableResponse = bench.ask(&ImmediateEnableRequest {
            refresh_flag: true,
            extensions: Default::default(),
        });
        let is_configured =
            enabling.immediate_enable_result == ImmediateEnableResult::NoSessionContext;
        assert_eq!(is_configured, !allowed);
    }
}

#[test]
fn a_toolkit_session_protects_only_the_enabled_profile() {
    let mut bench = Bench::new(profiles());
    bench.card.set_toolkit_session(true);
    let all = [
        ResetOptions::DELETE_OPERATIONAL_PROFILES,
        ResetOptions::RESET_EIM_CONFIG_DATA,
    ];
    let refused = reset(&mut bench, &all);
    assert_eq!(refused.reset_result, ResetResult::CatBusy);
    assert_eq!(refused.reset_eim_result, None);
    assert_eq!(left(&mut bench).len(), 4);
    let others = [ResetOptions::DELETE_PROVISIONING_PROFILES];
    assert_eq!(reset(&mut bench, &others).reset_result, ResetResult::Ok);
}

#[test]
fn during_an_emergency_nothing_is_reset() {
    let mut list = profiles();
    list.push(emergency(5));
    let (mut bench, _) = Bench::associated(list);
    let _: EnableEmergencyProfileResponse = bench.ask(&EnableEmergencyProfileRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    let response = reset(&mut bench, &[0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(response.reset_result, ResetResult::EcallActive);
    assert_eq!((left(&mut bench).len(), bench.eims().len()), (5, 1));
}

#[test]
fn what_remembered_a_deleted_profile_forgets_it() {
    let (mut bench, mut eim) = Bench::associated(vec![
        of_class(enabled(1), ProfileClass::Provisioning),
        with(profile(2), |it| it.is_fallback = true),
        profile(3),
    ]);
    bench.psmo(&mut eim, enable_with_rollback(3));
    reset(&mut bench, &[ResetOptions::DELETE_PROVISIONING_PROFILES]);
    let response: ProfileRollbackResponse = bench.ask(&ProfileRollbackRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    assert_eq!(
        response.cmd_result,
        ProfileRollbackResult::RollbackNotAllowed
    );

    let (mut bench, _) = Bench::associated(vec![
        of_class(enabled(1), ProfileClass::Provisioning),
        with(profile(2), |it| it.is_fallback = true),
    ]);
    let _: ExecuteFallbackMechanismResponse = bench.ask(&ExecuteFallbackMechanismRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    reset(&mut bench, &[ResetOptions::DELETE_PROVISIONING_PROFILES]);
    let response: ReturnFromFallbackResponse = bench.ask(&ReturnFromFallbackRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    assert_eq!(
        response.return_from_fallback_result,
        ReturnFromFallbackResult::CommandError
    );
}
