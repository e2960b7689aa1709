//! The pages that people see.

use std::sync::Arc;

use axum::Router;

use crate::site::Console;

/// Pages for people who are signed in.
pub(crate) fn router() -> Router<Arc<Console>> {
    Router::new()
}

/// Scripts, styles and pages that need nobody signed in.
pub(crate) fn assets() -> Router<Arc<Console>> {
    Router::new()
}
