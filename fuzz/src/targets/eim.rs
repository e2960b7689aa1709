//! ESipa over HTTP: what whoever reaches the listener can send.

use std::sync::LazyLock;

use bytes::Bytes;
use edge::server::{ConnectionId, ConnectionInfo, Handler};
use edge::tls::TlsVersion;
use eim::http::EsipaHandler;
use http::{HeaderName, HeaderValue, Method, Request};
use intent::command::Command;
use rsp::binding::esipa::Function;
use tokio::runtime::Runtime;

use super::input::{Input, piece};
use super::world::{EID, World};

const ASN1_TYPE: &str = "application/x-gsma-rsp-asn1";
const JSON_TYPE: &str = "application/json;charset=UTF-8";

/// An eIM with a device that has introduced itself and has an operation waiting. It stays over all inputs.
static EIM: LazyLock<(World, Runtime)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = World::new();
    runtime.block_on(async {
        let peer = world.connect();
        let eid = EID.parse().unwrap();
        world.introduced(eid, &peer).await;
        world.propose(eid, vec![Command::ListEims]).await;
    });
    (world, runtime)
});

/// One request: method, path, header fields and body, each of them right or anything. Never answered with 5xx.
pub fn esipa_http(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(request) = request(&mut input) else {
        return;
    };
    let (world, runtime) = &*EIM;
    let handler = EsipaHandler::new(world.eim.clone());
    let response = runtime.block_on(handler.call(request));
    let status = response.status();
    assert!(!status.is_server_error(), "{status}");
    assert!(status.as_u16() >= 200, "{status}");
}

pub fn esipa_http_seeds(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let asn1 = |body: &[u8]| [&[1, 0], body].concat();
    let json = |name: &str, body: &[u8]| {
        let function = Function::ALL.into_iter().position(|it| it.name() == name);
        [&[2 + function.unwrap_or_default() as u8, 0], body].concat()
    };
    let mut seeds = Vec::new();
    for message in messages {
        seeds.push(asn1(message));
        let Ok(request) = rsp::binding::esipa::Request::from_asn1(message) else {
            continue;
        };
        if let Ok((name, body)) = request.to_json() {
            seeds.push(json(name, &body));
        }
    }
    let poll = [&[0xBF, 0x4F, 0x12, 0x5A, 0x10], &hex_eid()[..]].concat();
    seeds.push(asn1(&poll));
    let body = format!("{{\"eidValue\":\"{EID}\"}}");
    seeds.push(json("getEimPackage", body.as_bytes()));
    // Any path; other header fields.
    seeds.push(
        [
            vec![0],
            piece(b"/gsma/rsp2/esipa/../x?y"),
            vec![0],
            poll.clone(),
        ]
        .concat(),
    );
    seeds.push(
        [
            vec![1, 0b101],
            piece(b"text/html"),
            piece(b"gsma-rsp-lpad"),
            poll,
        ]
        .concat(),
    );
    seeds
}

fn hex_eid() -> Vec<u8> {
    let eid: rsp::ids::Eid = EID.parse().unwrap();
    eid.octets().to_vec()
}

/// `None` where the octets make no request that HTTP could carry.
fn request(input: &mut Input<'_>) -> Option<Request<Bytes>> {
    let route = usize::from(input.octet());
    let (path, content_type) = match route % (Function::ALL.len() + 2) {
        0 => {
            let path = std::str::from_utf8(input.piece()).ok()?;
            (path.to_owned(), ASN1_TYPE)
        }
        1 => ("/gsma/rsp2/asn1".to_owned(), ASN1_TYPE),
        function => {
            let function = Function::ALL.into_iter().nth(function - 2)?;
            (format!("/gsma/rsp2/esipa/{}", function.name()), JSON_TYPE)
        }
    };
    let choices = input.octet();
    let mut header = |bit: u8, right: &'static str| {
        if choices & (1 << bit) == 0 {
            Some(HeaderValue::from_static(right))
        } else {
            HeaderValue::from_bytes(input.piece()).ok()
        }
    };
    let fields = [
        ("content-type", header(0, content_type)),
        ("x-admin-protocol", header(1, "gsma/rsp/v2.1.0")),
        ("user-agent", header(2, "gsma-rsp-ipad")),
    ];
    let method = match choices >> 6 {
        1 => Method::GET,
        2 => Method::from_bytes(input.piece()).ok()?,
        _ => Method::POST,
    };
    let body = Bytes::copy_from_slice(input.rest());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .extension(connection())
        .body(body)
        .ok()?;
    for (name, value) in fields {
        if let Some(value) = value {
            let name = HeaderName::from_static(name);
            request.headers_mut().insert(name, value);
        }
    }
    Some(request)
}

/// The connection on which the device introduced itself.
fn connection() -> ConnectionInfo {
    ConnectionInfo {
        id: ConnectionId(1),
        peer: "127.0.0.1:1".parse().unwrap(),
        tls_version: TlsVersion::V1_3,
        cipher_suite: "TLS13_AES_128_GCM_SHA256",
        client_certificate: None,
        request: 1,
    }
}
