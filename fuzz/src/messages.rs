//! The published messages of `tests/data`.

use std::fs;
use std::path::Path;

use rsp::dump::parse_input;

/// Each file as octets.
pub fn published() -> Vec<Vec<u8>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|data| data.is_dir())
        .expect("test data");
    let mut files: Vec<_> = ["vectors", "vectors/es9_session_synthetic", "ts48"]
        .iter()
        .flat_map(|directory| fs::read_dir(data.join(directory)).expect("test data"))
        .map(|entry| entry.expect("test data").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "hex" || extension == "der")
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| parse_input(&fs::read(path).expect("test data")).expect("octets"))
        .collect()
}
