//! `palisade ledger export`: the record for other systems, entry by entry.

use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::Context;
use ledger::{FolderStore, PublicKey, Reader};

use super::Ending;
use crate::siem;

/// How often a record that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What each entry is written as, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum As {
    /// The entry itself, canonical JSON.
    Entries,
    /// An event of the Open Cybersecurity Schema Framework, JSON.
    Ocsf,
    /// A line of the syslog protocol (RFC 5424).
    Syslog,
}

/// From where on, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What each entry is written as.
    #[arg(long = "as", value_enum, default_value = "ocsf")]
    form: As,
    /// Begin with this entry: after an interruption the one behind the last that arrived.
    #[arg(long, value_name = "ENTRY", default_value_t = 0)]
    from: u64,
    /// Go on as entries are published, until interrupted.
    #[arg(long)]
    follow: bool,
}

pub(super) fn run(args: &Args, files: &FolderStore, key: &PublicKey) -> anyhow::Result<Ending> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut next = args.from;
    loop {
        let reader = Reader::open(files, key).context("the record cannot be read")?;
        let size = reader.checkpoint().size();
        while next < size {
            let line = match args.form {
                As::Entries => {
                    String::from_utf8(reader.octets(next)?).context("an entry is not UTF-8")?
                }
                As::Ocsf => siem::ocsf(&reader.entry(next)?, key.origin()).to_string(),
                As::Syslog => siem::syslog(&reader.entry(next)?, key.origin()),
            };
            if writeln!(out, "{line}").is_err() {
                // Whoever read it has enough.
                return Ok(Ending::Done);
            }
            next += 1;
        }
        if out.flush().is_err() || !args.follow {
            return Ok(Ending::Done);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
