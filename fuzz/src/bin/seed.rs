//! Writes `corpus/<target>/` from the published messages in `tests/data`.
//!
//! `cargo run --bin seed` in this directory, before the first `cargo fuzz run <target>`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("../tests/data"), &mut files)?;
    for (target, _) in palisade_fuzz::TARGETS {
        let corpus = root.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        for (number, file) in files.iter().enumerate() {
            let octets = rsp::dump::parse_input(&fs::read(file)?).unwrap_or_default();
            fs::write(corpus.join(format!("seed-{number:03}")), octets)?;
        }
    }
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    const EXTENSIONS: [&str; 3] = ["hex", "der", "json"];
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}
