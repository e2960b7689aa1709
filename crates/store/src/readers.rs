use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::SqlError;
use crate::open::{StoreOptions, open_reader};
use crate::transaction::ReadTx;

/// Connections for reading. The one that was used last is used next, so few stay warm under light load.
pub(crate) struct Readers {
    path: PathBuf,
    options: StoreOptions,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, options: StoreOptions) -> Self {
        let state = State {
            idle: Vec::new(),
            open: 0,
        };
        Self {
            path,
            options,
            state: Mutex::new(state),
            returned: Condvar::new(),
        }
    }

    /// Runs `query` on one snapshot.
    pub(crate) fn read<T, E: From<SqlError>>(
        &self,
        query: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let reader = self.take()?;
        run(reader.connection(), "BEGIN")?;
        let result = query(&ReadTx::new(reader.connection()));
        run(reader.connection(), "COMMIT")?;
        reader.give_back();
        result
    }

    /// Runs `work` on a connection that is in no transaction.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let reader = self.take()?;
        let result = work(reader.connection());
        reader.give_back();
        result
    }

    fn take(&self) -> Result<Reader<'_>, SqlError> {
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Ok(Reader {
                    readers: self,
                    connection: Some(connection),
                });
            }
            if state.open < self.options.readers_max.max(1) {
                state.open += 1;
                drop(state);
                // Made before the connection, so that the place is given back when opening fails.
                let mut reader = Reader {
                    readers: self,
                    connection: None,
                };
                reader.connection = Some(open_reader(&self.path, &self.options)?);
                return Ok(reader);
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the readers. Dropped (after an error or a panic) it closes its connection, whose state is then unknown.
struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Reader<'_> {
    #[expect(
        clippy::expect_used,
        reason = "only give_back, which consumes the reader, takes the connection away"
    )]
    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a reader holds a connection until it is given back")
    }

    fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            let mut state = self.readers.lock();
            state.idle.push(connection);
            drop(state);
            self.readers.returned.notify_one();
            std::mem::forget(self);
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.connection = None;
        self.readers.lock().open -= 1;
        self.readers.returned.notify_one();
    }
}

fn run(connection: &Connection, sql: &str) -> Result<(), SqlError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
