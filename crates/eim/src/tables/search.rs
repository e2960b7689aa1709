//! Queries behind searches: along which index, and what is left to be checked of each row.
//!
//! SQL texts are put together from constants, and every text has the same parameters, so that few shapes have to be kept
//! prepared. What is checked of each row stands in a CASE, which no index is looked for.

use rsp::ids::Eid;
use store::rusqlite::types::{ToSqlOutput, ValueRef};
use store::{ReadTx, Row, RowResult, SqlError, params, params_from_iter};
use uuid::Uuid;

use super::{devices, eid, parsed, tags};
use crate::merge::Chunk;
use crate::search::{
    ContactFilter, DeviceCursor, DeviceOrder, DeviceQuery, EnabledProfile, ListedDevice,
    OperationQuery, SearchText,
};
use crate::{Association, DeviceState, OperationState};

/// What a device is checked for, as parameters.
pub(crate) struct Residue {
    order: DeviceOrder,
    state: Option<String>,
    association: Option<String>,
    /// Minutes of the last poll: from, up to and without.
    polled: (i64, i64),
    label: Option<String>,
    tag: Option<(String, Option<String>)>,
    has_open: bool,
    is_failing: bool,
    provider: Option<String>,
    /// ICCIDs: from, up to and without.
    iccids: Option<(String, String)>,
    /// EIDs: from, up to and without.
    eids: (String, String),
}

/// One list of devices, and from where on.
pub(crate) struct DeviceWalk<'a> {
    pub(crate) order: DeviceOrder,
    pub(crate) descending: bool,
    /// One fleet, or all of them, which can be walked in the order of EIDs only.
    pub(crate) fleet: Option<&'a str>,
    pub(crate) after: Option<&'a DeviceCursor>,
    pub(crate) count: usize,
}

/// A device as lists are sorted and filtered by.
pub(crate) struct ListingRow {
    pub(crate) eid: Eid,
    pub(crate) fleet: String,
    pub(crate) state: DeviceState,
    pub(crate) association: Association,
    pub(crate) registered_at: i64,
    pub(crate) polled_minute: i64,
    pub(crate) label: String,
}

/// Sorts behind every digit, and behind every hexadecimal one.
const BEHIND_DIGITS: &str = "g";

impl Residue {
    pub(crate) fn new(query: &DeviceQuery) -> Self {
        const MINUTE_MS: i64 = 60_000;
        let prefixed = |digits: &String| (digits.clone(), format!("{digits}{BEHIND_DIGITS}"));
        let polled = match query.contact {
            None => (0, i64::MAX),
            // Minute 0 stands for never.
            Some(ContactFilter::Since(at)) => (at.div_euclid(MINUTE_MS).max(1), i64::MAX),
            Some(ContactFilter::NotSince(at)) => (0, at.div_euclid(MINUTE_MS).max(1)),
            Some(ContactFilter::Never) => (0, 1),
        };
        let (mut label, mut iccids, mut eids) =
            (None, None, (String::new(), BEHIND_DIGITS.to_owned()));
        match &query.text {
            None => {}
            Some(SearchText::Label(text)) => label = Some(text.to_ascii_lowercase()),
            Some(SearchText::Iccid(digits)) => iccids = Some(prefixed(digits)),
            Some(SearchText::Eid(digits)) => eids = prefixed(digits),
        }
        Self {
            order: query.order,
            state: query.state.map(|state| state.to_string()),
            association: query.association.map(|association| association.to_string()),
            polled,
            label,
            tag: query
                .tag
                .as_ref()
                .map(|tag| (tag.key.clone(), tag.value.clone())),
            has_open: query.open_operations,
            is_failing: query.failing,
            provider: query.provider.clone(),
            iccids,
            eids,
        }
    }
}

