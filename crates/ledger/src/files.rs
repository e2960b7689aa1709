//! What the ledger asks of a place to keep files.

use std::io;

/// Reading. Enough to verify a ledger and to prove things from it.
pub trait ReadFiles {
    /// The content of a file; none if there is no such file. A file of more than `max` octets is an error.
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>>;
}

/// Writing. What was written is certain to survive a power cut only after it was synced: a file's content by [`sync`], its
/// name and the names of folders by [`sync_folder`] of the folder they stand in.
///
/// Paths are relative and joined by `/`; the empty path is the root folder.
///
/// [`sync`]: Files::sync
/// [`sync_folder`]: Files::sync_folder
pub trait Files: ReadFiles {
    /// Creates a folder unless it is there; says whether it was created. The folder above it exists.
    fn make_folder(&mut self, path: &str) -> io::Result<bool>;
    /// Creates a file or replaces its content. The folder exists.
    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()>;
    /// Replaces a part of a file's content, creating or extending it if need be, with zeros up to `offset`. The folder
    /// exists. A power cut may leave any of the blocks written, but touches none outside of the part.
    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    fn sync(&mut self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&mut self, path: &str) -> io::Result<()>;
    /// Gives a file another name, atomically replacing what had it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file if it is there.
    fn remove(&mut self, path: &str) -> io::Result<()>;
    /// Removes a folder and the files in it if it is there.
    fn remove_folder(&mut self, path: &str) -> io::Result<()>;
}

impl<F: ReadFiles + ?Sized> ReadFiles for &F {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        (**self).read(path, max)
    }
}

impl<F: ReadFiles + ?Sized> ReadFiles for &mut F {
    fn read(&self, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        (**self).read(path, max)
    }
}

impl<F: Files + ?Sized> Files for &mut F {
    fn make_folder(&mut self, path: &str) -> io::Result<bool> {
        (**self).make_folder(path)
    }

    fn write(&mut self, path: &str, octets: &[u8]) -> io::Result<()> {
        (**self).write(path, octets)
    }

    fn write_at(&mut self, path: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        (**self).write_at(path, offset, octets)
    }

    fn sync(&mut self, path: &str) -> io::Result<()> {
        (**self).sync(path)
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        (**self).sync_folder(path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        (**self).remove(path)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        (**self).remove_folder(path)
    }
}
