use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use euicc::{Card, FileNvm};
use ipa::{CardTransport, TransportError};

use super::{FolderLock, SystemEntropy};

/// A software eUICC as an IPA reaches it. Clones are handles to the same card.
#[derive(Clone)]
pub(crate) struct SoftCard {
    card: Arc<Mutex<Card>>,
    /// Held for a card in a folder.
    _lock: Option<Arc<FolderLock>>,
}

impl SoftCard {
    /// A card wherever its memory is.
    pub(crate) fn new(card: Card) -> Self {
        Self {
            card: Arc::new(Mutex::new(card)),
            _lock: None,
        }
    }

    /// Powers on the card in a folder, for this process alone.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(
            folder.is_dir(),
            "there is no card in {folder}; make one with `palisade euicc new --directory {folder}`",
            folder = folder.display()
        );
        let lock = FolderLock::take(folder)?;
        let nvm = FileNvm::open(folder).context("the card's memory cannot be used")?;
        let card = Card::power_on(nvm)
            .with_context(|| format!("the card in {} does not work", folder.display()))?;
        Ok(Self {
            _lock: Some(Arc::new(lock)),
            ..Self::new(card)
        })
    }

    /// The card itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Card> {
        // Whatever panicked, the card keeps its state in its memory.
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CardTransport for SoftCard {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        let answer = self.lock().transmit(command, &mut SystemEntropy);
        match answer.is_empty() {
            true => Err(TransportError::new("the card is mute")),
            false => Ok(answer),
        }
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.lock().reset().map_err(|error| TransportError {
            message: "the card cannot be reset".to_owned(),
            source: Some(Box::new(error)),
        })
    }
}
