//! The finished runs of a comparison, on disk, so that a stopped comparison can resume.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use starple::data::{DataSet, Splits};
use starple::metrics::Report;
use starple::train::FitReport;
use starple::{Error, ErrorKind, Result};

use super::RunResult;

/// The start of every line. The checksum of the text after the comma follows.
const START: &str = r#"{"sum":""#;
const AFTER_SUM: &str = "\",";

/// Everything that a run's figures depend on. A line with another key is another run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunKey {
    /// The version of the crate: another version may compute other figures.
    version: String,
    kind: String,
    seed: u64,
    model: Value,
    train: Value,
    rows: RowsKey,
}

/// The rows of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct RowsKey {
    layout: u32,
    train: u32,
    val: u32,
    test: u32,
}

impl RowsKey {
    pub(super) fn of(splits: &Splits) -> Self {
        let layout = serde_json::to_vec(&splits.layout).unwrap_or_default();
        let [train, val, test] = [&*splits.train, &splits.val, &splits.test].map(DataSet::checksum);
        Self { layout: crc32fast::hash(&layout), train, val, test }
    }
}

impl RunKey {
    /// `model` and `train` are the settings without seed.
    pub(super) fn new(kind: &str, seed: u64, model: &Value, train: &Value, rows: RowsKey) -> Self {
        let mut train = train.clone();
        if let Some(settings) = train.as_object_mut() {
            // It changes no figure.
            settings.remove("threads");
        }
        let (version, model) = (env!("CARGO_PKG_VERSION").into(), model.clone());
        Self { version, kind: kind.into(), seed, model, train, rows }
    }

    /// The key as text. JSON objects are written with sorted keys.
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A line without its checksum.
#[derive(Serialize, Deserialize)]
struct JournalLine {
    contender: String,
    key: RunKey,
    fit: FitReport,
    failed: Option<String>,
    test: Option<Report>,
}

/// The file, open for new lines, and the runs that it had.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    runs: HashMap<String, RunResult>,
}

/// The contents of an existing journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Runs, of any settings.
    pub(super) runs: usize,
    /// Truncated or damaged lines.
    pub(super) damaged: usize,
}

impl Journal {
    /// Opens the journal, or creates it. Lines that a crash truncated are skipped.
    pub(super) fn open(path: &Path) -> Result<(Self, Found)> {
        let wrong = |error: std::io::Error| Error::from(error).at_path(path);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(wrong)?;
        // Two comparisons would repeat each other's runs, and their lines could mix.
        if file.try_lock().is_err() {
            let message = "another comparison writes this journal";
            return Err(Error::new(ErrorKind::Io, message)
                .at_path(path)
                .with_help("wait for its end, or name another journal"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(wrong)?;
        let (mut runs, mut found) = (HashMap::new(), Found::default());
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match std::str::from_utf8(line).ok().and_then(read) {
                Some(JournalLine { key, fit, failed, test, .. }) => {
                    found.runs += 1;
                    runs.insert(key.text(), RunResult { seed: key.seed, fit, failed, test });
                }
                None => found.damaged += 1,
            }
        }
        if found.runs == 0 && found.damaged > 0 && !bytes.starts_with(START.as_bytes()) {
            // The file may be anything: do not write into it.
            let message = "the file is no journal of a comparison";
            return Err(Error::new(ErrorKind::Foreign, message).at_path(path).with_help("name another, or delete it"));
        }
        if bytes.last().is_some_and(|&byte| byte != b'\n') {
            // The next line must not continue a truncated one.
            file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(b"\n")).map_err(wrong)?;
        }
        Ok((Self { path: path.to_owned(), file, runs }, found))
    }

    /// Takes out the run with this key, if it is done.
    pub(super) fn take(&mut self, key: &RunKey) -> Option<RunResult> {
        self.runs.remove(&key.text())
    }

    /// Adds a finished run, in one write. It is on disk when this returns.
    pub(super) fn add(&mut self, contender: &str, key: RunKey, run: &RunResult) -> Result<()> {
        let RunResult { fit, failed, test, .. } = run.clone();
        let entry = JournalLine { contender: contender.into(), key, fit, failed, test };
        let json = serde_json::to_string(&entry)
            .map_err(|error| Error::new(ErrorKind::Config, format!("a run cannot be written: {error}")))?;
        let rest = &json[1..];
        let line = format!("{START}{:08x}{AFTER_SUM}{rest}\n", crc32fast::hash(rest.as_bytes()));
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::from(error).at_path(&self.path))
    }
}

