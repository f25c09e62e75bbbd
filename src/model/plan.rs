//! What a net computes in inference, written down step by step.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::Fusion;
use crate::nn::{Gate, Hidden, Linear, Mlp, Stitch};

/// What a net computes in inference, from the embedded row to the logits of each domain, written down for
/// [`Frozen`](crate::serve::Frozen), which lays out the weights once and leaves out what a domain does not need.
///
/// A step takes values of steps before it and gives a new one; [`Plan::answer`] says which values are whose logits. The row itself can
/// only be read by affine maps: the first layers of [stacks](Plan::stack), and [gates](Plan::mix).
///
/// ```
/// use std::borrow::Cow;
/// use starple::model::Plan;
/// use starple::nn::{Draws, Gate, HiddenStyle, Mlp};
///
/// // Two experts, a gate and a tower that all domains share: one for 2 known domains, and the rows of no known one.
/// let (draws, style) = (&mut Draws::new(0), HiddenStyle::default());
/// let experts = [(); 2].map(|()| Mlp::new(36, &[16], None, style, draws));
/// let (gate, tower) = (Gate::new(36, 2, draws), Mlp::new(16, &[8], Some(1), style, draws));
///
/// let mut plan = Plan::new(2);
/// let row = plan.row();
/// let outputs: Vec<_> = experts.iter().map(|expert| plan.stack(row, Cow::Borrowed(expert))).collect();
/// let fused = plan.mix(row, &gate, &outputs);
/// let logits = plan.stack(fused, Cow::Borrowed(&tower));
/// for domain in plan.domains() {
///     plan.answer(domain, logits, None, 1.0);
/// }
/// ```
#[derive(Debug)]
pub struct Plan<'a> {
    pub(crate) steps: Vec<PlanStep<'a>>,
    pub(crate) answers: Vec<Answer>,
    domains: usize,
    /// The rows that are read, by who owns the tables.
    rows: BTreeMap<usize, Value>,
}

/// A value of a [`Plan`]: what one of its steps gives for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) usize);

/// One step of a [`Plan`].
#[derive(Debug)]
pub(crate) enum PlanStep<'a> {
    /// The row as an owner of tables embeds it.
    Row { owner: usize },
    /// `x·W + b`, and then a rectifier if there is to be one.
    Affine { input: Value, weight: Cow<'a, Array2<f32>>, bias: Option<Cow<'a, Array1<f32>>>, rectified: bool },
    /// What follows the affine map of a hidden layer, where that is not a rectifier.
    Hidden { input: Value, hidden: Arc<Hidden> },
    /// `Σ_i softmax(scores)_i · parts_i`.
    Mix { scores: Value, parts: Vec<Value> },
    /// Several values as one.
    Join { parts: Vec<Value>, fusion: Fusion },
    /// A linear combination, block by block.
    Stitch { parts: Vec<Value>, stitch: Arc<Stitch> },
    /// `shared + σ(gate) ⊙ own`.
    Gated { shared: Value, own: Value, gate: Value },
}

/// A value that is, or is added to, some logits.
#[derive(Debug)]
pub(crate) struct Answer {
    /// A domain's position; one behind the last for rows of no known domain.
    pub(crate) place: usize,
    pub(crate) value: Value,
    pub(crate) task: Option<usize>,
    pub(crate) share: f32,
}

impl PlanStep<'_> {
    /// Runs `see` on every value that the step reads.
    pub(crate) fn inputs(&self, see: &mut dyn FnMut(Value)) {
        match self {
            Self::Row { .. } => {}
            Self::Affine { input, .. } | Self::Hidden { input, .. } => see(*input),
            Self::Mix { scores, parts } => [*scores].into_iter().chain(parts.iter().copied()).for_each(see),
            Self::Join { parts, .. } | Self::Stitch { parts, .. } => parts.iter().copied().for_each(see),
            Self::Gated { shared, own, gate } => [*shared, *own, *gate].into_iter().for_each(see),
        }
    }
}

impl<'a> Plan<'a> {
    /// An empty plan for so many known domains.
    pub fn new(domains: usize) -> Self {
        Self { steps: Vec::new(), answers: Vec::new(), domains, rows: BTreeMap::new() }
    }

    /// The domains that need an answer: all known ones, then `None`, which is no known one.
    pub fn domains(&self) -> impl Iterator<Item = Option<usize>> + use<> {
        (0..self.domains).map(Some).chain([None])
    }

    /// The embedded row.
    pub fn row(&mut self) -> Value {
        self.row_of(0)
    }

    /// The row as the tables of the branch at this position embed it, where branches have tables of their own
    /// ([`NetConfig::own_tables`](super::NetConfig::own_tables)).
    pub fn row_of(&mut self, branch: usize) -> Value {
        if let Some(&row) = self.rows.get(&branch) {
            return row;
        }
        let row = self.push(PlanStep::Row { owner: branch });
        self.rows.insert(branch, row);
        row
    }

