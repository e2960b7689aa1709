//! The demo as it is typed: every step done, every attack stopped, and the exit status says so.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reports by panicking"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["demo", "--once"])
        .args(arguments)
        .env_remove("PALISADE_LOG")
        .env_remove("PALISADE_OUTPUT")
        .output()
        .expect("the program starts")
}

/// Attacks that must be there, by how they begin. The issue that asked for the demo lists them.
const ATTACKS: [&str; 53] = [
    "package: one bit modified",
    "package: signed with a wrong key",
    "package: of an eIM that is not associated",
    "package: for the EID of another eUICC",
    "package: replayed",
    "package: with an older counter",
    "package: with a wrong association token",
    "package: truncated",
    "package: oversize",
    "profile: metadata segment modified",
    "profile: profile segment modified",
    "profile: two segments swapped",
    "profile: bound to another eUICC",
    "profile: bound to another, signed anew for this one",
    "profile: SM-DP+ authenticates as DPpb",
    "profile: SM-DP+ binds as DPauth",
    "profile: SM-DP+ of an unknown CI",
    "profile: eUICC of an unknown CI",
    "profile: eUICC certificate expired",
    "profile: SM-DP+ TLS certificate expired",
    "profile: eIM TLS certificate expired",
    "profile: TLS server of an unknown CI",
    "profile: EUM revoked: download",
    "profile: EUM revoked: first contact",
    "result: forged signature",
    "result: signed by another eUICC",
    "result: certificate of another EID",
    "result: counter of another eIM's package",
    "result: sent for another EID",
    "result: replayed, octet for octet",
    "result: sequence number used again",
    "result: forged notification",
    "network: unregistered EID polls",
    "network: stranger polls with a victim's EID",
    "network: stranger wants a victim's activation code",
    "network: procedure moves to another connection",
    "network: malformed messages",
    "network: deeply nested messages",
    "network: wrong content type",
    "network: bodies of 1 MB",
    "network: slow clients",
    "network: TLS below 1.2",
    "authority: compromised console alters a signed intent",
    "authority: compromised console replays a signed intent",
    "authority: the approver is the proposer",
    "authority: operations forged in the eIM's database",
    "authority: compromised eIM asks for what nobody wants",
    "authority: compromised eIM asks twice",
    "authority: compromised eIM reads beyond the quota",
    "authority: revoked key",
    "authority: everything frozen",
    "authority: an entry of the ledger altered",
    "authority: an action left out of a device's history",
];

#[test]
fn every_step_succeeds_and_every_attack_is_stopped() {
    let output = demo(&["--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Json =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{progress}"));

    for step in report["steps"].as_array().unwrap() {
        assert_eq!(step["outcome"], "done", "{step}");
        assert_ne!(step["detail"], "", "{step}");
    }
    assert!(report["steps"].as_array().unwrap().len() >= 28);
    let mut made = BTreeSet::new();
    for attack in report["attacks"].as_array().unwrap() {
        assert_eq!(attack["verdict"], "stopped", "{attack}");
        assert_ne!(attack["stopped_by"], "", "{attack}");
        assert_ne!(attack["rule"], "", "{attack}");
        made.insert(format!(
            "{}: {}",
            attack["kind"].as_str().unwrap(),
            attack["name"].as_str().unwrap()
        ));
    }
    let expected: BTreeSet<String> = ATTACKS.map(str::to_owned).into();
    assert_eq!(made, expected);
    assert_eq!(report["good"], true);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        !progress.contains('\u{1b}'),
        "colours are for terminals only: {progress}"
    );
    assert_eq!(
        progress.lines().count(),
        report["steps"].as_array().unwrap().len() + made.len(),
        "{progress}"
    );
}

#[test]
fn the_table_is_for_people_and_what_is_kept_can_be_used_again() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("kept");
    let output = demo(&["--devices", "3", "--keep", folder.to_str().unwrap()]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(
        !table.contains('\u{1b}') && !table.contains("FAIL"),
        "{table}"
    );
    let last = table.lines().last().unwrap();
    assert!(
        last.starts_with("GOOD: 28 of 28 steps done, 53 of 53 attacks stopped; 3 devices"),
        "{last}"
    );
    for (row, cells) in [
        ("download TS.48 directly", ["done", "2 profiles installed"]),
        (
            "download TS.48 through the eIM",
            ["done", "1 profiles installed"],
        ),
        ("package: replayed", ["unchanged", "ReplayError (4)"]),
        (
            "result: forged signature",
            ["unchanged", "signature of the eUICC"],
        ),
        ("network: TLS below 1.2", ["unchanged", "protocol_version"]),
        (
            "authority: compromised console alters a signed intent",
            ["unchanged", "proof-invalid"],
        ),
        (
            "authority: operations forged in the eIM's database",
            ["unchanged", "unknown, out-of-scope"],
        ),
        (
            "authority: an entry of the ledger altered",
            ["unchanged", "was altered"],
        ),
        ("verify the record offline", ["done", "good: "]),
    ] {
        let line = table
            .lines()
            .find(|line| line.contains(row))
            .unwrap_or_else(|| panic!("no {row}: {table}"));
        assert!(
            line.starts_with("ok ") && cells.iter().all(|cell| line.contains(cell)),
            "{line}"
        );
    }
    for file in [
        "pki/ci.der",
        "devices/1/state.a",
        "eim.example.com/eim.sqlite",
        "smdp.example.com/smdp.sqlite",
    ] {
        assert!(folder.join(file).exists(), "{file} is not kept");
    }

    let again = demo(&["--keep", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

#[test]
fn nothing_stays_in_the_temporary_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["demo", "--once", "--devices", "3"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(entries(temporary.path()), 0);
}

#[test]
fn the_console_is_served_afterwards_until_it_is_interrupted() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["demo", "--devices", "3"])
        .env("TMPDIR", temporary.path())
        .env_remove("PALISADE_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(demo.stderr.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    let link = lines
        .find_map(|line| {
            let (origin, rest) = line.trim().split_once("/enrol#name=you&code=")?;
            Some((origin.to_owned(), rest.to_owned()))
        })
        .expect("the demo prints a link");
    assert!(link.0.starts_with("http://localhost:"), "{link:?}");
    assert!(link.1.len() > 20, "{link:?}");
    let address = link.0.replace("http://localhost", "127.0.0.1");
    let mut page = TcpStream::connect(&address).unwrap();
    let host = link.0.trim_start_matches("http://");
    write!(
        page,
        "GET /sign-in HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let sent = Command::new("kill")
        .args(["-INT", &demo.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    // What it still says is read, so that it is not held up.
    for _ in lines {}
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(entries(temporary.path()), 0);
}

#[test]
fn a_fleet_too_small_or_too_large_is_wrong_usage() {
    for devices in ["2", "201", "many"] {
        let output = demo(&["--devices", devices]);
        assert_eq!(output.status.code(), Some(2), "{devices}");
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
