//! The changes of Profile that the IPA may make without a package: immediate enabling, rollback, fallback and emergency
//! (SGP.32 v1.2 sections 3.4.4 to 3.4.7 and 5.9.15 to 5.9.23).

use rsp::sgp22::PprIds;
use rsp::sgp32::{
    ConfigureImmediateEnable, DisableEmergencyProfileRequest, DisableEmergencyProfileResponse,
    DisableEmergencyProfileResult, EnableEmergencyProfileRequest, EnableEmergencyProfileResponse,
    EnableEmergencyProfileResult, EuiccResultData, ExecuteFallbackMechanismRequest,
    ExecuteFallbackMechanismResponse, ExecuteFallbackMechanismResult, ImmediateEnableRequest,
    ImmediateEnableResponse, ImmediateEnableResult, ProfileRollbackRequest,
    ProfileRollbackResponse, ProfileRollbackResult, ReturnFromFallbackRequest,
    ReturnFromFallbackResponse, ReturnFromFallbackResult, RollbackProfileResult,
};

use super::{Answer, CatBusy};
use crate::decisions::{
    EMERGENCY_NOTIFIES, RECOVERY_OVERRIDES_PPR1, ROLLBACK_RESULT_IS_NUMBERED_ANEW,
};
use crate::package::{keep_result, sign_result};
use crate::platform::{Failure, Notify, Platform};
use crate::session::Downloaded;
use crate::state::{Emergency, Executing, Pending, RollbackGrant};

/// Enables the Profile that the current session installed, if an eIM or the manufacturer configured so.
pub(super) fn immediate_enable(
    platform: &mut Platform,
    request: &ImmediateEnableRequest,
    downloaded: Option<&Downloaded>,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    let result = check_immediate_enable(platform, downloaded, busy);
    if let (ImmediateEnableResult::Ok, Some(downloaded)) = (result, downloaded) {
        platform.switch_to(Some(&downloaded.iccid), Notify::Yes)?;
        platform.state.displaced_by_fallback = None;
        if request.refresh_flag {
            platform.state.rollback = None;
        }
    }
    let response = ImmediateEnableResponse {
        immediate_enable_result: result,
        extensions: Default::default(),
    };
    let refresh = result == ImmediateEnableResult::Ok && request.refresh_flag;
    Ok(Answer::with_refresh(&response, refresh))
}

fn check_immediate_enable(
    platform: &Platform,
    downloaded: Option<&Downloaded>,
    busy: CatBusy,
) -> ImmediateEnableResult {
    let state = &platform.state;
    let configuration = state
        .immediate_enable
        .as_ref()
        .filter(|it| it.immediate_enable_flag.is_some());
    let Some(configuration) = configuration.filter(|_| state.emergency.is_none()) else {
        return ImmediateEnableResult::ImmediateEnableNotAvailable;
    };
    let Some(downloaded) = downloaded else {
        return ImmediateEnableResult::NoSessionContext;
    };
    let is_there = state
        .profile(&downloaded.iccid)
        .is_some_and(|profile| !profile.enabled);
    let may_be_left = !state
        .enabled_profile()
        .is_some_and(|current| current.has_rule(PprIds::PPR1));
    if !is_there || !may_be_left || !is_from(downloaded, configuration) {
        return ImmediateEnableResult::ImmediateEnableNotAvailable;
    }
    if busy.0 {
        return ImmediateEnableResult::CatBusy;
    }
    ImmediateEnableResult::Ok
}

/// Whether the SM-DP+ is the one that the configuration allows, if it names one.
fn is_from(downloaded: &Downloaded, configuration: &ConfigureImmediateEnable) -> bool {
    let oid = configuration.default_smdp_oid.as_ref();
    let address = configuration.default_smdp_address.as_ref();
    oid.is_none_or(|oid| *oid == downloaded.smdp_oid)
        && address.is_none_or(|address| address.eq_ignore_ascii_case(&downloaded.smdp_address))
}

