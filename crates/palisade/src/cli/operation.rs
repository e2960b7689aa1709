use std::path::PathBuf;

use anyhow::{Context, bail};
use intent::{Action, IntentId};
use rsp::ids::Eid;
use serde_json::Value;
use uuid::Uuid;

use super::Ending;
use super::asking::{Asking, read_commands};
use super::shared::{ChangeArgs, DataFolder, commands_text, list, operation_text, text, time};
use crate::output::{self, Format, Table};

/// Look at operations, withdraw them, and propose several commands in one package.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  palisade operation list <EID>
  palisade operation show <ID>
  palisade operation cancel <ID>";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the operations of a device, newest first.
    List {
        /// The device.
        eid: Eid,
        #[command(flatten)]
        data: DataFolder,
        /// Begin before the operation with this id.
        #[arg(long, value_name = "ID")]
        before: Option<Uuid>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u32,
    },
    /// Show an operation with its results.
    ///
    /// As JSON also the package and the result as they were on the wire, for `palisade decode`.
    Show {
        /// The operation.
        id: Uuid,
        #[command(flatten)]
        data: DataFolder,
    },
    /// Withdraw an operation, on every device for which it was not signed yet.
    Cancel {
        /// The operation.
        id: Uuid,
        #[command(flatten)]
        asking: Asking,
    },
    /// Propose commands from a JSON file as one package: all of them in one signed eUICC Package.
    #[command(after_help = PROPOSE_AFTER_HELP)]
    Propose {
        /// The device.
        eid: Eid,
        /// A JSON list of commands; `-` for the standard input.
        file: PathBuf,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

const PROPOSE_AFTER_HELP: &str = r#"Examples:
  echo '[{"command":"list-profiles"},{"command":"enable","iccid":"89000123456789012341","rollback":true}]' |
    palisade operation propose <EID> - --wait

Commands: enable, disable, delete (iccid), list-profiles, get-rat, configure-immediate-enable (enabled), set-fallback
(iccid), unset-fallback, set-default-smdp (address); add-eim, update-eim (configuration), delete-eim (eim_id), list-eims;
read-device-data (items); download (source, route, confirmation_code)."#;

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::List {
            eid,
            data,
            before,
            limit,
        } => {
            let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
            let operations = data.server()?.get(&format!(
                "/v1/devices/{eid}/operations?limit={limit}{before}"
            ))?;
            print_list(&operations, format)?;
        }
        Command::Show { id, data } => {
            print_one(
                &data.server()?.get(&format!("/v1/operations/{id}"))?,
                format,
            )?;
        }
        Command::Cancel { id, asking } => return cancel(id, &asking, format),
        Command::Propose { eid, file, change } => {
            return change.propose(eid, &read_commands(&file)?, format);
        }
    }
    Ok(Ending::Done)
}

fn cancel(id: Uuid, asking: &Asking, format: Format) -> anyhow::Result<Ending> {
    let server = asking.data.server()?;
    let operation = server.get(&format!("/v1/operations/{id}"))?;
    let intent = text(&operation, "intent");
    if intent.is_empty() {
        bail!(
            "operation {id} is a read of the eIM's own, which nobody asked for; it ends by itself"
        );
    }
    let state = text(&operation, "state");
    if !matches!(state, "queued" | "in-flight") {
        bail!("operation {id} is {state}; see what came of it with `palisade operation show {id}`");
    }
    let intent: IntentId = intent
        .parse()
        .context("the server's answer cannot be read")?;
    let asked = asking.ask(&server, Action::Cancel { intent }, None)?;
    if asked.waits() {
        asked.say(format)?;
        return Ok(Ending::Done);
    }
    print_one(&server.get(&format!("/v1/operations/{id}"))?, format)?;
    Ok(Ending::Done)
}

fn print_one(operation: &Value, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(operation),
        Format::Table => output::print(&operation_text(operation)),
    }
}

/// What came of an operation, with the first thing that failed.
fn outcome_text(operation: &Value) -> String {
    let Some(outcome) = operation.get("outcome") else {
        return String::new();
    };
    let summary = text(outcome, "summary");
    match list(outcome, "results").find(|result| result.get("ok") == Some(&Value::Bool(false))) {
        Some(failed) => format!("{summary}: {}", text(failed, "detail")),
        None => summary.to_owned(),
    }
}

fn print_list(operations: &Value, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::print_json(operations);
    }
    let mut table = Table::new(&["operation", "state", "queued", "commands", "outcome"]);
    for operation in list(operations, "operations") {
        let outcome = outcome_text(operation);
        table.row([
            text(operation, "id"),
            text(operation, "state"),
            &time(operation, "created_at"),
            &commands_text(operation),
            &outcome,
        ]);
    }
    let mut out = if table.is_empty() {
        "no operations\n".to_owned()
    } else {
        table.to_text()
    };
    let next = text(operations, "next");
    if !next.is_empty() {
        out.push_str(&format!(
            "\nthere may be more; go on with --before {next}\n"
        ));
    }
    output::print(&out)
}
