//! Operations: proposing, watching, cancelling.

use rsp::ids::Eid;
use serde::Serialize;
use serde_json::json;
use store::{SqlError, Tx};
use uuid::Uuid;

use crate::actor::Actor;
use crate::command::{Command, CommandError};
use crate::tables::{devices, operations};
use crate::{DeviceState, Eim, EventDraft, Operation, OperationState, Outcome, StorageError};

/// What somebody asks of a device.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The device.
    pub eid: Eid,
    /// Becomes one eIM Package.
    pub commands: Vec<Command>,
    /// How long it may wait and be executed; the configured lifetime if absent. Milliseconds.
    pub lifetime_ms: Option<i64>,
}

/// Why a verb about an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// No such device.
    #[error("no device with EID {0} is registered")]
    UnknownDevice(Eid),
    /// The device is retired.
    #[error("the device with EID {0} is retired; register it again to manage it")]
    Retired(Eid),
    /// No such operation.
    #[error("no operation {0}")]
    Unknown(Uuid),
    /// The commands do not make a package.
    #[error("the commands cannot be executed together")]
    Commands(#[from] CommandError),
    /// Too many wait already.
    #[error("{limit} operations wait for this device already; cancel some or let it poll")]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// A lifetime that is not positive.
    #[error("the lifetime of an operation is positive")]
    Lifetime,
    /// The device has it.
    #[error("the operation is {0}; only one that is still queued can be cancelled")]
    NotQueued(OperationState),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for OperationError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for OperationError {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

/// An operation about to be entered, with its event.
pub(crate) struct OperationDraft {
    row: operations::NewRow,
    event: EventDraft,
}

/// Particulars of an operation that is entered.
#[derive(Serialize)]
struct Queued<'a> {
    operation: Uuid,
    commands: &'a [Command],
}

impl OperationDraft {
    pub(crate) fn id(&self) -> Uuid {
        self.row.id
    }

    pub(crate) fn insert(&self, tx: &Tx<'_>) -> Result<(), SqlError> {
        operations::insert(tx, &self.row)?;
        self.event.append(tx)
    }

    /// Enters it unless the same commands are waiting already; whether it did.
    pub(crate) fn insert_once(&self, tx: &Tx<'_>) -> Result<bool, SqlError> {
        let is_new = !operations::is_open(tx, self.row.eid, &self.row.commands)?;
        if is_new {
            self.insert(tx)?;
        }
        Ok(is_new)
    }
}

impl Eim {
    /// Queues an operation. It is executed when the device polls.
    pub async fn propose(
        &self,
        actor: &Actor,
        proposal: Proposal,
    ) -> Result<Operation, OperationError> {
        Command::check(&proposal.commands)?;
        let eid = proposal.eid;
        let lifetime = proposal
            .lifetime_ms
            .unwrap_or(self.config.operation_lifetime_ms);
        if lifetime <= 0 {
            return Err(OperationError::Lifetime);
        }
        let mut draft = self.draft_operation(eid, actor, &proposal.commands);
        draft.row.expires_at = draft.row.created_at.saturating_add(lifetime);
        let limit = self.config.queue_per_device_max;
        self.change(eid, move |tx| {
            let device = devices::find(tx, eid)?.ok_or(OperationError::UnknownDevice(eid))?;
            if device.state == DeviceState::Retired {
                return Err(OperationError::Retired(eid));
            }
            if usize::try_from(operations::open_count(tx, eid)?).unwrap_or(usize::MAX) >= limit {
                return Err(OperationError::QueueFull { limit });
            }
            draft.insert(tx)?;
            operations::find(tx, draft.row.id)?.ok_or(OperationError::Unknown(draft.row.id))
        })
        .await
    }

    /// Withdraws an operation that no device has taken yet.
    pub async fn cancel(&self, actor: &Actor, id: Uuid) -> Result<(), OperationError> {
        let eid = self.operation(id)?.eid;
        let at = self.now_ms();
        let cancelled = self.event(
            eid,
            actor,
            "operation-cancelled",
            json!({ "operation": id }),
        );
        let outcome = Outcome {
            summary: format!("cancelled by {actor}"),
            results: Vec::new(),
        };
        self.change(eid, move |tx| {
            let state = operations::find(tx, id)?
                .ok_or(OperationError::Unknown(id))?
                .state;
            if state != OperationState::Queued {
                return Err(OperationError::NotQueued(state));
            }
            operations::finish(tx, id, OperationState::Cancelled, &outcome, None, at)?;
            cancelled.append(tx)?;
            Ok(())
        })
        .await
    }

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

    /// Makes the row and the event of an operation whose commands were checked.
    pub(crate) fn draft_operation(
        &self,
        eid: Eid,
        actor: &Actor,
        commands: &[Command],
    ) -> OperationDraft {
        let id = self.new_id();
        let created_at = self.now_ms();
        OperationDraft {
            row: operations::NewRow {
                id,
                eid,
                actor: actor.to_string(),
                commands: serde_json::to_string(commands).unwrap_or_default(),
                created_at,
                expires_at: created_at.saturating_add(self.config.operation_lifetime_ms),
            },
            event: self.event(
                eid,
                actor,
                "operation-queued",
                Queued {
                    operation: id,
                    commands,
                },
            ),
        }
    }
}
