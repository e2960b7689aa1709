//! Errors as problem details (RFC 9457), each with what to do next.

use std::error::Error;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use eim::{DeviceError, OpeningsError, OperationError, ReadingError, StorageError};
use http::{HeaderValue, StatusCode, header};
use intent::api::{Refusal, RefusalCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out. The type is stable; the texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{detail}; {action}")]
pub struct Problem {
    /// `urn:palisade:problem:` and a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// What to do next.
    pub action: String,
    /// The authority's code, if it was the authority that said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<RefusalCode>,
    /// When it may be worth asking again. Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<i64>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(
        status: StatusCode,
        word: &str,
        title: &str,
        detail: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:palisade:problem:{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            action: action.into(),
            code: None,
            retry_at: None,
        }
    }

    /// The authority says no.
    pub fn refused(refusal: &Refusal) -> Self {
        let (status, title, action) = explained(refusal.code);
        let word = serde_json::to_value(refusal.code).unwrap_or_default();
        Self {
            code: Some(refusal.code),
            retry_at: refusal.retry_at,
            ..Self::new(
                status,
                word.as_str().unwrap_or("refused"),
                title,
                refusal.message.clone(),
                action,
            )
        }
    }

    /// What the authority said, if this is its refusal.
    pub fn refusal(&self) -> Option<Refusal> {
        Some(Refusal {
            code: self.code?,
            message: self.detail.clone(),
            retry_at: self.retry_at,
        })
    }

    /// The authority does not answer.
    pub fn no_authority(error: &(dyn Error + 'static)) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "authority",
            "The authority does not answer",
            with_causes(error),
            "look at its log and at `palisade eim status`; what was asked for may have been recorded: look before asking again",
        )
    }

    /// Something in the request is not what it should be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            "The request is not valid",
            detail,
            "correct the request",
        )
    }

    /// No such path.
    pub fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "There is nothing at this path",
            format!("{path} is not part of this interface"),
            "use this program and the server in the same version",
        )
    }

    /// No such method.
    pub fn no_such_method(path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no-such-method",
            "The path has no such method",
            format!("{path} does not have this method"),
            "use GET to read and POST to change",
        )
    }

    /// The domain says no, with its reason.
    pub fn refused_by(
        word: &str,
        title: &str,
        error: &(dyn Error + 'static),
        action: &str,
    ) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            word,
            title,
            with_causes(error),
            action,
        )
    }

    /// The server cannot do its work.
    pub fn unavailable(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, "a control request failed");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "storage",
            "The database does not work at the moment",
            with_causes(error),
            "look at the server's log and at the space left on its disk, then repeat the request",
        )
    }
}

