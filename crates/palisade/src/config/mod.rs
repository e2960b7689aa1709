//! Settings: a TOML file, under the environment, under the flags.
//!
//! The file is read here; flags and environment are merged by clap, and laid over the file by each command. Whatever
//! weakens a protection is named `insecure_...`.

mod authority;
mod console;
mod example;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Deserialize;

use crate::logging::{self, LogFormat};

pub(crate) use authority::{AuthorityPlace, AuthoritySection, WitnessSection};
pub(crate) use console::{ConsoleListen, ConsoleSection};
pub(crate) use example::EXAMPLE;

/// A configuration file. Every member has a default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// The eIM: `palisade serve`.
    pub(crate) eim: EimSection,
    /// The authority: `palisade authority`, and where `palisade serve` finds it.
    pub(crate) authority: AuthoritySection,
    /// API and pages, beside the eIM.
    pub(crate) console: ConsoleSection,
    /// What peers may cost, for every listener.
    pub(crate) limits: LimitsSection,
    /// Log lines.
    pub(crate) log: LogSection,
    /// The SM-DP+: `palisade smdp`.
    pub(crate) smdp: SmdpSection,
    /// Where relative paths begin: the folder of the file.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// `[eim]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EimSection {
    /// eimId: the name that eUICCs know this eIM by.
    pub(crate) id: Option<String>,
    /// Host name and port under which devices reach ESipa.
    pub(crate) fqdn: Option<String>,
    /// Where ESipa listens.
    pub(crate) listen: SocketAddr,
    /// Certificate chain of ESipa, PEM or one DER certificate.
    pub(crate) tls_certificate: PathBuf,
    /// Name of its key in `keys`.
    pub(crate) tls_key: String,
    /// Lowest TLS version on ESipa.
    pub(crate) tls_version_min: TlsVersionMin,
    /// Folder with the certificates and CRLs of the CIs that eUICCs and SM-DP+s chain to, and of sub-CAs and EUMs.
    pub(crate) euicc_trust: PathBuf,
    /// Folder with the roots of the TLS certificates of SM-DP+s.
    pub(crate) smdp_trust: PathBuf,
    /// Addresses that replace name resolution for SM-DP+s.
    pub(crate) resolve: BTreeMap<String, SocketAddr>,
    /// Operations that may wait for one device.
    pub(crate) queue_per_device_max: usize,
    /// How long an operation may wait and be executed.
    pub(crate) operation_lifetime_hours: u32,
    /// See [`eim::Config::insecure_trust_any_connection`].
    pub(crate) insecure_trust_any_connection: bool,
    /// See [`pki::ChainPolicy::insecure_ignore_eum_name_constraints`].
    pub(crate) insecure_ignore_eum_name_constraints: bool,
    /// See [`store::Durability::InsecureNormal`].
    pub(crate) insecure_no_flush: bool,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsSection {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Connections at a time from one address.
    pub(crate) connections_per_peer_max: usize,
    /// Requests worked on at a time.
    pub(crate) requests_max: usize,
    /// Octets of a request's body.
    pub(crate) body_octets_max: usize,
    /// Seconds without a request after which a connection is closed.
    pub(crate) idle_timeout_s: u64,
    /// Seconds that open requests get when the server stops.
    pub(crate) drain_timeout_s: u64,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// Level, or list of levels by module.
    pub(crate) filter: String,
    /// How lines look.
    pub(crate) format: LogFormat,
}

/// `[smdp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SmdpSection {
    /// Host name of this SM-DP+, as in activation codes and certificates. Without a port.
    pub(crate) fqdn: Option<String>,
    /// Where ES9+ listens.
    pub(crate) listen: SocketAddr,
    /// Where ES2+ listens; it does not if absent.
    pub(crate) es2_listen: Option<SocketAddr>,
    /// Folder that `palisade pki new` made.
    pub(crate) pki: Option<PathBuf>,
    /// The operator of ES2+, whose client certificate is that of the PKI.
    pub(crate) es2_operator: String,
    /// Where the operator is told about downloads (ES2+.HandleDownloadProgressInfo): `https://host[:port]`.
    pub(crate) es2_progress_url: Option<String>,
    /// Lets a retried download use another one-time key.
    pub(crate) rebinding: bool,
    /// Protects profiles with keys of their own instead of the session's.
    pub(crate) profile_keys: bool,
}

/// What an eUICC stores as trustedPublicKeyDataTls of this eIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsTrust {
    /// The public key: the certificate can be renewed with the same key.
    #[default]
    Key,
    /// The certificate itself.
    Certificate,
    /// The CA above it: keys can be changed, and the host name is checked.
    Ca,
    /// Nothing: devices have their own trust store.
    None,
}

/// Lowest TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum TlsVersionMin {
    /// TLS 1.2, which SGP.32 asks for.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

