//! What pages make of hostile names, and who sees what.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use eim::actor::Actor;
use eim::authority::Reply;
use eim::tags::Tag;
use eim::{DeviceData, Visible};
use http::{Method, Request, StatusCode, header};
use intent::PolicyDocument;
use rsp::ids::Eid;
use serde_json::{Value, json};
use tower_service::Service;

use crate::authority::{Answer, Authority};
use crate::sessions::{Begun, Secret};
use crate::site::{Console, Parts, Settings};
use crate::testing::{NOW, World, eid};

const ORIGIN: &str = "https://eim.example.com";
/// What somebody might write where they are asked for a name.
const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}";
const PAGE_MAX: usize = 100_000;

/// An authority that knows ada, who owns everything, and vic, who may look at the fleet `cars`.
struct Record;

impl Record {
    fn answer(target: &str) -> Option<Value> {
        let path = target.split('?').next().unwrap_or("");
        let entry = |number: u64, kind: &str, body: Value, device: Option<&str>| {
            json!({
                "entry": json!({
                    "number": number, "at": NOW, "kind": kind, "actor": "principal:ada", "body": body,
                    "device": device.map(|eid| json!({ "eid": eid, "sequence": 1 })),
                }).to_string(),
                "proof": [],
            })
        };
        let proposed = json!({
            "id": "", "principal": HOSTILE, "approvers": 0, "proof": { "type": "passkey" },
            "intent": {
                "v": 1, "installation": "x", "nonce": "00".repeat(16), "created_at": NOW, "expires_at": NOW + 1,
                "note": HOSTILE, "action": { "type": "freeze", "scope": "everything" },
            },
        });
        Some(match path {
            "/v1/status" => json!({
                "installation": HOSTILE, "entries": 3, "newest_at": NOW, "freezes": [], "fault": null,
            }),
            "/v1/principals/ada" => principal("ada", json!([{ "role": "owner", "fleets": "all" }])),
            "/v1/principals/vic" => principal(
                "vic",
                json!([{ "role": "viewer", "fleets": { "only": ["cars"] } }]),
            ),
            "/v1/principals" => json!([principal(
                "ada",
                json!([{ "role": "owner", "fleets": "all" }])
            )]),
            "/v1/intents" | "/v1/freezes" => json!([]),
            "/v1/policy" => serde_json::to_value(PolicyDocument::initial()).ok()?,
            "/v1/enrolments/parameters" => {
                json!({ "installation": "x", "rp_id": "eim.example.com", "origins": [ORIGIN] })
            }
            "/v1/checkpoint" => {
                json!({ "note": format!("{HOSTILE}\n2\nroot\n\nsignature"), "key": HOSTILE, "consistency": [] })
            }
            path if path.starts_with("/v1/devices/") => json!({
                "entries": [entry(1, "device.registered", json!({ "intent": 0, "fleet": HOSTILE }), None)],
                "context": [entry(0, "intent.proposed", proposed, None)],
            }),
            path if path.starts_with("/v1/entries/") => json!({
                "format": "x", "checkpoint": HOSTILE,
                "entry": entry(1, "device.registered", json!({ "fleet": HOSTILE }), Some(&eid(0).to_string())),
            }),
            _ => return None,
        })
    }
}

fn principal(name: &str, grants: Value) -> Value {
    json!({
        "name": name, "kind": "person", "grants": grants, "expires_at": NOW + 1_000_000_000, "revoked": false,
        "networks": [], "credentials": [{
            "id": "a-passkey", "kind": "passkey", "not_before": 0, "expires_at": NOW + 1_000_000_000, "revoked": false,
            "last_used_at": null, "last_used_from": null, "last_used_for": HOSTILE,
        }],
    })
}

impl Authority for Record {
    fn call(&self, _: Method, target: String, _: Bytes) -> Reply<'_, Answer> {
        Box::pin(async move {
            let (status, body) = match Self::answer(&target) {
                Some(value) => (StatusCode::OK, value),
                None => (
                    StatusCode::NOT_FOUND,
                    serde_json::to_value(crate::Problem::no_such_path(&target)).unwrap(),
                ),
            };
            Ok(Answer {
                status,
                body: body.to_string().into(),
            })
        })
    }
}

struct Site {
    console: Arc<Console>,
}

/// The devices of [`World`], two of them with a hostile label.
async fn site() -> Site {
    let world = World::new().await.console;
    let eim = Arc::clone(&world.eim);
    let ada = Actor::operator("ada");
    for n in [0, 10] {
        let data = DeviceData {
            label: Some(HOSTILE.to_owned()),
            ..DeviceData::new(eid(n))
        };
        eim.enrich_device(&ada, data).await.unwrap();
    }
    let tag: Tag = "site=north (1)".parse().unwrap();
    eim.change_tags(&ada, &Visible::All, eid(0), vec![tag], Vec::new())
        .await
        .unwrap();
    let parts = Parts {
        eim,
        authority: Arc::new(Record),
        clock: Arc::clone(&world.clock),
        entropy: Arc::clone(&world.entropy),
        courier: Arc::clone(&world.courier),
    };
    let console = Console::open_temporary(Settings::new(ORIGIN.to_owned()), parts).unwrap();
    for (name, octet) in [("ada", 1), ("vic", 2)] {
        let begun = Begun {
            principal: name.parse().unwrap(),
            credential: "a-passkey".parse().unwrap(),
            address: "192.0.2.1".to_owned(),
            agent: HOSTILE.to_owned(),
        };
        console
            .sessions
            .begin(Secret([octet; 32]), begun, NOW, NOW + 1_000_000)
            .await
            .unwrap();
    }
    Site { console }
}

