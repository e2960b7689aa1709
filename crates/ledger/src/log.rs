//! Appending: the one writer of a ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io;

use rsp::ids::Eid;
use tlog_tiles::tlog;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::edge::Edge;
use crate::entry::{Actor, Draft, Entry, EntryError, Link};
use crate::files::Files;
use crate::hash::Hash;
use crate::heads::Heads;
use crate::key::{SigningKey, WitnessKey};
use crate::layout::{
    BUNDLE_MAX, CHECKPOINT, PENDING, WIDTH, bundle_path, hashes_at, partials, push_entry, tile_path,
};
use crate::proof::{Bundle, ProofError};
use crate::read::Reader;
use crate::verify::{self, Finding, Report, read_checkpoint};

/// Who writes the ledger's own entries.
const OWN_ACTOR: &str = "ledger";

/// A ledger open for appending.
///
/// # What a crash leaves
///
/// An append writes tiles and bundles that the published checkpoint does not cover, makes them durable, writes the next
/// checkpoint under a name of its own, makes it durable, and renames it. From the moment the second name is durable the
/// append has happened: opening the ledger completes the rename. Before that moment it has not, and the next append
/// overwrites what it left. So nobody can have read a checkpoint that a power cut takes back, which would look like a fork.
pub struct Ledger<F> {
    files: F,
    key: SigningKey,
    edge: Edge,
    heads: Heads,
    /// The octets of the unfinished bundle.
    bundle: Vec<u8>,
    checkpoint: Checkpoint,
    /// Folders whose names are known to be durable. One that an interrupted append made may be there and not be durable.
    folders: HashSet<String>,
    /// An append failed half-way. What is on the disk is known only after opening it again.
    broken: bool,
}

/// What an append has made durable.
#[derive(Debug)]
pub struct Appended {
    /// The entries, in the order of their drafts. The ledger's own entry behind them is not among them.
    pub entries: Vec<Entry>,
    /// The checkpoint that covers them.
    pub checkpoint: Checkpoint,
}

