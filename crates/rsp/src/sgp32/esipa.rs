//! ESipa messages between IPA and eIM (SGP.32 sections 5.14 and 6).
//!
//! The body of the ASN.1 binding is exactly one of these; its tag selects the function.

use super::{
    EimAcknowledgements, EuiccPackageRequest, EuiccPackageResult, IpaEuiccDataRequest,
    IpaEuiccDataResponse, ProfileDownloadTriggerRequest, ProfileDownloadTriggerResult,
};
use crate::der::{Encoded, Null, Octets};
use crate::ids::{EidOctets, TransactionId};
use crate::sgp22::{
    AuthenticateServerResponse, BoundProfilePackage, CancelSessionResponse, Certificate,
    CertificateChain, CtxParams1, EuiccInfo1, PendingNotification, PrepareDownloadResponse,
    ServerSigned1, Signature, SmdpSigned2, StoreMetadataRequest,
};
use crate::{choice, codes, sequence};

sequence! {
    /// An IPA asks for work.
    pub struct GetEimPackageRequest @ 0xBF4F {
        req eid_value @ 0x5A: EidOctets,
        opt notify_state_change @ 0x80: Null,
        opt state_change_cause @ 0x81: StateChangeCause,
        /// Three octets: MCC and MNC of the last registered PLMN (3GPP TS 24.008).
        opt r_plmn @ 0x82: Octets,
    }
}

choice! {
    /// One eIM Package, or why there is none.
    pub enum GetEimPackageResponse @ 0xBF4F {
        elem EuiccPackageRequest: EuiccPackageRequest,
        elem IpaEuiccDataRequest: IpaEuiccDataRequest,
        elem ProfileDownloadTriggerRequest: ProfileDownloadTriggerRequest,
        value EimPackageError @ 0x02: EimPackageError,
    }
}

codes! {
    /// Why the state of Profiles or eIM configuration changed without this eIM.
    pub enum StateChangeCause {
        OtherEim = 0,
        Fallback = 1,
        EmergencyProfile = 2,
        Local = 3,
        Reset = 4,
        ImmediateEnableProfile = 5,
        DeviceChange = 6,
        Undefined = 127,
    }

    /// Why GetEimPackage returns no package.
    pub enum EimPackageError {
        NoEimPackageAvailable = 1,
        EidNotFound = 2,
        InvalidEid = 3,
        MissingEid = 4,
        UndefinedError = 127,
    }

    /// Why a result was not accepted.
    pub enum ProvideEimPackageResultError {
        EidNotFound = 2,
        InvalidEid = 3,
        MissingEid = 4,
        UndefinedError = 127,
    }

    /// Why an IPA could not use a package.
    pub enum EimPackageResultErrorCode {
        InvalidPackageFormat = 1,
        UnknownPackage = 2,
        UndefinedError = 127,
    }

    /// Errors of ESipa.InitiateAuthentication.
    pub enum InitiateAuthenticationErrorEsipa {
        InvalidDpAddress = 1,
        EuiccVersionNotSupportedByDp = 2,
        CiPKIdNotSupported = 3,
        SmdpAddressMismatch = 50,
        SmdpOidMismatch = 51,
        InvalidEimTransactionId = 52,
        UndefinedError = 127,
    }

    /// Errors of ESipa.AuthenticateClient.
    pub enum AuthenticateClientErrorEsipa {
        EumCertificateInvalid = 1,
        EumCertificateExpired = 2,
        EuiccCertificateInvalid = 3,
        EuiccCertificateExpired = 4,
        EuiccSignatureInvalid = 5,
        MatchingIdRefused = 6,
        EidMismatch = 7,
        NoEligibleProfile = 8,
        CiPKUnknown = 9,
        InvalidTransactionId = 10,
        InsufficientMemory = 11,
        DownloadOrderExpired = 18,
        PprNotAllowed = 50,
        EventIdUnknown = 56,
        UndefinedError = 127,
    }

    /// Errors of ESipa.GetBoundProfilePackage.
    pub enum GetBoundProfilePackageErrorEsipa {
        EuiccSignatureInvalid = 1,
        ConfirmationCodeMissing = 2,
        ConfirmationCodeRefused = 3,
        ConfirmationCodeRetriesExceeded = 4,
        BppRebindingRefused = 5,
        DownloadOrderExpired = 6,
        MetadataMismatch = 50,
        InvalidTransactionId = 95,
        UndefinedError = 127,
    }

    /// Errors of ESipa.CancelSession.
    pub enum CancelSessionErrorEsipa {
        InvalidTransactionId = 1,
        EuiccSignatureInvalid = 2,
        UndefinedError = 127,
    }
}