struct Got {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Site {
    async fn send(&self, who: &str, method: Method, path: &str, body: &str) -> Got {
        use base64::Engine;
        let secret = [if who == "ada" { 1u8 } else { 2 }; 32];
        let cookie = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "eim.example.com")
            .header(header::ORIGIN, ORIGIN)
            .header(header::ACCEPT, "text/html")
            .header(header::COOKIE, format!("__Host-palisade={cookie}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.console.router().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let octets = to_bytes(body, usize::MAX).await.unwrap();
        Got {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&octets).into_owned(),
        }
    }

    async fn get(&self, who: &str, path: &str) -> Got {
        self.send(who, Method::GET, path, "").await
    }
}

fn pages() -> Vec<String> {
    let first = eid(0);
    let hostile =
        crate::security::form_encoded(&[("q", HOSTILE), ("tag", "site"), ("provider", "<b>")]);
    let mut pages: Vec<String> = [
        "/",
        "/devices",
        "/operations",
        "/approvals",
        "/intents",
        "/profiles",
        "/people",
        "/people/ada",
        "/policy",
        "/policy/edit",
        "/ledger",
        "/ledger/entries/1",
        "/sessions",
        "/propose?kind=register",
        "/propose?kind=invite",
        "/propose?kind=freeze",
        "/propose?kind=operate",
        "/sign-in",
        "/enrol",
    ]
    .map(str::to_owned)
    .into();
    pages.push(format!("/devices/{first}"));
    pages.push(format!("/devices/{first}/timeline"));
    pages.push(format!("/devices?{hostile}"));
    pages.push(format!(
        "/propose?kind=invite&{}",
        crate::security::form_encoded(&[("name", HOSTILE)])
    ));
    pages.push(format!(
        "/sign-in?{}",
        crate::security::form_encoded(&[("next", &format!("/{HOSTILE}"))])
    ));
    pages
}

#[tokio::test]
async fn names_are_text_on_every_page() {
    let site = site().await;
    for path in pages() {
        let got = site.get("ada", &path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.text);
        assert!(!got.text.contains("<script>alert"), "{path}");
        assert!(!got.text.contains("<img src=x"), "{path}");
        assert!(
            got.text.len() < PAGE_MAX,
            "{path}: {} octets",
            got.text.len()
        );
    }
    let device = site.get("ada", &format!("/devices/{}", eid(0))).await;
    assert!(
        device.text.contains("&#60;script&#62;alert"),
        "the label is shown"
    );
    assert!(device.text.contains("“"), "the note of who asked is shown");
}

#[tokio::test]
async fn pages_fulfil_the_policy_that_goes_with_them() {
    let site = site().await;
    for path in pages() {
        let got = site.get("ada", &path).await;
        let policy = got.headers.get("content-security-policy").unwrap();
        assert!(
            policy.to_str().unwrap().contains("script-src 'self'"),
            "{path}"
        );
        // The hostile texts hold some of these, escaped: quotes in them are never bare.
        for forbidden in [
            " style=\"",
            "<style",
            " onclick=\"",
            " onload=\"",
            "javascript:",
            "http://",
        ] {
            assert!(!got.text.contains(forbidden), "{path} has {forbidden}");
        }
        for script in got.text.split("<script").skip(1) {
            assert!(
                script.starts_with(" type=\"module\" src=\"/assets/"),
                "{path}"
            );
        }
        for landmark in ["<main", "<title>", "lang=\"en\""] {
            assert!(got.text.contains(landmark), "{path} has no {landmark}");
        }
        let tables = got.text.matches("<table").count();
        assert_eq!(
            got.text.matches("<caption").count(),
            tables,
            "{path}: a table without a caption"
        );
        assert_eq!(got.text.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn what_is_out_of_sight_is_not_there() {
    let site = site().await;
    let (hidden, own) = (eid(0), eid(10));
    let of = |eid: Eid| {
        ["", "/timeline", "/history.json", "/certificates.pem"]
            .map(|part| format!("/devices/{eid}{part}"))
    };
    for path in of(own) {
        assert_eq!(
            site.get("vic", &path).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
    for path in of(hidden) {
        let got = site.get("vic", &path).await;
        let never = site
            .get(
                "vic",
                &path.replace(&hidden.to_string(), &eid(999).to_string()),
            )
            .await;
        assert_eq!(
            (got.status, never.status),
            (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
            "{path}"
        );
        assert_eq!(
            got.text.replace(&hidden.to_string(), ""),
            never.text.replace(&eid(999).to_string(), "")
        );
    }
    // An entry about a device is seen with it.
    assert_eq!(
        site.get("vic", "/ledger/entries/1").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        site.get("vic", "/ledger/entries/1/proof.json").await.status,
        StatusCode::NOT_FOUND
    );
    for path in [
        "/people",
        "/people/ada",
        "/policy",
        "/policy/edit",
        "/ledger",
    ] {
        assert_eq!(
            site.get("vic", path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let list = site.get("vic", "/devices").await.text;
    assert!(list.contains(&own.to_string()) && !list.contains(&hidden.to_string()));
    let found = site.get("vic", &format!("/devices?q={hidden}")).await.text;
    assert!(!found.contains(&format!("/devices/{hidden}")));
    // Viewers give no tags, and nobody gives them to what they do not see.
    for eid in [hidden, own] {
        let path = format!("/devices/{eid}/tags");
        let got = site.send("vic", Method::POST, &path, "set=mine").await;
        assert_eq!(got.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(site.console.eim.tags(&Visible::All, own).unwrap(), []);
}

#[tokio::test]
async fn a_preview_changes_nothing_and_shows_what_is_signed() {
    let site = site().await;
    let form = format!("kind=operate&command=list-profiles&eid={}", eid(0));
    let got = site.send("ada", Method::POST, "/propose", &form).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text);
    let id = got
        .text
        .split("data-id=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let intent = got
        .text
        .split("data-intent=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let intent = intent.replace("&#34;", "\"");
    let (_, made) = intent::Intent::decode(intent.as_bytes()).unwrap();
    assert_eq!(
        made.to_string(),
        id,
        "the hash that is shown is that of the intent that is sent"
    );
    let shown: String = got
        .text
        .split("hash big\">")
        .nth(1)
        .and_then(|rest| rest.split("</p>").next())
        .unwrap()
        .replace("<span>", "")
        .replace("</span>", "");
    assert_eq!(shown, id);
    for bad in [
        "kind=operate",
        "kind=operate&eid=1&command=enable",
        "kind=explode",
        "kind=policy&policy={",
        "",
    ] {
        let got = site.send("ada", Method::POST, "/propose", bad).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn paths_get_into_no_header_and_out_of_no_folder() {
    let site = site().await;
    for path in [
        "/devices/1%0d%0aX-Evil:%201/history.json",
        "/devices/..%2f..%2fetc%2fpasswd",
        "/ledger/entries/1%22%0d%0aX-Evil:1/proof.json",
        "/assets/..%2f..%2f/app.css",
        "/assets/0000/..%2fsite.rs",
        "/people/%3Cscript%3E",
        "/intents/%3Cscript%3E",
        "/operations/..%2f",
    ] {
        let got = site.get("ada", path).await;
        assert!(got.status.is_client_error(), "{path}: {}", got.status);
        assert!(!got.headers.contains_key("x-evil"), "{path}");
        assert!(!got.text.contains("<script>"), "{path}");
    }
    let history = site
        .get("ada", &format!("/devices/{}/history.json", eid(0)))
        .await;
    let name = history.headers.get(header::CONTENT_DISPOSITION).unwrap();
    assert_eq!(
        name.to_str().unwrap(),
        format!("attachment; filename=\"history-{}.json\"", eid(0))
    );
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let site = site().await;
    for next in [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
    ] {
        let query = crate::security::form_encoded(&[("next", next)]);
        let got = site.get("ada", &format!("/sign-in?{query}")).await;
        assert!(got.text.contains("data-next=\"/\""), "{next}");
    }
}

#[tokio::test]
async fn assets_are_kept_for_good_under_the_hash_of_what_they_are() {
    let site = site().await;
    let base = super::assets::base();
    for name in ["app.css", "app.js", "sign.js", "verify.js", "icon.svg"] {
        let got = site.get("ada", &format!("{base}/{name}")).await;
        assert_eq!(got.status, StatusCode::OK, "{name}");
        let kept = got.headers.get(header::CACHE_CONTROL).unwrap();
        assert_eq!(kept, "public, max-age=31536000, immutable");
        assert!(got.text.len() < 30_000, "{name}");
        assert!(
            !got.text.contains("innerHTML") && !got.text.contains("eval("),
            "{name}"
        );
    }
    assert_eq!(
        site.get("ada", "/assets/0123/app.css").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn sessions_are_ended_by_their_owner_only() {
    let site = site().await;
    let ids = |name: &str| -> Vec<i64> {
        let all = site
            .console
            .sessions
            .of(&name.parse().unwrap(), NOW)
            .unwrap();
        all.iter().map(|session| session.id).collect()
    };
    let ada = ids("ada");
    let body = format!("session={}", ada.first().unwrap());
    assert_eq!(
        site.send("vic", Method::POST, "/sessions/end", &body)
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(ids("ada"), ada);
    assert_eq!(
        site.send("ada", Method::POST, "/sessions/end", &body)
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    assert!(ids("ada").is_empty());
}
