//! What an IPA did, for logs, tests and demonstrations.

use std::collections::VecDeque;

use rsp::ids::Iccid;
use rsp::sgp32::{EimId, StateChangeCause};

/// Events kept until they are taken.
const EVENTS_MAX: usize = 512;

/// One thing that happened. Nothing depends on these being read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An eUICC Package was loaded; the eUICC answered with a result of this number, or without one with an error.
    PackageLoaded {
        /// The eIM named in it.
        eim_id: EimId,
        /// `seqNumber` of the result.
        sequence_number: Option<i64>,
    },
    /// An eIM took a result.
    ResultDelivered {
        /// The eIM.
        eim_id: EimId,
    },
    /// An eIM did not take a result; it is kept.
    ResultKept {
        /// The eIM.
        eim_id: EimId,
    },
    /// An eIM Package could not be used.
    PackageUnusable {
        /// The eIM.
        eim_id: EimId,
    },
    /// The eUICC's list was shortened at an eIM's or a server's word.
    Removed {
        /// `seqNumber` of the result or Notification.
        sequence_number: i64,
    },
    /// An eIM acknowledged the result of another eIM; it was not removed.
    AcknowledgementRefused {
        /// `seqNumber` of the result.
        sequence_number: i64,
    },
    /// A Notification went to its receiver.
    NotificationDelivered {
        /// Its `seqNumber`.
        sequence_number: i64,
        /// Through an eIM instead of straight to the SM-DP+.
        through_eim: bool,
    },
    /// A download began.
    DownloadStarted {
        /// Through the eIM instead of straight from the SM-DP+.
        indirect: bool,
    },
    /// The eUICC ended a download with a result.
    DownloadEnded {
        /// Whether a Profile is installed.
        installed: bool,
        /// Its ICCID, as the result says.
        iccid: Option<Iccid>,
    },
    /// A download came to no result.
    DownloadFailed {
        /// Why, for people.
        reason: String,
    },
    /// A download is to be tried again.
    DownloadPostponed {
        /// Why, for people.
        reason: String,
    },
    /// The Profile just downloaded was enabled.
    EnabledImmediately,
    /// The card was reset for a change of Profile.
    CardReset,
    /// The previous Profile is enabled again.
    RolledBack {
        /// The eIM whose enabling was taken back.
        eim_id: EimId,
    },
    /// The eUICC refused a rollback.
    RollbackRefused,
    /// The Fallback Profile is enabled.
    FallbackExecuted,
    /// The Profile that the Fallback Profile displaced is enabled again.
    ReturnedFromFallback,
    /// An eIM was told that the state changed without it.
    StateChangeReported {
        /// The eIM.
        eim_id: EimId,
        /// Why it changed.
        cause: StateChangeCause,
    },
    /// A server could not be used.
    ServerFailed {
        /// `eim:` with an eimId, or `rsp:` with an address.
        server: String,
        /// Why, for people.
        reason: String,
    },
}

/// The latest events.
#[derive(Debug, Default)]
pub(crate) struct Events(VecDeque<Event>);

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        tracing::debug!(?event, "ipa");
        if self.0.len() >= EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.0.drain(..).collect()
    }
}
