//! The software eUICC: what a terminal sends it, and what its memory may hold.

use std::sync::LazyLock;

use euicc::{Card, MemoryNvm, Nvm, Slot, stored_state};
use rsp::der::Element;
use rsp::sgp32::AddInitialEimRequest;
use sha2::{Digest, Sha256};

use super::input::{Input, piece};
use super::support::{
    self, Bench, EID, Eim, emergency, enable_with_rollback, enabled, list_profiles, profile, rng,
    smdp, with,
};

/// Steps of one input.
const STEPS_MAX: usize = 48;
/// The most that an answer with a short length can have.
const RESPONSE_OCTETS_MAX: usize = 256 + 2;

/// A card with three Profiles, of which one is for fallback and one for emergencies, and its eIM.
static CARD: LazyLock<(MemoryNvm, Eim)> = LazyLock::new(|| {
    let (bench, eim) = Bench::associated(vec![
        enabled(1),
        with(profile(2), |it| it.is_fallback = true),
        emergency(3),
    ]);
    (bench.nvm, eim)
});

/// Commands of a terminal, packages of the eIM and downloads of the SM-DP+ with damage in them, resets and power cuts in
/// any order. The card answers, in bounds, and can always be powered on again.
pub fn apdu(data: &[u8]) {
    let (nvm, eim) = &*CARD;
    let nvm = nvm.duplicate();
    let mut bench = Bench {
        card: Card::power_on(nvm.clone()).expect("the card of all inputs"),
        nvm,
        rng: rng(7),
    };
    let mut eim = eim.clone();
    let mut input = Input::new(data);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.octet() % 10 {
            0 => drop(transmit(&mut bench, input.piece())),
            1 => command(&mut bench, input.piece()),
            2 => {
                let package = eim.sign_raw(0xA0, input.piece());
                command(&mut bench, &package);
            }
            3 => {
                let package = eim.sign_raw(0xA1, input.piece());
                command(&mut bench, &package);
            }
            4 => reset(&mut bench),
            5 => bench.nvm.cut_power_after(input.number() as u64),
            6 => bench.card.set_toolkit_session(input.octet() & 1 == 1),
            7 => download(&mut bench, &mut input),
            8 => acknowledge_refresh(&mut bench),
            _ => {
                let mut package = eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![
                    list_profiles(),
                    enable_with_rollback(2),
                ]));
                input.edit(&mut package);
                command(&mut bench, &package);
            }
        }
    }
    reset(&mut bench);
    power_on_again(&mut bench);
}

/// Octets in the memory of a card: whole slots, or a state in a slot that is sealed as it should be. A card refuses to
/// start or works.
pub fn nvm(data: &[u8]) {
    let mut input = Input::new(data);
    let mut nvm = MemoryNvm::new();
    match input.octet() % 3 {
        0 => {
            nvm.write(Slot::A, input.piece()).expect("there is power");
            nvm.write(Slot::B, input.rest()).expect("there is power");
        }
        1 => {
            let mut state = good_state();
            input.edit(&mut state);
            nvm.write(Slot::A, &sealed(&state)).expect("there is power");
        }
        _ => {
            let state = sealed(input.rest());
            nvm.write(Slot::B, &state).expect("there is power");
        }
    }
    let Ok(card) = Card::power_on(nvm.clone()) else {
        return;
    };
    let mut bench = Bench {
        card,
        nvm,
        rng: rng(8),
    };
    open_isdr(&mut bench);
    for harmless in seed_commands() {
        command(&mut bench, &harmless);
    }
    let mut eim = CARD.1.clone();
    let package = eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![
        enable_with_rollback(2),
        support::delete(1),
    ]));
    command(&mut bench, &package);
    download(&mut bench, &mut Input::new(&[]));
    // What such a card wrote, it must be able to read.
    let state = stored_state(&mut bench.nvm).expect("there is power");
    assert!(state.is_some());
    Card::power_on(bench.nvm.duplicate()).expect("started before");
}

