//! People, machines and the authority, from the command line.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{
    Folder, KEY, OWNER, Server, enrol, owner_code, prepared, prepared_with, start_eim,
    start_eim_alone, tls_identity,
};

const ICCID: &str = "89000123456789012341";
pub(crate) const BOB: &str = "bob.json";

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--data", "eim"]].concat()
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    folder.json(&with(arguments))
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

/// An eIM with the policy that installations begin with, and two owners.
pub(crate) fn two_people() -> (Folder, String, Server) {
    let (folder, eid) = prepared_with(&["--insecure-software-passkeys"]);
    let server = start_eim_alone(&folder, &[], &[]);
    enrol(&folder, &owner_code(&folder), "alice", OWNER);
    // Nobody else could approve, so the second person needs no approval.
    let invite = ["person", "invite", "bob", "--grant", "owner"];
    let invited = json(&folder, &[&invite[..], &["--passkey", OWNER]].concat());
    assert_eq!(invited["intent"]["state"], "done", "{invited}");
    enrol(&folder, invited["code"].as_str().unwrap(), "bob", BOB);
    (folder, eid, server)
}

#[test]
fn the_owners_code_works_once_and_for_nobody_who_guesses() {
    let (folder, _) = prepared();
    let _server = start_eim_alone(&folder, &[], &[]);
    let code = owner_code(&folder);
    let enrolment = |code: &str, file: &str| {
        let enrol = ["enrol", "--code", code, "--name", "mallory"];
        folder.run(&with(&[&enrol[..], &["--software-passkey", file]].concat()))
    };
    enrolment("0000-0000-0000-0000-0000-0000-0000-0000", "m.json").refused(1, &["code"]);
    assert!(!folder.path("m.json").exists(), "it is good for nothing");
    enrol(&folder, &code, "alice", OWNER);
    enrolment(&code, "m.json").refused(1, &["code"]);
    let known = json(&folder, &["key", "list"]);
    let names: Vec<&str> = known
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"alice") && !names.contains(&"mallory"),
        "{names:?}"
    );
}

#[test]
fn without_a_key_nothing_changes_and_reading_needs_none() {
    let (folder, eid) = prepared();
    let _server = start_eim(&folder);
    fs::rename(folder.path(KEY), folder.path("elsewhere.key")).unwrap();
    folder
        .run(&with(&["device", "register", &eid]))
        .refused(1, &["--key", "palisade enrol", "palisade key create"]);
    folder.ok(&with(&["device", "list"]));
    folder.ok(&with(&[
        "device",
        "register",
        &eid,
        "--key",
        "elsewhere.key",
    ]));
}

#[test]
fn a_second_person_approves_what_the_policy_asks_for() {
    let (folder, eid, _server) = two_people();
    json(&folder, &["device", "register", &eid, "--passkey", OWNER]);

    // Deleting needs somebody else; the command says so and ends well.
    let delete = ["profile", "delete", &eid, ICCID, "--passkey", OWNER];
    let said = folder.ok(&with(&delete));
    assert!(
        said.contains("0 of 1 approvals") && said.contains("palisade intent approve"),
        "{said}"
    );
    let waiting = json(&folder, &["intent", "list", "--state", "waiting"]);
    let intent = id(&waiting[0]).to_owned();
    assert!(waiting[0]["operations"].is_null());
    let approve =
        |passkey: &str| folder.run(&with(&["intent", "approve", &intent, "--passkey", passkey]));
    approve(OWNER).refused(1, &["approve"]);
    let approved = approve(BOB);
    assert_eq!(approved.status, 0, "{}", approved.err);
    // What is approved is shown first.
    assert!(
        approved.err.contains(ICCID) && approved.err.contains("alice"),
        "{}",
        approved.err
    );
    let shown = json(&folder, &["intent", "show", &intent]);
    assert_eq!(shown["state"], "approved", "{shown}");
    assert_eq!(shown["approved_by"], serde_json::json!(["bob"]));
    assert_eq!(shown["operations"][0]["state"], "queued");
    approve(BOB).refused(1, &["approved this already"]);

    // What was rejected stays so.
    let again = json(&folder, &delete);
    folder.ok(&with(&["intent", "reject", id(&again), "--passkey", BOB]));
    let rejected = json(&folder, &["intent", "show", id(&again)]);
    assert_eq!(rejected["state"], "rejected");
    assert_eq!(rejected["operations"], serde_json::json!([]));
}

