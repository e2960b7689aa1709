//! The end of the ledger in memory: where it grows.

use tlog_tiles::tlog;

use crate::edge::Edge;
use crate::entry::{Actor, Entry, EntryError};
use crate::hash::Hash;
use crate::heads::{HEADS, Heads};
use crate::layout::{WIDTH, bundle_path, hashes_at, push_entry, tile_path};
use crate::publication::Batch;
use crate::report::Finding;

const OWN_ACTOR: &str = "ledger";

/// All that appending needs of the entries before, and what there is to publish.
#[derive(Default)]
pub(crate) struct Tip {
    pub(crate) edge: Edge,
    pub(crate) heads: Heads,
    /// The octets of the unfinished bundle.
    pub(crate) bundle: Vec<u8>,
    /// Tiles and bundles that have become full since the last publication was begun.
    batch: Batch,
    /// Entries of the last publication that was begun.
    begun: u64,
    /// The time of the newest entry.
    last_at: u64,
}

/// Why heads could not be recorded. Memory or program are at fault: everything was checked before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The tree does not add up.
    #[error(transparent)]
    Tree(#[from] tlog::Error),
    /// The entry cannot be encoded.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Who writes the ledger's own entries.
pub(crate) fn own_actor() -> Result<Actor, EntryError> {
    OWN_ACTOR.parse()
}

impl Tip {
    /// The end of what is published.
    pub(crate) fn of(edge: Edge, heads: Heads, bundle: Vec<u8>, last_at: u64) -> Self {
        Self {
            begun: edge.size(),
            edge,
            heads,
            bundle,
            batch: Batch::default(),
            last_at,
        }
    }

    /// Entries so far.
    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Entries since the last publication was begun.
    pub(crate) fn unpublished(&self) -> u64 {
        self.edge.size() - self.begun
    }

    /// The time of the newest entry.
    pub(crate) fn last_at(&self) -> u64 {
        self.last_at
    }

    /// Takes an entry in that was given its place here.
    pub(crate) fn push(&mut self, entry: &Entry, octets: &[u8], leaf: Hash) {
        if let Some(link) = &entry.device {
            self.heads.record(link.eid, entry.number, leaf);
        }
        self.grow(entry.at, octets, leaf);
    }

    /// Takes an entry in that was read from the journal.
    pub(crate) fn admit(&mut self, octets: &[u8]) -> Result<Entry, Finding> {
        let number = self.size();
        let entry = Entry::decode(octets).map_err(|error| Finding::Malformed { number, error })?;
        let leaf = Hash::of_leaf(octets);
        if entry.kind.as_str() == HEADS {
            // Heads are recorded by publishing, never in a commit.
            return Err(Finding::Broken {
                number,
                error: crate::heads::Break::Heads,
            });
        }
        match self.heads.admit(number, &entry, leaf) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Finding::Broken { number, error }),
            Err(error) => return Err(Finding::Tiles(error.to_string())),
        }
        self.grow(entry.at, octets, leaf);
        Ok(entry)
    }

    /// Records the heads of devices. What is recorded follows from the entries before alone, the time included, so that
    /// doing it again after a crash gives the same entry, the same root and the same signature.
    pub(crate) fn seal(&mut self) -> Result<(Entry, Hash), SealError> {
        let entry = self.heads.entry(self.size(), self.last_at, own_actor()?)?;
        let octets = entry.encode()?;
        self.grow(entry.at, &octets, Hash::of_leaf(&octets));
        Ok((entry, self.edge.root()?))
    }

    /// The files of a publication of everything so far, and how many entries the one before had.
    pub(crate) fn take_batch(&mut self) -> (Batch, u64) {
        let mut batch = std::mem::take(&mut self.batch);
        let (before, size) = (self.begun, self.size());
        for (level, index, hashes) in self.edge.unfinished() {
            let now = hashes_at(level, size);
            if hashes_at(level, before) != now {
                batch.add(tile_path(level, index, now % WIDTH), hashes.to_vec());
            }
        }
        if !self.bundle.is_empty() {
            batch.add(bundle_path(size / WIDTH, size % WIDTH), self.bundle.clone());
        }
        self.begun = size;
        (batch, before)
    }

    fn grow(&mut self, at: u64, octets: &[u8], leaf: Hash) {
        self.last_at = at;
        push_entry(&mut self.bundle, octets);
        let batch = &mut self.batch;
        self.edge.push(leaf, &mut |level, index, hashes| {
            batch.add_full(tile_path(level, index, WIDTH), level, index, hashes);
        });
        if self.edge.size().is_multiple_of(WIDTH) {
            let index = self.edge.size() / WIDTH - 1;
            let bundle = std::mem::take(&mut self.bundle);
            batch.add_full(bundle_path(index, WIDTH), 0, index, bundle);
        }
    }
}
