//! MRAN: attention among features, among branches, and from branches to features.

use ndarray::{Array1, Array2, ArrayRef2, ArrayView2, ArrayViewMut2, Axis, s};

use super::branches::Route;
use super::config::{MAX_COUNT, MAX_DEPTH, MAX_WIDTH, check_most, check_widths, model_config};
use super::towers::{TowerShape, Towers, TowersCache};
use super::{BranchedConfig, Branches, Input, Net, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::buffer::{grow, resize};
use crate::nn::{
    ActivationKind, Alignment, AlignmentCache, AttentionSettings, Branch, Decay, Draws, Hidden, HiddenCache,
    HiddenStyle, Infer, Mode, MultiHeadAttention, MultiHeadAttentionCache, NormKind, PerBranch, Sight, Size, Tokens,
    Train,
};

model_config! {
    /// The settings of [`Mran`](super::Mran).
    MranConfig, MranConfigBuilder, "mran" of MranNet, branches: Branches::Auto => {
        /// How many heads every attention has, at least 1; default 2.
        heads: usize = 2;
        /// How many values a head gives, at least 1; default 16.
        head_width: usize = 16;
        /// Whether attention scores are divided by the root of how many products they sum; default true.
        scaled: bool = true;
        /// How many layers of attention among features there are; default 1, and 0 leaves it out.
        attention_layers: usize = 1;
        /// Whether the branches attend to each other; default true. A model built with one branch has nobody to attend to, and
        /// leaves it out.
        branch_attention: bool = true;
        /// The widths of a tower's hidden layers; default 64, 32.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>;
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        check_most("heads", this.heads, MAX_COUNT, problems);
        check_most("head_width", this.head_width, MAX_WIDTH, problems);
        check_most("attention_layers", this.attention_layers, MAX_DEPTH, problems);
        problems.require(this.heads >= 1, || "heads: at least 1, found 0".into());
        problems.require(this.head_width >= 1, || "head_width: at least 1, found 0".into());
    }
}

/// MRAN's dense part (Zhao et al., "Multiple Relational Attention Network for Multi-task Learning", KDD 2019): three attentions, and
/// a tower for every branch.
///
/// ```text
///   tower k              ŷ^k = t^k(h^k)
///   branch to features   h^k = norm^k([e_1 + α^k_1·e_1, …, e_M + α^k_M·e_M])   α^k = softmax_m(⟨q^k, e_m·K⟩ / √width)
///   among branches       q^k = Σ_j β_kj·r_j·V + r_k·W_R                        β_k = softmax_j(⟨r_k·Q, r_j·K⟩ / √head_width)
///   among features       e_m = dropout(φ(norm(Σ_n γ_mn·x_n·V + x_m·W_R)))      γ_m = softmax_n(⟨x_m·Q, x_n·K⟩ / √head_width)
///   input                x_m = a field's embedding, or x_j·v_j + b_j for a number
/// ```
///
/// Among branches and among features head by head; among features also layer by layer. All branches share the attentions
/// ([`MultiHeadAttention`], [`Alignment`]); a branch owns its representation `r_k`, its norm and its tower. With branches for domains
/// a row passes those of its domain alone, and a row of no known domain takes the mean of the logits of the domains that the model was
/// built with.
///
/// A branch attends to those that the model was built with, and one that is added also to itself, so that nobody's `q^k` changes when
/// a domain is added. Who attends to a branch also teaches it: `r_k` learns from the rows of others.
///
/// `activation`, `norm` and `dropout` follow the sum of heads and residual among features as they follow the maps of towers; `norm`
/// also stands in front of every tower, over all tokens of a row together. The paper normalises over the batch there (`norm`:
/// `batch`); AutoInt does not, and has ReLU. Among branches there is none of the three: a handful of representations has no statistics.
///
/// # What is the paper's, and what is not
///
/// The paper's are the three modules and their order: multi-head self-attention among tasks (section 3.2) and among features (3.3), an
/// alignment of the features by each task's representation, whose weights are laid on the features and not summed over (3.4), each
/// with a residual, and a feed-forward tower for each task (3.5); and that all attention is shared. So much say its abstract, the PLE
/// paper (Tang et al., RecSys 2020, section 2) and published notes on it; its own formulas were not at hand. Those of heads and residual
/// are AutoInt's (Song et al., CIKM 2019, section 4.4), which treats the fields of a CTR log as this does.
///
/// Not the paper's: it represents a task by its *labels* over the training rows, and keeps the alignment's weights for prediction.
/// Labels cannot be an input where the same row is scored, so here a task's representation is learned, and the alignment looks at the
/// row. A feature of the paper is one number; here it is a field's embedding, or a number made as wide. Branches for domains are ours.
///
/// Left out: the paper's other scores among tasks (dot product, general, concatenation), and its penalty on the weights of attention.
#[derive(Debug, Clone, PartialEq)]
pub struct MranNet {
    /// Makes tokens of a row.
    pub tokens: Tokens,
    /// Attention among features, from the input up.
    pub features: Vec<MultiHeadAttention>,
    /// What stands for each branch.
    pub representations: PerBranch<Representation>,
    /// Attention among the branches' representations.
    pub relations: Option<MultiHeadAttention>,
    /// Attention of a branch to the features.
    pub alignment: Alignment,
    /// The norm in front of each tower, if there is one.
    pub norms: PerBranch<Option<Hidden>>,
    /// The towers.
    pub towers: Towers,
    /// How many branches there were at construction, which are those that all see.
    built_with: usize,
}

/// What stands for a branch among branches.
#[derive(Debug, Clone, PartialEq)]
pub struct Representation {
    /// `r`, `[heads · head_width]`.
    pub vector: Array1<f32>,
}

crate::params!(MranNet { tokens, features, representations, relations, alignment, norms, towers });
crate::params!(Representation { vector: Decay::None });

/// What a [`MranNet`] keeps from forward to backward.
#[derive(Debug, Default)]
pub struct MranCache {
    /// The tokens that enter each layer, then those that leave the last: `[rows·tokens, width]`.
    tokens: Vec<Array2<f32>>,
    features: Vec<MultiHeadAttentionCache>,
    branches: BranchesCache,
    towers: TowersCache,
    /// By route: what enters its tower, `[rows, tokens·width]`, and how it came about.
    inputs: Vec<Array2<f32>>,
    runs: Vec<Run>,
    dtokens: Array2<f32>,
    scratch: Array2<f32>,
}

/// The representations and what attention made of them, `[branches, width]`.
#[derive(Debug, Default)]
struct BranchesCache {
    vectors: Array2<f32>,
    queries: Array2<f32>,
    relations: MultiHeadAttentionCache,
    dvectors: Array2<f32>,
    dqueries: Array2<f32>,
    /// Which branches took part in the step themselves.
    active: Vec<bool>,
}

/// The alignment of one route.
#[derive(Debug, Default)]
struct Run {
    alignment: AlignmentCache,
    /// What it gave, where a norm follows.
    aligned: Array2<f32>,
    norm: HiddenCache,
}

impl MranConfig {
    fn attention(&self) -> AttentionSettings {
        let MranConfigBuilder { heads, head_width, scaled, .. } = self.0;
        AttentionSettings { heads, head_width, scaled }
    }

    /// How wide a token is that leaves the attention among features.
    fn token_width(&self) -> usize {
        if self.0.attention_layers == 0 { self.0.embedding_dim } else { self.attention().width() }
    }

    /// How many values enter a tower.
    fn tower_input(&self) -> usize {
        (self.0.layout.fields.len() + self.0.layout.numeric.len()) * self.token_width()
    }

    fn tower(&self) -> TowerShape<'_> {
        TowerShape { hidden: &self.0.tower_hidden, tasks: self.tasks(), style: self.0.style() }
    }

    fn representation(&self, draws: &mut Draws) -> Representation {
        Representation { vector: draws.normal(1, self.attention().width(), 1.0).remove_axis(Axis(0)) }
    }

    fn tower_norm(&self, draws: &mut Draws) -> Option<Hidden> {
        let norm = |norm| Hidden::new(self.tower_input(), norm, ActivationKind::Identity, 0.0, draws);
        (self.0.norm != NormKind::None).then_some(self.0.norm).map(norm)
    }
}

