//! Retrieval, execution, delivery, acknowledgement.

use ipa::{Config, EimTrust, Event, Server, WakeReason};
use pki::Signer as _;
use rsp::binding::http::Binding;
use rsp::der::Null;
use rsp::sgp32::{
    AddEimResult, DeleteEim, DeleteEimResult, DisableProfileResult, Eco, EimIdInfo,
    EnableProfileResult, EnablePsmo, EuiccPackageErrorCode, EuiccPackageResult, EuiccResultData,
    IccidArgument, IpaEuiccData, IpaEuiccDataErrorCode, IpaEuiccDataRequest, IpaEuiccDataResponse,
    ListEimResult, NoArguments, Psmo, StateChangeCause,
};

use super::support::*;

pub(crate) fn enable(iccid: &str, rollback: bool) -> Psmo {
    Psmo::Enable(EnablePsmo {
        iccid: self::iccid(iccid),
        rollback_flag: rollback.then_some(Null),
        extensions: Default::default(),
    })
}

pub(crate) fn list() -> Psmo {
    Psmo::ListProfileInfo(rsp::sgp22::ProfileInfoListRequest {
        search_criteria: None,
        tag_list: None,
        extensions: Default::default(),
    })
}

pub(crate) fn list_eims() -> Eco {
    Eco::ListEim(NoArguments {
        extensions: Default::default(),
    })
}

fn delete(iccid: &str) -> Psmo {
    Psmo::Delete(IccidArgument {
        iccid: self::iccid(iccid),
        extensions: Default::default(),
    })
}

fn data_request(tags: &[u8]) -> IpaEuiccDataRequest {
    IpaEuiccDataRequest {
        tag_list: tags.into(),
        euicc_ci_pk_identifier_to_be_used: None,
        search_criteria_notification: None,
        search_criteria_euicc_package_result: None,
        eim_transaction_id: None,
        extensions: Default::default(),
    }
}

