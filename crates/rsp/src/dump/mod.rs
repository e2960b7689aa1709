//! Any message as an annotated tree, for people who look at octets.
//!
//! [`annotate`] recognises every message of the SGP.32 and SGP.22 modules by its tag, profile
//! packages, certificates, and STORE DATA commands that carry a message. The tree is built by a
//! reader of its own that, unlike the decoders, does not give up: what is unknown, missing, out
//! of order or broken is shown where it stands, and malformed octets end the tree with a
//! [`Fault`] that says where and why. A message that is shown without remark decodes; a message
//! that is refused elsewhere can be looked at here.
//!
//! Subscriber keys, codes and session keys are not shown.

mod input;
mod meaning;
mod names;
mod profile;
mod registry;
mod text;
mod value;
mod walk;
mod x509;

pub use input::parse_input;
pub use registry::types;
pub use text::TextOptions;

use crate::der::Tag;

/// Octets that one message may have: those of the decoders.
pub const OCTETS_MAX: usize = 1 << 20;

/// What is known about some octets.
#[derive(Debug, Clone)]
pub struct Annotated {
    /// The objects, one behind the other. More than one when several messages were given.
    pub objects: Vec<Object>,
    /// Where reading ended early.
    pub fault: Option<Fault>,
    /// What surrounded the objects: an APDU header, a status word.
    pub notes: Vec<String>,
}

/// One object of the outermost level.
#[derive(Debug, Clone)]
pub struct Object {
    /// The type it was read as; `None` when it fits none.
    pub type_name: Option<&'static str>,
    /// Other types that fit equally well.
    pub also_fits: Vec<&'static str>,
    /// Its tree.
    pub node: Node,
}

/// One element, or the place where one is missing.
#[derive(Debug, Clone)]
pub struct Node {
    /// Octets from the start of the input.
    pub offset: usize,
    /// The identifier octets; `None` where a missing element could have one of several.
    pub tag: Option<Tag>,
    /// The name in the module, or that of the universal tag.
    pub name: String,
    /// The type in the module.
    pub type_name: Option<&'static str>,
    /// Content octets that its length announces.
    pub octets: usize,
    /// What it says.
    pub shown: Shown,
    /// What is noteworthy.
    pub remarks: Vec<Remark>,
    /// Elements inside.
    pub children: Vec<Node>,
    /// `shown` sums the children up, so that they are shown only on request.
    pub is_summary: bool,
}

/// The content of an element without elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing: its children are its content, or it has none.
    Nothing,
    /// In words.
    Text(String),
    /// As octets.
    Octets(Vec<u8>),
    /// Hidden because it is a key or a code.
    Secret,
}

/// Something noteworthy about an element.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// Behind the known members.
    #[error("not in this version of the module")]
    Extension,
    /// An alternative of a CHOICE.
    #[error("an alternative that this version does not know")]
    UnknownAlternative,
    /// A member that must be there and is not.
    #[error("mandatory and missing")]
    Missing,
    /// A known member at the wrong place.
    #[error("stands twice or out of order")]
    Misplaced,
    /// Content that does not fit the type.
    #[error("{0}")]
    Invalid(String),
    /// A deviation that deployed devices are known for, and that is accepted.
    #[error("{0}: accepted")]
    Tolerated(&'static str),
    /// A length with more octets than needed.
    #[error("the length has more octets than needed (BER): accepted from cards only")]
    NonMinimalLength,
}

/// Why and where reading ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at octet {offset}: {message}")]
pub struct Fault {
    /// Octets from the start of the input.
    pub offset: usize,
    /// What was wrong.
    pub message: String,
}

/// Why there is nothing to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// No octets.
    #[error("no octets were given")]
    Empty,
    /// More than [`OCTETS_MAX`].
    #[error("{octets} octets are more than the {OCTETS_MAX} that are read")]
    TooLong {
        /// Octets given.
        octets: usize,
    },
    /// No type has this name.
    #[error("no type is named {name}{}", suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    UnknownType {
        /// The name given.
        name: String,
        /// The closest one there is.
        suggestion: Option<&'static str>,
    },
}

/// Builds the tree of a message.
///
/// `as_type` is a name from [`types`], in any case of letters; without one the type is found
/// by the tag, and where several types share it the one that fits best is taken.
///
/// # Errors
/// Only when there is nothing to show: octets that are no message yield a tree with a fault.
pub fn annotate(bytes: &[u8], as_type: Option<&str>) -> Result<Annotated, DumpError> {
    if bytes.is_empty() {
        return Err(DumpError::Empty);
    }
    if bytes.len() > OCTETS_MAX {
        return Err(DumpError::TooLong {
            octets: bytes.len(),
        });
    }
    let wanted = as_type.map(registry::Wanted::find).transpose()?;
    if let Some(commands) = input::store_data(bytes) {
        let mut annotated = registry::annotate(&commands.data, wanted);
        annotated.notes.insert(0, commands.note);
        return Ok(annotated);
    }
    Ok(registry::annotate(bytes, wanted))
}

impl Annotated {
    /// Whether everything was read and fits its type, known deviations included.
    pub fn fits(&self) -> bool {
        self.fault.is_none()
            && self
                .objects
                .iter()
                .all(|object| object.type_name.is_some() && object.node.fits())
    }
}

impl Node {
    /// How badly the element fits the type it was read as; 0 when perfectly. A misfit near the
    /// root says more about the type than one deep inside.
    fn penalty(&self, level: u32) -> u64 {
        const LEVELS: u32 = 8;
        let own = self.remarks.iter().map(|remark| match remark {
            Remark::NonMinimalLength => 0,
            Remark::Tolerated(_) => 1,
            misfit => misfit.severity() << (4 * LEVELS.saturating_sub(level)),
        });
        let inside = self.children.iter().map(|child| child.penalty(level + 1));
        own.chain(inside).fold(0, u64::saturating_add)
    }

    /// Whether the element and all inside are as the type says, or deviate in an accepted way.
    fn fits(&self) -> bool {
        self.remarks.iter().all(|remark| remark.severity() == 0)
            && self.children.iter().all(Self::fits)
    }

    /// Whether nothing known is missing, misplaced or malformed.
    fn fits_extended(&self) -> bool {
        let is_grown =
            |remark: &Remark| matches!(remark, Remark::Extension | Remark::UnknownAlternative);
        self.remarks
            .iter()
            .all(|remark| remark.severity() == 0 || is_grown(remark))
            && self.children.iter().all(Self::fits_extended)
    }
}

impl Remark {
    fn severity(&self) -> u64 {
        match self {
            Self::NonMinimalLength | Self::Tolerated(_) => 0,
            Self::Extension => 2,
            Self::UnknownAlternative => 3,
            Self::Invalid(_) => 4,
            Self::Missing | Self::Misplaced => 5,
        }
    }
}

#[cfg(test)]
mod tests;
