//! Direct and indirect profile download.

use ipa::{Config, Event};
use pki::issue::{TestPkiOptions, Variant, VariantPki};
use rsp::binding::http::Binding;
use rsp::der::{Element, Null};
use rsp::sgp22::{
    AuthenticateErrorCode, AuthenticateServerResponse, FinalResult, OperatorId,
    PendingNotification, PprFlags, PprIds, ProfileInstallationResult,
    ProfilePolicyAuthorisationRule,
};
use rsp::sgp32::{
    ConfigureImmediateEnable, ContactSmds, EimPackageResult, ProfileDownloadData,
    ProfileDownloadError, ProfileDownloadTriggerResultData, Psmo, StateChangeCause,
};

use super::support::*;

fn code(text: &str) -> Package {
    Package::Download(Some(ProfileDownloadData::ActivationCode(text.to_owned())))
}

fn is_installed(world: &World) -> bool {
    let mut card = world.slot.card.borrow_mut();
    let list = card.es10(&[0xBF, 0x2D, 0x00], &mut rng(5)).unwrap();
    let iccid = iccid_of_download();
    list.windows(10).any(|window| window == iccid.octets())
}

fn is_success(result: &ProfileInstallationResult) -> bool {
    matches!(
        result.profile_installation_result_data.final_result,
        FinalResult::SuccessResult(_)
    )
}

