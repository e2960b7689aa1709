//! Scripts and styles. Their path names what is in them, so that browsers keep them for good and never mix two versions.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use intent::Digest;

use crate::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: &[(&str, &str, &[u8])] = &[
    (
        "app.css",
        "text/css; charset=utf-8",
        include_bytes!("../../assets/app.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../../assets/icon.svg"),
    ),
    ("app.js", SCRIPT, include_bytes!("../../assets/app.js")),
    ("live.js", SCRIPT, include_bytes!("../../assets/live.js")),
    (
        "passkey.js",
        SCRIPT,
        include_bytes!("../../assets/passkey.js"),
    ),
    (
        "sign-in.js",
        SCRIPT,
        include_bytes!("../../assets/sign-in.js"),
    ),
    ("enrol.js", SCRIPT, include_bytes!("../../assets/enrol.js")),
    ("sign.js", SCRIPT, include_bytes!("../../assets/sign.js")),
    (
        "secret.js",
        SCRIPT,
        include_bytes!("../../assets/secret.js"),
    ),
    (
        "verify.js",
        SCRIPT,
        include_bytes!("../../assets/verify.js"),
    ),
];

const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

static HASH: LazyLock<String> = LazyLock::new(|| {
    let parts = FILES
        .iter()
        .flat_map(|(name, _, octets)| [name.as_bytes(), *octets]);
    let digest = Digest::of(&parts.collect::<Vec<_>>());
    digest
        .as_bytes()
        .iter()
        .take(8)
        .map(|octet| format!("{octet:02x}"))
        .collect()
});

/// Where they all are.
pub(super) fn base() -> String {
    format!("/assets/{}", *HASH)
}

/// `GET /assets/{hash}/{name}`
pub(super) async fn one(Path((hash, name)): Path<(String, String)>, uri: Uri) -> Response {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    match found {
        Some((_, kind, octets)) if hash == *HASH => {
            let fields = [
                (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                (header::CACHE_CONTROL, FOR_GOOD),
            ];
            (fields, *octets).into_response()
        }
        _ => Problem::no_such_path(uri.path()).into_response(),
    }
}
