//! Models as ONNX graphs, to be served by whatever runs those; with the feature `onnx`.
//!
//! A model is one graph for each domain, and one for rows of no known domain: what the domain owns is folded into constants, and what it does
//! not read is left out. Every model can be exported, with all its settings, and so can a net of your own that has no [layer of your own](crate::net::CustomLayer): a graph is written from the
//! net's [`Plan`](crate::model::Plan). Scores are those of [`Model::forward`](crate::Model::forward) but for rounding.
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
//! `rows` is free, and may be 0.
//!
//! | name | type | what |
//! |---|---|---|
//! | a field's name | int64 `[rows]` | its id in each row, as an [`Encoder`](crate::data::Encoder) gives them |
//! | a bag's name | int64 `[rows, length]` | its ids, filled up with −1 to any length; a row of −1 alone is an empty bag |
//! | `numeric` | float `[rows, numbers]` | [`Batch::numeric`](crate::data::Batch::numeric): the encoded numbers, in the order of the metadata entry `numeric`; absent where there are none |
//!
//! Ids are not checked by the graph: one that the table does not have is an error of the runtime, but that ONNX counts −1, −2, … of a field
//! that is not a bag from the table's end. In a bag every id below 0 is none; in a bag that keeps its values such ids come last.
//!
//! # Outputs
//!
//! `logits` and `probabilities`, float `[rows, tasks]`, in the order of the metadata entry `tasks`.
//!
//! # Metadata
//!
//! `kind` (the model's), `domain` (its name; `(shared)` for rows of no known one), `tasks` and `numeric` (lists of names, as JSON), and
//! `version` (this crate's). The graph is of opset 17 and IR version 8.

mod attention;
mod embeddings;
mod file;
mod graph;
mod layers;
mod lower;
mod proto;

pub use self::file::{export, save, save_all};
use self::graph::{Attribute, Graph, Tensor};

/// The numeric input, and the outputs.
const NUMERIC: &str = "numeric";
const LOGITS: &str = "logits";
const PROBABILITIES: &str = "probabilities";

/// The dimension that is free.
const ROWS: &str = "rows";
