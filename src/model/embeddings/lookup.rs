//! The work of the embedding layer's two passes, cut so that threads share it: rows on the way forward, fields on the way back.

use ndarray::{Array2, ArrayViewMut2};

use super::{Embeddings, LINES};
use crate::data::{Batch, Field, Ids, Pooling};
use crate::nn::RowGrad;
use crate::parallel::Divide;
use crate::simd::Work;

/// How many values of `x` a thread writes at a time.
const PART: usize = 1 << 14;

/// Rows of `x` that are to be written, in parts of about [`PART`] values.
pub(super) struct Embed<'a> {
    pub(super) embeddings: &'a Embeddings,
    pub(super) batch: &'a Batch,
    pub(super) tables: &'a [Array2<f32>],
    pub(super) order: &'a [u32],
    pub(super) x: &'a mut [f32],
}

impl Embed<'_> {
    fn rows(&self) -> usize {
        PART.div_ceil(self.embeddings.width)
    }
}

impl Divide for Embed<'_> {
    fn pieces(&self) -> usize {
        if self.x.is_empty() { 0 } else { self.order.len().div_ceil(self.rows()) }
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let rows = pieces * self.rows();
        let (order, rest) = self.order.split_at(rows);
        let (x, rest_of_x) = self.x.split_at_mut(rows * self.embeddings.width);
        (Self { order, x, ..self }, Self { order: rest, x: rest_of_x, ..self })
    }
}

impl Work for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { embeddings, batch, tables, order, x } = self;
        let (dim, width) = (embeddings.dim, embeddings.width);
        for (f, ((field, table), ids)) in embeddings.fields.iter().zip(tables).zip(&batch.ids).enumerate() {
            let order = order.iter().map(|&row| row as usize);
            let rows = x.chunks_exact_mut(width).map(|x| &mut x[f * dim..][..dim]).zip(order);
            embed(field, table, ids, rows);
        }
        let first = embeddings.fields.len() * dim;
        let rows = x.chunks_exact_mut(width).map(|x| &mut x[first..]).zip(order);
        match batch.numeric.as_slice() {
            Some(numeric) => {
                for (x, &row) in rows {
                    x.copy_from_slice(&numeric[row as usize * x.len()..][..x.len()]);
                }
            }
            // A caller's matrix may lie in memory in another order.
            None => {
                for (x, &row) in rows {
                    x.iter_mut().zip(batch.numeric.row(row as usize)).for_each(|(x, &value)| *x = value);
                }
            }
        }
    }
}

