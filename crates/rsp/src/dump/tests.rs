//! Published messages, and the same made wrong.

use hex_literal::hex;

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors/");

fn vector(name: &str) -> Vec<u8> {
    let text = std::fs::read(format!("{VECTORS}{name}.hex")).unwrap();
    parse_input(&text).unwrap()
}

fn text(bytes: &[u8]) -> String {
    annotate(bytes, None).unwrap().to_string()
}

fn text_as(type_name: &str, bytes: &[u8]) -> String {
    annotate(bytes, Some(type_name)).unwrap().to_string()
}

#[test]
fn a_package_request_is_shown_with_names_values_and_the_verdict_on_its_eid() {
    assert_eq!(
        text(&vector("euicc_package_request_enable")),
        "\
BF51 EuiccPackageRequest, 57 octets
  30 euiccPackageSigned, 47 octets
    80 eimId, 8 octets: \"testeim1\"
    5A eidValue, 16 octets: 89010000000000000000000000000001  <- the check digits of this EID are wrong: mistyped?
    81 counterValue, 1 octet: 1
    A0 euiccPackage.psmoList, 14 octets
      A3 Psmo.enable EnablePsmo, 12 octets
        5A iccid, 10 octets: 9801012143658709211
  5F37 eimSignature, 5 octets: 3003020101
"
    );
}

#[test]
fn real_messages_fit_and_are_recognised() {
    for (name, type_name) in [
        ("add_initial_eim_request_onomondo", "AddInitialEimRequest"),
        ("bpp_onomondo", "BoundProfilePackage"),
        ("eim_acknowledgements_two", "EimAcknowledgements"),
        ("eim_configuration_data_onomondo", "EimConfigurationData"),
        ("euicc_certificate_sysmo_i2t", "Certificate"),
        ("euicc_info1_sysmo_i2t", "EuiccInfo1"),
        ("eum_certificate_sgp26", "Certificate"),
        ("get_certs_response_v13_synthetic", "GetCertsResponse"),
        ("get_eim_package_request_minimal", "GetEimPackageRequest"),
        (
            "profile_download_trigger_activation_code",
            "ProfileDownloadTriggerRequest",
        ),
        (
            "profile_download_trigger_default_smdp",
            "ProfileDownloadTriggerRequest",
        ),
        (
            "provide_eim_package_result_listprofileinfo_kigen",
            "ProvideEimPackageResult",
        ),
        (
            "es9_session_synthetic/auth_server_response",
            "AuthenticateServerResponse",
        ),
        (
            "es9_session_synthetic/bound_profile_package",
            "BoundProfilePackage",
        ),
        (
            "es9_session_synthetic/initiate_response",
            "InitiateAuthenticationOkEs9",
        ),
        (
            "es9_session_synthetic/pending_notification",
            "ProfileInstallationResult",
        ),
        (
            "es9_session_synthetic/prepare_download_response",
            "PrepareDownloadResponse",
        ),
    ] {
        let annotated = annotate(&vector(name), None).unwrap();
        assert!(annotated.fits(), "{name}:\n{annotated}");
        assert_eq!(annotated.objects[0].type_name, Some(type_name));
    }
}

