//! What strangers try at the door of the console.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::cli::{OWNER, enrol, owner_code};
use crate::program::{Program, SESSION, json};
use crate::site::Site;
use crate::support::PATIENCE;

/// Somewhere that only somebody signed in gets to.
const INSIDE: &str = "/metrics";

fn site() -> Site {
    let site = Site::new(&["--insecure-software-passkeys"]);
    enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
    site
}

#[test]
fn a_session_is_a_browsers_own_and_ends() {
    let site = site();
    let program = Program::new(&site);
    assert_eq!(program.get(INSIDE).status, 401);
    program.sign_in(&site, OWNER);
    assert_eq!(program.get(INSIDE).status, 200);

    // Session fixation: what a browser had before it signed in is not what it has after.
    let before = program.session().unwrap();
    program.sign_in(&site, OWNER);
    let after = program.session().unwrap();
    assert_ne!(before, after);
    let thief = Program::new(&site);
    thief
        .cookies
        .borrow_mut()
        .insert(SESSION.to_owned(), before);
    assert_eq!(thief.get(INSIDE).status, 401);

    assert_eq!(program.post("/sign-out", &json!({})).status, 200);
    assert_eq!(program.session(), None);
    thief.cookies.borrow_mut().insert(SESSION.to_owned(), after);
    assert_eq!(
        thief.get(INSIDE).status,
        401,
        "a session that was signed out"
    );
}

#[test]
fn a_sign_in_is_good_for_its_own_browser_once() {
    let site = site();
    let (victim, thief) = (Program::new(&site), Program::new(&site));
    let signed = victim.signed(&site, OWNER);
    // Seen on its way, or made in a browser that the thief prepared: sent from elsewhere it is worth nothing.
    thief.post("/sign-in/statement", &json!({}));
    assert_eq!(json(&thief.post("/sign-in", &signed))["status"], 401);
    let bare = Program::new(&site);
    assert_eq!(bare.post("/sign-in", &signed).status, 401);
    assert_eq!(thief.session(), None);

    // With the victim's cookie of the sign-in as well: the first one wins, and the second is on record.
    let stolen = victim.cookies.borrow().clone();
    assert_eq!(victim.post("/sign-in", &signed).status, 200);
    *thief.cookies.borrow_mut() = stolen;
    let refused = thief.post("/sign-in", &signed);
    assert_eq!(json(&refused)["code"], "replayed");
    assert_eq!(thief.session(), None);
}

#[test]
fn other_sites_cannot_use_a_browser_that_is_signed_in() {
    let site = site();
    let program = Program::new(&site);
    program.sign_in(&site, OWNER);
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let fields = [("origin", origin), ("content-type", "application/json")];
        for path in ["/sign-out", "/sign-in", "/sign-in/statement"] {
            let answer = program.send(Method::POST, path, &fields, "{}");
            assert_eq!(answer.status, 403, "{path} from {origin}");
        }
    }
    let answer = program.send(Method::POST, "/sign-out", &[], "");
    assert_eq!(answer.status, 403, "a form of an old browser");
    assert_eq!(program.get(INSIDE).status, 200, "still signed in");

    // A name that resolves to this address now (DNS rebinding).
    let rebound = program.send(Method::GET, INSIDE, &[("host", "evil.example")], "");
    assert_eq!(rebound.status, 421);
}

