//! The authority as others hold it.
//!
//! Verbs block until what they decided survives a power cut, so call them from threads that may wait. What is expensive and
//! does not depend on the moment, such as verifying proofs and certificate chains and making signatures, happens on the
//! caller's thread; the [writer](crate::writer) checks what does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use intent::action::FreezeScope;
use intent::api::{
    Associate, BATCH_MAX, Decide, Enrol, Feed, IntentState, IntentStatus, PrincipalInfo, Propose,
    RecordResult, Reference, Refusal, RefusalCode, SignedPackage,
};
use intent::bearer::TokenRecord;
use intent::http_signature::HttpProof;
use intent::{Digest, IntentId, PolicyDocument, Principal};
use ledger::{Checkpoint, Files, FolderStore, PublicKey, ReadFiles, WitnessKey};
use pki::{ChainPolicy, Signer, TrustAnchors};
use rsp::sgp32::EimConfigurationData;
use serde::Serialize;

use crate::environment::{Clock, Entropy};
use crate::event::RelyingParty;
use crate::package::{self, Reachability};
use crate::proof::{self, Ballot, Proposal};
use crate::queue::{Queue, Turned};
use crate::state::State;
use crate::verbs::associate::{Shown, associate};
use crate::verbs::decide::decide;
use crate::verbs::enrol::{Enrolment, enrol};
use crate::verbs::propose::propose;
use crate::verbs::result::{Claim, record};
use crate::verbs::sign::{ToSign, release, sign};
use crate::writer::{Desk, Job, Verb, broken};

pub use crate::opening::{OpenError, Opened, create};
pub use crate::writer::WriterOptions;

/// Where a ledger lies.
pub trait LedgerFiles: Files + Send + 'static {
    /// Another handle of the same writer, for the thread that publishes.
    #[must_use]
    fn companion(&self) -> Self;
    /// A handle for reading.
    fn reader(&self) -> Box<dyn ReadFiles + Send + Sync>;
}

impl LedgerFiles for FolderStore {
    fn companion(&self) -> Self {
        Self::companion(self)
    }

    fn reader(&self) -> Box<dyn ReadFiles + Send + Sync> {
        Box::new(Self::reader(self.root()))
    }
}

/// Keys of the eIM that this process can sign with, in any order.
pub type Signers = Vec<Arc<dyn Signer>>;

/// Whom the authority believes about eUICCs.
#[derive(Debug, Clone, Default)]
pub struct EuiccTrust {
    /// CIs and their CRLs.
    pub anchors: TrustAnchors,
    /// Deviations from the strict rules.
    pub policy: ChainPolicy,
}

/// What an authority is made of, besides its ledger.
pub struct Parts {
    /// Keys of the eIM.
    pub signers: Signers,
    /// Whom it believes about eUICCs.
    pub trust: EuiccTrust,
    /// How devices reach the eIM.
    pub reachability: Reachability,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Called once, when the record cannot be written any more: the process has to end, and say that it failed.
    pub on_broken: Box<dyn Fn(&str) + Send + Sync>,
    /// How the writer works.
    pub options: WriterOptions,
}

/// An authority that runs.
pub struct Authority {
    pub(crate) shared: Arc<Shared>,
    pub(crate) files: Box<dyn ReadFiles + Send + Sync>,
    key: PublicKey,
    opened: Opened,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer and everybody else look at.
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) queue: Queue<Job>,
    /// Entries that survive a power cut.
    pub(crate) durable: AtomicU64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    signers: RwLock<Arc<SignerSet>>,
    trust: RwLock<Arc<EuiccTrust>>,
    reachability: RwLock<Reachability>,
    fault: Mutex<Option<String>>,
    on_broken: Box<dyn Fn(&str) + Send + Sync>,
}

/// Keys by the SHA-256 of their SubjectPublicKeyInfo.
pub(crate) struct SignerSet {
    pub(crate) public: BTreeMap<Digest, Vec<u8>>,
    keys: BTreeMap<Digest, Arc<dyn Signer>>,
}

