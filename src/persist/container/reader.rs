//! A file that is being read.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crc32fast::Hasher;

use super::header::{Dtype, Entry, Expected, Header};
use super::{
    BEFORE_CHECKSUM, BEFORE_FORMAT, CHUNK, DIGITS, FORMAT, LENGTH, MAX_HEADER, NO_CHECKSUM, OWN, WHAT, atomic,
};
use crate::data::listed;
use crate::{Error, ErrorKind, Result};

/// A file whose checksum and header are right. Its tensors are read one by one, in any order, inside [`Container::read`], which sees that
/// they are those that the checksum was of: a file may be overwritten while it is read.
///
/// The header is kept from the first pass, which takes the checksum of the whole file, and parsed after it. The second pass takes the
/// checksum of each tensor as it reads it.
///
/// ```text
/// let mut container = Container::open(path, "checkpoint")?;
/// let step = container.metadata("starple.step")?;
/// container.finish_metadata()?;              // an entry that was not read is an error
/// container.expect(&expected)?;              // names, shapes and numbers of all tensors
/// container.read(|container| container.read_f32(name, values))?;
/// ```
#[derive(Debug)]
pub(crate) struct Container<R> {
    source: R,
    header: Header,
    /// Of the whole file.
    checksum: u32,
    /// Where the values start.
    values: u64,
    /// Of everything before the values.
    head: Hasher,
    /// Of the tensors that were read, by where they start and end.
    sums: BTreeMap<(u64, u64), Hasher>,
    chunk: Vec<u8>,
}

impl Container<File> {
    /// Opens the file at `path`, which has to hold `what`.
    ///
    /// # Errors
    /// As [`Container::new`].
    pub(crate) fn open(path: &Path, what: &str) -> Result<Self> {
        // Opening a pipe could wait for ever.
        let found = fs::metadata(path)?.file_type();
        if !found.is_file() {
            let message = format!("expected a file, found a {}", atomic::describe(found));
            return Err(Error::new(ErrorKind::Io, message));
        }
        Self::new(File::open(path)?, what)
    }
}

