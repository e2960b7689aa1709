//! Devices: where they belong, what their eUICC is, what was signed for them.

mod orders;

use std::collections::BTreeMap;

use intent::{Digest, Fleet};
use pki::PublicKey;
use rsp::ids::Eid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{Account, Associated, Event, Ordered, Recorded};
use crate::inventory::Inventory;
use crate::package;
use crate::state::Misfit;
use crate::state::keys::SigningKeys;
use crate::state::usage::{Span, Window};

use orders::Orders;

pub use orders::{Order, TRACES_KEPT, Trace, UNANSWERED_MAX};

/// Results of one eUICC of which it is known that they were recorded.
const RESULTS_KEPT: usize = 32;
/// Entries about managing a device that its history refers to.
const ADMINISTRATION_KEPT: usize = 64;

/// All devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Devices {
    known: BTreeMap<Eid, Device>,
    /// How many devices need each key of the eIM.
    needed: BTreeMap<Digest, u64>,
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Where it belongs; none if it was retired.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none", default)]
    fleet: Option<Fleet>,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none", default)]
    association: Option<Association>,
    /// Whether the next association may replace the one that is known.
    #[serde(rename = "r", skip_serializing_if = "is_false", default)]
    reassociable: bool,
    /// The last counter used. It outlives associations: nothing is ever signed twice under one counter.
    #[serde(rename = "c", default)]
    counter: i64,
    #[serde(rename = "o", skip_serializing_if = "Orders::is_empty", default)]
    orders: Orders,
    #[serde(rename = "d", skip_serializing_if = "Vec::is_empty", default)]
    results: Vec<Known>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none", default)]
    inventory: Option<Inventory>,
    #[serde(rename = "w", default)]
    reads: Window,
    #[serde(rename = "n", skip_serializing_if = "Vec::is_empty", default)]
    administration: Vec<u64>,
}

/// What is known of an eUICC that showed its certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// SHA-256 of CERT.EUICC.SIG (DER).
    #[serde(rename = "c")]
    pub certificate: Digest,
    /// SubjectPublicKeyInfo (DER) of the eUICC.
    #[serde(rename = "k", with = "hex::serde")]
    pub euicc_key: Vec<u8>,
    /// The association token. Claimed by the device until a signature of the eUICC proves it.
    #[serde(rename = "t")]
    pub token: Option<i64>,
    /// Whether it is proven.
    #[serde(rename = "p")]
    pub is_proven: bool,
    /// The entry from which on this eUICC is associated as it is now. Claiming another token does not change it.
    #[serde(rename = "s")]
    pub since: u64,
    /// How many tokens were claimed and not proven.
    #[serde(rename = "n")]
    pub claims: u8,
    /// SHA-256 of the SubjectPublicKeyInfo of the eIM's key that the eUICC accepts.
    #[serde(rename = "e")]
    pub eim_key: Digest,
}

/// A result that was recorded: its sequence number, none for an error, and a part of its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Known(Option<i64>, u64);

/// Whether a result is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It was not recorded yet.
    New,
    /// Exactly this was recorded.
    Recorded,
    /// It is older than all that is remembered, or contradicts what was recorded.
    Stale,
}

impl Devices {
    /// The fleet of a device that is registered and not retired.
    pub fn fleet(&self, eid: &Eid) -> Option<&Fleet> {
        self.known.get(eid)?.fleet.as_ref()
    }

    /// A device that was registered once.
    pub fn get(&self, eid: &Eid) -> Option<&Device> {
        self.known.get(eid)
    }

    /// How many devices are registered, and how many of them associated.
    pub fn counts(&self) -> (u64, u64) {
        let registered = self.known.values().filter(|device| device.fleet.is_some());
        registered.fold((0, 0), |(all, associated), device| {
            (
                all + 1,
                associated + u64::from(device.association.is_some()),
            )
        })
    }

    /// How many devices would be left without a key if this one ended: those whose eUICC accepts no other, and those that
    /// may be adopting it at this moment.
    pub fn depending_on(&self, key: &Digest) -> u64 {
        self.needed.get(key).copied().unwrap_or(0)
    }

    /// Takes the next event about a device. `administration` are the entries of the intent behind it and of its approvals.
    pub(crate) fn apply(
        &mut self,
        number: u64,
        at: i64,
        event: &Event,
        keys: &SigningKeys,
        administration: Vec<u64>,
    ) -> Result<(), Misfit> {
        let eid = event
            .eid()
            .ok_or_else(|| Misfit::new(number, "it names no device"))?;
        let is_new = matches!(event, Event::DeviceRegistered { .. });
        let device = match is_new {
            true => self.known.entry(eid).or_default(),
            false => self
                .known
                .get_mut(&eid)
                .ok_or_else(|| Misfit::new(number, "the device was never registered"))?,
        };
        let before = device.needs();
        device.apply(number, at, event, keys, administration)?;
        let after = device.needs();
        if before != after {
            self.recount(&before, &after);
        }
        Ok(())
    }

