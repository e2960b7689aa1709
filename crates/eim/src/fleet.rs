//! Fleets as somebody sees them: who sees which devices, and how a fleet stands, in figures.
//!
//! Every reading verb across devices takes a [`Visible`]. A device that is not visible does not exist for whoever asks, in no
//! list, count, history or error.
//!
//! The figures are counts that the database keeps as rows change (`tally`), so they are exact and current and cost the same
//! however many devices there are; only when devices polled last is counted anew, along an index.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use intent::{Fleet, IntentId};
use rsp::ids::Eid;
use serde::Serialize;
use store::{ReadTx, SqlError};
use uuid::Uuid;

use crate::tables::{devices, fleet, operations};
use crate::{
    Device, DeviceError, DeviceState, Eim, Operation, OperationError, OperationState, StorageError,
};

/// Rows that one page holds at most. Larger limits are taken as this one.
pub const PAGE_MAX: u32 = 500;

/// Providers that are shown one by one.
const PROVIDERS_MAX: usize = 10;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const HOURS: i64 = 24;
const DAYS: i64 = 30;

/// Which devices somebody sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// All.
    All,
    /// Those of these fleets.
    Only(BTreeSet<Fleet>),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// A text that nothing can match.
    #[error(
        "{what} has 1 to {limit} characters and no control characters: search for something shorter"
    )]
    Text {
        /// What it stands for.
        what: &'static str,
        /// Characters allowed.
        limit: usize,
    },
    /// The beginning of an EID or ICCID.
    #[error("{what} is searched by its first digits, {limit} at most, or by all of them")]
    Digits {
        /// What it stands for.
        what: &'static str,
        /// Digits allowed.
        limit: usize,
    },
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for ReadingError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

/// How a fleet stands, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// When it was read; milliseconds since 1970.
    pub at: i64,
    /// Devices by state.
    pub devices: DeviceCounts,
    /// When devices that are not retired polled last.
    pub polls: PollCounts,
    /// Operations that are not over.
    pub operations: OperationCounts,
    /// Operations that ended in the last 24 hours, whole hours back.
    pub ended_today: Ended,
    /// The last 24 hours, the oldest first, the last one still running.
    pub by_hour: Vec<EndedIn>,
    /// The last 30 days (UTC), the oldest first, today last.
    pub by_day: Vec<EndedIn>,
    /// Providers of enabled profiles, the one with most first.
    pub providers: Vec<ProviderShare>,
    /// Enabled profiles of all further providers.
    pub other_providers: i64,
}

/// Devices by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DeviceCounts {
    /// No signed result was seen yet.
    pub registered: i64,
    /// Their eUICC has signed a result.
    pub associated: i64,
    /// No longer managed.
    pub retired: i64,
}

/// Devices by when they polled last, to the minute. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PollCounts {
    /// Within the last hour.
    pub hour: i64,
    /// Within the last day, but not the last hour.
    pub day: i64,
    /// Within the last seven days, but not the last one.
    pub week: i64,
    /// Before that.
    pub earlier: i64,
    /// Never.
    pub never: i64,
}

/// Operations that are not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OperationCounts {
    /// Waiting for the device to poll.
    pub queued: i64,
    /// Handed to the device.
    pub in_flight: i64,
}

/// How operations ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Executed.
    pub done: i64,
    /// Something failed.
    pub failed: i64,
    /// Withdrawn.
    pub cancelled: i64,
    /// Ran out of time.
    pub expired: i64,
    /// Undone by the device.
    pub rolled_back: i64,
}

/// How operations ended in one hour or day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndedIn {
    /// Its beginning; milliseconds since 1970.
    pub start: i64,
    /// How many ended, and how.
    pub ended: Ended,
}

/// Enabled profiles of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderShare {
    /// Service provider name, as in the profiles' metadata.
    pub provider: String,
    /// How many.
    pub enabled: i64,
}

/// A fleet among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetSummary {
    /// Its name.
    pub fleet: String,
    /// Its devices.
    pub devices: DeviceCounts,
    /// Its operations that are not over.
    pub operations: OperationCounts,
}

