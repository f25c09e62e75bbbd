//! The folder of a run's checkpoints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::Lock;
use crate::persist::container::atomic;
use crate::{Error, ErrorKind, Result};

/// The name of a checkpoint is this, the number of steps done, and the ending.
const PREFIX: &str = "step-";
const ENDING: &str = ".safetensors";

/// The suffix that a damaged checkpoint gets.
const DAMAGED: &str = ".damaged";

/// The name of the model file with the best epoch's weights.
const BEST: &str = "best.safetensors";

crate::settings! {
    /// The settings of checkpoints: the folder into which a [`Trainer`](super::Trainer) saves its run, how often it saves, and how many
    /// checkpoints it keeps. Give them to [`Trainer::checkpoints`](super::Trainer::checkpoints).
    ///
    /// A *checkpoint* is a file from which an interrupted run can be resumed: it has the weights, the state of the optimizer and the report
    /// so far. One is saved at the end of each epoch, when a callback ends the run after a step, and optionally more often. The folder has
    /// these files:
    ///
    /// * `step-0000001200.safetensors` is the checkpoint after 1200 optimizer steps. [`Trainer::resume`](super::Trainer::resume) continues
    ///   from the latest one.
    /// * `best.safetensors` is a [model file](crate::persist) with the weights of the best epoch so far (without validation rows: of the last
    ///   epoch). Until the run has ended, its [record](crate::persist::RunRecord) says that the run did not finish.
    /// * `step-….safetensors.damaged` is a checkpoint that was damaged when a run resumed; the run continued from an earlier one.
    /// * `lock` keeps other runs out of the folder: only one run at a time can save into it. While a run saves into the folder, the file has
    ///   the id of its process. It stays in the folder; do not delete it.
    ///
    /// Each file appears whole or not at all, so you can kill the process at any moment. The next run deletes the temporary files that a
    /// killed process leaves.
    ///
    /// ```
    /// use starple::train::Checkpoints;
    ///
    /// let checkpoints = Checkpoints::builder().folder("runs/star").every_minutes(10.0).keep(3).build()?;
    /// assert_eq!(checkpoints.folder().to_str(), Some("runs/star"));
    /// # Ok::<(), starple::Error>(())
    /// ```
    Checkpoints, CheckpointsBuilder, in files {
        /// The path of the folder. It has no default: `build` returns an error if it is not set or empty. The run creates the folder if it does
        /// not exist. Each run needs its own folder: [`Trainer::fit`](super::Trainer::fit) returns an error if the folder has checkpoints of
        /// an earlier run.
        folder: PathBuf = PathBuf::new(), from impl Into<PathBuf>, as &Path;
        /// A checkpoint is also saved when this number of optimizer steps was done since the last checkpoint. At least 1; default `None`: no
        /// checkpoint is saved because of the number of steps. If `every_minutes` is set too, each of them triggers checkpoints.
        every_steps: Option<u64> = None, some u64;
        /// A checkpoint is also saved when this number of minutes has passed since the last checkpoint, or since the start of the run; the time
        /// is checked after each step. A finite number above 0; default `None`: no checkpoint is saved because of the time.
        every_minutes: Option<f64> = None, some f64;
        /// The number of checkpoints that stay in the folder, at least 1; default 2. After each new checkpoint, all but the latest `keep` are
        /// deleted. With at least 2, a run can still resume if the latest one is damaged. `best.safetensors` does not count and is never deleted.
        keep: usize = 2;
    }
    check(this, problems) {
        problems.require(!this.folder.as_os_str().is_empty(), || "folder: a path that is not empty".into());
        problems.require(this.every_steps != Some(0), || "every_steps: at least 1, found 0".into());
        if let Some(minutes) = this.every_minutes {
            problems.require(minutes > 0.0 && minutes.is_finite(), || {
                format!("every_minutes: a finite number above 0, found {minutes}")
            });
        }
        problems.require(this.keep >= 1, || "keep: at least 1, found 0".into());
    }
}

impl Checkpoints {
    /// Returns the paths of the checkpoints in the folder, in the order of their steps: the latest one is the last. The list is empty if the
    /// folder does not exist. The files are not read. `best.safetensors`, and damaged checkpoints that were renamed, are not in the list.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the folder exists and cannot be read.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for path in files(self.folder()).map_err(|error| Error::from(error).at_path(self.folder()))? {
            if let Some(steps) = path.file_name().and_then(|name| name.to_str()).and_then(steps_of) {
                found.push((steps, path));
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// Returns the path of the [model file](crate::persist) with the weights of the best epoch so far: `best.safetensors` in the folder.
    /// Without validation rows, they are those of the last epoch. The file exists as soon as the run has completed an epoch; this method
    /// does not check it. [`Saved::load`](crate::persist::Saved::load) reads the file.
    pub fn best(&self) -> PathBuf {
        self.folder().join(BEST)
    }

    /// Checks that a run can save its checkpoints: the folder can be written, and no other run saves into it. Call it before you read rows, to
    /// find a wrong path early. The folder is created if it does not exist. It does not check whether the folder has checkpoints of an earlier
    /// run.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the folder cannot be created or written, or another run has locked it.
    pub fn check(&self) -> Result<()> {
        let _held = self.lock()?;
        atomic::check(&self.best()).map_err(|error| Error::from(error).at_path(self.folder()))
    }

    /// Creates the folder, and locks it.
    pub(super) fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(self.folder()).map_err(|error| Error::from(error).at_path(self.folder()))?;
        Lock::take(self.folder())
    }

    /// Whether a checkpoint is due, this number of steps and this much time after the last one.
    pub(super) fn due(&self, steps: u64, time: Duration) -> bool {
        self.0.every_steps.is_some_and(|every| steps >= every)
            || self.0.every_minutes.is_some_and(|minutes| time.as_secs_f64() >= 60.0 * minutes)
    }

    /// Prepares the folder for a run that starts at step 0.
    pub(super) fn start(&self) -> Result<()> {
        if let Some(path) = self.list()?.pop() {
            let message = "the folder has checkpoints of an earlier run";
            return Err(Error::new(ErrorKind::Config, message)
                .at_path(path)
                .with_help("resume that run with Trainer::resume, or choose another folder"));
        }
        self.tidy_temporary();
        Ok(())
    }

    /// Deletes the temporary files of killed runs.
    pub(super) fn tidy_temporary(&self) {
        atomic::tidy(self.folder(), |name| name == BEST || steps_of(name).is_some());
    }

    pub(super) fn path(&self, steps: u64) -> PathBuf {
        self.folder().join(format!("{PREFIX}{steps:010}{ENDING}"))
    }

    /// Deletes all checkpoints but the latest ones.
    pub(super) fn tidy(&self) -> Result<()> {
        let paths = self.list()?;
        for path in &paths[..paths.len().saturating_sub(self.0.keep)] {
            fs::remove_file(path).map_err(|error| Error::from(error).at_path(path))?;
        }
        Ok(())
    }
}

/// Renames a damaged checkpoint, so that it does not count as the latest.
pub(super) fn set_aside(path: &Path) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED);
    fs::rename(path, aside).map_err(|error| Error::from(error).at_path(path))
}

/// The entries of a folder; none if it does not exist.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// The number of steps in a checkpoint's name.
fn steps_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?.parse().ok()
}
