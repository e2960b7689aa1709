//! The servers: an SM-DP+ and two eIMs, each behind TLS on the loopback interface with a database in the demo's folder.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use edge::server::{Counters, Limits, Server};
use edge::tls::TlsConfig;
use eim::authority::Authority;
use eim::es9::HttpConnector;
use eim::http::EsipaHandler;
use eim::{Config, Eim, Parts};
use pki::issue::Credential;
use pki::{ChainPolicy, PrivateKey, TrustAnchors};
use rsp::sgp32::EimId;
use smdp::{Identities, ServerIdentity, Smdp};
use store::{Store, StoreOptions};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::authority::Office;
use super::folder::Folder;
use super::pki::{EIM, Pki, SECOND_EIM, SMDP, SMDP_OID, oid, tls_identity};
use super::world::Setting;
use crate::adapters::{SystemClock, SystemEntropy};

/// Where a host name leads to instead of what the name service says.
pub(super) type Resolve = Vec<(String, SocketAddr)>;

/// What runs.
pub(super) struct Servers {
    pub(super) runtime: Runtime,
    pub(super) smdp: Smdp,
    smdp_listener: Option<Listener>,
    pub(super) eim: EimHost,
    pub(super) second_eim: EimHost,
    resolve: Resolve,
}

/// An eIM that can be stopped and started again on its database.
pub(super) struct EimHost {
    running: Option<Running>,
    settings: EimSettings,
    /// Stays while the eIM is stopped and started.
    office: Office,
}

/// An eIM that runs.
struct Running {
    eim: Arc<Eim>,
    listener: Listener,
    /// What it does without being asked.
    background: JoinHandle<()>,
}

/// A listener and its task.
struct Listener {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct EimSettings {
    database: PathBuf,
    eim_id: EimId,
    tls: Credential,
    trust: TrustAnchors,
    roots: Vec<Vec<u8>>,
    resolve: Resolve,
    /// Port 0 before the first start, so that every start is on the same port.
    address: SocketAddr,
}

impl Servers {
    /// Starts everything.
    pub(super) fn start(pki: &Pki, setting: &Setting<'_>) -> anyhow::Result<Self> {
        let folder = setting.folder;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        runtime.spawn(setting.interrupt.clone().watch(folder.temporary()));
        let smdp = open_smdp(pki, folder)?;
        let smdp_listener = runtime.block_on(Listener::router(&smdp, &pki.main.smdp_tls))?;
        let to_smdp = vec![(SMDP.to_owned(), smdp_listener.address)];
        let main = &pki.main;
        let host = |name: &str, key: &PrivateKey, tls: &Credential| -> anyhow::Result<EimHost> {
            let office = Office::found(setting, pki, name, key)?;
            let settings = EimSettings::new(pki, folder, name, tls, &to_smdp)?;
            runtime.block_on(EimHost::start(settings, office))
        };
        let eim = host(EIM, &main.eim_signing.key, &main.eim_tls)?;
        let second_eim = host(SECOND_EIM, &pki.second_eim_key, &pki.second_eim_tls)?;
        let mut resolve = to_smdp;
        resolve.push((EIM.to_owned(), eim.settings.address));
        resolve.push((SECOND_EIM.to_owned(), second_eim.settings.address));
        Ok(Self {
            runtime,
            smdp,
            smdp_listener: Some(smdp_listener),
            eim,
            second_eim,
            resolve,
        })
    }

    /// Where devices find the servers.
    pub(super) fn resolve(&self) -> Resolve {
        self.resolve.clone()
    }

    /// Runs a verb to its end.
    pub(super) fn wait<T>(&self, verb: impl Future<Output = T>) -> T {
        self.runtime.block_on(verb)
    }

    /// Stops the eIM, forgets everything that it had in memory only, and opens its database again.
    pub(super) fn restart_eim(&mut self) -> anyhow::Result<()> {
        self.eim.stop(&self.runtime)?;
        self.runtime.block_on(self.eim.resume())
    }

    /// Stops the eIM, lets it take in what this authority tells it, and opens its database again as it was left.
    pub(super) fn mislead_eim(
        &mut self,
        meanwhile: impl FnOnce(&Office) -> anyhow::Result<Arc<dyn Authority>>,
    ) -> anyhow::Result<()> {
        self.eim.stop(&self.runtime)?;
        let liar = meanwhile(&self.eim.office)?;
        let settings = &self.eim.settings;
        let taken = self
            .runtime
            .block_on(async { settings.open_with(liar)?.follow().await.map_err(Into::into) });
        self.runtime.block_on(self.eim.resume())?;
        match taken {
            Ok(0) => anyhow::bail!("the eIM took nothing in"),
            taken => taken.map(|_| ()),
        }
    }

    /// Requests that made a handler panic, on any server (they are answered with HTTP 500).
    pub(super) fn panics(&self) -> u64 {
        let eims = [&self.eim, &self.second_eim]
            .into_iter()
            .filter_map(|eim| eim.running.as_ref());
        let listeners = eims
            .map(|running| &running.listener)
            .chain(self.smdp_listener.as_ref());
        listeners
            .map(|listener| listener.counters.values().handler_panics)
            .sum()
    }

