//! `[console]`: API and pages for people and systems.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// `[console]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConsoleSection {
    /// Where it listens.
    pub(crate) listen: ConsoleListen,
    /// Where browsers find it: `https://host[:port]`. By default the host of `eim.fqdn` with the port it listens on.
    pub(crate) origin: Option<String>,
    /// Certificate chain, PEM or one DER certificate. By default that of ESipa.
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Name of its key in `keys`. By default that of ESipa.
    pub(crate) tls_key: Option<String>,
    /// Serve without TLS, to browsers on this machine only.
    pub(crate) insecure_http: bool,
    /// Certificates that receivers of webhooks chain to: a file of PEM, or a folder.
    pub(crate) webhook_trust: PathBuf,
    /// Hosts of webhooks that may be on networks of our own.
    pub(crate) webhook_hosts: Vec<String>,
    /// Minutes without a request after which a session ends.
    pub(crate) session_idle_minutes: u32,
    /// Hours after which a session ends in any case.
    pub(crate) session_hours: u32,
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ConsoleListen {
    /// There is no console.
    #[default]
    Off,
    /// Here.
    At(SocketAddr),
}

/// Neither.
#[derive(Debug, thiserror::Error)]
#[error("expected an address with a port, such as 127.0.0.1:8442, or the word off")]
pub(crate) struct NoConsoleListen;

impl Default for ConsoleSection {
    fn default() -> Self {
        Self {
            listen: ConsoleListen::Off,
            origin: None,
            tls_certificate: None,
            tls_key: None,
            insecure_http: false,
            webhook_trust: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            webhook_hosts: Vec::new(),
            session_idle_minutes: 30,
            session_hours: 12,
        }
    }
}

impl FromStr for ConsoleListen {
    type Err = NoConsoleListen;

    fn from_str(text: &str) -> Result<Self, NoConsoleListen> {
        match text {
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::At).map_err(|_| NoConsoleListen),
        }
    }
}

impl<'de> Deserialize<'de> for ConsoleListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
