//! Exactly which devices an intent is about.

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use tlog_tiles::tlog;

use crate::digest::Digest;
use crate::text;

/// Devices that an intent may list; more are committed to by their root.
pub const LISTED_MAX: usize = 100;
/// Devices that one intent may register, retire or make associable: each gets an entry of the ledger, and all become durable together.
pub const CHANGED_MAX: usize = 20_000;
/// Devices of one intent.
pub const DEVICES_MAX: usize = 1_000_000;

/// The devices of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeviceSet {
    /// Up to 100, each once, in rising order.
    Listed(Listed),
    /// Any number: the list travels beside the intent.
    Committed(Committed),
}

/// Devices by their EIDs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// In rising order.
    #[serde(with = "text::list")]
    eids: Vec<Eid>,
}

/// A list of devices by its Merkle root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// Root of the tree (RFC 6962) whose leaves are the EIDs, 32 ASCII digits each, in rising order.
    root: Digest,
    /// How many there are.
    count: u64,
}

/// Why something is no set of devices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceSetError {
    /// None.
    #[error("an intent needs at least one device")]
    Empty,
    /// Too many.
    #[error("an intent has at most {DEVICES_MAX} devices, and lists at most {LISTED_MAX}")]
    TooMany,
    /// Twice the same, or not in rising order.
    #[error("the EIDs of an intent stand in rising order, each once")]
    Order,
    /// The list that came along is another one.
    #[error("the list of devices is not the one that the intent commits to")]
    OtherList,
    /// The list is missing.
    #[error("the intent commits to a list of devices, which has to be sent along")]
    NoList,
}

impl DeviceSet {
    /// One device.
    pub fn one(eid: Eid) -> Self {
        Self::Listed(Listed { eids: vec![eid] })
    }

    /// Any number of devices; order and repetitions do not matter. The second value is the list to send along, if one is
    /// needed.
    pub fn of(mut eids: Vec<Eid>) -> Result<(Self, Option<Vec<Eid>>), DeviceSetError> {
        eids.sort_unstable();
        eids.dedup();
        match eids.len() {
            0 => Err(DeviceSetError::Empty),
            1..=LISTED_MAX => Ok((Self::Listed(Listed { eids }), None)),
            count if count <= DEVICES_MAX => {
                let committed = Committed {
                    root: root(&eids),
                    count: count as u64,
                };
                Ok((Self::Committed(committed), Some(eids)))
            }
            _ => Err(DeviceSetError::TooMany),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        match self {
            Self::Listed(listed) => listed.eids.len() as u64,
            Self::Committed(committed) => committed.count,
        }
    }

    /// The devices. `sent_along` is the list beside the intent, in rising order.
    pub fn resolve(&self, sent_along: Option<&[Eid]>) -> Result<Vec<Eid>, DeviceSetError> {
        match (self, sent_along) {
            (Self::Listed(listed), None) => {
                check_listed(&listed.eids)?;
                Ok(listed.eids.clone())
            }
            (Self::Listed(_), Some(_)) => Err(DeviceSetError::OtherList),
            (Self::Committed(_), None) => Err(DeviceSetError::NoList),
            (Self::Committed(committed), Some(eids)) => {
                if eids.is_empty() {
                    return Err(DeviceSetError::Empty);
                }
                if eids.len() > DEVICES_MAX {
                    return Err(DeviceSetError::TooMany);
                }
                if !is_rising(eids) {
                    return Err(DeviceSetError::Order);
                }
                if eids.len() as u64 != committed.count || root(eids) != committed.root {
                    return Err(DeviceSetError::OtherList);
                }
                Ok(eids.to_vec())
            }
        }
    }

    /// What can be checked without the list.
    pub fn check(&self) -> Result<(), DeviceSetError> {
        match self {
            Self::Listed(listed) => check_listed(&listed.eids),
            Self::Committed(committed) if committed.count == 0 => Err(DeviceSetError::Empty),
            Self::Committed(committed) if committed.count > DEVICES_MAX as u64 => {
                Err(DeviceSetError::TooMany)
            }
            Self::Committed(_) => Ok(()),
        }
    }
}

fn check_listed(eids: &[Eid]) -> Result<(), DeviceSetError> {
    match eids.len() {
        0 => Err(DeviceSetError::Empty),
        1..=LISTED_MAX if is_rising(eids) => Ok(()),
        1..=LISTED_MAX => Err(DeviceSetError::Order),
        _ => Err(DeviceSetError::TooMany),
    }
}

fn is_rising(eids: &[Eid]) -> bool {
    eids.is_sorted_by(|a, b| a < b)
}

/// The root of a Merkle tree over a list (RFC 6962 section 2.1).
fn root(eids: &[Eid]) -> Digest {
    let mut stored = Stored(Vec::with_capacity(eids.len().saturating_mul(2)));
    for (n, eid) in (0u64..).zip(eids) {
        // Reading back what was just stored cannot fail; a wrong root would match no list, and so be refused.
        let hashes = tlog::stored_hashes(n, eid.to_string().as_bytes(), &stored);
        stored.0.extend(hashes.unwrap_or_default());
    }
    let root = tlog::tree_hash(eids.len() as u64, &stored);
    Digest(root.unwrap_or(tlog::EMPTY_HASH).0)
}

/// Hashes of a tree that is being built, in the order of `tlog`.
struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let at = |index: &u64| usize::try_from(*index).ok().and_then(|i| self.0.get(i));
        let hashes: Option<Vec<_>> = indexes.iter().map(|index| at(index).copied()).collect();
        hashes.ok_or(tlog::Error::IndexesNotInTree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eid(n: u64) -> Eid {
        Eid::with_check_digits(&format!("8904903200000000000000{n:08}")).unwrap()
    }

    #[test]
    fn few_are_listed_and_many_committed_to() {
        let (listed, along) = DeviceSet::of(vec![eid(2), eid(1), eid(2)]).unwrap();
        assert_eq!((listed.count(), along.as_deref()), (2, None));
        assert_eq!(listed.resolve(None).unwrap(), [eid(1), eid(2)]);
        assert_eq!(
            listed.resolve(Some(&[eid(1), eid(2)])),
            Err(DeviceSetError::OtherList)
        );

        let many: Vec<Eid> = (0..300).map(eid).collect();
        let (committed, along) = DeviceSet::of(many).unwrap();
        let along = along.unwrap();
        assert_eq!(committed.resolve(Some(&along)).unwrap(), along);
        assert_eq!(committed.resolve(None), Err(DeviceSetError::NoList));
        let mut other = along.clone();
        other.pop();
        assert_eq!(
            committed.resolve(Some(&other)),
            Err(DeviceSetError::OtherList),
            "shorter"
        );
        other.push(eid(9999));
        assert_eq!(
            committed.resolve(Some(&other)),
            Err(DeviceSetError::OtherList),
            "one exchanged"
        );
        let mut swapped = along.clone();
        swapped.swap(0, 1);
        assert_eq!(
            committed.resolve(Some(&swapped)),
            Err(DeviceSetError::Order)
        );
    }
}
