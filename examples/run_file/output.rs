//! Output of the examples: lines, which can be lost, and files, which must not.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use starple::persist::{check_writable, replace};
use starple::{Error, Result};

use super::wrong;

/// Writes a line to stdout. If stdout is closed or full, the line is lost and the work continues; `println!` would panic.
pub(crate) fn out(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a line to stderr, as [`out`] does.
pub(crate) fn err(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes `value` to a JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(wrong)?;
    write(path, &(text + "\n"))
}

/// Writes a text file completely or not at all. A path that is not a regular file, such as a pipe, is written directly.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if is_stdout(path) {
        // Replacing the path by a new file would not reach the reader of the pipe.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    if is_special(path) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        return written.map_err(|error| Error::from(error).at_path(path));
    }
    replace(path, |file| file.write_all(text.as_bytes()))
}

/// Checks that [`write`] could write there now.
pub(crate) fn check_text(path: &Path) -> Result<()> {
    if is_special(path) || is_stdout(path) { Ok(()) } else { check_writable(path) }
}

/// The resolved path, to compare two paths. The file need not exist.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let new = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
    };
    fs::canonicalize(path).ok().or_else(new).unwrap_or_else(|| path.to_owned())
}

/// Whether the path is a device, a pipe or a socket.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

#[cfg(unix)]
fn is_stdout(path: &Path) -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let stdout = || fs::File::from(io::stdout().as_fd().try_clone_to_owned().ok()?).metadata().ok();
    let same = |file: fs::Metadata| stdout().is_some_and(|out| (out.dev(), out.ino()) == (file.dev(), file.ino()));
    fs::metadata(path).is_ok_and(same)
}

#[cfg(not(unix))]
fn is_stdout(_: &Path) -> bool {
    false
}