fn outcomes(answers: &[Answer]) -> Vec<EuiccResultData> {
    answers
        .iter()
        .flat_map(|answer| match answer {
            Answer::Result { outcomes, .. } => outcomes.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn with_binding(binding: Binding) -> World {
    let config = Config {
        esipa_binding: binding,
        ..Config::default()
    };
    World::with(Setup {
        config,
        ..Setup::default()
    })
}

#[test]
fn packages_are_taken_until_none_is_left_and_results_removed_when_acknowledged() {
    for binding in [Binding::Asn1, Binding::Json] {
        let mut world = with_binding(binding);
        world.queue(EIM, Package::Psmos(vec![list()]));
        world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
        world.queue(EIM, Package::Ecos(vec![list_eims()]));
        let wake = world.poll();
        assert_eq!(wake.reason, WakeReason::PollInterval);
        assert!((3_240_000..=3_600_000).contains(&wake.after_ms), "{wake:?}");
        let answers = world.answers(EIM);
        let [
            Answer::Result {
                outcomes: listed,
                notifications: 0,
                ..
            },
            Answer::Result {
                outcomes: enabled,
                notifications: 2,
                ..
            },
            Answer::Result {
                outcomes: eims,
                notifications: 0,
                ..
            },
        ] = answers.as_slice()
        else {
            panic!("{answers:?}")
        };
        assert!(matches!(
            listed[..],
            [EuiccResultData::ListProfileInfoResult(_)]
        ));
        assert_eq!(
            enabled[..],
            [EuiccResultData::EnableResult(EnableProfileResult::Ok)]
        );
        let [EuiccResultData::ListEimResult(ListEimResult::EimIdList(list))] = &eims[..] else {
            panic!("{eims:?}")
        };
        assert!(matches!(&list[..], [EimIdInfo { eim_id, .. }] if eim_id.as_str() == EIM));
        assert_eq!(world.enabled().as_deref(), Some(SECOND));
        assert_eq!(
            world.slot.card.borrow().active_profile(),
            Some(iccid(SECOND))
        );
        assert_eq!(world.kept(), (0, 0));
        let calls = world.calls();
        let expected: Vec<String> = ["getEimPackage", "provideEimPackageResult"]
            .repeat(3)
            .into_iter()
            .chain(["getEimPackage"])
            .map(|function| format!("{EIM} {function}"))
            .collect();
        assert_eq!(calls, expected, "{binding:?}");
    }
}

#[test]
fn requests_carry_the_headers_and_the_trust_of_the_configuration() {
    let mut world = with_binding(Binding::Asn1);
    world.poll();
    let state = world.net.0.borrow();
    let request = &state.requests[0];
    assert_eq!(request.path, "/gsma/rsp2/asn1");
    let header = |name: &str| {
        request
            .headers
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
            .as_str()
    };
    assert_eq!(header("Content-Type"), "application/x-gsma-rsp-asn1");
    assert_eq!(header("User-Agent"), "gsma-rsp-ipad");
    assert_eq!(header("X-Admin-Protocol"), "gsma/rsp/v2.1.0");
    let Server::Eim {
        trust: EimTrust::PinnedSpki(spki),
        host,
        ..
    } = &request.server
    else {
        panic!("{request:?}")
    };
    assert_eq!(host, EIM);
    assert_eq!(*spki, state.eims[0].key.public_key().to_spki_der());
    drop(state);

    let mut world = with_binding(Binding::Json);
    world.poll();
    assert_eq!(
        world.net.0.borrow().requests[0].path,
        "/gsma/rsp2/esipa/getEimPackage"
    );
}

#[test]
fn a_lost_answer_is_made_good_without_executing_twice() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.queue(EIM, Package::Psmos(vec![list()]));
    world.fail("provideEimPackageResult", Fault::LoseAnswer);
    let wake = world.poll();
    assert_eq!(wake.reason, WakeReason::BackOff);
    assert_eq!(
        world.answers(EIM).len(),
        1,
        "the eIM has it, the IPA does not know"
    );
    assert_eq!(world.kept().0, 1);
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, Event::ResultKept { .. }))
    );

    world.poll();
    assert_eq!(world.answers(EIM).len(), 1, "the eIM is given its pause");
    world.poll_after(wake);
    let answers = world.answers(EIM);
    assert_eq!(answers.len(), 3);
    let number = |answer: &Answer| match answer {
        Answer::Result {
            sequence_number, ..
        } => *sequence_number,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        number(&answers[0]),
        number(&answers[1]),
        "the same result again"
    );
    assert!(matches!(
        outcomes(&answers[2..])[..],
        [EuiccResultData::ListProfileInfoResult(_)]
    ));
    assert_eq!(world.kept(), (0, 0));
    assert_eq!(world.enabled().as_deref(), Some(SECOND));
}

#[test]
fn a_report_that_the_eim_refuses_stands_in_the_way_of_nothing() {
    for is_lost_first in [false, true] {
        let mut world = World::new();
        if is_lost_first {
            world.fail("provideEimPackageResult", Fault::Unreachable);
        }
        world.net.0.borrow_mut().eim(EIM).refusals_left = 1;
        world.queue(EIM, Package::Data(data_request(&[0xBF, 0x20])));
        world.queue(EIM, Package::Psmos(vec![list()]));
        let wake = world.poll();
        world.poll_after(wake);
        let answers = world.answers(EIM);
        assert!(
            matches!(
                outcomes(&answers)[..],
                [EuiccResultData::ListProfileInfoResult(_)]
            ),
            "{answers:?}"
        );
        assert_eq!(answers.len(), 1, "what was refused is not sent again");
    }
}

#[test]
fn a_signed_result_that_the_eim_refuses_is_kept_and_stands_in_the_way_of_nothing() {
    let mut world = World::new();
    world.net.0.borrow_mut().eim(EIM).refusals_left = 2;
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.queue(EIM, Package::Psmos(vec![list()]));
    let wake = world.poll();
    assert_eq!(wake.reason, WakeReason::BackOff);
    let wake = world.poll_after(wake);
    assert!(matches!(
        outcomes(&world.answers(EIM))[..],
        [EuiccResultData::ListProfileInfoResult(_)]
    ));
    assert_eq!(world.kept().0, 1, "nobody acknowledged the first one");
    world.poll_after(wake);
    assert_eq!(world.kept().0, 0, "it is offered again");
    assert_eq!(world.answers(EIM).len(), 2);
}

