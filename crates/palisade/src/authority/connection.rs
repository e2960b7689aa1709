//! HTTP to the authority: over its socket, or over mutual TLS.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use edge::client::{Client, ClientLimits, ClientOptions};
use edge::tls::{Identity, TlsVersion, Trust};
use eim::authority::AuthorityError;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Whole body.
    pub(crate) body: Bytes,
}

/// How long a request may take: signing many packages in a slow hardware module takes longest.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Octets of an answer: a feed that approves an intent for a million devices has some 36 million.
const ANSWER_OCTETS_MAX: usize = 128 << 20;
/// Connections at a time. The eIM makes one call of each kind at a time; the rest are people.
const CONNECTIONS_MAX: usize = 16;

/// Connections to one authority, which are kept open.
pub(crate) enum Connection {
    /// On this machine.
    Socket(SocketConnection),
    /// On another host.
    Remote {
        /// Keeps connections open itself.
        client: Client,
        /// `https://host[:port]`
        base: String,
    },
}

impl Connection {
    /// Over the socket of a process on this machine.
    pub(crate) fn socket(path: PathBuf) -> Self {
        Self::Socket(SocketConnection {
            path,
            idle: Mutex::new(Vec::new()),
            places: Semaphore::new(CONNECTIONS_MAX),
        })
    }

    /// Over mutual TLS. Certificates are DER, the key is PKCS#8.
    pub(crate) fn remote(
        address: &str,
        server_ca: Vec<Vec<u8>>,
        identity: Identity,
    ) -> anyhow::Result<Self> {
        let limits = ClientLimits {
            connect_timeout: Duration::from_secs(5),
            total_timeout: TIMEOUT,
            body_bytes_max: ANSWER_OCTETS_MAX,
            connections_max: CONNECTIONS_MAX,
            ..ClientLimits::default()
        };
        let client = Client::with_options(ClientOptions {
            limits,
            identity: Some(identity),
            version_min: TlsVersion::V1_3,
            ..ClientOptions::new(Trust::roots(server_ca))
        })
        .context("the connection to the authority cannot be set up")?;
        Ok(Self::Remote {
            client,
            base: format!("https://{address}"),
        })
    }

    /// Sends a request and reads the whole answer. `target` is a path, perhaps with a query.
    pub(crate) async fn call(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Answer, AuthorityError> {
        match self {
            Self::Socket(socket) => {
                let exchange = socket.exchange(method, target, body);
                match tokio::time::timeout(TIMEOUT, exchange).await {
                    Ok(answer) => answer,
                    Err(_) => Err(unreachable(format!(
                        "no answer within {} s",
                        TIMEOUT.as_secs()
                    ))),
                }
            }
            Self::Remote { client, base } => {
                let mut headers = HeaderMap::new();
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                );
                let url = format!("{base}{target}");
                let response = client
                    .request(method, &url, headers, body)
                    .await
                    .map_err(|error| unreachable(format!("{:#}", anyhow::Error::from(error))))?;
                Ok(Answer {
                    status: response.status,
                    body: response.body,
                })
            }
        }
    }
}

/// Connections over a Unix socket.
pub(crate) struct SocketConnection {
    path: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    places: Semaphore,
}

impl SocketConnection {
    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Answer, AuthorityError> {
        let broken = |error: &dyn std::fmt::Display| unreachable(error.to_string());
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|error| broken(&error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        loop {
            let (mut sender, is_kept) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (connect(&self.path).await?, false),
            };
            // A kept connection that the other side has closed, a restarted authority for example, is no failure.
            if sender.ready().await.is_err() && is_kept {
                continue;
            }
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_kept => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(broken(error.error())),
                },
            };
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX)
                .collect()
                .await
                .map_err(|error| broken(&error))?
                .to_bytes();
            self.keep(sender);
            return Ok(Answer { status, body });
        }
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
    }
}

async fn connect(path: &Path) -> Result<SendRequest<Full<Bytes>>, AuthorityError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| unreachable(format!("{}: {error}", path.display())))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    // It ends when the sender is dropped, or the authority closes it.
    tokio::spawn(connection);
    Ok(sender)
}

fn unreachable(reason: String) -> AuthorityError {
    AuthorityError::Unreachable(reason)
}
