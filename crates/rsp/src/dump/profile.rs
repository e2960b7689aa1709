//! Profile packages: a line for each element, without keys and codes.

use super::walk::{Element, Expected, Walker};
use super::{Node, Remark, Shown, value};
use crate::der::{Describe, Error, Reader, Tag};
use crate::saip::{ElementKind, PACKAGE_LIMITS, ProfileElement, ProfileHeader, ProfilePackage};

/// Whether octets begin with a profile header and another profile element behind it.
pub(super) fn looks_like_one(bytes: &[u8]) -> bool {
    let Ok(mut reader) = Reader::new(bytes, &PACKAGE_LIMITS) else {
        return false;
    };
    let Ok(Some(first)) = reader.next() else {
        return false;
    };
    let is_header = first.tag() == ElementKind::Header.tag()
        && first
            .open()
            .is_ok_and(|inner| inner.peek_tag() == Some(Tag::new(0x80)));
    let next = reader.peek_tag().map(ElementKind::from_tag);
    is_header && next.is_some_and(|kind| !matches!(kind, ElementKind::Unknown(_)))
}

/// The node of one profile element.
pub(super) fn element(walker: &mut Walker<'_>, element: Element) -> Node {
    let kind = ElementKind::from_tag(element.tag);
    if kind == ElementKind::Header {
        return walker.typed(
            element,
            kind.name().to_owned(),
            Expected::element(ProfileHeader::info()),
            0,
        );
    }
    let mut node = Walker::bare(element, kind.name().to_owned());
    walker.note_truncation(element);
    match ProfilePackage::parse(walker.octets(element.offset..element.end())) {
        Ok(package) => {
            if let Some(one) = package.elements().first() {
                describe(&mut node, one);
            }
        }
        Err(error) => walker.fail(element.offset, format!("{kind}: {}", error.source)),
    }
    node
}

fn describe(node: &mut Node, element: &ProfileElement) {
    if let ElementKind::Unknown(_) = element.kind() {
        node.remarks.push(Remark::UnknownAlternative);
    }
    let mut facts = Vec::new();
    if let Some(header) = element.header() {
        facts.push(format!("identification {}", header.identification));
        if header.mandated {
            facts.push("mandated".to_owned());
        }
    }
    match contents(element) {
        Ok(more) => facts.extend(more),
        Err(error) => node.remarks.push(Remark::Invalid(error.to_string())),
    }
    node.shown = Shown::Text(facts.join(", "));
}

fn contents(element: &ProfileElement) -> Result<Vec<String>, Error> {
    let mut facts = Vec::new();
    if let Some(template) = element.template()? {
        facts.push(value::oid_text(&template));
    }
    if element.kind().is_file_system() {
        facts.push(format!("{} files", element.file_count()?));
    }
    let pins = element.pins()?;
    if !pins.is_empty() {
        let references: Vec<String> = pins
            .iter()
            .map(|pin| pin.key_reference.to_string())
            .collect();
        facts.push(format!("references {}", references.join(" ")));
    }
    if let Some(authentication) = element.authentication()? {
        facts.push(match authentication {
            crate::saip::AkaConfiguration::Own { algorithm, .. } => {
                format!("algorithm {algorithm}")
            }
            crate::saip::AkaConfiguration::Mapped { source } => {
                format!("as application {source:?}")
            }
        });
    }
    for application in element.applications()? {
        facts.push(format!("{:?} {:?}", application.role, application.aid));
    }
    Ok(facts)
}