    /// `mlp(input)`.
    ///
    /// # Panics
    /// If `input` is a value of another plan; as all methods here.
    pub fn stack(&mut self, input: Value, mlp: Cow<'a, Mlp>) -> Value {
        let mut hidden = mlp.hidden.clone().into_iter();
        let mut layer = |value, layer| self.layer(value, layer, hidden.next());
        match mlp {
            Cow::Borrowed(mlp) => mlp.layers.iter().map(Cow::Borrowed).fold(input, &mut layer),
            Cow::Owned(mlp) => mlp.layers.into_iter().map(Cow::Owned).fold(input, &mut layer),
        }
    }

    /// One layer: `input·W + b`, and what follows it if it is a hidden one.
    pub fn layer(&mut self, input: Value, linear: Cow<'a, Linear>, hidden: Option<Hidden>) -> Value {
        let (weight, bias) = match linear {
            Cow::Borrowed(Linear { weight, bias }) => (Cow::Borrowed(weight), Cow::Borrowed(bias)),
            Cow::Owned(Linear { weight, bias }) => (Cow::Owned(weight), Cow::Owned(bias)),
        };
        let rectified = hidden.as_ref().is_some_and(|hidden| hidden.rectifies().is_some());
        let z = self.push(PlanStep::Affine { input, weight, bias: Some(bias), rectified });
        match hidden {
            Some(hidden) if !rectified => self.hidden(z, hidden),
            _ => z,
        }
    }

    /// What follows the affine map of a hidden layer: normalisation and activation.
    ///
    /// # Panics
    /// If the value is the row.
    pub fn hidden(&mut self, input: Value, hidden: Hidden) -> Value {
        self.computed(&[input]);
        self.push(PlanStep::Hidden { input, hidden: Arc::new(hidden) })
    }

    /// `Σ_i w_i · parts_i` with `w = softmax(selector·W)`.
    ///
    /// # Panics
    /// If the gate does not give one weight for each part, or a part is the row.
    pub fn mix(&mut self, selector: Value, gate: &'a Gate, parts: &[Value]) -> Value {
        assert_eq!(gate.weight.ncols(), parts.len(), "one part for each gate weight");
        self.computed(parts);
        let weight = Cow::Borrowed(&gate.weight);
        let scores = self.push(PlanStep::Affine { input: selector, weight, bias: None, rectified: false });
        self.push(PlanStep::Mix { scores, parts: parts.to_vec() })
    }

    /// Several values as one.
    ///
    /// # Panics
    /// If there are none, or one is the row.
    pub fn join(&mut self, parts: &[Value], fusion: Fusion) -> Value {
        assert!(!parts.is_empty(), "something to join");
        self.computed(parts);
        // One alone is, whatever the fusion, itself.
        if let [only] = parts { *only } else { self.push(PlanStep::Join { parts: parts.to_vec(), fusion }) }
    }

    /// A unit's linear combination of what several stacks gave.
    ///
    /// # Panics
    /// If the unit does not read so many values, or one is the row.
    pub fn stitch(&mut self, parts: &[Value], stitch: &Stitch) -> Value {
        assert_eq!(stitch.inputs(), parts.len(), "one value for each input of the unit");
        self.computed(parts);
        self.push(PlanStep::Stitch { parts: parts.to_vec(), stitch: Arc::new(stitch.clone()) })
    }

    /// `shared + σ(gate) ⊙ own`.
    ///
    /// # Panics
    /// If one is the row.
    pub fn gated(&mut self, shared: Value, own: Value, gate: Value) -> Value {
        self.computed(&[shared, own, gate]);
        self.push(PlanStep::Gated { shared, own, gate })
    }

    /// Adds `share` times a value to the logits of one domain, `None` for rows of no known one: to those of one task, or to those of all.
    ///
    /// # Panics
    /// If there is no such domain, or the value is the row.
    pub fn answer(&mut self, domain: Option<usize>, value: Value, task: Option<usize>, share: f32) {
        let place = domain.unwrap_or(self.domains);
        assert!(domain.is_none_or(|domain| domain < self.domains), "domain {place} is out of range");
        self.computed(&[value]);
        self.answers.push(Answer { place, value, task, share });
    }

    fn push(&mut self, step: PlanStep<'a>) -> Value {
        step.inputs(&mut |Value(input)| assert!(input < self.steps.len(), "a step reads values of this plan"));
        self.steps.push(step);
        Value(self.steps.len() - 1)
    }

    fn computed(&self, values: &[Value]) {
        let is_row = |&Value(value): &Value| matches!(self.steps.get(value), Some(PlanStep::Row { .. }));
        assert!(!values.iter().any(is_row), "the row is read by affine maps alone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Draws, HiddenStyle};

    #[test]
    #[should_panic(expected = "the row is read by affine maps alone")]
    fn the_row_is_no_part_of_a_mixture() {
        let gate = Gate::new(4, 1, &mut Draws::new(0));
        let mut plan = Plan::new(1);
        let row = plan.row();
        plan.mix(row, &gate, &[row]);
    }

    #[test]
    #[should_panic(expected = "a step reads values of this plan")]
    fn a_value_of_another_plan_is_refused() {
        let mlp = Mlp::new(4, &[], Some(4), HiddenStyle::default(), &mut Draws::new(0));
        let mut other = Plan::new(1);
        let row = other.row();
        let value = other.stack(row, Cow::Borrowed(&mlp));
        Plan::new(1).stack(value, Cow::Borrowed(&mlp));
    }
}
