//! The eIM's signing keys: which ones there are, where new ones go, and how a place is written on the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use intent::Digest;
use pki::pkcs11::Pkcs11Error;
use pki::{Curve, KeyLocation, KeyStoreError, SecretLocation, Signer};

use super::folder::AuthorityFolder;
use crate::adapters::SystemEntropy;
use crate::config::File;

/// How the files of signing keys begin. All of them are loaded.
const PREFIX: &str = "eim-signing";

/// The keys that an authority can sign with.
pub(crate) struct SigningKeys {
    /// The configured one first.
    pub(crate) signers: Vec<Arc<dyn Signer>>,
}

/// A key that was just made.
#[derive(Debug)]
pub(crate) struct NewKey {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) id: Digest,
    /// Where it is.
    pub(crate) place: String,
    /// The setting that has to be added, if it is not found by itself.
    pub(crate) setting: Option<String>,
}

impl SigningKeys {
    /// Opens what is configured, and every other key file of the folder whose name begins with `eim-signing`.
    pub(crate) fn open(folder: &AuthorityFolder, file: &File) -> anyhow::Result<Self> {
        let section = &file.authority;
        let mut signers: Vec<Arc<dyn Signer>> = Vec::new();
        let mut paths = Vec::new();
        for location in std::iter::once(&section.key).chain(&section.further_keys) {
            let location = location.relative_to(folder.path());
            if let KeyLocation::File { path, .. } = &location {
                paths.push(path.clone());
            }
            let signer = location
                .open()
                .map_err(|error| unusable(&location, error))
                .context("authority.key or one of authority.further_keys; remove from there what was retired")?;
            signers.push(signer);
        }
        for path in key_files(folder)? {
            if paths.contains(&path) {
                continue;
            }
            let location = KeyLocation::File {
                path: path.clone(),
                passphrase: None,
            };
            signers.push(
                location
                    .open()
                    .map_err(|error| unusable(&location, error))?,
            );
        }
        Ok(Self { signers })
    }

    /// Makes a further key: in a file of the folder, or where `location` says.
    pub(crate) fn make(
        folder: &AuthorityFolder,
        location: Option<&KeyLocation>,
    ) -> anyhow::Result<NewKey> {
        let (location, setting) = match location {
            Some(location) => {
                let setting = toml::Value::try_from(location)
                    .map(|value| format!("further_keys = [{value}]"))
                    .context("the place cannot be written as a setting")?;
                (location.relative_to(folder.path()), Some(setting))
            }
            None => {
                let number = (2..1000)
                    .find(|number| {
                        !folder
                            .keys()
                            .join(format!("{PREFIX}-{number}.pem"))
                            .exists()
                    })
                    .context("there are too many keys already")?;
                let path = folder.keys().join(format!("{PREFIX}-{number}.pem"));
                let location = KeyLocation::File {
                    path,
                    passphrase: None,
                };
                (location, None)
            }
        };
        let signer = location
            .generate(Curve::P256, &mut SystemEntropy)
            .with_context(|| format!("no key can be made: {}", place(&location)))?;
        Ok(NewKey {
            id: key_id(&*signer),
            place: place(&location),
            setting,
        })
    }
}

/// SHA-256 of the SubjectPublicKeyInfo (DER): what intents call a signing key.
pub(crate) fn key_id(signer: &dyn Signer) -> Digest {
    Digest::of(&[&signer.public_key().to_spki_der()])
}