    /// Ends everything.
    pub(super) fn stop(self) {
        let Self {
            runtime,
            smdp_listener,
            mut eim,
            mut second_eim,
            ..
        } = self;
        for host in [&mut eim, &mut second_eim] {
            if let Err(error) = host.stop(&runtime) {
                crate::output::note(&format!("an eIM did not stop properly: {error:#}"));
            }
            if let Err(error) = host.office.stop() {
                crate::output::note(&format!("an authority did not stop properly: {error:#}"));
            }
        }
        if let Some(listener) = smdp_listener {
            runtime.block_on(listener.stop());
        }
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

impl EimHost {
    async fn start(settings: EimSettings, office: Office) -> anyhow::Result<Self> {
        let mut host = Self {
            running: None,
            settings,
            office,
        };
        host.resume().await?;
        Ok(host)
    }

    async fn resume(&mut self) -> anyhow::Result<()> {
        let settings = &self.settings;
        let eim = settings.open(&self.office)?;
        let handler = EsipaHandler::new(Arc::clone(&eim));
        let server = bind(settings.address, &settings.tls).await?;
        let listener = Listener::spawn(server, |server, stopped| async move {
            server.serve_handler(handler, stopped).await;
        });
        self.settings.address = listener.address;
        let background = tokio::spawn(work(Arc::clone(&eim)));
        self.running = Some(Running {
            eim,
            listener,
            background,
        });
        Ok(())
    }

    /// The eIM.
    pub(super) fn eim(&self) -> anyhow::Result<&Arc<Eim>> {
        let running = self.running.as_ref().context("the eIM is not running")?;
        Ok(&running.eim)
    }

    /// Its authority.
    pub(super) fn office(&self) -> &Office {
        &self.office
    }

    fn stop(&mut self, runtime: &Runtime) -> anyhow::Result<()> {
        let Running {
            eim,
            listener,
            background,
        } = self.running.take().context("the eIM is not running")?;
        background.abort();
        runtime.block_on(async {
            listener.stop().await;
            // It was told to break off, and holds the eIM until it has.
            let _ = background.await;
        });
        // As after a crash: nothing that is only in memory is written.
        Arc::into_inner(eim).context("somebody still holds the eIM")?;
        Ok(())
    }
}

/// What `palisade serve` does beside answering, at a quicker pace.
async fn work(eim: Arc<Eim>) {
    const EVERY: Duration = Duration::from_millis(20);
    loop {
        let done = async {
            eim.follow().await?;
            eim.associate_devices().await?;
            while eim.report_results().await? > 0 {}
            anyhow::Ok(())
        };
        if let Err(error) = done.await {
            crate::output::note(&format!("the eIM and its authority: {error:#}"));
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl EimSettings {
    fn new(
        pki: &Pki,
        folder: &Folder,
        name: &str,
        tls: &Credential,
        resolve: &Resolve,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            database: folder.inner(name)?.join("eim.sqlite"),
            eim_id: name.parse()?,
            tls: tls.clone(),
            trust: pki.trust_anchors()?,
            roots: vec![pki.tls_root()],
            resolve: resolve.clone(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
        })
    }

    fn open(&self, office: &Office) -> anyhow::Result<Arc<Eim>> {
        self.open_with(office.seam())
    }

    fn open_with(&self, authority: Arc<dyn Authority>) -> anyhow::Result<Arc<Eim>> {
        let parts = Parts {
            authority,
            trust: self.trust.clone(),
            smdp: Arc::new(HttpConnector::new(self.roots.clone(), self.resolve.clone())),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let config = Config::new(self.eim_id.clone());
        Eim::open(&self.database, StoreOptions::default(), config, parts)
            .with_context(|| format!("the database of {} cannot be opened", self.eim_id.as_str()))
    }
}

impl Listener {
    async fn router(smdp: &Smdp, tls: &Credential) -> anyhow::Result<Self> {
        let server = bind((Ipv4Addr::LOCALHOST, 0).into(), tls).await?;
        let router = smdp.router();
        Ok(Self::spawn(server, |server, stopped| async move {
            server.serve(router, stopped).await;
        }))
    }

    fn spawn<F, S>(server: Server, serve: S) -> Self
    where
        S: FnOnce(Server, Stopped) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let (address, counters) = (server.local_addr(), server.counters());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(
            server,
            Box::pin(async {
                // An error means that the owner is gone: then it is time, too.
                let _ = stopped.await;
            }),
        ));
        Self {
            address,
            counters,
            stop,
            task,
        }
    }

    async fn stop(self) {
        // A server that has ended by itself is stopped, too.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A listener with the certificate; tighter in time than the defaults, so that attacks on them do not take long.
pub(super) async fn bind(address: SocketAddr, tls: &Credential) -> anyhow::Result<Server> {
    let limits = Limits {
        handshake_timeout: SLOW_MAX,
        header_timeout: SLOW_MAX,
        body_grace: SLOW_MAX,
        drain_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    Ok(Server::bind(address, TlsConfig::new(tls_identity(tls)?), limits).await?)
}

/// How long the servers wait for a handshake, for the head of a request, and for a body to get going.
pub(super) const SLOW_MAX: Duration = Duration::from_secs(3);

fn open_smdp(pki: &Pki, folder: &Folder) -> anyhow::Result<Smdp> {
    let main = &pki.main;
    let identities = Identities {
        trust: pki.trust_anchors()?,
        servers: vec![ServerIdentity {
            auth_certificate: main.smdp_auth.certificate.clone(),
            auth_signer: Arc::new(main.smdp_auth.key.clone()),
            pb_certificate: main.smdp_pb.certificate.clone(),
            pb_signer: Arc::new(main.smdp_pb.key.clone()),
            sub_cas: Vec::new(),
        }],
        chain_policy: ChainPolicy::default(),
    };
    let database = folder.inner(SMDP)?.join("smdp.sqlite");
    let store = Store::open(&database, smdp::MIGRATIONS, StoreOptions::default())
        .context("the database of the SM-DP+ cannot be opened")?;
    let config = smdp::Config::new(SMDP, oid(SMDP_OID)?);
    Ok(Smdp::open(
        config,
        store,
        identities,
        || SystemClock.timestamp(),
        SystemEntropy,
    )?)
}
