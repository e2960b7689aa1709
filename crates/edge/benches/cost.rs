//! What this server costs above a bare one on the same libraries, in requests per second: `cargo bench -p edge`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement reports by panicking"
)]

#[path = "../tests/edge/support.rs"]
#[expect(dead_code, reason = "shared with tests")]
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use edge::client::Client;
use edge::server::Limits;
use edge::tls::Trust;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use support::{Authority, Profile, Running, options, url};

const REPLY: &[u8] = &[0xBF, 0x50, 0x05, 0x02, 0x01, 0x01, 0x00, 0x00];

fn main() {
    // `cargo test --all-targets` runs this as well, and measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (bare, bare_root) = runtime.block_on(bare_server());
    let handler = runtime.block_on(Running::start_handler(
        Limits::default(),
        |_: Request<Bytes>| async { Response::new(Full::new(Bytes::from_static(REPLY))) },
    ));
    let router = Router::new().route("/gsma/rsp2/asn1", post(|_: Bytes| async { REPLY }));
    let router = runtime.block_on(Running::start(Limits::default(), router));
    for round in 0..5 {
        for (name, address, root) in [
            ("bare hyper", bare, &bare_root),
            ("edge, plain handler", handler.address, &handler.root),
            ("edge, router", router.address, &router.root),
        ] {
            let rate = load(address, &Trust::CaCertificate(root.clone()));
            println!("round {round}: {name}: {rate:.0} requests/s");
        }
    }
}

/// Requests per second of eight clients in one thread.
fn load(address: SocketAddr, trust: &Trust) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(2);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let client = Client::with_options(options(address, trust.clone())).unwrap();
                tokio::spawn(async move {
                    let mut count = 0;
                    while Instant::now() < end {
                        let body = Bytes::from_static(&[0xBF, 0x4F, 0x12]);
                        client
                            .post(&url("/gsma/rsp2/asn1"), HeaderMap::new(), body)
                            .await
                            .unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0;
        for client in clients {
            total += client.await.unwrap();
        }
        f64::from(total) / 2.0
    })
}

async fn bare_server() -> (SocketAddr, rustls_pki_types::CertificateDer<'static>) {
    let authority = Authority::root("Bare CI");
    let issued = authority.issue(&Profile::default());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_protocol_versions(rustls::DEFAULT_VERSIONS)
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(issued.chain, issued.key.try_into().unwrap())
    .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = service_fn(|request: Request<Incoming>| async {
                    drop(request.into_body().collect().await);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(REPLY))))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                drop(connection.await);
            });
        }
    });
    (address, authority.certificate)
}
