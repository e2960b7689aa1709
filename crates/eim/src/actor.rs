//! Who asks for a change. No verb that changes state can be called without one.

use std::fmt;

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

/// A person, a machine, a device or a part of this system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", content = "name")]
pub enum Actor {
    /// A person or machine whose intent the authority accepted.
    Principal(String),
    /// Somebody at this host, by the name of the user.
    Operator(String),
    /// A device, by the EID it showed. What a device says is believed only as far as its eUICC signed it.
    Device(String),
    /// A part of this eIM, for example the delivery that needs a proof of presence.
    System(String),
}

impl Actor {
    /// The proposer of an intent.
    pub fn principal(name: &intent::Principal) -> Self {
        Self::Principal(name.to_string())
    }

    /// An operator.
    pub fn operator(name: impl Into<String>) -> Self {
        Self::Operator(name.into())
    }

    /// A device.
    pub fn device(eid: Eid) -> Self {
        Self::Device(eid.to_string())
    }

    /// A part of this system.
    pub fn system(part: &str) -> Self {
        Self::System(part.to_owned())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => write!(f, "principal:{name}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Device(eid) => write!(f, "device:{eid}"),
            Self::System(part) => write!(f, "system:{part}"),
        }
    }
}
