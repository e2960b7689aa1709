//! Functions of ES10a, ES10b and ES10c that read or set something.

use euicc::{Card, CardError, CardIdentity, MemoryNvm, Personalisation};
use rsp::der::{Element, Octets};
use rsp::sgp22::*;
use rsp::sgp32::*;

use crate::support::*;

#[test]
fn the_card_says_what_it_is() {
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    let info1: EuiccInfo1 = bench.ask(&GetEuiccInfo1Request {
        extensions: Default::default(),
    });
    let cis = vec![ci_key_id(&PKI), ci_key_id(&OTHER_PKI)];
    assert_eq!(info1.svn, VersionType::new(2, 5, 0));
    assert_eq!(info1.euicc_ci_pk_id_list_for_signing, cis);
    assert_eq!(info1.euicc_ci_pk_id_list_for_verification, cis);

    let info2: EuiccInfo2 = bench.ask(&GetEuiccInfo2Request {
        extensions: Default::default(),
    });
    assert_eq!(info2.euicc_ci_pk_id_list_for_signing, cis);
    assert_eq!(info2.ipa_mode, Some(IpaMode::Ipad));
    let iot = info2.iot_specific_info.unwrap();
    assert_eq!(iot.iot_version, [VersionType::new(1, 2, 0)]);
    assert!(iot.ecall_supported.is_some() && iot.fallback_supported.is_some());
    // Two Profiles of 1000 octets in one mebibyte.
    let free = (1_u32 << 20) - 2000;
    let mut expected = vec![0x81, 1, 2, 0x82, 4];
    expected.extend(free.to_be_bytes());
    assert_eq!(info2.ext_card_resource[..9], expected);
}

#[test]
fn the_eid_is_told_to_who_asks_for_it() {
    let mut bench = Bench::new(vec![]);
    let answer = bench.es10(&[0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5A]).unwrap();
    let response = GetEuiccDataResponse::from_der(&answer).unwrap();
    assert_eq!(response.eid_value.to_string(), EID);
    assert_eq!(bench.card.eid(), Some(eid()));
    assert_eq!(
        bench.es10(&[0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5B]),
        Err(0x6A80)
    );
}

#[test]
fn certificates_are_given_for_a_ci_that_may_be_shortened() {
    let mut bench = Bench::new(vec![]);
    let mut ask = |euicc_ci_pk_id: Option<KeyIdentifier>| -> GetCertsResponse {
        bench.ask(&GetCertsRequest {
            euicc_ci_pk_id,
            extensions: Default::default(),
        })
    };
    let certs = |pki: &pki::issue::TestPki, response: GetCertsResponse| match response {
        GetCertsResponse::Certs(certs) => {
            assert_eq!(certs.eum_certificate, wire(&pki.eum.certificate));
            let euicc = pki::Certificate::from_der(certs.euicc_certificate.as_der()).unwrap();
            assert_eq!(euicc.subject_serial_number(), Some(EID));
        }
        other => panic!("{other:?}"),
    };
    certs(&PKI, ask(None));
    certs(&OTHER_PKI, ask(Some(ci_key_id(&OTHER_PKI))));
    certs(
        &OTHER_PKI,
        ask(Some(KeyIdentifier(ci_key_id(&OTHER_PKI)[..4].into()))),
    );
    for unknown in [
        vec![],
        vec![0; 20],
        [ci_key_id(&PKI).to_vec(), vec![0]].concat(),
    ] {
        assert_eq!(
            ask(Some(KeyIdentifier(unknown.into()))),
            GetCertsResponse::GetCertsError(GetCertsError::InvalidCiPKId)
        );
    }
}

