//! Compact forms (IPA capability minimizeEsipaBytes): an IPA leaves out what the eIM knows, and the
//! eIM rebuilds the object that the eUICC signed, octet for octet (SGP.32 section 2.11.3).
//!
//! A wrong guess is harmless: the signature then does not verify at the SM-DP+, or here.

use rsp::der::{Element, Encoded, Octets, Oid};
use rsp::ids::{Iccid, TransactionId};
use rsp::sgp22::{
    AuthenticateResponseOk, CancelSessionResponseOk, Certificate, CompactAuthenticateResponseOk,
    CompactCancelSessionResponseOk, CompactFinalResult, CompactOtherSignedNotification,
    CompactPrepareDownloadResponseOk, CompactProfileInstallationResult, CompactSignedData,
    EuiccCancelSessionSigned, EuiccInfo2, EuiccSigned1, EuiccSigned2, FinalResult,
    NotificationEvent, NotificationMetadata, OctetTo16, OneTimePublicKey, OtherSignedNotification,
    PrepareDownloadResponseOk, ProfileInstallationResult, ProfileInstallationResultData,
    SuccessResult,
};

/// What a download session knows that an IPA may leave out.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) transaction_id: TransactionId,
    pub(crate) server_address: String,
    pub(crate) server_challenge: [u8; 16],
    /// registeredID of the SM-DP+.
    pub(crate) smdp_oid: Option<Oid>,
    /// The one-time key that smdpSigned2 asked to use again.
    pub(crate) euicc_otpk: Option<OneTimePublicKey>,
    pub(crate) hash_cc: Option<[u8; 32]>,
    pub(crate) iccid: Option<Iccid>,
}

/// EUICCResponse of a Profile that was installed without remarks, which is left out.
const SIMA_RESPONSE_OK: [u8; 9] = [0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00];

/// The full answer to AuthenticateServer. `info` is the EUICCInfo2 received earlier.
pub(crate) fn authentication(
    compact: &CompactAuthenticateResponseOk,
    known: &Known,
    info: Option<&[u8]>,
    certificates: Option<(Certificate, Certificate)>,
) -> Option<AuthenticateResponseOk> {
    let euicc_signed1 = match &compact.signed_data {
        CompactSignedData::EuiccSigned1(full) => full.clone(),
        CompactSignedData::CompactEuiccSigned1(short) => Encoded::new(EuiccSigned1 {
            transaction_id: known.transaction_id.clone(),
            server_address: known.server_address.clone(),
            server_challenge: known.server_challenge,
            euicc_info2: EuiccInfo2 {
                ext_card_resource: short.ext_card_resource.clone(),
                ..EuiccInfo2::from_der(info?).ok()?
            },
            // This eIM does not generate ctxParams1, so the IPA has to send them.
            ctx_params1: short.ctx_params1.clone()?,
            extensions: Default::default(),
        }),
        CompactSignedData::Unknown(_) => return None,
    };
    let (known_euicc, known_eum) = certificates.unzip();
    Some(AuthenticateResponseOk {
        euicc_signed1,
        euicc_signature1: compact.euicc_signature1.clone(),
        euicc_certificate: compact.euicc_certificate.clone().or(known_euicc)?,
        eum_certificate: compact.eum_certificate.clone().or(known_eum)?,
        other_certs_in_chain: None,
        extensions: Default::default(),
    })
}

/// The full answer to PrepareDownload.
pub(crate) fn preparation(
    compact: &CompactPrepareDownloadResponseOk,
    known: &Known,
) -> Option<PrepareDownloadResponseOk> {
    let short = &compact.compact_euicc_signed2;
    let hash_cc = short
        .hash_cc
        .clone()
        .or_else(|| known.hash_cc.map(Into::into));
    Some(PrepareDownloadResponseOk {
        euicc_signed2: Encoded::new(EuiccSigned2 {
            transaction_id: known.transaction_id.clone(),
            euicc_otpk: short
                .euicc_otpk
                .clone()
                .or_else(|| known.euicc_otpk.clone())?,
            hash_cc,
            extensions: Default::default(),
        }),
        euicc_signature2: compact.euicc_signature2.clone(),
        extensions: Default::default(),
    })
}

/// The full cancellation. This eIM never gives the reason, so the IPA has to send it.
pub(crate) fn cancellation(
    compact: &CompactCancelSessionResponseOk,
    known: &Known,
) -> Option<CancelSessionResponseOk> {
    Some(CancelSessionResponseOk {
        euicc_cancel_session_signed: Encoded::new(EuiccCancelSessionSigned {
            transaction_id: known.transaction_id.clone(),
            smdp_oid: known.smdp_oid.clone()?,
            reason: compact.compact_euicc_cancel_session_signed.reason?,
            extensions: Default::default(),
        }),
        euicc_cancel_session_signature: compact.euicc_cancel_session_signature.clone(),
        extensions: Default::default(),
    })
}

