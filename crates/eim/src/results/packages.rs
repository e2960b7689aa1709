//! What an eUICC answers to an eUICC Package.

use std::sync::Arc;

use rsp::der::Element;
use rsp::ids::{Eid, TransactionId};
use rsp::sgp32::{
    EimId, EuiccPackageErrorCode, EuiccPackageErrorSigned, EuiccPackageErrorUnsigned,
    EuiccPackageResult, EuiccPackageResultSigned,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{Acknowledged, Refusal, doubt};
use crate::actor::Actor;
use crate::looks::Flight;
use crate::operations::OwnRead;
use crate::tables::{devices, operations, reports};
use crate::{ConnectionId, Eim, Operation, OperationState, Outcome, outcome};

/// Unsigned refusals after which an eUICC Package is given up, if the connection is proven.
const UNUSABLE_MAX: i64 = 3;

const OTHER_TOKEN: &str =
    "the eUICC is said to keep another association token; signed again with that";

/// Particulars of a result that is accepted.
#[derive(Serialize)]
struct Accepted<'a> {
    operation: Uuid,
    state: OperationState,
    seq_number: i64,
    outcome: &'a Outcome,
}

impl Eim {
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

    /// The operation that a signed answer belongs to, and the device whose eUICC must have signed it.
    fn addressee(
        &self,
        claimed: Option<Eid>,
        id: Option<&TransactionId>,
        (eim_id, counter): (&EimId, i64),
        connection: ConnectionId,
    ) -> Result<Arc<Flight>, Refusal> {
        let found = self.find_with_device(claimed, id, connection)?;
        if *eim_id != self.config.eim_id {
            return Err(Refusal::OtherEim);
        }
        if found.operation.counter != Some(counter) {
            return Err(Refusal::Counter);
        }
        Ok(found)
    }

    async fn take_signed_result(
        &self,
        claimed: Option<Eid>,
        signed: &EuiccPackageResultSigned,
        whole: &EuiccPackageResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let data = &signed.euicc_package_result_data_signed;
        let found = self.addressee(
            claimed,
            data.eim_transaction_id.as_ref(),
            (&data.eim_id, data.counter_value),
            connection,
        )?;
        let Flight { device, operation } = &*found;
        self.verify_result(device, operation.association_token, signed)?;
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
            operation,
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
        let (expected, token) = (operation.state, operation.association_token);
        let commands = operation.commands.clone();
        let recorded = self.event(
            eid,
            &Actor::device(eid),
            "result-accepted",
            Accepted {
                operation: id,
                state,
                seq_number,
                outcome: &outcome,
            },
        );
        let actor = match state {
            OperationState::RolledBack => "rollback",
            _ => "inventory",
        };
        let listing = doubt::of_results(&commands, &results, state).map(|doubt| {
            let draft = self.draft_read(eid, &Actor::system(actor), OwnRead::Profiles);
            (doubt, draft)
        });
        let report = self.draft_report(eid, id, &received);
        self.change(eid, move |tx| -> Result<(), Refusal> {
            if !operations::finish_from(tx, id, expected, state, &outcome, Some(&received), at)? {
                return Err(Refusal::Ended);
            }
            if !devices::accept_seq_number(tx, eid, seq_number, token, at)? {
                return Err(Refusal::Replayed);
            }
            if state != OperationState::RolledBack {
                outcome::apply(tx, eid, &commands, &results, at)?;
            }
            if let Some((doubt, draft)) = &listing
                && doubt.is_to_be_settled(tx, eid)?
            {
                draft.insert_once(tx)?;
            }
            reports::insert(tx, &report, at)?;
            recorded.append(tx)?;
            Ok(())
        })
        .await?;
        self.report_stored();
        Ok(())
    }

    async fn take_signed_error(
        &self,
        claimed: Option<Eid>,
        signed: &EuiccPackageErrorSigned,
        whole: &EuiccPackageResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let data = &signed.euicc_package_error_data_signed;
        let found = self.addressee(
            claimed,
            data.eim_transaction_id.as_ref(),
            (&data.eim_id, data.counter_value),
            connection,
        )?;
        let Flight { device, operation } = &*found;
        self.verify_error(device, operation.association_token, signed)?;
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
            self.expect_lost_result(operation);
            return Ok(Vec::new());
        }
        let (eid, id, at) = (operation.eid, operation.id, self.now_ms());
        let token = operation.association_token;
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
        let report = self.draft_report(eid, id, &received);
        self.change(eid, move |tx| -> Result<(), Refusal> {
            devices::mark_associated(tx, eid, token, at)?;
            operations::finish(
                tx,
                id,
                OperationState::Failed,
                &outcome,
                Some(&received),
                at,
            )?;
            reports::insert(tx, &report, at)?;
            recorded.append(tx)?;
            Ok(())
        })
        .await?;
        self.report_stored();
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
        // Only the harmless proof is signed again: what an operator asked for is executed once.
        let token = error
            .association_token
            .filter(|token| operation.association_token != Some(*token))
            .filter(|_| operation.is_proof() && !device.token_is_proven());
        self.change(eid, move |tx| -> Result<(), Refusal> {
            operations::count_refusal(tx, id)?;
            if let Some(token) = token
                && devices::learn_token(tx, eid, token, at)?
            {
                // If it was executed after all, its late result still counts, and proves its token.
                let outcome = Outcome {
                    summary: OTHER_TOKEN.to_owned(),
                    results: Vec::new(),
                };
                operations::finish(tx, id, OperationState::Expired, &outcome, None, at)?;
            }
            Ok(())
        })
        .await?;
        Ok(Vec::new())
    }

    /// The IPA says that it cannot use the package.
    pub(super) async fn take_unusable(
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
}

fn rolled_back(outcome: Outcome) -> (OperationState, Outcome) {
    let summary = "undone by the device: the new profile had no connectivity".to_owned();
    (OperationState::RolledBack, Outcome { summary, ..outcome })
}
