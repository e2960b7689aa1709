//! What happened, what counts as success, and how both are printed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::screen::Colours;
use crate::output::printable;

/// Everything that the demo did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    devices: u16,
    steps: Vec<Step>,
    attacks: Vec<Attack>,
    /// Whether every step succeeded and every attack was stopped.
    good: bool,
    duration_ms: u64,
    #[serde(skip)]
    begun: Instant,
}

/// Something that the owner of a fleet does.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    /// Interfaces that it went over.
    via: &'static str,
    outcome: StepOutcome,
    detail: String,
    duration_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StepOutcome {
    Done,
    Failed,
    /// An earlier one failed.
    NotRun,
}

/// Something that an attacker does.
#[derive(Debug, Serialize)]
struct Attack {
    kind: &'static str,
    name: &'static str,
    verdict: Verdict,
    /// The component that refused.
    stopped_by: &'static str,
    /// Its check and its answer; else what went wrong.
    rule: String,
    duration_ms: u64,
}

/// What is to be thought of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Refused by the expected rule, and nothing changed.
    Stopped,
    /// Not refused.
    GotThrough,
    /// Refused, but something changed nevertheless.
    ChangedState,
    /// The attack itself could not be made, so nothing is known.
    NotTried,
}

/// How a component reacted to an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaction {
    /// By the rule that it had to be.
    Refused {
        /// Who refused.
        by: &'static str,
        /// The check, and the code of the answer.
        rule: String,
    },
    /// Anything else, in words.
    Through(String),
}

impl Reaction {
    pub(super) fn refused(by: &'static str, rule: impl Into<String>) -> Self {
        Self::Refused {
            by,
            rule: rule.into(),
        }
    }

    /// Whole messages are longer than anybody reads in a table.
    pub(super) fn through(what: impl Into<String>) -> Self {
        let what: String = what.into();
        match what.char_indices().nth(THROUGH_CHARACTERS_MAX) {
            None => Self::Through(what),
            Some((end, _)) => {
                let shown = what.get(..end).unwrap_or_default();
                Self::Through(format!("{shown} ..."))
            }
        }
    }
}

const THROUGH_CHARACTERS_MAX: usize = 200;

/// An attack that was made: how it was taken, and what is different since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) reaction: Reaction,
    /// Differences of the snapshots before and after; empty if there is none.
    pub(super) changes: Vec<String>,
}

impl Verdict {
    /// Judges an attack; an error is one of the demo, which then knows nothing about the component.
    pub(super) fn of(trial: &anyhow::Result<Trial>) -> Self {
        match trial {
            Err(_) => Self::NotTried,
            Ok(Trial {
                reaction: Reaction::Through(_),
                ..
            }) => Self::GotThrough,
            Ok(Trial { changes, .. }) if !changes.is_empty() => Self::ChangedState,
            Ok(_) => Self::Stopped,
        }
    }
}

impl Report {
    pub(super) fn new(devices: u16) -> Self {
        Self {
            devices,
            steps: Vec::new(),
            attacks: Vec::new(),
            good: false,
            duration_ms: 0,
            begun: Instant::now(),
        }
    }

    /// Enters a step; whether it succeeded.
    pub(super) fn step(
        &mut self,
        name: &'static str,
        via: &'static str,
        outcome: anyhow::Result<String>,
        took: Duration,
    ) -> bool {
        let (outcome, detail) = match outcome {
            Ok(detail) => (StepOutcome::Done, detail),
            Err(error) => (StepOutcome::Failed, format!("{error:#}")),
        };
        self.steps.push(Step {
            name,
            via,
            outcome,
            detail,
            duration_ms: millis(took),
        });
        outcome == StepOutcome::Done
    }

    /// Enters a step that was left out because an earlier one failed.
    pub(super) fn step_not_run(&mut self, name: &'static str, via: &'static str) {
        self.steps.push(Step {
            name,
            via,
            outcome: StepOutcome::NotRun,
            detail: String::new(),
            duration_ms: 0,
        });
    }

    /// Enters an attack; whether it was stopped.
    pub(super) fn attack(
        &mut self,
        kind: &'static str,
        name: &'static str,
        trial: anyhow::Result<Trial>,
        took: Duration,
    ) -> bool {
        let verdict = Verdict::of(&trial);
        let (stopped_by, rule) = match trial {
            Err(error) => ("", format!("{error:#}")),
            Ok(Trial {
                reaction: Reaction::Through(what),
                ..
            }) => ("", what),
            Ok(Trial {
                reaction: Reaction::Refused { by, rule },
                changes,
            }) if changes.is_empty() => (by, rule),
            Ok(Trial {
                reaction: Reaction::Refused { by, .. },
                changes,
            }) => (by, changes.join("; ")),
        };
        self.attacks.push(Attack {
            kind,
            name,
            verdict,
            stopped_by,
            rule,
            duration_ms: millis(took),
        });
        verdict == Verdict::Stopped
    }

