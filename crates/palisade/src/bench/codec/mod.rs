//! What reading and writing of each kind of message costs, against the least that could be done with its octets.

mod messages;

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::messages::{Case, Form};
use super::figures::median;
use super::usage::Machine;
use crate::output::{self, Table};

/// Measures every message for `milliseconds` in each of four ways, and prints.
pub(crate) fn run(milliseconds: u32, json: bool) -> anyhow::Result<()> {
    let time = Duration::from_millis(milliseconds.into());
    let machine = Machine::look();
    let cases = messages::all()?;
    let report = Report {
        machine,
        messages: cases.iter().map(|case| Row::measure(case, time)).collect(),
    };
    if json {
        output::print_json(&report)
    } else {
        output::print(&report.to_text())
    }
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    messages: Vec<Row>,
}

/// Nanoseconds for one message, medians.
#[derive(Debug, Serialize)]
struct Row {
    message: &'static str,
    form: Form,
    octets: usize,
    decode_nanos: f64,
    /// DER: a walk over all TLVs that looks at nothing but tags and lengths. JSON: into a tree of values.
    walk_nanos: f64,
    encode_nanos: f64,
    /// A copy of the octets into new memory.
    copy_nanos: f64,
}

impl Row {
    fn measure(case: &Case, time: Duration) -> Self {
        let octets = case.octets.as_slice();
        let walk_nanos = match case.form {
            Form::Der => nanos(time, || walk(black_box(octets))),
            Form::Json => nanos(time, || {
                serde_json::from_slice::<serde_json::Value>(black_box(octets))
            }),
        };
        Self {
            message: case.name,
            form: case.form,
            octets: octets.len(),
            decode_nanos: nanos(time, || (case.decode)(black_box(octets))),
            walk_nanos,
            encode_nanos: nanos(time, || (case.encode)()),
            copy_nanos: nanos(time, || black_box(octets).to_vec()),
        }
    }

    fn cells(&self) -> [String; 10] {
        let speed = |nanos: f64| format!("{:.0}", self.octets as f64 * 1000.0 / nanos);
        [
            self.message.to_owned(),
            self.form.name().to_owned(),
            self.octets.to_string(),
            format!("{:.0}", self.decode_nanos),
            speed(self.decode_nanos),
            format!("{:.0}", self.walk_nanos),
            format!("{:.1} x", self.decode_nanos / self.walk_nanos),
            format!("{:.0}", self.encode_nanos),
            speed(self.encode_nanos),
            format!("{:.1} x", self.encode_nanos / self.copy_nanos),
        ]
    }
}

impl Report {
    fn to_text(&self) -> String {
        let headings = [
            "message",
            "form",
            "octets",
            "decode ns",
            "MB/s",
            "walk ns",
            "ratio",
            "encode ns",
            "MB/s",
            "to a copy",
        ];
        let mut table = Table::new(&headings);
        for row in &self.messages {
            table.row(row.cells());
        }
        format!(
            "Machine: {}\nDecode is beside a walk over all TLVs (JSON: into a tree of values), encode beside a copy of the octets.\n\n{}",
            self.machine.describe(),
            table.to_text()
        )
    }
}

/// Nanoseconds that `work` takes: the median over many short runs, so that interruptions do not count.
fn nanos<T>(time: Duration, work: impl Fn() -> T) -> f64 {
    let run = |times: u32| {
        let begun = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        begun.elapsed()
    };
    let mut times = 1;
    while run(times) < RUN && times < u32::MAX / 2 {
        times *= 2;
    }
    let begun = Instant::now();
    let mut runs = Vec::new();
    while runs.is_empty() || begun.elapsed() < time {
        runs.push(run(times).as_secs_f64() * 1e9 / f64::from(times));
    }
    median(runs)
}

/// The shortest run that is timed.
const RUN: Duration = Duration::from_micros(200);

/// Counts the TLVs of a run of octets and of all that is constructed in it; nothing when one is cut off.
fn walk(octets: &[u8]) -> Option<usize> {
    let mut count = 0;
    let mut rest = octets;
    while let Some((&first, mut after)) = rest.split_first() {
        if first & 0x1F == 0x1F {
            loop {
                let (&next, further) = after.split_first()?;
                after = further;
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        let (&length, mut after) = after.split_first()?;
        let mut octets = usize::from(length);
        if length & 0x80 != 0 {
            let (big_endian, further) = after.split_at_checked(usize::from(length & 0x7F))?;
            octets = big_endian
                .iter()
                .fold(0, |value, &octet| (value << 8) | usize::from(octet));
            after = further;
        }
        let (content, further) = after.split_at_checked(octets)?;
        count += 1;
        if first & 0x20 != 0 {
            count += walk(content)?;
        }
        rest = further;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_sees_every_tlv() {
        let octets = [0xBF, 0x4F, 0x07, 0x30, 0x02, 0x05, 0x00, 0x81, 0x01, 0x7F];
        assert_eq!(walk(&octets), Some(4));
        assert_eq!(walk(&octets[..9]), None);
        assert_eq!(walk(&[0x04, 0x81, 0x80]), None);
        assert_eq!(walk(&[]), Some(0));
    }

    #[test]
    fn every_message_comes_through_and_is_measured() {
        let cases = messages::all().unwrap();
        assert!(cases.len() > 30, "{}", cases.len());
        for case in &cases {
            assert!((case.decode)(&case.octets), "{}", case.name);
            assert_eq!((case.encode)(), case.octets, "{}", case.name);
            let (_, cut) = case.octets.split_last().unwrap();
            assert!(!(case.decode)(cut), "{} cut", case.name);
            if matches!(case.form, Form::Der) {
                assert!(walk(&case.octets).is_some(), "{}", case.name);
            }
        }
        let row = Row::measure(&cases[0], Duration::from_millis(1));
        assert!(row.decode_nanos > 0.0 && row.encode_nanos > 0.0, "{row:?}");
    }
}
