//! AddInitialEim: its conditions, its checks, and that it is all or nothing.

use rsp::der::Null;
use rsp::sgp22::{Certificate, KeyIdentifier, SubjectPublicKeyInfo};
use rsp::sgp32::*;

use crate::support::*;

#[test]
fn tokens_are_given_only_where_asked_for_and_count_up_from_one() {
    let mut bench = Bench::new(vec![]);
    let with_token = Eim::new("a.example.com", 1);
    let without = Eim::new("b.example.com", 2);
    let also_with = Eim::new("c.example.com", 3);
    let plain = EimConfigurationData {
        association_token: None,
        ..without.configuration()
    };
    let added = bench
        .add_initial(vec![
            with_token.configuration(),
            plain.clone(),
            also_with.configuration(),
        ])
        .unwrap();
    assert_eq!(
        added,
        [
            AddInitialEimOk::AssociationToken(1),
            AddInitialEimOk::AddOk(Null),
            AddInitialEimOk::AssociationToken(2),
        ]
    );
    let stored = bench.eims();
    assert_eq!(
        stored
            .iter()
            .map(|it| it.association_token)
            .collect::<Vec<_>>(),
        [Some(1), None, Some(2)]
    );
    assert!(
        stored.iter().all(|it| it.counter_value.is_none()),
        "counters are not told"
    );
    assert_eq!(
        stored[1],
        EimConfigurationData {
            counter_value: None,
            ..plain
        }
    );
    // Without a token, zero goes into the signature.
    bench.run(
        &mut Eim {
            token: None,
            ..without
        },
        list_eim(),
    );
}

#[test]
fn it_works_only_while_nobody_is_associated() {
    let (mut bench, _) = Bench::associated(vec![]);
    let late = Eim::new("late.example.com", 5);
    assert_eq!(
        bench.add_initial(vec![late.configuration()]),
        Err(AddEimResultCode::AssociatedEimAlreadyExists)
    );
    assert_eq!(bench.eims().len(), 1);
}

#[test]
fn every_entry_is_checked_and_one_bad_one_refuses_all() {
    use AddEimResultCode as C;
    let eim = Eim::new("eim.example.com", 1);
    let good = || eim.configuration();
    let key = |bytes: &[u8]| {
        EimPublicKeyData::EimPublicKey(
            SubjectPublicKeyInfo::from_der_bytes(bytes.to_vec()).unwrap(),
        )
    };
    let not_a_certificate =
        Certificate::from_der_bytes(hex::decode("300B30030201073000030200AA").unwrap()).unwrap();
    let cases = [
        (
            C::CommandError,
            EimConfigurationData {
                counter_value: None,
                ..good()
            },
        ),
        (
            C::CommandError,
            EimConfigurationData {
                eim_public_key_data: None,
                ..good()
            },
        ),
        (
            C::CommandError,
            EimConfigurationData {
                eim_public_key_data: Some(key(&[0x30, 0x05, 0x30, 0x00, 0x03, 0x01, 0x00])),
                ..good()
            },
        ),
        (
            C::CommandError,
            EimConfigurationData {
                eim_public_key_data: Some(EimPublicKeyData::EimCertificate(not_a_certificate)),
                ..good()
            },
        ),
        (
            C::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(-1),
                ..good()
            },
        ),
        (
            C::CounterValueOutOfRange,
            EimConfigurationData {
                counter_value: Some(0x8000_0000),
                ..good()
            },
        ),
        (
            C::CiPKUnknown,
            EimConfigurationData {
                euicc_ci_pk_id: Some(KeyIdentifier(vec![7; 20].into())),
                ..good()
            },
        ),
        (
            C::InvalidAssociationToken,
            EimConfigurationData {
                association_token: Some(0),
                ..good()
            },
        ),
        (
            C::InvalidAssociationToken,
            EimConfigurationData {
                association_token: Some(1),
                ..good()
            },
        ),
        (
            C::InsufficientMemory,
            EimConfigurationData {
                eim_fqdn: Some("a".repeat(9000)),
                ..good()
            },
        ),
        (C::AssociatedEimAlreadyExists, good()),
    ];
    let mut bench = Bench::new(vec![]);
    for (code, bad) in cases {
        let first = EimConfigurationData {
            eim_id: "eim.example.com".parse().unwrap(),
            ..good()
        };
        let bad_alone = if code == C::AssociatedEimAlreadyExists {
            vec![]
        } else {
            vec![bad.clone()]
        };
        if !bad_alone.is_empty() {
            assert_eq!(bench.add_initial(bad_alone), Err(code), "{bad:?}");
        }
        let renamed = match code {
            C::AssociatedEimAlreadyExists => bad.clone(),
            _ => EimConfigurationData {
                eim_id: "second.example.com".parse().unwrap(),
                ..bad.clone()
            },
        };
        assert_eq!(
            bench.add_initial(vec![first, renamed]),
            Err(code),
            "{bad:?}"
        );
        assert_eq!(bench.eims(), [], "nothing is stored");
    }
    assert_eq!(bench.add_initial(vec![]), Err(C::CommandError));
    // Refusals took no token.
    assert_eq!(
        bench.add_initial(vec![good()]),
        Ok(vec![AddInitialEimOk::AssociationToken(1)])
    );
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut bench = Bench::with_options(vec![], |options| options.eims_max = 2);
    let configuration =
        |number| Eim::new(&format!("eim{number}.example.com"), number).configuration();
    let three = (1..=3).map(configuration).collect();
    assert_eq!(
        bench.add_initial(three),
        Err(AddEimResultCode::InsufficientMemory)
    );
    let two = (1..=2).map(configuration).collect();
    assert_eq!(bench.add_initial(two).unwrap().len(), 2);
}

