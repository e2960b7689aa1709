//! Certificates of SM-DP+s and SM-DSs on their way to an eUICC. An eUICC verifies their chains, and has neither clock nor
//! revocation lists (SGP.22 section 4.5.2.2); this eIM has both.

use std::error::Error;

use pki::{CertificateError, ChainError, INTERMEDIATES_MAX, Role};
use rsp::sgp22::{Certificate, CertificateChain};

use crate::Eim;

/// Sub-CAs between the certificates of a server and the CI, as they came with the first.
pub(crate) type SubCas = Vec<pki::Certificate>;

/// Why a server is not relayed to the eUICC.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerRefused {
    #[error("a certificate does not parse")]
    Malformed(#[from] CertificateError),
    #[error("its certificate is none for authentication as an SM-DP+ or SM-DS")]
    Role,
    #[error("its certificate chain is bad")]
    Chain(#[from] ChainError),
}

impl ServerRefused {
    /// For the outcome of an operation.
    pub(crate) fn summary(&self, address: &str) -> String {
        let mut summary = format!("the server {address} is refused: {self}");
        if let Some(source) = self.source() {
            summary.push_str(&format!(": {source}"));
        }
        summary
    }
}

impl Eim {
    /// CERT.DPauth or CERT.DSauth, up to a CI that is trusted here, at this moment.
    pub(crate) fn check_server(
        &self,
        certificate: &Certificate,
        others: Option<&CertificateChain>,
    ) -> Result<SubCas, ServerRefused> {
        let certificate = parse(certificate)?;
        let role = match certificate.role() {
            Some(role @ (Role::SmDpAuth | Role::SmDsAuth)) => role,
            _ => return Err(ServerRefused::Role),
        };
        let others = others.map(Vec::as_slice).unwrap_or_default();
        if others.len() > INTERMEDIATES_MAX {
            let count = others.len();
            return Err(ChainError::TooManyIntermediates { which: role, count }.into());
        }
        let sub_cas = others.iter().map(parse).collect::<Result<SubCas, _>>()?;
        let now = Some(self.parts.clock.now());
        self.trust()
            .verify_server_through(&certificate, role, &sub_cas, now)?;
        Ok(sub_cas)
    }

    /// CERT.DPpb, which comes through the same sub-CAs.
    pub(crate) fn check_profile_binding(
        &self,
        certificate: &Certificate,
        sub_cas: &SubCas,
    ) -> Result<(), ServerRefused> {
        let now = Some(self.parts.clock.now());
        self.trust()
            .verify_server_through(&parse(certificate)?, Role::SmDpPb, sub_cas, now)?;
        Ok(())
    }
}

fn parse(certificate: &Certificate) -> Result<pki::Certificate, CertificateError> {
    pki::Certificate::from_der(certificate.as_der())
}
