use std::path::PathBuf;
use std::sync::Arc;

use crate::migrate::MigrationError;

/// Why a statement failed, in terms that a second engine could also report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// A query that must give a row gave none.
    #[error("the query found no row")]
    NoRow,
    /// A UNIQUE or PRIMARY KEY constraint refused the row.
    #[error("a row with this key exists already")]
    UniqueViolation(#[source] rusqlite::Error),
    /// A FOREIGN KEY constraint refused the statement.
    #[error("a row that this one refers to does not exist, or is still referred to")]
    ForeignKeyViolation(#[source] rusqlite::Error),
    /// A CHECK, NOT NULL or other constraint refused the row.
    #[error("a constraint of the table refused the row")]
    ConstraintViolation(#[source] rusqlite::Error),
    /// The disk or the database is full.
    #[error("the disk that holds the database is full; free some space")]
    Full(#[source] rusqlite::Error),
    /// Another program holds a lock on the database file.
    #[error("the database is locked by another program; stop it, or retry later")]
    Busy(#[source] rusqlite::Error),
    /// Anything else that the engine reports.
    #[error("the database engine reported an error")]
    Engine(#[source] rusqlite::Error),
}

impl SqlError {
    /// Whether a UNIQUE or PRIMARY KEY constraint refused the row.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::UniqueViolation(_))
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        let rusqlite::Error::SqliteFailure(code, _) = &error else {
            return match error {
                rusqlite::Error::QueryReturnedNoRows => Self::NoRow,
                other => Self::Engine(other),
            };
        };
        match (code.code, code.extended_code) {
            (
                _,
                ffi::SQLITE_CONSTRAINT_UNIQUE
                | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID,
            ) => Self::UniqueViolation(error),
            (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::ForeignKeyViolation(error),
            (ffi::ErrorCode::ConstraintViolation, _) => Self::ConstraintViolation(error),
            (ffi::ErrorCode::DiskFull, _) => Self::Full(error),
            (ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked, _) => Self::Busy(error),
            _ => Self::Engine(error),
        }
    }
}

/// Why a verb has no durable outcome although the verb itself did not refuse.
///
/// Nothing that the verb wrote is in the database.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// As many verbs are waiting as [`queue_max`](crate::StoreOptions::queue_max) allows.
    #[error("too many writes are waiting; retry later")]
    Overloaded,
    /// The store is shutting down.
    #[error("the store is shut down")]
    Closed,
    /// The verb panicked; what it wrote was rolled back. Holds the panic's message.
    #[error("the write panicked: {0}")]
    Panicked(String),
    /// The transaction could not be begun or made durable.
    #[error("the write could not be made durable")]
    NotDurable(#[source] Arc<SqlError>),
}

/// Outcome of a write that is not a success.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The verb returned this error; what it wrote was rolled back.
    #[error("the write was refused")]
    Verb(#[source] E),
    /// The store failed; what the verb wrote is not in the database.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl<E: From<StoreFault>> WriteError<E> {
    /// Folds both kinds into the verb's own error type: `store.write(…).map_err(WriteError::into_verb)?`.
    pub fn into_verb(self) -> E {
        match self {
            Self::Verb(error) => error,
            Self::Store(fault) => fault.into(),
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or folder could not be read or made.
    #[error(
        "{path}: cannot be opened; check that the folder exists and that this user may write to it"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the database open.
    #[error("{path}: in use by another process; stop that process, or use another data folder")]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file is a database, but not one that this program made.
    #[error("{path}: holds tables of another program; use another data folder")]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// A migration does not fit or failed.
    #[error("{path}: the database schema cannot be brought up to date")]
    Migration {
        /// The database file.
        path: PathBuf,
        /// Which migration, and why.
        #[source]
        source: MigrationError,
    },
    /// The engine refused the file.
    #[error("{path}: the database engine cannot open it")]
    Sql {
        /// The database file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: SqlError,
    },
    /// The writer thread could not be started.
    #[error("the writer thread cannot be started")]
    Thread(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kind_of_constraint() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE CHECK (name <> ''));
                 CREATE TABLE b (a_id INTEGER NOT NULL REFERENCES a (id));
                 INSERT INTO a VALUES (1, 'x');",
            )
            .unwrap();
        let fails = |sql: &str| SqlError::from(connection.execute(sql, []).unwrap_err());
        assert!(fails("INSERT INTO a VALUES (2, 'x')").is_unique_violation());
        assert!(fails("INSERT INTO a VALUES (1, 'y')").is_unique_violation());
        assert!(matches!(
            fails("INSERT INTO b VALUES (9)"),
            SqlError::ForeignKeyViolation(_)
        ));
        assert!(matches!(
            fails("INSERT INTO a VALUES (3, '')"),
            SqlError::ConstraintViolation(_)
        ));
        assert!(matches!(
            fails("INSERT INTO a VALUES (3, NULL)"),
            SqlError::ConstraintViolation(_)
        ));
        assert!(matches!(
            fails("INSERT INTO nowhere VALUES (3)"),
            SqlError::Engine(_)
        ));
    }
}
