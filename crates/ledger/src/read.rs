//! Reading entries and proofs. Nothing is returned that the hash tiles do not lead up to the signed root.

use std::cell::{OnceCell, RefCell};

use rsp::ids::Eid;
use tlog_tiles::tlog::{self, HashReader};

use crate::checkpoint::Checkpoint;
use crate::entry::Entry;
use crate::files::ReadFiles;
use crate::hash::Hash;
use crate::heads::Heads;
use crate::key::PublicKey;
use crate::layout::{self, CHECKPOINT, WIDTH, bundle_path};
use crate::proof::{Bundle, HeadProof, Inclusion, ProofError, Proven, text};
use crate::tiles::{Tiles, read_bundle};
use crate::verify::{read_checkpoint, replay};

/// A ledger as of one checkpoint.
pub struct Reader<'a, F> {
    files: &'a F,
    checkpoint: Checkpoint,
    tiles: OnceCell<Tiles<'a, F>>,
    /// The bundle read last and its index: neighbours are asked for one after the other.
    bundle: RefCell<Option<(u64, Vec<u8>)>>,
}

/// What is needed, besides the files, to make the bundle of a device: see `Ledger::trail`.
#[derive(Debug)]
pub struct Trail {
    checkpoint: Checkpoint,
    eid: Eid,
    numbers: Vec<u64>,
    context: Vec<u64>,
    head: HeadProof,
}

impl<'a, F: ReadFiles> Reader<'a, F> {
    /// Reads as of the published checkpoint.
    pub fn open(files: &'a F, key: &PublicKey) -> Result<Self, ProofError> {
        let checkpoint = read_checkpoint(files, CHECKPOINT, key)
            .map_err(ProofError::Checkpoint)?
            .ok_or(ProofError::NoCheckpoint)?;
        Ok(Self::at(files, checkpoint))
    }

