//! Download preparation and the bound profile package (SGP.22 v2.5 sections 2.5, 5.5, 5.7.5,
//! 5.7.6).

use std::fmt;

use super::{Certificate, OctetTo16, OneTimePublicKey, Signature};
use crate::der::{
    Describe, Element, Encoded, Error, Octets, Oid, Shape, Tlv, TypeInfo, Value, Writer,
};
use crate::ids::TransactionId;
use crate::{choice, codes, sequence, tagged};

tagged! {
    /// SHA-256(SHA-256(confirmation code) ‖ transaction id).
    pub struct HashCc @ 0x04: [u8; 32];

    /// BOOLEAN of [`SmdpSigned2`].
    pub struct CcRequiredFlag @ 0x01: bool;
}

sequence! {
    /// What the SM-DP+ signs with SK.DPpb, followed by the eUICC's first signature.
    pub struct SmdpSigned2 @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// A confirmation code is needed.
        elem cc_required_flag: CcRequiredFlag,
        /// In a retry, the key that the package is bound to already.
        elem_opt bpp_euicc_otpk: OneTimePublicKey,
    }
}

sequence! {
    /// ES10b.PrepareDownload.
    pub struct PrepareDownloadRequest @ 0xBF21 {
        /// Signed by the SM-DP+.
        elem smdp_signed2: Encoded<SmdpSigned2>,
        /// Over `smdp_signed2 ‖ euicc_signature1` (with its tag and length).
        elem smdp_signature2: Signature,
        /// Copied by the eUICC into what it signs.
        elem_opt hash_cc: HashCc,
        /// CERT.DPpb.
        elem smdp_certificate: Certificate,
    }
}

choice! {
    /// Answer of ES10b.PrepareDownload.
    pub enum PrepareDownloadResponse @ 0xBF21 {
        /// Ready.
        value DownloadResponseOk @ 0xA0: PrepareDownloadResponseOk,
        /// Refused.
        value DownloadResponseError @ 0xA1: PrepareDownloadResponseError,
        /// As Ok, without what the eIM knows already.
        value CompactDownloadResponseOk @ 0xA2: CompactPrepareDownloadResponseOk,
    }
}

sequence! {
    /// The eUICC is ready for a package bound to its one-time key.
    pub struct PrepareDownloadResponseOk @ 0x30 {
        /// Signed by the eUICC.
        elem euicc_signed2: Encoded<EuiccSigned2>,
        /// Over `euicc_signed2 ‖ smdp_signature2` (with its tag and length), with SK.EUICC.
        elem euicc_signature2: Signature,
    }
}

sequence! {
    /// What the eUICC signs.
    pub struct EuiccSigned2 @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// otPK.EUICC.ECKA.
        elem euicc_otpk: OneTimePublicKey,
        /// As received.
        elem_opt hash_cc: HashCc,
    }
}

sequence! {
    /// Why the eUICC does not go on.
    pub struct PrepareDownloadResponseError @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// The reason.
        req download_error_code @ 0x02: DownloadErrorCode,
    }
}

codes! {
    /// Why an eUICC refuses a download.
    pub enum DownloadErrorCode {
        InvalidCertificate = 1,
        InvalidSignature = 2,
        UnsupportedCurve = 3,
        NoSessionContext = 4,
        InvalidTransactionId = 5,
        UndefinedError = 127,
    }
}

sequence! {
    /// Compact form of [`PrepareDownloadResponseOk`]; the signature is over the full
    /// [`EuiccSigned2`].
    pub struct CompactPrepareDownloadResponseOk @ 0x30 {
        /// What the eIM cannot know.
        elem compact_euicc_signed2: CompactEuiccSigned2,
        /// Over the full object.
        elem euicc_signature2: Signature,
    }
}

sequence! {
    /// What an eIM needs to rebuild [`EuiccSigned2`].
    pub struct CompactEuiccSigned2 @ 0x30 {
        /// Absent when it is the one that the SM-DP+ proposed.
        elem_opt euicc_otpk: OneTimePublicKey,
        /// Absent when the eIM gave it or there is none.
        elem_opt hash_cc: HashCc,
    }
}

tagged! {
    /// An encrypted segment that carries one command (ConfigureISDP, ReplaceSessionKeys).
    ///
    /// Like the other segments: ciphertext or plain data followed by eight octets of MAC. The MAC
    /// covers tag and length too; [`Element::to_der`] gives the whole TLV.
    pub struct Segment87 @ 0x87: Octets;

    /// A segment in clear with a MAC (StoreMetadata).
    pub struct Segment88 @ 0x88: Octets;

    /// An encrypted segment of the profile package.
    pub struct Segment86 @ 0x86: Octets;
}

sequence! {
    /// A profile package bound to one eUICC and one session (SGP.22 v2.5 section 2.5.4).
    pub struct BoundProfilePackage @ 0xBF36 {
        /// Key agreement.
        elem initialise_secure_channel_request: InitialiseSecureChannelRequest,
        /// ConfigureISDP.
        req first_sequence_of87 @ 0xA0: Vec<Segment87>,
        /// StoreMetadata.
        req sequence_of88 @ 0xA1: Vec<Segment88>,
        /// ReplaceSessionKeys.
        opt second_sequence_of87 @ 0xA2: Vec<Segment87>,
        /// The profile package.
        req sequence_of86 @ 0xA3: Vec<Segment86>,
    }
}

