//! Whether an eUICC really said it.

use pki::{ChainError, INTERMEDIATES_MAX, PublicKey, Role, Signature, VerifiedEuicc};
use quick_cache::sync::Cache;
use rsp::ids::Eid;
use rsp::sgp22::{Certificate, OtherSignedNotification, ProfileInstallationResult};
use rsp::sgp32::{EuiccPackageErrorSigned, EuiccPackageResultSigned, association_token_object};

use crate::devices::CertificateProblem;
use crate::{Device, Eim};

/// Verified keys of eUICCs, so that a chain is not walked for each result.
pub(crate) struct EuiccKeys(Cache<Eid, PublicKey>);

const KEYS_MAX: usize = 100_000;

impl Default for EuiccKeys {
    fn default() -> Self {
        Self(Cache::new(KEYS_MAX))
    }
}

impl EuiccKeys {
    /// Every chain has to be verified anew.
    pub(crate) fn forget_all(&self) {
        self.0.clear();
    }
}

/// Why something is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Disbelief {
    #[error("no certificate of this eUICC is known yet")]
    NoCertificate,
    #[error("the certificates are not those of this eUICC")]
    Certificates(#[source] CertificateProblem),
    #[error("the eUICC's key cannot be used")]
    Key(#[from] pki::KeyError),
    #[error("not the form of a signature")]
    Malformed(#[from] pki::SignatureMalformed),
    #[error("the signature does not verify")]
    Signature(#[from] pki::SignatureInvalid),
}

impl Eim {
    /// euiccSignEPR: data, then the association token (SGP.32 section 2.11.2.1).
    pub(crate) fn verify_result(
        &self,
        device: &Device,
        token: Option<i64>,
        result: &EuiccPackageResultSigned,
    ) -> Result<(), Disbelief> {
        let signed = [
            result.euicc_package_result_data_signed.bytes(),
            &association_token_object(token),
        ];
        let signature = Signature::from_wire(&result.euicc_sign_epr)?;
        Ok(self.euicc_key(device)?.verify_parts(&signed, &signature)?)
    }

    /// euiccSignEPE: as above.
    pub(crate) fn verify_error(
        &self,
        device: &Device,
        token: Option<i64>,
        error: &EuiccPackageErrorSigned,
    ) -> Result<(), Disbelief> {
        let signed = [
            error.euicc_package_error_data_signed.bytes(),
            &association_token_object(token),
        ];
        let signature = Signature::from_wire(&error.euicc_sign_epe)?;
        Ok(self.euicc_key(device)?.verify_parts(&signed, &signature)?)
    }

    /// euiccSignPIR: the whole BF27 (SGP.22 section 5.7.9).
    pub(crate) fn verify_installation(
        &self,
        device: &Device,
        result: &ProfileInstallationResult,
    ) -> Result<(), Disbelief> {
        let signature = Signature::from_wire(&result.euicc_sign_pir)?;
        let signed = result.profile_installation_result_data.bytes();
        Ok(self.euicc_key(device)?.verify(signed, &signature)?)
    }

    /// A Notification brings its certificates along.
    pub(crate) fn verify_notification(
        &self,
        eid: Eid,
        notification: &OtherSignedNotification,
    ) -> Result<VerifiedEuicc, Disbelief> {
        let verified = self
            .verify_message_chain(
                eid,
                &notification.euicc_certificate,
                &notification.eum_certificate,
                notification.other_certs_in_chain.as_deref(),
            )
            .map_err(Disbelief::Certificates)?;
        let signature = Signature::from_wire(&notification.euicc_notification_signature)?;
        verified
            .public_key
            .verify(notification.tbs_other_notification.bytes(), &signature)?;
        Ok(verified)
    }

    /// Checks that a chain is good and shows this EID. `next` certifies the eUICC's certificate, `others` are the rest, as they
    /// stand in messages of SGP.22.
    pub(crate) fn verify_message_chain(
        &self,
        eid: Eid,
        euicc: &Certificate,
        next: &Certificate,
        others: Option<&[Certificate]>,
    ) -> Result<VerifiedEuicc, CertificateProblem> {
        let others = others.unwrap_or_default();
        if others.len() > INTERMEDIATES_MAX {
            let (which, count) = (Role::Euicc, others.len());
            return Err(ChainError::TooManyIntermediates { which, count }.into());
        }
        let parse = |it: &Certificate| pki::Certificate::from_der(it.as_der());
        let others = others.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.verify_chain(eid, &parse(euicc)?, &parse(next)?, &others)
    }

    /// The same for certificates that were stored, or stated by an IPA, which has no place for the rest of a chain.
    pub(crate) fn verify_certificates(
        &self,
        eid: Eid,
        euicc: &[u8],
        eum: &[u8],
    ) -> Result<VerifiedEuicc, CertificateProblem> {
        let parse = pki::Certificate::from_der;
        self.verify_chain(eid, &parse(euicc)?, &parse(eum)?, &[])
    }

    fn verify_chain(
        &self,
        eid: Eid,
        euicc: &pki::Certificate,
        next: &pki::Certificate,
        others: &[pki::Certificate],
    ) -> Result<VerifiedEuicc, CertificateProblem> {
        let verified = self.trust().verify_euicc_chain_in_message(
            euicc,
            next,
            others,
            Some(self.parts.clock.now()),
            self.config.chain_policy,
        )?;
        if verified.eid != *eid.octets() {
            return Err(CertificateProblem::OtherEid {
                found: verified.eid_digits,
            });
        }
        Ok(verified)
    }

    /// The key of a device's eUICC, after its chain was verified.
    fn euicc_key(&self, device: &Device) -> Result<PublicKey, Disbelief> {
        if let Some(key) = self.keys.0.get(&device.eid) {
            return Ok(key);
        }
        let (Some(euicc), Some(eum)) = (&device.euicc_certificate, &device.eum_certificate) else {
            return Err(Disbelief::NoCertificate);
        };
        let verified = self
            .verify_certificates(device.eid, euicc, eum)
            .map_err(Disbelief::Certificates)?;
        self.keys.0.insert(device.eid, verified.public_key.clone());
        Ok(verified.public_key)
    }

    /// Other certificates were stored for this device.
    pub(crate) fn forget_key(&self, eid: Eid) {
        self.keys.0.remove(&eid);
    }
}
