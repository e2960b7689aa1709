//! Common mutual authentication (SGP.22 v2.5 section 3.0.1, functions 5.7.13 and SGP.32 v1.2
//! section 5.9).

use super::{Certificate, CertificateChain, DeviceInfo, EuiccInfo2, KeyIdentifier, Signature};
use crate::der::{Encoded, Octets};
use crate::ids::TransactionId;
use crate::{choice, codes, sequence};

sequence! {
    /// What the server signs with SK.DPauth or SK.DSauth.
    pub struct ServerSigned1 @ 0x30 {
        /// Chosen by the server.
        req transaction_id @ 0x80: TransactionId,
        /// As the eUICC gave it.
        req euicc_challenge @ 0x81: [u8; 16],
        /// FQDN of the server; the LPA compares it with the one it called.
        req server_address @ 0x83: String,
        /// Random.
        req server_challenge @ 0x84: [u8; 16],
    }
}

sequence! {
    /// ES10b.AuthenticateServer.
    pub struct AuthenticateServerRequest @ 0xBF38 {
        /// Signed by the server.
        elem server_signed1: Encoded<ServerSigned1>,
        /// Over `server_signed1`.
        elem server_signature1: Signature,
        /// The CI key that the eUICC is to use.
        elem euicc_ci_pk_id_to_be_used: KeyIdentifier,
        /// CERT.DPauth or CERT.DSauth.
        elem server_certificate: Certificate,
        /// Context that the eUICC signs.
        elem ctx_params1: CtxParams1,
        /// Sub-CAs between the certificate and the CI. Since SGP.22 v3.
        opt other_certs_in_chain @ 0xA1: CertificateChain,
    }
}

choice! {
    /// Context of an authentication.
    pub enum CtxParams1 {
        /// For every use that SGP.22 v2 knows.
        value CtxParamsForCommonAuthentication @ 0xA0: CtxParamsForCommonAuthentication,
    }
}

sequence! {
    /// Context of the common mutual authentication.
    pub struct CtxParamsForCommonAuthentication @ 0x30 {
        /// Activation code token or event id; absent or empty at the default server.
        opt matching_id @ 0x80: String,
        /// The device.
        req device_info @ 0xA1: DeviceInfo,
    }
}

choice! {
    /// Answer of ES10b.AuthenticateServer.
    pub enum AuthenticateServerResponse @ 0xBF38 {
        /// The eUICC trusts the server.
        value AuthenticateResponseOk @ 0xA0: AuthenticateResponseOk,
        /// It does not.
        value AuthenticateResponseError @ 0xA1: AuthenticateResponseError,
        /// As Ok, without what the eIM knows already (SGP.32 minimizeEsipaBytes).
        value CompactAuthenticateResponseOk @ 0xA2: CompactAuthenticateResponseOk,
    }
}

sequence! {
    /// The eUICC authenticates itself.
    pub struct AuthenticateResponseOk @ 0x30 {
        /// Signed by the eUICC.
        elem euicc_signed1: Encoded<EuiccSigned1>,
        /// Over `euicc_signed1`, with SK.EUICC.
        elem euicc_signature1: Signature,
        /// CERT.EUICC.
        elem euicc_certificate: Certificate,
        /// CERT.EUM; in SGP.22 v3, where it is called nextCertInChain, whichever certifies CERT.EUICC: the EUM or its sub-CA.
        elem eum_certificate: Certificate,
        /// The rest of the chain below the CI. Since SGP.22 v3.
        opt other_certs_in_chain @ 0xA0: CertificateChain,
    }
}

sequence! {
    /// What the eUICC signs.
    pub struct EuiccSigned1 @ 0x30 {
        /// As received.
        req transaction_id @ 0x80: TransactionId,
        /// As received.
        req server_address @ 0x83: String,
        /// As received.
        req server_challenge @ 0x84: [u8; 16],
        /// The eUICC.
        elem euicc_info2: EuiccInfo2,
        /// As received.
        elem ctx_params1: CtxParams1,
    }
}

sequence! {
    /// Why the eUICC does not go on.
    pub struct AuthenticateResponseError @ 0x30 {
        /// As received.
        req transaction_id @ 0x80: TransactionId,
        /// The reason.
        req authenticate_error_code @ 0x02: AuthenticateErrorCode,
    }
}

codes! {
    /// Why an eUICC refuses a server.
    pub enum AuthenticateErrorCode {
        InvalidCertificate = 1,
        InvalidSignature = 2,
        UnsupportedCurve = 3,
        NoSessionContext = 4,
        InvalidOid = 5,
        EuiccChallengeMismatch = 6,
        CiPkUnknown = 7,
        UndefinedError = 127,
    }
}

sequence! {
    /// Compact form of [`AuthenticateResponseOk`]; the signature is over the full
    /// [`EuiccSigned1`], which the eIM rebuilds (SGP.32 v1.2 section 6.3).
    pub struct CompactAuthenticateResponseOk @ 0x30 {
        /// Full or compact.
        elem signed_data: CompactSignedData,
        /// Over the full `euicc_signed1`.
        elem euicc_signature1: Signature,
        /// Absent when the eIM has it.
        opt euicc_certificate @ 0xA1: Certificate,
        /// Absent when the eIM has it.
        opt eum_certificate @ 0xA2: Certificate,
    }
}

choice! {
    /// What a compact authentication response carries of the signed data.
    pub enum CompactSignedData {
        /// All of it.
        elem EuiccSigned1: Encoded<EuiccSigned1>,
        /// What the eIM cannot know.
        value CompactEuiccSigned1 @ 0xA0: CompactEuiccSigned1,
    }
}

sequence! {
    /// What an eIM that holds the EUICCInfo2 needs to rebuild [`EuiccSigned1`].
    pub struct CompactEuiccSigned1 @ 0x30 {
        /// The current value; the rest of EUICCInfo2 is known.
        req ext_card_resource @ 0x84: Octets,
        /// Absent when the eIM gave it.
        opt ctx_params1 @ 0xA2: CtxParams1,
    }
}
