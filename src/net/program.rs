//! A net as a list of steps.

use std::ops::Range;

use super::layer::Name;
use crate::data::SequenceColumns;
use crate::model::Fusion;

/// Stands for a value that a net computes: the output of a step, a matrix `[rows, width]`, or some of its columns. The methods of
/// [`Builder`](super::Builder) return a `Value` for each step that they add, and take values as the inputs of steps. A `Value` holds no
/// numbers: they exist only in a pass through the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    index: u32,
    start: u32,
    width: u32,
    stopped: bool,
}

impl Value {
    pub(crate) fn new(index: usize, width: usize) -> Self {
        let small = |number: usize| u32::try_from(number).expect("a program has fewer than 2^32 steps and columns");
        Self { index: small(index), start: 0, width: small(width), stopped: false }
    }

    /// A value that has only some columns of this value. `columns` are their positions, from 0: `value.columns(0..2)` has the first two
    /// columns. This adds no step to the net.
    ///
    /// # Panics
    /// If the end of `columns` is above [`Value::width`], or if its start is above its end.
    #[must_use]
    pub fn columns(self, columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= self.width(), "{columns:?} of {} columns", self.width);
        Self { start: self.start + columns.start as u32, width: columns.len() as u32, ..self }
    }

    /// This value with a stopped gradient, written `sg(x)` in formulas. A step that reads the result computes with the same numbers, but the
    /// backward pass sends no gradient from this step to the value. So the layers that compute the value do not learn from this step.
    ///
    /// Only these methods of [`Builder`](super::Builder) accept a stopped value; all others panic: `mlp`, `mlp_from_zero`,
    /// `orthogonal_layer`, `tower`, `domain_mlp`, `domain_mlp_from_zero`, `concat`, `product`, `scale` and `attend`.
    #[must_use]
    pub fn stopped(self) -> Self {
        Self { stopped: true, ..self }
    }

    pub(crate) fn is_stopped(self) -> bool {
        self.stopped
    }

    /// Its columns among those of its step.
    pub(crate) fn of_step(self) -> Range<usize> {
        self.start as usize..(self.start + self.width) as usize
    }

    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    /// The number of columns of this value: the width of the step's output, or the number of columns that [`Value::columns`] selected.
    pub fn width(self) -> usize {
        self.width as usize
    }
}

/// The list of steps that a net runs, from the embedded row (the embeddings of all fields and the numeric inputs) to the logits. A step
/// applies an operation, often a layer, to outputs of earlier steps. A [`Builder`](super::Builder) writes the program when a model is made;
/// [`Net::program`](super::Net::program) returns it.
///
/// Each layer has a hand-written forward and backward pass. The program says what connects the layers: their order, the rows for which each
/// step runs, the layers that have a gradient in a training step, and the order in which gradients are summed. A program has no public
/// fields. You can print it with `{:?}`, and compare it with the program of another net.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) answers: Vec<Answer>,
    /// Steps that run in parallel, from the input up.
    pub(crate) groups: Vec<Group>,
    /// The number of known domains.
    pub(crate) domains: usize,
    /// Whether rows of no known domain are computed together with the others: no answer is for a single domain.
    pub(crate) common: bool,
    /// If domains own tables: by domain, then for rows of no known domain, the steps that read its rows.
    pub(crate) own_rows: Vec<Vec<u32>>,
    /// The columns of the sequences that attention pools.
    pub(crate) sequences: Vec<SequenceColumns>,
}

/// One step. Its value has the step's position as its index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// The dotted names of its layers, and the position of the first in the net's layers.
    pub(crate) names: Vec<Name>,
    pub(crate) at: usize,
    pub(crate) op: Op,
    /// The number of its columns.
    pub(crate) width: usize,
    /// For a value that does not depend on the batch: its number of rows.
    pub(crate) fixed: Option<usize>,
    /// The rows that need it.
    pub(crate) needs: Needs,
    /// Whether all its readers apply the derivative of the ReLU that it ends with.
    pub(crate) rectified_by_readers: bool,
}

