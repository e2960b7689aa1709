use intent::bearer::BearerToken;
use intent::{Action, CredentialId, Grant, Principal};
use serde_json::json;

use super::Ending;
use super::asking::{Asking, parse_grant};
use super::duration::Span;
use super::shared::{DataFolder, argument_or_stdin};
use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::wire::TokenCheck;
use crate::output::{self, Format, time_of};

/// Tokens that can read and never change anything, for dashboards.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A token looks like plsd_r_…: secret scanners find it, and a mistyped one is noticed. Only its hash is
kept here. Changes need a signature: `palisade key create`.

Examples:
  palisade token create grafana --grant viewer --expires 90d
  palisade token check -
  palisade token revoke 3k9m2p…";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Issue a token. It is shown once.
    Create {
        /// Under which name.
        name: Principal,
        /// What it reads: viewer or auditor, in all fleets or some; may be given several times.
        #[arg(long, required = true, value_name = "ROLE[:FLEET+FLEET]", value_parser = parse_grant)]
        grant: Vec<Grant>,
        /// How long it is valid. Every token ends.
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        expires: Span,
        #[command(flatten)]
        asking: Asking,
    },
    /// End a token, effective on the very next call.
    Revoke {
        /// Its public part, which `palisade key list` shows.
        #[arg(allow_hyphen_values = true)]
        id: CredentialId,
        #[command(flatten)]
        asking: Asking,
    },
    /// Say whether a token is good.
    Check {
        /// The token; `-` reads it from the standard input, where others cannot see it.
        token: String,
        #[command(flatten)]
        data: DataFolder,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Create {
            name,
            grant,
            expires,
            asking,
        } => {
            let token = BearerToken::generate(&mut SystemEntropy);
            let record = token.record();
            let expires_at = SystemClock.millis().saturating_add(expires.0);
            let action = Action::IssueReadToken {
                name,
                token_id: record.id.as_str().to_owned(),
                secret_sha256: record.digest,
                grants: grant,
                expires_at,
            };
            let server = asking.data.server()?;
            let asked = asking.ask(&server, action, None)?;
            match format {
                Format::Json => output::print_json(&json!({
                    "token": token.expose(),
                    "id": record.id.as_str(),
                    "expires_at": expires_at,
                    "intent": asked.status,
                }))?,
                Format::Table => {
                    asked.say(format)?;
                    output::print(&format!(
                        "\nThe token, until {}; it is not shown again:\n  {}\n",
                        time_of(expires_at),
                        token.expose()
                    ))?;
                }
            }
            Ok(Ending::Done)
        }
        Command::Revoke { id, asking } => {
            asking.ask_and_say(Action::RevokeCredential { credential: id }, None, format)
        }
        Command::Check { token, data } => {
            let token = argument_or_stdin(&token, "token")?;
            let check = TokenCheck {
                token,
                network: None,
            };
            let answer = data.server()?.post("/v1/tokens/check", &check)?;
            match format {
                Format::Json => output::print_json(&answer)?,
                Format::Table => output::print("the token is good\n")?,
            }
            Ok(Ending::Done)
        }
    }
}
