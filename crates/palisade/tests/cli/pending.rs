//! What is known of devices whose registration waits for approvals.

use std::fs;

use serde_json::Value;

use crate::authority::{BOB, two_people};
use crate::support::{Folder, OWNER};

const OTHER: &str = "89049032000000000000000000000163";

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    folder.json(&[arguments, &["--data", "eim"]].concat())
}

/// From now on, registering devices needs an approval.
fn demand_approvals(folder: &Folder) {
    let policy = folder.ok(&["policy", "show", "--data", "eim"]);
    let changed = policy.replacen("\"delete\"", "\"register-devices\",\"delete\"", 1);
    assert_ne!(policy, changed, "{policy}");
    fs::write(folder.path("policy.toml"), changed).unwrap();
    let asked = json(
        folder,
        &["policy", "set", "policy.toml", "--passkey", OWNER],
    );
    decide(folder, &asked, "approve");
}

fn decide(folder: &Folder, asked: &Value, decision: &str) -> Value {
    let id = asked["id"].as_str().unwrap();
    json(folder, &["intent", decision, id, "--passkey", BOB])
}

fn intent(folder: &Folder, asked: &Value) -> Value {
    json(folder, &["intent", "show", asked["id"].as_str().unwrap()])
}

fn device(folder: &Folder, eid: &str) -> Value {
    json(folder, &["device", "show", eid])
}

#[test]
fn what_is_known_of_a_device_is_there_once_its_registration_is_approved() {
    let (folder, eid, server) = two_people();
    demand_approvals(&folder);
    let certificates = [format!("pki/euicc-{eid}.der"), "pki/eum.der".to_owned()];
    let register = [
        "device",
        "register",
        &eid,
        "--label",
        "meter 17",
        "--association-token",
        "77",
        "--euicc-certificate",
        &certificates[0],
        "--eum-certificate",
        &certificates[1],
        "--passkey",
        OWNER,
        "--data",
        "eim",
    ];
    let said = folder.run(&register);
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(
        said.out.contains("waits") && said.err.contains("are kept"),
        "{}{}",
        said.out,
        said.err
    );
    let waiting = json(&folder, &["intent", "list", "--state", "waiting"]);
    let asked = waiting[0].clone();
    assert_eq!(intent(&folder, &asked)["pending_data"], 1);
    let unknown = ["device", "show", &eid, "--data", "eim"];
    folder.run(&unknown).refused(1, &["no device"]);
    // It survives a power cut.
    server.kill();
    let server = crate::support::start_eim_alone(&folder, &[], &[]);
    assert_eq!(decide(&folder, &asked, "approve")["state"], "done");
    let shown = device(&folder, &eid);
    assert_eq!(shown["label"], "meter 17", "{shown}");
    assert_eq!(shown["certificates_known"], true, "{shown}");
    assert_eq!(shown["association_token_known"], true, "{shown}");
    assert!(intent(&folder, &asked)["pending_data"].is_null());
    // Who gave it stands in the events of the device.
    let events = json(&folder, &["device", "events", &eid]);
    let kinds: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["device-registered", "device-enriched"]);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn what_is_known_of_a_device_is_forgotten_when_its_registration_is_refused() {
    let (folder, eid, _server) = two_people();
    demand_approvals(&folder);
    let register = |more: &[&str]| {
        let register = [
            "device",
            "register",
            &eid,
            "--label",
            "wrong",
            "--passkey",
            OWNER,
        ];
        json(&folder, &[&register[..], more].concat())
    };
    // Rejected by somebody else, withdrawn, and too late.
    let rejected = register(&[]);
    assert_eq!(intent(&folder, &rejected)["pending_data"], 1);
    decide(&folder, &rejected, "reject");
    assert!(intent(&folder, &rejected)["pending_data"].is_null());
    let withdrawn = register(&[]);
    let cancel = ["intent", "cancel", withdrawn["id"].as_str().unwrap()];
    json(&folder, &[&cancel[..], &["--passkey", OWNER]].concat());
    assert!(intent(&folder, &withdrawn)["pending_data"].is_null());
    let late = register(&["--lifetime", "1"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(intent(&folder, &late)["state"], "expired");

    // A registration after that has nothing of it.
    let asked = json(&folder, &["device", "register", &eid, "--passkey", OWNER]);
    decide(&folder, &asked, "approve");
    assert_eq!(device(&folder, &eid)["label"], "");
}

#[test]
fn a_file_of_devices_is_kept_with_its_labels_until_it_is_approved() {
    let (folder, eid, _server) = two_people();
    demand_approvals(&folder);
    let lines = format!("eid,label,association_token\n{eid},meter 1,5\n{OTHER},meter 2,\n");
    fs::write(folder.path("fleet.csv"), lines).unwrap();
    let import = ["device", "import", "fleet.csv", "--passkey", OWNER];
    let report = json(&folder, &import);
    assert_eq!(
        (&report["registered"], &report["data_kept"]),
        (&0.into(), &2.into()),
        "{report}"
    );
    let asked = report["waiting"].clone();
    assert_eq!(intent(&folder, &asked)["pending_data"], 2);
    decide(&folder, &asked, "approve");
    assert_eq!(device(&folder, &eid)["label"], "meter 1");
    assert_eq!(device(&folder, &eid)["association_token_known"], true);
    assert_eq!(device(&folder, OTHER)["label"], "meter 2");
    // What cannot be kept is told at once, for each device.
    let lines = format!(
        "eid,label\n89049032000000000000000000000260,{}\n",
        "x".repeat(300)
    );
    fs::write(folder.path("long.csv"), lines).unwrap();
    let import = [
        "device",
        "import",
        "long.csv",
        "--passkey",
        OWNER,
        "--data",
        "eim",
    ];
    let ran = folder.run(&import);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.out.contains("at most 200 characters"), "{}", ran.out);
}