    /// To be called when nothing more follows.
    pub(super) fn finish(&mut self) {
        self.duration_ms = millis(self.begun.elapsed());
        self.good = !self.steps.is_empty()
            && !self.attacks.is_empty()
            && self
                .steps
                .iter()
                .all(|step| step.outcome == StepOutcome::Done)
            && self
                .attacks
                .iter()
                .all(|attack| attack.verdict == Verdict::Stopped);
    }

    /// Whether every step succeeded and every attack was stopped. A demo without attacks has shown nothing.
    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    /// One table of everything.
    pub(super) fn to_table(&self, colours: Colours) -> String {
        let steps = self.steps.iter().map(Step::row);
        let attacks = self.attacks.iter().map(Attack::row);
        let headings = [
            Row::heading("STEP", "OVER", "", "RESULT"),
            Row::heading("ATTACK", "STOPPED BY", "STATE", "RULE"),
        ];
        let [of_steps, of_attacks] = headings;
        let rows: Vec<Row> = std::iter::once(of_steps)
            .chain(steps)
            .chain([Row::gap(), of_attacks])
            .chain(attacks)
            .collect();
        let mut text = layout(&rows, colours);
        let _ = writeln!(text, "\n{}", self.summary(colours));
        text
    }

    fn summary(&self, colours: Colours) -> String {
        let done = self
            .steps
            .iter()
            .filter(|step| step.outcome == StepOutcome::Done)
            .count();
        let stopped = self
            .attacks
            .iter()
            .filter(|attack| attack.verdict == Verdict::Stopped)
            .count();
        let (colour, word) = if self.good {
            (colours.good, "GOOD")
        } else {
            (colours.bad, "NOT GOOD")
        };
        format!(
            "{colour}{word}{off}: {done} of {steps} steps done, {stopped} of {attacks} attacks stopped; {devices} devices, {seconds:.1} s",
            off = colours.off,
            steps = self.steps.len(),
            attacks = self.attacks.len(),
            devices = self.devices,
            seconds = Duration::from_millis(self.duration_ms).as_secs_f64(),
        )
    }
}

/// A line of the table.
struct Row {
    kind: RowKind,
    cells: [String; 5],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Heading,
    Gap,
    Good,
    Bad,
    NotRun,
}

impl Row {
    fn heading(what: &str, who: &str, state: &str, result: &str) -> Self {
        let cells = [what, "MS", who, state, result].map(str::to_owned);
        Self {
            kind: RowKind::Heading,
            cells,
        }
    }

    fn gap() -> Self {
        Self {
            kind: RowKind::Gap,
            cells: Default::default(),
        }
    }
}

impl Step {
    fn row(&self) -> Row {
        let (kind, state) = match self.outcome {
            StepOutcome::Done => (RowKind::Good, "done"),
            StepOutcome::Failed => (RowKind::Bad, "FAILED"),
            StepOutcome::NotRun => (RowKind::NotRun, "not run"),
        };
        let cells = [
            self.name,
            &self.duration_ms.to_string(),
            self.via,
            state,
            &self.detail,
        ];
        Row {
            kind,
            cells: cells.map(printable),
        }
    }
}

impl Attack {
    fn row(&self) -> Row {
        let (kind, state) = match self.verdict {
            Verdict::Stopped => (RowKind::Good, "unchanged"),
            Verdict::GotThrough => (RowKind::Bad, "GOT THROUGH"),
            Verdict::ChangedState => (RowKind::Bad, "CHANGED"),
            Verdict::NotTried => (RowKind::Bad, "NOT TRIED"),
        };
        let name = format!("{}: {}", self.kind, self.name);
        let cells = [
            &name,
            &self.duration_ms.to_string(),
            self.stopped_by,
            state,
            &self.rule,
        ];
        Row {
            kind,
            cells: cells.map(printable),
        }
    }
}

