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

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use edge::client::{Client, ClientOptions};
use edge::tls::Trust;
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
    register(&folder.control(), &mut devices);

    let stop = AtomicBool::new(false);
    let (remains, accepted, kills) = thread::scope(|scope| {
        let stopper = Stopper(&stop);
        let eids: Vec<Eid> = devices.iter().map(|device| device.eid).collect();
        let lives: Vec<_> = devices
            .into_iter()
            .map(|device| scope.spawn(|| device.run(&stop)))
            .collect();
        let (release, released) = channel();
        let operator = Operator::new(folder.control(), eids, seed);
        let operator = scope.spawn(move || operator.work(released));

        let (server, kills) = torment(&folder, &world, server, &release, seed);
        drop(release);
        world.calm_down();
        let accepted = operator.join().unwrap();
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
    // Nobody gets away with failing everything.
    assert!(sum.done * 10 >= sum.operations * 7, "{sum:?}");
    // Which of the two a run has is left to chance; that it had neither would be a test of nothing.
    assert!(
        sum.interrupted + sum.rolled_back > 0,
        "too little went wrong: {sum:?}"
    );
    assert!(
        !server.log().contains("panic"),
        "a server panicked: {}",
        server.log()
    );
}

#[test]
fn registrations_that_were_acknowledged_survive_and_none_is_half_there() {
    let mut random = Seeded::new(seed(), 20);
    let folder = Folder::prepared();
    let control = folder.control();
    for round in 0..ROUNDS {
        let mut server = folder.spawn();
        server.ready();
        let before = count(&control);
        let large = Lines::new(round * 100_000, LINES);
        let (is_acknowledged, acknowledged) = thread::scope(|scope| {
            let large = scope.spawn(|| large.import(&control).is_some());
            // Files that are answered one after the other, and devices one by one.
            let small = scope.spawn(|| {
                let files = (0..).map(|file| Lines::new(round * 100_000 + 10_000 + file * 40, 40));
                let answered = files.take_while(|file| file.import(&control).is_some());
                answered
                    .flat_map(|file| file.numbers())
                    .collect::<Vec<u32>>()
            });
            let single = scope.spawn(|| {
                let numbers = (0..).map(|number| round * 100_000 + 50_000 + number);
                numbers
                    .take_while(|number| register_one(&control, *number))
                    .collect::<Vec<u32>>()
            });
            if round + 1 == ROUNDS {
                while !large.is_finished() {
                    thread::sleep(Duration::from_micros(100));
                }
            } else {
                let until = before + 1 + random.below(u64::from(LINES));
                while count(&control) < until {
                    thread::sleep(Duration::from_micros(random.below(1000)));
                }
                thread::sleep(Duration::from_micros(random.below(5000)));
            }
            server.kill();
            let mut acknowledged = small.join().unwrap();
            acknowledged.extend(single.join().unwrap());
            (large.join().unwrap(), acknowledged)
        });
        assert!(is_acknowledged || round + 1 < ROUNDS);

        let mut server = folder.spawn();
        server.ready();
        let there = registered(&control, round);
        let mut expected: Vec<u32> = acknowledged;
        if is_acknowledged {
            expected.extend(large.numbers());
        }
        for number in &expected {
            let eid = eid(*number).to_string();
            assert!(there.contains_key(&eid), "line {number} was acknowledged");
        }
        for (number, eid) in large.eids() {
            match there.get(&eid) {
                Some(device) => is_whole(device, number),
                None => assert_eq!(control.get(&format!("/v1/devices/{eid}")).unwrap().0, 404),
            }
        }
        // Those written last are the ones that the kill can have hit.
        let mut last: Vec<&Value> = there.values().collect();
        last.sort_by_key(|device| std::cmp::Reverse(device["registered_at"].as_i64()));
        for device in last.iter().take(200) {
            let eid: Eid = device["eid"].as_str().unwrap().parse().unwrap();
            let events = events(&control, eid);
            let kinds: Vec<&str> = events
                .iter()
                .map(|event| event["kind"].as_str().unwrap())
                .collect();
            assert_eq!(kinds, ["device-registered"], "{eid}");
            let device = control.read(&format!("/v1/devices/{eid}"));
            assert_eq!(device["association_token_known"], true, "{device}");
        }
        // The operator sends the file again: only what is missing is new.
        let report = large.import(&control).unwrap();
        let refused: BTreeSet<&str> = members(&report, "refused")
            .iter()
            .map(|refused| refused["eid"].as_str().unwrap())
            .collect();
        let known = large.eids().filter(|(_, eid)| there.contains_key(eid));
        let known: Vec<String> = known.map(|(_, eid)| eid).collect();
        assert!(refused.iter().copied().eq(known.iter().map(String::as_str)));
        let registered = report["registered"].as_u64().unwrap();
        assert_eq!(registered, u64::from(LINES) - known.len() as u64);
        println!(
            "{} of {LINES} lines were there, {} others acknowledged",
            known.len(),
            expected.len()
        );
        server.kill();
    }
}

const ROUNDS: u32 = 5;
const LINES: u32 = 2000;

/// Lines of a CSV file, a device each.
struct Lines {
    first: u32,
    count: u32,
}

impl Lines {
    fn new(first: u32, count: u32) -> Self {
        Self { first, count }
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.count
    }

    fn eids(&self) -> impl Iterator<Item = (u32, String)> {
        self.numbers()
            .map(|number| (number, eid(number).to_string()))
    }

    /// The report, if the server lived long enough to give it.
    fn import(&self, control: &Control) -> Option<Value> {
        let lines = self.eids().map(|(number, eid)| {
            let label = label(number);
            format!("{eid},\"{label}\",{number},{number}\n")
        });
        let (status, report) = control
            .post("/v1/devices/import", &lines.collect::<String>())
            .ok()?;
        assert_eq!(status, 200, "{report}");
        Some(report)
    }
}

fn label(number: u32) -> String {
    format!("meter {number}, cellar")
}

/// Whether the server lived long enough to say that it has it.
fn register_one(control: &Control, number: u32) -> bool {
    let body = json!({
        "eid": eid(number).to_string(),
        "label": label(number),
        "association_token": number,
        "counter": number,
    });
    match control.post("/v1/devices", &body.to_string()) {
        Ok((201, _)) => true,
        Ok((status, problem)) => panic!("{status}: {problem}"),
        Err(_) => false,
    }
}

/// Everything that a line says.
fn is_whole(device: &Value, number: u32) {
    assert_eq!(device["label"], label(number), "{device}");
    assert_eq!(device["counter"], number, "{device}");
    assert_eq!(device["state"], "registered", "{device}");
}

fn count(control: &Control) -> u64 {
    control.read("/v1/status")["devices"].as_u64().unwrap()
}

/// The devices of a round, by EID.
fn registered(control: &Control, round: u32) -> BTreeMap<String, Value> {
    let mut devices = BTreeMap::new();
    // EIDs sort as their numbers.
    let mut after = match round {
        0 => String::new(),
        _ => format!("&after={}", eid(round * 100_000 - 1)),
    };
    loop {
        let page = control.read(&format!("/v1/devices?limit=1000{after}"));
        for device in members(&page, "devices") {
            devices.insert(device["eid"].as_str().unwrap().to_owned(), device.clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return devices,
        }
    }
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
    register(&control, &mut devices);
    let mut device = devices.remove(0);
    // It introduces itself, and its connection stays open.
    device.session();
    let path = format!("/v1/devices/{}/operations", device.eid);
    let body = r#"{"commands":[{"command":"set-default-smdp","address":"smdp.example.com"}]}"#;
    let (status, operation) = control.post(&path, body).unwrap();
    assert_eq!(status, 201, "{operation}");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut poll = runtime.block_on(HalfSent::new(&folder, address, device.eid));
    let (answer, report) = thread::scope(|scope| {
        let import = scope.spawn(|| Lines::new(100, LINES).import(&control));
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
    assert_eq!(report.unwrap()["registered"], LINES);
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
    let id = operation["id"].as_str().unwrap();
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
fn register(control: &Control, devices: &mut [Device]) {
    let data = control.read("/v1/association-data");
    let data = hex::decode(data["der"].as_str().unwrap()).unwrap();
    let data = EimConfigurationData::from_der(&data).unwrap();
    for (index, device) in devices.iter_mut().enumerate() {
        let token = device.associate(data.clone());
        let body = json!({
            "eid": device.eid.to_string(),
            "association_token": (index < 2).then_some(token),
        });
        let (status, answer) = control.post("/v1/devices", &body.to_string()).unwrap();
        assert_eq!(status, 201, "{answer}");
    }
}

/// Kills and starts the server, and lets the operator have one operation for each device between two kills.
fn torment(
    folder: &Folder,
    world: &World,
    mut server: Server,
    release: &Sender<()>,
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
