//! What devices are told about this eIM: names, keys, and what to trust on ESipa.

use anyhow::{Context, bail};
use pki::{Certificate, PublicKey};
use rsp::der::Null;
use rsp::sgp22::SubjectPublicKeyInfo;
use rsp::sgp32::{
    EimConfigurationData, EimId, EimIdType, EimPublicKeyData, EimSupportedProtocol,
    TrustedPublicKeyDataTls,
};

use crate::config::{File, TlsTrust};
use crate::trust;

/// What of the eIM's identity is in the authority's settings: where devices poll, and what they trust there.
#[derive(Debug, Clone)]
pub(crate) struct Esipa {
    /// Host name and port.
    pub(crate) fqdn: String,
    /// trustedPublicKeyDataTls.
    pub(crate) tls_trust: Option<TrustedPublicKeyDataTls>,
}

impl Esipa {
    /// From the settings of an authority.
    pub(crate) fn of(file: &File) -> anyhow::Result<Self> {
        let section = &file.authority;
        let Some(fqdn) = &section.fqdn else {
            bail!(
                "authority.fqdn is not set in {}; it is the host name under which devices reach ESipa",
                file.path(std::path::Path::new(crate::config::FILE_NAME))
                    .display()
            );
        };
        let certificate = || {
            let path = file.path(&section.tls_certificate_of_eim);
            let chain = trust::read_chain(&path)
                .context("authority.tls_certificate_of_eim cannot be used")?;
            chain
                .into_iter()
                .next()
                .context("authority.tls_certificate_of_eim holds no certificate")
        };
        Ok(Self {
            fqdn: fqdn.clone(),
            tls_trust: match section.tls_trust {
                TlsTrust::None => None,
                TlsTrust::Key => Some(pinned_key(&certificate()?)?),
                TlsTrust::Certificate | TlsTrust::Ca => Some(pinned(&certificate()?)?),
            },
        })
    }
}

fn pinned_key(certificate: &Certificate) -> anyhow::Result<TrustedPublicKeyDataTls> {
    let key = certificate
        .public_key()
        .context("the TLS key is of a kind that is not supported")?;
    let key = SubjectPublicKeyInfo::from_der_bytes(key.to_spki_der())
        .context("the TLS key cannot be carried in a message")?;
    Ok(TrustedPublicKeyDataTls::TrustedEimPkTls(key))
}

fn pinned(certificate: &Certificate) -> anyhow::Result<TrustedPublicKeyDataTls> {
    let certificate = rsp::sgp22::Certificate::from_der_bytes(certificate.der().to_vec())
        .context("the certificate cannot be carried in a message")?;
    Ok(TrustedPublicKeyDataTls::TrustedCertificateTls(certificate))
}

/// What an eUICC has to store to accept packages that this key signs.
pub(crate) fn eim_configuration(
    eim_id: EimId,
    esipa: &Esipa,
    key: &PublicKey,
) -> anyhow::Result<EimConfigurationData> {
    let key = SubjectPublicKeyInfo::from_der_bytes(key.to_spki_der())
        .context("the signing key cannot be carried in a message")?;
    Ok(EimConfigurationData {
        eim_fqdn: Some(esipa.fqdn.clone()),
        eim_id_type: Some(EimIdType::EimIdTypeFqdn),
        counter_value: Some(0),
        association_token: Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN),
        eim_public_key_data: Some(EimPublicKeyData::EimPublicKey(key)),
        trusted_public_key_data_tls: esipa.tls_trust.clone(),
        eim_supported_protocol: Some(EimSupportedProtocol::of([
            EimSupportedProtocol::EIM_RETRIEVE_HTTPS,
        ])),
        indirect_profile_download: Some(Null),
        ..EimConfigurationData::named(eim_id)
    })
}
