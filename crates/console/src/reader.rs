//! Who looks, and at what.
//!
//! Nobody changes anything by being let in here: a session or a token reads. Whoever wants a change shows a proof with it, and
//! the authority looks at that.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use eim::Visible;
use intent::api::PrincipalInfo;
use intent::{CredentialId, FleetScope, Grant, Principal, Role};

/// Who asked for a page or a resource. An extension of every request that got through.
#[derive(Debug, Clone)]
pub struct Reader {
    /// How the request was let in.
    pub via: Via,
    /// What they are; empty for a local operator, who sees everything.
    pub grants: Vec<Grant>,
    /// Where the request came from.
    pub network: Option<IpAddr>,
}

/// How a request was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A person, signed in with a passkey.
    Session {
        /// Who.
        principal: Principal,
        /// With which passkey.
        credential: CredentialId,
        /// The session: its row, never its secret.
        session: i64,
    },
    /// A token for reading.
    Token {
        /// Whose.
        principal: Principal,
    },
    /// A program that shows a proof with what it wants, and sees nothing but the answer.
    Proof,
    /// Somebody who may open the control socket on this machine: its owner.
    Local {
        /// As logs show it.
        operator: String,
    },
}

impl Reader {
    /// Somebody on this machine, which is where keys for the host itself may be used from.
    pub fn local(operator: String) -> Self {
        Self {
            via: Via::Local { operator },
            grants: Vec::new(),
            network: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    /// Somebody whom the authority knows.
    pub fn known(via: Via, info: PrincipalInfo, network: Option<IpAddr>) -> Self {
        Self {
            via,
            grants: info.grants,
            network,
        }
    }

    /// The person or machine, if it is one the authority knows.
    pub fn principal(&self) -> Option<&Principal> {
        match &self.via {
            Via::Session { principal, .. } | Via::Token { principal } => Some(principal),
            Via::Proof | Via::Local { .. } => None,
        }
    }

    /// Whether they see any device at all.
    pub fn may_see_devices(&self) -> bool {
        matches!(self.via, Via::Local { .. }) || !self.grants.is_empty()
    }

    /// Which devices they see: every role sees those of its fleets.
    pub fn visible(&self) -> Visible {
        if matches!(self.via, Via::Local { .. }) {
            return Visible::All;
        }
        let mut fleets = BTreeSet::new();
        for grant in &self.grants {
            match &grant.fleets {
                FleetScope::All => return Visible::All,
                FleetScope::Only(these) => fleets.extend(these.iter().cloned()),
            }
        }
        Visible::Only(fleets)
    }

    /// Whether they see what is not about single devices: people, keys, policy, the record.
    pub fn may_audit(&self) -> bool {
        matches!(self.via, Via::Local { .. })
            || self.grants.iter().any(|grant| {
                matches!(
                    grant.role,
                    Role::Auditor | Role::SecurityAdmin | Role::Owner
                )
            })
    }
}
