//! What operators know of devices whose registration waits for approvals: kept here until the registration is decided.

use intent::IntentId;
use rsp::ids::Eid;
use serde_json::json;
use store::{SqlError, StoreFault, Tx};
use uuid::Uuid;

use crate::actor::Actor;
use crate::devices::{DeviceData, DeviceError};
use crate::tables::devices::{self, Enrichment};
use crate::tables::pending;
use crate::{DeviceState, Eim, EventDraft, StorageError};

/// Devices that something is kept for at a time. Whoever reaches the socket could otherwise fill the disk.
const KEPT_MAX: i64 = 1_000_000;
/// Devices in one transaction.
const PAGE: usize = 500;

/// Why nothing is kept.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// Too many are kept.
    #[error(
        "data of {KEPT_MAX} devices wait for their registration already; let some be decided first"
    )]
    Full,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SqlError> for PendingError {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<StoreFault> for PendingError {
    fn from(fault: StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

impl Eim {
    /// Keeps what is known of devices that `intent` is to register, until `expires_at` (milliseconds since 1970): given to
    /// each when it is registered, and forgotten if the intent is rejected, withdrawn or expires. A device that is managed
    /// already is given it at once. Gives those whose data were not taken, with the reason.
    pub async fn keep_device_data(
        &self,
        actor: &Actor,
        intent: IntentId,
        expires_at: i64,
        data: Vec<DeviceData>,
    ) -> Result<Vec<(Eid, DeviceError)>, PendingError> {
        let count = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let kept = self.read(|tx| -> Result<_, SqlError> { pending::count(tx) })?;
        if kept.saturating_add(count) > KEPT_MAX {
            return Err(PendingError::Full);
        }
        let mut refused = Vec::new();
        let mut good = Vec::new();
        for device in data {
            let eid = device.eid;
            match self.check_data(&device) {
                Ok(()) => good.push((eid, device.enrichment(), self.new_id())),
                Err(error) => refused.push((eid, error)),
            }
        }
        for page in good.chunks(PAGE) {
            let (page, actor, at) = (page.to_vec(), actor.to_string(), self.now_ms());
            let touched = page.iter().map(|(eid, ..)| *eid).collect();
            self.change_many(touched, move |tx| -> Result<(), PendingError> {
                for (eid, data, event) in &page {
                    let device = devices::find(tx, *eid)?;
                    if device.is_some_and(|device| device.state != DeviceState::Retired) {
                        // It was approved meanwhile.
                        devices::enrich(tx, *eid, data, at)?;
                        enriched(*event, *eid, at, &actor, data).append(tx)?;
                    } else {
                        pending::keep(tx, (intent, *eid), data, &actor, expires_at)?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(refused)
    }

    /// How many devices of an intent have data that wait for their registration.
    pub fn pending_data(&self, intent: IntentId) -> Result<i64, StorageError> {
        self.read(|tx| Ok(pending::count_of(tx, intent)?))
    }

    /// Forgets what was kept for an intent that is not carried out.
    pub(crate) async fn forget_pending(&self, intent: IntentId) -> Result<(), StorageError> {
        let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let forgotten = self
                .store
                .write_async(move |tx| -> Result<usize, StorageError> {
                    Ok(pending::forget(tx, intent, limit)?)
                })
                .await
                .map_err(store::WriteError::into_verb)?;
            if forgotten < PAGE {
                return Ok(());
            }
        }
    }
}

/// Gives a device what was kept for it, in the transaction that registers it.
pub(crate) fn hand_over(
    tx: &Tx<'_>,
    intent: IntentId,
    eid: Eid,
    event: Uuid,
    at: i64,
) -> Result<(), SqlError> {
    let Some((data, actor)) = pending::take(tx, intent, eid)? else {
        return Ok(());
    };
    devices::enrich(tx, eid, &data, at)?;
    enriched(event, eid, at, &actor, &data).append(tx)
}

/// The event that says what was given.
pub(crate) fn enriched(id: Uuid, eid: Eid, at: i64, actor: &str, data: &Enrichment) -> EventDraft {
    let detail = json!({
        "label": data.label,
        "certificates": data.certificates.is_some(),
        "association_token": data.association_token.is_some(),
    });
    EventDraft {
        id,
        eid,
        at,
        actor: actor.to_owned(),
        kind: "device-enriched",
        detail: detail.to_string(),
    }
}