/// Why an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// One of the drafts cannot become an entry. Nothing was appended.
    #[error("draft {index} cannot be appended")]
    Draft {
        /// Which, from 0.
        index: usize,
        /// Why.
        #[source]
        error: EntryError,
    },
    /// Writing failed. Whether it was appended shows when the ledger is opened again.
    #[error("the ledger could not be written; open it again to see what it holds")]
    Write(#[source] io::Error),
    /// An append failed before.
    #[error("an earlier append failed; open the ledger again")]
    Broken,
    /// The checkpoint could not be made.
    #[error("the checkpoint could not be made")]
    Checkpoint(#[source] CheckpointError),
    /// The tree does not add up. It is checked when the ledger is opened, so memory or program are at fault.
    #[error("the tree does not add up")]
    Tree(#[source] tlog::Error),
    /// The ledger's own entry could not be made.
    #[error("the heads of devices could not be recorded")]
    Heads(#[source] EntryError),
}

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Files could not be read or written.
    #[error("the files of the ledger cannot be used")]
    Io(#[from] io::Error),
    /// There is a ledger already.
    #[error("there is a ledger already")]
    Exists,
    /// Something does not add up.
    #[error("the ledger does not add up: {0}")]
    Unsound(Box<Report>),
    /// The first checkpoint could not be made.
    #[error("the first checkpoint could not be made")]
    Checkpoint(#[source] CheckpointError),
}

impl<F: Files> Ledger<F> {
    /// Begins a ledger without entries.
    pub fn create(mut files: F, key: SigningKey) -> Result<Self, OpenError> {
        // A torn first checkpoint means that creating was interrupted, and is no ledger.
        let published = !matches!(read_checkpoint(&files, CHECKPOINT, key.public()), Ok(None));
        let pending = match read_checkpoint(&files, PENDING, key.public()) {
            Ok(found) => found.is_some(),
            Err(finding) => !is_torn(&finding),
        };
        if published || pending || has_entries(&files)? {
            return Err(OpenError::Exists);
        }
        files.make_folder("tile")?;
        let checkpoint = Checkpoint::sign(0, Hash::EMPTY, &key).map_err(OpenError::Checkpoint)?;
        publish(&mut files, &checkpoint)?;
        Ok(Self {
            files,
            key,
            edge: Edge::default(),
            heads: Heads::default(),
            bundle: Vec::new(),
            checkpoint,
            folders: HashSet::new(),
            broken: false,
        })
    }

    /// Opens a ledger: completes what a crash interrupted, reads every entry, verifies everything, and refuses to go on if
    /// anything does not add up.
    ///
    /// `remembered` is a checkpoint seen before, kept where an attacker on this disk cannot put an old one. Each entry is
    /// given to `visit` in order; what was done with them counts only if the ledger opens.
    pub fn open(
        mut files: F,
        key: SigningKey,
        remembered: Option<&Checkpoint>,
        visit: &mut dyn FnMut(&Entry),
    ) -> Result<Self, OpenError> {
        recover(&mut files, &key)?;
        let checkpoint = match read_checkpoint(&files, CHECKPOINT, key.public()) {
            Ok(Some(checkpoint)) => checkpoint,
            Ok(None) => return Err(unsound(Finding::NoCheckpoint)),
            Err(finding) => return Err(unsound(finding)),
        };
        let replay = verify::replay(&files, checkpoint.clone(), remembered, visit);
        if !replay.report.is_good() {
            return Err(OpenError::Unsound(Box::new(replay.report)));
        }
        Ok(Self {
            files,
            key,
            edge: replay.edge,
            heads: replay.heads,
            bundle: replay.bundle,
            checkpoint,
            folders: HashSet::new(),
            broken: false,
        })
    }

    /// Appends entries, all or none, and returns when they survive a power cut. One call costs a handful of writes however
    /// many drafts it is given, so a busy caller collects drafts while the call before is under way.
    pub fn append(&mut self, drafts: Vec<Draft>) -> Result<Appended, AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        let Some(at) = drafts.last().map(|draft| draft.at) else {
            return Ok(Appended {
                entries: Vec::new(),
                checkpoint: self.checkpoint.clone(),
            });
        };
        let prepared = self.prepare(drafts)?;
        // Until everything is on disk, memory is ahead of it.
        self.broken = true;
        let before = self.edge.size();
        let mut batch = Batch::default();
        let mut entries = Vec::with_capacity(prepared.len());
        for (entry, octets, leaf) in prepared {
            if let Some(eid) = entry.eid() {
                self.heads
                    .record(eid, entry.number, leaf)
                    .map_err(AppendError::Tree)?;
            }
            self.push(&octets, leaf, &mut batch);
            entries.push(entry);
        }
        let actor: Actor = OWN_ACTOR.parse().map_err(AppendError::Heads)?;
        let heads = self
            .heads
            .entry(self.edge.size(), at, actor)
            .map_err(AppendError::Tree)?;
        let octets = heads.encode().map_err(AppendError::Heads)?;
        self.push(&octets, Hash::of_leaf(&octets), &mut batch);

        let size = self.edge.size();
        let root = self.edge.root().map_err(AppendError::Tree)?;
        for (level, index, hashes) in self.edge.unfinished() {
            let now = hashes_at(level, size);
            if hashes_at(level, before) != now {
                batch.add(tile_path(level, index, now % WIDTH), hashes.to_vec());
            }
        }
        if !self.bundle.is_empty() {
            batch.add(bundle_path(size / WIDTH, size % WIDTH), self.bundle.clone());
        }
        let checkpoint =
            Checkpoint::sign(size, root, &self.key).map_err(AppendError::Checkpoint)?;
        batch
            .write(&mut self.files, &mut self.folders)
            .map_err(AppendError::Write)?;
        publish(&mut self.files, &checkpoint).map_err(AppendError::Write)?;
        self.checkpoint = checkpoint.clone();
        self.broken = false;
        batch.tidy(&mut self.files, &mut self.folders, before);
        Ok(Appended {
            entries,
            checkpoint,
        })
    }

    /// Adds a witness's cosignature to the published checkpoint. A checkpoint that was replaced meanwhile is refused with
    /// the error for a wrong signature.
    pub fn cosign(&mut self, line: &str, witness: &WitnessKey) -> Result<(), AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        let cosigned = self
            .checkpoint
            .with_cosignature(line, witness)
            .map_err(AppendError::Checkpoint)?;
        self.broken = true;
        publish(&mut self.files, &cosigned).map_err(AppendError::Write)?;
        self.checkpoint = cosigned;
        self.broken = false;
        Ok(())
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How many entries a device has, and where they are.
    pub fn numbers(&self, eid: Eid) -> &[u64] {
        self.heads.numbers(eid)
    }

    /// Reads from the ledger as of its published checkpoint.
    pub fn reader(&self) -> Reader<'_, F> {
        Reader::at(&self.files, self.checkpoint.clone())
    }

    /// All entries of a device, with the proof that they are all.
    pub fn history(&self, eid: Eid) -> Result<Bundle, ProofError> {
        if self.broken {
            return Err(ProofError::Broken);
        }
        self.reader().bundle(eid, &self.heads)
    }

    /// The files.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The files, when the ledger is no longer needed.
    pub fn into_files(self) -> F {
        self.files
    }

    /// Gives drafts their places without changing anything.
    fn prepare(&self, drafts: Vec<Draft>) -> Result<Vec<(Entry, Vec<u8>, Hash)>, AppendError> {
        let mut links: HashMap<Eid, Link> = HashMap::new();
        let mut prepared = Vec::with_capacity(drafts.len());
        for (number, (index, draft)) in (self.edge.size()..).zip(drafts.into_iter().enumerate()) {
            let device = draft.device.map(|eid| {
                let known = links.get(&eid).cloned();
                known.unwrap_or_else(|| self.heads.next(eid))
            });
            let entry = Entry {
                number,
                at: draft.at,
                kind: draft.kind,
                device,
                actor: draft.actor,
                body: draft.body,
            };
            let octets = entry
                .encode()
                // What would be refused when it is read must not be written.
                .and_then(|octets| Entry::decode(&octets).map(|_| octets))
                .map_err(|error| AppendError::Draft { index, error })?;
            let leaf = Hash::of_leaf(&octets);
            if let Some(link) = &entry.device {
                links.insert(
                    link.eid,
                    Link {
                        eid: link.eid,
                        sequence: link.sequence + 1,
                        previous: Some(leaf),
                    },
                );
            }
            prepared.push((entry, octets, leaf));
        }
        Ok(prepared)
    }

    fn push(&mut self, octets: &[u8], leaf: Hash, batch: &mut Batch) {
        push_entry(&mut self.bundle, octets);
        self.edge.push(leaf, &mut |level, index, hashes| {
            batch
                .full
                .push((tile_path(level, index, WIDTH), level, index));
            batch.add(tile_path(level, index, WIDTH), hashes);
        });
        if self.edge.size().is_multiple_of(WIDTH) {
            let path = bundle_path(self.edge.size() / WIDTH - 1, WIDTH);
            batch.add(path.clone(), std::mem::take(&mut self.bundle));
            batch.full.push((path, 0, self.edge.size() / WIDTH - 1));
        }
    }
}

impl<F> fmt::Debug for Ledger<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("key", &self.key)
            .field("size", &self.checkpoint.size())
            .field("root", &self.checkpoint.root())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// The files of one append.
#[derive(Default)]
struct Batch {
    files: BTreeMap<String, Vec<u8>>,
    /// Tiles and bundles that have become full: path, level, index.
    full: Vec<(String, u8, u64)>,
}

impl Batch {
    fn add(&mut self, path: String, octets: Vec<u8>) {
        self.files.insert(path, octets);
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

/// The folder that a file or folder stands in.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Makes a checkpoint the published one, durably.
fn publish(files: &mut impl Files, checkpoint: &Checkpoint) -> io::Result<()> {
    files.write(PENDING, checkpoint.note())?;
    files.sync(PENDING)?;
    files.sync_folder("")?;
    files.rename(PENDING, CHECKPOINT)?;
    files.sync_folder("")
}

/// Completes the rename of a checkpoint that a crash interrupted, or removes one that was not complete.
fn recover(files: &mut impl Files, key: &SigningKey) -> Result<(), OpenError> {
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

/// Whether there are entries. A ledger whose checkpoint was removed must not be taken for none.
fn has_entries(files: &impl Files) -> io::Result<bool> {
    for width in 1..=WIDTH {
        if files.read(&bundle_path(0, width), BUNDLE_MAX)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a checkpoint was not completely written, rather than another's.
fn is_torn(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::Checkpoint(
            CheckpointError::Malformed | CheckpointError::Signature(_) | CheckpointError::Unsigned
        )
    )
}

fn unsound(finding: Finding) -> OpenError {
    OpenError::Unsound(Box::new(Report::of(None, vec![finding])))
}
