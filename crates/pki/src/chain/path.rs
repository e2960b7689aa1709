//! Finds the way from a certificate to its CI, and checks it from the CI downwards.
//!
//! Finding goes by key identifiers alone and believes nothing; it ends because a chain takes at most [`INTERMEDIATES_MAX`]
//! certificates, from those that came along or from the known issuers. Checking then starts at the CI, so that no key is used before it is trusted.

use super::checks::{
    check_ca, check_name_constraints, check_path_len, check_signature, check_validity,
    no_issuer_named, usable_key,
};
use super::revocation::CrlSet;
use super::{Anchor, ChainError, ChainPolicy, INTERMEDIATES_MAX, TrustAnchors};
use crate::certificate::{Certificate, Role};
use crate::public_key::PublicKey;
use crate::time::UnixTime;

/// A certificate and the role it has in the chain.
pub(super) type Link<'a> = (&'a Certificate, Role);

/// The intermediate certificates that came with a certificate and have not found their place yet.
pub(super) struct Pool<'a> {
    left: Vec<&'a Certificate>,
    came_with: Role,
    anchors: &'a TrustAnchors,
    /// Certificates that one chain may still take, so that it ends also where known issuers form a circle.
    steps_left: usize,
}

/// What stands above a certificate.
#[derive(Default)]
pub(super) struct Path<'a> {
    /// Nearest first.
    sub_cas: Vec<Link<'a>>,
    /// `None` if the certificate names no issuer, so that what else is wrong with it can be reported first.
    anchor: Option<&'a Anchor>,
}

/// Who issues the next certificate below.
pub(super) struct Issuing<'a> {
    key: &'a PublicKey,
    role: Role,
    crls: Option<&'a CrlSet>,
}

/// What stays the same during one verification.
#[derive(Clone, Copy)]
pub(super) struct Verification<'a> {
    pub(super) anchors: &'a TrustAnchors,
    pub(super) now: Option<UnixTime>,
    pub(super) policy: ChainPolicy,
}

impl<'a> Pool<'a> {
    pub(super) fn new(
        anchors: &'a TrustAnchors,
        intermediates: &'a [Certificate],
        came_with: Role,
    ) -> Result<Self, ChainError> {
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(ChainError::TooManyIntermediates {
                which: came_with,
                count: intermediates.len(),
            });
        }
        let mut left: Vec<&Certificate> = Vec::with_capacity(intermediates.len());
        for certificate in intermediates {
            // With two of one identifier, the way through them would depend on their order.
            let key_id = certificate.subject_key_identifier();
            if left
                .iter()
                .any(|other| other.subject_key_identifier() == key_id)
            {
                return Err(ChainError::RepeatedIntermediate { which: came_with });
            }
            left.push(certificate);
        }
        Ok(Self {
            left,
            came_with,
            anchors,
            steps_left: INTERMEDIATES_MAX,
        })
    }

    /// Refuses certificates that are no part of the chain.
    pub(super) fn finish(self) -> Result<(), ChainError> {
        match self.left.is_empty() {
            true => Ok(()),
            false => Err(ChainError::UnusedIntermediate {
                which: self.came_with,
            }),
        }
    }

    /// The issuer with that key identifier, if its role lets it issue what it is said to have issued.
    fn take(&mut self, key_id: &[u8], issued: Role) -> Result<Option<Link<'a>>, ChainError> {
        let came = self
            .left
            .iter()
            .position(|certificate| certificate.subject_key_identifier() == Some(key_id));
        let issuer = match came {
            Some(at) => self.left.swap_remove(at),
            None => match self.anchors.known_issuers.get(key_id) {
                Some(known) => known,
                None => return Ok(None),
            },
        };
        self.steps_left = match self.steps_left.checked_sub(1) {
            Some(left) => left,
            None => {
                return Err(ChainError::TooManyIntermediates {
                    which: self.came_with,
                    count: INTERMEDIATES_MAX + 1,
                });
            }
        };
        match issuer.role().filter(|_| issuer.has_role_policy()) {
            Some(role) if role.may_issue(issued) => Ok(Some((issuer, role))),
            Some(role) => Err(ChainError::MayNotIssue {
                issuer: role,
                which: issued,
            }),
            None => Err(ChainError::PolicyMissing {
                which: issued.nearest_sub_ca(),
            }),
        }
    }
}

impl<'a> Path<'a> {
    /// From a certificate up to a trusted CI.
    pub(super) fn to_anchor(
        anchors: &'a TrustAnchors,
        pool: &mut Pool<'a>,
        (certificate, which): Link<'a>,
    ) -> Result<Self, ChainError> {
        let mut path = Self::default();
        let (mut certificate, mut which) = (certificate, which);
        loop {
            let Some(key_id) = certificate.authority_key_identifier() else {
                return match path.sub_cas.is_empty() {
                    true => Ok(path),
                    false => Err(no_issuer_named(which)),
                };
            };
            if let Some(anchor) = anchors.anchors.get(key_id) {
                let issuer = Role::CertificateIssuer;
                if !issuer.may_issue(which) {
                    return Err(ChainError::MayNotIssue { issuer, which });
                }
                path.anchor = Some(anchor);
                return Ok(path);
            }
            let link = pool
                .take(key_id, which)?
                .ok_or(ChainError::UnknownCi { which })?;
            path.sub_cas.push(link);
            (certificate, which) = link;
        }
    }

