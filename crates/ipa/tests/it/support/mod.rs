//! A device in a world: card, network with eIMs and an SM-DP+, connectivity, memory.

mod eim;
mod network;
mod smdp;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use euicc::{Card, CardIdentity, MemoryNvm, Personalisation, PreloadedProfile};
use ipa::{
    CardTransport, Config, Connectivity, Event, Ipa, Memory, NextWake, Parts, TransportError,
};
use pki::issue::{TestPki, TestPkiOptions};
use pki::{Curve, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::{
    NotificationConfigurationInformation, NotificationEvent, OperatorId, StoreMetadataRequest,
};

pub(crate) use eim::{Answer, Package, ScriptedEim};
pub(crate) use network::{Fault, Net, NetState};
pub(crate) use smdp::{Deviation, ScriptedSmdp, iccid_of_download};

pub(crate) const EIM: &str = "eim.example.com";
pub(crate) const OTHER_EIM: &str = "other.example.com";
pub(crate) const SMDP: &str = "smdp.example.com";
pub(crate) const SMDS: &str = "smds.example.com";
pub(crate) const BOOTSTRAP: &str = "89000000000000000013";
pub(crate) const SECOND: &str = "89000000000000000021";

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn iccid(text: &str) -> Iccid {
    text.parse().unwrap()
}

/// The card behind a transport that can fail.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) card: Rc<RefCell<Card>>,
    rng: Rc<RefCell<ChaCha20Rng>>,
    /// Commands until the transport fails once; the card is not asked.
    pub(crate) fails_after: Rc<Cell<Option<usize>>>,
    pub(crate) log: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl CardTransport for Slot {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        match self.fails_after.get() {
            Some(0) => {
                self.fails_after.set(None);
                return Err(TransportError::new("the reader was pulled out"));
            }
            Some(left) => self.fails_after.set(Some(left - 1)),
            None => {}
        }
        self.log.borrow_mut().push(command.to_vec());
        Ok(self
            .card
            .borrow_mut()
            .transmit(command, &mut *self.rng.borrow_mut()))
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.card
            .borrow_mut()
            .reset()
            .map_err(|error| TransportError::new(error.to_string()))
    }
}

/// There is connectivity unless the active Profile is one without.
#[derive(Clone)]
pub(crate) struct Radio {
    slot: Slot,
    pub(crate) dead_profiles: Rc<RefCell<HashSet<Iccid>>>,
}

impl Connectivity for Radio {
    fn check(&mut self) -> bool {
        let active = self.slot.card.borrow().active_profile();
        active.is_none_or(|active| !self.dead_profiles.borrow().contains(&active))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Flash(pub(crate) Rc<RefCell<Option<Vec<u8>>>>);

impl Memory for Flash {
    fn load(&self) -> Option<Vec<u8>> {
        self.0.borrow().clone()
    }

    fn store(&mut self, state: &[u8]) {
        *self.0.borrow_mut() = Some(state.to_vec());
    }
}

type Device = Ipa<Slot, Net, Radio, Flash>;

/// Everything.
pub(crate) struct World {
    pub(crate) pki: Rc<TestPki>,
    pub(crate) ipa: Device,
    pub(crate) config: Config,
    pub(crate) eid: Eid,
    pub(crate) slot: Slot,
    pub(crate) net: Net,
    pub(crate) radio: Radio,
    pub(crate) flash: Flash,
    pub(crate) now_ms: u64,
    pub(crate) rng: ChaCha20Rng,
}

pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) personalise: fn(&mut Personalisation),
    pub(crate) two_eims: bool,
    pub(crate) indirect_flag: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config::default(),
            personalise: |_| {},
            two_eims: false,
            indirect_flag: false,
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    /// A device with two Profiles, the first enabled, associated with one eIM or two.
    pub(crate) fn with(setup: Setup) -> Self {
        let mut rng = rng(1);
        let not_before = UnixTime::from_date(2024, 1, 1).unwrap();
        let pki =
            Rc::new(TestPki::new(&mut rng, Curve::P256, &TestPkiOptions::new(not_before)).unwrap());
        let eid = Eid::with_check_digits("890490321234512345123456789012").unwrap();
        let identity = pki.issue_euicc(&mut rng, &eid.to_string()).unwrap();
        let mut personalisation = Personalisation::new(
            eid,
            vec![CardIdentity {
                key: identity.key,
                euicc_certificate: identity.certificate.clone(),
                eum_certificate: pki.eum.certificate.clone(),
                sub_cas: Vec::new(),
                ci_certificate: pki.ci.certificate.clone(),
            }],
        );
        personalisation.default_smdp_address = Some(SMDP.to_owned());
        personalisation.root_smds_address = SMDS.to_owned();
        personalisation.profiles = vec![profile(BOOTSTRAP, true), profile(SECOND, false)];
        (setup.personalise)(&mut personalisation);
        let card = Card::personalise(personalisation, MemoryNvm::new()).unwrap();
        let slot = Slot {
            card: Rc::new(RefCell::new(card)),
            rng: Rc::new(RefCell::new(self::rng(2))),
            fails_after: Rc::default(),
            log: Rc::default(),
        };
        let smdp = ScriptedSmdp::new(Rc::clone(&pki), eid);
        let mut state = NetState::new(smdp);
        let euicc = identity.certificate;
        state.add_eim(ScriptedEim::new(
            EIM,
            eid,
            pki.eim_signing.key.clone(),
            euicc.clone(),
        ));
        if setup.two_eims {
            let key = pki::PrivateKey::generate(Curve::P256, &mut rng).unwrap();
            state.add_eim(ScriptedEim::new(OTHER_EIM, eid, key, euicc));
        }
        let net = Net(Rc::new(RefCell::new(state)));
        let radio = Radio {
            slot: slot.clone(),
            dead_profiles: Rc::default(),
        };
        net.0.borrow_mut().radio = Some(radio.clone());
        let flash = Flash::default();
        let parts = Parts {
            card: slot.clone(),
            network: net.clone(),
            connectivity: radio.clone(),
            memory: flash.clone(),
        };
        let mut ipa = Ipa::new(setup.config.clone(), parts);
        let list = net
            .0
            .borrow()
            .eims
            .iter()
            .map(|eim| eim.configuration(setup.indirect_flag))
            .collect();
        let tokens = ipa.add_initial_eims(list).unwrap();
        for (eim, token) in net.0.borrow_mut().eims.iter_mut().zip(tokens) {
            eim.token = token.unwrap();
        }
        Self {
            pki,
            ipa,
            config: setup.config,
            eid,
            slot,
            net,
            radio,
            flash,
            now_ms: 1_000_000,
            rng,
        }
    }

