//! A software eUICC whose power fails, and a chronicle of everything that it ever made durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use euicc::{Card, CardIdentity, MemoryNvm, Personalisation, PreloadedProfile, stored_state};
use ipa::{CardTransport, TransportError};
use pki::issue::TestPki;
use rsp::der::{Element, Limits, Reader, Tag};
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::StoreMetadataRequest;
use rsp::sgp32::{EuiccPackageResult, EuiccPackageResultSigned};

use super::device::Life;
use super::seeded::Seeded;

/// The eUICC as an IPA reaches it.
pub(crate) struct PoweredCard {
    card: Option<Card>,
    memory: MemoryNvm,
    chronicle: Chronicle,
    life: Life,
    random: Seeded,
}

impl PoweredCard {
    /// Personalises a card that comes with the profiles; the first is enabled.
    pub(crate) fn new(pki: &TestPki, eid: Eid, profiles: &[Iccid], life: Life, seed: u64) -> Self {
        let mut random = Seeded::new(seed, 1);
        let identity = pki.issue_euicc(&mut random, &eid.to_string()).unwrap();
        let identity = CardIdentity {
            key: identity.key,
            euicc_certificate: identity.certificate,
            eum_certificate: pki.eum.certificate.clone(),
            sub_cas: Vec::new(),
            ci_certificate: pki.ci.certificate.clone(),
        };
        let profiles = profiles
            .iter()
            .enumerate()
            .map(|(index, iccid)| preloaded(*iccid, index == 0));
        let personalisation = Personalisation {
            profiles: profiles.collect(),
            ..Personalisation::new(eid, vec![identity])
        };
        let memory = MemoryNvm::new();
        let chronicle = Chronicle::default();
        let card = Card::personalise(personalisation, memory.clone()).unwrap();
        Self {
            card: Some(card),
            memory,
            chronicle,
            life,
            random,
        }
    }

    /// Lets power fail after that many more written octets.
    pub(crate) fn fail_power_after(&self, octets: u64) {
        self.memory.cut_power_after(octets);
    }

    /// What the card keeps, and its power.
    pub(crate) fn memory(&self) -> MemoryNvm {
        self.memory.clone()
    }

    /// No more power cuts.
    pub(crate) fn trust_power(&mut self) {
        self.memory.restore_power();
        self.power_on().unwrap();
        self.chronicle.look_at(&self.memory);
    }

    pub(crate) fn chronicle(&self) -> Chronicle {
        self.chronicle.clone()
    }

    fn power_on(&mut self) -> Result<(), euicc::CardError> {
        self.card = None;
        self.card = Some(Card::power_on(self.memory.clone())?);
        Ok(())
    }
}

impl CardTransport for PoweredCard {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        if !self.life.lives_on() {
            return Err(TransportError::new("the IPA is dead"));
        }
        let answer = match &mut self.card {
            Some(card) => card.transmit(command, &mut self.random),
            None => Vec::new(),
        };
        self.chronicle.look_at(&self.memory);
        match answer.is_empty() {
            true => Err(TransportError::new("the card is mute")),
            false => Ok(answer),
        }
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        if !self.life.lives_on() {
            return Err(TransportError::new("the IPA is dead"));
        }
        self.memory.restore_power();
        if self.life.is_threatened() && self.random.percent(20) {
            // Right while the card looks after what the last cut interrupted.
            self.memory.cut_power_after(self.random.below(6_000));
        }
        let reset = match &mut self.card {
            Some(card) if self.random.percent(50) => card.reset(),
            _ => self.power_on(),
        };
        self.chronicle.look_at(&self.memory);
        reset.map_err(|error| {
            self.card = None;
            TransportError::new(error.to_string())
        })
    }
}

/// What a card did, as read from its memory after every command, answered or not: nothing that it did can be missing, whoever
/// lost the answer. No command makes it execute more than one package.
#[derive(Clone, Default)]
pub(crate) struct Chronicle(Arc<Mutex<Deeds>>);

/// What a card did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deeds {
    /// Counters that it accepted, in that order.
    pub(crate) counters: Vec<i64>,
    /// Results that it kept, by sequence number.
    pub(crate) results: BTreeMap<i64, EuiccPackageResultSigned>,
    /// Default SM-DP+ addresses, each time that the address changed.
    pub(crate) addresses: Vec<String>,
    /// The last sequence number that it gave out.
    pub(crate) sequence_number: i64,
    /// What no eUICC may do.
    pub(crate) faults: Vec<String>,
    /// Of the memory, when it was last looked at.
    octets_written: u64,
}

