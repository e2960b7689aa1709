//! The right edge of the tree: all that is needed to append to it and to compute its root.

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{self, HashReader};

use crate::hash::Hash;
use crate::layout::{HEIGHT, TILE_OCTETS, WIDTH, hashes_at, tile};

/// The tiles of the right edge. Everything to the left of them is full and never changes.
#[derive(Clone, Default)]
pub(crate) struct Edge {
    size: u64,
    /// The hashes of the unfinished tile of each level, lowest first.
    levels: Vec<Vec<u8>>,
}

impl Edge {
    /// The edge of a tree of so many leaves, given its unfinished tiles, lowest first.
    pub(crate) fn of(size: u64, levels: Vec<Vec<u8>>) -> Self {
        Self { size, levels }
    }

    /// Leaves so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. Tiles that this fills are given to `full`: level, index, hashes.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut dyn FnMut(u8, u64, Vec<u8>)) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0u8.. {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::with_capacity(TILE_OCTETS));
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else {
                return;
            };
            hashes.extend_from_slice(&hash.0);
            if hashes.len() < TILE_OCTETS {
                return;
            }
            hash = Tile::subtree_hash(hashes).into();
            let index = hashes_at(level + 1, self.size) - 1;
            full(level, index, std::mem::take(hashes));
        }
    }

    /// The unfinished tiles: level, index, hashes; none of them empty.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (u8, u64, &[u8])> {
        (0u8..)
            .zip(&self.levels)
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(|(level, hashes)| (level, hashes_at(level + 1, self.size), hashes.as_slice()))
    }

    /// The root.
    pub(crate) fn root(&self) -> Result<Hash, tlog::Error> {
        Ok(tlog::tree_hash(self.size, self)?.into())
    }
}

impl HashReader for Edge {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        indexes
            .iter()
            .map(|index| {
                let wanted = Tile::from_index(HEIGHT, *index);
                let level = wanted.level();
                let hashes = self
                    .levels
                    .get(usize::from(level))
                    .filter(|_| wanted.level_index() == hashes_at(level + 1, self.size))
                    .ok_or(tlog::Error::IndexesNotInTree)?;
                let width = u64::try_from(hashes.len() / 32).unwrap_or(WIDTH);
                tile(level, wanted.level_index(), width).hash_at_index(hashes, *index)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    #[test]
    fn roots_are_those_of_an_independent_tree() {
        let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut edge = Edge::default();
        assert_eq!(edge.root().unwrap(), Hash::EMPTY);
        let mut full = 0;
        for number in 0u32..1_100 {
            let leaf = number.to_be_bytes().to_vec();
            edge.push(Hash::of_leaf(&leaf), &mut |level, index, hashes| {
                assert_eq!(hashes.len(), TILE_OCTETS);
                assert_eq!((level, index), (0, full));
                full += 1;
            });
            oracle.push(leaf);
            assert_eq!(
                edge.root().unwrap().0.as_slice(),
                oracle.root().as_bytes().as_slice(),
                "after {number}"
            );
        }
        assert_eq!(full, 4);
    }

    #[test]
    fn tiles_of_tiles_fill_up() {
        let mut edge = Edge::default();
        let mut full = Vec::new();
        for _ in 0..WIDTH * WIDTH + 300 {
            edge.push(Hash([1; 32]), &mut |level, index, _| {
                if level > 0 || index == 256 {
                    full.push((level, index));
                }
            });
        }
        assert_eq!(full, [(1, 0), (0, 256)]);
        let edges: Vec<_> = edge
            .unfinished()
            .map(|(level, index, hashes)| (level, index, hashes.len() / 32))
            .collect();
        assert_eq!(edges, [(0, 257, 44), (1, 1, 1), (2, 0, 1)]);
        edge.root().unwrap();
    }
}
