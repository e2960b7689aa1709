//! What policy says of commands, as far as it shows without knowing the device.

use std::collections::BTreeSet;

use rsp::ids::Iccid;

use super::PolicyDocument;
use crate::action::Action;
use crate::command::{Command, DownloadSource};
use crate::name::Fleet;
use crate::role::FleetScope;

/// What policy does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The default SM-DP+ of the eUICC.
    #[error("policy does not let devices ask their default SM-DP+: give an activation code")]
    DefaultSmdp,
    /// An SM-DS.
    #[error("policy does not let devices ask an SM-DS: give an activation code")]
    Smds,
    /// An SM-DP+.
    #[error(
        "policy does not allow the SM-DP+ {0:?}: add it to downloads.smdp_addresses, or use another"
    )]
    Smdp(String),
    /// A profile.
    #[error("policy does not allow the profile {0}: no prefix in profiles.iccid_prefixes fits")]
    Profile(Iccid),
}

impl PolicyDocument {
    /// Whether policy allows commands anywhere. Asked when they are proposed, and again whenever one is signed or released.
    pub fn check_commands(&self, commands: &[Command]) -> Result<(), Forbidden> {
        commands
            .iter()
            .try_for_each(|command| self.check_command(command))
    }

    /// Whether policy allows a command anywhere.
    pub fn check_command(&self, command: &Command) -> Result<(), Forbidden> {
        match command {
            // Getting rid of a profile that may not be used is always allowed.
            Command::Enable { iccid, .. } | Command::SetFallback { iccid } => {
                self.check_iccid(iccid)
            }
            Command::SetDefaultSmdp { address } => match address.is_empty() {
                true => Ok(()),
                false => self.check_smdp(address),
            },
            Command::ConfigureImmediateEnable {
                smdp_address: Some(address),
                ..
            } => self.check_smdp(address),
            Command::Download { source, .. } => match source {
                DownloadSource::ActivationCode { smdp, .. } => self.check_smdp(smdp),
                DownloadSource::DefaultSmdp if self.downloads.default_smdp => Ok(()),
                DownloadSource::DefaultSmdp => Err(Forbidden::DefaultSmdp),
                DownloadSource::Smds(_) if self.downloads.smds => Ok(()),
                DownloadSource::Smds(_) => Err(Forbidden::Smds),
            },
            _ => Ok(()),
        }
    }

    /// How many people have to approve an action on `devices` devices in `scope`. Freezing is always at once, thawing always
    /// takes two.
    pub fn approvers_of(&self, action: &Action, scope: &FleetScope, devices: u64) -> u8 {
        let fleets: BTreeSet<Fleet> = match scope {
            FleetScope::Only(fleets) => fleets.clone(),
            // A rule of policy for some fleet holds for what is about all of them.
            FleetScope::All => {
                let rules = self.approvals.iter();
                rules.flat_map(|rule| rule.fleets.clone()).collect()
            }
        };
        let asked = self.approvers(&action.kinds(), &fleets, devices);
        match action {
            Action::Freeze { .. } => 0,
            Action::Thaw { .. } => asked.max(1),
            _ => asked,
        }
    }

    fn check_smdp(&self, address: &str) -> Result<(), Forbidden> {
        let address = address.to_ascii_lowercase();
        let allows = |allowed: &BTreeSet<String>| allowed.contains(&address);
        match self.downloads.smdp_addresses.as_ref().is_none_or(allows) {
            true => Ok(()),
            false => Err(Forbidden::Smdp(address)),
        }
    }

    fn check_iccid(&self, iccid: &Iccid) -> Result<(), Forbidden> {
        let digits = iccid.to_string();
        let allows = |prefixes: &BTreeSet<String>| {
            prefixes
                .iter()
                .any(|prefix| digits.starts_with(prefix.as_str()))
        };
        match self.profiles.iccid_prefixes.as_ref().is_none_or(allows) {
            true => Ok(()),
            false => Err(Forbidden::Profile(*iccid)),
        }
    }
}
