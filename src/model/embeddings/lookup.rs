//! The two passes of the embedding layer, divided among threads: by rows in the forward pass, by tables in the backward pass.

use ndarray::{Array2, ArrayViewMut2};

use super::{Embeddings, LINES};
use crate::data::{Batch, FieldColumns, Ids, InputColumns, Pooling, SequenceColumns};
use crate::nn::Ragged;
use crate::nn::RowGrad;
use crate::nn::buffer::resize;
use crate::parallel::{Lines, wide_blocks};

/// The number of values of `x` that a thread writes at a time.
const PART: usize = 1 << 14;

/// Writes the rows `order` of a batch into the rows of `x`, in parts of about [`PART`] values.
pub(super) fn embed_rows(columns: &InputColumns, batch: &Batch, tables: &[Array2<f32>], order: &[u32], x: &mut [f32]) {
    let width = columns.width;
    if x.is_empty() {
        return;
    }
    wide_blocks(
        order.len(),
        PART.div_ceil(width),
        (order, Lines(x, width)),
        #[inline(always)]
        |(order, Lines(x, _))| {
            let mut first = 0;
            for (field, ids) in columns.fields.iter().zip(&batch.ids) {
                let (own, order) = (field.all(), order.iter().map(|&row| row as usize));
                first = own.end;
                // Attention of the target writes these columns.
                if field.event.is_some() {
                    continue;
                }
                let rows = x.chunks_exact_mut(width).map(|x| &mut x[own.clone()]).zip(order);
                embed(*field, &tables[field.table], ids, rows);
            }
            let rows = x.chunks_exact_mut(width).map(|x| &mut x[first..]).zip(order);
            match batch.numeric.as_slice() {
                Some(numeric) => {
                    for (x, &row) in rows {
                        x.copy_from_slice(&numeric[row as usize * x.len()..][..x.len()]);
                    }
                }
                // A caller's matrix may be in another memory layout.
                None => {
                    for (x, &row) in rows {
                        x.iter_mut().zip(batch.numeric.row(row as usize)).for_each(|(x, &value)| *x = value);
                    }
                }
            }
        },
    );
}

/// Writes the columns of one field for some rows of a batch.
#[inline(always)]
fn embed<'x>(field: FieldColumns, table: &Array2<f32>, ids: &Ids, rows: impl Iterator<Item = (&'x mut [f32], usize)>) {
    let (values, dim) = (table.as_slice().expect(LINES), field.dim);
    let embedding = |id: u32| &values[id as usize * dim..][..dim];
    match (ids, field.bag) {
        (Ids::One(ids), _) => {
            for (out, row) in rows {
                out.copy_from_slice(embedding(ids[row]));
            }
        }
        (Ids::Interpolated { ids, fractions }, _) => {
            for (out, row) in rows {
                let (id, fraction) = (ids[row], fractions[row]);
                out.copy_from_slice(embedding(id));
                if fraction > 0.0 {
                    out.iter_mut().zip(embedding(id + 1)).for_each(|(out, &next)| *out += fraction * (next - *out));
                }
            }
        }
        (Ids::Bag { offsets, ids }, Some(Pooling::Keep(n))) => {
            for (out, row) in rows {
                let kept = kept(offsets, ids, row, n);
                let (filled, out) = out.split_last_mut().expect("a column for how many there are");
                *filled = kept.len() as f32 / n as f32;
                let (own, rest) = out.split_at_mut(kept.len() * dim);
                own.chunks_exact_mut(dim).zip(kept).for_each(|(out, &id)| out.copy_from_slice(embedding(id)));
                rest.fill(0.0);
            }
        }
        (Ids::Bag { offsets, ids }, pooling) => {
            for (out, row) in rows {
                out.fill(0.0);
                let ids = bag(offsets, ids, row);
                let share = share(pooling, ids.len());
                for &id in ids {
                    out.iter_mut().zip(embedding(id)).for_each(|(out, &e)| *out += share * e);
                }
            }
        }
    }
}

/// Some fields and numeric inputs of an embedded row, and the columns they are written to.
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

    /// The positions of its numeric inputs in the layout.
    pub(crate) fn numeric(&self) -> impl Iterator<Item = usize> {
        self.numeric.iter().map(|&(j, _)| j)
    }
}

