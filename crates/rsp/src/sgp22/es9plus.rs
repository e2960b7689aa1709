//! ES9+ and ES11, ASN.1 binding (SGP.22 v2.5 section 6.6). The members of the JSON binding hold
//! the same objects.

use super::{
    AuthenticateServerResponse, BoundProfilePackage, CancelSessionResponse, Certificate,
    CertificateChain, EuiccInfo1, KeyIdentifier, PendingNotification, PrepareDownloadResponse,
    ServerSigned1, Signature, SmdpSigned2, StoreMetadataRequest,
};
use crate::der::Encoded;
use crate::ids::TransactionId;
use crate::{choice, codes, sequence};

choice! {
    /// Body of a request.
    pub enum RemoteProfileProvisioningRequest @ 0xA2 {
        /// ES9+ and ES11.
        elem InitiateAuthentication: InitiateAuthenticationRequest,
        /// ES9+ and ES11.
        elem AuthenticateClient: AuthenticateClientRequest,
        /// ES9+.
        elem GetBoundProfilePackage: GetBoundProfilePackageRequest,
        /// ES9+.
        elem CancelSession: CancelSessionRequestEs9,
        /// ES9+, answered with HTTP 204.
        elem HandleNotification: HandleNotification,
    }
}

choice! {
    /// Body of an answer.
    pub enum RemoteProfileProvisioningResponse @ 0xA2 {
        /// ES9+ and ES11.
        elem InitiateAuthentication: InitiateAuthenticationResponse,
        /// ES9+.
        elem AuthenticateClientEs9: AuthenticateClientResponseEs9,
        /// ES9+.
        elem GetBoundProfilePackage: GetBoundProfilePackageResponse,
        /// ES9+.
        elem CancelSession: CancelSessionResponseEs9,
        /// ES11.
        elem AuthenticateClientEs11: AuthenticateClientResponseEs11,
    }
}

sequence! {
    /// Begins a session.
    pub struct InitiateAuthenticationRequest @ 0xBF39 {
        /// From the eUICC.
        req euicc_challenge @ 0x81: [u8; 16],
        /// The FQDN that was called.
        req smdp_address @ 0x83: String,
        /// From the eUICC.
        elem euicc_info1: EuiccInfo1,
    }
}

choice! {
    /// Answer to [`InitiateAuthenticationRequest`].
    pub enum InitiateAuthenticationResponse @ 0xBF39 {
        /// To be given to the eUICC.
        value InitiateAuthenticationOk @ 0xA0: InitiateAuthenticationOkEs9,
        /// No session.
        value InitiateAuthenticationError @ 0x81: InitiateAuthenticationError,
    }
}

sequence! {
    /// The server authenticates itself.
    pub struct InitiateAuthenticationOkEs9 @ 0x30 {
        /// Chosen by the server.
        req transaction_id @ 0x80: TransactionId,
        /// Signed.
        elem server_signed1: Encoded<ServerSigned1>,
        /// Over `server_signed1`, with SK.DPauth or SK.DSauth.
        elem server_signature1: Signature,
        /// The CI key that the eUICC is to use.
        elem euicc_ci_pk_id_to_be_used: KeyIdentifier,
        /// CERT.DPauth or CERT.DSauth.
        elem server_certificate: Certificate,
        /// Sub-CAs between the certificate and the CI. Since SGP.22 v3.
        opt other_certs_in_chain @ 0xA1: CertificateChain,
    }
}

sequence! {
    /// The eUICC's answer for the server.
    pub struct AuthenticateClientRequest @ 0xBF3B {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// From the eUICC.
        elem authenticate_server_response: AuthenticateServerResponse,
    }
}

choice! {
    /// Answer of an SM-DP+ to [`AuthenticateClientRequest`].
    pub enum AuthenticateClientResponseEs9 @ 0xBF3B {
        /// A profile is there.
        value AuthenticateClientOk @ 0xA0: AuthenticateClientOk,
        /// None, or the eUICC is not accepted.
        value AuthenticateClientError @ 0x81: AuthenticateClientError,
    }
}

sequence! {
    /// A profile is there for this eUICC.
    pub struct AuthenticateClientOk @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// What will be installed.
        elem profile_meta_data: StoreMetadataRequest,
        /// Signed by the SM-DP+.
        elem smdp_signed2: Encoded<SmdpSigned2>,
        /// Over `smdp_signed2 ‖ euicc_signature1` (with its tag and length), with SK.DPpb.
        elem smdp_signature2: Signature,
        /// CERT.DPpb.
        elem smdp_certificate: Certificate,
    }
}

