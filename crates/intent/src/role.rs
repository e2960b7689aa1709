//! Who may ask for what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::OperationKind;
use crate::name::Fleet;

/// What somebody is, in the fleets of a [`Grant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees devices, profiles and operations.
    Viewer,
    /// Sees everything, the record included.
    Auditor,
    /// Proposes operations on devices.
    Operator,
    /// Approves what others propose for devices, and freezes.
    Approver,
    /// Registers and retires devices, and lets people and machines in to the fleet.
    FleetAdmin,
    /// Administers credentials, policy, freezes and signing keys.
    SecurityAdmin,
    /// Everything.
    Owner,
}

/// A role and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What somebody is.
    pub role: Role,
    /// Where.
    pub fleets: FleetScope,
}

/// Fleets. In JSON the word `all`, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FleetScope {
    /// Every fleet, those to come included.
    All,
    /// These.
    Only(BTreeSet<Fleet>),
}

impl FleetScope {
    /// Whether `fleet` is among them.
    pub fn covers(&self, fleet: &Fleet) -> bool {
        match self {
            Self::All => true,
            Self::Only(fleets) => fleets.contains(fleet),
        }
    }

    /// Whether all of `other` is among them.
    pub fn covers_all_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(these), Self::Only(those)) => those.is_subset(these),
        }
    }
}

impl Role {
    /// Whether this role may propose such a thing for its fleets.
    pub fn may_propose(self, kind: OperationKind) -> bool {
        use OperationKind as K;
        match self {
            Self::Viewer | Self::Auditor => false,
            Self::Approver => matches!(kind, K::Freeze),
            Self::Operator => matches!(
                kind,
                K::Enable
                    | K::Disable
                    | K::Delete
                    | K::Read
                    | K::Fallback
                    | K::Settings
                    | K::Download
                    | K::Cancel
            ),
            Self::FleetAdmin => {
                Self::Operator.may_propose(kind)
                    || matches!(
                        kind,
                        K::EimConfiguration
                            | K::RegisterDevices
                            | K::RetireDevices
                            | K::Reassociate
                            | K::Credential
                            | K::Freeze
                    )
            }
            Self::SecurityAdmin => matches!(
                kind,
                K::Credential
                    | K::Policy
                    | K::Freeze
                    | K::Thaw
                    | K::SigningKey
                    | K::Cancel
                    | K::Read
            ),
            Self::Owner => true,
        }
    }

    /// Whether this role may approve such a thing for its fleets.
    pub fn may_approve(self, kind: OperationKind) -> bool {
        use OperationKind as K;
        let is_administration = matches!(
            kind,
            K::Credential | K::Policy | K::Freeze | K::Thaw | K::SigningKey
        );
        match self {
            Self::Viewer | Self::Auditor | Self::Operator => false,
            Self::Approver | Self::FleetAdmin => !is_administration,
            Self::SecurityAdmin => is_administration,
            Self::Owner => true,
        }
    }

    /// Whether holders of this role may give `other` to somebody, within their own fleets.
    pub fn may_grant(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::SecurityAdmin => other != Self::Owner,
            Self::FleetAdmin => matches!(other, Self::Viewer | Self::Operator | Self::Approver),
            Self::Viewer | Self::Auditor | Self::Operator | Self::Approver => false,
        }
    }

    /// Whether a machine may have this role. Approving and owning are for people.
    pub fn fits_machine(self) -> bool {
        matches!(
            self,
            Self::Viewer | Self::Auditor | Self::Operator | Self::FleetAdmin
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(fleets: &[&str]) -> FleetScope {
        FleetScope::Only(fleets.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn scopes_nest() {
        assert!(FleetScope::All.covers_all_of(&only(&["a"])));
        assert!(!only(&["a"]).covers_all_of(&FleetScope::All));
        assert!(only(&["a", "b"]).covers_all_of(&only(&["b"])));
        assert!(!only(&["a"]).covers_all_of(&only(&["a", "b"])));
        assert!(!only(&["a"]).covers(&"b".parse().unwrap()));
    }

    #[test]
    fn scopes_read_as_words_or_lists() {
        assert_eq!(serde_json::to_string(&FleetScope::All).unwrap(), "\"all\"");
        assert_eq!(
            serde_json::to_string(&only(&["b", "a"])).unwrap(),
            "{\"only\":[\"a\",\"b\"]}"
        );
    }

    #[test]
    fn nobody_gives_more_than_is_theirs() {
        let all = [
            Role::Viewer,
            Role::Auditor,
            Role::Operator,
            Role::Approver,
            Role::FleetAdmin,
            Role::SecurityAdmin,
            Role::Owner,
        ];
        for giver in all {
            for given in all {
                if giver.may_grant(given) && giver != Role::Owner {
                    assert_ne!(given, Role::Owner, "{giver:?}");
                }
            }
            if !giver.may_propose(OperationKind::Credential) {
                assert!(
                    all.iter().all(|given| !giver.may_grant(*given)),
                    "{giver:?}"
                );
            }
        }
    }
}
