//! Arguments and habits that several commands have in common.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use intent::{Action, Command, DeviceSet};
use rsp::ids::Eid;
use serde_json::Value;

use super::Ending;
use super::asking::{Asking, standing};
use crate::control::Client;
use crate::output::{self, Fields, Format, Table, time_of};

/// The fleet of devices that were registered without naming one.
pub(crate) const DEFAULT_FLEET: &str = "default";

/// Which eIM.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataFolder {
    /// Data folder of the eIM.
    #[arg(
        long = "data",
        value_name = "FOLDER",
        env = "PALISADE_DATA",
        default_value = "palisade-data"
    )]
    path: PathBuf,
}

impl DataFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, if it is there.
    pub(crate) fn existing(&self) -> anyhow::Result<&Path> {
        if !self.path.is_dir() {
            bail!(
                "there is no data folder {path}; make one with `palisade init --data {path} --fqdn HOST`, or name another with --data or PALISADE_DATA",
                path = self.path.display()
            );
        }
        Ok(&self.path)
    }

    /// The running server.
    pub(crate) fn server(&self) -> anyhow::Result<Client> {
        Client::of_eim(self.existing()?)
    }
}

/// A change on a device.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// Follow the operation until it has ended.
    #[arg(long)]
    wait: bool,
    /// Seconds to wait with --wait; the operation stays queued afterwards.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u64,
}

impl ChangeArgs {
    /// Asks for an operation and, with --wait, follows it.
    pub(crate) fn propose(
        &self,
        eid: Eid,
        commands: &[Command],
        format: Format,
    ) -> anyhow::Result<Ending> {
        let server = self.asking.data.server()?;
        let action = Action::Operate {
            devices: DeviceSet::one(eid),
            commands: commands.to_vec(),
        };
        let asked = self.asking.ask(&server, action, None)?;
        if !self.wait {
            asked.say(format)?;
            return Ok(Ending::Done);
        }
        let operation = self.follow(&server, asked.status)?;
        match format {
            Format::Json => output::print_json(&operation)?,
            Format::Table => output::print(&operation_text(&operation))?,
        }
        Ok(match text(&operation, "state") {
            "done" => Ending::Done,
            _ => Ending::Failed,
        })
    }

    /// Follows an intent until it is an operation, and that to its end.
    fn follow(&self, server: &Client, mut status: Value) -> anyhow::Result<Value> {
        const EVERY: Duration = Duration::from_millis(250);
        let intent = text(&status, "id").to_owned();
        let begun = Instant::now();
        let mut shown = String::new();
        loop {
            let operation = list(&status, "operations").next();
            let state = text(operation.unwrap_or(&status), "state").to_owned();
            if state != shown {
                output::note(&format!(
                    "{:>6.1} s  {state}",
                    begun.elapsed().as_secs_f64()
                ));
                shown.clone_from(&state);
            }
            let id = operation.map(|operation| text(operation, "id").to_owned());
            match (&id, state.as_str()) {
                (Some(_), "queued" | "in-flight") | (None, "waiting" | "approved") => {}
                (Some(id), _) => return server.get(&format!("/v1/operations/{id}")),
                (None, _) => bail!("{}", standing(&status)),
            }
            if begun.elapsed() > Duration::from_secs(self.timeout) {
                let waited = self.timeout;
                match id {
                    Some(id) => {
                        let operation = server.get(&format!("/v1/operations/{id}"))?;
                        let why = match (text(&operation, "state"), held_text(&operation)) {
                            (_, held) if !held.is_empty() => held,
                            ("queued", _) => "the device has not polled".to_owned(),
                            _ => "the device has it and has not answered".to_owned(),
                        };
                        bail!(
                            "operation {id} is still {state} after {waited} s: {why}. It stays; look at it with `palisade operation show {id}`, or withdraw it with `palisade operation cancel {id}`"
                        );
                    }
                    None => bail!("after {waited} s: {}", standing(&status)),
                }
            }
            std::thread::sleep(EVERY);
            status = server.get(&format!("/v1/intents/{intent}"))?;
        }
    }
}

/// Why the authority does not sign an operation at the moment; empty if it does.
fn held_text(operation: &Value) -> String {
    match operation.get("held") {
        Some(held @ Value::Object(_)) => {
            format!(
                "not signed: {} ({})",
                text(held, "message"),
                text(held, "code")
            )
        }
        _ => String::new(),
    }
}

