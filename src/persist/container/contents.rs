//! Writing a container.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crc32fast::Hasher;

use super::header::{Dtype, TensorInfo};
use super::{BEFORE_CHECKSUM, BEFORE_FORMAT, CHUNK, FORMAT, LENGTH, MAX_HEADER, NO_CHECKSUM, OWN, WHAT, atomic};
use crate::data::listed;
use crate::{Error, ErrorKind, Result};

/// The values of a tensor, in row-major order.
#[derive(Debug, Clone)]
pub(crate) enum Data<'a> {
    F32(&'a [f32]),
    U64(&'a [u64]),
    /// Bytes, such as a text.
    U8(Cow<'a, [u8]>),
}

/// Tensors and metadata to be written. It borrows the values, so that tables of gigabytes are not copied.
///
/// ```text
/// let mut contents = Contents::new("checkpoint");
/// contents.metadata("starple.step", step.to_string());
/// contents.tensor(name, &[rows, dim], Data::F32(values));
/// contents.save(path)?;
/// ```
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    metadata: Vec<(&'static str, String)>,
    tensors: Vec<(String, Vec<usize>, Data<'a>)>,
}

impl<'a> Contents<'a> {
    /// Empty contents of a file that holds `what`: "model" or "checkpoint".
    pub(crate) fn new(what: &str) -> Self {
        Self { metadata: vec![(WHAT, what.into())], tensors: Vec::new() }
    }

    /// Adds metadata.
    ///
    /// # Panics
    /// If the key does not begin with `starple.`.
    pub(crate) fn metadata(&mut self, key: &'static str, value: String) {
        assert!(key.starts_with(OWN), "{key}: the crate's own keys begin with {OWN}");
        self.metadata.push((key, value));
    }

    /// Adds a tensor.
    ///
    /// # Panics
    /// If `shape` does not have this number of values.
    pub(crate) fn tensor(&mut self, name: String, shape: &[usize], data: Data<'a>) {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}: a value for each place of {shape:?}");
        self.tensors.push((name, shape.to_vec(), data));
    }

    /// Adds a tensor of a walk over parameters under its dotted name; the count of an average is a tensor without dimensions.
    pub(crate) fn leaf(&mut self, name: String, leaf: crate::nn::Leaf<'a>) {
        use crate::nn::Leaf;
        match leaf {
            Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape) => {
                self.tensor(name, shape, Data::F32(values));
            }
            Leaf::Count(count) => self.tensor(name, &[], Data::U64(std::slice::from_ref(count))),
        }
    }

    /// Writes the file at `path`, whole or not at all. It replaces an existing file.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] that names every tensor with a value that is not finite; [`ErrorKind::Io`]. An existing file is then
    /// unchanged.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let write = || {
            self.check_finite()?;
            atomic::replace(path, |file| self.stream(file))
        };
        write().map_err(|error| error.at_path(path))
    }

    /// Writes the bytes of the file into `out`, from its current position.
    ///
    /// # Errors
    /// As [`Contents::save`].
    pub(crate) fn write_to(&self, out: &mut (impl Write + Seek)) -> Result<()> {
        self.check_finite()?;
        self.stream(out)
    }

    fn check_finite(&self) -> Result<()> {
        let wrong = |(_, _, data): &&(_, _, Data<'_>)| matches!(data, Data::F32(v) if !v.iter().all(|v| v.is_finite()));
        let names: Vec<&String> = self.tensors.iter().filter(wrong).map(|(name, ..)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let message = format!("not saved: values that are not finite in {}", listed(&names));
        Err(Error::new(ErrorKind::NonFinite, message)
            .with_help("save an earlier state, and train with a lower learning rate"))
    }

    fn stream(&self, out: &mut (impl Write + Seek)) -> Result<()> {
        let start = out.stream_position()?;
        let tensors = self.in_order();
        let header = self.header(&tensors);
        if header.len() as u64 > MAX_HEADER {
            let message =
                format!("not saved: the names of {} tensors do not fit into the header of a file", tensors.len());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let mut checked = Checked { out, hasher: Hasher::new() };
        checked.write_all(&(header.len() as u64).to_le_bytes())?;
        checked.write_all(header.as_bytes())?;
        let mut chunk = Vec::with_capacity(CHUNK);
        for (_, _, data) in tensors {
            data.write(&mut checked, &mut chunk)?;
        }
        let checksum = checked.hasher.finalize();
        let end = out.stream_position()?;
        out.seek(SeekFrom::Start(start + (LENGTH + BEFORE_CHECKSUM.len()) as u64))?;
        out.write_all(format!("{checksum:08x}").as_bytes())?;
        out.seek(SeekFrom::Start(end))?;
        out.flush()?;
        Ok(())
    }

    /// The tensors, the widest types first: each is then aligned to its type.
    fn in_order(&self) -> Vec<&(String, Vec<usize>, Data<'a>)> {
        let mut tensors: Vec<_> = self.tensors.iter().collect();
        tensors.sort_by_key(|(_, _, data)| std::cmp::Reverse(data.dtype().size()));
        tensors
    }

    /// The header, with zeros for a checksum and padded so that the values start at a multiple of 8 bytes.
    fn header(&self, tensors: &[&(String, Vec<usize>, Data<'_>)]) -> String {
        let text = |value: &str| serde_json::to_string(value).expect("a string becomes JSON");
        let mut header = format!("{BEFORE_CHECKSUM}{NO_CHECKSUM}{BEFORE_FORMAT}{FORMAT}\"");
        for (key, value) in &self.metadata {
            let _ = write!(header, ",{}:{}", text(key), text(value));
        }
        header.push('}');
        let mut start = 0;
        for (name, shape, data) in tensors {
            let end = start + data.len() as u64 * data.dtype().size() as u64;
            let entry = TensorInfo { dtype: data.dtype(), shape: shape.clone(), data_offsets: (start, end) };
            let entry = serde_json::to_string(&entry).expect("an entry becomes JSON");
            let _ = write!(header, ",{}:{entry}", text(name));
            start = end;
        }
        header.push('}');
        let padded = header.len().next_multiple_of(8);
        header.extend(std::iter::repeat_n(' ', padded - header.len()));
        header
    }
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U64(_) => Dtype::U64,
            Self::U8(_) => Dtype::U8,
        }
    }

    fn write(&self, out: &mut impl Write, chunk: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::F32(values) => write_numbers(values, f32::to_le_bytes, out, chunk),
            Self::U64(values) => write_numbers(values, u64::to_le_bytes, out, chunk),
            Self::U8(values) => out.write_all(values),
        }
    }
}

fn write_numbers<T: Copy, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    out: &mut impl Write,
    chunk: &mut Vec<u8>,
) -> io::Result<()> {
    for values in values.chunks(CHUNK / N) {
        chunk.clear();
        chunk.extend(values.iter().flat_map(|&value| bytes(value)));
        out.write_all(chunk)?;
    }
    Ok(())
}

/// Computes the checksum of the bytes that it passes on.
struct Checked<'a, W> {
    out: &'a mut W,
    hasher: Hasher,
}

impl<W: Write> Write for Checked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
