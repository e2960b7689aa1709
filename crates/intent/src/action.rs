//! What an intent asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandError, PackageKind};
use crate::device_set::{DeviceSet, DeviceSetError};
use crate::digest::Digest;
use crate::document::IntentId;
use crate::key_file::PublicKey;
use crate::name::{CredentialId, Fleet, Principal};
use crate::policy::{PolicyDocument, PolicyError};
use crate::role::{Grant, Role};
use crate::text;

/// Source networks of one principal, roles of one principal.
pub const LIST_MAX: usize = 32;

/// The change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Commands on devices, as one package for each of them.
    Operate {
        /// Where.
        devices: DeviceSet,
        /// What. Secrets are committed to.
        commands: Vec<Command>,
    },
    /// Withdraws an operation for the devices that were not signed for yet.
    Cancel {
        /// The operation's intent.
        intent: IntentId,
    },
    /// Takes devices under management.
    RegisterDevices {
        /// The fleet they belong to.
        fleet: Fleet,
        /// Which.
        devices: DeviceSet,
    },
    /// Ends the management of devices: nothing is signed for them any more.
    RetireDevices {
        /// Which.
        devices: DeviceSet,
    },
    /// Lets devices be associated anew: after a memory reset an eUICC keeps another association token.
    ReassociateDevices {
        /// Which.
        devices: DeviceSet,
    },
    /// Invites a person. Who shows the code can enrol a passkey, once.
    InvitePerson {
        /// Under which name.
        name: Principal,
        /// What the person will be. Empty for a further passkey of somebody who is enrolled.
        grants: Vec<Grant>,
        /// SHA-256 of the code.
        code_sha256: Digest,
        /// Until when the code can be used. Milliseconds since 1970.
        code_expires_at: i64,
        /// Until when the person may act. Milliseconds since 1970.
        expires_at: i64,
        /// From where the person may act; empty for anywhere.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        networks: Vec<Network>,
    },
    /// Admits a machine with its key.
    AdmitMachine {
        /// Under which name.
        name: Principal,
        /// What it is.
        grants: Vec<Grant>,
        /// Its key.
        key: MachineKey,
        /// From where it may act; empty for anywhere.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        networks: Vec<Network>,
    },
    /// Gives a machine another key. A machine may ask for this itself, with the key it has.
    RotateKey {
        /// The machine.
        name: Principal,
        /// The new key.
        key: MachineKey,
        /// Until when the keys before it stay valid. Milliseconds since 1970.
        overlap_until: i64,
    },
    /// Ends a credential, effective on the very next call.
    RevokeCredential {
        /// Which.
        credential: CredentialId,
    },
    /// Ends a person or machine with all credentials, effective on the very next call.
    RevokePrincipal {
        /// Who.
        name: Principal,
    },
    /// Replaces what somebody is.
    SetGrants {
        /// Who.
        name: Principal,
        /// What they are from now on.
        grants: Vec<Grant>,
    },
    /// Issues a token that can read and nothing else. Only its hash is recorded.
    IssueReadToken {
        /// Under which name.
        name: Principal,
        /// Public part of the token.
        token_id: String,
        /// SHA-256 of its secret part.
        secret_sha256: Digest,
        /// `viewer` or `auditor`, and where.
        grants: Vec<Grant>,
        /// Until when. Milliseconds since 1970.
        expires_at: i64,
    },
    /// Replaces the policy.
    SetPolicy {
        /// The whole new document.
        policy: Box<PolicyDocument>,
    },
    /// Stops signing for somebody, a fleet or everything, effective on the next signature.
    Freeze {
        /// What.
        scope: FreezeScope,
    },
    /// Ends a freeze.
    Thaw {
        /// What.
        scope: FreezeScope,
    },
    /// Takes a further key of this eIM into use: devices can be moved to it by `adopt-eim-key`.
    AddSigningKey {
        /// SHA-256 of its SubjectPublicKeyInfo (DER).
        spki_sha256: Digest,
    },
    /// Makes a key the one of newly associated devices, and retires another. Refused while a device still depends on it.
    RetireSigningKey {
        /// SHA-256 of the SubjectPublicKeyInfo (DER) to retire.
        spki_sha256: Digest,
    },
}