/// How far an intent's operations are, those on visible devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IntentProgress {
    /// Those that are not over.
    pub open: OperationCounts,
    /// Those that are.
    pub ended: Ended,
}

impl Visible {
    /// Whether devices of this fleet are seen.
    pub fn covers(&self, fleet: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(fleets) => fleets.iter().any(|seen| seen.as_str() == fleet),
        }
    }

    /// Of what is seen, only one fleet.
    pub(crate) fn within(&self, fleet: Option<&Fleet>) -> Self {
        match (self, fleet) {
            (_, None) => self.clone(),
            (Self::Only(seen), Some(fleet)) if !seen.contains(fleet) => Self::Only(BTreeSet::new()),
            (_, Some(fleet)) => Self::Only(BTreeSet::from([fleet.clone()])),
        }
    }

    /// For asking about many rows.
    pub(crate) fn sieve(&self) -> Sieve<'_> {
        match self {
            Self::All => Sieve(None),
            Self::Only(fleets) => Sieve(Some(fleets.iter().map(Fleet::as_str).collect())),
        }
    }

    /// The names of the fleets that are seen, if devices are in them.
    pub(crate) fn names(&self, tx: &ReadTx<'_>) -> Result<Vec<String>, SqlError> {
        Ok(match self {
            Self::All => fleet::names(tx)?,
            Self::Only(fleets) => fleets.iter().map(Fleet::to_string).collect(),
        })
    }
}

/// The fleets that are seen; none in it: all.
pub(crate) struct Sieve<'a>(Option<HashSet<&'a str>>);

impl Sieve<'_> {
    pub(crate) fn covers(&self, fleet: &str) -> bool {
        self.0.as_ref().is_none_or(|seen| seen.contains(fleet))
    }

    pub(crate) fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

/// A limit as it is honoured.
pub(crate) fn page_size(limit: u32) -> usize {
    limit.clamp(1, PAGE_MAX) as usize
}

impl Eim {
    /// How the visible devices stand, or those of one fleet.
    pub fn fleet_overview(
        &self,
        visible: &Visible,
        fleet: Option<&Fleet>,
    ) -> Result<Overview, ReadingError> {
        let visible = visible.within(fleet);
        let sieve = visible.sieve();
        let at = self.now_ms();
        self.read(|tx| {
            let by_hour = ended_since(tx, &sieve, fleet::HOUR, at.div_euclid(HOUR_MS), HOURS)?;
            let by_day = ended_since(tx, &sieve, fleet::DAY, at.div_euclid(DAY_MS), DAYS)?;
            let mut ended_today = Ended::default();
            for hour in &by_hour {
                ended_today.add(&hour.ended);
            }
            let (providers, other_providers) = provider_shares(tx, &sieve)?;
            Ok(Overview {
                at,
                devices: device_counts(tx, &sieve)?,
                polls: poll_counts(tx, &visible, at)?,
                operations: operation_counts(tx, &sieve)?,
                ended_today,
                by_hour: in_ms(by_hour, HOUR_MS),
                by_day: in_ms(by_day, DAY_MS),
                providers,
                other_providers,
            })
        })
    }

    /// The visible fleets that have devices, retired ones included, by name.
    pub fn fleets(&self, visible: &Visible) -> Result<Vec<FleetSummary>, ReadingError> {
        let sieve = visible.sieve();
        self.read(|tx| {
            let mut fleets: BTreeMap<String, FleetSummary> = BTreeMap::new();
            fleet::each(tx, fleet::DEVICE, |state, fleet, count| {
                if sieve.covers(fleet) && count > 0 {
                    let devices = &mut summary_of(&mut fleets, fleet).devices;
                    *devices.of(state.parse()?) += count;
                }
                Ok(())
            })?;
            fleet::each(tx, fleet::OPEN, |state, fleet, count| {
                if sieve.covers(fleet) && count > 0 {
                    let operations = &mut summary_of(&mut fleets, fleet).operations;
                    operations.add(state.parse()?, count);
                }
                Ok(())
            })?;
            Ok(fleets.into_values().collect())
        })
    }

