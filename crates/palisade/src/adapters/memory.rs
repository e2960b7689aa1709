use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipa::Memory;

/// What an IPA remembers, in a file that only its owner may read: it may hold activation codes of downloads under way.
#[derive(Debug)]
pub(crate) struct FileMemory {
    path: PathBuf,
}

impl FileMemory {
    /// Remembers in this file, which need not exist.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn replace(&self, state: &[u8]) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(state)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }
}

impl Memory for FileMemory {
    fn load(&self) -> Option<Vec<u8>> {
        fs::read(&self.path).ok()
    }

    fn store(&mut self, state: &[u8]) {
        // An IPA without memory still works; what it forgets, servers tell it again.
        if let Err(error) = self.replace(state) {
            tracing::error!(%error, path = %self.path.display(), "the IPA's memory could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_last_state_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipa.state");
        let mut memory = FileMemory::new(path.clone());
        assert_eq!(memory.load(), None);
        memory.store(b"one");
        memory.store(b"two");
        assert_eq!(
            FileMemory::new(path.clone()).load().as_deref(),
            Some(&b"two"[..])
        );
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
