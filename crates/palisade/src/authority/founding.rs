//! Making the folder of an authority: keys, the first entry of its ledger, settings.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use authority::event::RelyingParty;
use authority::genesis::{self, Founding};
use authority::service;
use intent::PolicyDocument;
use intent::key_file::ClientKey;
use ledger::{FolderStore, SigningKey};
use pki::{Curve, FileKeyStore, KeyLocation, KeyName, PrivateKey, Signer};

use super::folder::AuthorityFolder;
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory, is_private_directory};
use crate::proposing::create_private;

/// What an authority begins with.
pub(crate) struct Foundation<'a> {
    /// The origin of the ledger.
    pub(crate) installation: String,
    /// The name of the eIM (eimId).
    pub(crate) eim_id: String,
    /// What passkeys are bound to.
    pub(crate) relying_party: RelyingParty,
    /// The first policy.
    pub(crate) policy: PolicyDocument,
    /// The eIM's signing key.
    pub(crate) signing_key: SigningKeySource,
    /// Where the key for the safe is written.
    pub(crate) break_glass: &'a Path,
    /// Text of `palisade.toml`.
    pub(crate) settings: String,
    /// Further files: name below the folder, and content.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Where the eIM's signing key comes from.
pub(crate) enum SigningKeySource {
    /// It is made, as a file.
    New,
    /// This one, as a file.
    Given(PrivateKey),
    /// It is there already.
    There(KeyLocation, Arc<dyn Signer>),
}

/// What has to be told once.
pub(crate) struct Founded {
    /// The first owner's one-time code.
    pub(crate) code: String,
}

/// How long the key in the safe is valid: 10 years.
const BREAK_GLASS_DAYS: i64 = 3650;
/// Whose key lies in the safe.
const BREAK_GLASS: &str = "break-glass";
/// The file of the signing key, as the settings have it by default.
const SIGNING_KEY: &str = "eim-signing";

/// Makes an authority. Nothing that is there is replaced.
pub(crate) fn found(
    folder: &AuthorityFolder,
    foundation: Foundation<'_>,
) -> anyhow::Result<Founded> {
    let path = folder.path();
    if folder.public_key_file().exists() {
        bail!("there is an authority in {} already", path.display());
    }
    create_private_directory(path)?;
    is_private_directory(path)?;
    create_private_directory(&folder.keys())?;
    for (name, octets) in &foundation.files {
        let file = path.join(name);
        if let Some(parent) = file.parent() {
            create_private_directory(parent)?;
        }
        create_private(&file, octets)?;
    }
    let signer = signing_key(folder, foundation.signing_key)?;

    let now = SystemClock.millis();
    let break_glass = ClientKey::generate(
        BREAK_GLASS.parse().context("not a name")?,
        &mut SystemEntropy,
    );
    let (event, code) = genesis::found(
        Founding {
            installation: foundation.installation.clone(),
            eim_id: foundation.eim_id,
            relying_party: foundation.relying_party,
            break_glass: break_glass.public(),
            break_glass_expires_at: now.saturating_add(BREAK_GLASS_DAYS * 86_400_000),
            signing_key: signer.public_key().to_spki_der(),
            policy: foundation.policy,
        },
        now,
        &SystemEntropy,
    )?;
    let key = SigningKey::generate(&foundation.installation, &mut SystemEntropy)?;
    let public = key.public().to_string();
    create_private(foundation.break_glass, break_glass.to_json().as_bytes())
        .context("the break-glass key cannot be kept")?;
    create_private(&folder.ledger_key_file(), key.to_text().as_bytes())?;

    create_private_directory(&folder.ledger())?;
    let files = FolderStore::exclusive(folder.ledger()).context("the ledger cannot be made")?;
    service::create(files, key, &event, now).context("the record cannot be begun")?;
    create_private(
        &path.join(crate::config::FILE_NAME),
        foundation.settings.as_bytes(),
    )?;
    // The last file: an authority whose making broke off is none.
    write_public(&folder.public_key_file(), public.as_bytes())?;
    Ok(Founded { code })
}

fn signing_key(
    folder: &AuthorityFolder,
    source: SigningKeySource,
) -> anyhow::Result<Arc<dyn Signer>> {
    let store = FileKeyStore::open(folder.keys())?;
    let name = KeyName::new(SIGNING_KEY)?;
    let key = match source {
        SigningKeySource::There(_, signer) => return Ok(signer),
        SigningKeySource::New => PrivateKey::generate(Curve::P256, &mut SystemEntropy)?,
        SigningKeySource::Given(key) => key,
    };
    store
        .import(&name, &key)
        .context("the signing key cannot be stored")?;
    Ok(Arc::new(key))
}

fn write_public(path: &Path, octets: &[u8]) -> anyhow::Result<()> {
    fs::write(path, octets).with_context(|| format!("{} cannot be written", path.display()))
}
