//! Snapshots: what the owner of a ledger has made of its entries, kept beside them so that opening needs not read all of
//! them again.
//!
//! The octets lie in one of two files that take turns; the entry that vouches for them is of the kind `ledger.snapshot`.
//!
//! | octets | what |
//! | --- | --- |
//! | 8 | `MAGIC` |
//! | 8 | entries that the snapshot stands for, which is also the number of the entry that vouches for it |
//! | 4 | the owner's version |
//! | 8 | octets of the index |
//! | 8 | octets of the state |
//! | | the index: the chains of devices, as `Heads::to_octets` writes them |
//! | | the state: the owner's |
//!
//! Integers are big-endian.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::entry::{Entry, Kind};
use crate::files::{Files, ReadFiles};
use crate::hash::Hash;
use crate::heads::Heads;
use crate::layout::{self, WIDTH};
use crate::tiles::read_bundle;

/// The kind of the entries that vouch for snapshots.
pub const SNAPSHOT: &str = "ledger.snapshot";

/// Octets of a snapshot at most.
pub const SNAPSHOT_MAX: usize = 1 << 30;

/// The files that take turns.
pub(crate) const FILES: [&str; 2] = [".snapshot.0", ".snapshot.1"];

/// What a snapshot begins with.
const MAGIC: [u8; 8] = *b"\xffPLSNP1\n";

/// Octets before the index.
const HEAD: usize = 36;

/// What the body of an entry of the kind [`SNAPSHOT`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotBody {
    /// Entries that the snapshot stands for: all before this one.
    pub size: u64,
    /// The version of the owner's octets.
    pub version: u32,
    /// SHA-256 of the owner's octets.
    pub state: Hash,
    /// SHA-256 of the ledger's own part, the chains of devices.
    pub index: Hash,
}

/// A snapshot that the ledger vouches for.
pub(crate) struct Snapshot {
    pub(crate) size: u64,
    pub(crate) version: u32,
    pub(crate) state: Vec<u8>,
    pub(crate) heads: Heads,
    pub(crate) file: usize,
}

/// Why a file of snapshots is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It could not be read, or is not whole.
    #[error("{0} is not a whole snapshot")]
    Damaged(&'static str),
    /// No entry vouches for it: it was altered, or a crash came before the entry was recorded.
    #[error("{path} is not the snapshot that entry {entry} vouches for, or there is no such entry")]
    Unrecorded {
        /// The file.
        path: &'static str,
        /// The entry that should vouch for it.
        entry: u64,
    },
    /// The owner did not take it.
    #[error("the snapshot of {size} entries, version {version}, is of no use to this program")]
    Refused {
        /// Entries it stands for.
        size: u64,
        /// Its version.
        version: u32,
    },
    /// An entry vouches for a snapshot that no longer exists.
    #[error("the snapshot that entry {entry} vouches for is missing or was altered")]
    Missing {
        /// The entry.
        entry: u64,
    },
}

/// Writes a snapshot durably and gives what the entry that vouches for it has to say.
pub(crate) fn write(
    files: &mut impl Files,
    file: usize,
    size: u64,
    version: u32,
    index: &[u8],
    state: &[u8],
) -> io::Result<Value> {
    let path = path(file);
    let octets = [
        MAGIC.as_slice(),
        &size.to_be_bytes(),
        &version.to_be_bytes(),
        &length(index).to_be_bytes(),
        &length(state).to_be_bytes(),
        index,
        state,
    ]
    .concat();
    if octets.len() > SNAPSHOT_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a snapshot has at most {SNAPSHOT_MAX} octets"),
        ));
    }
    files.write(path, &octets)?;
    files.sync(path)?;
    files.sync_folder("")?;
    serde_json::to_value(SnapshotBody {
        size,
        version,
        state: digest(state),
        index: digest(index),
    })
    .map_err(io::Error::other)
}

/// The kind of the entry.
pub(crate) fn kind() -> Kind {
    Kind::own(SNAPSHOT)
}

/// Finds the snapshots that entries of a ledger of `size` entries vouch for, newest first. The caller must still verify
/// that these entries are what was signed.
pub(crate) fn find(files: &impl ReadFiles, size: u64) -> (Vec<Snapshot>, Vec<Unusable>) {
    let (mut good, mut unusable) = (Vec::new(), Vec::new());
    for (file, path) in FILES.into_iter().enumerate() {
        let octets = match files.read(path, SNAPSHOT_MAX) {
            Ok(None) => continue,
            Ok(Some(octets)) => octets,
            Err(_) => {
                unusable.push(Unusable::Damaged(path));
                continue;
            }
        };
        let Some((stated, index, state)) = parse(&octets) else {
            unusable.push(Unusable::Damaged(path));
            continue;
        };
        let entry = stated.size;
        if entry >= size || recorded(files, size, entry).as_ref() != Some(&stated) {
            unusable.push(Unusable::Unrecorded { path, entry });
            continue;
        }
        let Some(heads) = Heads::from_octets(index) else {
            unusable.push(Unusable::Damaged(path));
            continue;
        };
        good.push(Snapshot {
            size: stated.size,
            version: stated.version,
            state: state.to_vec(),
            heads,
            file,
        });
    }
    good.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.size));
    (good, unusable)
}

/// What a snapshot's entry would have to say, the index and the state.
fn parse(octets: &[u8]) -> Option<(SnapshotBody, &[u8], &[u8])> {
    let (head, rest) = octets.split_first_chunk::<HEAD>()?;
    let (magic, head) = head.split_first_chunk::<8>()?;
    let (size, head) = head.split_first_chunk()?;
    let (version, head) = head.split_first_chunk()?;
    let (index, head) = head.split_first_chunk()?;
    let state = head.first_chunk()?;
    let index_length = usize::try_from(u64::from_be_bytes(*index)).ok()?;
    let state_length = usize::try_from(u64::from_be_bytes(*state)).ok()?;
    let (index, state) = rest.split_at_checked(index_length)?;
    if *magic != MAGIC || state.len() != state_length {
        return None;
    }
    let body = SnapshotBody {
        size: u64::from_be_bytes(*size),
        version: u32::from_be_bytes(*version),
        state: digest(state),
        index: digest(index),
    };
    Some((body, index, state))
}

/// What the entry at `number` vouches for.
fn recorded(files: &impl ReadFiles, size: u64, number: u64) -> Option<SnapshotBody> {
    let index = number / WIDTH;
    let width = WIDTH.min(size.checked_sub(index * WIDTH)?);
    let bundle = read_bundle(files, index, width).ok()??;
    let (entries, _) = layout::entries(&bundle);
    let octets = entries.get(usize::try_from(number % WIDTH).ok()?)?;
    let entry = Entry::decode(octets).ok()?;
    (entry.kind.as_str() == SNAPSHOT && entry.number == number)
        .then(|| serde_json::from_value(entry.body).ok())?
}

fn digest(octets: &[u8]) -> Hash {
    Hash(Sha256::digest(octets).into())
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

fn path(file: usize) -> &'static str {
    FILES.get(file).copied().unwrap_or_default()
}
