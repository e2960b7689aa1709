//! What was asked for, how it stands, and what the eIM has to be told of it.
//!
//! Intents are kept until some days after they expired; what happened to older ones is in the ledger. Their nonces are
//! forgotten with them: an expired intent is refused anyway, and time does not run backwards here.
//!
//! As long as it is kept, the feed tells of an intent that expired while devices were left: the eIM then knows of an end for
//! each of them. How far the eIM has followed is not in the ledger, so time alone bounds this; an eIM that comes later is told
//! up to where it missed something.

use std::collections::{BTreeMap, BTreeSet};

use intent::api::{FeedItem, IntentState, IntentStatus, Refusal, RefusalCode};
use intent::{Action, CredentialId, Decision, Fleet, Intent, IntentId, Principal};
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

use crate::event::{Decided, Proposed, Waiver};
use crate::state::{EidList, Misfit};

/// How long an intent is kept after it expired: 7 days.
const KEPT_MS: i64 = 7 * 86_400_000;
/// Devices in one answer of the feed, roughly.
const FEED_DEVICES: u64 = 50_000;
/// Items in one answer of the feed.
const FEED_ITEMS: usize = 500;

/// All intents that are not forgotten.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Intents {
    open: BTreeMap<IntentId, OpenIntent>,
    by_number: BTreeMap<u64, IntentId>,
    by_expiry: BTreeSet<(i64, IntentId)>,
    nonces: BTreeSet<[u8; 16]>,
    /// Lists of devices whose intent follows in the same commit.
    lists: BTreeMap<IntentId, EidList>,
    feed: BTreeMap<u64, Mark>,
    /// The newest item of the feed that was forgotten with an intent that had expired while devices were left; 0 for none.
    #[serde(default)]
    forgotten: u64,
    /// The newest item of the feed that tells of a thaw: it says what those before it said.
    #[serde(default)]
    thawed: Option<u64>,
}

/// An intent that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenIntent {
    number: u64,
    at: i64,
    id: IntentId,
    intent: Box<Intent>,
    principal: Principal,
    credential: CredentialId,
    eids: EidList,
    fleets: BTreeSet<Fleet>,
    approvers: u8,
    waived: Option<Waiver>,
    approvals: Vec<Approval>,
    standing: Standing,
    done: BTreeSet<u32>,
    /// Items of the feed that mean nothing without this intent.
    marks: Vec<u64>,
}

/// One person's word for an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its entry.
    pub number: u64,
    /// Who.
    pub principal: Principal,
    /// With which passkey.
    pub credential: CredentialId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Waiting,
    Approved,
    Rejected,
    Cancelled,
}

/// What the feed tells, by the entry that made it so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Mark {
    Approved(IntentId),
    Cancelled {
        id: IntentId,
        by: Principal,
    },
    Registered {
        fleet: Fleet,
        eids: EidList,
        by: Principal,
        #[serde(default)]
        intent: Option<IntentId>,
    },
    Retired {
        eids: EidList,
        by: Principal,
    },
    Reassociable {
        eids: EidList,
        by: Principal,
    },
    Thawed {
        by: Principal,
    },
}

impl Intents {
    /// An intent, however it stands.
    pub fn get(&self, id: &IntentId) -> Option<&OpenIntent> {
        self.open.get(id)
    }

    /// The intent of an entry `intent.proposed`.
    pub fn at(&self, number: u64) -> Option<&OpenIntent> {
        self.by_number.get(&number).and_then(|id| self.open.get(id))
    }

    /// The intent, if packages of it may be signed or released at `now` (milliseconds since 1970).
    pub fn approved(&self, id: &IntentId, now: i64) -> Result<&OpenIntent, Refusal> {
        let refused = |code, message: &str| Err(Refusal::new(code, message));
        let open = self.known(id)?;
        if !matches!(open.intent.action, Action::Operate { .. }) {
            return refused(
                RefusalCode::WrongState,
                "this intent is not about packages: there is nothing to sign for it",
            );
        }
        match open.standing {
            Standing::Approved if open.is_expired(now) => refused(
                RefusalCode::Expired,
                "the intent expired before this device was reached: propose it anew",
            ),
            Standing::Approved => Ok(open),
            Standing::Waiting => refused(
                RefusalCode::NotApproved,
                "not enough people have approved this intent",
            ),
            Standing::Rejected => refused(RefusalCode::WrongState, "the intent was rejected"),
            Standing::Cancelled => refused(RefusalCode::WrongState, "the intent was cancelled"),
        }
    }

