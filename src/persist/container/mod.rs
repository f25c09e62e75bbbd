//! A file of named tensors with a checksum: the container of model files and checkpoints.
//!
//! It is a [safetensors](https://github.com/huggingface/safetensors) file: the length of a JSON header (u64, little-endian), the header,
//! and the tensors' values, little-endian and without gaps. In addition:
//!
//! * The header starts with a checksum and the number of the format, in every version of it:
//!   `{"__metadata__":{"starple.checksum":"01234567","starple.format":"1",…`. The checksum is the CRC-32 of the whole file with zeros in
//!   place of its own eight digits.
//! * A file appears whole or not at all: [`atomic`].
//! * [`Container`] trusts nothing in a file: it parses nothing before the checksum is right, allocates nothing larger than the file, and
//!   returns no byte that the checksum does not cover, even if the file changes while it is read.
//!
//! The safetensors crate is not used here: it needs the whole file in memory at once, and adds up a header's offsets without a check.
//! Tests use it to read files that this module wrote.

pub(crate) mod atomic;
mod contents;
mod header;
mod reader;

pub(crate) use self::contents::{Contents, Data};
pub(crate) use self::header::{Dtype, Expected};
pub(crate) use self::reader::Container;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// The start of every header, up to the digits of the checksum.
const BEFORE_CHECKSUM: &str = r#"{"__metadata__":{"starple.checksum":""#;

/// The text between the digits of the checksum and the number of the format.
const BEFORE_FORMAT: &str = r#"","starple.format":""#;

/// The number of hexadecimal digits of a checksum.
const DIGITS: usize = 8;

/// The digits that stand for the checksum while it is computed.
const NO_CHECKSUM: &str = "00000000";

/// The bytes of the header's length.
const LENGTH: usize = 8;

/// The longest header, as for safetensors.
const MAX_HEADER: u64 = 100_000_000;

/// The number of bytes that are converted at a time.
const CHUNK: usize = 1 << 16;

/// The prefix of the crate's own metadata keys.
const OWN: &str = "starple.";

/// The metadata key of what a file holds: a model or a checkpoint.
const WHAT: &str = "starple.what";
