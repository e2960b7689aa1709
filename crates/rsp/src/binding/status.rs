//! Execution status in JSON answers, and what it means in the ASN.1 binding.

use std::borrow::Cow;
use std::fmt;

use super::Error;
use super::json::{Member, Object, Writer};
use crate::{sgp22, sgp32};

/// Subject code and reason code (SGP.22 v2.5 section 5.2.6, SGP.32 v1.2 section 6.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatusCode {
    subject: Cow<'static, str>,
    reason: Cow<'static, str>,
}

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Subject and reason code.
    pub code: StatusCode,
    /// What the subject was, for example a MatchingID.
    pub subject_identifier: Option<String>,
    /// For people.
    pub message: Option<String>,
}

/// An error code of the ASN.1 binding that has a status code in the JSON binding.
///
/// The mapping is not one to one: several status codes mean the same ASN.1 code, and whatever
/// has no counterpart becomes [`StatusCode::EXECUTION_ERROR`] or `undefinedError(127)`.
pub trait ErrorCode: Sized {
    /// The status code to send.
    fn status(self) -> StatusCode;
    /// The ASN.1 code for a status code received.
    fn from_status(code: &StatusCode) -> Self;
}

impl StatusCode {
    /// A code from its parts.
    pub const fn new(subject: &'static str, reason: &'static str) -> Self {
        Self {
            subject: Cow::Borrowed(subject),
            reason: Cow::Borrowed(reason),
        }
    }

    /// What failed, for example `8.1.1` for the EID.
    pub fn subject_code(&self) -> &str {
        &self.subject
    }

    /// How, for example `3.9` for unknown.
    pub fn reason_code(&self) -> &str {
        &self.reason
    }
}

