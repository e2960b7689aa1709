//! Chains of eUICCs as messages carry them.

use super::{ChainError, ChainPolicy, INTERMEDIATES_MAX, TrustAnchors, VerifiedEuicc};
use crate::certificate::{Certificate, Role};
use crate::time::UnixTime;

impl TrustAnchors {
    /// As [`TrustAnchors::verify_euicc_chain_through`], with the certificates in the places that messages have for them.
    ///
    /// `next` certifies the eUICC's: the EUM in eumCertificate of SGP.22 v2, the EUM or its sub-CA in nextCertInChain of v3.
    /// `others` is otherCertsInChain, in any order: the EUM if `next` is its sub-CA, and the sub-CA of the CI.
    pub fn verify_euicc_chain_in_message(
        &self,
        euicc: &Certificate,
        next: &Certificate,
        others: &[Certificate],
        now: Option<UnixTime>,
        policy: ChainPolicy,
    ) -> Result<VerifiedEuicc, ChainError> {
        let which = Role::EumSubCa;
        if next.role() != Some(which) {
            return self.verify_euicc_chain_through(euicc, next, others, now, policy);
        }
        if others.len() > INTERMEDIATES_MAX {
            return Err(ChainError::TooManyIntermediates {
                which: Role::Euicc,
                count: others.len(),
            });
        }
        let eum_at = others
            .iter()
            .position(|other| other.role() == Some(Role::Eum));
        let eum = match eum_at.and_then(|at| others.get(at)) {
            Some(eum) => eum,
            None => self
                .known_eum(next)
                .ok_or(ChainError::UnknownCi { which })?,
        };
        let rest = others
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != eum_at)
            .map(|(_, other)| other.clone());
        let intermediates: Vec<_> = [next.clone()].into_iter().chain(rest).collect();
        self.verify_euicc_chain_through(euicc, eum, &intermediates, now, policy)
    }

    /// The known EUM that a sub-CA names as its issuer.
    fn known_eum(&self, sub_ca: &Certificate) -> Option<&Certificate> {
        let known = self.known_issuers.get(sub_ca.authority_key_identifier()?)?;
        (known.role() == Some(Role::Eum)).then_some(known)
    }
}
