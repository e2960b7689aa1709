use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pki::issue::{CrlTemplate, TestPki};
use serde_json::Value;

use crate::support::{Folder, Ran, Server, data, prepared, start_eim_with};

const FIRST: &str = "89000123456789012341";
const SECOND: &str = "89000123456789012358";

/// eIM, SM-DP+ and one device, all of them started from the command line.
struct Lab {
    folder: Folder,
    eid: String,
    esipa: String,
    es9plus: String,
    eim: Option<Server>,
    _smdp: Server,
}

impl Lab {
    fn new() -> Self {
        let (folder, eid) = prepared();
        let smdp = folder.serve(
            &[
                "smdp",
                "serve",
                "--data",
                "smdp",
                "--pki",
                "pki",
                "--listen",
                "127.0.0.1:0",
            ],
            // Only a server that runs has an address.
            &["smdp", "status", "--data", "smdp"],
        );
        let status = folder.json(&["smdp", "status", "--data", "smdp"]);
        let es9plus = format!("smdp.example.com={}", status["es9plus"].as_str().unwrap());
        folder.ok(&["euicc", "new", "-d", "card", "--pki", "pki"]);
        let mut lab = Self {
            folder,
            eid,
            esipa: String::new(),
            es9plus,
            eim: None,
            _smdp: smdp,
        };
        lab.start_eim();
        lab
    }

    fn start_eim(&mut self) {
        let server = start_eim_with(&self.folder, &["--resolve", &self.es9plus]);
        let status = self.folder.json(&["eim", "status", "--data", "eim"]);
        self.esipa = format!("localhost={}", status["listen"].as_str().unwrap());
        self.eim = Some(server);
    }

    fn associate(&self) {
        self.folder
            .ok(&["eim", "association-data", "--data", "eim", "--out", "a.der"]);
        let added = self.folder.json(&[
            "ipa",
            "add-initial-eim",
            "--euicc",
            "card",
            "--association-data",
            "a.der",
        ]);
        assert_eq!(added["eims"][0]["eim_id"], "eim.example.com");
        assert!(added["eims"][0]["association_token"].is_number(), "{added}");
    }

    fn poll_with(&self, more: &[&str]) -> Ran {
        let poll = [
            "ipa",
            "run",
            "--once",
            "--euicc",
            "card",
            "--trust",
            "pki/tls-ca.der",
            "--resolve",
            &self.esipa,
            "--resolve",
            &self.es9plus,
        ];
        self.folder.run(&[&poll, more].concat())
    }

    fn poll(&self) -> String {
        let ran = self.poll_with(&[]);
        assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
        ran.out
    }

    fn eim(&self, arguments: &[&str]) -> Value {
        self.folder.json(&[arguments, &["--data", "eim"]].concat())
    }

    /// Proposes a change, polls, and gives what became of it.
    fn execute(&self, arguments: &[&str], poll: &[&str]) -> Value {
        let proposed = self.eim(arguments);
        assert_eq!(proposed["state"], "approved", "{proposed}");
        let polled = self.poll_with(poll);
        let id = proposed["operations"][0]["id"].as_str().unwrap();
        let operation = self.eim(&["operation", "show", id]);
        assert_ne!(operation["state"], "queued", "{}{}", polled.out, polled.err);
        operation
    }

    fn done(&self, arguments: &[&str]) {
        let operation = self.execute(arguments, &[]);
        assert_eq!(operation["state"], "done", "{arguments:?}: {operation}");
    }

    fn order(&self, iccid: &str) -> String {
        let package = data("ts48/ts48-v7-nobertlv.der");
        let import = [
            "smdp",
            "import",
            &package,
            "--data",
            "smdp",
            "--iccid",
            iccid,
            "--fallback-allowed",
        ];
        assert_eq!(self.folder.ok(&import).trim(), iccid);
        let code = self.folder.ok(&[
            "smdp", "order", "--data", "smdp", "--iccid", iccid, "--eid", &self.eid,
        ]);
        assert!(code.starts_with("1$smdp.example.com$"), "{code}");
        code.trim().to_owned()
    }

    /// ICCIDs with their state, as the eIM knows them.
    fn profiles(&self) -> Vec<(String, bool)> {
        let profiles = self.eim(&["profile", "list", &self.eid]);
        let listed = profiles["profiles"].as_array().unwrap().iter();
        listed
            .map(|profile| {
                (
                    profile["iccid"].as_str().unwrap().to_owned(),
                    profile["enabled"].as_bool().unwrap(),
                )
            })
            .collect()
    }
}