sequence! {
    /// An IPA delivers the result of an eIM Package.
    pub struct ProvideEimPackageResult @ 0xBF50 {
        opt eid_value @ 0x5A: EidOctets,
        elem eim_package_result: EimPackageResult,
    }
}

choice! {
    /// The result of an eIM Package.
    pub enum EimPackageResult {
        elem EuiccPackageResult: EuiccPackageResult,
        elem EprAndNotifications: EprAndNotifications,
        elem IpaEuiccDataResponse: IpaEuiccDataResponse,
        elem ProfileDownloadTriggerResult: ProfileDownloadTriggerResult,
        value EimPackageResultResponseError @ 0xA0: EimPackageResultResponseError,
    }
}

sequence! {
    /// A result together with the Notifications pending on the eUICC.
    pub struct EprAndNotifications @ 0x30 {
        elem euicc_package_result: EuiccPackageResult,
        req notification_list @ 0xA0: Vec<PendingNotification>,
    }
}

sequence! {
    /// The IPA could not use the package.
    pub struct EimPackageResultResponseError @ 0x30 {
        opt eim_transaction_id @ 0x80: TransactionId,
        req eim_package_result_error_code @ 0x02: EimPackageResultErrorCode,
    }
}

choice! {
    /// What the eIM says to a result.
    pub enum ProvideEimPackageResultResponse @ 0xBF50 {
        elem EimAcknowledgements: EimAcknowledgements,
        elem EmptyResponse: EmptyResponse,
        value ProvideEimPackageResultError @ 0x02: ProvideEimPackageResultError,
    }
}

sequence! {
    /// Nothing to acknowledge.
    pub struct EmptyResponse @ 0x30 {}
}

choice! {
    /// An eIM pushes a package to an IPA (injection).
    pub enum TransferEimPackageRequest @ 0xBF4E {
        elem EuiccPackageRequest: EuiccPackageRequest,
        elem IpaEuiccDataRequest: IpaEuiccDataRequest,
        elem EimAcknowledgements: EimAcknowledgements,
        elem ProfileDownloadTriggerRequest: ProfileDownloadTriggerRequest,
    }
}

choice! {
    /// What the IPA answers to an injected package.
    pub enum TransferEimPackageResponse @ 0xBF4E {
        elem EuiccPackageResult: EuiccPackageResult,
        elem EprAndNotifications: EprAndNotifications,
        elem IpaEuiccDataResponse: IpaEuiccDataResponse,
        value EimPackageReceived @ 0x05: Null,
        value EimPackageError @ 0x02: EimPackageResultErrorCode,
        /// SGP.32 v1.3.
        elem EimPackageReceivedWithCid: EimPackageReceivedWithCid,
        /// SGP.32 v1.3.
        elem EimPackageErrorWithCid: EimPackageErrorWithCid,
    }
}

sequence! {
    /// Received, with a correlation id (v1.3).
    pub struct EimPackageReceivedWithCid @ 0xBF60 {
        opt correlation_id @ 0xA0: CorrelationId,
    }
}

sequence! {
    /// Refused, with a correlation id (v1.3).
    pub struct EimPackageErrorWithCid @ 0xBF61 {
        opt correlation_id @ 0xA0: CorrelationId,
        req eim_package_error @ 0x81: EimPackageResultErrorCode,
    }
}

choice! {
    /// What a deferred answer belongs to (v1.3).
    pub enum CorrelationId {
        value EimTransactionId @ 0x80: TransactionId,
        value EidValue @ 0x5A: EidOctets,
    }
}

choice! {
    /// A Notification, or a result for which no answer is wanted.
    pub enum HandleNotificationEsipa @ 0xBF3D {
        value PendingNotification @ 0xA0: PendingNotification,
        elem ProvideEimPackageResult: ProvideEimPackageResult,
    }
}

sequence! {
    /// First step of an indirect download.
    pub struct InitiateAuthenticationRequestEsipa @ 0xBF39 {
        req euicc_challenge @ 0x81: [u8; 16],
        opt smdp_address @ 0x83: String,
        elem_opt euicc_info1: EuiccInfo1,
        opt eim_transaction_id @ 0x82: TransactionId,
    }
}

