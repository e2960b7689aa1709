//! What machines send to prove what they want, and the files that clients keep.

use std::sync::LazyLock;

use intent::Intent;
use intent::bearer::BearerToken;
use intent::http_signature::{self, HttpProof, RequestParts, TAG_INTENT, TAG_READ};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;

use super::input::Input;

const NOW_S: u64 = 1_790_000_000;
const MAX_AGE_MS: u64 = 300_000;
const BODY: &[u8] = br#"{"v":1}"#;

static KEY: LazyLock<ClientKey> =
    LazyLock::new(|| ClientKey::from_seed("ci-runner".parse().expect("a name"), &[7; 32]));

static SIGNED: LazyLock<HttpProof> = LazyLock::new(|| {
    let request = RequestParts::from_target("POST", "/v1/intents?a=b");
    let nonce = "0123456789abcdef";
    http_signature::sign(&request, BODY, &KEY, NOW_S, nonce, TAG_INTENT).expect("signs")
});

/// Decodes a proof and judges it, and a good one that somebody on the way has changed. Nothing passes that asks for
/// something else than what was signed.
pub fn http_proof(data: &[u8]) {
    if let Ok(proof) = serde_json::from_slice::<HttpProof>(data) {
        judge(&proof, BODY);
        let text = serde_json::to_vec(&proof).expect("serializes");
        assert_eq!(serde_json::from_slice::<HttpProof>(&text).ok(), Some(proof));
    }
    let mut input = Input::new(data);
    let mut proof = SIGNED.clone();
    let mut query = proof.query.take().unwrap_or_default();
    for member in [
        &mut proof.signature_input,
        &mut proof.signature,
        &mut proof.content_digest,
        &mut proof.path,
        &mut query,
        &mut proof.method,
    ] {
        let mut octets = std::mem::take(member).into_bytes();
        input.edit(&mut octets);
        *member = String::from_utf8_lossy(&octets).into_owned();
    }
    if input.octet() < 0xF0 {
        proof.query = Some(query);
    }
    let mut body = BODY.to_vec();
    input.edit(&mut body);
    judge(&proof, &body);
}

fn judge(proof: &HttpProof, body: &[u8]) {
    let verify =
        |tag| http_signature::verify(proof, body, tag, &KEY.public(), NOW_S * 1000, MAX_AGE_MS);
    assert!(verify(TAG_READ).is_err(), "signed for something else");
    if let Ok(verified) = verify(TAG_INTENT) {
        assert_eq!(proof.request(), SIGNED.request());
        assert_eq!(proof.content_digest, SIGNED.content_digest);
        assert_eq!(body, BODY);
        assert_eq!(verified.created_s, NOW_S);
    }
}

/// Decodes the octets as everything that a client keeps or sends as text; what is understood is written as the same.
pub fn client_texts(data: &[u8]) {
    if let Ok((intent, id)) = Intent::decode(data) {
        let octets = intent.encode().expect("was decoded");
        assert_eq!(octets, data, "there is one encoding");
        assert_eq!(intent::IntentId::of(&octets), id);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = ClientKey::from_json(text) {
        let again = ClientKey::from_json(&key.to_json()).expect("reads back");
        assert_eq!(again.id(), key.id());
    }
    // Without a passphrase: the work that one costs belongs to no fuzzer.
    if let Ok(passkey) = SoftwarePasskey::from_json(text, None) {
        let again = SoftwarePasskey::from_json(&passkey.to_json(), None).expect("reads back");
        assert_eq!(again.counter(), passkey.counter());
    }
    if let Ok(token) = text.parse::<BearerToken>() {
        assert_eq!(token.expose(), text);
        assert!(token.record().matches(&token));
    }
}

pub fn http_proof_seeds() -> Vec<Vec<u8>> {
    vec![
        serde_json::to_vec(&*SIGNED).expect("serializes"),
        vec![1, 3, 0, 200, 5, 1, 4, 0, 9, 1, 0, 0, 0, 0, 0],
        vec![0; 16],
    ]
}

pub fn client_texts_seeds() -> Vec<Vec<u8>> {
    let intent = concat!(
        r#"{"action":{"commands":[{"command":"enable","iccid":"89000123456789012341","rollback":true}],"#,
        r#""devices":{"eids":["89049032123451234512345678901235"]},"type":"operate"},"#,
        r#""created_at":1790000000000,"expires_at":1790000600000,"installation":"eim.example.com/ledger","#,
        r#""nonce":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","v":1}"#
    );
    let passkey = concat!(
        r#"{"type":"palisade-software-passkey-1","rp_id":"a.example","name":"alice","counter":1,"#,
        r#""credential_id":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","#,
        r#""public_key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w","#,
        r#""seed":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}"#
    );
    vec![
        intent.as_bytes().to_vec(),
        KEY.to_json().as_bytes().to_vec(),
        passkey.as_bytes().to_vec(),
        b"plsd_r_0123456789abcdef_0000000000000000000000000000000000000000000000000000000000000000_6f2c0a11".to_vec(),
    ]
}
