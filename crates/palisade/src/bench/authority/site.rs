//! An installation to measure: one owner, no approvals, devices whose certificates were verified.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use authority::event::{Account, Actor, Event, Ordered, RelyingParty};
use authority::genesis::{Founding, found};
use authority::package::Reachability;
use authority::service::{Authority, EuiccTrust, Parts, WriterOptions, create};
use intent::api::{Associate, Enrol, HexOctets, Propose, RecordResult, SignedPackage};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;
use intent::{Action, DeviceSet, Intent, IntentId, PolicyDocument, Proof};
use ledger::{Entry, FolderStore, Ledger, SigningKey};
use pki::issue::{TestPki, TestPkiOptions};
use pki::{ChainPolicy, Curve, PrivateKey, Signer};
use rand_core::Rng;
use rsp::der::{Element, Encoded, Writer};
use rsp::ids::Eid;
use rsp::sgp22::{ProfileInfoListResponse, Signature};
use rsp::sgp32::{
    EuiccPackageRequest, EuiccPackageResult, EuiccPackageResultDataSigned,
    EuiccPackageResultSigned, EuiccResultData,
};

use crate::adapters::{SystemClock, SystemEntropy};

const INSTALLATION: &str = "bench.example.com/ledger";
const EIM_ID: &str = "bench.example.com";
const ORIGIN: &str = "https://bench.example.com";
const TOKEN: i64 = 1;
const HOUR_MS: i64 = 3_600_000;
/// Entries appended at once when a long record is made.
const APPENDED: u64 = 4_000;

/// What is measured.
pub(super) struct Site {
    pub(super) authority: Authority,
    pub(super) eids: Vec<Eid>,
    pub(super) signing_key: PrivateKey,
    ledger_key: String,
    pki: TestPki,
    euiccs: BTreeMap<Eid, PrivateKey>,
    /// Dropped last: the authority still writes into it.
    pub(super) folder: tempfile::TempDir,
}

impl Site {
    pub(super) fn new(devices: u32, directory: Option<&Path>) -> anyhow::Result<Self> {
        let folder = match directory {
            Some(directory) => tempfile::tempdir_in(directory),
            None => tempfile::tempdir(),
        }
        .context("a temporary folder cannot be made")?;
        let options = TestPkiOptions::new(SystemClock.unix_time().plus_days(-1));
        let pki = TestPki::new(&mut SystemEntropy, Curve::P256, &options)?;
        let signing_key = PrivateKey::generate(Curve::P256, &mut SystemEntropy)?;
        let ledger_key = SigningKey::generate(INSTALLATION, &mut SystemEntropy)?;
        let text = ledger_key.to_text().to_string();
        let now = SystemClock.millis();
        let (genesis, code) = found(founding(&signing_key, now)?, now, &SystemEntropy)?;
        let files = FolderStore::exclusive(folder.path())?;
        create(files, ledger_key, &genesis, now)?;
        let authority = open(folder.path(), &text, &signing_key, &pki)?;
        let eids = (0..devices)
            .map(|n| Eid::with_check_digits(&format!("8904903200000000000000{n:08}")))
            .collect::<Result<Vec<_>, _>>()?;
        let mut site = Self {
            authority,
            eids,
            signing_key,
            ledger_key: text,
            pki,
            euiccs: BTreeMap::new(),
            folder,
        };
        site.take_in(&code)?;
        Ok(site)
    }

    /// Enrols an owner, registers and associates all devices.
    fn take_in(&mut self, code: &str) -> anyhow::Result<()> {
        let mut owner = SoftwarePasskey::create(EIM_ID, "owner".parse()?, &mut SystemEntropy)?;
        let challenge = intent::api::enrolment_challenge(INSTALLATION, code, owner.name());
        let registration = owner.register(ORIGIN, challenge.as_bytes())?;
        self.authority.enrol(&Enrol {
            code: code.to_owned(),
            name: owner.name().clone(),
            registration: Box::new(registration),
        })?;
        let (devices, along) = DeviceSet::of(self.eids.clone())?;
        let fleet = "bench".parse()?;
        let action = Action::RegisterDevices { fleet, devices };
        let request = proposal(&mut owner, action, along)?;
        self.authority.propose(&request)?;
        for eid in &self.eids {
            let euicc = self.pki.issue_euicc(&mut SystemEntropy, &eid.to_string())?;
            self.authority.associate(&Associate {
                eid: *eid,
                euicc_certificate: euicc.certificate.der().to_vec(),
                eum_certificates: vec![HexOctets(self.pki.eum.certificate.der().to_vec())],
                association_token: Some(TOKEN),
            })?;
            self.euiccs.insert(*eid, euicc.key);
        }
        Ok(())
    }

