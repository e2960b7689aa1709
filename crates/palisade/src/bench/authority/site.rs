//! An installation to measure: one owner, no approvals, devices whose certificates were verified.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use authority::event::{Account, Actor, Event, Ordered, RelyingParty};
use authority::package::Reachability;
use authority::service::{Authority, EuiccTrust, Parts, WriterOptions};
use intent::api::{Associate, Enrol, HexOctets, Propose, RecordResult, SignedPackage};
use intent::passkey::SoftwarePasskey;
use intent::{Action, DeviceSet, Intent, IntentId, PolicyDocument, Proof};
use ledger::{Entry, FolderStore, Hash, Ledger, verify};
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

use super::floors::Page;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::authority::{AuthorityFolder, Foundation, SigningKeySource, found};
use crate::bench::figures::{median, percentile, rate};

const INSTALLATION: &str = "bench.example.com/ledger";
const EIM_ID: &str = "bench.example.com";
const ORIGIN: &str = "https://bench.example.com";
const TOKEN: i64 = 1;
const HOUR_MS: i64 = 3_600_000;
/// Entries appended at once when a long record is made.
const APPENDED: u64 = 4_000;
/// Entries appended one by one, to see how long each takes.
const SINGLE: u32 = 300;

/// What is measured.
pub(super) struct Site {
    /// Absent while another process has the record.
    authority: Option<Authority>,
    pub(super) eids: Vec<Eid>,
    pub(super) signing_key: PrivateKey,
    pki: TestPki,
    euiccs: BTreeMap<Eid, PrivateKey>,
    pub(super) place: AuthorityFolder,
    /// Dropped last: the authority still writes into it.
    pub(super) folder: tempfile::TempDir,
}

