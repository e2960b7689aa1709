//! The rows of the eIM: the only place in this crate that knows SQL.
//!
//! One file per table. Functions take a transaction and typed values; what they mean and who may
//! call them is decided above.

pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod fleet;
pub(crate) mod inventory;
pub(crate) mod notifications;
pub(crate) mod openings;
pub(crate) mod operations;
pub(crate) mod pending;
pub(crate) mod reports;
pub(crate) mod search;
pub(crate) mod tags;

use std::str::FromStr;

use rsp::ids::Eid;
use store::{Migration, RowResult};

/// The schema, oldest step first. Steps are never edited once released.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration::new(
        1,
        "devices, operations and what devices reported",
        include_str!("0001_initial.sql"),
    ),
    Migration::new(
        2,
        "lists, counts, tags and the log across devices",
        include_str!("0002_fleet.sql"),
    ),
    Migration::new(
        3,
        "what is known of devices whose registration waits",
        include_str!("0003_pending.sql"),
    ),
];

/// By `Display`, in JSON.
pub(crate) fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// By `Display`, in JSON, if there is one.
pub(crate) fn text_or_null<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Reads a column that this crate wrote with `Display`.
fn parsed<T: FromStr>(row: &store::Row<'_>, column: usize) -> RowResult<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| conversion(column, error))
}

fn eid(row: &store::Row<'_>, column: usize) -> RowResult<Eid> {
    parsed(row, column)
}

/// A column holds what this version does not understand.
fn conversion(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> store::rusqlite::Error {
    store::rusqlite::Error::FromSqlConversionFailure(
        column,
        store::rusqlite::types::Type::Text,
        Box::new(error),
    )
}
