//! What a card is given at the factory.

use pki::{Certificate, PrivateKey};
use rsp::der::Octets;
use rsp::ids::Eid;
use rsp::saip::EuiccCapabilities;
use rsp::sgp22::{
    EuiccCategory, EuiccInfo2, IotSpecificInfo, IpaMode, ProfilePolicyAuthorisationRule,
    RspCapability, SasAcreditationNumber, StoreMetadataRequest, VersionType,
};

use crate::state::StoredOptions;

/// What a card is given at the factory. [`Personalisation::new`] fills in everything that a laboratory card needs.
#[derive(Debug, Clone)]
pub struct Personalisation {
    /// The EID; every identity's certificate must be for it.
    pub eid: Eid,
    /// The eUICC's keys, one for each CI, in the order of preference (`euiccCiPKIdListForSigning`).
    pub identities: Vec<CardIdentity>,
    /// CIs that servers are accepted under although the eUICC has no certificate under them.
    pub further_cis: Vec<Certificate>,
    /// EUICCInfo2. Its lists of CIs, `extCardResource` and what the options say are filled in by the card.
    pub info2: EuiccInfo2,
    /// Limits and optional functions.
    pub options: Options,
    /// Rules Authorisation Table. Empty: no Profile Policy Rule is allowed.
    pub rat: Vec<ProfilePolicyAuthorisationRule>,
    /// FQDN of the default SM-DP+.
    pub default_smdp_address: Option<String>,
    /// FQDN of the root SM-DS.
    pub root_smds_address: String,
    /// Profiles that are there from the beginning.
    pub profiles: Vec<PreloadedProfile>,
}

/// SK.EUICC under one CI.
#[derive(Debug, Clone)]
pub struct CardIdentity {
    /// SK.EUICC.ECDSA.
    pub key: PrivateKey,
    /// CERT.EUICC.
    pub euicc_certificate: Certificate,
    /// CERT.EUM.
    pub eum_certificate: Certificate,
    /// Sub-CAs of the EUM and of the CI, through which the chain goes (SGP.22 v3); none in the chains of SGP.22 v2.
    pub sub_cas: Vec<Certificate>,
    /// CERT.CI, which servers are verified under.
    pub ci_certificate: Certificate,
}

/// A Profile put in at the factory.
#[derive(Debug, Clone)]
pub struct PreloadedProfile {
    /// Its metadata. A Profile with `ecallIndication` is an Emergency Profile.
    pub metadata: StoreMetadataRequest,
    /// Octets of memory it takes.
    pub size_octets: u32,
    /// For GetConnectivityParameters: concatenated COMPREHENSION-TLVs.
    pub connectivity_parameters: Option<Vec<u8>>,
    /// At most one is enabled.
    pub is_enabled: bool,
    /// At most one is the Fallback Profile.
    pub is_fallback: bool,
}

/// Limits and optional functions of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Non-volatile memory for Profiles.
    pub profile_memory_octets: u32,
    /// eIMs that can be associated at a time.
    pub eims_max: u16,
    /// Largest eUICC Package; a larger one is answered with sizeOverflow.
    pub package_octets_max: u32,
    /// Largest eUICC Package Result; beyond it stands resultSizeOverflow.
    pub result_octets_max: u32,
    /// The fallback mechanism is supported.
    pub fallback_supported: bool,
    /// Emergency Profiles are supported.
    pub ecall_supported: bool,
    /// eUICCMemoryReset may remove the eIM Configuration Data. Whoever reaches the IPA can then take the eUICC.
    pub eim_reset_allowed: bool,
    /// eUICCMemoryReset may remove the configuration of immediate enabling.
    pub immediate_enable_reset_allowed: bool,
    /// The ISD-R can be selected only after TERMINAL CAPABILITY, as on some cards.
    pub terminal_capability_required: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile_memory_octets: 1 << 20,
            eims_max: 4,
            package_octets_max: 16 << 10,
            result_octets_max: 16 << 10,
            fallback_supported: true,
            ecall_supported: true,
            eim_reset_allowed: true,
            immediate_enable_reset_allowed: true,
            terminal_capability_required: false,
        }
    }
}

impl Options {
    pub(crate) fn to_stored(self) -> StoredOptions {
        StoredOptions {
            profile_memory_octets: self.profile_memory_octets.into(),
            eims_max: self.eims_max.into(),
            package_octets_max: self.package_octets_max.into(),
            result_octets_max: self.result_octets_max.into(),
            fallback_supported: self.fallback_supported,
            ecall_supported: self.ecall_supported,
            eim_reset_allowed: self.eim_reset_allowed,
            immediate_enable_reset_allowed: self.immediate_enable_reset_allowed,
            terminal_capability_required: self.terminal_capability_required,
            extensions: Default::default(),
        }
    }
}

impl Personalisation {
    /// A laboratory card without Profiles.
    pub fn new(eid: Eid, identities: Vec<CardIdentity>) -> Self {
        Self {
            eid,
            identities,
            further_cis: Vec::new(),
            info2: laboratory_info2(),
            options: Options::default(),
            rat: Vec::new(),
            default_smdp_address: None,
            root_smds_address: "smds.example.com".to_owned(),
            profiles: Vec::new(),
        }
    }
}

/// EUICCInfo2 of a card that supports what this crate does.
fn laboratory_info2() -> EuiccInfo2 {
    let services = EuiccCapabilities::telecom(0).services;
    EuiccInfo2 {
        profile_version: VersionType::new(3, 3, 1),
        svn: VersionType::new(2, 5, 0),
        euicc_firmware_ver: VersionType::new(1, 0, 0),
        ext_card_resource: Octets::default(),
        uicc_capability: services.to_uicc_capability(),
        ts102241_version: None,
        globalplatform_version: Some(VersionType::new(2, 3, 0)),
        rsp_capability: RspCapability::of([
            RspCapability::ADDITIONAL_PROFILE,
            RspCapability::TEST_PROFILE_SUPPORT,
        ]),
        euicc_ci_pk_id_list_for_verification: Vec::new(),
        euicc_ci_pk_id_list_for_signing: Vec::new(),
        euicc_category: Some(EuiccCategory::OtherCategory),
        forbidden_profile_policy_rules: None,
        pp_version: VersionType::new(1, 0, 0),
        sas_acreditation_number: SasAcreditationNumber("LABORATORY".to_owned()),
        certification_data_object: None,
        tre_properties: None,
        tre_product_reference: None,
        additional_euicc_profile_package_versions: None,
        ipa_mode: Some(IpaMode::Ipad),
        euicc_ci_pk_id_list_for_signing_v3: None,
        additional_euicc_info: None,
        highest_svn: None,
        iot_specific_info: Some(IotSpecificInfo {
            iot_version: vec![VersionType::new(1, 2, 0)],
            ecall_supported: None,
            fallback_supported: None,
            extensions: Default::default(),
        }),
        extensions: Default::default(),
    }
}
