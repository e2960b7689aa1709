//! The newest entry of each device, and the tree over them.
//!
//! Whoever shows the entries of a device could leave out the newest. So the ledger itself records the heads of all devices:
//! the last entry of every checkpoint is of the kind `ledger.heads` and holds the root of a tree with one leaf for each
//! device. The leaf says how many entries the device has and what the newest of them is. Leaves stand in the order in which
//! devices first appear; unlike in the ledger, a leaf is replaced when its device gets an entry.

use std::collections::HashMap;
use std::io::Write;

use rsp::ids::{Eid, EidOctets};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tlog_tiles::tlog::{self, HashReader};

use crate::canonical::push_string;
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

/// The chains of all devices after some number of entries, and the tree over their heads.
///
/// Chains are continued with every entry. The tree follows when it is asked for, in [`Heads::body`]: between two recorded
/// heads most devices that change have many nodes above them in common.
#[derive(Default)]
pub(crate) struct Heads {
    slots: HashMap<Eid, usize>,
    /// In the order of their first entries, which is that of the leaves.
    devices: Vec<Device>,
    /// The hashes of the tree in the order of the library (`tlog::stored_hash_index`).
    hashes: Vec<tlog::Hash>,
    /// Devices that have a leaf in `hashes`: the first so many.
    settled: usize,
    /// Of these, the ones whose leaves are out of date.
    changed: Vec<usize>,
}

/// What is known of one device.
struct Device {
    eid: Eid,
    numbers: Vec<u64>,
    last: Hash,
    /// Whether it is in `Heads::changed`.
    changed: bool,
}

impl Device {
    fn head(&self) -> Head {
        Head {
            eid: self.eid.to_string(),
            sequence: count(&self.numbers),
            number: self.numbers.last().copied().unwrap_or_default(),
            entry: self.last,
        }
    }

    fn leaf(&self) -> tlog::Hash {
        tlog::record_hash(&encode(&self.head()))
    }
}

impl Heads {
    /// How many devices there are.
    pub(crate) fn devices(&self) -> u64 {
        u64::try_from(self.devices.len()).unwrap_or(u64::MAX)
    }

    /// Where the next entry of a device stands.
    pub(crate) fn next(&self, eid: Eid) -> Link {
        let device = self.device(eid).map(|(_, device)| device);
        Link {
            eid,
            sequence: device.map_or(0, |device| count(&device.numbers)) + 1,
            previous: device.map(|device| device.last),
        }
    }

    /// The numbers of a device's entries.
    pub(crate) fn numbers(&self, eid: Eid) -> &[u64] {
        self.device(eid)
            .map_or(&[], |(_, device)| device.numbers.as_slice())
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
                && match serde_json::from_value::<HeadsBody>(entry.body.clone()) {
                    Ok(body) => self.body()? == body,
                    Err(_) => false,
                };
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
        self.record(link.eid, number, leaf);
        Ok(Ok(()))
    }

    /// Makes an entry the newest of its device.
    pub(crate) fn record(&mut self, eid: Eid, number: u64, leaf: Hash) {
        let slot = *self.slots.entry(eid).or_insert(self.devices.len());
        match self.devices.get_mut(slot) {
            Some(device) => {
                device.numbers.push(number);
                device.last = leaf;
                if slot < self.settled && !std::mem::replace(&mut device.changed, true) {
                    self.changed.push(slot);
                }
            }
            None => self.devices.push(Device {
                eid,
                numbers: vec![number],
                last: leaf,
                changed: false,
            }),
        }
    }

    /// What an entry with the present heads says. Brings the tree up to date.
    pub(crate) fn body(&mut self) -> Result<HeadsBody, tlog::Error> {
        self.settle()?;
        Ok(HeadsBody {
            devices: self.devices(),
            root: tlog::tree_hash(self.devices(), self)?.into(),
        })
    }