    /// The key of an eUICC.
    pub(super) fn euicc_key(&self) -> anyhow::Result<&PrivateKey> {
        self.euiccs.values().next().context("there are no devices")
    }

    /// What an eUICC without profiles answers.
    pub(super) fn answer(&self, eid: Eid, signed: &SignedPackage) -> anyhow::Result<RecordResult> {
        let request = EuiccPackageRequest::from_der(&signed.package)?;
        let package = &request.euicc_package_signed;
        let data = Encoded::new(EuiccPackageResultDataSigned {
            eim_id: package.eim_id.clone(),
            counter_value: package.counter_value,
            eim_transaction_id: package.eim_transaction_id.clone(),
            seq_number: package.counter_value,
            euicc_result: vec![EuiccResultData::ListProfileInfoResult(
                ProfileInfoListResponse::ProfileInfoListOk(Vec::new()),
            )],
            extensions: Default::default(),
        });
        let mut token = Writer::new();
        token.value(0x84, &TOKEN);
        let key = self.euiccs.get(&eid).context("no such device")?;
        let signature = key.sign_parts(&[data.bytes(), &token.into_bytes()])?;
        let result = EuiccPackageResult::EuiccPackageResultSigned(EuiccPackageResultSigned {
            euicc_package_result_data_signed: data,
            euicc_sign_epr: Signature(signature.as_bytes().as_slice().into()),
            extensions: Default::default(),
        });
        Ok(RecordResult {
            eid,
            result: result.to_der(),
        })
    }

    /// Makes the record `entries` long and reads it: everything, then writes a snapshot, then reads it with that. Gives how
    /// many entries there were, and the times.
    pub(super) fn read_again(
        self,
        entries: u64,
    ) -> anyhow::Result<(u64, Duration, Duration, Duration)> {
        let sample = self.sample()?;
        let Self {
            authority,
            eids,
            signing_key,
            ledger_key,
            pki,
            folder,
            ..
        } = self;
        drop(authority);
        lengthen(folder.path(), &ledger_key, &eids, &sample, entries)?;
        for path in [".snapshot.0", ".snapshot.1"] {
            let _ = std::fs::remove_file(folder.path().join(path));
        }
        let begun = Instant::now();
        let authority = open(folder.path(), &ledger_key, &signing_key, &pki)?;
        let replay = begun.elapsed();
        let entries = authority.opened().replayed;
        let begun = Instant::now();
        authority.shut_down().map_err(anyhow::Error::msg)?;
        let snapshot = begun.elapsed();
        drop(authority);
        let begun = Instant::now();
        let authority = open(folder.path(), &ledger_key, &signing_key, &pki)?;
        let restore = begun.elapsed();
        anyhow::ensure!(
            authority.opened().replayed < entries,
            "the snapshot was not used: {:?}",
            authority.opened().unusable_snapshots
        );
        Ok((entries, replay, snapshot, restore))
    }

    /// The newest package on record.
    fn sample(&self) -> anyhow::Result<Ordered> {
        for number in (0..self.authority.entries()).rev() {
            let proven = self.authority.prove(number)?.entry.entry;
            let entry = Entry::decode(proven.as_bytes())?;
            if let Some(Event::PackageOrdered(ordered)) = Event::of_entry(&entry)? {
                return Ok(*ordered);
            }
        }
        anyhow::bail!("no package was signed")
    }
}

