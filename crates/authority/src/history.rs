//! What can be shown to others: the history of a device, and single entries, each with its proof.

use std::collections::{BTreeMap, BTreeSet};

use intent::api::{Refusal, RefusalCode};
use intent::{Decision, DeviceSet, IntentId, device_set};
use ledger::{
    Bundle, Checkpoint, Hash, History, Inclusion, Membership, ProofError, ReadFiles, Reader,
};
use rsp::ids::Eid;

use crate::event::{Account, Event, EventError, Proposed};
use crate::service::Authority;
use crate::writer::{Job, chain};

impl Authority {
    /// All entries of a device with the proof that they are all, and what they refer to: who asked, who approved, and how the
    /// installation began. Publishes first if some of that is not published.
    pub fn history(&self, eid: Eid) -> Result<Bundle, Refusal> {
        let administration = self.look(|state, _| {
            let device = state.devices.get(&eid).ok_or_else(|| {
                Refusal::new(
                    RefusalCode::Unknown,
                    format!("nothing is on record about {eid}"),
                )
            })?;
            Ok(device.administration().to_vec())
        })?;
        let trail = self.put(|answer| Job::Trail(eid, Vec::new(), answer))?;
        let files: &dyn ReadFiles = self.files.as_ref();
        let reader = Reader::at(&files, trail.checkpoint().clone());
        let mut context: BTreeSet<u64> = administration.into_iter().chain([0]).collect();
        for number in trail.numbers() {
            let entry = reader.entry(*number).map_err(|error| unproven(&error))?;
            let event = Event::of_entry(&entry)
                .map_err(|error| Refusal::new(RefusalCode::Malformed, chain(&error)))?;
            context.extend(event.iter().flat_map(behind));
        }
        let context: Vec<u64> = context.into_iter().collect();
        let trail = self.put(|answer| Job::Trail(eid, context.clone(), answer))?;
        let mut bundle = trail.bundle(&files).map_err(|error| unproven(&error))?;
        let reader = Reader::at(&files, trail.checkpoint().clone());
        for number in context {
            bundle
                .memberships
                .extend(membership(&reader, number, &eid)?);
        }
        Ok(bundle)
    }

    /// An entry with the proof that it is in the ledger. Publishes first if it is not published.
    pub fn prove(&self, number: u64) -> Result<Inclusion, Refusal> {
        let checkpoint = self.put(|answer| Job::Covering(number, answer))?;
        let files: &dyn ReadFiles = self.files.as_ref();
        Reader::at(&files, checkpoint)
            .prove(number)
            .map_err(|error| unproven(&error))
    }

    /// The newest published checkpoint, and the proof that it continues that of `size` entries.
    pub fn checkpoint(&self, size: u64) -> Result<(Checkpoint, Vec<Hash>), Refusal> {
        let files: &dyn ReadFiles = self.files.as_ref();
        let reader = Reader::open(&files, self.ledger_key()).map_err(|error| unproven(&error))?;
        let proof = reader.consistency(size).map_err(|error| unproven(&error))?;
        Ok((reader.checkpoint().clone(), proof))
    }
}

/// Why a bundle that is complete and unaltered does not show that everything in it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// An entry cannot be read.
    #[error("an entry of the bundle cannot be read")]
    Event(#[from] EventError),
    /// An intent or an approval is missing.
    #[error("entry {number} follows from entry {missing}, which the bundle does not hold")]
    Missing {
        /// The entry.
        number: u64,
        /// What it names.
        missing: u64,
    },
    /// An intent whose id is not the hash of what it says.
    #[error("entry {0} holds an intent under the id of another one")]
    Other(u64),
    /// An intent about other devices.
    #[error(
        "entry {number} follows from the intent in entry {intent}, and nothing shows that this is about the device"
    )]
    NotAmong {
        /// The entry.
        number: u64,
        /// The intent.
        intent: u64,
    },
}

