//! What devices are told about this eIM: where they poll, and what to trust there.

use anyhow::{Context, bail};
use authority::package::Reachability;
use pki::Certificate;
use rsp::sgp22::SubjectPublicKeyInfo;
use rsp::sgp32::TrustedPublicKeyDataTls;

use crate::config::{File, TlsTrust};
use crate::trust;

/// From the settings of an authority.
pub(crate) fn reachability(file: &File) -> anyhow::Result<Reachability> {
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
        let chain =
            trust::read_chain(&path).context("authority.tls_certificate_of_eim cannot be used")?;
        chain
            .into_iter()
            .next()
            .context("authority.tls_certificate_of_eim holds no certificate")
    };
    Ok(Reachability {
        fqdn: fqdn.clone(),
        tls_trust: match section.tls_trust {
            TlsTrust::None => None,
            TlsTrust::Key => Some(pinned_key(&certificate()?)?),
            TlsTrust::Certificate | TlsTrust::Ca => Some(pinned(&certificate()?)?),
        },
    })
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
