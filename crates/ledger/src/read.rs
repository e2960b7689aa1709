//! Reading entries and proofs. Nothing is returned that the hash tiles do not lead up to the signed root.

use std::cell::OnceCell;

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
        let bundle = read_bundle(self.files, index, width)
            .map_err(|error| ProofError::Read {
                path: path(),
                error,
            })?
            .ok_or_else(|| ProofError::Missing(path()))?;
        let (entries, _) = layout::entries(&bundle);
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

    /// All entries of a device, with the proof that they are all. Reads the whole ledger; `Ledger::history` does not.
    pub fn history(&self, eid: Eid) -> Result<Bundle, ProofError> {
        let replay = replay(self.files, self.checkpoint.clone(), None, &mut |_| {});
        if !replay.report.is_good() {
            return Err(ProofError::Unsound(Box::new(replay.report)));
        }
        self.bundle(eid, &replay.heads)
    }

    /// A bundle, given the heads as of the checkpoint.
    pub(crate) fn bundle(&self, eid: Eid, heads: &Heads) -> Result<Bundle, ProofError> {
        let (head, slot, proof) = heads
            .prove(eid)
            .map_err(ProofError::Tree)?
            .ok_or(ProofError::Unknown(eid))?;
        let last = self.checkpoint.size().saturating_sub(1);
        Ok(Bundle {
            format: Bundle::FORMAT.to_owned(),
            device: eid.to_string(),
            checkpoint: text(self.checkpoint.note())?,
            entries: heads
                .numbers(eid)
                .iter()
                .map(|number| self.proven(*number))
                .collect::<Result<_, _>>()?,
            heads: self.proven(last)?,
            head: HeadProof { head, slot, proof },
        })
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
