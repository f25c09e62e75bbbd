//! Files that appear at once or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::Builder;

/// Writes a file at `path` by `write`, in place of the one that may be there.
///
/// The content goes into a temporary file in the same folder, to the disk, and then takes the name `path`. Whenever the process or the
/// machine stops, there is the old file or the new one, whole; a killed process may leave a temporary file behind, whose name starts
/// with that of the file and a dot, and ends with `.tmp`. The mode is that of the file that is replaced, or what any new file gets.
/// A symbolic link stays one: what it points to is replaced.
pub(crate) fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let target = if path.is_symlink() { fs::canonicalize(path)? } else { path.to_owned() };
    let folder = folder(&target);
    let prefix = target.file_name().map_or_else(String::new, |name| format!(".{}.", name.to_string_lossy()));
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    like_any_new_file(&mut builder);
    // On every way out but the last it is deleted.
    let mut temporary = builder.tempfile_in(&folder)?;
    if let Ok(old) = fs::metadata(&target) {
        temporary.as_file().set_permissions(old.permissions())?;
    }
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    sync_folder(&folder)?;
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Asks for the mode that programs ask for when they make a file; the system takes away what the user's mask forbids.
#[cfg(unix)]
fn like_any_new_file(builder: &mut Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn like_any_new_file(_: &mut Builder<'_, '_>) {}

/// Brings the new name to the disk too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