#[test]
fn a_sim_is_managed_from_its_first_poll_to_its_last_profile() {
    let mut lab = Lab::new();
    lab.associate();
    lab.eim(&["device", "register", &lab.eid, "--label", "first"]);
    lab.poll();

    // Both ways of downloading.
    let (first, second) = (lab.order(FIRST), lab.order(SECOND));
    lab.done(&["profile", "download", &lab.eid, "--activation-code", &first]);
    lab.done(&[
        "profile",
        "download",
        &lab.eid,
        "--activation-code",
        &second,
        "--indirect",
    ]);
    let both = |enabled: (bool, bool)| {
        vec![
            (FIRST.to_owned(), enabled.0),
            (SECOND.to_owned(), enabled.1),
        ]
    };
    assert_eq!(lab.profiles(), both((false, false)));

    lab.done(&["profile", "enable", &lab.eid, FIRST]);
    assert_eq!(lab.profiles(), both((true, false)));
    // A profile that does not attach is rolled back.
    let without = ["--no-connectivity", SECOND, "--retry", "1"];
    let operation = lab.execute(
        &["profile", "enable", &lab.eid, SECOND, "--rollback"],
        &without,
    );
    assert!(
        matches!(
            operation["state"].as_str(),
            Some("in-flight" | "rolled-back")
        ),
        "{operation}"
    );
    for _ in 0..20 {
        if lab.eim(&["operation", "show", operation["id"].as_str().unwrap()])["state"]
            == "rolled-back"
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        lab.poll_with(&without);
    }
    let operation = lab.eim(&["operation", "show", operation["id"].as_str().unwrap()]);
    assert_eq!(operation["state"], "rolled-back", "{operation}");
    assert_eq!(lab.profiles(), both((true, false)));

    // The eIM is stopped and started: its state and the device's go on.
    let (code, log) = lab.eim.take().unwrap().terminate();
    assert_eq!(code, Some(0), "{log}");
    for secret in [&first, &second] {
        let matching_id = secret.rsplit('$').next().unwrap();
        assert!(
            !log.contains(matching_id),
            "the log shows an activation code"
        );
    }
    lab.start_eim();
    assert_eq!(lab.profiles(), both((true, false)));

    lab.done(&["profile", "enable", &lab.eid, SECOND, "--rollback"]);
    lab.done(&["profile", "set-fallback", &lab.eid, FIRST]);
    lab.done(&["profile", "unset-fallback", &lab.eid]);
    lab.done(&["profile", "rat", &lab.eid]);
    lab.done(&["eim", "list", &lab.eid, "--refresh"]);
    assert_eq!(
        lab.eim(&["eim", "list", &lab.eid])["eims"][0]["eim_id"],
        "eim.example.com"
    );
    lab.done(&["device", "read-data", &lab.eid, "--item", "euicc-info2"]);
    lab.done(&["profile", "disable", &lab.eid, SECOND]);
    lab.done(&["profile", "delete", &lab.eid, SECOND]);
    assert_eq!(lab.profiles(), [(FIRST.to_owned(), false)]);
    let failed = lab.execute(&["profile", "delete", &lab.eid, SECOND], &[]);
    assert_eq!(failed["state"], "failed", "{failed}");

    // What the SM-DP+, the eIM and the card say agrees.
    let shown = lab.folder.json(&["smdp", "show", FIRST, "--data", "smdp"]);
    assert_eq!(
        (&shown["state"], &shown["eid"]),
        (&"Installed".into(), &lab.eid.as_str().into())
    );
    let card = lab.folder.json(&["euicc", "show", "-d", "card"]);
    assert_eq!(card["eid"], lab.eid);
    let on_card: Vec<&str> = card["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["iccid"].as_str().unwrap())
        .collect();
    assert_eq!(on_card, [FIRST]);
    let device = lab.eim(&["device", "show", &lab.eid]);
    assert_eq!(device["state"], "associated");
    assert!(device["counter"].as_i64().unwrap() >= 9, "{device}");
}

#[test]
fn both_bindings_and_waiting_work() {
    let lab = Lab::new();
    lab.associate();
    lab.eim(&["device", "register", &lab.eid]);
    lab.poll_with(&["--binding", "json"]);
    // The operator waits while the device polls.
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            lab.folder.run(&[
                "profile",
                "rat",
                &lab.eid,
                "--data",
                "eim",
                "--wait",
                "--timeout",
                "60",
            ])
        });
        while !waiting.is_finished() {
            lab.poll_with(&["--binding", "json"]);
        }
        waiting.join().unwrap()
    });
    assert_eq!(waited.status, 0, "{}{}", waited.out, waited.err);
    assert!(
        waited.err.contains("queued") && waited.err.contains("done"),
        "{}",
        waited.err
    );
    assert!(
        waited.out.contains("state") && waited.out.contains("done"),
        "{}",
        waited.out
    );
    lab.folder.ok(&[
        "device",
        "wait",
        &lab.eid,
        "--data",
        "eim",
        "--timeout",
        "1",
    ]);
    // A failed operation fails the command that waits for it.
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            lab.folder.run(&[
                "profile",
                "delete",
                &lab.eid,
                FIRST,
                "--data",
                "eim",
                "--wait",
                "--timeout",
                "60",
            ])
        });
        while !waiting.is_finished() {
            lab.poll();
        }
        waiting.join().unwrap()
    });
    assert_eq!(waited.status, 1, "{}{}", waited.out, waited.err);
    assert!(
        waited.out.contains("iccidOrAidNotFound") || waited.out.contains("failed"),
        "{}",
        waited.out
    );
}

