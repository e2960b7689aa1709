//! Executing the operations of a package one after the other (SGP.32 v1.2 section 3.3.1).

use rsp::der::{Element, Error, Limits, Reader, Tlv};
use rsp::ids::Iccid;
use rsp::sgp32::{Eco, EuiccResultData, ProcessingTerminated, Psmo};

use super::{Operations, eco, keep_result, psmo, sign_result};
use crate::decisions::CONTINUE_AFTER_ERROR_CODE;
use crate::isdr::{Answer, CatBusy};
use crate::platform::{Failure, Platform};
use crate::state::{Executing, RollbackGrant};

/// A package being executed.
pub(super) struct Execution<'a> {
    pub(super) platform: &'a mut Platform,
    pub(super) busy: CatBusy,
    pub(super) enabled_at_start: Option<Iccid>,
    pub(super) displaced_at_start: Option<Iccid>,
    pub(super) enable_seen: bool,
    pub(super) disable_seen: bool,
    /// An enable, disable or delete stands before: the list of Profiles is in motion.
    pub(super) change_seen: bool,
    /// The Profile that the one rollback which the package allows returns to.
    pub(super) rollback_to: Option<Iccid>,
}

/// What one operation came to.
pub(super) enum Outcome {
    /// Its result; an error code is one too.
    Done(EuiccResultData),
    /// The package ends here.
    Terminated(ProcessingTerminated),
    /// Something inside failed: as if the package had not begun, but for its counter.
    Failed(Failure),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Executes, numbers, signs and keeps. One commit makes all of it durable.
pub(super) fn execute(
    platform: &mut Platform,
    context: &Executing,
    operations: &Operations,
    busy: CatBusy,
) -> Result<Answer, Failure> {
    let enabled_at_start = platform.state.enabled_iccid();
    let mut execution = Execution {
        enabled_at_start,
        displaced_at_start: platform.state.displaced_by_fallback,
        platform,
        busy,
        enable_seen: false,
        disable_seen: false,
        change_seen: false,
        rollback_to: None,
    };
    let outcome = execution.run(operations)?;
    let rollback_to = execution.rollback_to.take();
    let displaced_by_fallback = execution.displaced_at_start;

    let seq_number = platform.state.take_sequence_number();
    let result = sign_result(platform, context, seq_number, outcome)?;
    keep_result(platform, seq_number, result.clone());
    platform.state.rollback = rollback_to.map(|previous| RollbackGrant {
        previous,
        eim_id: context.eim_id.clone(),
        counter_value: context.counter_value,
        eim_transaction_id: context.eim_transaction_id.clone(),
        result_seq_number: seq_number,
        displaced_by_fallback,
        extensions: Default::default(),
    });
    platform.state.executing = None;
    let refresh = platform.state.enabled_iccid() != enabled_at_start;
    Ok(Answer::with_refresh(&result, refresh))
}

impl Execution<'_> {
    fn run(&mut self, operations: &Operations) -> Result<Vec<EuiccResultData>, Failure> {
        let (list, is_eco) = match operations {
            Operations::PsmoList(list) => (list, false),
            Operations::EcoList(list) => (list, true),
            Operations::Unknown(_) => {
                return Ok(vec![terminated(
                    ProcessingTerminated::UnknownOrDamagedCommand,
                )]);
            }
        };
        let mut results = Vec::new();
        let mut octets = 0;
        let limits = Limits::default();
        // Checked to be a run of TLVs when the package was read.
        let mut reader = Reader::new(list.content(), &limits).map_err(damaged)?;
        while let Some(operation) = reader.next().map_err(damaged)? {
            // Room for a short result must be there before anything changes.
            if !self.has_room(octets + SHORT_RESULT_OCTETS) {
                results.push(terminated(ProcessingTerminated::ResultSizeOverflow));
                break;
            }
            let result = match self.one(operation, is_eco) {
                Outcome::Done(result) => result,
                Outcome::Terminated(reason) => {
                    results.push(terminated(reason));
                    break;
                }
                Outcome::Failed(failure) => return Err(failure),
            };
            let size = result.to_der().len();
            if !self.has_room(octets + size) {
                // Only listings are long, and they change nothing.
                results.push(terminated(ProcessingTerminated::ResultSizeOverflow));
                break;
            }
            octets += size;
            let goes_on = CONTINUE_AFTER_ERROR_CODE || !is_error(&result);
            results.push(result);
            if !goes_on {
                break;
            }
        }
        Ok(results)
    }

    fn one(&mut self, operation: Tlv<'_>, is_eco: bool) -> Outcome {
        let outcome = if is_eco {
            Eco::from_der(operation.whole()).map(|eco| eco::execute(self, eco))
        } else {
            Psmo::from_der(operation.whole()).map(|psmo| psmo::execute(self, psmo))
        };
        outcome.unwrap_or_else(|error| {
            tracing::debug!(%error, "operation cannot be read");
            Outcome::Terminated(ProcessingTerminated::UnknownOrDamagedCommand)
        })
    }

    fn has_room(&self, result_octets: usize) -> bool {
        let octets = i64::try_from(result_octets + ENVELOPE_OCTETS).unwrap_or(i64::MAX);
        octets <= self.platform.state.options.result_octets_max
    }
}

fn terminated(reason: ProcessingTerminated) -> EuiccResultData {
    EuiccResultData::ProcessingTerminated(reason)
}

fn damaged(error: Error) -> Failure {
    tracing::debug!(%error, "operations cannot be read");
    Failure::Status(crate::apdu::StatusWord::WRONG_DATA)
}

/// Whether a result says that its operation was not executed.
fn is_error(result: &EuiccResultData) -> bool {
    use rsp::sgp22::ProfileInfoListResponse::ProfileInfoListError;
    use rsp::sgp32::{AddEimResult, DeleteEimResult, ListEimResult};
    match result {
        EuiccResultData::EnableResult(code) => code.number() != 0,
        EuiccResultData::DisableResult(code) => code.number() != 0,
        EuiccResultData::DeleteResult(code) => code.number() != 0,
        EuiccResultData::ListProfileInfoResult(response) => {
            matches!(response, ProfileInfoListError(_))
        }
        EuiccResultData::GetRatResult(_) => false,
        EuiccResultData::ConfigureImmediateEnableResult(code) => code.number() != 0,
        EuiccResultData::AddEimResult(AddEimResult::AddEimResultCode(code)) => code.number() != 0,
        EuiccResultData::AddEimResult(_) => false,
        EuiccResultData::DeleteEimResult(code) => {
            !matches!(code, DeleteEimResult::Ok | DeleteEimResult::LastEimDeleted)
        }
        EuiccResultData::UpdateEimResult(code) => code.number() != 0,
        EuiccResultData::ListEimResult(response) => {
            matches!(response, ListEimResult::ListEimError(_))
        }
        EuiccResultData::RollbackResult(code) => code.number() != 0,
        EuiccResultData::SetFallbackAttributeResult(code) => code.number() != 0,
        EuiccResultData::UnsetFallbackAttributeResult(code) => code.number() != 0,
        EuiccResultData::ProcessingTerminated(_) => true,
        EuiccResultData::SetDefaultDpAddressResult(response) => {
            response.set_default_dp_address_result.number() != 0
        }
        EuiccResultData::Unknown(_) => true,
    }
}

/// More than any result but a listing takes, with processingTerminated behind it.
const SHORT_RESULT_OCTETS: usize = 24;

/// More than everything around the list of results takes: headers, eimId (128 characters of up to four octets), numbers,
/// transaction id, signature.
const ENVELOPE_OCTETS: usize = 700;
