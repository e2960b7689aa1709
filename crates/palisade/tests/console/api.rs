//! Systems at the API, over TLS, with what they can show.

use std::fs;

use http::Method;
use intent::http_signature::{RequestParts, TAG_INTENT, sign};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;
use serde_json::{Value, json};

use crate::cli::{OWNER, enrol, owner_code};
use crate::program::{Program, json as body};
use crate::site::Site;
use crate::support::eid;
use crate::support::machine::now_ms;

const MACHINE: &str = "machine.key";

fn site() -> Site {
    let site = Site::new(&["--insecure-no-approvals"]);
    enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
    site
}

/// Signs what a plan says and proposes it, unchanged.
fn propose(site: &Site, program: &Program, plan: &Value) -> Value {
    let id: intent::IntentId = plan["id"].as_str().unwrap().parse().unwrap();
    let path = site.folder.path(OWNER);
    let mut key = SoftwarePasskey::from_json(&fs::read_to_string(&path).unwrap(), None).unwrap();
    let assertion = key.assert(&program.origin, id.0.as_bytes()).unwrap();
    fs::write(&path, key.to_json().as_bytes()).unwrap();
    let credential = assertion.credential_id().unwrap();
    let mut proposal = json!({
        "intent": plan["intent"],
        "proof": { "type": "passkey", "credential": credential, "assertion": assertion },
    });
    for member in ["devices", "openings"] {
        if !plan[member].is_null() {
            proposal[member] = plan[member].clone();
        }
    }
    let answer = program.post("/api/v1/intents", &proposal);
    assert_eq!(answer.status, 201, "{}", body(&answer));
    body(&answer)
}

#[test]
fn what_is_planned_is_what_is_signed_and_done() {
    let site = site();
    let program = Program::new(&site);
    assert_eq!(program.get("/api/v1/devices").status, 401);
    assert_eq!(program.get("/api/v1/openapi.json").status, 401);
    program.sign_in(&site, OWNER);
    let described = program.get("/api/v1/openapi.json");
    let checked_in = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    assert_eq!(described.body, fs::read(checked_in).unwrap());

    let one = eid(1).to_string();
    let wanted = json!({ "fleet": "meters", "eids": [one] });
    assert_eq!(program.post("/api/v1/devices", &wanted).status, 403);
    let plan = body(&program.post("/api/v1/devices?plan=true", &wanted));
    assert_eq!(plan["tally"]["changes"], 1, "{plan}");
    assert_eq!(body(&program.get("/api/v1/devices"))["total"], 0);
    let status = propose(&site, &program, &plan);
    assert_eq!(
        (&status["id"], &status["state"]),
        (&plan["id"], &json!("done"))
    );
    let device = program.get(&format!("/api/v1/devices/{one}"));
    assert_eq!(body(&device)["fleet"], "meters");
    assert!(device.headers.contains_key("x-request-id"));

    // A secret in a plan is sealed, and opens on the eIM alone.
    let code = json!({ "activation_code": "1$smdp.example.com$SECRET-7" });
    let path = format!("/api/v1/devices/{one}/profiles?plan=true");
    let plan = body(&program.post(&path, &code));
    assert!(!plan["intent"].as_str().unwrap().contains("SECRET-7"));
    let status = propose(&site, &program, &plan);
    assert_eq!(status["state"], "approved");
    assert_eq!(status["operations"][0]["state"], "queued");
    let id = status["operations"][0]["id"].as_str().unwrap();
    let operation = program.get(&format!("/api/v1/operations/{id}"));
    assert!(!String::from_utf8_lossy(&operation.body).contains("SECRET-7"));
    // It can be withdrawn while no device has it.
    let cancel = format!(
        "/api/v1/intents/{}/cancellation?plan=true",
        plan["id"].as_str().unwrap()
    );
    let plan = body(&program.post(&cancel, &json!({})));
    propose(&site, &program, &plan);
    assert_eq!(
        body(&program.get(&format!("/api/v1/operations/{id}")))["state"],
        "cancelled"
    );
    // The record has all of it, with proofs.
    let history = program.get(&format!("/api/v1/devices/{one}/history"));
    assert_eq!(history.status, 200);
}

#[test]
fn machines_propose_with_a_signature_and_tokens_read_their_fleet() {
    let site = site();
    let owner = Program::new(&site);
    owner.sign_in(&site, OWNER);
    for (number, fleet) in [(1, "meters"), (2, "cars")] {
        let wanted = json!({ "fleet": fleet, "eids": [eid(number).to_string()] });
        let plan = body(&owner.post("/api/v1/devices?plan=true", &wanted));
        propose(&site, &owner, &plan);
    }

    // A token of one fleet sees that fleet.
    let token = site.folder.json(&[
        "token",
        "create",
        "reader",
        "--grant",
        "viewer:meters",
        "--data",
        "eim",
        "--passkey",
        OWNER,
    ]);
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let stranger = Program::new(&site);
    let read = |method: Method, path: &str| {
        let response = stranger.send(method, path, &[("authorization", &bearer)], "");
        (response.status, response)
    };
    let (status, devices) = read(Method::GET, "/api/v1/devices");
    assert_eq!(
        (status.as_u16(), &body(&devices)["total"]),
        (200, &json!(1))
    );
    let other = format!("/api/v1/devices/{}", eid(2));
    assert_eq!(read(Method::GET, &other).0, 404);
    assert_eq!(read(Method::GET, "/api/v1/policy").0, 403);
    assert_eq!(read(Method::POST, "/api/v1/plans").0, 403);

    // A machine needs no session: its request is the proof.
    site.folder.ok(&[
        "key",
        "create",
        "ci",
        "--grant",
        "operator:meters",
        "--out",
        MACHINE,
        "--data",
        "eim",
        "--passkey",
        OWNER,
    ]);
    let text = fs::read_to_string(site.folder.path(MACHINE)).unwrap();
    let key = ClientKey::from_json(&text).unwrap();
    let order = |number: u32| {
        let eid = eid(number).to_string();
        json!({ "devices": { "eids": [eid] }, "commands": [{ "command": "list-profiles" }] })
    };
    let send = |number: u32, path: &str| {
        let plan = body(&owner.post("/api/v1/operations?plan=true", &order(number)));
        let octets = plan["intent"].as_str().unwrap().to_owned();
        let request = RequestParts {
            method: "POST",
            path,
            query: None,
        };
        let nonce = plan["id"].as_str().unwrap();
        let proof = sign(
            &request,
            octets.as_bytes(),
            &key,
            now_ms() as u64 / 1000,
            nonce,
            TAG_INTENT,
        );
        let proof = proof.unwrap();
        let fields = [
            ("content-type", "application/json"),
            ("content-digest", proof.content_digest.as_str()),
            ("signature-input", proof.signature_input.as_str()),
            ("signature", proof.signature.as_str()),
        ];
        stranger.send(Method::POST, "/api/v1/intents", &fields, &octets)
    };
    let accepted = send(1, "/api/v1/intents");
    assert_eq!(accepted.status, 201, "{}", body(&accepted));
    assert_eq!(body(&accepted)["proposer"], "ci");
    // Whoever shows a proof sees nothing but the answer, and of that nothing about devices.
    assert_eq!(body(&accepted)["operations"], json!([]));
    // Another fleet, and a signature over another request.
    assert_eq!(body(&send(2, "/api/v1/intents"))["code"], "out-of-scope");
    assert_eq!(body(&send(1, "/api/v1/plans"))["code"], "proof-invalid");
}