    /// The entry with the present heads.
    pub(crate) fn entry(
        &mut self,
        number: u64,
        at: u64,
        actor: Actor,
    ) -> Result<Entry, tlog::Error> {
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

    /// The head of a device, its place in the tree and the proof that it is there. None if the device has no entries, or
    /// has got some since heads were recorded last.
    pub(crate) fn prove(&self, eid: Eid) -> Result<Option<(Head, u64, Vec<Hash>)>, tlog::Error> {
        let Some((slot, device)) = self
            .device(eid)
            .filter(|(slot, device)| *slot < self.settled && !device.changed)
        else {
            return Ok(None);
        };
        let slot = u64::try_from(slot).map_err(|_| tlog::Error::BadMath)?;
        let settled = u64::try_from(self.settled).map_err(|_| tlog::Error::BadMath)?;
        let proof = tlog::prove_record(settled, slot, self)?;
        let proof = proof.into_iter().map(Hash::from).collect();
        Ok(Some((device.head(), slot, proof)))
    }

    /// The chains as octets, to be kept with a snapshot: the number of devices in 8 octets, big-endian, and for each its
    /// EID in 16 octets, the leaf hash of its newest entry in 32, how many entries it has, and the distances between their
    /// numbers, each 7 bits to an octet, lowest first.
    pub(crate) fn to_octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.devices.len() * 56);
        out.extend_from_slice(&self.devices().to_be_bytes());
        for device in &self.devices {
            out.extend_from_slice(device.eid.octets());
            out.extend_from_slice(&device.last.0);
            push_varint(&mut out, count(&device.numbers));
            let mut before = 0;
            for number in &device.numbers {
                push_varint(&mut out, number - before);
                before = *number;
            }
        }
        out
    }

    /// Reads the octets; none if they are not what `to_octets` makes.
    pub(crate) fn from_octets(mut octets: &[u8]) -> Option<Self> {
        let input = &mut octets;
        let devices = u64::from_be_bytes(*take(input)?);
        let mut heads = Self::default();
        for _ in 0..devices {
            let eid = Eid::try_from(EidOctets(*take(input)?)).ok()?;
            let last = Hash(*take(input)?);
            let mut numbers = Vec::new();
            let mut number = 0u64;
            for index in 0..take_varint(input)? {
                let distance = take_varint(input)?;
                if index > 0 && distance == 0 {
                    return None;
                }
                number = number.checked_add(distance)?;
                numbers.push(number);
            }
            numbers.last()?;
            if heads.slots.insert(eid, heads.devices.len()).is_some() {
                return None;
            }
            heads.devices.push(Device {
                eid,
                numbers,
                last,
                changed: false,
            });
        }
        octets.is_empty().then_some(heads)
    }

    fn device(&self, eid: Eid) -> Option<(usize, &Device)> {
        let slot = *self.slots.get(&eid)?;
        Some((slot, self.devices.get(slot)?))
    }

    /// Brings the tree up to date: changed leaves and the complete nodes above them, then new leaves. The library computes
    /// the rest of the root.
    fn settle(&mut self) -> Result<(), tlog::Error> {
        let mut changed = Vec::with_capacity(self.changed.len());
        for slot in std::mem::take(&mut self.changed) {
            let device = self.devices.get_mut(slot).ok_or(tlog::Error::BadMath)?;
            device.changed = false;
            let leaf = device.leaf();
            let slot = u64::try_from(slot).map_err(|_| tlog::Error::BadMath)?;
            self.put(0, slot, leaf)?;
            changed.push(slot);
        }
        changed.sort_unstable();
        let settled = u64::try_from(self.settled).map_err(|_| tlog::Error::BadMath)?;
        for level in 1..64u8 {
            for node in &mut changed {
                *node >>= 1;
            }
            changed.dedup();
            // Only the last can be incomplete.
            changed.retain(|node| (node + 1) << level <= settled);
            if changed.is_empty() {
                break;
            }
            for node in &changed {
                let left = self.hash(level - 1, node << 1)?;
                let right = self.hash(level - 1, (node << 1) + 1)?;
                self.put(level, *node, tlog::node_hash(left, right))?;
            }
        }
        for slot in settled..self.devices() {
            let device = usize::try_from(slot)
                .ok()
                .and_then(|slot| self.devices.get(slot));
            let leaf = device.ok_or(tlog::Error::BadMath)?.leaf();
            let new = tlog::stored_hashes_for_record_hash(slot, leaf, self)?;
            self.hashes.extend(new);
            self.settled += 1;
        }
        Ok(())
    }

    fn hash(&self, level: u8, number: u64) -> Result<tlog::Hash, tlog::Error> {
        usize::try_from(tlog::stored_hash_index(level, number))
            .ok()
            .and_then(|index| self.hashes.get(index).copied())
            .ok_or(tlog::Error::IndexesNotInTree)
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
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(b"{\"eid\":");
    push_string(&mut out, &head.eid);
    let _ = write!(
        out,
        ",\"entry\":\"{}\",\"number\":{},\"sequence\":{}}}",
        head.entry, head.number, head.sequence
    );
    out
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let [octet] = *take::<1>(input)?;
        value |= u64::from(octet & 0x7F) << shift;
        if octet < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a, const N: usize>(input: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(taken)
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
        /// The tree with replaced leaves is the tree built anew from the newest leaves, however often heads are recorded,
        /// and whether or not the chains were put away and restored on the way.
        #[test]
        fn replacing_leaves_gives_the_tree_of_the_newest(
            devices in prop::collection::vec((0u32..40, 0u8..8), 1..200),
        ) {
            let mut heads = Heads::default();
            let mut order: Vec<(u32, Head)> = Vec::new();
            for (number, (device, then)) in (0u64..).zip(&devices) {
                let leaf = Hash::of_leaf(&number.to_be_bytes());
                heads.record(eid(*device), number, leaf);
                let known = order.iter().position(|(known, _)| known == device);
                let sequence = known.map_or(1, |at| order[at].1.sequence + 1);
                let head = Head { eid: eid(*device).to_string(), sequence, number, entry: leaf };
                match known {
                    Some(at) => order[at].1 = head,
                    None => order.push((*device, head)),
                }
                match then {
                    0 => drop(heads.body().unwrap()),
                    1 => heads = Heads::from_octets(&heads.to_octets()).unwrap(),
                    _ => {}
                }
                if *then > 0 {
                    prop_assert_eq!(heads.prove(eid(*device)).unwrap(), None, "not recorded yet");
                }
            }
            let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            for (_, head) in &order {
                prop_assert_eq!(encode(head), serde_jcs::to_vec(head).unwrap());
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

        /// Octets that are not from `to_octets` are refused, and never a panic.
        #[test]
        fn garbage_is_no_index(octets in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..60) {
            prop_assert!(octets.len() < 8 || octets[..8] == [0; 8] || Heads::from_octets(&octets).is_none());
            let mut heads = Heads::default();
            heads.record(eid(1), 3, Hash([1; 32]));
            heads.record(eid(1), 400, Hash([2; 32]));
            let good = heads.to_octets();
            prop_assert!(Heads::from_octets(&good[..good.len() - cut]).is_none());
        }
    }
}
