//! How much was signed lately, for quotas.
//!
//! Counts stand in buckets of time, by the times of entries, so that replaying gives the same. The oldest bucket of a window
//! counts as a whole: a quota is never exceeded, and at most one bucket early.

use std::collections::{BTreeMap, VecDeque};

use intent::{Command, CredentialId, Fleet, OperationKind};
use serde::{Deserialize, Serialize};

use crate::event::{Account, Event, Waiver};
use crate::state::devices::Devices;
use crate::state::intents::{Intents, OpenIntent};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Counts of signed changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    credentials: BTreeMap<CredentialId, Window>,
    fleets: BTreeMap<Fleet, Window>,
    all: Window,
    /// When windows that nobody uses any more were dropped.
    tidied_at: i64,
}

/// What happened in a time that moves along: buckets and how much is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Window(VecDeque<(i64, u32)>);

/// How long a window is, and how finely it is counted. Milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    bucket: i64,
    length: i64,
}

impl Span {
    /// An hour by minutes.
    pub const HOUR: Self = Self {
        bucket: MINUTE_MS,
        length: HOUR_MS,
    };
    /// A day by minutes.
    pub const DAY: Self = Self {
        bucket: MINUTE_MS,
        length: DAY_MS,
    };
    /// An hour by five minutes, for what is counted for each device.
    pub const COARSE_HOUR: Self = Self {
        bucket: 5 * MINUTE_MS,
        length: HOUR_MS,
    };
}

impl Window {
    /// How much is in the window at `now`.
    pub fn count(&self, span: Span, now: i64) -> u64 {
        self.inside(span, now)
            .map(|(_, count)| u64::from(*count))
            .sum()
    }

    /// When one more fits under `limit`, if it does not now.
    pub fn free_at(&self, span: Span, now: i64, limit: u64) -> Option<i64> {
        let mut left = self.count(span, now);
        if left < limit {
            return None;
        }
        for (bucket, count) in self.inside(span, now) {
            left = left.saturating_sub((*count).into());
            if left < limit {
                return Some((bucket + 1) * span.bucket + span.length);
            }
        }
        // Nothing ever fits under a limit of 0, but the policy may be another by then.
        Some(now.saturating_add(span.length))
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, span: Span, at: i64) {
        let bucket = at.div_euclid(span.bucket);
        let first = at.saturating_sub(span.length).div_euclid(span.bucket);
        while self.0.front().is_some_and(|(bucket, _)| *bucket < first) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // Should times go back a little, it counts for the newest bucket.
            Some((newest, count)) if *newest >= bucket => *count = count.saturating_add(1),
            _ => self.0.push_back((bucket, 1)),
        }
    }

    fn inside(&self, span: Span, now: i64) -> impl Iterator<Item = &(i64, u32)> {
        let first = now.saturating_sub(span.length).div_euclid(span.bucket);
        self.0.iter().filter(move |(bucket, _)| *bucket >= first)
    }
}

impl Usage {
    /// Changes signed in the last hour for what a credential proposed.
    pub fn of_credential(&self, credential: &CredentialId) -> Option<&Window> {
        self.credentials.get(credential)
    }

    /// Changes signed in the last hour for devices of a fleet.
    pub fn of_fleet(&self, fleet: &Fleet) -> Option<&Window> {
        self.fleets.get(fleet)
    }

    /// Changes signed in the last day.
    pub fn of_all(&self) -> &Window {
        &self.all
    }

    /// Counts a package that was ordered or released.
    pub(crate) fn apply(&mut self, at: i64, event: &Event, devices: &Devices, intents: &Intents) {
        let (intent, eid) = match event {
            Event::PackageOrdered(ordered) => match &ordered.account {
                Account::Intent(intent) => (*intent, ordered.eid),
                // Counted for the device.
                Account::Read(_) => return,
            },
            Event::PackageReleased { intent, eid, .. } => (*intent, *eid),
            _ => return,
        };
        if let Some(open) = intents.at(intent)
            && counts(open)
        {
            let fleet = eid.and_then(|eid| devices.fleet(&eid));
            self.count(at, open.credential(), fleet);
        }
    }

    fn count(&mut self, at: i64, credential: &CredentialId, fleet: Option<&Fleet>) {
        if at.saturating_sub(self.tidied_at) >= HOUR_MS {
            self.tidied_at = at;
            let lives = |window: &Window| window.count(Span::HOUR, at) > 0;
            self.credentials.retain(|_, window| lives(window));
            self.fleets.retain(|_, window| lives(window));
        }
        self.all.add(Span::DAY, at);
        add(&mut self.credentials, credential, at);
        if let Some(fleet) = fleet {
            add(&mut self.fleets, fleet, at);
        }
    }
}

fn add<K: Ord + Clone>(windows: &mut BTreeMap<K, Window>, key: &K, at: i64) {
    match windows.get_mut(key) {
        Some(window) => window.add(Span::HOUR, at),
        None => windows.entry(key.clone()).or_default().add(Span::HOUR, at),
    }
}

/// Whether packages of an intent count: they change something, and are not from the key in the safe.
pub(crate) fn counts(open: &OpenIntent) -> bool {
    let changes = |command: &Command| command.kind() != OperationKind::Read;
    let is_change = match &open.intent().action {
        intent::Action::Operate { commands, .. } => commands.iter().any(changes),
        _ => true,
    };
    is_change && open.waived() != Some(Waiver::BreakGlass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_move_along_and_never_allow_more() {
        let mut window = Window::default();
        let start = 1_790_000_000_000;
        for n in 0..10 {
            window.add(Span::HOUR, start + n * 6 * MINUTE_MS);
        }
        let end = start + 54 * MINUTE_MS;
        assert_eq!(window.count(Span::HOUR, end), 10);
        assert_eq!(window.free_at(Span::HOUR, end, 11), None);
        let free = window.free_at(Span::HOUR, end, 10).unwrap();
        assert!(free > start + HOUR_MS && free <= start + HOUR_MS + 2 * MINUTE_MS);
        assert_eq!(window.count(Span::HOUR, free), 9);
        assert_eq!(window.count(Span::HOUR, free - 1), 10);
        assert_eq!(window.count(Span::HOUR, end + 2 * HOUR_MS), 0);
        assert_eq!(window.free_at(Span::HOUR, end, 0), Some(end + HOUR_MS));
    }

    #[test]
    fn windows_stay_small_and_clocks_may_stumble() {
        let mut window = Window::default();
        for n in 0..10_000 {
            window.add(Span::COARSE_HOUR, n * MINUTE_MS);
        }
        assert!(window.0.len() <= 13, "{}", window.0.len());
        let now = 10_000 * MINUTE_MS;
        let before = window.count(Span::COARSE_HOUR, now);
        window.add(Span::COARSE_HOUR, 9_000 * MINUTE_MS);
        assert_eq!(window.count(Span::COARSE_HOUR, now), before + 1);
    }
}
