//! Trust anchors and the checks of certificate chains (SGP.22 section 4.5.2, SGP.14).

mod error;

use std::collections::BTreeMap;

use const_oid::AssociatedOid;
use rsp::der::Oid;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName,
};

use crate::certificate::{Certificate, EumConstraint, Role, SERVER_AUTH};
use crate::crl::Crl;
use crate::public_key::{KeyError, PublicKey};
use crate::time::UnixTime;

pub use error::{AnchorError, ChainError};

/// The CI certificates that are trusted, and their revocation lists.
///
/// A CI is found by its SubjectKeyIdentifier, never by name: CIs have been re-issued under other names with the same key, and
/// certificates under either name must verify.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    anchors: BTreeMap<Vec<u8>, Anchor>,
}

/// Deviations from the strict rules. The default is strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainPolicy {
    /// Lets an EUM issue for any organisation and EID. Some test cards need it (their organisation differs from the EUM's
    /// constraint). With it, one EUM can pretend to be any eUICC of another: never use it in production.
    pub insecure_ignore_eum_name_constraints: bool,
}

/// An eUICC whose chain is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEuicc {
    /// EID, 16 octets, digits in order (the first octet is 0x89).
    pub eid: [u8; 16],
    /// EID, 32 digits.
    pub eid_digits: String,
    /// PK.EUICC.
    pub public_key: PublicKey,
    /// SubjectKeyIdentifier of the CI at the end of the chain.
    pub ci_key_id: Vec<u8>,
    /// organizationName of the EUM.
    pub eum_organisation: Option<String>,
}

/// A server certificate whose chain is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedServer {
    /// The registeredID. Always there for SM-DP+ and SM-DS.
    pub oid: Option<Oid>,
    /// commonName; the eimId for [`Role::EimSigning`].
    pub common_name: Option<String>,
    /// The key of the certificate.
    pub public_key: PublicKey,
    /// SubjectKeyIdentifier of the CI that issued it.
    pub ci_key_id: Vec<u8>,
}

impl TrustAnchors {
    /// No anchors: nothing verifies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts a CI. A second certificate with the same key replaces the first if it is valid longer.
    pub fn add_ci(&mut self, ci: Certificate) -> Result<(), AnchorError> {
        match ci.role() {
            Some(Role::CertificateIssuer) => {}
            found => return Err(AnchorError::NotACertificateIssuer { found }),
        }
        if let Some(extension) = ci.unknown_critical_extensions().first() {
            return Err(AnchorError::UnknownCriticalExtension(*extension));
        }
        let usage = ci.key_usage().map(|usage| usage.value);
        if !ci.is_ca() || !usage.is_some_and(|usage| usage.key_cert_sign) {
            return Err(AnchorError::MayNotSign);
        }
        let key = ci.public_key().map_err(AnchorError::Key)?.clone();
        let signature = ci.signature().ok_or(AnchorError::BadSignature)?;
        key.verify(ci.tbs(), signature)
            .map_err(|_| AnchorError::BadSignature)?;
        let id = ci
            .subject_key_identifier()
            .ok_or(AnchorError::NoSubjectKeyIdentifier)?
            .to_vec();
        let may_sign_crls = usage.is_some_and(|usage| usage.crl_sign);
        match self.anchors.get_mut(&id) {
            Some(known) if known.key != key => return Err(AnchorError::KeyIdentifierCollision),
            Some(known) => {
                known.may_sign_crls |= may_sign_crls;
                if known.certificate.not_after() < ci.not_after() {
                    known.certificate = ci;
                }
            }
            None => {
                self.anchors.insert(
                    id,
                    Anchor {
                        certificate: ci,
                        key,
                        may_sign_crls,
                        crls: Vec::new(),
                    },
                );
            }
        }
        Ok(())
    }

    /// Takes a CRL after checking that a trusted CI signed it. It replaces an older one of the same scope.
    pub fn add_crl(&mut self, crl: Crl) -> Result<(), AnchorError> {
        let anchor = self
            .anchors
            .get_mut(crl.issuer_key_id())
            .ok_or(AnchorError::UnknownCi)?;
        if !anchor.may_sign_crls {
            return Err(AnchorError::MayNotSignCrls);
        }
        if !crl.is_signed_by(&anchor.key) {
            return Err(AnchorError::BadCrlSignature);
        }
        match anchor
            .crls
            .iter_mut()
            .find(|known| known.scope() == crl.scope())
        {
            Some(known) if known.this_update() > crl.this_update() => {
                return Err(AnchorError::OlderCrl);
            }
            Some(known) => *known = crl,
            None => anchor.crls.push(crl),
        }
        Ok(())
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The trusted CI certificates, ordered by key identifier.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.values().map(|anchor| &anchor.certificate)
    }

