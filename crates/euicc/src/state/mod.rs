//! All that the eUICC must still know after a power cut, and its encoding.
//!
//! The state is one DER object that is always written whole ([`crate::nvm`]), so that a command either happened with
//! everything that belongs to it (Profile, notification, result, counter) or did not happen.

mod pending;
mod profile;
mod secret;

pub(crate) use pending::{KeptNotification, KeptResult, Pending};
pub(crate) use profile::Profile;
pub(crate) use secret::SecretOctets;

use rsp::der::{Element, Error, Limits, Octets, Oid};
use rsp::ids::{EidOctets, Iccid, TransactionId};
use rsp::sequence;
use rsp::sgp22::{
    Certificate, CertificateChain, EuiccInfo2, KeyIdentifier, OctetTo16,
    ProfilePolicyAuthorisationRule,
};
use rsp::sgp32::{ConfigureImmediateEnable, EimConfigurationData, EimId};
use zeroize::Zeroizing;

/// Layout of [`State`]. Raise it when an old state needs more than its missing members' defaults, and convert in
/// [`State::decode`].
pub(crate) const LAYOUT_VERSION: i64 = 1;

sequence! {
    /// The whole of what lasts.
    pub(crate) struct State @ 0x30 {
        req layout_version @ 0x80: i64,
        req eid @ 0x5A: EidOctets,
        /// In the order of `euiccCiPKIdListForSigning`.
        req identities @ 0xA1: Vec<StoredIdentity>,
        /// CIs that servers are verified under.
        req ci_certificates @ 0xA2: Vec<Certificate>,
        /// What does not change; the lists of CIs and the free memory are filled in when asked.
        elem info2_template: EuiccInfo2,
        req options @ 0xA3: StoredOptions,
        req profiles @ 0xA4: Vec<Profile>,
        req eims @ 0xA5: Vec<AssociatedEim>,
        /// The last association token given out; survives the deletion of every eIM.
        req token_counter @ 0x86: i64,
        /// The last number given to a notification or a result.
        req sequence_number @ 0x87: i64,
        req pending @ 0xA8: Vec<Pending>,
        opt default_smdp_address @ 0x89: String,
        req root_smds_address @ 0x8A: String,
        /// The number in the next ISD-P AID.
        req next_isdp_number @ 0x91: i64,
        req rat @ 0xAB: Vec<ProfilePolicyAuthorisationRule>,
        opt immediate_enable @ 0xAC: ConfigureImmediateEnable,
        opt rollback @ 0xAD: RollbackGrant,
        /// The Profile that the Fallback Profile displaced, while the fallback lasts.
        opt displaced_by_fallback @ 0x8E: Iccid,
        /// Present while the Emergency Profile is enabled.
        opt emergency @ 0xAF: Emergency,
        opt retained_key @ 0xB0: StoredRetainedKey,
        /// The package that is being executed: its counter is used up, its result is not there yet.
        opt executing @ 0xB2: Executing,
    }
}

sequence! {
    /// SK.EUICC under one CI, with its certificates.
    pub(crate) struct StoredIdentity @ 0x30 {
        req ci_key_id @ 0x80: Octets,
        /// PKCS#8.
        req private_key @ 0x81: SecretOctets,
        req euicc_certificate @ 0xA2: Certificate,
        req eum_certificate @ 0xA3: Certificate,
        /// Sub-CAs of the EUM and the CI.
        opt sub_cas @ 0xA4: CertificateChain,
    }
}

sequence! {
    /// [`crate::Options`] as stored.
    pub(crate) struct StoredOptions @ 0x30 {
        req profile_memory_octets @ 0x80: i64,
        req eims_max @ 0x81: i64,
        req package_octets_max @ 0x82: i64,
        req result_octets_max @ 0x83: i64,
        req fallback_supported @ 0x84: bool,
        req ecall_supported @ 0x85: bool,
        req eim_reset_allowed @ 0x86: bool,
        req immediate_enable_reset_allowed @ 0x87: bool,
        req terminal_capability_required @ 0x88: bool,
    }
}

sequence! {
    /// An eIM whose packages are accepted.
    pub(crate) struct AssociatedEim @ 0x30 {
        /// As given, without counter value and association token, which are below.
        elem configuration: EimConfigurationData,
        /// The largest counter value accepted so far.
        req counter_value @ 0x81: i64,
        opt association_token @ 0x82: i64,
    }
}

