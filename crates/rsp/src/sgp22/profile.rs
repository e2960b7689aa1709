//! Profiles: metadata, lists, policy rules (SGP.22 v2.5 sections 2.9, 5.5.3, 5.7.15; SGP.32 v1.2
//! additions).

use super::{DpProprietaryData, OctetTo16};
use crate::der::{Octets, Oid, Opaque};
use crate::ids::Iccid;
use crate::{bits, choice, codes, sequence, tolerance};

sequence! {
    /// One profile as the eUICC lists it. Only what was asked for is present.
    pub struct ProfileInfo @ 0xE3 {
        /// Its ICCID.
        opt iccid @ 0x5A: Iccid,
        /// Where it is in the eUICC.
        opt isdp_aid @ 0x4F: OctetTo16,
        /// Enabled or not.
        opt profile_state @ 0x9F70: ProfileState,
        /// Given by the user, at most 64 octets.
        opt profile_nickname @ 0x90: String,
        /// Given by the operator, at most 32 octets.
        opt service_provider_name @ 0x91: String,
        /// Given by the operator, at most 64 octets.
        opt profile_name @ 0x92: String,
        /// Kind of `icon`.
        opt icon_type @ 0x93: IconType,
        /// At most 1024 octets.
        opt icon @ 0x94: Octets,
        /// Operational where absent.
        opt profile_class @ 0x95: ProfileClass,
        /// Who is told about which event.
        opt notification_configuration_info @ 0xB6: Vec<NotificationConfigurationInformation>,
        /// The operator.
        opt profile_owner @ 0xB7: OperatorId,
        /// Kept for the SM-DP+.
        opt dp_proprietary_data @ 0xB8: DpProprietaryData,
        /// Policy rules.
        opt profile_policy_rules @ 0x99: PprIds,
        /// For the use of operators and vendors.
        opt service_specific_data_stored_in_euicc @ 0xBF22: Vec<VendorSpecificExtension>,
        /// This is a profile for emergency calls.
        opt ecall_indication @ 0x9F7B: bool,
        /// This is the fallback profile. False where absent.
        opt fallback_attribute @ 0x9F26: bool,
        /// The owner permits to make it the fallback profile.
        opt fallback_allowed @ 0x9F67: bool,
    }
}

sequence! {
    /// ES8+.StoreMetadata; also the metadata that an SM-DP+ announces before the download.
    pub struct StoreMetadataRequest @ 0xBF25 {
        /// Its ICCID.
        req iccid @ 0x5A: Iccid,
        /// At most 32 octets.
        req service_provider_name @ 0x91: String,
        /// At most 64 octets.
        req profile_name @ 0x92: String,
        /// Kind of `icon`.
        opt icon_type @ 0x93: IconType,
        /// At most 1024 octets.
        opt icon @ 0x94: Octets,
        /// Operational where absent.
        opt profile_class @ 0x95: ProfileClass,
        /// Who is told about which event.
        opt notification_configuration_info @ 0xB6: Vec<NotificationConfigurationInformation>,
        /// The operator.
        opt profile_owner @ 0xB7: OperatorId,
        /// Policy rules.
        opt profile_policy_rules @ 0x99: PprIds,
        /// For the use of operators and vendors.
        opt service_specific_data_stored_in_euicc @ 0xBF22: Vec<VendorSpecificExtension>,
        /// As above, for the device only.
        opt service_specific_data_not_stored_in_euicc @ 0xBF23: Vec<VendorSpecificExtension>,
        /// This is a profile for emergency calls.
        opt ecall_indication @ 0x9F7B: bool,
        /// The owner permits to make it the fallback profile.
        opt fallback_allowed @ 0x9F67: bool,
    }
}

impl StoreMetadataRequest {
    /// The class, with the DEFAULT of the module.
    pub fn class(&self) -> ProfileClass {
        self.profile_class.unwrap_or(ProfileClass::Operational)
    }
}

