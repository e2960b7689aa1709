//! Keys that are not good any more, or not for this.

use std::time::Duration;

use intent::api::Account;

use crate::cli::{KEY, OWNER};
use crate::site::{LONG_MS, Site, is_refused, set_address};
use crate::support::machine::Signed;

/// A change by the machine with this key.
fn by(site: &Site, key: &str, address: &str) -> Signed {
    let commands = vec![set_address(address)];
    site.machine_with(key).operate(site.eid, commands, LONG_MS)
}

#[test]
fn a_revoked_key_is_stopped_on_the_very_next_call() {
    let site = Site::new();
    let id = site.admit("late", "late.key", &["--grant", "operator"]);
    let waiting = by(&site, "late.key", "queued.example.com");
    site.accepted(&waiting);
    let signed_before = by(&site, "late.key", "signed.example.com");
    let before = site.standing();

    let revoked = site.json(&["key", "revoke", &id, "--passkey", OWNER]);
    site.approve(&revoked);
    let problem = site.refused(
        &by(&site, "late.key", "a.example.com"),
        401,
        "credential-invalid",
    );
    assert!(problem.to_string().contains("revoked"), "{problem}");
    site.refused(&signed_before, 401, "credential-invalid");
    // What it asked for before and was not signed yet is not signed any more.
    let refusal = site
        .sign(Account::Intent(waiting.id), site.eid)
        .unwrap_err();
    assert!(refusal.to_string().contains("revoked"), "{refusal}");
    // It does not admit itself again.
    let rotate = [
        "key",
        "rotate",
        "late",
        "--out",
        "again.key",
        "--key",
        "late.key",
        "--data",
        "eim",
    ];
    site.folder.run(&rotate).refused(1, &["revoked"]);
    site.nothing_came_of_it(&before);
    site.works("after-revocation.example.com");
}

#[test]
fn an_expired_key_is_stopped_at_its_end() {
    let site = Site::new();
    site.admit(
        "brief",
        "brief.key",
        &["--grant", "operator", "--expires", "6s"],
    );
    let first = by(&site, "brief.key", "in-time.example.com");
    site.accepted(&first);
    site.carried_out(&first, "in-time.example.com");
    std::thread::sleep(Duration::from_secs(6));
    let before = site.standing();
    let problem = site.refused(
        &by(&site, "brief.key", "late.example.com"),
        401,
        "credential-invalid",
    );
    assert!(problem.to_string().contains("expired"), "{problem}");
    site.nothing_came_of_it(&before);
    site.works("after-end.example.com");
}

