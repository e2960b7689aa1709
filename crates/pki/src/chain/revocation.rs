//! The revocation lists of one issuer.

use super::{AnchorError, ChainError};
use crate::certificate::{Certificate, Role};
use crate::crl::Crl;
use crate::public_key::PublicKey;
use crate::time::UnixTime;

/// CRLs of one key, at most one of each scope.
#[derive(Clone, Debug, Default)]
pub(super) struct CrlSet(Vec<Crl>);

impl CrlSet {
    /// Takes a CRL if this key signed it and no newer one of its scope is there.
    pub(super) fn add(&mut self, crl: Crl, key: &PublicKey) -> Result<(), AnchorError> {
        if !crl.is_signed_by(key) {
            return Err(AnchorError::BadCrlSignature);
        }
        let known = self.0.iter_mut().find(|known| known.scope() == crl.scope());
        match known {
            Some(known) if known.this_update() > crl.this_update() => {
                return Err(AnchorError::OlderCrl);
            }
            Some(known) => *known = crl,
            None => self.0.push(crl),
        }
        Ok(())
    }

    /// Whether the issuer revoked what it issued. Nothing known means not revoked.
    pub(super) fn check(
        &self,
        issued: &Certificate,
        which: Role,
        issuer: Role,
        now: Option<UnixTime>,
    ) -> Result<(), ChainError> {
        if self.0.iter().any(|crl| crl.revokes(issued.serial_number())) {
            return Err(ChainError::Revoked { which });
        }
        let Some(now) = now else { return Ok(()) };
        match self
            .0
            .iter()
            .filter_map(Crl::next_update)
            .find(|next_update| *next_update < now)
        {
            Some(next_update) => Err(ChainError::CrlOutOfDate {
                issuer,
                next_update,
            }),
            None => Ok(()),
        }
    }
}
