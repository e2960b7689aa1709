//! Signed results on their way to the authority, which keeps them in its record. They wait in the database until it has them.

use intent::api::{BATCH_MAX, RecordResult, Refusal, RefusalCode};
use rsp::ids::Eid;
use serde_json::json;
use uuid::Uuid;

use crate::actor::Actor;
use crate::authority::AuthorityError;
use crate::tables::reports::{self, Report};
use crate::{Eim, EventDraft, StorageError};

const FIRST_RETRY_MS: i64 = 5_000;
const RETRY_MS_MAX: i64 = 3_600_000;

/// Why results or associations could not be reported. What was reported stays reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No answer.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Eim {
    /// Reports results to the authority, oldest first; how many it was given. To be called again and again: at once while there
    /// are some, then after [`Eim::results_waiting`].
    pub async fn report_results(&self) -> Result<usize, ReportError> {
        let _one_at_a_time = self.reporting.lock().await;
        let now = self.now_ms();
        let limit = u32::try_from(BATCH_MAX).unwrap_or(u32::MAX);
        let due =
            self.read(|tx| -> Result<_, StorageError> { Ok(reports::due(tx, now, limit)?) })?;
        if due.is_empty() {
            return Ok(0);
        }
        let results: Vec<RecordResult> = due
            .iter()
            .map(|report| RecordResult {
                eid: report.eid,
                result: report.result.clone(),
            })
            .collect();
        let answers = self.link.record_results(&results).await?;
        let at = self.now_ms();
        let count = due.len();
        let outcomes: Vec<(Report, Option<Rejection>)> = due
            .into_iter()
            .zip(answers)
            .map(|(report, answer)| {
                let rejection = answer
                    .err()
                    .map(|refusal| self.rejection(&report, refusal, at));
                (report, rejection)
            })
            .collect();
        // No look remembers what is written here.
        self.store
            .write_async(move |tx| -> Result<(), StorageError> {
                for (report, rejection) in &outcomes {
                    let Some(rejection) = rejection else {
                        reports::taken(tx, report, at)?;
                        continue;
                    };
                    reports::refused(tx, report.id, &rejection.message, rejection.retry_at)?;
                    if let Some(event) = &rejection.event {
                        event.append(tx)?;
                    }
                }
                Ok(())
            })
            .await
            .map_err(store::WriteError::into_verb)?;
        Ok(count)
    }

    /// Returns when a result was stored since the last call.
    pub async fn results_waiting(&self) {
        self.results_stored.notified().await;
    }

    /// A verified result, to be stored in the transaction that accepts it.
    pub(crate) fn draft_report(&self, eid: Eid, operation: Uuid, result: &[u8]) -> Report {
        Report {
            id: self.new_id(),
            eid,
            operation,
            result: result.to_vec(),
            attempts: 0,
        }
    }

    /// That transaction is durable.
    pub(crate) fn report_stored(&self) {
        self.results_stored.notify_one();
    }

    fn rejection(&self, report: &Report, refusal: Refusal, at: i64) -> Rejection {
        let passing = refusal.retry_at.is_some()
            || matches!(
                refusal.code,
                RefusalCode::Unavailable | RefusalCode::NotAssociated
            );
        let retry_at = passing.then(|| {
            let doublings = u32::try_from(report.attempts).unwrap_or_default().min(20);
            let pause = (FIRST_RETRY_MS << doublings).min(RETRY_MS_MAX);
            next_attempt(at, pause, refusal.retry_at)
        });
        let event = (!passing).then(|| {
            let (eid, operation) = (report.eid, report.operation);
            tracing::error!(%eid, %operation, reason = %refusal, "the authority refused a result");
            let detail = json!({
                "operation": operation,
                "code": refusal.code,
                "message": refusal.message,
            });
            self.event(eid, &Actor::system("report"), "result-refused", detail)
        });
        Rejection {
            message: refusal.message,
            retry_at,
            event,
        }
    }
}

/// What comes of a result that the authority did not take.
struct Rejection {
    message: String,
    retry_at: Option<i64>,
    event: Option<EventDraft>,
}

/// When to ask again: when the authority says, within bounds, else after `pause`.
pub(crate) fn next_attempt(now: i64, pause: i64, asked_for: Option<i64>) -> i64 {
    const PAUSE_MIN_MS: i64 = 1_000;
    const PAUSE_MAX_MS: i64 = 15 * 60_000;
    match asked_for {
        Some(at) => at.clamp(now + PAUSE_MIN_MS, now + PAUSE_MAX_MS),
        None => now + pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_asked_neither_at_once_nor_too_late() {
        assert_eq!(next_attempt(0, 30_000, None), 30_000);
        assert_eq!(next_attempt(0, 30_000, Some(-5)), 1_000);
        assert_eq!(next_attempt(0, 30_000, Some(90_000)), 90_000);
        assert_eq!(next_attempt(0, 30_000, Some(i64::MAX)), 900_000);
    }
}
