//! The tree as text.

use std::fmt;

use super::{Annotated, Node, Object, Remark, Shown};

/// How the tree is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Long octet strings whole, and what a summary stands for.
    pub full: bool,
    /// Each line begins with the place of the element, in octets from the start.
    pub offsets: bool,
}

/// Octets shown of a string that is shortened.
const SHOWN_OCTETS_MAX: usize = 32;

impl Annotated {
    /// The tree as lines of text, ending in a line break.
    pub fn to_text(&self, options: TextOptions) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, options);
        out
    }

    fn write(&self, out: &mut impl fmt::Write, options: TextOptions) -> fmt::Result {
        for note in &self.notes {
            writeln!(out, "# {note}")?;
        }
        for object in &self.objects {
            write_object(out, object, options)?;
        }
        if let Some(fault) = &self.fault {
            writeln!(out, "!! {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Annotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, TextOptions::default())
    }
}

fn write_object(out: &mut impl fmt::Write, object: &Object, options: TextOptions) -> fmt::Result {
    if !object.also_fits.is_empty() {
        writeln!(out, "# fits {} equally well", object.also_fits.join(", "))?;
    }
    write_node(out, &object.node, 0, options)
}

fn write_node(
    out: &mut impl fmt::Write,
    node: &Node,
    level: usize,
    options: TextOptions,
) -> fmt::Result {
    if options.offsets {
        write!(out, "{:>6}  ", node.offset)?;
    }
    write!(out, "{:1$}", "", level * 2)?;
    if node.remarks.contains(&Remark::Missing) {
        write!(out, "!! ")?;
    }
    if let Some(tag) = node.tag {
        write!(out, "{tag}")?;
    }
    if !node.name.is_empty() {
        write!(out, " {}", node.name)?;
    }
    if let Some(type_name) = node
        .type_name
        .filter(|_| node.octets > 0 && matches!(node.shown, Shown::Nothing))
    {
        // "SEQUENCE OF" and the like say nothing that the tree does not.
        let is_named = type_name.bytes().any(|b| b.is_ascii_lowercase());
        if is_named && !type_name.eq_ignore_ascii_case(last_part(&node.name)) {
            write!(out, " {type_name}")?;
        }
    }
    if !node.remarks.contains(&Remark::Missing) {
        write!(
            out,
            ", {} octet{}",
            node.octets,
            if node.octets == 1 { "" } else { "s" }
        )?;
    }
    match &node.shown {
        Shown::Nothing => {}
        Shown::Text(text) => write!(out, ": {text}")?,
        Shown::Octets(octets) => write_octets(out, octets, options)?,
        Shown::Secret => write!(out, ": not shown")?,
    }
    for remark in &node.remarks {
        write!(out, "  <- {remark}")?;
    }
    writeln!(out)?;
    if node.is_summary && !options.full {
        return Ok(());
    }
    node.children
        .iter()
        .try_for_each(|child| write_node(out, child, level + 1, options))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn write_octets(out: &mut impl fmt::Write, octets: &[u8], options: TextOptions) -> fmt::Result {
    if octets.is_empty() {
        return Ok(());
    }
    let shown = if options.full {
        octets.len()
    } else {
        SHOWN_OCTETS_MAX
    };
    write!(out, ": ")?;
    octets
        .iter()
        .take(shown)
        .try_for_each(|octet| write!(out, "{octet:02X}"))?;
    if octets.len() > shown {
        write!(out, "… ({} more)", octets.len() - shown)?;
    }
    Ok(())
}
