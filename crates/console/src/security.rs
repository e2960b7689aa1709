//! What every request and answer goes through: who is let in, from which pages, and what browsers are told.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use edge::server::ConnectionInfo;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use intent::api::{PrincipalInfo, RefusalCode};
use intent::bearer::BearerToken;
use serde::Serialize;

use crate::Problem;
use crate::reader::{Reader, Via};
use crate::sessions::Secret;
use crate::sign_in::{SESSION_COOKIE, cookie, forget_cookie};
use crate::sim_swap;
use crate::site::Console;

/// Nothing but what this console serves itself, and nowhere in a frame. Scripts get no way to turn text into markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// For every answer. An answer that says something of its own keeps it.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), publickey-credentials-get=(self), publickey-credentials-create=(self)",
    ),
];

/// Paths that machines ask by address, without a name.
const PROBES: &[&str] = &["/healthz", "/readyz", "/metrics"];

/// Tells browsers what this console never does.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Refuses what another site's page made a browser send, and what was addressed to another name (DNS rebinding).
pub(crate) async fn same_origin(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = console.settings.origin.as_str();
    // A browser that is signed in does not ask by address.
    let is_probe =
        PROBES.contains(&request.uri().path()) && !request.headers().contains_key(header::COOKIE);
    if !is_probe && host(&request).as_deref() != origin.split_once("://").map(|(_, host)| host) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "other-host",
            "This console has another name",
            format!("this console is {origin}"),
            "open it under that name, or set console.origin",
        )
        .into_response();
    }
    if is_foreign(request.method(), request.headers(), origin) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "other-origin",
            "The request came from another page",
            "a change was asked for by a page that is not this console's",
            format!("open {origin} and ask for it there"),
        )
        .into_response();
    }
    next.run(request).await
}

/// HTTP/2 carries the name in the target, HTTP/1.1 in a field.
fn host(request: &Request) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str().to_ascii_lowercase());
    }
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    Some(host.to_ascii_lowercase())
}

fn is_foreign(method: &Method, headers: &HeaderMap, origin: &str) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    match headers.get(header::ORIGIN) {
        Some(value) => value != origin,
        // A browser says where from in one field or the other; a program that shows no cookie says nothing.
        None => match headers.get("sec-fetch-site") {
            Some(value) => value != "same-origin",
            None => headers.contains_key(header::COOKIE),
        },
    }
}

/// Finds out who asks. People without a session are sent to the sign-in page, programs are told.
pub(crate) async fn let_in(
    State(console): State<Arc<Console>>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        headers: request.headers().clone(),
        network: network(&request),
    };
    match reader(&console, asked).await {
        Ok(Some(reader)) => {
            request.extensions_mut().insert(reader);
            next.run(request).await
        }
        Ok(None) => turned_away(&request),
        Err(problem) => {
            let is_over = problem.status == StatusCode::UNAUTHORIZED.as_u16();
            let mut response = match is_over && wants_page(&request) {
                true => to_sign_in(request.uri()),
                false => problem.into_response(),
            };
            if is_over && cookie(request.headers(), SESSION_COOKIE).is_some() {
                response
                    .headers_mut()
                    .append(header::SET_COOKIE, forget_cookie(SESSION_COOKIE));
            }
            response
        }
    }
}

/// What of a request says who asks.
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    network: Option<IpAddr>,
}

async fn reader(console: &Console, asked: Asked) -> Result<Option<Reader>, Problem> {
    let Asked {
        method,
        path,
        headers,
        network,
    } = asked;
    if let Some(presented) = headers.get(header::AUTHORIZATION) {
        let reads = matches!(method, Method::GET | Method::HEAD)
            || sim_swap::PATHS.contains(&path.as_str());
        return token(console, reads, presented, network).await.map(Some);
    }
    if let Some(secret) = cookie(&headers, SESSION_COOKIE) {
        return session(console, Secret(secret), network).await;
    }
    // What is signed is looked at by the authority. Whoever signs sees nothing but its answer.
    let is_signed = headers.contains_key("signature-input");
    Ok((is_signed && method == Method::POST).then(|| Reader {
        via: Via::Proof,
        grants: Vec::new(),
        network,
    }))
}

async fn session(
    console: &Console,
    secret: Secret,
    network: Option<IpAddr>,
) -> Result<Option<Reader>, Problem> {
    let found = console
        .sessions
        .find(secret, console.now(), console.settings.session_idle_ms)
        .await?;
    let Some(session) = found else {
        return Err(signed_out("the session ended"));
    };
    let info = console.authority.principal(&session.principal).await?;
    let now = console.now();
    let is_good = !info.revoked
        && now < info.expires_at
        && info.credentials.iter().any(|credential| {
            credential.id == session.credential.as_str()
                && !credential.revoked
                && now < credential.expires_at
        });
    if !is_good {
        console.sessions.end(session.id, &session.principal).await?;
        return Err(signed_out(
            "the passkey of this session was revoked or expired",
        ));
    }
    let via = Via::Session {
        principal: session.principal,
        credential: session.credential,
        session: session.id,
    };
    Ok(Some(Reader::known(via, info, network)))
}

