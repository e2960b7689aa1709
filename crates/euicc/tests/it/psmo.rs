//! Profile State Management Operations: every result code, and the rules about what a package may contain.

use rsp::der::{Element, Null};
use rsp::sgp22::*;
use rsp::sgp32::EuiccResultData as R;
use rsp::sgp32::*;

use crate::support::*;

fn run(bench: &mut Bench, eim: &mut Eim, list: Vec<Psmo>) -> Vec<R> {
    bench.run(eim, EuiccPackage::PsmoList(list))
}

#[test]
fn enable_has_its_result_codes() {
    let (mut bench, mut eim) = Bench::associated(vec![profile(1), profile(2)]);
    let code = |bench: &mut Bench, eim: &mut Eim, psmo| enable_code(&bench.psmo(eim, psmo));
    use EnableProfileResult as E;
    assert_eq!(code(&mut bench, &mut eim, enable(9)), E::IccidOrAidNotFound);
    assert_eq!(
        code(&mut bench, &mut eim, enable_with_rollback(1)),
        E::RollbackNotAvailable
    );
    assert_eq!(code(&mut bench, &mut eim, enable(1)), E::Ok);
    assert_eq!(
        code(&mut bench, &mut eim, enable(1)),
        E::ProfileNotInDisabledState
    );
    bench.card.set_toolkit_session(true);
    assert_eq!(code(&mut bench, &mut eim, enable(2)), E::CatBusy);
    bench.card.set_toolkit_session(false);
    assert_eq!(bench.enabled(), Some(iccid(1)));
    assert_eq!(code(&mut bench, &mut eim, enable_with_rollback(2)), E::Ok);
    assert_eq!(bench.enabled(), Some(iccid(2)));
    assert_eq!(
        bench.events(),
        [(1, iccid(1)), (2, iccid(1)), (1, iccid(2))]
    );
}

#[test]
fn a_profile_with_ppr1_stays_enabled() {
    let locked = with_rules(enabled(1), &[PprIds::PPR1]);
    let (mut bench, mut eim) = Bench::associated(vec![locked, profile(2)]);
    let results = run(&mut bench, &mut eim, vec![enable(2), disable(1)]);
    assert_eq!(
        results,
        [
            R::EnableResult(EnableProfileResult::DisallowedByPolicy),
            R::DisableResult(DisableProfileResult::DisallowedByPolicy),
        ]
    );
    assert_eq!(bench.enabled(), Some(iccid(1)));
    assert_eq!(bench.events(), []);
}

#[test]
fn disable_has_its_result_codes() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    use DisableProfileResult as D;
    let code = |bench: &mut Bench, eim: &mut Eim, number| bench.psmo(eim, disable(number));
    assert_eq!(
        code(&mut bench, &mut eim, 9),
        R::DisableResult(D::IccidOrAidNotFound)
    );
    assert_eq!(
        code(&mut bench, &mut eim, 2),
        R::DisableResult(D::ProfileNotInEnabledState)
    );
    bench.card.set_toolkit_session(true);
    assert_eq!(code(&mut bench, &mut eim, 1), R::DisableResult(D::CatBusy));
    bench.card.set_toolkit_session(false);
    assert_eq!(code(&mut bench, &mut eim, 1), R::DisableResult(D::Ok));
    assert_eq!(bench.enabled(), None);
    assert_eq!(bench.card.active_profile(), None);
    assert_eq!(bench.events(), [(2, iccid(1))]);
}

#[test]
fn delete_has_its_result_codes() {
    let protected = with_rules(profile(3), &[PprIds::PPR2]);
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), protected]);
    use DeleteProfileResult as D;
    let code = |bench: &mut Bench, eim: &mut Eim, number| bench.psmo(eim, delete(number));
    assert_eq!(
        code(&mut bench, &mut eim, 9),
        R::DeleteResult(D::IccidOrAidNotFound)
    );
    assert_eq!(
        code(&mut bench, &mut eim, 1),
        R::DeleteResult(D::ProfileNotInDisabledState)
    );
    assert_eq!(
        code(&mut bench, &mut eim, 3),
        R::DeleteResult(D::DisallowedByPolicy)
    );
    assert_eq!(code(&mut bench, &mut eim, 2), R::DeleteResult(D::Ok));
    assert_eq!(bench.profiles().len(), 2);
    assert_eq!(bench.events(), [(3, iccid(2))]);
    // What a rollback needs stays.
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let results = run(
        &mut bench,
        &mut eim,
        vec![enable_with_rollback(2), delete(1)],
    );
    assert_eq!(results[1], R::DeleteResult(D::RollbackNotAvailable));
}