#[test]
fn the_default_address_is_set_under_either_tag() {
    let mut bench = Bench::new(vec![]);
    let address = |bench: &mut Bench| {
        let response: EuiccConfiguredAddressesResponse =
            bench.ask(&EuiccConfiguredAddressesRequest {
                extensions: Default::default(),
            });
        assert_eq!(response.root_ds_address, "smds.example.com");
        response.default_dp_address
    };
    assert_eq!(address(&mut bench).as_deref(), Some("smdp.example.com"));
    assert_eq!(
        bench.es10(b"\xBF\x65\x03\x80\x01a").unwrap(),
        b"\xBF\x65\x03\x80\x01\x00"
    );
    assert_eq!(address(&mut bench).as_deref(), Some("a"));
    assert_eq!(
        bench.es10(b"\xBF\x3F\x03\x80\x01b").unwrap(),
        b"\xBF\x3F\x03\x80\x01\x00"
    );
    assert_eq!(address(&mut bench).as_deref(), Some("b"));
    let too_long = SetDefaultDpAddressRequest {
        default_dp_address: "a".repeat(256),
        extensions: Default::default(),
    };
    assert_eq!(
        bench.es10(&too_long.to_der()).unwrap(),
        b"\xBF\x65\x03\x80\x01\x7F"
    );
    assert_eq!(
        bench.es10(b"\xBF\x3F\x02\x80\x00").unwrap(),
        b"\xBF\x3F\x03\x80\x01\x00"
    );
    assert_eq!(address(&mut bench), None);
    bench.power_cycle();
    assert_eq!(address(&mut bench), None);
}

#[test]
fn nicknames_are_set_within_their_length() {
    let mut bench = Bench::new(vec![profile(1)]);
    let mut set = |number: u8, nickname: &str| {
        let response: SetNicknameResponse = bench.ask(&SetNicknameRequest {
            iccid: iccid(number),
            profile_nickname: nickname.to_owned(),
            extensions: Default::default(),
        });
        let list = bench.ask(&ProfileInfoListRequest {
            search_criteria: None,
            tag_list: Some(Octets(vec![0x90])),
            extensions: Default::default(),
        });
        let ProfileInfoListResponse::ProfileInfoListOk(list) = list else {
            panic!()
        };
        (
            response.set_nickname_result,
            list[0].profile_nickname.clone(),
        )
    };
    let longest = "n".repeat(64);
    assert_eq!(
        set(1, &longest),
        (SetNicknameResult::Ok, Some(longest.clone()))
    );
    assert_eq!(
        set(1, &"n".repeat(65)),
        (SetNicknameResult::UndefinedError, Some(longest.clone()))
    );
    assert_eq!(
        set(2, "x"),
        (SetNicknameResult::IccidNotFound, Some(longest))
    );
    assert_eq!(set(1, ""), (SetNicknameResult::Ok, None));
}

#[test]
fn connectivity_parameters_are_those_of_the_enabled_profile() {
    let silent = with(profile(3), |it| it.connectivity_parameters = None);
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), silent]);
    let ask = |bench: &mut Bench| -> GetConnectivityParametersResponse {
        bench.ask(&GetConnectivityParametersRequest {
            extensions: Default::default(),
        })
    };
    let told = |response| match response {
        GetConnectivityParametersResponse::ConnectivityParameters(parameters) => {
            Some(parameters.http_params.unwrap().0)
        }
        GetConnectivityParametersResponse::ConnectivityParametersError(code) => {
            assert_eq!(code, ConnectivityParametersError::ParametersNotAvailable);
            None
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(ask(&mut bench)), Some(vec![0x47, 0x01, 1]));
    bench.psmo(&mut eim, enable(2));
    assert_eq!(told(ask(&mut bench)), Some(vec![0x47, 0x01, 2]));
    bench.psmo(&mut eim, enable(3));
    assert_eq!(told(ask(&mut bench)), None);
    bench.psmo(&mut eim, disable(3));
    assert_eq!(told(ask(&mut bench)), None);
}

#[test]
fn the_ipa_cannot_enable_disable_or_delete() {
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    let aid = bench.profiles()[1].isdp_aid.clone().unwrap();
    let enable = EnableProfileRequest {
        profile_identifier: ProfileIdentifier::IsdpAid(aid),
        refresh_flag: false,
        extensions: Default::default(),
    };
    let disable = DisableProfileRequest {
        profile_identifier: ProfileIdentifier::Iccid(iccid(1)),
        refresh_flag: false,
        extensions: Default::default(),
    };
    let commands = [
        enable.to_der(),
        disable.to_der(),
        DeleteProfileRequest::Iccid(iccid(2)).to_der(),
        b"\xBF\x34\x04\x82\x02\x05\x20".to_vec(),
        // No such function at all.
        b"\xBF\x7F\x00".to_vec(),
        b"\x5A\x00".to_vec(),
    ];
    for command in commands {
        assert_eq!(bench.es10(&command), Err(0x6A88), "{command:02X?}");
    }
    assert_eq!(bench.enabled(), Some(iccid(1)));
    assert_eq!(bench.profiles().len(), 2);
}

