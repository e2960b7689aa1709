use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::error::SqlError;

/// One step of the schema: a number, a name and the SQL text.
///
/// Steps are only ever added. An applied step whose text changed is refused when the database is opened, because two
/// databases of "the same" version would then differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    number: u32,
    name: &'static str,
    sql: &'static str,
}

impl Migration {
    /// A step. Numbers start at 1 and have no gaps; `sql` may hold several statements, but no BEGIN or COMMIT.
    pub const fn new(number: u32, name: &'static str, sql: &'static str) -> Self {
        Self { number, name, sql }
    }

    fn sha256(&self) -> String {
        // A checkout with other line ends must not look like another text.
        hex::encode(Sha256::digest(self.sql.replace("\r\n", "\n").as_bytes()))
    }
}

/// Why the schema cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The program's own list is not 1, 2, 3…
    #[error("migration {found} stands where {expected} is due; this program is faulty, report it")]
    BadList {
        /// The number that is due at this place.
        expected: u32,
        /// The number that is there.
        found: u32,
    },
    /// The database has steps that the program does not know.
    #[error(
        "the database is at migration {database} and this program knows only {program}; \
         install the program version that made the database, or a newer one"
    )]
    DatabaseNewer {
        /// Last step in the database.
        database: u32,
        /// Last step in the program.
        program: u32,
    },
    /// A step was applied with another text.
    #[error(
        "migration {number} ({name}) was applied with another text than this program has; \
         install the program version that made the database, or restore a backup"
    )]
    Changed {
        /// The step.
        number: u32,
        /// Its name in the program.
        name: &'static str,
    },
    /// A step failed; the database is as it was before that step.
    #[error("migration {number} ({name}) failed and was rolled back")]
    Failed {
        /// The step.
        number: u32,
        /// Its name.
        name: &'static str,
        /// What the engine said.
        #[source]
        source: SqlError,
    },
    /// A step ended the transaction it runs in.
    #[error(
        "migration {number} ({name}) ends its own transaction; this program is faulty, report it"
    )]
    EndsTransaction {
        /// The step.
        number: u32,
        /// Its name.
        name: &'static str,
    },
    /// The table of applied steps could not be read.
    #[error("the table of applied migrations cannot be read")]
    Sql(#[from] SqlError),
}

/// Whether the database has tables, but none of ours.
pub(crate) fn is_foreign(connection: &Connection) -> Result<bool, SqlError> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = statement
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(!names.is_empty() && !names.iter().any(|name| name == "schema_migration"))
}

/// Checks the applied steps and applies the missing ones, each in its own transaction.
pub(crate) fn run(
    connection: &mut Connection,
    migrations: &[Migration],
) -> Result<(), MigrationError> {
    for (expected, migration) in (1_u32..).zip(migrations) {
        if migration.number != expected {
            return Err(MigrationError::BadList {
                expected,
                found: migration.number,
            });
        }
    }
    let applied = applied(connection)?;
    let program = migrations.last().map_or(0, |last| last.number);
    if let Some((database, _)) = applied.last().filter(|(database, _)| *database > program) {
        return Err(MigrationError::DatabaseNewer {
            database: *database,
            program,
        });
    }
    for (position, migration) in migrations.iter().enumerate() {
        match applied.get(position) {
            Some((number, sha256))
                if *number == migration.number && *sha256 == migration.sha256() => {}
            Some(_) => {
                return Err(MigrationError::Changed {
                    number: migration.number,
                    name: migration.name,
                });
            }
            None => apply(connection, migration)?,
        }
    }
    Ok(())
}

fn applied(connection: &Connection) -> Result<Vec<(u32, String)>, SqlError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migration (
             number INTEGER NOT NULL PRIMARY KEY,
             name TEXT NOT NULL,
             sha256 TEXT NOT NULL,
             applied_at TEXT NOT NULL
         )",
    )?;
    let mut statement =
        connection.prepare("SELECT number, sha256 FROM schema_migration ORDER BY number")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

