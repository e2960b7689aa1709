//! The remaining functions between LPA and eUICC (SGP.22 v2.5 sections 5.7 and 5.16).

use super::{OctetTo16, RulesAuthorisationTable};
use crate::der::Octets;
use crate::ids::{EidOctets, Iccid};
use crate::{choice, codes, sequence};

sequence! {
    /// ES10b.GetEUICCChallenge.
    pub struct GetEuiccChallengeRequest @ 0xBF2E {}
}

sequence! {
    /// Answer of ES10b.GetEUICCChallenge.
    pub struct GetEuiccChallengeResponse @ 0xBF2E {
        /// Random. A new one ends the session before it.
        req euicc_challenge @ 0x80: [u8; 16],
    }
}

sequence! {
    /// ES10b.GetRAT.
    pub struct GetRatRequest @ 0xBF43 {}
}

sequence! {
    /// Answer of ES10b.GetRAT.
    pub struct GetRatResponse @ 0xBF43 {
        /// The rules.
        req rat @ 0xA0: RulesAuthorisationTable,
    }
}

sequence! {
    /// ES10c.GetEID.
    pub struct GetEuiccDataRequest @ 0xBF3E {
        /// 5A.
        req tag_list @ 0x5C: Octets,
    }
}

sequence! {
    /// Answer of ES10c.GetEID.
    pub struct GetEuiccDataResponse @ 0xBF3E {
        /// The EID.
        req eid_value @ 0x5A: EidOctets,
    }
}

sequence! {
    /// ES10a.GetEuiccConfiguredAddresses.
    pub struct EuiccConfiguredAddressesRequest @ 0xBF3C {}
}

sequence! {
    /// Answer of ES10a.GetEuiccConfiguredAddresses.
    pub struct EuiccConfiguredAddressesResponse @ 0xBF3C {
        /// FQDN of the default SM-DP+.
        opt default_dp_address @ 0x80: String,
        /// FQDN of the root SM-DS.
        req root_ds_address @ 0x81: String,
    }
}

sequence! {
    /// ES10c.SetNickname.
    pub struct SetNicknameRequest @ 0xBF29 {
        /// The profile.
        req iccid @ 0x5A: Iccid,
        /// At most 64 octets; empty removes it.
        req profile_nickname @ 0x90: String,
    }
}

sequence! {
    /// Answer of ES10c.SetNickname.
    pub struct SetNicknameResponse @ 0xBF29 {
        /// The result.
        req set_nickname_result @ 0x80: SetNicknameResult,
    }
}

choice! {
    /// Names one profile.
    pub enum ProfileIdentifier {
        /// By its place in the eUICC.
        value IsdpAid @ 0x4F: OctetTo16,
        /// By its ICCID.
        value Iccid @ 0x5A: Iccid,
    }
}

sequence! {
    /// ES10c.EnableProfile.
    pub struct EnableProfileRequest @ 0xBF31 {
        /// The profile.
        req profile_identifier @ 0xA0: ProfileIdentifier,
        /// The eUICC is to ask for REFRESH.
        req refresh_flag @ 0x81: bool,
    }
}

sequence! {
    /// Answer of ES10c.EnableProfile.
    pub struct EnableProfileResponse @ 0xBF31 {
        /// The result.
        req enable_result @ 0x80: EnableResult,
    }
}

sequence! {
    /// ES10c.DisableProfile.
    pub struct DisableProfileRequest @ 0xBF32 {
        /// The profile.
        req profile_identifier @ 0xA0: ProfileIdentifier,
        /// The eUICC is to ask for REFRESH.
        req refresh_flag @ 0x81: bool,
    }
}

sequence! {
    /// Answer of ES10c.DisableProfile.
    pub struct DisableProfileResponse @ 0xBF32 {
        /// The result.
        req disable_result @ 0x80: DisableResult,
    }
}

choice! {
    /// ES10c.DeleteProfile.
    pub enum DeleteProfileRequest @ 0xBF33 {
        /// By its place in the eUICC.
        value IsdpAid @ 0x4F: OctetTo16,
        /// By its ICCID.
        value Iccid @ 0x5A: Iccid,
    }
}

sequence! {
    /// Answer of ES10c.DeleteProfile.
    pub struct DeleteProfileResponse @ 0xBF33 {
        /// The result.
        req delete_result @ 0x80: DeleteResult,
    }
}

codes! {
    /// Result of ES10c.SetNickname.
    pub enum SetNicknameResult { Ok = 0, IccidNotFound = 1, UndefinedError = 127 }

    /// Result of ES10c.EnableProfile.
    pub enum EnableResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInDisabledState = 2,
        DisallowedByPolicy = 3,
        WrongProfileReenabling = 4,
        CatBusy = 5,
        UndefinedError = 127,
    }

    /// Result of ES10c.DisableProfile.
    pub enum DisableResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInEnabledState = 2,
        DisallowedByPolicy = 3,
        CatBusy = 5,
        UndefinedError = 127,
    }

    /// Result of ES10c.DeleteProfile.
    pub enum DeleteResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInDisabledState = 2,
        DisallowedByPolicy = 3,
        UndefinedError = 127,
    }
}
