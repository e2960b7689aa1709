//! Path check for chains with a critical certificatePolicies extension.
//!
//! The certificates of the eSIM PKI may mark certificatePolicies critical (SGP.22 v2.5 section 4.5.2.1). The web PKI library
//! must refuse what it does not process, RFC 5280 section 4.2, and it does not process policies. Such chains, and only such
//! chains, are checked here: issued in the order in which they are sent, at most [`INTERMEDIATES_MAX`] certificates between
//! the end entity and a root, no wildcard names, no name constraints. Revocation is not looked at, as in the other path.

use rustls::CertificateError;
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use webpki::RawPublicKeyEntity;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName,
};

/// Certificates between the end entity and the root.
const INTERMEDIATES_MAX: usize = 3;

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// What the end entity wants to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    /// The server of this name.
    Server(&'a ServerName<'a>),
    Client,
}

/// Whether one of the certificates has a critical certificatePolicies extension.
pub(super) fn has_critical_policies(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> bool {
    std::iter::once(end_entity)
        .chain(intermediates.iter().take(INTERMEDIATES_MAX))
        .any(|certificate| {
            Certificate::from_der(certificate).is_ok_and(|certificate| {
                extensions(&certificate)
                    .any(|one| one.critical && one.extn_id == CertificatePolicies::OID)
            })
        })
}

/// Checks that `end_entity` leads to one of `roots` and may play `role` at the time `now`.
pub(super) fn verify(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[Certificate],
    role: Role<'_>,
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), CertificateError> {
    let end_entity =
        Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
    check_validity(&end_entity, now)?;
    check_end_entity(&end_entity, role)?;

    let mut subject = end_entity;
    let mut below = 0;
    let mut issuers = intermediates.iter().take(INTERMEDIATES_MAX);
    loop {
        if roots
            .iter()
            .any(|root| may_issue(root, below) && issued(root, &subject, algorithms))
        {
            return Ok(());
        }
        let issuer = issuers.next().ok_or(CertificateError::UnknownIssuer)?;
        let issuer = Certificate::from_der(issuer).map_err(|_| CertificateError::BadEncoding)?;
        check_validity(&issuer, now)?;
        check_extensions_known(&issuer)?;
        if !may_issue(&issuer, below) {
            return Err(CertificateError::UnknownIssuer);
        }
        if !issued(&issuer, &subject, algorithms) {
            return Err(CertificateError::BadSignature);
        }
        subject = issuer;
        below += 1;
    }
}

/// Whether the certificate is within its validity at the time `now`.
pub(super) fn check_validity(
    certificate: &Certificate,
    now: UnixTime,
) -> Result<(), CertificateError> {
    let validity = certificate.tbs_certificate().validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

fn check_end_entity(certificate: &Certificate, role: Role<'_>) -> Result<(), CertificateError> {
    check_extensions_known(certificate)?;
    if extension::<BasicConstraints>(certificate)?.is_some_and(|constraints| constraints.ca) {
        return Err(CertificateError::InvalidPurpose);
    }
    if extension::<KeyUsage>(certificate)?.is_some_and(|usage| !usage.digital_signature()) {
        return Err(CertificateError::InvalidPurpose);
    }
    let purpose = match role {
        Role::Server(_) => SERVER_AUTH,
        Role::Client => CLIENT_AUTH,
    };
    if extension::<ExtendedKeyUsage>(certificate)?.is_some_and(|usage| !usage.0.contains(&purpose))
    {
        return Err(CertificateError::InvalidPurpose);
    }
    match role {
        Role::Client => Ok(()),
        Role::Server(name) => check_name(certificate, name),
    }
}

fn check_name(certificate: &Certificate, name: &ServerName<'_>) -> Result<(), CertificateError> {
    let (number, wanted) = match name {
        ServerName::DnsName(name) => (DNS_NAME, name.as_ref().as_bytes().to_vec()),
        ServerName::IpAddress(address) => match std::net::IpAddr::from(*address) {
            std::net::IpAddr::V4(address) => (IP_ADDRESS, address.octets().to_vec()),
            std::net::IpAddr::V6(address) => (IP_ADDRESS, address.octets().to_vec()),
        },
        _ => return Err(CertificateError::NotValidForName),
    };
    let names = match extension::<AlternativeNames>(certificate)? {
        Some(names) => names.0,
        None => return Err(CertificateError::NotValidForName),
    };
    let matches = names.iter().any(|one| {
        let (tag, value) = (one.tag(), one.value());
        tag.is_context_specific()
            && tag.number().value() == number
            && if number == DNS_NAME {
                value.eq_ignore_ascii_case(&wanted)
            } else {
                value == wanted
            }
    });
    if matches {
        Ok(())
    } else {
        Err(CertificateError::NotValidForName)
    }
}

/// SubjectAltName with its names unread: the library's own type refuses the registered identifiers below 2.999 of the GSMA
/// test certificates.
struct AlternativeNames(Vec<Any>);

impl AssociatedOid for AlternativeNames {
    const OID: ObjectIdentifier = SubjectAltName::OID;
}

impl<'a> Decode<'a> for AlternativeNames {
    type Error = x509_cert::der::Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> Result<Self, Self::Error> {
        Vec::decode(reader).map(Self)
    }
}

/// GeneralName, RFC 5280 section 4.2.1.6: tag numbers of the alternatives that are looked at.
const DNS_NAME: u32 = 2;
const IP_ADDRESS: u32 = 7;

/// Whether this authority may stand above `below` other authorities.
fn may_issue(authority: &Certificate, below: usize) -> bool {
    let Ok(Some(constraints)) = extension::<BasicConstraints>(authority) else {
        return false;
    };
    let Ok(usage) = extension::<KeyUsage>(authority) else {
        return false;
    };
    let Ok(None) = extension::<NameConstraints>(authority) else {
        return false;
    };
    constraints.ca
        && usage.is_none_or(|usage| usage.key_cert_sign())
        && constraints
            .path_len_constraint
            .is_none_or(|max| below <= usize::from(max))
}

fn issued(
    issuer: &Certificate,
    subject: &Certificate,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let tbs = subject.tbs_certificate();
    if tbs.issuer() != issuer.tbs_certificate().subject()
        || tbs.signature() != subject.signature_algorithm()
    {
        return false;
    }
    let Ok(message) = tbs.to_der() else {
        return false;
    };
    let Ok(algorithm) = subject.signature_algorithm().to_der() else {
        return false;
    };
    let Ok(spki) = issuer.tbs_certificate().subject_public_key_info().to_der() else {
        return false;
    };
    let Some(signature) = subject.signature().as_bytes() else {
        return false;
    };
    let spki = SubjectPublicKeyInfoDer::from(spki);
    let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
        return false;
    };
    algorithms
        .iter()
        // The library names algorithms by the content of their AlgorithmIdentifier, all of which are shorter than 128 octets.
        .filter(|one| algorithm.get(2..) == Some(one.signature_alg_id().as_ref()))
        .any(|one| key.verify_signature(*one, &message, signature).is_ok())
}

/// RFC 5280 section 4.2: a critical extension that is not processed refuses the certificate.
fn check_extensions_known(certificate: &Certificate) -> Result<(), CertificateError> {
    let processed = [
        BasicConstraints::OID,
        KeyUsage::OID,
        ExtendedKeyUsage::OID,
        SubjectAltName::OID,
        // Any policy is accepted, so the extension is processed by reading past it.
        CertificatePolicies::OID,
    ];
    let known =
        extensions(certificate).all(|one| !one.critical || processed.contains(&one.extn_id));
    if known {
        Ok(())
    } else {
        Err(CertificateError::UnhandledCriticalExtension)
    }
}

fn extensions(certificate: &Certificate) -> impl Iterator<Item = &Extension> {
    certificate
        .tbs_certificate()
        .extensions()
        .into_iter()
        .flatten()
}

/// The one extension of a kind; a second one refuses the certificate.
fn extension<'a, T: Decode<'a> + AssociatedOid>(
    certificate: &'a Certificate,
) -> Result<Option<T>, CertificateError> {
    let mut found = extensions(certificate).filter(|one| one.extn_id == T::OID);
    let first = found.next();
    if found.next().is_some() {
        return Err(CertificateError::BadEncoding);
    }
    first
        .map(|one| {
            T::from_der(one.extn_value.as_bytes()).map_err(|_| CertificateError::BadEncoding)
        })
        .transpose()
}
