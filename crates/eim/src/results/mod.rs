//! What comes back from devices, and how much of it is believed.
//!
//! | what | believed when |
//! | --- | --- |
//! | result or error signed by the eUICC | the signature verifies over the octets received and the token, and eimId, counter and transaction id are those of the operation |
//! | the same result once more | its octets are those already stored: acknowledged again |
//! | unsigned refusal of a package | never; it is counted, and the package is delivered again |
//! | data and errors stated by the IPA | the connection has shown that the eUICC is behind it |

mod device_data;
mod doubt;
mod installations;
mod packages;

use std::sync::Arc;

use rsp::ids::{Eid, EidOctets, TransactionId};
use rsp::sgp32::{EimPackageResult, ProvideEimPackageResultError};
use serde_json::json;
use store::{ReadTx, SqlError};

use crate::actor::Actor;
use crate::looks::Flight;
use crate::notifications::NotificationRefusal;
use crate::tables::{devices, operations};
use crate::verification::Disbelief;
use crate::{
    ConnectionId, Device, DeviceState, Eim, Operation, OperationState, Outcome, Peer, StorageError,
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

    /// The operation that an answer names, else the one in flight on the device that sent it.
    pub(super) fn find(
        &self,
        claimed: Option<Eid>,
        id: Option<&TransactionId>,
        connection: ConnectionId,
    ) -> Result<Operation, Refusal> {
        let operation = self.read(|tx| self.answered_operation(tx, claimed, id, connection))?;
        self.check_sender(claimed, operation)
    }

    /// As [`Eim::find`], with the device, on one snapshot. Usually it is the package that was handed out last.
    pub(super) fn find_with_device(
        &self,
        claimed: Option<Eid>,
        id: Option<&TransactionId>,
        connection: ConnectionId,
    ) -> Result<Arc<Flight>, Refusal> {
        if let (Some(eid), Some(id)) = (claimed, id)
            && let Some(flight) = self.looks.flight(eid)
            && flight.operation.eim_transaction_id.as_ref() == Some(id)
        {
            return Ok(flight);
        }
        let (operation, device) = self.read(|tx| -> Result<_, SqlError> {
            let operation = self.answered_operation(tx, claimed, id, connection)?;
            let device = match &operation {
                Some(operation) => devices::find(tx, operation.eid)?,
                None => None,
            };
            Ok((operation, device))
        })?;
        let operation = self.check_sender(claimed, operation)?;
        let device = device.filter(|device| device.state != DeviceState::Retired);
        let device = device.ok_or(Refusal::UnknownDevice)?;
        Ok(Arc::new(Flight { device, operation }))
    }

    fn answered_operation(
        &self,
        tx: &ReadTx<'_>,
        claimed: Option<Eid>,
        id: Option<&TransactionId>,
        connection: ConnectionId,
    ) -> Result<Option<Operation>, SqlError> {
        match (id, claimed.or_else(|| self.presence.speaks_for(connection))) {
            (Some(id), _) => operations::find_by_transaction(tx, id),
            (None, Some(eid)) => operations::in_flight(tx, eid),
            (None, None) => Ok(None),
        }
    }

    fn check_sender(
        &self,
        claimed: Option<Eid>,
        operation: Option<Operation>,
    ) -> Result<Operation, Refusal> {
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

    pub(super) async fn end_with(
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

impl OperationState {
    /// Whether nothing more is expected.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::InFlight)
    }
}
