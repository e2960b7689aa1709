use axum::body::Body;
use axum::{Extension, Router};
use http::{Request, header};
use intent::{Action, DeviceSet, Role};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answered, NOW, World, eid, grant, session};

/// Somebody who operates meters and sees nothing else.
fn ada() -> Reader {
    session("ada", vec![grant(Role::Operator, Some("meters"))])
}

/// Somebody who sees everything.
fn olga() -> Reader {
    session("olga", vec![grant(Role::Owner, None)])
}

fn nobody() -> Reader {
    session("nora", Vec::new())
}

fn door(world: &World, reader: Reader) -> Router {
    Router::new()
        .nest("/api/v1", router())
        .layer(Extension(reader))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&world.console),
            trace,
        ))
        .with_state(Arc::clone(&world.console))
}

async fn get(world: &World, reader: Reader, path: &str) -> Answered {
    let request = Request::get(format!("/api/v1{path}")).body(Body::empty());
    world.ask(door(world, reader), request.unwrap()).await
}

async fn send(world: &World, reader: Reader, method: &str, path: &str, body: &Value) -> Answered {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()));
    world.ask(door(world, reader), request.unwrap()).await
}

fn eids(page: &Value) -> Vec<String> {
    let devices = page["devices"].as_array().unwrap().iter();
    devices
        .map(|device| device["eid"].as_str().unwrap().to_owned())
        .collect()
}

