//! The measurements run and come to figures. Which figures, only a quiet machine and an optimised program can say.

use serde_json::Value;

use crate::support::Folder;

fn number(report: &Value, pointer: &str) -> f64 {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {report}"))
}

#[test]
fn the_eim_is_measured_against_its_floors() {
    let folder = Folder::new();
    let report = folder.ok(&[
        "bench",
        "esipa",
        "--devices",
        "40",
        "--connections",
        "4",
        "--seconds",
        "1",
        "--cycles",
        "20",
        "--directory",
        ".",
        "--json",
    ]);
    let report: Value = serde_json::from_str(&report).unwrap();
    for pointer in [
        "/polls/per_second",
        "/polls/ratio",
        "/polls/cpu_micros",
        "/polls/bare_cpu_micros",
        "/cycles/per_second",
        "/cycles/cpu_micros",
        "/cycles/sign_micros",
        "/cycles/verify_micros",
        "/cycles/ratio",
        "/cycles/first_cpu_micros",
        "/registration/per_second",
        "/memory/polled",
        "/disk_octets_per_device",
    ] {
        assert!(number(&report, pointer) > 0.0, "{pointer} in {report}");
    }
    assert_eq!(number(&report, "/set_up/devices"), 40.0);
    let left = std::fs::read_dir(folder.path(".")).unwrap().count();
    assert_eq!(left, 0, "the temporary database is gone");
}

#[test]
fn the_authority_is_measured_in_this_process_and_in_its_own() {
    let folder = Folder::new();
    let mut arguments = vec!["bench", "authority", "--devices", "4", "--seconds", "1"];
    arguments.extend(["--entries", "12000", "--directory", ".", "--json"]);
    let report: Value = serde_json::from_str(&folder.ok(&arguments)).unwrap();
    for place in ["in_process", "over_socket"] {
        for row in 0..7 {
            for figure in ["per_second", "floor_per_second", "ratio", "cpu_micros"] {
                let pointer = format!("/{place}/{row}/{figure}");
                assert!(number(&report, &pointer) > 0.0, "{pointer} in {report}");
            }
        }
    }
    for pointer in [
        "/verifying/ratio",
        "/record/append_median_micros",
        "/record/append_floor_micros",
        "/record/replay_per_second",
        "/record/restore_seconds",
        "/record/verify_per_second",
        "/record/hash_per_second",
    ] {
        assert!(number(&report, pointer) > 0.0, "{pointer} in {report}");
    }
    assert!(number(&report, "/record/entries") >= 12_000.0);
    let left = std::fs::read_dir(folder.path(".")).unwrap().count();
    assert_eq!(left, 0, "the temporary record is gone");
}

#[test]
fn every_message_is_measured_in_both_directions() {
    let folder = Folder::new();
    let table = folder.ok(&["bench", "codec", "--milliseconds", "1"]);
    for name in [
        "GetEimPackage request",
        "BoundProfilePackage",
        "ES9+ HandleNotification",
    ] {
        assert!(table.contains(name), "{name} in {table}");
    }
    assert!(!table.contains("NaN") && !table.contains("inf"), "{table}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = Folder::new();
    for arguments in [
        &["bench", "esipa", "--devices", "0"][..],
        &["bench", "esipa", "--connections", "0"],
        &["bench", "codec", "--milliseconds", "0"],
        &["bench", "authority", "--entries", "0"],
    ] {
        folder.run(arguments).refused(2, &["invalid value"]);
    }
    let help = folder.ok(&["bench", "--help"]);
    assert!(help.contains("esipa") && !help.contains("load"), "{help}");
}
