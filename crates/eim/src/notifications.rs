//! Notifications: verified, kept, forwarded to the server they are for, and only then
//! acknowledged to the IPA.

use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp22::{
    HandleNotification, NotificationEvent, NotificationMetadata, OtherSignedNotification,
    PendingNotification, ProfileInstallationResult,
};
use serde_json::json;

use crate::actor::Actor;
use crate::results::{Acknowledged, Refusal};
use crate::tables::{inventory, notifications, operations};
use crate::verification::Disbelief;
use crate::{ConnectionId, Eim, Notification, StorageError, compact};

/// Why a Notification is not taken. The IPA keeps it and tries again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotificationRefusal {
    #[error("the EID in its certificate is not one")]
    Eid,
    #[error("it cannot be told which eUICC it is from")]
    Unattributed,
    #[error("it is compact, and what it leaves out is not known here")]
    Incomplete,
}

/// Attempts to forward a Notification before it is left to the operator.
const ATTEMPTS_MAX: i64 = 20;
const FIRST_RETRY_MS: i64 = 5_000;
const RETRY_MS_MAX: i64 = 3_600_000;
const BATCH: u32 = 50;

impl Eim {
    /// Takes in Notifications that came along with a result.
    pub(crate) async fn take_notifications(
        &self,
        list: &[PendingNotification],
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let mut acknowledged = Vec::new();
        for notification in list {
            match self.take_notification(notification, connection).await {
                Ok(seq_number) => acknowledged.push(seq_number),
                Err(Refusal::Storage(error)) => return Err(Refusal::Storage(error)),
                // One that is not believed does not hold up the others; it stays on the eUICC.
                Err(refusal) => tracing::warn!(%refusal, "notification not accepted"),
            }
        }
        Ok(acknowledged)
    }