/// Checks that everything in a device's history that people or machines have to ask for was asked for, by intents that are
/// about this device, with the approvals that are named. The rest was checked by [`ledger::check_bundle`].
pub fn check_asked(history: &History) -> Result<(), Unasked> {
    let mut intents: BTreeMap<u64, Box<Proposed>> = BTreeMap::new();
    let mut approvals: BTreeMap<u64, IntentId> = BTreeMap::new();
    for entry in &history.context {
        match Event::of_entry(entry)? {
            Some(Event::IntentProposed(proposed)) => {
                let octets = proposed.intent.encode().unwrap_or_default();
                if IntentId::of(&octets) != proposed.id {
                    return Err(Unasked::Other(entry.number));
                }
                intents.insert(entry.number, proposed);
            }
            Some(Event::IntentDecided(decided)) if decided.decision == Decision::Approve => {
                approvals.insert(entry.number, decided.id);
            }
            _ => {}
        }
    }
    for entry in &history.entries {
        let number = entry.number;
        let event = Event::of_entry(entry)?;
        let Some((intent, approved_by)) = event.as_ref().and_then(asked) else {
            continue;
        };
        let missing = |missing| Unasked::Missing { number, missing };
        let proposed = intents.get(&intent).ok_or_else(|| missing(intent))?;
        for approval in approved_by {
            if approvals.get(approval) != Some(&proposed.id) {
                return Err(missing(*approval));
            }
        }
        let shown = history.memberships.iter().find(|it| it.entry == intent);
        let shown = shown.map(|it| device_set::Membership {
            position: it.position,
            path: it.proof.iter().map(|hash| intent::Digest(hash.0)).collect(),
        });
        let devices = proposed.intent.action.devices();
        let is_among = devices.is_some_and(|devices| {
            devices
                .check_member(&history.device, shown.as_ref())
                .is_ok()
        });
        if !is_among {
            return Err(Unasked::NotAmong { number, intent });
        }
    }
    Ok(())
}

/// What shows that a device is one of those that the intent in entry `number` commits to; none if it lists them, or is none.
fn membership<F: ReadFiles>(
    reader: &Reader<'_, F>,
    number: u64,
    eid: &Eid,
) -> Result<Option<Membership>, Refusal> {
    let event = |number: u64| {
        let entry = reader.entry(number).map_err(|error| unproven(&error))?;
        Event::of_entry(&entry).map_err(|error| Refusal::new(RefusalCode::Malformed, chain(&error)))
    };
    let Some(Event::IntentProposed(proposed)) = event(number)? else {
        return Ok(None);
    };
    let Some(DeviceSet::Committed(_)) = proposed.intent.action.devices() else {
        return Ok(None);
    };
    // The list stands right before the intent, in parts.
    let mut parts = Vec::new();
    for before in (0..number).rev() {
        match event(before)? {
            Some(Event::IntentDevices { id, eids }) if id == proposed.id => parts.push(eids),
            _ => break,
        }
    }
    let eids: Vec<Eid> = parts.into_iter().rev().flatten().collect();
    Ok(DeviceSet::prove_member(&eids, eid).map(|shown| Membership {
        entry: number,
        position: shown.position,
        proof: shown.path.iter().map(|it| Hash(it.0)).collect(),
    }))
}

/// The intent that an event follows from, and approvals that it names.
fn asked(event: &Event) -> Option<(u64, &[u64])> {
    match event {
        Event::DeviceRegistered { intent, .. }
        | Event::DeviceRetired { intent, .. }
        | Event::DeviceReassociable { intent, .. } => Some((*intent, &[])),
        Event::PackageReleased {
            intent, approvals, ..
        } => Some((*intent, approvals)),
        Event::PackageOrdered(ordered) => match ordered.account {
            Account::Intent(intent) => Some((intent, &ordered.approvals)),
            Account::Read(_) => None,
        },
        _ => None,
    }
}

/// Entries that an event refers to.
fn behind(event: &Event) -> Vec<u64> {
    let (intent, approvals) = asked(event).unzip();
    intent
        .into_iter()
        .chain(approvals.unwrap_or_default().iter().copied())
        .collect()
}

fn unproven(error: &ProofError) -> Refusal {
    let code = match error {
        ProofError::Beyond { .. } | ProofError::Unknown(_) => RefusalCode::Unknown,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, chain(error))
}