impl Chronicle {
    pub(crate) fn deeds(&self) -> Deeds {
        self.lock().clone()
    }

    /// The number and the outcome of the last result.
    pub(crate) fn last_result(&self) -> Option<(i64, EuiccPackageResultSigned)> {
        let deeds = self.lock();
        let (number, result) = deeds.results.last_key_value()?;
        Some((*number, result.clone()))
    }

    fn look_at(&self, memory: &MemoryNvm) {
        let mut deeds = self.lock();
        let octets_written = memory.octets_written();
        if deeds.octets_written == octets_written {
            return;
        }
        deeds.octets_written = octets_written;
        // The duplicate has power.
        let state = stored_state(&mut memory.duplicate()).unwrap().unwrap();
        if deeds.add(&state).is_none() {
            let fault = "the card's memory has another form than it should";
            deeds.faults.push(fault.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Deeds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deeds {
    /// Takes in a state. Its members have tags that never change their meaning (`euicc`, module `state`).
    fn add(&mut self, state: &[u8]) -> Option<()> {
        let limits = Limits {
            message_octets_max: 1 << 20,
            ..Limits::default()
        };
        let mut members = Reader::new(state, &limits)
            .ok()?
            .expect(Tag::SEQUENCE)
            .ok()?
            .open()
            .ok()?;
        while let Some(member) = members.next().ok()? {
            if member.tag() == Tag::new(0x87) {
                let number = integer(member.content());
                if number < self.sequence_number || number > self.sequence_number + 1 {
                    let before = self.sequence_number;
                    self.faults
                        .push(format!("sequence number {before} became {number}"));
                }
                self.sequence_number = number;
            } else if member.tag() == Tag::new(0x89) {
                let address = String::from_utf8(member.content().to_vec()).ok()?;
                if self.addresses.last() != Some(&address) {
                    self.addresses.push(address);
                }
            } else if member.tag() == Tag::new(0xA8) {
                let mut pending = member.open().ok()?;
                while let Some(kept) = pending.next().ok()? {
                    if kept.tag() == Tag::new(0xA1) {
                        let mut kept = kept.open().ok()?;
                        let number = integer(kept.expect(Tag::new(0x80)).ok()?.content());
                        self.keep(number, kept.expect_any().ok()?.whole())?;
                    }
                }
            } else if member.tag() == Tag::new(0xA5) {
                let mut eims = member.open().ok()?;
                while let Some(eim) = eims.next().ok()? {
                    let mut eim = eim.open().ok()?;
                    let _configuration = eim.expect_any().ok()?;
                    self.accept(integer(eim.expect(Tag::new(0x81)).ok()?.content()));
                }
            }
        }
        Some(())
    }

    /// There is one eIM.
    fn accept(&mut self, counter: i64) {
        let before = self.counters.last().copied().unwrap_or_default();
        if counter < before {
            self.faults
                .push(format!("the counter went from {before} to {counter}"));
        }
        if counter != before {
            self.counters.push(counter);
        }
    }

    fn keep(&mut self, number: i64, octets: &[u8]) -> Option<()> {
        let EuiccPackageResult::EuiccPackageResultSigned(signed) =
            EuiccPackageResult::from_der(octets).ok()?
        else {
            return None;
        };
        let before = self.results.insert(number, signed.clone());
        if before.is_some_and(|before| before != signed) {
            self.faults
                .push(format!("two results have sequence number {number}"));
        }
        Some(())
    }
}

fn integer(content: &[u8]) -> i64 {
    content
        .iter()
        .fold(0, |value, octet| (value << 8) | i64::from(*octet))
}

/// Without Notifications, so that sequence numbers count package results and nothing else.
fn preloaded(iccid: Iccid, is_enabled: bool) -> PreloadedProfile {
    PreloadedProfile {
        metadata: StoreMetadataRequest {
            iccid,
            service_provider_name: "Operator".to_owned(),
            profile_name: iccid.to_string(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: None,
            profile_owner: None,
            profile_policy_rules: None,
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: None,
            extensions: Default::default(),
        },
        size_octets: 1000,
        connectivity_parameters: None,
        is_enabled,
        is_fallback: false,
    }
}
