//! The authority: signatures behind durable entries, beside the bare signatures; verification beside the bare verification;
//! and how long it takes to read the record again.

mod floors;
mod process;
mod site;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use intent::api::{Account, BATCH_MAX, Reference};
use pki::Signer;
use rsp::ids::Eid;
use serde::Serialize;

use super::figures::{grouped, median, micros_each, percentile, rate};
use super::usage::{Machine, whole_process};
use crate::output::{self, Table};
use process::Process;
use site::{ReadAgain, Site};

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Devices, each with an eUICC certificate that was verified.
    pub(crate) devices: u32,
    /// Time for each way of asking.
    pub(crate) seconds: u32,
    /// Entries of the record that is read again.
    pub(crate) entries: u32,
    /// The folder whose disk counts.
    pub(crate) directory: Option<PathBuf>,
    /// Print JSON.
    pub(crate) json: bool,
}

/// Questions under way at a time, and signatures in each. The eIM asks for what waits in one question after the other.
const ASKING: [(usize, usize); 7] = [
    (1, 1),
    (10, 1),
    (100, 1),
    (1, 10),
    (1, 100),
    (2, 100),
    (2, BATCH_MAX),
];
/// Each beside bare signatures; the medians count.
const ROUNDS: u32 = 3;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::look();
    output::note("associating devices ...");
    let mut site = Site::new(options.devices, options.directory.as_deref())?;
    let time = Duration::from_secs(options.seconds.into()) / ROUNDS;
    let numbers = Arc::new(AtomicU64::new(0));
    output::note("signing in this process ...");
    let in_process = rows(|asking| asking.measure(&site, &numbers, time))?;
    output::note("signing in a process of its own ...");
    let over_socket = site.lend(|site| {
        let process = Process::start(site)?;
        let rows = rows(|asking| process.measure(asking, site, &numbers, time))?;
        process.stop()?;
        Ok(rows)
    })?;
    output::note("verifying ...");
    let verifying = verifying(&site, &numbers)?;
    output::note("writing a long record and reading it ...");
    let report = Report {
        machine,
        devices: options.devices,
        in_process,
        over_socket,
        verifying,
        record: Record::of(&site.read_again(options.entries.into())?),
    };
    if options.json {
        output::print_json(&report)
    } else {
        output::print(&report.to_text())
    }
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    devices: u32,
    in_process: Vec<Row>,
    over_socket: Vec<Row>,
    verifying: Verifying,
    record: Record,
}

/// One way of asking: medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    /// Questions under way at a time.
    in_flight: usize,
    /// Signatures in each question.
    references: usize,
    /// Signatures a second.
    per_second: f64,
    /// Bare signatures a second of one thread.
    floor_per_second: f64,
    /// Of the rates, in one round.
    ratio: f64,
    /// Of all processes with who asks, for one signature.
    cpu_micros: f64,
    /// From question to answer.
    median_micros: f64,
    /// Of a hundred questions, one takes longer.
    p99_micros: f64,
}

#[derive(Debug, Serialize)]
struct Verifying {
    /// Results a second that were verified and recorded.
    per_second: f64,
    /// Bare verifications a second of one thread.
    floor_per_second: f64,
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct Record {
    entries: u64,
    append_median_micros: f64,
    append_p99_micros: f64,
    /// A write of 4 KiB and its sync, in turns with appends.
    append_floor_micros: f64,
    replay_seconds: f64,
    replay_per_second: f64,
    snapshot_seconds: f64,
    restore_seconds: f64,
    verify_seconds: f64,
    verify_per_second: f64,
    /// Entries of that size that are hashed in a second.
    hash_per_second: f64,
}

impl Record {
    fn of(read: &ReadAgain) -> Self {
        let [append_median_micros, append_p99_micros, append_floor_micros] = read.append;
        Self {
            entries: read.entries,
            append_median_micros,
            append_p99_micros,
            append_floor_micros,
            replay_seconds: read.replay.as_secs_f64(),
            replay_per_second: rate(read.entries, read.replay),
            snapshot_seconds: read.snapshot.as_secs_f64(),
            restore_seconds: read.restore.as_secs_f64(),
            verify_seconds: read.verify.as_secs_f64(),
            verify_per_second: rate(read.entries, read.verify),
            hash_per_second: read.hashes,
        }
    }
}

/// Every way of asking, [`ROUNDS`] times.
fn rows(measure: impl Fn(&Asking) -> anyhow::Result<Round>) -> anyhow::Result<Vec<Row>> {
    let row = |(in_flight, references)| {
        let asking = Asking {
            in_flight,
            references,
        };
        let rounds: anyhow::Result<Vec<Round>> = (0..ROUNDS).map(|_| measure(&asking)).collect();
        Ok(asking.row(&rounds?))
    };
    ASKING.into_iter().map(row).collect()
}

struct Asking {
    in_flight: usize,
    references: usize,
}

/// What came of asking for a while, with what bare signatures took right before.
struct Round {
    floor: f64,
    elapsed: Duration,
    cpu: Duration,
    /// Microseconds of each question.
    times: Vec<f64>,
}

impl Asking {
    /// Asks for `time` from threads. Every reference is a new one: each answer is a new entry and a new signature.
    fn measure(&self, site: &Site, numbers: &AtomicU64, time: Duration) -> anyhow::Result<Round> {
        let floor = floors::signatures(&site.signing_key, time / 4)?;
        let authority = site.authority()?;
        let before = whole_process("self")?;
        let begun = Instant::now();
        let asked: Vec<anyhow::Result<Vec<f64>>> = std::thread::scope(|scope| {
            let ask = || {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while begun.elapsed() < time {
                        let references = fresh(&site.eids, numbers, self.references);
                        let asked = Instant::now();
                        for answer in authority.sign(references)? {
                            answer?;
                        }
                        times.push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                    Ok(times)
                })
            };
            let threads: Vec<_> = (0..self.in_flight).map(|_| ask()).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread broke off")))
            };
            threads.into_iter().map(join).collect()
        });
        let elapsed = begun.elapsed();
        let cpu = whole_process("self")?.saturating_sub(before);
        let times: anyhow::Result<Vec<Vec<f64>>> = asked.into_iter().collect();
        Ok(Round {
            floor,
            elapsed,
            cpu,
            times: times?.concat(),
        })
    }

    fn row(&self, rounds: &[Round]) -> Row {
        let over = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let count = |round: &Round| round.times.len() as u64 * self.references as u64;
        let per_second = |round: &Round| rate(count(round), round.elapsed);
        Row {
            in_flight: self.in_flight,
            references: self.references,
            per_second: over(&per_second),
            floor_per_second: over(&|round| round.floor),
            ratio: over(&|round| per_second(round) / round.floor),
            cpu_micros: over(&|round| micros_each(round.cpu, count(round))),
            median_micros: over(&|round| median(round.times.clone())),
            p99_micros: over(&|round| percentile(round.times.clone(), 99)),
        }
    }
}

