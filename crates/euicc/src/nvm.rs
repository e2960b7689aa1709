//! Non-volatile memory: two slots of which one always holds a whole state.
//!
//! A commit writes the whole new state into the slot that is not current, together with a sequence number, its length
//! and a SHA-256 over all of it. Only when that is there completely does the slot count, and then its higher sequence
//! number makes it the current one. A power cut at any byte therefore leaves the old state or the new one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Where a card keeps what must outlast a power cut. The octets contain private keys.
pub trait Nvm: Send {
    /// Everything in a slot, at most [`SLOT_OCTETS_MAX`]; empty when it was never written.
    fn read(&mut self, slot: Slot) -> Result<Zeroizing<Vec<u8>>, NvmError>;

    /// Replaces the content of a slot from its first octet on, and returns when it is durable. When it fails, the slot
    /// may hold anything, the other slot must be untouched.
    fn write(&mut self, slot: Slot, octets: &[u8]) -> Result<(), NvmError>;
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

/// The memory failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NvmError {
    /// The card lost power; it says nothing until it is powered on again.
    #[error("power was lost")]
    PowerLost,
    /// The state is larger than a slot.
    #[error("state of {octets} octets does not fit a slot of {SLOT_OCTETS_MAX}")]
    TooLarge {
        /// Its size.
        octets: usize,
    },
    /// The file system failed.
    #[error("card memory file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The octets of a state, which contain private keys.
pub(crate) type Payload = Zeroizing<Vec<u8>>;

/// Octets of one slot.
pub const SLOT_OCTETS_MAX: usize = 16 << 20;

impl Slot {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// The two slots with the rule which of them counts.
pub(crate) struct CommitLog {
    nvm: Box<dyn Nvm>,
    current: Slot,
    sequence: u64,
}

impl CommitLog {
    /// Finds the last state that was completely written; `None` in a fresh memory.
    pub(crate) fn open(mut nvm: Box<dyn Nvm>) -> Result<(Self, Option<Payload>), NvmError> {
        let newest = newest(&mut *nvm)?;
        let (current, sequence, payload) = match newest {
            Some(stored) => (stored.slot, stored.sequence, Some(stored.payload)),
            None => (Slot::B, 0, None),
        };
        Ok((
            Self {
                nvm,
                current,
                sequence,
            },
            payload,
        ))
    }

    /// Makes `payload` the state. On an error it is unknown which state is stored: open the memory again.
    pub(crate) fn commit(&mut self, payload: &[u8]) -> Result<(), NvmError> {
        let sequence = self.sequence.saturating_add(1);
        let record = seal(sequence, payload)?;
        let slot = self.current.other();
        self.nvm.write(slot, &record)?;
        self.current = slot;
        self.sequence = sequence;
        Ok(())
    }

    /// Gives the memory back.
    pub(crate) fn into_nvm(self) -> Box<dyn Nvm> {
        self.nvm
    }
}

/// Magic, sequence number, length of the payload, SHA-256 over those and the payload, payload. Big-endian.
const MAGIC: [u8; 4] = *b"PEU1";
const PREFIX_OCTETS: usize = 4 + 8 + 4;
const HEADER_OCTETS: usize = PREFIX_OCTETS + 32;

/// The octets of the state that a card would find in a memory, `None` in a fresh one. They contain private keys.
///
/// For tools that compare or back up cards; a card itself needs only [`crate::Card::power_on`].
pub fn stored_state(nvm: &mut dyn Nvm) -> Result<Option<Zeroizing<Vec<u8>>>, NvmError> {
    Ok(newest(nvm)?.map(|stored| stored.payload))
}

struct Stored {
    slot: Slot,
    sequence: u64,
    payload: Payload,
}

fn newest(nvm: &mut dyn Nvm) -> Result<Option<Stored>, NvmError> {
    let mut newest: Option<Stored> = None;
    for slot in [Slot::A, Slot::B] {
        let content = nvm.read(slot)?;
        let Some(record) = unseal(&content) else {
            continue;
        };
        if newest
            .as_ref()
            .is_none_or(|other| record.sequence > other.sequence)
        {
            let payload = Zeroizing::new(record.payload.to_vec());
            newest = Some(Stored {
                slot,
                sequence: record.sequence,
                payload,
            });
        }
    }
    Ok(newest)
}

struct Unsealed<'a> {
    sequence: u64,
    payload: &'a [u8],
}

fn seal(sequence: u64, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, NvmError> {
    let octets = HEADER_OCTETS.saturating_add(payload.len());
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| octets <= SLOT_OCTETS_MAX);
    let Some(length) = length else {
        return Err(NvmError::TooLarge { octets });
    };
    let mut record = Zeroizing::new(Vec::with_capacity(octets));
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&sequence.to_be_bytes());
    record.extend_from_slice(&length.to_be_bytes());
    let digest = Sha256::new()
        .chain_update(record.as_slice())
        .chain_update(payload)
        .finalize();
    record.extend_from_slice(&digest);
    record.extend_from_slice(payload);
    Ok(record)
}