/// Rows that meet all filters.
macro_rules! select {
    ($range:literal, $order:literal) => {
        concat!(
            "SELECT l.eid, l.fleet, l.state, l.association, l.registered_at, l.polled_minute, l.label \
             FROM device_listing l WHERE ",
            $range,
            " AND CASE WHEN ($5 IS NULL OR l.state = $5) AND ($6 IS NULL OR l.association = $6) \
             AND l.polled_minute >= $7 AND l.polled_minute < $8 AND l.eid >= $17 AND l.eid < $18 \
             AND ($9 IS NULL OR instr(lower(l.label), $9) > 0) \
             AND ($10 IS NULL OR EXISTS (SELECT 1 FROM device_tag t \
               WHERE t.eid = l.eid AND t.key = $10 AND ($11 IS NULL OR t.value = $11))) \
             AND (NOT $12 OR EXISTS (SELECT 1 FROM operation o \
               WHERE o.eid = l.eid AND o.state IN ('queued', 'in-flight'))) \
             AND (NOT $13 OR (SELECT o.state FROM operation o \
               WHERE o.eid = l.eid AND o.state NOT IN ('queued', 'in-flight') ORDER BY o.id DESC LIMIT 1) \
               IN ('failed', 'expired', 'rolled-back')) \
             AND ($14 IS NULL OR EXISTS (SELECT 1 FROM profile p \
               WHERE p.eid = l.eid AND p.state = 'enabled' AND p.provider = $14)) \
             AND ($15 IS NULL OR EXISTS (SELECT 1 FROM profile p \
               WHERE p.eid = l.eid AND p.iccid >= $15 AND p.iccid < $16)) \
             THEN 1 ELSE 0 END = 1",
            $order,
            " LIMIT $4"
        )
    };
}

/// The texts of a walk: the key of the row that is so many rows behind where it begins; and the rows up to there that meet all
/// filters.
macro_rules! walk {
    ($key:literal, $range:literal, $order:literal) => {
        (
            concat!(
                "SELECT ",
                $key,
                ", l.eid FROM device_listing l WHERE ",
                $range,
                $order,
                " LIMIT 1 OFFSET $4"
            ),
            select!($range, $order),
        )
    };
}

fn walk_texts(
    order: DeviceOrder,
    descending: bool,
    in_fleet: bool,
) -> (&'static str, &'static str) {
    use DeviceOrder::{Eid, LastPoll, Registered};
    match (order, descending, in_fleet) {
        (Eid, false, false) => walk!("0", "l.eid > $3 AND l.eid <= $20", " ORDER BY l.eid"),
        (Eid, true, false) => walk!("0", "l.eid < $3 AND l.eid >= $20", " ORDER BY l.eid DESC"),
        (Eid, false, true) => walk!(
            "0",
            "l.fleet = $1 AND l.eid > $3 AND l.eid <= $20",
            " ORDER BY l.eid"
        ),
        (Eid, true, true) => walk!(
            "0",
            "l.fleet = $1 AND l.eid < $3 AND l.eid >= $20",
            " ORDER BY l.eid DESC"
        ),
        (LastPoll, false, _) => walk!(
            "l.polled_minute",
            "l.fleet = $1 AND (l.polled_minute, l.eid) > ($2, $3) AND (l.polled_minute, l.eid) <= ($19, $20)",
            " ORDER BY l.polled_minute, l.eid"
        ),
        (LastPoll, true, _) => walk!(
            "l.polled_minute",
            "l.fleet = $1 AND (l.polled_minute, l.eid) < ($2, $3) AND (l.polled_minute, l.eid) >= ($19, $20)",
            " ORDER BY l.polled_minute DESC, l.eid DESC"
        ),
        (Registered, false, _) => walk!(
            "l.registered_at",
            "l.fleet = $1 AND (l.registered_at, l.eid) > ($2, $3) AND (l.registered_at, l.eid) <= ($19, $20)",
            " ORDER BY l.registered_at, l.eid"
        ),
        (Registered, true, _) => walk!(
            "l.registered_at",
            "l.fleet = $1 AND (l.registered_at, l.eid) < ($2, $3) AND (l.registered_at, l.eid) >= ($19, $20)",
            " ORDER BY l.registered_at DESC, l.eid DESC"
        ),
    }
}

