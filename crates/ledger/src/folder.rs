//! A folder of the file system as the place of a ledger.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::files::{Files, ReadFiles};

/// The name of the file that the writer locks.
const LOCK: &str = ".lock";

/// Files below a folder.
///
/// [`FolderStore::exclusive`] is for the one writer; any number of readers may use [`FolderStore::reader`], or a static
/// file server the same folder, meanwhile.
#[derive(Debug)]
pub struct FolderStore {
    root: PathBuf,
    /// Locked for as long as it is open.
    _lock: Option<File>,
}

impl FolderStore {
    /// Opens a folder for reading.
    pub fn reader(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            _lock: None,
        }
    }

    /// Opens a folder for the one that writes, creating it if need be. Fails with [`io::ErrorKind::WouldBlock`] while
    /// another process has it open so.
    pub fn exclusive(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("another process writes the ledger in {}", root.display()),
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            root,
            _lock: Some(lock),
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        // Paths are made by this crate from numbers and never by a peer.
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl ReadFiles for FolderStore {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.at(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        let mut octets = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut octets)?;
        if octets.len() > max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{path} is longer than {max} octets"),
            ));
        }
        Ok(Some(octets))
    }
}

impl Files for FolderStore {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        match fs::create_dir(self.at(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        File::create(self.at(path))?.write_all(octets)
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_data()
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.at(path)))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(self.at(path)))
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderStore::exclusive(folder.path()).unwrap();
        let error = FolderStore::exclusive(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        FolderStore::exclusive(folder.path()).unwrap();
    }

    #[test]
    fn long_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = FolderStore::exclusive(folder.path()).unwrap();
        files.write("a", b"12345").unwrap();
        assert_eq!(files.read("a", 5).unwrap().unwrap(), b"12345");
        assert!(files.read("a", 4).is_err());
        assert_eq!(files.read("b", 4).unwrap(), None);
    }
}
