//! People and machines, what they show, and who is invited.

use std::collections::BTreeMap;
use std::net::IpAddr;

use intent::action::{MachineKey, Network, OperationKind};
use intent::api::{Refusal, RefusalCode};
use intent::passkey::PasskeyCredential;
use intent::{Action, CredentialId, Digest, FleetScope, Grant, Principal, Role};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::event::Event;
use crate::state::Misfit;

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
    /// Refusals that were recorded: the hour (since 1970), and how many in it.
    pub refusals: (i64, u32),
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
        self.credential(id).is_some_and(|(_, _, credential)| {
            let (hour, count) = credential.refusals;
            hour != now.div_euclid(HOUR_MS) || count < REFUSALS_PER_HOUR
        })
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
                .any(|network| network.contains(address))
        };
        match self.networks.is_empty() || from.is_some_and(inside) {
            true => Ok(()),
            false => Err(Refusal::new(
                RefusalCode::NetworkRefused,
                match from {
                    Some(address) => format!("{name} may not act from {address}"),
                    None => format!(
                        "{name} may act from certain networks only, and where this came from is not known"
                    ),
                },
            )),
        }
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
            refusals: (0, 0),
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

/// What events do. Only [`State::apply`](crate::state::State::apply) calls these.
impl People {
    /// An installation begins with the key in the safe, and nobody.
    pub(crate) fn begin(&mut self, number: u64, key: &MachineKey) -> Result<(), Misfit> {
        let name: Principal = BREAK_GLASS
            .parse()
            .map_err(|_| Misfit::new(number, "no name for the key in the safe"))?;
        let member = Member {
            kind: MemberKind::BreakGlass,
            grants: Vec::new(),
            expires_at: key.expires_at,
            revoked: false,
            networks: Vec::new(),
            credentials: Vec::new(),
        };
        self.members.insert(name.clone(), member);
        self.give(number, &name, Credential::of_key(key))
    }

    pub(crate) fn apply_use(
        &mut self,
        number: u64,
        id: &CredentialId,
        last_use: LastUse,
        counter: Option<u32>,
    ) -> Result<(), Misfit> {
        let credential = self.credential_mut(number, id)?;
        credential.counter = credential.counter.max(counter.unwrap_or(0));
        credential.last_use = Some(last_use);
        Ok(())
    }

    pub(crate) fn apply_refused(
        &mut self,
        number: u64,
        id: &CredentialId,
        at: i64,
        code: &str,
    ) -> Result<(), Misfit> {
        let credential = self.credential_mut(number, id)?;
        let hour = at.div_euclid(HOUR_MS);
        let before = match credential.refusals {
            (known, count) if known == hour => count,
            _ => 0,
        };
        credential.refusals = (hour, before.saturating_add(1));
        credential.last_use = Some(LastUse {
            at,
            from: None,
            what: format!("refused: {code}"),
        });
        Ok(())
    }

    pub(crate) fn apply_enrolled(
        &mut self,
        number: u64,
        at: i64,
        invitation: u64,
        name: &Principal,
        passkey: &PasskeyCredential,
    ) -> Result<(), Misfit> {
        let id = passkey
            .credential_id()
            .ok_or_else(|| Misfit::new(number, "the passkey has no usable id"))?;
        let (grants, expires_at, networks) = match invitation {
            0 => {
                let owner = Grant {
                    role: Role::Owner,
                    fleets: FleetScope::All,
                };
                (vec![owner], at.saturating_add(FIRST_OWNER_MS), Vec::new())
            }
            _ => match self.invitations.remove(name) {
                Some(open) if open.number == invitation => {
                    (open.grants, open.expires_at, open.networks)
                }
                _ => return Err(Misfit::new(number, "nobody of this name is invited")),
            },
        };
        let member = self.members.entry(name.clone()).or_insert(Member {
            kind: MemberKind::Person,
            grants: Vec::new(),
            expires_at,
            revoked: false,
            networks: Vec::new(),
            credentials: Vec::new(),
        });
        // A further passkey of somebody who is enrolled comes with no grants, and renews the time.
        member.expires_at = expires_at;
        if !grants.is_empty() {
            member.grants = grants;
            member.networks = networks;
        }
        let mut credential =
            Credential::new(id, Public::Passkey(Box::new(passkey.clone())), at, i64::MAX);
        credential.counter = passkey.counter;
        self.give(number, name, credential)
    }

