//! What the certificates of a device say, for people to read. They were verified when they were taken.

use pki::Certificate;

use crate::Device;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// `CERT.EUICC` or `CERT.EUM`.
    pub name: &'static str,
    /// Whom it is for.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Upper-case hexadecimal.
    pub serial_number: String,
    /// Milliseconds since 1970.
    pub not_before: i64,
    /// Milliseconds since 1970.
    pub not_after: i64,
    /// The certificate, PEM.
    pub pem: String,
}

impl Device {
    /// Its certificates that are known, from the eUICC upwards.
    pub fn certificate_facts(&self) -> Vec<CertificateFacts> {
        let known = [
            ("CERT.EUICC", &self.euicc_certificate),
            ("CERT.EUM", &self.eum_certificate),
        ];
        let read = known.into_iter().filter_map(|(name, der)| {
            let certificate = Certificate::from_der(der.as_deref()?).ok()?;
            Some(CertificateFacts {
                name,
                subject: certificate.subject().to_owned(),
                issuer: certificate.issuer().to_owned(),
                serial_number: hex::encode_upper(certificate.serial_number()),
                not_before: certificate.not_before().0.saturating_mul(1000),
                not_after: certificate.not_after().0.saturating_mul(1000),
                pem: certificate.to_pem().ok()?,
            })
        });
        read.collect()
    }
}