#[test]
fn a_restart_of_the_ipa_loses_no_result() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    let wake = world.poll();
    assert!(world.answers(EIM).is_empty());
    world.restart_ipa();
    world.poll();
    assert!(
        world.answers(EIM).is_empty(),
        "the pause survives the restart"
    );
    world.poll_after(wake);
    assert_eq!(
        outcomes(&world.answers(EIM)),
        [EuiccResultData::EnableResult(EnableProfileResult::Ok)]
    );
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn a_reader_pulled_out_at_any_command_loses_nothing() {
    let commands = {
        let mut world = World::new();
        world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
        world.slot.log.borrow_mut().clear();
        world.poll();
        world.slot.log.borrow().len()
    };
    assert!(commands > 20, "{commands}");
    for cut in 0..commands {
        let mut world = World::new();
        world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
        world.slot.fails_after.set(Some(cut));
        let mut wake = world.poll();
        if cut % 2 == 0 {
            world.restart_ipa();
        }
        // An eIM sends a package again until it has the result.
        let package = {
            let mut state = world.net.0.borrow_mut();
            let eim = state.eim(EIM);
            let is_missing = eim.answers.is_empty() && eim.queue.is_empty();
            is_missing.then(|| {
                eim.counter -= 1;
                eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![enable(
                    SECOND, false,
                )]))
            })
        };
        if let Some(package) = package {
            world.queue(EIM, Package::Signed(package));
        }
        for _ in 0..3 {
            wake = world.poll_after(wake);
        }
        let results = world
            .answers(EIM)
            .iter()
            .filter(|answer| matches!(answer, Answer::Result { .. }))
            .count();
        assert!(results >= 1, "cut at {cut}");
        assert_eq!(world.enabled().as_deref(), Some(SECOND), "cut at {cut}");
        assert_eq!(world.kept(), (0, 0), "cut at {cut}");
    }
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for_and_pauses_grow() {
    let mut world = World::new();
    world.fail("getEimPackage", Fault::Status(503, Some("120")));
    let wake = world.poll();
    assert_eq!((wake.after_ms, wake.reason), (120_000, WakeReason::BackOff));
    world.poll();
    assert!(world.calls().is_empty());
    let mut pauses = Vec::new();
    let mut wake = wake;
    for _ in 0..9 {
        world.fail("getEimPackage", Fault::Unreachable);
        wake = world.poll_after(wake);
        pauses.push(wake.after_ms);
    }
    for (index, pause) in pauses.iter().enumerate() {
        // The failure before counts, so the doubling begins at the second step.
        let whole = (5_000_u64 << (index + 1)).min(3_600_000);
        assert!((whole / 2..=whole).contains(pause), "{index}: {pause}");
    }
    world.poll_after(wake);
    assert_eq!(world.calls(), [format!("{EIM} getEimPackage")]);
    world.fail("getEimPackage", Fault::Unreachable);
    assert!(world.poll().after_ms <= 5_000, "a success ends the growth");
}

#[test]
fn errors_of_the_euicc_reach_the_eim_although_the_card_does_not_keep_them() {
    let mut world = World::new();
    let replayed = {
        let mut state = world.net.0.borrow_mut();
        let eim = state.eim(EIM);
        eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![list()]))
    };
    world.queue(EIM, Package::Signed(replayed.clone()));
    world.queue(EIM, Package::Signed(replayed));
    world.poll();
    let answers = world.answers(EIM);
    let [
        Answer::Result { .. },
        Answer::Error(EuiccPackageResult::EuiccPackageErrorSigned(error)),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    let code = error
        .euicc_package_error_data_signed
        .euicc_package_error_code;
    assert_eq!(code, EuiccPackageErrorCode::ReplayError);

    let forged = {
        let mut state = world.net.0.borrow_mut();
        let eim = state.eim(EIM);
        eim.token += 1;
        let forged = eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![list()]));
        eim.token -= 1;
        forged
    };
    world.queue(EIM, Package::Signed(forged));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    let wake = world.poll();
    world.restart_ipa();
    world.poll_after(wake);
    let answers = world.answers(EIM);
    assert!(
        matches!(
            &answers[2..],
            [Answer::Error(
                EuiccPackageResult::EuiccPackageErrorUnsigned(_)
            )]
        ),
        "{answers:?}"
    );
}

