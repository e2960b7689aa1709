//! Witnesses over HTTPS: `palisade ledger witness run`, and one that lies.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use edge::server::{Limits, Server as EdgeServer};
use edge::tls::{Identity, TlsConfig};
use ledger::{CosigningKey, PublicKey, Witness};
use serde_json::Value;

use crate::authority::{append, copy};
use crate::support::{Folder, Ran, Random, Server, prepared, start_eim, tls_identity};

const PATIENCE: Duration = Duration::from_secs(60);

/// Devices that are registered so that there is something to cosign.
fn eid(number: u32) -> String {
    let digits = format!("8904903200000000000000{number:08}");
    rsp::ids::Eid::with_check_digits(&digits)
        .unwrap()
        .to_string()
}

fn register(folder: &Folder, number: u32) {
    folder.ok(&["device", "register", &eid(number), "--data", "eim"]);
}

/// Makes the key of a witness in the folder `witness`.
fn new_witness(folder: &Folder) -> String {
    let new = ["ledger", "witness", "new", "--folder", "witness"];
    let key = folder.ok(&[&new[..], &["--name", "witness.example.com"]].concat());
    key.trim().to_owned()
}

/// Runs it, on this address.
fn run_witness(folder: &Folder, address: &str) -> (Server, SocketAddr) {
    let run = ["ledger", "witness", "run", "--folder", "witness"];
    let knows = ["--know", "eim/authority/ledger.pub", "--listen", address];
    let tls = [
        "--certificate",
        "witness-tls.pem",
        "--tls-key",
        "witness-tls.key",
    ];
    let server = folder.spawn(&[&run[..], &knows, &tls].concat());
    server.await_log("the witness is ready");
    let log = server.log();
    let (_, rest) = log.split_once("listen=").unwrap();
    let address = rest.split_whitespace().next().unwrap().parse().unwrap();
    (server, address)
}

/// Tells the authority of a witness.
fn employ(folder: &Folder, witnesses: &[(&str, SocketAddr)]) {
    let listed: Vec<String> = witnesses
        .iter()
        .map(|(key, address)| {
            let port = address.port();
            format!(
                "{{ key = \"{key}\", url = \"https://localhost:{port}\", ca = \"../../pki/tls-ca.der\" }}"
            )
        })
        .collect();
    append(
        &folder.path("eim/authority/palisade.toml"),
        &format!("witnesses = [{}]\n", listed.join(", ")),
    );
}

fn verify(folder: &Folder, more: &[&str]) -> Ran {
    folder.run(&[&["ledger", "verify", "--data", "eim"][..], more].concat())
}

