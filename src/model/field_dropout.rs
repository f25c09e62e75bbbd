//! Dropout of whole fields.

use ndarray::Array2;

use super::embeddings::Blocks;
use crate::data::InputColumns;
use crate::nn::{Train, fill_from};
use crate::random::{Purpose, keyed};

/// Dropout of whole fields: in training, the embedding of a field is 0 in a row with probability `rate`, and else multiplied by
/// `1/(1 − rate)`. Where a field keeps its values apart, all of them are dropped, and the column that counts them is 0.
///
/// The random numbers depend on seed, step, the number of the row in the step, and the field. Numeric inputs are never dropped.
#[derive(Debug, Default)]
pub(super) struct FieldDropout {
    /// Two bytes for each row of the batch and field.
    draws: Vec<u8>,
}

impl FieldDropout {
    /// Draws the fields to drop for `rows` rows of a step, and drops them from the embedded rows.
    pub(super) fn forward(
        &mut self,
        rate: f32,
        step: Train,
        columns: &InputColumns,
        (order, blocks): (&[u32], &Blocks),
        x: &mut Array2<f32>,
    ) {
        let row = 2 * columns.fields.len();
        self.draws.resize(row * order.len(), 0);
        let mut rng = keyed(step.seed, Purpose::FieldDropout, step.step, 0);
        fill_from(&mut rng, u128::from(step.first_row) * row as u128, &mut self.draws);
        self.each(rate, columns, (order, blocks), x, |field, x, kept| {
            scale(&mut x[field.values()], kept);
            if let (Some(filled), None) = (field.filled(), kept) {
                x[filled] = 0.0;
            }
        });
    }

    /// The gradient of the embedded rows before dropout, in place.
    pub(super) fn backward(
        &self,
        rate: f32,
        columns: &InputColumns,
        (order, blocks): (&[u32], &Blocks),
        dx: &mut Array2<f32>,
    ) {
        self.each(rate, columns, (order, blocks), dx, |field, dx, kept| scale(&mut dx[field.values()], kept));
    }

    /// Calls `see` for each field of each embedded row: `None` if it is dropped, otherwise its factor.
    fn each(
        &self,
        rate: f32,
        columns: &InputColumns,
        (order, blocks): (&[u32], &Blocks),
        x: &mut Array2<f32>,
        mut see: impl FnMut(crate::data::FieldColumns, &mut [f32], Option<f32>),
    ) {
        let threshold = (f64::from(rate) * 65536.0).round() as u16;
        let factor = 1.0 / (1.0 - f32::from(threshold) / 65536.0);
        let (width, fields) = (columns.width, columns.fields.len());
        let x = x.as_slice_mut().expect("x is in standard layout");
        for (values, rows) in blocks.ranges(width) {
            for (x, &row) in x[values].chunks_exact_mut(width).zip(&order[rows]) {
                let draws = self.draws[2 * fields * row as usize..].chunks_exact(2);
                for (&field, draw) in columns.fields.iter().zip(draws) {
                    let kept = u16::from_le_bytes([draw[0], draw[1]]) >= threshold;
                    see(field, x, kept.then_some(factor));
                }
            }
        }
    }
}

fn scale(values: &mut [f32], kept: Option<f32>) {
    match kept {
        Some(factor) => values.iter_mut().for_each(|value| *value *= factor),
        None => values.fill(0.0),
    }
}