    /// How far an intent's operations are, those on visible devices.
    pub fn intent_progress(
        &self,
        visible: &Visible,
        intent: IntentId,
    ) -> Result<IntentProgress, ReadingError> {
        let sieve = visible.sieve();
        self.read(|tx| {
            let mut progress = IntentProgress::default();
            fleet::each_of_intent(tx, intent, !sieve.is_all(), |state, fleet, count| {
                if sieve.covers(fleet) {
                    let state = state.parse()?;
                    progress.open.add(state, count);
                    progress.ended.count(state, count);
                }
                Ok(())
            })?;
            Ok(progress)
        })
    }

    /// One device, if it is visible. For verbs about one device that do not ask who looks.
    pub fn visible_device(&self, visible: &Visible, eid: Eid) -> Result<Device, DeviceError> {
        self.read(|tx| {
            devices::find(tx, eid)?
                .filter(|device| visible.covers(&device.fleet))
                .ok_or(DeviceError::Unknown(eid))
        })
    }

    /// One operation, if its device is visible.
    pub fn visible_operation(
        &self,
        visible: &Visible,
        id: Uuid,
    ) -> Result<Operation, OperationError> {
        self.read(|tx| {
            let operation = operations::find(tx, id)?.ok_or(OperationError::Unknown(id))?;
            match fleet::of_device(tx, operation.eid)? {
                Some(fleet) if visible.covers(&fleet) => Ok(operation),
                _ => Err(OperationError::Unknown(id)),
            }
        })
    }
}

fn summary_of<'a>(
    fleets: &'a mut BTreeMap<String, FleetSummary>,
    fleet: &str,
) -> &'a mut FleetSummary {
    fleets
        .entry(fleet.to_owned())
        .or_insert_with(|| FleetSummary {
            fleet: fleet.to_owned(),
            devices: DeviceCounts::default(),
            operations: OperationCounts::default(),
        })
}

fn device_counts(tx: &ReadTx<'_>, sieve: &Sieve<'_>) -> Result<DeviceCounts, SqlError> {
    let mut counts = DeviceCounts::default();
    fleet::each(tx, fleet::DEVICE, |state, fleet, count| {
        if sieve.covers(fleet) {
            *counts.of(state.parse()?) += count;
        }
        Ok(())
    })?;
    Ok(counts)
}

fn operation_counts(tx: &ReadTx<'_>, sieve: &Sieve<'_>) -> Result<OperationCounts, SqlError> {
    let mut counts = OperationCounts::default();
    fleet::each(tx, fleet::OPEN, |state, fleet, count| {
        if sieve.covers(fleet) {
            counts.add(state.parse()?, count);
        }
        Ok(())
    })?;
    Ok(counts)
}

fn poll_counts(tx: &ReadTx<'_>, visible: &Visible, at: i64) -> Result<PollCounts, SqlError> {
    let minute = |age: i64| (at - age).div_euclid(MINUTE_MS);
    let since = [minute(HOUR_MS), minute(DAY_MS), minute(7 * DAY_MS)];
    match visible {
        Visible::All => fleet::polls(tx, None, since),
        Visible::Only(fleets) => {
            let mut counts = PollCounts::default();
            for fleet in fleets {
                counts.add(&fleet::polls(tx, Some(fleet.as_str()), since)?);
            }
            Ok(counts)
        }
    }
}

/// The last `count` slots up to `last`, those without any included; `start` is the slot's number.
fn ended_since(
    tx: &ReadTx<'_>,
    sieve: &Sieve<'_>,
    kind: &str,
    last: i64,
    count: i64,
) -> Result<Vec<EndedIn>, SqlError> {
    let first = last - count + 1;
    let mut slots: BTreeMap<i64, Ended> = (first..=last)
        .map(|slot| (slot, Ended::default()))
        .collect();
    for state in OperationState::ALL {
        fleet::each_since(tx, kind, state, first, |slot, fleet, count| {
            // What a clock that was set back has written stands in slots to come.
            if let Some(ended) = slots.get_mut(&slot)
                && sieve.covers(fleet)
            {
                ended.count(state, count);
            }
            Ok(())
        })?;
    }
    let slots = slots.into_iter();
    Ok(slots
        .map(|(start, ended)| EndedIn { start, ended })
        .collect())
}

