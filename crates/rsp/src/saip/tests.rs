//! The published test profiles, and packages made wrong from one of them.

use super::*;
use crate::der::{Element, ErrorKind, Tag, Writer};

const PROFILES: [(&str, &[u8]); 4] = [
    (
        "bertlv-suci",
        include_bytes!("../../../../tests/data/ts48/ts48-v7-bertlv-suci.der"),
    ),
    (
        "bertlv-suci-noramrfm",
        include_bytes!("../../../../tests/data/ts48/ts48-v7-bertlv-suci-noramrfm.der"),
    ),
    (
        "nobertlv",
        include_bytes!("../../../../tests/data/ts48/ts48-v7-nobertlv.der"),
    ),
    (
        "nobertlv-noramrfm",
        include_bytes!("../../../../tests/data/ts48/ts48-v7-nobertlv-noramrfm.der"),
    ),
];

fn complete() -> ProfilePackage {
    ProfilePackage::parse(PROFILES[0].1).unwrap()
}

fn euicc() -> EuiccCapabilities {
    EuiccCapabilities::telecom(200_000)
}

/// The package of these elements, each as the whole TLV.
fn package<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> ProfilePackage {
    ProfilePackage::parse(&elements.into_iter().collect::<Vec<_>>().concat()).unwrap()
}

/// The complete profile with one element put in front of its end.
fn with_element(element: &[u8]) -> ProfilePackage {
    let base = complete();
    let (end, before) = base.elements().split_last().unwrap();
    package(
        before
            .iter()
            .map(ProfileElement::raw)
            .chain([element, end.raw()]),
    )
}

/// The complete profile with these octets, which occur in it once, replaced by others.
fn with_octets(old: &[u8], new: &[u8]) -> ProfilePackage {
    let original = PROFILES[0].1;
    let mut places = original
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old);
    let (at, _) = places.next().expect("octets occur");
    assert!(places.next().is_none(), "octets occur once");
    let mut bytes = original.to_vec();
    bytes[at..at + old.len()].copy_from_slice(new);
    ProfilePackage::parse(&bytes).unwrap()
}

fn element(tag: u32, mandated: bool, identification: i64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.tlv(Tag::new(tag), |w| {
        w.tlv(Tag::new(0xA0), |w| {
            if mandated {
                w.tlv(Tag::new(0x80), |_| {});
            }
            w.value(0x81, &identification);
        });
    });
    writer.into_bytes()
}

/// Status and element of a refusal.
fn refusal(
    package: &ProfilePackage,
    capabilities: &EuiccCapabilities,
) -> (PeStatusCode, Option<i64>) {
    let response = package.check(capabilities).expect_err("must be refused");
    assert!(!response.is_installed());
    assert_eq!(
        EuiccResponse::from_der(&response.to_der()).unwrap(),
        response
    );
    let [status] = response.pe_status.as_slice() else {
        panic!("one status")
    };
    (status.status, status.identification)
}

#[test]
fn every_test_profile_is_read_and_can_be_installed() {
    for (name, bytes) in PROFILES {
        let profile = ProfilePackage::parse(bytes).unwrap();
        let header = profile.header().unwrap();
        assert_eq!(
            header.to_der(),
            profile.elements()[0].raw(),
            "{name}: header written back"
        );
        assert_eq!((header.major_version, header.minor_version), (2, 3));
        assert_eq!(
            header.profile_type.as_deref(),
            Some("GSMA Generic eUICC Test Profile")
        );
        assert!(header.is_generic_test_profile());
        assert_eq!(header.iccid().unwrap().to_string(), "89000123456789012341");
        assert_eq!(
            profile.iccid_of_file().unwrap(),
            Some(header.iccid().unwrap())
        );
        assert_eq!(profile.imsi().unwrap().as_deref(), Some("001010123456789"));
        assert_eq!(
            header.mandatory_services.contains(Service::BerTlv),
            name.starts_with("bertlv")
        );
        assert!(header.mandatory_services.contains(Service::ProfileBP256));
        assert_eq!(header.mandatory_templates.len(), 11);
        let whole: Vec<u8> = profile
            .elements()
            .iter()
            .flat_map(|element| element.raw())
            .copied()
            .collect();
        assert_eq!(whole, bytes, "{name}: nothing is lost");

        let report = profile
            .check(&euicc())
            .unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        assert_eq!(
            report.response.to_der(),
            hex_literal::hex!("3007A0053003800100")
        );
        assert!(report.skipped.is_empty());
        assert!(
            (10_000..100_000).contains(&report.size_octets),
            "{name}: {}",
            report.size_octets
        );
    }
}

