use std::io;

use http::StatusCode;
use rustls::CertificateError;

use crate::tls::PinMismatch;

/// Why a request has no (usable) response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is malformed, or not `https:`.
    #[error("the URL must be https://host[:port]/path")]
    Url,
    /// The host name has no address.
    #[error("the host name {host} cannot be resolved")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No TCP connection.
    #[error("the server cannot be reached")]
    Connect(#[source] io::Error),
    /// No TLS session.
    #[error("no secure connection to the server: {0}")]
    Tls(TlsFailure),
    /// A time limit passed.
    #[error("the server did not answer in time")]
    Timeout,
    /// The response is larger than is allowed.
    #[error("the response is larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The server closed the connection without taking the request.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke, or the response is not HTTP.
    #[error("the exchange with the server failed")]
    Http(#[source] hyper::Error),
    /// The response's status is not 2xx; only from [`require_success`](super::Response::require_success).
    #[error("the server answered with status {0}")]
    Status(StatusCode),
}

/// Why there is no TLS session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The server's key or certificate is not the pinned one.
    #[error("the server's key or certificate is not the pinned one")]
    PinMismatch,
    /// The certificate leads to no trusted root.
    #[error("the server's certificate leads to no trusted root")]
    UnknownIssuer,
    /// The certificate's validity has ended.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate's validity has not begun.
    #[error("the server's certificate is not valid yet")]
    NotValidYet,
    /// The certificate is for another host.
    #[error("the server's certificate is for another host name")]
    WrongName,
    /// The certificate fails in another way.
    #[error("the server's certificate is not acceptable: {0}")]
    BadCertificate(String),
    /// The server refused the handshake, or this client's certificate.
    #[error("the server refused the connection: {0}")]
    Alert(String),
    /// Anything else.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl TlsFailure {
    pub(super) fn from_io(error: &io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(error) => Self::from_rustls(error),
            None => Self::Handshake(error.to_string()),
        }
    }

    pub(super) fn from_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::Other(other) if other.0.is::<PinMismatch>() => Self::PinMismatch,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotValidYet
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                reason => Self::BadCertificate(format!("{reason:?}")),
            },
            rustls::Error::AlertReceived(alert) => Self::Alert(format!("{alert:?}")),
            error => Self::Handshake(error.to_string()),
        }
    }
}
