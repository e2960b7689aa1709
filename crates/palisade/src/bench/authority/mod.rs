//! The authority: signatures behind durable entries, beside the bare signatures; verification beside the bare verification;
//! and how long it takes to read the record again.

mod site;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use authority::service::Authority;
use intent::api::{Account, BATCH_MAX, Reference};
use pki::Signer;
use rsp::ids::Eid;
use serde::Serialize;

use super::figures::{grouped, median, micros_each, rate};
use super::usage::{Machine, this_process};
use crate::output::{self, Table};
use site::Site;

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

/// Threads that ask for one signature at a time each.
const IN_FLIGHT: [usize; 3] = [1, 10, 100];

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::look();
    let site = Site::new(options.devices, options.directory.as_deref())?;
    let time = Duration::from_secs(options.seconds.into());
    let mut report = Report {
        machine,
        devices: options.devices,
        signing_floor: signing_floor(&site, time)?,
        signing: Vec::new(),
        append_floor_micros: append_floor(&site)?,
        verifying_floor: 0.0,
        verifying: 0.0,
        entries: 0,
        replay_seconds: 0.0,
        snapshot_seconds: 0.0,
        restore_seconds: 0.0,
    };
    let numbers = AtomicU64::new(0);
    for threads in IN_FLIGHT {
        let asking = Asking {
            threads,
            references: 1,
        };
        let row = asking.measure(&site.authority, &site.eids, &numbers, time)?;
        report.signing.push(row);
    }
    for threads in [1, 2] {
        let asking = Asking {
            threads,
            references: 100,
        };
        let row = asking.measure(&site.authority, &site.eids, &numbers, time)?;
        report.signing.push(row);
    }
    (report.verifying_floor, report.verifying) = verifying(&site, &numbers)?;
    let (entries, replay, snapshot, restore) = site.read_again(options.entries.into())?;
    report.entries = entries;
    report.replay_seconds = replay.as_secs_f64();
    report.snapshot_seconds = snapshot.as_secs_f64();
    report.restore_seconds = restore.as_secs_f64();
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
    /// Bare signatures a second of one thread.
    signing_floor: f64,
    signing: Vec<Row>,
    /// A write of 4 KiB and its sync, on the same disk.
    append_floor_micros: f64,
    /// Bare verifications a second of one thread.
    verifying_floor: f64,
    /// Results a second that were verified and recorded.
    verifying: f64,
    /// Entries that were read again.
    entries: u64,
    replay_seconds: f64,
    snapshot_seconds: f64,
    restore_seconds: f64,
}

/// One way of asking.
#[derive(Debug, Serialize)]
struct Row {
    /// Threads that ask.
    in_flight: usize,
    /// Signatures in each question.
    references: usize,
    /// Signatures a second.
    per_second: f64,
    /// Of the whole process, for one signature.
    cpu_micros: f64,
    /// From question to answer.
    median_micros: f64,
    /// Of a hundred questions, one takes longer.
    p99_micros: f64,
}

struct Asking {
    threads: usize,
    references: usize,
}

impl Asking {
    /// Asks for `time`. Every reference is a new one: each answer is a new entry and a new signature.
    fn measure(
        &self,
        authority: &Authority,
        eids: &[Eid],
        numbers: &AtomicU64,
        time: Duration,
    ) -> anyhow::Result<Row> {
        let stop = AtomicBool::new(false);
        let cpu = this_process()?;
        let begun = Instant::now();
        let asked: Vec<anyhow::Result<Vec<f64>>> = std::thread::scope(|scope| {
            let ask = || {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let references = fresh(eids, numbers, self.references);
                        let asked = Instant::now();
                        for answer in authority.sign(references)? {
                            answer?;
                        }
                        times.push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                    Ok(times)
                })
            };
            let threads: Vec<_> = (0..self.threads).map(|_| ask()).collect();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread broke off")))
            };
            threads.into_iter().map(join).collect()
        });
        let elapsed = begun.elapsed();
        let cpu = this_process()?.saturating_sub(cpu);
        let mut times = Vec::new();
        for asked in asked {
            times.extend(asked?);
        }
        times.sort_by(f64::total_cmp);
        let signatures = times.len() as u64 * self.references as u64;
        Ok(Row {
            in_flight: self.threads,
            references: self.references,
            per_second: rate(signatures, elapsed),
            cpu_micros: micros_each(cpu, signatures),
            median_micros: median(times.clone()),
            p99_micros: times
                .get(times.len() * 99 / 100)
                .copied()
                .unwrap_or(f64::NAN),
        })
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

/// Bare signatures over as many octets.
fn signing_floor(site: &Site, time: Duration) -> anyhow::Result<f64> {
    let octets = [0x5A; 150];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        site.signing_key.sign(&octets)?;
        count += 1;
    }
    Ok(rate(count, begun.elapsed()))
}

/// What making one page durable costs on this disk: the median.
fn append_floor(site: &Site) -> anyhow::Result<f64> {
    use std::io::{Seek, SeekFrom, Write};
    const ROUNDS: u32 = 200;
    let mut file = std::fs::File::create(site.folder.path().join("floor"))
        .context("the disk cannot be measured")?;
    file.write_all(&[0; 4_096])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let begun = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[u8::try_from(round % 256)?; 4_096])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

/// Bare verifications a second, and results a second that are verified and recorded.
fn verifying(site: &Site, numbers: &AtomicU64) -> anyhow::Result<(f64, f64)> {
    const ROUNDS: usize = 8;
    let mut batches = Vec::new();
    for _ in 0..ROUNDS {
        let references = fresh(&site.eids, numbers, BATCH_MAX.min(site.eids.len()));
        let signed = site.authority.sign(references.clone())?;
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
        for answer in site.authority.record_results(results)? {
            answer?;
            count += 1;
        }
    }
    Ok((floor, rate(count, begun.elapsed())))
}

impl Report {
    fn to_text(&self) -> String {
        let headings = [
            "in flight",
            "in one call",
            "signatures/s",
            "of bare signing",
            "CPU µs each",
            "median µs",
            "p99 µs",
        ];
        let mut table = Table::new(&headings);
        for row in &self.signing {
            table.row([
                row.in_flight.to_string(),
                row.references.to_string(),
                grouped(row.per_second),
                format!("{:.0} %", 100.0 * row.per_second / self.signing_floor),
                format!("{:.0}", row.cpu_micros),
                grouped(row.median_micros),
                grouped(row.p99_micros),
            ]);
        }
        format!(
            "Machine: {}\n{} devices. Bare signing, one thread: {}/s. A durable page: {} µs.\n\n{}\n\
             Results verified and recorded: {}/s, bare verification {}/s ({:.0} %).\n\
             {} entries: replayed in {:.1} s, snapshot written in {:.1} s, opened with it in {:.1} s.\n",
            self.machine.describe(),
            self.devices,
            grouped(self.signing_floor),
            grouped(self.append_floor_micros),
            table.to_text(),
            grouped(self.verifying),
            grouped(self.verifying_floor),
            100.0 * self.verifying / self.verifying_floor,
            grouped(self.entries as f64),
            self.replay_seconds,
            self.snapshot_seconds,
            self.restore_seconds,
        )
    }
}