#[test]
fn codes_keys_and_applications_of_the_complete_profile() {
    let profile = complete();
    let pins = profile.pins().unwrap();
    let references: Vec<i64> = pins.iter().map(|pin| pin.key_reference).collect();
    assert_eq!(references, [1, 10, 11, 129, 129, 129, 129]);
    assert_eq!(pins[0].value.expose(), b"0000\xFF\xFF\xFF\xFF");
    assert_eq!(pins[0].unblocking_reference, Some(1));
    let puks = profile.puks().unwrap();
    assert_eq!(
        puks.iter().map(|puk| puk.key_reference).collect::<Vec<_>>(),
        [1, 129]
    );

    let authentication = profile.authentication().unwrap();
    assert_eq!(authentication.len(), 2);
    let AkaConfiguration::Own { algorithm, key, .. } = &authentication[0] else {
        panic!("own keys")
    };
    assert_eq!(*algorithm, AkaAlgorithm::UsimTestAlgorithm);
    assert_eq!(key.expose(), (0..16).collect::<Vec<u8>>());

    let applications = profile.applications().unwrap();
    let roles: Vec<ApplicationRole> = applications
        .iter()
        .map(|application| application.role)
        .collect();
    use ApplicationRole::{RemoteFileManagement as Rfm, SecurityDomain};
    assert_eq!(roles, [SecurityDomain, Rfm, Rfm, Rfm, Rfm]);
    assert_eq!(
        &applications[0].aid[..],
        hex_literal::hex!("A000000151000000")
    );
    let without = ProfilePackage::parse(PROFILES[1].1).unwrap();
    assert!(
        without
            .applications()
            .unwrap()
            .iter()
            .all(|application| application.role != Rfm)
    );
}

