//! The IPA with a card, in a network whose answers somebody changes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rsp::binding::http::Binding;
use rsp::sgp22::ProfileInfoListRequest;
use rsp::sgp32::{Eco, EnablePsmo, IpaEuiccDataRequest, NoArguments, ProfileDownloadData, Psmo};

use super::input::{Input, piece};
use super::support::{EIM, Fault, Package, SECOND, SMDP, Setup, World, iccid};

/// Sessions of one input.
const SESSIONS_MAX: usize = 6;
/// Requests that an IPA makes in one session at most, whatever it is told.
const REQUESTS_MAX: usize = 400;
const DAY_MS: u64 = 24 * 3_600_000;

/// An eIM and an SM-DP+ that have work for the device, and somebody in between who changes and replaces their answers.
/// The IPA neither stops nor loops, and when the network is good again it does what it should.
pub fn ipa_network(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.octet();
    let binding = if setup & 1 == 0 {
        Binding::Asn1
    } else {
        Binding::Json
    };
    let config = ipa::Config {
        esipa_binding: binding,
        es9plus_binding: binding,
        indirect_only: setup & 2 != 0,
        ..ipa::Config::default()
    };
    let mut world = World::with(Setup {
        config,
        indirect_flag: setup & 4 != 0,
        ..Setup::default()
    });
    for _ in 0..SESSIONS_MAX {
        if input.is_empty() {
            break;
        }
        let work = input.octet();
        queue(&mut world, work);
        let changes: VecDeque<Vec<u8>> = (0..input.octet() % 12)
            .map(|_| input.piece().to_vec())
            .collect();
        meddle(&mut world, changes);
        world.now_ms += 3 * 3_600_000;
        session(&mut world);
    }

    {
        let mut state = world.net.0.borrow_mut();
        state.mangler = None;
        state.faults.clear();
        state.eim(EIM).queue.clear();
    }
    for _ in 0..3 {
        world.now_ms += DAY_MS;
        session(&mut world);
    }
    world.net.0.borrow_mut().eim(EIM).answers.clear();
    world.queue(EIM, Package::Psmos(vec![list()]));
    session(&mut world);
    assert_eq!(world.answers(EIM).len(), 1, "the IPA still serves its eIM");
    assert_eq!(world.kept(), (0, 0), "and delivered everything");
}

pub fn ipa_network_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for setup in 0..8 {
        for work in [0, 1, 2, 3, 4, 0x10, 0x20] {
            // Undisturbed; an answer in the middle changed; the first replaced.
            seeds.push(vec![setup, work, 0]);
            let change = piece(&[1, 3, 0, 20, 2]);
            let good = piece(&[0]);
            seeds.push([&[setup, work, 3], &good[..], &good, &change, &[0, 0]].concat());
            let replaced = piece(&[2, 0xBF, 0x4F, 0x03, 0x02, 0x01, 0x7F]);
            seeds.push([&[setup, work, 1], &replaced[..]].concat());
        }
    }
    seeds
}

/// Work for the device, and trouble in the network.
fn queue(world: &mut World, work: u8) {
    let package = match work % 6 {
        0 => Package::Psmos(vec![list()]),
        1 => Package::Psmos(vec![Psmo::Enable(EnablePsmo {
            iccid: iccid(SECOND),
            rollback_flag: Some(rsp::der::Null),
            extensions: Default::default(),
        })]),
        2 => Package::Ecos(vec![Eco::ListEim(NoArguments {
            extensions: Default::default(),
        })]),
        3 => Package::Data(IpaEuiccDataRequest {
            tag_list: rsp::der::Octets(vec![
                0xA0, 0x81, 0xA2, 0xBF, 0x20, 0xBF, 0x22, 0x84, 0xA5, 0xA6, 0xA8,
            ]),
            euicc_ci_pk_identifier_to_be_used: None,
            search_criteria_notification: None,
            search_criteria_euicc_package_result: None,
            eim_transaction_id: None,
            extensions: Default::default(),
        }),
        _ => Package::Download(Some(ProfileDownloadData::ActivationCode(format!(
            "1${SMDP}$A"
        )))),
    };
    world.queue(EIM, package);
    match work >> 4 {
        1 => world.fail("provideEimPackageResult", Fault::LoseAnswer),
        2 => world.fail("getBoundProfilePackage", Fault::Unreachable),
        3 => world.fail(
            "handleNotification",
            Fault::Status(503, Some("99999999999")),
        ),
        4 => world.fail("getEimPackage", Fault::Status(301, None)),
        5 => world.fail("authenticateClient", Fault::LoseAnswer),
        _ => {}
    }
}

/// Lets each of the next answers be left (0), changed (1) or replaced (2).
fn meddle(world: &mut World, changes: VecDeque<Vec<u8>>) {
    let changes = Rc::new(RefCell::new(changes));
    world.net.0.borrow_mut().mangler = Some(Box::new(move |body: &mut Vec<u8>| {
        let Some(change) = changes.borrow_mut().pop_front() else {
            return;
        };
        let mut input = Input::new(&change);
        match input.octet() % 3 {
            0 => {}
            1 => input.edit(body),
            _ => *body = input.rest().to_vec(),
        }
    }));
}

fn session(world: &mut World) {
    world.calls();
    world.poll();
    let calls = world.calls().len();
    assert!(calls <= REQUESTS_MAX, "{calls} requests in one session");
    // Of the test's own, which would grow.
    world.net.0.borrow_mut().requests.clear();
    world.slot.log.borrow_mut().clear();
}

fn list() -> Psmo {
    Psmo::ListProfileInfo(ProfileInfoListRequest {
        search_criteria: None,
        tag_list: None,
        extensions: Default::default(),
    })
}
