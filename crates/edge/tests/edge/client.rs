//! The client's limits, its connections and its errors.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use edge::client::{BlockingClient, Client, ClientError, ClientLimits, ClientOptions};
use edge::server::Limits;
use edge::tls::Trust;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Authority, HOST, Running, options, url};

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route(
            "/echo",
            post(|headers: HeaderMap, body: Bytes| async move {
                let kind = headers
                    .get("content-type")
                    .cloned()
                    .unwrap_or(HeaderValue::from_static("none"));
                (
                    [("content-type", kind), ("x-host", headers["host"].clone())],
                    body,
                )
            }),
        )
        .route("/bytes", get(|| async { vec![7_u8; 1000] }))
        .route(
            "/moved",
            get(|| async { (StatusCode::FOUND, [("location", "/")]) }),
        )
        .route(
            "/never",
            get(|| async { std::future::pending::<()>().await }),
        )
}

#[tokio::test]
async fn posts_and_keeps_the_connection() {
    let server = Running::start(Limits::default(), routes()).await;
    let client = server.client();
    let mut headers = HeaderMap::new();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/x-gsma-rsp-asn1"),
    );
    for _ in 0..3 {
        let response = client
            .post(&url("/echo?a=b"), headers.clone(), &b"\xBF\x4F\x00"[..])
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(
            response.headers["content-type"],
            "application/x-gsma-rsp-asn1"
        );
        assert_eq!(response.headers["x-host"], HOST);
        assert_eq!(response.body, &b"\xBF\x4F\x00"[..]);
        assert_eq!(response.connection_id, 1);
    }
    client.close_idle();
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .connection_id,
        2
    );
    assert_eq!(server.counters.values().accepted, 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Running::start(limits, routes()).await;
    let client = server.client();
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .connection_id,
        1
    );
    let begun = Instant::now();
    while server.counters.values().connections_idle == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let response = client
        .post(&url("/echo"), HeaderMap::new(), "again")
        .await
        .unwrap();
    assert_eq!(
        (response.connection_id, &response.body[..]),
        (2, &b"again"[..])
    );
}

#[tokio::test]
async fn requests_take_turns_on_one_connection_or_use_several() {
    let server = Running::start(Limits::default(), routes()).await;
    for (connections_max, expected) in [(1, 1), (3, 3)] {
        let limits = ClientLimits {
            connections_max,
            ..ClientLimits::default()
        };
        let client = Client::with_options(ClientOptions {
            limits,
            ..server.options()
        })
        .unwrap();
        let before = server.counters.values().accepted;
        let requests: Vec<_> = (0..12)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    client
                        .get(&url("/bytes"), HeaderMap::new())
                        .await
                        .unwrap()
                        .body
                        .len()
                })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), 1000);
        }
        assert_eq!(server.counters.values().accepted - before, expected);
    }
}

#[tokio::test]
async fn a_response_at_the_limit_passes_and_a_larger_one_does_not() {
    let server = Running::start(Limits::default(), routes()).await;
    for (body_bytes_max, passes) in [(1000, true), (999, false)] {
        let limits = ClientLimits {
            body_bytes_max,
            ..ClientLimits::default()
        };
        let client = Client::with_options(ClientOptions {
            limits,
            ..server.options()
        })
        .unwrap();
        match client.get(&url("/bytes"), HeaderMap::new()).await {
            Ok(response) => assert!(passes && response.body.len() == 1000),
            Err(ClientError::TooLarge { max }) => assert!(!passes && max == 999),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_response_without_announced_length_is_bounded_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(stream.read(&mut [0; 1024]).await);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream
            .write_all(b"10\r\n0123456789abcdef\r\n")
            .await
            .is_ok()
        {}
    });
    let limits = ClientLimits {
        body_bytes_max: 10_000,
        ..ClientLimits::default()
    };
    let root = Authority::root("any").certificate;
    let options = ClientOptions {
        limits,
        insecure_http: true,
        ..options(address, Trust::CaCertificate(root))
    };
    let client = Client::with_options(options).unwrap();
    let error = client
        .get(&format!("http://{HOST}/"), HeaderMap::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::TooLarge { max: 10_000 }),
        "{error:?}"
    );
}

#[tokio::test]
async fn redirects_are_not_followed_and_statuses_can_be_errors() {
    let server = Running::start(Limits::default(), routes()).await;
    let client = server.client();
    let response = client.get(&url("/moved"), HeaderMap::new()).await.unwrap();
    assert_eq!(response.status, StatusCode::FOUND);
    assert!(matches!(
        response.require_success(),
        Err(ClientError::Status(StatusCode::FOUND))
    ));
    let response = client.get(&url("/"), HeaderMap::new()).await.unwrap();
    assert!(response.require_success().is_ok());
    assert_eq!(server.counters.values().requests, 2);
}

