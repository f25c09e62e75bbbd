//! MRAN: attention among features, among branches, and from branches to features.

use super::config::{MAX_COUNT, MAX_DEPTH, MAX_WIDTH, check_most, check_widths, model_config};
use super::{Branches, Model};
use crate::data::Pooling;
use crate::net::{Builder, Built, Describe};
use crate::nn::{ActivationKind, AttentionSettings, HiddenSettings, NormKind};

model_config! {
    /// The settings of [`Mran`](super::Mran).
    MranConfig, MranConfigBuilder, "mran", branches: Branches::Auto => {
        /// How many heads every attention has, at least 1; default 2.
        heads: usize = 2;
        /// How many values a head gives, at least 1; default 16.
        head_width: usize = 16;
        /// Whether attention scores are divided by the root of how many products they sum; default true.
        scaled: bool = true;
        /// How many layers of attention among features there are; default 1, and 0 leaves it out.
        attention_layers: usize = 1;
        /// Whether the branches attend to each other; default true. A model built with one branch has no other branch to attend to, and
        /// leaves it out.
        branch_attention: bool = true;
        /// The widths of a tower's hidden layers; default 64, 32.
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
/// ([`MultiHeadAttention`](crate::nn::MultiHeadAttention), [`Alignment`](crate::nn::Alignment)); a branch owns its representation `r_k`, its norm and its tower. With branches for domains
/// a row passes those of its domain alone, and a row of no known domain takes the mean of the logits of the domains that the model was
/// built with.
///
/// A branch attends to those that the model was built with, and one that is added also to itself, so that no other `q^k` changes when
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