/// Parses a line; `None` if it is truncated or damaged.
fn read(line: &str) -> Option<JournalLine> {
    let (sum, rest) = line.strip_prefix(START)?.split_once(AFTER_SUM)?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(rest.as_bytes())).then(|| serde_json::from_str(&format!("{{{rest}")).ok())?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::made_up::{failed, report, run};
    use super::*;

    fn key(seed: u64, lr: f64) -> RunKey {
        let rows = RowsKey { layout: 1, train: 2, val: 3, test: 4 };
        let train = serde_json::json!({ "lr": lr, "threads": 2 });
        RunKey::new("star", seed, &serde_json::json!({ "hidden": [8] }), &train, rows)
    }

    fn runs() -> [(RunKey, RunResult); 3] {
        let reported = report(&["click"], &["search", "feed"], |_, d| (d == 0).then_some(0.1 + 1.0 / 3.0));
        [(key(1, 0.1), run(1, reported.clone())), (key(2, 0.1), failed(2)), (key(1, 0.2), run(1, reported))]
    }

    fn written(path: &Path) {
        let (mut journal, found) = Journal::open(path).unwrap();
        assert_eq!(found, Found::default());
        for (key, run) in runs() {
            journal.add("star", key, &run).unwrap();
        }
    }

    #[test]
    fn runs_come_back_to_the_bit_by_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        written(&path);
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, Found { runs: 3, damaged: 0 });
        for (key, run) in runs() {
            assert_eq!(journal.take(&key), Some(run));
        }
        assert_eq!(journal.take(&key(3, 0.1)), None);
        assert_eq!(journal.take(&key(1, 0.3)), None);
        // Every line is JSON for other programs.
        for line in fs::read_to_string(&path).unwrap().lines() {
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()["contender"], "star");
        }
    }

    #[test]
    fn wherever_a_line_is_cut_or_changed_the_others_are_read_and_more_may_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        written(&path);
        let whole = fs::read(&path).unwrap();
        let third = whole.len() - 1 - whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
        // All but its first byte at most: a line that is gone altogether is none that is damaged.
        for cut in [1, 2, third / 2, third - 2] {
            fs::write(&path, &whole[..whole.len() - 1 - cut]).unwrap();
            let (mut journal, found) = Journal::open(&path).unwrap();
            assert_eq!(found, Found { runs: 2, damaged: 1 }, "{cut} bytes less");
            let [_, _, (key, run)] = runs();
            assert_eq!(journal.take(&key), None);
            journal.add("star", key.clone(), &run).unwrap();
            drop(journal);
            let (mut journal, found) = Journal::open(&path).unwrap();
            assert_eq!((found, journal.take(&key)), (Found { runs: 3, damaged: 1 }, Some(run)));
        }
        for place in [9, whole.len() / 3, whole.len() / 2, whole.len() - 3] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            let (_, found) = Journal::open(&path).unwrap();
            assert!(found.damaged >= 1 && found.runs == 2, "{place}: {found:?}");
        }
    }

    #[test]
    fn a_file_of_another_kind_and_a_journal_in_use_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        fs::write(&path, "user,item,click\n").unwrap();
        assert_eq!(Journal::open(&path).map(drop).unwrap_err().kind(), ErrorKind::Foreign);
        assert_eq!(fs::read_to_string(&path).unwrap(), "user,item,click\n");
        fs::remove_file(&path).unwrap();
        let first = Journal::open(&path).unwrap();
        let error = Journal::open(&path).map(drop).unwrap_err();
        assert!(error.to_string().contains("another comparison writes this journal"), "{error}");
        drop(first);
        Journal::open(&path).unwrap();
    }
}
