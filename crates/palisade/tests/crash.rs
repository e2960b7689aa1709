//! Kill the process anywhere, restart: each operation still executes exactly once on the device or ends in a recorded error.
//!
//! The server is the real binary with its real database, killed with SIGKILL again and again. The devices live in this process:
//! an IPA and a software eUICC each, over real TLS, and none of them is spared either: IPAs die between any two of their
//! steps, cards lose power at any octet they write, requests and answers are lost, repeated and brought up again later.
//!
//! What happened is taken from three independent places and has to agree: the eUICCs' memories, looked at after each command;
//! a witness of all packages on their way; and the eIM's records.
//!
//! `PALISADE_CRASH_SEED` repeats a run as far as threads and processes allow.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking, in its helpers too"
)]

mod support;

#[path = "crash/authority.rs"]
mod authority;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use edge::client::{Client, ClientOptions};
use edge::tls::Trust;
use intent::Command;
use pki::issue::TestPki;
use rsp::binding::esipa::{Function, Request, Response};
use rsp::binding::http::Binding;
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{EimConfigurationData, GetEimPackageRequest, GetEimPackageResponse};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::control::Control;
use support::device::{Device, Remains};
use support::judge::{Judge, Sum, events};
use support::machine::Machine;
use support::network::World;
use support::operator::{Accepted, Operator};
use support::process::{Folder, Server};
use support::seeded::Seeded;
use support::{PATIENCE, eid, members, profiles};

const DEVICES: u32 = 4;
/// For each device.
const OPERATIONS: u32 = 60;
const KILLS: u32 = 60;

#[test]
fn each_operation_executes_exactly_once_wherever_the_process_is_killed() {
    let seed = seed();
    let folder = Folder::prepared();
    let world = Arc::new(World::default());
    let mut devices = devices(&folder, &world, seed);

    let mut server = folder.spawn();
    world.set_server(Some(server.ready()));
    register(&folder, &mut devices);

    let stop = AtomicBool::new(false);
    let (remains, accepted, kills) = thread::scope(|scope| {
        let stopper = Stopper(&stop);
        let eids: Vec<Eid> = devices.iter().map(|device| device.eid).collect();
        let lives: Vec<_> = devices
            .into_iter()
            .map(|device| scope.spawn(|| device.run(&stop)))
            .collect();
        // Kills keep step with the operator, or most of the work would be done when they are over.
        let (release, released) = sync_channel(2);
        let operator = Operator::new(folder.control(), folder.machine(), eids, seed);
        let operator = scope.spawn(move || operator.work(released));

        let (server, kills) = torment(&folder, &world, server, &release, seed);
        drop(release);
        let accepted = operator.join().unwrap();
        world.calm_down();
        drain(&folder.control(), &accepted, &server);
        drop(stopper);
        let remains: Vec<Remains> = lives.into_iter().map(|life| life.join().unwrap()).collect();
        // Whatever is asserted below is asked of a server that has started anew once more.
        server.kill();
        (remains, accepted, kills)
    });

    let mut server = folder.spawn();
    server.ready();
    assert!(kills >= 25, "{kills} kills");
    assert_eq!(world.faults(), Vec::<String>::new());
    let mut sum = Sum::default();
    for remains in &remains {
        let accepted = &accepted[&remains.eid.to_string()];
        sum += Judge::new(&folder.control(), &world, remains).judge(accepted);
    }
    println!(
        "{kills} kills, {} deaths of IPAs: {sum:#?}",
        remains.iter().map(|remains| remains.deaths).sum::<u32>()
    );
    // Nobody gets away with failing everything: what nothing was done to is mostly executed.
    let disturbed = sum.interrupted + sum.rolled_back + sum.expired;
    assert!(sum.done * 10 >= (sum.operations - disturbed) * 7, "{sum:?}");
    // Cards lose power in the middle of packages, profiles turn out dead, and time runs out, in every run.
    assert!(
        sum.interrupted > 0 && sum.rolled_back > 0 && sum.expired > 0,
        "too little went wrong: {sum:?}"
    );
    assert!(
        !server.log().contains("panicked"),
        "a server panicked: {}",
        server.log()
    );
}