    /// Key identifiers of the trusted CIs.
    pub fn key_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.keys().map(Vec::as_slice)
    }

    /// The CI whose SubjectKeyIdentifier is exactly `key_id`.
    pub fn ci_by_key_id(&self, key_id: &[u8]) -> Option<&Certificate> {
        self.anchors.get(key_id).map(|anchor| &anchor.certificate)
    }

    /// The only CI whose SubjectKeyIdentifier starts with `prefix`; `None` also when several do or `prefix` is empty.
    pub fn ci_by_key_id_prefix(&self, prefix: &[u8]) -> Option<&Certificate> {
        let mut found = self
            .anchors
            .iter()
            .filter(|(id, _)| !prefix.is_empty() && id.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some((_, anchor)), None) => Some(&anchor.certificate),
            _ => None,
        }
    }

    /// Checks eUICC and EUM certificate up to a trusted CI. `now = None` skips validity and CRL age.
    pub fn verify_euicc_chain(
        &self,
        euicc: &Certificate,
        eum: &Certificate,
        now: Option<UnixTime>,
        policy: ChainPolicy,
    ) -> Result<VerifiedEuicc, ChainError> {
        let (ci_key_id, eum_key) = self.verify_eum(eum, now, policy)?;
        let which = Role::Euicc;
        let named = (
            euicc.authority_key_identifier(),
            eum.subject_key_identifier(),
        );
        if matches!(named, (Some(issuer), Some(eum)) if issuer != eum) {
            return Err(ChainError::IssuerMismatch { which });
        }
        check_signature(euicc, &eum_key, which)?;
        check_validity(euicc, now, which)?;
        check_role(euicc, which)?;
        check_leaf(euicc, which)?;
        let public_key = usable_key(euicc, which)?;
        let eid_digits = euicc
            .subject_serial_number()
            .ok_or(ChainError::EidMalformed)?
            .to_owned();
        let eid = eid_octets(&eid_digits).ok_or(ChainError::EidMalformed)?;
        if !policy.insecure_ignore_eum_name_constraints {
            check_name_constraints(euicc, &eid_digits, eum)?;
        }
        Ok(VerifiedEuicc {
            eid,
            eid_digits,
            public_key,
            ci_key_id,
            eum_organisation: eum.organisation().map(str::to_owned),
        })
    }

    /// Checks a certificate that a CI issued directly to a server. `now = None` skips validity and CRL age.
    ///
    /// Only the SM-DP+, SM-DS and eIM roles can succeed. For TLS roles this is the eSIM side of the check; the host name is
    /// the TLS library's business.
    pub fn verify_server(
        &self,
        certificate: &Certificate,
        role: Role,
        now: Option<UnixTime>,
    ) -> Result<VerifiedServer, ChainError> {
        let anchor = self.issuer_of(certificate, now, role)?;
        check_role(certificate, role)?;
        if matches!(role, Role::CertificateIssuer | Role::Eum | Role::Euicc) {
            return Err(ChainError::BasicConstraints { which: role });
        }
        check_leaf(certificate, role)?;
        check_extended_key_usage(certificate, role)?;
        let public_key = usable_key(certificate, role)?;
        let anchor = anchor.ok_or(no_issuer_named(role))?;
        let oid = certificate.registered_id().cloned();
        if oid.is_none() && !matches!(role, Role::EimSigning | Role::EimTls) {
            return Err(ChainError::MissingExtension {
                which: role,
                extension: SubjectAltName::OID,
            });
        }
        Ok(VerifiedServer {
            oid,
            common_name: certificate.common_name().map(str::to_owned),
            public_key,
            ci_key_id: anchor.key_id().to_vec(),
        })
    }

    /// Gives the identifier of the CI and the EUM's key.
    fn verify_eum(
        &self,
        eum: &Certificate,
        now: Option<UnixTime>,
        policy: ChainPolicy,
    ) -> Result<(Vec<u8>, PublicKey), ChainError> {
        let which = Role::Eum;
        let anchor = self.issuer_of(eum, now, which)?;
        check_role(eum, which)?;
        check_known_extensions(eum, which)?;
        if !eum.has_critical_basic_constraints() {
            return Err(ChainError::MissingCriticalExtension {
                which,
                extension: BasicConstraints::OID,
            });
        }
        if !eum.is_ca() {
            return Err(ChainError::BasicConstraints { which });
        }
        // Mandatory for an EUM. No intermediate follows it here, so any value permits the eUICC.
        if eum.path_len().is_none() {
            return Err(ChainError::PathLen { which });
        }
        if !critical_key_usage(eum, which)?.key_cert_sign {
            return Err(ChainError::KeyUsage { which });
        }
        let constrained = eum
            .name_constraints()
            .is_some_and(|constraints| constraints.critical);
        if !constrained && !policy.insecure_ignore_eum_name_constraints {
            return Err(ChainError::MissingCriticalExtension {
                which,
                extension: NameConstraints::OID,
            });
        }
        let key = usable_key(eum, which)?;
        let anchor = anchor.ok_or(no_issuer_named(which))?;
        if anchor.certificate.path_len() == Some(0) {
            return Err(ChainError::PathLen {
                which: Role::CertificateIssuer,
            });
        }
        Ok((anchor.key_id().to_vec(), key))
    }

    /// The CI of a certificate, after everything that concerns both: signature, validity, revocation. `None` if the
    /// certificate names no issuer, so that what else is wrong with such a certificate is reported first.
    fn issuer_of(
        &self,
        certificate: &Certificate,
        now: Option<UnixTime>,
        which: Role,
    ) -> Result<Option<&Anchor>, ChainError> {
        let Some(issuer) = certificate.authority_key_identifier() else {
            return Ok(None);
        };
        let anchor = self
            .anchors
            .get(issuer)
            .ok_or(ChainError::UnknownCi { which })?;
        check_signature(certificate, &anchor.key, which)?;
        check_validity(certificate, now, which)?;
        anchor.check(certificate, now, which)?;
        Ok(Some(anchor))
    }
}

