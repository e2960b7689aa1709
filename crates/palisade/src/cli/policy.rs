use std::path::{Path, PathBuf};

use anyhow::Context;
use intent::{Action, PolicyDocument};
use serde_json::Value;

use super::Ending;
use super::asking::Asking;
use super::shared::DataFolder;
use crate::control::Client;
use crate::output::{self, Format};

/// The policy: what needs whose approval, how much may happen, and what may never.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
The policy is replaced as a whole, by an intent, so every version of it is signed and in the record. It
is checked twice: when something is proposed, and again when it is signed.

Examples:
  palisade policy show > policy.toml
  palisade policy diff policy.toml
  palisade policy set policy.toml --note 'only our SM-DP+'";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the policy that is in force, as TOML (or JSON), and what is frozen.
    Show {
        #[command(flatten)]
        data: DataFolder,
    },
    /// Say in which lines a file differs from the policy that is in force.
    Diff {
        /// A policy in TOML or JSON.
        file: PathBuf,
        #[command(flatten)]
        data: DataFolder,
    },
    /// Propose a policy. What it changes is shown; its version number is set.
    Set {
        /// A policy in TOML or JSON.
        file: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
    /// Print the policy that installations begin with, to begin with.
    Example,
}

pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<Ending> {
    match args.command {
        Command::Show { data } => {
            let server = data.server()?;
            let policy = current(&server)?;
            print_policy(&policy, format)?;
            let frozen = server.get("/v1/freezes")?;
            for scope in frozen.as_array().into_iter().flatten() {
                output::note(&format!("frozen: {}", scope_text(scope)));
            }
        }
        Command::Diff { file, data } => {
            let current = current(&data.server()?)?;
            let next = numbered(read(&file)?, &current);
            let lines = difference(&current, &next);
            output::print(&match lines.is_empty() {
                true => "no difference\n".to_owned(),
                false => format!("{}\n", lines.join("\n")),
            })?;
        }
        Command::Set { file, asking } => {
            let current = current(&asking.data.server()?)?;
            let next = numbered(read(&file)?, &current);
            next.check()?;
            for line in difference(&current, &next) {
                output::note(&line);
            }
            let action = Action::SetPolicy {
                policy: Box::new(next),
            };
            return asking.ask_and_say(action, None, format);
        }
        Command::Example => print_policy(&PolicyDocument::initial(), format)?,
    }
    Ok(Ending::Done)
}

fn current(server: &Client) -> anyhow::Result<PolicyDocument> {
    let answer = server.get("/v1/policy")?;
    serde_json::from_value(answer).context("the server's policy cannot be read")
}

fn read(file: &Path) -> anyhow::Result<PolicyDocument> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let what = || {
        format!(
            "{} is no policy; `palisade policy example` prints one",
            file.display()
        )
    };
    match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).with_context(what),
        false => toml::from_str(&text).with_context(what),
    }
}

/// With the number of the version that would follow, so that nobody has to count.
fn numbered(next: PolicyDocument, current: &PolicyDocument) -> PolicyDocument {
    PolicyDocument {
        version: current.version.saturating_add(1),
        ..next
    }
}

fn difference(current: &PolicyDocument, next: &PolicyDocument) -> Vec<String> {
    let differences = current.diff(next);
    let lines = differences
        .iter()
        .filter(|difference| difference.path != "version");
    lines.map(ToString::to_string).collect()
}

fn print_policy(policy: &PolicyDocument, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(policy),
        Format::Table => {
            output::print(&toml::to_string_pretty(policy).context("the policy cannot be written")?)
        }
    }
}

fn scope_text(scope: &Value) -> String {
    match scope {
        Value::String(word) => word.clone(),
        Value::Object(members) => members
            .iter()
            .map(|(kind, which)| format!("{kind} {}", which.as_str().unwrap_or_default()))
            .collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy");
        let policy = PolicyDocument::initial();
        for text in [
            toml::to_string_pretty(&policy).unwrap(),
            serde_json::to_string(&policy).unwrap(),
        ] {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(read(&file).unwrap(), policy, "{text}");
        }
        let mut next = policy.clone();
        next.quotas.all_per_day = None;
        let next = numbered(next, &policy);
        assert_eq!(next.version, 2);
        assert_eq!(difference(&policy, &next), ["- quotas.all_per_day: 200000"]);
        std::fs::write(&file, "version = 1").unwrap();
        assert!(read(&file).is_err());
    }
}
