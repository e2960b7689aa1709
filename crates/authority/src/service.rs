//! The authority as others hold it.
//!
//! Verbs block until what they decided survives a power cut, so call them from threads that may wait. What is expensive and
//! does not depend on the moment, such as verifying proofs and certificate chains and making signatures, happens on the
//! caller's thread; the writer checks what does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use intent::Command;
use intent::IntentId;
use intent::api::{
    Associate, BATCH_MAX, Decide, Enrol, IntentStatus, PrincipalInfo, Propose, RecordResult,
    Reference, Refusal, RefusalCode, SignIn, SignedIn, SignedPackage,
};
use ledger::{Checkpoint, Files, FolderStore, PublicKey, ReadFiles, WitnessKey};
use pki::{ChainPolicy, TrustAnchors};

use crate::environment::{Clock, Entropy};
use crate::package::Reachability;
use crate::parallel;
use crate::proof::{Ballot, Proposal};
use crate::queue::{Queue, Turned};
use crate::signers::SignerSet;
use crate::state::State;
use crate::verbs::associate::{Shown, associate};
use crate::verbs::decide::decide;
use crate::verbs::enrol::{Enrolment, enrol};
use crate::verbs::propose::propose;
use crate::verbs::result::{Claim, record};
use crate::verbs::sign::{ToSign, release, sign};
use crate::verbs::sign_in::{Attempt, sign_in};
use crate::writer::{Desk, Job, Verb, broken};

pub use crate::opening::{OpenError, Opened, create};
pub use crate::reading::{SigningKeyInfo, Status};
pub use crate::signers::Signers;
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
    pub(crate) reachability: RwLock<Reachability>,
    fault: Mutex<Option<String>>,
    on_broken: Box<dyn Fn(&str) + Send + Sync>,
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

    /// Somebody shows a passkey to look around.
    pub fn sign_in(&self, request: &SignIn) -> Result<SignedIn, Refusal> {
        let attempt = self.look(|state, _| Ok(Attempt::verify(state, request)))?;
        self.ask(move |desk| desk.decide_on_record(|cx| sign_in(cx, &attempt)))
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
        Ok(parallel::each(ordered, |one: Result<ToSign, Refusal>| {
            one.and_then(|one| signers.sign(&one))
        }))
    }

    /// Lets packages leave that carry no signature. One answer for each reference, in their order.
    pub fn release(
        &self,
        references: Vec<Reference>,
    ) -> Result<Vec<Result<Vec<Command>, Refusal>>, Refusal> {
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
        let heard = parallel::each(claims, |claim| claim.and_then(Claim::verify));
        self.ask(move |desk| {
            let record = |one: Result<_, Refusal>| {
                one.and_then(|heard| desk.decide(|cx| record(cx, &heard)))
            };
            Ok(heard.into_iter().map(record).collect())
        })
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

pub(crate) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // A writer that panicked has marked everything broken, and nobody acts on what is read then.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
