//! A disk in memory that loses power.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ledger::{Files, ReadFiles};

use crate::service::LedgerFiles;

/// Handles of one disk are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    files: BTreeMap<String, File>,
    folders: BTreeSet<String>,
    /// Operations that change something before everything fails; none for never.
    left: Option<u64>,
    changes: u64,
}

#[derive(Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
}

impl Disk {
    /// Lets this many changes happen, and no more.
    pub(crate) fn fail_after(&self, changes: u64) {
        self.lock().left = Some(changes);
    }

    /// What a power cut leaves, on a disk that works. Of each file with changes that were not synced, `keeps` says whether
    /// they got there nevertheless.
    pub(crate) fn after_crash(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let content = self.lock();
        let files = content.files.iter().map(|(path, file)| {
            let left = match file.live != file.durable && !keeps() {
                true => file.durable.clone(),
                false => file.live.clone(),
            };
            let file = File {
                live: left.clone(),
                durable: left,
            };
            (path.clone(), file)
        });
        let files = files.collect();
        Self(Arc::new(Mutex::new(Content {
            files,
            folders: content.folders.clone(),
            left: None,
            changes: 0,
        })))
    }

    /// Changes one octet of a file.
    pub(crate) fn damage(&self, path: &str, at: usize) {
        let mut content = self.lock();
        let file = content.files.get_mut(path).unwrap();
        file.live[at] ^= 1;
    }

    /// Files below a folder, the one written last at the end: widths of partial files rise.
    pub(crate) fn paths(&self, folder: &str) -> Vec<String> {
        let content = self.lock();
        let inside = content.files.keys().filter(|it| it.starts_with(folder));
        let mut paths: Vec<String> = inside.cloned().collect();
        paths.sort_by_key(|path| (path.len(), path.clone()));
        paths
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.lock();
        if content.left == Some(0) {
            return Err(io::Error::other("the power is gone"));
        }
        content.left = content.left.map(|left| left - 1);
        content.changes += 1;
        Ok(content)
    }
}

impl ReadFiles for Disk {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        let content = self.lock();
        let file = content.files.get(path);
        assert!(file.is_none_or(|file| file.live.len() <= max), "{path}");
        Ok(file.map(|file| file.live.clone()))
    }
}

impl Files for Disk {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        Ok(self.change()?.folders.insert(path.to_owned()))
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        let mut content = self.change()?;
        content.files.entry(path.to_owned()).or_default().live = octets.to_vec();
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut content = self.change()?;
        let file = content.files.entry(path.to_owned()).or_default();
        let offset = usize::try_from(offset).unwrap();
        let end = offset + octets.len();
        if file.live.len() < end {
            file.live.resize(end, 0);
        }
        file.live[offset..end].copy_from_slice(octets);
        Ok(())
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        let mut content = self.change()?;
        if let Some(file) = content.files.get_mut(path) {
            file.durable = file.live.clone();
        }
        Ok(())
    }

    fn sync_folder(&mut self, _: &str) -> io::Result<()> {
        self.change().map(drop)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.change()?;
        let file = content.files.remove(from).unwrap();
        content.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.change()?.files.remove(path);
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        let mut content = self.change()?;
        let inside = format!("{path}/");
        content.files.retain(|path, _| !path.starts_with(&inside));
        content.folders.remove(path);
        Ok(())
    }
}

impl LedgerFiles for Disk {
    fn companion(&self) -> Self {
        self.clone()
    }

    fn reader(&self) -> Box<dyn ReadFiles + Send + Sync> {
        Box::new(self.clone())
    }
}
