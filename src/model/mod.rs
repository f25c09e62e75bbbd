//! Models: each is embedding tables, followed by a net.
//!
//! | type | what it is | paper |
//! |---|---|---|
//! | [`Single`] | a separate model for every branch, with its own embeddings: the baseline to measure sharing against | |
//! | [`Pooled`] | one network; the domain is one more feature | |
//! | [`Star`] | shared weights times weights of the domain, normalisation per domain, auxiliary network | Sheng et al., CIKM 2021 |
//! | [`SharedBottom`] | one bottom, a tower per branch | Caruana, 1997 |
//! | [`Asymmetric`] | a bottom per branch, which other branches can read too | Tang et al., RecSys 2020 |
//! | [`Customized`] | a shared bottom and a bottom per branch | Tang et al., RecSys 2020 |
//! | [`CrossStitch`] | a stack of layers per branch, mixed after each layer | Misra et al., CVPR 2016 |
//! | [`Sluice`] | stacks mixed by subspaces, towers that read all layers | Ruder et al., AAAI 2019 |
//! | [`Moe`] | experts, one gate for all branches | Jacobs et al., 1991 |
//! | [`Mmoe`] | experts, a gate per branch | Ma et al., KDD 2018 |
//! | [`MlMmoe`] | levels of experts; every gate reads the input row | Tang et al., RecSys 2020 |
//! | [`Cgc`] | shared experts and experts per branch, a gate per branch | Tang et al., RecSys 2020 |
//! | [`Ple`] | several levels of CGC, with a shared gate between levels | Tang et al., RecSys 2020 |
//! | [`Pepnet`] | a gate that reads the domain, on the embedded row; gates that read user and item, on every task's layers | Chang et al., KDD 2023 |
//! | [`Mran`] | attention among features, among branches, and from branches to features | after Zhao et al., KDD 2019 |
//!
//! All of them have one type, [`Model`]. `Star`, `Ple` and the other names are aliases of `Model`; each alias documents the equations of
//! its model. The settings ([`StarConfig`], [`PleConfig`], …) decide which model it is. [`AnyConfig`] holds the settings of any model.
//!
//! A *branch* is what a model has a separate output for: a task, a domain, or one task in one domain ([`Branches`]). A *bottom* is a stack
//! of layers on the embedded row, an *expert* is one of several bottoms that a gate mixes, and a *tower* computes the logits of a branch.

mod any;
mod asymmetric;
mod bottoms;
mod branches;
mod cache;
mod cgc;
mod check;
mod config;
mod cross_stitch;
mod customized;
mod embeddings;
mod extraction;
mod field_dropout;
pub(crate) mod fits;
mod freeze;
mod fusion;
mod gate_view;
mod gradient;
mod grow;
mod interactions;
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

use crate::data::{Batch, DomainId, Domains, Layout, Target};
use crate::metrics::SHARED_DOMAIN;
use crate::net::{Net, Rows};
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
pub(crate) use self::check::MAX_WIDTH;
pub use self::config::{ConfigObject, NetConfig};
pub use self::cross_stitch::{CrossStitch, CrossStitchConfig, CrossStitchConfigBuilder};
pub use self::customized::{Customized, CustomizedConfig, CustomizedConfigBuilder};
pub use self::embeddings::Embeddings;
pub(crate) use self::embeddings::{Events, Selection};
pub(crate) use self::freeze::is_below;
pub use self::fusion::Fusion;
pub use self::gate_view::{ExpertId, GateReader, GateView};
pub use self::gradient::{Gradient, Presence};
pub use self::grow::NewRows;
pub use self::interactions::{CrossStructure, InteractionsConfig, InteractionsConfigBuilder};
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

/// How many rows [`Model::score`] and similar loops process at a time.
pub(crate) const PIECE: usize = 4096;

/// A model: embedding tables followed by a [`Net`]. It computes one logit for each row and task. Rows are encoded, that is, their texts are
/// replaced by ids ([`Batch`]).
///
/// The methods that predict take `&self`, so many threads can use one model at the same time.
#[derive(Debug)]
pub struct Model {
    config: AnyConfig,
    embeddings: Embeddings,
    net: Net,
    /// Caches for [`Model::forward`], so that it does not allocate them in every call.
    pool: Mutex<Vec<Cache<Infer>>>,
}

impl Model {
    /// Makes an untrained model with the settings `config`: a [`StarConfig`], for example, or an [`AnyConfig`]. It returns no error,
    /// because settings are checked when they are built.
    pub fn new(config: impl Into<AnyConfig>) -> Self {
        let config = config.into();
        let (embeddings, net) = (Embeddings::new(&*config), Net::new(&*config));
        Self { config, embeddings, net, pool: Mutex::default() }
    }

