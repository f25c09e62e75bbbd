//! The arguments of the examples.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use starple::Result;
use starple::persist::check_place;

use super::output::{check_text, err, out, resolved};
use super::wrong;

/// The arguments that an example takes beside its file and `--set key=value`.
pub(crate) struct Flags<'a> {
    pub(crate) usage: &'a str,
    /// Flags that name a text file to write.
    pub(crate) texts: &'a [&'a str],
    /// Flags that name a model file to write.
    pub(crate) models: &'a [&'a str],
    /// Flags without a value, each with a flag that it needs.
    pub(crate) switches: &'a [(&'a str, &'a str)],
}

/// The arguments: a file, `--set key=value` any number of times, flags that name a file to write, and switches.
pub(crate) struct Arguments {
    pub(crate) file: PathBuf,
    pub(crate) sets: Vec<String>,
    outputs: Vec<(String, PathBuf)>,
    #[allow(dead_code, reason = "not every example has switches")]
    switches: Vec<String>,
}

impl Arguments {
    /// Reads them, and sees that every file that they name can be written: before a run that may take hours. What is wrong is said on stderr;
    /// `--help` shows the usage.
    pub(crate) fn read(flags: &Flags<'_>) -> Result<Self, ExitCode> {
        let arguments = Self::parse(flags, std::env::args_os().skip(1))?;
        arguments.check(flags).map_err(|error| {
            err(format_args!("error: {error}"));
            ExitCode::FAILURE
        })?;
        Ok(arguments)
    }

    fn parse(flags: &Flags<'_>, mut arguments: impl Iterator<Item = OsString>) -> Result<Self, ExitCode> {
        let refused = |problem: &str| {
            let line = if problem.is_empty() { String::new() } else { format!("{problem}\n") };
            err(format_args!("{line}{}", flags.usage));
            ExitCode::from(2)
        };
        let (mut file, mut sets, mut outputs, mut switches) = (None, Vec::new(), Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            let text = argument.to_str().unwrap_or_default();
            if ["--help", "-h"].contains(&text) {
                out(flags.usage);
                return Err(ExitCode::SUCCESS);
            }
            let (flag, value) = match text.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(OsString::from(value))),
                _ => (text, None),
            };
            let names_file = flags.texts.contains(&flag) || flags.models.contains(&flag);
            if flag == "--set" || names_file {
                let value = value.or_else(|| arguments.next());
                let value = value.ok_or_else(|| refused(&format!("{flag}: expected a value after it")))?;
                if flag == "--set" {
                    sets.push(value.into_string().map_err(|value| refused(&format!("--set {}", value.display())))?);
                } else if outputs.iter().any(|(known, _)| known == flag) {
                    return Err(refused(&format!("{flag}: given twice")));
                } else {
                    outputs.push((flag.to_owned(), PathBuf::from(value)));
                }
            } else if value.is_none() && flags.switches.iter().any(|(switch, _)| *switch == flag) {
                switches.push(flag.to_owned());
            } else if flag.starts_with('-') || file.is_some() {
                return Err(refused(&format!("unexpected argument {:?}", argument.display().to_string())));
            } else {
                file = Some(PathBuf::from(argument));
            }
        }
        for (switch, needs) in flags.switches {
            let given = switches.iter().any(|known| known == switch);
            if given && !outputs.iter().any(|(flag, _)| flag == needs) {
                return Err(refused(&format!("{switch}: expected {needs} beside it")));
            }
        }
        let file = file.ok_or_else(|| refused(""))?;
        Ok(Self { file, sets, outputs, switches })
    }

    fn check(&self, flags: &Flags<'_>) -> Result<()> {
        for (number, (flag, path)) in self.outputs.iter().enumerate() {
            let place = if flags.models.contains(&flag.as_str()) { check_place(path) } else { check_text(path) };
            place.map_err(|error| wrong(format!("{flag} {error}")))?;
            // A device takes anything.
            let special = path.exists() && !path.is_file();
            for (other, known) in &self.outputs[..number] {
                if !special && resolved(path) == resolved(known) {
                    return Err(wrong(format!("{flag} {}: {other} names the same file", path.display())));
                }
            }
        }
        self.check_inputs([&self.file])
    }

    /// Sees that nothing that is read would be written over.
    pub(crate) fn check_inputs<'a>(&self, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        for input in inputs {
            if let Some((flag, path)) = self.outputs.iter().find(|(_, path)| resolved(path) == resolved(input)) {
                return Err(wrong(format!("{flag} {}: this file is read", path.display())));
            }
        }
        Ok(())
    }

    /// The file that this flag names.
    pub(crate) fn output(&self, flag: &str) -> Option<&Path> {
        self.outputs.iter().find(|(name, _)| name == flag).map(|(_, path)| path.as_path())
    }

    /// Whether this switch was given.
    #[allow(dead_code, reason = "not every example has switches")]
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.switches.iter().any(|known| known == name)
    }

    /// The exit code of what was done: it went well, it did not (and said so), or it could not.
    pub(crate) fn exit(done: Result<bool>) -> ExitCode {
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                err(format_args!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}
