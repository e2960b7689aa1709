//! Each limit of the server, on it and just over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use edge::server::{ConnectionInfo, Limits};
use edge::tls::TlsVersion;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::{
    Authority, Profile, Running, connect, read_response, read_to_close, send, tls_client, url,
};

fn echo() -> Router {
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/info",
            get(|Extension(info): Extension<ConnectionInfo>| async move {
                format!(
                    "{} {} {:?} {}",
                    info.id.0, info.request, info.tls_version, info.cipher_suite
                )
            }),
        )
}

const GET: &str = "GET / HTTP/1.1\r\nhost: smdp.example.com\r\n\r\n";

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{what} did not happen"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn requests_carry_their_connection() {
    let server = Running::start(Limits::default(), echo()).await;
    let client = server.client();
    let get = async |client: &edge::client::Client| {
        let response = client.get(&url("/info"), HeaderMap::new()).await.unwrap();
        String::from_utf8(response.body.to_vec()).unwrap()
    };
    assert_eq!(get(&client).await, "1 1 V1_3 TLS13_AES_128_GCM_SHA256");
    assert_eq!(get(&client).await, "1 2 V1_3 TLS13_AES_128_GCM_SHA256");
    assert_eq!(
        get(&server.client()).await,
        "2 1 V1_3 TLS13_AES_128_GCM_SHA256"
    );
    let values = server.counters.values();
    assert_eq!(
        (values.accepted, values.requests, values.handler_panics),
        (2, 3, 0)
    );
}

