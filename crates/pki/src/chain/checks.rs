//! What a single certificate of a chain must fulfil.

use const_oid::AssociatedOid;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints,
};

use super::{ChainError, ChainPolicy};
use crate::certificate::{Certificate, EumConstraint, Role, SERVER_AUTH};
use crate::public_key::{KeyError, PublicKey};
use crate::time::UnixTime;

pub(super) fn no_issuer_named(which: Role) -> ChainError {
    ChainError::MissingExtension {
        which,
        extension: AuthorityKeyIdentifier::OID,
    }
}

/// A certificate that issues others. `cas_below` CA certificates stand between it and the end of the chain.
pub(super) fn check_ca(
    certificate: &Certificate,
    which: Role,
    cas_below: usize,
    policy: ChainPolicy,
) -> Result<(), ChainError> {
    check_role(certificate, which)?;
    check_known_extensions(certificate, which)?;
    if !certificate.has_critical_basic_constraints() {
        return Err(ChainError::MissingCriticalExtension {
            which,
            extension: BasicConstraints::OID,
        });
    }
    if !certificate.is_ca() {
        return Err(ChainError::BasicConstraints { which });
    }
    // Mandatory for all but the sub-CA of a CI, which may issue whatever the CI may.
    if certificate.path_len().is_none() && which != Role::CiSubCa {
        return Err(ChainError::PathLen { which });
    }
    check_path_len(certificate, which, cas_below)?;
    if !critical_key_usage(certificate, which)?.key_cert_sign {
        return Err(ChainError::KeyUsage { which });
    }
    let constrained = certificate
        .name_constraints()
        .is_some_and(|constraints| constraints.critical);
    if which == Role::Eum && !constrained && !policy.insecure_ignore_eum_name_constraints {
        return Err(ChainError::MissingCriticalExtension {
            which,
            extension: NameConstraints::OID,
        });
    }
    Ok(())
}

/// Every CA certificate counts, also one that has the name of its issuer, which RFC 5280 section 4.2.1.9 would let pass: the
/// EUM sub-CA of SGP.26 is such a one, and its EUM allows for it.
pub(super) fn check_path_len(
    certificate: &Certificate,
    which: Role,
    cas_below: usize,
) -> Result<(), ChainError> {
    match certificate.path_len() {
        Some(path_len) if usize::from(path_len) < cas_below => Err(ChainError::PathLen { which }),
        _ => Ok(()),
    }
}

pub(super) fn check_role(certificate: &Certificate, expected: Role) -> Result<(), ChainError> {
    match certificate.role() {
        Some(found) if found == expected => Ok(()),
        Some(found) if certificate.has_role_policy() => {
            Err(ChainError::WrongRole { expected, found })
        }
        _ if expected.policy().is_some() => Err(ChainError::PolicyMissing { which: expected }),
        // An eIM certificate is known by its usage alone, which the next checks judge in detail.
        _ => Ok(()),
    }
}

fn check_known_extensions(certificate: &Certificate, which: Role) -> Result<(), ChainError> {
    match certificate.unknown_critical_extensions().first() {
        Some(extension) => Err(ChainError::UnknownCriticalExtension {
            which,
            extension: *extension,
        }),
        None => Ok(()),
    }
}

pub(super) fn check_leaf(certificate: &Certificate, which: Role) -> Result<(), ChainError> {
    check_known_extensions(certificate, which)?;
    if certificate.is_ca() {
        return Err(ChainError::BasicConstraints { which });
    }
    match critical_key_usage(certificate, which)?.digital_signature {
        true => Ok(()),
        false => Err(ChainError::KeyUsage { which }),
    }
}

fn critical_key_usage(
    certificate: &Certificate,
    which: Role,
) -> Result<crate::KeyUsage, ChainError> {
    match certificate.key_usage() {
        Some(usage) if usage.critical => Ok(usage.value),
        _ => Err(ChainError::MissingCriticalExtension {
            which,
            extension: KeyUsage::OID,
        }),
    }
}

pub(super) fn check_extended_key_usage(
    certificate: &Certificate,
    which: Role,
) -> Result<(), ChainError> {
    match (which.is_tls(), certificate.extended_key_usage()) {
        (true, Some(purposes)) if !purposes.value.contains(&SERVER_AUTH) => {
            Err(ChainError::ExtendedKeyUsage { which })
        }
        (true, Some(purposes)) if purposes.critical => Ok(()),
        (true, _) => Err(ChainError::MissingCriticalExtension {
            which,
            extension: ExtendedKeyUsage::OID,
        }),
        // A certificate that is limited to other purposes is not one for signing eUICC packages.
        (false, Some(_)) if which == Role::EimSigning => {
            Err(ChainError::ExtendedKeyUsage { which })
        }
        (false, _) => Ok(()),
    }
}

