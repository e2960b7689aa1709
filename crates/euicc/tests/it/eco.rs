//! eIM Configuration Operations: every result code, and the attacks that tokens and counters are there for.

use rsp::sgp22::KeyIdentifier;
use rsp::sgp32::EuiccResultData as R;
use rsp::sgp32::*;

use crate::support::*;

fn added(result: R) -> AddEimResult {
    match result {
        R::AddEimResult(result) => result,
        other => panic!("{other:?}"),
    }
}

fn deleted(result: R) -> DeleteEimResult {
    match result {
        R::DeleteEimResult(code) => code,
        other => panic!("{other:?}"),
    }
}

fn updated(result: R) -> UpdateEimResult {
    match result {
        R::UpdateEimResult(code) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_associated_eim_adds_another_which_then_works() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let mut second = Eim::new("second.example.com", 2);
    let result = bench.eco(&mut eim, Eco::AddEim(second.configuration()));
    assert_eq!(added(result), AddEimResult::AssociationToken(2));
    second.token = Some(2);
    assert_eq!(
        enable_code(&bench.psmo(&mut second, enable(2))),
        EnableProfileResult::Ok
    );

    let third = Eim::new("third.example.com", 3);
    let plain = EimConfigurationData {
        association_token: None,
        ..third.configuration()
    };
    let result = bench.eco(&mut second, Eco::AddEim(plain));
    assert_eq!(
        added(result),
        AddEimResult::AddEimResultCode(AddEimResultCode::Ok)
    );
    assert_eq!(bench.eims().len(), 3);
}

#[test]
fn add_eim_has_its_result_codes() {
    use AddEimResultCode as C;
    let mut bench = Bench::with_options(vec![], |options| options.eims_max = 2);
    let mut eim = bench.associate();
    let good = Eim::new("second.example.com", 2).configuration();
    let cases = [
        (C::AssociatedEimAlreadyExists, eim.configuration()),
        (
            C::CommandError,
            EimConfigurationData {
                counter_value: None,
                ..good.clone()
            },
        ),
        (
            C::CommandError,
            EimConfigurationData {
                eim_public_key_data: None,
                ..good.clone()
            },
        ),
        (
            C::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(1 << 31),
                ..good.clone()
            },
        ),
        (
            C::CiPKUnknown,
            EimConfigurationData {
                euicc_ci_pk_id: Some(KeyIdentifier(vec![1].into())),
                ..good.clone()
            },
        ),
        (
            C::InvalidAssociationToken,
            EimConfigurationData {
                association_token: Some(7),
                ..good.clone()
            },
        ),
        (
            C::InsufficientMemory,
            EimConfigurationData {
                eim_fqdn: Some("a".repeat(9000)),
                ..good.clone()
            },
        ),
    ];
    for (code, data) in cases {
        let result = bench.eco(&mut eim, Eco::AddEim(data));
        assert_eq!(added(result), AddEimResult::AddEimResultCode(code));
    }
    assert_eq!(bench.eims().len(), 1);
    assert_eq!(
        added(bench.eco(&mut eim, Eco::AddEim(good))),
        AddEimResult::AssociationToken(2)
    );
    let third = Eim::new("third.example.com", 3).configuration();
    let full = AddEimResult::AddEimResultCode(C::InsufficientMemory);
    assert_eq!(added(bench.eco(&mut eim, Eco::AddEim(third))), full);
}

#[test]
fn delete_eim_has_its_result_codes_and_the_last_one_opens_the_card() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let second = Eim::new("second.example.com", 2);
    bench.eco(&mut eim, Eco::AddEim(second.configuration()));
    let stranger = "nobody.example.com".parse().unwrap();
    assert_eq!(
        deleted(bench.eco(&mut eim, delete_eim(&stranger))),
        DeleteEimResult::EimNotFound
    );
    assert_eq!(
        deleted(bench.eco(&mut eim, delete_eim(&second.id))),
        DeleteEimResult::Ok
    );
    // It deletes itself, and its result is still signed over its token.
    let own_id = eim.id.clone();
    assert_eq!(
        deleted(bench.eco(&mut eim, delete_eim(&own_id))),
        DeleteEimResult::LastEimDeleted
    );
    assert_eq!(bench.eims(), []);
    let request = eim.sign(list_eim());
    assert!(matches!(
        bench.load(&request),
        EuiccPackageResult::EuiccPackageErrorUnsigned(error) if error.association_token.is_none()
    ));
    assert!(bench.add_initial(vec![eim.configuration()]).is_ok());
}