#[test]
fn functions_of_an_ipa_in_the_card_are_not_supported() {
    let mut bench = Bench::new(vec![]);
    let answer = bench.es10(b"\xBF\x42\x04\x80\x02\x07\x80").unwrap();
    assert_eq!(answer, b"\xBF\x42\x03\x80\x01\x01");
}

#[test]
fn malformed_commands_are_wrong_data() {
    let mut bench = Bench::new(vec![]);
    for tag in [
        0xBF20_u16, 0xBF21, 0xBF22, 0xBF28, 0xBF29, 0xBF2B, 0xBF2D, 0xBF2E, 0xBF30, 0xBF38, 0xBF3C,
        0xBF3E, 0xBF3F, 0xBF41, 0xBF42, 0xBF43, 0xBF51, 0xBF55, 0xBF56, 0xBF57, 0xBF58, 0xBF59,
        0xBF5A, 0xBF5B, 0xBF5C, 0xBF5D, 0xBF5E, 0xBF5F, 0xBF64, 0xBF65,
    ] {
        let [high, low] = tag.to_be_bytes();
        for content in [&[0x05][..], &[0x01, 0x80], &[0x00, 0x00]] {
            let command = [&[high, low], content].concat();
            assert_eq!(bench.es10(&command), Err(0x6A80), "{command:02X?}");
        }
    }
}

#[test]
fn a_card_is_made_once_and_only_of_parts_that_fit() {
    let nvm = MemoryNvm::new();
    assert!(matches!(
        Card::power_on(nvm.clone()),
        Err(CardError::NotPersonalised)
    ));
    let good = personalisation(vec![]);
    let other_key = CardIdentity {
        key: STRANGER.clone(),
        ..good.identities[0].clone()
    };
    let make = |personalisation| Card::personalise(personalisation, nvm.clone()).map(|_| ());
    let altered = Personalisation {
        identities: vec![other_key],
        ..good.clone()
    };
    assert!(matches!(make(altered), Err(CardError::OtherKey)));
    let other_eid = "89044045930000000000002153893210".parse().unwrap();
    let altered = Personalisation {
        eid: other_eid,
        ..good.clone()
    };
    assert!(matches!(make(altered), Err(CardError::OtherEid { .. })));
    let altered = Personalisation {
        identities: vec![],
        ..good.clone()
    };
    assert!(matches!(make(altered), Err(CardError::NoIdentity)));
    for profiles in [
        vec![enabled(1), enabled(2)],
        vec![profile(1), profile(1)],
        (1..=2)
            .map(|number| with(profile(number), |it| it.is_fallback = true))
            .collect(),
    ] {
        let altered = Personalisation {
            profiles,
            ..good.clone()
        };
        assert!(matches!(make(altered), Err(CardError::Profiles(_))));
    }
    make(good.clone()).unwrap();
    assert!(matches!(make(good), Err(CardError::AlreadyPersonalised)));
    assert_eq!(Card::power_on(nvm).unwrap().eid(), Some(eid()));
}

#[test]
fn a_card_lives_in_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let nvm = || euicc::FileNvm::open(directory.path().join("card")).unwrap();
    let card = Card::personalise(personalisation(vec![enabled(1)]), nvm()).unwrap();
    drop(card);
    let mut card = Card::power_on(nvm()).unwrap();
    assert_eq!(card.enabled_profile(), Some(iccid(1)));
    card.es10(b"\xBF\x65\x03\x80\x01a", &mut rng(1)).unwrap();
    let mut card = Card::power_on(nvm()).unwrap();
    let answer = card.es10(b"\xBF\x3C\x00", &mut rng(1)).unwrap();
    let addresses = EuiccConfiguredAddressesResponse::from_der(&answer).unwrap();
    assert_eq!(addresses.default_dp_address.as_deref(), Some("a"));
}
