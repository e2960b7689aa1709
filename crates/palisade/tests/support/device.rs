//! A device whose IPA dies and whose card loses power.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ipa::{Config, Connectivity, Ipa, Memory, Parts};
use pki::issue::TestPki;
use rsp::binding::http::Binding;
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::ProfileState;
use rsp::sgp32::{EimConfigurationData, EnableProfileResult, EuiccResultData};

use super::card::{Chronicle, Deeds, PoweredCard};
use super::network::{Line, World};
use super::seeded::Seeded;

type DeviceIpa = Ipa<PoweredCard, Line, Cable, Flash>;

/// A device.
pub(crate) struct Device {
    pub(crate) eid: Eid,
    ipa: Option<DeviceIpa>,
    config: Config,
    life: Life,
    world: Arc<World>,
    chronicle: Chronicle,
    random: Seeded,
    /// The device's own time: its pauses pass at once.
    now_ms: u64,
    pub(crate) deaths: u32,
}

/// What a device is in the end.
pub(crate) struct Remains {
    pub(crate) eid: Eid,
    pub(crate) deeds: Deeds,
    /// ICCIDs with whether they are enabled, as the card lists them.
    pub(crate) profiles: Vec<(String, bool)>,
    pub(crate) address: Option<String>,
    /// Results that no eIM has acknowledged.
    pub(crate) kept: usize,
    pub(crate) deaths: u32,
}

impl Device {
    pub(crate) fn new(
        pki: &TestPki,
        eid: Eid,
        profiles: &[Iccid],
        binding: Binding,
        world: &Arc<World>,
        seed: u64,
    ) -> Self {
        let life = Life::new(Arc::clone(world));
        let card = PoweredCard::new(pki, eid, profiles, life.clone(), seed);
        let chronicle = card.chronicle();
        let memory = card.memory();
        let network = Line::new(
            eid,
            Arc::clone(world),
            life.clone(),
            memory,
            Seeded::new(seed, 2),
        );
        let config = Config {
            esipa_binding: binding,
            ..Config::default()
        };
        let parts = Parts {
            card,
            network,
            connectivity: Cable {
                world: Arc::clone(world),
                chronicle: chronicle.clone(),
                trials: 0,
                judged: None,
            },
            memory: Flash {
                life: life.clone(),
                content: Arc::default(),
            },
        };
        Self {
            eid,
            ipa: Some(Ipa::new(config.clone(), parts)),
            config,
            life,
            world: Arc::clone(world),
            chronicle,
            random: Seeded::new(seed, 3),
            now_ms: 1_000_000,
            deaths: 0,
        }
    }

    /// Associates the eIM; gives the association token.
    pub(crate) fn associate(&mut self, eim: EimConfigurationData) -> i64 {
        let tokens = self.ipa().add_initial_eims(vec![eim]).unwrap();
        tokens[0].unwrap()
    }