sequence! {
    /// Permission for one ProfileRollback.
    pub(crate) struct RollbackGrant @ 0x30 {
        /// The Profile to return to.
        req previous @ 0x80: Iccid,
        req eim_id @ 0x82: EimId,
        req counter_value @ 0x83: i64,
        opt eim_transaction_id @ 0x84: TransactionId,
        /// The result that the result of the rollback replaces.
        req result_seq_number @ 0x85: i64,
        /// The fallback that the package ended, to be restored with the Profile.
        opt displaced_by_fallback @ 0x86: Iccid,
    }
}

sequence! {
    /// What the result of a package in execution needs.
    pub(crate) struct Executing @ 0x30 {
        req eim_id @ 0x80: EimId,
        req counter_value @ 0x81: i64,
        opt eim_transaction_id @ 0x82: TransactionId,
        /// As it was when the package was verified: the package may remove the eIM.
        opt association_token @ 0x83: i64,
        opt euicc_ci_pk_id @ 0x84: KeyIdentifier,
    }
}

sequence! {
    /// The Emergency Profile is enabled.
    pub(crate) struct Emergency @ 0x30 {
        req profile @ 0x80: Iccid,
        /// The Profile to return to; absent when none was enabled.
        opt displaced @ 0x81: Iccid,
    }
}

sequence! {
    /// A one-time key kept for a download that may be retried.
    pub(crate) struct StoredRetainedKey @ 0x30 {
        req smdp_oid @ 0x80: Oid,
        req key @ 0x81: SecretOctets,
    }
}

/// Why stored octets are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    /// A later version of this software wrote it.
    #[error("state has layout {found}, this version knows up to {LAYOUT_VERSION}")]
    LaterLayout { found: i64 },
    /// Not the encoding of a state.
    #[error("stored state cannot be decoded")]
    Malformed(#[source] Error),
}

impl State {
    /// The octets to store. They contain private keys.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.to_der())
    }

    /// Reads what [`State::encode`] of this or an earlier version wrote.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, StateError> {
        let state = Self::from_der_within(octets, &STATE_LIMITS).map_err(StateError::Malformed)?;
        if state.layout_version > LAYOUT_VERSION {
            return Err(StateError::LaterLayout {
                found: state.layout_version,
            });
        }
        Ok(state)
    }

    pub(crate) fn profile(&self, iccid: &Iccid) -> Option<&Profile> {
        self.profiles
            .iter()
            .find(|profile| profile.iccid() == iccid)
    }

    pub(crate) fn profile_mut(&mut self, iccid: &Iccid) -> Option<&mut Profile> {
        self.profiles
            .iter_mut()
            .find(|profile| profile.iccid() == iccid)
    }

    pub(crate) fn profile_by_aid(&self, aid: &OctetTo16) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.aid == *aid)
    }

    /// There is at most one.
    pub(crate) fn enabled_profile(&self) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.enabled)
    }

    pub(crate) fn enabled_iccid(&self) -> Option<Iccid> {
        self.enabled_profile().map(|profile| *profile.iccid())
    }

    /// There is at most one.
    pub(crate) fn fallback_profile(&self) -> Option<&Profile> {
        self.profiles
            .iter()
            .find(|profile| profile.fallback_attribute)
    }

    pub(crate) fn eim(&self, eim_id: &EimId) -> Option<&AssociatedEim> {
        self.eims
            .iter()
            .find(|eim| eim.configuration.eim_id == *eim_id)
    }

    pub(crate) fn eim_mut(&mut self, eim_id: &EimId) -> Option<&mut AssociatedEim> {
        self.eims
            .iter_mut()
            .find(|eim| eim.configuration.eim_id == *eim_id)
    }

    /// Octets of Profile memory that are left.
    pub(crate) fn free_octets(&self) -> i64 {
        let sizes = self.profiles.iter().map(|it| it.size_octets.max(0));
        let used = sizes.fold(0, i64::saturating_add);
        self.options
            .profile_memory_octets
            .saturating_sub(used)
            .max(0)
    }

    /// Takes the next number of notifications and results.
    pub(crate) fn take_sequence_number(&mut self) -> i64 {
        self.sequence_number = self.sequence_number.saturating_add(1);
        self.sequence_number
    }

    /// Takes the next association token.
    pub(crate) fn take_association_token(&mut self) -> i64 {
        self.token_counter = self.token_counter.saturating_add(1);
        self.token_counter
    }
}

/// Larger than what is accepted from outside: it holds many objects that were.
const STATE_LIMITS: Limits = Limits {
    message_octets_max: 16 << 20,
    depth_max: 32,
    list_members_max: 1 << 16,
    non_minimal_lengths: false,
};

