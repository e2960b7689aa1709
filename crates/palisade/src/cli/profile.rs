use intent::Sealed;
use intent::command::{Command as Order, DownloadSource, Route};
use rsp::ids::{Eid, Iccid};
use serde_json::Value;

use super::Ending;
use super::shared::{ChangeArgs, argument_or_stdin, list, text, time, yes};
use crate::output::{self, Format, Table};

/// Download, enable, disable and delete the profiles of a device.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every change becomes an operation: it is signed and handed over when the device polls, and ends with the result that the
eUICC signed. With --wait the command follows it to its end.

Examples:
  palisade profile download <EID> --activation-code '1$smdp.example.com$MATCHING-ID' --wait
  palisade profile enable <EID> <ICCID> --rollback --wait
  palisade profile list <EID>";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the profiles of a device, as its eUICC last said.
    #[command(
        after_help = "Examples:\n  palisade profile list <EID>\n  palisade profile list <EID> --refresh --wait"
    )]
    List {
        /// The device.
        eid: Eid,
        /// Ask the eUICC (listProfileInfo).
        #[arg(long)]
        refresh: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    Download(DownloadArgs),
    /// Enable a profile. The one that was enabled is disabled by it.
    #[command(after_help = "Examples:\n  palisade profile enable <EID> <ICCID> --rollback --wait")]
    Enable {
        /// The device.
        eid: Eid,
        /// The profile.
        iccid: Iccid,
        /// Let the device return to the old profile when the new one has no connectivity.
        #[arg(long)]
        rollback: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Disable a profile. The device then has no connectivity through this eUICC, unless it has a fallback profile.
    Disable(OneProfile),
    /// Delete a profile. It is gone for good.
    Delete(OneProfile),
    /// Make a profile the fallback profile.
    SetFallback(OneProfile),
    /// Have no fallback profile.
    UnsetFallback(NoProfile),
    /// Read the Rules Authorisation Table of the eUICC.
    Rat(NoProfile),
    ImmediateEnable(ImmediateEnableArgs),
    /// Set the default SM-DP+ address of the eUICC.
    #[command(
        after_help = "Examples:\n  palisade profile set-default-smdp <EID> smdp.example.com\n  palisade profile set-default-smdp <EID> ''   # removes it"
    )]
    SetDefaultSmdp {
        /// The device.
        eid: Eid,
        /// Host name; empty removes it.
        address: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, clap::Args)]