/// `None` unless the slot holds a complete record. What stands behind its end is left over from an older, longer one.
fn unseal(slot: &[u8]) -> Option<Unsealed<'_>> {
    let (header, rest) = slot.split_at_checked(HEADER_OCTETS)?;
    let (prefix, digest) = header.split_at_checked(PREFIX_OCTETS)?;
    let (magic, numbers) = prefix.split_first_chunk::<4>()?;
    let (sequence, length) = numbers.split_first_chunk::<8>()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    let expected = Sha256::new()
        .chain_update(prefix)
        .chain_update(payload)
        .finalize();
    (*magic == MAGIC && expected.as_slice() == digest).then_some(Unsealed {
        sequence: u64::from_be_bytes(*sequence),
        payload,
    })
}

/// A memory in memory. Clones are handles to the same one, so that a test keeps one while the card has the other.
#[derive(Clone, Default)]
pub struct MemoryNvm(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    slots: [Zeroizing<Vec<u8>>; 2],
    octets_written: u64,
    /// Octets that can still be written before the power goes.
    until_cut: Option<u64>,
    is_off: bool,
}

impl MemoryNvm {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the power fail after this many more written octets: what the write in question had not reached keeps its
    /// old content, and nothing works any more until [`MemoryNvm::restore_power`].
    pub fn cut_power_after(&self, octets: u64) {
        self.lock().until_cut = Some(octets);
    }

    /// Ends a power cut, or takes back a planned one.
    pub fn restore_power(&self) {
        let mut memory = self.lock();
        memory.until_cut = None;
        memory.is_off = false;
    }

    /// Octets written since the memory was made.
    pub fn octets_written(&self) -> u64 {
        self.lock().octets_written
    }

