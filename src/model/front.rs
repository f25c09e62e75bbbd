//! The embedding front: from ids and numbers to the rows a net reads.

use ndarray::{Array2, ArrayRef2, s};

use super::NetConfig;
use crate::data::{Batch, Field, Ids, Pooling};
use crate::nn::{Decay, Draws, Leaf, LeafMut, Part, Path, RowGrad, tensor};
use crate::optim::Optimizer;

/// One embedding table for each field, and the numeric inputs behind them: `x = [e_1, …, e_F, numeric]`, `[rows, width]`.
///
/// Tables start from a normal distribution of deviation `embedding_std`. Gradients are those of the rows that a batch
/// reads ([`RowGrad`]), so a step costs the same whatever the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    fields: Vec<Field>,
    tables: Vec<Array2<f32>>,
    dim: usize,
    width: usize,
}

impl Front {
    pub(super) fn new(config: &impl NetConfig) -> Self {
        let (fields, dim) = (config.layout().fields.clone(), config.embedding_dim());
        let draws = &mut Draws::new(config.seed());
        let tables = fields.iter().map(|field| draws.normal(field.rows, dim, config.embedding_std())).collect();
        Self { fields, tables, dim, width: config.width() }
    }

    /// How many values an embedded row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The tables, `[rows, dim]`, in the order of the layout's fields.
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

    /// `x[i] = [e_1, …, numeric]` of row `order[i]`.
    pub(super) fn forward(&self, batch: &Batch, order: &[u32], x: &mut ArrayRef2<f32>) {
        let dim = self.dim;
        for (f, ((field, table), ids)) in self.fields.iter().zip(&self.tables).zip(&batch.ids).enumerate() {
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

    /// Adds `dx[i]` to the gradients of the table rows that row `order[i]` read.
    pub(super) fn backward(&self, batch: &Batch, order: &[u32], dx: &ArrayRef2<f32>, grad: &mut [RowGrad]) {
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

    /// Moves the tables; they take the first slots.
    pub(super) fn apply(&mut self, grad: &mut [RowGrad], optimizer: &mut dyn Optimizer) {
        for (slot, (table, grad)) in self.tables.iter_mut().zip(grad).enumerate() {
            optimizer.rows(slot, table.as_slice_mut().expect("tables are kept in standard layout"), grad);
            grad.clear();
        }
    }

    /// Walks the tables, as `embeddings.FIELD`.
    pub(super) fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter().enumerate() {
                path.within(Part::Input(i), |path| tensor::visit(table, Decay::To(0.0), path, see));
            }
        });
    }

    /// The same for a walk that may change them.
    pub(super) fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        path.within(Part::Field("embeddings"), |path| {
            for (i, table) in self.tables.iter_mut().enumerate() {
                path.within(Part::Input(i), |path| tensor::visit_mut(table, Decay::To(0.0), path, see));
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
