//! The HTTP binding: what is refused before a message is even looked at, and that nothing a peer
//! sends becomes a server error.

use bytes::Bytes;
use edge::server::Handler;
use eim::http::EsipaHandler;
use http::{Request, StatusCode};

use crate::world::World;

fn request(path: &str, content_type: Option<&str>, body: &[u8]) -> Request<Bytes> {
    let mut request = Request::post(path)
        .header("x-admin-protocol", "gsma/rsp/v2.1.0")
        .header("user-agent", "gsma-rsp-ipad")
        .extension(info())
        .body(Bytes::copy_from_slice(body))
        .unwrap();
    if let Some(value) = content_type {
        request
            .headers_mut()
            .insert("content-type", value.parse().unwrap());
    }
    request
}

fn info() -> edge::server::ConnectionInfo {
    edge::server::ConnectionInfo {
        id: edge::server::ConnectionId(1),
        peer: "127.0.0.1:1".parse().unwrap(),
        tls_version: edge::tls::TlsVersion::V1_3,
        cipher_suite: "TLS13_AES_128_GCM_SHA256",
        client_certificate: None,
        request: 1,
    }
}

const ASN1: &str = "/gsma/rsp2/asn1";
const ASN1_TYPE: &str = "application/x-gsma-rsp-asn1";

async fn status(world: &World, request: Request<Bytes>) -> StatusCode {
    EsipaHandler::new(world.eim.clone())
        .call(request)
        .await
        .status()
}

#[tokio::test]
async fn wrong_envelopes_are_refused() {
    let world = World::new();
    assert_eq!(
        status(&world, request("/", Some(ASN1_TYPE), b"")).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        status(
            &world,
            request(
                "/gsma/rsp2/es9plus/getEimPackage",
                Some("application/json"),
                b"{}"
            )
        )
        .await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        status(&world, request(ASN1, Some("text/html"), b"")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        status(&world, request(ASN1, Some("application/json"), b"{}")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        status(&world, request(ASN1, None, b"")).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let mut get = request(ASN1, Some(ASN1_TYPE), b"");
    *get.method_mut() = http::Method::GET;
    assert_eq!(status(&world, get).await, StatusCode::METHOD_NOT_ALLOWED);
    for header in ["x-admin-protocol", "user-agent"] {
        let mut bare = request(ASN1, Some(ASN1_TYPE), b"");
        bare.headers_mut().remove(header);
        assert_eq!(
            status(&world, bare).await,
            StatusCode::BAD_REQUEST,
            "{header}"
        );
    }
}

#[tokio::test]
async fn malformed_bodies_never_become_server_errors() {
    let world = World::new();
    let deep: Vec<u8> = std::iter::repeat_n([0xBF, 0x4F, 0x82, 0x10, 0x00], 3000)
        .flatten()
        .collect();
    let bodies: [&[u8]; 8] = [
        b"",
        b"\x00",
        &[0xBF, 0x4F, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0xBF, 0x4F, 0x03, 0x5A, 0x01, 0x00],
        &[0xBF, 0x50, 0x00],
        &[0xBF, 0x3D, 0x02, 0xA0, 0x00],
        &deep,
        &[0x30; 60_000],
    ];
    for body in bodies {
        let status = status(&world, request(ASN1, Some(ASN1_TYPE), body)).await;
        assert!(
            !status.is_server_error(),
            "{status} for {:02X?}",
            &body[..body.len().min(8)]
        );
    }
    for body in [
        &b""[..],
        b"[]",
        b"{",
        b"{\"eidValue\":1}",
        b"{\"eidValue\":\"89\"}",
        &[b'['; 50_000],
    ] {
        let json = request(
            "/gsma/rsp2/esipa/getEimPackage",
            Some("application/json;charset=UTF-8"),
            body,
        );
        let status = status(&world, json).await;
        assert!(!status.is_server_error(), "{status}");
    }
}

#[tokio::test]
async fn an_empty_poll_is_answered_in_the_binding_it_came_in() {
    let world = World::new();
    let poll = hex::decode(format!("BF4F125A10{}", crate::world::EID)).unwrap();
    let answer = EsipaHandler::new(world.eim.clone())
        .call(request(ASN1, Some(ASN1_TYPE), &poll))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], ASN1_TYPE);
    assert_eq!(answer.headers()["x-admin-protocol"], "gsma/rsp/v2.1.0");
    let body = axum::body::to_bytes(answer.into_body(), 1000)
        .await
        .unwrap();
    assert_eq!(
        body[..],
        [0xBF, 0x4F, 0x03, 0x02, 0x01, 0x02],
        "eidNotFound"
    );

    let json = format!("{{\"eidValue\":\"{}\"}}", crate::world::EID);
    let answer = EsipaHandler::new(world.eim.clone())
        .call(request(
            "/gsma/rsp2/esipa/getEimPackage",
            Some("application/json"),
            json.as_bytes(),
        ))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(answer.into_body(), 4000)
        .await
        .unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(
        text.contains("\"8.1.1\"") && text.contains("\"3.9\""),
        "{text}"
    );
}
