//! Proofs that need nothing but the ledger's public key to be checked.

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use tlog_tiles::tlog;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entry::{Entry, EntryError};
use crate::hash::Hash;
use crate::heads::{HEADS, Head, HeadsBody, encode};
use crate::key::PublicKey;
use crate::log::AppendError;
use crate::report::{Finding, Report};

/// Octets of a bundle in JSON at most, as long as nobody asks for more.
pub const BUNDLE_JSON_MAX: usize = 64 * 1024 * 1024;

/// Hashes of a proof at most: as many as the tree has levels.
const PROOF_MAX: usize = 64;

/// Everything on record about one device up to a checkpoint: its entries, and the proof that they are in the ledger,
/// unaltered, in this order, and all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`Bundle::FORMAT`].
    pub format: String,
    /// The device, 32 digits.
    pub device: String,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The device's entries, oldest first.
    pub entries: Vec<Proven>,
    /// Entries that these refer to and that are not the device's own, such as who asked and who approved; oldest first. That
    /// they are all is for the reader to see from what entries say.
    pub context: Vec<Proven>,
    /// Of entries of the context that commit to a list of devices by its Merkle root: that this device stands in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memberships: Vec<Membership>,
    /// The last entry of the checkpoint, which records the heads of all devices.
    pub heads: Proven,
    /// The head of this device among them.
    pub head: HeadProof,
}

/// Where a device stands in a list that an entry commits to. What the entry says about the list, and what the leaves are, is
/// known to whoever reads the entry: here it is carried along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Number of the entry.
    pub entry: u64,
    /// Place in the list, from 0.
    pub position: u64,
    /// The audit path, from the leaf up.
    pub proof: Vec<Hash>,
}

/// An entry and the proof that a checkpoint covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// The canonical encoding.
    pub entry: String,
    /// The audit path, from the leaf up (RFC 6962 section 2.1.1).
    pub proof: Vec<Hash>,
}

/// A head and the proof that it is among those recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadProof {
    /// The head.
    pub head: Head,
    /// Its place in the tree of heads, from 0.
    pub slot: u64,
    /// The audit path, from the leaf up.
    pub proof: Vec<Hash>,
}

/// One entry and the proof that it is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// [`Inclusion::FORMAT`].
    pub format: String,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The entry.
    pub entry: Proven,
}

/// What a bundle proves.
#[derive(Debug)]
pub enum Checked {
    /// All that is on record about one device.
    History(History),
    /// That one entry is on record.
    Entry(Included),
}

