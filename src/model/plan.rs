//! The steps of a net in inference.

mod step;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array1, Array2};

use self::step::Answer;
pub(crate) use self::step::PlanStep;
use super::Fusion;
use crate::data::DomainId;
use crate::net::Custom;
use crate::nn::{Gate, Linear, Mlp, MultiHeadAttention, PostAffine, Stitch, TargetAttention, Tokens};

/// The computation of a net in inference: a list of steps, from the embedded row to the logits of each domain.
///
/// You do not need it to use a model: the crate derives the plan of every net from its [`Program`](crate::net::Program).
/// [`Scorer`](crate::serve::Scorer) runs the plan, and the module `starple::onnx` (of the feature `onnx`) writes it as ONNX graphs. For
/// each domain, both use only the steps that the logits of this domain need.
///
/// Each method adds a step. The step reads [`Value`]s of earlier steps and computes a new value, `[rows, width]`, which the method returns.
/// [`Plan::answer`] adds a value to logits. The *embedded row* ([`Plan::row`]) is the input of the net: the embeddings of the fields and
/// the numeric inputs of a row, side by side. Only some steps can read it: [`Plan::stack`], [`Plan::layer`], [`Plan::mix`] as its selector,
/// [`Plan::tokens`] and [`Plan::columns`].
///
/// Layers are borrowed from the net. [`Plan::layer`] takes a borrowed or an owned layer. Pass a borrowed layer if inference uses its
/// weights unchanged: the weights then have the same names in an ONNX graph as in the model.
///
/// Pass only values that this plan returned. All methods panic if they get a value that the plan does not have, or whose width is not the
/// width that the step reads.
///
/// ```
/// use starple::model::Plan;
/// use starple::nn::{InitRng, Gate, HiddenSettings, Mlp};
///
/// // A model with 2 domains. Rows of all domains use the same two experts, gate and tower.
/// let (rng, style) = (&mut InitRng::new(0), HiddenSettings::default());
/// let experts = [(); 2].map(|()| Mlp::new(36, &[16], None, style, rng));
/// let (gate, tower) = (Gate::new(36, 2, rng), Mlp::new(16, &[8], Some(1), style, rng));
///
/// let mut plan = Plan::new(2); // 2 domains
/// let row = plan.row(); // 36 values wide, as the experts and the gate read
/// let outputs: Vec<_> = experts.iter().map(|expert| plan.stack(row, expert)).collect();
/// let fused = plan.mix(row, &gate, &outputs);
/// let logits = plan.stack(fused, &tower);
/// for domain in plan.domains() {
///     plan.answer(domain, logits, None, 1.0);
/// }
/// ```
#[derive(Debug)]
pub struct Plan<'a> {
    pub(crate) steps: Vec<PlanStep<'a>>,
    answers: Vec<Answer>,
    /// The width of each step's value. That of the row is known once a step reads it.
    widths: Vec<Option<usize>>,
    domains: usize,
    /// The rows that are read, by owner of the tables.
    rows: BTreeMap<usize, Value>,
}

/// Stands for a value of a [`Plan`]: the output of one of its steps, `[rows, width]`. It holds no numbers. The methods of [`Plan`] take
/// values as inputs of a step and return the value that the step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) usize);

impl<'a> Plan<'a> {
    /// Makes an empty plan for a model with `domains` domains, at least 1. [`DomainId::SHARED`] (no known domain) does not count.
    pub fn new(domains: usize) -> Self {
        Self { steps: Vec::new(), answers: Vec::new(), widths: Vec::new(), domains, rows: BTreeMap::new() }
    }

    /// Iterates over the domains for which you must call [`Plan::answer`]: all domains of the model, then [`DomainId::SHARED`], which
    /// stands for rows of no known domain.
    pub fn domains(&self) -> impl Iterator<Item = DomainId> + use<> {
        (0..self.domains).map(DomainId::new).chain([DomainId::SHARED])
    }