#[test]
fn the_profile_to_return_to_from_fallback_is_not_deleted() {
    let fallback = with(profile(2), |it| it.is_fallback = true);
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), fallback]);
    let response: ExecuteFallbackMechanismResponse = bench.ask(&ExecuteFallbackMechanismRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    assert_eq!(
        response.execute_fallback_mechanism_result,
        ExecuteFallbackMechanismResult::Ok
    );
    let kept = R::DeleteResult(DeleteProfileResult::ReturnFallbackProfile);
    assert_eq!(bench.psmo(&mut eim, delete(1)), kept);
}

#[test]
fn a_listing_after_a_change_in_the_same_package_is_refused() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), profile(3)]);
    for change in [delete(3), disable(1), enable(2)] {
        let results = run(
            &mut bench,
            &mut eim,
            vec![list_profiles(), change, list_profiles()],
        );
        assert!(matches!(
            results[0],
            R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(_))
        ));
        assert_eq!(
            results[2],
            R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListError(
                ProfileInfoListError::ProfileChangeOngoing
            ))
        );
    }
}

#[test]
fn a_listing_tells_what_was_asked_for() {
    let (mut bench, mut eim) = Bench::associated(vec![
        enabled(1),
        of_class(profile(2), ProfileClass::Test),
        emergency(3),
    ]);
    let mut list = |search_criteria, tag_list: Option<&[u8]>| {
        let psmo = Psmo::ListProfileInfo(ProfileInfoListRequest {
            search_criteria,
            tag_list: tag_list.map(Into::into),
            extensions: Default::default(),
        });
        match bench.psmo(&mut eim, psmo) {
            R::ListProfileInfoResult(response) => response,
            other => panic!("{other:?}"),
        }
    };
    let ok = |response| match response {
        ProfileInfoListResponse::ProfileInfoListOk(list) => list,
        other => panic!("{other:?}"),
    };
    let all = ok(list(None, None));
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].profile_state, Some(ProfileState::Enabled));
    assert_eq!(all[0].profile_class, Some(ProfileClass::Operational));
    assert_eq!(all[0].notification_configuration_info, None);
    assert_eq!(all[2].ecall_indication, Some(true));

    let test = ok(list(
        Some(ProfileSearchCriteria::ProfileClass(ProfileClass::Test)),
        Some(&[0x5A]),
    ));
    assert_eq!(test.len(), 1);
    assert_eq!(
        test[0].to_der(),
        [&[0xE3, 12, 0x5A, 10][..], iccid(2).octets()].concat()
    );
    let by_aid = ProfileSearchCriteria::IsdpAid(all[1].isdp_aid.clone().unwrap());
    assert_eq!(ok(list(Some(by_aid), None))[0].iccid, Some(iccid(2)));
    let absent = ProfileSearchCriteria::Iccid(iccid(9));
    assert_eq!(ok(list(Some(absent), None)), []);
    let broken = list(None, Some(&[0x5A, 0x9F]));
    assert_eq!(
        broken,
        ProfileInfoListResponse::ProfileInfoListError(ProfileInfoListError::IncorrectInputValues)
    );
}

#[test]
fn a_second_enable_or_disable_ends_the_package() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), profile(3)]);
    let results = run(
        &mut bench,
        &mut eim,
        vec![enable(2), enable(3), Psmo::GetRat(no_arguments())],
    );
    let ended = R::ProcessingTerminated(ProcessingTerminated::UnknownOrDamagedCommand);
    assert_eq!(
        results,
        [R::EnableResult(EnableProfileResult::Ok), ended.clone()]
    );
    assert_eq!(bench.enabled(), Some(iccid(2)));
    let results = run(&mut bench, &mut eim, vec![disable(9), disable(2)]);
    assert_eq!(results[1], ended);
    assert_eq!(bench.enabled(), Some(iccid(2)));
}

