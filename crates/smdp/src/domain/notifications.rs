//! ES9+.HandleNotification (SGP.22 v2.5 sections 3.5 and 5.6.4): what eUICCs report.
//!
//! A notification is answered in the same way whether it is believed or not, because a device
//! would otherwise send it again for ever. Only what carries the right signature changes anything.

use std::sync::Arc;

use ::store::Tx;
use jiff::Timestamp;
use pki::PublicKey;
use rsp::der::Element;
use rsp::ids::Iccid;
use rsp::sgp22::{
    FinalResult, NotificationEvent, NotificationMetadata, OtherSignedNotification,
    PendingNotification, ProfileInstallationResult,
};

use super::decisions::euicc_actor;
use super::euicc::is_signed;
use super::orders::order_of;
use super::profile::ProfileEvent;
use super::progress::{self, Progress, ProgressPoint};
use super::server::{Core, advance};
use super::status::{Error, Fault, Refusal};
use crate::config::Config;
use crate::store;

/// Takes notifications and shows those that were believed.
#[derive(Clone)]
pub struct Notifications {
    core: Arc<Core>,
}

/// A notification that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRecord {
    /// The eUICC, 32 digits.
    pub eid: String,
    /// Its number on that eUICC.
    pub seq_number: i64,
    /// `install`, `enable`, `disable` or `delete`; for the result of a download also `install`.
    pub event: String,
    /// The profile.
    pub iccid: Option<Iccid>,
    /// The server that it is addressed to.
    pub address: String,
    /// When it came first.
    pub received_at: Timestamp,
}

/// Why a notification is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Disbelief {
    #[error("no package was delivered in this transaction")]
    UnknownTransaction,
    #[error("the signature is not the eUICC's")]
    Signature,
    #[error("it names another SM-DP+ or profile than the transaction")]
    Mismatch,
    #[error("the certificate chain is refused with {0:?}")]
    Chain(Refusal),
    #[error("the profile was never delivered to this eUICC")]
    NotItsProfile,
    #[error("it does not name exactly one event")]
    Event,
    #[error("this form is not for an SM-DP+")]
    Form,
}

impl Notifications {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Takes a notification. True when it was believed; a repetition of one that was counts as believed.
    ///
    /// # Errors
    /// Only when the server could not store it; the device should send it again.
    pub fn handle(&self, notification: &PendingNotification) -> Result<bool, Error> {
        let taken = match notification {
            PendingNotification::ProfileInstallationResult(result) => self.installation(result)?,
            PendingNotification::OtherSignedNotification(other) => self.other(other)?,
            PendingNotification::CompactProfileInstallationResult(_)
            | PendingNotification::CompactOtherSignedNotification(_)
            | PendingNotification::Unknown(_) => Err(Disbelief::Form),
        };
        match taken {
            Ok(()) => self.core.counters.notifications_believed.add(),
            Err(reason) => {
                self.core.counters.notifications_not_believed.add();
                tracing::warn!(%reason, "notification not believed");
            }
        }
        Ok(taken.is_ok())
    }

    /// What an eUICC (32 digits) reported, oldest first, at most `count_max`.
    pub fn of_euicc(&self, eid: &str, count_max: u32) -> Result<Vec<NotificationRecord>, Error> {
        self.core
            .read(|tx| Ok(store::notifications::of_euicc(tx, eid, count_max)?))
    }

