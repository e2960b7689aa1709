//! Our codec against another one: messages of the SGP.32 v1.2 module, modelled a second time
//! with `rasn` from the module's text, must have the same octets in both.
//!
//! Certificates are modelled as whatever octets stand in them; extensibility is not modelled,
//! so messages with unknown elements are left out.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use rasn::types::{Any, OctetString, Utf8String};
use rsp::der::{Element, Encoded, Null, Octets, Oid};
use rsp::ids::{EidOctets, TransactionId};
use rsp::{sgp22, sgp32};

/// The messages as `rasn` types. Tags and order are those of the module; AUTOMATIC TAGS apply
/// only to types in which the module writes no tag.
#[expect(elided_lifetimes_in_paths, reason = "what the derive macros generate")]
mod model {
    use rasn::prelude::*;
    use rasn::types::{BitString, OctetString, Utf8String};

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 81))]
    pub(crate) struct EuiccPackageRequest {
        pub(crate) euicc_package_signed: EuiccPackageSigned,
        #[rasn(tag(application, 55))]
        pub(crate) eim_signature: OctetString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageSigned {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(application, 26))]
        pub(crate) eid_value: OctetString,
        #[rasn(tag(context, 1))]
        pub(crate) counter_value: i64,
        #[rasn(tag(context, 2))]
        pub(crate) eim_transaction_id: Option<OctetString>,
        pub(crate) euicc_package: EuiccPackage,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum EuiccPackage {
        #[rasn(tag(context, 0))]
        PsmoList(SequenceOf<Psmo>),
        #[rasn(tag(context, 1))]
        EcoList(SequenceOf<Eco>),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum Psmo {
        #[rasn(tag(context, 3))]
        Enable(Enable),
        #[rasn(tag(context, 4))]
        Disable(IccidOnly),
        #[rasn(tag(context, 5))]
        Delete(IccidOnly),
        #[rasn(tag(context, 45))]
        ListProfileInfo(ProfileInfoListRequest),
        #[rasn(tag(context, 6))]
        GetRat(Nothing),
        #[rasn(tag(context, 7))]
        ConfigureImmediateEnable(ConfigureImmediateEnable),
        #[rasn(tag(context, 8))]
        SetFallbackAttribute(IccidOnly),
        #[rasn(tag(context, 9))]
        UnsetFallbackAttribute(Nothing),
        #[rasn(tag(context, 101))]
        SetDefaultDpAddress(SetDefaultDpAddressRequest),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct Nothing {}

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct Enable {
        #[rasn(tag(application, 26))]
        pub(crate) iccid: OctetString,
        pub(crate) rollback_flag: Option<()>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct IccidOnly {
        #[rasn(tag(application, 26))]
        pub(crate) iccid: OctetString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct ProfileInfoListRequest {
        #[rasn(tag(explicit(context, 0)))]
        pub(crate) search_criteria: Option<ProfileSearchCriteria>,
        #[rasn(tag(application, 28))]
        pub(crate) tag_list: Option<OctetString>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum ProfileSearchCriteria {
        #[rasn(tag(application, 15))]
        IsdpAid(OctetString),
        #[rasn(tag(application, 26))]
        Iccid(OctetString),
        #[rasn(tag(context, 21))]
        ProfileClass(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct ConfigureImmediateEnable {
        #[rasn(tag(context, 0))]
        pub(crate) immediate_enable_flag: Option<()>,
        #[rasn(tag(context, 1))]
        pub(crate) default_smdp_oid: Option<ObjectIdentifier>,
        #[rasn(tag(context, 2))]
        pub(crate) default_smdp_address: Option<Utf8String>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 101))]
    pub(crate) struct SetDefaultDpAddressRequest {
        #[rasn(tag(context, 0))]
        pub(crate) default_dp_address: Utf8String,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    #[expect(
        clippy::enum_variant_names,
        reason = "the names are those of the module"
    )]
    pub(crate) enum Eco {
        #[rasn(tag(context, 8))]
        AddEim(EimConfigurationData),
        #[rasn(tag(context, 9))]
        DeleteEim(DeleteEim),
        #[rasn(tag(context, 10))]
        UpdateEim(EimConfigurationData),
        #[rasn(tag(context, 11))]
        ListEim(Nothing),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct DeleteEim {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EimConfigurationData {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(context, 1))]
        pub(crate) eim_fqdn: Option<Utf8String>,
        #[rasn(tag(context, 2))]
        pub(crate) eim_id_type: Option<i64>,
        #[rasn(tag(context, 3))]
        pub(crate) counter_value: Option<i64>,
        #[rasn(tag(context, 4))]
        pub(crate) association_token: Option<i64>,
        #[rasn(tag(explicit(context, 5)))]
        pub(crate) eim_public_key_data: Option<KeyOrCertificate>,
        #[rasn(tag(explicit(context, 6)))]
        pub(crate) trusted_public_key_data_tls: Option<KeyOrCertificate>,
        #[rasn(tag(context, 7))]
        pub(crate) eim_supported_protocol: Option<BitString>,
        #[rasn(tag(context, 8))]
        pub(crate) euicc_ci_pk_id: Option<OctetString>,
        #[rasn(tag(context, 9))]
        pub(crate) indirect_profile_download: Option<()>,
    }

    /// Both CHOICEs of the module have a key first and a certificate second.
    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum KeyOrCertificate {
        #[rasn(tag(context, 0))]
        Key(SubjectPublicKeyInfo),
        #[rasn(tag(context, 1))]
        Certificate(Certificate),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct SubjectPublicKeyInfo {
        pub(crate) algorithm: Any,
        pub(crate) subject_public_key: BitString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct Certificate {
        pub(crate) tbs_certificate: Any,
        pub(crate) signature_algorithm: Any,
        pub(crate) signature_value: BitString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(delegate, tag(explicit(context, 81)))]
    pub(crate) struct EuiccPackageResult(pub(crate) EuiccPackageResultArms);

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum EuiccPackageResultArms {
        #[rasn(tag(context, 0))]
        Signed(EuiccPackageResultSigned),
        #[rasn(tag(context, 1))]
        ErrorSigned(EuiccPackageErrorSigned),
        #[rasn(tag(context, 2))]
        ErrorUnsigned(EuiccPackageErrorUnsigned),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageResultSigned {
        pub(crate) data: EuiccPackageResultDataSigned,
        #[rasn(tag(application, 55))]
        pub(crate) euicc_sign_epr: OctetString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageResultDataSigned {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(context, 1))]
        pub(crate) counter_value: i64,
        #[rasn(tag(context, 2))]
        pub(crate) eim_transaction_id: Option<OctetString>,
        #[rasn(tag(context, 3))]
        pub(crate) seq_number: i64,
        pub(crate) euicc_result: SequenceOf<EuiccResultData>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum EuiccResultData {
        #[rasn(tag(context, 3))]
        Enable(i64),
        #[rasn(tag(context, 4))]
        Disable(i64),
        #[rasn(tag(context, 5))]
        Delete(i64),
        #[rasn(tag(explicit(context, 45)))]
        ListProfileInfo(ProfileInfoListResponse),
        #[rasn(tag(context, 7))]
        ConfigureImmediateEnable(i64),
        #[rasn(tag(explicit(context, 8)))]
        AddEim(AddEimResult),
        #[rasn(tag(context, 9))]
        DeleteEim(i64),
        #[rasn(tag(context, 10))]
        UpdateEim(i64),
        #[rasn(tag(explicit(context, 11)))]
        ListEim(ListEimResult),
        #[rasn(tag(context, 12))]
        Rollback(i64),
        #[rasn(tag(context, 13))]
        SetFallbackAttribute(i64),
        #[rasn(tag(context, 14))]
        UnsetFallbackAttribute(i64),
        ProcessingTerminated(i64),
        #[rasn(tag(context, 101))]
        SetDefaultDpAddress(SetDefaultDpAddressResponse),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum ProfileInfoListResponse {
        #[rasn(tag(context, 0))]
        Ok(SequenceOf<ProfileInfo>),
        #[rasn(tag(context, 1))]
        Error(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(private, 3))]
    pub(crate) struct ProfileInfo {
        #[rasn(tag(application, 26))]
        pub(crate) iccid: Option<OctetString>,
        #[rasn(tag(application, 15))]
        pub(crate) isdp_aid: Option<OctetString>,
        #[rasn(tag(context, 112))]
        pub(crate) profile_state: Option<i64>,
        #[rasn(tag(context, 16))]
        pub(crate) profile_nickname: Option<Utf8String>,
        #[rasn(tag(context, 17))]
        pub(crate) service_provider_name: Option<Utf8String>,
        #[rasn(tag(context, 18))]
        pub(crate) profile_name: Option<Utf8String>,
        #[rasn(tag(context, 19))]
        pub(crate) icon_type: Option<i64>,
        #[rasn(tag(context, 20))]
        pub(crate) icon: Option<OctetString>,
        #[rasn(tag(context, 21))]
        pub(crate) profile_class: Option<i64>,
        #[rasn(tag(context, 23))]
        pub(crate) profile_owner: Option<OperatorId>,
        #[rasn(tag(context, 25))]
        pub(crate) profile_policy_rules: Option<BitString>,
        #[rasn(tag(context, 123))]
        pub(crate) ecall_indication: Option<bool>,
        #[rasn(tag(context, 38))]
        pub(crate) fallback_attribute: Option<bool>,
        #[rasn(tag(context, 103))]
        pub(crate) fallback_allowed: Option<bool>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct OperatorId {
        #[rasn(tag(context, 0))]
        pub(crate) mcc_mnc: OctetString,
        #[rasn(tag(context, 1))]
        pub(crate) gid1: Option<OctetString>,
        #[rasn(tag(context, 2))]
        pub(crate) gid2: Option<OctetString>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum AddEimResult {
        #[rasn(tag(context, 4))]
        AssociationToken(i64),
        Code(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum ListEimResult {
        #[rasn(tag(context, 0))]
        List(SequenceOf<EimIdInfo>),
        #[rasn(tag(context, 1))]
        Error(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EimIdInfo {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(context, 2))]
        pub(crate) eim_id_type: Option<i64>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 101))]
    pub(crate) struct SetDefaultDpAddressResponse {
        #[rasn(tag(context, 0))]
        pub(crate) result: i64,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageErrorSigned {
        pub(crate) data: EuiccPackageErrorDataSigned,
        #[rasn(tag(application, 55))]
        pub(crate) euicc_sign_epe: OctetString,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageErrorDataSigned {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(context, 1))]
        pub(crate) counter_value: i64,
        #[rasn(tag(context, 2))]
        pub(crate) eim_transaction_id: Option<OctetString>,
        pub(crate) code: i64,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EuiccPackageErrorUnsigned {
        #[rasn(tag(context, 0))]
        pub(crate) eim_id: Utf8String,
        #[rasn(tag(context, 2))]
        pub(crate) eim_transaction_id: Option<OctetString>,
        #[rasn(tag(context, 4))]
        pub(crate) association_token: Option<i64>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 79))]
    pub(crate) struct GetEimPackageRequest {
        #[rasn(tag(application, 26))]
        pub(crate) eid_value: OctetString,
        #[rasn(tag(context, 0))]
        pub(crate) notify_state_change: Option<()>,
        #[rasn(tag(context, 1))]
        pub(crate) state_change_cause: Option<i64>,
        #[rasn(tag(context, 2))]
        pub(crate) r_plmn: Option<OctetString>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice, tag(explicit(context, 79)))]
    pub(crate) enum GetEimPackageResponse {
        #[rasn(tag(context, 81))]
        EuiccPackageRequest(EuiccPackageRequest),
        #[rasn(tag(context, 82))]
        IpaEuiccDataRequest(IpaEuiccDataRequest),
        #[rasn(tag(context, 84))]
        ProfileDownloadTriggerRequest(ProfileDownloadTriggerRequest),
        EimPackageError(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 82))]
    pub(crate) struct IpaEuiccDataRequest {
        #[rasn(tag(application, 28))]
        pub(crate) tag_list: OctetString,
        pub(crate) euicc_ci_pk_identifier_to_be_used: Option<OctetString>,
        #[rasn(tag(explicit(context, 1)))]
        pub(crate) search_criteria_notification: Option<SearchCriteriaNotification>,
        #[rasn(tag(explicit(context, 2)))]
        pub(crate) search_criteria_euicc_package_result: Option<SearchCriteriaResult>,
        #[rasn(tag(context, 3))]
        pub(crate) eim_transaction_id: Option<OctetString>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum SearchCriteriaNotification {
        #[rasn(tag(context, 0))]
        SeqNumber(i64),
        #[rasn(tag(context, 1))]
        ProfileManagementOperation(BitString),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum SearchCriteriaResult {
        #[rasn(tag(context, 0))]
        SeqNumber(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 84))]
    pub(crate) struct ProfileDownloadTriggerRequest {
        #[rasn(tag(explicit(context, 0)))]
        pub(crate) profile_download_data: Option<ProfileDownloadData>,
        #[rasn(tag(context, 2))]
        pub(crate) eim_transaction_id: Option<OctetString>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum ProfileDownloadData {
        #[rasn(tag(context, 0))]
        ActivationCode(Utf8String),
        #[rasn(tag(context, 1))]
        ContactDefaultSmdp(()),
        #[rasn(tag(context, 2))]
        ContactSmds(ContactSmds),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct ContactSmds {
        #[rasn(tag(context, 0))]
        pub(crate) smds_address: Option<Utf8String>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(delegate, tag(context, 0))]
    pub(crate) struct SequenceNumber(pub(crate) i64);

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(delegate, tag(context, 83))]
    pub(crate) struct EimAcknowledgements(pub(crate) SequenceOf<SequenceNumber>);

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 80))]
    pub(crate) struct ProvideEimPackageResult {
        #[rasn(tag(application, 26))]
        pub(crate) eid_value: Option<OctetString>,
        pub(crate) eim_package_result: EimPackageResult,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum EimPackageResult {
        // Without the type's own tag, which `rasn` would write a second time here.
        #[rasn(tag(explicit(context, 81)))]
        EuiccPackageResult(EuiccPackageResultArms),
        #[rasn(tag(context, 0))]
        ResponseError(EimPackageResultResponseError),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    pub(crate) struct EimPackageResultResponseError {
        #[rasn(tag(context, 0))]
        pub(crate) eim_transaction_id: Option<OctetString>,
        pub(crate) code: i64,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice, tag(explicit(context, 80)))]
    pub(crate) enum ProvideEimPackageResultResponse {
        #[rasn(tag(context, 83))]
        EimAcknowledgements(EimAcknowledgements),
        EmptyResponse(Nothing),
        Error(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 87))]
    pub(crate) struct AddInitialEimRequest {
        #[rasn(tag(context, 0))]
        pub(crate) eim_configuration_data_list: SequenceOf<EimConfigurationData>,
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice, tag(explicit(context, 87)))]
    pub(crate) enum AddInitialEimResponse {
        #[rasn(tag(context, 0))]
        Ok(SequenceOf<AddInitialEimOk>),
        #[rasn(tag(context, 1))]
        Error(i64),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(choice)]
    pub(crate) enum AddInitialEimOk {
        #[rasn(tag(context, 4))]
        AssociationToken(i64),
        AddOk(()),
    }

    #[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq)]
    #[rasn(tag(context, 100))]
    pub(crate) struct EuiccMemoryResetRequest {
        #[rasn(tag(context, 2))]
        pub(crate) reset_options: BitString,
    }
}

const EID: [u8; 16] = hex_literal::hex!("89049032123451234512345678901235");
const ICCID: [u8; 10] = hex_literal::hex!("98001032547698103214");
const SIGNATURE: [u8; 64] = [0x5A; 64];

#[test]
fn a_package_with_every_psmo() {
    let iccid = rsp::ids::Iccid::from_octets(ICCID).unwrap_or_else(|error| panic!("{error}"));
    let only = || sgp32::IccidArgument {
        iccid,
        extensions: Default::default(),
    };
    let ours = sgp32::EuiccPackageRequest {
        euicc_package_signed: Encoded::new(sgp32::EuiccPackageSigned {
            eim_id: eim_id(),
            eid_value: EidOctets(EID),
            counter_value: 8_388_607,
            eim_transaction_id: Some(transaction()),
            euicc_package: sgp32::EuiccPackage::PsmoList(vec![
                sgp32::Psmo::Enable(sgp32::EnablePsmo {
                    iccid,
                    rollback_flag: Some(Null),
                    extensions: Default::default(),
                }),
                sgp32::Psmo::Disable(only()),
                sgp32::Psmo::Delete(only()),
                sgp32::Psmo::ListProfileInfo(sgp22::ProfileInfoListRequest {
                    search_criteria: Some(sgp22::ProfileSearchCriteria::Iccid(iccid)),
                    tag_list: Some(Octets(vec![0x5A, 0x9F, 0x70])),
                    extensions: Default::default(),
                }),
                sgp32::Psmo::GetRat(sgp32::NoArguments {
                    extensions: Default::default(),
                }),
                sgp32::Psmo::ConfigureImmediateEnable(sgp32::ConfigureImmediateEnable {
                    immediate_enable_flag: Some(Null),
                    default_smdp_oid: Some(oid("2.999.10")),
                    default_smdp_address: Some("smdp.example.com".into()),
                    extensions: Default::default(),
                }),
                sgp32::Psmo::SetFallbackAttribute(only()),
                sgp32::Psmo::UnsetFallbackAttribute(sgp32::NoArguments {
                    extensions: Default::default(),
                }),
                sgp32::Psmo::SetDefaultDpAddress(sgp32::SetDefaultDpAddressRequest {
                    default_dp_address: "x".repeat(128),
                    extensions: Default::default(),
                }),
            ]),
            extensions: Default::default(),
        }),
        eim_signature: sgp22::Signature(Octets(SIGNATURE.to_vec())),
        extensions: Default::default(),
    };
    let only = || model::IccidOnly {
        iccid: octets(&ICCID),
    };
    let theirs = model::EuiccPackageRequest {
        euicc_package_signed: model::EuiccPackageSigned {
            eim_id: text("eim.example.com"),
            eid_value: octets(&EID),
            counter_value: 8_388_607,
            eim_transaction_id: Some(octets(&[0xAA; 16])),
            euicc_package: model::EuiccPackage::PsmoList(vec![
                model::Psmo::Enable(model::Enable {
                    iccid: octets(&ICCID),
                    rollback_flag: Some(()),
                }),
                model::Psmo::Disable(only()),
                model::Psmo::Delete(only()),
                model::Psmo::ListProfileInfo(model::ProfileInfoListRequest {
                    search_criteria: Some(model::ProfileSearchCriteria::Iccid(octets(&ICCID))),
                    tag_list: Some(octets(&[0x5A, 0x9F, 0x70])),
                }),
                model::Psmo::GetRat(model::Nothing {}),
                model::Psmo::ConfigureImmediateEnable(model::ConfigureImmediateEnable {
                    immediate_enable_flag: Some(()),
                    default_smdp_oid: Some(rasn::types::ObjectIdentifier::new_unchecked(
                        vec![2, 999, 10].into(),
                    )),
                    default_smdp_address: Some(text("smdp.example.com")),
                }),
                model::Psmo::SetFallbackAttribute(only()),
                model::Psmo::UnsetFallbackAttribute(model::Nothing {}),
                model::Psmo::SetDefaultDpAddress(model::SetDefaultDpAddressRequest {
                    default_dp_address: text(&"x".repeat(128)),
                }),
            ]),
        },
        eim_signature: octets(&SIGNATURE),
    };
    same(&ours, &theirs);
}

#[test]
fn eim_configuration_data_with_key_and_certificate() {
    let spki = hex_literal::hex!("30 0D 30 06 06 04 2A 03 04 05 03 03 00 AA BB");
    let certificate = hex_literal::hex!("30 0E 30 03 02 01 07 30 02 05 00 03 03 00 AA BB");
    let key = || {
        sgp22::SubjectPublicKeyInfo::from_der_bytes(spki.to_vec()).unwrap_or_else(|e| panic!("{e}"))
    };
    let cert = || {
        sgp22::Certificate::from_der_bytes(certificate.to_vec()).unwrap_or_else(|e| panic!("{e}"))
    };
    let data = sgp32::EimConfigurationData {
        eim_fqdn: Some("eim.example.com".into()),
        eim_id_type: Some(sgp32::EimIdType::EimIdTypeFqdn),
        counter_value: Some(0),
        association_token: Some(-1),
        eim_public_key_data: Some(sgp32::EimPublicKeyData::EimPublicKey(key())),
        trusted_public_key_data_tls: Some(sgp32::TrustedPublicKeyDataTls::TrustedCertificateTls(
            cert(),
        )),
        eim_supported_protocol: Some(sgp32::EimSupportedProtocol::of([0, 2])),
        euicc_ci_pk_id: Some(sgp22::KeyIdentifier(Octets(vec![0x11; 20]))),
        indirect_profile_download: Some(Null),
        ..sgp32::EimConfigurationData::named(eim_id())
    };
    let ours = sgp32::AddInitialEimRequest {
        eim_configuration_data_list: vec![data, sgp32::EimConfigurationData::named(eim_id())],
        extensions: Default::default(),
    };
    let bits = |octets: &[u8]| rasn::types::BitString::from_slice(octets);
    let mut protocols = bits(&[0xA0]);
    protocols.truncate(3);
    let named = || model::EimConfigurationData {
        eim_id: text("eim.example.com"),
        eim_fqdn: None,
        eim_id_type: None,
        counter_value: None,
        association_token: None,
        eim_public_key_data: None,
        trusted_public_key_data_tls: None,
        eim_supported_protocol: None,
        euicc_ci_pk_id: None,
        indirect_profile_download: None,
    };
    let theirs = model::AddInitialEimRequest {
        eim_configuration_data_list: vec![
            model::EimConfigurationData {
                eim_fqdn: Some(text("eim.example.com")),
                eim_id_type: Some(2),
                counter_value: Some(0),
                association_token: Some(-1),
                eim_public_key_data: Some(model::KeyOrCertificate::Key(
                    model::SubjectPublicKeyInfo {
                        algorithm: Any::new(spki[2..10].to_vec()),
                        subject_public_key: bits(&[0xAA, 0xBB]),
                    },
                )),
                trusted_public_key_data_tls: Some(model::KeyOrCertificate::Certificate(
                    model::Certificate {
                        tbs_certificate: Any::new(certificate[2..7].to_vec()),
                        signature_algorithm: Any::new(certificate[7..11].to_vec()),
                        signature_value: bits(&[0xAA, 0xBB]),
                    },
                )),
                eim_supported_protocol: Some(protocols),
                euicc_ci_pk_id: Some(octets(&[0x11; 20])),
                indirect_profile_download: Some(()),
                ..named()
            },
            named(),
        ],
    };
    same(&ours, &theirs);
}

#[test]
fn a_signed_result_in_its_message() {
    use sgp32::EuiccResultData as R;
    let ours = sgp32::ProvideEimPackageResult {
        eid_value: Some(EidOctets(EID)),
        eim_package_result: sgp32::EimPackageResult::EuiccPackageResult(
            sgp32::EuiccPackageResult::EuiccPackageResultSigned(sgp32::EuiccPackageResultSigned {
                euicc_package_result_data_signed: Encoded::new(
                    sgp32::EuiccPackageResultDataSigned {
                        eim_id: eim_id(),
                        counter_value: 128,
                        eim_transaction_id: None,
                        seq_number: 300,
                        euicc_result: vec![
                            R::EnableResult(sgp32::EnableProfileResult::RollbackNotAvailable),
                            R::AddEimResult(sgp32::AddEimResult::AssociationToken(255)),
                            R::AddEimResult(sgp32::AddEimResult::AddEimResultCode(
                                sgp32::AddEimResultCode::CiPKUnknown,
                            )),
                            R::ListEimResult(sgp32::ListEimResult::EimIdList(vec![
                                sgp32::EimIdInfo {
                                    eim_id: eim_id(),
                                    eim_id_type: Some(sgp32::EimIdType::EimIdTypeOid),
                                    extensions: Default::default(),
                                },
                            ])),
                            R::ProcessingTerminated(sgp32::ProcessingTerminated::Interruption),
                        ],
                        extensions: Default::default(),
                    },
                ),
                euicc_sign_epr: sgp22::Signature(Octets(SIGNATURE.to_vec())),
                extensions: Default::default(),
            }),
        ),
        extensions: Default::default(),
    };
    let theirs = model::ProvideEimPackageResult {
        eid_value: Some(octets(&EID)),
        eim_package_result: model::EimPackageResult::EuiccPackageResult(
            model::EuiccPackageResultArms::Signed(model::EuiccPackageResultSigned {
                data: model::EuiccPackageResultDataSigned {
                    eim_id: text("eim.example.com"),
                    counter_value: 128,
                    eim_transaction_id: None,
                    seq_number: 300,
                    euicc_result: vec![
                        model::EuiccResultData::Enable(20),
                        model::EuiccResultData::AddEim(model::AddEimResult::AssociationToken(255)),
                        model::EuiccResultData::AddEim(model::AddEimResult::Code(3)),
                        model::EuiccResultData::ListEim(model::ListEimResult::List(vec![
                            model::EimIdInfo {
                                eim_id: text("eim.example.com"),
                                eim_id_type: Some(1),
                            },
                        ])),
                        model::EuiccResultData::ProcessingTerminated(3),
                    ],
                },
                euicc_sign_epr: octets(&SIGNATURE),
            }),
        ),
    };
    same(&ours, &theirs);
}

#[test]
fn acknowledgements_and_their_absence() {
    let numbers = [0, 1, 127, 128, 255, 256, 65_535, 8_388_608];
    let ours = sgp32::EimAcknowledgements(
        numbers
            .iter()
            .map(|&number| sgp32::SequenceNumber(number))
            .collect(),
    );
    let theirs = model::EimAcknowledgements(
        numbers
            .iter()
            .map(|&number| model::SequenceNumber(number))
            .collect(),
    );
    same(&ours, &theirs);
    same(
        &sgp32::ProvideEimPackageResultResponse::EimAcknowledgements(ours),
        &model::ProvideEimPackageResultResponse::EimAcknowledgements(theirs),
    );
    same(
        &sgp32::ProvideEimPackageResultResponse::EmptyResponse(sgp32::EmptyResponse {
            extensions: Default::default(),
        }),
        &model::ProvideEimPackageResultResponse::EmptyResponse(model::Nothing {}),
    );
    same(
        &sgp32::ProvideEimPackageResultResponse::ProvideEimPackageResultError(
            sgp32::ProvideEimPackageResultError::UndefinedError,
        ),
        &model::ProvideEimPackageResultResponse::Error(127),
    );
}

/// `differential! { Ours = Theirs, … }` makes one test per message with generated values.
macro_rules! differential {
    ( $( $test:ident: $ours:ident = $theirs:ident ),* $(,)? ) => { $(
        #[test]
        fn $test() {
            generated::<sgp32::$ours, model::$theirs>();
        }
    )* };
}

differential! {
    generated_get_eim_package_requests: GetEimPackageRequest = GetEimPackageRequest,
    generated_get_eim_package_responses: GetEimPackageResponse = GetEimPackageResponse,
    generated_euicc_package_requests: EuiccPackageRequest = EuiccPackageRequest,
    generated_euicc_package_results: EuiccPackageResult = EuiccPackageResult,
    generated_provide_eim_package_results: ProvideEimPackageResult = ProvideEimPackageResult,
    generated_ipa_euicc_data_requests: IpaEuiccDataRequest = IpaEuiccDataRequest,
    generated_profile_download_triggers: ProfileDownloadTriggerRequest = ProfileDownloadTriggerRequest,
    generated_eim_acknowledgements: EimAcknowledgements = EimAcknowledgements,
    generated_add_initial_eim_requests: AddInitialEimRequest = AddInitialEimRequest,
    generated_add_initial_eim_responses: AddInitialEimResponse = AddInitialEimResponse,
    generated_memory_resets: EuiccMemoryResetRequest = EuiccMemoryResetRequest,
    generated_eim_configuration_data: EimConfigurationData = EimConfigurationData,
}

/// Both codecs agree on one value, written down twice.
fn same<O, T>(ours: &O, theirs: &T)
where
    O: Element + PartialEq + Debug,
    T: rasn::Encode + rasn::Decode + PartialEq + Debug,
{
    let our_octets = ours.to_der();
    let their_octets = rasn::der::encode(theirs).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(hex::encode(&our_octets), hex::encode(&their_octets));
    assert_eq!(O::from_der(&their_octets).as_ref(), Ok(ours));
    let decoded: T = rasn::der::decode(&our_octets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(&decoded, theirs);
}

/// Whatever the other codec reads of our octets, it writes back the same. Values with elements
/// that the model does not have are passed over, but most must be understood.
fn generated<O, T>()
where
    O: Element + PartialEq + Debug + for<'a> Arbitrary<'a>,
    T: rasn::Encode + rasn::Decode + Debug,
{
    const VALUES: u64 = 400;
    let (mut compared, mut known) = (0, 0);
    for seed in 0..VALUES {
        let Ok(ours) = O::arbitrary(&mut Unstructured::new(&noise(seed))) else {
            continue;
        };
        let shown = format!("{ours:?}");
        // Tags DF70 and above, as generated for extensions, and alternatives that are unknown.
        if shown.contains("Unknown(") || shown.contains("RawElement") {
            continue;
        }
        known += 1;
        let our_octets = ours.to_der();
        let Ok(theirs) = rasn::der::decode::<T>(&our_octets) else {
            continue;
        };
        let their_octets = rasn::der::encode(&theirs).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            hex::encode(&our_octets),
            hex::encode(&their_octets),
            "{theirs:?}"
        );
        compared += 1;
    }
    println!("{}: {compared} of {known} compared", O::info().name);
    assert!(
        compared >= 20 && compared * 4 >= known,
        "{compared} of {known}: the comparison means something"
    );
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(2048)
    .collect()
}

fn eim_id() -> sgp32::EimId {
    "eim.example.com"
        .parse()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn transaction() -> TransactionId {
    TransactionId::new(&[0xAA; 16]).unwrap_or_else(|error| panic!("{error}"))
}

fn oid(dotted: &str) -> Oid {
    Oid::from_dotted(dotted).unwrap_or_else(|error| panic!("{error}"))
}

fn text(text: &str) -> Utf8String {
    text.to_owned()
}

fn octets(octets: &[u8]) -> OctetString {
    OctetString::from_slice(octets)
}
