//! Following the authority: what it decided becomes rows here.
//!
//! The cursor moves in the transaction that holds the last of what it passes over, and every step can be taken again: a crash
//! on either side loses nothing and doubles nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use intent::action::Action;
use intent::api::{FeedItem, RefusalCode};
use intent::command::Command;
use intent::{Intent, IntentId, Principal};
use rsp::ids::Eid;
use serde_json::json;
use store::{SqlError, Tx};
use uuid::Uuid;

use crate::actor::Actor;
use crate::authority::AuthorityError;
use crate::delivery::{code_word, why_expired};
use crate::openings::unsealed;
use crate::operations::OperationDraft;
use crate::pending;
use crate::tables::{self, devices, feed, openings, operations};
use crate::{Eim, EventDraft, OperationState, Outcome, StorageError};

/// Devices that one transaction is about at most: the store has one writer, and polls wait for it.
const PAGE: usize = 500;
/// How far the feed may go on without anything for the eIM before the cursor is written.
const CURSOR_LAG: u64 = 10_000;
/// Pause between looks for operations that are too late, and for openings that nobody needs any more.
const TIDY_EVERY_MS: i64 = 60_000;

/// Why the feed could not be followed. What was taken stays taken.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No answer.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The authority knows less than it did.
    #[error(
        "the authority's feed ends at {next}, and was followed to {cursor} before: its record was rolled back or is another one"
    )]
    WentBack {
        /// Where it ends.
        next: u64,
        /// Where it was followed to.
        cursor: u64,
    },
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for FollowError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

/// How far the feed was followed.
#[derive(Default)]
pub(crate) struct Progress {
    /// Further than what is stored, if there was nothing for the eIM.
    cursor: Option<u64>,
    tidied_at: i64,
}

/// What becomes of one device.
enum Step {
    Operation {
        draft: OperationDraft,
        /// How it ends at once, and why, if it cannot be carried out.
        end: Option<(OperationState, String)>,
        /// Of the event that says so.
        failure: Uuid,
    },
    Register {
        fleet: String,
        event: EventDraft,
        /// The intent that does, and the id of the event about what operators gave with it.
        intent: Option<(IntentId, Uuid)>,
    },
    Retire {
        event: EventDraft,
        outcome: Outcome,
    },
    Reassociate {
        event: EventDraft,
        outcome: Outcome,
    },
}

/// Steps for one transaction.
#[derive(Default)]
struct Page {
    steps: Vec<(Eid, Step)>,
    /// Intents whose openings operations need from now on.
    approved: Vec<IntentId>,
}

/// An intent that is carried out.
struct Order<'a> {
    id: IntentId,
    intent: &'a Intent,
    actor: Actor,
    commands: &'a [Command],
    is_complete: bool,
}

impl Eim {
    /// Takes everything new from the authority's feed; how many items there were. To be called again and again, and as soon
    /// as something was proposed or decided.
    pub async fn follow(&self) -> Result<usize, FollowError> {
        // One at a time, so that items are taken in their order.
        let mut progress = self.progress.lock().await;
        let stored = self.read(|tx| -> Result<_, SqlError> { feed::cursor(tx) })?;
        let mut cursor = progress.cursor.unwrap_or(stored).max(stored);
        let mut taken = 0;
        loop {
            let news = self.link.feed(cursor).await?;
            if news.next < cursor {
                return Err(FollowError::WentBack {
                    next: news.next,
                    cursor,
                });
            }
            if news.next == cursor {
                break;
            }
            if let Some(forgotten) = news.forgotten {
                tracing::warn!(
                    cursor,
                    forgotten,
                    "the authority's feed was not followed for so long that intents expired meanwhile of which it tells no \
                     more: no operations come of them. `palisade ledger show` shows them, between these entries"
                );
            }
            taken += news.items.len();
            if !news.items.is_empty() || news.next - stored > CURSOR_LAG {
                self.take_items(&news.items, news.next).await?;
            }
            cursor = news.next;
            progress.cursor = Some(cursor);
        }
        self.tidy(&mut progress).await?;
        Ok(taken)
    }

