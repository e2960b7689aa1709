//! From files to the parts of an eIM.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use edge::tls::{TlsConfig, TlsVersion};
use eim::authority::{Authority, EimIdentity, LocalAuthority};
use eim::es9::HttpConnector;
use eim::{Config, Eim, Parts};
use pki::{Certificate, ChainPolicy, FileKeyStore, KeyName, KeyStore, TrustAnchors};
use rsp::sgp22::SubjectPublicKeyInfo;
use rsp::sgp32::{EimConfigurationData, EimId, TrustedPublicKeyDataTls};
use store::{Durability, StoreOptions};

use crate::adapters::{SystemClock, SystemEntropy};
use crate::config::{self, File, TlsTrust, TlsVersionMin};
use crate::trust;

/// Who an eIM is, with the key to show it.
pub(crate) struct Identity {
    pub(crate) eim_id: EimId,
    pub(crate) fqdn: String,
    authority: Arc<LocalAuthority>,
}

/// Keys of an eIM in its data folder.
const KEYS_FOLDER: &str = "keys";
const DATABASE: &str = "eim.sqlite";
pub(crate) const TLS_KEY_CONTEXT: &str = "eim.tls_certificate and the key eim.tls_key must belong together; `palisade eim init` makes a pair";

impl Identity {
    /// Reads names and keys.
    pub(crate) fn load(data: &Path, file: &File) -> anyhow::Result<Self> {
        let (Some(id), Some(fqdn)) = (&file.eim.id, &file.eim.fqdn) else {
            bail!(
                "the eIM in {data} has no name yet; set eim.id and eim.fqdn in {data}/{file}, or make both with: palisade eim init --data {data}",
                data = data.display(),
                file = config::FILE_NAME,
            );
        };
        let eim_id = config::check_eim_id(id)?;
        let signer = keys(data)?
            .signer(&key_name(&file.eim.signing_key)?)
            .context("the eIM signing key cannot be used; `palisade eim init` makes one")?;
        let identity = EimIdentity {
            eim_id: eim_id.clone(),
            fqdn: fqdn.clone(),
            tls_trust: tls_trust(file)?,
        };
        Ok(Self {
            eim_id,
            fqdn: fqdn.clone(),
            authority: Arc::new(LocalAuthority::new(identity, signer)),
        })
    }

    /// What a device needs for AddInitialEim.
    pub(crate) fn association_data(&self) -> EimConfigurationData {
        self.authority.association_data()
    }
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
pub(super) fn open(data: &Path, file: &File, identity: &Identity) -> anyhow::Result<Arc<Eim>> {
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
        authority: Arc::clone(&identity.authority) as Arc<dyn Authority>,
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
    let chain = tls_chain(file)?;
    let key = keys(data)?
        .load(&key_name(&file.eim.tls_key)?)
        .context("the TLS key cannot be used; `palisade eim init` makes one")?;
    let identity = edge::tls::Identity::from_der(
        chain
            .iter()
            .map(|certificate| certificate.der().to_vec())
            .collect(),
        key.to_pkcs8_der()?.as_bytes().to_vec(),
    )
    .context(TLS_KEY_CONTEXT)?;
    Ok(TlsConfig {
        version_min: match file.eim.tls_version_min {
            TlsVersionMin::V1_2 => TlsVersion::V1_2,
            TlsVersionMin::V1_3 => TlsVersion::V1_3,
        },
        ..TlsConfig::new(identity)
    })
}

fn tls_chain(file: &File) -> anyhow::Result<Vec<Certificate>> {
    trust::read_chain(&file.path(&file.eim.tls_certificate))
        .context("the certificate of ESipa cannot be used (eim.tls_certificate)")
}

fn tls_trust(file: &File) -> anyhow::Result<Option<TrustedPublicKeyDataTls>> {
    let end_entity = || -> anyhow::Result<Certificate> {
        tls_chain(file)?
            .into_iter()
            .next()
            .context("eim.tls_certificate holds no certificate")
    };
    let pinned = |certificate: &Certificate| -> anyhow::Result<_> {
        let certificate = rsp::sgp22::Certificate::from_der_bytes(certificate.der().to_vec())
            .context("the certificate cannot be carried in a message")?;
        Ok(TrustedPublicKeyDataTls::TrustedCertificateTls(certificate))
    };
    Ok(match file.eim.tls_trust {
        TlsTrust::None => None,
        TlsTrust::Key => {
            let certificate = end_entity()?;
            let key = certificate
                .public_key()
                .context("the TLS key is of a kind that is not supported")?;
            let key = SubjectPublicKeyInfo::from_der_bytes(key.to_spki_der())
                .context("the TLS key cannot be carried in a message")?;
            Some(TrustedPublicKeyDataTls::TrustedEimPkTls(key))
        }
        TlsTrust::Certificate => Some(pinned(&end_entity()?)?),
        TlsTrust::Ca => {
            let path = file
                .eim
                .tls_ca
                .as_ref()
                .context("eim.tls_trust = \"ca\" needs eim.tls_ca")?;
            Some(pinned(&trust::read_certificate(&file.path(path))?)?)
        }
    })
}