impl<R: Read + Seek> Container<R> {
    /// Takes a file from its beginning to its end, whatever it stands at. It has to hold `what`.
    ///
    /// # Errors
    /// [`ErrorKind::Foreign`], [`ErrorKind::Corrupt`], [`ErrorKind::Version`], [`ErrorKind::Kind`], [`ErrorKind::Io`].
    pub(crate) fn new(mut source: R, what: &str) -> Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        let mut start = Vec::new();
        let fixed = LENGTH + BEFORE_CHECKSUM.len() + DIGITS + BEFORE_FORMAT.len();
        source.by_ref().take(fixed as u64).read_to_end(&mut start)?;
        let written = check_start(&start, length)?;
        let header_length = u64::from_le_bytes(start[..LENGTH].try_into().expect("it is as long"));
        let least = (fixed - LENGTH) as u64;
        // A file that is being overwritten may have had no length a moment ago.
        if !(least..=MAX_HEADER.min(length.saturating_sub(LENGTH as u64))).contains(&header_length) {
            let message = format!("cut off, or damaged: a header of {header_length} bytes in a file of {length}");
            return Err(corrupt(message));
        }
        // What was read already stays as it was read: the file may change.
        let mut head = start.clone();
        head.resize(LENGTH + header_length as usize, 0);
        read_exact(&mut source, &mut head[fixed..])?;
        let head_sum = sum_of_head(&head);
        let mut chunk = vec![0; CHUNK];
        let found = sum_of_rest(head_sum.clone(), &mut source, &mut chunk)?;
        if written != format!("{found:08x}").as_bytes() {
            let written = String::from_utf8_lossy(written).into_owned();
            return Err(corrupt(format!("damaged: its checksum is {found:08x}, and it says {written:?}")));
        }
        let json = &head[LENGTH..];
        check_format(json)?;
        let values = LENGTH as u64 + header_length;
        let header = Header::parse(json, length - values).map_err(|reason| corrupt(format!("damaged: {reason}")))?;
        let sums = BTreeMap::new();
        let mut container = Self { source, header, checksum: found, values, head: head_sum, sums, chunk };
        container.metadata("starple.checksum")?;
        container.metadata("starple.format")?;
        let held = container.metadata(WHAT)?;
        if held != what {
            return Err(Error::new(ErrorKind::Kind, format!("the file holds a {held}, expected a {what}")));
        }
        Ok(container)
    }

    /// The checksum of the whole file.
    pub(crate) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Reads all tensors by `work`, and sees that what was read is what the checksum is of.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Corrupt`] if the file changed since the checksum was taken, whatever else came of it.
    ///
    /// # Panics
    /// If `work` leaves out a tensor.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        match work(self) {
            Ok(read) => self.finish().map(|()| read),
            Err(error) => Err(self.blame(error)),
        }
    }

    fn finish(&self) -> Result<()> {
        let mut sum = self.head.clone();
        let mut end = 0;
        for (&(start, next), tensor) in &self.sums {
            assert_eq!(start, end, "every tensor is read");
            sum.combine(tensor);
            end = next;
        }
        // The header says so too: the tensors cover the values without gap or overlap.
        let entries = self.header.entries.values();
        assert_eq!(Some(end), entries.map(|entry| entry.data_offsets.1).max().or(Some(0)), "every tensor is read");
        if sum.finalize() == self.checksum { Ok(()) } else { Err(changed()) }
    }

    /// What is wrong where reading gave this error: if the file changed meanwhile, that is.
    fn blame(&mut self, error: Error) -> Error {
        let now = self.source.rewind().map_err(Error::from).and_then(|()| {
            let mut head = vec![0; self.values as usize];
            read_exact(&mut self.source, &mut head)?;
            sum_of_rest(sum_of_head(&head), &mut self.source, &mut self.chunk)
        });
        match now {
            Ok(now) if now == self.checksum => error,
            // It cannot be read, rather than that it changed.
            Err(now) if now.kind() == ErrorKind::Io => error,
            _ => changed(),
        }
    }

    /// Takes out the metadata of this key, if it is there.
    pub(crate) fn optional_metadata(&mut self, key: &str) -> Option<String> {
        self.header.metadata.remove(key)
    }

    /// Takes out the metadata of this key.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if it is not there.
    pub(crate) fn metadata(&mut self, key: &str) -> Result<String> {
        self.optional_metadata(key)
            .ok_or_else(|| Error::new(ErrorKind::Missing, format!("the file has no metadata {key:?}")))
    }

    /// Sees that all metadata of this crate was taken out. Keys that do not begin with `starple.` are anybody's.
    ///
    /// # Errors
    /// [`ErrorKind::Unknown`] that lists what was left.
    pub(crate) fn finish_metadata(&self) -> Result<()> {
        let mut left: Vec<&String> = self.header.metadata.keys().filter(|key| key.starts_with(OWN)).collect();
        if left.is_empty() {
            return Ok(());
        }
        left.sort_unstable();
        let message = format!("metadata that this version does not know: {}", listed(&left));
        Err(Error::new(ErrorKind::Unknown, message).with_help("read it with the version that wrote it"))
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.entries.contains_key(name)
    }

    /// How many values the tensors of these numbers have together.
    pub(crate) fn count(&self, dtype: &Dtype) -> u64 {
        let bytes = |entry: &Entry| entry.data_offsets.1 - entry.data_offsets.0;
        let of_dtype = self.header.entries.values().filter(|entry| entry.dtype == *dtype);
        of_dtype.map(|entry| bytes(entry) / dtype.size().max(1) as u64).sum()
    }

    /// Sees that the file holds these tensors and no others.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Unknown`] or [`ErrorKind::Shape`], of the first that applies; the message lists all that is wrong.
    pub(crate) fn expect<'a>(&self, expected: impl Iterator<Item = &'a Expected> + Clone) -> Result<()> {
        let known: HashSet<&str> = expected.clone().map(|expected| expected.name.as_str()).collect();
        let missing: Vec<&str> = known.iter().copied().filter(|&name| !self.has(name)).collect();
        let entries = &self.header.entries;
        let unknown: Vec<&str> = entries.keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
        let other = |expected: &Expected| {
            let Expected { name, dtype, shape } = expected;
            let found = entries.get(name)?;
            let fits = shape.as_ref().map_or(found.shape.len() == 1, |shape| *shape == found.shape);
            let shape = shape.as_ref().map_or("[any]".into(), |shape| format!("{shape:?}"));
            let wrong = found.dtype != *dtype || !fits;
            wrong.then(|| format!("{name}: found {} {:?}, expected {dtype} {shape}", found.dtype, found.shape))
        };
        let other: Vec<String> = expected.filter_map(other).collect();
        let kinds = [
            (ErrorKind::Missing, "missing", missing.iter().map(ToString::to_string).collect()),
            (ErrorKind::Unknown, "unknown", unknown.iter().map(ToString::to_string).collect()),
            (ErrorKind::Shape, "of another shape", other),
        ];
        let wrong: Vec<(ErrorKind, &str, Vec<String>)> =
            kinds.into_iter().filter(|(.., names)| !names.is_empty()).collect();
        let Some(&(kind, ..)) = wrong.first() else { return Ok(()) };
        let lists = wrong.into_iter().map(|(_, what, mut names)| {
            names.sort_unstable();
            format!("{what}: {}", listed(&names))
        });
        let message = format!("the tensors are not those of its settings; {}", lists.collect::<Vec<_>>().join("; "));
        Err(Error::new(kind, message).with_help("the file was changed after it was saved; take it from where it came"))
    }

    /// Reads a tensor into `values`.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] if a value is not finite; [`ErrorKind::Io`].
    ///
    /// # Panics
    /// If the file has no such tensor with this number of values: [`Container::expect`] comes first.
    pub(crate) fn read_f32(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        self.read_numbers(name, &Dtype::F32, values, f32::from_le_bytes)?;
        if values.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let message = format!("tensor {name:?} has a value that is not finite");
        Err(Error::new(ErrorKind::NonFinite, message).with_help("such a file cannot be saved; it was made otherwise"))
    }

    /// Reads a list of whatever length.
    ///
    /// # Errors
    /// As [`Container::read_f32`].
    ///
    /// # Panics
    /// If the file has no such tensor: [`Container::expect`] comes first.
    pub(crate) fn read_f32_list(&mut self, name: &str) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.header.entries[name].shape.iter().product()];
        self.read_f32(name, &mut values)?;
        Ok(values)
    }

    /// Reads a tensor into `values`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    ///
    /// # Panics
    /// As [`Container::read_f32`].
    pub(crate) fn read_u64(&mut self, name: &str, values: &mut [u64]) -> Result<()> {
        self.read_numbers(name, &Dtype::U64, values, u64::from_le_bytes)
    }

    /// Reads a tensor of bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    ///
    /// # Panics
    /// If the file has no such tensor: [`Container::expect`] comes first.
    pub(crate) fn read_u8(&mut self, name: &str) -> Result<Vec<u8>> {
        let (start, end) = self.go_to(name, &Dtype::U8)?;
        let mut bytes = vec![0; (end - start) as usize];
        read_exact(&mut self.source, &mut bytes)?;
        let mut sum = Hasher::new();
        sum.update(&bytes);
        self.sums.insert((start, end), sum);
        Ok(bytes)
    }

    /// Goes to where a tensor starts, and gives its offsets.
    fn go_to(&mut self, name: &str, dtype: &Dtype) -> Result<(u64, u64)> {
        let Entry { dtype: found, data_offsets: (start, end), .. } = &self.header.entries[name];
        assert_eq!(found, dtype, "{name}: what is read was checked");
        self.source.seek(SeekFrom::Start(self.values + start))?;
        Ok((*start, *end))
    }

    fn read_numbers<T, const N: usize>(
        &mut self,
        name: &str,
        dtype: &Dtype,
        values: &mut [T],
        number: impl Fn([u8; N]) -> T,
    ) -> Result<()> {
        let (start, end) = self.go_to(name, dtype)?;
        assert_eq!(end - start, size_of_val(values) as u64, "{name}: a place for each value");
        let mut sum = Hasher::new();
        for values in values.chunks_mut(CHUNK / N) {
            let bytes = &mut self.chunk[..values.len() * N];
            read_exact(&mut self.source, bytes)?;
            sum.update(bytes);
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = number(*bytes);
            }
        }
        self.sums.insert((start, end), sum);
        Ok(())
    }
}

