//! The authority as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use edge::server::{Limits, Server, TlsHandle};
use edge::tls::{ClientAuth, Identity, TlsConfig, TlsVersion};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::child::RELOAD;
use super::engine::Engine;
use super::folder::AuthorityFolder;
use super::witness::Witnesses;
use super::{remembered, server};
use crate::adapters::FolderLock;
use crate::config::File;
use crate::control;
use crate::proposing::read_private;
use crate::trust;

/// How an authority is run.
#[derive(Debug)]
pub(crate) struct Options {
    /// Its folder.
    pub(crate) folder: AuthorityFolder,
    /// Its settings.
    pub(crate) file: File,
    /// A checkpoint that its ledger has to continue.
    pub(crate) remembered: Option<PathBuf>,
    /// Takes orders from the standard input, and stops when that is closed.
    pub(crate) supervised: bool,
}

/// How often it is looked whether there is something to publish that is not due by itself, and whether writing has failed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs until it is told to stop.
///
/// # Errors
/// When the record does not add up, or could not be written: then nothing may be signed any more.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let Options {
        folder,
        file,
        remembered,
        supervised,
    } = options;
    // Before it says that it is ready, so that a signal right after it is not missed.
    let mut signals = Orders::new(supervised)?;
    for (name, means) in file.insecure() {
        tracing::warn!(setting = name, "INSECURE: {means}");
    }
    let _lock = FolderLock::take_within(folder.path(), Duration::from_secs(10))?;
    let witnesses = Witnesses::of(&folder, &file)?;
    let known = match remembered.filter(|path| path.exists()) {
        Some(path) => Some(remembered::read(&path)?),
        None => None,
    };
    let engine = {
        let (folder, file) = (folder.clone(), file.clone());
        tokio::task::spawn_blocking(move || Engine::open(&folder, &file, known))
            .await
            .context("opening the authority broke off")??
    };
    let engine = Arc::new(engine);
    let router = server::router(Arc::clone(&engine));
    let (stop, stopped) = watch::channel(false);
    let socket = control::listen(&folder.socket())?;
    let local = tokio::spawn(control::serve(
        socket,
        router.clone(),
        until(stopped.clone()),
    ));
    let remote = match file.authority.listen {
        Some(address) => {
            let limits = Limits {
                body_bytes_max: server::BODY_OCTETS_MAX,
                ..file.limits.to_edge()
            };
            let server = Server::bind(address, tls_config(&file)?, limits).await?;
            let (bound, handle) = (server.local_addr(), server.tls());
            tracing::info!(listen = %bound, "listening with mutual TLS");
            let task = tokio::spawn(server.serve(router, until(stopped.clone())));
            Some((handle, task))
        }
        None => None,
    };
    tracing::info!(
        installation = engine.installation(),
        entries = engine.entries(),
        socket = %folder.socket().display(),
        "the authority is ready"
    );

    let cosigning = witnesses.start(&engine);
    let failed = loop {
        tokio::select! {
            order = signals.next() => match order {
                Order::Reload => reload(&folder, &engine, remote.as_ref().map(|(tls, _)| tls)),
                Order::Stop => break None,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {
                if let Some(failure) = engine.failure() {
                    break Some(failure);
                }
            }
        }
    };
    // Nobody listening any more is as good.
    let _ = stop.send(true);
    if failed.is_none() {
        tracing::info!("stopping; requests under way are finished");
        local.await.context("the local server broke off")??;
        if let Some((_, task)) = remote {
            task.await.context("the remote server broke off")?;
        }
        cosigning.finish().await;
    }
    let closing = tokio::task::spawn_blocking(move || engine.stop())
        .await
        .context("closing the authority broke off")?;
    match failed {
        Some(failure) => {
            bail!("the record cannot be written any more, so nothing is signed: {failure}")
        }
        None => {
            closing?;
            tracing::info!("the authority has stopped");
            Ok(())
        }
    }
}

/// Reads again what may change while it runs. What cannot be read stays as it was.
fn reload(folder: &AuthorityFolder, engine: &Engine, tls: Option<&TlsHandle>) {
    let file = match folder.settings() {
        Ok(file) => file,
        Err(error) => {
            tracing::error!("the settings cannot be read again: {error:#}");
            return;
        }
    };
    match engine.reload(folder, &file) {
        Ok(()) => {
            tracing::info!("the CIs of eUICCs, their CRLs and the signing keys were read again")
        }
        Err(error) => tracing::error!("the authority goes on with what it had: {error:#}"),
    }
    if let Some(handle) = tls {
        let replaced = tls_config(&file).and_then(|tls| Ok(handle.replace(tls)?));
        match replaced {
            Ok(()) => tracing::info!("the certificates of the authority were read again"),
            Err(error) => tracing::error!("the certificates stay the old ones: {error:#}"),
        }
    }
}

/// Certificate, key and the CA of eIMs.
fn tls_config(file: &File) -> anyhow::Result<TlsConfig> {
    let section = &file.authority;
    let chain = trust::read_chain(&file.path(&section.tls_certificate))
        .context("authority.tls_certificate cannot be used")?;
    let key = read_tls_key(&file.path(&section.tls_key)).context("authority.tls_key")?;
    let ca = section
        .client_ca
        .as_ref()
        .context("authority.listen needs authority.client_ca")?;
    let roots = trust::read_chain(&file.path(ca)).context("authority.client_ca cannot be used")?;
    let identity = Identity::from_der(
        chain
            .iter()
            .map(|certificate| certificate.der().to_vec())
            .collect(),
        key,
    )
    .context("authority.tls_certificate and authority.tls_key must belong together")?;
    Ok(TlsConfig {
        version_min: TlsVersion::V1_3,
        http2: false,
        ..TlsConfig::new(identity).with_client_auth(ClientAuth::required(
            roots.iter().map(|root| root.der().to_vec()),
        ))
    })
}

/// A PEM key of mode 0600 as PKCS#8.
pub(crate) fn read_tls_key(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let pem = read_private(path)?;
    let key = pki::PrivateKey::from_pem(&pem)
        .with_context(|| format!("{} holds no key that can be used", path.display()))?;
    Ok(key.to_pkcs8_der()?.as_bytes().to_vec())
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: then it is time, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

enum Order {
    Reload,
    Stop,
}

/// Signals, and what the eIM that started it writes.
struct Orders {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    pipe: Option<tokio::io::Lines<BufReader<tokio::io::Stdin>>>,
}

impl Orders {
    fn new(supervised: bool) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            pipe: supervised.then(|| BufReader::new(tokio::io::stdin()).lines()),
        })
    }

    async fn next(&mut self) -> Order {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return tokio::select! {
                    _ = self.interrupt.recv() => Order::Stop,
                    _ = self.terminate.recv() => Order::Stop,
                    _ = self.hang_up.recv() => Order::Reload,
                };
            };
            tokio::select! {
                // Ctrl-C goes to both: the eIM first finishes its requests, for which it needs the authority.
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => return Order::Stop,
                _ = self.hang_up.recv() => return Order::Reload,
                line = pipe.next_line() => match line {
                    Ok(Some(line)) if line == RELOAD => return Order::Reload,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return Order::Stop,
                },
            }
        }
    }
}