#[test]
fn debug_output_shows_no_key_and_no_code() {
    let profile = complete();
    let text = format!(
        "{profile:?} {:?} {:?}",
        profile.authentication(),
        profile.pins()
    );
    for secret in ["000102030405", "[0, 1, 2, 3", "3030303030", "48, 48, 48"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_package_has_one_header_first_and_one_end_last() {
    let base = complete();
    let all: Vec<&[u8]> = base.elements().iter().map(ProfileElement::raw).collect();
    let (head, end) = (all[0], all[all.len() - 1]);
    for wrong in [
        package(all[..all.len() - 1].iter().copied()),
        package(all[1..].iter().copied()),
        package([head].into_iter().chain(all.iter().copied())),
        package(all.iter().copied().chain([end])),
        package([]),
    ] {
        assert_eq!(
            refusal(&wrong, &euicc()),
            (PeStatusCode::InvalidRequestFormat, None)
        );
    }
    // A second header in the middle.
    let twice = with_element(head);
    assert_eq!(
        refusal(&twice, &euicc()),
        (PeStatusCode::InvalidRequestFormat, None)
    );
}

#[test]
fn an_unknown_element_is_refused_only_when_mandated() {
    for tag in [0xBF22, 0xAB, 0xBF8101] {
        let mandated = with_element(&element(tag, true, 99));
        assert_eq!(
            refusal(&mandated, &euicc()),
            (PeStatusCode::PeNotSupported, Some(99))
        );
        let optional = with_element(&element(tag, false, 99))
            .check(&euicc())
            .unwrap();
        assert_eq!(optional.skipped, [99]);
        assert!(optional.response.is_installed());
        assert_eq!(
            optional.response.pe_status,
            [PeStatus::new(PeStatusCode::PeNotSupported, Some(99))]
        );
    }
    // One whose header cannot be read may be mandated: refused.
    assert_eq!(
        refusal(&with_element(&[0x9F, 0x30, 0]), &euicc()),
        (PeStatusCode::PeNotSupported, None)
    );
    assert_eq!(
        refusal(&with_element(&[0xBF, 0x30, 0]), &euicc()),
        (PeStatusCode::PeNotSupported, None)
    );
}

#[test]
fn identification_numbers_are_unique_and_in_range() {
    let twice = with_element(&element(0xBF22, false, 31));
    assert_eq!(
        refusal(&twice, &euicc()),
        (PeStatusCode::InvalidParameter, Some(31))
    );
    let error = ProfilePackage::parse(&element(0xAA, true, 32_768)).unwrap_err();
    assert!(
        error.source.to_string().contains("identification"),
        "{}",
        error.source
    );
    assert_eq!(
        error.response().pe_status[0].status,
        PeStatusCode::InvalidRequestFormat
    );
}

#[test]
fn what_the_header_demands_must_be_there() {
    let profile = complete();
    let mut no_csim = euicc();
    no_csim
        .services
        .0
        .retain(|&service| service != Service::Csim);
    assert_eq!(
        refusal(&profile, &no_csim),
        (PeStatusCode::FeatureNotSupported, None)
    );
    assert_eq!(
        profile
            .check(&no_csim)
            .unwrap_err()
            .status_message
            .as_deref(),
        Some("service csim"),
    );

    let no_templates = EuiccCapabilities {
        templates: Vec::new(),
        ..euicc()
    };
    assert_eq!(
        refusal(&profile, &no_templates),
        (PeStatusCode::TemplateNotSupported, None)
    );
    let newer_only = EuiccCapabilities {
        major_versions: 3..=3,
        ..euicc()
    };
    assert_eq!(
        refusal(&profile, &newer_only),
        (PeStatusCode::UnsupportedProfileVersion, None)
    );

    let needed = report_size(&profile);
    let full = EuiccCapabilities {
        free_octets: needed - 1,
        ..euicc()
    };
    assert_eq!(
        refusal(&profile, &full),
        (PeStatusCode::NotEnoughMemory, None)
    );
    assert!(
        profile
            .check(&EuiccCapabilities {
                free_octets: needed,
                ..euicc()
            })
            .is_ok()
    );
}

fn report_size(profile: &ProfilePackage) -> usize {
    profile.check(&euicc()).unwrap().size_octets
}

#[test]
fn load_packages_must_be_present_in_the_same_major_and_no_older_minor_version() {
    let base = complete();
    let mut header = base.header().unwrap();
    header.mandatory_aids = Some(vec![MandatoryAid::new(&[0xA0, 0, 0, 0, 9], [1, 3])]);
    let profile = package(
        [header.to_der().as_slice()]
            .into_iter()
            .chain(base.elements()[1..].iter().map(ProfileElement::raw)),
    );
    for (version, fits) in [
        ([1, 3], true),
        ([1, 4], true),
        ([1, 2], false),
        ([2, 3], false),
    ] {
        let load_packages = vec![MandatoryAid::new(&[0xA0, 0, 0, 0, 9], version)];
        let result = profile.check(&EuiccCapabilities {
            load_packages,
            ..euicc()
        });
        assert_eq!(result.is_ok(), fits, "{version:?}");
    }
    assert_eq!(
        refusal(&profile, &euicc()),
        (PeStatusCode::LibNotSupported, None)
    );

    header.mandatory_services.0.insert(3, Service::Javacard);
    header.mandatory_aids = None;
    let no_runtime = EuiccCapabilities {
        services: base.header().unwrap().mandatory_services,
        ..euicc()
    };
    let profile = package(
        [header.to_der().as_slice()]
            .into_iter()
            .chain(base.elements()[1..].iter().map(ProfileElement::raw)),
    );
    assert!(matches!(
        refusal(&profile, &no_runtime).0,
        PeStatusCode::RuntimeNotSupported
    ));
}

#[test]
fn directories_come_before_what_stands_in_them() {
    let base = complete();
    let without = |kind: ElementKind| {
        package(
            base.elements()
                .iter()
                .filter(|element| element.kind() != kind)
                .map(ProfileElement::raw),
        )
    };
    let (status, first_file_element) = refusal(&without(ElementKind::Mf), &euicc());
    assert_eq!(
        (status, first_file_element),
        (PeStatusCode::InvalidRequestFormat, Some(7))
    );
    assert_eq!(
        refusal(&without(ElementKind::Usim), &euicc()),
        (PeStatusCode::InvalidRequestFormat, Some(9))
    );
    let second_mf = {
        let mut raw = base.elements()[1].raw().to_vec();
        let at = raw
            .windows(3)
            .position(|window| window == [0x81, 0x01, 0x04])
            .unwrap();
        raw[at + 2] = 99;
        with_element(&raw)
    };
    assert_eq!(
        refusal(&second_mf, &euicc()),
        (PeStatusCode::InvalidRequestFormat, Some(99))
    );
}

#[test]
fn codes_that_are_referred_to_must_be_set() {
    let base = complete();
    let no_puks = package(
        base.elements()
            .iter()
            .filter(|e| e.kind() != ElementKind::PukCodes)
            .map(ProfileElement::raw),
    );
    assert_eq!(
        refusal(&no_puks, &euicc()),
        (PeStatusCode::PinCodeMissing, Some(2))
    );
    let no_pins = package(
        base.elements()
            .iter()
            .filter(|e| e.kind() != ElementKind::PinCodes)
            .map(ProfileElement::raw),
    );
    assert_eq!(
        refusal(&no_pins, &euicc()),
        (PeStatusCode::PinCodeMissing, Some(4))
    );
}

#[test]
fn contents_that_contradict_each_other_or_their_type_are_bad_values() {
    let other_iccid = with_octets(
        &hex_literal::hex!("830A98001032547698103214"),
        &hex_literal::hex!("830A98001032547698103215"),
    );
    assert_eq!(
        refusal(&other_iccid, &euicc()),
        (PeStatusCode::BadValues, None)
    );
    // EF.IMSI's descriptor becomes something a file cannot contain.
    let imsi = hex_literal::hex!("8309080910101032547698");
    let mut wrong_command = imsi;
    wrong_command[0] = 0x84;
    assert_eq!(
        refusal(&with_octets(&imsi, &wrong_command), &euicc()),
        (PeStatusCode::BadValues, Some(8))
    );
    // A template of another kind.
    let usim_template = hex_literal::hex!("800081010881066781 0F010204");
    let isim_template = hex_literal::hex!("800081010881066781 0F010208");
    assert_eq!(
        refusal(&with_octets(&usim_template, &isim_template), &euicc()),
        (PeStatusCode::TemplateNotSupported, Some(8))
    );
}

#[test]
fn malformed_octets_are_located() {
    let bytes = PROFILES[0].1;
    let error = ProfilePackage::parse(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!((error.index, error.offset), (29, bytes.len() - 9));
    assert_eq!(error.source.kind(), &ErrorKind::Truncated);
    for cut in (0..bytes.len()).step_by(7) {
        if let Ok(shorter) = ProfilePackage::parse(&bytes[..cut]) {
            assert!(shorter.check(&euicc()).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn depth_number_and_size_are_bounded() {
    let mut nested = Vec::new();
    for _ in 0..2000 {
        let mut writer = Writer::new();
        writer.tlv(Tag::new(0xBF22), |w| w.raw(&nested));
        nested = writer.into_bytes();
    }
    let error = ProfilePackage::parse(&nested).unwrap_err();
    assert_eq!(error.source.kind(), &ErrorKind::TooDeep { limit: 16 });

    let error = ProfilePackage::parse(&element(0xAA, true, 1).repeat(1025)).unwrap_err();
    assert_eq!(error.source.kind(), &ErrorKind::TooMany { limit: 1024 });
    assert_eq!(error.index, 1024);

    let error = ProfilePackage::parse(&vec![0; (1 << 20) + 1]).unwrap_err();
    assert!(matches!(error.source.kind(), ErrorKind::TooLong { .. }));
}
