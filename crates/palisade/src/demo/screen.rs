//! What is shown while the demo runs: one line on the standard error for each thing that is done.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::printable;

/// Shows progress.
#[derive(Debug)]
pub(super) struct Screen {
    begun: Instant,
    colours: bool,
}

/// Colours of a terminal; empty texts elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours {
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    pub(super) dim: &'static str,
    pub(super) strong: &'static str,
    pub(super) off: &'static str,
}

impl Colours {
    pub(super) const NONE: Self = Self {
        good: "",
        bad: "",
        dim: "",
        strong: "",
        off: "",
    };
    const TERMINAL: Self = Self {
        good: "\u{1b}[32m",
        bad: "\u{1b}[1;31m",
        dim: "\u{1b}[2m",
        strong: "\u{1b}[1m",
        off: "\u{1b}[0m",
    };

    fn of(is_terminal: bool) -> Self {
        // https://no-color.org
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if is_terminal && is_wanted {
            Self::TERMINAL
        } else {
            Self::NONE
        }
    }
}

/// Colours if the standard output is a terminal.
pub(super) fn colours_for_output() -> Colours {
    Colours::of(std::io::stdout().is_terminal())
}

impl Screen {
    pub(super) fn new() -> Self {
        let colours = std::io::stderr().is_terminal();
        Self {
            begun: Instant::now(),
            colours,
        }
    }

    /// Something was done, well or not.
    pub(super) fn done(&self, name: &str, is_good: bool, took: Duration) {
        let colours = Colours::of(self.colours);
        let (colour, mark) = if is_good {
            (colours.good, "ok  ")
        } else {
            (colours.bad, "FAIL")
        };
        let line = format!(
            "{dim}{since:6.2} s{off}  {colour}{mark}{off}  {name} {dim}({took} ms){off}",
            since = self.begun.elapsed().as_secs_f64(),
            name = printable(name),
            took = took.as_millis(),
            dim = colours.dim,
            off = colours.off,
        );
        // Nobody reading it is no reason to fail.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
