//! ES10b.eUICCMemoryReset (SGP.32 v1.2).

use rsp::ids::Iccid;
use rsp::sgp22::{PprIds, ProfileClass};
use rsp::sgp32::{
    EuiccMemoryResetRequest, EuiccMemoryResetResponse, ResetEimResult,
    ResetImmediateEnableConfigResult, ResetOptions, ResetResult,
};

use super::{Answer, CatBusy};
use crate::decisions::{MEMORY_RESET_IGNORES_PPR, MEMORY_RESET_NOTIFIES};
use crate::platform::{Failure, Notify, Platform};
use crate::state::Profile;

/// Deletes what the options name. Of the three results, those of the eIMs and of immediate enabling are there only
/// when they were asked for.
pub(super) fn memory_reset(
    platform: &mut Platform,
    request: &EuiccMemoryResetRequest,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    let options = &request.reset_options;
    if platform.state.emergency.is_some() {
        return Ok(answer(ResetResult::EcallActive, None, None, false));
    }
    let condemned: Vec<Iccid> = platform
        .state
        .profiles
        .iter()
        .filter(|profile| is_named(profile, options))
        .map(|profile| *profile.iccid())
        .collect();
    let enabled = platform.state.enabled_iccid();
    let takes_enabled = enabled.is_some_and(|enabled| condemned.contains(&enabled));
    if takes_enabled && busy.0 {
        return Ok(answer(ResetResult::CatBusy, None, None, false));
    }

    let notify = if MEMORY_RESET_NOTIFIES {
        Notify::Yes
    } else {
        Notify::No
    };
    for iccid in &condemned {
        platform.delete_profile(iccid, notify)?;
    }
    let address = platform
        .state
        .default_smdp_address
        .take_if(|_| options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS));
    let reset_result = if condemned.is_empty() && address.is_none() {
        ResetResult::NothingToDelete
    } else {
        ResetResult::Ok
    };
    let eims = options
        .contains(ResetOptions::RESET_EIM_CONFIG_DATA)
        .then(|| reset_eims(platform));
    let immediate_enable = options
        .contains(ResetOptions::RESET_IMMEDIATE_ENABLE_CONFIG)
        .then(|| reset_immediate_enable(platform));
    Ok(answer(reset_result, eims, immediate_enable, takes_enabled))
}

fn is_named(profile: &Profile, options: &ResetOptions) -> bool {
    let option = match (profile.class(), profile.pre_loaded) {
        (ProfileClass::Test, true) => ResetOptions::DELETE_PRE_LOADED_TEST_PROFILES,
        (ProfileClass::Test, false) => ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES,
        (ProfileClass::Provisioning, _) => ResetOptions::DELETE_PROVISIONING_PROFILES,
        (ProfileClass::Operational | ProfileClass::Other(_), _) => {
            ResetOptions::DELETE_OPERATIONAL_PROFILES
        }
    };
    options.contains(option) && (MEMORY_RESET_IGNORES_PPR || !profile.has_rule(PprIds::PPR2))
}

/// After this AddInitialEim works again. The token counter stays, so that no package of the old association can be
/// played to a new one.
fn reset_eims(platform: &mut Platform) -> ResetEimResult {
    let state = &mut platform.state;
    if !state.options.eim_reset_allowed {
        return ResetEimResult::EimResetNotSupported;
    }
    if state.eims.is_empty() {
        return ResetEimResult::NothingToDelete;
    }
    state.eims.clear();
    state.rollback = None;
    ResetEimResult::Ok
}

fn reset_immediate_enable(platform: &mut Platform) -> ResetImmediateEnableConfigResult {
    let state = &mut platform.state;
    if !state.options.immediate_enable_reset_allowed {
        return ResetImmediateEnableConfigResult::ResetIecNotSupported;
    }
    state.immediate_enable = None;
    ResetImmediateEnableConfigResult::Ok
}

fn answer(
    reset_result: ResetResult,
    reset_eim_result: Option<ResetEimResult>,
    reset_immediate_enable_config_result: Option<ResetImmediateEnableConfigResult>,
    refresh: bool,
) -> Answer {
    let response = EuiccMemoryResetResponse {
        reset_result,
        reset_eim_result,
        reset_immediate_enable_config_result,
        extensions: Default::default(),
    };
    Answer::with_refresh(&response, refresh)
}