#[test]
fn a_device_does_not_talk_to_an_impostor() {
    let lab = Lab::new();
    // Association data of another eIM, at the address of the one that answers.
    lab.folder.ok(&[
        "init",
        "--data",
        "other",
        "--fqdn",
        "localhost:8443",
        "--eim-id",
        "other.example.com",
        "--break-glass",
        "other.key",
    ]);
    lab.folder.ok(&[
        "eim",
        "association-data",
        "--data",
        "other",
        "--out",
        "a.der",
    ]);
    lab.folder.ok(&[
        "ipa",
        "add-initial-eim",
        "--euicc",
        "card",
        "--association-data",
        "a.der",
    ]);
    let ran = lab.poll_with(&[]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.out.contains("not the pinned one"),
        "{}{}",
        ran.out,
        ran.err
    );
    let status = lab.eim(&["eim", "status"]);
    assert_eq!(status["requests"], 0, "nothing was sent to it");
}

#[test]
fn an_unregistered_device_gets_nothing() {
    let lab = Lab::new();
    lab.associate();
    let ran = lab.poll_with(&[]);
    assert!(!ran.out.contains("package of"), "{}", ran.out);
    assert!(lab.eim(&["device", "list"]).as_array().unwrap().is_empty());
}

#[test]
fn a_card_lives_in_its_folder() {
    let (folder, eid) = prepared();
    assert_eq!(
        folder
            .ok(&[
                "euicc",
                "new",
                "-d",
                "card",
                "--pki",
                "pki",
                "--default-smdp",
                "smdp.lab"
            ])
            .trim(),
        eid
    );
    let mode = |name: &str| {
        fs::metadata(folder.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("card"), mode("card/state.a")), (0o700, 0o600));
    folder
        .run(&["euicc", "new", "-d", "card", "--pki", "pki"])
        .refused(1, &["already holds a card"]);
    folder
        .run(&["euicc", "show", "-d", "none"])
        .refused(1, &["there is no card", "palisade euicc new"]);
    let shown = folder.json(&["euicc", "show", "-d", "card"]);
    assert_eq!(
        (&shown["eid"], &shown["default_smdp"]),
        (&eid.as_str().into(), &"smdp.lab".into())
    );
    // SELECT ISD-R on a channel that is opened for it, then GetEID.
    let answers = folder.ok(&[
        "euicc",
        "apdu",
        "-d",
        "card",
        "0070000001",
        "01A4040010A0000005591010FFFFFFFF8900000100",
        "81E2910006BF3E035C015A",
        "FF",
    ]);
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines[0], "019000", "{answers}");
    assert!(
        lines[1].starts_with("61") || lines[1].ends_with("9000"),
        "{answers}"
    );
    assert!(
        lines[3].starts_with('6') && lines[3].len() == 4,
        "{answers}"
    );
    folder
        .run(&["euicc", "apdu", "-d", "card", "XY"])
        .refused(2, &["not hexadecimal"]);

    // An EID without an identity gets one, from the PKI.
    let other = "89049032123451234512345678901235";
    folder.ok(&[
        "euicc", "new", "-d", "second", "--pki", "pki", "--eid", other,
    ]);
    assert!(folder.path(&format!("pki/euicc-{other}.der")).exists());
    folder
        .run(&["euicc", "new", "-d", "third", "--pki", "pki"])
        .refused(2, &["2 eUICCs", "--eid"]);
}

