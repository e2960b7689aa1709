use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{SqlError, StoreFault, WriteError};
use crate::queue::Queue;
use crate::transaction::Tx;

/// A verb in the line, with the way back to its caller.
pub(crate) trait Job: Send {
    /// Runs the verb and keeps its outcome. Returns whether what it wrote shall stay.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers the caller: with the outcome of the last run, or with the fault that undid it.
    fn finish(self: Box<Self>, durable: Result<(), StoreFault>);
}

pub(crate) type JobQueue = Queue<Box<dyn Job>>;

/// Where the answer goes. The caller may have gone away; the verb stands nevertheless.
pub(crate) enum Reply<R> {
    Blocking(mpsc::SyncSender<R>),
    Async(oneshot::Sender<R>),
}

pub(crate) struct VerbJob<F, T, E, A> {
    verb: F,
    after: A,
    outcome: Option<Result<T, WriteError<E>>>,
    reply: Reply<Result<T, WriteError<E>>>,
}

impl<F, T, E, A> VerbJob<F, T, E, A> {
    pub(crate) fn new(verb: F, after: A, reply: Reply<Result<T, WriteError<E>>>) -> Self {
        Self {
            verb,
            after,
            outcome: None,
            reply,
        }
    }
}

impl<F, T, E, A> Job for VerbJob<F, T, E, A>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    A: FnOnce() + Send,
    T: Send,
    E: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        // What the closure holds may be half changed after a panic, so it is not called again.
        if matches!(
            self.outcome,
            Some(Err(WriteError::Store(StoreFault::Panicked(_))))
        ) {
            return false;
        }
        let outcome = match catch_unwind(AssertUnwindSafe(|| (self.verb)(tx))) {
            Ok(result) => result.map_err(WriteError::Verb),
            Err(panic) => Err(WriteError::Store(StoreFault::Panicked(panic_message(
                panic.as_ref(),
            )))),
        };
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn finish(self: Box<Self>, durable: Result<(), StoreFault>) {
        let answer = match (durable, self.outcome) {
            // A panic is the caller's own and says more than the loss of a transaction in which it had no part.
            (_, Some(Err(fault @ WriteError::Store(_)))) => Err(fault),
            (Err(fault), _) => Err(fault.into()),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreFault::Closed.into()),
        };
        (self.after)();
        match self.reply {
            Reply::Blocking(sender) => drop(sender.send(answer)),
            Reply::Async(sender) => drop(sender.send(answer)),
        }
    }
}

/// What the writer has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) verbs: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) retries: AtomicU64,
}

/// The writer thread: takes verbs from the queue until it is closed and empty.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) queue: Arc<JobQueue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) group_max: usize,
    pub(crate) group_time_max: Duration,
}

