//! The embedding layer: ids and numbers in, embedded rows out.

use ndarray::Array2;

use super::graph::{Dim, Graph, Tensor};
use super::proto::{FLOAT, INT64};
use super::{Attribute, FRACTION, NUMERIC, ROWS};
use crate::data::{DomainId, Encoder, Field, FieldColumns, InputColumns, Layout, Pooling, SequenceColumns};
use crate::model::Embeddings;
use crate::nn::TargetAttention;

/// The ids of one field, as its table is read.
enum Ids {
    /// `[rows]`.
    One(Tensor),
    /// `[rows]`, the row after each, `[rows]`, and the fraction, `[rows, 1]`.
    Interpolated { ids: Tensor, next: Tensor, fraction: Tensor },
    /// `[rows, length]`, and the weight of each, `[rows, length, 1]`: 0 where there is none.
    Bag { ids: Tensor, shares: Tensor },
    /// `[rows, n]`, 1 for each that is there, `[rows, n, 1]`, and their number over `n`, `[rows, 1]`.
    Kept { ids: Tensor, there: Tensor, filled: Tensor },
    /// `[rows, length]`; for the first list of a sequence also 1 for each that is there, `[rows, length, 1]`.
    Events { ids: Tensor, there: Option<Tensor> },
}

/// The inputs of a graph.
pub(super) struct Rows<'m> {
    fields: Vec<Ids>,
    /// The numbers: those of the caller, then target statistics.
    numeric: Vec<Tensor>,
    embeddings: &'m Embeddings,
}

impl<'m> Rows<'m> {
    /// Adds the inputs to a graph, of which `count` numbers are the caller's. The others are target statistics, which the graph looks up by
    /// the ids of their fields in tables of the encoder.
    pub(super) fn new(
        graph: &mut Graph<'_>,
        layout: &Layout,
        count: usize,
        statistics: Option<(&Encoder, DomainId)>,
        embeddings: &'m Embeddings,
    ) -> Self {
        let columns = embeddings.columns();
        let fields: Vec<Ids> = (layout.fields.iter().zip(&columns.fields).enumerate())
            .map(|(f, (field, FieldColumns { event, .. }))| match event {
                Some((sequence, at)) => read_events(graph, field, &layout.sequences[*sequence].name, *at == 0),
                None => read(graph, field, layout.rows_of(f)),
            })
            .collect();
        let mut numeric = Vec::new();
        numeric.extend((count > 0).then(|| graph.input(NUMERIC, FLOAT, &[Dim::Named(ROWS), Dim::Fixed(count)])));
        if let Some((encoder, domain)) = statistics {
            for (i, (field, _)) in encoder.statistics_inputs().enumerate() {
                let Ids::One(ids) = fields[field] else { unreachable!("a field with statistics has one id a row") };
                let table = graph.constant(&encoder.statistics_table(i, domain));
                numeric.push(graph.node("Gather", &[table, ids], &[]));
            }
        }
        Self { fields, numeric, embeddings }
    }

    /// `x = [e_1, …, e_F, numeric]`, `[rows, width]`, by the tables of one owner.
    pub(super) fn embed(&self, graph: &mut Graph<'_>, owner: usize, attention: &[&TargetAttention]) -> Tensor {
        let tables = self.embeddings.tables_of(owner);
        let columns = self.embeddings.columns();
        let sequences = columns.sequences.iter().zip(attention);
        let pooled: Vec<Tensor> =
            sequences.map(|(sequence, layer)| self.attend(graph, columns, tables, sequence, layer)).collect();
        let mut parts = Vec::new();
        for (ids, field) in self.fields.iter().zip(&columns.fields) {
            if let Some((sequence, at)) = field.event {
                parts.push(graph.columns(pooled[sequence], at..at + field.dim));
                continue;
            }
            look_up(graph, ids, *field, &tables[field.table], &mut parts);
        }
        parts.extend(&self.numeric);
        graph.concat(&parts, 1)
    }

    /// The pooled events of a sequence, `[rows, dim]`.
    fn attend(
        &self,
        graph: &mut Graph<'_>,
        columns: &InputColumns,
        tables: &[Array2<f32>],
        sequence: &SequenceColumns,
        layer: &TargetAttention,
    ) -> Tensor {
        let SequenceColumns { fields, targets, .. } = sequence;
        let (mut query, mut keys, mut of_events) = (Vec::new(), Vec::new(), None);
        for (&f, &target) in fields.iter().zip(targets) {
            let table = graph.constant(&tables[columns.fields[f].table]);
            let (Ids::Events { ids, there }, Ids::One(own)) = (&self.fields[f], &self.fields[target]) else {
                unreachable!("the lists of a sequence are bags, and their targets are not")
            };
            keys.push(graph.node("Gather", &[table, *ids], &[]));
            query.push(graph.node("Gather", &[table, *own], &[]));
            of_events = of_events.or(*there);
        }
        let (query, keys) = (graph.concat(&query, 1), graph.concat(&keys, 2));
        graph.attend_target(query, keys, of_events.expect("a sequence has a list"), layer)
    }
}

