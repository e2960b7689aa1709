//! Made-up rows (`crate::seed`).

use rsp::ids::Eid;
use store::{SqlError, Tx, params};
use uuid::Uuid;

use super::{devices, inventory};
use crate::seed::MadeUp;

impl MadeUp {
    /// Writes the device and all that belongs to it, but for its events' places in the log.
    pub(crate) fn write(&self, tx: &Tx<'_>) -> Result<(), SqlError> {
        let eid = self.eid.to_string();
        let (euicc, eum) = self
            .certificates
            .as_ref()
            .map(|(euicc, eum)| (euicc, eum))
            .unzip();
        tx.execute(
            "INSERT INTO device (eid, label, state, fleet, counter, token_origin, last_seq_number, \
             euicc_certificate, eum_certificate, association, registered_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, 'device', $5, $6, $7, $8, $9, $9)",
            params![
                eid,
                self.label,
                self.state,
                self.fleet,
                i64::try_from(self.operations.len()).unwrap_or(i64::MAX),
                euicc,
                eum,
                self.association,
                self.registered_at
            ],
        )?;
        if let Some(contact) = &self.contact {
            devices::add_contact(tx, self.eid, contact)?;
        }
        for (key, value) in &self.tags {
            tx.execute(
                "INSERT INTO device_tag (eid, key, value) VALUES ($1, $2, $3)",
                params![eid, key, value],
            )?;
        }
        self.write_operations(tx, &eid)?;
        inventory::replace_profiles(tx, self.eid, &self.profiles, self.registered_at)?;
        for (at, iccid) in &self.switches {
            inventory::set_enabled(tx, self.eid, Some(*iccid), *at)?;
        }
        for event in &self.events {
            tx.execute(
                "INSERT INTO event (eid, id, at, actor, kind, detail) VALUES ($1, $2, $3, $4, $5, $6)",
                params![
                    eid,
                    event.id.to_string(),
                    event.at,
                    event.actor,
                    event.kind,
                    event.detail
                ],
            )?;
        }
        Ok(())
    }

    fn write_operations(&self, tx: &Tx<'_>, eid: &str) -> Result<(), SqlError> {
        for operation in &self.operations {
            tx.execute(
                "INSERT INTO operation (id, eid, intent, actor, commands, state, eim_transaction_id, counter, outcome, \
                 refusals, proofs, created_at, expires_at, delivered_at, finished_at, fleet) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, $10, $11, $12, $13, $14) \
                 ON CONFLICT (intent, eid) DO NOTHING",
                params![
                    operation.id.to_string(),
                    eid,
                    operation.intent.to_string(),
                    operation.actor,
                    operation.commands,
                    operation.state.to_string(),
                    operation
                        .counter
                        .map(|_| operation.id.simple().to_string().to_uppercase()),
                    operation.counter,
                    operation.outcome,
                    operation.created_at,
                    operation.created_at + LIFETIME_MS,
                    operation.delivered_at,
                    operation.finished_at,
                    self.fleet
                ],
            )?;
        }
        Ok(())
    }
}

const LIFETIME_MS: i64 = 30 * 86_400_000;

/// Gives an event its place in the log.
pub(crate) fn log(tx: &Tx<'_>, eid: Eid, id: Uuid) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO event_log (eid, id) VALUES ($1, $2)",
        params![eid.to_string(), id.to_string()],
    )?;
    Ok(())
}