impl MranNet {
    /// Who sees whom among branches.
    fn branches(&self) -> Sight {
        Sight { tokens: self.representations.len(), common: self.built_with }
    }

    /// `q = attention(r)`, or `r` where there is none.
    fn query<M: Mode>(&self, mode: M, cache: &mut BranchesCache) {
        let count = self.representations.len();
        let BranchesCache { vectors, queries, relations, .. } = cache;
        resize(vectors, count, self.representations[0].vector.len());
        for (mut row, own) in vectors.rows_mut().into_iter().zip(self.representations.iter()) {
            row.assign(&own.vector);
        }
        resize(queries, count, vectors.ncols());
        match &self.relations {
            Some(attention) => attention.forward(vectors, self.branches(), mode, relations, queries),
            None => queries.assign(vectors),
        }
    }

    /// Takes `dq` back to the representations. Of those that took no part themselves, those that were seen by one that did learn from it.
    fn query_backward(&self, cache: &mut BranchesCache, grad: &mut Self) {
        let BranchesCache { vectors, relations, dvectors, dqueries, active, .. } = cache;
        let seen = match (&self.relations, &mut grad.relations) {
            (Some(attention), Some(grad)) if active.contains(&true) => {
                resize(dvectors, vectors.nrows(), vectors.ncols());
                attention.backward(vectors, self.branches(), dqueries, relations, grad, dvectors);
                self.built_with
            }
            _ => {
                std::mem::swap(dvectors, dqueries);
                0
            }
        };
        for (branch, (d, &active)) in dvectors.rows().into_iter().zip(&*active).enumerate() {
            if active || branch < seen {
                grad.representations.touch(branch).vector += &d;
            }
        }
    }
}

