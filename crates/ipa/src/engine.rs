//! One session: recovery of what earlier ones left, retrieval from every eIM, delivery of what is due.

use std::collections::VecDeque;

use rand_core::Rng;
use rsp::der::{Element, Octets};
use rsp::ids::Eid;
use rsp::sgp32::{EimConfigurationData, EimId, StateChangeCause};

use crate::card::{CardError, CardSession, Es10};
use crate::client::{Contact, describe};
use crate::config::Config;
use crate::event::{Event, Events};
use crate::ports::{CardTransport, Connectivity, Memory, Network};
use crate::state::{State, Unsent};

/// When and why [`Ipa::poll`](crate::Ipa::poll) wants to be called again. Earlier calls do no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextWake {
    /// Milliseconds from now.
    pub after_ms: u64,
    /// Why then.
    pub reason: WakeReason,
}

/// Why an IPA wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeReason {
    /// The next regular poll.
    PollInterval,
    /// A server that failed gets another try.
    BackOff,
    /// The result of an enabling with rollback waits for its next attempt at delivery.
    Rollback,
    /// There is no connectivity.
    NoConnectivity,
    /// The Profile that the Fallback Profile displaced is to be tried again.
    Fallback,
    /// The card did not answer.
    CardUnavailable,
}

/// What an IPA knows between calls and forgets at a restart.
#[derive(Debug, Default)]
pub(crate) struct Volatile {
    pub(crate) session: CardSession,
    /// The exchange with the card broke: reset it first.
    must_reset: bool,
    /// What [`Memory`] holds.
    stored: Vec<u8>,
    /// Of the card that is there, since the session began.
    eid: Option<Eid>,
    /// eIM Configuration Data changed since they were read.
    pub(crate) configuration_changed: bool,
}

/// Everything that one call works with.
pub(crate) struct Engine<'a> {
    pub(crate) card: &'a mut dyn CardTransport,
    pub(crate) network: &'a mut dyn Network,
    pub(crate) connectivity: &'a mut dyn Connectivity,
    pub(crate) memory: &'a mut dyn Memory,
    pub(crate) config: &'a Config,
    pub(crate) state: &'a mut State,
    pub(crate) volatile: &'a mut Volatile,
    pub(crate) events: &'a mut Events,
    pub(crate) rng: &'a mut dyn Rng,
    pub(crate) now_ms: i64,
}

