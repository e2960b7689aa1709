//! Keys in a hardware security module, or in SoftHSM, by PKCS#11 (OASIS PKCS #11 v2.40 and v3).
//!
//! The module of the maker is a shared library that this process loads. It is found by its path, the token in it by its label,
//! and a key on the token by its label or its CKA_ID. A private key never leaves the token: it is made there, as sensitive and
//! not extractable, and a key that the token would hand out in the clear is not used. What is signed is hashed here (SHA-256)
//! and signed there (CKM_ECDSA), and `r || s` comes back, the form of SGP.22.
//!
//! Sessions are kept open, up to a number, and shared by all who sign. When one is lost, because the token was taken out, the
//! network went away, or somebody closed it, everything is built up again and the signature made once more: new sessions
//! first, then, as modules remember which tokens there were when they were started, the module itself. After that the token
//! must still hold the same key, which it proves by a signature. A module that another part of the process started is used,
//! and not stopped.
//!
//! Tokens count wrong PINs and lock themselves. So a PIN that was refused is not tried again until it is changed, and the last
//! try is left to a person.
//!
//! Calls into the module block and cannot be bounded in time: keep them off threads that serve sockets.

mod connection;
mod error;
mod module;
mod object;

use core::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;
use const_oid::ObjectIdentifier;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use der::Decode;
use rand_core::CryptoRng;

use self::connection::Connection;
pub use self::error::{ModuleFailure, Pkcs11Error};
use self::module::Module;
use crate::curve::Curve;
use crate::key_store::{KeyName, KeyStore, KeyStoreError};
use crate::private_key::{SignError, Signer};
use crate::public_key::{KeyError, PublicKey};
use crate::secret::SecretSource;
use crate::signature_value::Signature;

/// Which token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName {
    /// The module, a shared library, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label (CKA's 32 octets, without the blanks behind).
    pub label: String,
    /// The token's serial number, needed only if several tokens have that label.
    pub serial: Option<String>,
}

/// Which key on a token: by label, by id, or by both. An empty selector finds any key, as long as there is only one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySelector {
    /// CKA_LABEL.
    pub label: Option<String>,
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
}

/// The keys on one token.
///
/// As a [`KeyStore`] it finds keys whose label is their name. The PIN is asked for at each login and not kept.
#[derive(Clone)]
pub struct Pkcs11KeyStore {
    connection: Arc<Connection>,
}

/// A private key on a token.
#[derive(Clone)]
pub struct Pkcs11Signer {
    connection: Arc<Connection>,
    key: Arc<Key>,
}

/// What a token says about how it keeps a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyProtection {
    /// The value cannot be read in the clear (CKA_SENSITIVE).
    pub sensitive: bool,
    /// The value can be taken out, encrypted under another key if it is sensitive (CKA_EXTRACTABLE). Backups may need it.
    pub extractable: bool,
    /// It was never extractable and always sensitive, and was made on the token (CKA_NEVER_EXTRACTABLE, CKA_ALWAYS_SENSITIVE,
    /// CKA_LOCAL).
    pub always_inside: bool,
}

/// A key that was found, and proved to be what it seems to be.
struct Key {
    selector: KeySelector,
    public: PublicKey,
    protection: KeyProtection,
}

/// Sessions that are kept with one token, unless said otherwise.
///
/// SoftHSM locks itself, so one session is nearly as fast as several; a module in hardware or behind a network needs as many as
/// it has engines.
pub const SESSIONS_DEFAULT: usize = 4;

impl Pkcs11KeyStore {
    /// Loads the module, finds the token and logs in.
    ///
    /// At most `sessions_max` sessions are open at a time, at least one; whoever signs while all are in use waits.
    pub fn open(
        token: &TokenName,
        pin: Arc<dyn SecretSource>,
        sessions_max: usize,
    ) -> Result<Self, Pkcs11Error> {
        let module = Module::load(&token.module)?;
        let connection = Arc::new(Connection::new(module, token, pin, sessions_max));
        connection.run(|_| Ok(()))?;
        Ok(Self { connection })
    }

    /// A signer for one key.
    ///
    /// The token signs a fixed text, which no signed object of SGP.22, SGP.32 or X.509 can be, to prove that private and public
    /// key belong together.
    pub fn key(&self, selector: &KeySelector) -> Result<Pkcs11Signer, Pkcs11Error> {
        let key = self.connection.run(|member| {
            let found = object::find(&member.session, selector)?;
            let proof = sign_on(&member.session, found.handle, &proof_digest())?;
            let public = found
                .public
                .into_iter()
                .find(|public| public.verify(PROOF, &proof).is_ok())
                .ok_or_else(|| Pkcs11Error::KeysDiffer(selector.clone()))?;
            member.handles.insert(selector.clone(), found.handle);
            Ok(Key {
                selector: selector.clone(),
                public,
                protection: found.protection,
            })
        })?;
        Ok(Pkcs11Signer {
            connection: Arc::clone(&self.connection),
            key: Arc::new(key),
        })
    }