fn in_ms(slots: Vec<EndedIn>, length: i64) -> Vec<EndedIn> {
    let scaled = slots.into_iter().map(|slot| EndedIn {
        start: slot.start.saturating_mul(length),
        ..slot
    });
    scaled.collect()
}

fn provider_shares(
    tx: &ReadTx<'_>,
    sieve: &Sieve<'_>,
) -> Result<(Vec<ProviderShare>, i64), SqlError> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    fleet::each(tx, fleet::PROVIDER, |provider, fleet, count| {
        if sieve.covers(fleet) && count > 0 {
            match counts.get_mut(provider) {
                Some(sum) => *sum += count,
                None => drop(counts.insert(provider.to_owned(), count)),
            }
        }
        Ok(())
    })?;
    let shares = counts.into_iter();
    let mut shares: Vec<ProviderShare> = shares
        .map(|(provider, enabled)| ProviderShare { provider, enabled })
        .collect();
    // Stable, so that equal ones stand by name.
    shares.sort_by_key(|share| std::cmp::Reverse(share.enabled));
    let others = shares.split_off(shares.len().min(PROVIDERS_MAX));
    Ok((shares, others.iter().map(|share| share.enabled).sum()))
}

impl DeviceCounts {
    /// All of them.
    pub fn total(&self) -> i64 {
        self.registered + self.associated + self.retired
    }

    fn of(&mut self, state: DeviceState) -> &mut i64 {
        match state {
            DeviceState::Registered => &mut self.registered,
            DeviceState::Associated => &mut self.associated,
            DeviceState::Retired => &mut self.retired,
        }
    }
}

impl PollCounts {
    fn add(&mut self, other: &Self) {
        self.hour += other.hour;
        self.day += other.day;
        self.week += other.week;
        self.earlier += other.earlier;
        self.never += other.never;
    }
}

impl OperationCounts {
    fn add(&mut self, state: OperationState, count: i64) {
        match state {
            OperationState::Queued => self.queued += count,
            OperationState::InFlight => self.in_flight += count,
            _ => {}
        }
    }
}

impl Ended {
    /// All of them.
    pub fn total(&self) -> i64 {
        self.done + self.failed + self.cancelled + self.expired + self.rolled_back
    }

    fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.rolled_back += other.rolled_back;
    }

    fn count(&mut self, state: OperationState, count: i64) {
        match state {
            OperationState::Queued | OperationState::InFlight => {}
            OperationState::Done => self.done += count,
            OperationState::Failed => self.failed += count,
            OperationState::Cancelled => self.cancelled += count,
            OperationState::Expired => self.expired += count,
            OperationState::RolledBack => self.rolled_back += count,
        }
    }
}

