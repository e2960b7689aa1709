use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::{Folder, prepared, start_eim};

const OTHER_EID: &str = "89049032123451234512345678901235";

fn request(folder: &Folder, request: &str) -> (u16, String, Value) {
    let mut stream = UnixStream::connect(folder.path("eim/control.sock")).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (
        status,
        head.to_ascii_lowercase(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

fn get(folder: &Folder, path: &str) -> (u16, String, Value) {
    request(
        folder,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
}

fn post(folder: &Folder, path: &str, body: &str) -> (u16, String, Value) {
    let length = body.len();
    request(
        folder,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
    let (folder, _) = prepared();
    let server = start_eim(&folder);
    let socket = fs::metadata(folder.path("eim/control.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let database = fs::metadata(folder.path("eim/eim.sqlite")).unwrap();
    assert_eq!(database.permissions().mode() & 0o777, 0o600);
    // A second server on the same folder does not disturb the first.
    folder
        .run(&["serve", "--data", "eim", "--listen", "127.0.0.1:0"])
        .refused(1, &["another"]);
    folder.ok(&["eim", "status", "--data", "eim"]);

    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("stopped") && log.contains("requests="),
        "{log}"
    );
    assert!(!folder.path("eim/control.sock").exists());
    folder
        .run(&["device", "list", "--data", "eim"])
        .refused(1, &["no server runs on eim", "palisade serve --data eim"]);
}

#[test]
fn a_killed_server_starts_again_with_everything_it_had() {
    let (folder, eid) = prepared();
    let server = start_eim(&folder);
    folder.ok(&[
        "device", "register", "--data", "eim", &eid, "--label", "kept",
    ]);
    let operation = folder.json(&["profile", "list", "--data", "eim", &eid, "--refresh"]);
    server.kill();
    assert!(
        folder.path("eim/control.sock").exists(),
        "a killed server leaves its socket behind"
    );

    let server = start_eim(&folder);
    let device = folder.json(&["device", "show", "--data", "eim", &eid]);
    assert_eq!(device["label"], "kept");
    let id = operation["operations"][0]["id"].as_str().unwrap();
    assert_eq!(
        folder.json(&["operation", "show", "--data", "eim", id])["state"],
        "queued"
    );
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn devices_are_registered_listed_and_retired() {
    let (folder, eid) = prepared();
    let _server = start_eim(&folder);
    fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--data", "eim"]].concat()
    }
    assert!(folder.ok(&with(&["device", "list"])).contains("no devices"));

    let euicc = format!("pki/euicc-{eid}.der");
    let certificates = [
        "--euicc-certificate",
        euicc.as_str(),
        "--eum-certificate",
        "pki/eum.der",
    ];
    // Certificates of another eUICC are not taken.
    folder
        .run(&with(
            &[&["device", "register", OTHER_EID], &certificates[..]].concat(),
        ))
        .refused(
            1,
            &[
                "what came along was not taken",
                "do not belong to an eUICC with this EID",
                eid.as_str(),
            ],
        );
    let device = folder.json(&with(
        &[
            &["device", "register", &eid, "--label", "meter 1"],
            &certificates[..],
        ]
        .concat(),
    ));
    assert_eq!(
        (&device["label"], &device["state"]),
        (&"meter 1".into(), &"registered".into())
    );
    assert_eq!(
        folder.json(&with(&["device", "show", &eid]))["certificates_known"],
        true
    );
    folder
        .run(&with(&["device", "register", &eid]))
        .refused(1, &["registered"]);
    let unknown = rsp::ids::Eid::with_check_digits("890490320000000000000000000001").unwrap();
    folder
        .run(&with(&["device", "show", &unknown.to_string()]))
        .refused(1, &["no device with EID", "palisade device register"]);

    folder.ok(&with(&["device", "retire", &eid]));
    folder
        .run(&with(&["profile", "rat", &eid]))
        .refused(1, &["is not registered"]);
    let events = folder.json(&with(&["device", "events", &eid]));
    let kinds: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["device-registered", "device-enriched", "device-retired"]
    );
    assert_eq!(events["events"][0]["actor"], "principal:ci");
    let enriched = events["events"][1]["actor"].as_str().unwrap();
    assert!(enriched.starts_with("operator:"), "{enriched}");
}

#[test]
fn a_file_of_devices_is_imported_line_by_line() {
    let (folder, eid) = prepared();
    let _server = start_eim(&folder);
    let csv = format!(
        "label,eid,association_token\n\"roof, north\",{eid},7\nbad,89049032123451234512345678901234,\n\
         twice,{eid},\ntoken,{OTHER_EID},many\n\"open,{OTHER_EID}\ngood,{OTHER_EID},\n"
    );
    fs::write(folder.path("fleet.csv"), csv).unwrap();
    let ran = folder.run(&["device", "import", "fleet.csv", "--data", "eim"]);
    assert_eq!(ran.status, 1, "lines were refused: {}", ran.err);
    assert!(
        ran.out.starts_with("2 registered, 4 refused\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("line 2 has this EID already"),
        "{}",
        ran.out
    );
    let ran = folder.run(&[
        "device",
        "import",
        "fleet.csv",
        "--data",
        "eim",
        "--output",
        "json",
    ]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let lines: Vec<i64> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["line"].as_i64().unwrap())
        .collect();
    assert_eq!(
        (report["registered"].as_i64(), lines),
        (Some(0), vec![2, 3, 4, 5, 6, 7])
    );
    let listed = folder.ok(&["device", "list", "--data", "eim"]);
    assert!(
        listed.contains("roof, north") && listed.contains("good"),
        "{listed}"
    );
    assert_eq!(
        folder.json(&["device", "show", "--data", "eim", &eid])["association_token_known"],
        true
    );

    let ran = folder.run_with(
        &["device", "import", "-", "--data", "eim"],
        &[],
        b"imei\n1\n",
    );
    ran.refused(1, &["no column is named", "eid"]);
}

#[test]
fn many_devices_are_paged_through() {
    let (folder, _) = prepared();
    let _server = start_eim(&folder);
    let eids: Vec<String> = (0..1500)
        .map(|number| {
            rsp::ids::Eid::with_check_digits(&format!("8904903200000000000000{number:08}"))
                .unwrap()
                .to_string()
        })
        .collect();
    let csv = eids.join("\n");
    let ran = folder.run_with(
        &["device", "import", "-", "--data", "eim"],
        &[],
        csv.as_bytes(),
    );
    assert!(
        ran.out.starts_with("1500 registered, 0 refused"),
        "{}{}",
        ran.out,
        ran.err
    );
    let all = folder.json(&["device", "list", "--data", "eim", "--limit", "5000"]);
    let listed: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["eid"].as_str().unwrap())
        .collect();
    let mut sorted = eids.clone();
    sorted.sort();
    assert_eq!(listed, sorted);
    let some = folder.ok(&["device", "list", "--data", "eim", "--limit", "10"]);
    assert!(some.contains(&format!("--after {}", sorted[9])), "{some}");
}

#[test]
fn operations_are_proposed_shown_and_withdrawn_and_codes_are_hidden() {
    let (folder, eid) = prepared();
    let server = start_eim(&folder);
    folder.ok(&["device", "register", "--data", "eim", &eid]);
    let code = "1$smdp.example.com$SECRET-MATCHING-ID";
    let proposed = folder.json(&[
        "profile",
        "download",
        "--data",
        "eim",
        &eid,
        "--activation-code",
        code,
        "--confirmation-code",
        "471147",
    ]);
    assert_eq!(proposed["operations"][0]["state"], "queued");
    let id = proposed["operations"][0]["id"].as_str().unwrap();
    let intent = proposed["id"].as_str().unwrap();
    let mut everything = vec![proposed.to_string()];
    for arguments in [
        &["operation", "show", "--data", "eim", id][..],
        &["operation", "list", "--data", "eim", &eid],
        &["device", "events", "--data", "eim", &eid],
        &["intent", "show", "--data", "eim", intent],
        &["intent", "list", "--data", "eim"],
        &["device", "history", "--data", "eim", &eid],
    ] {
        everything.push(folder.ok(arguments));
        everything.push(folder.json(arguments).to_string());
    }
    everything.push(server.log());
    for shown in &everything {
        assert!(
            !shown.contains("SECRET-MATCHING-ID") && !shown.contains("471147"),
            "{shown}"
        );
    }
    assert!(everything[0].contains("smdp.example.com"));

    assert_eq!(
        folder.json(&["operation", "cancel", "--data", "eim", id])["state"],
        "cancelled"
    );
    folder
        .run(&["operation", "cancel", "--data", "eim", id])
        .refused(1, &["cancelled", "palisade operation show"]);
    folder
        .run(&[
            "operation",
            "show",
            "--data",
            "eim",
            "01a20d6d-794f-73f5-bd21-1ffb3c98bc16",
        ])
        .refused(1, &["no operation", "palisade operation list"]);

    // Several commands in one package, from the standard input; and what cannot stand together.
    let propose = ["operation", "propose", "--data", "eim", &eid, "-"];
    let good = r#"[{"command":"list-profiles"},{"command":"get-rat"}]"#;
    assert_eq!(folder.run_with(&propose, &[], good.as_bytes()).status, 0);
    let mixed = r#"[{"command":"list-profiles"},{"command":"list-eims"}]"#;
    folder
        .run_with(&propose, &[], mixed.as_bytes())
        .refused(1, &["operation of their own"]);
    folder
        .run_with(&propose, &[], b"[{\"command\":\"reboot\"}]")
        .refused(1, &["unknown variant `reboot`"]);
    // Nobody polls: waiting ends, and says why.
    let wait = [
        "profile",
        "rat",
        "--data",
        "eim",
        &eid,
        "--wait",
        "--timeout",
        "0",
    ];
    folder.run(&wait).refused(
        1,
        &[
            "still queued",
            "has not polled",
            "palisade operation cancel",
        ],
    );
}

#[test]
fn errors_are_problem_details_that_say_what_to_do() {
    let (folder, eid) = prepared();
    let _server = start_eim(&folder);
    let unregistered = format!("/v1/devices/{OTHER_EID}");
    let propose = format!("/v1/devices/{eid}/operations");
    for (answer, status, word) in [
        (get(&folder, "/v2"), 404, "no-such-path"),
        (post(&folder, "/v1/status", ""), 405, "no-such-method"),
        (get(&folder, "/v1/devices/123"), 400, "invalid-request"),
        (get(&folder, &unregistered), 404, "device-unknown"),
        (
            get(&folder, "/v1/devices?limit=many"),
            400,
            "invalid-request",
        ),
        (get(&folder, "/v1/devices?offset=1"), 400, "invalid-request"),
        (get(&folder, "/v1/operations/1"), 400, "invalid-request"),
        (
            post(&folder, "/v1/devices/data", "{"),
            400,
            "invalid-request",
        ),
        (
            post(&folder, "/v1/devices/data", r#"{"devices":[],"x":1}"#),
            400,
            "invalid-request",
        ),
        // Changes are intents, and nothing else.
        (post(&folder, "/v1/devices", "{}"), 403, "proof-needed"),
        (post(&folder, &propose, "{}"), 405, "no-such-method"),
        (post(&folder, "/v1/intents", "{}"), 400, "invalid-request"),
        (get(&folder, "/v1/intents/AAAA"), 400, "invalid-request"),
        (
            get(&folder, &format!("/v1/intents/{}", "A".repeat(43))),
            404,
            "unknown",
        ),
    ] {
        let (found, head, problem) = answer;
        assert_eq!(found, status, "{problem}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert_eq!(
            problem["type"],
            format!("urn:palisade:problem:{word}"),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        for member in ["title", "detail", "action"] {
            assert!(
                !problem[member].as_str().unwrap_or_default().is_empty(),
                "{member}: {problem}"
            );
        }
    }
    // Larger than any import: refused before it is read.
    let huge = format!(
        "POST /v1/intents HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    let (status, _, problem) = request(&folder, &huge);
    assert_eq!((status, &problem["status"]), (413, &413.into()));
}

#[test]
fn the_certificate_can_be_renewed_while_it_runs() {
    let (folder, _) = prepared();
    let server = start_eim(&folder);
    let path = folder.path("eim/eim-tls.pem");
    let good = fs::read(&path).unwrap();
    for (content, word) in [
        (&b"nonsense"[..], "stays the old one"),
        (&good, "the certificate of ESipa was read again"),
        (&good, "the CIs of eUICCs and their CRLs were read again"),
    ] {
        fs::write(&path, content).unwrap();
        server.signal("-HUP");
        let begun = std::time::Instant::now();
        while !server.log().contains(word) {
            assert!(begun.elapsed().as_secs() < 30, "{}", server.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    folder.ok(&["eim", "status", "--data", "eim"]);
    assert_eq!(server.terminate().0, Some(0));
}
