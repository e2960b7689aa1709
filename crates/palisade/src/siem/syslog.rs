//! Lines of the syslog protocol (RFC 5424).

use jiff::Timestamp;
use ledger::Entry;

use super::{Severity, network, severity, summary, who};

/// Facility 13, "log audit" (section 6.2.1).
const FACILITY: u8 = 13;
/// The enterprise number for documentation (RFC 5612), as nobody else's: receivers match on the name.
const STRUCTURED_ID: &str = "palisade@32473";
/// Octets of a host name, and of a message id (section 6).
const HOST_MAX: usize = 255;
const MESSAGE_ID_MAX: usize = 32;

/// An entry as a line, without its end.
pub(crate) fn syslog(entry: &Entry, installation: &str) -> String {
    let severity = match severity(entry) {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Informational => 6,
    };
    let priority = FACILITY * 8 + severity;
    let at = i64::try_from(entry.at)
        .ok()
        .and_then(|at| Timestamp::from_millisecond(at).ok())
        .map_or_else(|| "-".to_owned(), |at| format!("{at:.3}"));
    let host = header(installation.split('/').next().unwrap_or("-"), HOST_MAX);
    let message_id = header(entry.kind.as_str(), MESSAGE_ID_MAX);
    let mut parameters = format!(
        "entry=\"{}\" kind=\"{}\" actor=\"{}\"",
        entry.number,
        value(entry.kind.as_str()),
        value(entry.actor.as_str()),
    );
    for (name, text) in [
        ("eid", entry.eid().map(|eid| eid.to_string())),
        ("from", network(entry).map(str::to_owned)),
    ] {
        if let Some(text) = text {
            parameters.push_str(&format!(" {name}=\"{}\"", value(&text)));
        }
    }
    // The byte order mark says that the text is UTF-8 (section 6.4).
    format!(
        "<{priority}>1 {at} {host} palisade - {message_id} [{STRUCTURED_ID} {parameters}] \u{feff}{}: {}",
        text(who(entry)),
        text(&summary(entry)),
    )
}

/// Printable US-ASCII without spaces.
fn header(text: &str, octets: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(octets)
        .collect();
    match kept.is_empty() {
        true => "-".to_owned(),
        false => kept,
    }
}

/// A parameter's value: three characters are escaped (section 6.3.3).
fn value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    escaped
}

/// One line, whatever stands in it.
fn text(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::entry;
    use super::*;

    #[test]
    fn a_line_has_the_form_of_the_protocol() {
        let refused = entry(
            "intent.refused",
            "principal:ci",
            json!({ "code": "role-refused", "detail": "not \"you\"" }),
        );
        assert_eq!(
            syslog(&refused, "eim.example.com/ledger"),
            "<108>1 2026-11-24T19:25:42.901Z eim.example.com palisade - intent.refused \
             [palisade@32473 entry=\"17\" kind=\"intent.refused\" actor=\"principal:ci\"] \
             \u{feff}ci: role-refused: not \"you\""
        );
    }

    #[test]
    fn nothing_in_an_entry_begins_another_line_or_ends_a_value() {
        let sly = entry(
            "incident.raised",
            "authority",
            json!({ "what": "a]\n<0>1 forged", "detail": "\r\n", "network": "x\"] [y \\" }),
        );
        let line = syslog(&sly, "host\nforged/ledger");
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(line.contains("from=\"x\\\"\\] [y \\\\\""), "{line}");
        assert!(line.contains(" hostforged palisade "), "{line}");
    }
}
