use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::StoreFault;

/// The bounded line of verbs before the writer.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    max: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    closed: bool,
    writer_waits: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(max: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            closed: false,
            writer_waits: false,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            max,
        }
    }

    /// Puts a job at the end of the line.
    pub(crate) fn push(&self, job: J) -> Result<(), StoreFault> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreFault::Closed);
        }
        if state.jobs.len() >= self.max {
            return Err(StoreFault::Overloaded);
        }
        state.jobs.push_back(job);
        // Waking costs a system call, and a writer that is at work looks for itself.
        if std::mem::take(&mut state.writer_waits) {
            drop(state);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for a job; none once the line is closed and empty.
    pub(crate) fn wait(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.writer_waits = true;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job, if one is there.
    pub(crate) fn take(&self) -> Option<J> {
        self.lock().jobs.pop_front()
    }

    /// Refuses further jobs; those in the line are still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing that can panic runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
