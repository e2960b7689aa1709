//! The bounded line before the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Jobs in order. Whoever comes when it is full is sent away: waiting outside costs less than waiting inside.
pub(crate) struct Queue<J> {
    line: Mutex<Line<J>>,
    wake: Condvar,
    max: usize,
}

struct Line<J> {
    jobs: VecDeque<J>,
    is_closed: bool,
    is_poked: bool,
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Too many wait.
    Full,
    /// No more are taken.
    Closed,
}

/// What a writer finds.
pub(crate) enum Found<J> {
    /// Something to do.
    Job(J),
    /// Nothing, but somebody wants it to look around, or it has waited long enough.
    Nothing,
    /// Nothing, and nothing more will come.
    End,
}

impl<J> Queue<J> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            line: Mutex::new(Line {
                jobs: VecDeque::new(),
                is_closed: false,
                is_poked: false,
            }),
            wake: Condvar::new(),
            max,
        }
    }

    /// Puts a job at the end.
    pub(crate) fn push(&self, job: J) -> Result<(), (J, Turned)> {
        let mut line = self.lock();
        if line.is_closed {
            return Err((job, Turned::Closed));
        }
        if line.jobs.len() >= self.max {
            return Err((job, Turned::Full));
        }
        line.jobs.push_back(job);
        drop(line);
        self.wake.notify_one();
        Ok(())
    }

    /// The next job; waits for it at most so long.
    pub(crate) fn wait(&self, at_most: Duration) -> Found<J> {
        let line = self.lock();
        let is_idle =
            |line: &mut Line<J>| line.jobs.is_empty() && !line.is_closed && !line.is_poked;
        let (mut line, _) = self
            .wake
            .wait_timeout_while(line, at_most, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        line.is_poked = false;
        match line.jobs.pop_front() {
            Some(job) => Found::Job(job),
            None if line.is_closed => Found::End,
            None => Found::Nothing,
        }
    }

    /// The next job, if one is there.
    pub(crate) fn take(&self) -> Option<J> {
        self.lock().jobs.pop_front()
    }

    /// Makes the writer look around.
    pub(crate) fn poke(&self) {
        self.lock().is_poked = true;
        self.wake.notify_one();
    }

    /// Takes no more; those in the line are still done.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line<J>> {
        // Nothing that can panic runs under this lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
