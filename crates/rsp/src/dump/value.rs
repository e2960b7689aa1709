//! What the content of an element without elements says.

use super::{Remark, Shown, meaning, names};
use crate::der::{
    BitString, Describe, Error, FieldInfo, Limits, Oid, Reader, Shape, Tag, Tlv, TypeInfo, Value,
    Writer,
};
use crate::ids::{Eid, EidOctets, Iccid};
use crate::saip::Service;
use crate::sgp22::{GetEuiccDataResponse, ProfileInfo};
use crate::sgp32::IpaEuiccData;

/// A shown content, and what is noteworthy about it.
pub(super) struct Leaf {
    pub(super) shown: Shown,
    pub(super) remark: Option<Remark>,
}

impl Leaf {
    fn text(text: impl Into<String>) -> Self {
        Self {
            shown: Shown::Text(text.into()),
            remark: None,
        }
    }

    fn octets(content: &[u8]) -> Self {
        Self {
            shown: Shown::Octets(content.to_vec()),
            remark: None,
        }
    }

    fn invalid(content: &[u8], why: impl ToString) -> Self {
        Self {
            remark: Some(Remark::Invalid(why.to_string())),
            ..Self::octets(content)
        }
    }

    fn decoded<T: Value>(content: &[u8], show: impl FnOnce(T) -> Self) -> Self {
        decode(content).map_or_else(|error| Self::invalid(content, error.kind()), show)
    }
}

/// Types whose content is a key or a code.
const SECRETS: &[&str] = &["SessionKey"];

/// The content of a member called `name` in the type `parent`.
pub(super) fn leaf(info: &TypeInfo, name: &str, parent: &str, content: &[u8]) -> Leaf {
    if SECRETS.contains(&info.name) {
        return Leaf {
            shown: Shown::Secret,
            remark: None,
        };
    }
    match info.shape {
        Shape::Text => match std::str::from_utf8(content) {
            Ok(text) => Leaf::text(format!("{text:?}")),
            Err(_) => Leaf::invalid(content, "not UTF-8"),
        },
        Shape::Integer(name_of) => Leaf::decoded(content, |number: i64| {
            integer(number, name_of, info.name, name)
        }),
        Shape::Boolean => Leaf::decoded(content, |truth: bool| Leaf {
            remark: (!matches!(content, [0x00 | 0xFF]))
                .then_some(Remark::Tolerated("TRUE is not written as FF")),
            ..Leaf::text(truth.to_string())
        }),
        Shape::Bits(bit_names) => Leaf::decoded(content, |bits: BitString| {
            Leaf::text(bit_list(&bits, bit_names, name))
        }),
        Shape::Oid => Leaf::decoded(content, |oid: Oid| Leaf::text(oid_text(&oid))),
        Shape::Empty if content.is_empty() => Leaf {
            shown: Shown::Nothing,
            remark: None,
        },
        Shape::Empty => Leaf::invalid(content, "a NULL has no content"),
        Shape::Eid => eid(content),
        Shape::Iccid => iccid(content),
        Shape::Version => match content {
            [major, minor, revision] => Leaf::text(format!("{major}.{minor}.{revision}")),
            _ => Leaf::invalid(content, "a version has three octets"),
        },
        Shape::TagList => Leaf::text(tag_list(content, parent)),
        Shape::Octets => octet_string(name, parent, content),
        Shape::Sequence(_) | Shape::List(_) | Shape::Choice(_) | Shape::Foreign => {
            Leaf::octets(content)
        }
    }
}

