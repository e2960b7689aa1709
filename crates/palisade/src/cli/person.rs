use authority::genesis::enrolment_code;
use intent::action::Network;
use intent::{Action, Digest, Grant, Principal};
use serde_json::json;

use super::Ending;
use super::asking::{Asking, parse_grant};
use super::duration::Span;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::output::{self, Format, time_of};

/// Let people in, and say what they may do.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Roles, each in all fleets or only in some (operator:meters+cars):
  viewer          sees devices, profiles and operations
  auditor         sees everything, the record included
  operator        proposes operations on devices
  approver        approves what others propose for devices, and freezes
  fleet-admin     registers and retires devices, lets people and machines in to the fleet
  security-admin  administers credentials, policy, freezes and signing keys
  owner           everything

Examples:
  palisade person invite bob --grant approver --grant operator:meters
  palisade person grant bob --grant security-admin
  palisade person revoke bob
  palisade key list";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Invite a person. Prints a one-time code, with which `palisade enrol` makes the passkey.
    ///
    /// For a person who is enrolled already, without --grant: a further passkey.
    Invite {
        /// The person's name.
        name: Principal,
        /// What the person will be; may be given several times.
        #[arg(long, value_name = "ROLE[:FLEET+FLEET]", value_parser = parse_grant)]
        grant: Vec<Grant>,
        /// How long the person may act.
        #[arg(long, value_name = "DURATION", default_value = "365d")]
        expires: Span,
        /// How long the code can be used.
        #[arg(long, value_name = "DURATION", default_value = "7d")]
        code_valid: Span,
        /// From where the person may act; may be given several times [default: anywhere].
        #[arg(long, value_name = "ADDRESS/BITS")]
        network: Vec<Network>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace what a person or machine is.
    Grant {
        /// Who.
        name: Principal,
        /// What they are from now on; may be given several times.
        #[arg(long, required = true, value_name = "ROLE[:FLEET+FLEET]", value_parser = parse_grant)]
        grant: Vec<Grant>,
        #[command(flatten)]
        asking: Asking,
    },
    /// End a person or machine with all keys and passkeys, effective on the very next call.
    Revoke {
        /// Who.
        name: Principal,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Invite {
            name,
            grant,
            expires,
            code_valid,
            network,
            asking,
        } => {
            let now = SystemClock.millis();
            let code = enrolment_code(&SystemEntropy);
            let action = Action::InvitePerson {
                name: name.clone(),
                grants: grant,
                code_sha256: Digest::of(&[code.as_bytes()]),
                code_expires_at: now.saturating_add(code_valid.0),
                expires_at: now.saturating_add(expires.0),
                networks: network,
            };
            let server = asking.data.server()?;
            let asked = asking.ask(&server, action, None)?;
            match format {
                Format::Json => {
                    output::print_json(&json!({ "code": code, "intent": asked.status }))?;
                }
                Format::Table => {
                    asked.say(format)?;
                    output::print(&format!(
                        "\nGive this to {name}; it works once, {until}{after}:\n  palisade enrol --code {code} --name {name}\n",
                        until = format_args!("until {}", time_of(now.saturating_add(code_valid.0))),
                        after = if asked.waits() {
                            ", after the approval"
                        } else {
                            ""
                        },
                    ))?;
                }
            }
            Ok(Ending::Done)
        }
        Command::Grant {
            name,
            grant,
            asking,
        } => asking.ask_and_say(
            Action::SetGrants {
                name,
                grants: grant,
            },
            None,
            format,
        ),
        Command::Revoke { name, asking } => {
            asking.ask_and_say(Action::RevokePrincipal { name }, None, format)
        }
    }
}
