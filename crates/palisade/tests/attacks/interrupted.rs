//! The authority is killed at the two moments that count, and its clock is moved backwards.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use intent::api::{Account, Reference};
use serde_json::{Value, json};

use crate::site::{LONG_MS, Site, set_address};
use crate::support::PATIENCE;
use crate::support::machine::Signed;

/// The number of the authority's process.
fn authority(site: &Site) -> u64 {
    site.authority().read("/v1/status")["pid"].as_u64().unwrap()
}

/// Waits until another process than this one answers.
fn await_another(site: &Site, old: u64) {
    let begun = Instant::now();
    loop {
        if let Ok((200, status)) = site.authority().get("/v1/status")
            && status["pid"] != old
        {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", site.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the authority has, and has published, an answer to each package.
fn await_results(site: &Site) {
    let begun = Instant::now();
    loop {
        let record = site.record();
        let count = |kind: &str| record.iter().filter(|entry| entry["kind"] == kind).count();
        if count("result.recorded") == count("package.ordered") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", site.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Packages that the record has on account of an intent: the proposal's entry is what they name.
fn ordered(site: &Site, signed: &Signed) -> Vec<Value> {
    let record = site.record();
    let is_it = |entry: &&Value| {
        entry["kind"] == "intent.proposed" && entry["body"]["id"] == json!(signed.id)
    };
    let proposal = record.iter().find(is_it).unwrap()["number"].clone();
    let is_package = |entry: &Value| {
        entry["kind"] == "package.ordered" && entry["body"]["account"]["intent"] == proposal
    };
    record.into_iter().filter(is_package).collect()
}

/// Has a process killed as soon as a call of this name to the kernel is done (strace, "Tampering").
fn kill_after(call: &str, pid: u64) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &pid.to_string()])
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("strace, which scripts/test-services installs: {error}"));
    let mut said = BufReader::new(strace.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("attached"), "{line}");
    (strace, said)
}

#[test]
fn an_authority_killed_between_append_and_signature_signs_the_same_afterwards() {
    let site = Site::new();
    // The device has shown that its token is right, so nothing else is signed for it first.
    site.works("before.example.com");
    let signed = site.settings("appended.example.com");
    site.accepted(&signed);
    // Everything told and published, so that the next sync is that of the package's entry.
    await_results(&site);
    let old = authority(&site);
    let (mut strace, said) = kill_after("fdatasync", old);
    let polled = site.poll();
    strace.wait().unwrap();
    let said: Vec<String> = said.lines().map(Result::unwrap).collect();
    assert!(
        said.iter().any(|line| line.contains("killed by SIGKILL")),
        "{said:#?}\n{polled}"
    );
    await_another(&site, old);

    let appended = ordered(&site, &signed);
    assert_eq!(appended.len(), 1, "{appended:#?}");
    site.carried_out(&signed, "appended.example.com");
    assert_eq!(
        ordered(&site, &signed),
        appended,
        "nothing was signed twice"
    );
    site.works("afterwards.example.com");
}

#[test]
fn an_authority_killed_between_signature_and_answer_gives_the_same_package_afterwards() {
    let site = Site::new();
    // The device has shown that its token is right, so nothing else is signed for it first.
    site.works("before.example.com");
    let signed = site.settings("signed.example.com");
    site.accepted(&signed);
    let old = authority(&site);
    let entries = |status: Value| status["entries"].as_u64().unwrap();
    let before = entries(site.authority().read("/v1/status"));
    // Asked as the eIM asks, and the answer is never read.
    let reference = Reference {
        account: Account::Intent(signed.id),
        eid: site.eid,
    };
    let body = json!([reference]).to_string();
    let socket = site.folder.path("eim/authority/authority.sock");
    let mut lost = UnixStream::connect(socket).unwrap();
    write!(
        lost,
        "POST /v1/signatures HTTP/1.1\r\nhost: authority\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let begun = Instant::now();
    while entries(site.authority().read("/v1/status")) == before {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-KILL", &old.to_string()])
        .status();
    assert!(killed.unwrap().success());
    drop(lost);
    await_another(&site, old);

    let first = ordered(&site, &signed);
    assert_eq!(first.len(), 1, "{first:#?}");
    let again = site.sign(Account::Intent(signed.id), site.eid).unwrap();
    assert_eq!(again["counter"], first[0]["body"]["counter"]);
    site.carried_out(&signed, "signed.example.com");
    assert_eq!(ordered(&site, &signed), first, "nothing was signed twice");
}

/// What has a process see another time (libfaketime).
fn clock(set_back: &str) -> Vec<(&'static str, String)> {
    let libraries = fs::read_dir("/usr/lib").unwrap().map(Result::unwrap);
    let library = libraries
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no libfaketime, which scripts/test-services installs"));
    vec![
        ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
        ("FAKETIME", format!("-{set_back}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[test]
fn a_clock_moved_backwards_brings_nothing_back_and_stops_signing() {
    let mut site = Site::new();
    let short = site
        .machine()
        .operate(site.eid, vec![set_address("late.example.com")], 1_500);
    site.accepted(&short);
    std::thread::sleep(Duration::from_secs(2));
    let good = site.settings("good.example.com");
    site.accepted(&good);

    // A little: time goes on from the newest entry, so what was too late stays so.
    site.stop();
    site.start_with(&clock("5m"));
    let refusal = site.sign(Account::Intent(short.id), site.eid).unwrap_err();
    assert_eq!(refusal["code"], "expired", "{refusal}");
    site.carried_out(&good, "good.example.com");
    assert!(ordered(&site, &short).is_empty());

    // Far: nothing is signed before it is set right.
    let next = site
        .machine()
        .operate(site.eid, vec![set_address("next.example.com")], LONG_MS);
    site.stop();
    site.start();
    site.accepted(&next);
    site.stop();
    site.start_with(&clock("30m"));
    let before = site.card();
    let refusal = site.sign(Account::Intent(next.id), site.eid).unwrap_err();
    assert_eq!(refusal["code"], "unavailable", "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("clock"), "{message}");
    site.poll();
    assert_eq!(site.card(), before);
    assert!(ordered(&site, &next).is_empty());
    site.stop();
    site.start();
    site.carried_out(&next, "next.example.com");
}
