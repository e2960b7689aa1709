//! An HTTP/1.1 client that trusts exactly what it is told to, for devices and for calls from server to server.
//!
//! It keeps its connections open between requests, follows no redirects, and bounds time and size. A request is sent again
//! only when the server closed a kept connection before it took the first byte.

mod blocking;
mod connect;
mod error;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

pub use blocking::BlockingClient;
pub use error::{ClientError, TlsFailure};

use self::connect::{Connection, Connector, Sent};
use crate::tls::{self, Clock, Identity, TlsError, TlsVersion, Trust};

/// What a request may cost.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For the whole request, a new connection included.
    pub total_timeout: Duration,
    /// Bytes of a response's head. At least 8192.
    pub header_bytes_max: usize,
    /// Bytes of a response's body.
    pub body_bytes_max: usize,
    /// Connections at a time; a further request waits for one of them. Devices use one.
    pub connections_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(60),
            header_bytes_max: 16 * 1024,
            body_bytes_max: 4 * 1024 * 1024,
            connections_max: 1,
        }
    }
}

/// Everything that can be chosen about a [`Client`].
#[derive(Clone)]
pub struct ClientOptions {
    /// Which server is accepted.
    pub trust: Trust,
    /// Time and size.
    pub limits: ClientLimits,
    /// Certificate to show when the server asks (mutual TLS, as on ES2+).
    pub identity: Option<Identity>,
    /// Addresses that replace name resolution: host name as in the URL, and where to connect instead (port included).
    pub resolve: Vec<(String, SocketAddr)>,
    /// Time for checking certificates; none takes the system's clock.
    pub clock: Option<Clock>,
    /// Lowest TLS version that is spoken.
    pub version_min: TlsVersion,
    /// Whether `http:` URLs are allowed. They protect nothing.
    pub insecure_http: bool,
}

impl ClientOptions {
    /// `trust` with defaults for all else.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            limits: ClientLimits::default(),
            identity: None,
            resolve: Vec::new(),
            clock: None,
            version_min: TlsVersion::V1_2,
            insecure_http: false,
        }
    }
}

/// A response, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
    /// Number of the connection within this client, from 1: equal numbers are the same connection.
    pub connection_id: u64,
}

impl Response {
    /// The response itself if its status is 2xx.
    ///
    /// # Errors
    /// [`ClientError::Status`] otherwise.
    pub fn require_success(self) -> Result<Self, ClientError> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(ClientError::Status(self.status))
        }
    }
}

/// The client. Clones share its connections and TLS sessions.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    limits: ClientLimits,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
    last_id: AtomicU64,
}

impl Client {
    /// A client with defaults for everything but trust and limits.
    pub fn new(trust: Trust, limits: ClientLimits) -> Result<Self, TlsError> {
        Self::with_options(ClientOptions {
            limits,
            ..ClientOptions::new(trust)
        })
    }

    /// A client.
    ///
    /// # Errors
    /// When a pin, a root or the identity cannot be read.
    pub fn with_options(options: ClientOptions) -> Result<Self, TlsError> {
        let ClientOptions {
            trust,
            limits,
            identity,
            resolve,
            clock,
            version_min,
            insecure_http,
        } = options;
        let tls = tls::client_config(trust, identity, version_min, clock)?;
        let connector = Connector::new(tls, resolve, insecure_http, limits.header_bytes_max);
        let places = Semaphore::new(limits.connections_max.clamp(1, Semaphore::MAX_PERMITS));
        let idle = Mutex::new(Vec::new());
        Ok(Self {
            inner: Arc::new(Inner {
                connector,
                limits,
                places,
                idle,
                last_id: AtomicU64::new(0),
            }),
        })
    }

    /// Sends a POST request. `Host` and `Content-Length` are added to `headers`.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Response, ClientError> {
        self.request(Method::POST, url, headers, body.into()).await
    }

    /// Sends a GET request.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, ClientError> {
        self.request(Method::GET, url, headers, Bytes::new()).await
    }

    /// Sends a request and reads the whole response. Redirects are returned, not followed.
    ///
    /// # Errors
    /// Every [`ClientError`] but `Status`.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let exchange = self.inner.exchange(method, uri, headers, body);
        tokio::time::timeout(self.inner.limits.total_timeout, exchange)
            .await
            .map_err(|_| ClientError::Timeout)?
    }

    /// A new connection to the server of `url`, secured and with nothing sent on it: for probing a server with what is no
    /// request. It counts for none of the limits but the one of connecting.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn open(
        &self,
        url: &str,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, ClientError> {
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let target = self.inner.connector.target(&uri)?;
        let connecting = self.inner.connector.stream(&target);
        tokio::time::timeout(self.inner.limits.connect_timeout, connecting)
            .await
            .map_err(|_| ClientError::Timeout)?
    }

    /// Closes the connections that are kept open; the next request makes a new one.
    pub fn close_idle(&self) {
        self.inner.idle().clear();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let target = self.connector.target(&uri)?;
        let mut request = origin_request(method, &uri, headers, body)?;
        // Never closed, so a place comes.
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|_| ClientError::Connect(std::io::ErrorKind::Other.into()))?;
        loop {
            let kept = {
                let mut idle = self.idle();
                let position = idle
                    .iter()
                    .rposition(|connection| *connection.target() == target);
                position.map(|position| idle.swap_remove(position))
            };
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => {
                    self.make_room();
                    let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                    let connecting = self.connector.connect(&target, id);
                    let connected =
                        tokio::time::timeout(self.limits.connect_timeout, connecting).await;
                    connected.map_err(|_| ClientError::Timeout)??
                }
            };
            match connection.send(request).await {
                Sent::Answered(response) => {
                    let (head, body) = response.into_parts();
                    let body = connection
                        .drive(read_body(body, self.limits.body_bytes_max))
                        .await?;
                    let connection_id = connection.id();
                    if connection.reusable().await {
                        self.idle().push(connection);
                    }
                    return Ok(Response {
                        status: head.status,
                        headers: head.headers,
                        body,
                        connection_id,
                    });
                }
                Sent::NotTaken(unsent) if !fresh => request = unsent,
                Sent::NotTaken(_) => return Err(ClientError::Closed),
                Sent::Failed(error) => return Err(ClientError::Http(error)),
            }
        }
    }

    /// Kept connections to other servers count towards the limit, too.
    fn make_room(&self) {
        let in_use = self
            .limits
            .connections_max
            .max(1)
            .saturating_sub(self.places.available_permits());
        let mut idle = self.idle();
        while !idle.is_empty() && idle.len() + in_use > self.limits.connections_max.max(1) {
            idle.remove(0);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing that can panic runs under this lock, so a poisoned state is still whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request in the form that goes over the wire: path and query only, and the host as a field.
fn origin_request(
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri
        .authority()
        .map(|authority| authority.as_str())
        .ok_or(ClientError::Url)?;
    let host = HeaderValue::from_str(host).map_err(|_| ClientError::Url)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| ClientError::Url)?;
    *request.headers_mut() = headers;
    request.headers_mut().entry(header::HOST).or_insert(host);
    Ok(request)
}

async fn read_body(mut body: hyper::body::Incoming, max: usize) -> Result<Bytes, ClientError> {
    use hyper::body::Body;
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > max) {
        return Err(ClientError::TooLarge { max });
    }
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ClientError::Http)?.into_data() else {
            continue;
        };
        if all.len() + data.len() > max {
            return Err(ClientError::TooLarge { max });
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}
