//! Profiles on the server's side: their states, and what is said about them.

use std::fmt;

use rsp::der::{Encoded, Octets};
use rsp::ids::Iccid;
use rsp::sgp22::{
    IconType, NotificationConfigurationInformation, NotificationEvent, OperatorId, PprIds,
    ProfileClass, StoreMetadataRequest,
};

/// State of a profile in the SM-DP+ (SGP.22 v2.5 section 3.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProfileState {
    /// In the inventory, in no order.
    Available,
    /// Reserved for an order.
    Allocated,
    /// Reserved, and linked to an EID.
    Linked,
    /// Confirmed by the operator with matching id and confirmation code.
    Confirmed,
    /// Ready for download.
    Released,
    /// Delivered in a bound profile package; how it ended is not known yet.
    Downloaded,
    /// The eUICC said, signed, that it is installed.
    Installed,
    /// It was not installed, and the order cannot go on.
    Error,
    /// Taken out of the inventory for good.
    Unavailable,
}

/// What happens to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProfileEvent {
    /// ES2+.DownloadOrder without EID.
    Allocate,
    /// ES2+.DownloadOrder or ES2+.ConfirmOrder with EID.
    Link,
    /// ES2+.ConfirmOrder.
    Confirm,
    /// ES2+.ReleaseProfile, or ConfirmOrder with releaseFlag.
    Release,
    /// ES9+.GetBoundProfilePackage answered with a package.
    Deliver,
    /// A verified ProfileInstallationResult that says success.
    Install,
    /// A verified ProfileInstallationResult or cancellation that says failure, or a retry limit.
    Fail,
    /// ES2+.CancelOrder with final status Available.
    Reuse,
    /// ES2+.CancelOrder with final status Unavailable.
    Withdraw,
}

impl ProfileState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Available,
        Self::Allocated,
        Self::Linked,
        Self::Confirmed,
        Self::Released,
        Self::Downloaded,
        Self::Installed,
        Self::Error,
        Self::Unavailable,
    ];

    /// The state after an event; `None` when the event cannot happen in this state.
    pub fn after(self, event: ProfileEvent) -> Option<Self> {
        use ProfileEvent as E;
        use ProfileState as S;
        Some(match (self, event) {
            (S::Available, E::Allocate) => S::Allocated,
            (S::Available | S::Allocated, E::Link) => S::Linked,
            (S::Allocated | S::Linked, E::Confirm) => S::Confirmed,
            (S::Confirmed, E::Release) => S::Released,
            (S::Released | S::Downloaded, E::Deliver) => S::Downloaded,
            // A result may come after the order was ended by a retry limit or a cancellation; what the
            // eUICC signed is the truth, and the profile must not be given to a second one.
            (S::Downloaded | S::Error, E::Install) => S::Installed,
            (S::Released | S::Downloaded, E::Fail) => S::Error,
            (S::Allocated | S::Linked | S::Confirmed | S::Released | S::Error, E::Reuse) => {
                S::Available
            }
            (
                S::Allocated | S::Linked | S::Confirmed | S::Released | S::Downloaded | S::Error,
                E::Withdraw,
            ) => S::Unavailable,
            _ => return None,
        })
    }

    /// The name in SGP.22.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Allocated => "Allocated",
            Self::Linked => "Linked",
            Self::Confirmed => "Confirmed",
            Self::Released => "Released",
            Self::Downloaded => "Downloaded",
            Self::Installed => "Installed",
            Self::Error => "Error",
            Self::Unavailable => "Unavailable",
        }
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl ProfileEvent {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Allocate,
        Self::Link,
        Self::Confirm,
        Self::Release,
        Self::Deliver,
        Self::Install,
        Self::Fail,
        Self::Reuse,
        Self::Withdraw,
    ];

    /// A word for the history.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Link => "link",
            Self::Confirm => "confirm",
            Self::Release => "release",
            Self::Deliver => "deliver",
            Self::Install => "install",
            Self::Fail => "fail",
            Self::Reuse => "reuse",
            Self::Withdraw => "withdraw",
        }
    }
}

impl fmt::Display for ProfileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What devices and eUICCs are told about a profile (SGP.22 v2.5 section 5.5.3, with the members
/// that SGP.32 adds), except its ICCID.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileMetadata {
    /// At most 32 octets.
    pub service_provider_name: String,
    /// At most 64 octets.
    pub profile_name: String,
    /// What the profile is for.
    pub class: ProfileClass,
    /// A picture.
    pub icon: Option<Icon>,
    /// Which server is told about which event.
    pub notifications: Vec<(NotificationEvent, String)>,
    /// The operator.
    pub owner: Option<Owner>,
    /// Profile policy rules.
    pub policy_rules: PolicyRules,
    /// It may be made the fallback profile (SGP.32).
    pub fallback_allowed: bool,
    /// It is an emergency profile (SGP.32).
    pub ecall_indication: bool,
}

