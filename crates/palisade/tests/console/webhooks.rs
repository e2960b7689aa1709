//! Other systems are told what happens.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use edge::server::{Limits, Server};
use edge::tls::{Identity, TlsConfig};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::{OWNER, enrol, owner_code};
use crate::program::{Program, json as body};
use crate::site::Site;
use crate::support::{PATIENCE, eid};

/// What came, and what is answered.
#[derive(Default)]
struct Mailbox {
    letters: Mutex<Vec<(HeaderMap, Bytes)>>,
    refuses: Mutex<bool>,
}

impl Mailbox {
    fn letters(&self) -> Vec<(HeaderMap, Bytes)> {
        self.letters.lock().unwrap().clone()
    }

    /// Waits until something of this type came for the device.
    fn await_letter(&self, kind: &str, eid: &str) -> (HeaderMap, Bytes) {
        let begun = Instant::now();
        loop {
            let found = self.letters().into_iter().find(|(_, octets)| {
                let letter: Value = serde_json::from_slice(octets).unwrap();
                letter["type"] == kind && letter["data"]["eid"] == eid
            });
            if let Some(found) = found {
                return found;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no {kind}: {:?}",
                self.letters()
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

async fn take(
    State(mailbox): State<Arc<Mailbox>>,
    headers: HeaderMap,
    octets: Bytes,
) -> StatusCode {
    if *mailbox.refuses.lock().unwrap() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    mailbox.letters.lock().unwrap().push((headers, octets));
    StatusCode::NO_CONTENT
}

/// A receiver under the name localhost, with the certificate of the eIM.
async fn receiver(site: &Site, mailbox: &Arc<Mailbox>) -> SocketAddr {
    let pem = fs::read_to_string(site.folder.path("eim/eim-tls.pem")).unwrap();
    let certificate = pki::Certificate::from_pem(&pem).unwrap();
    let keys = pki::FileKeyStore::open(site.folder.path("eim/keys")).unwrap();
    let key = keys.load(&pki::KeyName::new("eim-tls").unwrap()).unwrap();
    let identity = Identity::from_der(
        vec![certificate.der().to_vec()],
        key.to_pkcs8_der().unwrap().as_bytes().to_vec(),
    )
    .unwrap();
    let server = Server::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        TlsConfig::new(identity),
        Limits::default(),
    )
    .await
    .unwrap();
    let address = server.local_addr();
    let router = Router::new()
        .route("/hook", post(take))
        .with_state(Arc::clone(mailbox));
    tokio::spawn(server.serve(router, std::future::pending()));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_signed_in_order_and_again_until_it_arrived() {
    let mut site = Site::new(&["--insecure-no-approvals"]);
    enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
    let settings = site.folder.path("eim/palisade.toml");
    let told = fs::read_to_string(&settings).unwrap().replace(
        "[console]",
        "[console]\nwebhook_trust = \"../pki/tls-ca.der\"\nwebhook_hosts = [\"localhost\"]",
    );
    fs::write(&settings, told).unwrap();
    site.restart();

    let mailbox = Arc::new(Mailbox::default());
    let address = receiver(&site, &mailbox).await;
    let url = format!("https://localhost:{}/hook", address.port());
    tokio::task::block_in_place(|| tell(&mut site, &mailbox, &url));
}

fn tell(site: &mut Site, mailbox: &Mailbox, url: &str) {
    let program = Program::new(site);
    program.sign_in(site, OWNER);
    let added = program.post("/api/v1/webhooks", &json!({ "url": url }));
    assert_eq!(added.status, 201, "{:?}", added.body);
    let added = body(&added);
    let path = format!("/api/v1/webhooks/{}", added["id"].as_str().unwrap());
    let verifier = standardwebhooks::Webhook::new(added["secret"].as_str().unwrap()).unwrap();
    let shown = body(&program.get(&path));
    assert!(
        shown["secret"].is_null() && shown["state"] == "active",
        "{shown}"
    );

    assert_eq!(
        body(&program.post(&format!("{path}/test"), &json!({})))["status"],
        204
    );
    let (headers, octets) = mailbox.letters().remove(0);
    verifier.verify(&octets, &headers).unwrap();

    let register = |number: u32| {
        let eid = eid(number).to_string();
        site.folder.ok(&[
            "device",
            "register",
            &eid,
            "--data",
            "eim",
            "--passkey",
            OWNER,
        ]);
        eid
    };
    let first = register(1);
    let (headers, octets) = mailbox.await_letter("device.device-registered", &first);
    verifier.verify(&octets, &headers).unwrap();

    // A receiver that fails gets it later; the pause is shown, and can be ended.
    *mailbox.refuses.lock().unwrap() = true;
    let second = register(2);
    let begun = Instant::now();
    while body(&program.get(&path))["last_status"] != 500 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    *mailbox.refuses.lock().unwrap() = false;
    assert_eq!(
        program.post(&format!("{path}/replay"), &json!({})).status,
        200
    );
    mailbox.await_letter("device.device-registered", &second);

    // Everything once more, under the same ids.
    let count = mailbox.letters().len();
    program.post(&format!("{path}/replay"), &json!({ "after": 0 }));
    let begun = Instant::now();
    while mailbox.letters().len() < count + 2 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let id = |octets: &Bytes, headers: &HeaderMap| {
        let letter: Value = serde_json::from_slice(octets).unwrap();
        (
            letter["data"]["cursor"].as_i64(),
            headers["webhook-id"].clone(),
        )
    };
    let letters = mailbox.letters();
    let all: Vec<_> = letters
        .iter()
        .map(|(headers, octets)| id(octets, headers))
        .collect();
    assert!(
        all[count..].iter().all(|one| all[..count].contains(one)),
        "{all:?}"
    );

    // Addresses inside are reached only where the settings say so, and nobody but people may have events sent away.
    let inside = json!({ "url": "https://127.0.0.1/hook" });
    let added = body(&program.post("/api/v1/webhooks", &inside));
    let test = format!("/api/v1/webhooks/{}/test", added["id"].as_str().unwrap());
    let refused = body(&program.post(&test, &json!({})));
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("not a public address"),
        "{refused}"
    );
    let stranger = Program::new(site);
    assert_eq!(stranger.get(&path).status, 401);
    let deleted = program.send(Method::DELETE, &path, &[("origin", &site.origin)], "");
    assert_eq!(deleted.status, 204);
    assert_eq!(program.get(&path).status, 404);
}
