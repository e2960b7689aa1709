//! What happens below ES10: channels, blocks, chained answers, REFRESH.

use hex_literal::hex;
use rsp::der::Element;
use rsp::sgp32::{EuiccPackage, EuiccPackageResult};

use crate::support::*;

const ISDR: [u8; 16] = hex!("A0000005591010FFFFFFFF8900000100");

fn open_isdr(bench: &mut Bench) {
    assert_eq!(bench.apdu(&hex!("0070000000")), hex!("01 9000"));
    assert_eq!(
        bench.apdu(&hex!("01A4040010A0000005591010FFFFFFFF8900000100"))[0],
        0x61
    );
}

fn gather(bench: &mut Bench, mut response: Vec<u8>) -> (Vec<u8>, [u8; 2]) {
    let mut data = Vec::new();
    loop {
        let status: [u8; 2] = response.split_off(response.len() - 2).try_into().unwrap();
        data.extend(response);
        let [0x61, length] = status else {
            return (data, status);
        };
        response = bench.apdu(&[0x81, 0xC0, 0x00, 0x00, length]);
    }
}

/// The exchanges that were recorded from a real card (tests/data/vectors/apdu_exchanges.json), as this card answers them.
#[test]
fn recorded_exchanges_have_the_same_shape_here() {
    let text = String::from_utf8(data("vectors/apdu_exchanges.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let commands = |exchange: usize| -> Vec<Vec<u8>> {
        let list = vectors["exchanges"][exchange]["c"].as_array().unwrap();
        list.iter()
            .map(|it| hex::decode(it.as_str().unwrap()).unwrap())
            .collect()
    };
    let mut bench = Bench::new(vec![enabled(1)]);
    let [capability, open, select, list] = commands(1).try_into().unwrap();
    assert_eq!(bench.apdu(&capability), hex!("9000"));
    assert_eq!(bench.apdu(&open), hex!("01 9000"));
    let selected = bench.apdu(&select);
    assert_eq!(selected[0], 0x61);
    let fci = bench.apdu(&[0x01, 0xC0, 0x00, 0x00, selected[1]]);
    assert_eq!(fci[..2], [0x6F, 0x1E]);
    assert_eq!(fci[4..20], ISDR);
    // SGP.32's E1 with bit enabledProfile, in place of SGP.22's E0.
    assert!(fci.ends_with(&hex!("A504 9F6501FF E104 80020640 9000")));

    let [length_high, length] = bench.apdu(&list)[..] else {
        panic!()
    };
    assert_eq!(length_high, 0x61);
    let answer = bench.apdu(&[0x81, 0xC0, 0x00, 0x00, length]);
    assert!(answer.starts_with(&hex!("BF2D")));
    assert!(answer.ends_with(&hex!("9000")));

    let [eid, get_response] = commands(0).try_into().unwrap();
    assert_eq!(bench.apdu(&eid), hex!("6115"));
    let answer = bench.apdu(&get_response);
    assert_eq!(answer[..5], hex!("BF3E125A10"));
    assert_eq!(answer[21..], hex!("9000"));

    // EnableProfile of SGP.22 is not offered.
    let [enable] = commands(2).try_into().unwrap();
    assert_eq!(bench.apdu(&enable), hex!("6A88"));
}

#[test]
fn channels_are_opened_used_and_closed() {
    let mut bench = Bench::new(vec![]);
    for number in 1..=19 {
        assert_eq!(bench.apdu(&hex!("0070000001")), [number, 0x90, 0x00]);
    }
    assert_eq!(
        bench.apdu(&hex!("0070000001")),
        hex!("6A81"),
        "all are open"
    );
    assert_eq!(bench.apdu(&hex!("00708007")), hex!("9000"));
    assert_eq!(bench.apdu(&hex!("00708007")), hex!("6881"), "it is closed");
    assert_eq!(bench.apdu(&hex!("0070000001")), hex!("07 9000"));
    assert_eq!(
        bench.apdu(&hex!("00708000")),
        hex!("6881"),
        "the basic channel stays"
    );
    assert_eq!(
        bench.apdu(&hex!("00700007")),
        hex!("6881"),
        "it is open already"
    );
    assert_eq!(bench.apdu(&hex!("00708014")), hex!("6A86"));
    assert_eq!(bench.apdu(&hex!("00700000")), hex!("6C01"));
    // A further channel has its own class, and its own selected application.
    let select = [&hex!("4F A4 04 00 10")[..], &ISDR].concat();
    assert_eq!(bench.apdu(&select)[0], 0x61);
    assert_eq!(bench.apdu(&hex!("CF E2 91 00 03 BF2D00"))[0], 0x61);
    assert_eq!(bench.apdu(&hex!("CE E2 91 00 03 BF2D00")), hex!("6985"));
    bench.card.reset().unwrap();
    assert_eq!(bench.apdu(&hex!("CF E2 91 00 03 BF2D00")), hex!("6881"));
    assert_eq!(bench.apdu(&hex!("00 E2 91 00 03 BF2D00")), hex!("6D00"));
}

#[test]
fn applications_are_selected_by_their_names() {
    let mut bench = Bench::new(vec![enabled(1), profile(2)]);
    let aids: Vec<Vec<u8>> = bench
        .profiles()
        .iter()
        .map(|it| it.isdp_aid.clone().unwrap().octets().to_vec())
        .collect();
    let mut select = |aid: &[u8], p1: u8, p2: u8| {
        bench.apdu(&[&[0x00, 0xA4, p1, p2, aid.len() as u8], aid].concat())
    };
    let ecasd = hex!("A0000005591010FFFFFFFF8900000200");
    assert_eq!(select(&ISDR, 4, 0)[0], 0x61);
    assert_eq!(select(&ISDR, 4, 0x0C), hex!("9000"));
    assert_eq!(select(&aids[0], 4, 0)[0], 0x61);
    assert_eq!(
        select(&aids[1], 4, 0),
        hex!("6A82"),
        "a disabled Profile is not there"
    );
    assert_eq!(select(&hex!("A0000000871002"), 4, 0), hex!("6A82"));
    assert_eq!(select(&hex!("3F00"), 0, 0x0C), hex!("6A86"));
    assert_eq!(select(&ecasd, 4, 0x0C), hex!("9000"));
    let eid = bench.apdu(&hex!("80 CA 00 5A 00"));
    assert_eq!(eid[..2], [0x5A, 0x10]);
    assert_eq!(hex::encode(&eid[2..18]), EID);
    assert_eq!(
        bench.apdu(&hex!("80 E2 91 00 03 BF2D00")),
        hex!("6985"),
        "not the ISD-R"
    );
}

#[test]
fn where_the_card_asks_for_terminal_capability_it_must_come_first() {
    let mut bench = Bench::with_options(vec![], |options| {
        options.terminal_capability_required = true
    });
    let select = [&hex!("00 A4 04 00 10")[..], &ISDR].concat();
    assert_eq!(bench.apdu(&select), hex!("6A82"));
    assert_eq!(bench.apdu(&hex!("80AA000005A903830107")), hex!("9000"));
    assert_eq!(bench.apdu(&select)[0], 0x61);
    bench.card.reset().unwrap();
    assert_eq!(bench.apdu(&select), hex!("6A82"));
}

#[test]
fn blocks_are_put_together_in_sequence() {
    let mut bench = Bench::new(vec![]);
    open_isdr(&mut bench);
    let block =
        |p1: u8, p2: u8, data: &[u8]| [&[0x81, 0xE2, p1, p2, data.len() as u8], data].concat();
    let get_eid = hex!("BF3E035C015A");
    for (index, octet) in get_eid[..5].iter().enumerate() {
        assert_eq!(
            bench.apdu(&block(0x11, index as u8, &[*octet])),
            hex!("9000")
        );
    }
    assert_eq!(bench.apdu(&block(0x91, 5, &get_eid[5..])), hex!("6115"));
    // Out of sequence: what was gathered is gone.
    bench.apdu(&block(0x11, 0, &get_eid[..2]));
    assert_eq!(bench.apdu(&block(0x91, 2, &get_eid[2..])), hex!("6A86"));
    assert_eq!(bench.apdu(&block(0x91, 1, &get_eid[2..])), hex!("6A86"));
    // Block 00 begins anew.
    bench.apdu(&block(0x11, 0, &hex!("BF2D")));
    bench.apdu(&block(0x11, 1, &hex!("FFFF")));
    assert_eq!(bench.apdu(&block(0x91, 0, &get_eid)), hex!("6115"));
    // Another command in between gives up the gathered ones.
    bench.apdu(&block(0x11, 0, &get_eid[..2]));
    bench.apdu(&hex!("80AA000000"));
    bench.apdu(&hex!("81F2000000"));
    assert_eq!(bench.apdu(&block(0x91, 1, &get_eid[2..])), hex!("6A86"));
    assert_eq!(bench.apdu(&block(0x90, 0, &get_eid)), hex!("6A86"));
    assert_eq!(bench.apdu(&hex!("81E29100")), hex!("6700"));
}

#[test]
fn block_numbers_wrap_and_a_command_stays_bounded() {
    let (mut bench, mut eim) = Bench::associated(vec![]);
    open_isdr(&mut bench);
    // A package of some 300 small blocks.
    let package = eim.sign(EuiccPackage::EcoList(vec![
        rsp::sgp32::Eco::ListEim(
            no_arguments()
        );
        300
    ]));
    let blocks: Vec<&[u8]> = package.chunks(2).collect();
    assert!(blocks.len() > 256 + 20);
    let (last, before) = blocks.split_last().unwrap();
    for (index, block) in before.iter().enumerate() {
        let apdu = [&[0x81, 0xE2, 0x11, index as u8, block.len() as u8], *block].concat();
        assert_eq!(bench.apdu(&apdu), hex!("9000"), "block {index}");
    }
    let number = before.len() as u8;
    let apdu = [&[0x81, 0xE2, 0x91, number, last.len() as u8], *last].concat();
    let response = bench.apdu(&apdu);
    let (answer, status) = gather(&mut bench, response);
    assert_eq!(status, [0x90, 0x00]);
    eim.verified(&EuiccPackageResult::from_der(&answer).unwrap());

    let mut taken = 0;
    loop {
        let apdu = [&[0x81, 0xE2, 0x11, taken as u8, 0xFF][..], &[0; 255]].concat();
        let response = bench.apdu(&apdu);
        if response != hex!("9000") {
            assert_eq!(response, hex!("6A84"));
            break;
        }
        taken += 1;
        assert!(taken < 300, "no limit");
    }
    assert_eq!(taken, 258);
}

#[test]
fn long_answers_are_fetched_in_parts_of_any_size() {
    let mut bench = Bench::new((1..=20).map(profile).collect());
    open_isdr(&mut bench);
    let list = hex!("81 E2 91 00 03 BF2D00");
    assert_eq!(bench.apdu(&list), hex!("6100"), "more than 255");
    let first = bench.apdu(&hex!("81 C0 00 00 00"));
    let (whole, status) = gather(&mut bench, first);
    assert_eq!(status, [0x90, 0x00]);
    assert_eq!(whole, bench.es10(&hex!("BF2D00")).unwrap());

    bench.apdu(&list);
    let mut parts: Vec<u8> = Vec::new();
    while parts.len() + 7 < whole.len() {
        let part = bench.apdu(&hex!("81 C0 00 00 07"));
        assert_eq!(part.len(), 9);
        assert_eq!(part[7], 0x61);
        parts.extend(&part[..7]);
    }
    let rest = whole.len() - parts.len();
    assert_eq!(bench.apdu(&hex!("81 C0 00 00 FF")), [0x6C, rest as u8]);
    let last = bench.apdu(&[0x81, 0xC0, 0, 0, rest as u8]);
    parts.extend(&last[..rest]);
    assert_eq!(last[rest..], [0x90, 0x00]);
    assert_eq!(parts, whole);
    assert_eq!(
        bench.apdu(&hex!("81 C0 00 00 00")),
        hex!("6985"),
        "nothing is left"
    );

    // With Le the answer comes at once, as far as it goes.
    let response = bench.apdu(&[&list[..], &[0x00]].concat());
    assert_eq!(response[..256], whole[..256]);
    assert_eq!(response[256], 0x61);
    // Any other command drops what was not fetched.
    bench.apdu(&hex!("81F2000000"));
    assert_eq!(bench.apdu(&hex!("81 C0 00 00 00")), hex!("6985"));
}

#[test]
fn a_change_of_profile_is_finished_by_a_refresh() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    open_isdr(&mut bench);
    let load = |bench: &mut Bench, package: &[u8]| {
        let blocks: Vec<&[u8]> = package.chunks(120).collect();
        let mut response = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let p1 = if index + 1 == blocks.len() {
                0x91
            } else {
                0x11
            };
            let apdu = [&[0x81, 0xE2, p1, index as u8, block.len() as u8], *block].concat();
            response = bench.apdu(&apdu);
        }
        gather(bench, response)
    };
    let package = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    let (answer, status) = load(&mut bench, &package);
    assert_eq!(status, [0x91, 0x0B]);
    eim.verified(&EuiccPackageResult::from_der(&answer).unwrap());
    assert_eq!(bench.card.enabled_profile(), Some(iccid(2)));
    assert_eq!(
        bench.card.active_profile(),
        Some(iccid(1)),
        "until the REFRESH"
    );

    // Until then every normal ending tells of it, and another change has to wait.
    assert_eq!(bench.apdu(&hex!("80F2000000")), hex!("910B"));
    let package = eim.sign(EuiccPackage::PsmoList(vec![enable(1)]));
    let (answer, _) = load(&mut bench, &package);
    let data = eim.verified(&EuiccPackageResult::from_der(&answer).unwrap());
    assert_eq!(
        enable_code(&data.euicc_result[0]),
        rsp::sgp32::EnableProfileResult::CatBusy
    );

    let done = hex!("80140000 0C 8103010104 82028281 830100");
    let not_now = hex!("80140000 0C 8103010104 82028281 830120");
    assert_eq!(bench.apdu(&done), hex!("6985"), "nothing was fetched");
    assert_eq!(
        bench.apdu(&hex!("811200000B")),
        hex!("6985"),
        "not on another channel"
    );
    assert_eq!(bench.apdu(&hex!("8012000005")), hex!("6C0B"));
    let refresh = hex!("D009 8103010104 82028182 9000");
    assert_eq!(bench.apdu(&hex!("801200000B")), refresh);
    assert_eq!(bench.apdu(&hex!("80140000 02 8101")), hex!("6A80"));
    assert_eq!(bench.apdu(&not_now), hex!("910B"), "it is asked again");
    assert_eq!(bench.apdu(&hex!("801200000B")), refresh);
    assert_eq!(bench.apdu(&done), hex!("9000"));
    assert_eq!(bench.card.active_profile(), Some(iccid(2)));
    assert_eq!(bench.apdu(&hex!("801200000B")), hex!("6985"));
}