impl Default for EimSection {
    fn default() -> Self {
        Self {
            id: None,
            fqdn: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            tls_certificate: PathBuf::from("eim-tls.pem"),
            tls_key: "eim-tls".to_owned(),
            tls_version_min: TlsVersionMin::default(),
            euicc_trust: PathBuf::from("trust/euicc"),
            smdp_trust: PathBuf::from("trust/smdp"),
            resolve: BTreeMap::new(),
            queue_per_device_max: 64,
            operation_lifetime_hours: 30 * 24,
            insecure_trust_any_connection: false,
            insecure_ignore_eum_name_constraints: false,
            insecure_no_flush: false,
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        let limits = edge::server::Limits::default();
        Self {
            connections_max: limits.connections_max,
            connections_per_peer_max: limits.connections_per_peer_max,
            requests_max: limits.requests_max,
            // More than the largest ESipa message, so that the eIM can say why a message is refused.
            body_octets_max: 128 * 1024,
            idle_timeout_s: limits.idle_timeout.as_secs(),
            drain_timeout_s: 10,
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::default(),
        }
    }
}

impl Default for SmdpSection {
    fn default() -> Self {
        Self {
            fqdn: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 8444)),
            es2_listen: None,
            pki: None,
            es2_operator: "operator".to_owned(),
            es2_progress_url: None,
            rebinding: false,
            profile_keys: false,
        }
    }
}

impl File {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "the configuration file {} cannot be read; `palisade config example` prints one to begin with",
                path.display()
            )
        })?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&text, folder).with_context(|| {
            format!(
                "the configuration file {} cannot be used; correct it at the place below, `palisade config example` shows every setting",
                path.display()
            )
        })
    }

    /// Reads the file of a data folder; defaults if there is none.
    pub(crate) fn of_data_folder(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE_NAME);
        match path.try_exists() {
            Ok(false) => Ok(Self {
                folder: data.to_owned(),
                ..Self::default()
            }),
            _ => Self::load(&path),
        }
    }

    fn parse(text: &str, folder: PathBuf) -> anyhow::Result<Self> {
        let file: Self = toml::from_str(text)?;
        let file = Self { folder, ..file };
        file.check()?;
        Ok(file)
    }

    /// Checks what serde cannot: ranges, names and combinations.
    fn check(&self) -> anyhow::Result<()> {
        let eim = &self.eim;
        if let Some(id) = &eim.id {
            check_eim_id(id)?;
        }
        for (name, fqdn) in [("eim.fqdn", &eim.fqdn), ("smdp.fqdn", &self.smdp.fqdn)] {
            if let Some(fqdn) = fqdn {
                check_host(fqdn).with_context(|| format!("{name} = {fqdn:?}"))?;
            }
        }
        if self
            .smdp
            .fqdn
            .as_deref()
            .is_some_and(|fqdn| fqdn.contains(':'))
        {
            bail!(
                "smdp.fqdn has a port; activation codes name no port, so devices use 443 or are told another with --resolve"
            );
        }
        pki::KeyName::new(&eim.tls_key).context("eim.tls_key")?;
        self.authority.check()?;
        let limits = &self.limits;
        let positive = [
            ("eim.queue_per_device_max", eim.queue_per_device_max),
            ("limits.connections_max", limits.connections_max),
            (
                "limits.connections_per_peer_max",
                limits.connections_per_peer_max,
            ),
            ("limits.requests_max", limits.requests_max),
        ];
        for (name, value) in positive {
            if value == 0 {
                bail!("{name} is 0, which would let nothing through; use at least 1");
            }
        }
        if eim.operation_lifetime_hours == 0 {
            bail!("eim.operation_lifetime_hours is 0; use at least 1");
        }
        if self.console.session_idle_minutes == 0 || self.console.session_hours == 0 {
            bail!("console.session_idle_minutes and console.session_hours are at least 1");
        }
        if limits.body_octets_max < eim::http::MESSAGE_OCTETS_MAX {
            bail!(
                "limits.body_octets_max is {}; ESipa messages have up to {} octets",
                limits.body_octets_max,
                eim::http::MESSAGE_OCTETS_MAX
            );
        }
        logging::parse(&self.log.filter).context("log.filter")?;
        Ok(())
    }

    /// A path of the file, from its folder on.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Which settings weaken protections, and what that means.
    pub(crate) fn insecure(&self) -> Vec<(&'static str, &'static str)> {
        let eim = &self.eim;
        let all = [
            (
                self.authority.insecure_ignore_eum_name_constraints,
                "authority.insecure_ignore_eum_name_constraints",
                "packages are signed for eUICCs whose manufacturer may not have made them",
            ),
            (
                eim.insecure_trust_any_connection,
                "insecure_trust_any_connection",
                "whoever knows an EID can fetch its triggers, learn its activation codes and report failures for it",
            ),
            (
                eim.insecure_ignore_eum_name_constraints,
                "insecure_ignore_eum_name_constraints",
                "one eUICC manufacturer can speak for the eUICCs of another",
            ),
            (
                self.console.insecure_http,
                "console.insecure_http",
                "whoever can listen on this machine's loopback interface reads what the console shows",
            ),
            (
                eim.insecure_no_flush,
                "insecure_no_flush",
                "a power cut can lose counters and records that were acknowledged",
            ),
        ];
        all.into_iter()
            .filter_map(|(is_set, name, means)| is_set.then_some((name, means)))
            .collect()
    }
}

