//! The whole authority, with software eUICCs as judges of what it signs.

mod crash;
mod files;
mod keys;
mod signing;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use euicc::{Card, CardIdentity, MemoryNvm, Personalisation, PreloadedProfile};
use intent::api::{
    Account, Associate, HexOctets, IntentStatus, RecordResult, Reference, Refusal, SignedPackage,
};
use intent::{Action, Command, Decision, IntentId, PolicyDocument, Role};
use pki::issue::{TestPki, TestPkiOptions};
use pki::{Curve, PrivateKey, PublicKey, SignError, Signature, Signer, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsp::der::Element;
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::{OperatorId, ProfileClass, StoreMetadataRequest};
use rsp::sgp32::{
    AddInitialEimOk, AddInitialEimRequest, AddInitialEimResponse, EimConfigurationData,
    EuiccPackageRequest,
};

use crate::environment::Clock;
use crate::package::Reachability;
use crate::service::{EuiccTrust, WriterOptions, create};
use crate::testing::{
    BEGINNING, INSTALLATION, Person, Repeatable, eid, everywhere, founding, intent, register,
};
use crate::{Authority, OpenError, Parts, genesis};

use files::Disk;

static PKI: LazyLock<TestPki> = LazyLock::new(|| test_pki(1));

fn test_pki(seed: u64) -> TestPki {
    let options = TestPkiOptions::new(UnixTime::from_date(2026, 1, 1).unwrap());
    TestPki::new(&mut rng(seed), Curve::P256, &options).unwrap()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(Curve::P256, &mut rng(1_000 + seed)).unwrap()
}

/// A clock that stands still.
struct StandingClock(AtomicI64);

impl Clock for StandingClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A key that can be told to fail.
struct Fickle {
    key: PrivateKey,
    fails: Arc<Mutex<bool>>,
}

impl Signer for Fickle {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        match *self.fails.lock().unwrap() {
            true => Err(SignError::Library),
            false => self.key.sign(message),
        }
    }
}

/// An installation with an authority, the owners alice and bob, and some devices.
struct Site {
    disk: Disk,
    clock: Arc<StandingClock>,
    keys: Vec<PrivateKey>,
    fails: Arc<Mutex<bool>>,
    authority: Option<Authority>,
    alice: Person,
    bob: Person,
    options: WriterOptions,
    made: AtomicU64,
    broken: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// With devices 0 to 9 in the fleet `meters`.
    fn new(policy: PolicyDocument) -> Self {
        let disk = Disk::default();
        let mut founding = founding(policy);
        founding.signing_key = key(1).public_key().to_spki_der();
        let (event, code) = genesis::found(founding, BEGINNING, &Repeatable::default()).unwrap();
        create(disk.clone(), ledger_key(), &event, BEGINNING).unwrap();
        let mut site = Self {
            disk,
            clock: Arc::new(StandingClock(AtomicI64::new(BEGINNING))),
            keys: vec![key(1)],
            fails: Arc::default(),
            authority: None,
            alice: Person::new("alice"),
            bob: Person::new("bob"),
            options: WriterOptions::default(),
            made: AtomicU64::new(0),
            broken: Arc::default(),
        };
        site.open().unwrap();
        let enrol = site.alice.enrol(&code);
        site.authority().enrol(&enrol).unwrap();
        let action = Action::InvitePerson {
            name: "bob".parse().unwrap(),
            grants: everywhere(Role::Owner),
            code_sha256: intent::Digest::of(&[b"code"]),
            code_expires_at: BEGINNING + 86_400_000,
            expires_at: BEGINNING + 300 * 86_400_000,
            networks: Vec::new(),
        };
        site.propose(action).unwrap();
        let enrol = site.bob.enrol("code");
        site.authority().enrol(&enrol).unwrap();
        let eids: Vec<Eid> = (0..10).map(eid).collect();
        site.propose(register("meters", &eids)).unwrap();
        site
    }

    fn authority(&self) -> &Authority {
        self.authority.as_ref().unwrap()
    }

    fn parts(&self) -> Parts {
        let fickle = |key: &PrivateKey| -> Arc<dyn Signer> {
            Arc::new(Fickle {
                key: key.clone(),
                fails: Arc::clone(&self.fails),
            })
        };
        let broken = Arc::clone(&self.broken);
        Parts {
            signers: self.keys.iter().map(fickle).collect(),
            trust: EuiccTrust {
                anchors: PKI.trust_anchors().unwrap(),
                policy: pki::ChainPolicy::default(),
            },
            reachability: Reachability {
                fqdn: "eim.example.com".to_owned(),
                tls_trust: None,
            },
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::new(System(Mutex::new(rng(self
                .made
                .fetch_add(1, Ordering::SeqCst)
                + 77)))),
            on_broken: Box::new(move |why| broken.lock().unwrap().push(why.to_owned())),
            options: self.options.clone(),
        }
    }

    fn open(&mut self) -> Result<(), OpenError> {
        let parts = self.parts();
        self.authority = Some(Authority::open(
            self.disk.clone(),
            ledger_key(),
            None,
            parts,
        )?);
        Ok(())
    }

    fn reopen(&mut self) {
        self.authority = None;
        self.open().unwrap();
    }

    /// The process dies and the power is cut; everything not synced may be gone.
    fn crash(&mut self, keeps: impl FnMut() -> bool) {
        let left = self.disk.after_crash(keeps);
        self.authority = None;
        self.disk = left;
        self.open().unwrap();
    }