/// One operation for people.
pub(crate) fn operation_text(operation: &Value) -> String {
    let mut fields = Fields::default();
    fields
        .add("operation", text(operation, "id"))
        .add("device", text(operation, "eid"))
        .add("state", text(operation, "state"))
        .add(
            "outcome",
            operation
                .pointer("/outcome/summary")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )
        .add("commands", commands_text(operation))
        .add("held", held_text(operation))
        .add("intent", text(operation, "intent"))
        .add("by", text(operation, "actor"))
        .add("queued", time(operation, "created_at"))
        .add("delivered", time(operation, "delivered_at"))
        .add("ended", time(operation, "finished_at"))
        .add("ends at the latest", time(operation, "expires_at"))
        .add("counter", number(operation, "counter"))
        .add("refusals", nonzero(operation, "refusals"));
    let mut out = fields.to_text();
    let mut results = Table::new(&["result", "ok", "detail"]);
    for result in list(operation.get("outcome").unwrap_or(&Value::Null), "results") {
        let ok = if result.get("ok") == Some(&Value::Bool(true)) {
            "yes"
        } else {
            "NO"
        };
        results.row([text(result, "name"), ok, text(result, "detail")]);
    }
    if !results.is_empty() {
        out.push('\n');
        out.push_str(&results.to_text());
    }
    out
}

/// What an operation asks for, in a few words.
pub(crate) fn commands_text(operation: &Value) -> String {
    let described = list(operation, "commands").map(|command| {
        let mut words = vec![text(command, "command").to_owned()];
        for (name, argument) in command.as_object().into_iter().flatten() {
            match (name.as_str(), argument) {
                ("command" | "configuration", _) | (_, Value::Null | Value::Bool(false)) => {}
                (name, Value::Bool(true)) => words.push(name.to_owned()),
                (_, Value::String(argument)) => words.push(argument.clone()),
                (_, Value::Object(members)) => {
                    for (name, value) in members {
                        words.push(name.clone());
                        words.extend(value.as_str().map(str::to_owned));
                    }
                }
                (_, Value::Array(items)) => {
                    words.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                (_, Value::Number(number)) => words.push(number.to_string()),
            }
        }
        words.join(" ")
    });
    described.collect::<Vec<_>>().join(", ")
}

/// A text member; empty if absent.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number member as text; empty if absent.
pub(crate) fn number(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_i64)
        .map(|number| number.to_string())
        .unwrap_or_default()
}

/// A number member as text; empty if absent or 0.
fn nonzero(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_i64)
        .filter(|number| *number != 0)
        .map(|number| number.to_string())
        .unwrap_or_default()
}

/// A member that is a time in milliseconds; empty if absent.
pub(crate) fn time(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_i64)
        .map(time_of)
        .unwrap_or_default()
}

/// `yes` when a member is true.
pub(crate) fn yes(value: &Value, name: &str) -> &'static str {
    match value.get(name).and_then(Value::as_bool) {
        Some(true) => "yes",
        _ => "",
    }
}

/// The members of a list; none if absent.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// `HOST=ADDRESS:PORT`
pub(crate) fn parse_resolve(text: &str) -> Result<(String, SocketAddr), String> {
    let (host, address) = text
        .split_once('=')
        .ok_or("write HOST=ADDRESS:PORT, such as smdp.example.com=127.0.0.1:8444")?;
    let address = address
        .parse()
        .map_err(|error| format!("{address:?}: {error}"))?;
    Ok((host.to_owned(), address))
}

/// `-` stands for a line of the standard input, so that secrets need not be arguments, which others can see.
pub(crate) fn argument_or_stdin(argument: &str, what: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let line = line.trim();
    if line.is_empty() {
        bail!("the standard input has no line with the {what}");
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_described_in_few_words() {
        let operation = json!({ "commands": [
            { "command": "enable", "iccid": "89000123456789012341", "rollback": true },
            { "command": "download", "source": { "activation-code": "1$a$(hidden)" }, "route": "direct" },
            { "command": "read-device-data", "items": ["euicc-info1", "device-info"] },
            { "command": "add-eim", "configuration": "3000" },
        ] });
        let words = commands_text(&operation);
        for word in [
            "enable 89000123456789012341 rollback",
            "activation-code 1$a$(hidden)",
            "direct",
            "device-info",
        ] {
            assert!(words.contains(word), "{words}");
        }
        assert!(words.ends_with("add-eim"), "{words}");
    }

    #[test]
    fn resolve_takes_a_host_and_an_address() {
        let (host, address) = parse_resolve("smdp.example.com=127.0.0.1:8444").unwrap();
        assert_eq!((host.as_str(), address.port()), ("smdp.example.com", 8444));
        assert!(parse_resolve("smdp.example.com").is_err());
        assert!(parse_resolve("smdp.example.com=here").is_err());
    }
}
