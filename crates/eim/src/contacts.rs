//! When devices were last heard of. Kept in memory and written in batches: losing a few of these
//! in a crash is worth not writing for each poll.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rsp::ids::Eid;

use crate::tables::devices::{self, Contact};
use crate::{Eim, StorageError};

#[derive(Default)]
pub(crate) struct Contacts {
    pending: Mutex<HashMap<Eid, Contact>>,
}

/// Devices with unwritten contacts; beyond it further ones are not recorded until the next flush.
const PENDING_MAX: usize = 200_000;
const BATCH: usize = 2_000;

impl Contacts {
    pub(crate) fn polled(&self, eid: Eid, peer: std::net::IpAddr, at: i64) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contact) = pending.get_mut(&eid) {
            contact.last_poll_at = at;
            contact.polls += 1;
            return;
        }
        if pending.len() < PENDING_MAX {
            pending.insert(
                eid,
                Contact {
                    last_poll_at: at,
                    polls: 1,
                    peer: peer.to_string(),
                },
            );
        }
    }

    fn take(&self) -> Vec<(Eid, Contact)> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pending).into_iter().collect()
    }
}

impl Eim {
    /// Writes the contacts gathered since the last call. To be called every few seconds.
    pub async fn flush_contacts(&self) -> Result<(), StorageError> {
        let gathered = self.contacts.take();
        for batch in gathered.chunks(BATCH) {
            let batch = batch.to_vec();
            self.store
                .write_async(move |tx| -> Result<(), StorageError> {
                    for (eid, contact) in &batch {
                        devices::add_contact(tx, *eid, contact)?;
                    }
                    Ok(())
                })
                .await
                .map_err(store::WriteError::into_verb)?;
        }
        Ok(())
    }
}
