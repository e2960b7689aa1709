//! What the authority's JSON interface carries besides the types of [`intent::api`].

use intent::api::Refusal;
use serde::{Deserialize, Serialize};

/// One answer among several: `{"done": …}` or `{"refused": …}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome<T> {
    /// As asked.
    Done(T),
    /// Not done.
    Refused(Refusal),
}

impl<T> From<Result<T, Refusal>> for Outcome<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl<T> From<Outcome<T>> for Result<T, Refusal> {
    fn from(outcome: Outcome<T>) -> Self {
        match outcome {
            Outcome::Done(done) => Ok(done),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }
}

/// `GET /v1/identity`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IdentityAnswer {
    /// The name of the eIM.
    pub(crate) eim_id: String,
    /// EimConfigurationData, DER in upper-case hexadecimal.
    pub(crate) der: String,
}

/// `GET /v1/checkpoint`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointAnswer {
    /// The newest signed note.
    pub(crate) note: String,
    /// The key that signed it.
    pub(crate) key: String,
    /// What proves that it continues the checkpoint of the size that was asked for: hashes in base64.
    #[serde(default)]
    pub(crate) consistency: Vec<String>,
}

/// `GET /v1/enrolments/parameters`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// The installation that intents are for.
    pub(crate) installation: String,
    /// The relying party's id, which passkeys are made for.
    pub(crate) rp_id: String,
    /// Origins from which passkeys may be used.
    pub(crate) origins: Vec<String>,
}

/// `POST /v1/tokens/check`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenCheck {
    /// The token as it was presented.
    pub(crate) token: String,
    /// Where the request came from, as the front saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<std::net::IpAddr>,
}

#[cfg(test)]
mod tests {
    use intent::api::RefusalCode;

    use super::*;

    #[test]
    fn answers_among_several_are_told_apart() {
        let refusal = Refusal::new(RefusalCode::Frozen, "everything is frozen");
        let outcomes: Vec<Outcome<()>> = vec![Ok(()).into(), Err(refusal.clone()).into()];
        let json = serde_json::to_string(&outcomes).unwrap();
        assert_eq!(
            json,
            r#"[{"done":null},{"refused":{"code":"frozen","message":"everything is frozen"}}]"#
        );
        let back: Vec<Outcome<()>> = serde_json::from_str(&json).unwrap();
        let back: Vec<Result<(), Refusal>> = back.into_iter().map(Into::into).collect();
        assert_eq!(back, [Ok(()), Err(refusal)]);
    }
}
