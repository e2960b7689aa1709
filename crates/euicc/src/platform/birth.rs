//! From a personalisation or from a memory to a running eUICC.

use pki::{AnchorError, CertificateError, ChainError, ChainPolicy, KeyError, Signer, TrustAnchors};
use rsp::der::{Null, Octets};
use rsp::sgp22::{Certificate, EuiccInfo2};

use super::host::{ISDP_NUMBER_MIN, isdp_aid};
use super::{Failure, Platform};
use crate::nvm::{CommitLog, Nvm, NvmError};
use crate::personalisation::{CardIdentity, Options, Personalisation, PreloadedProfile};
use crate::state::{LAYOUT_VERSION, Profile, SecretOctets, State, StateError, StoredIdentity};

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The memory holds no state: personalise it first.
    #[error("card memory is empty: personalise the card first")]
    NotPersonalised,
    /// The memory already holds a card.
    #[error("card memory already holds a card")]
    AlreadyPersonalised,
    /// The memory failed.
    #[error("card memory cannot be used")]
    Memory(#[source] NvmError),
    /// The memory holds something else, or the state of a later version.
    #[error("card memory holds no usable state")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A card needs at least one key.
    #[error("an eUICC needs at least one identity")]
    NoIdentity,
    /// A certificate is not for this eUICC.
    #[error("eUICC certificate is for {found:?}, not for EID {expected}")]
    OtherEid {
        /// serialNumber of its subject.
        found: Option<String>,
        /// The EID of the card.
        expected: String,
    },
    /// A key does not belong to its certificate.
    #[error("private key does not belong to the eUICC certificate")]
    OtherKey,
    /// The sub-CAs are not those between the eUICC's certificate and the CI.
    #[error("eUICC certificate does not lead to its CI through the sub-CAs given")]
    Chain(#[source] ChainError),
    /// A certificate does not fit into a message.
    #[error("certificate cannot be carried in a message")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A key cannot be stored.
    #[error("private key cannot be stored")]
    Key(#[source] KeyError),
    /// A stored key cannot be used.
    #[error("stored private key cannot be used")]
    StoredKey(#[source] KeyError),
    /// A CI certificate cannot be read.
    #[error("CI certificate cannot be read")]
    CiCertificate(#[source] CertificateError),
    /// A CI is not acceptable.
    #[error("CI certificate cannot be trusted")]
    Ci(#[source] AnchorError),
    /// Pre-loaded Profiles contradict each other.
    #[error("pre-loaded profiles: {0}")]
    Profiles(&'static str),
    /// The memory failed, and could not be read again at a reset: power the card on anew.
    #[error("card is dead: power it on from its memory")]
    Dead,
    /// A result of an interrupted package could not be signed.
    #[error("interrupted package could not be closed")]
    Interrupted,
}

impl From<StateError> for CardError {
    fn from(error: StateError) -> Self {
        Self::State(Box::new(error))
    }
}

impl Platform {
    /// Takes up the state in a memory, and ends what power had ended.
    pub(crate) fn power_on(nvm: Box<dyn Nvm>) -> Result<Self, CardError> {
        let (log, payload) = CommitLog::open(nvm).map_err(CardError::Memory)?;
        let payload = payload.ok_or(CardError::NotPersonalised)?;
        let mut platform = Self::new(log, State::decode(&payload)?)?;
        match crate::package::close_interrupted(&mut platform) {
            Ok(()) => Ok(platform),
            Err(Failure::Memory) => Err(platform
                .fault
                .map_or(CardError::Interrupted, CardError::Memory)),
            Err(Failure::Status(_)) => Err(CardError::Interrupted),
        }
    }

    /// Writes the first state into an empty memory.
    pub(crate) fn personalise(
        personalisation: Personalisation,
        nvm: Box<dyn Nvm>,
    ) -> Result<Self, CardError> {
        let (log, existing) = CommitLog::open(nvm).map_err(CardError::Memory)?;
        if existing.is_some() {
            return Err(CardError::AlreadyPersonalised);
        }
        let state = first_state(personalisation)?;
        let mut platform = Self::new(log, state)?;
        // What is there is not yet stored.
        platform.committed.layout_version = 0;
        match platform.commit() {
            Ok(()) => Ok(platform),
            Err(_) => Err(platform
                .fault
                .map_or(CardError::NotPersonalised, CardError::Memory)),
        }
    }
}

fn first_state(personalisation: Personalisation) -> Result<State, CardError> {
    if personalisation.identities.is_empty() {
        return Err(CardError::NoIdentity);
    }
    let digits = personalisation.eid.to_string();
    let identities = personalisation
        .identities
        .iter()
        .map(|identity| stored_identity(identity, &digits))
        .collect::<Result<Vec<_>, _>>()?;
    let mut ci_certificates: Vec<Certificate> = Vec::new();
    let cis = personalisation
        .identities
        .iter()
        .map(|identity| &identity.ci_certificate);
    for ci in cis.chain(&personalisation.further_cis) {
        let carried = carried(ci)?;
        if !ci_certificates.contains(&carried) {
            ci_certificates.push(carried);
        }
    }
    let options = personalisation.options;
    let next_isdp_number =
        ISDP_NUMBER_MIN + i64::try_from(personalisation.profiles.len()).unwrap_or(i64::MAX - 1);
    Ok(State {
        layout_version: LAYOUT_VERSION,
        eid: personalisation.eid.to_field(),
        identities,
        ci_certificates,
        info2_template: template(personalisation.info2, &options),
        options: options.to_stored(),
        profiles: first_profiles(personalisation.profiles)?,
        eims: Vec::new(),
        token_counter: 0,
        sequence_number: 0,
        pending: Vec::new(),
        default_smdp_address: personalisation.default_smdp_address,
        root_smds_address: personalisation.root_smds_address,
        rat: personalisation.rat,
        immediate_enable: None,
        rollback: None,
        displaced_by_fallback: None,
        emergency: None,
        retained_key: None,
        executing: None,
        next_isdp_number,
        extensions: Default::default(),
    })
}

fn stored_identity(identity: &CardIdentity, digits: &str) -> Result<StoredIdentity, CardError> {
    let found = identity.euicc_certificate.subject_serial_number();
    if found != Some(digits) {
        return Err(CardError::OtherEid {
            found: found.map(str::to_owned),
            expected: digits.to_owned(),
        });
    }
    let certified = identity
        .euicc_certificate
        .public_key()
        .map_err(CardError::Key)?;
    if certified != identity.key.public_key() {
        return Err(CardError::OtherKey);
    }
    check_chain(identity)?;
    let ci_key_id = identity
        .ci_certificate
        .subject_key_identifier()
        .ok_or(CardError::Ci(AnchorError::NoSubjectKeyIdentifier))?;
    let private_key = identity.key.to_pkcs8_der().map_err(CardError::Key)?;
    Ok(StoredIdentity {
        ci_key_id: Octets::from(ci_key_id),
        private_key: SecretOctets::new(private_key.as_bytes()),
        euicc_certificate: carried(&identity.euicc_certificate)?,
        eum_certificate: carried(&identity.eum_certificate)?,
        sub_cas: match identity.sub_cas.is_empty() {
            true => None,
            false => Some(
                identity
                    .sub_cas
                    .iter()
                    .map(carried)
                    .collect::<Result<_, _>>()?,
            ),
        },
        extensions: Default::default(),
    })
}

/// With sub-CAs a chain that somebody put together wrongly would be found out by the first server only.
fn check_chain(identity: &CardIdentity) -> Result<(), CardError> {
    if identity.sub_cas.is_empty() {
        return Ok(());
    }
    let mut anchors = TrustAnchors::new();
    anchors
        .add_ci(identity.ci_certificate.clone())
        .map_err(CardError::Ci)?;
    let lenient = ChainPolicy {
        insecure_ignore_eum_name_constraints: true,
    };
    anchors
        .verify_euicc_chain_through(
            &identity.euicc_certificate,
            &identity.eum_certificate,
            &identity.sub_cas,
            None,
            lenient,
        )
        .map(|_| ())
        .map_err(CardError::Chain)
}

fn carried(certificate: &pki::Certificate) -> Result<Certificate, CardError> {
    Certificate::from_der_bytes(certificate.der().to_vec())
        .map_err(|error| CardError::Certificate(error.to_string().into()))
}

/// What the card fills in itself is not stored, and what the options say is said.
fn template(mut info2: EuiccInfo2, options: &Options) -> EuiccInfo2 {
    if let Some(iot) = &mut info2.iot_specific_info {
        iot.ecall_supported = options.ecall_supported.then_some(Null);
        iot.fallback_supported = options.fallback_supported.then_some(Null);
    }
    EuiccInfo2 {
        ext_card_resource: Octets::default(),
        euicc_ci_pk_id_list_for_verification: Vec::new(),
        euicc_ci_pk_id_list_for_signing: Vec::new(),
        ..info2
    }
}

fn first_profiles(preloaded: Vec<PreloadedProfile>) -> Result<Vec<Profile>, CardError> {
    if preloaded
        .iter()
        .filter(|profile| profile.is_enabled)
        .count()
        > 1
    {
        return Err(CardError::Profiles("more than one is enabled"));
    }
    if preloaded
        .iter()
        .filter(|profile| profile.is_fallback)
        .count()
        > 1
    {
        return Err(CardError::Profiles("more than one is the fallback profile"));
    }
    if preloaded.len() > crate::limits::PROFILES_MAX {
        return Err(CardError::Profiles("too many"));
    }
    let mut profiles: Vec<Profile> = Vec::new();
    for (number, profile) in (ISDP_NUMBER_MIN..).zip(preloaded) {
        if profiles
            .iter()
            .any(|other| *other.iccid() == profile.metadata.iccid)
        {
            return Err(CardError::Profiles("an ICCID stands twice"));
        }
        profiles.push(Profile {
            aid: isdp_aid(number).ok_or(CardError::Profiles("too many"))?,
            metadata: profile.metadata,
            enabled: profile.is_enabled,
            fallback_attribute: profile.is_fallback,
            pre_loaded: true,
            nickname: None,
            connectivity_parameters: profile.connectivity_parameters.map(Octets),
            size_octets: profile.size_octets.into(),
            dp_proprietary_data: None,
            smdp_oid: None,
            ci_key_id: None,
            extensions: Default::default(),
        });
    }
    Ok(profiles)
}
