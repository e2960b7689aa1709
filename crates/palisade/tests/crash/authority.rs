//! Kill either process, the eIM or its authority, 200 times anywhere: nothing is signed twice under one counter, nothing is
//! executed that is not in the ledger, and nothing in the ledger is lost.
//!
//! Only kills go wrong here, so that whatever does not fit is theirs; what devices and networks do stands in the other test.
//! The ledger is read by its own crate from the files alone, and compared with the memories of the eUICCs and with what passed
//! between eIM and devices.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};

use ledger::{Checkpoint, Entry, FolderStore, PublicKey, Reader, check_consistency, verify};
use rsp::sgp32::{EuiccPackageRequest, EuiccPackageResult, EuiccPackageResultSigned};

use super::support::card::Deeds;
use super::*;

/// Of both processes together.
const KILLS: usize = 200;
/// For each device.
const OPERATIONS: u32 = 75;

#[test]
fn whichever_process_is_killed_the_ledger_has_everything_that_was_signed() {
    let begun = Instant::now();
    let seed = seed();
    let folder = Folder::prepared();
    let world = Arc::new(World::default());
    world.calm_down();
    let mut devices = devices(&folder, &world, seed);
    let mut server = folder.spawn();
    world.set_server(Some(server.ready()));
    register(&folder, &mut devices);

    let stop = AtomicBool::new(false);
    let (remains, accepted, torture) = thread::scope(|scope| {
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
        let mut torture = Torture::new(&folder, &world, server, seed);
        torture.run(&release);
        drop(release);
        let accepted = operator.join().unwrap();
        drain(&folder.control(), &accepted, &torture.server);
        drop(stopper);
        let remains: Vec<Remains> = lives.into_iter().map(|life| life.join().unwrap()).collect();
        (remains, accepted, torture)
    });
    let Torture {
        server,
        told,
        checkpoints,
        serve_kills,
        authority_kills,
        ..
    } = torture;
    await_results(&folder, &remains, &server);
    let mut sum = Sum::default();
    for remains in &remains {
        let accepted = &accepted[&remains.eid.to_string()];
        sum += Judge::new(&folder.control(), &world, remains).judge(accepted);
    }
    server.terminate();
    assert!(server.ended().success());
    assert_eq!(world.faults(), Vec::<String>::new());

    let record = Record::read(&folder);
    assert!(record.entries.len() as u64 >= told, "entries were lost");
    record.continues(&checkpoints);
    record.has_each_intent_once(&accepted);
    let mut packages = 0;
    for remains in &remains {
        packages += record.accounts_for(remains, &world);
    }
    folder.run(&["ledger", "verify", "--data", "eim"]);
    println!(
        "{serve_kills} kills of the eIM, {authority_kills} of the authority; {} entries, {packages} packages, {} checkpoints remembered, {:.0?}: {sum:#?}",
        record.entries.len(),
        checkpoints.len(),
        begun.elapsed()
    );
    assert_eq!(serve_kills + authority_kills, KILLS);
    assert!(serve_kills >= KILLS / 4 && authority_kills >= KILLS / 4);
    assert!(sum.done * 10 >= sum.operations * 7, "{sum:?}");
}

/// Kills, and what was seen between kills.
struct Torture<'a> {
    folder: &'a Folder,
    world: &'a World,
    server: Server,
    random: Seeded,
    /// The most entries that an authority said were durable.
    told: u64,
    /// Every published checkpoint that was seen.
    checkpoints: Vec<Checkpoint>,
    serve_kills: usize,
    authority_kills: usize,
}

impl<'a> Torture<'a> {
    fn new(folder: &'a Folder, world: &'a World, server: Server, seed: u64) -> Self {
        Self {
            folder,
            world,
            server,
            random: Seeded::new(seed, 30),
            told: 0,
            checkpoints: Vec::new(),
            serve_kills: 0,
            authority_kills: 0,
        }
    }

    fn kills(&self) -> usize {
        self.serve_kills + self.authority_kills
    }

    /// Kills either process at random moments, with a share of all operations between two kills. In the end both live.
    fn run(&mut self, release: &SyncSender<()>) {
        let operations = (OPERATIONS * DEVICES) as usize;
        let mut released = 0;
        let mut in_a_row = 0;
        while self.kills() < KILLS {
            let share = operations * self.kills() / KILLS;
            for _ in released..share {
                release.send(()).unwrap();
            }
            released = released.max(share);
            self.wait_for_a_moment();
            // The eIM waits longer each time before it starts its authority again, so it is not always the authority.
            if in_a_row < 3 && self.random.percent(50) {
                in_a_row += 1;
                self.kill_authority();
                continue;
            }
            in_a_row = 0;
            self.kill_serve();
            self.start();
            self.look();
        }
        for _ in released..operations {
            release.send(()).unwrap();
        }
    }