#[test]
fn machines_have_keys_that_turn_and_end() {
    let (folder, eid) = prepared();
    let _server = start_eim(&folder);
    folder.ok(&with(&["device", "register", &eid]));
    let listed = folder.ok(&with(&["key", "list"]));
    assert!(
        listed.contains("ci") && listed.contains("operator of all") && listed.contains("register"),
        "what it may do, and what it did last: {listed}"
    );
    let mode = fs::metadata(folder.path(KEY)).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );

    // The machine has itself given another key; both work until the overlap ends.
    let rotated = json(
        &folder,
        &["key", "rotate", "ci", "--overlap", "1h", "--out", "new.key"],
    );
    for key in [KEY, "new.key"] {
        folder.ok(&with(&["profile", "rat", &eid, "--key", key]));
    }
    let old = json(&folder, &["key", "list", "--all"]);
    let ci = old
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "ci")
        .unwrap();
    let new_id = rotated["key_id"].as_str().unwrap();
    let old_id = ci["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .find(|id| *id != new_id)
        .unwrap();
    folder.ok(&with(&["key", "revoke", old_id, "--passkey", OWNER]));
    // On the very next call.
    folder
        .run(&with(&["profile", "rat", &eid, "--key", KEY]))
        .refused(1, &["revoked"]);
    folder.ok(&with(&["profile", "rat", &eid, "--key", "new.key"]));

    // A machine does no more than its grants say.
    let create = ["key", "create", "reader", "--grant", "operator:elsewhere"];
    folder.ok(&with(&[&create[..], &["--passkey", OWNER]].concat()));
    folder
        .run(&with(&["profile", "rat", &eid, "--key", "reader.key"]))
        .refused(1, &["fleet"]);
    let create = ["key", "create", "boss", "--grant", "owner"];
    folder
        .run(&with(&[&create[..], &["--passkey", OWNER]].concat()))
        .refused(1, &["for people"]);
    assert!(!folder.path("boss.key").exists());
}

#[test]
fn a_token_reads_and_never_changes_anything() {
    let (folder, _) = prepared();
    let _server = start_eim(&folder);
    let made = json(
        &folder,
        &[
            "token",
            "create",
            "grafana",
            "--grant",
            "viewer",
            "--passkey",
            OWNER,
        ],
    );
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("plsd_r_"));
    let check = |token: &str| {
        let command = with(&["token", "check", "-"]);
        folder.run_with(&command, &[], token.as_bytes())
    };
    assert!(check(token).out.contains("good"));
    check(&token.replace(|c: char| c.is_ascii_digit(), "0")).refused(1, &["checksum"]);
    let ask = |method: &str, token: &str| {
        let field = format!("Authorization: Bearer {token}\r\n");
        raw(&folder, method, "/v1/devices", &field)
    };
    assert_eq!(ask("GET", token), 200);
    assert_eq!(ask("POST", token), 403);
    assert_eq!(ask("GET", "nonsense"), 401);
    folder.ok(&with(&[
        "token",
        "revoke",
        made["id"].as_str().unwrap(),
        "--passkey",
        OWNER,
    ]));
    assert_eq!(check(token).status, 1);
    assert_eq!(ask("GET", token), 401);
}

