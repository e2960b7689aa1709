//! What an IPA remembers over restarts, and its form in [`crate::Memory`].

use rsp::der::{Element, Limits, Null, Octets};
use rsp::ids::{EidOctets, TransactionId};
use rsp::sequence;
use rsp::sgp32::{EimConfigurationData, EimId, ProfileDownloadTriggerRequest, StateChangeCause};

/// State changes not reported yet, one at most for an eIM.
const STATE_CHANGES_MAX: usize = 64;
/// Servers with a back-off.
const BACK_OFFS_MAX: usize = 64;
/// Downloads through eIMs whose result is not delivered yet.
const RELAYED_MAX: usize = 32;
/// Deleted eIMs that wait for a result.
const FORMER_EIMS_MAX: usize = 8;
/// The form below.
const VERSION: i64 = 1;

sequence! {
    /// Everything.
    pub(crate) struct State @ 0x30 {
        req version @ 0x80: i64,
        /// The eUICC that all of this is about.
        opt eid @ 0x5A: EidOctets,
        opt rollback @ 0xA1: RollbackWatch,
        /// Since when there is no connectivity.
        opt connectivity_lost_since_ms @ 0x82: i64,
        /// Since when the Fallback Profile is enabled, or was when the other one was tried last.
        opt fallback_since_ms @ 0x83: i64,
        opt emergency @ 0x84: Null,
        req state_changes @ 0xA5: Vec<StateChange>,
        req back_offs @ 0xA6: Vec<BackOff>,
        req unsent @ 0xA7: Vec<Unsent>,
        req downloads @ 0xA8: Vec<Download>,
        req relayed @ 0xA9: Vec<Relayed>,
        /// eIMs that were deleted and still wait for a result, with what is needed to reach them.
        req former_eims @ 0xAA: Vec<EimConfigurationData>,
    }
}

sequence! {
    /// An enabling with rollback, whose result is not delivered yet.
    pub(crate) struct RollbackWatch @ 0x30 {
        req eim_id @ 0x80: EimId,
        req since_ms @ 0x81: i64,
        req attempts @ 0x82: i64,
        /// `seqNumber` of the result that a rollback replaces. Absent while the package is being executed.
        opt sequence_number @ 0x83: i64,
        opt last_attempt_ms @ 0x84: i64,
    }
}

sequence! {
    /// Something that an eIM has to be told of at the next poll.
    pub(crate) struct StateChange @ 0x30 {
        req eim_id @ 0x80: EimId,
        req cause @ 0x81: StateChangeCause,
    }
}

sequence! {
    /// A server that failed.
    pub(crate) struct BackOff @ 0x30 {
        req server @ 0x80: String,
        req failures @ 0x81: i64,
        req not_before_ms @ 0x82: i64,
    }
}

sequence! {
    /// A report that the eUICC does not keep and that could not be delivered.
    pub(crate) struct Unsent @ 0x30 {
        req eim_id @ 0x80: EimId,
        /// DER of ProvideEimPackageResult.
        req message @ 0x81: Octets,
        /// Present: by HandleNotification.
        opt without_answer @ 0x82: Null,
    }
}

sequence! {
    /// A download that an eIM triggered and whose outcome it does not know.
    pub(crate) struct Download @ 0x30 {
        req eim_id @ 0x80: EimId,
        elem trigger: ProfileDownloadTriggerRequest,
        req attempts @ 0x81: i64,
        /// Of the session in which the eUICC may have got the Profile.
        opt transaction_id @ 0x83: TransactionId,
    }
}

sequence! {
    /// A download whose result goes through the eIM.
    pub(crate) struct Relayed @ 0x30 {
        req transaction_id @ 0x80: TransactionId,
        req eim_id @ 0x81: EimId,
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            eid: None,
            rollback: None,
            connectivity_lost_since_ms: None,
            fallback_since_ms: None,
            emergency: None,
            state_changes: Vec::new(),
            back_offs: Vec::new(),
            unsent: Vec::new(),
            downloads: Vec::new(),
            relayed: Vec::new(),
            former_eims: Vec::new(),
            extensions: Default::default(),
        }
    }
}

