//! Counts of fleets, which triggers keep as rows change (`0002_fleet.sql`).

use std::collections::BTreeMap;

use intent::IntentId;
use rsp::ids::Eid;
use store::{ReadTx, SqlError, params};

use crate::OperationState;
use crate::fleet::PollCounts;

/// State of devices.
pub(crate) const DEVICE: &str = "device";
/// Enabled profiles of devices that are not retired, by provider.
pub(crate) const PROVIDER: &str = "provider";
/// State of operations that are not over.
pub(crate) const OPEN: &str = "open";
/// State of operations that ended in an hour.
pub(crate) const HOUR: &str = "hour";
/// State of operations that ended in a day.
pub(crate) const DAY: &str = "day";

/// Calls `take` with name, fleet and count of every row of a kind that has no slots.
pub(crate) fn each(
    tx: &ReadTx<'_>,
    kind: &str,
    mut take: impl FnMut(&str, &str, i64) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    tx.query_each(
        "SELECT name, fleet, n FROM tally WHERE kind = $1",
        params![kind],
        |row| {
            let text = |column| {
                row.get_ref(column)?
                    .as_str()
                    .map_err(store::rusqlite::Error::from)
            };
            take(text(0)?, text(1)?, row.get(2)?)
        },
    )
}

/// Calls `take` with slot, fleet and count of every row from slot `first` on.
pub(crate) fn each_since(
    tx: &ReadTx<'_>,
    kind: &str,
    state: OperationState,
    first: i64,
    mut take: impl FnMut(i64, &str, i64) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    tx.query_each(
        "SELECT slot, fleet, n FROM tally WHERE kind = $1 AND name = $2 AND slot >= $3",
        params![kind, state.to_string(), first],
        |row| {
            let fleet = row
                .get_ref(1)?
                .as_str()
                .map_err(store::rusqlite::Error::from)?;
            take(row.get(0)?, fleet, row.get(2)?)
        },
    )
}

/// Calls `take` with state, fleet and number of an intent's operations. When nobody wants to know the fleet, the fleet is empty.
///
/// Those that are done are what is left of all: no list of them is kept, so that an operation that is done writes none.
pub(crate) fn each_of_intent(
    tx: &ReadTx<'_>,
    intent: IntentId,
    by_fleet: bool,
    mut take: impl FnMut(&str, &str, i64) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let mut done: BTreeMap<String, i64> = BTreeMap::new();
    for text in INTENT_COUNTS {
        let text = match by_fleet {
            true => text.0,
            false => text.1,
        };
        tx.query_each(text, params![intent.to_string()], |row| {
            let text = |column| {
                row.get_ref(column)?
                    .as_str()
                    .map_err(store::rusqlite::Error::from)
            };
            let (state, fleet, count): (_, _, i64) = (text(0)?, text(1)?, row.get(2)?);
            let left = done.entry(fleet.to_owned()).or_default();
            if state.is_empty() {
                *left += count;
                return Ok(());
            }
            *left -= count;
            take(state, fleet, count)
        })?;
    }
    for (fleet, count) in done.iter().filter(|(_, count)| **count > 0) {
        take("done", fleet, *count)?;
    }
    Ok(())
}

/// All operations of an intent, those that are not over, and those that ended otherwise than done: by fleet, and together.
const INTENT_COUNTS: [(&str, &str); 3] = [
    (
        "SELECT '', fleet, count(*) FROM operation WHERE intent = $1 GROUP BY fleet",
        "SELECT '', '', count(*) FROM operation WHERE intent = $1",
    ),
    (
        "SELECT state, fleet, count(*) FROM operation WHERE intent = $1 AND finished_at IS NULL \
         GROUP BY state, fleet",
        "SELECT state, '', count(*) FROM operation WHERE intent = $1 AND finished_at IS NULL GROUP BY state",
    ),
    (
        "SELECT state, fleet, count(*) FROM operation WHERE intent = $1 \
         AND state IN ('failed', 'cancelled', 'expired', 'rolled-back') GROUP BY state, fleet",
        "SELECT state, '', count(*) FROM operation WHERE intent = $1 \
         AND state IN ('failed', 'cancelled', 'expired', 'rolled-back') GROUP BY state",
    ),
];

/// Fleets with devices, by name.
pub(crate) fn names(tx: &ReadTx<'_>) -> Result<Vec<String>, SqlError> {
    tx.query_all(
        "SELECT DISTINCT fleet FROM tally WHERE kind = 'device' AND n > 0 ORDER BY fleet",
        params![],
        |row| row.get(0),
    )
}

/// The fleet of a device.
pub(crate) fn of_device(tx: &ReadTx<'_>, eid: Eid) -> Result<Option<String>, SqlError> {
    tx.query_optional(
        "SELECT fleet FROM device_listing WHERE eid = $1",
        params![eid.to_string()],
        |row| row.get(0),
    )
}

/// When devices that are not retired polled last: since each of three minutes, the newest first. Of one fleet, or of all.
pub(crate) fn polls(
    tx: &ReadTx<'_>,
    fleet: Option<&str>,
    [hour, day, week]: [i64; 3],
) -> Result<PollCounts, SqlError> {
    macro_rules! count {
        ($of:literal) => {
            concat!(
                "SELECT coalesce(sum(CASE WHEN polled_minute >= $1 THEN 1 ELSE 0 END), 0), \
                 coalesce(sum(CASE WHEN polled_minute >= $2 THEN 1 ELSE 0 END), 0), \
                 coalesce(sum(CASE WHEN polled_minute >= $3 THEN 1 ELSE 0 END), 0), \
                 coalesce(sum(CASE WHEN polled_minute > 0 THEN 1 ELSE 0 END), 0), count(*) \
                 FROM device_listing WHERE ",
                $of,
                "state <> 'retired'"
            )
        };
    }
    let read = |row: &store::Row<'_>| -> store::RowResult<[i64; 5]> {
        Ok([
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        ])
    };
    let [in_hour, in_day, in_week, ever, all] = match fleet {
        None => tx.query_row(count!(""), params![hour, day, week], read)?,
        Some(fleet) => tx.query_row(
            count!("fleet = $4 AND "),
            params![hour, day, week, fleet],
            read,
        )?,
    };
    Ok(PollCounts {
        hour: in_hour,
        day: in_day - in_hour,
        week: in_week - in_day,
        earlier: ever - in_week,
        never: all - ever,
    })
}
