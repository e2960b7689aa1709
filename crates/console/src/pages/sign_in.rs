//! The door: signing in, and enrolling a first or further passkey.

use askama::Template;
use axum::http::Uri;

use super::visit::Fields;
use super::{Page, assets, show};
use crate::security::local_path;

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    assets: String,
    next: String,
}

/// `GET /sign-in`
pub(super) async fn sign_in(uri: Uri) -> Page {
    let query = Fields::parse(uri.query().unwrap_or("").as_bytes());
    show(&SignInPage {
        assets: assets::base(),
        next: local_path(query.get("next").unwrap_or("/")).to_owned(),
    })
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage {
    assets: String,
}

/// `GET /enrol`
pub(super) async fn enrol() -> Page {
    show(&EnrolPage {
        assets: assets::base(),
    })
}
