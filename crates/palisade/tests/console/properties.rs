//! The API against what its description promises: requests made from the description, good and bad, by schemathesis.
//!
//! `scripts/test-services` puts it below `target`; `SCHEMATHESIS` names another one.

use std::process::Command;

use serde_json::json;

use crate::cli::{OWNER, enrol, owner_code};
use crate::program::{Program, SESSION};
use crate::site::Site;
use crate::support::eid;

/// Streams, and what ends the session that asks.
const LEFT_OUT: &[&str] = &["/events", "/sessions", "/sessions/{id}"];

#[test]
fn no_request_breaks_the_server_or_is_answered_in_a_way_that_nobody_described() {
    let site = Site::new(&["--insecure-no-approvals"]);
    enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
    for number in 0..3 {
        let eid = eid(number).to_string();
        let register = [
            "device",
            "register",
            &eid,
            "--data",
            "eim",
            "--passkey",
            OWNER,
        ];
        site.folder.ok(&register);
    }
    let program = Program::new(&site);
    program.sign_in(&site, OWNER);
    let tagged = format!("/api/v1/devices/{}/tags", eid(0));
    program.post(&tagged, &json!({ "set": ["site=hamburg"] }));

    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let below_target = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/schemathesis/bin/schemathesis"
    );
    let tool = std::env::var_os("SCHEMATHESIS").unwrap_or_else(|| below_target.into());
    let mut command = Command::new(tool);
    command
        .current_dir(site.folder.path("."))
        .args(["run", description, "--url", &format!("{}/api/v1", site.origin)])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "7"])
        .args(["--suppress-health-check", "all", "--request-timeout", "30", "--workers", "1"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .args(["--header", &format!("Origin: {}", site.origin)])
        .args(["--header", &format!("Cookie: {SESSION}={}", program.session().unwrap())])
        .args(["--tls-verify", "tls-ca.pem"]);
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    let root = std::fs::read(site.folder.path("pki/tls-ca.der")).unwrap();
    std::fs::write(site.folder.path("tls-ca.pem"), pem(&root)).unwrap();
    let output = command.output().unwrap_or_else(|error| {
        panic!("schemathesis cannot be run ({error}); see scripts/test-services")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("No issues found"), "{said}");
    // Nobody was signed out on the way: what was tried was tried from inside.
    assert_eq!(program.get("/api/v1/devices").status, 200);
}

fn pem(der: &[u8]) -> String {
    pki::Certificate::from_der(der).unwrap().to_pem().unwrap()
}
