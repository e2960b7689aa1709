//! The record: its checkpoint, and its entries with their proofs.

use askama::Template;
use axum::extract::Path;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::device::download;
use super::frame::Frame;
use super::timeline::Entry;
use super::visit::{self, Visit};
use super::words::{self, Moment};
use super::{Page, show};
use crate::Problem;

/// Entries of one page. Each is asked for with its proof.
const LIMIT: u64 = 20;

/// `GET /v1/checkpoint`
#[derive(Debug, Deserialize)]
struct Checkpoint {
    note: String,
    key: String,
}

impl Checkpoint {
    fn size(&self) -> u64 {
        self.note
            .lines()
            .nth(1)
            .and_then(|line| line.parse().ok())
            .unwrap_or(0)
    }
}

/// `GET /v1/entries/{number}/proof`
#[derive(Debug, Deserialize)]
struct Inclusion {
    checkpoint: String,
    entry: Proven,
}

#[derive(Debug, Deserialize)]
struct Proven {
    entry: String,
    proof: Vec<String>,
}

struct Row {
    entry: Entry,
    at: Moment,
    who: String,
    eid: String,
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct LedgerPage {
    frame: Frame,
    note: String,
    key: String,
    size: u64,
    rows: Vec<Row>,
    older: Option<u64>,
    newer: Option<u64>,
}

/// `GET /ledger`
pub(super) async fn page(visit: Visit) -> Page {
    visit.audits("/ledger")?;
    let checkpoint: Checkpoint = visit.console.authority.get("/v1/checkpoint").await?;
    let size = checkpoint.size();
    let before: u64 = visit.query.parsed("before")?.unwrap_or(size).min(size);
    let first = before.saturating_sub(LIMIT);
    let asked = (first..before)
        .rev()
        .map(|number| inclusion(&visit, number));
    let mut rows = Vec::new();
    for one in asked {
        let (_, inclusion) = one.await?;
        let entry = read(&inclusion)?;
        rows.push(Row {
            at: Moment(entry.at),
            who: words::actor(&entry.actor),
            eid: device_of(&entry),
            entry,
        });
    }
    show(&LedgerPage {
        frame: Frame::new(&visit, "/ledger", "Ledger").await?,
        note: checkpoint.note,
        key: checkpoint.key,
        size,
        rows,
        older: (first > 0).then_some(first),
        newer: (before < size).then_some((before + LIMIT).min(size)),
    })
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    frame: Frame,
    entry: Entry,
    at: Moment,
    who: String,
    eid: String,
    intent: String,
    pretty: String,
    checkpoint: String,
    proof: Vec<String>,
    key: String,
}

/// `GET /ledger/entries/{number}`
pub(super) async fn entry(visit: Visit, Path(number): Path<String>) -> Page {
    let (_, inclusion) = seen(&visit, &number).await?;
    let checkpoint: Checkpoint = visit.console.authority.get("/v1/checkpoint").await?;
    let entry = read(&inclusion)?;
    let whole: Value = serde_json::from_str(&inclusion.entry.entry).unwrap_or_default();
    show(&EntryPage {
        frame: Frame::new(&visit, "/ledger", format!("Entry {}", entry.number)).await?,
        at: Moment(entry.at),
        who: words::actor(&entry.actor),
        eid: device_of(&entry),
        intent: match entry.kind.starts_with("intent.") {
            true => entry.text("id").to_owned(),
            false => String::new(),
        },
        pretty: serde_json::to_string_pretty(&whole).unwrap_or_default(),
        checkpoint: inclusion.checkpoint,
        proof: inclusion.entry.proof,
        key: checkpoint.key.trim().to_owned(),
        entry,
    })
}

/// `GET /ledger/entries/{number}/proof.json`
pub(super) async fn proof(visit: Visit, Path(number): Path<String>) -> Page {
    let (octets, inclusion) = seen(&visit, &number).await?;
    let number = read(&inclusion)?.number;
    Ok(download(
        octets,
        "application/json",
        &format!("entry-{number}.json"),
    ))
}

async fn inclusion(visit: &Visit, number: u64) -> Result<(Bytes, Inclusion), Problem> {
    let target = format!("/v1/entries/{number}/proof");
    let answer = visit
        .console
        .authority
        .forward(Method::GET, target, Bytes::new())
        .await?;
    if !answer.status.is_success() {
        return Err(serde_json::from_slice(&answer.body).unwrap_or_else(|_| no_such_entry(number)));
    }
    let inclusion = serde_json::from_slice(&answer.body).map_err(|_| no_such_entry(number))?;
    Ok((answer.body, inclusion))
}

/// An entry that whoever looks may see: auditors all; others those about their devices and about intents that they see.
async fn seen(visit: &Visit, number: &str) -> Result<(Bytes, Inclusion), Problem> {
    let number: u64 = number
        .parse()
        .map_err(|_| Problem::invalid(format!("{number:?} is not the number of an entry")))?;
    let found = inclusion(visit, number).await?;
    if visit.reader.may_audit() {
        return Ok(found);
    }
    let entry = read(&found.1)?;
    let sees = match device_of(&entry).as_str() {
        "" if entry.kind.starts_with("intent.") => match visit::intent_id(entry.text("id")) {
            Ok(id) => {
                let status = visit.console.authority.intent(id).await?;
                visit.console.sees_intent(&visit.reader, &status)?
            }
            Err(_) => false,
        },
        "" => false,
        eid => visit
            .console
            .eim
            .visible_device(&visit.visible, visit::eid(eid)?)
            .is_ok(),
    };
    match sees {
        true => Ok(found),
        false => Err(no_such_entry(number)),
    }
}

fn no_such_entry(number: u64) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown",
        "There is no such entry",
        format!("there is no entry {number}, or none that you may see"),
        "look at the timeline of a device",
    )
}

fn read(inclusion: &Inclusion) -> Result<Entry, Problem> {
    serde_json::from_str(&inclusion.entry.entry)
        .map_err(|_| Problem::invalid("the entry cannot be read"))
}

/// The EID that an entry is about; empty if it is about none.
fn device_of(entry: &Entry) -> String {
    let eid = match &entry.device {
        Some(Value::String(eid)) => Some(eid.as_str()),
        Some(link) => link.get("eid").and_then(Value::as_str),
        None => None,
    };
    eid.unwrap_or("").to_owned()
}
