//! A long list of devices, small in memory and in snapshots.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rsp::ids::{Eid, EidOctets};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// EIDs in rising order, each once. Serialized as base64 of 16 octets each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EidList(Vec<Eid>);

impl EidList {
    /// A list that is in rising order already; none if it is not.
    pub fn of_sorted(eids: Vec<Eid>) -> Option<Self> {
        eids.is_sorted_by(|a, b| a < b).then_some(Self(eids))
    }

    /// Appends EIDs. False, and nothing appended, if the list would not rise.
    pub(crate) fn extend(&mut self, eids: &[Eid]) -> bool {
        let rises = eids.is_sorted_by(|a, b| a < b)
            && self
                .0
                .last()
                .is_none_or(|last| eids.first().is_none_or(|first| last < first));
        if rises {
            self.0.extend_from_slice(eids);
        }
        rises
    }

    /// The EIDs.
    pub fn as_slice(&self) -> &[Eid] {
        &self.0
    }

    /// Where in the list a device stands.
    pub fn position(&self, eid: &Eid) -> Option<usize> {
        self.0.binary_search(eid).ok()
    }
}

impl Serialize for EidList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let octets: Vec<u8> = self
            .0
            .iter()
            .flat_map(|eid| eid.octets())
            .copied()
            .collect();
        serializer.serialize_str(&STANDARD_NO_PAD.encode(octets))
    }
}

impl<'de> Deserialize<'de> for EidList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = STANDARD_NO_PAD.decode(text).map_err(de::Error::custom)?;
        let (whole, rest) = octets.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(de::Error::custom("a list of EIDs has 16 octets for each"));
        }
        let eids: Result<Vec<Eid>, _> = whole
            .iter()
            .map(|octets| Eid::try_from(EidOctets(*octets)))
            .collect();
        Self::of_sorted(eids.map_err(de::Error::custom)?)
            .ok_or_else(|| de::Error::custom("EIDs stand in rising order"))
    }
}
