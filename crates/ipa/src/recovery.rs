//! Coming back from a Profile without connectivity: rollback, fallback, emergency (SGP.32 v1.2 sections 3.4.4 to 3.4.7).

use rsp::der::Null;
use rsp::sgp32::{
    DisableEmergencyProfileResult, EnableEmergencyProfileResult, EuiccMemoryResetResponse,
    EuiccPackageResult, ExecuteFallbackMechanismResult, ProfileRollbackResult, ResetOptions,
    ReturnFromFallbackResult, StateChangeCause,
};

use crate::card::CardError;
use crate::client::Contact;
use crate::engine::{Engine, elapsed_ms};
use crate::event::Event;
use crate::package::{Provided, effects};
use crate::state::RollbackWatch;

/// What became of the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fallback {
    Enabled,
    /// An application session is in the way; soon again.
    Busy,
    Unavailable,
}

impl Engine<'_> {
    /// Brings an enabling with rollback to its end: the result is delivered over the new Profile, or the enabling is taken
    /// back. Whether it came to its end.
    pub(crate) fn settle_rollback(&mut self, eims: &[Contact]) -> Result<bool, CardError> {
        let Some(mut watch) = self.state.rollback.clone() else {
            return Ok(true);
        };
        let Some(result) = find_result(self.kept_results()?, &watch) else {
            // Acknowledged, or the package never took effect.
            self.state.rollback = None;
            return Ok(true);
        };
        watch.sequence_number = effects(&result).sequence_number;
        let settings = self.config.rollback;
        if self.connectivity.check() {
            let is_early = watch
                .last_attempt_ms
                .is_some_and(|last| elapsed_ms(last, self.now_ms) < settings.retry_ms);
            let is_over = elapsed_ms(watch.since_ms, self.now_ms) >= settings.timeout_ms;
            if is_early && !is_over {
                return Ok(false);
            }
            let contact = eims.iter().find(|eim| *eim.eim_id() == watch.eim_id);
            let provided = match contact {
                Some(eim) => self.deliver_result(eim, result)?,
                None => Provided::Failed,
            };
            if provided != Provided::Failed {
                // An eIM that refuses has been reached all the same.
                self.state.rollback = None;
                return Ok(true);
            }
            watch.attempts = watch.attempts.saturating_add(1);
            watch.last_attempt_ms = Some(self.now_ms);
            let may_go_on = watch.attempts < i64::from(settings.attempts_max) && !is_over;
            self.state.rollback = Some(watch.clone());
            self.save();
            if may_go_on {
                return Ok(false);
            }
        }
        self.roll_back(watch, eims)
    }

    /// ES10b.ProfileRollback. Whether that is over; it is not while the card is busy.
    fn roll_back(&mut self, watch: RollbackWatch, eims: &[Contact]) -> Result<bool, CardError> {
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        let response = match self.es10().profile_rollback(refresh) {
            Ok(response) => response,
            Err(error @ CardError::Status { .. }) => {
                tracing::warn!(%error, "the eUICC refuses the rollback");
                self.state.rollback = None;
                self.events.push(Event::RollbackRefused);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if response.cmd_result == ProfileRollbackResult::CatBusy {
            self.state.rollback = Some(RollbackWatch {
                last_attempt_ms: Some(self.now_ms),
                ..watch
            });
            return Ok(false);
        }
        self.state.rollback = None;
        self.save();
        if response.cmd_result != ProfileRollbackResult::Ok {
            tracing::warn!(code = %response.cmd_result, "the eUICC refuses the rollback");
            self.events.push(Event::RollbackRefused);
            return Ok(true);
        }
        self.events.push(Event::RolledBack {
            eim_id: watch.eim_id.clone(),
        });
        self.after_profile_change(resets_before)?;
        // The first result must not be sent any more. An eUICC that has not replaced it itself is told to forget it.
        let replacement = response.euicc_package_result.as_ref().map(effects);
        let new_number = replacement.and_then(|effects| effects.sequence_number);
        if let Some(old_number) = watch.sequence_number
            && new_number != Some(old_number)
        {
            self.acknowledge(Some(&watch.eim_id), &[old_number], &[old_number])?;
        }
        let contact = eims.iter().find(|eim| *eim.eim_id() == watch.eim_id);
        if let (Some(eim), Some(result)) = (contact, response.euicc_package_result) {
            self.state.forget_failures(&eim.key);
            self.deliver_result(eim, result)?;
        }
        Ok(true)
    }

    /// Looks after connectivity, with the Fallback Profile if need be. Whether there is any in the end.
    pub(crate) fn keep_connected(&mut self, eims: &[Contact]) -> Result<bool, CardError> {
        if self.connectivity.check() {
            self.state.connectivity_lost_since_ms = None;
            return self.return_from_fallback_if_due(eims, true);
        }
        let since = *self
            .state
            .connectivity_lost_since_ms
            .get_or_insert(self.now_ms);
        if self.state.fallback_since_ms.is_some() {
            return self.return_from_fallback_if_due(eims, false);
        }
        let settings = &self.config.fallback;
        if !settings.is_used || elapsed_ms(since, self.now_ms) < settings.lost_ms {
            return Ok(false);
        }
        match self.execute_fallback(eims)? {
            Fallback::Enabled => Ok(self.connectivity.check()),
            Fallback::Busy => Ok(false),
            Fallback::Unavailable => {
                // Not before the same time has passed again.
                self.state.connectivity_lost_since_ms = Some(self.now_ms);
                Ok(false)
            }
        }
    }

    /// ES10b.ExecuteFallbackMechanism.
    fn execute_fallback(&mut self, eims: &[Contact]) -> Result<Fallback, CardError> {
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        let code = match self.es10().execute_fallback(refresh) {
            Ok(code) => code,
            Err(error @ CardError::Status { .. }) => {
                tracing::warn!(%error, "the eUICC does not execute the fallback");
                return Ok(Fallback::Unavailable);
            }
            Err(error) => return Err(error),
        };
        match code {
            ExecuteFallbackMechanismResult::Ok => {
                self.state.fallback_since_ms = Some(self.now_ms);
                self.state.connectivity_lost_since_ms = None;
                // The eUICC takes a granted rollback away.
                self.state.rollback = None;
                self.note_state_change(eims, None, StateChangeCause::Fallback);
                self.events.push(Event::FallbackExecuted);
                self.save();
                self.after_profile_change(resets_before)?;
                Ok(Fallback::Enabled)
            }
            ExecuteFallbackMechanismResult::ProfileNotInDisabledState => {
                self.state.fallback_since_ms = Some(self.now_ms);
                Ok(Fallback::Enabled)
            }
            ExecuteFallbackMechanismResult::CatBusy => Ok(Fallback::Busy),
            code => {
                tracing::warn!(%code, "the eUICC does not execute the fallback");
                Ok(Fallback::Unavailable)
            }
        }
    }

    /// Tries the displaced Profile when its time has come. Whether there is connectivity in the end.
    fn return_from_fallback_if_due(
        &mut self,
        eims: &[Contact],
        is_connected: bool,
    ) -> Result<bool, CardError> {
        let (Some(since), Some(after)) = (
            self.state.fallback_since_ms,
            self.config.fallback.return_after_ms,
        ) else {
            return Ok(is_connected);
        };
        if elapsed_ms(since, self.now_ms) < after {
            return Ok(is_connected);
        }
        self.state.fallback_since_ms = Some(self.now_ms);
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        let code = match self.es10().return_from_fallback(refresh) {
            Ok(code) => code,
            Err(error @ CardError::Status { .. }) => {
                tracing::warn!(%error, "the eUICC does not return from the fallback");
                return Ok(is_connected);
            }
            Err(error) => return Err(error),
        };
        match code {
            ReturnFromFallbackResult::Ok => {
                self.state.fallback_since_ms = None;
                self.save();
                self.after_profile_change(resets_before)?;
                if self.connectivity.check() {
                    self.state.connectivity_lost_since_ms = None;
                    self.note_state_change(eims, None, StateChangeCause::Fallback);
                    self.events.push(Event::ReturnedFromFallback);
                    return Ok(true);
                }
                let fallback = self.execute_fallback(eims)?;
                Ok(fallback == Fallback::Enabled && self.connectivity.check())
            }
            // Another Profile than the Fallback Profile is enabled: the fallback has ended by itself.
            ReturnFromFallbackResult::FallbackNotAvailable => {
                self.state.fallback_since_ms = None;
                Ok(is_connected)
            }
            code => {
                tracing::warn!(%code, "the eUICC does not return from the fallback");
                Ok(is_connected)
            }
        }
    }

    /// ES10b.EnableEmergencyProfile.
    pub(crate) fn enable_emergency_profile(
        &mut self,
    ) -> Result<EnableEmergencyProfileResult, CardError> {
        let eims = self.begin()?;
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        let code = self.es10().enable_emergency_profile(refresh)?;
        if code == EnableEmergencyProfileResult::Ok {
            self.state.emergency = Some(Null);
            self.state.rollback = None;
            self.note_state_change(&eims, None, StateChangeCause::EmergencyProfile);
            self.save();
            self.after_profile_change(resets_before)?;
        }
        Ok(code)
    }

    /// ES10b.DisableEmergencyProfile.
    pub(crate) fn disable_emergency_profile(
        &mut self,
    ) -> Result<DisableEmergencyProfileResult, CardError> {
        let eims = self.begin()?;
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        let code = self.es10().disable_emergency_profile(refresh)?;
        if matches!(
            code,
            DisableEmergencyProfileResult::Ok
                | DisableEmergencyProfileResult::ProfileNotInEnabledState
        ) {
            self.state.emergency = None;
        }
        if code == DisableEmergencyProfileResult::Ok {
            self.note_state_change(&eims, None, StateChangeCause::EmergencyProfile);
            self.save();
            self.after_profile_change(resets_before)?;
        }
        Ok(code)
    }

    /// ES10b.eUICCMemoryReset. The enabled Profile may be gone afterwards, so the card is reset.
    pub(crate) fn memory_reset(
        &mut self,
        options: ResetOptions,
    ) -> Result<EuiccMemoryResetResponse, CardError> {
        let eims = self.begin()?;
        let resets_before = self.volatile.session.resets();
        let response = self.es10().memory_reset(options)?;
        self.state.rollback = None;
        self.note_state_change(&eims, None, StateChangeCause::Reset);
        self.save();
        self.after_profile_change(resets_before)?;
        Ok(response)
    }
}

/// The result that a watch waits for. While its number is not known (power was lost during the execution), the latest one
/// in which a Profile was enabled.
fn find_result(kept: Vec<EuiccPackageResult>, watch: &RollbackWatch) -> Option<EuiccPackageResult> {
    let numbered = kept.into_iter().filter_map(|result| {
        let effects = effects(&result);
        Some((effects.sequence_number?, effects.was_enabled, result))
    });
    match watch.sequence_number {
        Some(number) => numbered.into_iter().find(|(found, ..)| *found == number),
        None => numbered
            .filter(|(_, was_enabled, _)| *was_enabled)
            .max_by_key(|(found, ..)| *found),
    }
    .map(|(.., result)| result)
}
