//! Files that hold secrets: written whole or not at all, and refused when others may read them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Permission bits of group and others.
pub(crate) const OTHERS: u32 = 0o077;

/// Why a file with a secret was not read.
pub(crate) enum ReadError {
    /// Somebody else may access it.
    Permissions { mode: u32 },
    /// A directory, a symbolic link or something else that is no regular file.
    NotAFile,
    /// Larger than asked for.
    TooLarge,
    /// The file system failed, or the file is not UTF-8.
    Io(io::Error),
}

/// Reads a text of at most `octets_max` octets from a regular file of which no bit of `forbidden` is set.
pub(crate) fn read(
    path: &Path,
    octets_max: u64,
    forbidden: u32,
) -> Result<Zeroizing<String>, ReadError> {
    let link = fs::symlink_metadata(path).map_err(ReadError::Io)?;
    if !link.is_file() {
        return Err(ReadError::NotAFile);
    }
    // The checks are on the opened file, so that it cannot be exchanged between check and use.
    let file = File::open(path).map_err(ReadError::Io)?;
    let metadata = file.metadata().map_err(ReadError::Io)?;
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(ReadError::Permissions { mode });
    }
    let same_file = metadata.ino() == link.ino() && metadata.dev() == link.dev();
    if !metadata.is_file() || !same_file {
        return Err(ReadError::NotAFile);
    }
    if metadata.len() > octets_max {
        return Err(ReadError::TooLarge);
    }
    // Reserved at once: a growing buffer would leave copies of the secret behind.
    let capacity = usize::try_from(octets_max).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(octets_max)
        .read_to_string(&mut text)
        .map_err(ReadError::Io)?;
    Ok(text)
}

/// Writes a file of mode 0600 that is either complete or absent. Fails with `AlreadyExists` if the path is taken.
pub(crate) fn create_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    create_file(path, content, 0o600)
}

/// As [`create_private_file`], with another mode.
pub(crate) fn create_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, content, mode)?;
    // Unlike a rename, a link fails when the name is taken.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    match path.parent() {
        // The directory of a bare file name is the current one.
        Some(directory) if directory.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a file beside `path` under a name of its own. Names that a crash left behind are passed over.
fn write_temporary(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    for attempt in 0..TEMPORARY_NAMES_MAX {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        match write_new(&temporary, content, mode) {
            Ok(()) => return Ok(temporary),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                return Err(error);
            }
        }
    }
    Err(io::Error::other(
        "too many temporary files were left behind; remove *.tmp",
    ))
}

const TEMPORARY_NAMES_MAX: u32 = 16;

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
