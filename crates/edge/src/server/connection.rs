//! One accepted connection: handshake, protocol choice, and the watch over a peer that does nothing.
//!
//! Instead of a timer for each request, a connection has one timer and a note of what it waits for since when
//! ([`Activity`]). The timer is set anew only when it fires or when the wait got shorter, so a busy connection costs none.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ProtocolVersion;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::registry::Place;
use super::request::{Served, Shared};
use super::{ConnectionId, ConnectionInfo, Handler, Limits};
use crate::tls::{ALPN_H2, TlsVersion};

/// Serves one connection to its end.
pub(super) async fn run<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared<H>>,
    mut place: Place,
) {
    let handshake = tokio::time::timeout(shared.limits.handshake_timeout, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        failed => {
            shared.counters.handshakes_failed.add();
            let reason = failed.map_or_else(
                |_| "timeout".to_owned(),
                |failed| format!("{:?}", failed.err()),
            );
            tracing::debug!(%peer, reason, "TLS handshake failed");
            return;
        }
    };
    let info = describe(&stream, peer, place.id);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
    let activity = Arc::new(Activity::new(!http2, &shared.limits));
    let io = Watched {
        io: TokioIo::new(stream),
        activity: Arc::clone(&activity),
    };
    let served = Arc::new(Served::new(
        Arc::clone(&shared),
        info,
        Arc::clone(&activity),
    ));
    let service = service_fn(move |request| Arc::clone(&served).answer(request));

    let limits = &shared.limits;
    let ended = if http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .serve_connection(io, service);
        drive(
            connection,
            |connection| connection.graceful_shutdown(),
            &activity,
            &mut place,
        )
        .await
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            // The watch below has its place, without a timer for each request.
            .header_read_timeout(None)
            .max_buf_size(limits.header_bytes_max.max(HEADER_BYTES_MIN))
            .serve_connection(io, service);
        drive(
            connection,
            |connection| connection.graceful_shutdown(),
            &activity,
            &mut place,
        )
        .await
    };
    match ended {
        Ended::Closed => {}
        Ended::HeaderSlow => shared.counters.headers_slow.add(),
        Ended::Idle => shared.counters.connections_idle.add(),
    }
}

/// The smallest read buffer that the HTTP library takes, in bytes.
const HEADER_BYTES_MIN: usize = 8192;

enum Ended {
    Closed,
    HeaderSlow,
    Idle,
}

async fn drive<C, E>(
    connection: C,
    stop: fn(Pin<&mut C>),
    activity: &Activity,
    place: &mut Place,
) -> Ended
where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = pin!(connection);
    let mut armed = activity.begun;
    let mut timer = pin!(tokio::time::sleep_until(armed.into()));
    let mut stopping = false;
    poll_fn(|context| {
        if !stopping && Pin::new(&mut place.stop).poll(context).is_ready() {
            stopping = true;
            stop(connection.as_mut());
        }
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ended::Closed);
        }
        loop {
            // Whatever ends the work on a request also polls this connection again, to send the answer.
            let Some((deadline, ended)) = activity.deadline() else {
                return Poll::Pending;
            };
            if deadline < armed || timer.is_elapsed() || armed == activity.begun {
                armed = deadline;
                timer.as_mut().reset(deadline.into());
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                return Poll::Ready(ended);
            }
        }
    })
    .await
}

fn describe(stream: &TlsStream<TcpStream>, peer: SocketAddr, id: u64) -> ConnectionInfo {
    let session = stream.get_ref().1;
    let tls_version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
        // Nothing but these two is offered.
        _ => TlsVersion::V1_3,
    };
    let cipher_suite = session
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("unknown");
    let client_certificate = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| Arc::new(certificate.clone().into_owned()));
    ConnectionInfo {
        id: ConnectionId(id),
        peer,
        tls_version,
        cipher_suite,
        client_certificate,
        request: 0,
    }
}

/// What a connection waits for, and since when.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Whether bytes from the peer mean that a request begins (in HTTP/2 they may mean anything).
    http1: bool,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    /// Requests being read or worked on, which have timers of their own.
    active: AtomicU32,
    phase: AtomicU8,
    /// Microseconds from `begun` to the begin of the phase.
    since: AtomicU64,
    /// Microseconds from `begun` to the last byte that the peer took.
    progress: AtomicU64,
}

/// Between requests.
const IDLE: u8 = 0;
/// A head has begun.
const HEADER: u8 = 1;
/// An answer is being sent.
const WRITING: u8 = 2;

impl Activity {
    fn new(http1: bool, limits: &Limits) -> Self {
        Self {
            begun: Instant::now(),
            http1,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            active: AtomicU32::new(0),
            // A peer that has shaken hands wants something; only after the first request it may take its time.
            phase: AtomicU8::new(HEADER),
            since: AtomicU64::new(0),
            progress: AtomicU64::new(0),
        }
    }

    /// Notes that a request is read and worked on until the guard is dropped.
    pub(super) fn begin_request(&self) -> Working<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Working(self)
    }

    /// The moment at which the peer has waited too long, and what it then has missed.
    fn deadline(&self) -> Option<(Instant, Ended)> {
        if self.active.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let at =
            |note: &AtomicU64| self.begun + Duration::from_micros(note.load(Ordering::Relaxed));
        let since = at(&self.since);
        Some(match self.phase.load(Ordering::Relaxed) {
            HEADER => (since + self.header_timeout, Ended::HeaderSlow),
            IDLE => (since + self.idle_timeout, Ended::Idle),
            _ => (
                (since + self.write_timeout).min(at(&self.progress) + self.idle_timeout),
                Ended::Idle,
            ),
        })
    }

    fn enter(&self, phase: u8) {
        let now = self.now();
        self.progress.store(now, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn received(&self) {
        if self.http1
            && self.phase.load(Ordering::Relaxed) == IDLE
            && self.active.load(Ordering::Relaxed) == 0
        {
            self.enter(HEADER);
        }
    }

    fn sent(&self) {
        if self.phase.load(Ordering::Relaxed) != HEADER {
            self.progress.store(self.now(), Ordering::Relaxed);
        }
    }

    fn flushed(&self) {
        if self.phase.load(Ordering::Relaxed) == WRITING && self.active.load(Ordering::Relaxed) == 0
        {
            self.enter(IDLE);
        }
    }
}

/// A request is being read or worked on.
pub(super) struct Working<'a>(&'a Activity);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.enter(WRITING);
        }
    }
}

/// The stream, with a note to [`Activity`] of every movement.
struct Watched {
    io: TokioIo<TlsStream<TcpStream>>,
    activity: Arc<Activity>,
}

impl Watched {
    fn io(&mut self) -> Pin<&mut TokioIo<TlsStream<TcpStream>>> {
        Pin::new(&mut self.io)
    }

    fn note(&self, written: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.activity.sent();
        }
        written
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = self.io().poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.activity.received();
        }
        read
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = self.io().poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let flushed = self.io().poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.activity.flushed();
        }
        flushed
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.io().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = self.io().poll_write_vectored(context, buffers);
        self.note(written)
    }
}
