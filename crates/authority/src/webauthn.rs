//! Verifies what passkeys say (WebAuthn Level 3 sections 7.1 and 7.2).
//!
//! The challenge is ours: the hash of what the person wants, so an assertion proves one wish and no other. Always required
//! are user presence and user verification, our relying party id, one of our origins, and a page that is not embedded in
//! another site's.
//!
//! This is our own code on the signature checks of `pki` and `intent`, because no library verifies Ed25519 against a challenge
//! that the caller chose (docs/dependencies.md says which were looked at); the test vectors of the specification check it.
//! Statements of makers about their authenticators are neither asked for nor trusted.

mod authenticator_data;
mod cbor;
mod client_data;
mod cose;

use intent::Digest;
use intent::passkey::{
    AssertionResponse, Attestation, Base64Url, CREDENTIAL_ID_OCTETS_MAX, Ceremony, MEMBER_MAX,
    PasskeyCredential, RegistrationResponse,
};

pub use crate::event::RelyingParty;

use authenticator_data::AuthenticatorData;
use cbor::Reader;
use cose::CoseKey;

/// What a verified assertion says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssertionFacts {
    /// The person was verified, by PIN or biometrics. Always true: an assertion without is refused.
    pub user_verified: bool,
    /// The signature counter now.
    pub new_counter: u32,
    /// How it compares with the one known before.
    pub counter: CounterChange,
    /// The key has left the authenticator (flag BS).
    pub backed_up: bool,
}

/// How the signature counter went on (WebAuthn Level 3 section 6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterChange {
    /// The authenticator does not count: 0 before and now.
    NotUsed,
    /// Higher than before.
    Advanced,
    /// Not higher than before: there may be two copies of the key.
    Regressed,
}

/// Why a response was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebauthnError {
    /// A member of the response has more octets than are looked at.
    #[error("{member} has more than {MEMBER_MAX} octets")]
    TooLong {
        /// Which one.
        member: &'static str,
    },
    /// Empty, or longer than the specification allows.
    #[error("a credential id has 1 to {CREDENTIAL_ID_OCTETS_MAX} octets")]
    CredentialId,
    /// Not JSON with the members of CollectedClientData, each once.
    #[error("clientDataJSON is not the client data of WebAuthn")]
    ClientData,
    /// An assertion for a registration, or the other way round.
    #[error("the client data is of another ceremony, expected {expected}")]
    Ceremony {
        /// `webauthn.create` or `webauthn.get`.
        expected: &'static str,
    },
    /// For another intent, another decision, or replayed.
    #[error("the passkey signed another challenge: it was asked for something else than this")]
    Challenge,
    /// Made on a page that is not ours.
    #[error(
        "the origin {origin:?} is none of this installation's: use its own address, or add the origin to the configuration"
    )]
    Origin {
        /// The origin, shortened.
        origin: String,
    },
    /// Made in a frame inside another site.
    #[error("the passkey was used in a page embedded in another site: open the console by itself")]
    CrossOrigin,
    /// Not the CBOR of an attestation object.
    #[error("the attestation object is malformed")]
    AttestationObject,
    /// Not authenticator data.
    #[error("the authenticator data is malformed")]
    AuthenticatorData,
    /// For another relying party.
    #[error("the passkey is for another relying party, expected {expected}")]
    RelyingParty {
        /// Our relying party id.
        expected: String,
    },
    /// Nobody touched the authenticator.
    #[error("the authenticator did not see a person (flag UP)")]
    UserNotPresent,
    /// The authenticator did not ask for PIN or biometrics.
    #[error("the authenticator did not verify the person (flag UV): set a PIN or biometrics on it")]
    UserNotVerified,
    /// BS without BE, or BE differs from the registration.
    #[error("the passkey contradicts itself on whether its key can be copied (flags BE and BS)")]
    BackupState,
    /// A key that cannot be used.
    #[error("the passkey's public key is not a usable key for ES256, EdDSA (Ed25519) or RS256")]
    Key,
    /// The response is of another credential.
    #[error("the response is of another credential than expected")]
    OtherCredential,
    /// Attestation `none` with a statement, or `packed` with a wrong one.
    #[error("the attestation statement does not fit the credential")]
    AttestationStatement,
    /// Not made with this credential's key over this.
    #[error("the signature does not fit the passkey and what was asked for")]
    Signature,
}