/// The content of a primitive element of which only the tag is known.
pub(super) fn universal(tag: Tag, content: &[u8]) -> Shown {
    let text = match tag.octets() {
        0x01 => decode::<bool>(content).ok().map(|truth| truth.to_string()),
        0x02 | 0x0A => decode::<i64>(content).ok().map(|number| number.to_string()),
        0x05 if content.is_empty() => return Shown::Nothing,
        0x06 => decode::<Oid>(content).ok().map(|oid| oid_text(&oid)),
        0x0C | 0x12 | 0x13 | 0x16 | 0x1A => std::str::from_utf8(content)
            .ok()
            .map(|text| format!("{text:?}")),
        0x17 | 0x18 => time(tag, content),
        _ if content.len() >= 3 && content.iter().all(|octet| matches!(octet, 0x20..=0x7E)) => {
            std::str::from_utf8(content)
                .ok()
                .map(|text| format!("{text:?}"))
        }
        _ => None,
    };
    text.map_or_else(|| Shown::Octets(content.to_vec()), Shown::Text)
}

/// UTCTime and GeneralizedTime (RFC 5280 section 4.1.2.5) in RFC 3339 form.
pub(super) fn time(tag: Tag, content: &[u8]) -> Option<String> {
    let digits = content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let full = match (tag.octets(), digits.len()) {
        (0x17, 12) if digits < "50" => format!("20{digits}"),
        (0x17, 12) => format!("19{digits}"),
        (0x18, 14) => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| full.get(from..to).unwrap_or_default();
    Some(format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    ))
}

/// A dotted object identifier with its name, if it has one.
pub(super) fn oid_text(oid: &Oid) -> String {
    match names::oid(oid) {
        Some(name) => format!("{oid} ({name})"),
        None => oid.to_string(),
    }
}

/// Upper-case hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// Reads content as a type of the codec.
pub(super) fn decode<T: Value>(content: &[u8]) -> Result<T, Error> {
    let mut writer = Writer::new();
    writer.tlv(
        Tag::new(if T::CONSTRUCTED { 0xA0 } else { 0x80 }),
        |writer| writer.raw(content),
    );
    let bytes = writer.into_bytes();
    let limits = Limits {
        message_octets_max: usize::MAX,
        ..crate::tolerance::card_limits()
    };
    let tlv: Tlv<'_> = Reader::new(&bytes, &limits)?.expect_any()?;
    T::decode_content(tlv)
}

fn integer(
    number: i64,
    name_of: fn(i64) -> Option<&'static str>,
    type_name: &str,
    field: &str,
) -> Leaf {
    if let Some(code) = name_of(number) {
        let name = names::module_name(code);
        return Leaf::text(match meaning::of(type_name, code) {
            Some(meaning) => format!("{number} {name}: {meaning}"),
            None => format!("{number} {name}"),
        });
    }
    if (0..=255).any(|other| name_of(other).is_some()) {
        return Leaf::text(format!("{number} (a code without a name in this version)"));
    }
    match (field, number) {
        ("associationToken", -1) => Leaf::text("-1 (the eUICC shall compute one)"),
        ("status", 0x6000..=0x6FFF | 0x9000..=0x9FFF) => {
            Leaf::text(format!("{number} (status word {number:04X})"))
        }
        _ => Leaf::text(number.to_string()),
    }
}

fn bit_list(bits: &BitString, bit_names: &[&str], field: &str) -> String {
    let name_of = |bit: usize| -> String {
        let known = bit_names
            .get(bit)
            .copied()
            .filter(|name| !name.is_empty())
            .map(names::module_name);
        let capability = || {
            let service = Service::ALL
                .iter()
                .find(|service| service.capability_bit() == Some(bit))?;
            Some(service.name().to_owned())
        };
        known
            .or_else(|| capability().filter(|_| field == "uiccCapability"))
            .unwrap_or_else(|| format!("bit {bit}"))
    };
    let set: Vec<String> = bits.bits().map(name_of).collect();
    format!("{{{}}}", set.join(", "))
}