impl OperationState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::InFlight,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::RolledBack,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Home, eid, fleet, only};

    #[tokio::test]
    async fn counts_follow_what_happens() {
        let home = Home::new();
        home.register("north", 0..5).await;
        home.register("south", 5..8).await;
        home.propose("olga", vec![eid(0), eid(1), eid(5)]).await;
        home.polled(eid(0));
        home.advance_ms(2 * HOUR_MS);
        home.polled(eid(1));
        home.end(eid(0), OperationState::Done);
        home.advance_ms(HOUR_MS);
        home.end(eid(1), OperationState::Failed);
        home.authority.retire(&[eid(4)]).unwrap();
        home.eim.follow().await.unwrap();

        let north = home.eim.fleet_overview(&only(&["north"]), None).unwrap();
        let devices = DeviceCounts {
            registered: 4,
            retired: 1,
            ..DeviceCounts::default()
        };
        assert_eq!(north.devices, devices);
        let polls = PollCounts {
            hour: 1,
            day: 1,
            never: 2,
            ..PollCounts::default()
        };
        assert_eq!(north.polls, polls, "retired devices are left out");
        assert_eq!(north.operations, OperationCounts::default());
        assert_eq!((north.ended_today.done, north.ended_today.failed), (1, 1));
        assert_eq!((north.by_hour.len(), north.by_day.len()), (24, 30));
        let [.., before, last] = north.by_hour.as_slice() else {
            panic!("24 hours");
        };
        assert_eq!((before.ended.done, last.ended.failed), (1, 1));
        assert_eq!(last.start, north.at, "hours begin where they begin");

        let all = home.eim.fleet_overview(&Visible::All, None).unwrap();
        assert_eq!(all.devices.total(), 8);
        assert_eq!(all.operations.queued, 1);
        let narrowed = home
            .eim
            .fleet_overview(&Visible::All, Some(&fleet("north")))
            .unwrap();
        assert_eq!(narrowed, north);
        let names: Vec<_> = home.eim.fleets(&Visible::All).unwrap();
        let names: Vec<_> = names.iter().map(|fleet| fleet.fleet.as_str()).collect();
        assert_eq!(names, ["north", "south"]);
    }

    #[tokio::test]
    async fn what_is_not_visible_is_not_counted_or_found() {
        let home = Home::new();
        home.register("north", 0..2).await;
        home.register("south", 2..3).await;
        let intent = home.propose("olga", vec![eid(0), eid(2)]).await;
        let south = only(&["south"]);

        let overview = home.eim.fleet_overview(&south, None).unwrap();
        assert_eq!(
            (overview.devices.total(), overview.operations.queued),
            (1, 1)
        );
        assert_eq!(overview.polls.never, 1);
        // A fleet that is asked for is no way around.
        for visible in [&south, &only(&[])] {
            let north = home
                .eim
                .fleet_overview(visible, Some(&fleet("north")))
                .unwrap();
            assert_eq!((north.devices.total(), north.operations.queued), (0, 0));
            assert_eq!(north.polls, PollCounts::default());
        }
        assert_eq!(home.eim.fleets(&south).unwrap().len(), 1);
        let progress = home.eim.intent_progress(&south, intent).unwrap();
        assert_eq!(progress.open.queued, 1);
        let progress = home.eim.intent_progress(&Visible::All, intent).unwrap();
        assert_eq!(progress.open.queued, 2);

        assert!(home.eim.visible_device(&south, eid(2)).is_ok());
        let hidden = home.eim.visible_device(&south, eid(0)).unwrap_err();
        let absent = home.eim.visible_device(&south, eid(9)).unwrap_err();
        assert!(matches!(hidden, DeviceError::Unknown(_)));
        assert_eq!(
            hidden.to_string().replace(&eid(0).to_string(), ""),
            absent.to_string().replace(&eid(9).to_string(), "")
        );
        let operation = home.eim.operations(eid(0), None, 1).unwrap();
        let id = operation[0].id;
        assert!(home.eim.visible_operation(&only(&["north"]), id).is_ok());
        assert!(matches!(
            home.eim.visible_operation(&south, id),
            Err(OperationError::Unknown(_))
        ));
    }

    #[tokio::test]
    async fn a_device_takes_its_history_along_into_another_fleet() {
        let home = Home::new();
        home.register("north", 0..1).await;
        home.propose("olga", vec![eid(0)]).await;
        home.end(eid(0), OperationState::Done);
        home.authority.retire(&[eid(0)]).unwrap();
        home.register("south", 0..1).await;
        let north = home.eim.fleet_overview(&only(&["north"]), None).unwrap();
        assert_eq!((north.devices.total(), north.ended_today.total()), (0, 0));
        let south = home.eim.fleet_overview(&only(&["south"]), None).unwrap();
        assert_eq!((south.devices.registered, south.ended_today.done), (1, 1));
        assert_eq!(home.eim.fleets(&Visible::All).unwrap().len(), 1);
    }
}
