//! Nets as programs: the dense part of a model is described once, as a list of steps; training, serving and export are derived from the
//! steps.
//!
//! A model's settings [describe](Describe) its net to a [`Builder`], step by step. Training, inference, sizes, views of gates, growth by a
//! domain, serving and ONNX are each written once, over the [`Program`]. Each layer has its hand-written derivative; the program adds the
//! order of the chain rule.
//!
//! | part | file |
//! |---|---|
//! | the rows that need a step, the steps that run in parallel | `program.rs`, computed once for a model |
//! | the values of a pass and their gradients | `tape.rs`, kept by the caller |
//! | forward and backward pass | `forward.rs`, `backward.rs` |
//! | inference, for [`serve`](crate::serve) and ONNX | `lower.rs`, which writes a [`Plan`](crate::model::Plan) |
//!
//! The input of a net is the *embedded row*: the embeddings of all fields and the numeric inputs, side by side. A net reads the whole
//! embedded row ([`Builder::row`]), single fields ([`Builder::field`]), the values of a field that keeps them apart
//! ([`Builder::sequence`]), or any columns of a value ([`Value::columns`]). [`Value::stopped`] stops a gradient. For example, attention of
//! the candidate item over the user's history, and the product of two fields that a factorization machine sums up:
//!
//! ```
//! # use starple::net::{Builder, Built, Value};
//! # fn part(net: &mut Builder<'_>) -> Built<Value> {
//! let (user, item, history) = (net.field("user")?, net.field("item")?, net.sequence("history")?);
//! let interest = net.attend(item, history)?;
//! let crossed = net.product(user, item)?;
//! net.concat(vec![user, item, interest, crossed])
//! # }
//! ```
//!
//! A net of your own is a configuration that implements [`Describe`]. This one has layers that all domains share, and a star layer after
//! them:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use starple::Model;
//! use starple::data::{Batch, DomainId, Layout};
//! use starple::model::NetConfig;
//! use starple::net::{Builder, Built, Describe};
//! use starple::nn::{Combination, HiddenSettings};
//! use starple::serve::{Scorer, ScorerCache};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! struct LateStar {
//!     layout: Layout,
//! }
//!
//! impl NetConfig for LateStar {
//!     fn kind(&self) -> &'static str {
//!         "late_star"
//!     }
//!     fn layout(&self) -> &Layout {
//!         &self.layout
//!     }
//!     fn layout_mut(&mut self) -> &mut Layout {
//!         &mut self.layout
//!     }
//!     fn embedding_dim(&self) -> usize {
//!         8
//!     }
//! }
//!
//! impl Describe for LateStar {
//!     fn describe(&self, net: &mut Builder<'_>) -> Built {
//!         let (row, tasks) = (net.row()?, net.layout().tasks.len());
//!         let hidden = net.mlp("shared", row, &[32, 16], None, HiddenSettings::default())?;
//!         let logits = net.star("last", hidden, tasks, Combination::Product, None)?;
//!         net.answer(logits, None);
//!         Ok(())
//!     }
//! }
//!
//! let layout = Layout::new(["home", "search"], ["click"]).field("item", 100).numeric(["price"]);
//! let mut model = Model::new(LateStar { layout: layout.clone() });
//! model.add_domain("feed")?;
//!
//! let rows = Batch::builder(model.layout(), 2).ids("item", vec![5, 6]).numeric("price", vec![1.0, 2.0]);
//! let rows = rows.domains(vec![DomainId::new(2); 2]).build()?;
//! let logits = model.forward(&rows, DomainId::new(2));
//! let scorer = Scorer::new(model, &[])?;
//! let (context, mut cache) = (scorer.context(DomainId::new(2), &rows), ScorerCache::default());
//! let served = scorer.score(&context, &rows, &mut cache);
//! assert!((&logits - served).iter().all(|difference| difference.abs() < 1e-5));
//! # Ok::<(), starple::Error>(())
//! ```

mod attended;
mod backward;
mod builder;
mod custom;
mod forward;
mod layer;
mod lower;
#[expect(clippy::module_inception, reason = "a net is what the module is about")]
mod net;
mod program;
mod tape;

pub use self::builder::{Builder, Built, Sequence, TooLarge};
pub(crate) use self::custom::CustomCache;
pub use self::custom::{Custom, CustomLayer};
pub use self::layer::{IntoName, IntoPart, Layer, LayerType};
pub use self::net::Net;
pub(crate) use self::net::{Input, Rows};
pub use self::program::{Program, Value};
pub use self::tape::Tape;

/// Settings of a model that can describe the net of this model. Implement this trait and [`NetConfig`](crate::model::NetConfig) for a model
/// of your own; [the module](self) has an example.
pub trait Describe {
    /// Adds the steps of the net to the builder `net`, in the order of the forward pass. The crate calls it when it makes a model, computes
    /// its size, or adds a domain.
    ///
    /// When it returns, every task must have a logit in every domain: add logits by [`Builder::answer`], [`Builder::answer_branch`] or
    /// [`Builder::tower`].
    ///
    /// # Errors
    /// Returns [`TooLarge`] if a method of the builder returned it. Pass it on with `?`.
    fn describe(&self, net: &mut Builder<'_>) -> Built;
}