pub(super) fn usable_key(certificate: &Certificate, which: Role) -> Result<&PublicKey, ChainError> {
    match certificate.public_key() {
        Ok(key) => Ok(key),
        Err(KeyError::UnsupportedCurve(curve)) => {
            Err(ChainError::UnsupportedCurve { which, curve })
        }
        Err(source) => Err(ChainError::Key { which, source }),
    }
}

pub(super) fn check_signature(
    certificate: &Certificate,
    issuer: &PublicKey,
    which: Role,
) -> Result<(), ChainError> {
    let algorithm = certificate.signature_algorithm();
    if algorithm != crate::curve::ECDSA_WITH_SHA256 {
        return Err(ChainError::UnsupportedSignatureAlgorithm { which, algorithm });
    }
    let signature = certificate
        .signature()
        .ok_or(ChainError::BadSignature { which })?;
    issuer
        .verify(certificate.tbs(), signature)
        .map_err(|_| ChainError::BadSignature { which })
}

pub(super) fn check_validity(
    certificate: &Certificate,
    now: Option<UnixTime>,
    which: Role,
) -> Result<(), ChainError> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    match now {
        Some(now) if now < not_before => Err(ChainError::NotYetValid { which, not_before }),
        Some(now) if now > not_after => Err(ChainError::Expired { which, not_after }),
        _ => Ok(()),
    }
}

/// Whether an EUM lets an eUICC have its organisation and EID (SGP.22 section 4.5.2.1.0.2).
pub(super) fn check_eum_name_constraints(
    euicc: &Certificate,
    eid: &str,
    eum: &Certificate,
) -> Result<(), ChainError> {
    let mut permitted = for_organisation_of(euicc, eum).peekable();
    if permitted.peek().is_none() {
        return Err(ChainError::NameConstraintOrganisation);
    }
    match permitted.any(|constraint| eid_permitted(eid, constraint, eum.permitted_eins())) {
        true => Ok(()),
        false => Err(ChainError::NameConstraintEid),
    }
}

/// Whether nameConstraints of any issuer, if it has them, permit a certificate somewhere below it. Digits bind only what is
/// at the end of the chain, for no sub-CA has an EID.
pub(super) fn check_name_constraints(
    (certificate, which): (&Certificate, Role),
    (issuer, issuer_role): (&Certificate, Role),
) -> Result<(), ChainError> {
    if issuer.name_constraints().is_none() {
        return Ok(());
    }
    let serial_number = certificate.subject_serial_number().unwrap_or_default();
    let permits = |constraint: &EumConstraint| match &constraint.eid_prefix {
        Some(prefix) => which.is_issuer() || serial_number.starts_with(prefix.as_str()),
        None => true,
    };
    match for_organisation_of(certificate, issuer).any(permits) {
        true => Ok(()),
        false => Err(ChainError::NameConstraint {
            issuer: issuer_role,
            which,
        }),
    }
}

/// The constraints of an issuer that are about the organisation of this subject. One without an organisation is about none.
fn for_organisation_of<'a>(
    certificate: &'a Certificate,
    issuer: &'a Certificate,
) -> impl Iterator<Item = &'a EumConstraint> {
    let constraints = issuer
        .name_constraints()
        .map_or(&[][..], |constraints| &constraints.value);
    constraints
        .iter()
        .filter(|constraint| constraint.organisation.is_some())
        .filter(|constraint| constraint.organisation.as_deref() == certificate.organisation())
}

/// SGP.22 v2 has the digits in the constraint, v3 in an extension of their own. Without either nothing is permitted.
fn eid_permitted(eid: &str, constraint: &EumConstraint, eins: &[String]) -> bool {
    let begins_with = |prefix: &String| !prefix.is_empty() && eid.starts_with(prefix.as_str());
    match &constraint.eid_prefix {
        Some(prefix) => begins_with(prefix),
        None => eins.iter().any(begins_with),
    }
}

/// 32 decimal digits to 16 octets, two digits each, in order. Check digits are not looked at.
pub(super) fn eid_octets(digits: &str) -> Option<[u8; 16]> {
    if digits.len() != 32 {
        return None;
    }
    let mut octets = [0; 16];
    for (octet, pair) in octets.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        if !high.is_ascii_digit() || !low.is_ascii_digit() {
            return None;
        }
        *octet = ((high - b'0') << 4) | (low - b'0');
    }
    Some(octets)
}
