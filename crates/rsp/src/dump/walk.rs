//! The tolerant reader: follows the description of a type through octets that may not fit it.

use std::ops::Range;

use super::names::{self, module_name};
use super::{Fault, Node, Remark, Shown, registry, value, x509};
use crate::der::{Describe as _, Element as _, FieldInfo, Shape, Tag, TypeInfo};
use crate::saip::EuiccResponse;
use crate::sgp22::StoreMetadataRequest;

/// Levels that are followed; those of the decoders.
const DEPTH_MAX: u8 = 24;

/// Elements that are looked at for one input, trials included. What a person can read is far
/// below; this bounds time and memory for input made to exhaust them.
const WORK_MAX: usize = 60_000;

/// Reads elements and builds nodes. Once there is a fault, nothing more is read.
#[derive(Debug, Clone)]
pub(super) struct Walker<'a> {
    bytes: &'a [u8],
    work: usize,
    pub(super) fault: Option<Fault>,
}

/// The header of one element, and where its content is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) offset: usize,
    pub(super) tag: Tag,
    start: usize,
    /// End of the content that is there.
    end: usize,
    /// Octets that the length announces.
    announced: usize,
    length_is_minimal: bool,
}

impl Element {
    pub(super) fn content(&self) -> Range<usize> {
        self.start..self.end
    }

    pub(super) fn end(&self) -> usize {
        self.end
    }

    fn is_truncated(&self) -> bool {
        self.announced > self.end - self.start
    }
}

/// What an element is according to the type around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    info: TypeInfo,
    /// The tag was given by the surroundings, so that a CHOICE stands inside it.
    is_tagged: bool,
    /// The type around it.
    parent: &'static str,
}

impl Expected {
    pub(super) fn element(info: TypeInfo) -> Self {
        Self {
            info,
            is_tagged: false,
            parent: "",
        }
    }

    fn member(field: &FieldInfo, parent: &'static str) -> Self {
        Self {
            info: (field.info)(),
            is_tagged: field.tag.is_some(),
            parent,
        }
    }
}

