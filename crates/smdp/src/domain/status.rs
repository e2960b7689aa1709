//! Why the server refuses, in the codes that SGP.22 gives each reason.

use std::fmt;

use ::store::{SqlError, StoreFault};
use rsp::binding::StatusCode;

macro_rules! refusals {
    ( $( $(#[$meta:meta])* $name:ident = $subject:literal / $reason:literal, $message:literal; )* ) => {
        /// A reason to refuse, on ES9+ or ES2+. Each has its own status code where SGP.22 has one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $( $(#[$meta])* $name, )*
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// Subject and reason code. What the ASN.1 binding says instead follows from them.
            pub const fn status(self) -> StatusCode {
                match self {
                    $( Self::$name => StatusCode::new($subject, $reason), )*
                }
            }

            /// The reason in words; free of anything the peer sent.
            pub const fn message(self) -> &'static str {
                match self {
                    $( Self::$name => $message, )*
                }
            }
        }
    };
}

refusals! {
    /// Content-Type is not that of the binding.
    ContentType = "1.2.1" / "2.1", "the content type is not the one of this binding";
    /// X-Admin-Protocol is missing, or names a version that is not spoken.
    AdminProtocol = "1.2.2" / "2.1", "X-Admin-Protocol must name a version 2 of gsma/rsp";
    /// The function requester of ES2+ is missing, or not the one the client certificate stands for.
    FunctionRequester = "1.1" / "2.1", "the function requester is not the one of the client certificate";
    /// A mandatory element is missing.
    ElementMissing = "1.3.1" / "2.2", "a mandatory element is missing";
    /// An element cannot be read.
    ElementMalformed = "1.3.1" / "2.1", "an element is malformed";

    /// `smdpAddress` is not this server.
    AddressNotOurs = "8.8.1" / "3.8", "the SM-DP+ address is not this server's";
    /// The server can verify no chain that the eUICC could show.
    NoCommonCi = "8.8.2" / "3.1", "no CI of the eUICC's certificates is trusted here";
    /// The eUICC's version is not supported.
    SvnNotSupported = "8.8.3" / "3.1", "the SGP.22 version of the eUICC is not supported";
    /// The eUICC can verify no certificate of this server.
    NoCertificateForEuicc = "8.8.4" / "3.7", "no certificate of this server is under a CI that the eUICC knows";
    /// No such session, or not at this step.
    TransactionUnknown = "8.10.1" / "3.9", "the transaction is unknown, over, or at another step";
    /// The eUICC's chain ends at a CI that is not trusted or was not agreed.
    CiUnknown = "8.11.1" / "3.9", "the CI of the eUICC's certificate chain is unknown";
    /// The EUM certificate is not valid.
    EumCertificateInvalid = "8.1.2" / "6.1", "the EUM certificate is not valid";
    /// The EUM certificate is expired.
    EumCertificateExpired = "8.1.2" / "6.3", "the EUM certificate is outside its validity";
    /// The eUICC certificate is not valid.
    EuiccCertificateInvalid = "8.1.3" / "6.1", "the eUICC certificate is not valid";
    /// The eUICC certificate is expired.
    EuiccCertificateExpired = "8.1.3" / "6.3", "the eUICC certificate is outside its validity";
    /// The eUICC's signature or challenge is wrong.
    EuiccSignatureInvalid = "8.1" / "6.1", "the eUICC's signature or the signed challenge is wrong";
    /// The eUICC refused.
    EuiccError = "8.1" / "4.2", "the eUICC reported an error";
    /// No order with this matching id, or none at the default SM-DP+ for this eUICC.
    MatchingIdRefused = "8.2.6" / "3.8", "there is no order with this matching id";
    /// The order is for another eUICC.
    EidMismatch = "8.1.1" / "3.8", "the order is for another eUICC";
    /// The profile is in another state.
    ProfileNotReleased = "8.2" / "1.2", "the profile is not ready for this";
    /// The eUICC or device cannot take this profile.
    NoEligibleProfile = "8.2.5" / "4.3", "the eUICC cannot take this profile";
    /// The profile does not fit.
    InsufficientMemory = "8.1" / "4.8", "the eUICC has too little free memory for this profile";
    /// The order is too old.
    OrderExpired = "8.8.5" / "4.10", "the download order is expired";
    /// The order was tried too often.
    TooManyDownloadAttempts = "8.8.5" / "6.4", "the download was tried too often";
    /// Bound to another one-time key already.
    RebindingRefused = "8.2" / "3.7", "the package is bound to another one-time key";
    /// No confirmation code where one is needed.
    ConfirmationCodeMissing = "8.2.7" / "2.2", "a confirmation code is needed";
    /// Wrong confirmation code.
    ConfirmationCodeWrong = "8.2.7" / "3.8", "the confirmation code is wrong";
    /// Wrong confirmation code once too often.
    ConfirmationCodeRetriesExceeded = "8.2.7" / "6.4", "the confirmation code was wrong too often";
    /// A cancellation for another SM-DP+.
    OidNotOurs = "8.8" / "3.10", "the SM-DP+ OID is not this server's";

    /// No such profile, or not this operator's.
    IccidUnknown = "8.2.1" / "3.9", "there is no profile with this ICCID";
    /// The profile is in an order, or past one.
    IccidInUse = "8.2.1" / "3.3", "the profile with this ICCID is in use";
    /// Not an ICCID.
    IccidMalformed = "8.2.1" / "2.1", "the ICCID is not 18 to 20 digits";
    /// No profile of this type ever existed.
    ProfileTypeUnknown = "8.2.5" / "3.9", "there is no such profile type";
    /// All profiles of this type are in use.
    ProfileTypeExhausted = "8.2.5" / "3.7", "no profile of this type is available";
    /// ICCID and profile type do not belong together.
    ProfileTypeMismatch = "8.2.5" / "3.10", "the profile with this ICCID is of another type";
    /// The matching id is another order's.
    MatchingIdInUse = "8.2.6" / "3.3", "the matching id is in use";
    /// Not a matching id.
    MatchingIdMalformed = "8.2.6" / "2.1", "a matching id has at most 255 of A-Z, 0-9 and '-'";
    /// Not the matching id of the order.
    MatchingIdMismatch = "8.2.6" / "3.10", "the matching id is not the one of this order";
    /// An EID is needed.
    EidMissing = "8.1.1" / "2.2", "an order for the default SM-DP+ needs an EID";
    /// Not an EID.
    EidMalformed = "8.1.1" / "2.1", "the EID is not valid";
    /// Not the EID of the order.
    EidOther = "8.1.1" / "3.10", "the order is linked to another EID";
    /// The confirmation code cannot be used.
    ConfirmationCodeMalformed = "8.2.7" / "2.1", "a confirmation code has 1 to 64 printable characters";
    /// There is no SM-DS to register an event at.
    SmdsInaccessible = "8.9" / "5.1", "the SM-DS cannot be reached";
}

