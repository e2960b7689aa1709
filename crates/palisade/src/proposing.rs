//! From a wish to a proven intent: what the command line, the demo and tests of this binary send.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intent::api::{Decide, Propose};
use intent::http_signature::{self, RequestParts, TAG_INTENT};
use intent::key_file::ClientKey;
use intent::passkey::SoftwarePasskey;
use intent::{Action, Circumstances, Decision, Draft, Intent, IntentId, Proof};
use rand_core::Rng;
use rsp::ids::Eid;
use zeroize::Zeroizing;

use crate::adapters::{SystemClock, SystemEntropy};

/// Where intents are proposed.
pub(crate) const INTENTS: &str = "/v1/intents";

/// Octets of a key or passkey file.
const FILE_OCTETS_MAX: u64 = 64 << 10;

/// An intent before it is proven, with what travels beside it.
pub(crate) struct Proposal(Draft);

impl Proposal {
    /// An intent for this installation. Secrets in it are sealed. `devices` is the list to send along, if the action
    /// commits to one.
    pub(crate) fn new(
        installation: &str,
        action: Action,
        devices: Option<Vec<Eid>>,
        note: Option<String>,
        lifetime_ms: i64,
    ) -> anyhow::Result<Self> {
        let created_at = SystemClock.millis();
        let circumstances = Circumstances {
            installation: installation.to_owned(),
            created_at,
            expires_at: created_at.saturating_add(lifetime_ms),
            note,
        };
        let mut random = || {
            let mut octets = [0; 16];
            SystemEntropy.fill_bytes(&mut octets);
            octets
        };
        Ok(Self(Draft::new(
            action,
            devices,
            circumstances,
            &mut random,
        )?))
    }

    /// Its id.
    pub(crate) fn id(&self) -> IntentId {
        self.0.id
    }

    /// It.
    pub(crate) fn intent(&self) -> &Intent {
        &self.0.intent
    }

    /// What it asks for.
    pub(crate) fn action(&self) -> &Action {
        &self.0.intent.action
    }

    /// The proposal with its proof.
    pub(crate) fn prove(self, prover: &mut Prover, origin: &str) -> anyhow::Result<Propose> {
        let proof = prover.prove(&self, origin)?;
        Ok(Propose {
            devices: self.0.devices_text(),
            intent: self.0.text,
            proof,
            network: None,
            openings: self.0.openings,
        })
    }
}

/// What somebody proves their wishes with.
pub(crate) enum Prover {
    /// A machine's key, or the one from the safe.
    Key(ClientKey),
    /// A person's passkey, in a file.
    Passkey(PasskeyFile),
}

impl Prover {
    /// Reads a key file, which nobody else may be able to read.
    pub(crate) fn key(path: &Path) -> anyhow::Result<Self> {
        let text = read_private(path)?;
        let key = ClientKey::from_json(&text)
            .with_context(|| format!("{} cannot be used", path.display()))?;
        Ok(Self::Key(key))
    }

    /// Opens a passkey file.
    pub(crate) fn passkey(path: &Path, passphrase: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self::Passkey(PasskeyFile::open(path, passphrase)?))
    }

    fn prove(&mut self, proposal: &Proposal, origin: &str) -> anyhow::Result<Proof> {
        match self {
            Self::Key(key) => {
                let mut octets = [0; 18];
                SystemEntropy.fill_bytes(&mut octets);
                let nonce = hex::encode(octets);
                let created_s = u64::try_from(SystemClock.millis() / 1000).unwrap_or_default();
                let request = RequestParts {
                    method: "POST",
                    path: INTENTS,
                    query: None,
                };
                let proof = http_signature::sign(
                    &request,
                    proposal.0.text.as_bytes(),
                    key,
                    created_s,
                    &nonce,
                    TAG_INTENT,
                )?;
                Ok(Proof::HttpSignature(proof))
            }
            Self::Passkey(passkey) => passkey.assert(origin, proposal.id().0.as_bytes()),
        }
    }

    /// A decision about an intent, which only a person can make.
    pub(crate) fn decide(
        &mut self,
        id: IntentId,
        decision: Decision,
        origin: &str,
    ) -> anyhow::Result<Decide> {
        let Self::Passkey(passkey) = self else {
            bail!("approving and rejecting is for people: give a passkey with --passkey FILE");
        };
        let proof = passkey.assert(origin, decision.challenge(id).as_bytes())?;
        Ok(Decide {
            decision,
            proof,
            network: None,
        })
    }

    /// Whose it is, as the file says.
    pub(crate) fn name(&self) -> &intent::Principal {
        match self {
            Self::Key(key) => key.name(),
            Self::Passkey(file) => file.passkey.name(),
        }
    }
}

