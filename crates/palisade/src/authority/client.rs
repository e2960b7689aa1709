//! The eIM's side of the authority: its narrow seam over HTTP and JSON.

use bytes::Bytes;
use eim::authority::{Authority, AuthorityError, Reply};
use http::Method;
use intent::api::{Associate, Feed, RecordResult, Reference, Refusal, RefusalCode, SignedPackage};
use rsp::der::Element;
use rsp::sgp32::EimConfigurationData;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connection::{Answer, Connection};
use super::wire::{CheckpointAnswer, IdentityAnswer, Outcome};
use crate::control::Problem;

/// Calls the authority.
pub(crate) struct AuthorityClient {
    connection: Connection,
}

/// What came of a request that the authority may refuse.
pub(crate) type Answered<T> = Result<Result<T, Refusal>, AuthorityError>;

impl AuthorityClient {
    /// Over this connection.
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Passes a request on, and its answer back, as they are.
    pub(crate) async fn forward(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Answer, AuthorityError> {
        self.connection.call(method, target, body).await
    }

    /// How the authority is.
    pub(crate) async fn status(&self) -> Answered<Value> {
        self.get("/v1/status").await
    }

    /// The newest checkpoint, with a proof that it continues one of this size. With `publish` it covers everything.
    pub(crate) async fn checkpoint(&self, since: u64, publish: bool) -> Answered<CheckpointAnswer> {
        self.get(&format!("/v1/checkpoint?since={since}&publish={publish}"))
            .await
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Answered<T> {
        read(
            self.connection
                .call(Method::GET, target, Bytes::new())
                .await?,
        )
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Answered<T> {
        let body = serde_json::to_vec(body)
            .map_err(|error| AuthorityError::Malformed(error.to_string()))?;
        read(
            self.connection
                .call(Method::POST, target, body.into())
                .await?,
        )
    }

    /// Asks for several things at once, each of which may be refused by itself.
    async fn each<Q: Serialize, T: DeserializeOwned>(
        &self,
        target: &str,
        asked: &[Q],
    ) -> Result<Vec<Result<T, Refusal>>, AuthorityError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<Outcome<T>> = match self.post(target, asked).await? {
            Ok(answers) => answers,
            // The whole call: stopping, too much at once.
            Err(refusal) => return Ok(asked.iter().map(|_| Err(refusal.clone())).collect()),
        };
        match answers.len() == asked.len() {
            true => Ok(answers.into_iter().map(Into::into).collect()),
            false => Err(AuthorityError::Malformed(format!(
                "{} answers to {} questions",
                answers.len(),
                asked.len()
            ))),
        }
    }
}

/// An answer in JSON, or the refusal in a problem.
fn read<T: DeserializeOwned>(answer: Answer) -> Answered<T> {
    let malformed = |error: serde_json::Error| AuthorityError::Malformed(error.to_string());
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body)
            .map(Ok)
            .map_err(malformed);
    }
    let problem: Problem = serde_json::from_slice(&answer.body).map_err(malformed)?;
    let refusal = problem.refusal();
    Ok(Err(refusal.unwrap_or_else(|| {
        Refusal::new(RefusalCode::Malformed, problem.detail)
    })))
}

/// For calls that only a fault can refuse.
fn unrefused<T>(answered: Answered<T>) -> Result<T, AuthorityError> {
    answered?.map_err(|refusal| AuthorityError::Unreachable(refusal.message))
}

impl Authority for AuthorityClient {
    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        Box::pin(self.each("/v1/signatures", references))
    }

    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<intent::Command>, Refusal>>> {
        Box::pin(self.each("/v1/releases", references))
    }

    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        Box::pin(self.post("/v1/associations", device))
    }

    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>> {
        Box::pin(self.each("/v1/results", results))
    }

    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        Box::pin(async move { unrefused(self.get(&format!("/v1/feed?after={after}")).await) })
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        Box::pin(async move {
            let identity: IdentityAnswer = unrefused(self.get("/v1/identity").await)?;
            let der = hex::decode(&identity.der)
                .map_err(|error| AuthorityError::Malformed(error.to_string()))?;
            EimConfigurationData::from_der(&der)
                .map_err(|error| AuthorityError::Malformed(error.to_string()))
        })
    }
}
