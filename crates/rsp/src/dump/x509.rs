//! Certificates and public keys: members named, names and validity in one line each.

use std::ops::Range;

use super::value::{self, hex, oid_text, time};
use super::walk::{Element, Walker, generic_name};
use super::{Node, Remark, Shown};
use crate::der::{BitString, Limits, Oid, Reader, Tag, Tlv, Value};

/// Fills in the node of something that X.509 defines. Under an IMPLICIT tag its members stand
/// in the tag itself; some senders keep the SEQUENCE inside.
pub(super) fn foreign(
    walker: &mut Walker<'_>,
    node: &mut Node,
    element: Element,
    type_name: &str,
    depth: u8,
) {
    let mut content = element.content();
    if element.tag != Tag::SEQUENCE
        && matches!(type_name, "Certificate" | "SubjectPublicKeyInfo")
        && let Some(inner) = walker.trial().read(content.start, content.end)
        && inner.tag == Tag::SEQUENCE
        // The first member of both types is a SEQUENCE that does not begin with another one.
        && Tag::read(walker.octets(inner.content())).is_some_and(|(tag, _)| tag == Tag::SEQUENCE)
    {
        node.remarks.push(Remark::Tolerated(
            "a SEQUENCE was kept inside the IMPLICIT tag",
        ));
        content = inner.content();
    }
    match type_name {
        "Certificate" => certificate(walker, node, content, depth + 1),
        "SubjectPublicKeyInfo" => public_key(walker, node, content, depth + 1),
        _ => node.children = generic(walker, content, depth + 1),
    }
}

fn generic(walker: &mut Walker<'_>, content: Range<usize>, depth: u8) -> Vec<Node> {
    walker.each(content, |walker, inner| {
        walker.generic(inner, generic_name(inner.tag), depth)
    })
}

fn certificate(walker: &mut Walker<'_>, node: &mut Node, content: Range<usize>, depth: u8) {
    let mut names = ["tbsCertificate", "signatureAlgorithm", "signatureValue"].into_iter();
    node.children = walker.each(content, |walker, member| match names.next() {
        Some(name @ "tbsCertificate") if member.tag == Tag::SEQUENCE => {
            to_be_signed(walker, member, name, depth)
        }
        Some(name @ "signatureAlgorithm") => algorithm(walker, member, name, depth),
        Some(name) => walker.generic(member, name.to_owned(), depth),
        None => walker.generic(member, generic_name(member.tag), depth),
    });
}

fn to_be_signed(walker: &mut Walker<'_>, element: Element, name: &str, depth: u8) -> Node {
    let mut node = Walker::bare(element, name.to_owned());
    let mut sequences = [
        "signature",
        "issuer",
        "validity",
        "subject",
        "subjectPublicKeyInfo",
    ]
    .into_iter();
    node.children = walker.each(element.content(), |walker, member| {
        let octets = walker.octets(member.content());
        match member.tag.octets() {
            0xA0 => walker.generic(member, "version".to_owned(), depth + 1),
            0x02 => {
                let mut serial = Walker::bare(member, "serialNumber".to_owned());
                serial.shown = Shown::Octets(octets.to_vec());
                serial
            }
            0xA3 => extensions(walker, member, depth + 1),
            0x30 => match sequences.next() {
                Some(name @ "signature") => algorithm(walker, member, name, depth + 1),
                Some(name @ ("issuer" | "subject")) => {
                    summarised(walker, member, name, distinguished_name(octets), depth + 1)
                }
                Some(name @ "validity") => {
                    summarised(walker, member, name, validity(octets), depth + 1)
                }
                Some(name @ "subjectPublicKeyInfo") => {
                    let mut key = Walker::bare(member, name.to_owned());
                    public_key(walker, &mut key, member.content(), depth + 2);
                    key
                }
                _ => walker.generic(member, generic_name(member.tag), depth + 1),
            },
            _ => walker.generic(member, generic_name(member.tag), depth + 1),
        }
    });
    walker.note_truncation(element);
    node
}