#[test]
fn a_rotated_key_is_stopped_when_its_overlap_is_over_and_its_last_use_is_seen() {
    const OVERLAP: Duration = Duration::from_secs(4);
    let site = Site::new();
    let old = site.admit("turning", "old.key", &["--grant", "operator"]);
    // It turns itself, with the key that it has.
    let rotate = [
        "key",
        "rotate",
        "turning",
        "--overlap",
        "4s",
        "--out",
        "new.key",
    ];
    let rotated = site.json(&[&rotate[..], &["--key", "old.key"]].concat());
    let begun = std::time::Instant::now();
    site.approve(&rotated["intent"]);
    let new = rotated["key_id"].as_str().unwrap().to_owned();
    let old_signed = by(&site, "old.key", "overlap-old.example.com");
    let new_signed = by(&site, "new.key", "overlap-new.example.com");
    site.accepted(&old_signed);
    site.accepted(&new_signed);
    assert!(
        begun.elapsed() < OVERLAP,
        "this machine is too busy to see an overlap"
    );
    let used = |id: &str| {
        let listed = site.json(&["key", "list", "--all"]);
        let all = listed.as_array().unwrap().iter();
        let all = all.flat_map(|one| one["credentials"].as_array().unwrap());
        all.clone().find(|one| one["id"] == id).unwrap().clone()
    };
    for id in [&old, &new] {
        let seen = used(id);
        assert_eq!(seen["last_used_for"], "settings", "{seen}");
        assert_eq!(seen["last_used_from"], "127.0.0.1", "{seen}");
        let at = seen["last_used_at"].as_i64().unwrap();
        assert!(
            (crate::support::machine::now_ms() - at).abs() < 60_000,
            "{seen}"
        );
    }
    let ends = |id: &str| used(id)["expires_at"].as_i64().unwrap();
    assert!(ends(&old) < ends(&new));
    // What the old one asked for in its time is signed after it, too, like everything else that was accepted.

    std::thread::sleep(OVERLAP.saturating_sub(begun.elapsed()) + Duration::from_millis(200));
    let before = site.standing();
    let last = used(&old)["last_used_at"].clone();
    let late = by(&site, "old.key", "late.example.com");
    let problem = site.refused(&late, 401, "credential-invalid");
    assert!(problem.to_string().contains("expired"), "{problem}");
    // Somebody who goes on trying with it is seen as well.
    let tried = used(&old);
    assert_eq!(tried["last_used_for"], "refused: credential-invalid");
    assert!(tried["last_used_at"].as_i64() > last.as_i64(), "{tried}");
    assert_eq!(before, site.standing());
    site.carried_out(&new_signed, "overlap-new.example.com");
    // The new one goes on, until somebody ends it.
    let revoked = site.json(&["key", "revoke", &new, "--passkey", OWNER]);
    site.approve(&revoked);
    let problem = site.refused(
        &by(&site, "new.key", "x.example.com"),
        401,
        "credential-invalid",
    );
    assert!(problem.to_string().contains("revoked"), "{problem}");
    site.works("after-overlap.example.com");
}

#[test]
fn a_key_without_an_end_or_with_one_too_far_away_is_not_admitted() {
    let site = Site::new();
    for expires in ["0s", "100000d", "never", "-1d"] {
        let create = [
            "key", "create", "endless", "--grant", "operator", "--out", "e.key",
        ];
        let end = [format!("--expires={expires}")];
        let end: Vec<&str> = end.iter().map(String::as_str).collect();
        let asked = ["--passkey", OWNER, "--data", "eim"];
        let ran = site.folder.run(&[&create[..], &end, &asked].concat());
        assert_ne!(ran.status, 0, "{expires}: {}", ran.out);
        assert!(
            !site.folder.path("e.key").exists(),
            "{expires}: it is good for nothing"
        );
    }
}

#[test]
fn a_key_out_of_its_fleet_or_role_is_stopped_at_its_grants() {
    let site = Site::new();
    site.admit("meters", "meters.key", &["--grant", "operator:meters"]);
    site.admit("reader", "reader.key", &["--grant", "viewer"]);
    let before = site.standing();
    site.refused(
        &by(&site, "meters.key", "a.example.com"),
        403,
        "out-of-scope",
    );
    site.refused(
        &by(&site, "reader.key", "a.example.com"),
        403,
        "role-refused",
    );
    // Nor does it give itself more.
    for arguments in [
        &[
            "key",
            "create",
            "more",
            "--grant",
            "operator",
            "--key",
            "meters.key",
        ][..],
        &[
            "person",
            "grant",
            "meters",
            "--grant",
            "operator",
            "--key",
            "meters.key",
        ],
        &[
            "device",
            "retire",
            &site.eid.to_string(),
            "--key",
            "meters.key",
        ],
        &["policy", "show", "--help"],
    ] {
        let ran = site.folder.run(&[arguments, &["--data", "eim"]].concat());
        let is_harmless = arguments[0] == "policy";
        assert_eq!(
            ran.status == 0,
            is_harmless,
            "{arguments:?}: {}{}",
            ran.out,
            ran.err
        );
    }
    site.nothing_came_of_it(&before);
    site.works("after-fleet.example.com");
}

