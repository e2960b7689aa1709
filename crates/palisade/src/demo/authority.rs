//! The authorities of a demo: the real engine with its record on the disk, in this process.
//!
//! One machine, `demo`, may do everything a machine may; the policy asks for no approvals. Two people have passkeys: the
//! owner, and a second one for what takes two whatever policy says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use authority::event::RelyingParty;
use authority::genesis::enrolment_code;
use eim::Eim;
use eim::authority::Authority;
use intent::action::MachineKey;
use intent::api::{Decide, Enrol, IntentState, IntentStatus, Propose, enrolment_challenge};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;
use intent::{
    Action, Command, Decision, DeviceSet, Digest, FleetScope, Grant, Intent, IntentId,
    PolicyDocument, Principal, Role,
};
use ledger::PublicKey;
use pki::PrivateKey;
use rsp::ids::Eid;

use super::console::VISITOR;
use super::pki::Pki;
use super::world::Setting;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::{AuthorityFolder, Engine, Foundation, InProcess, SigningKeySource, found};
use crate::proposing::{PasskeyFile, Proposal, Prover, create_private};

/// An authority with those who ask it.
pub(super) struct Office {
    engine: Arc<Engine>,
    place: AuthorityFolder,
    installation: String,
    /// Where passkeys are used.
    origin: String,
    machine: Mutex<Prover>,
    owner: Mutex<Prover>,
    second: Mutex<Prover>,
}

/// Somebody with a key or a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The machine.
    Machine,
    /// The first person, who may propose everything.
    Owner,
    /// The second person, who may approve everything.
    Second,
}

/// No approvals, and test profiles may be used: those of TS.48 are such.
fn policy() -> anyhow::Result<PolicyDocument> {
    let mut policy = PolicyDocument::insecure_without_approvals();
    policy.profiles.test_class_fleets.insert(FLEET.parse()?);
    policy.quotas.reads_per_device_hour = READS;
    Ok(policy)
}

/// Reads of a device in one hour: the demo does in seconds what takes a fleet days.
const READS: u32 = 10_000;
/// The fleet that all devices belong to.
const FLEET: &str = "demo";
/// The second person.
const SECOND: &str = "second";
/// What passkeys are bound to: browsers take them on this machine.
const RP_ID: &str = "localhost";
const DAY_MS: i64 = 86_400_000;

impl Office {
    /// Makes the authority of the eIM with this name, its first owner and its machine.
    pub(super) fn found(
        setting: &Setting<'_>,
        pki: &Pki,
        eim_id: &str,
        key: &PrivateKey,
    ) -> anyhow::Result<Self> {
        let path = setting.folder.inner(&format!("{eim_id}/authority"))?;
        let place = AuthorityFolder::new(&path);
        let installation = format!("{eim_id}/ledger");
        let origin = setting.origin.clone();
        let settings = format!(
            "[authority]\nfqdn = \"{eim_id}\"\ntls_trust = \"ca\"\ntls_certificate_of_eim = \"tls-ca.der\"\n"
        );
        let ca = &pki.main.tls_ca.certificate;
        let founded = found(
            &place,
            Foundation {
                installation: installation.clone(),
                eim_id: eim_id.to_owned(),
                relying_party: RelyingParty {
                    id: RP_ID.to_owned(),
                    origins: vec![origin.clone()],
                },
                policy: policy()?,
                signing_key: SigningKeySource::Given(key.clone()),
                break_glass: &path.join("break-glass.key"),
                settings,
                files: vec![
                    ("tls-ca.der".to_owned(), ca.der().to_vec()),
                    (
                        "trust/euicc/ci.der".to_owned(),
                        pki.main.ci.certificate.der().to_vec(),
                    ),
                    ("trust/euicc/ci.crl".to_owned(), pki.crl.der().to_vec()),
                ],
            },
        )?;
        let engine = Arc::new(Engine::open(&place, &place.settings()?, None)?);

        let person = |name: &str, code: String| -> anyhow::Result<Prover> {
            let name: Principal = name.parse()?;
            let file = path.join(format!("{name}.json"));
            let passkey = SoftwarePasskey::create(RP_ID, name.clone(), &mut SystemEntropy)?;
            let challenge = enrolment_challenge(&installation, &code, &name);
            engine.enrol(Enrol {
                code,
                name,
                registration: Box::new(passkey.register(&origin, challenge.as_bytes())?),
            })?;
            create_private(&file, passkey.to_json().as_bytes())?;
            Ok(Prover::Passkey(PasskeyFile::open(&file, None)?))
        };
        let mut owner = person("owner", founded.code)?;
        let mut ask = |action| -> anyhow::Result<()> {
            let proposal = Proposal::new(&installation, action, None, None, DAY_MS)?;
            engine.propose(proposal.prove(&mut owner, &origin)?)?;
            Ok(())
        };
        let machine = ClientKey::generate("demo".parse()?, &mut SystemEntropy);
        ask(admission(&machine, &[Role::Operator, Role::FleetAdmin]))?;
        let (invitation, code) = invitation(SECOND)?;
        ask(invitation)?;
        let second = person(SECOND, code)?;
        Ok(Self {
            place,
            installation,
            machine: Mutex::new(Prover::Key(machine)),
            owner: Mutex::new(owner),
            second: Mutex::new(second),
            origin,
            engine,
        })
    }

    /// What the eIM is given.
    pub(super) fn seam(&self) -> Arc<dyn Authority> {
        Arc::new(InProcess::new(Arc::clone(&self.engine)))
    }