/// What became of the record when it was made long and read again.
pub(super) struct ReadAgain {
    /// Entries that were read.
    pub(super) entries: u64,
    /// Microseconds until one more entry was durable: the median, the longest of a hundred, and the median of a bare page.
    pub(super) append: [f64; 3],
    /// Opening without a snapshot: every entry is verified, decoded and applied.
    pub(super) replay: Duration,
    /// Publishing and writing a snapshot.
    pub(super) snapshot: Duration,
    /// Opening with it: every entry is verified.
    pub(super) restore: Duration,
    /// Verifying from the files alone.
    pub(super) verify: Duration,
    /// Hashing entries of that size, a second.
    pub(super) hashes: f64,
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
        let place = AuthorityFolder::new(folder.path().join("authority"));
        let founded = found(
            &place,
            Foundation {
                installation: INSTALLATION.to_owned(),
                eim_id: EIM_ID.to_owned(),
                relying_party: RelyingParty {
                    id: EIM_ID.to_owned(),
                    origins: vec![ORIGIN.to_owned()],
                },
                policy: policy(),
                signing_key: SigningKeySource::Given(signing_key.clone()),
                break_glass: &folder.path().join("break-glass.key"),
                settings: format!(
                    "[authority]\nfqdn = \"{EIM_ID}\"\ntls_trust = \"ca\"\ntls_certificate_of_eim = \"tls-ca.der\"\n"
                ),
                files: vec![
                    (
                        "tls-ca.der".to_owned(),
                        pki.tls_ca.certificate.der().to_vec(),
                    ),
                    (
                        "trust/euicc/ci.der".to_owned(),
                        pki.ci.certificate.der().to_vec(),
                    ),
                ],
            },
        )?;
        let authority = open(&place, &signing_key, &pki)?;
        let eids = (0..devices)
            .map(|n| Eid::with_check_digits(&format!("8904903200000000000000{n:08}")))
            .collect::<Result<Vec<_>, _>>()?;
        let mut site = Self {
            authority: Some(authority),
            eids,
            signing_key,
            pki,
            euiccs: BTreeMap::new(),
            place,
            folder,
        };
        site.take_in(&founded.code)?;
        Ok(site)
    }

    /// The authority in this process.
    pub(super) fn authority(&self) -> anyhow::Result<&Authority> {
        self.authority.as_ref().context("it was closed")
    }

    /// Leaves the record to another process for a while.
    pub(super) fn lend<T>(
        &mut self,
        to: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.authority = None;
        let lent = to(self)?;
        self.authority = Some(open(&self.place, &self.signing_key, &self.pki)?);
        Ok(lent)
    }

    /// Enrols an owner, registers and associates all devices.
    fn take_in(&mut self, code: &str) -> anyhow::Result<()> {
        let mut owner = SoftwarePasskey::create(EIM_ID, "owner".parse()?, &mut SystemEntropy)?;
        let challenge = intent::api::enrolment_challenge(INSTALLATION, code, owner.name());
        let registration = owner.register(ORIGIN, challenge.as_bytes())?;
        self.authority()?.enrol(&Enrol {
            code: code.to_owned(),
            name: owner.name().clone(),
            registration: Box::new(registration),
        })?;
        let (devices, along) = DeviceSet::of(self.eids.clone())?;
        let fleet = "bench".parse()?;
        let action = Action::RegisterDevices { fleet, devices };
        let request = proposal(&mut owner, action, along)?;
        self.authority()?.propose(&request)?;
        for eid in &self.eids {
            let euicc = self.pki.issue_euicc(&mut SystemEntropy, &eid.to_string())?;
            self.authority()?.associate(&Associate {
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

    /// Makes the record `entries` long and reads it: everything, then writes a snapshot, then reads it with that.
    pub(super) fn read_again(self, entries: u64) -> anyhow::Result<ReadAgain> {
        let sample = self.sample()?;
        let Self {
            authority,
            eids,
            signing_key,
            pki,
            place,
            folder,
            ..
        } = self;
        drop(authority);
        let page = Page::new(folder.path())?;
        let append = lengthen(&place, page, &eids, &sample, entries)?;
        let path = place.ledger();
        for snapshot in [".snapshot.0", ".snapshot.1"] {
            let _ = std::fs::remove_file(path.join(snapshot));
        }
        let begun = Instant::now();
        let authority = open(&place, &signing_key, &pki)?;
        let replay = begun.elapsed();
        let entries = authority.opened().replayed;
        let begun = Instant::now();
        authority.shut_down().map_err(anyhow::Error::msg)?;
        let snapshot = begun.elapsed();
        drop(authority);
        let begun = Instant::now();
        let authority = open(&place, &signing_key, &pki)?;
        let restore = begun.elapsed();
        anyhow::ensure!(
            authority.opened().replayed < entries,
            "the snapshot was not used: {:?}",
            authority.opened().unusable_snapshots
        );
        drop(authority);
        let begun = Instant::now();
        let mut octets = 0;
        let report = verify(
            &FolderStore::reader(&path),
            &place.public_key()?,
            None,
            &mut |entry| octets = entry.encode().map_or(0, |entry| entry.len()),
        );
        let verified = begun.elapsed();
        anyhow::ensure!(report.is_good(), "{report}");
        Ok(ReadAgain {
            entries,
            append,
            replay,
            snapshot,
            restore,
            verify: verified,
            hashes: hashes(octets),
        })
    }

    /// The newest package on record.
    fn sample(&self) -> anyhow::Result<Ordered> {
        for number in (0..self.authority()?.entries()).rev() {
            let proven = self.authority()?.prove(number)?.entry.entry;
            let entry = Entry::decode(proven.as_bytes())?;
            if let Some(Event::PackageOrdered(ordered)) = Event::of_entry(&entry)? {
                return Ok(*ordered);
            }
        }
        anyhow::bail!("no package was signed")
    }
}

/// Entries of that many octets that are hashed in a second.
fn hashes(octets: usize) -> f64 {
    const COUNT: u64 = 100_000;
    let entry = vec![b'x'; octets];
    let begun = Instant::now();
    for _ in 0..COUNT {
        std::hint::black_box(Hash::of_leaf(std::hint::black_box(&entry)));
    }
    rate(COUNT, begun.elapsed())
}

/// Appends packages nobody signs: one by one, each beside a bare page, then many at a time until the record is so long.
fn lengthen(
    place: &AuthorityFolder,
    mut page: Page,
    eids: &[Eid],
    sample: &Ordered,
    entries: u64,
) -> anyhow::Result<[f64; 3]> {
    let files = FolderStore::exclusive(place.ledger())?;
    let mut at = 0;
    let mut visit = |entry: &Entry| at = at.max(entry.at);
    let mut ledger = Ledger::open(files, place.ledger_key()?, None, &mut visit)?;
    let at = i64::try_from(at)?;
    let mut counter = i64::from(i32::MAX / 2);
    let mut turn = eids.iter().cycle();
    let mut draft = || {
        counter += 1;
        let ordered = Ordered {
            eid: turn.next().copied(),
            account: Account::Read(format!("profiles:{counter}")),
            counter,
            ..sample.clone()
        };
        Event::PackageOrdered(Box::new(ordered)).to_draft(&Actor::Eim, at)
    };
    let (mut appended, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE {
        let one = vec![draft()?];
        let begun = Instant::now();
        ledger.append(one)?;
        appended.push(begun.elapsed().as_secs_f64() * 1e6);
        floor.push(page.write()?);
    }
    while ledger.size() < entries {
        let count = APPENDED.min(entries - ledger.size());
        let drafts = (0..count).map(|_| draft());
        ledger.append(drafts.collect::<Result<Vec<_>, _>>()?)?;
        ledger.publish()?;
    }
    ledger.publish()?;
    Ok([
        median(appended.clone()),
        percentile(appended, 99),
        median(floor),
    ])
}

fn open(
    place: &AuthorityFolder,
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
    let files = FolderStore::exclusive(place.ledger())?;
    Ok(Authority::open(files, place.ledger_key()?, None, parts)?)
}

/// Nothing is in the way of signing.
fn policy() -> PolicyDocument {
    let mut policy = PolicyDocument::insecure_without_approvals();
    policy.quotas.credential_per_hour = None;
    policy.quotas.fleet_per_hour = None;
    policy.quotas.all_per_day = None;
    policy.quotas.reads_per_device_hour = u32::MAX;
    policy
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
