//! Codes that were entered are not shown again: whoever has an activation code can have its profile.

use serde_json::Value;

const HIDDEN: &str = "(hidden)";

/// Hides confirmation codes and the matching ids of activation codes, at any depth.
pub(crate) fn redacted(mut value: Value) -> Value {
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &mut *member) {
                    ("confirmation_code", Value::String(code)) => *code = HIDDEN.to_owned(),
                    ("activation-code", Value::String(code)) => *code = without_matching_id(code),
                    _ => redact(member),
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(redact),
        _ => {}
    }
}

/// `1$smdp.example.com$(hidden)`: of an activation code only the server.
fn without_matching_id(code: &str) -> String {
    let mut parts = code.split('$');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(format), Some(server), Some(_)) => format!("{format}${server}${HIDDEN}"),
        _ => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_hidden_wherever_they_stand() {
        let shown = redacted(json!({
            "commands": [{
                "command": "download",
                "source": { "activation-code": "LPA:1$smdp.example.com$SECRET-1$$1" },
                "confirmation_code": "4711",
            }],
            "note": "kept",
        }));
        assert_eq!(
            shown,
            json!({
                "commands": [{
                    "command": "download",
                    "source": { "activation-code": "LPA:1$smdp.example.com$(hidden)" },
                    "confirmation_code": "(hidden)",
                }],
                "note": "kept",
            })
        );
    }
}