/// An entry that is on record.
#[derive(Debug)]
pub struct Included {
    /// The entry.
    pub entry: Entry,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// What a bundle of the format [`Bundle::FORMAT`] proves.
#[derive(Debug)]
pub struct History {
    /// The device.
    pub device: Eid,
    /// All of its entries up to the checkpoint, oldest first.
    pub entries: Vec<Entry>,
    /// Other entries that the bundle holds, oldest first. They are on record; it does not follow that they are all.
    pub context: Vec<Entry>,
    /// What shows that the device stands in lists of these. Not checked here.
    pub memberships: Vec<Membership>,
    /// The checkpoint. How old it is tells nobody but who compares it with others or with its witnesses' cosignatures.
    pub checkpoint: Checkpoint,
}

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no checkpoint.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not good.
    #[error("the checkpoint cannot be used")]
    Checkpoint(#[source] Finding),
    /// No such entry.
    #[error("there are only {size} entries")]
    Beyond {
        /// How many there are.
        size: u64,
    },
    /// A file is not there or ends early.
    #[error("{0} is missing or cut off")]
    Missing(String),
    /// A file could not be read.
    #[error("{path} cannot be read")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// An entry is not what was signed.
    #[error("entry {0} was altered")]
    Altered(u64),
    /// What was signed is no entry.
    #[error("entry {number} is not well formed")]
    Entry {
        /// Which.
        number: u64,
        /// Why.
        #[source]
        error: EntryError,
    },
    /// The hash tiles do not lead up to the signed root.
    #[error("the hash tiles do not lead to the signed root")]
    Tree(#[source] tlog::Error),
    /// The device has no entries.
    #[error("the ledger has no entry about device {0}")]
    Unknown(Eid),
    /// The ledger does not add up.
    #[error("the ledger does not add up: {0}")]
    Unsound(Box<Report>),
    /// Some of the entries are not published, and could not be.
    #[error("what the proof covers could not be published")]
    Publish(#[source] Box<AppendError>),
}

/// Why a bundle or a proof is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Too long to be looked at.
    #[error("the bundle has more than {BUNDLE_JSON_MAX} octets")]
    TooLong,
    /// Not a bundle.
    #[error(
        "not a bundle of the format {} or {}",
        Bundle::FORMAT,
        Inclusion::FORMAT
    )]
    Format(#[source] Option<serde_json::Error>),
    /// The device is none.
    #[error("the bundle does not name a device")]
    Device,
    /// The checkpoint is not one of the ledger's key.
    #[error("the checkpoint is not good")]
    Checkpoint(#[from] CheckpointError),
    /// An entry is none.
    #[error("entry {index} of the bundle is not well formed")]
    Entry {
        /// Which of the bundle, from 0.
        index: usize,
        /// Why.
        #[source]
        error: EntryError,
    },
    /// The ledger has no such entry.
    #[error("entry {0} is not what the ledger holds there")]
    NotIncluded(u64),
    /// An entry of another device.
    #[error("entry {0} is not about the device")]
    Other(u64),
    /// An entry between others was left out, added or moved.
    #[error(
        "entry {number} is number {found} of the device; number {wanted} should come here: an entry is missing or was moved"
    )]
    Gap {
        /// Where it is in the ledger.
        number: u64,
        /// What should come.
        wanted: u64,
        /// What comes.
        found: u64,
    },
    /// An entry does not name the one before it.
    #[error("entry {0} does not continue the entry before it")]
    Chain(u64),
    /// An entry of the context that is the device's own, or stands in the wrong place.
    #[error(
        "entry {0} does not belong into the context: it is the device's own, repeated, or out of order"
    )]
    Context(u64),
    /// The heads are not those of the last entry.
    #[error("the heads of devices are not from the last entry of the checkpoint")]
    Heads,
    /// The head is not among those recorded.
    #[error("the head of the device is not the one that the ledger recorded")]
    Head,
    /// Entries at the end were left out, or are too many.
    #[error(
        "the ledger recorded {recorded} entries of the device, the bundle holds {found}: the newest are missing"
    )]
    Incomplete {
        /// How many the signed head says.
        recorded: u64,
        /// How many are there.
        found: u64,
    },
    /// A later checkpoint does not continue an earlier one.
    #[error("the checkpoint of {new} entries does not continue the one of {old}")]
    Inconsistent {
        /// Entries of the earlier.
        old: u64,
        /// Entries of the later.
        new: u64,
    },
}

impl Bundle {
    /// What the member `format` holds.
    pub const FORMAT: &str = "palisade-device-history/3";

