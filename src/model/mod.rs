//! Models: embeddings in front, a net behind.
//!
//! | type | what it is | paper |
//! |---|---|---|
//! | [`Single`] | a model of its own for every branch, embeddings too: what sharing is measured against | |
//! | [`Pooled`] | one network, the domain as a feature: what the others have to beat | |
//! | [`Star`] | shared weights times each domain's own, normalisation by domain, auxiliary network | Sheng et al., CIKM 2021 |
//! | [`SharedBottom`] | one bottom, a tower for every branch | Caruana, 1997 |
//! | [`Asymmetric`] | a bottom for every branch, read by others too | Tang et al., RecSys 2020 |
//! | [`Customized`] | a shared bottom and one for every branch | Tang et al., RecSys 2020 |
//! | [`CrossStitch`] | a stack for every branch, mixed behind each layer | Misra et al., CVPR 2016 |
//! | [`Sluice`] | the same by subspaces, towers that read all layers | Ruder et al., AAAI 2019 |
//! | [`Moe`] | experts, one gate | Jacobs et al., 1991 |
//! | [`Mmoe`] | experts, a gate for every branch | Ma et al., KDD 2018 |
//! | [`MlMmoe`] | levels of experts, all gates select on the row | Tang et al., RecSys 2020 |
//! | [`Cgc`] | shared and own experts, a gate for every branch | Tang et al., RecSys 2020 |
//! | [`Ple`] | the same, level by level | Tang et al., RecSys 2020 |
//! | [`Pepnet`] | gates by domain on the row, by user and item on every task's layers | Chang et al., KDD 2023 |
//! | [`Mran`] | attention among features, among branches, and from branches to features | after Zhao et al., KDD 2019 |
//!
//! All of them are one type, [`Model`]: `Star` is another name of it, under which the equations stand. Which model it is, its settings say; those of
//! a model that a file names are an [`AnyConfig`].
//!
//! A *branch* is what a model has an output for: a task, a domain, or one task in one domain ([`Branches`]).

mod any;
mod asymmetric;
mod bottoms;
mod branches;
mod cache;
mod cgc;
mod config;
mod cross_stitch;
mod customized;
mod embeddings;
mod extraction;
pub(crate) mod fits;
mod freeze;
mod fusion;
mod gate_view;
mod gradient;
mod grow;
mod ml_mmoe;
mod mmoe;
mod moe;
mod mran;
mod pepnet;
mod plan;
mod ple;
mod pooled;
mod shared_bottom;
mod single;
mod sluice;
mod star;
mod statistics;
mod stitched;

use std::sync::Mutex;

use ndarray::{Array2, ArrayViewMut2, Axis};

use crate::data::{Batch, DomainId, Domains, Layout};
use crate::metrics::SHARED_DOMAIN;
use crate::net::{Input, Net};
use crate::nn::buffer::resize;
use crate::nn::{Infer, Leaf, LeafMut, Mode, Pair, Params as _, Part, Path, Train};
use crate::optim::Optimizer;
use crate::parallel::join;
use crate::{Error, ErrorKind, Result};

pub use self::any::AnyConfig;
pub use self::asymmetric::{Asymmetric, AsymmetricConfig, AsymmetricConfigBuilder};
pub use self::branches::{BranchedConfig, Branches};
pub use self::cache::Cache;
pub use self::cgc::{Cgc, CgcConfig, CgcConfigBuilder};
pub(crate) use self::config::MAX_WIDTH;
pub use self::config::{ConfigObject, NetConfig};
pub use self::cross_stitch::{CrossStitch, CrossStitchConfig, CrossStitchConfigBuilder};
pub use self::customized::{Customized, CustomizedConfig, CustomizedConfigBuilder};
pub use self::embeddings::Embeddings;
pub(crate) use self::embeddings::Selection;
pub(crate) use self::freeze::is_below;
pub use self::fusion::Fusion;
pub use self::gate_view::{ExpertId, GateReader, GateView};
pub use self::gradient::{Gradient, Presence};
pub use self::grow::NewRows;
pub use self::ml_mmoe::{MlMmoe, MlMmoeConfig, MlMmoeConfigBuilder};
pub use self::mmoe::{Mmoe, MmoeConfig, MmoeConfigBuilder};
pub use self::moe::{Moe, MoeConfig, MoeConfigBuilder};
pub use self::mran::{Mran, MranConfig, MranConfigBuilder};
pub use self::pepnet::{Pepnet, PepnetConfig, PepnetConfigBuilder};
pub(crate) use self::plan::PlanStep;
pub use self::plan::{Plan, Value};
pub use self::ple::{Ple, PleConfig, PleConfigBuilder};
pub use self::pooled::{Pooled, PooledConfig, PooledConfigBuilder};
pub use self::shared_bottom::{SharedBottom, SharedBottomConfig, SharedBottomConfigBuilder};
pub use self::single::{Single, SingleConfig, SingleConfigBuilder};
pub use self::sluice::{Sluice, SluiceConfig, SluiceConfigBuilder};
pub use self::star::{Star, StarConfig, StarConfigBuilder};
pub(crate) use self::statistics::{Statistics, has_averages};

