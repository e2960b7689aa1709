//! Published SGP.32 messages decode, mean what their publishers say, and encode to the same octets;
//! what is known to be wrong is accepted or refused as the origin notes say.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fmt::Debug;

use rsp::der::{
    BitString, Element, Encoded, ErrorKind, Limits, Null, Octets, Reader, Tag, Value, Writer,
};
use rsp::ids::{Eid, EidOctets};
use rsp::sgp22::{
    Certificate, EuiccInfo1, ProfileInfo, ProfileInfoListResponse, ProfileState, Signature,
};
use rsp::sgp32::*;

/// The octets of one vector.
fn vector(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../tests/data/vectors/{name}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    hex::decode(text.trim()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn decode<T: Element>(octets: &[u8]) -> T {
    T::from_der(octets).unwrap_or_else(|error| panic!("{error}"))
}

/// Decodes octets and checks that they come back, and that they are refused when cut or prolonged.
fn lossless<T: Element + Debug>(octets: &[u8]) -> T {
    let value: T = decode(octets);
    assert_eq!(hex::encode(value.to_der()), hex::encode(octets));
    for cut in [1, octets.len() / 2, octets.len() - 1] {
        let (shortened, _) = octets.split_at(cut);
        assert!(T::from_der(shortened).is_err(), "cut at {cut}");
    }
    assert!(T::from_der(&[octets, &[0x00]].concat()).is_err());
    value
}

/// Exactly these octets are a message, and this is what it says.
fn worked<T: Element + Debug + PartialEq>(text: &str, value: &T) {
    assert_eq!(hex::encode_upper(value.to_der()), text.replace(' ', ""));
    assert_eq!(&lossless::<T>(&octets(text)), value);
}

/// One TLV.
fn tlv(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.tlv(Tag::new(tag), |writer| writer.raw(content));
    writer.into_bytes()
}

fn eid(digits: &str) -> EidOctets {
    digits.parse::<Eid>().unwrap().to_field()
}

fn signed_result(result: &EuiccPackageResult) -> &EuiccPackageResultSigned {
    match result {
        EuiccPackageResult::EuiccPackageResultSigned(signed) => signed,
        other => panic!("{other:?}"),
    }
}

fn profiles(data: &EuiccResultData) -> &[ProfileInfo] {
    match data {
        EuiccResultData::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(
            list,
        )) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_poll_for_work() {
    let request: GetEimPackageRequest = lossless(&vector("get_eim_package_request_minimal"));
    assert_eq!(
        request.eid_value.to_string(),
        "89044045930000000000001492294428"
    );
    assert!(Eid::try_from(request.eid_value).is_ok());
    assert_eq!(request.notify_state_change, None);
    assert_eq!(request.state_change_cause, None);
}

#[test]
fn a_list_of_profiles_of_a_real_card() {
    let delivered: ProvideEimPackageResult =
        lossless(&vector("provide_eim_package_result_listprofileinfo_kigen"));
    assert_eq!(
        delivered.eid_value,
        Some(eid("89044045930000000000002153893210"))
    );
    let EimPackageResult::EuiccPackageResult(result) = &delivered.eim_package_result else {
        panic!("{delivered:?}");
    };
    let signed = signed_result(result);
    assert_eq!(signed.euicc_sign_epr.len(), 64);
    let data = &signed.euicc_package_result_data_signed;
    assert_eq!(data.eim_id.as_str(), "eim.symb-iot.com");
    assert_eq!((data.counter_value, data.seq_number), (13, 14));
    assert_eq!(
        data.eim_transaction_id.as_ref().unwrap().to_string(),
        "84C760645756D9C31BF1A45211C1C5BF"
    );
    let [result] = data.euicc_result.as_slice() else {
        panic!("one operation");
    };
    let listed = profiles(result);
    assert_eq!(listed.len(), 4);
    let [first, ..] = listed else { unreachable!() };
    assert_eq!(first.iccid.unwrap().to_string(), "89000123456789012341");
    assert_eq!(first.service_provider_name.as_deref(), Some("Kigen"));
    assert_eq!(
        first.profile_name.as_deref(),
        Some("GSMA Generic eUICC Test Profile")
    );
    assert!(
        listed
            .iter()
            .any(|profile| profile.profile_state == Some(ProfileState::Disabled))
    );

    // What the signature covers is a slice of the message.
    let message = vector("provide_eim_package_result_listprofileinfo_kigen");
    assert!(
        message
            .windows(data.bytes().len())
            .any(|window| window == data.bytes())
    );
    assert_eq!(data.bytes().first(), Some(&0x30));
}

#[test]
fn a_truncated_list_of_profiles_of_a_real_card() {
    let message = vector("provide_eim_package_result_listprofileinfo_TRUNCATED");
    let error = ProvideEimPackageResult::from_der(&message).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Truncated);

    // Its first profile is whole, and has the DEFAULT values written out.
    let start = message.iter().position(|&octet| octet == 0xE3).unwrap();
    let limits = Limits::default();
    let (_, rest) = message.split_at(start);
    let whole = Reader::new(rest, &limits)
        .unwrap()
        .expect(Tag::new(0xE3))
        .unwrap()
        .whole();
    let profile: ProfileInfo = lossless(whole);
    assert_eq!(profile.profile_name.as_deref(), Some("SGP32_Gong_Tian"));
    assert_eq!(profile.ecall_indication, Some(false));
    assert_eq!(profile.fallback_attribute, Some(false));
    assert_eq!(profile.fallback_allowed, Some(true));
}

#[test]
fn configuration_data_of_a_real_card() {
    let message = vector("get_eim_configuration_data_response_idemia_TRUNCATED");
    let error = GetEimConfigurationDataResponse::from_der(&message).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Truncated);

    // The members in front of the certificate.
    let at = |needle: &[u8]| {
        message
            .windows(needle.len())
            .position(|window| window == needle)
            .unwrap()
    };
    let (start, end) = (at(&[0x80, 0x1D]), at(&[0xA5, 0x82]));
    let data: EimConfigurationData = lossless(&tlv(0x30, message.get(start..end).unwrap()));
    assert_eq!(data.eim_id.as_str(), "1.3.6.1.4.1.54916.999.100.101");
    assert_eq!(data.eim_fqdn.as_deref(), Some("eim-scm.ci.cs.idemia.io"));
    assert_eq!(data.eim_id_type, Some(EimIdType::EimIdTypeOid));
    assert_eq!(data.counter_value, None);
    // A5 A1, then the first member of Certificate at once: tbsCertificate, whose first element is
    // the version. With an own SEQUENCE another 30 would stand between.
    let (_, certificate) = message.split_at(end);
    assert_eq!(
        hex::encode(certificate.get(..13).unwrap()),
        "a5820223a182021f308201c4a0"
    );
}

#[test]
fn configuration_data_with_a_public_key() {
    let request: AddInitialEimRequest = lossless(&vector("add_initial_eim_request_onomondo"));
    let [data] = request.eim_configuration_data_list.as_slice() else {
        panic!("one eIM");
    };
    assert_eq!(data.eim_id.as_str(), "eIM");
    assert_eq!(
        data.association_token,
        Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN)
    );
    assert!(matches!(
        data.eim_public_key_data,
        Some(EimPublicKeyData::EimPublicKey(_))
    ));

    let data: EimConfigurationData = lossless(&vector("eim_configuration_data_onomondo"));
    assert_eq!(data.eim_id.as_str(), "eIM2");
    assert_eq!(data.eim_fqdn.as_deref(), Some("127.0.0.1:8000"));
    assert_eq!(data.counter_value, Some(1));
    let Some(EimPublicKeyData::EimPublicKey(key)) = data.eim_public_key_data else {
        panic!("a key");
    };
    // An uncompressed point of P-256 in a SubjectPublicKeyInfo has 91 octets.
    assert_eq!(key.as_der().len(), 91);
    assert_eq!(key.as_der().first(), Some(&0x30));
}

