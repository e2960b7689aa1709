//! Where long-lived private keys are kept: the trait, and the stores in files. [`crate::pkcs11`] is the one in hardware.

mod encrypted;

use core::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use self::encrypted::EncryptedFileKeyStore;
use crate::curve::Curve;
use crate::private_file::{self, ReadError, create_private_file};
use crate::private_key::{PrivateKey, Signer};
use crate::public_key::{KeyError, PublicKey};
use crate::secret::SecretError;

/// Keeps private keys and signs with them.
pub trait KeyStore: Send + Sync {
    /// A signer for the key with that name.
    fn signer(&self, name: &KeyName) -> Result<Arc<dyn Signer>, KeyStoreError>;

    /// Makes a key, keeps it under that name, and gives its public half. Never replaces a key.
    fn generate(
        &self,
        name: &KeyName,
        curve: Curve,
        rng: &mut dyn CryptoRng,
    ) -> Result<PublicKey, KeyStoreError>;

    /// Names of all keys, sorted.
    fn list(&self) -> Result<Vec<KeyName>, KeyStoreError>;
}

/// Name of a key: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit. Safe as a file name and as a PKCS#11 label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The text is not a key name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a key name: use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
)]
pub struct KeyNameError(String);

/// A key store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// No key of that name.
    #[error("there is no key {0:?}")]
    NotFound(KeyName),
    /// A key of that name is there already, and keys are never overwritten.
    #[error("key {0:?} exists already")]
    Exists(KeyName),
    /// Other users of the machine could read the file.
    #[error("{} has mode {mode:03o}; a key file must be for its owner alone (chmod 600)", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file, or too large for a key.
    #[error("{} is not a key file", path.display())]
    NotAKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no usable key, or no key could be made.
    #[error("key {name:?} cannot be used")]
    Key {
        /// The key.
        name: KeyName,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The file holds no usable key. As [`KeyStoreError::Key`], for a key that is known by its path.
    #[error("key in {} cannot be used", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A file is there already, and keys are never overwritten.
    #[error("{} exists already, and keys are never overwritten", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase of a key file could not be had.
    #[error("passphrase of the key could not be had")]
    Passphrase(#[source] SecretError),
    /// The file system failed.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The hardware module or another back end failed.
    #[error("key store failed")]
    Backend(#[source] Box<dyn core::error::Error + Send + Sync>),
}

/// Keys as PKCS#8 PEM files `<name>.pem` in one directory, in the clear. [`EncryptedFileKeyStore`] puts them under a passphrase.
///
/// Files are created with mode 0600, whole or not at all, and never overwritten. A file that group or others may access is
/// refused, as is a symbolic link.
#[derive(Clone, Debug)]
pub struct FileKeyStore {
    directory: PathBuf,
}

impl FileKeyStore {
    /// Uses a directory, which is created with mode 0700 if it is missing.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, KeyStoreError> {
        let directory = directory.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| KeyStoreError::Io {
                path: directory.clone(),
                source,
            })?;
        Ok(Self { directory })
    }

    /// Keeps a key that was made elsewhere.
    pub fn import(&self, name: &KeyName, key: &PrivateKey) -> Result<(), KeyStoreError> {
        self.write(name, key.to_pkcs8_pem())
    }

    /// Reads a key. Prefer [`KeyStore::signer`], which works for every kind of store.
    pub fn load(&self, name: &KeyName) -> Result<PrivateKey, KeyStoreError> {
        let pem = self.read(name)?;
        PrivateKey::from_pem(&pem).map_err(|source| KeyStoreError::Key {
            name: name.clone(),
            source,
        })
    }

    fn read(&self, name: &KeyName) -> Result<Zeroizing<String>, KeyStoreError> {
        read_private_file(&self.path(name)).map_err(|error| match error {
            KeyStoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                KeyStoreError::NotFound(name.clone())
            }
            other => other,
        })
    }

    fn write(
        &self,
        name: &KeyName,
        pem: Result<Zeroizing<String>, KeyError>,
    ) -> Result<(), KeyStoreError> {
        let pem = pem.map_err(|source| KeyStoreError::Key {
            name: name.clone(),
            source,
        })?;
        let path = self.path(name);
        create_private_file(&path, pem.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyStoreError::Exists(name.clone()),
            _ => KeyStoreError::Io { path, source },
        })
    }

    fn path(&self, name: &KeyName) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }
}

/// A new key that will be stored under `name`.
fn new_key(
    name: &KeyName,
    curve: Curve,
    rng: &mut dyn CryptoRng,
) -> Result<PrivateKey, KeyStoreError> {
    PrivateKey::generate(curve, rng).map_err(|source| KeyStoreError::Key {
        name: name.clone(),
        source,
    })
}

impl KeyStore for FileKeyStore {
    fn signer(&self, name: &KeyName) -> Result<Arc<dyn Signer>, KeyStoreError> {
        Ok(Arc::new(self.load(name)?))
    }

    fn generate(
        &self,
        name: &KeyName,
        curve: Curve,
        rng: &mut dyn CryptoRng,
    ) -> Result<PublicKey, KeyStoreError> {
        let key = new_key(name, curve, rng)?;
        self.import(name, &key)?;
        Ok(key.public_key().clone())
    }

    fn list(&self) -> Result<Vec<KeyName>, KeyStoreError> {
        let failed = |source| KeyStoreError::Io {
            path: self.directory.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let file_name = entry.map_err(failed)?.file_name();
            let stem = file_name
                .to_str()
                .and_then(|name| name.strip_suffix(".pem"));
            names.extend(stem.and_then(|stem| KeyName::new(stem).ok()));
        }
        names.sort();
        Ok(names)
    }
}

impl KeyName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, KeyNameError> {
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        match begins_well && name.len() <= 64 && name.chars().all(allowed) {
            true => Ok(Self(name.to_owned())),
            false => Err(KeyNameError(name.chars().take(64).collect())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(name: &str) -> Result<Self, KeyNameError> {
        Self::new(name)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Reads a file that holds a private key.
pub(crate) fn read_private_file(path: &Path) -> Result<Zeroizing<String>, KeyStoreError> {
    private_file::read(path, FILE_OCTETS_MAX, private_file::OTHERS).map_err(|error| {
        let path = path.to_owned();
        match error {
            ReadError::Permissions { mode } => KeyStoreError::Permissions { path, mode },
            ReadError::NotAFile | ReadError::TooLarge => KeyStoreError::NotAKeyFile { path },
            ReadError::Io(source) => KeyStoreError::Io { path, source },
        }
    })
}

const FILE_OCTETS_MAX: u64 = 16 * 1024;
