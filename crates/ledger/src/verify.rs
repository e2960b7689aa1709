//! Checking a whole ledger from its files alone, and naming what is wrong with it.
//!
//! The root is computed anew from the entries. If it is the one that was signed, every entry is what was signed, and what
//! remains to be compared is the hash tiles and what the entries say about each other. If it is another, the hash tiles,
//! as far as they lead up to the signed root, tell which entries are not what was signed.

use std::collections::HashMap;
use std::fmt;

use tlog_tiles::tlog;

use crate::checkpoint::{CHECKPOINT_MAX, Checkpoint, CheckpointError};
use crate::edge::Edge;
use crate::entry::{Entry, EntryError};
use crate::files::ReadFiles;
use crate::hash::Hash;
use crate::heads::{Break, HEADS, Heads};
use crate::key::PublicKey;
use crate::layout::{self, CHECKPOINT, WIDTH, bundle_path, tile_path};
use crate::tiles::{Tiles, read_bundle, read_tile};

/// Findings in a report at most. After that, a report only says that there are more.
pub const FINDINGS_MAX: usize = 100;

/// The outcome of a verification.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint found, if its signature is good.
    pub checkpoint: Option<Checkpoint>,
    /// Entries that were read, whether good or not.
    pub entries: u64,
    /// Devices that have entries.
    pub devices: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether there is more wrong than `findings` holds.
    pub more: bool,
}

/// One thing that is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// There is no checkpoint.
    #[error("there is no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not one of this ledger's key.
    #[error("the checkpoint is not good")]
    Checkpoint(#[source] CheckpointError),
    /// Something could not be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// What.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The disk holds less than was seen before: an old copy was put back, or the end was cut off.
    #[error(
        "rolled back: {remembered} entries were seen signed before, now the signed checkpoint says {found}"
    )]
    RolledBack {
        /// Entries of the remembered checkpoint.
        remembered: u64,
        /// Entries of the checkpoint found.
        found: u64,
    },
    /// The key signed two histories.
    #[error(
        "forked: of the first {size} entries, {remembered} was signed before, now it is {found}"
    )]
    Forked {
        /// Entries of the remembered checkpoint.
        size: u64,
        /// Its root.
        remembered: Hash,
        /// The root of as many entries now.
        found: Hash,
    },
    /// A bundle is not there.
    #[error("entries {from} to {to} are missing: there is no {path}")]
    Missing {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// The file.
        path: String,
    },
    /// A bundle ends early.
    #[error("entries {from} to {to} are cut off: {path} ends before them")]
    Truncated {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// The file.
        path: String,
    },
    /// There are octets behind the entries of a bundle.
    #[error("{path} holds more than its entries")]
    Surplus {
        /// The file.
        path: String,
    },
    /// An entry is not what was signed.
    #[error("entry {number} was altered")]
    Altered {
        /// Where it is.
        number: u64,
    },
    /// An entry is not what was signed at this place, but what was signed at another.
    #[error("entry {number} was moved: it belongs at {belongs}")]
    Reordered {
        /// Where it is.
        number: u64,
        /// Where it was signed.
        belongs: u64,
    },
    /// A hash tile is not there.
    #[error("the hash tile {path} is missing")]
    TileMissing {
        /// The file.
        path: String,
    },
    /// A hash tile is not that of the entries.
    #[error("the hash tile {path} was altered")]
    TileAltered {
        /// The file.
        path: String,
    },
    /// The hash tiles do not lead up to the signed root, so that they cannot tell which entries are good.
    #[error("the hash tiles do not lead to the signed root: {0}")]
    Tiles(String),
    /// Entries and hash tiles agree with each other and not with the signed root: history was rewritten.
    #[error("rewritten: the entries and the hash tiles give the root {found}, {signed} was signed")]
    Rewritten {
        /// What the entries give.
        found: Hash,
        /// What the checkpoint says.
        signed: Hash,
    },
    /// What was signed is no entry.
    #[error("entry {number} is not well formed")]
    Malformed {
        /// Where it is.
        number: u64,
        /// Why.
        #[source]
        error: EntryError,
    },
    /// What was signed does not continue the entries before it: the ledger's key signed something that this program does
    /// not write.
    #[error("entry {number} does not fit")]
    Broken {
        /// Where it is.
        number: u64,
        /// Why.
        #[source]
        error: Break,
    },
    /// The last entry does not record the heads of devices.
    #[error("the last entry, {number}, does not record the heads of devices")]
    Unsealed {
        /// Where it is.
        number: u64,
    },
}

