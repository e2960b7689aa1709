//! What policy says of commands, as far as it shows without knowing the device.

use std::collections::BTreeSet;

use intent::api::{Refusal, RefusalCode};
use intent::command::DownloadSource;
use intent::{Command, PolicyDocument};
use rsp::ids::Iccid;

/// Whether policy allows commands anywhere. Asked when they are proposed, and again whenever one is signed or released.
pub(crate) fn check_commands(policy: &PolicyDocument, commands: &[Command]) -> Result<(), Refusal> {
    commands
        .iter()
        .try_for_each(|command| check_command(policy, command))
}

fn check_command(policy: &PolicyDocument, command: &Command) -> Result<(), Refusal> {
    match command {
        // Getting rid of a profile that may not be used is always allowed.
        Command::Enable { iccid, .. } | Command::SetFallback { iccid } => {
            check_iccid(policy, iccid)
        }
        Command::SetDefaultSmdp { address } => match address.is_empty() {
            true => Ok(()),
            false => check_smdp(policy, address),
        },
        Command::ConfigureImmediateEnable {
            smdp_address: Some(address),
            ..
        } => check_smdp(policy, address),
        Command::Download { source, .. } => match source {
            DownloadSource::ActivationCode { smdp, .. } => check_smdp(policy, smdp),
            DownloadSource::DefaultSmdp if policy.downloads.default_smdp => Ok(()),
            DownloadSource::DefaultSmdp => Err(refused(
                "policy does not let devices ask their default SM-DP+: give an activation code",
            )),
            DownloadSource::Smds(_) if policy.downloads.smds => Ok(()),
            DownloadSource::Smds(_) => Err(refused(
                "policy does not let devices ask an SM-DS: give an activation code",
            )),
        },
        _ => Ok(()),
    }
}

fn check_smdp(policy: &PolicyDocument, address: &str) -> Result<(), Refusal> {
    let address = address.to_ascii_lowercase();
    let allows = |allowed: &BTreeSet<String>| allowed.contains(&address);
    match policy.downloads.smdp_addresses.as_ref().is_none_or(allows) {
        true => Ok(()),
        false => Err(refused(format!(
            "policy does not allow the SM-DP+ {address:?}: add it to downloads.smdp_addresses, or use another"
        ))),
    }
}

fn check_iccid(policy: &PolicyDocument, iccid: &Iccid) -> Result<(), Refusal> {
    let digits = iccid.to_string();
    let allows = |prefixes: &BTreeSet<String>| {
        prefixes
            .iter()
            .any(|prefix| digits.starts_with(prefix.as_str()))
    };
    match policy.profiles.iccid_prefixes.as_ref().is_none_or(allows) {
        true => Ok(()),
        false => Err(refused(format!(
            "policy does not allow the profile {digits}: no prefix in profiles.iccid_prefixes fits"
        ))),
    }
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::PolicyRefused, message)
}