    /// Lives until it is told to stop.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> Remains {
        while !stop.load(Ordering::Relaxed) {
            self.session();
            thread::sleep(Duration::from_millis(self.random.below(4)));
        }
        self.examine()
    }

    /// One poll, with everything that can happen to a device meanwhile.
    pub(crate) fn session(&mut self) {
        let is_calm = self.world.is_calm();
        if is_calm {
            self.life.extend();
        } else {
            if self.random.percent(12) {
                let octets = self.random.below(30_000);
                self.ipa().parts().card.fail_power_after(octets);
            }
            if self.random.percent(12) {
                self.life.end_after(self.random.below(80));
            }
        }
        let (now_ms, mut random) = (self.now_ms, self.random.clone());
        let wake = self.ipa().poll(now_ms, &mut random);
        self.random = random;
        self.now_ms += wake.after_ms;
        if self.life.is_over() {
            self.deaths += 1;
            self.restart();
            self.life.extend();
        }
    }

    /// The IPA begins anew with what its memory holds; the card keeps its power.
    fn restart(&mut self) {
        let Parts {
            card,
            network,
            connectivity,
            memory,
        } = self.ipa.take().unwrap().into_parts();
        let parts = Parts {
            card,
            network,
            connectivity,
            memory,
        };
        self.ipa = Some(Ipa::new(self.config.clone(), parts));
    }

    fn examine(mut self) -> Remains {
        self.life.extend();
        let (eid, deaths, chronicle) = (self.eid, self.deaths, self.chronicle.clone());
        self.ipa().parts_mut().card.trust_power();
        self.restart();
        let mut es10 = self.ipa().es10();
        es10.reset().unwrap();
        let mut profiles: Vec<(String, bool)> = es10
            .profiles(None)
            .unwrap()
            .iter()
            .map(|profile| {
                let is_enabled = profile.profile_state == Some(ProfileState::Enabled);
                (profile.iccid.unwrap().to_string(), is_enabled)
            })
            .collect();
        profiles.sort();
        Remains {
            eid,
            profiles,
            address: es10.addresses().unwrap().default_dp_address,
            kept: es10.package_results().unwrap().len(),
            deeds: chronicle.deeds(),
            deaths,
        }
    }

    fn ipa(&mut self) -> &mut DeviceIpa {
        self.ipa.as_mut().unwrap()
    }
}

/// How long the process of an IPA lives: everything that it does outside itself costs one of what is left.
#[derive(Clone)]
pub(crate) struct Life {
    left: Arc<AtomicI64>,
    world: Arc<World>,
}

impl Life {
    fn new(world: Arc<World>) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(i64::MAX)),
            world,
        }
    }

    /// Spends one; false when it is over.
    pub(crate) fn lives_on(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store((left - 1).max(0), Ordering::Relaxed);
        left > 0
    }

    /// Whether things may still go wrong.
    pub(crate) fn is_threatened(&self) -> bool {
        !self.world.is_calm()
    }

    fn end_after(&self, deeds: u64) {
        self.left.store(deeds as i64, Ordering::Relaxed);
    }

    fn extend(&self) {
        self.left.store(i64::MAX, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }
}

/// The way of the enabled profile to the network. Of some that were just enabled with rollback armed it is dead, until the IPA has gone back.
pub(crate) struct Cable {
    world: Arc<World>,
    chronicle: Chronicle,
    /// Profiles that were enabled with rollback armed.
    trials: u32,
    /// The last of them: the number of its result, and how often it is still to be found dead. The IPA that goes back can lose
    /// its card's power or its life, and tries again.
    judged: Option<(i64, u32)>,
}

/// Of so many such enablings, one has no connectivity; the first of each device has none.
const DEAD_EVERY: u32 = 4;
const DEAD_CHECKS: u32 = 3;

impl Connectivity for Cable {
    fn check(&mut self) -> bool {
        if self.world.is_calm() {
            return true;
        }
        let Some((number, result)) = self.chronicle.last_result() else {
            return true;
        };
        let outcomes = &result.euicc_package_result_data_signed.euicc_result;
        // The operator arms a rollback where nothing else is in the package.
        if *outcomes != [EuiccResultData::EnableResult(EnableProfileResult::Ok)] {
            return true;
        }
        if self.judged.is_none_or(|(judged, _)| judged != number) {
            let is_dead = self.trials.is_multiple_of(DEAD_EVERY);
            self.trials += 1;
            self.judged = Some((number, if is_dead { DEAD_CHECKS } else { 0 }));
        }
        match &mut self.judged {
            Some((_, left)) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    }
}

/// The IPA's memory. What a dead IPA would have written is not there.
pub(crate) struct Flash {
    life: Life,
    content: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Memory for Flash {
    fn load(&self) -> Option<Vec<u8>> {
        self.content.lock().unwrap().clone()
    }

    fn store(&mut self, state: &[u8]) {
        if self.life.lives_on() {
            *self.content.lock().unwrap() = Some(state.to_vec());
        }
    }
}