macro_rules! status_codes {
    ( $( $(#[$meta:meta])* $name:ident = $subject:literal, $reason:literal; )* ) => {
        impl StatusCode {
            $( $(#[$meta])* pub const $name: Self = Self::new($subject, $reason); )*
        }
    };
}

status_codes! {
    /// The function failed for a reason that has no code of its own.
    EXECUTION_ERROR = "1.6", "4.2";
    /// Wrong Content-Type.
    CONTENT_TYPE_INVALID = "1.2.1", "2.1";
    /// X-Admin-Protocol names a version that is not spoken here.
    PROTOCOL_VERSION_UNSUPPORTED = "1.2.2", "2.1";
    /// A mandatory element is missing.
    MANDATORY_ELEMENT_MISSING = "1.3.1", "2.2";
    /// A signature of the eUICC, or the challenge in it, is wrong.
    EUICC_VERIFICATION_FAILED = "8.1", "6.1";
    /// The eUICC has no room for the Profile.
    EUICC_INSUFFICIENT_MEMORY = "8.1", "4.8";
    /// EID: not of the right form.
    EID_INVALID = "8.1.1", "2.1";
    /// EID: missing.
    EID_MISSING = "8.1.1", "2.2";
    /// EID: nothing waits for this eUICC.
    EID_NOTHING_AVAILABLE = "8.1.1", "3.7";
    /// EID: not the one that the order is for.
    EID_REFUSED = "8.1.1", "3.8";
    /// EID: unknown.
    EID_UNKNOWN = "8.1.1", "3.9";
    /// EID: not the one linked before.
    EID_ASSOCIATION_INVALID = "8.1.1", "3.10";
    /// The EUM certificate does not verify.
    EUM_CERTIFICATE_INVALID = "8.1.2", "6.1";
    /// The EUM certificate is expired.
    EUM_CERTIFICATE_EXPIRED = "8.1.2", "6.3";
    /// The eUICC certificate does not verify.
    EUICC_CERTIFICATE_INVALID = "8.1.3", "6.1";
    /// The eUICC certificate is expired.
    EUICC_CERTIFICATE_EXPIRED = "8.1.3", "6.3";
    /// The Profile is not in the state Released.
    PROFILE_NOT_RELEASED = "8.2", "1.2";
    /// The Bound Profile Package is bound to another one-time key.
    BPP_NOT_AVAILABLE = "8.2", "3.7";
    /// ICCID: in use.
    ICCID_IN_USE = "8.2.1", "3.3";
    /// ICCID: unknown.
    ICCID_UNKNOWN = "8.2.1", "3.9";
    /// No eligible Profile for this eUICC.
    PROFILE_NOT_ELIGIBLE = "8.2.5", "4.3";
    /// MatchingID: in use.
    MATCHING_ID_IN_USE = "8.2.6", "3.3";
    /// MatchingID: wrong.
    MATCHING_ID_REFUSED = "8.2.6", "3.8";
    /// MatchingID: not the one of this order.
    MATCHING_ID_ASSOCIATION_INVALID = "8.2.6", "3.10";
    /// Confirmation code: missing.
    CONFIRMATION_CODE_MISSING = "8.2.7", "2.2";
    /// Confirmation code: wrong.
    CONFIRMATION_CODE_REFUSED = "8.2.7", "3.8";
    /// Confirmation code: wrong too often.
    CONFIRMATION_CODE_RETRIES_EXCEEDED = "8.2.7", "6.4";
    /// A Profile Policy Rule is not allowed.
    PPR_NOT_ALLOWED = "8.2.8", "1.2";
    /// The metadata in the package are not those announced.
    METADATA_MISMATCH = "8.2.9", "3.11";
    /// The OID of the SM-DP+ is not the expected one.
    SMDP_OID_MISMATCH = "8.8", "3.10";
    /// The address is not one of this SM-DP+.
    SMDP_ADDRESS_REFUSED = "8.8.1", "3.8";
    /// The address in the signed data is not the expected one.
    SMDP_ADDRESS_MISMATCH = "8.8.1", "3.10";
    /// No CI key in common.
    CI_KEY_NOT_SUPPORTED = "8.8.2", "3.1";
    /// The eUICC's SGP.22 version is not supported.
    EUICC_VERSION_NOT_SUPPORTED = "8.8.3", "3.1";
    /// No certificate of this server that the eUICC can verify.
    SERVER_CERTIFICATE_NOT_AVAILABLE = "8.8.4", "3.7";
    /// The download order is expired.
    DOWNLOAD_ORDER_EXPIRED = "8.8.5", "4.10";
    /// The download was attempted too often.
    DOWNLOAD_RETRIES_EXCEEDED = "8.8.5", "6.4";
    /// The SM-DS cannot be reached.
    SMDS_INACCESSIBLE = "8.9", "5.1";
    /// EventID: unknown.
    EVENT_ID_UNKNOWN = "8.9.5", "3.9";
    /// The transactionId is unknown.
    TRANSACTION_ID_UNKNOWN = "8.10.1", "3.9";
    /// The CI key of the eUICC's chain is unknown.
    CI_KEY_UNKNOWN = "8.11.1", "3.9";
    /// The eimTransactionId is unknown.
    EIM_TRANSACTION_ID_UNKNOWN = "8.31.2", "3.10";
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.reason)
    }
}

impl Failure {
    /// A failure with a code alone.
    pub fn new(code: StatusCode) -> Self {
        Self {
            code,
            subject_identifier: None,
            message: None,
        }
    }

    /// With a message for people.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// With what the subject was.
    #[must_use]
    pub fn with_subject_identifier(self, identifier: impl Into<String>) -> Self {
        Self {
            subject_identifier: Some(identifier.into()),
            ..self
        }
    }
}

impl From<StatusCode> for Failure {
    fn from(code: StatusCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the function failed with status {}", self.code)?;
        self.message
            .iter()
            .try_for_each(|message| write!(f, ": {message:?}"))
    }
}

impl std::error::Error for Failure {}

const STATUS: &str = "header.functionExecutionStatus";

/// Reads the header of an answer. `None` when there is no header.
pub(super) fn read_outcome(answer: &Object<'_>) -> Result<Option<Result<(), Failure>>, Error> {
    let Some(header) = answer.optional("header", Member::object)? else {
        return Ok(None);
    };
    header.required(STATUS, read_status).map(Some)
}

/// Reads an execution status: whether a function was executed, or why not.
pub(super) fn read_status(member: Member<'_>) -> Result<Result<(), Failure>, Error> {
    let status = member.object()?;
    let executed = match status
        .required("header.functionExecutionStatus.status", Member::text)?
        .as_str()
    {
        "Executed-Success" | "Executed-WithWarning" => true,
        "Failed" | "Expired" => false,
        _ => {
            return Err(Error::Malformed {
                member: "header.functionExecutionStatus.status",
                problem: "is not a status",
            });
        }
    };
    if executed {
        return Ok(Ok(()));
    }
    let data = status
        .optional(
            "header.functionExecutionStatus.statusCodeData",
            read_status_code_data,
        )?
        .unwrap_or_else(|| StatusCode::EXECUTION_ERROR.into());
    Ok(Err(data))
}

fn read_status_code_data(member: Member<'_>) -> Result<Failure, Error> {
    let data = member.object()?;
    Ok(Failure {
        code: StatusCode {
            subject: data
                .required(
                    "header.functionExecutionStatus.statusCodeData.subjectCode",
                    Member::text,
                )?
                .into(),
            reason: data
                .required(
                    "header.functionExecutionStatus.statusCodeData.reasonCode",
                    Member::text,
                )?
                .into(),
        },
        subject_identifier: data.optional(
            "header.functionExecutionStatus.statusCodeData.subjectIdentifier",
            Member::text,
        )?,
        message: data.optional(
            "header.functionExecutionStatus.statusCodeData.message",
            Member::text,
        )?,
    })
}

/// Begins an answer that succeeded.
pub(super) fn success() -> Writer {
    with_header(None)
}

/// Begins an answer that failed.
pub(super) fn failed(failure: &Failure) -> Writer {
    with_header(Some(failure))
}

fn with_header(failure: Option<&Failure>) -> Writer {
    let header = Writer::new().value("functionExecutionStatus", write_status(failure));
    Writer::new().value("header", header.into_value())
}

/// Writes an execution status.
pub(super) fn write_status(failure: Option<&Failure>) -> serde_json::Value {
    let Some(failure) = failure else {
        return Writer::new()
            .text("status", "Executed-Success")
            .into_value();
    };
    let data = Writer::new()
        .text("subjectCode", &failure.code.subject)
        .text("reasonCode", &failure.code.reason)
        .text_optional("subjectIdentifier", failure.subject_identifier.as_ref())
        .text_optional("message", failure.message.as_ref());
    Writer::new()
        .text("status", "Failed")
        .value("statusCodeData", data.into_value())
        .into_value()
}

/// For each ASN.1 code the status code to send, and further ones that mean it when received.
macro_rules! error_codes {
    ( $( $ty:ty { $( $number:literal = $status:ident $(| $also:ident)* ),* $(,)? } )* ) => { $(
        impl ErrorCode for $ty {
            fn status(self) -> StatusCode {
                match self.number() {
                    $( $number => StatusCode::$status, )*
                    _ => StatusCode::EXECUTION_ERROR,
                }
            }

            fn from_status(code: &StatusCode) -> Self {
                let number = match code {
                    $( code if *code == StatusCode::$status $(|| *code == StatusCode::$also)* => $number, )*
                    _ => 127,
                };
                Self::from_number(number)
            }
        }
    )* };
}

error_codes! {
    sgp22::InitiateAuthenticationError {
        1 = SMDP_ADDRESS_REFUSED,
        2 = EUICC_VERSION_NOT_SUPPORTED,
        3 = CI_KEY_NOT_SUPPORTED | SERVER_CERTIFICATE_NOT_AVAILABLE,
    }
    sgp22::AuthenticateClientError {
        1 = EUM_CERTIFICATE_INVALID,
        2 = EUM_CERTIFICATE_EXPIRED,
        3 = EUICC_CERTIFICATE_INVALID,
        4 = EUICC_CERTIFICATE_EXPIRED,
        5 = EUICC_VERIFICATION_FAILED,
        6 = MATCHING_ID_REFUSED,
        7 = EID_REFUSED,
        8 = PROFILE_NOT_ELIGIBLE | PROFILE_NOT_RELEASED,
        9 = CI_KEY_UNKNOWN,
        10 = TRANSACTION_ID_UNKNOWN,
        11 = EUICC_INSUFFICIENT_MEMORY,
    }
    sgp22::AuthenticateClientErrorEs11 {
        1 = EUM_CERTIFICATE_INVALID,
        2 = EUM_CERTIFICATE_EXPIRED,
        3 = EUICC_CERTIFICATE_INVALID,
        4 = EUICC_CERTIFICATE_EXPIRED,
        5 = EUICC_VERIFICATION_FAILED,
        6 = EVENT_ID_UNKNOWN,
        7 = TRANSACTION_ID_UNKNOWN,
    }
    sgp22::GetBoundProfilePackageError {
        1 = EUICC_VERIFICATION_FAILED,
        2 = CONFIRMATION_CODE_MISSING,
        3 = CONFIRMATION_CODE_REFUSED,
        4 = CONFIRMATION_CODE_RETRIES_EXCEEDED,
        5 = BPP_NOT_AVAILABLE,
        6 = DOWNLOAD_ORDER_EXPIRED | DOWNLOAD_RETRIES_EXCEEDED,
        95 = TRANSACTION_ID_UNKNOWN,
    }
    sgp22::CancelSessionError {
        1 = TRANSACTION_ID_UNKNOWN,
        2 = EUICC_VERIFICATION_FAILED,
    }
    sgp32::InitiateAuthenticationErrorEsipa {
        1 = SMDP_ADDRESS_REFUSED,
        2 = EUICC_VERSION_NOT_SUPPORTED,
        3 = CI_KEY_NOT_SUPPORTED | SERVER_CERTIFICATE_NOT_AVAILABLE,
        50 = SMDP_ADDRESS_MISMATCH,
        51 = SMDP_OID_MISMATCH,
        52 = EIM_TRANSACTION_ID_UNKNOWN,
    }
    sgp32::AuthenticateClientErrorEsipa {
        1 = EUM_CERTIFICATE_INVALID,
        2 = EUM_CERTIFICATE_EXPIRED,
        3 = EUICC_CERTIFICATE_INVALID,
        4 = EUICC_CERTIFICATE_EXPIRED,
        5 = EUICC_VERIFICATION_FAILED,
        6 = MATCHING_ID_REFUSED,
        7 = EID_REFUSED,
        8 = PROFILE_NOT_ELIGIBLE | PROFILE_NOT_RELEASED,
        9 = CI_KEY_UNKNOWN,
        10 = TRANSACTION_ID_UNKNOWN,
        11 = EUICC_INSUFFICIENT_MEMORY,
        18 = DOWNLOAD_ORDER_EXPIRED | DOWNLOAD_RETRIES_EXCEEDED,
        50 = PPR_NOT_ALLOWED,
        56 = EVENT_ID_UNKNOWN,
    }
    sgp32::GetBoundProfilePackageErrorEsipa {
        1 = EUICC_VERIFICATION_FAILED,
        2 = CONFIRMATION_CODE_MISSING,
        3 = CONFIRMATION_CODE_REFUSED,
        4 = CONFIRMATION_CODE_RETRIES_EXCEEDED,
        5 = BPP_NOT_AVAILABLE,
        6 = DOWNLOAD_ORDER_EXPIRED | DOWNLOAD_RETRIES_EXCEEDED,
        50 = METADATA_MISMATCH,
        95 = TRANSACTION_ID_UNKNOWN,
    }
    sgp32::CancelSessionErrorEsipa {
        1 = TRANSACTION_ID_UNKNOWN,
        2 = EUICC_VERIFICATION_FAILED,
    }
    sgp32::EimPackageError {
        1 = EID_NOTHING_AVAILABLE,
        2 = EID_UNKNOWN,
        3 = EID_INVALID,
        4 = EID_MISSING,
    }
    sgp32::ProvideEimPackageResultError {
        2 = EID_UNKNOWN,
        3 = EID_INVALID,
        4 = EID_MISSING,
    }
}

#[cfg(feature = "arbitrary")]
mod generators {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::{Failure, StatusCode};

    impl<'a> Arbitrary<'a> for StatusCode {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let mut part = || Ok(format!("8.{}", u.int_in_range(0..=12)?));
            Ok(Self {
                subject: part()?.into(),
                reason: part()?.into(),
            })
        }
    }

    impl<'a> Arbitrary<'a> for Failure {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            Ok(Self {
                code: u.arbitrary()?,
                subject_identifier: u.arbitrary()?,
                message: u.arbitrary()?,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::Limits;

    fn both_ways<C: ErrorCode + Copy + PartialEq + fmt::Debug>(rows: &[(C, &str, &str)]) {
        for &(code, subject, reason) in rows {
            let status = code.status();
            assert_eq!(
                (status.subject_code(), status.reason_code()),
                (subject, reason),
                "{code:?}"
            );
            assert_eq!(C::from_status(&status), code);
        }
    }

    #[test]
    fn status_codes_of_sgp32_section_6() {
        use sgp32::{
            AuthenticateClientErrorEsipa as Client, EimPackageError as Package,
            GetBoundProfilePackageErrorEsipa as Bpp, InitiateAuthenticationErrorEsipa as Initiate,
            ProvideEimPackageResultError as Result,
        };
        both_ways(&[
            (Initiate::InvalidEimTransactionId, "8.31.2", "3.10"),
            (Initiate::SmdpAddressMismatch, "8.8.1", "3.10"),
            (Initiate::SmdpOidMismatch, "8.8", "3.10"),
            (Initiate::UndefinedError, "1.6", "4.2"),
        ]);
        both_ways(&[
            (Client::PprNotAllowed, "8.2.8", "1.2"),
            (Client::InvalidTransactionId, "8.10.1", "3.9"),
        ]);
        both_ways(&[
            (Bpp::MetadataMismatch, "8.2.9", "3.11"),
            (Bpp::ConfirmationCodeRefused, "8.2.7", "3.8"),
        ]);
        both_ways(&[
            (Package::NoEimPackageAvailable, "8.1.1", "3.7"),
            (Package::InvalidEid, "8.1.1", "2.1"),
            (Package::MissingEid, "8.1.1", "2.2"),
            (Package::EidNotFound, "8.1.1", "3.9"),
        ]);
        both_ways(&[
            (Result::InvalidEid, "8.1.1", "2.1"),
            (Result::MissingEid, "8.1.1", "2.2"),
            (Result::EidNotFound, "8.1.1", "3.9"),
        ]);
    }

    #[test]
    fn every_named_code_but_the_undefined_one_survives_the_json_binding() {
        fn check<C: ErrorCode + Copy + PartialEq + fmt::Debug>(
            from_number: fn(i64) -> C,
            named: &[i64],
        ) {
            for &number in named {
                let code = from_number(number);
                assert_ne!(code.status(), StatusCode::EXECUTION_ERROR, "{code:?}");
                assert_eq!(C::from_status(&code.status()), code);
            }
            assert_eq!(C::from_status(&from_number(127).status()), from_number(127));
            assert_eq!(C::from_status(&from_number(99).status()), from_number(127));
        }
        check(sgp22::InitiateAuthenticationError::from_number, &[1, 2, 3]);
        check(
            sgp22::AuthenticateClientError::from_number,
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        );
        check(
            sgp22::AuthenticateClientErrorEs11::from_number,
            &[1, 2, 3, 4, 5, 6, 7],
        );
        check(
            sgp22::GetBoundProfilePackageError::from_number,
            &[1, 2, 3, 4, 5, 6, 95],
        );
        check(sgp22::CancelSessionError::from_number, &[1, 2]);
        check(
            sgp32::InitiateAuthenticationErrorEsipa::from_number,
            &[1, 2, 3, 50, 51, 52],
        );
        check(
            sgp32::AuthenticateClientErrorEsipa::from_number,
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 18, 50, 56],
        );
        check(
            sgp32::GetBoundProfilePackageErrorEsipa::from_number,
            &[1, 2, 3, 4, 5, 6, 50, 95],
        );
        check(sgp32::CancelSessionErrorEsipa::from_number, &[1, 2]);
        check(sgp32::EimPackageError::from_number, &[1, 2, 3, 4]);
        check(sgp32::ProvideEimPackageResultError::from_number, &[2, 3, 4]);
    }

    fn outcome(body: &str) -> Result<Option<Result<(), Failure>>, Error> {
        let limits = Limits::default();
        read_outcome(&Object::parse(body.as_bytes(), &limits).unwrap())
    }

    #[test]
    fn a_failure_comes_back_as_it_was_sent() {
        let failure = Failure::new(StatusCode::MATCHING_ID_REFUSED)
            .with_subject_identifier("AB-\"1\"")
            .with_message("no such order\n");
        let body = String::from_utf8(failed(&failure).into_body()).unwrap();
        assert_eq!(outcome(&body).unwrap(), Some(Err(failure)));
        let body = String::from_utf8(success().into_body()).unwrap();
        assert_eq!(outcome(&body).unwrap(), Some(Ok(())));
    }

    #[test]
    fn headers_are_read_as_sgp22_section_6_5_says() {
        assert!(outcome("{}").unwrap().is_none());
        let status = |status: &str| {
            format!("{{\"header\":{{\"functionExecutionStatus\":{{\"status\":\"{status}\"}}}}}}")
        };
        assert_eq!(
            outcome(&status("Executed-WithWarning")).unwrap(),
            Some(Ok(()))
        );
        assert_eq!(
            outcome(&status("Expired")).unwrap(),
            Some(Err(StatusCode::EXECUTION_ERROR.into()))
        );
        for (body, member) in [
            ("{\"header\":1}", "header"),
            ("{\"header\":{}}", "header.functionExecutionStatus"),
            (&status("Executed"), "header.functionExecutionStatus.status"),
            (
                "{\"header\":{\"functionExecutionStatus\":{\"status\":\"Failed\",\"statusCodeData\":{\"subjectCode\":\"8\"}}}}",
                "header.functionExecutionStatus.statusCodeData.reasonCode",
            ),
        ] {
            assert_eq!(outcome(body).unwrap_err().member(), Some(member), "{body}");
        }
    }
}
