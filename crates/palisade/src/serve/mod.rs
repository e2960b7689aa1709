//! An eIM, assembled from a data folder and its settings, and run until it is told to stop.

mod assembly;
mod console;
mod tasks;

use std::path::Path;
use std::sync::Arc;

use ::console::api::ServerInfo;
use anyhow::Context;
use edge::server::{CounterValues, Counters, Drained, Server, TlsHandle};
use eim::Eim;
use eim::http::EsipaHandler;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::adapters::{SystemClock, is_private_directory};
use crate::authority::{AuthorityClient, AuthorityFolder, Child, Remembered};
use crate::config::{AuthorityPlace, File};
use crate::control;

pub(crate) use assembly::{DATABASE, Identity, TLS_KEY_CONTEXT, tls_config};

/// A running eIM.
pub(crate) struct Running {
    eim: Arc<Eim>,
    counters: Arc<Counters>,
    tls: TlsHandle,
    stop: watch::Sender<bool>,
    esipa: JoinHandle<Drained>,
    control: JoinHandle<std::io::Result<()>>,
    console: console::Running,
    tasks: Vec<JoinHandle<()>>,
    authority: Arc<AuthorityClient>,
    remembered: Arc<Remembered>,
    child: Option<Child>,
}

/// Starts an eIM: starts its authority or asks for it, opens the database and listens.
pub(crate) async fn start(data: &Path, file: &File) -> anyhow::Result<Running> {
    is_private_directory(data)?;
    for (name, means) in file.insecure() {
        tracing::warn!(setting = name, "INSECURE: {means}");
    }
    let identity = Identity::load(data, file)?;
    let tls = tls_config(data, file)?;
    // First of all: it is the lock of the folder, so a second server does not get as far as the authority.
    let socket = control::listen(&data.join(control::EIM_SOCKET))?;
    let remembered = Arc::new(Remembered::load(data)?);
    let place = file.authority.place(&file.folder, data)?;
    let authority = assembly::authority(&place)?;
    let child = match &place {
        AuthorityPlace::Child(folder) => {
            let folder = AuthorityFolder::existing(folder)?;
            let path = remembered.path();
            Some(Child::start(&folder, path, &file.log, &authority).await?)
        }
        AuthorityPlace::Socket(_) | AuthorityPlace::Remote { .. } => {
            // What was rolled back or forked is refused here, and an authority that is away now is waited for.
            match authority.status().await {
                Ok(_) => remembered.update(&authority).await?,
                Err(error) => tracing::error!("{error}; nothing is signed until it is there"),
            }
            None
        }
    };
    let eim = assembly::open(data, file, &identity, Arc::clone(&authority) as Arc<_>)?;
    check_identity(&eim, &identity).await?;
    let server = Server::bind(file.eim.listen, tls, file.limits.to_edge()).await?;
    let address = server.local_addr();
    let counters = server.counters();
    let tls = server.tls();

    let info = ServerInfo {
        fqdn: identity.fqdn.clone(),
        listen: address,
        data: data.to_owned(),
        started_at: SystemClock.timestamp().to_string(),
        insecure: file.insecure().iter().map(|(name, _)| *name).collect(),
        counters: Arc::clone(&counters),
    };
    let (stop, stopped) = watch::channel(false);
    let esipa = tokio::spawn(
        server.serve_handler(EsipaHandler::new(Arc::clone(&eim)), until(stopped.clone())),
    );
    let console =
        console::start(data, file, info, &eim, &authority, until(stopped.clone())).await?;
    let router = control::router(console.local_router());
    let control = tokio::spawn(control::serve(socket, router, until(stopped.clone())));
    let tasks = vec![
        tokio::spawn(tasks::flush_contacts(
            Arc::clone(&eim),
            until(stopped.clone()),
        )),
        tokio::spawn(tasks::forward_notifications(
            Arc::clone(&eim),
            until(stopped.clone()),
        )),
        tokio::spawn(tasks::follow(Arc::clone(&eim), until(stopped.clone()))),
        tokio::spawn(tasks::associate(Arc::clone(&eim), until(stopped.clone()))),
        tokio::spawn(tasks::report_results(
            Arc::clone(&eim),
            until(stopped.clone()),
        )),
        tokio::spawn(tasks::remember(
            Arc::clone(&authority),
            Arc::clone(&remembered),
            until(stopped),
        )),
    ];
    tracing::info!(
        eim_id = %eim.eim_id(),
        fqdn = identity.fqdn,
        listen = %address,
        console = console.origin(),
        devices = eim.device_count()?,
        "ready"
    );
    Ok(Running {
        eim,
        counters,
        tls,
        stop,
        esipa,
        control,
        console,
        tasks,
        authority,
        remembered,
        child,
    })
}

