//! Somebody who looks at a page, and what they asked for with it.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use eim::Visible;
use http::StatusCode;
use http::request::Parts;
use intent::{IntentId, Principal};
use rsp::ids::Eid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Members of a query or form that are looked at.
const FIELDS_MAX: usize = 256;

/// A visit to a page.
pub(super) struct Visit {
    pub(super) console: Arc<Console>,
    pub(super) reader: Reader,
    pub(super) visible: Visible,
    pub(super) query: Fields,
}

/// A query or form. Empty members count as absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        console: &Arc<Console>,
    ) -> Result<Self, Problem> {
        let reader = parts.extensions.get::<Reader>().cloned();
        let reader = reader
            .filter(|reader| reader.via != Via::Proof)
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "signed-out",
                    "Nobody is signed in",
                    "pages are for people",
                    "sign in with a passkey",
                )
            })?;
        Ok(Self {
            console: Arc::clone(console),
            visible: reader.visible(),
            reader,
            query: Fields::parse(parts.uri.query().unwrap_or("").as_bytes()),
        })
    }
}

impl Visit {
    /// The person's name; empty for nobody in particular.
    pub(super) fn name(&self) -> Option<&Principal> {
        self.reader.principal()
    }

    /// What is not about single devices is there for auditors and administrators only.
    pub(super) fn audits(&self, path: &str) -> Result<(), Problem> {
        match self.reader.may_audit() {
            true => Ok(()),
            false => Err(Problem::no_such_path(path)),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.console.now()
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(octets) => Ok(Self::parse(&octets)),
            Err(rejection) => {
                let status = rejection.status();
                Err(Problem::new(
                    status,
                    "form",
                    "The form cannot be read",
                    rejection.body_text(),
                    "send less at once; `palisade device import` takes lists of any length",
                ))
            }
        }
    }
}

impl Fields {
    pub(super) fn parse(octets: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(octets).into_owned();
        Self(pairs.take(FIELDS_MAX).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(key, _)| key == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// All members but these, as they came.
    pub(super) fn all_but(&self, names: &[&str]) -> Vec<(String, String)> {
        let kept = self
            .0
            .iter()
            .filter(|(key, _)| !names.contains(&key.as_str()));
        kept.cloned().collect()
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or("").to_owned()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A member in its form; absent if it is not there.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error: T::Err| Problem::invalid(format!("{name} {text:?}: {error}")))
    }

    /// The same members with another one, as a link.
    pub(super) fn with(&self, path: &str, name: &str, value: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in self
            .0
            .iter()
            .filter(|(key, value)| key != name && !value.is_empty())
        {
            query.append_pair(key, value);
        }
        query.append_pair(name, value);
        format!("{path}?{}", query.finish())
    }
}

/// A place in a list, as it stands in a link.
pub(super) fn to_cursor(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

pub(super) fn of_cursor<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let octets = URL_SAFE_NO_PAD.decode(text).ok();
    let place = octets.and_then(|octets| serde_json::from_slice(&octets).ok());
    match place {
        Some(place) => Ok(Some(place)),
        None => Err(Problem::invalid(
            "the link to the next page was not copied whole",
        )),
    }
}

/// The EID in a path. What is none does not exist.
pub(super) fn eid(text: &str) -> Result<Eid, Problem> {
    text.parse()
        .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{text:?}: {error}")))
}

/// The intent in a path.
pub(super) fn intent_id(text: &str) -> Result<IntentId, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid(format!("{text:?} is not the id of an intent")))
}
