//! An operator who knows what was accepted, whatever happened to the answers.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use intent::command::{Command, DataItem};
use rsp::ids::Eid;

use super::control::Control;
use super::machine::Machine;
use super::profiles;
use super::seeded::Seeded;

/// Longer than any run.
const LONG_MS: i64 = 100_000_000;

/// What was asked for and accepted.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) commands: Vec<Command>,
}

/// Proposes operations and never gives up.
pub(crate) struct Operator {
    control: Control,
    machine: Machine,
    eids: Vec<Eid>,
    random: Seeded,
}

impl Operator {
    pub(crate) fn new(control: Control, machine: Machine, eids: Vec<Eid>, seed: u64) -> Self {
        Self {
            control,
            machine,
            eids,
            random: Seeded::new(seed, 11),
        }
    }

    /// Proposes one operation for each permission. Operations by device, in the order of proposal.
    pub(crate) fn work(mut self, released: Receiver<()>) -> BTreeMap<String, Vec<Accepted>> {
        let mut accepted: BTreeMap<String, Vec<Accepted>> = BTreeMap::new();
        for (number, ()) in released.into_iter().enumerate() {
            let eid = self.eids[number % self.eids.len()];
            let (commands, lifetime_ms) = self.next(number);
            let signed = self.machine.operate(eid, commands.clone(), lifetime_ms);
            if !signed.offer(&self.control) {
                continue;
            }
            let id = signed.operation(&self.control);
            let accepted = accepted.entry(eid.to_string()).or_default();
            accepted.push(Accepted { id, commands });
        }
        accepted
    }

    /// What to ask for, and milliseconds for it.
    fn next(&mut self, number: usize) -> (Vec<Command>, i64) {
        // Mostly what leaves a trace on the card that can be told from all others.
        let address = Command::SetDefaultSmdp {
            address: format!("smdp-{number}.example.com"),
        };
        let iccid = profiles()[self.random.below(2) as usize];
        let enable = |rollback| Command::Enable { iccid, rollback };
        match self.random.below(100) {
            0..42 => (vec![address], LONG_MS),
            42..46 => (vec![address], 1_000),
            // It is accepted, and mostly over before the device asks for it.
            46..50 => (vec![address], 40),
            50..65 => (vec![address, enable(false)], LONG_MS),
            65..80 => (vec![enable(true)], LONG_MS),
            80..85 => (vec![Command::ListProfiles], LONG_MS),
            85..90 => (vec![Command::ListEims], LONG_MS),
            _ => {
                let items = vec![DataItem::EuiccInfo1];
                (vec![Command::ReadDeviceData { items }], LONG_MS)
            }
        }
    }
}
