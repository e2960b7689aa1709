//! Devices from a CSV file: `eid,label,association_token,counter`, of which only the first is needed.

use std::collections::HashMap;
use std::sync::Arc;

use eim::actor::Actor;
use eim::{Eim, NewDevice};
use serde::Serialize;
use tokio::task::JoinSet;

use super::problem::Problem;

/// What became of a file.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Devices registered.
    pub(crate) registered: usize,
    /// Lines that were not.
    pub(crate) refused: Vec<Refused>,
}

/// A line that registered nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// Its EID as far as it could be read.
    pub(crate) eid: String,
    /// Why.
    pub(crate) reason: String,
}

/// Lines of one file.
const LINES_MAX: usize = 500_000;
/// Registrations under way at a time: the store writes them in one transaction.
const AT_A_TIME: usize = 256;

/// Registers what a file lists. A bad line costs only itself.
pub(crate) async fn import(eim: &Arc<Eim>, actor: &Actor, text: &str) -> Result<Report, Problem> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.lines().nth(LINES_MAX).is_some() {
        return Err(Problem::invalid(format!(
            "a file has at most {LINES_MAX} lines"
        )));
    }
    let mut columns = Columns::default();
    let mut report = Report::default();
    let mut under_way = JoinSet::new();
    let mut lines_of = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cells = match cells(line) {
            Ok(cells) => cells,
            Err(reason) => {
                report.refuse(number, line, reason);
                continue;
            }
        };
        if index == 0
            && cells
                .first()
                .is_some_and(|cell| !cell.starts_with(|c: char| c.is_ascii_digit()))
        {
            columns = Columns::named(&cells)?;
            continue;
        }
        let device = match columns.device(&cells) {
            Ok(device) => device,
            Err(reason) => {
                report.refuse(number, cells.first().map_or("", String::as_str), reason);
                continue;
            }
        };
        // Registrations under way overtake each other, so it is decided here that the first line counts.
        let first = *lines_of.entry(device.eid).or_insert(number);
        if first != number {
            let reason = format!("line {first} has this EID already");
            report.refuse(number, &device.eid.to_string(), reason);
            continue;
        }
        if under_way.len() >= AT_A_TIME {
            report.take(under_way.join_next().await);
        }
        let (eim, actor) = (Arc::clone(eim), actor.clone());
        under_way.spawn(async move {
            let eid = device.eid.to_string();
            let outcome = eim.register_device(&actor, device).await;
            outcome.map(|_| ()).map_err(|error| Refused {
                line: number,
                eid,
                reason: Problem::from(error).detail,
            })
        });
    }
    while let Some(ended) = under_way.join_next().await {
        report.take(Some(ended));
    }
    report.refused.sort_by_key(|refused| refused.line);
    Ok(report)
}

impl Report {
    fn refuse(&mut self, line: usize, eid: &str, reason: String) {
        let eid = eid.chars().take(40).collect();
        self.refused.push(Refused { line, eid, reason });
    }

    fn take(&mut self, ended: Option<Result<Result<(), Refused>, tokio::task::JoinError>>) {
        match ended {
            Some(Ok(Ok(()))) => self.registered += 1,
            Some(Ok(Err(refused))) => self.refused.push(refused),
            Some(Err(error)) => tracing::error!(%error, "a registration broke off"),
            None => {}
        }
    }
}

/// Where a line has what.
#[derive(Debug)]
struct Columns {
    eid: usize,
    label: Option<usize>,
    association_token: Option<usize>,
    counter: Option<usize>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            eid: 0,
            label: Some(1),
            association_token: Some(2),
            counter: Some(3),
        }
    }
}

impl Columns {
    fn named(heading: &[String]) -> Result<Self, Problem> {
        let mut columns = Self {
            eid: usize::MAX,
            label: None,
            association_token: None,
            counter: None,
        };
        for (index, name) in heading.iter().enumerate() {
            match name.to_ascii_lowercase().as_str() {
                "eid" => columns.eid = index,
                "label" => columns.label = Some(index),
                "association_token" => columns.association_token = Some(index),
                "counter" => columns.counter = Some(index),
                other => {
                    return Err(Problem::invalid(format!(
                        "line 1: no column is named {other:?}; there are eid, label, association_token and counter"
                    )));
                }
            }
        }
        if columns.eid == usize::MAX {
            return Err(Problem::invalid("line 1: there is no column eid"));
        }
        Ok(columns)
    }

    fn device(&self, cells: &[String]) -> Result<NewDevice, String> {
        let cell = |column: Option<usize>| {
            column
                .and_then(|column| cells.get(column))
                .map_or("", String::as_str)
        };
        let number = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| format!("{name} {text:?} is not a number")),
        };
        let eid = cell(Some(self.eid))
            .parse()
            .map_err(|error: rsp::ids::InvalidId| error.to_string())?;
        Ok(NewDevice {
            label: cell(self.label).to_owned(),
            association_token: number("association_token", cell(self.association_token))?,
            counter: number("counter", cell(self.counter))?.unwrap_or_default(),
            ..NewDevice::new(eid)
        })
    }
}

/// The cells of a line (RFC 4180, without line breaks inside quotes); `;` separates as well as `,` when there is no comma.
fn cells(line: &str) -> Result<Vec<String>, String> {
    let separator = if line.contains(',') { ',' } else { ';' };
    let mut cells = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let trimmed = rest.trim_start();
        let (cell, after) = match trimmed.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let (cell, after) = rest.split_at(end);
                (cell.trim().to_owned(), after)
            }
        };
        cells.push(cell);
        let after = after.trim_start();
        match after.strip_prefix(separator) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(cells),
            None => return Err("something stands behind the closing quote of a cell".to_owned()),
        }
    }
}

fn quoted_cell(text: &str) -> Result<(String, &str), String> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let Some((inside, after)) = rest.split_once('"') else {
            return Err("a quote is not closed".to_owned());
        };
        cell.push_str(inside);
        match after.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Ok((cell, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EID: &str = "89049032123451234512345678901235";

    #[test]
    fn lines_are_cut_into_cells() {
        for (line, expected) in [
            ("a,b", vec!["a", "b"]),
            ("a;b ; c", vec!["a", "b", "c"]),
            ("\"a,\"\"b\"\"\" , c,\r", vec!["a,\"b\"", "c", ""]),
            ("", vec![""]),
        ] {
            assert_eq!(cells(line).unwrap(), expected, "{line}");
        }
        assert!(cells("\"a").is_err());
        assert!(cells("\"a\"b,c").is_err());
    }

    #[test]
    fn columns_stand_in_any_order_under_their_names() {
        let heading = ["Label", "EID"].map(str::to_owned);
        let columns = Columns::named(&heading).unwrap();
        let device = columns
            .device(&["meter 1".to_owned(), EID.to_owned()])
            .unwrap();
        assert_eq!(
            (device.label.as_str(), device.eid.to_string().as_str()),
            ("meter 1", EID)
        );
        assert_eq!((device.association_token, device.counter), (None, 0));
        assert!(Columns::named(&["eid".to_owned(), "imei".to_owned()]).is_err());
        assert!(Columns::named(&["label".to_owned()]).is_err());
        let plain = Columns::default();
        let line = [EID, "x", "77", "12"].map(str::to_owned);
        let device = plain.device(&line).unwrap();
        assert_eq!((device.association_token, device.counter), (Some(77), 12));
        assert!(
            plain
                .device(&[EID, "x", "many"].map(str::to_owned))
                .is_err()
        );
        assert!(plain.device(&["89".to_owned()]).is_err());
    }
}