    /// After some more exchanges of devices, and a little later.
    fn wait_for_a_moment(&mut self) {
        let until = self.world.exchanges() + self.random.below(16);
        let begun = Instant::now();
        while self.world.exchanges() < until && begun.elapsed() < Duration::from_millis(150) {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_micros(self.random.below(15_000)));
    }

    fn kill_authority(&mut self) {
        let authorities = children(self.server.pid());
        self.authority_kills += authorities.iter().filter(|pid| kill(**pid)).count();
    }

    fn kill_serve(&mut self) {
        let pid = self.server.pid();
        let orphans = children(pid);
        assert!(kill(pid), "the eIM had ended: {}", self.server.log());
        self.serve_kills += 1;
        self.world.set_server(None);
        // The orphan stops by itself. Now and then it does not get as far.
        if self.kills() < KILLS && self.random.percent(25) {
            self.authority_kills += orphans.iter().filter(|pid| kill(**pid)).count();
        }
        self.server.gone();
    }

    /// Starts the eIM, now and then only to kill one of the two on the way up.
    fn start(&mut self) {
        loop {
            self.server = self.folder.spawn();
            if self.kills() >= KILLS || !self.random.percent(20) {
                break;
            }
            thread::sleep(Duration::from_millis(self.random.below(150)));
            if self.random.percent(50) {
                // An eIM whose authority ends before it ever answered gives up, as it says: something is wrong with it.
                let before = self.authority_kills;
                self.kill_authority();
                if self.authority_kills == before {
                    break;
                }
            }
            if self.kills() >= KILLS {
                self.server.gone();
                continue;
            }
            self.serve_kills += usize::from(kill(self.server.pid()));
            self.server.gone();
        }
        let address = self.server.ready();
        self.world.set_server(Some(address));
    }

    /// What is told and published must never become less.
    fn look(&mut self) {
        if let Ok((200, status)) = self.folder.control().get("/v1/authority") {
            let entries = status["entries"].as_u64().unwrap();
            assert!(
                entries >= self.told,
                "{entries} entries after {}",
                self.told
            );
            self.told = entries;
        }
        let (files, key) = ledger_of(self.folder);
        let checkpoint = Reader::open(&files, &key).unwrap().checkpoint().clone();
        let before = self.checkpoints.last().map_or(0, Checkpoint::size);
        assert!(
            checkpoint.size() >= before,
            "the checkpoint went from {before} back to {}",
            checkpoint.size()
        );
        if checkpoint.size() > before {
            self.checkpoints.push(checkpoint);
        }
    }
}

/// An upgrade puts another file in the place of the program while it runs.
#[test]
fn an_authority_is_started_again_although_the_program_was_replaced_meanwhile() {
    let folder = Folder::prepared();
    let mut server = folder.spawn();
    server.ready();
    let first = folder.authority_pid().unwrap();
    folder.replace_program();
    assert!(folder.kill_authority());
    let begun = Instant::now();
    loop {
        if let Some(pid) = folder.authority_pid()
            && pid != first
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(folder.kill_authority());
}

/// Processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    // A process that is gone has none.
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    children
}

/// SIGKILL. Whether there was such a process.
fn kill(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Between fork and exec, and as a zombie, it is not what is meant.
    if !stat.contains("(palisade) ") || stat.contains("(palisade) Z ") {
        return false;
    }
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    killed.unwrap().success()
}

fn ledger_of(folder: &Folder) -> (FolderStore, PublicKey) {
    let at: PathBuf = folder.path("eim/authority");
    let key = fs::read_to_string(at.join("ledger.pub")).unwrap();
    let key = key.trim().parse().unwrap();
    (FolderStore::reader(at.join("ledger")), key)
}

/// The eIM reports results after it has them; the ledger has them a little later.
fn await_results(folder: &Folder, remains: &[Remains], server: &Server) {
    let expected: BTreeSet<Vec<u8>> = remains
        .iter()
        .flat_map(|it| last_results(&it.deeds))
        .collect();
    let begun = Instant::now();
    loop {
        let (files, key) = ledger_of(folder);
        let mut missing = expected.clone();
        let _report = verify(&files, &key, None, &mut |entry| {
            if entry.kind.as_str() == "result.recorded" {
                missing.remove(&base64(entry.body["result"].as_str().unwrap()));
            }
        });
        if missing.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {} results are not in the ledger\n{}",
            missing.len(),
            expected.len(),
            server.log()
        );
        thread::sleep(Duration::from_millis(200));
    }
}

/// Results that an eIM must have been given: for each package the last. A device that reached no eIM after an enabling with
/// rollback goes back, and the result of that replaces the first, which may never have left it.
fn last_results(deeds: &Deeds) -> BTreeSet<Vec<u8>> {
    let by_counter: BTreeMap<i64, Vec<u8>> = deeds
        .results
        .values()
        .map(|it| {
            (
                it.euicc_package_result_data_signed.counter_value,
                octets(it),
            )
        })
        .collect();
    by_counter.into_values().collect()
}

