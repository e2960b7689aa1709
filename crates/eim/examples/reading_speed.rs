//! How long the verbs take that API and console read a fleet with, on a made-up one.
//!
//! `cargo run --release -p eim --example reading_speed -- FILE [DEVICES EVENTS]` fills the database FILE if it is not there
//! (100,000 devices and 1,000,000 events unless said otherwise), then runs each verb many times with other arguments and
//! prints how long it took: half of the runs at most, 95 % at most, and the longest.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement reports by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eim::authority::unguarded::{EimIdentity, UnguardedAuthority};
use eim::es9::HttpConnector;
use eim::search::{
    ContactFilter, DeviceCursor, DeviceOrder, DeviceQuery, OperationQuery, SearchText,
};
use eim::seed::{Seed, fill};
use eim::stream::EventCursor;
use eim::swaps::SimReference;
use eim::{Association, Clock, Config, DeviceState, Eim, Entropy, OperationState, Parts, Visible};
use pki::{Curve, PrivateKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsp::ids::Eid;
use store::StoreOptions;

/// 2026-06-01T00:00:00Z, so that a database can be measured again.
const NOW_MS: i64 = 1_780_272_000_000;
const DAY_MS: i64 = 86_400_000;
const RUNS: usize = 200;

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

impl Entropy for Stopped {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = Path::new(arguments.first().expect("a file for the database"));
    let number = |at: usize, otherwise| arguments.get(at).map_or(otherwise, |n| n.parse().unwrap());
    let seed = Seed {
        devices: number(1, 100_000),
        events: number(2, 1_000_000),
        now_ms: NOW_MS,
        seed: 1,
    };
    if !path.exists() {
        let begun = Instant::now();
        let made = fill(path, &seed, &mut |_| None, &mut |_| ()).unwrap();
        println!("{made:?} in {:.1} s", begun.elapsed().as_secs_f64());
    }
    let eim = opened(path);
    let devices = u32::try_from(eim.device_count().unwrap()).unwrap();
    println!("{:50} {:>9} {:>9} {:>9}", "ms", "p50", "p95", "longest");
    for (who, visible) in [
        ("all", Visible::All),
        ("two fleets, 52 %", only(&["meters-north", "trackers"])),
        ("one fleet, 3 %", only(&["cold-chain"])),
    ] {
        println!("-- {who}");
        measure("fleet_overview", |_| {
            drop(eim.fleet_overview(&visible, None).unwrap());
        });
        measure("fleets", |_| drop(eim.fleets(&visible).unwrap()));
        searches(&eim, &visible, devices);
        operations(&eim, &visible);
        histories(&eim, &visible, devices);
    }
}

fn searches(eim: &Eim, visible: &Visible, devices: u32) {
    let search = |name: &str, make: &dyn Fn(u32, &mut DeviceQuery)| {
        measure(name, |run| {
            let mut query = DeviceQuery::default();
            make(spread(run, devices), &mut query);
            drop(eim.search_devices(visible, &query).unwrap());
        });
    };
    let digits = |eid: Eid, count: usize| eid.to_string().chars().take(count).collect();
    let cursor = |number: u32| DeviceCursor {
        at: 0,
        eid: eid(number).to_string(),
    };
    search("by EID, from anywhere", &|n, query| {
        query.after = Some(cursor(n))
    });
    search("by EID, from anywhere, 500 of them", &|n, query| {
        query.after = Some(cursor(n));
        query.limit = 500;
    });
    search("last polled first", &|_, query| {
        (query.order, query.descending) = (DeviceOrder::LastPoll, true);
    });
    search("longest silent first", &|_, query| {
        query.order = DeviceOrder::LastPoll
    });
    search("last registered first", &|_, query| {
        (query.order, query.descending) = (DeviceOrder::Registered, true);
    });
    search("whole EID", &|n, query| {
        query.text = Some(SearchText::Eid(digits(eid(n), 32)));
    });
    search("28 digits of an EID", &|n, query| {
        query.text = Some(SearchText::Eid(digits(eid(n), 28)));
    });
    search("whole ICCID", &|n, query| {
        query.text = Some(SearchText::Iccid(format!("898800{n:010}000")));
    });
    search("6 digits of an ICCID (all)", &|_, query| {
        query.text = Some(SearchText::Iccid("898800".to_owned()));
    });
    search("part of one label", &|n, query| {
        query.text = Some(SearchText::Label(format!(" {n:06}")));
    });
    search("part of many labels", &|_, query| {
        query.text = Some(SearchText::Label("a".to_owned()));
    });
    search("part of no label", &|_, query| {
        query.text = Some(SearchText::Label("no such".to_owned()));
    });
    search("part of no label, last polled first", &|_, query| {
        query.text = Some(SearchText::Label("no such".to_owned()));
        (query.order, query.descending) = (DeviceOrder::LastPoll, true);
    });
    search("tag of 6 %", &|_, query| {
        query.tag = Some("site=Celle".parse().unwrap())
    });
    search("tag of 0.5 %, last polled first", &|_, query| {
        query.tag = Some("watch".parse().unwrap());
        (query.order, query.descending) = (DeviceOrder::LastPoll, true);
    });
    search("registered, not associated (3 %)", &|_, query| {
        query.state = Some(DeviceState::Registered);
    });
    search("association refused (0.1 %)", &|_, query| {
        query.association = Some(Association::Refused);
    });
    search("not polled for 30 days", &|_, query| {
        query.contact = Some(ContactFilter::NotSince(NOW_MS - 30 * DAY_MS));
    });
    search("never polled, last registered first", &|_, query| {
        query.contact = Some(ContactFilter::Never);
        (query.order, query.descending) = (DeviceOrder::Registered, true);
    });
    search("with open operations", &|_, query| {
        query.open_operations = true
    });
    search("failing", &|_, query| query.failing = true);
    search("failing, last polled first", &|_, query| {
        query.failing = true;
        (query.order, query.descending) = (DeviceOrder::LastPoll, true);
    });
    search("provider of 31 %", &|_, query| {
        query.provider = Some("Aurora Mobile".to_owned());
    });
    search("provider of 1 %", &|_, query| {
        query.provider = Some("Mistral Net".to_owned());
    });
    search("provider of 1 %, failing and retired", &|_, query| {
        query.provider = Some("Mistral Net".to_owned());
        (query.failing, query.state) = (true, Some(DeviceState::Retired));
    });
}

fn operations(eim: &Eim, visible: &Visible) {
    // Of 20,000 devices.
    let campaign = intent::IntentId::of(b"seed 1 0 0");
    let search = |name: &str, make: &dyn Fn(&mut OperationQuery)| {
        let mut query = OperationQuery::default();
        make(&mut query);
        measure(name, |_| {
            drop(eim.search_operations(visible, &query).unwrap());
        });
    };
    search("operations", &|_| ());
    search("operations, failed", &|query| {
        query.state = Some(OperationState::Failed)
    });
    search("operations, queued", &|query| {
        query.state = Some(OperationState::Queued)
    });
    search("operations of one person", &|query| {
        query.actor = Some("principal:olga".to_owned());
    });
    search("operations of one person, rolled back", &|query| {
        query.actor = Some("principal:olga".to_owned());
        query.state = Some(OperationState::RolledBack);
    });
    search("operations of a campaign", &|query| {
        query.intent = Some(campaign)
    });
    search("operations of a campaign, failed", &|query| {
        (query.intent, query.state) = (Some(campaign), Some(OperationState::Failed));
    });
    measure("progress of a campaign", |_| {
        eim.intent_progress(visible, campaign).unwrap();
    });
}

fn histories(eim: &Eim, visible: &Visible, devices: u32) {
    let newest = eim.newest_event().unwrap().0;
    measure("100 events, from anywhere", |run| {
        let from = newest / RUNS as i64 * run as i64;
        drop(eim.events_after(visible, EventCursor(from), 100).unwrap());
    });
    measure("the newest 100 events", |_| {
        drop(eim.events_before(visible, None, 100).unwrap());
    });
    measure("profile changes of a device", |run| {
        let sim = SimReference::Eid(eid(spread(run, devices)));
        drop(eim.profile_changes(visible, sim, 0, 100).unwrap());
    });
}

fn measure(name: &str, mut verb: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|run| {
            let begun = Instant::now();
            verb(run);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[(RUNS - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{name:50} {:>9.2} {:>9.2} {:>9.2}", at(50), at(95), at(100));
}

/// Numbers of devices that are far from each other.
fn spread(run: usize, devices: u32) -> u32 {
    u32::try_from(run * 7_919 % devices as usize).unwrap()
}

fn eid(number: u32) -> Eid {
    Eid::with_check_digits(&format!("89049032{number:022}")).unwrap()
}

fn only(names: &[&str]) -> Visible {
    Visible::Only(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn opened(path: &Path) -> Arc<Eim> {
    let key = PrivateKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let name: rsp::sgp32::EimId = "eim.example.com".parse().unwrap();
    let identity = EimIdentity {
        eim_id: name.clone(),
        fqdn: "eim.example.com".to_owned(),
        tls_trust: None,
    };
    let authority = UnguardedAuthority::new(identity, Arc::new(key), Arc::new(Stopped));
    let parts = Parts {
        authority: Arc::new(authority),
        trust: pki::TrustAnchors::default(),
        smdp: Arc::new(HttpConnector::new(Vec::new(), Vec::new())),
        clock: Arc::new(Stopped),
        entropy: Arc::new(Stopped),
    };
    Eim::open(path, StoreOptions::default(), Config::new(name), parts).unwrap()
}