#[test]
fn operations_that_cannot_be_done_are_results_too() {
    let mut world = World::new();
    world.queue(EIM, Package::Psmos(vec![delete(BOOTSTRAP)]));
    world.queue(
        EIM,
        Package::Psmos(vec![Psmo::Disable(IccidArgument {
            iccid: iccid(SECOND),
            extensions: Default::default(),
        })]),
    );
    world.poll();
    let found = outcomes(&world.answers(EIM));
    assert!(matches!(found[0], EuiccResultData::DeleteResult(_)));
    assert_eq!(
        found[1],
        EuiccResultData::DisableResult(DisableProfileResult::ProfileNotInEnabledState)
    );
    assert_eq!(world.enabled().as_deref(), Some(BOOTSTRAP));
}

#[test]
fn every_eim_is_polled_and_told_of_what_another_one_did() {
    let mut world = World::with(Setup {
        two_eims: true,
        ..Setup::default()
    });
    world.poll();
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.poll();
    let polls = world.net.0.borrow_mut().eim(OTHER_EIM).polls.clone();
    assert_eq!(polls.len(), 2);
    assert_eq!(polls[0].state_change_cause, None);
    assert_eq!(polls[1].notify_state_change, Some(Null));
    assert_eq!(
        polls[1].state_change_cause,
        Some(StateChangeCause::OtherEim)
    );
    world.poll();
    let mut state = world.net.0.borrow_mut();
    assert!(
        state
            .eim(EIM)
            .polls
            .iter()
            .all(|poll| poll.notify_state_change.is_none())
    );
    assert_eq!(
        state.eim(OTHER_EIM).polls[2].notify_state_change,
        None,
        "once is enough"
    );
}

#[test]
fn an_eim_added_by_another_is_polled_in_the_same_session_and_a_deleted_one_no_more() {
    let mut world = World::new();
    let new = {
        let mut state = world.net.0.borrow_mut();
        let key = pki::PrivateKey::generate(pki::Curve::P256, &mut rng(9)).unwrap();
        let eid = world.eid;
        let euicc = world
            .ipa
            .es10()
            .certificates(None)
            .unwrap()
            .unwrap()
            .euicc_certificate;
        let euicc = pki::Certificate::from_der(euicc.as_der()).unwrap();
        let eim = ScriptedEim::new(OTHER_EIM, eid, key, euicc);
        let configuration = eim.configuration(false);
        state.add_eim(eim);
        configuration
    };
    world.queue(EIM, Package::Ecos(vec![Eco::AddEim(new)]));
    world.poll();
    assert!(matches!(
        outcomes(&world.answers(EIM))[..],
        [EuiccResultData::AddEimResult(
            AddEimResult::AssociationToken(2)
        )]
    ));
    assert_eq!(world.net.0.borrow_mut().eim(OTHER_EIM).polls.len(), 1);

    world.queue(
        EIM,
        Package::Ecos(vec![Eco::DeleteEim(DeleteEim {
            eim_id: OTHER_EIM.parse().unwrap(),
            extensions: Default::default(),
        })]),
    );
    world.poll();
    assert_eq!(
        outcomes(&world.answers(EIM)).last(),
        Some(&EuiccResultData::DeleteEimResult(DeleteEimResult::Ok))
    );
    world.poll();
    assert_eq!(world.net.0.borrow_mut().eim(OTHER_EIM).polls.len(), 1);
}