impl<'a> Walker<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            work: 0,
            fault: None,
        }
    }

    /// A walker for a trial, which starts with the work already done.
    pub(super) fn trial(&self) -> Self {
        self.clone()
    }

    /// Counts the work of a trial.
    pub(super) fn charge(&mut self, trial: &Self) {
        self.work = self.work.max(trial.work);
    }

    pub(super) fn octets(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    pub(super) fn fail(&mut self, offset: usize, message: impl Into<String>) {
        if self.fault.is_none() {
            self.fault = Some(Fault {
                offset,
                message: message.into(),
            });
        }
    }

    /// Reads the header of the element at `at`; nothing behind `end` belongs to it.
    pub(super) fn read(&mut self, at: usize, end: usize) -> Option<Element> {
        self.work += 1;
        if self.work > WORK_MAX {
            self.fail(at, "too many elements: the rest is not shown");
            return None;
        }
        let rest = self.octets(at..end);
        let Some((tag, tag_octets)) = Tag::read(rest) else {
            let message = if rest.iter().skip(1).all(|octet| octet & 0x80 != 0) && rest.len() < 4 {
                "the octets end inside a tag"
            } else {
                "malformed tag"
            };
            self.fail(at, message);
            return None;
        };
        let (announced, length_octets, length_is_minimal) =
            match read_length(rest.get(tag_octets..).unwrap_or_default()) {
                Ok(length) => length,
                Err(message) => {
                    self.fail(at + tag_octets, format!("{message} of element {tag}"));
                    return None;
                }
            };
        let start = at + tag_octets + length_octets;
        let content_end = start.saturating_add(announced).min(end);
        Some(Element {
            offset: at,
            tag,
            start,
            end: content_end,
            announced,
            length_is_minimal,
        })
    }

    /// Builds a node for each element in a range.
    pub(super) fn each(
        &mut self,
        range: Range<usize>,
        mut build: impl FnMut(&mut Self, Element) -> Node,
    ) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = range.start;
        while at < range.end && self.fault.is_none() {
            let Some(element) = self.read(at, range.end) else {
                break;
            };
            at = element.end;
            nodes.push(build(self, element));
        }
        nodes
    }

    /// The node of an element of a known type.
    pub(super) fn typed(
        &mut self,
        element: Element,
        name: String,
        expected: Expected,
        depth: u8,
    ) -> Node {
        let (name, expected) = self.resolve(element, name, expected);
        let mut node = Self::bare(element, name);
        node.type_name = Some(expected.info.name);
        if is_constructed(&expected.info.shape) != element.tag.is_constructed() {
            node.remarks.push(Remark::Invalid(format!(
                "tag {} does not fit the type",
                element.tag
            )));
            let mut generic = self.generic(element, node.name.clone(), depth);
            generic.remarks.splice(..0, node.remarks);
            return generic;
        }
        if element.tag.is_constructed() && depth >= DEPTH_MAX {
            self.fail(
                element.offset,
                format!("nested deeper than {DEPTH_MAX} levels"),
            );
            return node;
        }
        let content = element.content();
        match expected.info.shape {
            Shape::Sequence(_) | Shape::List(_) => {
                node.children = self.members(&expected.info, content, depth + 1);
            }
            Shape::Choice(arms) => self.choice(&mut node, element, arms, expected, depth),
            Shape::Foreign => x509::foreign(self, &mut node, element, expected.info.name, depth),
            _ => {
                let leaf = value::leaf(
                    &expected.info,
                    &node.name,
                    expected.parent,
                    self.octets(content),
                );
                node.shown = leaf.shown;
                node.remarks.extend(leaf.remark);
                self.carried(&mut node, element, depth);
            }
        }
        self.note_truncation(element);
        node
    }

    /// The node of an element of which only the tag says something.
    pub(super) fn generic(&mut self, element: Element, name: String, depth: u8) -> Node {
        let mut node = Self::bare(element, name);
        if element.tag.is_constructed() {
            if depth >= DEPTH_MAX {
                self.fail(
                    element.offset,
                    format!("nested deeper than {DEPTH_MAX} levels"),
                );
                return node;
            }
            node.children = self.each(element.content(), |walker, inner| {
                walker.generic(inner, generic_name(inner.tag), depth + 1)
            });
        } else {
            node.shown = value::universal(element.tag, self.octets(element.content()));
        }
        self.note_truncation(element);
        node
    }

    /// A node without content.
    pub(super) fn bare(element: Element, name: String) -> Node {
        Node {
            offset: element.offset,
            tag: Some(element.tag),
            name,
            type_name: None,
            octets: element.announced,
            shown: Shown::Nothing,
            remarks: if element.length_is_minimal {
                Vec::new()
            } else {
                vec![Remark::NonMinimalLength]
            },
            children: Vec::new(),
            is_summary: false,
        }
    }

    pub(super) fn note_truncation(&mut self, element: Element) {
        if element.is_truncated() {
            let there = element.end - element.start;
            self.fail(
                element.end,
                format!(
                    "element {} announces {} octets, {there} are there",
                    element.tag, element.announced
                ),
            );
        }
    }

    /// Follows a CHOICE without a tag of its own to the alternative that the element is.
    fn resolve(&self, element: Element, name: String, expected: Expected) -> (String, Expected) {
        let (mut name, mut expected) = (name, expected);
        // No CHOICE of the modules stands in more than two others.
        for _ in 0..4 {
            let Shape::Choice(arms) = expected.info.shape else {
                break;
            };
            let arm = arms.iter().find(|arm| (arm.accepts)(element.tag));
            let Some(arm) = arm.filter(|_| !expected.is_tagged) else {
                break;
            };
            name = format!("{name}.{}", module_name(arm.name));
            expected = Expected::member(arm, expected.info.name);
        }
        (name, expected)
    }

    fn sequence(
        &mut self,
        range: Range<usize>,
        fields: &'static [FieldInfo],
        parent: &'static str,
        depth: u8,
    ) -> Vec<Node> {
        let end = range.end;
        let mut next = 0;
        let mut nodes = Vec::new();
        let mut at = range.start;
        while at < end && self.fault.is_none() {
            let Some(element) = self.read(at, end) else {
                break;
            };
            at = element.end;
            let ahead = fields.get(next..).unwrap_or_default();
            if let Some(skipped) = ahead.iter().position(|field| (field.accepts)(element.tag)) {
                nodes.extend(absent(ahead.get(..skipped), element.offset));
                next += skipped + 1;
                if let Some(field) = ahead.get(skipped) {
                    nodes.push(self.typed(
                        element,
                        module_name(field.name),
                        Expected::member(field, parent),
                        depth,
                    ));
                }
                continue;
            }
            if let Some(field) = fields.iter().find(|field| (field.accepts)(element.tag)) {
                let mut node = self.typed(
                    element,
                    module_name(field.name),
                    Expected::member(field, parent),
                    depth,
                );
                node.remarks.push(Remark::Misplaced);
                nodes.push(node);
                continue;
            }
            // An extensible CHOICE may have grown an alternative. The decoder takes any element
            // where one must stand; optional members before it are absent then.
            let place = ahead.iter().position(|field| !field.optional);
            let grown = place
                .and_then(|place| ahead.get(place))
                .filter(|field| is_untagged_choice(field));
            let name = grown.map_or_else(
                || generic_name(element.tag),
                |field| module_name(field.name),
            );
            let mut node = self.generic(element, name, depth);
            if grown.is_some() {
                next += place.unwrap_or(0) + 1;
                node.remarks.push(Remark::UnknownAlternative);
            } else {
                node.remarks.push(Remark::Extension);
            }
            nodes.push(node);
        }
        if self.fault.is_none() {
            nodes.extend(absent(fields.get(next..), end));
        }
        nodes
    }

    /// A CHOICE inside a tag: its alternative stands in the content.
    fn choice(
        &mut self,
        node: &mut Node,
        element: Element,
        arms: &'static [FieldInfo],
        expected: Expected,
        depth: u8,
    ) {
        let content = element.content();
        let first = Tag::read(self.octets(content.clone())).map(|(tag, _)| tag);
        let Some(first) = first else {
            if content.is_empty() && !element.is_truncated() {
                node.remarks
                    .push(Remark::Invalid("no alternative is chosen".into()));
            } else {
                self.fail(content.start, "malformed tag");
            }
            return;
        };
        if !expected.is_tagged
            && !arms.iter().any(|arm| (arm.accepts)(first))
            && !registry::has_own_tag(expected.info.name, element.tag)
        {
            // A CHOICE that stands without tag, and none of its alternatives.
            let mut generic = self.generic(element, node.name.clone(), depth);
            generic.remarks.push(Remark::UnknownAlternative);
            *node = generic;
            return;
        }
        if let Some((nodes, how)) = self.arm_without_its_tag(element, arms, first, depth) {
            node.remarks.push(Remark::Tolerated(how));
            node.children = nodes;
            return;
        }
        let mut is_chosen = false;
        node.children = self.each(content, |walker, inner| {
            let arm = arms.iter().find(|arm| (arm.accepts)(inner.tag));
            let mut child = match arm {
                Some(arm) => {
                    let expected = Expected::member(arm, expected.info.name);
                    walker.typed(inner, module_name(arm.name), expected, depth + 1)
                }
                None => {
                    let mut unknown = walker.generic(inner, generic_name(inner.tag), depth + 1);
                    unknown.remarks.push(Remark::UnknownAlternative);
                    unknown
                }
            };
            if is_chosen {
                child
                    .remarks
                    .push(Remark::Invalid("a second alternative".into()));
            }
            is_chosen = true;
            child
        });
    }

    /// Some senders leave out the tag of the alternative, so that its members stand in the tag
    /// of the CHOICE, or write SEQUENCE for it. Accepted when that explains the content.
    fn arm_without_its_tag(
        &mut self,
        element: Element,
        arms: &'static [FieldInfo],
        first: Tag,
        depth: u8,
    ) -> Option<(Vec<Node>, &'static str)> {
        let only = self
            .trial()
            .read(element.start, element.end)
            .filter(|inner| inner.end == element.end);
        if arms.iter().any(|arm| (arm.accepts)(first)) && only.is_some() {
            return None;
        }
        let inside = only
            .filter(|inner| inner.tag == Tag::SEQUENCE)
            .map(|inner| inner.content());
        let places = [
            (
                Some(element.content()),
                "the tag of the alternative was left out",
            ),
            (
                inside,
                "SEQUENCE was written for the tag of the alternative",
            ),
        ];
        // What fits without elements of a newer version is the better explanation.
        for is_good in [Node::fits, Node::fits_extended] as [fn(&Node) -> bool; 2] {
            for (content, how) in &places {
                let Some(content) = content else { continue };
                for arm in arms.iter().filter(|arm| arm.tag.is_some()) {
                    let mut trial = self.trial();
                    let nodes = trial.members(&(arm.info)(), content.clone(), depth + 1);
                    self.charge(&trial);
                    let is_known = nodes.iter().any(Node::fits);
                    if trial.fault.is_none() && is_known && nodes.iter().all(is_good) {
                        return Some((nodes, how));
                    }
                }
            }
        }
        None
    }

    /// The members of a SEQUENCE or a list; none for other types.
    fn members(&mut self, info: &TypeInfo, content: Range<usize>, depth: u8) -> Vec<Node> {
        match info.shape {
            Shape::Sequence(fields) => self.sequence(content, fields, info.name, depth),
            Shape::List(of) => self.each(content, |walker, member| {
                let info = of();
                walker.typed(member, info.name.to_owned(), Expected::element(info), depth)
            }),
            _ => Vec::new(),
        }
    }

    /// Octet strings that carry an object: the answer of the profile installer, and metadata,
    /// which is only authenticated and not encrypted.
    fn carried(&mut self, node: &mut Node, element: Element, depth: u8) {
        const MAC_OCTETS: usize = 8;
        let (info, end) = match (node.name.as_str(), node.type_name) {
            ("simaResponse", _) => (EuiccResponse::info(), element.end),
            (_, Some("Segment88")) => (
                StoreMetadataRequest::info(),
                element.end.saturating_sub(MAC_OCTETS),
            ),
            _ => return,
        };
        let mut trial = self.trial();
        let nodes = trial.each(element.start..end, |walker, inner| {
            walker.typed(
                inner,
                info.name.to_owned(),
                Expected::element(info),
                depth + 1,
            )
        });
        self.charge(&trial);
        let [only] = nodes.as_slice() else { return };
        let is_expected = match info.name {
            "EuiccResponse" => only.tag.is_some_and(EuiccResponse::accepts),
            _ => only.tag.is_some_and(StoreMetadataRequest::accepts),
        };
        if trial.fault.is_none() && only.fits() && is_expected {
            node.shown = match self.octets(end..element.end) {
                [] => Shown::Nothing,
                mac => Shown::Text(format!("MAC {}", value::hex(mac))),
            };
            node.children = nodes;
        }
    }
}

