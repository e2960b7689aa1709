//! Keys in files, under a passphrase.

use core::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::{FileKeyStore, KeyName, KeyStore, KeyStoreError, new_key};
use crate::curve::Curve;
use crate::private_key::{PrivateKey, Signer};
use crate::public_key::PublicKey;
use crate::secret::{Secret, SecretSource};

/// Keys as encrypted PKCS#8 PEM files `<name>.pem` in one directory, all under one passphrase.
///
/// As [`FileKeyStore`] in everything else. A key that lies in the clear is refused. The passphrase is asked for each time a key
/// is read or written; deriving the key takes some hundred milliseconds on purpose.
#[derive(Clone)]
pub struct EncryptedFileKeyStore {
    files: FileKeyStore,
    passphrase: Arc<dyn SecretSource>,
}

impl EncryptedFileKeyStore {
    /// Uses a directory, which is created with mode 0700 if it is missing.
    pub fn open(
        directory: impl Into<PathBuf>,
        passphrase: Arc<dyn SecretSource>,
    ) -> Result<Self, KeyStoreError> {
        let files = FileKeyStore::open(directory)?;
        Ok(Self { files, passphrase })
    }

    /// Keeps a key that was made elsewhere. `rng` makes the salt.
    pub fn import(
        &self,
        name: &KeyName,
        key: &PrivateKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), KeyStoreError> {
        let passphrase = self.passphrase()?;
        self.files
            .write(name, key.to_encrypted_pem(passphrase.expose(), rng))
    }

    /// Reads a key. Prefer [`KeyStore::signer`], which works for every kind of store.
    pub fn load(&self, name: &KeyName) -> Result<PrivateKey, KeyStoreError> {
        let pem = self.files.read(name)?;
        let passphrase = self.passphrase()?;
        PrivateKey::from_encrypted_pem(&pem, passphrase.expose()).map_err(|source| {
            KeyStoreError::Key {
                name: name.clone(),
                source,
            }
        })
    }

    fn passphrase(&self) -> Result<Secret, KeyStoreError> {
        self.passphrase.secret().map_err(KeyStoreError::Passphrase)
    }
}

impl KeyStore for EncryptedFileKeyStore {
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
        self.import(name, &key, rng)?;
        Ok(key.public_key().clone())
    }

    fn list(&self) -> Result<Vec<KeyName>, KeyStoreError> {
        self.files.list()
    }
}

impl fmt::Debug for EncryptedFileKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedFileKeyStore")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
