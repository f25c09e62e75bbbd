//! The settings of what stands in front of a net: products of the values of a row.

use serde::{Deserialize, Serialize};

use super::check::{MAX_DEPTH, MAX_WIDTH, check_most};
use crate::data::{FieldColumns, InputColumns, Layout, Pooling};
use crate::error::Problems;

/// What reads the output of the cross layers, which [`InteractionsConfig::cross_layers`] puts before the net. In a file the names are
/// `"stacked"` and `"parallel"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossStructure {
    /// The net reads the output of the cross layers instead of the embedded row. The default.
    #[default]
    Stacked,
    /// The net reads the embedded row, as without cross layers. A learned affine map of the output of the cross layers, one value for each
    /// task, is added to the logits; it starts at 0. If the last layer of the net is affine, this is equal to the paper's parallel structure,
    /// in which the last layer reads the outputs of both parts (Wang et al., WWW 2021).
    Parallel,
}

crate::settings! {
    /// Settings that add products of the inputs of a row to any model: cross layers, and the term of a factorization machine. The layers of a
    /// net can only approximate such products. By default there are none.
    ///
    /// Both are computed from the embedded row E ([`Embeddings`](super::Embeddings)), `[rows, n]`: the embeddings of all fields and the
    /// numeric inputs, side by side. They read the same embedding tables as the net.
    ///
    /// **Cross layers** (DCN-v2; Wang et al., WWW 2021): layer l computes `x_{l+1} = x₀ ⊙ (x_l·W_l + b_l) + x_l`, where `x₀ = E`, ⊙ is the
    /// elementwise product, `W_l` a learned matrix, `[n, n]`, and `b_l` a learned bias ([`CrossLayer`](crate::nn::CrossLayer)). All domains
    /// share them. They start with W = 0 and b = 0, so that their output is E. [`CrossStructure`] says what reads their output.
    ///
    /// **The term of a factorization machine** (Rendle, ICDM 2010; together with a net it is `DeepFM`, Guo et al., IJCAI 2017). For a row of
    /// domain d, this is added to the logit of task t:
    ///
    /// ```text
    ///   (a_t + a_dt)·Σ_{f<g} ⟨v_f, v_g⟩ + b_t + b_dt + E·w_t
    /// ```
    ///
    /// * `v_f` and `v_g` are the vectors of two fields f and g: an embedding, or the pooled embeddings of a bag of ids. `⟨·,·⟩` is the inner
    ///   product, and the sum is over all pairs of fields. Only fields whose tables have the model's `embedding_dim` are in the pairs. Fields
    ///   of another width, bags that keep their values apart and numeric inputs are only in `E·w_t`.
    /// * `a_t`, `b_t` and the vector `w_t` are learned and shared by all domains. `a_dt` and `b_dt` are learned and belong to domain d. A row
    ///   of no known domain does not use `a_dt` and `b_dt`.
    /// * `a_t` starts at 1, all others at 0. So the logits of an untrained model are those of the net plus the sum of the products. The same
    ///   holds for `a_dt` and `b_dt` of a domain that is added later. Weight decay pulls a and w to 0.
    /// * In the paper, the linear term has one weight for each value of a field. Here `w_t` has one weight for each column of E, so the
    ///   weight of a value with the embedding v is an inner product with v. To give each value a weight of its own, list the feature a second
    ///   time with `dim` 1.
    ///
    /// In a model whose branches have their own tables ([`Single`](super::Single)), each branch has its own cross layers and its own term.
    /// A branch for one domain has a single a and a single b for each task.
    ///
    /// Serving computes the parts that depend only on the features of the request once for all candidates. After a stacked cross layer this
    /// is not possible: there, the whole net is computed for every candidate.
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
        /// Whether the term of a factorization machine is added to the logits; default false. If true, the layout needs at least two fields
        /// whose tables have the model's `embedding_dim`; otherwise the `build` of the model's settings returns an error.
        fm: bool = false;
        /// The number of cross layers, 0 to 256; default 0: none. Usual are 1 to 3.
        cross_layers: usize = 0;
        /// The rank r of the weights of cross layers: each weight is the product of two matrices, `[n, r]` and `[r, n]`, where n is the width
        /// of the embedded row. From 1 to 65536; an r above n counts as n. The default `None` means full matrices, `[n, n]`. It is an error
        /// to set it if `cross_layers` is 0.
        cross_rank: Option<usize> = None, from impl Into<Option<usize>>;
        /// What reads the output of the cross layers: the net instead of the embedded row ([`CrossStructure::Stacked`], the default), or an
        /// affine map whose result is added to the logits ([`CrossStructure::Parallel`]). It is an error to set `Parallel` if `cross_layers`
        /// is 0.
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
