//! What ESipa costs: empty polls against a bare server, complete package cycles against their cryptography, memory and disk
//! for each device.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use intent::command::Command;
use pki::{PrivateKey, Signer};
use serde::Serialize;

use super::figures::{grouped, median, micros_each, rate};
use super::load::{self, Done, ICCIDS, Job, Load, Work};
use super::servers::{self, Answer, Running};
use super::site::{self, Site};
use super::usage::{self, CpuTimes, Machine};
use crate::output::{self, Table};

/// How much is measured.
pub(crate) struct Options {
    /// Devices registered.
    pub(crate) devices: u32,
    /// Connections of the client to each server.
    pub(crate) connections: u16,
    /// Time for empty polls, both servers together.
    pub(crate) seconds: u32,
    /// Package cycles in one round.
    pub(crate) cycles: u32,
    /// Where the database is; in the system's temporary folder if absent.
    pub(crate) directory: Option<PathBuf>,
    /// Print JSON.
    pub(crate) json: bool,
}

/// Pairs of rounds, one with the eIM and one with what it is compared to.
const ROUNDS: u32 = 5;
/// Signatures made and verified in one round.
const SIGNATURES: u32 = 2_000;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let report = Bench::prepare(options)?.measure(options)?;
    if options.json {
        output::print_json(&report)
    } else {
        output::print(&report.to_text())
    }
}

struct Bench {
    machine: Machine,
    site: Site,
    eim: Running,
    bare: Running,
    load: Load,
    registration: Registration,
    memory: Memory,
}

impl Bench {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        let machine = Machine::look();
        let directory = options.directory.clone().unwrap_or_else(std::env::temp_dir);
        let site = Site::new(&directory)?;
        let empty = usage::resident()?;
        output::note(&format!("registering {} devices ...", options.devices));
        let begun = Instant::now();
        site.register(options.devices)?;
        let registration = Registration {
            per_second: rate(options.devices.into(), begun.elapsed()),
        };
        let registered = usage::resident()?;

        let eim = servers::start_eim(&site)?;
        let poll = load::poll(site::eid(0)?);
        let answer = Answer::of(&eim, site.tls_pin(), poll)?;
        let bare = servers::start_bare(site.tls()?, answer)?;
        let mut this = Self {
            machine,
            site,
            eim,
            bare,
            load: Load::start()?,
            registration,
            memory: Memory {
                empty,
                registered,
                polled: 0,
                written: 0,
                answered: 0,
                answered_devices: 0,
            },
        };
        for work in [Work::Connect, Work::PollEach] {
            this.on_eim(options, options.devices, work)?;
        }
        this.memory.polled = usage::resident()?;
        this.site.flush()?;
        this.memory.written = usage::resident()?;
        this.on_bare(options, Work::Connect)?;
        Ok(this)
    }

    fn measure(mut self, options: &Options) -> anyhow::Result<Report> {
        let polls = self.polls(options)?;
        let database = self.site.database_octets()?;
        let cycles = self.cycles(options)?;
        Ok(Report {
            machine: self.machine,
            set_up: SetUp {
                devices: options.devices,
                connections: options.connections,
                rounds: ROUNDS,
                durability: "full: every transaction is on the disk before it is answered",
            },
            disk_octets_per_device: database as f64 / f64::from(options.devices),
            registration: self.registration,
            polls,
            cycles,
            memory: self.memory,
        })
    }

    /// Rounds of empty polls in turns, so that what else the machine does falls on both.
    fn polls(&mut self, options: &Options) -> anyhow::Result<Polls> {
        output::note("empty polls ...");
        let millis = u64::from(options.seconds) * 1000 / u64::from(2 * ROUNDS);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            // What the round before left is written in this one, as `palisade serve` does every few seconds.
            let eim = std::sync::Arc::clone(&self.site.eim);
            let written = self.eim.beside(async move { eim.flush_contacts().await });
            let with_eim = self.on_eim(options, options.devices, Work::PollFor(millis))?;
            self.eim.join(written)??;
            let bare = self.on_bare(options, Work::PollFor(millis))?;
            rounds.push((with_eim, bare));
        }
        Ok(Polls::of(&rounds))
    }

    /// Rounds of package cycles, each with a round of bare cryptography.
    fn cycles(&mut self, options: &Options) -> anyhow::Result<Cycles> {
        let devices = options.cycles.min(options.devices);
        let key = self.site.euicc_key().to_pkcs8_pem()?.to_string();
        let before = usage::resident()?;
        output::note("package cycles ...");
        // The first result of a device also has its chain verified, and fills its list of profiles.
        self.site
            .propose(devices, options.devices, &[Command::ListProfiles])?;
        let cycle = || Work::Cycle {
            euicc_key: key.clone(),
        };
        let first = self.on_eim(options, devices, cycle())?;
        self.memory.answered = usage::resident()?.saturating_sub(before);
        self.memory.answered_devices = devices;

        let mut rounds = Vec::new();
        for iccid in ICCIDS.iter().cycle().take(usize::try_from(ROUNDS)?) {
            let enable = Command::Enable {
                iccid: iccid.parse()?,
                rollback: false,
            };
            self.site.propose(devices, options.devices, &[enable])?;
            let round = self.on_eim(options, devices, cycle())?;
            let (sign, verify) = cryptography(self.site.signing_key(), self.site.euicc_key())?;
            rounds.push((round, sign, verify));
        }
        Ok(Cycles::of(&first, &rounds))
    }

    fn on_eim(&mut self, options: &Options, devices: u32, work: Work) -> anyhow::Result<Round> {
        self.load_on(options, devices, work, Side::Eim)
    }

    fn on_bare(&mut self, options: &Options, work: Work) -> anyhow::Result<Round> {
        self.load_on(options, options.devices, work, Side::Bare)
    }

    fn load_on(
        &mut self,
        options: &Options,
        devices: u32,
        work: Work,
        side: Side,
    ) -> anyhow::Result<Round> {
        let server = match side {
            Side::Eim => &self.eim,
            Side::Bare => &self.bare,
        };
        let job = Job {
            address: server.address,
            pin: hex::encode(self.site.tls_pin()),
            connections: options.connections.into(),
            devices,
            registered: options.devices,
            work,
        };
        let before = CpuTimes::now()?;
        let done = self.load.run(&job)?;
        let cpu = CpuTimes::now()?.since(&before, server.threads);
        Ok(Round { done, cpu })
    }
}

