//! ESipa: one message in, one message out, whatever the transport.

use std::net::IpAddr;

use rsp::binding::esipa::{Request, Response};
use rsp::ids::Eid;
use rsp::sgp32::{
    EimAcknowledgements, EimPackageError, EimPackageResult, EimPackageResultResponseError,
    EmptyResponse, GetEimPackageRequest, GetEimPackageResponse, HandleNotificationEsipa,
    ProvideEimPackageResult, ProvideEimPackageResultResponse, SequenceNumber, StateChangeCause,
    TransferEimPackageRequest, TransferEimPackageResponse,
};
use serde_json::json;

use crate::actor::Actor;
use crate::delivery::{Delivery, DeliveryError};
use crate::operations::OwnRead;
use crate::results::Refusal;
use crate::{ConnectionId, Eim, StorageError};

/// Who sent a message, as far as the transport knows.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The connection it came on.
    pub connection: ConnectionId,
    /// Where from.
    pub address: IpAddr,
}

/// What to answer when a message cannot be answered by one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// A Notification that is not accepted: the IPA keeps it.
    NotAccepted,
    /// Storage or signing does not work at the moment.
    TryLater,
}

impl Eim {
    /// Answers an ESipa message.
    pub async fn handle(&self, request: Request, peer: &Peer) -> Result<Response, Unanswerable> {
        Ok(match request {
            Request::GetEimPackage(request) => {
                Response::GetEimPackage(self.get_eim_package(request, peer).await?)
            }
            Request::ProvideEimPackageResult(result) => {
                Response::ProvideEimPackageResult(self.provide_result(&result, peer).await?)
            }
            Request::HandleNotification(notification) => {
                self.handle_notification(&notification, peer).await?;
                Response::HandleNotification
            }
            Request::InitiateAuthentication(request) => {
                Response::InitiateAuthentication(self.initiate_authentication(request, peer).await)
            }
            Request::AuthenticateClient(request) => {
                Response::AuthenticateClient(self.authenticate_client(request, peer).await)
            }
            Request::GetBoundProfilePackage(request) => Response::GetBoundProfilePackage(
                self.get_bound_profile_package(request, peer).await,
            ),
            Request::CancelSession(request) => {
                Response::CancelSession(self.cancel_session(request, peer).await)
            }
        })
    }

    /// The message that brings the next package to a device over a connection that this side opened
    /// (injection, SGP.32 section 3.1.1.2), or `None` when there is none. What carries it (HTTPS,
    /// CoAP, LwM2M, MQTT) is the caller's business; `peer` names the connection.
    pub async fn package_to_inject(
        &self,
        eid: Eid,
        peer: &Peer,
    ) -> Result<Option<TransferEimPackageRequest>, Unanswerable> {
        use TransferEimPackageRequest as Transfer;
        match self.next_package(eid, peer).await {
            Ok(Delivery::Nothing) => Ok(None),
            Ok(Delivery::EuiccPackage(package)) => Ok(Some(Transfer::EuiccPackageRequest(package))),
            Ok(Delivery::DeviceData(request)) => Ok(Some(Transfer::IpaEuiccDataRequest(request))),
            Ok(Delivery::Download(trigger)) => {
                Ok(Some(Transfer::ProfileDownloadTriggerRequest(trigger)))
            }
            Err(DeliveryError::NotManaged) => Err(Unanswerable::NotAccepted),
            Err(_) => Err(Unanswerable::TryLater),
        }
    }

    /// Takes in the answer to an injected package. What is acknowledged is returned, to be injected.
    pub async fn take_injected(
        &self,
        eid: Eid,
        response: TransferEimPackageResponse,
        peer: &Peer,
    ) -> Result<Option<TransferEimPackageRequest>, Unanswerable> {
        let result = match response {
            TransferEimPackageResponse::EuiccPackageResult(result) => {
                EimPackageResult::EuiccPackageResult(result)
            }
            TransferEimPackageResponse::EprAndNotifications(both) => {
                EimPackageResult::EprAndNotifications(both)
            }
            TransferEimPackageResponse::IpaEuiccDataResponse(data) => {
                EimPackageResult::IpaEuiccDataResponse(data)
            }
            // The result follows by ProvideEimPackageResult.
            TransferEimPackageResponse::EimPackageReceived(_)
            | TransferEimPackageResponse::EimPackageReceivedWithCid(_) => return Ok(None),
            TransferEimPackageResponse::EimPackageError(code) => {
                EimPackageResult::EimPackageResultResponseError(EimPackageResultResponseError {
                    eim_transaction_id: None,
                    eim_package_result_error_code: code,
                    extensions: Default::default(),
                })
            }
            TransferEimPackageResponse::EimPackageErrorWithCid(_)
            | TransferEimPackageResponse::Unknown(_) => return Err(Unanswerable::NotAccepted),
        };
        match self.take_result(Some(eid.to_field()), &result, peer).await {
            Ok(acknowledged) if acknowledged.is_empty() => Ok(None),
            Ok(acknowledged) => Ok(Some(TransferEimPackageRequest::EimAcknowledgements(
                acknowledgements(acknowledged),
            ))),
            Err(refusal) => {
                try_later(refusal)?;
                Err(Unanswerable::NotAccepted)
            }
        }
    }

