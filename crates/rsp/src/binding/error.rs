use crate::der;

/// Why a body is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path names no function of this interface.
    #[error("{name:?} is not a function of this interface")]
    UnknownFunction {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// ASN.1 binding: the body is not a message of this interface.
    #[error("the body is not a message of this interface in DER")]
    Asn1(#[source] der::Error),
    /// JSON binding: the body is not an object, or a member stands twice in it.
    #[error("the body is not a JSON object with distinct members")]
    Json(#[source] serde_json::Error),
    /// JSON binding: a mandatory member is absent.
    #[error("the member {member} is missing")]
    Missing {
        /// Its name, with those of the objects around it.
        member: &'static str,
    },
    /// JSON binding: a member holds something else than it should.
    #[error("the member {member} {problem}")]
    Malformed {
        /// Its name, with those of the objects around it.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// JSON binding: a member holds base64 of something else than its object.
    #[error("the member {member} does not hold the object it should")]
    Object {
        /// Its name, with those of the objects around it.
        member: &'static str,
        /// What is wrong with the object.
        #[source]
        source: der::Error,
    },
    /// The message holds an alternative that the JSON binding has no member for.
    #[error("{message} has no form in the JSON binding")]
    NotExpressible {
        /// The message.
        message: &'static str,
    },
}

impl Error {
    /// The JSON member at fault, if it is one.
    pub fn member(&self) -> Option<&'static str> {
        match self {
            Self::Missing { member }
            | Self::Malformed { member, .. }
            | Self::Object { member, .. } => Some(member),
            _ => None,
        }
    }

    /// Whether something mandatory was absent, as opposed to wrong.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } => true,
            Self::Asn1(error) => *error.kind() == der::ErrorKind::Missing,
            _ => false,
        }
    }

    pub(super) fn unknown_function(name: &str) -> Self {
        Self::UnknownFunction {
            name: name.chars().take(64).collect(),
        }
    }
}