/// Writes the vectors of one field for some rows of a batch.
#[inline(always)]
fn embed<'x>(field: &Field, table: &Array2<f32>, ids: &Ids, rows: impl Iterator<Item = (&'x mut [f32], usize)>) {
    let (values, dim) = (table.as_slice().expect(LINES), table.ncols());
    let embedding = |id: u32| &values[id as usize * dim..][..dim];
    match ids {
        Ids::One(ids) => {
            for (out, row) in rows {
                out.copy_from_slice(embedding(ids[row]));
            }
        }
        Ids::Bag { offsets, ids } => {
            for (out, row) in rows {
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

/// Some of the values of an embedded row, whole fields and numeric inputs, and where they go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Positions in the layout, and the first column that each is written to.
    fields: Vec<(usize, usize)>,
    numeric: Vec<(usize, usize)>,
}

impl Selection {
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.numeric.is_empty()
    }

    /// The positions of its fields in the layout.
    pub(crate) fn fields(&self) -> impl Iterator<Item = usize> {
        self.fields.iter().map(|&(f, _)| f)
    }

    /// The positions of its numeric inputs in the layout.
    pub(crate) fn numeric(&self) -> impl Iterator<Item = usize> {
        self.numeric.iter().map(|&(j, _)| j)
    }
}

impl Embeddings {
    /// The fields and numeric inputs at these positions, side by side. With them, their columns of the whole row.
    pub(crate) fn side_by_side(&self, fields: &[usize], numeric: &[usize]) -> (Selection, Vec<usize>) {
        let (dim, first) = (self.dim, self.fields.len() * self.dim);
        let of_fields = fields.iter().flat_map(|&f| f * dim..(f + 1) * dim);
        let columns = of_fields.chain(numeric.iter().map(|&j| first + j)).collect();
        let behind = fields.len() * dim;
        let selection = Selection {
            fields: fields.iter().enumerate().map(|(at, &f)| (f, at * dim)).collect(),
            numeric: numeric.iter().enumerate().map(|(at, &j)| (j, behind + at)).collect(),
        };
        (selection, columns)
    }

    /// Writes the selected values of neighbouring rows of a batch, from `start` on, as this owner's tables have them, into the rows of `x`.
    pub(crate) fn select(
        &self,
        selection: &Selection,
        owner: usize,
        batch: &Batch,
        start: usize,
        x: ArrayViewMut2<'_, f32>,
    ) {
        let width = x.ncols();
        if width == 0 {
            return;
        }
        let x = x.into_slice().expect(LINES);
        let tables = &self.tables[owner * self.fields.len()..];
        for &(f, at) in &selection.fields {
            let rows = x.chunks_exact_mut(width).map(|x| &mut x[at..][..self.dim]).zip(start..);
            let (field, ids) = (&self.fields[f], &batch.ids[f]);
            let bag = matches!(ids, Ids::Bag { .. });
            assert_eq!(
                bag,
                field.bag.is_some(),
                "field {:?}: a bag of ids a row where the layout has bags, else one id",
                field.name
            );
            embed(field, &tables[f], ids, rows);
        }
        for (x, row) in x.chunks_exact_mut(width).zip(start..) {
            for &(j, at) in &selection.numeric {
                x[at] = batch.numeric[[row, j]];
            }
        }
    }
}

/// Fields whose gradients are to be added to, each by itself.
pub(super) struct Scatter<'a> {
    pub(super) embeddings: &'a Embeddings,
    pub(super) batch: &'a Batch,
    pub(super) order: &'a [u32],
    pub(super) dx: &'a [f32],
    /// The first field's position.
    pub(super) first: usize,
    pub(super) grad: &'a mut [RowGrad],
}

impl Divide for Scatter<'_> {
    fn pieces(&self) -> usize {
        self.grad.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let (grad, rest) = self.grad.split_at_mut(pieces);
        (Self { grad, ..self }, Self { first: self.first + pieces, grad: rest, ..self })
    }
}

impl Work for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { embeddings, batch, order, dx, first, grad } = self;
        let dim = embeddings.dim;
        for (f, grad) in (first..).zip(grad) {
            let rows = dx.chunks_exact(embeddings.width).map(|dx| &dx[f * dim..][..dim]).zip(order);
            match &batch.ids[f] {
                Ids::One(ids) => {
                    for (dx, &row) in rows {
                        grad.touch(ids[row as usize]).iter_mut().zip(dx).for_each(|(d, &g)| *d += g);
                    }
                }
                Ids::Bag { offsets, ids } => {
                    for (dx, &row) in rows {
                        let ids = bag(offsets, ids, row as usize);
                        let share = share(&embeddings.fields[f], ids.len());
                        for &id in ids {
                            grad.touch(id).iter_mut().zip(dx).for_each(|(d, &g)| *d += share * g);
                        }
                    }
                }
            }
        }
    }
}

/// The ids of one row of a bag.
fn bag<'a>(offsets: &[u32], ids: &'a [u32], row: usize) -> &'a [u32] {
    &ids[offsets[row] as usize..offsets[row + 1] as usize]
}

/// What each of `len` embeddings counts for in a bag's vector.
fn share(field: &Field, len: usize) -> f32 {
    match field.bag {
        Some(Pooling::Mean) if len > 0 => 1.0 / len as f32,
        _ => 1.0,
    }
}