/// Appends packages nobody signs, until the record is so long.
fn lengthen(
    folder: &Path,
    key: &str,
    eids: &[Eid],
    sample: &Ordered,
    entries: u64,
) -> anyhow::Result<()> {
    let files = FolderStore::exclusive(folder)?;
    let mut at = 0;
    let mut visit = |entry: &Entry| at = at.max(entry.at);
    let mut ledger = Ledger::open(files, SigningKey::from_text(key)?, None, &mut visit)?;
    let at = i64::try_from(at)?;
    let mut counter = i64::from(i32::MAX / 2);
    let mut turn = eids.iter().cycle();
    while ledger.size() < entries {
        let count = APPENDED.min(entries - ledger.size());
        let drafts = (0..count).map(|_| {
            counter += 1;
            let ordered = Ordered {
                eid: turn.next().copied(),
                account: Account::Read(format!("profiles:{counter}")),
                counter,
                ..sample.clone()
            };
            Event::PackageOrdered(Box::new(ordered)).to_draft(&Actor::Eim, at)
        });
        let drafts = drafts.collect::<Result<Vec<_>, _>>()?;
        ledger.append(drafts)?;
        ledger.publish()?;
    }
    Ok(())
}

fn open(
    folder: &Path,
    ledger_key: &str,
    signing_key: &PrivateKey,
    pki: &TestPki,
) -> anyhow::Result<Authority> {
    let parts = Parts {
        signers: vec![Arc::new(signing_key.clone())],
        trust: EuiccTrust {
            anchors: pki.trust_anchors()?,
            policy: ChainPolicy::default(),
        },
        reachability: Reachability {
            fqdn: EIM_ID.to_owned(),
            tls_trust: None,
        },
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        on_broken: Box::new(|why| tracing::error!(why, "the record cannot be written")),
        options: WriterOptions {
            // Snapshots are measured by themselves.
            snapshot_entries: u64::MAX,
            ..WriterOptions::default()
        },
    };
    let files = FolderStore::exclusive(folder)?;
    let key = SigningKey::from_text(ledger_key)?;
    Ok(Authority::open(files, key, None, parts)?)
}

fn founding(signing_key: &PrivateKey, now: i64) -> anyhow::Result<Founding> {
    let mut policy = PolicyDocument::insecure_without_approvals();
    policy.quotas.credential_per_hour = None;
    policy.quotas.fleet_per_hour = None;
    policy.quotas.all_per_day = None;
    policy.quotas.reads_per_device_hour = u32::MAX;
    let break_glass = ClientKey::generate("break-glass".parse()?, &mut SystemEntropy);
    Ok(Founding {
        installation: INSTALLATION.to_owned(),
        eim_id: EIM_ID.to_owned(),
        relying_party: RelyingParty {
            id: EIM_ID.to_owned(),
            origins: vec![ORIGIN.to_owned()],
        },
        break_glass: break_glass.public(),
        break_glass_expires_at: now + 24 * HOUR_MS,
        signing_key: signing_key.public_key().to_spki_der(),
        policy,
    })
}

fn proposal(
    owner: &mut SoftwarePasskey,
    action: Action,
    along: Option<Vec<Eid>>,
) -> anyhow::Result<Propose> {
    let now = SystemClock.millis();
    let mut nonce = [0; 16];
    SystemEntropy.fill_bytes(&mut nonce);
    let intent = Intent {
        v: 1,
        installation: INSTALLATION.to_owned(),
        nonce,
        created_at: now,
        expires_at: now + HOUR_MS,
        action,
        note: None,
    };
    let octets = intent.encode()?;
    let assertion = owner.assert(ORIGIN, IntentId::of(&octets).0.as_bytes())?;
    let credential = assertion
        .credential_id()
        .context("the passkey has no usable id")?;
    Ok(Propose {
        intent: String::from_utf8(octets)?,
        proof: Proof::Passkey {
            credential,
            assertion: Box::new(assertion),
        },
        devices: along.map(|eids| eids.iter().map(ToString::to_string).collect()),
        network: None,
        openings: Vec::new(),
    })
}