/// The full result of an installation.
pub(crate) fn installation(
    compact: &CompactProfileInstallationResult,
    known: &Known,
) -> Option<ProfileInstallationResult> {
    let short = &compact.compact_profile_installation_result_data;
    let has_iccid = short.iccid_present.as_ref().is_none_or(|present| present.0);
    let final_result = match &short.compact_final_result {
        CompactFinalResult::CompactSuccessResult(success) => {
            FinalResult::SuccessResult(SuccessResult {
                aid: isdp_aid(&success.compact_aid)?,
                sima_response: success
                    .sima_response
                    .clone()
                    .unwrap_or_else(|| Octets(SIMA_RESPONSE_OK.to_vec())),
                extensions: Default::default(),
            })
        }
        CompactFinalResult::ErrorResult(error) => FinalResult::ErrorResult(error.clone()),
        CompactFinalResult::Unknown(_) => return None,
    };
    Some(ProfileInstallationResult {
        profile_installation_result_data: Encoded::new(ProfileInstallationResultData {
            transaction_id: short.transaction_id.clone(),
            notification_metadata: NotificationMetadata {
                seq_number: short.seq_number,
                profile_management_operation: NotificationEvent::of([NotificationEvent::INSTALL]),
                notification_address: known.server_address.clone(),
                iccid: if has_iccid { Some(known.iccid?) } else { None },
                extensions: Default::default(),
            },
            smdp_oid: known.smdp_oid.clone()?,
            final_result,
            extensions: Default::default(),
        }),
        euicc_sign_pir: compact.euicc_sign_pir.clone(),
        extensions: Default::default(),
    })
}

/// The full Notification, with the certificates of its eUICC.
pub(crate) fn notification(
    compact: &CompactOtherSignedNotification,
    (euicc_certificate, eum_certificate): (Certificate, Certificate),
) -> OtherSignedNotification {
    OtherSignedNotification {
        tbs_other_notification: compact.tbs_other_notification.clone(),
        euicc_notification_signature: compact.euicc_notification_signature.clone(),
        euicc_certificate,
        eum_certificate,
        other_certs_in_chain: None,
        extensions: Default::default(),
    }
}

/// `A0 00 00 05 59 10 10 FF FF FF FF 89 00 XX XX 00` from its octets 14 and 15.
fn isdp_aid(compact: &[u8]) -> Option<OctetTo16> {
    const PREFIX: [u8; 13] = [
        0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00,
    ];
    let [high, low]: [u8; 2] = compact.try_into().ok()?;
    let mut aid = PREFIX.to_vec();
    aid.extend([high, low, 0x00]);
    OctetTo16::new(&aid).ok()
}

#[cfg(test)]
mod tests {
    use rsp::sgp22::{CompactProfileInstallationResultData, CompactSuccessResult, Signature};

    use super::*;

    fn known() -> Known {
        Known {
            transaction_id: "0102".parse().unwrap(),
            server_address: "smdp.example.com".to_owned(),
            server_challenge: [3; 16],
            smdp_oid: Some(Oid::from_dotted("2.999.10").unwrap()),
            euicc_otpk: None,
            hash_cc: Some([9; 32]),
            iccid: Some("89000123456789012341".parse().unwrap()),
        }
    }

    fn signature() -> Signature {
        Signature(Octets(vec![1; 64]))
    }

    #[test]
    fn an_installation_is_rebuilt_octet_for_octet() {
        let compact = CompactProfileInstallationResult {
            compact_profile_installation_result_data: CompactProfileInstallationResultData {
                transaction_id: "0102".parse().unwrap(),
                seq_number: 5,
                iccid_present: None,
                compact_final_result: CompactFinalResult::CompactSuccessResult(
                    CompactSuccessResult {
                        compact_aid: Octets(vec![0x00, 0x10]),
                        sima_response: None,
                        extensions: Default::default(),
                    },
                ),
                extensions: Default::default(),
            },
            euicc_sign_pir: signature(),
            extensions: Default::default(),
        };
        let full = installation(&compact, &known()).unwrap();
        let expected = "BF2752\
            80020102\
            BF2F2580010581020780\
            0C10736D64702E6578616D706C652E636F6D\
            5A0A98001032547698103214\
            060388370A\
            A21FA01D\
            4F10A0000005591010FFFFFFFF890000100004093007A0053003800100";
        let octets = hex::encode_upper(full.profile_installation_result_data.bytes());
        assert_eq!(octets, expected.replace(char::is_whitespace, ""));
    }

    #[test]
    fn what_is_neither_sent_nor_known_cannot_be_rebuilt() {
        let compact = CompactPrepareDownloadResponseOk {
            compact_euicc_signed2: rsp::sgp22::CompactEuiccSigned2 {
                euicc_otpk: None,
                hash_cc: None,
                extensions: Default::default(),
            },
            euicc_signature2: signature(),
            extensions: Default::default(),
        };
        assert!(preparation(&compact, &known()).is_none(), "no one-time key");
        let key = OneTimePublicKey(Octets(vec![4; 65]));
        let with_key = Known {
            euicc_otpk: Some(key),
            ..known()
        };
        let full = preparation(&compact, &with_key).unwrap();
        assert_eq!(full.euicc_signed2.hash_cc, Some([9; 32].into()));
    }

    #[test]
    fn an_aid_takes_exactly_two_octets() {
        assert!(isdp_aid(&[0x00, 0x10]).is_some());
        assert!(isdp_aid(&[0x10]).is_none());
        assert!(isdp_aid(&[0, 0, 0]).is_none());
    }
}
