//! The one thread that changes the state and writes the ledger.
//!
//! It takes what waits, runs the verbs one after the other, each on the state that those before it left, appends all their
//! entries in one commit, and only then lets answers out. Signatures are made by whoever asked, from an answer that is durable
//! already, so that the next commit does not wait for them.
//!
//! When a commit fails, the state is ahead of the disk, and nobody knows what is on the disk. Everybody in the batch is told
//! that it is not known whether it happened, nothing is answered any more, and the process is told to end. Opening the ledger
//! again shows what is true.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use intent::api::{Refusal, RefusalCode};
use ledger::{AppendError, Checkpoint, Draft, Ledger, Publication, Published, Trail, WitnessKey};
use rsp::ids::Eid;

use crate::event::{Actor, Event};
use crate::queue::Found;
use crate::service::{LedgerFiles, Shared};
use crate::state::{SNAPSHOT_VERSION, State};
use crate::verbs::{Context, Decided};

/// How the writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Jobs in one commit.
    pub batch_max: usize,
    /// Octets of entries, roughly, after which no further job is taken into a commit.
    pub batch_octets: usize,
    /// Entries after which everything is published.
    pub publish_entries: u64,
    /// Time after which everything is published.
    pub publish_after: Duration,
    /// Entries after which the state is kept as a snapshot.
    pub snapshot_entries: u64,
    /// Entries after which that is done when shutting down.
    pub snapshot_at_end: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            queue_max: 4_096,
            batch_max: 256,
            batch_octets: 4 << 20,
            publish_entries: 4_096,
            publish_after: Duration::from_secs(1),
            snapshot_entries: 50_000,
            snapshot_at_end: 10_000,
        }
    }
}

/// Octets of the journal after which it is published whatever happens. The ledger would do it by itself at 64 MiB, in the
/// middle of a commit, and give entries other numbers than those announced.
const JOURNAL_OCTETS: usize = 40 << 20;
/// What a commit takes up at least.
const PAGE: usize = 4_096;
/// How far the clock may be behind the newest entry before nothing is signed any more: 10 minutes.
const BEHIND_MS: i64 = 600_000;

/// Something to do for the writer.
pub(crate) enum Job {
    /// Runs on the state.
    Verb(Box<dyn Verb>),
    /// What the history of a device needs besides files.
    Trail(Eid, Vec<u64>, Answer<Trail>),
    /// A checkpoint that covers this entry.
    Covering(u64, Answer<Checkpoint>),
    /// Publishes everything; gives the checkpoint.
    Publish(Answer<Checkpoint>),
    /// Adds a witness's signature to the checkpoint.
    Cosign(String, Box<WitnessKey>, Answer<()>),
}

/// Where an answer goes. Whoever asked may be gone.
pub(crate) type Answer<T> = mpsc::SyncSender<Result<T, Refusal>>;

/// What is decided on the state.
pub(crate) trait Verb: Send {
    /// Decides.
    fn run(&mut self, desk: &mut Desk<'_>);
    /// Answers, when everything that was decided is durable, or else with the refusal.
    fn finish(self: Box<Self>, durable: Result<(), &Refusal>);
}

/// Where verbs decide.
pub(crate) struct Desk<'a> {
    state: &'a mut State,
    shared: &'a Shared,
    signers: &'a std::collections::BTreeMap<intent::Digest, Vec<u8>>,
    now: i64,
    behind: bool,
    first: u64,
    drafts: Vec<Draft>,
    octets: usize,
    fault: Option<String>,
}

