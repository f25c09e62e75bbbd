//! Replacing any file, whole or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use super::container::atomic;
use crate::{Error, Result};

/// Writes a file at `path` such that it appears whole or not at all, even if the process is killed: a report, for example. This function calls
/// `write` with an empty temporary file in the same folder; `write` writes the contents into it. The temporary file is then synced to the disk
/// and renamed to `path`.
///
/// An existing file is replaced. The new file keeps its access permissions, and its owner if the system permits. If `path` is a symbolic link,
/// the file that it points to is replaced.
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
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if `write` or the system returns an error, if the folder of `path` does not exist, or if `path`
/// is a folder, a device, a pipe or a dangling link. `path` is then unchanged.
pub fn replace(path: impl AsRef<Path>, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    atomic::replace(path, write).map_err(|error: io::Error| Error::from(error).at_path(path))
}

/// Checks that [`replace`] and [`ModelFile::save`](super::ModelFile::save) can write a file at `path`. Call it before a run that may take
/// hours, to find a wrong path early. A file at `path` does not change, and none is created; an empty temporary file is created in the folder
/// and deleted. It does not check that there is enough space on the disk.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if the folder of `path` does not exist, if no file can be written in it, or if `path` is a
/// folder, a device, a pipe or a dangling link.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    atomic::check(path).map_err(|error| Error::from(error).at_path(path))
}