    /// A model into which a file is read; its tables are 0. `None` if it would have more than `limit` values.
    pub(crate) fn to_fill(config: AnyConfig, limit: f64) -> Option<Self> {
        let size = Embeddings::size(&*config).values + Net::size(&*config).values;
        // NaN counts as too large.
        if size.partial_cmp(&limit).is_none_or(std::cmp::Ordering::is_gt) {
            return None;
        }
        let (embeddings, net) = (Embeddings::zeros(&*config), Net::new(&*config));
        Some(Self { config, embeddings, net, pool: Mutex::default() })
    }

    /// The settings that the model was made with. After [`Model::add_domain`] or [`Model::grow`] they include the new domains and table
    /// rows.
    pub fn config(&self) -> &AnyConfig {
        &self.config
    }

    /// The shape of the rows that the model reads: fields and their tables, numeric inputs, domains and tasks.
    pub fn layout(&self) -> &Layout {
        self.config.layout()
    }

    /// The embeddings, without the net.
    pub(crate) fn into_embeddings(self) -> Embeddings {
        self.embeddings
    }

    /// The steps of inference.
    pub(crate) fn plan(&self) -> Plan<'_> {
        let layout = self.layout();
        let plan = self.net.plan(layout.domains.len());
        plan.assert_fits(self.embeddings.width(), layout.tasks.len());
        plan
    }

    /// The embedding layer: the tables that turn ids into vectors.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// The embedding layer, to change its values: for example to load pretrained vectors with [`Embeddings::tables_mut`].
    pub fn embeddings_mut(&mut self) -> &mut Embeddings {
        &mut self.embeddings
    }

    /// The net: all layers after the embeddings. [`Net::get`] finds a layer by its name.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The net: all layers after the embeddings, to change their values. [`Net::get_mut`] finds a layer by its name.
    pub fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// The number of parameters, that is, of all values that training learns by gradient descent. Embedding tables count, and so do frozen
    /// tensors; moving averages do not.
    pub fn parameters(&self) -> usize {
        self.embeddings.tables().iter().map(Array2::len).sum::<usize>() + self.net.count()
    }

    /// Computes the logits of a batch in inference, `[rows, tasks]`: without dropout, and normalised by moving averages.
    ///
    /// `domain` is one id for the whole batch, or a slice with one id for each row, in any order. Give [`DomainId::SHARED`] to rows of no
    /// known domain. A row's logits do not depend on the other rows of the batch. The labels of the batch are not read.
    ///
    /// # Panics
    /// If `batch` does not have the layout of this model ([`Batch::check`] returns an error instead). If `domain` has an id that the model
    /// does not have, or is a slice that does not have one id for each row. If `batch` has 2³² rows or more ([`Model::score`] has no such
    /// limit).
    pub fn forward<'a>(&self, batch: &Batch, domain: impl Into<Domains<'a>>) -> Array2<f32> {
        let lent = self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut cache = lent.unwrap_or_default();
        let logits = self.forward_with(batch, domain, &mut cache).clone();
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(cache);
        logits
    }

    /// Computes the predictions for a batch in inference, `[rows, tasks]`. For a binary task this is the probability
    /// `p = 1/(1 + exp(−logit))`, for other tasks the predicted number ([`Target::answer`](crate::data::Target::answer)). The arguments are
    /// those of [`Model::forward`].
    ///
    /// # Panics
    /// If `batch` does not have the layout of this model. If `domain` has an id that the model does not have, or is a slice that does not
    /// have one id for each row. If `batch` has 2³² rows or more.
    pub fn predict<'a>(&self, batch: &Batch, domain: impl Into<Domains<'a>>) -> Array2<f32> {
        let (mut answers, layout) = (self.forward(batch, domain), self.layout());
        for (task, mut column) in answers.columns_mut().into_iter().enumerate() {
            let target = layout.target(task);
            column.mapv_inplace(|z| answer(target, z));
        }
        answers
    }

    /// Computes the logits of any number of rows in inference, `[rows, tasks]`. [`Batch::domains()`] has the domain of each row.
    ///
    /// It calls [`Model::forward`] for a few thousand rows at a time, so that it needs little memory. Inside a rayon pool it uses all
    /// threads of the pool; the logits have the same bits.
    ///
    /// # Panics
    /// If `rows` does not have the layout of this model, or if it has a domain that the model does not have.
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

    /// Computes the logits of a batch, `[rows, tasks]`, in buffers that you keep between calls: `cache`. The arguments `batch` and `domain`
    /// are those of [`Model::forward`].
    ///
    /// With a `Cache<Infer>`, the logits are those of [`Model::forward`]. With a `Cache<Train>`, they are those of training (with dropout,
    /// and normalised by the statistics of the batch), and the cache keeps what [`Model::backward`] needs.
    ///
    /// # Panics
    /// If `batch` does not have the layout of this model. If `domain` has an id that the model does not have, or is a slice that does not
    /// have one id for each row. If `batch` has 2³² rows or more. In training, also if `domain` gives a row the id [`DomainId::SHARED`].
    pub fn forward_with<'c, 'a, M: Copy + Into<Mode<'static>>>(
        &self,
        batch: &Batch,
        domain: impl Into<Domains<'a>>,
        cache: &'c mut Cache<M>,
    ) -> &'c Array2<f32> {
        let layout = self.layout();
        if let Err(error) = batch.check_shape(layout) {
            panic!("the batch does not have the model's layout: {error}");
        }
        let (rows, mode) = (batch.rows(), cache.mode.into());
        cache.order.group(batch, domain.into(), layout.domains.len());
        let known = cache.order.segments.iter().all(|segment| segment.domain != DomainId::SHARED);
        assert!(known || mode.training().is_none(), "training rows have a domain; DomainId::SHARED is for prediction");
        let embedded = self.embeddings.find_blocks(rows, &cache.order.segments, &mut cache.blocks);
        resize(&mut cache.x, embedded, self.embeddings.width());
        resize(&mut cache.grouped, rows, layout.tasks.len());
        let Cache { order, blocks, fields, x, events, grouped, tape, .. } = cache;
        self.embeddings.forward(batch, &order.rows, blocks, x, events);
        if let (Some(step), rate) = (mode.training(), self.config.field_dropout())
            && rate > 0.0
        {
            fields.forward(rate, step, self.embeddings.columns(), (&order.rows, blocks), x);
        }
        let rows = Rows { x, events, segments: &order.segments, numbers: &order.rows };
        self.net.forward(rows, mode, tape, grouped);
        cache.order.scatter(&cache.grouped, &mut cache.logits);
        &cache.logits
    }

    /// The backward pass after [`Model::forward_with`] in training: adds the gradients of all parameters to `grad`.
    ///
    /// `dlogits` is the gradient of the loss with respect to the logits, `[rows, tasks]`, in the order of the batch. `batch` must be the
    /// batch of the last forward pass with `cache`. You can call this several times after one forward pass, each time with other `dlogits`.
    ///
    /// # Panics
    /// If `dlogits` or `batch` has another shape than in the forward pass, or if `grad` is the gradient of another model.
    pub fn backward(&self, batch: &Batch, dlogits: &Array2<f32>, cache: &mut Cache<Train>, grad: &mut Gradient) {
        cache.order.gather(dlogits, &mut cache.grouped);
        resize(&mut cache.dx, cache.x.nrows(), cache.x.ncols());
        let Cache { order, blocks, fields, x, events, dx, grouped, tape, .. } = cache;
        self.net.backward(x, events, grouped, tape, &mut grad.net, dx);
        let rate = self.config.field_dropout();
        if rate > 0.0 {
            fields.backward(rate, self.embeddings.columns(), (&order.rows, blocks), dx);
        }
        self.embeddings.backward(batch, &order.rows, blocks, dx, events, &mut grad.tables);
        grad.silence();
    }

    /// Adds the gradient of the net's penalty on its own weights to `grad`, and returns the penalty, a term of the training loss. Only
    /// [`Sluice`] has a penalty, and a net of your own that uses [`Builder::orthogonal_layer`](crate::net::Builder::orthogonal_layer). For
    /// other nets this does nothing and returns 0.
    ///
    /// `cache` is the cache of the forward pass of this step.
    ///
    /// Call it once in each training step, after all backward passes: only layers that have a gradient in this step have a penalty.
    /// [`Step`](crate::train::Step) calls it for you.
    pub fn penalize(&self, cache: &mut Cache<Train>, grad: &mut Gradient) -> f64 {
        let penalty = self.net.penalize(&mut cache.tape, &mut grad.net);
        grad.silence();
        penalty
    }

    /// Makes a gradient for this model, with all values 0. Make it once and use it in every training step: [`Model::apply`] sets it back to
    /// 0.
    pub fn zero_grad(&self) -> Gradient {
        Gradient { tables: self.embeddings.zero_grad(), net: self.net.zeros_like(), frozen: Vec::new() }
    }

    /// Updates the model by the gradient of one training step: `optimizer` updates every parameter that has a gradient, and moving averages
    /// are updated by the statistics of the batch. Then sets `grad` back to 0.
    ///
    /// These parameters keep their values and their optimizer state:
    ///
    /// * parameters of a domain that has no rows in this step, for example in STAR;
    /// * parameters of a branch that has no labels in this step, unless another branch that has labels reads them;
    /// * tensors that are [frozen](Gradient::freeze).
    pub fn apply(&mut self, grad: &mut Gradient, optimizer: &mut dyn Optimizer) {
        self.embeddings.apply(&mut grad.tables, &grad.frozen, optimizer);
        let (path, frozen) = (&mut Path::starting_at(self.embeddings.tables().len()), &grad.frozen);
        self.net.visit_pair(&mut grad.net, path, &mut |path, pair| match pair {
            _ if frozen.get(path.slot()) == Some(&true) => {}
            Pair::Tensor(values, grad, decay) if path.present() => optimizer.dense(path.slot(), values, grad, decay),
            Pair::Average(average, batch) if path.present() => average.take(batch),
            Pair::Tensor(..) | Pair::Average(..) => {}
        });
        // The optimizer has set the gradients of present members to 0; the others were 0 before.
        grad.net.dismiss();
    }

    /// Adds a domain with the name `name` to a trained model, and returns its id. The scores of rows of other domains do not change. The
    /// scores of rows of no known domain change at most by rounding.
    ///
    /// | model | what the new domain starts with | whether rows of no known domain use it |
    /// |---|---|---|
    /// | STAR | the shared weights | yes: once it has trained, its embedding and statistics count |
    /// | pooled, PEPNet | the mean of the other domains' embeddings | yes: once it has trained, its embedding counts |
    /// | branches are domains, or domains and tasks | new parts, such as a tower (in [`Single`] also tables), to be trained first | no |
    /// | branches are tasks | nothing: the new domain has no parameters | there is nothing to use |
    /// | any model with a factorization machine ([`InteractionsConfig`]) | the shared weight and bias of its term | no |
    ///
    /// New parts can read older parts, but no older part reads a new part.
    ///
    /// After this call, make new gradients, caches and optimizers: the old ones do not fit the larger model.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `name` is empty or equal to [`SHARED_DOMAIN`], or if the model already has a domain of this name. The model
    /// then does not change.
    pub fn add_domain(&mut self, name: &str) -> Result<DomainId> {
        let domain = self.push_domain(name)?;
        self.settle();
        Ok(domain)
    }

    /// Appends a domain. Call [`Model::settle`] afterwards.
    fn push_domain(&mut self, name: &str) -> Result<DomainId> {
        let layout = self.config.layout_mut();
        if name.is_empty() || name == SHARED_DOMAIN || layout.domains.iter().any(|known| known == name) {
            let message = "cannot add a domain: expected a non-empty name that no domain of the model has";
            return Err(Error::new(ErrorKind::Config, message).with_value(name));
        }
        layout.domains.push(name.to_owned());
        let domain = DomainId::new(layout.domains.len() - 1);
        self.net.add_domain(&mut *self.config, domain);
        self.embeddings.add_domain(&*self.config, domain);
        Ok(domain)
    }

    /// Rebuilds the net after growth, so that it equals a net that is loaded from a file. The random streams of dropout depend on the order
    /// in which the layers were made.
    fn settle(&mut self) {
        let mut net = Net::new(&*self.config);
        net.visit_pair(&mut self.net, &mut Path::starting_at(0), &mut |_, pair| match pair {
            Pair::Tensor(values, grown, _) => values.copy_from_slice(grown),
            Pair::Average(average, grown) => average.clone_from(grown),
        });
        self.net = net;
        self.pool = Mutex::default();
    }

    /// Calls `see` for every tensor of the model, with its name and number ([`Path`]) and its values ([`Leaf`]): first the embedding
    /// tables, then the tensors of the net.
    ///
    /// [`Path::name`] gives the dotted name of a tensor. The name of an embedding table is `embeddings.TABLE` (`embeddings.BRANCH.TABLE` if
    /// every branch has its own tables). The name of a tensor of the net is `net.`, the name of its layer, and its own name in the layer.
    pub fn visit<'a>(&'a self, mut see: impl FnMut(&Path, Leaf<'a>)) {
        let path = &mut Path::starting_at(0);
        self.embeddings.visit(path, &mut see);
        path.within(Part::Field("net"), |path| self.net.visit(path, &mut see));
    }

    /// Calls `see` for every tensor of the model, with its name and number ([`Path`]), in the order of [`Model::visit`]: first the
    /// embedding tables, then the tensors of the net. `see` may change the values of the tensor.
    pub fn visit_mut(&mut self, mut see: impl FnMut(&Path, LeafMut<'_>)) {
        let path = &mut Path::starting_at(0);
        self.embeddings.visit_mut(path, &mut see);
        path.within(Part::Field("net"), |path| self.net.visit_mut(path, &mut see));
    }
}

/// The answer of a task for a logit, rounded once.
pub(crate) fn answer(target: Target, logit: f32) -> f32 {
    target.answer(f64::from(logit)) as f32
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let Self { config, embeddings, net, .. } = self;
        Self { config: config.clone(), embeddings: embeddings.clone(), net: net.clone(), pool: Mutex::default() }
    }
}