/// An Ed25519 key of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineKey {
    /// Its id, which signatures name.
    pub id: CredentialId,
    /// 32 octets (RFC 8032), in hexadecimal.
    #[serde(with = "hex::serde")]
    pub public: [u8; 32],
    /// From when it is valid. Milliseconds since 1970.
    pub not_before: i64,
    /// Until when it is valid. Milliseconds since 1970.
    pub expires_at: i64,
}

/// What is frozen. In JSON the word `everything`, or an object with one member.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreezeScope {
    /// All of it.
    Everything,
    /// Devices of one fleet.
    Fleet(Fleet),
    /// What one person or machine proposed.
    Principal(Principal),
    /// What was proposed with one credential.
    Credential(CredentialId),
}

/// An IP network, as `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: std::net::IpAddr,
    prefix: u8,
}

/// What kind of thing is asked for. Policy and roles speak of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Enabling a profile.
    Enable,
    /// Disabling a profile.
    Disable,
    /// Deleting a profile.
    Delete,
    /// Downloading a profile.
    Download,
    /// Setting or unsetting the fallback profile.
    Fallback,
    /// Immediate enabling, default SM-DP+ address.
    Settings,
    /// Reading.
    Read,
    /// Adding, updating, deleting an eIM.
    EimConfiguration,
    /// Registering devices.
    RegisterDevices,
    /// Retiring devices.
    RetireDevices,
    /// Associating devices anew.
    Reassociate,
    /// Withdrawing an operation.
    Cancel,
    /// People, machines, tokens, grants.
    Credential,
    /// Policy.
    Policy,
    /// Freezing.
    Freeze,
    /// Ending a freeze.
    Thaw,
    /// Keys of the eIM, and moving devices to them.
    SigningKey,
}

/// Why an action cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Commands that cannot stand together.
    #[error(transparent)]
    Commands(#[from] CommandError),
    /// The devices.
    #[error(transparent)]
    Devices(#[from] DeviceSetError),
    /// A secret in the clear.
    #[error("an intent only commits to activation and confirmation codes; send the openings along")]
    Unsealed,
    /// The policy document.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No grants, or too many.
    #[error("a person or machine has 1 to {LIST_MAX} grants")]
    Grants,
    /// Too many networks.
    #[error("at most {LIST_MAX} source networks can be given")]
    Networks,
    /// A role that is for people.
    #[error("machines can be viewer, auditor, operator or fleet-admin; {0:?} is for people")]
    RoleOfPeople(Role),
    /// A token that could change something.
    #[error("a token can be viewer or auditor; changes need a signature")]
    TokenRole,
    /// Times in the wrong order.
    #[error("a credential expires after it becomes valid")]
    Times,
    /// Not the form of a token's id.
    #[error("the token id is 1 to 32 characters of base64url")]
    TokenId,
    /// A key that nobody could use, or under another id than its own.
    #[error(
        "a machine's key is a usable Ed25519 public key, and its id is the one derived from it (pk_…)"
    )]
    Key,
}

impl Action {
    /// What is asked for.
    pub fn kinds(&self) -> BTreeSet<OperationKind> {
        use OperationKind as K;
        BTreeSet::from([match self {
            Self::Operate { commands, .. } => {
                return commands.iter().map(Command::kind).collect();
            }
            Self::Cancel { .. } => K::Cancel,
            Self::RegisterDevices { .. } => K::RegisterDevices,
            Self::RetireDevices { .. } => K::RetireDevices,
            Self::ReassociateDevices { .. } => K::Reassociate,
            Self::InvitePerson { .. }
            | Self::AdmitMachine { .. }
            | Self::RotateKey { .. }
            | Self::RevokeCredential { .. }
            | Self::RevokePrincipal { .. }
            | Self::SetGrants { .. }
            | Self::IssueReadToken { .. } => K::Credential,
            Self::SetPolicy { .. } => K::Policy,
            Self::Freeze { .. } => K::Freeze,
            Self::Thaw { .. } => K::Thaw,
            Self::AddSigningKey { .. } | Self::RetireSigningKey { .. } => K::SigningKey,
        }])
    }

