//! The eIM's database in the hands of somebody who can write it.

use std::process::Command as Process;

use intent::Command;
use intent::api::Account;
use serde_json::Value;

use crate::site::{LONG_MS, Site, set_address};
use crate::support::machine::Signed;

/// The id of the row that is put in: behind all others.
const FORGED: &str = "01ffffff-0000-7000-8000-000000000001";

/// Executes statements on the eIM's database while the eIM does not run.
fn forge(site: &mut Site, statements: &str) {
    const SCRIPT: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.executescript(sys.argv[2])
database.commit()";
    site.stop();
    let database = site.folder.path("eim/eim.sqlite");
    assert!(database.exists());
    let done = Process::new("python3")
        .args(["-c", SCRIPT])
        .arg(database)
        .arg(statements)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    site.start();
}

/// Statements that put in a copy of an operation with other values.
fn copy(operation: &str, changes: &str) -> String {
    format!(
        "CREATE TEMP TABLE forged AS SELECT * FROM operation WHERE id = '{operation}';
         UPDATE forged SET id = '{FORGED}', {changes};
         INSERT INTO operation SELECT * FROM forged;"
    )
}

/// An operation that is queued.
fn queued(site: &Site, address: &str) -> (Signed, String) {
    let signed = site.settings(address);
    site.accepted(&signed);
    let operation = signed.operation(&site.front());
    (signed, operation)
}

fn operation(site: &Site, id: &str) -> Value {
    site.front().read(&format!("/v1/operations/{id}"))
}

/// Asserts that an operation is not carried out, for this reason.
#[track_caller]
fn is_stopped(site: &Site, id: &str, words: &str) {
    let operation = operation(site, id);
    assert!(operation["request"].is_null(), "{operation}");
    assert!(operation["counter"].is_null(), "{operation}");
    let said = format!("{}{}", operation["held"], operation["outcome"]);
    assert!(said.contains(words), "{words}: {operation}");
}

#[test]
fn an_operation_put_into_the_database_is_stopped_at_the_authority() {
    let mut site = Site::new();
    let (real, id) = queued(&site, "real.example.com");
    site.carried_out(&real, "real.example.com");
    let before = site.standing();
    let unknown = intent::IntentId::of(b"nobody asked for this");
    let commands = r#"[{"command":"set-default-smdp","address":"forged.example.com"}]"#;
    let changes = format!(
        "intent = '{unknown}', commands = '{commands}', actor = 'principal:alice', state = 'queued',
         counter = NULL, request = NULL, result = NULL, outcome = NULL, eim_transaction_id = NULL,
         delivered_at = NULL, finished_at = NULL, recorded_at = NULL"
    );
    forge(&mut site, &copy(&id, &changes));
    assert_eq!(operation(&site, FORGED)["state"], "queued");
    site.nothing_came_of_it(&before);
    is_stopped(&site, FORGED, "refused by the authority: no such intent");
    site.works("after-row.example.com");
}

#[test]
fn commands_altered_after_approval_are_signed_as_they_were_asked_for() {
    let mut site = Site::new();
    let (signed, id) = queued(&site, "asked.example.com");
    forge(
        &mut site,
        &format!(
            "UPDATE operation SET commands = replace(commands, 'asked.', 'altered.'), actor = 'principal:alice' WHERE id = '{id}'"
        ),
    );
    assert!(
        operation(&site, &id)["commands"]
            .to_string()
            .contains("altered.example.com")
    );
    let polled = site.poll();
    // What was approved was done, and the record says who wanted it.
    assert_eq!(site.card()["default_smdp"], "asked.example.com", "{polled}");
    let packages = site.packages();
    assert_eq!(packages.len(), 1, "{packages:?}");
    let entry = packages[0]["body"]["account"]["intent"].as_u64().unwrap();
    let proposed = &site.record()[usize::try_from(entry).unwrap()];
    assert_eq!(proposed["actor"], "principal:ci", "{proposed}");
    assert!(
        proposed.to_string().contains(&signed.id.to_string()),
        "{proposed}"
    );
    site.works("after-altering.example.com");
}

