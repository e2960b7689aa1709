//! Verifies what passkeys say (WebAuthn Level 3 sections 7.1 and 7.2), by `webauthn-rs-core`.
//!
//! The challenge is ours: the hash of what the person wants, so an assertion proves one wish and no other. Always required
//! are user presence and user verification, our relying party id, one of our origins, and a page that is not embedded in
//! another site's. Statements of makers about their authenticators are neither asked for nor trusted.
//!
//! The library draws challenges itself and hands out the state that goes with them, to be stored by its user. Here that state
//! is stored with our challenge in place of the drawn one (`with_challenge`). What it does not check, this module does: the
//! size of what comes in, that no member of the client data stands twice, that an assertion was not made in a frame, and
//! that a registration is of the credential that it names.

use std::time::Duration;

use intent::passkey::{
    Aaguid, AssertionResponse, Attestation, Base64Url, CREDENTIAL_ID_OCTETS_MAX, Ceremony,
    MEMBER_MAX, PasskeyAlgorithm, PasskeyCredential, RegistrationResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_cbor_2::Value as Cbor;
use serde_json::{Value, json};
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError as LibraryError;
use webauthn_rs_core::proto::{
    AttestationFormat, AuthenticationState, COSEAlgorithm, COSEKey, COSEKeyType, Credential,
    ParsedAttestation, ParsedAttestationData, RegisteredExtensions, RegistrationState,
    UserVerificationPolicy,
};

use crate::event::RelyingParty;

/// Algorithms that a passkey may have.
const ALGORITHMS: [COSEAlgorithm; 2] = [COSEAlgorithm::ES256, COSEAlgorithm::RS256];
/// Octets of client data.
const CLIENT_DATA_MAX: usize = 4096;

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
    #[error("{member} is too long")]
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
        "the passkey was used on a page that is none of this installation's: use its own address, or add the origin to the configuration"
    )]
    Origin,
    /// Made in a frame inside another site.
    #[error("the passkey was used in a page embedded in another site: open the console by itself")]
    CrossOrigin,
    /// Not an attestation object or authenticator data.
    #[error("what the authenticator made is malformed")]
    Malformed,
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
    #[error("the passkey's public key is not a usable key for ES256 or RS256")]
    Key,
    /// The response is of another credential.
    #[error("the response is of another credential than expected")]
    OtherCredential,
    /// The attestation statement is wrong.
    #[error("the attestation statement does not fit the credential")]
    AttestationStatement,
    /// Not made with this credential's key over this.
    #[error("the signature does not fit the passkey and what was asked for")]
    Signature,
    /// The configuration of the relying party cannot be used.
    #[error("an origin of the relying party is no URL")]
    Configuration,
}

/// Verifies a registration (WebAuthn Level 3 section 7.1). `challenge` is the hash of the enrolment. The id may be known
/// already for another credential: that is for the caller to check.
pub fn verify_registration(
    party: &RelyingParty,
    challenge: &[u8; 32],
    response: &RegistrationResponse,
) -> Result<PasskeyCredential, WebauthnError> {
    registration(party, challenge, response, UserVerificationPolicy::Required)
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
    let policy = UserVerificationPolicy::Required;
    assertion(
        party,
        challenge,
        credential,
        known_counter,
        response,
        policy,
    )
}

/// The test vectors of the specification leave the flag UV to chance, so the tests have to go without it; their challenges
/// have other lengths, too.
fn registration(
    party: &RelyingParty,
    challenge: &[u8],
    response: &RegistrationResponse,
    policy: UserVerificationPolicy,
) -> Result<PasskeyCredential, WebauthnError> {
    check_credential_id(&response.id)?;
    check_client_data(&response.response.client_data_json.0)?;
    let object = &response.response.attestation_object.0;
    check_length("attestationObject", object, MEMBER_MAX)?;
    let core = library(party)?;
    let builder = core
        .new_challenge_register_builder(&[0], "person", "person")
        .map_err(|error| refusal(&error, party, Ceremony::Registration))?
        .user_verification_policy(policy)
        .credential_algorithms(ALGORITHMS.to_vec());
    let (_, drawn) = core
        .generate_challenge_register(builder)
        .map_err(|error| refusal(&error, party, Ceremony::Registration))?;
    let state: RegistrationState = with_challenge(&drawn, challenge)?;
    let response_json = from_json(json!({
        "id": response.id,
        "rawId": response.id,
        "type": "public-key",
        "response": {
            "clientDataJSON": response.response.client_data_json,
            "attestationObject": response.response.attestation_object,
        },
    }))?;
    let credential = core
        .register_credential(&response_json, &state, None)
        .map_err(|error| refusal(&error, party, Ceremony::Registration))?;
    if credential.cred_id != response.id.0 {
        return Err(WebauthnError::OtherCredential);
    }
    let (algorithm, public_key) = to_cose(&credential.cred)?;
    Ok(PasskeyCredential {
        id: response.id.clone(),
        public_key: Base64Url(public_key),
        algorithm,
        counter: credential.counter,
        aaguid: aaguid(object).ok_or(WebauthnError::Malformed)?,
        backup_eligible: credential.backup_eligible,
        backed_up: credential.backup_state,
        attestation: match credential.attestation.data {
            ParsedAttestationData::None => Attestation::None,
            ParsedAttestationData::Self_ => Attestation::SelfSigned,
            _ => Attestation::NotVerified,
        },
    })
}

