//! What an IPA states about its device, and the eIM's own questions.

use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{IpaEuiccData, IpaEuiccDataRequest, IpaEuiccDataResponse};
use serde_json::json;

use super::{Acknowledged, Refusal};
use crate::actor::Actor;
use crate::presence::Question;
use crate::reports::ReportError;
use crate::tables::{devices, operations};
use crate::verification::Disbelief;
use crate::{ConnectionId, Eim, Operation, OperationState};
use intent::command::{self, Command, DataItem};

impl Eim {
    pub(super) async fn take_device_data(
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
    pub(super) async fn take_stated(
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
        self.tell_soon(eid).await?;
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

    /// Tells the authority at once of what was just learnt. If it does not answer, it is told later.
    async fn tell_soon(&self, eid: Eid) -> Result<(), Refusal> {
        let device = self.managed(eid)?;
        if !device.is_association_due(self.now_ms()) {
            return Ok(());
        }
        match self.tell_association(&device).await {
            Ok(_) | Err(ReportError::Authority(_)) => Ok(()),
            Err(ReportError::Storage(error)) => Err(error.into()),
        }
    }

    pub(super) fn expect_lost_result(&self, operation: &Operation) {
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
}

const LOST: &str = "the eUICC has used this counter and keeps no result for it: the package was executed and its \
     result was lost, or another package went first";
