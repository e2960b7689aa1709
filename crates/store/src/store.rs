use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::error::{OpenError, SqlError, StoreFault, WriteError};
use crate::migrate::Migration;
use crate::open::{self, Opened, StoreOptions};
use crate::readers::Readers;
use crate::transaction::{ReadTx, Tx};
use crate::writer::{Counters, JobQueue, Reply, VerbJob, Writer};

/// An open database. Clones share it; it is shut down when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    queue: Arc<JobQueue>,
    counters: Arc<Counters>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    /// Held as long as a reader or the writer can exist.
    _lock: File,
    /// Removed after everything above is closed.
    _folder: Option<tempfile::TempDir>,
}

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Verbs answered, refused ones included.
    pub verbs: u64,
    /// Transactions that they took.
    pub groups: u64,
    /// Groups that failed as a whole and were run again, verb by verb.
    pub group_retries: u64,
    /// Verbs that wait now.
    pub waiting: usize,
}

impl Store {
    /// Opens or makes the database file `path` (its folder must exist) and brings its schema up to date.
    ///
    /// The file is readable for this user only. `<path>.lock` beside it keeps a second process (and a second `Store`) out.
    pub fn open(
        path: impl AsRef<Path>,
        migrations: &[Migration],
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        Self::start(path.as_ref().to_owned(), migrations, options, None)
    }

    /// Opens an empty database in a folder of its own that is removed with the store, for tests. It never flushes to disk.
    pub fn open_temporary(
        migrations: &[Migration],
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let folder = tempfile::Builder::new()
            .prefix("palisade-")
            .tempdir()
            .map_err(|source| OpenError::Io {
                path: std::env::temp_dir(),
                source,
            })?;
        Self::start(
            folder.path().join("store.db"),
            migrations,
            options,
            Some(folder),
        )
    }

    fn start(
        path: PathBuf,
        migrations: &[Migration],
        options: StoreOptions,
        folder: Option<tempfile::TempDir>,
    ) -> Result<Self, OpenError> {
        let Opened { connection, lock } =
            open::open(&path, migrations, &options, folder.is_some())?;
        let queue = Arc::new(JobQueue::new(options.queue_max.max(1)));
        let counters = Arc::new(Counters::default());
        let writer = Writer {
            connection,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            group_max: options.group_max.max(1),
            group_time_max: options.group_time_max,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        let readers = Readers::new(path.clone(), options);
        let writer = Mutex::new(Some(thread));
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                queue,
                counters,
                writer,
                readers,
                _lock: lock,
                _folder: folder,
            }),
        })
    }

    /// Runs `verb` in a write transaction and blocks until its outcome is durable.
    ///
    /// When `verb` returns an error or panics, what it wrote is rolled back, and only its caller learns of it. It may be
    /// called again, from a clean state, when the transaction is lost by no fault of its own; so its only effects must be
    /// those on `tx`. It runs on the writer thread, which all others wait for: no network, no slow computations inside.
    ///
    /// From asynchronous code use [`Store::write_async`]; from inside a verb never call this, the writer would wait for itself.
    ///
    /// # Errors
    /// [`WriteError::Verb`] with the verb's own error; [`WriteError::Store`] when the store refused or failed.
    pub fn write<T, E, F>(&self, verb: F) -> Result<T, WriteError<E>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.inner
            .queue
            .push(Box::new(VerbJob::new(verb, || (), Reply::Blocking(sender))))?;
        receiver
            .recv()
            .unwrap_or(Err(WriteError::Store(StoreFault::Closed)))
    }

    /// Like [`Store::write`], for asynchronous code. The verb runs even if the returned future is dropped after its first
    /// poll: a caller that goes away never leaves half a verb.
    pub async fn write_async<T, E, F>(&self, verb: F) -> Result<T, WriteError<E>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.write_async_then(verb, || ()).await
    }

    /// Like [`Store::write_async`], and calls `after` when the outcome is known, whatever it is, and before the caller learns
    /// of it; also for a caller that has gone away. It runs on the writer thread, so it must be short and must not panic.
    ///
    /// For what is kept in memory about the database. A caller could not keep it true, since it may be gone by then.
    ///
    /// # Errors
    /// As [`Store::write`]. When the store takes no verb, `after` is not called.
    pub async fn write_async_then<T, E, F, A>(&self, verb: F, after: A) -> Result<T, WriteError<E>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        A: FnOnce() + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.inner
            .queue
            .push(Box::new(VerbJob::new(verb, after, Reply::Async(sender))))?;
        receiver
            .await
            .unwrap_or(Err(WriteError::Store(StoreFault::Closed)))
    }

    /// Runs `query` on this thread, on one consistent snapshot that holds every write acknowledged so far.
    ///
    /// A point read takes microseconds, so asynchronous code may call this directly; long reports belong on a blocking thread.
    pub fn read<T, E: From<SqlError>>(
        &self,
        query: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.inner.readers.read(query)
    }

    /// Writes a compact copy of the database, as of now, to the new file `target`, readable for this user only.
    ///
    /// Writers are not held up. The copy is on the disk when this returns.
    ///
    /// # Errors
    /// [`OpenError::Io`] when `target` exists or cannot be made; [`OpenError::Sql`] when copying fails, which removes it.
    pub fn backup_to(&self, target: impl AsRef<Path>) -> Result<(), OpenError> {
        let target = target.as_ref();
        let io = |source| OpenError::Io {
            path: target.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target)
            .map_err(io)?;
        let copied = self.inner.readers.with(|connection| {
            let name = target
                .to_str()
                .ok_or_else(|| rusqlite::Error::InvalidPath(target.to_owned()))?;
            connection.execute("VACUUM INTO $1", [name])?;
            Ok(())
        });
        if let Err(source) = copied {
            // The copy is useless; that it could not be removed matters less than why it could not be made.
            let _ = std::fs::remove_file(target);
            return Err(OpenError::Sql {
                path: target.to_owned(),
                source,
            });
        }
        file.sync_all().map_err(io)
    }

    /// Finishes the verbs that wait, refuses further ones, folds the log into the database and stops the writer.
    ///
    /// Dropping the last clone does the same. Reading stays possible until then.
    pub fn shut_down(&self) {
        self.inner.stop_writer();
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        let Counters {
            verbs,
            groups,
            retries,
        } = &*self.inner.counters;
        Stats {
            verbs: verbs.load(Ordering::Relaxed),
            groups: groups.load(Ordering::Relaxed),
            group_retries: retries.load(Ordering::Relaxed),
            waiting: self.inner.queue.len(),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.inner.path)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Inner {
    fn stop_writer(&self) {
        self.queue.close();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A verb that holds the last clone drops it on the writer thread, which cannot wait for itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
            && writer.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_writer();
    }
}
