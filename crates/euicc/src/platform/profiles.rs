//! Changing the states of Profiles: what packages, rollback, fallback, emergency and memory reset have in common.

use rsp::ids::Iccid;
use rsp::sgp22::NotificationEvent;

use super::{Failure, Platform};

/// Whether a change of state is told to the addresses in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notify {
    Yes,
    No,
}

impl Platform {
    /// Makes `target` the enabled Profile, or none. The Profile enabled so far is disabled first, so that there is never
    /// more than one.
    pub(crate) fn switch_to(
        &mut self,
        target: Option<&Iccid>,
        notify: Notify,
    ) -> Result<(), Failure> {
        let current = self.state.enabled_iccid();
        if current.as_ref() == target {
            return Ok(());
        }
        if let Some(current) = current {
            self.set_enabled(&current, false, notify)?;
        }
        if let Some(target) = target {
            self.set_enabled(target, true, notify)?;
        }
        Ok(())
    }

    fn set_enabled(&mut self, iccid: &Iccid, enabled: bool, notify: Notify) -> Result<(), Failure> {
        if let Some(profile) = self.state.profile_mut(iccid) {
            profile.enabled = enabled;
        }
        let event = if enabled {
            NotificationEvent::ENABLE
        } else {
            NotificationEvent::DISABLE
        };
        match notify {
            Notify::Yes => self.notify(iccid, event),
            Notify::No => Ok(()),
        }
    }

    /// Removes a Profile, and what remembers it.
    pub(crate) fn delete_profile(&mut self, iccid: &Iccid, notify: Notify) -> Result<(), Failure> {
        if notify == Notify::Yes {
            self.notify(iccid, NotificationEvent::DELETE)?;
        }
        let state = &mut self.state;
        state.profiles.retain(|profile| profile.iccid() != iccid);
        state
            .displaced_by_fallback
            .take_if(|displaced| displaced == iccid);
        state.rollback.take_if(|grant| grant.previous == *iccid);
        Ok(())
    }

    /// Whether the Fallback Profile is the enabled one.
    pub(crate) fn is_fallback_enabled(&self) -> bool {
        self.state
            .enabled_profile()
            .is_some_and(|profile| profile.fallback_attribute)
    }
}
