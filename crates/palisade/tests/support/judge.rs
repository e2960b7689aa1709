//! Compares what the eIM has recorded with what the eUICCs did and what passed in between.

use std::collections::{BTreeMap, BTreeSet};

use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{
    EuiccPackageResult, EuiccResultData, ProcessingTerminated, RollbackProfileResult,
};
use serde_json::{Value, json};

use super::control::Control;
use super::device::Remains;
use super::members;
use super::network::World;
use super::operator::Accepted;

/// What became of all operations.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) operations: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) expired: usize,
    pub(crate) rolled_back: usize,
    /// Failed because power did.
    pub(crate) interrupted: usize,
    /// How often which outcome was recorded.
    pub(crate) outcomes: BTreeMap<String, usize>,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.done += other.done;
        self.failed += other.failed;
        self.expired += other.expired;
        self.rolled_back += other.rolled_back;
        self.interrupted += other.interrupted;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// Of one device.
pub(crate) struct Judge<'a> {
    remains: &'a Remains,
    device: Value,
    /// Oldest first, with request and result.
    operations: Vec<Value>,
    events: Vec<Value>,
    /// Packages that passed, by counter.
    packages: BTreeMap<i64, Vec<u8>>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(control: &Control, world: &World, remains: &'a Remains) -> Self {
        let eid = remains.eid;
        let listed = control.read(&format!("/v1/devices/{eid}/operations?limit=1000"));
        let mut operations: Vec<Value> = members(&listed, "operations")
            .iter()
            .map(|one| control.read(&format!("/v1/operations/{}", one["id"].as_str().unwrap())))
            .collect();
        operations.reverse();
        Self {
            remains,
            device: control.read(&format!("/v1/devices/{eid}")),
            operations,
            events: events(control, eid),
            packages: world.packages(eid),
        }
    }

    /// Panics at the first thing that does not agree.
    pub(crate) fn judge(&self, accepted: &[Accepted]) -> Sum {
        assert_eq!(self.remains.deeds.faults, Vec::<String>::new());
        self.everything_accepted_is_there_once(accepted);
        self.each_is_over_and_says_how();
        self.each_counter_went_to_one_operation_and_one_package();
        let sum = self.the_card_executed_each_once();
        self.the_card_did_it_in_the_order_of_the_queue();
        self.both_sides_know_the_same();
        self.the_events_tell_it_once();
        sum
    }

    fn everything_accepted_is_there_once(&self, accepted: &[Accepted]) {
        let by_operator: Vec<&str> = self
            .operations
            .iter()
            .filter(|one| one["actor"].as_str().unwrap().starts_with("principal:"))
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        let expected: Vec<&str> = accepted.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(by_operator, expected, "lost, doubled, or in another order");
        for one in accepted {
            let recorded = &self.operation(&one.id)["commands"];
            assert_eq!(*recorded, json!(one.commands));
        }
    }

    fn each_is_over_and_says_how(&self) {
        for one in &self.operations {
            let state = one["state"].as_str().unwrap();
            assert!(
                ["done", "failed", "expired", "rolled-back"].contains(&state),
                "{one}"
            );
            let summary = one["outcome"]["summary"].as_str().unwrap();
            assert!(!summary.is_empty() && one["finished_at"].is_i64(), "{one}");
            // The eUICC keeps every result until it is acknowledged, so none may be recorded as lost.
            assert!(!summary.contains("lost"), "{one}");
        }
    }

    fn each_counter_went_to_one_operation_and_one_package(&self) {
        let counters: Vec<i64> = self.with_counter().map(|(counter, _)| counter).collect();
        let distinct: BTreeSet<i64> = counters.iter().copied().collect();
        assert_eq!(distinct.len(), counters.len(), "a counter was used twice");
        for counter in self.packages.keys() {
            assert!(distinct.contains(counter), "{counter} is not recorded");
        }
        for (counter, one) in self.with_counter() {
            match self.packages.get(&counter) {
                Some(package) => assert_eq!(
                    one["request"].as_str().unwrap(),
                    hex::encode_upper(package),
                    "what passed is not what is recorded: {one}"
                ),
                // Recorded as on its way when the server was killed, and its time ran out before the next poll.
                None => assert_eq!(one["state"], "expired", "{one}"),
            }
        }
    }

    /// The heart of it.
    fn the_card_executed_each_once(&self) -> Sum {
        let deeds = &self.remains.deeds;
        let mut sum = Sum {
            operations: self.operations.len(),
            ..Sum::default()
        };
        assert!(deeds.counters.is_sorted_by(|one, next| one < next));
        let accepted: BTreeSet<i64> = deeds.counters.iter().copied().collect();
        // One that was executed after all would not have stayed expired: its result came later, and counts.
        let executed = || {
            self.with_counter()
                .filter(|(_, one)| one["state"] != "expired")
        };
        let recorded: BTreeSet<i64> = executed().map(|(counter, _)| counter).collect();
        assert_eq!(accepted, recorded, "executed on the card, and recorded");

        let mut results_expected = 0;
        for (counter, one) in executed() {
            let results: Vec<_> = deeds
                .results
                .values()
                .filter(|it| it.euicc_package_result_data_signed.counter_value == counter)
                .collect();
            let last = results.last().unwrap();
            let outcomes = &last.euicc_package_result_data_signed.euicc_result;
            let is_rolled_back =
                outcomes.contains(&EuiccResultData::RollbackResult(RollbackProfileResult::Ok));
            let is_interrupted = *outcomes
                == [EuiccResultData::ProcessingTerminated(
                    ProcessingTerminated::Interruption,
                )];
            // A rollback replaces the result of the enabling by its own; nothing else has two.
            let count = if is_rolled_back { 2 } else { 1 };
            assert_eq!(results.len(), count, "executions of {one}");
            results_expected += count;

            let is_ok = members(&one["outcome"], "results")
                .iter()
                .all(|result| result["ok"] == true);
            let commands = members(one, "commands").len();
            match one["state"].as_str().unwrap() {
                "done" => {
                    assert!(
                        is_ok && !is_interrupted && outcomes.len() == commands,
                        "{one}"
                    );
                }
                "rolled-back" => assert!(is_rolled_back, "{one}"),
                _ => assert!(!is_ok && !is_rolled_back, "{one}"),
            }
            // What is recorded is what the eUICC signed last.
            let result = EuiccPackageResult::EuiccPackageResultSigned((*last).clone());
            assert_eq!(
                one["result"].as_str().unwrap(),
                hex::encode_upper(result.to_der()),
                "{one}"
            );
            sum.interrupted += usize::from(is_interrupted);
        }
        // Every number that the card gave out belongs to one of these results.
        assert_eq!(deeds.results.len(), results_expected);
        let numbers: Vec<i64> = deeds.results.keys().copied().collect();
        let all: Vec<i64> = (1..=deeds.sequence_number).collect();
        assert_eq!(numbers, all);

        for one in &self.operations {
            let results = one["outcome"]["results"].as_array().into_iter().flatten();
            let failure = results
                .filter(|result| result["ok"] == false)
                .find_map(|result| result["detail"].as_str());
            let words = [&one["state"], &one["outcome"]["summary"]].map(|word| word.as_str());
            let outcome = [words[0], words[1], failure].map(Option::unwrap_or_default);
            *sum.outcomes.entry(outcome.join(": ")).or_default() += 1;
            match one["state"].as_str().unwrap() {
                "done" => sum.done += 1,
                "expired" => sum.expired += 1,
                "rolled-back" => sum.rolled_back += 1,
                _ => sum.failed += 1,
            }
        }
        sum
    }

    fn the_card_did_it_in_the_order_of_the_queue(&self) {
        // What an operator proposed earlier has the lower counter.
        let counters: Vec<i64> = self
            .with_counter()
            .filter(|(_, one)| one["actor"].as_str().unwrap().starts_with("principal:"))
            .map(|(counter, _)| counter)
            .collect();
        assert!(
            counters.is_sorted(),
            "another order than in the queue: {counters:?}"
        );
        let executed = self.with_counter().filter_map(|(_, one)| {
            let position = members(one, "commands")
                .iter()
                .position(|command| command["command"] == "set-default-smdp")?;
            let is_ok = one["outcome"]["results"][position]["ok"] == true;
            is_ok.then(|| one["commands"][position]["address"].as_str().unwrap())
        });
        let executed: Vec<&str> = executed.collect();
        assert!(!executed.is_empty());
        assert_eq!(self.remains.deeds.addresses, executed);
        assert_eq!(
            self.remains.address.as_deref(),
            executed.last().copied(),
            "the card's own answer"
        );
    }

    fn both_sides_know_the_same(&self) {
        let deeds = &self.remains.deeds;
        assert_eq!(self.device["state"], "associated");
        let last = self.with_counter().map(|(counter, _)| counter).max();
        assert_eq!(self.device["counter"].as_i64(), last);
        assert_eq!(self.device["last_seq_number"], deeds.sequence_number);
        assert_eq!(self.remains.kept, 0, "results that were not acknowledged");
        let inventory: Vec<(String, bool)> = members(&self.device, "profiles")
            .iter()
            .map(|profile| {
                (
                    profile["iccid"].as_str().unwrap().to_owned(),
                    profile["enabled"].as_bool().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            inventory,
            self.remains.profiles,
            "the eIM's inventory, and the card's list, after {:#?}",
            self.operations
                .iter()
                .map(|one| &one["outcome"])
                .collect::<Vec<_>>()
        );
    }

    fn the_events_tell_it_once(&self) {
        let count = |kind: &str, id: &Value| {
            let named = self.events.iter().filter(|event| event["kind"] == *kind);
            named
                .filter(|event| event["detail"]["operation"] == *id)
                .count()
        };
        for one in &self.operations {
            let id = &one["id"];
            assert_eq!(count("operation-queued", id), 1, "{one}");
            if one["counter"].is_null() {
                continue;
            }
            assert_eq!(count("package-delivered", id), 1, "{one}");
            let accepted = count("result-accepted", id);
            let expected = match one["state"].as_str().unwrap() {
                "expired" => 0..=0,
                // The eIM may have had the result of the enabling before that of the rollback.
                "rolled-back" => 1..=2,
                _ => 1..=1,
            };
            assert!(expected.contains(&accepted), "{accepted}: {one}");
        }
    }

    fn operation(&self, id: &str) -> &Value {
        self.operations
            .iter()
            .find(|one| one["id"] == *id)
            .unwrap_or_else(|| panic!("{id} is lost"))
    }

    /// Operations that became signed packages.
    fn with_counter(&self) -> impl Iterator<Item = (i64, &Value)> {
        self.operations
            .iter()
            .filter_map(|one| Some((one["counter"].as_i64()?, one)))
    }
}

/// All events of a device, oldest first.
pub(crate) fn events(control: &Control, eid: Eid) -> Vec<Value> {
    let mut events = Vec::new();
    let mut after = String::new();
    loop {
        let page = control.read(&format!("/v1/devices/{eid}/events?limit=1000{after}"));
        events.extend(members(&page, "events").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return events,
        }
    }
}