#[test]
fn data_of_euicc_and_ipa_are_reported() {
    for binding in [Binding::Asn1, Binding::Json] {
        let mut world = with_binding(binding);
        let all = [
            0xA0, 0x81, 0xA2, 0xBF, 0x20, 0xBF, 0x22, 0x83, 0x84, 0xA5, 0xA6, 0xA8, 0xA9,
        ];
        world.queue(EIM, Package::Data(data_request(&all)));
        world.queue(EIM, Package::Data(data_request(&[0x5A])));
        let mut of_unknown_ci = data_request(&[0xA5]);
        of_unknown_ci.euicc_ci_pk_identifier_to_be_used = Some([0xEE; 20][..].into());
        world.queue(EIM, Package::Data(of_unknown_ci));
        let mut of_ci_cut_short = data_request(&[0xA5]);
        let key_id = world
            .ipa
            .es10()
            .info1()
            .unwrap()
            .euicc_ci_pk_id_list_for_signing[0]
            .clone();
        of_ci_cut_short.euicc_ci_pk_identifier_to_be_used = Some(key_id[..4].into());
        world.queue(EIM, Package::Data(of_ci_cut_short));
        world.poll();
        let answers = world.answers(EIM);
        let [
            Answer::Data(full),
            Answer::Data(bad_tag),
            Answer::Data(bad_ci),
            Answer::Data(short),
        ] = &answers[..]
        else {
            panic!("{answers:?}")
        };
        let IpaEuiccDataResponse::IpaEuiccData(data) = full else {
            panic!("{full:?}")
        };
        let IpaEuiccData {
            notifications_list: Some(_),
            default_smdp_address: Some(smdp),
            euicc_package_result_list: Some(_),
            euicc_info1: Some(_),
            euicc_info2: Some(_),
            root_smds_address: Some(_),
            association_token: Some(1),
            eum_certificate: Some(_),
            euicc_certificate: Some(_),
            ipa_capabilities: Some(_),
            device_info: Some(_),
            ..
        } = data
        else {
            panic!("{data:?}")
        };
        assert_eq!(smdp, SMDP);
        let code = |response: &IpaEuiccDataResponse| match response {
            IpaEuiccDataResponse::IpaEuiccDataResponseError(error) => {
                error.ipa_euicc_data_error_code
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(code(bad_tag), IpaEuiccDataErrorCode::IncorrectTagList);
        assert_eq!(code(bad_ci), IpaEuiccDataErrorCode::EuiccCiPKIdNotFound);
        assert!(matches!(short, IpaEuiccDataResponse::IpaEuiccData(_)));
    }
}

#[test]
fn notifications_that_no_eim_acknowledged_go_to_their_server() {
    let mut world = World::new();
    world.net.0.borrow_mut().eim(EIM).acknowledges = false;
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.poll();
    assert_eq!(
        world.net.0.borrow().smdp.notifications.len(),
        2,
        "disable and enable"
    );
    assert_eq!(
        world.kept(),
        (1, 0),
        "the result waits for its acknowledgement"
    );
    world.net.0.borrow_mut().eim(EIM).acknowledges = true;
    world.poll();
    assert_eq!(world.kept(), (0, 0));
}

#[test]
fn a_notification_that_cannot_be_delivered_stays_and_the_next_is_tried() {
    let mut world = World::with(Setup {
        config: Config {
            notification_route: ipa::NotificationRoute::ThroughEim,
            ..Config::default()
        },
        ..Setup::default()
    });
    world.net.0.borrow_mut().eim(EIM).acknowledges = false;
    world.queue(EIM, Package::Psmos(vec![enable(SECOND, false)]));
    world.fail("handleNotification", Fault::Status(500, None));
    let wake = world.poll();
    assert_eq!(
        world.kept().1,
        2,
        "one failed, and its server is given a pause"
    );
    world.poll_after(wake);
    assert_eq!(world.kept().1, 0);
    let through_eim = world
        .answers(EIM)
        .iter()
        .filter(|answer| matches!(answer, Answer::Notification(_)))
        .count();
    assert_eq!(through_eim, 2);
    assert!(world.net.0.borrow().smdp.notifications.is_empty());
}

#[test]
fn an_eim_that_deletes_itself_gets_its_result_after_all() {
    let mut world = World::with(Setup {
        two_eims: true,
        ..Setup::default()
    });
    world.queue(
        EIM,
        Package::Ecos(vec![Eco::DeleteEim(DeleteEim {
            eim_id: EIM.parse().unwrap(),
            extensions: Default::default(),
        })]),
    );
    world.fail("provideEimPackageResult", Fault::Unreachable);
    let wake = world.poll();
    assert!(world.answers(EIM).is_empty());
    world.restart_ipa();
    let wake = world.poll_after(wake);
    assert_eq!(
        outcomes(&world.answers(EIM)),
        [EuiccResultData::DeleteEimResult(DeleteEimResult::Ok)]
    );
    assert_eq!(world.kept(), (0, 0));
    world.calls();
    world.poll_after(wake);
    assert!(world.calls().iter().all(|call| call.starts_with(OTHER_EIM)));
}
