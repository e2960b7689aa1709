//! The REST API, `/api/v1`.

use std::sync::Arc;

use axum::Router;

use crate::site::Console;

/// All paths below `/api/v1`.
pub(crate) fn router() -> Router<Arc<Console>> {
    Router::new()
}
