//! Authenticator data (WebAuthn Level 3 section 6.1), which the authenticator vouches for.

use intent::Digest;
use intent::passkey::{Aaguid, CREDENTIAL_ID_OCTETS_MAX};

use super::cbor::Reader;
use super::{RelyingParty, UserVerification, WebauthnError};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED_DATA: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8; 32],
    flags: u8,
    pub(super) counter: u32,
    pub(super) attested: Option<AttestedCredential<'a>>,
}

/// Section 6.5.2.
pub(super) struct AttestedCredential<'a> {
    pub(super) aaguid: Aaguid,
    pub(super) credential_id: &'a [u8],
    /// A COSE_Key.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn parse(octets: &'a [u8]) -> Result<Self, WebauthnError> {
        Self::fields(octets).ok_or(WebauthnError::AuthenticatorData)
    }

    fn fields(octets: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = octets.split_first_chunk::<32>()?;
        let ([flags], rest) = rest.split_first_chunk::<1>()?;
        let (counter, mut rest) = rest.split_first_chunk::<4>()?;
        let mut attested = None;
        if flags & ATTESTED_DATA != 0 {
            let (aaguid, after) = rest.split_first_chunk::<16>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length > CREDENTIAL_ID_OCTETS_MAX {
                return None;
            }
            let (credential_id, after) = after.split_at_checked(length)?;
            let mut reader = Reader::new(after);
            attested = Some(AttestedCredential {
                aaguid: Aaguid(*aaguid),
                credential_id,
                public_key: reader.item()?,
            });
            rest = reader.rest();
        }
        if flags & EXTENSIONS != 0 {
            // Nothing was asked of extensions, so nothing is taken from them; they only have to be whole.
            let mut reader = Reader::new(rest);
            reader.item()?;
            rest = reader.rest();
        }
        rest.is_empty().then_some(Self {
            rp_id_hash,
            flags: *flags,
            counter: u32::from_be_bytes(*counter),
            attested,
        })
    }

    /// What is asked of registrations and assertions alike.
    pub(super) fn check(
        &self,
        party: &RelyingParty,
        user_verification: UserVerification,
    ) -> Result<(), WebauthnError> {
        if self.rp_id_hash != Digest::of(&[party.id.as_bytes()]).as_bytes() {
            return Err(WebauthnError::RelyingParty {
                expected: party.id.clone(),
            });
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(WebauthnError::UserNotPresent);
        }
        if user_verification == UserVerification::Required && !self.is_user_verified() {
            return Err(WebauthnError::UserNotVerified);
        }
        if self.is_backed_up() && !self.is_backup_eligible() {
            return Err(WebauthnError::BackupState);
        }
        Ok(())
    }

    pub(super) fn is_user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    pub(super) fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}
