//! What can go wrong with a token, in words that say what to do.

use core::fmt;
use std::io;
use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

use super::KeySelector;
use crate::public_key::KeyError;
use crate::secret::SecretError;

/// A token, or a key on it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// No file at the path of the module.
    #[error(
        "there is no PKCS#11 module {}: install the one of your token (for SoftHSM: apt-get install softhsm2) and give its full path",
        path.display()
    )]
    ModuleNotFound {
        /// The configured path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may replace code that runs in this process.
    #[error("PKCS#11 module {} has mode {mode:03o}: only its owner may write it (chmod go-w)", path.display())]
    ModuleWritable {
        /// The module.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a PKCS#11 module, or one that does not start.
    #[error(
        "PKCS#11 module {} cannot be started: is it for this processor, and its own configuration readable?",
        path.display()
    )]
    ModuleUnusable {
        /// The module.
        path: PathBuf,
        /// Why.
        #[source]
        source: ModuleFailure,
    },
    /// No token with that label (and serial number) is there.
    #[error(
        "there is no token {label:?} in {}; there are {present:?}: insert it, initialise it, or correct the label",
        module.display()
    )]
    TokenNotFound {
        /// The module.
        module: PathBuf,
        /// The label asked for.
        label: String,
        /// Labels of the tokens that are there.
        present: Vec<String>,
    },
    /// Several tokens have that label.
    #[error("several tokens are called {label:?}: choose by serial number, one of {serials:?}")]
    TokenAmbiguous {
        /// The label.
        label: String,
        /// Serial numbers of those tokens.
        serials: Vec<String>,
    },
    /// The token was initialised, but its user has no PIN yet.
    #[error("token {0:?} has no user PIN yet: set one with the tool of its maker")]
    PinNotSet(String),
    /// The PIN could not be had.
    #[error("PIN of token {token:?} could not be had")]
    PinUnavailable {
        /// Label of the token.
        token: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// The token refused the PIN.
    #[error(
        "token {0:?} refused the PIN: correct it where it is kept. Tokens lock themselves after some wrong tries, so this PIN is not tried again"
    )]
    PinWrong(String),
    /// The token would lock itself at the next wrong PIN.
    #[error(
        "token {0:?} takes one more PIN before it locks itself, and that one is not tried here: log in once with the tool of its maker"
    )]
    PinLastTry(String),
    /// The token locked itself.
    #[error(
        "token {0:?} is locked after too many wrong PINs: its security officer must set a new PIN"
    )]
    PinLocked(String),
    /// The PIN must be changed first.
    #[error("PIN of token {0:?} has expired: change it with the tool of its maker")]
    PinExpired(String),
    /// No such key.
    #[error(
        "token has no elliptic curve private key with {0}: make one, or correct label and id. A key that is there but not seen belongs to another user of the token"
    )]
    KeyNotFound(KeySelector),
    /// Several such keys.
    #[error(
        "token has {count} private keys with {selector}: name one by its id as well, or remove the others"
    )]
    KeyAmbiguous {
        /// What was looked for.
        selector: KeySelector,
        /// How many fit.
        count: usize,
    },
    /// A key with that label is there, and keys are never replaced.
    #[error("token has a key with label {0:?} already")]
    KeyExists(String),
    /// The public key is not on the token.
    #[error("token has no public key with the id of the private key with {0}: put it there")]
    PublicKeyNotFound(KeySelector),
    /// The key is not one that this program can use.
    #[error("key with {selector} cannot be used")]
    KeyUnusable {
        /// The key.
        selector: KeySelector,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The token would give the private key away in the clear.
    #[error(
        "private key with {0} can be read from the token in the clear: make one that is sensitive (CKA_SENSITIVE) and not extractable"
    )]
    KeyReadable(KeySelector),
    /// CKA_SIGN is not set.
    #[error("private key with {0} is not for signing (CKA_SIGN)")]
    KeyNotForSigning(KeySelector),
    /// The token wants a PIN for each signature.
    #[error(
        "private key with {0} wants a PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not supported"
    )]
    PinForEachSignature(KeySelector),
    /// Public and private key with one id do not belong together.
    #[error("public and private key with {0} do not belong together: correct the ids on the token")]
    KeysDiffer(KeySelector),
    /// After a reconnection the token holds another key.
    #[error("key with {0} is another one than before: start again if it was replaced on purpose")]
    KeyChanged(KeySelector),
    /// All sessions were in use for too long.
    #[error("token {0:?} is busy: all sessions were in use for ten seconds")]
    Busy(String),
    /// A signature on a 256-bit curve has 64 octets.
    #[error("module returned a signature of {0} octets instead of 64")]
    SignatureLength(usize),
    /// A call of the module failed.
    #[error("PKCS#11 module failed")]
    Module(#[source] ModuleFailure),
}

/// What a module answered to a call, by the names of PKCS#11.
pub struct ModuleFailure(Error);