    fn wait(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn intent(&self, action: Action) -> intent::Intent {
        let n = self.made.fetch_add(1, Ordering::SeqCst);
        intent(action, self.clock.now_ms(), n)
    }

    fn propose(&mut self, action: Action) -> Result<IntentStatus, Refusal> {
        let intent = self.intent(action);
        let request = self.alice.propose(&intent);
        self.authority().propose(&request)
    }

    /// Alice proposes, bob approves.
    fn agree(&mut self, action: Action) -> IntentStatus {
        let status = self.propose(action).unwrap();
        let request = self.bob.decide(status.id, Decision::Approve);
        self.authority().decide(status.id, &request).unwrap()
    }

    fn operate(&mut self, devices: &[Eid], command: Command) -> IntentId {
        self.propose(crate::testing::operate(devices, command))
            .unwrap()
            .id
    }

    fn sign(&self, account: Account, eid: Eid) -> Result<SignedPackage, Refusal> {
        let mut signed = self.authority().sign(vec![Reference { account, eid }])?;
        signed.pop().unwrap()
    }

    fn sign_intent(&self, id: IntentId, eid: Eid) -> Result<SignedPackage, Refusal> {
        self.sign(Account::Intent(id), eid)
    }

    fn associate(&self, device: &Device) -> Result<(), Refusal> {
        self.authority().associate(&device.association())
    }

    fn record(&self, eid: Eid, result: &[u8]) -> Result<(), Refusal> {
        let results = [RecordResult {
            eid,
            result: result.to_vec(),
        }];
        self.authority()
            .record_results(&results)
            .unwrap()
            .pop()
            .unwrap()
    }

    /// Has profiles listed and the answer recorded.
    fn list(&self, device: &mut Device, reference: &str) {
        let account = Account::ListProfiles(reference.to_owned());
        let signed = self.sign(account, device.eid).unwrap();
        let result = device.load(&signed.package);
        self.record(device.eid, &result).unwrap();
    }

    /// A device with its eUICC, to which this eIM was added, and that is associated and has listed its profiles.
    fn device(&self, n: u64) -> Device {
        let mut device = Device::new(n, &PKI);
        device.add_eim(self.authority().configuration().unwrap());
        self.associate(&device).unwrap();
        self.list(&mut device, "first");
        device
    }
}

struct System(Mutex<ChaCha20Rng>);

impl crate::environment::Entropy for System {
    fn fill(&self, octets: &mut [u8]) {
        use rand_chacha::rand_core::Rng;
        self.0.lock().unwrap().fill_bytes(octets);
    }
}

fn ledger_key() -> ledger::SigningKey {
    ledger::SigningKey::generate(INSTALLATION, &mut rng(5)).unwrap()
}

/// A device with a software eUICC. Profile 1 is enabled, 2 is disabled, 3 is of the class test.
struct Device {
    eid: Eid,
    card: Card,
    rng: ChaCha20Rng,
    euicc: Vec<u8>,
    eum: Vec<u8>,
    token: Option<i64>,
}

fn iccid(number: u8) -> Iccid {
    format!("8949012345678901{number:03}").parse().unwrap()
}

fn enable(number: u8) -> Command {
    Command::Enable {
        iccid: iccid(number),
        rollback: false,
    }
}

impl Device {
    fn new(n: u64, pki: &TestPki) -> Self {
        let eid = eid(n);
        let euicc = pki
            .issue_euicc(&mut rng(2_000 + n), &eid.to_string())
            .unwrap();
        let identity = CardIdentity {
            key: euicc.key,
            euicc_certificate: euicc.certificate.clone(),
            eum_certificate: pki.eum.certificate.clone(),
            sub_cas: Vec::new(),
            ci_certificate: pki.ci.certificate.clone(),
        };
        let personalisation = Personalisation {
            profiles: vec![profile(1), profile(2), profile(3)],
            ..Personalisation::new(eid, vec![identity])
        };
        Self {
            eid,
            card: Card::personalise(personalisation, MemoryNvm::new()).unwrap(),
            rng: rng(3_000 + n),
            euicc: euicc.certificate.der().to_vec(),
            eum: pki.eum.certificate.der().to_vec(),
            token: None,
        }
    }

    fn add_eim(&mut self, configuration: EimConfigurationData) {
        let request = AddInitialEimRequest {
            eim_configuration_data_list: vec![configuration],
            extensions: Default::default(),
        };
        let answer = self.card.es10(&request.to_der(), &mut self.rng).unwrap();
        match AddInitialEimResponse::from_der(&answer).unwrap() {
            AddInitialEimResponse::AddInitialEimOk(added) => match added[..] {
                [AddInitialEimOk::AssociationToken(token)] => self.token = Some(token),
                _ => panic!("{added:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn association(&self) -> Associate {
        Associate {
            eid: self.eid,
            euicc_certificate: self.euicc.clone(),
            eum_certificates: vec![HexOctets(self.eum.clone())],
            association_token: self.token,
        }
    }

    /// What the eUICC answers to a package.
    fn load(&mut self, package: &[u8]) -> Vec<u8> {
        self.card.es10(package, &mut self.rng).unwrap()
    }
}

fn profile(number: u8) -> PreloadedProfile {
    PreloadedProfile {
        metadata: StoreMetadataRequest {
            iccid: iccid(number),
            service_provider_name: "Operator".to_owned(),
            profile_name: format!("Profile {number}"),
            icon_type: None,
            icon: None,
            profile_class: (number == 3).then_some(ProfileClass::Test),
            notification_configuration_info: None,
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
        size_octets: 1_000,
        connectivity_parameters: None,
        is_enabled: number == 1,
        is_fallback: false,
    }
}

/// What the eIM's signature covers, besides the token.
fn signed_part(package: &[u8]) -> Vec<u8> {
    EuiccPackageRequest::from_der(package)
        .unwrap()
        .euicc_package_signed
        .bytes()
        .to_vec()
}
