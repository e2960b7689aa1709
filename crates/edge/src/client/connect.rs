use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{ClientError, TlsFailure};

/// Where a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    secure: bool,
    host: String,
    port: u16,
}

/// Makes connections.
pub(super) struct Connector {
    tls: TlsConnector,
    resolve: Vec<(String, SocketAddr)>,
    insecure_http: bool,
    header_bytes_max: usize,
}

/// The smallest read buffer that the HTTP library takes, in bytes.
const HEADER_BYTES_MIN: usize = 8192;

impl Connector {
    pub(super) fn new(
        tls: rustls::ClientConfig,
        resolve: Vec<(String, SocketAddr)>,
        insecure_http: bool,
        header_bytes_max: usize,
    ) -> Self {
        let header_bytes_max = header_bytes_max.max(HEADER_BYTES_MIN);
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
            resolve,
            insecure_http,
            header_bytes_max,
        }
    }

    pub(super) fn target(&self, uri: &Uri) -> Result<Target, ClientError> {
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && self.insecure_http => false,
            _ => return Err(ClientError::Url),
        };
        let host = uri.host().ok_or(ClientError::Url)?;
        // A user name in the URL would end up in the Host field.
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(ClientError::Url);
        }
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Target {
            secure,
            host,
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        })
    }

    pub(super) async fn connect(
        &self,
        target: &Target,
        id: u64,
    ) -> Result<Connection, ClientError> {
        let stream = self.stream(target).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(self.header_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Http)?;
        Ok(Connection {
            target: target.clone(),
            id,
            sender,
            driver: Box::pin(driver),
        })
    }

    /// A connection with its TLS handshake done.
    pub(super) async fn stream(&self, target: &Target) -> Result<Stream, ClientError> {
        let tcp = self.tcp(target).await?;
        // Requests are written at once; waiting for more to send would only delay them.
        tcp.set_nodelay(true).map_err(ClientError::Connect)?;
        if !target.secure {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| ClientError::Url)?;
        let tls = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| tls_error(&error))?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    async fn tcp(&self, target: &Target) -> Result<TcpStream, ClientError> {
        let fixed = self
            .resolve
            .iter()
            .find(|(host, _)| host.eq_ignore_ascii_case(&target.host));
        if let Some((_, address)) = fixed {
            return TcpStream::connect(address)
                .await
                .map_err(ClientError::Connect);
        }
        let dns = |source| ClientError::Dns {
            host: target.host.clone(),
            source,
        };
        let addresses = tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(dns)?;
        let mut last = ClientError::Connect(io::ErrorKind::AddrNotAvailable.into());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = ClientError::Connect(error),
            }
        }
        Err(last)
    }
}

fn tls_error(error: &io::Error) -> ClientError {
    ClientError::Tls(TlsFailure::from_io(error))
}

type Driver = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// One connection. Its input and output run inside the calls here, not in a task of their own, so a device costs no task
/// and a dropped client has closed its sockets.
pub(super) struct Connection {
    target: Target,
    id: u64,
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<Driver>>,
}

/// What became of a request.
pub(super) enum Sent {
    Answered(Response<Incoming>),
    /// The connection was closed before a byte of the request was sent.
    NotTaken(Request<Full<Bytes>>),
    Failed(hyper::Error),
}

impl Connection {
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Sent {
        // Finds out whether the server has closed a kept connection in the meantime. The runtime looks for news from the
        // network only when everything waits, and in a blocking client that runs only during requests, nothing has looked.
        tokio::task::yield_now().await;
        let closed =
            poll_fn(|context| Poll::Ready(self.driver.as_mut().poll(context).is_ready())).await;
        if closed || !self.sender.is_ready() {
            return Sent::NotTaken(request);
        }
        let answer = self.sender.try_send_request(request);
        match drive(&mut self.driver, answer).await {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::NotTaken(request),
                None => Sent::Failed(error.into_error()),
            },
        }
    }

    /// Runs the connection until `work`, which waits for it, is done.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.driver, work).await
    }

    /// Whether a further request can be sent.
    pub(super) async fn reusable(&mut self) -> bool {
        let closed =
            poll_fn(|context| Poll::Ready(self.driver.as_mut().poll(context).is_ready())).await;
        !closed && self.sender.is_ready()
    }
}

async fn drive<T>(driver: &mut Pin<Box<Driver>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut open = true;
    poll_fn(|context| {
        if let Poll::Ready(result) = work.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        // A finished connection must not be polled again; what it has brought is then with `work`.
        if open && driver.as_mut().poll(context).is_ready() {
            open = false;
        }
        work.as_mut().poll(context)
    })
    .await
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }
}
