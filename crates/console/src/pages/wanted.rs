//! What a form asks for.

use intent::action::{FreezeScope, Network};
use intent::command::DownloadSource;
use intent::command::{DataItem, Route};
use intent::{Action, Command, Fleet, FleetScope, Grant, PolicyDocument, Principal, Role, Sealed};
use rsp::ids::{Eid, Iccid};
use serde_json::Value;

use super::devices::device_query;
use super::visit::{Fields, Visit};
use crate::Problem;
use crate::plan::{Change, Devices, Which, Wish};

const DAY_MS: i64 = 86_400_000;

/// What somebody wants, from what they sent.
pub(super) async fn wish(visit: &Visit, fields: &Fields) -> Result<Wish, Problem> {
    let change = match fields.get("kind").unwrap_or("") {
        "operate" => Change::Operate {
            devices: devices(fields, visit.now())?,
            commands: vec![command(fields)?],
        },
        "register" => Change::Register {
            fleet: needed(fields, "fleet")?,
            eids: eids(fields)?,
            only_effective: fields.has("only_effective"),
        },
        "retire" => Change::Retire {
            devices: devices(fields, visit.now())?,
        },
        "reassociate" => Change::Reassociate {
            devices: devices(fields, visit.now())?,
        },
        kind => Change::Other(Box::new(other(visit, fields, kind).await?)),
    };
    let days: Option<i64> = fields.parsed("days")?;
    Ok(Wish {
        change,
        note: fields.get("note").map(str::to_owned),
        lifetime_ms: days.map(|days| days.saturating_mul(DAY_MS)),
    })
}

async fn other(visit: &Visit, fields: &Fields, kind: &str) -> Result<Action, Problem> {
    let now = visit.now();
    let in_days = |name: &str, usual: i64| -> Result<i64, Problem> {
        let days: i64 = fields.parsed(name)?.unwrap_or(usual);
        Ok(now.saturating_add(days.saturating_mul(DAY_MS)))
    };
    Ok(match kind {
        "cancel" => Action::Cancel {
            intent: needed(fields, "intent")?,
        },
        "invite" => Action::InvitePerson {
            name: needed(fields, "name")?,
            grants: invited(fields)?,
            code_sha256: needed(fields, "code_sha256")?,
            code_expires_at: in_days("code_days", 7)?,
            expires_at: in_days("expires_days", 365)?,
            networks: networks(fields)?,
        },
        "revoke-principal" => Action::RevokePrincipal {
            name: needed(fields, "name")?,
        },
        "revoke-credential" => Action::RevokeCredential {
            credential: needed(fields, "credential")?,
        },
        "set-grants" => Action::SetGrants {
            name: needed(fields, "name")?,
            grants: grants(fields.get("grants").unwrap_or(""))?,
        },
        "freeze" => Action::Freeze {
            scope: scope(fields)?,
        },
        "thaw" => Action::Thaw {
            scope: scope(fields)?,
        },
        "policy" => Action::SetPolicy {
            policy: Box::new(policy(fields)?),
        },
        other => {
            return Err(Problem::invalid(format!(
                "{other:?} is nothing that can be asked for here"
            )));
        }
    })
}

fn needed<T: std::str::FromStr<Err: std::fmt::Display>>(
    fields: &Fields,
    name: &str,
) -> Result<T, Problem> {
    fields
        .parsed(name)?
        .ok_or_else(|| Problem::invalid(format!("the field {name} is empty")))
}

/// EIDs, one a line or between blanks and commas; digits may not be grouped.
fn eids(fields: &Fields) -> Result<Vec<Eid>, Problem> {
    let words = fields.all("eid").flat_map(|text| {
        text.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == ';')
    });
    let words = words.filter(|word| !word.is_empty());
    let parsed = words.map(|word| {
        word.parse()
            .map_err(|error: rsp::ids::InvalidId| Problem::invalid(format!("{word:?}: {error}")))
    });
    parsed.collect()
}

fn devices(fields: &Fields, now: i64) -> Result<Devices, Problem> {
    let eids = eids(fields)?;
    let which = match eids.is_empty() && fields.has("found") {
        true => Which::Found(Box::new(device_query(fields, now)?)),
        false if eids.is_empty() => {
            return Err(Problem::invalid(
                "no device is named: give EIDs, or choose a filter",
            ));
        }
        false => Which::Eids(eids),
    };
    Ok(Devices {
        which,
        only_effective: fields.has("only_effective"),
    })
}

