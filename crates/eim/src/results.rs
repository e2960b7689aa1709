//! What comes back from devices, and how much of it is believed.
//!
//! | what | believed when |
//! | --- | --- |
//! | result or error signed by the eUICC | the signature verifies over the octets received and the token, and eimId, counter and transaction id are those of the operation |
//! | the same result once more | its octets are those already stored: acknowledged again |
//! | unsigned refusal of a package | never; it is counted, and the package is delivered again |
//! | data and errors stated by the IPA | the connection has shown that the eUICC is behind it |

use rsp::der::Element;
use rsp::ids::{Eid, EidOctets, TransactionId};
use rsp::sgp22::{FinalResult, ProfileInstallationResult};
use rsp::sgp32::{
    EimPackageResult, EuiccPackageErrorCode, EuiccPackageErrorSigned, EuiccPackageErrorUnsigned,
    EuiccPackageResult, EuiccPackageResultSigned, IpaEuiccData, IpaEuiccDataRequest,
    IpaEuiccDataResponse, ProfileDownloadError, ProfileDownloadTriggerResult,
    ProfileDownloadTriggerResultData, ProvideEimPackageResultError,
};
use serde_json::json;

use crate::actor::Actor;
use crate::command::{self, Command, DataItem};
use crate::notifications::NotificationRefusal;
use crate::presence::Question;
use crate::tables::{devices, inventory, operations};
use crate::verification::Disbelief;
use crate::{
    ConnectionId, Device, DeviceState, Eim, Operation, OperationState, Outcome, Peer, StorageError,
    outcome,
};

/// Sequence numbers that the IPA may remove from the eUICC's list.
pub(crate) type Acknowledged = Vec<i64>;

