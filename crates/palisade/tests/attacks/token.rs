//! A stolen token for reading.

use intent::Proof;
use intent::http_signature::HttpProof;
use serde_json::json;

use crate::cli::OWNER;
use crate::person::proposal;
use crate::site::{Site, is_refused, operate, set_address};

#[test]
fn a_stolen_token_that_tries_to_change_is_stopped_at_the_front_and_at_the_authority() {
    let site = Site::new();
    let create = ["token", "create", "grafana", "--grant", "viewer"];
    let issued = site.json(&[&create[..], &["--passkey", OWNER]].concat());
    site.approve(&issued["intent"]);
    let token = issued["token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let before = site.standing();

    // As it was stolen.
    let signed = site.settings("stolen.example.com");
    let bare = [("Authorization", bearer.as_str())];
    let (status, problem) = site
        .front()
        .post_with("/v1/intents", &bare, &signed.octets)
        .unwrap();
    assert_eq!(status, 403, "{problem}");
    assert!(
        problem["title"]
            .as_str()
            .unwrap()
            .contains("can read and nothing else"),
        "{problem}"
    );
    // In the place of a key: the authority takes the names of keys for nothing else.
    let (_, intent) = site
        .alice()
        .intent(operate(site.eid, vec![set_address("stolen.example.com")]));
    let forged = |key: &str| {
        let input = signed.proof.signature_input.clone();
        let (head, tail) = input.split_once("keyid=\"").unwrap();
        let (_, tail) = tail.split_once('"').unwrap();
        Proof::HttpSignature(HttpProof {
            signature_input: format!("{head}keyid=\"{key}\"{tail}"),
            content_digest: content_digest(&intent),
            ..signed.proof.clone()
        })
    };
    let id = issued["id"].as_str().unwrap();
    let answer = site.alice().send(&proposal(intent.clone(), forged(id)));
    is_refused(&answer, 401, "proof-invalid");
    // Straight to the authority, without any proof.
    let body = json!({ "intent": intent }).to_string();
    let answer = site
        .authority()
        .post_with("/v1/intents", &bare, &body)
        .unwrap();
    is_refused(&answer, 400, "malformed");
    site.nothing_came_of_it(&before);

    let (status, devices) = reading(&site, &bearer);
    assert_eq!(status, 200, "{devices}");
    site.works("after-token.example.com");
}

/// The control socket's answer to a GET with this field.
fn reading(site: &Site, bearer: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let socket = site.folder.path("eim/control.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let request = format!(
        "GET /v1/devices HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split_whitespace().nth(1).unwrap();
    (status.parse().unwrap(), answer)
}

/// RFC 9530.
fn content_digest(body: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let base64 = String::from_utf8(base64(digest.as_ref())).unwrap();
    format!("sha-256=:{base64}:")
}

/// RFC 4648 section 4.
fn base64(octets: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for chunk in octets.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() { b'=' } else { letter });
        }
    }
    text
}
