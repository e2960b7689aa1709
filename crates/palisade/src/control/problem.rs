//! Errors as problem details (RFC 9457), each with what to do next.

use std::error::Error;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use eim::{DeviceError, OperationError, StorageError};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

/// Why a request was not carried out. The type is stable; the texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}; {action}")]
pub(crate) struct Problem {
    /// `urn:palisade:problem:` and a word.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind of problem in a few words.
    pub(crate) title: String,
    /// HTTP status.
    pub(crate) status: u16,
    /// What was wrong this time.
    pub(crate) detail: String,
    /// What to do next.
    pub(crate) action: String,
}

impl Problem {
    /// A problem of a kind.
    pub(crate) fn new(
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
        }
    }

    /// Something in the request is not what it should be.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            "The request is not valid",
            detail,
            "correct the request",
        )
    }

    /// No such path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "There is nothing at this path",
            format!("{path} is not part of this interface"),
            "use this program and the server in the same version",
        )
    }

    /// No such method.
    pub(crate) fn no_such_method(path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no-such-method",
            "The path has no such method",
            format!("{path} does not have this method"),
            "use GET to read and POST to change",
        )
    }

    /// The domain says no, with its reason.
    pub(crate) fn refused_by(
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
    pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> Self {
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

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        let detail = with_causes(&error);
        match error {
            DeviceError::Unknown(_) => Self::device_unknown(detail),
            DeviceError::Exists(_) => Self::new(
                StatusCode::CONFLICT,
                "device-exists",
                "The device is registered already",
                detail,
                "look at it with `palisade device show`",
            ),
            DeviceError::Label { .. } | DeviceError::Counter { .. } => Self::invalid(detail),
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
            OperationError::UnknownDevice(_) => Self::device_unknown(detail),
            OperationError::Retired(_) => Self::new(
                StatusCode::CONFLICT,
                "device-retired",
                "The device is retired",
                detail,
                "choose another device",
            ),
            OperationError::Unknown(_) => Self::new(
                StatusCode::NOT_FOUND,
                "operation-unknown",
                "There is no such operation",
                detail,
                "list those of a device with `palisade operation list`",
            ),
            OperationError::Commands(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "commands",
                "The commands do not make a package",
                detail,
                "change the commands, or propose several operations",
            ),
            OperationError::QueueFull { .. } => Self::new(
                StatusCode::CONFLICT,
                "queue-full",
                "Too many operations wait for the device",
                detail,
                "see them with `palisade operation list`",
            ),
            OperationError::Lifetime => Self::invalid(detail),
            OperationError::NotQueued(_) => Self::new(
                StatusCode::CONFLICT,
                "not-queued",
                "The operation cannot be cancelled any more",
                detail,
                "see what came of it with `palisade operation show`",
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