impl Pkcs11Error {
    /// Whether a new session may help.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Module(ModuleFailure(Error::Pkcs11(code, _))) => {
                SESSION_LOST.contains(code) || TOKEN_LOST.contains(code)
            }
            other => other.is_token_lost(),
        }
    }

    /// Whether starting the module anew may help, where a new session did not.
    pub(super) fn is_token_lost(&self) -> bool {
        match self {
            Self::TokenNotFound { .. } => true,
            Self::Module(ModuleFailure(Error::Pkcs11(code, _))) => TOKEN_LOST.contains(code),
            _ => false,
        }
    }

    /// Whether the session that it happened in may not be used again.
    pub(super) fn spoils_session(&self) -> bool {
        matches!(self, Self::Module(_) | Self::SignatureLength(_))
    }

    pub(super) fn is_out_of_sessions(&self) -> bool {
        matches!(
            self,
            Self::Module(ModuleFailure(Error::Pkcs11(RvError::SessionCount, _)))
        )
    }
}

/// What the answers to C_Login mean for the user of `token`.
pub(super) fn login_error(token: &str, error: Error) -> Pkcs11Error {
    let token = token.to_owned();
    match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            Pkcs11Error::PinWrong(token)
        }
        Error::Pkcs11(RvError::PinLocked, _) => Pkcs11Error::PinLocked(token),
        Error::Pkcs11(RvError::PinExpired, _) => Pkcs11Error::PinExpired(token),
        Error::Pkcs11(RvError::UserPinNotInitialized, _) => Pkcs11Error::PinNotSet(token),
        other => other.into(),
    }
}

/// Answers after which a new session is tried. Handles of objects die with the login, and an operation left half done blocks its
/// session.
const SESSION_LOST: &[RvError] = &[
    RvError::SessionHandleInvalid,
    RvError::SessionClosed,
    RvError::UserNotLoggedIn,
    RvError::KeyHandleInvalid,
    RvError::ObjectHandleInvalid,
    RvError::OperationActive,
    RvError::OperationNotInitialized,
    RvError::FunctionCanceled,
];

/// Answers after which the module is started anew if a new session is not enough. Some modules say GENERAL_ERROR or
/// FUNCTION_FAILED when their network is gone.
const TOKEN_LOST: &[RvError] = &[
    RvError::DeviceRemoved,
    RvError::DeviceError,
    RvError::TokenNotPresent,
    RvError::TokenNotRecognized,
    RvError::SlotIdInvalid,
    RvError::CryptokiNotInitialized,
    RvError::FunctionFailed,
    RvError::GeneralError,
];

impl From<Error> for Pkcs11Error {
    fn from(error: Error) -> Self {
        Self::Module(ModuleFailure(error))
    }
}

impl From<Error> for ModuleFailure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for ModuleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::Pkcs11(code, function) => {
                write!(f, "C_{function:?} answered CKR")?;
                for c in format!("{code:?}").chars() {
                    if c.is_ascii_uppercase() {
                        f.write_str("_")?;
                    }
                    write!(f, "{}", c.to_ascii_uppercase())?;
                }
                Ok(())
            }
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl fmt::Debug for ModuleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for ModuleFailure {}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn answer(code: RvError, function: Function) -> Error {
        Error::Pkcs11(code, function)
    }

    #[test]
    fn failures_have_the_names_of_the_standard() {
        for (code, function, text) in [
            (
                RvError::SessionHandleInvalid,
                Function::Sign,
                "C_Sign answered CKR_SESSION_HANDLE_INVALID",
            ),
            (
                RvError::CryptokiNotInitialized,
                Function::GetSlotList,
                "C_GetSlotList answered CKR_CRYPTOKI_NOT_INITIALIZED",
            ),
        ] {
            let error = Pkcs11Error::from(answer(code, function));
            let source = core::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), text);
            assert!(error.is_lost() && error.spoils_session());
        }
    }

    #[test]
    fn what_a_login_answers_is_told_apart() {
        let login = |code| login_error("eim", answer(code, Function::Login));
        assert!(matches!(
            login(RvError::PinIncorrect),
            Pkcs11Error::PinWrong(_)
        ));
        assert!(matches!(
            login(RvError::PinLenRange),
            Pkcs11Error::PinWrong(_)
        ));
        assert!(matches!(
            login(RvError::PinLocked),
            Pkcs11Error::PinLocked(_)
        ));
        assert!(matches!(
            login(RvError::PinExpired),
            Pkcs11Error::PinExpired(_)
        ));
        assert!(matches!(
            login(RvError::UserPinNotInitialized),
            Pkcs11Error::PinNotSet(_)
        ));
        for code in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::PinExpired,
        ] {
            assert!(
                !login(code).is_lost(),
                "{code:?}: trying again would count against the PIN"
            );
        }
        assert!(login(RvError::DeviceRemoved).is_lost());
        assert!(login(RvError::DeviceRemoved).is_token_lost());
        assert!(login(RvError::SessionClosed).is_lost());
        assert!(!login(RvError::SessionClosed).is_token_lost());
        assert!(!login(RvError::SessionCount).is_lost());
        assert!(login(RvError::SessionCount).is_out_of_sessions());
    }
}
