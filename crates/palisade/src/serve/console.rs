//! The console beside the eIM: a listener of its own, over the same eIM and authority.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use console::api::ServerInfo;
use console::authority::Answer;
use console::webhooks::HttpsCourier;
use console::{Console, Parts, Settings};
use edge::server::{Limits, Server, TlsHandle};
use edge::tls::{TlsConfig, TlsVersion};
use eim::Eim;
use eim::authority::Reply;
use http::Method;
use store::StoreOptions;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::assembly::tls_of;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::AuthorityClient;
use crate::config::{ConsoleListen, File};
use crate::trust;

const DATABASE: &str = "console.sqlite";

/// Octets of a request's body: a list of a hundred thousand devices has some four million.
const BODY_OCTETS_MAX: usize = 16 << 20;

/// A console that runs: over the network if the settings want it, over the control socket in any case.
pub(crate) struct Running {
    console: Arc<Console>,
    opened: Option<Opened>,
}

/// Its door to the network.
struct Opened {
    /// None on this machine only.
    tls: Option<TlsHandle>,
    server: JoinHandle<()>,
    stop: watch::Sender<bool>,
    webhooks: JoinHandle<()>,
    origin: String,
}

impl console::authority::Authority for AuthorityClient {
    fn call(&self, method: Method, target: String, body: bytes::Bytes) -> Reply<'_, Answer> {
        Box::pin(async move {
            let answer = self.forward(method, &target, body).await?;
            Ok(Answer {
                status: answer.status,
                body: answer.body,
            })
        })
    }
}

/// Starts it, and opens its door to the network if the settings want one.
pub(crate) async fn start(
    data: &Path,
    file: &File,
    info: ServerInfo,
    eim: &Arc<Eim>,
    authority: &Arc<AuthorityClient>,
    until: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<Running> {
    let door = match file.console.listen {
        ConsoleListen::At(listen) => {
            let door = Door::open(listen, data, file).await;
            Some(door.context(
                "the console cannot listen (console.listen; --console off leaves it out)",
            )?)
        }
        _ => None,
    };
    let origin = match (&file.console.origin, &door) {
        (Some(origin), _) => checked_origin(origin)?,
        (None, Some(door)) => door.default_origin(&info.fqdn)?,
        // Nobody asks for it.
        (None, None) => default_origin(&info.fqdn, 443),
    };
    let settings = Settings {
        session_idle_ms: i64::from(file.console.session_idle_minutes) * 60_000,
        session_lifetime_ms: i64::from(file.console.session_hours) * 3_600_000,
        server: Some(info),
        ..Settings::new(origin.clone())
    };
    let parts = Parts {
        eim: Arc::clone(eim),
        authority: Arc::clone(authority) as Arc<_>,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        courier: Arc::new(courier(file)?),
    };
    let console = Console::open(
        &data.join(DATABASE),
        StoreOptions::default(),
        settings,
        parts,
    )
    .with_context(|| {
        format!(
            "the console's database in {} cannot be opened",
            data.display()
        )
    })?;
    let opened = door.map(|door| {
        let (stop, stopped) = watch::channel(false);
        let telling = Arc::clone(&console);
        let webhooks = tokio::spawn(async move {
            telling.run_webhooks(super::until(stopped)).await;
        });
        let (tls, server) = door.serve(console.router(), until);
        Opened {
            tls,
            server,
            stop,
            webhooks,
            origin,
        }
    });
    Ok(Running { console, opened })
}

fn courier(file: &File) -> anyhow::Result<HttpsCourier> {
    let path = file.path(&file.console.webhook_trust);
    // A machine without certificates has no webhooks, and they say why.
    let roots = match (path.is_dir(), path.exists()) {
        (true, _) => trust::read_roots(&path),
        (false, true) => trust::read_bundle(&path),
        (false, false) => Ok(Vec::new()),
    };
    let roots = roots.context("the roots of webhooks cannot be read (console.webhook_trust)")?;
    let hosts = file.console.webhook_hosts.iter();
    Ok(HttpsCourier::new(
        roots,
        hosts.map(|host| host.to_ascii_lowercase()).collect(),
    ))
}

/// Where it listens.
enum Door {
    Tls(Box<Server>),
    /// On this machine only.
    Plain(TcpListener),
}

impl Door {
    async fn open(listen: SocketAddr, data: &Path, file: &File) -> anyhow::Result<Self> {
        if !file.console.insecure_http {
            let limits = Limits {
                body_bytes_max: BODY_OCTETS_MAX,
                ..file.limits.to_edge()
            };
            let server = Server::bind(listen, tls_config(data, file)?, limits).await?;
            return Ok(Self::Tls(Box::new(server)));
        }
        if !listen.ip().is_loopback() {
            bail!(
                "console.insecure_http is for browsers on this machine; with it console.listen is a loopback address, not {listen}"
            );
        }
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        Ok(Self::Plain(listener))
    }

    fn default_origin(&self, fqdn: &str) -> anyhow::Result<String> {
        Ok(match self {
            Self::Tls(server) => default_origin(fqdn, server.local_addr().port()),
            Self::Plain(listener) => format!("http://localhost:{}", listener.local_addr()?.port()),
        })
    }

    fn serve(
        self,
        router: Router,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> (Option<TlsHandle>, JoinHandle<()>) {
        match self {
            Self::Tls(server) => {
                let tls = server.tls();
                let task = tokio::spawn(async move {
                    server.serve(router, until).await;
                });
                (Some(tls), task)
            }
            Self::Plain(listener) => {
                let router = router.layer(DefaultBodyLimit::max(BODY_OCTETS_MAX));
                let task = tokio::spawn(async move {
                    let served = axum::serve(listener, router).with_graceful_shutdown(until);
                    if let Err(error) = served.await {
                        tracing::error!(%error, "the console broke off");
                    }
                });
                (None, task)
            }
        }
    }
}

impl Running {
    /// Reads the certificate again.
    pub(crate) fn reload(&self, data: &Path, file: &File) {
        let Some(handle) = self.opened.as_ref().and_then(|opened| opened.tls.as_ref()) else {
            return;
        };
        let replaced = tls_config(data, file).and_then(|tls| Ok(handle.replace(tls)?));
        match replaced {
            Ok(()) => tracing::info!("the certificate of the console was read again"),
            Err(error) => {
                tracing::error!("the certificate of the console stays the old one: {error:#}");
            }
        }
    }

    /// Where browsers find it.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.opened.as_ref().map(|opened| opened.origin.as_str())
    }

    /// What the control socket serves.
    pub(crate) fn local_router(&self) -> Router {
        self.console.local_router()
    }

    /// Waits for the requests under way, after it was told to stop.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(opened) = self.opened {
            opened.server.await.context("the console broke off")?;
            // Nobody listening any more is as good.
            let _ = opened.stop.send(true);
            opened.webhooks.await.context("the webhooks broke off")?;
        }
        self.console.shut_down();
        Ok(())
    }
}

