//! Checking a whole ledger from its files alone, and naming what is wrong with it.
//!
//! The root is computed anew from the entries. If it is the one that was signed, every entry is what was signed, and what
//! remains to be compared is the hash tiles and what the entries say about each other. If it is another, the hash tiles,
//! as far as they lead up to the signed root, tell which entries are not what was signed.

use std::collections::HashMap;

use tlog_tiles::tlog;

use crate::checkpoint::{CHECKPOINT_MAX, Checkpoint};
use crate::edge::Edge;
use crate::entry::Entry;
use crate::files::ReadFiles;
use crate::hash::Hash;
use crate::heads::{HEADS, Heads};
use crate::journal::{self, Generation, Pending};
use crate::key::PublicKey;
use crate::layout::{self, CHECKPOINT, WIDTH, bundle_path, tile_path};
use crate::report::{FINDINGS_MAX, Finding, Report};
use crate::snapshot::SNAPSHOT;
use crate::tiles::{Tiles, read_bundle, read_tile};
use crate::tip::Tip;

/// Times that a verification is begun again because the ledger was published meanwhile.
const RETRIES: u32 = 5;

/// Verifies the ledger in `files`: every entry, every hash tile, the checkpoint, what entries say about each other, and
/// the journal if there is one. The ledger may be appended to and published meanwhile.
///
/// `remembered` is a checkpoint seen before. Only with it can an old copy of the whole folder be told from the ledger. Each
/// published entry is given to `visit` in order; what was done with them counts only if the report is good.
pub fn verify(
    files: &impl ReadFiles,
    key: &PublicKey,
    remembered: Option<&Checkpoint>,
    visit: &mut dyn FnMut(&Entry),
) -> Report {
    let (checkpoint, pending) = match snapshot_of(files, key) {
        Ok(found) => found,
        Err(report) => return *report,
    };
    let replay = replay(files, checkpoint, remembered, Heads::default(), 0, visit);
    let mut report = replay.report;
    let Some(pending) = pending else {
        return report;
    };
    let pending = match pending {
        Ok(pending) => pending,
        Err(finding) => {
            report.add(finding);
            return report;
        }
    };
    report.journaled = Some(pending.entries());
    // What continues something wrong says nothing by itself.
    if report.is_good() {
        let mut tip = Tip::of(replay.edge, replay.heads, replay.bundle, replay.last_at);
        if let Err(finding) = check_journal(&mut tip, &pending) {
            report.add(finding);
        }
    }
    report
}

/// The journal, if there is one.
type FoundJournal = Option<Result<Pending, Finding>>;

/// A checkpoint and the journal that continues it, as they were at one moment.
fn snapshot_of(
    files: &impl ReadFiles,
    key: &PublicKey,
) -> Result<(Checkpoint, FoundJournal), Box<Report>> {
    let read = || match read_checkpoint(files, CHECKPOINT, key) {
        Ok(Some(checkpoint)) => Ok(checkpoint),
        Ok(None) => Err(Box::new(Report::of(None, vec![Finding::NoCheckpoint]))),
        Err(finding) => Err(Box::new(Report::of(None, vec![finding]))),
    };
    let mut checkpoint = read()?;
    for _ in 0..RETRIES {
        let pending = journal::pending(files, key, &checkpoint).transpose();
        if !matches!(pending, Some(Err(_))) {
            return Ok((checkpoint, pending));
        }
        // Files of the journal are used again after a publication, perhaps just now.
        let again = read()?;
        if again.size() == checkpoint.size() {
            return Ok((checkpoint, pending));
        }
        checkpoint = again;
    }
    Ok((checkpoint, None))
}

/// Takes in what a generation of the journal holds.
pub(crate) fn continue_with(
    tip: &mut Tip,
    generation: &Generation,
    visit: &mut dyn FnMut(&Entry),
) -> Result<(), Finding> {
    for octets in &generation.entries {
        visit(&tip.admit(octets)?);
    }
    Ok(())
}