/// HTTP status, title, and what to do.
fn explained(code: RefusalCode) -> (StatusCode, &'static str, &'static str) {
    use RefusalCode as R;
    match code {
        R::Malformed => (
            StatusCode::BAD_REQUEST,
            "This is no intent for this installation",
            "use this program and the server in the same version; `palisade eim status` says which installation it is",
        ),
        R::ProofInvalid => (
            StatusCode::UNAUTHORIZED,
            "The proof does not verify",
            "sign anew with the key or passkey that was enrolled here, and check the clock",
        ),
        R::CredentialUnknown => (
            StatusCode::UNAUTHORIZED,
            "Nobody here has this key or passkey",
            "see who is known with `palisade key list`; a person enrols with `palisade enrol`, a machine key is admitted with `palisade key create`",
        ),
        R::CredentialInvalid => (
            StatusCode::UNAUTHORIZED,
            "The credential is not valid now",
            "use another one, or have it replaced: `palisade key rotate`",
        ),
        R::NetworkRefused => (
            StatusCode::FORBIDDEN,
            "Not from this network",
            "ask from where the credential may be used: `palisade key list`",
        ),
        R::Replayed => (
            StatusCode::CONFLICT,
            "This was asked for before",
            "see what came of it with `palisade intent list`; to have it again, propose it anew",
        ),
        R::Expired => (
            StatusCode::CONFLICT,
            "The time for this is over",
            "propose it anew, and check the clock",
        ),
        R::RoleRefused => (
            StatusCode::FORBIDDEN,
            "The role does not allow it",
            "have it done by somebody whose role does, or have the grant changed: `palisade person grant`",
        ),
        R::OutOfScope => (
            StatusCode::FORBIDDEN,
            "A device or credential belongs to another fleet",
            "have it done by somebody of that fleet",
        ),
        R::PolicyRefused => (
            StatusCode::FORBIDDEN,
            "The policy forbids it",
            "read the policy with `palisade policy show`; changing it needs an approval",
        ),
        R::QuotaExceeded => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too much at once",
            "wait, or have the quotas changed: `palisade policy show`",
        ),
        R::OutsideWindow => (
            StatusCode::CONFLICT,
            "Not at this time",
            "wait for the window that the policy opens: `palisade policy show`",
        ),
        R::Frozen => (
            StatusCode::LOCKED,
            "Signing is stopped",
            "find out why it was frozen; two people can end it with `palisade thaw`",
        ),
        R::Unknown => (
            StatusCode::NOT_FOUND,
            "There is no such thing",
            "look with `palisade intent list`, `palisade key list` or `palisade device list`",
        ),
        R::WrongState => (
            StatusCode::CONFLICT,
            "It is too late for that, or too early",
            "see how it stands with `palisade intent show`",
        ),
        R::SamePerson => (
            StatusCode::FORBIDDEN,
            "Somebody else has to agree",
            "ask another person who may approve",
        ),
        R::PasskeyNeeded => (
            StatusCode::FORBIDDEN,
            "A person has to do this",
            "use a passkey (--passkey), not a key",
        ),
        R::NotApproved => (
            StatusCode::CONFLICT,
            "Not approved yet",
            "have it approved: `palisade intent approve`",
        ),
        R::NotAssociated => (
            StatusCode::CONFLICT,
            "The device is not registered and associated",
            "register it with `palisade device register`, and let it poll",
        ),
        R::NotListed => (
            StatusCode::CONFLICT,
            "The eUICC has not listed this profile yet",
            "have its profiles listed: `palisade profile list <EID> --refresh`",
        ),
        R::EuiccRefused => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "What the eUICC showed does not verify",
            "check its certificates with `palisade pki verify`, and the CIs in authority.euicc_trust",
        ),
        R::Conflict => (
            StatusCode::CONFLICT,
            "It contradicts what is there",
            "look at what is there before asking again",
        ),
        R::CodeRefused => (
            StatusCode::FORBIDDEN,
            "The code cannot be used",
            "check it, or ask for another one: `palisade person invite`",
        ),
        R::LastOne => (
            StatusCode::CONFLICT,
            "Somebody has to remain",
            "put another one in its place first",
        ),
        R::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The authority cannot do it now",
            "look at its log, and ask again later",
        ),
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        Self::refused(refusal)
    }
}

/// An error with its causes in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(serde_json::to_vec(&self).unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<OpeningsError> for Problem {
    fn from(error: OpeningsError) -> Self {
        match error {
            OpeningsError::Storage(error) => Self::unavailable(&error),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<ReadingError> for Problem {
    fn from(error: ReadingError) -> Self {
        match error {
            ReadingError::Storage(error) => Self::unavailable(&error),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        let detail = with_causes(&error);
        match error {
            DeviceError::Unknown(_) => Self::device_unknown(detail),
            DeviceError::Retired(_) => Self::new(
                StatusCode::CONFLICT,
                "device-retired",
                "The device is retired",
                detail,
                "choose another device, or register it again with `palisade device register`",
            ),
            DeviceError::Label { .. } => Self::invalid(detail),
            DeviceError::Certificates(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "certificates",
                "The certificates do not show this eUICC",
                detail,
                "check them with `palisade pki verify`, and that the CI is in the eIM's euicc_trust folder; or register the device without certificates",
            ),
            DeviceError::Storage(error) => Self::unavailable(&error),
        }
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let detail = with_causes(&error);
        match error {
            OperationError::Unknown(_) => Self::new(
                StatusCode::NOT_FOUND,
                "operation-unknown",
                "There is no such operation",
                detail,
                "list those of a device with `palisade operation list`",
            ),
            OperationError::Storage(error) => Self::unavailable(&error),
        }
    }
}

impl Problem {
    fn device_unknown(detail: String) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "device-unknown",
            "The device is not registered",
            detail,
            "register it with `palisade device register`",
        )
    }
}
