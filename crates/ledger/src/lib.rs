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
//! A static file server can publish the folder, and any tool that knows C2SP tlog-tiles can verify it. Paths, formats and
//! algorithms are those of <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint>,
//! <https://c2sp.org/signed-note> and <https://c2sp.org/tlog-cosignature>.
//!
//! On top of that comes what the ledger is for. Entries are [canonical JSON](mod@entry). Those about one device are
//! numbered and each names the one before it, and the last entry of every checkpoint records the [heads](mod@heads) of all
//! devices. So a [`Bundle`] proves not only that the entries shown were recorded, but that no other was.
//!
//! * [`Ledger`] appends, many entries at a time, and survives being killed at any moment.
//! * [`verify()`] checks everything from the files alone and names what is wrong.
//! * [`Reader`] reads entries and makes proofs; [`check_bundle`], [`check_inclusion`] and [`check_consistency`] check them
//!   with nothing but the public key.
//!
//! What a ledger cannot tell by itself is that its key signed two histories, or that the whole folder was replaced by an
//! old copy. For that somebody has to remember a checkpoint: whoever opens the ledger, or witnesses that cosign.
//!
//! Merkle trees come from `tlog_tiles`, notes from `signed_note`, canonical JSON from `serde_jcs`. This crate reads no
//! clock, draws no randomness, and touches files only through [`Files`], of which [`FolderStore`] is the usual one.

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
    ProofError, Proven, check_bundle, check_consistency,
};
pub use publication::{Publication, Published};
pub use read::{Reader, Trail};
pub use report::{FINDINGS_MAX, Finding, Report};
pub use snapshot::Unusable;
pub use verify::verify;
pub use witness::Witness;