#[test]
fn certificates_under_implicit_tags_may_have_kept_their_own() {
    let message = vector("get_certs_response_v13_synthetic");
    let GetCertsResponse::Certs(certs) = lossless(&message) else {
        panic!("certificates");
    };
    let nested = |tag: u32, certificate: &Certificate| tlv(tag, certificate.as_der());
    let kept = tlv(
        0xBF56,
        &tlv(
            0xA0,
            &[
                nested(0xA5, &certs.eum_certificate),
                nested(0xA6, &certs.euicc_certificate),
            ]
            .concat(),
        ),
    );
    let read: GetCertsResponse = decode(&kept);
    assert_eq!(read, GetCertsResponse::Certs(certs));
    assert_eq!(read.to_der(), message, "emitted by the module");

    // The same in eIM Configuration Data.
    let certificate = vector("euicc_certificate_sysmo_i2t");
    let data = |certificate: &[u8]| {
        let arm = tlv(0xA5, &tlv(0xA1, certificate));
        tlv(0x30, &[tlv(0x80, b"eim"), arm].concat())
    };
    let limits = Limits::default();
    let members = Reader::new(&certificate, &limits)
        .unwrap()
        .expect_any()
        .unwrap()
        .content();
    let implicit: EimConfigurationData = lossless(&data(members));
    let kept: EimConfigurationData = decode(&data(&certificate));
    assert_eq!(kept, implicit);
    let Some(EimPublicKeyData::EimCertificate(read)) = kept.eim_public_key_data else {
        panic!("a certificate");
    };
    assert_eq!(read.as_der(), certificate);
}