    pub(crate) fn apply_invited(
        &mut self,
        number: u64,
        by: Principal,
        event: &Event,
    ) -> Result<(), Misfit> {
        let Event::PersonInvited {
            name,
            grants,
            code_sha256,
            code_expires_at,
            expires_at,
            networks,
            ..
        } = event
        else {
            return Err(Misfit::new(number, "not an invitation"));
        };
        let invitation = Invitation {
            number,
            by,
            grants: grants.clone(),
            code_sha256: *code_sha256,
            code_expires_at: *code_expires_at,
            expires_at: *expires_at,
            networks: networks.clone(),
        };
        self.invitations.insert(name.clone(), invitation);
        Ok(())
    }

    /// Takes the other events about people and machines.
    pub(crate) fn apply(&mut self, number: u64, event: &Event) -> Result<(), Misfit> {
        match event {
            Event::MachineAdmitted {
                name,
                grants,
                key,
                networks,
                ..
            } => {
                self.admit(
                    number,
                    name,
                    MemberKind::Machine,
                    grants,
                    key.expires_at,
                    networks,
                )?;
                self.give(number, name, Credential::of_key(key))
            }
            Event::TokenIssued {
                name,
                token_id,
                secret_sha256,
                grants,
                expires_at,
                ..
            } => {
                let id = token_id
                    .parse()
                    .map_err(|_| Misfit::new(number, "the token has no usable id"))?;
                self.admit(number, name, MemberKind::Token, grants, *expires_at, &[])?;
                let public = Public::Token(*secret_sha256);
                self.give(number, name, Credential::new(id, public, 0, *expires_at))
            }
            Event::KeyRotated {
                name,
                key,
                overlap_until,
                ..
            } => {
                let member = self.member_mut(number, name)?;
                for credential in &mut member.credentials {
                    credential.expires_at = credential.expires_at.min(*overlap_until);
                }
                member.expires_at = member.expires_at.max(key.expires_at);
                self.give(number, name, Credential::of_key(key))
            }
            Event::CredentialRevoked { credential, .. } => {
                self.credential_mut(number, credential)?.revoked = true;
                Ok(())
            }
            Event::PrincipalRevoked { name, .. } => {
                // Codes that somebody handed out must not outlive them: they could be for themselves.
                self.invitations.retain(|_, open| open.by != *name);
                let invited = self.invitations.remove(name).is_some();
                match self.members.get_mut(name) {
                    Some(member) => {
                        member.revoked = true;
                        Ok(())
                    }
                    None if invited => Ok(()),
                    None => Err(Misfit::new(number, format!("nobody is called {name}"))),
                }
            }
            Event::GrantsSet { name, grants, .. } => {
                self.member_mut(number, name)?.grants = grants.clone();
                Ok(())
            }
            _ => Err(Misfit::new(number, "not about people")),
        }
    }

    fn admit(
        &mut self,
        number: u64,
        name: &Principal,
        kind: MemberKind,
        grants: &[Grant],
        expires_at: i64,
        networks: &[Network],
    ) -> Result<(), Misfit> {
        let member = Member {
            kind,
            grants: grants.to_vec(),
            expires_at,
            revoked: false,
            networks: networks.to_vec(),
            credentials: Vec::new(),
        };
        match self.members.insert(name.clone(), member) {
            None => Ok(()),
            Some(_) => Err(Misfit::new(number, format!("{name} is there already"))),
        }
    }

    /// Gives a member a credential that nobody has.
    fn give(
        &mut self,
        number: u64,
        name: &Principal,
        credential: Credential,
    ) -> Result<(), Misfit> {
        let owner = self.owners.insert(credential.id.clone(), name.clone());
        if owner.is_some() {
            return Err(Misfit::new(number, "the credential is somebody's already"));
        }
        self.member_mut(number, name)?.credentials.push(credential);
        Ok(())
    }

    fn member_mut(&mut self, number: u64, name: &Principal) -> Result<&mut Member, Misfit> {
        self.members
            .get_mut(name)
            .ok_or_else(|| Misfit::new(number, format!("nobody is called {name}")))
    }

    fn credential_mut(
        &mut self,
        number: u64,
        id: &CredentialId,
    ) -> Result<&mut Credential, Misfit> {
        let name = self.owners.get(id);
        name.and_then(|name| self.members.get_mut(name))
            .and_then(|member| member.credentials.iter_mut().find(|known| known.id == *id))
            .ok_or_else(|| Misfit::new(number, "the credential is not known"))
    }
}
