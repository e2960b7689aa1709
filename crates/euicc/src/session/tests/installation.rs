use rsp::saip::EuiccResponse;
use rsp::sgp22::ErrorReason as Reason;

use super::super::Downloaded;
use super::super::bpp::{
    BOUND_PACKAGE_OCTETS_MAX, METADATA_SEGMENTS_OCTETS_MAX, PACKAGE_OCTETS_MAX,
};
use super::*;

const INITIALISE: BppCommandId = BppCommandId::InitialiseSecureChannel;
const CONFIGURE: BppCommandId = BppCommandId::ConfigureIsdp;
const METADATA: BppCommandId = BppCommandId::StoreMetadata;
const KEYS: BppCommandId = BppCommandId::ReplaceSessionKeys;
const PROFILE: BppCommandId = BppCommandId::LoadProfileElements;

/// Binds `order` on P-256, alters the parts, and expects this refusal. Gives the index of the command refused.
fn refuses(
    order: &Order,
    alter: impl FnOnce(&mut Bound),
    command_id: BppCommandId,
    reason: Reason,
) -> (usize, ProfileInstallationResult) {
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let mut bound = card.bound(&smdp, order);
    alter(&mut bound);
    let (index, result) = card.refuses(&bound.commands(), command_id, reason);
    assert_result_signed(&card.host, &smdp, &result);
    (index, result)
}

/// As [`refuses`], but alters the commands.
fn refuses_commands(
    alter: impl FnOnce(&mut Vec<Vec<u8>>),
    command_id: BppCommandId,
    reason: Reason,
) -> usize {
    let mut card = Card::new();
    let mut commands = card.bound(&Smdp::new("NIST"), &Order::new()).commands();
    alter(&mut commands);
    card.refuses(&commands, command_id, reason).0
}

/// Alters BF23 and signs it again.
fn refuses_channel(alter: impl FnOnce(&mut InitialiseSecureChannelRequest), reason: Reason) {
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let prepared = card.prepared(&smdp);
    let mut bound = smdp.bind(&Order::new(), &prepared, card.host.eid().0);
    let mut request = InitialiseSecureChannelRequest::from_der(&bound.initialise).unwrap();
    alter(&mut request);
    smdp.resign(&mut request, &prepared.euicc_signed2.euicc_otpk);
    bound.initialise = request.to_der();
    let (index, result) = card.refuses(&bound.commands(), INITIALISE, reason);
    assert_eq!(index, 0);
    assert_eq!(
        result
            .profile_installation_result_data
            .notification_metadata
            .iccid,
        None
    );
}

fn flip_last(segment: &mut [u8]) {
    *segment.last_mut().unwrap() ^= 1;
}

#[test]
fn a_profile_is_installed_on_both_curves() {
    for (curve, replaces_keys) in [
        ("NIST", true),
        ("NIST", false),
        ("BRP", true),
        ("BRP", false),
    ] {
        let smdp = Smdp::new(curve);
        let order = Order {
            replaces_keys,
            ..Order::new()
        };
        let mut card = Card::new();
        let commands = card.bound(&smdp, &order).commands();
        let result = card.load(&commands);

        let iccid = iccid_of(&order.package);
        let data = &result.profile_installation_result_data;
        assert_eq!(
            (&data.transaction_id, &data.smdp_oid),
            (&smdp.transaction_id, &smdp.oid())
        );
        assert_eq!(data.notification_metadata.seq_number, 41);
        assert_eq!(data.notification_metadata.notification_address, ADDRESS);
        assert_eq!(data.notification_metadata.iccid, Some(iccid));
        let event = &data.notification_metadata.profile_management_operation;
        assert_eq!(*event, NotificationEvent::of([NotificationEvent::INSTALL]));
        let FinalResult::SuccessResult(success) = &data.final_result else {
            panic!("{data:?}")
        };
        assert_eq!(success.sima_response.0, EuiccResponse::success().to_der());
        assert_result_signed(&card.host, &smdp, &result);

        let [installed] = card.host.installed.as_slice() else {
            panic!("one profile")
        };
        assert_eq!(*installed.package, order.package);
        assert_eq!(installed.metadata.to_der(), order.metadata);
        assert_eq!(installed.isdp_aid, success.aid);
        assert_eq!(&**installed.ci_key_id, ci_key_id(curve));
        assert_eq!(installed.result, result);
        assert_eq!(
            installed
                .dp_proprietary_data
                .as_ref()
                .map(|kept| kept.dp_oid.clone()),
            Some(oid("2.999.10"))
        );
        assert!(installed.size_octets > 0);
        let downloaded = Downloaded {
            iccid,
            smdp_oid: smdp.oid(),
            smdp_address: ADDRESS.to_owned(),
        };
        assert_eq!(installed.origin, downloaded);
        assert_eq!(card.session.last_downloaded(), Some(&downloaded));
        assert!(
            card.host.results.is_empty(),
            "success is stored together with the profile"
        );

        let told: Vec<_> = installed
            .notifications
            .iter()
            .map(|notification| {
                let tbs = &notification.tbs_other_notification;
                assert_eq!(tbs.iccid, Some(iccid));
                assert_signed_by(
                    &notification.euicc_certificate,
                    &notification.eum_certificate,
                    &[tbs.bytes()],
                    &notification.euicc_notification_signature,
                );
                (tbs.seq_number, tbs.notification_address.as_str())
            })
            .collect();
        assert_eq!(told, [(42, "first.example.com"), (43, "third.example.com")]);

        assert!(matches!(
            card.session.load_bpp(&mut card.host, &commands[0]),
            BppOutcome::NoSession
        ));
        card.challenge();
        assert_eq!(card.session.last_downloaded(), None);
    }
}