#[test]
fn an_operation_extended_to_another_device_is_stopped_at_the_authority() {
    let mut site = Site::new();
    let other = crate::support::eid(6);
    site.register(&[other]);
    site.new_card("other", &other.to_string());
    site.poll_with("other");
    let (signed, id) = queued(&site, "one.example.com");
    forge(&mut site, &copy(&id, &format!("eid = '{other}'")));
    let before = site.packages().len();
    let polled = site.poll_with("other");
    let card = site.folder.json(&["euicc", "show", "-d", "other"]);
    assert!(card["default_smdp"].is_null(), "{card}\n{polled}");
    assert_eq!(site.packages().len(), before);
    is_stopped(&site, FORGED, "none of those that the intent is about");
    site.carried_out(&signed, "one.example.com");
}

#[test]
fn an_intent_that_waits_is_not_approved_by_a_row() {
    let mut site = Site::new();
    let waiting = site.waiting();
    let (_, id) = queued(&site, "real.example.com");
    site.poll();
    let before = site.standing();
    let changes = format!(
        "intent = '{waiting}', state = 'queued', counter = NULL, request = NULL, result = NULL, outcome = NULL,
         eim_transaction_id = NULL, delivered_at = NULL, finished_at = NULL, recorded_at = NULL"
    );
    forge(&mut site, &copy(&id, &changes));
    site.nothing_came_of_it(&before);
    is_stopped(&site, FORGED, "not-approved");
    let shown = site.front().read(&format!("/v1/intents/{waiting}"));
    assert_eq!(shown["state"], "waiting", "{shown}");
    site.works("after-waiting.example.com");
}

#[test]
fn somebody_elses_intent_under_a_row_is_signed_as_it_stands_and_only_once() {
    let mut site = Site::new();
    let (first, first_id) = queued(&site, "first.example.com");
    site.carried_out(&first, "first.example.com");
    let (second, second_id) = queued(&site, "second.example.com");
    // The new row is to pass for the old intent, which the database allows once the old row is gone.
    forge(
        &mut site,
        &format!(
            "DELETE FROM operation WHERE id = '{first_id}';
             UPDATE operation SET intent = '{}' WHERE id = '{second_id}';",
            first.id
        ),
    );
    let counters = |site: &Site| {
        let packages = site.packages();
        let counters = packages
            .iter()
            .map(|entry| entry["body"]["counter"].as_i64().unwrap());
        counters.collect::<Vec<_>>()
    };
    let before = counters(&site);
    site.poll();
    assert_eq!(counters(&site), before);
    assert_eq!(site.card()["default_smdp"], "first.example.com");
    let signed = site.sign(Account::Intent(second.id), site.eid).unwrap();
    assert!(
        !before.contains(&signed["counter"].as_i64().unwrap()),
        "{signed}"
    );
}

#[test]
fn people_keys_and_roles_are_nothing_that_the_database_could_say() {
    let mut site = Site::new();
    let (_, id) = queued(&site, "real.example.com");
    site.poll();
    let before = site.standing();
    // Whatever somebody puts there is asked by nobody.
    forge(
        &mut site,
        "CREATE TABLE credential (id TEXT, principal TEXT, role TEXT, public TEXT);
         CREATE TABLE principal (name TEXT, role TEXT);
         INSERT INTO principal VALUES ('mallory', 'owner');
         UPDATE device SET fleet = 'mine';",
    );
    assert!(!operation(&site, &id).is_null());
    let mallory = site.folder.path("mallory.key");
    let name = "mallory".parse().unwrap();
    let key = intent::key_file::ClientKey::generate(name, &mut crate::cli::Random);
    std::fs::write(&mallory, key.to_json().as_bytes()).unwrap();
    let commands = vec![set_address("mallory.example.com"), Command::GetRat];
    let asked = site
        .machine_with("mallory.key")
        .operate(site.eid, commands, LONG_MS);
    site.refused(&asked, 401, "credential-unknown");
    let known = site.front().read("/v1/principals");
    assert!(!known.to_string().contains("mallory"), "{known}");
    site.nothing_came_of_it(&before);
    site.works("after-role.example.com");
}

#[test]
fn a_database_that_was_rolled_back_is_stopped_at_the_counters_of_the_authority() {
    let mut site = Site::new();
    site.works("before.example.com");
    site.stop();
    let files = |folder: &str| site.folder.path(folder);
    let (database, backup) = (files("eim/eim.sqlite"), files("backup.sqlite"));
    std::fs::copy(&database, &backup).unwrap();
    site.start();
    site.works("between.example.com");
    site.works("newest.example.com");
    let before = site.packages();
    site.stop();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(site.folder.path(&format!("eim/eim.sqlite{suffix}")));
    }
    std::fs::copy(&backup, &database).unwrap();
    site.start();
    // What was carried out since stands in the queue again.
    for _ in 0..3 {
        site.poll();
    }
    assert_eq!(site.packages(), before);
    assert_eq!(site.card()["default_smdp"], "newest.example.com");
    site.works("after-rollback.example.com");
    let counters: Vec<i64> = site
        .record()
        .iter()
        .filter(|entry| entry["kind"] == "package.ordered")
        .map(|entry| entry["body"]["counter"].as_i64().unwrap())
        .collect();
    assert!(counters.is_sorted_by(|a, b| a < b), "{counters:?}");
}