    /// Returns the embedded row ([`Embeddings`](super::Embeddings)), the input of the net: the embeddings of the fields, then the numeric
    /// inputs, side by side. Its width is not known before a step reads it; the first step that reads it sets its width.
    pub fn row(&mut self) -> Value {
        self.row_of(0)
    }

    /// Returns the row embedded by the tables of one branch, in a model whose branches have their own tables
    /// ([`NetConfig::own_tables`](super::NetConfig::own_tables)). `branch` is the position of the branch in
    /// [`Branches::of`](super::Branches::of), from 0. If all branches share the tables, use [`Plan::row`].
    pub fn row_of(&mut self, branch: usize) -> Value {
        self.row_with(branch, Vec::new())
    }

    /// [`Plan::row_of`], whose sequences are pooled by these layers.
    pub(crate) fn row_with(&mut self, branch: usize, attention: Vec<&'a TargetAttention>) -> Value {
        if let Some(&row) = self.rows.get(&branch) {
            return row;
        }
        let row = self.push(PlanStep::Row { owner: branch, attention }, None);
        self.rows.insert(branch, row);
        row
    }

    /// Adds the steps of all layers of the multilayer perceptron `mlp`, from the input up. The result is `mlp(input)`, as wide as
    /// [`Mlp::output`]. There is no dropout, because a plan is for inference. `input` may be the embedded row.
    ///
    /// # Panics
    /// If the width of `input` is not the input width of `mlp`.
    pub fn stack(&mut self, input: Value, mlp: &'a Mlp) -> Value {
        let layers = mlp.layers.iter().enumerate();
        layers.fold(input, |value, (i, layer)| self.layer(value, Cow::Borrowed(layer), mlp.hidden.get(i)))
    }

    /// Adds one layer: the affine map `linear` (`input·W + b` with its weight W and its bias b), then the normalisation and activation of
    /// `hidden`. If `hidden` is `None`, the result is that of the affine map. `input` may be the embedded row.
    ///
    /// Pass `linear` as `Cow::Borrowed` if it is a layer of the net, and as `Cow::Owned` if its weights are computed, for example from shared
    /// weights and weights of a domain.
    ///
    /// # Panics
    /// If `linear` does not have one bias for each column of its weight, or the width of `input` is not the number of rows of the weight.
    pub fn layer(&mut self, input: Value, linear: Cow<'a, Linear>, hidden: Option<&'a PostAffine>) -> Value {
        let (weight, bias) = match linear {
            Cow::Borrowed(Linear { weight, bias }) => (Cow::Borrowed(weight), Cow::Borrowed(bias)),
            Cow::Owned(Linear { weight, bias }) => (Cow::Owned(weight), Cow::Owned(bias)),
        };
        assert_eq!(weight.ncols(), bias.len(), "one bias for each column of the weight");
        let rectified = hidden.is_some_and(|hidden| hidden.rectifies().is_some());
        let z = self.affine(input, weight, Some(bias), rectified);
        match hidden {
            Some(hidden) if !rectified => self.hidden(z, hidden),
            _ => z,
        }
    }

    pub(crate) fn affine(
        &mut self,
        input: Value,
        weight: Cow<'a, Array2<f32>>,
        bias: Option<Cow<'a, Array1<f32>>>,
        rectified: bool,
    ) -> Value {
        let (read, width) = weight.dim();
        self.reads(input, read);
        self.push(PlanStep::Affine { input, weight, bias, rectified }, Some(width))
    }

    /// Adds the part of a hidden layer after its affine map: the normalisation and the activation of `hidden`, applied to `input`. The result
    /// is as wide as `input`. There is no dropout, because a plan is for inference.
    ///
    /// # Panics
    /// If `input` is the embedded row.
    pub fn hidden(&mut self, input: Value, hidden: &'a PostAffine) -> Value {
        let width = self.width(input);
        self.push(PlanStep::PostAffine { input, hidden }, Some(width))
    }

