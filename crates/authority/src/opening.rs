//! Beginning an authority, and opening one: its state is what its ledger gives, or it does not run.

use std::io;

use intent::Digest;
use ledger::{Checkpoint, Entry, Ledger, Opening, SigningKey, Visitor};
use serde::Serialize;

use crate::event::{Actor, Event, EventError};
use crate::service::{Authority, LedgerFiles, Parts};
use crate::signers::SignerSet;
use crate::state::{Misfit, SNAPSHOT_VERSION, State};

/// Why an authority does not run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The ledger could not be opened, or does not add up.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] ledger::OpenError),
    /// The first entry could not be written.
    #[error("the first entry cannot be written")]
    Append(#[from] ledger::AppendError),
    /// An entry is not one that this program writes.
    #[error("the ledger holds what this program does not understand")]
    Entry(#[from] EventError),
    /// An entry contradicts those before it.
    #[error("the ledger contradicts itself")]
    Misfit(#[from] Misfit),
    /// There is no first entry.
    #[error("the ledger has no first entry: its making broke off. Make the installation anew")]
    Empty,
    /// The first entry is of another installation than the ledger's key.
    #[error(
        "the ledger's key is for {key:?}, the first entry for {entry:?}: one of them was exchanged"
    )]
    OtherInstallation {
        /// What the key says.
        key: String,
        /// What the entry says.
        entry: String,
    },
    /// A key that devices depend on is not at hand.
    #[error(
        "the signing key {spki_sha256}, in use since entry {entry}, is not available: give the authority access to it, or retire it first"
    )]
    SigningKeyMissing {
        /// SHA-256 of its SubjectPublicKeyInfo (DER).
        spki_sha256: Digest,
        /// The entry that added it.
        entry: u64,
    },
    /// The system gives no threads.
    #[error("the authority's threads cannot be started")]
    Thread(#[source] io::Error),
}

/// How an authority was opened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Opened {
    /// Entries that were there.
    pub entries: u64,
    /// Entries that were replayed; those before them are covered by a snapshot.
    pub replayed: u64,
    /// Entries that were durable and not published.
    pub journaled: u64,
    /// Whether the last commit was not whole. Nobody had been answered.
    pub torn: bool,
    /// Snapshots that could not be used, and why. Worth a warning.
    pub unusable_snapshots: Vec<String>,
}

/// Begins the ledger of an installation with its first entry. `at` in milliseconds since 1970.
pub fn create<F: LedgerFiles>(
    files: F,
    key: SigningKey,
    genesis: &Event,
    at: i64,
) -> Result<(), OpenError> {
    let draft = genesis.to_draft(&Actor::Authority, at)?;
    State::default().apply(0, at, genesis)?;
    let mut ledger = Ledger::create(files, key)?;
    ledger.append(vec![draft])?;
    ledger.publish()?;
    Ok(())
}

impl Authority {
    /// Opens an authority: verifies its ledger as a whole, replays what no snapshot covers, and goes to work. Runs on nothing
    /// that does not fit. `remembered` is a checkpoint seen before, kept somewhere else.
    pub fn open<F: LedgerFiles>(
        files: F,
        key: SigningKey,
        remembered: Option<&Checkpoint>,
        parts: Parts,
    ) -> Result<Self, OpenError> {
        let public = key.public().clone();
        let mut replay = Replay::default();
        let ledger = Ledger::open(files, key, remembered, &mut replay)?;
        let state = replay.end()?;
        let Some(installation) = &state.installation else {
            return Err(OpenError::Empty);
        };
        if installation.name != public.origin() {
            return Err(OpenError::OtherInstallation {
                key: public.origin().to_owned(),
                entry: installation.name.clone(),
            });
        }
        SignerSet::of(parts.signers.clone()).check(&state)?;
        let opened = Opened::of(ledger.opening());
        Self::start(ledger, public, state, opened, parts)
    }
}

impl Opened {
    fn of(opening: &Opening) -> Self {
        Self {
            entries: opening.entries,
            replayed: opening.visited,
            journaled: opening.journaled,
            torn: opening.torn,
            unusable_snapshots: opening.unusable.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Makes a state of entries.
#[derive(Default)]
pub struct Replay {
    state: State,
    failed: Option<OpenError>,
}

impl Replay {
    /// The state, if everything fits.
    pub fn end(self) -> Result<State, OpenError> {
        match self.failed {
            None => Ok(self.state),
            Some(error) => Err(error),
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), OpenError> {
        let Some(event) = Event::of_entry(entry)? else {
            return Ok(());
        };
        let at = i64::try_from(entry.at).unwrap_or(i64::MAX);
        Ok(self.state.apply(entry.number, at, &event)?)
    }
}

impl Visitor for Replay {
    fn restore(&mut self, _size: u64, version: u32, state: &[u8]) -> bool {
        if version != SNAPSHOT_VERSION {
            return false;
        }
        match serde_json::from_slice(state) {
            Ok(state) => {
                self.state = state;
                true
            }
            Err(_) => false,
        }
    }

    fn visit(&mut self, entry: &Entry) {
        // What follows the first fault is still counted and verified by the ledger, but means nothing here.
        if self.failed.is_none() {
            self.failed = self.take(entry).err();
        }
    }
}