    /// Takes in one Notification and returns its sequence number.
    pub(crate) async fn take_notification(
        &self,
        notification: &PendingNotification,
        connection: ConnectionId,
    ) -> Result<i64, Refusal> {
        match notification {
            PendingNotification::OtherSignedNotification(other) => self.take_other(other).await,
            PendingNotification::ProfileInstallationResult(result) => {
                self.take_relayed_installation(result, connection).await
            }
            PendingNotification::CompactProfileInstallationResult(short) => {
                let id = &short
                    .compact_profile_installation_result_data
                    .transaction_id;
                let full = self
                    .downloads
                    .known(id)
                    .and_then(|known| compact::installation(short, &known))
                    .ok_or(NotificationRefusal::Incomplete)?;
                self.take_relayed_installation(&full, connection).await
            }
            PendingNotification::CompactOtherSignedNotification(short) => {
                let eid = match short.eid_value {
                    Some(field) => Eid::try_from(field).ok(),
                    None => self.presence.speaks_for(connection),
                };
                let device = self.managed(eid.ok_or(NotificationRefusal::Unattributed)?)?;
                let certificates = device
                    .certificates()
                    .ok_or(NotificationRefusal::Incomplete)?;
                self.take_other(&compact::notification(short, certificates))
                    .await
            }
            PendingNotification::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    async fn take_other(&self, other: &OtherSignedNotification) -> Result<i64, Refusal> {
        let certificate = pki::Certificate::from_der(other.euicc_certificate.as_der())
            .map_err(|error| Disbelief::Certificates(error.into()))?;
        let eid: Eid = certificate
            .subject_serial_number()
            .and_then(|digits| digits.parse().ok())
            .ok_or(NotificationRefusal::Eid)?;
        self.managed(eid)?;
        self.verify_notification(eid, other)?;
        let metadata = &*other.tbs_other_notification;
        let at = self.now_ms();
        let row = row(eid, metadata, other.to_der(), at);
        let event = self.notification_event(eid, &row);
        let (seq_number, change) = (metadata.seq_number, metadata.clone());
        self.change(eid, move |tx| -> Result<(), Refusal> {
            if notifications::insert(tx, &row, true)? {
                event.append(tx)?;
                apply(tx, eid, &change, at)?;
            }
            Ok(())
        })
        .await?;
        Ok(seq_number)
    }

    /// The result of an indirect download, to be relayed. It names only the session with the
    /// SM-DP+; a direct one may come this way too, then the connection tells the device.
    async fn take_relayed_installation(
        &self,
        result: &ProfileInstallationResult,
        connection: ConnectionId,
    ) -> Result<i64, Refusal> {
        let data = &result.profile_installation_result_data;
        let session = self.downloads.ended(&data.transaction_id);
        let eid = session
            .map(|session| session.eid)
            .or_else(|| self.presence.speaks_for(connection))
            .ok_or(NotificationRefusal::Unattributed)?;
        let device = self.managed(eid)?;
        self.verify_installation(&device, result)?;
        let operation = session
            .map(|session| self.read(|tx| operations::find(tx, session.operation)))
            .transpose()?
            .flatten();
        if let Some(operation) = operation {
            self.take_installation(&device, &operation, result, true)
                .await?;
            return Ok(data.notification_metadata.seq_number);
        }
        let row = of_installation(eid, result, self.now_ms());
        let event = self.notification_event(eid, &row);
        self.change(eid, move |tx| -> Result<(), Refusal> {
            if notifications::insert(tx, &row, true)? {
                event.append(tx)?;
            }
            Ok(())
        })
        .await?;
        Ok(data.notification_metadata.seq_number)
    }

    fn notification_event(&self, eid: Eid, row: &Notification) -> crate::EventDraft {
        self.event(
            eid,
            &Actor::device(eid),
            "notification-received",
            json!({ "event": row.event, "iccid": row.iccid, "seq_number": row.seq_number }),
        )
    }

    /// Forwards what is due and returns how many were delivered. To be called again and again.
    pub async fn forward_notifications(&self) -> Result<usize, StorageError> {
        let now = self.now_ms();
        let due =
            self.read(|tx| -> Result<_, StorageError> { Ok(notifications::due(tx, now, BATCH)?) })?;
        let mut delivered = 0;
        for notification in due {
            delivered += usize::from(self.forward(&notification).await?);
        }
        Ok(delivered)
    }

    async fn forward(&self, notification: &Notification) -> Result<bool, StorageError> {
        let (eid, seq_number) = (notification.eid, notification.seq_number);
        let sent = match decode(&notification.message) {
            Some(message) => self.parts.smdp.notify(&notification.address, message).await,
            None => Ok(()),
        };
        let at = self.now_ms();
        let is_sent = sent.is_ok();
        let retry_at = match &sent {
            Err(error) => {
                tracing::warn!(%eid, seq_number, address = %notification.address, %error, "notification not forwarded");
                next_attempt(notification.attempts, at)
            }
            Ok(()) => None,
        };
        self.change(eid, move |tx| -> Result<(), StorageError> {
            if is_sent {
                notifications::forwarded(tx, eid, seq_number, at)?;
            } else {
                notifications::retry(tx, eid, seq_number, retry_at)?;
            }
            Ok(())
        })
        .await?;
        Ok(is_sent)
    }
}

fn decode(message: &[u8]) -> Option<HandleNotification> {
    let pending_notification = PendingNotification::from_der(message).ok()?;
    Some(HandleNotification {
        pending_notification,
        extensions: Default::default(),
    })
}

/// Doubles from five seconds to an hour, then gives up.
fn next_attempt(attempts: i64, now: i64) -> Option<i64> {
    if attempts + 1 >= ATTEMPTS_MAX {
        return None;
    }
    let doublings = u32::try_from(attempts).unwrap_or_default().min(20);
    Some(now + (FIRST_RETRY_MS << doublings).min(RETRY_MS_MAX))
}

/// The row for a ProfileInstallationResult.
pub(crate) fn of_installation(
    eid: Eid,
    result: &ProfileInstallationResult,
    at: i64,
) -> Notification {
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    row(eid, metadata, result.to_der(), at)
}

fn row(eid: Eid, metadata: &NotificationMetadata, message: Vec<u8>, at: i64) -> Notification {
    Notification {
        eid,
        seq_number: metadata.seq_number,
        event: event_word(&metadata.profile_management_operation).to_owned(),
        iccid: metadata.iccid.map(|iccid| iccid.to_string()),
        address: metadata.notification_address.clone(),
        message,
        received_at: at,
        forwarded_at: None,
        attempts: 0,
    }
}

fn event_word(event: &NotificationEvent) -> &'static str {
    const WORDS: [(usize, &str); 4] = [
        (NotificationEvent::INSTALL, "install"),
        (NotificationEvent::ENABLE, "enable"),
        (NotificationEvent::DISABLE, "disable"),
        (NotificationEvent::DELETE, "delete"),
    ];
    WORDS
        .into_iter()
        .find(|(bit, _)| event.contains(*bit))
        .map_or("unknown", |(_, word)| word)
}

/// A verified Notification tells what changed, also where no package of ours changed it.
fn apply(
    tx: &store::Tx<'_>,
    eid: Eid,
    metadata: &NotificationMetadata,
    at: i64,
) -> Result<(), store::SqlError> {
    let event = &metadata.profile_management_operation;
    match metadata.iccid {
        Some(iccid) if event.contains(NotificationEvent::ENABLE) => {
            inventory::set_enabled(tx, eid, Some(iccid), at)
        }
        Some(iccid) if event.contains(NotificationEvent::DELETE) => {
            inventory::remove_profile(tx, eid, iccid)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_and_end() {
        assert_eq!(next_attempt(0, 0), Some(5_000));
        assert_eq!(next_attempt(3, 0), Some(40_000));
        assert_eq!(next_attempt(15, 0), Some(RETRY_MS_MAX));
        assert_eq!(next_attempt(19, 0), None);
    }
}
