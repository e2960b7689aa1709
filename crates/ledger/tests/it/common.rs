//! What the tests of the ledger share: a key, devices, drafts, and a disk that can lose power.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use ledger::{Draft, Files, Ledger, ReadFiles, SigningKey};
use rsp::ids::Eid;
use serde_json::json;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed("ledger.test/log", &[42; 32]).unwrap()
}

pub(crate) fn eid(index: u64) -> Eid {
    Eid::with_check_digits(&format!("89{index:028}")).unwrap()
}

/// A draft about one of `devices` devices; every seventh is about none.
pub(crate) fn draft(index: u64, devices: u64) -> Draft {
    Draft {
        at: 1_790_000_000_000 + index,
        kind: "operation.signed".parse().unwrap(),
        device: (index % 7 != 6).then(|| eid(index % devices)),
        actor: "key:test".parse().unwrap(),
        body: json!({"index": index, "text": format!("entry \"{index}\" ü")}),
    }
}

/// A ledger on a new disk, with these many drafts in each append, each of them published.
pub(crate) fn filled(appends: &[u64], devices: u64) -> Ledger<Disk> {
    let mut ledger = Ledger::create(Disk::default(), key()).unwrap();
    let mut next = 0;
    for count in appends {
        let drafts = (next..next + count).map(|i| draft(i, devices)).collect();
        ledger.append(drafts).unwrap();
        ledger.publish().unwrap();
        next += count;
    }
    ledger
}

/// Octets that a disk writes all or nothing of.
const SECTOR: usize = 512;

/// A disk in memory that knows what would survive a power cut.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    /// Names as a running process sees them: folders have no inode.
    names: BTreeMap<String, Option<usize>>,
    inodes: Vec<Inode>,
    /// Names that are certain to survive.
    durable: BTreeMap<String, Option<usize>>,
    /// Changes of names since their folder was synced, in order.
    unsynced: Vec<Change>,
    /// Operations that change something, so far.
    pub(crate) operations: usize,
    /// The number of the operation from which on everything fails, as for a process that was killed.
    pub(crate) killed_at: Option<usize>,
}

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// What was written in parts since the last sync, unless the whole was written.
    parts: Vec<(usize, Vec<u8>)>,
    /// Whether the whole was written since.
    rewritten: bool,
}

impl Inode {
    /// What is left of the content: nothing new, parts of it, or all.
    fn after_power_cut(&self, chance: &mut dyn FnMut() -> u8) -> Vec<u8> {
        if self.rewritten {
            return match chance() {
                0 => self.durable.clone(),
                1 => Vec::new(),
                2 => self.content[..self.content.len() / 2].to_vec(),
                _ => self.content.clone(),
            };
        }
        let mut left = self.durable.clone();
        for (offset, part) in &self.parts {
            let fate = chance();
            for (index, sector) in part.chunks(SECTOR).enumerate() {
                // Nothing, some sectors, some others, everything.
                if fate == 3 || (fate > 0 && chance().is_multiple_of(2)) {
                    put(&mut left, offset + index * SECTOR, sector);
                }
            }
        }
        left
    }
}

fn put(content: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    let end = offset + octets.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(octets);
}

#[derive(Clone)]
enum Change {
    Set(String, Option<usize>),
    Unset(String),
    Rename(String, String),
}

