//! SHA-256 hashes of the tree.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tlog_tiles::tlog;

/// A SHA-256 hash of a leaf, a node or a tree (RFC 6962 section 2.1). As text: base64 with padding, as in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of the tree without entries.
    pub const EMPTY: Self = Self(tlog::EMPTY_HASH.0);

    /// The leaf hash of an encoded entry.
    pub fn of_leaf(octets: &[u8]) -> Self {
        tlog::record_hash(octets).into()
    }
}

/// The text is not 32 octets in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 octets in base64")]
pub struct NoHash;

impl FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        // Without the limit the decoder would allocate for whatever a peer sends.
        if text.len() != 44 {
            return Err(NoHash);
        }
        let octets = STANDARD.decode(text).map_err(|_| NoHash)?;
        Ok(Self(octets.try_into().map_err(|_| NoHash)?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl From<tlog::Hash> for Hash {
    fn from(hash: tlog::Hash) -> Self {
        Self(hash.0)
    }
}

impl From<Hash> for tlog::Hash {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}