/// A picture of at most 1024 octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// Its kind.
    pub kind: IconType,
    /// The file.
    pub octets: Vec<u8>,
}

/// Who owns a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// As in 3GPP TS 24.008.
    pub mcc_mnc: [u8; 3],
    /// EF.GID1.
    pub gid1: Option<Vec<u8>>,
    /// EF.GID2.
    pub gid2: Option<Vec<u8>>,
}

/// Profile policy rules (SGP.22 v2.5 section 2.9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyRules {
    /// PPR1: disabling is not allowed.
    pub no_disable: bool,
    /// PPR2: deletion is not allowed.
    pub no_delete: bool,
}

/// Why metadata cannot be given to an eUICC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Too long.
    #[error("serviceProviderName has more than 32 octets")]
    ServiceProviderName,
    /// Too long.
    #[error("profileName has more than 64 octets")]
    ProfileName,
    /// Too large.
    #[error("the icon has more than 1024 octets")]
    Icon,
    /// Not a host name.
    #[error("a notification address is not a host name")]
    NotificationAddress,
}

impl ProfileMetadata {
    /// Names and class, and nothing else.
    pub fn new(service_provider_name: &str, profile_name: &str, class: ProfileClass) -> Self {
        Self {
            service_provider_name: service_provider_name.to_owned(),
            profile_name: profile_name.to_owned(),
            class,
            icon: None,
            notifications: Vec::new(),
            owner: None,
            policy_rules: PolicyRules::default(),
            fallback_allowed: false,
            ecall_indication: false,
        }
    }

    /// The same, with notifications of every event to one server.
    #[must_use]
    pub fn notifying(mut self, address: &str) -> Self {
        use NotificationEvent as E;
        let all = E::of([E::INSTALL, E::ENABLE, E::DISABLE, E::DELETE]);
        self.notifications.push((all, address.to_owned()));
        self
    }

    pub(crate) fn check(&self) -> Result<(), MetadataError> {
        let is_host = |address: &str| {
            let octets = address.as_bytes();
            (1..=253).contains(&octets.len())
                && octets
                    .iter()
                    .all(|o| o.is_ascii_alphanumeric() || matches!(o, b'.' | b'-'))
        };
        if self.service_provider_name.len() > 32 {
            return Err(MetadataError::ServiceProviderName);
        }
        if self.profile_name.len() > 64 {
            return Err(MetadataError::ProfileName);
        }
        if self
            .icon
            .as_ref()
            .is_some_and(|icon| icon.octets.len() > 1024)
        {
            return Err(MetadataError::Icon);
        }
        if !self
            .notifications
            .iter()
            .all(|(_, address)| is_host(address))
        {
            return Err(MetadataError::NotificationAddress);
        }
        Ok(())
    }

