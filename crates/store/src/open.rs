use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{OpenError, SqlError};
use crate::migrate::{self, Migration};

/// What survives when the machine, not only the process, stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Every acknowledged write survives a power cut: the log is flushed before the answer.
    #[default]
    Full,
    /// Acknowledged writes survive a crash of the process, but the last ones may be lost in a power cut.
    /// For measurements only: a lost counter or audit record is a security fault.
    InsecureNormal,
}

/// Limits and habits of a [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// What survives a power cut.
    pub durability: Durability,
    /// Verbs that may wait for the writer; one more is refused with [`StoreFault::Overloaded`](crate::StoreFault::Overloaded).
    pub queue_max: usize,
    /// Verbs in one transaction.
    pub group_max: usize,
    /// Time that a transaction may take up further verbs before it is committed.
    pub group_time_max: Duration,
    /// Connections for reading; one more reader waits for one of them. A read inside a read takes a second one.
    pub readers_max: usize,
    /// How long to wait for a lock that another program (a database shell, say) holds.
    pub busy_timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            queue_max: 4096,
            group_max: 256,
            group_time_max: Duration::from_millis(20),
            readers_max: 64,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 256;
/// Pages (4 KiB) in the log at which a commit copies them into the database.
const CHECKPOINT_PAGES: u32 = 4096;
/// Size to which the log is cut after a checkpoint, in bytes.
const LOG_BYTES_KEPT: u32 = 64 * 1024 * 1024;

/// An open database: the writer's connection, and the lock that keeps other processes out.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) lock: File,
}

/// Locks, opens and migrates the database at `path`. A `temporary` database is never flushed to the disk.
pub(crate) fn open(
    path: &Path,
    migrations: &[Migration],
    options: &StoreOptions,
    temporary: bool,
) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    // The engine creates its log and index files with the mode of the database, so this one decides for all.
    let database = private_file(path)?;
    drop(database);
    let sql = |source: SqlError| OpenError::Sql {
        path: path.to_owned(),
        source,
    };
    let mut connection =
        open_writer(path, options, temporary).map_err(|error| sql(error.into()))?;
    if migrate::is_foreign(&connection).map_err(sql)? {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    migrate::run(&mut connection, migrations).map_err(|source| OpenError::Migration {
        path: path.to_owned(),
        source,
    })?;
    Ok(Opened { connection, lock })
}

fn open_writer(
    path: &Path,
    options: &StoreOptions,
    temporary: bool,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection, options)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match options.durability {
        _ if temporary => "OFF",
        Durability::Full => "FULL",
        Durability::InsecureNormal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

/// Opens one more connection to a database that [`open`] has opened; it cannot write.
pub(crate) fn open_reader(path: &Path, options: &StoreOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection, options)?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    Ok(connection)
}

fn configure(connection: &Connection, options: &StoreOptions) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    // Without it the engine parses a statement anew for every parameter that might make a partial index usable.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // A manipulated schema must not be able to call functions with effects.
    connection.pragma_update(None, "trusted_schema", false)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let file = private_file(&lock_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io {
            path: lock_path,
            source,
        }),
    }
}

/// Opens or makes a file that only this user may read, and takes away what others were allowed on an existing one.
fn private_file(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(io)?;
    }
    Ok(file)
}