/// Takes back the enabling of a Profile, once, when the package allowed it. Its new result replaces the first one.
pub(super) fn profile_rollback(
    platform: &mut Platform,
    request: &ProfileRollbackRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    let grant = platform
        .state
        .rollback
        .clone()
        .filter(|_| platform.state.emergency.is_none());
    let refused = match &grant {
        None => Some(ProfileRollbackResult::RollbackNotAllowed),
        Some(_) if busy.0 => Some(ProfileRollbackResult::CatBusy),
        Some(grant) => {
            let is_possible = may_recover(platform)
                && platform.state.profile(&grant.previous).is_some()
                && platform.state.eim(&grant.eim_id).is_some();
            (!is_possible).then_some(ProfileRollbackResult::CommandError)
        }
    };
    let euicc_package_result = match (grant, refused) {
        (Some(grant), None) => Some(roll_back(platform, &grant)?),
        _ => None,
    };
    let cmd_result = refused.unwrap_or(ProfileRollbackResult::Ok);
    let refresh = euicc_package_result.is_some() && request.refresh_flag;
    let response = ProfileRollbackResponse {
        cmd_result,
        euicc_package_result,
        extensions: Default::default(),
    };
    Ok(Answer::with_refresh(&response, refresh))
}

fn roll_back(
    platform: &mut Platform,
    grant: &RollbackGrant,
) -> Result<rsp::sgp32::EuiccPackageResult, Failure> {
    platform.switch_to(Some(&grant.previous), Notify::Yes)?;
    let state = &mut platform.state;
    state.displaced_by_fallback = grant.displaced_by_fallback;
    state.rollback = None;
    state.pending.retain(|entry| match entry {
        Pending::PackageResult(kept) => kept.seq_number != grant.result_seq_number,
        _ => true,
    });
    let eim = state.eim(&grant.eim_id);
    let context = Executing {
        eim_id: grant.eim_id.clone(),
        counter_value: grant.counter_value,
        eim_transaction_id: grant.eim_transaction_id.clone(),
        association_token: eim.and_then(|eim| eim.association_token),
        euicc_ci_pk_id: eim.and_then(|eim| eim.configuration.euicc_ci_pk_id.clone()),
        extensions: Default::default(),
    };
    let seq_number = if ROLLBACK_RESULT_IS_NUMBERED_ANEW {
        platform.state.take_sequence_number()
    } else {
        grant.result_seq_number
    };
    let outcome = vec![EuiccResultData::RollbackResult(RollbackProfileResult::Ok)];
    let result = sign_result(platform, &context, seq_number, outcome)?;
    keep_result(platform, seq_number, result.clone());
    Ok(result)
}

/// Enables the Fallback Profile and remembers which one it displaced.
pub(super) fn execute_fallback(
    platform: &mut Platform,
    request: &ExecuteFallbackMechanismRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    use ExecuteFallbackMechanismResult as R;
    let state = &platform.state;
    let current = state.enabled_iccid();
    let fallback = state.fallback_profile().map(|profile| *profile.iccid());
    let is_possible =
        state.options.fallback_supported && current.is_some() && may_recover(platform);
    let result = if !is_possible {
        R::CommandError
    } else if fallback.is_none() {
        R::FallbackNotAvailable
    } else if fallback == current {
        R::ProfileNotInDisabledState
    } else if state.emergency.is_some() {
        R::EcallActive
    } else if busy.0 {
        R::CatBusy
    } else {
        R::Ok
    };
    if result == R::Ok {
        platform.switch_to(fallback.as_ref(), Notify::Yes)?;
        platform.state.displaced_by_fallback = current;
        platform.state.rollback = None;
    }
    let response = ExecuteFallbackMechanismResponse {
        execute_fallback_mechanism_result: result,
        extensions: Default::default(),
    };
    Ok(Answer::with_refresh(
        &response,
        result == R::Ok && request.refresh_flag,
    ))
}

