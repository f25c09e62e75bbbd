//! The builder that a net is described with.

mod attention;
mod interactions;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::layer::{IntoName, Layer, Name};
use super::program::{Answer, Domains, Needs, Op, Program, Step, Value};
use crate::data::{AttendedSequence, DomainId, FieldColumns, InputColumns, Layout};
use crate::model::{Branches, InteractionsConfig, NetConfig};
use crate::nn::{Branch, HiddenSettings, InitRng, Part, Path, Size, TargetAttention};

/// The most steps of a program, branches, and values that steps read. No sensible net comes near these numbers.
const MOST: usize = 1 << 22;
const MOST_BRANCHES: usize = 1 << 20;
const MOST_READ: usize = 1 << 25;

/// The error of the methods of [`Builder`]: the net is too large. A net may have at most 4,194,304 (2²²) steps and 1,048,576 (2²⁰)
/// branches. Its steps may have fewer than 33,554,432 (2²⁵) inputs in all, where each [`Value`] that a step reads is one input. If the net
/// of some settings is too large, the crate refuses the settings before it allocates memory for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The result of the methods of [`Builder`]: a `T` (nothing by default), or the error [`TooLarge`]. Pass the error on with `?`.
pub type Built<T = ()> = Result<T, TooLarge>;

/// The embeddings of all values of one field in a row, side by side, for attention: for example those of a user's last 20 items. The field
/// must keep its values apart ([`Pooling::Keep`](crate::data::Pooling::Keep)), that is, it must not sum or average them.
/// [`Builder::sequence`] makes a `Sequence`; [`Builder::attend`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// `len` embeddings side by side, `[rows, len·width]`, where `width` is the width of the field's embedding table. If a row has fewer
    /// than `len` values, the embeddings after its last value are zeros.
    pub values: Value,
    /// The share of the `len` places that a row fills, `[rows, 1]`: the number of values of the row (at most `len`) divided by `len`. It is
    /// from 0 to 1.
    pub filled: Value,
    /// The largest number of values that the field keeps for a row: the number in its [`Pooling::Keep`](crate::data::Pooling::Keep).
    pub len: usize,
}

/// Builds a net step by step: [`Describe::describe`](super::Describe::describe) gets a builder and calls its methods. A method adds a step
/// (an operation, often a layer, on outputs of earlier steps), makes its layers, and returns the [`Value`] that the step computes.
/// Sometimes the crate calls `describe` only to compute the size of the net; then the builder makes no layers.
///
/// Every layer has a dotted name, written as a tuple ([`IntoName`](super::IntoName)): `("levels", 0, "own", branch, 1)`. Give each layer a
/// name of its own: the builder panics if two layers have one name. The initial values of a layer depend only on the seed of the model, and
/// on the name and the shape of the layer. So when a model grows, the crate builds the net anew and keeps the layers whose names existed
/// before.
///
/// Pass only values that this builder returned. A method panics if it gets a value that this builder has not returned yet, for example one
/// of a larger net.
#[derive(Debug)]
pub struct Builder<'a> {
    layout: &'a Layout,
    /// The steps; `None` if only the size is needed.
    program: Option<Program>,
    /// The seed and the layers, if layers are made.
    made: Option<(u64, Vec<Layer>)>,
    steps: usize,
    layers: usize,
    /// The dotted names of the layers that were made.
    names: HashSet<String>,
    size: Size,
    /// By step, the number of values that a training step keeps for a row.
    kept: Vec<f64>,
    /// The shape and size of the last stack: neighbouring stacks often have the same.
    last: Option<(Stack, (Size, f64))>,
    /// The number of values that all steps read.
    read: usize,
    /// By owner of tables: the embedded row, and the input of the net, which is another value after stacked cross layers.
    rows: Vec<Option<Value>>,
    net_inputs: Vec<Option<Value>>,
    columns: InputColumns,
    embedding_dim: usize,
    interactions: Option<InteractionsConfig>,
    /// Whether every branch has tables of its own.
    own_tables: bool,
    branches: Vec<Branch>,
    built_with: usize,
    /// The member of the ensemble that is being described, and the number of members, if there are several.
    member: Option<(usize, usize)>,
}