sequence! {
    /// ES8+.InitialiseSecureChannel.
    pub struct InitialiseSecureChannelRequest @ 0xBF23 {
        /// Always installBoundProfilePackage.
        req remote_op_id @ 0x82: RemoteOpId,
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// Kind of the keys.
        req control_ref_template @ 0xA6: ControlRefTemplate,
        /// otPK.DP.ECKA.
        elem smdp_otpk: OneTimePublicKey,
        /// With SK.DPpb, over [`InitialiseSecureChannelRequest::signed_octets`].
        elem smdp_sign: Signature,
    }
}

impl InitialiseSecureChannelRequest {
    /// What `smdp_sign` covers: the members before it, one TLV after the other, followed by
    /// otPK.EUICC.ECKA, which is not sent again (SGP.22 v2.5 section 5.5.1).
    pub fn signed_octets(&self, euicc_otpk: &OneTimePublicKey) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.value(0x82, &self.remote_op_id);
        writer.value(0x80, &self.transaction_id);
        writer.value(0xA6, &self.control_ref_template);
        self.smdp_otpk.encode_element(&mut writer);
        euicc_otpk.encode_element(&mut writer);
        writer.into_bytes()
    }
}

codes! {
    /// Remote operation.
    pub enum RemoteOpId { InstallBoundProfilePackage = 1 }
}

sequence! {
    /// Kind of the session keys (GlobalPlatform card specification section 6.4.2.3).
    pub struct ControlRefTemplate @ 0x30 {
        /// 88: AES.
        req key_type @ 0x80: [u8; 1],
        /// 10: octets.
        req key_len @ 0x81: [u8; 1],
        /// Chosen by the SM-DP+; goes into the key derivation.
        req host_id @ 0x84: OctetTo16,
    }
}

sequence! {
    /// ES8+.ConfigureISDP.
    pub struct ConfigureIsdpRequest @ 0xBF24 {
        /// For the SM-DP+ itself.
        opt dp_proprietary_data @ 0xB8: DpProprietaryData,
    }
}

sequence! {
    /// Data that an SM-DP+ keeps in the profile; objects of its own may follow the OID, at most
    /// 128 octets in all.
    pub struct DpProprietaryData @ 0x30 {
        /// The SM-DP+.
        req dp_oid @ 0x80: Oid,
    }
}

sequence! {
    /// ES8+.ReplaceSessionKeys.
    pub struct ReplaceSessionKeysRequest @ 0xBF26 {
        /// 16 octets.
        req initial_mac_chaining_value @ 0x80: SessionKey,
        /// 16 octets, S-ENC.
        req ppk_enc @ 0x81: SessionKey,
        /// 16 octets, S-MAC.
        req ppk_cmac @ 0x82: SessionKey,
    }
}

/// A key or chaining value of 16 octets that is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SessionKey(pub [u8; 16]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(not shown)")
    }
}

impl Value for SessionKey {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        <[u8; 16]>::decode_content(tlv)
            .map(Self)
            .map_err(|_| Error::invalid("a session key has 16 octets"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for SessionKey {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "SessionKey",
            shape: Shape::Octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn the_secure_channel_signature_covers_members_and_the_euicc_key() {
        let request = InitialiseSecureChannelRequest {
            remote_op_id: RemoteOpId::InstallBoundProfilePackage,
            transaction_id: TransactionId::new(&[7]).unwrap(),
            control_ref_template: ControlRefTemplate {
                key_type: [0x88],
                key_len: [0x10],
                host_id: OctetTo16::new(&[0xAB]).unwrap(),
                extensions: Default::default(),
            },
            smdp_otpk: OneTimePublicKey(vec![4, 1].into()),
            smdp_sign: Signature(vec![9].into()),
            extensions: Default::default(),
        };
        let euicc_otpk = OneTimePublicKey(vec![4, 2].into());
        let signed = hex!("820101 800107 A609 800188 810110 8401AB 5F49020401 5F49020402");
        assert_eq!(request.signed_octets(&euicc_otpk), signed);
        let whole = hex!("BF231A 820101 800107 A609 800188 810110 8401AB 5F49020401 5F370109");
        assert_eq!(request.to_der(), whole);
    }

    #[test]
    fn session_keys_are_not_printed_and_have_16_octets() {
        let keys = ReplaceSessionKeysRequest {
            initial_mac_chaining_value: SessionKey([0x11; 16]),
            ppk_enc: SessionKey([0x22; 16]),
            ppk_cmac: SessionKey([0x33; 16]),
            extensions: Default::default(),
        };
        let printed = format!("{keys:?}");
        assert!(
            !printed.contains("34") && !printed.contains("22"),
            "{printed}"
        );
        let mut short = keys.to_der();
        short.truncate(3 + 36);
        if let Some(length) = short.get_mut(2) {
            *length = 36;
        }
        assert!(ReplaceSessionKeysRequest::from_der(&short).is_err());
    }
}
