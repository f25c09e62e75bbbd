//! Export of models as ONNX graphs, for any program that runs ONNX. It needs the feature `onnx`.
//!
//! A model is exported as one graph per domain, and one graph for rows of no known domain. Parameters of the domain become constants of the
//! graph, and parts that the domain does not use are left out. Every model of this crate can be exported, and so can your own net, unless
//! it contains a [layer of your own](crate::net::CustomLayer). The scores of a graph equal those of
//! [`Model::forward`](crate::Model::forward) up to rounding.
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
//! The graph has one input for each field of the layout, and one for all numeric inputs. The number of rows can differ between calls, and
//! may be 0.
//!
//! | name | type | contents |
//! |---|---|---|
//! | the name of a field | int64 `[rows]` | the id of each row, from an [`Encoder`](crate::data::Encoder) |
//! | the name of a bag | int64 `[rows, length]` | the ids of each row, padded with −1; `length` can differ between calls; a row of only −1 is an empty bag |
//! | the name of a bag of an attended [sequence](crate::data::Sequence) | int64 `[rows, length]` | the ids of the most recent events, at most `max_len`; all bags of a sequence have the same `length`, and −1 in the same places |
//! | the name of an [embedded number](crate::data::Transform::PiecewiseEmbedding) | int64 `[rows]` | the `ids` of [`Ids::Interpolated`](crate::data::Ids::Interpolated), from an encoder |
//! | that name and ` fraction` | float `[rows]` | the `fractions` of it: `age` has the inputs `age` and `age fraction` |
//! | `numeric` | float `[rows, numbers]` | the encoded numbers ([`Batch::numeric`](crate::data::Batch::numeric)), in the order of the metadata entry `numeric`; absent if the model has none |
//!
//! What a numeric feature gives to the graph depends on its [`Transform`](crate::data::Transform). `Standard`, `SignedLog`, `Quantile` and
//! `Unscaled` give one column of `numeric`, and a second one (`age?`) if training rows had missing values. `Piecewise` gives one column for
//! each bin (`age[1]`, …), and `age?`. `Buckets` gives a field, `PiecewiseEmbedding` a field and its fractions. Where the schema says
//! `Auto`, the schema of the fitted encoder has the choice.
//!
//! If the encoder has [target statistics](crate::data::TargetStatistics), export the model with the encoder, `onnx::export((&model,
//! &encoder), domain)`. Then the graph looks the statistics up by the ids, and `numeric` has only the other numbers. Otherwise `numeric` has
//! the statistics too, and the caller computes them as [`Encoder::encode`](crate::data::Encoder::encode) does.
//!
//! The graph does not check ids. An id that is too large is an error of the runtime. In a bag, every negative id is ignored; with
//! [`Pooling::Keep`](crate::data::Pooling::Keep), negative ids must come last. In a field that is not a bag, ONNX counts negative ids from
//! the end of the table, so do not use them.
//!
//! # Outputs
//!
//! Two outputs, both float `[rows, tasks]`. The first is `logits`. If all tasks are binary, the second is `probabilities`
//! (`1/(1 + exp(−logit))`). Otherwise it is `predictions`, where a task that is not binary has its predicted number
//! ([`Target`](crate::data::Target)). The tasks are in the order of the metadata entry `tasks`, their kinds in that of `kinds`.
//!
//! # Metadata
//!
//! A graph has these metadata entries: `kind` (the kind of the model), `domain` (the name of the domain, or `(shared)` for rows of no known
//! domain), `tasks` and `numeric` (lists of names, as JSON), `kinds` (the kind of each task: `"binary"`, `"regression"` or `"count"`), and `version` (the version of this crate). Graphs have opset 17 and IR version
//! 8.

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