    /// The intent, or a refusal that says it is not known.
    pub fn known(&self, id: &IntentId) -> Result<&OpenIntent, Refusal> {
        self.open.get(id).ok_or_else(|| {
            Refusal::new(
                RefusalCode::Unknown,
                "no such intent; those that expired a week ago or earlier are found in the ledger only",
            )
        })
    }

    /// Whether an intent with this nonce was accepted.
    pub fn is_used(&self, nonce: &[u8; 16]) -> bool {
        self.nonces.contains(nonce)
    }

    /// Intents, the newest first, from before entry `before`.
    pub fn newest_first(&self, before: Option<u64>) -> impl Iterator<Item = &OpenIntent> {
        self.by_number
            .range(..before.unwrap_or(u64::MAX))
            .rev()
            .filter_map(|(_, id)| self.open.get(id))
    }

    /// How many intents are kept.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What happened behind entry `after` and before entry `durable`, at most some hundred items, and where to go on. Of an
    /// intent that expired meanwhile it names the devices for which nothing was signed or released.
    pub fn feed(&self, after: u64, durable: u64, now: i64) -> (Vec<FeedItem>, u64) {
        let mut items = Vec::new();
        let (mut devices, mut next) = (0u64, after);
        let first = std::ops::Bound::Excluded(after);
        for (number, mark) in self.feed.range((first, std::ops::Bound::Unbounded)) {
            if *number >= durable || items.len() >= FEED_ITEMS || devices >= FEED_DEVICES {
                return (items, next);
            }
            next = *number;
            if let Some((item, count)) = self.item(mark, now) {
                devices = devices.saturating_add(count as u64);
                items.push(item);
            }
        }
        // What is gone is not asked for again.
        (items, next.max(self.forgotten))
    }

    /// Up to which item something was left out that whoever follows from `after` should have been told: an intent that
    /// expired so long ago that it is not kept any more, while devices were left.
    pub fn forgotten_behind(&self, after: u64) -> Option<u64> {
        (self.forgotten > after).then_some(self.forgotten)
    }

    fn item(&self, mark: &Mark, now: i64) -> Option<(FeedItem, usize)> {
        let texts = |eids: &EidList| eids.as_slice().iter().map(Eid::to_string).collect();
        Some(match mark {
            Mark::Approved(id) => {
                let open = self.open.get(id)?;
                let eids: Vec<String> = match open.is_expired(now) {
                    true => open.left().map(Eid::to_string).collect(),
                    false => texts(&open.eids),
                };
                if eids.is_empty() {
                    return None;
                }
                let count = eids.len();
                let item = FeedItem::Approved {
                    id: *id,
                    intent: open.intent.clone(),
                    proposer: open.principal.clone(),
                    eids,
                };
                (item, count)
            }
            Mark::Cancelled { id, by } => {
                let item = FeedItem::Cancelled {
                    id: *id,
                    by: by.clone(),
                };
                (item, 1)
            }
            Mark::Registered {
                fleet,
                eids,
                by,
                intent,
            } => {
                let item = FeedItem::Registered {
                    fleet: fleet.clone(),
                    eids: texts(eids),
                    by: by.clone(),
                    intent: *intent,
                };
                (item, eids.as_slice().len())
            }
            Mark::Retired { eids, by } => {
                let item = FeedItem::Retired {
                    eids: texts(eids),
                    by: by.clone(),
                };
                (item, eids.as_slice().len())
            }
            Mark::Reassociable { eids, by } => {
                let item = FeedItem::Reassociable {
                    eids: texts(eids),
                    by: by.clone(),
                };
                (item, eids.as_slice().len())
            }
            Mark::Thawed { by } => (FeedItem::Thawed { by: by.clone() }, 1),
        })
    }
}

/// What events do. Only [`State::apply`](crate::state::State::apply) calls these.
impl Intents {
    /// Forgets what expired long before `now`.
    pub(crate) fn forget_until(&mut self, now: i64) {
        while let Some((expires_at, id)) = self.by_expiry.first().copied() {
            if expires_at.saturating_add(KEPT_MS) > now {
                return;
            }
            self.by_expiry.remove(&(expires_at, id));
            if let Some(open) = self.open.remove(&id) {
                self.by_number.remove(&open.number);
                self.nonces.remove(&open.intent.nonce);
                let has_left = open.standing == Standing::Approved && open.left().next().is_some();
                for mark in &open.marks {
                    if self.feed.remove(mark).is_some() && has_left {
                        self.forgotten = self.forgotten.max(*mark);
                    }
                }
            }
        }
    }

    pub(crate) fn apply_devices(
        &mut self,
        number: u64,
        id: IntentId,
        eids: &[Eid],
    ) -> Result<(), Misfit> {
        let list = self.lists.entry(id).or_default();
        match list.extend(eids) {
            true => Ok(()),
            false => Err(Misfit::new(number, "the EIDs do not rise")),
        }
    }

