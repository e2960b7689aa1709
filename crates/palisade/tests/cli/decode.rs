use std::fs;

use crate::support::{Folder, data};

#[test]
fn vectors_are_shown_with_names_and_meanings() {
    let folder = Folder::new();
    let vector = |name: &str| data(&format!("vectors/{name}.hex"));
    for (name, words) in [
        (
            "euicc_package_request_enable",
            &[
                "BF51 EuiccPackageRequest",
                "eimId",
                "counterValue",
                "enable",
            ][..],
        ),
        (
            "add_initial_eim_request_onomondo",
            &["BF57 AddInitialEimRequest", "eimConfigurationDataList"],
        ),
        (
            "profile_download_trigger_activation_code",
            &["ProfileDownloadTriggerRequest", "activationCode"],
        ),
        (
            "euicc_info1_sysmo_i2t",
            &["BF20 EuiccInfo1", "euiccCiPKIdListForVerification"],
        ),
        ("eim_acknowledgements_two", &["BF53 EimAcknowledgements"]),
    ] {
        // Some vectors carry EIDs that are none by their check digits, which is a finding and a status of its own.
        let shown = folder.run(&["decode", &vector(name)]).out;
        for word in words {
            assert!(shown.contains(word), "{name} shows no {word:?}:\n{shown}");
        }
    }
}

#[test]
fn input_comes_as_argument_file_or_stream_in_any_form() {
    let folder = Folder::new();
    fs::write(folder.path("raw.bin"), [0xBF, 0x2E, 0x00]).unwrap();
    let expected = folder.ok(&["decode", "BF2E00"]);
    assert!(expected.contains("GetEuiccChallengeRequest"), "{expected}");
    assert_eq!(folder.ok(&["decode", "bf 2e 00"]), expected);
    assert_eq!(folder.ok(&["decode", "vy4A"]), expected);
    assert_eq!(folder.ok(&["decode", "raw.bin"]), expected);
    for input in [&b"BF2E00\n"[..], &[0xBF, 0x2E, 0x00], b"vy4A"] {
        let ran = folder.run_with(&["decode", "-"], &[], input);
        assert_eq!((ran.status, ran.out), (0, expected.clone()), "{}", ran.err);
    }
    let json = folder.json(&["decode", "BF2E00"]);
    assert_eq!(json["types"][0], "GetEuiccChallengeRequest");
    assert_eq!(json["fits"], true);
}

#[test]
fn malformed_octets_are_shown_and_fail() {
    let folder = Folder::new();
    let ran = folder.run(&["decode", "BF2E05"]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("!! at octet"), "{}", ran.out);
    folder
        .run(&["decode", "no.such.file"])
        .refused(2, &["neither a file nor octets"]);
    // A name can look like base64.
    folder
        .run(&["decode", "no-such-file"])
        .refused(1, &["no file named", "base64"]);
    folder
        .run(&["decode", "--as", "EuiccPackageReslt", "BF2E00"])
        .refused(2, &["did you mean EuiccPackageResult"]);
    folder
        .run_with(&["decode", "-"], &[], b"")
        .refused(1, &["no octets"]);
    folder
        .run(&["decode", "--list-types", "BF2E00"])
        .refused(2, &["--list-types"]);
}

#[test]
fn types_are_listed() {
    let types = Folder::new().ok(&["decode", "--list-types"]);
    let types: Vec<&str> = types.lines().collect();
    assert!(types.len() > 100, "{} types", types.len());
    assert!(types.is_sorted());
    for name in [
        "EuiccPackageRequest",
        "EimConfigurationData",
        "ProfilePackage",
        "BoundProfilePackage",
    ] {
        assert!(types.contains(&name), "{name}");
    }
}

#[test]
fn a_real_profile_package_is_shown_without_its_keys() {
    /// K of the USIM in TS.48.
    const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let folder = Folder::new();
    let package = data("ts48/ts48-v7-nobertlv.der");
    let holds_key = fs::read(&package)
        .unwrap()
        .windows(16)
        .any(|window| window == KEY);
    assert!(
        holds_key,
        "the package holds the key that must not be shown"
    );
    let shown = folder.ok(&["decode", &package, "--full"]);
    for word in [
        "ProfileHeader",
        "GSMA Generic eUICC Test Profile",
        "akaParameter",
        "securityDomain",
        "end",
    ] {
        assert!(shown.contains(word), "{word}");
    }
    assert!(!shown.contains("000102030405060708090A0B0C0D0E0F"));
}