    /// Another memory with the same content and with power.
    pub fn duplicate(&self) -> Self {
        let slots = self.lock().slots.clone();
        Self(Arc::new(Mutex::new(Memory {
            slots,
            ..Memory::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A panic elsewhere leaves at worst a torn write, which the slots are made for.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryNvm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryNvm")
            .field("octets_written", &self.octets_written())
            .finish()
    }
}

impl Nvm for MemoryNvm {
    fn read(&mut self, slot: Slot) -> Result<Zeroizing<Vec<u8>>, NvmError> {
        let memory = self.lock();
        if memory.is_off {
            return Err(NvmError::PowerLost);
        }
        Ok(memory.slots.get(slot.index()).cloned().unwrap_or_default())
    }

    fn write(&mut self, slot: Slot, octets: &[u8]) -> Result<(), NvmError> {
        let mut memory = self.lock();
        if memory.is_off {
            return Err(NvmError::PowerLost);
        }
        let length = octets.len() as u64;
        let reached = memory.until_cut.map_or(length, |left| left.min(length));
        memory.octets_written += reached;
        memory.until_cut = memory.until_cut.map(|left| left - reached);
        let written = octets.get(..reached as usize).unwrap_or(octets);
        if let Some(content) = memory.slots.get_mut(slot.index()) {
            let old = std::mem::take(content);
            let kept = old
                .get(written.len()..)
                .filter(|_| reached < length)
                .unwrap_or_default();
            content.extend_from_slice(written);
            content.extend_from_slice(kept);
        }
        if reached < length {
            memory.is_off = true;
            return Err(NvmError::PowerLost);
        }
        Ok(())
    }
}

/// Two files in a directory, readable by their owner only.
#[derive(Debug)]
pub struct FileNvm {
    directory: PathBuf,
}

impl FileNvm {
    /// Uses a directory, made if need be. The files appear with the first commit.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, NvmError> {
        let directory = directory.as_ref().to_owned();
        create_private_directory(&directory).map_err(|source| NvmError::File {
            path: directory.clone(),
            source,
        })?;
        Ok(Self { directory })
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.directory.join(match slot {
            Slot::A => "state.a",
            Slot::B => "state.b",
        })
    }
}

impl Nvm for FileNvm {
    fn read(&mut self, slot: Slot) -> Result<Zeroizing<Vec<u8>>, NvmError> {
        let path = self.path(slot);
        read_at_most(&path, SLOT_OCTETS_MAX).map_err(|source| NvmError::File { path, source })
    }

    fn write(&mut self, slot: Slot, octets: &[u8]) -> Result<(), NvmError> {
        let path = self.path(slot);
        write_durably(&path, &self.directory, octets)
            .map_err(|source| NvmError::File { path, source })
    }
}

fn read_at_most(path: &Path, octets_max: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Zeroizing::default()),
        Err(error) => return Err(error),
    };
    let mut content = Zeroizing::new(Vec::new());
    file.take(octets_max as u64).read_to_end(&mut content)?;
    Ok(content)
}

fn write_durably(path: &Path, directory: &Path, octets: &[u8]) -> std::io::Result<()> {
    let is_new = !path.exists();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(octets)?;
    file.sync_all()?;
    if is_new {
        // The name of the file must outlast a power cut too.
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn create_private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(nvm: &MemoryNvm) -> (CommitLog, Option<Vec<u8>>) {
        let (log, payload) = CommitLog::open(Box::new(nvm.clone())).unwrap();
        (log, payload.map(|payload| payload.to_vec()))
    }

    #[test]
    fn a_cut_at_any_byte_leaves_the_old_or_the_new_state() {
        let before = MemoryNvm::new();
        let (mut log, none) = open(&before);
        assert_eq!(none, None);
        for state in [
            &b"first, and longer than what follows"[..],
            b"second",
            b"third state",
        ] {
            log.commit(state).unwrap();
        }
        let record = HEADER_OCTETS + b"the fourth".len();
        for cut in 0..=record as u64 {
            let nvm = before.duplicate();
            let (mut log, current) = open(&nvm);
            assert_eq!(current.as_deref(), Some(&b"third state"[..]));
            nvm.cut_power_after(cut);
            let outcome = log.commit(b"the fourth");
            assert_eq!(outcome.is_ok(), cut == record as u64);
            nvm.restore_power();
            let expected = if outcome.is_ok() {
                &b"the fourth"[..]
            } else {
                b"third state"
            };
            let (mut log, current) = open(&nvm);
            assert_eq!(current.as_deref(), Some(expected), "cut after {cut}");
            // And the memory still works.
            log.commit(b"fifth").unwrap();
            assert_eq!(open(&nvm).1.as_deref(), Some(&b"fifth"[..]));
        }
    }

    #[test]
    fn a_first_commit_that_is_cut_leaves_a_fresh_memory() {
        let nvm = MemoryNvm::new();
        let (mut log, _) = open(&nvm);
        nvm.cut_power_after(20);
        assert!(matches!(log.commit(b"state"), Err(NvmError::PowerLost)));
        assert!(matches!(log.commit(b"state"), Err(NvmError::PowerLost)));
        nvm.restore_power();
        assert_eq!(open(&nvm).1, None);
    }

    #[test]
    fn a_flipped_bit_makes_the_slot_count_no_more() {
        let nvm = MemoryNvm::new();
        let (mut log, _) = open(&nvm);
        log.commit(b"old").unwrap();
        log.commit(b"new").unwrap();
        let length = nvm.lock().slots[1].len();
        for at in 0..length {
            let damaged = nvm.duplicate();
            damaged.lock().slots[1][at] ^= 0x10;
            assert_eq!(open(&damaged).1.as_deref(), Some(&b"old"[..]), "octet {at}");
        }
    }

    #[test]
    fn files_hold_a_state_and_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("card");
        for state in [&b"one"[..], b"two", b"three"] {
            let (mut log, _) = CommitLog::open(Box::new(FileNvm::open(&path).unwrap())).unwrap();
            log.commit(state).unwrap();
            let (_, current) = CommitLog::open(Box::new(FileNvm::open(&path).unwrap())).unwrap();
            assert_eq!(current.unwrap().as_slice(), state);
        }
        // A torn file counts as little as a torn slot.
        std::fs::write(path.join("state.a"), b"PEU1 half").unwrap();
        let (_, current) = CommitLog::open(Box::new(FileNvm::open(&path).unwrap())).unwrap();
        assert_eq!(current.unwrap().as_slice(), b"two");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path.join("state.b"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused() {
        let nvm = MemoryNvm::new();
        let (mut log, _) = open(&nvm);
        let at_limit = vec![0; SLOT_OCTETS_MAX - HEADER_OCTETS];
        log.commit(&at_limit).unwrap();
        let above = vec![0; SLOT_OCTETS_MAX - HEADER_OCTETS + 1];
        assert!(matches!(log.commit(&above), Err(NvmError::TooLarge { .. })));
        assert_eq!(open(&nvm).1.map(|state| state.len()), Some(at_limit.len()));
    }

    proptest::proptest! {
        /// Any series of commits of any length, some of them cut: the last complete one is found, always.
        #[test]
        fn the_last_complete_commit_is_found(
            commits in proptest::collection::vec(
                (proptest::collection::vec(0_u8.., 0..80), proptest::option::of(0_u64..140)),
                1..12,
            ),
        ) {
            let nvm = MemoryNvm::new();
            let mut expected = None;
            for (payload, cut) in commits {
                let (mut log, found) = open(&nvm);
                proptest::prop_assert_eq!(&found, &expected);
                if let Some(cut) = cut {
                    nvm.cut_power_after(cut);
                }
                let outcome = log.commit(&payload);
                nvm.restore_power();
                let is_complete = outcome.is_ok();
                let found = open(&nvm).1;
                // A tail left over from before can complete a record that was cut.
                proptest::prop_assert!(found == Some(payload) || (!is_complete && found == expected));
                expected = found;
            }
        }
    }
}
