//! Everything on record about one device: who asked, who approved, what was signed, what the eUICC answered.
//!
//! It is read from the bundle that the authority makes, the same that can be downloaded and verified anywhere. What the eIM
//! understood of an answer is told beside it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use eim::Operation;
use http::Method;
use intent::{Action, Intent};
use rsp::ids::Eid;
use serde::Deserialize;
use serde_json::Value;

use super::device::download;
use super::frame::Frame;
use super::visit::{self, Visit};
use super::words::{Digits, Moment};
use super::{Page, show};
use crate::Problem;
use crate::plan::described_command;

/// Operations whose outcome is told.
const OPERATIONS: u32 = 500;
/// Steps of one page.
const STEPS: usize = 100;

/// One action on record.
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) at: Moment,
    pub(super) what: String,
    /// Of the sheet: `good`, `bad`, `busy` or nothing.
    pub(super) class: &'static str,
    pub(super) lines: Vec<Line>,
}

/// Something about it, with the entry that says so.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) entry: Option<u64>,
}

#[derive(Template)]
#[template(path = "timeline.html")]
struct TimelinePage {
    frame: Frame,
    eid: String,
    digits: Digits,
    steps: Vec<Step>,
    earlier: Option<u64>,
    total: usize,
}

/// `GET /devices/{eid}/timeline`
pub(super) async fn page(visit: Visit, Path(eid): Path<String>) -> Page {
    let eid = visit::eid(&eid)?;
    visit.console.eim.visible_device(&visit.visible, eid)?;
    let mut steps = steps(&visit, eid).await?;
    let total = steps.len();
    if let Some(before) = visit.query.parsed::<u64>("before")? {
        steps.retain(|step| step.number < before);
    }
    let has_more = steps.len() > STEPS;
    steps.truncate(STEPS);
    show(&TimelinePage {
        frame: Frame::new(&visit, "/devices", format!("Timeline of {eid}")).await?,
        eid: eid.to_string(),
        digits: Digits(eid.to_string()),
        earlier: steps.last().map(|step| step.number).filter(|_| has_more),
        total,
        steps,
    })
}

/// `GET /devices/{eid}/history.json`: the bundle, for `palisade ledger check-bundle`.
pub(super) async fn bundle(visit: Visit, Path(eid): Path<String>) -> Page {
    let eid = visit::eid(&eid)?;
    visit.console.eim.visible_device(&visit.visible, eid)?;
    let answer = asked(&visit, eid).await?;
    Ok(download(
        answer,
        "application/json",
        &format!("history-{eid}.json"),
    ))
}

async fn asked(visit: &Visit, eid: Eid) -> Result<bytes::Bytes, Problem> {
    let target = format!("/v1/devices/{eid}/history");
    let answer = visit
        .console
        .authority
        .forward(Method::GET, target, bytes::Bytes::new())
        .await?;
    match answer.status.is_success() {
        true => Ok(answer.body),
        false => Err(serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| Problem::invalid("the authority's answer cannot be read"))),
    }
}

/// A bundle, as far as it is shown.
#[derive(Deserialize)]
struct Bundle {
    entries: Vec<Proven>,
    context: Vec<Proven>,
}

#[derive(Deserialize)]
struct Proven {
    entry: String,
}

/// An entry of the record, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) kind: String,
    pub(super) actor: String,
    #[serde(default)]
    pub(super) device: Option<Value>,
    #[serde(default)]
    pub(super) body: Value,
}

impl Entry {
    pub(super) fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or("")
    }

    fn number_of(&self, name: &str) -> Option<u64> {
        self.body.get(name).and_then(Value::as_u64)
    }

    /// The intent of an `intent.proposed`.
    fn intent(&self) -> Option<Intent> {
        serde_json::from_value(self.body.get("intent")?.clone()).ok()
    }
}

/// What is on record about a device, newest first.
pub(super) async fn steps(visit: &Visit, eid: Eid) -> Result<Vec<Step>, Problem> {
    let octets = asked(visit, eid).await?;
    let bundle: Bundle = serde_json::from_slice(&octets)
        .map_err(|_| Problem::invalid("the authority's bundle cannot be read"))?;
    let operations = visit.console.eim.operations(eid, None, OPERATIONS)?;
    Ok(read(&bundle, &operations))
}

