//! Published SGP.22 messages decode, mean what their publishers say, and encode to the same octets.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Debug;

use rsp::der::Element;
use rsp::sgp22::*;

/// The octets of one vector.
fn vector(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../tests/data/vectors/{name}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    hex::decode(text.trim()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Decodes octets and checks that they come back, and that they are refused when cut or prolonged.
fn lossless<T: Element + Debug>(octets: &[u8]) -> T {
    let value = T::from_der(octets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(value.to_der(), octets);
    for cut in [1, octets.len() / 2, octets.len() - 1] {
        assert!(T::from_der(&octets[..cut]).is_err(), "cut at {cut}");
    }
    let prolonged = [octets, &[0x00]].concat();
    assert!(T::from_der(&prolonged).is_err());
    value
}

#[test]
fn euicc_info1_of_an_iot_card() {
    let info: EuiccInfo1 = lossless(&vector("euicc_info1_sysmo_i2t"));
    assert_eq!(info.svn.to_string(), "2.5.0");
    assert!(info.extensions.is_empty());
    let signing = &info.euicc_ci_pk_id_list_for_signing;
    let test_ci = hex::decode("F54172BDF98A95D65CBEB88A38A1C11D800A85C3").unwrap();
    assert!(
        signing.iter().any(|id| **id == test_ci.clone().into()),
        "{signing:?}"
    );
}

#[test]
fn certificates_stay_as_they_are() {
    for name in ["euicc_certificate_sysmo_i2t", "eum_certificate_sgp26"] {
        let octets = vector(name);
        let certificate: Certificate = lossless(&octets);
        assert_eq!(certificate.as_der(), octets);
        assert_eq!(Certificate::from_der_bytes(octets).unwrap(), certificate);
    }
}

#[test]
fn a_bound_profile_package_keeps_its_segments() {
    let octets = vector("bpp_onomondo");
    let package: BoundProfilePackage = lossless(&octets);
    let channel = &package.initialise_secure_channel_request;
    assert_eq!(channel.remote_op_id, RemoteOpId::InstallBoundProfilePackage);
    assert_eq!(channel.control_ref_template.key_type, [0x88]);
    assert_eq!(channel.smdp_otpk.len(), 65);
    assert_eq!(channel.smdp_sign.len(), 64);
    assert_eq!(package.first_sequence_of87.len(), 1);
    assert_eq!(package.sequence_of88.len(), 1);

    // The whole TLVs, one after the other, are the tail of the package.
    let tail: Vec<u8> = package
        .sequence_of86
        .iter()
        .flat_map(Element::to_der)
        .collect();
    assert!(octets.ends_with(&tail));
    assert_eq!(package.sequence_of86[0].to_der().len(), 1036);

    // StoreMetadata is in clear in front of eight octets of MAC.
    let protected = &package.sequence_of88[0];
    let metadata: StoreMetadataRequest = lossless(&protected[..protected.len() - 8]);
    assert!(!metadata.profile_name.is_empty());
}

#[test]
fn a_download_session_from_challenge_to_notification() {
    let part = |name: &str| vector(&format!("es9_session_synthetic/{name}"));
    let transaction_id = part("transaction_id");
    let euicc_challenge = part("euicc_challenge");
    let server_challenge = part("server_challenge");

    let info: EuiccInfo1 = lossless(&part("euicc_info1"));
    assert_eq!(info.svn, VersionType::new(2, 0, 0));

    let initiated: InitiateAuthenticationOkEs9 = lossless(&part("initiate_response"));
    assert_eq!(initiated.transaction_id.octets(), transaction_id);
    assert_eq!(
        initiated.server_signed1.euicc_challenge.as_slice(),
        euicc_challenge
    );
    assert_eq!(
        initiated.server_signed1.server_challenge.as_slice(),
        server_challenge
    );
    assert_eq!(initiated.server_signed1.server_address, "smdp.example.com");
    assert_eq!(initiated.server_signature1.len(), 64);

    let AuthenticateServerResponse::AuthenticateResponseOk(authenticated) =
        lossless(&part("auth_server_response"))
    else {
        panic!("not an AuthenticateResponseOk");
    };
    let signed1 = &authenticated.euicc_signed1;
    assert_eq!(signed1.transaction_id.octets(), transaction_id);
    assert_eq!(signed1.server_challenge.as_slice(), server_challenge);
    assert_eq!(signed1.bytes().first(), Some(&0x30));
    assert_eq!(
        signed1.euicc_info2.profile_version,
        VersionType::new(2, 2, 0)
    );
    assert!(matches!(
        signed1.ctx_params1,
        CtxParams1::CtxParamsForCommonAuthentication(_)
    ));

    let AuthenticateClientResponseEs9::AuthenticateClientOk(offered) =
        lossless(&part("authenticate_response"))
    else {
        panic!("not an AuthenticateClientOk");
    };
    assert_eq!(offered.profile_meta_data.to_der(), part("store_metadata"));
    assert!(!*offered.smdp_signed2.cc_required_flag);
    assert_eq!(offered.smdp_signed2.bpp_euicc_otpk, None);

    let PrepareDownloadResponse::DownloadResponseOk(prepared) =
        lossless(&part("prepare_download_response"))
    else {
        panic!("not a PrepareDownloadResponseOk");
    };
    assert_eq!(prepared.euicc_signed2.euicc_otpk.len(), 65);

    let package: BoundProfilePackage = lossless(&part("bound_profile_package"));
    let channel = &package.initialise_secure_channel_request;
    assert_eq!(channel.transaction_id.octets(), transaction_id);
    let signed = channel.signed_octets(&prepared.euicc_signed2.euicc_otpk);
    assert!(signed.ends_with(&prepared.euicc_signed2.euicc_otpk.to_der()));
    assert!(package.second_sequence_of87.is_none());

    let result: ProfileInstallationResult = lossless(&part("pending_notification"));
    let data = &result.profile_installation_result_data;
    assert_eq!(data.bytes().get(..2), Some(&[0xBF, 0x27][..]));
    assert_eq!(data.smdp_oid.to_string(), "2.999");
    assert!(
        data.notification_metadata
            .profile_management_operation
            .contains(NotificationEvent::INSTALL)
    );
    assert!(matches!(data.final_result, FinalResult::SuccessResult(_)));
    assert_eq!(
        PendingNotification::from_der(&result.to_der()).unwrap(),
        PendingNotification::ProfileInstallationResult(result)
    );
}

#[test]
fn store_metadata_of_the_session() {
    let metadata: StoreMetadataRequest = lossless(&vector("es9_session_synthetic/store_metadata"));
    assert_eq!(metadata.iccid.to_string(), "89000123456789012341");
    assert_eq!(metadata.class(), ProfileClass::Operational);
}

/// The exchanges of apdu_exchanges.json, without their transport.
#[test]
fn commands_and_answers_of_cards() {
    let decode = |text: &str| hex::decode(text).unwrap();
    let request: GetEuiccDataRequest = lossless(&decode("BF3E035C015A"));
    assert_eq!(*request.tag_list, [0x5A]);
    let answer: GetEuiccDataResponse =
        lossless(&decode("BF3E125A1089033024343000012200000000031331"));
    assert_eq!(
        answer.eid_value.to_string(),
        "89033024343000012200000000031331"
    );

    let request: ProfileInfoListRequest = lossless(&decode("BF2D00"));
    assert_eq!(request.tag_list, None);
    let answer: ProfileInfoListResponse = lossless(&decode(
        "BF2D49A047E3455A0A981802301919124338964F10A0000005591010FFFFFFFF8900001100\
         9F700101910E42696C6C696F6E436F6E6E656374920E42696C6C696F6E436F6E6E656374950102",
    ));
    let ProfileInfoListResponse::ProfileInfoListOk(profiles) = answer else {
        panic!("not a list");
    };
    assert_eq!(profiles.len(), 1);
    assert_eq!(profiles[0].profile_name.as_deref(), Some("BillionConnect"));
    assert_eq!(profiles[0].profile_state, Some(ProfileState::Enabled));

    let request: EnableProfileRequest = lossless(&decode(
        "BF3117A0124F10A0000005591010FFFFFFFF8900001100810100",
    ));
    assert!(matches!(
        request.profile_identifier,
        ProfileIdentifier::IsdpAid(_)
    ));
    assert!(!request.refresh_flag);
}

#[test]
fn what_a_newer_peer_adds_is_kept_and_what_is_out_of_order_refused() {
    // AuthenticateResponseError with one member more.
    let octets = hex::decode("BF380CA10A80010702010181020102").unwrap();
    let AuthenticateServerResponse::AuthenticateResponseError(error) =
        AuthenticateServerResponse::from_der(&octets).unwrap_or_else(|error| panic!("{error}"))
    else {
        panic!("not an error");
    };
    assert_eq!(
        error.authenticate_error_code,
        AuthenticateErrorCode::InvalidCertificate
    );
    assert_eq!(error.extensions.iter().count(), 1);

    let misplaced = hex::decode("BF3808A106020101800107").unwrap();
    assert!(AuthenticateServerResponse::from_der(&misplaced).is_err());

    // An arm that only a later version has.
    let octets = hex::decode("BF3805BF7F020500").unwrap();
    let unknown: AuthenticateServerResponse = lossless(&octets);
    assert!(matches!(unknown, AuthenticateServerResponse::Unknown(_)));
}
