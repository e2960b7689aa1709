//! eIM Packages: retrieval, execution by the eUICC, delivery of results (SGP.32 v1.2 sections 3.1.1 and 3.3.1).

use rsp::binding::esipa::{Request, Response};
use rsp::der::{Element, Null, Octets};
use rsp::ids::TransactionId;
use rsp::sgp32::{
    AddEimResult, DeleteEimResult, DeleteProfileResult, DisableProfileResult, EimId,
    EimPackageError, EimPackageResult, EimPackageResultErrorCode, EimPackageResultResponseError,
    EnableProfileResult, EprAndNotifications, EuiccPackage, EuiccPackageRequest,
    EuiccPackageResult, EuiccResultData, GetEimPackageRequest, GetEimPackageResponse,
    HandleNotificationEsipa, IpaEuiccDataResponse, ProvideEimPackageResult,
    ProvideEimPackageResultResponse, Psmo, SetFallbackAttributeResult, StateChangeCause,
    UnsetFallbackAttributeResult, UpdateEimResult,
};

use crate::card::{CardError, package_result};
use crate::client::{Contact, ServerError};
use crate::engine::Engine;
use crate::event::Event;
use crate::notifications::sequence_number;
use crate::salvage::damaged_package;
use crate::state::RollbackWatch;

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provided {
    /// The eIM processed it.
    Accepted,
    /// The eIM answered that it did not process it.
    Refused,
    /// There is no answer.
    Failed,
}

/// What the eUICC said to a package.
pub(crate) enum Loaded {
    Result(EuiccPackageResult),
    Unusable(EimPackageResultErrorCode),
}

/// What a result says about the eUICC.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Of the result, if the eUICC keeps it.
    pub(crate) sequence_number: Option<i64>,
    /// The eIM named in it.
    pub(crate) eim_id: Option<EimId>,
    /// There are results of Profile State Management Operations in it.
    pub(crate) is_about_profiles: bool,
    /// A Profile was enabled.
    pub(crate) was_enabled: bool,
    /// Another Profile is enabled than before, or none.
    pub(crate) enabled_changed: bool,
    /// Profiles or their attributes changed, or eIMs did.
    pub(crate) state_changed: bool,
    /// eIMs changed.
    pub(crate) eims_changed: bool,
}