/// The inputs of one field, whose table has this many rows. In a bag, an id below 0 is none.
fn read(graph: &mut Graph<'_>, field: &Field, rows: usize) -> Ids {
    let Some(pooling) = field.bag else {
        return Ids::One(graph.input(&field.name, INT64, &[Dim::Named(ROWS)]));
    };
    if pooling == Pooling::Interpolate {
        let ids = graph.input(&field.name, INT64, &[Dim::Named(ROWS)]);
        let fraction = graph.input(&format!("{}{FRACTION}", field.name), FLOAT, &[Dim::Named(ROWS)]);
        let (one, last) = (graph.integers(&[1]), graph.integers(&[rows as i64 - 1]));
        let next = graph.node("Add", &[ids, one], &[]);
        // The last row has no next one, and is only read with fraction 0.
        let next = graph.node("Min", &[next, last], &[]);
        return Ids::Interpolated { ids, next, fraction: graph.unsqueeze(fraction, 1) };
    }
    let length = format!("{} length", field.name);
    let mut ids = graph.input(&field.name, INT64, &[Dim::Named(ROWS), Dim::Named(&length)]);
    let (zero, one) = (graph.integers(&[0]), graph.integers(&[1]));
    if let Pooling::Keep(n) = pooling {
        // The first n ids, padded with -1.
        let (before, none, end) =
            (graph.integers(&[0, 0, 0, n as i64]), graph.integers(&[-1]), graph.integers(&[n as i64]));
        let none = graph.squeeze(none, 0);
        let padded = graph.node("Pad", &[ids, before, none], &[]);
        ids = graph.node("Slice", &[padded, zero, end, one], &[]);
    }
    let there = graph.node("GreaterOrEqual", &[ids, zero], &[]);
    let mut shares = graph.node("Cast", &[there], &[("to", Attribute::Int(FLOAT.into()))]);
    let ids = graph.node("Max", &[ids, zero], &[]);
    let count = (pooling != Pooling::Sum).then(|| graph.node("ReduceSum", &[shares, one], &[]));
    match (pooling, count) {
        (Pooling::Keep(n), Some(count)) => {
            let filled = graph.scale(count, 1.0 / n as f32);
            return Ids::Kept { ids, there: graph.unsqueeze(shares, 2), filled };
        }
        (Pooling::Mean, Some(count)) => {
            let one = graph.number(1.0);
            let count = graph.node("Max", &[count, one], &[]);
            shares = graph.node("Div", &[shares, count], &[]);
        }
        _ => {}
    }
    Ids::Bag { ids, shares: graph.unsqueeze(shares, 2) }
}

/// The input of a list of a sequence. An id below 0 is none.
fn read_events(graph: &mut Graph<'_>, field: &Field, sequence: &str, is_first: bool) -> Ids {
    let length = format!("{sequence} length");
    let ids = graph.input(&field.name, INT64, &[Dim::Named(ROWS), Dim::Named(&length)]);
    let zero = graph.integers(&[0]);
    let there = is_first.then(|| {
        let there = graph.node("GreaterOrEqual", &[ids, zero], &[]);
        let there = graph.node("Cast", &[there], &[("to", Attribute::Int(FLOAT.into()))]);
        graph.unsqueeze(there, 2)
    });
    Ids::Events { ids: graph.node("Max", &[ids, zero], &[]), there }
}

/// Adds the columns of one field.
fn look_up(graph: &mut Graph<'_>, ids: &Ids, field: FieldColumns, table: &Array2<f32>, parts: &mut Vec<Tensor>) {
    let table = graph.constant(table);
    match *ids {
        Ids::One(ids) => parts.push(graph.node("Gather", &[table, ids], &[])),
        Ids::Interpolated { ids, next, fraction } => {
            let vectors = graph.node("Gather", &[table, ids], &[]);
            let next = graph.node("Gather", &[table, next], &[]);
            let step = graph.node("Sub", &[next, vectors], &[]);
            let step = graph.mul(step, fraction);
            parts.push(graph.node("Add", &[vectors, step], &[]));
        }
        Ids::Bag { ids, shares } => {
            let vectors = graph.node("Gather", &[table, ids], &[]);
            let weighed = graph.mul(vectors, shares);
            let axis = graph.integers(&[1]);
            parts.push(graph.node("ReduceSum", &[weighed, axis], &[("keepdims", Attribute::Int(0))]));
        }
        Ids::Kept { ids, there, filled } => {
            let vectors = graph.node("Gather", &[table, ids], &[]);
            let vectors = graph.mul(vectors, there);
            let size = field.values().len() as i64;
            parts.extend([graph.reshape(vectors, &[0, size]), filled]);
        }
        Ids::Events { .. } => unreachable!("attention pools it"),
    }
}
