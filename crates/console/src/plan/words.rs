//! What is asked for, in a line for people.

use intent::action::FreezeScope;
use intent::command::{DownloadSource, Route};
use intent::{Action, Command, DeviceSet, FleetScope, Grant};

/// What an action does, in a line.
pub fn described(action: &Action) -> String {
    match action {
        Action::Operate { devices, commands } => {
            let commands: Vec<String> = commands.iter().map(described_command).collect();
            format!("{} on {}", commands.join(", then "), set(devices))
        }
        Action::Cancel { intent } => format!("withdraw the intent {intent}"),
        Action::RegisterDevices { fleet, devices } => {
            format!("register {} in the fleet {fleet}", set(devices))
        }
        Action::RetireDevices { devices } => format!("end the management of {}", set(devices)),
        Action::ReassociateDevices { devices } => {
            format!("let {} be associated anew", set(devices))
        }
        Action::InvitePerson {
            name, grants: to, ..
        } => match to.is_empty() {
            true => format!("let {name} enrol a further passkey"),
            false => format!("invite {name} as {}", grants(to)),
        },
        Action::AdmitMachine {
            name, grants: to, ..
        } => format!("admit the machine {name} as {}", grants(to)),
        Action::RotateKey { name, .. } => format!("give {name} another key"),
        Action::RevokeCredential { credential } => format!("revoke the credential {credential}"),
        Action::RevokePrincipal { name } => format!("revoke {name}"),
        Action::SetGrants { name, grants: to } => format!("make {name} {}", grants(to)),
        Action::IssueReadToken {
            name, grants: to, ..
        } => format!("issue the token {name} that reads as {}", grants(to)),
        Action::SetPolicy { policy } => {
            format!("put version {} of the policy in force", policy.version)
        }
        Action::Freeze { scope } => format!("stop signing for {}", frozen(scope)),
        Action::Thaw { scope } => format!("sign again for {}", frozen(scope)),
        Action::AddSigningKey { spki_sha256 } => format!("use the signing key {spki_sha256} too"),
        Action::RetireSigningKey { spki_sha256 } => {
            format!("retire the signing key {spki_sha256}")
        }
    }
}

/// What a command does, in a few words. Codes in it are not shown.
pub fn described_command(command: &Command) -> String {
    match command {
        Command::Enable { iccid, rollback } => match rollback {
            true => format!("enable {iccid} (rollback armed)"),
            false => format!("enable {iccid}"),
        },
        Command::Disable { iccid } => format!("disable {iccid}"),
        Command::Delete { iccid } => format!("delete {iccid}"),
        Command::ListProfiles => "list the profiles".to_owned(),
        Command::GetRat => "read the Rules Authorisation Table".to_owned(),
        Command::ConfigureImmediateEnable { enabled, .. } => match enabled {
            true => "allow enabling right after a download".to_owned(),
            false => "forbid enabling right after a download".to_owned(),
        },
        Command::SetFallback { iccid } => format!("make {iccid} the fallback profile"),
        Command::UnsetFallback => "have no fallback profile".to_owned(),
        Command::SetDefaultSmdp { address } => match address.as_str() {
            "" => "remove the default SM-DP+".to_owned(),
            address => format!("set the default SM-DP+ {address}"),
        },
        Command::AddEim { configuration } => {
            format!("associate the eIM {}", configuration.eim_id.as_str())
        }
        Command::DeleteEim { eim_id } => format!("remove the eIM {}", eim_id.as_str()),
        Command::UpdateEim { configuration } => format!(
            "replace what is known of the eIM {}",
            configuration.eim_id.as_str()
        ),
        Command::ListEims => "list the eIMs".to_owned(),
        Command::AdoptEimKey { spki_sha256 } => {
            format!("take the key {spki_sha256} of this eIM")
        }
        Command::ReadDeviceData { .. } => "read data of eUICC and IPA".to_owned(),
        Command::Download { source, route, .. } => {
            let from = match source {
                DownloadSource::ActivationCode { smdp, .. } => smdp.clone(),
                DownloadSource::DefaultSmdp => "the default SM-DP+".to_owned(),
                DownloadSource::Smds(Some(address)) => format!("what the SM-DS {address} names"),
                DownloadSource::Smds(None) => "what the root SM-DS names".to_owned(),
            };
            match route {
                Route::Direct => format!("download a profile from {from}"),
                Route::Indirect => format!("download a profile from {from}, through this eIM"),
            }
        }
    }
}

/// `operator of all, viewer of meters and cars`
pub(super) fn grants(grants: &[Grant]) -> String {
    let each = grants.iter().map(|grant| {
        let role = serde_json::to_value(grant.role).unwrap_or_default();
        let fleets = match &grant.fleets {
            FleetScope::All => "all".to_owned(),
            FleetScope::Only(fleets) => {
                let names: Vec<&str> = fleets.iter().map(|fleet| fleet.as_str()).collect();
                names.join(" and ")
            }
        };
        format!("{} of {fleets}", role.as_str().unwrap_or_default())
    });
    each.collect::<Vec<_>>().join(", ")
}

fn set(devices: &DeviceSet) -> String {
    match (devices.count(), devices.resolve(None).ok().as_deref()) {
        (1, Some([eid])) => format!("the device {eid}"),
        (count, _) => format!("{count} devices"),
    }
}

fn frozen(scope: &FreezeScope) -> String {
    match scope {
        FreezeScope::Everything => "everything".to_owned(),
        FreezeScope::Fleet(fleet) => format!("the fleet {fleet}"),
        FreezeScope::Principal(name) => format!("what {name} proposed"),
        FreezeScope::Credential(id) => format!("what was proposed with the credential {id}"),
    }
}
