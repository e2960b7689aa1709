//! People and machines, what they show, and who is invited.

mod replay;

use std::collections::BTreeMap;
use std::net::IpAddr;

use intent::action::{MachineKey, Network, OperationKind};
use intent::api::{Refusal, RefusalCode};
use intent::passkey::PasskeyCredential;
use intent::{Action, CredentialId, Digest, FleetScope, Grant, Principal, Role};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The name of the key that lies in a safe.
pub const BREAK_GLASS: &str = "break-glass";
/// How long the first owner may act without being invited anew: 5 years.
pub const FIRST_OWNER_MS: i64 = 5 * 365 * 86_400_000;
/// Refusals of one credential that are recorded in one hour. More would let it fill the ledger.
pub const REFUSALS_PER_HOUR: u32 = 60;
/// Keys of a machine that can be valid at the same time.
pub const KEYS_MAX: usize = 2;

const HOUR_MS: i64 = 3_600_000;

/// Everybody who may do something, or could once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct People {
    members: BTreeMap<Principal, Member>,
    owners: BTreeMap<CredentialId, Principal>,
    invitations: BTreeMap<Principal, Invitation>,
}

/// A person, machine, token, or the key in the safe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Which of these.
    pub kind: MemberKind,
    /// What they are.
    pub grants: Vec<Grant>,
    /// Until when. Milliseconds since 1970.
    pub expires_at: i64,
    /// Whether they have ended.
    pub revoked: bool,
    /// From where they may act; empty for anywhere.
    pub networks: Vec<Network>,
    /// What they can show.
    pub credentials: Vec<Credential>,
}

/// Kinds of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberKind {
    /// With passkeys.
    Person,
    /// With Ed25519 keys.
    Machine,
    /// That can read.
    Token,
    /// The key in the safe.
    BreakGlass,
}

/// Something that a member can show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// What it is verified with.
    pub public: Public,
    /// From when it is valid. Milliseconds since 1970.
    pub not_before: i64,
    /// Until when it is valid. Milliseconds since 1970.
    pub expires_at: i64,
    /// Whether it has ended.
    pub revoked: bool,
    /// The highest signature counter seen, of a passkey.
    pub counter: u32,
    /// When it was used last.
    pub last_use: Option<LastUse>,
    /// Proposals that were accepted.
    pub proposals: Hourly,
    /// Refusals that were recorded.
    pub refusals: Hourly,
}

/// How often something happened in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hourly {
    /// Which hour since 1970.
    hour: i64,
    /// How often in it.
    count: u32,
}

impl Hourly {
    /// How often in the hour of `now` (milliseconds since 1970).
    pub fn at(&self, now: i64) -> u32 {
        match self.hour == now.div_euclid(HOUR_MS) {
            true => self.count,
            false => 0,
        }
    }

    /// When the hour of `now` is over.
    pub fn over_at(now: i64) -> i64 {
        now.div_euclid(HOUR_MS)
            .saturating_add(1)
            .saturating_mul(HOUR_MS)
    }

    fn count(&mut self, now: i64) {
        *self = Self {
            hour: now.div_euclid(HOUR_MS),
            count: self.at(now).saturating_add(1),
        };
    }
}

/// What a credential is verified with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Public {
    /// A passkey.
    Passkey(Box<PasskeyCredential>),
    /// An Ed25519 key.
    Key(#[serde(with = "hex::serde")] [u8; 32]),
    /// SHA-256 of a token.
    Token(Digest),
}

/// When, from where and for what something was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// Milliseconds since 1970.
    pub at: i64,
    /// As the front saw it.
    pub from: Option<IpAddr>,
    /// For what.
    pub what: String,
}

/// A code that was not used yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its entry.
    pub number: u64,
    /// Who proposed it.
    pub by: Principal,
    /// What the person will be; empty for a further passkey.
    pub grants: Vec<Grant>,
    /// SHA-256 of the code.
    pub code_sha256: Digest,
    /// Until when the code can be used.
    pub code_expires_at: i64,
    /// Until when the person may act.
    pub expires_at: i64,
    /// From where the person may act.
    pub networks: Vec<Network>,
}

