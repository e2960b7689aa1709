//! eIM Package results: what eUICC and IPA answer (SGP.32 section 2.11.2).

use super::{EimId, EimIdType};
use crate::der::{Encoded, Octets};
use crate::ids::TransactionId;
use crate::sgp22::{
    Certificate, DeviceInfo, EuiccInfo1, EuiccInfo2, PendingNotification, ProfileInfoListResponse,
    ProfileInstallationResult, ProfilePolicyAuthorisationRule, Signature,
};
use crate::{bits, choice, codes, sequence, tolerance};

choice! {
    /// What an eUICC answers to an eUICC Package.
    pub enum EuiccPackageResult @ 0xBF51 {
        recover tolerance::euicc_package_result;
        value EuiccPackageResultSigned @ 0xA0: EuiccPackageResultSigned,
        value EuiccPackageErrorSigned @ 0xA1: EuiccPackageErrorSigned,
        value EuiccPackageErrorUnsigned @ 0xA2: EuiccPackageErrorUnsigned,
    }
}

sequence! {
    /// The result of a package that was executed.
    pub struct EuiccPackageResultSigned @ 0x30 {
        elem euicc_package_result_data_signed: Encoded<EuiccPackageResultDataSigned>,
        elem euicc_sign_epr: Signature,
    }
}

sequence! {
    /// The signed part of a result. The signature covers its encoding followed by the
    /// association token as `84 LL VV`.
    pub struct EuiccPackageResultDataSigned @ 0x30 {
        req eim_id @ 0x80: EimId,
        req counter_value @ 0x81: i64,
        opt eim_transaction_id @ 0x82: TransactionId,
        /// Numbers Notifications and results of this eUICC together; never used twice.
        req seq_number @ 0x83: i64,
        /// One entry per operation executed, in order.
        req euicc_result @ 0x30: Vec<EuiccResultData>,
    }
}

sequence! {
    /// A package that verified and was refused before execution.
    pub struct EuiccPackageErrorSigned @ 0x30 {
        elem euicc_package_error_data_signed: Encoded<EuiccPackageErrorDataSigned>,
        elem euicc_sign_epe: Signature,
    }
}

sequence! {
    /// The signed part of a refusal.
    pub struct EuiccPackageErrorDataSigned @ 0x30 {
        req eim_id @ 0x80: EimId,
        req counter_value @ 0x81: i64,
        opt eim_transaction_id @ 0x82: TransactionId,
        req euicc_package_error_code @ 0x02: EuiccPackageErrorCode,
    }
}

sequence! {
    /// A package of an eIM that is not associated, or whose signature does not verify.
    pub struct EuiccPackageErrorUnsigned @ 0x30 {
        req eim_id @ 0x80: EimId,
        opt eim_transaction_id @ 0x82: TransactionId,
        opt association_token @ 0x84: i64,
        /// SGP.32 v1.3.
        opt euicc_package_unsigned_error_code @ 0x8F: EuiccPackageUnsignedErrorCode,
    }
}

choice! {
    /// The outcome of one operation.
    pub enum EuiccResultData {
        value EnableResult @ 0x83: EnableProfileResult,
        value DisableResult @ 0x84: DisableProfileResult,
        value DeleteResult @ 0x85: DeleteProfileResult,
        elem ListProfileInfoResult: ProfileInfoListResponse,
        value GetRatResult @ 0xA6: Vec<ProfilePolicyAuthorisationRule>,
        value ConfigureImmediateEnableResult @ 0x87: ConfigureImmediateEnableResult,
        value AddEimResult @ 0xA8: AddEimResult,
        value DeleteEimResult @ 0x89: DeleteEimResult,
        value UpdateEimResult @ 0x8A: UpdateEimResult,
        value ListEimResult @ 0xAB: ListEimResult,
        value RollbackResult @ 0x8C: RollbackProfileResult,
        value SetFallbackAttributeResult @ 0x8D: SetFallbackAttributeResult,
        value UnsetFallbackAttributeResult @ 0x8E: UnsetFallbackAttributeResult,
        value ProcessingTerminated @ 0x02: ProcessingTerminated,
        elem SetDefaultDpAddressResult: SetDefaultDpAddressResponse,
    }
}

