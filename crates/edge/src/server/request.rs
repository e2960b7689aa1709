//! One request: its body, its place among the others, its handler, and the answers that this server gives by itself.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::connection::Activity;
use super::{ConnectionInfo, Counters, Handler, Limits};

/// What the connections of one server have in common.
pub(super) struct Shared<H> {
    handler: H,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    requests: AtomicUsize,
    buffered: AtomicUsize,
}

impl<H> Shared<H> {
    pub(super) fn new(handler: H, limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            handler,
            limits,
            counters,
            requests: AtomicUsize::new(0),
            buffered: AtomicUsize::new(0),
        }
    }
}

/// One connection, as its requests see it.
pub(super) struct Served<H> {
    shared: Arc<Shared<H>>,
    info: ConnectionInfo,
    activity: Arc<Activity>,
    requests: AtomicU64,
}

type Reply<B> = Response<Either<B, Full<Bytes>>>;

impl<H: Handler> Served<H> {
    pub(super) fn new(
        shared: Arc<Shared<H>>,
        info: ConnectionInfo,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            shared,
            info,
            activity,
            requests: AtomicU64::new(0),
        }
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Reply<H::Body>, Infallible> {
        let _working = self.activity.begin_request();
        let counters = &self.shared.counters;
        counters.requests.add();
        let version = request.version();
        let (mut head, body) = request.into_parts();
        let mut held = Held::new(&self.shared.buffered, self.shared.limits.buffered_bytes_max);
        let body = match read_body(
            body,
            &self.shared.limits,
            &mut held,
            expects_continue(&head.headers),
        )
        .await
        {
            Ok(body) => body,
            Err(reject) => {
                match reject {
                    Reject::TooLarge => counters.bodies_too_large.add(),
                    Reject::Slow => counters.bodies_slow.add(),
                    Reject::Overload => counters.overloads.add(),
                    Reject::Broken => {}
                }
                // The rest of the body is still on its way, so the connection cannot go on.
                return Ok(closing(own_reply(reject.status()), version));
            }
        };
        let mut slot = Held::new(&self.shared.requests, self.shared.limits.requests_max);
        if !slot.take(1) {
            counters.overloads.add();
            return Ok(own_reply(StatusCode::SERVICE_UNAVAILABLE));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        head.extensions.insert(ConnectionInfo {
            request: number,
            ..self.info.clone()
        });
        Ok(self.handle(Request::from_parts(head, body)).await)
    }

    async fn handle(&self, request: Request<Bytes>) -> Reply<H::Body> {
        let Shared {
            handler,
            limits,
            counters,
            ..
        } = &*self.shared;
        // The call itself is inside, since a closure may panic before there is a future.
        let mut future = pin!(async { handler.call(request).await });
        let caught = poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        match tokio::time::timeout(limits.request_timeout, caught).await {
            Ok(Ok(response)) => response.map(Either::Left),
            Ok(Err(panic)) => {
                counters.handler_panics.add();
                tracing::error!(
                    panic = panic_message(panic.as_ref()),
                    "a request handler panicked"
                );
                own_reply(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(_) => {
                counters.handler_timeouts.add();
                tracing::warn!("a request handler took longer than the request timeout");
                own_reply(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}

/// Why a request does not reach its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reject {
    TooLarge,
    Slow,
    Overload,
    Broken,
}

impl Reject {
    fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Overload => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole body within all of its limits.
async fn read_body(
    mut body: Incoming,
    limits: &Limits,
    held: &mut Held<'_>,
    expects_continue: bool,
) -> Result<Bytes, Reject> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let max = limits.body_bytes_max;
    // Announced by Content-Length. A client that waits for "100 Continue" sends nothing when it is refused now.
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > max) {
        if !expects_continue {
            discard(&mut body, limits).await;
        }
        return Err(Reject::TooLarge);
    }
    let mut pace = Pace::new(limits);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    loop {
        let frame = match tokio::time::timeout_at(pace.deadline(length), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Reject::Broken),
            Ok(None) => break,
            Err(_) => return Err(Reject::Slow),
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length > max {
            discard(&mut body, limits).await;
            return Err(Reject::TooLarge);
        }
        if !held.take(data.len()) {
            return Err(Reject::Overload);
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(first.len() + data.len());
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// Reads on for a while: closing a socket with unread bytes resets the connection, and the peer would lose the answer that
/// tells it why. Nothing is kept of what is read.
async fn discard(body: &mut Incoming, limits: &Limits) {
    let mut left = limits.body_bytes_max.max(DISCARD_BYTES_MIN);
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            left = match left.checked_sub(read) {
                Some(left) => left,
                None => break,
            };
        }
    };
    // The answer is sent in any case.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, reading).await;
}

/// Enough for whoever mistakes what this endpoint is for, and sends it a whole file.
const DISCARD_BYTES_MIN: usize = 4 * 1024 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// The moment by which more of a body must have come.
struct Pace<'a> {
    begun: Instant,
    limits: &'a Limits,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            begun: Instant::now(),
            limits,
        }
    }

    fn deadline(&mut self, received: usize) -> Instant {
        let earned = if self.limits.body_rate_min == 0 {
            self.limits.body_timeout
        } else {
            let bytes = u32::try_from(received).unwrap_or(u32::MAX);
            self.limits.body_grace
                + Duration::from_secs_f64(f64::from(bytes) / f64::from(self.limits.body_rate_min))
        };
        self.begun + earned.min(self.limits.body_timeout)
    }
}

/// A share of a number that all requests have in common; given back on drop.
struct Held<'a> {
    total: &'a AtomicUsize,
    max: usize,
    own: usize,
}

impl<'a> Held<'a> {
    fn new(total: &'a AtomicUsize, max: usize) -> Self {
        Self { total, max, own: 0 }
    }

    /// Takes `more`, if the total stays within the limit.
    fn take(&mut self, more: usize) -> bool {
        let before = self.total.fetch_add(more, Ordering::Relaxed);
        self.own += more;
        before + more <= self.max
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.own > 0 {
            self.total.fetch_sub(self.own, Ordering::Relaxed);
        }
    }
}

fn own_reply<B>(status: StatusCode) -> Reply<B> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::new())));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn closing<B>(mut reply: Reply<B>, version: Version) -> Reply<B> {
    // HTTP/2 has no such field; there only the stream ends.
    if version < Version::HTTP_2 {
        reply
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn expects_continue(headers: &http::HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