impl People {
    /// Somebody by name.
    pub fn member(&self, name: &Principal) -> Option<&Member> {
        self.members.get(name)
    }

    /// Everybody, by name.
    pub fn members(&self) -> impl Iterator<Item = (&Principal, &Member)> {
        self.members.iter()
    }

    /// Invitations that were not used, expired ones included.
    pub fn invitation(&self, name: &Principal) -> Option<&Invitation> {
        self.invitations.get(name)
    }

    /// Whose a credential is, and the credential.
    pub fn credential(&self, id: &CredentialId) -> Option<(&Principal, &Member, &Credential)> {
        let (name, member) = self.members.get_key_value(self.owners.get(id)?)?;
        Some((name, member, member.credential(id)?))
    }

    /// The same, or a refusal.
    pub fn known(&self, id: &CredentialId) -> Result<(&Principal, &Member, &Credential), Refusal> {
        self.credential(id).ok_or_else(|| {
            Refusal::new(
                RefusalCode::CredentialUnknown,
                "this passkey or key is not enrolled here: ask an administrator for an invitation",
            )
        })
    }

    /// The credential with its holder, if it may be used now from there.
    pub fn active(
        &self,
        id: &CredentialId,
        now: i64,
        from: Option<IpAddr>,
    ) -> Result<(&Principal, &Member, &Credential), Refusal> {
        let (name, member, credential) = self.known(id)?;
        member.check(name, credential, now)?;
        member.check_network(name, from)?;
        Ok((name, member, credential))
    }

    /// Whether a principal or its credential was revoked. Having expired is not that.
    pub fn is_revoked(&self, name: &Principal, credential: &CredentialId) -> bool {
        self.member(name).is_none_or(|member| {
            member.revoked
                || member
                    .credential(credential)
                    .is_none_or(|known| known.revoked)
        })
    }

    /// What a token may read. `sha256` is that of the whole token.
    pub fn token(
        &self,
        id: Option<&CredentialId>,
        sha256: &Digest,
        now: i64,
    ) -> Result<(&Principal, &Member), Refusal> {
        let unknown = || {
            Refusal::new(
                RefusalCode::CredentialUnknown,
                "this token is not known here: issue another one with `palisade key create --read`",
            )
        };
        let (name, member, credential) =
            id.and_then(|id| self.credential(id)).ok_or_else(unknown)?;
        let Public::Token(known) = &credential.public else {
            return Err(unknown());
        };
        if !bool::from(known.as_bytes().ct_eq(sha256.as_bytes())) {
            return Err(unknown());
        }
        member.check(name, credential, now)?;
        Ok((name, member))
    }

    /// People other than `except` who can act now and hold a role of which `fits` is true everywhere.
    pub fn others<'a>(
        &'a self,
        except: &'a Principal,
        now: i64,
        fits: impl Fn(&Member) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Principal> {
        self.members
            .iter()
            .filter(move |(name, member)| {
                *name != except
                    && member.kind == MemberKind::Person
                    && member.can_act(now)
                    && fits(member)
            })
            .map(|(name, _)| name)
    }

    /// Whether a credential has refusals to its account that are still to be recorded this hour.
    pub fn records_refusals(&self, id: &CredentialId, now: i64) -> bool {
        self.credential(id)
            .is_some_and(|(_, _, credential)| credential.refusals.at(now) < REFUSALS_PER_HOUR)
    }
}

impl Member {
    /// One of its credentials.
    pub fn credential(&self, id: &CredentialId) -> Option<&Credential> {
        self.credentials.iter().find(|known| known.id == *id)
    }

    /// Whether any of its credentials can be used now.
    pub fn can_act(&self, now: i64) -> bool {
        !self.revoked
            && now < self.expires_at
            && self
                .credentials
                .iter()
                .any(|credential| credential.is_valid(now))
    }

