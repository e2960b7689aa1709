//! Certificate revocation lists of the CI.

use core::fmt;
use core::ops::Range;
use std::collections::BTreeSet;
use std::sync::Arc;

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::Decode;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;

use crate::certificate::signed_part;
use crate::curve::ECDSA_WITH_SHA256;
use crate::public_key::PublicKey;
use crate::signature_value::Signature;
use crate::time::UnixTime;

/// A parsed CRL (RFC 5280 section 5). Clones share it. It means nothing before [`crate::TrustAnchors::add_crl`] took it.
#[derive(Clone)]
pub struct Crl(Arc<Inner>);

/// Octets are not a CRL that can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// Larger than accepted.
    #[error("CRL has {0} octets; at most {OCTETS_MAX} are accepted")]
    TooLarge(usize),
    /// Not a DER CertificateList, or octets follow it.
    #[error("not a DER CertificateList")]
    Malformed(#[source] der::Error),
    /// Signed with something else than ecdsa-with-SHA256.
    #[error("CRL signature algorithm is not ecdsa-with-SHA256 on a 256-bit curve")]
    SignatureAlgorithm,
    /// A critical extension that is not understood, or a delta or indirect CRL.
    #[error(
        "CRL has critical extension {0}, which is not supported; only complete, direct CRLs are"
    )]
    UnknownCriticalExtension(ObjectIdentifier),
    /// No authorityKeyIdentifier, so its CI cannot be found.
    #[error("CRL has no authorityKeyIdentifier")]
    NoAuthorityKeyIdentifier,
}

impl Crl {
    /// Parses exactly one DER CRL.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > OCTETS_MAX {
            return Err(CrlError::TooLarge(der.len()));
        }
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der)
            .map_err(CrlError::Malformed)?;
        let tbs = signed_part(der).map_err(CrlError::Malformed)?;
        let body = list.tbs_cert_list;
        if list.signature_algorithm.oid != ECDSA_WITH_SHA256
            || body.signature != list.signature_algorithm
        {
            return Err(CrlError::SignatureAlgorithm);
        }
        let signature = list
            .signature
            .as_bytes()
            .and_then(|octets| Signature::from_der(octets).ok());
        let extensions =
            ListExtensions::from_x509(body.crl_extensions.as_deref().unwrap_or_default())?;
        let revoked = body.revoked_certificates.unwrap_or_default();
        Ok(Self(Arc::new(Inner {
            der: der.to_vec(),
            tbs,
            signature: signature.ok_or(CrlError::SignatureAlgorithm)?,
            issuer_key_id: extensions
                .issuer_key_id
                .ok_or(CrlError::NoAuthorityKeyIdentifier)?,
            scope: extensions.scope,
            this_update: UnixTime::from_duration(body.this_update.to_unix_duration()),
            next_update: body
                .next_update
                .map(|time| UnixTime::from_duration(time.to_unix_duration())),
            revoked: revoked
                .iter()
                .map(revoked_serial)
                .collect::<Result<_, _>>()?,
        })))
    }

    /// The CRL as received.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// keyIdentifier of the CI key that signed it.
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.0.issuer_key_id
    }

    /// When it was made.
    pub fn this_update(&self) -> UnixTime {
        self.0.this_update
    }

    /// When the next one will be there at the latest.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.0.next_update
    }

    /// Number of revoked certificates.
    pub fn len(&self) -> usize {
        self.0.revoked.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.0.revoked.is_empty()
    }

    /// Whether a certificate with these serial number content octets is listed.
    pub fn revokes(&self, serial_number: &[u8]) -> bool {
        self.0.revoked.contains(serial_number)
    }

    /// Encoded issuingDistributionPoint: CRLs of one CI with different scopes stand side by side.
    pub(crate) fn scope(&self) -> &[u8] {
        &self.0.scope
    }

    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let tbs = self.0.der.get(self.0.tbs.clone()).unwrap_or_default();
        key.verify(tbs, &self.0.signature).is_ok()
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("this_update", &self.0.this_update)
            .field("next_update", &self.0.next_update)
            .field("revoked", &self.0.revoked.len())
            .finish_non_exhaustive()
    }
}

struct Inner {
    der: Vec<u8>,
    tbs: Range<usize>,
    signature: Signature,
    issuer_key_id: Vec<u8>,
    scope: Vec<u8>,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    revoked: BTreeSet<Vec<u8>>,
}

#[derive(Default)]
struct ListExtensions {
    issuer_key_id: Option<Vec<u8>>,
    scope: Vec<u8>,
}

impl ListExtensions {
    fn from_x509(extensions: &[Extension]) -> Result<Self, CrlError> {
        let mut this = Self::default();
        for extension in extensions {
            let content = extension.extn_value.as_bytes();
            match extension.extn_id {
                AuthorityKeyIdentifier::OID => {
                    let identifier =
                        AuthorityKeyIdentifier::from_der(content).map_err(CrlError::Malformed)?;
                    this.issuer_key_id = identifier
                        .key_identifier
                        .map(|octets| octets.into_bytes().into());
                }
                ISSUING_DISTRIBUTION_POINT => {
                    let point =
                        IssuingDistributionPoint::from_der(content).map_err(CrlError::Malformed)?;
                    if point.indirect_crl || point.only_some_reasons.is_some() {
                        return Err(CrlError::UnknownCriticalExtension(extension.extn_id));
                    }
                    this.scope = content.to_vec();
                }
                other if extension.critical => {
                    return Err(CrlError::UnknownCriticalExtension(other));
                }
                _ => {}
            }
        }
        Ok(this)
    }
}

fn revoked_serial(entry: &RevokedCert) -> Result<Vec<u8>, CrlError> {
    let extensions = entry.crl_entry_extensions.as_deref().unwrap_or_default();
    match extensions.iter().find(|extension| extension.critical) {
        // A critical entry extension changes which certificate is meant (RFC 5280 section 5.3.3).
        Some(extension) => Err(CrlError::UnknownCriticalExtension(extension.extn_id)),
        None => Ok(entry.serial_number.as_bytes().to_vec()),
    }
}

/// Some 100,000 entries.
const OCTETS_MAX: usize = 4 * 1024 * 1024;

/// id-ce-issuingDistributionPoint (RFC 5280 section 5.2.5).
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