struct OneProfile {
    /// The device.
    eid: Eid,
    /// The profile.
    iccid: Iccid,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct NoProfile {
    /// The device.
    eid: Eid,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Download a profile to a device.
///
/// Directly, the device talks to the SM-DP+ itself and is told the activation code. Indirectly, this eIM relays between
/// device and SM-DP+, for devices that reach nothing else; the activation code stays here.
#[derive(Debug, clap::Args)]
#[command(after_help = DOWNLOAD_AFTER_HELP)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["activation_code", "default_smdp", "smds"]))]
struct DownloadArgs {
    /// The device.
    eid: Eid,
    /// SGP.22 activation code, with or without `LPA:`; `-` reads it from the standard input.
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    activation_code: Option<String>,
    /// From the default SM-DP+ of the eUICC.
    #[arg(long)]
    default_smdp: bool,
    /// Ask an SM-DS; without an address the root SM-DS of the eUICC.
    #[arg(long, value_name = "HOST", num_args = 0..=1, default_missing_value = "")]
    smds: Option<String>,
    /// Relay through this eIM.
    #[arg(long)]
    indirect: bool,
    /// Confirmation code, where the SM-DP+ asks for one; `-` reads it from the standard input.
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    confirmation_code: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

const DOWNLOAD_AFTER_HELP: &str = "\
Examples:
  palisade profile download <EID> --activation-code '1$smdp.example.com$MATCHING-ID' --wait
  palisade profile download <EID> --activation-code - --indirect --wait < code.txt
  palisade profile download <EID> --default-smdp

An activation code on the command line can be seen by others on this machine while the command runs.";

/// Allow or forbid that the IPA enables a profile right after its download.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("switch").required(true).args(["on", "off"]))]
struct ImmediateEnableArgs {
    /// The device.
    eid: Eid,
    /// Allow it.
    #[arg(long)]
    on: bool,
    /// Forbid it.
    #[arg(long)]
    off: bool,
    /// Only for profiles of the SM-DP+ with this OID.
    #[arg(long, value_name = "OID")]
    smdp_oid: Option<String>,
    /// Only for profiles of the SM-DP+ with this address.
    #[arg(long, value_name = "HOST")]
    smdp_address: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::List {
            eid,
            refresh: true,
            change,
        } => change.propose(eid, &[Order::ListProfiles], format),
        Command::List {
            eid,
            refresh: false,
            change,
        } => {
            let profiles = change
                .asking
                .data
                .server()?
                .get(&format!("/v1/devices/{eid}/profiles"))?;
            print_list(&profiles, format)?;
            Ok(Ending::Done)
        }
        Command::Download(args) => download(&args, format),
        Command::Enable {
            eid,
            iccid,
            rollback,
            change,
        } => change.propose(eid, &[Order::Enable { iccid, rollback }], format),
        Command::Disable(one) => one.propose(format, |iccid| Order::Disable { iccid }),
        Command::Delete(one) => one.propose(format, |iccid| Order::Delete { iccid }),
        Command::SetFallback(one) => one.propose(format, |iccid| Order::SetFallback { iccid }),
        Command::UnsetFallback(none) => {
            none.change
                .propose(none.eid, &[Order::UnsetFallback], format)
        }
        Command::Rat(none) => none.change.propose(none.eid, &[Order::GetRat], format),
        Command::ImmediateEnable(args) => {
            let order = Order::ConfigureImmediateEnable {
                enabled: args.on,
                smdp_oid: args.smdp_oid,
                smdp_address: args.smdp_address,
            };
            args.change.propose(args.eid, &[order], format)
        }
        Command::SetDefaultSmdp {
            eid,
            address,
            change,
        } => {
            if !address.is_empty() && crate::config::check_host(&address).is_err() {
                return Err(super::usage(format!("{address:?} is not a host name")));
            }
            change.propose(eid, &[Order::SetDefaultSmdp { address }], format)
        }
    }
}

impl OneProfile {
    fn propose(
        &self,
        format: Format,
        order: impl FnOnce(Iccid) -> Order,
    ) -> anyhow::Result<Ending> {
        self.change.propose(self.eid, &[order(self.iccid)], format)
    }
}

fn download(args: &DownloadArgs, format: Format) -> anyhow::Result<Ending> {
    let source = match (&args.activation_code, &args.smds) {
        (Some(code), _) => {
            DownloadSource::activation_code(&argument_or_stdin(code, "activation code")?)?
        }
        (None, Some(address)) => {
            DownloadSource::Smds((!address.is_empty()).then(|| address.clone()))
        }
        (None, None) => DownloadSource::DefaultSmdp,
    };
    let confirmation_code = args.confirmation_code.as_deref();
    let order = Order::Download {
        source,
        route: if args.indirect {
            Route::Indirect
        } else {
            Route::Direct
        },
        confirmation_code: confirmation_code
            .map(|code| argument_or_stdin(code, "confirmation code").map(Sealed::Open))
            .transpose()?,
    };
    args.change.propose(args.eid, &[order], format)
}

/// The `profiles` of an answer.
pub(crate) fn table(answer: &Value) -> Table {
    let mut table = Table::new(&[
        "iccid", "state", "class", "provider", "name", "fallback", "rules", "as of",
    ]);
    for profile in list(answer, "profiles") {
        let state = if yes(profile, "enabled").is_empty() {
            "disabled"
        } else {
            "enabled"
        };
        let nickname = text(profile, "nickname");
        let name = if nickname.is_empty() {
            text(profile, "name")
        } else {
            nickname
        };
        table.row([
            text(profile, "iccid"),
            state,
            text(profile, "class"),
            text(profile, "provider"),
            name,
            yes(profile, "fallback_attribute"),
            text(profile, "policy_rules"),
            &time(profile, "updated_at"),
        ]);
    }
    table
}

fn print_list(answer: &Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::print_json(answer);
    }
    let table = table(answer);
    output::print(&match table.is_empty() {
        true => "no profiles are known; ask the eUICC with --refresh\n".to_owned(),
        false => table.to_text(),
    })
}
