//! What is sent on bare connections, and bodies that are no messages.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use edge::client::Client;
use rsp::binding::http::PATH_ASN1;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::servers::SLOW_MAX;

/// Empty, cut, with lengths that lie, with members that are none, and complete but senseless.
pub(super) const MALFORMED_ASN1: [&[u8]; 11] = [
    b"",
    b"\x00",
    &[0xBF],
    &[0xBF, 0x4F, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
    &[0xBF, 0x4F, 0x80, 0x00, 0x00],
    &[0xBF, 0x4F, 0x03, 0x5A, 0x01, 0x00],
    &[0xBF, 0x50, 0x00],
    &[0xBF, 0x3D, 0x02, 0xA0, 0x00],
    &[0xBF, 0x3B, 0x04, 0x80, 0x02, 0x01, 0x02],
    &[0xA2, 0x06, 0xBF, 0x38, 0x03, 0x80, 0x01, 0x01],
    &[0x30; 60_000],
];

pub(super) const MALFORMED_JSON: [&str; 8] = [
    "",
    "[]",
    "{",
    "null",
    "{\"eidValue\":1}",
    "{\"eidValue\":\"89\",\"eidValue\":\"90\"}",
    "{\"transactionId\":\"zz\",\"euiccInfo1\":\"////\"}",
    "{\"euiccChallenge\":\"AA==\",\"smdpAddress\":\"\u{0}\"}",
];

/// Constructed elements in each other, of definite and indefinite length, bare and inside a message.
pub(super) fn nested_asn1() -> Vec<Vec<u8>> {
    let repeated = |head: &[u8], count: usize| {
        head.iter()
            .copied()
            .cycle()
            .take(head.len() * count)
            .collect()
    };
    let definite: Vec<u8> = (0..2_000_u16).rev().fold(Vec::new(), |inner, _| {
        let length = u16::try_from(inner.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[0x30, 0x82][..], &length, &inner].concat()
    });
    let inner = u16::try_from(definite.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let in_a_message = [&[0xBF, 0x50, 0x82][..], &inner, &definite].concat();
    vec![
        definite,
        in_a_message,
        repeated(&[0x30, 0x80], 20_000),
        repeated(&[0xBF, 0x4F, 0x82, 0x10, 0x00], 3_000),
    ]
}

pub(super) fn nested_json() -> Vec<Vec<u8>> {
    let lists = [b'['].repeat(50_000);
    let objects = b"{\"a\":".repeat(10_000);
    let closed = [&[b'['].repeat(20_000)[..], &[b']'].repeat(20_000)].concat();
    let in_a_member = [&b"{\"eidValue\":"[..], &closed, b"}"].concat();
    vec![lists, objects, in_a_member]
}

/// How long a server may take to give up on somebody slow.
const PATIENCE: Duration = Duration::from_secs(4 * SLOW_MAX.as_secs());
/// Between two octets.
const PAUSE: Duration = Duration::from_millis(500);

/// Connects and says nothing.
pub(super) async fn silent(host: String, address: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    trickle(host, stream, b"", b"", "").await
}

/// Sends the head of a request, octet by octet.
pub(super) async fn slow_head(host: String, client: Client) -> Result<(), String> {
    let stream = client
        .open(&format!("https://{host}/"))
        .await
        .map_err(|error| error.to_string())?;
    trickle(host, stream, b"POST ", b"/", "").await
}

/// Sends the body of a request, octet by octet.
pub(super) async fn slow_body(host: String, client: Client) -> Result<(), String> {
    let stream = client
        .open(&format!("https://{host}/"))
        .await
        .map_err(|error| error.to_string())?;
    let head = format!("POST {PATH_ASN1} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n\r\n");
    trickle(host, stream, head.as_bytes(), b"0", "HTTP/1.1 408").await
}

/// Sends `first`, then `again` again and again, until the server closes. Its answer must begin with `expected`.
async fn trickle(
    host: String,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    first: &[u8],
    again: &[u8],
    expected: &str,
) -> Result<(), String> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        let mut open = writer
            .write_all(first)
            .await
            .and(writer.flush().await)
            .is_ok();
        while open {
            tokio::time::sleep(PAUSE).await;
            open = writer
                .write_all(again)
                .await
                .and(writer.flush().await)
                .is_ok();
        }
        // Nothing more can be sent; what the server says is for the reader.
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let read = async {
        // A connection that was reset is over, too.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let both = async {
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    };
    timeout(PATIENCE, both)
        .await
        .map_err(|_| format!("{host} waits for a slow client for ever"))?;
    let text = String::from_utf8_lossy(&answer);
    match text.starts_with(expected) {
        true => Ok(()),
        false => Err(format!("{host} answered a slow client with {text:?}")),
    }
}

/// How a server answers the begin of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HelloAnswer {
    /// It goes on.
    Handshake,
    /// It ends with a fatal alert of this description.
    Alert(u8),
    /// It closes, or says something else.
    Other,
}

/// Opens a handshake of this version, with everything that TLS 1.2 needs.
pub(super) async fn hello(address: SocketAddr, version: [u8; 2]) -> anyhow::Result<HelloAnswer> {
    let [major, minor] = version;
    let body = [&version[..], &[0x5A; 32], &HELLO_REST].concat();
    let length = u8::try_from(body.len())?;
    let hello = [&[0x01, 0x00, 0x00, length][..], &body].concat();
    let record = [
        &[0x16, major, minor, 0x00, u8::try_from(hello.len())?][..],
        &hello,
    ]
    .concat();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&record).await?;
    let mut answer = [0; 7];
    let reading = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    let is_complete = reading.context("the server does not answer")?.is_ok();
    Ok(match answer {
        [0x16, ..] if is_complete => HelloAnswer::Handshake,
        [0x15, 0x03, _, 0x00, 0x02, 0x02, description] if is_complete => {
            HelloAnswer::Alert(description)
        }
        _ => HelloAnswer::Other,
    })
}

/// Behind version and random (RFC 5246 section 7.4.1.2): no session; ECDHE_ECDSA with AES-GCM; no compression; secp256r1,
/// uncompressed points, ecdsa_secp256r1_sha256, extended_master_secret.
const HELLO_REST: [u8; 37] = [
    0x00, 0x00, 0x04, 0xC0, 0x2B, 0xC0, 0x2C, 0x01, 0x00, 0x00, 0x1A, 0x00, 0x0A, 0x00, 0x04, 0x00,
    0x02, 0x00, 0x17, 0x00, 0x0B, 0x00, 0x02, 0x01, 0x00, 0x00, 0x0D, 0x00, 0x04, 0x00, 0x02, 0x04,
    0x03, 0x00, 0x17, 0x00, 0x00,
];
