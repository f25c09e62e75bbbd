//! The embedding front: from ids and numbers to the rows a net reads.

use std::ops::Range;

use ndarray::{Array2, ArrayRef2, s};

use super::NetConfig;
use super::branches::Routes;
use crate::data::{Batch, DomainId, Field, Ids, Pooling};
use crate::nn::{Branch, Decay, Draws, Leaf, LeafMut, Part, Path, RowGrad, Segment, tensor};
use crate::optim::Optimizer;

/// One embedding table for each field, and the numeric inputs behind them: `x = [e_1, …, e_F, numeric]`, `[rows, width]`.
///
/// Tables start from a normal distribution of deviation `embedding_std`. Gradients are those of the rows that a batch
/// reads ([`RowGrad`]), so a step costs the same whatever the vocabulary.
///
/// In a model whose branches have tables of their own ([`NetConfig::own_tables`]), every branch has one for each field, and an
/// embedded row stands in `x` once for every branch that answers for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    fields: Vec<Field>,
    /// The fields' tables, one owner's after the other's.
    tables: Vec<Array2<f32>>,
    /// Whose the tables are; nobody is everybody.
    owners: Vec<Branch>,
    built_with: usize,
    dim: usize,
    width: usize,
}

/// Which rows of a batch read which owner's tables.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    routes: Routes,
    /// Owner's position, rows in grouped order, and where they start in `x`.
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    owner: usize,
    rows: Segment,
    start: usize,
}

impl Block {
    /// Its rows of `x`.
    fn of(&self) -> Range<usize> {
        self.start..self.start + self.rows.len()
    }
}

impl Front {
    pub(super) fn new(config: &impl NetConfig) -> Self {
        let (fields, dim) = (config.layout().fields.clone(), config.embedding_dim());
        let owners = config.own_tables().map_or(Vec::new(), |branches| branches.of(config.layout()));
        let built_with = config.tables_built_with().unwrap_or(owners.len());
        let mut front = Self { fields, tables: Vec::new(), owners, built_with, dim, width: config.width() };
        let draws = &mut Draws::new(config.seed());
        for _ in 0..front.owners.len().max(1) {
            front.add_tables(config, draws);
        }
        front
    }

    fn add_tables(&mut self, config: &impl NetConfig, draws: &mut Draws) {
        let table = |field: &Field| draws.normal(field.rows, self.dim, config.embedding_std());
        let tables: Vec<Array2<f32>> = self.fields.iter().map(table).collect();
        self.tables.extend(tables);
    }

    /// Gives the branches of a new domain their tables, if branches have any.
    pub(super) fn add_domain(&mut self, config: &impl NetConfig, domain: DomainId) {
        let branches = config.own_tables().map_or(Vec::new(), |branches| branches.of_domain(domain, config.layout()));
        // Behind those of the net's parts that are added with the domain.
        let draws = &mut Draws::later(config.seed(), usize::from(u16::MAX) + self.owners.len());
        for branch in branches {
            self.owners.push(branch);
            self.add_tables(config, draws);
        }
    }

    /// How many values an embedded row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The tables, `[rows, dim]`, in the order of the layout's fields; where branches own them, one branch's after the
    /// other's.
    pub fn tables(&self) -> &[Array2<f32>] {
        &self.tables
    }

    /// The same, to change them: pretrained embeddings, a test.
    pub fn tables_mut(&mut self) -> &mut [Array2<f32>] {
        &mut self.tables
    }

    /// An empty gradient for every table.
    pub(super) fn zero_grad(&self) -> Vec<RowGrad> {
        self.tables.iter().map(|table| RowGrad::new(table.nrows(), self.dim)).collect()
    }

    /// Finds who reads what, and gives the number of rows of `x`.
    pub(super) fn lay(&self, rows: usize, segments: &[Segment], blocks: &mut Blocks) -> usize {
        let Blocks { routes, blocks } = blocks;
        blocks.clear();
        if self.owners.is_empty() {
            blocks.push(Block { owner: 0, rows: Segment { domain: None, start: 0, end: rows }, start: 0 });
            return rows;
        }
        routes.lay(rows, segments, &self.owners, self.built_with);
        let mut start = 0;
        for route in &routes.answering {
            blocks.push(Block { owner: route.branch, rows: route.rows, start });
            start += route.rows.len();
        }
        start
    }

    /// `x[i] = [e_1, …, numeric]` of row `order[i]`, block by block.
    pub(super) fn forward(&self, batch: &Batch, order: &[u32], blocks: &Blocks, x: &mut ArrayRef2<f32>) {
        for block in &blocks.blocks {
            let order = &order[block.rows.rows()];
            let tables = &self.tables[block.owner * self.fields.len()..];
            self.embed(batch, order, tables, &mut x.slice_mut(s![block.of(), ..]));
        }
    }