/// Why something that came back is not accepted. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it belongs to no operation known here")]
    UnknownOperation,
    #[error("it belongs to an operation of another device")]
    OtherDevice,
    #[error("no device with this EID is managed here")]
    UnknownDevice,
    #[error("it was made for another eIM")]
    OtherEim,
    #[error("its counter is not that of the package")]
    Counter,
    #[error("its sequence number is not above the last one accepted: replayed")]
    Replayed,
    #[error("the operation has ended otherwise")]
    Ended,
    #[error("the connection has not shown that the eUICC is behind it")]
    NotProven,
    #[error("an alternative that this version does not know")]
    Unknown,
    #[error("it is not believed")]
    Disbelief(#[from] Disbelief),
    #[error("the notification is not accepted")]
    Notification(#[from] NotificationRefusal),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<store::SqlError> for Refusal {
    fn from(error: store::SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for Refusal {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

impl Refusal {
    /// The code of ProvideEimPackageResultResponse.
    pub(crate) fn code(&self) -> ProvideEimPackageResultError {
        match self {
            Self::UnknownDevice => ProvideEimPackageResultError::EidNotFound,
            Self::OtherDevice => ProvideEimPackageResultError::InvalidEid,
            _ => ProvideEimPackageResultError::UndefinedError,
        }
    }
}

/// Unsigned refusals after which an eUICC Package is given up, if the connection is proven.
const UNUSABLE_MAX: i64 = 3;

/// Tokens tried for one operation of a device whose token is not proved. Each try uses a counter
/// value, and anybody who knows the EID can cause one: register devices with their token.
const TOKENS_TRIED_MAX: i64 = 5;

impl Eim {
    /// Takes in the result of an eIM Package.
    pub(crate) async fn take_result(
        &self,
        claimed: Option<EidOctets>,
        result: &EimPackageResult,
        peer: &Peer,
    ) -> Result<Acknowledged, Refusal> {
        let claimed = claimed
            .map(|field| Eid::try_from(field).map_err(|_| Refusal::UnknownDevice))
            .transpose()?;
        match result {
            EimPackageResult::EuiccPackageResult(result) => {
                self.take_package_result(claimed, result, peer.connection)
                    .await
            }
            EimPackageResult::EprAndNotifications(both) => {
                let mut acknowledged = self
                    .take_package_result(claimed, &both.euicc_package_result, peer.connection)
                    .await?;
                acknowledged.extend(
                    self.take_notifications(&both.notification_list, peer.connection)
                        .await?,
                );
                Ok(acknowledged)
            }
            EimPackageResult::IpaEuiccDataResponse(response) => {
                self.take_device_data(claimed, response, peer.connection)
                    .await
            }
            EimPackageResult::ProfileDownloadTriggerResult(result) => {
                self.take_download_result(claimed, result, peer.connection)
                    .await
            }
            EimPackageResult::EimPackageResultResponseError(error) => {
                let code = error.eim_package_result_error_code.to_string();
                let operation =
                    self.find(claimed, error.eim_transaction_id.as_ref(), peer.connection)?;
                self.take_unusable(&operation, &code, peer.connection).await
            }
            EimPackageResult::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    /// Takes in what an eUICC answered to a package.
    pub(crate) async fn take_package_result(
        &self,
        claimed: Option<Eid>,
        result: &EuiccPackageResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        match result {
            EuiccPackageResult::EuiccPackageResultSigned(signed) => {
                self.take_signed_result(claimed, signed, result, connection)
                    .await
            }
            EuiccPackageResult::EuiccPackageErrorSigned(signed) => {
                self.take_signed_error(claimed, signed, result, connection)
                    .await
            }
            EuiccPackageResult::EuiccPackageErrorUnsigned(error) => {
                self.take_unsigned_error(claimed, error, connection).await
            }
            EuiccPackageResult::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    /// The operation that an answer names, else the one in flight on the device that sent it.
    fn find(
        &self,
        claimed: Option<Eid>,
        id: Option<&TransactionId>,
        connection: ConnectionId,
    ) -> Result<Operation, Refusal> {
        let operation = self.read(|tx| -> Result<_, Refusal> {
            match (id, claimed.or_else(|| self.presence.speaks_for(connection))) {
                (Some(id), _) => Ok(operations::find_by_transaction(tx, id)?),
                (None, Some(eid)) => Ok(operations::in_flight(tx, eid)?),
                (None, None) => Ok(None),
            }
        })?;
        let operation = operation.ok_or_else(|| self.unknown(claimed))?;
        if claimed.is_some_and(|eid| eid != operation.eid) {
            return Err(Refusal::OtherDevice);
        }
        Ok(operation)
    }

    fn unknown(&self, claimed: Option<Eid>) -> Refusal {
        match claimed.map(|eid| self.managed(eid)) {
            Some(Err(_)) => Refusal::UnknownDevice,
            _ => Refusal::UnknownOperation,
        }
    }

    pub(crate) fn managed(&self, eid: Eid) -> Result<Device, Refusal> {
        self.read(|tx| -> Result<_, Refusal> {
            devices::find(tx, eid)?
                .filter(|device| device.state != DeviceState::Retired)
                .ok_or(Refusal::UnknownDevice)
        })
    }

    async fn take_signed_result(
        &self,
        claimed: Option<Eid>,
        signed: &EuiccPackageResultSigned,
        whole: &EuiccPackageResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let data = &signed.euicc_package_result_data_signed;
        let operation = self.find(claimed, data.eim_transaction_id.as_ref(), connection)?;
        let device = self.managed(operation.eid)?;
        if data.eim_id != self.config.eim_id {
            return Err(Refusal::OtherEim);
        }
        if operation.counter != Some(data.counter_value) {
            return Err(Refusal::Counter);
        }
        self.verify_result(&device, signed)?;
        let received = whole.to_der();
        if operation.result.as_ref() == Some(&received) {
            return Ok(vec![data.seq_number]);
        }
        let results = data.euicc_result.clone();
        let (state, outcome) = match operation.state {
            OperationState::InFlight | OperationState::Expired => {
                let (state, outcome) = outcome::of_results(&operation.commands, &results);
                if outcome::is_rollback(&results) {
                    rolled_back(outcome)
                } else {
                    (state, outcome)
                }
            }
            OperationState::Done if outcome::is_rollback(&results) => {
                rolled_back(outcome::of_results(&operation.commands, &results).1)
            }
            _ => return Err(Refusal::Ended),
        };
        self.record_result(
            &operation,
            state,
            outcome,
            results,
            data.seq_number,
            received,
        )
        .await?;
        if let Some(id) = &operation.eim_transaction_id {
            self.presence.answered(connection, operation.eid, id);
        }
        Ok(vec![data.seq_number])
    }

    async fn record_result(
        &self,
        operation: &Operation,
        state: OperationState,
        outcome: Outcome,
        results: Vec<rsp::sgp32::EuiccResultData>,
        seq_number: i64,
        received: Vec<u8>,
    ) -> Result<(), Refusal> {
        let (eid, id, at) = (operation.eid, operation.id, self.now_ms());
        let expected = operation.state;
        let commands = operation.commands.clone();
        let recorded = self.event(
            eid,
            &Actor::device(eid),
            "result-accepted",
            json!({ "operation": id, "state": state, "seq_number": seq_number, "outcome": outcome }),
        );
        // After a rollback the old Profile is enabled again; which one that is, only a list tells.
        let refresh = (state == OperationState::RolledBack).then(|| {
            self.draft_operation(eid, &Actor::system("rollback"), &[Command::ListProfiles])
        });
        self.change(eid, move |tx| -> Result<(), Refusal> {
            if operations::find(tx, id)?.is_none_or(|now| now.state != expected) {
                return Err(Refusal::Ended);
            }
            if !devices::accept_seq_number(tx, eid, seq_number, at)? {
                return Err(Refusal::Replayed);
            }
            operations::finish(tx, id, state, &outcome, Some(&received), at)?;
            if state != OperationState::RolledBack {
                outcome::apply(tx, eid, &commands, &results, at)?;
            }
            if let Some(refresh) = &refresh {
                refresh.insert_once(tx)?;
            }
            recorded.append(tx)?;
            Ok(())
        })
        .await
    }

    async fn take_signed_error(
        &self,
        claimed: Option<Eid>,
        signed: &EuiccPackageErrorSigned,
        whole: &EuiccPackageResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let data = &signed.euicc_package_error_data_signed;
        let operation = self.find(claimed, data.eim_transaction_id.as_ref(), connection)?;
        let device = self.managed(operation.eid)?;
        if data.eim_id != self.config.eim_id {
            return Err(Refusal::OtherEim);
        }
        if operation.counter != Some(data.counter_value) {
            return Err(Refusal::Counter);
        }
        self.verify_error(&device, signed)?;
        if operation.state != OperationState::InFlight {
            // Not kept by the eUICC and not acknowledged: hearing it twice changes nothing.
            return Ok(Vec::new());
        }
        if let Some(id) = &operation.eim_transaction_id {
            self.presence.answered(connection, operation.eid, id);
        }
        let code = data.euicc_package_error_code;
        if code == EuiccPackageErrorCode::ReplayError {
            // The counter was used, so the package may well have been executed and its result been
            // lost on the way. The next poll asks for the results that the eUICC keeps.
            self.expect_lost_result(&operation);
            return Ok(Vec::new());
        }
        let (eid, id, at) = (operation.eid, operation.id, self.now_ms());
        let received = whole.to_der();
        let outcome = Outcome {
            summary: format!("refused by the eUICC: {code}"),
            results: Vec::new(),
        };
        let recorded = self.event(
            eid,
            &Actor::device(eid),
            "package-refused",
            json!({ "operation": id, "code": code.to_string() }),
        );
        self.change(eid, move |tx| -> Result<(), Refusal> {
            devices::mark_associated(tx, eid, at)?;
            operations::finish(
                tx,
                id,
                OperationState::Failed,
                &outcome,
                Some(&received),
                at,
            )?;
            recorded.append(tx)?;
            Ok(())
        })
        .await?;
        Ok(Vec::new())
    }

    /// Anybody can say this. It is counted; and while the token of a new device is not proved, it
    /// may tell the token to try.
    async fn take_unsigned_error(
        &self,
        claimed: Option<Eid>,
        error: &EuiccPackageErrorUnsigned,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let operation = self.find(claimed, error.eim_transaction_id.as_ref(), connection)?;
        if operation.state != OperationState::InFlight {
            return Ok(Vec::new());
        }
        let (eid, id, at) = (operation.eid, operation.id, self.now_ms());
        let device = self.managed(eid)?;
        let token = error
            .association_token
            .filter(|token| device.association_token != Some(*token))
            .filter(|_| operation.refusals < TOKENS_TRIED_MAX);
        self.change(eid, move |tx| -> Result<(), Refusal> {
            operations::count_refusal(tx, id)?;
            if let Some(token) = token
                && devices::learn_token(tx, eid, token, at)?
            {
                operations::requeue(tx, id)?;
            }
            Ok(())
        })
        .await?;
        Ok(Vec::new())
    }

    /// The IPA says that it cannot use the package.
    async fn take_unusable(
        &self,
        operation: &Operation,
        code: &str,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        if operation.state != OperationState::InFlight {
            return Ok(Vec::new());
        }
        if !self.may_trust(connection, operation.eid) {
            return Err(Refusal::NotProven);
        }
        let is_unsigned = operation.counter.is_none();
        if is_unsigned || operation.refusals + 1 >= UNUSABLE_MAX {
            let summary = format!("the IPA cannot use the package: {code}");
            self.end(operation, OperationState::Failed, &summary, self.now_ms())
                .await?;
            return Ok(Vec::new());
        }
        let id = operation.id;
        self.change(operation.eid, move |tx| -> Result<(), Refusal> {
            Ok(operations::count_refusal(tx, id)?)
        })
        .await?;
        Ok(Vec::new())
    }

    async fn take_device_data(
        &self,
        claimed: Option<Eid>,
        response: &IpaEuiccDataResponse,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let id = match response {
            IpaEuiccDataResponse::IpaEuiccData(data) => data.eim_transaction_id.as_ref(),
            IpaEuiccDataResponse::IpaEuiccDataResponseError(error) => {
                error.eim_transaction_id.as_ref()
            }
            IpaEuiccDataResponse::Unknown(_) => return Err(Refusal::Unknown),
        };
        if let Some((eid, question)) = id.and_then(|id| self.presence.asked(connection, id)) {
            if claimed.is_some_and(|claimed| claimed != eid) {
                return Err(Refusal::OtherDevice);
            }
            return self.take_answer(eid, question, response, connection).await;
        }
        let operation = self.find(claimed, id, connection)?;
        if !matches!(
            operation.commands.as_slice(),
            [Command::ReadDeviceData { .. }]
        ) {
            return Err(Refusal::UnknownOperation);
        }
        if !self.may_trust(connection, operation.eid) {
            return Err(Refusal::NotProven);
        }
        if operation.state.is_over() {
            return Ok(Vec::new());
        }
        let now = self.now_ms();
        match response {
            IpaEuiccDataResponse::IpaEuiccData(data) => {
                let acknowledged = self.take_stated(operation.eid, data, connection).await?;
                self.end_with(
                    &operation,
                    OperationState::Done,
                    "the device sent its data",
                    response.to_der(),
                )
                .await?;
                Ok(acknowledged)
            }
            IpaEuiccDataResponse::IpaEuiccDataResponseError(error) => {
                let summary = format!("the IPA answered {}", error.ipa_euicc_data_error_code);
                self.end(&operation, OperationState::Failed, &summary, now)
                    .await?;
                Ok(Vec::new())
            }
            IpaEuiccDataResponse::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    /// The answer to a question of the eIM's own.
    async fn take_answer(
        &self,
        eid: Eid,
        question: Question,
        response: &IpaEuiccDataResponse,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let IpaEuiccDataResponse::IpaEuiccData(data) = response else {
            return Ok(Vec::new());
        };
        match question {
            Question::Introduction => {
                if self.managed(eid)?.euicc_certificate.is_some() {
                    return Ok(Vec::new());
                }
                self.take_stated(eid, data, connection).await
            }
            Question::LostResult(id) => self.take_lost_result(eid, id, data, connection).await,
        }
    }

    /// Keeps what an IPA stated. Certificates only if they show the EID; results and Notifications
    /// in it prove themselves.
    async fn take_stated(
        &self,
        eid: Eid,
        data: &IpaEuiccData,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let certificates = data
            .euicc_certificate
            .as_ref()
            .zip(data.eum_certificate.as_ref());
        if let Some((euicc, eum)) = certificates {
            self.verify_certificates(eid, euicc.as_der(), eum.as_der())
                .map_err(Disbelief::Certificates)?;
        }
        let certificates =
            certificates.map(|(euicc, eum)| (euicc.as_der().to_vec(), eum.as_der().to_vec()));
        let reported = devices::Reported {
            euicc_info1: data.euicc_info1.as_ref().map(Element::to_der),
            euicc_info2: data.euicc_info2.as_ref().map(Element::to_der),
            ipa_capabilities: data.ipa_capabilities.as_ref().map(Element::to_der),
            device_info: data.device_info.as_ref().map(Element::to_der),
            default_smdp: data.default_smdp_address.clone(),
        };
        let (token, at) = (data.association_token, self.now_ms());
        let stated = self.event(
            eid,
            &Actor::device(eid),
            "device-data-received",
            json!({ "certificates": certificates.is_some() }),
        );
        self.forget_key(eid);
        self.change(eid, move |tx| -> Result<(), Refusal> {
            if let Some((euicc, eum)) = &certificates {
                devices::set_certificates(tx, eid, euicc, eum, at)?;
            }
            devices::set_reported(tx, eid, &reported, at)?;
            if let Some(token) = token {
                devices::learn_token(tx, eid, token, at)?;
            }
            stated.append(tx)?;
            Ok(())
        })
        .await?;
        let mut acknowledged = Vec::new();
        for result in data.euicc_package_result_list.iter().flatten() {
            // Results of other eIMs stand in the same list; they are not ours to acknowledge.
            if let Ok(seq_numbers) =
                Box::pin(self.take_package_result(Some(eid), result, connection)).await
            {
                acknowledged.extend(seq_numbers);
            }
        }
        if let Some(notifications) = &data.notifications_list {
            acknowledged.extend(self.take_notifications(notifications, connection).await?);
        }
        Ok(acknowledged)
    }

    fn expect_lost_result(&self, operation: &Operation) {
        self.downloads
            .lost_results
            .insert(operation.eid, operation.id);
    }

    /// The question for results that the eUICC keeps, when the one of `operation` seems lost.
    pub(crate) fn lost_result_question(
        &self,
        eid: Eid,
        operation: &Operation,
        connection: ConnectionId,
    ) -> Option<IpaEuiccDataRequest> {
        if self.downloads.lost_results.get(&eid) != Some(operation.id)
            || !self.may_trust(connection, eid)
        {
            return None;
        }
        let id = self.parts.entropy.transaction_id();
        self.presence
            .ask(connection, eid, &id, Question::LostResult(operation.id))
            .then(|| command::data_request(&[DataItem::PackageResults], id))
    }

    async fn take_lost_result(
        &self,
        eid: Eid,
        id: uuid::Uuid,
        data: &IpaEuiccData,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let acknowledged = self.take_stated(eid, data, connection).await?;
        self.downloads.lost_results.remove(&eid);
        let operation = self.read(|tx| -> Result<_, Refusal> {
            operations::find(tx, id)?.ok_or(Refusal::UnknownOperation)
        })?;
        if operation.state == OperationState::InFlight {
            self.end(&operation, OperationState::Failed, LOST, self.now_ms())
                .await?;
        }
        Ok(acknowledged)
    }

    async fn take_download_result(
        &self,
        claimed: Option<Eid>,
        result: &ProfileDownloadTriggerResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let operation = self.find(claimed, result.eim_transaction_id.as_ref(), connection)?;
        if !matches!(operation.commands.as_slice(), [Command::Download { .. }]) {
            return Err(Refusal::UnknownOperation);
        }
        match &result.profile_download_trigger_result_data {
            ProfileDownloadTriggerResultData::ProfileInstallationResult(installation) => {
                let device = self.managed(operation.eid)?;
                self.verify_installation(&device, installation)?;
                self.take_installation(&device, &operation, installation, false)
                    .await
            }
            ProfileDownloadTriggerResultData::ProfileDownloadError(error) => {
                if !self.may_trust(connection, operation.eid) {
                    return Err(Refusal::NotProven);
                }
                if !operation.state.is_over() {
                    self.end(
                        &operation,
                        OperationState::Failed,
                        &download_error(error),
                        self.now_ms(),
                    )
                    .await?;
                }
                Ok(Vec::new())
            }
            ProfileDownloadTriggerResultData::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    /// A verified ProfileInstallationResult ends the download it belongs to.
    pub(crate) async fn take_installation(
        &self,
        device: &Device,
        operation: &Operation,
        installation: &ProfileInstallationResult,
        forward: bool,
    ) -> Result<Acknowledged, Refusal> {
        let data = &installation.profile_installation_result_data;
        let seq_number = data.notification_metadata.seq_number;
        let (eid, id, at) = (device.eid, operation.id, self.now_ms());
        let iccid = data.notification_metadata.iccid;
        let (state, summary) = match &data.final_result {
            FinalResult::SuccessResult(_) => {
                (OperationState::Done, "the profile is installed".to_owned())
            }
            FinalResult::ErrorResult(error) => (
                OperationState::Failed,
                format!(
                    "the eUICC did not install it: {} in {}",
                    error.error_reason, error.bpp_command_id
                ),
            ),
            FinalResult::Unknown(_) => return Err(Refusal::Unknown),
        };
        let profile = iccid
            .filter(|_| state == OperationState::Done)
            .map(|iccid| {
                self.downloads
                    .metadata(&data.transaction_id)
                    .filter(|metadata| metadata.iccid == iccid)
                    .map_or_else(
                        || outcome::installed_unseen(iccid, at),
                        |metadata| outcome::installed(&metadata, at),
                    )
            });
        // What the eIM did not see itself, a list tells.
        let refresh = profile
            .as_ref()
            .is_some_and(|profile| profile.class.is_empty())
            .then(|| {
                self.draft_operation(eid, &Actor::system("download"), &[Command::ListProfiles])
            });
        let notification = crate::notifications::of_installation(eid, installation, at);
        let received = installation.to_der();
        let is_over = operation.state.is_over();
        let last_result = device.last_seq_number;
        let recorded = self.event(
            eid,
            &Actor::device(eid),
            "profile-installation-result",
            json!({
                "operation": id,
                "state": state,
                "seq_number": seq_number,
                "iccid": iccid.map(|iccid| iccid.to_string()),
                "summary": summary,
            }),
        );
        let outcome = Outcome {
            summary,
            results: Vec::new(),
        };
        self.change(eid, move |tx| -> Result<(), Refusal> {
            let is_new = crate::tables::notifications::insert(tx, &notification, forward)?;
            if is_over {
                return Ok(());
            }
            // It must be younger than what proved the eUICC's presence before the trigger was sent,
            // or somebody could end this download with the result of an older one.
            if !is_new || seq_number <= last_result {
                return Err(Refusal::Replayed);
            }
            operations::finish(tx, id, state, &outcome, Some(&received), at)?;
            if let Some(profile) = &profile {
                inventory::put_profile(tx, eid, profile)?;
            }
            if let Some(refresh) = &refresh {
                refresh.insert_once(tx)?;
            }
            recorded.append(tx)?;
            Ok(())
        })
        .await?;
        Ok(vec![seq_number])
    }

    async fn end_with(
        &self,
        operation: &Operation,
        state: OperationState,
        summary: &str,
        received: Vec<u8>,
    ) -> Result<(), Refusal> {
        let (eid, id, at) = (operation.eid, operation.id, self.now_ms());
        let outcome = Outcome {
            summary: summary.to_owned(),
            results: Vec::new(),
        };
        let ended = self.event(
            eid,
            &Actor::device(eid),
            "operation-ended",
            json!({ "operation": id, "state": state, "summary": summary }),
        );
        self.change(eid, move |tx| -> Result<(), Refusal> {
            operations::finish(tx, id, state, &outcome, Some(&received), at)?;
            ended.append(tx)?;
            Ok(())
        })
        .await
    }
}

const LOST: &str = "the eUICC has used this counter and keeps no result for it: the package was executed and its \
     result was lost, or another package went first";

fn rolled_back(outcome: Outcome) -> (OperationState, Outcome) {
    let summary = "undone by the device: the new profile had no connectivity".to_owned();
    (OperationState::RolledBack, Outcome { summary, ..outcome })
}

fn download_error(error: &ProfileDownloadError) -> String {
    match &error.profile_download_error_reason {
        Some(reason) => format!("the device did not download it: {reason}"),
        None => "the device did not download it".to_owned(),
    }
}

impl OperationState {
    /// Whether nothing more is expected.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::InFlight)
    }
}