impl Net for MranNet {
    type Config = MranConfig;
    type Cache = MranCache;

    fn new(config: &MranConfig) -> Self {
        let (draws, attention) = (&mut config.draws(), config.attention());
        let MranConfigBuilder { layout, embedding_dim, embedding_std, attention_layers, branch_attention, .. } =
            &config.0;
        let branches: Vec<Branch> = config.branches().of(layout);
        let built_with = config.built_with().unwrap_or(branches.len());
        let tokens = Tokens::new(layout.fields.len(), layout.numeric.len(), *embedding_dim, *embedding_std, draws);
        let style = config.0.style();
        let width = |layer| if layer == 0 { *embedding_dim } else { attention.width() };
        let layer = |layer| MultiHeadAttention::new(width(layer), attention, style, draws);
        let features = (0..*attention_layers).map(layer).collect();
        let representations = PerBranch::new(branches.iter().copied(), |_| config.representation(draws));
        let plain = HiddenStyle { activation: ActivationKind::Identity, norm: NormKind::None, dropout: 0.0, ..style };
        let relations = (*branch_attention && built_with > 1)
            .then(|| MultiHeadAttention::new(attention.width(), attention, plain, draws));
        let alignment = Alignment::new(config.token_width(), attention, draws);
        let norms = PerBranch::new(branches, |_| config.tower_norm(draws));
        let towers = Towers::new(config, config.tower(), |_| config.tower_input(), draws);
        Self { tokens, features, representations, relations, alignment, norms, towers, built_with }
    }