#[tokio::test]
async fn tls_1_2_has_only_ecdsa_with_gcm() {
    let server = Running::start(Limits::default(), echo()).await;
    let config = tls_client(server.root.clone(), &[&rustls::version::TLS12]);
    let mut stream = connect(server.address, &config).await.unwrap();
    send(&mut stream, "GET /info HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let response = read_response(&mut stream).await;
    assert!(
        response.ends_with("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
            || response.ends_with("_128_GCM_SHA256")
    );
    assert!(response.contains("V1_2"), "{response}");

    use rustls::crypto::aws_lc_rs;
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..aws_lc_rs::default_provider()
    };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let error = connect(server.address, &Arc::new(config))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("HandshakeFailure"), "{error}");
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let server = Running::start(Limits::default(), echo()).await;
    let mut hello = vec![0x01, 0x00, 0x00, 0x2D, 0x03, 0x02];
    hello.extend_from_slice(&[0x5A; 32]);
    // No session, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA and TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend_from_slice(&[0x00, 0x00, 0x04, 0xC0, 0x09, 0x00, 0x2F, 0x01, 0x00]);
    hello[3] = u8::try_from(hello.len() - 4).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0x00, u8::try_from(hello.len()).unwrap()];
    record.extend_from_slice(&hello);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let [0x15, 0x03, _, 0x00, 0x02, 0x02, _] = answer[..] else {
        panic!("not one fatal alert: {answer:02X?}");
    };
    wait_until("the failure is counted", || {
        server.counters.values().handshakes_failed == 1
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed() {
    let server = Running::start(Limits::default(), echo()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = tls_client(server.root.clone(), &[version]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(server.address, &config).await.unwrap();
            send(&mut stream, GET).await;
            // In TLS 1.3 the ticket comes with the first answer.
            read_response(&mut stream).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[0], rustls::HandshakeKind::Full);
        assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn a_silent_peer_does_not_finish_the_handshake() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(begun.elapsed() >= Duration::from_millis(190));
    wait_until("the failure is counted", || {
        server.counters.values().handshakes_failed == 1
    })
    .await;
}

#[tokio::test]
async fn a_slow_head_ends_the_connection() {
    let header_timeout = Duration::from_millis(600);
    let limits = Limits {
        header_timeout,
        idle_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;

    let mut stream = server.connect().await;
    send(&mut stream, &GET[..10]).await;
    tokio::time::sleep(header_timeout / 3).await;
    send(&mut stream, &GET[10..]).await;
    assert!(
        read_response(&mut stream).await.starts_with("HTTP/1.1 200"),
        "in time"
    );
    // A later request on the same connection has the same limit, from its own first byte: bytes that trickle in do not help.
    let begun = Instant::now();
    for byte in GET.as_bytes() {
        let sent = stream.write_all(&[*byte]).await;
        if sent.is_err() || server.counters.values().headers_slow == 1 {
            break;
        }
        tokio::time::sleep(header_timeout / 8).await;
    }
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(begun.elapsed() >= header_timeout);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(server.counters.values().headers_slow, 1);

    // After the handshake, the first head is due at once.
    let mut stream = server.connect().await;
    assert_eq!(read_to_close(&mut stream).await, "");
    wait_until("it is counted", || {
        server.counters.values().headers_slow == 2
    })
    .await;
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let limits = Limits {
        header_bytes_max: 8192,
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;
    for (filler, status) in [(7500, "200"), (9000, "431")] {
        let mut stream = server.connect().await;
        send(
            &mut stream,
            &format!(
                "GET / HTTP/1.1\r\nhost: x\r\nx-filler: {}\r\n\r\n",
                "f".repeat(filler)
            ),
        )
        .await;
        let response = read_response(&mut stream).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let limits = Limits {
        body_timeout: Duration::from_millis(2000),
        body_grace: Duration::from_millis(300),
        body_rate_min: 100,
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 300\r\n\r\n";

    // Nothing comes within the grace time.
    let begun = Instant::now();
    let mut stream = server.connect().await;
    send(&mut stream, head).await;
    let response = read_to_close(&mut stream).await;
    assert!(
        response.starts_with("HTTP/1.1 408") && response.contains("connection: close"),
        "{response}"
    );
    assert!((Duration::from_millis(290)..Duration::from_millis(1800)).contains(&begun.elapsed()));

    // 30 bytes earn 300 ms more.
    let begun = Instant::now();
    let mut stream = server.connect().await;
    send(&mut stream, head).await;
    send(&mut stream, &"b".repeat(30)).await;
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 408"));
    assert!(
        begun.elapsed() >= Duration::from_millis(590),
        "{:?}",
        begun.elapsed()
    );

    // Fast enough, but longer than any body may take.
    let begun = Instant::now();
    let mut stream = server.connect().await;
    send(&mut stream, head).await;
    send(&mut stream, &"b".repeat(250)).await;
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 408"));
    assert!(
        begun.elapsed() >= Duration::from_millis(1990),
        "{:?}",
        begun.elapsed()
    );

    // In time, in pieces.
    let mut stream = server.connect().await;
    send(&mut stream, head).await;
    send(&mut stream, &"b".repeat(250)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    send(&mut stream, &"b".repeat(50)).await;
    let response = read_response(&mut stream).await;
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with("300"),
        "{response}"
    );
    assert_eq!(server.counters.values().bodies_slow, 3);
}

#[tokio::test]
async fn a_body_at_the_limit_passes_and_one_byte_more_does_not() {
    // Above the router's own limit, which must not come in between.
    let max = 3 * 1024 * 1024;
    let server = Running::start(
        Limits {
            body_bytes_max: max,
            ..Limits::default()
        },
        echo(),
    )
    .await;
    let client = server.client();
    let response = client
        .post(&url("/length"), HeaderMap::new(), vec![b'b'; max])
        .await
        .unwrap();
    assert_eq!(
        (response.status.as_u16(), &response.body[..]),
        (200, max.to_string().as_bytes())
    );
    let response = client
        .post(&url("/length"), HeaderMap::new(), vec![b'b'; max + 1])
        .await
        .unwrap();
    assert_eq!(response.status.as_u16(), 413);
    assert_eq!(response.headers["connection"], "close");
    // Without an announced length.
    for (length, status) in [(max, "200"), (max + 1, "413")] {
        let mut stream = server.connect().await;
        send(
            &mut stream,
            "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
        send(
            &mut stream,
            &format!("{length:x}\r\n{}\r\n0\r\n\r\n", "b".repeat(length)),
        )
        .await;
        let response = read_response(&mut stream).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
    // A client that asks first is told before it sends anything.
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n",
    )
    .await;
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 413"));
    assert_eq!(server.counters.values().bodies_too_large, 3);
}

#[tokio::test]
async fn the_sender_of_a_body_far_too_large_still_gets_the_answer() {
    let limits = Limits {
        body_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;
    for octets in [100_000, 1 << 20, 3 << 20] {
        let response = server
            .client()
            .post(&url("/length"), HeaderMap::new(), vec![b'b'; octets])
            .await
            .unwrap();
        assert_eq!(response.status.as_u16(), 413, "{octets}");
    }
    assert_eq!(server.counters.values().bodies_too_large, 3);
}

#[tokio::test]
async fn a_broken_body_does_not_reach_the_handler() {
    let server = Running::start(Limits::default(), echo()).await;
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    )
    .await;
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 400"));
    // The server is unharmed.
    assert_eq!(
        server
            .client()
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .status
            .as_u16(),
        200
    );
}

#[tokio::test]
async fn buffered_bodies_are_bounded_together() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let router = Router::new().route(
        "/hold",
        post(move |body: Bytes| {
            let held = Arc::clone(&held);
            async move {
                held.notified().await;
                body.len().to_string()
            }
        }),
    );
    let server = Running::start(
        Limits {
            buffered_bytes_max: 1500,
            ..Limits::default()
        },
        router,
    )
    .await;
    let (first, second) = (server.client(), server.client());
    let holding = tokio::spawn(async move {
        first
            .post(&url("/hold"), HeaderMap::new(), vec![0; 1000])
            .await
    });
    wait_until("the first request is there", || {
        server.counters.values().requests == 1
    })
    .await;
    let refused = second
        .post(&url("/hold"), HeaderMap::new(), vec![0; 501])
        .await
        .unwrap();
    assert_eq!(refused.status.as_u16(), 503);
    release.notify_one();
    assert_eq!(holding.await.unwrap().unwrap().status.as_u16(), 200);
    // The bytes are given back, and the sum may reach the limit.
    release.notify_one();
    let response = second
        .post(&url("/hold"), HeaderMap::new(), vec![0; 1500])
        .await
        .unwrap();
    assert_eq!(response.status.as_u16(), 200);
    assert_eq!(server.counters.values().overloads, 1);
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_for_each_peer() {
    for limits in [
        Limits {
            connections_max: 2,
            ..Limits::default()
        },
        Limits {
            connections_per_peer_max: 2,
            ..Limits::default()
        },
    ] {
        let server = Running::start(limits, echo()).await;
        let mut first = server.connect().await;
        let mut second = server.connect().await;
        let mut third = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(read_to_close(&mut third).await, "");
        for stream in [&mut first, &mut second] {
            send(stream, GET).await;
            assert!(read_response(stream).await.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(server.counters.values().connections_refused, 1);
        drop(first);
        let config = tls_client(server.root.clone(), rustls::DEFAULT_VERSIONS);
        let begun = Instant::now();
        while connect(server.address, &config).await.is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the place is not given back"
            );
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let idle_timeout = Duration::from_millis(600);
    let limits = Limits {
        idle_timeout,
        ..Limits::default()
    };
    let server = Running::start(limits, echo()).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    read_response(&mut stream).await;
    tokio::time::sleep(idle_timeout / 3).await;
    send(&mut stream, GET).await;
    read_response(&mut stream).await;
    let begun = Instant::now();
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(
        (idle_timeout - Duration::from_millis(20)..Duration::from_secs(8))
            .contains(&begun.elapsed())
    );
    assert_eq!(server.counters.values().connections_idle, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_take_its_answer_is_cut() {
    let router = Router::new().route("/", get(|| async { vec![0_u8; 64 * 1024 * 1024] }));
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Running::start(limits, router).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    wait_until("the connection is cut", || {
        server.counters.values().connections_idle == 1
    })
    .await;

    // One that takes a little now and then is cut at the end of the time for the whole answer.
    let router = Router::new().route("/", get(|| async { vec![0_u8; 64 * 1024 * 1024] }));
    let write_timeout = Duration::from_millis(700);
    let server = Running::start(
        Limits {
            write_timeout,
            ..Limits::default()
        },
        router,
    )
    .await;
    let begun = Instant::now();
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    let mut part = vec![0; 1024];
    while server.counters.values().connections_idle == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        stream.read_exact(&mut part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= write_timeout);
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let router = Router::new().route(
        "/",
        get(move || {
            let held = Arc::clone(&held);
            async move { held.notified().await }
        }),
    );
    let server = Running::start(
        Limits {
            requests_max: 1,
            ..Limits::default()
        },
        router,
    )
    .await;
    let (first, second) = (server.client(), server.client());
    let holding = tokio::spawn(async move { first.get(&url("/"), HeaderMap::new()).await });
    wait_until("the first request is there", || {
        server.counters.values().requests == 1
    })
    .await;
    let refused = second.get(&url("/"), HeaderMap::new()).await.unwrap();
    assert_eq!(
        (
            refused.status.as_u16(),
            refused.headers["retry-after"].as_bytes()
        ),
        (503, &b"1"[..])
    );
    release.notify_one();
    assert_eq!(holding.await.unwrap().unwrap().status.as_u16(), 200);
    release.notify_one();
    let accepted = second.get(&url("/"), HeaderMap::new()).await.unwrap();
    assert_eq!(accepted.status.as_u16(), 200);
    assert_eq!(
        accepted.connection_id, refused.connection_id,
        "a refusal keeps the connection"
    );
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let router = echo()
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("in a handler")
                }
            }),
        )
        .route(
            "/late",
            get(|| async {
                tokio::task::yield_now().await;
                if true {
                    panic!("after a pause")
                }
            }),
        );
    let server = Running::start(Limits::default(), router).await;
    let client = server.client();
    for path in ["/panic", "/late"] {
        assert_eq!(
            client
                .get(&url(path), HeaderMap::new())
                .await
                .unwrap()
                .status
                .as_u16(),
            500
        );
    }
    let response = client.get(&url("/"), HeaderMap::new()).await.unwrap();
    assert_eq!((response.status.as_u16(), response.connection_id), (200, 1));
    assert_eq!(server.counters.values().handler_panics, 2);

    // A plain handler can panic before there is a future.
    let server = Running::start_handler(Limits::default(), |request: Request<Bytes>| {
        assert!(request.uri().path() != "/panic", "at once");
        async { Response::new(Full::new(Bytes::from_static(b"plain"))) }
    })
    .await;
    let client = server.client();
    assert_eq!(
        client
            .get(&url("/panic"), HeaderMap::new())
            .await
            .unwrap()
            .status
            .as_u16(),
        500
    );
    assert_eq!(
        client.get(&url("/"), HeaderMap::new()).await.unwrap().body,
        "plain"
    );
    assert_eq!(server.counters.values().handler_panics, 1);
}

#[tokio::test]
async fn a_slow_handler_is_answered_for() {
    let router = echo().route(
        "/slow",
        get(|| async { std::future::pending::<()>().await }),
    );
    let limits = Limits {
        request_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Running::start(limits, router).await;
    let client = server.client();
    let response = client.get(&url("/slow"), HeaderMap::new()).await.unwrap();
    assert_eq!(response.status.as_u16(), 503);
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .status
            .as_u16(),
        200
    );
    assert_eq!(server.counters.values().handler_timeouts, 1);
}

#[tokio::test]
async fn stopping_lets_requests_end_and_closes_idle_connections() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let router = echo().route(
        "/hold",
        get(move || {
            let held = Arc::clone(&held);
            async move {
                held.notified().await;
                "done"
            }
        }),
    );
    let server = Running::start(Limits::default(), router).await;
    let mut idle = server.connect().await;
    send(&mut idle, GET).await;
    read_response(&mut idle).await;
    let client = server.client();
    let holding = tokio::spawn(async move { client.get(&url("/hold"), HeaderMap::new()).await });
    wait_until("both requests are there", || {
        server.counters.values().requests == 2
    })
    .await;
    let address = server.address;
    let stopped = server.stop();
    assert_eq!(
        read_to_close(&mut idle).await,
        "",
        "idle connections are closed at once"
    );
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody new is let in"
    );
    assert!(!stopped.is_finished());
    release.notify_one();
    let response = holding.await.unwrap().unwrap();
    assert_eq!(
        (response.status.as_u16(), &response.body[..]),
        (200, &b"done"[..])
    );
    assert_eq!(stopped.await.unwrap().cut, 0);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let router = Router::new().route("/", get(|| async { std::future::pending::<()>().await }));
    let limits = Limits {
        drain_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Running::start(limits, router).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    wait_until("the request is there", || {
        server.counters.values().requests == 1
    })
    .await;
    assert_eq!(server.stop().await.unwrap().cut, 1);
    assert_eq!(read_to_close(&mut stream).await, "");
}

#[tokio::test]
async fn http2_has_the_same_limits() {
    let router = echo().route(
        "/panic",
        get(|| async {
            if true {
                panic!("in a stream")
            }
        }),
    );
    let limits = Limits {
        body_bytes_max: 1000,
        idle_timeout: Duration::from_millis(1500),
        ..Limits::default()
    };
    let server = Running::start(limits, router).await;
    let mut config =
        Arc::unwrap_or_clone(tls_client(server.root.clone(), rustls::DEFAULT_VERSIONS));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(server.address, &Arc::new(config)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    for (path, length, status, body) in [
        ("/info", 0, 200, "1 1 V1_3 TLS13_AES_256_GCM_SHA384"),
        ("/length", 1000, 200, "1000"),
        ("/length", 1001, 413, ""),
        ("/panic", 0, 500, ""),
        ("/info", 0, 200, "1 4 V1_3 TLS13_AES_256_GCM_SHA384"),
    ] {
        let method = if path == "/length" { "POST" } else { "GET" };
        let body_sent = Full::new(Bytes::from(vec![b'b'; length]));
        let request = Request::builder()
            .method(method)
            .uri(url(path))
            .body(body_sent)
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            body,
            "{path}"
        );
    }
    let begun = Instant::now();
    drop(
        tokio::time::timeout(Duration::from_secs(20), driver)
            .await
            .expect("the connection is not closed"),
    );
    assert!(begun.elapsed() >= Duration::from_millis(1400));
    assert_eq!(server.counters.values().connections_idle, 1);
}

#[tokio::test]
async fn the_certificate_can_be_exchanged() {
    let server = Running::start(Limits::default(), echo()).await;
    let client = server.client();
    client.get(&url("/"), HeaderMap::new()).await.unwrap();
    let other = Authority::root("Another CI");
    let config = edge::tls::TlsConfig::new(other.issue(&Profile::default()).identity());
    server.tls.replace(config).unwrap();
    // An open connection goes on; a new one meets the new certificate.
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .connection_id,
        1
    );
    let new = tls_client(other.certificate.clone(), rustls::DEFAULT_VERSIONS);
    assert!(connect(server.address, &new).await.is_ok());
    assert!(
        connect(
            server.address,
            &tls_client(server.root.clone(), rustls::DEFAULT_VERSIONS)
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn versions_are_ordered_for_the_minimum() {
    assert!(TlsVersion::V1_2 < TlsVersion::V1_3);
    let authority = Authority::root("Test CI");
    let tls = edge::tls::TlsConfig {
        version_min: TlsVersion::V1_3,
        ..edge::tls::TlsConfig::new(authority.issue(&Profile::default()).identity())
    };
    let server = Running::start_with(Limits::default(), tls, authority.certificate, echo()).await;
    let config = tls_client(server.root.clone(), &[&rustls::version::TLS12]);
    let error = connect(server.address, &config).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}
