use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use ipa::{Config, Event, Ipa, NotificationRoute, Parts};
use rsp::binding::http::Binding;
use rsp::ids::Iccid;
use serde_json::json;

use super::Ending;
use super::eim::read_configuration;
use crate::adapters::{
    FileMemory, HttpsNetwork, ProfileConnectivity, SoftCard, SystemClock, SystemEntropy,
};
use crate::logging::{self, LogFormat};
use crate::output::{self, Format};
use crate::trust;

/// Run an IoT Profile Assistant on a software eUICC, against real servers.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Run an IoT Profile Assistant (IPAd) on a software eUICC: it polls the eIMs that the eUICC is
associated with, carries their packages to the card and the results back, and downloads profiles.

An eIM is trusted by what its association data say, an SM-DP+ by the roots given with --trust.";

const AFTER_HELP: &str = "\
Examples:
  palisade ipa add-initial-eim --euicc card --association-data association.der
  palisade ipa run --euicc card --once
  palisade ipa run --euicc card --trust pki/tls-ca.der --resolve smdp.example.com=127.0.0.1:8444";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(RunArgs),
    /// Associate the first eIMs with the eUICC (AddInitialEim), and print the association tokens.
    ///
    /// Possible only while the eUICC has no eIM. The tokens can be given to `palisade device register`, so that the eIM need
    /// not learn them.
    #[command(
        after_help = "Examples:\n  palisade ipa add-initial-eim --euicc card --association-data association.der"
    )]
    AddInitialEim {
        #[command(flatten)]
        card: CardArgs,
        /// eIM Configuration Data: a file with DER or hexadecimal, or hexadecimal itself; may be given several times.
        #[arg(long, required = true, value_name = "FILE|HEX")]
        association_data: Vec<String>,
    },
}

/// Which device.
#[derive(Debug, clap::Args)]
struct CardArgs {
    /// Folder of the card, which `palisade euicc new` made. The IPA remembers its state there too.
    #[arg(long, value_name = "FOLDER", env = "PALISADE_EUICC")]
    euicc: PathBuf,
}

/// Poll, again and again or once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  palisade ipa run --euicc card --once\n  palisade ipa run --euicc card --interval 30 --trust pki/tls-ca.der\n  palisade ipa run --euicc card --once --no-connectivity 89000123456789012341   # to see a rollback"
)]
struct RunArgs {
    #[command(flatten)]
    card: CardArgs,
    /// One session, with everything that waits, and no more.
    #[arg(long)]
    once: bool,
    /// Seconds between polls.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=2_592_000))]
    interval: u64,
    /// Root of the TLS certificates of SM-DP+s and SM-DSs, or a folder of them; may be given several times.
    #[arg(long, value_name = "FILE|FOLDER")]
    trust: Vec<PathBuf>,
    /// Connect to this address instead of asking the name service for a host; may be given several times.
    #[arg(long, value_name = "HOST=ADDRESS:PORT", value_parser = super::shared::parse_resolve)]
    resolve: Vec<(String, SocketAddr)>,
    /// Function binding towards eIMs.
    #[arg(long, value_enum, default_value_t)]
    binding: BindingName,
    /// Download through the eIM only, as a device that reaches nothing else.
    #[arg(long)]
    indirect_only: bool,
    /// A profile with which this device has no connectivity; may be given several times.
    #[arg(long, value_name = "ICCID")]
    no_connectivity: Vec<Iccid>,
    /// Seconds between attempts to deliver the result of an enabling with rollback, and between attempts after failures.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    retry: u64,
    /// Level of the log, or list of levels by module.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn",
        env = "PALISADE_LOG"
    )]
    log: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t, env = "PALISADE_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum BindingName {
    #[default]
    Asn1,
    Json,
}

type Device = Ipa<SoftCard, HttpsNetwork, ProfileConnectivity, FileMemory>;

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Run(args) => poll(&args, format),
        Command::AddInitialEim {
            card,
            association_data,
        } => add_initial_eim(&card.euicc, &association_data, format).map(|()| Ending::Done),
    }
}

fn device(
    card: &Path,
    config: Config,
    network: HttpsNetwork,
    without: Vec<Iccid>,
) -> anyhow::Result<Device> {
    let soft_card = SoftCard::open(card)?;
    Ok(Ipa::new(
        config,
        Parts {
            connectivity: ProfileConnectivity::new(soft_card.clone(), without),
            card: soft_card,
            network,
            memory: FileMemory::new(card.join("ipa.state")),
        },
    ))
}

fn add_initial_eim(card: &Path, given: &[String], format: Format) -> anyhow::Result<()> {
    let eims = given
        .iter()
        .map(|given| read_configuration(given))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<String> = eims.iter().map(|eim| eim.eim_id.to_string()).collect();
    let network = HttpsNetwork::new(Vec::new(), Vec::new());
    let mut device = device(card, Config::default(), network, Vec::new())?;
    let tokens = device
        .add_initial_eims(eims)
        .context("no eIM was associated")?;
    let eid = device.eid()?;
    match format {
        Format::Json => output::print_json(&json!({
            "eid": eid.to_string(),
            "eims": names.iter().zip(&tokens).map(|(name, token)| json!({ "eim_id": name, "association_token": token })).collect::<Vec<_>>(),
        })),
        Format::Table => {
            let mut table = output::Table::new(&["eim", "association token"]);
            for (name, token) in names.iter().zip(&tokens) {
                table.row([
                    name.clone(),
                    token.map(|token| token.to_string()).unwrap_or_default(),
                ]);
            }
            output::print(&format!("EID {eid}\n\n{}", table.to_text()))
        }
    }
}