pub fn apdu_seeds() -> Vec<Vec<u8>> {
    let es10 = |commands: &[Vec<u8>]| -> Vec<u8> {
        commands
            .iter()
            .flat_map(|command| [vec![1], piece(command)].concat())
            .collect()
    };
    let seed_commands = seed_commands();
    let mut seeds: Vec<Vec<u8>> = seed_commands.chunks(6).map(es10).collect();
    let eim = &CARD.1;
    let initial = AddInitialEimRequest {
        eim_configuration_data_list: vec![eim.configuration()],
        extensions: Default::default(),
    };
    let reset_eims = [0xBF, 0x64, 0x04, 0x82, 0x02, 0x01, 0xFE];
    seeds.push(es10(&[reset_eims.to_vec(), initial.to_der()]));

    let operations = |list: &[rsp::sgp32::Psmo]| -> Vec<u8> {
        piece(&list.iter().flat_map(Element::to_der).collect::<Vec<u8>>())
    };
    let mut packages = vec![2];
    packages.extend(operations(&[list_profiles(), support::enable(2)]));
    packages.extend([8, 2]);
    packages.extend(operations(&[support::delete(1), support::enable(2)]));
    packages.extend([4, 9, 0, 8, 1]);
    packages.extend(piece(&[0xBF, 0x58, 0x03, 0x80, 0x01, 0xFF]));
    seeds.push(packages);

    let mut ecos = vec![3];
    let mut other = Eim::new("other.example.com", 9);
    other.counter = 0;
    let list = [
        rsp::sgp32::Eco::AddEim(other.configuration()),
        rsp::sgp32::Eco::ListEim(support::no_arguments()),
        support::delete_eim(&eim.id),
    ];
    ecos.extend(piece(
        &list.iter().flat_map(Element::to_der).collect::<Vec<u8>>(),
    ));
    seeds.push(ecos);

    // Downloads: whole; damaged in the third command; interrupted by power.
    seeds.push(vec![7, 255, 0, 1, 0, 6, 0xBF, 0x5A, 3, 0x80, 1, 0xFF, 8]);
    seeds.push(vec![7, 3, 1, 3, 0, 20, 1]);
    seeds.push(vec![5, 0x20, 0, 7, 255, 0, 4, 7, 255, 0]);
    let mut raw = Vec::new();
    for apdu in [
        &[0x80, 0xAA, 0x00, 0x00, 0x05, 0xA9, 0x03, 0x83, 0x01, 0x07][..],
        &[0x00, 0x70, 0x00, 0x00, 0x01],
        &[
            0x02, 0xA4, 0x04, 0x00, 0x10, 0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF,
            0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
        ],
        &[0x82, 0xE2, 0x11, 0x00, 0x02, 0xBF, 0x2D],
        &[0x82, 0xE2, 0x91, 0x01, 0x01, 0x00],
        &[0x82, 0xC0, 0x00, 0x00, 0x00],
        &[0x82, 0xCA, 0x00, 0x5A, 0x00],
        &[0x80, 0x12, 0x00, 0x00, 0x0B],
    ] {
        raw.push(0);
        raw.extend(piece(apdu));
    }
    seeds.push(raw);
    seeds
}

pub fn nvm_seeds() -> Vec<Vec<u8>> {
    let state = good_state();
    let whole = [vec![2], state.clone()].concat();
    let slots = [
        vec![0],
        piece(&sealed(&state)),
        sealed(&state).get(..100).unwrap_or_default().to_vec(),
    ]
    .concat();
    let edits = |octets: &[u8]| [&[1], octets].concat();
    vec![
        whole,
        slots,
        edits(&[1, 4, 0, 12, 1]),
        edits(&[2, 3, 4, 0, 7, 5, 5, 0, 0xFF]),
        edits(&[3, 0, 0x20, 0, 0]),
    ]
}

/// Commands that begin everything an IPA can ask for.
fn seed_commands() -> Vec<Vec<u8>> {
    [
        &[0xBF, 0x20, 0][..],
        &[0xBF, 0x22, 0],
        &[0xBF, 0x28, 0],
        &[0xBF, 0x2B, 0],
        &[0xBF, 0x2B, 4, 0xA0, 2, 0x82, 0],
        &[0xBF, 0x2D, 0],
        &[0xBF, 0x2D, 4, 0x5C, 2, 0x5A, 0x90],
        &[0xBF, 0x2E, 0],
        &[0xBF, 0x30, 3, 0x80, 1, 1],
        &[0xBF, 0x3C, 0],
        &[0xBF, 0x3E, 3, 0x5C, 1, 0x5A],
        &[0xBF, 0x3F, 3, 0x80, 1, 0x61],
        &[0xBF, 0x41, 6, 0x80, 1, 1, 0x81, 1, 0],
        &[0xBF, 0x42, 4, 0x80, 2, 7, 0x80],
        &[0xBF, 0x43, 0],
        &[0xBF, 0x55, 0],
        &[0xBF, 0x56, 0],
        &[0xBF, 0x59, 2, 0x80, 0],
        &[0xBF, 0x5D, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x5E, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x5B, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x5C, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x58, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x5A, 3, 0x80, 1, 0xFF],
        &[0xBF, 0x5F, 0],
        &[0xBF, 0x64, 4, 0x82, 2, 1, 0x0C],
        &[0xBF, 0x65, 3, 0x80, 1, 0x61],
    ]
    .map(<[u8]>::to_vec)
    .into()
}