/// The operation of a step. Its parameters are its [`Layer`](super::Layer)s.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// The row embedded by the tables of this owner. Its layers are those of the sequences that attention pools: they write columns of the
    /// row before the other steps run.
    Row { owner: usize },
    /// `mlp(x)`, perhaps with a penalty that keeps subspaces of its first weight orthogonal.
    Mlp { input: Value, penalty: Option<Penalty> },
    /// `mlp([x, e_d])`.
    DomainMlp { input: Value },
    /// Partitioned Normalization.
    Norm { input: Value },
    /// A star layer, and the rest of a hidden layer if there is one.
    Star { input: Value },
    /// `Σ_i softmax(selector·W)_i · parts_i`.
    Mix { selector: Value, parts: Vec<Value> },
    /// A learned linear combination.
    Stitch { parts: Vec<Value> },
    /// Several values of one width, concatenated, summed or averaged.
    Join { parts: Vec<Value>, fusion: Fusion },
    /// Values of any width, concatenated; the row may be one of them.
    Concat { parts: Vec<Value> },
    /// `factor·σ(gate) ⊙ input`.
    Scale { input: Value, gate: Value, factor: f32 },
    /// `a ⊙ b`.
    Product { a: Value, b: Value },
    /// `first ⊙ (input·W + b) + input`.
    Cross { first: Value, input: Value },
    /// `Σ ⟨v_f, v_g⟩` over the pairs of `parts`.
    Pairwise { parts: Vec<Value> },
    /// Attention of a query over the vectors of a sequence; `filled` is the share of vectors that a row has.
    Attend { query: Value, values: Value, filled: Value },
    /// The part of a hidden layer after its affine map.
    PostAffine { input: Value },
    /// The concatenated tokens of the row, `[rows, tokens·width]`.
    Tokens { input: Value },
    /// Attention among the tokens of a row.
    Attention { input: Value, tokens: usize },
    /// A layer of the user's own.
    Custom { input: Value },
    /// One query for each branch, `[branches, width]`, equal for all rows.
    Queries,
    /// One direction for each branch, `[branches, token width]`, equal for all rows: a token's score is its inner product with it.
    Directions { queries: Value },
    /// Tokens weighted by one branch's direction.
    Align { tokens: Value, directions: Value, branch: usize },
}

/// `λ·Σ ‖G_aᵀ·G_b‖²_F` over the pairs of `blocks` equal blocks of columns of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Penalty {
    pub(crate) blocks: usize,
    pub(crate) lambda: f32,
}

/// The rows that need a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Needs {
    pub(crate) known: Domains,
    /// Whether rows of no known domain need it.
    pub(crate) unknown: bool,
}

/// A set of domains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Domains {
    All,
    /// Sorted, without repetition.
    Some(Vec<u32>),
}

impl Default for Domains {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

/// A value that is added to the logits of some rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    pub(crate) value: Value,
    /// The domain whose rows it answers; `None` is every row.
    pub(crate) domain: Option<u32>,
    /// The task it answers; `None` is all tasks.
    pub(crate) task: Option<usize>,
    /// Its weight, that of one member of an ensemble.
    pub(crate) share: f32,
    /// Its weight in rows of no known domain.
    pub(crate) unknown: f32,
    /// Whether the steps that lead to it are active in a training step if it has labels; otherwise, if it has rows.
    pub(crate) by_labels: bool,
}

/// Neighbouring steps, cut into strands that run in parallel. Every step of a strand but the first reads only steps of its own strand.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Group {
    /// The first step of each strand, then the end of the last.
    pub(crate) starts: Vec<usize>,
    /// If all strands begin with a mixture: the values that are mixed, in order, and the mixtures that read them.
    pub(crate) mixed: Vec<Mixed>,
}

/// A value that mixtures of one group read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mixed {
    pub(crate) value: usize,
    /// The steps that mix it, and as which of their parts.
    pub(crate) readers: Vec<(usize, usize)>,
}

impl Op {
    /// Runs `see` on every value that the step reads.
    pub(crate) fn inputs(&self, mut see: impl FnMut(Value)) {
        match self {
            Self::Row { .. } | Self::Queries => {}
            Self::Mlp { input, .. }
            | Self::DomainMlp { input }
            | Self::Norm { input }
            | Self::Star { input }
            | Self::PostAffine { input }
            | Self::Custom { input }
            | Self::Tokens { input }
            | Self::Attention { input, .. }
            | Self::Directions { queries: input } => see(*input),
            Self::Align { tokens, directions, .. } => [*tokens, *directions].into_iter().for_each(see),
            Self::Mix { selector, parts } => [*selector].into_iter().chain(parts.iter().copied()).for_each(see),
            Self::Scale { input: a, gate: b, .. } | Self::Product { a, b } | Self::Cross { first: a, input: b } => {
                [*a, *b].into_iter().for_each(see);
            }
            Self::Attend { query, values, filled } => [*query, *values, *filled].into_iter().for_each(see),
            Self::Stitch { parts } | Self::Join { parts, .. } | Self::Concat { parts } | Self::Pairwise { parts } => {
                parts.iter().copied().for_each(see);
            }
        }
    }
}

impl Group {
    pub(crate) fn steps(&self) -> std::ops::Range<usize> {
        self.starts[0]..self.starts[self.starts.len() - 1]
    }

    pub(crate) fn strands(&self) -> impl DoubleEndedIterator<Item = std::ops::Range<usize>> + '_ {
        self.starts.windows(2).map(|pair| pair[0]..pair[1])
    }
}

impl Step {
    /// The positions of its layers in the net's layers.
    pub(crate) fn layers(&self) -> std::ops::Range<usize> {
        self.at..self.at + self.names.len()
    }
}

