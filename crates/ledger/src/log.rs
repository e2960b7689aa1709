//! Appending: the one writer of a ledger.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;

use rsp::ids::Eid;
use tlog_tiles::tlog;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entry::{Draft, Entry, EntryError, Link};
use crate::files::Files;
use crate::hash::Hash;
use crate::heads::Heads;
use crate::journal::{self, COMMIT_MAX, Journal};
use crate::key::{SigningKey, WitnessKey};
use crate::layout::{BUNDLE_MAX, CHECKPOINT, PENDING, WIDTH, bundle_path};
use crate::proof::{Bundle, ProofError};
use crate::publication::{Publication, Published, is_torn, publish, recover, unsound};
use crate::read::{Reader, Trail};
use crate::report::{Finding, Report};
use crate::snapshot::{self, Unusable};
use crate::tip::{SealError, Tip};
use crate::verify::{self, continue_with, read_checkpoint};

/// A ledger open for appending.
///
/// # What is durable when
///
/// [`append`](Ledger::append) puts a commit into the journal: one write and one sync, whatever the number of entries. The
/// numbers, hashes and chains of these entries are final. [`publish`](Ledger::publish) makes tiles and a checkpoint of all
/// commits; the owner calls it after so many entries or so much time, and before it closes the ledger. Opening a ledger
/// publishes what the journal holds.
///
/// # What a crash leaves
///
/// Publishing records the heads of devices in an entry of the ledger's own, which therefore gets the number behind the
/// newest commit. That entry, the root and the signature follow from the commits alone. First the other file of the journal
/// begins, durably, the generation behind that root; then tiles and bundles are made durable, then the checkpoint under a
/// name of its own, and that is renamed. A file of the journal is used again only after the checkpoint that covers what it
/// held has been renamed. So at any moment the published checkpoint, the generation of the journal that continues it, and
/// perhaps the generation behind that, give all commits with their numbers. Once the checkpoint is durable under its own
/// name the publication has happened: opening the ledger completes the rename. Nobody can have read a checkpoint that a
/// power cut takes back, which would look like a fork.
pub struct Ledger<F> {
    files: F,
    key: SigningKey,
    tip: Tip,
    journal: Journal,
    checkpoint: Checkpoint,
    /// A publication was begun and is not finished.
    publishing: bool,
    /// Folders whose names are known to be durable.
    folders: HashSet<String>,
    /// The file for the next snapshot.
    snapshot: usize,
    /// Something failed half-way. What is on the disk is known only after opening it again.
    broken: bool,
    opening: Opening,
}

/// What an append has made durable.
#[derive(Debug)]
pub struct Appended {
    /// The entries, in the order of their drafts.
    pub entries: Vec<Entry>,
}

/// How a ledger was opened.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Entries that were there, the journal's included.
    pub entries: u64,
    /// Entries of these that were decoded and given to the visitor. All others are covered by the snapshot; their hashes
    /// were checked.
    pub visited: u64,
    /// How many entries the restored snapshot stands for; none if there was none to restore, so that everything was replayed.
    pub restored: Option<u64>,
    /// Snapshots that could not be used. Worth a warning: with none at all opening takes longer, and somebody may have
    /// altered them.
    pub unusable: Vec<Unusable>,
    /// Entries that were durable in the journal and not published.
    pub journaled: u64,
    /// A commit at the end of the journal was not whole and was dropped. It was never acknowledged, if the journal is as
    /// the ledger wrote it.
    pub torn: bool,
}

/// What opening a ledger gives to its owner.
///
/// Every `FnMut(&Entry)` is a visitor that takes no snapshots.
pub trait Visitor {
    /// Offers a snapshot of the first `size` entries, written by [`Ledger::snapshot`] with this version. Whoever takes it
    /// returns true and is given the entries from `size` on; otherwise an older snapshot is offered, or all entries follow.
    fn restore(&mut self, size: u64, version: u32, state: &[u8]) -> bool {
        let _ = (size, version, state);
        false
    }

    /// Takes the next entry.
    fn visit(&mut self, entry: &Entry);
}

impl<T: FnMut(&Entry)> Visitor for T {
    fn visit(&mut self, entry: &Entry) {
        self(entry);
    }
}