/// A place in the order of a walk.
type Place<'a> = (i64, &'a str);

/// Where a walk begins, and where it ends at the latest: behind the cursor, and within what the filters leave of its order.
fn range<'a>(walk: &'a DeviceWalk<'_>, residue: &'a Residue) -> (Place<'a>, Place<'a>) {
    let (low, high) = match walk.order {
        DeviceOrder::Eid => ((0, residue.eids.0.as_str()), (0, residue.eids.1.as_str())),
        DeviceOrder::LastPoll => ((residue.polled.0, ""), (residue.polled.1, "")),
        DeviceOrder::Registered => ((i64::MIN, ""), (i64::MAX, BEHIND_DIGITS)),
    };
    let after = walk.after.map(|after| match walk.order {
        DeviceOrder::Eid => (0, after.eid.as_str()),
        DeviceOrder::LastPoll | DeviceOrder::Registered => (after.at, after.eid.as_str()),
    });
    match walk.descending {
        false => (after.map_or(low, |after| after.max(low)), high),
        true => (after.map_or(high, |after| after.min(high)), low),
    }
}

/// Looks at so many devices of one list.
pub(crate) fn walk(
    tx: &ReadTx<'_>,
    walk: &DeviceWalk<'_>,
    residue: &Residue,
    covers: impl Fn(&str) -> bool,
) -> Result<Chunk<DeviceCursor, ListingRow>, SqlError> {
    let (place, rows) = walk_texts(walk.order, walk.descending, walk.fleet.is_some());
    let (start, end) = range(walk, residue);
    // Passing over rows in the engine costs a tenth of having each of them handed out.
    let last = tx.query_optional(
        place,
        params_from_iter(parameters(
            walk.fleet,
            (start, end),
            walk.count.saturating_sub(1),
            residue,
        )),
        |row| {
            Ok(DeviceCursor {
                at: row.get(0)?,
                eid: row.get(1)?,
            })
        },
    )?;
    let mut chunk = Chunk::none();
    chunk.examined = match last {
        Some(_) => walk.count,
        None => walk.count.saturating_sub(1),
    };
    let end = last
        .as_ref()
        .map_or(end, |last| (last.at, last.eid.as_str()));
    tx.query_each(
        rows,
        params_from_iter(parameters(walk.fleet, (start, end), walk.count, residue)),
        |row| -> Result<(), SqlError> {
            if covers(
                row.get_ref(1)?
                    .as_str()
                    .map_err(store::rusqlite::Error::from)?,
            ) {
                let row = listing(row)?;
                let cursor = row.cursor(walk.order);
                chunk.rows.push_back((cursor, row));
            }
            Ok(())
        },
    )?;
    chunk.last = last;
    Ok(chunk)
}

impl ListingRow {
    /// Its place in an order.
    pub(crate) fn cursor(&self, order: DeviceOrder) -> DeviceCursor {
        let at = match order {
            DeviceOrder::Eid => 0,
            DeviceOrder::LastPoll => self.polled_minute,
            DeviceOrder::Registered => self.registered_at,
        };
        DeviceCursor {
            at,
            eid: self.eid.to_string(),
        }
    }
}

/// The device, if it meets all filters.
pub(crate) fn check(
    tx: &ReadTx<'_>,
    eid: &str,
    residue: &Residue,
) -> Result<Option<ListingRow>, SqlError> {
    let place = (0, eid);
    tx.query_optional(
        CHECK,
        params_from_iter(parameters(None, (place, place), 1, residue)),
        listing,
    )
}

const CHECK: &str = select!("l.eid = $3 AND l.eid <= $20", "");

