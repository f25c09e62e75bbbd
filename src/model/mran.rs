//! MRAN: attention among features, among branches, and from branches to features.

use super::check::{MAX_COUNT, MAX_DEPTH, MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use super::{Branches, Model};
use crate::data::Pooling;
use crate::net::{Builder, Built, Describe};
use crate::nn::{ActivationKind, AttentionSettings, HiddenSettings, NormKind};

model_config! {
    /// The settings of [`Mran`](super::Mran), the model with attention among features and branches. `build` returns an error if an
    /// embedding table sets a width other than `embedding_dim`, or if a field keeps its values apart ([`Pooling::Keep`]).
    MranConfig, MranConfigBuilder, "mran", branches: Branches::Auto => {
        /// The number of heads of each attention, from 1 to 4096; default 2.
        heads: usize = 2;
        /// The number of output values of one head, from 1 to 65536; default 16. The output of an attention has `heads · head_width`
        /// values.
        head_width: usize = 16;
        /// An attention score is the inner product of two vectors. If true (the default), each score is divided by the square root of the
        /// width of these vectors. If false, scores are not divided.
        scaled: bool = true;
        /// The number of layers of attention among features, from 0 to 256; default 1. With 0, features do not attend to each other.
        attention_layers: usize = 1;
        /// Whether the representations of branches (learned vectors, one for each branch) attend to each other; default true. It has no
        /// effect in a model that was built with one branch.
        branch_attention: bool = true;
        /// The widths of the hidden layers of each tower, from the input up, each from 1 to 65536. At most 256 layers; default 64, 32. A
        /// tower is the part that computes the logits of a branch. An output layer follows the hidden layers; if the list is empty, a tower
        /// is only this output layer.
        tower_hidden: Vec<usize> = vec![64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("tower_hidden", &this.tower_hidden, problems);
        check_most("heads", this.heads, MAX_COUNT, problems);
        check_most("head_width", this.head_width, MAX_WIDTH, problems);
        check_most("attention_layers", this.attention_layers, MAX_DEPTH, problems);
        let (tables, dim) = (&this.layout.tables, this.embedding_dim);
        let kept = this.layout.fields.iter().any(|field| matches!(field.bag, Some(Pooling::Keep(_))));
        problems.require(!kept && tables.iter().all(|table| table.dim.is_none_or(|own| own == dim)), || {
            format!("layout: one token of embedding_dim = {dim} values for each field; no table of another width, no `keep`")
        });
        problems.require(this.heads >= 1, || "heads: at least 1, found 0".into());
        problems.require(this.head_width >= 1, || "head_width: at least 1, found 0".into());
    }
}

/// MRAN (Zhao et al., "Multiple Relational Attention Network for Multi-task Learning", KDD 2019): attention among features, among branches,
/// and from branches to features, then a tower per branch.
///
/// ```text
///   tower k              ŷ^k = t^k(h^k)
///   branch to features   h^k = norm^k([e_1 + α^k_1·e_1, …, e_M + α^k_M·e_M])   α^k = softmax_m(⟨q^k, e_m·K⟩ / √width)
///   among branches       q^k = Σ_j β_kj·r_j·V + r_k·W_R                        β_k = softmax_j(⟨r_k·Q, r_j·K⟩ / √head_width)
///   among features       e_m = dropout(φ(norm(Σ_n γ_mn·x_n·V + x_m·W_R)))      γ_m = softmax_n(⟨x_m·Q, x_n·K⟩ / √head_width)
///   input                x_m = the embedding of a field, or x_j·v_j + b_j for a numeric input x_j
/// ```
///
/// The symbols, from the input up:
///
/// * A feature is a field or a numeric input, m and n count features from 1 to M, and `x_m` is the vector of feature m. `v_j` and `b_j` are
///   learned vectors.
/// * Q, K, V and `W_R` are learned matrices: the queries, keys, values and residual of an attention. Each of the three attentions has its
///   own. `⟨·,·⟩` is the inner product, and `softmax_j` is the softmax over all j.
/// * Among features, `γ_mn` is the weight that feature m gives to feature n, φ is the activation, and `e_m` is the result for feature m.
/// * Among branches, `r_k` is the learned representation of branch k, `β_kj` is the weight that branch k gives to branch j, and `q^k` is
///   the result for branch k, of `width` values.
/// * From branch k to features, `α^k_m` is the weight of feature m. `norm^k` is the normalisation of branch k, `t^k` its tower, and `ŷ^k`
///   its logits.
///
/// The formulas among branches and among features are for one head; the formula among features is for one layer. All branches share the
/// attentions ([`MultiHeadAttention`](crate::nn::MultiHeadAttention), [`Alignment`](crate::nn::Alignment)). A branch owns its
/// representation `r_k`, its norm and its tower. If branches are domains, a row passes only the branches of its domain. The logits of a row
/// of no known domain are then the mean over the domains that the model was built with.
///
/// A branch attends to the branches that the model was built with. A branch that is added later also attends to itself. So adding a domain
/// changes no other `q^k`. `r_k` also gets gradients from the rows of the branches that attend to it.
///
/// The settings `activation`, `norm` and `dropout` hold in the towers and, in the attention among features, after the sum of heads and
/// residual. `norm` also normalises the input of every tower. The paper uses batch normalisation there (`norm` = `batch`); AutoInt (see
/// below) uses ReLU without normalisation. Attention among branches has no activation, normalisation or dropout, because a few
/// representations give no useful statistics.
///
/// # Differences from the paper
///
/// From the paper are:
///
/// * the three attentions and their order: multi-head self-attention among tasks (section 3.2), among features (3.3), and an alignment of
///   the features with the representation of each task (3.4), whose weights scale the features without summing them;
/// * a residual for each attention, a feed-forward tower for each task (3.5), and attention matrices that all tasks share.
///
/// The sources are the abstract of the paper, the PLE paper (Tang et al., RecSys 2020, section 2) and published notes; the formulas of the
/// paper itself were not available. The formulas of heads and residual are from AutoInt (Song et al., CIKM 2019, section 4.4), which also
/// applies attention to the fields of a CTR log.
///
/// The differences:
///
/// * The paper represents a task by its *labels* in the training rows, and keeps the weights of the alignment for prediction. A label
///   cannot be an input for the row that is scored. So here the representation of a task is learned, and the alignment depends on the row.
/// * A feature is one number in the paper. Here it is the embedding of a field, or a number mapped to that width.
/// * In the paper, branches are tasks. Here they can also be domains, or tasks in domains.
/// * Not implemented: the paper's other scores among tasks (dot product, general, concatenation), and its penalty on attention weights.
pub type Mran = Model;

impl Describe for MranConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (settings, style) = (&self.0, self.0.style());
        let MranConfigBuilder { heads, head_width, scaled, embedding_dim, embedding_std, .. } = *settings;
        let attention = AttentionSettings { heads, head_width, scaled };
        let branches = net.branches(settings.branches, settings.built_with)?;
        let row = net.row()?;
        let count = net.layout().fields.len() + net.layout().numeric.len();
        let mut tokens = net.tokens("tokens", row, embedding_dim, embedding_std)?;
        for i in 0..settings.attention_layers {
            tokens = net.attention(("features", i), tokens, count, attention, style)?;
        }
        let queries = net.queries(attention, settings.branch_attention && net.built_with() > 1)?;
        let directions = net.directions("alignment", queries, tokens.width() / count, attention)?;
        for (k, &branch) in branches.iter().enumerate() {
            let mut h = net.align(tokens, directions, k)?;
            if style.norm != NormKind::None {
                let norm = HiddenSettings { activation: ActivationKind::Identity, dropout: 0.0, ..style };
                h = net.hidden(("norms", branch), h, norm)?;
            }
            net.tower(k, h, &settings.tower_hidden, style)?;
        }
        Ok(())
    }
}
