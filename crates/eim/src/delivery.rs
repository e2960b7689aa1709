//! What a device gets when it polls.
//!
//! The order is: the package in flight, again; else the oldest operation queued. Before that, a
//! device whose certificate is not known is asked to introduce itself, because nothing it signs
//! could be believed. Triggers and data requests go to proven connections only; an unproven one
//! gets a package to sign first.

use std::net::IpAddr;

use rsp::der::Element;
use rsp::ids::{Eid, TransactionId};
use rsp::sgp32::{
    EuiccPackageRequest, IpaCapabilities, IpaEuiccDataRequest, IpaFeatures,
    ProfileDownloadTriggerRequest,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::actor::Actor;
use crate::authority::{AuthorityError, PackageOrder};
use crate::command::{self, Command, DataItem, PackageKind, Route};
use crate::devices::COUNTER_MAX;
use crate::looks::{Flight, Found, Look};
use crate::operations::OperationDraft;
use crate::presence::Question;
use crate::tables::{devices, operations};
use crate::{
    ConnectionId, Device, DeviceState, Eim, Operation, OperationState, Outcome, Peer, StorageError,
};

/// One eIM Package, or none.
#[derive(Debug)]
pub(crate) enum Delivery {
    Nothing,
    EuiccPackage(EuiccPackageRequest),
    DeviceData(IpaEuiccDataRequest),
    Download(ProfileDownloadTriggerRequest),
}

/// Why a poll is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("no device with this EID is managed here")]
    NotManaged,
    #[error("the package could not be signed")]
    Authority(#[from] AuthorityError),
    #[error("a stored package does not decode")]
    Stored(#[from] rsp::der::Error),
    #[error("the device's queue changes faster than it can be read")]
    Contended,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<store::SqlError> for DeliveryError {
    fn from(error: store::SqlError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<store::StoreFault> for DeliveryError {
    fn from(fault: store::StoreFault) -> Self {
        Self::Storage(fault.into())
    }
}

/// Particulars of a signed package that leaves.
#[derive(Serialize)]
struct Delivered {
    operation: Uuid,
    counter: i64,
    peer: IpAddr,
}

/// What to do next about a device, before anything is signed.
enum Step {
    Ready(Delivery),
    /// The queue has changed; look again.
    Again,
}

/// Times the queue is read again when it changed underneath.
const LOOKS_MAX: usize = 8;
/// Proofs of presence asked for one operation without a pause. A device that opens a connection for
/// each request, or a stranger who polls between, would have proofs made for ever.
const PROOFS_FREE: i64 = 5;
/// The pause between further proofs.
const PROOF_INTERVAL_MS: i64 = 60_000;

impl Eim {
    /// The next package for a device.
    pub(crate) async fn next_package(
        &self,
        eid: Eid,
        peer: &Peer,
    ) -> Result<Delivery, DeliveryError> {
        let now = self.now_ms();
        for _ in 0..LOOKS_MAX {
            let look = match self.looks.check(eid) {
                Found::Idle => {
                    self.contacts.polled(eid, peer.address, now);
                    return Ok(Delivery::Nothing);
                }
                Found::Flight(flight) => {
                    self.contacts.polled(eid, peer.address, now);
                    let Flight { device, operation } = &*flight;
                    match self.step(device, operation, peer, now, None).await? {
                        Step::Ready(delivery) => return Ok(delivery),
                        Step::Again => continue,
                    }
                }
                Found::Unknown(look) => look,
            };
            let (device, operation) = self.read(|tx| -> Result<_, DeliveryError> {
                let device = devices::find(tx, eid)?.ok_or(DeliveryError::NotManaged)?;
                Ok((device, operations::next(tx, eid)?))
            })?;
            if device.state == DeviceState::Retired {
                return Err(DeliveryError::NotManaged);
            }
            self.contacts.polled(eid, peer.address, now);
            if device.euicc_certificate.is_none() {
                return Ok(self.introduction(eid, peer.connection));
            }
            let Some(operation) = operation else {
                self.looks.idle(eid, look);
                return Ok(Delivery::Nothing);
            };
            match self
                .step(&device, &operation, peer, now, Some(look))
                .await?
            {
                Step::Ready(delivery) => return Ok(delivery),
                Step::Again => {}
            }
        }
        Err(DeliveryError::Contended)
    }

    async fn step(
        &self,
        device: &Device,
        operation: &Operation,
        peer: &Peer,
        now: i64,
        look: Option<Look>,
    ) -> Result<Step, DeliveryError> {
        if operation.expires_at <= now {
            self.expire(operation, now).await?;
            return Ok(Step::Again);
        }
        let Ok(kind) = Command::check(&operation.commands) else {
            self.give_up(
                operation,
                "the stored commands are not understood by this version",
            )
            .await?;
            return Ok(Step::Again);
        };
        let needs_proven_token = operation.state == OperationState::Queued
            && !operation.is_proof()
            && !device.token_is_proven();
        match kind {
            PackageKind::EuiccPackage if needs_proven_token => {
                self.ask_for_proof(device, operation, peer).await
            }
            PackageKind::EuiccPackage => self.euicc_package(device, operation, peer, look).await,
            PackageKind::DeviceData | PackageKind::Download
                if !self.may_trust(peer.connection, device.eid) =>
            {
                self.ask_for_proof(device, operation, peer).await
            }
            PackageKind::DeviceData | PackageKind::Download => {
                self.unsigned_package(device, operation, now).await
            }
        }
    }

    /// Whether unsigned statements on this connection are taken for those of the device.
    pub(crate) fn may_trust(&self, connection: ConnectionId, eid: Eid) -> bool {
        self.config.insecure_trust_any_connection || self.presence.is_proven(connection, eid)
    }

    /// Asks for what is needed to verify the first signature. It reveals nothing and drains nothing.
    fn introduction(&self, eid: Eid, connection: ConnectionId) -> Delivery {
        let id = self.parts.entropy.transaction_id();
        if !self
            .presence
            .ask(connection, eid, &id, Question::Introduction)
        {
            return Delivery::Nothing;
        }
        Delivery::DeviceData(command::data_request(DataItem::INTRODUCTION, id))
    }

    async fn euicc_package(
        &self,
        device: &Device,
        operation: &Operation,
        peer: &Peer,
        look: Option<Look>,
    ) -> Result<Step, DeliveryError> {
        let eid = device.eid;
        if let (OperationState::InFlight, Some(request), Some(id)) = (
            operation.state,
            &operation.request,
            &operation.eim_transaction_id,
        ) {
            if let Some(question) = self.lost_result_question(eid, operation, peer.connection) {
                return Ok(Step::Ready(Delivery::DeviceData(question)));
            }
            self.presence.delivered(peer.connection, eid, id);
            let request = EuiccPackageRequest::from_der(request)?;
            return Ok(Step::Ready(Delivery::EuiccPackage(request)));
        }
        let Some(order) = self.order(device, operation.commands.clone()) else {
            self.give_up(operation, COUNTER_EXHAUSTED).await?;
            return Ok(Step::Again);
        };
        self.depart(device, operation, None, order, peer, look)
            .await
    }

    /// Signs, then allocates the counter and records the package in one transaction. A package
    /// that lost the race for the counter never leaves.
    async fn depart(
        &self,
        device: &Device,
        operation: &Operation,
        proof: Option<OperationDraft>,
        order: PackageOrder,
        peer: &Peer,
        look: Option<Look>,
    ) -> Result<Step, DeliveryError> {
        let package = self.parts.authority.sign_package(&order).await?;
        let (eid, before, at) = (device.eid, device.counter, self.now_ms());
        let (id, request) = (order.eim_transaction_id.clone(), package.bytes().to_vec());
        let waiting = operation.id;
        let departing = proof.as_ref().map_or(waiting, OperationDraft::id);
        let actor = Actor::device(eid);
        let delivered = self.event(
            eid,
            &actor,
            "package-delivered",
            Delivered {
                operation: departing,
                counter: order.counter,
                peer: peer.address,
            },
        );
        let (counter, association_token) = (order.counter, order.association_token);
        let transaction_id = id.clone();
        // A proof of presence is another operation than the one that was looked at.
        let look = look.filter(|_| proof.is_none());
        let left = self
            .change(eid, move |tx| -> Result<(), DeliveryError> {
                if let Some(proof) = &proof {
                    if !operations::wait_for_proof(tx, waiting)?
                        || operations::in_flight(tx, eid)?.is_some()
                    {
                        return Err(DeliveryError::Contended);
                    }
                    proof.insert(tx)?;
                    devices::proof_asked(tx, eid, at)?;
                }
                let departure = operations::Departure {
                    eim_transaction_id: &transaction_id,
                    counter: Some(counter),
                    association_token,
                    request: &request,
                    at,
                };
                if !devices::advance_counter(tx, eid, before, counter, at)?
                    || !operations::depart(tx, departing, &departure)?
                {
                    return Err(DeliveryError::Contended);
                }
                delivered.append(tx)?;
                Ok(())
            })
            .await;
        match left {
            Ok(()) => {
                self.presence.delivered(peer.connection, eid, &id);
                if let Some(look) = look {
                    let device = Device {
                        counter,
                        ..device.clone()
                    };
                    let operation = Operation {
                        state: OperationState::InFlight,
                        eim_transaction_id: Some(id),
                        counter: Some(counter),
                        association_token,
                        request: Some(package.bytes().to_vec()),
                        delivered_at: Some(at),
                        ..operation.clone()
                    };
                    self.looks.departed(look, Flight { device, operation });
                }
                Ok(Step::Ready(Delivery::EuiccPackage(package.into_value())))
            }
            Err(DeliveryError::Contended) => Ok(Step::Again),
            Err(error) => Err(error),
        }
    }

    fn order(&self, device: &Device, commands: Vec<Command>) -> Option<PackageOrder> {
        (device.counter < COUNTER_MAX).then(|| PackageOrder {
            eid: device.eid,
            counter: device.counter + 1,
            eim_transaction_id: self.new_transaction_id(),
            association_token: device.association_token,
            commands,
        })
    }

    /// Has the eUICC sign something fresh on this connection before `operation` is handed over.
    async fn ask_for_proof(
        &self,
        device: &Device,
        operation: &Operation,
        peer: &Peer,
    ) -> Result<Step, DeliveryError> {
        let asked_lately = device
            .proof_asked_at
            .is_some_and(|at| self.now_ms() - at < PROOF_INTERVAL_MS);
        if operation.proofs >= PROOFS_FREE && asked_lately {
            return Ok(Step::Ready(Delivery::Nothing));
        }
        let commands = vec![Command::ListProfiles];
        let proof = self.draft_operation(device.eid, &Actor::system(PRESENCE), &commands);
        let Some(order) = self.order(device, commands) else {
            self.give_up(operation, COUNTER_EXHAUSTED).await?;
            return Ok(Step::Again);
        };
        self.depart(device, operation, Some(proof), order, peer, None)
            .await
    }

    async fn unsigned_package(
        &self,
        device: &Device,
        operation: &Operation,
        at: i64,
    ) -> Result<Step, DeliveryError> {
        let id = operation
            .eim_transaction_id
            .clone()
            .unwrap_or_else(|| self.new_transaction_id());
        let Some(delivery) = unsigned_delivery(device, operation, &id) else {
            return Ok(Step::Again);
        };
        if operation.state == OperationState::InFlight {
            return Ok(Step::Ready(delivery));
        }
        let request = match &delivery {
            Delivery::DeviceData(request) => request.to_der(),
            Delivery::Download(request) => request.to_der(),
            Delivery::Nothing | Delivery::EuiccPackage(_) => Vec::new(),
        };
        let (eid, operation_id) = (device.eid, operation.id);
        let delivered = self.event(
            eid,
            &Actor::device(eid),
            "package-delivered",
            json!({ "operation": operation_id }),
        );
        let left = self
            .change(eid, move |tx| -> Result<bool, DeliveryError> {
                let departure = operations::Departure {
                    eim_transaction_id: &id,
                    counter: None,
                    association_token: None,
                    request: &request,
                    at,
                };
                let left = operations::depart(tx, operation_id, &departure)?;
                if left {
                    delivered.append(tx)?;
                }
                Ok(left)
            })
            .await?;
        Ok(if left {
            Step::Ready(delivery)
        } else {
            Step::Again
        })
    }

    async fn expire(&self, operation: &Operation, at: i64) -> Result<(), StorageError> {
        let summary = match operation.state {
            OperationState::InFlight => {
                "expired in flight: whether the device executed it is not known"
            }
            _ if operation.proofs > 0 => NO_PROOF,
            _ => "expired before the device polled for it",
        };
        self.end(operation, OperationState::Expired, summary, at)
            .await
    }

    async fn give_up(&self, operation: &Operation, why: &str) -> Result<(), StorageError> {
        self.end(operation, OperationState::Failed, why, self.now_ms())
            .await
    }

    /// Ends an operation without a result.
    pub(crate) async fn end(
        &self,
        operation: &Operation,
        state: OperationState,
        summary: &str,
        at: i64,
    ) -> Result<(), StorageError> {
        let (eid, id, expected) = (operation.eid, operation.id, operation.state);
        let outcome = Outcome {
            summary: summary.to_owned(),
            results: Vec::new(),
        };
        let ended = self.event(
            eid,
            &Actor::system("delivery"),
            "operation-ended",
            json!({ "operation": id, "state": state, "summary": summary }),
        );
        self.change(eid, move |tx| -> Result<(), StorageError> {
            if operations::finish_from(tx, id, expected, state, &outcome, None, at)? {
                ended.append(tx)?;
            }
            Ok(())
        })
        .await
    }
}

/// Who asks for proofs of presence.
pub(crate) const PRESENCE: &str = "presence";

const COUNTER_EXHAUSTED: &str = "no counter values are left for this association: add this eIM again by another one to start over";
const NO_PROOF: &str = "expired before the device showed, on the connection it polled on, that its eUICC is \
     present; if its IPA opens a connection for each request, insecure_trust_any_connection lets it do without";

fn unsigned_delivery(
    device: &Device,
    operation: &Operation,
    id: &TransactionId,
) -> Option<Delivery> {
    match operation.commands.first()? {
        Command::ReadDeviceData { items } => Some(Delivery::DeviceData(command::data_request(
            items,
            id.clone(),
        ))),
        Command::Download { source, route, .. } => {
            let eim_handles_data = *route == Route::Indirect && ipa_leaves_data_to_eim(device);
            Some(Delivery::Download(command::download_trigger(
                source,
                eim_handles_data,
                id.clone(),
            )))
        }
        _ => None,
    }
}

fn ipa_leaves_data_to_eim(device: &Device) -> bool {
    device
        .ipa_capabilities
        .as_deref()
        .and_then(|der| IpaCapabilities::from_der(der).ok())
        .is_some_and(|capabilities| {
            capabilities
                .ipa_features
                .contains(IpaFeatures::EIM_DOWNLOAD_DATA_HANDLING)
        })
}

impl Operation {
    /// Whether this is a proof of presence: asked for by the delivery itself, and harmless.
    pub(crate) fn is_proof(&self) -> bool {
        self.actor == Actor::system(PRESENCE).to_string()
    }
}