#[tokio::test]
async fn time_is_bounded() {
    let server = Running::start(Limits::default(), routes()).await;
    let limits = ClientLimits {
        total_timeout: Duration::from_millis(200),
        ..ClientLimits::default()
    };
    let client = Client::with_options(ClientOptions {
        limits,
        ..server.options()
    })
    .unwrap();
    let error = client
        .get(&url("/never"), HeaderMap::new())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout), "{error:?}");
    // The connection whose answer is still due is not used again.
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .unwrap()
            .connection_id,
        2
    );

    // A server that accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = ClientLimits {
        connect_timeout: Duration::from_millis(200),
        ..ClientLimits::default()
    };
    let trust = Trust::CaCertificate(server.root.clone());
    let options = ClientOptions {
        limits,
        ..options(listener.local_addr().unwrap(), trust)
    };
    let begun = Instant::now();
    let error = Client::with_options(options)
        .unwrap()
        .get(&url("/"), HeaderMap::new())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn unreachable_servers_are_told_apart() {
    let root = Authority::root("any").certificate;
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::with_options(options(free, Trust::CaCertificate(root))).unwrap();
    let error = async |url: &str| client.get(url, HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error(&url("/")).await, ClientError::Connect(_)));
    assert!(matches!(
        error("https://no-such-host.invalid/").await,
        ClientError::Dns { .. }
    ));
    for bad in [
        "http://smdp.example.com/",
        "/path",
        "ftp://smdp.example.com/",
        "https://user@smdp.example.com/",
        "",
    ] {
        assert!(matches!(error(bad).await, ClientError::Url), "{bad}");
    }
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut count = 0;
        // Takes the request and goes away without an answer; a second connection would be counted.
        while let Ok(Ok((mut stream, _))) =
            tokio::time::timeout(Duration::from_millis(300), listener.accept()).await
        {
            count += 1;
            drop(stream.read(&mut [0; 1024]).await);
        }
        count
    });
    let root = Authority::root("any").certificate;
    let options = ClientOptions {
        insecure_http: true,
        ..options(address, Trust::CaCertificate(root))
    };
    let client = Client::with_options(options).unwrap();
    let error = client
        .post(&format!("http://{HOST}/"), HeaderMap::new(), "once")
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Http(_)), "{error:?}");
    assert_eq!(served.await.unwrap(), 1);
}

#[test]
fn the_blocking_client_needs_no_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Running::start(Limits::default(), routes()));
    let client = BlockingClient::with_options(server.options()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let response = client
                        .post(&url("/echo"), HeaderMap::new(), "from a thread")
                        .unwrap();
                    assert_eq!(response.body, "from a thread");
                }
            });
        }
    });
    assert_eq!(server.counters.values().accepted, 1);
    client.close_idle();
    assert_eq!(
        client
            .get(&url("/"), HeaderMap::new())
            .unwrap()
            .connection_id,
        2
    );
    // Dropping it inside a runtime is harmless.
    runtime.block_on(async move { drop(client) });
}

#[tokio::test]
async fn a_bare_connection_is_secured_and_judged_like_any_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Running::start(Limits::default(), routes()).await;
    let client = Client::with_options(server.options()).unwrap();
    let mut stream = client.open(&url("/")).await.unwrap();
    stream
        .write_all(b"nonsense, and no request\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");

    let stranger = Authority::root("any").certificate;
    let options = options(server.address, Trust::CaCertificate(stranger));
    let refused = Client::with_options(options).unwrap();
    assert!(matches!(
        refused.open(&url("/")).await.map(|_| ()),
        Err(ClientError::Tls(_))
    ));
}

/// Between two requests of a plain thread nothing runs that could notice the end of a connection.
#[test]
fn the_blocking_client_notices_that_the_server_closed_its_connection() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let limits = Limits {
        idle_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = runtime.block_on(Running::start(limits, routes()));
    let client = BlockingClient::with_options(server.options()).unwrap();
    for connection_id in 1..=3 {
        let response = client
            .post(&url("/echo"), HeaderMap::new(), "again")
            .unwrap();
        assert_eq!(response.connection_id, connection_id);
        while server.counters.values().connections_idle < connection_id {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The counter rises before the socket is closed.
        std::thread::sleep(Duration::from_millis(50));
    }
}
