//! Operations: what each device is to do, and how it stands.
//!
//! Nothing is asked for here: operations of people and machines come from the authority's feed ([`crate::feed`]), and the eIM
//! itself only ever wants profiles or eIMs listed.

use intent::IntentId;
use intent::api::{Account, Reference};
use intent::command::Command;
use rsp::ids::Eid;
use serde::Serialize;
use store::{SqlError, Tx};
use uuid::Uuid;

use crate::actor::Actor;
use crate::tables::operations::{self, Cause};
use crate::{Eim, EventDraft, Operation, StorageError};

/// Why a verb about an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// No such operation.
    #[error("no operation {0}")]
    Unknown(Uuid),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for OperationError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

/// An operation about to be entered, with its event.
pub(crate) struct OperationDraft {
    row: operations::NewRow,
    event: EventDraft,
    account: Account,
}

/// Particulars of an operation that is entered.
#[derive(Serialize)]
struct Queued<'a> {
    operation: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<IntentId>,
    commands: &'a [Command],
}

/// What the eIM may have signed on its own account. It reads and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnRead {
    Profiles,
    Eims,
}

impl OwnRead {
    fn command(self) -> Command {
        match self {
            Self::Profiles => Command::ListProfiles,
            Self::Eims => Command::ListEims,
        }
    }

    fn account(self, reference: String) -> Account {
        match self {
            Self::Profiles => Account::ListProfiles(reference),
            Self::Eims => Account::ListEims(reference),
        }
    }
}

impl OperationDraft {
    pub(crate) fn id(&self) -> Uuid {
        self.row.id
    }

    /// What the authority signs it by.
    pub(crate) fn reference(&self) -> Reference {
        Reference {
            account: self.account.clone(),
            eid: self.row.eid,
        }
    }

    /// Enters it; false when the device is not managed, or the same intent has one for it already.
    pub(crate) fn insert(&self, tx: &Tx<'_>) -> Result<bool, SqlError> {
        let is_new = operations::insert(tx, &self.row)?;
        if is_new {
            self.event.append(tx)?;
        }
        Ok(is_new)
    }

    /// Enters it unless the same commands are waiting already; whether it did.
    pub(crate) fn insert_once(&self, tx: &Tx<'_>) -> Result<bool, SqlError> {
        if operations::is_open(tx, self.row.eid, &self.row.commands)? {
            return Ok(false);
        }
        self.insert(tx)
    }
}

impl Operation {
    /// What the authority signs or releases it by; none for rows that another version has written.
    pub(crate) fn authority_reference(&self) -> Option<Reference> {
        let account = match (self.intent, &self.reference, self.commands.as_slice()) {
            (Some(id), ..) => Account::Intent(id),
            (None, Some(reference), [Command::ListProfiles]) => {
                OwnRead::Profiles.account(reference.clone())
            }
            (None, Some(reference), [Command::ListEims]) => {
                OwnRead::Eims.account(reference.clone())
            }
            _ => return None,
        };
        Some(Reference {
            account,
            eid: self.eid,
        })
    }
}

impl Eim {
    /// One operation.
    pub fn operation(&self, id: Uuid) -> Result<Operation, OperationError> {
        self.read(|tx| operations::find(tx, id)?.ok_or(OperationError::Unknown(id)))
    }

    /// Operations of a device, newest first, before `before`.
    pub fn operations(
        &self,
        eid: Eid,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Operation>, StorageError> {
        self.read(|tx| Ok(operations::page(tx, eid, before, limit)?))
    }

    /// Operations of an intent in the order in which they were entered, after `after`.
    pub fn operations_of(
        &self,
        intent: IntentId,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Operation>, StorageError> {
        self.read(|tx| Ok(operations::page_of_intent(tx, intent, after, limit)?))
    }

    /// Makes row and event of something that the eIM wants to read.
    pub(crate) fn draft_read(&self, eid: Eid, actor: &Actor, what: OwnRead) -> OperationDraft {
        let id = self.new_id();
        self.draft_own(id, eid, actor, what, id.to_string())
    }

    /// Makes row and event of a proof of presence before `waiting` is handed over. Whoever asks at the same time asks under
    /// the same reference, so that one package is signed for all of them.
    pub(crate) fn draft_proof(&self, waiting: &Operation, actor: &Actor) -> OperationDraft {
        let reference = format!("{}-{}", waiting.id, waiting.proofs);
        self.draft_own(
            self.new_id(),
            waiting.eid,
            actor,
            OwnRead::Profiles,
            reference,
        )
    }

    fn draft_own(
        &self,
        id: Uuid,
        eid: Eid,
        actor: &Actor,
        what: OwnRead,
        reference: String,
    ) -> OperationDraft {
        let created_at = self.now_ms();
        let row = operations::NewRow {
            id,
            eid,
            cause: Cause::Own(reference.clone()),
            actor: actor.to_string(),
            commands: String::new(),
            created_at,
            expires_at: created_at.saturating_add(self.config.operation_lifetime_ms),
        };
        self.draft(row, actor, &[what.command()], what.account(reference))
    }

    /// Makes row and event of an approved intent's operation on one device.
    pub(crate) fn draft_of_intent(
        &self,
        eid: Eid,
        actor: &Actor,
        intent: IntentId,
        commands: &[Command],
        expires_at: i64,
    ) -> OperationDraft {
        let row = operations::NewRow {
            id: self.new_id(),
            eid,
            cause: Cause::Intent(intent),
            actor: actor.to_string(),
            commands: String::new(),
            created_at: self.now_ms(),
            expires_at,
        };
        self.draft(row, actor, commands, Account::Intent(intent))
    }

    fn draft(
        &self,
        mut row: operations::NewRow,
        actor: &Actor,
        commands: &[Command],
        account: Account,
    ) -> OperationDraft {
        row.commands = serde_json::to_string(commands).unwrap_or_default();
        let intent = match account {
            Account::Intent(id) => Some(id),
            Account::ListProfiles(_) | Account::ListEims(_) => None,
        };
        let event = self.event(
            row.eid,
            actor,
            "operation-queued",
            Queued {
                operation: row.id,
                intent,
                commands,
            },
        );
        OperationDraft {
            row,
            event,
            account,
        }
    }
}