#[test]
fn commands_of_a_bound_package_are_known_by_their_tag() {
    let mut card = Card::new();
    for command in card.bound(&Smdp::new("NIST"), &Order::new()).commands() {
        assert!(Session::is_bpp_command(&command), "{:02X?}", &command[..2]);
    }
    for other in [&[0xBF, 0x20, 0x00][..], &[0xBF], &[0x30, 0x00], &[]] {
        assert!(!Session::is_bpp_command(other));
    }
}

#[test]
fn metadata_may_need_several_segments() {
    let order = Order::with_metadata(|metadata| {
        metadata.icon_type = Some(rsp::sgp22::IconType::Png);
        metadata.icon = Some(vec![0x77; 1024].into());
    });
    let mut card = Card::new();
    let bound = card.bound(&Smdp::new("NIST"), &order);
    assert_eq!(bound.seq_88.len(), 2);
    card.load(&bound.commands());
    assert_eq!(card.host.installed[0].metadata.to_der(), order.metadata);
}

#[test]
fn nothing_is_loaded_before_a_download_is_prepared() {
    let smdp = Smdp::new("NIST");
    let commands = Card::new().bound(&smdp, &Order::new()).commands();
    let mut card = Card::new();
    let load = |card: &mut Card| {
        for command in &commands {
            let outcome = card.session.load_bpp(&mut card.host, command);
            assert!(matches!(outcome, BppOutcome::NoSession), "{outcome:?}");
        }
    };
    load(&mut card);
    card.challenge();
    load(&mut card);
    card.authenticated(&smdp);
    load(&mut card);
    assert_eq!(card.host.last_number, 40, "nothing was signed");
}

#[test]
fn the_secure_channel_is_checked_before_keys_are_derived() {
    refuses_channel(
        |request| request.transaction_id = TransactionId::new(&[1]).unwrap(),
        Reason::InvalidTransactionId,
    );
    refuses_channel(
        |request| request.remote_op_id = RemoteOpId::Other(2),
        Reason::UnsupportedRemoteOperationType,
    );
    refuses_channel(
        |request| request.control_ref_template.key_type = [0x80],
        Reason::UnsupportedCrtValues,
    );
    refuses_channel(
        |request| request.control_ref_template.key_len = [0x20],
        Reason::UnsupportedCrtValues,
    );
    let not_a_point = |request: &mut InitialiseSecureChannelRequest| {
        let mut point = request.smdp_otpk.to_vec();
        flip_last(&mut point);
        request.smdp_otpk = OneTimePublicKey(point.into());
    };
    refuses_channel(not_a_point, Reason::IncorrectInputValues);
    let (index, _) = refuses(
        &Order::new(),
        |bound| flip_last(&mut bound.initialise),
        INITIALISE,
        Reason::InvalidSignature,
    );
    assert_eq!(index, 0);
    let octets_missing = |bound: &mut Bound| bound.initialise.truncate(20);
    refuses(
        &Order::new(),
        octets_missing,
        INITIALISE,
        Reason::IncorrectInputValues,
    );
}

