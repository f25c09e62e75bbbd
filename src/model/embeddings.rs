//! The embedding layer: from ids and numbers to the rows a net reads.

mod lookup;

use std::ops::Range;

use ndarray::Array2;

pub(crate) use self::lookup::Selection;
use self::lookup::{Embed, Scatter};
use super::branches::Routes;
use super::{NetConfig, NewRows};
use crate::data::{Batch, DomainId, Field};
use crate::nn::{Branch, Decay, InitRng, Leaf, LeafMut, Part, Path, RowGrad, Segment, Size, tensor};
use crate::optim::Optimizer;
use crate::parallel;
use crate::simd::widest;

const LINES: &str = "tables and rows of x stand one below the other";

/// One embedding table for each field, and the numeric inputs behind them: `x = [e_1, …, e_F, numeric]`, `[rows, width]`.
///
/// Tables start from a normal distribution of deviation `embedding_std`. Gradients are those of the rows that a batch
/// reads ([`RowGrad`]), so a step costs the same whatever the vocabulary.
///
/// In a model whose branches have tables of their own ([`NetConfig::own_tables`]), every branch has one for each field, and an
/// embedded row stands in `x` once for every branch that answers for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    fields: Vec<Field>,
    /// The fields' tables, one owner's after the other's.
    tables: Vec<Array2<f32>>,
    /// The branches that own the tables; empty where all branches share them.
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
    /// Its values of `x`.
    fn values(&self, width: usize) -> Range<usize> {
        self.start * width..(self.start + self.rows.len()) * width
    }
}

impl Embeddings {
    pub(super) fn new(config: &dyn NetConfig) -> Self {
        let mut embeddings = Self::without_tables(config);
        let draws = &mut InitRng::new(config.seed());
        for _ in 0..embeddings.owners.len().max(1) {
            embeddings.add_tables(config, draws);
        }
        embeddings
    }

    /// Tables for these settings that hold 0, to be filled.
    pub(super) fn zeros(config: &dyn NetConfig) -> Self {
        let embeddings = Self::without_tables(config);
        let table = |field: &Field| Array2::zeros((field.rows, embeddings.dim));
        let tables = (0..embeddings.owners.len().max(1)).flat_map(|_| embeddings.fields.iter().map(table)).collect();
        Self { tables, ..embeddings }
    }

    fn without_tables(config: &dyn NetConfig) -> Self {
        let (fields, dim) = (config.layout().fields.clone(), config.embedding_dim());
        let owners = config.own_tables().map_or(Vec::new(), |branches| branches.of(config.layout()));
        let built_with = config.tables_built_with().unwrap_or(owners.len());
        Self { fields, tables: Vec::new(), owners, built_with, dim, width: config.width() }
    }

    /// The size of its tables.
    pub(crate) fn size(config: &dyn NetConfig) -> Size {
        let owners = config.own_tables().map_or(1, |branches| branches.count(config.layout()));
        let table = |field: &Field| Size::tensor(field.rows as f64 * config.embedding_dim() as f64);
        owners.max(1) as f64 * config.layout().fields.iter().map(table).sum::<Size>()
    }

    fn add_tables(&mut self, config: &dyn NetConfig, draws: &mut InitRng) {
        let table = |field: &Field| draws.normal(field.rows, self.dim, config.embedding_std());
        let tables: Vec<Array2<f32>> = self.fields.iter().map(table).collect();
        self.tables.extend(tables);
    }

    /// Gives the branches of a new domain their tables, if branches have any.
    pub(super) fn add_domain(&mut self, config: &dyn NetConfig, domain: DomainId) {
        let branches = config.own_tables().map_or(Vec::new(), |branches| branches.of_domain(domain, config.layout()));
        // Behind those of the net's parts that are added with the domain.
        let rng = &mut InitRng::later(config.seed(), usize::from(u16::MAX) + self.owners.len());
        for branch in branches {
            self.owners.push(branch);
            self.add_tables(config, rng);
        }
    }

