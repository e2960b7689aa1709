//! Signed checkpoints (C2SP tlog-checkpoint) and the cosignatures of witnesses on them.

use signed_note::{Note, NoteError, Signature, Verifier, VerifierList};
use tlog_tiles::checkpoint;

use crate::hash::Hash;
use crate::key::{CosigningKey, PublicKey, SigningKey, WitnessKey, cosignature};

/// Octets of a signed checkpoint at most, cosignatures included.
pub const CHECKPOINT_MAX: usize = 64 * 1024;

/// Entries of a ledger at most. Keeps the arithmetic of the tree far from its limits.
pub const SIZE_MAX: u64 = 1 << 48;

/// A statement, signed by the ledger's key, of how many entries there are and what the hash over them is. Values of this
/// type have a verified signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: Vec<u8>,
}

/// A verified statement of a witness that it saw a checkpoint, after checking that it continues the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness.
    pub name: String,
    /// When it signed: seconds since 1970, by its own clock.
    pub time: u64,
}

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a note with the lines of a checkpoint.
    #[error("not a signed checkpoint")]
    Malformed,
    /// The checkpoint of another ledger.
    #[error("a checkpoint of \"{found}\", not of \"{wanted}\"")]
    Origin {
        /// The ledger whose key is used.
        wanted: String,
        /// The first line of the checkpoint.
        found: String,
    },
    /// Not signed by this key.
    #[error("not signed by the ledger's key")]
    Unsigned,
    /// The key has a signature there that is wrong.
    #[error("the signature of {0} is wrong: the checkpoint was altered")]
    Signature(String),
    /// More entries than a ledger can have.
    #[error("{0} entries are more than a ledger can have")]
    Size(u64),
    /// No entries, and the root of some.
    #[error("the root is not that of a ledger without entries")]
    EmptyRoot,
    /// A cosignature without a time.
    #[error("a cosignature has a time, in seconds since 1970")]
    Time,
    /// Signing did not work.
    #[error("the checkpoint could not be signed")]
    Sign(#[source] NoteError),
}

impl Checkpoint {
    /// States and signs.
    pub(crate) fn sign(size: u64, root: Hash, key: &SigningKey) -> Result<Self, CheckpointError> {
        let text = checkpoint::Checkpoint::new(key.public().origin(), size, root.into(), "")
            .map_err(|_| CheckpointError::Malformed)?
            .to_bytes();
        let mut note = Note::new(&text, &[]).map_err(CheckpointError::Sign)?;
        note.add_sigs(&[&key.signer])
            .map_err(CheckpointError::Sign)?;
        Ok(Self {
            size,
            root,
            note: note.to_bytes(),
        })
    }

    /// Reads a checkpoint and verifies that the ledger's key signed it. Cosignatures are left for [`Self::cosignatures`].
    pub fn open(octets: &[u8], key: &PublicKey) -> Result<Self, CheckpointError> {
        if octets.len() > CHECKPOINT_MAX {
            return Err(CheckpointError::Malformed);
        }
        let note = Note::from_bytes(octets).map_err(|_| CheckpointError::Malformed)?;
        let lines = checkpoint::Checkpoint::from_bytes(note.text())
            .map_err(|_| CheckpointError::Malformed)?;
        if lines.origin() != key.origin() {
            return Err(CheckpointError::Origin {
                wanted: key.origin().to_owned(),
                // It is shown to people and not verified.
                found: lines
                    .origin()
                    .chars()
                    .take(128)
                    .flat_map(char::escape_default)
                    .collect(),
            });
        }
        note.verify(&VerifierList::new(vec![Box::new(key.verifier.clone())]))
            .map_err(|error| match error {
                NoteError::UnverifiedNote => CheckpointError::Unsigned,
                _ => CheckpointError::Signature(key.origin().to_owned()),
            })?;
        if lines.size() > SIZE_MAX {
            return Err(CheckpointError::Size(lines.size()));
        }
        let root = Hash::from(*lines.hash());
        if lines.size() == 0 && root != Hash::EMPTY {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self {
            size: lines.size(),
            root,
            note: octets.to_vec(),
        })
    }

