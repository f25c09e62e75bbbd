//! The gradient of an embedding table: only the rows that the step read.

use crate::math::dot_f64;

const ABSENT: u32 = u32::MAX;

/// The gradient of an embedding table, of which a step reads few rows: a list of rows, and a gradient for each.
///
/// Each row is listed once, in the order of first use. An array from table row to position (4 bytes for each row of the table) replaces
/// hashing.
#[derive(Debug, Clone)]
pub struct RowGrad {
    dim: usize,
    position: Vec<u32>,
    rows: Vec<u32>,
    values: Vec<f32>,
}

impl RowGrad {
    /// An empty gradient for a table of `rows` rows of `dim` values.
    pub fn new(rows: usize, dim: usize) -> Self {
        Self { dim, position: vec![ABSENT; rows], rows: Vec::new(), values: Vec::new() }
    }

    /// The number of values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The touched rows, in the order of their first use.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The gradients of [`RowGrad::rows`], one after the other: `rows().len() · dim()` values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values of all rows that have a gradient, for changes: scaling and clipping.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The gradient of one table row, or `None` if the step did not read it.
    ///
    /// # Panics
    /// If the table has no such row.
    #[inline]
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let at = self.position[row];
        (at != ABSENT).then(|| &self.values[at as usize * self.dim..][..self.dim])
    }

    /// The gradient of this table row, to add to; zero at its first use in the step.
    ///
    /// # Panics
    /// If the table has no such row.
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

    /// Removes all rows; keeps the memory.
    pub fn clear(&mut self) {
        for &row in &self.rows {
            self.position[row as usize] = ABSENT;
        }
        self.rows.clear();
        self.values.clear();
    }
}
