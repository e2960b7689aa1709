//! The console of one installation, assembled.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use eim::{Clock, Eim, Entropy};
use store::{Migration, Store, StoreOptions};

use crate::authority::{Authority, Link};
use crate::database::Database;
use crate::limiter::Limiter;
use crate::sessions::{self, Sessions};
use crate::webhooks::{Courier, Webhooks};
use crate::{api, live, pages, plan, probes, security, sign_in, webhooks};

pub use store::OpenError;

/// The console's own database.
const MIGRATIONS: &[Migration] = &[sessions::MIGRATION, webhooks::MIGRATION];

/// Sign-ins and enrolments that one place may try at once, and how soon it may try once more.
const KNOCKS: u32 = 20;
const KNOCKS_REFILL_MS: u32 = 3_000;

/// What a console works with.
pub struct Parts {
    /// Devices and their operations.
    pub eim: Arc<Eim>,
    /// Decides and keeps the record.
    pub authority: Arc<dyn Authority>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Brings webhooks to their receivers.
    pub courier: Arc<dyn Courier>,
}

/// How a console is reached, and how long it trusts a browser.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers find it: `https://host[:port]`. Requests that claim another origin are refused.
    pub origin: String,
    /// Milliseconds without a request after which a session ends.
    pub session_idle_ms: i64,
    /// Milliseconds after which it ends in any case.
    pub session_lifetime_ms: i64,
    /// What the server tells about itself, to those who may know.
    pub server: Option<api::ServerInfo>,
}

impl Settings {
    /// Defaults for a console at `origin`: half an hour idle, twelve hours in all.
    pub fn new(origin: String) -> Self {
        const MINUTE_MS: i64 = 60_000;
        Self {
            origin,
            session_idle_ms: 30 * MINUTE_MS,
            session_lifetime_ms: 12 * 60 * MINUTE_MS,
            server: None,
        }
    }
}

/// The console of an installation.
pub struct Console {
    pub(crate) eim: Arc<Eim>,
    pub(crate) authority: Link,
    pub(crate) sessions: Sessions,
    pub(crate) knocks: Limiter,
    pub(crate) streams: live::Places,
    pub(crate) requests: probes::Requests,
    pub(crate) repeated: api::Repeated,
    pub(crate) planning: plan::Places,
    pub(crate) webhooks: Webhooks,
    pub(crate) courier: Arc<dyn Courier>,
    /// Somebody has set a webhook back.
    pub(crate) webhook_wanted: tokio::sync::Notify,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
}

impl Console {
    /// Opens or makes the console's database (sessions) at `path`.
    pub fn open(
        path: &Path,
        options: StoreOptions,
        settings: Settings,
        parts: Parts,
    ) -> Result<Arc<Self>, OpenError> {
        let store = Store::open(path, MIGRATIONS, options)?;
        Ok(Self::over(store, settings, parts))
    }

    /// A console whose database is removed with it, for tests.
    pub fn open_temporary(settings: Settings, parts: Parts) -> Result<Arc<Self>, OpenError> {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default())?;
        Ok(Self::over(store, settings, parts))
    }

    fn over(store: Store, settings: Settings, parts: Parts) -> Arc<Self> {
        let database = Database(store);
        Arc::new(Self {
            eim: parts.eim,
            authority: Link::new(parts.authority),
            sessions: Sessions::new(database.clone()),
            knocks: Limiter::new(KNOCKS, KNOCKS_REFILL_MS),
            streams: live::Places::default(),
            requests: probes::Requests::default(),
            repeated: api::Repeated::default(),
            planning: plan::Places::default(),
            webhooks: Webhooks::new(database),
            courier: parts.courier,
            webhook_wanted: tokio::sync::Notify::new(),
            clock: parts.clock,
            entropy: parts.entropy,
            settings,
        })
    }

    /// All paths that a browser or another machine reaches over TLS.
    pub fn router(self: &Arc<Self>) -> Router {
        let guarded = Router::new()
            .merge(pages::router())
            .nest("/api/v1", api::router())
            .merge(probes::guarded())
            .merge(sign_in::session_routes())
            .layer(middleware::from_fn_with_state(
                Arc::clone(self),
                security::let_in,
            ));
        Router::new()
            .merge(guarded)
            .merge(probes::open())
            .merge(sign_in::routes())
            .merge(pages::assets())
            .fallback(security::nothing_here)
            .layer(middleware::from_fn(pages::explain))
            .layer(middleware::from_fn_with_state(
                Arc::clone(self),
                security::same_origin,
            ))
            .layer(middleware::from_fn(security::headers))
            .layer(middleware::from_fn_with_state(
                Arc::clone(self),
                probes::count,
            ))
            .layer(middleware::from_fn_with_state(Arc::clone(self), api::trace))
            .with_state(Arc::clone(self))
    }

    /// All paths that somebody on this machine reaches over the control socket, under `/v1`. Who that is has to be put into the
    /// request's extensions ([`crate::reader::Reader::local`]) by whoever serves the socket.
    pub fn local_router(self: &Arc<Self>) -> Router {
        api::local(self)
    }

    /// Closes the database for writing.
    pub fn shut_down(&self) {
        self.sessions.shut_down();
    }

    /// Whether somebody sees an intent: their own, what is about devices of theirs, and everything for auditors.
    pub(crate) fn sees_intent(
        &self,
        reader: &crate::reader::Reader,
        status: &intent::api::IntentStatus,
    ) -> Result<bool, eim::StorageError> {
        crate::plan::sees_intent(&self.eim, reader, status)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    /// 32 octets that nobody can guess.
    pub(crate) fn secret(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        self.entropy.fill(&mut octets);
        octets
    }
}

/// Work that the process gave up on.
pub(crate) fn broke_off() -> crate::Problem {
    crate::Problem::new(
        http::StatusCode::INTERNAL_SERVER_ERROR,
        "broke-off",
        "The request broke off",
        "the server could not finish it",
        "ask again; if it repeats, the server's log has the reason",
    )
}

/// There is none, or none that the reader sees.
pub(crate) fn no_such_intent(id: intent::IntentId) -> crate::Problem {
    crate::Problem::refused(&intent::api::Refusal::new(
        intent::api::RefusalCode::Unknown,
        format!("there is no intent {id}"),
    ))
}
