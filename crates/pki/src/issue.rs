//! Issues certificates and CRLs of a private test PKI.
//!
//! [`TestPki`] makes a whole set that behaves like the SGP.26 test certificates. [`CertificateTemplate`] makes single
//! certificates, also wrong ones: every field can be altered before [`CertificateTemplate::issue`].
//!
//! For tests and laboratories. A production CI, EUM or SM-DP+ certificate comes from the GSMA's issuers.

mod builder;
mod crl_template;
mod template;
mod test_pki;

pub use crl_template::CrlTemplate;
pub use template::{CertificateTemplate, Issuer, SubjectAttribute};
pub use test_pki::{
    Credential, PkiFileError, PkiItem, TestPki, TestPkiOptions, Variant, VariantPki,
};
pub use x509_cert::ext::Extension as RawExtension;

use crate::certificate::CertificateError;
use crate::crl::CrlError;
use crate::private_key::SignError;
use crate::public_key::KeyError;

/// A certificate or CRL could not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A value cannot be encoded, for example a serial number of more than 20 octets.
    #[error("certificate field cannot be encoded")]
    Encoding(#[source] der::Error),
    /// The builder refused the combination of fields.
    #[error("certificate cannot be assembled")]
    Builder(#[source] x509_cert::builder::Error),
    /// A date before 1970 or after 9999.
    #[error("{0} cannot be a date in a certificate")]
    Date(crate::UnixTime),
    /// A name that is not an identifier of the expected kind.
    #[error("{0:?} is not a 32-digit EID")]
    Eid(String),
    /// A key could not be made or encoded.
    #[error("key cannot be used")]
    Key(#[from] KeyError),
    /// The issuer's key did not sign.
    #[error("issuer key did not sign")]
    Sign(#[from] SignError),
    /// The result does not parse, which happens only with altered templates.
    #[error("issued certificate is not accepted by the parser")]
    Certificate(#[from] CertificateError),
    /// The result does not parse, which happens only with altered templates.
    #[error("issued CRL is not accepted by the parser")]
    Crl(#[from] CrlError),
}

impl From<der::Error> for IssueError {
    fn from(error: der::Error) -> Self {
        Self::Encoding(error)
    }
}

impl From<x509_cert::builder::Error> for IssueError {
    fn from(error: x509_cert::builder::Error) -> Self {
        Self::Builder(error)
    }
}
