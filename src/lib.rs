//! Multi-domain, multi-task click-through-rate models, trained and served from Rust.
//!
//! A platform shows things in many places. Each place is a **domain** with its own click behaviour; each impression may
//! have several **tasks** (click, add to cart, buy). starple has the two published systems that share between them without
//! making one better at another's cost, on [`ndarray`] with hand-written backward passes:
//!
//! * [`Star`] (Sheng et al., CIKM 2021): every weight is a shared weight times the domain's own;
//! * [`Ple`] (Tang et al., RecSys 2020): shared and own experts mixed by gates, level by level;
//! * the [family](model) around them, from one model for each domain and task over shared bottoms and MMoE to cross-stitch and
//!   MRAN.
//!
//! The package `starple-lab` beside it compares models over seeds, shows what a trained model shares, and generates logs with a
//! known truth.
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
//! | module | what is there |
//! |---|---|
//! | [`data`] | schema, encoder, readers of logs, batches, the loader |
//! | [`model`] | the models and their configurations |
//! | [`net`] | nets as programs of layers, also for your own |
//! | [`nn`] | layers, each `forward` beside its `backward` |
//! | [`loss`], [`optim`] | the objective over tasks and domains, and how its parts are weighed; optimizers, schedules, clipping |
//! | [`train`] | the loop, early stop, checkpoints, progress, reports |
//! | [`metrics`] | AUC, GAUC, log loss, PCOC, ECE by task and domain, as tables |
//! | [`persist`] | model files |
//! | [`serve`] | raw values in, probabilities out |
//! | `onnx` | models as ONNX graphs, with the feature of that name |
//!
//! # Quick start
//!
//! ```
//! use starple::data::{Encoder, Format, Schema, Table};
//! use starple::{Star, StarConfig};
//!
//! # fn main() -> starple::Result<()> {
//! // What the columns mean; vocabularies and scales are fitted on rows you choose.
//! let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build()?;
//! let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\nlamp,25,search,1\n";
//! let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
//! let encoder = Encoder::fit(&schema, &table, &table.all())?;
//! let batch = encoder.encode(&table, &table.all())?;
//!
//! let cfg = StarConfig::builder(encoder.layout()).embedding_dim(8).hidden([16, 8]).build()?;
//! let domain = encoder.domain("search")?;
//! let logits = Star::new(cfg).forward(&batch, domain);
//! assert_eq!(logits.dim(), (3, 1));
//! # Ok(()) }
//! ```
//!
//! The examples go on from there: `quickstart` trains and compares, `train` takes any log by a run file, `compare` many models on
//! one, `inside` shows gates and distances, `learning` has planted worlds; `tasks`, `new_domain`,
//! `next_day` and `own_net` each show one idea.
//!
//! # Three rules
//!
//! * **Parameters, gradients and scratch are three values.** A layer is plain data; its gradient has the same type; activations
//!   live in a [`Cache`](model::Cache) that the caller lends. Prediction takes `&self`, from any number of threads.
//! * **What a domain or task owns is in the type** ([`PerDomain`](nn::PerDomain), [`PerBranch`](nn::PerBranch)): who is
//!   absent from a step keeps values and optimizer state, weight decay included, but for what others read.
//! * **The same seed gives the same bytes**, whatever the number of threads.

pub mod data;
mod error;
pub mod loss;
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
mod simd;
pub mod train;

pub use data::names::closest;
pub use error::{Error, ErrorKind, Problems, Result, one_line, printable, quoted};
pub use model::{AnyConfig, Model, Ple, PleConfig, Pooled, PooledConfig, Star, StarConfig};

/// The README's programs are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
