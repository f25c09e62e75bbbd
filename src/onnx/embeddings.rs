//! The embedding layer: ids and numbers in, embedded rows out.

use ndarray::Array2;

use super::graph::{Dim, Graph, Tensor};
use super::proto::{FLOAT, INT64};
use super::{Attribute, NUMERIC, ROWS};
use crate::data::{Field, Layout, Pooling};
use crate::model::Embeddings;

/// The ids of one field, as its tables are read.
enum Ids {
    /// `[rows]`.
    One(Tensor),
    /// `[rows, length]`, and what each counts for, `[rows, length, 1]`: nothing where there is none.
    Bag { ids: Tensor, shares: Tensor },
}

/// The inputs of a graph.
pub(super) struct Rows<'m> {
    fields: Vec<Ids>,
    numeric: Option<Tensor>,
    /// The fields' tables, one owner's after the other's.
    tables: &'m [Array2<f32>],
}

impl<'m> Rows<'m> {
    /// Adds the inputs to a graph.
    pub(super) fn new(graph: &mut Graph<'_>, layout: &Layout, embeddings: &'m Embeddings) -> Self {
        let fields = layout.fields.iter().map(|field| read(graph, field)).collect();
        let count = layout.numeric.len();
        let numeric = (count > 0).then(|| graph.input(NUMERIC, FLOAT, &[Dim::Named(ROWS), Dim::Fixed(count)]));
        Self { fields, numeric, tables: embeddings.tables() }
    }

    /// `x = [e_1, …, e_F, numeric]`, `[rows, width]`, by the tables of one owner.
    pub(super) fn embed(&self, graph: &mut Graph<'_>, owner: usize) -> Tensor {
        let tables = &self.tables[owner * self.fields.len()..];
        let mut parts: Vec<_> = self.fields.iter().zip(tables).map(|(ids, table)| look_up(graph, ids, table)).collect();
        parts.extend(self.numeric);
        graph.concat(&parts, 1)
    }
}

/// The input of one field. In a bag, an id below 0 is none.
fn read(graph: &mut Graph<'_>, field: &Field) -> Ids {
    let Some(pooling) = field.bag else {
        return Ids::One(graph.input(&field.name, INT64, &[Dim::Named(ROWS)]));
    };
    let length = format!("{} length", field.name);
    let ids = graph.input(&field.name, INT64, &[Dim::Named(ROWS), Dim::Named(&length)]);
    let zero = graph.integers(&[0]);
    let there = graph.node("GreaterOrEqual", &[ids, zero], &[]);
    let mut shares = graph.node("Cast", &[there], &[("to", Attribute::Int(FLOAT.into()))]);
    if pooling == Pooling::Mean {
        let axis = graph.integers(&[1]);
        let count = graph.node("ReduceSum", &[shares, axis], &[]);
        let one = graph.number(1.0);
        let count = graph.node("Max", &[count, one], &[]);
        shares = graph.node("Div", &[shares, count], &[]);
    }
    let ids = graph.node("Max", &[ids, zero], &[]);
    Ids::Bag { ids, shares: graph.unsqueeze(shares, 2) }
}

/// The vectors of one field, `[rows, dim]`.
fn look_up(graph: &mut Graph<'_>, ids: &Ids, table: &Array2<f32>) -> Tensor {
    let table = graph.constant(table);
    match *ids {
        Ids::One(ids) => graph.node("Gather", &[table, ids], &[]),
        Ids::Bag { ids, shares } => {
            let vectors = graph.node("Gather", &[table, ids], &[]);
            let weighed = graph.mul(vectors, shares);
            let axis = graph.integers(&[1]);
            graph.node("ReduceSum", &[weighed, axis], &[("keepdims", Attribute::Int(0))])
        }
    }
}
