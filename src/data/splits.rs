//! Rows to learn from, to stop by, and to be judged on.

use std::sync::Arc;

use super::{Batch, Encoder, Layout, Schema, Table};
use crate::Result;

/// The three splits of a log, encoded.
#[derive(Debug, Clone)]
pub struct Splits {
    /// What encoded them, fitted on the first part; none where rows never were text.
    pub encoder: Option<Encoder>,
    /// Fields, domains and tasks of all three.
    pub layout: Layout,
    /// What models learn from.
    pub train: Arc<Batch>,
    /// What early stop and the choice of the best epoch look at.
    pub val: Batch,
    /// What models are judged by. No training run sees it.
    pub test: Batch,
}

impl Splits {
    /// Encodes these rows of these tables: those to learn from, to stop by, and to be judged on. Vocabularies, scales
    /// and domains are fitted on the first alone.
    ///
    /// # Errors
    /// Those of [`Encoder::fit`] and [`Encoder::encode`].
    pub fn encode(schema: &Schema, parts: [(&Table, &[u32]); 3]) -> Result<Self> {
        let [(table, rows), ..] = parts;
        let encoder = Encoder::fit(schema, table, rows)?;
        let [train, val, test] = parts.map(|(table, rows)| encoder.encode(table, rows));
        let layout = encoder.layout().clone();
        Ok(Self { encoder: Some(encoder), layout, train: Arc::new(train?), val: val?, test: test? })
    }

    /// The same of one table whose split column holds `train`, `val` and `test`.
    ///
    /// # Errors
    /// Those of [`Table::split`], [`Encoder::fit`] and [`Encoder::encode`].
    pub fn of_table(schema: &Schema, table: &Table) -> Result<Self> {
        let [train, val, test] = ["train", "val", "test"].map(|split| table.split(split));
        Self::encode(schema, [(table, &train?), (table, &val?), (table, &test?)])
    }
}