#[test]
fn registrations_that_were_acknowledged_survive() {
    let mut random = Seeded::new(seed(), 20);
    let folder = Folder::prepared();
    let control = folder.control();
    let machine = folder.machine();
    for round in 0..ROUNDS {
        let mut server = folder.spawn();
        server.ready();
        let before = count(&control);
        let large = machine.register(eids(round * 100_000, LINES));
        let (is_acknowledged, acknowledged) = thread::scope(|scope| {
            let large = scope.spawn(|| matches!(large.send(&control), Ok((201, _))));
            let single = scope.spawn(|| {
                let numbers = (0..).map(|number| round * 100_000 + 50_000 + number);
                numbers
                    .take_while(|number| register_one(&control, &machine, *number))
                    .collect::<Vec<u32>>()
            });
            if round + 1 == ROUNDS {
                while !large.is_finished() {
                    thread::sleep(Duration::from_micros(100));
                }
            } else {
                let until = before + 1 + random.below(u64::from(LINES));
                let begun = Instant::now();
                while count(&control) < until && begun.elapsed() < Duration::from_secs(5) {
                    thread::sleep(Duration::from_micros(random.below(1000)));
                }
                thread::sleep(Duration::from_micros(random.below(5000)));
            }
            server.kill();
            (large.join().unwrap(), single.join().unwrap())
        });
        assert!(is_acknowledged || round + 1 < ROUNDS);

        let mut server = folder.spawn();
        server.ready();
        // An intent that the authority has is carried out as a whole, whatever the eIM had of it when it was killed.
        large.insist(&control);
        for eid in large.devices.iter().flatten() {
            await_device(&control, *eid);
        }
        for number in &acknowledged {
            let device = await_device(&control, eid(*number));
            assert_eq!(device["label"], label(*number), "{device}");
            assert_eq!(device["association_token_known"], true, "{device}");
            let events = events(&control, eid(*number));
            let registered = events
                .iter()
                .filter(|event| event["kind"] == "device-registered");
            assert_eq!(registered.count(), 1, "{events:?}");
        }
        println!("{} others acknowledged", acknowledged.len());
        server.kill();
    }
}

const ROUNDS: u32 = 4;
const LINES: u32 = 2000;

fn eids(first: u32, count: u32) -> Vec<Eid> {
    (first..first + count).map(eid).collect()
}

fn label(number: u32) -> String {
    format!("meter {number}, cellar")
}

/// Whether the server lived long enough to say that it has it, with its label and its token.
fn register_one(control: &Control, machine: &Machine, number: u32) -> bool {
    if !matches!(
        machine.register(vec![eid(number)]).send(control),
        Ok((201, _))
    ) {
        return false;
    }
    let device = json!({
        "eid": eid(number).to_string(),
        "label": label(number),
        "association_token": number,
    });
    let body = json!({ "devices": [device] }).to_string();
    match control.post("/v1/devices/data", &body) {
        Ok((200, answer)) => {
            assert!(answer["devices"][0]["refused"].is_null(), "{answer}");
            true
        }
        Ok((status, problem)) => panic!("{status}: {problem}"),
        Err(_) => false,
    }
}

/// A device that the eIM has, or gets soon from the authority's feed.
fn await_device(control: &Control, eid: Eid) -> Value {
    let begun = Instant::now();
    loop {
        if let Ok((200, device)) = control.get(&format!("/v1/devices/{eid}")) {
            assert_eq!(device["state"], "registered", "{device}");
            return device;
        }
        assert!(begun.elapsed() < PATIENCE, "{eid} is lost");
        thread::sleep(Duration::from_millis(5));
    }
}

fn count(control: &Control) -> u64 {
    control.read("/v1/status")["devices"].as_u64().unwrap()
}