sequence! {
    /// ES6.UpdateMetadata.
    pub struct UpdateMetadataRequest @ 0xBF2A {
        /// At most 32 octets.
        opt service_provider_name @ 0x91: String,
        /// At most 64 octets.
        opt profile_name @ 0x92: String,
        /// Kind of `icon`.
        opt icon_type @ 0x93: IconType,
        /// At most 1024 octets.
        opt icon @ 0x94: Octets,
        /// Policy rules.
        opt profile_policy_rules @ 0x99: PprIds,
        /// For the use of operators and vendors.
        opt service_specific_data_stored_in_euicc @ 0xBF22: Vec<VendorSpecificExtension>,
    }
}

sequence! {
    /// Data of one vendor.
    pub struct VendorSpecificExtension @ 0x30 {
        /// Who defined it.
        req vendor_oid @ 0x80: Oid,
        /// Its data.
        elem vendor_specific_data: VendorSpecificData,
    }
}

choice! {
    /// An open type under tag \[1\]. A tag on an open type is EXPLICIT (X.680 section 31.2.7), yet
    /// encoders that take it for an OCTET STRING write 81.
    pub enum VendorSpecificData {
        /// One TLV.
        value Tagged @ 0xA1: Opaque,
        /// Octets.
        value Bare @ 0x81: Octets,
    }
}

sequence! {
    /// Who is told about which event.
    pub struct NotificationConfigurationInformation @ 0x30 {
        /// The events, one or more.
        req profile_management_operation @ 0x80: NotificationEvent,
        /// FQDN.
        req notification_address @ 0x81: String,
    }
}

sequence! {
    /// An operator.
    pub struct OperatorId @ 0x30 {
        /// As in 3GPP TS 24.008; EEEEEE stands for any operator in a rule.
        req mcc_mnc @ 0x80: [u8; 3],
        /// EF.GID1; empty stands for any in a rule.
        opt gid1 @ 0x81: Octets,
        /// EF.GID2; empty stands for any in a rule.
        opt gid2 @ 0x82: Octets,
    }
}

codes! {
    /// Whether a profile is enabled.
    pub enum ProfileState { Disabled = 0, Enabled = 1 }

    /// What a profile is for.
    pub enum ProfileClass { Test = 0, Provisioning = 1, Operational = 2 }

    /// Kind of an icon.
    pub enum IconType { Jpg = 0, Png = 1 }

    /// Why profiles were not listed.
    pub enum ProfileInfoListError {
        IncorrectInputValues = 1,
        ProfileChangeOngoing = 11,
        UndefinedError = 127,
    }
}

bits! {
    /// Profile policy rules.
    pub struct PprIds {
        /// How rules may be changed.
        PPR_UPDATE_CONTROL = 0,
        /// Disabling is not allowed.
        PPR1 = 1,
        /// Deletion is not allowed.
        PPR2 = 2,
    }

    /// What happened to a profile; one bit in a notification, one or more in a configuration.
    pub struct NotificationEvent { INSTALL = 0, ENABLE = 1, DISABLE = 2, DELETE = 3 }

    /// Conditions of a rule.
    pub struct PprFlags { CONSENT_REQUIRED = 0 }
}

sequence! {
    /// ES10c.GetProfilesInfo; also the PSMO listProfileInfo.
    pub struct ProfileInfoListRequest @ 0xBF2D {
        /// Which profiles; all where absent.
        opt search_criteria @ 0xA0: ProfileSearchCriteria,
        /// Which members, as concatenated tags.
        opt tag_list @ 0x5C: Octets,
    }
}

choice! {
    /// Which profiles to list.
    pub enum ProfileSearchCriteria {
        /// One, by its place in the eUICC.
        value IsdpAid @ 0x4F: OctetTo16,
        /// One, by its ICCID.
        value Iccid @ 0x5A: Iccid,
        /// All of a class.
        value ProfileClass @ 0x95: ProfileClass,
    }
}

choice! {
    /// Answer of ES10c.GetProfilesInfo and result of the PSMO listProfileInfo.
    pub enum ProfileInfoListResponse @ 0xBF2D {
        recover tolerance::profile_info_list;
        /// The profiles.
        value ProfileInfoListOk @ 0xA0: Vec<ProfileInfo>,
        /// None were listed.
        value ProfileInfoListError @ 0x81: ProfileInfoListError,
    }
}