    async fn take_items(&self, items: &[FeedItem], next: u64) -> Result<(), FollowError> {
        let mut page = Page::default();
        for item in items {
            if let FeedItem::Cancelled { id, by } = item {
                self.write_page(std::mem::take(&mut page), None).await?;
                self.cancel_all(*id, by).await?;
                continue;
            }
            if let FeedItem::Thawed { .. } = item {
                self.write_page(std::mem::take(&mut page), None).await?;
                self.wake_frozen().await?;
                continue;
            }
            let order = self.order(item)?;
            if let Some(order) = &order {
                page.approved.push(order.id);
            }
            for eid in eids_of(item) {
                let Ok(eid) = eid.parse::<Eid>() else {
                    tracing::error!(%eid, "the authority's feed names a device that cannot be");
                    continue;
                };
                if let Some(step) = self.step_of(eid, item, order.as_ref()) {
                    page.steps.push((eid, step));
                }
                if page.steps.len() >= PAGE {
                    self.write_page(std::mem::take(&mut page), None).await?;
                }
            }
        }
        self.write_page(page, Some(next)).await
    }

    /// What is to be carried out, and whether all its secrets are here.
    fn order<'a>(&self, item: &'a FeedItem) -> Result<Option<Order<'a>>, FollowError> {
        let FeedItem::Approved {
            id,
            intent,
            proposer,
            ..
        } = item
        else {
            return Ok(None);
        };
        let Action::Operate { commands, .. } = &intent.action else {
            return Ok(None);
        };
        let is_complete = unsealed(commands, &[]).is_some() || {
            let openings = self.read(|tx| -> Result<_, SqlError> { openings::find(tx, *id) })?;
            unsealed(commands, &openings).is_some()
        };
        Ok(Some(Order {
            id: *id,
            intent,
            actor: Actor::principal(proposer),
            commands,
            is_complete,
        }))
    }

    fn step_of(&self, eid: Eid, item: &FeedItem, order: Option<&Order<'_>>) -> Option<Step> {
        Some(match item {
            FeedItem::Approved { .. } => {
                let order = order?;
                let draft = self.draft_of_intent(
                    eid,
                    &order.actor,
                    order.id,
                    order.commands,
                    order.intent.expires_at,
                );
                let failed = |why: String| Some((OperationState::Failed, why));
                let end = match (Command::check(order.commands), order.is_complete) {
                    _ if order.intent.expires_at <= self.now_ms() => {
                        Some((OperationState::Expired, TOO_LATE.to_owned()))
                    }
                    (Err(error), _) => failed(format!("this version cannot carry it out: {error}")),
                    (Ok(_), false) => failed(NO_OPENINGS.to_owned()),
                    (Ok(_), true) => None,
                };
                Step::Operation {
                    draft,
                    end,
                    failure: self.new_id(),
                }
            }
            FeedItem::Registered {
                fleet, by, intent, ..
            } => {
                // Other certificates may have come with the registration.
                self.forget_key(eid);
                Step::Register {
                    fleet: fleet.to_string(),
                    event: self.event(
                        eid,
                        &Actor::principal(by),
                        "device-registered",
                        json!({ "fleet": fleet }),
                    ),
                    intent: intent.map(|id| (id, self.new_id())),
                }
            }
            FeedItem::Retired { by, .. } => Step::Retire {
                event: self.event(eid, &Actor::principal(by), "device-retired", json!({})),
                outcome: summary(format!("the device was retired by {by}")),
            },
            FeedItem::Reassociable { by, .. } => Step::Reassociate {
                event: self.event(eid, &Actor::principal(by), "device-reassociable", json!({})),
                outcome: summary(ASSOCIATED_ANEW.to_owned()),
            },
            FeedItem::Cancelled { .. } | FeedItem::Thawed { .. } => return None,
        })
    }

    /// Writes a page, and with the last one how far the feed was followed.
    async fn write_page(&self, page: Page, cursor: Option<u64>) -> Result<(), FollowError> {
        if page.steps.is_empty() && page.approved.is_empty() && cursor.is_none() {
            return Ok(());
        }
        let at = self.now_ms();
        let limit = i64::try_from(self.config.queue_per_device_max).unwrap_or(i64::MAX);
        let touched: Vec<Eid> = page.steps.iter().map(|(eid, _)| *eid).collect();
        self.change_many(touched, move |tx| -> Result<(), StorageError> {
            for id in &page.approved {
                openings::approved(tx, *id)?;
            }
            for (eid, step) in &page.steps {
                step.take(tx, *eid, limit, at)?;
            }
            if let Some(cursor) = cursor {
                feed::set_cursor(tx, cursor)?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Withdraws what no device has taken yet.
    async fn cancel_all(&self, id: IntentId, by: &Principal) -> Result<(), FollowError> {
        let (actor, at) = (Actor::principal(by), self.now_ms());
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let queued = self.read(|tx| -> Result<_, SqlError> {
                operations::queued_of_intent(tx, id, limit)
            })?;
            if queued.is_empty() {
                break;
            }
            let touched = queued.iter().map(|(_, eid)| *eid).collect();
            let outcome = summary(format!("cancelled by {by}"));
            let cancelled: Vec<(Uuid, EventDraft)> = queued
                .into_iter()
                .map(|(operation, eid)| {
                    let detail = json!({ "operation": operation, "intent": id });
                    let event = self.event(eid, &actor, "operation-cancelled", detail);
                    (operation, event)
                })
                .collect();
            self.change_many(touched, move |tx| -> Result<(), StorageError> {
                for (operation, event) in &cancelled {
                    cancel(tx, *operation, &outcome, event, at)?;
                }
                Ok(())
            })
            .await?;
        }
        self.forget_pending(id).await?;
        Ok(self.forget_openings(id).await?)
    }

    /// Lets what was held because something was frozen be asked for again with the next poll.
    async fn wake_frozen(&self) -> Result<(), FollowError> {
        // Whoever was refused before and holds the operation after this, sees it and does not pause.
        self.thaws.fetch_add(1, Ordering::AcqRel);
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let mut behind = None;
        loop {
            let now = self.now_ms();
            // What is held is not kept in memory, so no look has to be forgotten.
            let last = self
                .change_many(Vec::new(), move |tx| -> Result<_, StorageError> {
                    let frozen = code_word(RefusalCode::Frozen);
                    let held = feed::held(tx, &frozen, now, behind, limit)?;
                    for (_, operation) in &held {
                        feed::wake(tx, *operation, now)?;
                    }
                    Ok(held.last().copied())
                })
                .await?;
            if last.is_none() {
                return Ok(());
            }
            behind = last;
        }
    }

    /// What is due from time to time.
    async fn tidy(&self, progress: &mut Progress) -> Result<(), FollowError> {
        let now = self.now_ms();
        if now - progress.tidied_at < TIDY_EVERY_MS || self.expire_some(now).await? {
            return Ok(());
        }
        progress.tidied_at = now;
        self.store
            .write_async(move |tx| -> Result<(), StorageError> {
                openings::prune(tx, now)?;
                tables::pending::prune(tx, now)?;
                Ok(())
            })
            .await
            .map_err(store::WriteError::into_verb)?;
        Ok(())
    }

    /// Ends operations whose time is over: devices that do not poll would leave them open for ever. Whether there may be more.
    async fn expire_some(&self, now: i64) -> Result<bool, FollowError> {
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let overdue = self.read(|tx| -> Result<_, SqlError> { feed::overdue(tx, now, limit) })?;
        let has_more = overdue.len() >= PAGE;
        if overdue.is_empty() {
            return Ok(false);
        }
        let touched = overdue.iter().map(|one| one.eid).collect();
        let ended: Vec<_> = overdue
            .into_iter()
            .map(|one| {
                let why = why_expired(one.state, one.proofs);
                let state = OperationState::Expired;
                let detail = json!({ "operation": one.id, "state": state, "summary": why });
                let event =
                    self.event(one.eid, &Actor::system("expiry"), "operation-ended", detail);
                (one, summary(why.to_owned()), event)
            })
            .collect();
        self.change_many(touched, move |tx| -> Result<(), StorageError> {
            for (one, outcome, event) in &ended {
                let state = OperationState::Expired;
                // Not if a result came in meanwhile.
                if operations::finish_from(tx, one.id, one.state, state, outcome, None, now)? {
                    event.append(tx)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(has_more)
    }

    /// As [`Eim::change`], about many devices.
    pub(crate) async fn change_many<T, E, F>(&self, eids: Vec<Eid>, verb: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<store::StoreFault> + Send + 'static,
    {
        let (looks, pulse) = (Arc::clone(&self.looks), Arc::clone(&self.pulse));
        let after = move || {
            for eid in eids {
                looks.forget(eid);
            }
            pulse.beat();
        };
        self.store
            .write_async_then(verb, after)
            .await
            .map_err(store::WriteError::into_verb)
    }
}

const NO_OPENINGS: &str = "its activation or confirmation code did not reach this eIM: propose it again, with the openings";
const TOO_LATE: &str = "its intent expired before this eIM learned of it, and nothing was signed for this device: propose it anew \
     if it is still wanted";
const ASSOCIATED_ANEW: &str = "the device was to be associated anew while this package was under way; whether it was executed \
     is not known";

fn summary(summary: String) -> Outcome {
    Outcome {
        summary,
        results: Vec::new(),
    }
}

fn queue_full(limit: i64) -> String {
    format!("{limit} operations wait for this device already; cancel some or let it poll")
}

fn eids_of(item: &FeedItem) -> &[String] {
    match item {
        FeedItem::Approved { eids, .. }
        | FeedItem::Registered { eids, .. }
        | FeedItem::Retired { eids, .. }
        | FeedItem::Reassociable { eids, .. } => eids,
        FeedItem::Cancelled { .. } | FeedItem::Thawed { .. } => &[],
    }
}

fn cancel(
    tx: &Tx<'_>,
    operation: Uuid,
    outcome: &Outcome,
    event: &EventDraft,
    at: i64,
) -> Result<(), SqlError> {
    let (queued, cancelled) = (OperationState::Queued, OperationState::Cancelled);
    if operations::finish_from(tx, operation, queued, cancelled, outcome, None, at)? {
        event.append(tx)?;
    }
    Ok(())
}

impl Step {
    fn take(&self, tx: &Tx<'_>, eid: Eid, limit: i64, at: i64) -> Result<(), SqlError> {
        match self {
            Self::Operation {
                draft,
                end,
                failure,
            } => {
                let is_full = operations::open_count(tx, eid)? >= limit;
                let full = || (OperationState::Failed, queue_full(limit));
                let end = end.clone().or_else(|| is_full.then(full));
                let (true, Some((state, why))) = (draft.insert(tx)?, end) else {
                    return Ok(());
                };
                let detail = json!({ "operation": draft.id(), "state": state, "summary": why });
                operations::finish(tx, draft.id(), state, &summary(why), None, at)?;
                let event = EventDraft {
                    id: *failure,
                    eid,
                    at,
                    actor: Actor::system("feed").to_string(),
                    kind: "operation-ended",
                    detail: detail.to_string(),
                };
                event.append(tx)?;
            }
            Self::Register {
                fleet,
                event,
                intent,
            } => {
                if devices::register(tx, eid, fleet, at)? {
                    event.append(tx)?;
                }
                if let Some((intent, event)) = intent {
                    pending::hand_over(tx, *intent, eid, *event, at)?;
                }
            }
            Self::Retire { event, outcome } => {
                if devices::retire(tx, eid, at)? {
                    event.append(tx)?;
                }
                let cancelled = OperationState::Cancelled;
                for operation in operations::queued_on(tx, eid)? {
                    operations::finish(tx, operation, cancelled, outcome, None, at)?;
                }
            }
            Self::Reassociate { event, outcome } => {
                if devices::reassociate(tx, eid, at)? {
                    event.append(tx)?;
                }
                if let Some(operation) = operations::in_flight(tx, eid)?
                    && operation.counter.is_some()
                {
                    let failed = OperationState::Failed;
                    operations::finish(tx, operation.id, failed, outcome, None, at)?;
                }
            }
        }
        Ok(())
    }
}
