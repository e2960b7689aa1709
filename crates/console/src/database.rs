//! The console's own database, which the rooms with tables share.

use store::{ReadTx, SqlError, Store, StoreFault, Tx, WriteError};

/// The console's own database could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// A statement failed.
    #[error("the console's database could not be used")]
    Sql(#[from] store::SqlError),
    /// A transaction has no durable outcome.
    #[error("the change could not be stored")]
    Fault(#[from] StoreFault),
}

impl From<StorageError> for crate::Problem {
    fn from(error: StorageError) -> Self {
        Self::unavailable(&error)
    }
}

/// A handle; clones are of the same database.
#[derive(Clone)]
pub(crate) struct Database(pub(crate) Store);

impl Database {
    /// Reads on one snapshot.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&ReadTx<'_>) -> Result<T, SqlError>,
    ) -> Result<T, StorageError> {
        Ok(self.0.read(query)?)
    }

    /// Runs a verb in a transaction.
    pub(crate) async fn write<T, F>(&self, mut verb: F) -> Result<T, StorageError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, SqlError> + Send + 'static,
        T: Send + 'static,
    {
        self.0
            .write_async(move |tx| verb(tx).map_err(StorageError::from))
            .await
            .map_err(WriteError::into_verb)
    }

    /// Closes it for writing.
    pub(crate) fn shut_down(&self) {
        self.0.shut_down();
    }
}