    fn embed(&self, batch: &Batch, order: &[u32], tables: &[Array2<f32>], x: &mut ArrayRef2<f32>) {
        let dim = self.dim;
        for (f, ((field, table), ids)) in self.fields.iter().zip(tables).zip(&batch.ids).enumerate() {
            let values = table.as_slice().expect("tables are kept in standard layout");
            let embedding = |id: u32| &values[id as usize * dim..][..dim];
            let mut out = x.slice_mut(s![.., f * dim..(f + 1) * dim]);
            match ids {
                Ids::One(ids) => {
                    for (mut out, &row) in out.rows_mut().into_iter().zip(order) {
                        let out = out.as_slice_mut().expect("a row of x is contiguous");
                        out.copy_from_slice(embedding(ids[row as usize]));
                    }
                }
                Ids::Bag { offsets, ids } => {
                    for (mut out, &row) in out.rows_mut().into_iter().zip(order) {
                        let out = out.as_slice_mut().expect("a row of x is contiguous");
                        out.fill(0.0);
                        let ids = bag(offsets, ids, row);
                        let share = share(field, ids.len());
                        for &id in ids {
                            out.iter_mut().zip(embedding(id)).for_each(|(out, &e)| *out += share * e);
                        }
                    }
                }
            }
        }
        let numeric = self.fields.len() * dim;
        for (mut x, &row) in x.rows_mut().into_iter().zip(order) {
            x.slice_mut(s![numeric..]).assign(&batch.numeric.row(row as usize));
        }
    }

    /// Adds `dx[i]` to the gradients of the table rows that row `order[i]` read, block by block.
    pub(super) fn backward(
        &self,
        batch: &Batch,
        order: &[u32],
        blocks: &Blocks,
        dx: &ArrayRef2<f32>,
        grad: &mut [RowGrad],
    ) {
        for block in &blocks.blocks {
            let dx = dx.slice(s![block.of(), ..]);
            // A branch whose rows have no label gives no gradient: it took no part in the step, nor did its tables.
            if self.owners.is_empty() || dx.iter().any(|&d| d != 0.0) {
                let order = &order[block.rows.rows()];
                self.add(batch, order, &dx, &mut grad[block.owner * self.fields.len()..]);
            }
        }
    }

    fn add(&self, batch: &Batch, order: &[u32], dx: &ArrayRef2<f32>, grad: &mut [RowGrad]) {
        for (f, ((field, ids), grad)) in self.fields.iter().zip(&batch.ids).zip(grad).enumerate() {
            let dx = dx.slice(s![.., f * self.dim..(f + 1) * self.dim]);
            for (dx, &row) in dx.rows().into_iter().zip(order) {
                match ids {
                    Ids::One(ids) => grad.touch(ids[row as usize]).zip_mut_with(&dx, |d, &g| *d += g),
                    Ids::Bag { offsets, ids } => {
                        let ids = bag(offsets, ids, row);
                        let share = share(field, ids.len());
                        for &id in ids {
                            grad.touch(id).zip_mut_with(&dx, |d, &g| *d += share * g);
                        }
                    }
                }
            }
        }
    }

    /// Moves the tables; they take the first slots. An owner's table that no row read took no part in the step.
    pub(super) fn apply(&mut self, grad: &mut [RowGrad], optimizer: &mut dyn Optimizer) {
        for (slot, (table, grad)) in self.tables.iter_mut().zip(grad).enumerate() {
            if self.owners.is_empty() || !grad.rows().is_empty() {
                optimizer.rows(slot, table.as_slice_mut().expect("tables are kept in standard layout"), grad);
            }
            grad.clear();
        }
    }

    /// Walks the tables, as `embeddings.FIELD`, or `embeddings.BRANCH.FIELD` where branches own them.
    pub(super) fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter().enumerate() {
                let (owner, field) = (i / self.fields.len(), i % self.fields.len());
                let mut table = |path: &mut Path| tensor::visit(table, Decay::To(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Input(field), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }

    /// The same for a walk that may change them.
    pub(super) fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter_mut().enumerate() {
                let (owner, field) = (i / self.fields.len(), i % self.fields.len());
                let mut table = |path: &mut Path| tensor::visit_mut(table, Decay::To(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Input(field), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }
}

/// The ids of one row of a bag.
fn bag<'a>(offsets: &[u32], ids: &'a [u32], row: u32) -> &'a [u32] {
    &ids[offsets[row as usize] as usize..offsets[row as usize + 1] as usize]
}

/// What each of `len` embeddings counts for in a bag's vector.
fn share(field: &Field, len: usize) -> f32 {
    match field.bag {
        Some(Pooling::Mean) if len > 0 => 1.0 / len as f32,
        _ => 1.0,
    }
}
