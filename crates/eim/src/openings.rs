//! Secrets that intents commit to: kept here, beside the operations that need them, and nowhere else.

use intent::action::Action;
use intent::command::Command;
use intent::{CommandError, Intent, IntentId, Opening};
use store::SqlError;

use crate::tables::openings;
use crate::{Eim, Operation, StorageError};

/// Intents with openings at a time. Whoever can propose could otherwise fill the disk before anybody looks at the proof.
const KEPT_MAX: i64 = 100_000;
/// Openings that are looked at: a package has one download, with an activation code and a confirmation code.
const OPENINGS_MAX: usize = 2;
/// Octets of a secret.
const SECRET_MAX: usize = 1_024;

/// Why openings are not taken.
#[derive(Debug, thiserror::Error)]
pub enum OpeningsError {
    /// An intent commits to a secret that did not come along.
    #[error(
        "the intent commits to an activation or confirmation code that did not come along: send its opening"
    )]
    Missing,
    /// There is something to open that nothing commits to.
    #[error("openings came along that the intent does not commit to")]
    Unneeded,
    /// A secret that is none.
    #[error("a secret has at most {SECRET_MAX} octets")]
    TooLong,
    /// What came along does not make a package.
    #[error("the activation code does not fit the intent")]
    Commands(#[from] CommandError),
    /// Too many are kept.
    #[error("the codes of {KEPT_MAX} intents wait already; let some be decided first")]
    Full,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for OpeningsError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for OpeningsError {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

/// Why nothing leaves for an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error(
        "what the database says of it is not what was approved: somebody altered it. Nothing left"
    )]
    Altered,
    #[error("its activation or confirmation code is gone: propose it again, with the openings")]
    Missing,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for NotOpened {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for NotOpened {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

impl Eim {
    /// Keeps what opens the secrets of an intent until its operations are over. To be called before the authority is asked, so
    /// that no intent can be approved whose secrets are lost.
    pub async fn keep_openings(
        &self,
        id: IntentId,
        intent: &Intent,
        openings: Vec<Opening>,
    ) -> Result<(), OpeningsError> {
        let commands = match &intent.action {
            Action::Operate { commands, .. } => commands.as_slice(),
            _ => &[],
        };
        if openings.len() > OPENINGS_MAX {
            return Err(OpeningsError::Unneeded);
        }
        if openings.iter().any(|one| one.secret.len() > SECRET_MAX) {
            return Err(OpeningsError::TooLong);
        }
        let opened = unsealed(commands, &openings).ok_or(OpeningsError::Missing)?;
        if openings.is_empty() {
            return Ok(());
        }
        let needed = |opening: &Opening| {
            let others: Vec<Opening> = openings
                .iter()
                .filter(|other| other.digest() != opening.digest())
                .cloned()
                .collect();
            unsealed(commands, &others).is_none()
        };
        if !openings.iter().all(needed) {
            return Err(OpeningsError::Unneeded);
        }
        Command::check(&opened)?;
        let expires_at = intent.expires_at;
        let kept = self
            .store
            .write_async(move |tx| -> Result<bool, OpeningsError> {
                Ok(openings::keep(tx, id, &openings, expires_at, KEPT_MAX)?)
            })
            .await
            .map_err(store::WriteError::into_verb)?;
        match kept {
            true => Ok(()),
            false => Err(OpeningsError::Full),
        }
    }

    /// Forgets the openings of an intent that the authority refused.
    pub async fn forget_openings(&self, id: IntentId) -> Result<(), StorageError> {
        self.store
            .write_async(move |tx| -> Result<(), StorageError> {
                Ok(openings::forget_unapproved(tx, id)?)
            })
            .await
            .map_err(store::WriteError::into_verb)
    }

    /// The operation as the authority released it, with its secrets in the clear. Everything that leaves without a signature is
    /// made from this: the row only says whether somebody altered it.
    pub(crate) fn opened(
        &self,
        operation: &Operation,
        released: &[Command],
    ) -> Result<Operation, NotOpened> {
        if released != operation.commands {
            tracing::error!(eid = %operation.eid, operation = %operation.id, "{}", NotOpened::Altered);
            return Err(NotOpened::Altered);
        }
        let commands = match (unsealed(released, &[]), operation.intent) {
            (Some(commands), _) => Some(commands),
            (None, Some(id)) => {
                let openings = self.read(|tx| openings::find(tx, id))?;
                unsealed(released, &openings)
            }
            (None, None) => None,
        };
        Ok(Operation {
            commands: commands.ok_or(NotOpened::Missing)?,
            ..operation.clone()
        })
    }
}

/// Commands with their secrets in the clear; none when something is missing.
pub(crate) fn unsealed(commands: &[Command], openings: &[Opening]) -> Option<Vec<Command>> {
    let mut commands = commands.to_vec();
    commands
        .iter_mut()
        .all(|command| command.unseal(openings))
        .then_some(commands)
}
