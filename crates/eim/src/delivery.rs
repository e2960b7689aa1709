//! What a device gets when it polls.
//!
//! The order is: the package in flight, again; else the oldest operation queued that the authority
//! does not hold up. Before that, a device whose certificate is not known is asked to introduce
//! itself, because nothing it signs could be believed. Triggers and data requests go to proven
//! connections only; an unproven one gets a package to sign first.
//!
//! Every package is the authority's: it signs by reference, or lets an unsigned one leave. What it
//! refuses for the time being is held, with its reason; what it refuses for good ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use intent::api::{Refusal, RefusalCode, SignedPackage};
use intent::command::{self, Command, DataItem, PackageKind, Route};
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
use crate::authority::AuthorityError;
use crate::looks::{Flight, Found, Look};
use crate::openings::NotOpened;
use crate::operations::OperationDraft;
use crate::presence::Question;
use crate::reports::{ReportError, next_attempt};
use crate::tables::{devices, operations};
use crate::{
    Association, ConnectionId, Device, DeviceState, Eim, Held, Operation, OperationState, Outcome,
    Peer, StorageError,
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
/// How long an operation is held if the authority does not say.
const HOLD_MS: i64 = 60_000;
/// Lists of profiles that are asked for before an operation on one that is not among them is given up. The first may have come
/// while the profile was on its way.
const LISTINGS_MAX: i64 = 3;
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
                Ok((device, operations::next(tx, eid, now)?))
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
        if operation
            .held
            .as_ref()
            .is_some_and(|held| held.retry_at > now)
        {
            return Ok(Step::Ready(Delivery::Nothing));
        }
        let Ok(kind) = Command::check(&operation.commands) else {
            self.give_up(operation, NOT_UNDERSTOOD).await?;
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
        self.depart(device, operation, None, peer, look).await
    }

    /// Has the package signed, then records it in one transaction, then lets it leave. Whoever asks
    /// at the same time is given the same package.
    async fn depart(
        &self,
        device: &Device,
        operation: &Operation,
        proof: Option<OperationDraft>,
        peer: &Peer,
        look: Option<Look>,
    ) -> Result<Step, DeliveryError> {
        let (eid, at) = (device.eid, self.now_ms());
        if device.is_association_due(at) {
            return self.associate_first(device).await;
        }
        let reference = match &proof {
            Some(proof) => Some(proof.reference()),
            None => operation.authority_reference(),
        };
        let Some(reference) = reference else {
            self.give_up(operation, NOT_UNDERSTOOD).await?;
            return Ok(Step::Again);
        };
        let thaws = self.thaws.load(Ordering::Acquire);
        let mut answer = self.link.sign(reference.clone()).await;
        if is_not_listed(&answer) {
            // The list may be among the results that the authority was not given yet.
            if let Err(error) = self.report_results().await {
                tracing::debug!(%eid, error = &error as &dyn std::error::Error, "not reported");
            }
            answer = self.link.sign(reference).await;
        }
        if is_not_listed(&answer) && proof.is_none() {
            if operation.proofs >= LISTINGS_MAX {
                self.give_up(operation, NOT_THERE).await?;
                return Ok(Step::Again);
            }
            return Box::pin(self.ask_for_proof(device, operation, peer)).await;
        }
        let signed = match answer {
            Ok(Ok(signed)) => signed,
            Ok(Err(refusal)) => return self.refused(device, operation, refusal, thaws).await,
            Err(_) => return Ok(Step::Ready(Delivery::Nothing)),
        };
        let Some((package, id)) = self.checked(eid, &signed) else {
            let refusal = Refusal::new(RefusalCode::Unavailable, NOT_THE_PACKAGE);
            return self.refused(device, operation, refusal, thaws).await;
        };
        let waiting = operation.id;
        let departing = proof.as_ref().map_or(waiting, OperationDraft::id);
        let (counter, association_token) = (signed.counter, signed.association_token);
        let delivered = self.event(
            eid,
            &Actor::device(eid),
            "package-delivered",
            Delivered {
                operation: departing,
                counter,
                peer: peer.address,
            },
        );
        let (transaction_id, request) = (id.clone(), signed.package);
        let stored = request.clone();
        // A proof of presence is another operation than the one that was looked at.
        let look = look.filter(|_| proof.is_none());
        let left = self
            .change(eid, move |tx| -> Result<(), DeliveryError> {
                if let Some(proof) = &proof {
                    if !operations::wait_for_proof(tx, waiting)?
                        || operations::in_flight(tx, eid)?.is_some()
                        || operations::find_by_transaction(tx, &transaction_id)?.is_some()
                        || !proof.insert(tx)?
                    {
                        return Err(DeliveryError::Contended);
                    }
                    devices::proof_asked(tx, eid, at)?;
                }
                let departure = operations::Departure {
                    eim_transaction_id: &transaction_id,
                    counter: Some(counter),
                    association_token,
                    request: Some(&request),
                    at,
                };
                if !devices::set_counter(tx, eid, counter, at)?
                    || operations::in_flight(tx, eid)?.is_some()
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
                        request: Some(stored),
                        delivered_at: Some(at),
                        ..operation.clone()
                    };
                    self.looks.departed(look, Flight { device, operation });
                }
                Ok(Step::Ready(Delivery::EuiccPackage(package)))
            }
            Err(DeliveryError::Contended) => Ok(Step::Again),
            Err(error) => Err(error),
        }
    }

    /// The authority signs for no eUICC that it was not told of.
    async fn associate_first(&self, device: &Device) -> Result<Step, DeliveryError> {
        match self.tell_association(device).await {
            Ok(true) => Ok(Step::Again),
            Ok(false) | Err(ReportError::Authority(_)) => Ok(Step::Ready(Delivery::Nothing)),
            Err(ReportError::Storage(error)) => Err(error.into()),
        }
    }

    /// What the authority signed, if it is a package for this eUICC from this eIM under what it says beside it.
    fn checked(
        &self,
        eid: Eid,
        signed: &SignedPackage,
    ) -> Option<(EuiccPackageRequest, TransactionId)> {
        let package = EuiccPackageRequest::from_der(&signed.package).ok()?;
        let id = TransactionId::new(&signed.transaction_id).ok()?;
        let content = &package.euicc_package_signed;
        let is_this = content.eid_value == eid.to_field()
            && content.eim_id == self.config.eim_id
            && content.counter_value == signed.counter
            && content.eim_transaction_id.as_ref() == Some(&id);
        is_this.then_some((package, id))
    }

    /// The authority does not sign or release it: for the time being it is held, otherwise it ends. `thaws` is how many there
    /// were before it was asked.
    async fn refused(
        &self,
        device: &Device,
        operation: &Operation,
        refusal: Refusal,
        thaws: u64,
    ) -> Result<Step, DeliveryError> {
        let at = self.now_ms();
        let (eid, id) = (operation.eid, operation.id);
        if !is_passing(&refusal) {
            let state = match refusal.code {
                RefusalCode::Expired => OperationState::Expired,
                _ => OperationState::Failed,
            };
            let summary = format!("refused by the authority: {}", refusal.message);
            self.end(operation, state, &summary, at).await?;
            return Ok(Step::Again);
        }
        let mut message = refusal.message;
        if refusal.code == RefusalCode::NotAssociated
            && let Some(why) = &device.association_refusal
        {
            message = format!("{message}: {why}");
        }
        let held = Held {
            code: code_word(refusal.code),
            message,
            retry_at: next_attempt(at, HOLD_MS, refusal.retry_at),
        };
        let is_news = operation
            .held
            .as_ref()
            .is_none_or(|before| before.code != held.code || before.message != held.message);
        let event = is_news.then(|| {
            let detail = json!({ "operation": id, "code": held.code, "message": held.message });
            self.event(eid, &Actor::system("delivery"), "operation-held", detail)
        });
        // It may have forgotten, or been restored: what it accepted once is told again.
        let tell_again = refusal.code == RefusalCode::NotAssociated
            && device.association == Association::Accepted;
        let frozen = (refusal.code == RefusalCode::Frozen).then(|| Arc::clone(&self.thaws));
        self.change(eid, move |tx| -> Result<(), StorageError> {
            if tell_again {
                devices::association_due(tx, eid, at)?;
            }
            let mut held = held.clone();
            let thawed = |all: &Arc<AtomicU64>| all.load(Ordering::Acquire) != thaws;
            if frozen.as_ref().is_some_and(thawed) {
                held.retry_at = at;
            }
            if operations::hold(tx, id, &held)?
                && let Some(event) = &event
            {
                event.append(tx)?;
            }
            Ok(())
        })
        .await?;
        Ok(Step::Ready(Delivery::Nothing))
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
        let proof = self.draft_proof(operation, &Actor::system(PRESENCE));
        self.depart(device, operation, Some(proof), peer, None)
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
        let Some(reference) = operation.authority_reference() else {
            self.give_up(operation, NOT_UNDERSTOOD).await?;
            return Ok(Step::Again);
        };
        if device.is_association_due(at) {
            return self.associate_first(device).await;
        }
        // Asked each time, for what leaves is made from the answer and not from the row.
        let thaws = self.thaws.load(Ordering::Acquire);
        let released = match self.link.release(reference).await {
            Ok(Ok(commands)) => commands,
            Ok(Err(refusal)) => return self.refused(device, operation, refusal, thaws).await,
            Err(_) => return Ok(Step::Ready(Delivery::Nothing)),
        };
        let opened = match self.opened(operation, &released) {
            Ok(opened) => opened,
            Err(NotOpened::Storage(error)) => return Err(error.into()),
            Err(why) => {
                self.give_up(operation, &why.to_string()).await?;
                return Ok(Step::Again);
            }
        };
        let Some(delivery) = unsigned_delivery(device, &opened, &id) else {
            self.give_up(operation, NOT_UNDERSTOOD).await?;
            return Ok(Step::Again);
        };
        if operation.state == OperationState::InFlight {
            return Ok(Step::Ready(delivery));
        }
        // A trigger is made anew at each poll, so that its activation code is stored nowhere else.
        let request = match &delivery {
            Delivery::DeviceData(request) => Some(request.to_der()),
            Delivery::Download(_) | Delivery::Nothing | Delivery::EuiccPackage(_) => None,
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
                    request: request.as_deref(),
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
        let summary = why_expired(operation.state, operation.proofs);
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

const NOT_UNDERSTOOD: &str = "what was stored of it is not understood by this version";
const NOT_THERE: &str = "refused by the authority: the eUICC has listed its profiles, and the one to use is not among them";
const NOT_THE_PACKAGE: &str =
    "the authority signed something else than what it was asked for: see its record";
const NO_PROOF: &str = "expired before the device showed, on the connection it polled on, that its eUICC is \
     present; if its IPA opens a connection for each request, insecure_trust_any_connection lets it do without";

/// How far an operation came that is over for being too late.
pub(crate) fn why_expired(state: OperationState, proofs: i64) -> &'static str {
    match state {
        OperationState::InFlight => {
            "expired in flight: whether the device executed it is not known"
        }
        _ if proofs > 0 => NO_PROOF,
        _ => "expired before the device polled for it",
    }
}

/// Whether policy wants to know the profiles first.
fn is_not_listed(answer: &Result<Result<SignedPackage, Refusal>, AuthorityError>) -> bool {
    matches!(answer, Ok(Err(refusal)) if refusal.code == RefusalCode::NotListed)
}

/// Whether it may be otherwise later, without anybody asking again.
fn is_passing(refusal: &Refusal) -> bool {
    use RefusalCode as Code;
    refusal.retry_at.is_some()
        || matches!(
            refusal.code,
            Code::NotApproved
                | Code::Frozen
                | Code::OutsideWindow
                | Code::QuotaExceeded
                | Code::NotAssociated
                | Code::Unavailable
        )
}

/// The code as the authority's interface writes it.
pub(crate) fn code_word(code: RefusalCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

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
            command::download_trigger(source, eim_handles_data, id.clone()).map(Delivery::Download)
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