#[cfg(test)]
mod tests {
    use pki::issue::{TestPki, TestPkiOptions};
    use pki::{Curve, UnixTime};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use rsp::der::Writer;

    use super::*;
    use crate::nvm::{CommitLog, MemoryNvm, stored_state};
    use crate::platform::Platform;
    use crate::{Card, CardError, CardIdentity, Personalisation};

    const EID: &str = "89049032123451234512345678901235";

    fn state() -> State {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let options = TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap());
        let pki = TestPki::new(&mut rng, Curve::P256, &options).unwrap();
        let euicc = pki.issue_euicc(&mut rng, EID).unwrap();
        let identity = CardIdentity {
            key: euicc.key,
            euicc_certificate: euicc.certificate,
            eum_certificate: pki.eum.certificate,
            sub_cas: Vec::new(),
            ci_certificate: pki.ci.certificate,
        };
        let personalisation = Personalisation::new(EID.parse().unwrap(), vec![identity]);
        Platform::personalise(personalisation, Box::new(MemoryNvm::new()))
            .unwrap()
            .state
    }

    fn power_on(octets: &[u8]) -> Result<MemoryNvm, CardError> {
        let nvm = MemoryNvm::new();
        let (mut log, _) = CommitLog::open(Box::new(nvm.clone())).unwrap();
        log.commit(octets).unwrap();
        Card::power_on(nvm.clone()).map(|_| nvm)
    }

    #[test]
    fn a_state_comes_back_as_it_was_stored() {
        let state = state();
        assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
        let mut nvm = power_on(&state.encode()).unwrap();
        assert_eq!(stored_state(&mut nvm).unwrap().unwrap(), state.encode());
    }

    #[test]
    fn the_state_of_a_later_version_is_refused_and_additions_are_kept() {
        let state = state();
        let later = State {
            layout_version: LAYOUT_VERSION + 1,
            ..state.clone()
        };
        assert_eq!(
            State::decode(&later.encode()),
            Err(StateError::LaterLayout { found: 2 })
        );
        assert!(matches!(
            power_on(&later.encode()),
            Err(CardError::State(_))
        ));

        let mut content = Writer::new();
        rsp::der::Value::encode_content(&state, &mut content);
        let mut content = content.into_bytes();
        content.extend([0xDF, 0x70, 0x01, 0x07]);
        let mut writer = Writer::new();
        writer.tlv(rsp::der::Tag::SEQUENCE, |writer| writer.raw(&content));
        let octets = writer.into_bytes();
        assert_eq!(*State::decode(&octets).unwrap().encode(), octets);
    }

    #[test]
    fn damaged_states_are_refused_without_a_panic() {
        let octets = state().encode();
        for length in (0..octets.len()).step_by(7) {
            assert!(matches!(
                State::decode(octets.get(..length).unwrap()),
                Err(StateError::Malformed(_))
            ));
        }
        assert!(matches!(
            power_on(b"something else"),
            Err(CardError::State(_))
        ));
    }

    #[test]
    fn sizes_beyond_all_memory_leave_none() {
        let mut state = state();
        assert_eq!(state.free_octets(), state.options.profile_memory_octets);
        let metadata = rsp::sgp22::StoreMetadataRequest {
            iccid: "8949012345678901234".parse().unwrap(),
            service_provider_name: String::new(),
            profile_name: String::new(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: None,
            profile_owner: None,
            profile_policy_rules: None,
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: None,
            extensions: Default::default(),
        };
        let huge = Profile {
            aid: OctetTo16::new(&[1; 16]).unwrap(),
            metadata,
            enabled: false,
            fallback_attribute: false,
            pre_loaded: false,
            nickname: None,
            connectivity_parameters: None,
            size_octets: i64::MAX,
            dp_proprietary_data: None,
            smdp_oid: None,
            ci_key_id: None,
            extensions: Default::default(),
        };
        state.profiles = vec![huge.clone(), huge];
        assert_eq!(state.free_octets(), 0);
    }

    #[test]
    fn keys_are_not_printed() {
        let state = state();
        let printed = format!("{state:?}");
        assert!(printed.contains("SecretOctets(..)"));
        let identity = state.identities.first().unwrap();
        let secret = identity.private_key.expose().get(40..60).unwrap();
        let as_list = format!("{secret:?}");
        assert!(!printed.contains(as_list.trim_matches(['[', ']'])));
        assert!(!printed.to_lowercase().contains(&hex::encode(secret)));
    }
}
