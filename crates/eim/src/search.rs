//! Finding devices and operations across fleets.
//!
//! A filter that few devices meet is looked up along its own index, and what it finds is checked and sorted. Otherwise devices
//! are walked in the order asked for, along an index, until the page is full: so many match that it soon is. The work of one
//! call is bounded either way. When it is used up the page is shorter than asked for, and its cursor goes on from there.

use std::cmp::Ordering;
use std::str::FromStr;

use intent::{Fleet, IntentId};
use rsp::ids::{Eid, Iccid};
use serde::{Deserialize, Serialize};
use store::{ReadTx, SqlError};
use uuid::Uuid;

use crate::fleet::{Sieve, Visible, page_size};
use crate::merge::{Bounds, Chunk, merge};
use crate::tables::search::{self, DeviceWalk, OperationWalk, Part, Residue};
use crate::tables::{fleet, operations};
use crate::tags::{InvalidTag, Tag, check_key, check_value};
use crate::{Association, Contact, DeviceState, Eim, Operation, OperationState, ReadingError};

/// As many devices that meet one filter are looked up and sorted at most; with more, the order's index is walked.
const CANDIDATES_MAX: usize = 1_000;
/// Narrow rows that one call walks over in the order of EIDs.
const WALK_MAX: usize = 120_000;
/// Rows that one call walks over when each has to be looked up.
const LOOKUPS_MAX: usize = 10_000;
/// Lists of operations that are merged; with more, all operations are walked.
const OPERATION_LISTS_MAX: usize = 512;

const LABEL_MAX: usize = 200;
const PROVIDER_MAX: usize = 64;
const ACTOR_MAX: usize = 200;
const EID_DIGITS: usize = 32;
const ICCID_DIGITS: usize = 20;

/// Which devices are looked for. The default is all of them, by EID.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    /// By a name that they have.
    pub text: Option<SearchText>,
    /// By a tag.
    pub tag: Option<TagFilter>,
    /// Of one fleet.
    pub fleet: Option<Fleet>,
    /// By where they stand.
    pub state: Option<DeviceState>,
    /// By what the authority knows of them.
    pub association: Option<Association>,
    /// By when they polled last.
    pub contact: Option<ContactFilter>,
    /// Only those with an operation that is queued or in flight.
    pub open_operations: bool,
    /// Only those whose last operation to end failed, expired or was rolled back.
    pub failing: bool,
    /// Only those with an enabled profile of this service provider, by its exact name.
    pub provider: Option<String>,
    /// In which order.
    pub order: DeviceOrder,
    /// The other way round.
    pub descending: bool,
    /// Where the page before ended.
    pub after: Option<DeviceCursor>,
    /// Devices in the page; 0: 50, and [`PAGE_MAX`](crate::fleet::PAGE_MAX) at most.
    pub limit: u32,
}

/// A name of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchText {
    /// An EID, or how it begins.
    Eid(String),
    /// The ICCID of a profile on it, or how it begins.
    Iccid(String),
    /// A part of its label; upper and lower case of ASCII are the same.
    Label(String),
}

/// A tag that devices have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFilter {
    /// Its key.
    pub key: String,
    /// Its value; none: any.
    pub value: Option<String>,
}

/// When a device polled last, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactFilter {
    /// Since this time; milliseconds since 1970.
    Since(i64),
    /// Not since this time, or never; milliseconds since 1970.
    NotSince(i64),
    /// Never.
    Never,
}

/// The order of devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceOrder {
    /// By EID.
    #[default]
    Eid,
    /// By the minute of the last poll, those that never did first; then by EID. A device that polls moves while it is paged.
    LastPoll,
    /// By when they were registered; then by EID.
    Registered,
}

/// Where a page of devices ended. It holds no secret, and a forged one only begins elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCursor {
    /// What the order is by: a minute or millisecond since 1970, 0 when it is the EID alone.
    pub at: i64,
    /// The EID.
    pub eid: String,
}

