//! Profile State Management Operations.

use rsp::ids::Iccid;
use rsp::sgp22::{PprIds, ProfileInfoListError, ProfileInfoListRequest, ProfileInfoListResponse};
use rsp::sgp32::{
    ConfigureImmediateEnable, ConfigureImmediateEnableResult, DeleteProfileResult,
    DisableProfileResult, EnableProfileResult, EnablePsmo, EuiccResultData as R,
    ProcessingTerminated, Psmo, SetDefaultDpAddressResponse, SetFallbackAttributeResult,
    UnsetFallbackAttributeResult,
};

use super::execution::{Execution, Outcome};
use crate::decisions::REPEATED_STATE_CHANGE;
use crate::isdr::{addresses, configuration, profile_list};
use crate::platform::{Failure, Notify};

pub(super) fn execute(execution: &mut Execution<'_>, psmo: Psmo) -> Outcome {
    let done = match psmo {
        Psmo::Enable(enable) => {
            if std::mem::replace(&mut execution.enable_seen, true) {
                return Outcome::Terminated(REPEATED_STATE_CHANGE);
            }
            execution.change_seen = true;
            execution.enable(&enable).map(R::EnableResult)
        }
        Psmo::Disable(disable) => {
            if std::mem::replace(&mut execution.disable_seen, true) {
                return Outcome::Terminated(REPEATED_STATE_CHANGE);
            }
            execution.change_seen = true;
            execution.disable(&disable.iccid).map(R::DisableResult)
        }
        Psmo::Delete(delete) => {
            execution.change_seen = true;
            execution.delete(&delete.iccid).map(R::DeleteResult)
        }
        Psmo::ListProfileInfo(request) => Ok(R::ListProfileInfoResult(
            execution.list_profile_info(&request),
        )),
        Psmo::GetRat(_) => Ok(R::GetRatResult(execution.platform.state.rat.clone())),
        Psmo::ConfigureImmediateEnable(configuration) => Ok(R::ConfigureImmediateEnableResult(
            execution.configure_immediate_enable(configuration),
        )),
        Psmo::SetFallbackAttribute(set) => Ok(R::SetFallbackAttributeResult(
            execution.set_fallback_attribute(&set.iccid),
        )),
        Psmo::UnsetFallbackAttribute(_) => Ok(R::UnsetFallbackAttributeResult(
            execution.unset_fallback_attribute(),
        )),
        Psmo::SetDefaultDpAddress(request) => {
            Ok(R::SetDefaultDpAddressResult(SetDefaultDpAddressResponse {
                set_default_dp_address_result: addresses::set(
                    execution.platform,
                    &request.default_dp_address,
                ),
                extensions: Default::default(),
            }))
        }
        Psmo::Unknown(_) => {
            return Outcome::Terminated(ProcessingTerminated::UnknownOrDamagedCommand);
        }
    };
    done.map_or_else(Outcome::Failed, Outcome::Done)
}