#[test]
fn a_profile_list_shows_states_classes_and_identifiers() {
    let shown = text(&vector("provide_eim_package_result_listprofileinfo_kigen"));
    for line in [
        "  5A eidValue, 16 octets: 89044045930000000000002153893210 (check digits right)",
        "9F70 profileState, 1 octet: 1 enabled",
        "95 profileClass, 1 octet: 2 operational",
        "5A iccid, 10 octets: 8935677026214944023",
        "82 eimTransactionId, 16 octets: 84C760645756D9C31BF1A45211C1C5BF",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn the_type_that_fits_is_found_among_those_with_the_same_tag() {
    for (bytes, type_name) in [
        (&hex!("BF2B00")[..], "RetrieveNotificationsListRequest"),
        (&hex!("BF2B02A000"), "RetrieveNotificationsListResponse"),
        (&hex!("BF2D00"), "ProfileInfoListRequest"),
        (&hex!("BF2D02A000"), "ProfileInfoListResponse"),
        (&hex!("BF4F0302 01 01"), "GetEimPackageResponse"),
        (&hex!("BF5003 0201 7F"), "ProvideEimPackageResultResponse"),
        (&hex!("BF5005A003 02017F"), "ProvideEimPackageResult"),
        (&hex!("BF5403820101"), "ProfileDownloadTriggerRequest"),
        (&hex!("BF5805 020100 BF5100"), "ProfileRollbackResponse"),
        (&hex!("BF5803 8001FF"), "ProfileRollbackRequest"),
        (&hex!("BF5A03800104"), "ImmediateEnableResponse"),
        (&hex!("BF2E00"), "GetEuiccChallengeRequest"),
        (&hex!("BF4106 8001AA 810103"), "CancelSessionRequest"),
        (&hex!("A205 BF3D02A000"), "RemoteProfileProvisioningRequest"),
    ] {
        let annotated = annotate(bytes, None).unwrap();
        assert_eq!(
            annotated.objects[0].type_name,
            Some(type_name),
            "{annotated}"
        );
    }
}

#[test]
fn codes_come_with_name_and_meaning() {
    let shown = text(&hex!("BF5D03800106"));
    assert!(
        shown.contains(
            "executeFallbackMechanismResult, 1 octet: 6 fallbackNotAvailable: no profile has"
        ),
        "{shown}"
    );
    let unnamed = text(&hex!("BF5D03800163"));
    assert!(
        unnamed.contains("99 (a code without a name in this version)"),
        "{unnamed}"
    );
}

#[test]
fn tag_lists_bits_and_resources_are_read() {
    let shown = text(&hex!("BF520A 5C08 A0BF20BF2283A59F"));
    assert!(
        shown.contains("A0 notificationsList, BF20 euiccInfo1, BF22 euiccInfo2, 83 rootSmdsAddress, A5 eumCertificate"),
        "{shown}"
    );
    assert!(shown.contains("malformed tag"), "{shown}");
    let shown = text(&hex!("BF64048202 0284"));
    assert!(
        shown.contains("resetOptions, 2 octets: {deleteOperationalProfiles, resetEimConfigData}"),
        "{shown}"
    );
    let shown = text_as(
        "EuiccInfo2",
        &hex!("BF221C 8409 810102 82020FA0 8300 8503 04 5000 B605 040301 0203 8103020301"),
    );
    for line in [
        "2 applications, 4000 octets of non-volatile memory free, 0 octets of volatile memory free",
        "uiccCapability, 3 octets: {usim, csim}",
        "81 profileVersion, 3 octets: 2.3.1  <- stands twice or out of order",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn what_is_unknown_missing_or_misplaced_is_marked_in_place() {
    let extended = text(&hex!(
        "BF4F 18 5A1089044045930000000000001492294428 9F7003AABBCC"
    ));
    assert!(
        extended.contains("9F70, 3 octets: AABBCC  <- not in this version of the module"),
        "{extended}"
    );
    let without = text(&hex!("BF3004 A0020500"));
    assert!(
        without.contains("!! 80 seqNumber  <- mandatory and missing"),
        "{without}"
    );
    let swapped = text_as("CancelSessionRequest", &hex!("BF4106 810103 8001AA"));
    assert!(
        swapped.contains("<- stands twice or out of order"),
        "{swapped}"
    );
    let replaced = text_as(
        "ProfileDownloadTriggerResult",
        &hex!("BF54 05 80 03 300500"),
    );
    assert!(
        replaced.contains(
            "80 profileDownloadTriggerResultData, 3 octets: 300500  <- an alternative that this version does not know"
        ),
        "{replaced}"
    );
    let grown = text(&hex!("BF4F05 BF7F02 0500"));
    assert!(
        grown.contains("BF7F, 2 octets  <- an alternative that this version does not know"),
        "{grown}"
    );
}

#[test]
fn known_deviations_are_named_and_said_to_be_accepted() {
    use crate::der::Element;
    let no_arm = vector("euicc_package_result_no_arm");
    let annotated = annotate(&no_arm, None).unwrap();
    assert!(annotated.fits(), "{annotated}");
    assert!(annotated.to_string().contains(": accepted"), "{annotated}");
    assert_eq!(annotated.objects[0].type_name, Some("EuiccPackageResult"));
    assert!(
        crate::sgp32::EuiccPackageResult::from_der(&no_arm).is_ok(),
        "the decoder agrees"
    );

    let list = hex!("BF2D 06 E3 04 9F70 01 01");
    let annotated = annotate(&list, Some("ProfileInfoListResponse")).unwrap();
    assert!(
        annotated.fits() && annotated.to_string().contains("was left out: accepted"),
        "{annotated}"
    );
}

#[test]
fn malformed_octets_show_the_tree_up_to_the_fault() {
    let whole = vector("provide_eim_package_result_listprofileinfo_kigen");
    for cut in 1..whole.len() {
        let annotated = annotate(&whole[..cut], None).unwrap();
        let fault = annotated
            .fault
            .as_ref()
            .unwrap_or_else(|| panic!("cut at {cut}"));
        assert!(fault.offset <= cut, "{fault}");
        assert!(annotated.to_string().ends_with(&format!("!! {fault}\n")));
    }
    let annotated = annotate(&whole[..100], None).unwrap();
    assert_eq!(
        annotated.objects[0].type_name,
        Some("ProvideEimPackageResult")
    );
    assert!(annotated.to_string().contains("\"eim.symb-iot.com\""));

    let bad_length = text(&hex!("BF4F 05 5A 85 0000000001"));
    assert!(
        bad_length.contains("!! at octet 4: malformed length of element 5A"),
        "{bad_length}"
    );
    let indefinite = text(&hex!("30 80 0000"));
    assert!(
        indefinite.contains("!! at octet 1: indefinite length"),
        "{indefinite}"
    );
}

#[test]
fn depth_number_and_size_are_bounded() {
    let mut nested = Vec::new();
    for _ in 0..3000 {
        let mut writer = crate::der::Writer::new();
        writer.tlv(Tag::new(0x30), |w| w.raw(&nested));
        nested = writer.into_bytes();
    }
    assert!(text(&nested).contains("nested deeper than 24 levels"));

    let many = [0x05, 0x00].repeat(100_000);
    assert!(text(&many).contains("too many elements"));
    let mut members = crate::der::Writer::new();
    members.tlv(Tag::new(0xBF53), |w| w.raw(&[0x80, 0x00].repeat(100_000)));
    assert!(text(&members.into_bytes()).contains("too many elements"));

    assert_eq!(annotate(&[], None).unwrap_err(), DumpError::Empty);
    assert!(matches!(
        annotate(&vec![0; OCTETS_MAX + 1], None),
        Err(DumpError::TooLong { .. })
    ));
}

#[test]
fn a_type_can_be_forced_and_a_mistyped_name_is_corrected() {
    let bytes = hex!("BF41 06 8001AA 810103");
    let forced = annotate(&bytes, Some("cancelsessionresponse")).unwrap();
    assert_eq!(forced.objects[0].type_name, Some("CancelSessionResponse"));
    assert!(!forced.fits());
    let other = annotate(&bytes, Some("EuiccInfo2")).unwrap();
    assert!(
        other
            .to_string()
            .contains("a EuiccInfo2 does not begin with tag BF41"),
        "{other}"
    );
    let error = annotate(&bytes, Some("CancelSesionRequest")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no type is named CancelSesionRequest; did you mean CancelSessionRequest?"
    );
    assert_eq!(
        annotate(&bytes, Some("zzz")).unwrap_err().to_string(),
        "no type is named zzz"
    );
    assert!(types().any(|name| name == "ProfilePackage") && types().count() > 120);
    let names: std::collections::HashSet<_> = types().collect();
    assert_eq!(names.len(), types().count(), "every name once");
}

#[test]
fn profile_packages_are_listed_without_their_secrets() {
    let profile = std::fs::read(format!("{VECTORS}../ts48/ts48-v7-bertlv-suci.der")).unwrap();
    let annotated = annotate(&profile, None).unwrap();
    assert!(annotated.fits());
    let shown = annotated.to_text(TextOptions {
        full: true,
        offsets: true,
    });
    for line in [
        "iccid, 10 octets: 89000123456789012341",
        "A4 akaParameter, 53 octets: identification 11, mandated, algorithm UsimTestAlgorithm (3)",
        "2.23.143.1.2.4 (template usim version 1), 24 files",
        "AA end, 7 octets: identification 31, mandated",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    for secret in [
        "000102030405060708090A0B0C0D0E0F",
        "3535353535353535",
        "3030",
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let cut = annotate(&profile[..9000], None).unwrap();
    assert!(cut.fault.is_some() && cut.objects.len() > 10);
}

#[test]
fn session_keys_are_not_shown() {
    let keys = format!("BF2636 8010{0} 8110{0} 8210{0}", "5A".repeat(16));
    let shown = text(&parse_input(keys.as_bytes()).unwrap());
    assert!(
        shown.contains("ppkEnc, 16 octets: not shown") && !shown.contains("5A5A"),
        "{shown}"
    );
}

#[test]
fn text_from_a_message_cannot_control_the_terminal() {
    let shown = text(&hex!("BF65 0E 800C 1B5B324A 0A 7F E280AE C29B 61"));
    assert!(
        shown.contains(r#""\u{1b}[2J\n\u{7f}\u{202e}\u{9b}a""#),
        "{shown}"
    );
    let status = text(&hex!("BF2E12 8010 00112233445566778899AABBCCDDEEFF 9000"));
    assert!(
        status.starts_with("# status word 9000\nBF2E GetEuiccChallengeResponse"),
        "{status}"
    );
}

#[test]
fn store_data_commands_are_opened() {
    let shown = text(&hex!("80E2910003BF2E00"));
    assert!(
        shown.starts_with("# the data of 1 STORE DATA command\nBF2E GetEuiccChallengeRequest"),
        "{shown}"
    );
}

#[test]
fn the_answer_of_the_profile_installer_is_opened() {
    let mut writer = crate::der::Writer::new();
    writer.tlv(Tag::new(0x30), |w| {
        w.tlv(Tag::new(0x4F), |w| w.raw(&[0xA0; 16]));
        w.tlv(Tag::new(0x04), |w| w.raw(&hex!("3007A0053003800100")));
    });
    let success = writer.into_bytes();
    let annotated = annotate(&success, Some("SuccessResult")).unwrap();
    let shown = annotated.to_string();
    assert!(
        shown.contains("80 status, 1 octet: 0 ok: installed"),
        "{shown}"
    );
}