/// How an authority stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The installation.
    pub installation: String,
    /// Durable entries.
    pub entries: u64,
    /// Devices under management.
    pub devices: u64,
    /// How many of them are associated.
    pub associated: u64,
    /// Intents that are not forgotten.
    pub intents: u64,
    /// What is frozen.
    pub freezes: Vec<FreezeScope>,
    /// Version of the policy.
    pub policy_version: u64,
    /// Milliseconds since 1970 of the newest entry.
    pub newest_at: i64,
    /// What the clock says. Milliseconds since 1970.
    pub clock: i64,
    /// Why nothing is answered any more, if that is so.
    pub fault: Option<String>,
}

/// A key of the eIM, as lists show it.
#[derive(Debug, Clone, Serialize)]
pub struct SigningKeyInfo {
    /// SHA-256 of its SubjectPublicKeyInfo (DER).
    pub spki_sha256: Digest,
    /// SubjectPublicKeyInfo (DER), in hexadecimal.
    #[serde(with = "hex::serde")]
    pub spki: Vec<u8>,
    /// The entry that added it; none for a key that the process holds and nobody added.
    pub entry: Option<u64>,
    /// Whether eUICCs are associated with it.
    pub for_association: bool,
    /// Devices that would be left without a key if it was retired.
    pub devices: u64,
}