/// A software passkey and the file it is kept in, whose counter is written before anything signed leaves.
pub(crate) struct PasskeyFile {
    path: PathBuf,
    passkey: SoftwarePasskey,
}

impl PasskeyFile {
    /// Opens it.
    pub(crate) fn open(path: &Path, passphrase: Option<&str>) -> anyhow::Result<Self> {
        let text = read_private(path)?;
        let passkey = SoftwarePasskey::from_json(&text, passphrase).with_context(|| {
            format!(
                "{} cannot be used (its passphrase is given with --passphrase-file)",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            passkey,
        })
    }

    fn assert(&mut self, origin: &str, challenge: &[u8; 32]) -> anyhow::Result<Proof> {
        let assertion = self.passkey.assert(origin, challenge)?;
        replace_private(&self.path, self.passkey.to_json().as_bytes())?;
        Ok(Proof::Passkey {
            credential: assertion
                .credential_id()
                .context("the passkey has no usable id")?,
            assertion: Box::new(assertion),
        })
    }
}

/// Reads a file with a secret, which nobody else may be able to read.
pub(crate) fn read_private(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let metadata =
        fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{path} has mode {mode:03o}, so others can read it; take their access away with: chmod 600 {path}",
            path = path.display()
        );
    }
    if metadata.len() > FILE_OCTETS_MAX {
        bail!("{} is too long for a key", path.display());
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Zeroizing::new(text))
}

/// Writes a file of mode 0600 that is not there yet.
pub(crate) fn create_private(path: &Path, octets: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        crate::adapters::create_private_directory(folder)?;
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(octets).and_then(|()| file.sync_all()))
        .with_context(|| {
            format!(
                "{} cannot be written (keys are never replaced)",
                path.display()
            )
        })
}

/// Puts another content in the place of a file, whole or not at all.
pub(crate) fn replace_private(path: &Path, octets: &[u8]) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // What a crash left behind under this name is nobody's.
    let _ = fs::remove_file(&temporary);
    create_private(&temporary, octets)?;
    fs::rename(&temporary, path).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use intent::command::{DownloadSource, Route};
    use intent::{Command, DeviceSet};

    use super::*;

    fn download() -> Action {
        let eid = Eid::with_check_digits("890490320000000000000000000001").unwrap();
        Action::Operate {
            devices: DeviceSet::one(eid),
            commands: vec![Command::Download {
                source: DownloadSource::activation_code("1$smdp.example.com$SECRET").unwrap(),
                route: Route::Direct,
                confirmation_code: None,
            }],
        }
    }

    #[test]
    fn secrets_are_beside_the_intent_and_not_in_it() {
        let name = "ci".parse().unwrap();
        let mut prover = Prover::Key(ClientKey::generate(name, &mut SystemEntropy));
        let proposal = Proposal::new("test/ledger", download(), None, None, 60_000).unwrap();
        let id = proposal.id();
        let proven = proposal
            .prove(&mut prover, "https://eim.example.com")
            .unwrap();
        assert!(!proven.intent.contains("SECRET"), "{}", proven.intent);
        assert_eq!(proven.openings.len(), 1);
        let (_, decoded) = Intent::decode(proven.intent.as_bytes()).unwrap();
        assert_eq!(decoded, id);
        assert!(prover.decide(id, Decision::Approve, "https://x").is_err());
    }

    #[test]
    fn files_with_secrets_are_written_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/key.json");
        create_private(&path, b"one").unwrap();
        assert!(create_private(&path, b"two").is_err());
        replace_private(&path, b"three").unwrap();
        assert_eq!(read_private(&path).unwrap().as_str(), "three");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = read_private(&path).unwrap_err().to_string();
        assert!(refusal.contains("640") && refusal.contains("chmod 600"));
    }
}
