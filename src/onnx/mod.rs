//! Models as ONNX graphs, to be served by whatever runs those; with the feature `onnx`.
//!
//! A model is one graph for each domain, and one for rows of no known domain: what the domain owns is folded into constants, and what it does
//! not read is left out. Every model of this crate can be exported, with all its settings; scores are those of
//! [`Model::forward`](crate::Model::forward) but for rounding. A net of your own can when it implements [`Export`].
//!
//! ```
//! use starple::data::{DomainId, Field, Layout, Pooling};
//! use starple::{Star, StarConfig, onnx};
//!
//! let layout = Layout {
//!     fields: vec![
//!         Field { name: "item".into(), rows: 1000, bag: None },
//!         Field { name: "tags".into(), rows: 50, bag: Some(Pooling::Mean) },
//!     ],
//!     numeric: vec!["price".into()],
//!     domains: vec!["home".into(), "search".into()],
//!     tasks: vec!["click".into()],
//! };
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
//! that is not a bag from the table's end. In a bag every id below 0 is none.
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
mod bottoms;
mod extraction;
mod file;
mod front;
mod graph;
mod layers;
mod ml_mmoe;
mod mran;
mod pooled;
mod proto;
mod single;
mod star;
mod stitched;
mod towers;

pub use self::file::{export, save, save_all};
pub use self::graph::{Attribute, Graph, Value};
use crate::Result;
use crate::model::Net;

/// The numeric input, and the outputs.
const NUMERIC: &str = "numeric";
const LOGITS: &str = "logits";
const PROBABILITIES: &str = "probabilities";

/// The dimension that is free.
const ROWS: &str = "rows";

/// A net that can be written as a graph.
///
/// ```
/// # use ndarray::{Array1, ArrayRef2, Axis, s};
/// # use serde::{Deserialize, Serialize};
/// # use starple::data::{DomainId, Field, Layout};
/// # use starple::model::{Input, Net, NetConfig};
/// # use starple::nn::{Decay, Init, Linear, Mode, PerDomain, Train};
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # struct LinearConfig { layout: Layout }
/// # impl NetConfig for LinearConfig {
/// #     fn kind(&self) -> &'static str { "linear" }
/// #     fn layout(&self) -> &Layout { &self.layout }
/// #     fn layout_mut(&mut self) -> &mut Layout { &mut self.layout }
/// #     fn embedding_dim(&self) -> usize { 4 }
/// #     fn embedding_std(&self) -> f32 { 0.01 }
/// #     fn seed(&self) -> u64 { 0 }
/// # }
/// # #[derive(Clone)]
/// # struct Bias { bias: Array1<f32> }
/// # starple::params!(LinearNet { shared, domain });
/// # starple::params!(Bias { bias: Decay::None });
/// use starple::onnx::{self, Embedded, Export, Graph, Value};
///
/// /// `logits = x·W + b + b_d`.
/// #[derive(Clone)]
/// struct LinearNet {
///     shared: Linear,
///     domain: PerDomain<Bias>,
/// }
/// # impl Net for LinearNet {
/// #     type Config = LinearConfig;
/// #     type Cache = ();
/// #     fn new(config: &LinearConfig) -> Self {
/// #         Self {
/// #             shared: Linear::new(config.width(), config.tasks(), Init::Xavier, &mut config.draws()),
/// #             domain: PerDomain::new(config.domains(), |_| Bias { bias: Array1::zeros(config.tasks()) }),
/// #         }
/// #     }
/// #     fn forward<M: Mode>(&self, input: Input<'_>, _: M, (): &mut (), logits: &mut ArrayRef2<f32>) {
/// #         self.shared.forward(input.x, logits);
/// #     }
/// #     fn backward(
/// #         &self, _: Input<'_>, _: &ArrayRef2<f32>, _: Train, (): &mut (), _: &mut Self, _: &mut ArrayRef2<f32>,
/// #     ) {}
/// #     fn add_domain(&mut self, _: &mut LinearConfig, _: DomainId) {}
/// # }
///
/// impl Export for LinearNet {
///     fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> starple::Result<Value> {
///         let mut logits = graph.linear(rows.x[0], &self.shared);
///         if let Some(d) = rows.domain {
///             let bias = graph.constant(&self.domain[d].bias);
///             logits = graph.add(logits, bias);
///         }
///         Ok(logits)
///     }
/// }
/// # let layout = Layout {
/// #     fields: vec![Field { name: "item".into(), rows: 9, bag: None }],
/// #     domains: vec!["home".into()],
/// #     tasks: vec!["click".into()],
/// #     ..Layout::default()
/// # };
///
/// let model = starple::Model::<LinearNet>::new(LinearConfig { layout });
/// let bytes = onnx::export(&model, DomainId::new(0))?;
/// # assert!(!bytes.is_empty());
/// # Ok::<(), starple::Error>(())
/// ```
pub trait Export: Net {
    /// Adds to `graph` what the net is in inference for rows of one domain; gives the logits, `[rows, tasks]`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if this net, with these settings, cannot be exported.
    fn graph(&self, rows: Embedded<'_>, graph: &mut Graph<'_>) -> Result<Value>;
}

/// What a net reads in a graph: embedded rows, all of one domain.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a> {
    /// The domain's position, or `None` for rows of no known one.
    pub domain: Option<usize>,
    /// `[rows, width]`: the fields' embeddings, then the numeric inputs. It is one value, but where branches have tables of their own
    /// ([`NetConfig::own_tables`](crate::model::NetConfig::own_tables)): there one for each branch that answers, in their order.
    pub x: &'a [Value],
}
