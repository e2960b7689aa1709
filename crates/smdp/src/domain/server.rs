//! The server as a whole: its parts, its clock and randomness, and the transactions of the domain.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::store::{ReadTx, Store, Tx, WriteError};
use jiff::Timestamp;
use pki::{AnchorError, Crl, TrustAnchors, UnixTime};
use rand_core::CryptoRng;
use tokio::sync::Notify;

use super::download::Downloads;
use super::inventory::Inventory;
use super::notifications::Notifications;
use super::orders::Orders;
use super::profile::{ProfileEvent, ProfileState};
use super::session::Sessions;
use super::status::{Error, Refusal};
use crate::config::{Config, ConfigError, Identities, ServerIdentity};
use crate::store;
use crate::store::profiles::ProfileRow;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

/// Who calls a verb of the operator's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The administration of this server; may touch every profile.
    Administration,
    /// An operator, by its name in the configuration; may touch its own profiles and those of nobody.
    Operator(String),
}

impl Actor {
    pub(crate) fn operator(&self) -> Option<&str> {
        match self {
            Self::Administration => None,
            Self::Operator(name) => Some(name),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Administration => "administration".to_owned(),
            Self::Operator(name) => format!("operator {name}"),
        }
    }

    pub(crate) fn may_touch(&self, owner: Option<&str>) -> bool {
        match (self, owner) {
            (Self::Administration, _) | (_, None) => true,
            (Self::Operator(name), Some(owner)) => name == owner,
        }
    }
}

/// The SM-DP+. Clones share it.
#[derive(Clone)]
pub struct Smdp {
    core: Arc<Core>,
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Settings or keys are unusable.
    #[error("the SM-DP+ cannot be set up")]
    Config(#[from] ConfigError),
}

impl Smdp {
    /// Opens a server on a store that was opened with [`MIGRATIONS`](crate::MIGRATIONS).
    ///
    /// # Errors
    /// When a certificate does not verify, a key is not its certificate's, or a name is malformed.
    pub fn open(
        config: Config,
        store: Store,
        identities: Identities,
        clock: impl Clock + 'static,
        rng: impl CryptoRng + Send + 'static,
    ) -> Result<Self, OpenError> {
        config.check(&identities)?;
        let Identities {
            trust,
            servers,
            chain_policy,
        } = identities;
        let sessions = Sessions::new(config.limits.sessions_max);
        Ok(Self {
            core: Arc::new(Core {
                config: Arc::new(config),
                store,
                trust: RwLock::new(Arc::new(trust)),
                servers: servers.into_iter().map(Arc::new).collect(),
                chain_policy,
                clock: Box::new(clock),
                rng: Mutex::new(Box::new(rng)),
                sessions,
                counters: Counters::default(),
                progress_due: Notify::new(),
            }),
        })
    }

    /// Profiles: import and look at them.
    pub fn inventory(&self) -> Inventory {
        Inventory::new(Arc::clone(&self.core))
    }

    /// The verbs of ES2+.
    pub fn orders(&self) -> Orders {
        Orders::new(Arc::clone(&self.core))
    }

    /// The verbs of ES9+ around a download.
    pub fn downloads(&self) -> Downloads {
        Downloads::new(Arc::clone(&self.core))
    }

    /// ES9+.HandleNotification.
    pub fn notifications(&self) -> Notifications {
        Notifications::new(Arc::clone(&self.core))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// What was counted since the server was opened.
    pub fn counters(&self) -> CounterValues {
        self.core.counters.values(self.core.sessions.len())
    }

    /// Takes a CRL of a trusted CI; sessions from now on honour it.
    ///
    /// # Errors
    /// When it is not from a trusted CI, not signed by it, or older than the one at hand.
    pub fn add_crl(&self, crl: Crl) -> Result<(), AnchorError> {
        let mut slot = self
            .core
            .trust
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut trust = TrustAnchors::clone(&slot);
        trust.add_crl(crl)?;
        *slot = Arc::new(trust);
        Ok(())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl fmt::Debug for Smdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smdp")
            .field("address", &self.core.config.address)
            .finish_non_exhaustive()
    }
}

/// What all verbs share.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    store: Store,
    trust: RwLock<Arc<TrustAnchors>>,
    pub(crate) servers: Vec<Arc<ServerIdentity>>,
    pub(crate) chain_policy: pki::ChainPolicy,
    clock: Box<dyn Clock>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    /// Woken when a HandleDownloadProgressInfo was put into the outbox.
    pub(crate) progress_due: Notify,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn trust(&self) -> Arc<TrustAnchors> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lends the generator. Long computations belong outside.
    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut dyn CryptoRng) -> T) -> T {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        draw(&mut **rng)
    }

    pub(crate) fn random_octets<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        self.random(|rng| rng.fill_bytes(&mut octets));
        octets
    }

    /// One transaction: all of it or nothing, durable when this returns.
    ///
    /// The verb must not hold this `Core`: the writer thread drops it after the answer, and would
    /// then be the one that closes the store.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.store.write(verb).map_err(WriteError::into_verb)
    }

    /// The same, for a verb that may put messages into the outbox.
    pub(crate) fn write_with_progress<T: Send + 'static>(
        &self,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let outcome = self.write(verb);
        self.progress_due.notify_one();
        outcome
    }

    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&ReadTx<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.store.read(query)
    }
}

/// Takes a profile through an event, with its record in the history.
pub(crate) fn advance(
    tx: &Tx<'_>,
    profile: &mut ProfileRow,
    event: ProfileEvent,
    actor: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let before = profile.state;
    let after = before.after(event).ok_or(Refusal::ProfileNotReleased)?;
    profile.state = after;
    if after == ProfileState::Available {
        profile.order_id = None;
    }
    store::profiles::set_state(tx, &profile.iccid, after, profile.order_id)?;
    store::history::note(
        tx,
        &profile.iccid,
        event,
        (before, after),
        profile.order_id,
        actor,
        now,
    )?;
    Ok(())
}

/// Time for certificate checks.
pub(crate) fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime(now.as_second())
}

/// A time in the future; the end of time if there is none.
pub(crate) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

macro_rules! counters {
    ( $( $(#[$meta:meta])* $name:ident, )* ) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $( pub(crate) $name: Counter, )*
        }

        /// Counters of a server at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct CounterValues {
            $( $(#[$meta])* pub $name: u64, )*
            /// Sessions held now.
            pub sessions: u64,
        }

        impl Counters {
            fn values(&self, sessions: usize) -> CounterValues {
                CounterValues {
                    $( $name: self.$name.get(), )*
                    sessions: u64::try_from(sessions).unwrap_or(u64::MAX),
                }
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// InitiateAuthentication that began a session.
    sessions_begun,
    /// Bound profile packages made.
    packages_bound,
    /// Requests refused with a status code.
    refused,
    /// Notifications believed.
    notifications_believed,
    /// Notifications answered with 204 and not believed.
    notifications_not_believed,
    /// HandleDownloadProgressInfo delivered.
    progress_delivered,
    /// HandleDownloadProgressInfo given up.
    progress_given_up,
}
