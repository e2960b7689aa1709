use rsp::der::Octets;
use rsp::sgp22::{ErrorReason as Reason, IconType, OperatorId, PprFlags, PprIds, ProfileClass};

use super::super::policy::{NOTIFICATION_ADDRESSES_MAX, check_metadata, install_addresses};
use super::*;

fn judge(host: &TestHost, alter: impl FnOnce(&mut StoreMetadataRequest)) -> Result<(), Reason> {
    let mut metadata = metadata("89000123456789012341".parse().unwrap());
    alter(&mut metadata);
    check_metadata(host, &metadata)
}

fn operator(mcc_mnc: [u8; 3], gid1: Option<&[u8]>) -> OperatorId {
    OperatorId {
        mcc_mnc,
        gid1: gid1.map(Octets::from),
        gid2: None,
        extensions: Default::default(),
    }
}

fn rule(rules: &[usize], allowed_operators: Vec<OperatorId>) -> ProfilePolicyAuthorisationRule {
    ProfilePolicyAuthorisationRule {
        ppr_ids: PprIds::of(rules.iter().copied()),
        allowed_operators,
        ppr_flags: PprFlags::default(),
        extensions: Default::default(),
    }
}

#[test]
fn texts_icons_and_lists_are_bounded() {
    let host = TestHost::new();
    assert_eq!(judge(&host, |_| {}), Ok(()));
    assert_eq!(
        judge(&host, |metadata| metadata.service_provider_name =
            "x".repeat(32)),
        Ok(())
    );
    assert_eq!(
        judge(&host, |metadata| metadata.profile_name = "x".repeat(64)),
        Ok(())
    );
    let wrong = Err(Reason::IncorrectInputValues);
    assert_eq!(
        judge(&host, |metadata| metadata.service_provider_name =
            "x".repeat(33)),
        wrong
    );
    assert_eq!(
        judge(&host, |metadata| metadata.profile_name = "x".repeat(65)),
        wrong
    );
    let icon = |octets: usize| {
        move |metadata: &mut StoreMetadataRequest| {
            metadata.icon = Some(vec![0; octets].into());
            metadata.icon_type = Some(IconType::Jpg);
        }
    };
    assert_eq!(judge(&host, icon(1024)), Ok(()));
    assert_eq!(judge(&host, icon(1025)), wrong);
    assert_eq!(
        judge(&host, |metadata| metadata.icon = Some(vec![0; 4].into())),
        wrong,
        "icon of no kind"
    );
    let addresses = |count: usize| {
        move |metadata: &mut StoreMetadataRequest| {
            let one = metadata
                .notification_configuration_info
                .take()
                .unwrap()
                .remove(0);
            metadata.notification_configuration_info = Some(vec![one; count]);
        }
    };
    assert_eq!(judge(&host, addresses(NOTIFICATION_ADDRESSES_MAX)), Ok(()));
    assert_eq!(
        judge(&host, addresses(NOTIFICATION_ADDRESSES_MAX + 1)),
        wrong
    );
}

#[test]
fn only_addresses_that_asked_for_it_hear_of_the_installation() {
    let mut metadata = metadata("89000123456789012341".parse().unwrap());
    assert_eq!(
        install_addresses(&metadata).collect::<Vec<_>>(),
        ["first.example.com", "third.example.com"]
    );
    metadata.notification_configuration_info = None;
    assert_eq!(install_addresses(&metadata).count(), 0);
}

#[test]
fn classes_must_be_supported() {
    let mut host = TestHost::new();
    for class in [
        ProfileClass::Operational,
        ProfileClass::Provisioning,
        ProfileClass::Test,
    ] {
        assert_eq!(
            judge(&host, |metadata| metadata.profile_class = Some(class)),
            Ok(())
        );
    }
    let unsupported = Err(Reason::UnsupportedProfileClass);
    assert_eq!(
        judge(&host, |metadata| metadata.profile_class =
            Some(ProfileClass::Other(3))),
        unsupported
    );
    host.info2.rsp_capability = RspCapability::default();
    assert_eq!(
        judge(&host, |metadata| metadata.profile_class =
            Some(ProfileClass::Test)),
        unsupported
    );
}

