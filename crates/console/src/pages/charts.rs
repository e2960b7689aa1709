//! Charts: drawn here, as SVG without a style of its own. Each stands beside the table it is drawn from.
//!
//! Widths are in percent and nothing is written inside, so that a chart fits any window and its labels stay text.

use std::fmt;

use askama::filters::HtmlSafe;
use eim::fleet::{EndedIn, PollCounts};

/// How operations end, from the bottom of a bar to its top: class of the sheet, and word.
pub(super) const OUTCOMES: [(&str, &str); 5] = [
    ("s0", "done"),
    ("s2", "failed"),
    ("s3", "cancelled"),
    ("s4", "expired"),
    ("s5", "rolled back"),
];

/// A part of a whole, as one bar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) part: i64,
    pub(super) whole: i64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"chart\" height=\"12\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"track\" width=\"100%\" height=\"12\" rx=\"2\"/><rect class=\"s1\" width=\"{}%\" height=\"12\" rx=\"2\"/></svg>",
            percent(self.part, self.whole)
        )
    }
}

impl HtmlSafe for Share {}

/// Parts of a whole beside each other.
#[derive(Debug, Clone)]
pub(super) struct Stack(pub(super) Vec<(&'static str, i64)>);

impl Stack {
    /// When devices polled last.
    pub(super) fn of_polls(polls: &PollCounts) -> Self {
        Self(vec![
            ("s0", polls.hour),
            ("s1", polls.day),
            ("s4", polls.week),
            ("s2", polls.earlier),
            ("s3", polls.never),
        ])
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.iter().map(|(_, part)| part).sum();
        f.write_str("<svg class=\"chart\" height=\"22\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"track\" width=\"100%\" height=\"22\" rx=\"3\"/>")?;
        let mut at = 0;
        for (class, part) in self.0.iter().filter(|(_, part)| *part > 0) {
            write!(
                f,
                "<rect class=\"{class}\" x=\"{}%\" width=\"{}%\" height=\"22\"/>",
                percent(at, whole),
                percent(*part, whole)
            )?;
            at += part;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Stack {}

/// How many operations ended in each hour or day, and how.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    slots: Vec<[i64; 5]>,
    pub(super) highest: i64,
}

impl Columns {
    const HEIGHT: i64 = 120;

    pub(super) fn new(slots: &[EndedIn]) -> Self {
        let slots: Vec<[i64; 5]> = slots.iter().map(|slot| outcomes(&slot.ended)).collect();
        let highest = slots
            .iter()
            .map(|slot| slot.iter().sum())
            .max()
            .unwrap_or(0);
        Self { slots, highest }
    }
}

/// In the order of [`OUTCOMES`].
pub(super) fn outcomes(ended: &eim::fleet::Ended) -> [i64; 5] {
    [
        ended.done,
        ended.failed,
        ended.cancelled,
        ended.expired,
        ended.rolled_back,
    ]
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = Self::HEIGHT;
        write!(
            f,
            "<svg class=\"chart\" height=\"{height}\" aria-hidden=\"true\" focusable=\"false\">"
        )?;
        for line in [0, height / 2, height] {
            write!(
                f,
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{line}\" y2=\"{line}\"/>"
            )?;
        }
        let count = i64::try_from(self.slots.len()).unwrap_or(1).max(1);
        for (place, slot) in (0i64..).zip(&self.slots) {
            let mut top = height;
            for ((class, _), part) in OUTCOMES.iter().zip(slot).filter(|(_, part)| **part > 0) {
                // What is there is seen, however little of it.
                let tall = (part * height / self.highest.max(1)).max(2);
                top -= tall;
                write!(
                    f,
                    "<rect class=\"{class}\" x=\"{}%\" width=\"{}%\" y=\"{top}\" height=\"{tall}\"/>",
                    percent(place * 20 + 3, count * 20),
                    percent(14, count * 20)
                )?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Columns {}

/// With two digits, without floating point.
fn percent(part: i64, whole: i64) -> String {
    let hundredths = i128::from(part.max(0)) * 10_000 / i128::from(whole.max(1));
    let hundredths = hundredths.min(10_000);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        assert_eq!(percent(1, 3), "33.33");
        assert_eq!(percent(0, 0), "0.00");
        assert_eq!(percent(7, 7), "100.00");
        assert_eq!(percent(-1, 7), "0.00");
        assert_eq!(percent(i64::MAX, 1), "100.00");
        let drawn = Stack(vec![("s0", 1), ("s1", 0), ("s2", 3)]).to_string();
        assert!(
            drawn.contains("class=\"s2\" x=\"25.00%\" width=\"75.00%\""),
            "{drawn}"
        );
        assert!(!drawn.contains("style="));
    }
}
