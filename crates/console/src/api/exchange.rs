//! What requests and answers have in common: bodies, queries, cursors, ids of requests, entity tags.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use intent::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Octets of a request's body; an intent for a million devices has some 36 million.
pub(crate) const BODY_OCTETS_MAX: usize = 64 << 20;
/// Characters of a cursor.
const CURSOR_MAX: usize = 512;
/// Octets of an answer that gets an entity tag.
const TAGGED_OCTETS_MAX: u64 = 4 << 20;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A query string, of which every member is known.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// The variable parts of a path.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// A JSON body, of which every member is known.
pub(crate) struct Document<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = content_type(request.headers());
        if !matches!(kind.as_deref(), None | Some("application/json")) {
            return Err(unsupported("application/json"));
        }
        let octets = body(request, state).await?;
        parsed(&octets).map(Self)
    }
}

/// The octets of a body, within the bound.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(
            |rejection| match rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                true => too_large(),
                false => Problem::invalid(rejection.body_text()),
            },
        )
}

/// JSON that fits.
pub(crate) fn parsed<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(octets)
        .map_err(|error| Problem::invalid(format!("the body does not fit: {error}")))
}

/// The kind of a body without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

pub(crate) fn unsupported(wanted: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media-type",
        "The body is of another kind",
        format!("this takes {wanted}"),
        "say so in the field Content-Type, and send that",
    )
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        format!("a body has at most {BODY_OCTETS_MAX} octets here, over the network fewer"),
        "send less at once",
    )
}

/// Where a page ends, as whoever reads pages sees it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<T> {
    /// Version.
    v: u8,
    /// Of what.
    of: String,
    at: T,
}

/// A cursor that means nothing to whoever carries it.
pub(crate) fn cursor(of: &str, at: &impl Serialize) -> String {
    let cursor = Cursor {
        v: 1,
        of: of.to_owned(),
        at,
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

/// Reads one back.
pub(crate) fn read_cursor<T: DeserializeOwned>(of: &str, text: &str) -> Result<T, Problem> {
    let read = || -> Option<Cursor<T>> {
        if text.len() > CURSOR_MAX {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    };
    match read().filter(|cursor| cursor.v == 1 && cursor.of == of) {
        Some(cursor) => Ok(cursor.at),
        None => Err(Problem::invalid(
            "the cursor is none of this list: use the `next` of the page before, and none for the first page",
        )),
    }
}

/// A page, with the way to the next one in a field too (RFC 8288).
pub(crate) fn paged<T: Serialize>(
    uri: &OriginalUri,
    name: &str,
    next: Option<&str>,
    page: T,
) -> Response {
    let mut response = axum::Json(page).into_response();
    if let Some(next) = next
        && let Ok(value) =
            HeaderValue::from_str(&format!("<{}>; rel=\"next\"", with(uri, name, next)))
    {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

/// The same request with another cursor.
fn with(uri: &Uri, name: &str, value: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, old) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if key != name {
            query.append_pair(&key, &old);
        }
    }
    query.append_pair(name, value);
    format!("{}?{}", uri.path(), query.finish())
}

/// Refuses a body by the length that it announces, before anybody waits for it.
pub(crate) async fn bound(request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|octets| octets > BODY_OCTETS_MAX as u64) {
        return too_large().into_response();
    }
    next.run(request).await
}

/// Takes the body of a request that is refused anyway, up to the bound: a client that is still sending would lose the answer
/// with the connection. Gives its path.
pub(crate) async fn read_to_the_end(request: Request) -> String {
    let path = match request.extensions().get::<OriginalUri>() {
        Some(uri) => uri.path().to_owned(),
        None => request.uri().path().to_owned(),
    };
    let _ = axum::body::to_bytes(request.into_body(), BODY_OCTETS_MAX).await;
    path
}

/// Gives every request an id, or keeps the one it came with, and says in the log who did what and how it ended; nothing of what
/// was sent.
pub(crate) async fn trace(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers()).unwrap_or_else(|| {
        let mut octets = [0; 12];
        console.entropy.fill(&mut octets);
        hex::encode(octets)
    });
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let who = response.extensions().get::<Who>().cloned();
    let actor = who.map_or_else(|| "nobody known".to_owned(), |who| who.0);
    match method == Method::GET || method == Method::HEAD {
        true => tracing::debug!(%id, %actor, %method, path, status, "request"),
        false => tracing::info!(%id, %actor, %method, path, status, "request"),
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    const LENGTH_MAX: usize = 64;
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_good = (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(is_plain);
    is_good.then(|| text.to_owned())
}

/// Who asked, for the log.
#[derive(Clone)]
struct Who(String);

/// Tells the log who asked, and gives what was read a tag by which it need not be sent again (RFC 9110 section 8.8.3).
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let who = request
        .extensions()
        .get::<Reader>()
        .map(|reader| match &reader.via {
            Via::Session { principal, .. } => format!("principal:{principal}"),
            Via::Token { principal } => format!("token:{principal}"),
            Via::Proof => "a proof".to_owned(),
            Via::Local { operator } => format!("operator:{operator}"),
        });
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if is_read && response.status() == StatusCode::OK {
        response = tagged(response, known.as_ref()).await;
    }
    if let Some(who) = who {
        response.extensions_mut().insert(Who(who));
    }
    response
}

async fn tagged(response: Response, known: Option<&HeaderValue>) -> Response {
    use axum::body::HttpBody;
    let length = response.body().size_hint().exact();
    if length.is_none_or(|length| length > TAGGED_OCTETS_MAX) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(octets) = axum::body::to_bytes(body, BODY_OCTETS_MAX).await else {
        return crate::site::broke_off().into_response();
    };
    let digest = Digest::of(&[&octets]);
    let short = digest.as_bytes().get(..12).unwrap_or_default();
    let tag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(short));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    let is_known = known
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.trim() == "*" || list.split(',').any(|one| one.trim() == tag));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_of_their_list_and_bounded() {
        let text = cursor("devices", &("a", 7));
        assert_eq!(
            read_cursor::<(String, i64)>("devices", &text).unwrap(),
            ("a".to_owned(), 7)
        );
        assert!(read_cursor::<(String, i64)>("operations", &text).is_err());
        assert!(read_cursor::<i64>("devices", &text).is_err());
        for bad in ["", "%", "e30", &"A".repeat(10_000)] {
            assert!(
                read_cursor::<(String, i64)>("devices", bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_next_page_is_the_same_request_with_another_cursor() {
        let uri: Uri = "/api/v1/devices?fleet=a%26b&after=old&limit=5"
            .parse()
            .unwrap();
        assert_eq!(
            with(&uri, "after", "new"),
            "/api/v1/devices?fleet=a%26b&limit=5&after=new"
        );
    }

    #[test]
    fn ids_of_requests_are_short_and_plain() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            request_id(&headers)
        };
        assert_eq!(of("a-B_1.2").as_deref(), Some("a-B_1.2"));
        assert_eq!(of("a b"), None);
        assert_eq!(of("<script>"), None);
        assert_eq!(of(""), None);
    }
}
