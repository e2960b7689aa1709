//! Sends ES2+.HandleDownloadProgressInfo from the outbox to operators.

use std::future::Future;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use edge::client::{Client, ClientError};
use rsp::binding::es2plus::{Call, HandleDownloadProgressInfo, Request, RequestHeader};
use rsp::binding::http::{CONTENT_TYPE_JSON, Interface};
use rsp::binding::{Failure, es2plus::Function};

use super::{ADMIN_PROTOCOL_LOWER_CASE, ANSWERED_PROTOCOL, blocking};
use crate::domain::{Error, Notice, Outbox, Smdp};

/// The way to operators. [`EdgeOperatorLink`] is the real one; tests take others.
pub trait OperatorLink: Send + Sync {
    /// Posts a JSON body and gives the HTTP status.
    fn post(
        &self,
        url: String,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<u16, ProgressError>> + Send;
}

/// Why a message did not reach an operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// The connection or the exchange failed.
    #[error("the operator could not be reached")]
    Client(#[from] ClientError),
    /// The operator answered something else than success.
    #[error("the operator answered with HTTP status {0}")]
    Status(u16),
}

/// HTTPS with this server's client certificate. Clients of different operators' servers may share one.
#[derive(Clone)]
pub struct EdgeOperatorLink(pub Client);

impl OperatorLink for EdgeOperatorLink {
    async fn post(&self, url: String, body: Vec<u8>) -> Result<u16, ProgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(CONTENT_TYPE_JSON),
        );
        headers.insert(
            HeaderName::from_static(ADMIN_PROTOCOL_LOWER_CASE),
            HeaderValue::from_static(ANSWERED_PROTOCOL),
        );
        Ok(self.0.post(&url, headers, body).await?.status.as_u16())
    }
}

/// What became of the messages that were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryReport {
    /// Delivered.
    pub delivered: usize,
    /// Failed, to be tried again later.
    pub postponed: usize,
    /// Failed too often, or the operator is not configured any more.
    pub given_up: usize,
}

impl Smdp {
    /// Sends what is due now. A message is delivered at least once: after a crash between the
    /// operator's answer and our note of it, it goes out again with the same functionCallIdentifier.
    pub async fn deliver_progress(
        &self,
        link: &impl OperatorLink,
    ) -> Result<DeliveryReport, Error> {
        let mut report = DeliveryReport::default();
        for notice in self.outbox().due()? {
            let operator = self.config().operator(&notice.operator);
            let outcome = match operator.and_then(|operator| operator.progress_url.as_deref()) {
                Some(base) => {
                    let url = progress_url(base);
                    match link.post(url, self.body(&notice)).await {
                        Ok(200..=299) => Ok(()),
                        Ok(status) => Err(ProgressError::Status(status)),
                        Err(error) => Err(error),
                    }
                }
                // Nobody wants it any more.
                None => Ok(()),
            };
            let outbox = self.outbox();
            match outcome {
                Ok(()) => {
                    settle(move || outbox.delivered(&notice)).await?;
                    report.delivered += 1;
                }
                Err(error) => {
                    tracing::warn!(operator = notice.operator, %error, "download progress not delivered");
                    match settle(move || outbox.failed(&notice)).await? {
                        true => report.postponed += 1,
                        false => report.given_up += 1,
                    }
                }
            }
        }
        Ok(report)
    }

    /// Delivers messages as they come up, until `shutdown` is ready.
    pub async fn run_progress_delivery(
        &self,
        link: impl OperatorLink,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            if let Err(error) = self.deliver_progress(&link).await {
                tracing::error!(%error, "the outbox cannot be worked on");
            }
            tokio::select! {
                () = &mut shutdown => return,
                () = self.core().progress_due.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn outbox(&self) -> Outbox {
        Outbox(std::sync::Arc::clone(self.core()))
    }

    fn body(&self, notice: &Notice) -> Vec<u8> {
        let request = Request {
            header: RequestHeader {
                function_requester_identifier: self.config().oid.to_string(),
                function_call_identifier: format!("progress-{}", notice.id),
            },
            call: Call::HandleDownloadProgressInfo(HandleDownloadProgressInfo {
                // Some test cards have an EID that is none by its check digits; ES2+ cannot say those.
                eid: notice.eid.as_deref().and_then(|eid| eid.parse().ok()),
                iccid: notice.iccid,
                profile_type: notice.profile_type.clone(),
                timestamp: format!("{:.0}", notice.occurred_at),
                notification_point_id: notice.point.id(),
                notification_point_status: match notice.refused {
                    None => Ok(()),
                    Some(refusal) => {
                        Err(Failure::new(refusal.status()).with_message(refusal.message()))
                    }
                },
                result_data: notice.result.clone(),
            }),
        };
        request.to_json().1
    }
}

/// Longest time between two looks into the outbox.
const PAUSE: Duration = Duration::from_secs(5);

async fn settle<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(crate::domain::Fault::Busy.into()),
    }
}

fn progress_url(base: &str) -> String {
    let path = Interface::Es2Plus.path(Function::HandleDownloadProgressInfo.name());
    format!("{}{path}", base.trim_end_matches('/'))
}