    /// Gives the tables rows behind those they have, as many as the configuration's layout now asks for.
    pub(super) fn add_rows(&mut self, config: &dyn NetConfig, start: NewRows) {
        self.fields.clone_from(&config.layout().fields);
        for (i, table) in self.tables.iter_mut().enumerate() {
            let rows = table.nrows()..self.fields[i % self.fields.len()].rows;
            if rows.is_empty() {
                continue;
            }
            let (mut values, _) = std::mem::take(table).into_raw_vec_and_offset();
            match start {
                NewRows::OutOfVocabulary => {
                    values.reserve_exact(rows.len() * self.dim);
                    rows.for_each(|_| values.extend_from_within(..self.dim));
                }
                NewRows::Drawn => {
                    let (seed, std) = (config.seed(), config.embedding_std());
                    values.extend(InitRng::normal_rows(seed, i, rows, self.dim, std));
                }
            }
            *table = Array2::from_shape_vec((values.len() / self.dim, self.dim), values).expect("whole rows");
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

    /// The tables, for changes: to put pretrained embeddings in, for example.
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
    pub(super) fn forward(&self, batch: &Batch, order: &[u32], blocks: &Blocks, x: &mut Array2<f32>) {
        let x = x.as_slice_mut().expect(LINES);
        for block in &blocks.blocks {
            let (order, x) = (&order[block.rows.rows()], &mut x[block.values(self.width)]);
            let tables = &self.tables[block.owner * self.fields.len()..];
            parallel::each(Embed { embeddings: self, batch, tables, order, x }, &widest);
        }
    }

    /// Adds `dx[i]` to the gradients of the table rows that row `order[i]` read, block by block.
    pub(super) fn backward(
        &self,
        batch: &Batch,
        order: &[u32],
        blocks: &Blocks,
        dx: &Array2<f32>,
        grad: &mut [RowGrad],
    ) {
        let dx = dx.as_slice().expect(LINES);
        for block in &blocks.blocks {
            let dx = &dx[block.values(self.width)];
            // A branch whose rows have no label gives no gradient: it took no part in the step, nor did its tables.
            if self.owners.is_empty() || dx.iter().any(|&d| d != 0.0) {
                let grad = &mut grad[block.owner * self.fields.len()..][..self.fields.len()];
                let order = &order[block.rows.rows()];
                parallel::each(Scatter { embeddings: self, batch, order, dx, first: 0, grad }, &widest);
            }
        }
    }

    /// Moves the tables; they take the first slots. An owner's table that no row read took no part in the step.
    pub(super) fn apply(&mut self, grad: &mut [RowGrad], frozen: &[bool], optimizer: &mut dyn Optimizer) {
        for (slot, (table, grad)) in self.tables.iter_mut().zip(grad).enumerate() {
            let present = self.owners.is_empty() || !grad.rows().is_empty();
            if present && frozen.get(slot) != Some(&true) {
                optimizer.rows(slot, table.as_slice_mut().expect(LINES), grad);
            }
        }
    }

    /// Walks the tables, as `embeddings.FIELD`, or `embeddings.BRANCH.FIELD` where branches own them.
    pub(super) fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter().enumerate() {
                let (owner, field) = (i / self.fields.len(), i % self.fields.len());
                let mut table = |path: &mut Path| tensor::visit(table, Decay::Towards(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Input(field), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }

    /// Walks the tables as [`Embeddings::visit`] does, and may change them.
    pub(super) fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter_mut().enumerate() {
                let (owner, field) = (i / self.fields.len(), i % self.fields.len());
                let mut table = |path: &mut Path| tensor::visit_mut(table, Decay::Towards(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Input(field), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Ids, Layout, Pooling};
    use crate::model::{PooledConfig, SingleConfig};
    use crate::train::in_pool;

    const ROWS: usize = 3000;

    fn layout() -> Layout {
        let field = |name: &str, rows, bag| Field { name: name.into(), rows, bag };
        Layout {
            fields: vec![
                field("user", 700, None),
                field("tags", 40, Some(Pooling::Mean)),
                field("words", 90, Some(Pooling::Sum)),
            ],
            numeric: vec!["age".into(), "price".into()],
            domains: vec!["a".into(), "b".into()],
            tasks: vec!["click".into()],
        }
    }

    fn batch() -> Batch {
        let id = |i: usize, rows: usize| (i * 7919 % 10_007 % rows) as u32;
        let bags = |rows| {
            let mut offsets = vec![0];
            offsets.extend((0..ROWS).scan(0, |end, row| {
                *end += row as u32 % 4;
                Some(*end)
            }));
            let ids = (0..offsets[ROWS] as usize).map(|i| id(i, rows)).collect();
            Ids::Bag { offsets, ids }
        };
        Batch {
            ids: vec![Ids::One((0..ROWS).map(|row| id(row, 700)).collect()), bags(40), bags(90)],
            numeric: Array2::from_shape_fn((ROWS, 2), |(row, column)| (row * 2 + column) as f32),
            labels: Array2::zeros((ROWS, 1)),
            domains: (0..ROWS).map(|row| DomainId::new(usize::from(row >= 1100))).collect(),
            ..Batch::default()
        }
    }

    /// What the embeddings give, and the gradients, dense, that it takes from `dx`, on this many threads.
    fn run(config: &dyn NetConfig, threads: usize) -> (Embeddings, Array2<f32>, Array2<f32>, Vec<RowGrad>) {
        let (embeddings, batch, mut blocks) = (Embeddings::new(config), batch(), Blocks::default());
        let order: Vec<u32> = (0..ROWS as u32).collect();
        let segment = |domain, start, end| Segment { domain: Some(domain), start, end };
        let rows = embeddings.lay(ROWS, &[segment(0, 0, 1100), segment(1, 1100, ROWS)], &mut blocks);
        let mut x = Array2::from_elem((rows, embeddings.width()), f32::NAN);
        let dx = Array2::from_shape_fn(x.dim(), |(i, j)| ((i * 31 + j * 17) % 101) as f32 / 64.0 - 0.5);
        let mut grad = embeddings.zero_grad();
        in_pool(threads, || {
            embeddings.forward(&batch, &order, &blocks, &mut x);
            embeddings.backward(&batch, &order, &blocks, &dx, &mut grad);
        })
        .unwrap();
        (embeddings, x, dx, grad)
    }

    fn follows_its_equations_on_any_number_of_threads(config: &dyn NetConfig, owners: usize) {
        let (embeddings, x, dx, grad) = run(config, 1);
        let (batch, dim) = (batch(), embeddings.dim);
        assert_eq!((embeddings.tables.len(), x.nrows()), (3 * owners, ROWS));
        let mut dense: Vec<Array2<f64>> = embeddings.tables.iter().map(|table| Array2::zeros(table.dim())).collect();
        for row in 0..ROWS {
            let owner = if owners == 1 { 0 } else { usize::from(row >= 1100) };
            for (f, ids) in batch.ids.iter().enumerate() {
                let (table, ids) = (3 * owner + f, ids.row(row));
                let share = if f == 1 { 1.0 / ids.len().max(1) as f64 } else { 1.0 };
                for j in 0..dim {
                    let value = |&id: &u32| f64::from(embeddings.tables[table][[id as usize, j]]);
                    let sum: f64 = ids.iter().map(value).sum();
                    assert!((f64::from(x[[row, f * dim + j]]) - share * sum).abs() < 1e-6, "row {row}, field {f}");
                    for &id in ids {
                        dense[table][[id as usize, j]] += share * f64::from(dx[[row, f * dim + j]]);
                    }
                }
            }
            assert_eq!(x.row(row).to_vec()[3 * dim..], batch.numeric.row(row).to_vec());
        }
        for (grad, dense) in grad.iter().zip(&dense) {
            for (row, dense) in dense.rows().into_iter().enumerate() {
                let zeros = vec![0.0; dim];
                let found = grad.row(row).unwrap_or(&zeros);
                assert!(found.iter().zip(&dense).all(|(&found, dense)| (f64::from(found) - dense).abs() < 1e-3));
            }
        }
        for threads in [2, 3, 4] {
            let (_, again, _, grad_again) = run(config, threads);
            assert_eq!(again, x);
            for (again, grad) in grad_again.iter().zip(&grad) {
                assert_eq!((again.rows(), again.values()), (grad.rows(), grad.values()), "{threads} threads");
            }
        }
    }

    #[test]
    fn tables_for_all() {
        let config = PooledConfig::builder(&layout()).embedding_dim(5).build().unwrap();
        follows_its_equations_on_any_number_of_threads(&config, 1);
    }

    #[test]
    fn tables_of_each_branch() {
        let config = SingleConfig::builder(&layout()).embedding_dim(5).branches(crate::model::Branches::Domains);
        follows_its_equations_on_any_number_of_threads(&config.build().unwrap(), 2);
    }
}