/// The parameters of all these texts, in their order.
fn parameters<'a>(
    fleet: Option<&'a str>,
    (start, end): (Place<'a>, Place<'a>),
    count: usize,
    residue: &'a Residue,
) -> [ToSqlOutput<'a>; 20] {
    fn text(text: Option<&str>) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(text.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())))
    }
    fn number(number: i64) -> ToSqlOutput<'static> {
        ToSqlOutput::Borrowed(ValueRef::Integer(number))
    }
    let tag = residue.tag.as_ref();
    let iccids = residue.iccids.as_ref();
    [
        text(fleet),
        number(start.0),
        text(Some(start.1)),
        number(i64::try_from(count).unwrap_or(i64::MAX)),
        text(residue.state.as_deref()),
        text(residue.association.as_deref()),
        number(residue.polled.0),
        number(residue.polled.1),
        text(residue.label.as_deref()),
        text(tag.map(|(key, _)| key.as_str())),
        text(tag.and_then(|(_, value)| value.as_deref())),
        number(residue.has_open.into()),
        number(residue.is_failing.into()),
        text(residue.provider.as_deref()),
        text(iccids.map(|(from, _)| from.as_str())),
        text(iccids.map(|(_, to)| to.as_str())),
        text(Some(&residue.eids.0)),
        text(Some(&residue.eids.1)),
        number(end.0),
        text(Some(end.1)),
    ]
}

fn listing(row: &Row<'_>) -> RowResult<ListingRow> {
    Ok(ListingRow {
        eid: eid(row, 0)?,
        fleet: row.get(1)?,
        state: parsed(row, 2)?,
        association: parsed(row, 3)?,
        registered_at: row.get(4)?,
        polled_minute: row.get(5)?,
        label: row.get(6)?,
    })
}

/// The devices that meet one of the filters, if they are not more than `max`: of the first filter of which that is so.
pub(crate) fn candidates(
    tx: &ReadTx<'_>,
    residue: &Residue,
    max: usize,
) -> Result<Option<Vec<String>>, SqlError> {
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let probe = |text: &str, parameters: &[&dyn store::ToSql]| -> Result<_, SqlError> {
        let mut eids: Vec<String> = tx.query_all(text, parameters, |row| row.get(0))?;
        if eids.len() > max {
            return Ok(None);
        }
        eids.sort_unstable();
        eids.dedup();
        Ok(Some(eids))
    };
    let mut found = None;
    if let Some((from, to)) = &residue.iccids {
        found = probe(ICCIDS, &[from, to, &limit])?;
    }
    if found.is_none()
        && let Some((key, value)) = &residue.tag
    {
        found = match value {
            Some(value) => probe(TAG, &[key, value, &limit])?,
            None => probe(TAG_KEY, &[key, &limit])?,
        };
    }
    if found.is_none()
        && let Some(provider) = &residue.provider
    {
        found = probe(PROVIDER, &[provider, &limit])?;
    }
    if found.is_none() && residue.is_failing {
        found = probe(UNSUCCESSFUL, &[&limit])?;
    }
    if found.is_none() && residue.has_open {
        found = probe(OPEN, &[&limit])?;
    }
    if found.is_none() {
        found = match (&residue.state, &residue.association) {
            (Some(state), Some(association)) => probe(STANDING, &[state, association, &limit])?,
            (Some(state), None) => probe(STATE, &[state, &limit])?,
            (None, Some(association)) => probe(ASSOCIATION, &[association, &limit])?,
            (None, None) => None,
        };
    }
    // In their own order they are walked as a range anyway.
    if found.is_none() && residue.order != DeviceOrder::Eid && !residue.eids.0.is_empty() {
        found = probe(EIDS, &[&residue.eids.0, &residue.eids.1, &limit])?;
    }
    Ok(found)
}

const ICCIDS: &str = "SELECT eid FROM profile WHERE iccid >= $1 AND iccid < $2 LIMIT $3";
const TAG: &str = "SELECT eid FROM device_tag WHERE key = $1 AND value = $2 LIMIT $3";
const TAG_KEY: &str = "SELECT eid FROM device_tag WHERE key = $1 LIMIT $2";
const PROVIDER: &str = "SELECT eid FROM profile WHERE state = 'enabled' AND provider = $1 LIMIT $2";
const UNSUCCESSFUL: &str = "SELECT DISTINCT eid FROM operation WHERE state IN ('failed', 'expired', 'rolled-back') \
     ORDER BY eid LIMIT $1";