#[test]
fn a_reset_in_place_of_the_refresh_finishes_the_change_too() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    open_isdr(&mut bench);
    let package = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    let apdu = [&[0x81, 0xE2, 0x91, 0x00, package.len() as u8][..], &package].concat();
    assert_eq!(bench.apdu(&apdu)[0], 0x61);
    bench.card.reset().unwrap();
    assert_eq!(bench.card.active_profile(), Some(iccid(2)));
    assert_eq!(bench.apdu(&hex!("80F2000000")), hex!("9000"));
}

#[test]
fn classes_and_instructions_that_do_not_exist_are_refused() {
    let mut bench = Bench::new(vec![]);
    for (apdu, status) in [
        (&hex!("FF000000")[..], hex!("6E00")),
        (&hex!("A0A40000"), hex!("6E00")),
        (&hex!("04A40000"), hex!("6882")),
        (&hex!("90E20000"), hex!("6884")),
        (&hex!("80 00 0000"), hex!("6D00")),
        (&hex!("00 E2 9100 01 00"), hex!("6D00")),
        (&hex!("80 A4 0400 01 00"), hex!("6D00")),
        (&hex!("00"), hex!("6700")),
        (&hex!("00A4040010A0"), hex!("6700")),
    ] {
        assert_eq!(bench.apdu(apdu), status, "{apdu:02X?}");
    }
    assert_eq!(bench.apdu(&[]), hex!("6700"));
}
