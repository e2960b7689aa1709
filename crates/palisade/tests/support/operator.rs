//! An operator who knows what the eIM has accepted, whatever happened to the answers.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use eim::command::{Command, DataItem};
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::control::{Broken, Control};
use super::seeded::Seeded;
use super::{PATIENCE, members, profiles};

/// What was asked for and the eIM has accepted.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) commands: Vec<Command>,
}

/// Proposes operations and never gives up.
pub(crate) struct Operator {
    control: Control,
    eids: Vec<Eid>,
    random: Seeded,
}

impl Operator {
    pub(crate) fn new(control: Control, eids: Vec<Eid>, seed: u64) -> Self {
        Self {
            control,
            eids,
            random: Seeded::new(seed, 11),
        }
    }

    /// Proposes one operation for each permission. Operations by device, in the order of proposal.
    pub(crate) fn work(mut self, released: Receiver<()>) -> BTreeMap<String, Vec<Accepted>> {
        let mut accepted: BTreeMap<String, Vec<Accepted>> = BTreeMap::new();
        for (number, ()) in released.into_iter().enumerate() {
            let eid = self.eids[number % self.eids.len()].to_string();
            let (commands, lifetime_s) = self.next(number);
            let id = self.propose(&eid, &commands, lifetime_s);
            accepted
                .entry(eid)
                .or_default()
                .push(Accepted { id, commands });
        }
        accepted
    }

    /// What to ask for, and seconds for it. Both together are not used twice.
    fn next(&mut self, number: usize) -> (Vec<Command>, usize) {
        // Mostly what leaves a trace on the card that can be told from all others.
        let address = Command::SetDefaultSmdp {
            address: format!("smdp-{number}.example.com"),
        };
        let iccid = profiles()[self.random.below(2) as usize];
        let enable = |rollback| Command::Enable { iccid, rollback };
        let long = 100_000 + number;
        match self.random.below(100) {
            0..42 => (vec![address], long),
            42..50 => (vec![address], 1),
            50..65 => (vec![address, enable(false)], long),
            65..80 => (vec![enable(true)], long),
            80..85 => (vec![Command::ListProfiles], long),
            85..90 => (vec![Command::ListEims], long),
            _ => {
                let items = vec![DataItem::EuiccInfo1];
                (vec![Command::ReadDeviceData { items }], long)
            }
        }
    }

    /// Proposes until it is sure that the eIM has it, and proposes nothing twice. Gives its id.
    fn propose(&self, eid: &str, commands: &[Command], lifetime_s: usize) -> String {
        let path = format!("/v1/devices/{eid}/operations");
        let body = json!({ "commands": commands, "lifetime_s": lifetime_s }).to_string();
        let is_it = |operation: &&Value| {
            let time = |name: &str| operation[name].as_i64().unwrap();
            let lifetime_ms = time("expires_at") - time("created_at");
            operation["commands"] == json!(commands) && lifetime_ms == lifetime_s as i64 * 1000
        };
        let mut in_doubt = false;
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nothing can be proposed");
            if in_doubt {
                let Ok((200, listed)) = self.control.get(&format!("{path}?limit=1000")) else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                if let Some(found) = members(&listed, "operations").iter().find(is_it) {
                    return found["id"].as_str().unwrap().to_owned();
                }
                in_doubt = false;
            }
            match self.control.post(&path, &body) {
                Ok((201, operation)) => return operation["id"].as_str().unwrap().to_owned(),
                Ok((status, problem)) => panic!("{status}: {problem}"),
                Err(Broken::NotSent) => {}
                Err(Broken::Unanswered) => in_doubt = true,
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