    fn recount(&mut self, before: &[Digest], after: &[Digest]) {
        for key in after {
            *self.needed.entry(*key).or_default() += 1;
        }
        for key in before {
            if let Some(count) = self.needed.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
        self.needed.retain(|_, count| *count > 0);
    }
}

impl Device {
    /// What is known of its eUICC.
    pub fn association(&self) -> Option<&Association> {
        self.association.as_ref()
    }

    /// Whether the next association may replace the one that is known.
    pub fn is_reassociable(&self) -> bool {
        self.reassociable
    }

    /// The last counter used.
    pub fn counter(&self) -> i64 {
        self.counter
    }

    /// The package of a counter, if it is kept.
    pub fn order(&self, counter: i64) -> Option<&Order> {
        self.orders.get(counter)
    }

    /// What is known of the package of a counter, whether its octets are kept or not.
    pub fn trace(&self, counter: i64) -> Option<Trace> {
        self.orders.trace(counter)
    }

    /// The package of an account, if it is kept, with its counter.
    pub fn order_of(&self, account: &Account) -> Option<(i64, &Order)> {
        self.orders.of(account)
    }

    /// Profiles, as the eUICC last listed them.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// Reads on the eIM's own account in the last hour.
    pub fn reads(&self) -> &Window {
        &self.reads
    }

    /// Entries of the intents by which it is managed, and of their approvals.
    pub fn administration(&self) -> &[u64] {
        &self.administration
    }

    /// Whether a result is news. `seq_number` is absent for errors, which are known by their counter.
    pub fn news(&self, counter: i64, seq_number: Option<i64>, result: &Digest) -> News {
        let digest = short(result);
        if self.results.contains(&Known(seq_number, digest)) {
            return News::Recorded;
        }
        let Some(seq_number) = seq_number else {
            // Not kept by eUICCs: hearing it for a package of long ago means that somebody kept it.
            let is_open = self.trace(counter).is_some_and(|trace| !trace.is_answered);
            return match is_open || counter > self.counter {
                true => News::New,
                false => News::Stale,
            };
        };
        let mut numbers = self.results.iter().filter_map(|known| known.0);
        let is_used = numbers.clone().any(|known| known == seq_number);
        let oldest = numbers.by_ref().min();
        let is_older =
            self.results.len() >= RESULTS_KEPT && oldest.is_some_and(|oldest| seq_number < oldest);
        match is_used || is_older {
            true => News::Stale,
            false => News::New,
        }
    }