/// Enables the Profile again that the Fallback Profile displaced.
pub(super) fn return_from_fallback(
    platform: &mut Platform,
    request: &ReturnFromFallbackRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    use ReturnFromFallbackResult as R;
    let state = &platform.state;
    let displaced = state
        .displaced_by_fallback
        .filter(|iccid| state.profile(iccid).is_some());
    let result = if !platform.is_fallback_enabled() {
        R::FallbackNotAvailable
    } else if displaced.is_none() {
        R::CommandError
    } else if busy.0 {
        R::CatBusy
    } else {
        R::Ok
    };
    if result == R::Ok {
        platform.switch_to(displaced.as_ref(), Notify::Yes)?;
        platform.state.displaced_by_fallback = None;
    }
    let response = ReturnFromFallbackResponse {
        return_from_fallback_result: result,
        extensions: Default::default(),
    };
    Ok(Answer::with_refresh(
        &response,
        result == R::Ok && request.refresh_flag,
    ))
}

/// Whether the enabled Profile may be left for the sake of connectivity.
fn may_recover(platform: &Platform) -> bool {
    let current = platform.state.enabled_profile();
    RECOVERY_OVERRIDES_PPR1 || !current.is_some_and(|profile| profile.has_rule(PprIds::PPR1))
}

const EMERGENCY_NOTIFY: Notify = if EMERGENCY_NOTIFIES {
    Notify::Yes
} else {
    Notify::No
};

/// Enables the Emergency Profile, silently. It stays enabled over a reset.
pub(super) fn enable_emergency_profile(
    platform: &mut Platform,
    request: &EnableEmergencyProfileRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    use EnableEmergencyProfileResult as R;
    let state = &platform.state;
    let current = state.enabled_iccid();
    let emergency = state.profiles.iter().find(|profile| profile.is_emergency());
    let emergency = emergency.map(|profile| *profile.iccid());
    let result = match emergency {
        None => R::EcallNotAvailable,
        Some(_) if !state.options.ecall_supported => R::EcallNotAvailable,
        Some(_) if state.emergency.is_some() || current == emergency => {
            R::ProfileNotInDisabledState
        }
        Some(_) if !may_recover(platform) => R::UndefinedError,
        Some(_) if busy.0 => R::CatBusy,
        Some(_) => R::Ok,
    };
    if let (R::Ok, Some(profile)) = (result, emergency) {
        platform.switch_to(Some(&profile), EMERGENCY_NOTIFY)?;
        platform.state.emergency = Some(Emergency {
            profile,
            displaced: current,
            extensions: Default::default(),
        });
        if request.refresh_flag {
            platform.state.rollback = None;
        }
    }
    let response = EnableEmergencyProfileResponse {
        enable_emergency_profile_result: result,
        extensions: Default::default(),
    };
    Ok(Answer::with_refresh(
        &response,
        result == R::Ok && request.refresh_flag,
    ))
}

/// Returns to the Profile that was enabled before the emergency.
pub(super) fn disable_emergency_profile(
    platform: &mut Platform,
    request: &DisableEmergencyProfileRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    use DisableEmergencyProfileResult as R;
    let emergency = platform.state.emergency.clone();
    let result = match emergency {
        None => R::ProfileNotInEnabledState,
        Some(_) if busy.0 => R::CatBusy,
        Some(_) => R::Ok,
    };
    if let (R::Ok, Some(emergency)) = (result, emergency) {
        let target = emergency
            .displaced
            .filter(|iccid| platform.state.profile(iccid).is_some());
        platform.switch_to(target.as_ref(), EMERGENCY_NOTIFY)?;
        platform.state.emergency = None;
        if request.refresh_flag {
            platform.state.rollback = None;
        }
    }
    let response = DisableEmergencyProfileResponse {
        disable_emergency_profile_result: result,
        extensions: Default::default(),
    };
    Ok(Answer::with_refresh(
        &response,
        result == R::Ok && request.refresh_flag,
    ))
}
