//! When devices were last heard of. Kept in memory and written in batches: losing a few of these
//! in a crash is worth not writing for each poll.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rsp::ids::Eid;

use crate::tables::devices::{self, Contact};
use crate::{Eim, StorageError};

/// Polls of one device since the last flush.
#[derive(Clone, Copy)]
struct Pending {
    last_poll_at: i64,
    polls: u32,
    peer: IpAddr,
}

impl Pending {
    fn to_row(self) -> Contact {
        Contact {
            last_poll_at: self.last_poll_at,
            polls: self.polls.into(),
            peer: self.peer.to_string(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Contacts {
    pending: Mutex<HashMap<Eid, Pending>>,
}

/// Devices with unwritten contacts; beyond it further ones are not recorded until the next flush.
const PENDING_MAX: usize = 200_000;
const BATCH: usize = 2_000;

impl Contacts {
    pub(crate) fn polled(&self, eid: Eid, peer: IpAddr, at: i64) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contact) = pending.get_mut(&eid) {
            contact.last_poll_at = at;
            contact.polls = contact.polls.saturating_add(1);
            contact.peer = peer;
            return;
        }
        if pending.len() < PENDING_MAX {
            pending.insert(
                eid,
                Pending {
                    last_poll_at: at,
                    polls: 1,
                    peer,
                },
            );
        }
    }

    fn take(&self) -> HashMap<Eid, Pending> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Eim {
    /// Writes the contacts gathered since the last call. To be called every few seconds.
    pub async fn flush_contacts(&self) -> Result<(), StorageError> {
        let mut gathered: Vec<(Eid, Pending)> = self.contacts.take().into_iter().collect();
        // Neighbours share pages of the database.
        gathered.sort_unstable_by_key(|(eid, _)| *eid);
        for batch in gathered.chunks(BATCH) {
            let batch = batch.to_vec();
            self.store
                .write_async(move |tx| -> Result<(), StorageError> {
                    for (eid, contact) in &batch {
                        devices::add_contact(tx, *eid, &contact.to_row())?;
                    }
                    Ok(())
                })
                .await
                .map_err(store::WriteError::into_verb)?;
        }
        Ok(())
    }
}