    /// Adds a softmax gate. The result is the weighted sum `Σ_i w_i · parts_i` with the weights `w = softmax(selector·W)`, where `W` is the
    /// matrix of `gate`. `selector` may be the embedded row.
    ///
    /// # Panics
    /// If `gate` does not compute one weight for each value of `parts`. If `parts` is empty, has values of different widths, or contains
    /// the embedded row.
    pub fn mix(&mut self, selector: Value, gate: &'a Gate, parts: &[Value]) -> Value {
        assert_eq!(gate.weight.ncols(), parts.len(), "one part for each gate weight");
        let width = self.common_width(parts);
        let scores = self.affine(selector, Cow::Borrowed(&gate.weight), None, false);
        self.push(PlanStep::Mix { scores, parts: parts.to_vec() }, Some(width))
    }

    /// Joins several values of equal width: `fusion` says whether they are concatenated, summed or averaged. A concatenation is
    /// `parts.len()` times as wide as one part; a sum or mean is as wide as one part.
    ///
    /// # Panics
    /// If `parts` is empty, has values of different widths, or contains the embedded row.
    pub fn join(&mut self, parts: &[Value], fusion: Fusion) -> Value {
        let width = fusion.width(parts.len(), self.common_width(parts));
        // Every fusion leaves a single value as it is.
        match parts {
            [only] => *only,
            _ => self.push(PlanStep::Join { parts: parts.to_vec(), fusion }, Some(width)),
        }
    }

    /// Adds a cross-stitch unit ([`Stitch`]): a weighted sum of several values of equal width, with weights that do not depend on the row.
    /// The result is as wide as one of the values.
    ///
    /// # Panics
    /// If the number of `parts` is not the number of values that `stitch` reads. If the width of the parts is not a multiple of the number of
    /// blocks of `stitch`. If `parts` has values of different widths or contains the embedded row.
    pub fn stitch(&mut self, parts: &[Value], stitch: &'a Stitch) -> Value {
        assert_eq!(stitch.inputs(), parts.len(), "one value for each input of the unit");
        let width = self.common_width(parts);
        assert!(width.is_multiple_of(stitch.blocks()), "{width} values are no {} blocks", stitch.blocks());
        self.push(PlanStep::Stitch { parts: parts.to_vec(), stitch }, Some(width))
    }

    /// Adds `own` to `shared`, after multiplying each element of `own` by a weight between 0 and 1: the result is `shared + σ(gate) ⊙ own`.
    /// σ is the sigmoid, ⊙ the elementwise product. `shared`, `own` and `gate` have equal widths.
    ///
    /// # Panics
    /// If the widths of `shared`, `own` and `gate` differ, or if one of them is the embedded row.
    pub fn gated(&mut self, shared: Value, own: Value, gate: Value) -> Value {
        let width = self.common_width(&[shared, own, gate]);
        self.push(PlanStep::Gated { shared, own, gate }, Some(width))
    }

    /// Computes the tokens of each row, side by side: `[rows, M·width]`, where M is the number of tokens. A token is a vector of `width`
    /// values for one input of the row: the embedding of a field, or `x_j·v_j + b_j` for a numeric input `x_j`, with learned vectors `v_j`
    /// and `b_j`. `row` is the embedded row. See [`Tokens`].
    ///
    /// # Panics
    /// If the width of `row` is not the input width of `tokens`.
    pub fn tokens(&mut self, row: Value, tokens: &'a Tokens) -> Value {
        self.reads(row, tokens.input());
        self.push(PlanStep::Tokens { input: row, tokens }, Some(tokens.count() * tokens.width()))
    }

    /// Adds multi-head attention among the tokens of each row; every token attends to all tokens. `tokens` has the M tokens of a row side
    /// by side: `[rows, M·in]`, where `in` is the width of one token. The result is `[rows, M·width]`, where `width` is
    /// [`MultiHeadAttention::width`]. See [`MultiHeadAttention::forward`].
    ///
    /// # Panics
    /// If `tokens` is the embedded row, or its width is not a multiple of the width of the tokens that `attention` reads.
    pub fn attention(&mut self, tokens: Value, attention: &'a MultiHeadAttention) -> Value {
        let count = self.count_tokens(tokens, attention.projection.nrows());
        self.push(PlanStep::Attention { input: tokens, attention }, Some(count * attention.width()))
    }

