//! Trust anchors and the checks of certificate chains (SGP.22 section 4.5.2, SGP.14).
//!
//! The chains are those of SGP.26: `eUICC - EUM - CI` and `server - CI` (variant O), and the same with sub-CAs below the CI, the
//! EUM or the server's provider (SGP.22 v3; variants A, B and C). The sub-CAs come with the certificate that is verified.

mod checks;
mod error;
mod message;
mod path;
mod revocation;

use std::collections::BTreeMap;

use const_oid::AssociatedOid;
use rsp::der::Oid;
use x509_cert::ext::pkix::SubjectAltName;

use crate::certificate::{Certificate, Role};
use crate::crl::Crl;
use crate::public_key::PublicKey;
use crate::time::UnixTime;
use checks::{
    check_eum_name_constraints, check_extended_key_usage, check_leaf, check_role, eid_octets,
    no_issuer_named, usable_key,
};
use path::{Path, Pool, Verification, euicc_to_eum};
use revocation::CrlSet;

pub use error::{AnchorError, ChainError};

/// Intermediate certificates that are accepted with one certificate. SGP.22 v3 chains have at most two.
pub const INTERMEDIATES_MAX: usize = 3;

/// The CI certificates that are trusted, and their revocation lists.
///
/// A CI is found by its SubjectKeyIdentifier, never by name: CIs have been re-issued under other names with the same key, and
/// certificates under either name must verify.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    anchors: BTreeMap<Vec<u8>, Anchor>,
    /// CRLs of sub-CAs and EUMs by the issuer's SubjectPublicKeyInfo.
    sub_ca_crls: BTreeMap<Vec<u8>, CrlSet>,
    /// Sub-CAs and EUMs that need not come with what they issued, by SubjectKeyIdentifier. Not trusted by themselves.
    known_issuers: BTreeMap<Vec<u8>, Certificate>,
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
    /// SubjectKeyIdentifier of the CI at the end of the chain.
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
                        crls: CrlSet::default(),
                    },
                );
            }
        }
        Ok(())
    }

    /// Takes a CRL after checking that a trusted CI, or a known issuer, signed it. It replaces an older one of the same scope.
    pub fn add_crl(&mut self, crl: Crl) -> Result<(), AnchorError> {
        let Some(anchor) = self.anchors.get_mut(crl.issuer_key_id()) else {
            let issuer = self.known_issuers.get(crl.issuer_key_id()).cloned();
            return self.add_crl_of(crl, &issuer.ok_or(AnchorError::UnknownCi)?, &[], None);
        };
        if !anchor.may_sign_crls {
            return Err(AnchorError::MayNotSignCrls);
        }
        anchor.crls.add(crl, &anchor.key)
    }

    /// Takes a CRL of a sub-CA or EUM after checking that its certificate leads to a trusted CI and that its key signed the
    /// CRL. It replaces an older one of the same scope. `intermediates` are what stands between `issuer` and the CI; for a
    /// sub-CA of an EUM that includes the EUM.
    pub fn add_crl_of(
        &mut self,
        crl: Crl,
        issuer: &Certificate,
        intermediates: &[Certificate],
        now: Option<UnixTime>,
    ) -> Result<(), AnchorError> {
        let which = match issuer.role() {
            Some(role) if role.is_sub_ca() || role == Role::Eum => role,
            found => return Err(AnchorError::NotASubCa { found }),
        };
        self.verify_issuer(issuer, which, intermediates, now)
            .map_err(AnchorError::Chain)?;
        if issuer.subject_key_identifier() != Some(crl.issuer_key_id()) {
            return Err(AnchorError::CrlIssuerMismatch);
        }
        if !issuer.key_usage().is_some_and(|usage| usage.value.crl_sign) {
            return Err(AnchorError::MayNotSignCrls);
        }
        let key = issuer.public_key().map_err(AnchorError::Key)?;
        let mut crls = self
            .sub_ca_crls
            .get(key.spki_der())
            .cloned()
            .unwrap_or_default();
        crls.add(crl, key)?;
        self.sub_ca_crls.insert(key.spki_der().to_vec(), crls);
        Ok(())
    }

    /// Makes a sub-CA or EUM known after checking that its certificate leads to a trusted CI: chains may then go through it
    /// although it does not come with them, as where messages of SGP.22 v2 and SGP.32 v1.2 have no place for it. It is checked
    /// again with each of these chains. A second certificate with the same key replaces the first if it is valid longer.
    /// `intermediates` are what stands between it and the CI and is not known yet.
    pub fn add_issuer(
        &mut self,
        issuer: Certificate,
        intermediates: &[Certificate],
        now: Option<UnixTime>,
    ) -> Result<(), AnchorError> {
        let which = match issuer.role() {
            Some(role) if role.is_sub_ca() || role == Role::Eum => role,
            found => return Err(AnchorError::NotASubCa { found }),
        };
        self.verify_issuer(&issuer, which, intermediates, now)
            .map_err(AnchorError::Chain)?;
        let id = issuer
            .subject_key_identifier()
            .ok_or(AnchorError::NoSubjectKeyIdentifier)?;
        match self.known_issuers.get(id) {
            Some(known) if known.public_key() != issuer.public_key() => {
                return Err(AnchorError::KeyIdentifierCollision);
            }
            Some(known) if known.not_after() >= issuer.not_after() => {}
            _ => {
                self.known_issuers.insert(id.to_vec(), issuer);
            }
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

    /// As [`TrustAnchors::verify_euicc_chain_through`], for a chain without sub-CAs.
    pub fn verify_euicc_chain(
        &self,
        euicc: &Certificate,
        eum: &Certificate,
        now: Option<UnixTime>,
        policy: ChainPolicy,
    ) -> Result<VerifiedEuicc, ChainError> {
        self.verify_euicc_chain_through(euicc, eum, &[], now, policy)
    }

    /// Checks eUICC and EUM certificate up to a trusted CI. `now = None` skips validity and CRL age.
    ///
    /// `intermediates` are the sub-CAs of the CI and of the EUM, in any order, at most [`INTERMEDIATES_MAX`]. Each must be part
    /// of the chain; the CI's own certificate is none of them.
    pub fn verify_euicc_chain_through(
        &self,
        euicc: &Certificate,
        eum: &Certificate,
        intermediates: &[Certificate],
        now: Option<UnixTime>,
        policy: ChainPolicy,
    ) -> Result<VerifiedEuicc, ChainError> {
        let which = Role::Euicc;
        let verification = Verification {
            anchors: self,
            now,
            policy,
        };
        let mut pool = Pool::new(self, intermediates, which)?;
        let above = Path::to_anchor(self, &mut pool, (eum, Role::Eum))?;
        let eum_sub_cas = euicc_to_eum(&mut pool, euicc, eum);
        // What is wrong with the EUM is said first, without which nothing below it counts.
        let eum_cas = eum_sub_cas.as_ref().map_or(0, Vec::len);
        above.check((eum, Role::Eum), eum_cas + 1, verification)?;
        let eum_issues = verification.issuing((eum, Role::Eum), eum_cas)?;
        let anchor = above.anchor().ok_or(no_issuer_named(Role::Eum))?;
        let eum_sub_cas = eum_sub_cas?;
        let nearest = verification.descend(eum_issues, &eum_sub_cas, 0)?;
        nearest.check((euicc, which), now)?;
        check_role(euicc, which)?;
        check_leaf(euicc, which)?;
        let public_key = usable_key(euicc, which)?.clone();
        let eid_digits = euicc
            .subject_serial_number()
            .ok_or(ChainError::EidMalformed)?
            .to_owned();
        let eid = eid_octets(&eid_digits).ok_or(ChainError::EidMalformed)?;
        if !policy.insecure_ignore_eum_name_constraints {
            check_eum_name_constraints(euicc, &eid_digits, eum)?;
        }
        let chain: Vec<_> = [(euicc, which)]
            .into_iter()
            .chain(eum_sub_cas)
            .chain([(eum, Role::Eum)])
            .chain(above.issuers())
            .collect();
        verification.check_names(&chain)?;
        pool.finish()?;
        Ok(VerifiedEuicc {
            eid,
            eid_digits,
            public_key,
            ci_key_id: anchor.key_id().to_vec(),
            eum_organisation: eum.organisation().map(str::to_owned),
        })
    }

    /// As [`TrustAnchors::verify_server_through`], for a certificate that a CI issued directly.
    pub fn verify_server(
        &self,
        certificate: &Certificate,
        role: Role,
        now: Option<UnixTime>,
    ) -> Result<VerifiedServer, ChainError> {
        self.verify_server_through(certificate, role, &[], now)
    }

    /// Checks the certificate of a server up to a trusted CI. `now = None` skips validity and CRL age.
    ///
    /// `intermediates` are the sub-CAs of the CI and of the server's provider, in any order, at most [`INTERMEDIATES_MAX`]. Each
    /// must be part of the chain; the CI's own certificate is none of them.
    ///
    /// Only the SM-DP+, SM-DS and eIM roles can succeed. For TLS roles this is the eSIM side of the check; the host name is
    /// the TLS library's business.
    pub fn verify_server_through(
        &self,
        certificate: &Certificate,
        role: Role,
        intermediates: &[Certificate],
        now: Option<UnixTime>,
    ) -> Result<VerifiedServer, ChainError> {
        let verification = Verification {
            anchors: self,
            now,
            policy: ChainPolicy::default(),
        };
        let mut pool = Pool::new(self, intermediates, role)?;
        let above = Path::to_anchor(self, &mut pool, (certificate, role))?;
        above.check((certificate, role), 0, verification)?;
        check_role(certificate, role)?;
        if role.is_issuer() || role == Role::Euicc {
            return Err(ChainError::BasicConstraints { which: role });
        }
        check_leaf(certificate, role)?;
        check_extended_key_usage(certificate, role)?;
        let public_key = usable_key(certificate, role)?.clone();
        let anchor = above.anchor().ok_or(no_issuer_named(role))?;
        let oid = certificate.registered_id().cloned();
        if oid.is_none() && !matches!(role, Role::EimSigning | Role::EimTls) {
            return Err(ChainError::MissingExtension {
                which: role,
                extension: SubjectAltName::OID,
            });
        }
        let chain: Vec<_> = [(certificate, role)]
            .into_iter()
            .chain(above.issuers())
            .collect();
        verification.check_names(&chain)?;
        pool.finish()?;
        Ok(VerifiedServer {
            oid,
            common_name: certificate.common_name().map(str::to_owned),
            public_key,
            ci_key_id: anchor.key_id().to_vec(),
        })
    }

    /// Checks a sub-CA or EUM by itself, up to a trusted CI.
    fn verify_issuer(
        &self,
        certificate: &Certificate,
        role: Role,
        intermediates: &[Certificate],
        now: Option<UnixTime>,
    ) -> Result<(), ChainError> {
        let verification = Verification {
            anchors: self,
            now,
            policy: ChainPolicy::default(),
        };
        let mut pool = Pool::new(self, intermediates, role)?;
        let above = Path::to_anchor(self, &mut pool, (certificate, role))?;
        above.check((certificate, role), 1, verification)?;
        verification.issuing((certificate, role), 0)?;
        if above.anchor().is_none() {
            return Err(no_issuer_named(role));
        }
        let chain: Vec<_> = [(certificate, role)]
            .into_iter()
            .chain(above.issuers())
            .collect();
        verification.check_names(&chain)?;
        pool.finish()
    }
}

#[derive(Clone, Debug)]
struct Anchor {
    certificate: Certificate,
    key: PublicKey,
    may_sign_crls: bool,
    crls: CrlSet,
}

impl Anchor {
    fn key_id(&self) -> &[u8] {
        self.certificate
            .subject_key_identifier()
            .unwrap_or_default()
    }
}