    /// How many entries it covers.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash over these entries (RFC 6962 section 2.1).
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The signed note, to be kept, published or sent to a witness.
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// The cosignatures of those of `witnesses` that have signed. A wrong one is an error, not an absent one.
    pub fn cosignatures(
        &self,
        witnesses: &[WitnessKey],
    ) -> Result<Vec<Cosignature>, CheckpointError> {
        let note = self.parsed()?;
        let known: Vec<Box<dyn Verifier>> = witnesses
            .iter()
            .map(|witness| Box::new(witness.clone()) as Box<dyn Verifier>)
            .collect();
        let signatures = match note.verify(&VerifierList::new(known)) {
            Ok((verified, _)) => verified,
            Err(NoteError::UnverifiedNote) => Vec::new(),
            Err(NoteError::InvalidSignature { name, .. }) => {
                return Err(CheckpointError::Signature(name));
            }
            Err(_) => return Err(CheckpointError::Malformed),
        };
        Ok(signatures
            .iter()
            .filter_map(|signature| {
                let (time, _) = cosignature(signature.signature())?;
                Some(Cosignature {
                    name: signature.name().to_owned(),
                    time,
                })
            })
            .collect())
    }

    /// The line of a cosignature at a time, in seconds since 1970. A witness makes it after checking that this checkpoint
    /// continues the one before.
    pub(crate) fn cosign(&self, key: &CosigningKey, time: u64) -> Result<String, CheckpointError> {
        if time == 0 || time > i64::MAX.unsigned_abs() {
            return Err(CheckpointError::Time);
        }
        let octets = key.cosign(self.parsed()?.text(), time);
        let (name, id) = (key.public().name().to_owned(), key.public().key_id());
        let line = Signature::new(name, id, octets).map_err(CheckpointError::Sign)?;
        let line = String::from_utf8(line.to_bytes()).map_err(|_| CheckpointError::Malformed)?;
        Ok(format!("{}\n", line.trim_end_matches('\n')))
    }

