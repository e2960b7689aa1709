use std::path::PathBuf;

use anyhow::Context;

use super::Ending;
use crate::authority::{self, AuthorityFolder, Options, PinRefused};
use crate::config::File;
use crate::logging::{self, LogFormat};

/// Run the authority: it decides who may change what, keeps the record, and alone can sign.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Folder of the authority, which `palisade init` made.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "PALISADE_AUTHORITY_DATA",
        default_value = "palisade-data/authority"
    )]
    data: PathBuf,
    /// Configuration file [default: palisade.toml in the folder].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A checkpoint that the ledger has to continue, as an eIM keeps it (`authority-checkpoint` in its data folder).
    #[arg(long, value_name = "FILE")]
    remembered: Option<PathBuf>,
    /// Take orders from the standard input and stop when it is closed: how `palisade serve` starts it.
    #[arg(long, hide = true)]
    supervised: bool,
    /// Level of the log, or list of levels by module [default: info].
    #[arg(long, value_name = "FILTER", env = "PALISADE_LOG")]
    log: Option<String>,
    /// How log lines look [default: text].
    #[arg(long, value_enum, env = "PALISADE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

const LONG_ABOUT: &str = "\
Run the authority: it decides who may change what, keeps the record, and alone can sign.

`palisade serve` starts one beside the eIM, so this command is needed only to run it under another
user or on another host. It listens on `authority.sock` in its folder for the same user, and with
[authority] listen, tls_certificate, tls_key and client_ca in its palisade.toml for eIMs on other
hosts, which show a certificate.

Ends on SIGINT and SIGTERM: the ledger is published and a snapshot written. It ends with an error
when the record does not add up (it says what and where) or cannot be written, because then nothing
may be signed. On SIGHUP the CIs of eUICCs with their CRLs, signing keys and certificates are read
again.";

const AFTER_HELP: &str = "\
Examples:
  palisade authority --data /var/lib/palisade-authority
  palisade authority --data eim/authority --remembered eim/authority-checkpoint";

pub(crate) fn run(args: Args) -> anyhow::Result<Ending> {
    let folder = AuthorityFolder::existing(&args.data)?;
    let mut file = match &args.config {
        Some(path) => File::load(path)?,
        None => folder.settings()?,
    };
    if let Some(filter) = args.log {
        file.log.filter = filter;
    }
    if let Some(format) = args.log_format {
        file.log.format = format;
    }
    logging::start(&file.log.filter, file.log.format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let options = Options {
        folder,
        file,
        remembered: args.remembered,
        supervised: args.supervised,
    };
    let ended = runtime.block_on(authority::run(options));
    // A read of the standard input may still be under way, which nothing can interrupt.
    runtime.shutdown_background();
    match ended {
        Err(error) if args.supervised && error.is::<PinRefused>() => {
            super::report(&error);
            Ok(Ending::NotAgain)
        }
        ended => ended.map(|()| Ending::Done),
    }
}
