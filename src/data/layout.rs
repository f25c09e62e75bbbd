//! What a model needs to know about its input: fields, numeric columns, domains and tasks, by name and size.

use serde::{Deserialize, Serialize};

/// How the embeddings of a bag's values become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their mean (the default), so that long bags do not shout.
    #[default]
    Mean,
}

/// One embedded field of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Rows of its embedding table; ids are `0 .. rows`. Row 0 is the out-of-vocabulary row of a fitted vocabulary.
    pub rows: usize,
    /// `None`: one id a row. `Some`: a bag of any number of ids a row, pooled this way.
    pub bag: Option<Pooling>,
}

/// The shape of encoded rows, by name: what the model's front, its net and a data source must agree on.
///
/// An [`Encoder`](super::Encoder) derives it from data; write it by hand for rows that are already ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layout {
    /// The embedded fields, in the order of their columns in the model's input.
    pub fields: Vec<Field>,
    /// The numeric inputs, behind the fields.
    pub numeric: Vec<String>,
    /// The domains; a [`DomainId`](super::DomainId) is a position in this list.
    pub domains: Vec<String>,
    /// The tasks: the columns of labels and logits.
    pub tasks: Vec<String>,
}