choice! {
    /// What the SM-DP+ said, relayed.
    pub enum InitiateAuthenticationResponseEsipa @ 0xBF39 {
        value InitiateAuthenticationOkEsipa @ 0xA0: InitiateAuthenticationOkEsipa,
        value InitiateAuthenticationErrorEsipa @ 0x81: InitiateAuthenticationErrorEsipa,
    }
}

sequence! {
    /// The SM-DP+ authenticates itself.
    pub struct InitiateAuthenticationOkEsipa @ 0x30 {
        opt transaction_id @ 0x80: TransactionId,
        elem server_signed1: Encoded<ServerSigned1>,
        elem server_signature1: Signature,
        req euicc_ci_pk_identifier_to_be_used @ 0x04: Octets,
        elem server_certificate: Certificate,
        opt matching_id @ 0x0C: String,
        opt ctx_params1 @ 0xA2: CtxParams1,
        /// Sub-CAs between the certificate and the CI. SGP.32 v1.2 knows none; the member is that of SGP.22 v3, and stands
        /// behind what v1.2 knows.
        opt other_certs_in_chain @ 0xA1: CertificateChain,
    }
}

sequence! {
    /// The eUICC authenticates itself.
    pub struct AuthenticateClientRequestEsipa @ 0xBF3B {
        req transaction_id @ 0x80: TransactionId,
        elem authenticate_server_response: Encoded<AuthenticateServerResponse>,
    }
}

choice! {
    /// What the SM-DP+ or SM-DS offers.
    pub enum AuthenticateClientResponseEsipa @ 0xBF3B {
        value AuthenticateClientOkDpEsipa @ 0xA0: AuthenticateClientOkDpEsipa,
        value AuthenticateClientOkDsEsipa @ 0xA1: AuthenticateClientOkDsEsipa,
        value AuthenticateClientErrorEsipa @ 0x82: AuthenticateClientErrorEsipa,
    }
}

sequence! {
    /// A Profile is ready.
    pub struct AuthenticateClientOkDpEsipa @ 0x30 {
        opt transaction_id @ 0x80: TransactionId,
        elem_opt profile_meta_data: Encoded<StoreMetadataRequest>,
        elem smdp_signed2: Encoded<SmdpSigned2>,
        elem smdp_signature2: Signature,
        elem smdp_certificate: Certificate,
        opt hash_cc @ 0x04: [u8; 32],
    }
}

sequence! {
    /// An SM-DS answered; an event becomes a new trigger.
    pub struct AuthenticateClientOkDsEsipa @ 0x30 {
        req transaction_id @ 0x80: TransactionId,
        elem_opt profile_download_trigger: ProfileDownloadTriggerRequest,
    }
}

sequence! {
    /// The eUICC is ready to receive a Profile.
    pub struct GetBoundProfilePackageRequestEsipa @ 0xBF3A {
        req transaction_id @ 0x80: TransactionId,
        elem prepare_download_response: Encoded<PrepareDownloadResponse>,
    }
}

choice! {
    /// The Bound Profile Package, relayed.
    pub enum GetBoundProfilePackageResponseEsipa @ 0xBF3A {
        value GetBoundProfilePackageOkEsipa @ 0xA0: GetBoundProfilePackageOkEsipa,
        value GetBoundProfilePackageErrorEsipa @ 0x81: GetBoundProfilePackageErrorEsipa,
    }
}

sequence! {
    /// The Profile, bound to this eUICC.
    pub struct GetBoundProfilePackageOkEsipa @ 0x30 {
        opt transaction_id @ 0x80: TransactionId,
        elem bound_profile_package: Encoded<BoundProfilePackage>,
    }
}

sequence! {
    /// The IPA ends a download session.
    pub struct CancelSessionRequestEsipa @ 0xBF41 {
        req transaction_id @ 0x80: TransactionId,
        req cancel_session_response @ 0xA1: CancelSessionResponse,
    }
}

choice! {
    /// The SM-DP+'s answer to a cancelled session.
    pub enum CancelSessionResponseEsipa @ 0xBF41 {
        value CancelSessionOk @ 0xA0: CancelSessionOk,
        value CancelSessionError @ 0x81: CancelSessionErrorEsipa,
    }
}

sequence! {
    /// Cancelled.
    pub struct CancelSessionOk @ 0x30 {}
}
