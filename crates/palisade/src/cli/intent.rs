use clap::ValueEnum;
use intent::{Action, Decision, IntentId};
use serde_json::Value;

use super::Ending;
use super::asking::{Asking, described_json, standing};
use super::shared::{DataFolder, list, number, text, time};
use crate::output::{self, Fields, Format, Table};

/// What was asked for: look, approve, reject, withdraw.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every change is an intent, signed by who wants it. The policy says which ones need the approval of other
people, each with their own passkey: `palisade policy show`.

Examples:
  palisade intent list --state waiting
  palisade intent show <ID>
  palisade intent approve <ID> --passkey bob.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Waiting,
    Approved,
    Done,
    Rejected,
    Cancelled,
    Expired,
}

impl StateArg {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List intents, newest first.
    List {
        #[command(flatten)]
        data: DataFolder,
        /// Only those in this state.
        #[arg(long, value_enum)]
        state: Option<StateArg>,
        /// Begin before this entry.
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: u32,
    },
    /// Show an intent: exactly what, who asked, who approved, how far it is.
    Show {
        /// The intent.
        #[arg(allow_hyphen_values = true)]
        id: IntentId,
        #[command(flatten)]
        data: DataFolder,
    },
    /// Approve an intent, with a passkey. What is approved is shown first; it cannot be changed afterwards.
    Approve {
        /// The intent.
        #[arg(allow_hyphen_values = true)]
        id: IntentId,
        #[command(flatten)]
        asking: Asking,
    },
    /// Reject an intent for good, with a passkey.
    Reject {
        /// The intent.
        #[arg(allow_hyphen_values = true)]
        id: IntentId,
        #[command(flatten)]
        asking: Asking,
    },
    /// Withdraw an intent, on every device for which nothing was signed yet.
    Cancel {
        /// The intent.
        #[arg(allow_hyphen_values = true)]
        id: IntentId,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::List {
            data,
            state,
            before,
            limit,
        } => list_intents(&data, state, before, limit, format)?,
        Command::Show { id, data } => {
            let status = data.server()?.get(&format!("/v1/intents/{id}"))?;
            print_one(&status, format)?;
        }
        Command::Approve { id, asking } => decide(id, Decision::Approve, &asking, format)?,
        Command::Reject { id, asking } => decide(id, Decision::Reject, &asking, format)?,
        Command::Cancel { id, asking } => {
            return asking.ask_and_say(Action::Cancel { intent: id }, None, format);
        }
    }
    Ok(Ending::Done)
}

fn decide(id: IntentId, decision: Decision, asking: &Asking, format: Format) -> anyhow::Result<()> {
    let status = asking.data.server()?.get(&format!("/v1/intents/{id}"))?;
    intent_text(&status).lines().for_each(output::note);
    let status = asking.decide(id, decision)?;
    match format {
        Format::Json => output::print_json(&status),
        Format::Table => output::print(&format!("{}\n", standing(&status))),
    }
}

fn print_one(status: &Value, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(status),
        Format::Table => output::print(&intent_text(status)),
    }
}

/// An intent for people: everything that an approver has to know.
fn intent_text(status: &Value) -> String {
    let intent = status.get("intent").unwrap_or(&Value::Null);
    let action = intent.get("action").unwrap_or(&Value::Null);
    let names: Vec<&str> = list(status, "approved_by")
        .filter_map(Value::as_str)
        .collect();
    let mut fields = Fields::default();
    fields
        .add("intent", text(status, "id"))
        .add("asks to", described_json(action))
        .add("because", text(intent, "note"))
        .add("by", text(status, "proposer"))
        .add("at", time(status, "at"))
        .add("until", time(intent, "expires_at"))
        .add("state", text(status, "state"))
        .add("approvals needed", number(status, "approvers"))
        .add("approved by", names.join(", "))
        .add("devices", number(status, "devices"))
        .add("of these signed for", number(status, "done"))
        .add("entry in the record", number(status, "entry"));
    let mut out = fields.to_text();
    let eids: Vec<&str> = action
        .pointer("/devices/eids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if eids.len() > 1 {
        out.push_str(&format!("\n{}\n", eids.join("\n")));
    }
    let mut operations = Table::new(&["operation", "eid", "state"]);
    for operation in list(status, "operations") {
        operations.row([
            text(operation, "id"),
            text(operation, "eid"),
            text(operation, "state"),
        ]);
    }
    if !operations.is_empty() {
        out.push_str(&format!("\n{}", operations.to_text()));
    }
    out
}

fn list_intents(
    data: &DataFolder,
    state: Option<StateArg>,
    before: Option<u64>,
    limit: u32,
    format: Format,
) -> anyhow::Result<()> {
    let state = state
        .map(|state| format!("&state={}", state.name()))
        .unwrap_or_default();
    let before = before
        .map(|entry| format!("&before={entry}"))
        .unwrap_or_default();
    let page = data
        .server()?
        .get(&format!("/v1/intents?limit={limit}{state}{before}"))?;
    let intents = page.get("intents").unwrap_or(&Value::Null);
    if format == Format::Json {
        return output::print_json(intents);
    }
    let mut table = Table::new(&["intent", "state", "by", "at", "asks to", "done"]);
    for status in intents.as_array().into_iter().flatten() {
        let action = status.pointer("/intent/action").unwrap_or(&Value::Null);
        let done = match number(status, "devices").as_str() {
            "" | "0" => String::new(),
            devices => format!("{}/{devices}", number(status, "done")),
        };
        table.row([
            text(status, "id"),
            text(status, "state"),
            text(status, "proposer"),
            &time(status, "at"),
            &described_json(action),
            &done,
        ]);
    }
    output::print(&match table.is_empty() {
        true => "no intents\n".to_owned(),
        false => table.to_text(),
    })
}