impl<'a> Builder<'a> {
    /// Finds only the size of a program.
    pub(super) fn measuring(config: &'a dyn NetConfig) -> Self {
        let layout = config.layout();
        Self {
            layout,
            program: None,
            made: None,
            steps: 0,
            layers: 0,
            names: HashSet::new(),
            last: None,
            size: Size::default(),
            kept: Vec::new(),
            read: 0,
            rows: Vec::new(),
            net_inputs: Vec::new(),
            columns: InputColumns::new(layout, config.embedding_dim()),
            embedding_dim: config.embedding_dim(),
            interactions: config.interactions().cloned(),
            own_tables: config.own_tables().is_some(),
            branches: Vec::new(),
            built_with: 0,
            member: None,
        }
    }

    /// A program without layers.
    pub(super) fn writing(config: &'a dyn NetConfig) -> Self {
        let measuring = Self::measuring(config);
        let (domains, sequences) = (config.layout().domains.len(), measuring.columns.sequences.clone());
        Self { program: Some(Program { domains, sequences, ..Program::default() }), ..measuring }
    }

    /// A program and its layers.
    pub(super) fn making(config: &'a dyn NetConfig) -> Self {
        Self { made: Some((config.seed(), Vec::new())), ..Self::writing(config) }
    }

    /// Describes the net, or as many copies of it as the ensemble has members.
    pub(super) fn describe(&mut self, config: &dyn NetConfig) -> Built {
        let members = config.members();
        for member in 0..members {
            self.member = (members > 1).then_some((member, members));
            config.describe(self)?;
        }
        Ok(())
    }

    /// The layout of the model: the fields and embedding tables, numeric inputs, domains and tasks of the rows that it reads.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Sets the branches of the net, and returns them in the order of [`Branches::of`]. A branch is a part of the net with logits of its
    /// own; `branches` says whether there is one for each task, for each domain, or for each task in each domain. Call this method first if
    /// you call others that take the position of a branch, which is its position in the returned list, from 0.
    ///
    /// `built_with` is the number of branches that the model had before any domain was added, from 1 to the number of branches; `None`
    /// means all. Rows of no known domain ([`DomainId::SHARED`]) use only these first branches. Pass
    /// [`BranchedConfig::built_with`](crate::model::BranchedConfig::built_with).
    ///
    /// # Errors
    /// Returns [`TooLarge`] if the layout gives more than 1,048,576 branches.
    pub fn branches(&mut self, branches: Branches, built_with: Option<usize>) -> Built<Vec<Branch>> {
        if branches.count(self.layout) > MOST_BRANCHES {
            return Err(TooLarge);
        }
        self.branches = branches.of(self.layout);
        self.built_with = built_with.unwrap_or(self.branches.len());
        Ok(self.branches.clone())
    }

    /// The number of branches that the model had before any domain was added, as [`Builder::branches`] set it; 0 before that call. Rows of
    /// no known domain use only these first branches. A layer that combines several branches should read only these first branches too, so
    /// that an added domain does not change the scores of earlier domains.
    pub fn built_with(&self) -> usize {
        self.built_with
    }

    /// The number of logits that the branch `branch` computes for a row: 1 if it predicts one task, otherwise the number of tasks of the
    /// layout.
    pub fn outputs(&self, branch: Branch) -> usize {
        if branch.task().is_some() { 1 } else { self.layout.tasks.len() }
    }

    /// The input of the net, one vector for each row of the batch: the embedded row ([`Embeddings`](crate::model::Embeddings)). It has the
    /// embeddings of all fields in the order of the layout, then the numeric inputs, side by side. If the settings have stacked cross layers
    /// ([`NetConfig::interactions`]), it is their output instead, of the same width. A second call returns the same value.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if, with this step, the net has more than about 4 million steps, or its steps have more than about 33 million
    /// inputs ([`Value`]s) in all.
    pub fn row(&mut self) -> Built<Value> {
        self.row_of(0)
    }

    /// The input of the net embedded by the tables of one branch, for a model whose branches have their own embedding tables
    /// ([`NetConfig::own_tables`]). It has the same columns as [`Builder::row`]. If all branches share the tables, use that method instead.
    /// `owner` is the position of the branch in [`Builder::branches`], from 0.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if, with this step, the net has more than about 4 million steps, or its steps have more than about 33 million
    /// inputs ([`Value`]s) in all.
    pub fn row_of(&mut self, owner: usize) -> Built<Value> {
        if let Some(&Some(input)) = self.net_inputs.get(owner) {
            return Ok(input);
        }
        let row = self.embedded(owner)?;
        let input = self.input_of(owner, row)?;
        if self.net_inputs.len() <= owner {
            self.net_inputs.resize(owner + 1, None);
        }
        self.net_inputs[owner] = Some(input);
        Ok(input)
    }