#[test]
fn the_channel_is_signed_by_the_binding_key_of_this_session() {
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let prepared = card.prepared(&smdp);
    let other_binder = Smdp {
        pb: (smdp.pb.0.clone(), smdp.auth.1.clone()),
        ..smdp
    };
    let bound = other_binder.bind(&Order::new(), &prepared, card.host.eid().0);
    card.refuses(&bound.commands(), INITIALISE, Reason::InvalidSignature);
}

#[test]
fn a_package_for_another_euicc_is_refused() {
    // Bound to the one-time key of another eUICC, or of another session of this one.
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let mut other = Card {
        rng: rng(99),
        ..Card::new()
    };
    let foreign = smdp.bind(&Order::new(), &other.prepared(&smdp), card.host.eid().0);
    card.prepared(&smdp);
    card.refuses(&foreign.commands(), INITIALISE, Reason::InvalidSignature);

    // Bound to the right one-time key, but the keys are derived for another EID.
    let mut card = Card::new();
    let prepared = card.prepared(&smdp);
    let mut eid = card.host.eid().0;
    flip_last(&mut eid);
    let bound = smdp.bind(&Order::new(), &prepared, eid);
    let (index, _) = card.refuses(&bound.commands(), CONFIGURE, Reason::Scp03tSecurityError);
    assert_eq!(index, 1);
}

#[test]
fn altered_segments_are_refused_where_they_come() {
    let order = Order::new();
    let security = Reason::Scp03tSecurityError;
    let (index, _) = refuses(
        &order,
        |bound| flip_last(&mut bound.first_87[0]),
        CONFIGURE,
        security,
    );
    assert_eq!(index, 1);
    let (index, result) = refuses(
        &order,
        |bound| flip_last(&mut bound.seq_88[0]),
        METADATA,
        security,
    );
    assert_eq!(index, 3);
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    assert_eq!(
        metadata.iccid, None,
        "what a wrong MAC covers is not believed"
    );
    refuses(&order, |bound| bound.seq_88[0][9] ^= 1, METADATA, security);
    let (index, _) = refuses(
        &order,
        |bound| flip_last(&mut bound.second_87[0]),
        KEYS,
        security,
    );
    assert_eq!(index, 4);
    let (index, result) = refuses(&order, |bound| bound.seq_86[3][100] ^= 1, PROFILE, security);
    assert_eq!(index, 9);
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    assert_eq!(metadata.iccid, Some(iccid_of(&order.package)));
}

#[test]
fn segments_that_are_swapped_repeated_or_missing_are_refused() {
    let order = Order::new();
    let security = Reason::Scp03tSecurityError;
    let (index, _) = refuses(&order, |bound| bound.seq_86.swap(1, 2), PROFILE, security);
    assert_eq!(index, 7, "the first one that is out of order");
    refuses(
        &order,
        |bound| bound.seq_86.insert(1, bound.seq_86[0].clone()),
        PROFILE,
        security,
    );
    refuses(
        &order,
        |bound| drop(bound.seq_86.remove(2)),
        PROFILE,
        security,
    );
    refuses(
        &order,
        |bound| drop(bound.seq_86.remove(0)),
        PROFILE,
        security,
    );
    // Without ReplaceSessionKeys the profile is under other keys than the eUICC has.
    refuses(&order, |bound| bound.second_87.clear(), PROFILE, security);
    // The last segment missing, with lengths to match: the package is incomplete.
    let last_missing = |bound: &mut Bound| drop(bound.seq_86.pop());
    let (_, result) = refuses(
        &order,
        last_missing,
        PROFILE,
        Reason::InstallFailedDueToPeProcessingError,
    );
    let FinalResult::ErrorResult(error) = &result.profile_installation_result_data.final_result
    else {
        panic!()
    };
    let response = EuiccResponse::from_der(error.sima_response.as_ref().unwrap()).unwrap();
    assert!(!response.is_installed());
}