#[test]
fn data_of_euicc_and_ipa() {
    // The publisher's EUICCInfo1 lacks both lists of CI keys: refused, and the place is named.
    let message = vector("ipa_euicc_data_response_openiotrsp");
    let error = IpaEuiccDataResponse::from_der(&message).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Missing);
    assert!(
        error
            .place()
            .ends_with("euicc_ci_pk_id_list_for_verification"),
        "{error}"
    );

    // With the EUICCInfo1 of a card in its place.
    let info = vector("euicc_info1_sysmo_i2t");
    let certificate = message.get(message.len() - 385..).unwrap();
    assert_eq!(certificate.first(), Some(&0xA6));
    let content = [&[0xA0, 0x00][..], &info, certificate].concat();
    let arm = tlv(0xA0, &content);
    let IpaEuiccDataResponse::IpaEuiccData(data) = lossless(&tlv(0xBF52, &arm)) else {
        panic!("data");
    };
    assert_eq!(data.notifications_list, Some(vec![]));
    assert_eq!(data.euicc_info1, Some(decode::<EuiccInfo1>(&info)));
    assert!(data.euicc_certificate.is_some());

    // Without the arm tag, and with SEQUENCE written for it.
    for deviating in [tlv(0xBF52, &content), tlv(0xBF52, &tlv(0x30, &content))] {
        let read: IpaEuiccDataResponse = decode(&deviating);
        assert_eq!(read, IpaEuiccDataResponse::IpaEuiccData(data.clone()));
        assert_eq!(read.to_der(), tlv(0xBF52, &arm));
    }
}

#[test]
fn acknowledgements_and_triggers() {
    let acknowledged: EimAcknowledgements = lossless(&vector("eim_acknowledgements_two"));
    assert_eq!(*acknowledged, [SequenceNumber(1), SequenceNumber(2)]);

    let trigger: ProfileDownloadTriggerRequest =
        lossless(&vector("profile_download_trigger_activation_code"));
    assert_eq!(
        trigger.profile_download_data,
        Some(ProfileDownloadData::ActivationCode("ACT".into()))
    );
    assert_eq!(trigger.eim_transaction_id.unwrap().to_string(), "0102");

    let trigger: ProfileDownloadTriggerRequest =
        lossless(&vector("profile_download_trigger_default_smdp"));
    assert_eq!(
        trigger.profile_download_data,
        Some(ProfileDownloadData::ContactDefaultSmdp(Null))
    );
}

#[test]
fn packages_made_by_another_encoder() {
    let request: EuiccPackageRequest = lossless(&vector("euicc_package_request_enable"));
    let package = &request.euicc_package_signed;
    assert_eq!(package.eim_id.as_str(), "testeim1");
    assert_eq!(package.counter_value, 1);
    assert!(
        Eid::try_from(package.eid_value).is_err(),
        "not a valid EID, but a field of the right size"
    );
    let EuiccPackage::PsmoList(operations) = &package.euicc_package else {
        panic!("PSMOs");
    };
    assert!(
        matches!(
            operations.as_slice(),
            [Psmo::Enable(EnablePsmo {
                rollback_flag: None,
                ..
            })]
        ),
        "{operations:?}"
    );

    // Of the right shape, with fields that are too short.
    let error = EuiccPackageRequest::from_der(&vector("euicc_package_request_shape")).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid("an EID has 16 octets"));
}

