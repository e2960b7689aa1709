//! Transactions over SQLite with one writer, group commit and checked migrations.
//!
//! A *verb* is a closure over a transaction. [`Store::write`] hands it to the one writer thread, which folds every verb that
//! is waiting into one transaction (with savepoints once one of them refuses) and answers the callers only after that transaction is
//! durable. Full durability then costs one disk flush for each group, not for each verb. [`Store::read`] runs on the calling
//! thread, on a read-only connection of its own, and sees one consistent snapshot.
//!
//! What this crate refuses to do: run asynchronous code inside a transaction, answer before the commit, open a database that
//! another process has open, or open one whose migrations are not exactly those of the program.
//!
//! The engine stays behind this crate so that a second one can stand beside it. SQL texts should keep to what SQLite and
//! PostgreSQL share: `$1` parameters, `ON CONFLICT`, `RETURNING`.
//!
//! ```
//! use store::{Migration, SqlError, Store, StoreOptions, params};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const MIGRATIONS: &[Migration] =
//!     &[Migration::new(1, "cards", "CREATE TABLE card (eid TEXT PRIMARY KEY, seen BIGINT NOT NULL);")];
//!
//! let store = Store::open_temporary(MIGRATIONS, StoreOptions::default())?;
//! let eid = "89049032123451234512345678901235".to_owned();
//! let rows = store.write(move |tx| -> Result<usize, SqlError> {
//!     tx.execute("INSERT INTO card (eid, seen) VALUES ($1, $2) ON CONFLICT (eid) DO NOTHING", params![eid, 7])
//! })?;
//! assert_eq!(rows, 1);
//! let seen: Option<i64> = store.read(|tx| -> Result<_, SqlError> {
//!     tx.query_optional("SELECT seen FROM card WHERE eid = $1", params!["89049032123451234512345678901235"], |row| row.get(0))
//! })?;
//! assert_eq!(seen, Some(7));
//! # Ok(())
//! # }
//! ```

mod column;
mod error;
mod migrate;
mod open;
mod queue;
mod readers;
mod store;
mod transaction;
mod writer;

pub use column::{conversion, parsed, parsed_optional};
pub use error::{OpenError, SqlError, StoreFault, WriteError};
pub use migrate::{Migration, MigrationError};
pub use open::{Durability, StoreOptions};
pub use store::{Stats, Store};
pub use transaction::{ReadTx, Tx};

/// The engine's crate, for the few types that have no name of their own here.
pub use rusqlite;
/// Row and parameter types of queries.
pub use rusqlite::{Params, Row, ToSql, named_params, params, params_from_iter, types::FromSql};

/// Result of reading columns from a [`Row`]: what the row closures of queries return.
pub type RowResult<T> = rusqlite::Result<T>;
