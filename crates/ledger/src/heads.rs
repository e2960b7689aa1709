//! The newest entry of each device, and the tree over them.
//!
//! Whoever shows the entries of a device could leave out the newest. So the ledger itself records the heads of all devices:
//! the last entry of every checkpoint is of the kind `ledger.heads` and holds the root of a tree with one leaf for each
//! device. The leaf says how many entries the device has and what the newest of them is. Leaves stand in the order in which
//! devices first appear; unlike in the ledger, a leaf is replaced when its device gets an entry.

use std::collections::HashMap;

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tlog_tiles::tlog::{self, HashReader};

use crate::entry::{Actor, Entry, Kind, Link};
use crate::hash::Hash;

/// The kind of the entries that hold the root over all heads.
pub const HEADS: &str = "ledger.heads";

/// What a leaf of the tree of heads says: how far the entries of one device go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The device, 32 digits.
    pub eid: String,
    /// How many entries it has.
    pub sequence: u64,
    /// Where in the ledger the newest is.
    pub number: u64,
    /// The leaf hash of the newest.
    pub entry: Hash,
}

/// What the body of an entry of the kind [`HEADS`] says about all entries before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsBody {
    /// How many devices have entries.
    pub devices: u64,
    /// The root of the tree of their heads.
    pub root: Hash,
}

/// Why an entry cannot stand where it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// It says it is another.
    #[error("it says that it is entry {0}")]
    Number(u64),
    /// It does not continue its device's entries.
    #[error("device {eid}: it is entry {found} of the device and should be entry {wanted}")]
    Sequence {
        /// The device.
        eid: Eid,
        /// The sequence that the entries before it ask for.
        wanted: u64,
        /// The sequence it has.
        found: u64,
    },
    /// It continues another entry than the device's newest.
    #[error("device {0}: it does not name the device's entry before it")]
    Previous(Eid),
    /// The heads that it records are not those of the entries before it.
    #[error("the heads of devices recorded in it are not those of the entries before it")]
    Heads,
}

/// The heads of all devices after some number of entries.
#[derive(Default)]
pub(crate) struct Heads {
    devices: HashMap<Eid, Device>,
    /// The hashes of the tree in the order of the library (`tlog::stored_hash_index`).
    hashes: Vec<tlog::Hash>,
}

/// What is known of one device.
struct Device {
    slot: u64,
    numbers: Vec<u64>,
    last: Hash,
}

impl Heads {
    /// How many devices there are.
    pub(crate) fn devices(&self) -> u64 {
        u64::try_from(self.devices.len()).unwrap_or(u64::MAX)
    }

    /// Where the next entry of a device stands.
    pub(crate) fn next(&self, eid: Eid) -> Link {
        let device = self.devices.get(&eid);
        Link {
            eid,
            sequence: device.map_or(0, |device| count(&device.numbers)) + 1,
            previous: device.map(|device| device.last),
        }
    }

    /// The numbers of a device's entries.
    pub(crate) fn numbers(&self, eid: Eid) -> &[u64] {
        self.devices
            .get(&eid)
            .map_or(&[], |device| device.numbers.as_slice())
    }

    /// Takes an entry that stands at `number` in, if it fits those before it.
    pub(crate) fn admit(
        &mut self,
        number: u64,
        entry: &Entry,
        leaf: Hash,
    ) -> Result<Result<(), Break>, tlog::Error> {
        if entry.number != number {
            return Ok(Err(Break::Number(entry.number)));
        }
        if entry.kind.as_str() == HEADS {
            // One about a device would stand outside the device's chain.
            let fits = entry.device.is_none()
                && serde_json::from_value(entry.body.clone())
                    .is_ok_and(|body: HeadsBody| self.body().is_ok_and(|own| own == body));
            return Ok(if fits { Ok(()) } else { Err(Break::Heads) });
        }
        let Some(link) = &entry.device else {
            return Ok(Ok(()));
        };
        let next = self.next(link.eid);
        if next.sequence != link.sequence {
            return Ok(Err(Break::Sequence {
                eid: link.eid,
                wanted: next.sequence,
                found: link.sequence,
            }));
        }
        if next.previous != link.previous {
            return Ok(Err(Break::Previous(link.eid)));
        }
        self.record(link.eid, number, leaf)?;
        Ok(Ok(()))
    }