#[test]
fn sigterm_lets_what_is_under_way_end_and_nothing_new_begin() {
    let folder = Folder::prepared();
    let control = folder.control();
    let world = Arc::new(World::default());
    world.calm_down();
    let mut devices = devices(&folder, &world, seed());
    let mut server = folder.spawn();
    let address = server.ready();
    world.set_server(Some(address));
    register(&folder, &mut devices);
    let mut device = devices.remove(0);
    // It introduces itself, and its connection stays open.
    device.session();
    let machine = folder.machine();
    let address_of_smdp = Command::SetDefaultSmdp {
        address: "smdp.example.com".to_owned(),
    };
    let signed = machine.operate(device.eid, vec![address_of_smdp], 3_600_000);
    signed.insist(&control);
    let id = signed.operation(&control);
    let many = machine.register(eids(100, LINES));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut poll = runtime.block_on(HalfSent::new(&folder, address, device.eid));
    let (answer, report) = thread::scope(|scope| {
        let import = scope.spawn(|| many.send(&control));
        while count(&control) < 50 {
            thread::sleep(Duration::from_micros(100));
        }
        server.terminate();
        let begun = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it goes on accepting");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!server.has_ended(), "it forgets what is under way");
        let answer = runtime.block_on(poll.complete());
        (answer, import.join().unwrap())
    });
    assert_eq!(report.unwrap().0, 201);
    let Response::GetEimPackage(GetEimPackageResponse::EuiccPackageRequest(package)) = answer
    else {
        panic!("{answer:?}");
    };
    let log = server.log();
    let begun = Instant::now();
    assert!(server.ended().success(), "{log}");
    // The device's idle connection is not waited for.
    assert!(begun.elapsed() < Duration::from_secs(10));
    let log = std::fs::read_to_string(folder.path("server.log")).unwrap();
    assert!(log.contains("connections_cut=0"), "{log}");
    assert!(!folder.path("eim/control.sock").exists());

    // What was answered is recorded.
    let mut server = folder.spawn();
    world.set_server(Some(server.ready()));
    assert_eq!(count(&control), u64::from(LINES + DEVICES));
    let operation = control.read(&format!("/v1/operations/{id}"));
    assert_eq!(operation["state"], "in-flight");
    assert_eq!(
        operation["request"].as_str().unwrap(),
        hex::encode_upper(package.to_der())
    );
    device.session();
    let operation = control.read(&format!("/v1/operations/{id}"));
    assert_eq!(operation["state"], "done");
}

/// GetEimPackage of which the server has the head and not the body.
struct HalfSent<S> {
    stream: S,
    body: Vec<u8>,
}

