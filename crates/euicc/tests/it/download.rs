//! A Profile comes in, and is enabled at once where that is configured.

use rsp::der::{Null, Oid};
use rsp::sgp22::*;
use rsp::sgp32::*;

use crate::support::*;

fn configure(
    bench: &mut Bench,
    flag: bool,
    oid: Option<&str>,
    address: Option<&str>,
) -> ConfigImmediateEnableResult {
    let response: ConfigureImmediateProfileEnablingResponse =
        bench.ask(&ConfigureImmediateProfileEnablingRequest {
            immediate_enable_flag: flag.then_some(Null),
            default_smdp_oid: oid.map(|dotted| Oid::from_dotted(dotted).unwrap()),
            default_smdp_address: address.map(str::to_owned),
            extensions: Default::default(),
        });
    response.config_immediate_enable_result
}

fn immediate_enable(bench: &mut Bench, refresh_flag: bool) -> ImmediateEnableResult {
    let response: ImmediateEnableResponse = bench.ask(&ImmediateEnableRequest {
        refresh_flag,
        extensions: Default::default(),
    });
    response.immediate_enable_result
}

#[test]
fn a_download_installs_keeps_its_result_and_can_be_managed() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1)]);
    let result = smdp::download(&mut bench);
    let data = &result.profile_installation_result_data;
    assert!(
        matches!(data.final_result, FinalResult::SuccessResult(_)),
        "{data:?}"
    );

    let profiles = bench.profiles();
    assert_eq!(profiles.len(), 2);
    let new = &profiles[1];
    assert_eq!(new.iccid, Some(smdp::package_iccid()));
    assert_eq!(new.profile_state, Some(ProfileState::Disabled));
    assert_ne!(new.isdp_aid, profiles[0].isdp_aid);
    // The result for the SM-DP+, and the install notification that the metadata asks for.
    assert_eq!(
        bench.events(),
        [(0, smdp::package_iccid()), (0, smdp::package_iccid())]
    );
    let RetrieveNotificationsListResponse::NotificationList(list) = bench.retrieve(None) else {
        panic!()
    };
    assert_eq!(
        list[0],
        PendingNotification::ProfileInstallationResult(result)
    );

    bench.power_cycle();
    let enable = Psmo::Enable(EnablePsmo {
        iccid: smdp::package_iccid(),
        rollback_flag: None,
        extensions: Default::default(),
    });
    assert_eq!(
        enable_code(&bench.psmo(&mut eim, enable)),
        EnableProfileResult::Ok
    );
    assert_eq!(bench.enabled(), Some(smdp::package_iccid()));
}

#[test]
fn the_same_iccid_is_not_installed_twice() {
    let mut bench = Bench::new(vec![]);
    smdp::download(&mut bench);
    let before = bench.profiles();
    let commands = smdp::prepare(&mut bench);
    let answers: Vec<Vec<u8>> = commands
        .iter()
        .map_while(|it| bench.es10(it).ok())
        .collect();
    assert!(
        answers
            .iter()
            .any(|answer| answer.starts_with(&[0xBF, 0x37]))
    );
    assert_eq!(bench.profiles(), before);
}

#[test]
fn immediate_enabling_needs_a_configuration_and_a_download_in_this_session() {
    let mut bench = Bench::new(vec![enabled(1)]);
    smdp::download(&mut bench);
    let refused = ImmediateEnableResult::ImmediateEnableNotAvailable;
    assert_eq!(
        immediate_enable(&mut bench, true),
        refused,
        "not configured"
    );
    assert_eq!(
        configure(&mut bench, false, None, None),
        ConfigImmediateEnableResult::Ok
    );
    assert_eq!(
        immediate_enable(&mut bench, true),
        refused,
        "configured as not allowed"
    );
    configure(&mut bench, true, Some("2.999.99"), None);
    assert_eq!(
        immediate_enable(&mut bench, true),
        refused,
        "other SM-DP+ OID"
    );
    configure(&mut bench, true, None, Some("other.example.com"));
    assert_eq!(
        immediate_enable(&mut bench, true),
        refused,
        "other SM-DP+ address"
    );
    configure(&mut bench, true, Some("2.999.10"), Some("SMDP.example.com"));
    bench.card.set_toolkit_session(true);
    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::CatBusy
    );
    bench.card.set_toolkit_session(false);

    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::Ok
    );
    assert_eq!(bench.enabled(), Some(smdp::package_iccid()));
    assert_eq!(bench.card.active_profile(), Some(smdp::package_iccid()));
    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::NoSessionContext,
        "once for each download"
    );
    assert_eq!(
        bench.events()[2..],
        [(2, iccid(1)), (1, smdp::package_iccid())]
    );
}

#[test]
fn a_reset_ends_the_context_of_immediate_enabling() {
    let mut bench = Bench::new(vec![enabled(1)]);
    configure(&mut bench, true, None, None);
    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::NoSessionContext
    );
    smdp::download(&mut bench);
    bench.card.reset().unwrap();
    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::NoSessionContext
    );
    assert_eq!(bench.enabled(), Some(iccid(1)));
}

#[test]
fn immediate_enabling_does_not_undo_what_an_eim_decided_after_the_download() {
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    configure(&mut bench, true, None, None);
    let mut eim = bench.associate();
    smdp::download(&mut bench);
    let result = bench.psmo(&mut eim, enable(2));
    assert_eq!(enable_code(&result), EnableProfileResult::Ok);
    assert_eq!(
        immediate_enable(&mut bench, true),
        ImmediateEnableResult::NoSessionContext
    );
    assert_eq!(bench.enabled(), Some(iccid(2)));
}

#[test]
fn without_the_refresh_flag_the_terminal_has_to_reset_the_card() {
    let mut bench = Bench::new(vec![enabled(1)]);
    configure(&mut bench, true, None, None);
    smdp::download(&mut bench);
    assert_eq!(
        immediate_enable(&mut bench, false),
        ImmediateEnableResult::Ok
    );
    assert_eq!(bench.card.active_profile(), Some(iccid(1)));
    bench.card.reset().unwrap();
    assert_eq!(bench.card.active_profile(), Some(smdp::package_iccid()));
}

#[test]
fn a_profile_that_must_not_be_disabled_is_not_displaced() {
    let mut bench = Bench::new(vec![with_rules(enabled(1), &[PprIds::PPR1])]);
    configure(&mut bench, true, None, None);
    smdp::download(&mut bench);
    let refused = ImmediateEnableResult::ImmediateEnableNotAvailable;
    assert_eq!(immediate_enable(&mut bench, true), refused);
    assert_eq!(bench.enabled(), Some(iccid(1)));
}

#[test]
fn the_local_configuration_is_closed_once_an_eim_is_associated() {
    let (mut bench, _) = Bench::associated(vec![]);
    let refused = ConfigImmediateEnableResult::AssociatedEimAlreadyExists;
    assert_eq!(configure(&mut bench, true, None, None), refused);
}

#[test]
fn an_address_that_is_too_long_is_not_stored() {
    let mut bench = Bench::new(vec![]);
    let on_the_limit = "a".repeat(255);
    let result = configure(&mut bench, true, None, Some(&on_the_limit));
    assert_eq!(result, ConfigImmediateEnableResult::Ok);
    let result = configure(&mut bench, true, None, Some(&format!("{on_the_limit}a")));
    assert_eq!(result, ConfigImmediateEnableResult::InsufficientMemory);
}
