//! ES10b functions that SGP.32 adds or changes (section 5.9).

use super::{
    AddEimResultCode, EimConfigurationData, EimId, EuiccPackageResult, UndefinedErrorOnly,
};
use crate::der::{Null, Octets, Oid};
use crate::sgp22::{Certificate, KeyIdentifier, NotificationEvent, PendingNotification};
use crate::{bits, choice, codes, sequence};

sequence! {
    /// Associate the first eIMs. Accepted only while none is associated.
    pub struct AddInitialEimRequest @ 0xBF57 {
        req eim_configuration_data_list @ 0xA0: Vec<EimConfigurationData>,
    }
}

choice! {
    /// One answer per eIM, or an error for all.
    pub enum AddInitialEimResponse @ 0xBF57 {
        value AddInitialEimOk @ 0xA0: Vec<AddInitialEimOk>,
        value AddInitialEimError @ 0x81: AddEimResultCode,
    }
}

choice! {
    /// The token asked for, or nothing.
    pub enum AddInitialEimOk {
        value AssociationToken @ 0x84: i64,
        value AddOk @ 0x05: Null,
    }
}

sequence! {
    /// Ask for eIM Configuration Data.
    pub struct GetEimConfigurationDataRequest @ 0xBF55 {
        opt search_criteria @ 0xA0: EimSearchCriteria,
    }
}

choice! {
    /// One eIM only.
    pub enum EimSearchCriteria {
        value EimId @ 0x80: EimId,
    }
}

sequence! {
    /// eIM Configuration Data, without counter values.
    pub struct GetEimConfigurationDataResponse @ 0xBF55 {
        req eim_configuration_data_list @ 0xA0: Vec<EimConfigurationData>,
    }
}

sequence! {
    /// Ask for the certificates of the eUICC.
    pub struct GetCertsRequest @ 0xBF56 {
        opt euicc_ci_pk_id @ 0x80: KeyIdentifier,
    }
}

choice! {
    /// The certificates, or why not.
    pub enum GetCertsResponse @ 0xBF56 {
        value Certs @ 0xA0: Certs,
        value GetCertsError @ 0x81: GetCertsError,
    }
}

sequence! {
    /// The chain below the CI.
    pub struct Certs @ 0x30 {
        req eum_certificate @ 0xA5: Certificate,
        req euicc_certificate @ 0xA6: Certificate,
    }
}

sequence! {
    /// Ask for Notifications or eUICC Package Results.
    pub struct RetrieveNotificationsListRequest @ 0xBF2B {
        opt search_criteria @ 0xA0: RetrieveNotificationsSearchCriteria,
    }
}

choice! {
    /// Which ones.
    pub enum RetrieveNotificationsSearchCriteria {
        value SeqNumber @ 0x80: i64,
        value ProfileManagementOperation @ 0x81: NotificationEvent,
        value EuiccPackageResults @ 0x82: Null,
    }
}

choice! {
    /// What is kept until it is acknowledged.
    pub enum RetrieveNotificationsListResponse @ 0xBF2B {
        value NotificationList @ 0xA0: Vec<PendingNotification>,
        value NotificationsListResultError @ 0x81: UndefinedErrorOnly,
        value EuiccPackageResultList @ 0xA2: Vec<EuiccPackageResult>,
    }
}

sequence! {
    /// Reset parts of the eUICC's memory.
    pub struct EuiccMemoryResetRequest @ 0xBF64 {
        req reset_options @ 0x82: ResetOptions,
    }
}

sequence! {
    /// What was reset.
    pub struct EuiccMemoryResetResponse @ 0xBF64 {
        req reset_result @ 0x80: ResetResult,
        opt reset_eim_result @ 0x81: ResetEimResult,
        opt reset_immediate_enable_config_result @ 0x82: ResetImmediateEnableConfigResult,
    }
}

bits! {
    /// What to reset.
    pub struct ResetOptions {
        DELETE_OPERATIONAL_PROFILES = 0,
        DELETE_FIELD_LOADED_TEST_PROFILES = 1,
        RESET_DEFAULT_SMDP_ADDRESS = 2,
        DELETE_PRE_LOADED_TEST_PROFILES = 3,
        DELETE_PROVISIONING_PROFILES = 4,
        RESET_EIM_CONFIG_DATA = 5,
        RESET_IMMEDIATE_ENABLE_CONFIG = 6,
    }

    /// Bits in the FCI of the ISD-R.
    pub struct EuiccConfiguration { IPAE_SUPPORTED = 0, ENABLED_PROFILE = 1 }

    /// Which IPA the device wants active.
    pub struct IpaeOption { ACTIVATE_IPAE = 0 }
}