fn read(bundle: &Bundle, operations: &[Operation]) -> Vec<Step> {
    let entries = |proven: &[Proven]| -> Vec<Entry> {
        let decoded = proven
            .iter()
            .map(|proven| serde_json::from_str(&proven.entry));
        decoded.filter_map(Result::ok).collect()
    };
    let own = entries(&bundle.entries);
    let context: BTreeMap<u64, Entry> = entries(&bundle.context)
        .into_iter()
        .map(|entry| (entry.number, entry))
        .collect();
    let reading = Reading {
        context,
        operations,
        packages: own
            .iter()
            .filter(|entry| entry.kind == "package.ordered")
            .map(|entry| (entry.number, entry))
            .collect(),
    };
    own.iter().rev().map(|entry| reading.step(entry)).collect()
}

struct Reading<'a> {
    context: BTreeMap<u64, Entry>,
    operations: &'a [Operation],
    packages: BTreeMap<u64, &'a Entry>,
}

impl Reading<'_> {
    fn step(&self, entry: &Entry) -> Step {
        let mut lines = Vec::new();
        let mut class = "";
        let what = match entry.kind.as_str() {
            "device.registered" => {
                self.who_asked(entry.number_of("intent"), &mut lines);
                format!("Registered in the fleet {}", entry.text("fleet"))
            }
            "device.retired" => {
                self.who_asked(entry.number_of("intent"), &mut lines);
                "Management ended".to_owned()
            }
            "device.reassociable" => {
                self.who_asked(entry.number_of("intent"), &mut lines);
                "May be associated anew".to_owned()
            }
            "device.associated" => {
                class = "good";
                lines.push(line(
                    "its eUICC showed certificates that chain to a trusted CI",
                    None,
                ));
                "Associated".to_owned()
            }
            "package.ordered" => {
                class = "busy";
                let what = self.commands_of(entry);
                self.who_asked(self.account(entry), &mut lines);
                self.who_approved(entry, &mut lines);
                if let Some(counter) = entry.body.get("counter").and_then(Value::as_i64) {
                    let key: String = entry.text("key").chars().take(12).collect();
                    lines.push(line(
                        &format!("package with counter {counter}, signed with the key {key}…"),
                        None,
                    ));
                }
                format!("Signed: {what}")
            }
            "package.released" => {
                class = "busy";
                let intent = entry.number_of("intent");
                let what = self.commands_of_intent(intent);
                self.who_asked(intent, &mut lines);
                self.who_approved(entry, &mut lines);
                format!("Released: {what}")
            }
            "result.recorded" => self.answer(entry, &mut class, &mut lines),
            kind => kind.to_owned(),
        };
        Step {
            number: entry.number,
            at: Moment(entry.at),
            what,
            class,
            lines,
        }
    }

    fn answer(&self, entry: &Entry, class: &mut &'static str, lines: &mut Vec<Line>) -> String {
        let success = entry
            .body
            .get("success")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        *class = if success { "good" } else { "bad" };
        let counter = entry.body.get("counter").and_then(Value::as_i64);
        let operation = self
            .operations
            .iter()
            .find(|one| one.counter.is_some() && one.counter == counter);
        if let Some(outcome) = operation.and_then(|one| one.outcome.as_ref()) {
            lines.push(line(&outcome.summary, None));
            for result in &outcome.results {
                let mark = if result.ok { "succeeded" } else { "failed" };
                lines.push(line(
                    &format!("{} {mark}: {}", result.name, result.detail),
                    None,
                ));
            }
        }
        let package = entry.number_of("package");
        if let Some(package) = package {
            lines.push(line(
                "answers the package that was signed before",
                Some(package),
            ));
        }
        let what = package
            .and_then(|number| self.packages.get(&number))
            .map(|package| self.commands_of(package));
        match (success, what) {
            (true, Some(what)) => format!("The eUICC did it: {what}"),
            (true, None) => "The eUICC answered: done".to_owned(),
            (false, Some(what)) => format!("The eUICC refused, or failed: {what}"),
            (false, None) => "The eUICC answered: not done".to_owned(),
        }
    }

    /// Entry of the intent that a package is signed for.
    fn account(&self, entry: &Entry) -> Option<u64> {
        let account = entry.body.get("account")?;
        account
            .get("Intent")
            .or_else(|| account.get("intent"))?
            .as_u64()
    }

    fn commands_of(&self, entry: &Entry) -> String {
        match self.account(entry) {
            Some(intent) => self.commands_of_intent(Some(intent)),
            None => "a list of profiles or eIMs, which the eIM wanted to read".to_owned(),
        }
    }

    fn commands_of_intent(&self, entry: Option<u64>) -> String {
        let proposed = entry.and_then(|number| self.context.get(&number));
        match proposed.and_then(Entry::intent).map(|intent| intent.action) {
            Some(Action::Operate { commands, .. }) => {
                let words: Vec<String> = commands.iter().map(described_command).collect();
                words.join(", then ")
            }
            Some(action) => crate::plan::described(&action),
            None => "something that is not in this bundle".to_owned(),
        }
    }

    fn who_asked(&self, entry: Option<u64>, lines: &mut Vec<Line>) {
        let Some(number) = entry else {
            lines.push(line("asked for by the eIM itself: it only reads", None));
            return;
        };
        let Some(proposed) = self.context.get(&number) else {
            lines.push(line("asked for by an intent", Some(number)));
            return;
        };
        let by = match proposed.body.pointer("/proof/type").and_then(Value::as_str) {
            Some("passkey") => "with a passkey",
            Some(_) => "with a key",
            None => "",
        };
        let at = Moment(proposed.at).text();
        lines.push(line(
            &format!("asked for by {} {by}, {at}", proposed.text("principal")),
            Some(number),
        ));
        if let Some(note) = proposed.intent().and_then(|intent| intent.note) {
            lines.push(line(&format!("“{note}”"), None));
        }
        match proposed.text("waived") {
            "" => {}
            "break-glass" => {
                lines.push(line("approvals were passed with the break-glass key", None))
            }
            other => lines.push(line(&format!("approvals were waived: {other}"), None)),
        }
        if proposed.number_of("approvers") == Some(0) {
            lines.push(line("the policy asked for no approval", None));
        }
    }

    fn who_approved(&self, entry: &Entry, lines: &mut Vec<Line>) {
        let approvals = entry.body.get("approvals").and_then(Value::as_array);
        for number in approvals.into_iter().flatten().filter_map(Value::as_u64) {
            let text = match self.context.get(&number) {
                Some(decided) => format!(
                    "approved by {}, {}",
                    decided.text("principal"),
                    Moment(decided.at).text()
                ),
                None => "approved".to_owned(),
            };
            lines.push(line(&text, Some(number)));
        }
    }
}

