//! What a session leaves behind: signed results, notifications and cancellations.

use pki::SignError;
use rsp::der::{Encoded, Octets, Oid};
use rsp::ids::{Iccid, TransactionId};
use rsp::sgp22::{
    BppCommandId, CancelSessionReason, CancelSessionResponseOk, ErrorReason, ErrorResult,
    EuiccCancelSessionSigned, FinalResult, KeyIdentifier, NotificationEvent, NotificationMetadata,
    OtherSignedNotification, ProfileInstallationResult, ProfileInstallationResultData, Signature,
};

use super::Identity;

/// One transaction with one server: what every signed answer of the eUICC names, and the key that signs them.
pub(super) struct Transaction {
    /// Chosen by the server.
    pub(super) id: TransactionId,
    /// registeredID of the server's certificates.
    pub(super) smdp_oid: Oid,
    /// As the server signed it; results are notified to it.
    pub(super) server_address: String,
    /// The CI that the server chose, by its SubjectKeyIdentifier.
    pub(super) ci_key_id: KeyIdentifier,
    /// Of that CI.
    pub(super) identity: Identity,
}

/// Why a profile is not installed: the command of ES8+ that failed, the reason, and what the installer says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) command: BppCommandId,
    pub(super) reason: ErrorReason,
    pub(super) sima_response: Option<Octets>,
    /// The profile, once a StoreMetadata with a good MAC has named it.
    pub(super) iccid: Option<Iccid>,
}

impl Refusal {
    pub(super) fn new(command: BppCommandId, reason: ErrorReason) -> Self {
        Self {
            command,
            reason,
            sima_response: None,
            iccid: None,
        }
    }

    pub(super) fn about(self, iccid: Option<Iccid>) -> Self {
        Self {
            iccid: self.iccid.or(iccid),
            ..self
        }
    }
}

impl From<Refusal> for FinalResult {
    fn from(refusal: Refusal) -> Self {
        Self::ErrorResult(ErrorResult {
            bpp_command_id: refusal.command,
            error_reason: refusal.reason,
            sima_response: refusal.sima_response,
            extensions: Default::default(),
        })
    }
}

impl Transaction {
    /// SK.EUICC over the concatenation of `parts`.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Result<Signature, SignError> {
        let signature = self.identity.signer.sign_parts(parts)?;
        Ok(Signature(signature.as_bytes().as_slice().into()))
    }

    /// The result of a download. It is at the same time the install notification for the SM-DP+ that delivered.
    pub(super) fn installation_result(
        &self,
        seq_number: i64,
        iccid: Option<Iccid>,
        final_result: FinalResult,
    ) -> Result<ProfileInstallationResult, SignError> {
        let data = Encoded::new(ProfileInstallationResultData {
            transaction_id: self.id.clone(),
            notification_metadata: install_event(seq_number, self.server_address.clone(), iccid),
            smdp_oid: self.smdp_oid.clone(),
            final_result,
            extensions: Default::default(),
        });
        let euicc_sign_pir = self.sign(&[data.bytes()])?;
        Ok(ProfileInstallationResult {
            profile_installation_result_data: data,
            euicc_sign_pir,
            extensions: Default::default(),
        })
    }

    /// The install notification for another address.
    pub(super) fn install_notification(
        &self,
        seq_number: i64,
        address: String,
        iccid: Iccid,
    ) -> Result<OtherSignedNotification, SignError> {
        let metadata = Encoded::new(install_event(seq_number, address, Some(iccid)));
        let euicc_notification_signature = self.sign(&[metadata.bytes()])?;
        Ok(OtherSignedNotification {
            tbs_other_notification: metadata,
            euicc_notification_signature,
            euicc_certificate: self.identity.euicc_certificate.clone(),
            eum_certificate: self.identity.next_in_chain.clone(),
            other_certs_in_chain: self.identity.others_in_chain.clone(),
            extensions: Default::default(),
        })
    }

    /// The proof for the server that the session is over.
    pub(super) fn cancellation(
        &self,
        reason: CancelSessionReason,
    ) -> Result<CancelSessionResponseOk, SignError> {
        let signed = Encoded::new(EuiccCancelSessionSigned {
            transaction_id: self.id.clone(),
            smdp_oid: self.smdp_oid.clone(),
            reason,
            extensions: Default::default(),
        });
        let euicc_cancel_session_signature = self.sign(&[signed.bytes()])?;
        Ok(CancelSessionResponseOk {
            euicc_cancel_session_signed: signed,
            euicc_cancel_session_signature,
            extensions: Default::default(),
        })
    }
}

fn install_event(
    seq_number: i64,
    notification_address: String,
    iccid: Option<Iccid>,
) -> NotificationMetadata {
    NotificationMetadata {
        seq_number,
        profile_management_operation: NotificationEvent::of([NotificationEvent::INSTALL]),
        notification_address,
        iccid,
        extensions: Default::default(),
    }
}
