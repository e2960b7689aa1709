//! Somebody who can write the eIM's database. The eIM itself is made to write the false rows, so that they are exactly what
//! its tables hold: for one start it follows a feed that tells of operations nobody asked for.

use std::sync::Arc;

use anyhow::{Context, ensure};
use eim::OperationState;
use eim::authority::{Authority, Reply};
use intent::api::{
    Account, Associate, Feed, FeedItem, IntentStatus, RecordResult, Reference, Refusal,
    RefusalCode, SignedPackage,
};
use intent::command::Command;
use intent::{Intent, IntentId};
use rsp::ids::Eid;
use rsp::sgp32::EimConfigurationData;

use super::super::authority::{Who, register};
use super::super::pki::EID_PREFIX;
use super::super::report::{Reaction, Trial};
use super::super::snapshot::Snapshot;
use super::arena::{Arena, OTHER, VICTIM, all_refused};
use super::authority::{AUTHORITY_NAME, operate, refused, sign};

/// Two rows: the victim's profile is to be deleted by an intent that there never was, and another device is to carry out
/// what a genuine intent, long done, is said to want of it. Both devices ask for them.
pub(super) fn database(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let genuine = arena
        .world
        .operate(VICTIM, vec![Command::GetRat])?
        .intent
        .context("the operation has no intent")?;
    let (victim, iccid) = (arena.eid()?, arena.victim()?.disabled()?);
    let delete = vec![Command::Delete { iccid }];
    let other = arena.other()?.eid;
    let bootstrap = arena.other()?.bootstrap;
    let disable = vec![Command::Disable { iccid: bootstrap }];
    let unknown = IntentId::of(b"nobody asked for this");
    let news = arena.unused_eid(EID_PREFIX)?;
    let lies = [(unknown, victim, delete), (genuine, other, disable)];

    let before = (
        Snapshot::without_eim(arena.world)?,
        Snapshot::of_authority(arena.world)?,
    );
    arena.world.servers.mislead_eim(|office| {
        // Without any news of its own the feed does not go on.
        office.done(Who::Machine, register(news)?)?;
        let known = office.engine().intent(genuine)?;
        let items = lies
            .iter()
            .map(|(id, eid, commands)| forged(&known, *id, *eid, commands.clone()));
        Ok(Arc::new(Liar {
            honest: office.seam(),
            items: items.collect(),
        }))
    })?;

    let mut reactions = Vec::new();
    for (index, (id, eid, _)) in [VICTIM, OTHER].into_iter().zip(&lies) {
        let rows = arena.world.eim()?.operations_of(*id, None, 10)?;
        let row = rows.iter().find(|row| row.eid == *eid);
        let row = row.context("the row is not in the database")?.clone();
        ensure!(
            row.state == OperationState::Queued,
            "the row is {}",
            row.state
        );
        arena.world.fleet.device_mut(index)?.poll();
        let row = arena.world.operation(row.id)?;
        let code = match *id == unknown {
            true => RefusalCode::Unknown,
            false => RefusalCode::OutOfScope,
        };
        let account = Account::Intent(*id);
        reactions.push(refused(sign(arena, account, *eid)?, code));
        let summary = row.outcome.map(|outcome| outcome.summary);
        let is_refused = summary
            .as_ref()
            .is_some_and(|summary| summary.starts_with("refused by the authority"));
        if row.state != OperationState::Failed || row.request.is_some() || !is_refused {
            let through = format!("the operation is {}: {summary:?}", row.state);
            reactions.push(Reaction::through(through));
        }
    }
    let after = (
        Snapshot::without_eim(arena.world)?,
        Snapshot::of_authority(arena.world)?,
    );
    let mut changes = before.0.changes(&after.0);
    changes.extend(before.1.changes(&after.1));
    Ok(Trial {
        reaction: all_refused(
            reactions,
            AUTHORITY_NAME,
            "signs by its own record: unknown, out-of-scope",
        )?,
        changes,
    })
}

/// What the eIM is told about a device.
fn forged(known: &IntentStatus, id: IntentId, eid: Eid, commands: Vec<Command>) -> FeedItem {
    FeedItem::Approved {
        id,
        intent: Box::new(Intent {
            action: operate(eid, commands),
            ..known.intent.clone()
        }),
        proposer: known.proposer.clone(),
        eids: vec![eid.to_string()],
    }
}

/// An authority whose feed tells more than there is.
struct Liar {
    honest: Arc<dyn Authority>,
    items: Vec<FeedItem>,
}

impl Authority for Liar {
    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        Box::pin(async move {
            let mut feed = self.honest.feed(after).await?;
            if feed.next > after {
                feed.items.extend(self.items.iter().cloned());
            }
            Ok(feed)
        })
    }

    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        self.honest.sign(references)
    }

    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<intent::Command>, Refusal>>> {
        self.honest.release(references)
    }

    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        self.honest.associate(device)
    }

    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>> {
        self.honest.record_results(results)
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        self.honest.association_data()
    }
}
