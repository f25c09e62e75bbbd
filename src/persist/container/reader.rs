//! Reading a container.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind as IoErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crc32fast::Hasher;

use super::header::{Dtype, Expected, Header, TensorInfo};
use super::{
    BEFORE_CHECKSUM, BEFORE_FORMAT, CHUNK, DIGITS, FORMAT, LENGTH, MAX_HEADER, NO_CHECKSUM, OWN, WHAT, atomic,
};
use crate::data::listed;
use crate::{Error, ErrorKind, Result};

/// A file whose checksum and header were checked. Its tensors are read one by one, in any order, inside [`Container::read`], which checks
/// that they are the bytes that the checksum covered: a file may be overwritten while it is read.
///
/// The first pass computes the checksum of the whole file and keeps the header, which is parsed then. The second pass computes the
/// checksum of each tensor when it is read.
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
    /// Opens the file at `path`, which must hold `what`.
    ///
    /// # Errors
    /// Those of [`Container::new`].
    pub(crate) fn open(path: &Path, what: &str) -> Result<Self> {
        // Opening a pipe could block forever.
        let found = fs::metadata(path)?.file_type();
        if !found.is_file() {
            let message = format!("expected a file, found a {}", atomic::describe(found));
            return Err(Error::new(ErrorKind::Io, message));
        }
        Self::new(File::open(path)?, what)
    }
}

impl<R: Read + Seek> Container<R> {
    /// Reads a file from its beginning, whatever its current position. It must hold `what`.
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
        // The length may be smaller than this: the file may be overwritten now.
        if !(least..=MAX_HEADER.min(length.saturating_sub(LENGTH as u64))).contains(&header_length) {
            let message = format!("cut off, or damaged: a header of {header_length} bytes in a file of {length}");
            return Err(corrupt(message));
        }
        // Bytes that were read are not read again: the file may change.
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

    /// Reads all tensors by `work`, and checks that the checksum covers the bytes that were read.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the file changed since the checksum was computed; else those of `work`.
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
        // The header was checked: the tensors cover the values without gap or overlap.
        let entries = self.header.entries.values();
        assert_eq!(Some(end), entries.map(|entry| entry.data_offsets.1).max().or(Some(0)), "every tensor is read");
        if sum.finalize() == self.checksum { Ok(()) } else { Err(changed()) }
    }

    /// The error to report for this one: if the file changed meanwhile, the change.
    fn blame(&mut self, error: Error) -> Error {
        let now = self.source.rewind().map_err(Error::from).and_then(|()| {
            let mut head = vec![0; self.values as usize];
            read_exact(&mut self.source, &mut head)?;
            sum_of_rest(sum_of_head(&head), &mut self.source, &mut self.chunk)
        });
        match now {
            Ok(now) if now == self.checksum => error,
            // The file cannot be read; it need not have changed.
            Err(now) if now.kind() == ErrorKind::Io => error,
            _ => changed(),
        }
    }

    /// Takes out the metadata of this key, if the file has it.
    pub(crate) fn optional_metadata(&mut self, key: &str) -> Option<String> {
        self.header.metadata.remove(key)
    }

    /// Takes out the metadata of this key.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if the file does not have it.
    pub(crate) fn metadata(&mut self, key: &str) -> Result<String> {
        self.optional_metadata(key)
            .ok_or_else(|| Error::new(ErrorKind::Missing, format!("the file has no metadata {key:?}")))
    }

    /// Checks that all metadata of this crate was taken out. Keys that do not begin with `starple.` are free for other programs.
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

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.header.entries.contains_key(name)
    }

    /// The number of values of all tensors of this type.
    pub(crate) fn count(&self, dtype: &Dtype) -> u64 {
        let bytes = |entry: &TensorInfo| entry.data_offsets.1 - entry.data_offsets.0;
        let of_dtype = self.header.entries.values().filter(|entry| entry.dtype == *dtype);
        of_dtype.map(|entry| bytes(entry) / dtype.size().max(1) as u64).sum()
    }

    /// Checks that the file has these tensors and no others.
    ///
    /// # Errors
    /// The first of [`ErrorKind::Missing`], [`ErrorKind::Unknown`] and [`ErrorKind::Shape`] that applies; the message lists every defect.
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
        Err(Error::new(kind, message).with_help("the file was changed after it was saved; copy the original again"))
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
        Err(Error::new(ErrorKind::NonFinite, message)
            .with_help("this crate does not save such a file; another program wrote it"))
    }

    /// Reads a list of any length.
    ///
    /// # Errors
    /// Those of [`Container::read_f32`].
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
    /// If the file has no such tensor with this number of values: [`Container::expect`] comes first.
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

    /// Moves to the start of a tensor, and returns its offsets.
    fn go_to(&mut self, name: &str, dtype: &Dtype) -> Result<(u64, u64)> {
        let TensorInfo { dtype: found, data_offsets: (start, end), .. } = &self.header.entries[name];
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

/// Checks that a file starts as files of this crate do, and returns the digits of its checksum.
fn check_start(start: &[u8], length: u64) -> Result<&[u8]> {
    let header = start.get(LENGTH..).unwrap_or_default();
    let common = header.len().min(BEFORE_CHECKSUM.len());
    if header[..common] != BEFORE_CHECKSUM.as_bytes()[..common] {
        let message = "not a starple file: it does not start with the bytes that every starple file starts with";
        return Err(Error::new(ErrorKind::Foreign, message).with_help("models are saved by ModelFile::save"));
    }
    let digits = BEFORE_CHECKSUM.len()..BEFORE_CHECKSUM.len() + DIGITS;
    match header.get(digits) {
        Some(written) if header.len() == BEFORE_CHECKSUM.len() + DIGITS + BEFORE_FORMAT.len() => Ok(written),
        _ => Err(corrupt(format!("cut off: only {length} bytes"))),
    }
}

/// Checks that this version reads the format of a header.
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
        _ => Err(corrupt("damaged: no format number after the checksum".into())),
    }
}

/// The checksum of the length and the header of a file, with zeros in place of the digits of the checksum.
fn sum_of_head(head: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    let digits = LENGTH + BEFORE_CHECKSUM.len();
    sum.update(&head[..digits]);
    sum.update(NO_CHECKSUM.as_bytes());
    sum.update(&head[digits + DIGITS..]);
    sum
}

/// The checksum of a file: `sum` is that of its head, and `source` is at the start of the values.
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

/// Fills `bytes`. A file that ends too early is damaged.
fn read_exact(source: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        IoErrorKind::UnexpectedEof => corrupt("cut off while it was read".into()),
        _ => error.into(),
    })
}

fn changed() -> Error {
    let message = "the file changed while it was read";
    Error::new(ErrorKind::Corrupt, message).with_help(
        "load it again; write a new file and rename it, as ModelFile::save does, instead of overwriting the old one",
    )
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message).with_help("copy it again, or take an earlier one")
}
