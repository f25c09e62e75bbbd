//! Replacing any file, whole or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use super::container::atomic;
use crate::{Error, Result};

/// Writes a file at `path` by `write`, as [`ModelFile::save`](super::ModelFile::save) does: it appears whole or not at all. It replaces an
/// existing file and keeps its mode, and its owner if the system permits.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("report.json");
/// use std::io::Write as _;
///
/// starple::persist::replace(&path, |file| file.write_all(b"{}\n"))?;
/// # Ok::<(), starple::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io): an error of `write` or of the system, or `path` is not a regular file but a folder, a device, a
/// pipe or a dangling link. `path` is then unchanged.
pub fn replace(path: impl AsRef<Path>, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    atomic::replace(path, write).map_err(|error: io::Error| Error::from(error).at_path(path))
}

/// Checks, before a run that may take hours, that [`replace`] and [`ModelFile::save`](super::ModelFile::save) can write a file at `path`.
/// `path` is not changed; an empty temporary file is created beside it and deleted.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io): the folder does not exist or cannot be written, or `path` exists and is not a regular file.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    atomic::check(path).map_err(|error| Error::from(error).at_path(path))
}