/// A page of devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DevicePage {
    /// Fewer than asked for does not mean that it was the last page.
    pub devices: Vec<ListedDevice>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<DeviceCursor>,
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedDevice {
    /// The eUICC's identity.
    #[serde(serialize_with = "crate::tables::as_text")]
    pub eid: Eid,
    /// The operator's name for it.
    pub label: String,
    /// Its fleet.
    pub fleet: String,
    /// Where it stands.
    pub state: DeviceState,
    /// What the authority knows of it.
    pub association: Association,
    /// Milliseconds since 1970.
    pub registered_at: i64,
    /// When it was last heard of.
    pub contact: Option<Contact>,
    /// Its enabled profile.
    pub enabled: Option<EnabledProfile>,
    /// How many of its operations are queued or in flight.
    pub open_operations: i64,
    /// How the operation ended that ended last, by the order in which they were asked for.
    pub last_ended: Option<OperationState>,
    /// Its tags, by key.
    pub tags: Vec<Tag>,
}

/// The enabled profile of a device in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnabledProfile {
    /// Which.
    #[serde(serialize_with = "crate::tables::as_text")]
    pub iccid: Iccid,
    /// The profile's name.
    pub name: String,
    /// Its service provider's name.
    pub provider: String,
}

/// Which operations are looked for, the newest first. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct OperationQuery {
    /// By where they stand.
    pub state: Option<OperationState>,
    /// Of one intent.
    pub intent: Option<IntentId>,
    /// By who asked, in full, for example `principal:olga`.
    pub actor: Option<String>,
    /// On devices of one fleet.
    pub fleet: Option<Fleet>,
    /// Asked for at this time or later; milliseconds since 1970.
    pub since: Option<i64>,
    /// Where the page before ended.
    pub before: Option<OperationCursor>,
    /// Operations in the page; 0: 50, and [`PAGE_MAX`](crate::fleet::PAGE_MAX) at most.
    pub limit: u32,
}

/// Where a page of operations ended. It holds no secret, and a forged one only begins elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationCursor(pub Uuid);

/// A page of operations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationPage {
    /// Without packages and results: those of one operation come with it alone. Fewer than asked for does not mean that it was
    /// the last page.
    pub operations: Vec<Operation>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<OperationCursor>,
}

impl SearchText {
    /// What somebody means who types this: digits are an EID if they can be one's beginning, else an ICCID; anything else is
    /// part of a label. Digits may be grouped by blanks.
    ///
    /// # Errors
    /// [`ReadingError::Text`] when nothing can match.
    pub fn guess(text: &str) -> Result<Self, ReadingError> {
        let text = text.trim();
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
        if digits.len() >= 4 && digits.len() <= EID_DIGITS && is_number {
            // Both begin with 89. The digits of an ICCID's country and issuer follow there; those of an EID are of the same
            // kind, so a whole ICCID is taken for one.
            return Ok(match digits.len() {
                18..=ICCID_DIGITS => Self::Iccid(digits),
                _ if digits.starts_with("89") => Self::Eid(digits),
                ..=ICCID_DIGITS => Self::Iccid(digits),
                _ => Self::Label(text.to_owned()),
            });
        }
        let label = Self::Label(text.to_owned());
        label.check()?;
        Ok(label)
    }

    fn check(&self) -> Result<(), ReadingError> {
        match self {
            Self::Eid(digits) => check_digits("an EID", digits, EID_DIGITS),
            Self::Iccid(digits) => check_digits("an ICCID", digits, ICCID_DIGITS),
            Self::Label(text) => check_text("a label", text, LABEL_MAX),
        }
    }
}

impl FromStr for TagFilter {
    type Err = InvalidTag;

    /// `key` for any value, or `key=value`.
    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        check_key(key)?;
        value.map_or(Ok(()), check_value)?;
        Ok(Self {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        })
    }
}

impl Eim {
    /// A page of the visible devices that meet all that the query asks for.
    ///
    /// # Errors
    /// A text that nothing can match, or the database.
    pub fn search_devices(
        &self,
        visible: &Visible,
        query: &DeviceQuery,
    ) -> Result<DevicePage, ReadingError> {
        let search = DeviceSearch::new(visible, query)?;
        self.read(|tx| {
            let (rows, next) = search.run(tx)?;
            let devices = rows.into_iter().map(|row| search::complete(tx, row));
            Ok(DevicePage {
                devices: devices.collect::<Result<_, SqlError>>()?,
                next,
            })
        })
    }

