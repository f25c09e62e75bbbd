//! Export of models as ONNX graphs, for any program that runs ONNX. It needs the feature `onnx`.
//!
//! A model is exported as one graph for each domain, and one graph for rows of no known domain ([`DomainId::SHARED`](crate::data::DomainId::SHARED)).
//! A graph contains all parameters that its domain needs, as constants; other parameters are left out. Every model of this crate can be exported,
//! and so can your own net, unless it contains a [layer of your own](crate::net::CustomLayer). The logits of a graph equal those of
//! [`Model::forward`](crate::Model::forward) except for rounding.
//!
//! [`export`] returns the bytes of one graph, [`save`] writes one file, and [`save_all`] writes the files of all domains.
//!
//! ```
//! use starple::data::{DomainId, Layout, Pooling};
//! use starple::{Star, StarConfig, onnx};
//!
//! let layout = Layout::new(["home", "search"], ["click"]).field("item", 1000).bag("tags", 50, Pooling::Mean).numeric(["price"]);
//! let star = Star::new(StarConfig::builder(&layout).build()?);
//!
//! let bytes = onnx::export(&star, DomainId::new(1))?;
//! assert!(!bytes.is_empty());
//!
//! let folder = std::env::temp_dir().join("starple-onnx");
//! let files = onnx::save_all(&star, &folder)?;
//! assert_eq!(files.len(), 3);
//! assert!(folder.join("search.onnx").exists());
//! # std::fs::remove_dir_all(folder).unwrap();
//! # Ok::<(), starple::Error>(())
//! ```
//!
//! # Inputs
//!
//! The graph has one input for each field of the [`Layout`](crate::data::Layout) (two for an embedded number), and one for all numeric inputs.
//! A bag is a field with several ids in each row. The number of rows can differ between calls, and may be 0.
//!
//! | name | type | contents |
//! |---|---|---|
//! | the name of a field | int64 `[rows]` | the id of each row, from an [`Encoder`](crate::data::Encoder) |
//! | the name of a bag | int64 `[rows, length]` | the ids of each row, padded with −1; `length` can differ between calls; a row of only −1 is an empty bag |
//! | the name of a bag of an attended [sequence](crate::data::Sequence) | int64 `[rows, length]` | the ids of the most recent events, at most `max_len`; all bags of a sequence have the same `length`, and −1 in the same places |
//! | the name of an [embedded number](crate::data::Transform::PiecewiseEmbedding) | int64 `[rows]` | the `ids` of [`Ids::Interpolated`](crate::data::Ids::Interpolated), from an encoder |
//! | that name and ` fraction` | float `[rows]` | the `fractions` of the same value: the number `age` has the inputs `age` and `age fraction` |
//! | `numeric` | float `[rows, numbers]` | the encoded numbers ([`Batch::numeric`](crate::data::Batch::numeric)), in the order of the metadata entry `numeric`; absent if the model has none |
//!
//! The [`Transform`](crate::data::Transform) of a numeric feature decides how the graph gets the feature. Suppose that it has the name `age`:
//!
//! | transform | in the graph |
//! |---|---|
//! | `Standard`, `SignedLog`, `Quantile`, `Unscaled` | a column `age` of `numeric`; if training rows had missing values, a second one, `age?` |
//! | `Piecewise` | a column of `numeric` for each bin: `age[1]`, `age[2]`, …; if training rows had missing values, also `age?` |
//! | `Buckets` | a field `age` |
//! | `PiecewiseEmbedding` | a field `age`, and its fractions |
//! | `Auto` | that of the chosen transform, which the schema of the fitted encoder has |
//!
//! [Target statistics](crate::data::TargetStatistics) are numeric inputs that the encoder computes from ids. If the encoder has some, export the
//! model together with the encoder: `onnx::export((&model, &encoder), domain)`. Then the graph computes the statistics from the ids, and `numeric`
//! has only the other numbers. If you export the model alone, `numeric` also has the statistics, and the caller must compute them as
//! [`Encoder::encode`](crate::data::Encoder::encode) does.
//!
//! The graph does not check ids. If an id is too large, the ONNX runtime returns an error. In a bag, every negative id is ignored; with
//! [`Pooling::Keep`](crate::data::Pooling::Keep), negative ids must come last. In a field that is not a bag, ONNX counts negative ids from
//! the end of the table, so do not use them.
//!
//! # Outputs
//!
//! There are two outputs, both float `[rows, tasks]`. The first is `logits`. If all tasks are binary, the second is `probabilities`,
//! `1/(1 + exp(−logit))`. Otherwise its name is `predictions`: it has the probability for a binary task, and the predicted number for another task
//! ([`Target`](crate::data::Target)). A [`Calibration`](crate::serve::Calibration) is not part of a graph. The metadata entry `tasks` has the names
//! of the tasks in the order of the columns, and `kinds` has their kinds.
//!
//! # Metadata
//!
//! | entry | contents |
//! |---|---|
//! | `kind` | the kind of the model, for example `star` |
//! | `domain` | the name of the domain, or `(shared)` for rows of no known domain |
//! | `tasks` | the names of the tasks, a list in JSON |
//! | `kinds` | the kind of each task, a list in JSON: `"binary"`, `"regression"` or `"count"` |
//! | `numeric` | the names of the columns of the input `numeric`, a list in JSON |
//! | `version` | the version of this crate |
//!
//! Graphs have opset 17 and IR version 8.

mod attended;
mod attention;
mod embeddings;
mod file;
mod graph;
mod layers;
mod lower;
mod proto;

pub use self::file::{Exported, export, save, save_all};
use self::graph::{Attribute, Graph, Tensor};

/// What the name of a field with positions is followed by, in the input of its fractions.
const FRACTION: &str = " fraction";

/// The names of the numeric input and of the outputs. The last is in place of probabilities if a task is not binary.
const NUMERIC: &str = "numeric";
const LOGITS: &str = "logits";
const PROBABILITIES: &str = "probabilities";
const PREDICTIONS: &str = "predictions";

/// The name of the dimension that can have any size.
const ROWS: &str = "rows";
