//! Model files.
//!
//! A model file holds one model, and optionally the [`Encoder`](crate::data::Encoder) that was fitted for it, a
//! [`Calibration`](crate::serve::Calibration) and a [`RunRecord`], so that a process that serves needs no other file. [`ModelFile`] writes
//! such a file, and [`Saved`] reads it. It is a valid safetensors file, which Python can read too; `docs/model-file.md` describes it.
//!
//! ```
//! use starple::data::{Encoder, Format, Schema, Table};
//! use starple::persist::{ModelFile, Saved};
//! use starple::{Star, StarConfig};
//!
//! let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build()?;
//! let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\n";
//! let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
//! let encoder = Encoder::fit(&schema, &table, &table.all())?;
//! let star = Star::new(StarConfig::builder(encoder.layout()).build()?);
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("star.safetensors");
//! ModelFile::new(&star).encoder(&encoder).save(&path)?;
//! let saved = Saved::load(&path)?;
//! let batch = encoder.encode_training(&table, &table.all())?;
//! assert_eq!(saved.model.score(&batch), star.score(&batch));
//!
//! // One kind alone: a file of another is an error.
//! let saved = Saved::load_as::<StarConfig>(&path)?;
//! assert_eq!(saved.encoder, Some(encoder));
//! # Ok::<(), starple::Error>(())
//! ```
//!
//! # Errors
//!
//! Saving replaces a file whole or not at all: if it fails, or the process is killed, the old file is intact. Loading is strict: each kind of
//! defect is an error with its own [`ErrorKind`](crate::ErrorKind), which [`Saved::load`] lists. A checksum covers every byte that is used,
//! so a damaged file, or one that is overwritten while it is loaded, is an error. Untrusted files are safe to load: nothing panics, and the
//! memory used is proportional to the length of the file.

pub(crate) mod container;
mod model_file;
mod record;
mod replace;
mod saved;

pub use self::model_file::ModelFile;
pub(crate) use self::model_file::check_layouts;
pub use self::record::RunRecord;
pub use self::replace::{check_writable, replace};
pub use self::saved::Saved;
pub(crate) use self::saved::{expected, fill};

/// What a container says that it holds, if it is a model file.
const MODEL: &str = "model";

/// The metadata key of the model's kind.
pub(crate) const KIND: &str = "starple.kind";

/// The metadata key of the model's settings.
pub(crate) const CONFIG: &str = "starple.config";

/// The metadata key of the run: in a model file a [`RunRecord`], in a checkpoint the state from which a run resumes.
pub(crate) const RUN: &str = "starple.run";

/// The tensor of bytes with the encoder's JSON. It is no metadata because vocabularies may be longer than a header.
const ENCODER: &str = "encoder";

/// The tensor of bytes with the calibration's JSON.
const CALIBRATION: &str = "calibration";