impl State {
    /// Reads what was stored. What cannot be read counts as nothing: an IPA must start whatever its memory holds.
    pub(crate) fn load(stored: Option<Vec<u8>>) -> Self {
        let Some(stored) = stored else {
            return Self::default();
        };
        let limits = Limits {
            message_octets_max: 16 << 20,
            ..Limits::default()
        };
        match Self::from_der_within(&stored, &limits) {
            Ok(state) if state.version == VERSION => state,
            Ok(state) => {
                tracing::warn!(
                    version = state.version,
                    "the IPA's memory is of another version; starting anew"
                );
                Self::default()
            }
            Err(error) => {
                tracing::warn!(%error, "the IPA's memory cannot be read; starting anew");
                Self::default()
            }
        }
    }

    /// Moves instants that lie in the future to now: the clock was set back, or the device has no other than its uptime.
    pub(crate) fn clamp_times(&mut self, now_ms: i64, pause_max_ms: i64) {
        let since = [
            self.rollback.as_mut().map(|watch| &mut watch.since_ms),
            self.connectivity_lost_since_ms.as_mut(),
            self.fallback_since_ms.as_mut(),
        ];
        for instant in since.into_iter().flatten() {
            *instant = (*instant).min(now_ms);
        }
        if let Some(watch) = &mut self.rollback {
            watch.last_attempt_ms = watch.last_attempt_ms.map(|instant| instant.min(now_ms));
        }
        for back_off in &mut self.back_offs {
            back_off.not_before_ms = back_off
                .not_before_ms
                .min(now_ms.saturating_add(pause_max_ms));
        }
    }

    /// Remembers that an eIM has to be told of a change. The first cause stays until it is reported.
    pub(crate) fn add_state_change(&mut self, eim_id: &EimId, cause: StateChangeCause) {
        let is_known = self
            .state_changes
            .iter()
            .any(|change| change.eim_id == *eim_id);
        if !is_known && self.state_changes.len() < STATE_CHANGES_MAX {
            self.state_changes.push(StateChange {
                eim_id: eim_id.clone(),
                cause,
                extensions: Default::default(),
            });
        }
    }

    pub(crate) fn state_change(&self, eim_id: &EimId) -> Option<StateChangeCause> {
        self.state_changes
            .iter()
            .find(|change| change.eim_id == *eim_id)
            .map(|change| change.cause)
    }

    pub(crate) fn forget_state_change(&mut self, eim_id: &EimId) {
        self.state_changes.retain(|change| change.eim_id != *eim_id);
    }

    pub(crate) fn not_before_ms(&self, server: &str) -> Option<i64> {
        self.back_offs
            .iter()
            .find(|back_off| back_off.server == server)
            .map(|back_off| back_off.not_before_ms)
    }

    /// Counts a failure and returns how many there were without a success between.
    pub(crate) fn count_failure(&mut self, server: &str) -> i64 {
        if let Some(back_off) = self
            .back_offs
            .iter_mut()
            .find(|known| known.server == server)
        {
            back_off.failures = back_off.failures.saturating_add(1);
            return back_off.failures;
        }
        if self.back_offs.len() >= BACK_OFFS_MAX {
            self.back_offs.remove(0);
        }
        self.back_offs.push(BackOff {
            server: server.to_owned(),
            failures: 1,
            not_before_ms: 0,
            extensions: Default::default(),
        });
        1
    }

    pub(crate) fn set_not_before_ms(&mut self, server: &str, instant_ms: i64) {
        if let Some(back_off) = self
            .back_offs
            .iter_mut()
            .find(|known| known.server == server)
        {
            back_off.not_before_ms = instant_ms;
        }
    }

    pub(crate) fn forget_failures(&mut self, server: &str) {
        self.back_offs.retain(|back_off| back_off.server != server);
    }

