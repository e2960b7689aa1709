//! The REST API. Systems reach it over TLS under `/api/v1`; the command line reaches the same handlers over the control socket
//! under `/v1`. The two doors differ in who is let in, and in nothing that is shown.

mod data;
mod description;
mod devices;
mod exchange;
mod intents;
mod operations;
mod people;
mod plans;
mod redaction;
mod status;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::{HeaderValue, Method, Uri, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::reader::Reader;
use crate::site::Console;
use crate::{Problem, live, security, sim_swap, webhooks};

pub(crate) use data::Repeated;
pub use data::{DeviceEnrichment, EnrichDevices};
pub use description::openapi;
pub(crate) use exchange::trace;
pub use status::ServerInfo;

type Site = State<Arc<Console>>;
type Who = Extension<Reader>;
type Answer<T> = Result<Json<T>, Problem>;

/// All paths below `/api/v1`.
pub(crate) fn router() -> Router<Arc<Console>> {
    finished(routes_with_description().split_for_parts().0)
}

/// All paths below `/v1` of the control socket: the same, and what only somebody on this machine may ask for.
pub(crate) fn local(console: &Arc<Console>) -> Router {
    let extra = Router::new()
        .route("/enrolments", post(pass_on))
        .route("/tokens/check", post(pass_on));
    let router = routes_with_description().split_for_parts().0.merge(extra);
    Router::new()
        .nest("/v1", finished(router))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(Arc::clone(console), bearer))
        .layer(middleware::from_fn(exchange::bound))
        .layer(middleware::from_fn_with_state(Arc::clone(console), trace))
        .with_state(Arc::clone(console))
}

fn finished(router: Router<Arc<Console>>) -> Router<Arc<Console>> {
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(exchange::BODY_OCTETS_MAX))
        .layer(middleware::from_fn(exchange::tag))
}

fn routes_with_description() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new()
        .routes(routes!(devices::list, plans::register))
        .routes(routes!(data::enrich))
        .routes(routes!(data::import))
        .routes(routes!(devices::show, plans::retire))
        .routes(routes!(devices::profiles, plans::download))
        .routes(routes!(plans::delete))
        .routes(routes!(plans::enable))
        .routes(routes!(plans::disable))
        .routes(routes!(devices::eims))
        .routes(routes!(devices::notifications))
        .routes(routes!(devices::events))
        .routes(routes!(devices::operations))
        .routes(routes!(devices::history))
        .routes(routes!(devices::tags, devices::change_tags))
        .routes(routes!(plans::reassociate))
        .routes(routes!(operations::list, plans::operate))
        .routes(routes!(operations::show))
        .routes(routes!(plans::plan))
        .routes(routes!(intents::list, intents::propose))
        .routes(routes!(intents::show))
        .routes(routes!(intents::decide))
        .routes(routes!(plans::cancel))
        .routes(routes!(people::me))
        .routes(routes!(people::principals))
        .routes(routes!(people::principal))
        .routes(routes!(people::sessions, people::end_other_sessions))
        .routes(routes!(people::end_session))
        .routes(routes!(people::policy, plans::set_policy))
        .routes(routes!(people::freezes))
        .routes(routes!(people::signing_keys))
        .routes(routes!(people::checkpoint))
        .routes(routes!(people::entry_proof))
        .routes(routes!(people::parameters))
        .routes(routes!(people::authority))
        .routes(routes!(status::status))
        .routes(routes!(status::association_data))
        .routes(routes!(live::events))
        .routes(routes!(webhooks::http::list, webhooks::http::add))
        .routes(routes!(webhooks::http::show, webhooks::http::remove))
        .routes(routes!(webhooks::http::test))
        .routes(routes!(webhooks::http::replay))
        .routes(routes!(sim_swap::check))
        .routes(routes!(sim_swap::retrieve_date))
        .route("/openapi.json", get(description::served))
}

/// A token for reading is not needed on the socket. One that is shown has to be good, and shows what it shows elsewhere.
async fn bearer(State(console): Site, mut request: Request, next: Next) -> Response {
    let presented = request.headers().get(header::AUTHORIZATION).cloned();
    let Some(presented) = presented else {
        return next.run(request).await;
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD)
        || sim_swap::PATHS.contains(&format!("/api{}", request.uri().path()).as_str());
    match security::token(&console, reads, &presented, None).await {
        Ok(reader) => {
            request.extensions_mut().insert(reader);
            next.run(request).await
        }
        Err(problem) => {
            exchange::read_to_the_end(request).await;
            problem.into_response()
        }
    }
}

/// What the authority answers by itself.
async fn pass_on(
    State(console): Site,
    uri: Uri,
    method: Method,
    body: Bytes,
) -> Result<Response, Problem> {
    // The socket's prefix is the authority's as well.
    answered(&console, method, format!("/v1{}", uri.path()), body).await
}

/// Something that the authority shows as it is.
async fn forward(console: &Console, target: String) -> Result<Response, Problem> {
    answered(console, Method::GET, target, Bytes::new()).await
}

async fn answered(
    console: &Console,
    method: Method,
    target: String,
    body: Bytes,
) -> Result<Response, Problem> {
    let answer = console.authority.forward(method, target, body).await?;
    let kind = match answer.status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// People, policy and the record are for those who audit.
fn audited(reader: &Reader) -> Result<(), Problem> {
    match reader.may_audit() {
        true => Ok(()),
        false => Err(Problem::new(
            http::StatusCode::FORBIDDEN,
            "auditors-only",
            "This is for auditors",
            "people, policy and the record are shown to the roles auditor, security-admin and owner",
            "ask somebody who has one of them",
        )),
    }
}

async fn nothing_here(request: Request) -> Problem {
    Problem::no_such_path(&exchange::read_to_the_end(request).await)
}

async fn no_such_method(request: Request) -> Problem {
    Problem::no_such_method(&exchange::read_to_the_end(request).await)
}