    /// The row as the tables of a branch embed it. The first call adds what the settings add to the logits.
    fn embedded(&mut self, owner: usize) -> Built<Value> {
        if let Some(&Some(row)) = self.rows.get(owner) {
            return Ok(row);
        }
        let (config, sequences) = (self.layout, &self.columns.sequences);
        let dims: Vec<usize> = sequences.iter().map(|sequence| sequence.dim).collect();
        let each = || config.sequences.iter().zip(&dims).map(|(own, &dim)| (own, dim));
        let of_branch = self.own_tables.then(|| self.branches[owner]);
        let names: Vec<Name> = (0..dims.len())
            .map(|sequence| {
                let of_branch = of_branch.map(Part::Branch);
                [Part::Field("sequences")].into_iter().chain(of_branch).chain([Part::Sequence(sequence)]).collect()
            })
            .collect();
        let size = each().map(|(own, dim)| TargetAttention::size(dim as f64, &own.attention)).sum();
        // About the events of a row that has as many as it may have, and a row's own values.
        let of_row = |(own, dim): (&AttendedSequence, usize)| {
            let first = own.attention.hidden().first().copied().unwrap_or_default();
            own.max_len as f64 * TargetAttention::event(dim as f64, &own.attention)
                + 4.0 * dim as f64
                + 2.0 * first as f64
        };
        let kept = each().map(of_row).sum();
        let row = self.push(names, Op::Row { owner }, self.columns.width, size, kept, |rng| {
            let layer = |((own, dim), rng): ((&AttendedSequence, usize), _)| {
                Layer::TargetAttention(TargetAttention::new(dim, &own.attention, rng))
            };
            each().zip(rng).map(layer).collect()
        })?;
        if self.rows.len() <= owner {
            self.rows.resize(owner + 1, None);
        }
        self.rows[owner] = Some(row);
        self.add_terms(owner, row)?;
        Ok(row)
    }

    /// The embedding of the field with the name `name`: its columns of the embedded row. If the settings have stacked cross layers
    /// ([`NetConfig::interactions`]), these are the columns before the cross layers. For a field that keeps its values apart
    /// ([`Pooling::Keep`](crate::data::Pooling::Keep)), they are the embeddings of all its values, side by side.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if, with this step, the net has more than about 4 million steps, or its steps have more than about 33 million
    /// inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If the layout has no field of this name.
    pub fn field(&mut self, name: &str) -> Built<Value> {
        let columns = self.columns_of(name);
        Ok(self.embedded(0)?.columns(columns.values()))
    }

    /// The embeddings of all values of the field with the name `name`, for attention ([`Builder::attend`]). The field must keep its values
    /// apart ([`Pooling::Keep`](crate::data::Pooling::Keep)).
    ///
    /// # Errors
    /// Returns [`TooLarge`] if, with this step, the net has more than about 4 million steps, or its steps have more than about 33 million
    /// inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If the layout has no field of this name, or the field does not keep its values apart.
    pub fn sequence(&mut self, name: &str) -> Built<Sequence> {
        let columns = self.columns_of(name);
        let filled = columns.filled().unwrap_or_else(|| panic!("field {name:?} keeps no values apart"));
        let (row, values) = (self.embedded(0)?, columns.values());
        let len = values.len() / columns.dim;
        Ok(Sequence { values: row.columns(values), filled: row.columns(filled..filled + 1), len })
    }

    fn columns_of(&self, name: &str) -> FieldColumns {
        let position = self.layout.fields.iter().position(|field| field.name == name);
        self.columns.fields[position.unwrap_or_else(|| panic!("the layout has no field {name:?}"))]
    }