/// Reads that nobody asked for before, spread over all devices.
fn fresh(eids: &[Eid], numbers: &AtomicU64, count: usize) -> Vec<Reference> {
    let first = numbers.fetch_add(count as u64, Ordering::Relaxed);
    let devices = eids.len().max(1) as u64;
    (first..)
        .take(count)
        .filter_map(|number| {
            let at = usize::try_from(number % devices).ok()?;
            Some(Reference {
                account: Account::ListProfiles(number.to_string()),
                eid: *eids.get(at)?,
            })
        })
        .collect()
}

/// Bare verifications a second, and results a second that are verified and recorded.
fn verifying(site: &Site, numbers: &AtomicU64) -> anyhow::Result<Verifying> {
    const BATCHES: usize = 8;
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let references = fresh(&site.eids, numbers, BATCH_MAX.min(site.eids.len()));
        let signed = site.authority()?.sign(references.clone())?;
        let mut results = Vec::new();
        for (reference, signed) in references.iter().zip(signed) {
            results.push(site.answer(reference.eid, &signed?)?);
        }
        batches.push(results);
    }
    let euicc_key = site.euicc_key()?;
    let key = euicc_key.public_key();
    let octets = [0x5A; 100];
    let signature = euicc_key.sign(&octets)?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        key.verify(&octets, &signature)?;
        count += 1;
    }
    let floor = rate(count, begun.elapsed());
    let begun = Instant::now();
    let mut count = 0;
    for results in &batches {
        for answer in site.authority()?.record_results(results)? {
            answer?;
            count += 1;
        }
    }
    let per_second = rate(count, begun.elapsed());
    Ok(Verifying {
        per_second,
        floor_per_second: floor,
        ratio: per_second / floor,
    })
}

impl Report {
    fn to_text(&self) -> String {
        let mut table = Table::new(&[
            "where",
            "questions at a time",
            "signatures in each",
            "signatures/s",
            "bare",
            "ratio",
            "CPU of each",
            "answer: median",
            "99 %",
        ]);
        let places = [
            ("this process", &self.in_process),
            ("over the socket", &self.over_socket),
        ];
        for (place, rows) in places {
            for row in rows {
                table.row([
                    place.to_owned(),
                    row.in_flight.to_string(),
                    row.references.to_string(),
                    grouped(row.per_second),
                    grouped(row.floor_per_second),
                    format!("{:.0} %", 100.0 * row.ratio),
                    format!("{:.0} µs", row.cpu_micros),
                    format!("{} µs", grouped(row.median_micros)),
                    format!("{} µs", grouped(row.p99_micros)),
                ]);
            }
        }
        let Self {
            verifying, record, ..
        } = self;
        let best = self.over_socket.iter().map(|row| row.ratio);
        let best = best.fold(0.0, f64::max);
        let aim = if best >= 0.5 { "met" } else { "MISSED" };
        format!(
            "Machine: {}\nSet-up:  {} associated devices; every signature has an entry of its own on the disk before it is made; medians of {ROUNDS} rounds\n\n{}\n\
             Aim, at least 50 % of bare signing when batched, over the socket: {aim} ({:.0} %)\n\
             Results verified and recorded, 256 at a time: {}/s, {:.0} % of bare verification ({}/s)\n\
             One entry durable: {} µs (99 %: {} µs); a bare page of 4 KiB: {} µs\n\
             {} entries replayed: {:.1} s, {}/s; a snapshot: {:.1} s; opened with it: {:.1} s\n\
             Verified from the files alone: {:.1} s, {}/s; hashing alone: {}/s\n",
            self.machine.describe(),
            grouped(self.devices.into()),
            table.to_text(),
            100.0 * best,
            grouped(verifying.per_second),
            100.0 * verifying.ratio,
            grouped(verifying.floor_per_second),
            grouped(record.append_median_micros),
            grouped(record.append_p99_micros),
            grouped(record.append_floor_micros),
            grouped(record.entries as f64),
            record.replay_seconds,
            grouped(record.replay_per_second),
            record.snapshot_seconds,
            record.restore_seconds,
            record.verify_seconds,
            grouped(record.verify_per_second),
            grouped(record.hash_per_second),
        )
    }
}
