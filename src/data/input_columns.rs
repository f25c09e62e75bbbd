//! The columns of the fields in an embedded row.

use std::collections::HashMap;
use std::ops::Range;

use super::{Layout, Pooling};

/// The columns of an embedded row: fields in the layout's order, then the numeric inputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputColumns {
    pub(crate) fields: Vec<FieldColumns>,
    /// By table, the positions of the fields that read it.
    pub(crate) readers: Vec<Vec<usize>>,
    pub(crate) width: usize,
}

/// The columns of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FieldColumns {
    /// The position of its table.
    pub(crate) table: usize,
    /// The width of the table.
    pub(crate) dim: usize,
    pub(crate) bag: Option<Pooling>,
    /// The first of its columns.
    pub(crate) start: usize,
}

impl FieldColumns {
    /// The columns of its embeddings: one vector, or as many as it keeps.
    pub(crate) fn values(&self) -> Range<usize> {
        let vectors = if let Some(Pooling::Keep(n)) = self.bag { n } else { 1 };
        self.start..self.start + vectors * self.dim
    }

    /// If the field keeps its values, the column that says how many of the `n` a row has.
    pub(crate) fn filled(&self) -> Option<usize> {
        matches!(self.bag, Some(Pooling::Keep(_))).then(|| self.values().end)
    }

    /// All of its columns.
    pub(crate) fn all(&self) -> Range<usize> {
        let values = self.values();
        values.start..values.end + usize::from(self.filled().is_some())
    }
}

impl InputColumns {
    /// The columns in rows of a layout.
    ///
    /// # Panics
    /// If a field reads a table that the layout does not have.
    pub(crate) fn new(layout: &Layout, embedding_dim: usize) -> Self {
        let tables = positions(layout);
        let mut width = 0;
        let fields = layout.fields.iter().map(|field| {
            let table = *tables.get(&*field.table).expect("a field reads a table of its layout");
            let dim = layout.tables[table].dim.unwrap_or(embedding_dim);
            let columns = FieldColumns { table, dim, bag: field.bag, start: width };
            width = columns.all().end;
            columns
        });
        let fields: Vec<FieldColumns> = fields.collect();
        let mut readers = vec![Vec::new(); layout.tables.len()];
        for (f, field) in fields.iter().enumerate() {
            readers[field.table].push(f);
        }
        Self { fields, readers, width: width + layout.numeric.len() }
    }

    /// The width of the rows, for settings that were not checked: no sum overflows.
    pub(crate) fn width_f64(layout: &Layout, embedding_dim: usize) -> f64 {
        let tables = positions(layout);
        let width = |field: &super::Field| {
            let dim = tables.get(&*field.table).and_then(|&table| layout.tables[table].dim);
            let dim = dim.unwrap_or(embedding_dim) as f64;
            if let Some(Pooling::Keep(n)) = field.bag { n as f64 * dim + 1.0 } else { dim }
        };
        layout.fields.iter().map(width).sum::<f64>() + layout.numeric.len() as f64
    }
}

fn positions(layout: &Layout) -> HashMap<&str, usize> {
    layout.tables.iter().enumerate().map(|(i, table)| (&*table.name, i)).collect()
}
