//! The two servers that are compared: the real one, and a bare one of the same libraries.
//!
//! Each has one thread of its own, with a name by which its CPU time is found.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use edge::client::{Client, ClientLimits};
use edge::server::{Limits, Server};
use edge::tls::{TlsConfig, Trust};
use eim::http::EsipaHandler;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::load;
use super::site::Site;

/// A server with the thread it runs on.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    /// Names of the threads that work for it.
    pub(super) threads: &'static [&'static str],
    runtime: Runtime,
}

/// What a server answers.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

const ESIPA: &str = "esipa";
const BARE: &str = "bare";
/// The thread of the store that writes; it works for the eIM.
const WRITER: &str = "store-writer";

/// The eIM behind its listener, as `palisade serve` runs it.
pub(super) fn start_eim(site: &Site) -> anyhow::Result<Running> {
    let runtime = runtime(ESIPA)?;
    let limits = Limits {
        idle_timeout: Duration::from_secs(3600),
        ..Limits::default()
    };
    let server = runtime.block_on(Server::bind(loopback(), site.tls()?, limits))?;
    let address = server.local_addr();
    let handler = EsipaHandler::new(Arc::clone(&site.eim));
    runtime.spawn(server.serve_handler(handler, std::future::pending()));
    Ok(Running {
        address,
        threads: &[ESIPA, WRITER],
        runtime,
    })
}

/// TLS and HTTP of the same libraries and with the same settings, and nothing else: it answers with the same octets
/// whatever it is asked.
pub(super) fn start_bare(tls: TlsConfig, answer: Answer) -> anyhow::Result<Running> {
    let runtime = runtime(BARE)?;
    let listener = runtime.block_on(TcpListener::bind(loopback()))?;
    let address = listener.local_addr()?;
    let acceptor = tls.into_acceptor()?;
    let answer = Arc::new(answer);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |_: Request<Incoming>| {
                    std::future::ready(Ok::<_, Infallible>(answer.to_response()))
                });
                // The client closes it when it is done.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(Running {
        address,
        threads: &[BARE],
        runtime,
    })
}

impl Running {
    /// Runs something beside the requests, on the thread of the server.
    pub(super) fn beside<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// Waits for it.
    pub(super) fn join<T>(&self, work: JoinHandle<T>) -> anyhow::Result<T> {
        self.runtime
            .block_on(work)
            .context("work beside the requests broke off")
    }
}

impl Answer {
    /// What the eIM answers to this body.
    pub(super) fn of(eim: &Running, pin: Vec<u8>, body: Vec<u8>) -> anyhow::Result<Self> {
        let client = Client::new(Trust::PinnedSpki(pin), ClientLimits::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let url = format!("https://{}/gsma/rsp2/asn1", eim.address);
        let response = runtime.block_on(client.post(&url, load::headers()?, body))?;
        let mut headers = response.headers;
        // These two the HTTP library writes by itself.
        headers.remove(header::DATE);
        headers.remove(header::CONTENT_LENGTH);
        Ok(Self {
            status: response.status,
            headers,
            body: response.body,
        })
    }

    fn to_response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

fn runtime(thread: &str) -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(thread)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
