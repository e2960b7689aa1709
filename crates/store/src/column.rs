//! Columns that hold the text form of something.

use std::error::Error;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;

use crate::RowResult;

/// A column that holds a text form.
///
/// # Errors
/// When it holds what [`FromStr`] does not understand: of another version, or altered.
pub fn parsed<T>(row: &Row<'_>, column: usize) -> RowResult<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error| conversion(column, Type::Text, error))
}

/// The same for a column that may be NULL.
///
/// # Errors
/// As [`parsed`].
pub fn parsed_optional<T>(row: &Row<'_>, column: usize) -> RowResult<Option<T>>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| conversion(column, Type::Text, error))
}

/// The error of a column that holds what this version does not understand.
pub fn conversion(
    column: usize,
    kind: Type,
    error: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