    /// The devices of a proposal: those it lists, or the list that came before it.
    pub(crate) fn take_devices(
        &mut self,
        number: u64,
        proposed: &Proposed,
    ) -> Result<EidList, Misfit> {
        let list = self.lists.remove(&proposed.id);
        let Some(devices) = proposed.intent.action.devices() else {
            return Ok(EidList::default());
        };
        // The root was checked when the list was accepted; here the count shows that no part of it is missing.
        let eids = match list {
            Some(list) if list.as_slice().len() as u64 == devices.count() => Some(list),
            Some(_) => None,
            None => devices.resolve(None).ok().and_then(EidList::of_sorted),
        };
        eids.ok_or_else(|| Misfit::new(number, "the list of devices is not complete"))
    }

    pub(crate) fn apply_proposed(
        &mut self,
        number: u64,
        at: i64,
        proposed: &Proposed,
        eids: EidList,
        fleets: BTreeSet<Fleet>,
    ) -> Result<(), Misfit> {
        let standing = match proposed.approvers {
            0 => Standing::Approved,
            _ => Standing::Waiting,
        };
        let open = OpenIntent {
            number,
            at,
            id: proposed.id,
            intent: Box::new(proposed.intent.clone()),
            principal: proposed.principal.clone(),
            credential: proposed.credential.clone(),
            eids,
            fleets,
            approvers: proposed.approvers,
            waived: proposed.waived,
            approvals: Vec::new(),
            standing,
            done: BTreeSet::new(),
            marks: Vec::new(),
        };
        if !self.nonces.insert(proposed.intent.nonce) || self.open.contains_key(&proposed.id) {
            return Err(Misfit::new(number, "the intent was accepted before"));
        }
        self.by_number.insert(number, proposed.id);
        self.by_expiry
            .insert((proposed.intent.expires_at, proposed.id));
        self.open.insert(proposed.id, open);
        if standing == Standing::Approved {
            self.tell(number, proposed.id);
        }
        Ok(())
    }

