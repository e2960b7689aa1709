//! The record for security monitoring: entries as OCSF events, and as syslog lines.
//!
//! Both are translations for machines that look for patterns. Evidence is the entry itself, whose number each of them carries.

mod ocsf;
mod syslog;

pub(crate) use ocsf::ocsf;
pub(crate) use syslog::syslog;

use ledger::Entry;
use serde_json::Value;

/// How much somebody should care, as OCSF and syslog both know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

fn severity(entry: &Entry) -> Severity {
    match entry.kind.as_str() {
        "incident.raised" => Severity::Critical,
        "freeze.set" | "freeze.lifted" => Severity::High,
        "intent.refused"
        | "person.sign-in-refused"
        | "policy.set"
        | "grants.set"
        | "signing-key.added"
        | "signing-key.retired" => Severity::Medium,
        "person.invited"
        | "person.enrolled"
        | "machine.admitted"
        | "key.rotated"
        | "credential.revoked"
        | "principal.revoked"
        | "token.issued"
        | "device.retired"
        | "device.reassociable" => Severity::Low,
        _ => Severity::Informational,
    }
}

/// What an entry says in one line, for people.
fn summary(entry: &Entry) -> String {
    let member = |name: &str| entry.body.get(name).and_then(Value::as_str);
    match entry.kind.as_str() {
        "incident.raised" => format!(
            "{}: {}",
            member("what").unwrap_or("incident"),
            member("detail").unwrap_or_default()
        ),
        "intent.refused" | "person.sign-in-refused" => format!(
            "{}: {}",
            member("code").unwrap_or("refused"),
            member("detail").unwrap_or_default()
        ),
        "intent.proposed" => {
            let action = entry.body.pointer("/intent/action/type");
            format!(
                "proposed {}",
                action.and_then(Value::as_str).unwrap_or("a change")
            )
        }
        "intent.decided" => format!("decided: {}", member("decision").unwrap_or("?")),
        kind => kind.replace(['.', '-'], " "),
    }
}

/// Who acted: the part behind `principal:`, or the part of the system.
fn who(entry: &Entry) -> &str {
    let actor = entry.actor.as_str();
    actor.strip_prefix("principal:").unwrap_or(actor)
}

/// From where, as the front said.
fn network(entry: &Entry) -> Option<&str> {
    entry.body.get("network").and_then(Value::as_str)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn entry(kind: &str, actor: &str, body: Value) -> Entry {
        Entry {
            number: 17,
            at: 1_795_548_342_901,
            kind: kind.parse().unwrap(),
            device: None,
            actor: actor.parse().unwrap(),
            body,
        }
    }

    #[test]
    fn what_people_must_look_at_stands_out() {
        let incident = entry(
            "incident.raised",
            "authority",
            json!({"what": "break-glass", "detail": "used"}),
        );
        assert_eq!(severity(&incident), Severity::Critical);
        assert_eq!(summary(&incident), "break-glass: used");
        let ordinary = entry("package.ordered", "eim", json!({}));
        assert_eq!(severity(&ordinary), Severity::Informational);
    }
}
