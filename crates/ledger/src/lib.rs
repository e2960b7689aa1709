//! The record of everything that was asked, decided, signed and answered, written where nobody can quietly rewrite it.
//!
//! A ledger is a list of [entries](Entry) that only grows. A Merkle tree stands over the entries (RFC 6962), its key signs
//! a [checkpoint](Checkpoint) of each state that is published, and everything lies in files as C2SP tlog-tiles has them:
//!
//! | path | what |
//! | --- | --- |
//! | `checkpoint` | the signed note: origin, number of entries, root; cosignatures of witnesses behind the signature |
//! | `tile/entries/<N>` | 256 entries, each behind its length in two octets |
//! | `tile/<L>/<N>` | 256 hashes of level 8 * L |
//! | `….p/<W>` | the last of a row while it has only W of them |
//!
//! A static file server can publish the folder without its hidden files, and any tool that knows C2SP tlog-tiles can verify
//! it. Paths, formats and algorithms are those of <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint>,
//! <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-cosignature> and <https://c2sp.org/tlog-witness>.
//!
//! On top of that comes what the ledger is for. Entries are [canonical JSON](mod@entry). Those about one device are
//! numbered and each names the one before it, and the last entry of every checkpoint records the [heads](mod@heads) of all
//! devices. So a [`Bundle`] proves not only that the entries shown were recorded, but that no other was.
//!
//! # Writing
//!
//! One process writes. It appends as often as it likes, and publishes now and then:
//!
//! ```
//! # use ledger::{Draft, Entry, FolderStore, Ledger, SigningKey};
//! # fn drafts() -> Vec<Draft> { vec![] }
//! # let folder = tempfile::tempdir()?;
//! # let key = || SigningKey::from_seed("example.com/ledger", &[7; 32]).unwrap();
//! # Ledger::create(FolderStore::exclusive(folder.path())?, key())?;
//! # let remembered = None;
//! let files = FolderStore::exclusive(folder.path())?;
//! let mut ledger = Ledger::open(files, key(), remembered, &mut |entry: &Entry| {
//!     // Build the state up from the entries. A `Visitor` can start from a snapshot instead.
//! })?;
//! let appended = ledger.append(drafts())?; // One write, one sync: durable, numbers and chains final.
//! let state = b"what was made of all entries so far";
//! ledger.snapshot(1, state)?; // Now and then: the next opening starts here.
//! ledger.publish()?; // After so many entries or so much time, and before the process ends.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Ledger::append`] is durable when it returns, and survives being killed or losing power at any moment. Its commits
//!   stand in a journal, each signed and chained, until they are published. It costs one sync however many drafts it gets.
//! * [`Ledger::publish`] writes tiles and a checkpoint. [`Ledger::begin`], [`Publication::write`] and [`Ledger::finish`] do
//!   the same with the writing in another thread, which uses [`FolderStore::companion`].
//! * [`Ledger::snapshot`] keeps the owner's state. Opening with it decodes only the entries behind it, and hashes all.
//! * [`Ledger::opening`] says what opening did: worth a line in the log of whoever opens.
//!
//! # Reading and proving
//!
//! * [`Ledger::history`] makes a [`Bundle`] of all that was appended about a device, with context; [`Ledger::trail`] leaves
//!   the reading of files to another thread.
//! * [`Reader`] reads entries and makes proofs from the published files alone.
//! * [`check_bundle`] and [`check_consistency`] check them with nothing but the public key.
//! * [`verify()`] checks everything from the files alone and names what is wrong.
//! * [`mod@witness`] asks witnesses for cosignatures, and is one.
//!
//! What a ledger cannot tell by itself is that its key signed two histories, or that the whole folder was replaced by an
//! old copy. For that somebody has to remember a checkpoint: whoever opens the ledger, or witnesses that cosign.
//!
//! Merkle trees come from `tlog_tiles`, notes from `signed_note`. This crate reads no clock, draws no randomness, and touches
//! files only through [`Files`], of which [`FolderStore`] is the usual one.

mod canonical;
pub mod checkpoint;
mod edge;
pub mod entry;
mod files;
mod folder;
mod hash;
pub mod heads;
mod journal;
mod key;
pub mod layout;
mod log;
mod proof;
mod publication;
mod read;
mod report;
pub mod snapshot;
mod tiles;
mod tip;
mod verify;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, Cosignature};
pub use entry::{Actor, Draft, Entry, EntryError, Kind, Link};
pub use files::{Files, ReadFiles};
pub use folder::FolderStore;
pub use hash::{Hash, NoHash};
pub use heads::Break;
pub use key::{CosigningKey, KeyError, PublicKey, SigningKey, WitnessKey};
pub use log::{AppendError, Appended, Ledger, OpenError, Opening, Visitor};
pub use proof::{
    BUNDLE_JSON_MAX, Bundle, CheckError, Checked, HeadProof, History, Included, Inclusion,
    Membership, ProofError, Proven, check_bundle, check_consistency,
};
pub use publication::{Publication, Published};
pub use read::{Reader, Trail};
pub use report::{FINDINGS_MAX, Finding, Report};
pub use snapshot::Unusable;
pub use verify::verify;
pub use witness::Witness;
