//! Open Cybersecurity Schema Framework 1.3 (schema.ocsf.io).

use ledger::Entry;
use serde_json::{Map, Value, json};

use super::{Severity, network, severity, summary, who};

/// A class of events and what happened in it.
struct Class {
    category: u32,
    class: u32,
    activity: u32,
}

/// Categories: 2 findings, 3 identity and access, 6 application.
const fn class(class: u32, activity: u32) -> Class {
    Class {
        category: class / 1000,
        class,
        activity,
    }
}

const DETECTION_FINDING: u32 = 2004;
const ACCOUNT_CHANGE: u32 = 3001;
const AUTHENTICATION: u32 = 3002;
const ENTITY_MANAGEMENT: u32 = 3004;
const API_ACTIVITY: u32 = 6003;

fn classified(kind: &str) -> Class {
    match kind {
        "person.signed-in" | "person.sign-in-refused" => class(AUTHENTICATION, 1),
        // Account Change: 1 create, 6 delete, 7 attach policy, 99 other.
        "person.enrolled" | "machine.admitted" | "person.invited" | "token.issued" => {
            class(ACCOUNT_CHANGE, 1)
        }
        "credential.revoked" | "principal.revoked" => class(ACCOUNT_CHANGE, 6),
        "grants.set" => class(ACCOUNT_CHANGE, 7),
        "key.rotated" => class(ACCOUNT_CHANGE, 99),
        // Entity Management: 1 create, 3 update, 4 delete.
        "device.registered" | "device.associated" | "signing-key.added" => {
            class(ENTITY_MANAGEMENT, 1)
        }
        "policy.set" | "device.reassociable" | "freeze.set" | "freeze.lifted" => {
            class(ENTITY_MANAGEMENT, 3)
        }
        "device.retired" | "signing-key.retired" => class(ENTITY_MANAGEMENT, 4),
        "incident.raised" => class(DETECTION_FINDING, 1),
        // API Activity: 1 create, 2 read, 3 update, 4 delete, 99 other.
        "intent.proposed" | "package.ordered" | "package.released" => class(API_ACTIVITY, 1),
        "intent.decided" => class(API_ACTIVITY, 3),
        "intent.cancelled" => class(API_ACTIVITY, 4),
        _ => class(API_ACTIVITY, 99),
    }
}

/// An entry as an event.
pub(crate) fn ocsf(entry: &Entry, installation: &str) -> Value {
    let kind = entry.kind.as_str();
    let Class {
        category,
        class,
        activity,
    } = classified(kind);
    let is_refusal = matches!(kind, "intent.refused" | "person.sign-in-refused");
    let severity = match severity(entry) {
        Severity::Informational => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    };
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    put("category_uid", json!(category));
    put("class_uid", json!(class));
    put("activity_id", json!(activity));
    put("type_uid", json!(class * 100 + activity));
    put("severity_id", json!(severity));
    put("status_id", json!(if is_refusal { 2 } else { 1 }));
    put("time", json!(entry.at));
    put("message", json!(summary(entry)));
    put(
        "metadata",
        json!({
            "version": "1.3.0",
            "uid": format!("{installation}#{}", entry.number),
            "sequence": entry.number,
            "log_name": "ledger",
            "event_code": kind,
            "product": {
                "name": "Palisade",
                "vendor_name": "Palisade",
                "version": env!("CARGO_PKG_VERSION"),
            },
        }),
    );
    let user = json!({ "name": who(entry), "uid": entry.actor.as_str() });
    put("actor", json!({ "user": user }));
    if let Some(address) = network(entry) {
        put("src_endpoint", json!({ "ip": address }));
    }
    if let Some(eid) = entry.eid() {
        put(
            "device",
            json!({ "uid": eid.to_string(), "type_id": 7, "type": "IOT" }),
        );
    }
    let target = |name: &str| entry.body.get(name).and_then(Value::as_str);
    match class {
        AUTHENTICATION | ACCOUNT_CHANGE => {
            let whom = target("principal")
                .or(target("name"))
                .or(target("credential"))
                .unwrap_or("unknown");
            put("user", json!({ "name": whom }));
            if class == AUTHENTICATION {
                put("is_mfa", json!(true));
                put("auth_protocol", json!("WebAuthn"));
            }
        }
        ENTITY_MANAGEMENT => {
            let name = entry
                .eid()
                .map_or_else(|| kind.to_owned(), |eid| eid.to_string());
            put("entity", json!({ "name": name, "type": kind }));
        }
        DETECTION_FINDING => put(
            "finding_info",
            json!({
                "title": target("what").unwrap_or("incident"),
                "desc": target("detail").unwrap_or_default(),
                "uid": format!("{installation}#{}", entry.number),
            }),
        ),
        _ => {
            put("api", json!({ "operation": kind }));
            // The entry has what is not translated.
        }
    }
    put("unmapped", entry.body.clone());
    Value::Object(event)
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;

    #[test]
    fn a_refused_sign_in_is_a_failed_authentication() {
        let refused = entry(
            "person.sign-in-refused",
            "authority",
            json!({ "principal": "alice", "network": "192.0.2.1", "code": "proof-invalid", "detail": "no" }),
        );
        let event = ocsf(&refused, "eim.example.com/ledger");
        assert_eq!(event["class_uid"], 3002);
        assert_eq!(event["category_uid"], 3);
        assert_eq!(event["type_uid"], 300_201);
        assert_eq!(event["status_id"], 2);
        assert_eq!(event["user"]["name"], "alice");
        assert_eq!(event["src_endpoint"]["ip"], "192.0.2.1");
        assert_eq!(event["metadata"]["uid"], "eim.example.com/ledger#17");
        assert_eq!(event["time"], 1_795_548_342_901_u64);
    }

    #[test]
    fn every_class_has_what_its_schema_requires() {
        for kind in [
            "person.signed-in",
            "person.enrolled",
            "device.registered",
            "incident.raised",
            "intent.proposed",
            "package.ordered",
        ] {
            let event = ocsf(&entry(kind, "principal:alice", json!({})), "x");
            let own = match event["class_uid"].as_u64() {
                Some(3001 | 3002) => "user",
                Some(3004) => "entity",
                Some(2004) => "finding_info",
                _ => "api",
            };
            for name in [
                "activity_id",
                "category_uid",
                "class_uid",
                "metadata",
                "severity_id",
                "time",
                "type_uid",
                own,
            ] {
                assert!(!event[name].is_null(), "{kind} has no {name}");
            }
            let uid = event["class_uid"].as_u64().unwrap();
            assert_eq!(event["category_uid"], uid / 1000, "{kind}");
        }
    }
}
