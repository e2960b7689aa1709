//! The newest checkpoint of the authority, kept by the eIM.
//!
//! Whoever puts an old copy of the authority's disk in the place of the new one takes back what was decided since: a
//! revocation, a freeze, counters. The authority alone cannot notice that; somebody who remembers can.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use ledger::{Checkpoint, Hash, PublicKey, check_consistency};

use super::client::AuthorityClient;
use crate::proposing::replace_private;

/// File in the eIM's data folder: the public key of the ledger in the first line, then the note.
const FILE: &str = "authority-checkpoint";
/// Octets of that file at most.
const OCTETS_MAX: u64 = 64 << 10;

/// What the eIM remembers of the authority's ledger.
pub(crate) struct Remembered {
    path: PathBuf,
    known: Mutex<Option<(PublicKey, Checkpoint)>>,
}

impl Remembered {
    /// Reads what is remembered in the data folder of an eIM.
    pub(crate) fn load(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        let known = match path.exists() {
            true => Some(read(&path)?),
            false => None,
        };
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// The file, for an authority that is started here.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for the newest checkpoint and remembers it, if it continues the one that is known.
    ///
    /// # Errors
    /// When the authority does not answer, or its ledger is not the one that is known.
    pub(crate) async fn update(&self, authority: &AuthorityClient) -> anyhow::Result<()> {
        self.take(authority, false).await
    }

    /// The same with everything that was decided until now.
    pub(crate) async fn update_to_the_end(
        &self,
        authority: &AuthorityClient,
    ) -> anyhow::Result<()> {
        self.take(authority, true).await
    }

    async fn take(&self, authority: &AuthorityClient, publish: bool) -> anyhow::Result<()> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let since = known.as_ref().map_or(0, |(_, old)| old.size());
        let answer = authority
            .checkpoint(since, publish)
            .await
            .context("the authority was not asked for its checkpoint")?
            .context("the authority gives no checkpoint")?;
        let key: PublicKey = answer
            .key
            .trim()
            .parse()
            .context("the authority's key cannot be read")?;
        let new = Checkpoint::open(answer.note.as_bytes(), &key)
            .context("the authority's checkpoint cannot be read")?;
        if let Some((old_key, old)) = &known {
            check_continues(old_key, old, &key, &new, &answer.consistency)?;
            if old.size() == new.size() {
                return Ok(());
            }
        }
        let text = format!("{key}\n{}", answer.note);
        replace_private(&self.path, text.as_bytes())?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, new));
        Ok(())
    }
}

fn check_continues(
    old_key: &PublicKey,
    old: &Checkpoint,
    key: &PublicKey,
    new: &Checkpoint,
    consistency: &[String],
) -> anyhow::Result<()> {
    if old_key.to_string() != key.to_string() {
        bail!("the authority has another ledger key than before: this is another authority");
    }
    if new.size() < old.size() {
        bail!(
            "the authority's ledger was rolled back: it has {} entries, and had {}",
            new.size(),
            old.size()
        );
    }
    let hashes: Vec<Hash> = consistency
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .context("the authority's proof cannot be read")?;
    check_consistency(old, new, &hashes)
        .context("the authority's ledger was forked: what it shows now does not continue what it showed before")
}

/// Reads a remembered checkpoint.
pub(crate) fn read(path: &Path) -> anyhow::Result<(PublicKey, Checkpoint)> {
    let what = || {
        format!(
            "{} holds no checkpoint of the authority; if the file was damaged, find out by what before you remove it",
            path.display()
        )
    };
    let length = std::fs::metadata(path).with_context(what)?.len();
    anyhow::ensure!(length <= OCTETS_MAX, what());
    let text = std::fs::read_to_string(path).with_context(what)?;
    let (key, note) = text.split_once('\n').with_context(what)?;
    let key: PublicKey = key.parse().with_context(what)?;
    let checkpoint = Checkpoint::open(note.as_bytes(), &key).with_context(what)?;
    Ok((key, checkpoint))
}