    /// Adds a cosignature, one line as a witness answers it (C2SP tlog-witness, "add-checkpoint"), after verifying it. An
    /// earlier one by the same witness is replaced.
    pub fn with_cosignature(
        &self,
        line: &str,
        witness: &WitnessKey,
    ) -> Result<Self, CheckpointError> {
        if line.len() > 1024 {
            return Err(CheckpointError::Malformed);
        }
        let line = line.trim_end_matches('\n');
        let signature =
            Signature::from_bytes(line.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        if !witness.made(&signature) {
            return Err(CheckpointError::Unsigned);
        }
        let note = self.parsed()?;
        if !witness.verify(note.text(), signature.signature()) {
            return Err(CheckpointError::Signature(witness.name().to_owned()));
        }
        let own = |line: &&str| {
            Signature::from_bytes(line.as_bytes())
                .is_ok_and(|other| other.name() == signature.name() && other.id() == signature.id())
        };
        let text = String::from_utf8(self.note.clone()).map_err(|_| CheckpointError::Malformed)?;
        let (body, signatures) = text.rsplit_once("\n\n").ok_or(CheckpointError::Malformed)?;
        let mut note = format!("{body}\n\n");
        for kept in signatures.lines().filter(|line| !own(line)) {
            note.push_str(kept);
            note.push('\n');
        }
        note.push_str(line);
        note.push('\n');
        if note.len() > CHECKPOINT_MAX {
            return Err(CheckpointError::Malformed);
        }
        Note::from_bytes(note.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        Ok(Self {
            size: self.size,
            root: self.root,
            note: note.into_bytes(),
        })
    }

    fn parsed(&self) -> Result<Note, CheckpointError> {
        Note::from_bytes(&self.note).map_err(|_| CheckpointError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("example.com/ledger", &[7; 32]).unwrap()
    }

    struct Witness {
        key: CosigningKey,
        public: WitnessKey,
    }

    fn witness(name: &str, seed: u8) -> Witness {
        let key = CosigningKey::from_seed(name, &[seed; 32]).unwrap();
        let public = key.public().clone();
        Witness { key, public }
    }

    impl Witness {
        fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> String {
            checkpoint.cosign(&self.key, time).unwrap()
        }
    }

    #[test]
    fn only_what_the_key_signed_opens() {
        let key = key();
        let checkpoint = Checkpoint::sign(5, Hash([3; 32]), &key).unwrap();
        let opened = Checkpoint::open(checkpoint.note(), key.public()).unwrap();
        assert_eq!(opened, checkpoint);
        let text = String::from_utf8(checkpoint.note().to_vec()).unwrap();
        assert!(text.starts_with("example.com/ledger\n5\nAwMD"), "{text}");

        let open = |text: &str| Checkpoint::open(text.as_bytes(), key.public());
        assert!(matches!(
            open(&text.replace("\n5\n", "\n6\n")),
            Err(CheckpointError::Signature(_))
        ));
        assert!(matches!(
            open(&text.replace("example.com/ledger\n5", "example.com/other\n5")),
            Err(CheckpointError::Origin { .. })
        ));
        assert!(matches!(
            open(&text[..text.len() - 1]),
            Err(CheckpointError::Malformed)
        ));
        let other = SigningKey::from_seed("example.com/ledger", &[8; 32]).unwrap();
        assert!(matches!(
            Checkpoint::open(checkpoint.note(), other.public()),
            Err(CheckpointError::Unsigned)
        ));
        let huge = Checkpoint::sign(u64::MAX, Hash([3; 32]), &key).unwrap();
        assert!(matches!(
            Checkpoint::open(huge.note(), key.public()),
            Err(CheckpointError::Size(u64::MAX))
        ));
    }

    #[test]
    fn cosignatures_are_verified_and_replaced() {
        let key = key();
        let checkpoint = Checkpoint::sign(5, Hash([3; 32]), &key).unwrap();
        let (one, two) = (
            witness("witness.example/one", 1),
            witness("witness.example/two", 2),
        );
        let keys = [one.public.clone(), two.public.clone()];
        assert_eq!(checkpoint.cosignatures(&keys).unwrap(), []);

        let signed = checkpoint
            .with_cosignature(&one.cosign(&checkpoint, 100), &one.public)
            .unwrap()
            .with_cosignature(&two.cosign(&checkpoint, 200), &two.public)
            .unwrap()
            .with_cosignature(&one.cosign(&checkpoint, 300), &one.public)
            .unwrap();
        let mut seen = Checkpoint::open(signed.note(), key.public())
            .unwrap()
            .cosignatures(&keys)
            .unwrap();
        seen.sort_by_key(|cosignature| cosignature.time);
        let seen: Vec<_> = seen.iter().map(|c| (c.name.as_str(), c.time)).collect();
        assert_eq!(
            seen,
            [("witness.example/two", 200), ("witness.example/one", 300)]
        );

        // For another checkpoint, by another witness, with another time.
        let later = Checkpoint::sign(6, Hash([4; 32]), &key).unwrap();
        let line = one.cosign(&checkpoint, 100);
        assert!(matches!(
            later.with_cosignature(&line, &one.public),
            Err(CheckpointError::Signature(_))
        ));
        assert!(matches!(
            checkpoint.with_cosignature(&line, &two.public),
            Err(CheckpointError::Unsigned)
        ));
        let mut signature = Signature::from_bytes(line.trim_end().as_bytes())
            .unwrap()
            .signature()
            .to_vec();
        signature[7] ^= 1;
        let forged =
            Signature::new(one.public.name().to_owned(), one.public.key_id(), signature).unwrap();
        let forged = String::from_utf8(forged.to_bytes()).unwrap();
        assert!(checkpoint.with_cosignature(&forged, &one.public).is_err());
        let note = [checkpoint.note(), forged.as_bytes()].concat();
        assert!(matches!(
            Checkpoint::open(&note, key.public())
                .unwrap()
                .cosignatures(&keys),
            Err(CheckpointError::Signature(_))
        ));
    }
}