/// A request by hand; gives the status.
fn raw(folder: &Folder, method: &str, path: &str, fields: &str) -> u16 {
    use std::io::{Read, Write};
    let socket = folder.path("eim/control.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn freezing_is_quick_and_thawing_needs_two() {
    let (folder, eid, server) = two_people();
    json(&folder, &["device", "register", &eid, "--passkey", OWNER]);
    let freeze = ["freeze", "everything", "--passkey", OWNER];
    assert_eq!(json(&folder, &freeze)["state"], "done");
    let shown = folder.run(&with(&["policy", "show"]));
    assert!(shown.err.contains("frozen: everything"), "{}", shown.err);
    // The key from the safe passes, and says so in the record.
    let key = ["--key", "break-glass.key"];
    let forced = json(&folder, &[&["profile", "rat", &eid][..], &key].concat());
    assert_eq!(forced["state"], "approved", "{forced}");
    let thaw = json(&folder, &["thaw", "everything", "--passkey", OWNER]);
    assert_eq!(thaw["state"], "waiting", "{thaw}");
    let thawed = json(&folder, &["intent", "approve", id(&thaw), "--passkey", BOB]);
    assert_eq!(thawed["state"], "done", "{thawed}");
    assert_eq!(folder.run(&with(&["policy", "show"])).err, "");
    assert_eq!(server.terminate().0, Some(0));
    let incidents = kinds(&folder)
        .into_iter()
        .filter(|kind| kind == "incident.raised");
    assert!(incidents.count() >= 1);
}

/// What is in the record, from its files.
fn kinds(folder: &Folder) -> Vec<String> {
    let verified = folder.json(&with(&["ledger", "verify"]));
    assert_eq!(verified["good"], true, "{verified}");
    (0..)
        .map_while(|number: u64| {
            let ran = folder.run(&with(&["ledger", "show", &number.to_string()]));
            let entry: Value = serde_json::from_str(&ran.out).ok()?;
            entry["kind"].as_str().map(str::to_owned)
        })
        .collect()
}

#[test]
fn the_policy_is_replaced_with_an_approval_and_then_holds() {
    let (folder, eid, _server) = two_people();
    json(&folder, &["device", "register", &eid, "--passkey", OWNER]);
    let policy = folder.ok(&with(&["policy", "show"]));
    let changed = policy.replace("all_per_day = 200000", "all_per_day = 5");
    assert_ne!(policy, changed, "{policy}");
    let only = "[downloads]\nsmdp_addresses = [\"smdp.example.com\"]\n";
    let changed = changed.replace("[downloads]\n", only);
    fs::write(folder.path("policy.toml"), &changed).unwrap();
    let difference = folder.ok(&with(&["policy", "diff", "policy.toml"]));
    assert!(
        difference.contains("~ quotas.all_per_day: 200000 -> 5")
            && difference.contains("+ downloads.smdp_addresses"),
        "{difference}"
    );
    let asked = json(
        &folder,
        &["policy", "set", "policy.toml", "--passkey", OWNER],
    );
    assert_eq!(asked["state"], "waiting");
    let approved = json(
        &folder,
        &["intent", "approve", id(&asked), "--passkey", BOB],
    );
    assert_eq!(approved["state"], "done", "{approved}");
    assert_eq!(
        folder.ok(&with(&["policy", "diff", "policy.toml"])),
        "no difference\n"
    );
    let download = |code: &str| {
        let download = ["profile", "download", &eid, "--activation-code", code];
        folder.run(&with(&[&download[..], &["--passkey", OWNER]].concat()))
    };
    download("1$elsewhere.example.com$A").refused(1, &["elsewhere.example.com"]);
    assert_eq!(download("1$smdp.example.com$A").status, 0);
}

#[test]
fn the_record_is_verified_and_proven_without_a_server() {
    let (folder, eid) = prepared();
    let server = start_eim(&folder);
    folder.ok(&with(&["device", "register", &eid]));
    folder.ok(&with(&[
        "device",
        "history",
        &eid,
        "--proof",
        "history.json",
    ]));
    let shown = folder.ok(&with(&["device", "history", &eid]));
    assert!(
        shown.contains("device.registered") && shown.contains("principal:ci"),
        "{shown}"
    );
    assert_eq!(server.terminate().0, Some(0));

    let verified = folder.ok(&with(&["ledger", "verify"]));
    assert!(verified.starts_with("good: "), "{verified}");
    folder.ok(&with(&["ledger", "prove", "0", "--out", "genesis.json"]));
    // Elsewhere, with nothing but the public key.
    fs::copy(folder.path("eim/authority/ledger.pub"), folder.path("pub")).unwrap();
    for bundle in ["history.json", "genesis.json"] {
        let checked = folder.ok(&["ledger", "check-bundle", bundle, "--key", "pub"]);
        assert!(checked.contains("PROVEN"), "{checked}");
        let forged = fs::read_to_string(folder.path(bundle)).unwrap();
        // One character of an entry.
        let middle = forged.len() / 3;
        let mut octets = forged.into_bytes();
        octets[middle] = if octets[middle] == b'A' { b'B' } else { b'A' };
        fs::write(folder.path("forged.json"), octets).unwrap();
        let ran = folder.run(&["ledger", "check-bundle", "forged.json", "--key", "pub"]);
        assert_eq!(ran.status, 1, "{}", ran.out);
    }
    // A flipped bit in the record is named, and the authority does not run on it.
    for tile in files(&folder.path("eim/authority/ledger/tile/entries")) {
        let mut octets = fs::read(&tile).unwrap();
        octets[40] ^= 1;
        fs::write(&tile, octets).unwrap();
    }
    assert_eq!(folder.run(&with(&["ledger", "verify"])).status, 1);
    folder
        .run(&["serve", "--data", "eim", "--listen", "127.0.0.1:0"])
        .refused(1, &["does not add up", "entry 0", "Nothing can be signed"]);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_rolled_back_disk_is_refused_by_name() {
    let (folder, eid) = prepared();
    let server = start_eim(&folder);
    assert_eq!(server.terminate().0, Some(0));
    copy(&folder.path("eim/authority"), &folder.path("backup"));
    let server = start_eim(&folder);
    folder.ok(&with(&["device", "register", &eid]));
    assert_eq!(server.terminate().0, Some(0));
    fs::remove_dir_all(folder.path("eim/authority")).unwrap();
    copy(&folder.path("backup"), &folder.path("eim/authority"));
    folder
        .run(&["serve", "--data", "eim", "--listen", "127.0.0.1:0"])
        .refused(1, &["rolled back", "Nothing can be signed"]);
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}

#[test]
fn the_authority_comes_back_when_it_is_killed() {
    let (folder, eid) = prepared();
    let server = start_eim(&folder);
    let pid = |folder: &Folder| {
        json(folder, &["eim", "status"])["authority"]["pid"]
            .as_u64()
            .map(|pid| pid.to_string())
    };
    let first = pid(&folder).unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &first])
        .status()
        .unwrap();
    assert!(killed.success());
    let begun = std::time::Instant::now();
    while pid(&folder).is_none_or(|pid| pid == first) {
        assert!(begun.elapsed().as_secs() < 30, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    folder.ok(&with(&["device", "register", &eid]));
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("nothing is signed until it is back"), "{log}");
}

#[test]
fn a_data_folder_of_an_earlier_version_is_adopted() {
    let folder = Folder::new();
    folder.ok(&["pki", "new", "-d", "pki"]);
    let init = [
        "init",
        "--data",
        "eim",
        "--pki",
        "pki",
        "--fqdn",
        "localhost:8443",
    ];
    folder.ok(&init);
    // As `eim init` left it: no authority, and the signing key among those of the eIM.
    let key = fs::read(folder.path("eim/authority/keys/eim-signing.pem")).unwrap();
    fs::remove_dir_all(folder.path("eim/authority")).unwrap();
    fs::remove_file(folder.path("break-glass.key")).unwrap();
    let old = folder.path("eim/keys/eim-signing.pem");
    fs::write(&old, &key).unwrap();
    fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    folder
        .run(&init)
        .refused(1, &["leave --fqdn and --pki out"]);
    let made = folder.json(&["init", "--data", "eim", "--insecure-no-approvals"]);
    assert_eq!(made["fqdn"], "localhost:8443");
    assert!(!old.exists(), "the key moved");
    let moved = fs::read(folder.path("eim/authority/keys/eim-signing.pem")).unwrap();
    assert_eq!(moved, key);
    let _server = start_eim_alone(&folder, &[], &[]);
    enrol(&folder, made["code"].as_str().unwrap(), "alice", OWNER);
}

#[test]
fn an_authority_elsewhere_is_asked_over_mutual_tls() {
    let (folder, eid) = prepared();
    tls_identity(&folder, "authority-tls");
    let authority = |name: &str| format!("eim/authority/{name}");
    for (from, to) in [
        ("authority-tls.pem", "authority-tls.pem"),
        ("authority-tls.key", "keys/authority-tls.pem"),
        ("pki/tls-ca.der", "client-ca.der"),
    ] {
        fs::copy(folder.path(from), folder.path(&authority(to))).unwrap();
    }
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    append(
        &folder.path(&authority("palisade.toml")),
        &format!("listen = \"127.0.0.1:{port}\"\nclient_ca = \"client-ca.der\"\n"),
    );
    append(
        &folder.path("eim/palisade.toml"),
        &format!(
            "\n[authority]\naddress = \"localhost:{port}\"\nserver_ca = \"../pki/tls-ca.der\"\n\
             client_certificate = \"../pki/es2-client.der\"\nclient_key = \"../pki/es2-client.key.pem\"\n"
        ),
    );
    let alone = folder.spawn(&["authority", "--data", "eim/authority"]);
    alone.await_log("the authority is ready");
    let eim = start_eim(&folder);
    folder.ok(&with(&["device", "register", &eid]));
    // Whoever shows no certificate is not heard.
    let stranger = std::process::Command::new("curl")
        .args(["-sk", "--max-time", "5", "-o", "/dev/null"])
        .arg(format!("https://localhost:{port}/v1/status"))
        .status();
    if let Ok(status) = stranger {
        assert!(!status.success(), "a stranger was served");
    }
    // The authority goes away and comes back; the eIM waits for it.
    assert_eq!(alone.terminate().0, Some(0));
    folder
        .run(&with(&["device", "retire", &eid]))
        .refused(1, &["authority"]);
    let alone = folder.spawn(&["authority", "--data", "eim/authority"]);
    alone.await_log("the authority is ready");
    folder.ok(&with(&["device", "retire", &eid]));
    assert_eq!(eim.terminate().0, Some(0));
    assert_eq!(alone.terminate().0, Some(0));
}

pub(crate) fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, before + text).unwrap();
}
