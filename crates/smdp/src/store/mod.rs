//! The database of the server: tables, and queries on them. The only place with SQL.
//!
//! Functions take the transaction of the caller, so that the domain decides what belongs together.
//! Texts keep to what SQLite and PostgreSQL share. Times are seconds since 1970.

pub(crate) mod downloads;
pub(crate) mod history;
pub(crate) mod notifications;
pub(crate) mod orders;
pub(crate) mod outbox;
pub(crate) mod profiles;

use ::store::rusqlite::types::Type;
use ::store::{Migration, Row, RowResult, conversion, parsed, parsed_optional};
use jiff::Timestamp;

/// The schema. Open the [`store::Store`](::store::Store) for [`Smdp::open`](crate::Smdp::open) with it.
pub const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "profiles, orders, downloads",
    include_str!("0001.sql"),
)];

fn timestamp(row: &Row<'_>, column: usize) -> RowResult<Timestamp> {
    Timestamp::from_second(row.get(column)?)
        .map_err(|error| conversion(column, Type::Integer, error))
}

fn timestamp_optional(row: &Row<'_>, column: usize) -> RowResult<Option<Timestamp>> {
    let second: Option<i64> = row.get(column)?;
    second
        .map(Timestamp::from_second)
        .transpose()
        .map_err(|error| conversion(column, Type::Integer, error))
}

/// A stored word that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("the database holds the unknown word {0:?}")]
struct UnknownWord(String);