    pub(crate) fn poll(&mut self) -> NextWake {
        self.ipa.poll(self.now_ms, &mut self.rng)
    }

    /// Waits as long as the IPA wants, then polls.
    pub(crate) fn poll_after(&mut self, wake: NextWake) -> NextWake {
        self.now_ms += wake.after_ms;
        self.poll()
    }

    /// The IPA begins anew with what its memory holds; the card keeps its power.
    pub(crate) fn restart_ipa(&mut self) {
        let parts = Parts {
            card: self.slot.clone(),
            network: self.net.clone(),
            connectivity: self.radio.clone(),
            memory: self.flash.clone(),
        };
        self.ipa = Ipa::new(self.config.clone(), parts);
    }

    pub(crate) fn enabled(&self) -> Option<String> {
        self.slot
            .card
            .borrow()
            .enabled_profile()
            .map(|iccid| iccid.to_string())
    }

    pub(crate) fn queue(&self, eim: &str, package: Package) {
        self.net.0.borrow_mut().eim(eim).queue.push_back(package);
    }

    pub(crate) fn answers(&self, eim: &str) -> Vec<Answer> {
        self.net.0.borrow_mut().eim(eim).answers.clone()
    }

    /// Names of the functions called so far, and forgets them.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.net.0.borrow_mut().calls)
    }

    pub(crate) fn fail(&self, function: &'static str, fault: Fault) {
        self.net.0.borrow_mut().faults.push((function, fault));
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.ipa.take_events()
    }

    /// Numbers of results and Notifications that the card still keeps.
    pub(crate) fn kept(&mut self) -> (usize, usize) {
        let mut es10 = self.ipa.es10();
        (
            es10.package_results().unwrap().len(),
            es10.notifications(None).unwrap().len(),
        )
    }
}

pub(crate) fn profile(iccid: &str, is_enabled: bool) -> PreloadedProfile {
    let events = [
        NotificationEvent::ENABLE,
        NotificationEvent::DISABLE,
        NotificationEvent::DELETE,
    ];
    PreloadedProfile {
        metadata: StoreMetadataRequest {
            iccid: self::iccid(iccid),
            service_provider_name: "Operator".to_owned(),
            profile_name: iccid.to_owned(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: Some(vec![NotificationConfigurationInformation {
                profile_management_operation: NotificationEvent::of(events),
                notification_address: SMDP.to_owned(),
                extensions: Default::default(),
            }]),
            profile_owner: Some(OperatorId {
                mcc_mnc: [0x62, 0xF2, 0x10],
                gid1: None,
                gid2: None,
                extensions: Default::default(),
            }),
            profile_policy_rules: None,
            service_specific_data_stored_in_euicc: None,
            service_specific_data_not_stored_in_euicc: None,
            ecall_indication: None,
            fallback_allowed: Some(true),
            extensions: Default::default(),
        },
        size_octets: 1000,
        connectivity_parameters: None,
        is_enabled,
        is_fallback: false,
    }
}