fn line(text: &str, entry: Option<u64>) -> Line {
    Line {
        text: text.to_owned(),
        entry,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proven(number: u64, kind: &str, body: Value) -> Proven {
        let entry = json!({
            "number": number, "at": 1_790_000_000_000_i64 + i64::try_from(number).unwrap(), "kind": kind,
            "actor": "eim", "body": body,
        });
        Proven {
            entry: entry.to_string(),
        }
    }

    #[test]
    fn a_change_names_who_asked_who_approved_and_what_came_of_it() {
        let intent = json!({
            "v": 1, "installation": "x", "nonce": "00".repeat(16), "created_at": 1, "expires_at": 2,
            "note": "moves to the other operator",
            "action": {
                "type": "operate", "devices": { "eids": [] },
                "commands": [{ "command": "delete", "iccid": "89000123456789012341" }],
            },
        });
        let ordered = json!({
            "account": { "intent": 3 }, "approvals": [4], "counter": 7, "key": "abc", "package": "",
        });
        let bundle = Bundle {
            entries: vec![
                proven(5, "package.ordered", ordered),
                proven(
                    6,
                    "result.recorded",
                    json!({ "package": 5, "counter": 7, "success": false }),
                ),
                proven(9, "something.new", json!({})),
            ],
            context: vec![
                proven(
                    3,
                    "intent.proposed",
                    json!({
                        "principal": "olga", "proof": { "type": "passkey" }, "intent": intent, "approvers": 1,
                    }),
                ),
                proven(4, "intent.decided", json!({ "principal": "bob" })),
            ],
        };
        let steps = read(&bundle, &[]);
        let told: Vec<String> = steps
            .iter()
            .map(|step| {
                let lines = step.lines.iter().map(|line| match line.entry {
                    Some(entry) => format!("{} [{entry}]", line.text),
                    None => line.text.clone(),
                });
                format!(
                    "{} {}: {}",
                    step.number,
                    step.what,
                    lines.collect::<Vec<_>>().join("; ")
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "9 something.new: ",
                "6 The eUICC refused, or failed: delete 89000123456789012341: answers the package that was signed before [5]",
                "5 Signed: delete 89000123456789012341: asked for by olga with a passkey, 2026-09-21 14:13:20 [3]; \
                 “moves to the other operator”; approved by bob, 2026-09-21 14:13:20 [4]; \
                 package with counter 7, signed with the key abc…",
            ]
        );
        assert_eq!(steps.get(1).map(|step| step.class), Some("bad"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_stops_nothing() {
        let bundle = Bundle {
            entries: vec![
                Proven {
                    entry: "not JSON".to_owned(),
                },
                proven(
                    1,
                    "package.ordered",
                    json!({ "account": [], "approvals": "x", "counter": "y" }),
                ),
            ],
            context: Vec::new(),
        };
        assert_eq!(read(&bundle, &[]).len(), 1);
    }
}