    /// The JSON text.
    pub fn to_json(&self) -> String {
        // Strings, integers and lists always have a text.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Inclusion {
    /// What the member `format` holds.
    pub const FORMAT: &str = "palisade-ledger-entry/1";

    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Checks a bundle, whether of a device or of one entry, with nothing but the ledger's public key.
pub fn check_bundle(json: &[u8], key: &PublicKey) -> Result<Checked, CheckError> {
    /// The member that all formats have.
    #[derive(Deserialize)]
    struct Any {
        format: String,
    }

    if json.len() > BUNDLE_JSON_MAX {
        return Err(CheckError::TooLong);
    }
    let malformed = |error| CheckError::Format(Some(error));
    let Any { format } = serde_json::from_slice(json).map_err(malformed)?;
    match format.as_str() {
        Bundle::FORMAT => {
            let bundle = serde_json::from_slice(json).map_err(malformed)?;
            check_history(&bundle, key).map(Checked::History)
        }
        Inclusion::FORMAT => {
            let proof: Inclusion = serde_json::from_slice(json).map_err(malformed)?;
            let checkpoint = Checkpoint::open(proof.checkpoint.as_bytes(), key)?;
            let entry = included(&proof.entry, 0, &checkpoint)?;
            Ok(Checked::Entry(Included { entry, checkpoint }))
        }
        _ => Err(CheckError::Format(None)),
    }
}

fn check_history(bundle: &Bundle, key: &PublicKey) -> Result<History, CheckError> {
    let device: Eid = bundle.device.parse().map_err(|_| CheckError::Device)?;
    let checkpoint = Checkpoint::open(bundle.checkpoint.as_bytes(), key)?;

    let mut entries = Vec::with_capacity(bundle.entries.len());
    let mut last = None;
    for (index, (proven, wanted)) in bundle.entries.iter().zip(1u64..).enumerate() {
        let entry = included(proven, index, &checkpoint)?;
        let number = entry.number;
        let link = match &entry.device {
            Some(link) if link.eid == device => link,
            _ => return Err(CheckError::Other(number)),
        };
        if link.sequence != wanted {
            return Err(CheckError::Gap {
                number,
                wanted,
                found: link.sequence,
            });
        }
        if link.previous != last.map(|(_, leaf)| leaf)
            || last.is_some_and(|(before, _)| before >= number)
        {
            return Err(CheckError::Chain(number));
        }
        last = Some((number, Hash::of_leaf(proven.entry.as_bytes())));
        entries.push(entry);
    }

    let mut context = Vec::with_capacity(bundle.context.len());
    let mut before = None;
    for (index, proven) in (bundle.entries.len()..).zip(&bundle.context) {
        let entry = included(proven, index, &checkpoint)?;
        if entry.eid() == Some(device) || before.is_some_and(|before| before >= entry.number) {
            return Err(CheckError::Context(entry.number));
        }
        before = Some(entry.number);
        context.push(entry);
    }

    // The last entry speaks about all entries before it, so nothing can hide behind it.
    let heads = included(
        &bundle.heads,
        bundle.entries.len() + bundle.context.len(),
        &checkpoint,
    )?;
    if heads.kind.as_str() != HEADS || Some(heads.number) != checkpoint.size().checked_sub(1) {
        return Err(CheckError::Heads);
    }
    let body: HeadsBody = serde_json::from_value(heads.body).map_err(|_| CheckError::Heads)?;
    let HeadProof { head, slot, proof } = &bundle.head;
    let found = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    if head.eid != device.to_string()
        || bundle.device != head.eid
        || !leads_to(
            proof,
            body.devices,
            body.root,
            *slot,
            Hash::of_leaf(&encode(head)),
        )
    {
        return Err(CheckError::Head);
    }
    if head.sequence != found {
        return Err(CheckError::Incomplete {
            recorded: head.sequence,
            found,
        });
    }
    if last != Some((head.number, head.entry)) {
        return Err(CheckError::Head);
    }
    Ok(History {
        device,
        entries,
        context,
        memberships: bundle.memberships.clone(),
        checkpoint,
    })
}

/// Checks that `new` continues `old`: that nothing `old` covers was changed or removed (RFC 6962 section 2.1.2).
pub fn check_consistency(
    old: &Checkpoint,
    new: &Checkpoint,
    proof: &[Hash],
) -> Result<(), CheckError> {
    let inconsistent = || CheckError::Inconsistent {
        old: old.size(),
        new: new.size(),
    };
    if proof.len() > PROOF_MAX || old.size() > new.size() {
        return Err(inconsistent());
    }
    // Every tree continues the one without entries, and there is nothing to prove it with.
    if old.size() == 0 {
        return if proof.is_empty() {
            Ok(())
        } else {
            Err(inconsistent())
        };
    }
    let proof: Vec<tlog::Hash> = proof.iter().map(|hash| (*hash).into()).collect();
    tlog::check_tree(
        &proof,
        new.size(),
        new.root().into(),
        old.size(),
        old.root().into(),
    )
    .map_err(|_| inconsistent())
}

/// What is proven, as text for JSON.
pub(crate) fn text(octets: &[u8]) -> Result<String, ProofError> {
    // Entries are JSON and checkpoints notes, both UTF-8; what was signed and is neither, is refused where it is decoded.
    String::from_utf8(octets.to_vec()).map_err(|_| ProofError::Missing("UTF-8 text".to_owned()))
}

fn included(proven: &Proven, index: usize, checkpoint: &Checkpoint) -> Result<Entry, CheckError> {
    let octets = proven.entry.as_bytes();
    let entry = Entry::decode(octets).map_err(|error| CheckError::Entry { index, error })?;
    if leads_to(
        &proven.proof,
        checkpoint.size(),
        checkpoint.root(),
        entry.number,
        Hash::of_leaf(octets),
    ) {
        Ok(entry)
    } else {
        Err(CheckError::NotIncluded(entry.number))
    }
}

fn leads_to(proof: &[Hash], size: u64, root: Hash, number: u64, leaf: Hash) -> bool {
    if proof.len() > PROOF_MAX || number >= size {
        return false;
    }
    let proof: Vec<tlog::Hash> = proof.iter().map(|hash| (*hash).into()).collect();
    tlog::check_record(&proof, size, root.into(), number, leaf.into()).is_ok()
}