/// Checks that what the journal holds continues what is published, and with a generation behind it, the heads of devices
/// recorded between them.
fn check_journal(tip: &mut Tip, pending: &Pending) -> Result<(), Finding> {
    continue_with(tip, &pending.current, &mut |_| {})?;
    let Some(next) = &pending.next else {
        return Ok(());
    };
    let (_, found) = tip
        .seal()
        .map_err(|error| Finding::Tiles(error.to_string()))?;
    if found != next.root {
        return Err(Finding::JournalForked {
            size: next.size,
            journal: next.root,
            found,
        });
    }
    continue_with(tip, next, &mut |_| {})
}

/// What replaying a ledger gives.
pub(crate) struct Replay {
    pub(crate) report: Report,
    pub(crate) edge: Edge,
    pub(crate) heads: Heads,
    /// The octets of the unfinished bundle.
    pub(crate) bundle: Vec<u8>,
    /// The time of the last entry.
    pub(crate) last_at: u64,
    /// The last entry that vouches for a snapshot, of those that were decoded.
    pub(crate) snapshot: Option<u64>,
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

/// Reads all entries below a checkpoint and checks everything against it. Of the first `known` entries only the hashes are
/// checked: `heads` are those behind them.
pub(crate) fn replay(
    files: &impl ReadFiles,
    checkpoint: Checkpoint,
    remembered: Option<&Checkpoint>,
    heads: Heads,
    known: u64,
    visit: &mut dyn FnMut(&Entry),
) -> Replay {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let mut replay = Replay {
        report: Report::of(Some(checkpoint.clone()), Vec::new()),
        edge: Edge::default(),
        heads,
        bundle: Vec::new(),
        last_at: 0,
        snapshot: None,
    };
    let mut scan = Scan {
        files,
        size,
        known,
        remembered: remembered.map(|remembered| (remembered.size(), None)),
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
    /// Entries that are not decoded: the first so many.
    known: u64,
    /// Entries of the remembered checkpoint, and the root over as many here.
    remembered: Option<(u64, Option<Hash>)>,
    /// Whether entries are missing.
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
                    self.gaps = true;
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
                    self.gaps = true;
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
                self.gaps = true;
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

    fn entry(
        &mut self,
        number: u64,
        octets: &[u8],
        replay: &mut Replay,
        visit: &mut dyn FnMut(&Entry),
    ) {
        let leaf = Hash::of_leaf(octets);
        replay.report.entries += 1;
        if !self.gaps {
            let (files, tiles) = (self.files, &mut self.tiles);
            replay.edge.push(leaf, &mut |level, index, hashes| {
                compare(files, tiles, level, index, &hashes);
            });
            self.remember(&replay.edge);
        }
        if number < self.known || self.content.len() >= FINDINGS_MAX {
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
                if entry.kind.as_str() == SNAPSHOT {
                    replay.snapshot = Some(number);
                }
                replay.last_at = entry.at;
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
        for index in 0..self.size.div_ceil(WIDTH) {
            let first = index * WIDTH;
            let width = WIDTH.min(self.size - first);
            // What cannot be read was named before.
            let Ok(Some(bundle)) = read_bundle(self.files, index, width) else {
                continue;
            };
            let (entries, _) = layout::entries(&bundle);
            for (number, entry) in (first..first + width).zip(entries) {
                let found = Hash::of_leaf(entry);
                let at = usize::try_from(number).ok();
                let Some(Some(signed)) = at.and_then(|at| signed.get(at)) else {
                    continue;
                };
                if found == *signed {
                    continue;
                }
                report.add(match places.get(&found) {
                    Some(belongs) => Finding::Reordered {
                        number,
                        belongs: *belongs,
                    },
                    None => Finding::Altered { number },
                });
                if report.more {
                    return;
                }
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