/// How many rows [`Model::score`], and other code that reads many rows, takes at a time.
pub(crate) const PIECE: usize = 4096;

/// A model: embedding tables in front of a [`Net`], from encoded rows to one logit for each row and task.
///
/// Calls that predict take `&self` and may come from many threads at once.
#[derive(Debug)]
pub struct Model {
    config: AnyConfig,
    embeddings: Embeddings,
    net: Net,
    /// Caches of the simple calls, so that they too allocate only once.
    pool: Mutex<Vec<Cache<Infer>>>,
}

impl Model {
    /// The model at step 0. It cannot fail: a configuration was checked when it was built.
    pub fn new(config: impl Into<AnyConfig>) -> Self {
        let config = config.into();
        let (embeddings, net) = (Embeddings::new(&*config), Net::new(&*config));
        Self { config, embeddings, net, pool: Mutex::default() }
    }

    /// A model of these settings to read a file into: its tables hold 0. `None` if that would take more than `limit` values.
    pub(crate) fn to_fill(config: AnyConfig, limit: f64) -> Option<Self> {
        let size = Embeddings::size(&*config).values + Net::size(&*config).values;
        // Not a number is too large too.
        if size.partial_cmp(&limit).is_none_or(std::cmp::Ordering::is_gt) {
            return None;
        }
        let (embeddings, net) = (Embeddings::zeros(&*config), Net::new(&*config));
        Some(Self { config, embeddings, net, pool: Mutex::default() })
    }

    /// What it was built from.
    pub fn config(&self) -> &AnyConfig {
        &self.config
    }

    /// Its fields, domains and tasks.
    pub fn layout(&self) -> &Layout {
        self.config.layout()
    }

    /// The embeddings alone.
    pub(crate) fn into_embeddings(self) -> Embeddings {
        self.embeddings
    }