/// Aligned columns. The last one is the longest, and may go on in the next line of a narrow terminal.
fn layout(rows: &[Row], colours: Colours) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let [what, time, who, state] = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for row in rows {
        let [cell_what, cell_time, cell_who, cell_state, cell_result] = &row.cells;
        let (before, mark) = match row.kind {
            RowKind::Gap => {
                text.push('\n');
                continue;
            }
            RowKind::Heading => (colours.strong, "    "),
            RowKind::Good => (colours.good, "ok  "),
            RowKind::Bad => (colours.bad, "FAIL"),
            RowKind::NotRun => (colours.dim, "-   "),
        };
        // Only the mark of what went well is coloured, so that what did not stands out.
        let (after_mark, after_line) = match row.kind {
            RowKind::Good => (colours.off, ""),
            _ => ("", colours.off),
        };
        let line = format!(
            "{cell_what:<what$}  {cell_time:>time$}  {cell_who:<who$}  {cell_state:<state$}  {cell_result}"
        );
        let _ = writeln!(
            text,
            "{before}{mark}{after_mark}  {}{after_line}",
            line.trim_end()
        );
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Reaction {
        Reaction::refused("eUICC", "replayError (4)")
    }

    fn trial(reaction: Reaction, changes: &[&str]) -> anyhow::Result<Trial> {
        let changes = changes.iter().map(|change| (*change).to_owned()).collect();
        Ok(Trial { reaction, changes })
    }

    fn report(step: anyhow::Result<String>, attack: anyhow::Result<Trial>) -> Report {
        let mut report = Report::new(4);
        report.step("make it", "ES10b", step, Duration::from_millis(12));
        report.attack("package", "replayed", attack, Duration::from_millis(3));
        report.finish();
        report
    }

    #[test]
    fn an_attack_is_stopped_only_when_it_was_refused_and_nothing_changed() {
        assert_eq!(Verdict::of(&trial(refused(), &[])), Verdict::Stopped);
        assert_eq!(
            Verdict::of(&trial(refused(), &["eIM: a counter"])),
            Verdict::ChangedState
        );
        let through = || Reaction::through("the package was executed");
        assert_eq!(Verdict::of(&trial(through(), &[])), Verdict::GotThrough);
        assert_eq!(
            Verdict::of(&trial(through(), &["enabled"])),
            Verdict::GotThrough
        );
        assert_eq!(
            Verdict::of(&Err(anyhow::anyhow!("no connection"))),
            Verdict::NotTried
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let Reaction::Through(short) = Reaction::through("é".repeat(200)) else {
            panic!()
        };
        assert_eq!(short.chars().count(), 200);
        let Reaction::Through(cut) = Reaction::through("é".repeat(201)) else {
            panic!()
        };
        assert!(
            cut.ends_with("é ...") && cut.chars().count() == 204,
            "{cut}"
        );
    }

    #[test]
    fn only_a_demo_without_any_trouble_is_good() {
        let done = || Ok("done".to_owned());
        assert!(report(done(), trial(refused(), &[])).is_good());
        assert!(!report(Err(anyhow::anyhow!("no disk")), trial(refused(), &[])).is_good());
        assert!(!report(done(), trial(refused(), &["one row"])).is_good());
        assert!(!report(done(), trial(Reaction::through("taken"), &[])).is_good());
        assert!(!report(done(), Err(anyhow::anyhow!("not tried"))).is_good());

        let mut cut_short = report(done(), trial(refused(), &[]));
        cut_short.step_not_run("the rest", "");
        cut_short.finish();
        assert!(!cut_short.is_good());
        let mut empty = Report::new(4);
        empty.finish();
        assert!(!empty.is_good(), "nothing was shown");
    }

    #[test]
    fn the_table_says_what_failed_and_why() {
        let good = report(Ok("4 cards".to_owned()), trial(refused(), &[]));
        let table = good.to_table(Colours::NONE);
        assert!(
            table.contains("ok    make it            12  ES10b       done       4 cards"),
            "{table}"
        );
        let attack = "ok    package: replayed   3  eUICC       unchanged  replayError (4)";
        assert!(table.contains(attack), "{table}");
        assert!(
            table.contains("GOOD: 1 of 1 steps done, 1 of 1 attacks stopped; 4 devices"),
            "{table}"
        );

        let bad = report(
            Err(anyhow::anyhow!("no disk")),
            trial(refused(), &["profile enabled"]),
        );
        let table = bad.to_table(Colours::NONE);
        assert!(
            table.contains("FAIL  make it") && table.contains("no disk"),
            "{table}"
        );
        assert!(
            table.contains("profile enabled") && table.contains("CHANGED"),
            "{table}"
        );
        assert!(
            table.contains("NOT GOOD: 0 of 1 steps done, 0 of 1 attacks stopped"),
            "{table}"
        );
    }

    #[test]
    fn json_says_the_same() {
        let bad = report(Ok(String::new()), trial(Reaction::through("executed"), &[]));
        let json = serde_json::to_value(&bad).unwrap();
        assert_eq!(json["good"], false);
        assert_eq!(json["steps"][0]["outcome"], "done");
        assert_eq!(json["attacks"][0]["verdict"], "got-through");
        assert_eq!(json["attacks"][0]["rule"], "executed");
    }
}