fn public_key(walker: &mut Walker<'_>, node: &mut Node, content: Range<usize>, depth: u8) {
    let mut names = ["algorithm", "subjectPublicKey"].into_iter();
    node.children = walker.each(content, |walker, member| match names.next() {
        Some(name @ "algorithm") => algorithm(walker, member, name, depth),
        Some(name) => walker.generic(member, name.to_owned(), depth),
        None => walker.generic(member, generic_name(member.tag), depth),
    });
}

fn algorithm(walker: &mut Walker<'_>, element: Element, name: &str, depth: u8) -> Node {
    let summary = run(walker.octets(element.content())).map(|members| {
        let identifiers = members.iter().filter(|tlv| tlv.tag() == Tag::new(0x06));
        let texts = identifiers
            .filter_map(|tlv| Oid::decode_content(*tlv).ok())
            .map(|oid| oid_text(&oid));
        texts.collect::<Vec<_>>().join(", ")
    });
    summarised(walker, element, name, summary, depth)
}

/// A node that stands for its children when they could be summed up.
fn summarised(
    walker: &mut Walker<'_>,
    element: Element,
    name: &str,
    summary: Option<String>,
    depth: u8,
) -> Node {
    let mut node = walker.generic(element, name.to_owned(), depth);
    if let Some(text) = summary.filter(|text| !text.is_empty()) {
        node.shown = Shown::Text(text);
        node.is_summary = true;
    }
    node
}

fn extensions(walker: &mut Walker<'_>, element: Element, depth: u8) -> Node {
    let mut node = Walker::bare(element, "extensions".to_owned());
    node.children = walker.each(element.content(), |walker, list| {
        let mut inner = Walker::bare(list, generic_name(list.tag));
        inner.children = walker.each(list.content(), |walker, one| {
            let summary = extension(walker.octets(one.content()));
            let name = summary
                .as_ref()
                .map_or("extension", |(name, _)| name.as_str())
                .to_owned();
            summarised(walker, one, &name, summary.map(|(_, text)| text), depth + 2)
        });
        walker.note_truncation(list);
        inner
    });
    walker.note_truncation(element);
    node
}

/// Name and content of one extension.
fn extension(content: &[u8]) -> Option<(String, String)> {
    let members = run(content)?;
    let oid = Oid::decode_content(*members.first()?).ok()?;
    let critical = members
        .iter()
        .any(|tlv| tlv.tag() == Tag::new(0x01) && tlv.content() != [0]);
    let value = members
        .last()
        .filter(|tlv| tlv.tag() == Tag::new(0x04))?
        .content();
    let dotted = oid.to_string();
    let name = super::names::oid(&oid).unwrap_or_else(|| dotted.clone());
    let text = match dotted.as_str() {
        "2.5.29.14" => octets_of(value, 0x04),
        "2.5.29.15" => key_usage(value),
        "2.5.29.17" => run(value).and_then(|outer| general_names(outer.first()?.content())),
        "2.5.29.19" => basic_constraints(value),
        "2.5.29.30" => name_constraints(value),
        "2.5.29.31" => distribution_points(value),
        "2.5.29.32" => policies(value),
        "2.5.29.35" => run(value)
            .and_then(|outer| octets_of(outer.first()?.content(), 0x80))
            .map(|octets| format!("keyIdentifier {octets}")),
        _ => None,
    };
    let text = text.unwrap_or_else(|| hex(value));
    Some((
        name,
        if critical {
            format!("critical, {text}")
        } else {
            text
        },
    ))
}

fn key_usage(value: &[u8]) -> Option<String> {
    const USES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];
    let bits: BitString = value::decode(run(value)?.first()?.content()).ok()?;
    let uses = bits
        .bits()
        .map(|bit| USES.get(bit).copied().unwrap_or("unknown use"));
    Some(uses.collect::<Vec<_>>().join(", "))
}

fn basic_constraints(value: &[u8]) -> Option<String> {
    let members = run(run(value)?.first()?.content())?;
    let is_ca = members
        .iter()
        .any(|tlv| tlv.tag() == Tag::new(0x01) && tlv.content() != [0]);
    let path = members
        .iter()
        .find(|tlv| tlv.tag() == Tag::new(0x02))
        .and_then(|tlv| i64::decode_content(*tlv).ok());
    let role = if is_ca { "a CA" } else { "not a CA" };
    Some(path.map_or_else(
        || role.to_owned(),
        |length| format!("{role}, path length {length}"),
    ))
}