#[test]
fn a_result_without_its_arm_tag_is_read_and_written_by_the_module() {
    let deviating = vector("euicc_package_result_no_arm");
    let result: EuiccPackageResult = decode(&deviating);
    let signed = signed_result(&result);
    assert_eq!(
        signed.euicc_package_result_data_signed.eim_id.as_str(),
        "testeim1"
    );
    let operation = &signed.euicc_package_result_data_signed.euicc_result;
    assert_eq!(
        *operation,
        [EuiccResultData::EnableResult(EnableProfileResult::Ok)]
    );

    // The deviation is 30 where A0 should be.
    let mut by_module = deviating.clone();
    *by_module.get_mut(3).unwrap() = 0xA0;
    assert_eq!(result.to_der(), by_module);
    assert_eq!(lossless::<EuiccPackageResult>(&by_module), result);

    // Left out altogether: the two members stand directly in BF51.
    let bare = tlv(0xBF51, by_module.get(5..).unwrap());
    assert_eq!(decode::<EuiccPackageResult>(&bare), result);

    // Also where the result stands inside another message.
    let delivered: ProvideEimPackageResult = decode(&tlv(0xBF50, &deviating));
    assert_eq!(delivered.to_der(), tlv(0xBF50, &by_module));
}

#[test]
fn errors_without_their_arm_tag_are_read_too() {
    let unsigned = EuiccPackageErrorUnsigned {
        eim_id: "testeim1".parse().unwrap(),
        eim_transaction_id: None,
        association_token: Some(7),
        euicc_package_unsigned_error_code: None,
        extensions: Default::default(),
    };
    let by_module = EuiccPackageResult::EuiccPackageErrorUnsigned(unsigned);
    let message = by_module.to_der();
    assert_eq!(
        hex::encode(&message),
        "bf510fa20d80087465737465696d31840107"
    );
    assert_eq!(
        decode::<EuiccPackageResult>(&tlv(0xBF51, message.get(5..).unwrap())),
        by_module
    );
}

#[test]
fn an_error_under_the_wrong_tag_is_no_known_result() {
    // 80 (primitive) with a SEQUENCE inside, where the module has A0 in place of the SEQUENCE.
    let wrong: ProvideEimPackageResult = lossless(&vector("eim_package_result_error_undefined"));
    assert!(matches!(
        wrong.eim_package_result,
        EimPackageResult::Unknown(_)
    ));

    let right: ProvideEimPackageResult = lossless(&octets("BF5005A00302017F"));
    let EimPackageResult::EimPackageResultResponseError(error) = right.eim_package_result else {
        panic!("an error");
    };
    assert_eq!(
        error.eim_package_result_error_code,
        EimPackageResultErrorCode::UndefinedError
    );
    assert_eq!(error.eim_transaction_id, None);
}

const EID: &str = "89044045118427484800000000011628";
const TRANSACTION_ID: &str = "0102030405060708090A0B0C0D0E0F10";

fn poll() -> GetEimPackageRequest {
    GetEimPackageRequest {
        eid_value: eid(EID),
        notify_state_change: None,
        state_change_cause: None,
        r_plmn: None,
        extensions: Default::default(),
    }
}

#[test]
fn worked_encodings_of_polls() {
    worked(&format!("BF4F12 5A10{EID}"), &poll());
    let after_fallback = GetEimPackageRequest {
        notify_state_change: Some(Null),
        state_change_cause: Some(StateChangeCause::Fallback),
        ..poll()
    };
    worked(&format!("BF4F17 5A10{EID} 8000 810101"), &after_fallback);
    let with_plmn = GetEimPackageRequest {
        r_plmn: Some(Octets(vec![0x62, 0xF2, 0x10])),
        ..poll()
    };
    worked(&format!("BF4F17 5A10{EID} 820362F210"), &with_plmn);

    worked(
        "BF4F03 020101",
        &GetEimPackageResponse::EimPackageError(EimPackageError::NoEimPackageAvailable),
    );
    let empty = EmptyResponse {
        extensions: Default::default(),
    };
    worked(
        "BF5002 3000",
        &ProvideEimPackageResultResponse::EmptyResponse(empty),
    );
    worked(
        "BF5003 BF5300",
        &ProvideEimPackageResultResponse::EimAcknowledgements(vec![].into()),
    );
    let anything = ProfileDownloadTriggerRequest {
        profile_download_data: None,
        eim_transaction_id: None,
        extensions: Default::default(),
    };
    worked("BF5400", &anything);
}