#[derive(Clone, Copy)]
enum Side {
    Eim,
    Bare,
}

/// One job, with the CPU time of the server.
struct Round {
    done: Done,
    cpu: Duration,
}

impl Round {
    fn per_second(&self) -> f64 {
        rate(self.done.count, self.done.elapsed)
    }

    fn cpu_micros(&self) -> f64 {
        micros_each(self.cpu, self.done.count)
    }

    /// CPUs in use.
    fn busy(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.done.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// CPU microseconds of one signature and of one verification, P-256, over as many octets as packages and results have.
fn cryptography(signing: &PrivateKey, verifying: &PrivateKey) -> anyhow::Result<(f64, f64)> {
    let message = [0x30; 120];
    let signature = verifying.sign(&message)?;
    let public = verifying.public_key();
    let begun = usage::this_thread()?;
    for _ in 0..SIGNATURES {
        std::hint::black_box(signing.sign(std::hint::black_box(&message))?);
    }
    let signed = usage::this_thread()?;
    for _ in 0..SIGNATURES {
        public
            .verify(std::hint::black_box(&message), &signature)
            .context("a bad signature")?;
    }
    let verified = usage::this_thread()?;
    let count = SIGNATURES.into();
    Ok((
        micros_each(signed - begun, count),
        micros_each(verified - signed, count),
    ))
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    set_up: SetUp,
    registration: Registration,
    polls: Polls,
    cycles: Cycles,
    memory: Memory,
    /// Of the packed database, with certificates.
    disk_octets_per_device: f64,
}

#[derive(Debug, Serialize)]
struct SetUp {
    devices: u32,
    connections: u16,
    rounds: u32,
    durability: &'static str,
}

#[derive(Debug, Serialize)]
struct Registration {
    per_second: f64,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
struct Polls {
    per_second: f64,
    bare_per_second: f64,
    /// Of the rates, in one pair of rounds.
    ratio: f64,
    cpu_micros: f64,
    bare_cpu_micros: f64,
    /// Bare CPU time through that of the eIM.
    cpu_ratio: f64,
    /// CPUs that each server used: near 1, it and not the client set the pace.
    busy: f64,
    bare_busy: f64,
    client_busy: f64,
}

impl Polls {
    fn of(rounds: &[(Round, Round)]) -> Self {
        let over =
            |figure: &dyn Fn(&(Round, Round)) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            per_second: over(&|(eim, _)| eim.per_second()),
            bare_per_second: over(&|(_, bare)| bare.per_second()),
            ratio: over(&|(eim, bare)| eim.per_second() / bare.per_second()),
            cpu_micros: over(&|(eim, _)| eim.cpu_micros()),
            bare_cpu_micros: over(&|(_, bare)| bare.cpu_micros()),
            cpu_ratio: over(&|(eim, bare)| bare.cpu_micros() / eim.cpu_micros()),
            busy: over(&|(eim, _)| eim.busy(eim.cpu)),
            bare_busy: over(&|(_, bare)| bare.busy(bare.cpu)),
            client_busy: over(&|(eim, _)| eim.busy(eim.done.cpu)),
        }
    }
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
struct Cycles {
    per_second: f64,
    cpu_micros: f64,
    sign_micros: f64,
    verify_micros: f64,
    /// CPU time of a cycle through that of one signature and one verification.
    ratio: f64,
    /// Of each device's first cycle, which lists profiles and verifies two more certificates.
    first_cpu_micros: f64,
}

impl Cycles {
    fn of(first: &Round, rounds: &[(Round, f64, f64)]) -> Self {
        let over = |figure: &dyn Fn(&(Round, f64, f64)) -> f64| {
            median(rounds.iter().map(figure).collect())
        };
        Self {
            per_second: over(&|(round, ..)| round.per_second()),
            cpu_micros: over(&|(round, ..)| round.cpu_micros()),
            sign_micros: over(&|(_, sign, _)| *sign),
            verify_micros: over(&|(.., verify)| *verify),
            ratio: over(&|(round, sign, verify)| round.cpu_micros() / (sign + verify)),
            first_cpu_micros: first.cpu_micros(),
        }
    }
}

/// Resident octets of the process.
#[derive(Debug, Serialize)]
struct Memory {
    /// With an empty database.
    empty: u64,
    /// After all devices were registered.
    registered: u64,
    /// After one poll of each.
    polled: u64,
    /// After the polls were written.
    written: u64,
    /// More, after one result of some devices each.
    answered: u64,
    answered_devices: u32,
}

impl Report {
    fn to_text(&self) -> String {
        let Self {
            set_up,
            polls,
            cycles,
            memory,
            ..
        } = self;
        let devices = f64::from(set_up.devices);
        let micros = |value: f64| format!("{value:.1} µs");
        let each = |more: u64, of: f64| format!("{} octets", grouped(more as f64 / of.max(1.0)));
        let mut table = Table::new(&["what", "palisade", "floor", "ratio", "aim"]);
        let aim = |met: bool, aim: &str| format!("{aim}: {}", if met { "met" } else { "MISSED" });
        table.row([
            "empty polls a second".to_owned(),
            grouped(polls.per_second),
            format!("{} (bare server)", grouped(polls.bare_per_second)),
            format!("{:.0} %", polls.ratio * 100.0),
            aim(polls.ratio >= 0.7, "at least 70 %"),
        ]);
        table.row([
            "server CPU of an empty poll".to_owned(),
            micros(polls.cpu_micros),
            micros(polls.bare_cpu_micros),
            format!("{:.2} x", 1.0 / polls.cpu_ratio),
            String::new(),
        ]);
        table.row([
            "server CPU of a package cycle".to_owned(),
            micros(cycles.cpu_micros),
            format!(
                "{} (sign {:.1} + verify {:.1})",
                micros(cycles.sign_micros + cycles.verify_micros),
                cycles.sign_micros,
                cycles.verify_micros
            ),
            format!("{:.2} x", cycles.ratio),
            aim(cycles.ratio <= 2.0, "at most 2 x"),
        ]);
        table.row([
            "package cycles a second".to_owned(),
            grouped(cycles.per_second),
        ]);
        table.row([
            "CPU of a device's first cycle".to_owned(),
            micros(cycles.first_cpu_micros),
        ]);
        table.row([
            "registrations a second".to_owned(),
            grouped(self.registration.per_second),
        ]);
        table.row([
            "memory of a registered device".to_owned(),
            each(memory.registered.saturating_sub(memory.empty), devices),
        ]);
        table.row([
            "memory more, once it has polled".to_owned(),
            each(memory.polled.saturating_sub(memory.registered), devices),
        ]);
        table.row([
            "memory more, once it has answered".to_owned(),
            each(memory.answered, memory.answered_devices.into()),
        ]);
        table.row([
            "disk of a registered device".to_owned(),
            format!("{} octets", grouped(self.disk_octets_per_device)),
        ]);
        format!(
            "Machine: {}\nSet-up:  {} devices; {} kept-alive TLS connections (HTTP/1.1) from one thread of a process of its own;\n         \
             each server has one thread, the eIM's store one more; medians of {} rounds in turns\n         \
             CPUs used during polls: eIM {:.2}, bare server {:.2}, client {:.2}\n         durability {}\n\n{}",
            self.machine.describe(),
            grouped(devices),
            set_up.connections,
            set_up.rounds,
            polls.busy,
            polls.bare_busy,
            polls.client_busy,
            set_up.durability,
            table.to_text()
        )
    }
}
