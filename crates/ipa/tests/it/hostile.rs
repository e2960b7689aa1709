//! Peers that do not keep to the protocol.

use std::cell::RefCell;
use std::rc::Rc;

use ipa::{
    AddInitialEimError, CardTransport, Connectivity, Event, HttpRequest, HttpResponse, Ipa,
    Network, NetworkError, Parts, TransportError, VolatileMemory,
};
use rand_core::Rng as _;
use rsp::binding::http::Binding;
use rsp::der::Element;
use rsp::sgp32::{
    AddEimResultCode, EimPackageResult, EimPackageResultErrorCode, EuiccPackageRequest,
    GetEimPackageResponse,
};

use super::packages::{enable, list};
use super::support::*;

fn refusal(answers: &[Answer]) -> (EimPackageResultErrorCode, Option<Vec<u8>>) {
    match answers {
        [Answer::Other(EimPackageResult::EimPackageResultResponseError(error))] => (
            error.eim_package_result_error_code,
            error
                .eim_transaction_id
                .as_ref()
                .map(|id| id.octets().to_vec()),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packages_that_cannot_be_read_are_refused_with_their_transaction_id() {
    for (body, code, id) in [
        (
            &[
                0xBF, 0x4F, 0x0B, 0xBF, 0x51, 0x08, 0x30, 0x06, 0x80, 0x01, 0x65, 0x82, 0x01, 0x07,
            ][..],
            EimPackageResultErrorCode::InvalidPackageFormat,
            Some(vec![7]),
        ),
        (
            &[0xBF, 0x4F, 0x06, 0xBF, 0x70, 0x03, 0x82, 0x01, 0x07],
            EimPackageResultErrorCode::UnknownPackage,
            None,
        ),
    ] {
        let mut world = World::new();
        world.fail("getEimPackage", Fault::Octets(body.to_vec()));
        world.poll();
        assert_eq!(refusal(&world.answers(EIM)), (code, id), "{body:02X?}");
        assert_eq!(
            world.calls().len(),
            2,
            "after the refusal the IPA asks again"
        );
    }
}

#[test]
fn answers_that_are_no_messages_cost_a_pause_and_nothing_else() {
    let deep: Vec<u8> = std::iter::repeat_n([0x30, 0x80], 5_000).flatten().collect();
    for body in [
        vec![],
        b"<html>".to_vec(),
        vec![0xBF, 0x4F, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        deep,
        vec![0; 3 << 20],
    ] {
        let mut world = World::new();
        world.queue(EIM, Package::Psmos(vec![list()]));
        world.fail("getEimPackage", Fault::Octets(body));
        let wake = world.poll();
        assert!(world.answers(EIM).is_empty());
        world.poll_after(wake);
        assert_eq!(world.answers(EIM).len(), 1);
    }
}

#[test]
fn an_eim_that_never_ends_is_left_after_the_packages_of_one_session() {
    let mut world = World::new();
    let max = world.config.limits.packages_per_session_max;
    for _ in 0..max + 10 {
        world.queue(EIM, Package::Psmos(vec![list()]));
    }
    world.poll();
    assert_eq!(world.answers(EIM).len(), max);
}

#[test]
fn an_eim_cannot_acknowledge_away_the_results_of_another() {
    let mut world = World::with(Setup {
        two_eims: true,
        ..Setup::default()
    });
    world.queue(EIM, Package::Psmos(vec![list()]));
    world.fail("provideEimPackageResult", Fault::Unreachable);
    world.poll();
    assert_eq!(world.kept().0, 1);
    let foreign = {
        let list = world.ipa.es10().package_results().unwrap();
        match &list[0] {
            rsp::sgp32::EuiccPackageResult::EuiccPackageResultSigned(signed) => {
                signed.euicc_package_result_data_signed.seq_number
            }
            other => panic!("{other:?}"),
        }
    };
    world.net.0.borrow_mut().eim(OTHER_EIM).also_acknowledge = vec![foreign, 1 << 40, -1];
    world.queue(OTHER_EIM, Package::Psmos(vec![list()]));
    world.poll();
    assert_eq!(world.kept().0, 1, "still there for the eIM that it is for");
    let refused = Event::AcknowledgementRefused {
        sequence_number: foreign,
    };
    assert!(world.events().contains(&refused));
}

#[test]
fn a_package_goes_to_the_card_and_its_result_to_the_eim_octet_for_octet() {
    for binding in [Binding::Asn1, Binding::Json] {
        let config = ipa::Config {
            esipa_binding: binding,
            ..ipa::Config::default()
        };
        let mut world = World::with(Setup {
            config,
            ..Setup::default()
        });
        let package: EuiccPackageRequest = {
            let mut state = world.net.0.borrow_mut();
            state
                .eim(EIM)
                .sign(rsp::sgp32::EuiccPackage::PsmoList(vec![enable(
                    SECOND, false,
                )]))
        };
        let octets = package.to_der();
        assert!(octets.len() < 255);
        let response = GetEimPackageResponse::EuiccPackageRequest(package);
        world.queue(EIM, Package::Raw(response));
        world.slot.log.borrow_mut().clear();
        world.poll();
        let log = world.slot.log.borrow();
        assert!(
            log.iter()
                .any(|command| command.get(5..) == Some(&octets[..])),
            "{binding:?}"
        );
    }
}

#[test]
fn initial_eims_need_names_of_their_own_and_a_card_without_eims() {
    let mut world = World::new();
    let (one, other) = {
        let state = world.net.0.borrow();
        let one = state.eims[0].configuration(false);
        let mut other = one.clone();
        other.eim_id = OTHER_EIM.parse().unwrap();
        (one, other)
    };
    let twice = world
        .ipa
        .add_initial_eims(vec![one.clone(), other, one.clone()]);
    assert!(matches!(twice, Err(AddInitialEimError::NamedTwice(name)) if name.as_str() == EIM));
    assert!(matches!(
        world.ipa.add_initial_eims(Vec::new()),
        Err(AddInitialEimError::Empty)
    ));
    assert!(matches!(
        world.ipa.add_initial_eims(vec![one]),
        Err(AddInitialEimError::Refused(
            AddEimResultCode::AssociatedEimAlreadyExists
        ))
    ));
}

#[test]
fn an_eim_that_is_not_polled_over_https_is_left_alone() {
    let mut world = World::new();
    let mut configuration = world.net.0.borrow().eims[0].configuration(false);
    configuration.eim_supported_protocol = None;
    configuration.association_token = None;
    configuration.counter_value = None;
    configuration.eim_supported_protocol = Some(rsp::sgp32::EimSupportedProtocol::of([
        rsp::sgp32::EimSupportedProtocol::EIM_PROPRIETARY,
    ]));
    world.queue(
        EIM,
        Package::Ecos(vec![rsp::sgp32::Eco::UpdateEim(configuration)]),
    );
    world.poll();
    world.calls();
    world.poll();
    assert!(world.calls().is_empty());
}

#[test]
fn a_memory_full_of_rubbish_does_not_stop_the_ipa() {
    let mut world = World::new();
    *world.flash.0.borrow_mut() = Some(vec![0xA5; 4096]);
    world.restart_ipa();
    world.queue(EIM, Package::Psmos(vec![list()]));
    world.poll();
    assert_eq!(world.answers(EIM).len(), 1);
}

/// Changes octets at random, or cuts.
fn mangle(octets: &mut Vec<u8>, rng: &mut rand_chacha::ChaCha20Rng) {
    let Some(last) = octets.len().checked_sub(1) else {
        return;
    };
    let mut position = || (rng.next_u64() % (last as u64 + 1)) as usize;
    let (place, cut) = (position(), position());
    match rng.next_u64() % 4 {
        0 => octets.truncate(cut),
        1 => octets[place] = rng.next_u64() as u8,
        2 => octets[place] ^= 1 << (rng.next_u64() % 8),
        _ => {
            let copy = octets[place..].to_vec();
            octets.extend(copy);
        }
    }
}

#[test]
fn answers_changed_at_random_do_no_lasting_harm() {
    for binding in [Binding::Asn1, Binding::Json] {
        for indirect in [false, true] {
            let config = ipa::Config {
                esipa_binding: binding,
                es9plus_binding: binding,
                indirect_only: indirect,
                ..ipa::Config::default()
            };
            let mut world = World::with(Setup {
                config,
                ..Setup::default()
            });
            world.net.0.borrow_mut().mangler = Some(Box::new({
                let mut rng = rng(u64::from(indirect) + 10);
                move |body: &mut Vec<u8>| {
                    if rng.next_u64().is_multiple_of(3) {
                        mangle(body, &mut rng);
                    }
                }
            }));
            for round in 0..150 {
                world.queue(EIM, Package::Psmos(vec![list()]));
                if round % 5 == 0 {
                    let code = format!("1${SMDP}$A");
                    let data = rsp::sgp32::ProfileDownloadData::ActivationCode(code);
                    world.queue(EIM, Package::Download(Some(data)));
                }
                world.now_ms += 3 * 3_600_000;
                world.poll();
            }
            {
                let mut state = world.net.0.borrow_mut();
                state.mangler = None;
                state.eim(EIM).queue.clear();
                state.eim(EIM).answers.clear();
            }
            for _ in 0..2 {
                world.now_ms += 24 * 3_600_000;
                world.poll();
            }
            world.net.0.borrow_mut().eim(EIM).answers.clear();
            world.queue(EIM, Package::Psmos(vec![list()]));
            world.poll();
            assert_eq!(world.answers(EIM).len(), 1, "{binding:?} {indirect}");
            assert_eq!(world.kept(), (0, 0), "{binding:?} {indirect}");
        }
    }
}

/// A card some of whose answers are changed.
struct BadCard {
    slot: Slot,
    rng: rand_chacha::ChaCha20Rng,
    is_bad: Rc<RefCell<bool>>,
}

impl CardTransport for BadCard {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        let mut answer = self.slot.transmit(command)?;
        if *self.is_bad.borrow() && self.rng.next_u64().is_multiple_of(16) {
            mangle(&mut answer, &mut self.rng);
        }
        Ok(answer)
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.slot.reset()
    }
}

/// Repeats what it once heard an eIM say.
struct Parrot {
    packages: Vec<Vec<u8>>,
    next: usize,
    requests: Rc<RefCell<usize>>,
}

impl Network for Parrot {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        *self.requests.borrow_mut() += 1;
        Ok(match request.body.get(..2) {
            Some([0xBF, 0x4F]) => {
                self.next += 1;
                HttpResponse::new(200, self.packages[self.next % self.packages.len()].clone())
            }
            Some([0xBF, 0x50]) => HttpResponse::new(200, vec![0xBF, 0x50, 0x02, 0x30, 0x00]),
            _ => HttpResponse::new(204, Vec::new()),
        })
    }
}

struct Always;

impl Connectivity for Always {
    fn check(&mut self) -> bool {
        true
    }
}

#[test]
fn a_card_that_answers_rubbish_now_and_then_does_not_stop_the_ipa() {
    let world = World::new();
    let nothing = vec![0xBF, 0x4F, 0x03, 0x02, 0x01, 0x01];
    let data = vec![
        0xBF, 0x4F, 0x0E, 0xBF, 0x52, 0x0B, 0x5C, 0x09, 0xA0, 0x81, 0xA2, 0xBF, 0x20, 0x84, 0xA5,
        0xA6, 0xA8,
    ];
    let mut packages = vec![nothing.clone(), data];
    for operation in [list(), enable(SECOND, true), enable(BOOTSTRAP, true)] {
        let mut state = world.net.0.borrow_mut();
        let eim = state.eim(EIM);
        let package = eim.sign(rsp::sgp32::EuiccPackage::PsmoList(vec![operation]));
        packages.push(GetEimPackageResponse::EuiccPackageRequest(package).to_der());
        packages.push(nothing.clone());
    }
    let is_bad = Rc::new(RefCell::new(true));
    let requests = Rc::new(RefCell::new(0));
    let parts = Parts {
        card: BadCard {
            slot: world.slot.clone(),
            rng: rng(21),
            is_bad: Rc::clone(&is_bad),
        },
        network: Parrot {
            packages,
            next: 0,
            requests: Rc::clone(&requests),
        },
        connectivity: Always,
        memory: VolatileMemory::default(),
    };
    let mut ipa = Ipa::new(ipa::Config::default(), parts);
    let mut rng = rng(22);
    let mut now_ms = 0;
    for _ in 0..1_000 {
        now_ms += 3 * 3_600_000;
        ipa.poll(now_ms, &mut rng);
    }
    *is_bad.borrow_mut() = false;
    for _ in 0..3 {
        now_ms += 24 * 3_600_000;
        ipa.poll(now_ms, &mut rng);
    }
    let before = *requests.borrow();
    ipa.poll(now_ms + 24 * 3_600_000, &mut rng);
    assert!(*requests.borrow() > before, "the IPA polls again");
}
