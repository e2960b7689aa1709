//! eIM Packages: what an eIM asks of an eUICC or an IPA (SGP.32 section 2.11.1).

use super::{EimConfigurationData, EimId};
use crate::der::{Encoded, Null, Octets, Oid};
use crate::ids::{EidOctets, Iccid, TransactionId};
use crate::sgp22::{NotificationEvent, ProfileInfoListRequest, Signature};
use crate::{choice, sequence, tagged};

sequence! {
    /// A package signed by an eIM for one eUICC.
    pub struct EuiccPackageRequest @ 0xBF51 {
        elem euicc_package_signed: Encoded<EuiccPackageSigned>,
        elem eim_signature: Signature,
    }
}

sequence! {
    /// The signed part of an eUICC Package. The signature covers its encoding followed by the
    /// association token as `84 LL VV` (`84 01 00` when there is none).
    pub struct EuiccPackageSigned @ 0x30 {
        req eim_id @ 0x80: EimId,
        req eid_value @ 0x5A: EidOctets,
        req counter_value @ 0x81: i64,
        opt eim_transaction_id @ 0x82: TransactionId,
        elem euicc_package: EuiccPackage,
    }
}

choice! {
    /// Either Profile State Management Operations or eIM Configuration Operations.
    pub enum EuiccPackage {
        value PsmoList @ 0xA0: Vec<Psmo>,
        value EcoList @ 0xA1: Vec<Eco>,
    }
}

choice! {
    /// A Profile State Management Operation.
    pub enum Psmo {
        value Enable @ 0xA3: EnablePsmo,
        value Disable @ 0xA4: IccidArgument,
        value Delete @ 0xA5: IccidArgument,
        elem ListProfileInfo: ProfileInfoListRequest,
        value GetRat @ 0xA6: NoArguments,
        value ConfigureImmediateEnable @ 0xA7: ConfigureImmediateEnable,
        value SetFallbackAttribute @ 0xA8: IccidArgument,
        value UnsetFallbackAttribute @ 0xA9: NoArguments,
        elem SetDefaultDpAddress: SetDefaultDpAddressRequest,
    }
}

sequence! {
    /// Enable a Profile.
    pub struct EnablePsmo @ 0x30 {
        req iccid @ 0x5A: Iccid,
        /// Present: the IPA may roll back when the new Profile has no connectivity.
        opt rollback_flag @ 0x05: Null,
    }
}

sequence! {
    /// The Profile an operation is about.
    pub struct IccidArgument @ 0x30 {
        req iccid @ 0x5A: Iccid,
    }
}

sequence! {
    /// An operation without arguments.
    pub struct NoArguments @ 0x30 {}
}

sequence! {
    /// Whether Profiles may be enabled right after their download, and from which SM-DP+.
    pub struct ConfigureImmediateEnable @ 0x30 {
        /// Present: allowed for later downloads.
        opt immediate_enable_flag @ 0x80: Null,
        opt default_smdp_oid @ 0x81: Oid,
        opt default_smdp_address @ 0x82: String,
    }
}

sequence! {
    /// Set the default SM-DP+ address; an empty text removes it.
    pub struct SetDefaultDpAddressRequest @ 0xBF65 {
        req default_dp_address @ 0x80: String,
    }
}

choice! {
    /// An eIM Configuration Operation.
    pub enum Eco {
        value AddEim @ 0xA8: EimConfigurationData,
        value DeleteEim @ 0xA9: DeleteEim,
        value UpdateEim @ 0xAA: EimConfigurationData,
        value ListEim @ 0xAB: NoArguments,
    }
}

sequence! {
    /// Remove an eIM from the eUICC.
    pub struct DeleteEim @ 0x30 {
        req eim_id @ 0x80: EimId,
    }
}

sequence! {
    /// Ask the IPA for data of the eUICC and of itself.
    pub struct IpaEuiccDataRequest @ 0xBF52 {
        /// Concatenated tags of members of IpaEuiccData.
        req tag_list @ 0x5C: Octets,
        opt euicc_ci_pk_identifier_to_be_used @ 0x04: Octets,
        opt search_criteria_notification @ 0xA1: SearchCriteriaNotification,
        opt search_criteria_euicc_package_result @ 0xA2: SearchCriteriaEuiccPackageResult,
        opt eim_transaction_id @ 0x83: TransactionId,
    }
}

choice! {
    /// Which Notifications to return.
    pub enum SearchCriteriaNotification {
        value SeqNumber @ 0x80: i64,
        value ProfileManagementOperation @ 0x81: NotificationEvent,
    }
}

choice! {
    /// Which eUICC Package Results to return.
    pub enum SearchCriteriaEuiccPackageResult {
        value SeqNumber @ 0x80: i64,
    }
}

sequence! {
    /// Tell the IPA to download a Profile.
    pub struct ProfileDownloadTriggerRequest @ 0xBF54 {
        opt profile_download_data @ 0xA0: ProfileDownloadData,
        opt eim_transaction_id @ 0x82: TransactionId,
    }
}

choice! {
    /// Where to download from.
    pub enum ProfileDownloadData {
        /// SGP.22 activation code, 0 to 255 characters, without the `LPA:` prefix.
        value ActivationCode @ 0x80: String,
        value ContactDefaultSmdp @ 0x81: Null,
        value ContactSmds @ 0xA2: ContactSmds,
    }
}

sequence! {
    /// Ask an SM-DS for events; without an address the root SM-DS configured on the eUICC.
    pub struct ContactSmds @ 0x30 {
        opt smds_address @ 0x80: String,
    }
}

tagged! {
    /// A sequence number of the eUICC's list of Notifications and eUICC Package Results.
    pub struct SequenceNumber @ 0x80: i64;
    /// What the IPA may remove from the eUICC's list.
    pub struct EimAcknowledgements @ 0xBF53: Vec<SequenceNumber>;
}