#[test]
fn commands_out_of_order_are_refused() {
    let structure = Reason::Scp03tStructureError;
    // 0 BF36, 1 A0, 2 A1, 3 the 88, 4 A2, 5 A3, 6... the 86
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(0)), INITIALISE, structure),
        0
    );
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(1)), CONFIGURE, structure),
        1
    );
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(2)), METADATA, structure),
        2
    );
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(3)), METADATA, structure),
        3
    );
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(4)), PROFILE, structure),
        4
    );
    assert_eq!(
        refuses_commands(|commands| drop(commands.remove(5)), PROFILE, structure),
        5
    );
    assert_eq!(
        refuses_commands(|commands| commands.swap(4, 5), PROFILE, structure),
        4
    );
    let again = |commands: &mut Vec<Vec<u8>>| commands.insert(5, commands[4].clone());
    assert_eq!(
        refuses_commands(again, PROFILE, structure),
        5,
        "keys are replaced once"
    );
    let restart = |commands: &mut Vec<Vec<u8>>| commands.insert(6, commands[0].clone());
    assert_eq!(refuses_commands(restart, PROFILE, structure), 6);
    let empty = |commands: &mut Vec<Vec<u8>>| commands.insert(1, Vec::new());
    assert_eq!(refuses_commands(empty, CONFIGURE, structure), 1);
    let metadata_again = |commands: &mut Vec<Vec<u8>>| commands.insert(6, commands[3].clone());
    assert_eq!(refuses_commands(metadata_again, PROFILE, structure), 6);
}

#[test]
fn announced_lengths_must_be_those_that_come() {
    let structure = Reason::Scp03tStructureError;
    let relabel = |index: usize, tag: &'static [u8], delta: isize| {
        move |commands: &mut Vec<Vec<u8>>| {
            let content = match index {
                0 => {
                    commands.iter().map(Vec::len).sum::<usize>() - tag_and_length(tag, 0x1000).len()
                }
                2 => commands[3].len(),
                _ => commands[6..].iter().map(Vec::len).sum(),
            };
            let old_header = tag_and_length(tag, content);
            assert!(commands[index].starts_with(&old_header));
            let rest = commands[index].split_off(old_header.len());
            commands[index] = [
                tag_and_length(tag, content.checked_add_signed(delta).unwrap()),
                rest,
            ]
            .concat();
        }
    };
    let bound_package: &[u8] = &[0xBF, 0x36];
    assert_eq!(
        refuses_commands(relabel(0, bound_package, 1), PROFILE, structure),
        5
    );
    assert_eq!(
        refuses_commands(relabel(0, bound_package, -1), PROFILE, structure),
        5
    );
    assert_eq!(
        refuses_commands(relabel(2, &[0xA1], -1), METADATA, structure),
        3
    );
    assert_eq!(
        refuses_commands(relabel(2, &[0xA1], 1), METADATA, structure),
        4
    );
    assert_eq!(
        refuses_commands(relabel(5, &[0xA3], 1), PROFILE, structure),
        5
    );
    assert_eq!(
        refuses_commands(relabel(5, &[0xA3], -1), PROFILE, structure),
        5
    );
    let trailing = |commands: &mut Vec<Vec<u8>>| commands[1].push(0);
    assert_eq!(refuses_commands(trailing, CONFIGURE, structure), 1);
    let two_segments = |bound: &mut Bound| bound.first_87.push(bound.first_87[0].clone());
    refuses(&Order::new(), two_segments, CONFIGURE, structure);
    refuses(
        &Order::new(),
        |bound| bound.seq_88.clear(),
        METADATA,
        structure,
    );
    refuses(
        &Order::new(),
        |bound| bound.seq_86.clear(),
        PROFILE,
        structure,
    );
    let both_in_one = |commands: &mut Vec<Vec<u8>>| {
        let segment = commands.remove(7);
        commands[6].extend(segment);
    };
    assert_eq!(refuses_commands(both_in_one, PROFILE, structure), 6);
}

#[test]
fn sizes_are_bounded_before_anything_is_kept() {
    let memory = Reason::InstallFailedDueToInsufficientMemoryForProfile;
    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    let bound = card.bound(&smdp, &Order::new());
    let mut first = tag_and_length(&[0xBF, 0x36], BOUND_PACKAGE_OCTETS_MAX + 1);
    first.extend(&bound.initialise);
    card.refuses(&[first], INITIALISE, memory);

    let metadata_too_long =
        |bound: &mut Bound| bound.seq_88.push(vec![0x88; METADATA_SEGMENTS_OCTETS_MAX]);
    let (index, _) = refuses(
        &Order::new(),
        metadata_too_long,
        METADATA,
        Reason::IncorrectInputValues,
    );
    assert_eq!(index, 2);

    let beyond = Order {
        package: vec![0; PACKAGE_OCTETS_MAX + 1],
        ..Order::new()
    };
    let (index, _) = refuses(&beyond, |_| {}, PROFILE, memory);
    assert_eq!(
        index,
        6 + PACKAGE_OCTETS_MAX / 1007,
        "the segment that passes the limit"
    );

    let many_small = |bound: &mut Bound| {
        bound
            .seq_86
            .push(vec![0x86; PACKAGE_OCTETS_MAX + PACKAGE_OCTETS_MAX / 32])
    };
    let (index, _) = refuses(&Order::new(), many_small, PROFILE, memory);
    assert_eq!(index, 5);

    let big_segment = |bound: &mut Bound| {
        let mut segment = tag_and_length(&[0x86], 1040);
        segment.resize(1044, 0);
        bound.seq_86[0] = segment;
    };
    let (index, _) = refuses(
        &Order::new(),
        big_segment,
        PROFILE,
        Reason::Scp03tStructureError,
    );
    assert_eq!(index, 6);
}