#[test]
fn an_eim_that_comes_back_gets_a_new_token_and_its_old_packages_are_worthless() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    // Made, kept by somebody, never delivered.
    let mut old = eim.clone();
    old.counter = 500;
    let kept = old.sign(EuiccPackage::PsmoList(vec![delete(2)]));
    let own_id = eim.id.clone();
    bench.eco(&mut eim, delete_eim(&own_id));
    // The same eIM, the same key, a counter that would let the old package pass.
    let again = Eim {
        counter: 10,
        ..eim.clone()
    };
    let token = bench.add_initial(vec![again.configuration()]).unwrap();
    assert_eq!(token, [AddInitialEimOk::AssociationToken(2)]);
    let result = bench.load(&kept);
    let EuiccPackageResult::EuiccPackageErrorUnsigned(error) = result else {
        panic!("{result:?}")
    };
    assert_eq!(error.association_token, Some(2));
    assert_eq!(bench.profiles().len(), 2);
    bench.run(
        &mut Eim {
            token: Some(2),
            ..again
        },
        list_eim(),
    );
}

#[test]
fn the_token_counter_survives_power_and_memory_reset() {
    let (mut bench, _) = Bench::associated(vec![]);
    let reset: EuiccMemoryResetResponse = bench.ask(&EuiccMemoryResetRequest {
        reset_options: ResetOptions::of([ResetOptions::RESET_EIM_CONFIG_DATA]),
        extensions: Default::default(),
    });
    assert_eq!(reset.reset_eim_result, Some(ResetEimResult::Ok));
    bench.power_cycle();
    let again = bench
        .add_initial(vec![Eim::new("eim.example.com", 1).configuration()])
        .unwrap();
    assert_eq!(again, [AddInitialEimOk::AssociationToken(2)]);
}

#[test]
fn update_eim_replaces_what_is_present() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let data = EimConfigurationData {
        eim_fqdn: Some("moved.example.com".to_owned()),
        ..EimConfigurationData::named(eim.id.clone())
    };
    let before = bench.eims().remove(0);
    assert_eq!(
        updated(bench.eco(&mut eim, Eco::UpdateEim(data))),
        UpdateEimResult::Ok
    );
    let after = bench.eims().remove(0);
    assert_eq!(after.eim_fqdn.as_deref(), Some("moved.example.com"));
    assert_eq!(
        after,
        EimConfigurationData {
            eim_fqdn: after.eim_fqdn.clone(),
            ..before
        }
    );
}

#[test]
fn a_key_is_rotated_by_a_package_under_the_old_one() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let rotated = Eim {
        key: key(42),
        ..eim.clone()
    };
    let data = EimConfigurationData {
        eim_public_key_data: Some(rotated.public_key_data()),
        counter_value: Some(3),
        ..EimConfigurationData::named(eim.id.clone())
    };
    assert_eq!(
        updated(bench.eco(&mut eim, Eco::UpdateEim(data))),
        UpdateEimResult::Ok
    );
    // The old key is out, the new one counts from its own number.
    let request = eim.sign(list_eim());
    assert!(matches!(
        bench.load(&request),
        EuiccPackageResult::EuiccPackageErrorUnsigned(_)
    ));
    bench.run(
        &mut Eim {
            counter: 3,
            ..rotated
        },
        list_eim(),
    );
}