impl Embeddings {
    /// Selects the fields and numeric inputs at these positions. Also returns their columns in the whole row.
    pub(crate) fn side_by_side(&self, fields: &[usize], numeric: &[usize]) -> (Selection, Vec<usize>) {
        let first = self.columns.fields.last().map_or(0, |field| field.all().end);
        let (mut selection, mut columns) = (Selection::default(), Vec::new());
        for &f in fields {
            selection.fields.push((f, columns.len()));
            columns.extend(self.columns.fields[f].all());
        }
        for &j in numeric {
            selection.numeric.push((j, columns.len()));
            columns.push(first + j);
        }
        (selection, columns)
    }

    /// Makes the events of the rows `order` of a batch in one sequence, by this owner's tables.
    pub(crate) fn gather_events(
        &self,
        sequence: usize,
        owner: usize,
        batch: &Batch,
        order: &[u32],
        events: &mut Events,
    ) {
        let sequence = &self.columns.sequences[sequence];
        events.restart();
        events.add_rows(&batch.ids[sequence.fields[0]], order);
        events.fit(sequence.dim);
        events.embed(sequence, &self.columns, batch, self.tables_of(owner), order, 0);
    }

    /// Embeds the selected inputs of the batch's rows from `start` on by this owner's tables, into the rows of `x`.
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
        let tables = self.tables_of(owner);
        for &(f, at) in &selection.fields {
            let (field, ids) = (self.columns.fields[f], &batch.ids[f]);
            let count = field.all().len();
            let rows = x.chunks_exact_mut(width).map(|x| &mut x[at..][..count]).zip(start..);
            assert!(ids.is_of(field.bag), "field {f}: a bag of ids a row where the layout has bags, else one id");
            // Attention of the target writes these columns.
            if field.event.is_some() {
                continue;
            }
            embed(field, &tables[field.table], ids, rows);
        }
        for (x, row) in x.chunks_exact_mut(width).zip(start..) {
            for &(j, at) in &selection.numeric {
                x[at] = batch.numeric[[row, j]];
            }
        }
    }
}

/// Adds `dx[i]` to the gradients of the table rows that row `order[i]` read, one gradient for each table. `first` is the position of the
/// first of these rows among those that `events` have.
pub(super) fn scatter_rows(
    columns: &InputColumns,
    batch: &Batch,
    order: &[u32],
    dx: &[f32],
    (events, first): (&[Events], usize),
    grad: &mut [RowGrad],
) {
    wide_blocks(
        grad.len(),
        1,
        (0..grad.len(), grad),
        #[inline(always)]
        |(tables, grad)| {
            for (table, grad) in tables.zip(grad) {
                for &f in &columns.readers[table] {
                    let field = columns.fields[f];
                    if let Some((sequence, at)) = field.event {
                        scatter_events(field, at, &batch.ids[f], order, &events[sequence], first, grad);
                        continue;
                    }
                    let rows = dx.chunks_exact(columns.width).map(|dx| &dx[field.values()]).zip(order);
                    scatter(field, &batch.ids[f], rows, grad);
                }
            }
        },
    );
}

/// Adds the gradients of one field's vectors to those of the table's rows.
#[inline(always)]
fn scatter<'x>(field: FieldColumns, ids: &Ids, rows: impl Iterator<Item = (&'x [f32], &'x u32)>, grad: &mut RowGrad) {
    match (ids, field.bag) {
        (Ids::One(ids), _) => {
            for (dx, &row) in rows {
                grad.touch(ids[row as usize]).iter_mut().zip(dx).for_each(|(d, &g)| *d += g);
            }
        }
        (Ids::Interpolated { ids, fractions }, _) => {
            for (dx, &row) in rows {
                let (id, fraction) = (ids[row as usize], fractions[row as usize]);
                grad.touch(id).iter_mut().zip(dx).for_each(|(d, &g)| *d += (1.0 - fraction) * g);
                if fraction > 0.0 {
                    grad.touch(id + 1).iter_mut().zip(dx).for_each(|(d, &g)| *d += fraction * g);
                }
            }
        }
        (Ids::Bag { offsets, ids }, Some(Pooling::Keep(n))) => {
            for (dx, &row) in rows {
                for (&id, dx) in kept(offsets, ids, row as usize, n).iter().zip(dx.chunks_exact(field.dim)) {
                    grad.touch(id).iter_mut().zip(dx).for_each(|(d, &g)| *d += g);
                }
            }
        }
        (Ids::Bag { offsets, ids }, pooling) => {
            for (dx, &row) in rows {
                let ids = bag(offsets, ids, row as usize);
                let share = share(pooling, ids.len());
                for &id in ids {
                    grad.touch(id).iter_mut().zip(dx).for_each(|(d, &g)| *d += share * g);
                }
            }
        }
    }
}