#[test]
fn rules_need_the_permission_of_the_table() {
    let owned = |rules: &'static [usize], owner: OperatorId| {
        move |metadata: &mut StoreMetadataRequest| {
            metadata.profile_policy_rules = Some(PprIds::of(rules.iter().copied()));
            metadata.profile_owner = Some(owner);
        }
    };
    let home = operator([0x00, 0xF1, 0x10], Some(b"G1"));
    let refused = Err(Reason::PprNotAllowed);
    let mut host = TestHost::new();
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR1], home.clone())),
        refused,
        "empty table"
    );
    assert_eq!(judge(&host, owned(&[], home.clone())), Ok(()), "no rules");
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR_UPDATE_CONTROL], home.clone())),
        Ok(()),
        "no rule by itself"
    );

    host.rat = vec![rule(
        &[PprIds::PPR2],
        vec![operator([0x00, 0xF1, 0x10], Some(b""))],
    )];
    assert_eq!(judge(&host, owned(&[PprIds::PPR2], home.clone())), Ok(()));
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR1, PprIds::PPR2], home.clone())),
        refused,
        "one of two"
    );
    assert_eq!(
        judge(&host, owned(&[7], home.clone())),
        refused,
        "rule of a newer version"
    );
    assert_eq!(
        judge(
            &host,
            owned(&[PprIds::PPR2], operator([0x00, 0xF1, 0x20], None))
        ),
        refused,
        "other operator"
    );
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR2], operator([0xEE; 3], None))),
        Err(Reason::IncorrectInputValues)
    );
    let ownerless = |metadata: &mut StoreMetadataRequest| {
        metadata.profile_policy_rules = Some(PprIds::of([PprIds::PPR2]))
    };
    assert_eq!(judge(&host, ownerless), Err(Reason::IncorrectInputValues));

    host.rat = vec![rule(
        &[PprIds::PPR2],
        vec![operator([0xE0, 0xEE, 0xEE], None)],
    )];
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR2], home.clone())),
        refused,
        "group where none is allowed"
    );
    assert_eq!(
        judge(
            &host,
            owned(&[PprIds::PPR2], operator([0x00, 0xF1, 0x10], None))
        ),
        Ok(()),
        "digits that stand for any"
    );
    assert_eq!(
        judge(
            &host,
            owned(&[PprIds::PPR2], operator([0x03, 0xF1, 0x10], None))
        ),
        refused,
        "first digit differs"
    );

    host.rat = vec![rule(
        &[PprIds::PPR2],
        vec![operator([0xEE; 3], Some(b"G1"))],
    )];
    assert_eq!(judge(&host, owned(&[PprIds::PPR2], home.clone())), Ok(()));
    host.rat = vec![rule(
        &[PprIds::PPR2],
        vec![operator([0xEE; 3], Some(b"G2"))],
    )];
    assert_eq!(
        judge(&host, owned(&[PprIds::PPR2], home)),
        refused,
        "other group"
    );
}

#[test]
fn some_rules_are_refused_whatever_the_table_says() {
    let mut host = TestHost::new();
    host.rat = vec![rule(
        &[PprIds::PPR1, PprIds::PPR2],
        vec![operator([0xEE; 3], Some(b""))],
    )];
    let owned = |rule: usize| {
        move |metadata: &mut StoreMetadataRequest| {
            metadata.profile_policy_rules = Some(PprIds::of([rule]));
            metadata.profile_owner = Some(operator([0x00, 0xF1, 0x10], None));
        }
    };
    assert_eq!(judge(&host, owned(PprIds::PPR1)), Ok(()));
    host.has_operational_profile = true;
    assert_eq!(
        judge(&host, owned(PprIds::PPR1)),
        Err(Reason::PprNotAllowed)
    );
    assert_eq!(judge(&host, owned(PprIds::PPR2)), Ok(()));
    host.info2.forbidden_profile_policy_rules = Some(PprIds::of([PprIds::PPR2]));
    assert_eq!(
        judge(&host, owned(PprIds::PPR2)),
        Err(Reason::PprNotAllowed)
    );
}

#[test]
fn a_refused_rule_ends_the_download() {
    let order = Order::with_metadata(|metadata| {
        metadata.profile_policy_rules = Some(PprIds::of([PprIds::PPR1]));
        metadata.profile_owner = Some(operator([0x00, 0xF1, 0x10], None));
    });
    let mut card = Card::new();
    let bound = card.bound(&Smdp::new("NIST"), &order);
    let (index, _) = card.refuses(
        &bound.commands(),
        BppCommandId::StoreMetadata,
        Reason::PprNotAllowed,
    );
    assert_eq!(index, 3);
}

#[test]
fn a_test_profile_has_test_keys() {
    let smdp = Smdp::new("NIST");
    let order = Order::with_metadata(|metadata| metadata.profile_class = Some(ProfileClass::Test));
    // The first USIM of TS.48: algorithmID 3 (the test algorithm), K 00 01 02 ... 0F.
    let place = order
        .package
        .windows(16)
        .position(|window| window.iter().copied().eq(0..16))
        .unwrap();
    assert_eq!(
        order.package[place - 8..place],
        hex_literal::hex!("80 01 03 81 01 02 82 10")
    );
    let with = |algorithm: u8, first: u8, last: u8| {
        let mut order = order.clone();
        order.package[place - 6] = algorithm;
        order.package[place] = first;
        order.package[place + 15] = last;
        order
    };
    for good in [
        with(3, 0, 0x0F),
        with(1, 0, 0x0F),
        with(1, 0, 0xFF),
        with(3, 0xAA, 0x0F),
    ] {
        let mut card = Card::new();
        let bound = card.bound(&smdp, &good);
        card.load(&bound.commands());
    }
    let mut card = Card::new();
    let bound = card.bound(&smdp, &with(1, 0xAA, 0x0F));
    let reason = Reason::TestProfileInstallFailedDueToInvalidNaaKey;
    card.refuses(&bound.commands(), BppCommandId::LoadProfileElements, reason);

    // Whoever is not a test profile has the keys it wants.
    let operational = Order {
        metadata: Order::new().metadata,
        ..with(1, 0xAA, 0x0F)
    };
    let mut card = Card::new();
    let bound = card.bound(&smdp, &operational);
    card.load(&bound.commands());
}