    /// Credentials that are not revoked and have not expired, those that are not valid yet included.
    pub fn lasting(&self, now: i64) -> impl Iterator<Item = &Credential> {
        self.credentials
            .iter()
            .filter(move |known| !known.revoked && now < known.expires_at)
    }

    /// Whether somebody with these grants may do things of this kind in all of these fleets.
    pub fn may(&self, scope: &FleetScope, allows: impl Fn(Role) -> bool) -> bool {
        self.kind == MemberKind::BreakGlass || covers(&self.grants, scope, allows)
    }

    /// Whether a role allows such a thing anywhere.
    pub fn may_propose_somewhere(&self, kind: OperationKind) -> bool {
        self.kind == MemberKind::BreakGlass
            || self.grants.iter().any(|grant| grant.role.may_propose(kind))
    }

    fn check(&self, name: &Principal, credential: &Credential, now: i64) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(RefusalCode::CredentialInvalid, message));
        if self.revoked {
            return invalid(format!("{name} was revoked"));
        }
        if credential.revoked {
            return invalid(format!("this credential of {name} was revoked"));
        }
        if now < credential.not_before {
            return invalid(format!("this credential of {name} is not valid yet"))
                .map_err(|refusal: Refusal| refusal.until(credential.not_before));
        }
        if now >= credential.expires_at || now >= self.expires_at {
            return invalid(format!(
                "this credential of {name} has expired: ask an administrator for another one"
            ));
        }
        Ok(())
    }

    fn check_network(&self, name: &Principal, from: Option<IpAddr>) -> Result<(), Refusal> {
        let inside = |address| {
            self.networks
                .iter()
                .any(|network| network.contains_or_is_local(address))
        };
        if self.networks.is_empty() || from.is_some_and(inside) {
            return Ok(());
        }
        let networks: Vec<String> = self.networks.iter().map(ToString::to_string).collect();
        let networks = networks.join(", ");
        Err(Refusal::new(
            RefusalCode::NetworkRefused,
            match from {
                Some(address) if address.is_loopback() => format!(
                    "{name} may act from {networks} only, and this came from the eIM's own host: that would take the network 127.0.0.0/8 among them"
                ),
                Some(address) => format!("{name} may act from {networks} only, not from {address}"),
                None => format!(
                    "{name} may act from {networks} only, and where this came from is not known"
                ),
            },
        ))
    }
}

impl Credential {
    /// Whether it can be used now, as far as it goes itself.
    pub fn is_valid(&self, now: i64) -> bool {
        !self.revoked && (self.not_before..self.expires_at).contains(&now)
    }

    fn new(id: CredentialId, public: Public, not_before: i64, expires_at: i64) -> Self {
        Self {
            id,
            public,
            not_before,
            expires_at,
            revoked: false,
            counter: 0,
            last_use: None,
            proposals: Hourly::default(),
            refusals: Hourly::default(),
        }
    }

    fn of_key(key: &MachineKey) -> Self {
        Self::new(
            key.id.clone(),
            Public::Key(key.public),
            key.not_before,
            key.expires_at,
        )
    }
}

/// Whether grants whose role `allows` cover a scope together.
pub(crate) fn covers(grants: &[Grant], scope: &FleetScope, allows: impl Fn(Role) -> bool) -> bool {
    let mut fitting = grants.iter().filter(|grant| allows(grant.role));
    match scope {
        FleetScope::All => fitting.any(|grant| grant.fleets == FleetScope::All),
        FleetScope::Only(fleets) => {
            let fitting: Vec<&Grant> = fitting.collect();
            !fitting.is_empty()
                && fleets
                    .iter()
                    .all(|fleet| fitting.iter().any(|grant| grant.fleets.covers(fleet)))
        }
    }
}

/// What an action is, in a word, for the last use of a credential.
pub(crate) fn describe(action: &Action) -> String {
    let kinds: Vec<String> = action
        .kinds()
        .into_iter()
        .filter_map(|kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned))
        .collect();
    kinds.join(",")
}