    /// The CI at the top.
    pub(super) fn anchor(&self) -> Option<&'a Anchor> {
        self.anchor
    }

    /// Every issuer on the way, from the nearest to the CI.
    pub(super) fn issuers(&self) -> impl Iterator<Item = Link<'a>> {
        let anchor = self
            .anchor
            .map(|anchor| (&anchor.certificate, Role::CertificateIssuer));
        self.sub_cas.iter().copied().chain(anchor)
    }

    /// Checks every issuer, and signature, validity and revocation of the certificate below them. `cas` CA certificates are
    /// there from that certificate, inclusive, downwards.
    pub(super) fn check(
        &self,
        certificate: Link<'a>,
        cas: usize,
        verification: Verification<'a>,
    ) -> Result<(), ChainError> {
        let Some(anchor) = self.anchor else {
            return Ok(());
        };
        let role = Role::CertificateIssuer;
        check_validity(&anchor.certificate, verification.now, role)?;
        let anchor_issues = Issuing {
            key: &anchor.key,
            role,
            crls: Some(&anchor.crls),
        };
        let nearest = verification.descend(anchor_issues, &self.sub_cas, cas)?;
        nearest.check(certificate, verification.now)?;
        check_path_len(&anchor.certificate, role, self.sub_cas.len() + cas)
    }
}

/// The sub-CAs between an eUICC and its EUM, nearest to the eUICC first.
///
/// Without authorityKeyIdentifier in the eUICC certificate, or without subjectKeyIdentifier in the EUM certificate, the EUM
/// counts as the issuer that is named; the signature decides.
pub(super) fn euicc_to_eum<'a>(
    pool: &mut Pool<'a>,
    euicc: &'a Certificate,
    eum: &Certificate,
) -> Result<Vec<Link<'a>>, ChainError> {
    let mut sub_cas = Vec::new();
    let (mut certificate, mut which) = (euicc, Role::Euicc);
    loop {
        let Some(key_id) = certificate.authority_key_identifier() else {
            return match sub_cas.is_empty() {
                true => Ok(sub_cas),
                false => Err(no_issuer_named(which)),
            };
        };
        let eum_key_id = eum.subject_key_identifier();
        if eum_key_id == Some(key_id) {
            return Ok(sub_cas);
        }
        match pool.take(key_id, which)? {
            Some(link @ (_, Role::EumSubCa)) => {
                sub_cas.push(link);
                (certificate, which) = link;
            }
            None if eum_key_id.is_none() => return Ok(sub_cas),
            _ => return Err(ChainError::IssuerMismatch { which }),
        }
    }
}

impl<'a> Verification<'a> {
    /// Checks sub-CAs, of which the last is issued by `issuing`. Gives the nearest, which is the first, as the issuer of what
    /// follows. `cas` CA certificates are there below them.
    pub(super) fn descend(
        self,
        issuing: Issuing<'a>,
        sub_cas: &[Link<'a>],
        cas: usize,
    ) -> Result<Issuing<'a>, ChainError> {
        let mut issuing = issuing;
        for (index, (certificate, role)) in sub_cas.iter().enumerate().rev() {
            issuing.check((certificate, *role), self.now)?;
            issuing = self.issuing((certificate, *role), cas + index)?;
        }
        Ok(issuing)
    }

    /// An issuer that its own issuer vouches for, after the checks of what it must be as one.
    pub(super) fn issuing(
        self,
        (certificate, role): Link<'a>,
        cas_below: usize,
    ) -> Result<Issuing<'a>, ChainError> {
        check_ca(certificate, role, cas_below, self.policy)?;
        let key = usable_key(certificate, role)?;
        Ok(Issuing {
            key,
            role,
            crls: self.anchors.sub_ca_crls.get(key.spki_der()),
        })
    }

    /// Checks nameConstraints of every issuer against every certificate below it. The chain begins at its end.
    pub(super) fn check_names(self, chain: &[Link<'_>]) -> Result<(), ChainError> {
        for (index, issuer) in chain.iter().enumerate() {
            let is_of_eum = matches!(issuer.1, Role::Eum | Role::EumSubCa);
            if is_of_eum && self.policy.insecure_ignore_eum_name_constraints {
                continue;
            }
            for below in chain.iter().take(index) {
                check_name_constraints(*below, *issuer)?;
            }
        }
        Ok(())
    }
}

impl Issuing<'_> {
    /// What concerns issuer and issued: signature, validity, revocation.
    pub(super) fn check(
        &self,
        (certificate, which): Link<'_>,
        now: Option<UnixTime>,
    ) -> Result<(), ChainError> {
        check_signature(certificate, self.key, which)?;
        check_validity(certificate, now, which)?;
        match self.crls {
            Some(crls) => crls.check(certificate, which, self.role, now),
            None => Ok(()),
        }
    }
}
