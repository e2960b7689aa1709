//! Reading tiles and bundles from files.
//!
//! What C2SP tlog-tiles asks of readers: when a partial tile is gone because it has become full since, the full one takes
//! its place. And nothing is believed that does not lead up to the signed root.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{self, HashReader};

use crate::checkpoint::Checkpoint;
use crate::edge::Edge;
use crate::files::ReadFiles;
use crate::hash::Hash;
use crate::layout::{
    BUNDLE_MAX, HEIGHT, TILE_OCTETS, WIDTH, bundle_path, hashes_at, tile, tile_path,
};

/// Tiles kept in memory at most: 32 MiB.
const CACHED_MAX: usize = 4096;

/// A hash tile cut to its first `width` hashes; none if it is not there. What is there may be of another length.
pub(crate) fn read_tile(
    files: &impl ReadFiles,
    level: u8,
    index: u64,
    width: u64,
) -> io::Result<Option<Vec<u8>>> {
    if let Some(octets) = files.read(&tile_path(level, index, width), TILE_OCTETS)? {
        return Ok(Some(octets));
    }
    if width >= WIDTH {
        return Ok(None);
    }
    let full = files.read(&tile_path(level, index, WIDTH), TILE_OCTETS)?;
    Ok(full.map(|mut octets| {
        octets.truncate(usize::try_from(width).unwrap_or(0).saturating_mul(32));
        octets
    }))
}

/// The bundle that holds the first `width` entries from 256 * `index` on; it may hold more.
pub(crate) fn read_bundle(
    files: &impl ReadFiles,
    index: u64,
    width: u64,
) -> io::Result<Option<Vec<u8>>> {
    let found = files.read(&bundle_path(index, width), BUNDLE_MAX)?;
    if found.is_some() || width >= WIDTH {
        return Ok(found);
    }
    files.read(&bundle_path(index, WIDTH), BUNDLE_MAX)
}

/// The hashes of a tree as its tiles give them, each led up to the signed root before it is given out.
///
/// The library has such a reader, `TileHashReader`. Version 0.2 does not compare all tiles with their parents: it begins
/// with as many tiles as the tree has whole subtrees on its right edge, although several of these lie in one tile. The test
/// `entry_and_tile_altered_together_are_found` fails with it.
pub(crate) struct Tiles<'a, F> {
    files: &'a F,
    edge: Edge,
    full: RefCell<HashMap<(u8, u64), Vec<u8>>>,
}

impl<'a, F: ReadFiles> Tiles<'a, F> {
    /// Reads the right edge and checks that it gives the root.
    pub(crate) fn open(files: &'a F, checkpoint: &Checkpoint) -> Result<Self, tlog::Error> {
        let size = checkpoint.size();
        let mut levels = Vec::new();
        for level in (0u8..).take_while(|level| hashes_at(*level, size) > 0) {
            let width = hashes_at(level, size) % WIDTH;
            levels.push(match width {
                0 => Vec::new(),
                _ => read_whole(files, level, hashes_at(level, size) / WIDTH, width)?,
            });
        }
        let edge = Edge::of(size, levels);
        if edge.root()? != checkpoint.root() {
            return Err(tlog::Error::InvalidInput(
                "those of the right edge give another one".to_owned(),
            ));
        }
        Ok(Self {
            files,
            edge,
            full: RefCell::default(),
        })
    }

    /// The leaf hashes of the entries from 256 * `index` on.
    pub(crate) fn leaves(&self, index: u64) -> Result<Vec<Hash>, tlog::Error> {
        let octets = self.hashes(0, index)?;
        let (hashes, _) = octets.as_chunks::<32>();
        Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
    }

    /// The hashes of a tile.
    fn hashes(&self, level: u8, index: u64) -> Result<Vec<u8>, tlog::Error> {
        let size = self.edge.size();
        if index >= hashes_at(level + 1, size) {
            let (_, _, hashes) = self
                .edge
                .unfinished()
                .find(|(at, number, _)| (*at, *number) == (level, index))
                .ok_or(tlog::Error::IndexesNotInTree)?;
            return Ok(hashes.to_vec());
        }
        if let Some(hashes) = self.full.borrow().get(&(level, index)) {
            return Ok(hashes.clone());
        }
        let octets = read_whole(self.files, level, index, WIDTH)?;
        // At most as deep as there are levels of tiles, of which the bound on sizes leaves six.
        let above = self.hashes(level + 1, index / WIDTH)?;
        let start = usize::try_from(index % WIDTH).map_err(|_| tlog::Error::BadMath)? * 32;
        let known = above.get(start..start + 32);
        if known != Some(Tile::subtree_hash(&octets).0.as_slice()) {
            return Err(tlog::Error::InvalidInput(format!(
                "{} was altered",
                tile_path(level, index, WIDTH)
            )));
        }
        let mut full = self.full.borrow_mut();
        if full.len() >= CACHED_MAX {
            full.clear();
        }
        full.insert((level, index), octets.clone());
        Ok(octets)
    }
}

impl<F: ReadFiles> HashReader for Tiles<'_, F> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        indexes
            .iter()
            .map(|index| {
                let wanted = Tile::from_index(HEIGHT, *index);
                let (level, number) = (wanted.level(), wanted.level_index());
                let hashes = self.hashes(level, number)?;
                let width = u64::try_from(hashes.len() / 32).unwrap_or(WIDTH);
                tile(level, number, width).hash_at_index(&hashes, *index)
            })
            .collect()
    }
}

/// A tile that is there and as long as it should be.
fn read_whole(
    files: &impl ReadFiles,
    level: u8,
    index: u64,
    width: u64,
) -> Result<Vec<u8>, tlog::Error> {
    let path = || tile_path(level, index, width);
    let problem = match read_tile(files, level, index, width) {
        Ok(Some(octets)) if u64::try_from(octets.len()) == Ok(width * 32) => return Ok(octets),
        Ok(Some(_)) => format!("{} has another length", path()),
        Ok(None) => format!("{} is missing", path()),
        Err(error) => format!("{} cannot be read: {error}", path()),
    };
    Err(tlog::Error::InvalidInput(problem))
}