fn poll(args: &RunArgs, format: Format) -> anyhow::Result<Ending> {
    logging::start(&args.log, args.log_format)?;
    let mut roots = Vec::new();
    for path in &args.trust {
        roots.extend(trust::read_roots(path)?);
    }
    let mut config = Config {
        esipa_binding: match args.binding {
            BindingName::Asn1 => Binding::Asn1,
            BindingName::Json => Binding::Json,
        },
        indirect_only: args.indirect_only,
        ..Config::default()
    };
    config.timing.poll_interval_ms = args.interval.saturating_mul(1000);
    config.timing.back_off_first_ms = args.retry.saturating_mul(1000);
    config.rollback.retry_ms = args.retry.saturating_mul(1000);
    if args.indirect_only {
        config.notification_route = NotificationRoute::ThroughEim;
    }
    let network = HttpsNetwork::new(roots, args.resolve.clone());
    let mut device = device(
        &args.card.euicc,
        config,
        network,
        args.no_connectivity.clone(),
    )?;
    loop {
        let now_ms = u64::try_from(SystemClock.millis()).unwrap_or_default();
        let wake = device.poll(now_ms, &mut SystemEntropy);
        let events = device.take_events();
        let has_failed = events.iter().any(is_failure);
        for event in &events {
            print_event(event, format)?;
        }
        if args.once {
            return Ok(if has_failed {
                Ending::Failed
            } else {
                Ending::Done
            });
        }
        tracing::info!(after_ms = wake.after_ms, reason = ?wake.reason, "waiting");
        thread::sleep(Duration::from_millis(wake.after_ms));
    }
}

/// Whether something needs looking after.
fn is_failure(event: &Event) -> bool {
    matches!(
        event,
        Event::ServerFailed { .. }
            | Event::DownloadFailed { .. }
            | Event::ResultKept { .. }
            | Event::PackageUnusable { .. }
            | Event::RollbackRefused
    )
}

fn print_event(event: &Event, format: Format) -> anyhow::Result<()> {
    let text = describe(event);
    let at = SystemClock.timestamp();
    match format {
        Format::Table => output::print(&format!("{at:.0}  {}\n", output::printable(&text))),
        Format::Json => output::print(&format!(
            "{}\n",
            json!({ "at": at.to_string(), "event": text, "failed": is_failure(event) })
        )),
    }
}

/// An event in words.
fn describe(event: &Event) -> String {
    match event {
        Event::PackageLoaded {
            eim_id,
            sequence_number: Some(number),
        } => {
            format!("package of {eim_id} loaded; the eUICC's result has number {number}")
        }
        Event::PackageLoaded {
            eim_id,
            sequence_number: None,
        } => {
            format!("package of {eim_id} loaded; the eUICC refused it")
        }
        Event::ResultDelivered { eim_id } => format!("result delivered to {eim_id}"),
        Event::ResultKept { eim_id } => format!("result not taken by {eim_id}; kept"),
        Event::PackageUnusable { eim_id } => format!("package of {eim_id} cannot be used"),
        Event::Removed { sequence_number } => {
            format!("number {sequence_number} removed from the eUICC's list")
        }
        Event::AcknowledgementRefused { sequence_number } => {
            format!("acknowledgement of another eIM's result {sequence_number} refused")
        }
        Event::NotificationDelivered {
            sequence_number,
            through_eim,
        } => {
            format!(
                "notification {sequence_number} delivered{}",
                if *through_eim { " through the eIM" } else { "" }
            )
        }
        Event::DownloadStarted { indirect } => {
            format!(
                "download begun{}",
                if *indirect { " through the eIM" } else { "" }
            )
        }
        Event::DownloadEnded { installed, iccid } => {
            let iccid = iccid.map(|iccid| iccid.to_string()).unwrap_or_default();
            format!(
                "download ended: {} {iccid}",
                if *installed {
                    "installed"
                } else {
                    "NOT installed"
                }
            )
        }
        Event::DownloadFailed { reason } => format!("download failed: {reason}"),
        Event::DownloadPostponed { reason } => format!("download postponed: {reason}"),
        Event::EnabledImmediately => "the new profile was enabled at once".to_owned(),
        Event::CardReset => "card reset".to_owned(),
        Event::RolledBack { eim_id } => {
            format!("ROLLED BACK what {eim_id} had enabled: it had no connectivity")
        }
        Event::RollbackRefused => "the eUICC refused the rollback".to_owned(),
        Event::FallbackExecuted => "fallback profile enabled".to_owned(),
        Event::ReturnedFromFallback => "returned from the fallback profile".to_owned(),
        Event::StateChangeReported { eim_id, cause } => {
            format!("state change ({cause}) reported to {eim_id}")
        }
        Event::ServerFailed { server, reason } => format!("{server} failed: {reason}"),
        other => format!("{other:?}"),
    }
}
