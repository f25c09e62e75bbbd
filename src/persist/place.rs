//! Files that are written at once or not at all, for whatever a run leaves.

use std::fs::File;
use std::io;
use std::path::Path;

use super::container::atomic;
use crate::{Error, Result};

/// Writes a file at `path` by `write`, as [`ModelFile::save`](super::ModelFile::save) does: it appears whole or not at all, and replaces a
/// file that is there, whose mode it keeps, and whose owner as far as the system lets this user.
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
/// [`ErrorKind::Io`](crate::ErrorKind::Io): that of `write` or of the system, or if there is something else than a regular file at `path`:
/// a folder, a device, a pipe, a link to a file that is not there. What was there is then as it was.
pub fn replace(path: impl AsRef<Path>, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    atomic::replace(path, write).map_err(|error: io::Error| Error::from(error).at_path(path))
}

/// Sees that [`replace`] and [`ModelFile::save`](super::ModelFile::save) could write a file at `path` now, to know it before a run that may
/// take hours. Nothing is written.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io): the folder is not there or may not be written, or `path` is something else than a regular file.
pub fn check_place(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    atomic::check(path).map_err(|error| Error::from(error).at_path(path))
}
