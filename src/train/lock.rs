//! One run at a time in a folder for checkpoints.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// The name of the file that a run holds a lock on.
const NAME: &str = "lock";

/// Held by a run while it saves into a folder. The system releases it when the process ends, in any way.
///
/// The file stays in the folder: deleting it would let two runs hold a lock each, on the deleted file and on the new one.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of an existing folder.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if another run holds it, or the system cannot open the file.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let at_path = |error: io::Error| Error::from(error).at_path(&path);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(at_path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Some systems do not let other processes read a locked file.
                let holder = match file.read_to_string(&mut holder) {
                    Ok(1..) => format!("another run, process {},", holder.trim()),
                    _ => "another run".into(),
                };
                let message = format!("{holder} saves its checkpoints into this folder");
                return Err(Error::new(ErrorKind::Io, message)
                    .at_path(folder)
                    .with_help("wait until it ends, or choose another folder"));
            }
            // A file system without locks cannot keep runs apart; it can hold checkpoints.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(Self(file)),
            Err(TryLockError::Error(error)) => return Err(at_path(error)),
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(at_path)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only for people who read the file; the lock itself ends here.
        let _ = self.0.set_len(0);
    }
}
