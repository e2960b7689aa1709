//! Packages that were ordered for one device, for as long as it matters.
//!
//! An eUICC that executed a package refuses those with lower counters (SGP.32 section 3.3.1). So a package that was not answered
//! before a later one was executed will not run any more; its result, if there is one, exists already. Its octets are of no use
//! then. A trace of it is kept for a while, so that a late result can be verified and tied to it.

use std::collections::BTreeMap;

use intent::Digest;
use serde::{Deserialize, Serialize};

use crate::event::Account;
use crate::package;

/// Packages that the eUICC may still answer, kept for one device. The octets of the oldest beyond are not given again.
pub const UNANSWERED_MAX: usize = 16;
/// Packages with an answer that are kept for one device, in case that the answer to them was lost.
const ANSWERED_KEPT: usize = 2;
/// Packages of which the octets are gone, kept for one device.
pub const TRACES_KEPT: usize = 8;

/// Packages of one device by their counters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Orders {
    #[serde(rename = "k")]
    kept: BTreeMap<i64, Order>,
    /// In rising order of their counters.
    #[serde(rename = "t", skip_serializing_if = "Vec::is_empty", default)]
    traces: Vec<(i64, Trace)>,
}

/// A package that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its entry.
    #[serde(rename = "n")]
    pub number: u64,
    /// On whose account.
    #[serde(rename = "a")]
    pub account: Account,
    /// EuiccPackageSigned, DER in base64.
    #[serde(rename = "p")]
    pub package: String,
    /// The association token that the signature covers.
    #[serde(rename = "t")]
    pub token: Option<i64>,
    /// The key that signs it.
    #[serde(rename = "k")]
    pub key: Digest,
    /// The key that the eUICC accepts once it answers that it adopted it.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none", default)]
    pub adopts: Option<Digest>,
    /// Whether the eUICC has answered.
    #[serde(rename = "d")]
    pub is_answered: bool,
}

/// What is left of a package whose octets nobody can need any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Its entry.
    #[serde(rename = "n")]
    pub number: u64,
    /// The association token that the signature covers.
    #[serde(rename = "t")]
    pub token: Option<i64>,
    /// How many commands it has; none if they cannot be read.
    #[serde(rename = "c")]
    pub commands: Option<usize>,
    /// The key that the eUICC accepts once it answers that it adopted it, if it still can.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none", default)]
    pub adopts: Option<Digest>,
    /// Whether the eUICC has answered.
    #[serde(rename = "d")]
    pub is_answered: bool,
}

impl Orders {
    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.traces.is_empty()
    }

    /// The package of a counter, if its octets are kept.
    pub(crate) fn get(&self, counter: i64) -> Option<&Order> {
        self.kept.get(&counter)
    }

    /// What is known of the package of a counter, whether its octets are kept or not.
    pub(crate) fn trace(&self, counter: i64) -> Option<Trace> {
        let kept = self.kept.get(&counter).map(Trace::of);
        kept.or_else(|| {
            let place = self
                .traces
                .binary_search_by_key(&counter, |(known, _)| *known);
            self.traces.get(place.ok()?).map(|(_, trace)| *trace)
        })
    }

    /// The newest package of an account whose octets are kept, with its counter. There are at most [`UNANSWERED_MAX`] and a few.
    pub(crate) fn of(&self, account: &Account) -> Option<(i64, &Order)> {
        let mut kept = self.kept.iter().rev();
        let (counter, order) = kept.find(|(_, order)| order.account == *account)?;
        Some((*counter, order))
    }

    /// Keys that the eUICC may be adopting.
    pub(crate) fn adopting(&self) -> impl Iterator<Item = Digest> {
        let kept = self.kept.values();
        let kept = kept.map(|order| (order.is_answered, order.adopts));
        let traces = self.traces.iter();
        let traces = traces.map(|(_, trace)| (trace.is_answered, trace.adopts));
        kept.chain(traces)
            .filter_map(|(is_answered, adopts)| adopts.filter(|_| !is_answered))
    }

    /// Another package.
    pub(crate) fn add(&mut self, counter: i64, order: Order) {
        self.kept.insert(counter, order);
        self.shorten();
    }

    /// The eUICC answered the package of this counter, and executed it or not.
    pub(crate) fn answered(&mut self, counter: i64, is_executed: bool) {
        if let Some(order) = self.kept.get_mut(&counter) {
            order.is_answered = true;
        }
        for (known, trace) in &mut self.traces {
            trace.is_answered |= *known == counter;
        }
        if is_executed {
            self.pass(counter);
        }
        self.shorten();
    }

    /// The eUICC begins anew: nothing that was signed before will be answered. Asking again still gives the same octets.
    pub(crate) fn end(&mut self) {
        for order in self.kept.values_mut() {
            order.is_answered = true;
        }
        for (_, trace) in &mut self.traces {
            trace.is_answered = true;
        }
        self.shorten();
    }

    /// The device is gone: nobody gives these octets again, nor is an answer taken before it is associated anew.
    pub(crate) fn retire(&mut self) {
        for (counter, order) in std::mem::take(&mut self.kept) {
            self.leave_trace(counter, &order, None);
        }
    }

    /// A package was executed: those before it that were not answered will not run. Nor did one of them have the eUICC adopt
    /// another key, or it would not have taken the later one.
    fn pass(&mut self, counter: i64) {
        let later = self.kept.split_off(&counter);
        for (counter, order) in std::mem::replace(&mut self.kept, later) {
            match order.is_answered {
                true => {
                    self.kept.insert(counter, order);
                }
                false => self.leave_trace(counter, &order, None),
            }
        }
        for (_, trace) in self.traces.iter_mut().filter(|(known, _)| *known < counter) {
            trace.adopts = None;
        }
    }

    fn shorten(&mut self) {
        let answered = self.kept.iter().filter(|(_, order)| order.is_answered);
        let excess = answered.clone().count().saturating_sub(ANSWERED_KEPT);
        let answered: Vec<i64> = answered.take(excess).map(|(counter, _)| *counter).collect();
        for counter in answered {
            if let Some(order) = self.kept.remove(&counter) {
                self.leave_trace(counter, &order, None);
            }
        }
        while self.kept.len() > UNANSWERED_MAX + ANSWERED_KEPT {
            if let Some((counter, order)) = self.kept.pop_first() {
                self.leave_trace(counter, &order, order.adopts);
            }
        }
    }

    fn leave_trace(&mut self, counter: i64, order: &Order, adopts: Option<Digest>) {
        let trace = Trace {
            adopts,
            ..Trace::of(order)
        };
        let place = self.traces.partition_point(|(known, _)| *known < counter);
        self.traces.insert(place, (counter, trace));
        let excess = self.traces.len().saturating_sub(TRACES_KEPT);
        self.traces.drain(..excess);
    }
}