    /// What it computes in inference.
    ///
    pub(crate) fn plan(&self) -> Plan<'_> {
        let layout = self.layout();
        let plan = self.net.plan(layout.domains.len());
        plan.assert_fits(self.embeddings.width(), layout.tasks.len());
        plan
    }

    /// The embedding tables.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// The embedding tables, for changes.
    pub fn embeddings_mut(&mut self) -> &mut Embeddings {
        &mut self.embeddings
    }

    /// The dense part.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The dense part, for changes.
    pub fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// How many values are learned by gradient.
    pub fn parameters(&self) -> usize {
        self.embeddings.tables().iter().map(Array2::len).sum::<usize>() + self.net.count()
    }

    /// The logits of a batch, `[rows, tasks]`, in inference.
    ///
    /// `domain` is one id for the whole batch, or a slice with one for each row, in any order. Rows of
    /// [`DomainId::SHARED`] take the shared path. A row's logits do not depend on its neighbours.
    ///
    /// # Panics
    /// If the batch does not have this model's layout ([`Batch::check`] says so with an error), a domain is out of range, or there are
    /// 2³² rows or more ([`Model::score`] takes any number).
    pub fn forward<'a>(&self, batch: &Batch, domain: impl Into<Domains<'a>>) -> Array2<f32> {
        let lent = self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut cache = lent.unwrap_or_default();
        let logits = self.forward_with(batch, domain, &mut cache).clone();
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(cache);
        logits
    }

    /// The probabilities of a batch, `p = σ(logit)`, `[rows, tasks]`. Arguments as for [`Model::forward`].
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn predict<'a>(&self, batch: &Batch, domain: impl Into<Domains<'a>>) -> Array2<f32> {
        self.forward(batch, domain).mapv_into(probability)
    }

    /// The logits of any number of rows with their own domains, `[rows, tasks]`: [`Model::forward`] in pieces, so that memory stays bounded.
    /// Inside a rayon pool the pieces run side by side; the result is the same.
    ///
    /// # Panics
    /// As [`Model::forward`].
    pub fn score(&self, rows: &Batch) -> Array2<f32> {
        let mut logits = Array2::zeros((rows.rows(), self.layout().tasks.len()));
        self.score_into(rows, 0, logits.view_mut());
        logits
    }

    fn score_into(&self, rows: &Batch, start: usize, mut logits: ArrayViewMut2<'_, f32>) {
        let count = logits.nrows();
        if count <= PIECE {
            let piece = rows.slice(start..start + count);
            logits.assign(&self.forward(&piece, piece.domains()));
            return;
        }
        let middle = count.div_ceil(PIECE).div_ceil(2) * PIECE;
        let (first, second) = logits.split_at(Axis(0), middle);
        join(|| self.score_into(rows, start, first), || self.score_into(rows, start + middle, second));
    }

    /// The logits of a batch, as [`Model::forward`] gives them, computed in a cache of the caller: in inference with `Cache<Infer>`, or as the first half of a training step
    /// with `Cache<Train>`.
    ///
    /// # Panics
    /// As [`Model::forward`]; in training also if a row has no known domain.
    pub fn forward_with<'c, 'a, M: Copy + Into<Mode<'static>>>(
        &self,
        batch: &Batch,
        domain: impl Into<Domains<'a>>,
        cache: &'c mut Cache<M>,
    ) -> &'c Array2<f32> {
        let layout = self.layout();
        if let Err(error) = batch.check_shape(layout) {
            panic!("a batch has the model's layout: {error}");
        }
        let (rows, mode) = (batch.rows(), cache.mode.into());
        cache.order.group(batch, domain.into(), layout.domains.len());
        let known = cache.order.segments.iter().all(|segment| segment.domain.is_some());
        assert!(known || mode.training().is_none(), "training rows have a domain; DomainId::SHARED is for prediction");
        let embedded = self.embeddings.find_blocks(rows, &cache.order.segments, &mut cache.blocks);
        resize(&mut cache.x, embedded, self.embeddings.width());
        resize(&mut cache.grouped, rows, layout.tasks.len());
        self.embeddings.forward(batch, &cache.order.rows, &cache.blocks, &mut cache.x);
        let Cache { order, x, grouped, tape, .. } = cache;
        let input = Input { x, segments: &order.segments, rows: &order.rows };
        self.net.forward(input, mode, tape, grouped);
        cache.order.scatter(&cache.grouped, &mut cache.logits);
        &cache.logits
    }

    /// The second half of a training step: adds the gradients of all parameters to `grad`, given those of the logits,
    /// `[rows, tasks]`, in the batch's order. One forward pass may be followed by any number of them, each with its own
    /// `dlogits`.
    ///
    /// # Panics
    /// If `batch` and `cache` are not those of the forward pass before.
    pub fn backward(&self, batch: &Batch, dlogits: &Array2<f32>, cache: &mut Cache<Train>, grad: &mut Gradient) {
        cache.order.gather(dlogits, &mut cache.grouped);
        resize(&mut cache.dx, cache.x.nrows(), cache.x.ncols());
        let Cache { order, blocks, x, dx, grouped, tape, .. } = cache;
        let input = Input { x, segments: &order.segments, rows: &order.rows };
        self.net.backward(input, grouped, tape, &mut grad.net, dx);
        self.embeddings.backward(batch, &order.rows, blocks, dx, &mut grad.tables);
        grad.silence();
    }

    /// What the net adds to the loss by itself, beside what labels give: adds the gradient of it to `grad` and returns it, 0 for most
    /// nets. Once a step, after all backward passes, since only who took part in the step pays; [`Step`](crate::train::Step) calls it.
    pub fn penalize(&self, cache: &mut Cache<Train>, grad: &mut Gradient) -> f64 {
        let penalty = self.net.penalize(&mut cache.tape, &mut grad.net);
        grad.silence();
        penalty
    }

    /// A gradient for this model, all zero.
    pub fn zero_grad(&self) -> Gradient {
        Gradient { tables: self.embeddings.zero_grad(), net: self.net.zeros_like(), frozen: Vec::new() }
    }

    /// Moves every parameter that has a gradient, and the moving averages; then sets `grad` back to zero.
    ///
    /// What a domain or branch owns that took no part keeps its values and its optimizer state, and so does what the gradient has
    /// [frozen](Gradient::freeze). A domain takes part by its rows
    /// (STAR, pooled), a branch by its labels, and what others read also through those that read it.
    pub fn apply(&mut self, grad: &mut Gradient, optimizer: &mut dyn Optimizer) {
        self.embeddings.apply(&mut grad.tables, &grad.frozen, optimizer);
        let (path, frozen) = (&mut Path::starting_at(self.embeddings.tables().len()), &grad.frozen);
        self.net.visit_pair(&mut grad.net, path, &mut |path, pair| match pair {
            _ if frozen.get(path.slot()) == Some(&true) => {}
            Pair::Tensor(values, grad, decay) if path.present() => optimizer.dense(path.slot(), values, grad, decay),
            Pair::Average(average, batch) if path.present() => average.take(batch),
            Pair::Tensor(..) | Pair::Average(..) => {}
        });
        // What was present the optimizer has left zero, what was not was zero before.
        grad.net.dismiss();
    }

    /// Adds a domain to a trained model. No score of another domain changes, nor, up to rounding, of rows of no known domain.
    ///
    /// In STAR and the pooled model it starts as what is shared. Where branches stand for domains it starts from new parts (experts,
    /// gates, bottoms, stacks, representations, towers, and in [`Single`] embedding tables), whose scores mean nothing before they were
    /// trained; it reads older parts, no older part reads it, and rows of no known domain do not take its branches. In STAR and the pooled
    /// model they do, once it has trained, by its embedding and statistics. Where branches stand for tasks it owns nothing.
    ///
    /// Make new gradients, caches and optimizers: those made before are for a model without the domain.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the name is empty or [`SHARED_DOMAIN`], or the model has a domain of that name.
    pub fn add_domain(&mut self, name: &str) -> Result<DomainId> {
        let domain = self.push_domain(name)?;
        self.settle();
        Ok(domain)
    }

    /// A domain behind the others; to be [settled](Model::settle).
    fn push_domain(&mut self, name: &str) -> Result<DomainId> {
        let layout = self.config.layout_mut();
        if name.is_empty() || name == SHARED_DOMAIN || layout.domains.iter().any(|known| known == name) {
            let message = "cannot add a domain: expected a name that the model does not have yet";
            return Err(Error::new(ErrorKind::Config, message).with_value(name));
        }
        layout.domains.push(name.to_owned());
        let domain = DomainId::new(layout.domains.len() - 1);
        self.net.add_domain(&mut *self.config, domain);
        self.embeddings.add_domain(&*self.config, domain);
        Ok(domain)
    }

    /// Makes a model that has grown the same as one of its settings from a file: what is no parameter, the random streams of dropout, goes
    /// by the order in which a net is made.
    fn settle(&mut self) {
        let mut net = Net::new(&*self.config);
        net.visit_pair(&mut self.net, &mut Path::starting_at(0), &mut |_, pair| match pair {
            Pair::Tensor(values, grown, _) => values.copy_from_slice(grown),
            Pair::Average(average, grown) => average.clone_from(grown),
        });
        self.net = net;
        self.pool = Mutex::default();
    }

    /// Walks all tensors: `embeddings.FIELD` (`embeddings.BRANCH.FIELD` where branches own them), then `net.…`.
    pub fn visit<'a>(&'a self, mut see: impl FnMut(&Path, Leaf<'a>)) {
        let path = &mut Path::starting_at(0);
        self.embeddings.visit(path, &mut see);
        path.within(Part::Field("net"), |path| self.net.visit(path, &mut see));
    }

    /// Walks all tensors as [`Model::visit`] does, and may change them.
    pub fn visit_mut(&mut self, mut see: impl FnMut(&Path, LeafMut<'_>)) {
        let path = &mut Path::starting_at(0);
        self.embeddings.visit_mut(path, &mut see);
        path.within(Part::Field("net"), |path| self.net.visit_mut(path, &mut see));
    }
}

/// `σ(logit)`.
pub(crate) fn probability(logit: f32) -> f32 {
    crate::loss::sigmoid(f64::from(logit)) as f32
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let Self { config, embeddings, net, .. } = self;
        Self { config: config.clone(), embeddings: embeddings.clone(), net: net.clone(), pool: Mutex::default() }
    }
}