fn error_of(answers: &[Answer]) -> ProfileDownloadError {
    match answers {
        [Answer::Other(EimPackageResult::ProfileDownloadTriggerResult(result))] => {
            match &result.profile_download_trigger_result_data {
                ProfileDownloadTriggerResultData::ProfileDownloadError(error) => error.clone(),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_direct_download_goes_step_by_step() {
    for binding in [Binding::Asn1, Binding::Json] {
        let config = Config {
            esipa_binding: binding,
            es9plus_binding: binding,
            ..Config::default()
        };
        let mut world = World::with(Setup {
            config,
            ..Setup::default()
        });
        world.queue(EIM, code(&format!("1${SMDP}$ABC-123$2.999.10")));
        world.poll();
        assert!(is_installed(&world));
        assert_eq!(
            world.calls(),
            [
                format!("{EIM} getEimPackage"),
                format!("{SMDP} initiateAuthentication"),
                format!("{SMDP} authenticateClient"),
                format!("{SMDP} getBoundProfilePackage"),
                format!("{EIM} handleNotification"),
                format!("{SMDP} handleNotification"),
                format!("{SMDP} handleNotification"),
                format!("{EIM} getEimPackage"),
            ],
            "{binding:?}"
        );
        let answers = world.answers(EIM);
        let [Answer::Other(EimPackageResult::ProfileDownloadTriggerResult(report))] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        assert!(report.eim_transaction_id.is_some());
        assert!(matches!(
            &report.profile_download_trigger_result_data,
            ProfileDownloadTriggerResultData::ProfileInstallationResult(result) if is_success(result)
        ));
        let state = world.net.0.borrow();
        assert_eq!(state.smdp.matching_ids, [Some("ABC-123".to_owned())]);
        assert!(state.smdp.notifications.iter().any(|notification| matches!(
            notification,
            PendingNotification::ProfileInstallationResult(result) if is_success(result)
        )));
        drop(state);
        assert_eq!(world.kept(), (0, 0));
    }
}

#[test]
fn the_default_smdp_is_asked_without_a_matching_id() {
    let mut world = World::new();
    world.queue(
        EIM,
        Package::Download(Some(ProfileDownloadData::ContactDefaultSmdp(Null))),
    );
    world.poll();
    assert!(is_installed(&world));
    assert_eq!(world.net.0.borrow().smdp.matching_ids, [None]);
}

#[test]
fn an_indirect_download_goes_through_the_eim_which_holds_the_code() {
    for binding in [Binding::Asn1, Binding::Json] {
        let config = Config {
            esipa_binding: binding,
            ..Config::default()
        };
        let mut world = World::with(Setup {
            config,
            indirect_flag: true,
            ..Setup::default()
        });
        world.net.0.borrow_mut().eim(EIM).matching_id = Some("HELD".to_owned());
        world.queue(EIM, Package::Download(None));
        world.poll();
        assert!(is_installed(&world));
        assert_eq!(
            world.calls(),
            [
                format!("{EIM} getEimPackage"),
                format!("{EIM} initiateAuthentication"),
                format!("{EIM} authenticateClient"),
                format!("{EIM} getBoundProfilePackage"),
                format!("{EIM} handleNotification"),
                format!("{SMDP} handleNotification"),
                format!("{EIM} getEimPackage"),
            ],
            "{binding:?}"
        );
        let answers = world.answers(EIM);
        assert!(
            matches!(
                &answers[..],
                [Answer::Notification(PendingNotification::ProfileInstallationResult(result))]
                    if is_success(result)
            ),
            "{answers:?}"
        );
        let state = world.net.0.borrow();
        assert_eq!(state.smdp.matching_ids, [Some("HELD".to_owned())]);
        assert_eq!(
            state.smdp.notifications.len(),
            1,
            "the other one goes directly"
        );
        drop(state);
        assert_eq!(world.kept(), (0, 0));
    }
}

#[test]
fn an_indirect_only_ipa_passes_address_and_code() {
    let config = Config {
        indirect_only: true,
        ..Config::default()
    };
    let mut world = World::with(Setup {
        config,
        ..Setup::default()
    });
    world.queue(EIM, code(&format!("LPA:1${SMDP}$TOKEN")));
    world.poll();
    assert!(is_installed(&world));
    assert!(world.calls().iter().all(|call| call.starts_with(EIM)));
    assert_eq!(
        world.net.0.borrow().smdp.matching_ids,
        [Some("TOKEN".to_owned())]
    );
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn the_sub_cas_of_a_server_reach_the_euicc_on_both_ways() {
    for indirect_only in [false, true] {
        for binding in [Binding::Asn1, Binding::Json] {
            let world = || {
                let config = Config {
                    indirect_only,
                    esipa_binding: binding,
                    es9plus_binding: binding,
                    ..Config::default()
                };
                let world = World::with(Setup {
                    config,
                    ..Setup::default()
                });
                let options = TestPkiOptions::new(world.pki.ci.certificate.not_before());
                let ci = &world.pki.ci;
                let variant = VariantPki::new(&mut rng(11), Variant::C, ci, &options).unwrap();
                world.net.0.borrow_mut().smdp.variant = Some(variant);
                world
            };
            let mut good = world();
            good.queue(EIM, code(&format!("1${SMDP}$ABC")));
            good.poll();
            assert!(is_installed(&good), "{indirect_only} {binding:?}");

            let mut bad = world();
            bad.net.0.borrow_mut().smdp.deviation = Deviation::KeepsItsSubCas;
            bad.queue(EIM, code(&format!("1${SMDP}$ABC")));
            bad.poll();
            assert!(!is_installed(&bad), "{indirect_only} {binding:?}");
            let response = error_of(&bad.answers(EIM)).error_response.unwrap();
            let response = AuthenticateServerResponse::from_der(&response).unwrap();
            let AuthenticateServerResponse::AuthenticateResponseError(error) = response else {
                panic!("{response:?}");
            };
            let code = error.authenticate_error_code;
            assert_eq!(code, AuthenticateErrorCode::InvalidCertificate);
        }
    }
}

#[test]
fn a_confirmation_code_known_to_the_eim_is_used_and_an_unknown_one_postpones() {
    let mut world = World::with(Setup {
        indirect_flag: true,
        ..Setup::default()
    });
    world.net.0.borrow_mut().smdp.deviation = Deviation::WantsConfirmationCode;
    world.net.0.borrow_mut().eim(EIM).hash_cc = Some([0xCC; 32]);
    world.queue(EIM, Package::Download(None));
    world.poll();
    assert!(is_installed(&world));
    assert_eq!(world.net.0.borrow().smdp.hashes_cc, [Some([0xCC; 32])]);

    let mut world = World::new();
    world.net.0.borrow_mut().smdp.deviation = Deviation::WantsConfirmationCode;
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.poll();
    assert_eq!(world.net.0.borrow().smdp.cancelled, [1]);
    error_of(&world.answers(EIM));
}

#[test]
fn a_server_that_lies_is_cancelled_with_the_right_reason() {
    for (deviation, cancelled, reached_bpp) in [
        (Deviation::SignsAnotherAddress, None, false),
        (Deviation::SignsAnotherChallenge, None, false),
        (Deviation::WrongAuthenticationKey, None, false),
        (Deviation::ForbiddenRule, Some(3), false),
        (Deviation::OtherMetadataInPackage, Some(4), true),
        (Deviation::PackageForAnotherTransaction, Some(127), true),
    ] {
        for indirect in [false, true] {
            let config = Config {
                indirect_only: indirect,
                ..Config::default()
            };
            let mut world = World::with(Setup {
                config,
                ..Setup::default()
            });
            world.net.0.borrow_mut().smdp.deviation = deviation;
            world.queue(EIM, code(&format!("1${SMDP}$A")));
            world.poll();
            assert!(!is_installed(&world), "{deviation:?}");
            let calls = world.calls();
            let asked = calls
                .iter()
                .any(|call| call.ends_with("getBoundProfilePackage"));
            assert_eq!(asked, reached_bpp, "{deviation:?}");
            let found = {
                let mut state = world.net.0.borrow_mut();
                let through_eim = state.eim(EIM).cancelled.clone();
                if indirect {
                    through_eim
                } else {
                    state.smdp.cancelled.clone()
                }
            };
            assert_eq!(
                found,
                cancelled.into_iter().collect::<Vec<_>>(),
                "{deviation:?}"
            );
            let error = error_of(&world.answers(EIM));
            assert_eq!(
                error.error_response.is_some(),
                deviation == Deviation::WrongAuthenticationKey,
                "{deviation:?}"
            );
            assert_eq!(world.kept(), (0, 0));
        }
    }
}

#[test]
fn a_rule_that_the_table_allows_is_accepted() {
    let mut world = World::with(Setup {
        personalise: |personalisation| {
            personalisation.rat = vec![ProfilePolicyAuthorisationRule {
                ppr_ids: PprIds::of([PprIds::PPR2]),
                allowed_operators: vec![OperatorId {
                    mcc_mnc: [0xEE; 3],
                    gid1: Some(Default::default()),
                    gid2: Some(Default::default()),
                    extensions: Default::default(),
                }],
                ppr_flags: PprFlags::default(),
                extensions: Default::default(),
            }];
        },
        ..Setup::default()
    });
    world.net.0.borrow_mut().smdp.deviation = Deviation::ForbiddenRule;
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.poll();
    assert!(is_installed(&world));
}

#[test]
fn a_damaged_package_ends_in_a_signed_result_that_everybody_gets() {
    let mut world = World::new();
    world.net.0.borrow_mut().smdp.deviation = Deviation::DamagedSegment;
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.poll();
    assert!(!is_installed(&world));
    let answers = world.answers(EIM);
    let [Answer::Other(EimPackageResult::ProfileDownloadTriggerResult(report))] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert!(matches!(
        &report.profile_download_trigger_result_data,
        ProfileDownloadTriggerResultData::ProfileInstallationResult(result) if !is_success(result)
    ));
    assert_eq!(world.net.0.borrow().smdp.notifications.len(), 1);
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn a_refusal_of_the_server_is_reported_with_its_answer() {
    let mut world = World::new();
    world.queue(EIM, code(&format!("1${SMDP}$WRONG")));
    world.poll();
    let error = error_of(&world.answers(EIM));
    assert!(error.error_response.is_some());
    assert!(
        !world
            .calls()
            .iter()
            .any(|call| call.ends_with("cancelSession"))
    );
}

#[test]
fn codes_that_make_no_sense_reach_no_server() {
    for text in [
        "",
        "1$",
        "1$ho/st$A",
        "2$smdp.example.com$A",
        "1$smdp.example.com$A$2.999.11",
    ] {
        let mut world = World::new();
        world.queue(EIM, code(text));
        world.poll();
        error_of(&world.answers(EIM));
        assert!(!is_installed(&world));
        assert!(
            !world
                .calls()
                .iter()
                .any(|call| call.ends_with("authenticateClient")),
            "{text}"
        );
    }
}

#[test]
fn a_download_is_tried_again_after_trouble_and_given_up_in_the_end() {
    let mut world = World::new();
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.fail("getBoundProfilePackage", Fault::LoseAnswer);
    let wake = world.poll();
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, Event::DownloadPostponed { .. }))
    );
    world.restart_ipa();
    let wake = world.poll_after(wake);
    assert!(is_installed(&world), "{wake:?}");
    assert_eq!(world.answers(EIM).len(), 1);

    let mut world = World::new();
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    for _ in 0..3 {
        world.fail("initiateAuthentication", Fault::Unreachable);
    }
    let mut wake = world.poll();
    for _ in 0..2 {
        assert!(world.answers(EIM).is_empty());
        wake = world.poll_after(wake);
    }
    error_of(&world.answers(EIM));
    world.poll_after(wake);
    assert_eq!(world.answers(EIM).len(), 1);

    let mut world = World::new();
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    for _ in 0..3 {
        world.fail("authenticateClient", Fault::LoseAnswer);
    }
    let mut wake = world.poll();
    for _ in 0..2 {
        wake = world.poll_after(wake);
    }
    error_of(&world.answers(EIM));
    // The server is in its pause by then; the eUICC's session is over in any case.
    assert!(world.net.0.borrow().smdp.cancelled.is_empty());
}

#[test]
fn a_report_that_cannot_be_delivered_waits_through_a_restart() {
    let mut world = World::new();
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.fail("handleNotification", Fault::Unreachable);
    let wake = world.poll();
    assert!(is_installed(&world));
    assert!(world.answers(EIM).is_empty());
    world.restart_ipa();
    world.poll_after(wake);
    assert_eq!(world.answers(EIM).len(), 1);
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn a_reader_pulled_out_at_any_command_leaves_one_true_report() {
    let commands = {
        let mut world = World::new();
        world.queue(EIM, code(&format!("1${SMDP}$A")));
        world.slot.log.borrow_mut().clear();
        world.poll();
        world.slot.log.borrow().len()
    };
    let mut was_installed = Vec::new();
    for cut in (0..commands).step_by(7).chain(commands - 8..commands) {
        let mut world = World::new();
        world.queue(EIM, code(&format!("1${SMDP}$A")));
        world.slot.fails_after.set(Some(cut));
        let mut wake = world.poll();
        if cut % 2 == 0 {
            world.restart_ipa();
        }
        for _ in 0..3 {
            wake = world.poll_after(wake);
        }
        let answers = world.answers(EIM);
        let reports: Vec<bool> = answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Other(EimPackageResult::ProfileDownloadTriggerResult(report)) => {
                    match &report.profile_download_trigger_result_data {
                        ProfileDownloadTriggerResultData::ProfileInstallationResult(result) => {
                            Some(is_success(result))
                        }
                        other => panic!("cut at {cut} of {commands}: {other:?}"),
                    }
                }
                _ => None,
            })
            .collect();
        // An eUICC that is reset in the middle of a load signs that it was interrupted.
        assert_eq!(
            reports,
            [is_installed(&world)],
            "cut at {cut} of {commands}"
        );
        was_installed.push(reports[0]);
        assert_eq!(world.kept(), (0, 0), "cut at {cut} of {commands}");
    }
    assert!(was_installed.contains(&true) && was_installed.contains(&false));
}

#[test]
fn a_download_is_enabled_immediately_where_the_euicc_is_set_up_for_it() {
    let mut world = World::new();
    world.queue(
        EIM,
        Package::Psmos(vec![Psmo::ConfigureImmediateEnable(
            ConfigureImmediateEnable {
                immediate_enable_flag: Some(Null),
                default_smdp_oid: None,
                default_smdp_address: None,
                extensions: Default::default(),
            },
        )]),
    );
    world.queue(EIM, code(&format!("1${SMDP}$A")));
    world.poll();
    assert_eq!(world.enabled(), Some(iccid_of_download().to_string()));
    assert!(world.events().contains(&Event::EnabledImmediately));
    let polls = world.net.0.borrow_mut().eim(EIM).polls.clone();
    assert_eq!(
        polls
            .iter()
            .filter_map(|poll| poll.state_change_cause)
            .collect::<Vec<_>>(),
        [StateChangeCause::ImmediateEnableProfile]
    );
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn an_smds_leads_to_the_server_that_holds_the_profile() {
    let mut world = World::new();
    world.net.0.borrow_mut().smdp.events = vec![("EVENT-1".to_owned(), SMDP.to_owned())];
    let data = ProfileDownloadData::ContactSmds(ContactSmds {
        smds_address: None,
        extensions: Default::default(),
    });
    world.queue(EIM, Package::Download(Some(data.clone())));
    world.poll();
    assert!(is_installed(&world));
    assert_eq!(
        world.calls()[1..3],
        [
            format!("{SMDS} initiateAuthentication"),
            format!("{SMDS} authenticateClient"),
        ]
    );
    assert_eq!(
        world.net.0.borrow().smdp.matching_ids,
        [None, Some("EVENT-1".to_owned())]
    );

    let mut world = World::new();
    world.queue(EIM, Package::Download(Some(data)));
    world.poll();
    error_of(&world.answers(EIM));
}

#[test]
fn an_eim_that_finds_an_event_sends_the_next_trigger_but_not_for_ever() {
    let mut world = World::with(Setup {
        indirect_flag: true,
        ..Setup::default()
    });
    let data = ProfileDownloadData::ActivationCode(format!("1${SMDP}$FOUND"));
    world.net.0.borrow_mut().eim(EIM).event = Some(Some(data));
    world.queue(EIM, Package::Download(None));
    world.poll();
    assert!(is_installed(&world));
    assert_eq!(
        world.net.0.borrow().smdp.matching_ids,
        [Some("FOUND".to_owned())]
    );

    let mut world = World::with(Setup {
        indirect_flag: true,
        ..Setup::default()
    });
    world.net.0.borrow_mut().eim(EIM).event = Some(None);
    world.queue(EIM, Package::Download(None));
    world.poll();
    error_of(&world.answers(EIM));
}

#[test]
fn the_same_trigger_twice_is_one_download() {
    let mut world = World::new();
    let trigger = {
        let mut state = world.net.0.borrow_mut();
        let data = ProfileDownloadData::ActivationCode(format!("1${SMDP}$A"));
        state.eim(EIM).trigger(Some(data))
    };
    let response = rsp::sgp32::GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger);
    // An eIM sends its trigger again until it has the result.
    for _ in 0..5 {
        world.queue(EIM, Package::Raw(response.clone()));
    }
    world.fail("initiateAuthentication", Fault::Unreachable);
    let wake = world.poll();
    assert_eq!(world.net.0.borrow_mut().eim(EIM).queue.len(), 4);
    world.net.0.borrow_mut().eim(EIM).queue.truncate(1);
    world.fail("initiateAuthentication", Fault::Unreachable);
    let wake = world.poll_after(wake);
    world.poll_after(wake);
    assert!(is_installed(&world));
    assert_eq!(world.net.0.borrow().smdp.matching_ids.len(), 1);
}
