//! Writing canonical JSON (RFC 8785), as narrow as entries have it: numbers are integers of at most 53 bits, and nesting
//! is bounded.
//!
//! `serde_jcs` writes more, through a formatter that puts every token into a buffer of its own; that costs several times
//! what hashing an entry does. It is what the tests compare with.

use std::cmp::Ordering;
use std::io::Write;

use serde_json::{Map, Value};

use crate::entry::{EntryError, INTEGER_MAX};

/// Levels of arrays and objects in a body at most. Less than what JSON parsers take, so that what is written can be read.
pub(crate) const DEPTH_MAX: usize = 100;

/// Appends a value of at most `depth` levels.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EntryError> {
    let below = || depth.checked_sub(1).ok_or(EntryError::Deep);
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            // RFC 8785 section 3.2.2.3 writes numbers as IEEE 754 doubles, which hold no greater integers.
            if let Some(integer) = number.as_u64().filter(|integer| *integer <= INTEGER_MAX) {
                push_integer(out, integer);
            } else if let Some(integer) = number
                .as_i64()
                .filter(|integer| integer.unsigned_abs() <= INTEGER_MAX)
            {
                out.push(b'-');
                push_integer(out, integer.unsigned_abs());
            } else {
                return Err(EntryError::Number(number.to_string()));
            }
        }
        Value::String(text) => push_string(out, text),
        Value::Array(values) => {
            let depth = below()?;
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(out, value, depth)?;
            }
            out.push(b']');
        }
        Value::Object(members) => push_object(out, members, below()?)?,
    }
    Ok(())
}

/// Appends an integer, which the caller has bounded.
pub(crate) fn push_integer(out: &mut Vec<u8>, integer: u64) {
    // Writing into memory does not fail.
    let _ = write!(out, "{integer}");
}

/// Appends a string with the escapes of RFC 8785 section 3.2.2.2.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|octet| *octet < 0x20 || matches!(octet, b'"' | b'\\'))
    {
        let (plain, behind) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, behind)) = behind.split_first() else {
            break;
        };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0A => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            0x0D => out.extend_from_slice(b"\\r"),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_object(
    out: &mut Vec<u8>,
    members: &Map<String, Value>,
    depth: usize,
) -> Result<(), EntryError> {
    out.push(b'{');
    let mut first = true;
    let mut push = |(name, value): (&String, &Value)| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        push_value(out, value, depth)
    };
    if members.keys().is_sorted_by(|a, b| order(a, b).is_lt()) {
        members.iter().try_for_each(&mut push)?;
    } else {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| order(a, b));
        sorted.into_iter().try_for_each(&mut push)?;
    }
    out.push(b'}');
    Ok(())
}

/// The order of names: by UTF-16 code units (RFC 8785 section 3.2.3).
fn order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Bodies of all sorts: names that sort differently in UTF-8 and UTF-16, control characters, the greatest numbers.
    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let max = INTEGER_MAX as i64;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-max..=max).prop_map(Value::from),
            prop_oneof![Just(max), Just(-max), Just(0)].prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,12}".prop_map(Value::from),
        ];
        let name = prop_oneof![
            "[a-z\"\\\\\u{0}-\u{1f}]{0,4}",
            "[\u{fb33}\u{1f600}é€z]{0,3}",
            any::<String>(),
        ];
        leaf.prop_recursive(5, 60, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(name.clone(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn writes_what_an_independent_writer_does(value in values()) {
            let mut own = Vec::new();
            push_value(&mut own, &value, DEPTH_MAX).unwrap();
            prop_assert_eq!(String::from_utf8(own.clone()).unwrap(), serde_jcs::to_string(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<Value>(&own).unwrap(), value);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        let mut out = Vec::new();
        push_value(&mut out, &nested(DEPTH_MAX), DEPTH_MAX).unwrap();
        assert_eq!(
            push_value(&mut out, &nested(DEPTH_MAX + 1), DEPTH_MAX),
            Err(EntryError::Deep)
        );
    }
}
