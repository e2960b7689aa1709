//! ES9+ over HTTP: what whoever reaches the listener can send.

use std::sync::LazyLock;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request};
use rsp::binding::es9plus::Function;
use tokio::runtime::Runtime;

use super::input::{Input, piece};
use super::support::{Lab, send};

const ASN1_TYPE: &str = "application/x-gsma-rsp-asn1";
const JSON_TYPE: &str = "application/json";

/// An SM-DP+ with one profile released. It stays over all inputs.
static SMDP: LazyLock<(Lab, Runtime)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lab = Lab::new();
    lab.release(None, Some("MATCHING-ID"), None);
    (lab, runtime)
});

/// One request: method, path, header fields and body, each of them right or anything. Never answered with 5xx.
pub fn es9plus_http(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(request) = request(&mut input) else {
        return;
    };
    let (lab, runtime) = &*SMDP;
    let answer = runtime.block_on(send(lab.smdp.router(), request));
    assert!(!answer.status.is_server_error(), "{}", answer.status);
}

pub fn es9plus_http_seeds(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let json = |function: Function, body: &[u8]| {
        let number = Function::ALL.into_iter().position(|it| it == function);
        [&[2 + number.unwrap_or_default() as u8, 0], body].concat()
    };
    let hex = |octets: &[u8]| -> String { octets.iter().map(|it| format!("{it:02X}")).collect() };
    for message in messages {
        for content in [message.clone(), tlv(0xA2, message)] {
            seeds.push([&[1, 0], &content[..]].concat());
            if let Ok(request) = rsp::binding::es9plus::Request::from_asn1(&content) {
                seeds.push(json(request.function(), &request.to_json().1));
            }
        }
        // The objects of a session, as members.
        if message.len() < 5000 {
            let body = format!(
                r#"{{"transactionId":"{}","prepareDownloadResponse":"{}"}}"#,
                hex(&[7; 16]),
                hex(message)
            );
            seeds.push(json(Function::GetBoundProfilePackage, body.as_bytes()));
        }
    }
    seeds.push([vec![0], piece(b"/gsma/rsp2/es9plus/%00"), vec![0]].concat());
    seeds.push([vec![1, 1], piece(b"text/html"), vec![0xA2, 0x00]].concat());
    seeds
}

fn tlv(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut writer = rsp::der::Writer::new();
    writer.tlv(rsp::der::Tag::new(tag), |writer| writer.raw(content));
    writer.into_bytes()
}

/// `None` where the octets make no request that HTTP could carry.
fn request(input: &mut Input<'_>) -> Option<Request<Body>> {
    let route = usize::from(input.octet());
    let (path, content_type) = match route % (Function::ALL.len() + 2) {
        0 => {
            let path = std::str::from_utf8(input.piece()).ok()?;
            (path.to_owned(), ASN1_TYPE)
        }
        1 => ("/gsma/rsp2/asn1".to_owned(), ASN1_TYPE),
        function => {
            let function = Function::ALL.into_iter().nth(function - 2)?;
            (format!("/gsma/rsp2/es9plus/{}", function.name()), JSON_TYPE)
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
        ("user-agent", header(2, "gsma-rsp-lpad")),
    ];
    let method = match choices >> 6 {
        1 => Method::GET,
        2 => Method::from_bytes(input.piece()).ok()?,
        _ => Method::POST,
    };
    let body = Body::from(input.rest().to_vec());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
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
