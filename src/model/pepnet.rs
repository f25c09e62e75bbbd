//! PEPNet: gates that scale the embedded row and the hidden layers for each domain, user and item.

use std::collections::HashSet;

use super::check::{MAX_WIDTH, check_most, check_widths};
use super::config::model_config;
use super::{Branches, Model};
use crate::data::listed;
use crate::net::{Builder, Built, Describe, Value};
use crate::nn::HiddenSettings;

model_config! {
    /// The settings of [`Pepnet`](super::Pepnet), the model with gates that scale the embedded row and the hidden layers.
    PepnetConfig, PepnetConfigBuilder, "pepnet", domain: epnet => {
        /// The names of the fields that the gates of PPNet read (for example user, item, author), in any order, each once. PPNet consists
        /// of the gates that scale the hidden layers of towers. Default none: then there is no PPNet, and `epnet` must be true.
        priors: Vec<String> = Vec::new(), each String, as &[String];
        /// Whether there is an EPNet, the gate that reads the domain and scales the [embedded row](crate::model::Embeddings); default true.
        /// If false, the net ignores the domain, and `priors` must have at least one field.
        epnet: bool = true;
        /// Whether PPNet also scales the input of each tower, not only its hidden layers; default false. If true, `priors` must have at
        /// least one field.
        gate_input: bool = false;
        /// The width of the hidden layer of each gate, from 1 to 65536; default 64. With `None` (`null` in a file), it is the number of
        /// outputs of the gate.
        gate_hidden: Option<usize> = Some(64), from impl Into<Option<usize>>;
        /// If true (the default), the last layer of each gate starts at 0, so that all gates start at 1 and change nothing. If false, its
        /// weights start at random, by Xavier's rule ([`Init::Xavier`](crate::nn::Init::Xavier)).
        gates_from_zero: bool = true;
        /// The number of values in the embedding of a domain, which the gate of EPNet reads; from 1 to 65536, default 16.
        domain_dim: usize = 16;
        /// The widths of the hidden layers of each task's tower, from the input up, each from 1 to 65536. From 1 to 256 layers; default
        /// 128, 64, 32. An output layer follows them.
        hidden: Vec<usize> = vec![128, 64, 32], from impl Into<Vec<usize>>, as &[usize];
    }
    check(this, problems) {
        check_widths("hidden", &this.hidden, problems);
        problems.require(!this.hidden.is_empty(), || "hidden: at least one layer, found none".into());
        check_most("domain_dim", this.domain_dim, MAX_WIDTH, problems);
        problems.require(this.domain_dim >= 1, || "domain_dim: at least 1, found 0".into());
        let width = this.gate_hidden.unwrap_or(1);
        check_most("gate_hidden", width, MAX_WIDTH, problems);
        problems.require(width >= 1, || "gate_hidden: at least 1, found 0".into());
        let fields: Vec<&str> = this.layout.fields.iter().map(|field| &*field.name).collect();
        let (mut unread, mut strangers): (HashSet<&str>, _) = (fields.iter().copied().collect(), Vec::new());
        strangers.extend(this.priors.iter().filter(|prior| !unread.remove(&***prior)));
        problems.require(strangers.is_empty(), || {
            let (expected, found) = (listed(&fields), listed(&strangers));
            format!("priors: expected categorical or multi-valued features ({expected}), each once, found {found}")
        });
        problems.require(this.epnet || !this.priors.is_empty(), || {
            "priors: at least one field, or set epnet = true; found neither, so there is no gate".into()
        });
        problems.require(!this.gate_input || !this.priors.is_empty(), || {
            "gate_input: needs at least one field in priors, found none".into()
        });
    }
}

