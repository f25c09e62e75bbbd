//! The embedding layer: from ids and numbers to the rows a net reads.

mod lookup;

use std::ops::Range;

use ndarray::Array2;

pub(crate) use self::lookup::{Events, Selection};
use self::lookup::{embed_rows, scatter_rows};
use super::{NetConfig, NewRows};
use crate::data::{Batch, DomainId, InputColumns};
use crate::nn::buffer::grow;
use crate::nn::{Branch, Decay, InitRng, Leaf, LeafMut, Part, Path, RowGrad, Segment, Size, tensor};
use crate::optim::Optimizer;

const LINES: &str = "tables and x are in standard layout";

/// The embedding layer of a model: its tables, and how they turn a row of a batch into an *embedded row*, the input of the net.
///
/// An embedded row is `x = [e_1, …, e_F, numeric]`: the embeddings `e_1` to `e_F` of the F fields in the order of the layout, then the
/// numeric inputs. It has [`Embeddings::width`] values. Each field reads the [table](crate::data::EmbeddingTable) that the layout names for
/// it:
///
/// * For a field with one id a row, `e_f` is the table row of this id.
/// * For a bag of ids, `e_f` is the sum or mean of the table rows of its ids ([`Pooling`](crate::data::Pooling)).
/// * For a bag of a sequence with [attention](crate::data::AttendedSequence), `e_f` is the sum of their table rows with weights that
///   depend on the target. The layers that compute the weights belong to the net.
/// * For a field that [keeps](crate::data::Pooling::Keep) `n` values, `e_f` has the table rows of its first `n` ids side by side, with
///   zeros for missing ids. One more column has the number of its ids (at most `n`) divided by `n`.
///
/// Fields that read one table share its rows, and their gradients add up. The initial values of a table are normally distributed with mean
/// 0 and standard deviation [`NetConfig::embedding_std`]. A gradient has only the table rows that a batch reads ([`RowGrad`]), so the time
/// of computing it does not depend on the size of a table.
///
/// In a model whose branches have their own tables ([`NetConfig::own_tables`]), every branch has its own copy of all tables of the layout.
/// A row of the batch then has one embedded row for each branch that predicts for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    columns: InputColumns,
    /// The layout's tables, one owner's after the other's.
    tables: Vec<Array2<f32>>,
    /// How many tables the layout has.
    count: usize,
    /// The branches that own the tables; empty where all branches share them.
    owners: Vec<Branch>,
    built_with: usize,
}

/// The rows of a batch that read each owner's tables.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// One for each owner of tables and domain.
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    owner: usize,
    rows: Segment,
    start: usize,
}

impl Block {
    /// The range of its values in `x`.
    fn values(&self, width: usize) -> Range<usize> {
        self.start * width..(self.start + self.rows.len()) * width
    }
}

