//! A device: software eUICC, IPA, and a radio and a network that can fail.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use euicc::{Card, CardIdentity, FileNvm, Personalisation, PreloadedProfile};
use ipa::{
    Config, Connectivity, Event, HttpRequest, HttpResponse, Ipa, Network, NetworkError, NextWake,
    Parts, Server, VolatileMemory,
};
use pki::Certificate;
use pki::issue::Credential;
use rsp::binding::esipa::{self, Function};
use rsp::binding::http::{Binding, Route};
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::{OperatorId, StoreMetadataRequest};

use super::servers::Resolve;
use crate::adapters::{HttpsNetwork, SoftCard, SystemClock, SystemEntropy};

/// What a device is made of.
pub(super) struct Blueprint<'a> {
    pub(super) eid: Eid,
    /// CERT.EUICC with its key.
    pub(super) credential: Credential,
    pub(super) eum: &'a Certificate,
    pub(super) ci: &'a Certificate,
    /// Roots for SM-DP+s, X.509 DER.
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) resolve: Resolve,
    /// Of ESipa.
    pub(super) binding: Binding,
    /// The profile that it comes with, enabled.
    pub(super) bootstrap: Iccid,
    /// Where the card keeps its state.
    pub(super) folder: PathBuf,
}

/// A device.
pub(super) struct Device {
    pub(super) eid: Eid,
    pub(super) credential: Credential,
    pub(super) ipa: Ipa<SoftCard, DeviceNetwork, Radio, VolatileMemory>,
    pub(super) radio: Radio,
    pub(super) faults: Faults,
    /// The profile that it came with.
    pub(super) bootstrap: Iccid,
    /// What AddInitialEim gave.
    pub(super) association_token: Option<i64>,
    folder: PathBuf,
    /// The device's own time, milliseconds.
    now_ms: u64,
}

impl Device {
    /// Personalises the card and starts the IPA.
    pub(super) fn new(blueprint: Blueprint<'_>) -> anyhow::Result<Self> {
        let Blueprint {
            eid,
            credential,
            eum,
            ci,
            roots,
            resolve,
            binding,
            bootstrap,
            folder,
        } = blueprint;
        let identity = CardIdentity {
            key: credential.key.clone(),
            euicc_certificate: credential.certificate.clone(),
            eum_certificate: eum.clone(),
            sub_cas: Vec::new(),
            ci_certificate: ci.clone(),
        };
        let personalisation = Personalisation {
            profiles: vec![preloaded(bootstrap)?],
            ..Personalisation::new(eid, vec![identity])
        };
        let nvm = FileNvm::open(&folder).context("the card has no memory")?;
        let card = SoftCard::new(
            Card::personalise(personalisation, nvm).context("the card cannot be made")?,
        );
        let radio = Radio {
            card: card.clone(),
            without: Arc::default(),
        };
        let faults = Faults::default();
        let network = DeviceNetwork {
            https: HttpsNetwork::new(roots, resolve),
            radio: radio.clone(),
            faults: faults.clone(),
        };
        let config = Config {
            esipa_binding: binding,
            ..Config::default()
        };
        let parts = Parts {
            card,
            network,
            connectivity: radio.clone(),
            memory: VolatileMemory::default(),
        };
        Ok(Self {
            eid,
            credential,
            ipa: Ipa::new(config, parts),
            radio,
            faults,
            bootstrap,
            association_token: None,
            folder,
            now_ms: u64::try_from(SystemClock.millis()).unwrap_or_default(),
        })
    }

    /// One session of the IPA.
    pub(super) fn poll(&mut self) -> NextWake {
        self.ipa.poll(self.now_ms, &mut SystemEntropy)
    }

    /// Lets time pass on the device.
    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now_ms = self.now_ms.saturating_add(ms);
    }

    /// What the IPA did since the last call.
    pub(super) fn events(&mut self) -> Vec<Event> {
        self.ipa.take_events()
    }

    /// The enabled profile.
    pub(super) fn enabled(&self) -> Option<Iccid> {
        self.ipa.parts().card.lock().enabled_profile()
    }

    /// ICCIDs on the card, in its order.
    pub(super) fn profiles(&mut self) -> anyhow::Result<Vec<Iccid>> {
        let profiles = self.ipa.es10().profiles(None)?;
        Ok(profiles
            .into_iter()
            .filter_map(|profile| profile.iccid)
            .collect())
    }

    /// A profile that is installed and not enabled.
    pub(super) fn disabled(&mut self) -> anyhow::Result<Iccid> {
        let enabled = self.enabled();
        let mut profiles = self.profiles()?.into_iter();
        profiles
            .find(|iccid| Some(*iccid) != enabled)
            .context("there is no disabled profile")
    }

    /// The octets in which the card keeps its state.
    pub(super) fn card_state(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        read_slots(&self.folder)
    }
}

