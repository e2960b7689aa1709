//! The door to an IPA.

use std::collections::HashSet;

use rand_core::Rng;
use rsp::binding::http::Binding;
use rsp::ids::Eid;
use rsp::sgp32::{
    AddEimResultCode, AddInitialEimOk, DisableEmergencyProfileResult, EimConfigurationData, EimId,
    EnableEmergencyProfileResult, EuiccMemoryResetResponse, ResetOptions, StateChangeCause,
};

use crate::card::{CardError, Es10};
use crate::config::Config;
use crate::engine::{Engine, NextWake, Volatile};
use crate::event::{Event, Events};
use crate::ports::{CardTransport, Connectivity, Memory, Network};
use crate::state::State;

/// The device around an IPA.
#[derive(Debug)]
pub struct Parts<C, N, K, M> {
    /// The way to the eUICC.
    pub card: C,
    /// The way to servers.
    pub network: N,
    /// Judge of the enabled Profile.
    pub connectivity: K,
    /// What outlives a restart.
    pub memory: M,
}

/// An IoT Profile Assistant with its eUICC.
#[derive(Debug)]
pub struct Ipa<C, N, K, M> {
    parts: Parts<C, N, K, M>,
    config: Config,
    state: State,
    volatile: Volatile,
    events: Events,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum IpaError {
    /// The eUICC did not do its part.
    #[error("the eUICC did not do its part")]
    Card(#[from] CardError),
}

/// Why no eIM was associated.
#[derive(Debug, thiserror::Error)]
pub enum AddInitialEimError {
    /// Two entries have the same name; the eUICC does not look, so the IPA must (SGP.32 v1.2 section 3.5.2).
    #[error("the eIM {0} is named twice; give each eIM an eimId of its own")]
    NamedTwice(EimId),
    /// There is nothing to add.
    #[error("no eIM is given")]
    Empty,
    /// The eUICC refused; nothing was stored.
    #[error("the eUICC refused: {0}")]
    Refused(AddEimResultCode),
    /// The eUICC did not do its part.
    #[error("the eUICC did not do its part")]
    Card(#[source] CardError),
}

impl<C: CardTransport, N: Network, K: Connectivity, M: Memory> Ipa<C, N, K, M> {
    /// An IPA that goes on where the memory says. Nothing is sent yet.
    pub fn new(config: Config, parts: Parts<C, N, K, M>) -> Self {
        let state = State::load(parts.memory.load());
        Self {
            parts,
            config,
            state,
            volatile: Volatile::default(),
            events: Events::default(),
        }
    }

    /// One whole session: recovery, retrieval from every eIM until nothing is left, deliveries. Only servers that failed
    /// lately are left out until their pause is over.
    ///
    /// `now_ms` counts milliseconds from any fixed instant; it should go on over restarts.
    pub fn poll(&mut self, now_ms: u64, rng: &mut dyn Rng) -> NextWake {
        self.engine(now_ms, rng).poll()
    }

    /// Answers TransferEimPackage (the body of a request; of its answer). `from` is the eIM that the connection belongs to,
    /// if that is known. A download that is triggered this way is done by the next [`Ipa::poll`].
    ///
    /// # Errors
    /// Only when the eUICC does not work.
    pub fn inject(
        &mut self,
        binding: Binding,
        from: Option<&EimId>,
        body: &[u8],
        now_ms: u64,
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, IpaError> {
        let mut engine = self.engine(now_ms, rng);
        let outcome = engine.inject(binding, from, body);
        Ok(engine.finish(outcome)?)
    }

    /// ES10b.AddInitialEim: associates the first eIMs. One answer per eIM, in order: its association token if one was asked
    /// for (with `associationToken` −1).
    ///
    /// # Errors
    /// When the eUICC has eIMs already, among others.
    pub fn add_initial_eims(
        &mut self,
        eims: Vec<EimConfigurationData>,
    ) -> Result<Vec<Option<i64>>, AddInitialEimError> {
        if eims.is_empty() {
            return Err(AddInitialEimError::Empty);
        }
        let mut names = HashSet::new();
        if let Some(twice) = eims.iter().find(|eim| !names.insert(&eim.eim_id)) {
            return Err(AddInitialEimError::NamedTwice(twice.eim_id.clone()));
        }
        let answers = self
            .es10()
            .add_initial_eim(eims)
            .map_err(|error| match error {
                CardError::Code { code, .. } => {
                    AddInitialEimError::Refused(AddEimResultCode::from_number(code))
                }
                error => AddInitialEimError::Card(error),
            })?;
        let token = |answer: AddInitialEimOk| match answer {
            AddInitialEimOk::AssociationToken(token) => Some(token),
            AddInitialEimOk::AddOk(_) | AddInitialEimOk::Unknown(_) => None,
        };
        Ok(answers.into_iter().map(token).collect())
    }

    /// The EID.
    ///
    /// # Errors
    /// When the eUICC does not work.
    pub fn eid(&mut self) -> Result<Eid, IpaError> {
        Ok(self.es10().eid()?)
    }

    /// ES10b.EnableEmergencyProfile. While it is enabled, packages and downloads are answered with ecallActive.
    ///
    /// # Errors
    /// When the eUICC does not work.
    pub fn enable_emergency_profile(
        &mut self,
        now_ms: u64,
        rng: &mut dyn Rng,
    ) -> Result<EnableEmergencyProfileResult, IpaError> {
        let mut engine = self.engine(now_ms, rng);
        let outcome = engine.enable_emergency_profile();
        Ok(engine.finish(outcome)?)
    }

    /// ES10b.DisableEmergencyProfile.
    ///
    /// # Errors
    /// When the eUICC does not work.
    pub fn disable_emergency_profile(
        &mut self,
        now_ms: u64,
        rng: &mut dyn Rng,
    ) -> Result<DisableEmergencyProfileResult, IpaError> {
        let mut engine = self.engine(now_ms, rng);
        let outcome = engine.disable_emergency_profile();
        Ok(engine.finish(outcome)?)
    }

    /// ES10b.eUICCMemoryReset.
    ///
    /// # Errors
    /// When the eUICC does not work.
    pub fn memory_reset(
        &mut self,
        options: ResetOptions,
        now_ms: u64,
        rng: &mut dyn Rng,
    ) -> Result<EuiccMemoryResetResponse, IpaError> {
        let mut engine = self.engine(now_ms, rng);
        let outcome = engine.memory_reset(options);
        Ok(engine.finish(outcome)?)
    }

    /// Has every eIM told, at its next poll, that something changed without it: a change of device, or one made locally.
    ///
    /// # Errors
    /// When the eUICC does not work.
    pub fn note_state_change(
        &mut self,
        cause: StateChangeCause,
        now_ms: u64,
        rng: &mut dyn Rng,
    ) -> Result<(), IpaError> {
        let mut engine = self.engine(now_ms, rng);
        let outcome = engine
            .begin()
            .map(|eims| engine.note_state_change(&eims, None, cause));
        Ok(engine.finish(outcome)?)
    }

    /// The eUICC's functions, for provisioning and inspection.
    pub fn es10(&mut self) -> Es10<'_> {
        Es10::new(
            &mut self.parts.card,
            &mut self.volatile.session,
            &self.config.card,
        )
    }

    /// What happened since the last call, oldest first; of very many events only the latest.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.take()
    }

    /// How this IPA behaves.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device.
    pub fn parts(&self) -> &Parts<C, N, K, M> {
        &self.parts
    }

    /// The device.
    pub fn parts_mut(&mut self) -> &mut Parts<C, N, K, M> {
        &mut self.parts
    }

    /// Gives the device back. A new IPA on it goes on as after a restart.
    pub fn into_parts(mut self) -> Parts<C, N, K, M> {
        if let Err(error) = self.es10().close() {
            tracing::debug!(%error, "the logical channel stays open");
        }
        self.parts
    }

    fn engine<'a>(&'a mut self, now_ms: u64, rng: &'a mut dyn Rng) -> Engine<'a> {
        Engine {
            card: &mut self.parts.card,
            network: &mut self.parts.network,
            connectivity: &mut self.parts.connectivity,
            memory: &mut self.parts.memory,
            config: &self.config,
            state: &mut self.state,
            volatile: &mut self.volatile,
            events: &mut self.events,
            rng,
            now_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
        }
    }
}
