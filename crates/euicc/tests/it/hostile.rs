//! Whatever a terminal or an IPA sends, the card answers, stays as it is bounded to be, and goes on working.

use rand_core::Rng;
use rsp::der::Element;
use rsp::sgp22::*;
use rsp::sgp32::*;

use crate::support::*;

/// Good commands of every kind, to be damaged.
fn seeds(eim: &mut Eim) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "BF2000",
        "BF2200",
        "BF2800",
        "BF2B00",
        "BF2B04A0028200",
        "BF2D00",
        "BF2D035C015A",
        "BF2E00",
        "BF3003800101",
        "BF3C00",
        "BF3E035C015A",
        "BF3F038001 61",
        "BF4300",
        "BF5500",
        "BF5600",
        "BF5803800 1FF",
        "BF5900",
        "BF5A038001FF",
        "BF5B038001FF",
        "BF5C038001FF",
        "BF5D038001FF",
        "BF5E038001FF",
        "BF5F00",
        "BF6404820201FE",
        "BF65038001 61",
        "BF4204800207 80",
        "BF3600",
    ]
    .iter()
    .map(|text| hex::decode(text.replace(' ', "")).unwrap())
    .collect();
    let initial = AddInitialEimRequest {
        eim_configuration_data_list: vec![eim.configuration()],
        extensions: Default::default(),
    };
    seeds.push(initial.to_der());
    seeds.push(eim.sign(EuiccPackage::PsmoList(vec![
        enable(1),
        list_profiles(),
        delete(2),
    ])));
    seeds.push(eim.sign(EuiccPackage::EcoList(vec![Eco::AddEim(
        eim.configuration(),
    )])));
    seeds.push(
        SetNicknameRequest {
            iccid: iccid(1),
            profile_nickname: "n".to_owned(),
            extensions: Default::default(),
        }
        .to_der(),
    );
    seeds
}

#[test]
fn damaged_commands_neither_stop_the_card_nor_grow_it() {
    let (mut bench, mut eim) = Bench::associated(vec![
        enabled(1),
        with(profile(2), |it| it.is_fallback = true),
        emergency(3),
    ]);
    let seeds = seeds(&mut eim);
    let mut random = rng(2024);
    let mut pick = |below: usize| (random.next_u64() % below as u64) as usize;
    for _ in 0..3000 {
        let mut command = seeds[pick(seeds.len())].clone();
        for _ in 0..=pick(3) {
            let at = pick(command.len().max(1));
            match pick(4) {
                0 => command.truncate(at),
                1 => command.insert(at.min(command.len()), pick(256) as u8),
                2 if !command.is_empty() => command[at] = pick(256) as u8,
                _ if !command.is_empty() => command[at] ^= 1 << pick(8),
                _ => {}
            }
        }
        if let Err(status) = bench.es10(&command) {
            assert!(
                [0x6A80, 0x6A88, 0x6985].contains(&status),
                "{status:04X} to {command:02X?}"
            );
        }
    }
    // Nobody signed anything, so no Profile is gone (a memory reset apart, which needs no signature).
    let answer = bench.es10(&[0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5A]).unwrap();
    assert_eq!(answer.len(), 21);
    bench.power_cycle();
    bench.profiles();
}

#[test]
fn arbitrary_apdus_are_answered_with_a_status_word() {
    let mut bench = Bench::new(vec![enabled(1)]);
    let mut random = rng(2025);
    for round in 0..20_000 {
        let mut apdu = [0_u8; 24];
        random.fill_bytes(&mut apdu);
        // Half of them have a header that leads somewhere.
        if round % 2 == 0 {
            let classes = [0x00, 0x01, 0x80, 0x81, 0x40, 0xC0];
            let instructions = [0xA4, 0x70, 0xE2, 0xC0, 0xCA, 0xAA, 0x12, 0x14, 0x10, 0xF2];
            apdu[0] = classes[usize::from(apdu[0]) % classes.len()];
            apdu[1] = instructions[usize::from(apdu[1]) % instructions.len()];
            apdu[4] %= 20;
        }
        let length = usize::from(apdu[23]) % 24;
        let response = bench.apdu(&apdu[..length]);
        assert!(response.len() >= 2);
        assert!((0x60..=0x9F).contains(&response[response.len() - 2]));
    }
}

#[test]
fn deep_nesting_and_long_lists_are_refused() {
    let mut bench = Bench::new(vec![]);
    let mut nested = vec![0xA0, 0x00];
    while nested.len() < 5000 {
        let mut writer = rsp::der::Writer::new();
        writer.tlv(rsp::der::Tag::new(0xA0), |writer| writer.raw(&nested));
        nested = writer.into_bytes();
    }
    let mut writer = rsp::der::Writer::new();
    writer.tlv(rsp::der::Tag::new(0xBF57), |writer| writer.raw(&nested));
    assert_eq!(bench.es10(&writer.into_bytes()), Err(0x6A80));

    let list = [0x30, 0x00].repeat(20_000);
    let mut writer = rsp::der::Writer::new();
    writer.tlv(rsp::der::Tag::new(0xBF57), |writer| {
        writer.tlv(rsp::der::Tag::new(0xA0), |writer| writer.raw(&list));
    });
    assert_eq!(bench.es10(&writer.into_bytes()), Err(0x6A80));
}
