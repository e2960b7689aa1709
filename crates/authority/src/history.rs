//! What can be shown to others: the history of a device, and single entries, each with its proof.

use std::collections::BTreeSet;

use intent::api::{Refusal, RefusalCode};
use ledger::{Bundle, Checkpoint, Hash, Inclusion, ProofError, ReadFiles, Reader};
use rsp::ids::Eid;

use crate::event::{Account, Event};
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
        let trail = self.put(|answer| Job::Trail(eid, context, answer))?;
        trail.bundle(&files).map_err(|error| unproven(&error))
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

/// Entries that an event refers to.
fn behind(event: &Event) -> Vec<u64> {
    match event {
        Event::DeviceRegistered { intent, .. }
        | Event::DeviceRetired { intent, .. }
        | Event::DeviceReassociable { intent, .. } => vec![*intent],
        Event::PackageReleased {
            intent, approvals, ..
        } => [*intent].into_iter().chain(approvals.clone()).collect(),
        Event::PackageOrdered(ordered) => {
            let intent = match ordered.account {
                Account::Intent(intent) => Some(intent),
                Account::Read(_) => None,
            };
            intent
                .into_iter()
                .chain(ordered.approvals.clone())
                .collect()
        }
        _ => Vec::new(),
    }
}

fn unproven(error: &ProofError) -> Refusal {
    let code = match error {
        ProofError::Beyond { .. } | ProofError::Unknown(_) => RefusalCode::Unknown,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, chain(error))
}