    /// Scales each token of a row by its weight `α_m`. `tokens` has the M tokens `x_m` of a row side by side, `[rows, M·width]`. The result
    /// has the tokens `y_m = x_m + α_m·x_m` with `α_m = softmax_m(⟨direction, x_m⟩)`, where `softmax_m` is the softmax over all m, and
    /// `⟨·,·⟩` is the inner product. `direction` is a vector as wide as one token, equal for all rows. See
    /// [`Alignment`](crate::nn::Alignment).
    ///
    /// # Panics
    /// If `tokens` is the embedded row, or its width is not a multiple of the length of `direction`.
    pub fn align(&mut self, tokens: Value, direction: Array1<f32>) -> Value {
        self.count_tokens(tokens, direction.len());
        let width = self.width(tokens);
        self.push(PlanStep::Align { input: tokens, direction }, Some(width))
    }

    /// Takes the columns `columns` of `input`, counted from 0: `0..2` are the first two. `width` is the width of `input`. `input` may be
    /// the embedded row.
    ///
    /// # Panics
    /// If `width` is not the width of `input`, if `columns` ends above `width`, or if it starts above its end.
    pub fn columns(&mut self, input: Value, columns: Range<usize>, width: usize) -> Value {
        self.reads(input, width);
        assert!(columns.start <= columns.end && columns.end <= width, "{columns:?} of {width} columns");
        let width = columns.len();
        self.push(PlanStep::Columns { input, columns }, Some(width))
    }