#[test]
fn an_error_code_does_not_end_a_package() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let results = run(&mut bench, &mut eim, vec![delete(9), enable(2)]);
    assert_eq!(
        results[0],
        R::DeleteResult(DeleteProfileResult::IccidOrAidNotFound)
    );
    assert_eq!(results[1], R::EnableResult(EnableProfileResult::Ok));
}

#[test]
fn unknown_and_damaged_operations_end_a_package_but_not_what_went_before() {
    let ended = R::ProcessingTerminated(ProcessingTerminated::UnknownOrDamagedCommand);
    let good = enable(2).to_der();
    let unknown = [0xBE, 0x00].to_vec();
    let damaged = [0xA5, 0x03, 0x5A, 0x01, 0x98].to_vec();
    let empty = [0xA4, 0x00].to_vec();
    for bad in [unknown, damaged, empty] {
        let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), profile(3)]);
        let list = [good.clone(), bad, delete(3).to_der()].concat();
        let request = eim.sign_raw(0xA0, &list);
        let data = eim.verified(&bench.load(&request));
        assert_eq!(
            data.euicc_result,
            [R::EnableResult(EnableProfileResult::Ok), ended.clone()]
        );
        assert_eq!(bench.enabled(), Some(iccid(2)));
        assert_eq!(bench.profiles().len(), 3);
    }
    // A list that is neither of operations nor of eIMs.
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let request = eim.sign_raw(0xA2, &[]);
    assert_eq!(eim.verified(&bench.load(&request)).euicc_result, [ended]);
    // An empty list is a package too.
    let request = eim.sign_raw(0xA0, &[]);
    assert_eq!(eim.verified(&bench.load(&request)).euicc_result, []);
}

#[test]
fn a_result_that_grows_too_large_ends_the_package() {
    let icon = |number| {
        with(profile(number), |it| {
            it.metadata.icon = Some(vec![number; 1000].into())
        })
    };
    let mut bench = Bench::with_options((1..=3).map(icon).collect(), |options| {
        options.result_octets_max = 2700;
    });
    let mut eim = bench.associate();
    let icons_of = |number| {
        Psmo::ListProfileInfo(ProfileInfoListRequest {
            search_criteria: Some(ProfileSearchCriteria::Iccid(iccid(number))),
            tag_list: Some([0x94].as_slice().into()),
            extensions: Default::default(),
        })
    };
    let results = run(
        &mut bench,
        &mut eim,
        vec![icons_of(1), icons_of(2), enable(3)],
    );
    let overflow = R::ProcessingTerminated(ProcessingTerminated::ResultSizeOverflow);
    assert_eq!(results.len(), 2);
    assert_eq!(results[1], overflow);
    assert_eq!(bench.enabled(), None);
    // Nothing is changed for which there is no room to tell.
    let mut bench =
        Bench::with_options(vec![profile(1)], |options| options.result_octets_max = 720);
    let mut eim = bench.associate();
    assert_eq!(run(&mut bench, &mut eim, vec![enable(1)]), [overflow]);
    assert_eq!(bench.enabled(), None);
}

#[test]
fn the_rat_is_told_as_it_is() {
    let rule = ProfilePolicyAuthorisationRule {
        ppr_ids: PprIds::of([PprIds::PPR1]),
        allowed_operators: vec![],
        ppr_flags: PprFlags::of([]),
        extensions: Default::default(),
    };
    let mut personalisation = personalisation(vec![]);
    personalisation.rat = vec![rule.clone()];
    let mut bench = Bench::of(personalisation);
    let mut eim = bench.associate();
    let result = bench.psmo(&mut eim, Psmo::GetRat(no_arguments()));
    assert_eq!(result, R::GetRatResult(vec![rule.clone()]));
    let local: GetRatResponse = bench.ask(&GetRatRequest {
        extensions: Default::default(),
    });
    assert_eq!(local.rat, [rule]);
}