impl Refusal {
    /// The reason with these codes.
    pub(crate) fn from_codes(subject: &str, reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| {
            let status = refusal.status();
            status.subject_code() == subject && status.reason_code() == reason
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}

/// Outcome of a verb that is not a success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is refused, for a reason that the peer is told.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server could not do it; the request may be repeated.
    #[error("the server could not execute the function")]
    Fault(#[from] Fault),
}

/// What went wrong on the server's side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// As many sessions as allowed are under way.
    #[error("as many sessions as allowed are under way")]
    Busy,
    /// The database engine failed.
    #[error("the database failed")]
    Sql(#[source] SqlError),
    /// The store refused or failed.
    #[error("the store failed")]
    Store(#[source] StoreFault),
    /// A key could not sign.
    #[error("a signing key failed")]
    Sign(#[source] pki::SignError),
    /// A bound profile package could not be built.
    #[error("a bound profile package could not be built")]
    Protection(#[source] crate::protection::ProtectionError),
    /// A row of the database does not make sense.
    #[error("the database holds a {0} that cannot be read")]
    Corrupt(&'static str),
}

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        Self::Fault(Fault::Sql(error))
    }
}

impl From<StoreFault> for Error {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(Fault::Store(fault))
    }
}

impl From<pki::SignError> for Error {
    fn from(error: pki::SignError) -> Self {
        Self::Fault(Fault::Sign(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        use Refusal as R;
        for (refusal, code) in [
            (R::ContentType, "1.2.1/2.1"),
            (R::AdminProtocol, "1.2.2/2.1"),
            (R::ElementMissing, "1.3.1/2.2"),
            (R::AddressNotOurs, "8.8.1/3.8"),
            (R::NoCommonCi, "8.8.2/3.1"),
            (R::SvnNotSupported, "8.8.3/3.1"),
            (R::NoCertificateForEuicc, "8.8.4/3.7"),
            (R::TransactionUnknown, "8.10.1/3.9"),
            (R::CiUnknown, "8.11.1/3.9"),
            (R::EumCertificateInvalid, "8.1.2/6.1"),
            (R::EumCertificateExpired, "8.1.2/6.3"),
            (R::EuiccCertificateInvalid, "8.1.3/6.1"),
            (R::EuiccCertificateExpired, "8.1.3/6.3"),
            (R::EuiccSignatureInvalid, "8.1/6.1"),
            (R::MatchingIdRefused, "8.2.6/3.8"),
            (R::EidMismatch, "8.1.1/3.8"),
            (R::ProfileNotReleased, "8.2/1.2"),
            (R::NoEligibleProfile, "8.2.5/4.3"),
            (R::OrderExpired, "8.8.5/4.10"),
            (R::TooManyDownloadAttempts, "8.8.5/6.4"),
            (R::RebindingRefused, "8.2/3.7"),
            (R::ConfirmationCodeMissing, "8.2.7/2.2"),
            (R::ConfirmationCodeWrong, "8.2.7/3.8"),
            (R::ConfirmationCodeRetriesExceeded, "8.2.7/6.4"),
            (R::OidNotOurs, "8.8/3.10"),
            (R::IccidInUse, "8.2.1/3.3"),
            (R::IccidUnknown, "8.2.1/3.9"),
            (R::MatchingIdInUse, "8.2.6/3.3"),
            (R::SmdsInaccessible, "8.9/5.1"),
            (R::EidMissing, "8.1.1/2.2"),
            (R::EidOther, "8.1.1/3.10"),
            (R::MatchingIdMismatch, "8.2.6/3.10"),
        ] {
            assert_eq!(refusal.status().to_string(), code);
        }
    }

    #[test]
    fn no_two_reasons_share_a_code() {
        for (index, one) in Refusal::ALL.iter().enumerate() {
            for other in &Refusal::ALL[index + 1..] {
                assert_ne!(one.status(), other.status(), "{one:?} and {other:?}");
            }
        }
    }
}
