//! The eIM's way to the authority: what is asked at the same time goes in one call, and its loss is said once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use intent::Command;
use intent::api::{Associate, BATCH_MAX, Feed, RecordResult, Reference, Refusal, SignedPackage};
use rsp::sgp32::EimConfigurationData;

use super::batch::{Answer, Batcher};
use super::{Authority, AuthorityError};

pub(crate) struct Link {
    line: Arc<Line>,
    signatures: Batcher<SignedPackage>,
    releases: Batcher<Vec<Command>>,
}

struct Line {
    authority: Arc<dyn Authority>,
    /// Whether the last call had no answer.
    is_down: AtomicBool,
}

impl Link {
    pub(crate) fn new(authority: Arc<dyn Authority>) -> Self {
        let line = Arc::new(Line {
            authority,
            is_down: AtomicBool::new(false),
        });
        let (signing, releasing) = (Arc::clone(&line), Arc::clone(&line));
        Self {
            line,
            signatures: Batcher::new(move |references| {
                let line = Arc::clone(&signing);
                Box::pin(async move {
                    line.each(references.len(), line.authority.sign(&references))
                        .await
                })
            }),
            releases: Batcher::new(move |references| {
                let line = Arc::clone(&releasing);
                Box::pin(async move {
                    line.each(references.len(), line.authority.release(&references))
                        .await
                })
            }),
        }
    }

    /// The signed package.
    pub(crate) async fn sign(&self, reference: Reference) -> Answer<SignedPackage> {
        self.signatures.ask(reference).await
    }

    /// Leave to hand over a package without a signature: the commands that it is made from.
    pub(crate) async fn release(&self, reference: Reference) -> Answer<Vec<Command>> {
        self.releases.ask(reference).await
    }

    pub(crate) async fn associate(&self, device: &Associate) -> Answer<()> {
        self.line.watch(self.line.authority.associate(device)).await
    }

    /// At most [`BATCH_MAX`] results.
    pub(crate) async fn record_results(
        &self,
        results: &[RecordResult],
    ) -> Result<Vec<Result<(), Refusal>>, AuthorityError> {
        debug_assert!(results.len() <= BATCH_MAX);
        let call = self.line.authority.record_results(results);
        self.line.each(results.len(), call).await
    }

    pub(crate) async fn feed(&self, after: u64) -> Result<Feed, AuthorityError> {
        self.line.watch(self.line.authority.feed(after)).await
    }

    pub(crate) async fn association_data(&self) -> Result<EimConfigurationData, AuthorityError> {
        self.line
            .watch(self.line.authority.association_data())
            .await
    }
}

impl Line {
    /// One answer for each thing that was asked.
    async fn each<T>(
        &self,
        asked: usize,
        call: impl Future<Output = Result<Vec<T>, AuthorityError>>,
    ) -> Result<Vec<T>, AuthorityError> {
        let checked = async {
            let answers = call.await?;
            match answers.len() == asked {
                true => Ok(answers),
                false => Err(AuthorityError::Malformed(format!(
                    "{} answers to {asked} questions",
                    answers.len()
                ))),
            }
        };
        self.watch(checked).await
    }

    async fn watch<T>(
        &self,
        call: impl Future<Output = Result<T, AuthorityError>>,
    ) -> Result<T, AuthorityError> {
        let answer = call.await;
        match &answer {
            Ok(_) if self.is_down.swap(false, Ordering::Relaxed) => {
                tracing::info!("the authority answers again");
            }
            Err(error) if !self.is_down.swap(true, Ordering::Relaxed) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "nothing can be signed: operations wait until the authority answers"
                );
            }
            _ => {}
        }
        answer
    }
}