impl Blocks {
    /// For each block, the range of its values in `x`, and of its rows in the grouped order.
    pub(super) fn ranges(&self, width: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.blocks.iter().map(move |block| (block.values(width), block.rows.rows()))
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

    /// Tables of zeros for these settings, to fill from a file.
    pub(super) fn zeros(config: &dyn NetConfig) -> Self {
        let embeddings = Self::without_tables(config);
        let tables = || shapes(config).map(|(rows, dim)| Array2::zeros((rows, dim)));
        let tables = (0..embeddings.owners.len().max(1)).flat_map(|_| tables()).collect();
        Self { tables, ..embeddings }
    }

    fn without_tables(config: &dyn NetConfig) -> Self {
        let layout = config.layout();
        let owners = config.own_tables().map_or(Vec::new(), |branches| branches.of(layout));
        let built_with = config.tables_built_with().unwrap_or(owners.len());
        let columns = InputColumns::new(layout, config.embedding_dim());
        Self { columns, tables: Vec::new(), count: layout.tables.len(), owners, built_with }
    }

    /// The size of all tables.
    pub(crate) fn size(config: &dyn NetConfig) -> Size {
        Self::owners(config) * shapes(config).map(|(rows, dim)| Size::tensor(rows as f64 * dim as f64)).sum::<Size>()
    }

    /// The number of rows of all tables.
    pub(crate) fn table_rows(config: &dyn NetConfig) -> f64 {
        Self::owners(config) * shapes(config).map(|(rows, _)| rows as f64).sum::<f64>()
    }

    /// The number of owners of tables.
    fn owners(config: &dyn NetConfig) -> f64 {
        let owners = config.own_tables().map_or(1, |branches| branches.count(config.layout()));
        owners.max(1) as f64
    }

    fn add_tables(&mut self, config: &dyn NetConfig, draws: &mut InitRng) {
        self.tables.extend(shapes(config).map(|(rows, dim)| draws.normal(rows, dim, config.embedding_std())));
    }

    /// Adds the tables of a new domain's branches, if branches have tables.
    pub(super) fn add_domain(&mut self, config: &dyn NetConfig, domain: DomainId) {
        let branches = config.own_tables().map_or(Vec::new(), |branches| branches.of_domain(domain, config.layout()));
        // Streams after those of the net's new parts.
        let rng = &mut InitRng::later(config.seed(), usize::from(u16::MAX) + self.owners.len());
        for branch in branches {
            self.owners.push(branch);
            self.add_tables(config, rng);
        }
    }

    /// Adds rows at the end of the tables, until they have as many as the configuration's layout now asks for.
    pub(super) fn add_rows(&mut self, config: &dyn NetConfig, start: NewRows) {
        let wanted: Vec<usize> = shapes(config).map(|(rows, _)| rows).collect();
        for (i, table) in self.tables.iter_mut().enumerate() {
            let (rows, dim) = (table.nrows()..wanted[i % self.count], table.ncols());
            if rows.is_empty() {
                continue;
            }
            let (mut values, _) = std::mem::take(table).into_raw_vec_and_offset();
            match start {
                NewRows::OutOfVocabulary => {
                    values.reserve_exact(rows.len() * dim);
                    rows.for_each(|_| values.extend_from_within(..dim));
                }
                NewRows::Drawn => {
                    let (seed, std) = (config.seed(), config.embedding_std());
                    values.extend(InitRng::normal_rows(seed, i, rows, dim, std));
                }
            }
            *table = Array2::from_shape_vec((values.len() / dim, dim), values).expect("whole rows");
        }
    }

    /// The number of values of an embedded row: of all embeddings and numeric inputs together.
    pub fn width(&self) -> usize {
        self.columns.width
    }

    /// The embedding tables, each `[rows, dim]` (one row for each id, of `dim` values), in the order of
    /// [`Layout::tables`](crate::data::Layout::tables). If every branch has its own tables, the list has all tables of the first branch,
    /// then all tables of the second branch, and so on.
    pub fn tables(&self) -> &[Array2<f32>] {
        &self.tables
    }

    /// The tables, to change their values: for example to load pretrained embeddings. They have the order of [`Embeddings::tables`]. Do not
    /// change their shapes.
    pub fn tables_mut(&mut self) -> &mut [Array2<f32>] {
        &mut self.tables
    }

    /// The tables of one owner, by its position; of all branches where they share them.
    pub(crate) fn tables_of(&self, owner: usize) -> &[Array2<f32>] {
        &self.tables[owner * self.count..][..self.count]
    }

    /// The columns of the fields in an embedded row.
    pub(crate) fn columns(&self) -> &InputColumns {
        &self.columns
    }

    /// An empty gradient for every table.
    pub(super) fn zero_grad(&self) -> Vec<RowGrad> {
        self.tables.iter().map(|table| RowGrad::new(table.nrows(), table.ncols())).collect()
    }

    /// Computes the rows that read each owner's tables, and returns the number of rows of `x`.
    pub(super) fn find_blocks(&self, rows: usize, segments: &[Segment], blocks: &mut Blocks) -> usize {
        let blocks = &mut blocks.blocks;
        blocks.clear();
        if self.owners.is_empty() {
            blocks.push(Block { owner: 0, rows: Segment { domain: DomainId::SHARED, start: 0, end: rows }, start: 0 });
            return rows;
        }
        let built_with = &self.owners[..self.built_with];
        let by_domain = built_with.iter().any(|owner| owner.domain().is_some());
        let whole = [Segment { domain: DomainId::SHARED, start: 0, end: rows }];
        let mut start = 0;
        for &rows in if by_domain { segments } else { &whole } {
            for (owner, branch) in self.owners.iter().enumerate() {
                let answers = match rows.domain {
                    _ if !by_domain => true,
                    DomainId::SHARED => owner < self.built_with,
                    own => branch.domain() == Some(own),
                };
                if answers {
                    blocks.push(Block { owner, rows, start });
                    start += rows.len();
                }
            }
        }
        start
    }

    /// `x[i] = [e_1, …, numeric]` of row `order[i]`, block by block, and the events of the sequences. The columns of attended fields are left
    /// out: the net writes them.
    pub(super) fn forward(
        &self,
        batch: &Batch,
        order: &[u32],
        blocks: &Blocks,
        x: &mut Array2<f32>,
        events: &mut Vec<Events>,
    ) {
        grow(events, self.columns.sequences.len());
        for (events, sequence) in events.iter_mut().zip(&self.columns.sequences) {
            events.restart();
            for block in &blocks.blocks {
                events.add_rows(&batch.ids[sequence.fields[0]], &order[block.rows.rows()]);
            }
            events.fit(sequence.dim);
            for block in &blocks.blocks {
                let (order, tables) = (&order[block.rows.rows()], self.tables_of(block.owner));
                events.embed(sequence, &self.columns, batch, tables, order, block.start);
            }
        }
        let x = x.as_slice_mut().expect(LINES);
        for block in &blocks.blocks {
            let (order, x) = (&order[block.rows.rows()], &mut x[block.values(self.width())]);
            let tables = self.tables_of(block.owner);
            embed_rows(&self.columns, batch, tables, order, x);
        }
    }

    /// Adds `dx[i]` to the gradients of the table rows that row `order[i]` read, block by block, and the gradients of its events. A table row
    /// that is read in several ways gets their sum.
    pub(super) fn backward(
        &self,
        batch: &Batch,
        order: &[u32],
        blocks: &Blocks,
        dx: &Array2<f32>,
        events: &[Events],
        grad: &mut [RowGrad],
    ) {
        let dx = dx.as_slice().expect(LINES);
        for block in &blocks.blocks {
            let dx = &dx[block.values(self.width())];
            // A branch whose rows have no label gives no gradient: neither it nor its tables are present in the step.
            if self.owners.is_empty() || dx.iter().any(|&d| d != 0.0) {
                let grad = &mut grad[block.owner * self.count..][..self.count];
                let order = &order[block.rows.rows()];
                scatter_rows(&self.columns, batch, order, dx, (events, block.start), grad);
            }
        }
    }

    /// Updates the tables; they have the first slots. A table that a branch owns and no row reads is absent from the step.
    pub(super) fn apply(&mut self, grad: &mut [RowGrad], frozen: &[bool], optimizer: &mut dyn Optimizer) {
        for (slot, (table, grad)) in self.tables.iter_mut().zip(grad).enumerate() {
            let present = self.owners.is_empty() || !grad.rows().is_empty();
            if present && frozen.get(slot) != Some(&true) {
                optimizer.rows(slot, table.as_slice_mut().expect(LINES), grad);
            }
        }
    }

    /// Visits the tables, as `embeddings.TABLE`, or `embeddings.BRANCH.TABLE` where branches own them.
    pub(super) fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter().enumerate() {
                let (owner, of_layout) = (i / self.count, i % self.count);
                let mut table = |path: &mut Path| tensor::visit(table, Decay::Towards(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Table(of_layout), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }

    /// Visits the tables as [`Embeddings::visit`] does, mutable.
    pub(super) fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter_mut().enumerate() {
                let (owner, of_layout) = (i / self.count, i % self.count);
                let mut table = |path: &mut Path| tensor::visit_mut(table, Decay::Towards(0.0), path, see);
                let mut table = |path: &mut Path| path.within(Part::Table(of_layout), &mut table);
                match self.owners.get(owner) {
                    Some(&branch) => path.within(Part::Branch(branch), table),
                    None => table(path),
                }
            }
        });
    }
}