    /// Puts the values of `parts` side by side. Their widths may differ; the width of the result is the sum of their widths.
    ///
    /// # Panics
    /// If `parts` contains the embedded row. To concatenate the embedded row, pass all its columns ([`Plan::columns`]).
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        let width = parts.iter().map(|&part| self.width(part)).sum();
        self.push(PlanStep::Concat { parts: parts.to_vec() }, Some(width))
    }

    /// Multiplies each element of `input` by a number between 0 and `factor`: the result is `factor·σ(gate) ⊙ input`. σ is the sigmoid, ⊙
    /// the elementwise product. `input` and `gate` have equal widths.
    ///
    /// # Panics
    /// If the widths of `input` and `gate` differ, or if one of the two is the embedded row.
    pub fn scale(&mut self, input: Value, gate: Value, factor: f32) -> Value {
        let width = self.common_width(&[input, gate]);
        self.push(PlanStep::Scale { input, gate, factor }, Some(width))
    }

    /// Multiplies two values of equal width element by element: the result is `a ⊙ b`, as wide as `a`.
    ///
    /// # Panics
    /// If the widths of `a` and `b` differ, or if `a` or `b` is the embedded row.
    pub fn product(&mut self, a: Value, b: Value) -> Value {
        let width = self.common_width(&[a, b]);
        self.push(PlanStep::Product { a, b }, Some(width))
    }

    /// Adds attention of one query over the vectors `v_m` of a row. The result is the weighted sum `Σ_m α_m·v_m` with the weights
    /// `α_m = softmax_m(⟨query, v_m⟩ / √width)`, where m is the position of a vector, `softmax_m` is the softmax over all m, `⟨·,·⟩` is the
    /// inner product, and `width` is the width of `query` and of the result.
    ///
    /// `values` has n vectors `v_m` side by side, each as wide as `query`. `filled`, of width 1, says how much of these n places a row fills,
    /// from 0 to 1: only the first `filled·n` vectors count, rounded to a whole number. A row without vectors gets zeros. The function
    /// [`attend`](crate::nn::attend) computes it.
    ///
    /// # Panics
    /// If `query`, `values` or `filled` is the embedded row, if the width of `values` is not a multiple of the width of `query`, or if the
    /// width of `filled` is not 1.
    pub fn attend(&mut self, query: Value, values: Value, filled: Value) -> Value {
        let width = self.width(query);
        self.count_tokens(values, width);
        assert_eq!(self.width(filled), 1, "a share of the vectors that are there");
        self.push(PlanStep::Attend { query, values, filled }, Some(width))
    }

    /// A layer of the user's own with `width` outputs, for rows of this domain.
    pub(crate) fn custom(&mut self, input: Value, layer: &'a Custom, domain: DomainId, width: usize) -> Value {
        self.width(input);
        self.push(PlanStep::Custom { input, layer, domain }, Some(width))
    }

    /// Adds `share · value` to the logits of the rows of one domain. [`DomainId::SHARED`] means the rows of no known domain. `share` is a
    /// factor, usually 1; for the mean of n values, pass each with `1/n`.
    ///
    /// If `task` is `Some`, it is the position of a task in [`Layout::tasks`](crate::data::Layout::tasks), from 0; `value` has width 1 and is
    /// added to the logit of this task. If `task` is `None`, `value` has one column for each task. If several values are added to one logit,
    /// the logit is their sum.
    ///
    /// # Panics
    /// If the plan does not have the domain `domain`, or if `value` is the embedded row. The width of `value` and the position `task` are
    /// checked later, when the model is compiled for serving or exported.
    pub fn answer(&mut self, domain: DomainId, value: Value, task: Option<usize>, share: f32) {
        let known = self.domains;
        assert!(domain.index().is_none_or(|domain| domain < known), "{domain:?} is not one of the {known}");
        self.width(value);
        self.answers.push(Answer { domain, value, task, share });
    }

    /// The answers for a domain.
    pub(crate) fn answers(&self, domain: DomainId) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(move |answer| answer.domain == domain)
    }

    /// The steps that the answers for a domain need, in order.
    pub(crate) fn needed(&self, domain: DomainId) -> Vec<usize> {
        let mut is_needed = vec![false; self.steps.len()];
        for answer in self.answers(domain) {
            is_needed[answer.value.0] = true;
        }
        for i in (0..self.steps.len()).rev() {
            if is_needed[i] {
                self.steps[i].inputs(&mut |Value(input)| is_needed[input] = true);
            }
        }
        (0..self.steps.len()).filter(|&i| is_needed[i]).collect()
    }

    /// The width of a value.
    ///
    /// # Panics
    /// If it is the row's.
    pub(crate) fn width(&self, value: Value) -> usize {
        let step = self.steps.get(value.0).expect(OF_THIS_PLAN);
        assert!(!matches!(step, PlanStep::Row { .. }), "the row is read by affine maps and tokens alone");
        self.widths[value.0].expect("every step but the row says it")
    }

    /// Checks that the plan is for a model with rows of this width and this number of tasks.
    ///
    /// # Panics
    /// If it reads a row of another width, or a task has no answer in a domain, or an answer of another width.
    pub(crate) fn assert_fits(&self, width: usize, tasks: usize) {
        for row in self.rows.values() {
            let read = self.widths[row.0].unwrap_or(width);
            assert_eq!(read, width, "a plan reads rows of {read} values, those of the model have {width}");
        }
        for domain in self.domains() {
            let mut answered = vec![false; tasks];
            for answer in self.answers(domain) {
                let (logits, found) = match answer.task {
                    None => (&mut answered[..], self.width(answer.value)),
                    Some(task) => (&mut answered[task..=task], self.width(answer.value)),
                };
                assert_eq!(found, logits.len(), "an answer has a value for each task that it is for");
                logits.fill(true);
            }
            assert!(!answered.contains(&false), "a plan answers for every task in every domain, {domain:?} too");
        }
    }

    fn push(&mut self, step: PlanStep<'a>, width: Option<usize>) -> Value {
        self.steps.push(step);
        self.widths.push(width);
        Value(self.steps.len() - 1)
    }

    /// Records that a step reads a value of this width; the value may be the row.
    fn reads(&mut self, value: Value, width: usize) {
        let known = *self.widths.get_mut(value.0).expect(OF_THIS_PLAN).get_or_insert(width);
        assert_eq!(known, width, "a step reads {width} values where there are {known}");
    }

    /// The common width of several values.
    fn common_width(&self, values: &[Value]) -> usize {
        let first = self.width(*values.first().expect("at least one value"));
        assert!(values.iter().all(|&value| self.width(value) == first), "values of one width");
        first
    }

    /// The number of concatenated tokens of this width in a value.
    fn count_tokens(&self, value: Value, token: usize) -> usize {
        let width = self.width(value);
        assert!(width.is_multiple_of(token), "{width} values are no tokens of {token}");
        width / token
    }
}

