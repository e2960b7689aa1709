//! The authorities of a demo: the real engine with its record on the disk, in this process.
//!
//! One machine, `demo`, may do everything a machine may; the policy asks for no approvals.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use authority::event::RelyingParty;
use eim::Eim;
use eim::authority::Authority;
use intent::action::MachineKey;
use intent::api::{Enrol, IntentState, IntentStatus, Propose, enrolment_challenge};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;
use intent::{
    Action, Command, DeviceSet, FleetScope, Grant, IntentId, PolicyDocument, Principal, Role,
};
use pki::PrivateKey;
use rsp::ids::Eid;

use super::folder::Folder;
use super::pki::Pki;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::{AuthorityFolder, Engine, Foundation, InProcess, SigningKeySource, found};
use crate::proposing::{PasskeyFile, Proposal, Prover, create_private};

/// An authority with somebody who asks it.
pub(super) struct Office {
    engine: Arc<Engine>,
    installation: String,
    machine: Mutex<Prover>,
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
const DAY_MS: i64 = 86_400_000;

impl Office {
    /// Makes the authority of the eIM with this name, its first owner and its machine.
    pub(super) fn found(
        folder: &Folder,
        pki: &Pki,
        eim_id: &str,
        key: &PrivateKey,
    ) -> anyhow::Result<Self> {
        let path = folder.inner(&format!("{eim_id}/authority"))?;
        let place = AuthorityFolder::new(&path);
        let installation = format!("{eim_id}/ledger");
        let origin = format!("https://{eim_id}");
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
                    id: eim_id.to_owned(),
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

        let owner: Principal = "owner".parse()?;
        let passkey = SoftwarePasskey::create(eim_id, owner.clone(), &mut SystemEntropy)?;
        let challenge = enrolment_challenge(&installation, &founded.code, &owner);
        engine.enrol(Enrol {
            code: founded.code,
            name: owner,
            registration: Box::new(passkey.register(&origin, challenge.as_bytes())?),
        })?;
        let file = path.join("owner.json");
        create_private(&file, passkey.to_json().as_bytes())?;
        let mut owner = Prover::Passkey(PasskeyFile::open(&file, None)?);

        let machine = ClientKey::generate("demo".parse()?, &mut SystemEntropy);
        let now = SystemClock.millis();
        let admit = Action::AdmitMachine {
            name: machine.name().clone(),
            grants: [Role::Operator, Role::FleetAdmin]
                .map(|role| Grant {
                    role,
                    fleets: FleetScope::All,
                })
                .to_vec(),
            key: MachineKey {
                id: machine.id(),
                public: *machine.public().as_bytes(),
                not_before: now,
                expires_at: now.saturating_add(DAY_MS),
            },
            networks: Vec::new(),
        };
        let proposal = Proposal::new(&installation, admit, None, None, DAY_MS)?;
        engine.propose(proposal.prove(&mut owner, &origin)?)?;
        Ok(Self {
            engine,
            installation,
            machine: Mutex::new(Prover::Key(machine)),
        })
    }

    /// What the eIM is given.
    pub(super) fn seam(&self) -> Arc<dyn Authority> {
        Arc::new(InProcess::new(Arc::clone(&self.engine)))
    }

    /// Takes a device under management.
    pub(super) async fn register(&self, eim: &Eim, eid: Eid) -> anyhow::Result<()> {
        let action = Action::RegisterDevices {
            fleet: FLEET.parse()?,
            devices: DeviceSet::one(eid),
        };
        self.ask(eim, action).await.map(|_| ())
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
        let (id, intent, mut proven) = self.proven(action)?;
        let openings = std::mem::take(&mut proven.openings);
        eim.keep_openings(id, &intent, openings).await?;
        let engine = Arc::clone(&self.engine);
        let status: IntentStatus = tokio::task::spawn_blocking(move || engine.propose(proven))
            .await
            .context("the authority broke off")??;
        if !matches!(status.state, IntentState::Approved | IntentState::Done) {
            bail!("the intent is {:?}", status.state);
        }
        eim.follow().await?;
        Ok(id)
    }

    fn proven(&self, action: Action) -> anyhow::Result<(IntentId, intent::Intent, Propose)> {
        let proposal = Proposal::new(&self.installation, action, None, None, DAY_MS)?;
        let (id, intent) = (proposal.id, proposal.intent.clone());
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((id, intent, proposal.prove(&mut machine, "")?))
    }

    /// Publishes the record and closes it.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.engine.stop()
    }
}