const OPEN: &str = "SELECT DISTINCT eid FROM operation WHERE state IN ('queued', 'in-flight') ORDER BY eid LIMIT $1";
const STANDING: &str =
    "SELECT eid FROM device_listing WHERE state = $1 AND association = $2 LIMIT $3";
const STATE: &str = "SELECT eid FROM device_listing WHERE state = $1 LIMIT $2";
const ASSOCIATION: &str = "SELECT eid FROM device_listing WHERE association = $1 LIMIT $2";
const EIDS: &str = "SELECT eid FROM device_listing WHERE eid >= $1 AND eid < $2 LIMIT $3";

/// Adds what stands in other tables.
pub(crate) fn complete(tx: &ReadTx<'_>, row: ListingRow) -> Result<ListedDevice, SqlError> {
    let eid = row.eid.to_string();
    let enabled = tx.query_optional(
        "SELECT iccid, name, provider FROM profile WHERE eid = $1 AND state = 'enabled'",
        params![eid],
        |row| {
            Ok(EnabledProfile {
                iccid: parsed(row, 0)?,
                name: row.get(1)?,
                provider: row.get(2)?,
            })
        },
    )?;
    let last_ended: Option<OperationState> =
        tx.query_optional(LAST_ENDED, params![eid], |row| parsed(row, 0))?;
    Ok(ListedDevice {
        eid: row.eid,
        label: row.label,
        fleet: row.fleet,
        state: row.state,
        association: row.association,
        registered_at: row.registered_at,
        contact: devices::contact(tx, row.eid)?,
        enabled,
        open_operations: super::operations::open_count(tx, row.eid)?,
        last_ended,
        tags: tags::of_device(tx, row.eid)?,
    })
}

const LAST_ENDED: &str = "SELECT state FROM operation WHERE eid = $1 AND state NOT IN ('queued', 'in-flight') \
     ORDER BY id DESC LIMIT 1";

/// One list of operations.
pub(crate) enum OperationWalk {
    All,
    OfIntent(Part),
    OfActor,
    OfFleet(String, Part),
}

/// Which of the lists that an intent or a fleet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them: also for those that are done, since most are.
    All,
    /// Those that are not over.
    Open,
    /// Those that ended otherwise than done, by their state.
    Unsuccessful,
}

impl Part {
    /// The shortest list that has all operations in a state.
    pub(crate) fn with(state: Option<OperationState>) -> Self {
        use OperationState as S;
        match state {
            None | Some(S::Done) => Self::All,
            Some(S::Queued | S::InFlight) => Self::Open,
            Some(S::Failed | S::Cancelled | S::Expired | S::RolledBack) => Self::Unsuccessful,
        }
    }
}

macro_rules! operation_ids {
    ($matches:literal, $list:literal) => {
        concat!(
            "SELECT id, fleet, CASE WHEN ",
            $matches,
            " THEN 1 ELSE 0 END FROM operation WHERE ",
            $list,
            "id < $1 AND id >= $2 AND ($7 IS NULL OR fleet = $7) ORDER BY id DESC LIMIT $3"
        )
    };
}

impl OperationWalk {
    fn text(&self) -> &'static str {
        match self {
            Self::All => operation_ids!(
                "($4 IS NULL OR state = $4) AND ($5 IS NULL OR actor = $5)",
                ""
            ),
            Self::OfIntent(Part::All) => operation_ids!(
                "($4 IS NULL OR state = $4) AND ($5 IS NULL OR actor = $5)",
                "intent = $6 AND "
            ),
            Self::OfIntent(Part::Open) => operation_ids!(
                "state = $4 AND ($5 IS NULL OR actor = $5)",
                "intent = $6 AND finished_at IS NULL AND "
            ),
            Self::OfIntent(Part::Unsuccessful) => operation_ids!(
                "$5 IS NULL OR actor = $5",
                "intent = $6 AND state = $4 AND state IN ('failed', 'cancelled', 'expired', 'rolled-back') AND "
            ),
            Self::OfActor => operation_ids!("$4 IS NULL OR state = $4", "actor = $5 AND "),
            Self::OfFleet(_, Part::All) => operation_ids!(
                "($4 IS NULL OR state = $4) AND ($5 IS NULL OR actor = $5)",
                "fleet = $7 AND "
            ),
            Self::OfFleet(_, Part::Open) => operation_ids!(
                "state = $4 AND ($5 IS NULL OR actor = $5)",
                "fleet = $7 AND finished_at IS NULL AND "
            ),
            Self::OfFleet(_, Part::Unsuccessful) => operation_ids!(
                "$5 IS NULL OR actor = $5",
                "fleet = $7 AND state = $4 AND state IN ('failed', 'cancelled', 'expired', 'rolled-back') AND "
            ),
        }
    }
}