    /// The devices it names, if it is about devices.
    pub fn devices(&self) -> Option<&DeviceSet> {
        match self {
            Self::Operate { devices, .. }
            | Self::RegisterDevices { devices, .. }
            | Self::RetireDevices { devices }
            | Self::ReassociateDevices { devices } => Some(devices),
            _ => None,
        }
    }

    /// What can be checked without knowing anything else.
    pub fn check(&self) -> Result<(), ActionError> {
        if let Some(devices) = self.devices() {
            devices.check()?;
        }
        match self {
            Self::Operate { commands, .. } => {
                Command::check(commands)?;
                match commands.iter().any(Command::has_open_secret) {
                    true => Err(ActionError::Unsealed),
                    false => Ok(()),
                }
            }
            Self::InvitePerson {
                grants, networks, ..
            } => {
                check_lists(grants.len(), networks.len())?;
                Ok(())
            }
            Self::AdmitMachine {
                grants,
                networks,
                key,
                ..
            } => {
                check_grants(grants)?;
                check_lists(grants.len(), networks.len())?;
                check_machine(grants)?;
                key.check()
            }
            Self::RotateKey { key, .. } => key.check(),
            Self::SetGrants { grants, .. } => check_grants(grants),
            Self::IssueReadToken {
                grants, token_id, ..
            } => {
                check_grants(grants)?;
                if !grants
                    .iter()
                    .all(|grant| matches!(grant.role, Role::Viewer | Role::Auditor))
                {
                    return Err(ActionError::TokenRole);
                }
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                match (1..=32).contains(&token_id.len()) && token_id.bytes().all(is_plain) {
                    true => Ok(()),
                    false => Err(ActionError::TokenId),
                }
            }
            Self::SetPolicy { policy } => Ok(policy.check()?),
            Self::Cancel { .. }
            | Self::RegisterDevices { .. }
            | Self::RetireDevices { .. }
            | Self::ReassociateDevices { .. }
            | Self::RevokeCredential { .. }
            | Self::RevokePrincipal { .. }
            | Self::Freeze { .. }
            | Self::Thaw { .. }
            | Self::AddSigningKey { .. }
            | Self::RetireSigningKey { .. } => Ok(()),
        }
    }

    /// The kind of package that an operation becomes on each device.
    pub fn package_kind(&self) -> Option<PackageKind> {
        match self {
            Self::Operate { commands, .. } => Command::check(commands).ok(),
            _ => None,
        }
    }
}

/// Roles that a machine cannot have.
pub fn check_machine(grants: &[Grant]) -> Result<(), ActionError> {
    match grants.iter().find(|grant| !grant.role.fits_machine()) {
        Some(grant) => Err(ActionError::RoleOfPeople(grant.role)),
        None => Ok(()),
    }
}

fn check_grants(grants: &[Grant]) -> Result<(), ActionError> {
    match grants.is_empty() {
        true => Err(ActionError::Grants),
        false => check_lists(grants.len(), 0),
    }
}

fn check_lists(grants: usize, networks: usize) -> Result<(), ActionError> {
    if grants > LIST_MAX {
        return Err(ActionError::Grants);
    }
    match networks > LIST_MAX {
        true => Err(ActionError::Networks),
        false => Ok(()),
    }
}

impl MachineKey {
    fn check(&self) -> Result<(), ActionError> {
        let key = PublicKey::from_bytes(&self.public).map_err(|_| ActionError::Key)?;
        if key.id() != self.id {
            return Err(ActionError::Key);
        }
        match self.not_before < self.expires_at {
            true => Ok(()),
            false => Err(ActionError::Times),
        }
    }
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a network looks like 192.0.2.0/24 or 2001:db8::/32, with no address bits behind the prefix"
)]
pub struct NoNetwork;