/// Both slots of the card's memory; which of them counts is in their content.
fn read_slots(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    files.iter().map(|file| Ok(std::fs::read(file)?)).collect()
}

/// A simulated radio: the profiles named here have no coverage.
#[derive(Clone)]
pub(super) struct Radio {
    card: SoftCard,
    without: Arc<Mutex<HashSet<Iccid>>>,
}

impl Radio {
    /// Takes the coverage of a profile away.
    pub(super) fn lose(&self, iccid: Iccid) {
        self.lock().insert(iccid);
    }

    /// Gives it back.
    pub(super) fn regain(&self, iccid: Iccid) {
        self.lock().remove(&iccid);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Iccid>> {
        self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connectivity for Radio {
    /// Without any profile the device is on the workshop's bench, where there is a cable.
    fn check(&mut self) -> bool {
        let active = self.card.lock().active_profile();
        active.is_none_or(|iccid| !self.lock().contains(&iccid))
    }
}

/// What goes wrong with the device's requests, until it is taken back.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Option<Fault>>>);

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Requests of this function do not arrive.
    NotSent(Function),
    /// Answers to this function do not arrive.
    AnswerLost(Function),
}

impl Faults {
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn get(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HTTPS over the radio.
pub(super) struct DeviceNetwork {
    https: HttpsNetwork,
    radio: Radio,
    faults: Faults,
}

impl Network for DeviceNetwork {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        if !self.radio.check() {
            return Err(NetworkError::Unreachable {
                message: "the profile has no coverage".to_owned(),
            });
        }
        let fault = self.faults.get();
        let function = fault.and_then(|_| esipa_function(&request));
        if let (Some(Fault::NotSent(broken)), Some(function)) = (fault, function)
            && broken == function
        {
            return Err(NetworkError::Unreachable {
                message: "the demo cut the line".to_owned(),
            });
        }
        let answer = self.https.post(request)?;
        if let (Some(Fault::AnswerLost(broken)), Some(function)) = (fault, function)
            && broken == function
        {
            self.https.disconnect();
            return Err(NetworkError::Lost {
                message: "the demo cut the line".to_owned(),
            });
        }
        Ok(answer)
    }
}

fn esipa_function(request: &HttpRequest) -> Option<Function> {
    let Server::Eim { .. } = request.server else {
        return None;
    };
    match Route::from_path(&request.path)? {
        Route::Asn1 => esipa::Request::from_asn1(&request.body)
            .ok()
            .map(|request| request.function()),
        Route::Json { function, .. } => function.parse().ok(),
    }
}

/// A bootstrap profile as a maker of devices puts it in: enabled, and good as a Fallback Profile.
fn preloaded(iccid: Iccid) -> anyhow::Result<PreloadedProfile> {
    Ok(PreloadedProfile {
        metadata: StoreMetadataRequest {
            iccid,
            service_provider_name: "Bootstrap Operator".to_owned(),
            profile_name: "Bootstrap".to_owned(),
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: None,
            profile_owner: Some(OperatorId {
                mcc_mnc: TEST_NETWORK,
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
        size_octets: 4096,
        connectivity_parameters: None,
        is_enabled: true,
        is_fallback: false,
    })
}

/// MCC 001, MNC 01, as 3GPP TS 24.008 writes them.
pub(super) const TEST_NETWORK: [u8; 3] = [0x00, 0xF1, 0x10];

/// ICCID with the given first 18 digits and the check digit of ITU-T E.118 behind them.
pub(super) fn iccid(prefix: &str, number: u32) -> anyhow::Result<Iccid> {
    let digits = 18_usize.saturating_sub(prefix.len());
    let body = format!("{prefix}{number:0digits$}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit.saturating_sub(b'0'));
            match place % 2 {
                0 if digit > 4 => digit * 2 - 9,
                0 => digit * 2,
                _ => digit,
            }
        })
        .sum();
    let check = (10 - sum % 10) % 10;
    Ok(format!("{body}{check}").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iccids_end_in_their_check_digit() {
        // An ICCID that is published as an example, and one with zeros in between.
        let published = iccid("894450010219", 830_482).unwrap();
        assert_eq!(published.to_string(), "8944500102198304826");
        assert_eq!(
            iccid("799273", 9_871).unwrap().to_string(),
            "7992730000000098713"
        );
        let all: HashSet<_> = (0..100)
            .map(|number| iccid("8900", number).unwrap())
            .collect();
        assert_eq!(all.len(), 100);
    }
}