    async fn get_eim_package(
        &self,
        request: GetEimPackageRequest,
        peer: &Peer,
    ) -> Result<GetEimPackageResponse, Unanswerable> {
        let Ok(eid) = Eid::try_from(request.eid_value) else {
            return Ok(GetEimPackageResponse::EimPackageError(
                EimPackageError::InvalidEid,
            ));
        };
        if request.notify_state_change.is_some() {
            match self
                .state_changed(eid, request.state_change_cause, peer)
                .await
            {
                Ok(()) | Err(Refusal::UnknownDevice) => {}
                Err(refusal) => tracing::warn!(%eid, %refusal, "state change not recorded"),
            }
        }
        Ok(match self.next_package(eid, peer).await {
            Ok(Delivery::Nothing) => {
                GetEimPackageResponse::EimPackageError(EimPackageError::NoEimPackageAvailable)
            }
            Ok(Delivery::EuiccPackage(package)) => {
                GetEimPackageResponse::EuiccPackageRequest(package)
            }
            Ok(Delivery::DeviceData(request)) => {
                GetEimPackageResponse::IpaEuiccDataRequest(request)
            }
            Ok(Delivery::Download(trigger)) => {
                GetEimPackageResponse::ProfileDownloadTriggerRequest(trigger)
            }
            Err(DeliveryError::NotManaged) => {
                GetEimPackageResponse::EimPackageError(EimPackageError::EidNotFound)
            }
            Err(error) => {
                tracing::error!(%eid, error = &error as &dyn std::error::Error, "no package could be delivered");
                return Err(Unanswerable::TryLater);
            }
        })
    }

    /// The IPA says that something changed without a package of ours. Its word alone changes
    /// nothing; it is a reason to have the eUICC say, signed, how things are.
    async fn state_changed(
        &self,
        eid: Eid,
        cause: Option<StateChangeCause>,
        peer: &Peer,
    ) -> Result<(), Refusal> {
        self.managed(eid)?;
        let actor = Actor::system("state-change");
        let cause = cause.map_or_else(|| "not given".to_owned(), |cause| cause.to_string());
        let reported = self.event(
            eid,
            &Actor::device(eid),
            "state-change-reported",
            json!({ "cause": cause, "peer": peer.address }),
        );
        let refresh = [
            self.draft_read(eid, &actor, OwnRead::Profiles),
            self.draft_read(eid, &actor, OwnRead::Eims),
        ];
        self.change(eid, move |tx| -> Result<(), Refusal> {
            let mut is_news = false;
            for operation in &refresh {
                is_news |= operation.insert_once(tx)?;
            }
            // Repeating it, which anybody can, leaves no further trace.
            if is_news {
                reported.append(tx)?;
            }
            Ok(())
        })
        .await
    }

    async fn provide_result(
        &self,
        result: &ProvideEimPackageResult,
        peer: &Peer,
    ) -> Result<ProvideEimPackageResultResponse, Unanswerable> {
        match self
            .take_result(result.eid_value, &result.eim_package_result, peer)
            .await
        {
            Ok(acknowledged) if acknowledged.is_empty() => Ok(
                ProvideEimPackageResultResponse::EmptyResponse(EmptyResponse {
                    extensions: Default::default(),
                }),
            ),
            Ok(acknowledged) => Ok(ProvideEimPackageResultResponse::EimAcknowledgements(
                acknowledgements(acknowledged),
            )),
            Err(refusal) => {
                let code = try_later(refusal)?.code();
                Ok(ProvideEimPackageResultResponse::ProvideEimPackageResultError(code))
            }
        }
    }

    async fn handle_notification(
        &self,
        notification: &HandleNotificationEsipa,
        peer: &Peer,
    ) -> Result<(), Unanswerable> {
        let taken = match notification {
            HandleNotificationEsipa::PendingNotification(notification) => self
                .take_notification(notification, peer.connection)
                .await
                .map(|_| ()),
            HandleNotificationEsipa::ProvideEimPackageResult(result) => self
                .take_result(result.eid_value, &result.eim_package_result, peer)
                .await
                .map(|_| ()),
            HandleNotificationEsipa::Unknown(_) => Err(Refusal::Unknown),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(refusal) => {
                try_later(refusal)?;
                Err(Unanswerable::NotAccepted)
            }
        }
    }
}

fn acknowledgements(seq_numbers: Vec<i64>) -> EimAcknowledgements {
    EimAcknowledgements(seq_numbers.into_iter().map(SequenceNumber).collect())
}

/// Logs why something is not accepted; trouble of our own is not the peer's fault.
fn try_later(refusal: Refusal) -> Result<Refusal, Unanswerable> {
    if let Refusal::Storage(StorageError::Sql(_) | StorageError::Fault(_)) = &refusal {
        tracing::error!(
            error = &refusal as &dyn std::error::Error,
            "a result could not be stored"
        );
        return Err(Unanswerable::TryLater);
    }
    tracing::warn!(
        reason = &refusal as &dyn std::error::Error,
        "a result was not accepted"
    );
    Ok(refusal)
}