impl Report {
    /// Whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, finding: Finding) {
        if self.is_full() {
            self.more = true;
        } else {
            self.findings.push(finding);
        }
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.checkpoint, self.findings.is_empty()) {
            (Some(checkpoint), true) => write!(
                f,
                "good: {} entries, {} devices, root {}",
                checkpoint.size(),
                self.devices,
                checkpoint.root()
            ),
            _ => {
                write!(f, "{} findings", self.findings.len())?;
                if self.more {
                    f.write_str(" and more")?;
                }
                for finding in &self.findings {
                    write!(f, "\n{finding}")?;
                    let mut error: &dyn std::error::Error = finding;
                    while let Some(source) = error.source() {
                        write!(f, ": {source}")?;
                        error = source;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Verifies the ledger in `files`: every entry, every hash tile, the checkpoint and what entries say about each other.
///
/// `remembered` is a checkpoint seen before. Only with it can an old copy of the whole folder be told from the ledger. Each
/// entry is given to `visit` in order; what was done with them counts only if the report is good.
pub fn verify(
    files: &impl ReadFiles,
    key: &PublicKey,
    remembered: Option<&Checkpoint>,
    visit: &mut dyn FnMut(&Entry),
) -> Report {
    match read_checkpoint(files, CHECKPOINT, key) {
        Ok(Some(checkpoint)) => replay(files, checkpoint, remembered, visit).report,
        Ok(None) => Report::of(None, vec![Finding::NoCheckpoint]),
        Err(finding) => Report::of(None, vec![finding]),
    }
}

/// What replaying a ledger gives.
pub(crate) struct Replay {
    pub(crate) report: Report,
    pub(crate) edge: Edge,
    pub(crate) heads: Heads,
    /// The octets of the unfinished bundle.
    pub(crate) bundle: Vec<u8>,
}

/// Reads a checkpoint and verifies its signature.
pub(crate) fn read_checkpoint(
    files: &impl ReadFiles,
    path: &str,
    key: &PublicKey,
) -> Result<Option<Checkpoint>, Finding> {
    let octets = files
        .read(path, CHECKPOINT_MAX)
        .map_err(|error| Finding::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    octets
        .map(|octets| Checkpoint::open(&octets, key))
        .transpose()
        .map_err(Finding::Checkpoint)
}

/// Reads all entries below a checkpoint and checks everything against it.
pub(crate) fn replay(
    files: &impl ReadFiles,
    checkpoint: Checkpoint,
    remembered: Option<&Checkpoint>,
    visit: &mut dyn FnMut(&Entry),
) -> Replay {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let mut replay = Replay {
        report: Report::of(Some(checkpoint.clone()), Vec::new()),
        edge: Edge::default(),
        heads: Heads::default(),
        bundle: Vec::new(),
    };
    let mut scan = Scan {
        files,
        size,
        remembered: remembered.map(|remembered| (remembered.size(), None)),
        leaves: Vec::new(),
        gaps: false,
        sealed: size == 0,
        tiles: Vec::new(),
        content: Vec::new(),
    };
    scan.read(&mut replay, visit);

    let found = replay.edge.root();
    let authentic = !scan.gaps && found.as_ref().is_ok_and(|found| *found == root);
    if authentic {
        scan.compare_edge(&mut replay);
        if !scan.sealed {
            scan.content.push(Finding::Unsealed { number: size - 1 });
        }
        for finding in scan.tiles.into_iter().chain(scan.content) {
            replay.report.add(finding);
        }
    } else {
        if !scan.gaps {
            scan.compare_edge(&mut replay);
        }
        match found {
            Ok(found) if !scan.gaps && scan.tiles.is_empty() => {
                replay.report.add(Finding::Rewritten {
                    found,
                    signed: root,
                });
            }
            _ => scan.name_entries(&mut replay.report, &checkpoint),
        }
    }
    if let Some(remembered) = remembered {
        let then = match scan.remembered {
            Some((_, Some(then))) if authentic => Some(then),
            _ if remembered.size() == size => Some(root),
            _ => None,
        };
        if remembered.size() > size {
            replay.report.add(Finding::RolledBack {
                remembered: remembered.size(),
                found: size,
            });
        } else if let Some(found) = then.filter(|then| *then != remembered.root()) {
            replay.report.add(Finding::Forked {
                size: remembered.size(),
                remembered: remembered.root(),
                found,
            });
        }
    }
    replay.report.devices = replay.heads.devices();
    replay
}

/// One pass over the bundles.
struct Scan<'a, F> {
    files: &'a F,
    size: u64,
    /// Entries of the remembered checkpoint, and the root over as many here.
    remembered: Option<(u64, Option<Hash>)>,
    /// The leaf of each entry, as far as there is one.
    leaves: Vec<Option<Hash>>,
    gaps: bool,
    /// Whether the last entry records the heads.
    sealed: bool,
    /// What is wrong with hash tiles, if the entries turn out to be good.
    tiles: Vec<Finding>,
    /// What is wrong with what entries say, if they turn out to be what was signed.
    content: Vec<Finding>,
}

impl<F: ReadFiles> Scan<'_, F> {
    fn read(&mut self, replay: &mut Replay, visit: &mut dyn FnMut(&Entry)) {
        self.remember(&replay.edge);
        for index in 0..self.size.div_ceil(WIDTH) {
            let first = index * WIDTH;
            let width = WIDTH.min(self.size - first);
            let last = first + width - 1;
            let path = bundle_path(index, width);
            let octets = match read_bundle(self.files, index, width) {
                Ok(Some(octets)) => octets,
                Ok(None) => {
                    self.gap(width);
                    replay.report.add(Finding::Missing {
                        from: first,
                        to: last,
                        path,
                    });
                    if replay.report.is_full() {
                        return;
                    }
                    continue;
                }
                Err(error) => {
                    self.gap(width);
                    replay.report.add(Finding::Unreadable { path, error });
                    if replay.report.is_full() {
                        return;
                    }
                    continue;
                }
            };
            let (entries, rest) = layout::entries(&octets);
            let have = u64::try_from(entries.len()).unwrap_or(u64::MAX);
            // A full bundle in the place of a partial one may hold entries that are not signed yet.
            let surplus = have > width || !rest.is_empty();
            if surplus && have >= width && self.is_own(index, width) {
                replay.report.add(Finding::Surplus { path: path.clone() });
            }
            for (number, entry) in (first..=last).zip(entries) {
                self.entry(number, entry, replay, visit);
                if width < WIDTH {
                    layout::push_entry(&mut replay.bundle, entry);
                }
            }
            if have < width {
                self.gap(width - have);
                replay.report.add(Finding::Truncated {
                    from: first + have,
                    to: last,
                    path,
                });
            }
        }
    }

    /// Whether a bundle lies at its own path.
    fn is_own(&self, index: u64, width: u64) -> bool {
        width == WIDTH
            || self
                .files
                .read(&bundle_path(index, width), layout::BUNDLE_MAX)
                .is_ok_and(|octets| octets.is_some())
    }

    fn gap(&mut self, width: u64) {
        self.gaps = true;
        self.leaves.extend((0..width).map(|_| None));
    }

    fn entry(
        &mut self,
        number: u64,
        octets: &[u8],
        replay: &mut Replay,
        visit: &mut dyn FnMut(&Entry),
    ) {
        let leaf = Hash::of_leaf(octets);
        self.leaves.push(Some(leaf));
        replay.report.entries += 1;
        if !self.gaps {
            let (files, tiles) = (self.files, &mut self.tiles);
            replay.edge.push(leaf, &mut |level, index, hashes| {
                compare(files, tiles, level, index, &hashes);
            });
            self.remember(&replay.edge);
        }
        if self.content.len() >= FINDINGS_MAX {
            return;
        }
        match Entry::decode(octets) {
            Err(error) => self.content.push(Finding::Malformed { number, error }),
            Ok(entry) => {
                match replay.heads.admit(number, &entry, leaf) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.content.push(Finding::Broken { number, error }),
                    Err(error) => self.content.push(Finding::Tiles(error.to_string())),
                }
                if number + 1 == self.size {
                    self.sealed = entry.kind.as_str() == HEADS;
                }
                visit(&entry);
            }
        }
    }

    fn remember(&mut self, edge: &Edge) {
        if let Some((size, root)) = &mut self.remembered
            && *size == edge.size()
        {
            *root = edge.root().ok();
        }
    }

    fn compare_edge(&mut self, replay: &mut Replay) {
        for (level, index, hashes) in replay.edge.unfinished() {
            compare(self.files, &mut self.tiles, level, index, hashes);
        }
    }

    /// Finds the entries that are not what was signed, by the hash tiles.
    fn name_entries(&self, report: &mut Report, checkpoint: &Checkpoint) {
        if self.size == 0 || report.is_full() {
            return;
        }
        // Without the right edge nothing can be told.
        let tiles = match Tiles::open(self.files, checkpoint) {
            Ok(tiles) => tiles,
            Err(error) => {
                report.add(Finding::Tiles(name(&error)));
                return;
            }
        };
        let mut signed: Vec<Option<Hash>> = Vec::new();
        for index in 0..self.size.div_ceil(WIDTH) {
            let first = index * WIDTH;
            let width = WIDTH.min(self.size - first);
            match tiles.leaves(index) {
                Ok(hashes) => signed.extend(hashes.into_iter().map(Some)),
                Err(error) => {
                    signed.extend((0..width).map(|_| None));
                    report.add(Finding::Tiles(format!(
                        "{}, which leaves entries {first} to {} in doubt",
                        name(&error),
                        first + width - 1
                    )));
                    if report.is_full() {
                        return;
                    }
                }
            }
        }
        let places: HashMap<Hash, u64> = (0u64..)
            .zip(&signed)
            .filter_map(|(number, leaf)| Some(((*leaf)?, number)))
            .collect();
        for ((number, found), signed) in (0u64..).zip(&self.leaves).zip(&signed) {
            let (Some(found), Some(signed)) = (found, signed) else {
                continue;
            };
            if found != signed {
                report.add(match places.get(found) {
                    Some(belongs) => Finding::Reordered {
                        number,
                        belongs: *belongs,
                    },
                    None => Finding::Altered { number },
                });
            }
        }
    }
}

/// Compares a hash tile with what the entries give.
fn compare(
    files: &impl ReadFiles,
    findings: &mut Vec<Finding>,
    level: u8,
    index: u64,
    hashes: &[u8],
) {
    if findings.len() >= FINDINGS_MAX {
        return;
    }
    let width = u64::try_from(hashes.len() / 32).unwrap_or(WIDTH);
    let path = tile_path(level, index, width);
    match read_tile(files, level, index, width) {
        Ok(Some(found)) if found == hashes => {}
        Ok(Some(_)) => findings.push(Finding::TileAltered { path }),
        Ok(None) => findings.push(Finding::TileMissing { path }),
        Err(error) => findings.push(Finding::Unreadable { path, error }),
    }
}

fn name(error: &tlog::Error) -> String {
    match error {
        tlog::Error::InvalidInput(what) => what.clone(),
        other => other.to_string(),
    }
}

impl Report {
    pub(crate) fn of(checkpoint: Option<Checkpoint>, findings: Vec<Finding>) -> Self {
        Self {
            checkpoint,
            entries: 0,
            devices: 0,
            findings,
            more: false,
        }
    }
}