/// Waits until the record verifies with so many cosignatures.
#[track_caller]
fn await_cosignatures(folder: &Folder, server: &Server, count: &str) -> String {
    let begun = Instant::now();
    loop {
        let ran = verify(folder, &["--cosignatures", count]);
        if ran.status == 0 {
            return ran.out;
        }
        assert!(begun.elapsed() < PATIENCE, "{}\n{}", ran.out, server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What the authority says of its only witness.
fn standing(folder: &Folder) -> Value {
    let status = folder.json(&["eim", "status", "--data", "eim"]);
    let witnesses = status["authority"]["witnesses"].as_object().unwrap();
    assert_eq!(witnesses.len(), 1, "{status}");
    witnesses.values().next().unwrap().clone()
}

#[test]
fn a_witness_cosigns_over_https_and_names_a_record_that_was_rolled_back_or_forked() {
    let (folder, _) = prepared();
    tls_identity(&folder, "witness-tls");
    let key = new_witness(&folder);
    let (witness, address) = run_witness(&folder, "127.0.0.1:0");
    employ(&folder, &[(&key, address)]);
    let eim = start_eim(&folder);
    register(&folder, 1);
    let said = await_cosignatures(&folder, &eim, "1");
    assert!(
        said.contains("cosigned by witness.example.com at "),
        "{said}"
    );
    // Whoever verifies says whose cosignature counts.
    let stranger = CosigningKey::generate("stranger.example.com", &mut Random).unwrap();
    let stranger = stranger.public().to_string();
    let ran = verify(&folder, &["--witness", &stranger, "--cosignatures", "1"]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("NOT COSIGNED"), "{}", ran.out);
    verify(&folder, &["--cosignatures", "2"]).refused(2, &["--witness KEY"]);
    let proof = [
        "ledger",
        "prove",
        "0",
        "--data",
        "eim",
        "--out",
        "entry.json",
    ];

    // The last checkpoint is a cosigned one, too.
    register(&folder, 2);
    assert_eq!(eim.terminate().0, Some(0));
    let ran = verify(&folder, &["--cosignatures", "1"]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    folder.ok(&proof);
    let check = [
        "ledger",
        "check-bundle",
        "entry.json",
        "--key",
        "eim/authority/ledger.pub",
    ];
    let by = |key: &str| {
        let wanted = ["--witness", key, "--cosignatures", "1"];
        folder.run(&[&check[..], &wanted].concat())
    };
    let proven = by(&key);
    assert!(
        proven.status == 0 && proven.out.contains("cosigned by witness.example.com"),
        "{}{}",
        proven.out,
        proven.err
    );
    assert_eq!(by(&stranger).status, 1);
    // A cosignature that was altered is no absent one.
    let checkpoint = folder.path("eim/authority/ledger/checkpoint");
    let good = fs::read_to_string(&checkpoint).unwrap();
    let (rest, line) = good.trim_end().rsplit_once(' ').unwrap();
    assert!(rest.ends_with("witness.example.com"), "{good}");
    let flipped = match line.as_bytes()[30] {
        b'A' => "B",
        _ => "A",
    };
    let altered = format!("{rest} {}{flipped}{}\n", &line[..30], &line[31..]);
    fs::write(&checkpoint, altered).unwrap();
    let ran = verify(&folder, &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.out.contains("WRONG"), "{}", ran.out);
    fs::write(&checkpoint, good).unwrap();
    copy(&folder.path("eim/authority"), &folder.path("backup"));

    // Without the witness the authority goes on, and says so.
    assert_eq!(witness.terminate().0, Some(0));
    let eim = start_eim(&folder);
    register(&folder, 3);
    eim.await_log("no cosignature");
    assert!(!standing(&folder)["trouble"].is_null());
    let shown = folder.ok(&["eim", "status", "--data", "eim"]);
    assert!(
        shown.contains("witness witness.example.com") && shown.contains("entries; "),
        "{shown}"
    );
    register(&folder, 4);
    // When it is back, it cosigns what there is.
    let (witness, _) = run_witness(&folder, &address.to_string());
    await_cosignatures(&folder, &eim, "1");
    eim.await_log("it cosigns again");
    assert_eq!(eim.terminate().0, Some(0));

    // The whole disk is put back to an older state, and the eIM's memory is wiped. The witness knows more.
    fs::remove_dir_all(folder.path("eim/authority")).unwrap();
    copy(&folder.path("backup"), &folder.path("eim/authority"));
    fs::remove_file(folder.path("eim/authority-checkpoint")).unwrap();
    let eim = start_eim(&folder);
    // The eIM's database says so, too, so it does not follow; what is asked for is on record nevertheless.
    let record = |number: u32| {
        let eid = eid(number);
        folder.run(&["device", "register", &eid, "--data", "eim"])
    };
    record(5).refused(1, &["the eIM has not heard of it"]);
    eim.await_log("the ledger was rolled back");
    let trouble = standing(&folder)["trouble"].to_string();
    assert!(trouble.contains("it has cosigned"), "{trouble}");
    // Longer than before, it is another history.
    for number in 6..16 {
        record(number);
    }
    eim.await_log("the ledger was forked");
    let ran = verify(&folder, &["--cosignatures", "1"]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(
        ran.out.contains("not cosigned by witness.example.com"),
        "{}",
        ran.out
    );
    assert!(
        witness.log().contains("does not continue"),
        "{}",
        witness.log()
    );
}

/// What bad witnesses answer, and what is said of it.
const BAD: &[(&str, &str)] = &[
    ("another-signature", "is wrong"),
    ("another-key", "holds no cosignature of"),
    ("a-larger-size", "it has cosigned 1000000 entries"),
    ("always-another-size", "does not say which checkpoint"),
    ("an-error", "refused with status 500: no"),
    ("nonsense", "not of the protocol"),
    ("too-much", "larger than"),
    ("no-answer", ""),
];

#[test]
fn what_bad_witnesses_answer_is_named_and_holds_up_nobody() {
    let (folder, _) = prepared();
    tls_identity(&folder, "witness-tls");
    let log = fs::read_to_string(folder.path("eim/authority/ledger.pub")).unwrap();
    let log: PublicKey = log.trim().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let keys: Vec<String> = BAD
        .iter()
        .map(|(kind, _)| {
            let key = CosigningKey::generate(&format!("{kind}.example.com"), &mut Random).unwrap();
            key.to_text().to_string()
        })
        .collect();
    let addresses = keys.iter().zip(BAD).map(|(key, (kind, _))| {
        let bad = Bad {
            kind,
            key: key.clone(),
            log: log.clone(),
        };
        runtime.block_on(bad.serve(&folder))
    });
    let addresses: Vec<SocketAddr> = addresses.collect();
    let public = |key: &String| CosigningKey::from_text(key).unwrap().public().to_string();
    let public: Vec<String> = keys.iter().map(public).collect();
    // Beside them a good one.
    let good = new_witness(&folder);
    let (_witness, address) = run_witness(&folder, "127.0.0.1:0");
    let all = public.iter().map(String::as_str).zip(addresses);
    let all: Vec<(&str, SocketAddr)> = all.chain([(good.as_str(), address)]).collect();
    employ(&folder, &all);
    let eim = start_eim(&folder);
    register(&folder, 1);
    await_cosignatures(&folder, &eim, "1");
    let begun = Instant::now();
    for ((kind, words), key) in BAD.iter().zip(&public) {
        if words.is_empty() {
            continue;
        }
        loop {
            let status = folder.json(&["eim", "status", "--data", "eim"]);
            let trouble = status["authority"]["witnesses"][key]["trouble"].to_string();
            let log = eim.log();
            let is_named = log
                .lines()
                .any(|line| line.contains(words) && line.contains(key));
            if is_named && trouble.contains(words) {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{kind}: {words:?}: {trouble}\n{log}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(eim.terminate().0, Some(0));
    let ran = verify(&folder, &["--cosignatures", "1"]);
    assert_eq!(ran.status, 0, "{}", ran.out);
    for (kind, _) in BAD {
        let absent = format!("not cosigned by {kind}.example.com");
        assert!(ran.out.contains(&absent), "{}", ran.out);
    }
}

/// A witness that answers as it should not.
struct Bad {
    kind: &'static str,
    key: String,
    log: PublicKey,
}

impl Bad {
    async fn serve(self, folder: &Folder) -> SocketAddr {
        let read = |name: &str| fs::read(folder.path(name)).unwrap();
        let identity =
            Identity::from_pem(&read("witness-tls.pem"), &read("witness-tls.key")).unwrap();
        let server = EdgeServer::bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            TlsConfig::new(identity),
            Limits::default(),
        )
        .await
        .unwrap();
        let address = server.local_addr();
        let bad = Arc::new(self);
        let answer = move |body: Bytes| {
            let bad = Arc::clone(&bad);
            async move { bad.answer(&body).await }
        };
        let router = Router::new().route("/add-checkpoint", post(answer));
        tokio::spawn(server.serve(router, std::future::pending()));
        address
    }

    /// What a good witness with this key, which has seen nothing, would answer.
    fn cosigned(&self, key: &str, request: &[u8]) -> String {
        let mut witness = Witness::new(CosigningKey::from_text(key).unwrap());
        witness.know(self.log.clone(), None);
        witness
            .add_checkpoint(request, 1_700_000_000, &mut |_| Ok(()))
            .unwrap()
    }

    async fn answer(&self, request: &[u8]) -> Response {
        let conflict = |size: u64| (StatusCode::CONFLICT, format!("{size}\n")).into_response();
        match self.kind {
            "another-signature" => {
                let mut line = self.cosigned(&self.key, request).into_bytes();
                let place = line.len() - 10;
                line[place] = if line[place] == b'A' { b'B' } else { b'A' };
                line.into_response()
            }
            "another-key" => {
                let name = format!("{}.example.com", self.kind);
                let other = CosigningKey::generate(&name, &mut Random).unwrap();
                self.cosigned(&other.to_text(), request).into_response()
            }
            "a-larger-size" => conflict(1_000_000),
            "always-another-size" => conflict(1),
            "an-error" => (StatusCode::INTERNAL_SERVER_ERROR, "no\n").into_response(),
            "nonsense" => "nonsense\n".into_response(),
            "too-much" => vec![b'x'; 1 << 20].into_response(),
            _ => std::future::pending().await,
        }
    }
}
