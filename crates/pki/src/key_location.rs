//! Where one signing key is, as a configuration says it.

use core::fmt;
use core::str::FromStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::curve::Curve;
use crate::key_store::{KeyStoreError, read_private_file};
use crate::pkcs11::{KeySelector, Pkcs11KeyStore, SESSIONS_DEFAULT, TokenName};
use crate::private_file::create_private_file;
use crate::private_key::{PrivateKey, Signer};
use crate::public_key::KeyError;
use crate::secret::{SecretLocation, SecretSource};

/// Where a signing key is. Unknown members are refused.
///
/// ```toml
/// # A PEM file of mode 0600, and where its passphrase is if it is encrypted.
/// [signing_key]
/// store = "file"
/// path = "keys/eim-signing.pem"
/// passphrase = { credential = "eim-passphrase" }
/// ```
///
/// ```toml
/// # A hardware module.
/// [signing_key]
/// store = "pkcs11"
/// module = "/usr/lib/softhsm/libsofthsm2.so"
/// token = "palisade"
/// key = "eim-signing"
/// pin = { file = "/etc/palisade/hsm.pin" }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "store", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyLocation {
    /// A PEM file that only its owner may access.
    File {
        /// The file.
        path: PathBuf,
        /// Where the passphrase of the file is. Without it the key must lie in the clear, with it, it must not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passphrase: Option<SecretLocation>,
    },
    /// A token behind a PKCS#11 module.
    Pkcs11 {
        /// The module's shared library.
        module: PathBuf,
        /// Label of the token.
        token: String,
        /// Serial number of the token, if several have that label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        /// Label of the key (CKA_LABEL).
        key: String,
        /// Id of the key (CKA_ID) in hexadecimal, if several have that label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<KeyId>,
        /// Where the user's PIN is.
        pin: SecretLocation,
        /// Sessions that may be open at a time; [`SESSIONS_DEFAULT`] if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sessions: Option<usize>,
    },
}

/// CKA_ID of a key: up to 255 octets, written in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Vec<u8>);

/// The text is not the id of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key id must be 1 to 255 octets in hexadecimal")]
pub struct KeyIdError;

impl KeyLocation {
    /// The same place, where relative paths are taken from `directory`, such as that of the configuration file.
    pub fn relative_to(&self, directory: &Path) -> Self {
        let mut there = self.clone();
        match &mut there {
            Self::File { path, passphrase } => {
                *path = directory.join(&path);
                *passphrase = passphrase.as_ref().map(|at| at.relative_to(directory));
            }
            Self::Pkcs11 { module, pin, .. } => {
                *module = directory.join(&module);
                *pin = pin.relative_to(directory);
            }
        }
        there
    }

    /// A signer for the key, which must be there.
    ///
    /// Reads files, and talks to the token.
    pub fn open(&self) -> Result<Arc<dyn Signer>, KeyStoreError> {
        match self {
            Self::File { path, passphrase } => {
                Ok(Arc::new(read_key_file(path, passphrase.as_ref())?))
            }
            Self::Pkcs11 {
                module,
                token,
                serial,
                key,
                id,
                pin,
                sessions,
            } => {
                let store = open_token(module, token, serial, pin, *sessions)?;
                let selector = KeySelector {
                    label: Some(key.clone()),
                    id: id.as_ref().map(|id| id.octets().to_vec()),
                };
                Ok(Arc::new(store.key(&selector)?))
            }
        }
    }

    /// Makes the key there and gives its signer. Never replaces a key.
    ///
    /// A key on a token is made by the token, with an id of its own: `id` is not looked at.
    pub fn generate(
        &self,
        curve: Curve,
        rng: &mut dyn CryptoRng,
    ) -> Result<Arc<dyn Signer>, KeyStoreError> {
        match self {
            Self::File { path, passphrase } => Ok(Arc::new(write_key_file(
                path,
                passphrase.as_ref(),
                curve,
                rng,
            )?)),
            Self::Pkcs11 {
                module,
                token,
                serial,
                key,
                id: _,
                pin,
                sessions,
            } => {
                let store = open_token(module, token, serial, pin, *sessions)?;
                Ok(Arc::new(store.generate_key(key, curve, rng)?))
            }
        }
    }
}

impl KeyId {
    /// The octets of CKA_ID.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.ok_or(KeyIdError)?;
        let (pairs, odd) = digits.as_chunks::<2>();
        if pairs.is_empty() || pairs.len() > 255 || !odd.is_empty() {
            return Err(KeyIdError);
        }
        Ok(Self(
            pairs.iter().map(|[high, low]| high << 4 | low).collect(),
        ))
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

fn open_token(
    module: &Path,
    label: &str,
    serial: &Option<String>,
    pin: &SecretLocation,
    sessions: Option<usize>,
) -> Result<Pkcs11KeyStore, KeyStoreError> {
    let token = TokenName {
        module: module.to_owned(),
        label: label.to_owned(),
        serial: serial.clone(),
    };
    let pin = Arc::new(pin.clone());
    let sessions = sessions.unwrap_or(SESSIONS_DEFAULT);
    Ok(Pkcs11KeyStore::open(&token, pin, sessions)?)
}

fn read_key_file(
    path: &Path,
    passphrase: Option<&SecretLocation>,
) -> Result<PrivateKey, KeyStoreError> {
    let pem = read_private_file(path)?;
    match passphrase {
        None => PrivateKey::from_pem(&pem),
        Some(passphrase) => {
            let passphrase = passphrase.secret().map_err(KeyStoreError::Passphrase)?;
            PrivateKey::from_encrypted_pem(&pem, passphrase.expose())
        }
    }
    .map_err(|source| unusable(path, source))
}

fn write_key_file(
    path: &Path,
    passphrase: Option<&SecretLocation>,
    curve: Curve,
    rng: &mut dyn CryptoRng,
) -> Result<PrivateKey, KeyStoreError> {
    let key = PrivateKey::generate(curve, rng).map_err(|source| unusable(path, source))?;
    let pem: Result<Zeroizing<String>, KeyError> = match passphrase {
        None => key.to_pkcs8_pem(),
        Some(passphrase) => {
            let passphrase = passphrase.secret().map_err(KeyStoreError::Passphrase)?;
            key.to_encrypted_pem(passphrase.expose(), rng)
        }
    };
    let pem = pem.map_err(|source| unusable(path, source))?;
    create_private_file(path, pem.as_bytes()).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => KeyStoreError::FileExists { path },
            _ => KeyStoreError::Io { path, source },
        }
    })?;
    Ok(key)
}

fn unusable(path: &Path, source: KeyError) -> KeyStoreError {
    KeyStoreError::KeyFile {
        path: path.to_owned(),
        source,
    }
}
