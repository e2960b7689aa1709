//! Cancelling a session (SGP.22 v2.5 section 5.7.14, SGP.32 v1.2 compact form).

use super::Signature;
use crate::der::{Encoded, Oid};
use crate::ids::TransactionId;
use crate::{choice, codes, sequence};

sequence! {
    /// ES10b.CancelSession.
    pub struct CancelSessionRequest @ 0xBF41 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// Why.
        req reason @ 0x81: CancelSessionReason,
    }
}

codes! {
    /// Why a session is cancelled.
    pub enum CancelSessionReason {
        EndUserRejection = 0,
        Postponed = 1,
        Timeout = 2,
        PprNotAllowed = 3,
        MetadataMismatch = 4,
        LoadBppExecutionError = 5,
        UndefinedReason = 127,
    }

    /// Why the eUICC did not cancel.
    pub enum CancelSessionResponseError { InvalidTransactionId = 5, UndefinedError = 127 }
}

choice! {
    /// Answer of ES10b.CancelSession.
    pub enum CancelSessionResponse @ 0xBF41 {
        /// Cancelled; to be passed to the server.
        value CancelSessionResponseOk @ 0xA0: CancelSessionResponseOk,
        /// Not cancelled.
        value CancelSessionResponseError @ 0x81: CancelSessionResponseError,
        /// As Ok, without what the eIM knows already.
        value CompactCancelSessionResponseOk @ 0xA2: CompactCancelSessionResponseOk,
    }
}

sequence! {
    /// A cancellation signed by the eUICC.
    pub struct CancelSessionResponseOk @ 0x30 {
        /// Signed.
        elem euicc_cancel_session_signed: Encoded<EuiccCancelSessionSigned>,
        /// Over `euicc_cancel_session_signed`, with SK.EUICC.
        elem euicc_cancel_session_signature: Signature,
    }
}

sequence! {
    /// What the eUICC signs.
    pub struct EuiccCancelSessionSigned @ 0x30 {
        /// The session.
        req transaction_id @ 0x80: TransactionId,
        /// The server, from its certificate.
        req smdp_oid @ 0x81: Oid,
        /// Why.
        req reason @ 0x82: CancelSessionReason,
    }
}

sequence! {
    /// Compact form of [`CancelSessionResponseOk`]; the signature is over the full
    /// [`EuiccCancelSessionSigned`].
    pub struct CompactCancelSessionResponseOk @ 0x30 {
        /// What the eIM cannot know.
        elem compact_euicc_cancel_session_signed: CompactEuiccCancelSessionSigned,
        /// Over the full object.
        elem euicc_cancel_session_signature: Signature,
    }
}

sequence! {
    /// What an eIM needs to rebuild [`EuiccCancelSessionSigned`].
    pub struct CompactEuiccCancelSessionSigned @ 0x30 {
        /// Absent when the eIM gave it.
        opt reason @ 0x80: CancelSessionReason,
    }
}