    /// The object for one profile.
    pub(crate) fn request(&self, iccid: Iccid) -> Encoded<StoreMetadataRequest> {
        let rules = [
            (self.policy_rules.no_disable, PprIds::PPR1),
            (self.policy_rules.no_delete, PprIds::PPR2),
        ];
        let rules: Vec<usize> = rules
            .into_iter()
            .filter_map(|(is_set, bit)| is_set.then_some(bit))
            .collect();
        let notifications = self.notifications.iter().map(|(events, address)| {
            NotificationConfigurationInformation {
                profile_management_operation: events.clone(),
                notification_address: address.clone(),
                extensions: Default::default(),
            }
        });
        let notifications: Vec<_> = notifications.collect();
        Encoded::new(StoreMetadataRequest {
            iccid,
            service_provider_name: self.service_provider_name.clone(),
            profile_name: self.profile_name.clone(),
            icon_type: self.icon.as_ref().map(|icon| icon.kind),
            icon: self.icon.as_ref().map(|icon| Octets(icon.octets.clone())),
            // DER leaves out what equals the DEFAULT.
            profile_class: (self.class != ProfileClass::Operational).then_some(self.class),
            notification_configuration_info: (!notifications.is_empty()).then_some(notifications),
            profile_owner: self.owner.as_ref().map(|owner| OperatorId {
                mcc_mnc: owner.mcc_mnc,
                gid1: owner.gid1.clone().map(Octets),
                gid2: owner.gid2.clone().map(Octets),
                extensions: Default::default(),
            }),
            profile_policy_rules: (!rules.is_empty()).then(|| PprIds::of(rules)),
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: self.ecall_indication.then_some(true),
            fallback_allowed: self.fallback_allowed.then_some(true),
            extensions: Default::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rsp::der::Element;

    use super::*;

    /// Every pair of state and event; what is not listed must be refused.
    #[test]
    fn the_state_machine_is_exactly_this_table() {
        use ProfileEvent as E;
        use ProfileState as S;
        let allowed = [
            (S::Available, E::Allocate, S::Allocated),
            (S::Available, E::Link, S::Linked),
            (S::Allocated, E::Link, S::Linked),
            (S::Allocated, E::Confirm, S::Confirmed),
            (S::Allocated, E::Reuse, S::Available),
            (S::Allocated, E::Withdraw, S::Unavailable),
            (S::Linked, E::Confirm, S::Confirmed),
            (S::Linked, E::Reuse, S::Available),
            (S::Linked, E::Withdraw, S::Unavailable),
            (S::Confirmed, E::Release, S::Released),
            (S::Confirmed, E::Reuse, S::Available),
            (S::Confirmed, E::Withdraw, S::Unavailable),
            (S::Released, E::Deliver, S::Downloaded),
            (S::Released, E::Fail, S::Error),
            (S::Released, E::Reuse, S::Available),
            (S::Released, E::Withdraw, S::Unavailable),
            (S::Downloaded, E::Deliver, S::Downloaded),
            (S::Downloaded, E::Install, S::Installed),
            (S::Downloaded, E::Fail, S::Error),
            (S::Downloaded, E::Withdraw, S::Unavailable),
            (S::Error, E::Install, S::Installed),
            (S::Error, E::Reuse, S::Available),
            (S::Error, E::Withdraw, S::Unavailable),
        ];
        let mut checked = 0;
        for state in S::ALL {
            for event in E::ALL {
                let expected = allowed
                    .iter()
                    .find(|(from, by, _)| (*from, *by) == (state, event))
                    .map(|(_, _, to)| *to);
                assert_eq!(state.after(event), expected, "{state:?} after {event:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, 81);
    }

    #[test]
    fn names_of_states_are_unique_and_read_back() {
        for state in ProfileState::ALL {
            assert_eq!(ProfileState::from_name(state.name()), Some(state));
        }
        assert_eq!(ProfileState::from_name("installed"), None);
    }

    #[test]
    fn metadata_leaves_out_defaults_and_has_bounds() {
        let iccid: Iccid = "89000123456789012341".parse().unwrap();
        let plain = ProfileMetadata::new("Spn", "Name", ProfileClass::Operational);
        let der = plain.request(iccid).bytes().to_vec();
        assert_eq!(
            der,
            [
                &[0xBF, 0x25, 0x17, 0x5A, 0x0A][..],
                iccid.octets(),
                &[0x91, 3],
                b"Spn",
                &[0x92, 4],
                b"Name"
            ]
            .concat()
        );
        let mut full = ProfileMetadata::new("S", "N", ProfileClass::Test).notifying("a.example");
        full.policy_rules = PolicyRules {
            no_disable: true,
            no_delete: true,
        };
        full.fallback_allowed = true;
        full.ecall_indication = true;
        let request = StoreMetadataRequest::from_der(full.request(iccid).bytes()).unwrap();
        assert_eq!(request.profile_class, Some(ProfileClass::Test));
        assert_eq!(request.profile_policy_rules, Some(PprIds::of([1, 2])));
        assert_eq!(
            (request.ecall_indication, request.fallback_allowed),
            (Some(true), Some(true))
        );
        assert_eq!(full.check(), Ok(()));

        for (change, error) in [
            (
                (|m: &mut ProfileMetadata| m.service_provider_name = "x".repeat(33))
                    as fn(&mut ProfileMetadata),
                MetadataError::ServiceProviderName,
            ),
            (
                |m| m.profile_name = "x".repeat(65),
                MetadataError::ProfileName,
            ),
            (
                |m| {
                    m.icon = Some(Icon {
                        kind: IconType::Png,
                        octets: vec![0; 1025],
                    })
                },
                MetadataError::Icon,
            ),
            (
                |m| m.notifications.push(Default::default()),
                MetadataError::NotificationAddress,
            ),
        ] {
            let mut bad = plain.clone();
            change(&mut bad);
            assert_eq!(bad.check(), Err(error));
        }
    }
}