    /// Makes a key pair on the token: sensitive, not extractable, for signing only, kept when the power goes.
    ///
    /// Refused if there is a key with that label. Two who make the same key at the same moment may both succeed; the key is then
    /// refused as ambiguous from then on. `rng` makes the CKA_ID, the token the key.
    pub fn generate_key(
        &self,
        label: &str,
        curve: Curve,
        rng: &mut dyn CryptoRng,
    ) -> Result<Pkcs11Signer, Pkcs11Error> {
        let selector = KeySelector {
            label: Some(label.to_owned()),
            id: None,
        };
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        self.connection.run_writing(|session| {
            if object::exists(session, label)? {
                return Err(Pkcs11Error::KeyExists(label.to_owned()));
            }
            object::generate(session, label, &id, curve)
        })?;
        self.key(&selector)
    }

    /// How many sessions are open at the moment.
    pub fn sessions(&self) -> usize {
        self.connection.open_sessions()
    }

    /// Labels of all elliptic curve private keys of the token that are UTF-8, sorted.
    pub fn labels(&self) -> Result<Vec<String>, Pkcs11Error> {
        self.connection
            .run(|member| object::labels(&member.session))
    }
}

impl KeyStore for Pkcs11KeyStore {
    fn signer(&self, name: &KeyName) -> Result<Arc<dyn Signer>, KeyStoreError> {
        let selector = KeySelector {
            label: Some(name.as_str().to_owned()),
            id: None,
        };
        Ok(Arc::new(self.key(&selector).map_err(|e| named(name, e))?))
    }

    fn generate(
        &self,
        name: &KeyName,
        curve: Curve,
        rng: &mut dyn CryptoRng,
    ) -> Result<PublicKey, KeyStoreError> {
        self.generate_key(name.as_str(), curve, rng)
            .map(|signer| signer.public_key().clone())
            .map_err(|error| named(name, error))
    }

    fn list(&self) -> Result<Vec<KeyName>, KeyStoreError> {
        let labels = self.labels()?;
        Ok(labels
            .iter()
            .filter_map(|label| KeyName::new(label).ok())
            .collect())
    }
}

impl Pkcs11Signer {
    /// How the token keeps the key, by its own word.
    pub fn protection(&self) -> KeyProtection {
        self.key.protection
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Signature, SignError> {
        self.connection
            .run(|member| {
                let selector = &self.key.selector;
                let handle = match member.handles.get(selector) {
                    Some(handle) => *handle,
                    None => {
                        let handle = self.find_again(&member.session)?;
                        member.handles.insert(selector.clone(), handle);
                        handle
                    }
                };
                sign_on(&member.session, handle, digest)
            })
            .map_err(|error| SignError::Store(Box::new(error)))
    }

    /// The key in a new session. The token may be another one by now.
    fn find_again(&self, session: &Session) -> Result<ObjectHandle, Pkcs11Error> {
        let handle = object::find_private(session, &self.key.selector)?;
        let proof = sign_on(session, handle, &proof_digest())?;
        match self.key.public.verify(PROOF, &proof) {
            Ok(()) => Ok(handle),
            Err(_) => Err(Pkcs11Error::KeyChanged(self.key.selector.clone())),
        }
    }
}

impl Signer for Pkcs11Signer {
    fn public_key(&self) -> &PublicKey {
        &self.key.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        self.sign_parts(&[message])
    }

    fn sign_parts(&self, parts: &[&[u8]]) -> Result<Signature, SignError> {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in parts {
            hash.update(part);
        }
        self.sign_digest(hash.finish().as_ref())
    }
}

impl fmt::Debug for Pkcs11KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11KeyStore")
            .field("token", self.connection.token())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pkcs11Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Signer")
            .field("token", self.connection.token())
            .field("key", &self.key.selector)
            .field("public_key", &self.key.public)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for KeySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, &self.id) {
            (None, None) => f.write_str("any label"),
            (Some(label), None) => write!(f, "label {label:?}"),
            (label, Some(id)) => {
                if let Some(label) = label {
                    write!(f, "label {label:?} and ")?;
                }
                f.write_str("id ")?;
                id.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl From<Pkcs11Error> for KeyStoreError {
    fn from(error: Pkcs11Error) -> Self {
        Self::Backend(Box::new(error))
    }
}

fn named(name: &KeyName, error: Pkcs11Error) -> KeyStoreError {
    match error {
        Pkcs11Error::KeyNotFound(_) => KeyStoreError::NotFound(name.clone()),
        Pkcs11Error::KeyExists(_) => KeyStoreError::Exists(name.clone()),
        other => other.into(),
    }
}

/// CKM_ECDSA over a SHA-256 digest.
fn sign_on(session: &Session, key: ObjectHandle, digest: &[u8]) -> Result<Signature, Pkcs11Error> {
    let signature = session.sign(&Mechanism::Ecdsa, key, digest)?;
    match <[u8; 64]>::try_from(signature.as_slice()) {
        Ok(plain) => Ok(Signature::from_bytes(plain)),
        Err(_) => Err(Pkcs11Error::SignatureLength(signature.len())),
    }
}

fn proof_digest() -> Vec<u8> {
    digest::digest(&digest::SHA256, PROOF).as_ref().to_vec()
}

/// What a token signs to prove which key it holds. No DER object begins with this text, so the signature is good for nothing
/// else.
const PROOF: &[u8] = b"Palisade: which key is this?";

/// A curve's CKA_EC_PARAMS, or the curve of such.
fn curve_of(parameters: &[u8]) -> Result<Curve, KeyError> {
    let oid = ObjectIdentifier::from_der(parameters).map_err(|_| KeyError::CurveNotNamed)?;
    Curve::from_oid(&oid).ok_or(KeyError::UnsupportedCurve(oid))
}