fn eid(content: &[u8]) -> Leaf {
    let Ok(octets) = <[u8; 16]>::try_from(content) else {
        return Leaf::invalid(content, "an EID has 16 octets");
    };
    let field = EidOctets(octets);
    match Eid::try_from(field) {
        Ok(eid) => Leaf::text(format!("{eid} (check digits right)")),
        Err(error) => Leaf {
            remark: Some(Remark::Invalid(error.to_string())),
            ..Leaf::text(field.to_string())
        },
    }
}

fn iccid(content: &[u8]) -> Leaf {
    let Ok(octets) = <[u8; 10]>::try_from(content) else {
        return Leaf::invalid(content, "an ICCID has ten octets");
    };
    match Iccid::from_octets(octets) {
        Ok(iccid) => Leaf::text(iccid.to_string()),
        Err(error) => Leaf::invalid(content, error),
    }
}

fn octet_string(name: &str, parent: &str, content: &[u8]) -> Leaf {
    let text = match name {
        "tagList" => Some(tag_list(content, parent)),
        "extCardResource" => card_resource(content),
        "mccMnc" => operator(content),
        _ => None,
    };
    text.map_or_else(|| Leaf::octets(content), Leaf::text)
}

/// Concatenated tags, named by the members of what is asked for.
fn tag_list(content: &[u8], parent: &str) -> String {
    let asked = match parent {
        "IpaEuiccDataRequest" => Some(IpaEuiccData::info()),
        "ProfileInfoListRequest" => Some(ProfileInfo::info()),
        "GetEuiccDataRequest" => Some(GetEuiccDataResponse::info()),
        _ => None,
    };
    let fields: &[FieldInfo] = match asked.map(|info| info.shape) {
        Some(Shape::Sequence(fields)) => fields,
        _ => &[],
    };
    let mut rest = content;
    let mut shown = Vec::new();
    while !rest.is_empty() {
        let Some((tag, octets)) = Tag::read(rest) else {
            shown.push(format!(
                "malformed tag {:02X?}",
                rest.iter().take(4).collect::<Vec<_>>()
            ));
            break;
        };
        rest = rest.get(octets..).unwrap_or_default();
        shown.push(match fields.iter().find(|field| (field.accepts)(tag)) {
            Some(field) => format!("{tag} {}", names::module_name(field.name)),
            None => tag.to_string(),
        });
    }
    shown.join(", ")
}

/// Extended card resources (ETSI TS 102 226 section 8.2.1.7.2).
fn card_resource(content: &[u8]) -> Option<String> {
    let limits = crate::tolerance::card_limits();
    let mut reader = Reader::new(content, &limits).ok()?;
    let mut shown = Vec::new();
    while let Some(tlv) = reader.next().ok()? {
        if tlv.content().len() > 8 {
            return None;
        }
        let number = tlv
            .content()
            .iter()
            .fold(0_u64, |number, &octet| (number << 8) | u64::from(octet));
        shown.push(match tlv.tag().octets() {
            0x81 => format!("{number} applications"),
            0x82 => format!("{number} octets of non-volatile memory free"),
            0x83 => format!("{number} octets of volatile memory free"),
            _ => return None,
        });
    }
    Some(shown.join(", "))
}

/// MCC and MNC (3GPP TS 24.008 section 10.5.1.13); E stands for any digit.
fn operator(content: &[u8]) -> Option<String> {
    let [first, second, third] = *content else {
        return None;
    };
    if content == [0xEE; 3] {
        return Some("any operator".to_owned());
    }
    let digit = |nibble: u8| match nibble {
        0..=9 => Some(char::from(b'0' + nibble)),
        0xE => Some('*'),
        _ => None,
    };
    let mut text = String::from("MCC ");
    for nibble in [first & 0xF, first >> 4, second & 0xF] {
        text.push(digit(nibble)?);
    }
    text.push_str(" MNC ");
    for nibble in [third & 0xF, third >> 4] {
        text.push(digit(nibble)?);
    }
    if second >> 4 != 0xF {
        text.push(digit(second >> 4)?);
    }
    Some(text)
}