    /// The result of a download: the eUICC is the one that was authenticated in that session.
    fn installation(
        &self,
        result: &ProfileInstallationResult,
    ) -> Result<Result<(), Disbelief>, Error> {
        let data = &result.profile_installation_result_data;
        let id = &data.transaction_id;
        let Some(download) = self
            .core
            .read(|tx| Ok(store::downloads::by_transaction(tx, id)?))?
        else {
            return Ok(Err(Disbelief::UnknownTransaction));
        };
        let key = PublicKey::from_spki_der(&download.euicc_key)
            .map_err(|_| Fault::Corrupt("key of an eUICC"))?;
        if !is_signed(&key, &[data.bytes()], &result.euicc_sign_pir) {
            return Ok(Err(Disbelief::Signature));
        }
        let metadata = &data.notification_metadata;
        let is_its_profile = metadata.iccid.is_none_or(|iccid| iccid == download.iccid);
        if data.smdp_oid != self.core.config.oid || !is_its_profile {
            return Ok(Err(Disbelief::Mismatch));
        }
        let is_success = match &data.final_result {
            FinalResult::SuccessResult(_) => true,
            FinalResult::ErrorResult(_) => false,
            FinalResult::Unknown(_) => return Ok(Err(Disbelief::Form)),
        };
        if let FinalResult::ErrorResult(error) = &data.final_result {
            tracing::info!(
                transaction = %id, command = %error.bpp_command_id, reason = %error.error_reason,
                "eUICC did not install the profile"
            );
        }
        let now = self.core.now();
        let record = NotificationRecord {
            eid: download.eid.clone(),
            seq_number: metadata.seq_number,
            event: "install".to_owned(),
            iccid: Some(download.iccid),
            address: metadata.notification_address.clone(),
            received_at: now,
        };
        let octets = result.to_der();
        let config = Arc::clone(&self.core.config);
        self.core.write_with_progress(move |tx| {
            if download.has_result {
                return Ok(());
            }
            store::downloads::keep_result(tx, download.number, &octets, now)?;
            store::notifications::keep(tx, &record, &octets)?;
            conclude(&config, tx, &download, is_success, &octets, now)
        })?;
        self.core.sessions.end(id);
        Ok(Ok(()))
    }

    fn other(&self, other: &OtherSignedNotification) -> Result<Result<(), Disbelief>, Error> {
        let metadata = &other.tbs_other_notification;
        let euicc = match self.core.verify_chain(
            &other.euicc_certificate,
            &other.eum_certificate,
            other.other_certs_in_chain.as_deref(),
        ) {
            Ok(euicc) => euicc,
            Err(refusal) => return Ok(Err(Disbelief::Chain(refusal))),
        };
        let signature = &other.euicc_notification_signature;
        if !is_signed(&euicc.public_key, &[metadata.bytes()], signature) {
            return Ok(Err(Disbelief::Signature));
        }
        let Some(event) = event_name(metadata) else {
            return Ok(Err(Disbelief::Event));
        };
        let record = NotificationRecord {
            eid: euicc.eid_digits,
            seq_number: metadata.seq_number,
            event: event.to_owned(),
            iccid: metadata.iccid,
            address: metadata.notification_address.clone(),
            received_at: self.core.now(),
        };
        let octets = other.to_der();
        self.core.write(move |tx| {
            // Otherwise any eUICC could fill the database with tales about profiles of others.
            let is_its_profile = match &record.iccid {
                Some(iccid) => store::downloads::was_delivered(tx, iccid, &record.eid)?,
                None => false,
            };
            if !is_its_profile {
                return Ok(Err(Disbelief::NotItsProfile));
            }
            store::notifications::keep(tx, &record, &octets)?;
            Ok(Ok(()))
        })
    }
}

/// What the result of a download means for its order. Success counts from whichever attempt it
/// comes; failure only from the last one.
fn conclude(
    config: &Config,
    tx: &Tx<'_>,
    download: &store::downloads::DownloadRow,
    is_success: bool,
    octets: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    let found = store::profiles::by_iccid(tx, &download.iccid)?;
    let of_order = found.filter(|profile| profile.order_id == Some(download.order_id));
    let Some(mut profile) = of_order else {
        tracing::warn!(iccid = %download.iccid, is_success, "result of an order that was cancelled");
        return Ok(());
    };
    let is_last = store::downloads::last_of_order(tx, download.order_id)? == Some(download.number);
    let event = match is_success {
        true => ProfileEvent::Install,
        false if is_last => ProfileEvent::Fail,
        false => return Ok(()),
    };
    if profile.state.after(event).is_none() {
        return Ok(());
    }
    let order = order_of(tx, &profile)?;
    advance(tx, &mut profile, event, &euicc_actor(&download.eid), now)?;
    let progress = Progress {
        point: ProgressPoint::BppInstallation,
        refused: (!is_success).then_some(Refusal::EuiccError),
        eid: Some(&download.eid),
        result: Some(octets),
    };
    progress::note(config, tx, &profile, &order, &progress, now)
}

/// The one event that a notification is about.
fn event_name(metadata: &NotificationMetadata) -> Option<&'static str> {
    let events = &metadata.profile_management_operation;
    let mut bits = events.0.bits();
    let name = match bits.next()? {
        NotificationEvent::INSTALL => "install",
        NotificationEvent::ENABLE => "enable",
        NotificationEvent::DISABLE => "disable",
        NotificationEvent::DELETE => "delete",
        _ => return None,
    };
    bits.next().is_none().then_some(name)
}
