//! Devices that have nothing to do, so that an empty poll costs no query.
//!
//! A device is remembered as idle only if nothing changed about it between the query that found
//! nothing and the moment it is remembered; every change forgets it. With several nodes on one
//! database this memory is to be bounded in time as well.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsp::ids::Eid;

const SHARDS: usize = 64;
/// Devices remembered in one shard; beyond it the shard starts over.
const PER_SHARD_MAX: usize = 32_768;

#[derive(Default)]
struct Shard {
    /// Counts changes, so that a verdict older than a change is not remembered.
    generation: u64,
    idle: HashSet<Eid>,
}

pub(crate) struct IdleDevices {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// Taken before looking for work.
pub(crate) struct Look(u64);

impl Default for IdleDevices {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl IdleDevices {
    /// Whether the device is known to have nothing to do; if not, the start of a look for work.
    pub(crate) fn check(&self, eid: Eid) -> Result<(), Look> {
        let shard = self.shard(eid);
        if shard.idle.contains(&eid) {
            Ok(())
        } else {
            Err(Look(shard.generation))
        }
    }

    /// Remembers that `look` found nothing.
    pub(crate) fn remember(&self, eid: Eid, look: Look) {
        let mut shard = self.shard(eid);
        if shard.generation != look.0 {
            return;
        }
        if shard.idle.len() >= PER_SHARD_MAX {
            shard.idle.clear();
        }
        shard.idle.insert(eid);
    }

    /// Something changed about the device.
    pub(crate) fn forget(&self, eid: Eid) {
        let mut shard = self.shard(eid);
        shard.generation += 1;
        shard.idle.remove(&eid);
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is taken modulo the number of shards"
    )]
    fn shard(&self, eid: Eid) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(eid) as usize % self.shards.len();
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_between_look_and_remember_wins() {
        let idle = IdleDevices::default();
        let eid: Eid = "89049032123451234512345678901235".parse().unwrap();
        let look = idle.check(eid).unwrap_err();
        idle.forget(eid);
        idle.remember(eid, look);
        let look = idle.check(eid).expect_err("the verdict was stale");
        idle.remember(eid, look);
        assert!(idle.check(eid).is_ok());
        idle.forget(eid);
        assert!(idle.check(eid).is_err());
    }
}