#[test]
fn a_largest_package_is_taken_whole() {
    // Not a profile, but it must get as far as being looked into.
    let order = Order {
        package: vec![0; PACKAGE_OCTETS_MAX],
        ..Order::new()
    };
    refuses(
        &order,
        |_| {},
        PROFILE,
        Reason::InstallFailedDueToPeProcessingError,
    );
}

#[test]
fn contents_of_commands_are_checked() {
    let order = Order {
        configure_isdp: vec![0xBF, 0x25, 0x00],
        ..Order::new()
    };
    refuses(&order, |_| {}, CONFIGURE, Reason::IncorrectInputValues);
    let mut padded = vec![
        0xBF, 0x24, 0x81, 0x8A, 0xB8, 0x81, 0x87, 0x80, 0x03, 0x88, 0x37, 0x0A, 0xDF, 0x20, 0x7F,
    ];
    padded.resize(padded.len() + 0x7F, 0);
    let order = Order {
        configure_isdp: padded,
        ..Order::new()
    };
    refuses(&order, |_| {}, CONFIGURE, Reason::IncorrectInputValues);

    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    card.host.has_room = false;
    let bound = card.bound(&smdp, &Order::new());
    card.refuses(
        &bound.commands(),
        CONFIGURE,
        Reason::InstallFailedDueToInsufficientMemoryForProfile,
    );

    // ReplaceSessionKeys whose MAC is right, but which is something else.
    let mut card = Card::new();
    let prepared = card.prepared(&smdp);
    let order = Order::new();
    let mut bound = smdp.bind(&order, &prepared, card.host.eid().0);
    let one_time_key = EphemeralKey::generate(pki::Curve::P256, &mut rng(77)).unwrap();
    let shared = one_time_key
        .agree(&prepared.euicc_signed2.euicc_otpk)
        .unwrap();
    let keys = BspKeys::derive(&shared, b"host", &card.host.eid().0).unwrap();
    let mut protector = bsp::Protector::new(&keys);
    protector
        .protect(bsp::SegmentTag::Command87, &order.configure_isdp)
        .unwrap();
    protector
        .protect(bsp::SegmentTag::Metadata88, &order.metadata)
        .unwrap();
    bound.second_87 = vec![
        protector
            .protect(bsp::SegmentTag::Command87, &[0xBF, 0x26, 0x00])
            .unwrap(),
    ];
    let (index, _) = card.refuses(&bound.commands(), KEYS, Reason::IncorrectInputValues);
    assert_eq!(index, 4);
}

#[test]
fn a_package_that_cannot_be_installed_says_why() {
    let processing = Reason::InstallFailedDueToPeProcessingError;
    let order = Order {
        package: b"not a profile".to_vec(),
        ..Order::new()
    };
    let (_, result) = refuses(&order, |_| {}, PROFILE, processing);
    let FinalResult::ErrorResult(error) = &result.profile_installation_result_data.final_result
    else {
        panic!()
    };
    assert!(error.sima_response.is_some());

    let mut without_end = Order::new();
    let parsed = ProfilePackage::parse(&without_end.package).unwrap();
    let (_, elements) = parsed.elements().split_last().unwrap();
    without_end.package = elements
        .iter()
        .flat_map(|element| element.raw().to_vec())
        .collect();
    refuses(&without_end, |_| {}, PROFILE, processing);

    let smdp = Smdp::new("NIST");
    let mut card = Card::new();
    card.host.free_octets = 1000;
    let bound = card.bound(&smdp, &Order::new());
    card.refuses(
        &bound.commands(),
        PROFILE,
        Reason::InstallFailedDueToInsufficientMemoryForProfile,
    );
}

