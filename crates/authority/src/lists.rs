//! What can be read of the state: people, intents, and who may do what.

use intent::action::OperationKind;
use intent::api::{
    CredentialInfo, Feed, IntentState, IntentStatus, PrincipalInfo, Refusal, RefusalCode,
};
use intent::bearer::TokenRecord;
use intent::{CredentialId, Fleet, FleetScope, IntentId, Principal};

use crate::state::State;
use crate::state::people::{Credential, Member, MemberKind, Public};

/// Intents in one page.
pub const PAGE_MAX: usize = 500;

impl State {
    /// Everybody who may do something or could once, by name.
    pub fn principals(&self) -> Vec<PrincipalInfo> {
        self.people
            .members()
            .map(|(name, member)| principal_info(name, member))
            .collect()
    }

    /// Somebody.
    pub fn principal(&self, name: &Principal) -> Result<PrincipalInfo, Refusal> {
        let member = self.people.member(name).ok_or_else(|| {
            Refusal::new(
                RefusalCode::Unknown,
                format!("nobody here is called {name}"),
            )
        })?;
        Ok(principal_info(name, member))
    }

    /// How an intent stands at `now` (milliseconds since 1970).
    pub fn status(&self, id: &IntentId, now: i64) -> Result<IntentStatus, Refusal> {
        Ok(self.intents.known(id)?.status(now))
    }

    /// Intents, the newest first: those in `state`, from before entry `before`, at most `limit` of them.
    pub fn page(
        &self,
        state: Option<IntentState>,
        before: Option<u64>,
        limit: usize,
        now: i64,
    ) -> Vec<IntentStatus> {
        self.intents
            .newest_first(before)
            .filter(|open| state.is_none_or(|state| open.state(now) == state))
            .take(limit.min(PAGE_MAX))
            .map(|open| open.status(now))
            .collect()
    }

    /// What the eIM has to know of what happened behind entry `after`. Entries from `durable` on are not told yet.
    pub fn feed(&self, after: u64, durable: u64, now: i64) -> Feed {
        let (items, next) = self.intents.feed(after, durable, now);
        Feed {
            items,
            next,
            forgotten: self.intents.forgotten_behind(after),
        }
    }

    /// Whether somebody has a role to propose such a thing for a fleet, or for everything.
    pub fn may(&self, name: &Principal, kind: OperationKind, fleet: Option<&Fleet>) -> bool {
        let scope = match fleet {
            Some(fleet) => FleetScope::Only([fleet.clone()].into()),
            None => FleetScope::All,
        };
        self.people.member(name).is_some_and(|member| {
            !member.revoked && member.may(&scope, |role| role.may_propose(kind))
        })
    }

    /// Whose token it is, if it may be used at `now`.
    pub fn check_token(&self, token: &TokenRecord, now: i64) -> Result<PrincipalInfo, Refusal> {
        let id: Option<CredentialId> = token.id.as_str().parse().ok();
        let (name, member) = self.people.token(id.as_ref(), &token.digest, now)?;
        match id.and_then(|id| self.frozen_credential(name, &id)) {
            Some(refusal) => Err(refusal),
            None => Ok(principal_info(name, member)),
        }
    }
}

pub(crate) fn principal_info(name: &Principal, member: &Member) -> PrincipalInfo {
    let kind = match member.kind {
        MemberKind::Person => "person",
        MemberKind::Machine => "machine",
        MemberKind::Token => "token",
        MemberKind::BreakGlass => "break-glass",
    };
    PrincipalInfo {
        name: name.clone(),
        kind: kind.to_owned(),
        grants: member.grants.clone(),
        expires_at: member.expires_at,
        revoked: member.revoked,
        networks: member.networks.iter().map(ToString::to_string).collect(),
        credentials: member
            .credentials
            .iter()
            .map(|credential| credential_info(member, credential))
            .collect(),
    }
}

fn credential_info(member: &Member, credential: &Credential) -> CredentialInfo {
    let kind = match credential.public {
        Public::Passkey(_) => "passkey",
        Public::Key(_) => "ed25519",
        Public::Token(_) => "token",
    };
    let last = credential.last_use.as_ref();
    CredentialInfo {
        id: credential.id.to_string(),
        kind: kind.to_owned(),
        not_before: credential.not_before,
        expires_at: credential.expires_at.min(member.expires_at),
        revoked: credential.revoked || member.revoked,
        last_used_at: last.map(|last| last.at),
        last_used_from: last.and_then(|last| last.from),
        last_used_for: last.map(|last| last.what.clone()),
    }
}
