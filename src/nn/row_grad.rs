//! The gradient of an embedding table: only the rows that the step read.

use crate::math::dot_f64;

const ABSENT: u32 = u32::MAX;

/// The gradient of an embedding table. A training step reads only few rows of a table, so this type keeps a list of these rows and a
/// gradient for each.
///
/// Each row is listed once, in the order of first use. To find a row in the list without hashing, the type also keeps an array with 4 bytes
/// for each row of the table.
#[derive(Debug, Clone)]
pub struct RowGrad {
    dim: usize,
    position: Vec<u32>,
    rows: Vec<u32>,
    values: Vec<f32>,
}

impl RowGrad {
    /// An empty gradient for a table with `rows` rows. `dim` is the number of values of a row.
    pub fn new(rows: usize, dim: usize) -> Self {
        Self { dim, position: vec![ABSENT; rows], rows: Vec::new(), values: Vec::new() }
    }

    /// The number of values of a row of the table.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The numbers of the table rows that have a gradient, in the order of their first use in the step. Each number is listed once.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The gradients of the rows that [`RowGrad::rows`] lists, in the same order: `rows().len() · dim()` values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values of [`RowGrad::values`], to change them, for example to scale or to clip the gradient.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The gradient of the table row with the number `row`, `dim` values. `None` if the row has no gradient, because the step did not read
    /// it.
    ///
    /// # Panics
    /// If `row` is not below the number of rows of the table.
    #[inline]
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let at = self.position[row];
        (at != ABSENT).then(|| &self.values[at as usize * self.dim..][..self.dim])
    }

    /// The gradient of the table row with the number `row`, `dim` values, for a backward pass to add to. If the row has no gradient yet, it
    /// is added to the list with the values 0.
    ///
    /// # Panics
    /// If `row` is not below the number of rows of the table.
    #[inline]
    pub fn touch(&mut self, row: u32) -> &mut [f32] {
        let position = &mut self.position[row as usize];
        if *position == ABSENT {
            *position = self.rows.len() as u32;
            self.rows.push(row);
            self.values.resize(self.values.len() + self.dim, 0.0);
        }
        &mut self.values[*position as usize * self.dim..][..self.dim]
    }

    /// Adds `scale` times another gradient of the same table.
    pub(crate) fn add_scaled(&mut self, scale: f32, other: &Self) {
        for (&row, values) in other.rows.iter().zip(other.values.chunks_exact(other.dim)) {
            self.touch(row).iter_mut().zip(values).for_each(|(sum, value)| *sum += scale * value);
        }
    }

    /// The inner product with another gradient of the same table.
    pub(crate) fn dot(&self, other: &Self) -> f64 {
        if self.rows == other.rows {
            return dot_f64(&self.values, &other.values);
        }
        let rows = self.rows.iter().zip(self.values.chunks_exact(self.dim));
        rows.filter_map(|(&row, values)| Some(dot_f64(values, other.row(row as usize)?))).sum()
    }

    /// Removes the gradients of all rows, so that the next step can start. It does not free the memory.
    pub fn clear(&mut self) {
        for &row in &self.rows {
            self.position[row as usize] = ABSENT;
        }
        self.rows.clear();
        self.values.clear();
    }
}