/// Verifies a registration (WebAuthn Level 3 section 7.1). `challenge` is the hash of the enrolment. The id may be known
/// already for another credential: that is for the caller to check.
pub fn verify_registration(
    party: &RelyingParty,
    challenge: &[u8; 32],
    response: &RegistrationResponse,
) -> Result<PasskeyCredential, WebauthnError> {
    registration(party, challenge, response, UserVerification::Required)
}

/// Verifies an assertion (WebAuthn Level 3 section 7.2). `challenge` is the hash of what the person wants. `known_counter` is
/// the highest counter seen of this credential; a regression is reported, what to do about it is for the caller to say.
pub fn verify_assertion(
    party: &RelyingParty,
    challenge: &[u8; 32],
    credential: &PasskeyCredential,
    known_counter: u32,
    response: &AssertionResponse,
) -> Result<AssertionFacts, WebauthnError> {
    assertion(
        party,
        challenge,
        credential,
        known_counter,
        response,
        UserVerification::Required,
    )
}

/// The test vectors of the specification leave the flag UV to chance, so the tests have to go without it. Their challenges
/// have other lengths, too; ours are hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserVerification {
    Required,
    #[cfg(test)]
    Ignored,
}

fn registration(
    party: &RelyingParty,
    challenge: &[u8],
    response: &RegistrationResponse,
    user_verification: UserVerification,
) -> Result<PasskeyCredential, WebauthnError> {
    check_credential_id(&response.id)?;
    let client_data_json = bounded("clientDataJSON", &response.response.client_data_json)?;
    let object = bounded("attestationObject", &response.response.attestation_object)?;
    client_data::check(party, Ceremony::Registration, challenge, client_data_json)?;

    let object = AttestationObject::parse(object)?;
    let data = AuthenticatorData::parse(object.authenticator_data)?;
    data.check(party, user_verification)?;
    let attested = data
        .attested
        .as_ref()
        .ok_or(WebauthnError::AuthenticatorData)?;
    if attested.credential_id != response.id.0 {
        return Err(WebauthnError::OtherCredential);
    }
    let key = CoseKey::parse(attested.public_key)?;
    let attestation = object.check_statement(&key, client_data_json)?;
    Ok(PasskeyCredential {
        id: response.id.clone(),
        public_key: Base64Url(attested.public_key.to_vec()),
        algorithm: key.algorithm(),
        counter: data.counter,
        aaguid: attested.aaguid,
        backup_eligible: data.is_backup_eligible(),
        backed_up: data.is_backed_up(),
        attestation,
    })
}

fn assertion(
    party: &RelyingParty,
    challenge: &[u8],
    credential: &PasskeyCredential,
    known_counter: u32,
    response: &AssertionResponse,
    user_verification: UserVerification,
) -> Result<AssertionFacts, WebauthnError> {
    check_credential_id(&response.id)?;
    if response.id != credential.id {
        return Err(WebauthnError::OtherCredential);
    }
    let client_data_json = bounded("clientDataJSON", &response.response.client_data_json)?;
    let octets = bounded("authenticatorData", &response.response.authenticator_data)?;
    let signature = bounded("signature", &response.response.signature)?;
    client_data::check(party, Ceremony::Assertion, challenge, client_data_json)?;

    let data = AuthenticatorData::parse(octets)?;
    data.check(party, user_verification)?;
    if data.is_backup_eligible() != credential.backup_eligible {
        return Err(WebauthnError::BackupState);
    }
    let key = CoseKey::parse(&credential.public_key.0)?;
    key.verify(&signed_message(octets, client_data_json), signature)?;
    Ok(AssertionFacts {
        user_verified: data.is_user_verified(),
        new_counter: data.counter,
        counter: CounterChange::between(known_counter, data.counter),
        backed_up: data.is_backed_up(),
    })
}