fn command(fields: &Fields) -> Result<Command, Problem> {
    let iccid = || needed::<Iccid>(fields, "iccid");
    Ok(match fields.get("command").unwrap_or("") {
        "enable" => Command::Enable {
            iccid: iccid()?,
            rollback: fields.has("rollback"),
        },
        "disable" => Command::Disable { iccid: iccid()? },
        "delete" => Command::Delete { iccid: iccid()? },
        "set-fallback" => Command::SetFallback { iccid: iccid()? },
        "unset-fallback" => Command::UnsetFallback,
        "list-profiles" => Command::ListProfiles,
        "get-rat" => Command::GetRat,
        "list-eims" => Command::ListEims,
        "read-device-data" => Command::ReadDeviceData {
            items: DataItem::INTRODUCTION.to_vec(),
        },
        choice @ ("allow-immediate-enable" | "forbid-immediate-enable") => {
            Command::ConfigureImmediateEnable {
                enabled: choice == "allow-immediate-enable",
                smdp_oid: None,
                smdp_address: None,
            }
        }
        "set-default-smdp" => Command::SetDefaultSmdp {
            address: fields.text("address"),
        },
        "download" => Command::Download {
            source: match fields.get("code") {
                Some(code) => DownloadSource::activation_code(code)
                    .map_err(|error| Problem::invalid(error.to_string()))?,
                None => DownloadSource::DefaultSmdp,
            },
            route: match fields.get("route") {
                Some("indirect") => Route::Indirect,
                _ => Route::Direct,
            },
            confirmation_code: fields
                .get("confirmation")
                .map(|code| Sealed::Open(code.to_owned())),
        },
        other => return Err(Problem::invalid(format!("{other:?} is no command"))),
    })
}

/// One role in some fleets; nothing for a further passkey of somebody who is enrolled.
fn invited(fields: &Fields) -> Result<Vec<Grant>, Problem> {
    match fields.get("role") {
        None => Ok(Vec::new()),
        Some(role) => grants(&match fields.get("fleets") {
            Some(fleets) => format!("{role}:{fleets}"),
            None => role.to_owned(),
        }),
    }
}

/// `ROLE` or `ROLE:FLEET+FLEET`, one a line.
fn grants(text: &str) -> Result<Vec<Grant>, Problem> {
    let words = text
        .split(|letter: char| letter.is_whitespace() || letter == ',')
        .filter(|word| !word.is_empty());
    words.map(grant).collect()
}

fn grant(text: &str) -> Result<Grant, Problem> {
    let (role, fleets) = text.split_once(':').unwrap_or((text, "all"));
    let role: Role = serde_json::from_value(Value::from(role)).map_err(|_| {
        Problem::invalid(format!(
            "{role:?} is no role; there are viewer, auditor, operator, approver, fleet-admin, security-admin and owner"
        ))
    })?;
    let fleets = match fleets {
        "all" => FleetScope::All,
        names => FleetScope::Only(
            names
                .split('+')
                .map(|name| {
                    name.parse()
                        .map_err(|error| Problem::invalid(format!("the fleet {name:?}: {error}")))
                })
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Grant { role, fleets })
}

fn networks(fields: &Fields) -> Result<Vec<Network>, Problem> {
    let text = fields.text("networks");
    let words = text
        .split(|letter: char| letter.is_whitespace() || letter == ',')
        .filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse().map_err(|error: intent::action::NoNetwork| {
                Problem::invalid(format!("{word:?}: {error}"))
            })
        })
        .collect()
}

fn scope(fields: &Fields) -> Result<FreezeScope, Problem> {
    Ok(match fields.get("scope").unwrap_or("") {
        "everything" => FreezeScope::Everything,
        "fleet" => FreezeScope::Fleet(needed::<Fleet>(fields, "which")?),
        "principal" => FreezeScope::Principal(needed::<Principal>(fields, "which")?),
        "credential" => FreezeScope::Credential(needed(fields, "which")?),
        other => {
            return Err(Problem::invalid(format!(
                "{other:?} is nothing that can be frozen"
            )));
        }
    })
}

fn policy(fields: &Fields) -> Result<PolicyDocument, Problem> {
    let policy: PolicyDocument = serde_json::from_str(fields.get("policy").unwrap_or(""))
        .map_err(|error| Problem::invalid(format!("this is no policy: {error}")))?;
    policy
        .check()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_strictly() {
        let read = |text: &str| command(&Fields::parse(text.as_bytes()));
        assert!(matches!(
            read("command=enable&iccid=89000123456789012341&rollback=1"),
            Ok(Command::Enable { rollback: true, .. })
        ));
        assert!(read("command=enable&iccid=8900'; DROP").is_err());
        assert!(read("command=explode").is_err());
        assert!(read("").is_err());
        let download =
            read("command=download&code=1%24smdp.example.com%24AB&confirmation=1234").unwrap();
        assert!(download.has_open_secret());
        assert_eq!(grants("operator:meters+cars\nviewer").unwrap().len(), 2);
        assert!(grants("boss").is_err());
        assert!(grants("operator:").is_err());
    }

    #[test]
    fn devices_are_named_or_found() {
        let read = |text: &str| devices(&Fields::parse(text.as_bytes()), 0);
        assert!(read("").is_err());
        assert!(matches!(
            read("found=1&q=meter").unwrap().which,
            Which::Found(_)
        ));
        assert!(read("eid=123").is_err());
    }
}