impl HalfSent<()> {
    async fn new(
        folder: &Folder,
        address: SocketAddr,
        eid: Eid,
    ) -> HalfSent<impl AsyncReadExt + AsyncWriteExt + Unpin> {
        let root = std::fs::read(folder.path("pki/tls-ca.der")).unwrap();
        let client = Client::with_options(ClientOptions {
            resolve: vec![("eim.example.com".to_owned(), address)],
            ..ClientOptions::new(Trust::roots([root]))
        });
        let stream = client.unwrap().open("https://eim.example.com/").await;
        let mut stream = stream.unwrap();
        let request = GetEimPackageRequest {
            eid_value: eid.to_field(),
            notify_state_change: None,
            state_change_cause: None,
            r_plmn: None,
            extensions: Default::default(),
        };
        let body = Request::GetEimPackage(request).to_asn1();
        let head = format!(
            "POST /gsma/rsp2/asn1 HTTP/1.1\r\nHost: eim.example.com\r\nUser-Agent: gsma-rsp-ipad\r\n\
             X-Admin-Protocol: gsma/rsp/v2.1.0\r\nContent-Type: application/x-gsma-rsp-asn1\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut goes_on = [0; 25];
        stream.read_exact(&mut goes_on).await.unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        HalfSent { stream, body }
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> HalfSent<S> {
    /// Sends the body, and reads until the server closes the connection.
    async fn complete(&mut self) -> Response {
        self.stream.write_all(&self.body).await.unwrap();
        self.stream.flush().await.unwrap();
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).await.unwrap();
        let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = answer.split_at(split.unwrap() + 4);
        assert!(
            head.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(head)
        );
        Response::from_asn1(Function::GetEimPackage, body).unwrap()
    }
}

/// Stops the devices when the test has failed, too.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Printed with a failure.
fn seed() -> u64 {
    let seed = std::env::var("PALISADE_CRASH_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0x5EED);
    println!("PALISADE_CRASH_SEED={seed}");
    seed
}

fn devices(folder: &Folder, world: &Arc<World>, seed: u64) -> Vec<Device> {
    let pki = TestPki::load(&folder.path("pki")).unwrap();
    (0..DEVICES)
        .map(|number| {
            let binding = [Binding::Asn1, Binding::Json][number as usize % 2];
            let seed = seed.wrapping_add(u64::from(number) * 1000);
            Device::new(&pki, eid(number), &profiles(), binding, world, seed)
        })
        .collect()
}

/// Half of the devices with their tokens; those of the others the eIM has to learn.
fn register(folder: &Folder, devices: &mut [Device]) {
    let control = &folder.control();
    let registered = devices.iter().map(|device| device.eid).collect();
    folder.machine().register(registered).insist(control);
    let data = control.read("/v1/association-data");
    let data = hex::decode(data["der"].as_str().unwrap()).unwrap();
    let data = EimConfigurationData::from_der(&data).unwrap();
    for (index, device) in devices.iter_mut().enumerate() {
        let token = device.associate(data.clone());
        if index < 2 {
            let known = json!({ "eid": device.eid.to_string(), "association_token": token });
            let body = json!({ "devices": [known] }).to_string();
            let (status, answer) = control.post("/v1/devices/data", &body).unwrap();
            assert!(
                status == 200 && answer["devices"][0]["refused"].is_null(),
                "{answer}"
            );
        }
    }
}

/// Kills and starts the server, and lets the operator have one operation for each device between two kills.
fn torment(
    folder: &Folder,
    world: &World,
    mut server: Server,
    release: &SyncSender<()>,
    seed: u64,
) -> (Server, u32) {
    let mut random = Seeded::new(seed, 10);
    let mut kills = 0;
    let mut left = OPERATIONS * DEVICES;
    for _ in 0..KILLS {
        for _ in 0..left.min(OPERATIONS * DEVICES / KILLS) {
            left -= 1;
            release.send(()).unwrap();
        }
        // At any moment of an exchange: after so many of them, and a little later.
        let until = world.exchanges() + random.below(14);
        let begun = Instant::now();
        while world.exchanges() < until && begun.elapsed() < Duration::from_millis(600) {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_micros(random.below(12_000)));
        if random.percent(40) {
            // The authority alone first; the eIM starts it again, if it lives so long.
            kills += u32::from(folder.kill_authority());
            thread::sleep(Duration::from_millis(random.below(250)));
        }
        server.kill();
        kills += 1;
        world.set_server(None);
        while random.percent(15) {
            // While it opens its database and puts right what the last kill left.
            let starting = folder.spawn();
            thread::sleep(Duration::from_millis(random.below(120)));
            starting.kill();
            kills += 1;
        }
        server = folder.spawn();
        world.set_server(Some(server.ready()));
    }
    for _ in 0..left {
        release.send(()).unwrap();
    }
    (server, kills)
}

/// Waits until nothing is open any more.
fn drain(control: &Control, accepted: &BTreeMap<String, Vec<Accepted>>, server: &Server) {
    let begun = Instant::now();
    for eid in accepted.keys() {
        loop {
            let device = control.read(&format!("/v1/devices/{eid}"));
            if device["operations_open"] == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let path = format!("/v1/devices/{eid}/operations?limit=1000");
                let operations = control.read(&path);
                let open: Vec<&Value> = members(&operations, "operations")
                    .iter()
                    .filter(|one| one["state"] == "queued" || one["state"] == "in-flight")
                    .collect();
                panic!("{eid} is stuck with {open:#?}\n{}", server.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