fn apply(connection: &mut Connection, migration: &Migration) -> Result<(), MigrationError> {
    let Migration { number, name, sql } = *migration;
    let failed = |source: rusqlite::Error| MigrationError::Failed {
        number,
        name,
        source: source.into(),
    };
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed)?;
    transaction.execute_batch(sql).map_err(failed)?;
    if transaction.is_autocommit() {
        return Err(MigrationError::EndsTransaction { number, name });
    }
    // The database's clock: the column is for people who look into the file, nothing is decided by it.
    transaction
        .execute(
            "INSERT INTO schema_migration (number, name, sha256, applied_at) VALUES ($1, $2, $3, CURRENT_TIMESTAMP)",
            rusqlite::params![number, name, migration.sha256()],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    tracing::info!(number, name, "database migration applied");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration::new(1, "one", "CREATE TABLE a (x INTEGER);");
    const TWO: Migration = Migration::new(
        2,
        "two",
        "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 5;",
    );

    #[test]
    fn applies_what_is_missing_and_keeps_the_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &[ONE]).unwrap();
        connection.execute("INSERT INTO a VALUES (1)", []).unwrap();
        run(&mut connection, &[ONE, TWO]).unwrap();
        run(&mut connection, &[ONE, TWO]).unwrap();
        let row: (i64, i64) = connection
            .query_row("SELECT x, y FROM a", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(row, (1, 5));
        let steps: i64 = connection
            .query_row("SELECT count(*) FROM schema_migration", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(steps, 2);
    }

    #[test]
    fn refuses_a_newer_database() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &[ONE, TWO]).unwrap();
        let error = run(&mut connection, &[ONE]).unwrap_err();
        assert!(matches!(
            error,
            MigrationError::DatabaseNewer {
                database: 2,
                program: 1
            }
        ));
        assert!(error.to_string().contains("install the program version"));
    }

    #[test]
    fn refuses_a_changed_text_but_not_other_line_ends() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(
            &mut connection,
            &[Migration::new(1, "one", "CREATE TABLE a\n(x INTEGER);")],
        )
        .unwrap();
        run(
            &mut connection,
            &[Migration::new(1, "one", "CREATE TABLE a\r\n(x INTEGER);")],
        )
        .unwrap();
        let error = run(
            &mut connection,
            &[Migration::new(1, "one", "CREATE TABLE a (x TEXT);")],
        )
        .unwrap_err();
        assert!(matches!(error, MigrationError::Changed { number: 1, .. }));
    }

    #[test]
    fn a_failing_step_leaves_the_database_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = Migration::new(
            2,
            "broken",
            "CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1);",
        );
        let error = run(&mut connection, &[ONE, broken]).unwrap_err();
        assert!(matches!(error, MigrationError::Failed { number: 2, .. }));
        let tables: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name IN ('a', 'b')",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 1, "the first step stays, the second leaves nothing");
        run(&mut connection, &[ONE, TWO]).unwrap();
    }

    #[test]
    fn refuses_a_list_with_a_gap_and_a_step_that_commits() {
        let mut connection = Connection::open_in_memory().unwrap();
        let error = run(&mut connection, &[ONE, Migration::new(3, "three", "")]).unwrap_err();
        assert!(matches!(
            error,
            MigrationError::BadList {
                expected: 2,
                found: 3
            }
        ));
        let error = run(&mut connection, &[Migration::new(1, "ends", "COMMIT;")]).unwrap_err();
        assert!(matches!(
            error,
            MigrationError::EndsTransaction { number: 1, .. }
        ));
    }

    #[test]
    fn tells_a_foreign_database() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(!is_foreign(&connection).unwrap());
        connection.execute_batch("CREATE TABLE other (x)").unwrap();
        assert!(is_foreign(&connection).unwrap());
        run(&mut connection, &[]).unwrap();
        assert!(!is_foreign(&connection).unwrap());
    }
}