    /// A page of the operations on visible devices that meet all that the query asks for, the newest first.
    ///
    /// # Errors
    /// A text that nothing can match, or the database.
    pub fn search_operations(
        &self,
        visible: &Visible,
        query: &OperationQuery,
    ) -> Result<OperationPage, ReadingError> {
        if let Some(actor) = &query.actor {
            check_text("who asked", actor, ACTOR_MAX)?;
        }
        let visible = visible.within(query.fleet.as_ref());
        let sieve = visible.sieve();
        self.read(|tx| {
            let lists = operation_lists(tx, &visible, query)?;
            let bounds = Bounds {
                limit: limit_of(query.limit),
                budget: LOOKUPS_MAX,
            };
            let before = query.before.map(|cursor| cursor.0);
            let found = merge(
                lists.len(),
                bounds,
                before.as_ref(),
                |one: &Uuid, other| other.cmp(one),
                |index, before, count| -> Result<Chunk<Uuid, Uuid>, SqlError> {
                    let Some(list) = lists.get(index) else {
                        return Ok(Chunk::none());
                    };
                    let covers = |fleet: &str| sieve.covers(fleet);
                    search::operation_ids(tx, list, query, before.copied(), count, covers)
                },
            )?;
            let operations = found.rows.into_iter().filter_map(|id| {
                let operation = operations::find(tx, id).transpose()?;
                Some(operation.map(|operation| Operation {
                    request: None,
                    result: None,
                    ..operation
                }))
            });
            Ok(OperationPage {
                operations: operations.collect::<Result<_, SqlError>>()?,
                next: found.next.map(OperationCursor),
            })
        })
    }
}

/// The sorted lists that hold what is looked for.
fn operation_lists(
    tx: &ReadTx<'_>,
    visible: &Visible,
    query: &OperationQuery,
) -> Result<Vec<OperationWalk>, SqlError> {
    let part = Part::with(query.state);
    if query.intent.is_some() {
        return Ok(vec![OperationWalk::OfIntent(part)]);
    }
    // Most operations of somebody are done; those in other states are found sooner among all that are in them.
    if query.actor.is_some() && matches!(query.state, None | Some(OperationState::Done)) {
        return Ok(vec![OperationWalk::OfActor]);
    }
    if *visible == Visible::All && query.state.is_none() {
        return Ok(vec![OperationWalk::All]);
    }
    let names = visible.names(tx)?;
    if names.len() > OPERATION_LISTS_MAX {
        return Ok(vec![OperationWalk::All]);
    }
    let lists = names.into_iter();
    Ok(lists
        .map(|fleet| OperationWalk::OfFleet(fleet, part))
        .collect())
}

/// A search for devices, as it is carried out.
struct DeviceSearch<'a> {
    visible: Visible,
    query: &'a DeviceQuery,
    residue: Residue,
}

/// A device found, without what stands in other tables.
type Found = search::ListingRow;

impl<'a> DeviceSearch<'a> {
    fn new(visible: &Visible, query: &'a DeviceQuery) -> Result<Self, ReadingError> {
        if let Some(text) = &query.text {
            text.check()?;
        }
        if let Some(provider) = &query.provider {
            check_text("a provider", provider, PROVIDER_MAX)?;
        }
        Ok(Self {
            visible: visible.within(query.fleet.as_ref()),
            query,
            residue: Residue::new(query),
        })
    }

    fn run(&self, tx: &ReadTx<'_>) -> Result<(Vec<Found>, Option<DeviceCursor>), SqlError> {
        let candidates = match &self.query.text {
            // Whoever has the whole EID has found it.
            Some(SearchText::Eid(digits)) if digits.len() == EID_DIGITS => {
                Some(vec![digits.clone()])
            }
            _ => search::candidates(tx, &self.residue, CANDIDATES_MAX)?,
        };
        match candidates {
            Some(eids) => self.among(tx, eids),
            None => self.walk(tx),
        }
    }