    pub(crate) fn add_relayed(&mut self, transaction_id: TransactionId, eim_id: &EimId) {
        if self.relayed.len() >= RELAYED_MAX {
            self.relayed.remove(0);
        }
        self.relayed.push(Relayed {
            transaction_id,
            eim_id: eim_id.clone(),
            extensions: Default::default(),
        });
    }

    pub(crate) fn forget_relayed(&mut self, transaction_id: &TransactionId) {
        self.relayed
            .retain(|relayed| relayed.transaction_id != *transaction_id);
    }

    /// Remembers how to reach an eIM that may be about to be deleted.
    pub(crate) fn add_former_eim(&mut self, configuration: &EimConfigurationData) {
        self.former_eims
            .retain(|known| known.eim_id != configuration.eim_id);
        if self.former_eims.len() >= FORMER_EIMS_MAX {
            self.former_eims.remove(0);
        }
        self.former_eims.push(configuration.clone());
    }

    pub(crate) fn relayed_by(&self, transaction_id: &TransactionId) -> Option<&EimId> {
        self.relayed
            .iter()
            .find(|relayed| relayed.transaction_id == *transaction_id)
            .map(|relayed| &relayed.eim_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> State {
        let eim_id: EimId = "eim.example.com".parse().unwrap();
        let watch = RollbackWatch {
            eim_id: eim_id.clone(),
            since_ms: 5_000,
            attempts: 2,
            sequence_number: Some(14),
            last_attempt_ms: None,
            extensions: Default::default(),
        };
        let mut state = State {
            rollback: Some(watch),
            connectivity_lost_since_ms: Some(6_000),
            emergency: Some(Null),
            ..State::default()
        };
        state.add_state_change(&eim_id, StateChangeCause::Fallback);
        state.count_failure("eim:x");
        state.set_not_before_ms("eim:x", 90_000);
        state.add_relayed(TransactionId::new(&[1, 2]).unwrap(), &eim_id);
        state.downloads.push(Download {
            eim_id,
            trigger: ProfileDownloadTriggerRequest {
                profile_download_data: None,
                eim_transaction_id: None,
                extensions: Default::default(),
            },
            attempts: 1,
            transaction_id: None,
            extensions: Default::default(),
        });
        state
    }

    #[test]
    fn state_survives_its_encoding() {
        let state = full();
        assert_eq!(State::load(Some(state.to_der())), state);
    }

    #[test]
    fn what_cannot_be_read_is_forgotten() {
        let mut of_another_version = full();
        of_another_version.version = 2;
        for stored in [
            vec![],
            vec![0x30, 0x05, 0x80],
            vec![0xFF; 40],
            of_another_version.to_der(),
        ] {
            assert_eq!(State::load(Some(stored)), State::default());
        }
        assert_eq!(State::load(None), State::default());
    }

    #[test]
    fn a_clock_set_back_does_not_stop_anything() {
        let mut state = full();
        state.clamp_times(1_000, 10_000);
        assert_eq!(state.rollback.as_ref().unwrap().since_ms, 1_000);
        assert_eq!(state.connectivity_lost_since_ms, Some(1_000));
        assert_eq!(state.not_before_ms("eim:x"), Some(11_000));
    }

    #[test]
    fn lists_are_bounded() {
        let mut state = State::default();
        for number in 0..200_u8 {
            let eim_id: EimId = format!("eim{number}").parse().unwrap();
            state.add_state_change(&eim_id, StateChangeCause::OtherEim);
            state.count_failure(eim_id.as_str());
            state.add_relayed(TransactionId::new(&[number]).unwrap(), &eim_id);
        }
        assert_eq!(state.state_changes.len(), STATE_CHANGES_MAX);
        assert_eq!(state.back_offs.len(), BACK_OFFS_MAX);
        assert_eq!(state.relayed.len(), RELAYED_MAX);
        assert!(
            state
                .relayed_by(&TransactionId::new(&[199]).unwrap())
                .is_some()
        );
        assert!(
            state
                .relayed_by(&TransactionId::new(&[0]).unwrap())
                .is_none()
        );
    }
}
