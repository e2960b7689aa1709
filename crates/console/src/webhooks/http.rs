//! Webhooks in the REST API.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Webhook;
use crate::Problem;
use crate::reader::Reader;
use crate::site::Console;

type Site = State<Arc<Console>>;
type Who = Extension<Reader>;
type Received<T> = Result<Json<T>, JsonRejection>;

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// UUIDv7.
    id: Uuid,
    /// Whose it is: it sees what they see.
    owner: String,
    /// Where it goes.
    url: String,
    /// Kinds of events; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    kinds: Option<Vec<String>>,
    /// Milliseconds since 1970.
    created_at: i64,
    /// `active`, `given-up`, `gone` or `owner-ended`.
    state: &'static str,
    /// Up to which event it was told.
    cursor: i64,
    /// Failures in a row.
    attempts: i64,
    /// When it is tried again. Milliseconds since 1970.
    next_attempt_at: i64,
    /// HTTP status of the last attempt.
    last_status: Option<i64>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// Milliseconds since 1970.
    last_success_at: Option<i64>,
}

/// Where to tell what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// `https://host[:port]/path`.
    #[schema(example = "https://hooks.example.com/palisade")]
    url: String,
    /// Kinds of events, such as `operation-done`; absent: all.
    kinds: Option<Vec<String>>,
}

/// A webhook with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddedWebhook {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What the receiver verifies with (Standard Webhooks): `whsec_…`.
    secret: String,
}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tested {
    /// HTTP status that the receiver answered with.
    status: Option<u16>,
    /// Why there was no answer.
    error: Option<String>,
}

/// From where on to tell again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// Behind this event; absent: from where it stands, to go on after it was given up.
    after: Option<i64>,
}

impl From<Webhook> for WebhookView {
    fn from(hook: Webhook) -> Self {
        let standing = hook.standing;
        Self {
            id: hook.id,
            owner: hook.owner.to_string(),
            url: hook.url,
            kinds: hook.kinds,
            created_at: hook.created_at,
            state: standing.state.as_str(),
            cursor: standing.cursor,
            attempts: standing.attempts,
            next_attempt_at: standing.next_attempt_at,
            last_status: standing.last_status,
            last_error: standing.last_error,
            last_success_at: standing.last_success_at,
        }
    }
}

/// Lists webhooks: one's own, or for who may see everything all.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", responses(
    (status = 200, description = "Webhooks", body = [WebhookView]),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(console): Site,
    Extension(reader): Who,
) -> Result<Json<Vec<WebhookView>>, Problem> {
    let hooks = console.webhooks_of(&reader)?;
    Ok(Json(hooks.into_iter().map(Into::into).collect()))
}

/// Adds a webhook. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook, responses(
    (status = 201, description = "Added", body = AddedWebhook),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn add(
    State(console): Site,
    Extension(reader): Who,
    body: Received<NewWebhook>,
) -> Result<(StatusCode, Json<AddedWebhook>), Problem> {
    let Json(NewWebhook { url, kinds }) = body?;
    let hook = console.add_webhook(&reader, &url, kinds).await?;
    let added = AddedWebhook {
        secret: hook.secret.to_text().to_string(),
        webhook: hook.into(),
    };
    Ok((StatusCode::CREATED, Json(added)))
}

/// Shows a webhook.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "The webhook", body = WebhookView),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(console): Site,
    Extension(reader): Who,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(console.webhook_of(&reader, parsed(&id)?)?.into()))
}

/// Removes a webhook.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = Uuid, Path,)), responses(
    (status = 204, description = "Removed"),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn remove(
    State(console): Site,
    Extension(reader): Who,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    console.remove_webhook(&reader, parsed(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test at once.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "What came of it", body = Tested),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn test(
    State(console): Site,
    Extension(reader): Who,
    Path(id): Path<String>,
) -> Result<Json<Tested>, Problem> {
    let hook = console.webhook_of(&reader, parsed(&id)?)?;
    Ok(Json(match console.test_webhook(&hook).await {
        Ok(status) => Tested {
            status: Some(status),
            error: None,
        },
        Err(error) => Tested {
            status: None,
            error: Some(error),
        },
    }))
}

/// Has events told again, and goes on with a webhook that was given up.
#[utoipa::path(post, path = "/webhooks/{id}/replay", tag = "webhooks", request_body = Replay, params(("id" = Uuid, Path,)), responses(
    (status = 200, description = "From where it is told now", body = WebhookView),
    (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn replay(
    State(console): Site,
    Extension(reader): Who,
    Path(id): Path<String>,
    body: Received<Replay>,
) -> Result<Json<WebhookView>, Problem> {
    let Json(Replay { after }) = body?;
    let hook = console.replay_webhook(&reader, parsed(&id)?, after).await?;
    Ok(Json(hook.into()))
}

fn parsed(id: &str) -> Result<Uuid, Problem> {
    id.parse()
        .map_err(|_| Problem::invalid(format!("{id:?} is not the id of a webhook")))
}
