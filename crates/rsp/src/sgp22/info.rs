//! What an eUICC and a device say about themselves (SGP.22 v2.5 section 5.7.8, SGP.32 v1.2
//! section 5.9).

use super::{KeyIdentifier, PprIds, VersionType};
use crate::der::{BitString, Null, Octets};
use crate::{bits, codes, sequence};

sequence! {
    /// Asks for [`EuiccInfo1`].
    pub struct GetEuiccInfo1Request @ 0xBF20 {}
}

sequence! {
    /// What a server needs to choose a CI (SGP.22 v2.5 section 5.7.8).
    pub struct EuiccInfo1 @ 0xBF20 {
        /// SGP.22 version supported.
        req svn @ 0x82: VersionType,
        /// CI keys under which the eUICC verifies servers.
        req euicc_ci_pk_id_list_for_verification @ 0xA9: Vec<KeyIdentifier>,
        /// CI keys under which the eUICC has a certificate, by priority.
        req euicc_ci_pk_id_list_for_signing @ 0xAA: Vec<KeyIdentifier>,
    }
}

sequence! {
    /// Asks for [`EuiccInfo2`].
    pub struct GetEuiccInfo2Request @ 0xBF22 {}
}

sequence! {
    /// All that the eUICC says about itself, with the members that SGP.32 adds.
    pub struct EuiccInfo2 @ 0xBF22 {
        /// Profile package version supported.
        req profile_version @ 0x81: VersionType,
        /// SGP.22 version supported.
        req svn @ 0x82: VersionType,
        /// Firmware version.
        req euicc_firmware_ver @ 0x83: VersionType,
        /// Content of tag FF21 of ETSI TS 102 226: applications and free memory.
        req ext_card_resource @ 0x84: Octets,
        /// UICCCapability of the TCA profile package specification.
        req uicc_capability @ 0x85: BitString,
        /// ETSI TS 102 241 version.
        opt ts102241_version @ 0x86: VersionType,
        /// GlobalPlatform version.
        opt globalplatform_version @ 0x87: VersionType,
        /// Optional functions supported.
        req rsp_capability @ 0x88: RspCapability,
        /// CI keys under which the eUICC verifies servers.
        req euicc_ci_pk_id_list_for_verification @ 0xA9: Vec<KeyIdentifier>,
        /// CI keys under which the eUICC has a certificate, by priority.
        req euicc_ci_pk_id_list_for_signing @ 0xAA: Vec<KeyIdentifier>,
        /// Size class.
        opt euicc_category @ 0x8B: EuiccCategory,
        /// Rules that no profile may carry.
        opt forbidden_profile_policy_rules @ 0x99: PprIds,
        /// Protection profile version.
        elem pp_version: VersionType,
        /// SAS accreditation number (spelt so in the module).
        elem sas_acreditation_number: SasAcreditationNumber,
        /// Where to find the certification.
        opt certification_data_object @ 0xAC: CertificationDataObject,
        /// Properties of the tamper-resistant element.
        opt tre_properties @ 0x8D: TreProperties,
        /// Platform label of the tamper-resistant element.
        opt tre_product_reference @ 0x8E: String,
        /// Further profile package versions supported.
        opt additional_euicc_profile_package_versions @ 0xAF: Vec<VersionType>,
        /// Where the IPA runs; always there in an SGP.32 eUICC.
        opt ipa_mode @ 0x90: IpaMode,
        /// SGP.22 version 3 signing keys; not used by SGP.32 v1.2.
        opt euicc_ci_pk_id_list_for_signing_v3 @ 0xB1: Vec<KeyIdentifier>,
        /// Not used by SGP.32 v1.2.
        opt additional_euicc_info @ 0x92: Octets,
        /// Not used by SGP.32 v1.2.
        opt highest_svn @ 0x93: VersionType,
        /// SGP.32 versions and functions; always there in an SGP.32 eUICC.
        opt iot_specific_info @ 0xB4: IotSpecificInfo,
    }
}

crate::tagged! {
    /// SAS accreditation number, at most 64 octets.
    pub struct SasAcreditationNumber @ 0x0C: String;
}