impl Program {
    /// Computes what the engines need repeatedly: the rows that need each value, and the steps that can run in parallel.
    pub(super) fn finish(&mut self) {
        self.find_needs();
        self.find_rows();
        self.find_groups();
        self.find_rectified();
    }

    fn find_needs(&mut self) {
        let mut domains: Vec<Option<Vec<u32>>> = vec![Some(Vec::new()); self.steps.len()];
        for answer in &self.answers {
            let value = answer.value.index();
            self.steps[value].needs.unknown |= answer.unknown != 0.0;
            match (answer.domain, &mut domains[value]) {
                (None, all) => *all = None,
                (Some(d), Some(some)) => some.push(d),
                (Some(_), None) => {}
            }
        }
        for i in (0..self.steps.len()).rev() {
            let mut own = domains[i].take();
            if let Some(some) = &mut own {
                some.sort_unstable();
                some.dedup();
                if some.len() == self.domains {
                    own = None;
                }
            }
            let (before, rest) = self.steps.split_at_mut(i);
            let Step { op, needs, .. } = &mut rest[0];
            op.inputs(|input| {
                before[input.index()].needs.unknown |= needs.unknown;
                match (&own, &mut domains[input.index()]) {
                    (None, all) => *all = None,
                    (Some(own), Some(some)) => some.extend_from_slice(own),
                    (Some(_), None) => {}
                }
            });
            needs.known = own.map_or(Domains::All, Domains::Some);
        }
        self.common = self.answers.iter().all(|answer| answer.domain.is_none());
    }

    fn find_rows(&mut self) {
        let all = self.steps.iter().all(|step| step.needs.known == Domains::All);
        if all || !self.steps.iter().any(|step| matches!(step.op, Op::Row { owner } if owner > 0)) {
            return;
        }
        self.own_rows = vec![Vec::new(); self.domains + 1];
        for (i, step) in self.steps.iter().enumerate() {
            if let (Op::Row { .. }, Domains::Some(domains)) = (&step.op, &step.needs.known) {
                for &d in domains {
                    self.own_rows[d as usize].push(i as u32);
                }
                if step.needs.unknown {
                    self.own_rows[self.domains].push(i as u32);
                }
            }
        }
    }

    fn find_groups(&mut self) {
        let mut group = Group::default();
        let (mut first, mut strand) = (0, 0);
        for (i, step) in self.steps.iter().enumerate() {
            // Whether it reads the last strand, another strand of the group, or steps before the group.
            let (mut of_strand, mut of_group, mut outside) = (false, false, false);
            step.op.inputs(|input| match input.index() {
                // The row is known before the first step.
                input if input < first || matches!(self.steps[input].op, Op::Row { .. }) => outside = true,
                input if input < strand => of_group = true,
                _ => of_strand = true,
            });
            let starts_strand = i == 0 || !of_strand;
            if i == 0 || of_group || (of_strand && outside) {
                if i > 0 {
                    group.starts.push(i);
                    self.groups.push(std::mem::take(&mut group));
                }
                (first, strand) = (i, i);
                group.starts.push(i);
            } else if starts_strand {
                strand = i;
                group.starts.push(i);
            }
        }
        if !self.steps.is_empty() {
            group.starts.push(self.steps.len());
            self.groups.push(group);
        }
        for group in &mut self.groups {
            group.mixed = mixed(&self.steps, group);
        }
    }

    fn find_rectified(&mut self) {
        let mut by_readers = vec![true; self.steps.len()];
        for step in &self.steps {
            let mut read = |value: Value, takes_back: bool| {
                by_readers[value.index()] &= takes_back && value.width() == self.steps[value.index()].width;
            };
            match &step.op {
                Op::Mix { selector, parts } => {
                    read(*selector, false);
                    for &part in parts {
                        read(part, true);
                    }
                }
                Op::Star { input } => read(*input, true),
                other => other.inputs(|input| read(input, false)),
            }
        }
        for answer in &self.answers {
            by_readers[answer.value.index()] = false;
        }
        for (step, by_readers) in self.steps.iter_mut().zip(by_readers) {
            step.rectified_by_readers = by_readers;
        }
    }
}

/// The readers of every mixed value, if every strand of the group begins with a mixture.
fn mixed(steps: &[Step], group: &Group) -> Vec<Mixed> {
    let mut readers: std::collections::BTreeMap<usize, Vec<(usize, usize)>> = std::collections::BTreeMap::new();
    for strand in group.strands() {
        let Op::Mix { parts, .. } = &steps[strand.start].op else { return Vec::new() };
        for (part, value) in parts.iter().enumerate() {
            readers.entry(value.index()).or_default().push((strand.start, part));
        }
    }
    readers.into_iter().map(|(value, readers)| Mixed { value, readers }).collect()
}
