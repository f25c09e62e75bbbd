//! The settings of what stands in front of a net: products of the values of a row.

use serde::{Deserialize, Serialize};

use super::check::{MAX_DEPTH, MAX_WIDTH, check_most};
use crate::data::{FieldColumns, InputColumns, Layout, Pooling};
use crate::error::Problems;

/// Where the output of the cross layers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossStructure {
    /// It replaces the embedded row as the input of the net. The default.
    #[default]
    Stacked,
    /// The net reads the embedded row, and an affine map of the output is added to the logits of every task. In a net whose last layer is
    /// affine, this is the paper's concatenation with the output of the deep part.
    Parallel,
}

crate::settings! {
    /// Interactions of the inputs in front of any net: products of the values of a row, which the layers of a net can only approximate. By
    /// default there are none.
    ///
    /// All are computed from the embedded row E, `[rows, n]`, with the net's own embedding tables.
    ///
    /// **Cross layers** (DCN-v2; Wang et al., WWW 2021): `x₀ = E`, `x_{l+1} = x₀ ⊙ (x_l·W_l + b_l) + x_l` ([`CrossLayer`](crate::nn::CrossLayer)).
    /// All domains share them.
    ///
    /// **The term of a factorization machine** (Rendle, ICDM 2010; in front of a net it is `DeepFM`, Guo et al., IJCAI 2017): to the logit of task
    /// t in domain d it adds
    ///
    /// ```text
    ///   (a_t + a_dt)·Σ_{f<g} ⟨v_f, v_g⟩ + b_t + b_dt + E·w_t
    /// ```
    ///
    /// * `v_f` is the vector of a field: one embedding, or the pooled vector of a bag. Only fields whose tables have the model's
    ///   `embedding_dim` take part. Fields with another width, bags that keep their values apart and numeric inputs are in `E·w_t` alone.
    /// * `a_t` starts at 1, everything else at 0, so that the untrained model is the net plus the sum of products. A row of no known domain
    ///   gets `a_t` and `b_t` alone, and a domain that is added starts with them. Weight decay pulls all a and w to 0.
    /// * The paper's linear term has one weight for each value of a field, `E·w_t` one for each column of the row: the weight of a value is
    ///   `⟨w_t, v⟩`. For a weight of its own, declare the feature a second time with `dim` 1.
    ///
    /// The cross layers start as the identity (W = 0). A net whose branches have tables of their own ([`Single`](super::Single)) has its own
    /// interactions for each branch.
    ///
    /// In serving, the sums of the factorization machine and the first products of cross layers are linear in the row, so what a request gives
    /// for all its candidates is computed once. After a stacked cross layer this no longer holds: there, the net computes everything for every
    /// candidate.
    ///
    /// ```
    /// # use starple::data::Layout;
    /// use starple::model::InteractionsConfig;
    /// use starple::{Ple, PleConfig};
    ///
    /// # let layout = Layout::new(["home"], ["click", "buy"]).field("user", 9).field("item", 9);
    /// let interactions = InteractionsConfig::builder().fm(true).cross_layers(2).cross_rank(8).build()?;
    /// let ple = Ple::new(PleConfig::builder(&layout).interactions(interactions).build()?);
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// In a run file: `interactions = { fm = true, cross_layers = 2, cross_rank = 8 }`.
    #[derive(Default)]
    InteractionsConfig, InteractionsConfigBuilder, in files {
        /// Whether the term of a factorization machine is added to the logits; default false. It needs at least two fields whose tables have
        /// the model's `embedding_dim`.
        fm: bool = false;
        /// The number of cross layers, 0 to 256; default 0, none. Usual are 1 to 3.
        cross_layers: usize = 0;
        /// The rank of the weights of cross layers, 1 to 65536; default `None`, full matrices of `n²` weights. A rank above the width n of the
        /// row is n. Needs `cross_layers`.
        cross_rank: Option<usize> = None, from impl Into<Option<usize>>;
        /// Where the output of the cross layers goes; default [`CrossStructure::Stacked`], into the net. Needs `cross_layers`.
        cross_structure: CrossStructure = CrossStructure::Stacked;
    }
    check(this, problems) {
        check_most("cross_layers", this.cross_layers, MAX_DEPTH, problems);
        let rank = this.cross_rank.unwrap_or(1);
        problems.require(rank >= 1, || "cross_rank: at least 1, found 0".into());
        check_most("cross_rank", rank, MAX_WIDTH, problems);
        let unused = this.cross_layers == 0;
        problems.require(!unused || this.cross_rank.is_none(), || {
            "cross_rank: has no effect without cross_layers; set cross_layers, or leave it out".into()
        });
        problems.require(!unused || this.cross_structure == CrossStructure::Stacked, || {
            "cross_structure: has no effect without cross_layers; set cross_layers, or leave it out".into()
        });
    }
}

impl InteractionsConfig {
    /// The fields that take part in the factorization machine, in rows of a layout.
    pub(crate) fn paired(columns: &InputColumns, embedding_dim: usize) -> impl Iterator<Item = &FieldColumns> {
        let whole = |field: &&FieldColumns| !matches!(field.bag, Some(Pooling::Keep(_)));
        columns.fields.iter().filter(whole).filter(move |field| field.dim == embedding_dim)
    }

    /// Notes a factorization machine without pairs. The layout's tables must be valid.
    pub(super) fn check(&self, layout: &Layout, embedding_dim: usize, problems: &mut Problems) {
        if self.fm() {
            let found = Self::paired(&InputColumns::new(layout, embedding_dim), embedding_dim).count();
            problems.require(found >= 2, || {
                format!(
                    "interactions.fm: at least two fields with one vector of width embedding_dim = {embedding_dim}, found {found}; set fm = \
                     false, or leave out dim in the schema"
                )
            });
        }
    }
}