impl Authority {
    /// Puts an authority to work on what [`crate::opening`] read.
    pub(crate) fn start<F: LedgerFiles>(
        ledger: ledger::Ledger<F>,
        key: PublicKey,
        state: State,
        opened: Opened,
        parts: Parts,
    ) -> Result<Self, OpenError> {
        let files = ledger.files().reader();
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            queue: Queue::new(parts.options.queue_max),
            durable: AtomicU64::new(ledger.size()),
            clock: parts.clock,
            entropy: parts.entropy,
            signers: RwLock::new(Arc::new(SignerSet::of(parts.signers))),
            trust: RwLock::new(Arc::new(parts.trust)),
            reachability: RwLock::new(parts.reachability),
            fault: Mutex::new(None),
            on_broken: parts.on_broken,
        });
        let writer = crate::writer::Writer::new(ledger, Arc::clone(&shared), parts.options)
            .map_err(OpenError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("authority-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self {
            shared,
            files,
            key,
            opened,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Somebody asks for something.
    pub fn propose(&self, request: &Propose) -> Result<IntentStatus, Refusal> {
        let proposal = self.look(|state, now| Proposal::verify(state, now, request))?;
        self.ask(move |desk| desk.decide_on_record(|cx| propose(cx, &proposal)))
    }

    /// Somebody approves or rejects.
    pub fn decide(&self, id: IntentId, request: &Decide) -> Result<IntentStatus, Refusal> {
        let ballot = self.look(|state, _| Ballot::verify(state, id, request))?;
        self.ask(move |desk| desk.decide_on_record(|cx| decide(cx, &ballot)))
    }

    /// Somebody shows a code and a new passkey.
    pub fn enrol(&self, request: &Enrol) -> Result<PrincipalInfo, Refusal> {
        let enrolment = self.look(|state, now| Enrolment::verify(state, now, request))?;
        self.ask(move |desk| desk.decide(|cx| enrol(cx, &enrolment)))
    }

    /// Signs packages. One answer for each reference, in their order.
    pub fn sign(
        &self,
        references: Vec<Reference>,
    ) -> Result<Vec<Result<SignedPackage, Refusal>>, Refusal> {
        check_batch(references.len())?;
        let ordered = self.ask(move |desk| {
            let decide = |one: &Reference| desk.decide_signing(|cx| sign(cx, one));
            Ok(references.iter().map(decide).collect::<Vec<_>>())
        })?;
        // From here on the entries are durable.
        let signers = self.shared.signers();
        let make = |one: Result<ToSign, Refusal>| one.and_then(|one| signers.sign(&one));
        Ok(ordered.into_iter().map(make).collect())
    }

    /// Lets packages leave that carry no signature. One answer for each reference, in their order.
    pub fn release(&self, references: Vec<Reference>) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        check_batch(references.len())?;
        self.ask(move |desk| {
            let decide = |one: &Reference| desk.decide_signing(|cx| release(cx, one));
            Ok(references.iter().map(decide).collect())
        })
    }

    /// Takes what a device told about its eUICC.
    pub fn associate(&self, request: &Associate) -> Result<(), Refusal> {
        let trust = Arc::clone(&read(&self.shared.trust));
        let shown = Shown::verify(&trust.anchors, trust.policy, self.now(), request)?;
        self.ask(move |desk| desk.decide(|cx| associate(cx, &shown)))
    }

    /// Takes signed answers of eUICCs. One answer for each, in their order.
    pub fn record_results(
        &self,
        results: &[RecordResult],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        check_batch(results.len())?;
        let claims: Vec<_> = self.look(|state, _| {
            Ok(results
                .iter()
                .map(|one| Claim::prepare(state, one))
                .collect())
        })?;
        // Not while the state is held: this is the expensive part.
        let heard: Vec<_> = claims
            .into_iter()
            .map(|claim| claim.and_then(Claim::verify))
            .collect();
        self.ask(move |desk| {
            let record = |one: Result<_, Refusal>| {
                one.and_then(|heard| desk.decide(|cx| record(cx, &heard)))
            };
            Ok(heard.into_iter().map(record).collect())
        })
    }

    /// What the eIM has to know of what happened behind entry `after`.
    pub fn feed(&self, after: u64) -> Result<Feed, Refusal> {
        let durable = self.entries();
        self.look(|state, now| Ok(state.feed(after, durable, now)))
    }

    /// Everybody.
    pub fn principals(&self) -> Result<Vec<PrincipalInfo>, Refusal> {
        self.look(|state, _| Ok(state.principals()))
    }

    /// How an intent stands.
    pub fn intent(&self, id: &IntentId) -> Result<IntentStatus, Refusal> {
        self.look(|state, now| state.status(id, now))
    }

    /// Intents, the newest first.
    pub fn intents(
        &self,
        state: Option<IntentState>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<IntentStatus>, Refusal> {
        self.look(|all, now| Ok(all.page(state, before, limit, now)))
    }

    /// The policy.
    pub fn policy(&self) -> Result<PolicyDocument, Refusal> {
        self.look(|state, _| Ok(state.policy.clone()))
    }

    /// What is frozen.
    pub fn freezes(&self) -> Result<Vec<FreezeScope>, Refusal> {
        self.look(|state, _| Ok(state.freezes.iter().cloned().collect()))
    }

    /// Keys of the eIM: those in use, and those that this process holds and nobody has added.
    pub fn signing_keys(&self) -> Result<Vec<SigningKeyInfo>, Refusal> {
        let signers = self.shared.signers();
        self.look(|state, _| {
            let first = state.keys.for_association().map(|(digest, _)| *digest);
            let used = state.keys.iter().map(|(digest, key)| SigningKeyInfo {
                spki_sha256: *digest,
                spki: key.spki.clone(),
                entry: Some(key.number),
                for_association: first == Some(*digest),
                devices: state.devices.depending_on(digest),
            });
            let held = signers
                .public
                .iter()
                .filter(|(digest, _)| !state.keys.is_usable(digest))
                .map(|(digest, spki)| SigningKeyInfo {
                    spki_sha256: *digest,
                    spki: spki.clone(),
                    entry: None,
                    for_association: false,
                    devices: 0,
                });
            Ok(used.chain(held).collect())
        })
    }

    /// What an eUICC has to store to accept packages of this eIM.
    pub fn configuration(&self) -> Result<EimConfigurationData, Refusal> {
        let reachability = read(&self.shared.reachability).clone();
        self.look(|state, _| {
            let (_, key) = state.keys.for_association().ok_or_else(|| {
                Refusal::new(RefusalCode::Unavailable, "the eIM has no signing key")
            })?;
            let eim_id =
                state.installation()?.eim_id.parse().map_err(|_| {
                    Refusal::new(RefusalCode::Malformed, "the eIM's name is no eimId")
                })?;
            Ok(package::configuration(eim_id, &reachability, &key.spki))
        })
    }

    /// The name of the eIM (eimId).
    pub fn eim_id(&self) -> Result<String, Refusal> {
        self.look(|state, _| Ok(state.installation()?.eim_id.clone()))
    }

    /// The installation's name and what passkeys are bound to.
    pub fn parameters(&self) -> Result<(String, RelyingParty), Refusal> {
        self.look(|state, _| {
            let installation = state.installation()?;
            Ok((
                installation.name.clone(),
                installation.relying_party.clone(),
            ))
        })
    }

    /// Whose reading token it is.
    pub fn check_token(&self, token: &TokenRecord) -> Result<PrincipalInfo, Refusal> {
        self.look(|state, now| state.check_token(token, now))
    }

    /// Whose signed request to read it is.
    pub fn check_read(
        &self,
        proof: &HttpProof,
        body: &[u8],
        from: Option<std::net::IpAddr>,
    ) -> Result<Principal, Refusal> {
        self.look(|state, now| proof::verify_read(state, now, proof, body, from))
    }

    /// How everything stands.
    pub fn status(&self) -> Status {
        let clock = self.shared.clock.now_ms();
        let fault = self.fault();
        let entries = self.entries();
        let state = read(&self.shared.state);
        let (devices, associated) = state.devices.counts();
        Status {
            installation: state
                .installation
                .as_ref()
                .map(|it| it.name.clone())
                .unwrap_or_default(),
            entries,
            devices,
            associated,
            intents: state.intents.len() as u64,
            freezes: state.freezes.iter().cloned().collect(),
            policy_version: state.policy.version,
            newest_at: state.newest_at,
            clock,
            fault,
        }
    }

    /// Entries that survive a power cut.
    pub fn entries(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// How it was opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The key of the ledger.
    pub fn ledger_key(&self) -> &PublicKey {
        &self.key
    }

    /// Why nothing is answered any more, if the record could not be written.
    pub fn fault(&self) -> Option<String> {
        lock(&self.shared.fault).clone()
    }

    /// Whether the record could not be written. Then the process has to end.
    pub fn is_broken(&self) -> bool {
        lock(&self.shared.fault).is_some()
    }

    /// Replaces those who are believed about eUICCs. What was associated before stays so.
    pub fn set_trust(&self, trust: EuiccTrust) {
        *write(&self.shared.trust) = Arc::new(trust);
    }

    /// Replaces the keys that can be signed with. Refused, and nothing replaced, if one that is in use is not among them.
    pub fn set_signers(&self, signers: Signers) -> Result<(), OpenError> {
        let signers = SignerSet::of(signers);
        signers.check(&read(&self.shared.state))?;
        *write(&self.shared.signers) = Arc::new(signers);
        Ok(())
    }

    /// Replaces how devices reach the eIM.
    pub fn set_reachability(&self, reachability: Reachability) {
        *write(&self.shared.reachability) = reachability;
    }

    /// Publishes everything; gives the checkpoint.
    pub fn publish(&self) -> Result<Checkpoint, Refusal> {
        self.put(Job::Publish)
    }

    /// Adds a witness's signature (a line of a signed note) to the published checkpoint.
    pub fn cosign(&self, line: &str, witness: WitnessKey) -> Result<(), Refusal> {
        let line = line.to_owned();
        self.put(|answer| Job::Cosign(line, Box::new(witness), answer))
    }

    /// Does what waits, publishes, and ends. Also when dropped; here errors are told.
    pub fn shut_down(&self) -> Result<(), String> {
        self.shared.queue.close();
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            return Err("the writer ended with a program error".to_owned());
        }
        match self.fault() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// What the clock says, but never less than the time of the newest entry.
    pub(crate) fn now(&self) -> i64 {
        let newest_at = read(&self.shared.state).newest_at;
        self.shared.clock.now_ms().max(newest_at)
    }

    /// Reads the state. What it shows may not be durable yet.
    pub(crate) fn look<T>(
        &self,
        verb: impl FnOnce(&State, i64) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.check()?;
        let clock = self.shared.clock.now_ms();
        let state = read(&self.shared.state);
        verb(&state, clock.max(state.newest_at))
    }

    /// Has the writer run a verb, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.put(|answer| {
            Job::Verb(Box::new(Question {
                verb: Some(verb),
                decided: None,
                answer,
            }))
        })
    }

    /// Puts a job into the line, and waits for the answer.
    pub(crate) fn put<T>(
        &self,
        job: impl FnOnce(mpsc::SyncSender<Result<T, Refusal>>) -> Job,
    ) -> Result<T, Refusal> {
        self.check()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Err((_, turned)) = self.shared.queue.push(job(sender)) {
            self.check()?;
            return Err(Refusal::new(
                RefusalCode::Unavailable,
                match turned {
                    Turned::Full => "too many requests wait for the authority: try again",
                    Turned::Closed => "the authority is stopping",
                },
            ));
        }
        receiver.recv().unwrap_or_else(|_| {
            self.check()?;
            Err(Refusal::new(
                RefusalCode::Unavailable,
                "the authority is stopping",
            ))
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        match &*lock(&self.shared.fault) {
            Some(fault) => Err(broken(fault)),
            None => Ok(()),
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.shut_down();
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("entries", &self.entries())
            .field("fault", &self.fault())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn signers(&self) -> Arc<SignerSet> {
        Arc::clone(&read(&self.signers))
    }

    /// Nothing is answered any more.
    pub(crate) fn mark_broken(&self, why: &str) {
        {
            let mut fault = lock(&self.fault);
            if fault.is_some() {
                return;
            }
            *fault = Some(why.to_owned());
        }
        self.turn_away();
        (self.on_broken)(why);
    }

    pub(crate) fn mark_ended(&self) {
        self.turn_away();
    }

    /// Takes no more, and sends away who waits.
    pub(crate) fn turn_away(&self) {
        self.queue.close();
        let refusal = match &*lock(&self.fault) {
            Some(fault) => broken(fault),
            None => Refusal::new(RefusalCode::Unavailable, "the authority is stopping"),
        };
        while let Some(job) = self.queue.take() {
            job.refuse(&refusal);
        }
    }
}

impl SignerSet {
    pub(crate) fn of(signers: Signers) -> Self {
        let digest = |signer: &Arc<dyn Signer>| Digest::of(&[signer.public_key().spki_der()]);
        Self {
            public: signers
                .iter()
                .map(|signer| (digest(signer), signer.public_key().to_spki_der()))
                .collect(),
            keys: signers
                .into_iter()
                .map(|signer| (digest(&signer), signer))
                .collect(),
        }
    }

    /// Whether every key in use is there.
    pub(crate) fn check(&self, state: &State) -> Result<(), OpenError> {
        let mut used = state.keys.iter();
        match used.find(|(digest, _)| !self.keys.contains_key(digest)) {
            Some((digest, key)) => Err(OpenError::SigningKeyMissing {
                spki_sha256: *digest,
                entry: key.number,
            }),
            None => Ok(()),
        }
    }

    /// Makes the signature over a package whose entry is durable.
    fn sign(&self, order: &ToSign) -> Result<SignedPackage, Refusal> {
        let failed = |message: String| Refusal::new(RefusalCode::Unavailable, message);
        let signer = self.keys.get(&order.key).ok_or_else(|| {
            failed(format!(
                "the authority has no access to the signing key {}",
                order.key
            ))
        })?;
        let octets = package::from_base64(&order.package);
        let octets = octets.ok_or_else(|| failed("the recorded package is damaged".to_owned()))?;
        let signature = signer
            .sign_parts(&[&octets, &package::token_object(order.token)])
            .map_err(|error| failed(crate::writer::chain(&error)))?;
        let (package, transaction_id) = package::assemble(&octets, &signature)
            .ok_or_else(|| failed("the recorded package is damaged".to_owned()))?;
        Ok(SignedPackage {
            package,
            transaction_id,
            counter: order.counter,
            association_token: order.token,
            entry: order.number,
        })
    }
}

/// A verb and the way back to who asked.
struct Question<T, V> {
    verb: Option<V>,
    decided: Option<Result<T, Refusal>>,
    answer: mpsc::SyncSender<Result<T, Refusal>>,
}

impl<T, V> Verb for Question<T, V>
where
    T: Send,
    V: FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send,
{
    fn run(&mut self, desk: &mut Desk<'_>) {
        self.decided = self.verb.take().map(|verb| verb(desk));
    }

    fn finish(self: Box<Self>, durable: Result<(), &Refusal>) {
        let answer = match (durable, self.decided) {
            (Ok(()), Some(decided)) => decided,
            (Err(refusal), _) => Err(refusal.clone()),
            (Ok(()), None) => return,
        };
        drop(self.answer.send(answer));
    }
}

fn check_batch(count: usize) -> Result<(), Refusal> {
    match count > BATCH_MAX {
        true => Err(Refusal::new(
            RefusalCode::Malformed,
            format!("at most {BATCH_MAX} can be asked for at once"),
        )),
        false => Ok(()),
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // A writer that panicked has marked everything broken, and nobody acts on what is read then.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
