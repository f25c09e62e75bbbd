//! MRAN: attention among features, among branches, and from branches to features.

use super::check::{MAX_COUNT, MAX_DEPTH, MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use super::{Branches, Model};
use crate::data::Pooling;
use crate::net::{Builder, Built, Describe};
use crate::nn::{ActivationKind, AttentionSettings, HiddenSettings, NormKind};

model_config! {
    /// The settings of [`Mran`](super::Mran), the model with attention among features and branches. Every embedding
    /// table must have the width `embedding_dim`, and no field may keep its values apart ([`Pooling::Keep`]): otherwise `build` fails.
    MranConfig, MranConfigBuilder, "mran", branches: Branches::Auto => {
        /// The number of heads of each attention, at least 1; default 2.
        heads: usize = 2;
        /// The output width of one head, at least 1; default 16. The output of an attention has `heads · head_width` values.
        head_width: usize = 16;
        /// If true (the default), attention scores are divided by the square root of the width of the vectors whose inner products they
        /// are. If false, they are not scaled.
        scaled: bool = true;
        /// The number of layers of attention among features, at most 256; default 1. With 0, features do not attend to each other.
        attention_layers: usize = 1;
        /// Whether the representations of branches attend to each other; default true. It has no effect in a model that was built with one
        /// branch.
        branch_attention: bool = true;
        /// The widths of the hidden layers of each tower, the part that computes the logits of a branch; default 64, 32. An output layer
        /// follows them. An empty list leaves only the output layer.
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
/// The formulas among branches and among features are for one head; the formula among features is for one layer. All branches share the
/// attentions ([`MultiHeadAttention`](crate::nn::MultiHeadAttention), [`Alignment`](crate::nn::Alignment)). A branch owns its
/// representation `r_k`, its norm and its tower. If branches are domains, a row passes only the branches of its domain. The logits of a row
/// of no known domain are then the mean over the domains that the model was built with.
///
/// A branch attends to the branches that the model was built with. A branch that is added later also attends to itself. So adding a domain
/// changes no other `q^k`. `r_k` also gets gradients from the rows of the branches that attend to it.
///
/// `activation`, `norm` and `dropout` are applied in the towers and, among features, after the sum of heads and residual. `norm` is also
/// applied to the input of every tower. The paper uses batch normalisation there (`norm`: `batch`); AutoInt uses ReLU without
/// normalisation. Attention among branches has none of the three, because a few representations give no useful statistics.
///
/// # Differences from the paper
///
/// From the paper are the three attentions and their order: multi-head self-attention among tasks (section 3.2) and among features (3.3),
/// an alignment of the features with each task's representation, whose weights scale the features and are not summed over (3.4), a residual
/// for each, a feed-forward tower per task (3.5), and attention weights that all tasks share. The sources are its abstract, the PLE paper
/// (Tang et al., RecSys 2020, section 2) and published notes; the formulas of the paper itself were not available. The formulas of heads
/// and residual are from AutoInt (Song et al., CIKM 2019, section 4.4), which also applies attention to the fields of a CTR log.
///
/// * The paper represents a task by its *labels* in the training rows and keeps the alignment's weights for prediction. A label cannot be
///   an input for the row that is scored. So here the representation of a task is learned, and the alignment depends on the row.
/// * A feature is one number in the paper. Here it is the embedding of a field, or a number mapped to that width.
/// * Branches that are domains are an addition.
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
