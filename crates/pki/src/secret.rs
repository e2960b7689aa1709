//! PINs and passphrases: where they come from. Never from arguments of a command, which every user of the machine can read.

use core::fmt;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::private_file::{self, ReadError};

/// A PIN or passphrase. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Gives a secret each time it is needed, so that it need not stay in memory. Closures are sources too: one may ask a person.
pub trait SecretSource: Send + Sync {
    /// The secret.
    fn secret(&self) -> Result<Secret, SecretError>;
}

impl<F: Fn() -> Result<Secret, SecretError> + Send + Sync> SecretSource for F {
    fn secret(&self) -> Result<Secret, SecretError> {
        self()
    }
}

/// Where a secret lies. In a configuration: `{ file = "/etc/palisade/hsm.pin" }` or `{ credential = "hsm-pin" }`.
///
/// Its text is the secret; one line end behind it is left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretLocation {
    /// A regular file that only its owner may access (mode 0600 or less).
    File(PathBuf),
    /// A credential that systemd passes to the service (`LoadCredential=` or `LoadCredentialEncrypted=`), by its name.
    Credential(String),
}

/// A secret could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Others could read the file.
    #[error("{} has mode {mode:03o}; a file with a secret must be for its owner alone (chmod 600)", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a symbolic link, or larger than a secret.
    #[error("{} is not a regular file of at most {SECRET_OCTETS_MAX} octets", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Nothing, several lines, or a NUL.
    #[error("{} does not hold a secret: one line of text is needed", path.display())]
    NotOneLine {
        /// The file.
        path: PathBuf,
    },
    /// The service was not started by systemd with credentials.
    #[error(
        "there is no credential {name:?}, since CREDENTIALS_DIRECTORY is not set: start the service by systemd with LoadCredential={name}:<file>, or give a file"
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// The name would lead out of the directory of credentials.
    #[error("{name:?} is not the name of a credential: it must be a file name")]
    CredentialName {
        /// The credential.
        name: String,
    },
    /// The file system failed, or the file is not UTF-8.
    #[error("cannot read the secret in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source of another kind failed.
    #[error("secret could not be had")]
    Other(#[source] Box<dyn core::error::Error + Send + Sync>),
}

impl SecretLocation {
    /// The same place, where a relative path is taken from `directory`.
    pub fn relative_to(&self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Credential(_) => self.clone(),
        }
    }
}

impl SecretSource for SecretLocation {
    fn secret(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => read(path, private_file::OTHERS),
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
                credential(name, directory.as_deref())
            }
        }
    }
}

impl Secret {
    /// Takes a text.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn credential(name: &str, directory: Option<&OsStr>) -> Result<Secret, SecretError> {
    let file_name = Path::new(name).file_name();
    if name.is_empty() || file_name != Some(OsStr::new(name)) {
        let name = name.to_owned();
        return Err(SecretError::CredentialName { name });
    }
    let Some(directory) = directory else {
        let name = name.to_owned();
        return Err(SecretError::NoCredentials { name });
    };
    // systemd lets the service's user in by an access control list, whose mask shows up as the group's permission to read.
    read(&Path::new(directory).join(name), 0o037)
}

fn read(path: &Path, forbidden: u32) -> Result<Secret, SecretError> {
    let text = private_file::read(path, SECRET_OCTETS_MAX, forbidden).map_err(|error| {
        let path = path.to_owned();
        match error {
            ReadError::Permissions { mode } => SecretError::Permissions { path, mode },
            ReadError::NotAFile | ReadError::TooLarge => SecretError::NotAFile { path },
            ReadError::Io(source) => SecretError::Io { path, source },
        }
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        let path = path.to_owned();
        return Err(SecretError::NotOneLine { path });
    }
    Ok(Secret(Zeroizing::new(line.to_owned())))
}

const SECRET_OCTETS_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(directory: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn one_line_is_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        for (content, secret) in [
            ("1234", "1234"),
            ("1234\n", "1234"),
            ("pass phrase ä\r\n", "pass phrase ä"),
            (" 1 ", " 1 "),
        ] {
            let path = write(directory.path(), "pin", content.as_bytes(), 0o600);
            let read = SecretLocation::File(path).secret().unwrap();
            assert_eq!(read.expose(), secret);
            assert!(!format!("{read:?}").contains(secret));
        }
        for content in ["", "\n", "a\nb", "a\n\n", "a\0"] {
            let path = write(directory.path(), "pin", content.as_bytes(), 0o600);
            let error = SecretLocation::File(path).secret().unwrap_err();
            assert!(matches!(error, SecretError::NotOneLine { .. }), "{error:?}");
        }
        let exact = "x".repeat(1024);
        let path = write(directory.path(), "pin", exact.as_bytes(), 0o600);
        assert_eq!(SecretLocation::File(path).secret().unwrap().expose(), exact);
        let path = write(directory.path(), "pin", &[b'x'; 1025], 0o600);
        let error = SecretLocation::File(path).secret().unwrap_err();
        assert!(matches!(error, SecretError::NotAFile { .. }), "{error:?}");
    }

    #[test]
    fn files_that_others_may_read_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644] {
            let path = write(directory.path(), "pin", b"1234", mode);
            let error = SecretLocation::File(path).secret().unwrap_err();
            assert!(
                matches!(error, SecretError::Permissions { mode: found, .. } if found == mode),
                "{error:?}"
            );
        }
        let path = write(directory.path(), "pin", b"1234", 0o400);
        SecretLocation::File(path).secret().unwrap();
    }

    #[test]
    fn credentials_come_from_the_directory_of_the_service() {
        let directory = tempfile::tempdir().unwrap();
        // As systemd leaves it for a user that is not root.
        write(directory.path(), "hsm-pin", b"1234\n", 0o440);
        let place = Some(directory.path().as_os_str());
        assert_eq!(credential("hsm-pin", place).unwrap().expose(), "1234");

        write(directory.path(), "open", b"1234", 0o444);
        let error = credential("open", place).unwrap_err();
        assert!(
            matches!(error, SecretError::Permissions { .. }),
            "{error:?}"
        );
        let error = credential("none", place).unwrap_err();
        assert!(matches!(error, SecretError::Io { .. }), "{error:?}");
        let error = credential("hsm-pin", None).unwrap_err();
        assert!(
            error.to_string().contains("LoadCredential=hsm-pin:<file>"),
            "{error}"
        );
        for name in ["", "..", ".", "a/b", "/etc/passwd", "../hsm-pin", "a/"] {
            let error = credential(name, place).unwrap_err();
            assert!(
                matches!(error, SecretError::CredentialName { .. }),
                "{name:?}: {error:?}"
            );
        }
    }
}