    fn size(config: &MranConfig) -> Option<Size> {
        let MranConfigBuilder { layout, embedding_dim, attention_layers, branch_attention, heads, head_width, .. } =
            &config.0;
        let (dim, layers, style) = (*embedding_dim as f64, *attention_layers as f64, config.0.style());
        let width = *heads as f64 * *head_width as f64;
        let branches = config.branches().count(layout) as f64;
        let built_with = config.built_with().map_or(branches, |branches| branches as f64);
        let numbers = layout.numeric.len() as f64;
        let attention = |input: f64| MultiHeadAttention::size(input, width, style);
        let features = if layers == 0.0 { Size::default() } else { attention(dim) + (layers - 1.0) * attention(width) };
        let relations = if *branch_attention && built_with > 1.0 { 4.0 * width * width } else { 0.0 };
        let token = if layers == 0.0 { dim } else { width };
        let input = (layout.fields.len() as f64 + numbers) * token;
        let norms = branches * Hidden::size(input, style.norm, ActivationKind::Identity);
        let towers = Towers::size(config, config.tower(), branches * input);
        let tokens = 2.0 * Size::tensor(numbers * dim);
        let own = branches * Size::tensor(width) + Size::tensor(relations) + Size::tensor(token * width);
        Some(tokens + features + own + norms + towers)
    }

