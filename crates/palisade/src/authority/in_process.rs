//! The eIM's seam over an engine in the same process: for the demo, which starts no further processes.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use console::authority::Answer;
use eim::authority::{Authority, AuthorityError, Reply};
use http::{Method, Request, header};
use intent::api::{Associate, Feed, RecordResult, Reference, Refusal, SignedPackage};
use rsp::der::Element;
use rsp::sgp32::EimConfigurationData;
use tower_service::Service;

use super::engine::Engine;

/// An engine as the eIM sees it.
pub(crate) struct InProcess(Arc<Engine>);

impl InProcess {
    /// Over this engine.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }

    /// Verbs block, so they are kept away from the threads of the sockets.
    async fn ask<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, AuthorityError> {
        let engine = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || verb(&engine))
            .await
            .map_err(|error| AuthorityError::Unreachable(error.to_string()))
    }
}

/// A refusal of the whole call is one of each part.
fn each<T>(
    answers: Result<Vec<Result<T, Refusal>>, Refusal>,
    count: usize,
) -> Vec<Result<T, Refusal>> {
    answers.unwrap_or_else(|refusal| (0..count).map(|_| Err(refusal.clone())).collect())
}

fn unrefused<T>(answer: Result<T, Refusal>) -> Result<T, AuthorityError> {
    answer.map_err(|refusal| AuthorityError::Unreachable(refusal.message))
}

impl console::authority::Authority for InProcess {
    fn call(&self, method: Method, target: String, body: Bytes) -> Reply<'_, Answer> {
        let router = super::server::router(Arc::clone(&self.0));
        Box::pin(async move {
            let unreachable = |error: String| AuthorityError::Unreachable(error);
            let request = Request::builder()
                .method(method)
                .uri(target)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .map_err(|error| unreachable(error.to_string()))?;
            let Ok(response) = router.into_service().call(request).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .map_err(|error| unreachable(error.to_string()))?;
            Ok(Answer { status, body })
        })
    }
}

impl Authority for InProcess {
    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        let asked = references.to_vec();
        Box::pin(async move {
            let answers = self.ask(move |engine| engine.sign(asked)).await?;
            Ok(each(answers, references.len()))
        })
    }

    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<intent::Command>, Refusal>>> {
        let asked = references.to_vec();
        Box::pin(async move {
            let answers = self.ask(move |engine| engine.release(asked)).await?;
            Ok(each(answers, references.len()))
        })
    }

    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        let device = device.clone();
        Box::pin(self.ask(move |engine| engine.associate(device)))
    }

    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>> {
        let given = results.to_vec();
        Box::pin(async move {
            let answers = self.ask(move |engine| engine.record_results(given)).await?;
            Ok(each(answers, results.len()))
        })
    }

    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        Box::pin(async move { unrefused(self.ask(move |engine| engine.feed(after)).await?) })
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        Box::pin(async move {
            let identity = unrefused(self.ask(Engine::identity).await?)?;
            let der = hex::decode(&identity.der)
                .map_err(|error| AuthorityError::Malformed(error.to_string()))?;
            EimConfigurationData::from_der(&der)
                .map_err(|error| AuthorityError::Malformed(error.to_string()))
        })
    }
}