/// Sees that a file starts as ours do, and gives the digits of its checksum.
fn check_start(start: &[u8], length: u64) -> Result<&[u8]> {
    let header = start.get(LENGTH..).unwrap_or_default();
    let common = header.len().min(BEFORE_CHECKSUM.len());
    if header[..common] != BEFORE_CHECKSUM.as_bytes()[..common] {
        let message = "no file of starple: it does not start as those do";
        return Err(Error::new(ErrorKind::Foreign, message).with_help("models are saved by ModelFile::save"));
    }
    let digits = BEFORE_CHECKSUM.len()..BEFORE_CHECKSUM.len() + DIGITS;
    match header.get(digits) {
        Some(written) if header.len() == BEFORE_CHECKSUM.len() + DIGITS + BEFORE_FORMAT.len() => Ok(written),
        _ => Err(corrupt(format!("cut off: only {length} bytes"))),
    }
}

/// Sees that a header is of a format that this version reads.
fn check_format(json: &[u8]) -> Result<()> {
    let rest = json.get(BEFORE_CHECKSUM.len() + DIGITS..).and_then(|rest| rest.strip_prefix(BEFORE_FORMAT.as_bytes()));
    let number = rest.and_then(|rest| rest.split(|&byte| byte == b'"').next());
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    match number {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => {
            let message = format!("format {newer}; this version of starple reads formats up to {FORMAT}");
            Err(Error::new(ErrorKind::Version, message).with_help("upgrade starple"))
        }
        _ => Err(corrupt("damaged: no number of a format behind the checksum".into())),
    }
}

/// The sum of the length and the header of a file, the digits of the checksum taken as zeros.
fn sum_of_head(head: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    let digits = LENGTH + BEFORE_CHECKSUM.len();
    sum.update(&head[..digits]);
    sum.update(NO_CHECKSUM.as_bytes());
    sum.update(&head[digits + DIGITS..]);
    sum
}

/// The checksum of a file whose head has this sum, and from whose values on everything is left to read.
fn sum_of_rest(mut sum: Hasher, source: &mut impl Read, chunk: &mut [u8]) -> Result<u32> {
    loop {
        match source.read(chunk) {
            Ok(0) => return Ok(sum.finalize()),
            Ok(read) => sum.update(&chunk[..read]),
            Err(error) if error.kind() == IoErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Fills `bytes`; a file that has shrunk meanwhile is damaged.
fn read_exact(source: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        IoErrorKind::UnexpectedEof => corrupt("cut off while it was read".into()),
        _ => error.into(),
    })
}

fn changed() -> Error {
    let message = "the file changed while it was read";
    Error::new(ErrorKind::Corrupt, message).with_help(
        "load it again; write a file aside and rename it, as ModelFile::save does, instead of over the old one",
    )
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message).with_help("copy it again, or take an earlier one")
}