impl Execution<'_> {
    /// Enables a Profile, and disables the one enabled so far.
    fn enable(&mut self, enable: &EnablePsmo) -> Result<EnableProfileResult, Failure> {
        let state = &self.platform.state;
        let Some(profile) = state.profile(&enable.iccid) else {
            return Ok(EnableProfileResult::IccidOrAidNotFound);
        };
        if profile.enabled {
            return Ok(EnableProfileResult::ProfileNotInDisabledState);
        }
        if state
            .enabled_profile()
            .is_some_and(|current| current.has_rule(PprIds::PPR1))
        {
            return Ok(EnableProfileResult::DisallowedByPolicy);
        }
        let previous = self.rollback_target(&enable.iccid);
        let is_rollback_wanted = enable.rollback_flag.is_some();
        if is_rollback_wanted && previous.is_none() {
            return Ok(EnableProfileResult::RollbackNotAvailable);
        }
        if self.busy.0 {
            return Ok(EnableProfileResult::CatBusy);
        }
        self.platform.switch_to(Some(&enable.iccid), Notify::Yes)?;
        self.platform.state.displaced_by_fallback = None;
        self.rollback_to = previous.filter(|_| is_rollback_wanted);
        Ok(EnableProfileResult::Ok)
    }

    /// Where a rollback would return to; SGP.32 leaves it open. It is the Profile that was enabled when the package began,
    /// if it is still there, and not what an operation before the enable left: a disable in front must not take the way
    /// back away. Without one there is nothing to roll back to.
    fn rollback_target(&self, enabled: &Iccid) -> Option<Iccid> {
        self.enabled_at_start
            .filter(|iccid| iccid != enabled && self.platform.state.profile(iccid).is_some())
    }

    fn disable(&mut self, iccid: &Iccid) -> Result<DisableProfileResult, Failure> {
        let Some(profile) = self.platform.state.profile(iccid) else {
            return Ok(DisableProfileResult::IccidOrAidNotFound);
        };
        if !profile.enabled {
            return Ok(DisableProfileResult::ProfileNotInEnabledState);
        }
        if profile.has_rule(PprIds::PPR1) {
            return Ok(DisableProfileResult::DisallowedByPolicy);
        }
        if self.busy.0 {
            return Ok(DisableProfileResult::CatBusy);
        }
        self.platform.switch_to(None, Notify::Yes)?;
        self.platform.state.displaced_by_fallback = None;
        Ok(DisableProfileResult::Ok)
    }

    fn delete(&mut self, iccid: &Iccid) -> Result<DeleteProfileResult, Failure> {
        let state = &self.platform.state;
        let Some(profile) = state.profile(iccid) else {
            return Ok(DeleteProfileResult::IccidOrAidNotFound);
        };
        if profile.enabled {
            return Ok(DeleteProfileResult::ProfileNotInDisabledState);
        }
        if profile.has_rule(PprIds::PPR2) {
            return Ok(DeleteProfileResult::DisallowedByPolicy);
        }
        if self.rollback_to == Some(*iccid) {
            return Ok(DeleteProfileResult::RollbackNotAvailable);
        }
        if self.platform.is_fallback_enabled() && state.displaced_by_fallback == Some(*iccid) {
            return Ok(DeleteProfileResult::ReturnFallbackProfile);
        }
        self.platform.delete_profile(iccid, Notify::Yes)?;
        Ok(DeleteProfileResult::Ok)
    }

    fn list_profile_info(&self, request: &ProfileInfoListRequest) -> ProfileInfoListResponse {
        if self.change_seen {
            return ProfileInfoListResponse::ProfileInfoListError(
                ProfileInfoListError::ProfileChangeOngoing,
            );
        }
        profile_list::list(&self.platform.state, request)
    }

    fn configure_immediate_enable(
        &mut self,
        wanted: ConfigureImmediateEnable,
    ) -> ConfigureImmediateEnableResult {
        if configuration::store_immediate_enable(self.platform, wanted) {
            ConfigureImmediateEnableResult::Ok
        } else {
            ConfigureImmediateEnableResult::InsufficientMemory
        }
    }

    /// Makes a Profile the Fallback Profile instead of the one that is.
    fn set_fallback_attribute(&mut self, iccid: &Iccid) -> SetFallbackAttributeResult {
        let state = &self.platform.state;
        let Some(profile) = state.profile(iccid) else {
            return SetFallbackAttributeResult::IccidOrAidNotFound;
        };
        if !profile.is_fallback_allowed() || !state.options.fallback_supported {
            return SetFallbackAttributeResult::FallbackNotAllowed;
        }
        if self.platform.is_fallback_enabled() {
            return SetFallbackAttributeResult::FallbackProfileEnabled;
        }
        for profile in &mut self.platform.state.profiles {
            profile.fallback_attribute = profile.metadata.iccid == *iccid;
        }
        SetFallbackAttributeResult::Ok
    }

    fn unset_fallback_attribute(&mut self) -> UnsetFallbackAttributeResult {
        if self.platform.state.fallback_profile().is_none() {
            return UnsetFallbackAttributeResult::NoFallbackAttribute;
        }
        if self.platform.is_fallback_enabled() {
            return UnsetFallbackAttributeResult::FallbackProfileEnabled;
        }
        for profile in &mut self.platform.state.profiles {
            profile.fallback_attribute = false;
        }
        UnsetFallbackAttributeResult::Ok
    }
}