fn policies(value: &[u8]) -> Option<String> {
    let list = run(run(value)?.first()?.content())?;
    let texts = list.iter().map(|policy| {
        let oid = Oid::decode_content(*run(policy.content())?.first()?).ok()?;
        Some(oid_text(&oid))
    });
    texts
        .collect::<Option<Vec<_>>>()
        .map(|texts| texts.join(", "))
}

/// GeneralNames (RFC 5280 section 4.2.1.6): the kinds that eSIM certificates use.
fn general_names(content: &[u8]) -> Option<String> {
    let names = run(content)?
        .into_iter()
        .map(|name| match name.tag().octets() {
            0x82 => std::str::from_utf8(name.content())
                .ok()
                .map(|text| format!("DNS {}", text.escape_debug())),
            0x86 => std::str::from_utf8(name.content())
                .ok()
                .map(|text| text.escape_debug().to_string()),
            0x88 => Oid::decode_content(name).ok().map(|oid| oid_text(&oid)),
            0xA4 => distinguished_name(run(name.content())?.first()?.content()),
            _ => None,
        });
    names
        .collect::<Option<Vec<_>>>()
        .map(|names| names.join(", "))
}

fn name_constraints(value: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    for subtrees in run(run(value)?.first()?.content())? {
        let effect = match subtrees.tag().octets() {
            0xA0 => "permitted",
            0xA1 => "excluded",
            _ => return None,
        };
        for subtree in run(subtrees.content())? {
            texts.push(format!("{effect} {}", general_names(subtree.content())?));
        }
    }
    Some(texts.join("; "))
}

fn distribution_points(value: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    for point in run(run(value)?.first()?.content())? {
        let members = run(point.content())?;
        let named = members
            .iter()
            .find(|member| member.tag() == Tag::new(0xA0))?;
        let full_name = run(named.content())?;
        texts.push(general_names(full_name.first()?.content())?);
    }
    Some(texts.join(", "))
}

/// Attributes of a name, most significant first: `C=ES, O=RSP Test EUM, CN=EUM Test`.
fn distinguished_name(content: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for set in run(content)? {
        for attribute in run(set.content())? {
            let members = run(attribute.content())?;
            let [oid, text] = members.as_slice() else {
                return None;
            };
            let oid = Oid::decode_content(*oid).ok()?;
            let name = super::names::oid(&oid).unwrap_or_else(|| oid.to_string());
            let text = std::str::from_utf8(text.content()).ok()?;
            parts.push(format!("{name}={}", text.escape_debug()));
        }
    }
    Some(parts.join(", "))
}

fn validity(content: &[u8]) -> Option<String> {
    let members = run(content)?;
    let [from, to] = members.as_slice() else {
        return None;
    };
    Some(format!(
        "{} to {}",
        time(from.tag(), from.content())?,
        time(to.tag(), to.content())?
    ))
}

/// The content of the first element with this tag, in hexadecimal.
fn octets_of(value: &[u8], tag: u32) -> Option<String> {
    let members = run(value)?;
    members
        .iter()
        .find(|tlv| tlv.tag() == Tag::new(tag))
        .map(|tlv| hex(tlv.content()))
}

/// All elements of a run, or nothing if it is malformed or longer than a summary should be.
fn run(bytes: &[u8]) -> Option<Vec<Tlv<'_>>> {
    const LIMITS: Limits = Limits {
        message_octets_max: 1 << 16,
        depth_max: 16,
        list_members_max: 64,
        non_minimal_lengths: true,
    };
    let mut reader = Reader::new(bytes, &LIMITS).ok()?;
    let mut members = Vec::new();
    while let Some(tlv) = reader.next().ok()? {
        if members.len() >= LIMITS.list_members_max {
            return None;
        }
        members.push(tlv);
    }
    Some(members)
}