/// The mandatory ones among members that were passed over.
fn absent(fields: Option<&'static [FieldInfo]>, offset: usize) -> impl Iterator<Item = Node> {
    fields
        .unwrap_or_default()
        .iter()
        .filter(|field| !field.optional)
        .map(move |field| Node {
            offset,
            tag: field.tag,
            name: module_name(field.name),
            type_name: Some((field.info)().name),
            octets: 0,
            shown: Shown::Nothing,
            remarks: vec![Remark::Missing],
            children: Vec::new(),
            is_summary: false,
        })
}

/// Whether a member is a CHOICE that has no tag of its own and was given none: then it is its
/// alternatives that stand in its place.
fn is_untagged_choice(field: &FieldInfo) -> bool {
    let Shape::Choice(arms) = (field.info)().shape else {
        return false;
    };
    // Tags that alternatives bring with them: SEQUENCE, or one of a message.
    let brought = || std::iter::once(0x30).chain(0xBF20..=0xBF7E).map(Tag::new);
    let stands_here = |arm: &FieldInfo| match arm.tag {
        Some(tag) => (field.accepts)(tag),
        None => brought().any(|tag| (arm.accepts)(tag) && (field.accepts)(tag)),
    };
    field.tag.is_none() && arms.iter().any(stands_here)
}

/// What an element is called when only its tag is known.
pub(super) fn generic_name(tag: Tag) -> String {
    names::universal(tag).unwrap_or_default().to_owned()
}

fn is_constructed(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Sequence(_) | Shape::List(_) | Shape::Choice(_) | Shape::Foreign
    )
}

/// Length, octets it took, and whether they were as few as possible.
fn read_length(bytes: &[u8]) -> Result<(usize, usize, bool), &'static str> {
    let (&first, rest) = bytes
        .split_first()
        .ok_or("the octets end before the length")?;
    if first < 0x80 {
        return Ok((usize::from(first), 1, true));
    }
    let count = usize::from(first & 0x7F);
    match count {
        0 => return Err("indefinite length, which is not allowed,"),
        1..=4 => {}
        _ => return Err("malformed length"),
    }
    let octets = rest
        .get(..count)
        .ok_or("the octets end inside the length")?;
    let length = octets
        .iter()
        .fold(0_usize, |length, &octet| (length << 8) | usize::from(octet));
    let is_minimal = length >= 0x80 && octets.first() != Some(&0);
    Ok((length, 1 + count, is_minimal))
}
