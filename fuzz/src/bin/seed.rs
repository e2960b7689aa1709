//! Writes `corpus/<target>/`: published messages of `tests/data`, and what the targets are made to read.
//!
//! `cargo run --bin seed` in this directory, before the first `cargo fuzz run <target>`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    for target in palisade_fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        fs::create_dir_all(&corpus)?;
        for (number, octets) in (target.seeds)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number:03}")), octets)?;
        }
    }
    Ok(())
}
