//! The console's side of the authority: its JSON interface, asked over whatever carries it.

use std::sync::Arc;

use bytes::Bytes;
use eim::authority::{AuthorityError, Reply};
use http::{Method, StatusCode};
use intent::api::{Decide, IntentStatus, PrincipalInfo, Propose, SignIn, SignedIn};
use intent::{IntentId, Principal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Carries requests to an authority.
pub trait Authority: Send + Sync {
    /// Asks, and gives the answer as it is.
    fn call(&self, method: Method, target: String, body: Bytes) -> Reply<'_, Answer>;
}

/// What the authority answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// JSON: what was asked for, or problem details.
    pub body: Bytes,
}

/// What passkeys and intents of this installation are bound to.
#[derive(Debug, Clone, Deserialize)]
pub struct Parameters {
    /// The installation that intents are for.
    pub installation: String,
    /// The relying party's id, which passkeys are made for.
    pub rp_id: String,
    /// Origins from which passkeys may be used.
    pub origins: Vec<String>,
}

/// Asks the authority in the types of [`intent::api`].
#[derive(Clone)]
pub struct Link(Arc<dyn Authority>);

impl Link {
    /// Over this.
    pub fn new(authority: Arc<dyn Authority>) -> Self {
        Self(authority)
    }

    /// Passes a request on, and its answer back, as they are.
    pub async fn forward(
        &self,
        method: Method,
        target: impl Into<String>,
        body: Bytes,
    ) -> Result<Answer, Problem> {
        self.0
            .call(method, target.into(), body)
            .await
            .map_err(|error| Problem::no_authority(&error))
    }

    /// What passkeys and intents are bound to.
    pub async fn parameters(&self) -> Result<Parameters, Problem> {
        self.get("/v1/enrolments/parameters").await
    }

    /// Who somebody is now: grants, expiry, whether revoked.
    pub async fn principal(&self, name: &Principal) -> Result<PrincipalInfo, Problem> {
        self.get(format!("/v1/principals/{name}")).await
    }

    /// Everybody.
    pub async fn principals(&self) -> Result<Vec<PrincipalInfo>, Problem> {
        self.get("/v1/principals").await
    }

    /// How an intent stands.
    pub async fn intent(&self, id: IntentId) -> Result<IntentStatus, Problem> {
        self.get(format!("/v1/intents/{id}")).await
    }

    /// Proposes a change.
    pub async fn propose(&self, proposal: &Propose) -> Result<IntentStatus, Problem> {
        self.post("/v1/intents", proposal).await
    }

    /// Approves or rejects one.
    pub async fn decide(&self, id: IntentId, decision: &Decide) -> Result<IntentStatus, Problem> {
        self.post(format!("/v1/intents/{id}/decisions"), decision)
            .await
    }

    /// Somebody shows a passkey to look around.
    pub async fn sign_in(&self, request: &SignIn) -> Result<SignedIn, Problem> {
        self.post("/v1/sign-ins", request).await
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, target: impl Into<String>) -> Result<T, Problem> {
        read(self.forward(Method::GET, target, Bytes::new()).await?)
    }

    /// Asks for something.
    pub async fn post<T: DeserializeOwned>(
        &self,
        target: impl Into<String>,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| malformed(&error))?;
        read(self.forward(Method::POST, target, body.into()).await?)
    }
}

/// An answer, or the refusal it is.
fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, Problem> {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|error| malformed(&error));
    }
    Err(serde_json::from_slice(&answer.body).unwrap_or_else(|error| malformed(&error)))
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::no_authority(&AuthorityError::Malformed(error.to_string()))
}
