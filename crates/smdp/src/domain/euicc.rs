//! Who is believed: certificates and signatures of eUICCs.

use pki::{Certificate, ChainError, INTERMEDIATES_MAX, PublicKey, Role, VerifiedEuicc};
use rsp::der::Element;
use rsp::sgp22::{self, Signature};

use super::server::{Core, unix_time};
use super::status::Refusal;

impl Core {
    /// Checks the chain of an eUICC up to a CI that is trusted here, at this moment. `next` is the certificate of the EUM or of
    /// its sub-CA, `others` the rest of the chain, as they came.
    pub(super) fn verify_chain(
        &self,
        euicc: &sgp22::Certificate,
        next: &sgp22::Certificate,
        others: Option<&[sgp22::Certificate]>,
    ) -> Result<VerifiedEuicc, Refusal> {
        let parse = |certificate: &sgp22::Certificate| {
            Certificate::from_der(certificate.as_der()).map_err(|error| {
                tracing::info!(%error, "certificate above the eUICC's cannot be read");
                Refusal::EumCertificateInvalid
            })
        };
        let next = parse(next)?;
        let others = others.unwrap_or_default();
        if others.len() > INTERMEDIATES_MAX {
            tracing::info!(count = others.len(), "more certificates than a chain has");
            return Err(Refusal::EumCertificateInvalid);
        }
        let others = others.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let euicc = Certificate::from_der(euicc.as_der()).map_err(|error| {
            tracing::info!(%error, "eUICC certificate cannot be read");
            Refusal::EuiccCertificateInvalid
        })?;
        let now = Some(unix_time(self.now()));
        self.trust()
            .verify_euicc_chain_in_message(&euicc, &next, &others, now, self.chain_policy)
            .map_err(|error| {
                tracing::info!(%error, "eUICC certificate chain refused");
                refusal_of(&error)
            })
    }
}

/// Whether `signature` is over the concatenation of `parts` with this key.
pub(super) fn is_signed(key: &PublicKey, parts: &[&[u8]], signature: &Signature) -> bool {
    pki::Signature::from_wire(signature)
        .is_ok_and(|signature| key.verify(&parts.concat(), &signature).is_ok())
}

/// The whole `5F37` object, as the following signature covers it.
pub(super) fn signature_object(signature: &Signature) -> Vec<u8> {
    signature.to_der()
}

/// The code for a chain that is refused (SGP.22 v2.5 section 5.6.3).
fn refusal_of(error: &ChainError) -> Refusal {
    let is_about_eum = match error {
        ChainError::UnknownCi { .. } => return Refusal::CiUnknown,
        ChainError::Expired { which, .. } | ChainError::NotYetValid { which, .. } => {
            return match which {
                Role::Euicc => Refusal::EuiccCertificateExpired,
                _ => Refusal::EumCertificateExpired,
            };
        }
        ChainError::NameConstraintOrganisation
        | ChainError::NameConstraintEid
        | ChainError::EidMalformed => false,
        ChainError::WrongRole { expected, .. } => *expected != Role::Euicc,
        ChainError::IssuerMismatch { which }
        | ChainError::BadSignature { which }
        | ChainError::UnsupportedSignatureAlgorithm { which, .. }
        | ChainError::PolicyMissing { which }
        | ChainError::KeyUsage { which }
        | ChainError::ExtendedKeyUsage { which }
        | ChainError::BasicConstraints { which }
        | ChainError::PathLen { which }
        | ChainError::MissingCriticalExtension { which, .. }
        | ChainError::MissingExtension { which, .. }
        | ChainError::UnknownCriticalExtension { which, .. }
        | ChainError::UnsupportedCurve { which, .. }
        | ChainError::Key { which, .. }
        | ChainError::Revoked { which } => *which != Role::Euicc,
        // Revocation of the EUM cannot be decided, so it does not count as valid.
        _ => true,
    };
    match is_about_eum {
        true => Refusal::EumCertificateInvalid,
        false => Refusal::EuiccCertificateInvalid,
    }
}