    /// Checks and sorts the few devices that meet one of the filters.
    fn among(
        &self,
        tx: &ReadTx<'_>,
        eids: Vec<String>,
    ) -> Result<(Vec<Found>, Option<DeviceCursor>), SqlError> {
        let sieve = self.visible.sieve();
        let mut found: Vec<(DeviceCursor, Found)> = Vec::new();
        for eid in eids {
            let Some(row) = search::check(tx, &eid, &self.residue)? else {
                continue;
            };
            let cursor = row.cursor(self.query.order);
            let is_after = |after| self.compare(&cursor, after) == Ordering::Greater;
            if sieve.covers(&row.fleet) && self.query.after.as_ref().is_none_or(is_after) {
                found.push((cursor, row));
            }
        }
        found.sort_by(|(one, _), (other, _)| self.compare(one, other));
        let limit = limit_of(self.query.limit);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more);
        let next = next.map(|(cursor, _)| cursor.clone());
        Ok((found.into_iter().map(|(_, row)| row).collect(), next))
    }

    /// Walks devices in their order until the page is full.
    fn walk(&self, tx: &ReadTx<'_>) -> Result<(Vec<Found>, Option<DeviceCursor>), SqlError> {
        let (lists, budget) = self.lists(tx)?;
        let sieve = self.visible.sieve();
        let sieve = lists
            .iter()
            .any(|fleet| fleet.is_none())
            .then_some(&sieve)
            .filter(|sieve| !sieve.is_all());
        let bounds = Bounds {
            limit: limit_of(self.query.limit),
            budget,
        };
        let merged = merge(
            lists.len(),
            bounds,
            self.query.after.as_ref(),
            |one, other| self.compare(one, other),
            |index, after, count| match lists.get(index) {
                Some(fleet) => self.chunk(tx, fleet.as_deref(), after, count, sieve),
                None => Ok(Chunk::none()),
            },
        )?;
        Ok((merged.rows, merged.next))
    }

    /// The lists to merge, one for each fleet or one for all of them, and how many rows may be looked at.
    fn lists(&self, tx: &ReadTx<'_>) -> Result<(Vec<Option<String>>, usize), SqlError> {
        // In the order of EIDs the narrow rows themselves stand. It pays to walk over all of them if most are visible.
        if self.query.order == DeviceOrder::Eid {
            let whole = match &self.visible {
                Visible::All => true,
                Visible::Only(_) => self.sees_most(tx)?,
            };
            if whole {
                return Ok((vec![None], WALK_MAX));
            }
        }
        let names = self.visible.names(tx)?;
        Ok((names.into_iter().map(Some).collect(), LOOKUPS_MAX))
    }

    fn sees_most(&self, tx: &ReadTx<'_>) -> Result<bool, SqlError> {
        let sieve = self.visible.sieve();
        let (mut seen, mut all) = (0, 0);
        fleet::each(tx, fleet::DEVICE, |_, fleet, count| {
            all += count;
            if sieve.covers(fleet) {
                seen += count;
            }
            Ok(())
        })?;
        Ok(seen * 2 > all)
    }

    fn chunk(
        &self,
        tx: &ReadTx<'_>,
        fleet: Option<&str>,
        after: Option<&DeviceCursor>,
        count: usize,
        sieve: Option<&Sieve<'_>>,
    ) -> Result<Chunk<DeviceCursor, Found>, SqlError> {
        let walk = DeviceWalk {
            order: self.query.order,
            descending: self.query.descending,
            fleet,
            after,
            count,
        };
        let covers = |fleet: &str| sieve.is_none_or(|sieve| sieve.covers(fleet));
        search::walk(tx, &walk, &self.residue, covers)
    }

    fn compare(&self, one: &DeviceCursor, other: &DeviceCursor) -> Ordering {
        // A cursor of another order must not put a device before or behind all others.
        let by_time = match self.query.order {
            DeviceOrder::Eid => Ordering::Equal,
            DeviceOrder::LastPoll | DeviceOrder::Registered => one.at.cmp(&other.at),
        };
        let order = by_time.then_with(|| one.eid.cmp(&other.eid));
        match self.query.descending {
            true => order.reverse(),
            false => order,
        }
    }
}

const LIMIT_DEFAULT: u32 = 50;

fn limit_of(limit: u32) -> usize {
    page_size(if limit == 0 { LIMIT_DEFAULT } else { limit })
}

fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), ReadingError> {
    let length = text.chars().count();
    if length == 0 || length > limit || text.chars().any(char::is_control) {
        return Err(ReadingError::Text { what, limit });
    }
    Ok(())
}

fn check_digits(what: &'static str, digits: &str, limit: usize) -> Result<(), ReadingError> {
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    if digits.is_empty() || digits.len() > limit || !is_number {
        return Err(ReadingError::Digits { what, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
