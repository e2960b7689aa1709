//! ESipa over HTTPS, in both function bindings (SGP.32 section 6.1).

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use edge::server::{ConnectionInfo, Handler};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use rsp::binding::esipa::{self, Function};
use rsp::binding::http::{AdminProtocol, Binding, Interface, Route, UserAgent};
use rsp::der::Limits;

use crate::esipa::Unanswerable;
use crate::{ConnectionId, Eim, Peer};

/// Largest ESipa message accepted, in octets. Packages and results are far smaller; the largest
/// an IPA sends are its certificates and its list of Notifications.
pub const MESSAGE_OCTETS_MAX: usize = 64 * 1024;

const ESIPA_LIMITS: Limits = Limits {
    message_octets_max: MESSAGE_OCTETS_MAX,
    depth_max: 24,
    list_members_max: 256,
    non_minimal_lengths: false,
};

static ADMIN_PROTOCOL: HeaderName = HeaderName::from_static("x-admin-protocol");

/// Answers ESipa requests for an eIM.
#[derive(Clone)]
pub struct EsipaHandler(Arc<Eim>);

impl EsipaHandler {
    /// A handler for `eim`, to be served by [`edge::server::Server::serve_handler`].
    pub fn new(eim: Arc<Eim>) -> Self {
        Self(eim)
    }

    async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let version = match check_headers(&parts.headers) {
            Ok(version) => version,
            Err(problem) => return refuse(problem),
        };
        let Some(info) = parts.extensions.get::<ConnectionInfo>() else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "no transport connection");
        };
        let peer = Peer {
            connection: ConnectionId(info.id.0),
            address: info.peer.ip(),
        };
        let route = match check_route(&parts.method, parts.uri.path(), &parts.headers) {
            Ok(route) => route,
            Err(problem) => return refuse(problem),
        };
        let (binding, request, function) = match route {
            Route::Asn1 => {
                let function = rsp::der::Reader::new(&body, &ESIPA_LIMITS)
                    .ok()
                    .and_then(|reader| reader.peek_tag())
                    .and_then(Function::from_tag);
                (
                    Binding::Asn1,
                    esipa::Request::from_asn1_within(&body, &ESIPA_LIMITS),
                    function,
                )
            }
            Route::Json { function, .. } => (
                Binding::Json,
                esipa::Request::from_json_within(function, &body, &ESIPA_LIMITS),
                Function::ALL
                    .into_iter()
                    .find(|known| known.name() == function),
            ),
        };
        let response = match request {
            Ok(request) => match self.0.handle(request, &peer).await {
                Ok(response) => response,
                Err(unanswerable) => return trouble(unanswerable),
            },
            Err(error) => {
                match function.and_then(|function| esipa::Response::refusal(function, &error)) {
                    Some(refusal) => refusal,
                    None => return plain(StatusCode::BAD_REQUEST, "not an ESipa message"),
                }
            }
        };
        message(&response, binding, version)
    }
}

impl Handler for EsipaHandler {
    type Body = Body;

    async fn call(&self, request: Request<Bytes>) -> Response<Body> {
        self.answer(request).await
    }
}

/// What is wrong with a request before its body is looked at.
enum Problem {
    Path,
    Method,
    ContentType,
    AdminProtocol,
    UserAgent,
}

fn check_route<'a>(
    method: &Method,
    path: &'a str,
    headers: &HeaderMap,
) -> Result<Route<'a>, Problem> {
    let route = Route::from_path(path).ok_or(Problem::Path)?;
    if matches!(route, Route::Json { interface, .. } if interface != Interface::Esipa) {
        return Err(Problem::Path);
    }
    if method != Method::POST {
        return Err(Problem::Method);
    }
    let content_type = text(headers, &header::CONTENT_TYPE).ok_or(Problem::ContentType)?;
    let binding = Binding::from_content_type(content_type).map_err(|_| Problem::ContentType)?;
    if binding != route.binding() {
        return Err(Problem::ContentType);
    }
    Ok(route)
}

/// `X-Admin-Protocol` of any version, to be answered with; `User-Agent` of an IPA.
fn check_headers(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let version = text(headers, &ADMIN_PROTOCOL).ok_or(Problem::AdminProtocol)?;
    let _: AdminProtocol = version.parse().map_err(|_| Problem::AdminProtocol)?;
    let agent = text(headers, &header::USER_AGENT).ok_or(Problem::UserAgent)?;
    match agent.parse::<UserAgent>() {
        Ok(UserAgent::Ipad | UserAgent::Ipae) => {}
        _ => return Err(Problem::UserAgent),
    }
    headers
        .get(&ADMIN_PROTOCOL)
        .cloned()
        .ok_or(Problem::AdminProtocol)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn message(response: &esipa::Response, binding: Binding, version: HeaderValue) -> Response<Body> {
    let body = match binding {
        Binding::Asn1 => Ok(response.to_asn1()),
        Binding::Json => response.to_json(),
    };
    let Ok(body) = body else {
        return plain(
            StatusCode::BAD_REQUEST,
            "the answer has no form in the JSON binding",
        );
    };
    let status = if body.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    let mut answer = Response::new(body.map_or_else(Body::empty, Body::from));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(ADMIN_PROTOCOL.clone(), version);
    if status == StatusCode::OK {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(binding.content_type()),
        );
    }
    answer
}

fn refuse(problem: Problem) -> Response<Body> {
    match problem {
        Problem::Path => plain(
            StatusCode::NOT_FOUND,
            "ESipa is at /gsma/rsp2/asn1 and /gsma/rsp2/esipa/<function>",
        ),
        Problem::Method => {
            let mut answer = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "ESipa messages are sent with POST",
            );
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("POST"));
            answer
        }
        Problem::ContentType => plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type is application/x-gsma-rsp-asn1 on /gsma/rsp2/asn1, else application/json",
        ),
        Problem::AdminProtocol => plain(
            StatusCode::BAD_REQUEST,
            "X-Admin-Protocol is gsma/rsp/v<x.y.z>",
        ),
        Problem::UserAgent => plain(
            StatusCode::BAD_REQUEST,
            "User-Agent begins with gsma-rsp-ipad or gsma-rsp-ipae",
        ),
    }
}

fn trouble(unanswerable: Unanswerable) -> Response<Body> {
    const RETRY_AFTER_S: u32 = 30;
    match unanswerable {
        Unanswerable::NotAccepted => plain(StatusCode::FORBIDDEN, "not accepted"),
        Unanswerable::TryLater => {
            let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "try again later");
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            answer
        }
    }
}

fn plain(status: StatusCode, why: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(why));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain;charset=UTF-8"),
    );
    answer
}
