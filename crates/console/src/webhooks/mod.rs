//! Telling other systems what happens: webhooks by the Standard Webhooks convention.
//!
//! The eIM's events are the outbox: a webhook is a place in their order, so nothing is queued twice and nothing is lost while a
//! receiver is away. What is told arrives in order and at least once; `webhook-id` is that of the event and stays the same however
//! often it is sent. A webhook sees what its owner sees at that moment, and ends with its owner.

mod courier;
mod delivery;
pub(crate) mod http;
mod signature;
mod tables;

use intent::{Principal, Role};
use store::Migration;
use uuid::Uuid;

pub use courier::{Courier, Delivery, HttpsCourier};
use signature::{SECRET_OCTETS, Secret};

use crate::Problem;
use crate::database::{Database, StorageError};
use crate::reader::{Reader, Via};
use crate::site::Console;

pub(crate) const MIGRATION: Migration =
    Migration::new(2, "webhooks", include_str!("0002_webhooks.sql"));

/// Webhooks of one owner.
const WEBHOOKS_MAX: i64 = 20;
/// Characters of a URL.
const URL_MAX: usize = 500;
/// Kinds of events that one webhook names.
const KINDS_MAX: usize = 32;

/// Where somebody wants to be told.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) id: Uuid,
    pub(crate) owner: Principal,
    pub(crate) url: String,
    pub(crate) secret: Secret,
    /// Kinds of events; none: all.
    pub(crate) kinds: Option<Vec<String>>,
    pub(crate) created_at: i64,
    pub(crate) standing: Standing,
}

/// How far it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) cursor: i64,
    pub(crate) state: State,
    /// Failures in a row.
    pub(crate) attempts: i64,
    pub(crate) next_attempt_at: i64,
    pub(crate) last_status: Option<i64>,
    pub(crate) last_error: Option<String>,
    pub(crate) last_success_at: Option<i64>,
    pub(crate) failing_since: Option<i64>,
}

/// Whether it is told, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    /// It failed for too long.
    GivenUp,
    /// The receiver said that it is gone (410).
    Gone,
    /// The owner may read no more.
    OwnerEnded,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::GivenUp => "given-up",
            Self::Gone => "gone",
            Self::OwnerEnded => "owner-ended",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "gone" => Self::Gone,
            "owner-ended" => Self::OwnerEnded,
            _ => Self::GivenUp,
        }
    }
}

impl Standing {
    fn beginning(cursor: i64) -> Self {
        Self {
            cursor,
            state: State::Active,
            attempts: 0,
            next_attempt_at: 0,
            last_status: None,
            last_error: None,
            last_success_at: None,
            failing_since: None,
        }
    }
}

/// All of them.
pub(crate) struct Webhooks {
    database: Database,
}

impl Webhooks {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    fn list(&self, owner: Option<&Principal>) -> Result<Vec<Webhook>, StorageError> {
        self.database.read(|tx| tables::list(tx, owner))
    }

    async fn stands(&self, id: Uuid, from: i64, standing: &Standing) -> Result<bool, StorageError> {
        let standing = standing.clone();
        self.database
            .write(move |tx| tables::stands(tx, id, from, &standing))
            .await
    }
}

impl Console {
    /// Has a reader told from now on. The secret is shown once.
    async fn add_webhook(
        &self,
        reader: &Reader,
        url: &str,
        kinds: Option<Vec<String>>,
    ) -> Result<Webhook, Problem> {
        let owner = administrator(reader)?;
        let url = check_url(url)?;
        check_kinds(kinds.as_deref())?;
        let mut octets = [0; 16];
        self.entropy.fill(&mut octets);
        let mut secret = zeroize::Zeroizing::new(vec![0; SECRET_OCTETS]);
        self.entropy.fill(&mut secret);
        let now = self.now();
        let id = uuid::Builder::from_unix_timestamp_millis(
            u64::try_from(now).unwrap_or_default(),
            octets.first_chunk().unwrap_or(&[0; 10]),
        )
        .into_uuid();
        let hook = Webhook {
            id,
            owner: owner.clone(),
            url,
            secret: Secret(secret),
            kinds,
            created_at: now,
            standing: Standing::beginning(self.eim.newest_event()?.0),
        };
        let (row, by) = (hook.clone(), owner.clone());
        let is_added = self
            .webhooks
            .database
            .write(move |tx| {
                if tables::count(tx, &by)? >= WEBHOOKS_MAX {
                    return Ok(false);
                }
                tables::insert(tx, &row)?;
                Ok(true)
            })
            .await?;
        if !is_added {
            return Err(Problem::invalid(format!(
                "one person has at most {WEBHOOKS_MAX} webhooks: remove one first"
            )));
        }
        tracing::info!(webhook = %id, %owner, "a webhook was added");
        Ok(hook)
    }