impl Disk {
    /// The files that a running process sees.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.names
            .iter()
            .filter_map(|(name, inode)| Some((name.as_str(), &self.inodes[(*inode)?].content[..])))
    }

    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let inode = (*self.names.get(path)?)?;
        Some(self.inodes[inode].content.clone())
    }

    pub(crate) fn set(&mut self, path: &str, octets: Vec<u8>) {
        let inode = self.names[path].unwrap();
        self.inodes[inode].content = octets;
    }

    pub(crate) fn delete(&mut self, path: &str) {
        self.names.remove(path).unwrap();
    }

    /// The disk after a power cut. What was not synced is kept, lost or half there, as `chance` decides: 0 to 3 for each.
    pub(crate) fn after_power_cut(&self, chance: &mut dyn FnMut() -> u8) -> Self {
        let mut names = self.durable.clone();
        for change in &self.unsynced {
            if chance() < 2 {
                continue;
            }
            match change {
                Change::Set(name, inode) => {
                    names.insert(name.clone(), *inode);
                }
                Change::Unset(name) => {
                    names.remove(name);
                }
                Change::Rename(from, to) => {
                    if let Some(inode) = names.remove(from) {
                        names.insert(to.clone(), inode);
                    }
                }
            }
        }
        // What stands in a folder that was lost is lost.
        let reachable = names.clone();
        names.retain(|name, _| {
            name.match_indices('/')
                .all(|(end, _)| reachable.contains_key(&name[..end]))
        });
        let inodes = self.inodes.iter().map(|inode| {
            let content = inode.after_power_cut(chance);
            Inode {
                durable: content.clone(),
                content,
                ..Inode::default()
            }
        });
        Self {
            durable: names.clone(),
            names,
            inodes: inodes.collect(),
            unsynced: Vec::new(),
            operations: 0,
            killed_at: None,
        }
    }

    /// The disk after the process was killed and nothing else happened.
    pub(crate) fn after_kill(&self) -> Self {
        let mut disk = self.clone();
        (disk.operations, disk.killed_at) = (0, None);
        disk
    }

    fn operation(&mut self) -> io::Result<()> {
        if self.killed_at.is_some_and(|end| self.operations >= end) {
            return Err(io::Error::other("killed"));
        }
        self.operations += 1;
        Ok(())
    }

    /// The inode of a file, a new one if there is none.
    fn inode(&mut self, path: &str) -> usize {
        if let Some(inode) = self.names.get(path) {
            return inode.unwrap();
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.change(Change::Set(path.to_owned(), Some(inode)));
        inode
    }

    fn change(&mut self, change: Change) {
        match &change {
            Change::Set(name, inode) => {
                self.names.insert(name.clone(), *inode);
            }
            Change::Unset(name) => {
                self.names.remove(name);
            }
            Change::Rename(from, to) => {
                let inode = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), inode);
            }
        }
        self.unsynced.push(change);
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl ReadFiles for Disk {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        let content = self.get(path);
        if content.as_ref().is_some_and(|content| content.len() > max) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }
}

impl Files for Disk {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        self.operation()?;
        let folder = folder_of(path);
        assert!(
            folder.is_empty() || self.names.contains_key(folder),
            "{path}"
        );
        if self.names.contains_key(path) {
            return Ok(false);
        }
        self.change(Change::Set(path.to_owned(), None));
        Ok(true)
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        self.operation()?;
        assert!(
            self.names.contains_key(folder_of(path)) || folder_of(path).is_empty(),
            "{path}"
        );
        let inode = self.inode(path);
        self.inodes[inode].content = octets.to_vec();
        self.inodes[inode].rewritten = true;
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.operation()?;
        let inode = self.inode(path);
        let inode = &mut self.inodes[inode];
        let offset = usize::try_from(offset).unwrap();
        put(&mut inode.content, offset, octets);
        inode.parts.push((offset, octets.to_vec()));
        Ok(())
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        self.operation()?;
        let inode = &mut self.inodes[self.names[path].unwrap()];
        inode.durable = inode.content.clone();
        inode.parts.clear();
        inode.rewritten = false;
        Ok(())
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.operation()?;
        let mut rest = Vec::new();
        for change in std::mem::take(&mut self.unsynced) {
            let name = match &change {
                Change::Set(name, _) | Change::Unset(name) | Change::Rename(_, name) => name,
            };
            if folder_of(name) != path {
                rest.push(change);
                continue;
            }
            match change {
                Change::Set(name, inode) => {
                    self.durable.insert(name, inode);
                }
                Change::Unset(name) => {
                    self.durable.remove(&name);
                }
                Change::Rename(from, to) => {
                    if let Some(inode) = self.durable.remove(&from) {
                        self.durable.insert(to, inode);
                    }
                }
            }
        }
        self.unsynced = rest;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operation()?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.operation()?;
        if self.names.contains_key(path) {
            self.change(Change::Unset(path.to_owned()));
        }
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.operation()?;
        let inside = format!("{path}/");
        let gone: Vec<String> = self
            .names
            .keys()
            .filter(|name| name.starts_with(&inside) || *name == path)
            .cloned()
            .collect();
        for name in gone.into_iter().rev() {
            self.change(Change::Unset(name));
        }
        Ok(())
    }
}

/// A disk that several hands write, as a publishing thread and an appending one do.
#[derive(Clone, Default)]
pub(crate) struct Shared(pub(crate) Rc<RefCell<Disk>>);

impl ReadFiles for Shared {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        self.0.borrow().read(path, max)
    }
}

impl Files for Shared {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        self.0.borrow_mut().make_folder(path)
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write(path, octets)
    }

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write_at(path, offset, octets)
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().sync(path)
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().sync_folder(path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.borrow_mut().rename(from, to)
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(path)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().remove_folder(path)
    }
}