    fn row(config: &MranConfig) -> Option<f64> {
        let MranConfigBuilder { layout, embedding_dim, attention_layers, heads, head_width, .. } = &config.0;
        let (dim, layers, heads) = (*embedding_dim as f64, *attention_layers as f64, *heads as f64);
        let (style, width) = (config.0.style(), heads * *head_width as f64);
        let tokens = layout.fields.len() as f64 + layout.numeric.len() as f64;
        let input = tokens * if layers == 0.0 { dim } else { width };
        let answering = config.branches().answering(layout) as f64;
        let norm = if style.norm == NormKind::None { 0.0 } else { 3.0 };
        let features = layers * MultiHeadAttention::row(tokens, heads, width, style);
        let buffers = tokens * (dim + 2.0 * dim.max(width));
        Some(
            features
                + buffers
                + answering * ((1.0 + norm) * input + tokens)
                + Towers::row(config, config.tower(), input),
        )
    }

    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut MranCache, logits: &mut ArrayRef2<f32>) {
        let (rows, count, depth) = (input.x.nrows(), self.tokens.count(), self.features.len());
        let MranCache { tokens, features, branches, towers, inputs, runs, .. } = cache;
        grow(tokens, depth + 1);
        grow(features, depth);
        resize(&mut tokens[0], rows * count, self.tokens.width());
        self.tokens.forward(input.x, &mut tokens[0]);
        for (i, (layer, cache)) in self.features.iter().zip(&mut *features).enumerate() {
            let (before, after) = tokens.split_at_mut(i + 1);
            resize(&mut after[0], rows * count, layer.width());
            layer.forward(&before[i], Sight::all(count), mode, cache, &mut after[0]);
        }
        self.query(mode, branches);

        self.towers.lay(rows, input.segments, towers);
        let routes = &towers.routes.answering;
        grow(inputs, routes.len());
        grow(runs, routes.len());
        for ((route, run), input) in routes.iter().zip(runs).zip(&mut *inputs) {
            let x = lines_of(route, &tokens[depth], count);
            let query = branches.queries.slice(s![route.branch..=route.branch, ..]);
            let norm = self.norms[route.branch].as_ref();
            let aligned = if norm.is_some() { &mut run.aligned } else { &mut *input };
            resize(aligned, route.rows.len(), count * x.ncols());
            self.alignment.forward(&query, &x, count, &mut run.alignment, &mut lines_mut(aligned, count));
            if let Some(norm) = norm {
                resize(input, run.aligned.nrows(), run.aligned.ncols());
                norm.forward(&run.aligned, mode, &mut run.norm, input);
            }
        }
        self.towers.forward(|i, _| inputs[i].view(), mode, towers, logits);
    }

    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        _: Train,
        cache: &mut MranCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        let (count, depth) = (self.tokens.count(), self.features.len());
        let MranCache { tokens, features, branches, towers, inputs, runs, dtokens, scratch } = cache;
        let top = &tokens[depth];
        resize(dtokens, top.nrows(), top.ncols());
        dtokens.fill(0.0);
        let BranchesCache { queries, dqueries, active, .. } = branches;
        resize(dqueries, queries.nrows(), queries.ncols());
        dqueries.fill(0.0);
        active.clear();
        active.resize(queries.nrows(), false);
        let Self { alignment: dalignment, norms: dnorms, towers: dtowers, .. } = grad;
        self.towers.backward(
            |i, _| inputs[i].view(),
            dlogits,
            towers,
            dtowers,
            |i, route, dh| {
                let Some(dh) = dh else { return };
                let (branch, run) = (route.branch, &mut runs[i]);
                active[branch] = true;
                let norm = self.norms[branch].as_ref().zip(dnorms.touch(branch).as_mut());
                let daligned = match norm {
                    Some((norm, grad)) => {
                        resize(scratch, dh.nrows(), dh.ncols());
                        norm.backward(&run.aligned, dh, &mut run.norm, grad, scratch);
                        &*scratch
                    }
                    None => &*dh,
                };
                let own = s![branch..=branch, ..];
                self.alignment.backward(
                    &queries.slice(own),
                    &lines_of(route, top, count),
                    count,
                    &lines(daligned, count),
                    &mut run.alignment,
                    dalignment,
                    &mut dqueries.slice_mut(own),
                    &mut dtokens.slice_mut(s![route.rows.start * count..route.rows.end * count, ..]),
                );
            },
        );
        self.query_backward(branches, grad);
        for (i, layer) in self.features.iter().enumerate().rev() {
            let x = &tokens[i];
            resize(scratch, x.nrows(), x.ncols());
            layer.backward(x, Sight::all(count), dtokens, &mut features[i], &mut grad.features[i], scratch);
            std::mem::swap(dtokens, scratch);
        }
        self.tokens.backward(input.x, dtokens, &mut grad.tokens, dx);
    }

    fn plan(&self, domains: usize) -> Plan<'_> {
        let mut plan = Plan::new(domains);
        let row = plan.row();
        let tokens = plan.tokens(row, &self.tokens);
        let tokens = self.features.iter().fold(tokens, |tokens, layer| plan.attention(tokens, layer));
        // What a branch asks the features for depends on no row.
        let mut branches = BranchesCache::default();
        self.query(Infer, &mut branches);
        self.towers.plan(&mut plan, |plan, branch| {
            let h = plan.align(tokens, &self.alignment, &branches.queries.row(branch));
            self.norms[branch].as_ref().map_or(h, |norm| plan.hidden(h, norm))
        });
        plan
    }

    fn add_domain(&mut self, config: &mut MranConfig, domain: DomainId) {
        let (branches, mut draws) = self.towers.grow(config, domain);
        for branch in branches {
            self.representations.push(branch, config.representation(&mut draws));
            self.norms.push(branch, config.tower_norm(&mut draws));
            self.towers.push(branch, config.tower(), config.tower_input(), &mut draws);
        }
    }
}

/// The tokens of a route's rows, of a matrix of all tokens.
fn lines_of<'a>(route: &Route, tokens: &'a Array2<f32>, count: usize) -> ArrayView2<'a, f32> {
    tokens.slice(s![route.rows.start * count..route.rows.end * count, ..])
}

/// `[rows, tokens·width]` as `[rows·tokens, width]`.
fn lines(matrix: &Array2<f32>, count: usize) -> ArrayView2<'_, f32> {
    let (rows, width) = matrix.dim();
    matrix.view().into_shape_with_order((rows * count, width / count)).expect("buffers are in standard layout")
}

/// The same, to change them.
fn lines_mut(matrix: &mut Array2<f32>, count: usize) -> ArrayViewMut2<'_, f32> {
    let (rows, width) = matrix.dim();
    matrix.view_mut().into_shape_with_order((rows * count, width / count)).expect("buffers are in standard layout")
}