    /// Keys of the eIM without which nothing could be signed for it any more.
    fn needs(&self) -> Vec<Digest> {
        let (Some(_), Some(association)) = (&self.fleet, &self.association) else {
            return Vec::new();
        };
        let mut keys: Vec<Digest> = self.orders.adopting().collect();
        keys.push(association.eim_key);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn apply(
        &mut self,
        number: u64,
        at: i64,
        event: &Event,
        keys: &SigningKeys,
        administration: Vec<u64>,
    ) -> Result<(), Misfit> {
        self.administration.extend(administration);
        let excess = self
            .administration
            .len()
            .saturating_sub(ADMINISTRATION_KEPT);
        self.administration.drain(..excess);
        match event {
            Event::DeviceRegistered { fleet, .. } => {
                if self.fleet.is_some() {
                    return Err(Misfit::new(number, "the device is registered already"));
                }
                self.fleet = Some(fleet.clone());
            }
            Event::DeviceRetired { .. } => {
                self.check_registered(number)?;
                self.fleet = None;
                self.association = None;
                self.reassociable = false;
                self.inventory = None;
                self.orders.retire();
            }
            Event::DeviceReassociable { .. } => {
                self.check_registered(number)?;
                self.reassociable = true;
            }
            Event::DeviceAssociated(associated) => self.associate(number, associated, keys)?,
            Event::PackageOrdered(ordered) => self.order_package(number, at, ordered)?,
            Event::PackageReleased { .. } => self.check_registered(number)?,
            Event::ResultRecorded(recorded) => self.record(number, recorded)?,
            _ => {}
        }
        Ok(())
    }

    fn check_registered(&self, number: u64) -> Result<(), Misfit> {
        match self.fleet {
            Some(_) => Ok(()),
            None => Err(Misfit::new(number, "the device is not registered")),
        }
    }

    fn associate(
        &mut self,
        number: u64,
        event: &Associated,
        keys: &SigningKeys,
    ) -> Result<(), Misfit> {
        self.check_registered(number)?;
        let misfit = |why: &str| Misfit::new(number, why);
        let certificate = package::from_base64(&event.euicc_certificate)
            .ok_or_else(|| misfit("the certificate is not base64"))?;
        let (eim_key, _) = keys
            .for_association()
            .ok_or_else(|| misfit("the eIM has no key"))?;
        let digest = Digest::of(&[&certificate]);
        let claimed = match &self.association {
            Some(known) if !self.reassociable => {
                if known.certificate != digest || known.is_proven {
                    return Err(misfit("the device is associated otherwise"));
                }
                Some(known)
            }
            _ => None,
        };
        let association = match claimed {
            Some(known) => Association {
                token: event.association_token,
                claims: known.claims.saturating_add(1),
                ..known.clone()
            },
            None => Association {
                certificate: digest,
                euicc_key: key_of(&certificate)
                    .ok_or_else(|| misfit("the certificate has no usable key"))?
                    .to_spki_der(),
                token: event.association_token,
                is_proven: false,
                since: number,
                claims: 0,
                eim_key: *eim_key,
            },
        };
        if claimed.is_none() {
            // What an eUICC held before it was reset says nothing about what it holds now, nor will it answer what was signed
            // for it then.
            self.inventory = None;
            self.results.clear();
            self.orders.end();
        }
        self.association = Some(association);
        self.reassociable = false;
        Ok(())
    }

    fn order_package(&mut self, number: u64, at: i64, ordered: &Ordered) -> Result<(), Misfit> {
        self.check_registered(number)?;
        if self.association.is_none() {
            return Err(Misfit::new(number, "the device is not associated"));
        }
        if ordered.counter <= self.counter {
            return Err(Misfit::new(
                number,
                format!("counter {} was used before", ordered.counter),
            ));
        }
        self.counter = ordered.counter;
        if let Account::Read(_) = ordered.account {
            self.reads.add(Span::COARSE_HOUR, at);
        }
        let order = Order {
            number,
            account: ordered.account.clone(),
            package: ordered.package.clone(),
            token: ordered.association_token,
            key: ordered.key,
            adopts: ordered.adopts,
            is_answered: false,
        };
        self.orders.add(ordered.counter, order);
        Ok(())
    }

    fn record(&mut self, number: u64, recorded: &Recorded) -> Result<(), Misfit> {
        let result = package::from_base64(&recorded.result)
            .and_then(|octets| package::Answer::parse(&octets).ok())
            .ok_or_else(|| Misfit::new(number, "what is recorded is no result"))?;
        let since = self
            .association
            .as_ref()
            .map(|association| association.since)
            .ok_or_else(|| Misfit::new(number, "the device is not associated"))?;
        if result.counter() != recorded.counter {
            return Err(Misfit::new(number, "the result names another counter"));
        }
        // A counter that was used elsewhere is not to be used here again.
        self.counter = self.counter.max(recorded.counter);
        if self.results.len() >= RESULTS_KEPT {
            self.results.remove(0);
        }
        self.results
            .push(Known(result.seq_number(), short(&result.digest())));
        let Some(trace) = self.trace(recorded.counter) else {
            return Ok(());
        };
        // None: when it was recorded, the package was not known any more.
        if recorded
            .package
            .is_some_and(|package| package != trace.number)
        {
            return Err(Misfit::new(number, "the result names another package"));
        }
        // The eUICC signed over the token that the package was signed with, and no other.
        if let Some(association) = self.association.as_mut().filter(|_| trace.number > since) {
            association.token = trace.token;
            association.is_proven = true;
            let is_first = !trace.is_answered;
            if let Some(key) = trace.adopts.filter(|_| is_first && recorded.success) {
                association.eim_key = key;
            }
            if let Some(order) = self.orders.get(recorded.counter) {
                Inventory::take_in(&mut self.inventory, &order.package, &result);
            }
        }
        let is_executed = result.seq_number().is_some();
        self.orders.answered(recorded.counter, is_executed);
        Ok(())
    }
}

/// The key of a certificate whose chain was verified before.
fn key_of(certificate: &[u8]) -> Option<PublicKey> {
    let certificate = pki::Certificate::from_der(certificate).ok()?;
    certificate.public_key().ok().cloned()
}

/// Eight octets of a digest: enough to tell results of one eUICC from each other, which are signed by it.
fn short(digest: &Digest) -> u64 {
    let octets = digest.as_bytes().first_chunk().copied();
    u64::from_be_bytes(octets.unwrap_or_default())
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Serialize for Devices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.known.iter();
        serializer.collect_seq(rows.map(|(eid, device)| (eid.to_string(), device)))
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<(String, Device)>::deserialize(deserializer)?;
        let mut devices = Self::default();
        for (eid, device) in rows {
            let eid = eid.parse().map_err(serde::de::Error::custom)?;
            devices.recount(&[], &device.needs());
            devices.known.insert(eid, device);
        }
        Ok(devices)
    }
}
