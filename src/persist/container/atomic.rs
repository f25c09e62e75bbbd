//! Files that appear whole or not at all.

use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// The random letters in the name of a temporary file.
const LETTERS: usize = 12;

/// The ending of a temporary file.
const ENDING: &str = ".tmp";

/// The most bytes of a file's name in the name of its temporary file: the length of names is limited.
const LONGEST: usize = 200;

/// Writes a file at `path` by `write`; replaces an existing file.
///
/// The content is written to a temporary file in the same folder and synced to disk; then the file is renamed to `path`. Whenever the
/// process or the machine stops, `path` is the old file or the new one, whole. A killed process may leave a temporary file,
/// `.NAME.LETTERS.tmp`, which the next call for the same file deletes. The new file keeps the mode of the old one, and its owner if the
/// system permits. A symbolic link stays a link: the file that it points to is replaced.
///
/// # Errors
/// Those of `write`, and of the system; `path` must not be a folder, a device, a pipe or a dangling link.
pub(crate) fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let Target { path: target, folder, old } = Target::of(path)?;
    tidy(&folder, |of| of == shortened(&target));
    // It is deleted on return, unless it was renamed.
    let mut temporary = temporary(&target, &folder)?;
    if let Some(old) = old {
        keep_owner(temporary.as_file(), &old);
        temporary.as_file().set_permissions(old.permissions())?;
    }
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    sync_folder(&folder)?;
    Ok(())
}

/// Checks that [`replace`] can write a file at `path`. Nothing is written.
///
/// # Errors
/// The reason why [`replace`] would fail.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let target = Target::of(path)?;
    let temporary = temporary(&target.path, &target.folder)?;
    target.check_exchange(temporary.as_file())
}

/// Deletes the temporary files of killed processes, of files whose name `of` accepts. Files that are being written stay, and so do files
/// that cannot be deleted.
pub(crate) fn tidy(folder: &Path, of: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|found| found.is_file());
        if is_file && entry.file_name().to_str().and_then(target_of).is_some_and(&of) {
            delete_if_left(&entry.path());
        }
    }
}

/// The name of a file type, for an error.
pub(crate) fn describe(found: FileType) -> &'static str {
    if found.is_dir() {
        return "folder";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if found.is_fifo() {
            return "pipe";
        }
        if found.is_socket() {
            return "socket";
        }
    }
    "device"
}

/// The place of a file to be written.
struct Target {
    /// Its name, links followed.
    path: PathBuf,
    folder: PathBuf,
    /// The existing file.
    old: Option<Metadata>,
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        let refused = |found: &str| {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("expected the name of a file, found {found}")))
        };
        let (path, old) = match fs::metadata(path) {
            Ok(old) if old.is_file() => {
                (if path.is_symlink() { fs::canonicalize(path)? } else { path.to_owned() }, Some(old))
            }
            Ok(old) => return refused(&format!("a {}", describe(old.file_type()))),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if path.is_symlink() => return refused("a link to a file that is not there"),
            Err(_) if path.file_name().is_none() || ends_as_folder(path) => return refused("that of a folder"),
            Err(_) => (path.to_owned(), None),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self { path, folder, old })
    }

    /// Checks that this process, to which `ours` belongs, may replace the old file.
    #[cfg(unix)]
    fn check_exchange(&self, ours: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(old) = &self.old else { return Ok(()) };
        let (folder, user) = (fs::metadata(&self.folder)?, ours.metadata()?.uid());
        let sticky = folder.mode() & 0o1000 != 0;
        if sticky && user != 0 && ![old.uid(), folder.uid()].contains(&user) {
            let message = "another user's file, in a folder where only that user may replace it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        if old.dev() != folder.dev() {
            let message = "a file that is mounted by itself cannot be replaced; mount its folder";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_exchange(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

fn ends_as_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&last| std::path::is_separator(char::from(last)))
}

/// The part of a file's name that the name of its temporary file has.
fn shortened(target: &Path) -> String {
    let mut name = target.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    name.truncate(name.floor_char_boundary(LONGEST));
    name
}

/// The [`shortened`] name of the file to which a temporary file of this name belongs.
fn target_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix('.')?.strip_suffix(ENDING)?;
    let (target, letters) = name.rsplit_once('.')?;
    (letters.len() == LETTERS && letters.bytes().all(|letter| letter.is_ascii_alphanumeric())).then_some(target)
}

/// A new file in the target's folder. This process locks it while it is open.
fn temporary(target: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let prefix = format!(".{}.", shortened(target));
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(ENDING).rand_bytes(LETTERS);
    like_any_new_file(&mut builder);
    loop {
        let temporary = builder.tempfile_in(folder).map_err(|error| {
            let message = format!("a file cannot be written in the folder {}: {}", folder.display(), error.kind());
            io::Error::new(error.kind(), message)
        })?;
        // On a system without locks, `tidy` deletes nothing either.
        let _ = temporary.as_file().lock();
        // Before it was locked, `tidy` of another process may have deleted it.
        if has_name(temporary.as_file())? {
            return Ok(temporary);
        }
    }
}

/// Deletes a temporary file that no process locks: its process was killed.
#[cfg(unix)]
fn delete_if_left(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    // The lock is held until the file is deleted. A process that was about to lock it then sees that it is gone.
    if file.try_lock().is_ok() {
        let _ = fs::remove_file(path);
    }
}

#[cfg(not(unix))]
fn delete_if_left(_: &Path) {}

#[cfg(unix)]
fn has_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(not(unix))]
fn has_name(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Gives a new file the owner and group of the old one, or at least the group: only root may change the owner.
#[cfg(unix)]
fn keep_owner(new: &File, old: &Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let (user, group) = (old.uid(), old.gid());
    if new.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (user, group)) {
        return;
    }
    if fchown(new, Some(user), Some(group)).is_err() {
        let _ = fchown(new, None, Some(group));
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) {}

/// Sets the mode that programs usually ask for; the system applies the user's mask.
#[cfg(unix)]
fn like_any_new_file(builder: &mut Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn like_any_new_file(_: &mut Builder<'_, '_>) {}

/// Syncs the folder, so that the new name is on disk too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