    /// What the console is given.
    pub(super) fn console_seam(&self) -> Arc<dyn console::authority::Authority> {
        Arc::new(InProcess::new(Arc::clone(&self.engine)))
    }

    /// Invites whoever opens the console. Gives the code.
    pub(super) fn invite_visitor(&self) -> anyhow::Result<String> {
        let (action, code) = invitation(VISITOR)?;
        self.done(Who::Owner, action)?;
        Ok(code)
    }

    /// Takes a device under management.
    pub(super) async fn register(&self, eim: &Eim, eid: Eid) -> anyhow::Result<()> {
        self.ask(eim, register(eid)?).await.map(|_| ())
    }

    /// Asks for commands on a device. Gives the intent.
    pub(super) async fn operate(
        &self,
        eim: &Eim,
        eid: Eid,
        commands: Vec<Command>,
    ) -> anyhow::Result<IntentId> {
        let action = Action::Operate {
            devices: DeviceSet::one(eid),
            commands,
        };
        self.ask(eim, action).await
    }

    async fn ask(&self, eim: &Eim, action: Action) -> anyhow::Result<IntentId> {
        let (proposal, mut proven) = self.proven(Who::Machine, action)?;
        let openings = std::mem::take(&mut proven.openings);
        eim.keep_openings(proposal.0, &proposal.1, openings).await?;
        let engine = Arc::clone(&self.engine);
        let status: IntentStatus = tokio::task::spawn_blocking(move || engine.propose(proven))
            .await
            .context("the authority broke off")??;
        is_accepted(&status)?;
        eim.follow().await?;
        Ok(status.id)
    }

    /// An intent, and what is sent to have it accepted.
    pub(super) fn proven(
        &self,
        who: Who,
        action: Action,
    ) -> anyhow::Result<((IntentId, Intent), Propose)> {
        let mut prover = self.prover(who);
        self.proven_by(&mut prover, action)
    }

    /// The same with any key.
    pub(super) fn proven_by(
        &self,
        prover: &mut Prover,
        action: Action,
    ) -> anyhow::Result<((IntentId, Intent), Propose)> {
        let proposal = Proposal::new(&self.installation, action, None, None, DAY_MS)?;
        let intent = (proposal.id(), proposal.intent().clone());
        Ok((intent, proposal.prove(prover, &self.origin)?))
    }

    /// A decision about an intent, proven.
    pub(super) fn decision(
        &self,
        who: Who,
        id: IntentId,
        decision: Decision,
    ) -> anyhow::Result<Decide> {
        self.prover(who).decide(id, decision, &self.origin)
    }

    /// Has something done that needs nobody else.
    pub(super) fn done(&self, who: Who, action: Action) -> anyhow::Result<IntentId> {
        let (_, proven) = self.proven(who, action)?;
        let status = self.engine.propose(proven)?;
        is_accepted(&status)?;
        Ok(status.id)
    }

    /// Replaces the policy. Gives the one before.
    pub(super) fn change_policy(
        &self,
        change: impl FnOnce(&mut PolicyDocument),
    ) -> anyhow::Result<PolicyDocument> {
        let before = self.engine.policy()?;
        let mut policy = before.clone();
        change(&mut policy);
        policy.version = before.version + 1;
        let policy = Box::new(policy);
        self.done(Who::Owner, Action::SetPolicy { policy })?;
        Ok(before)
    }

    /// The authority itself.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its ledger's folder.
    pub(super) fn ledger(&self) -> PathBuf {
        self.place.ledger()
    }

    /// What everybody verifies its record with.
    pub(super) fn public_key(&self) -> anyhow::Result<PublicKey> {
        self.place.public_key()
    }

    fn prover(&self, who: Who) -> MutexGuard<'_, Prover> {
        let prover = match who {
            Who::Machine => &self.machine,
            Who::Owner => &self.owner,
            Who::Second => &self.second,
        };
        prover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the record and closes it.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.engine.stop()
    }
}

/// To invite an owner for a day, and the code.
fn invitation(name: &str) -> anyhow::Result<(Action, String)> {
    let code = enrolment_code(&SystemEntropy);
    let expires_at = SystemClock.millis().saturating_add(DAY_MS);
    let action = Action::InvitePerson {
        name: name.parse()?,
        grants: everywhere(&[Role::Owner]),
        code_sha256: Digest::of(&[code.as_bytes()]),
        code_expires_at: expires_at,
        expires_at,
        networks: Vec::new(),
    };
    Ok((action, code))
}

/// To take a device under management.
pub(super) fn register(eid: Eid) -> anyhow::Result<Action> {
    Ok(Action::RegisterDevices {
        fleet: FLEET.parse()?,
        devices: DeviceSet::one(eid),
    })
}

/// To let a machine in, everywhere, for a day.
pub(super) fn admission(machine: &ClientKey, roles: &[Role]) -> Action {
    let now = SystemClock.millis();
    Action::AdmitMachine {
        name: machine.name().clone(),
        grants: everywhere(roles),
        key: MachineKey {
            id: machine.id(),
            public: *machine.public().as_bytes(),
            not_before: now,
            expires_at: now.saturating_add(DAY_MS),
        },
        networks: Vec::new(),
    }
}

fn everywhere(roles: &[Role]) -> Vec<Grant> {
    let grants = roles.iter().map(|role| Grant {
        role: *role,
        fleets: FleetScope::All,
    });
    grants.collect()
}

fn is_accepted(status: &IntentStatus) -> anyhow::Result<()> {
    match status.state {
        IntentState::Approved | IntentState::Done => Ok(()),
        state => bail!("the intent is {state:?}"),
    }
}
