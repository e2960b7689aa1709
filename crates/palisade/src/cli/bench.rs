use std::path::PathBuf;

use super::Ending;
use super::shared::DataFolder;
use crate::bench::{self, AuthorityOptions, EsipaOptions, SeedOptions};
use crate::output::Format;

/// Measure speed and memory on this machine, as ratios to what cannot be avoided.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Measure speed and memory on this machine, as ratios to what cannot be avoided.

Each figure stands beside a floor that is measured in the same run: a bare server of the same
libraries, the signatures alone, a plain walk over the same octets. Build with --release, and leave
the machine alone while it runs. docs/performance.md explains the figures.";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Authority(Authority),
    Esipa(Esipa),
    Codec(Codec),
    Seed(Seed),
    /// Loads a server that a measurement names on the standard input.
    #[command(hide = true)]
    Load,
}

/// Measure the authority: signatures behind durable entries, verification, reading the record again.
#[derive(Debug, clap::Args)]
#[command(long_about = AUTHORITY_LONG_ABOUT)]
struct Authority {
    /// Devices to associate first.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    devices: u32,
    /// Time for each way of asking, beside that for bare signatures.
    #[arg(long, default_value_t = 5, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Entries of the record that is read again.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    entries: u32,
    /// Keep the temporary record in this folder, whose disk then counts.
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Print JSON instead of the table; the same as --output json.
    #[arg(long)]
    json: bool,
}

const AUTHORITY_LONG_ABOUT: &str = "\
Measure the authority: signatures behind durable entries, verification, reading the record again.

Makes an authority in a temporary folder, with devices whose certificates it verified, and asks it for
signatures: in this process, then over the socket of a process of its own, as the eIM does. Each of them
is a new package with an entry of its own that is on the disk first. Beside it, in turns, bare signatures
of one thread. Then the record is made long: how long one more entry takes, opening it without and with a
snapshot, verifying it from its files.";

/// Measure the eIM: empty polls, complete package cycles, memory for each device.
#[derive(Debug, clap::Args)]
#[command(long_about = ESIPA_LONG_ABOUT)]
struct Esipa {
    /// Time for empty polls, the eIM and the bare server together.
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Connections that stay open to each server.
    #[arg(long, default_value_t = 64, value_name = "C", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Devices to register first.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// Package cycles in each round.
    #[arg(long, default_value_t = 4096, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cycles: u32,
    /// Keep the temporary database in this folder, whose disk then counts.
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Print JSON instead of the table; the same as --output json.
    #[arg(long)]
    json: bool,
}

const ESIPA_LONG_ABOUT: &str = "\
Measure the eIM: empty polls, complete package cycles, memory for each device.

Registers devices in a temporary database, serves them over TLS on the loopback interface as
`palisade serve` does, and loads the server from a process of its own. A cycle is: poll, package
signed and stored, result delivered, verified and stored.";

/// Measure reading and writing of each kind of message.
#[derive(Debug, clap::Args)]
struct Codec {
    /// Time for each message and direction.
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    milliseconds: u32,
    /// Print JSON instead of the table; the same as --output json.
    #[arg(long)]
    json: bool,
}

/// Fill the database of an eIM with made-up devices, to measure on.
#[derive(Debug, clap::Args)]
#[command(long_about = SEED_LONG_ABOUT)]
struct Seed {
    #[command(flatten)]
    data: DataFolder,
    /// Devices.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// Events, about: two for each device at least, and three for each operation.
    #[arg(long, default_value_t = 1_000_000, value_name = "M", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    events: u32,
    /// Where made-up numbers begin; the same makes the same fleet.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Print JSON; the same as --output json.
    #[arg(long)]
    json: bool,
}

const SEED_LONG_ABOUT: &str = "\
Fill the database of an eIM with made-up devices, to measure on.

Makes devices in seven fleets, with profiles, contacts, tags, operations and events, in the database
of a data folder whose eIM does not run and has no devices. The authority knows nothing of them: no
package is signed for them, and nothing of it is in the record. Use a data folder that you throw away.";

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    let is_json = |json: bool| json || format == Format::Json;
    match args.command {
        Command::Authority(args) => bench::authority(&AuthorityOptions {
            devices: args.devices,
            seconds: args.seconds,
            entries: args.entries,
            directory: args.directory,
            json: is_json(args.json),
        })?,
        Command::Esipa(args) => bench::esipa(&EsipaOptions {
            devices: args.devices,
            connections: args.connections,
            seconds: args.seconds,
            cycles: args.cycles,
            directory: args.directory,
            json: is_json(args.json),
        })?,
        Command::Codec(args) => bench::codec(args.milliseconds, is_json(args.json))?,
        Command::Seed(args) => bench::seed(&SeedOptions {
            data: args.data.path().to_owned(),
            devices: args.devices,
            events: args.events,
            seed: args.seed,
            json: is_json(args.json),
        })?,
        Command::Load => bench::load()?,
    }
    Ok(Ending::Done)
}