impl Desk<'_> {
    /// Runs a verb that may refuse.
    pub(crate) fn decide<T>(
        &mut self,
        verb: impl FnOnce(&Context<'_>) -> Result<Decided<T>, Refusal>,
    ) -> Result<T, Refusal> {
        let decided = verb(&self.context())?;
        self.take(decided)
    }

    /// The same for what signs or lets something leave.
    pub(crate) fn decide_signing<T>(
        &mut self,
        verb: impl FnOnce(&Context<'_>) -> Result<Decided<T>, Refusal>,
    ) -> Result<T, Refusal> {
        if self.behind {
            return Err(Refusal::new(
                RefusalCode::Unavailable,
                "the clock of the authority is more than 10 minutes behind its newest entry: set it right, nothing is signed before",
            ));
        }
        self.decide(verb)
    }

    /// Runs a verb whose refusals leave entries too.
    pub(crate) fn decide_on_record<T>(
        &mut self,
        verb: impl FnOnce(&Context<'_>) -> Decided<Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let decided = verb(&self.context());
        self.take(decided)?
    }

    fn context(&self) -> Context<'_> {
        Context {
            state: self.state,
            now: self.now,
            next: self.next(),
            signers: self.signers,
            entropy: self.shared.entropy.as_ref(),
        }
    }

    fn next(&self) -> u64 {
        self.first.saturating_add(self.drafts.len() as u64)
    }

    /// Makes events true. What does not fit here was decided wrongly, by a program error: nothing after it can be trusted.
    fn take<T>(&mut self, decided: Decided<T>) -> Result<T, Refusal> {
        for (actor, event) in &decided.events {
            if self.fault.is_some() {
                break;
            }
            if let Err(fault) = self.commit(actor, event) {
                self.fault = Some(fault);
            }
        }
        match &self.fault {
            None => Ok(decided.answer),
            Some(fault) => Err(broken(fault)),
        }
    }

    fn commit(&mut self, actor: &Actor, event: &Event) -> Result<(), String> {
        let draft = event
            .to_draft(actor, self.now)
            .map_err(|error| chain(&error))?;
        self.state
            .apply(self.next(), self.now, event)
            .map_err(|error| chain(&error))?;
        self.octets = self.octets.saturating_add(weight(event));
        self.drafts.push(draft);
        Ok(())
    }
}

/// Octets of an entry, roughly and not too few.
fn weight(event: &Event) -> usize {
    const MOST: usize = 1_024;
    match event {
        Event::IntentDevices { eids, .. } => MOST + eids.len() * 36,
        Event::IntentProposed(_) | Event::PolicySet { .. } | Event::Genesis(_) => 48 << 10,
        Event::IntentDecided(_) => 17 << 10,
        Event::PackageOrdered(ordered) => MOST + ordered.package.len(),
        Event::ResultRecorded(recorded) => MOST + recorded.result.len(),
        Event::DeviceAssociated(_) => 44 << 10,
        _ => MOST,
    }
}

/// The writer.
pub(crate) struct Writer<F> {
    pub(crate) ledger: Ledger<F>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: WriterOptions,
    publisher: Publisher,
    /// Octets in the journal since the last publication was begun.
    journal: usize,
    published_at: Instant,
    snapshot_at: u64,
}

/// The thread that writes tiles and checkpoints while the writer goes on.
struct Publisher {
    orders: mpsc::Sender<Publication>,
    done: mpsc::Receiver<std::io::Result<Published>>,
    is_busy: bool,
    thread: std::thread::JoinHandle<()>,
}

impl<F: LedgerFiles> Writer<F> {
    /// A writer of an open ledger.
    pub(crate) fn new(
        ledger: Ledger<F>,
        shared: Arc<Shared>,
        options: WriterOptions,
    ) -> std::io::Result<Self> {
        let (orders, taken) = mpsc::channel::<Publication>();
        let (sender, done) = mpsc::channel();
        let mut files = ledger.files().companion();
        let poked = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("authority-publisher".to_owned())
            .spawn(move || {
                while let Ok(publication) = taken.recv() {
                    let written = publication.write(&mut files);
                    if sender.send(written).is_err() {
                        return;
                    }
                    poked.queue.poke();
                }
            })?;
        let snapshot_at = ledger.opening().restored.unwrap_or(0);
        Ok(Self {
            ledger,
            shared,
            options,
            publisher: Publisher {
                orders,
                done,
                is_busy: false,
                thread,
            },
            journal: 0,
            published_at: Instant::now(),
            snapshot_at,
        })
    }

    /// Works until the line is closed and empty.
    pub(crate) fn run(mut self) {
        // Should this thread unwind, nobody may wait for ever.
        let _closer = BreakOnDrop(Arc::clone(&self.shared));
        let ended = self.work().and_then(|()| self.end());
        // The folder of the ledger is free for others when both threads are gone.
        let Publisher { orders, thread, .. } = self.publisher;
        drop((orders, self.ledger));
        let _ = thread.join();
        match ended {
            Ok(()) => self.shared.mark_ended(),
            Err(fault) => self.shared.mark_broken(&fault),
        }
    }

    fn work(&mut self) -> Result<(), String> {
        loop {
            let found = self.shared.queue.wait(self.options.publish_after);
            self.collect()?;
            match found {
                Found::End => return Ok(()),
                Found::Nothing => {}
                Found::Job(Job::Verb(verb)) => {
                    if let Some(other) = self.batch(verb)? {
                        self.serve(other)?;
                    }
                }
                Found::Job(job) => self.serve(job)?,
            }
            self.look_after()?;
        }
    }

    /// One commit for a verb and those that wait behind it. Gives back what is no verb and ended the batch.
    fn batch(&mut self, first: Box<dyn Verb>) -> Result<Option<Job>, String> {
        if self.journal >= JOURNAL_OCTETS {
            self.settle()?;
            self.publish()?;
        }
        let shared = Arc::clone(&self.shared);
        let size = self.ledger.size();
        let signers = shared.signers();
        let mut verbs = Vec::new();
        let mut other = None;
        let (drafts, octets, fault) = {
            let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
            let clock = shared.clock.now_ms();
            let mut desk = Desk {
                now: clock.max(state.newest_at),
                behind: clock.saturating_add(BEHIND_MS) < state.newest_at,
                state: &mut state,
                shared: &shared,
                signers: &signers.public,
                first: size,
                drafts: Vec::new(),
                octets: 0,
                fault: None,
            };
            let mut next = Some(first);
            while let Some(mut verb) = next.take() {
                verb.run(&mut desk);
                verbs.push(verb);
                let is_full = verbs.len() >= self.options.batch_max
                    || desk.octets >= self.options.batch_octets
                    || desk.fault.is_some();
                if !is_full {
                    match shared.queue.take() {
                        Some(Job::Verb(verb)) => next = Some(verb),
                        Some(job) => other = Some(job),
                        None => {}
                    }
                }
            }
            (desk.drafts, desk.octets, desk.fault)
        };
        let outcome = match fault {
            Some(fault) => Err(fault),
            None => self.append(drafts, octets, size),
        };
        match outcome {
            Ok(()) => {
                for verb in verbs {
                    verb.finish(Ok(()));
                }
                Ok(other)
            }
            Err(fault) => {
                // Before anybody is answered, so that whoever asks again is sent away.
                self.shared.mark_broken(&fault);
                let refusal = broken(&fault);
                for verb in verbs {
                    verb.finish(Err(&refusal));
                }
                if let Some(job) = other {
                    job.refuse(&refusal);
                }
                Err(fault)
            }
        }
    }

    fn append(&mut self, drafts: Vec<Draft>, octets: usize, first: u64) -> Result<(), String> {
        if drafts.is_empty() {
            return Ok(());
        }
        let count = drafts.len() as u64;
        let appended = self.ledger.append(drafts).map_err(|error| chain(&error))?;
        let begins = appended.entries.first().map(|entry| entry.number);
        if begins != Some(first) || self.ledger.size() != first + count {
            return Err(format!(
                "the entries announced from {first} on were written from {begins:?} on"
            ));
        }
        self.journal = self
            .journal
            .saturating_add(octets.next_multiple_of(PAGE) + PAGE);
        self.shared
            .durable
            .store(self.ledger.size(), Ordering::Release);
        Ok(())
    }

    /// What is due from time to time.
    fn look_after(&mut self) -> Result<(), String> {
        let size = self.ledger.size();
        if size.saturating_sub(self.snapshot_at) >= self.options.snapshot_entries {
            return self.snapshot();
        }
        let unpublished = self.ledger.unpublished();
        let is_due = unpublished >= self.options.publish_entries
            || self.published_at.elapsed() >= self.options.publish_after;
        if unpublished > 0 && is_due && !self.publisher.is_busy {
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), String> {
        let begun = self.ledger.begin().map_err(|error| chain(&error))?;
        self.journal = 0;
        self.published_at = Instant::now();
        if let Some(publication) = begun {
            self.publisher.is_busy = true;
            self.publisher
                .orders
                .send(publication)
                .map_err(|_| "the publisher is gone".to_owned())?;
        }
        Ok(())
    }

    /// Takes in a publication that has been written.
    fn collect(&mut self) -> Result<(), String> {
        match self.publisher.done.try_recv() {
            Ok(written) => self.finish(written),
            Err(_) => Ok(()),
        }
    }

    /// Waits for a publication that is being written.
    fn settle(&mut self) -> Result<(), String> {
        if !self.publisher.is_busy {
            return Ok(());
        }
        let written = self.publisher.done.recv();
        self.finish(written.map_err(|_| "the publisher is gone".to_owned())?)
    }

    fn finish(&mut self, written: std::io::Result<Published>) -> Result<(), String> {
        self.publisher.is_busy = false;
        let published =
            written.map_err(|error| format!("the ledger cannot be published: {error}"))?;
        self.ledger.finish(published);
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        self.settle()?;
        self.ledger.publish().map_err(|error| chain(&error))?;
        self.journal = 0;
        self.published_at = Instant::now();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), String> {
        self.settle()?;
        let octets = {
            let state = self.shared.state.read();
            let state = state.unwrap_or_else(PoisonError::into_inner);
            serde_json::to_vec(&*state).map_err(|error| chain(&error))?
        };
        self.snapshot_at = self.ledger.size();
        self.ledger
            .snapshot(SNAPSHOT_VERSION, &octets)
            .map_err(|error| chain(&error))?;
        self.journal = 0;
        self.published_at = Instant::now();
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.publish()?;
        let size = self.ledger.size();
        match size.saturating_sub(self.snapshot_at) >= self.options.snapshot_at_end {
            true => self.snapshot(),
            false => Ok(()),
        }
    }

    /// Does what is no verb. An error means that the ledger cannot be used any more.
    fn serve(&mut self, job: Job) -> Result<(), String> {
        let served = self.try_serve(job);
        if let Err(fault) = &served {
            self.shared.mark_broken(fault);
        }
        served
    }

    fn try_serve(&mut self, job: Job) -> Result<(), String> {
        match job {
            // Only `batch` runs verbs.
            Job::Verb(verb) => {
                if let Some(other) = self.batch(verb)? {
                    self.try_serve(other)?;
                }
            }
            Job::Trail(eid, context, answer) => {
                let newest = self.ledger.numbers(eid).iter().chain(&context).max();
                if newest.is_some_and(|newest| *newest >= self.ledger.checkpoint().size()) {
                    self.publish()?;
                }
                self.settle()?;
                let trail = self.ledger.trail(eid, &context);
                drop(answer.send(
                    trail.map_err(|error| Refusal::new(RefusalCode::Unknown, chain(&error))),
                ));
            }
            Job::Covering(number, answer) => {
                if number >= self.ledger.size() {
                    let size = self.ledger.size();
                    drop(answer.send(Err(Refusal::new(
                        RefusalCode::Unknown,
                        format!("there are only {size} entries"),
                    ))));
                    return Ok(());
                }
                self.settle()?;
                if number >= self.ledger.checkpoint().size() {
                    self.publish()?;
                }
                drop(answer.send(Ok(self.ledger.checkpoint().clone())));
            }
            Job::Publish(answer) => {
                self.publish()?;
                drop(answer.send(Ok(self.ledger.checkpoint().clone())));
            }
            Job::Cosign(line, witness, answer) => {
                self.settle()?;
                match self.ledger.cosign(&line, &witness) {
                    Ok(()) => drop(answer.send(Ok(()))),
                    Err(AppendError::Checkpoint(error)) => drop(answer.send(Err(Refusal::new(
                        RefusalCode::ProofInvalid,
                        error.to_string(),
                    )))),
                    Err(error) => return Err(chain(&error)),
                }
            }
        }
        Ok(())
    }
}

impl Job {
    /// Sends whoever asked away.
    pub(crate) fn refuse(self, refusal: &Refusal) {
        match self {
            Self::Verb(verb) => verb.finish(Err(refusal)),
            Self::Trail(_, _, answer) => drop(answer.send(Err(refusal.clone()))),
            Self::Covering(_, answer) | Self::Publish(answer) => {
                drop(answer.send(Err(refusal.clone())));
            }
            Self::Cosign(_, _, answer) => drop(answer.send(Err(refusal.clone()))),
        }
    }
}

/// What everybody is told when the record cannot be written.
pub(crate) fn broken(fault: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        format!("the authority cannot write its record and has stopped: {fault}"),
    )
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

struct BreakOnDrop(Arc<Shared>);

impl Drop for BreakOnDrop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.mark_broken("a program error, see the log");
        }
        self.0.turn_away();
    }
}