/// PEPNet (Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior Information", KDD
/// 2023). EPNet is a gate that reads the domain and scales the [embedded row](crate::model::Embeddings). PPNet consists of gates that read
/// the fields of user, item or other *priors*, and scale the hidden layers of every task's tower.
///
/// ```text
///   tower t    O_l^t = δ_l^t ⊙ φ(O_{l−1}^t·A_l^t + a_l^t)      ŷ^t = O_L^t·A^t + a^t
///   PPNet      [δ_l^1, …, δ_l^T] = Gate_l([priors, sg(O)])
///   EPNet      O = Gate([sg(E), e_d]) ⊙ E
///   Gate NU    Gate(x) = 2·σ(relu(x·W₁ + b₁)·W₂ + b₂)
///   input      E: the embedded row; e_d: an embedding of its domain; priors: the embeddings of some fields, in the row's order
/// ```
///
/// * t counts the T tasks, and l the L hidden layers of a tower, whose input is `O_0^t = O` (multiplied by a gate of PPNet if `gate_input`
///   is true). `O_l^t` is the output of layer l, `A` and `a` with indices are learned weights and biases, φ is the activation, and `ŷ^t` is
///   the logit of task t.
/// * `δ_l^t` are the numbers by which a gate multiplies each output of layer l. `W₁`, `b₁`, `W₂` and `b₂` are the learned weights and
///   biases of a gate, σ is the sigmoid, and ⊙ is the elementwise product.
/// * `sg` stops the gradient. EPNet's gate sends no gradient to the embeddings that it reads, and PPNet's gates send none to EPNet's
///   output. The embeddings of the priors do get gradients through PPNet's gates, and `e_d` through EPNet's (sections 3.2 and 3.3).
/// * A gate has two layers ("Gate NU" in the paper). By default its last layer starts at 0, so every δ starts at exactly 1 and no gate
///   changes anything before training. The paper does not give the initial values of gates.
/// * For each hidden layer, one gate computes the numbers δ of all tasks.
/// * The priors use the same embedding tables as the row. Dropout is applied to a hidden layer before its gate.
/// * Domain side features (what a user did in a domain) are not implemented. They can be ordinary features, since EPNet's gate reads the
///   row.
///
/// A row of no known domain uses the mean of all domain embeddings. The embedding of a domain that is added to the model starts with this
/// mean.
pub type Pepnet = Model;

/// γ: gates are between 0 and 2, and 1 is neutral.
const FACTOR: f32 = 2.0;

impl PepnetConfig {
    /// The step for the logits of PPNet's gate at `layer`, `width` columns.
    fn gate(&self, net: &mut Builder<'_>, layer: usize, input: Value, width: usize) -> Built<Value> {
        let hidden = [self.0.gate_hidden.unwrap_or(width)];
        let style = HiddenSettings { init: self.0.init, ..HiddenSettings::default() };
        if self.0.gates_from_zero {
            net.mlp_from_zero(("ppnet", layer), input, &hidden, width, style)
        } else {
            net.mlp(("ppnet", layer), input, &hidden, Some(width), style)
        }
    }
}

impl Describe for PepnetConfig {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (settings, style) = (&self.0, self.0.style());
        let branches = net.branches(Branches::Tasks, None)?;
        let row = net.row()?;
        let mut o = row;
        if settings.epnet {
            let (input, width, hidden) = (row.stopped(), row.width(), [settings.gate_hidden.unwrap_or(row.width())]);
            let style = HiddenSettings { init: settings.init, ..HiddenSettings::default() };
            let gate = if settings.gates_from_zero {
                net.domain_mlp_from_zero("epnet", input, settings.domain_dim, &hidden, width, style)?
            } else {
                net.domain_mlp("epnet", input, settings.domain_dim, &hidden, width, style)?
            };
            o = net.scale(row, gate, FACTOR)?;
        }
        let (fields, read) = (&net.layout().fields, settings.priors.iter().collect::<HashSet<_>>());
        let read = fields.iter().filter(|field| read.contains(&field.name));
        let priors = read.map(|field| net.field(&field.name)).collect::<Built<Vec<Value>>>()?;
        let personal = if priors.is_empty() { None } else { Some(net.concat([&priors[..], &[o.stopped()]].concat())?) };
        let mut below = vec![o; branches.len()];
        if let (Some(personal), true) = (personal, settings.gate_input) {
            let gates = self.gate(net, 0, personal, branches.len() * o.width())?;
            for (t, below) in below.iter_mut().enumerate() {
                *below = net.scale(*below, gates.columns(t * o.width()..(t + 1) * o.width()), FACTOR)?;
            }
        }
        for (l, &width) in settings.hidden.iter().enumerate() {
            let gates = match personal {
                Some(personal) => Some(self.gate(net, l + 1, personal, branches.len() * width)?),
                None => None,
            };
            for (t, &branch) in branches.iter().enumerate() {
                below[t] = net.mlp(("layers", l, "own", branch), below[t], &[width], None, style)?;
                if let Some(gates) = gates {
                    below[t] = net.scale(below[t], gates.columns(t * width..(t + 1) * width), FACTOR)?;
                }
            }
        }
        for (t, &below) in below.iter().enumerate() {
            net.tower(t, below, &[], style)?;
        }
        Ok(())
    }
}