/// Browsers have TLS 1.3.
fn tls_config(data: &Path, file: &File) -> anyhow::Result<TlsConfig> {
    let section = &file.console;
    let certificate = section
        .tls_certificate
        .as_ref()
        .unwrap_or(&file.eim.tls_certificate);
    let key = section.tls_key.as_ref().unwrap_or(&file.eim.tls_key);
    let identity = tls_of(data, &file.path(certificate), key)
        .context("console.tls_certificate and console.tls_key")?;
    Ok(TlsConfig {
        version_min: TlsVersion::V1_3,
        ..TlsConfig::new(identity)
    })
}

fn default_origin(fqdn: &str, port: u16) -> String {
    let host = fqdn
        .rsplit_once(':')
        .map_or(fqdn, |(host, _)| host)
        .to_ascii_lowercase();
    match port {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    }
}

/// An origin as browsers write it (RFC 6454 section 6.1).
fn checked_origin(text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).context("console.origin")?;
    let origin = url.origin().ascii_serialization();
    let is_here = url.scheme() == "http" && url.host_str() == Some("localhost");
    if !(url.scheme() == "https" || is_here) || origin != text {
        bail!("console.origin is {text:?}; use the form https://host[:port], as browsers show it");
    }
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        assert_eq!(
            default_origin("EIM.example.com:8443", 8442),
            "https://eim.example.com:8442"
        );
        assert_eq!(
            default_origin("eim.example.com", 443),
            "https://eim.example.com"
        );
        assert!(checked_origin("https://eim.example.com:8442").is_ok());
        assert!(checked_origin("http://localhost:8442").is_ok());
        for text in [
            "http://eim.example.com",
            "http://localhost.example.com",
            "https://eim.example.com/",
            "https://eim.example.com:443",
            "https://EIM.example.com",
            "eim.example.com",
        ] {
            assert!(checked_origin(text).is_err(), "{text}");
        }
    }
}