#[test]
fn the_metadata_is_about_the_profile_that_comes() {
    let order =
        Order::with_metadata(|metadata| metadata.iccid = "8944476500001224158".parse().unwrap());
    let (_, result) = refuses(
        &order,
        |_| {},
        PROFILE,
        Reason::InstallFailedDueToDataMismatch,
    );
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    assert_eq!(metadata.iccid, Some("8944476500001224158".parse().unwrap()));
}

#[test]
fn a_host_that_cannot_store_gives_an_error_result() {
    for (error, reason) in [
        (
            InstallError::InsufficientMemory,
            Reason::InstallFailedDueToInsufficientMemoryForProfile,
        ),
        (
            InstallError::Storage,
            Reason::InstallFailedDueToUnknownError,
        ),
    ] {
        let mut card = Card::new();
        card.host.install_error = Some(error);
        let bound = card.bound(&Smdp::new("NIST"), &Order::new());
        let (_, result) = card.refuses(&bound.commands(), PROFILE, reason);
        let number = result
            .profile_installation_result_data
            .notification_metadata
            .seq_number;
        assert_eq!(
            number, 44,
            "the numbers of the result and the notifications that were not stored are not given again"
        );
    }
}

#[test]
fn the_same_profile_is_not_installed_twice() {
    let smdp = Smdp::new("NIST");
    let order = Order::new();
    let mut card = Card::new();
    let first = card.bound(&smdp, &order).commands();
    card.load(&first);
    card.host.installed.clear();

    card.prepared(&smdp);
    card.session.load_bpp(&mut card.host, &first[0]);
    let [replayed] = card.host.results.as_slice() else {
        panic!("one result")
    };
    let FinalResult::ErrorResult(error) = &replayed.profile_installation_result_data.final_result
    else {
        panic!("installed from a replay")
    };
    assert_eq!(
        error.error_reason,
        Reason::InvalidSignature,
        "a package is good for one session"
    );

    let second = card.bound(&smdp, &order).commands();
    let reason = Reason::InstallFailedDueToIccidAlreadyExistsOnEuicc;
    let (index, result) = card.refuses(&second, METADATA, reason);
    assert_eq!(index, 3);
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    assert_eq!(metadata.iccid, Some(iccid_of(&order.package)));
}

#[test]
fn an_interrupted_load_leaves_a_result() {
    let smdp = Smdp::new("NIST");
    // What interrupts, and how many commands came before.
    type Interrupt = fn(&mut Card);
    let reset: Interrupt = |card| card.session.interrupt(&mut card.host);
    let challenge: Interrupt = |card| {
        card.challenge();
    };
    for (interrupt, commands_before, command_id) in [
        (reset, 1, CONFIGURE),
        (reset, 3, METADATA),
        (challenge, 7, PROFILE),
    ] {
        let mut card = Card::new();
        let commands = card.bound(&smdp, &Order::new()).commands();
        for (index, command) in commands[..commands_before].iter().enumerate() {
            assert_continues(card.session.load_bpp(&mut card.host, command), index);
        }
        interrupt(&mut card);
        let [result] = card.host.results.as_slice() else {
            panic!("one result")
        };
        assert_result_signed(&card.host, &smdp, result);
        let FinalResult::ErrorResult(error) = &result.profile_installation_result_data.final_result
        else {
            panic!()
        };
        assert_eq!(
            (error.bpp_command_id, error.error_reason),
            (command_id, Reason::InstallFailedDueToInterruption)
        );
        let next = card
            .session
            .load_bpp(&mut card.host, &commands[commands_before]);
        assert!(matches!(next, BppOutcome::NoSession));
        assert!(card.host.installed.is_empty());
    }
    // Before anything was loaded there is nothing to report, and the key waits for a retry.
    let mut card = Card::new();
    card.prepared(&smdp);
    card.session.interrupt(&mut card.host);
    assert!(card.host.results.is_empty());
    assert!(card.host.retained.is_some());
}

#[test]
fn secrets_are_not_printed() {
    let mut card = Card::new();
    let bound = card.bound(&Smdp::new("NIST"), &Order::new());
    let kept = format!("{:?}", card.host.retained);
    assert!(!kept.contains('['), "{kept}");
    card.load(&bound.commands());
    let printed = format!("{:?}", card.host.installed[0]);
    assert!(
        printed.contains("package_octets") && printed.len() < 400,
        "{printed}"
    );
}