#[test]
fn a_download_altered_after_approval_is_stopped_before_its_trigger_leaves() {
    let mut site = Site::new();
    // The connection proves itself by signed packages, as always.
    site.works("before.example.com");
    let eid = site.eid.to_string();
    let download = ["profile", "download", &eid, "--activation-code"];
    let code = ["1$smdp.example.com$REAL", "--key", crate::cli::KEY];
    let asked = site.json(&[&download[..], &code].concat());
    let id = asked["operations"][0]["id"].as_str().unwrap().to_owned();
    let other =
        r#"{"activation-code":{"smdp":"altered.example.com","code":"1$altered.example.com$MINE"}}"#;
    forge(
        &mut site,
        &format!(
            "UPDATE operation SET commands = '[{{\"command\":\"download\",\"source\":{other}}}]' WHERE id = '{id}'"
        ),
    );
    assert!(
        operation(&site, &id)["commands"]
            .to_string()
            .contains("altered.example.com")
    );
    let mut polled = String::new();
    for _ in 0..3 {
        polled += &site.poll();
    }
    assert!(!polled.contains("download begun"), "{polled}");
    assert_altered(&site, &id);
    site.works("after-download.example.com");
}

/// Commands that nobody asked for.
const DOWNLOAD: &str = r#"[{"command":"download","source":{"activation-code":{"smdp":"forged.example.com","code":"1$forged.example.com$MINE"}}}]"#;

/// Puts in a download for an intent that there is not, in this state; gives what the device says of its polls.
fn forged_download(site: &mut Site, state: &str) -> String {
    let (real, id) = queued(site, "real.example.com");
    site.carried_out(&real, "real.example.com");
    let unknown = intent::IntentId::of(b"nobody asked for this");
    let changes = format!(
        "intent = '{unknown}', commands = '{DOWNLOAD}', state = '{state}', eim_transaction_id = '0102030405060708',
         counter = NULL, request = NULL, result = NULL, outcome = NULL, finished_at = NULL, recorded_at = NULL"
    );
    forge(site, &copy(&id, &changes));
    (0..3).map(|_| site.poll()).collect()
}

#[test]
fn a_download_put_into_the_database_is_stopped_at_the_authority() {
    let mut site = Site::new();
    let polled = forged_download(&mut site, "queued");
    assert!(!polled.contains("forged.example.com"), "{polled}");
    is_stopped(&site, FORGED, "refused by the authority: no such intent");
    site.works("after-download.example.com");
}

#[test]
fn a_download_put_into_the_database_in_flight_is_stopped_at_the_authority() {
    let mut site = Site::new();
    let polled = forged_download(&mut site, "in-flight");
    assert!(!polled.contains("forged.example.com"), "{polled}");
    is_stopped(&site, FORGED, "refused by the authority: no such intent");
    site.works("after-download.example.com");
}

#[test]
fn a_reading_turned_into_a_download_is_stopped_before_its_trigger_leaves() {
    let mut site = Site::new();
    site.works("before.example.com");
    let items = vec![intent::command::DataItem::EuiccInfo1];
    let reading = vec![Command::ReadDeviceData { items }];
    let signed = site.machine().operate(site.eid, reading, LONG_MS);
    site.accepted(&signed);
    let id = signed.operation(&site.front());
    forge(
        &mut site,
        &format!("UPDATE operation SET commands = '{DOWNLOAD}' WHERE id = '{id}'"),
    );
    let polled: String = (0..3).map(|_| site.poll()).collect();
    assert!(!polled.contains("download begun"), "{polled}");
    assert_altered(&site, &id);
    site.works("after-reading.example.com");
}

/// The eIM compared the row with what the authority released.
fn assert_altered(site: &Site, id: &str) {
    let ended = operation(site, id);
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended.to_string().contains("somebody altered it"), "{ended}");
}
