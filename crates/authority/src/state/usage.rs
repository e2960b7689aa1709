//! How much was signed lately, for quotas.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::state::Misfit;
use crate::state::devices::Devices;
use crate::state::intents::Intents;

/// Counts of signed changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {}

impl Usage {
    /// Counts a package that was ordered or released.
    pub(crate) fn apply(
        &mut self,
        _number: u64,
        _at: i64,
        _event: &Event,
        _devices: &Devices,
        _intents: &Intents,
    ) -> Result<(), Misfit> {
        Ok(())
    }
}