    /// Those that a reader has added; somebody who sees everything sees all.
    fn webhooks_of(&self, reader: &Reader) -> Result<Vec<Webhook>, Problem> {
        let owner = match reader.may_audit() {
            true => None,
            false => Some(administrator(reader)?),
        };
        Ok(self.webhooks.list(owner)?)
    }

    fn webhook_of(&self, reader: &Reader, id: Uuid) -> Result<Webhook, Problem> {
        let mut found = self.webhooks_of(reader)?.into_iter();
        found.find(|hook| hook.id == id).ok_or_else(|| {
            Problem::new(
                ::http::StatusCode::NOT_FOUND,
                "webhook-unknown",
                "There is no such webhook",
                format!("{id} is none that you may see"),
                "list them with GET /api/v1/webhooks",
            )
        })
    }

    async fn remove_webhook(&self, reader: &Reader, id: Uuid) -> Result<(), Problem> {
        administrator(reader)?;
        let hook = self.webhook_of(reader, id)?;
        self.webhooks
            .database
            .write(move |tx| tables::remove(tx, id))
            .await?;
        tracing::info!(webhook = %id, owner = %hook.owner, "a webhook was removed");
        Ok(())
    }

    /// Has everything behind an event told again, and a webhook that was given up told on.
    async fn replay_webhook(
        &self,
        reader: &Reader,
        id: Uuid,
        after: Option<i64>,
    ) -> Result<Webhook, Problem> {
        administrator(reader)?;
        let mut hook = self.webhook_of(reader, id)?;
        let newest = self.eim.newest_event()?.0;
        let from = hook.standing.cursor;
        let after = after.unwrap_or(from).clamp(0, newest);
        hook.standing = Standing {
            last_success_at: hook.standing.last_success_at,
            ..Standing::beginning(after)
        };
        // Who tells it at this moment comes to nothing; should it win, it is set back again.
        for _ in 0..8 {
            let current = self.webhook_of(reader, id)?.standing.cursor;
            if self.webhooks.stands(id, current, &hook.standing).await? {
                break;
            }
        }
        self.webhook_wanted.notify_one();
        Ok(hook)
    }
}

/// Who may have events sent elsewhere: people who administer, signed in.
fn administrator(reader: &Reader) -> Result<&Principal, Problem> {
    let is_allowed = reader.grants.iter().any(|grant| {
        matches!(
            grant.role,
            Role::FleetAdmin | Role::SecurityAdmin | Role::Owner
        )
    });
    match &reader.via {
        Via::Session { principal, .. } if is_allowed => Ok(principal),
        _ => Err(Problem::new(
            ::http::StatusCode::FORBIDDEN,
            "role-refused",
            "The role does not allow it",
            "webhooks are for people who are fleet-admin, security-admin or owner, and signed in",
            "have it done by somebody who is, or have the grant changed: `palisade person grant`",
        )),
    }
}

/// Where a text leads, written as it is used: `https:///path` leads to a host by the name of path.
fn check_url(text: &str) -> Result<String, Problem> {
    let parsed = url::Url::parse(text).ok().filter(|url| {
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.as_str().len() <= URL_MAX
    });
    match parsed {
        Some(url) => Ok(url.into()),
        None => Err(Problem::invalid(format!(
            "a webhook goes to https://host[:port]/path, at most {URL_MAX} characters, without name, password and fragment"
        ))),
    }
}

fn check_kinds(kinds: Option<&[String]>) -> Result<(), Problem> {
    let is_kind = |kind: &String| {
        (1..=64).contains(&kind.len())
            && kind
                .bytes()
                .all(|octet| octet.is_ascii_lowercase() || octet == b'-')
    };
    let is_good = kinds
        .is_none_or(|kinds| (1..=KINDS_MAX).contains(&kinds.len()) && kinds.iter().all(is_kind));
    match is_good {
        true => Ok(()),
        false => Err(Problem::invalid(format!(
            "kinds are 1 to {KINDS_MAX} words such as operation-done; leave them out for all"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_go_over_tls_and_carry_no_secret_of_others() {
        let usual = "https://hooks.example.com/palisade?team=1";
        assert_eq!(check_url(usual).unwrap(), usual);
        assert_eq!(check_url("https:///Path").unwrap(), "https://path/");
        for text in [
            "http://hooks.example.com/",
            "https://user:password@hooks.example.com/",
            "https://hooks.example.com/#x",
            "file:///etc/passwd",
            "gopher://hooks.example.com",
            "",
        ] {
            assert!(check_url(text).is_err(), "{text}");
        }
        assert!(check_url(&format!("https://a/{}", "x".repeat(URL_MAX))).is_err());
    }
}
