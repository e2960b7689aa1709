//! What the last look at a device found, so that the usual next message costs no query: that it has nothing to do, or the
//! package that was just handed to it.
//!
//! It is remembered only if nothing changed about the device between the look and the moment it is remembered; every change
//! forgets it. With several nodes on one database this memory is to be bounded in time as well.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsp::ids::Eid;

use crate::{Device, Operation};

/// Many, so that changes of one device seldom stand in the way of another's.
const SHARDS: usize = 1024;
/// Idle devices remembered in one shard; beyond it the shard starts over.
const IDLE_MAX: usize = 2048;
/// Packages remembered in one shard, of some kilobytes each; beyond it the shard starts over.
const FLIGHTS_MAX: usize = 8;

#[derive(Default)]
struct Shard {
    /// Counts changes, so that a look older than a change is not remembered.
    generation: u64,
    idle: HashSet<Eid>,
    flights: HashMap<Eid, Arc<Flight>>,
}

pub(crate) struct Looks {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// A device with the operation in flight on it.
pub(crate) struct Flight {
    pub(crate) device: Device,
    pub(crate) operation: Operation,
}

/// What is remembered of a device.
pub(crate) enum Found {
    /// It has nothing to do.
    Idle,
    /// A package is in flight.
    Flight(Arc<Flight>),
    /// Nothing is remembered; a look begins.
    Unknown(Look),
}

/// Taken before looking.
#[derive(Clone, Copy)]
pub(crate) struct Look(u64);

impl Default for Looks {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Looks {
    /// What is known of the device without a query.
    pub(crate) fn check(&self, eid: Eid) -> Found {
        let shard = self.shard(eid);
        if shard.idle.contains(&eid) {
            Found::Idle
        } else if let Some(flight) = shard.flights.get(&eid) {
            Found::Flight(Arc::clone(flight))
        } else {
            Found::Unknown(Look(shard.generation))
        }
    }

    /// The package in flight, if it is remembered.
    pub(crate) fn flight(&self, eid: Eid) -> Option<Arc<Flight>> {
        self.shard(eid).flights.get(&eid).map(Arc::clone)
    }

    /// Remembers that `look` found nothing.
    pub(crate) fn idle(&self, eid: Eid, look: Look) {
        let mut shard = self.shard(eid);
        if shard.generation != look.0 {
            return;
        }
        if shard.idle.len() >= IDLE_MAX {
            shard.idle.clear();
        }
        shard.idle.insert(eid);
    }

    /// Remembers what one change, the only one since `look`, has put in flight.
    pub(crate) fn departed(&self, look: Look, flight: Flight) {
        let eid = flight.device.eid;
        let mut shard = self.shard(eid);
        if shard.generation != look.0 + 1 {
            return;
        }
        if shard.flights.len() >= FLIGHTS_MAX {
            shard.flights.clear();
        }
        shard.flights.insert(eid, Arc::new(flight));
    }

    /// Something changed about the device.
    pub(crate) fn forget(&self, eid: Eid) {
        let mut shard = self.shard(eid);
        shard.generation += 1;
        shard.idle.remove(&eid);
        shard.flights.remove(&eid);
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
    use crate::{DeviceState, OperationState};

    fn eid() -> Eid {
        "89049032123451234512345678901235".parse().unwrap()
    }

    fn look(looks: &Looks) -> Look {
        match looks.check(eid()) {
            Found::Unknown(look) => look,
            Found::Idle | Found::Flight(_) => panic!("something is remembered"),
        }
    }

    fn flight() -> Flight {
        let device = Device {
            eid: eid(),
            label: String::new(),
            state: DeviceState::Associated,
            fleet: String::new(),
            association: crate::Association::Accepted,
            association_refusal: None,
            association_due_at: None,
            counter: 1,
            association_token: None,
            token_is_registered: false,
            last_seq_number: -1,
            euicc_certificate: None,
            eum_certificate: None,
            euicc_info1: None,
            euicc_info2: None,
            ipa_capabilities: None,
            default_smdp: None,
            registered_at: 0,
            proof_asked_at: None,
        };
        let operation = Operation {
            id: uuid::Uuid::nil(),
            eid: eid(),
            intent: None,
            reference: None,
            actor: String::new(),
            commands: Vec::new(),
            state: OperationState::InFlight,
            held: None,
            eim_transaction_id: None,
            counter: Some(1),
            association_token: None,
            request: None,
            result: None,
            recorded_at: None,
            outcome: None,
            refusals: 0,
            proofs: 0,
            created_at: 0,
            expires_at: 0,
            delivered_at: Some(0),
            finished_at: None,
        };
        Flight { device, operation }
    }

    #[test]
    fn a_change_between_look_and_idle_wins() {
        let looks = Looks::default();
        let stale = look(&looks);
        looks.forget(eid());
        looks.idle(eid(), stale);
        let fresh = look(&looks);
        looks.idle(eid(), fresh);
        assert!(matches!(looks.check(eid()), Found::Idle));
        looks.forget(eid());
        look(&looks);
    }

    #[test]
    fn a_flight_is_remembered_after_its_own_change_and_no_other() {
        let looks = Looks::default();
        let before = look(&looks);
        looks.departed(before, flight());
        assert!(looks.flight(eid()).is_none(), "its change is not there yet");
        looks.forget(eid());
        looks.departed(before, flight());
        assert!(matches!(looks.check(eid()), Found::Flight(_)));
        looks.forget(eid());
        assert!(looks.flight(eid()).is_none());
        looks.departed(before, flight());
        assert!(looks.flight(eid()).is_none(), "something else changed, too");
    }
}