/// Looks at so many operations of one list, the newest first.
pub(crate) fn operation_ids(
    tx: &ReadTx<'_>,
    list: &OperationWalk,
    query: &OperationQuery,
    before: Option<Uuid>,
    count: usize,
    covers: impl Fn(&str) -> bool,
) -> Result<Chunk<Uuid, Uuid>, SqlError> {
    let fleet = match list {
        OperationWalk::OfFleet(fleet, _) => Some(fleet),
        _ => None,
    };
    // A UUIDv7 begins with the millisecond in which it was made.
    let since = u64::try_from(query.since.unwrap_or(0)).unwrap_or(0);
    let since = Uuid::from_u128(u128::from(since & 0xFFFF_FFFF_FFFF) << 80);
    let mut chunk = Chunk::none();
    tx.query_each(
        list.text(),
        params![
            before.map_or_else(|| BEHIND_DIGITS.to_owned(), |id| id.to_string()),
            since.to_string(),
            i64::try_from(count).unwrap_or(i64::MAX),
            query.state.map(|state| state.to_string()),
            query.actor,
            query.intent.map(|intent| intent.to_string()),
            fleet
        ],
        |row| -> Result<(), SqlError> {
            let id: Uuid = parsed(row, 0)?;
            chunk.examined += 1;
            chunk.last = Some(id);
            if row.get::<_, i64>(2)? == 1
                && covers(
                    row.get_ref(1)?
                        .as_str()
                        .map_err(store::rusqlite::Error::from)?,
                )
            {
                chunk.rows.push_back((id, id));
            }
            Ok(())
        },
    )?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use store::{Store, StoreOptions, rusqlite::types::Null};

    use super::*;
    use crate::tables::{MIGRATIONS, explained};

    /// How the engine goes about it. No text may sort, or read all of a table that is long.
    fn plan(store: &Store, text: &str, parameters: usize) -> Vec<String> {
        store
            .read(|tx| -> Result<_, SqlError> {
                explained(tx, text, store::params_from_iter(vec![Null; parameters]))
            })
            .unwrap()
    }

    #[test]
    fn devices_are_walked_along_an_index_in_their_order() {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap();
        for (order, descending, in_fleet, expected) in [
            (
                DeviceOrder::Eid,
                false,
                false,
                "PRIMARY KEY (eid>? AND eid<?)",
            ),
            (
                DeviceOrder::Eid,
                true,
                false,
                "PRIMARY KEY (eid>? AND eid<?)",
            ),
            (
                DeviceOrder::Eid,
                false,
                true,
                "device_listing_fleet (fleet=? AND eid>? AND eid<?)",
            ),
            (
                DeviceOrder::Eid,
                true,
                true,
                "device_listing_fleet (fleet=? AND eid>? AND eid<?)",
            ),
            (
                DeviceOrder::LastPoll,
                false,
                true,
                "device_listing_polled (fleet=? AND (polled_minute,eid)>(?,?) AND (polled_minute,eid)<(?,?))",
            ),
            (
                DeviceOrder::LastPoll,
                true,
                true,
                "device_listing_polled (fleet=? AND (polled_minute,eid)>(?,?) AND (polled_minute,eid)<(?,?))",
            ),
            (
                DeviceOrder::Registered,
                false,
                true,
                "device_listing_registered (fleet=? AND (registered_at,eid)>(?,?) AND (registered_at,eid)<(?,?))",
            ),
            (
                DeviceOrder::Registered,
                true,
                true,
                "device_listing_registered (fleet=? AND (registered_at,eid)>(?,?) AND (registered_at,eid)<(?,?))",
            ),
        ] {
            let (place, rows) = walk_texts(order, descending, in_fleet);
            for text in [place, rows] {
                let plan = plan(&store, text, 20);
                assert!(
                    plan[0].contains(expected),
                    "{order:?} {descending}: {plan:#?}"
                );
                let is_bad =
                    |step: &&String| step.contains("TEMP B-TREE") || step.starts_with("SCAN");
                assert_eq!(plan.iter().find(is_bad), None, "{plan:#?}");
            }
        }
        let plan = plan(&store, CHECK, 20);
        assert!(plan[0].contains("PRIMARY KEY (eid=?)"), "{plan:#?}");
    }

    #[test]
    fn what_is_checked_of_each_device_is_looked_up() {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap();
        let plan = plan(&store, CHECK, 20).join("\n");
        for expected in [
            "SEARCH t USING PRIMARY KEY (eid=? AND key=?)",
            "SEARCH o USING INDEX operation_history (eid=?)",
            "SEARCH p USING COVERING INDEX profile_provider (provider=? AND eid=?)",
            "(eid=? AND iccid>? AND iccid<?)",
        ] {
            assert!(plan.contains(expected), "{expected} in {plan}");
        }
    }

    #[test]
    fn few_candidates_are_found_along_an_index_of_their_own() {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap();
        for (text, parameters, expected) in [
            (ICCIDS, 3, "profile_iccid (iccid>? AND iccid<?)"),
            (TAG, 3, "device_tag_key (key=? AND value=?)"),
            (TAG_KEY, 2, "device_tag_key (key=?)"),
            (PROVIDER, 2, "profile_provider (provider=?)"),
            (UNSUCCESSFUL, 1, "COVERING INDEX operation_unsuccessful"),
            (OPEN, 1, "INDEX operation_queue"),
            (
                STANDING,
                3,
                "device_listing_state (state=? AND association=?)",
            ),
            (STATE, 2, "device_listing_state (state=?)"),
            (ASSOCIATION, 2, "device_listing_association (association=?)"),
            (EIDS, 3, "PRIMARY KEY (eid>? AND eid<?)"),
            (LAST_ENDED, 1, "operation_history (eid=?)"),
        ] {
            let plan = plan(&store, text, parameters);
            assert!(plan[0].contains(expected), "{text}: {plan:#?}");
            assert!(!plan.join(" ").contains("TEMP B-TREE"), "{text}: {plan:#?}");
        }
    }

    #[test]
    fn operations_are_walked_along_an_index_newest_first() {
        let store = Store::open_temporary(MIGRATIONS, StoreOptions::default()).unwrap();
        for (list, expected) in [
            (
                OperationWalk::All,
                "sqlite_autoindex_operation_1 (id>? AND id<?)",
            ),
            (
                OperationWalk::OfIntent(Part::All),
                "operation_by_intent (intent=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfIntent(Part::Open),
                "operation_intent_open (intent=? AND finished_at=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfIntent(Part::Unsuccessful),
                "operation_intent_unsuccessful (intent=? AND state=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfActor,
                "operation_by_actor (actor=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfFleet("a".to_owned(), Part::All),
                "operation_fleet (fleet=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfFleet("a".to_owned(), Part::Open),
                "operation_fleet_open (fleet=? AND finished_at=? AND id>? AND id<?)",
            ),
            (
                OperationWalk::OfFleet("a".to_owned(), Part::Unsuccessful),
                "operation_fleet_unsuccessful (fleet=? AND state=? AND id>? AND id<?)",
            ),
        ] {
            let plan = plan(&store, list.text(), 7);
            assert!(plan[0].contains(expected), "{plan:#?}");
            assert_eq!(plan.len(), 1, "{plan:#?}");
        }
    }
}
