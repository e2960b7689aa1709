//! What lies where in the folder of an authority.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger::{PublicKey, SigningKey};

use crate::adapters::is_private_directory;
use crate::config::File;
use crate::proposing::read_private;

/// The folder of an authority.
#[derive(Debug, Clone)]
pub(crate) struct AuthorityFolder(PathBuf);

impl AuthorityFolder {
    /// The folder at this path.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder, if an authority was made in it and nobody else can look into it.
    pub(crate) fn existing(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let folder = Self(path.into());
        if !folder.public_key_file().is_file() {
            anyhow::bail!(
                "there is no authority in {path}; `palisade init` makes one (for a data folder of an earlier version, too)",
                path = folder.0.display()
            );
        }
        is_private_directory(&folder.0)?;
        Ok(folder)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its settings.
    pub(crate) fn settings(&self) -> anyhow::Result<File> {
        File::of_data_folder(&self.0)
    }

    /// The ledger, which a static file server may publish.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// Keys in files.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("authority.sock")
    }

    /// The key that signs checkpoints.
    pub(crate) fn ledger_key_file(&self) -> PathBuf {
        self.keys().join("ledger.key")
    }

    /// What verifies them. Copy it to wherever the record is to be checked.
    pub(crate) fn public_key_file(&self) -> PathBuf {
        self.0.join("ledger.pub")
    }

    /// Reads the key that signs checkpoints.
    pub(crate) fn ledger_key(&self) -> anyhow::Result<SigningKey> {
        let path = self.ledger_key_file();
        let text = read_private(&path)?;
        SigningKey::from_text(&text)
            .with_context(|| format!("{} holds no key of a ledger", path.display()))
    }

    /// Reads what verifies checkpoints.
    pub(crate) fn public_key(&self) -> anyhow::Result<PublicKey> {
        read_public_key(&self.public_key_file())
    }
}

/// Reads the public key of a ledger from a file.
pub(crate) fn read_public_key(path: &Path) -> anyhow::Result<PublicKey> {
    const OCTETS_MAX: u64 = 4096;
    let length = std::fs::metadata(path)
        .with_context(|| format!("{} cannot be read", path.display()))?
        .len();
    anyhow::ensure!(
        length <= OCTETS_MAX,
        "{} is too long for a public key",
        path.display()
    );
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    text.trim().parse().with_context(|| {
        format!(
            "{} holds no public key of a ledger (`ledger.pub` in the authority's folder)",
            path.display()
        )
    })
}