#[test]
fn worked_encoding_of_an_enable_with_rollback() {
    let signature = "5F3740".to_owned() + &"A5".repeat(64);
    let signed = format!(
        "3046 800B65696D2E6578616D706C65 5A10{EID} 810105 8210{TRANSACTION_ID} \
         A010 A30E 5A0A98001032547698103214 0500"
    );
    let operation = EnablePsmo {
        iccid: "89000123456789012341".parse().unwrap(),
        rollback_flag: Some(Null),
        extensions: Default::default(),
    };
    let package = EuiccPackageSigned {
        eim_id: "eim.example".parse().unwrap(),
        eid_value: eid(EID),
        counter_value: 5,
        eim_transaction_id: Some(TRANSACTION_ID.parse().unwrap()),
        euicc_package: EuiccPackage::PsmoList(vec![Psmo::Enable(operation)]),
        extensions: Default::default(),
    };
    let request = EuiccPackageRequest {
        euicc_package_signed: Encoded::new(package),
        eim_signature: Signature(vec![0xA5; 64].into()),
        extensions: Default::default(),
    };
    worked(&format!("BF51818B {signed} {signature}"), &request);
    assert_eq!(request.euicc_package_signed.bytes(), octets(&signed));
}

#[test]
fn worked_encoding_of_its_result() {
    let data = EuiccPackageResultDataSigned {
        eim_id: "eim.example".parse().unwrap(),
        counter_value: 5,
        eim_transaction_id: Some(TRANSACTION_ID.parse().unwrap()),
        seq_number: 14,
        euicc_result: vec![EuiccResultData::EnableResult(EnableProfileResult::Ok)],
        extensions: Default::default(),
    };
    let result = EuiccPackageResult::EuiccPackageResultSigned(EuiccPackageResultSigned {
        euicc_package_result_data_signed: Encoded::new(data),
        euicc_sign_epr: Signature(vec![0xA5; 64].into()),
        extensions: Default::default(),
    });
    let signature = "5F3740".to_owned() + &"A5".repeat(64);
    worked(
        &format!(
            "BF5171 A06F 302A 800B65696D2E6578616D706C65 810105 8210{TRANSACTION_ID} 83010E 3003830100 {signature}"
        ),
        &result,
    );
}

#[test]
fn numbers_are_signed_and_minimal() {
    for (number, encoding) in [
        (-1, "8401FF"),
        (0, "840100"),
        (127, "84017F"),
        (128, "84020080"),
        (8_388_607, "84037FFFFF"),
    ] {
        worked(encoding, &AddEimResult::AssociationToken(number));
    }
    for redundant in ["8402007F", "8402FFFF", "8400"] {
        assert!(
            AddEimResult::from_der(&octets(redundant)).is_err(),
            "{redundant}"
        );
    }
}