    /// Adds the tower of a branch: a multilayer perceptron that computes the logits of the branch from `input`. [`Builder::answer_branch`]
    /// says to which logits of the net they are added.
    ///
    /// `branch` is the position of the branch in [`Builder::branches`], from 0. `hidden` lists the widths of the hidden layers, from the
    /// input up; if it is empty, the tower is one affine map. `style` has the settings of hidden layers. The name of the layer is
    /// `towers.BRANCH`, where BRANCH is the name of the branch.
    ///
    /// # Errors
    /// Returns [`TooLarge`] if, with this step, the net has more than about 4 million steps, or its steps have more than about 33 million
    /// inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If there is no branch at the position `branch`, or if the branch has a tower already.
    pub fn tower(&mut self, branch: usize, input: Value, hidden: &[usize], style: HiddenSettings) -> Built {
        let of = self.branches[branch];
        let logits = self.mlp(("towers", of), input, hidden, Some(self.outputs(of)), style)?;
        self.answer_branch(branch, logits);
        Ok(())
    }

    /// Adds the value `value` to the logits of all rows, whatever their domain. If `task` is `Some`, it is the position of a task in
    /// [`Layout::tasks`], from 0; `value` has one column, which is added to the logit of this task. If `task` is `None`, `value` has one
    /// column for each task. If several values are added to one logit, the logit is their sum.
    ///
    /// # Panics
    /// If the layout has no task at the position `task`, or if `value` has another number of columns than is said above. Also if `value` is
    /// the embedded row, has only some columns of the output of a step, is [stopped](Value::stopped), or is an output of
    /// [`Builder::queries`] or [`Builder::directions`]. To add such columns or a stopped value, pass them through [`Builder::concat`]
    /// first.
    pub fn answer(&mut self, value: Value, task: Option<usize>) {
        self.push_answer(Answer { value, domain: None, task, share: 1.0, unknown: 1.0, by_labels: false });
    }

    /// Adds the value `value` to the logits that a branch predicts. `branch` is the position of the branch in [`Builder::branches`], from
    /// 0; `value` has [`Builder::outputs`] columns. If the branch is for one task, `value` is added to the logit of this task, otherwise to
    /// the logits of all tasks. If the branch is for one domain, it is added only for the rows of this domain, otherwise for all rows.
    ///
    /// If branches are for domains, the logits of a row of no known domain are the mean of the logits that the branches of all domains
    /// compute for it; only domains that the model was built with count ([`Builder::built_with`]).
    ///
    /// # Panics
    /// If there is no branch at the position `branch`, or if `value` does not have [`Builder::outputs`] columns. If the number `built_with`
    /// that [`Builder::branches`] got is above the number of branches. Also if `value` is one of the values that [`Builder::answer`]
    /// refuses: the embedded row, only some columns of the output of a step, a stopped value, or an output of [`Builder::queries`] or
    /// [`Builder::directions`].
    pub fn answer_branch(&mut self, branch: usize, value: Value) {
        let of = self.branches[branch];
        let domain = of.domain().and_then(DomainId::index).map(|d| d as u32);
        let built_with = &self.branches[..self.built_with];
        let last = built_with.last().and_then(|last| last.domain()?.index());
        let unknown = match last {
            None => 1.0,
            Some(_) if branch >= self.built_with => 0.0,
            Some(last) => 1.0 / (last + 1) as f32,
        };
        self.push_answer(Answer { value, domain, task: of.task(), share: 1.0, unknown, by_labels: true });
    }

    fn domains(&self) -> Vec<DomainId> {
        (0..self.layout.domains.len()).map(DomainId::new).collect()
    }

    fn push_answer(&mut self, mut answer: Answer) {
        if let Some((_, members)) = self.member {
            let share = 1.0 / members as f32;
            (answer.share, answer.unknown) = (share * answer.share, share * answer.unknown);
        }
        let (Answer { value, task, .. }, tasks) = (answer, self.layout.tasks.len());
        if let Some(task) = task {
            assert!(task < tasks, "an answer is for task {task}, but the layout has {tasks} tasks");
        }
        let columns = if task.is_some() { 1 } else { tasks };
        assert_eq!(value.width(), columns, "an answer has one column for each task that it is for");
        assert!(value.index() < self.steps, "an answer is a value of its own program");
        let Some(program) = &mut self.program else { return };
        let Step { op, width, fixed, .. } = &program.steps[value.index()];
        let of_rows = fixed.is_none() && !matches!(op, Op::Row { .. });
        assert!(
            of_rows && value.width() == *width && !value.is_stopped(),
            "an answer is the whole output of a step; concatenate the row, columns and stopped values first"
        );
        program.answers.push(answer);
    }

