//! A TLS listener that bounds what each peer can cost and hands complete requests to a handler.
//!
//! A request reaches the handler only with its whole body, so slow or oversized uploads never occupy the domain. Handlers
//! that panic or take too long are answered for (500, 503) without harm to the connection or the server.

mod connection;
mod counters;
mod limits;
mod registry;
mod request;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

pub use counters::{CounterValues, Counters};
pub use limits::Limits;

use self::registry::Registry;
use self::request::Shared;
use crate::tls::{TlsConfig, TlsError, TlsVersion};

/// Number of a connection, unique within one [`Server`], in the order of acceptance, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The connection on which a request came: an extension of every request (`axum::Extension<ConnectionInfo>`).
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Number of the connection.
    pub id: ConnectionId,
    /// Address of the peer.
    pub peer: SocketAddr,
    /// Negotiated TLS version.
    pub tls_version: TlsVersion,
    /// Negotiated cipher suite, as in the IANA registry.
    pub cipher_suite: &'static str,
    /// The client's end entity certificate, if it showed one (and it was then checked).
    pub client_certificate: Option<Arc<CertificateDer<'static>>>,
    /// Number of this request among those of its connection that reached the handler, from 1.
    pub request: u64,
}

/// What answers requests: a function from a request with its complete body to a response.
///
/// Implemented for closures `Fn(Request<Bytes>) -> impl Future<Output = Response<B>>`; [`Server::serve`] takes a router.
pub trait Handler: Send + Sync + 'static {
    /// Body of the responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request.
    fn call(&self, request: Request<Bytes>) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl<F, R, B> Handler for F
where
    F: Fn(Request<Bytes>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;

    fn call(&self, request: Request<Bytes>) -> impl Future<Output = Response<B>> + Send {
        self(request)
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    tls: TlsHandle,
    limits: Limits,
    counters: Arc<Counters>,
}

/// Exchanges the certificate, key and client roots of a running server.
#[derive(Debug, Clone)]
pub struct TlsHandle {
    current: Arc<Mutex<Arc<rustls::ServerConfig>>>,
}

impl TlsHandle {
    /// Takes `config` for all connections from now on. On an error the old one stays.
    pub fn replace(&self, config: TlsConfig) -> Result<(), TlsError> {
        let config = Arc::new(config.into_rustls()?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(
            &self.current.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not free or not ours.
    #[error(
        "cannot listen on {address}; check that the address is this machine's and that the port is free"
    )]
    Listen {
        /// The wanted address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Certificate, key or roots are unusable.
    #[error("the TLS set-up of {address} is unusable")]
    Tls {
        /// The wanted address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: TlsError,
    },
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open at the end of [`Limits::drain_timeout`] and were cut.
    pub cut: usize,
}

impl Server {
    /// Listens on `address` (port 0 takes a free one). Connections are accepted once [`Server::serve`] runs.
    pub async fn bind(
        address: SocketAddr,
        tls: TlsConfig,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let config = tls
            .into_rustls()
            .map_err(|source| BindError::Tls { address, source })?;
        let listen = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let tls = TlsHandle {
            current: Arc::new(Mutex::new(Arc::new(config))),
        };
        Ok(Self {
            listener,
            local,
            tls,
            limits,
            counters: Arc::new(Counters::default()),
        })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The counters of this server; they go on counting while it serves.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// For exchanging the certificate while the server runs.
    pub fn tls(&self) -> TlsHandle {
        self.tls.clone()
    }

    /// Serves `router` until `shutdown` is ready, then lets requests end within [`Limits::drain_timeout`].
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> Drained {
        // The router's own limit would refuse bodies that this server has accepted.
        let router = if self.limits.body_bytes_max > ROUTER_BODY_BYTES_MAX {
            router.layer(DefaultBodyLimit::disable())
        } else {
            router
        };
        self.serve_handler(RouterHandler(router.with_state(())), shutdown)
            .await
    }

    /// Like [`Server::serve`], with a plain handler instead of a router.
    pub async fn serve_handler<H: Handler>(
        self,
        handler: H,
        shutdown: impl Future<Output = ()>,
    ) -> Drained {
        let Self {
            listener,
            tls,
            limits,
            counters,
            ..
        } = self;
        let registry = Arc::new(Registry::new(
            limits.connections_max,
            limits.connections_per_peer_max,
        ));
        let drain_timeout = limits.drain_timeout;
        let shared = Arc::new(Shared::new(handler, limits, Arc::clone(&counters)));
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            match registry.admit(peer) {
                Ok(place) => {
                    counters.accepted.add();
                    prepare(&stream);
                    connections.spawn(connection::run(
                        stream,
                        peer,
                        tls.acceptor(),
                        Arc::clone(&shared),
                        place,
                    ));
                }
                Err(_) => counters.connections_refused.add(),
            }
        }
        drop(listener);
        registry.stop_all();
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain_timeout, drained).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = connections.len();
        connections.shutdown().await;
        tracing::warn!(
            cut,
            "connections were still open at the end of the drain time"
        );
        Drained { cut }
    }
}

/// The body limit that the router applies by itself, in bytes.
const ROUTER_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

struct RouterHandler(Router);

impl Handler for RouterHandler {
    type Body = axum::body::Body;

    async fn call(&self, request: Request<Bytes>) -> Response<axum::body::Body> {
        let mut router = self.0.clone();
        match router.call(request.map(axum::body::Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Errors of one connection are its own; without file descriptors the loop would spin.
async fn pause_after(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn prepare(stream: &TcpStream) {
    // Answers are written at once; waiting for more to send would only delay them. Failing here costs time, nothing else.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
}