/// Why an append or a publication failed.
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
    /// Too much for one commit. Nothing was appended.
    #[error("the drafts have {0} octets together; at most {COMMIT_MAX} can be appended at once")]
    TooLong(usize),
    /// The journal is full, and a publication that was begun is not finished. Nothing was appended.
    #[error("the journal is full until the publication that was begun is finished")]
    Full,
    /// A publication was begun and is not finished.
    #[error("a publication was begun and is not finished")]
    Publishing,
    /// Writing failed. Whether it happened shows when the ledger is opened again.
    #[error("the ledger could not be written; open it again to see what it holds")]
    Write(#[source] io::Error),
    /// Something failed before.
    #[error("an earlier write failed; open the ledger again")]
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
    /// What the journal holds could not be published.
    #[error("what the journal holds could not be published")]
    Publish(#[source] AppendError),
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
        let checkpoint = Checkpoint::sign(0, Hash::EMPTY, &key).map_err(OpenError::Checkpoint)?;
        if journal::has_commits(&files, key.public(), &checkpoint) {
            return Err(OpenError::Exists);
        }
        files.make_folder("tile")?;
        let journal = Journal::begin(&mut files, &key, 0, 0, Hash::EMPTY)?;
        files.write_at(journal::FILES[1], 0, &[])?;
        publish(&mut files, &checkpoint)?;
        Ok(Self {
            files,
            key,
            tip: Tip::default(),
            journal,
            checkpoint,
            publishing: false,
            folders: HashSet::new(),
            snapshot: 0,
            broken: false,
            opening: Opening::default(),
        })
    }

    /// Opens a ledger: completes what a crash interrupted, hashes every entry, verifies everything, publishes what the
    /// journal holds, and refuses to go on if anything does not add up.
    ///
    /// `remembered` is a checkpoint seen before, kept where an attacker on this disk cannot put an old one. `visitor` is
    /// offered the newest snapshot and given all entries behind it, in order; what was done with them counts only if the
    /// ledger opens.
    pub fn open(
        mut files: F,
        key: SigningKey,
        remembered: Option<&Checkpoint>,
        visitor: &mut dyn Visitor,
    ) -> Result<Self, OpenError> {
        recover(&mut files, &key)?;
        let checkpoint = match read_checkpoint(&files, CHECKPOINT, key.public()) {
            Ok(Some(checkpoint)) => checkpoint,
            Ok(None) => return Err(unsound(Finding::NoCheckpoint)),
            Err(finding) => return Err(unsound(finding)),
        };
        let size = checkpoint.size();
        let mut opening = Opening::default();
        let (heads, file) = restore(&files, size, visitor, &mut opening);
        let known = opening.restored.unwrap_or(0);
        let mut visit = |entry: &Entry| {
            opening.visited += 1;
            visitor.visit(entry);
        };
        let replay = verify::replay(
            &files,
            checkpoint.clone(),
            remembered,
            heads,
            known,
            &mut visit,
        );
        let pending = journal::pending(&files, key.public(), &checkpoint)
            .and_then(|pending| pending.ok_or(Finding::JournalMissing { size }));
        let mut report = replay.report;
        let pending = match pending {
            Ok(pending) => pending,
            Err(finding) => {
                report.add(finding);
                return Err(OpenError::Unsound(Box::new(report)));
            }
        };
        if !report.is_good() {
            return Err(OpenError::Unsound(Box::new(report)));
        }
        // A process that was killed may have written commits and not synced them. From here on they count.
        for path in journal::FILES {
            files.write_at(path, 0, &[])?;
            files.sync(path)?;
        }
        files.sync_folder("")?;

        let mut ledger = Self {
            tip: Tip::of(replay.edge, replay.heads, replay.bundle, replay.last_at),
            journal: Journal::resume(&pending.current),
            files,
            key,
            checkpoint,
            publishing: false,
            folders: HashSet::new(),
            snapshot: file.map_or(0, |file| 1 - file),
            broken: false,
            opening: Opening::default(),
        };
        continue_with(&mut ledger.tip, &pending.current, &mut visit).map_err(unsound)?;
        if let Some(next) = &pending.next {
            // Its generation of the journal has begun already, so that nothing may be put in its place before the
            // checkpoint in front of it is published.
            let (heads, publication) = ledger.seal(true).map_err(OpenError::Publish)?;
            let found = publication.checkpoint.root();
            if found != next.root {
                return Err(unsound(Finding::JournalForked {
                    size: next.size,
                    journal: next.root,
                    found,
                }));
            }
            let published = publication.write(&mut ledger.files)?;
            ledger.finish(published);
            ledger.journal = Journal::resume(next);
            visit(&heads);
            continue_with(&mut ledger.tip, next, &mut visit).map_err(unsound)?;
        }
        opening.entries = ledger.tip.size();
        opening.journaled = ledger.tip.size() - size;
        opening.torn = pending.is_torn();
        opening.note_missing(replay.snapshot);
        ledger.opening = opening;
        ledger.publish().map_err(OpenError::Publish)?;
        Ok(ledger)
    }

    /// Appends entries, all or none, and returns when they survive a power cut. Costs one sync, so a busy caller collects
    /// drafts while the call before is under way. Their numbers and chains are final from then on; [`Self::publish`] makes
    /// them readable by others.
    pub fn append(&mut self, drafts: Vec<Draft>) -> Result<Appended, AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        if drafts.is_empty() {
            return Ok(Appended {
                entries: Vec::new(),
            });
        }
        if self.journal.is_full() {
            if self.publishing {
                return Err(AppendError::Full);
            }
            self.publish()?;
        }
        let Prepared {
            entries,
            frame,
            leaves,
        } = self.prepare(drafts)?;
        let length = Journal::entries(&frame).len();
        let count = u32::try_from(entries.len())
            .ok()
            .filter(|_| length <= COMMIT_MAX)
            .ok_or(AppendError::TooLong(length))?;
        // If this fails, nobody knows what is on the disk.
        self.broken = true;
        let frame = self
            .journal
            .commit(&mut self.files, &self.key, frame, self.tip.size(), count)
            .map_err(AppendError::Write)?;
        let (octets, _) = crate::layout::entries(Journal::entries(&frame));
        for ((entry, octets), leaf) in entries.iter().zip(octets).zip(leaves) {
            self.tip.push(entry, octets, leaf);
        }
        self.broken = false;
        Ok(Appended { entries })
    }

    /// Publishes all commits: writes tiles and bundles, and a checkpoint that covers them. Costs some ten syncs or more.
    /// Does nothing if everything is published.
    pub fn publish(&mut self) -> Result<&Checkpoint, AppendError> {
        if let Some(publication) = self.begin()? {
            self.broken = true;
            let published = publication
                .write(&mut self.files)
                .map_err(AppendError::Write)?;
            self.broken = false;
            self.finish(published);
        }
        Ok(&self.checkpoint)
    }

    /// Begins a publication of all commits, to be written by another thread while this one goes on to append: it costs one
    /// sync here. None if everything is published. Give what was written to [`Self::finish`]. Only one at a time.
    pub fn begin(&mut self) -> Result<Option<Publication>, AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        if self.publishing {
            return Err(AppendError::Publishing);
        }
        if self.tip.unpublished() == 0 {
            return Ok(None);
        }
        let (_, publication) = self.seal(false)?;
        Ok(Some(publication))
    }

    /// Ends a publication.
    pub fn finish(&mut self, published: Published) {
        self.checkpoint = published.checkpoint;
        self.folders = published.folders;
        self.publishing = false;
    }

    /// Keeps what the owner has made of all entries so far, so that opening the ledger needs not replay them: `state` is
    /// given back to [`Visitor::restore`] with its version. Publishes, and costs a write of the octets.
    pub fn snapshot(&mut self, version: u32, state: &[u8]) -> Result<(), AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        if self.publishing {
            return Err(AppendError::Publishing);
        }
        if self.journal.is_full() {
            // Appending would publish first and give the entry another number than the snapshot names.
            self.publish()?;
        }
        let index = self.tip.heads.to_octets();
        let size = self.tip.size();
        let body = snapshot::write(&mut self.files, self.snapshot, size, version, &index, state)
            .map_err(AppendError::Write)?;
        self.append(vec![Draft {
            at: self.tip.last_at(),
            kind: snapshot::kind(),
            device: None,
            actor: crate::tip::own_actor().map_err(AppendError::Heads)?,
            body,
        }])?;
        self.snapshot = 1 - self.snapshot;
        self.publish()?;
        Ok(())
    }

    /// Adds a witness's cosignature to the published checkpoint. A checkpoint that was replaced meanwhile is refused with
    /// the error for a wrong signature.
    pub fn cosign(&mut self, line: &str, witness: &WitnessKey) -> Result<(), AppendError> {
        if self.broken {
            return Err(AppendError::Broken);
        }
        if self.publishing {
            return Err(AppendError::Publishing);
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

    /// Entries so far, all of them durable: the number of the next one, unless a publication comes first.
    pub fn size(&self) -> u64 {
        self.tip.size()
    }

    /// Entries since the last publication was begun.
    pub fn unpublished(&self) -> u64 {
        self.tip.unpublished()
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How this ledger was opened.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// How many entries a device has, and where they are.
    pub fn numbers(&self, eid: Eid) -> &[u64] {
        self.tip.heads.numbers(eid)
    }

    /// Reads from the ledger as of its published checkpoint.
    pub fn reader(&self) -> Reader<'_, F> {
        Reader::at(&self.files, self.checkpoint.clone())
    }

    /// All entries of a device, with the proof that they are all, and the entries of these numbers as context. Publishes
    /// first if some of them are not published.
    pub fn history(&mut self, eid: Eid, context: &[u64]) -> Result<Bundle, ProofError> {
        let trail = self.trail(eid, context)?;
        trail.bundle(&self.files)
    }

    /// What is needed to make the bundle of `history` from the files alone, by another thread while this one goes on to
    /// append. Publishes first if some of the entries are not published.
    pub fn trail(&mut self, eid: Eid, context: &[u64]) -> Result<Trail, ProofError> {
        let newest = self.numbers(eid).iter().chain(context).max();
        let Some(newest) = newest.copied().filter(|_| !self.numbers(eid).is_empty()) else {
            return Err(ProofError::Unknown(eid));
        };
        if self.broken {
            return Err(ProofError::Publish(Box::new(AppendError::Broken)));
        }
        if self.publishing {
            return Err(ProofError::Publish(Box::new(AppendError::Publishing)));
        }
        if newest >= self.checkpoint.size() {
            self.publish()
                .map_err(|error| ProofError::Publish(Box::new(error)))?;
        }
        Trail::of(self.checkpoint.clone(), eid, &self.tip.heads, context)
    }

    /// The files.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The files, when the ledger is no longer needed.
    pub fn into_files(self) -> F {
        self.files
    }

    /// Records the heads of devices and signs the checkpoint over everything so far. The next generation of the journal is
    /// begun, unless it was `begun` before a crash.
    fn seal(&mut self, begun: bool) -> Result<(Entry, Publication), AppendError> {
        // Until the next generation has begun, memory is ahead of the disk.
        self.broken = true;
        let (heads, root) = self.tip.seal().map_err(|error| match error {
            SealError::Tree(error) => AppendError::Tree(error),
            SealError::Entry(error) => AppendError::Heads(error),
        })?;
        let size = self.tip.size();
        if !begun {
            let file = self.journal.other();
            self.journal = Journal::begin(&mut self.files, &self.key, file, size, root)
                .map_err(AppendError::Write)?;
        }
        let checkpoint =
            Checkpoint::sign(size, root, &self.key).map_err(AppendError::Checkpoint)?;
        let (batch, before) = self.tip.take_batch();
        self.publishing = true;
        self.broken = false;
        let publication = Publication {
            checkpoint,
            batch,
            before,
            folders: std::mem::take(&mut self.folders),
        };
        Ok((heads, publication))
    }

    /// Gives drafts their places without changing anything.
    fn prepare(&self, drafts: Vec<Draft>) -> Result<Prepared, AppendError> {
        let mut links: HashMap<Eid, Link> = HashMap::new();
        let mut prepared = Prepared {
            entries: Vec::with_capacity(drafts.len()),
            frame: self.journal.room(),
            leaves: Vec::with_capacity(drafts.len()),
        };
        for (number, (index, draft)) in (self.tip.size()..).zip(drafts.into_iter().enumerate()) {
            let device = draft.device.map(|eid| {
                let known = links.get(&eid).cloned();
                known.unwrap_or_else(|| self.tip.heads.next(eid))
            });
            let entry = Entry {
                number,
                at: draft.at,
                kind: draft.kind,
                device,
                actor: draft.actor,
                body: draft.body,
            };
            let leaf = journal::push(&mut prepared.frame, &entry)
                .map_err(|error| AppendError::Draft { index, error })?;
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
            prepared.entries.push(entry);
            prepared.leaves.push(leaf);
        }
        Ok(prepared)
    }
}

/// Drafts that were given their places.
struct Prepared {
    entries: Vec<Entry>,
    /// The commit, as far as it is known.
    frame: Vec<u8>,
    leaves: Vec<Hash>,
}

impl Opening {
    /// Notes that the newest snapshot on record was not the one restored.
    fn note_missing(&mut self, recorded: Option<u64>) {
        // The snapshot of n entries is on record in entry n.
        if let Some(entry) = recorded.filter(|entry| self.restored.is_none_or(|size| *entry > size))
        {
            let known = self.unusable.iter().any(|unusable| match unusable {
                Unusable::Refused { size: named, .. }
                | Unusable::Unrecorded { entry: named, .. } => *named == entry,
                Unusable::Damaged(_) | Unusable::Missing { .. } => false,
            });
            if !known {
                self.unusable.push(Unusable::Missing { entry });
            }
        }
    }
}

impl<F> fmt::Debug for Ledger<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("key", &self.key)
            .field("size", &self.tip.size())
            .field("published", &self.checkpoint.size())
            .field("root", &self.checkpoint.root())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// Offers snapshots. Gives the heads behind the one that was taken, and the file that holds it.
fn restore(
    files: &impl Files,
    size: u64,
    visitor: &mut dyn Visitor,
    opening: &mut Opening,
) -> (Heads, Option<usize>) {
    let (snapshots, unusable) = snapshot::find(files, size);
    opening.unusable = unusable;
    for snapshot in snapshots {
        if visitor.restore(snapshot.size, snapshot.version, &snapshot.state) {
            opening.restored = Some(snapshot.size);
            return (snapshot.heads, Some(snapshot.file));
        }
        opening.unusable.push(Unusable::Refused {
            size: snapshot.size,
            version: snapshot.version,
        });
    }
    (Heads::default(), None)
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