/// The rules that an eUICC allows profiles to carry.
pub type RulesAuthorisationTable = Vec<ProfilePolicyAuthorisationRule>;

sequence! {
    /// One rule of the [`RulesAuthorisationTable`] (SGP.22 v2.5 section 2.4.12).
    pub struct ProfilePolicyAuthorisationRule @ 0x30 {
        /// The rules allowed.
        req ppr_ids @ 0x80: PprIds,
        /// Whose profiles may carry them.
        req allowed_operators @ 0xA1: Vec<OperatorId>,
        /// Under which condition.
        req ppr_flags @ 0x82: PprFlags,
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;
    use crate::der::Element;
    use crate::sgp22::GetRatResponse;

    #[test]
    fn a_profile_list_without_its_arm_is_understood() {
        let with_arm = hex!("BF2D 08 A0 06 E3 04 9F70 01 01");
        let without = hex!("BF2D 06 E3 04 9F70 01 01");
        let list = ProfileInfoListResponse::from_der(&with_arm).unwrap();
        assert_eq!(ProfileInfoListResponse::from_der(&without).unwrap(), list);
        assert_eq!(list.to_der(), with_arm);
        let ProfileInfoListResponse::ProfileInfoListOk(profiles) = list else {
            panic!("{list:?}")
        };
        assert_eq!(profiles[0].profile_state, Some(ProfileState::Enabled));
        assert!(ProfileInfoListResponse::from_der(&hex!("BF2D 00")).is_err());
        assert!(matches!(
            ProfileInfoListResponse::from_der(&hex!("BF2D 03 81 01 0B")).unwrap(),
            ProfileInfoListResponse::ProfileInfoListError(
                ProfileInfoListError::ProfileChangeOngoing
            )
        ));
    }

    #[test]
    fn vendor_data_is_understood_under_either_tag() {
        let explicit = hex!("30 0B 80 03 88 37 0A A1 04 0C 02 61 62");
        let bare = hex!("30 09 80 03 88 37 0A 81 02 61 62");
        for octets in [&explicit[..], &bare] {
            assert_eq!(
                VendorSpecificExtension::from_der(octets).unwrap().to_der(),
                octets
            );
        }
        assert!(VendorSpecificExtension::from_der(&hex!("30 05 80 03 88 37 0A")).is_err());
    }

    #[test]
    fn a_rules_authorisation_table_has_its_published_octets() {
        let any_operator = OperatorId {
            mcc_mnc: [0xEE; 3],
            gid1: Some(Octets::default()),
            gid2: Some(Octets::default()),
            extensions: Default::default(),
        };
        let rule = ProfilePolicyAuthorisationRule {
            ppr_ids: PprIds::of([PprIds::PPR1, PprIds::PPR2]),
            allowed_operators: vec![any_operator],
            ppr_flags: PprFlags::of([PprFlags::CONSENT_REQUIRED]),
            extensions: Default::default(),
        };
        let response = GetRatResponse {
            rat: vec![rule],
            extensions: Default::default(),
        };
        let published = hex!("BF4319A0173015800205 60A10B30098003EEEEEE8100820082020780");
        assert_eq!(response.to_der(), published);
    }

    #[test]
    fn defaults_sent_explicitly_are_kept() {
        let octets = hex!("E3 12 95 01 02 9F7B 01 00 9F26 01 00 9F67 01 FF 9F70 01 01");
        assert!(
            ProfileInfo::from_der(&octets).is_err(),
            "9F70 stands too late"
        );
        let octets = hex!("E3 0F 95 01 02 9F7B 01 00 9F26 01 00 9F67 01 FF");
        let profile = ProfileInfo::from_der(&octets).unwrap();
        assert_eq!(profile.profile_class, Some(ProfileClass::Operational));
        assert_eq!(profile.fallback_attribute, Some(false));
        assert_eq!(profile.to_der(), octets);
    }
}
