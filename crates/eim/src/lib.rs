//! The eSIM IoT remote Manager (eIM) of SGP.32: which devices there are, what somebody asked of
//! them, what their eUICCs answered.
//!
//! What this crate promises:
//!
//! * **Exactly once.** One package is in flight for each eUICC. It is delivered again, octet for
//!   octet, until the eUICC's signed result is here; the eUICC's counter makes it run at most once.
//!   The package is recorded before it leaves, and the authority gives the same one however often it is asked.
//! * **Nothing is believed unsigned.** A result counts when its signature verifies against the
//!   eUICC's certificate, chained to a trusted CI. What an IPA merely states is kept as its
//!   statement. Whoever knows an EID can poll with it; that neither drains nor completes its queue.
//! * **Nothing is signed here, and nothing asked for.** Operations come from the authority's feed; packages are built, counted
//!   and signed behind [`authority::Authority`], which checks who wanted them.
//! * **What is not visible does not exist.** Verbs that read across devices take a [`Visible`], and neither list nor count nor
//!   name devices of other fleets.
//!
//! Layers: [`http`] turns requests into calls and knows no SQL; the verbs on [`Eim`] know neither
//! HTTP nor SQL; `tables` alone knows SQL.

pub mod actor;
pub mod authority;
pub mod es9;
pub mod fleet;
pub mod http;
pub mod search;
#[cfg(feature = "unguarded-authority")]
pub mod seed;
pub mod stream;
pub mod swaps;
pub mod tags;

mod association;
mod certificates;
mod compact;
mod contacts;
mod delivery;
mod devices;
mod download;
mod environment;
mod esipa;
mod feed;
mod looks;
mod merge;
mod notifications;
mod openings;
mod operations;
mod outcome;
mod pending;
mod presence;
mod reports;
mod results;
mod servers;
mod tables;
#[cfg(test)]
mod tests;
mod verification;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use pki::{ChainPolicy, TrustAnchors};
use rsp::ids::{Eid, TransactionId};
use serde::Serialize;
use store::{OpenError, ReadTx, SqlError, Store, StoreFault, StoreOptions, Tx, WriteError};

use actor::Actor;
use authority::{Authority, AuthorityError, Link};
pub use certificates::CertificateFacts;
pub use devices::{DeviceData, DeviceError};
pub use environment::{Clock, Entropy};
use es9::SmdpConnector;
pub use esipa::{Peer, Unanswerable};
pub use feed::FollowError;
pub use fleet::{ReadingError, Visible};
pub use openings::OpeningsError;
pub use operations::OperationError;
pub use pending::PendingError;
pub use presence::ConnectionId;
pub use reports::ReportError;
pub use tables::devices::{Association, Contact, Device, DeviceState};
pub use tables::events::Event;
pub use tables::inventory::{AssociatedEim, Profile, ProfileChange};
pub use tables::notifications::Notification;
pub use tables::operations::{CommandResult, Held, Operation, OperationState, Outcome};

/// Settings of an eIM.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of this eIM, as in its signing certificate.
    pub eim_id: rsp::sgp32::EimId,
    /// Operations that may wait for one device.
    pub queue_per_device_max: usize,
    /// How long the eIM's own reads may wait and be executed.
    pub operation_lifetime_ms: i64,
    /// Deviations from strict chain checks. The default is strict.
    pub chain_policy: ChainPolicy,
    /// Hand triggers and data requests to connections that have not shown a fresh signed result,
    /// and believe unsigned answers from them. Whoever knows an EID can then learn activation
    /// codes and report failures for it. Only for IPAs that open a connection for each request.
    pub insecure_trust_any_connection: bool,
}

impl Config {
    /// Defaults for an eIM of this name.
    pub fn new(eim_id: rsp::sgp32::EimId) -> Self {
        const DAY_MS: i64 = 86_400_000;
        Self {
            eim_id,
            queue_per_device_max: 64,
            operation_lifetime_ms: 30 * DAY_MS,
            chain_policy: ChainPolicy::default(),
            insecure_trust_any_connection: false,
        }
    }
}

