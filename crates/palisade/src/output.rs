//! What commands print: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// How lists and objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// JSON, indented.
    Json,
}

/// Writes text to the standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("the output cannot be written"),
    }
}

/// Writes a value as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("the output cannot be encoded")?;
    text.push('\n');
    print(&text)
}

/// Writes a line for people to the standard error, where it does not mix with results.
pub(crate) fn note(text: &str) {
    // Nobody reading it is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// Columns under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![
                headings
                    .iter()
                    .map(|heading| heading.to_uppercase())
                    .collect(),
            ],
        }
    }

    /// Adds a row. What comes from outside is made harmless for the terminal.
    pub(crate) fn row<I: IntoIterator<Item = S>, S: AsRef<str>>(&mut self, cells: I) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| printable(cell.as_ref()))
                .collect(),
        );
    }

    /// Whether there are no rows below the heading.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// The table as text.
    pub(crate) fn to_text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names with values, one a line. Empty values are left out.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a line.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: impl AsRef<str>) -> &mut Self {
        if !value.as_ref().is_empty() {
            self.0.push((name.into(), printable(value.as_ref())));
        }
        self
    }

    /// The lines as text.
    pub(crate) fn to_text(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for (name, value) in &self.0 {
            let _ = writeln!(text, "{name:<width$}  {value}");
        }
        text
    }
}

/// Names of profiles and labels of devices come from outside: nothing in them may move the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// Milliseconds since 1970 as RFC 3339, to the second.
pub(crate) fn time_of(millis: i64) -> String {
    match Timestamp::from_second(millis.div_euclid(1000)) {
        Ok(time) => time.to_string(),
        Err(_) => String::new(),
    }
}

/// Octets as upper-case hexadecimal.
pub(crate) fn hexadecimal(octets: &[u8]) -> String {
    hex::encode_upper(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let mut table = Table::new(&["name", "state"]);
        assert!(table.is_empty());
        table.row(["a", "enabled"]);
        table.row(["longer \u{1b}[31m", ""]);
        assert!(!table.is_empty());
        assert_eq!(
            table.to_text(),
            "NAME          STATE\na             enabled\nlonger \u{FFFD}[31m\n"
        );
    }

    #[test]
    fn fields_leave_out_what_is_empty() {
        let mut fields = Fields::default();
        fields.add("one", "1").add("second", "").add("third", "3");
        assert_eq!(fields.to_text(), "one    1\nthird  3\n");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time_of(1_785_542_400_999), "2026-08-01T00:00:00Z");
    }
}
