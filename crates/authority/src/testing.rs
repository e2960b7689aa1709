//! People, machines and an installation for tests: of this crate, and of everybody who talks to it.
//!
//! A [`World`] holds a state, and plays writer: it runs verbs and applies their events at once, each of them through the
//! encoding of the ledger. What happened is kept, so that a test can replay it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test reports by panicking"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use intent::action::{FreezeScope, MachineKey};
use intent::api::{
    Decide, Enrol, IntentStatus, PrincipalInfo, Propose, Refusal, SignIn, SignedIn,
    enrolment_challenge,
};
use intent::http_signature::{RequestParts, TAG_INTENT, sign};
use intent::key_file::{ClientKey, PublicKey};
use intent::passkey::SoftwarePasskey;
use intent::{
    Action, Command, Decision, DeviceSet, Digest, FleetScope, Grant, Intent, IntentId,
    PolicyDocument, Proof, Role,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsp::ids::Eid;

use crate::environment::Entropy;
use crate::event::{Actor, Event, RelyingParty};
use crate::genesis::{Founding, found};
use crate::proof::{Ballot, INTENTS_PATH, Proposal};
use crate::state::State;
use crate::verbs::decide::decide;
use crate::verbs::enrol::{Enrolment, enrol};
use crate::verbs::propose::propose;
use crate::verbs::sign_in::{Attempt, sign_in};
use crate::verbs::{Context, Decided};

/// The installation of every world.
pub const INSTALLATION: &str = "eim.example.com/ledger";
/// Its eIM.
pub const EIM_ID: &str = "eim.example.com";
/// Its relying party.
pub const RP_ID: &str = "eim.example.com";
/// Where its pages are.
pub const ORIGIN: &str = "https://eim.example.com";
/// When every world begins: 2026-09-21 13:33:20 UTC.
pub const BEGINNING: i64 = 1_790_000_000_000;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// A person with a passkey in memory.
pub struct Person {
    /// The passkey.
    pub passkey: SoftwarePasskey,
}

/// A machine with its key.
pub struct Machine {
    /// The key.
    pub key: ClientKey,
}

/// Randomness that a test can repeat. Every filling differs from those before.
#[derive(Debug, Default)]
pub struct Repeatable(AtomicU64);

/// An installation that is its own writer.
pub struct World {
    /// As it is.
    pub state: State,
    /// Milliseconds since 1970.
    pub now: i64,
    /// What happened: number, time, event.
    pub history: Vec<(u64, i64, Event)>,
    /// Keys that the authority could sign with.
    pub signers: BTreeMap<Digest, Vec<u8>>,
    /// The first owner's code, until somebody uses it.
    pub owner_code: String,
    /// The key in the safe.
    pub break_glass: Machine,
    entropy: Repeatable,
    made: AtomicU64,
}

impl Entropy for Repeatable {
    fn fill(&self, octets: &mut [u8]) {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        for (chunk, n) in octets.chunks_mut(32).zip(0u64..) {
            let digest = Digest::of(&[b"repeatable", &turn.to_be_bytes(), &n.to_be_bytes()]);
            for (octet, value) in chunk.iter_mut().zip(digest.as_bytes()) {
                *octet = *value;
            }
        }
    }
}

/// The EID of a device.
pub fn eid(n: u64) -> Eid {
    Eid::with_check_digits(&format!("8904903200000000000000{n:08}")).unwrap()
}

/// A role everywhere.
pub fn everywhere(role: Role) -> Vec<Grant> {
    vec![Grant {
        role,
        fleets: FleetScope::All,
    }]
}

/// A role in one fleet.
pub fn within(role: Role, fleet: &str) -> Vec<Grant> {
    vec![Grant {
        role,
        fleets: FleetScope::Only([fleet.parse().unwrap()].into()),
    }]
}

/// Enabling a profile on devices.
pub fn enable(devices: &[Eid]) -> Action {
    operate(
        devices,
        Command::Enable {
            iccid: "89000123456789012341".parse().unwrap(),
            rollback: true,
        },
    )
}

/// Deleting a profile on devices, which needs an approval.
pub fn delete(devices: &[Eid]) -> Action {
    operate(
        devices,
        Command::Delete {
            iccid: "89000123456789012341".parse().unwrap(),
        },
    )
}

/// One command on up to 100 devices.
pub fn operate(devices: &[Eid], command: Command) -> Action {
    Action::Operate {
        devices: DeviceSet::of(devices.to_vec()).unwrap().0,
        commands: vec![command],
    }
}

/// Taking up to 100 devices under management.
pub fn register(fleet: &str, devices: &[Eid]) -> Action {
    Action::RegisterDevices {
        fleet: fleet.parse().unwrap(),
        devices: DeviceSet::of(devices.to_vec()).unwrap().0,
    }
}

/// Stopping a fleet.
pub fn freeze(fleet: &str) -> Action {
    Action::Freeze {
        scope: FreezeScope::Fleet(fleet.parse().unwrap()),
    }
}

/// A change as somebody would ask for it at `now`, valid for an hour. `n` makes its nonce.
pub fn intent(action: Action, now: i64, n: u64) -> Intent {
    let digest = Digest::of(&[b"nonce", &n.to_be_bytes()]);
    Intent {
        v: 1,
        installation: INSTALLATION.to_owned(),
        nonce: digest.as_bytes()[..16].try_into().unwrap(),
        created_at: now,
        expires_at: now + 60 * MINUTE_MS,
        action,
        note: None,
    }
}

impl Person {
    /// Somebody who has a passkey and is enrolled nowhere.
    pub fn new(name: &str) -> Self {
        let seed = Digest::of(&[b"person", name.as_bytes()]);
        let mut rng = ChaCha20Rng::from_seed(*seed.as_bytes());
        Self {
            passkey: SoftwarePasskey::create(RP_ID, name.parse().unwrap(), &mut rng).unwrap(),
        }
    }

    /// What to send to enrol with a code.
    pub fn enrol(&self, code: &str) -> Enrol {
        let name = self.passkey.name().clone();
        let challenge = enrolment_challenge(INSTALLATION, code, &name);
        let registration = self.passkey.register(ORIGIN, challenge.as_bytes()).unwrap();
        Enrol {
            code: code.to_owned(),
            name,
            registration: Box::new(registration),
        }
    }

    /// Proves something by its hash.
    pub fn prove(&mut self, challenge: Digest) -> Proof {
        let assertion = self.passkey.assert(ORIGIN, challenge.as_bytes()).unwrap();
        Proof::Passkey {
            credential: assertion.credential_id().unwrap(),
            assertion: Box::new(assertion),
        }
    }

    /// The id of the passkey.
    pub fn credential(&self) -> intent::CredentialId {
        let challenge = [0; 32];
        let registration = self.passkey.register(ORIGIN, &challenge).unwrap();
        registration.credential_id().unwrap()
    }

    /// What to send to propose.
    pub fn propose(&mut self, intent: &Intent) -> Propose {
        let octets = intent.encode().unwrap();
        let proof = self.prove(IntentId::of(&octets).0);
        request(octets, proof)
    }

    /// What to send to decide.
    pub fn decide(&mut self, intent: IntentId, decision: Decision) -> Decide {
        Decide {
            decision,
            proof: self.prove(decision.challenge(intent)),
            network: None,
        }
    }
}

impl Machine {
    /// A machine that is admitted nowhere.
    pub fn new(name: &str) -> Self {
        Self::with_seed(name, name)
    }

    /// The same with another key.
    pub fn with_seed(name: &str, seed: &str) -> Self {
        let seed = Digest::of(&[b"machine", seed.as_bytes()]);
        Self {
            key: ClientKey::from_seed(name.parse().unwrap(), seed.as_bytes()),
        }
    }

    /// Its key, valid for 90 days from `now`.
    pub fn public(&self, now: i64) -> MachineKey {
        let public: PublicKey = self.key.public();
        MachineKey {
            id: public.id(),
            public: *public.as_bytes(),
            not_before: now,
            expires_at: now + 90 * DAY_MS,
        }
    }

    /// What to send to propose, signed at `now`.
    pub fn propose(&self, intent: &Intent, now: i64) -> Propose {
        let octets = intent.encode().unwrap();
        let parts = RequestParts {
            method: "POST",
            path: INTENTS_PATH,
            query: None,
        };
        let created = u64::try_from(now / 1000).unwrap();
        let nonce = "nonce-of-the-request";
        let proof = sign(&parts, &octets, &self.key, created, nonce, TAG_INTENT).unwrap();
        request(octets, Proof::HttpSignature(proof))
    }
}

fn request(octets: Vec<u8>, proof: Proof) -> Propose {
    Propose {
        intent: String::from_utf8(octets).unwrap(),
        proof,
        devices: None,
        network: None,
        openings: Vec::new(),
    }
}

/// What every installation in tests begins with.
pub fn founding(policy: PolicyDocument) -> Founding {
    Founding {
        installation: INSTALLATION.to_owned(),
        eim_id: EIM_ID.to_owned(),
        relying_party: RelyingParty {
            id: RP_ID.to_owned(),
            origins: vec![ORIGIN.to_owned()],
        },
        break_glass: Machine::new("break-glass").key.public(),
        break_glass_expires_at: BEGINNING + 3650 * DAY_MS,
        signing_key: b"a key".to_vec(),
        policy,
    }
}

/// The initial policy, but with passkeys that are files.
pub fn policy() -> PolicyDocument {
    PolicyDocument {
        insecure_software_passkeys: true,
        ..PolicyDocument::initial()
    }
}

impl World {
    /// An installation in which nobody is enrolled.
    pub fn new(policy: PolicyDocument) -> Self {
        let entropy = Repeatable::default();
        let (genesis, owner_code) = found(founding(policy), BEGINNING, &entropy).unwrap();
        let mut world = Self {
            state: State::default(),
            now: BEGINNING,
            history: Vec::new(),
            signers: BTreeMap::new(),
            owner_code,
            break_glass: Machine::new("break-glass"),
            entropy,
            made: AtomicU64::new(0),
        };
        world.commit(vec![(Actor::Authority, genesis)]);
        world
    }

    /// An installation with the owners alice and bob, and devices 0 to 9 in the fleet `meters`, 10 to 19 in `cars`.
    pub fn peopled() -> (Self, Person, Person) {
        let mut world = Self::new(policy());
        let mut alice = Person::new("alice");
        let code = world.owner_code.clone();
        world.enrol(&alice.enrol(&code)).unwrap();
        let bob = world.invite(&mut alice, None, "bob", everywhere(Role::Owner));
        for (fleet, first) in [("meters", 0), ("cars", 10)] {
            let eids: Vec<Eid> = (first..first + 10).map(eid).collect();
            let request = alice.propose(&world.intent(register(fleet, &eids)));
            world.propose(&request).unwrap();
        }
        world.now += MINUTE_MS;
        (world, alice, bob)
    }

    /// An intent made now.
    pub fn intent(&self, action: Action) -> Intent {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        intent(action, self.now, n)
    }

    /// Lets somebody in; `approver` approves if that is asked for.
    pub fn invite(
        &mut self,
        by: &mut Person,
        approver: Option<&mut Person>,
        name: &str,
        grants: Vec<Grant>,
    ) -> Person {
        let code = format!("code-of-{name}");
        let request = by.propose(&self.intent(self.invitation(name, grants)));
        let status = self.propose(&request).unwrap();
        if let Some(approver) = approver {
            self.decide(status.id, &approver.decide(status.id, Decision::Approve))
                .unwrap();
        }
        let person = Person::new(name);
        self.enrol(&person.enrol(&code)).unwrap();
        person
    }

    /// The action that invites somebody, with the code `code-of-NAME`.
    pub fn invitation(&self, name: &str, grants: Vec<Grant>) -> Action {
        Action::InvitePerson {
            name: name.parse().unwrap(),
            grants,
            code_sha256: Digest::of(&[format!("code-of-{name}").as_bytes()]),
            code_expires_at: self.now + DAY_MS,
            expires_at: self.now + 365 * DAY_MS,
            networks: Vec::new(),
        }
    }

    /// Admits a machine.
    pub fn admit(
        &mut self,
        by: &mut Person,
        approver: &mut Person,
        name: &str,
        grants: Vec<Grant>,
    ) -> Machine {
        let machine = Machine::new(name);
        let action = Action::AdmitMachine {
            name: name.parse().unwrap(),
            grants,
            key: machine.public(self.now),
            networks: Vec::new(),
        };
        self.agree(by, approver, action).unwrap();
        machine
    }

    /// Has one person propose and another approve.
    pub fn agree(
        &mut self,
        by: &mut Person,
        approver: &mut Person,
        action: Action,
    ) -> Result<IntentStatus, Refusal> {
        let request = by.propose(&self.intent(action));
        let status = self.propose(&request)?;
        self.decide(status.id, &approver.decide(status.id, Decision::Approve))
    }

    /// Proposes.
    pub fn propose(&mut self, request: &Propose) -> Result<IntentStatus, Refusal> {
        let proposal = Proposal::verify(&self.state, self.now, request)?;
        let decided = propose(&self.context(), &proposal);
        self.finish(decided)
    }

    /// Proposes from somewhere.
    pub fn propose_from(
        &mut self,
        mut request: Propose,
        network: &str,
    ) -> Result<IntentStatus, Refusal> {
        let network: IpAddr = network.parse().unwrap();
        request.network = Some(network);
        self.propose(&request)
    }

    /// Decides.
    pub fn decide(&mut self, id: IntentId, request: &Decide) -> Result<IntentStatus, Refusal> {
        let ballot = Ballot::verify(&self.state, id, request)?;
        let decided = decide(&self.context(), &ballot);
        self.finish(decided)
    }

    /// Signs in.
    pub fn sign_in(&mut self, request: &SignIn) -> Result<SignedIn, Refusal> {
        let attempt = Attempt::verify(&self.state, request);
        let decided = sign_in(&self.context(), &attempt);
        self.finish(decided)
    }

    /// Enrols.
    pub fn enrol(&mut self, request: &Enrol) -> Result<PrincipalInfo, Refusal> {
        let enrolment = Enrolment::verify(&self.state, self.now, request)?;
        let Decided { events, answer } = enrol(&self.context(), &enrolment)?;
        self.commit(events);
        Ok(answer)
    }

    /// Makes events true, each through the encoding of the ledger.
    pub fn commit(&mut self, events: Vec<(Actor, Event)>) {
        for (actor, event) in events {
            let number = self.next();
            let draft = event.to_draft(&actor, self.now).unwrap();
            let entry = ledger::Entry {
                number,
                at: draft.at,
                kind: draft.kind,
                device: draft.device.map(|eid| ledger::Link {
                    eid,
                    sequence: 1,
                    previous: None,
                }),
                actor: draft.actor,
                body: draft.body,
            };
            let octets = entry.encode().unwrap();
            let read = Event::of_entry(&ledger::Entry::decode(&octets).unwrap())
                .unwrap()
                .expect("an event of the authority");
            assert_eq!(read, event, "an event reads back as it was written");
            self.state.apply(number, self.now, &read).unwrap();
            self.history.push((number, self.now, event));
        }
    }

    /// The kinds of the newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<String> {
        let kind = |event: &Event| {
            let draft = event.to_draft(&Actor::Authority, 0).unwrap();
            draft.kind.as_str().to_owned()
        };
        let start = self.history.len().saturating_sub(count);
        self.history
            .iter()
            .skip(start)
            .map(|(_, _, event)| kind(event))
            .collect()
    }

    fn next(&self) -> u64 {
        match self.history.last() {
            // Entries of the ledger's own stand between those of the authority, so numbers have gaps.
            Some((number, _, _)) => number + 1,
            None => 0,
        }
    }

    fn finish<T>(&mut self, decided: Decided<Result<T, Refusal>>) -> Result<T, Refusal> {
        self.commit(decided.events);
        decided.answer
    }

    fn context(&self) -> Context<'_> {
        Context {
            state: &self.state,
            now: self.now.max(self.state.newest_at),
            next: self.next(),
            signers: &self.signers,
            entropy: &self.entropy,
        }
    }
}
