use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Folder, prepared, start_eim_in, start_eim_with};

#[test]
fn the_example_is_a_good_file() {
    let folder = Folder::new();
    fs::write(
        folder.path("palisade.toml"),
        folder.ok(&["config", "example"]),
    )
    .unwrap();
    let checked = folder.ok(&["config", "check", "palisade.toml"]);
    assert!(checked.contains("the file is good"), "{checked}");
    assert_eq!(
        folder.json(&["config", "check", "palisade.toml"])["eim_id"],
        "eim.example.com"
    );
}

#[test]
fn mistakes_are_shown_with_file_line_and_what_to_do() {
    let folder = Folder::new();
    let check = |text: &str| {
        fs::write(folder.path("x.toml"), text).unwrap();
        folder.run(&["config", "check", "x.toml"])
    };
    let advice = "palisade config example";
    check("[eim]\nid = \"a\"\nport = 1\n").refused(
        1,
        &[
            "x.toml",
            "line 3",
            "unknown field `port`",
            "port = 1",
            advice,
        ],
    );
    check("[eim\n").refused(1, &["x.toml", "line 1", advice]);
    check("[eim]\nlisten = \"8443\"\n").refused(1, &["x.toml", "line 2", "socket address", advice]);
    check("[eim]\nqueue_per_device_max = 0\n")
        .refused(1, &["eim.queue_per_device_max", "at least 1"]);
    folder
        .run(&["config", "check", "missing.toml"])
        .refused(1, &["missing.toml", advice]);
}

#[test]
fn insecure_settings_are_named() {
    let folder = Folder::new();
    fs::write(folder.path("x.toml"), "[eim]\ninsecure_no_flush = true\n").unwrap();
    let checked = folder.ok(&["config", "check", "x.toml"]);
    assert!(
        checked.contains("warning: insecure_no_flush") && checked.contains("power cut"),
        "{checked}"
    );
}

#[test]
fn flags_count_more_than_environment_and_that_more_than_the_file() {
    let (folder, _) = prepared();
    let file = folder.path("eim/palisade.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("localhost:8443", "file.example:1")).unwrap();
    let status = || folder.json(&["eim", "status", "--data", "eim"]);
    for (flags, environment, expected) in [
        (&[][..], &[][..], "file.example:1"),
        (
            &[],
            &[("PALISADE_FQDN", "environment.example:2")],
            "environment.example:2",
        ),
        (
            &["--fqdn", "flag.example:3"],
            &[("PALISADE_FQDN", "environment.example:2")],
            "flag.example:3",
        ),
    ] {
        let server = start_eim_in(&folder, flags, environment);
        assert_eq!(status()["fqdn"], expected);
        assert_eq!(server.terminate().0, Some(0));
    }
    // The data folder can be named by the environment, and a switch can be 1 or 0.
    let environment = [("PALISADE_INSECURE_NO_FLUSH", "1")];
    let server = start_eim_in(&folder, &[], &environment);
    assert_eq!(
        status()["insecure"],
        serde_json::json!(["insecure_no_flush"])
    );
    let ran = folder.run_with(&["eim", "status"], &[("PALISADE_DATA", "eim")], b"");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn each_insecure_option_is_warned_about_and_shown() {
    let (folder, _) = prepared();
    let server = start_eim_with(
        &folder,
        &[
            "--insecure-trust-any-connection",
            "--insecure-ignore-eum-name-constraints",
            "--insecure-no-flush",
        ],
    );
    let status = folder.json(&["eim", "status", "--data", "eim"]);
    let names = [
        "insecure_trust_any_connection",
        "insecure_ignore_eum_name_constraints",
        "insecure_no_flush",
    ];
    assert_eq!(status["insecure"], serde_json::json!(names));
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0));
    for name in names {
        let warned = log
            .lines()
            .any(|line| line.contains("WARN") && line.contains("INSECURE") && line.contains(name));
        assert!(warned, "no warning about {name}: {log}");
    }
}

#[test]
fn a_server_without_what_it_needs_says_what_to_do() {
    let folder = Folder::new();
    folder
        .run(&["serve", "--data", "none"])
        .refused(1, &["no data folder none", "palisade init --data none"]);

    folder.ok(&["init", "--data", "alone", "--fqdn", "eim.lab"]);
    folder
        .run(&["serve", "--data", "alone"])
        .refused(1, &["no CI certificate", "trust/euicc"]);
    fs::remove_dir_all(folder.path("alone/authority")).unwrap();
    folder
        .run(&["serve", "--data", "alone"])
        .refused(1, &["no authority in alone/authority", "palisade init"]);

    let (folder, _) = prepared();
    fs::set_permissions(folder.path("eim"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
        .run(&["serve", "--data", "eim"])
        .refused(1, &["mode 755", "chmod 700"]);
    fs::set_permissions(folder.path("eim"), fs::Permissions::from_mode(0o700)).unwrap();

    let key = folder.path("eim/authority/keys/eim-signing.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    folder
        .run(&["serve", "--data", "eim"])
        .refused(1, &["signing key", "chmod 600"]);
    fs::remove_file(&key).unwrap();
    folder
        .run(&["serve", "--data", "eim"])
        .refused(1, &["signing key", "No such file"]);
}

#[test]
fn initialising_never_replaces_anything() {
    let (folder, _) = prepared();
    let before = fs::read(folder.path("eim/authority/keys/eim-signing.pem")).unwrap();
    folder
        .run(&["init", "--data", "eim", "--pki", "pki", "--fqdn", "other:1"])
        .refused(1, &["there is an authority", "nothing is replaced"]);
    assert_eq!(
        fs::read(folder.path("eim/authority/keys/eim-signing.pem")).unwrap(),
        before
    );
    assert_eq!(
        fs::metadata(folder.path("eim"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}
