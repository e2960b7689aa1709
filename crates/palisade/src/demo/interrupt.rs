//! What happens when somebody interrupts a demo.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::signal::unix::{SignalKind, signal};

/// What shells report for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Decides between ending at once and ending in order.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    is_polite: Arc<AtomicBool>,
    sender: Sender<()>,
}

impl Interrupt {
    /// With what is told when the demo is to end in order.
    pub(super) fn new() -> (Self, Receiver<()>) {
        let (sender, receiver) = channel();
        let interrupt = Self {
            is_polite: Arc::default(),
            sender,
        };
        (interrupt, receiver)
    }

    /// From now on the first signal ends the demo in order.
    pub(super) fn ends_politely(&self) {
        self.is_polite.store(true, Ordering::Release);
    }

    /// Waits for SIGINT and SIGTERM. For a task of its own. While steps and attacks run, what is temporary is removed and the
    /// process ends.
    pub(super) async fn watch(self, temporary: Option<PathBuf>) {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let is_first = self.is_polite.swap(false, Ordering::AcqRel);
            if is_first && self.sender.send(()).is_ok() {
                continue;
            }
            if let Some(path) = temporary {
                // The process ends all the same.
                let _ = std::fs::remove_dir_all(path);
            }
            std::process::exit(INTERRUPTED);
        }
    }
}