fn assertion(
    party: &RelyingParty,
    challenge: &[u8],
    credential: &PasskeyCredential,
    known_counter: u32,
    response: &AssertionResponse,
    policy: UserVerificationPolicy,
) -> Result<AssertionFacts, WebauthnError> {
    check_credential_id(&response.id)?;
    if response.id != credential.id {
        return Err(WebauthnError::OtherCredential);
    }
    check_client_data(&response.response.client_data_json.0)?;
    let members = &response.response;
    check_length(
        "authenticatorData",
        &members.authenticator_data.0,
        MEMBER_MAX,
    )?;
    check_length("signature", &members.signature.0, MEMBER_MAX)?;
    let known = Credential {
        cred_id: credential.id.0.clone(),
        cred: of_cose(&credential.public_key.0)?,
        // Counters are compared below, where a regression does not hide what else is wrong.
        counter: 0,
        transports: None,
        user_verified: policy == UserVerificationPolicy::Required,
        backup_eligible: credential.backup_eligible,
        backup_state: credential.backed_up,
        registration_policy: policy,
        extensions: RegisteredExtensions::none(),
        attestation: ParsedAttestation::default(),
        attestation_format: AttestationFormat::None,
    };
    let core = library(party)?;
    let refused = |error| refusal(&error, party, Ceremony::Assertion);
    let builder = core
        .new_challenge_authenticate_builder(vec![known.clone()], Some(policy))
        .map_err(refused)?;
    let (_, drawn) = core
        .generate_challenge_authenticate(builder)
        .map_err(refused)?;
    let state: AuthenticationState = with_challenge(&drawn, challenge)?;
    let response_json = from_json(json!({
        "id": response.id,
        "rawId": response.id,
        "type": "public-key",
        "response": {
            "clientDataJSON": members.client_data_json,
            "authenticatorData": members.authenticator_data,
            "signature": members.signature,
        },
    }))?;
    let verified = core
        .authenticate_single_credential(&response_json, &state, &known)
        .map_err(refused)?;
    Ok(AssertionFacts {
        user_verified: verified.user_verified(),
        new_counter: verified.counter(),
        counter: CounterChange::between(known_counter, verified.counter()),
        backed_up: verified.backup_state(),
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

fn library(party: &RelyingParty) -> Result<WebauthnCore, WebauthnError> {
    let origins: Result<Vec<url::Url>, _> = party
        .origins
        .iter()
        .map(|origin| url::Url::parse(origin))
        .collect();
    Ok(WebauthnCore::new_unsafe_experts_only(
        "Palisade",
        &party.id,
        origins.map_err(|_| WebauthnError::Configuration)?,
        Duration::from_secs(60),
        Some(false),
        Some(false),
    ))
}

/// The state that the library handed out, as it would be stored and read again, for another challenge.
fn with_challenge<T: Serialize + DeserializeOwned>(
    drawn: &T,
    challenge: &[u8],
) -> Result<T, WebauthnError> {
    let mut state = serde_json::to_value(drawn).map_err(|_| WebauthnError::Malformed)?;
    let place = state.get_mut("challenge").ok_or(WebauthnError::Malformed)?;
    *place = serde_json::to_value(Base64Url(challenge.to_vec()))
        .map_err(|_| WebauthnError::Malformed)?;
    from_json(state)
}

fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, WebauthnError> {
    serde_json::from_value(value).map_err(|_| WebauthnError::Malformed)
}

/// Each member once, and not made in a frame of another site.
fn check_client_data(octets: &[u8]) -> Result<(), WebauthnError> {
    check_length("clientDataJSON", octets, CLIENT_DATA_MAX)?;
    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "what matters is that each stands at most once")]
    struct Members {
        #[serde(rename = "type")]
        kind: String,
        challenge: String,
        origin: String,
        #[serde(default, rename = "crossOrigin")]
        cross_origin: bool,
        #[serde(default, rename = "topOrigin")]
        top_origin: Option<String>,
    }
    let members: Members = serde_json::from_slice(octets).map_err(|_| WebauthnError::ClientData)?;
    match members.cross_origin || members.top_origin.is_some() {
        true => Err(WebauthnError::CrossOrigin),
        false => Ok(()),
    }
}

fn check_length(member: &'static str, octets: &[u8], max: usize) -> Result<(), WebauthnError> {
    match octets.len() > max {
        true => Err(WebauthnError::TooLong { member }),
        false => Ok(()),
    }
}

fn check_credential_id(id: &Base64Url) -> Result<(), WebauthnError> {
    match (1..=CREDENTIAL_ID_OCTETS_MAX).contains(&id.0.len()) {
        true => Ok(()),
        false => Err(WebauthnError::CredentialId),
    }
}

/// The model, from the attested credential data (sections 6.1 and 6.5.1). It comes behind the hash of the relying party's id,
/// the flags and the counter.
fn aaguid(attestation_object: &[u8]) -> Option<Aaguid> {
    let Ok(Cbor::Map(members)) = serde_cbor_2::from_slice(attestation_object) else {
        return None;
    };
    let Some(Cbor::Bytes(data)) = members.get(&Cbor::Text("authData".to_owned())) else {
        return None;
    };
    data.get(37..53)?.try_into().ok().map(Aaguid)
}

/// Parameters of COSE_Key (RFC 9052 section 7, RFC 9053 section 7.1.1, RFC 8230 section 4).
fn to_cose(key: &COSEKey) -> Result<(PasskeyAlgorithm, Vec<u8>), WebauthnError> {
    let (algorithm, parameters) = match (&key.type_, &key.key) {
        (COSEAlgorithm::ES256, COSEKeyType::EC_EC2(point)) => (
            PasskeyAlgorithm::Es256,
            vec![
                (1, Cbor::Integer(2)),
                (-1, Cbor::Integer(1)),
                (-2, Cbor::Bytes(point.x.clone())),
                (-3, Cbor::Bytes(point.y.clone())),
            ],
        ),
        (COSEAlgorithm::RS256, COSEKeyType::RSA(key)) => (
            PasskeyAlgorithm::Rs256,
            vec![
                (1, Cbor::Integer(3)),
                (-1, Cbor::Bytes(key.n.clone())),
                (-2, Cbor::Bytes(key.e.to_vec())),
            ],
        ),
        _ => return Err(WebauthnError::Key),
    };
    let algorithm_id = (3, Cbor::Integer(algorithm.cose().into()));
    let map = parameters
        .into_iter()
        .chain([algorithm_id])
        .map(|(label, value)| (Cbor::Integer(label), value))
        .collect();
    let octets = serde_cbor_2::to_vec(&Cbor::Map(map)).map_err(|_| WebauthnError::Key)?;
    Ok((algorithm, octets))
}

fn of_cose(octets: &[u8]) -> Result<COSEKey, WebauthnError> {
    let value: Cbor = serde_cbor_2::from_slice(octets).map_err(|_| WebauthnError::Key)?;
    COSEKey::try_from(&value).map_err(|_| WebauthnError::Key)
}

fn refusal(error: &LibraryError, party: &RelyingParty, ceremony: Ceremony) -> WebauthnError {
    use LibraryError as E;
    match error {
        E::InvalidClientDataType => WebauthnError::Ceremony {
            expected: ceremony.client_data_type(),
        },
        E::MismatchedChallenge => WebauthnError::Challenge,
        E::InvalidRPOrigin => WebauthnError::Origin,
        E::InvalidRPIDHash => WebauthnError::RelyingParty {
            expected: party.id.clone(),
        },
        E::UserNotPresent => WebauthnError::UserNotPresent,
        E::UserNotVerified => WebauthnError::UserNotVerified,
        E::CredentialCrossOrigin => WebauthnError::CrossOrigin,
        E::CredentialBackupEligibilityInconsistent
        | E::CredentialMayNotBeHardwareBound
        | E::SshPublicKeyBackupState => WebauthnError::BackupState,
        E::CredentialNotFound => WebauthnError::OtherCredential,
        E::ParseJSONFailure(_) => WebauthnError::ClientData,
        E::COSEKeyInvalidCBORValue
        | E::COSEKeyInvalidType
        | E::COSEKeyEDUnsupported
        | E::COSEKeyECDSAXYInvalid
        | E::COSEKeyRSANEInvalid
        | E::COSEKeyECDSAInvalidCurve
        | E::COSEKeyEDDSAXInvalid
        | E::COSEKeyEDDSAInvalidCurve
        | E::COSEKeyInvalidAlgorithm
        | E::EcdsaPointInvalid
        | E::SshPublicKeyEDUnsupported
        | E::CredentialInsecureCryptography
        | E::CredentialAlteredAlgFromRequest => WebauthnError::Key,
        E::AuthenticationFailure => WebauthnError::Signature,
        E::AttestationStatementSigInvalid
        | E::AttestationStatementSigMissing
        | E::AttestationStatementMapInvalid
        | E::AttestationStatementAlgMismatch
        | E::AttestationStatementResponseInvalid
        | E::AttestationStatementX5CInvalid
        | E::AttestationNotVerifiable => WebauthnError::AttestationStatement,
        _ => WebauthnError::Malformed,
    }
}

#[cfg(test)]
mod tests;
