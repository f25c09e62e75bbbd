//! The builder that a net is described with.

mod layers;

use super::layer::{IntoName, Layer, Name};
use super::program::{Answer, Domains, Needs, Op, Program, Step, Value};
use crate::data::{DomainId, FieldColumns, InputColumns, Layout};
use crate::model::{Branches, NetConfig};
use crate::nn::{Branch, HiddenSettings, InitRng, Size};

/// The most steps of a program, branches, and values that steps read. No sensible net comes near these numbers.
const MOST: usize = 1 << 22;
const MOST_BRANCHES: usize = 1 << 20;
const MOST_READ: usize = 1 << 25;

/// The error of settings that ask for more steps than a program may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The result of a [`Builder`]'s methods.
pub type Built<T = ()> = Result<T, TooLarge>;

/// The values of a field that keeps them, side by side: vectors, and the share of places that a row fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The vectors, `[rows, len·width]`; those that a row does not have are zeros.
    pub values: Value,
    /// How many vectors a row has, over `len`: `[rows, 1]`.
    pub filled: Value,
    /// How many vectors are kept.
    pub len: usize,
}

/// Writes a [`Program`] step by step, and makes the layers of its steps, or only computes their size.
///
/// Every layer has a dotted name, written as a tuple: `("levels", 0, "own", branch, 1)`. Its starting values depend only on the seed, this name
/// and its shape. So to grow a net, build it anew and copy the layers whose names were there before.
#[derive(Debug)]
pub struct Builder<'a> {
    layout: &'a Layout,
    /// The steps; `None` if only the size is needed.
    program: Option<Program>,
    /// The seed and the layers, if layers are made.
    made: Option<(u64, Vec<Layer>)>,
    steps: usize,
    layers: usize,
    size: Size,
    /// By step, the number of values that a training step keeps for a row.
    kept: Vec<f64>,
    /// The shape and size of the last stack: neighbouring stacks often have the same.
    last: Option<(Stack, (Size, f64))>,
    /// The number of values that all steps read.
    read: usize,
    rows: Vec<Option<Value>>,
    columns: InputColumns,
    branches: Vec<Branch>,
    built_with: usize,
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
            last: None,
            size: Size::default(),
            kept: Vec::new(),
            read: 0,
            rows: Vec::new(),
            columns: InputColumns::new(layout, config.embedding_dim()),
            branches: Vec::new(),
            built_with: 0,
        }
    }

    /// A program without layers.
    pub(super) fn writing(config: &'a dyn NetConfig) -> Self {
        let program = Program { domains: config.layout().domains.len(), ..Program::default() };
        Self { program: Some(program), ..Self::measuring(config) }
    }

    /// A program and its layers.
    pub(super) fn making(config: &'a dyn NetConfig) -> Self {
        Self { made: Some((config.seed(), Vec::new())), ..Self::writing(config) }
    }

    /// The fields, domains and tasks of the rows.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Sets what the branches stand for, and returns them in order. The shared path reads the first `built_with` of them, by default all.
    ///
    /// # Errors
    /// [`TooLarge`] if there are too many branches.
    pub fn branches(&mut self, branches: Branches, built_with: Option<usize>) -> Built<Vec<Branch>> {
        if branches.count(self.layout) > MOST_BRANCHES {
            return Err(TooLarge);
        }
        self.branches = branches.of(self.layout);
        self.built_with = built_with.unwrap_or(self.branches.len());
        Ok(self.branches.clone())
    }

    /// The number of branches that the shared path reads: the first ones.
    pub fn built_with(&self) -> usize {
        self.built_with
    }

    /// The number of logits of a branch: one, or one for each task.
    pub fn outputs(&self, branch: Branch) -> usize {
        if branch.task().is_some() { 1 } else { self.layout.tasks.len() }
    }

    /// The embedded row: the fields' embeddings, then the numeric inputs.
    ///
    /// # Errors
    /// [`TooLarge`] if the program has too many steps; so do all methods here.
    pub fn row(&mut self) -> Built<Value> {
        self.row_of(0)
    }

    /// The row embedded by the tables of the branch at this position, where branches have tables of their own.
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn row_of(&mut self, owner: usize) -> Built<Value> {
        if let Some(&Some(row)) = self.rows.get(owner) {
            return Ok(row);
        }
        let row = self.push([(); 0], Op::Row { owner }, self.columns.width, Size::default(), 0.0, |_| Vec::new())?;
        if self.rows.len() <= owner {
            self.rows.resize(owner + 1, None);
        }
        self.rows[owner] = Some(row);
        Ok(row)
    }

    /// The embeddings of a field: its columns of the [row](Builder::row). Of a field that [keeps](crate::data::Pooling::Keep) its values
    /// it has all of them, side by side.
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If the layout has no field of this name.
    pub fn field(&mut self, name: &str) -> Built<Value> {
        let columns = self.columns_of(name);
        Ok(self.row()?.columns(columns.values()))
    }

    /// The values of a field that [keeps](crate::data::Pooling::Keep) them, for [attention](Builder::attend).
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If the layout has no such field.
    pub fn sequence(&mut self, name: &str) -> Built<Sequence> {
        let columns = self.columns_of(name);
        let filled = columns.filled().unwrap_or_else(|| panic!("field {name:?} keeps no values apart"));
        let (row, values) = (self.row()?, columns.values());
        let len = values.len() / columns.dim;
        Ok(Sequence { values: row.columns(values), filled: row.columns(filled..filled + 1), len })
    }

    fn columns_of(&self, name: &str) -> FieldColumns {
        let position = self.layout.fields.iter().position(|field| field.name == name);
        self.columns.fields[position.unwrap_or_else(|| panic!("the layout has no field {name:?}"))]
    }

    /// The tower of the branch at this position: hidden layers of these widths, then an affine map to the branch's logits.
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn tower(&mut self, branch: usize, input: Value, hidden: &[usize], style: HiddenSettings) -> Built {
        let of = self.branches[branch];
        let logits = self.mlp(("towers", of), input, hidden, Some(self.outputs(of)), style)?;
        self.answer_branch(branch, logits);
        Ok(())
    }

    /// Adds a value to the logits of all rows: to those of one task, or to those of all.
    pub fn answer(&mut self, value: Value, task: Option<usize>) {
        self.push_answer(Answer { value, domain: None, task, unknown: 1.0, by_labels: false });
    }

    /// Adds a value to the logits of the branch at this position: to its task, in the rows of its domain. Rows of no known domain get the mean
    /// over the domains that the model was built with.
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
        self.push_answer(Answer { value, domain, task: of.task(), unknown, by_labels: true });
    }

    fn domains(&self) -> Vec<DomainId> {
        (0..self.layout.domains.len()).map(DomainId::new).collect()
    }

    fn push_answer(&mut self, answer: Answer) {
        if let Some(program) = &mut self.program {
            program.answers.push(answer);
        }
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
        let names: Vec<Name> = names.into_iter().map(IntoName::name).collect();
        if let Some((seed, layers)) = &mut self.made {
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
