//! X.509 certificates as the eSIM roles use them.

mod extensions;
mod role;

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use const_oid::ObjectIdentifier;
use der::pem::{LineEnding, PemLabel};
use der::referenced::OwnedToRef;
use der::{Decode, Document, Header, Reader, SliceReader};
use rsp::der::Oid;

use crate::curve::ECDSA_WITH_SHA256;
use crate::public_key::{KeyError, PublicKey};
use crate::signature_value::Signature;
use crate::time::UnixTime;
use extensions::{COMMON_NAME, Extensions, ORGANISATION, SERIAL_NUMBER, unique_attribute};

pub(crate) use extensions::{PERMITTED_EINS, SAN_DNS_NAME, SAN_REGISTERED_ID};
pub use role::Role;

/// A parsed certificate. Clones share it. Parsing proves nothing: [`crate::TrustAnchors`] does.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

/// Octets are not a certificate that this crate can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Larger than any certificate of the ecosystem.
    #[error("certificate has {0} octets; at most {OCTETS_MAX} are accepted")]
    TooLarge(usize),
    /// Not a DER X.509 certificate, or octets follow it.
    #[error("not a DER X.509 certificate")]
    Malformed(#[source] der::Error),
    /// Not PEM with label CERTIFICATE.
    #[error("not a PEM block with label CERTIFICATE")]
    Pem,
    /// An extension does not hold what its identifier says.
    #[error("extension {extension} is not well-formed")]
    MalformedExtension {
        /// Its object identifier.
        extension: ObjectIdentifier,
    },
    /// An extension occurs twice (RFC 5280 section 4.2 forbids it).
    #[error("extension {extension} occurs more than once")]
    RepeatedExtension {
        /// Its object identifier.
        extension: ObjectIdentifier,
    },
    /// The subject names a thing twice that decides about trust (O, CN or serialNumber).
    #[error("subject attribute {attribute} occurs more than once")]
    RepeatedAttribute {
        /// Its object identifier.
        attribute: ObjectIdentifier,
    },
    /// The inner and the outer signature algorithm differ (RFC 5280 section 4.1.1.2).
    #[error("signature algorithm inside and outside the signed part differ")]
    AlgorithmMismatch,
}

/// Bits of the keyUsage extension (RFC 5280 section 4.2.1.3) that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// digitalSignature.
    pub digital_signature: bool,
    /// keyAgreement.
    pub key_agreement: bool,
    /// keyCertSign.
    pub key_cert_sign: bool,
    /// cRLSign.
    pub crl_sign: bool,
}

/// One permitted subtree of an EUM certificate, as SGP.22 section 4.5.2.1.0.2 means it: the eUICC's organisation must be
/// equal, and its EID must start with the digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EumConstraint {
    /// organizationName.
    pub organisation: Option<String>,
    /// serialNumber: first digits of every EID.
    pub eid_prefix: Option<String>,
}

/// An extension and whether it is marked critical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<T> {
    /// The critical flag.
    pub critical: bool,
    /// The decoded content.
    pub value: T,
}