/// What the authority is asked about a token.
#[derive(Serialize)]
struct TokenCheck<'a> {
    token: &'a str,
    network: Option<IpAddr>,
}

pub(crate) async fn token(
    console: &Console,
    reads: bool,
    presented: &HeaderValue,
    network: Option<IpAddr>,
) -> Result<Reader, Problem> {
    let token: BearerToken = presented
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "))
        .ok_or_else(|| Problem::invalid("the field Authorization is `Bearer <token>`"))?
        .parse()
        .map_err(|error: intent::bearer::TokenError| token_refused(error.to_string()))?;
    if !reads {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "token-reads-only",
            "A token can read and nothing else",
            "this request wants a change",
            "changes need a signature: `palisade key create`, or a passkey",
        ));
    }
    let check = TokenCheck {
        token: token.expose(),
        network,
    };
    let info: Result<PrincipalInfo, Problem> =
        console.authority.post("/v1/tokens/check", &check).await;
    match info {
        Ok(info) => {
            let via = Via::Token {
                principal: info.name.clone(),
            };
            Ok(Reader::known(via, info, network))
        }
        // What is wrong with it is nobody's business who has no good one.
        Err(problem)
            if problem
                .code
                .is_some_and(|code| code != RefusalCode::Unavailable) =>
        {
            Err(token_refused(problem.detail))
        }
        Err(problem) => Err(problem),
    }
}

fn token_refused(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token-refused",
        "The token is not accepted",
        detail,
        "have another one issued: `palisade token create`",
    )
}

fn signed_out(detail: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "signed-out",
        "Nobody is signed in",
        detail,
        "sign in with a passkey, or send a token for reading: `palisade token create`",
    )
}

fn turned_away(request: &Request) -> Response {
    match wants_page(request) {
        true => to_sign_in(request.uri()),
        false => {
            let mut response = signed_out("this needs somebody who is known").into_response();
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"palisade\""),
            );
            response
        }
    }
}

fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET && !path.starts_with("/api/") && !PROBES.contains(&path)
}

/// Where a person signs in, to come back to where they wanted to go.
fn to_sign_in(uri: &Uri) -> Response {
    let wanted = uri.path_and_query().map_or("/", |target| target.as_str());
    let query = match wanted {
        "/" => String::new(),
        next => format!("?{}", form_encoded(&[("next", next)])),
    };
    Redirect::to(&format!("/sign-in{query}")).into_response()
}

/// `application/x-www-form-urlencoded` (WHATWG URL section 5.2).
pub(crate) fn form_encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// A path of this console to go on to, and nothing else: no other site, no other scheme.
pub(crate) fn local_path(text: &str) -> &str {
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && !text.chars().any(char::is_control);
    match is_local {
        true => text,
        false => "/",
    }
}

/// Where a request came from.
pub(crate) fn network(request: &Request) -> Option<IpAddr> {
    request
        .extensions()
        .get::<ConnectionInfo>()
        .map(|info| info.peer.ip().to_canonical())
}

/// There is nothing at this path.
pub(crate) async fn nothing_here(uri: Uri) -> Problem {
    Problem::no_such_path(uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://eim.example.com";

    fn said(method: Method, fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_foreign(&method, &headers, ORIGIN)
    }

    #[test]
    fn only_our_own_pages_may_ask_for_changes() {
        assert!(!said(
            Method::POST,
            &[("origin", ORIGIN), ("cookie", "a=b")]
        ));
        assert!(!said(
            Method::POST,
            &[("sec-fetch-site", "same-origin"), ("cookie", "a=b")]
        ));
        for fields in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "https://eim.example.com.evil.example")],
            &[("origin", "http://eim.example.com")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("cookie", "a=b")],
        ] {
            assert!(said(Method::POST, fields), "{fields:?}");
            assert!(said(Method::DELETE, fields), "{fields:?}");
        }
        // Programs.
        assert!(!said(Method::POST, &[]));
        // Reading changes nothing.
        assert!(!said(Method::GET, &[("origin", "https://evil.example")]));
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(
            local_path("/devices?state=failing"),
            "/devices?state=failing"
        );
        for text in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example/",
            "\\/evil.example",
            "javascript:alert(1)",
            "devices",
            "",
            "/a\r\nSet-Cookie: x",
        ] {
            assert_eq!(local_path(text), "/", "{text:?}");
        }
    }
}