    pub(crate) fn apply_decided(
        &mut self,
        number: u64,
        decided: &Decided,
        fleets: BTreeSet<Fleet>,
    ) -> Result<(), Misfit> {
        let open = self
            .open
            .get_mut(&decided.id)
            .filter(|open| open.standing == Standing::Waiting)
            .ok_or_else(|| Misfit::new(number, "no intent waits for this decision"))?;
        match decided.decision {
            Decision::Reject => {
                open.standing = Standing::Rejected;
                open.marks.push(number);
                let mark = Mark::Cancelled {
                    id: decided.id,
                    by: decided.principal.clone(),
                };
                self.feed.insert(number, mark);
            }
            Decision::Approve => {
                open.approvals.push(Approval {
                    number,
                    principal: decided.principal.clone(),
                    credential: decided.credential.clone(),
                });
                open.fleets = fleets;
                if decided.complete {
                    open.standing = Standing::Approved;
                    self.tell(number, decided.id);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn apply_cancelled(
        &mut self,
        number: u64,
        id: IntentId,
        by: u64,
    ) -> Result<(), Misfit> {
        let by = self.proposer(number, by)?.clone();
        let open = self
            .open
            .get_mut(&id)
            .ok_or_else(|| Misfit::new(number, "the cancelled intent is not known"))?;
        open.standing = Standing::Cancelled;
        open.marks.push(number);
        self.feed.insert(number, Mark::Cancelled { id, by });
        Ok(())
    }

    /// What was frozen is not any more: whatever was refused for that is worth asking for again. The newest thaw says so for
    /// all before it.
    pub(crate) fn apply_thawed(&mut self, number: u64, intent: u64) -> Result<(), Misfit> {
        let by = self.proposer(number, intent)?.clone();
        if let Some(before) = self.thawed.replace(number) {
            self.feed.remove(&before);
        }
        self.feed.insert(number, Mark::Thawed { by });
        Ok(())
    }

    /// A package of the intent was signed or released for a device.
    pub(crate) fn apply_done(
        &mut self,
        number: u64,
        intent: u64,
        eid: Option<Eid>,
    ) -> Result<(), Misfit> {
        let open = self
            .by_number
            .get(&intent)
            .and_then(|id| self.open.get_mut(id))
            .ok_or_else(|| Misfit::new(number, "the intent of the package is not known"))?;
        let position = eid
            .and_then(|eid| open.eids.position(&eid))
            .and_then(|position| u32::try_from(position).ok())
            .ok_or_else(|| Misfit::new(number, "the device is none of the intent's"))?;
        match open.done.insert(position) {
            true => Ok(()),
            false => Err(Misfit::new(
                number,
                "the intent was carried out on this device before",
            )),
        }
    }

    /// Who proposed what entry `intent` holds.
    pub(crate) fn proposer(&self, number: u64, intent: u64) -> Result<&Principal, Misfit> {
        self.at(intent)
            .map(OpenIntent::principal)
            .ok_or_else(|| Misfit::new(number, "the intent it comes from is not known"))
    }

    /// Puts an approved intent into the feed.
    fn tell(&mut self, number: u64, id: IntentId) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let by = open.principal.clone();
        // The list of devices goes where it is needed longer: the feed is read from the beginning by an eIM that lost its
        // database.
        let mark = match &open.intent.action {
            Action::Operate { .. } => {
                open.marks.push(number);
                Mark::Approved(id)
            }
            Action::RegisterDevices { fleet, .. } => Mark::Registered {
                fleet: fleet.clone(),
                eids: std::mem::take(&mut open.eids),
                by,
                intent: Some(id),
            },
            Action::RetireDevices { .. } => Mark::Retired {
                eids: std::mem::take(&mut open.eids),
                by,
            },
            Action::ReassociateDevices { .. } => Mark::Reassociable {
                eids: std::mem::take(&mut open.eids),
                by,
            },
            _ => return,
        };
        self.feed.insert(number, mark);
    }
}

impl OpenIntent {
    /// Number of its entry.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its id.
    pub fn id(&self) -> IntentId {
        self.id
    }

    /// What was asked for.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Who asked.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// With which credential.
    pub fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// The devices in rising order. Empty once devices were registered, retired or made associable by it.
    pub fn eids(&self) -> &[Eid] {
        self.eids.as_slice()
    }

    /// Whether it is about this device.
    pub fn is_about(&self, eid: &Eid) -> bool {
        self.eids.position(eid).is_some()
    }

    /// Devices for which no package of it was signed or released. None for what is not about packages.
    fn left(&self) -> impl Iterator<Item = &Eid> {
        let is_operation = matches!(self.intent.action, Action::Operate { .. });
        let devices = (0u32..).zip(self.eids.as_slice());
        devices
            .filter(move |(position, _)| is_operation && !self.done.contains(position))
            .map(|(_, eid)| eid)
    }

    /// Whether a package of it was signed or released for this device.
    pub fn is_done(&self, eid: &Eid) -> bool {
        self.eids
            .position(eid)
            .and_then(|position| u32::try_from(position).ok())
            .is_some_and(|position| self.done.contains(&position))
    }

    /// For how many devices a package of it was signed or released.
    pub fn done(&self) -> u64 {
        self.done.len() as u64
    }

    /// Fleets of the devices when it was proposed, or when the last person approved.
    pub fn fleets(&self) -> &BTreeSet<Fleet> {
        &self.fleets
    }

    /// Why approvals were not asked for.
    pub fn waived(&self) -> Option<Waiver> {
        self.waived
    }

    /// How many people had to approve when it was proposed.
    pub fn approvers(&self) -> u8 {
        self.approvers
    }

    /// Who approved.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// Numbers of the entries of the approvals.
    pub fn approval_numbers(&self) -> Vec<u64> {
        self.approvals
            .iter()
            .map(|approval| approval.number)
            .collect()
    }

    /// Whether it is too late for it.
    pub fn is_expired(&self, now: i64) -> bool {
        now >= self.intent.expires_at
    }

    /// How it stands at `now`.
    pub fn state(&self, now: i64) -> IntentState {
        let is_operation = matches!(self.intent.action, Action::Operate { .. });
        let devices = self.intent.action.devices().map_or(0, |set| set.count());
        match self.standing {
            Standing::Rejected => IntentState::Rejected,
            Standing::Cancelled => IntentState::Cancelled,
            Standing::Approved if !is_operation || self.done() >= devices => IntentState::Done,
            Standing::Waiting | Standing::Approved if self.is_expired(now) => IntentState::Expired,
            Standing::Approved => IntentState::Approved,
            Standing::Waiting => IntentState::Waiting,
        }
    }

    /// The same for lists and answers.
    pub fn status(&self, now: i64) -> IntentStatus {
        IntentStatus {
            id: self.id,
            entry: self.number,
            at: self.at,
            proposer: self.principal.clone(),
            state: self.state(now),
            approvers: self.approvers,
            approved_by: self
                .approvals
                .iter()
                .map(|approval| approval.principal.clone())
                .collect(),
            devices: self.intent.action.devices().map_or(0, |set| set.count()),
            done: self.done(),
            intent: self.intent.as_ref().clone(),
        }
    }
}