const OF_THIS_PLAN: &str = "a step reads values of this plan";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{HiddenSettings, InitRng};

    fn mlp(input: usize, output: usize) -> Mlp {
        Mlp::new(input, &[], Some(output), HiddenSettings::default(), &mut InitRng::new(0))
    }

    #[test]
    #[should_panic(expected = "the row is read by affine maps and tokens alone")]
    fn the_row_is_no_part_of_a_mixture() {
        let gate = Gate::new(4, 1, &mut InitRng::new(0));
        let mut plan = Plan::new(1);
        let row = plan.row();
        plan.mix(row, &gate, &[row]);
    }

    #[test]
    #[should_panic(expected = "a step reads values of this plan")]
    fn a_value_of_another_plan_is_refused() {
        let mlp = mlp(4, 4);
        let mut other = Plan::new(1);
        let row = other.row();
        let value = other.stack(row, &mlp);
        Plan::new(1).stack(value, &mlp);
    }

    #[test]
    #[should_panic(expected = "a step reads 3 values where there are 4")]
    fn what_is_read_has_the_width_that_is_read() {
        let (below, above) = (mlp(7, 4), mlp(3, 1));
        let mut plan = Plan::new(1);
        let row = plan.row();
        let value = plan.stack(row, &below);
        plan.stack(value, &above);
    }

    #[test]
    #[should_panic(expected = "a step reads 6 values where there are 7")]
    fn the_row_has_one_width() {
        let (first, second) = (mlp(7, 1), mlp(6, 1));
        let mut plan = Plan::new(1);
        let row = plan.row();
        plan.stack(row, &first);
        plan.stack(row, &second);
    }

    /// A plan for two domains and two tasks, which answers one by one.
    fn answers(mlp: &Mlp, answers: &[(Option<usize>, Option<usize>)]) {
        let mut plan = Plan::new(2);
        let row = plan.row();
        let value = plan.stack(row, mlp);
        for &(domain, task) in answers {
            plan.answer(domain.map_or(DomainId::SHARED, DomainId::new), value, task, 1.0);
        }
        plan.assert_fits(5, 2);
    }

    #[test]
    fn a_plan_that_answers_everywhere_fits() {
        answers(&mlp(5, 2), &[(Some(0), None), (Some(1), None), (None, None)]);
        answers(&mlp(5, 1), &[Some(0), Some(1), None].map(|domain| [0, 1].map(|task| (domain, Some(task)))).concat());
    }

    #[test]
    #[should_panic(expected = "for every task in every domain, DomainId(1) too")]
    fn a_task_without_an_answer_is_refused() {
        answers(&mlp(5, 1), &[(Some(0), Some(0)), (Some(0), Some(1)), (Some(1), Some(1))]);
    }

    #[test]
    #[should_panic(expected = "an answer has a value for each task that it is for")]
    fn an_answer_of_another_width_is_refused() {
        answers(&mlp(5, 1), &[(Some(0), None)]);
    }

    #[test]
    #[should_panic(expected = "a plan reads rows of 4 values, those of the model have 5")]
    fn rows_of_another_width_are_refused() {
        answers(&mlp(4, 2), &[]);
    }
}