/// One command APDU; `None` when the card has no power.
fn transmit(bench: &mut Bench, apdu: &[u8]) -> Option<Vec<u8>> {
    let response = bench.card.transmit(apdu, &mut bench.rng);
    let (_, status) = response.split_last_chunk::<2>()?;
    assert!((0x60..=0x9F).contains(&status[0]), "{status:02X?}");
    assert!(response.len() <= RESPONSE_OCTETS_MAX);
    Some(response)
}

/// One ES10 command in blocks, with its answer fetched, however the card ends it.
fn command(bench: &mut Bench, command: &[u8]) {
    const BLOCK_OCTETS: usize = 255;
    let last = command.len().div_ceil(BLOCK_OCTETS).saturating_sub(1);
    for (number, block) in command.chunks(BLOCK_OCTETS).enumerate() {
        let p1 = if number == last { 0x91 } else { 0x11 };
        let mut apdu = vec![0x81, 0xE2, p1, number as u8, block.len() as u8];
        apdu.extend_from_slice(block);
        let mut response = transmit(bench, &apdu);
        if response.as_deref() == Some(&[0x68, 0x81]) || response.as_deref() == Some(&[0x69, 0x85])
        {
            // Not opened since the reset, or no session.
            open_isdr(bench);
            response = transmit(bench, &apdu);
        }
        let mut gathered = 0;
        while let Some([.., 0x61, more]) = response.as_deref() {
            response = transmit(bench, &[0x81, 0xC0, 0x00, 0x00, *more]);
            gathered += RESPONSE_OCTETS_MAX;
            assert!(gathered < 1 << 20, "an answer without an end");
        }
    }
}

fn open_isdr(bench: &mut Bench) {
    let select = [
        0x01, 0xA4, 0x04, 0x00, 0x10, 0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF,
        0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
    ];
    transmit(
        bench,
        &[0x80, 0xAA, 0x00, 0x00, 0x05, 0xA9, 0x03, 0x83, 0x01, 0x07],
    );
    transmit(bench, &[0x00, 0x70, 0x00, 0x01]);
    transmit(bench, &select);
}

fn acknowledge_refresh(bench: &mut Bench) {
    transmit(bench, &[0x80, 0x12, 0x00, 0x00, 0x0B]);
    transmit(
        bench,
        &[
            0x80, 0x14, 0x00, 0x00, 0x0C, 0x81, 0x03, 0x01, 0x01, 0x04, 0x82, 0x02, 0x82, 0x81,
            0x83, 0x01, 0x00,
        ],
    );
}

/// A download with one command of it damaged.
fn download(bench: &mut Bench, input: &mut Input<'_>) {
    let damaged = usize::from(input.octet());
    let Some(mut commands) = smdp::try_prepare(bench) else {
        return;
    };
    if let Some(command) = commands.get_mut(damaged) {
        input.edit(command);
    }
    for part in &commands {
        command(bench, part);
    }
}

/// A reset; after a power cut it needs power first.
fn reset(bench: &mut Bench) {
    bench.nvm.restore_power();
    if bench.card.reset().is_err() {
        power_on_again(bench);
    }
    assert_eq!(
        bench.card.eid().map(|eid| eid.to_string()).as_deref(),
        Some(EID)
    );
}

fn power_on_again(bench: &mut Bench) {
    bench.nvm.restore_power();
    bench.card = Card::power_on(bench.nvm.clone())
        .expect("the memory holds a state, the old or the new one");
    assert_eq!(
        bench.card.eid().map(|eid| eid.to_string()).as_deref(),
        Some(EID)
    );
    bench.profiles();
}

fn good_state() -> Vec<u8> {
    let state = stored_state(&mut CARD.0.duplicate()).expect("there is power");
    state.expect("there is a card").to_vec()
}

/// A slot with this state, as a card writes it.
fn sealed(state: &[u8]) -> Vec<u8> {
    let mut record = b"PEU1".to_vec();
    record.extend(1_u64.to_be_bytes());
    record.extend((state.len() as u32).to_be_bytes());
    let digest = Sha256::new()
        .chain_update(&record)
        .chain_update(state)
        .finalize();
    record.extend_from_slice(&digest);
    record.extend_from_slice(state);
    record
}