choice! {
    /// Answer of an SM-DS to [`AuthenticateClientRequest`].
    pub enum AuthenticateClientResponseEs11 @ 0xBF40 {
        /// The events.
        value AuthenticateClientOk @ 0xA0: AuthenticateClientOkEs11,
        /// The eUICC is not accepted.
        value AuthenticateClientError @ 0x81: AuthenticateClientErrorEs11,
    }
}

sequence! {
    /// The events of this eUICC.
    pub struct AuthenticateClientOkEs11 @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// Where to go.
        req event_entries @ 0xA1: Vec<EventEntries>,
    }
}

sequence! {
    /// One event.
    pub struct EventEntries @ 0x30 {
        /// The matching id to use.
        req event_id @ 0x80: String,
        /// FQDN of the server to ask.
        req rsp_server_address @ 0x81: String,
    }
}

sequence! {
    /// The eUICC is ready for its package.
    pub struct GetBoundProfilePackageRequest @ 0xBF3A {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// From the eUICC.
        elem prepare_download_response: PrepareDownloadResponse,
    }
}

choice! {
    /// Answer to [`GetBoundProfilePackageRequest`].
    pub enum GetBoundProfilePackageResponse @ 0xBF3A {
        /// The package.
        value GetBoundProfilePackageOk @ 0xA0: GetBoundProfilePackageOk,
        /// None.
        value GetBoundProfilePackageError @ 0x81: GetBoundProfilePackageError,
    }
}

sequence! {
    /// The package.
    pub struct GetBoundProfilePackageOk @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// The package.
        elem bound_profile_package: BoundProfilePackage,
    }
}

sequence! {
    /// Delivers a notification.
    pub struct HandleNotification @ 0xBF3D {
        /// From the eUICC.
        req pending_notification @ 0xA0: PendingNotification,
    }
}

sequence! {
    /// Passes on a cancellation.
    pub struct CancelSessionRequestEs9 @ 0xBF41 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// From the eUICC.
        req cancel_session_response @ 0xA1: CancelSessionResponse,
    }
}

choice! {
    /// Answer to [`CancelSessionRequestEs9`].
    pub enum CancelSessionResponseEs9 @ 0xBF41 {
        /// Cancelled.
        value CancelSessionOk @ 0xA0: CancelSessionOk,
        /// Not cancelled.
        value CancelSessionError @ 0x81: CancelSessionError,
    }
}

sequence! {
    /// Nothing to say.
    pub struct CancelSessionOk @ 0x30 {}
}

codes! {
    /// Why no session begins.
    pub enum InitiateAuthenticationError {
        InvalidDpAddress = 1,
        EuiccVersionNotSupportedByDp = 2,
        CiPkNotSupported = 3,
    }

    /// Why an SM-DP+ does not accept an eUICC.
    pub enum AuthenticateClientError {
        EumCertificateInvalid = 1,
        EumCertificateExpired = 2,
        EuiccCertificateInvalid = 3,
        EuiccCertificateExpired = 4,
        EuiccSignatureInvalid = 5,
        MatchingIdRefused = 6,
        EidMismatch = 7,
        NoEligibleProfile = 8,
        CiPkUnknown = 9,
        InvalidTransactionId = 10,
        InsufficientMemory = 11,
        UndefinedError = 127,
    }

    /// Why an SM-DS does not accept an eUICC.
    pub enum AuthenticateClientErrorEs11 {
        EumCertificateInvalid = 1,
        EumCertificateExpired = 2,
        EuiccCertificateInvalid = 3,
        EuiccCertificateExpired = 4,
        EuiccSignatureInvalid = 5,
        EventIdUnknown = 6,
        InvalidTransactionId = 7,
        UndefinedError = 127,
    }

    /// Why there is no package.
    pub enum GetBoundProfilePackageError {
        EuiccSignatureInvalid = 1,
        ConfirmationCodeMissing = 2,
        ConfirmationCodeRefused = 3,
        ConfirmationCodeRetriesExceeded = 4,
        BppRebindingRefused = 5,
        DownloadOrderExpired = 6,
        InvalidTransactionId = 95,
        UndefinedError = 127,
    }

    /// Why a session is not cancelled.
    pub enum CancelSessionError {
        InvalidTransactionId = 1,
        EuiccSignatureInvalid = 2,
        UndefinedError = 127,
    }
}
