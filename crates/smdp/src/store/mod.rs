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

use std::str::FromStr;

use ::store::rusqlite::types::Type;
use ::store::{Migration, Row, RowResult, rusqlite};
use jiff::Timestamp;

/// The schema. Open the [`store::Store`](::store::Store) for [`Smdp::open`](crate::Smdp::open) with it.
pub const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "profiles, orders, downloads",
    include_str!("0001.sql"),
)];

/// A column that holds a text form.
fn parsed<T>(row: &Row<'_>, column: usize) -> RowResult<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error| conversion(column, Type::Text, error))
}

/// The same for a column that may be NULL.
fn parsed_optional<T>(row: &Row<'_>, column: usize) -> RowResult<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| conversion(column, Type::Text, error))
}

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

fn conversion(
    column: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}

/// A stored word that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("the database holds the unknown word {0:?}")]
struct UnknownWord(String);
