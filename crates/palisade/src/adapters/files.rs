//! Folders that hold secrets.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Makes a folder, with those above it, for this user alone (mode 0700). One that is there stays as it is.
pub(crate) fn create_private_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the folder {} cannot be made", path.display()))
}

/// Refuses a folder that other users of the machine can look into.
pub(crate) fn is_private_directory(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(path)
        .with_context(|| format!("the folder {} cannot be read", path.display()))?;
    if !metadata.is_dir() {
        bail!("{} is not a folder", path.display());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "the folder {path} has mode {mode:03o} and holds keys; take the others' access away with: chmod 700 {path}",
            path = path.display(),
        );
    }
    Ok(())
}

/// Keeps other processes of this program away from a folder for as long as it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    /// The lock ends when this is closed.
    _file: File,
}

impl FolderLock {
    /// Takes the lock, for which the process before may need a moment to end.
    pub(crate) fn take_within(directory: &Path, patience: Duration) -> anyhow::Result<Self> {
        const EVERY: Duration = Duration::from_millis(20);
        let begun = Instant::now();
        loop {
            match Self::take(directory) {
                Err(_) if begun.elapsed() < patience => std::thread::sleep(EVERY),
                taken => return taken,
            }
        }
    }

    /// Takes the lock at once or fails.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join("in-use.lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another process uses {}; stop it first, or wait until it is done",
                directory.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_secrets_is_for_its_owner_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        create_private_directory(&path).unwrap();
        is_private_directory(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let refusal = is_private_directory(&path).unwrap_err().to_string();
        assert!(
            refusal.contains("mode 750") && refusal.contains("chmod 700"),
            "{refusal}"
        );
        assert!(is_private_directory(&outer.path().join("missing")).is_err());
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        assert!(FolderLock::take(folder.path()).is_err());
        drop(held);
        FolderLock::take(folder.path()).unwrap();
    }
}
