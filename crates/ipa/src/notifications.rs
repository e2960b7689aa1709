//! Notifications: delivery, and removal of what was acknowledged (SGP.32 v1.2 sections 3.7 and 5.14.7).

use rsp::binding::{es9plus, esipa};
use rsp::der::Element;
use rsp::ids::TransactionId;
use rsp::sgp22::{HandleNotification, PendingNotification};
use rsp::sgp32::{EimId, HandleNotificationEsipa};

use crate::address::is_address;
use crate::card::CardError;
use crate::client::{Contact, rsp_key};
use crate::config::NotificationRoute;
use crate::engine::Engine;
use crate::event::Event;
use crate::package::effects;
use crate::ports::Server;

/// Sequence numbers taken from one acknowledgement.
const ACKNOWLEDGEMENTS_MAX: usize = 1024;

impl Engine<'_> {
    /// Removes what an eIM acknowledges. `carried` are the numbers in the message that it answers; others it may name only
    /// as long as they are not the results of another eIM, which would then never hear of them.
    pub(crate) fn acknowledge(
        &mut self,
        from: Option<&EimId>,
        numbers: &[i64],
        carried: &[i64],
    ) -> Result<(), CardError> {
        let mut of_others: Option<Vec<i64>> = None;
        for &number in numbers.iter().take(ACKNOWLEDGEMENTS_MAX) {
            if !carried.contains(&number) {
                let of_others = match &of_others {
                    Some(known) => known,
                    None => &*of_others.insert(self.results_of_others(from)?),
                };
                if of_others.contains(&number) {
                    self.events.push(Event::AcknowledgementRefused {
                        sequence_number: number,
                    });
                    continue;
                }
            }
            self.remove(number)?;
        }
        Ok(())
    }

    fn results_of_others(&mut self, eim_id: Option<&EimId>) -> Result<Vec<i64>, CardError> {
        let kept = self.kept_results()?;
        let numbers = kept
            .iter()
            .map(effects)
            .filter(|effects| effects.eim_id.as_ref() != eim_id);
        Ok(numbers
            .filter_map(|effects| effects.sequence_number)
            .collect())
    }

    fn remove(&mut self, number: i64) -> Result<(), CardError> {
        match self.es10().remove_notification(number) {
            Ok(true) => self.events.push(Event::Removed {
                sequence_number: number,
            }),
            Ok(false) => {}
            // It stays and is delivered again; that is all.
            Err(error @ (CardError::Status { .. } | CardError::Code { .. })) => {
                tracing::warn!(%error, number, "the eUICC does not remove a Notification");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The Notifications that go along with a result, as many as fit.
    pub(crate) fn notifications_to_attach(
        &mut self,
    ) -> Result<Vec<PendingNotification>, CardError> {
        let mut octets_left = self.config.limits.attached_notifications_octets_max;
        let mut list = self.pending_notifications()?;
        list.retain(|notification| {
            let octets = notification.to_der().len();
            let fits = octets <= octets_left;
            octets_left -= if fits { octets } else { 0 };
            fits
        });
        Ok(list)
    }

    pub(crate) fn pending_notifications(&mut self) -> Result<Vec<PendingNotification>, CardError> {
        match self.es10().notifications(None) {
            Err(CardError::Status { .. } | CardError::Code { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Delivers what is pending, each on its way. What cannot be delivered stays, the next one is tried.
    pub(crate) fn deliver_notifications(&mut self, eims: &[Contact]) -> Result<(), CardError> {
        let mut attempts_left = self.config.limits.notifications_per_session_max;
        for notification in self.pending_notifications()? {
            if attempts_left == 0 {
                break;
            }
            let Some(number) = sequence_number(&notification) else {
                continue;
            };
            let transaction_id = transaction_id(&notification).cloned();
            let through = self.eim_for(&notification, eims);
            let is_delivered = match through {
                Some(eim) if self.is_pausing(&eim.key) => continue,
                Some(eim) => {
                    let notification = HandleNotificationEsipa::PendingNotification(notification);
                    let request = esipa::Request::HandleNotification(notification);
                    self.call_eim(eim, &request).is_ok()
                }
                None => {
                    let Some(server) = self.server_for(&notification) else {
                        continue;
                    };
                    let request = es9plus::Request::HandleNotification(HandleNotification {
                        pending_notification: notification,
                        extensions: Default::default(),
                    });
                    self.call_rsp(&server, &request).is_ok()
                }
            };
            attempts_left -= 1;
            if is_delivered {
                if let Some(transaction_id) = transaction_id {
                    self.state.forget_relayed(&transaction_id);
                }
                self.events.push(Event::NotificationDelivered {
                    sequence_number: number,
                    through_eim: through.is_some(),
                });
                self.remove(number)?;
            }
        }
        Ok(())
    }

    /// The eIM that a Notification goes through, if it does.
    fn eim_for<'e>(
        &self,
        notification: &PendingNotification,
        eims: &'e [Contact],
    ) -> Option<&'e Contact> {
        let relayed_by = transaction_id(notification).and_then(|id| self.state.relayed_by(id));
        if let Some(eim_id) = relayed_by
            && let Some(eim) = eims.iter().find(|eim| eim.eim_id() == eim_id)
        {
            return Some(eim);
        }
        let is_direct = match self.config.notification_route {
            NotificationRoute::ByCapability => self.config.is_direct(),
            NotificationRoute::Direct => true,
            NotificationRoute::ThroughEim => false,
        };
        if is_direct { None } else { eims.first() }
    }

    /// The server that a Notification is for, unless it cannot be asked now.
    fn server_for(&self, notification: &PendingNotification) -> Option<Server> {
        let address = notification_address(notification)?;
        let is_usable = is_address(address) && !self.is_pausing(&rsp_key(address));
        is_usable.then(|| Server::Smdp {
            address: address.to_owned(),
        })
    }
}

/// `seqNumber` of a Notification.
pub(crate) fn sequence_number(notification: &PendingNotification) -> Option<i64> {
    use PendingNotification as N;
    match notification {
        N::ProfileInstallationResult(result) => Some(
            result
                .profile_installation_result_data
                .notification_metadata
                .seq_number,
        ),
        N::OtherSignedNotification(other) => Some(other.tbs_other_notification.seq_number),
        N::CompactProfileInstallationResult(result) => {
            Some(result.compact_profile_installation_result_data.seq_number)
        }
        N::CompactOtherSignedNotification(other) => Some(other.tbs_other_notification.seq_number),
        N::Unknown(_) => None,
    }
}

fn transaction_id(notification: &PendingNotification) -> Option<&TransactionId> {
    match notification {
        PendingNotification::ProfileInstallationResult(result) => {
            Some(&result.profile_installation_result_data.transaction_id)
        }
        _ => None,
    }
}

fn notification_address(notification: &PendingNotification) -> Option<&str> {
    use PendingNotification as N;
    match notification {
        N::ProfileInstallationResult(result) => Some(
            &result
                .profile_installation_result_data
                .notification_metadata
                .notification_address,
        ),
        N::OtherSignedNotification(other) => {
            Some(&other.tbs_other_notification.notification_address)
        }
        _ => None,
    }
}