#[test]
fn the_fallback_attribute_is_set_moved_and_taken_away() {
    let refusing = with(profile(3), |it| it.metadata.fallback_allowed = None);
    let (mut bench, mut eim) =
        Bench::associated(vec![enabled(1), profile(2), refusing, profile(4)]);
    use SetFallbackAttributeResult as S;
    use UnsetFallbackAttributeResult as U;
    let set = |bench: &mut Bench, eim: &mut Eim, number| match bench.psmo(eim, set_fallback(number))
    {
        R::SetFallbackAttributeResult(code) => code,
        other => panic!("{other:?}"),
    };
    let unset = |bench: &mut Bench, eim: &mut Eim| match bench
        .psmo(eim, Psmo::UnsetFallbackAttribute(no_arguments()))
    {
        R::UnsetFallbackAttributeResult(code) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(unset(&mut bench, &mut eim), U::NoFallbackAttribute);
    assert_eq!(set(&mut bench, &mut eim, 9), S::IccidOrAidNotFound);
    assert_eq!(set(&mut bench, &mut eim, 3), S::FallbackNotAllowed);
    assert_eq!(set(&mut bench, &mut eim, 2), S::Ok);
    assert_eq!(bench.fallback(), Some(iccid(2)));
    assert_eq!(set(&mut bench, &mut eim, 4), S::Ok);
    assert_eq!(bench.fallback(), Some(iccid(4)));
    bench.psmo(&mut eim, enable(4));
    assert_eq!(set(&mut bench, &mut eim, 2), S::FallbackProfileEnabled);
    assert_eq!(unset(&mut bench, &mut eim), U::FallbackProfileEnabled);
    bench.psmo(&mut eim, enable(1));
    assert_eq!(unset(&mut bench, &mut eim), U::Ok);
    assert_eq!(bench.fallback(), None);
}

#[test]
fn addresses_and_immediate_enabling_are_configured() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let address = |bench: &mut Bench| {
        let response: EuiccConfiguredAddressesResponse =
            bench.ask(&EuiccConfiguredAddressesRequest {
                extensions: Default::default(),
            });
        response.default_dp_address
    };
    let set = |text: &str| {
        Psmo::SetDefaultDpAddress(SetDefaultDpAddressRequest {
            default_dp_address: text.to_owned(),
            extensions: Default::default(),
        })
    };
    let outcome = |result: R| match result {
        R::SetDefaultDpAddressResult(response) => response.set_default_dp_address_result,
        other => panic!("{other:?}"),
    };
    let set_to = |bench: &mut Bench, eim: &mut Eim, text: &str| outcome(bench.psmo(eim, set(text)));
    assert_eq!(
        set_to(&mut bench, &mut eim, "new.example.com"),
        OkOrUndefinedError::Ok
    );
    assert_eq!(address(&mut bench).as_deref(), Some("new.example.com"));
    let too_long = "a".repeat(256);
    assert_eq!(
        set_to(&mut bench, &mut eim, &too_long),
        OkOrUndefinedError::UndefinedError
    );
    assert_eq!(set_to(&mut bench, &mut eim, ""), OkOrUndefinedError::Ok);
    assert_eq!(address(&mut bench), None);

    let configure = |address: &str| {
        Psmo::ConfigureImmediateEnable(ConfigureImmediateEnable {
            immediate_enable_flag: Some(Null),
            default_smdp_oid: None,
            default_smdp_address: Some(address.to_owned()),
            extensions: Default::default(),
        })
    };
    use ConfigureImmediateEnableResult as C;
    let result = bench.psmo(&mut eim, configure("smdp.example.com"));
    assert_eq!(result, R::ConfigureImmediateEnableResult(C::Ok));
    let result = bench.psmo(&mut eim, configure(&too_long));
    assert_eq!(
        result,
        R::ConfigureImmediateEnableResult(C::InsufficientMemory)
    );
    // The first one is in force.
    smdp::download(&mut bench);
    let response: ImmediateEnableResponse = bench.ask(&ImmediateEnableRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    assert_eq!(response.immediate_enable_result, ImmediateEnableResult::Ok);
}
