//! The checks of LoadEuiccPackage: each rung with its answer, and that a refusal changes nothing.

use rsp::der::{Element, Encoded};
use rsp::sgp32::*;

use crate::support::*;

fn enabling() -> EuiccPackage {
    EuiccPackage::PsmoList(vec![enable(2)])
}

fn unsigned(result: &EuiccPackageResult) -> &EuiccPackageErrorUnsigned {
    match result {
        EuiccPackageResult::EuiccPackageErrorUnsigned(error) => error,
        other => panic!("{other:?}"),
    }
}

/// What must be as before after a refusal.
fn snapshot(bench: &mut Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        bench.profiles(),
        bench.eims(),
        bench.events(),
        bench.results(),
        bench.nvm.octets_written(),
    )
}

#[test]
fn a_good_package_is_executed() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let results = bench.run(&mut eim, enabling());
    assert_eq!(
        results,
        [EuiccResultData::EnableResult(EnableProfileResult::Ok)]
    );
    assert_eq!(bench.enabled(), Some(iccid(2)));
}

#[test]
fn octets_that_are_no_package_are_refused() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    let package = eim.sign(enabling());
    for length in 3..package.len() {
        assert_eq!(
            bench.es10(&package[..length]),
            Err(0x6A80),
            "cut after {length}"
        );
    }
    for garbage in [
        &b"\xBF\x51\x00"[..],
        b"\xBF\x51\x02\x30\x00",
        b"\xBF\x51\x04\x30\x02\x80\x00",
    ] {
        assert_eq!(bench.es10(garbage), Err(0x6A80));
    }
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn an_unreadable_package_of_a_readable_eim_is_answered_unsigned() {
    let (mut bench, eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    // Nothing but the eimId.
    let mut request = vec![0xBF, 0x51, 0x13, 0x30, 0x11, 0x80, 0x0F];
    request.extend(b"eim.example.com");
    let result = bench.load(&request);
    assert_eq!(unsigned(&result).eim_id, eim.id);
    assert_eq!(unsigned(&result).association_token, None);
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn a_stranger_gets_an_unsigned_error_without_a_token() {
    let (mut bench, _) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    let mut stranger = Eim {
        key: STRANGER.clone(),
        ..Eim::new("stranger.example.com", 1)
    };
    let request = stranger.sign(enabling());
    let result = bench.load(&request);
    let error = unsigned(&result);
    assert_eq!(error.eim_id, stranger.id);
    assert_eq!(error.eim_transaction_id, Some(stranger.transaction_id()));
    assert_eq!(error.association_token, None);
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn a_package_without_transaction_id_is_answered_without() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let signed = EuiccPackageSigned {
        eim_transaction_id: None,
        ..eim.next(list_eim())
    };
    let result = bench.load(&eim.sign_this(signed.clone()));
    assert_eq!(eim.verified(&result).eim_transaction_id, None);
    let replayed = bench.load(&eim.sign_this(signed.clone()));
    assert_eq!(eim.error(&replayed).eim_transaction_id, None);
    let forged = Eim {
        key: STRANGER.clone(),
        ..eim
    };
    assert_eq!(
        unsigned(&bench.load(&forged.sign_this(signed))).eim_transaction_id,
        None
    );
}

#[test]
fn a_wrong_signature_gets_an_unsigned_error_with_the_token() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    let signed = eim.next(enabling());
    let forged = Eim {
        key: STRANGER.clone(),
        ..eim.clone()
    };
    let result = bench.load(&forged.sign_this(signed.clone()));
    assert_eq!(unsigned(&result).association_token, Some(1));
    assert_eq!(
        unsigned(&result).eim_transaction_id,
        Some(eim.transaction_id())
    );

    for token in [None, Some(0), Some(2), Some(-1)] {
        let confused = Eim {
            token,
            ..eim.clone()
        };
        let result = bench.load(&confused.sign_this(signed.clone()));
        assert_eq!(
            unsigned(&result).association_token,
            Some(1),
            "signed over {token:?}"
        );
    }
    assert_eq!(snapshot(&mut bench), before);
    // And the same content with the right signature is good.
    eim.verified(&bench.load(&eim.sign_this(signed)));
}

#[test]
fn every_bit_of_the_signed_part_is_protected() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    let package = eim.sign(enabling());
    for at in 0..package.len() {
        let mut altered = package.clone();
        altered[at] ^= 0x01;
        match bench.es10(&altered) {
            Err(status) => assert!(
                [0x6A80, 0x6A88].contains(&status),
                "octet {at}: {status:04X}"
            ),
            Ok(answer) => {
                unsigned(&EuiccPackageResult::from_der(&answer).unwrap());
            }
        }
    }
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn a_der_signature_is_accepted_too() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let signed = Encoded::new(eim.next(list_eim()));
    let plain = signature(&eim.key, &[signed.bytes(), &eim.token_object()]);
    let der = pki::Signature::from_wire(&plain).unwrap().to_der().unwrap();
    let request = EuiccPackageRequest {
        euicc_package_signed: signed,
        eim_signature: rsp::sgp22::Signature(der.into()),
        extensions: Default::default(),
    };
    let result = bench.load(&request.to_der());
    eim.verified(&result);
}

