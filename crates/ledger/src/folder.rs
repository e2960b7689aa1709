//! A folder of the file system as the place of a ledger.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    lock: Option<Arc<File>>,
    /// Files that are written in parts, which stay open: they are written and synced all the time.
    parts: HashMap<String, File>,
}

impl FolderStore {
    /// Opens a folder for reading.
    pub fn reader(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            lock: None,
            parts: HashMap::new(),
        }
    }

    /// Another handle of the same writer, for a thread that publishes while this one appends. The folder stays locked until
    /// both are gone.
    pub fn companion(&self) -> Self {
        Self {
            root: self.root.clone(),
            lock: self.lock.clone(),
            parts: HashMap::new(),
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
            lock: Some(Arc::new(lock)),
            parts: HashMap::new(),
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

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        if !self.parts.contains_key(path) {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(self.at(path))?;
            self.parts.insert(path.to_owned(), file);
        }
        let file = self.parts.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(octets)
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        match self.parts.get(path) {
            Some(file) => file.sync_data(),
            None => File::open(self.at(path))?.sync_data(),
        }
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.parts.remove(from);
        self.parts.remove(to);
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.parts.remove(path);
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

    #[test]
    fn a_part_is_replaced_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = FolderStore::exclusive(folder.path()).unwrap();
        files.write_at("a", 0, b"12345").unwrap();
        files.write_at("a", 3, b"abc").unwrap();
        files.sync("a").unwrap();
        assert_eq!(files.read("a", 9).unwrap().unwrap(), b"123abc");
        let mut again = files.companion();
        drop(files);
        FolderStore::exclusive(folder.path()).unwrap_err();
        again.write_at("a", 1, b"xy").unwrap();
        assert_eq!(again.read("a", 9).unwrap().unwrap(), b"1xyabc");
    }
}
