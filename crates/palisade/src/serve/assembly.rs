//! From files to the parts of an eIM.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use edge::tls::{TlsConfig, TlsVersion};
use eim::authority::Authority;
use eim::es9::HttpConnector;
use eim::{Config, Eim, Parts};
use pki::{ChainPolicy, FileKeyStore, KeyName, TrustAnchors};
use rsp::sgp32::EimId;
use store::{Durability, StoreOptions};

use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::{AuthorityClient, AuthorityFolder, Connection};
use crate::config::{self, AuthorityPlace, File, TlsVersionMin};
use crate::trust;

/// Who an eIM is.
pub(crate) struct Identity {
    pub(crate) eim_id: EimId,
    pub(crate) fqdn: String,
}

/// Keys of an eIM in its data folder.
const KEYS_FOLDER: &str = "keys";
pub(crate) const DATABASE: &str = "eim.sqlite";
pub(crate) const TLS_KEY_CONTEXT: &str = "eim.tls_certificate and the key eim.tls_key must belong together; `palisade init` makes a pair";

impl Identity {
    /// Reads names.
    pub(crate) fn load(data: &Path, file: &File) -> anyhow::Result<Self> {
        let (Some(id), Some(fqdn)) = (&file.eim.id, &file.eim.fqdn) else {
            bail!(
                "the eIM in {data} has no name yet; set eim.id and eim.fqdn in {data}/{file}, or make both with: palisade init --data {data} --fqdn HOST",
                data = data.display(),
                file = config::FILE_NAME,
            );
        };
        Ok(Self {
            eim_id: config::check_eim_id(id)?,
            fqdn: fqdn.clone(),
        })
    }
}

/// A connection to the authority of an eIM.
pub(super) fn authority(place: &AuthorityPlace) -> anyhow::Result<Arc<AuthorityClient>> {
    let connection = match place {
        AuthorityPlace::Child(folder) => Connection::socket(AuthorityFolder::new(folder).socket()),
        AuthorityPlace::Socket(path) => Connection::socket(path.clone()),
        AuthorityPlace::Remote {
            address,
            server_ca,
            certificate,
            key,
        } => {
            let der = |path: &Path| -> anyhow::Result<Vec<Vec<u8>>> {
                let chain = trust::read_chain(path)?;
                Ok(chain.iter().map(|one| one.der().to_vec()).collect())
            };
            let roots = der(server_ca).context("authority.server_ca cannot be used")?;
            let chain = der(certificate).context("authority.client_certificate cannot be used")?;
            let key = crate::authority::read_tls_key(key)
                .context("authority.client_key cannot be used")?;
            let identity = edge::tls::Identity::from_der(chain, key).context(
                "authority.client_certificate and authority.client_key must belong together",
            )?;
            Connection::remote(address, roots, identity)?
        }
    };
    Ok(Arc::new(AuthorityClient::new(connection)))
}

/// The key store of a data folder.
fn keys(data: &Path) -> anyhow::Result<FileKeyStore> {
    FileKeyStore::open(data.join(KEYS_FOLDER)).context("the keys cannot be used")
}

fn key_name(name: &str) -> anyhow::Result<KeyName> {
    Ok(KeyName::new(name)?)
}

/// The CIs of eUICCs and their CRLs.
pub(super) fn euicc_trust(file: &File) -> anyhow::Result<TrustAnchors> {
    let folder = file.path(&file.eim.euicc_trust);
    let anchors = trust::read_anchors(std::slice::from_ref(&folder))
        .context("the CIs of eUICCs cannot be read (eim.euicc_trust)")?;
    if anchors.is_empty() {
        bail!(
            "there is no CI certificate in {folder}, so no eUICC could be believed; copy the CI certificates of your eUICCs there (*.der or *.pem, with their *.crl)",
            folder = folder.display(),
        );
    }
    Ok(anchors)
}

/// Opens the database with everything around it.
pub(super) fn open(
    data: &Path,
    file: &File,
    identity: &Identity,
    authority: Arc<dyn Authority>,
) -> anyhow::Result<Arc<Eim>> {
    let anchors = euicc_trust(file)?;
    let roots = trust::read_roots(&file.path(&file.eim.smdp_trust))
        .context("the roots of SM-DP+s cannot be read (eim.smdp_trust)")?;
    if roots.is_empty() {
        tracing::warn!(
            "no roots in eim.smdp_trust: indirect downloads and forwarded notifications will fail"
        );
    }
    let resolve = file
        .eim
        .resolve
        .iter()
        .map(|(host, address)| (host.clone(), *address))
        .collect();
    let config = Config {
        queue_per_device_max: file.eim.queue_per_device_max,
        operation_lifetime_ms: i64::from(file.eim.operation_lifetime_hours) * 3_600_000,
        chain_policy: ChainPolicy {
            insecure_ignore_eum_name_constraints: file.eim.insecure_ignore_eum_name_constraints,
        },
        insecure_trust_any_connection: file.eim.insecure_trust_any_connection,
        ..Config::new(identity.eim_id.clone())
    };
    let durability = match file.eim.insecure_no_flush {
        true => Durability::InsecureNormal,
        false => Durability::Full,
    };
    let parts = Parts {
        authority,
        trust: anchors,
        smdp: Arc::new(HttpConnector::new(roots, resolve)),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    Eim::open(&data.join(DATABASE), options, config, parts)
        .with_context(|| format!("the database in {} cannot be opened", data.display()))
}

/// Certificate and key of ESipa.
pub(crate) fn tls_config(data: &Path, file: &File) -> anyhow::Result<TlsConfig> {
    let certificate = file.path(&file.eim.tls_certificate);
    let identity = tls_of(data, &certificate, &file.eim.tls_key)?;
    Ok(TlsConfig {
        version_min: match file.eim.tls_version_min {
            TlsVersionMin::V1_2 => TlsVersion::V1_2,
            TlsVersionMin::V1_3 => TlsVersion::V1_3,
        },
        ..TlsConfig::new(identity)
    })
}

/// A certificate with the key of a name.
pub(super) fn tls_of(
    data: &Path,
    certificate: &Path,
    key: &str,
) -> anyhow::Result<edge::tls::Identity> {
    let chain = trust::read_chain(certificate)
        .context("the certificate of ESipa cannot be used (eim.tls_certificate)")?;
    let key = keys(data)?
        .load(&key_name(key)?)
        .context("the TLS key cannot be used; `palisade init` makes one")?;
    edge::tls::Identity::from_der(
        chain
            .iter()
            .map(|certificate| certificate.der().to_vec())
            .collect(),
        key.to_pkcs8_der()?.as_bytes().to_vec(),
    )
    .context(TLS_KEY_CONTEXT)
}
