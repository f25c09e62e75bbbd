//! What a model's dense part is.

use ndarray::ArrayRef2;

use super::{GateView, NetConfig, Plan};
use crate::data::DomainId;
use crate::nn::{Mode, Params, Segment, Size, Train};

/// What a net reads: embedded rows, grouped by domain.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[rows, width]`: the fields' embeddings, then the numeric inputs. Where branches have tables of their own, one block of rows
    /// for each branch that answers: see [`NetConfig::own_tables`].
    pub x: &'a ArrayRef2<f32>,
    /// Which rows belong to which domain. Segments follow each other, cover all rows, and no domain has two.
    pub segments: &'a [Segment],
}

/// The dense part of a model: from embedded rows to one logit for each row and task.
///
/// [`Model`](super::Model) gives every net its embeddings, its simple calls, training, prediction, serving and ONNX graphs. To add a
/// net of your own, implement this trait and [`NetConfig`]; nothing in the crate has to change.
pub trait Net: Params + Send + Sync + 'static {
    /// The settings it is built from.
    type Config: NetConfig;
    /// Its activations and buffers. They are lent by the caller, so that one net serves many threads and a warm step allocates
    /// nothing.
    type Cache: Default + std::fmt::Debug + Send;

    /// The net at step 0.
    fn new(config: &Self::Config) -> Self;

    /// How large the parameters of a net of these settings are, without making it; `None`, the default, if that is not known.
    ///
    /// Settings that ask for more than there is memory, and a model file whose settings ask for a larger model than it holds, are
    /// refused by this number before anything is allocated.
    fn size(config: &Self::Config) -> Option<Size> {
        let _ = config;
        None
    }

    /// How many values a training step keeps for each row of its batch in the net's cache, about; `None`, the default, if that is not
    /// known. Inference keeps fewer.
    ///
    /// A run whose batches ask for more than there is memory is refused by this number.
    fn row(config: &Self::Config) -> Option<f64> {
        let _ = config;
        None
    }

    /// Writes the logits, `[rows, tasks]`.
    fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut Self::Cache, logits: &mut ArrayRef2<f32>);

    /// Takes `dlogits` back: adds into `grad`, overwrites `dx`. `input` and `cache` are those of the forward pass,
    /// which may be followed by several backward passes: what it left in the cache must stay.
    fn backward(
        &self,
        input: Input<'_>,
        dlogits: &ArrayRef2<f32>,
        mode: Train,
        cache: &mut Self::Cache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    );

    /// Notes the batch statistics of these rows in `grad`, as [`Net::backward`] does, where they can be told from the input alone;
    /// returns whether they can. By default they cannot, and a forward and a backward pass note them.
    fn note_statistics(&self, input: Input<'_>, grad: &mut Self) -> bool {
        let _ = (input, grad);
        false
    }

    /// Shows the weights of every gate in the pass that left `cache`; a net without gates shows none.
    ///
    /// [`inside::gates`](crate::inside::gates) averages them over many rows.
    fn visit_gates(&self, cache: &Self::Cache, see: &mut dyn FnMut(GateView<'_>)) {
        let _ = (cache, see);
    }

    /// What the net computes in inference, step by step, for this number of known domains and for rows of no known one.
    ///
    /// [`Frozen`](crate::serve::Frozen) serves it, and with the feature `onnx` `starple::onnx` writes it as graphs; neither calls
    /// [`Net::forward`]. So it must give what the forward pass gives in inference: compare the two in a test, as
    /// `examples/own_net.rs` does.
    fn plan(&self, domains: usize) -> Plan<'_>;

    /// Adds to `grad` the gradient of what the net adds to the loss by itself, such as a penalty on its weights, and returns its value;
    /// by default nothing and 0. It runs once a step, behind all backward passes. Who is absent from the step pays nothing.
    fn penalize(&self, cache: &mut Self::Cache, grad: &mut Self) -> f64 {
        let _ = (cache, grad);
        0.0
    }

    /// Gives a new domain what it owns; nothing that others own or share changes.
    fn add_domain(&mut self, config: &mut Self::Config, domain: DomainId);
}