/// The authority says who the eIM is; settings that say something else would confuse devices and people.
async fn check_identity(eim: &Eim, identity: &Identity) -> anyhow::Result<()> {
    let data = match eim.association_data().await {
        Ok(data) => data,
        // It is away; the feed is not followed either until it is back.
        Err(_) => return Ok(()),
    };
    anyhow::ensure!(
        data.eim_id == identity.eim_id,
        "eim.id is {:?}, and the authority is that of {:?}; they must be the same",
        identity.eim_id.as_str(),
        data.eim_id.as_str()
    );
    if data.eim_fqdn.as_deref() != Some(identity.fqdn.as_str()) {
        tracing::warn!(
            fqdn = identity.fqdn,
            authority = data.eim_fqdn,
            "new devices are told the authority's host name of this eIM, which is another one (authority.fqdn)"
        );
    }
    Ok(())
}

impl Running {
    /// Reads again what may change while the server runs: the certificate of ESipa, and the CIs of
    /// eUICCs with their CRLs. What cannot be read stays as it was.
    pub(crate) async fn reload(&self, data: &Path, file: &File) {
        let certificate =
            tls_config(data, file).and_then(|tls| self.tls.replace(tls).context(TLS_KEY_CONTEXT));
        match certificate {
            Ok(()) => tracing::info!("the certificate of ESipa was read again"),
            Err(error) => {
                tracing::error!("the certificate of ESipa stays the old one: {error:#}");
            }
        }
        self.console.reload(data, file);
        match assembly::euicc_trust(file) {
            Ok(trust) => {
                self.eim.replace_trust(trust);
                tracing::info!("the CIs of eUICCs and their CRLs were read again");
            }
            Err(error) => tracing::error!("the CIs of eUICCs stay the old ones: {error:#}"),
        }
        if let Some(child) = &self.child {
            child.reload().await;
        }
    }

    /// Lets requests under way end, writes what is only in memory, and closes the database.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self {
            eim,
            counters,
            stop,
            esipa,
            control,
            console,
            tasks,
            authority,
            remembered,
            child,
            ..
        } = self;
        // Nobody listening any more is as good.
        let _ = stop.send(true);
        let drained = esipa.await.context("the ESipa server broke off")?;
        control.await.context("the control server broke off")??;
        console.stop().await?;
        for task in tasks {
            task.await.context("a background task broke off")?;
        }
        eim.shut_down()
            .await
            .context("the database could not be closed properly")?;
        // Last: the requests under way needed it.
        if let Err(error) = remembered.update_to_the_end(&authority).await {
            tracing::warn!("the authority's last checkpoint is not remembered: {error:#}");
        }
        if let Some(child) = child {
            child.stop().await?;
        }
        log_counters(
            counters.values(),
            eim.device_count().unwrap_or_default(),
            drained,
        );
        Ok(())
    }
}

/// Ready when the server is to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: then it is time, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn log_counters(values: CounterValues, devices: i64, drained: Drained) {
    tracing::info!(
        devices,
        connections_accepted = values.accepted,
        connections_refused = values.connections_refused,
        connections_cut = drained.cut,
        handshakes_failed = values.handshakes_failed,
        requests = values.requests,
        bodies_too_large = values.bodies_too_large,
        bodies_slow = values.bodies_slow,
        headers_slow = values.headers_slow,
        overloads = values.overloads,
        handler_timeouts = values.handler_timeouts,
        handler_panics = values.handler_panics,
        "stopped"
    );
}
