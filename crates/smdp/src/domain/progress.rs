//! What operators are told about downloads: ES2+.HandleDownloadProgressInfo, kept in an outbox
//! until it is delivered (SGP.22 v2.5 section 5.3.5).

use std::sync::Arc;
use std::time::Duration;

use ::store::Tx;
use jiff::Timestamp;
use rsp::ids::Iccid;

use super::server::{Core, after};
use super::status::{Error, Refusal};
use crate::config::Config;
use crate::store;
use crate::store::orders::OrderRow;
use crate::store::profiles::ProfileRow;

/// Point of a download that an operator is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgressPoint {
    /// Eligibility and retry limit were checked.
    EligibilityAndRetryLimit,
    /// The confirmation code was checked and refused.
    ConfirmationFailure,
    /// The bound profile package was made.
    BppDownload,
    /// The eUICC reported the installation, or cancelled.
    BppInstallation,
}

impl ProgressPoint {
    /// `notificationPointId`.
    pub const fn id(self) -> i64 {
        match self {
            Self::EligibilityAndRetryLimit => 1,
            Self::ConfirmationFailure => 2,
            Self::BppDownload => 3,
            Self::BppInstallation => 4,
        }
    }

    pub(crate) const fn from_id(id: i64) -> Option<Self> {
        Some(match id {
            1 => Self::EligibilityAndRetryLimit,
            2 => Self::ConfirmationFailure,
            3 => Self::BppDownload,
            4 => Self::BppInstallation,
            _ => return None,
        })
    }
}

/// One message for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Number in the outbox; 0 before it is there.
    pub(crate) id: i64,
    /// Name of the operator in the configuration.
    pub(crate) operator: String,
    pub(crate) iccid: Iccid,
    /// 32 digits.
    pub(crate) eid: Option<String>,
    pub(crate) profile_type: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) point: ProgressPoint,
    /// `None` for success.
    pub(crate) refused: Option<Refusal>,
    /// DER of what the eUICC signed.
    pub(crate) result: Option<Vec<u8>>,
    /// Attempts made to deliver it.
    pub(crate) attempts: u32,
}

/// What an operator is told about.
pub(crate) struct Progress<'a> {
    pub(crate) point: ProgressPoint,
    pub(crate) refused: Option<Refusal>,
    pub(crate) eid: Option<&'a str>,
    pub(crate) result: Option<&'a [u8]>,
}

/// Puts a message for the operator of an order into the outbox, if that operator wants any.
pub(crate) fn note(
    config: &Config,
    tx: &Tx<'_>,
    profile: &ProfileRow,
    order: &OrderRow,
    progress: &Progress<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let name = order.operator.as_deref().or(profile.operator.as_deref());
    let operator = name.and_then(|name| config.operator(name));
    let Some(operator) = operator.filter(|operator| operator.progress_url.is_some()) else {
        return Ok(());
    };
    store::outbox::push(
        tx,
        &Notice {
            id: 0,
            operator: operator.name.clone(),
            iccid: profile.iccid,
            eid: progress.eid.map(str::to_owned),
            profile_type: profile.profile_type.clone(),
            occurred_at: now,
            point: progress.point,
            refused: progress.refused,
            result: progress.result.map(<[u8]>::to_vec),
            attempts: 0,
        },
    )?;
    Ok(())
}

/// The outbox, for the sender.
pub(crate) struct Outbox(pub(crate) Arc<Core>);

impl Outbox {
    /// What should be delivered now, oldest first.
    pub(crate) fn due(&self) -> Result<Vec<Notice>, Error> {
        let now = self.0.now();
        self.0
            .read(|tx| Ok(store::outbox::due(tx, now, BATCH_MAX)?))
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> Result<u64, Error> {
        self.0.read(|tx| Ok(store::outbox::count(tx)?))
    }

    pub(crate) fn delivered(&self, notice: &Notice) -> Result<(), Error> {
        let id = notice.id;
        self.0.write(move |tx| Ok(store::outbox::remove(tx, id)?))?;
        self.0.counters.progress_delivered.add();
        Ok(())
    }

    /// Tries again later: after 5 s, then twice as long each time, at most an hour. False when it was the last time.
    pub(crate) fn failed(&self, notice: &Notice) -> Result<bool, Error> {
        let id = notice.id;
        if notice.attempts + 1 >= self.0.config.limits.progress_attempts_max {
            self.0.write(move |tx| Ok(store::outbox::remove(tx, id)?))?;
            self.0.counters.progress_given_up.add();
            return Ok(false);
        }
        let pause_s = (5_u64 << notice.attempts.min(16)).min(3600);
        let until = after(self.0.now(), Duration::from_secs(pause_s));
        self.0
            .write(move |tx| Ok(store::outbox::postpone(tx, id, until)?))?;
        Ok(true)
    }
}

/// Messages sent in one round.
const BATCH_MAX: u32 = 32;