    /// Makes an entry the newest of its device.
    pub(crate) fn record(&mut self, eid: Eid, number: u64, leaf: Hash) -> Result<(), tlog::Error> {
        let slots = self.devices();
        let device = self.devices.entry(eid).or_insert_with(|| Device {
            slot: slots,
            numbers: Vec::new(),
            last: leaf,
        });
        device.numbers.push(number);
        device.last = leaf;
        let slot = device.slot;
        let head = tlog::record_hash(&encode(&Head {
            eid: eid.to_string(),
            sequence: count(&device.numbers),
            number,
            entry: leaf,
        }));
        if slot == slots {
            let new = tlog::stored_hashes_for_record_hash(slot, head, self)?;
            self.hashes.extend(new);
            return Ok(());
        }
        // Replace the leaf and the nodes above it that are complete; the library computes the rest of the root.
        self.put(0, slot, head)?;
        let mut below = slot;
        for level in 1..64u8 {
            let above = slot >> level;
            if (above + 1) << level > slots {
                break;
            }
            let left = tlog::stored_hash_index(level - 1, below & !1);
            let right = tlog::stored_hash_index(level - 1, below | 1);
            let [left, right] = self
                .read_hashes(&[left, right])?
                .try_into()
                .map_err(|_| tlog::Error::BadMath)?;
            self.put(level, above, tlog::node_hash(left, right))?;
            below = above;
        }
        Ok(())
    }

    /// What an entry with the present heads says.
    pub(crate) fn body(&self) -> Result<HeadsBody, tlog::Error> {
        Ok(HeadsBody {
            devices: self.devices(),
            root: tlog::tree_hash(self.devices(), self)?.into(),
        })
    }

    /// The entry with the present heads.
    pub(crate) fn entry(&self, number: u64, at: u64, actor: Actor) -> Result<Entry, tlog::Error> {
        let body = self.body()?;
        Ok(Entry {
            number,
            at,
            kind: Kind::own(HEADS),
            device: None,
            actor,
            body: json!({ "devices": body.devices, "root": body.root }),
        })
    }

    /// The head of a device, its place in the tree and the proof that it is there.
    pub(crate) fn prove(&self, eid: Eid) -> Result<Option<(Head, u64, Vec<Hash>)>, tlog::Error> {
        let Some(device) = self.devices.get(&eid) else {
            return Ok(None);
        };
        let proof = tlog::prove_record(self.devices(), device.slot, self)?;
        let head = Head {
            eid: eid.to_string(),
            sequence: count(&device.numbers),
            number: device.numbers.last().copied().unwrap_or_default(),
            entry: device.last,
        };
        let proof = proof.into_iter().map(Hash::from).collect();
        Ok(Some((head, device.slot, proof)))
    }

    fn put(&mut self, level: u8, number: u64, hash: tlog::Hash) -> Result<(), tlog::Error> {
        let index = usize::try_from(tlog::stored_hash_index(level, number)).ok();
        *index
            .and_then(|index| self.hashes.get_mut(index))
            .ok_or(tlog::Error::IndexesNotInTree)? = hash;
        Ok(())
    }
}

impl HashReader for Heads {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let read = |index: &u64| {
            let index = usize::try_from(*index).ok()?;
            self.hashes.get(index).copied()
        };
        indexes
            .iter()
            .map(|index| read(index).ok_or(tlog::Error::IndexesNotInTree))
            .collect()
    }
}

/// The octets of a leaf in the tree of heads: canonical JSON.
pub(crate) fn encode(head: &Head) -> Vec<u8> {
    // All values are strings and integers, which always have an encoding.
    serde_jcs::to_vec(head).unwrap_or_default()
}

fn count(numbers: &[u64]) -> u64 {
    u64::try_from(numbers.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;
    use sha2::Sha256;

    fn eid(index: u32) -> Eid {
        Eid::with_check_digits(&format!("89{index:028}")).unwrap()
    }

    proptest! {
        /// The tree with replaced leaves is the tree built anew from the newest leaves.
        #[test]
        fn replacing_leaves_gives_the_tree_of_the_newest(devices in prop::collection::vec(0u32..40, 1..200)) {
            let mut heads = Heads::default();
            let mut order: Vec<(u32, Head)> = Vec::new();
            for (number, device) in (0u64..).zip(&devices) {
                let leaf = Hash::of_leaf(&number.to_be_bytes());
                heads.record(eid(*device), number, leaf).unwrap();
                let known = order.iter().position(|(known, _)| known == device);
                let sequence = known.map_or(1, |at| order[at].1.sequence + 1);
                let head = Head { eid: eid(*device).to_string(), sequence, number, entry: leaf };
                match known {
                    Some(at) => order[at].1 = head,
                    None => order.push((*device, head)),
                }
            }
            let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            for (_, head) in &order {
                oracle.push(encode(head));
            }
            let body = heads.body().unwrap();
            let root = oracle.root();
            prop_assert_eq!(body.root.0.as_slice(), root.as_bytes().as_slice());
            for (slot, (device, head)) in order.iter().enumerate() {
                let (own, at, proof) = heads.prove(eid(*device)).unwrap().unwrap();
                prop_assert_eq!(&own, head);
                prop_assert_eq!(at, slot as u64);
                let octets: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
                let known = oracle.prove_inclusion(slot);
                prop_assert_eq!(&octets[..], known.as_bytes());
            }
        }
    }
}
