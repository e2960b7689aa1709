//! The journal: what is durable and not published yet.
//!
//! A commit is one frame, made durable with one sync. The key signs each frame, and a frame names the one before it, so
//! that nobody without the key can alter, move or leave out a commit between others. A *generation* of frames continues
//! one checkpoint; its first frame has no entries and is durable before any other is written. Two files take turns, so
//! that the next generation can begin while the one before is being published.
//!
//! Every frame begins at a multiple of [`PAGE`]: writing a commit never touches a block that holds an earlier one. Files are
//! overwritten and not emptied. What an earlier generation left there is told by the generation it names.
//!
//! | octets | what |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 8 | generation: entries of the checkpoint that it continues |
//! | 8 | number of the first entry |
//! | 4 | entries |
//! | 4 | octets of the entries |
//! | 32 | hash of the frame before; in the first frame the root of the checkpoint |
//! | 64 | Ed25519 signature |
//! | | the entries, each behind its length in two octets |
//!
//! Integers are big-endian. The hash of a frame is SHA-256 over [`CONTEXT`], the length of the origin in two octets, the
//! origin, the first 64 octets of the frame, and the entries. The signature is over [`CONTEXT`] and that hash.

use std::cmp::Ordering;
use std::io;

use sha2::{Digest, Sha256};
use signed_note::Verifier;

use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, EntryError};
use crate::files::{Files, ReadFiles};
use crate::hash::Hash;
use crate::key::{PublicKey, SigningKey};
use crate::layout;
use crate::report::Finding;

/// The files that take turns.
pub(crate) const FILES: [&str; 2] = [".journal.0", ".journal.1"];

/// What frames are aligned to: the block that file systems and disks write as a whole.
pub(crate) const PAGE: usize = 4096;

/// Octets of the entries of one commit at most.
pub(crate) const COMMIT_MAX: usize = 16 * 1024 * 1024;

/// Octets of a generation from which on the ledger publishes by itself.
pub(crate) const ROOM: usize = 64 * 1024 * 1024;

/// Octets of a file at most.
const FILE_MAX: usize = ROOM + COMMIT_MAX + 2 * PAGE;

/// What a frame begins with. No JSON text has the first octet.
const MAGIC: [u8; 8] = *b"\xffPLJNL1\n";

/// What keeps signatures apart from those on checkpoints, which are texts without an octet of zero.
const CONTEXT: &[u8; 26] = b"palisade-ledger-journal/1\0";

/// Octets before the signature.
const FIELDS: usize = 64;

/// Octets before the entries.
const HEAD: usize = 128;

/// The place where the next commit goes.
pub(crate) struct Journal {
    /// Which of the files.
    file: usize,
    generation: u64,
    /// Where the next frame begins.
    end: usize,
    /// The hash of the last frame.
    last: Hash,
}

impl Journal {
    /// Begins a generation durably, in place of what the file held.
    pub(crate) fn begin(
        files: &mut impl Files,
        key: &SigningKey,
        file: usize,
        size: u64,
        root: Hash,
    ) -> io::Result<Self> {
        let mut journal = Self {
            file,
            generation: size,
            end: 0,
            last: root,
        };
        let mut frame = journal.room();
        frame.resize(PAGE, 0);
        journal.seal(key, &mut frame, HEAD, size, 0);
        files.write_at(journal.path(), 0, &frame)?;
        files.sync(journal.path())?;
        journal.end = PAGE;
        Ok(journal)
    }

    /// Goes on with a generation that was read.
    pub(crate) fn resume(generation: &Generation) -> Self {
        Self {
            file: generation.file,
            generation: generation.size,
            end: generation.end,
            last: generation.last,
        }
    }

    /// The room of a frame, to which the caller appends entries, each behind its length.
    pub(crate) fn room(&self) -> Vec<u8> {
        vec![0; HEAD]
    }

    /// Makes a frame durable that has these many entries from number `first` on. Gives it back.
    pub(crate) fn commit(
        &mut self,
        files: &mut impl Files,
        key: &SigningKey,
        mut frame: Vec<u8>,
        first: u64,
        count: u32,
    ) -> io::Result<Vec<u8>> {
        let length = frame.len();
        frame.resize(length.next_multiple_of(PAGE), 0);
        self.seal(key, &mut frame, length, first, count);
        let at = u64::try_from(self.end).map_err(io::Error::other)?;
        files.write_at(self.path(), at, &frame)?;
        files.sync(self.path())?;
        self.end += frame.len();
        frame.truncate(length);
        Ok(frame)
    }

    /// The entries in a frame that `room` began.
    pub(crate) fn entries(frame: &[u8]) -> &[u8] {
        frame.get(HEAD..).unwrap_or_default()
    }

    /// Whether the generation has grown so far that it has to be published.
    pub(crate) fn is_full(&self) -> bool {
        self.end >= ROOM
    }

    /// The file for the next generation.
    pub(crate) fn other(&self) -> usize {
        1 - self.file
    }