impl Trace {
    fn of(order: &Order) -> Self {
        Self {
            number: order.number,
            token: order.token,
            commands: package::commands(&order.package),
            adopts: order.adopts,
            is_answered: order.is_answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(counter: i64, adopts: Option<u8>) -> Order {
        Order {
            number: counter.unsigned_abs() + 100,
            account: Account::Read(format!("profiles:{counter}")),
            package: String::new(),
            token: Some(counter),
            key: Digest([0; 32]),
            adopts: adopts.map(|octet| Digest([octet; 32])),
            is_answered: false,
        }
    }

    fn kept(orders: &Orders) -> Vec<i64> {
        orders.kept.keys().copied().collect()
    }

    fn traced(orders: &Orders) -> Vec<i64> {
        orders.traces.iter().map(|(counter, _)| *counter).collect()
    }

    #[test]
    fn however_many_there_are_some_are_kept() {
        let mut orders = Orders::default();
        for counter in 1..=1_000 {
            orders.add(counter, order(counter, (counter == 980).then_some(7)));
            if counter % 7 == 0 {
                orders.answered(counter - 3, counter % 2 == 0);
            }
            assert!(orders.kept.len() <= UNANSWERED_MAX + ANSWERED_KEPT);
            assert!(orders.traces.len() <= TRACES_KEPT && traced(&orders).is_sorted());
        }
        let text = serde_json::to_string(&orders).unwrap();
        assert_eq!(serde_json::from_str::<Orders>(&text).unwrap(), orders);
        orders.retire();
        assert!(kept(&orders).is_empty() && traced(&orders).len() == TRACES_KEPT);
        assert_eq!(orders.adopting().count(), 0);
    }

    #[test]
    fn only_an_execution_passes_what_was_before() {
        let mut orders = Orders::default();
        for counter in 1..=4 {
            orders.add(counter, order(counter, (counter == 2).then_some(7)));
        }
        // A refusal says nothing about the others.
        orders.answered(3, false);
        assert_eq!(kept(&orders), [1, 2, 3, 4]);
        assert_eq!(orders.adopting().count(), 1);
        orders.answered(3, true);
        assert_eq!((kept(&orders), traced(&orders)), (vec![3, 4], vec![1, 2]));
        assert_eq!(orders.adopting().count(), 0);
        let trace = orders.trace(2).unwrap();
        assert_eq!((trace.number, trace.token), (102, Some(2)));
        assert!(!trace.is_answered, "its result may exist already");
        orders.answered(2, true);
        assert!(orders.trace(2).unwrap().is_answered);
        assert_eq!(orders.of(&Account::Read("profiles:2".to_owned())), None);
        assert!(orders.of(&Account::Read("profiles:4".to_owned())).is_some());
    }
}