impl Writer {
    pub(crate) fn run(self) {
        // Should this thread ever unwind, callers must get an answer instead of waiting for ever.
        let _closer = CloseOnDrop(&self.queue);
        while let Some(first) = self.queue.wait() {
            self.group(first);
        }
        if let Err(error) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "the log could not be folded into the database; the next start will do it");
        }
    }

    /// One transaction for `first` and what waits behind it.
    fn group(&self, first: Box<dyn Job>) {
        let begun = Instant::now();
        let more = |done: usize| {
            let open = done < self.group_max && begun.elapsed() < self.group_time_max;
            if open { self.queue.take() } else { None }
        };
        let (jobs, ended) = self.together(first, more);
        match ended {
            Ok(Ended::Kept) => self.answer_all(jobs, Ok(())),
            // Nothing of a refused verb stays, and it was the only one.
            Ok(Ended::Refused) if jobs.len() == 1 => self.answer_all(jobs, Ok(())),
            Ok(Ended::Refused) => self.apart(jobs, more),
            Err(error) => self.recover(jobs, error),
        }
    }

    /// Runs jobs in one transaction until one refuses, and commits if none does. Every job that was taken is returned.
    ///
    /// Most verbs do not refuse. To be able to undo a single one, the engine would copy each page that is changed.
    fn together(
        &self,
        first: Box<dyn Job>,
        more: impl Fn(usize) -> Option<Box<dyn Job>>,
    ) -> (Vec<Box<dyn Job>>, Result<Ended, SqlError>) {
        let mut jobs = Vec::new();
        let mut next = Some(first);
        let mut kept = true;
        let begun = self.execute("BEGIN IMMEDIATE");
        while let Some(mut job) = next.take() {
            kept = begun.is_ok() && job.run(&mut Tx::new(&self.connection));
            jobs.push(job);
            // Without a transaction, because the engine had to roll it back, the next verb would commit by itself.
            if kept && !self.connection.is_autocommit() {
                next = more(jobs.len());
            }
        }
        let ended = match begun {
            Ok(()) if kept => self.end(Ok(())).map(|()| Ended::Kept),
            Ok(()) => self.roll_back().map(|()| Ended::Refused),
            Err(error) => self.end(Err(error)).map(|()| Ended::Refused),
        };
        (jobs, ended)
    }

    /// Runs these jobs and further ones in one transaction, each in its savepoint, and answers.
    fn apart(&self, jobs: Vec<Box<dyn Job>>, more: impl Fn(usize) -> Option<Box<dyn Job>>) {
        let mut state = self.execute("BEGIN IMMEDIATE");
        let mut waiting = jobs.into_iter();
        let mut done = Vec::new();
        while let Some(mut job) = waiting.next().or_else(|| more(done.len())) {
            state = state.and_then(|()| self.savepoint(job.as_mut()));
            done.push(job);
            if state.is_err() {
                done.extend(waiting);
                break;
            }
        }
        match self.end(state) {
            Ok(()) => self.answer_all(done, Ok(())),
            Err(error) => self.recover(done, error),
        }
    }

    /// One verb can undo a whole group (a constraint checked at the commit, a full disk). Alone, each gets the outcome that
    /// is its own.
    fn recover(&self, jobs: Vec<Box<dyn Job>>, error: SqlError) {
        if jobs.len() == 1 {
            return self.answer_all(jobs, Err(StoreFault::NotDurable(Arc::new(error))));
        }
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        for job in jobs {
            let (job, ended) = self.together(job, |_| None);
            let durable = ended.map(|_| ());
            self.answer_all(
                job,
                durable.map_err(|error| StoreFault::NotDurable(Arc::new(error))),
            );
        }
    }

    fn answer_all(&self, jobs: Vec<Box<dyn Job>>, durable: Result<(), StoreFault>) {
        for job in jobs {
            self.counters.verbs.fetch_add(1, Ordering::Relaxed);
            job.finish(durable.clone());
        }
    }

    /// Commits, or rolls back what is lost.
    fn end(&self, state: Result<(), SqlError>) -> Result<(), SqlError> {
        let state = state.and_then(|()| self.execute("COMMIT"));
        if state.is_err() {
            self.roll_back()?;
        }
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        state
    }

    /// The engine itself rolls back on some errors, such as a full disk.
    fn roll_back(&self) -> Result<(), SqlError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.execute("ROLLBACK")
    }

    /// Runs one job. An error means that the transaction is lost, not that the job refused.
    fn savepoint(&self, job: &mut dyn Job) -> Result<(), SqlError> {
        self.execute("SAVEPOINT verb")?;
        let keep = job.run(&mut Tx::new(&self.connection));
        // The engine itself rolls the whole transaction back on some errors, such as a full disk; the next statement then
        // fails for lack of the savepoint.
        if !keep {
            self.execute("ROLLBACK TO verb")?;
        }
        self.execute("RELEASE verb")
    }

    fn execute(&self, sql: &str) -> Result<(), SqlError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// How a transaction without savepoints ended.
enum Ended {
    /// Committed.
    Kept,
    /// Rolled back, since the last job refused.
    Refused,
}

struct CloseOnDrop<'a>(&'a JobQueue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(job) = self.0.take() {
            job.finish(Err(StoreFault::Closed));
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
