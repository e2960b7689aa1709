use std::path::PathBuf;

use super::Ending;
use crate::demo::{self, DEVICES_MAX, DEVICES_MIN};
use crate::logging::{self, LogFormat};
use crate::output::Format;

/// Run the whole chain on this machine, then attack it.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many devices there are.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(i64::from(DEVICES_MIN)..=i64::from(DEVICES_MAX)))]
    devices: u16,
    /// End after the table; without it the console is served until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Keep PKI, databases and cards in this folder, which must not be there yet or be empty.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Print JSON instead of the table; the same as --output json.
    #[arg(long)]
    json: bool,
    /// Show the log of all components on the standard error, from this level on (warn, info, eim=debug).
    #[arg(long, value_name = "FILTER", env = "PALISADE_LOG")]
    log: Option<String>,
}

const LONG_ABOUT: &str = "\
Run the whole chain on this machine, then attack it.

Makes a private test PKI, starts an SM-DP+ and an eIM behind TLS on the loopback interface, and a
small fleet of devices, each an IPA with a software eUICC. Brings the devices under management,
downloads the GSMA TS.48 v7 test profiles to them, directly and through the eIM, and manages them.
Then it attacks itself: packages, profiles, results, the network, and the authority from a console
and an eIM that were taken over. At the end the record is verified from its files.

One table says what happened. For each attack it names the component and the rule that stopped it,
and whether what eUICCs, eIM, SM-DP+ and authority know is the same as before. Needs no input and no network.

Then it serves the console to browsers on this machine and prints a one-time link with which you enrol a
passkey as an owner: look at what happened, change a SIM, and see it in the record. Ctrl-C ends it.";

const AFTER_HELP: &str = "\
Examples:
  palisade demo
  palisade demo --once --devices 20 --keep /tmp/demo
  palisade demo --once --json | jq '.attacks[] | select(.verdict != \"stopped\")'

Exit status: 0 if every step succeeded and every attack was stopped, else 1.";

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    if let Some(filter) = &args.log {
        logging::start(filter, LogFormat::Text)?;
    }
    let is_good = demo::run(&demo::Options {
        devices: args.devices,
        keep: args.keep,
        json: args.json || format == Format::Json,
        once: args.once,
    })?;
    Ok(if is_good {
        Ending::Done
    } else {
        Ending::Failed
    })
}