#[test]
fn a_package_for_another_card_gets_a_signed_error() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let before = snapshot(&mut bench);
    let other: rsp::ids::Eid = "89044045930000000000002153893210".parse().unwrap();
    let signed = EuiccPackageSigned {
        eid_value: other.to_field(),
        ..eim.next(enabling())
    };
    let error = eim.error(&bench.load(&eim.sign_this(signed)));
    assert_eq!(
        error.euicc_package_error_code,
        EuiccPackageErrorCode::InvalidEid
    );
    assert_eq!(error.counter_value, eim.counter);
    assert_eq!(error.eim_transaction_id, Some(eim.transaction_id()));
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn counters_must_be_in_range_and_rise() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let code = |bench: &mut Bench, eim: &mut Eim, counter_value: i64| {
        let signed = EuiccPackageSigned {
            counter_value,
            ..eim.next(list_eim())
        };
        match bench.load(&eim.sign_this(signed)) {
            EuiccPackageResult::EuiccPackageResultSigned(_) => None,
            error => Some(eim.error(&error).euicc_package_error_code),
        }
    };
    let replay = Some(EuiccPackageErrorCode::ReplayError);
    let out_of_range = Some(EuiccPackageErrorCode::CounterValueOutOfRange);
    for old in [-1, 0, 9, 10] {
        assert_eq!(code(&mut bench, &mut eim, old), replay, "{old}");
    }
    assert_eq!(code(&mut bench, &mut eim, i64::MAX), out_of_range);
    assert_eq!(code(&mut bench, &mut eim, 0x8000_0000), out_of_range);
    assert_eq!(code(&mut bench, &mut eim, 11), None);
    assert_eq!(code(&mut bench, &mut eim, 11), replay);
    // What every eUICC must cope with, and the most that this one does.
    assert_eq!(code(&mut bench, &mut eim, 8_388_607), None);
    assert_eq!(code(&mut bench, &mut eim, 12), replay);
    assert_eq!(code(&mut bench, &mut eim, 0x7FFF_FFFF), None);
    assert_eq!(code(&mut bench, &mut eim, 0x7FFF_FFFF), replay);
}

#[test]
fn a_refused_package_does_not_use_its_counter_up() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let signed = eim.next(list_eim());
    let other: rsp::ids::Eid = "89044045930000000000002153893210".parse().unwrap();
    let misdirected = EuiccPackageSigned {
        eid_value: other.to_field(),
        ..signed.clone()
    };
    eim.error(&bench.load(&eim.sign_this(misdirected)));
    eim.verified(&bench.load(&eim.sign_this(signed)));
}

#[test]
fn during_an_emergency_nothing_is_executed() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2), emergency(3)]);
    let response: EnableEmergencyProfileResponse = bench.ask(&EnableEmergencyProfileRequest {
        refresh_flag: true,
        extensions: Default::default(),
    });
    assert_eq!(
        response.enable_emergency_profile_result,
        EnableEmergencyProfileResult::Ok
    );
    let before = snapshot(&mut bench);
    let request = eim.sign(enabling());
    let error = eim.error(&bench.load(&request));
    assert_eq!(
        error.euicc_package_error_code,
        EuiccPackageErrorCode::EcallActive
    );
    assert_eq!(snapshot(&mut bench), before);
}

#[test]
fn a_package_above_the_size_limit_gets_a_signed_error() {
    let size_of = |profiles: usize| {
        let list = (0..profiles).map(|_| enable(2)).collect();
        Eim {
            token: Some(1),
            ..Eim::new("eim.example.com", 1)
        }
        .sign(EuiccPackage::PsmoList(list))
        .len()
    };
    let limit = size_of(4);
    let mut bench = Bench::with_options(vec![enabled(1), profile(2)], |options| {
        options.package_octets_max = limit as u32;
    });
    let mut eim = bench.associate();
    let before = snapshot(&mut bench);
    let too_large = eim.sign(EuiccPackage::PsmoList((0..5).map(|_| enable(2)).collect()));
    let error = eim.error(&bench.load(&too_large));
    assert_eq!(
        error.euicc_package_error_code,
        EuiccPackageErrorCode::SizeOverflow
    );
    assert_eq!(snapshot(&mut bench), before);
    let on_it = eim.sign(EuiccPackage::PsmoList((0..4).map(|_| enable(2)).collect()));
    eim.verified(&bench.load(&on_it));
}

#[test]
fn results_are_signed_under_the_ci_that_the_eim_chose() {
    let mut bench = Bench::new(vec![]);
    let mut eim = Eim {
        euicc_key: 1,
        ..Eim::new("eim.example.com", 1)
    };
    let configuration = EimConfigurationData {
        euicc_ci_pk_id: Some(ci_key_id(&OTHER_PKI)),
        association_token: None,
        ..eim.configuration()
    };
    bench.add_initial(vec![configuration]).unwrap();
    bench.run(&mut eim, list_eim());
}

#[test]
fn tokens_beyond_one_octet_are_der_integers_in_the_signature() {
    let mut bench = Bench::with_options(vec![], |options| options.eims_max = 200);
    let mut eims: Vec<Eim> = (0..129)
        .map(|number| Eim::new(&format!("eim{number}.example.com"), 1))
        .collect();
    let list = eims.iter().map(Eim::configuration).collect();
    let added = bench.add_initial(list).unwrap();
    for (eim, added) in eims.iter_mut().zip(added) {
        let AddInitialEimOk::AssociationToken(token) = added else {
            panic!()
        };
        eim.token = Some(token);
    }
    for (index, token) in [(126, 127), (127, 128), (128, 129)] {
        assert_eq!(eims[index].token, Some(token));
        let eim = &mut eims[index];
        bench.run(eim, list_eim());
    }
}