#[test]
fn the_smdp_works_on_its_folder_without_running_too() {
    let folder = Folder::new();
    folder.ok(&["pki", "new", "-d", "pki"]);
    let smdp = |arguments: &[&str]| {
        folder.run(&[&["smdp"], arguments, &["--data", "smdp", "--pki", "pki"]].concat())
    };
    let package = data("ts48/ts48-v7-nobertlv.der");
    assert_eq!(
        smdp(&["import", &package, "--iccid", FIRST]).out.trim(),
        FIRST
    );
    smdp(&["import", &package, "--iccid", FIRST]).refused(1, &["in the inventory already"]);
    smdp(&["import", "pki/ci.der"]).refused(1, &["profile package"]);
    let ordered = smdp(&[
        "order",
        "--iccid",
        FIRST,
        "--matching-id",
        "LAB-1",
        "--confirmation-code",
        "1234",
    ]);
    assert_eq!(ordered.out.trim(), "1$smdp.example.com$LAB-1$$1");
    smdp(&["order", "--iccid", FIRST]).refused(1, &["in use", "palisade smdp show"]);
    assert!(smdp(&["list"]).out.contains("Released"));
    assert!(smdp(&["cancel", FIRST]).out.contains("Available"));
    // An order that cannot be confirmed does not keep the profile.
    smdp(&["order", "--iccid", FIRST, "--matching-id", ""]).refused(1, &["EID"]);
    assert!(smdp(&["list"]).out.contains("Available"));
    smdp(&["order"]).refused(2, &["--iccid"]);
    smdp(&["show", SECOND]).refused(1, &["no profile with ICCID", "palisade smdp list"]);
    folder
        .run(&["smdp", "list", "--data", "smdp"])
        .refused(1, &["palisade pki new", "--pki"]);
    // The port is taken: the server says so.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    smdp(&["serve", "--listen", &address]).refused(1, &["cannot listen", &address]);
}

#[test]
fn waiting_for_a_new_device_has_its_euicc_sign_something() {
    let lab = Lab::new();
    lab.associate();
    lab.eim(&["device", "register", &lab.eid]);
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let wait = ["device", "wait", &lab.eid, "--data", "eim"];
            lab.folder.run(&[&wait[..], &["--timeout", "60"]].concat())
        });
        while !waiting.is_finished() {
            lab.poll();
        }
        waiting.join().unwrap()
    });
    assert_eq!(waited.status, 0, "{}{}", waited.out, waited.err);
    assert_eq!(
        lab.eim(&["device", "show", &lab.eid])["state"],
        "associated"
    );
    let operations = lab.eim(&["operation", "list", &lab.eid]);
    let by_operator = operations["operations"].as_array().unwrap().iter();
    let by_operator =
        by_operator.filter(|it| it["actor"].as_str().unwrap().starts_with("principal:"));
    assert_eq!(by_operator.count(), 1, "asked once: {operations}");
}

#[test]
fn the_smdp_reads_its_crl_again() {
    let (folder, _) = prepared();
    let server = folder.serve(
        &[
            "smdp",
            "serve",
            "--data",
            "smdp",
            "--pki",
            "pki",
            "--listen",
            "127.0.0.1:0",
        ],
        &["smdp", "status", "--data", "smdp"],
    );
    let pki = TestPki::load(&folder.path("pki")).unwrap();
    let newer = CrlTemplate {
        number: 2,
        this_update: pki.crl.this_update().plus_days(1),
        next_update: None,
        revoked: vec![pki.eum.certificate.serial_number().to_vec()],
    };
    let newer = newer.issue(pki.ci.issuer()).unwrap();
    for (content, word) in [
        (&b"nonsense"[..], "holds no CRL that can be read"),
        (newer.der(), "the CRL of the CI was read again"),
        (pki.crl.der(), "a newer CRL is already known"),
    ] {
        fs::write(folder.path("pki/ci.crl"), content).unwrap();
        server.signal("-HUP");
        let begun = Instant::now();
        while !server.log().contains(word) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    folder.ok(&["smdp", "status", "--data", "smdp"]);
    assert_eq!(server.terminate().0, Some(0));
}