/// The events of an attended sequence: those of the first embedded row, then those of the second, and so on.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Where each row's events start; one more entry than there are embedded rows.
    pub(crate) offsets: Vec<u32>,
    /// The embeddings of an event's values side by side, `[events, dim]`, and their gradient.
    pub(crate) keys: Array2<f32>,
    pub(crate) dkeys: Array2<f32>,
}

impl Events {
    /// Starts a list of events that has no rows yet.
    pub(super) fn restart(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
    }

    /// Adds the rows `order` of a batch, and returns the position of the first of them. `of` is one field of the sequence.
    pub(super) fn add_rows(&mut self, of: &Ids, order: &[u32]) {
        let mut end = *self.offsets.last().expect("a list of events was started");
        self.offsets.extend(order.iter().map(|&row| {
            end += of.row(row as usize).len() as u32;
            end
        }));
    }

    /// Makes room for the keys of all rows.
    pub(super) fn fit(&mut self, dim: usize) {
        let events = *self.offsets.last().expect("a list of events was started") as usize;
        resize(&mut self.keys, events, dim);
        resize(&mut self.dkeys, events, dim);
    }

    /// Writes the keys of the rows `order`, of which `first` is the position of the first.
    pub(super) fn embed(
        &mut self,
        sequence: &SequenceColumns,
        columns: &InputColumns,
        batch: &Batch,
        tables: &[Array2<f32>],
        order: &[u32],
        first: usize,
    ) {
        let offsets = &self.offsets[first..=first + order.len()];
        let (start, end) = (offsets[0] as usize, offsets[order.len()] as usize);
        let dim = sequence.dim;
        let values = &mut self.keys.as_slice_mut().expect(LINES)[start * dim..end * dim];
        wide_blocks(
            order.len(),
            PART.div_ceil(dim * end.saturating_sub(start).div_ceil(order.len().max(1)).max(1)),
            (order, Ragged { values, offsets, width: dim }),
            #[inline(always)]
            |(order, mut keys)| {
                for &f in &sequence.fields {
                    let (field, ids) = (columns.fields[f], &batch.ids[f]);
                    let table = tables[field.table].as_slice().expect(LINES);
                    let at = field.event.map_or(0, |(_, at)| at);
                    for ((_, keys), &row) in keys.rows().zip(order) {
                        for (key, &id) in keys.chunks_exact_mut(dim).zip(ids.row(row as usize)) {
                            key[at..at + field.dim].copy_from_slice(&table[id as usize * field.dim..][..field.dim]);
                        }
                    }
                }
            },
        );
    }
}

/// Adds the gradients of a list's part of the keys to those of the table's rows.
fn scatter_events(
    field: FieldColumns,
    at: usize,
    ids: &Ids,
    order: &[u32],
    events: &Events,
    first: usize,
    grad: &mut RowGrad,
) {
    let (dim, dkeys) = (events.dkeys.ncols(), events.dkeys.as_slice().expect(LINES));
    for (&row, &start) in order.iter().zip(&events.offsets[first..]) {
        let dkeys = dkeys[start as usize * dim..].chunks_exact(dim);
        for (&id, dkey) in ids.row(row as usize).iter().zip(dkeys) {
            grad.touch(id).iter_mut().zip(&dkey[at..at + field.dim]).for_each(|(d, &g)| *d += g);
        }
    }
}

/// The ids of one row of a bag.
fn bag<'a>(offsets: &[u32], ids: &'a [u32], row: usize) -> &'a [u32] {
    &ids[offsets[row] as usize..offsets[row + 1] as usize]
}

/// The ids of one row of a bag, of which at most `n` are kept.
fn kept<'a>(offsets: &[u32], ids: &'a [u32], row: usize, n: usize) -> &'a [u32] {
    let ids = bag(offsets, ids, row);
    &ids[..ids.len().min(n)]
}

/// The weight of each of `len` embeddings in a bag's vector.
fn share(pooling: Option<Pooling>, len: usize) -> f32 {
    match pooling {
        Some(Pooling::Mean) if len > 0 => 1.0 / len as f32,
        _ => 1.0,
    }
}
