//! Multi-domain, multi-task click-through-rate models: training and serving in Rust.
//!
//! A platform shows items in many places. Each place is a **domain** with its own click behaviour. Each impression can have several
//! **tasks** (click, add to cart, buy). starple implements models that share parameters between domains and tasks and still let them
//! differ, on [`ndarray`] with hand-written backward passes:
//!
//! * [`Star`] (Sheng et al., CIKM 2021): every weight is a shared weight times a weight of the row's domain.
//! * [`Ple`] (Tang et al., RecSys 2020): shared experts and experts of each task (or domain), mixed by gates, level by level.
//! * [All other models](model): from separate models per domain and task, shared bottom and MMoE to cross-stitch, MRAN and PEPNet.
//!
//! The companion package `starple-lab` compares models over several seeds, shows what a trained model shares, and generates logs whose true
//! click probabilities are known.
//!
//! # From a log to scores
//!
//! ```text
//!  logs ─▶ data ─▶ Batch ─▶ embeddings ─▶ Net (star, ple, …) ─▶ logits [rows, tasks] ─▶ loss ─▶ metrics by domain
//!       schema,     rows       sparse          dense                   ▲                           │
//!       encoder,    grouped    gradients       gradients               └─ optimizer ◀─ backward ◀──┘
//!       readers     by domain
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`data`] | schema, encoder, log readers, batches, the loader |
//! | [`model`] | the models and their settings |
//! | [`net`] | the dense part of a model as a list of steps; the builder for your own net |
//! | [`nn`] | layers, each with `forward` and `backward` |
//! | [`loss`] | the loss over tasks and domains, and the weights of its parts |
//! | [`optim`] | optimizers, learning-rate schedules, gradient clipping |
//! | [`train`] | the training loop, early stopping, checkpoints, progress, reports |
//! | [`metrics`] | AUC, GAUC, log loss, PCOC and ECE by task and domain, as tables; MSE, MAE, R² and XAUC of predicted numbers |
//! | [`persist`] | model files |
//! | [`serve`] | prediction from raw values |
//! | `onnx` | export as ONNX graphs, with the feature `onnx` |
//!
//! # Quick start
//!
//! ```
//! use starple::data::{Encoder, Format, Schema, Table};
//! use starple::{Star, StarConfig};
//!
//! # fn main() -> starple::Result<()> {
//! // The schema says what each column is. The encoder fits vocabularies and scales on the rows you choose.
//! let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build()?;
//! let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\nlamp,25,search,1\n";
//! let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
//! let encoder = Encoder::fit(&schema, &table, &table.all())?;
//! let batch = encoder.encode_training(&table, &table.all())?;
//!
//! let cfg = StarConfig::builder(encoder.layout()).embedding_dim(8).hidden([16, 8]).build()?;
//! let domain = encoder.domain("search")?;
//! let logits = Star::new(cfg).forward(&batch, domain);
//! assert_eq!(logits.dim(), (3, 1));
//! # Ok(()) }
//! ```
//!
//! The examples show more:
//!
//! | example | what it does |
//! |---|---|
//! | `quickstart` | trains STAR, PLE and a pooled model on the bundled log and compares them |
//! | `train` | trains the model of a run file on any log |
//! | `compare` | compares many models on one log |
//! | `inside` | shows the gates of a trained PLE and the domains of a trained STAR |
//! | `learning` | compares models on generated logs |
//! | `tasks`, `new_domain`, `next_day`, `own_net` | each shows one feature |
//!
//! # Three rules
//!
//! * **Parameters, gradients and activations are three separate values.** A layer holds only its parameters. Its gradient is another value
//!   of the same type. Activations live in a [`Cache`](model::Cache) that the caller passes in. Prediction takes `&self` and can run on
//!   any number of threads at once.
//! * **The type says what a domain or task owns** ([`PerDomain`](nn::PerDomain), [`PerBranch`](nn::PerBranch)). If that domain or task has
//!   no rows or labels in a step, its parameters keep their values and their optimizer state; weight decay skips them too. Exception:
//!   parameters that other branches read.
//! * **The same seed gives the same bytes** with any number of threads.

pub mod data;
mod error;
pub mod loss;
mod math;
mod memory;
pub mod metrics;
pub mod model;
pub mod net;
pub mod nn;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod optim;
mod parallel;
pub mod persist;
mod random;
pub mod serve;
mod settings;
mod simd;
pub mod train;

pub use data::names::closest;
pub use error::{Error, ErrorKind, Problems, Result, one_line, printable, quoted};
pub use model::{AnyConfig, Model, Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};
#[doc(hidden)]
pub use settings::View;

/// The README's programs are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
