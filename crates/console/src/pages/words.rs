//! How things are called on pages: times, numbers of cards, states.

use std::fmt;

use askama::filters::HtmlSafe;
use eim::{Association, DeviceState, OperationState};
use intent::action::FreezeScope;
use intent::api::IntentState;
use intent::{Command, FleetScope, Grant, OperationKind};
use jiff::Timestamp;

use crate::plan::described_command;

/// A moment; milliseconds since 1970. Shown in UTC to the second, so that it means the same to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    pub(super) fn text(&self) -> String {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            Err(_) => String::from("a time beyond the calendar"),
        }
    }

    pub(super) fn day(&self) -> String {
        self.text().chars().take(10).collect()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(
                f,
                "<time datetime=\"{}\" class=\"nowrap\">{}</time>",
                time.strftime("%Y-%m-%dT%H:%M:%SZ"),
                self.text()
            ),
            Err(_) => f.write_str("a time beyond the calendar"),
        }
    }
}

/// Digits and punctuation only.
impl HtmlSafe for Moment {}

/// How long ago, in the largest unit that fits.
pub(super) fn ago(at: i64, now: i64) -> String {
    match now.saturating_sub(at).div_euclid(1000) {
        ..0 => "just now".to_owned(),
        seconds @ 0..90 => format!("{seconds} s ago"),
        seconds @ 90..5_400 => format!("{} min ago", seconds / 60),
        seconds @ 5_400..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// How long until then.
pub(super) fn until(at: i64, now: i64) -> String {
    match at.saturating_sub(now).div_euclid(1000) {
        ..0 => "over".to_owned(),
        seconds @ 0..5_400 => format!("in {} min", seconds / 60),
        seconds @ 5_400..172_800 => format!("in {} h", seconds / 3_600),
        seconds => format!("in {} days", seconds / 86_400),
    }
}

/// A state: a word, a mark, and a colour that says nothing more than they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) word: &'static str,
    pub(super) mark: &'static str,
    pub(super) class: &'static str,
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, mark, class } = self;
        write!(
            f,
            "<span class=\"badge {class}\"><span class=\"mark\" aria-hidden=\"true\">{mark}</span>{word}</span>"
        )
    }
}

/// Texts of this file only.
impl HtmlSafe for Badge {}

const fn badge(class: &'static str, mark: &'static str, word: &'static str) -> Badge {
    Badge { word, mark, class }
}

pub(super) fn device_state(state: DeviceState) -> Badge {
    match state {
        DeviceState::Registered => badge("warn", "○", "registered"),
        DeviceState::Associated => badge("good", "✓", "associated"),
        DeviceState::Retired => badge("calm", "–", "retired"),
    }
}

pub(super) fn association(association: Association) -> Badge {
    match association {
        Association::Unknown => badge("calm", "?", "nothing known yet"),
        Association::Due => badge("busy", "…", "to be told"),
        Association::Accepted => badge("good", "✓", "accepted"),
        Association::Refused => badge("bad", "✕", "refused"),
    }
}

pub(super) fn operation_state(state: OperationState) -> Badge {
    match state {
        OperationState::Queued => badge("busy", "○", "queued"),
        OperationState::InFlight => badge("busy", "→", "in flight"),
        OperationState::Done => badge("good", "✓", "done"),
        OperationState::Failed => badge("bad", "✕", "failed"),
        OperationState::Cancelled => badge("calm", "–", "cancelled"),
        OperationState::Expired => badge("warn", "⏱", "expired"),
        OperationState::RolledBack => badge("warn", "↩", "rolled back"),
    }
}

pub(super) fn intent_state(state: IntentState) -> Badge {
    match state {
        IntentState::Waiting => badge("warn", "○", "waiting for approval"),
        IntentState::Approved => badge("busy", "→", "approved"),
        IntentState::Done => badge("good", "✓", "done"),
        IntentState::Rejected => badge("bad", "✕", "rejected"),
        IntentState::Cancelled => badge("calm", "–", "cancelled"),
        IntentState::Expired => badge("warn", "⏱", "expired"),
    }
}

pub(super) fn credential_state(revoked: bool, expires_at: i64, now: i64) -> Badge {
    const SOON_MS: i64 = 14 * 86_400_000;
    match expires_at.saturating_sub(now) {
        _ if revoked => badge("bad", "✕", "revoked"),
        ..=0 => badge("calm", "⏱", "expired"),
        1..SOON_MS => badge("warn", "!", "ends soon"),
        _ => badge("good", "✓", "valid"),
    }
}

/// Digits in groups of four; the last two of an EID are its check digits.
#[derive(Debug, Clone)]
pub(super) struct Digits(pub(super) String);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<span class=\"digits nowrap\">")?;
        let digits: Vec<char> = self.0.chars().filter(char::is_ascii_alphanumeric).collect();
        for group in digits.chunks(4) {
            write!(f, "<span>{}</span>", group.iter().collect::<String>())?;
        }
        f.write_str("</span>")
    }
}

/// Letters and digits only.
impl HtmlSafe for Digits {}

/// A hash in groups, to be compared by eye.
pub(super) fn groups(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(8)
        .map(|group| group.iter().collect())
        .collect()
}

pub(super) fn commands(commands: &[Command]) -> String {
    let words: Vec<String> = commands.iter().map(described_command).collect();
    words.join(", ")
}

/// A kind of change, as it is written.
pub(super) fn kind(kind: OperationKind) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('-', " ")
}

/// `principal:olga` is olga.
pub(super) fn actor(actor: &str) -> String {
    match actor.strip_prefix("principal:") {
        Some(name) => name.to_owned(),
        None => actor.to_owned(),
    }
}

/// `operator of all fleets, viewer of meters`
pub(super) fn grants(grants: &[Grant]) -> String {
    let words: Vec<String> = grants.iter().map(grant).collect();
    words.join(", ")
}

fn grant(grant: &Grant) -> String {
    let role = serde_json::to_value(grant.role).unwrap_or_default();
    let role = role.as_str().unwrap_or_default();
    match &grant.fleets {
        FleetScope::All => format!("{role} of all fleets"),
        FleetScope::Only(fleets) => {
            let names: Vec<&str> = fleets.iter().map(|fleet| fleet.as_str()).collect();
            format!("{role} of {}", names.join(" and "))
        }
    }
}

pub(super) fn freeze_scope(scope: &FreezeScope) -> String {
    match scope {
        FreezeScope::Everything => "everything".to_owned(),
        FreezeScope::Fleet(fleet) => format!("the fleet {fleet}"),
        FreezeScope::Principal(name) => format!("what {name} proposed"),
        FreezeScope::Credential(id) => format!("what was proposed with {id}"),
    }
}

/// With a thin space between thousands.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    match number < 0 {
        true => format!("-{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_read_well() {
        assert_eq!(Moment(1_790_000_000_000).text(), "2026-09-21 14:13:20");
        assert_eq!(ago(0, 89_000), "89 s ago");
        assert_eq!(ago(0, 90_000), "1 min ago");
        assert_eq!(ago(0, 86_400_000), "24 h ago");
        assert_eq!(until(10, 5), "in 0 min");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(-999), "-999");
    }

    #[test]
    fn nothing_but_letters_and_digits_is_shown_as_digits() {
        assert_eq!(
            Digits("<b>".to_owned()).to_string(),
            "<span class=\"digits nowrap\"><span>b</span></span>"
        );
    }
}
