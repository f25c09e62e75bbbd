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
    pub(crate) sequences: Vec<SequenceColumns>,
    pub(crate) width: usize,
}

/// The columns of a sequence that is pooled by attention. The lists' embeddings stand side by side in a key, and so do those of their targets
/// in a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SequenceColumns {
    /// The positions of the fields of its lists.
    pub(crate) fields: Vec<usize>,
    /// The positions of the fields of its targets.
    pub(crate) targets: Vec<usize>,
    /// The columns of a row that are its query, and those that its pooled events are written to: for each list.
    pub(crate) query: Vec<Range<usize>>,
    pub(crate) pooled: Vec<Range<usize>>,
    /// The width of keys and queries.
    pub(crate) dim: usize,
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
    /// If attention pools it: the position of the sequence, and the first of its columns in a key.
    pub(crate) event: Option<(usize, usize)>,
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
    /// If a field reads a table, or a sequence a field, that the layout does not have.
    pub(crate) fn new(layout: &Layout, embedding_dim: usize) -> Self {
        let tables = positions(layout);
        let mut width = 0;
        let fields = layout.fields.iter().map(|field| {
            let table = *tables.get(&*field.table).expect("a field reads a table of its layout");
            let dim = layout.tables[table].dim.unwrap_or(embedding_dim);
            let columns = FieldColumns { table, dim, bag: field.bag, start: width, event: None };
            width = columns.all().end;
            columns
        });
        let mut fields: Vec<FieldColumns> = fields.collect();
        let sequences = sequences(layout, &mut fields);
        let mut readers = vec![Vec::new(); layout.tables.len()];
        for (f, field) in fields.iter().enumerate() {
            readers[field.table].push(f);
        }
        Self { fields, readers, sequences, width: width + layout.numeric.len() }
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

fn sequences(layout: &Layout, fields: &mut [FieldColumns]) -> Vec<SequenceColumns> {
    let position = |name: &String| layout.fields.iter().position(|field| field.name == *name);
    let positions = |names: &[String]| -> Vec<usize> {
        names.iter().map(|name| position(name).expect("a sequence reads fields of its layout")).collect()
    };
    let sequence = |(s, own): (usize, &super::AttendedSequence)| {
        let (bags, targets) = (positions(&own.fields), positions(&own.targets));
        let mut dim = 0;
        for &bag in &bags {
            fields[bag].event = Some((s, dim));
            dim += fields[bag].dim;
        }
        let columns = |fields: &[FieldColumns], of: &[usize]| of.iter().map(|&f| fields[f].values()).collect();
        let (query, pooled) = (columns(fields, &targets), columns(fields, &bags));
        SequenceColumns { fields: bags, targets, query, pooled, dim }
    };
    layout.sequences.iter().enumerate().map(sequence).collect()
}

fn positions(layout: &Layout) -> HashMap<&str, usize> {
    layout.tables.iter().enumerate().map(|(i, table)| (&*table.name, i)).collect()
}