fn is_problem(answer: &Answered, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{}", answer.json);
    assert_eq!(
        answer.json["type"],
        format!("urn:palisade:problem:{word}"),
        "{}",
        answer.json
    );
    assert_eq!(
        answer.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    for member in ["title", "detail", "action"] {
        assert_ne!(answer.json[member].as_str().unwrap_or_default(), "");
    }
}

#[tokio::test]
async fn what_is_out_of_sight_does_not_exist() {
    let world = World::new().await;
    let mine = get(&world, ada(), "/devices").await;
    assert_eq!(eids(&mine.json).len(), 5, "{}", mine.json);
    assert_eq!(mine.json["total"], 5);
    let all = get(&world, olga(), "/devices").await;
    assert_eq!(eids(&all.json).len(), 8);
    let none = get(&world, nobody(), "/devices").await;
    assert_eq!(
        (eids(&none.json).len(), &none.json["total"]),
        (0, &0.into())
    );
    // By filter neither.
    for query in [
        "fleet=cars",
        "text=8904",
        "state=registered&order=registered",
    ] {
        let found = get(&world, ada(), &format!("/devices?{query}")).await;
        let cars = eid(10).to_string();
        assert!(!eids(&found.json).contains(&cars), "{query}");
    }

    let (theirs, missing) = (eid(10), eid(99));
    for below in [
        "",
        "/profiles",
        "/eims",
        "/notifications",
        "/events",
        "/operations",
        "/history",
        "/tags",
    ] {
        assert_eq!(
            get(&world, ada(), &format!("/devices/{}{below}", eid(0)))
                .await
                .status,
            200,
            "{below}"
        );
        let hidden = get(&world, ada(), &format!("/devices/{theirs}{below}")).await;
        is_problem(&hidden, 404, "device-unknown");
        let unknown = get(&world, ada(), &format!("/devices/{missing}{below}")).await;
        // The answer tells nothing but the EID that was asked for.
        let text = |answer: &Answered, eid| answer.json.to_string().replace(eid, "EID");
        assert_eq!(
            text(&hidden, &theirs.to_string()),
            text(&unknown, &missing.to_string()),
            "{below}"
        );
    }
    let changed = json!({ "set": ["site=x"] });
    let tags = format!("/devices/{theirs}/tags");
    is_problem(
        &send(&world, ada(), "POST", &tags, &changed).await,
        404,
        "device-unknown",
    );
}

#[tokio::test]
async fn people_policy_and_the_record_are_for_auditors() {
    let world = World::new().await;
    for path in [
        "/principals",
        "/policy",
        "/freezes",
        "/signing-keys",
        "/entries/0/proof",
        "/authority",
    ] {
        is_problem(&get(&world, ada(), path).await, 403, "auditors-only");
        assert_eq!(get(&world, olga(), path).await.status, 200, "{path}");
    }
    assert_eq!(get(&world, ada(), "/principals/ada").await.status, 200);
    is_problem(&get(&world, ada(), "/principals/bob").await, 404, "unknown");
    is_problem(&get(&world, ada(), "/principals/zoe").await, 404, "unknown");
    assert_eq!(
        get(&world, ada(), "/me").await.json["principal"]["name"],
        "ada"
    );
    let status = get(&world, ada(), "/status").await;
    assert_eq!(status.json["devices"], 5);
    assert!(status.json.get("data").is_none() && status.json.get("authority").is_none());
}

#[tokio::test]
async fn intents_are_seen_with_their_devices_or_by_who_proposed_them() {
    let world = World::new().await;
    let retire = |number| Action::RetireDevices {
        devices: DeviceSet::one(eid(number)),
    };
    let meters = world.authority.keep("bob", retire(0));
    let cars = world.authority.keep("bob", retire(10));
    let both = world.authority.keep(
        "bob",
        Action::RetireDevices {
            devices: DeviceSet::of(vec![eid(1), eid(11)]).unwrap().0,
        },
    );
    let own = world.authority.keep("ada", retire(12));
    let grants = world.authority.keep(
        "bob",
        Action::RevokePrincipal {
            name: "eve".parse().unwrap(),
        },
    );
    for (id, seen) in [
        (meters, true),
        (cars, false),
        (both, false),
        (own, true),
        (grants, false),
    ] {
        let answer = get(&world, ada(), &format!("/intents/{id}")).await;
        assert_eq!(answer.status == 200, seen, "{}", answer.json);
        if !seen {
            is_problem(&answer, 404, "unknown");
        }
        assert_eq!(
            get(&world, olga(), &format!("/intents/{id}")).await.status,
            200
        );
    }
    let page = get(&world, ada(), "/intents").await.json;
    let ids: Vec<&Value> = page["intents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&json!(own), &json!(meters)]);
    // What is hidden takes its place in the page, so that following it ends.
    let first = get(&world, ada(), "/intents?limit=2").await.json;
    assert_eq!(first["intents"].as_array().unwrap().len(), 1);
    let next = first["next"].as_str().unwrap();
    let second = get(&world, ada(), &format!("/intents?limit=2&before={next}"))
        .await
        .json;
    assert_eq!(second["intents"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let world = World::new().await;
    for order in ["eid", "registered", "last-poll"] {
        let mut seen = Vec::new();
        let mut path = format!("/devices?limit=3&order={order}");
        for _ in 0..9 {
            let page = get(&world, olga(), &path).await;
            assert_eq!(page.status, 200, "{}", page.json);
            seen.extend(eids(&page.json));
            let Some(next) = page.json["next"].as_str() else {
                break;
            };
            let link = page.headers[header::LINK].to_str().unwrap();
            let target = link.split(['<', '>']).nth(1).unwrap();
            assert!(
                target.contains(next) && link.contains("rel=\"next\""),
                "{link}"
            );
            path = target.strip_prefix("/api/v1").unwrap().to_owned();
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 8, "{order}");
    }
    let after = get(&world, olga(), &format!("/devices?after={}", eid(10))).await;
    assert_eq!(
        eids(&after.json),
        [eid(11).to_string(), eid(12).to_string()]
    );
    for bad in [
        "after=x",
        "after=e30",
        "limit=-1",
        "limit=many",
        "offset=1",
        "state=lost",
        "order=up",
    ] {
        is_problem(
            &get(&world, olga(), &format!("/devices?{bad}")).await,
            400,
            "invalid-request",
        );
    }
    let operations = cursor_of_another_list();
    is_problem(
        &get(&world, olga(), &format!("/devices?after={operations}")).await,
        400,
        "invalid-request",
    );
}

fn cursor_of_another_list() -> String {
    exchange::cursor("operations", &1)
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_what_to_do() {
    let world = World::new().await;
    is_problem(&get(&world, olga(), "/nothing").await, 404, "no-such-path");
    is_problem(
        &send(&world, olga(), "POST", "/status", &json!({})).await,
        405,
        "no-such-method",
    );
    is_problem(
        &get(&world, olga(), "/devices/123").await,
        400,
        "invalid-request",
    );
    is_problem(
        &send(&world, olga(), "POST", "/plans", &json!({ "x": 1 })).await,
        400,
        "invalid-request",
    );
    for (kind, body, status) in [
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "a=b", 415),
        ("application/json", "{", 400),
        ("application/json", "[[[[", 400),
    ] {
        for path in ["/plans", "/intents", "/devices/data"] {
            let request = Request::post(format!("/api/v1{path}"))
                .header(header::CONTENT_TYPE, kind)
                .body(Body::from(body))
                .unwrap();
            let answer = world.ask(door(&world, olga()), request).await;
            assert_eq!(answer.status, status, "{path} {kind}: {}", answer.json);
            assert_eq!(answer.json["status"], status);
        }
    }
    // A change on a resource needs to say that only its plan is wanted.
    let order = json!({ "devices": { "eids": [eid(0).to_string()] }, "commands": [{ "command": "list-profiles" }] });
    is_problem(
        &send(&world, olga(), "POST", "/operations", &order).await,
        403,
        "proof-needed",
    );
    let planned = send(&world, olga(), "POST", "/operations?plan=true", &order).await;
    assert_eq!(planned.status, 200, "{}", planned.json);
}

#[tokio::test]
async fn members_that_nobody_knows_are_refused() {
    let world = World::new().await;
    let device = eid(0).to_string();
    for (path, body) in [
        (
            "/devices/data",
            json!({ "devices": [{ "eid": device, "state": "associated" }] }),
        ),
        (
            "/devices/data",
            json!({ "devices": [{ "eid": device, "fleet": "cars" }] }),
        ),
        (
            "/devices/data",
            json!({ "devices": [], "actor": "principal:olga" }),
        ),
        (
            "/plans",
            json!({ "action": { "type": "retire-devices" }, "devices": { "eids": [device] }, "proposer": "olga" }),
        ),
        (
            "/plans",
            json!({ "action": { "type": "retire-devices", "devices": { "eids": [device] } }, "devices": { "eids": [device] } }),
        ),
        (
            "/plans",
            json!({ "action": { "type": "retire-devices" }, "devices": { "filter": { "visible": "all" } } }),
        ),
        (
            "/operations?plan=true",
            json!({ "devices": { "eids": [device] }, "commands": [{ "command": "get-rat" }], "approvers": 0 }),
        ),
        (
            "/intents",
            json!({ "intent": "{}", "proof": {}, "principal": "olga" }),
        ),
    ] {
        let answer = send(&world, ada(), "POST", path, &body).await;
        is_problem(&answer, 400, "invalid-request");
    }
    let tags = format!("/devices/{device}/tags");
    let body = json!({ "set": ["a"], "fleet": "cars" });
    is_problem(
        &send(&world, ada(), "POST", &tags, &body).await,
        400,
        "invalid-request",
    );
}

#[tokio::test]
async fn labels_and_tags_need_the_role_in_the_fleet() {
    let world = World::new().await;
    let tags = format!("/devices/{}/tags", eid(0));
    let change = json!({ "set": ["site=hamburg", "spare"] });
    let viewer = session("vera", vec![grant(Role::Viewer, Some("meters"))]);
    is_problem(
        &send(&world, viewer.clone(), "POST", &tags, &change).await,
        403,
        "role-refused",
    );
    let set = send(&world, ada(), "POST", &tags, &change).await;
    assert_eq!(set.json["tags"], json!(["site=hamburg", "spare"]));
    let found = get(&world, ada(), "/devices?tag=site%3Dhamburg").await;
    assert_eq!(eids(&found.json), [eid(0).to_string()]);

    let data = json!({ "devices": [{ "eid": eid(0).to_string(), "label": "<b>one</b>" }, { "eid": eid(10).to_string(), "label": "two" }] });
    let by_viewer = send(&world, viewer, "POST", "/devices/data", &data).await;
    assert_eq!(by_viewer.json["devices"][0]["refused"]["status"], 403);
    let by_ada = send(&world, ada(), "POST", "/devices/data", &data).await;
    assert_eq!(by_ada.json["devices"][0]["refused"], Value::Null);
    assert_eq!(by_ada.json["devices"][1]["refused"]["status"], 404);
    let shown = get(&world, olga(), &format!("/devices/{}", eid(0))).await;
    assert_eq!(shown.json["label"], "<b>one</b>");
    let other = get(&world, olga(), &format!("/devices/{}", eid(10))).await;
    assert_eq!(other.json["label"], "");
}

#[tokio::test]
async fn a_plan_tells_what_would_happen_and_its_intent_is_what_is_signed() {
    let world = World::new().await;
    let wanted = json!({
        "action": { "type": "operate", "commands": [{ "command": "download", "source": { "activation-code": { "smdp": "smdp.example.com", "code": "1$smdp.example.com$SECRET" } } }] },
        "devices": { "filter": { "fleet": "meters" } },
        "note": "a new profile",
        "lifetime_s": 600,
    });
    let plan = send(&world, ada(), "POST", "/plans", &wanted).await;
    assert_eq!(plan.status, 200, "{}", plan.json);
    let plan = plan.json;
    let text = plan["intent"].as_str().unwrap();
    let (decoded, id) = intent::Intent::decode(text.as_bytes()).unwrap();
    assert_eq!(plan["id"], json!(id));
    assert_eq!(decoded.expires_at, NOW + 600_000);
    assert!(!text.contains("SECRET"));
    assert_eq!(plan["openings"].as_array().unwrap().len(), 1);
    assert_eq!((&plan["count"], &plan["approvers"]), (&5.into(), &0.into()));
    assert_eq!(plan["tally"]["changes"], 5);
    assert_eq!(plan["effects"].as_array().unwrap().len(), 5);
    assert_eq!(plan["effects"][0]["holds"][0]["code"], "not-associated");
    assert_eq!(plan["blocked_by"], json!([]));

    // Devices that are not seen are told of like devices that are not there.
    for number in [10, 99] {
        let wanted = json!({ "action": { "type": "retire-devices" }, "devices": { "eids": [eid(number).to_string()] } });
        let plan = send(&world, ada(), "POST", "/plans", &wanted).await.json;
        assert_eq!(
            plan["effects"][0]["refusals"][0]["code"], "not-registered",
            "{plan}"
        );
        assert_eq!(plan["effects"][0]["fleet"], "");
        let codes: Vec<&Value> = plan["blocked_by"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["code"])
            .collect();
        assert!(codes.contains(&&json!("not-registered")), "{plan}");
    }
    let frozen = json!({ "devices": { "eids": [eid(10).to_string()] }, "commands": [{ "command": "list-profiles" }] });
    let plan = send(&world, olga(), "POST", "/operations?plan=true", &frozen)
        .await
        .json;
    assert!(plan["holds"].to_string().contains("frozen"), "{plan}");
}

#[tokio::test]
async fn proposals_go_through_untouched_and_may_be_repeated() {
    let world = World::new().await;
    let wanted = json!({ "action": { "type": "retire-devices" }, "devices": { "eids": [eid(0).to_string()] } });
    let plan = send(&world, ada(), "POST", "/plans", &wanted).await.json;
    let assertion = json!({ "id": "YQ", "rawId": "YQ", "type": "public-key", "response": { "clientDataJSON": "YQ", "authenticatorData": "YQ", "signature": "YQ" } });
    let proposal = json!({
        "intent": plan["intent"],
        "proof": { "type": "passkey", "credential": "YQ", "assertion": assertion },
        "network": "203.0.113.9",
    });
    let first = send(&world, ada(), "POST", "/intents", &proposal).await;
    assert_eq!(first.status, 201, "{}", first.json);
    assert_eq!(first.json["id"], plan["id"]);
    {
        let proposals = world.authority.proposals.lock().unwrap();
        assert_eq!(proposals[0]["intent"], plan["intent"]);
        // Where it came from is what the server saw, not what the request says.
        assert_eq!(proposals[0]["network"], "192.0.2.7");
    }
    is_problem(
        &send(&world, ada(), "POST", "/intents", &proposal).await,
        409,
        "replayed",
    );
    let request = Request::post("/api/v1/intents")
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", "1")
        .body(Body::from(proposal.to_string()))
        .unwrap();
    let again = world.ask(door(&world, ada()), request).await;
    assert_eq!((again.status, &again.json["id"]), (200, &plan["id"]));
}

#[tokio::test]
async fn an_import_reports_lines_and_plans_the_rest() {
    let world = World::new().await;
    let csv = format!(
        "eid,label\n{},new one\n{},known\n123,bad\n",
        eid(50),
        eid(0)
    );
    let ask = |key: &'static str, text: String| {
        let request = Request::post("/api/v1/devices/import?fleet=meters")
            .header(header::CONTENT_TYPE, "text/csv")
            .header("idempotency-key", key)
            .body(Body::from(text));
        world.ask(door(&world, olga()), request.unwrap())
    };
    let report = ask("one", csv.clone()).await;
    assert_eq!(report.status, 200, "{}", report.json);
    let report = report.json;
    assert_eq!(
        (&report["lines"], &report["devices"]),
        (&3.into(), &1.into())
    );
    let lines: Vec<&Value> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["line"])
        .collect();
    assert_eq!(lines, [&json!(3), &json!(4)]);
    assert_eq!(
        report["plans"][0]["summary"],
        format!("register the device {} in the fleet meters", eid(50))
    );
    assert_eq!(report["data"].as_array().unwrap().len(), 2);
    // The same again is the same plan; another list under the key is refused.
    assert_eq!(
        ask("one", csv.clone()).await.json["plans"][0]["id"],
        report["plans"][0]["id"]
    );
    assert_ne!(
        ask("two", csv).await.json["plans"][0]["id"],
        report["plans"][0]["id"]
    );
    is_problem(
        &ask("one", "eid\n".to_owned()).await,
        422,
        "idempotency-key-reused",
    );
}

#[tokio::test]
async fn answers_have_ids_and_tags() {
    let world = World::new().await;
    let first = get(&world, ada(), "/devices").await;
    let tag = first.headers[header::ETAG].clone();
    assert!(tag.to_str().unwrap().starts_with("W/\""));
    assert_eq!(first.headers["x-request-id"].len(), 24);
    let request = |reader, id: &str| {
        let request = Request::get("/api/v1/devices")
            .header(header::IF_NONE_MATCH, tag.clone())
            .header("x-request-id", id)
            .body(Body::empty());
        world.ask(door(&world, reader), request.unwrap())
    };
    let same = request(ada(), "abc-1").await;
    assert_eq!((same.status, &same.json), (304, &Value::Null));
    assert_eq!(same.headers["x-request-id"], "abc-1");
    // Somebody who sees something else is told so.
    assert_eq!(request(olga(), "a b").await.status, 200);
    assert_ne!(request(olga(), "a b").await.headers["x-request-id"], "a b");
}

#[test]
fn the_description_is_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, openapi()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == openapi(),
        "docs/openapi.json is not what the routes say; write it anew: UPDATE=1 cargo nextest run -p console the_description"
    );
}

#[test]
fn everything_is_described() {
    let description: Value = serde_json::from_str(openapi()).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert_ne!(
                operation["summary"].as_str().unwrap_or_default(),
                "",
                "{name}"
            );
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{name}: operationId twice"
            );
            for status in ["400", "401", "403", "404", "405", "429", "503"] {
                assert!(
                    operation["responses"][status].is_object(),
                    "{name}: {status}"
                );
            }
        }
    }
}