    fn path(&self) -> &'static str {
        path(self.file)
    }

    /// Fills in what stands before the entries. `length` octets of the frame are not padding.
    fn seal(&mut self, key: &SigningKey, frame: &mut [u8], length: usize, first: u64, count: u32) {
        let payload = u32::try_from(length - HEAD).unwrap_or(u32::MAX);
        let fields = [
            MAGIC.as_slice(),
            &self.generation.to_be_bytes(),
            &first.to_be_bytes(),
            &count.to_be_bytes(),
            &payload.to_be_bytes(),
            &self.last.0,
        ]
        .concat();
        let entries = frame.get(HEAD..length).unwrap_or_default();
        self.last = hash(key.public(), &fields, entries);
        let signature = key.sign(&message(self.last));
        for (octet, value) in frame.iter_mut().zip(fields.iter().chain(&signature)) {
            *octet = *value;
        }
    }
}

/// Appends an entry to a frame that `room` began, behind its length. Gives its leaf hash.
pub(crate) fn push(frame: &mut Vec<u8>, entry: &Entry) -> Result<Hash, EntryError> {
    let start = frame.len();
    frame.extend_from_slice(&[0; 2]);
    entry.encode_into(frame)?;
    let (prefix, octets) = frame
        .get_mut(start..)
        .and_then(|behind| behind.split_first_chunk_mut::<2>())
        .ok_or(EntryError::TooLong(0))?;
    let length = u16::try_from(octets.len()).map_err(|_| EntryError::TooLong(octets.len()))?;
    *prefix = length.to_be_bytes();
    Ok(Hash::of_leaf(octets))
}

/// Whether there are commits. A ledger whose checkpoint was removed must not be taken for none.
pub(crate) fn has_commits(files: &impl ReadFiles, key: &PublicKey, first: &Checkpoint) -> bool {
    match pending(files, key, first) {
        Ok(None) | Err(Finding::JournalMissing { .. }) => false,
        Ok(Some(pending)) => pending.entries() > 0,
        Err(_) => true,
    }
}

/// A generation as it was found.
pub(crate) struct Generation {
    pub(crate) file: usize,
    /// Entries of the checkpoint that it continues.
    pub(crate) size: u64,
    /// The root of that checkpoint.
    pub(crate) root: Hash,
    /// The encoded entries, in order, from number `size` on.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Whether a commit at the end is not whole: it was never acknowledged.
    pub(crate) torn: bool,
    end: usize,
    last: Hash,
}

/// What a file of the journal holds.
enum Found {
    /// There is no such file.
    Absent,
    /// A generation.
    Whole(Generation),
    /// No first frame that is whole: a new file, or one that was being begun when a crash came. If there are frames
    /// behind it, these are the generations they name.
    Headless(Vec<u64>),
}