#[test]
fn a_key_out_of_its_network_is_stopped_whatever_the_request_says_of_itself() {
    let site = Site::new();
    let networks = ["--grant", "operator", "--network", "192.0.2.0/24"];
    site.admit("office", "office.key", &networks);
    let before = site.standing();
    let signed = by(&site, "office.key", "a.example.com");
    let problem = site.refused(&signed, 403, "network-refused");
    assert!(
        problem.to_string().contains("192.0.2.0/24 only"),
        "{problem}"
    );
    // In an envelope that claims to come from there.
    let body = serde_json::json!({
        "intent": signed.octets,
        "proof": intent::Proof::HttpSignature(signed.proof),
        "network": "192.0.2.7",
    });
    let answer = site.front().post("/v1/intents", &body.to_string()).unwrap();
    is_refused(&answer, 403, "network-refused");
    site.nothing_came_of_it(&before);
    site.works("after-network.example.com");
}

#[test]
fn a_key_for_the_host_itself_works_over_the_control_socket() {
    let site = Site::new();
    let networks = ["--grant", "operator", "--network", "127.0.0.0/8"];
    site.admit("local", "local.key", &networks);
    let signed = by(&site, "local.key", "local.example.com");
    site.accepted(&signed);
    site.carried_out(&signed, "local.example.com");
}

#[test]
fn a_key_that_nobody_admitted_is_stopped_as_unknown() {
    let site = Site::new();
    let before = site.standing();
    // Asked for by one owner, approved by nobody.
    let create = [
        "key", "create", "new", "--out", "new.key", "--grant", "operator",
    ];
    let asked = site.json(&[&create[..], &["--passkey", OWNER]].concat());
    assert_eq!(asked["intent"]["state"], "waiting", "{asked}");
    site.refused(
        &by(&site, "new.key", "a.example.com"),
        401,
        "credential-unknown",
    );
    // A machine admits no other without an approval either.
    let create = [
        "key",
        "create",
        "other",
        "--out",
        "other.key",
        "--grant",
        "operator",
    ];
    let asked = site.folder.run(
        &[
            &create[..],
            &["--key", KEY, "--data", "eim", "--output", "json"],
        ]
        .concat(),
    );
    if asked.status == 0 {
        assert!(asked.out.contains("waiting"), "{}", asked.out);
        site.refused(
            &by(&site, "other.key", "a.example.com"),
            401,
            "credential-unknown",
        );
    }
    site.nothing_came_of_it(&before);
    site.works("after-unknown.example.com");
}

#[test]
fn an_owner_alone_neither_stops_the_other_one_nor_makes_a_second_person() {
    let site = Site::new();
    // Alice's passkey is in the wrong hands. Freezing needs no approval, but would leave nobody to do something about it.
    let freeze = ["freeze", "principal", "bob", "--passkey", OWNER];
    let ran = site.folder.run(&[&freeze[..], &["--data", "eim"]].concat());
    assert_ne!(ran.status, 0, "{}", ran.out);
    let told = format!("{}{}", ran.out, ran.err);
    assert!(told.contains("freeze everything"), "{told}");
    let alone = |arguments: &[&str]| {
        let asked = site.json(&[arguments, &["--passkey", OWNER]].concat());
        let intent = asked
            .get("intent")
            .filter(|intent| intent.get("state").is_some());
        let state = &intent.unwrap_or(&asked)["state"];
        assert_eq!(state, "waiting", "{arguments:?}: {asked}");
    };
    // The second person is admitted without an approval only while nobody else could approve.
    alone(&["person", "invite", "mallory", "--grant", "owner"]);
    // Nor does another passkey for bob, other grants for him, or his end go without somebody else.
    alone(&["person", "revoke", "bob"]);
    alone(&["person", "grant", "bob", "--grant", "viewer"]);
    let policy = site.folder.ok(&["policy", "show", "--data", "eim"]);
    std::fs::write(
        site.folder.path("none.toml"),
        policy.replace("approvers = 1", "approvers = 0"),
    )
    .unwrap();
    alone(&["policy", "set", "none.toml"]);
    let before = site.standing();
    site.nothing_came_of_it(&before);
    site.works("after-alone.example.com");
}