impl LimitsSection {
    /// The same for a listener.
    pub(crate) fn to_edge(&self) -> edge::server::Limits {
        edge::server::Limits {
            connections_max: self.connections_max,
            connections_per_peer_max: self.connections_per_peer_max,
            requests_max: self.requests_max,
            body_bytes_max: self.body_octets_max,
            idle_timeout: Duration::from_secs(self.idle_timeout_s),
            drain_timeout: Duration::from_secs(self.drain_timeout_s),
            ..edge::server::Limits::default()
        }
    }
}

/// The configuration file in a data folder.
pub(crate) const FILE_NAME: &str = "palisade.toml";

/// Checks an eimId.
pub(crate) fn check_eim_id(id: &str) -> anyhow::Result<rsp::sgp32::EimId> {
    match id.parse() {
        Ok(id) => Ok(id),
        Err(error) => {
            Err(anyhow::Error::from(error)).with_context(|| format!("{id:?} is not an eimId"))
        }
    }
}

/// Checks a host name with an optional port.
pub(crate) fn check_host(host: &str) -> anyhow::Result<()> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if name.len() > 253 || !name.split('.').all(is_label) || !port_is_good {
        bail!(
            "not a host name with an optional port, such as eim.example.com or eim.example.com:8443"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<File> {
        File::parse(text, PathBuf::from("/etc/palisade"))
    }

    #[test]
    fn the_example_is_valid_and_says_what_the_defaults_are() {
        let example = parse(EXAMPLE).unwrap();
        let defaults = File::default();
        assert_eq!(example.eim.listen, defaults.eim.listen);
        assert_eq!(
            example.eim.queue_per_device_max,
            defaults.eim.queue_per_device_max
        );
        assert_eq!(
            example.limits.connections_max,
            defaults.limits.connections_max
        );
        assert!(example.insecure().is_empty());
        // Every line that is commented out must be right too.
        let commented: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("#: ") {
                Some(setting) => format!("{setting}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let all = parse(&commented).unwrap();
        assert_eq!(
            all.insecure().len(),
            5,
            "the example shows every insecure setting"
        );
        assert_eq!(all.eim.resolve.len(), 1);
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, words) in [
            ("[eim]\nport = 1\n", ["line 2", "unknown field `port`"]),
            (
                "[eim]\nlisten = \"nowhere\"\n",
                ["line 2", "invalid socket address"],
            ),
            ("[eim]\nid = \"\"\n", ["eimId", "1 to 128"]),
            ("[eim]\nfqdn = \"https://x\"\n", ["eim.fqdn", "host name"]),
            (
                "[authority]\nlisten = \"127.0.0.1:1\"\n",
                ["authority.client_ca", "certificate"],
            ),
            ("[eim]\ntls_key = \"Upper\"\n", ["eim.tls_key", "key name"]),
            (
                "[smdp]\nfqdn = \"a.example:1\"\n",
                ["smdp.fqdn", "--resolve"],
            ),
            (
                "[limits]\nconnections_max = 0\n",
                ["limits.connections_max", "at least 1"],
            ),
            (
                "[limits]\nbody_octets_max = 10\n",
                ["limits.body_octets_max", "65536"],
            ),
            ("[log]\nfilter = \"=,=\"\n", ["log.filter", "such as info"]),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            for word in words {
                assert!(
                    error.contains(word),
                    "{text:?} gave {error:?}, which lacks {word:?}"
                );
            }
        }
    }

    #[test]
    fn paths_begin_at_the_file() {
        let file = parse("[eim]\neuicc_trust = \"/x\"\n").unwrap();
        assert_eq!(file.path(&file.eim.euicc_trust), PathBuf::from("/x"));
        assert_eq!(
            file.path(&file.eim.smdp_trust),
            PathBuf::from("/etc/palisade/trust/smdp")
        );
    }

    #[test]
    fn host_names_may_have_a_port() {
        for good in ["eim.example.com", "localhost:8443", "127.0.0.1:1"] {
            check_host(good).unwrap();
        }
        for bad in ["", ":1", "a:0", "a:x", "a..b", "a/b", "https://a", "a b"] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}
