//! Profile download: triggers, the choice of the way, and reports (SGP.32 v1.2 sections 3.2.3 and 3.9).

mod activation_code;
mod rules;
mod session;
mod steps;

use rsp::binding::esipa::Request;
use rsp::der::{Element, Octets, Oid};
use rsp::ids::TransactionId;
use rsp::sgp22::{
    CancelSessionReason, FinalResult, PendingNotification, ProfileInstallationResult,
};
use rsp::sgp32::{
    EimId, EimPackageResult, HandleNotificationEsipa, ImmediateEnableResult, IpaFeatures,
    ProfileDownloadData, ProfileDownloadError, ProfileDownloadErrorReason,
    ProfileDownloadTriggerRequest, ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData,
    StateChangeCause,
};

use crate::address;
use crate::card::CardError;
use crate::client::{Contact, ServerError, describe};
use crate::engine::Engine;
use crate::event::Event;
use crate::ports::Server;
use crate::state::Download;
use activation_code::ActivationCode;

/// Where and how to download.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) way: Way,
    /// Token of an activation code, or an event of an SM-DS.
    pub(crate) matching_id: Option<String>,
    /// The server must have this OID.
    pub(crate) smdp_oid: Option<Oid>,
}

/// How the server is reached.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// By the IPA, over ES9+ or ES11.
    Direct(Server),
    /// Through the eIM, over ESipa.
    Indirect {
        eim: Box<Contact>,
        /// Absent: the eIM knows.
        address: Option<String>,
        eim_transaction_id: Option<TransactionId>,
    },
}

/// What one session came to.
pub(crate) enum Ended {
    /// The eUICC has a result, success or not.
    WithResult(Box<ProfileInstallationResult>),
    /// An SM-DS names servers that hold a Profile.
    Events(Vec<Order>),
    /// An eIM, asked about an SM-DS, answered with another trigger.
    Trigger(Option<ProfileDownloadTriggerRequest>),
}

/// Why a session came to nothing.
pub(crate) enum Abort {
    Card(CardError),
    /// A server could not be used; perhaps later.
    Server {
        error: ServerError,
        /// Of a session that the eUICC has.
        open_session: Option<TransactionId>,
    },
    /// There is no use in trying again.
    Failed {
        /// For people.
        reason: String,
        /// The object that says so, for the eIM.
        error_response: Option<Vec<u8>>,
        /// How to end the session that the eUICC has.
        cancel: Option<(TransactionId, CancelSessionReason)>,
    },
}

impl From<CardError> for Abort {
    fn from(error: CardError) -> Self {
        Self::Card(error)
    }
}

impl Abort {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            error_response: None,
            cancel: None,
        }
    }

    pub(crate) fn refused(reason: impl Into<String>, error_response: Vec<u8>) -> Self {
        Self::Failed {
            reason: reason.into(),
            error_response: Some(error_response),
            cancel: None,
        }
    }

    pub(crate) fn cancelled(
        reason: impl Into<String>,
        transaction_id: &TransactionId,
        code: CancelSessionReason,
    ) -> Self {
        let cancel = Some((transaction_id.clone(), code));
        Self::Failed {
            reason: reason.into(),
            error_response: None,
            cancel,
        }
    }
}

/// What became of a trigger.
enum Outcome {
    /// Results of the eUICC, and the way that each took.
    Results(Vec<(Box<ProfileInstallationResult>, bool)>),
    Failed {
        reason: String,
        error_response: Option<Vec<u8>>,
    },
    /// An SM-DS has nothing for this eUICC.
    NothingFound,
    Later {
        reason: String,
        /// Whether a server was asked at all.
        is_attempt: bool,
        /// The session that the eUICC has.
        open_session: Option<(Box<Order>, TransactionId)>,
    },
}