#[test]
fn tags_that_are_easily_got_wrong() {
    // Members without a tag in the module keep their universal tag when another has one.
    worked(
        "3003020103",
        &EimPackageResultResponseError {
            eim_transaction_id: None,
            eim_package_result_error_code: EimPackageResultErrorCode::from_number(3),
            extensions: Default::default(),
        },
    );
    worked(
        "020102",
        &EuiccResultData::ProcessingTerminated(ProcessingTerminated::UnknownOrDamagedCommand),
    );
    worked(
        "A803020101",
        &EuiccResultData::AddEimResult(AddEimResult::AddEimResultCode(
            AddEimResultCode::InsufficientMemory,
        )),
    );
    // A tag on a type that has one replaces it.
    worked(
        "BF6503800100",
        &EuiccResultData::SetDefaultDpAddressResult(SetDefaultDpAddressResponse {
            set_default_dp_address_result: OkOrUndefinedError::Ok,
            extensions: Default::default(),
        }),
    );
    worked(
        "A900",
        &Psmo::UnsetFallbackAttribute(NoArguments {
            extensions: Default::default(),
        }),
    );
    worked(
        "AB00",
        &Eco::ListEim(NoArguments {
            extensions: Default::default(),
        }),
    );
    // A CHOICE keeps its own tag around the arm, an untagged one under a tag gets it EXPLICIT.
    worked(
        "BF5705A003840101",
        &AddInitialEimResponse::AddInitialEimOk(vec![AddInitialEimOk::AssociationToken(1)]),
    );
    worked(
        "BF5704A0020500",
        &AddInitialEimResponse::AddInitialEimOk(vec![AddInitialEimOk::AddOk(Null)]),
    );
    worked(
        "BF2B04A0028200",
        &RetrieveNotificationsListRequest {
            search_criteria: Some(RetrieveNotificationsSearchCriteria::EuiccPackageResults(
                Null,
            )),
            extensions: Default::default(),
        },
    );
}

#[test]
fn bits_are_written_minimal_and_kept_as_received() {
    let mut writer = Writer::new();
    IpaFeatures::of([
        IpaFeatures::DIRECT_RSP_SERVER_COMMUNICATION,
        IpaFeatures::MINIMIZE_ESIPA_BYTES,
    ])
    .encode_content(&mut writer);
    assert_eq!(hex::encode(writer.into_bytes()), "0284");
    // A card that does not drop trailing zero bits.
    let capabilities: IpaCapabilities = lossless(&octets("3008 80020084 81020780"));
    assert!(
        capabilities
            .ipa_features
            .contains(IpaFeatures::MINIMIZE_ESIPA_BYTES)
    );
    assert_ne!(capabilities.ipa_features.0, BitString::from_bits([0, 5]));
    assert!(
        IpaCapabilities::from_der(&octets("3004 80020784")).is_err(),
        "unused bits that are set"
    );
}

#[test]
fn what_version_1_3_adds_is_read() {
    let unsigned: EuiccPackageResult = lossless(&octets("BF510AA208 8003616263 8F010F"));
    let EuiccPackageResult::EuiccPackageErrorUnsigned(error) = unsigned else {
        panic!("an unsigned error");
    };
    assert_eq!(
        error.euicc_package_unsigned_error_code,
        Some(EuiccPackageUnsignedErrorCode::SizeOverflow)
    );

    let received: TransferEimPackageResponse = lossless(&octets("BF4E09BF6006A0048002AABB"));
    assert!(matches!(
        received,
        TransferEimPackageResponse::EimPackageReceivedWithCid(EimPackageReceivedWithCid {
            correlation_id: Some(CorrelationId::EimTransactionId(_)),
            ..
        })
    ));

    // A member behind the known ones stays; an alternative that is not known is kept as such.
    let data: EimConfigurationData = lossless(&octets("3009 8003616263 AA02 8000"));
    assert_eq!(data.extensions.iter().count(), 1);
    let package: GetEimPackageResponse = lossless(&octets("BF4F05 BF7002 0500"));
    assert!(matches!(package, GetEimPackageResponse::Unknown(_)));
    let result: EuiccPackageResult = lossless(&octets("BF5105 A7038001 01"));
    assert!(matches!(result, EuiccPackageResult::Unknown(_)));
}

#[test]
fn members_out_of_order_are_refused() {
    for wrong in [
        // counterValue in front of eimId
        "30 08 830101 8003616263",
        // twice the same
        "30 0A 8003616263 8003616263",
        // an optional member behind a later one
        "30 0B 8003616263 840101 830101",
    ] {
        assert!(
            EimConfigurationData::from_der(&octets(wrong)).is_err(),
            "{wrong}"
        );
    }
    let name = |length: usize| tlv(0x30, &tlv(0x80, "a".repeat(length).as_bytes()));
    assert!(EimConfigurationData::from_der(&name(128)).is_ok());
    assert!(EimConfigurationData::from_der(&name(129)).is_err());
    assert!(EimConfigurationData::from_der(&name(0)).is_err());
}