/// Reads one of the files and verifies every frame.
fn read(files: &impl ReadFiles, key: &PublicKey, file: usize) -> Result<Found, Finding> {
    let path = path(file);
    let octets = files
        .read(path, FILE_MAX)
        .map_err(|error| Finding::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    let Some(octets) = octets else {
        return Ok(Found::Absent);
    };
    let first = match frame(&octets, 0, key) {
        Some(first) if first.count == 0 && first.generation == first.first => first,
        _ => {
            let mut named: Vec<u64> = later(&octets, 0).collect();
            named.dedup();
            return Ok(Found::Headless(named));
        }
    };
    let mut generation = Generation {
        file,
        size: first.generation,
        root: first.previous,
        entries: Vec::new(),
        torn: false,
        end: PAGE,
        last: first.hash,
    };
    let altered = |next: u64| Finding::JournalAltered {
        path: path.to_owned(),
        from: next,
    };
    loop {
        let next = generation.size + count(&generation.entries);
        let at = generation.end;
        let Some(frame) = frame(&octets, at, key).filter(|frame| frame.is_of(&generation)) else {
            // A commit is written only when all before it are durable. So only the last can be torn.
            generation.torn = named(&octets, at) == Some(generation.size);
            if later(&octets, at).any(|named| named == generation.size) {
                return Err(altered(next));
            }
            return Ok(Found::Whole(generation));
        };
        let (entries, rest) = layout::entries(frame.entries);
        if frame.previous != generation.last
            || frame.first != next
            || entries.is_empty()
            || count(&entries) != u64::from(frame.count)
            || !rest.is_empty()
        {
            return Err(altered(next));
        }
        generation
            .entries
            .extend(entries.into_iter().map(<[u8]>::to_vec));
        generation.last = frame.hash;
        generation.end = at + (HEAD + frame.entries.len()).next_multiple_of(PAGE);
    }
}

/// What the journal holds behind a checkpoint.
pub(crate) struct Pending {
    /// The generation that continues the checkpoint.
    pub(crate) current: Generation,
    /// The one behind that, if another publication was begun. The recorded heads of devices stand between them.
    pub(crate) next: Option<Generation>,
}

impl Pending {
    /// Whether a commit at the end is not whole.
    pub(crate) fn is_torn(&self) -> bool {
        self.next.as_ref().unwrap_or(&self.current).torn
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> u64 {
        let next = self.next.as_ref();
        count(&self.current.entries) + next.map_or(0, |next| 1 + count(&next.entries))
    }
}

/// Reads the journal behind a checkpoint; none if there are no files of one at all.
pub(crate) fn pending(
    files: &impl ReadFiles,
    key: &PublicKey,
    checkpoint: &Checkpoint,
) -> Result<Option<Pending>, Finding> {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let (mut current, mut next) = (None, None);
    let mut absent = true;
    for file in 0..FILES.len() {
        match read(files, key, file)? {
            Found::Absent => {}
            Found::Whole(generation) => {
                absent = false;
                match generation.size.cmp(&size) {
                    Ordering::Less => {}
                    Ordering::Equal => current = Some(generation),
                    Ordering::Greater => {
                        let known: Option<Generation> = next.take();
                        let newer = known.filter(|known| known.size > generation.size);
                        next = newer.or(Some(generation));
                    }
                }
            }
            Found::Headless(named) => {
                absent = false;
                // The first frame is durable before any other is written.
                if let Some(from) = named.into_iter().find(|named| *named >= size) {
                    return Err(Finding::JournalAltered {
                        path: path(file).to_owned(),
                        from,
                    });
                }
            }
        }
    }
    if absent {
        return Ok(None);
    }
    let Some(current) = current else {
        return Err(match next {
            Some(next) => Finding::JournalAhead {
                journal: next.size,
                found: size,
            },
            None => Finding::JournalMissing { size },
        });
    };
    if current.root != root {
        return Err(Finding::JournalForked {
            size,
            journal: current.root,
            found: root,
        });
    }
    // A publication is begun when all commits are durable, and with the heads behind them.
    if let Some(next) = &next
        && (current.torn
            || current.entries.is_empty()
            || next.size != size + count(&current.entries) + 1)
    {
        return Err(Finding::JournalAltered {
            path: path(current.file).to_owned(),
            from: size + count(&current.entries),
        });
    }
    Ok(Some(Pending { current, next }))
}

/// A frame whose signature is good.
struct Frame<'a> {
    generation: u64,
    first: u64,
    count: u32,
    previous: Hash,
    entries: &'a [u8],
    hash: Hash,
}

impl Frame<'_> {
    fn is_of(&self, generation: &Generation) -> bool {
        self.generation == generation.size
    }
}

fn frame<'a>(octets: &'a [u8], at: usize, key: &PublicKey) -> Option<Frame<'a>> {
    let octets = octets.get(at..)?;
    let (fields, rest) = octets.split_first_chunk::<FIELDS>()?;
    let (signature, rest) = rest.split_first_chunk::<64>()?;
    let mut input = fields.as_slice();
    if *take::<8>(&mut input)? != MAGIC {
        return None;
    }
    let generation = u64::from_be_bytes(*take(&mut input)?);
    let first = u64::from_be_bytes(*take(&mut input)?);
    let count = u32::from_be_bytes(*take(&mut input)?);
    let length = usize::try_from(u32::from_be_bytes(*take(&mut input)?)).ok()?;
    let previous = Hash(*take(&mut input)?);
    if length > COMMIT_MAX {
        return None;
    }
    let entries = rest.get(..length)?;
    let hash = hash(key, fields, entries);
    key.verifier
        .verify(&message(hash), signature)
        .then_some(Frame {
            generation,
            first,
            count,
            previous,
            entries,
            hash,
        })
}

/// The generation that a frame at this place names, whether or not it is whole.
fn named(octets: &[u8], at: usize) -> Option<u64> {
    let (magic, rest) = octets.get(at..)?.split_first_chunk::<8>()?;
    let generation = u64::from_be_bytes(*rest.first_chunk()?);
    (*magic == MAGIC).then_some(generation)
}

/// The generations named behind a place.
fn later(octets: &[u8], at: usize) -> impl Iterator<Item = u64> {
    (at + PAGE..octets.len())
        .step_by(PAGE)
        .filter_map(|at| named(octets, at))
}

fn hash(key: &PublicKey, fields: &[u8], entries: &[u8]) -> Hash {
    let origin = key.origin().as_bytes();
    let length = u16::try_from(origin.len()).unwrap_or(u16::MAX);
    let mut sha = Sha256::new();
    sha.update(CONTEXT);
    sha.update(length.to_be_bytes());
    sha.update(origin);
    sha.update(fields);
    sha.update(entries);
    Hash(sha.finalize().into())
}

fn message(hash: Hash) -> Vec<u8> {
    [CONTEXT.as_slice(), &hash.0].concat()
}

fn path(file: usize) -> &'static str {
    FILES.get(file).copied().unwrap_or_default()
}

fn take<'a, const N: usize>(input: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(taken)
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