    /// Reads as of a checkpoint, which may be an earlier one.
    pub fn at(files: &'a F, checkpoint: Checkpoint) -> Self {
        Self {
            files,
            checkpoint,
            tiles: OnceCell::new(),
            bundle: RefCell::new(None),
        }
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The octets of an entry.
    pub fn octets(&self, number: u64) -> Result<Vec<u8>, ProofError> {
        let leaf = self.leaf(number)?;
        let index = number / WIDTH;
        let width = WIDTH.min(self.checkpoint.size() - index * WIDTH);
        let path = || bundle_path(index, width);
        let mut kept = self.bundle.borrow_mut();
        if kept.as_ref().is_none_or(|(kept, _)| *kept != index) {
            let read = read_bundle(self.files, index, width)
                .map_err(|error| ProofError::Read {
                    path: path(),
                    error,
                })?
                .ok_or_else(|| ProofError::Missing(path()))?;
            *kept = Some((index, read));
        }
        let bundle = kept.as_ref().map_or(&[][..], |(_, bundle)| bundle);
        let (entries, _) = layout::entries(bundle);
        let entry = usize::try_from(number % WIDTH)
            .ok()
            .and_then(|at| entries.get(at))
            .ok_or_else(|| ProofError::Missing(path()))?;
        if Hash::of_leaf(entry) != leaf {
            return Err(ProofError::Altered(number));
        }
        Ok(entry.to_vec())
    }

    /// An entry.
    pub fn entry(&self, number: u64) -> Result<Entry, ProofError> {
        Entry::decode(&self.octets(number)?).map_err(|error| ProofError::Entry { number, error })
    }

    /// An entry with the proof that it is in the ledger.
    pub fn prove(&self, number: u64) -> Result<Inclusion, ProofError> {
        Ok(Inclusion {
            format: Inclusion::FORMAT.to_owned(),
            checkpoint: text(self.checkpoint.note())?,
            entry: self.proven(number)?,
        })
    }

    /// The proof that this checkpoint continues the first `size` entries (RFC 6962 section 2.1.2). `check_consistency`
    /// checks it.
    pub fn consistency(&self, size: u64) -> Result<Vec<Hash>, ProofError> {
        let now = self.checkpoint.size();
        if size > now {
            return Err(ProofError::Beyond { size: now });
        }
        if size == 0 || size == now {
            return Ok(Vec::new());
        }
        let proof = tlog::prove_tree(now, size, self.tiles()?).map_err(ProofError::Tree)?;
        Ok(proof.into_iter().map(Hash::from).collect())
    }

    /// All entries of a device, with the proof that they are all, and the entries of these numbers as context. Reads the
    /// whole ledger; `Ledger::history` does not.
    pub fn history(&self, eid: Eid, context: &[u64]) -> Result<Bundle, ProofError> {
        let checkpoint = self.checkpoint.clone();
        let heads = Heads::default();
        let replay = replay(self.files, checkpoint, None, heads, 0, &mut |_| {});
        if !replay.report.is_good() {
            return Err(ProofError::Unsound(Box::new(replay.report)));
        }
        Trail::of(self.checkpoint.clone(), eid, &replay.heads, context)?.bundle(self.files)
    }

    fn proven(&self, number: u64) -> Result<Proven, ProofError> {
        let octets = self.octets(number)?;
        let size = self.checkpoint.size();
        let proof = tlog::prove_record(size, number, self.tiles()?).map_err(ProofError::Tree)?;
        Ok(Proven {
            entry: text(&octets)?,
            proof: proof.into_iter().map(Hash::from).collect(),
        })
    }

    /// Entries of these numbers.
    fn all(&self, numbers: &[u64]) -> Result<Vec<Proven>, ProofError> {
        numbers.iter().map(|number| self.proven(*number)).collect()
    }

    fn leaf(&self, number: u64) -> Result<Hash, ProofError> {
        if number >= self.checkpoint.size() {
            return Err(ProofError::Beyond {
                size: self.checkpoint.size(),
            });
        }
        let index = tlog::stored_hash_index(0, number);
        self.tiles()?
            .read_hashes(&[index])
            .map_err(ProofError::Tree)?
            .first()
            .map(|hash| (*hash).into())
            .ok_or(ProofError::Tree(tlog::Error::BadMath))
    }

    /// The tiles, read when they are needed first.
    fn tiles(&self) -> Result<&Tiles<'a, F>, ProofError> {
        if let Some(tiles) = self.tiles.get() {
            return Ok(tiles);
        }
        let tiles = Tiles::open(self.files, &self.checkpoint).map_err(ProofError::Tree)?;
        Ok(self.tiles.get_or_init(|| tiles))
    }
}

impl Trail {
    /// Given the heads as of the checkpoint. Numbers of the device's own entries and repeated ones are dropped from the
    /// context.
    pub(crate) fn of(
        checkpoint: Checkpoint,
        eid: Eid,
        heads: &Heads,
        context: &[u64],
    ) -> Result<Self, ProofError> {
        let (head, slot, proof) = heads
            .prove(eid)
            .map_err(ProofError::Tree)?
            .ok_or(ProofError::Unknown(eid))?;
        let numbers = heads.numbers(eid).to_vec();
        let mut context: Vec<u64> = context
            .iter()
            .copied()
            .filter(|number| numbers.binary_search(number).is_err())
            .collect();
        context.sort_unstable();
        context.dedup();
        Ok(Self {
            checkpoint,
            eid,
            numbers,
            context,
            head: HeadProof { head, slot, proof },
        })
    }

    /// The numbers of the device's entries.
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// The checkpoint that the bundle will have.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The bundle.
    pub fn bundle(&self, files: &impl ReadFiles) -> Result<Bundle, ProofError> {
        let reader = Reader::at(files, self.checkpoint.clone());
        Ok(Bundle {
            memberships: Vec::new(),
            format: Bundle::FORMAT.to_owned(),
            device: self.eid.to_string(),
            checkpoint: text(self.checkpoint.note())?,
            entries: reader.all(&self.numbers)?,
            context: reader.all(&self.context)?,
            heads: reader.proven(self.checkpoint.size().saturating_sub(1))?,
            head: self.head.clone(),
        })
    }
}
