//! The interface's description (OpenAPI 3.1), from the routes and types themselves.
#![expect(
    clippy::indexing_slicing,
    reason = "an object of JSON makes the member that is written; what is read is made here, and a test makes all of it"
)]

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::Problem;

/// The description as JSON, with its members in order: the same each time.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&described()).unwrap_or_default();
    text.push('\n');
    text
});

/// The description of the interface, as it is served and as it stands in `docs/openapi.json`.
pub fn openapi() -> &'static str {
    &TEXT
}

/// `GET /openapi.json`
pub(super) async fn served() -> Response {
    let mut response = openapi().into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

const ABOUT: &str = "\
Devices with an eUICC for IoT (GSMA SGP.32), what is asked of them, and what they answered.

**Reading** needs a session (a person signed in with a passkey) or a token (`palisade token create`). Everybody sees the devices of \
their fleets; what you do not see is answered with 404. Lists come in pages: follow `next`, which is also in the field `Link`. Answers \
have weak entity tags: send `If-None-Match` to be told 304 if nothing changed.

**Changing** needs a proof of who wants exactly that. Ask for a plan first (`POST /plans`, or a change on a resource with `?plan=true`): it \
says what would happen to each device and gives an *intent*, a canonical JSON text, and its `id`, the SHA-256 of that text. A person \
signs the id with a passkey; a machine signs the request that carries the intent (RFC 9421). Send it to `POST /intents` unchanged. The \
authority, a process of its own, decides by role and policy, records it, and signs what devices execute. People approve the same id.

**Errors** are problem details (RFC 9457): `type` is stable, `detail` says what was wrong this time, `action` what to do. Every answer \
carries `X-Request-Id`, which the server's log has too; send your own to follow a request.

Times are milliseconds since 1970-01-01T00:00:00Z. A member that is not known in a request is refused.";

/// Answers that a request may get besides those of its handler: status, and why.
const ALWAYS: &[(&str, &str)] = &[
    ("400", "The request is not valid"),
    (
        "401",
        "Nobody is signed in, or the token, proof or passkey is not accepted",
    ),
    (
        "403",
        "The role, the fleet or the policy does not allow it, or it needs a proof",
    ),
    ("404", "There is no such thing, or you do not see it"),
    ("405", "The path has no such method"),
    (
        "421",
        "The request is addressed to another name than this server's",
    ),
    ("429", "Too much at once; `retry_at` says when to ask again"),
    ("500", "The request broke off"),
    ("503", "The authority or the database does not answer now"),
];
const WITH_BODY: &[(&str, &str)] = &[
    ("409", "It contradicts what is there, or was asked before"),
    ("413", "The body is too large"),
    ("415", "The body is of another kind"),
    ("422", "What was sent fits the form and cannot be used"),
    ("423", "Signing is stopped here"),
];

fn described() -> Value {
    let (_, openapi) = super::routes_with_description().split_for_parts();
    let mut value = serde_json::to_value(openapi).unwrap_or_default();
    value["info"] = json!({
        "title": "Palisade",
        "version": "1",
        "description": ABOUT,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    value["servers"] = json!([{ "url": "/api/v1" }]);
    value["security"] = json!([{ "session": [] }, { "token": [] }, { "signature": [] }]);
    value["tags"] = json!([
        { "name": "devices", "description": "Devices, and what is known of each" },
        { "name": "operations", "description": "What devices are to do, and what came of it" },
        { "name": "plans", "description": "What a change would do, before anybody signs it" },
        { "name": "intents", "description": "Changes that somebody wants, with proof; their approval" },
        { "name": "people", "description": "People, machines, tokens, sessions" },
        { "name": "policy", "description": "What needs whose approval; freezes; keys" },
        { "name": "ledger", "description": "The record, with proofs" },
        { "name": "webhooks", "description": "Telling other systems what happens" },
        { "name": "sim-swap", "description": "Was the SIM of a device changed lately? In the shape of CAMARA SIM Swap" },
        { "name": "status", "description": "This server" },
    ]);
    value["components"]["securitySchemes"] = json!({
        "session": { "type": "apiKey", "in": "cookie", "name": crate::sign_in::SESSION_COOKIE,
            "description": "A person who signed in with a passkey. It reads; each change is signed by itself." },
        "token": { "type": "http", "scheme": "bearer",
            "description": "A token for reading: `palisade token create`." },
        "signature": { "type": "apiKey", "in": "header", "name": "Signature",
            "description": "HTTP message signature (RFC 9421) of a machine, with Ed25519, over @method, @path and content-digest, tag palisade-intent. For POST /intents." },
    });
    value["components"]["schemas"]["Problem"] = problem_schema();
    for (status, why) in ALWAYS.iter().chain(WITH_BODY) {
        value["components"]["responses"][format!("Problem{status}")] = json!({ "description": why,
            "headers": { "X-Request-Id": { "schema": { "type": "string" } } },
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    }
    if let Some(paths) = value["paths"].as_object_mut() {
        for (path, operations) in paths.iter_mut() {
            let Some(operations) = operations.as_object_mut() else {
                continue;
            };
            for (method, operation) in operations {
                operation["operationId"] = name(method, path).into();
                complete(method, operation);
            }
        }
        let description = json!({ "get": {
            "tags": ["status"], "operationId": "get-openapi.json", "summary": "This description",
            "responses": { "200": { "description": "OpenAPI 3.1", "content": { "application/json": { "schema": { "type": "object" } } } } },
        } });
        paths.insert("/openapi.json".to_owned(), description);
        if let Some(operation) = paths
            .get_mut("/openapi.json")
            .and_then(|path| path.get_mut("get"))
        {
            complete("get", operation);
        }
    }
    sorted(value)
}

/// `get-devices-eid-profiles`: of a method and a path.
fn name(method: &str, path: &str) -> String {
    let words = path.split('/').filter(|word| !word.is_empty());
    let words = words.map(|word| word.trim_matches(['{', '}']));
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("-")
}

/// Adds what every operation answers.
fn complete(method: &str, operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let answers = ALWAYS.iter().chain(match method {
        "get" => &[],
        _ => WITH_BODY,
    });
    for (status, _) in answers {
        if !has_body && matches!(*status, "413" | "415") {
            continue;
        }
        let answer = json!({ "$ref": format!("#/components/responses/Problem{status}") });
        operation["responses"][*status] = answer;
    }
    for status in ["200", "201"] {
        if operation["responses"].get(status).is_none() {
            continue;
        }
        let headers = &mut operation["responses"][status]["headers"];
        headers["X-Request-Id"] = json!({ "schema": { "type": "string" }, "description": "The same as in the server's log" });
        if method == "get" && status == "200" {
            headers["ETag"] = json!({ "schema": { "type": "string" }, "description": "Weak; absent from very large answers" });
            headers["Link"] = json!({ "schema": { "type": "string" }, "description": "rel=\"next\": the next page of a list" });
        }
    }
    if method == "get" {
        operation["responses"]["304"] =
            json!({ "description": "Nothing changed since the answer with this entity tag" });
    }
}

fn problem_schema() -> Value {
    let example = Problem::invalid("limit is a number");
    json!({
        "type": "object",
        "description": "Why a request was not carried out (RFC 9457).",
        "required": ["type", "title", "status", "detail", "action"],
        "properties": {
            "type": { "type": "string", "description": "`urn:palisade:problem:` and a word. Stable." },
            "title": { "type": "string", "description": "The kind of problem in a few words." },
            "status": { "type": "integer", "description": "HTTP status." },
            "detail": { "type": "string", "description": "What was wrong this time." },
            "action": { "type": "string", "description": "What to do next." },
            "code": { "type": "string", "description": "The authority's code, if it was the authority that said no." },
            "retry_at": { "type": "integer", "format": "int64", "description": "When it may be worth asking again. Milliseconds since 1970." },
        },
        "example": example,
    })
}

/// Members in their order, so that the text is the same whatever order they were made in.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: std::collections::BTreeMap<String, Value> = members
                .into_iter()
                .map(|(name, member)| (name, sorted(member)))
                .collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(members) => Value::Array(members.into_iter().map(sorted).collect()),
        other => other,
    }
}
