//! Where things lie, by C2SP tlog-tiles: hash tiles of height 8, bundles of entries, and the checkpoint. The folder can be
//! served as it is.

use tlog_tiles::tile::Tile;

use crate::entry::ENTRY_MAX;

/// The signed checkpoint.
pub const CHECKPOINT: &str = "checkpoint";

/// The next checkpoint, until it has taken the place of [`CHECKPOINT`]. See `Ledger` for what a crash leaves.
pub(crate) const PENDING: &str = ".checkpoint.pending";

/// Levels of the tree in one tile.
pub(crate) const HEIGHT: u8 = 8;

/// Hashes in a full tile, entries in a full bundle.
pub(crate) const WIDTH: u64 = 1 << HEIGHT;

/// Octets of a full hash tile.
pub(crate) const TILE_OCTETS: usize = 256 * 32;

/// Octets of a bundle at most.
pub(crate) const BUNDLE_MAX: usize = 256 * (2 + ENTRY_MAX);

/// Path of a hash tile: `width` hashes of level 8 * `level`, beginning with number 256 * `index`.
pub fn tile_path(level: u8, index: u64, width: u64) -> String {
    // The library puts the height into the path; the specification has it fixed.
    tile(level, index, width)
        .path()
        .replacen("tile/8/", "tile/", 1)
}

/// Path of a bundle: `width` entries beginning with number 256 * `index`.
pub fn bundle_path(index: u64, width: u64) -> String {
    let path = Tile::new(HEIGHT, 0, index, clamp(width), true).path();
    // The library writes "data" for what the specification has called "entries" since it left Go's checksum database.
    path.replacen("tile/8/data/", "tile/entries/", 1)
}

/// The folder in which partial versions of a tile or bundle lie, given the path of the full one.
pub(crate) fn partials(full: &str) -> String {
    format!("{full}.p")
}

/// The library's name for a tile.
pub(crate) fn tile(level: u8, index: u64, width: u64) -> Tile {
    Tile::new(HEIGHT, level.min(7), index, clamp(width), false)
}

/// How many hashes there are at a level of tiles.
pub(crate) fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT))
        .unwrap_or(0)
}

/// Appends an entry to a bundle. The caller has bounded it.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// Splits a bundle into its entries, and what is left over behind the last whole one.
pub(crate) fn entries(mut bundle: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let Some((entry, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
            break;
        };
        entries.push(entry);
        bundle = rest;
    }
    (entries, bundle)
}

fn clamp(width: u64) -> u32 {
    // The library panics on tiles that cannot be.
    u32::try_from(width.clamp(1, WIDTH)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of C2SP tlog-tiles.
    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 0, 256), "tile/0/000");
        assert_eq!(tile_path(1, 0, 1), "tile/1/000.p/1");
        assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(0, 273, 112), "tile/0/273.p/112");
        assert_eq!(bundle_path(0, 256), "tile/entries/000");
        assert_eq!(bundle_path(1_234_067, 8), "tile/entries/x001/x234/067.p/8");
        assert_eq!(partials(&bundle_path(9, 256)), "tile/entries/009.p");
    }

    #[test]
    fn bundles_come_apart_as_they_were_put_together() {
        let mut bundle = Vec::new();
        for entry in [&b"one"[..], b"", b"three"] {
            push_entry(&mut bundle, entry);
        }
        assert_eq!(bundle, b"\x00\x03one\x00\x00\x00\x05three");
        assert_eq!(
            entries(&bundle),
            (vec![&b"one"[..], b"", b"three"], &b""[..])
        );
        bundle.pop();
        assert_eq!(
            entries(&bundle),
            (vec![&b"one"[..], b""], &b"\x00\x05thre"[..])
        );
    }
}
