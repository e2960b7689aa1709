//! Problems as pages, for people who went somewhere with a browser.

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, header};

use super::assets;
use super::words::Moment;
use crate::Problem;

const PROBLEM_MAX: usize = 64 << 10;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    assets: String,
    problem: Problem,
    detail: String,
    action: String,
    retry_at: Option<Moment>,
}

/// Shows a browser the problem as a page. What a script or a program asked for stays JSON.
pub(crate) async fn explain(request: Request, next: Next) -> Response {
    let wants_page = wants_page(&request);
    let response = next.run(request).await;
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    if !wants_page || !is_problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let octets = to_bytes(body, PROBLEM_MAX).await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&octets) else {
        return Response::from_parts(parts, Body::from(octets));
    };
    let page = ErrorPage {
        assets: assets::base(),
        detail: sentence(&problem.detail),
        action: sentence(&problem.action),
        retry_at: problem.retry_at.map(Moment),
        problem,
    };
    let Ok(text) = page.render() else {
        return Response::from_parts(parts, Body::from(octets));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    (parts, Html(text)).into_response()
}

fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT);
    let accepts = accepts.and_then(|value| value.to_str().ok()).unwrap_or("");
    !request.uri().path().starts_with("/api/") && accepts.contains("text/html")
}

/// Problems are written to be joined by a semicolon; on a page they stand alone.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let mut sentence: String = first.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?', ':']) {
        sentence.push('.');
    }
    sentence
}