impl Engine<'_> {
    /// Takes packages from one eIM until it has no more, or cannot be reached.
    pub(crate) fn retrieve(&mut self, eim: &Contact, eims: &[Contact]) -> Result<(), CardError> {
        for _ in 0..self.config.limits.packages_per_session_max {
            let go_on = match self.next_package(eim)? {
                Err(error) => self.refuse_damaged(eim, &error)?,
                Ok(GetEimPackageResponse::EuiccPackageRequest(request)) => {
                    self.execute(eim, eims, &request)?
                }
                Ok(GetEimPackageResponse::IpaEuiccDataRequest(request)) => {
                    let response = self.collect_data(Some(eim.eim_id()), &request)?;
                    self.report(eim, EimPackageResult::IpaEuiccDataResponse(response))?
                }
                Ok(GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger)) => {
                    self.take_trigger(eim.eim_id(), trigger);
                    self.resume_downloads(eims)?;
                    // While a download has to wait, the eIM would only send its trigger again.
                    let downloads = &self.state.downloads;
                    let is_waiting = downloads.iter().any(|it| it.eim_id == *eim.eim_id());
                    !is_waiting && !self.is_pausing(&eim.key)
                }
                Ok(GetEimPackageResponse::EimPackageError(
                    EimPackageError::NoEimPackageAvailable,
                )) => {
                    return Ok(());
                }
                Ok(GetEimPackageResponse::EimPackageError(code)) => {
                    self.pause(&eim.key, None, &format!("GetEimPackage: {code}"));
                    return Ok(());
                }
                Ok(GetEimPackageResponse::Unknown(_)) => {
                    self.refuse(eim, EimPackageResultErrorCode::UnknownPackage, None)?
                }
            };
            if !go_on || self.volatile.configuration_changed || self.state.rollback.is_some() {
                return Ok(());
            }
        }
        tracing::debug!(eim = %eim.eim_id(), "more packages than one session takes");
        Ok(())
    }

    fn next_package(
        &mut self,
        eim: &Contact,
    ) -> Result<Result<GetEimPackageResponse, ServerError>, CardError> {
        let cause = self.state.state_change(eim.eim_id());
        let request = Request::GetEimPackage(GetEimPackageRequest {
            eid_value: self.eid()?.to_field(),
            notify_state_change: cause.map(|_| Null),
            state_change_cause: cause,
            r_plmn: self.config.last_plmn.map(|plmn| Octets(plmn.to_vec())),
            extensions: Default::default(),
        });
        let answer = self.call_eim(eim, &request);
        if let (Ok(_), Some(cause)) = (&answer, cause) {
            self.state.forget_state_change(eim.eim_id());
            self.events.push(Event::StateChangeReported {
                eim_id: eim.eim_id().clone(),
                cause,
            });
        }
        Ok(answer.map(|answer| match answer {
            Response::GetEimPackage(response) => response,
            _ => GetEimPackageResponse::EimPackageError(EimPackageError::UndefinedError),
        }))
    }

    /// Answers a package that cannot be read. Without a package, or without an answer at all, there is nothing to answer.
    fn refuse_damaged(&mut self, eim: &Contact, error: &ServerError) -> Result<bool, CardError> {
        let ServerError::Binding { body, .. } = error else {
            return Ok(false);
        };
        let Some(damaged) = damaged_package(self.config.esipa_binding, body) else {
            return Ok(false);
        };
        self.refuse(
            eim,
            EimPackageResultErrorCode::InvalidPackageFormat,
            damaged.eim_transaction_id,
        )
    }

    fn refuse(
        &mut self,
        eim: &Contact,
        code: EimPackageResultErrorCode,
        eim_transaction_id: Option<TransactionId>,
    ) -> Result<bool, CardError> {
        self.events.push(Event::PackageUnusable {
            eim_id: eim.eim_id().clone(),
        });
        let error = EimPackageResultResponseError {
            eim_transaction_id,
            eim_package_result_error_code: code,
            extensions: Default::default(),
        };
        self.report(eim, EimPackageResult::EimPackageResultResponseError(error))
    }

    /// Delivers a report of the IPA itself, and keeps it if there is no answer. What the eIM refuses it would refuse again.
    /// Whether it was delivered.
    pub(crate) fn report(
        &mut self,
        eim: &Contact,
        result: EimPackageResult,
    ) -> Result<bool, CardError> {
        let provided = self.provide(eim, result.clone())?;
        if provided == Provided::Accepted {
            self.events.push(Event::ResultDelivered {
                eim_id: eim.eim_id().clone(),
            });
            return Ok(true);
        }
        if provided == Provided::Failed {
            self.events.push(Event::ResultKept {
                eim_id: eim.eim_id().clone(),
            });
            let message = self.result_message(result)?;
            self.keep_unsent(eim.eim_id(), message.to_der(), false);
        }
        Ok(false)
    }

    pub(crate) fn result_message(
        &mut self,
        eim_package_result: EimPackageResult,
    ) -> Result<ProvideEimPackageResult, CardError> {
        Ok(ProvideEimPackageResult {
            eid_value: Some(self.eid()?.to_field()),
            eim_package_result,
            extensions: Default::default(),
        })
    }

    /// ProvideEimPackageResult, and removal of what the eIM acknowledges.
    pub(crate) fn provide(
        &mut self,
        eim: &Contact,
        result: EimPackageResult,
    ) -> Result<Provided, CardError> {
        let message = self.result_message(result)?;
        self.provide_message(eim, message)
    }

    fn provide_message(
        &mut self,
        eim: &Contact,
        message: ProvideEimPackageResult,
    ) -> Result<Provided, CardError> {
        use ProvideEimPackageResultResponse as Answer;
        let carried = carried_numbers(&message.eim_package_result);
        match self.call_eim(eim, &Request::ProvideEimPackageResult(message)) {
            Ok(Response::ProvideEimPackageResult(Answer::EimAcknowledgements(list))) => {
                let numbers: Vec<i64> = list.iter().map(|number| number.0).collect();
                self.acknowledge(Some(eim.eim_id()), &numbers, &carried)?;
                Ok(Provided::Accepted)
            }
            Ok(Response::ProvideEimPackageResult(Answer::EmptyResponse(_))) => {
                Ok(Provided::Accepted)
            }
            Ok(Response::ProvideEimPackageResult(Answer::ProvideEimPackageResultError(code))) => {
                self.pause(&eim.key, None, &format!("ProvideEimPackageResult: {code}"));
                Ok(Provided::Refused)
            }
            Ok(_) => {
                self.pause(
                    &eim.key,
                    None,
                    "ProvideEimPackageResult: an answer of unknown kind",
                );
                Ok(Provided::Refused)
            }
            Err(_) => Ok(Provided::Failed),
        }
    }

    /// Lets the eUICC execute a package and delivers the result. Whether to go on with this eIM.
    fn execute(
        &mut self,
        eim: &Contact,
        eims: &[Contact],
        request: &EuiccPackageRequest,
    ) -> Result<bool, CardError> {
        match self.load_package(eim.eim_id(), eims, request)? {
            Loaded::Unusable(code) => {
                let eim_transaction_id = request.euicc_package_signed.eim_transaction_id.clone();
                self.refuse(eim, code, eim_transaction_id)
            }
            // The result has to prove that the new Profile works.
            Loaded::Result(_) if self.state.rollback.is_some() => {
                Ok(self.settle_rollback(eims)? && !self.is_pausing(&eim.key))
            }
            Loaded::Result(result) => Ok(self.deliver_result(eim, result)? == Provided::Accepted),
        }
    }

    /// ES10b.LoadEuiccPackage, with all that follows from the result but its delivery.
    pub(crate) fn load_package(
        &mut self,
        acting: &EimId,
        eims: &[Contact],
        request: &EuiccPackageRequest,
    ) -> Result<Loaded, CardError> {
        // Any package takes an earlier grant away. A new one is remembered before it can be needed.
        self.state.rollback = may_roll_back(request).then(|| RollbackWatch {
            eim_id: acting.clone(),
            since_ms: self.now_ms,
            attempts: 0,
            sequence_number: None,
            last_attempt_ms: None,
            extensions: Default::default(),
        });
        self.save();
        let resets_before = self.volatile.session.resets();
        let answer = match self.es10().load_euicc_package(&request.to_der()) {
            Ok(answer) => answer,
            Err(CardError::Status { status, .. }) => {
                self.state.rollback = None;
                return Ok(Loaded::Unusable(match status {
                    0x6A80 => EimPackageResultErrorCode::InvalidPackageFormat,
                    _ => EimPackageResultErrorCode::UndefinedError,
                }));
            }
            Err(error) => return Err(error),
        };
        let result = match package_result(&answer) {
            Ok(result) => result,
            Err(error) => {
                tracing::warn!(%error, "the eUICC answered a package with something else than a result");
                self.state.rollback = None;
                return Ok(Loaded::Unusable(EimPackageResultErrorCode::UndefinedError));
            }
        };
        let effects = effects(&result);
        self.events.push(Event::PackageLoaded {
            eim_id: acting.clone(),
            sequence_number: effects.sequence_number,
        });
        match (&mut self.state.rollback, effects.was_enabled) {
            (Some(watch), true) => watch.sequence_number = effects.sequence_number,
            _ => self.state.rollback = None,
        }
        if effects.was_enabled {
            self.state.fallback_since_ms = None;
            self.state.connectivity_lost_since_ms = None;
        }
        if effects.state_changed {
            self.note_state_change(eims, Some(acting), StateChangeCause::OtherEim);
        }
        if effects.eims_changed {
            self.volatile.configuration_changed = true;
            // An eIM that deletes itself is to hear of its success all the same.
            if let Some(eim) = eims.iter().find(|eim| eim.eim_id() == acting) {
                self.state.add_former_eim(&eim.configuration);
            }
        }
        self.save();
        if effects.enabled_changed {
            self.after_profile_change(resets_before)?;
        }
        Ok(Loaded::Result(result))
    }

    /// Delivers a package result; results about Profiles with the Notifications that wait.
    pub(crate) fn deliver_result(
        &mut self,
        eim: &Contact,
        result: EuiccPackageResult,
    ) -> Result<Provided, CardError> {
        let effects = effects(&result);
        let is_kept_by_euicc = effects.sequence_number.is_some();
        let message = self.with_notifications(result, effects.is_about_profiles)?;
        if !is_kept_by_euicc {
            return Ok(match self.report(eim, message)? {
                true => Provided::Accepted,
                false => Provided::Failed,
            });
        }
        let provided = self.provide(eim, message)?;
        let eim_id = eim.eim_id().clone();
        self.events.push(match provided {
            Provided::Accepted => Event::ResultDelivered { eim_id },
            Provided::Refused | Provided::Failed => Event::ResultKept { eim_id },
        });
        Ok(provided)
    }

    pub(crate) fn with_notifications(
        &mut self,
        euicc_package_result: EuiccPackageResult,
        is_about_profiles: bool,
    ) -> Result<EimPackageResult, CardError> {
        let notification_list = if is_about_profiles {
            self.notifications_to_attach()?
        } else {
            Vec::new()
        };
        if notification_list.is_empty() {
            return Ok(EimPackageResult::EuiccPackageResult(euicc_package_result));
        }
        Ok(EimPackageResult::EprAndNotifications(EprAndNotifications {
            euicc_package_result,
            notification_list,
            extensions: Default::default(),
        }))
    }

    /// Results of earlier sessions that no eIM has acknowledged.
    pub(crate) fn deliver_kept_results(&mut self, eims: &[Contact]) -> Result<(), CardError> {
        let kept = self.kept_results()?;
        let results = kept.iter().filter_map(|result| effects(result).eim_id);
        let reports = self.state.unsent.iter().map(|unsent| unsent.eim_id.clone());
        let waiting: Vec<EimId> = results.chain(reports).collect();
        self.state
            .former_eims
            .retain(|former| waiting.contains(&former.eim_id));
        for result in kept {
            let Some(eim_id) = effects(&result).eim_id else {
                continue;
            };
            let contact = eims.iter().find(|eim| *eim.eim_id() == eim_id);
            if let Some(eim) = contact.filter(|eim| !self.is_pausing(&eim.key))
                && self.deliver_result(eim, result)? == Provided::Refused
            {
                self.overlook_refusal(eim);
            }
        }
        Ok(())
    }

    /// The package results in the eUICC; none where it does not know the function.
    pub(crate) fn kept_results(&mut self) -> Result<Vec<EuiccPackageResult>, CardError> {
        match self.es10().package_results() {
            Err(CardError::Status { .. } | CardError::Code { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Reports of earlier sessions that could not be delivered.
    pub(crate) fn deliver_unsent(&mut self, eims: &[Contact]) -> Result<(), CardError> {
        for unsent in std::mem::take(&mut self.state.unsent) {
            let contact = eims.iter().find(|eim| *eim.eim_id() == unsent.eim_id);
            let Some(eim) = contact.filter(|eim| !self.is_pausing(&eim.key)) else {
                self.state.unsent.push(unsent);
                continue;
            };
            let Ok(message) = ProvideEimPackageResult::from_der(&unsent.message) else {
                continue;
            };
            let provided = if unsent.without_answer.is_some() {
                let notification = HandleNotificationEsipa::ProvideEimPackageResult(message);
                match self.call_eim(eim, &Request::HandleNotification(notification)) {
                    Ok(_) => Provided::Accepted,
                    Err(_) => Provided::Failed,
                }
            } else {
                self.provide_message(eim, message)?
            };
            match provided {
                Provided::Accepted => self.events.push(Event::ResultDelivered {
                    eim_id: unsent.eim_id,
                }),
                Provided::Refused => self.overlook_refusal(eim),
                Provided::Failed => self.state.unsent.push(unsent),
            }
        }
        self.save();
        Ok(())
    }

    /// An eIM that refuses something old is asked for packages all the same: only they can bring the two back together.
    fn overlook_refusal(&mut self, eim: &Contact) {
        self.state.forget_failures(&eim.key);
    }
}

fn may_roll_back(request: &EuiccPackageRequest) -> bool {
    match &request.euicc_package_signed.euicc_package {
        EuiccPackage::PsmoList(operations) => operations.iter().any(
            |operation| matches!(operation, Psmo::Enable(enable) if enable.rollback_flag.is_some()),
        ),
        _ => false,
    }
}

/// Reads what a result says. Nothing here is verified: the eUICC is the IPA's own card.
pub(crate) fn effects(result: &EuiccPackageResult) -> Effects {
    let signed = match result {
        EuiccPackageResult::EuiccPackageResultSigned(signed) => {
            &signed.euicc_package_result_data_signed
        }
        EuiccPackageResult::EuiccPackageErrorSigned(error) => {
            let eim_id = error.euicc_package_error_data_signed.eim_id.clone();
            return Effects {
                eim_id: Some(eim_id),
                ..Effects::default()
            };
        }
        EuiccPackageResult::EuiccPackageErrorUnsigned(error) => {
            return Effects {
                eim_id: Some(error.eim_id.clone()),
                ..Effects::default()
            };
        }
        EuiccPackageResult::Unknown(_) => return Effects::default(),
    };
    let mut effects = Effects {
        sequence_number: Some(signed.seq_number),
        eim_id: Some(signed.eim_id.clone()),
        ..Effects::default()
    };
    for outcome in &signed.euicc_result {
        add_effect(&mut effects, outcome);
    }
    effects
}

fn add_effect(effects: &mut Effects, outcome: &EuiccResultData) {
    use EuiccResultData as D;
    let (profiles_changed, eims_changed) = match outcome {
        D::EnableResult(EnableProfileResult::Ok) => {
            effects.was_enabled = true;
            effects.enabled_changed = true;
            (true, false)
        }
        D::DisableResult(DisableProfileResult::Ok) => {
            effects.enabled_changed = true;
            (true, false)
        }
        D::DeleteResult(DeleteProfileResult::Ok)
        | D::SetFallbackAttributeResult(SetFallbackAttributeResult::Ok)
        | D::UnsetFallbackAttributeResult(UnsetFallbackAttributeResult::Ok) => (true, false),
        D::RollbackResult(_) => (true, false),
        D::AddEimResult(AddEimResult::AssociationToken(_))
        | D::DeleteEimResult(DeleteEimResult::Ok | DeleteEimResult::LastEimDeleted)
        | D::UpdateEimResult(UpdateEimResult::Ok) => (false, true),
        D::AddEimResult(AddEimResult::AddEimResultCode(code)) => (false, code.number() == 0),
        _ => (false, false),
    };
    effects.state_changed |= profiles_changed | eims_changed;
    effects.eims_changed |= eims_changed;
    effects.is_about_profiles |= matches!(
        outcome,
        D::EnableResult(_)
            | D::DisableResult(_)
            | D::DeleteResult(_)
            | D::ListProfileInfoResult(_)
            | D::GetRatResult(_)
            | D::ConfigureImmediateEnableResult(_)
            | D::RollbackResult(_)
            | D::SetFallbackAttributeResult(_)
            | D::UnsetFallbackAttributeResult(_)
            | D::SetDefaultDpAddressResult(_)
    );
}

/// Numbers of the results and Notifications in a message: what its acknowledgement may name.
fn carried_numbers(result: &EimPackageResult) -> Vec<i64> {
    match result {
        EimPackageResult::EuiccPackageResult(result) => {
            effects(result).sequence_number.into_iter().collect()
        }
        EimPackageResult::EprAndNotifications(both) => effects(&both.euicc_package_result)
            .sequence_number
            .into_iter()
            .chain(both.notification_list.iter().filter_map(sequence_number))
            .collect(),
        EimPackageResult::IpaEuiccDataResponse(IpaEuiccDataResponse::IpaEuiccData(data)) => {
            let results = data.euicc_package_result_list.iter().flatten();
            let notifications = data.notifications_list.iter().flatten();
            results
                .filter_map(|result| effects(result).sequence_number)
                .chain(notifications.filter_map(sequence_number))
                .collect()
        }
        _ => Vec::new(),
    }
}