impl Certificate {
    /// Parses exactly one DER certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > OCTETS_MAX {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(CertificateError::Malformed)?;
        let tbs = signed_part(der).map_err(CertificateError::Malformed)?;
        let body = parsed.tbs_certificate();
        if body.signature() != parsed.signature_algorithm() {
            return Err(CertificateError::AlgorithmMismatch);
        }
        let signature = match parsed.signature_algorithm().oid == ECDSA_WITH_SHA256 {
            true => parsed
                .signature()
                .as_bytes()
                .and_then(|octets| Signature::from_der(octets).ok()),
            false => None,
        };
        let validity = body.validity();
        let subject = body.subject();
        Ok(Self(Arc::new(Inner {
            der: der.to_vec(),
            tbs,
            signature_algorithm: parsed.signature_algorithm().oid,
            signature,
            public_key: PublicKey::from_spki(&body.subject_public_key_info().owned_to_ref()),
            serial_number: body.serial_number().as_bytes().to_vec(),
            not_before: UnixTime::from_duration(validity.not_before.to_unix_duration()),
            not_after: UnixTime::from_duration(validity.not_after.to_unix_duration()),
            issuer: body.issuer().to_string(),
            organisation: unique_attribute(subject, ORGANISATION)?,
            common_name: unique_attribute(subject, COMMON_NAME)?,
            subject_serial_number: unique_attribute(subject, SERIAL_NUMBER)?,
            subject: subject.to_string(),
            extensions: Extensions::from_x509(body.extensions().map_or(&[][..], Vec::as_slice))?,
        })))
    }

    /// Parses the first PEM block, which must be a CERTIFICATE.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let (label, document) =
            Document::from_pem(pem.trim()).map_err(|_| CertificateError::Pem)?;
        if label != x509_cert::Certificate::PEM_LABEL {
            return Err(CertificateError::Pem);
        }
        Self::from_der(document.as_bytes())
    }

    /// The certificate as received.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as a PEM block.
    pub fn to_pem(&self) -> Result<String, CertificateError> {
        let document = Document::try_from(self.der()).map_err(CertificateError::Malformed)?;
        document
            .to_pem(x509_cert::Certificate::PEM_LABEL, LineEnding::LF)
            .map_err(|_| CertificateError::Pem)
    }

    /// The TBSCertificate as received: the octets that the signature covers.
    pub fn tbs(&self) -> &[u8] {
        self.0.der.get(self.0.tbs.clone()).unwrap_or_default()
    }

    /// The subject's key, or why it cannot be used (for example a curve that is not supported).
    pub fn public_key(&self) -> Result<&PublicKey, KeyError> {
        self.0.public_key.as_ref().map_err(|error| *error)
    }

    /// The signature, if the algorithm is ecdsa-with-SHA256 and the value is well-formed for a 256-bit curve.
    pub fn signature(&self) -> Option<&Signature> {
        self.0.signature.as_ref()
    }

    /// Object identifier of the signature algorithm.
    pub fn signature_algorithm(&self) -> ObjectIdentifier {
        self.0.signature_algorithm
    }

    /// Content octets of the serial number INTEGER (big-endian, two's complement).
    pub fn serial_number(&self) -> &[u8] {
        &self.0.serial_number
    }

    /// Start of validity, inclusive.
    pub fn not_before(&self) -> UnixTime {
        self.0.not_before
    }

    /// End of validity, inclusive.
    pub fn not_after(&self) -> UnixTime {
        self.0.not_after
    }

    /// The issuer's name in RFC 4514 form, for people. Never a key for look-ups.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The subject's name in RFC 4514 form, for people.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The subject's organizationName.
    pub fn organisation(&self) -> Option<&str> {
        self.0.organisation.as_deref()
    }

    /// The subject's commonName; the eimId in an eIM signing certificate.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The subject's serialNumber attribute; 32 EID digits in an eUICC certificate. Not the certificate's serial number.
    pub fn subject_serial_number(&self) -> Option<&str> {
        self.0.subject_serial_number.as_deref()
    }

    /// Content of subjectKeyIdentifier, usually 20 octets.
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_identifier.as_deref()
    }

    /// keyIdentifier of authorityKeyIdentifier.
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_identifier.as_deref()
    }

    /// Policy identifiers, in order; empty without the extension.
    pub fn policies(&self) -> &[ObjectIdentifier] {
        &self.0.extensions.policies
    }

    /// keyUsage.
    pub fn key_usage(&self) -> Option<&Extension<KeyUsage>> {
        self.0.extensions.key_usage.as_ref()
    }

    /// extKeyUsage purposes.
    pub fn extended_key_usage(&self) -> Option<&Extension<Vec<ObjectIdentifier>>> {
        self.0.extensions.extended_key_usage.as_ref()
    }

    /// basicConstraints cA; false without the extension.
    pub fn is_ca(&self) -> bool {
        self.0
            .extensions
            .basic_constraints
            .as_ref()
            .is_some_and(|e| e.value.0)
    }

    /// basicConstraints pathLenConstraint.
    pub fn path_len(&self) -> Option<u8> {
        self.0
            .extensions
            .basic_constraints
            .as_ref()
            .and_then(|e| e.value.1)
    }

    /// Whether basicConstraints is there and critical.
    pub(crate) fn has_critical_basic_constraints(&self) -> bool {
        self.0
            .extensions
            .basic_constraints
            .as_ref()
            .is_some_and(|e| e.critical)
    }

    /// nameConstraints, as far as it is in the form of SGP.22.
    pub fn name_constraints(&self) -> Option<&Extension<Vec<EumConstraint>>> {
        self.0.extensions.name_constraints.as_ref()
    }

    /// EUM identification numbers of an SGP.22 v3 EUM certificate (2.23.146.1.2.2.0).
    pub fn permitted_eins(&self) -> &[String] {
        &self.0.extensions.permitted_eins
    }

    /// The one registeredID of subjectAltName: the OID of the SM-DP+, SM-DS, EUM or CI.
    pub fn registered_id(&self) -> Option<&Oid> {
        self.0.extensions.registered_id.as_ref()
    }

    /// Content octets of the registeredID OBJECT IDENTIFIER, as `06` and `80` fields of messages carry it.
    pub fn registered_id_der(&self) -> Option<&[u8]> {
        self.registered_id().map(Oid::content)
    }

    /// dNSName entries of subjectAltName.
    pub fn dns_names(&self) -> &[String] {
        &self.0.extensions.dns_names
    }

    /// URIs of cRLDistributionPoints.
    pub fn crl_distribution_points(&self) -> &[String] {
        &self.0.extensions.crl_uris
    }

    /// Critical extensions that this crate does not process; with any of them the certificate must be refused.
    pub fn unknown_critical_extensions(&self) -> &[ObjectIdentifier] {
        &self.0.extensions.unknown_critical
    }

    /// The role of the subject, or `None` if nothing says so.
    pub fn role(&self) -> Option<Role> {
        let by_policy = self.policies().iter().find_map(Role::from_policy);
        by_policy.or_else(|| self.eim_role())
    }

    /// Whether any policy identifies an eSIM role.
    pub(crate) fn has_role_policy(&self) -> bool {
        self.policies()
            .iter()
            .any(|policy| Role::from_policy(policy).is_some())
    }

    fn eim_role(&self) -> Option<Role> {
        if self.is_ca() {
            return None;
        }
        match self.extended_key_usage() {
            Some(purposes) if purposes.value.contains(&SERVER_AUTH) => Some(Role::EimTls),
            Some(_) => None,
            None => self
                .key_usage()
                .is_some_and(|usage| usage.value.digital_signature)
                .then_some(Role::EimSigning),
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.0.subject)
            .field("issuer", &self.0.issuer)
            .field("role", &self.role())
            .finish_non_exhaustive()
    }
}

struct Inner {
    der: Vec<u8>,
    tbs: Range<usize>,
    signature_algorithm: ObjectIdentifier,
    signature: Option<Signature>,
    public_key: Result<PublicKey, KeyError>,
    serial_number: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    issuer: String,
    subject: String,
    organisation: Option<String>,
    common_name: Option<String>,
    subject_serial_number: Option<String>,
    extensions: Extensions,
}

/// Where the TBSCertificate lies in a certificate that parsed.
pub(crate) fn signed_part(der: &[u8]) -> der::Result<Range<usize>> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    let start = usize::try_from(reader.position())?;
    reader.tlv_bytes()?;
    let end = usize::try_from(reader.position())?;
    Ok(start..end)
}

/// eSIM certificates have 500 to 900 octets, web certificates up to some 5,000.
const OCTETS_MAX: usize = 16 * 1024;

/// id-kp-serverAuth.
pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// id-kp-clientAuth.
pub(crate) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