sequence! {
    /// What an SGP.32 eUICC supports beyond SGP.22.
    pub struct IotSpecificInfo @ 0x30 {
        /// SGP.32 versions supported, at least one.
        req iot_version @ 0xA0: Vec<VersionType>,
        /// Emergency profiles are supported.
        opt ecall_supported @ 0x81: Null,
        /// The fallback mechanism is supported.
        opt fallback_supported @ 0x82: Null,
    }
}

sequence! {
    /// GlobalPlatform digital letter of approval.
    pub struct CertificationDataObject @ 0x30 {
        /// Platform label.
        req platform_label @ 0x80: String,
        /// Base URL of the registrar.
        req discovery_base_url @ 0x81: String,
    }
}

codes! {
    /// Where the IPA runs.
    pub enum IpaMode { Ipad = 0, Ipae = 1 }

    /// Size class of an eUICC.
    pub enum EuiccCategory { OtherCategory = 0, BasicEuicc = 1, MediumEuicc = 2, ContactlessEuicc = 3 }

    /// How the eUICC sits in the device (SGP.22 v3; SGP.22 v2.5 leaves the values open).
    pub enum EuiccFormFactorType { RemovableEuicc = 0, NonRemovableEuicc = 1 }
}

bits! {
    /// Optional functions of an eUICC.
    pub struct RspCapability {
        ADDITIONAL_PROFILE = 0,
        CRL_SUPPORT = 1,
        RPM_SUPPORT = 2,
        TEST_PROFILE_SUPPORT = 3,
        DEVICE_INFO_EXTENSIBILITY_SUPPORT = 4,
        SERVICE_SPECIFIC_DATA_SUPPORT = 5,
    }

    /// Properties of the tamper-resistant element.
    pub struct TreProperties { IS_DISCRETE = 0, IS_INTEGRATED = 1, USES_REMOTE_MEMORY = 2 }
}

sequence! {
    /// The device, as told to a server (SGP.22 v2.5 section 4.2).
    pub struct DeviceInfo @ 0x30 {
        /// Type allocation code, BCD. Implementations differ in the order of the digits.
        req tac @ 0x80: [u8; 4],
        /// Highest releases supported.
        req device_capabilities @ 0xA1: DeviceCapabilities,
        /// BCD. Implementations differ in the order of the digits.
        opt imei @ 0x82: [u8; 8],
    }
}

sequence! {
    /// Highest fully supported release of each technology.
    pub struct DeviceCapabilities @ 0x30 {
        /// GSM.
        opt gsm_supported_release @ 0x80: VersionType,
        /// UTRAN.
        opt utran_supported_release @ 0x81: VersionType,
        /// CDMA2000 1X.
        opt cdma2000onex_supported_release @ 0x82: VersionType,
        /// CDMA2000 HRPD.
        opt cdma2000hrpd_supported_release @ 0x83: VersionType,
        /// CDMA2000 eHRPD.
        opt cdma2000ehrpd_supported_release @ 0x84: VersionType,
        /// E-UTRAN with EPC.
        opt eutran_epc_supported_release @ 0x85: VersionType,
        /// Contactless.
        opt contactless_supported_release @ 0x86: VersionType,
        /// RSP CRL version.
        opt rsp_crl_supported_version @ 0x87: VersionType,
        /// NR with EPC.
        opt nr_epc_supported_release @ 0x88: VersionType,
        /// NR with 5GC.
        opt nr5gc_supported_release @ 0x89: VersionType,
        /// E-UTRAN with 5GC.
        opt eutran5gc_supported_release @ 0x8A: VersionType,
        /// SGP.22 version of the LPA.
        opt lpa_svn @ 0x8B: VersionType,
        /// Card application toolkit classes.
        opt cat_supported_classes @ 0x8C: BitString,
        /// How the eUICC sits in the device.
        opt euicc_form_factor_type @ 0x8D: EuiccFormFactorType,
        /// Further functions.
        opt device_additional_feature_support @ 0xAE: DeviceAdditionalFeatureSupport,
    }
}

sequence! {
    /// Further functions of a device.
    pub struct DeviceAdditionalFeatureSupport @ 0x30 {
        /// Network access identifiers are supported.
        opt nai_support @ 0x80: VersionType,
    }
}
