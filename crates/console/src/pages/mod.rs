//! The pages that people see.
//!
//! Each page reads what it shows for whoever looks ([`visit::Visit`]) and fills a template of `templates/`, in which everything
//! is escaped. What somebody wants changed becomes a plan, is shown, and is signed in the browser over the hash on the page
//! ([`propose`]); nothing is changed by sending a form.

mod assets;
mod charts;
mod device;
mod devices;
mod errors;
mod euicc;
mod fleet;
mod frame;
mod intents;
mod ledger;
mod operations;
mod people;
mod policy;
mod profiles;
mod propose;
mod sessions;
mod sign_in;
mod timeline;
mod visit;
mod wanted;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::Problem;
use crate::site::Console;

pub(crate) use errors::explain;

/// Pages for people who are signed in.
pub(crate) fn router() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(fleet::page))
        .route("/devices", get(devices::page))
        .route("/devices/{eid}", get(device::page))
        .route("/devices/{eid}/timeline", get(timeline::page))
        .route("/devices/{eid}/history.json", get(timeline::bundle))
        .route("/devices/{eid}/certificates.pem", get(device::certificates))
        .route("/devices/{eid}/tags", post(device::tags))
        .route("/operations", get(operations::page))
        .route("/operations/{id}", get(operations::one))
        .route("/approvals", get(intents::approvals))
        .route("/intents", get(intents::list))
        .route("/intents/{id}", get(intents::page))
        .route("/intents/{id}/live", get(intents::live))
        .route("/propose", get(propose::form).post(propose::preview))
        .route("/profiles", get(profiles::page))
        .route("/people", get(people::page))
        .route("/people/{name}", get(people::one))
        .route("/policy", get(policy::page))
        .route("/policy/edit", get(policy::edit))
        .route("/ledger", get(ledger::page))
        .route("/ledger/entries/{number}", get(ledger::entry))
        .route("/ledger/entries/{number}/proof.json", get(ledger::proof))
        .route("/sessions", get(sessions::page))
        .route("/sessions/end", post(sessions::end))
}

/// Scripts, styles and pages that need nobody signed in.
pub(crate) fn assets() -> Router<Arc<Console>> {
    Router::new()
        .route("/assets/{hash}/{name}", get(assets::one))
        .route("/sign-in", get(sign_in::sign_in))
        .route("/enrol", get(sign_in::enrol))
}

type Page = Result<Response, Problem>;

/// A page from its template.
fn show(template: &impl Template) -> Page {
    match template.render() {
        Ok(text) => Ok(Html(text).into_response()),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}