#[test]
fn an_eim_may_come_with_a_certificate() {
    let mut bench = Bench::new(vec![]);
    let mut eim = Eim {
        key: PKI.eim_signing.key.clone(),
        ..Eim::new("eim.example.com", 1)
    };
    let certificate = EimPublicKeyData::EimCertificate(wire(&PKI.eim_signing.certificate));
    let configuration = EimConfigurationData {
        eim_public_key_data: Some(certificate.clone()),
        ..eim.configuration()
    };
    bench.add_initial(vec![configuration]).unwrap();
    assert_eq!(bench.eims()[0].eim_public_key_data, Some(certificate));
    eim.token = Some(1);
    bench.run(&mut eim, list_eim());
}

#[test]
fn an_eim_may_have_a_brainpool_key() {
    let mut bench = Bench::new(vec![]);
    let mut eim = Eim {
        key: OTHER_PKI.eim_signing.key.clone(),
        ..Eim::new("eim.example.com", 1)
    };
    bench.add_initial(vec![eim.configuration()]).unwrap();
    eim.token = Some(1);
    bench.run(&mut eim, list_eim());
}

#[test]
fn the_request_of_a_deployed_ipa_is_taken() {
    let mut bench = Bench::new(vec![]);
    let answer = bench
        .es10(&hex_data("vectors/add_initial_eim_request_onomondo.hex"))
        .unwrap();
    let response = <AddInitialEimResponse as rsp::der::Element>::from_der(&answer).unwrap();
    assert_eq!(
        response,
        AddInitialEimResponse::AddInitialEimOk(vec![AddInitialEimOk::AssociationToken(1)])
    );
}

#[test]
fn one_eim_is_told_by_its_name() {
    let mut bench = Bench::new(vec![]);
    let names = ["a.example.com", "b.example.com"];
    bench
        .add_initial(
            names
                .iter()
                .map(|name| Eim::new(name, 1).configuration())
                .collect(),
        )
        .unwrap();
    let mut ask = |name: &str| {
        let response: GetEimConfigurationDataResponse =
            bench.ask(&GetEimConfigurationDataRequest {
                search_criteria: Some(EimSearchCriteria::EimId(name.parse().unwrap())),
                extensions: Default::default(),
            });
        response.eim_configuration_data_list
    };
    let told = ask("b.example.com");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].eim_id.as_str(), "b.example.com");
    assert_eq!(ask("c.example.com"), []);
}
