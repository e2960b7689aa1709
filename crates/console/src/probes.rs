//! What machines ask about the installation: whether it lives, whether it can work, and its figures for Prometheus.
//!
//! Health and readiness are for everybody who reaches the listener and say nothing else. The figures are read with a token or a
//! session, and are those of the fleets that it sees.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use eim::fleet::Overview;
use http::{HeaderValue, StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Problem;
use crate::reader::Reader;
use crate::site::Console;

/// What everybody may ask.
pub(crate) fn open() -> Router<Arc<Console>> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// What readers may ask.
pub(crate) fn guarded() -> Router<Arc<Console>> {
    Router::new().route("/metrics", get(metrics))
}

/// How the console's own requests went.
pub(crate) struct Requests {
    answers: Family<Answered, Counter>,
    seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    provider: String,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            // From half a millisecond to some four seconds.
            seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
        }
    }
}

/// Counts an answer.
pub(crate) async fn count(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    };
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    console
        .requests
        .answers
        .get_or_create(&Answered { method, status })
        .inc();
    console
        .requests
        .seconds
        .observe(begun.elapsed().as_secs_f64());
    response
}

/// The process answers.
async fn healthz() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// Database and authority answer, too. What is wrong is said in the log, not to strangers.
async fn readyz(State(console): State<Arc<Console>>) -> Response {
    let database = console.eim.device_count().is_ok();
    let authority = authority_status(&console).await.is_ok();
    let body = Json(json!({
        "status": if database && authority { "ready" } else { "not-ready" },
        "database": database,
        "authority": authority,
    }));
    match database && authority {
        true => body.into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, body).into_response(),
    }
}

/// What of the authority's state is a figure.
#[derive(Debug, Deserialize, Serialize)]
struct AuthorityStatus {
    entries: u64,
    newest_at: i64,
    policy_version: u64,
    freezes: Vec<Value>,
    fault: Option<String>,
}

async fn authority_status(console: &Console) -> Result<AuthorityStatus, Problem> {
    let status: AuthorityStatus = console.authority.get("/v1/status").await?;
    match &status.fault {
        None => Ok(status),
        Some(fault) => {
            tracing::error!(fault, "the authority cannot work");
            Err(Problem::invalid("the authority cannot work"))
        }
    }
}

/// The figures, in OpenMetrics text.
async fn metrics(
    State(console): State<Arc<Console>>,
    Extension(reader): Extension<Reader>,
) -> Result<Response, Problem> {
    let overview = console.eim.fleet_overview(&reader.visible(), None)?;
    let mut registry = Registry::with_prefix("palisade");
    fleet(&mut registry, &overview);
    authority(
        &mut registry,
        authority_status(&console).await.ok().as_ref(),
    );
    registry.register(
        "console_requests",
        "Requests that the console answered",
        console.requests.answers.clone(),
    );
    registry.register_with_unit(
        "console_request_duration",
        "Time until an answer of the console began",
        Unit::Seconds,
        console.requests.seconds.clone(),
    );
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::unavailable(&error))?;
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

type States = Family<Of, Gauge>;

fn fleet(registry: &mut Registry, overview: &Overview) {
    let states = |pairs: &[(&'static str, i64)]| {
        let family = States::default();
        for (state, count) in pairs {
            family.get_or_create(&Of { state }).set(*count);
        }
        family
    };
    let Overview {
        devices,
        polls,
        operations,
        ended_today: ended,
        ..
    } = overview;
    registry.register(
        "devices",
        "Devices by state",
        states(&[
            ("registered", devices.registered),
            ("associated", devices.associated),
            ("retired", devices.retired),
        ]),
    );
    registry.register(
        "devices_last_poll",
        "Devices that are not retired, by when they polled last",
        states(&[
            ("hour", polls.hour),
            ("day", polls.day),
            ("week", polls.week),
            ("earlier", polls.earlier),
            ("never", polls.never),
        ]),
    );
    registry.register(
        "operations_open",
        "Operations that are not over",
        states(&[
            ("queued", operations.queued),
            ("in-flight", operations.in_flight),
        ]),
    );
    registry.register(
        "operations_ended_day",
        "Operations that ended in the last 24 hours",
        states(&[
            ("done", ended.done),
            ("failed", ended.failed),
            ("cancelled", ended.cancelled),
            ("expired", ended.expired),
            ("rolled-back", ended.rolled_back),
        ]),
    );
    let providers = Family::<By, Gauge>::default();
    for share in &overview.providers {
        let by = By {
            provider: share.provider.clone(),
        };
        providers.get_or_create(&by).set(share.enabled);
    }
    registry.register(
        "profiles_enabled",
        "Enabled profiles of the ten providers with most",
        providers,
    );
}

fn authority(registry: &mut Registry, status: Option<&AuthorityStatus>) {
    let gauge = |value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        gauge
    };
    registry.register(
        "authority_up",
        "Whether the authority answers and can work",
        gauge(status.is_some().into()),
    );
    let Some(status) = status else {
        return;
    };
    let entries = Counter::<u64, AtomicU64>::default();
    entries.inc_by(status.entries);
    registry.register("ledger_entries", "Durable entries of the record", entries);
    registry.register(
        "policy_version",
        "Version of the policy",
        gauge(i64::try_from(status.policy_version).unwrap_or(i64::MAX)),
    );
    registry.register(
        "freezes",
        "What is frozen: principals, credentials, fleets, everything",
        gauge(i64::try_from(status.freezes.len()).unwrap_or(i64::MAX)),
    );
    registry.register_with_unit(
        "ledger_newest_entry_timestamp",
        "When the newest entry of the record was written",
        Unit::Seconds,
        gauge(status.newest_at.div_euclid(1000)),
    );
}