/// What an eIM works with.
pub struct Parts {
    /// Builds and signs packages.
    pub authority: Arc<dyn Authority>,
    /// CIs that eUICC certificates may chain to.
    pub trust: TrustAnchors,
    /// Talks to SM-DP+s.
    pub smdp: Arc<dyn SmdpConnector>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// An eIM.
pub struct Eim {
    config: Config,
    store: Store,
    parts: Parts,
    link: Link,
    /// Held while the feed is followed.
    progress: tokio::sync::Mutex<feed::Progress>,
    /// Held while results are reported, so that they arrive in their order.
    reporting: tokio::sync::Mutex<()>,
    results_stored: tokio::sync::Notify,
    /// Exchanged while running, when a CI or a CRL is new.
    trust: RwLock<Arc<TrustAnchors>>,
    looks: Arc<looks::Looks>,
    /// Counts changes that events may have come with.
    pulse: Arc<stream::Pulse>,
    /// Thaws that the authority's feed told of.
    thaws: Arc<AtomicU64>,
    presence: presence::Presence,
    keys: verification::EuiccKeys,
    downloads: download::Sessions,
    contacts: contacts::Contacts,
    ids: environment::Ids,
}

/// The database could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A statement failed.
    #[error("the database could not be used")]
    Sql(#[from] SqlError),
    /// A transaction has no durable outcome.
    #[error("the change could not be stored")]
    Fault(#[from] StoreFault),
}

impl Eim {
    /// Opens or makes the database at `path`.
    pub fn open(
        path: &std::path::Path,
        options: StoreOptions,
        config: Config,
        parts: Parts,
    ) -> Result<Arc<Self>, OpenError> {
        Ok(Self::over(
            Store::open(path, tables::MIGRATIONS, options)?,
            config,
            parts,
        ))
    }

    /// An eIM whose database is removed with it, for tests.
    pub fn open_temporary(config: Config, parts: Parts) -> Result<Arc<Self>, OpenError> {
        let store = Store::open_temporary(tables::MIGRATIONS, StoreOptions::default())?;
        Ok(Self::over(store, config, parts))
    }

    fn over(store: Store, config: Config, mut parts: Parts) -> Arc<Self> {
        let trust = RwLock::new(Arc::new(std::mem::take(&mut parts.trust)));
        Arc::new(Self {
            config,
            store,
            link: Link::new(Arc::clone(&parts.authority)),
            parts,
            progress: tokio::sync::Mutex::default(),
            reporting: tokio::sync::Mutex::default(),
            results_stored: tokio::sync::Notify::new(),
            trust,
            looks: Arc::default(),
            pulse: Arc::default(),
            thaws: Arc::default(),
            presence: presence::Presence::default(),
            keys: verification::EuiccKeys::default(),
            downloads: download::Sessions::default(),
            contacts: contacts::Contacts::default(),
            ids: environment::Ids::default(),
        })
    }

    /// What an eUICC has to store to accept packages of this eIM (AddInitialEim).
    pub async fn association_data(
        &self,
    ) -> Result<rsp::sgp32::EimConfigurationData, AuthorityError> {
        self.link.association_data().await
    }

    /// Takes other CIs and CRLs from now on. Chains verified before are verified again.
    pub fn replace_trust(&self, trust: TrustAnchors) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
        self.keys.forget_all();
    }

    fn trust(&self) -> Arc<TrustAnchors> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The name of this eIM.
    pub fn eim_id(&self) -> &rsp::sgp32::EimId {
        &self.config.eim_id
    }

    /// Writes what is only in memory and closes the database for writing.
    pub async fn shut_down(&self) -> Result<(), StorageError> {
        self.flush_contacts().await?;
        self.store.shut_down();
        Ok(())
    }

    /// Writes a consistent copy of the database to the new file `target`.
    pub fn backup_to(&self, target: &std::path::Path) -> Result<(), OpenError> {
        self.store.backup_to(target)
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }

    fn new_id(&self) -> uuid::Uuid {
        self.ids
            .next(self.parts.clock.as_ref(), self.parts.entropy.as_ref())
    }

    /// An identifier for an operation's package. Those that are in use together stand together in the index, since they sort
    /// by time; 62 bits of each cannot be guessed.
    fn new_transaction_id(&self) -> TransactionId {
        #[expect(
            clippy::expect_used,
            reason = "16 octets are within the 1 to 16 that are legal"
        )]
        TransactionId::new(self.new_id().as_bytes()).expect("16 octets")
    }

    fn read<T, E: From<SqlError>>(
        &self,
        query: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.store.read(query)
    }

    /// Runs a verb about one device. Whatever comes of it, and whether or not somebody waits for it, what was remembered
    /// about the device is forgotten.
    async fn change<T, E, F>(&self, eid: Eid, verb: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreFault> + Send + 'static,
    {
        let (looks, pulse) = (Arc::clone(&self.looks), Arc::clone(&self.pulse));
        let after = move || {
            looks.forget(eid);
            pulse.beat();
        };
        self.store
            .write_async_then(verb, after)
            .await
            .map_err(WriteError::into_verb)
    }

    /// An event about a device, to be appended in the transaction that makes it true.
    fn event(
        &self,
        eid: Eid,
        actor: &Actor,
        kind: &'static str,
        detail: impl Serialize,
    ) -> EventDraft {
        EventDraft {
            id: self.new_id(),
            eid,
            at: self.now_ms(),
            actor: actor.to_string(),
            kind,
            detail: serde_json::to_string(&detail).unwrap_or_default(),
        }
    }
}

/// An event that is not recorded yet.
#[derive(Clone)]
struct EventDraft {
    id: uuid::Uuid,
    eid: Eid,
    at: i64,
    actor: String,
    kind: &'static str,
    /// A JSON object. Written here and not by the one thread that writes the database.
    detail: String,
}

impl EventDraft {
    fn append(&self, tx: &Tx<'_>) -> Result<(), SqlError> {
        tables::events::append(
            tx,
            self.id,
            self.eid,
            self.at,
            &self.actor,
            self.kind,
            &self.detail,
        )
    }
}
