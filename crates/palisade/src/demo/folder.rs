//! Where a demo keeps its PKI, databases and cards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rand_core::Rng;

use crate::adapters::{SystemEntropy, create_private_directory};

/// A folder for this user alone, removed with everything in it unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// A fresh one: at `keep`, where nothing may be yet, or in the system's temporary folder.
    pub(super) fn new(keep: Option<PathBuf>) -> anyhow::Result<Self> {
        let is_kept = keep.is_some();
        let path = match keep {
            Some(path) => {
                let is_free = fs::read_dir(&path).map_or(true, |mut found| found.next().is_none());
                ensure!(
                    is_free,
                    "{} is not empty; name a folder that is not there yet",
                    path.display()
                );
                path
            }
            None => {
                let name = format!("palisade-demo-{:016x}", SystemEntropy.next_u64());
                std::env::temp_dir().join(name)
            }
        };
        create_private_directory(&path)?;
        Ok(Self { path, is_kept })
    }

    /// A folder in it.
    pub(super) fn inner(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        create_private_directory(&path).with_context(|| format!("no folder for {name}"))?;
        Ok(path)
    }

    /// What [`Folder::inner`] made.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What goes with the demo, however it ends.
    pub(super) fn temporary(&self) -> Option<PathBuf> {
        (!self.is_kept).then(|| self.path.clone())
    }

    /// Where it stays, if it does.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.is_kept.then_some(self.path.as_path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            crate::output::note(&format!(
                "{} could not be removed: {error}",
                self.path.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_its_content_and_a_kept_one_stays() {
        let temporary = Folder::new(None).unwrap();
        let path = temporary.inner("devices").unwrap();
        fs::write(path.join("card"), b"state").unwrap();
        drop(temporary);
        assert!(!path.exists());

        let outer = tempfile::tempdir().unwrap();
        let wanted = outer.path().join("kept");
        let kept = Folder::new(Some(wanted.clone())).unwrap();
        fs::write(wanted.join("card"), b"state").unwrap();
        drop(kept);
        assert!(wanted.join("card").exists());
        let refused = Folder::new(Some(wanted)).unwrap_err().to_string();
        assert!(refused.contains("not empty"), "{refused}");
    }
}
