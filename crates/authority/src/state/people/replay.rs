//! What events do to people and machines.

use intent::action::{MachineKey, Network};
use intent::passkey::PasskeyCredential;
use intent::{CredentialId, FleetScope, Grant, Principal, Role};

use super::{
    BREAK_GLASS, Credential, FIRST_OWNER_MS, Invitation, LastUse, Member, MemberKind, People,
    Public,
};
use crate::event::Event;
use crate::state::Misfit;

/// Only [`State::apply`](crate::state::State::apply) calls these.
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

    /// A proposal of somebody was accepted.
    pub(crate) fn apply_proposal(
        &mut self,
        number: u64,
        id: &CredentialId,
        at: i64,
    ) -> Result<(), Misfit> {
        self.credential_mut(number, id)?.proposals.count(at);
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
        credential.refusals.count(at);
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