codes! {
    /// Outcome of a reset of Profiles and the default address.
    pub enum ResetResult { Ok = 0, NothingToDelete = 1, CatBusy = 5, EcallActive = 104, UndefinedError = 127 }

    /// Outcome of a reset of the eIM configuration.
    pub enum ResetEimResult { Ok = 0, NothingToDelete = 1, EimResetNotSupported = 2, UndefinedError = 127 }

    /// Outcome of a reset of the immediate enable configuration.
    pub enum ResetImmediateEnableConfigResult { Ok = 0, ResetIecNotSupported = 1, UndefinedError = 127 }

    /// Errors of GetCerts.
    pub enum GetCertsError { InvalidCiPKId = 1, UndefinedError = 127 }

    /// Outcome of ImmediateEnable.
    pub enum ImmediateEnableResult {
        Ok = 0,
        ImmediateEnableNotAvailable = 1,
        NoSessionContext = 4,
        CatBusy = 5,
        UndefinedError = 127,
    }

    /// Outcome of ProfileRollback.
    pub enum ProfileRollbackResult {
        Ok = 0,
        RollbackNotAllowed = 1,
        CatBusy = 5,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of ConfigureImmediateProfileEnabling.
    pub enum ConfigImmediateEnableResult {
        Ok = 0,
        InsufficientMemory = 1,
        AssociatedEimAlreadyExists = 2,
        UndefinedError = 127,
    }

    /// Outcome of ExecuteFallbackMechanism.
    pub enum ExecuteFallbackMechanismResult {
        Ok = 0,
        ProfileNotInDisabledState = 2,
        CatBusy = 5,
        FallbackNotAvailable = 6,
        CommandError = 7,
        EcallActive = 104,
        UndefinedError = 127,
    }

    /// Outcome of ReturnFromFallback.
    pub enum ReturnFromFallbackResult {
        Ok = 0,
        CatBusy = 5,
        FallbackNotAvailable = 6,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of EnableEmergencyProfile.
    pub enum EnableEmergencyProfileResult {
        Ok = 0,
        ProfileNotInDisabledState = 2,
        CatBusy = 5,
        EcallNotAvailable = 8,
        UndefinedError = 127,
    }

    /// Outcome of DisableEmergencyProfile.
    pub enum DisableEmergencyProfileResult {
        Ok = 0,
        ProfileNotInEnabledState = 2,
        CatBusy = 5,
        /// SGP.32 v1.3.
        EcallNotAvailable = 8,
        UndefinedError = 127,
    }

    /// Errors of GetConnectivityParameters.
    pub enum ConnectivityParametersError { ParametersNotAvailable = 1, UndefinedError = 127 }

    /// Outcome of IpaeActivation.
    pub enum IpaeActivationResult { Ok = 0, NotSupported = 1 }
}

sequence! {
    /// Enable the Profile just downloaded.
    pub struct ImmediateEnableRequest @ 0xBF5A {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome.
    pub struct ImmediateEnableResponse @ 0xBF5A {
        req immediate_enable_result @ 0x80: ImmediateEnableResult,
    }
}

sequence! {
    /// Return to the Profile enabled before.
    pub struct ProfileRollbackRequest @ 0xBF58 {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome, with the eUICC Package Result that replaces the first one.
    pub struct ProfileRollbackResponse @ 0xBF58 {
        req cmd_result @ 0x02: ProfileRollbackResult,
        elem_opt euicc_package_result: EuiccPackageResult,
    }
}

sequence! {
    /// Configure immediate enabling locally. Accepted only while no eIM is associated.
    pub struct ConfigureImmediateProfileEnablingRequest @ 0xBF59 {
        opt immediate_enable_flag @ 0x80: Null,
        opt default_smdp_oid @ 0x81: Oid,
        opt default_smdp_address @ 0x82: String,
    }
}

sequence! {
    /// The outcome.
    pub struct ConfigureImmediateProfileEnablingResponse @ 0xBF59 {
        req config_immediate_enable_result @ 0x80: ConfigImmediateEnableResult,
    }
}

sequence! {
    /// Enable the Fallback Profile.
    pub struct ExecuteFallbackMechanismRequest @ 0xBF5D {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome.
    pub struct ExecuteFallbackMechanismResponse @ 0xBF5D {
        req execute_fallback_mechanism_result @ 0x80: ExecuteFallbackMechanismResult,
    }
}

sequence! {
    /// Return to the Profile that the Fallback Profile displaced.
    pub struct ReturnFromFallbackRequest @ 0xBF5E {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome.
    pub struct ReturnFromFallbackResponse @ 0xBF5E {
        req return_from_fallback_result @ 0x80: ReturnFromFallbackResult,
    }
}

sequence! {
    /// Enable the Emergency Profile.
    pub struct EnableEmergencyProfileRequest @ 0xBF5B {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome.
    pub struct EnableEmergencyProfileResponse @ 0xBF5B {
        req enable_emergency_profile_result @ 0x80: EnableEmergencyProfileResult,
    }
}

sequence! {
    /// Return to the Profile that the Emergency Profile displaced.
    pub struct DisableEmergencyProfileRequest @ 0xBF5C {
        req refresh_flag @ 0x80: bool,
    }
}

sequence! {
    /// The outcome.
    pub struct DisableEmergencyProfileResponse @ 0xBF5C {
        req disable_emergency_profile_result @ 0x80: DisableEmergencyProfileResult,
    }
}

sequence! {
    /// Ask for the connectivity parameters of the enabled Profile.
    pub struct GetConnectivityParametersRequest @ 0xBF5F {}
}

choice! {
    /// The parameters, or why not.
    pub enum GetConnectivityParametersResponse @ 0xBF5F {
        value ConnectivityParameters @ 0xA0: ConnectivityParameters,
        value ConnectivityParametersError @ 0x81: ConnectivityParametersError,
    }
}

sequence! {
    /// Bearer settings of a Profile.
    pub struct ConnectivityParameters @ 0x30 {
        /// Concatenated COMPREHENSION-TLVs (ETSI TS 102 223); for CoAP too.
        opt http_params @ 0x81: Octets,
    }
}

sequence! {
    /// Choose the IPA.
    pub struct IpaeActivationRequest @ 0xBF42 {
        req ipae_option @ 0x80: IpaeOption,
    }
}

sequence! {
    /// The outcome.
    pub struct IpaeActivationResponse @ 0xBF42 {
        req ipae_activation_result @ 0x80: IpaeActivationResult,
    }
}

sequence! {
    /// In the FCI that SELECT of the ISD-R returns.
    pub struct IsdrProprietaryApplicationTemplateIot @ 0xE1 {
        req euicc_configuration @ 0x80: EuiccConfiguration,
    }
}