impl Network {
    /// Whether the address is in it, or both are of the host itself: 127.0.0.1 and ::1 are one place.
    pub fn contains_or_is_local(&self, address: std::net::IpAddr) -> bool {
        let loopback: [std::net::IpAddr; 2] = [
            std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::Ipv6Addr::LOCALHOST.into(),
        ];
        self.contains(address)
            || (address.to_canonical().is_loopback()
                && loopback.iter().any(|local| self.contains(*local)))
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        match (self.address, address.to_canonical()) {
            (V4(network), V4(address)) => {
                masked(network.to_bits().into(), 32, self.prefix)
                    == masked(address.to_bits().into(), 32, self.prefix)
            }
            (V6(network), V6(address)) => {
                masked(network.to_bits(), 128, self.prefix)
                    == masked(address.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of `width` bits.
fn masked(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr(u32::from(width.saturating_sub(prefix)))
        .unwrap_or(0)
}

impl std::str::FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = text.split_once('/').ok_or(NoNetwork)?;
        let address: std::net::IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let is_number = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = prefix.parse().map_err(|_| NoNetwork)?;
        let network = Self { address, prefix };
        let bits = match address {
            std::net::IpAddr::V4(address) => u128::from(address.to_bits()),
            std::net::IpAddr::V6(address) => address.to_bits(),
        };
        let tail = width - prefix.min(width);
        let rest = match tail {
            128 => bits,
            tail => bits & ((1u128 << tail) - 1),
        };
        match is_number && prefix <= width && rest == 0 && network.to_string() == text {
            true => Ok(network),
            false => Err(NoNetwork),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let network: Network = "192.0.2.128/25".parse().unwrap();
        assert!(network.contains("192.0.2.200".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.200".parse().unwrap()));
        assert!(!network.contains("192.0.2.1".parse().unwrap()));
        assert!(!network.contains("2001:db8::1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        let six: Network = "2001:db8::/32".parse().unwrap();
        assert!(six.contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!six.contains("2001:db9::1".parse().unwrap()));
        let local: Network = "::1/128".parse().unwrap();
        let v4: std::net::IpAddr = "127.0.0.1".parse().unwrap();
        assert!(local.contains_or_is_local(v4) && !local.contains(v4));
        assert!(!local.contains_or_is_local("192.0.2.1".parse().unwrap()));
        assert!(!network.contains_or_is_local(v4));
        for bad in [
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0",
            "192.0.2.0/+8",
            "192.0.2.0/024",
            "x/8",
            "::1/0",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn machines_and_tokens_cannot_be_more_than_machines_and_tokens() {
        let public =
            crate::key_file::ClientKey::from_seed("ci".parse().unwrap(), &[1; 32]).public();
        let key = MachineKey {
            id: public.id(),
            public: *public.as_bytes(),
            not_before: 0,
            expires_at: 1,
        };
        let grants = |role| {
            vec![Grant {
                role,
                fleets: crate::role::FleetScope::All,
            }]
        };
        let admit = |role| Action::AdmitMachine {
            name: "ci".parse().unwrap(),
            grants: grants(role),
            key: key.clone(),
            networks: Vec::new(),
        };
        assert_eq!(admit(Role::Operator).check(), Ok(()));
        for wrong in [
            MachineKey {
                id: "pk_1".parse().unwrap(),
                ..key.clone()
            },
            MachineKey {
                public: [0; 32],
                ..key.clone()
            },
        ] {
            assert_eq!(wrong.check(), Err(ActionError::Key));
        }
        assert_eq!(
            admit(Role::Approver).check(),
            Err(ActionError::RoleOfPeople(Role::Approver))
        );
        let token = |role| Action::IssueReadToken {
            name: "dashboard".parse().unwrap(),
            token_id: "abc".to_owned(),
            secret_sha256: Digest([0; 32]),
            grants: grants(role),
            expires_at: 1,
        };
        assert_eq!(token(Role::Viewer).check(), Ok(()));
        assert_eq!(token(Role::Operator).check(), Err(ActionError::TokenRole));
    }
}