    fn push<N: IntoName>(
        &mut self,
        names: impl IntoIterator<Item = N>,
        op: Op,
        width: usize,
        size: Size,
        kept: f64,
        make: impl FnOnce(&mut [InitRng]) -> Vec<Layer>,
    ) -> Built<Value> {
        self.push_fixed(None, names, op, width, size, kept, make)
    }

    #[expect(clippy::too_many_arguments, reason = "the properties of a step")]
    fn push_fixed<N: IntoName>(
        &mut self,
        fixed: Option<usize>,
        names: impl IntoIterator<Item = N>,
        op: Op,
        width: usize,
        size: Size,
        kept: f64,
        make: impl FnOnce(&mut [InitRng]) -> Vec<Layer>,
    ) -> Built<Value> {
        let count = self.steps;
        op.inputs(|input| {
            assert!(input.index() < count, "a step reads values of its own program");
            self.read += 1;
        });
        if count >= MOST || self.read >= MOST_READ {
            return Err(TooLarge);
        }
        self.steps += 1;
        self.size = self.size + size;
        let may_stop = matches!(
            op,
            Op::Mlp { .. }
                | Op::DomainMlp { .. }
                | Op::Concat { .. }
                | Op::Product { .. }
                | Op::Scale { .. }
                | Op::Attend { .. }
        );
        op.inputs(|input| {
            assert!(
                may_stop || !input.is_stopped(),
                "a stopped value is read by stacks, concatenations, products, scales and attention over a sequence"
            );
        });
        let Some(program) = &mut self.program else { return Ok(Value::new(count, width)) };
        if let Op::Mix { parts, .. } | Op::Stitch { parts } | Op::Join { parts, .. } = &op {
            let row = |part: &Value| matches!(program.steps[part.index()].op, Op::Row { .. });
            assert!(!parts.iter().any(row), "the row is read by layers alone");
        }
        let prefix = self.member.map(|(member, _)| [Part::Field("members"), Part::Index(member)]);
        let name = |name: N| prefix.into_iter().flatten().chain(name.name()).collect();
        let names: Vec<Name> = names.into_iter().map(name).collect();
        if let Some((seed, layers)) = &mut self.made {
            for name in &names {
                let name = dotted(name, self.layout);
                assert!(!self.names.contains(&name), "two layers have the name {name:?}: give each layer another name");
                self.names.insert(name);
            }
            let mut rng: Vec<InitRng> = names.iter().map(|name| InitRng::named(*seed, name, self.layout)).collect();
            layers.extend(make(&mut rng));
        }
        let at = self.layers;
        self.layers += names.len();
        self.kept.push(kept);
        let needs = Needs { known: Domains::default(), unknown: false };
        program.steps.push(Step { names, at, op, width, fixed, needs, rectified_by_readers: false });
        Ok(Value::new(count, width))
    }

    /// The program and its layers, if they were made.
    pub(super) fn finish(self) -> (Program, Vec<Layer>) {
        let mut program = self.program.expect("a program was written");
        program.finish();
        (program, self.made.map(|(_, layers)| layers).unwrap_or_default())
    }

    /// The size of all layers.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// The number of values that a training step keeps for a row, on average over domains.
    pub(super) fn kept(mut self) -> f64 {
        let kept = std::mem::take(&mut self.kept);
        let (program, _) = self.finish();
        let share = |step: &Step| match &step.needs.known {
            Domains::All => 1.0,
            Domains::Some(domains) => domains.len() as f64 / program.domains as f64,
        };
        program.steps.iter().zip(kept).map(|(step, kept)| share(step) * kept).sum()
    }
}

/// The dotted name of a layer, with which the names of its parameters start.
fn dotted(name: &[Part], layout: &Layout) -> String {
    Path::starting_at(0).enter(name, |path| path.name(layout))
}

impl Stack {
    fn is(&self, from: usize, hidden: &[usize], output: Option<usize>, style: HiddenSettings) -> bool {
        (self.from, &self.hidden[..], self.output, self.style) == (from, hidden, output, style)
    }
}

/// A stack's shape.
#[derive(Debug)]
struct Stack {
    from: usize,
    hidden: Vec<usize>,
    output: Option<usize>,
    style: HiddenSettings,
}
