use std::ops::Deref;

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::error::SqlError;

/// A consistent snapshot of the database, for queries.
///
/// Every statement is prepared once for each connection and kept, so SQL texts should be constants with parameters.
#[derive(Debug)]
pub struct ReadTx<'a> {
    connection: &'a Connection,
}

impl<'a> ReadTx<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The first row of the query, which must exist.
    ///
    /// # Errors
    /// [`SqlError::NoRow`] when there is none.
    pub fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqlError> {
        Ok(self
            .connection
            .prepare_cached(&numbered(sql))?
            .query_row(params, map)?)
    }

    /// The first row of the query, if there is one.
    pub fn query_optional<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SqlError> {
        Ok(self
            .connection
            .prepare_cached(&numbered(sql))?
            .query_row(params, map)
            .optional()?)
    }

    /// All rows of the query, in its order. Bound the number with `LIMIT`.
    pub fn query_all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SqlError> {
        let mut statement = self.connection.prepare_cached(&numbered(sql))?;
        let rows = statement.query_map(params, map)?;
        Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
    }

    /// Calls `each` for every row, without keeping them, until it returns an error.
    pub fn query_each<E: From<SqlError>>(
        &self,
        sql: &str,
        params: impl Params,
        mut each: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .connection
            .prepare_cached(&numbered(sql))
            .map_err(SqlError::from)?;
        let mut rows = statement.query(params).map_err(SqlError::from)?;
        while let Some(row) = rows.next().map_err(SqlError::from)? {
            each(row)?;
        }
        Ok(())
    }

    /// Whether the query gives at least one row.
    pub fn exists(&self, sql: &str, params: impl Params) -> Result<bool, SqlError> {
        Ok(self
            .connection
            .prepare_cached(&numbered(sql))?
            .exists(params)?)
    }
}

/// A verb's part of the write transaction.
///
/// It has all queries of [`ReadTx`] (they see what this verb and the verbs before it wrote, and may be `… RETURNING`
/// statements), so a function that takes `&ReadTx<'_>` can be called with `&tx` too.
#[derive(Debug)]
pub struct Tx<'a> {
    read: ReadTx<'a>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self {
            read: ReadTx::new(connection),
        }
    }

    /// Runs one statement that gives no rows and returns how many rows it changed.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize, SqlError> {
        Ok(self
            .read
            .connection
            .prepare_cached(&numbered(sql))?
            .execute(params)?)
    }
}

/// `$n` means the n-th parameter, as in PostgreSQL. To SQLite it is only a name, numbered by where it first stands; its own
/// spelling for the n-th parameter is `?n`.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let starts_parameter = after.starts_with(|next: char| next.is_ascii_digit());
        out.push(if starts_parameter { '?' } else { '$' });
        rest = after;
    }
    out.push_str(rest);
    out
}

impl<'a> Deref for Tx<'a> {
    type Target = ReadTx<'a>;

    fn deref(&self) -> &Self::Target {
        &self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    #[test]
    fn parameters_are_numbered_not_ordered_by_appearance() {
        let connection = Connection::open_in_memory().unwrap();
        let tx = Tx::new(&connection);
        tx.execute("CREATE TABLE card (eid TEXT, label TEXT)", params![])
            .unwrap();
        tx.execute(
            "INSERT INTO card (eid, label) VALUES ($1, '$x')",
            params!["89"],
        )
        .unwrap();
        tx.execute(
            "UPDATE card SET label = $2 WHERE eid = $1 AND label = '$x'",
            params!["89", "meter"],
        )
        .unwrap();
        let label: String = tx
            .query_row(
                "SELECT label FROM card WHERE eid = $1",
                params!["89"],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(label, "meter");
    }
}