fn key_files(folder: &AuthorityFolder) -> anyhow::Result<Vec<PathBuf>> {
    let keys = folder.keys();
    let listing =
        std::fs::read_dir(&keys).with_context(|| format!("{} cannot be listed", keys.display()))?;
    let mut files = Vec::new();
    for entry in listing {
        let path = entry
            .with_context(|| format!("{} cannot be listed", keys.display()))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(".pem")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn place(location: &KeyLocation) -> String {
    match location {
        KeyLocation::File { path, .. } => path.display().to_string(),
        KeyLocation::Pkcs11 { token, key, .. } => format!("{key:?} on the token {token:?}"),
    }
}

/// The key at this place, which is made if it is not there yet; for a new authority. A place that is wrong is told from a key
/// that is missing, so that a wrong PIN is tried once only.
pub(crate) fn find_or_make(location: &KeyLocation) -> anyhow::Result<Arc<dyn Signer>> {
    let found = match location.open() {
        Ok(signer) => return Ok(signer),
        Err(error) => error,
    };
    let is_missing = match &found {
        KeyStoreError::Backend(source) => matches!(
            source.downcast_ref::<Pkcs11Error>(),
            Some(Pkcs11Error::KeyNotFound(_))
        ),
        _ => false,
    };
    match is_missing {
        true => location
            .generate(Curve::P256, &mut SystemEntropy)
            .map_err(|error| unusable(location, error)),
        false => Err(unusable(location, found)),
    }
}

/// A token does not take the PIN. Trying again by itself would lock it.
#[derive(Debug, thiserror::Error)]
#[error("the token of the signing key does not take the PIN")]
pub(crate) struct PinRefused;

fn unusable(location: &KeyLocation, error: KeyStoreError) -> anyhow::Error {
    let is_pin_refused = match &error {
        KeyStoreError::Backend(source) => matches!(
            source.downcast_ref::<Pkcs11Error>(),
            Some(
                Pkcs11Error::PinWrong(_)
                    | Pkcs11Error::PinLastTry(_)
                    | Pkcs11Error::PinLocked(_)
                    | Pkcs11Error::PinExpired(_)
            )
        ),
        _ => false,
    };
    let error = anyhow::Error::new(error).context(format!(
        "the signing key {} cannot be used",
        place(location)
    ));
    match is_pin_refused {
        true => error.context(PinRefused),
        false => error,
    }
}

/// `pkcs11:token=T;object=K?module-path=/lib.so&pin-source=file:/pin` (RFC 7512). The PIN itself is not accepted: others
/// can read arguments.
pub(crate) fn parse_key_uri(text: &str) -> anyhow::Result<KeyLocation> {
    const HINT: &str = "write pkcs11:token=TOKEN;object=KEY?module-path=/path/to/module.so&pin-source=file:/path/to/pin";
    let rest = text.strip_prefix("pkcs11:").context(HINT)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut token, mut key, mut serial, mut module, mut pin) = (None, None, None, None, None);
    let attributes = path.split(';').chain(query.split('&'));
    for attribute in attributes.filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=').context(HINT)?;
        let value = unescaped(value).context(HINT)?;
        match name {
            "token" => token = Some(value),
            "object" => key = Some(value),
            "serial" => serial = Some(value),
            "module-path" => module = Some(absolute(Path::new(&value))?),
            "pin-source" => {
                let path = value.strip_prefix("file:").unwrap_or(&value);
                pin = Some(match path.strip_prefix("credential:") {
                    Some(name) => SecretLocation::Credential(name.to_owned()),
                    None => SecretLocation::File(absolute(Path::new(path))?),
                });
            }
            "pin-value" => {
                bail!("a PIN is not given as an argument, which others can read; {HINT}")
            }
            other => bail!("{other:?} is not known here; {HINT}"),
        }
    }
    Ok(KeyLocation::Pkcs11 {
        module: module.context(HINT)?,
        token: token.context(HINT)?,
        serial,
        key: key.context(HINT)?,
        id: None,
        pin: pin.context(HINT)?,
        sessions: None,
    })
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

/// Percent-decoding.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
            }
            octet => octets.push(octet),
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_on_a_token_is_written_as_a_uri() {
        let uri = "pkcs11:token=My%20token;object=eim-signing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin";
        let KeyLocation::Pkcs11 {
            module,
            token,
            key,
            pin,
            ..
        } = parse_key_uri(uri).unwrap()
        else {
            unreachable!("a token");
        };
        assert_eq!((token.as_str(), key.as_str()), ("My token", "eim-signing"));
        assert_eq!(module, Path::new("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(pin, SecretLocation::File(PathBuf::from("/etc/pin")));
        for bad in [
            "file:/x",
            "pkcs11:token=a",
            "pkcs11:token=a;object=b?module-path=/m&pin-value=1234",
            "pkcs11:token=%zz;object=b?module-path=/m&pin-source=/p",
        ] {
            assert!(parse_key_uri(bad).is_err(), "{bad}");
        }
    }
}