impl Engine<'_> {
    /// Remembers a trigger until its outcome is reported, also over a restart. The same trigger twice counts once.
    pub(crate) fn take_trigger(&mut self, eim_id: &EimId, trigger: ProfileDownloadTriggerRequest) {
        let downloads = &mut self.state.downloads;
        let is_known = downloads
            .iter()
            .any(|known| known.eim_id == *eim_id && known.trigger == trigger);
        if is_known {
            return;
        }
        if downloads.len() >= self.config.limits.downloads_max {
            tracing::warn!("more downloads than are allowed at a time; the oldest is given up");
            downloads.remove(0);
        }
        downloads.push(Download {
            eim_id: eim_id.clone(),
            trigger,
            attempts: 0,
            transaction_id: None,
            extensions: Default::default(),
        });
        self.save();
    }

    /// Tries every download once. What ends is reported; what has to wait stays.
    pub(crate) fn resume_downloads(&mut self, eims: &[Contact]) -> Result<(), CardError> {
        // Each one stays first in the list while it runs: a restart in the middle must find it.
        for _ in 0..self.state.downloads.len() {
            let Some(download) = self.state.downloads.first().cloned() else {
                break;
            };
            let contact = eims.iter().find(|eim| *eim.eim_id() == download.eim_id);
            // Without its eIM nobody is left who could be told.
            let is_to_wait = match contact {
                Some(eim) => self.run_download(eim, download)?,
                None => false,
            };
            if is_to_wait {
                self.state.downloads.rotate_left(1);
                self.save();
            } else {
                // Reported, and not to be reported again whatever goes wrong next.
                self.state.downloads.remove(0);
                self.save();
                self.deliver_notifications(eims)?;
            }
        }
        Ok(())
    }

    /// One attempt. Whether there is to be another.
    fn run_download(&mut self, eim: &Contact, download: Download) -> Result<bool, CardError> {
        let eim_transaction_id = download.trigger.eim_transaction_id.clone();
        if self.state.emergency.is_some() {
            let reason = Some(ProfileDownloadErrorReason::EcallActive);
            self.events.push(Event::DownloadFailed {
                reason: "an emergency call is active".into(),
            });
            self.report_failure(eim, eim_transaction_id, reason, None)?;
            return Ok(false);
        }
        let outcome = match self.result_of_interrupted(&download)? {
            Some(result) => {
                let indirect = self
                    .state
                    .relayed_by(&result.profile_installation_result_data.transaction_id)
                    .is_some();
                Outcome::Results(vec![(Box::new(result), indirect)])
            }
            None => self.follow(eim, &download.trigger)?,
        };
        match outcome {
            Outcome::Results(results) => {
                for (index, (result, indirect)) in results.into_iter().enumerate() {
                    self.note_result(&result);
                    // The eIM of an indirect download gets the result as a Notification.
                    if !indirect {
                        let eim_transaction_id = eim_transaction_id.clone().filter(|_| index == 0);
                        self.report_result(eim, eim_transaction_id, *result)?;
                    }
                }
                Ok(false)
            }
            Outcome::NothingFound => {
                self.events.push(Event::DownloadFailed {
                    reason: "the SM-DS has no event".into(),
                });
                self.report_failure(eim, eim_transaction_id, None, None)?;
                Ok(false)
            }
            Outcome::Failed {
                reason,
                error_response,
            } => {
                self.events.push(Event::DownloadFailed { reason });
                let code = Some(ProfileDownloadErrorReason::UndefinedError);
                self.report_failure(eim, eim_transaction_id, code, error_response)?;
                Ok(false)
            }
            Outcome::Later {
                reason,
                is_attempt,
                open_session,
            } => {
                let attempts = download.attempts.saturating_add(i64::from(is_attempt));
                if attempts >= i64::from(self.config.limits.download_attempts_max) {
                    if let Some((order, transaction_id)) = open_session {
                        // The order stays at the server (SGP.22 v2.5 section 3.0.2).
                        self.cancel(&order, &transaction_id, CancelSessionReason::Timeout)?;
                    }
                    self.events.push(Event::DownloadFailed { reason });
                    let code = Some(ProfileDownloadErrorReason::UndefinedError);
                    self.report_failure(eim, eim_transaction_id, code, None)?;
                    return Ok(false);
                }
                self.events.push(Event::DownloadPostponed { reason });
                if let Some(current) = self.state.downloads.first_mut() {
                    current.attempts = attempts;
                }
                Ok(true)
            }
        }
    }

    /// The result of a session that was interrupted after the eUICC had the whole Profile.
    fn result_of_interrupted(
        &mut self,
        download: &Download,
    ) -> Result<Option<ProfileInstallationResult>, CardError> {
        let Some(transaction_id) = &download.transaction_id else {
            return Ok(None);
        };
        let pending = self.pending_notifications()?;
        Ok(pending
            .into_iter()
            .find_map(|notification| match notification {
                PendingNotification::ProfileInstallationResult(result)
                    if result.profile_installation_result_data.transaction_id
                        == *transaction_id =>
                {
                    Some(result)
                }
                _ => None,
            }))
    }

    /// Follows a trigger to its end: through the events of an SM-DS, and through triggers that answer triggers.
    fn follow(
        &mut self,
        eim: &Contact,
        trigger: &ProfileDownloadTriggerRequest,
    ) -> Result<Outcome, CardError> {
        let followed_max = self.config.limits.followed_max;
        let mut results = Vec::new();
        let mut steps_left = followed_max.saturating_mul(2).max(1);
        let mut orders = match self.order(eim, trigger)? {
            Ok(order) => vec![order],
            Err(reason) => {
                return Ok(Outcome::Failed {
                    reason,
                    error_response: None,
                });
            }
        };
        while let Some(order) = orders.pop() {
            if steps_left == 0 {
                tracing::warn!("an SM-DS or eIM leads from one place to the next");
                break;
            }
            steps_left -= 1;
            let indirect = matches!(order.way, Way::Indirect { .. });
            self.events.push(Event::DownloadStarted { indirect });
            match self.download(&order) {
                Ok(Ended::WithResult(result)) => {
                    if is_success(&result) {
                        self.enable_immediately()?;
                    }
                    results.push((result, indirect));
                }
                Ok(Ended::Events(events)) => orders.extend(events.into_iter().take(followed_max)),
                Ok(Ended::Trigger(None)) => {}
                Ok(Ended::Trigger(Some(next))) => match self.order(eim, &next)? {
                    Ok(order) => orders.push(order),
                    Err(reason) => {
                        return Ok(Outcome::Failed {
                            reason,
                            error_response: None,
                        });
                    }
                },
                // What is installed is reported; an SM-DS keeps its other events.
                Err(Abort::Failed { reason, .. }) if !results.is_empty() => {
                    self.events.push(Event::DownloadFailed { reason });
                }
                Err(Abort::Server { error, .. }) if !results.is_empty() => {
                    self.events.push(Event::DownloadFailed {
                        reason: error.describe(),
                    });
                }
                Err(abort) => return self.end_aborted(&order, abort),
            }
        }
        if results.is_empty() {
            Ok(Outcome::NothingFound)
        } else {
            Ok(Outcome::Results(results))
        }
    }

    fn end_aborted(&mut self, order: &Order, abort: Abort) -> Result<Outcome, CardError> {
        match abort {
            Abort::Card(
                error @ (CardError::Status { .. }
                | CardError::Code { .. }
                | CardError::Malformed { .. }),
            ) => Ok(Outcome::Failed {
                reason: describe(&error),
                error_response: None,
            }),
            Abort::Card(error) => Err(error),
            Abort::Server {
                error,
                open_session,
            } if error.may_pass() => Ok(Outcome::Later {
                reason: error.describe(),
                is_attempt: !matches!(error, ServerError::Pausing),
                open_session: open_session.map(|id| (Box::new(order.clone()), id)),
            }),
            Abort::Server {
                error,
                open_session,
            } => {
                if let Some(transaction_id) = open_session {
                    let reason = CancelSessionReason::UndefinedReason;
                    self.cancel(order, &transaction_id, reason)?;
                }
                Ok(Outcome::Failed {
                    reason: error.describe(),
                    error_response: None,
                })
            }
            Abort::Failed {
                reason,
                error_response,
                cancel,
            } => {
                if let Some((transaction_id, code)) = cancel {
                    self.cancel(order, &transaction_id, code)?;
                }
                Ok(Outcome::Failed {
                    reason,
                    error_response,
                })
            }
        }
    }

    /// Turns a trigger into an order. The error is for people.
    fn order(
        &mut self,
        eim: &Contact,
        trigger: &ProfileDownloadTriggerRequest,
    ) -> Result<Result<Order, String>, CardError> {
        let eim_transaction_id = trigger.eim_transaction_id.clone();
        let through_eim = |address: Option<String>| Way::Indirect {
            eim: Box::new(eim.clone()),
            address,
            eim_transaction_id: eim_transaction_id.clone(),
        };
        let (server, matching_id, smdp_oid) = match &trigger.profile_download_data {
            Some(ProfileDownloadData::ActivationCode(code)) => match ActivationCode::parse(code) {
                Ok(code) => (
                    Server::Smdp {
                        address: code.address,
                    },
                    Some(code.matching_id),
                    code.smdp_oid,
                ),
                Err(problem) => return Ok(Err(problem.to_owned())),
            },
            Some(ProfileDownloadData::ContactDefaultSmdp(_)) => {
                match self.es10().addresses()?.default_dp_address {
                    Some(address) => (Server::Smdp { address }, None, None),
                    None => return Ok(Err("the eUICC has no default SM-DP+ address".to_owned())),
                }
            }
            Some(ProfileDownloadData::ContactSmds(contact)) => {
                let address = match &contact.smds_address {
                    Some(address) => address.clone(),
                    None => self.es10().addresses()?.root_ds_address,
                };
                (Server::Smds { address }, None, None)
            }
            Some(ProfileDownloadData::Unknown(_)) => {
                return Ok(Err("download data of unknown kind".to_owned()));
            }
            None if self.is_for_eim(eim) => {
                let way = through_eim(None);
                return Ok(Ok(Order {
                    way,
                    matching_id: None,
                    smdp_oid: None,
                }));
            }
            None => {
                let addresses = self.es10().addresses()?;
                let server = match addresses.default_dp_address {
                    Some(address) if !address.is_empty() => Server::Smdp { address },
                    _ => Server::Smds {
                        address: addresses.root_ds_address,
                    },
                };
                (server, None, None)
            }
        };
        if !address::is_address(server.host()) {
            return Ok(Err("the address of the server is none".to_owned()));
        }
        let way = if self.config.is_direct() {
            Way::Direct(server)
        } else if self.config.is_indirect() {
            through_eim(Some(server.host().to_owned()))
        } else {
            return Ok(Err(
                "the IPA is configured for no way of downloading".to_owned()
            ));
        };
        Ok(Ok(Order {
            way,
            matching_id,
            smdp_oid,
        }))
    }

    /// A trigger without download data: the eIM holds them, if it and the IPA are set up that way.
    fn is_for_eim(&self, eim: &Contact) -> bool {
        self.config.is_indirect()
            && self
                .config
                .features
                .contains(IpaFeatures::EIM_DOWNLOAD_DATA_HANDLING)
            && (eim.configuration.indirect_profile_download.is_some() || !self.config.is_direct())
    }

    /// ES10b.ImmediateEnable, right after a download. The eUICC refuses where it is not configured.
    fn enable_immediately(&mut self) -> Result<(), CardError> {
        if !self.config.immediate_enable {
            return Ok(());
        }
        let refresh = self.config.refresh;
        let resets_before = self.volatile.session.resets();
        match self.es10().immediate_enable(refresh) {
            Ok(ImmediateEnableResult::Ok) => {
                let eims = self.contacts()?;
                self.state.rollback = None;
                self.state.fallback_since_ms = None;
                self.note_state_change(&eims, None, StateChangeCause::ImmediateEnableProfile);
                self.events.push(Event::EnabledImmediately);
                self.save();
                self.after_profile_change(resets_before)
            }
            Ok(code) => {
                tracing::debug!(%code, "the Profile is not enabled immediately");
                Ok(())
            }
            Err(CardError::Status { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn note_result(&mut self, result: &ProfileInstallationResult) {
        let data = &result.profile_installation_result_data;
        self.events.push(Event::DownloadEnded {
            installed: is_success(result),
            iccid: data.notification_metadata.iccid,
        });
    }

    fn report_result(
        &mut self,
        eim: &Contact,
        eim_transaction_id: Option<TransactionId>,
        result: ProfileInstallationResult,
    ) -> Result<(), CardError> {
        let data = ProfileDownloadTriggerResultData::ProfileInstallationResult(result);
        self.report_trigger_result(eim, eim_transaction_id, data)
    }

    fn report_failure(
        &mut self,
        eim: &Contact,
        eim_transaction_id: Option<TransactionId>,
        reason: Option<ProfileDownloadErrorReason>,
        error_response: Option<Vec<u8>>,
    ) -> Result<(), CardError> {
        let error = ProfileDownloadError {
            profile_download_error_reason: reason,
            error_response: error_response.map(Octets),
            extensions: Default::default(),
        };
        let data = ProfileDownloadTriggerResultData::ProfileDownloadError(error);
        self.report_trigger_result(eim, eim_transaction_id, data)
    }

    /// By HandleNotification, to which there is no answer (SGP.32 v1.2 section 3.2.3.1).
    fn report_trigger_result(
        &mut self,
        eim: &Contact,
        eim_transaction_id: Option<TransactionId>,
        profile_download_trigger_result_data: ProfileDownloadTriggerResultData,
    ) -> Result<(), CardError> {
        let result = ProfileDownloadTriggerResult {
            eim_transaction_id,
            profile_download_trigger_result_data,
            extensions: Default::default(),
        };
        let message =
            self.result_message(EimPackageResult::ProfileDownloadTriggerResult(result))?;
        let encoded = message.to_der();
        let notification = HandleNotificationEsipa::ProvideEimPackageResult(message);
        let eim_id = eim.eim_id().clone();
        if self
            .call_eim(eim, &Request::HandleNotification(notification))
            .is_ok()
        {
            self.events.push(Event::ResultDelivered { eim_id });
        } else {
            self.keep_unsent(&eim_id, encoded, true);
            self.events.push(Event::ResultKept { eim_id });
        }
        Ok(())
    }
}

fn is_success(result: &ProfileInstallationResult) -> bool {
    matches!(
        result.profile_installation_result_data.final_result,
        FinalResult::SuccessResult(_)
    )
}
