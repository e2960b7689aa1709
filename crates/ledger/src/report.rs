//! What a verification finds.

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entry::EntryError;
use crate::hash::Hash;
use crate::heads::Break;

/// Findings in a report at most. After that, a report only says that there are more.
pub const FINDINGS_MAX: usize = 100;

/// The outcome of a verification.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint found, if its signature is good.
    pub checkpoint: Option<Checkpoint>,
    /// Entries that were read, whether good or not.
    pub entries: u64,
    /// Devices that have entries.
    pub devices: u64,
    /// Entries in the journal behind the checkpoint: durable and signed, not published yet. None if there is no journal, as
    /// in a copy of the published files.
    pub journaled: Option<u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether there is more wrong than `findings` holds.
    pub more: bool,
}

/// One thing that is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// There is no checkpoint.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not one of this ledger's key.
    #[error("the checkpoint is not good")]
    Checkpoint(#[source] CheckpointError),
    /// Something could not be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// What.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The disk holds less than was seen before: an old copy was put back, or the end was cut off.
    #[error(
        "rolled back: {remembered} entries were seen signed before, now the signed checkpoint says {found}"
    )]
    RolledBack {
        /// Entries of the remembered checkpoint.
        remembered: u64,
        /// Entries of the checkpoint found.
        found: u64,
    },
    /// The key signed two histories.
    #[error(
        "forked: of the first {size} entries, {remembered} was signed before, now it is {found}"
    )]
    Forked {
        /// Entries of the remembered checkpoint.
        size: u64,
        /// Its root.
        remembered: Hash,
        /// The root of as many entries now.
        found: Hash,
    },
    /// A bundle is not there.
    #[error("entries {from} to {to} are missing: there is no {path}")]
    Missing {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// The file.
        path: String,
    },
    /// A bundle ends early.
    #[error("entries {from} to {to} are cut off: {path} ends before them")]
    Truncated {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// The file.
        path: String,
    },
    /// There are octets behind the entries of a bundle.
    #[error("{path} holds more than its entries")]
    Surplus {
        /// The file.
        path: String,
    },
    /// An entry is not what was signed.
    #[error("entry {number} was altered")]
    Altered {
        /// Where it is.
        number: u64,
    },
    /// An entry is not what was signed at this place, but what was signed at another.
    #[error("entry {number} was moved: it belongs at {belongs}")]
    Reordered {
        /// Where it is.
        number: u64,
        /// Where it was signed.
        belongs: u64,
    },
    /// A hash tile is not there.
    #[error("the hash tile {path} is missing")]
    TileMissing {
        /// The file.
        path: String,
    },
    /// A hash tile is not that of the entries.
    #[error("the hash tile {path} was altered")]
    TileAltered {
        /// The file.
        path: String,
    },
    /// The hash tiles do not lead up to the signed root, so that they cannot tell which entries are good.
    #[error("the hash tiles do not lead to the signed root: {0}")]
    Tiles(String),
    /// Entries and hash tiles agree with each other and not with the signed root: history was rewritten.
    #[error("rewritten: the entries and the hash tiles give the root {found}, {signed} was signed")]
    Rewritten {
        /// What the entries give.
        found: Hash,
        /// What the checkpoint says.
        signed: Hash,
    },
    /// What was signed is no entry.
    #[error("entry {number} is not well formed")]
    Malformed {
        /// Where it is.
        number: u64,
        /// Why.
        #[source]
        error: EntryError,
    },
    /// What was signed does not continue the entries before it: the ledger's key signed something that this program does
    /// not write.
    #[error("entry {number} does not fit")]
    Broken {
        /// Where it is.
        number: u64,
        /// Why.
        #[source]
        error: Break,
    },
    /// There is no journal that continues the checkpoint. Commits since then may have been removed.
    #[error("the journal that continues the checkpoint of {size} entries is missing")]
    JournalMissing {
        /// Entries of the checkpoint.
        size: u64,
    },
    /// A commit in the journal is not what was signed, and there are others behind it.
    #[error("the journal was altered: in {path}, entries from {from} on are not what was signed")]
    JournalAltered {
        /// The file.
        path: String,
        /// The first entry that is missing, altered or moved.
        from: u64,
    },
    /// The journal continues a checkpoint that is not there: an older one was put back.
    #[error(
        "rolled back: the journal continues a checkpoint of {journal} entries, the signed checkpoint says {found}"
    )]
    JournalAhead {
        /// Entries of the checkpoint that the journal continues.
        journal: u64,
        /// Entries of the checkpoint found.
        found: u64,
    },
    /// The journal continues another history.
    #[error(
        "forked: the journal continues {size} entries with the root {journal}, here it is {found}"
    )]
    JournalForked {
        /// Entries before it.
        size: u64,
        /// The root that the journal names.
        journal: Hash,
        /// The root here.
        found: Hash,
    },
    /// The last entry does not record the heads of devices.
    #[error("the last entry, {number}, does not record the heads of devices")]
    Unsealed {
        /// Where it is.
        number: u64,
    },
}

impl Report {
    pub(crate) fn of(checkpoint: Option<Checkpoint>, findings: Vec<Finding>) -> Self {
        Self {
            checkpoint,
            entries: 0,
            devices: 0,
            journaled: None,
            findings,
            more: false,
        }
    }

    /// Whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.is_full() {
            self.more = true;
        } else {
            self.findings.push(finding);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.checkpoint, self.findings.is_empty()) {
            (Some(checkpoint), true) => {
                write!(
                    f,
                    "good: {} entries, {} devices, root {}",
                    checkpoint.size(),
                    self.devices,
                    checkpoint.root()
                )?;
                match self.journaled {
                    None | Some(0) => Ok(()),
                    Some(more) => write!(f, "; {more} more in the journal"),
                }
            }
            _ => {
                write!(f, "{} findings", self.findings.len())?;
                if self.more {
                    f.write_str(" and more")?;
                }
                for finding in &self.findings {
                    write!(f, "\n{finding}")?;
                    let mut error: &dyn std::error::Error = finding;
                    while let Some(source) = error.source() {
                        write!(f, ": {source}")?;
                        error = source;
                    }
                }
                Ok(())
            }
        }
    }
}