fn octets(result: &EuiccPackageResultSigned) -> Vec<u8> {
    EuiccPackageResult::EuiccPackageResultSigned(result.clone()).to_der()
}

/// The ledger, read from its files.
struct Record {
    entries: Vec<Entry>,
    files: FolderStore,
    checkpoint: Checkpoint,
}

impl Record {
    fn read(folder: &Folder) -> Self {
        let (files, key) = ledger_of(folder);
        let mut entries = Vec::new();
        let report = verify(&files, &key, None, &mut |entry: &Entry| {
            entries.push(entry.clone());
        });
        assert!(report.is_good(), "{report}");
        let checkpoint = Reader::open(&files, &key).unwrap().checkpoint().clone();
        assert_eq!(checkpoint.size(), entries.len() as u64);
        Self {
            entries,
            files,
            checkpoint,
        }
    }

    /// What was published once is what stands there now.
    fn continues(&self, checkpoints: &[Checkpoint]) {
        let reader = Reader::at(&self.files, self.checkpoint.clone());
        assert!(!checkpoints.is_empty());
        for old in checkpoints {
            let proof = reader.consistency(old.size()).unwrap();
            check_consistency(old, &self.checkpoint, &proof).unwrap();
        }
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.kind.as_str() == kind)
    }

    /// Whatever was accepted from the operator is there, and every intent once.
    fn has_each_intent_once(&self, accepted: &BTreeMap<String, Vec<Accepted>>) {
        let mut seen = BTreeSet::new();
        for entry in self.of_kind("intent.proposed") {
            let id = entry.body["id"].as_str().unwrap();
            assert!(seen.insert(id), "{id} is there twice");
        }
        let operated = self
            .of_kind("intent.proposed")
            .filter(|entry| entry.body["intent"]["action"]["type"] != "register-devices")
            .count();
        let expected: usize = accepted.values().map(Vec::len).sum();
        assert!(operated >= expected, "{operated} of {expected} intents");
    }

    /// Compares what is recorded about a device with what it was sent and what it did. How many packages it has.
    fn accounts_for(&self, remains: &Remains, world: &World) -> usize {
        let eid = remains.eid;
        let about = |kind| {
            self.of_kind(kind)
                .filter(move |entry| entry.eid() == Some(eid))
        };
        let mut ordered = BTreeMap::new();
        let mut accounts = BTreeSet::new();
        for entry in about("package.ordered") {
            let counter = entry.body["counter"].as_i64().unwrap();
            let octets = base64(entry.body["package"].as_str().unwrap());
            let before = ordered.insert(counter, octets);
            assert!(before.is_none(), "{eid}: counter {counter} went out twice");
            let account = entry.body["account"].to_string();
            assert!(
                accounts.insert(account),
                "{eid}: one account has two packages: {entry:?}"
            );
        }
        let counters: Vec<i64> = ordered.keys().copied().collect();
        let all: Vec<i64> = (1..=counters.len() as i64).collect();
        assert_eq!(counters, all, "{eid}: no counter is left out");

        for (counter, request) in world.packages(eid) {
            let request = EuiccPackageRequest::from_der(&request).unwrap();
            let signed = request.euicc_package_signed.bytes();
            assert_eq!(
                Some(signed),
                ordered.get(&counter).map(Vec::as_slice),
                "{eid}: what passed under counter {counter} is not what the ledger has"
            );
        }
        let deeds = &remains.deeds;
        for counter in &deeds.counters {
            assert!(
                ordered.contains_key(counter),
                "{eid}: executed {counter}, which is not in the ledger"
            );
        }

        let recorded: Vec<Vec<u8>> = about("result.recorded")
            .map(|entry| base64(entry.body["result"].as_str().unwrap()))
            .collect();
        let distinct: BTreeSet<&Vec<u8>> = recorded.iter().collect();
        assert_eq!(
            distinct.len(),
            recorded.len(),
            "{eid}: a result is recorded twice"
        );
        let kept: BTreeSet<Vec<u8>> = deeds.results.values().map(octets).collect();
        for result in &distinct {
            assert!(kept.contains(*result), "{eid}: no card gave this result");
        }
        for result in &last_results(deeds) {
            assert!(distinct.contains(result), "{eid}: a result is not recorded");
        }
        ordered.len()
    }
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut octets = Vec::new();
    let (mut bits, mut width) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|it| *it == letter).unwrap();
        bits = (bits << 6 | value as u32) & 0xFFFF;
        width += 6;
        if width >= 8 {
            width -= 8;
            octets.push((bits >> width) as u8);
        }
    }
    octets
}
