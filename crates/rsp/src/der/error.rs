use std::fmt;

use super::Tag;

/// Why octets are not the object they should be, and where in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// Innermost first.
    path: Vec<&'static str>,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The octets end inside a TLV.
    #[error("the octets end inside a TLV")]
    Truncated,
    /// Identifier octets that are too long or not minimal.
    #[error("malformed tag")]
    MalformedTag,
    /// A length of more octets than needed (X.690 section 10.1), or of more than four.
    #[error("malformed length")]
    MalformedLength,
    /// Octets follow where the object should have ended.
    #[error("{count} octets follow the end of the object")]
    TrailingOctets {
        /// How many.
        count: usize,
    },
    /// Longer than [`Limits`](super::Limits) allow.
    #[error("the message has {length} octets, more than the {limit} allowed")]
    TooLong {
        /// Octets received.
        length: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// Nested deeper than [`Limits`](super::Limits) allow.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// Levels allowed.
        limit: u8,
    },
    /// A list with more members than [`Limits`](super::Limits) allow.
    #[error("a list has more than {limit} members")]
    TooMany {
        /// Members allowed.
        limit: usize,
    },
    /// A mandatory member is absent.
    #[error("mandatory element is missing")]
    Missing,
    /// A tag that cannot stand here.
    #[error("tag {found} cannot stand here")]
    UnexpectedTag {
        /// The tag found.
        found: Tag,
    },
    /// A member stands twice or out of order.
    #[error("tag {found} stands twice or out of order")]
    Misplaced {
        /// The tag found.
        found: Tag,
    },
    /// The content does not fit its type.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Error {
    /// An error without a place yet.
    pub fn new(kind: ErrorKind) -> Self {
        Self {
            kind,
            path: Vec::new(),
        }
    }

    /// Content that does not fit its type.
    pub fn invalid(reason: &'static str) -> Self {
        Self::new(ErrorKind::Invalid(reason))
    }

    /// Adds the name of the object around the place where it happened.
    #[must_use]
    pub fn within(mut self, name: &'static str) -> Self {
        self.path.push(name);
        self
    }

    /// What was wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Where it was: names from the outermost object to the innermost, joined by dots.
    pub fn place(&self) -> String {
        self.path
            .iter()
            .rev()
            .copied()
            .collect::<Vec<_>>()
            .join(".")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.place())?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "der::Error({self})")
    }
}

impl std::error::Error for Error {}
