//! Publishing: tiles, bundles and the checkpoint over them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::files::Files;
use crate::key::SigningKey;
use crate::layout::{CHECKPOINT, PENDING, WIDTH, hashes_at, partials};
use crate::log::OpenError;
use crate::report::{Finding, Report};
use crate::verify::read_checkpoint;

/// A publication that was begun and has still to be written, possibly by another thread while the ledger appends.
///
/// If it is dropped, the ledger appends until its journal is full and publishes nothing more until it is opened again.
/// Nothing is lost by that.
#[must_use = "the ledger publishes nothing more until this is written and finished"]
pub struct Publication {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) batch: Batch,
    /// Entries of the checkpoint before.
    pub(crate) before: u64,
    /// Folders whose names are known to be durable. One that an interrupted publication made may be there and not be.
    pub(crate) folders: HashSet<String>,
}

/// A publication that was written.
#[must_use = "the ledger publishes nothing more until this is finished"]
pub struct Published {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) folders: HashSet<String>,
}

impl Publication {
    /// The checkpoint that will be published.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Writes everything, makes it durable, and puts the checkpoint in its place.
    pub fn write(mut self, files: &mut impl Files) -> io::Result<Published> {
        self.batch.write(files, &mut self.folders)?;
        publish(files, &self.checkpoint)?;
        self.batch.tidy(files, &mut self.folders, self.before);
        Ok(Published {
            checkpoint: self.checkpoint,
            folders: self.folders,
        })
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("size", &self.checkpoint.size())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("size", &self.checkpoint.size())
            .finish_non_exhaustive()
    }
}

/// The files of one publication.
#[derive(Default)]
pub(crate) struct Batch {
    files: BTreeMap<String, Vec<u8>>,
    /// Tiles and bundles that have become full: path, level, index.
    full: Vec<(String, u8, u64)>,
}

impl Batch {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: String, octets: Vec<u8>) {
        self.files.insert(path, octets);
    }

    /// Adds a tile or bundle that has become full.
    pub(crate) fn add_full(&mut self, path: String, level: u8, index: u64, octets: Vec<u8>) {
        self.full.push((path.clone(), level, index));
        self.add(path, octets);
    }

    /// Writes everything and makes it durable.
    fn write(&self, files: &mut impl Files, durable: &mut HashSet<String>) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        let mut changed = BTreeSet::new();
        for (path, octets) in &self.files {
            let folder = above(path);
            changed.insert(folder);
            for (end, _) in folder.match_indices('/').chain([(folder.len(), "")]) {
                let folder = folder.get(..end).unwrap_or_default();
                if !durable.contains(folder) && folders.insert(folder) {
                    files.make_folder(folder)?;
                    changed.insert(above(folder));
                }
            }
            files.write(path, octets)?;
        }
        // When all are written, so that the file system can do with few flushes.
        for path in self.files.keys() {
            files.sync(path)?;
        }
        for folder in changed {
            files.sync_folder(folder)?;
        }
        durable.extend(folders.into_iter().map(str::to_owned));
        Ok(())
    }

    /// Removes partial versions of what has become full (C2SP tlog-tiles, "Partial tiles"). Readers do with the full ones,
    /// so failing to do it does no harm.
    fn tidy(&self, files: &mut impl Files, durable: &mut HashSet<String>, before: u64) {
        for (path, level, index) in &self.full {
            let had = hashes_at(*level, before);
            if had > index * WIDTH && had < (index + 1) * WIDTH {
                let folder = partials(path);
                durable.remove(&folder);
                let _ = files.remove_folder(&folder);
            }
        }
    }
}

/// Makes a checkpoint the published one, durably.
pub(crate) fn publish(files: &mut impl Files, checkpoint: &Checkpoint) -> io::Result<()> {
    files.write(PENDING, checkpoint.note())?;
    files.sync(PENDING)?;
    files.sync_folder("")?;
    files.rename(PENDING, CHECKPOINT)?;
    files.sync_folder("")
}

/// Completes the rename of a checkpoint that a crash interrupted, or removes one that was not complete.
pub(crate) fn recover(files: &mut impl Files, key: &SigningKey) -> Result<(), OpenError> {
    // The process before may have been killed between renaming and syncing. Its checkpoint may have been read by others,
    // so it has to last.
    files.sync_folder("")?;
    let pending = match read_checkpoint(files, PENDING, key.public()) {
        Ok(None) => return Ok(()),
        Ok(Some(pending)) => Some(pending),
        Err(finding) if is_torn(&finding) => None,
        Err(finding) => return Err(unsound(finding)),
    };
    let current = match read_checkpoint(files, CHECKPOINT, key.public()) {
        Ok(current) => current,
        Err(finding) => return Err(unsound(finding)),
    };
    let newer = pending.as_ref().is_some_and(|pending| {
        current
            .as_ref()
            .is_none_or(|current| pending.size() >= current.size())
    });
    if newer {
        // It may have been written and not synced by a process that died.
        files.sync(PENDING)?;
        files.rename(PENDING, CHECKPOINT)?;
    } else {
        files.remove(PENDING)?;
    }
    files.sync_folder("")?;
    Ok(())
}

/// Whether a checkpoint was not completely written, rather than another's.
pub(crate) fn is_torn(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::Checkpoint(
            CheckpointError::Malformed | CheckpointError::Signature(_) | CheckpointError::Unsigned
        )
    )
}

pub(crate) fn unsound(finding: Finding) -> OpenError {
    OpenError::Unsound(Box::new(Report::of(None, vec![finding])))
}

/// The folder that a file or folder stands in.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