impl Engine<'_> {
    /// One whole session.
    pub(crate) fn poll(&mut self) -> NextWake {
        let outcome = self.session();
        let wake = match self.finish(outcome) {
            Ok(()) => self.next_wake(),
            Err(error) => {
                tracing::warn!(error = describe(&error), "the card does not work");
                let after_ms = self.config.timing.card_retry_ms;
                NextWake {
                    after_ms,
                    reason: WakeReason::CardUnavailable,
                }
            }
        };
        self.save();
        wake
    }

    /// Remembers what a broken exchange with the card means for the next call, and stores the state.
    pub(crate) fn finish<T>(&mut self, outcome: Result<T, CardError>) -> Result<T, CardError> {
        if let Err(CardError::Transport(_) | CardError::Protocol { .. }) = &outcome {
            self.volatile.session.forget();
            self.volatile.must_reset = true;
        }
        self.save();
        outcome
    }

    fn session(&mut self) -> Result<(), CardError> {
        let mut eims = self.begin()?;
        if !self.settle_rollback(&eims)? {
            return Ok(());
        }
        if !self.keep_connected(&eims)? {
            return Ok(());
        }
        self.deliver_unsent(&eims)?;
        self.deliver_kept_results(&eims)?;
        self.resume_downloads(&eims)?;
        let mut waiting: VecDeque<EimId> = self.polled(&eims);
        let mut rounds_left = self.config.limits.eims_max.saturating_mul(2);
        while let Some(eim_id) = waiting.pop_front() {
            let Some(eim) = eims.iter().find(|eim| *eim.eim_id() == eim_id).cloned() else {
                continue;
            };
            if self.is_pausing(&eim.key) {
                continue;
            }
            self.retrieve(&eim, &eims)?;
            if self.state.rollback.is_some() {
                // Another package would take the grant away before it is known whether it is needed.
                return Ok(());
            }
            rounds_left = rounds_left.saturating_sub(1);
            if rounds_left > 0 && std::mem::take(&mut self.volatile.configuration_changed) {
                let known: Vec<EimId> = eims.iter().map(|eim| eim.eim_id().clone()).collect();
                eims = self.contacts()?;
                let new = self.polled(&eims);
                waiting.extend(new.into_iter().filter(|eim_id| !known.contains(eim_id)));
                waiting.push_front(eim_id);
            }
        }
        self.deliver_notifications(&eims)
    }

    fn polled(&self, eims: &[Contact]) -> VecDeque<EimId> {
        eims.iter()
            .filter(|eim| eim.is_polled(self.config.poll_without_protocol))
            .map(|eim| eim.eim_id().clone())
            .collect()
    }

    /// Makes the card ready, and says which eIMs can be reached.
    pub(crate) fn begin(&mut self) -> Result<Vec<Contact>, CardError> {
        let timing = &self.config.timing;
        let pause_max = timing.back_off_max_ms.max(timing.retry_after_max_ms);
        self.state
            .clamp_times(self.now_ms, i64::try_from(pause_max).unwrap_or(i64::MAX));
        if self.volatile.must_reset {
            self.es10().reset()?;
            self.volatile.must_reset = false;
        }
        let eid = self.es10().eid()?;
        let is_another_card = self.state.eid.is_some_and(|known| known != eid.to_field());
        if is_another_card {
            // What is remembered belongs to a card that is gone.
            *self.state = State::default();
        }
        self.state.eid = Some(eid.to_field());
        self.volatile.eid = Some(eid);
        let eims = self.contacts()?;
        if is_another_card {
            self.note_state_change(&eims, None, StateChangeCause::DeviceChange);
        }
        Ok(eims)
    }

    /// The eUICC's EID.
    pub(crate) fn eid(&mut self) -> Result<Eid, CardError> {
        match self.volatile.eid {
            Some(eid) => Ok(eid),
            None => self.es10().eid(),
        }
    }

    /// The eIMs that can be reached: those of the eUICC, and former ones that still wait for a result.
    pub(crate) fn contacts(&mut self) -> Result<Vec<Contact>, CardError> {
        let eims_max = self.config.limits.eims_max;
        let configuration: Vec<EimConfigurationData> = self.es10().eim_configuration()?;
        self.volatile.configuration_changed = false;
        let is_associated = |eim_id: &EimId| configuration.iter().any(|eim| eim.eim_id == *eim_id);
        self.state
            .former_eims
            .retain(|former| !is_associated(&former.eim_id));
        let former = self
            .state
            .former_eims
            .clone()
            .into_iter()
            .filter_map(Contact::former);
        let current = configuration.into_iter().filter_map(Contact::new);
        Ok(current.take(eims_max).chain(former).collect())
    }

    pub(crate) fn es10(&mut self) -> Es10<'_> {
        Es10::new(self.card, &mut self.volatile.session, &self.config.card)
    }

    /// Stores the state if it changed.
    pub(crate) fn save(&mut self) {
        let encoded = self.state.to_der();
        if encoded != self.volatile.stored {
            self.memory.store(&encoded);
            self.volatile.stored = encoded;
        }
    }

    /// To be told to every eIM but one at its next poll.
    pub(crate) fn note_state_change(
        &mut self,
        eims: &[Contact],
        but: Option<&EimId>,
        cause: StateChangeCause,
    ) {
        let others = eims
            .iter()
            .filter(|eim| !eim.is_former && Some(eim.eim_id()) != but);
        for eim in others {
            self.state.add_state_change(eim.eim_id(), cause);
        }
    }

    /// Keeps a report that could not be delivered. The eUICC keeps its own.
    pub(crate) fn keep_unsent(&mut self, eim_id: &EimId, message: Vec<u8>, without_answer: bool) {
        let limits = &self.config.limits;
        if message.len() > limits.unsent_octets_max || limits.unsent_max == 0 {
            tracing::warn!(
                octets = message.len(),
                "a report that could not be delivered is too large to keep"
            );
            return;
        }
        while self.state.unsent.len() >= limits.unsent_max {
            self.state.unsent.remove(0);
        }
        self.state.unsent.push(Unsent {
            eim_id: eim_id.clone(),
            message: Octets(message),
            without_answer: without_answer.then_some(rsp::der::Null),
            extensions: Default::default(),
        });
        self.save();
    }

    /// After a function that changed the enabled Profile: unless the card asked for it itself, it is reset now.
    pub(crate) fn after_profile_change(&mut self, resets_before: u64) -> Result<(), CardError> {
        if self.volatile.session.resets() == resets_before {
            self.es10().reset()?;
        }
        self.events.push(Event::CardReset);
        Ok(())
    }

    fn next_wake(&mut self) -> NextWake {
        let timing = self.config.timing;
        // While a Profile is on trial or there is no connectivity, nothing else can be done.
        if let Some(watch) = &self.state.rollback {
            let settings = &self.config.rollback;
            let left = settings
                .timeout_ms
                .saturating_sub(elapsed_ms(watch.since_ms, self.now_ms));
            let after_ms = if left > 0 {
                settings.retry_ms.min(left)
            } else {
                settings.retry_ms
            };
            return NextWake {
                after_ms,
                reason: WakeReason::Rollback,
            };
        }
        if let Some(since) = self.state.connectivity_lost_since_ms {
            let left = self
                .config
                .fallback
                .lost_ms
                .saturating_sub(elapsed_ms(since, self.now_ms));
            let retry = timing.connectivity_retry_ms;
            let after_ms = if left > 0 { retry.min(left) } else { retry };
            return NextWake {
                after_ms,
                reason: WakeReason::NoConnectivity,
            };
        }
        let jitter = self.random_below(timing.poll_interval_ms / 10 + 1);
        let mut wake = NextWake {
            after_ms: timing.poll_interval_ms - jitter,
            reason: WakeReason::PollInterval,
        };
        let mut consider = |after_ms: u64, reason| {
            if after_ms < wake.after_ms {
                wake = NextWake { after_ms, reason };
            }
        };
        let pauses = self.state.back_offs.iter();
        let left = pauses.map(|pause| pause.not_before_ms.saturating_sub(self.now_ms));
        let shortest = left.filter(|left| *left > 0).min();
        if let Some(left) = shortest {
            consider(left.unsigned_abs(), WakeReason::BackOff);
        } else if !self.state.downloads.is_empty() {
            consider(timing.back_off_first_ms, WakeReason::BackOff);
        }
        let after = self.config.fallback.return_after_ms;
        if let (Some(since), Some(after)) = (self.state.fallback_since_ms, after) {
            let left = after.saturating_sub(elapsed_ms(since, self.now_ms));
            consider(left, WakeReason::Fallback);
        }
        wake
    }
}

pub(crate) fn elapsed_ms(since_ms: i64, now_ms: i64) -> u64 {
    u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0)
}
