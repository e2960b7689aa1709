//! Devices from a CSV file: `eid,label,association_token`, of which only the first is needed.

use std::collections::HashMap;

use anyhow::bail;
use rsp::ids::Eid;
use serde::Serialize;

use crate::control::DeviceEnrichment;

/// What a file lists.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Devices, each once, with their lines.
    pub(crate) devices: Vec<(usize, Eid, DeviceEnrichment)>,
    /// Lines that are none.
    pub(crate) refused: Vec<Refused>,
}

/// A line that registers nothing.
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
const LINES_MAX: usize = 1_000_000;

/// Reads a file. A bad line costs only itself.
pub(crate) fn read(text: &str) -> anyhow::Result<Listed> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.lines().nth(LINES_MAX).is_some() {
        bail!("a file has at most {LINES_MAX} lines");
    }
    let mut columns = Columns::default();
    let mut listed = Listed::default();
    let mut lines_of = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cells = match cells(line) {
            Ok(cells) => cells,
            Err(reason) => {
                listed.refuse(number, line, reason);
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
        let (eid, device) = match columns.device(&cells) {
            Ok(device) => device,
            Err(reason) => {
                listed.refuse(number, cells.first().map_or("", String::as_str), reason);
                continue;
            }
        };
        let first = *lines_of.entry(eid).or_insert(number);
        if first == number {
            listed.devices.push((number, eid, device));
        } else {
            let reason = format!("line {first} has this EID already");
            listed.refuse(number, &eid.to_string(), reason);
        }
    }
    Ok(listed)
}

impl Listed {
    /// Notes a line that registers nothing.
    pub(crate) fn refuse(&mut self, line: usize, eid: &str, reason: String) {
        let eid = eid.chars().take(40).collect();
        self.refused.push(Refused { line, eid, reason });
    }
}

/// Where a line has what.
#[derive(Debug)]
struct Columns {
    eid: usize,
    label: Option<usize>,
    association_token: Option<usize>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            eid: 0,
            label: Some(1),
            association_token: Some(2),
        }
    }
}

impl Columns {
    fn named(heading: &[String]) -> anyhow::Result<Self> {
        let mut columns = Self {
            eid: usize::MAX,
            label: None,
            association_token: None,
        };
        for (index, name) in heading.iter().enumerate() {
            match name.to_ascii_lowercase().as_str() {
                "eid" => columns.eid = index,
                "label" => columns.label = Some(index),
                "association_token" => columns.association_token = Some(index),
                other => bail!(
                    "line 1: no column is named {other:?}; there are eid, label and association_token"
                ),
            }
        }
        if columns.eid == usize::MAX {
            bail!("line 1: there is no column eid");
        }
        Ok(columns)
    }

    fn device(&self, cells: &[String]) -> Result<(Eid, DeviceEnrichment), String> {
        let cell = |column: Option<usize>| {
            column
                .and_then(|column| cells.get(column))
                .map_or("", String::as_str)
        };
        let eid: Eid = cell(Some(self.eid))
            .parse()
            .map_err(|error: rsp::ids::InvalidId| error.to_string())?;
        let association_token = match cell(self.association_token) {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| format!("association_token {text:?} is not a number"))?,
            ),
        };
        let label = Some(cell(self.label))
            .filter(|label| !label.is_empty())
            .map(str::to_owned);
        let device = DeviceEnrichment {
            eid: eid.to_string(),
            label,
            association_token,
            ..DeviceEnrichment::default()
        };
        Ok((eid, device))
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
        let (eid, device) = columns
            .device(&["meter 1".to_owned(), EID.to_owned()])
            .unwrap();
        assert_eq!(
            (device.label.as_deref(), eid.to_string().as_str()),
            (Some("meter 1"), EID)
        );
        assert_eq!(device.association_token, None);
        assert!(Columns::named(&["eid".to_owned(), "imei".to_owned()]).is_err());
        assert!(Columns::named(&["label".to_owned()]).is_err());
        let plain = Columns::default();
        let line = [EID, "x", "77"].map(str::to_owned);
        assert_eq!(plain.device(&line).unwrap().1.association_token, Some(77));
        assert!(
            plain
                .device(&[EID, "x", "many"].map(str::to_owned))
                .is_err()
        );
        assert!(plain.device(&["89".to_owned()]).is_err());
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        let listed = read(&format!("eid,label\n{EID},first\n1,x\n{EID},again\n\n")).unwrap();
        assert_eq!(listed.devices.len(), 1);
        let lines: Vec<usize> = listed.refused.iter().map(|refused| refused.line).collect();
        assert_eq!(lines, [3, 4]);
    }
}