#[test]
fn every_answer_tells_browsers_what_this_console_never_does() {
    let site = site();
    let program = Program::new(&site);
    for path in ["/", "/sign-in", "/enrol", INSIDE, "/no-such-thing"] {
        let answer = program.get(path);
        let field = |name: &str| {
            let value = answer.headers.get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let policy = field("content-security-policy");
        for word in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(word), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(field("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(field("x-frame-options"), "DENY", "{path}");
        assert!(field("strict-transport-security").starts_with("max-age="));
        assert_eq!(field("cache-control"), "no-store", "{path}");
    }
}

#[test]
fn who_signs_in_is_not_sent_to_another_site() {
    let site = site();
    let program = Program::new(&site);
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
    ] {
        let mut signed = program.signed(&site, OWNER);
        signed["next"] = next.into();
        let answer = program.post("/sign-in", &signed);
        assert_eq!(json(&answer)["next"], "/", "{next}");
    }
    // A path that would become a field of the answer.
    let answer = program.get("/devices%0d%0aset-cookie:%20a=b");
    assert!(answer.headers.get("set-cookie").is_none());
}

#[test]
fn passkeys_that_do_not_fit_are_refused_alike_and_as_slowly() {
    let site = site();
    let program = Program::new(&site);
    let mut wrong = program.signed(&site, OWNER);
    wrong["assertion"]["response"]["signature"] = "MEUCIQ".into();
    let mut unknown = program.signed(&site, OWNER);
    unknown["assertion"]["id"] = "AAAAAAAAAAAAAAAAAAAAAA".into();

    let mut refusals = Vec::new();
    for signed in [&wrong, &unknown] {
        let fresh = Program::new(&site);
        let mut signed = signed.clone();
        // Its own browser's statement, so that only the passkey is wrong.
        let asked = json(&fresh.post("/sign-in/statement", &json!({})));
        signed["statement"] = asked["statement"].clone();
        let begun = Instant::now();
        let answer = fresh.post("/sign-in", &signed);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        refusals.push((answer.status, json(&answer)));
    }
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(refusals[0].0, 401);

    // The record has the difference, and who comes in after; security monitoring reads it from there.
    program.sign_in(&site, OWNER);
    let begun = Instant::now();
    let events = loop {
        let export = ["ledger", "export", "--data", "eim", "--as", "ocsf"];
        let lines = site.folder.ok(&export);
        let events: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|event: &Value| event["class_uid"] == 3002)
            .collect();
        if events.len() >= 3 {
            break events;
        }
        assert!(begun.elapsed() < PATIENCE, "{lines}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let outcome = |event: &Value| (event["status_id"].as_u64(), event["user"]["name"].clone());
    assert_eq!(outcome(&events[0]), (Some(2), "alice".into()), "{events:?}");
    assert_eq!(
        outcome(&events[1]),
        (Some(2), "unknown".into()),
        "{events:?}"
    );
    assert_eq!(outcome(&events[2]), (Some(1), "alice".into()), "{events:?}");
}

#[test]
fn guessing_is_slow_and_locks_nobody_else_out() {
    let site = site();
    let program = Program::new(&site);
    let mut statuses = Vec::new();
    for _ in 0..25 {
        let guess = json!({
            "name": "alice",
            "code": "AAAA-BBBB-CCCC",
            "registration": { "id": "AAAA", "type": "public-key", "response": {
                "clientDataJSON": "AAAA", "attestationObject": "AAAA" } },
        });
        statuses.push(program.post("/enrol", &guess).status.as_u16());
    }
    assert_eq!(statuses[0], 403);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Who is signed in works on, from the same address too.
    let socket = site.folder.run(&["eim", "status", "--data", "eim"]);
    assert_eq!(socket.status, 0);
}

#[test]
fn bodies_that_are_no_sign_in_are_refused_with_their_reason() {
    let site = site();
    let program = Program::new(&site);
    let origin = site.origin.clone();
    let fields = [
        ("origin", origin.as_str()),
        ("content-type", "application/json"),
    ];
    let send = |body: &str| program.send(Method::POST, "/sign-in", &fields, body);
    assert_eq!(send("").status, 400);
    assert_eq!(send("{").status, 400);
    assert_eq!(send("[]").status, 400);
    // Mass assignment: what nobody asked for is not taken.
    let mut signed = program.signed(&site, OWNER);
    signed["role"] = "owner".into();
    assert_eq!(program.post("/sign-in", &signed).status, 400);
    let nested = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(send(&nested).status, 400);
    // Little more than is taken: what the server does not read, it would answer too early for.
    let large = format!("{{\"statement\":\"{}\"}}", "a".repeat(16 << 20));
    assert_eq!(send(&large).status, 413);
    let form = [
        ("origin", origin.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = program.send(Method::POST, "/sign-in", &form, "a=b");
    assert!((400..500).contains(&answer.status.as_u16()));
}