#[test]
fn update_eim_has_its_result_codes() {
    use UpdateEimResult as U;
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let named = EimConfigurationData::named(eim.id.clone());
    let unusable = EimPublicKeyData::EimPublicKey(
        rsp::sgp22::SubjectPublicKeyInfo::from_der_bytes(hex::decode("30053000030100").unwrap())
            .unwrap(),
    );
    let cases = [
        (
            U::EimNotFound,
            EimConfigurationData::named("nobody".parse().unwrap()),
        ),
        (
            U::CiPKUnknown,
            EimConfigurationData {
                euicc_ci_pk_id: Some(KeyIdentifier(vec![1].into())),
                ..named.clone()
            },
        ),
        (
            U::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(1 << 31),
                ..named.clone()
            },
        ),
        (
            U::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(10),
                ..named.clone()
            },
        ),
        (
            U::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(10),
                eim_public_key_data: Some(eim.public_key_data()),
                ..named.clone()
            },
        ),
        (
            U::CommandError,
            EimConfigurationData {
                association_token: Some(-1),
                ..named.clone()
            },
        ),
        (
            U::CommandError,
            EimConfigurationData {
                eim_public_key_data: Some(unusable),
                ..named.clone()
            },
        ),
        (
            U::UndefinedError,
            EimConfigurationData {
                eim_fqdn: Some("a".repeat(9000)),
                ..named.clone()
            },
        ),
        (
            U::Ok,
            EimConfigurationData {
                counter_value: Some(100),
                ..named.clone()
            },
        ),
    ];
    let before = bench.eims();
    for (code, data) in cases {
        assert_eq!(
            updated(bench.eco(&mut eim, Eco::UpdateEim(data.clone()))),
            code,
            "{data:?}"
        );
    }
    assert_eq!(bench.eims(), before);
    // The raised counter is in force.
    let request = eim.sign(list_eim());
    let error = eim.error(&bench.load(&request));
    assert_eq!(
        error.euicc_package_error_code,
        EuiccPackageErrorCode::ReplayError
    );
    eim.counter = 100;
    bench.run(&mut eim, list_eim());
}

#[test]
fn eims_are_listed() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let second = Eim::new("second.example.com", 2);
    let data = EimConfigurationData {
        eim_id_type: None,
        ..second.configuration()
    };
    let results = bench.run(
        &mut eim,
        EuiccPackage::EcoList(vec![Eco::AddEim(data), Eco::ListEim(no_arguments())]),
    );
    let R::ListEimResult(ListEimResult::EimIdList(list)) = &results[1] else {
        panic!("{results:?}")
    };
    let told: Vec<_> = list
        .iter()
        .map(|info| (info.eim_id.as_str(), info.eim_id_type))
        .collect();
    assert_eq!(
        told,
        [
            ("eim.example.com", Some(EimIdType::EimIdTypeFqdn)),
            ("second.example.com", None)
        ]
    );
}

#[test]
fn counters_of_eims_are_apart() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let mut second = Eim {
        counter: 0,
        ..Eim::new("second.example.com", 2)
    };
    bench.eco(&mut eim, Eco::AddEim(second.configuration()));
    second.token = Some(2);
    for _ in 0..3 {
        bench.run(&mut second, list_eim());
        bench.run(&mut eim, list_eim());
    }
    // A package of one is not one of the other.
    let own = second.sign(list_eim());
    let mut impostor = Eim {
        id: eim.id.clone(),
        ..second.clone()
    };
    let request = impostor.sign(list_eim());
    assert!(matches!(
        bench.load(&request),
        EuiccPackageResult::EuiccPackageErrorUnsigned(_)
    ));
    second.verified(&bench.load(&own));
}

#[test]
fn an_unknown_operation_on_eims_ends_the_package() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    let request = eim.sign_raw(0xA1, &[0xAB, 0x00, 0xBE, 0x00, 0xAB, 0x00]);
    let results = eim.verified(&bench.load(&request)).euicc_result;
    assert_eq!(results.len(), 2);
    assert_eq!(
        results[1],
        R::ProcessingTerminated(ProcessingTerminated::UnknownOrDamagedCommand)
    );
    // Profile operations do not exist among those on eIMs.
    let psmo = rsp::der::Element::to_der(&enable(1));
    let request = eim.sign_raw(0xA1, &psmo);
    let results = eim.verified(&bench.load(&request)).euicc_result;
    assert_eq!(
        results,
        [R::ProcessingTerminated(
            ProcessingTerminated::UnknownOrDamagedCommand
        )]
    );
}
