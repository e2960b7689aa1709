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

/// That a device stands in a list, for who has not the list but its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its place, from 0.
    pub position: u64,
    /// The audit path, from the leaf up (RFC 6962 section 2.1.1).
    pub path: Vec<Digest>,
}

/// Hashes of an audit path at most: as many as a tree has levels.
const PATH_MAX: usize = 64;

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
    /// The device is none of them, or nothing shows that it is.
    #[error("nothing shows that the intent is about this device")]
    NotAmong,
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

    /// What shows that a device stands in a list; none if it does not. `eids` in rising order.
    pub fn prove_member(eids: &[Eid], eid: &Eid) -> Option<Membership> {
        let position = eids.binary_search(eid).ok()? as u64;
        let path = tlog::prove_record(eids.len() as u64, position, &stored(eids)).ok()?;
        Some(Membership {
            position,
            path: path.into_iter().map(|hash| Digest(hash.0)).collect(),
        })
    }

    /// Whether a device is one of them, without the list: then `membership` has to show it.
    pub fn check_member(
        &self,
        eid: &Eid,
        membership: Option<&Membership>,
    ) -> Result<(), DeviceSetError> {
        let is_member = match (self, membership) {
            (Self::Listed(listed), _) => listed.eids.binary_search(eid).is_ok(),
            (Self::Committed(committed), Some(Membership { position, path })) => {
                let path: Vec<tlog::Hash> = path
                    .iter()
                    .take(PATH_MAX)
                    .map(|it| tlog::Hash(it.0))
                    .collect();
                let leaf = tlog::record_hash(eid.to_string().as_bytes());
                let root = tlog::Hash(committed.root.0);
                *position < committed.count
                    && tlog::check_record(&path, committed.count, root, *position, leaf).is_ok()
            }
            (Self::Committed(_), None) => false,
        };
        match is_member {
            true => Ok(()),
            false => Err(DeviceSetError::NotAmong),
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
    let root = tlog::tree_hash(eids.len() as u64, &stored(eids));
    Digest(root.unwrap_or(tlog::EMPTY_HASH).0)
}

fn stored(eids: &[Eid]) -> Stored {
    let mut stored = Stored(Vec::with_capacity(eids.len().saturating_mul(2)));
    for (n, eid) in (0u64..).zip(eids) {
        // Reading back what was just stored cannot fail; a wrong root would match no list, and so be refused.
        let hashes = tlog::stored_hashes(n, eid.to_string().as_bytes(), &stored);
        stored.0.extend(hashes.unwrap_or_default());
    }
    stored
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

    #[test]
    fn who_has_only_the_root_can_be_shown_who_is_among_them() {
        for count in [101u64, 128, 301] {
            let (committed, along) = DeviceSet::of((0..count).map(eid).collect()).unwrap();
            let along = along.unwrap();
            for n in [0, 1, 63, 64, count - 1] {
                let shown = DeviceSet::prove_member(&along, &eid(n)).unwrap();
                committed.check_member(&eid(n), Some(&shown)).unwrap();
                let refused = |eid: Eid, shown: Option<&Membership>| {
                    assert_eq!(
                        committed.check_member(&eid, shown),
                        Err(DeviceSetError::NotAmong)
                    );
                };
                refused(eid(n), None);
                refused(eid(n + 1), Some(&shown));
                refused(eid(9_999), Some(&shown));
                let mut moved = shown.clone();
                moved.position = (n + 1) % count;
                refused(eid(n), Some(&moved));
                let mut cut = shown.clone();
                cut.path.pop();
                refused(eid(n), Some(&cut));
                let mut longer = shown.clone();
                longer.path.resize(1_000, Digest([0; 32]));
                refused(eid(n), Some(&longer));
                let mut outside = shown;
                outside.position = u64::MAX;
                refused(eid(n), Some(&outside));
            }
            assert_eq!(DeviceSet::prove_member(&along, &eid(9_999)), None);
        }
        let (listed, _) = DeviceSet::of(vec![eid(1), eid(2)]).unwrap();
        listed.check_member(&eid(2), None).unwrap();
        assert_eq!(
            listed.check_member(&eid(3), None),
            Err(DeviceSetError::NotAmong)
        );
    }
}