#[derive(Clone, Debug)]
struct Anchor {
    certificate: Certificate,
    key: PublicKey,
    may_sign_crls: bool,
    crls: Vec<Crl>,
}

impl Anchor {
    fn key_id(&self) -> &[u8] {
        self.certificate
            .subject_key_identifier()
            .unwrap_or_default()
    }

    /// Validity of the CI itself, and revocation of what it issued.
    fn check(
        &self,
        issued: &Certificate,
        now: Option<UnixTime>,
        which: Role,
    ) -> Result<(), ChainError> {
        check_validity(&self.certificate, now, Role::CertificateIssuer)?;
        if self
            .crls
            .iter()
            .any(|crl| crl.revokes(issued.serial_number()))
        {
            return Err(ChainError::Revoked { which });
        }
        let Some(now) = now else { return Ok(()) };
        match self
            .crls
            .iter()
            .filter_map(Crl::next_update)
            .find(|next_update| *next_update < now)
        {
            Some(next_update) => Err(ChainError::CrlOutOfDate { next_update }),
            None => Ok(()),
        }
    }
}

fn no_issuer_named(which: Role) -> ChainError {
    ChainError::MissingExtension {
        which,
        extension: AuthorityKeyIdentifier::OID,
    }
}

fn check_role(certificate: &Certificate, expected: Role) -> Result<(), ChainError> {
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

fn check_leaf(certificate: &Certificate, which: Role) -> Result<(), ChainError> {
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

fn check_extended_key_usage(certificate: &Certificate, which: Role) -> Result<(), ChainError> {
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

fn usable_key(certificate: &Certificate, which: Role) -> Result<PublicKey, ChainError> {
    match certificate.public_key() {
        Ok(key) => Ok(key.clone()),
        Err(KeyError::UnsupportedCurve(curve)) => {
            Err(ChainError::UnsupportedCurve { which, curve })
        }
        Err(source) => Err(ChainError::Key { which, source }),
    }
}

fn check_signature(
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

fn check_validity(
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

fn check_name_constraints(
    euicc: &Certificate,
    eid: &str,
    eum: &Certificate,
) -> Result<(), ChainError> {
    let constraints = eum
        .name_constraints()
        .map_or(&[][..], |constraints| &constraints.value);
    let mut permitted = constraints
        .iter()
        .filter(|constraint| constraint.organisation.is_some())
        .filter(|constraint| constraint.organisation.as_deref() == euicc.organisation())
        .peekable();
    if permitted.peek().is_none() {
        return Err(ChainError::NameConstraintOrganisation);
    }
    match permitted.any(|constraint| eid_permitted(eid, constraint, eum.permitted_eins())) {
        true => Ok(()),
        false => Err(ChainError::NameConstraintEid),
    }
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
fn eid_octets(digits: &str) -> Option<[u8; 16]> {
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
