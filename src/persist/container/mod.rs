//! A checked file of named tensors: what model files and checkpoints are made of.
//!
//! It is a [safetensors](https://github.com/huggingface/safetensors) file: the length of a JSON header (u64, little-endian), the header,
//! and the tensors' values, little-endian and without gaps. On top of that:
//!
//! * The header starts with a checksum and the number of the format, in every version of it:
//!   `{"__metadata__":{"starple.checksum":"01234567","starple.format":"1",…`. The checksum is the CRC-32 of the whole file, its own eight
//!   digits taken as zeros.
//! * A file appears at once or not at all: [`atomic`].
//! * [`Container`] believes nothing: nothing is parsed before the checksum is right, nothing is allocated that is larger than the file, and
//!   nothing is given that was not part of the sum, even if the file changes while it is read.
//!
//! The safetensors crate is not used for it: it wants a whole file in one piece of memory, and trusts the sums of a header's offsets.
//! The tests read with it what is written here.

pub(crate) mod atomic;
mod contents;
mod header;
mod reader;

pub(crate) use self::contents::{Contents, Data};
pub(crate) use self::header::{Dtype, Expected};
pub(crate) use self::reader::Container;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// What every header starts with, up to the digits of the checksum.
const BEFORE_CHECKSUM: &str = r#"{"__metadata__":{"starple.checksum":""#;

/// What stands between the digits of the checksum and the number of the format.
const BEFORE_FORMAT: &str = r#"","starple.format":""#;

/// How many hexadecimal digits a checksum has.
const DIGITS: usize = 8;

/// What stands in the place of the checksum while it is taken.
const NO_CHECKSUM: &str = "00000000";

/// The bytes of the header's length.
const LENGTH: usize = 8;

/// The longest header, as for safetensors.
const MAX_HEADER: u64 = 100_000_000;

/// How many bytes are converted at a time.
const CHUNK: usize = 1 << 16;

/// What the crate's own metadata keys begin with.
const OWN: &str = "starple.";

/// The key of what a file holds.
const WHAT: &str = "starple.what";
