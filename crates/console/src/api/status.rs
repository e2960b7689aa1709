//! How this server is.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use edge::server::Counters;
use rsp::der::Element;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Answer, Site, Who};
use crate::Problem;

/// What the server tells about itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Where devices poll.
    pub fqdn: String,
    /// Where ESipa listens.
    pub listen: std::net::SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Insecure settings that are on.
    pub insecure: Vec<&'static str>,
    /// What happened on the ESipa listener.
    pub counters: Arc<Counters>,
}

/// Who this eIM is and how it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// Name of the eIM (eimId).
    eim_id: String,
    /// Version of this program.
    version: &'static str,
    /// Devices that you see.
    devices: i64,
    /// How the authority stands; for auditors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    authority: Option<Value>,
    /// The server itself; for auditors.
    #[serde(flatten)]
    server: Option<ServerShown>,
}

/// The server itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerShown {
    /// Where devices poll.
    fqdn: String,
    /// Where ESipa listens.
    #[schema(value_type = String)]
    listen: std::net::SocketAddr,
    /// The data folder.
    #[schema(value_type = String)]
    data: PathBuf,
    /// RFC 3339.
    started_at: String,
    /// Insecure settings that are on.
    insecure: Vec<&'static str>,
    /// Connections of devices.
    connections_accepted: u64,
    /// Connections that were refused for lack of room.
    connections_refused: u64,
    /// TLS handshakes that failed.
    handshakes_failed: u64,
    /// Requests of devices.
    requests: u64,
}

/// Who this eIM is and how it is.
#[utoipa::path(get, path = "/status", tag = "status", responses((status = 200, description = "Name, version, counters", body = Status)))]
pub(super) async fn status(State(console): Site, Extension(reader): Who) -> Answer<Status> {
    let fleets = console.eim.fleets(&reader.visible())?;
    let devices = fleets
        .iter()
        .map(|fleet| fleet.devices.registered + fleet.devices.associated + fleet.devices.retired);
    let mut status = Status {
        eim_id: console.eim.eim_id().as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        devices: devices.sum(),
        authority: None,
        server: None,
    };
    if reader.may_audit() {
        // What the eIM's own state says of its authority, which may be away.
        let authority: Result<Value, Problem> = console.authority.get("/v1/status").await;
        status.authority =
            Some(authority.unwrap_or_else(|problem| json!({ "error": problem.detail })));
        status.server = console.settings.server.as_ref().map(shown);
    }
    Ok(Json(status))
}

fn shown(info: &ServerInfo) -> ServerShown {
    let counters = info.counters.values();
    ServerShown {
        fqdn: info.fqdn.clone(),
        listen: info.listen,
        data: info.data.clone(),
        started_at: info.started_at.clone(),
        insecure: info.insecure.clone(),
        connections_accepted: counters.accepted,
        connections_refused: counters.connections_refused,
        handshakes_failed: counters.handshakes_failed,
        requests: counters.requests,
    }
}

/// What a device needs to be associated with this eIM.
#[derive(Serialize, ToSchema)]
pub(crate) struct AssociationData {
    /// Name of the eIM (eimId).
    eim_id: String,
    /// EimConfigurationData (SGP.32 section 2.11.1.1), DER in upper-case hexadecimal.
    der: String,
}

/// What a device needs for AddInitialEim.
#[utoipa::path(get, path = "/association-data", tag = "status",
    responses((status = 200, description = "The eIM's configuration data; there is no secret in it", body = AssociationData)))]
pub(super) async fn association_data(State(console): Site) -> Answer<AssociationData> {
    let data = console
        .eim
        .association_data()
        .await
        .map_err(|error| Problem::no_authority(&error))?;
    Ok(Json(AssociationData {
        eim_id: data.eim_id.as_str().to_owned(),
        der: hex::encode_upper(data.to_der()),
    }))
}