/// Rows and width of each table of a configuration's layout.
fn shapes(config: &dyn NetConfig) -> impl Iterator<Item = (usize, usize)> {
    let dim = config.embedding_dim();
    config.layout().tables.iter().map(move |table| (table.rows, table.dim.unwrap_or(dim)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Ids, Layout, Pooling};
    use crate::model::{PooledConfig, SingleConfig};
    use crate::train::in_pool;

    const ROWS: usize = 3000;

    fn layout() -> Layout {
        Layout::new(["a", "b"], ["click"])
            .field("user", 700)
            .bag("tags", 40, Pooling::Mean)
            .bag("words", 90, Pooling::Sum)
            .bag("height", 30, Pooling::Interpolate)
            .numeric(["age", "price"])
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
            ids: vec![
                Ids::One((0..ROWS).map(|row| id(row, 700)).collect()),
                bags(40),
                bags(90),
                Ids::Interpolated {
                    ids: (0..ROWS).map(|row| id(row, 29)).collect(),
                    fractions: (0..ROWS).map(|row| (row % 9) as f32 / 8.0).collect(),
                },
            ],
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
        let segment = |domain, start, end| Segment { domain: DomainId::new(domain), start, end };
        let rows = embeddings.find_blocks(ROWS, &[segment(0, 0, 1100), segment(1, 1100, ROWS)], &mut blocks);
        let mut x = Array2::from_elem((rows, embeddings.width()), f32::NAN);
        let dx = Array2::from_shape_fn(x.dim(), |(i, j)| ((i * 31 + j * 17) % 101) as f32 / 64.0 - 0.5);
        let mut grad = embeddings.zero_grad();
        in_pool(threads, || {
            embeddings.forward(&batch, &order, &blocks, &mut x, &mut Vec::new());
            embeddings.backward(&batch, &order, &blocks, &dx, &[], &mut grad);
        })
        .unwrap();
        (embeddings, x, dx, grad)
    }

    fn follows_its_equations_on_any_number_of_threads(config: &dyn NetConfig, owners: usize) {
        let (embeddings, x, dx, grad) = run(config, 1);
        let (batch, dim) = (batch(), 5);
        assert_eq!((embeddings.tables.len(), x.nrows()), (4 * owners, ROWS));
        let mut dense: Vec<Array2<f64>> = embeddings.tables.iter().map(|table| Array2::zeros(table.dim())).collect();
        for row in 0..ROWS {
            let owner = if owners == 1 { 0 } else { usize::from(row >= 1100) };
            for (f, ids) in batch.ids.iter().enumerate() {
                // The table rows that are read, each with its weight.
                let read: Vec<(u32, f64)> = match ids {
                    Ids::Interpolated { ids, fractions } => {
                        let (id, fraction) = (ids[row], f64::from(fractions[row]));
                        vec![(id, 1.0 - fraction), (id + 1, fraction)]
                    }
                    ids => {
                        let ids = ids.row(row);
                        let share = if f == 1 { 1.0 / ids.len().max(1) as f64 } else { 1.0 };
                        ids.iter().map(|&id| (id, share)).collect()
                    }
                };
                let table = 4 * owner + f;
                for j in 0..dim {
                    let value =
                        |&(id, share): &(u32, f64)| share * f64::from(embeddings.tables[table][[id as usize, j]]);
                    let sum: f64 = read.iter().map(value).sum();
                    assert!((f64::from(x[[row, f * dim + j]]) - sum).abs() < 1e-6, "row {row}, field {f}");
                    for &(id, share) in &read {
                        dense[table][[id as usize, j]] += share * f64::from(dx[[row, f * dim + j]]);
                    }
                }
            }
            assert_eq!(x.row(row).to_vec()[4 * dim..], batch.numeric.row(row).to_vec());
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