choice! {
    /// The outcome of addEim: a token when one was asked for, else a code.
    pub enum AddEimResult {
        value AssociationToken @ 0x84: i64,
        value AddEimResultCode @ 0x02: AddEimResultCode,
    }
}

choice! {
    /// The outcome of listEim.
    pub enum ListEimResult {
        value EimIdList @ 0xA0: Vec<EimIdInfo>,
        value ListEimError @ 0x81: UndefinedErrorOnly,
    }
}

sequence! {
    /// One Associated eIM.
    pub struct EimIdInfo @ 0x30 {
        req eim_id @ 0x80: EimId,
        opt eim_id_type @ 0x82: EimIdType,
    }
}

sequence! {
    /// The outcome of setDefaultDpAddress.
    pub struct SetDefaultDpAddressResponse @ 0xBF65 {
        req set_default_dp_address_result @ 0x80: OkOrUndefinedError,
    }
}

codes! {
    /// Why a verified package was refused.
    pub enum EuiccPackageErrorCode {
        InvalidEid = 3,
        ReplayError = 4,
        CounterValueOutOfRange = 6,
        SizeOverflow = 15,
        EcallActive = 104,
        UndefinedError = 127,
    }

    /// Why a package was refused unsigned (v1.3).
    pub enum EuiccPackageUnsignedErrorCode { SizeOverflow = 15, UndefinedError = 127 }

    /// Why the rest of a package was not executed.
    pub enum ProcessingTerminated {
        ResultSizeOverflow = 1,
        UnknownOrDamagedCommand = 2,
        Interruption = 3,
        UndefinedError = 127,
    }

    /// Outcome of enable.
    pub enum EnableProfileResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInDisabledState = 2,
        DisallowedByPolicy = 3,
        CatBusy = 5,
        RollbackNotAvailable = 20,
        UndefinedError = 127,
    }

    /// Outcome of disable.
    pub enum DisableProfileResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInEnabledState = 2,
        DisallowedByPolicy = 3,
        CatBusy = 5,
        UndefinedError = 127,
    }

    /// Outcome of delete.
    pub enum DeleteProfileResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        ProfileNotInDisabledState = 2,
        DisallowedByPolicy = 3,
        RollbackNotAvailable = 20,
        ReturnFallbackProfile = 21,
        UndefinedError = 127,
    }

    /// Outcome of configureImmediateEnable.
    pub enum ConfigureImmediateEnableResult {
        Ok = 0,
        InsufficientMemory = 1,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of addEim without a token.
    pub enum AddEimResultCode {
        Ok = 0,
        InsufficientMemory = 1,
        AssociatedEimAlreadyExists = 2,
        CiPKUnknown = 3,
        InvalidAssociationToken = 5,
        CounterValueOutOfRange = 6,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of deleteEim. LastEimDeleted is a success that opens the eUICC to AddInitialEim.
    pub enum DeleteEimResult {
        Ok = 0,
        EimNotFound = 1,
        LastEimDeleted = 2,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of updateEim.
    pub enum UpdateEimResult {
        Ok = 0,
        EimNotFound = 1,
        CiPKUnknown = 3,
        CounterValueOutOfRange = 6,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// Outcome of a Profile rollback.
    pub enum RollbackProfileResult { Ok = 0, UndefinedError = 127 }

    /// Outcome of setFallbackAttribute.
    pub enum SetFallbackAttributeResult {
        Ok = 0,
        IccidOrAidNotFound = 1,
        FallbackNotAllowed = 2,
        FallbackProfileEnabled = 3,
        UndefinedError = 127,
    }

    /// Outcome of unsetFallbackAttribute.
    pub enum UnsetFallbackAttributeResult {
        Ok = 0,
        NoFallbackAttribute = 2,
        FallbackProfileEnabled = 3,
        CommandError = 7,
        UndefinedError = 127,
    }

    /// An outcome with no named error but the undefined one.
    pub enum OkOrUndefinedError { Ok = 0, UndefinedError = 127 }

    /// An error that is only ever undefined.
    pub enum UndefinedErrorOnly { UndefinedError = 127 }

    /// Why data of eUICC and IPA could not be returned.
    pub enum IpaEuiccDataErrorCode {
        IncorrectTagList = 1,
        EuiccCiPKIdNotFound = 5,
        EcallActive = 104,
        UndefinedError = 127,
    }

    /// Why a download did not take place.
    pub enum ProfileDownloadErrorReason { EcallActive = 104, UndefinedError = 127 }
}

choice! {
    /// Data of eUICC and IPA. Not signed: the IPA's statement, except for the certificates and
    /// Notifications in it.
    pub enum IpaEuiccDataResponse @ 0xBF52 {
        recover tolerance::ipa_euicc_data_response;
        value IpaEuiccData @ 0xA0: IpaEuiccData,
        value IpaEuiccDataResponseError @ 0xA1: IpaEuiccDataResponseError,
    }
}

sequence! {
    /// The data asked for, in this order.
    pub struct IpaEuiccData @ 0x30 {
        opt notifications_list @ 0xA0: Vec<PendingNotification>,
        opt default_smdp_address @ 0x81: String,
        opt euicc_package_result_list @ 0xA2: Vec<EuiccPackageResult>,
        elem_opt euicc_info1: EuiccInfo1,
        elem_opt euicc_info2: EuiccInfo2,
        opt root_smds_address @ 0x83: String,
        opt association_token @ 0x84: i64,
        opt eum_certificate @ 0xA5: Certificate,
        opt euicc_certificate @ 0xA6: Certificate,
        opt eim_transaction_id @ 0x87: TransactionId,
        opt ipa_capabilities @ 0xA8: IpaCapabilities,
        opt device_info @ 0xA9: DeviceInfo,
    }
}

sequence! {
    /// Why the data could not be returned.
    pub struct IpaEuiccDataResponseError @ 0x30 {
        opt eim_transaction_id @ 0x80: TransactionId,
        req ipa_euicc_data_error_code @ 0x02: IpaEuiccDataErrorCode,
    }
}

sequence! {
    /// What an IPA can do.
    pub struct IpaCapabilities @ 0x30 {
        req ipa_features @ 0x80: IpaFeatures,
        opt ipa_supported_protocols @ 0x81: IpaSupportedProtocols,
    }
}

bits! {
    /// Optional features of an IPA.
    pub struct IpaFeatures {
        DIRECT_RSP_SERVER_COMMUNICATION = 0,
        INDIRECT_RSP_SERVER_COMMUNICATION = 1,
        EIM_DOWNLOAD_DATA_HANDLING = 2,
        EIM_CTX_PARAMS1_GENERATION = 3,
        EIM_PROFILE_METADATA_VERIFICATION = 4,
        MINIMIZE_ESIPA_BYTES = 5,
    }

    /// How an IPA reaches, or is reached by, an eIM.
    pub struct IpaSupportedProtocols {
        IPA_RETRIEVE_HTTPS = 0,
        IPA_RETRIEVE_COAPS = 1,
        IPA_INJECT_HTTPS = 2,
        IPA_INJECT_COAPS = 3,
        IPA_PROPRIETARY = 4,
    }
}

sequence! {
    /// How a triggered download ended.
    pub struct ProfileDownloadTriggerResult @ 0xBF54 {
        opt eim_transaction_id @ 0x82: TransactionId,
        elem profile_download_trigger_result_data: ProfileDownloadTriggerResultData,
    }
}

choice! {
    /// The eUICC's signed result, or the IPA's word that it came to none.
    pub enum ProfileDownloadTriggerResultData {
        elem ProfileInstallationResult: ProfileInstallationResult,
        elem ProfileDownloadError: ProfileDownloadError,
    }
}

sequence! {
    /// A download that did not reach the eUICC.
    pub struct ProfileDownloadError @ 0x30 {
        opt profile_download_error_reason @ 0x80: ProfileDownloadErrorReason,
        /// The encoded response of the function that failed.
        opt error_response @ 0x04: Octets,
    }
}