impl CounterChange {
    fn between(before: u32, now: u32) -> Self {
        match (before, now) {
            (0, 0) => Self::NotUsed,
            (before, now) if now > before => Self::Advanced,
            _ => Self::Regressed,
        }
    }
}

/// WebAuthn Level 3 section 6.5.4.
struct AttestationObject<'a> {
    format: &'a str,
    statement: &'a [u8],
    authenticator_data: &'a [u8],
}

impl<'a> AttestationObject<'a> {
    fn parse(octets: &'a [u8]) -> Result<Self, WebauthnError> {
        Self::members(octets).ok_or(WebauthnError::AttestationObject)
    }

    fn members(octets: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let (mut format, mut statement, mut authenticator_data) = (None, None, None);
        for _ in 0..reader.map()? {
            let repeated = match reader.text()? {
                "fmt" => format.replace(reader.text()?).is_some(),
                "attStmt" => statement.replace(reader.item()?).is_some(),
                "authData" => authenticator_data.replace(reader.octets()?).is_some(),
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        reader.is_at_end().then_some(Self {
            format: format?,
            statement: statement?,
            authenticator_data: authenticator_data?,
        })
    }

    /// Sections 8.2 (`packed`, by the credential itself) and 8.7 (`none`). Others are not looked at: no maker is trusted.
    fn check_statement(
        &self,
        key: &CoseKey,
        client_data_json: &[u8],
    ) -> Result<Attestation, WebauthnError> {
        let refused = WebauthnError::AttestationStatement;
        match self.format {
            "none" if self.statement == [0xA0] => Ok(Attestation::None),
            "none" => Err(refused),
            "packed" => {
                let statement = PackedStatement::parse(self.statement).ok_or(refused.clone())?;
                if statement.has_certificates {
                    return Ok(Attestation::NotVerified);
                }
                let message = signed_message(self.authenticator_data, client_data_json);
                if statement.algorithm != key.algorithm().cose()
                    || key.verify(&message, statement.signature).is_err()
                {
                    return Err(refused);
                }
                Ok(Attestation::SelfSigned)
            }
            _ => Ok(Attestation::NotVerified),
        }
    }
}

struct PackedStatement<'a> {
    algorithm: i64,
    signature: &'a [u8],
    has_certificates: bool,
}

impl<'a> PackedStatement<'a> {
    fn parse(octets: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let (mut algorithm, mut signature, mut certificates) = (None, None, None);
        for _ in 0..reader.map()? {
            let repeated = match reader.text()? {
                "alg" => algorithm.replace(reader.integer()?).is_some(),
                "sig" => signature.replace(reader.octets()?).is_some(),
                "x5c" => certificates.replace(reader.item()?).is_some(),
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        reader.is_at_end().then_some(Self {
            algorithm: algorithm?,
            signature: signature?,
            has_certificates: certificates.is_some(),
        })
    }
}

/// What an authenticator signs: its data and the hash of the client's (section 6.3.3).
fn signed_message(authenticator_data: &[u8], client_data_json: &[u8]) -> Vec<u8> {
    let hash = Digest::of(&[client_data_json]);
    [authenticator_data, hash.as_bytes()].concat()
}

fn bounded<'a>(member: &'static str, octets: &'a Base64Url) -> Result<&'a [u8], WebauthnError> {
    if octets.0.len() > MEMBER_MAX {
        return Err(WebauthnError::TooLong { member });
    }
    Ok(&octets.0)
}

fn check_credential_id(id: &Base64Url) -> Result<(), WebauthnError> {
    if !(1..=CREDENTIAL_ID_OCTETS_MAX).contains(&id.0.len()) {
        return Err(WebauthnError::CredentialId);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
